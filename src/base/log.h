// The program's log: one line an event, to standard error, as text or JSON. Thread-safe; a line is
// one write(2), so lines of several threads do not mix.
#pragma once

#include <string_view>

#include <fmt/core.h>

#include "base/result.h"

namespace gantry::log {

enum class Level { debug, info, warn, error, fatal };
enum class Format { text, json };

Result<Level> parse_level(std::string_view name);    // debug, info, warn, error, fatal
Result<Format> parse_format(std::string_view name);  // text, json
// To be called before threads are started.
void configure(Level level, Format format);
// Where lines go; standard error unless told. The descriptor stays open until
// close_output().
void set_output(int fd);
int output();
// Closes it, unless it is a standard stream; what is written from then on is lost.
void close_output();
bool enabled(Level level);
void write(Level level, std::string_view message);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::warn)) write(Level::warn, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::error)) write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

// For a failure that nobody waits for: logs "what: message" and drops it.
void ignored(std::string_view what, const Status& status, Level level = Level::warn);

}  // namespace gantry::log
