#include "registry_server/jwt_keys.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include "base/json.h"
#include "registry_server/content_digest.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kMostKeys = 64;
constexpr size_t kLongestChain = 8;

struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using Bio = std::unique_ptr<BIO, BioDeleter>;
struct ContextDeleter {
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, ContextDeleter>;

Bio memory(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Error openssl_error(std::string_view what) {
  char text[256] = "unknown";
  if (unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return invalid("{}: {}", what, text);
}

struct JsonKey {
  std::string type, curve, id, use, n, e, x, y;
};
struct JsonKeySet {
  std::vector<JsonKey> keys;
};

Result<Key> from_params(const char* type, OSSL_PARAM* params) {
  KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (!context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
    return openssl_error("key");
  return Key(key);
}

Result<Key> rsa_key(const JsonKey& json) {
  std::string n = TRY(base64_url_decode_strict(json.n)), e = TRY(base64_url_decode_strict(json.e));
  if (n.size() < 256 || n.size() > 1024 || e.empty() || e.size() > 8)
    return invalid("an RSA key has 2048 to 8192 bits");
  auto number = [](const std::string& bytes) {
    return std::unique_ptr<BIGNUM, decltype(&BN_free)>(
        BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()), nullptr),
        BN_free);
  };
  auto modulus = number(n), exponent = number(e);
  std::unique_ptr<OSSL_PARAM_BLD, decltype(&OSSL_PARAM_BLD_free)> build(OSSL_PARAM_BLD_new(),
                                                                        OSSL_PARAM_BLD_free);
  OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
  OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get());
  std::unique_ptr<OSSL_PARAM, decltype(&OSSL_PARAM_free)> params(
      OSSL_PARAM_BLD_to_param(build.get()), OSSL_PARAM_free);
  return from_params("RSA", params.get());
}

Result<Key> ec_key(const JsonKey& json) {
  if (json.curve != "P-256") return invalid("curve '{}' is not P-256", json.curve);
  std::string x = TRY(base64_url_decode_strict(json.x)), y = TRY(base64_url_decode_strict(json.y));
  if (x.size() != 32 || y.size() != 32) return invalid("a P-256 coordinate has 32 bytes");
  std::string point = "\x04" + x + y, group = "prime256v1";
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group.data(), 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()),
      OSSL_PARAM_construct_end()};
  return from_params("EC", params);
}

Result<Key> ed_key(const JsonKey& json) {
  if (json.curve != "Ed25519") return invalid("curve '{}' is not Ed25519", json.curve);
  std::string x = TRY(base64_url_decode_strict(json.x));
  Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr,
                                      reinterpret_cast<const unsigned char*>(x.data()), x.size()));
  if (!key) return openssl_error("Ed25519 key");
  return key;
}

Result<Key> from_json(const JsonKey& json) {
  if (json.type == "RSA") return rsa_key(json);
  if (json.type == "EC") return ec_key(json);
  if (json.type == "OKP") return ed_key(json);
  return invalid("key type '{}' is not supported (RSA, EC, OKP)", json.type);
}

}  // namespace
}  // namespace gantry::registry_server

namespace gantry::json {
template <>
struct Schema<registry_server::JsonKey> {
  using T = registry_server::JsonKey;
  static constexpr Field fields[] = {field<&T::type>("kty", kRequired),
                                     field<&T::curve>("crv"),
                                     field<&T::id>("kid"),
                                     field<&T::use>("use"),
                                     field<&T::n>("n"),
                                     field<&T::e>("e"),
                                     field<&T::x>("x"),
                                     field<&T::y>("y")};
};
template <>
struct Schema<registry_server::JsonKeySet> {
  using T = registry_server::JsonKeySet;
  static constexpr Field fields[] = {field<&T::keys>("keys", kRequired)};
};
}  // namespace gantry::json

namespace gantry::registry_server {

void KeyDeleter::operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }

KeySet::KeySet() : impl_(std::make_unique<Impl>()) {}
KeySet::KeySet(KeySet&&) noexcept = default;
KeySet& KeySet::operator=(KeySet&&) noexcept = default;
KeySet::~KeySet() = default;
size_t KeySet::size() const { return impl_->keys.size(); }
bool KeySet::empty() const { return impl_->keys.empty() && !impl_->roots; }
void KeySet::add_key(Key key, std::string id) {
  impl_->keys.push_back({std::move(key), std::move(id)});
}

