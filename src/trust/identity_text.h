// The names of the identities' types in a policy file. Internal to the room.
#pragma once

#include <string_view>
#include <utility>

#include "trust/policy.h"

namespace gantry::trust {

inline constexpr std::pair<std::string_view, SignedIdentity::Type> kIdentityTypes[] = {
    {"matchExact", SignedIdentity::Type::match_exact},
    {"matchRepoDigestOrExact", SignedIdentity::Type::match_repo_digest_or_exact},
    {"matchRepository", SignedIdentity::Type::match_repository},
    {"exactReference", SignedIdentity::Type::exact_reference},
    {"exactRepository", SignedIdentity::Type::exact_repository},
    {"remapIdentity", SignedIdentity::Type::remap_identity},
};

inline std::string_view name_of(SignedIdentity::Type type) {
  for (const auto& [name, known] : kIdentityTypes)
    if (known == type) return name;
  return "?";
}

}  // namespace gantry::trust
