// GET /version, /info and /system/df: what this daemon and this host are. Queries; thread-safe.
#pragma once

#include "base/json.h"
#include "base/result.h"

namespace gantry::daemon {

class Daemon;

inline constexpr std::string_view kApiVersion = "1.51";
inline constexpr std::string_view kMinApiVersion = "1.24";

// Limits that a kernel may lack, where Docker warns and goes on without them.
struct LimitSupport {
  bool swappiness = false;
  bool oom_kill_disable = false;
};
LimitSupport limit_support();

Result<json::object> version(Daemon& daemon);
Result<json::object> info(Daemon& daemon);
// What GET /metrics gives: Prometheus' text form, with Docker's names where it has one. Reads a few
// small files: not for an I/O thread.
std::string metrics(Daemon& daemon);
// `types`: which of container, image, volume, build-cache; empty: all.
Result<json::object> disk_usage(Daemon& daemon, const std::vector<std::string>& types);

}  // namespace gantry::daemon
