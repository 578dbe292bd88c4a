// Samples of what a container uses (GET /containers/{id}/stats), from its cgroups and its network
// namespace.
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/clock.h"
#include "base/fs.h"
#include "daemon/containers_impl.h"

namespace gantry::daemon {
namespace {

constexpr const char* kZeroTime = "0001-01-01T00:00:00Z";

// The time that all CPUs together have spent, in ns: the first line of /proc/stat (proc(5)) without
// the guests' time, which is part of `user`.
uint64_t system_cpu_usage() {
  Result<std::string> text = fs::read_file("/proc/stat", 1 << 20);
  if (!text || !text->starts_with("cpu ")) return 0;
  const char* at = text->c_str() + 4;
  const char* end = at + text->find('\n') - 4;
  uint64_t ticks = 0;
  for (int field = 0; field < 7 && at < end; field++) {
    at = std::find_if(at, end, [](char c) { return c != ' '; });
    uint64_t value = 0;
    at = std::from_chars(at, end, value).ptr;
    ticks += value;
  }
  return ticks * (1'000'000'000 / static_cast<uint64_t>(::sysconf(_SC_CLK_TCK)));
}

json::object cpu_object(const libcontainer::CpuStats& cpu) {
  json::object usage{{"total_usage", cpu.usage.total}};
  if (!cpu.usage.per_cpu.empty())
    usage["percpu_usage"] = json::array(cpu.usage.per_cpu.begin(), cpu.usage.per_cpu.end());
  usage["usage_in_kernelmode"] = cpu.usage.kernel;
  usage["usage_in_usermode"] = cpu.usage.user;
  return json::object{
      {"cpu_usage", std::move(usage)},
      {"system_cpu_usage", system_cpu_usage()},
      {"online_cpus", ::sysconf(_SC_NPROCESSORS_ONLN)},
      {"throttling_data", json::object{{"periods", cpu.throttling.periods},
                                       {"throttled_periods", cpu.throttling.throttled_periods},
                                       {"throttled_time", cpu.throttling.throttled_time}}}};
}

json::object no_cpu() {
  return json::object{
      {"cpu_usage",
       json::object{{"total_usage", 0}, {"usage_in_kernelmode", 0}, {"usage_in_usermode", 0}}},
      {"throttling_data",
       json::object{{"periods", 0}, {"throttled_periods", 0}, {"throttled_time", 0}}}};
}

json::object memory_object(const libcontainer::MemoryStats& memory) {
  struct sysinfo host = {};
  ::sysinfo(&host);
  uint64_t limit = static_cast<uint64_t>(host.totalram) * host.mem_unit;
  if (memory.usage.limit != 0) limit = std::min(limit, memory.usage.limit);
  json::object out{{"usage", memory.usage.usage}};
  if (memory.usage.max != 0) out["max_usage"] = memory.usage.max;
  json::object raw;
  for (const auto& [key, value] : memory.raw) raw[key] = value;
  out["stats"] = std::move(raw);
  if (memory.usage.failcnt != 0) out["failcnt"] = memory.usage.failcnt;
  out["limit"] = limit;
  return out;
}

json::value blkio_list(const std::vector<libcontainer::BlkioEntry>& entries) {
  if (entries.empty()) return nullptr;
  json::array out;
  for (const libcontainer::BlkioEntry& entry : entries)
    out.push_back(json::object{
        {"major", entry.major}, {"minor", entry.minor}, {"op", entry.op}, {"value", entry.value}});
  return out;
}

json::object blkio_object(const std::optional<libcontainer::BlkioStats>& blkio) {
  json::object out;
  out["io_service_bytes_recursive"] = blkio ? blkio_list(blkio->io_service_bytes) : nullptr;
  out["io_serviced_recursive"] = blkio ? blkio_list(blkio->io_serviced) : nullptr;
  for (const char* key :
       {"io_queue_recursive", "io_service_time_recursive", "io_wait_time_recursive",
        "io_merged_recursive", "io_time_recursive", "sectors_recursive"})
    out[key] = nullptr;
  return out;
}

// The interfaces of a network namespace without lo, by net/dev of one of its processes (proc(5)):
// "eth0:" and eight numbers of what was received, then eight of what was sent.
json::object interfaces(int pid) {
  json::object out;
  Result<std::string> text = fs::read_file(fmt::format("/proc/{}/net/dev", pid), 1 << 20);
  if (!text) return out;
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string_view name = line.substr(0, colon);
    name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
    if (name == "lo") continue;
    uint64_t values[16] = {};
    const char* at = line.data() + colon + 1;
    const char* end = line.data() + line.size();
    for (uint64_t& value : values) {
      at = std::find_if(at, end, [](char c) { return c != ' '; });
      at = std::from_chars(at, end, value).ptr;
    }
    out[name] = json::object{{"rx_bytes", values[0]},   {"rx_packets", values[1]},
                             {"rx_errors", values[2]},  {"rx_dropped", values[3]},
                             {"tx_bytes", values[8]},   {"tx_packets", values[9]},
                             {"tx_errors", values[10]}, {"tx_dropped", values[11]}};
  }
  return out;
}

}  // namespace

Result<json::object> Containers::stats(const std::string& reference,
                                       const json::object& previous) const {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  std::shared_ptr<const ContainerRecord> record = container->record();
  std::shared_ptr<drivers::Instance> instance = container->instance();
  std::optional<libcontainer::Stats> sample;
  if (record->running() && instance) {
    Result<libcontainer::Stats> read = instance->stats();
    // A container that ends meanwhile has none any more.
    if (read) sample = std::move(*read);
  }
  json::object out;
  out["name"] = "/" + record->name;
  out["id"] = record->id;
  out["read"] = sample ? format_time(now_ns()) : kZeroTime;
  auto before = previous.find("read");
  out["preread"] = before == previous.end() ? json::value(kZeroTime) : before->value();
  json::object pids;
  if (sample && sample->pids) {
    pids["current"] = sample->pids->current;
    if (sample->pids->limit != 0) pids["limit"] = sample->pids->limit;
  }
  out["pids_stats"] = std::move(pids);
  out["blkio_stats"] = blkio_object(sample ? sample->blkio : std::nullopt);
  out["num_procs"] = 0;
  out["storage_stats"] = json::object();
  out["cpu_stats"] = sample && sample->cpu ? cpu_object(*sample->cpu) : no_cpu();
  auto cpu_before = previous.find("cpu_stats");
  out["precpu_stats"] = cpu_before == previous.end() ? json::value(no_cpu()) : cpu_before->value();
  out["memory_stats"] = sample && sample->memory ? memory_object(*sample->memory) : json::object();
  if (sample && record->host_config.NetworkMode != "host") {
    json::object networks = interfaces(record->state.pid);
    if (!networks.empty()) out["networks"] = std::move(networks);
  }
  return out;
}

}  // namespace gantry::daemon
