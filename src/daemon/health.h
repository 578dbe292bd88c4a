// What a container's healthcheck is, and what its results mean: Docker's rules, without the
// running. Pure; daemon/containers_health.cc runs the checks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/container_record.h"

namespace gantry::daemon {

// The only label that makes the engine restart a container that became unhealthy: it counts when
// the one who creates the container gives it, and not when the image has it.
inline constexpr std::string_view kRestartUnhealthyLabel = "gantry.restart-unhealthy";

// A Healthcheck with Docker's defaults filled in; times in nanoseconds.
struct HealthProbe {
  api::Strings command;
  int64_t interval = 0, timeout = 0, start_period = 0, start_interval = 0;
  int retries = 0;
};

// Nothing when the container has no check (none, or NONE, or of a kind that is not known).
std::optional<HealthProbe> health_probe(const api::ContainerConfig& config);
// `invalid` in Docker's words for times and counts that cannot be.
Status check_healthcheck(const api::HealthConfig& config);

// How long to wait from `now` for the next check.
int64_t time_to_next_check(const HealthProbe& probe, const ContainerState& state, int64_t now);

// Adds a check's result to the state; true when the status is another one now.
bool add_check_result(ContainerState& state, const HealthProbe& probe, HealthResult result);

// "healthy", "unhealthy", "health: starting"; "" for a container without a check.
std::string health_text(const ContainerState& state);

// Text of a check's output, of which the first 4,096 bytes are kept.
class HealthOutput {
 public:
  void add(std::string_view bytes);
  std::string text() const;

 private:
  static constexpr size_t kLimit = 4096;
  std::string kept_;
  bool truncated_ = false;
};

// Takes Docker's multiplexed stream apart, piece by piece.
class Demultiplexer {
 public:
  void add(std::string_view bytes, HealthOutput& out);

 private:
  std::string head_;
  size_t left_ = 0;  // of the frame's payload
};

}  // namespace gantry::daemon
