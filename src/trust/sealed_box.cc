#include "trust/sealed_box.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sodium/crypto_secretbox.h>

#include "base/base64.h"
#include "base/json.h"

namespace gantry::trust {
namespace {

constexpr size_t kSaltSize = 32;
constexpr size_t kKeySize = crypto_secretbox_KEYBYTES;
constexpr size_t kNonceSize = crypto_secretbox_NONCEBYTES;
constexpr size_t kTagSize = crypto_secretbox_MACBYTES;

struct ScryptParameters {
  int64_t n = 0, r = 0, p = 0;
};
struct Kdf {
  std::string name;
  ScryptParameters params;
  std::string salt;
};
struct Cipher {
  std::string name;
  std::string nonce;
};
struct Box {
  Kdf kdf;
  Cipher cipher;
  std::string ciphertext;
};

// Wiped when it goes.
struct Secret {
  unsigned char bytes[kKeySize];
  ~Secret() { OPENSSL_cleanse(bytes, sizeof bytes); }
};

Status derive(std::string_view passphrase, std::string_view salt, int64_t n, Secret& key) {
  int made = EVP_PBE_scrypt(passphrase.data(), passphrase.size(),
                            reinterpret_cast<const unsigned char*>(salt.data()), salt.size(),
                            static_cast<uint64_t>(n), 8, 1, 256u << 20, key.bytes, kKeySize);
  if (made != 1) return internal("scrypt failed");
  return {};
}

const unsigned char* unsigned_data(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace
}  // namespace gantry::trust

template <>
struct gantry::json::Schema<gantry::trust::ScryptParameters> {
  using T = gantry::trust::ScryptParameters;
  static constexpr Field fields[] = {field<&T::n>("N"), field<&T::r>("r"), field<&T::p>("p")};
};
template <>
struct gantry::json::Schema<gantry::trust::Kdf> {
  using T = gantry::trust::Kdf;
  static constexpr Field fields[] = {field<&T::name>("name"), field<&T::params>("params"),
                                     field<&T::salt>("salt")};
};
template <>
struct gantry::json::Schema<gantry::trust::Cipher> {
  using T = gantry::trust::Cipher;
  static constexpr Field fields[] = {field<&T::name>("name"), field<&T::nonce>("nonce")};
};
template <>
struct gantry::json::Schema<gantry::trust::Box> {
  using T = gantry::trust::Box;
  static constexpr Field fields[] = {field<&T::kdf>("kdf"), field<&T::cipher>("cipher"),
                                     field<&T::ciphertext>("ciphertext")};
};

namespace gantry::trust {

Result<std::string> seal(std::string_view plain, std::string_view passphrase, ScryptCost cost) {
  std::string salt(kSaltSize, '\0');
  std::string nonce(kNonceSize, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(salt.data()), kSaltSize) != 1 ||
      RAND_bytes(reinterpret_cast<unsigned char*>(nonce.data()), kNonceSize) != 1)
    return internal("there is no randomness");
  Box box;
  box.kdf = {"scrypt", {static_cast<int64_t>(cost), 8, 1}, base64_encode(salt)};
  box.cipher = {"nacl/secretbox", base64_encode(nonce)};
  Secret key;
  TRY(derive(passphrase, salt, box.kdf.params.n, key));
  std::string sealed(plain.size() + kTagSize, '\0');
  crypto_secretbox_easy(reinterpret_cast<unsigned char*>(sealed.data()), unsigned_data(plain),
                        plain.size(), unsigned_data(nonce), key.bytes);
  box.ciphertext = base64_encode(sealed);
  return json::dump(box);
}

Result<std::string> unseal(std::string_view text, std::string_view passphrase) {
  Box box = TRY(json::parse<Box>(text).context("encrypted key"));
  if (box.kdf.name != "scrypt")
    return invalid("encrypted key: its key derivation \"{}\" is not known", box.kdf.name);
  if (box.cipher.name != "nacl/secretbox")
    return invalid("encrypted key: its cipher \"{}\" is not known", box.cipher.name);
  const ScryptParameters& params = box.kdf.params;
  bool known = params.n == static_cast<int64_t>(ScryptCost::standard) ||
               params.n == static_cast<int64_t>(ScryptCost::legacy) ||
               params.n == static_cast<int64_t>(ScryptCost::high);
  if (!known || params.r != 8 || params.p != 1)
    return invalid("encrypted key: scrypt with N={}, r={}, p={} is not what cosign uses", params.n,
                   params.r, params.p);
  std::string salt = TRY(base64_decode(box.kdf.salt).context("encrypted key: salt"));
  std::string nonce = TRY(base64_decode(box.cipher.nonce).context("encrypted key: nonce"));
  std::string sealed = TRY(base64_decode(box.ciphertext).context("encrypted key: ciphertext"));
  if (nonce.size() != kNonceSize || sealed.size() < kTagSize)
    return invalid("encrypted key: it is cut short");
  Secret key;
  TRY(derive(passphrase, salt, params.n, key));
  std::string plain(sealed.size() - kTagSize, '\0');
  if (crypto_secretbox_open_easy(reinterpret_cast<unsigned char*>(plain.data()),
                                 unsigned_data(sealed), sealed.size(), unsigned_data(nonce),
                                 key.bytes) != 0)
    return Error(ErrorKind::permission, "wrong passphrase");
  return plain;
}

}  // namespace gantry::trust
