#include "drivers/graph/member.h"

namespace gantry::drivers {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kWhiteoutMeta = ".wh..wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

Status check_steering(const tar::Entry& entry) {
  for (const auto& [name, value] : entry.xattrs)
    if (name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.") ||
        name.starts_with("trusted.gantry."))
      return invalid("the attribute {} is not allowed in a layer", name);
  bool device = entry.type == tar::Type::char_device || entry.type == tar::Type::block_device;
  if (device && entry.major == 0 && entry.minor == 0)
    return invalid("a device 0/0 is not allowed in a layer");
  if (entry.path.find('\0') != std::string::npos || entry.link.find('\0') != std::string::npos)
    return invalid("the name has a NUL byte");
  return {};
}

}  // namespace

Result<Member> classify(const tar::Entry& entry) {
  using What = Member::What;
  TRY(check_steering(entry));
  std::optional<std::string> path = tar::clean_path(entry.path);
  if (!path) return invalid("the path leads outside of the layer or is too long");
  if (path->empty()) {
    if (entry.type != tar::Type::directory) return invalid("the root must be a directory");
    return Member{What::root, ""};
  }
  size_t slash = path->rfind('/');
  std::string parent = slash == std::string::npos ? "" : path->substr(0, slash);
  std::string base = path->substr(slash == std::string::npos ? 0 : slash + 1);
  if (path->starts_with(kWhiteoutMeta) && *path != kOpaque) return Member{What::nothing, *path};
  if (parent.starts_with(kWhiteout) || parent.find("/.wh.") != std::string::npos)
    return invalid("a whiteout is not a directory");
  if (base == kOpaque) return Member{What::opaque, std::move(parent)};
  if (!base.starts_with(kWhiteout)) return Member{What::file, std::move(*path)};
  std::string hidden = base.substr(kWhiteout.size());
  if (hidden.empty() || hidden == "." || hidden == "..") return invalid("a whiteout of nothing");
  return Member{What::whiteout, parent.empty() ? hidden : parent + "/" + hidden};
}

}  // namespace gantry::drivers
