#include "libcontainer/user.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/sys.h"

namespace gantry::libcontainer {
namespace {

// As large as real files get by far; a larger one is refused and not read to its end.
constexpr size_t kFileLimit = 4u << 20;
// setgroups(2) takes 65,536; nobody needs more than this from an image.
constexpr size_t kGroupLimit = 1024;

// Fields that a short line lacks stay empty.
template <size_t N>
std::array<std::string_view, N> split_fields(std::string_view line) {
  std::array<std::string_view, N> fields;
  for (std::string_view& field : fields) {
    size_t colon = line.find(':');
    field = line.substr(0, colon);
    if (colon == std::string_view::npos) break;
    line.remove_prefix(colon + 1);
  }
  return fields;
}

std::optional<uint32_t> number(std::string_view text) {
  if (text.empty() || text.size() > 10) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  if (value > 0x7fffffff) return std::nullopt;
  return static_cast<uint32_t>(value);
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

template <typename Visit>
void for_each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line[0] != '#' && !visit(line)) return;
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

struct PasswdEntry {
  std::string name;
  uint32_t uid = 0, gid = 0;
  std::string home;
};

std::optional<PasswdEntry> find_passwd(std::string_view passwd, std::string_view name,
                                       std::optional<uint32_t> uid) {
  std::optional<PasswdEntry> found;
  for_each_line(passwd, [&](std::string_view line) {
    auto fields = split_fields<7>(line);  // name:password:uid:gid:gecos:home:shell
    std::optional<uint32_t> entry_uid = number(fields[2]), entry_gid = number(fields[3]);
    if (!entry_uid || !entry_gid) return true;
    // A name that is a number is never matched by name: it could shadow an id (CVE-2026-46680).
    bool by_name = !all_digits(name) && fields[0] == name;
    if (!by_name && !(uid && *entry_uid == *uid)) return true;
    found = PasswdEntry{std::string(fields[0]), *entry_uid, *entry_gid, std::string(fields[5])};
    return false;
  });
  return found;
}

std::optional<uint32_t> find_group(std::string_view group, std::string_view name) {
  std::optional<uint32_t> found;
  for_each_line(group, [&](std::string_view line) {
    auto fields = split_fields<4>(line);  // name:password:gid:members
    if (fields[0] != name) return true;
    found = number(fields[2]);
    return !found;
  });
  return found;
}

void add_memberships(std::string_view group, const std::string& user, std::vector<uint32_t>& gids) {
  for_each_line(group, [&](std::string_view line) {
    auto fields = split_fields<4>(line);
    std::optional<uint32_t> gid = number(fields[2]);
    std::string_view members = fields[3];
    while (gid && !members.empty()) {
      size_t comma = members.find(',');
      if (members.substr(0, comma) == user) {
        gids.push_back(*gid);
        break;
      }
      if (comma == std::string_view::npos) break;
      members.remove_prefix(comma + 1);
    }
    return gids.size() < kGroupLimit;
  });
}

Result<uint32_t> group_id(std::string_view group, std::string_view name) {
  if (all_digits(name)) {
    std::optional<uint32_t> gid = number(name);
    if (!gid) return invalid("gids must be in range 0-2147483647, not {}", name);
    return *gid;
  }
  std::optional<uint32_t> gid = find_group(group, name);
  if (!gid) return invalid("unable to find group {}: no matching entries in group file", name);
  return *gid;
}

// The text of a file of the image; "" when it has none, or has something there that is not a plain
// file.
Result<std::string> read_plain_file(const Beneath& root, const std::string& path) {
  // O_PATH first: opening a FIFO or a device would already do something.
  Result<UniqueFd> found = root.open(path, O_PATH | O_NOFOLLOW);
  if (!found) return std::string();
  struct stat st = TRY(sys::fstat(found->get()));
  if (S_ISLNK(st.st_mode)) {
    found = root.open(path, O_PATH);  // resolved inside the root only
    if (!found) return std::string();
    st = TRY(sys::fstat(found->get()));
  }
  if (!S_ISREG(st.st_mode)) return std::string();
  UniqueFd file = TRY(root.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat opened = TRY(sys::fstat(file.get()));
  if (opened.st_ino != st.st_ino || opened.st_dev != st.st_dev) return std::string();
  return sys::read_all(file.get(), kFileLimit).context("{}", path);
}

}  // namespace

Result<ResolvedUser> resolve_user_in(std::string_view passwd, std::string_view group,
                                     const UserSpec& spec) {
  std::string_view whole = spec.user;
  size_t colon = whole.find(':');
  std::string_view name = whole.substr(0, colon);
  std::string_view group_name = colon == std::string_view::npos ? "" : whole.substr(colon + 1);

  std::optional<uint32_t> uid = name.empty() ? 0 : number(name);
  if (!uid && all_digits(name)) return invalid("uids must be in range 0-2147483647, not {}", name);
  std::optional<PasswdEntry> entry = find_passwd(passwd, name.empty() ? "root" : name, uid);
  if (!uid && !entry)
    return invalid("unable to find user {}: no matching entries in passwd file", name);

  ResolvedUser out;
  out.user.uid = uid ? *uid : entry->uid;
  out.user.gid = entry ? entry->gid : 0;
  out.home = entry && !entry->home.empty() ? entry->home : "/";
  if (!group_name.empty())
    out.user.gid = TRY(group_id(group, group_name));
  else if (entry)
    add_memberships(group, entry->name, out.user.additional_gids);
  for (const std::string& extra : spec.groups) {
    uint32_t gid = TRY(group_id(group, extra));
    out.user.additional_gids.push_back(gid);
  }
  // As Docker does since CVE-2022-36109: what was made setgid keeps no way round a group's denial.
  auto& gids = out.user.additional_gids;
  gids.push_back(out.user.gid);
  std::sort(gids.begin(), gids.end());
  gids.erase(std::unique(gids.begin(), gids.end()), gids.end());
  return out;
}

Result<ResolvedUser> resolve_user(const Beneath& root, const UserSpec& spec) {
  std::string passwd = TRY(read_plain_file(root, "etc/passwd"));
  std::string group = TRY(read_plain_file(root, "etc/group"));
  return resolve_user_in(passwd, group, spec);
}

}  // namespace gantry::libcontainer
