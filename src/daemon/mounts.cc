#include "daemon/mounts.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "daemon/names.h"

namespace gantry::daemon {
namespace {

constexpr std::array<std::string_view, 6> kPropagations = {"private", "rprivate", "shared",
                                                           "rshared", "slave",    "rslave"};
// Accepted and without effect on Linux without SELinux, as in Docker: consistency hints of Docker
// Desktop and relabelling.
constexpr std::array<std::string_view, 6> kHints = {"z",      "Z",         "consistent",
                                                    "cached", "delegated", "default"};

template <size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> out;
  std::stringstream stream(text);
  std::string part;
  while (std::getline(stream, part, separator)) out.push_back(part);
  return out;
}

Error bad_bind(const std::string& spec, std::string_view why = {}) {
  if (why.empty()) return invalid("invalid volume specification: '{}'", spec);
  return invalid("invalid volume specification: '{}': {}", spec, why);
}

Status check_destination(const std::string& destination, const std::string& spec) {
  if (destination.empty() || destination[0] != '/')
    return bad_bind(spec, "invalid mount config for type \"bind\": mount path must be absolute");
  if (clean_path(destination) == "/") return bad_bind(spec, "destination can't be '/'");
  return {};
}

Status apply_bind_mode(MountPoint& mount, const std::string& mode, const std::string& spec) {
  bool has_access = false, has_propagation = false;
  for (const std::string& option : split(mode, ',')) {
    if (option == "ro" || option == "rw") {
      if (std::exchange(has_access, true)) return invalid("invalid mode: {}", mode);
      mount.writable = option == "rw";
    } else if (is_one_of(option, kPropagations)) {
      if (std::exchange(has_propagation, true) || mount.type != "bind")
        return invalid("invalid mode: {}", mode);
      mount.propagation = option;
    } else if (option == "nocopy") {
      if (mount.type != "volume") return invalid("invalid mode: {}", mode);
      mount.no_copy = true;
    } else if (!is_one_of(option, kHints)) {
      return invalid("invalid mode: {}", mode);
    }
  }
  if (mode.empty()) return bad_bind(spec);
  return {};
}

// Relative, and not out of where it begins.
bool is_local_path(const std::string& path) {
  if (path.empty() || path[0] == '/' || path.find('\0') != std::string::npos) return false;
  int depth = 0;
  for (const std::string& part : split(path, '/')) {
    if (part == ".." && --depth < 0) return false;
    if (!part.empty() && part != "." && part != "..") ++depth;
  }
  return true;
}

Status validate_source(const api::Mount& mount) {
  auto bad = [&](std::string_view why) {
    return invalid("invalid mount config for type \"{}\": {}", mount.Type, why);
  };
  if (mount.Type == "bind") {
    if (mount.Source.empty()) return bad("field Source must not be empty");
    if (mount.Source[0] != '/')
      return bad(fmt::format("invalid mount path: '{}' mount path must be absolute", mount.Source));
    if (mount.volume) return bad("field VolumeOptions must not be specified");
    if (mount.tmpfs) return bad("field TmpfsOptions must not be specified");
    if (mount.bind && !mount.bind->Propagation.empty() &&
        !is_one_of(mount.bind->Propagation, kPropagations))
      return bad(fmt::format("invalid propagation mode: {}", mount.bind->Propagation));
  } else if (mount.Type == "volume") {
    if (mount.bind) return bad("field BindOptions must not be specified");
    if (mount.Source.empty() && mount.ReadOnly)
      return bad("must not set ReadOnly mode when using anonymous volumes");
    if (!mount.Source.empty() && !is_valid_name(mount.Source))
      return invalid(
          "create {}: \"{}\" includes invalid characters for a local volume name, only "
          "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, "
          "use "
          "absolute path",
          mount.Source, mount.Source);
    if (mount.volume && !mount.volume->Subpath.empty()) {
      if (mount.Source.empty()) return bad("must not set Subpath when using anonymous volumes");
      if (!is_local_path(mount.volume->Subpath))
        return bad("subpath must be a relative path within the volume");
    }
    if (mount.volume && mount.volume->DriverConfig) {
      const std::string& driver = mount.volume->DriverConfig->Name;
      if (!driver.empty() && driver != "local")
        return not_found("error looking up volume plugin {}: plugin \"{}\" not found", driver,
                         driver);
      if (!mount.volume->DriverConfig->Options.empty())
        return unsupported(
            "mount {}: options of the local volume driver are not supported here: "
            "create the volume first",
            mount.Target);
    }
    if (mount.tmpfs) return bad("field TmpfsOptions must not be specified");
    if (mount.image) return bad("field ImageOptions must not be specified");
  } else if (mount.Type == "tmpfs") {
    if (!mount.Source.empty()) return bad("field Source must not be specified");
    if (mount.bind) return bad("field BindOptions must not be specified");
    if (mount.volume) return bad("field VolumeOptions must not be specified");
  } else if (mount.Type == "image") {
    if (mount.Source.empty()) return bad("field Source must not be empty");
    if (mount.bind) return bad("field BindOptions must not be specified");
    if (mount.volume) return bad("field VolumeOptions must not be specified");
    if (mount.tmpfs) return bad("field TmpfsOptions must not be specified");
    if (mount.image && !mount.image->Subpath.empty() && !is_local_path(mount.image->Subpath))
      return bad("subpath must be a relative path within the image");
  } else if (mount.Type == "npipe" || mount.Type == "cluster") {
    return unsupported("mount type \"{}\" is not supported by this engine", mount.Type);
  } else {
    return invalid("invalid mount config: mount type unknown: \"{}\"", mount.Type);
  }
  return {};
}

api::Strings tmpfs_options(const api::Mount& mount) {
  api::Strings options;
  if (mount.ReadOnly) options.push_back("ro");
  if (!mount.tmpfs) return options;
  if (mount.tmpfs->SizeBytes > 0) options.push_back(fmt::format("size={}", mount.tmpfs->SizeBytes));
  if (mount.tmpfs->Mode != 0) options.push_back(fmt::format("mode={:o}", mount.tmpfs->Mode));
  for (const api::Strings& option : mount.tmpfs->Options)
    if (option.size() == 1)
      options.push_back(option[0]);
    else if (option.size() == 2)
      options.push_back(option[0] + "=" + option[1]);
  return options;
}

}  // namespace

