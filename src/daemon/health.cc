#include "daemon/health.h"

#include <algorithm>

namespace gantry::daemon {
namespace {

constexpr int64_t kShortestTime = 1'000'000;  // a millisecond
constexpr int64_t kDefaultInterval = 30'000 * kShortestTime, kDefaultTimeout = kDefaultInterval;
constexpr int64_t kDefaultStartInterval = 5'000 * kShortestTime;
constexpr int kDefaultRetries = 3;
constexpr size_t kLogLength = 5;
constexpr size_t kFrameHead = 8;

}  // namespace

std::optional<HealthProbe> health_probe(const api::ContainerConfig& config) {
  if (!config.Healthcheck || config.Healthcheck->Test.empty()) return std::nullopt;
  const api::HealthConfig& given = *config.Healthcheck;
  HealthProbe probe;
  if (given.Test[0] == "CMD") {
    probe.command.assign(given.Test.begin() + 1, given.Test.end());
  } else if (given.Test[0] == "CMD-SHELL" && given.Test.size() > 1) {
    probe.command = config.Shell.empty() ? api::Strings{"/bin/sh", "-c"} : config.Shell;
    probe.command.push_back(given.Test[1]);
  }
  if (probe.command.empty()) return std::nullopt;
  auto given_or = [](int64_t value, int64_t otherwise) { return value > 0 ? value : otherwise; };
  probe.interval = given_or(given.Interval, kDefaultInterval);
  probe.timeout = given_or(given.Timeout, kDefaultTimeout);
  probe.start_period = given_or(given.StartPeriod, 0);
  probe.start_interval = given_or(given.StartInterval, kDefaultStartInterval);
  probe.retries = given.Retries > 0 ? given.Retries : kDefaultRetries;
  return probe;
}

Status check_healthcheck(const api::HealthConfig& config) {
  struct Time {
    std::string_view name;
    int64_t value;
  };
  for (const Time& time :
       {Time{"Interval", config.Interval}, Time{"Timeout", config.Timeout},
        Time{"StartPeriod", config.StartPeriod}, Time{"StartInterval", config.StartInterval}})
    if (time.value != 0 && time.value < kShortestTime)
      return invalid("{} in Healthcheck cannot be less than 1ms", time.name);
  if (config.Retries < 0) return invalid("Retries in Healthcheck cannot be negative");
  return {};
}

int64_t time_to_next_check(const HealthProbe& probe, const ContainerState& state, int64_t now) {
  const bool starting = !state.health || state.health->status == "starting";
  return starting && now - state.started_at < probe.start_period ? probe.start_interval
                                                                 : probe.interval;
}

bool add_check_result(ContainerState& state, const HealthProbe& probe, HealthResult result) {
  if (!state.health) state.health.emplace();
  Health& health = *state.health;
  const std::string before = health.status;
  if (result.exit_code == 0) {
    health.failing_streak = 0;
    health.status = "healthy";
  } else if (before != "starting" || result.start - state.started_at >= probe.start_period) {
    if (++health.failing_streak >= probe.retries) health.status = "unhealthy";
  }
  health.log.push_back(std::move(result));
  if (health.log.size() > kLogLength) health.log.erase(health.log.begin());
  return health.status != before;
}

std::string health_text(const ContainerState& state) {
  if (!state.health) return "";
  return state.health->status == "starting" ? "health: starting" : state.health->status;
}

void HealthOutput::add(std::string_view bytes) {
  const size_t room = kLimit - kept_.size();
  if (bytes.size() > room) truncated_ = true;
  kept_ += bytes.substr(0, room);
}

std::string HealthOutput::text() const { return truncated_ ? kept_ + "..." : kept_; }

void Demultiplexer::add(std::string_view bytes, HealthOutput& out) {
  while (!bytes.empty()) {
    if (left_ > 0) {
      const size_t size = std::min(left_, bytes.size());
      out.add(bytes.substr(0, size));
      bytes.remove_prefix(size);
      left_ -= size;
      continue;
    }
    const size_t size = std::min(kFrameHead - head_.size(), bytes.size());
    head_ += bytes.substr(0, size);
    bytes.remove_prefix(size);
    if (head_.size() < kFrameHead) return;
    for (size_t i = 4; i < kFrameHead; ++i)
      left_ = left_ << 8 | static_cast<unsigned char>(head_[i]);
    head_.clear();
  }
}

}  // namespace gantry::daemon
