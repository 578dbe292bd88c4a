#include "builder/tree.h"

#include <algorithm>

namespace gantry::builder {

std::string join(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  if (name.empty()) return std::string(directory);
  return fmt::format("{}/{}", directory, name);
}

Result<std::string> resolve(const LinkReader& stat, std::string_view path) {
  constexpr int kMaxLinks = 255;  // as Docker's
  std::string done, rest(path);
  for (int links = 0; !rest.empty();) {
    size_t begin = rest.find_first_not_of('/');
    if (begin == rest.npos) break;
    size_t end = std::min(rest.find('/', begin), rest.size());
    std::string part = rest.substr(begin, end - begin);
    rest.erase(0, end);
    if (part == ".") continue;
    if (part == "..") {
      size_t slash = done.rfind('/');
      done.resize(slash == done.npos ? 0 : slash);
      continue;
    }
    std::string next = join(done, part);
    std::optional<tar::Entry> entry = TRY(stat(next));
    if (!entry || entry->type != tar::Type::symlink) {
      done = std::move(next);
      continue;
    }
    if (++links > kMaxLinks) return invalid("{}: too many links", path);
    if (entry->link.starts_with('/')) done.clear();
    rest = entry->link + "/" + rest;
  }
  return done;
}

Result<std::string> resolve(Tree& tree, std::string_view path) {
  return resolve([&](const std::string& at) { return tree.stat(at); }, path);
}

}  // namespace gantry::builder
