#include "daemon/volume_mounts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/plugins.h"
#include "daemon/special_mounts.h"

namespace gantry::daemon {
namespace {

// mount(8)'s words that are flags of mount(2); a word with `on` false takes the flag away.
struct Flag {
  std::string_view word;
  unsigned long flag;
  bool on;
};
constexpr std::array<Flag, 29> kFlags = {{
    {"defaults", 0, true},
    {"ro", MS_RDONLY, true},
    {"rw", MS_RDONLY, false},
    {"suid", MS_NOSUID, false},
    {"nosuid", MS_NOSUID, true},
    {"dev", MS_NODEV, false},
    {"nodev", MS_NODEV, true},
    {"exec", MS_NOEXEC, false},
    {"noexec", MS_NOEXEC, true},
    {"sync", MS_SYNCHRONOUS, true},
    {"async", MS_SYNCHRONOUS, false},
    {"dirsync", MS_DIRSYNC, true},
    {"mand", MS_MANDLOCK, true},
    {"nomand", MS_MANDLOCK, false},
    {"atime", MS_NOATIME, false},
    {"noatime", MS_NOATIME, true},
    {"diratime", MS_NODIRATIME, false},
    {"nodiratime", MS_NODIRATIME, true},
    {"relatime", MS_RELATIME, true},
    {"norelatime", MS_RELATIME, false},
    {"strictatime", MS_STRICTATIME, true},
    {"nostrictatime", MS_STRICTATIME, false},
    {"bind", MS_BIND, true},
    {"rbind", MS_BIND | MS_REC, true},
    {"private", MS_PRIVATE, true},
    {"rprivate", MS_PRIVATE | MS_REC, true},
    {"shared", MS_SHARED, true},
    {"slave", MS_SLAVE, true},
    {"unbindable", MS_UNBINDABLE, true},
}};
constexpr unsigned long kPropagation = MS_PRIVATE | MS_SHARED | MS_SLAVE | MS_UNBINDABLE;

struct MountWords {
  unsigned long flags = 0, propagation = 0;
  std::string data;
};

MountWords sort_words(const std::string& options) {
  MountWords out;
  for (size_t at = 0; at < options.size();) {
    size_t comma = std::min(options.find(',', at), options.size());
    std::string_view word = std::string_view(options).substr(at, comma - at);
    at = comma + 1;
    auto known = std::find_if(kFlags.begin(), kFlags.end(),
                              [&](const Flag& flag) { return flag.word == word; });
    if (known == kFlags.end()) {
      if (!word.empty()) out.data += (out.data.empty() ? "" : ",") + std::string(word);
    } else if (known->flag & kPropagation) {
      out.propagation = known->flag;
    } else if (known->on) {
      out.flags |= known->flag;
    } else {
      out.flags &= ~known->flag;
    }
  }
  return out;
}

// The kernel takes addresses, and people write names: "addr=server".
Status resolve_address(std::string& data) {
  size_t at = data.starts_with("addr=") ? 0 : data.find(",addr=");
  if (at == std::string::npos) return {};
  at += data[at] == ',' ? 6 : 5;
  size_t end = std::min(data.find(',', at), data.size());
  const std::string name = data.substr(at, end - at);
  in6_addr unused;
  if (::inet_pton(AF_INET, name.c_str(), &unused) == 1 ||
      ::inet_pton(AF_INET6, name.c_str(), &unused) == 1)
    return {};
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (int failed = ::getaddrinfo(name.c_str(), nullptr, &hints, &found); failed != 0)
    return make_error(ErrorKind::unavailable,
                      "error resolving passed in network volume address: lookup {}: {}", name,
                      ::gai_strerror(failed));
  char number[NI_MAXHOST] = "";
  (void)::getnameinfo(found->ai_addr, found->ai_addrlen, number, sizeof number, nullptr, 0,
                      NI_NUMERICHOST);
  ::freeaddrinfo(found);
  data.replace(at, end - at, number);
  return {};
}

Status mount_local(const LocalVolumeOptions& options, const std::string& directory) {
  MountWords words = sort_words(options.o);
  if (options.type.starts_with("nfs") || options.type == "cifs") TRY(resolve_address(words.data));
  Status mounted = sys::mount(options.device, directory, options.type, words.flags, words.data);
  // With its read-only flag a bind mount comes only by a second call (mount(2)).
  if (mounted && (words.flags & MS_BIND) && (words.flags & ~(MS_BIND | MS_REC)))
    mounted = sys::mount("", directory, "", words.flags | MS_REMOUNT);
  if (mounted && words.propagation != 0) mounted = sys::mount("", directory, "", words.propagation);
  if (mounted) return {};
  std::string why = error_from_errno(mounted.error().code(), "").message().substr(2);
  log::ignored("volume", unmount_all(directory));
  return make_error(ErrorKind::internal,
                    "failed to mount local volume: mount {}:{}, flags: {:#x}{}: {}", options.device,
                    directory, words.flags, words.data.empty() ? "" : ", data: " + words.data, why);
}

}  // namespace

struct VolumeMounts::Use {
  std::string volume, driver, user;
};

}  // namespace gantry::daemon

