#include "base/tree_walk.h"

#include <algorithm>
#include <vector>

#include "base/fs.h"
#include "base/sys.h"
#include "base/unique_fd.h"

namespace gantry {
namespace {

Result<std::vector<std::string>> sorted_names(int directory) {
  std::vector<std::string> names = TRY(fs::list_directory(directory));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Result<std::optional<struct stat>> stat_entry(int directory, const std::string& name) {
  struct stat st;
  if (::fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0)
    return std::optional<struct stat>(st);
  if (errno == ENOENT) return std::optional<struct stat>();
  return errno_error(errno, "stat {}", name);
}

bool is_gone(const Error& error) {
  return error.code() == ENOENT || error.code() == ENOTDIR || error.code() == ELOOP ||
         error.code() == ESTALE;
}

// What lies deeper has no path that a system call takes (PATH_MAX), and each level is a descriptor.
constexpr size_t kDeepest = 2048;

Status walk_tree(int root, const std::function<Result<Descend>(const TreeEntry&)>& enter) {
  struct Level {
    UniqueFd fd;
    std::vector<std::string> names;  // descending, so that the next one is at the back
    std::string path;
  };
  std::vector<Level> levels;
  auto open = [&](int parent, const std::string& name, std::string path) -> Status {
    Result<UniqueFd> opened = sys::openat(parent, name, kOpenDirectory);
    if (!opened && is_gone(opened.error())) return {};
    if (levels.size() >= kDeepest)
      return invalid("{}…: directories are nested more than {} deep", path.substr(0, 64), kDeepest);
    UniqueFd fd = TRY(std::move(opened));
    std::vector<std::string> names = TRY(sorted_names(fd.get()));
    std::reverse(names.begin(), names.end());
    levels.push_back({std::move(fd), std::move(names), std::move(path)});
    return {};
  };
  TRY(open(root, ".", ""));
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.names.empty()) {
      levels.pop_back();
      continue;
    }
    TreeEntry entry;
    entry.directory = level.fd.get();
    entry.name = std::move(level.names.back());
    level.names.pop_back();
    entry.path = level.path.empty() ? entry.name : level.path + "/" + entry.name;
    std::optional<struct stat> st = TRY(stat_entry(entry.directory, entry.name));
    if (!st) continue;  // a running container removed it meanwhile
    entry.st = *st;
    Descend descend = TRY(enter(entry));
    if (descend == Descend::yes && S_ISDIR(st->st_mode))
      TRY(open(entry.directory, entry.name, entry.path));
  }
  return {};
}

}  // namespace gantry
