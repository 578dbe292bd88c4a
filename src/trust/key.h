// Keys that sign images: ECDSA on P-256 (with SHA-256) and Ed25519, as PEM.
//
// A private key is read in the form that cosign writes ("ENCRYPTED SIGSTORE PRIVATE KEY", once
// "ENCRYPTED COSIGN PRIVATE KEY": PKCS#8 in a NaCl secretbox under scrypt), as PKCS#8, encrypted
// ("ENCRYPTED PRIVATE KEY", RFC 5958) or plain, and in OpenSSL's own ("EC PRIVATE KEY"). It is
// written in cosign's form. Values; thread-safe once made.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct evp_pkey_st;

namespace gantry::trust {

enum class KeyType { ecdsa_p256, ed25519 };

class PublicKey {
 public:
  // "PUBLIC KEY", one in the text. Errors: invalid, for others than the two kinds too.
  static Result<PublicKey> parse(std::string_view pem);

  // Of the key as SubjectPublicKeyInfo: "sha256:…".
  const std::string& id() const { return id_; }
  std::string pem() const;
  // Whether `signature` (ASN.1 of ECDSA, or the 64 bytes of Ed25519) is this key's over `data`.
  bool verify(std::string_view data, std::string_view signature) const;

 private:
  friend class PrivateKey;
  explicit PublicKey(std::shared_ptr<evp_pkey_st> key);
  std::shared_ptr<evp_pkey_st> key_;
  std::string id_;
};

// Asked for once, and only when the key is encrypted.
using Passphrase = std::function<Result<std::string>()>;

class PrivateKey {
 public:
  static Result<PrivateKey> generate(KeyType type);
  // Errors: invalid; "wrong passphrase" when that is what it looks like.
  static Result<PrivateKey> parse(std::string_view pem, const Passphrase& passphrase);

  Result<std::string> sign(std::string_view data) const;
  PublicKey public_key() const { return PublicKey(key_); }
  // In cosign's form; an empty passphrase encrypts as well, as cosign does.
  Result<std::string> sealed_pem(std::string_view passphrase) const;

 private:
  explicit PrivateKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

}  // namespace gantry::trust