template <>
struct gantry::json::Schema<gantry::daemon::VolumeMounts::Use> {
  using T = gantry::daemon::VolumeMounts::Use;
  static constexpr Field fields[] = {field<&T::volume>("volume"), field<&T::driver>("driver"),
                                     field<&T::user>("user")};
};

namespace gantry::daemon {

// moby volume/local/local_unix.go, validateOpts.
Result<LocalVolumeOptions> parse_local_options(const api::StringMap& options) {
  LocalVolumeOptions out;
  for (const auto& [key, value] : options) {
    if (key == "type")
      out.type = value;
    else if (key == "device")
      out.device = value;
    else if (key == "o")
      out.o = value;
    else if (key == "size")
      return unsupported("quota size requested but no quota support");
    else
      return invalid("invalid option: \"{}\"", key);
  }
  if (options.empty()) return out;
  for (const auto& [have, need] : {std::pair("device", "type"), std::pair("type", "device"),
                                   std::pair("o", "device"), std::pair("o", "type")})
    if (options.contains(have) && (!options.contains(need) || options.at(need).empty()))
      return invalid("missing required option: \"{}\"", need);
  return out;
}

bool needs_mount(const MountPoint& mount) {
  return mount.type == "volume" && (mount.driver != "local" || !mount.driver_options.empty());
}

Result<bool> is_mount_point(const std::string& directory) {
  struct statx found;
  if (::statx(AT_FDCWD, directory.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS,
              &found) == -1) {
    if (errno == ENOENT) return false;
    return errno_error(errno, "statx {}", directory);
  }
  return (found.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

Status unmount_all(const std::string& directory) {
  while (TRY(is_mount_point(directory))) TRY(sys::umount(directory, MNT_DETACH | UMOUNT_NOFOLLOW));
  return {};
}

Result<UniqueFd> open_unmounted(const MountPoint& mount) {
  if (mount.driver != "local")
    return conflict("volume {} of the plugin {} is there only while a container runs with it",
                    mount.name, mount.driver);
  if (TRY(is_mount_point(mount.source)))
    return sys::open_tree(AT_FDCWD, mount.source, OPEN_TREE_CLONE | AT_RECURSIVE);
  LocalVolumeOptions options = TRY(parse_local_options(mount.driver_options));
  UniqueFd copy;
  TRY(apart([&]() -> Status {
    TRY(sys::unshare(CLONE_FS | CLONE_NEWNS));
    TRY(sys::mount("none", "/", "", MS_REC | MS_PRIVATE));
    TRY(mount_local(options, mount.source));
    copy = TRY(sys::open_tree(AT_FDCWD, mount.source, OPEN_TREE_CLONE | AT_RECURSIVE));
    return {};
  }));
  return copy;
}

VolumeMounts::VolumeMounts(engine::Engine& engine, std::string root)
    : engine_(engine), root_(std::move(root)) {
  engine::ResourceKind kind;
  kind.name = kVolumeMountKind;
  kind.probe = [this](const engine::Resource& row) -> Result<engine::Presence> {
    Use use = TRY(json::parse<Use>(row.data));
    if (use.driver != "local") return engine::Presence::unknown;
    return TRY(is_mount_point(directory(use.volume))) ? engine::Presence::present
                                                      : engine::Presence::absent;
  };
  kind.release = [this](const engine::Resource& row) { return release(row); };
  // A mount that no row tells of: nobody uses it.
  kind.enumerate = [this]() -> Result<std::vector<engine::Resource>> {
    std::vector<engine::Resource> out;
    for (const std::string& name : TRY(fs::list_directory(root_))) {
      if (!TRY(is_mount_point(directory(name)))) continue;
      std::lock_guard lock(mutex_);
      if (auto known = users_.find(name); known != users_.end() && !known->second.empty()) continue;
      Use use{name, "local", "nobody"};
      out.push_back({std::string(kVolumeMountKind), name + ":nobody", "", json::dump(use)});
    }
    return out;
  };
  log::ignored("volume mounts", engine.resources().add(std::move(kind)));
  // Users of an earlier daemon are users until their rows are released.
  Result<std::vector<engine::ResourceRow>> rows = engine.resources().of_kind(kVolumeMountKind);
  if (!rows) {
    log::ignored("volume mounts", std::move(rows).error());
    return;
  }
  for (const engine::ResourceRow& row : *rows)
    if (Result<Use> use = json::parse<Use>(row.data); use && use->driver == "local")
      users_[use->volume].insert(use->user);
}

std::string VolumeMounts::directory(const std::string& volume) const {
  return root_ + "/" + volume + "/_data";
}

Status VolumeMounts::take(engine::JobContext& job, std::vector<MountPoint>& mounts,
                          const std::string& user, const std::string& owner) {
  std::map<std::string, const MountPoint*> volumes;  // each once, however often it is mounted
  for (const MountPoint& mount : mounts)
    if (needs_mount(mount)) volumes.emplace(mount.name, &mount);
  if (volumes.empty()) return {};
  std::vector<engine::Resource> rows;
  for (const auto& [name, mount] : volumes)
    rows.push_back({std::string(kVolumeMountKind), name + ":" + user, owner,
                    json::dump(Use{name, mount->driver, user})});
  TRY(job.take(std::move(rows)));
  std::map<std::string, std::string> places;
  for (const auto& [name, first] : volumes) {
    TRY(failpoint("volume.mount"));
    places[name] = TRY(mount(*first, user));
    TRY(failpoint("volume.mounted"));
  }
  for (MountPoint& one : mounts)
    if (needs_mount(one)) one.source = places[one.name];
  return {};
}

Result<std::string> VolumeMounts::mount(const MountPoint& mount, const std::string& user) {
  if (mount.driver != "local") {
    Plugin plugin = TRY(Plugin::find(mount.driver, "VolumeDriver")
                            .context("error looking up volume plugin {}", mount.driver));
    json::object answer =
        TRY(plugin.call("VolumeDriver.Mount", {{"Name", mount.name}, {"ID", user}})
                .context("error while mounting volume '{}'", mount.name));
    const json::value* place = answer.if_contains("Mountpoint");
    if (!place || !place->is_string() || !place->get_string().starts_with('/'))
      return internal("error while mounting volume '{}': plugin {} names no directory", mount.name,
                      mount.driver);
    return std::string(place->get_string());
  }
  const std::string place = directory(mount.name);
  LocalVolumeOptions options = TRY(parse_local_options(mount.driver_options));
  std::lock_guard lock(mutex_);
  if (!TRY(is_mount_point(place)))
    TRY(mount_local(options, place).context("error while mounting volume '{}'", place));
  users_[mount.name].insert(user);
  return place;
}

Status VolumeMounts::release(const engine::Resource& row) {
  Use use = TRY(json::parse<Use>(row.data));
  if (use.driver != "local") {
    Result<Plugin> plugin = Plugin::find(use.driver, "VolumeDriver");
    // One that is gone has nothing mounted, or nobody to ask.
    if (!plugin && plugin.error().kind() == ErrorKind::not_found) return {};
    if (!plugin) return std::move(plugin).error();
    TRY(plugin->call("VolumeDriver.Unmount", {{"Name", use.volume}, {"ID", use.user}}));
    return {};
  }
  std::lock_guard lock(mutex_);
  std::set<std::string>& users = users_[use.volume];
  users.erase(use.user);
  if (!users.empty()) return {};
  users_.erase(use.volume);
  return unmount_all(directory(use.volume))
      .context("error while unmounting volume '{}'", use.volume);
}

}  // namespace gantry::daemon
