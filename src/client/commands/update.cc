#include "base/units.h"
#include "client/commands/commands.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

// Only what was given is sent: the rest of the container's limits stays.
struct UpdateOptions {
  std::optional<int64_t> cpu_period, cpu_quota, cpu_rt_period, cpu_rt_runtime, cpu_shares,
      pids_limit;
  std::optional<uint16_t> blkio_weight;
  std::optional<std::string> cpuset_cpus, cpuset_mems;
  std::optional<int64_t> cpus, memory, memory_reservation, memory_swap;
  std::string restart;
};

template <auto Parse>
Status set_parsed(void* member, std::string_view text) {
  *static_cast<std::optional<int64_t>*>(member) = TRY(Parse(text));
  return {};
}
Result<int64_t> parse_swap(std::string_view text) {
  if (text == "-1") return int64_t{-1};
  return parse_ram_size(text);
}

constexpr Flag kUpdateFlags[] = {
    flag<&UpdateOptions::blkio_weight>(
        "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable",
        {.type = "uint16", .default_text = "0"}),
    flag<&UpdateOptions::cpu_period>("cpu-period", 0,
                                     "Limit CPU CFS (Completely Fair Scheduler) period"),
    flag<&UpdateOptions::cpu_quota>("cpu-quota", 0,
                                    "Limit CPU CFS (Completely Fair Scheduler) quota"),
    flag<&UpdateOptions::cpu_rt_period>("cpu-rt-period", 0,
                                        "Limit the CPU real-time period in microseconds"),
    flag<&UpdateOptions::cpu_rt_runtime>("cpu-rt-runtime", 0,
                                         "Limit the CPU real-time runtime in microseconds"),
    flag<&UpdateOptions::cpu_shares>("cpu-shares", 'c', "CPU shares (relative weight)"),
    flag<&UpdateOptions::cpus>("cpus", 0, "Number of CPUs",
                               {.type = "decimal", .set = set_parsed<parse_nano_cpus>}),
    flag<&UpdateOptions::cpuset_cpus>("cpuset-cpus", 0,
                                      "CPUs in which to allow execution (0-3, 0,1)"),
    flag<&UpdateOptions::cpuset_mems>("cpuset-mems", 0,
                                      "MEMs in which to allow execution (0-3, 0,1)"),
    flag<&UpdateOptions::memory>("memory", 'm', "Memory limit",
                                 {.type = "bytes", .set = set_parsed<parse_ram_size>}),
    flag<&UpdateOptions::memory_reservation>("memory-reservation", 0, "Memory soft limit",
                                             {.type = "bytes", .set = set_parsed<parse_ram_size>}),
    flag<&UpdateOptions::memory_swap>(
        "memory-swap", 0, "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        {.type = "bytes", .set = set_parsed<parse_swap>}),
    flag<&UpdateOptions::pids_limit>("pids-limit", 0,
                                     "Tune container pids limit (set -1 for unlimited)"),
    flag<&UpdateOptions::restart>("restart", 0, "Restart policy to apply when a container exits"),
};
const FlagGroup kUpdateGroups[] = {own_flags(kUpdateFlags)};

Result<int> run_update(Cli& cli, UpdateOptions& o, Arguments& names) {
  struct Number {
    std::string_view member;
    const std::optional<int64_t>& value;
  };
  json::object request;
  for (const Number& number :
       std::initializer_list<Number>{{"CpuPeriod", o.cpu_period},
                                     {"CpuQuota", o.cpu_quota},
                                     {"CpuRealtimePeriod", o.cpu_rt_period},
                                     {"CpuRealtimeRuntime", o.cpu_rt_runtime},
                                     {"CpuShares", o.cpu_shares},
                                     {"PidsLimit", o.pids_limit},
                                     {"NanoCpus", o.cpus},
                                     {"Memory", o.memory},
                                     {"MemoryReservation", o.memory_reservation},
                                     {"MemorySwap", o.memory_swap}})
    if (number.value) request[number.member] = *number.value;
  if (o.blkio_weight) request["BlkioWeight"] = *o.blkio_weight;
  if (o.cpuset_cpus) request["CpusetCpus"] = *o.cpuset_cpus;
  if (o.cpuset_mems) request["CpusetMems"] = *o.cpuset_mems;
  if (request.empty() && o.restart.empty())
    return invalid("you must provide one or more flags when using this command");
  if (!o.restart.empty()) {
    json::object policy = TRY(parse_restart(o.restart));
    request["RestartPolicy"] = std::move(policy);
  }
  Api* api = TRY(cli.api());
  return for_each_name(names, EchoNames::no, [&](const std::string& name) -> Status {
    std::string body = TRY(api->call("POST", Path::of({"containers", name, "update"}), request));
    json::value answer = TRY(json::parse(body));
    for (const json::value& warning : array_of(answer, "Warnings"))
      if (warning.is_string()) print_error(std::string_view(warning.get_string()));
    print_out("{}\n", name);
    return {};
  });
}

}  // namespace

std::span<const Command> update_commands() {
  static const Command commands[] = {
      command<UpdateOptions, run_update>(
          {.name = "update",
           .use = "[OPTIONS] CONTAINER [CONTAINER...]",
           .summary = "Update configuration of one or more containers",
           .arity = at_least(1),
           .flags = kUpdateGroups}),
  };
  return commands;
}

}  // namespace gantry::client
