// Digests as the distribution specification writes them, of both algorithms that a registry has to
// know: "sha256:" and "sha512:". (base/digest.h knows the engine's one only.)
#pragma once

#include <compare>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::registry_server {

enum class Algorithm { sha256, sha512 };

// A valid digest, or empty. A value.
class ContentDigest {
 public:
  ContentDigest() = default;
  // Errors: `invalid` for malformed text, `unsupported` for another algorithm.
  static Result<ContentDigest> parse(std::string_view text);
  static ContentDigest of(std::string_view bytes, Algorithm algorithm = Algorithm::sha256);
  // The inverse of key().
  static Result<ContentDigest> from_key(std::string_view key);

  Algorithm algorithm() const { return text_[3] == '2' ? Algorithm::sha256 : Algorithm::sha512; }
  const std::string& text() const { return text_; }         // "sha256:…"
  std::string name() const { return text_.substr(0, 6); }   // "sha256"
  std::string hex() const { return text_.substr(7); }       // the digits
  std::string key() const { return name() + "-" + hex(); }  // a file's name
  bool empty() const { return text_.empty(); }
  auto operator<=>(const ContentDigest&) const = default;

 private:
  friend class Hasher;
  explicit ContentDigest(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

// Incremental. Move-only; one thread at a time. Throws std::bad_alloc only.
class Hasher {
 public:
  explicit Hasher(Algorithm algorithm);
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();
  void update(std::string_view bytes);
  // After it the hasher is spent.
  ContentDigest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Of `size` bytes of a file from its beginning. Blocks. Errors: of read, and `internal` when the
// file is shorter.
Result<Hasher> hash_file(int fd, uint64_t size, Algorithm algorithm);

}  // namespace gantry::registry_server
