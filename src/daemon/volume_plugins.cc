// Volumes that plugins have (https://docs.docker.com/engine/extend/plugins_volume/).
#include "base/failpoint.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/plugins.h"
#include "daemon/volume_record.h"
#include "daemon/volumes.h"

namespace gantry::daemon {
namespace {

constexpr std::string_view kSubsystem = "VolumeDriver";
constexpr std::string_view kPluginVolumeKind = "volume-plugin";
constexpr std::chrono::seconds kQuestion{10};  // of a request that only asks

Result<Plugin> find_plugin(const std::string& driver) {
  return Plugin::find(driver, kSubsystem).context("error looking up volume plugin {}", driver);
}

// What the plugin says of it; nothing when it has none of that name.
std::optional<json::object> get_of(const Plugin& plugin, const std::string& name) {
  Result<json::object> answer = plugin.call("VolumeDriver.Get", {{"Name", name}}, kQuestion);
  json::value* volume = answer ? answer->if_contains("Volume") : nullptr;
  if (!volume || !volume->is_object()) return std::nullopt;
  return std::move(volume->get_object());
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value && value->is_string() ? std::string(value->get_string()) : "";
}

json::object shown_as(const Plugin& plugin, const json::object& volume) {
  json::object shown;
  shown["CreatedAt"] = text_of(volume, "CreatedAt");
  shown["Driver"] = plugin.name();
  shown["Labels"] = nullptr;
  shown["Mountpoint"] = text_of(volume, "Mountpoint");
  shown["Name"] = text_of(volume, "Name");
  shown["Options"] = nullptr;
  shown["Scope"] = "local";
  if (const json::value* status = volume.if_contains("Status"); status && status->is_object())
    shown["Status"] = *status;
  return shown;
}

// "local" or "global".
std::string scope_of(const Plugin& plugin) {
  Result<json::object> answer = plugin.call("VolumeDriver.Capabilities", {}, kQuestion);
  json::value* all = answer ? answer->if_contains("Capabilities") : nullptr;
  return all && all->is_object() && text_of(all->get_object(), "Scope") == "global" ? "global"
                                                                                    : "local";
}

}  // namespace

Status ask_plugin_of(const std::string& driver, const std::string& name, json::object& shown) {
  Plugin plugin = TRY(find_plugin(driver));
  std::optional<json::object> volume = get_of(plugin, name);
  if (!volume) return not_found("get {}: no such volume: plugin {} does not have it", name, driver);
  shown["Mountpoint"] = text_of(*volume, "Mountpoint");
  shown["Scope"] = scope_of(plugin);
  if (const json::value* status = volume->if_contains("Status"); status && status->is_object())
    shown["Status"] = *status;
  return {};
}

std::optional<json::object> find_by_plugins(const std::string& name) {
  for (const std::string& driver : plugin_names()) {
    Result<Plugin> plugin = Plugin::find(driver, kSubsystem);
    if (!plugin) continue;
    if (std::optional<json::object> volume = get_of(*plugin, name)) {
      json::object shown = shown_as(*plugin, *volume);
      shown["Name"] = name;
      return shown;
    }
  }
  return std::nullopt;
}

std::vector<json::object> list_by_plugins(api::Strings& warnings) {
  std::vector<json::object> out;
  for (const std::string& driver : plugin_names()) {
    Result<Plugin> plugin = Plugin::find(driver, kSubsystem);
    if (!plugin) {
      if (plugin.error().kind() != ErrorKind::invalid) warnings.push_back(plugin.error().message());
      continue;
    }
    Result<json::object> answer = plugin->call("VolumeDriver.List", {}, kQuestion);
    if (!answer) {
      warnings.push_back(answer.error().message());
      continue;
    }
    const json::value* volumes = answer->if_contains("Volumes");
    if (!volumes || !volumes->is_array()) continue;
    for (const json::value& volume : volumes->get_array())
      if (volume.is_object() && !text_of(volume.get_object(), "Name").empty())
        out.push_back(shown_as(*plugin, volume.get_object()));
  }
  return out;
}

// A volume that a plugin was told to make, until the job that wanted it is done.
void Volumes::register_plugins() {
  engine::ResourceKind kind;
  kind.name = kPluginVolumeKind;
  kind.probe = [](const engine::Resource&) -> Result<engine::Presence> {
    return engine::Presence::unknown;  // only the plugin knows, which may come later
  };
  kind.release = [this](const engine::Resource& row) -> Status {
    const size_t slash = row.name.find('/');
    const std::string driver = row.name.substr(0, slash), name = row.name.substr(slash + 1);
    Result<Plugin> plugin = Plugin::find(driver, kSubsystem);
    if (!plugin && plugin.error().kind() == ErrorKind::not_found) return {};
    if (!plugin) return std::move(plugin).error();
    if (!get_of(*plugin, name)) return {};
    return remove_by_plugin(driver, name, false);
  };
  log::ignored("volume plugins", daemon_.engine().resources().add(std::move(kind)));
}

Status Volumes::create_by_plugin(engine::JobContext& job, const VolumeCreate::Input& input,
                                 const std::string& name) const {
  Plugin plugin = TRY(find_plugin(input.Driver));
  engine::Resource row{std::string(kPluginVolumeKind), input.Driver + "/" + name, "volume:" + name,
                       ""};
  // One that is there already becomes known, and no failure of this job takes it away.
  if (get_of(plugin, name)) return {};
  TRY(job.take({std::move(row)}));
  TRY(failpoint("volume.plugin"));
  json::object options;
  for (const auto& [key, value] : input.DriverOpts) options[key] = value;
  TRY(plugin.call("VolumeDriver.Create", {{"Name", name}, {"Opts", std::move(options)}})
          .context("create {}", name));
  return failpoint("volume.plugin.made");
}

Status Volumes::remove_by_plugin(const std::string& driver, const std::string& name,
                                 bool force) const {
  Result<Plugin> plugin = find_plugin(driver);
  if (!plugin && force && plugin.error().kind() == ErrorKind::not_found) return {};
  if (!plugin) return std::move(plugin).error();
  TRY(plugin->call("VolumeDriver.Remove", {{"Name", name}}));
  return {};
}

}  // namespace gantry::daemon
