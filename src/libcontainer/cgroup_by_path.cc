// Groups by linux.cgroupsPath alone, for whoever has no container at hand.
#include <unistd.h>

#include "libcontainer/cgroup.h"
#include "libcontainer/container.h"

namespace gantry::libcontainer {

Status remove_cgroup(const std::string& cgroups_path, int timeout_ms) {
  std::string path = TRY(normalize_cgroup_path(cgroups_path, ""));
  Cgroup cgroup = TRY(Cgroup::open(path));
  return cgroup.remove(timeout_ms);
}

Status make_cgroup(const std::string& cgroups_path) {
  std::string path = TRY(normalize_cgroup_path(cgroups_path, ""));
  [[maybe_unused]] Cgroup made = TRY(Cgroup::create(path));
  return {};
}

void remove_cgroup_if_unused(const std::string& cgroups_path) {
  Result<std::vector<Hierarchy>> hierarchies = find_hierarchies();
  if (!hierarchies) return;
  for (const Hierarchy& hierarchy : *hierarchies)
    (void)::rmdir((hierarchy.mountpoint + cgroups_path).c_str());
}

bool cgroup_exists(const std::string& cgroups_path) {
  Result<std::string> path = normalize_cgroup_path(cgroups_path, "");
  if (!path) return false;
  Result<Cgroup> cgroup = Cgroup::open(*path);
  return cgroup && cgroup->exists();
}

}  // namespace gantry::libcontainer
