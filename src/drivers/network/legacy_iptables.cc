#include "drivers/network/legacy_iptables.h"

#include <net/if.h>  // before the kernel headers, which give way to libc
#include <netinet/in.h>
#include <sys/socket.h>

// After libc's own headers, which these repeat in part.
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/fs.h"
#include "base/unique_fd.h"

namespace gantry::drivers {

namespace {

constexpr int kAccept = -NF_ACCEPT - 1, kDrop = -NF_DROP - 1;  // as standard targets have them
constexpr unsigned kLargestTable = 64u << 20;

// Asking for a table that nobody uses would make the kernel create it.
bool in_use(const char* names) {
  const auto text = fs::read_file(names, 4096);
  return text && ("\n" + *text).find("\nfilter\n") != std::string::npos;
}

struct V4 {
  using Info = ipt_getinfo;
  using Entries = ipt_get_entries;
  using Entry = ipt_entry;
  static constexpr int kFamily = AF_INET, kLevel = IPPROTO_IP, kInfo = IPT_SO_GET_INFO,
                       kEntries = IPT_SO_GET_ENTRIES;
  static constexpr const char* kNames = "/proc/thread-self/net/ip_tables_names";
  static const auto& match(const Entry& entry) { return entry.ip; }
};
struct V6 {
  using Info = ip6t_getinfo;
  using Entries = ip6t_get_entries;
  using Entry = ip6t_entry;
  static constexpr int kFamily = AF_INET6, kLevel = IPPROTO_IPV6, kInfo = IP6T_SO_GET_INFO,
                       kEntries = IP6T_SO_GET_ENTRIES;
  static constexpr const char* kNames = "/proc/thread-self/net/ip6_tables_names";
  static const auto& match(const Entry& entry) { return entry.ipv6; }
};

// Everything that has this interface on the one side, and anything else whatever.
template <typename Match>
bool is_all_of(const Match& match, const char (&own)[IFNAMSIZ], const char (&other)[IFNAMSIZ],
               const std::string& link) {
  static const Match kNothing{};
  const bool any_address = std::memcmp(&match.smsk, &kNothing.smsk, sizeof match.smsk) == 0 &&
                           std::memcmp(&match.dmsk, &kNothing.dmsk, sizeof match.dmsk) == 0;
  return any_address && match.proto == 0 && match.flags == 0 && match.invflags == 0 &&
         other[0] == 0 && link == std::string_view(own, ::strnlen(own, sizeof own));
}

template <typename Family>
Result<bool> forward_drops(const std::string& link) {
  if (!in_use(Family::kNames)) return false;
  UniqueFd socket(::socket(Family::kFamily, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!socket) return errno_error(errno, "ask legacy iptables");
  typename Family::Info info{};
  std::strcpy(info.name, "filter");
  socklen_t size = sizeof info;
  if (::getsockopt(socket.get(), Family::kLevel, Family::kInfo, &info, &size) != 0)
    return errno_error(errno, "ask legacy iptables for its table filter");
  if (info.size > kLargestTable) return unsupported("the table of legacy iptables is too large");
  using Entries = typename Family::Entries;
  using Entry = typename Family::Entry;
  std::vector<uint64_t> buffer((sizeof(Entries) + info.size) / 8 + 1);
  auto* entries = reinterpret_cast<Entries*>(buffer.data());
  std::strcpy(entries->name, "filter");
  entries->size = info.size;
  size = static_cast<socklen_t>(sizeof(Entries) + info.size);
  if (::getsockopt(socket.get(), Family::kLevel, Family::kEntries, entries, &size) != 0) {
    if (errno == EAGAIN) return false;  // it is being changed, and is looked at again then
    return errno_error(errno, "ask legacy iptables for its rules");
  }
  const char* table = reinterpret_cast<const char*>(entries->entrytable);
  bool in = false, out = false;
  for (unsigned at = info.hook_entry[NF_INET_FORWARD]; at + sizeof(Entry) <= info.size;) {
    const auto& entry = *reinterpret_cast<const Entry*>(table + at);
    if (entry.next_offset < sizeof(Entry) || at + entry.next_offset > info.size) break;
    const auto& target =
        *reinterpret_cast<const xt_standard_target*>(table + at + entry.target_offset);
    const bool standard = entry.target_offset + sizeof target <= entry.next_offset &&
                          target.target.u.user.name[0] == 0;
    if (at == info.underflow[NF_INET_FORWARD])  // the policy is the chain's last rule
      return standard && target.verdict == kDrop && !(in && out);
    const bool plain = entry.target_offset == sizeof(Entry);  // no match of an extension
    if (standard && plain && target.verdict == kAccept) {
      const auto& match = Family::match(entry);
      in = in || is_all_of(match, match.iniface, match.outiface, link);
      out = out || is_all_of(match, match.outiface, match.iniface, link);
    }
    at += entry.next_offset;
  }
  return internal("the table of legacy iptables cannot be understood");
}

}  // namespace

Result<bool> legacy_forward_drops(IpFamily family, const std::string& link) {
  return family == IpFamily::v4 ? forward_drops<V4>(link) : forward_drops<V6>(link);
}

}  // namespace gantry::drivers
