#include "registry_server/content_digest.h"

#include <openssl/evp.h>

#include <new>

#include "base/sys.h"

namespace gantry::registry_server {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

// Fetched once: a fetch is a look-up under a lock (EVP_MD_fetch(3)).
const EVP_MD* method(Algorithm algorithm) {
  static const EVP_MD* sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  static const EVP_MD* sha512 = EVP_MD_fetch(nullptr, "SHA512", nullptr);
  return algorithm == Algorithm::sha256 ? sha256 : sha512;
}

}  // namespace

Result<ContentDigest> ContentDigest::parse(std::string_view text) {
  size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon > 64)
    return invalid("'{}' is no digest (algorithm:hexadecimal digits)", text.substr(0, 160));
  std::string_view algorithm = text.substr(0, colon);
  std::string_view hex = text.substr(colon + 1);
  size_t length = algorithm == "sha256" ? 64 : algorithm == "sha512" ? 128 : 0;
  if (length == 0)
    return unsupported("digest algorithm '{}' is not supported (sha256, sha512)", algorithm);
  if (hex.size() != length || hex.find_first_not_of(kDigits) != std::string_view::npos)
    return invalid("'{}' is no {} digest ({} lower-case hexadecimal digits)", text.substr(0, 160),
                   algorithm, length);
  return ContentDigest(std::string(text));
}

Result<ContentDigest> ContentDigest::from_key(std::string_view key) {
  std::string text(key);
  if (text.size() > 6 && text[6] == '-') text[6] = ':';
  return parse(text);
}

ContentDigest ContentDigest::of(std::string_view bytes, Algorithm algorithm) {
  Hasher hasher(algorithm);
  hasher.update(bytes);
  return hasher.finish();
}

struct Hasher::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  Algorithm algorithm;
  ~State() { EVP_MD_CTX_free(context); }
};

Hasher::Hasher(Algorithm algorithm) : state_(std::make_unique<State>()) {
  state_->algorithm = algorithm;
  if (!state_->context || EVP_DigestInit_ex2(state_->context, method(algorithm), nullptr) != 1)
    throw std::bad_alloc();
}
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

void Hasher::update(std::string_view bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

ContentDigest Hasher::finish() {
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(state_->context, raw, &size);
  std::string text = state_->algorithm == Algorithm::sha256 ? "sha256:" : "sha512:";
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[raw[i] >> 4];
    text += kDigits[raw[i] & 15];
  }
  return ContentDigest(std::move(text));
}

Result<Hasher> hash_file(int fd, uint64_t size, Algorithm algorithm) {
  Hasher hasher(algorithm);
  std::string buffer(std::min<uint64_t>(size + 1, 1u << 20), '\0');
  uint64_t at = 0;
  while (at < size) {
    size_t got = TRY(sys::pread(fd, buffer.data(), std::min<uint64_t>(buffer.size(), size - at),
                                static_cast<off_t>(at)));
    if (got == 0) return internal("the file ends at {} of {} bytes", at, size);
    hasher.update({buffer.data(), got});
    at += got;
  }
  return hasher;
}

}  // namespace gantry::registry_server
