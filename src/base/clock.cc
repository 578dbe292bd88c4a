#include "base/clock.h"

#include <ctime>

#include "base/fs.h"

namespace gantry {
namespace {

int64_t read_clock(clockid_t id) {
  timespec t;
  ::clock_gettime(id, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

bool take_digits(std::string_view& text, size_t count, int& out) {
  if (text.size() < count) return false;
  out = 0;
  for (size_t i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    out = out * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return true;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

int64_t now_ns() { return read_clock(CLOCK_REALTIME); }
int64_t monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }

std::string format_time(int64_t ns) {
  if (ns == 0) return "0001-01-01T00:00:00Z";
  time_t seconds = ns / 1'000'000'000;
  int64_t fraction = ns % 1'000'000'000;
  if (fraction < 0) {
    fraction += 1'000'000'000;
    --seconds;
  }
  tm t;
  ::gmtime_r(&seconds, &t);
  std::string out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", t.tm_year + 1900,
                                t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
  if (fraction != 0) {
    out += fmt::format(".{:09}", fraction);
    while (out.back() == '0') out.pop_back();
  }
  return out + "Z";
}

Result<int64_t> parse_time(std::string_view text) {
  std::string_view rest = text;
  tm t = {};
  int year, month, day;
  bool ok = take_digits(rest, 4, year) && take(rest, '-') && take_digits(rest, 2, month) &&
            take(rest, '-') && take_digits(rest, 2, day) && (take(rest, 'T') || take(rest, 't')) &&
            take_digits(rest, 2, t.tm_hour) && take(rest, ':') && take_digits(rest, 2, t.tm_min) &&
            take(rest, ':') && take_digits(rest, 2, t.tm_sec);
  if (!ok || month < 1 || month > 12 || day < 1 || day > 31 || t.tm_hour > 23 || t.tm_min > 59 ||
      t.tm_sec > 60)
    return invalid("\"{}\" is not an RFC 3339 time", text);
  int64_t fraction = 0;
  if (take(rest, '.')) {
    int64_t scale = 100'000'000;
    if (rest.empty() || rest[0] < '0' || rest[0] > '9')
      return invalid("\"{}\" is not an RFC 3339 time", text);
    while (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') {
      fraction += (rest[0] - '0') * scale;
      scale /= 10;
      rest.remove_prefix(1);
    }
  }
  int64_t offset = 0;
  if (!take(rest, 'Z') && !take(rest, 'z')) {
    int hours, minutes, sign = !rest.empty() && rest[0] == '-' ? -1 : 1;
    if (!(take(rest, '+') || take(rest, '-')) || !take_digits(rest, 2, hours) || !take(rest, ':') ||
        !take_digits(rest, 2, minutes))
      return invalid("\"{}\" is not an RFC 3339 time", text);
    offset = sign * (hours * 3600 + minutes * 60);
  }
  if (!rest.empty()) return invalid("\"{}\" is not an RFC 3339 time", text);
  if (year <= 1) return int64_t{0};
  t.tm_year = year - 1900;
  t.tm_mon = month - 1;
  t.tm_mday = day;
  return (int64_t{::timegm(&t)} - offset) * 1'000'000'000 + fraction;
}

Result<std::string> boot_id() {
  std::string id = TRY(fs::read_file("/proc/sys/kernel/random/boot_id"));
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

Result<uint64_t> process_start_time(int pid) {
  std::string stat = TRY(fs::read_file(fmt::format("/proc/{}/stat", pid)));
  // The command name (field 2) may hold spaces and parentheses: count fields after the last ')'.
  size_t at = stat.rfind(')');
  if (at == std::string::npos) return internal("/proc/{}/stat: no command name", pid);
  ++at;
  for (int field = 3; field <= 22; ++field) {
    at = stat.find_first_not_of(' ', at);
    if (at == std::string::npos) return internal("/proc/{}/stat: too short", pid);
    if (field == 22) break;
    at = stat.find(' ', at);
    if (at == std::string::npos) return internal("/proc/{}/stat: too short", pid);
  }
  return std::stoull(stat.substr(at));
}

}  // namespace gantry
