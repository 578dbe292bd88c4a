// A process of a container in the foreground: signals are passed on, a terminal is relayed.
#pragma once

#include "base/result.h"
#include "libcontainer/container.h"

namespace gantry::runtime {

// To be made before the process exists, so that no signal is lost.
class Foreground {
 public:
  static Result<Foreground> create();
  // Until the process ends; its exit status as a shell has it (128 + signal). Reaps it.
  Result<int> run(pid_t pid, int pidfd, UniqueFd console);

 private:
  explicit Foreground(UniqueFd signals) : signals_(std::move(signals)) {}
  UniqueFd signals_;
};

int shell_status(int wait_status);

}  // namespace gantry::runtime
