#include <strings.h>

#include <algorithm>

#include "base/fs.h"
#include "client/options/container_options.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

json::array strings(const std::vector<std::string>& list) {
  json::array out;
  for (const std::string& item : list) out.push_back(boost::json::string(item));
  return out;
}

json::value strings_or_null(const std::vector<std::string>& list) {
  return list.empty() ? json::value(nullptr) : json::value(strings(list));
}

template <typename Parse>
Result<json::array> parsed(const std::vector<std::string>& list, Parse parse) {
  json::array out;
  for (const std::string& item : list) {
    json::object entry = TRY(parse(item));
    out.push_back(std::move(entry));
  }
  return out;
}

bool attaches(const ContainerOptions& o, std::string_view stream) {
  for (const std::string& name : o.attach)
    if (name.size() == stream.size() &&
        ::strncasecmp(name.c_str(), stream.data(), name.size()) == 0)
      return true;
  return false;
}

Status check(const ContainerOptions& o) {
  if (o.memory_swappiness != -1 && (o.memory_swappiness < 0 || o.memory_swappiness > 100))
    return invalid("invalid value: {}. Valid memory swappiness range is 0-100",
                   o.memory_swappiness);
  const bool health = !o.health_cmd.empty() || o.health_interval || o.health_timeout ||
                      o.health_start_period || o.health_start_interval || o.health_retries;
  if (o.no_healthcheck && health)
    return invalid("--no-healthcheck conflicts with --health-* options");
  if (o.health_retries < 0) return invalid("--health-retries cannot be negative");
  struct Duration {
    std::string_view name;
    int64_t value;
  };
  for (const Duration& d : {Duration{"health-interval", o.health_interval},
                            Duration{"health-timeout", o.health_timeout},
                            Duration{"health-start-period", o.health_start_period},
                            Duration{"health-start-interval", o.health_start_interval}})
    if (d.value < 0) return invalid("--{} cannot be negative", d.name);
  if (o.rm && !o.restart.empty() && o.restart != "no")
    return invalid("conflicting options: cannot specify both --restart and --rm");
  if (!o.network_alias.empty() && o.network.size() > 1)
    return invalid(
        "conflicting options: cannot specify both --network-alias and per-network alias");
  return {};
}

json::object healthcheck(const ContainerOptions& o) {
  json::object out;
  if (o.no_healthcheck) {
    out["Test"] = json::array{"NONE"};
    return out;
  }
  if (!o.health_cmd.empty()) out["Test"] = json::array{"CMD-SHELL", json::value(o.health_cmd)};
  if (o.health_interval) out["Interval"] = o.health_interval;
  if (o.health_timeout) out["Timeout"] = o.health_timeout;
  if (o.health_start_period) out["StartPeriod"] = o.health_start_period;
  if (o.health_start_interval) out["StartInterval"] = o.health_start_interval;
  if (o.health_retries) out["Retries"] = o.health_retries;
  return out;
}

// Config: what the image may also say.
Result<json::object> config(const ContainerOptions& o) {
  const bool plain = o.attach.empty() && !o.detach;
  json::object out;
  out["Hostname"] = o.hostname;
  out["Domainname"] = o.domainname;
  out["User"] = o.user;
  out["AttachStdin"] = plain ? o.interactive : attaches(o, "stdin");
  out["AttachStdout"] = plain || attaches(o, "stdout");
  out["AttachStderr"] = plain || attaches(o, "stderr");
  out["Tty"] = o.tty;
  out["OpenStdin"] = o.interactive;
  out["StdinOnce"] = o.interactive && out["AttachStdin"].as_bool();
  std::vector<std::string> environment = TRY(collect_environment(o.env_file, o.env));
  out["Env"] = strings_or_null(environment);
  out["Cmd"] = strings_or_null(o.command);
  if (json::object health = healthcheck(o); !health.empty()) out["Healthcheck"] = std::move(health);
  out["Image"] = o.image;
  out["WorkingDir"] = o.workdir;
  if (o.entrypoint)  // --entrypoint "" clears the image's
    out["Entrypoint"] = json::array{json::value(*o.entrypoint)};
  std::vector<std::string> labels;
  for (const std::string& file : o.label_file)
    for (std::string& line : TRY(read_lines_file(file, FileKind::labels)))
      labels.push_back(std::move(line));
  labels.insert(labels.end(), o.label.begin(), o.label.end());
  out["Labels"] = key_values(labels);
  if (!o.stop_signal.empty()) out["StopSignal"] = o.stop_signal;
  if (o.stop_timeout) out["StopTimeout"] = *o.stop_timeout;
  return out;
}

