// Tables of options, and addresses of servers. Private to the room.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "drivers/log/log_driver.h"

namespace gantry::drivers {

// A server's address: "udp://host:port", "unix:///path".
struct LogAddress {
  std::string scheme;
  std::string host;  // an IPv6 address without brackets
  std::string port;
  std::string path;  // unix, unixgram
};
// `default_port` where none is given; "": one must be. The error says what is wrong in few words.
Result<LogAddress> parse_log_address(std::string_view text, std::string_view default_port);

std::string log_option(const LogOptions& options, const std::string& key);
// "true", "false" and what else Go's ParseBool takes; absent: `absent`.
Result<bool> flag_option(const LogOptions& options, const std::string& key, bool absent);
// "1s", "500ms", as Go writes durations; in milliseconds.
Result<int64_t> duration_option(const LogOptions& options, const std::string& key, int64_t absent);
Result<int64_t> number_option(const LogOptions& options, const std::string& key, int64_t absent,
                              int64_t least, int64_t most);

struct OptionNames {
  std::string_view driver;
  std::span<const std::string_view> names;
};
// Options that every driver has: those of the local cache and of the delivery.
bool is_common_log_option(std::string_view key);
Status check_option_names(const OptionNames& known, const LogOptions& options);

// Each driver's own.
Status check_syslog_options(const LogOptions& options);
Status check_fluentd_options(const LogOptions& options);
Status check_gelf_options(const LogOptions& options);
Status check_journald_options(const LogOptions& options);
using SinkResult = Result<std::unique_ptr<LogSink>>;
SinkResult make_syslog_sink(const LogOptions& options, const LogSubject& subject);
SinkResult make_fluentd_sink(const LogOptions& options, const LogSubject& subject);
SinkResult make_gelf_sink(const LogOptions& options, const LogSubject& subject);
SinkResult make_journald_sink(const LogOptions& options, const LogSubject& subject);

// The entry's text as it is sent: without the end of its line.
std::string_view text_of(const shim::LogEntry& entry);
std::string host_name();

}  // namespace gantry::drivers
