// Numbers, sizes and times as people read and write them, in the forms of Docker's go-units and
// Go's time.Duration. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry {

// "1.09MB": four significant digits at most, decimal units; with `precision` digits if told.
std::string human_size(double bytes, int precision = 4);
// "1.5GiB": binary units.
std::string bytes_size(double bytes);
// "Less than a second", "3 seconds", "About a minute", "2 hours", "3 weeks", "5 months", "2 years".
std::string human_duration(int64_t nanoseconds);

// "512m", "1.5gb", "64KiB", "100": bytes, binary. Errors: "invalid size: 'x'".
Result<int64_t> parse_ram_size(std::string_view text);
// "1h30m", "1.5s", "100ms": nanoseconds. Errors as Go's: `time: invalid duration "x"`.
Result<int64_t> parse_duration(std::string_view text);
// Go's Duration.String: "1h30m0s", "1.5s", "100ms", "0s".
std::string format_duration(int64_t nanoseconds);
// "0.5", "1.5": billionths of a CPU. Errors: invalid.
Result<int64_t> parse_nano_cpus(std::string_view text);

// A time for ?since= and ?until=: RFC 3339, a date, a Unix time, or a Go duration before `now_ns`;
// given back as "seconds.nanoseconds". What is none of these is given back as it is, as Docker
// does.
Result<std::string> timestamp_parameter(std::string_view text, int64_t now_ns);
// "2026-11-24 06:10:38 +0000 UTC": Go's time.Time.String in the local zone, whole seconds.
std::string local_time(int64_t unix_seconds);
// An RFC 3339 time as Go's time.Time.String: "2026-11-24 06:04:48.715187549 +0000 UTC"; as it is
// when it is none.
std::string go_time(std::string_view rfc3339);

}  // namespace gantry
