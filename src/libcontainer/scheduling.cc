#include "libcontainer/scheduling.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>

namespace gantry::libcontainer {
namespace {

constexpr size_t kMaxNumber = 8192;  // NR_CPUS of the largest kernels
constexpr size_t kWordBits = sizeof(unsigned long) * 8;

struct Word {
  std::string_view name;
  int value;
};
constexpr Word kPolicies[] = {{"SCHED_OTHER", SCHED_OTHER}, {"SCHED_FIFO", SCHED_FIFO},
                              {"SCHED_RR", SCHED_RR},       {"SCHED_BATCH", SCHED_BATCH},
                              {"SCHED_IDLE", SCHED_IDLE},   {"SCHED_DEADLINE", 6}};
constexpr Word kSchedulerFlags[] = {
    {"SCHED_FLAG_RESET_ON_FORK", 0x01}, {"SCHED_FLAG_RECLAIM", 0x02},
    {"SCHED_FLAG_DL_OVERRUN", 0x04},    {"SCHED_FLAG_KEEP_POLICY", 0x08},
    {"SCHED_FLAG_KEEP_PARAMS", 0x10},   {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}};
constexpr Word kIoClasses[] = {
    {"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}};
constexpr Word kMemoryModes[] = {{"MPOL_DEFAULT", 0},
                                 {"MPOL_PREFERRED", 1},
                                 {"MPOL_BIND", 2},
                                 {"MPOL_INTERLEAVE", 3},
                                 {"MPOL_LOCAL", 4},
                                 {"MPOL_PREFERRED_MANY", 5},
                                 {"MPOL_WEIGHTED_INTERLEAVE", 6}};
constexpr Word kMemoryFlags[] = {{"MPOL_F_NUMA_BALANCING", 1 << 13},
                                 {"MPOL_F_RELATIVE_NODES", 1 << 14},
                                 {"MPOL_F_STATIC_NODES", 1 << 15}};

template <size_t N>
Result<int> value_of(const Word (&words)[N], std::string_view name, std::string_view field) {
  for (const Word& word : words)
    if (word.name == name) return word.value;
  return invalid("{}: unknown word \"{}\"", field, name);
}

Result<size_t> parse_one(std::string_view text, std::string_view list) {
  size_t number = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || end != text.data() + text.size() || number >= kMaxNumber)
    return invalid("\"{}\" is not a list of numbers such as 0-3,7", list);
  return number;
}

Result<std::vector<unsigned long>> mask_of(std::string_view list) {
  std::vector<bool> bits = TRY(parse_number_list(list));
  std::vector<unsigned long> mask((bits.size() + kWordBits - 1) / kWordBits);
  for (size_t i = 0; i < bits.size(); ++i)
    if (bits[i]) mask[i / kWordBits] |= 1UL << i % kWordBits;
  return mask;
}

Status set_affinity(const std::vector<unsigned long>& mask) {
  if (::syscall(SYS_sched_setaffinity, 0, mask.size() * sizeof mask[0], mask.data()) == -1)
    return error_from_errno(errno, "sched_setaffinity");
  return {};
}

}  // namespace

Result<std::vector<bool>> parse_number_list(std::string_view text) {
  std::vector<bool> bits;
  for (std::string_view rest = text;;) {
    size_t comma = rest.find(',');
    std::string_view part = rest.substr(0, comma);
    size_t dash = part.find('-');
    size_t first = TRY(parse_one(part.substr(0, dash), text));
    size_t last = dash == part.npos ? first : TRY(parse_one(part.substr(dash + 1), text));
    if (last < first) return invalid("\"{}\": {}-{} is backwards", text, first, last);
    if (bits.size() <= last) bits.resize(last + 1);
    for (size_t i = first; i <= last; ++i) bits[i] = true;
    if (comma == rest.npos) return bits;
    rest.remove_prefix(comma + 1);
  }
}

Status set_scheduler(const Scheduler& scheduler) {
  // struct sched_attr, SCHED_ATTR_SIZE_VER0 (sched_setattr(2)).
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes = {};
  attributes.size = sizeof attributes;
  attributes.policy =
      static_cast<uint32_t>(TRY(value_of(kPolicies, scheduler.policy, "process.scheduler.policy")));
  for (const std::string& flag : scheduler.flags)
    attributes.flags |=
        static_cast<uint64_t>(TRY(value_of(kSchedulerFlags, flag, "process.scheduler.flags")));
  attributes.nice = scheduler.nice;
  attributes.priority = static_cast<uint32_t>(scheduler.priority);
  attributes.runtime = scheduler.runtime;
  attributes.deadline = scheduler.deadline;
  attributes.period = scheduler.period;
  if (::syscall(SYS_sched_setattr, 0, &attributes, 0) == -1)
    return error_from_errno(errno, "process.scheduler");
  return {};
}

Status set_io_priority(const IoPriority& priority) {
  int io_class = TRY(value_of(kIoClasses, priority.io_class, "process.ioPriority.class"));
  if (::syscall(SYS_ioprio_set, 1, 0, io_class << 13 | priority.priority) == -1)
    return error_from_errno(errno, "process.ioPriority");
  return {};
}

Status set_memory_policy(const MemoryPolicy& policy) {
  int mode = TRY(value_of(kMemoryModes, policy.mode, "linux.memoryPolicy.mode"));
  for (const std::string& flag : policy.flags)
    mode |= TRY(value_of(kMemoryFlags, flag, "linux.memoryPolicy.flags"));
  std::vector<unsigned long> mask;
  if (!policy.nodes.empty()) mask = TRY(mask_of(policy.nodes).context("linux.memoryPolicy.nodes"));
  // The kernel reads one bit less than it is told (set_mempolicy(2), "maxnode").
  size_t bits = mask.empty() ? 0 : mask.size() * kWordBits + 1;
  if (::syscall(SYS_set_mempolicy, mode, mask.empty() ? nullptr : mask.data(), bits) == -1)
    return errno_error(errno, "linux.memoryPolicy: {} nodes \"{}\"", policy.mode, policy.nodes);
  return {};
}

MemoryPolicyNames memory_policy_names() {
  MemoryPolicyNames out;
  for (const Word& word : kMemoryModes) out.modes.emplace_back(word.name);
  for (const Word& word : kMemoryFlags) out.flags.emplace_back(word.name);
  return out;
}

Result<CpuAffinity> CpuAffinity::enter(const std::string& cpus, std::string_view field) {
  if (cpus.empty()) return CpuAffinity({});
  std::vector<unsigned long> before(kMaxNumber / kWordBits);
  long size = ::syscall(SYS_sched_getaffinity, 0, before.size() * sizeof before[0], before.data());
  if (size == -1) return errno_error(errno, "{}: sched_getaffinity", field);
  before.resize(static_cast<size_t>(size) / sizeof before[0]);
  TRY(set_cpu_affinity(cpus, field));
  return CpuAffinity(std::move(before));
}

CpuAffinity::~CpuAffinity() {
  if (!before_.empty()) (void)set_affinity(before_);  // it was allowed a moment ago
}

Status set_cpu_affinity(const std::string& cpus, std::string_view field) {
  if (cpus.empty()) return {};
  std::vector<unsigned long> mask = TRY(mask_of(cpus).context("{}", field));
  return set_affinity(mask).context("{}: \"{}\"", field, cpus);
}

}  // namespace gantry::libcontainer
