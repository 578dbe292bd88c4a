#include "base/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/id.h"
#include "base/sys.h"

namespace gantry::fs {
namespace {

struct SplitPath {
  std::string directory;
  std::string name;
};

SplitPath split(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

Result<std::string> read_file_at(int dirfd, const std::string& path, size_t limit) {
  UniqueFd fd = TRY(sys::openat(dirfd, path, O_RDONLY | O_NOCTTY));
  return sys::read_all(fd.get(), limit).context("{}", path);
}

Result<std::string> read_file(const std::string& path, size_t limit) {
  return read_file_at(AT_FDCWD, path, limit);
}

Status write_file(const std::string& path, std::string_view data, mode_t mode) {
  UniqueFd fd = TRY(sys::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, mode));
  return sys::write_all(fd.get(), data).context("{}", path);
}

Status replace_file_at(int dirfd, const std::string& name, std::string_view data, mode_t mode,
                       Durability durability) {
  std::string temporary = fmt::format(".{}.{}", name, random_hex(8));
  Status written = [&]() -> Status {
    UniqueFd fd = TRY(sys::openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
    TRY(sys::fchmod(fd.get(), mode));
    TRY(sys::write_all(fd.get(), data).context("{}", name));
    if (durability == Durability::synced) TRY(sys::fsync(fd.get()).context("{}", name));
    TRY(sys::renameat(dirfd, temporary, dirfd, name));
    if (durability == Durability::synced) {
      UniqueFd directory = TRY(sys::openat(dirfd, ".", O_RDONLY | O_DIRECTORY));
      TRY(sys::fsync(directory.get()));
    }
    return {};
  }();
  if (!written) (void)::unlinkat(dirfd, temporary.c_str(), 0);
  return written;
}

Status replace_file(const std::string& path, std::string_view data, mode_t mode,
                    Durability durability) {
  SplitPath parts = split(path);
  UniqueFd directory = TRY(sys::open(parts.directory, O_RDONLY | O_DIRECTORY));
  return replace_file_at(directory.get(), parts.name, data, mode, durability);
}

Status make_directories(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0 || errno == EEXIST) {
    struct stat st;
    if (::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return {};
    return errno_error(ENOTDIR, "mkdir {}", path);
  }
  if (errno != ENOENT || path.empty() || path == "/") return errno_error(errno, "mkdir {}", path);
  TRY(make_directories(split(path).directory, mode));
  if (::mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return {};
  return errno_error(errno, "mkdir {}", path);
}

Result<std::vector<std::string>> list_directory(int dirfd) {
  UniqueFd fd = TRY(sys::openat(dirfd, ".", O_RDONLY | O_DIRECTORY));
  std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd.get()), ::closedir);
  if (!stream) return error_from_errno(errno, "fdopendir");
  (void)fd.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    dirent* entry = ::readdir(stream.get());
    if (!entry) {
      if (errno != 0) return error_from_errno(errno, "readdir");
      return names;
    }
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  UniqueFd fd = TRY(sys::open(path, O_RDONLY | O_DIRECTORY));
  return list_directory(fd.get()).context("{}", path);
}

namespace {

// How many levels are open at a time. A container may nest directories deeper than a process may
// have descriptors.
constexpr size_t kOpenLevels = 128;

// Moves what lies too deep up to the top, from where it is removed later.
Result<std::string> lift(int from, const std::string& name, int top) {
  for (int attempt = 0; attempt < 16; ++attempt) {
    std::string lifted = ".lifted-" + random_hex(16);
    if (::renameat2(from, name.c_str(), top, lifted.c_str(), RENAME_NOREPLACE) == 0) return lifted;
    if (errno != EEXIST) return errno_error(errno, "remove {}", name);
  }
  return errno_error(EEXIST, "remove {}", name);
}

// One level per iteration on an explicit stack: a hostile tree may be deeper than ours.
Status remove_contents(UniqueFd top) {
  struct Level {
    UniqueFd fd;
    std::vector<std::string> names;
    std::string name_in_parent;
  };
  std::vector<Level> levels;
  std::vector<std::string> first = TRY(list_directory(top.get()));
  levels.push_back({std::move(top), std::move(first), ""});
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.names.empty()) {
      std::string name = level.name_in_parent;
      levels.pop_back();
      if (!levels.empty()) TRY(sys::unlinkat(levels.back().fd.get(), name, AT_REMOVEDIR));
      continue;
    }
    std::string name = std::move(level.names.back());
    level.names.pop_back();
    if (::unlinkat(level.fd.get(), name.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) return errno_error(errno, "remove {}", name);
    if (::unlinkat(level.fd.get(), name.c_str(), AT_REMOVEDIR) == 0) continue;
    if (levels.size() >= kOpenLevels) {
      std::string lifted = TRY(lift(level.fd.get(), name, levels.front().fd.get()));
      levels.front().names.push_back(std::move(lifted));
      continue;
    }
    UniqueFd child = TRY(sys::openat(level.fd.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    std::vector<std::string> names = TRY(list_directory(child.get()));
    levels.push_back({std::move(child), std::move(names), std::move(name)});
  }
  return {};
}

}  // namespace

Status remove_tree(int dirfd, const std::string& name) {
  if (::unlinkat(dirfd, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return errno_error(errno, "remove {}", name);
  Result<UniqueFd> directory = sys::openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!directory) {
    if (directory.error().code() == ENOENT) return {};
    return std::move(directory).error();
  }
  TRY(remove_contents(directory.release()).context("{}", name));
  if (::unlinkat(dirfd, name.c_str(), AT_REMOVEDIR) == -1 && errno != ENOENT)
    return errno_error(errno, "remove {}", name);
  return {};
}

Status remove_tree(const std::string& path) {
  SplitPath parts = split(path);
  Result<UniqueFd> directory = sys::open(parts.directory, O_RDONLY | O_DIRECTORY);
  if (!directory) {
    if (directory.error().code() == ENOENT) return {};
    return std::move(directory).error();
  }
  return remove_tree(directory->get(), parts.name);
}

bool exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

Status sync_directory(const std::string& path) {
  UniqueFd fd = TRY(sys::open(path, O_RDONLY | O_DIRECTORY));
  return sys::fsync(fd.get()).context("{}", path);
}

}  // namespace gantry::fs

namespace gantry {
namespace {

constexpr uint64_t kInside = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

// "/a//b/" -> "/a/b"; the root is "".
std::string without_trailing_slashes(std::string path) {
  while (!path.empty() && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

Result<Beneath> Beneath::open(const std::string& path) {
  UniqueFd fd = TRY(sys::open(path, O_PATH | O_DIRECTORY));
  return Beneath(std::move(fd));
}

Result<UniqueFd> Beneath::open(const std::string& path, int flags, mode_t mode) const {
  return sys::openat2(root_.get(), path.empty() ? "." : path, flags, kInside, mode);
}

Result<Beneath::Parent> Beneath::parent_of(const std::string& path) const {
  std::string clean = without_trailing_slashes(path);
  size_t slash = clean.rfind('/');
  std::string name = slash == std::string::npos ? clean : clean.substr(slash + 1);
  if (name.empty() || name == "." || name == "..")
    return invalid("path {} does not name an entry of a directory", path);
  std::string directory = slash == std::string::npos ? "." : clean.substr(0, slash + 1);
  UniqueFd fd = TRY(open(directory, O_PATH | O_DIRECTORY));
  return Parent{std::move(fd), std::move(name)};
}

Result<UniqueFd> Beneath::make_directories(const std::string& path, mode_t mode) const {
  Result<UniqueFd> whole = open(path, O_PATH | O_DIRECTORY);
  if (whole || whole.error().code() != ENOENT) return whole;
  std::string prefix;
  size_t at = 0;
  UniqueFd current = TRY(open("", O_PATH | O_DIRECTORY));
  while (at < path.size()) {
    size_t end = path.find('/', at);
    if (end == std::string::npos) end = path.size();
    std::string part = path.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    prefix += "/" + part;
    Result<UniqueFd> next = open(prefix, O_PATH | O_DIRECTORY);
    if (!next && next.error().code() == ENOENT && part != "..") {
      // A dangling symbolic link makes mkdirat fail with EEXIST: an error, not a way out.
      TRY(sys::mkdirat(current.get(), part, mode));
      next = open(prefix, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    }
    current = TRY(std::move(next));
  }
  return current;
}

}  // namespace gantry
