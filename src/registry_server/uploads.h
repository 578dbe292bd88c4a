// Uploads under way: a file each below ROOT/uploads, so that one survives the process. Its name is
// its id and a hash of its repository; its size is how far it came; its time of change says when it
// expires.
//
// The newest request owns an upload: a client whose connection broke comes back while the server
// still waits on the old one, whose later bytes are then refused.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "registry_server/store.h"

namespace gantry::registry_server {

// Bytes that are promised to uploads but not yet content, against the quotas. Thread-safe.
struct Quotas {
  std::atomic<uint64_t> total{0};       // 0: none
  std::atomic<uint64_t> repository{0};  // 0: none
};

class Upload {
 public:
  const std::string& id() const { return id_; }
  const std::string& repository() const { return repository_; }

 private:
  friend class Uploads;
  std::string id_, repository_;
  std::mutex mutex_;  // of all below
  uint64_t owner_ = 0;
  uint64_t offset_ = 0;
  bool ended_ = false;
  UniqueFd file_;                 // open while a request owns it
  std::optional<Hasher> hasher_;  // of the first offset_ bytes; absent after a restart
};

// Thread-safe; functions block on the disk.
class Uploads {
 public:
  struct Limits {
    size_t count = 10'000;
  };
  Uploads(Store& store, const Quotas& quotas, Limits limits)
      : store_(store), quotas_(quotas), limits_(limits) {}

  // Reads how many there are, and removes what an earlier process left half made. Once, before the
  // others.
  Status load();
  // Errors: unavailable when there are too many.
  Result<std::shared_ptr<Upload>> start(const std::string& repository);
  // Also one of an earlier process. Errors: not_found.
  Result<std::shared_ptr<Upload>> find(const std::string& repository, const std::string& id);
  Result<uint64_t> offset(Upload& upload);

  // Makes the caller the owner; from then on the former one's append() fails.
  struct Ownership {
    uint64_t owner = 0;
    uint64_t offset = 0;
  };
  Result<Ownership> own(Upload& upload);
  // Errors: conflict when another request took over; permission with the quota's message; of the
  // disk, and then the upload is as it was before.
  Status append(Upload& upload, uint64_t owner, std::string_view bytes);
  void disown(Upload& upload, uint64_t owner);
  // Reads what is appended meanwhile, also after finish().
  Result<UniqueFd> open_for_reading(Upload& upload);
  // The content becomes a blob of the repository. Errors: invalid when the digest is another (the
  // upload is gone then, as it is on success), conflict, of the disk.
  Status finish(Upload& upload, uint64_t owner, const ContentDigest& expected);
  Status cancel(Upload& upload);
  // Removes those that nothing was added to for so long.
  Result<size_t> expire(int64_t age_ns);

  size_t count() const { return count_.load(std::memory_order_relaxed); }
  uint64_t pending_bytes() const { return pending_.load(std::memory_order_relaxed); }
  // `permission` with one clear message when so many bytes more are too many.
  Status check_quota(const std::string& repository, uint64_t more);

 private:
  static std::string file_name(const std::string& repository, const std::string& id);
  Status hash_again(Upload& upload);
  void forget(Upload& upload);  // with its mutex held

  Store& store_;
  const Quotas& quotas_;
  const Limits limits_;
  std::atomic<size_t> count_{0};
  std::atomic<uint64_t> pending_{0};
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Upload>> known_;  // by id; mutex_
  uint64_t next_owner_ = 1;                               // mutex_
};

}  // namespace gantry::registry_server
