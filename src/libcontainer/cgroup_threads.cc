// Limits of threads: groups below a container's that hold some threads of its processes. On v2 they
// are threaded groups (Documentation/admin-guide/cgroup-v2.rst, "Threads"), which know the
// controllers cpu, cpuset and pids; v1 has always taken threads one by one.
#include <sys/stat.h>

#include <algorithm>

#include "base/fs.h"
#include "base/sys.h"
#include "libcontainer/cgroup.h"

namespace gantry::libcontainer {
namespace {

constexpr std::string_view kThreadControllers[] = {"cpu", "cpuset", "pids"};

Status check_threaded(const std::vector<CgroupWrite>& writes) {
  for (const CgroupWrite& write : writes)
    if (std::find(std::begin(kThreadControllers), std::end(kThreadControllers), write.controller) ==
        std::end(kThreadControllers))
      return invalid("{}: is a limit of processes, not of threads", write.field);
  return {};
}

// The path of a task in the hierarchy that has `controller`, or in the unified one for "".
std::string group_of_task(std::string_view text, std::string_view controller) {
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    size_t first = line.find(':');
    size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    std::string names = "," + std::string(line.substr(first + 1, second - first - 1)) + ",";
    if (names.find("," + std::string(controller) + ",") != std::string::npos)
      return std::string(line.substr(second + 1));
  }
  return "";
}

Status write_file(const std::string& path, std::string_view text) {
  UniqueFd file = TRY(sys::open(path, O_WRONLY));
  return sys::write_all(file.get(), text);
}

}  // namespace

Status make_threaded(const std::string& directory) {
  std::string type = TRY(fs::read_file(directory + "/cgroup.type", 64));
  if (type.starts_with("threaded")) return {};
  Status made = write_file(directory + "/cgroup.type", "threaded");
  if (!made && made.error().code() == EOPNOTSUPP)
    return unsupported(
        "{} cannot be a threaded group: the one above it has processes and other "
        "controllers than cpu, cpuset and pids",
        directory);
  return made;
}

Status Cgroup::check_threads(const std::vector<pid_t>& threads, const Hierarchy& hierarchy) const {
  for (pid_t thread : threads) {
    Result<std::string> text = fs::read_file(fmt::format("/proc/{}/cgroup", thread), 65536);
    std::string path =
        text ? group_of_task(*text, hierarchy.v2 ? "" : hierarchy.controllers.front()) : "";
    if (path != path_ && !path.starts_with(path_ + "/"))
      return not_found("--threads: {} is not a thread of the container", thread);
  }
  return {};
}

Status Cgroup::limit_threads(const std::string& below, const std::vector<pid_t>& threads,
                             const Resources& resources) {
  if (below.empty() || below.starts_with('/') || below.find("..") != std::string::npos)
    return invalid("--cgroup: \"{}\" is not a path below the container's group", below);
  std::vector<CgroupWrite> v1 = TRY(translate_v1(resources));
  std::vector<CgroupWrite> v2 = TRY(translate_v2(resources));
  TRY(check_threaded(v2));
  for (const Hierarchy& hierarchy : hierarchies_) {
    std::vector<CgroupWrite> writes;
    for (const CgroupWrite& write : hierarchy.v2 ? v2 : v1)
      if (with(write.controller) == &hierarchy) writes.push_back(write);
    // A v2 without controllers, on a hybrid host, has nothing to limit.
    bool concerned = !writes.empty() || (hierarchy.v2 && with("cpu") == &hierarchy);
    if (!concerned) continue;
    TRY(check_threads(threads, hierarchy));
    TRY(limit_threads_in(hierarchy, below, threads, writes));
  }
  for (const CgroupWrite& write : v2)
    if (!with(write.controller)) return missing(write);
  return {};
}

Status Cgroup::limit_threads_in(const Hierarchy& hierarchy, const std::string& below,
                                const std::vector<pid_t>& threads,
                                const std::vector<CgroupWrite>& writes) const {
  Cgroup group;
  group.hierarchies_ = {hierarchy};
  group.path_ = path_;
  for (size_t at = 0; at < below.size();) {
    size_t slash = std::min(below.find('/', at), below.size());
    std::string parent = group.directory(hierarchy);
    group.path_ += "/" + below.substr(at, slash - at);
    at = slash + 1;
    std::string directory = group.directory(hierarchy);
    TRY(make_group(hierarchy, group.path_));
    if (!hierarchy.v2) continue;
    TRY(make_threaded(directory));
    for (const CgroupWrite& write : writes)
      TRY(write_file(parent + "/cgroup.subtree_control", "+" + write.controller)
              .context("{}", write.field));
  }
  for (const CgroupWrite& write : writes) TRY(group.write(write, hierarchy));
  std::string entry = group.directory(hierarchy) + (hierarchy.v2 ? "/cgroup.threads" : "/tasks");
  for (pid_t thread : threads)
    TRY(write_file(entry, std::to_string(thread)).context("--threads: {}", thread));
  return {};
}

}  // namespace gantry::libcontainer
