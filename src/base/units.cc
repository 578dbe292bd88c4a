#include "base/units.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <ctime>
#include <optional>
#include <span>

#include "base/clock.h"

namespace gantry {
namespace {

// Go's %.Ng: N significant digits, no trailing zeros, exponent when it is at least N.
std::string significant(double value, int precision) {
  return fmt::format("{:.{}g}", value, precision);
}

std::string scaled(double value, double base, std::span<const std::string_view> units,
                   int precision) {
  size_t unit = 0;
  while (value >= base && unit + 1 < units.size()) {
    value /= base;
    ++unit;
  }
  return significant(value, precision) + std::string(units[unit]);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

struct DurationUnit {
  std::string_view name;
  int64_t nanoseconds;
};
constexpr DurationUnit kDurationUnits[] = {
    {"ns", 1},       {"us", 1000},      {"µs", 1000},       {"μs", 1000},
    {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000}};

// A number with a fraction in units of 1e-`scale`, without going through a double.
struct Decimal {
  int64_t whole = 0;
  double fraction = 0;
  size_t length = 0;  // bytes of the text it took
};
std::optional<Decimal> take_decimal(std::string_view text) {
  Decimal out;
  size_t digits = 0;
  for (; out.length < text.size() && is_digit(text[out.length]); ++out.length, ++digits) {
    if (out.whole > (INT64_MAX - 9) / 10) return std::nullopt;
    out.whole = out.whole * 10 + (text[out.length] - '0');
  }
  if (out.length < text.size() && text[out.length] == '.') {
    double scale = 0.1;
    for (++out.length; out.length < text.size() && is_digit(text[out.length]);
         ++out.length, ++digits, scale /= 10)
      out.fraction += scale * (text[out.length] - '0');
  }
  if (digits == 0) return std::nullopt;
  return out;
}

}  // namespace

std::string human_size(double bytes, int precision) {
  static constexpr std::string_view kUnits[] = {"B",  "kB", "MB", "GB", "TB",
                                                "PB", "EB", "ZB", "YB"};
  return scaled(bytes, 1000, kUnits, precision);
}

std::string bytes_size(double bytes) {
  static constexpr std::string_view kUnits[] = {"B",   "KiB", "MiB", "GiB", "TiB",
                                                "PiB", "EiB", "ZiB", "YiB"};
  return scaled(bytes, 1024, kUnits, 4);
}

std::string human_duration(int64_t nanoseconds) {
  const int64_t seconds = nanoseconds / 1000000000;
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return fmt::format("{} seconds", seconds);
  const int64_t minutes = seconds / 60;
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return fmt::format("{} minutes", minutes);
  const int64_t hours = (seconds + 1800) / 3600;
  if (hours == 1) return "About an hour";
  if (hours < 48) return fmt::format("{} hours", hours);
  if (hours < 24 * 7 * 2) return fmt::format("{} days", hours / 24);
  if (hours < 24 * 30 * 2) return fmt::format("{} weeks", hours / 24 / 7);
  if (hours < 24 * 365 * 2) return fmt::format("{} months", hours / 24 / 30);
  return fmt::format("{} years", hours / 24 / 365);
}

Result<int64_t> parse_ram_size(std::string_view text) {
  auto bad = [&] { return invalid("invalid size: '{}'", text); };
  auto number = take_decimal(text);
  if (!number) return bad();
  std::string suffix;
  for (char c : text.substr(number->length))
    suffix += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (suffix.starts_with(' ')) suffix.erase(0, 1);
  double scale = 1;
  if (!suffix.empty() && suffix != "b") {
    size_t power = std::string_view("kmgtp").find(suffix[0]);
    std::string_view rest = std::string_view(suffix).substr(1);
    if (power == std::string_view::npos || (rest != "" && rest != "b" && rest != "ib"))
      return bad();
    scale = std::pow(1024.0, static_cast<double>(power + 1));
  }
  double bytes = (static_cast<double>(number->whole) + number->fraction) * scale;
  if (bytes >= 9.2e18) return bad();
  return static_cast<int64_t>(bytes);
}

Result<int64_t> parse_duration(std::string_view text) {
  auto bad = [&] { return invalid("time: invalid duration \"{}\"", text); };
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return int64_t{0};
  if (rest.empty()) return bad();
  double total = 0;
  while (!rest.empty()) {
    auto number = take_decimal(rest);
    if (!number) return bad();
    rest.remove_prefix(number->length);
    size_t end = 0;
    while (end < rest.size() && rest[end] != '.' && !is_digit(rest[end])) ++end;
    std::string_view name = rest.substr(0, end);
    if (name.empty()) return invalid("time: missing unit in duration \"{}\"", text);
    int64_t unit = 0;
    for (const DurationUnit& known : kDurationUnits)
      if (known.name == name) unit = known.nanoseconds;
    if (unit == 0) return invalid("time: unknown unit \"{}\" in duration \"{}\"", name, text);
    total += (static_cast<double>(number->whole) + number->fraction) * static_cast<double>(unit);
    if (total > 9.2e18) return bad();
    rest.remove_prefix(end);
  }
  int64_t nanoseconds = std::llround(total);
  return negative ? -nanoseconds : nanoseconds;
}

std::string format_duration(int64_t nanoseconds) {
  if (nanoseconds == 0) return "0s";
  if (nanoseconds < 0) return "-" + format_duration(-nanoseconds);
  // A value below a unit is written with the unit's own fraction, without trailing zeros.
  auto fraction = [](int64_t value, int64_t unit) {
    std::string digits = fmt::format("{}.{:0{}}", value / unit, value % unit,
                                     unit == 1000      ? 3
                                     : unit == 1000000 ? 6
                                                       : 9);
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.back() == '.') digits.pop_back();
    return digits;
  };
  if (nanoseconds < 1000) return fmt::format("{}ns", nanoseconds);
  if (nanoseconds < 1000000) return fraction(nanoseconds, 1000) + "µs";
  if (nanoseconds < 1000000000) return fraction(nanoseconds, 1000000) + "ms";
  std::string out;
  const int64_t minutes = nanoseconds / 60000000000;
  if (minutes >= 60) out += fmt::format("{}h", minutes / 60);
  if (minutes > 0) out += fmt::format("{}m", minutes % 60);
  return out + fraction(nanoseconds % 60000000000, 1000000000) + "s";
}

Result<int64_t> parse_nano_cpus(std::string_view text) {
  auto number = take_decimal(text);
  if (!number || number->length != text.size() || number->whole > 1000000)
    return invalid("failed to parse {} as a rational number", text);
  size_t dot = text.find('.');
  if (dot != text.npos && text.size() - dot - 1 > 9) return invalid("value is too precise");
  return number->whole * 1000000000 + std::llround(number->fraction * 1e9);
}

Result<std::string> timestamp_parameter(std::string_view text, int64_t now) {
  auto shown = [](int64_t ns) { return fmt::format("{}.{:09}", ns / 1000000000, ns % 1000000000); };
  if (auto before = parse_duration(text)) return shown(now - *before);
  if (text.find('-') == text.npos || text.starts_with('-'))
    return std::string(text);  // a Unix time
  if (auto time = parse_time(text)) return shown(*time);
  // A date, with or without a time of day, in the local zone.
  struct tm local {};
  std::string copy(text);
  for (const char* form :
       {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%dZ", "%Y-%m-%d"}) {
    local = {};
    local.tm_isdst = -1;
    const char* end = ::strptime(copy.c_str(), form, &local);
    if (!end) continue;
    double fraction = 0;
    if (*end == '.') {
      auto decimal = take_decimal(fmt::format("0{}", end));
      if (!decimal || decimal->length != std::strlen(end) + 1) continue;
      fraction = decimal->fraction;
      end += std::strlen(end);
    }
    if (*end != '\0') continue;
    return shown(static_cast<int64_t>(::mktime(&local)) * 1000000000 +
                 std::llround(fraction * 1e9));
  }
  return invalid("failed to parse value as time or duration: {}", text);
}

std::string local_time(int64_t unix_seconds) {
  time_t seconds = unix_seconds;
  struct tm local {};
  ::localtime_r(&seconds, &local);
  char buffer[80];
  size_t size = std::strftime(buffer, sizeof buffer, "%Y-%m-%d %H:%M:%S %z %Z", &local);
  return std::string(buffer, size);
}

std::string go_time(std::string_view rfc3339) {
  auto time = parse_time(rfc3339);
  if (!time) return std::string(rfc3339);
  int64_t nanoseconds = *time % 1000000000, seconds = *time / 1000000000;
  if (nanoseconds < 0) {
    nanoseconds += 1000000000;
    --seconds;
  }
  std::string text = local_time(seconds);
  std::string fraction = fmt::format(".{:09}", nanoseconds);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  if (fraction != ".") text.insert(19, fraction);
  return text;
}

}  // namespace gantry
