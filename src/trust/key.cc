#include "trust/key.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstring>

#include "base/base64.h"
#include "base/digest.h"
#include "trust/sealed_box.h"

namespace gantry::trust {
namespace {

constexpr size_t kPemLimit = 64u << 10;
constexpr std::string_view kSealed = "ENCRYPTED SIGSTORE PRIVATE KEY";
constexpr std::string_view kSealedOnce = "ENCRYPTED COSIGN PRIVATE KEY";

using KeyPtr = std::shared_ptr<EVP_PKEY>;
KeyPtr own(EVP_PKEY* key) { return KeyPtr(key, EVP_PKEY_free); }

struct Bio {
  explicit Bio(std::string_view text)
      : bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))) {}
  Bio() : bio(BIO_new(BIO_s_mem())) {}
  ~Bio() { BIO_free(bio); }
  Bio(const Bio&) = delete;
  std::string text() const {
    char* data = nullptr;
    long size = BIO_get_mem_data(bio, &data);
    return std::string(data, static_cast<size_t>(size));
  }
  BIO* bio;
};

Status check_kind(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "ED25519")) return {};
  if (!EVP_PKEY_is_a(key, "EC"))
    return invalid("a key of the kind {} is not supported: use ECDSA P-256 or Ed25519",
                   EVP_PKEY_get0_type_name(key));
  char group[64] = {};
  size_t size = 0;
  if (EVP_PKEY_get_group_name(key, group, sizeof group, &size) != 1 ||
      std::string_view(group) != SN_X9_62_prime256v1)
    return invalid("an ECDSA key on the curve {} is not supported: use P-256", group);
  return {};
}

std::string spki_of(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  int size = i2d_PUBKEY(key, &der);
  std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(std::max(size, 0)));
  OPENSSL_free(der);
  return out;
}

// The message digest of a key's signatures; Ed25519 has its own.
const EVP_MD* digest_of(EVP_PKEY* key) {
  return EVP_PKEY_is_a(key, "ED25519") ? nullptr : EVP_sha256();
}

struct DigestContext {
  ~DigestContext() { EVP_MD_CTX_free(context); }
  EVP_MD_CTX* context = EVP_MD_CTX_new();
};

// What stands between the lines "-----BEGIN label-----" and "-----END label-----".
Result<std::string> pem_body(std::string_view pem, std::string_view label) {
  std::string begin = fmt::format("-----BEGIN {}-----", label);
  std::string end = fmt::format("-----END {}-----", label);
  size_t from = pem.find(begin);
  if (from == pem.npos) return invalid("no {}", label);
  from += begin.size();
  size_t to = pem.find(end, from);
  if (to == pem.npos) return invalid("the PEM block {} does not end", label);
  std::string body;
  for (char c : pem.substr(from, to - from))
    if (!isspace(static_cast<unsigned char>(c))) body += c;
  return base64_decode(body);
}

struct Asked {
  const Passphrase* passphrase;
  std::optional<Error> error;
};
int give_passphrase(char* buffer, int size, int, void* data) {
  auto* asked = static_cast<Asked*>(data);
  Result<std::string> text = (*asked->passphrase)();
  if (!text) {
    asked->error = std::move(text).error();
    return -1;
  }
  if (text->size() > static_cast<size_t>(size)) return -1;
  std::memcpy(buffer, text->data(), text->size());
  return static_cast<int>(text->size());
}

}  // namespace

PublicKey::PublicKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {
  id_ = Digest::of(spki_of(key_.get())).text();
}

