#include "libcontainer/bind_sources.h"

#include <sched.h>
#include <sys/mount.h>

#include <algorithm>

#include "base/sys.h"
#include "libcontainer/mount_options.h"

namespace gantry::libcontainer {
namespace {

constexpr uint64_t kIdmap = 0x00100000;  // MOUNT_ATTR_IDMAP

// The user namespace whose maps the mount gets: those of the mount, or else the container's.
Result<UniqueFd> mapping_namespace(const Spec& spec, const Mount& mount,
                                   const NamespacePlan& namespaces) {
  if (mount.uid_mappings.empty() != mount.gid_mappings.empty())
    return invalid("uidMappings: and gidMappings are given together or not at all");
  if (!mount.uid_mappings.empty()) return user_namespace_of(mount.uid_mappings, mount.gid_mappings);
  if (namespaces.joined_user) return sys::dup(namespaces.joined_user.get());
  const Linux& section = *spec.linux_section;
  if (section.uid_mappings.empty())
    return invalid("options: idmap needs uidMappings and gidMappings, or a user namespace's");
  return user_namespace_of(section.uid_mappings, section.gid_mappings);
}

Status map_tree(int tree, const Spec& spec, const Mount& mount, IdmapKind kind,
                const NamespacePlan& namespaces) {
  UniqueFd user = TRY(mapping_namespace(spec, mount, namespaces));
  unsigned recursive = kind == IdmapKind::ridmap ? AT_RECURSIVE : 0;
  Status done = sys::mount_setattr(tree, "", AT_EMPTY_PATH | recursive, kIdmap, 0, 0, user.get());
  if (!done && done.error().code() == EINVAL)
    return unsupported("options: the source's file system cannot be id-mapped");
  return std::move(done).context("options: idmap");
}

Result<UniqueFd> open_source(const Spec& spec, const std::string& bundle, const Mount& mount,
                             const NamespacePlan& namespaces) {
  MountOptions options = parse_mount_options(mount.options);
  bool bind = options.bind != BindKind::none || mount.type == "bind";
  bool mapped = options.idmap != IdmapKind::none || !mount.uid_mappings.empty() ||
                !mount.gid_mappings.empty();
  if (mount.detached && bind) return std::move(sys::open(mount.source, O_PATH)).context("source");
  if (mapped && !bind) return invalid("options: only a bind mount can be id-mapped");
  bool joined = std::any_of(namespaces.joined.begin(), namespaces.joined.end(),
                            [](const JoinedNamespace& one) { return one.flag == CLONE_NEWNS; });
  if (mapped && joined) return invalid("options: no id maps in a mount namespace that is joined");
  if (!bind || joined || options.remount || !(mapped || namespaces.user_namespace))
    return UniqueFd();
  if (mount.source.empty()) return UniqueFd();  // said by init
  unsigned recursive = options.bind == BindKind::rbind ? AT_RECURSIVE : 0;
  std::string path = mount.source.starts_with('/') ? mount.source : bundle + "/" + mount.source;
  Result<UniqueFd> tree = sys::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | recursive);
  // An ordinary user has the privilege in the new user namespace only.
  if (!tree && tree.error().code() == EPERM && !mapped) return UniqueFd();
  if (!tree) return std::move(tree).error().context("source");
  if (mapped) TRY(map_tree(tree->get(), spec, mount, options.idmap, namespaces));
  return tree;
}

}  // namespace

Result<std::vector<UniqueFd>> open_bind_sources(const Spec& spec, const std::string& bundle,
                                                const NamespacePlan& namespaces) {
  std::vector<UniqueFd> sources;
  sources.reserve(spec.mounts.size());
  for (size_t i = 0; i < spec.mounts.size(); ++i)
    sources.push_back(TRY(open_source(spec, bundle, spec.mounts[i], namespaces)
                              .context("mounts[{}] {}", i, spec.mounts[i].destination)));
  return sources;
}

}  // namespace gantry::libcontainer
