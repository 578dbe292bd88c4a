#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "base/clock.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/units.h"
#include "daemon/containers_impl.h"
#include "daemon/filters.h"
#include "drivers/graph/graph_driver.h"

namespace gantry::daemon {
namespace {

std::string status_text(const ContainerState& state) {
  int64_t now = now_ns();
  if (state.status == "running") {
    const std::string health = health_text(state);
    return "Up " + human_duration(now - state.started_at) +
           (health.empty() ? "" : " (" + health + ")");
  }
  if (state.status == "paused")
    return fmt::format("Up {} (Paused)", human_duration(now - state.started_at));
  if (state.status == "restarting")
    return fmt::format("Restarting ({}) {} ago", state.exit_code,
                       human_duration(now - state.finished_at));
  if (state.status == "exited")
    return fmt::format("Exited ({}) {} ago", state.exit_code,
                       human_duration(now - state.finished_at));
  if (state.status == "removing") return "Removal In Progress";
  if (state.status == "dead") return "Dead";
  return "Created";
}

json::array port_list(const ContainerRecord& record) {
  json::array out;
  auto add = [&](const std::string& port, const api::PortBinding* binding) {
    size_t slash = port.find('/');
    json::object entry;
    if (binding && !binding->HostIp.empty()) entry["IP"] = binding->HostIp;
    entry["PrivatePort"] = std::atoi(port.c_str());
    if (binding) entry["PublicPort"] = std::atoi(binding->HostPort.c_str());
    entry["Type"] = slash == std::string::npos ? "tcp" : port.substr(slash + 1);
    out.push_back(std::move(entry));
  };
  if (!record.running()) return out;
  for (const auto& [port, bindings] : record.ports) {
    if (!bindings || bindings->empty())
      add(port, nullptr);
    else
      for (const api::PortBinding& binding : *bindings) add(port, &binding);
  }
  for (const auto& [port, unused] : record.config.ExposedPorts)
    if (!record.ports.contains(port)) add(port, nullptr);
  return out;
}

std::string command_text(const ContainerRecord& record) {
  std::string out = record.path;
  for (const std::string& word : record.args) {
    bool quote = word.empty() || word.find(' ') != std::string::npos;
    out += quote ? " '" + word + "'" : " " + word;
  }
  return out;
}

}  // namespace

int64_t Containers::Impl::changed_bytes(const std::string& id) const {
  int64_t total = 0;
  (void)daemon.graph_driver().diff(id, [&](const drivers::Change& change) -> Status {
    struct stat st;
    if (change.directory_fd >= 0 &&
        ::fstatat(change.directory_fd, change.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode))
      total += st.st_size;
    return {};
  });
  return total;
}

namespace {

bool any_of(const std::vector<std::string>& values,
            const std::function<bool(const std::string&)>& test) {
  return std::any_of(values.begin(), values.end(), test);
}

Result<bool> matches(const Containers::Impl& impl, const Filters& filters,
                     const ContainerRecord& record) {
  for (const auto& [key, values] : filters) {
    if (key == "label" || values.empty()) continue;
    bool matched = any_of(values, [&](const std::string& value) {
      if (key == "id") return record.id.starts_with(value);
      if (key == "name")
        return ("/" + record.name)
                   .find(value.starts_with('/') || value.starts_with('^')
                             ? value.substr(value.starts_with('^'))
                             : value) != std::string::npos;
      if (key == "status") return record.state.status == value;
      if (key == "exited")
        return record.state.status == "exited" && std::to_string(record.state.exit_code) == value;
      if (key == "ancestor")
        return record.config.Image == value || record.config.Image == value + ":latest" ||
               record.image_id == value || record.image_id.substr(7).starts_with(value);
      if (key == "network")
        return any_of({record.host_config.NetworkMode},
                      [&](const std::string& mode) { return mode == value; }) ||
               record.networks.contains(value) ||
               std::any_of(record.networks.begin(), record.networks.end(), [&](const auto& n) {
                 return !n.second.NetworkID.empty() && n.second.NetworkID.starts_with(value);
               });
      if (key == "volume")
        return std::any_of(record.mounts.begin(), record.mounts.end(), [&](const MountPoint& m) {
          return m.name == value || m.destination == value;
        });
      if (key == "publish" || key == "expose") {
        std::string wanted = value.find('/') == std::string::npos ? value + "/tcp" : value;
        if (key == "publish") return record.host_config.PortBindings.contains(wanted);
        return record.config.ExposedPorts.contains(wanted) ||
               record.host_config.PortBindings.contains(wanted);
      }
      if (key == "health")
        return value == (record.state.health ? record.state.health->status : "none");
      if (key == "is-task") return value == "false" || value == "0";
      if (key == "before" || key == "since") {
        Result<std::shared_ptr<Container>> other = impl.table.find(value);
        if (!other) return false;
        int64_t created = (*other)->record()->created;
        return key == "before" ? record.created < created : record.created > created;
      }
      return false;
    });
    if (!matched) return false;
  }
  return matches_labels(filters, record.config.Labels);
}

// What `ps` shows of a container but for what changes by itself: the text of a JSON object without
// its last brace.
std::string summary(const ContainerRecord& record) {
  json::object out;
  out["Id"] = record.id;
  out["Names"] = json::array{"/" + record.name};
  out["Image"] = record.config.Image;
  out["ImageID"] = record.image_id;
  out["Command"] = command_text(record);
  out["Created"] = record.created / 1'000'000'000;
  out["Ports"] = port_list(record);
  out["Labels"] = json::encode(record.config.Labels);
  out["State"] = record.state.status;
  out["HostConfig"] = json::object{{"NetworkMode", record.host_config.NetworkMode}};
  out["NetworkSettings"] = json::object{{"Networks", json::encode(record.networks)}};
  json::array mounts;
  for (const MountPoint& mount : record.mounts)
    if (mount.type != "tmpfs")
      mounts.push_back(json::object{{"Type", mount.type},
                                    {"Name", mount.name},
                                    {"Source", mount.source},
                                    {"Destination", mount.destination},
                                    {"Driver", mount.driver},
                                    {"Mode", mount.mode},
                                    {"RW", mount.writable},
                                    {"Propagation", mount.propagation}});
  out["Mounts"] = std::move(mounts);
  std::string text = json::serialize(out);
  text.pop_back();
  return text;
}

}  // namespace

Status Containers::list(const ListQuery& query,
                        const std::function<Status(std::string_view)>& write) const {
  TRY(check_filter_keys(query.filters, {"ancestor", "before", "expose", "exited", "health", "id",
                                        "isolation", "is-task", "label", "name", "network",
                                        "publish", "since", "status", "volume"}));
  if (auto found = query.filters.find("status"); found != query.filters.end())
    for (const std::string& status : found->second) {
      static const std::set<std::string> kKnown = {"created",  "running", "paused", "restarting",
                                                   "removing", "exited",  "dead"};
      if (!kKnown.contains(status)) return invalid("invalid filter 'status={}'", status);
    }
  if (auto found = query.filters.find("health"); found != query.filters.end())
    for (const std::string& health : found->second)
      if (health != "none" && health != "starting" && health != "healthy" && health != "unhealthy")
        return invalid("unrecognised filter value for health: {}", health);
  for (const char* key : {"before", "since"})
    if (auto found = query.filters.find(key); found != query.filters.end())
      for (const std::string& reference : found->second) TRY(impl_->table.find(reference));
  bool all = query.all || query.limit > 0 || query.filters.contains("status") ||
             query.filters.contains("exited") || query.filters.contains("before") ||
             query.filters.contains("since");
  std::string piece = "[";
  int shown = 0;
  for (const std::shared_ptr<Container>& container : impl_->table.all()) {
    std::shared_ptr<const ContainerRecord> record = container->record();
    if (!all && !record->running() && record->state.status != "restarting") continue;
    if (!TRY(matches(*impl_, query.filters, *record))) continue;
    if (shown > 0) piece += ',';
    piece += *container->rendered(record, summary);
    piece.append(",\"Status\":\"").append(status_text(record->state)).append("\"");
    if (query.size) {
      const int64_t changed = impl_->changed_bytes(record->id);
      piece += fmt::format(",\"SizeRw\":{},\"SizeRootFs\":{}", changed, changed);
    }
    piece += '}';
    TRY(write(piece));
    piece.clear();
    if (++shown == query.limit) break;
  }
  return write(piece += ']');
}

Containers::Counts Containers::counts() const {
  Counts counts;
  for (const std::shared_ptr<Container>& container : impl_->table.all()) {
    const std::string& status = container->record()->state.status;
    ++(status == "running" ? counts.running : status == "paused" ? counts.paused : counts.stopped);
  }
  return counts;
}

Result<json::object> Containers::top(const std::string& reference,
                                     const std::string& ps_args) const {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  std::shared_ptr<drivers::Instance> instance = container->instance();
  if (!container->record()->running() || !instance)
    return conflict("container {} is not running", container->id());
  std::vector<pid_t> pids = TRY(instance->processes());
  std::vector<std::string> arguments = {"ps"};
  std::string word;
  for (char c : (ps_args.empty() ? std::string("-ef") : ps_args) + " ") {
    if (c != ' ') {
      word += c;
      continue;
    }
    if (!word.empty()) arguments.push_back(std::exchange(word, {}));
  }
  ProcessOutput output =
      TRY(run_process({.arguments = arguments, .program = "ps"}, {}, 10'000, 8 << 20));
  if (output.status != 0) return invalid("ps: {}", output.err.substr(0, output.err.find('\n')));
  auto fields_of = [](const std::string& line, size_t limit) {
    std::vector<std::string> fields;
    size_t at = 0;
    while ((at = line.find_first_not_of(' ', at)) != std::string::npos) {
      size_t end =
          fields.size() + 1 == limit ? line.size() : std::min(line.find(' ', at), line.size());
      fields.push_back(line.substr(at, end - at));
      at = end;
    }
    return fields;
  };
  std::vector<std::string> titles;
  size_t pid_column = std::string::npos;
  json::array processes;
  size_t start = 0;
  while (start < output.out.size()) {
    size_t end = std::min(output.out.find('\n', start), output.out.size());
    std::string line = output.out.substr(start, end - start);
    start = end + 1;
    if (titles.empty()) {
      titles = fields_of(line, 0);
      pid_column =
          static_cast<size_t>(std::find(titles.begin(), titles.end(), "PID") - titles.begin());
      if (pid_column == titles.size()) return invalid("Couldn't find PID field in ps output");
      continue;
    }
    std::vector<std::string> fields = fields_of(line, titles.size());
    if (fields.size() > pid_column &&
        std::find(pids.begin(), pids.end(), std::atoi(fields[pid_column].c_str())) != pids.end())
      processes.push_back(json::encode(fields));
  }
  return json::object{{"Titles", json::encode(titles)}, {"Processes", std::move(processes)}};
}

}  // namespace gantry::daemon