Status add_ports(const ContainerOptions& o, json::object& config, json::object& host) {
  json::object exposed, bindings;
  for (const std::string& spec : o.publish)
    for (const PortMapping& port : TRY(parse_port(spec))) {
      exposed[port.container] = json::object();
      if (!bindings.contains(port.container)) bindings[port.container] = json::array();
      bindings[port.container].as_array().push_back(
          json::object{{"HostIp", port.host_ip}, {"HostPort", port.host_port}});
    }
  for (const std::string& spec : o.expose)
    for (const std::string& port : TRY(parse_expose(spec))) exposed[port] = json::object();
  if (!exposed.empty()) config["ExposedPorts"] = std::move(exposed);
  host["PortBindings"] = std::move(bindings);
  host["PublishAllPorts"] = o.publish_all;
  return {};
}

Status add_mounts(const ContainerOptions& o, json::object& config, json::object& host) {
  json::object anonymous;
  json::array binds;
  for (const std::string& spec : o.volume) {
    VolumeSpec volume = TRY(parse_volume(spec));
    if (volume.anonymous)
      anonymous[volume.bind] = json::object();
    else
      binds.push_back(json::value(volume.bind));
  }
  if (!anonymous.empty()) config["Volumes"] = std::move(anonymous);
  host["Binds"] = binds.empty() ? json::value(nullptr) : json::value(std::move(binds));
  if (!o.mounts.empty()) host["Mounts"] = TRY(parsed(o.mounts, parse_mount));
  json::object tmpfs;
  for (const std::string& spec : o.tmpfs) {
    size_t colon = spec.find(':');
    tmpfs[spec.substr(0, colon)] = colon == spec.npos ? "" : spec.substr(colon + 1);
  }
  if (!tmpfs.empty()) host["Tmpfs"] = std::move(tmpfs);
  host["VolumesFrom"] = strings_or_null(o.volumes_from);
  host["VolumeDriver"] = o.volume_driver;
  return {};
}

