#include <algorithm>

#include "libcontainer/cgroup.h"

namespace gantry::libcontainer {
namespace {

class Writes {
 public:
  void add(const char* controller, std::string file, std::string value, const char* field) {
    list_.push_back({controller, std::move(file), std::move(value), field});
  }
  template <typename T>
  void number(const char* controller, const char* file, const std::optional<T>& value,
              const char* field) {
    if (value) add(controller, file, std::to_string(*value), field);
  }
  void where_present(const char* controller, std::string file, std::string value,
                     const char* field) {
    list_.push_back({controller, std::move(file), std::move(value), field, true});
  }
  std::vector<CgroupWrite> take() { return std::move(list_); }

 private:
  std::vector<CgroupWrite> list_;
};

std::string limit_or_max(int64_t value) { return value < 0 ? "max" : std::to_string(value); }

Status check_swap(const MemoryResources& memory) {
  if (memory.swap && *memory.swap > 0 && memory.limit && *memory.limit > 0 &&
      *memory.swap < *memory.limit)
    return invalid("linux.resources.memory.swap: {} is less than the memory limit {}", *memory.swap,
                   *memory.limit);
  return {};
}

// Limits that went from the kernel, or are the rule: nothing is written when nothing is limited.
Status check_gone(const MemoryResources& memory) {
  if (memory.kernel.value_or(0) > 0)
    return unsupported("linux.resources.memory.kernel: Linux has no such limit any more");
  if (memory.use_hierarchy && !*memory.use_hierarchy)
    return unsupported("linux.resources.memory.useHierarchy: Linux always uses it");
  return {};
}

Status check_block_io(const BlockIoResources& io) {
  if (io.leaf_weight.value_or(0))
    return unsupported("linux.resources.blockIO.leafWeight: Linux has no such weight any more");
  for (size_t i = 0; i < io.weight_device.size(); ++i) {
    if (io.weight_device[i].leaf_weight.value_or(0))
      return unsupported(
          "linux.resources.blockIO.weightDevice[{}].leafWeight: Linux has no such weight any more",
          i);
    if (!io.weight_device[i].weight)
      return invalid("linux.resources.blockIO.weightDevice[{}]: has no weight", i);
  }
  return {};
}

Status check_rdma(const Resources& resources) {
  for (const auto& [device, limit] : resources.rdma)
    if (!limit.hca_handles && !limit.hca_objects)
      return invalid("linux.resources.rdma.{}: has neither hcaHandles nor hcaObjects", device);
  return {};
}

// The page size becomes part of a file's name.
Status check_page_sizes(const Resources& resources) {
  for (const HugepageLimit& huge : resources.hugepage_limits) {
    size_t digits = huge.page_size.find_first_not_of("0123456789");
    std::string_view unit = digits == std::string::npos
                                ? std::string_view()
                                : std::string_view(huge.page_size).substr(digits);
    if (digits == 0 || (unit != "KB" && unit != "MB" && unit != "GB"))
      return invalid("linux.resources.hugepageLimits: \"{}\" is not a page size", huge.page_size);
  }
  return {};
}

// What is taken and, where the kernel can tell, what is reserved beforehand (since 5.7).
void add_huge_pages(Writes& out, const Resources& resources, const char* suffix) {
  constexpr const char* kField = "linux.resources.hugepageLimits";
  for (const HugepageLimit& huge : resources.hugepage_limits) {
    std::string limit = std::to_string(huge.limit);
    out.add("hugetlb", fmt::format("hugetlb.{}.{}", huge.page_size, suffix), limit, kField);
    out.where_present("hugetlb", fmt::format("hugetlb.{}.rsvd.{}", huge.page_size, suffix), limit,
                      kField);
  }
}

struct Throttle {
  std::vector<ThrottleDevice> BlockIoResources::*list;
  const char* v1_file;
  const char* v2_key;
  const char* field;
};
constexpr Throttle kThrottles[] = {
    {&BlockIoResources::throttle_read_bps_device, "blkio.throttle.read_bps_device", "rbps",
     "linux.resources.blockIO.throttleReadBpsDevice"},
    {&BlockIoResources::throttle_write_bps_device, "blkio.throttle.write_bps_device", "wbps",
     "linux.resources.blockIO.throttleWriteBpsDevice"},
    {&BlockIoResources::throttle_read_iops_device, "blkio.throttle.read_iops_device", "riops",
     "linux.resources.blockIO.throttleReadIOPSDevice"},
    {&BlockIoResources::throttle_write_iops_device, "blkio.throttle.write_iops_device", "wiops",
     "linux.resources.blockIO.throttleWriteIOPSDevice"}};

}  // namespace

uint64_t weight_of_shares(uint64_t shares) {
  if (shares == 0) return 0;
  shares = std::clamp<uint64_t>(shares, 2, 262144);
  return 1 + (shares - 2) * 9999 / 262142;
}

Result<std::vector<CgroupWrite>> translate_v1(const Resources& resources) {
  Writes out;
  TRY(check_page_sizes(resources));
  TRY(check_rdma(resources));
  if (const auto& memory = resources.memory) {
    TRY(check_swap(*memory));
    TRY(check_gone(*memory));
    out.number("memory", "memory.limit_in_bytes", memory->limit, "linux.resources.memory.limit");
    out.number("memory", "memory.memsw.limit_in_bytes", memory->swap,
               "linux.resources.memory.swap");
    out.number("memory", "memory.soft_limit_in_bytes", memory->reservation,
               "linux.resources.memory.reservation");
    out.number("memory", "memory.kmem.tcp.limit_in_bytes", memory->kernel_tcp,
               "linux.resources.memory.kernelTCP");
    if (memory->swappiness && *memory->swappiness > 100)
      return invalid("linux.resources.memory.swappiness: {} is over 100", *memory->swappiness);
    out.number("memory", "memory.swappiness", memory->swappiness,
               "linux.resources.memory.swappiness");
    if (memory->disable_oom_killer.value_or(false))
      out.add("memory", "memory.oom_control", "1", "linux.resources.memory.disableOOMKiller");
  }
  if (const auto& cpu = resources.cpu) {
    if (cpu->shares.value_or(0))
      out.number("cpu", "cpu.shares", cpu->shares, "linux.resources.cpu.shares");
    if (cpu->period.value_or(0))
      out.number("cpu", "cpu.cfs_period_us", cpu->period, "linux.resources.cpu.period");
    if (cpu->quota.value_or(0))
      out.number("cpu", "cpu.cfs_quota_us", cpu->quota, "linux.resources.cpu.quota");
    out.number("cpu", "cpu.cfs_burst_us", cpu->burst, "linux.resources.cpu.burst");
    if (cpu->realtime_period.value_or(0))
      out.number("cpu", "cpu.rt_period_us", cpu->realtime_period,
                 "linux.resources.cpu.realtimePeriod");
    if (cpu->realtime_runtime.value_or(0))
      out.number("cpu", "cpu.rt_runtime_us", cpu->realtime_runtime,
                 "linux.resources.cpu.realtimeRuntime");
    out.number("cpu", "cpu.idle", cpu->idle, "linux.resources.cpu.idle");
    if (!cpu->cpus.empty()) out.add("cpuset", "cpuset.cpus", cpu->cpus, "linux.resources.cpu.cpus");
    if (!cpu->mems.empty()) out.add("cpuset", "cpuset.mems", cpu->mems, "linux.resources.cpu.mems");
  }
  if (resources.pids && resources.pids->limit && *resources.pids->limit != 0)
    out.add("pids", "pids.max", limit_or_max(*resources.pids->limit), "linux.resources.pids.limit");
  if (const auto& io = resources.block_io) {
    TRY(check_block_io(*io));
    if (io->weight.value_or(0))
      out.number("blkio", "blkio.bfq.weight", io->weight, "linux.resources.blockIO.weight");
    for (const WeightDevice& device : io->weight_device)
      out.add("blkio", "blkio.bfq.weight_device",
              fmt::format("{}:{} {}", device.major, device.minor, *device.weight),
              "linux.resources.blockIO.weightDevice");
    for (const Throttle& throttle : kThrottles)
      for (const ThrottleDevice& device : (*io).*throttle.list)
        out.add("blkio", throttle.v1_file,
                fmt::format("{}:{} {}", device.major, device.minor, device.rate), throttle.field);
  }
  add_huge_pages(out, resources, "limit_in_bytes");
  if (const auto& network = resources.network) {
    out.number("net_cls", "net_cls.classid", network->class_id, "linux.resources.network.classID");
    for (const InterfacePriority& entry : network->priorities)
      out.add("net_prio", "net_prio.ifpriomap", fmt::format("{} {}", entry.name, entry.priority),
              "linux.resources.network.priorities");
  }
  return out.take();
}

Result<std::vector<CgroupWrite>> translate_v2(const Resources& resources) {
  Writes out;
  TRY(check_page_sizes(resources));
  TRY(check_rdma(resources));
  if (const auto& memory = resources.memory) {
    TRY(check_swap(*memory));
    TRY(check_gone(*memory));
    if (memory->limit && *memory->limit != 0)
      out.add("memory", "memory.max", limit_or_max(*memory->limit), "linux.resources.memory.limit");
    if (memory->swap && *memory->swap != 0) {
      if (*memory->swap > 0 && memory->limit.value_or(0) <= 0)
        return invalid("linux.resources.memory.swap: needs a memory limit");
      int64_t swap = *memory->swap < 0 ? -1 : *memory->swap - *memory->limit;
      out.add("memory", "memory.swap.max", limit_or_max(swap), "linux.resources.memory.swap");
    }
    if (memory->reservation && *memory->reservation != 0)
      out.add("memory", "memory.low", limit_or_max(*memory->reservation),
              "linux.resources.memory.reservation");
    if (memory->kernel_tcp.value_or(0) > 0)
      out.number("memory", "memory.kmem.tcp.limit_in_bytes", memory->kernel_tcp,
                 "linux.resources.memory.kernelTCP");
    // Limits of version 1 keep its files' names: writing them then says that there is none.
    out.number("memory", "memory.swappiness", memory->swappiness,
               "linux.resources.memory.swappiness");
    if (memory->disable_oom_killer.value_or(false))
      out.add("memory", "memory.oom_control", "1", "linux.resources.memory.disableOOMKiller");
  }
  if (const auto& cpu = resources.cpu) {
    if (cpu->shares.value_or(0))
      out.add("cpu", "cpu.weight", std::to_string(weight_of_shares(*cpu->shares)),
              "linux.resources.cpu.shares");
    if (cpu->quota.value_or(0) || cpu->period.value_or(0)) {
      int64_t quota = cpu->quota.value_or(0);
      uint64_t period = cpu->period.value_or(0) ? *cpu->period : 100000;
      out.add("cpu", "cpu.max",
              fmt::format("{} {}", quota > 0 ? std::to_string(quota) : "max", period),
              "linux.resources.cpu.quota");
    }
    out.number("cpu", "cpu.max.burst", cpu->burst, "linux.resources.cpu.burst");
    out.number("cpu", "cpu.idle", cpu->idle, "linux.resources.cpu.idle");
    if (cpu->realtime_period.value_or(0))
      out.number("cpu", "cpu.rt_period_us", cpu->realtime_period,
                 "linux.resources.cpu.realtimePeriod");
    if (cpu->realtime_runtime.value_or(0))
      out.number("cpu", "cpu.rt_runtime_us", cpu->realtime_runtime,
                 "linux.resources.cpu.realtimeRuntime");
    if (!cpu->cpus.empty()) out.add("cpuset", "cpuset.cpus", cpu->cpus, "linux.resources.cpu.cpus");
    if (!cpu->mems.empty()) out.add("cpuset", "cpuset.mems", cpu->mems, "linux.resources.cpu.mems");
  }
  if (resources.pids && resources.pids->limit && *resources.pids->limit != 0)
    out.add("pids", "pids.max", limit_or_max(*resources.pids->limit), "linux.resources.pids.limit");
  if (const auto& io = resources.block_io) {
    TRY(check_block_io(*io));
    if (io->weight.value_or(0))
      out.add("io", "io.bfq.weight", std::to_string(*io->weight), "linux.resources.blockIO.weight");
    for (const WeightDevice& device : io->weight_device)
      out.add("io", "io.bfq.weight",
              fmt::format("{}:{} {}", device.major, device.minor, *device.weight),
              "linux.resources.blockIO.weightDevice");
    for (const Throttle& throttle : kThrottles)
      for (const ThrottleDevice& device : (*io).*throttle.list)
        out.add(
            "io", "io.max",
            fmt::format("{}:{} {}={}", device.major, device.minor, throttle.v2_key, device.rate),
            throttle.field);
  }
  add_huge_pages(out, resources, "max");
  for (const auto& [device, limit] : resources.rdma) {
    std::string value = device;
    if (limit.hca_handles) value += fmt::format(" hca_handle={}", *limit.hca_handles);
    if (limit.hca_objects) value += fmt::format(" hca_object={}", *limit.hca_objects);
    out.add("rdma", "rdma.max", value, "linux.resources.rdma");
  }
  for (const auto& [file, value] : resources.unified) {
    size_t dot = file.find('.');
    if (dot == std::string::npos || file.find('/') != std::string::npos)
      return invalid("linux.resources.unified: \"{}\" is not the name of a cgroup file", file);
    out.add(file.substr(0, dot).c_str(), file, value, "linux.resources.unified");
  }
  return out.take();
}

Result<std::vector<CgroupWrite>> translate_devices_v1(const std::vector<DeviceCgroup>& rules) {
  Writes out;
  auto number = [](const std::optional<int64_t>& n) {
    return n && *n >= 0 ? std::to_string(*n) : std::string("*");
  };
  for (size_t i = 0; i < rules.size(); ++i) {
    const DeviceCgroup& rule = rules[i];
    std::string type = rule.type.empty() ? "a" : rule.type;
    std::string access = rule.access.empty() ? "rwm" : rule.access;
    if (type != "a" && type != "b" && type != "c")
      return invalid("linux.resources.devices[{}].type: unknown type \"{}\"", i, type);
    if (access.find_first_not_of("rwm") != std::string::npos)
      return invalid("linux.resources.devices[{}].access: \"{}\" is not made of r, w and m", i,
                     access);
    const char* file = rule.allow ? "devices.allow" : "devices.deny";
    // "a" alone resets the whole list; the kernel ignores numbers behind it.
    std::string value = type == "a" ? "a"
                                    : fmt::format("{} {}:{} {}", type, number(rule.major),
                                                  number(rule.minor), access);
    out.add("devices", file, value, "linux.resources.devices");
  }
  return out.take();
}

}  // namespace gantry::libcontainer
