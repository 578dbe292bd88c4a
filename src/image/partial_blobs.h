// The beginnings of blobs whose download was cut short, kept for another attempt: a file per blob
// in <content>/partial, invisible to everything else. Each has a resource row (kPartialKind, named
// by digest) that a lease owns ("lease:partial:<digest>"), so it survives the job that began it;
// leases are bounded in number, size and age.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "base/unique_fd.h"
#include "engine/engine.h"
#include "graph/graph.h"

namespace gantry::image {

inline constexpr std::string_view kPartialKind = "partial-blob";

// Jobs of their own, run by a pull as its children: what they did outlives it.
struct BlobReserve {
  static constexpr std::string_view kName = "image.blob-reserve";
  struct Input {
    std::vector<std::string> digests;
  };
  using Output = bool;
};
struct BlobForget {
  static constexpr std::string_view kName = "image.blob-forget";
  struct Input {
    std::vector<std::string> digests;
  };
  using Output = bool;
};

struct PartialLimits {
  int64_t age_ns = int64_t{24} * 3600 * 1'000'000'000;
  int64_t bytes = int64_t{8} << 30;
};

// Thread-safe.
class PartialBlobs {
 public:
  // Makes the directory and registers the resource kind and the two jobs.
  static Result<std::unique_ptr<PartialBlobs>> open(engine::Engine& engine,
                                                    const std::string& directory);

  // The file of a reserved blob, to be read and appended to, by one holder at a time: conflict when
  // another has it. Made when it is not there.
  class Holder {
   public:
    Holder(Holder&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          digest_(std::move(other.digest_)),
          fd_(std::move(other.fd_)) {}
    Holder& operator=(Holder&&) = delete;
    ~Holder();
    int fd() const { return fd_.get(); }

   private:
    friend class PartialBlobs;
    Holder(PartialBlobs& owner, std::string digest, UniqueFd fd)
        : owner_(&owner), digest_(std::move(digest)), fd_(std::move(fd)) {}
    PartialBlobs* owner_;
    std::string digest_;
    UniqueFd fd_;
  };
  Result<Holder> hold(const Digest& digest);

  // Those with a lease that are over the limits, the oldest first.
  Result<std::vector<std::string>> expired(const PartialLimits& limits) const;
  bool reserved(const Digest& digest) const;
  // Empties those that nobody receives, so that what is not needed any more is not written to the
  // disk first. They stay reserved.
  void empty(const std::vector<std::string>& digests);
  // Adds to a transaction that what is kept of these blobs is given up.
  Status forget(engine::JobContext& job, const std::vector<std::string>& digests) const;

 private:
  PartialBlobs(engine::Engine& engine, std::string directory)
      : engine_(engine), directory_(std::move(directory)) {}
  Status reserve(engine::JobContext& job, const std::vector<std::string>& digests) const;

  engine::Engine& engine_;
  const std::string directory_;
  std::mutex mutex_;
  std::set<std::string> held_;
};

}  // namespace gantry::image

template <>
struct gantry::json::Schema<gantry::image::BlobReserve::Input> {
  using T = gantry::image::BlobReserve::Input;
  static constexpr Field fields[] = {field<&T::digests>("digests")};
};
template <>
struct gantry::json::Schema<gantry::image::BlobForget::Input> {
  using T = gantry::image::BlobForget::Input;
  static constexpr Field fields[] = {field<&T::digests>("digests")};
};
