#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "daemon/containers_impl.h"
#include "daemon/spec_builder.h"
#include "drivers/graph/graph_driver.h"

namespace gantry::daemon {
namespace {

json::object state_object(const ContainerState& state) {
  bool paused = state.status == "paused";
  bool restarting = state.status == "restarting";
  json::object out;
  out["Status"] = state.status;
  out["Running"] = state.status == "running" || paused || restarting;
  out["Paused"] = paused;
  out["Restarting"] = restarting;
  out["OOMKilled"] = state.oom_killed;
  out["Dead"] = state.status == "dead";
  out["Pid"] = state.pid;
  out["ExitCode"] = state.exit_code;
  out["Error"] = state.error;
  out["StartedAt"] = format_time(state.started_at);
  out["FinishedAt"] = format_time(state.finished_at);
  if (state.health) {
    json::array log;
    for (const HealthResult& result : state.health->log)
      log.push_back(json::object{{"Start", format_time(result.start)},
                                 {"End", format_time(result.end)},
                                 {"ExitCode", result.exit_code},
                                 {"Output", result.output}});
    out["Health"] = json::object{{"Status", state.health->status},
                                 {"FailingStreak", state.health->failing_streak},
                                 {"Log", std::move(log)}};
  }
  return out;
}

json::object network_settings(const ContainerRecord& record) {
  json::object out;
  out["Bridge"] = "";
  out["SandboxID"] = record.sandbox_id;
  out["SandboxKey"] = record.sandbox_key;
  json::object ports = json::encode(record.ports).as_object();
  if (record.running())
    for (const auto& [port, unused] : record.config.ExposedPorts)
      if (!ports.contains(port)) ports[port] = nullptr;
  out["Ports"] = record.running() ? ports : json::object();
  out["HairpinMode"] = false;
  out["LinkLocalIPv6Address"] = "";
  out["LinkLocalIPv6PrefixLen"] = 0;
  out["SecondaryIPAddresses"] = nullptr;
  out["SecondaryIPv6Addresses"] = nullptr;
  // The default network's endpoint is repeated here for clients of before there were others.
  api::EndpointSettings first;
  if (auto found = record.networks.find("bridge");
      found != record.networks.end() && record.running())
    first = found->second;
  out["EndpointID"] = first.EndpointID;
  out["Gateway"] = first.Gateway;
  out["GlobalIPv6Address"] = first.GlobalIPv6Address;
  out["GlobalIPv6PrefixLen"] = first.GlobalIPv6PrefixLen;
  out["IPAddress"] = first.IPAddress;
  out["IPPrefixLen"] = first.IPPrefixLen;
  out["IPv6Gateway"] = first.IPv6Gateway;
  out["MacAddress"] = first.MacAddress;
  json::object networks;
  for (const auto& [name, value] : record.networks) {
    api::EndpointSettings shown = value;
    if (!record.running()) {
      shown.EndpointID = shown.Gateway = shown.IPAddress = shown.IPv6Gateway =
          shown.GlobalIPv6Address = "";
      shown.IPPrefixLen = shown.GlobalIPv6PrefixLen = 0;
    }
    networks[name] = json::encode(shown);
  }
  out["Networks"] = std::move(networks);
  return out;
}

json::array mount_list(const ContainerRecord& record) {
  json::array out;
  for (const MountPoint& mount : record.mounts) {
    json::object entry;
    entry["Type"] = mount.type;
    if (!mount.name.empty()) entry["Name"] = mount.name;
    entry["Source"] = mount.source;
    entry["Destination"] = mount.destination;
    if (!mount.driver.empty()) entry["Driver"] = mount.driver;
    entry["Mode"] = mount.mode == "exists" || mount.mode == "create" ? "" : mount.mode;
    entry["RW"] = mount.writable;
    entry["Propagation"] = mount.propagation;
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace

Result<json::object> Containers::inspect(const std::string& reference, bool size) const {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  std::shared_ptr<const ContainerRecord> record = container->record();
  std::string directory = impl_->directory_of(record->id);
  bool started = record->state.started_at != 0;
  json::object out;
  out["Id"] = record->id;
  out["Created"] = format_time(record->created);
  out["Path"] = record->path;
  out["Args"] = json::encode(record->args);
  out["State"] = state_object(record->state);
  out["Image"] = record->image_id;
  out["ResolvConfPath"] = started ? directory + "/resolv.conf" : "";
  out["HostnamePath"] = started ? directory + "/hostname" : "";
  out["HostsPath"] = started ? directory + "/hosts" : "";
  out["LogPath"] = record->log_path;
  out["Name"] = "/" + record->name;
  out["RestartCount"] = record->state.restart_count;
  out["Driver"] = record->graph_driver;
  out["Platform"] = record->platform;
  out["MountLabel"] = "";
  out["ProcessLabel"] = "";
  Result<std::string> apparmor = build_apparmor_profile(record->host_config);
  out["AppArmorProfile"] = apparmor ? *apparmor : "";
  json::array execs;
  {
    std::lock_guard lock(impl_->exec_mutex);
    for (const auto& [id, exec] : impl_->execs)
      if (exec.container == record->id && exec.running) execs.push_back(json::value(id));
  }
  out["ExecIDs"] = execs.empty() ? json::value(nullptr) : json::value(std::move(execs));
  out["HostConfig"] = json::encode(record->host_config);
  json::object data;
  if (record->rootfs.type == "overlay") {
    std::string lower;
    for (const ErofsImage& image : record->rootfs.images)
      lower += (lower.empty() ? "" : ":") + image.index;
    for (const std::string& directory_name : record->rootfs.lower)
      lower += (lower.empty() ? "" : ":") + directory_name;
    data["LowerDir"] = lower;
    data["UpperDir"] = record->rootfs.upper;
    data["WorkDir"] = record->rootfs.work;
  }
  out["GraphDriver"] = json::object{{"Name", record->graph_driver}, {"Data", std::move(data)}};
  if (size) {
    int64_t changed = impl_->changed_bytes(record->id);
    out["SizeRw"] = changed;
    out["SizeRootFs"] = changed;
  }
  out["Mounts"] = mount_list(*record);
  out["Config"] = json::encode(record->config);
  out["NetworkSettings"] = network_settings(*record);
  return out;
}

}  // namespace gantry::daemon
