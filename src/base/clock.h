// Time as the API shows it, and the identity of this boot.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry {

// Nanoseconds since the epoch (CLOCK_REALTIME).
int64_t now_ns();
// Nanoseconds of CLOCK_MONOTONIC, for durations.
int64_t monotonic_ns();

// RFC 3339 in UTC with nanoseconds as Go's time.RFC3339Nano prints it: trailing zeros of the
// fraction are dropped, "0001-01-01T00:00:00Z" for 0 (Go's zero time).
std::string format_time(int64_t ns);
// The inverse; also takes an offset ("+02:00") and any number of fraction digits.
Result<int64_t> parse_time(std::string_view text);

// /proc/sys/kernel/random/boot_id: tells a process row of this boot from one of an earlier boot.
Result<std::string> boot_id();
// Field 22 of /proc/PID/stat: with the pid and the boot id, the identity of a process (proc(5)).
Result<uint64_t> process_start_time(int pid);

}  // namespace gantry
