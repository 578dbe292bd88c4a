#include "registry_server/jwt.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>

#include <algorithm>

#include "base/json.h"
#include "registry_server/jwt_keys.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kTokenLimit = 32u << 10;
constexpr int64_t kLeeway = 60;  // seconds that two clocks may differ
constexpr size_t kCoordinate = 32;

struct Header {
  std::string algorithm, type, key_id;
  std::vector<std::string> chain;
  json::value critical;
};
struct RawClaims {
  std::string issuer, subject, id;
  json::value audience;
  double expires = 0, not_before = 0, issued = 0;
  std::vector<AccessEntry> access;
};

Error refused(std::string_view why) {
  return make_error(ErrorKind::permission, "the token is refused: {}", why);
}

template <typename... Parts>
Error refused(fmt::format_string<Parts...> format, Parts&&... parts) {
  return refused(std::string_view(fmt::format(format, std::forward<Parts>(parts)...)));
}

}  // namespace
}  // namespace gantry::registry_server

namespace gantry::json {
template <>
struct Schema<registry_server::Header> {
  using T = registry_server::Header;
  static constexpr Field fields[] = {field<&T::algorithm>("alg", kRequired), field<&T::type>("typ"),
                                     field<&T::key_id>("kid"), field<&T::chain>("x5c"),
                                     field<&T::critical>("crit")};
};
template <>
struct Schema<registry_server::AccessEntry> {
  using T = registry_server::AccessEntry;
  static constexpr Field fields[] = {field<&T::type>("type"), field<&T::name>("name"),
                                     field<&T::actions>("actions")};
};
template <>
struct Schema<registry_server::RawClaims> {
  using T = registry_server::RawClaims;
  static constexpr Field fields[] = {field<&T::issuer>("iss"),  field<&T::subject>("sub"),
                                     field<&T::id>("jti"),      field<&T::audience>("aud"),
                                     field<&T::expires>("exp"), field<&T::not_before>("nbf"),
                                     field<&T::issued>("iat"),  field<&T::access>("access")};
};
}  // namespace gantry::json

namespace gantry::registry_server {
namespace {

// ES256 signatures are two numbers of 32 bytes (RFC 7518, 3.4); OpenSSL wants them in DER.
Result<std::string> to_der(std::string_view raw) {
  if (raw.size() != 2 * kCoordinate) return refused("its signature has the wrong length");
  auto number = [&](size_t at) {
    return BN_bin2bn(reinterpret_cast<const unsigned char*>(raw.data()) + at, kCoordinate, nullptr);
  };
  std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> signature(ECDSA_SIG_new(), ECDSA_SIG_free);
  ECDSA_SIG_set0(signature.get(), number(0), number(kCoordinate));
  unsigned char* der = nullptr;
  int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return refused("its signature is malformed");
  std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return out;
}

Result<std::string> from_der(std::string_view der) {
  auto at = reinterpret_cast<const unsigned char*>(der.data());
  std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> signature(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())), ECDSA_SIG_free);
  std::string out(2 * kCoordinate, '\0');
  auto data = reinterpret_cast<unsigned char*>(out.data());
  if (!signature ||
      BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), data, kCoordinate) != kCoordinate ||
      BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), data + kCoordinate, kCoordinate) !=
          kCoordinate)
    return internal("the signature cannot be written");
  return out;
}

// The key's kind has to be the algorithm's own: a public key is never used as another's secret.
bool fits(EVP_PKEY* key, const std::string& algorithm) {
  int kind = EVP_PKEY_get_base_id(key);
  if (algorithm == "RS256") return kind == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) >= 2048;
  if (algorithm == "ES256") return kind == EVP_PKEY_EC && EVP_PKEY_get_bits(key) == 256;
  return algorithm == "EdDSA" && kind == EVP_PKEY_ED25519;
}

bool signed_by(EVP_PKEY* key, const std::string& algorithm, std::string_view text,
               std::string_view signature) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                  EVP_MD_CTX_free);
  const EVP_MD* digest = algorithm == "EdDSA" ? nullptr : EVP_sha256();
  bool good =
      context && EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, key) == 1 &&
      EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                       signature.size(), reinterpret_cast<const unsigned char*>(text.data()),
                       text.size()) == 1;
  ERR_clear_error();
  return good;
}

