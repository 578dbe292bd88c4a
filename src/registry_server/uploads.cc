#include "registry_server/uploads.h"

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/units.h"

namespace gantry::registry_server {
namespace {

constexpr uint64_t kWriteBack = 8u << 20;
constexpr size_t kIdBytes = 16;
constexpr size_t kIdLength = 2 * kIdBytes;

bool is_id(std::string_view id) {
  return id.size() == kIdLength &&
         id.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Error gone() { return not_found("the upload is not known"); }
Error taken_over() { return conflict("another request goes on with this upload"); }

}  // namespace

std::string Uploads::file_name(const std::string& repository, const std::string& id) {
  return id + "-" + ContentDigest::of(repository).hex().substr(0, 32);
}

Status Uploads::load() {
  size_t count = 0;
  uint64_t bytes = 0;
  for (const std::string& name : TRY(fs::list_directory(store_.uploads_fd()))) {
    auto st = TRY(sys::fstatat(store_.uploads_fd(), name));
    if (!is_id(name.substr(0, kIdLength))) {  // what an earlier process was about to rename
      TRY(sys::unlinkat(store_.uploads_fd(), name));
      continue;
    }
    ++count;
    bytes += static_cast<uint64_t>(st.st_size);
  }
  count_ = count;
  pending_ = bytes;
  return {};
}

Result<std::shared_ptr<Upload>> Uploads::start(const std::string& repository) {
  if (count_.load() >= limits_.count)
    return make_error(ErrorKind::unavailable, "{} uploads are under way, which is the most",
                      limits_.count);
  auto upload = std::make_shared<Upload>();
  upload->id_ = random_hex(kIdBytes);
  upload->repository_ = repository;
  upload->hasher_.emplace(Algorithm::sha256);
  UniqueFd file = TRY(sys::openat(store_.uploads_fd(), file_name(repository, upload->id_),
                                  O_WRONLY | O_CREAT | O_EXCL, 0640));
  ++count_;
  std::lock_guard lock(mutex_);
  known_[upload->id_] = upload;
  return upload;
}

Result<std::shared_ptr<Upload>> Uploads::find(const std::string& repository,
                                              const std::string& id) {
  if (!is_id(id)) return gone();
  std::lock_guard lock(mutex_);
  if (auto found = known_.find(id); found != known_.end()) {
    if (found->second->repository_ != repository) return gone();
    return std::shared_ptr<Upload>(found->second);
  }
  auto st = sys::fstatat(store_.uploads_fd(), file_name(repository, id));
  if (!st) return gone();
  auto upload = std::make_shared<Upload>();
  upload->id_ = id;
  upload->repository_ = repository;
  upload->offset_ = static_cast<uint64_t>(st->st_size);
  known_[id] = upload;
  return upload;
}

Result<uint64_t> Uploads::offset(Upload& upload) {
  std::lock_guard lock(upload.mutex_);
  if (upload.ended_) return gone();
  return uint64_t(upload.offset_);
}

Result<Uploads::Ownership> Uploads::own(Upload& upload) {
  uint64_t owner = 0;
  {
    std::lock_guard lock(mutex_);
    owner = next_owner_++;
  }
  std::lock_guard lock(upload.mutex_);
  if (upload.ended_) return gone();
  upload.file_ = TRY(sys::openat(store_.uploads_fd(), file_name(upload.repository_, upload.id_),
                                 O_RDWR | O_NOFOLLOW));
  upload.owner_ = owner;
  return Ownership{owner, upload.offset_};
}

Result<UniqueFd> Uploads::open_for_reading(Upload& upload) {
  return sys::openat(store_.uploads_fd(), file_name(upload.repository_, upload.id_),
                     O_RDONLY | O_NOFOLLOW);
}

void Uploads::disown(Upload& upload, uint64_t owner) {
  std::lock_guard lock(upload.mutex_);
  if (upload.owner_ == owner) upload.file_.reset();
}

// What an earlier process received. Its bytes may not be those that it was sent if the machine lost
// power, which the digest at the end tells.
Status Uploads::hash_again(Upload& upload) {
  upload.hasher_ = TRY(hash_file(upload.file_.get(), upload.offset_, Algorithm::sha256));
  return {};
}

Status Uploads::check_quota(const std::string& repository, uint64_t more) {
  auto over = [&](std::string_view what, uint64_t used, uint64_t limit) {
    return make_error(
        ErrorKind::permission,
        "{} would be over its quota: {} of {} are used and {} more are needed; delete "
        "images and collect garbage, or have the quota raised",
        what, bytes_size(static_cast<double>(used)), bytes_size(static_cast<double>(limit)),
        bytes_size(static_cast<double>(more)));
  };
  if (uint64_t limit = quotas_.total; limit != 0) {
    uint64_t used = store_.used_bytes() + pending_;
    if (used + more > limit) return over("the registry", used, limit);
  }
  if (uint64_t limit = quotas_.repository; limit != 0) {
    uint64_t used = TRY(store_.repository_bytes(repository));
    if (used + more > limit) return over("repository " + repository, used, limit);
  }
  return {};
}

Status Uploads::append(Upload& upload, uint64_t owner, std::string_view bytes) {
  std::lock_guard lock(upload.mutex_);
  if (upload.ended_) return gone();
  if (upload.owner_ != owner) return taken_over();
  // What this upload holds already is counted by the total's pending bytes, but by no repository.
  uint64_t pending = quotas_.repository != 0 ? upload.offset_ : 0;
  if (quotas_.total != 0 || quotas_.repository != 0) {
    TRY(check_quota(upload.repository_, bytes.size()));
    if (pending != 0 && TRY(store_.repository_bytes(upload.repository_)) + pending + bytes.size() >
                            quotas_.repository)
      TRY(check_quota(upload.repository_, pending + bytes.size()));
  }
  if (!upload.hasher_) TRY(hash_again(upload));
  Status written = sys::pwrite_all(upload.file_.get(), bytes, static_cast<off_t>(upload.offset_));
  if (!written) {
    (void)::ftruncate(upload.file_.get(), static_cast<off_t>(upload.offset_));
    return written;
  }
  upload.hasher_->update(bytes);
  // The disk begins while more comes in: fsync at the end finds little left to do.
  uint64_t before = upload.offset_ / kWriteBack * kWriteBack;
  upload.offset_ += bytes.size();
  if (uint64_t after = upload.offset_ / kWriteBack * kWriteBack; after != before)
    (void)::sync_file_range(upload.file_.get(), static_cast<off_t>(before),
                            static_cast<off_t>(after - before), SYNC_FILE_RANGE_WRITE);
  pending_ += bytes.size();
  return {};
}

void Uploads::forget(Upload& upload) {
  upload.ended_ = true;
  upload.file_.reset();
  pending_ -= upload.offset_;
  --count_;
  std::lock_guard lock(mutex_);
  known_.erase(upload.id_);
}

Status Uploads::finish(Upload& upload, uint64_t owner, const ContentDigest& expected) {
  std::lock_guard lock(upload.mutex_);
  if (upload.ended_) return gone();
  if (upload.owner_ != owner) return taken_over();
  if (!upload.hasher_) TRY(hash_again(upload));
  if (expected.algorithm() != Algorithm::sha256)
    upload.hasher_ = TRY(hash_file(upload.file_.get(), upload.offset_, expected.algorithm()));
  ContentDigest got = upload.hasher_->finish();
  upload.hasher_.reset();
  const std::string name = file_name(upload.repository_, upload.id_);
  if (got != expected) {
    (void)::unlinkat(store_.uploads_fd(), name.c_str(), 0);
    forget(upload);
    return invalid(
        "provided digest did not match uploaded content: {} was announced, {} bytes of "
        "{} came",
        expected.text(), upload.offset_, got.text());
  }
  Status adopted =
      store_.adopt(name, upload.file_.get(), upload.offset_, upload.repository_, expected);
  forget(upload);
  return adopted;
}

Status Uploads::cancel(Upload& upload) {
  std::lock_guard lock(upload.mutex_);
  if (upload.ended_) return gone();
  TRY(sys::unlinkat(store_.uploads_fd(), file_name(upload.repository_, upload.id_)));
  forget(upload);
  return {};
}

Result<size_t> Uploads::expire(int64_t age_ns) {
  size_t removed = 0;
  int64_t limit = now_ns() - age_ns;
  for (const std::string& name : TRY(fs::list_directory(store_.uploads_fd()))) {
    auto st = sys::fstatat(store_.uploads_fd(), name);
    if (!st || !is_id(name.substr(0, kIdLength))) continue;
    if (static_cast<int64_t>(st->st_mtim.tv_sec) * 1'000'000'000 + st->st_mtim.tv_nsec > limit)
      continue;
    std::shared_ptr<Upload> upload;
    {
      std::lock_guard lock(mutex_);
      if (auto found = known_.find(name.substr(0, kIdLength)); found != known_.end())
        upload = found->second;
    }
    if (upload) {
      std::lock_guard lock(upload->mutex_);
      if (upload->ended_ || upload->file_.valid()) continue;  // ended, or a request owns it
      if (!sys::unlinkat(store_.uploads_fd(), name)) continue;
      forget(*upload);
    } else {
      if (!sys::unlinkat(store_.uploads_fd(), name)) continue;
      --count_;
      pending_ -= static_cast<uint64_t>(st->st_size);
    }
    ++removed;
  }
  return removed;
}

}  // namespace gantry::registry_server
