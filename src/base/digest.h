// SHA-256 digests as OCI writes them: "sha256:" and 64 lower-case hexadecimal digits. In a library
// of its own (gantry_digest) because libcrypto must not reach gantry-runtime.
#pragma once

#include <compare>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry {

// A valid digest, or empty.
class Digest {
 public:
  Digest() = default;
  // "sha256:<64 hex>"; other algorithms are `unsupported`, malformed text `invalid`.
  static Result<Digest> parse(std::string_view text);
  static Digest of(std::string_view bytes);

  const std::string& text() const { return text_; }                   // "sha256:…", or ""
  std::string hex() const { return empty() ? "" : text_.substr(7); }  // the 64 digits
  bool empty() const { return text_.empty(); }
  auto operator<=>(const Digest&) const = default;

 private:
  friend class Sha256;
  explicit Digest(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

// Incremental; move-only; not thread-safe. After finish() it must not be used again.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void update(std::string_view bytes);
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gantry