Status add_resources(const ContainerOptions& o, json::object& host) {
  struct Number {
    std::string_view name;
    int64_t value;
  };
  for (const Number& n :
       std::initializer_list<Number>{{"Memory", o.memory},
                                     {"MemoryReservation", o.memory_reservation},
                                     {"MemorySwap", o.memory_swap},
                                     {"NanoCpus", o.cpus},
                                     {"CpuShares", o.cpu_shares},
                                     {"CpuPeriod", o.cpu_period},
                                     {"CpuQuota", o.cpu_quota},
                                     {"CpuRealtimePeriod", o.cpu_rt_period},
                                     {"CpuRealtimeRuntime", o.cpu_rt_runtime},
                                     {"BlkioWeight", o.blkio_weight},
                                     {"CpuCount", o.cpu_count},
                                     {"CpuPercent", o.cpu_percent},
                                     {"KernelMemory", o.kernel_memory},
                                     {"IOMaximumBandwidth", o.io_maxbandwidth},
                                     {"IOMaximumIOps", static_cast<int64_t>(o.io_maxiops)},
                                     {"ShmSize", o.shm_size},
                                     {"OomScoreAdj", o.oom_score_adj}})
    host[n.name] = n.value;
  host["CpusetCpus"] = o.cpuset_cpus;
  host["CpusetMems"] = o.cpuset_mems;
  host["CgroupParent"] = o.cgroup_parent;
  host["OomKillDisable"] = o.oom_kill_disable;
  host["PidsLimit"] = o.pids_limit;
  if (o.memory_swappiness != -1) host["MemorySwappiness"] = o.memory_swappiness;
  host["BlkioWeightDevice"] = TRY(parsed(o.blkio_weight_device, parse_weight_device));
  host["BlkioDeviceReadBps"] = TRY(parsed(o.device_read_bps, parse_rate_device));
  host["BlkioDeviceWriteBps"] = TRY(parsed(o.device_write_bps, parse_rate_device));
  host["BlkioDeviceReadIOps"] = TRY(parsed(o.device_read_iops, parse_rate_device));
  host["BlkioDeviceWriteIOps"] = TRY(parsed(o.device_write_iops, parse_rate_device));
  host["Ulimits"] = TRY(parsed(o.ulimit, parse_ulimit));
  json::array devices, requests;
  for (const std::string& spec : o.device) {
    size_t equals = spec.find('=');
    if (!spec.starts_with('/') && equals != spec.npos &&
        spec.find('/') < equals)  // vendor/class=name: CDI
      requests.push_back(
          json::object{{"Driver", "cdi"}, {"DeviceIDs", json::array{json::value(spec)}}});
    else {
      json::object parsed_device = TRY(parse_device(spec));
      devices.push_back(std::move(parsed_device));
    }
  }
  host["Devices"] = std::move(devices);
  for (const std::string& spec : o.gpus) {
    json::object request = TRY(parse_gpus(spec));
    requests.push_back(std::move(request));
  }
  host["DeviceRequests"] =
      requests.empty() ? json::value(nullptr) : json::value(std::move(requests));
  host["DeviceCgroupRules"] = strings_or_null(o.device_cgroup_rule);
  return {};
}

// seccomp=FILE is read here: the daemon gets the profile itself.
Result<json::value> security_options(const std::vector<std::string>& list) {
  json::array out;
  for (const std::string& text : list) {
    size_t split = text.find_first_of("=:");
    if (split == text.npos && text != "no-new-privileges")
      return invalid("Invalid --security-opt: \"{}\"", text);
    std::string name = text.substr(0, split);
    std::string value = split == text.npos ? "" : text.substr(split + 1);
    if (name == "seccomp" && value != "unconfined" && value != "builtin") {
      auto profile = fs::read_file(value);
      if (!profile)
        return std::move(profile).error().context(
            fmt::format("opening seccomp profile ({}) failed", value));
      json::value document = TRY(
          json::parse(*profile).context("compacting json for seccomp profile ({}) failed", value));
      out.push_back(json::value("seccomp=" + json::serialize(document)));
    } else {
      out.push_back(json::value(text));
    }
  }
  return out.empty() ? json::value(nullptr) : json::value(std::move(out));
}

Status check_modes(const ContainerOptions& o) {
  auto one_of = [](std::string_view text, std::initializer_list<std::string_view> known) {
    return std::ranges::find(known, text) != known.end();
  };
  if (!one_of(o.pid, {"", "host"}) && (!o.pid.starts_with("container:") || o.pid.size() == 10))
    return invalid("--pid: invalid PID mode");
  if (!one_of(o.uts, {"", "host"})) return invalid("--uts: invalid UTS mode");
  if (!one_of(o.userns, {"", "host"})) return invalid("--userns: invalid USER mode");
  if (!one_of(o.cgroupns, {"", "private", "host"}))
    return invalid("--cgroupns: invalid CGROUP mode");
  return {};
}

