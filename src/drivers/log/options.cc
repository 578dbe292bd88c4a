#include "drivers/log/options.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/units.h"

namespace gantry::drivers {
namespace {

struct Driver {
  std::string_view name;
  Status (*check)(const LogOptions&);
  SinkResult (*make)(const LogOptions&, const LogSubject&);
};
constexpr std::array<Driver, 4> kDrivers = {{
    {"fluentd", check_fluentd_options, make_fluentd_sink},
    {"gelf", check_gelf_options, make_gelf_sink},
    {"journald", check_journald_options, make_journald_sink},
    {"syslog", check_syslog_options, make_syslog_sink},
}};
constexpr std::array<std::string_view, 4> kNames = {"fluentd", "gelf", "journald", "syslog"};

const Driver* find_driver(std::string_view name) {
  for (const Driver& driver : kDrivers)
    if (driver.name == name) return &driver;
  return nullptr;
}

constexpr std::array<std::string_view, 6> kCommon = {"mode",           "max-buffer-size",
                                                     "cache-disabled", "cache-max-size",
                                                     "cache-max-file", "cache-compress"};

}  // namespace

std::span<const std::string_view> remote_log_drivers() { return kNames; }
bool is_remote_log_driver(std::string_view name) { return find_driver(name) != nullptr; }

Status check_remote_log_options(const std::string& driver, const LogOptions& options) {
  const Driver* found = find_driver(driver);
  if (!found) return invalid("logger: no log driver named '{}' is registered", driver);
  TRY(found->check(options));
  TRY(log_tag(log_option(options, "tag"), {}));
  return {};
}

SinkResult make_log_sink(const std::string& driver, const LogOptions& options,
                         const LogSubject& subject) {
  const Driver* found = find_driver(driver);
  if (!found) return invalid("logger: no log driver named '{}' is registered", driver);
  return found->make(options, subject);
}

bool connects_before_start(const std::string& driver, const LogOptions& options) {
  if (driver != "fluentd") return true;
  return !flag_option(options, "fluentd-async", false).value_or(false) &&
         !flag_option(options, "fluentd-async-connect", false).value_or(false);
}

LogDelivery log_delivery(const std::string& driver, const LogOptions& options) {
  constexpr int64_t kMost = INT32_MAX;
  LogDelivery delivery;
  if (log_option(options, "mode") == "non-blocking") {
    const std::string size = log_option(options, "max-buffer-size");
    delivery.max_bytes = size.empty() ? 1 << 20 : parse_ram_size(size).value_or(1 << 20);
  }
  auto wait = [&](int64_t ms) {
    delivery.retry_wait_ms = ms;
    delivery.constant_wait = true;
  };
  if (driver == "gelf") {
    if (options.contains("gelf-tcp-reconnect-delay"))
      wait(1000 * number_option(options, "gelf-tcp-reconnect-delay", 1, 0, kMost).value_or(1));
    delivery.max_tries = number_option(options, "gelf-tcp-max-reconnect", 0, 0, kMost).value_or(0);
  }
  if (driver == "fluentd") {
    if (options.contains("fluentd-retry-wait"))
      wait(duration_option(options, "fluentd-retry-wait", 500).value_or(500));
    delivery.max_tries = number_option(options, "fluentd-max-retries", 0, 0, kMost).value_or(0);
    if (!connects_before_start(driver, options))
      delivery.max_entries =
          parse_ram_size(log_option(options, "fluentd-buffer-limit")).value_or(0);
  }
  return delivery;
}

std::string log_option(const LogOptions& options, const std::string& key) {
  auto found = options.find(key);
  return found == options.end() ? "" : found->second;
}

Result<bool> flag_option(const LogOptions& options, const std::string& key, bool absent) {
  const std::string value = log_option(options, key);
  if (value.empty()) return absent;
  for (std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (value == yes) return true;
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"})
    if (value == no) return false;
  return invalid("invalid value for log opt '{}': '{}' is neither true nor false", key, value);
}

Result<int64_t> duration_option(const LogOptions& options, const std::string& key, int64_t absent) {
  const std::string value = log_option(options, key);
  if (value.empty()) return absent;
  Result<int64_t> ns = parse_duration(value);
  if (!ns || *ns < 0)
    return invalid("invalid value for log opt '{}': '{}' is no duration, such as 500ms or 10s", key,
                   value);
  return *ns / 1'000'000;
}

Result<int64_t> number_option(const LogOptions& options, const std::string& key, int64_t absent,
                              int64_t least, int64_t most) {
  const std::string value = log_option(options, key);
  if (value.empty()) return absent;
  int64_t number = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < least || number > most)
    return invalid("invalid value for log opt '{}': '{}' is no number from {} to {}", key, value,
                   least, most);
  return number;
}

bool is_common_log_option(std::string_view key) {
  return std::find(kCommon.begin(), kCommon.end(), key) != kCommon.end();
}

Status check_option_names(const OptionNames& known, const LogOptions& options) {
  for (const auto& [key, value] : options)
    if (!is_common_log_option(key) &&
        std::find(known.names.begin(), known.names.end(), key) == known.names.end())
      return invalid("unknown log opt '{}' for {} log driver", key, known.driver);
  return {};
}

Result<LogAddress> parse_log_address(std::string_view text, std::string_view default_port) {
  size_t colon = text.find("://");
  if (colon == std::string_view::npos || colon == 0)
    return invalid("an address has the form proto://address, not '{}'", text);
  LogAddress address;
  address.scheme = text.substr(0, colon);
  std::string_view rest = text.substr(colon + 3);
  if (address.scheme.starts_with("unix")) {
    address.path = rest;
    if (!rest.starts_with('/')) return invalid("'{}' names no absolute path", text);
    return address;
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  size_t port = std::string_view::npos;
  if (rest.starts_with('[')) {
    size_t end = rest.find(']');
    if (end == std::string_view::npos) return invalid("missing ']' in address '{}'", text);
    address.host = rest.substr(1, end - 1);
    if (end + 1 < rest.size() && rest[end + 1] == ':') port = end + 1;
    if (port == std::string_view::npos && end + 1 != rest.size())
      return invalid("too much behind ']' in address '{}'", text);
  } else {
    port = rest.find(':');
    address.host = rest.substr(0, port);
    if (port != std::string_view::npos && rest.find(':', port + 1) != std::string_view::npos)
      return invalid("too many colons in address '{}'", text);
  }
  address.port = port == std::string_view::npos ? default_port : rest.substr(port + 1);
  int number = 0;
  const std::string& digits = address.port;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (digits.empty()) return invalid("missing port in address '{}'", text);
  if (error != std::errc() || end != digits.data() + digits.size() || number < 1 || number > 65535)
    return invalid("invalid port in address '{}'", text);
  if (address.host.find_first_of("/?#@ ") != std::string::npos)
    return invalid("invalid host in address '{}'", text);
  return address;
}

std::string_view text_of(const shim::LogEntry& entry) {
  std::string_view text = entry.line;
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

std::string host_name() {
  std::array<char, 65> name = {};
  (void)::gethostname(name.data(), name.size() - 1);
  return name.data();
}

}  // namespace gantry::drivers