Result<TokenClaims> read_claims(std::string_view text) {
  auto raw = json::parse<RawClaims>(text);
  if (!raw) return refused("its claims are malformed");
  TokenClaims claims;
  claims.issuer = std::move(raw->issuer);
  claims.subject = std::move(raw->subject);
  claims.id = std::move(raw->id);
  claims.access = std::move(raw->access);
  auto seconds = [](double value) {
    return value > 0 && value < 1e15 ? static_cast<int64_t>(value) : 0;
  };
  claims.expires = seconds(raw->expires);
  claims.not_before = seconds(raw->not_before);
  claims.issued = seconds(raw->issued);
  auto add = [&](const json::value& one) {
    if (one.is_string()) claims.audience.emplace_back(one.get_string());
  };
  if (raw->audience.is_array())
    for (const json::value& one : raw->audience.get_array()) add(one);
  else
    add(raw->audience);
  return claims;
}

Status check_claims(const TokenClaims& claims, const TokenDemands& demands) {
  if (!demands.issuer.empty() && claims.issuer != demands.issuer)
    return refused("it is of the issuer '{}', not '{}'", claims.issuer, demands.issuer);
  if (!demands.audience.empty() && std::find(claims.audience.begin(), claims.audience.end(),
                                             demands.audience) == claims.audience.end())
    return refused("it is not for the service '{}'", demands.audience);
  if (claims.expires == 0) return refused("it has no time of expiry");
  if (claims.expires + kLeeway <= demands.now) return refused("it has expired");
  if (claims.not_before > demands.now + kLeeway) return refused("it is not valid yet");
  return {};
}

}  // namespace

class Verifier {
 public:
  static Status check(const Header& header, const KeySet& keys, std::string_view text,
                      std::string_view signature) {
    if (!header.chain.empty() && keys.impl_->roots) {
      auto key = key_of_chain(header.chain, keys.impl_->roots.get());
      if (!key) return refused(std::string_view(key.error().message()));
      if (fits(key->get(), header.algorithm) &&
          signed_by(key->get(), header.algorithm, text, signature))
        return {};
      return refused("its signature is wrong");
    }
    // The key that it names, else any that could have made it.
    bool named = !header.key_id.empty() &&
                 std::any_of(keys.impl_->keys.begin(), keys.impl_->keys.end(),
                             [&](const auto& one) { return one.id == header.key_id; });
    bool any = false;
    for (const auto& one : keys.impl_->keys) {
      if ((named && one.id != header.key_id) || !fits(one.key.get(), header.algorithm)) continue;
      any = true;
      if (signed_by(one.key.get(), header.algorithm, text, signature)) return {};
    }
    return any ? refused("its signature is wrong") : refused("none of the known keys signed it");
  }
};

Result<TokenClaims> verify_token(std::string_view token, const KeySet& keys,
                                 const TokenDemands& demands) {
  if (token.size() > kTokenLimit) return refused("it is too long");
  size_t first = token.find('.');
  size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos)
    return refused("it is no JSON web token");
  auto header_text = base64_url_decode_strict(token.substr(0, first));
  auto claims_text = base64_url_decode_strict(token.substr(first + 1, second - first - 1));
  auto signature = base64_url_decode_strict(token.substr(second + 1));
  if (!header_text || !claims_text || !signature) return refused("it is no JSON web token");
  auto header = json::parse<Header>(*header_text);
  if (!header) return refused("its header is malformed");
  const std::string& algorithm = header->algorithm;
  if (algorithm != "RS256" && algorithm != "ES256" && algorithm != "EdDSA")
    return refused("algorithm '{}' is none of RS256, ES256, EdDSA", algorithm.substr(0, 32));
  if (!header->critical.is_null()) return refused("it demands an extension that is not known");
  if (algorithm == "ES256") signature = TRY(to_der(*signature));
  TRY(Verifier::check(*header, keys, token.substr(0, second), *signature));
  TokenClaims claims = TRY(read_claims(*claims_text));
  TRY(check_claims(claims, demands));
  return claims;
}

Result<std::string> sign_token(const TokenClaims& claims, const Key& key) {
  json::object header{{"alg", "ES256"}, {"typ", "JWT"}, {"kid", TRY(key_id(key))}};
  json::object body{{"iss", claims.issuer},
                    {"sub", claims.subject},
                    {"exp", claims.expires},
                    {"nbf", claims.not_before},
                    {"iat", claims.issued},
                    {"jti", claims.id},
                    {"access", json::encode(claims.access)}};
  body["aud"] = claims.audience.empty() ? "" : claims.audience.front();
  std::string text = base64_url_encode_unpadded(json::serialize(header)) + "." +
                     base64_url_encode_unpadded(json::serialize(body));
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                  EVP_MD_CTX_free);
  std::string der(160, '\0');
  size_t size = der.size();
  if (!context ||
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(der.data()), &size,
                     reinterpret_cast<const unsigned char*>(text.data()), text.size()) != 1)
    return internal("the token cannot be signed");
  der.resize(size);
  return text + "." + base64_url_encode_unpadded(TRY(from_der(der)));
}

}  // namespace gantry::registry_server
