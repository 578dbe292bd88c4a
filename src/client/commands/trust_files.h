// Keys and the policy file, as `gantry image trust` makes and edits them: the client's files, which
// no daemon is asked about.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "trust/key.h"

namespace gantry::client {

inline constexpr const char* kPolicyFile = "/etc/gantry/policy.json";

// From the file, else GANTRY_KEY_PASSPHRASE or COSIGN_PASSWORD, else asked for on the terminal
// (`twice` for a new one).
enum class Ask { once, twice };
Result<std::string> find_passphrase(const std::string& file, Ask how);

Result<trust::PrivateKey> read_private_key(const std::string& path,
                                           const std::string& passphrase_file);
// PREFIX.key, for its owner alone, and PREFIX.pub. Neither may be there.
Status write_key_pair(const std::string& prefix, const trust::PrivateKey& key,
                      const std::string& passphrase);

struct PolicyChange {
  std::string transport = "docker";
  std::string scope;              // "default": what applies elsewhere
  std::string type;               // accept, reject, signedBy, sigstoreSigned
  std::vector<std::string> keys;  // files
  std::string identity;           // match…; "": the usual one
  bool remove = false;            // the scope's rule
};
// Puts one rule into the file, which is made when it is not there and is replaced as a whole.
Status change_policy(const std::string& path, const PolicyChange& change);

}  // namespace gantry::client
