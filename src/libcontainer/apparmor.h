// AppArmor's default profile for containers: made here, and loaded into the kernel by AppArmor's
// own parser when the first container asks for it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::libcontainer {

constexpr std::string_view kDefaultApparmorProfile = "gantry-default";

// The kernel has AppArmor, and it is switched on.
bool apparmor_enabled();
// Enabled, and a parser is there to load a profile with.
bool apparmor_usable();

// The text of gantry-default (apparmor.d(5)). What Docker's docker-default allows and denies, and
// no AF_ALG and AF_VSOCK sockets, not even by the 32-bit socketcall that seccomp cannot look into.
std::string default_apparmor_profile();

// Loads gantry-default unless the kernel has it. `unsupported` without AppArmor or its parser.
// Needs CAP_MAC_ADMIN; processes that load it at the same time do not disturb each other.
Status load_default_apparmor_profile();

}  // namespace gantry::libcontainer
