// Tokens of Docker's token authentication: JSON web tokens (RFC 7519) signed with RS256, ES256 or
// EdDSA, with a claim "access". Outside bytes: bounded, and checked before anything is believed.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/base64.h"
#include "base/result.h"

typedef struct evp_pkey_st EVP_PKEY;
typedef struct x509_store_st X509_STORE;

namespace gantry::registry_server {

struct KeyDeleter {
  void operator()(EVP_PKEY* key) const;
};
using Key = std::unique_ptr<EVP_PKEY, KeyDeleter>;

struct AccessEntry {
  std::string type;  // "repository", "registry"
  std::string name;
  std::vector<std::string> actions;
};

struct TokenClaims {
  std::string issuer;
  std::string subject;
  std::vector<std::string> audience;
  int64_t expires = 0;     // seconds; 0: absent
  int64_t not_before = 0;  // seconds; 0: absent
  int64_t issued = 0;
  std::string id;
  std::vector<AccessEntry> access;
};

// Who may sign. Immutable once filled; shared between threads then.
class KeySet {
 public:
  KeySet();
  KeySet(KeySet&&) noexcept;
  KeySet& operator=(KeySet&&) noexcept;
  ~KeySet();

  // PEM (public keys, certificates) or a JSON web key set. Errors: invalid, naming what is wrong.
  Status add(std::string_view text);
  // Certificates that may vouch for the one in a token's header ("x5c").
  Status add_roots(std::string_view pem);
  void add_key(Key key, std::string id);
  size_t size() const;
  bool empty() const;

 private:
  friend class Verifier;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct TokenDemands {
  std::string issuer;    // "": any
  std::string audience;  // "": any
  int64_t now = 0;       // seconds
};

// Errors: `permission`, saying what is wrong with the token.
Result<TokenClaims> verify_token(std::string_view token, const KeySet& keys,
                                 const TokenDemands& demands);

// ---- the registry's own tokens, ES256

Result<Key> make_key();
Result<Key> load_private_key(std::string_view pem);
Result<std::string> private_key_pem(const Key& key);
// SHA-256 of the public key, in hexadecimal.
Result<std::string> key_id(const Key& key);
Result<Key> public_part(const Key& key);
Result<std::string> sign_token(const TokenClaims& claims, const Key& key);

}  // namespace gantry::registry_server
