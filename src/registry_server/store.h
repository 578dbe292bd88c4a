// The registry's file system store: what is there is whole, whenever the process or the machine
// stops.
//
//   ROOT/version                                      "1"
//   ROOT/lock                                         held while a process serves the store
//   ROOT/blobs/sha256/ab/<hex>                        content, complete or absent
//   ROOT/repositories/<name>/_blobs/sha256-<hex>      a hard link: the repository has this blob
//   ROOT/repositories/<name>/_manifests/sha256-<hex>  a hard link: it has this manifest
//   ROOT/repositories/<name>/_referrers/<subject>/<manifest>   hard links, keys as above
//   ROOT/repositories/<name>/_tags/<tag>              a manifest's digest, as text
//   ROOT/uploads/<id>-<repository>                    bytes that came so far (uploads.h)
//
// Content is there once for all repositories, and its count of links says whether any has it; after
// 60,000 links a second copy takes over, since a file system bounds them. Parts of names that begin
// with "_" cannot be a repository's. A file's time of change is its time of last use: what was used
// within the grace time is never collected.
//
// Order of writing: content, synced; its links; the tag; so that nothing refers to what is not
// there. A change is on disk (fsync of files and directories) when its function returns.
//
// Thread-safe; every function blocks on the disk. One process at a time (the lock). Errors:
// not_found for what is not there, conflict for a store in use, else of the system calls.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "registry_server/content_digest.h"
#include "registry_server/manifest_view.h"

namespace gantry::registry_server {

struct Content {
  UniqueFd fd;
  uint64_t size = 0;
  int64_t modified_ns = 0;
};

// A page of names in the order of their bytes.
struct Names {
  std::vector<std::string> names;
  bool more = false;
};

struct Referrer {
  ContentDigest digest;
  uint64_t size = 0;
  ManifestView view;
};

enum class Links { blobs, manifests };

class Store {
 public:
  enum class Use { serve, look };  // look: without the lock, for reading only
  static Result<std::unique_ptr<Store>> open(const std::string& root, Use use = Use::serve);
  ~Store();

  // ---- blobs
  Result<Content> open_blob(const std::string& repository, const ContentDigest& digest);
  // Makes the blob of one repository another's too. not_found when the first has it not.
  Status mount(const std::string& from, const std::string& to, const ContentDigest& digest);
  // From whichever repository has it.
  Status mount_any(const std::string& to, const ContentDigest& digest);
  Status remove_blob(const std::string& repository, const ContentDigest& digest);
  // Takes over a file below ROOT/uploads, whose digest was verified, as content of the repository.
  // The file's name is gone afterwards, whatever becomes of it.
  Status adopt(const std::string& upload_name, int fd, uint64_t size, const std::string& repository,
               const ContentDigest& digest);

  // ---- manifests
  Result<ContentDigest> resolve_tag(const std::string& repository, const std::string& tag);
  Result<Content> open_manifest(const std::string& repository, const ContentDigest& digest);
  struct PutResult {
    std::vector<ContentDigest> missing;  // not empty: nothing was stored
    bool stale = false;                  // `expected` did not hold: nothing was stored
  };
  enum class Check { references, nothing };
  // Stores a manifest, the entry of its subject's referrers, and the tag ("" for none). With
  // `expected` only if the tag names this manifest now (empty: is not there).
  Result<PutResult> put_manifest(const std::string& repository, const ContentDigest& digest,
                                 std::string_view text, const ManifestView& view,
                                 const std::string& tag, Check check = Check::references,
                                 const std::optional<ContentDigest>& expected = std::nullopt);
  // Removes it, the tags that name it and its entry among referrers.
  Status remove_manifest(const std::string& repository, const ContentDigest& digest);
  Status remove_tag(const std::string& repository, const std::string& tag);
  // Sets or confirms a tag only (the cache).
  Status set_tag(const std::string& repository, const std::string& tag,
                 const ContentDigest& digest);
  Result<int64_t> tag_age_ns(const std::string& repository, const std::string& tag);

  // ---- lists; `limit` 0 for all
  bool has_repository(const std::string& repository);
  Result<Names> tags(const std::string& repository, const std::string& last, size_t limit);
  // The repositories that have a manifest and that `visible` accepts.
  Result<Names> repositories(const std::string& last, size_t limit,
                             const std::function<bool(const std::string&)>& visible);
  // In the order of their digests, after `last`, until `visit` returns false.
  Status referrers(const std::string& repository, const ContentDigest& subject,
                   const std::string& last, const std::function<bool(Referrer)>& visit);

  // ---- how full it is
  uint64_t used_bytes() const { return used_.load(std::memory_order_relaxed); }
  uint64_t blob_count() const { return blobs_.load(std::memory_order_relaxed); }
  // Of a repository's blobs and manifests, each counted whole.
  Result<uint64_t> repository_bytes(const std::string& repository);

  int uploads_fd() const { return uploads_.get(); }

 private:
  friend class Collector;
  friend class Checker;
  Store() = default;

  // Opened by descriptor below ROOT/repositories, no link followed.
  Result<UniqueFd> repository(const std::string& name) const;
  Result<UniqueFd> inside(const std::string& repository, const std::string& directory) const;
  Result<UniqueFd> make_inside(const std::string& repository, const std::string& directory);
  Result<UniqueFd> shard(const ContentDigest& digest) const;
  Result<UniqueFd> make_shard(const ContentDigest& digest);
  // Both with the digest's lock held.
  Status link(const ContentDigest& digest, int directory, const std::string& name);
  Status renew(const ContentDigest& digest, int shard);
  Status load_usage();
  void count_link(const std::string& repository, uint64_t size, bool added);
  // With the repository's lock held.
  Status drop_link(const std::string& repository, Links kind, const ContentDigest& digest);
  Result<std::vector<ContentDigest>> missing(const std::string& repository,
                                             const ManifestView& view);
  Status write_content(std::string_view text, const ContentDigest& digest,
                       const std::string& repository, Links kind);

  std::mutex& of_digest(const ContentDigest& digest) {
    return digest_locks_[std::hash<std::string>()(digest.text()) % digest_locks_.size()];
  }
  std::mutex& of_repository(const std::string& name) {
    return repository_locks_[std::hash<std::string>()(name) % repository_locks_.size()];
  }

  UniqueFd root_, lock_, blobs_fd_, repositories_, uploads_;
  // A repository's lock is taken before a digest's.
  std::array<std::mutex, 64> repository_locks_;
  std::array<std::mutex, 64> digest_locks_;
  std::atomic<uint64_t> used_{0}, blobs_{0};
  std::mutex usage_mutex_;
  std::map<std::string, uint64_t> usage_;  // of repositories that were asked for; usage_mutex_
};

// mkdir and fsync of the parent; what is there already is success.
Status make_directory(int parent, const std::string& name);

}  // namespace gantry::registry_server
