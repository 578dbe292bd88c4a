// Control groups on v1, v2 and hybrid hosts: one directory of the same path in every hierarchy. On
// v1 each process writes itself into `tasks` (a parent writing cgroup.procs waits 10 ms for an RCU
// grace period on an idle host); on v2 it is cloned into the group.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "libcontainer/spec.h"
#include "libcontainer/stats.h"

namespace gantry::libcontainer {

struct Hierarchy {
  std::string mountpoint;
  std::vector<std::string> controllers;  // {"cpu", "cpuacct"}; {"name=systemd"}
  bool v2 = false;
  bool theirs = false;  // in a Cgroup: see Found
};
// From /proc/self/mountinfo, and for v2 its cgroup.controllers. Mounts that lie hidden below
// another are listed there too, and are passed over.
Result<std::vector<Hierarchy>> find_hierarchies();
// The text of mountinfo; of a hierarchy that is mounted twice, the first place that is `reachable`.
// Pure.
std::vector<Hierarchy> parse_hierarchies(std::string_view mountinfo,
                                         const std::function<bool(const Hierarchy&)>& reachable);

// One value for one file. `field` is where it came from, for errors.
struct CgroupWrite {
  std::string controller;
  std::string file;
  std::string value;
  std::string field;
  bool where_present = false;  // a kernel without the file is no error
};
// What the kernel is to be told, in order. Pure. A field that the version has no file for is an
// error.
Result<std::vector<CgroupWrite>> translate_v1(const Resources& resources);
Result<std::vector<CgroupWrite>> translate_v2(const Resources& resources);
Result<std::vector<CgroupWrite>> translate_devices_v1(const std::vector<DeviceCgroup>& rules);
// Docker's and runc's conversion of 2…262144 shares to a weight of 1…10000.
uint64_t weight_of_shares(uint64_t shares);

// `path` as linux.cgroupsPath has it, made absolute and checked: no "..".
Result<std::string> normalize_cgroup_path(const std::string& path, const std::string& id);

// A group that was there before its container: somebody else's, which is neither emptied nor
// removed, or a left-over of ours.
enum class Found { theirs, ours };

// Makes one v2 group threaded; success when it is.
Status make_threaded(const std::string& directory);
// Makes the directory of a group, and its parents, in one hierarchy. Below a threaded group a group
// can only be threaded.
Status make_group(const Hierarchy& hierarchy, const std::string& path);

class Cgroup {
 public:
  // Makes the directories that are missing (and their parents) and enables controllers on v2.
  // `rootless`: hierarchies that the user may not make groups in are passed over, all of them
  // perhaps; limits of their controllers are errors then. After an error none is left that it made.
  static Result<Cgroup> create(const std::string& path, bool rootless = false,
                               Found found = Found::ours);
  // Those that exist. `found`: of a group that create() gave.
  static Result<Cgroup> open(const std::string& path, const std::vector<std::string>& found = {});
  // Mount points of the hierarchies where the group is theirs.
  std::vector<std::string> found() const;

  Status apply(const Resources& resources);
  Status apply_devices(const std::vector<DeviceCgroup>& rules);

  // For a child: where it writes "0" to enter, and the directory for CLONE_INTO_CGROUP (-1: none).
  Result<std::vector<UniqueFd>> entries(const std::string& below = "") const;
  Result<UniqueFd> clone_target(const std::string& below = "") const;
  // {name below /sys/fs/cgroup, directory}, for the container's cgroup mount.
  std::vector<std::pair<std::string, std::string>> mounts() const;

  // Puts threads of the group's processes into a group `below` it ("a/b"), made if need be, with
  // limits of their own: of cpu, cpuset and pids, all others are `invalid`. `not_found` for a
  // thread that is not in here. The groups go with this one.
  Status limit_threads(const std::string& below, const std::vector<pid_t>& threads,
                       const Resources& resources);

  Status freeze(bool frozen);
  Result<bool> frozen() const;
  std::string freezer() const;  // the directory that freezes the group; "" without a freezer
  Result<Stats> stats() const;
  Result<std::vector<pid_t>> processes() const;
  Status signal(int number) const;
  // Kills everything in the groups that are ours and removes those, waiting for the dying at most
  // `timeout_ms`.
  Status remove(int timeout_ms);
  bool exists() const;

 private:
  std::string directory(const Hierarchy& hierarchy) const;
  const Hierarchy* with(std::string_view controller) const;
  const Hierarchy* unified() const;
  Status check_usage(const Resources& resources) const;
  Result<UniqueFd> open_for(const CgroupWrite& write, const Hierarchy& hierarchy) const;
  Status write(const CgroupWrite& write, int fd) const;
  Status write(const CgroupWrite& one, const Hierarchy& hierarchy) const;

  Error missing(const CgroupWrite& write) const;
  Status check_threads(const std::vector<pid_t>& threads, const Hierarchy& hierarchy) const;
  Status limit_threads_in(const Hierarchy& hierarchy, const std::string& below,
                          const std::vector<pid_t>& threads,
                          const std::vector<CgroupWrite>& writes) const;

  std::string path_;
  std::vector<Hierarchy> hierarchies_;
  bool rootless_ = false;
};

}  // namespace gantry::libcontainer