std::string clean_path(const std::string& path) {
  std::vector<std::string> parts;
  for (const std::string& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const std::string& part : parts) out += "/" + part;
  return out.empty() ? "/" : out;
}

Result<MountPoint> parse_bind(const std::string& spec, const std::string& volume_driver) {
  std::vector<std::string> parts = split(spec, ':');
  if (spec.empty() || spec.back() == ':' || parts.size() > 3) return bad_bind(spec);
  MountPoint mount;
  std::string mode;
  if (parts.size() == 1) {
    mount.type = "volume";
    mount.destination = parts[0];
    mount.anonymous = true;
  } else {
    if (parts[0].empty()) return bad_bind(spec);
    mount.type = parts[0][0] == '/' ? "bind" : "volume";
    (mount.type == "bind" ? mount.source : mount.name) = parts[0];
    mount.destination = parts[1];
    if (parts.size() == 3) mode = parts[2];
  }
  TRY(check_destination(mount.destination, spec));
  mount.destination = clean_path(mount.destination);
  if (mount.type == "bind") {
    mount.source = clean_path(mount.source);
    mount.propagation = "rprivate";
  } else {
    mount.driver = volume_driver.empty() ? "local" : volume_driver;
    if (!mount.anonymous && !is_valid_name(mount.name))
      return invalid(
          "create {}: \"{}\" includes invalid characters for a local volume name, only "
          "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, "
          "use "
          "absolute path",
          mount.name, mount.name);
  }
  if (parts.size() == 3) TRY(apply_bind_mode(mount, mode, spec));
  mount.mode = mode;
  return mount;
}