Status KeySet::add(std::string_view text) {
  size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string_view::npos && text[start] == '{') {
    JsonKeySet set;
    if (text.find("\"keys\"") != std::string_view::npos)
      set = TRY(json::parse<JsonKeySet>(text));
    else
      set.keys.push_back(TRY(json::parse<JsonKey>(text)));
    for (const JsonKey& one : set.keys) {
      if (impl_->keys.size() >= kMostKeys) return invalid("more than {} keys", kMostKeys);
      if (!one.use.empty() && one.use != "sig") continue;
      add_key(TRY(from_json(one).context("key '{}'", one.id)), one.id);
    }
    return {};
  }
  Bio bio = memory(text);
  size_t before = size();
  while (true) {
    char *name = nullptr, *header = nullptr;
    unsigned char* data = nullptr;
    long length = 0;
    if (PEM_read_bio(bio.get(), &name, &header, &data, &length) != 1) break;
    std::string kind = name;
    const unsigned char* at = data;
    Key key;
    if (kind == "CERTIFICATE") {
      Certificate certificate(d2i_X509(nullptr, &at, length));
      if (certificate) key.reset(X509_get_pubkey(certificate.get()));
    } else if (kind == "PUBLIC KEY") {
      key.reset(d2i_PUBKEY(nullptr, &at, length));
    } else if (kind == "RSA PUBLIC KEY") {
      key.reset(d2i_PublicKey(EVP_PKEY_RSA, nullptr, &at, length));
    }
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    if (!key) return openssl_error(fmt::format("PEM block '{}' is no public key", kind));
    if (impl_->keys.size() >= kMostKeys) return invalid("more than {} keys", kMostKeys);
    std::string id = TRY(key_id(key));
    add_key(std::move(key), id);
  }
  ERR_clear_error();
  if (size() == before) return invalid("it holds no public key, in PEM or as a JSON web key set");
  return {};
}

Status KeySet::add_roots(std::string_view pem) {
  if (!impl_->roots) impl_->roots.reset(X509_STORE_new());
  Bio bio = memory(pem);
  size_t count = 0;
  while (Certificate certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    X509_STORE_add_cert(impl_->roots.get(), certificate.get());
    ++count;
  }
  ERR_clear_error();
  if (count == 0) return invalid("it holds no certificate in PEM");
  return {};
}

Result<Key> key_of_chain(const std::vector<std::string>& chain, X509_STORE* roots) {
  if (chain.empty() || chain.size() > kLongestChain)
    return invalid("x5c holds 1 to {} certificates", kLongestChain);
  std::vector<Certificate> certificates;
  std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> between(
      sk_X509_new_null(), [](STACK_OF(X509) * stack) { sk_X509_free(stack); });
  for (const std::string& text : chain) {
    std::string der = TRY(base64_decode_strict(text).context("x5c"));
    auto at = reinterpret_cast<const unsigned char*>(der.data());
    certificates.emplace_back(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
    if (!certificates.back()) return openssl_error("x5c");
    if (certificates.size() > 1) sk_X509_push(between.get(), certificates.back().get());
  }
  std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(X509_STORE_CTX_new(),
                                                                          X509_STORE_CTX_free);
  if (X509_STORE_CTX_init(context.get(), roots, certificates[0].get(), between.get()) != 1)
    return openssl_error("x5c");
  if (X509_verify_cert(context.get()) != 1)
    return invalid("x5c: {}",
                   X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())));
  Key key(X509_get_pubkey(certificates[0].get()));
  if (!key) return openssl_error("x5c");
  return key;
}

Result<Key> make_key() {
  Key key(EVP_EC_gen("P-256"));
  if (!key) return openssl_error("making a key");
  return key;
}

Result<Key> load_private_key(std::string_view pem) {
  Bio bio = memory(pem);
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  if (!key) return openssl_error("private key");
  if (EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_EC || EVP_PKEY_get_bits(key.get()) != 256)
    return invalid("the private key is none of P-256");
  return key;
}

Result<std::string> private_key_pem(const Key& key) {
  Bio bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return openssl_error("private key");
  char* data = nullptr;
  long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

Result<std::string> key_id(const Key& key) {
  unsigned char* der = nullptr;
  int size = i2d_PUBKEY(key.get(), &der);
  if (size <= 0) return openssl_error("public key");
  std::string text(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return ContentDigest::of(text).hex();
}

Result<Key> public_part(const Key& key) {
  unsigned char* der = nullptr;
  int size = i2d_PUBKEY(key.get(), &der);
  if (size <= 0) return openssl_error("public key");
  const unsigned char* at = der;
  Key out(d2i_PUBKEY(nullptr, &at, size));
  OPENSSL_free(der);
  if (!out) return openssl_error("public key");
  return out;
}

}  // namespace gantry::registry_server
