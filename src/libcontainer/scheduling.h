// Where and when a process may run: scheduling policy, I/O priority, CPUs and NUMA memory policy.
#pragma once

#include <sched.h>

#include "base/result.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

// Each sets it for the calling thread; errors name the field.
Status set_scheduler(const Scheduler& scheduler);      // sched_setattr(2)
Status set_io_priority(const IoPriority& priority);    // ioprio_set(2)
Status set_memory_policy(const MemoryPolicy& policy);  // set_mempolicy(2)

struct MemoryPolicyNames {
  std::vector<std::string> modes, flags;
};
MemoryPolicyNames memory_policy_names();

// "0-3,7". Numbers of 8192 and more are refused.
Result<std::vector<bool>> parse_number_list(std::string_view text);

// For the life of it the calling thread, and whatever it clones, runs on these CPUs; then where it
// ran before.
class CpuAffinity {
 public:
  // An empty list changes nothing. `field` names it in errors.
  static Result<CpuAffinity> enter(const std::string& cpus, std::string_view field);
  CpuAffinity(CpuAffinity&& other) noexcept : before_(std::move(other.before_)) {
    other.before_.clear();
  }
  CpuAffinity& operator=(CpuAffinity&&) = delete;
  ~CpuAffinity();

 private:
  explicit CpuAffinity(std::vector<unsigned long> before) : before_(std::move(before)) {}
  std::vector<unsigned long> before_;  // a bit a CPU; empty: nothing was changed
};
// For good.
Status set_cpu_affinity(const std::string& cpus, std::string_view field);

}  // namespace gantry::libcontainer
