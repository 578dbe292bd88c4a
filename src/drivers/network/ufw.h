// ufw's files: what it lets in. Source: ufw(8), ufw-framework(8), and the comments that ufw itself
// reads its rules from in user.rules.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "drivers/network/host_policy.h"

namespace gantry::drivers {

// The rules for what comes in that a user.rules or user6.rules holds; routed and outgoing ones are
// none of them. `limit` lets in: its rate is not kept here. A rule that cannot be understood is an
// error, since what follows it may be meant as exceptions of it.
Result<std::vector<PolicyRule>> read_ufw_rules(std::string_view text);

// Nothing when ufw is not installed or not enabled. `root` is where /etc is looked for ("" but in
// tests).
Result<std::optional<HostPolicy>> read_ufw(const std::string& root = {});

// The directories that read_ufw() reads files of, for whoever watches them.
inline constexpr const char* kUfwDirectories[] = {"/etc/ufw", "/etc/default"};

}  // namespace gantry::drivers