Status add_namespaces(const ContainerOptions& o, json::object& host) {
  TRY(check_modes(o));
  struct Text {
    std::string_view name;
    const std::string& value;
  };
  for (const Text& t : std::initializer_list<Text>{{"IpcMode", o.ipc},
                                                   {"PidMode", o.pid},
                                                   {"UTSMode", o.uts},
                                                   {"UsernsMode", o.userns},
                                                   {"CgroupnsMode", o.cgroupns},
                                                   {"Isolation", o.isolation},
                                                   {"Runtime", o.runtime},
                                                   {"ContainerIDFile", o.cidfile}})
    if (!t.value.empty()) host[t.name] = t.value;
  host["CapAdd"] = strings_or_null(o.cap_add);
  host["CapDrop"] = strings_or_null(o.cap_drop);
  host["GroupAdd"] = strings_or_null(o.group_add);
  host["Privileged"] = o.privileged;
  host["ReadonlyRootfs"] = o.read_only;
  host["SecurityOpt"] = TRY(security_options(o.security_opt));
  if (std::ranges::find(o.security_opt, "systempaths=unconfined") != o.security_opt.end()) {
    host["MaskedPaths"] = json::array();
    host["ReadonlyPaths"] = json::array();
    json::array& list = host["SecurityOpt"].as_array();
    list.erase(std::ranges::find(list, json::value("systempaths=unconfined")));
  }
  if (!o.sysctl.empty()) host["Sysctls"] = key_values(o.sysctl);
  if (!o.storage_opt.empty()) host["StorageOpt"] = key_values(o.storage_opt);
  if (!o.annotation.empty()) host["Annotations"] = key_values(o.annotation);
  if (o.init) host["Init"] = *o.init;
  return {};
}

Result<json::object> networking(const ContainerOptions& o, json::object& config,
                                json::object& host) {
  json::object endpoints;
  std::string mode = "default";
  for (size_t i = 0; i < o.network.size(); ++i) {
    std::string name;
    json::object endpoint = TRY(parse_network_attachment(o.network[i], name));
    if (i == 0) mode = name;
    if (endpoints.contains(name))
      return invalid("network \"{}\" is specified multiple times", name);
    endpoints[name] = std::move(endpoint);
  }
  if (endpoints.empty()) endpoints["default"] = json::object();
  json::object& first = endpoints[mode].as_object();
  if (!o.network_alias.empty()) first["Aliases"] = strings(o.network_alias);
  if (!o.link.empty()) first["Links"] = strings(o.link);
  json::object ipam;
  if (!o.ip.empty()) ipam["IPv4Address"] = o.ip;
  if (!o.ip6.empty()) ipam["IPv6Address"] = o.ip6;
  if (!o.link_local_ip.empty()) ipam["LinkLocalIPs"] = strings(o.link_local_ip);
  if (!ipam.empty()) first["IPAMConfig"] = std::move(ipam);
  if (!o.mac_address.empty()) {
    first["MacAddress"] = o.mac_address;
    config["MacAddress"] = o.mac_address;  // before API 1.44
  }
  host["NetworkMode"] = mode;
  host["Links"] = strings_or_null(o.link);
  host["Dns"] = strings(o.dns);
  host["DnsOptions"] = strings(o.dns_option);
  host["DnsSearch"] = strings(o.dns_search);
  json::array hosts;
  for (const std::string& spec : o.add_host) {
    std::string entry = TRY(parse_add_host(spec));
    hosts.push_back(json::value(entry));
  }
  host["ExtraHosts"] = hosts.empty() ? json::value(nullptr) : json::value(std::move(hosts));
  return json::object{{"EndpointsConfig", std::move(endpoints)}};
}

}  // namespace

Result<json::object> container_request(const ContainerOptions& o) {
  TRY(check(o));
  json::object body = TRY(config(o));
  json::object host;
  TRY(add_ports(o, body, host));
  TRY(add_mounts(o, body, host));
  TRY(add_resources(o, host));
  TRY(add_namespaces(o, host));
  json::object log = key_values(o.log_opt);
  if (o.log_driver == "none" && !log.empty())
    return invalid("invalid logging opts for driver none");
  host["LogConfig"] = json::object{{"Type", o.log_driver}, {"Config", std::move(log)}};
  host["RestartPolicy"] = TRY(parse_restart(o.restart));
  host["AutoRemove"] = o.rm;
  json::object network = TRY(networking(o, body, host));
  body["HostConfig"] = std::move(host);
  body["NetworkingConfig"] = std::move(network);
  return body;
}

}  // namespace gantry::client
