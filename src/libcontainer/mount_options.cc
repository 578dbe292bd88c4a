#include "libcontainer/mount_options.h"

#include <sys/mount.h>

#include <algorithm>

namespace gantry::libcontainer {
namespace {

// Values of linux/mount.h, which does not go together with sys/mount.h.
enum : uint64_t {
  kRdonly = 0x1,
  kNosuid = 0x2,
  kNodev = 0x4,
  kNoexec = 0x8,
  kAtimeMask = 0x70,
  kRelatime = 0x0,
  kNoatime = 0x10,
  kStrictatime = 0x20,
  kNodiratime = 0x80,
  kNosymfollow = 0x200000,
};

struct AttributeWord {
  std::string_view name;
  uint64_t set;
  uint64_t clear;
};
// With an "r" in front each is also the recursive attribute of that name.
constexpr AttributeWord kAttributes[] = {
    {"ro", kRdonly, 0},
    {"rw", 0, kRdonly},
    {"nosuid", kNosuid, 0},
    {"suid", 0, kNosuid},
    {"nodev", kNodev, 0},
    {"dev", 0, kNodev},
    {"noexec", kNoexec, 0},
    {"exec", 0, kNoexec},
    {"nodiratime", kNodiratime, 0},
    {"diratime", 0, kNodiratime},
    {"relatime", kRelatime, kAtimeMask},
    {"norelatime", kStrictatime, kAtimeMask},
    {"noatime", kNoatime, kAtimeMask},
    {"atime", kRelatime, kAtimeMask},
    {"strictatime", kStrictatime, kAtimeMask},
    {"nostrictatime", kRelatime, kAtimeMask},
    {"nosymfollow", kNosymfollow, 0},
    {"symfollow", 0, kNosymfollow},
};

struct PropagationWord {
  std::string_view name;
  uint64_t type;
  bool recursive;
};
constexpr PropagationWord kPropagations[] = {
    {"shared", MS_SHARED, false},         {"rshared", MS_SHARED, true},
    {"slave", MS_SLAVE, false},           {"rslave", MS_SLAVE, true},
    {"private", MS_PRIVATE, false},       {"rprivate", MS_PRIVATE, true},
    {"unbindable", MS_UNBINDABLE, false}, {"runbindable", MS_UNBINDABLE, true},
};

struct SpecialWord {
  std::string_view name;
  void (*apply)(MountOptions&);
};
constexpr SpecialWord kSpecials[] = {
    {"bind", [](MountOptions& o) { o.bind = BindKind::bind; }},
    {"rbind", [](MountOptions& o) { o.bind = BindKind::rbind; }},
    {"idmap", [](MountOptions& o) { o.idmap = IdmapKind::idmap; }},
    {"ridmap", [](MountOptions& o) { o.idmap = IdmapKind::ridmap; }},
    {"tmpcopyup", [](MountOptions& o) { o.copy_up = true; }},
    {"defaults", [](MountOptions&) {}},
    {"remount", [](MountOptions& o) { o.remount = true; }},
    // The file systems that count versions have done so always since Linux 6.1.
    {"iversion", [](MountOptions&) {}},
    {"noiversion", [](MountOptions&) {}},
    {"silent", [](MountOptions&) {}},
    {"loud", [](MountOptions&) {}},
};
// Flags that belong to the superblock and have fsconfig names of their own.
constexpr std::string_view kSuperblockWords[] = {"sync",   "async",    "dirsync",   "mand",
                                                 "nomand", "lazytime", "nolazytime"};

void add(uint64_t& set, uint64_t& clear, const AttributeWord& word) {
  // The kernel wants the whole atime field cleared by whoever sets a part of it.
  set = (set & ~word.clear) | word.set;
  clear = (clear & ~word.set) | word.clear;
}

bool apply_attribute(MountOptions& out, std::string_view option) {
  for (const AttributeWord& word : kAttributes)
    if (word.name == option) {
      add(out.set, out.clear, word);
      return true;
    }
  // "relatime" is a word of its own, not the recursive "elatime": checked first, above.
  if (!option.starts_with('r')) return false;
  for (const AttributeWord& word : kAttributes)
    if (word.name == option.substr(1)) {
      add(out.recursive_set, out.recursive_clear, word);
      return true;
    }
  return false;
}

}  // namespace

MountOptions parse_mount_options(const std::vector<std::string>& options) {
  MountOptions out;
  for (const std::string& option : options) {
    if (option.empty() || apply_attribute(out, option)) continue;
    auto propagation = std::find_if(std::begin(kPropagations), std::end(kPropagations),
                                    [&](const auto& word) { return word.name == option; });
    if (propagation != std::end(kPropagations)) {
      out.propagation = propagation->type;
      out.recursive_propagation = propagation->recursive;
      continue;
    }
    auto special = std::find_if(std::begin(kSpecials), std::end(kSpecials),
                                [&](const auto& word) { return word.name == option; });
    if (special != std::end(kSpecials)) {
      special->apply(out);
      continue;
    }
    out.data.push_back(option);
  }
  return out;
}

std::vector<std::string> known_mount_options() {
  std::vector<std::string> names;
  for (const AttributeWord& word : kAttributes) {
    names.emplace_back(word.name);
    names.push_back("r" + std::string(word.name));
  }
  for (const PropagationWord& word : kPropagations) names.emplace_back(word.name);
  for (const SpecialWord& word : kSpecials) names.emplace_back(word.name);
  for (std::string_view word : kSuperblockWords) names.emplace_back(word);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace gantry::libcontainer
