#include "libcontainer/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "base/log.h"
#include "base/sys.h"
#include "libcontainer/default_profile.h"

namespace gantry::libcontainer {
namespace {

struct KernelSets {
  uint64_t effective = 0;
  uint64_t permitted = 0;
  uint64_t inheritable = 0;
};

Result<KernelSets> capget() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) == -1) return error_from_errno(errno, "capget");
  KernelSets sets;
  sets.effective = data[0].effective | uint64_t{data[1].effective} << 32;
  sets.permitted = data[0].permitted | uint64_t{data[1].permitted} << 32;
  sets.inheritable = data[0].inheritable | uint64_t{data[1].inheritable} << 32;
  return sets;
}

Status capset(const KernelSets& sets) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int word = 0; word < 2; ++word) {
    data[word].effective = static_cast<uint32_t>(sets.effective >> (32 * word));
    data[word].permitted = static_cast<uint32_t>(sets.permitted >> (32 * word));
    data[word].inheritable = static_cast<uint32_t>(sets.inheritable >> (32 * word));
  }
  if (::syscall(SYS_capset, &header, data) == -1) return error_from_errno(errno, "capset");
  return {};
}

uint64_t mask_of(const std::vector<std::string>& names, std::string_view set, uint64_t available,
                 std::set<std::string>& withheld) {
  uint64_t mask = 0;
  for (const std::string& name : names) {
    int number = capability_number(name);
    if (number < 0)
      log::warn("process.capabilities.{}: {} is unknown, left out", set, name);
    else if (!(available >> number & 1))
      withheld.insert(name);
    else
      mask |= uint64_t{1} << number;
  }
  return mask;
}

}  // namespace

uint64_t known_capabilities() {
  static const uint64_t known = [] {
    uint64_t mask = 0;
    for (int number = 0; number < 64; ++number) {
      int present = ::prctl(PR_CAPBSET_READ, number, 0, 0, 0);
      if (present < 0) break;
      if (present == 1) mask |= uint64_t{1} << number;
    }
    return mask;
  }();
  return known;
}

CapabilitySets capability_sets(const Capabilities& capabilities) {
  uint64_t available = known_capabilities();
  std::set<std::string> withheld;
  CapabilitySets sets;
  sets.bounding = mask_of(capabilities.bounding, "bounding", available, withheld);
  sets.effective = mask_of(capabilities.effective, "effective", available, withheld);
  sets.inheritable = mask_of(capabilities.inheritable, "inheritable", available, withheld);
  sets.permitted = mask_of(capabilities.permitted, "permitted", available, withheld);
  sets.ambient = mask_of(capabilities.ambient, "ambient", available, withheld);
  std::string list;  // one line for all of them
  for (const std::string& name : withheld) list += list.empty() ? name : ", " + name;
  if (!list.empty()) log::warn("process.capabilities: {} cannot be granted here, left out", list);
  uint64_t possible = sets.permitted & sets.inheritable;
  if (sets.ambient & ~possible)
    log::warn(
        "process.capabilities.ambient: only what is permitted and inheritable can be ambient");
  sets.ambient &= possible;
  return sets;
}

Status drop_bounding_set(const CapabilitySets& sets) {
  uint64_t known = known_capabilities();
  for (int number = 0; number < 64; ++number) {
    uint64_t bit = uint64_t{1} << number;
    if (!(known & bit) || (sets.bounding & bit)) continue;
    TRY(sys::prctl(PR_CAPBSET_DROP, static_cast<unsigned long>(number))
            .context("process.capabilities.bounding"));
  }
  // The change of user must not clear what apply_capabilities() is about to give.
  return sys::prctl(PR_SET_KEEPCAPS, 1);
}

Status apply_capabilities(const CapabilitySets& sets) {
  KernelSets now = TRY(capget());
  // Clears the ambient set of whoever called us, too: it may not outlive inheritable.
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  KernelSets wanted;
  wanted.permitted = sets.permitted & now.permitted;
  wanted.effective = sets.effective & wanted.permitted;
  wanted.inheritable = sets.inheritable & (now.permitted | now.inheritable);
  TRY(capset(wanted).context("process.capabilities"));
  uint64_t ambient = sets.ambient & wanted.permitted & wanted.inheritable;
  for (int number = 0; number < 64; ++number)
    if (ambient >> number & 1)
      TRY(sys::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, static_cast<unsigned long>(number))
              .context("process.capabilities.ambient"));
  return sys::prctl(PR_SET_KEEPCAPS, 0);
}

}  // namespace gantry::libcontainer