Result<MountPoint> parse_mount(const api::Mount& mount, const std::string& volume_driver) {
  if (mount.Target.empty())
    return invalid("invalid mount config for type \"{}\": field Target must not be empty",
                   mount.Type);
  if (mount.Target[0] != '/')
    return invalid(
        "invalid mount config for type \"{}\": invalid mount path: '{}' mount path must be "
        "absolute",
        mount.Type, mount.Target);
  if (clean_path(mount.Target) == "/")
    return invalid(
        "invalid mount config for type \"{}\": invalid specification: destination can't be '/'",
        mount.Type);
  TRY(validate_source(mount));
  MountPoint out;
  out.type = mount.Type;
  out.destination = clean_path(mount.Target);
  out.writable = !mount.ReadOnly;
  if (mount.Type == "bind") {
    out.source = clean_path(mount.Source);
    out.propagation = "rprivate";
    if (mount.bind) {
      if (!mount.bind->Propagation.empty()) out.propagation = mount.bind->Propagation;
      out.recursive = !mount.bind->NonRecursive;
      if (mount.bind->ReadOnlyNonRecursive) out.read_only_recursive = "disabled";
      if (mount.bind->ReadOnlyForceRecursive) out.read_only_recursive = "force";
    }
    // --mount wants the source to exist; -v makes it.
    out.mode = mount.bind && mount.bind->CreateMountpoint ? "create" : "exists";
  } else if (mount.Type == "volume") {
    out.name = mount.Source;
    out.anonymous = mount.Source.empty();
    out.driver = volume_driver.empty() ? "local" : volume_driver;
    if (mount.volume) {
      out.no_copy = mount.volume->NoCopy || !mount.volume->Subpath.empty();
      out.subpath = mount.volume->Subpath;
      if (mount.volume->DriverConfig && !mount.volume->DriverConfig->Name.empty())
        out.driver = mount.volume->DriverConfig->Name;
    }
  } else if (mount.Type == "image") {
    out.name = mount.Source;
    out.writable = false;
    if (mount.image) out.subpath = mount.image->Subpath;
  } else {
    out.tmpfs_options = tmpfs_options(mount);
  }
  return out;
}

MountPoint parse_tmpfs(const std::string& destination, const std::string& options) {
  MountPoint out;
  out.type = "tmpfs";
  out.destination = clean_path(destination);
  out.tmpfs_options = split(options, ',');
  out.mode = options;
  return out;
}

Result<std::vector<MountPoint>> collect_mounts(const api::ContainerConfig& config,
                                               const api::HostConfig& host_config,
                                               const std::vector<MountPoint>& inherited) {
  std::vector<MountPoint> out;
  auto at = [&](const std::string& destination) {
    return std::find_if(out.begin(), out.end(),
                        [&](const MountPoint& mount) { return mount.destination == destination; });
  };
  auto add = [&](MountPoint mount) -> Status {
    if (at(mount.destination) != out.end())
      return invalid("Duplicate mount point: {}", mount.destination);
    out.push_back(std::move(mount));
    return {};
  };
  for (const std::string& spec : host_config.Binds) {
    MountPoint mount = TRY(parse_bind(spec, host_config.VolumeDriver));
    TRY(add(std::move(mount)));
  }
  for (const api::Mount& spec : host_config.Mounts) {
    MountPoint mount = TRY(parse_mount(spec, host_config.VolumeDriver));
    TRY(add(std::move(mount)));
  }
  for (const auto& [destination, options] : host_config.Tmpfs) {
    if (destination.empty() || destination[0] != '/')
      return invalid("invalid mount path: '{}' mount path must be absolute", destination);
    TRY(add(parse_tmpfs(destination, options)));
  }
  for (const MountPoint& mount : inherited)
    if (at(mount.destination) == out.end()) out.push_back(mount);
  for (const auto& [destination, unused] : config.Volumes) {
    if (destination.empty() || destination[0] != '/')
      return invalid("invalid volume: {}: mount path must be absolute", destination);
    if (at(clean_path(destination)) != out.end()) continue;
    MountPoint mount = TRY(parse_bind(destination, host_config.VolumeDriver));
    out.push_back(std::move(mount));
  }
  return out;
}

}  // namespace gantry::daemon
