// What the image store asks of a registry: one repository at the other end. Implemented by the room
// `registry`; tests have their own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "base/digest.h"
#include "image/manifest.h"
#include "image/reference.h"

namespace gantry::image {

// As it came, with the digest of just these bytes.
struct RemoteManifest {
  Digest digest;
  std::string media_type;
  std::string bytes;
};

// Where the bytes of a blob to be sent come from: called again from the start when an upload has to
// begin anew or go on after a cut.
using BlobOpener = std::function<Result<std::unique_ptr<ByteSource>>()>;

// What an upload turned out to be.
struct UploadedBlob {
  Digest digest;
  int64_t size = 0;
};

// The manifests that say that they are about another.
struct Referrers {
  std::vector<Descriptor> manifests;
  bool by_api = false;  // of the registry's; else of the index that clients keep at a tag
};

// Thread-safe. Every call ends with `cancelled` when the job it was opened for is cancelled. What
// another attempt may mend has been tried again before it is an error.
class RemoteRepository {
 public:
  virtual ~RemoteRepository() = default;
  // "docker.io/library/busybox"; the name the user typed, whatever mirror answers.
  virtual const std::string& name() const = 0;

  // By tag or digest; over 4 MiB, or not what the digest says, is `invalid`. Docker's words for
  // what is not there or not allowed.
  virtual Result<RemoteManifest> manifest(const std::string& tag_or_digest) = 0;
  // The blob from `offset` on; goes on by itself after a cut. More bytes than the descriptor says,
  // or fewer, are `invalid`; the digest is the reader's to compare.
  virtual Result<std::unique_ptr<ByteSource>> blob(const Descriptor& descriptor,
                                                   uint64_t offset) = 0;
  virtual Result<std::vector<std::string>> tags() = 0;

  virtual Result<bool> has_blob(const Digest& digest) = 0;
  // Takes the blob over from another repository of the same registry; false when it cannot.
  virtual Result<bool> mount(const Digest& digest, const std::string& from_path) = 0;
  // `expected` empty: what the bytes are is known at their end only. `size` < 0: not known.
  // `sent` is told how many bytes the registry has.
  virtual Result<UploadedBlob> upload(const Digest& expected, int64_t size, const BlobOpener& open,
                                      const std::function<void(int64_t)>& sent) = 0;
  virtual Status put_manifest(const std::string& tag_or_digest, const RemoteManifest& manifest) = 0;
  virtual Result<Referrers> referrers(const Digest& subject) = 0;
  // Signatures that the registry itself keeps (X-Registry-Supports-Signatures); none elsewhere.
  virtual Result<std::vector<std::string>> kept_signatures(const Digest& manifest) = 0;
};

// Opens a repository by its name ("docker.io/library/busybox"), without credentials: for what comes
// from where a layer was first seen.
using RemoteOpener = std::function<Result<std::unique_ptr<RemoteRepository>>(const std::string&)>;

}  // namespace gantry::image
