// Names of images, with the grammar, the normalisation and the messages of Docker's
// distribution/reference.
//
//   name[:tag][@digest]      name = [domain/]path
//
// "busybox" is docker.io/library/busybox; a domain is what stands before the first slash and has a
// "." or
// ":", is "localhost" or has an upper-case letter. Values; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::image {

class Reference {
 public:
  // A name as a user types it (reference.ParseNormalizedNamed). Errors are `invalid` with Docker's
  // words: "invalid reference format", "… repository name (library/Foo) must be lowercase", and so
  // on. A name that could be an image id (64 hexadecimal digits) is refused as Docker refuses it.
  static Result<Reference> parse(std::string_view text);

  const std::string& domain() const { return domain_; }  // "docker.io"
  const std::string& path() const { return path_; }      // "library/busybox"
  const std::string& tag() const { return tag_; }        // "" when absent
  const std::string& digest() const { return digest_; }  // "sha256:…"; "" when absent
  bool name_only() const { return tag_.empty() && digest_.empty(); }

  std::string name() const { return domain_ + "/" + path_; }  // docker.io/library/busybox
  std::string text() const;                                   // the name with tag and digest
  std::string familiar_name() const;                          // busybox
  std::string familiar() const;                               // busybox:latest, as people see it

  Reference with_tag(std::string tag) const;        // `tag` must be valid (check_tag)
  Reference with_digest(std::string digest) const;  // drops the tag
  Reference without_digest() const;
  // Adds ":latest" when there is neither tag nor digest (reference.TagNameOnly).
  Reference with_default_tag() const;

  auto operator<=>(const Reference&) const = default;

 private:
  std::string domain_;
  std::string path_;
  std::string tag_;
  std::string digest_;
};

// "invalid tag format" unless `tag` matches [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}.
Status check_tag(std::string_view tag);
// An image id or the beginning of one: hexadecimal digits, with or without "sha256:".
bool is_id_prefix(std::string_view text);

}  // namespace gantry::image
