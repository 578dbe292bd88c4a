// The container's file system, built inside its own mount namespace and entirely by descriptor:
// mounts, devices, masked and read-only paths, and the change of root. Child-only code: every
// function runs in init after clone and before exec.
#pragma once

#include <span>
#include <string>

#include "base/fs.h"
#include "base/result.h"
#include "base/rootfs_source.h"
#include "libcontainer/procfs.h"
#include "libcontainer/spec.h"
#include "libcontainer/terminal.h"

namespace gantry::libcontainer {

struct RootfsPlan {
  const Spec& spec;
  const std::optional<RootfsSource>& source;  // in place of spec.root
  const std::string& bundle;
  // Directories of the container's cgroups on the host: {name below /sys/fs/cgroup ("" on v2),
  // path}.
  const std::vector<std::pair<std::string, std::string>>& cgroups;
  std::span<UniqueFd> bind_sources = {};  // of spec.mounts, taken (bind_sources.h)
  bool user_namespace = false;
  bool own_mounts = true;  // false: the mount namespace is the host's, and nothing is mounted
  bool no_pivot = false;
};

class Rootfs {
 public:
  // Cuts propagation to the host and attaches the root file system.
  static Result<Rootfs> attach(const RootfsPlan& plan);
  // Mounts, devices, links, masks: everything that must stand before hooks run. Not yet the root.
  Status populate();
  // Opens a terminal of the container's own devpts; the slave becomes /dev/console.
  Result<Terminal> open_console();
  Status reopen_null() const { return libcontainer::reopen_null(root_); }  // terminal.h
  // Makes it the root; the host's tree is gone afterwards.
  Status pivot();

 private:
  Rootfs(const RootfsPlan& plan, Beneath root) : plan_(plan), root_(std::move(root)) {}
  Status mount_one(size_t index);
  Status remount(const Mount& mount);
  Status mount_filesystem(const Mount& mount);
  Status mount_bind(const Mount& mount, UniqueFd tree);
  Status copy_up(const Mount& mount, int tmpfs);
  Status mount_cgroup(const Mount& mount);
  Status hide_cgroups(const Mount& mount);
  Status put(UniqueFd tree, const std::string& destination, bool directory);
  Status refuse_links(const std::string& destination);
  Status make_devices();
  Status make_device(const Device& device);
  Status make_links();
  Status mask(const std::string& path);
  Status make_readonly(const std::string& path);

  const RootfsPlan& plan_;
  Beneath root_;
  UniqueFd null_;        // the host's /dev/null, verified
  bool own_dev_ = true;  // /dev is not somebody else's (a bind)
};

}  // namespace gantry::libcontainer
