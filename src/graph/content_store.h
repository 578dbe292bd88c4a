// Blobs on disk by digest: ROOT/blobs/sha256/xx/HEX, beside ROOT/ingest/ for what is being written.
// A blob is complete or absent: written to a temporary, verified, synced, renamed (OCI image
// layout's idea of content;
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::graph {

// Thread-safe: its only state is two directory descriptors.
class ContentStore {
 public:
  struct Info {
    Digest digest;
    int64_t size = 0;
    int64_t modified_at = 0;  // ns since the epoch
  };
  // What verify() and check() find.
  enum class Health { sound, missing, corrupt };

  // One blob being written. Not thread-safe. Destroyed without commit(), it leaves nothing; after a
  // crash its temporary is removed at the next open() of the store.
  class Writer {
   public:
    Writer(Writer&&) noexcept;
    Writer& operator=(Writer&&) = delete;
    ~Writer();

    Status write(std::string_view bytes);
    int64_t size() const { return size_; }
    // Makes the blob appear. With `expected`, other content is `invalid` ("digest mismatch: …") and
    // nothing appears. A blob that is there already stays, as new (its modification time is now).
    Result<Info> commit(const Digest& expected = {});

   private:
    friend class ContentStore;
    Writer(const ContentStore* store, UniqueFd file, std::string name);
    const ContentStore* store_;
    UniqueFd file_;
    std::string name_;  // in ingest/; "" once it was renamed
    Sha256 hash_;
    int64_t size_ = 0;
  };

  // Makes the directories (0700) and removes what earlier processes left in ingest/.
  static Result<std::unique_ptr<ContentStore>> open(const std::string& root);

  Result<Writer> writer() const;
  // A small blob in one go.
  Result<Info> put(std::string_view bytes) const;
  // Read-only. not_found: "content sha256:… is missing".
  Result<UniqueFd> open_blob(const Digest& digest) const;
  // The whole of a small blob, verified; over `limit` is an error.
  Result<std::string> read(const Digest& digest, size_t limit = 16u << 20) const;
  Result<Info> stat(const Digest& digest) const;  // not_found
  bool contains(const Digest& digest) const;
  Status remove(const Digest& digest) const;  // absent is success
  // The same in two steps, for inside a transaction: a rename, fast at any size, then the freeing
  // of the blocks by purge(). "" when there was no such blob. After a crash open() purges.
  Result<std::string> discard(const Digest& digest) const;
  void purge(const std::string& discarded) const;
  // Every blob, in no order; files whose names are no digests are skipped.
  Result<std::vector<Info>> list() const;
  // Reads and hashes the blob. `expected_size` < 0: any.
  Result<Health> verify(const Digest& digest, int64_t expected_size = -1) const;

  const std::string& root() const { return root_; }
  // For handing to code that wants a path; the file is immutable.
  std::string path(const Digest& digest) const;

 private:
  ContentStore(std::string root, UniqueFd blobs, UniqueFd ingest);
  const std::string root_;
  UniqueFd blobs_;   // …/blobs/sha256
  UniqueFd ingest_;  // …/ingest
};

}  // namespace gantry::graph