Result<PublicKey> PublicKey::parse(std::string_view pem) {
  if (pem.size() > kPemLimit) return invalid("a public key of {} bytes is refused", pem.size());
  if (pem.find("PRIVATE KEY-----") != pem.npos)
    return invalid("it is a private key: give the public one");
  Bio bio(pem);
  KeyPtr key = own(PEM_read_bio_PUBKEY(bio.bio, nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!key) return invalid("it is not a public key in PEM form");
  TRY(check_kind(key.get()));
  return PublicKey(std::move(key));
}

std::string PublicKey::pem() const {
  Bio bio;
  PEM_write_bio_PUBKEY(bio.bio, key_.get());
  return bio.text();
}

bool PublicKey::verify(std::string_view data, std::string_view signature) const {
  DigestContext at;
  bool good =
      EVP_DigestVerifyInit(at.context, nullptr, digest_of(key_.get()), nullptr, key_.get()) == 1 &&
      EVP_DigestVerify(at.context, reinterpret_cast<const unsigned char*>(signature.data()),
                       signature.size(), reinterpret_cast<const unsigned char*>(data.data()),
                       data.size()) == 1;
  ERR_clear_error();
  return good;
}

Result<PrivateKey> PrivateKey::generate(KeyType type) {
  KeyPtr key = own(type == KeyType::ed25519 ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
                                            : EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  if (!key) return internal("no key could be made");
  return PrivateKey(std::move(key));
}

Result<PrivateKey> PrivateKey::parse(std::string_view pem, const Passphrase& passphrase) {
  if (pem.size() > kPemLimit) return invalid("a private key of {} bytes is refused", pem.size());
  KeyPtr key;
  std::string_view sealed;
  for (std::string_view label : {kSealed, kSealedOnce})
    if (pem.find(fmt::format("-----BEGIN {}-----", label)) != pem.npos) sealed = label;
  if (!sealed.empty()) {
    std::string box = TRY(pem_body(pem, sealed));
    std::string text = TRY(passphrase());
    std::string der = TRY(unseal(box, text));
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    key = own(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.size())));
    OPENSSL_cleanse(der.data(), der.size());
    OPENSSL_cleanse(text.data(), text.size());
    ERR_clear_error();
    if (!key) return invalid("what is encrypted is not a private key");
  } else {
    Bio bio(pem);
    Asked asked{&passphrase, std::nullopt};
    key = own(PEM_read_bio_PrivateKey(bio.bio, nullptr, give_passphrase, &asked));
    unsigned long failure = ERR_peek_last_error();
    ERR_clear_error();
    if (asked.error) return std::move(*asked.error);
    if (!key && pem.find("ENCRYPTED") != pem.npos && failure != 0)
      return Error(ErrorKind::permission, "wrong passphrase");
    if (!key) return invalid("it is not a private key in PEM form");
  }
  TRY(check_kind(key.get()));
  return PrivateKey(std::move(key));
}

Result<std::string> PrivateKey::sign(std::string_view data) const {
  DigestContext at;
  const auto* bytes = reinterpret_cast<const unsigned char*>(data.data());
  size_t size = 0;
  if (EVP_DigestSignInit(at.context, nullptr, digest_of(key_.get()), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(at.context, nullptr, &size, bytes, data.size()) != 1)
    return internal("the key does not sign");
  std::string out(size, '\0');
  if (EVP_DigestSign(at.context, reinterpret_cast<unsigned char*>(out.data()), &size, bytes,
                     data.size()) != 1)
    return internal("the key does not sign");
  out.resize(size);
  return out;
}

Result<std::string> PrivateKey::sealed_pem(std::string_view passphrase) const {
  PKCS8_PRIV_KEY_INFO* info = EVP_PKEY2PKCS8(key_.get());
  if (info == nullptr) return internal("the key has no PKCS#8 form");
  unsigned char* der = nullptr;
  int size = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
  PKCS8_PRIV_KEY_INFO_free(info);
  if (size <= 0) return internal("the key has no PKCS#8 form");
  Result<std::string> sealed =
      seal({reinterpret_cast<char*>(der), static_cast<size_t>(size)}, passphrase);
  OPENSSL_clear_free(der, static_cast<size_t>(size));
  std::string box = TRY(std::move(sealed));
  std::string body = base64_encode(box);
  std::string out = fmt::format("-----BEGIN {}-----\n", kSealed);
  for (size_t at = 0; at < body.size(); at += 64) out += body.substr(at, 64) + "\n";
  return out + fmt::format("-----END {}-----\n", kSealed);
}

}  // namespace gantry::trust
