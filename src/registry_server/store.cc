#include "registry_server/store.h"

#include <sys/file.h>

#include <algorithm>

#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "registry_server/route.h"

namespace gantry::registry_server {
namespace {

constexpr mode_t kDirectoryMode = 0750;
constexpr uint64_t kResolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
constexpr std::string_view kVersion = "1";
// Below what ext4 allows (65,000), so that a race never meets the file system's own bound.
constexpr nlink_t kMaxLinks = 60'000;
constexpr int kRetries = 8;  // against a collector that removes an empty directory meanwhile
// A file's time is renewed when it is older than this, so that reading does not always write.
constexpr int64_t kRenewAfter = 60'000'000'000;

int64_t to_ns(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// Best effort: what cannot be renewed (a read-only file system) is served all the same.
void touch_if_old(int fd, const struct stat& st) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  if (to_ns(now) - to_ns(st.st_mtim) >= kRenewAfter) (void)::futimens(fd, nullptr);
}

Result<UniqueFd> open_directory(int parent, const std::string& name) {
  return sys::openat2(parent, name, O_RDONLY | O_DIRECTORY, kResolve);
}

Status check_version(int root) {
  auto version = fs::read_file_at(root, "version", 64);
  if (!version && version.error().code() != ENOENT) return std::move(version).error();
  if (!version) return fs::replace_file_at(root, "version", "1\n", 0640, fs::Durability::synced);
  while (version->ends_with('\n')) version->pop_back();
  if (*version != kVersion)
    return unsupported("the store is of version '{}', this program knows {}", *version, kVersion);
  return {};
}

}  // namespace

Status make_directory(int parent, const std::string& name) {
  if (::mkdirat(parent, name.c_str(), kDirectoryMode) == 0) return sys::fsync(parent);
  if (errno == EEXIST) return {};
  return errno_error(errno, "mkdir {}", name);
}

Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(const std::string& root, Use use) {
  std::unique_ptr<Store> store(new Store);
  if (use == Use::serve) TRY(fs::make_directories(root, kDirectoryMode));
  store->root_ = TRY(sys::open(root, O_RDONLY | O_DIRECTORY));
  int fd = store->root_.get();
  if (use == Use::serve) {
    store->lock_ = TRY(sys::openat(fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0640));
    if (::flock(store->lock_.get(), LOCK_EX | LOCK_NB) != 0)
      return conflict("{}: another gantry-registry serves this store", root);
    TRY(check_version(fd).context("{}", root));
    for (const char* name : {"blobs", "repositories", "uploads"}) TRY(make_directory(fd, name));
  }
  store->blobs_fd_ = TRY(open_directory(fd, "blobs").context("{}", root));
  store->repositories_ = TRY(open_directory(fd, "repositories").context("{}", root));
  store->uploads_ = TRY(open_directory(fd, "uploads").context("{}", root));
  if (use == Use::serve) {
    for (const char* name : {"sha256", "sha512"}) TRY(make_directory(store->blobs_fd_.get(), name));
    TRY(store->load_usage().context("{}", root));
  }
  return store;
}

Status Store::load_usage() {
  uint64_t bytes = 0, count = 0;
  for (const char* algorithm : {"sha256", "sha512"}) {
    UniqueFd directory = TRY(open_directory(blobs_fd_.get(), algorithm));
    for (const std::string& prefix : TRY(fs::list_directory(directory.get()))) {
      UniqueFd inner = TRY(open_directory(directory.get(), prefix));
      for (const std::string& name : TRY(fs::list_directory(inner.get()))) {
        auto st = TRY(sys::fstatat(inner.get(), name));
        bytes += static_cast<uint64_t>(st.st_size);
        ++count;
      }
    }
  }
  used_ = bytes;
  blobs_ = count;
  return {};
}

Result<UniqueFd> Store::repository(const std::string& name) const {
  TRY(check_repository(name));
  return open_directory(repositories_.get(), name);
}

Result<UniqueFd> Store::inside(const std::string& name, const std::string& directory) const {
  TRY(check_repository(name));
  return open_directory(repositories_.get(), name + "/" + directory);
}

Result<UniqueFd> Store::make_inside(const std::string& name, const std::string& directory) {
  TRY(check_repository(name));
  const std::string whole = name + "/" + directory;
  for (int tries = 0;; ++tries) {
    auto there = open_directory(repositories_.get(), whole);
    if (there || there.error().code() != ENOENT || tries == kRetries) return there;
    UniqueFd at = TRY(open_directory(repositories_.get(), "."));
    for (size_t start = 0; start < whole.size();) {
      size_t end = std::min(whole.find('/', start), whole.size());
      std::string part = whole.substr(start, end - start);
      start = end + 1;
      Status made = make_directory(at.get(), part);
      if (!made && made.error().code() != ENOENT) return std::move(made).error();
      auto next = open_directory(at.get(), part);
      if (!next && next.error().code() == ENOENT) break;  // collected meanwhile: again
      at = TRY(std::move(next));
    }
  }
}

Result<UniqueFd> Store::shard(const ContentDigest& digest) const {
  return open_directory(blobs_fd_.get(), digest.name() + "/" + digest.hex().substr(0, 2));
}

Result<UniqueFd> Store::make_shard(const ContentDigest& digest) {
  auto there = shard(digest);
  if (there || there.error().code() != ENOENT) return there;
  UniqueFd algorithm = TRY(open_directory(blobs_fd_.get(), digest.name()));
  TRY(make_directory(algorithm.get(), digest.hex().substr(0, 2)));
  return shard(digest);
}

// A second copy takes the name, the links that are there keep the first.
Status Store::renew(const ContentDigest& digest, int directory) {
  UniqueFd from = TRY(sys::openat(directory, digest.hex(), O_RDONLY | O_NOFOLLOW));
  std::string name = "copy-" + random_hex(16);
  UniqueFd to = TRY(sys::openat(uploads_.get(), name, O_WRONLY | O_CREAT | O_EXCL, 0640));
  std::string buffer(1u << 20, '\0');
  Status copied = [&]() -> Status {
    while (true) {
      size_t size = TRY(sys::read(from.get(), buffer.data(), buffer.size()));
      if (size == 0) break;
      TRY(sys::write_all(to.get(), {buffer.data(), size}));
    }
    TRY(sys::fsync(to.get()));
    return sys::renameat(uploads_.get(), name, directory, digest.hex());
  }();
  if (!copied) (void)::unlinkat(uploads_.get(), name.c_str(), 0);
  return copied;
}

Status Store::link(const ContentDigest& digest, int directory, const std::string& name) {
  UniqueFd content = TRY(shard(digest));
  auto st = TRY(sys::fstatat(content.get(), digest.hex()));
  if (st.st_nlink >= kMaxLinks) TRY(renew(digest, content.get()));
  if (::linkat(content.get(), digest.hex().c_str(), directory, name.c_str(), 0) != 0 &&
      errno != EEXIST)
    return errno_error(errno, "link {}", digest.text());
  if (::utimensat(content.get(), digest.hex().c_str(), nullptr, AT_SYMLINK_NOFOLLOW) != 0)
    return errno_error(errno, "touch {}", digest.text());
  TRY(sys::fsync(content.get()));  // one commit of the journal takes both
  return sys::fsync(directory);
}

// ---- blobs

Result<Content> Store::open_blob(const std::string& name, const ContentDigest& digest) {
  TRY(check_repository(name));
  UniqueFd fd =
      TRY(sys::openat2(repositories_.get(), name + "/_blobs/" + digest.key(), O_RDONLY, kResolve));
  auto st = TRY(sys::fstat(fd.get()));
  touch_if_old(fd.get(), st);
  return Content{std::move(fd), static_cast<uint64_t>(st.st_size), to_ns(st.st_mtim)};
}

Status Store::mount(const std::string& from, const std::string& to, const ContentDigest& digest) {
  UniqueFd source = TRY(inside(from, "_blobs"));
  TRY(sys::fstatat(source.get(), digest.key()));
  return mount_any(to, digest);
}

Status Store::mount_any(const std::string& to, const ContentDigest& digest) {
  std::lock_guard repository_lock(of_repository(to));
  std::lock_guard digest_lock(of_digest(digest));
  UniqueFd content = TRY(shard(digest));
  auto st = TRY(sys::fstatat(content.get(), digest.hex()));
  UniqueFd target = TRY(make_inside(to, "_blobs"));
  bool had = ::faccessat(target.get(), digest.key().c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  TRY(link(digest, target.get(), digest.key()));
  if (!had) count_link(to, static_cast<uint64_t>(st.st_size), true);
  return {};
}

Status Store::adopt(const std::string& upload_name, int fd, uint64_t size,
                    const std::string& repository, const ContentDigest& digest) {
  Status adopted = [&]() -> Status {
    auto is_there = [&](int shard, struct stat& st) {
      return ::fstatat(shard, digest.hex().c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
             static_cast<uint64_t>(st.st_size) == size;
    };
    struct stat before {};
    auto early = shard(digest);
    bool synced = !early || !is_there(early->get(), before);
    if (synced) TRY(sys::fsync(fd));  // outside the locks: it may take long
    std::lock_guard repository_lock(of_repository(repository));
    std::lock_guard digest_lock(of_digest(digest));
    UniqueFd content = TRY(make_shard(digest));
    struct stat st {};
    bool there = ::fstatat(content.get(), digest.hex().c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    // A file of another size is damaged: this one is known to be whole.
    if (!there || static_cast<uint64_t>(st.st_size) != size) {
      if (!synced) TRY(sys::fsync(fd));
      TRY(sys::renameat(uploads_.get(), upload_name, content.get(), digest.hex()));
      used_ += size - (there ? static_cast<uint64_t>(st.st_size) : 0);
      if (!there) ++blobs_;
    }
    UniqueFd target = TRY(make_inside(repository, "_blobs"));
    struct stat old {};
    bool had = ::fstatat(target.get(), digest.key().c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0;
    if (had && static_cast<uint64_t>(old.st_size) != size)
      TRY(sys::unlinkat(target.get(), digest.key()));
    TRY(link(digest, target.get(), digest.key()));
    if (!had) count_link(repository, size, true);
    return {};
  }();
  (void)::unlinkat(uploads_.get(), upload_name.c_str(), 0);
  return adopted;
}

Status Store::drop_link(const std::string& name, Links kind, const ContentDigest& digest) {
  UniqueFd directory = TRY(inside(name, kind == Links::blobs ? "_blobs" : "_manifests"));
  auto st = TRY(sys::fstatat(directory.get(), digest.key()));
  TRY(sys::unlinkat(directory.get(), digest.key()));
  count_link(name, static_cast<uint64_t>(st.st_size), false);
  return sys::fsync(directory.get());
}

Status Store::remove_blob(const std::string& name, const ContentDigest& digest) {
  std::lock_guard lock(of_repository(name));
  return drop_link(name, Links::blobs, digest);
}

// ---- how full a repository is

void Store::count_link(const std::string& repository, uint64_t size, bool added) {
  std::lock_guard lock(usage_mutex_);
  auto found = usage_.find(repository);
  if (found == usage_.end()) return;
  found->second = added ? found->second + size : found->second - std::min(found->second, size);
}

Result<uint64_t> Store::repository_bytes(const std::string& name) {
  {
    std::lock_guard lock(usage_mutex_);
    if (auto found = usage_.find(name); found != usage_.end()) return uint64_t(found->second);
  }
  std::lock_guard repository_lock(of_repository(name));
  uint64_t bytes = 0;
  for (const char* kind : {"_blobs", "_manifests"}) {
    auto directory = inside(name, kind);
    if (!directory && directory.error().code() == ENOENT) continue;
    UniqueFd fd = TRY(std::move(directory));
    for (const std::string& entry : TRY(fs::list_directory(fd.get()))) {
      auto st = TRY(sys::fstatat(fd.get(), entry));
      bytes += static_cast<uint64_t>(st.st_size);
    }
  }
  std::lock_guard lock(usage_mutex_);
  constexpr size_t kRemembered = 10'000;
  if (usage_.size() >= kRemembered) usage_.erase(usage_.begin());
  usage_[name] = bytes;
  return bytes;
}

}  // namespace gantry::registry_server
