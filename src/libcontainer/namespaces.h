// Which namespaces a container gets (config-linux.md, "Namespaces"), and how its first process
// comes into them: new ones by clone(2) and unshare(2), existing ones by setns(2), those of another
// user namespace through a process in between. The time namespace and the cgroup namespace are made
// by the child itself, after it has entered its cgroup.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

inline constexpr int kNewTime = 0x80;  // CLONE_NEWTIME, for older headers

struct JoinedNamespace {
  UniqueFd fd;
  int flag = 0;  // CLONE_NEW*
  std::string name;
};

struct NamespacePlan {
  std::vector<std::string> types;       // all of them, for those who join later
  uint64_t clone_flags = 0;             // new, made with the process
  int unshare_flags = 0;                // new, made by the process after the cgroup was entered
  std::vector<JoinedNamespace> joined;  // in the order to join them
  UniqueFd joined_pid;                  // entered by being cloned into it
  UniqueFd joined_user;                 // needs the process in between (clone_joined)
  bool own_network = false;
  bool own_mounts = false;      // new or joined; else the host's, which is left alone
  bool user_namespace = false;  // new or joined
  bool maps_ids = false;        // new: its maps are written by the parent
};
// Opens what is joined; the error names the namespace.
Result<NamespacePlan> plan_namespaces(const Spec& spec);

// Joins those of plan.joined. With `patient` one that needs privileges in another user namespace
// stays in the list for later.
Status join_namespaces(std::vector<JoinedNamespace>& joined, bool patient = false);

// The root of the user namespace: the ids of whoever made it are not mapped.
Status become_root();

struct Clone {
  pid_t pid = -1;  // 0 in the child
  UniqueFd pidfd;
};
// clone3(2) with `flags`, straight into the cgroup2 directory `cgroup` unless that is -1. A child
// in the pid namespace `pid_namespace` unless -1: ours-for-children is changed for the length of
// the clone.
Result<Clone> clone_process(uint64_t flags, int cgroup, int pid_namespace);

// For plan.joined_user: a process in between enters the cgroups (`prepare` runs in it, with the
// host's privileges still), then the namespaces, and clones the child as its sibling, so that it is
// ours to wait for. Returns twice, as clone_process() does.
Result<Clone> clone_joined(NamespacePlan& plan, int cgroup, Status (*prepare)(void* context),
                           void* context);

// The text of uid_map and gid_map.
std::string id_map(const std::vector<IdMapping>& mappings);

// Writes the maps of `pid`'s new user namespace, by newuidmap(1) and newgidmap(1) where we may not
// write them ourselves.
Status map_ids(pid_t pid, const std::vector<IdMapping>& uids, const std::vector<IdMapping>& gids);

// A user namespace with these maps and nobody in it, for mount_setattr(2) MOUNT_ATTR_IDMAP.
Result<UniqueFd> user_namespace_of(const std::vector<IdMapping>& uids,
                                   const std::vector<IdMapping>& gids);

}  // namespace gantry::libcontainer
