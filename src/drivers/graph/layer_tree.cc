#include "drivers/graph/layer_tree.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <set>

#include "base/fs.h"
#include "base/sys.h"

namespace gantry::drivers {
namespace {

constexpr int kMaxLinks = 40;  // as the kernel's own limit, path_resolution(7)
constexpr size_t kCachedDirectories = 128;
std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    if (end > at) parts.emplace_back(path.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

std::string join(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

std::string parent_path(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

}  // namespace

bool is_whiteout(const struct stat& st) {
  return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}

Result<bool> is_opaque(int directory) {
  char value[2];
  ssize_t size = ::fgetxattr(directory, kOpaqueXattr, value, sizeof value);
  if (size >= 0) return size == 1 && value[0] == 'y';
  if (errno == ENODATA || errno == EOPNOTSUPP) return false;
  return error_from_errno(errno, "fgetxattr trusted.overlay.opaque");
}

Status make_opaque(int directory) {
  if (::fsetxattr(directory, kOpaqueXattr, "y", 1, 0) == 0) return {};
  return error_from_errno(errno, "fsetxattr trusted.overlay.opaque");
}

Status make_whiteout(int directory, const std::string& name) {
  return sys::mknodat(directory, name, S_IFCHR | 0, makedev(0, 0));
}

namespace {

// Gives each name; `visit` may remove it.
Status each_xattr(int fd, const std::function<Status(const char* name)>& visit) {
  std::vector<char> names(8192);
  ssize_t size = ::flistxattr(fd, names.data(), names.size());
  if (size == -1 && errno == ERANGE) {
    names.resize(64 << 10);  // XATTR_LIST_MAX
    size = ::flistxattr(fd, names.data(), names.size());
  }
  if (size == -1 && errno == EOPNOTSUPP) return {};
  if (size == -1) return error_from_errno(errno, "flistxattr");
  for (const char* name = names.data(); name < names.data() + size; name += std::strlen(name) + 1)
    if (!std::string_view(name).starts_with("trusted.overlay.") &&
        !std::string_view(name).starts_with("trusted.gantry."))
      TRY(visit(name));
  return {};
}

}  // namespace

Status clear_xattrs(int fd) {
  return each_xattr(fd, [fd](const char* name) -> Status {
    if (::fremovexattr(fd, name) == 0 || errno == ENODATA) return {};
    return errno_error(errno, "fremovexattr {}", name);
  });
}

Status copy_attributes(int from, int to) {
  struct stat st = TRY(sys::fstat(from));
  if (::fchown(to, st.st_uid, st.st_gid) == -1) return error_from_errno(errno, "fchown");
  TRY(sys::fchmod(to, st.st_mode & 07777));
  TRY(clear_xattrs(to));
  std::vector<char> value(64 << 10);  // XATTR_SIZE_MAX
  return each_xattr(from, [&](const char* name) -> Status {
    ssize_t length = ::fgetxattr(from, name, value.data(), value.size());
    if (length == -1) return errno_error(errno, "fgetxattr {}", name);
    if (::fsetxattr(to, name, value.data(), static_cast<size_t>(length), 0) == -1 &&
        errno != EOPNOTSUPP)
      return errno_error(errno, "fsetxattr {}", name);
    return {};
  });
}

Result<std::vector<UniqueFd>> LayerStack::directories(std::string_view path) const {
  std::vector<UniqueFd> current;
  for (int layer : layers_) current.push_back(TRY(sys::dup(layer)));
  for (const std::string& part : split(path)) {
    std::vector<UniqueFd> next;
    for (const UniqueFd& directory : current) {
      std::optional<struct stat> st = TRY(stat_entry(directory.get(), part));
      if (!st) continue;
      if (!S_ISDIR(st->st_mode)) break;  // a whiteout, or a file that hides what is below
      UniqueFd child = TRY(sys::openat(directory.get(), part, kOpenDirectory));
      bool opaque = TRY(is_opaque(child.get()));
      next.push_back(std::move(child));
      if (opaque) break;
    }
    current = std::move(next);
    if (current.empty()) break;
  }
  return current;
}

Result<std::optional<LayerStack::Found>> LayerStack::find(std::string_view path) const {
  size_t slash = path.rfind('/');
  std::string name(slash == std::string_view::npos ? path : path.substr(slash + 1));
  if (name.empty()) return std::optional<Found>();
  std::vector<UniqueFd> levels =
      TRY(directories(slash == std::string_view::npos ? "" : path.substr(0, slash)));
  for (UniqueFd& directory : levels) {
    std::optional<struct stat> st = TRY(stat_entry(directory.get(), name));
    if (!st) continue;
    if (is_whiteout(*st)) break;
    return std::optional<Found>(Found{*st, std::move(directory), std::move(name)});
  }
  return std::optional<Found>();
}

Result<std::vector<std::string>> LayerStack::list(std::string_view path) const {
  std::vector<UniqueFd> levels = TRY(directories(path));
  std::set<std::string> names;
  std::set<std::string> hidden;
  for (const UniqueFd& directory : levels) {
    std::vector<std::string> here = TRY(fs::list_directory(directory.get()));
    for (std::string& name : here) {
      if (hidden.contains(name)) continue;
      std::optional<struct stat> st = TRY(stat_entry(directory.get(), name));
      if (st && is_whiteout(*st)) {
        if (!names.contains(name)) hidden.insert(std::move(name));
      } else {
        names.insert(std::move(name));
      }
    }
  }
  return std::vector<std::string>(names.begin(), names.end());
}

Result<std::shared_ptr<LayerTree::Directory>> LayerTree::open_root() {
  UniqueFd fd = TRY(sys::openat(root_, ".", kOpenDirectory));
  return std::make_shared<Directory>(Directory{std::move(fd), ""});
}

Result<std::shared_ptr<LayerTree::Directory>> LayerTree::reopen(const std::string& resolved) {
  if (resolved.empty()) return open_root();
  UniqueFd fd = TRY(sys::openat2(root_, resolved, kOpenDirectory,
                                 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS));
  return std::make_shared<Directory>(Directory{std::move(fd), resolved});
}

Result<std::optional<LayerStack::Found>> LayerTree::find_below(const std::string& path) {
  if (lower_.layers().empty()) return std::optional<LayerStack::Found>();
  UniqueFd current = TRY(sys::openat(root_, ".", kOpenDirectory));
  for (const std::string& part : split(parent_path(path))) {
    UniqueFd child = TRY(sys::openat(current.get(), part, kOpenDirectory));
    bool opaque = TRY(is_opaque(child.get()));
    if (opaque) return std::optional<LayerStack::Found>();
    current = std::move(child);
  }
  return lower_.find(path);
}

Result<std::shared_ptr<LayerTree::Directory>> LayerTree::make_directory(const std::string& path) {
  auto cached = cache_.find(path);
  if (cached != cache_.end()) return cached->second;
  std::shared_ptr<Directory> directory = TRY(walk(path, Missing::make));
  if (cache_.size() >= kCachedDirectories) cache_.clear();
  cache_.emplace(path, directory);
  return directory;
}

Result<std::shared_ptr<LayerTree::Directory>> LayerTree::find_directory(const std::string& path) {
  auto cached = cache_.find(path);
  if (cached != cache_.end()) return cached->second;
  return walk(path, Missing::fail);
}

Result<std::shared_ptr<LayerTree::Directory>> LayerTree::walk(const std::string& path,
                                                              Missing missing) {
  std::deque<std::string> todo;
  for (std::string& part : split(path)) todo.push_back(std::move(part));
  std::shared_ptr<Directory> current = TRY(open_root());
  int links = 0;
  // Puts the components of a link's target in front of what is left.
  auto follow = [&](const std::string& target) -> Status {
    if (++links > kMaxLinks) return errno_error(ELOOP, "{}", path);
    std::vector<std::string> parts = split(target);
    todo.insert(todo.begin(), parts.begin(), parts.end());
    if (target.starts_with('/')) current = TRY(open_root());
    return {};
  };
  while (!todo.empty()) {
    std::string part = std::move(todo.front());
    todo.pop_front();
    if (part == ".") continue;
    if (part == "..") {
      current = TRY(reopen(parent_path(current->path)));
      continue;
    }
    std::string here = join(current->path, part);
    if (here.size() >= PATH_MAX) return errno_error(ENAMETOOLONG, "{}", path);
    std::optional<struct stat> st = TRY(stat_entry(current->fd.get(), part));
    if (st && S_ISLNK(st->st_mode)) {
      std::string target = TRY(sys::readlinkat(current->fd.get(), part));
      TRY(follow(target));
      continue;
    }
    if (st && S_ISDIR(st->st_mode)) {
      UniqueFd fd = TRY(sys::openat(current->fd.get(), part, kOpenDirectory));
      current = std::make_shared<Directory>(Directory{std::move(fd), std::move(here)});
      continue;
    }
    if (st && !is_whiteout(*st)) return errno_error(ENOTDIR, "{}", here);
    bool deleted = st.has_value();
    if (!deleted) {
      std::optional<LayerStack::Found> below = TRY(find_below(here));
      if (below && S_ISLNK(below->st.st_mode)) {
        std::string target = TRY(sys::readlinkat(below->directory.get(), below->name));
        TRY(follow(target));
        continue;
      }
    }
    if (missing == Missing::fail) return errno_error(ENOENT, "{}", here);
    if (deleted) TRY(sys::unlinkat(current->fd.get(), part));
    TRY(sys::mkdirat(current->fd.get(), part, 0755));
    UniqueFd fd = TRY(sys::openat(current->fd.get(), part, kOpenDirectory));
    if (deleted) TRY(make_opaque(fd.get()));
    // A set-group-id directory above would give it its group.
    if (::fchown(fd.get(), 0, 0) == -1) return error_from_errno(errno, "fchown");
    TRY(sys::fchmod(fd.get(), 0755));
    if (made_) TRY(made_(fd.get(), here));
    current = std::make_shared<Directory>(Directory{std::move(fd), std::move(here)});
  }
  return current;
}

}  // namespace gantry::drivers
