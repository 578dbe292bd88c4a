#include "client/commands/info_text.h"

#include <algorithm>

#include "base/clock.h"
#include "base/units.h"
#include "client/commands/commands.h"
#include "client/commands/container_rows.h"
#include "client/format/table.h"

namespace gantry::client {
namespace {

struct Line {
  std::string_view label;
  std::string_view member;
};

std::string build_time(const std::string& text) {
  auto time = parse_time(text);
  if (!time) return text;
  time_t seconds = *time / 1000000000;
  struct tm utc {};
  ::gmtime_r(&seconds, &utc);
  char buffer[64];
  size_t size = std::strftime(buffer, sizeof buffer, "%a %b %e %H:%M:%S %Y", &utc);
  return std::string(buffer, size);
}

void component(std::string& out, const json::value& part) {
  static constexpr Line kLines[] = {{"API version:", "ApiVersion"},
                                    {"Go version:", "GoVersion"},
                                    {"Git commit:", "GitCommit"},
                                    {"Built:", "BuildTime"},
                                    {"OS/Arch:", "Os"},
                                    {"Experimental:", "Experimental"}};
  out += fmt::format(" {}:\n  {:<17} {}\n", text_of(part, "Name"),
                     "Version:", text_of(part, "Version"));
  const json::object& details = object_of(part, "Details");
  const bool engine = !text_of(details, "ApiVersion").empty();
  if (!engine) {
    if (std::string commit = text_of(details, "GitCommit"); details.contains("GitCommit"))
      out += fmt::format("  {:<17} {}\n", "GitCommit:", commit);
    return;
  }
  for (const Line& line : kLines) {
    std::string text = text_of(details, line.member);
    if (text.empty()) continue;
    if (line.member == "ApiVersion")
      text += fmt::format(" (minimum version {})", text_of(details, "MinAPIVersion"));
    if (line.member == "Os") text += "/" + text_of(details, "Arch");
    if (line.member == "BuildTime") text = build_time(text);
    out += fmt::format("  {:<17} {}\n", line.label, text);
  }
}

// One indented list: the title, then a line an item.
void section(std::string& out, std::string_view title, const std::vector<std::string>& items) {
  if (items.empty()) return;
  out += fmt::format(" {}:\n", title);
  for (const std::string& item : items) out += fmt::format("  {}\n", item);
}

std::vector<std::string> texts(const json::array& list) {
  std::vector<std::string> out;
  for (const json::value& item : list)
    if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}

std::string joined(std::vector<std::string> list) {
  std::ranges::sort(list);
  std::string out;
  for (const std::string& item : list) out += (out.empty() ? "" : " ") + item;
  return out;
}

// "name=seccomp,profile=default" as Docker shows it: the name, then its options below.
void security_options(std::string& out, const json::array& options) {
  if (options.empty()) return;
  out += " Security Options:\n";
  for (const std::string& option : texts(options)) {
    for (size_t start = 0; start < option.size();) {
      size_t end = std::min(option.find(',', start), option.size());
      std::string pair = option.substr(start, end - start);
      size_t equals = pair.find('=');
      std::string key = pair.substr(0, equals),
                  value = equals == pair.npos ? "" : pair.substr(equals + 1);
      if (key == "name")
        out += fmt::format("  {}\n", value);
      else {
        if (!key.empty() && key[0] >= 'a' && key[0] <= 'z') key[0] = static_cast<char>(key[0] - 32);
        out += fmt::format("   {}: {}\n", key, value);
      }
      start = end + 1;
    }
  }
}

void plugins(std::string& out, const json::value& info) {
  const json::object& all = object_of(info, "Plugins");
  if (all.empty()) return;
  out += " Plugins:\n";
  for (std::string_view kind : {"Volume", "Network", "Authorization", "Log"})
    if (auto list = texts(array_of(all, kind)); !list.empty()) {
      std::string names;
      for (const std::string& name : list) names += " " + name;
      out += fmt::format("  {}:{}\n", kind, names);
    }
}

void server_head(std::string& out, const json::value& info) {
  out += fmt::format(" Containers: {}\n  Running: {}\n  Paused: {}\n  Stopped: {}\n Images: {}\n",
                     number_of(info, "Containers"), number_of(info, "ContainersRunning"),
                     number_of(info, "ContainersPaused"), number_of(info, "ContainersStopped"),
                     number_of(info, "Images"));
  out += fmt::format(" Server Version: {}\n Storage Driver: {}\n", text_of(info, "ServerVersion"),
                     text_of(info, "Driver"));
  for (const json::value& pair : array_of(info, "DriverStatus"))
    if (pair.is_array() && pair.get_array().size() == 2 && pair.get_array()[0].is_string() &&
        pair.get_array()[1].is_string())
      out += fmt::format("  {}: {}\n", std::string_view(pair.get_array()[0].get_string()),
                         std::string_view(pair.get_array()[1].get_string()));
  static constexpr Line kLines[] = {{"Logging Driver", "LoggingDriver"},
                                    {"Cgroup Driver", "CgroupDriver"},
                                    {"Cgroup Version", "CgroupVersion"}};
  for (const Line& line : kLines)
    if (std::string text = text_of(info, line.member); !text.empty())
      out += fmt::format(" {}: {}\n", line.label, text);
}

void server_commits(std::string& out, const json::value& info) {
  static constexpr Line kLines[] = {{"containerd version", "ContainerdCommit"},
                                    {"runc version", "RuncCommit"},
                                    {"init version", "InitCommit"}};
  for (const Line& line : kLines)
    if (!object_of(info, line.member).empty())
      out += fmt::format(" {}: {}\n", line.label, text_of(object_of(info, line.member), "ID"));
}

void server_host(std::string& out, const json::value& info) {
  static constexpr Line kLines[] = {{"Kernel Version", "KernelVersion"},
                                    {"Operating System", "OperatingSystem"},
                                    {"OSType", "OSType"},
                                    {"Architecture", "Architecture"}};
  for (const Line& line : kLines)
    out += fmt::format(" {}: {}\n", line.label, text_of(info, line.member));
  out += fmt::format(" CPUs: {}\n Total Memory: {}\n Name: {}\n ID: {}\n Docker Root Dir: {}\n",
                     number_of(info, "NCPU"),
                     bytes_size(static_cast<double>(number_of(info, "MemTotal"))),
                     text_of(info, "Name"), text_of(info, "ID"), text_of(info, "DockerRootDir"));
  out += fmt::format(" Debug Mode: {}\n", flag_of(info, "Debug"));
  static constexpr Line kProxies[] = {
      {"HTTP Proxy", "HttpProxy"}, {"HTTPS Proxy", "HttpsProxy"}, {"No Proxy", "NoProxy"}};
  for (const Line& line : kProxies)
    if (std::string text = text_of(info, line.member); !text.empty())
      out += fmt::format(" {}: {}\n", line.label, text);
  section(out, "Labels", texts(array_of(info, "Labels")));
  out += fmt::format(" Experimental: {}\n", flag_of(info, "ExperimentalBuild"));
  const json::object& registries = object_of(info, "RegistryConfig");
  std::vector<std::string> insecure;
  for (const auto& index : object_of(registries, "IndexConfigs"))
    if (index.value().is_object() && !flag_of(index.value(), "Secure"))
      insecure.emplace_back(index.key());
  std::ranges::sort(insecure);
  for (const std::string& range : texts(array_of(registries, "InsecureRegistryCIDRs")))
    insecure.push_back(range);
  section(out, "Insecure Registries", insecure);
  section(out, "Registry Mirrors", texts(array_of(registries, "Mirrors")));
  out += fmt::format(" Live Restore Enabled: {}\n", flag_of(info, "LiveRestoreEnabled"));
}

}  // namespace

std::string version_text(const json::object& client, const json::value& server) {
  const json::value own(client);
  std::string api = text_of(own, "ApiVersion");
  if (api != text_of(own, "DefaultAPIVersion"))
    api += fmt::format(" (downgraded from {})", text_of(own, "DefaultAPIVersion"));
  std::string out = fmt::format("Client:\n {:<18} {}\n {:<18} {}\n {:<18} {}/{}\n {:<18} {}\n",
                                "Version:", text_of(own, "Version"), "API version:", api,
                                "OS/Arch:", text_of(own, "Os"), text_of(own, "Arch"),
                                "Context:", text_of(own, "Context"));
  if (!server.is_object()) return out;
  std::string platform = text_of(object_of(server, "Platform"), "Name");
  out += fmt::format("\nServer:{}{}\n", platform.empty() ? "" : " ", platform);
  for (const json::value& part : array_of(server, "Components")) component(out, part);
  if (array_of(server, "Components").empty())
    component(
        out, json::object{
                 {"Name", "Engine"}, {"Version", text_of(server, "Version")}, {"Details", server}});
  return out;
}

std::string info_text(const json::object& client, const json::value& server) {
  const json::value own(client);
  std::string out =
      fmt::format("Client:\n Version:    {}\n Context:    {}\n Debug Mode: {}\n\nServer:\n",
                  text_of(own, "Version"), text_of(own, "Context"), flag_of(own, "Debug"));
  if (!server.is_object()) return out;
  server_head(out, server);
  plugins(out, server);
  const std::string swarm = text_of(object_of(server, "Swarm"), "LocalNodeState");
  out += fmt::format(" Swarm: {}\n", swarm.empty() ? "inactive" : swarm);
  std::vector<std::string> runtimes;
  for (const auto& runtime : object_of(server, "Runtimes")) runtimes.emplace_back(runtime.key());
  if (!runtimes.empty())
    out += fmt::format(" Runtimes: {}\n Default Runtime: {}\n", joined(runtimes),
                       text_of(server, "DefaultRuntime"));
  out += fmt::format(" Init Binary: {}\n", text_of(server, "InitBinary"));
  server_commits(out, server);
  security_options(out, array_of(server, "SecurityOptions"));
  server_host(out, server);
  out += "\n";
  for (const std::string& warning : texts(array_of(server, "Warnings"))) out += warning + "\n";
  return out;
}

Result<std::string> df_details(const json::value& df) {
  const int64_t now = now_ns();
  std::string out = "Images space usage:\n\n";
  Listing images;
  images.headings = {{"Repository", "REPOSITORY"},
                     {"Tag", "TAG"},
                     {"ID", "IMAGE ID"},
                     {"Created", "CREATED"},
                     {"Size", "SIZE"},
                     {"Shared", "SHARED SIZE"},
                     {"Unique", "UNIQUE SIZE"},
                     {"Containers", "CONTAINERS"}};
  images.table =
      "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Created}}\t{{.Size}}\t{{.Shared}}\t{{.Unique}}\t{{."
      "Containers}}";
  for (const json::value& image : array_of(df, "Images")) {
    std::string name = "<none>", tag = "<none>", id = text_of(image, "Id");
    if (auto tags = texts(array_of(image, "RepoTags")); !tags.empty()) {
      size_t colon = tags[0].rfind(':');
      name = tags[0].substr(0, colon);
      tag = colon == tags[0].npos ? "" : tags[0].substr(colon + 1);
    }
    if (id.starts_with("sha256:")) id.erase(0, 7);
    const int64_t size = number_of(image, "Size"),
                  shared = std::max<int64_t>(0, number_of(image, "SharedSize"));
    images.rows.push_back(json::object{
        {"Repository", name},
        {"Tag", tag},
        {"ID", id.substr(0, 12)},
        {"Created", human_duration(now - number_of(image, "Created") * 1000000000) + " ago"},
        {"Size", human_size(static_cast<double>(size), 3)},
        {"Shared", human_size(static_cast<double>(shared))},
        {"Unique", human_size(static_cast<double>(size - shared))},
        {"Containers", fmt::format("{}", number_of(image, "Containers"))}});
  }
  out += TRY(render(images, ""));
  out += "\nContainers space usage:\n\n";
  Listing containers = container_listing(array_of(df, "Containers"), Truncate::yes, now);
  containers.table =
      "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}"
      "}\t{{.Names}}";
  out += TRY(render(containers, ""));
  out += "\nLocal Volumes space usage:\n\n";
  Listing volumes;
  volumes.headings = {{"Name", "VOLUME NAME"}, {"Links", "LINKS"}, {"Size", "SIZE"}};
  volumes.table = "{{.Name}}\t{{.Links}}\t{{.Size}}";
  for (const json::value& volume : array_of(df, "Volumes")) {
    const json::object& usage = object_of(volume, "UsageData");
    volumes.rows.push_back(
        json::object{{"Name", text_of(volume, "Name")},
                     {"Links", fmt::format("{}", number_of(usage, "RefCount"))},
                     {"Size", human_size(static_cast<double>(number_of(usage, "Size")))}});
  }
  out += TRY(render(volumes, ""));
  return out + "\n";
}

}  // namespace gantry::client
