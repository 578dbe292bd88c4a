#include "libcontainer/intel_rdt.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "base/fs.h"
#include "base/sys.h"

namespace gantry::libcontainer {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    if (end > at) out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

// The lines that the schemata file is to have, in the order of the specification: of
// l3CacheSchema those that are not memBwSchema's, then that, then `schemata`.
std::vector<std::string> wanted_schemata(const IntelRdt& config) {
  std::vector<std::string> out;
  for (std::string& line : lines_of(config.l3_cache_schema))
    if (config.mem_bw_schema.empty() || !line.starts_with("MB:")) out.push_back(std::move(line));
  if (!config.mem_bw_schema.empty()) out.push_back(config.mem_bw_schema);
  out.insert(out.end(), config.schemata.begin(), config.schemata.end());
  return out;
}

// As the kernel prints a line: "    L3:0=fffff;1=fffff" is "L3:0=fffff;1=fffff".
std::string compact(std::string_view line) {
  std::string out;
  for (char c : line)
    if (!std::isspace(static_cast<unsigned char>(c))) out += c;
  return out;
}

Status check_config(const IntelRdt& config) {
  if (config.clos_id == "." || config.clos_id == ".." ||
      config.clos_id.find('/') != std::string::npos)
    return invalid("closID: {} is not a name", config.clos_id);
  if (!config.mem_bw_schema.empty() && (!config.mem_bw_schema.starts_with("MB:") ||
                                        config.mem_bw_schema.find('\n') != std::string::npos))
    return invalid("memBwSchema: \"{}\" is not one line that begins with MB:",
                   config.mem_bw_schema);
  return {};
}

Status write_schemata(const std::string& directory, const std::vector<std::string>& lines) {
  if (lines.empty()) return {};
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  UniqueFd file = TRY(sys::open(directory + "/schemata", O_WRONLY));
  return sys::write_all(file.get(), text).context("schemata");
}

Status compare_schemata(const std::string& directory, const std::vector<std::string>& lines) {
  std::string text = TRY(fs::read_file(directory + "/schemata", 65536));
  std::vector<std::string> there;
  for (const std::string& line : lines_of(text)) there.push_back(compact(line));
  for (const std::string& line : lines)
    if (std::find(there.begin(), there.end(), compact(line)) == there.end())
      return conflict("closID: {} exists and is not {}", directory, line);
  return {};
}

Status make_directory_of_class(const std::string& directory) {
  if (::mkdir(directory.c_str(), 0755) == 0) return {};
  if (errno == ENOSPC) return make_error(ErrorKind::unavailable, "no class of service is left");
  return errno_error(errno, "mkdir {}", directory);
}

Status remove_group(const std::string& directory) {
  if (directory.empty() || ::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  return errno_error(errno, "rmdir {}", directory);
}

}  // namespace

std::string find_resctrl() {
  Result<std::string> text = fs::read_file("/proc/self/mounts");
  if (!text) return "";
  for (const std::string& line : lines_of(*text)) {
    size_t first = line.find(' ');
    size_t second = line.find(' ', first + 1);
    if (second == std::string::npos) continue;
    if (line.compare(second + 1, 8, "resctrl ") == 0)
      return line.substr(first + 1, second - first - 1);
  }
  return "";
}

Result<RdtGroup> plan_rdt(const IntelRdt& config, const std::string& id,
                          const std::string& resctrl) {
  if (resctrl.empty()) return unsupported("no resctrl file system is mounted");
  TRY(check_config(config));
  RdtGroup group;
  group.directory = resctrl + "/" + (config.clos_id.empty() ? id : config.clos_id);
  group.ours = !fs::exists(group.directory);
  if (!group.ours && config.clos_id.empty()) return conflict("{} exists", group.directory);
  if (group.ours && !config.clos_id.empty() && wanted_schemata(config).empty())
    return not_found("closID: there is no {}, and nothing to make it of", group.directory);
  if (config.enable_monitoring) group.monitoring = group.directory + "/mon_groups/" + id;
  return group;
}

Status make_rdt(const RdtGroup& group, const IntelRdt& config) {
  std::vector<std::string> lines = wanted_schemata(config);
  if (group.ours) {
    TRY(make_directory_of_class(group.directory));
    TRY(write_schemata(group.directory, lines));
  } else {
    TRY(compare_schemata(group.directory, lines));
  }
  if (!group.monitoring.empty() && ::mkdir(group.monitoring.c_str(), 0755) == -1)
    return errno_error(errno, "enableMonitoring: mkdir {}", group.monitoring);
  return {};
}

Result<std::vector<UniqueFd>> rdt_entries(const RdtGroup& group) {
  std::vector<UniqueFd> out;
  for (const std::string& directory : {group.directory, group.monitoring})
    if (!directory.empty()) out.push_back(TRY(sys::open(directory + "/tasks", O_WRONLY)));
  return out;
}

Status release_rdt(const RdtGroup& group) {
  TRY(remove_group(group.monitoring));
  return group.ours ? remove_group(group.directory) : Status();
}

}  // namespace gantry::libcontainer
