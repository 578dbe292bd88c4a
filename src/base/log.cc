#include "base/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <string>

#include "base/clock.h"
#include "base/json.h"
#include "base/sys.h"

namespace gantry::log {
namespace {

constexpr std::array<std::string_view, 5> kLevels = {"debug", "info", "warn", "error", "fatal"};

std::atomic<Level> g_level = Level::info;
std::atomic<Format> g_format = Format::text;
std::atomic<int> g_output = STDERR_FILENO;

}  // namespace

Result<Level> parse_level(std::string_view name) {
  for (size_t i = 0; i < kLevels.size(); ++i)
    if (kLevels[i] == name) return static_cast<Level>(i);
  return invalid("unknown log level \"{}\" (debug, info, warn, error or fatal)", name);
}

Result<Format> parse_format(std::string_view name) {
  if (name == "text") return Format::text;
  if (name == "json") return Format::json;
  return invalid("unknown log format \"{}\" (text or json)", name);
}

void configure(Level level, Format format) {
  g_level = level;
  g_format = format;
}

void set_output(int fd) { g_output = fd; }

int output() { return g_output; }

void close_output() {
  int fd = g_output.exchange(-1);
  if (fd > STDERR_FILENO) ::close(fd);
}

bool enabled(Level level) { return level >= g_level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view message) {
  std::string_view name = kLevels[static_cast<size_t>(level)];
  std::string line;
  if (g_format == Format::json) {
    json::object entry;
    entry["level"] = name;
    entry["msg"] = message;
    entry["time"] = format_time(now_ns());
    line = json::serialize(entry);
  } else {
    line = fmt::format("{} {:5} ", format_time(now_ns()), name);
    for (char c : message) line += c == '\n' ? ' ' : c;
  }
  line += '\n';
  (void)sys::retry([&] { return ::write(g_output, line.data(), line.size()); });
}

void ignored(std::string_view what, const Status& status, Level level) {
  if (!status && enabled(level))
    write(level, fmt::format("{}: {}", what, status.error().message()));
}

}  // namespace gantry::log
