#include "drivers/network/foreign_forward.h"

#include <map>

#include "drivers/network/legacy_iptables.h"
#include "drivers/network/nft.h"

namespace gantry::drivers {

namespace {

constexpr const char* kTable = "filter";
constexpr const char* kChain = "FORWARD";
constexpr uint8_t kFamilies[] = {NFPROTO_IPV4, NFPROTO_IPV6};

std::string tag(const std::string& instance, const std::string& link) {
  return "gantry-" + instance + " " + link;
}

bool drops_forwarded(const nft::ChainInfo& chain) {
  return chain.hook == NF_INET_FORWARD && chain.policy == NF_DROP;
}
// As Docker, ufw and iptables-nft name it.
bool is_shared(const nft::ChainInfo& chain) {
  return chain.table == kTable && chain.name == kChain &&
         (chain.family == NFPROTO_IPV4 || chain.family == NFPROTO_IPV6);
}

const char* family_name(uint8_t family) {
  switch (family) {
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_INET:
      return "inet";
    default:
      return "";  // bridges' own, and others that no routed packet meets
  }
}

}  // namespace

Result<int> pass_foreign_forward(NetlinkSocket& socket, const std::string& instance,
                                 std::span<const std::string> links) {
  int needed = 0;
  for (const nft::ChainInfo& chain : TRY(nft::list_chains(socket))) {
    if (!is_shared(chain) || !drops_forwarded(chain)) continue;
    ++needed;
    std::map<std::string, std::vector<uint64_t>> standing;  // handles by comment
    for (const nft::RuleInfo& rule : TRY(nft::list_rules(socket, chain.family, kTable, kChain)))
      standing[rule.comment].push_back(rule.handle);
    nft::Transaction change(chain.family, kTable);
    for (const std::string& link : links) {
      const std::string comment = tag(instance, link);
      const std::vector<uint64_t>& handles = standing[comment];
      if (handles.size() == 2) continue;
      for (uint64_t handle : handles) change.delete_rule(kChain, handle);
      for (const uint32_t key : {NFT_META_IIFNAME, NFT_META_OIFNAME})
        change.insert_rule(kChain, comment, [&](nft::Rule& rule) {
          nft::Fields name;
          name.ifname(link);
          rule.meta(key).equals(name.data()).verdict(NF_ACCEPT);
        });
    }
    if (change.changes() == 0) continue;
    TRY(change.commit(socket).context("let bridges pass the chain {} {} {} of another firewall",
                                      family_name(chain.family), kTable, kChain));
  }
  return needed;
}

Status leave_foreign_forward(NetlinkSocket& socket, const std::string& instance,
                             const std::string& link) {
  const std::string comment = tag(instance, link);
  for (const uint8_t family : kFamilies) {
    auto rules = nft::list_rules(socket, family, kTable, kChain);
    if (!rules && rules.error().code() == ENOENT) continue;  // no such chain
    if (!rules) return std::move(rules).error();
    nft::Transaction change(family, kTable);
    for (const nft::RuleInfo& rule : *rules)
      if (rule.comment == comment) change.delete_rule(kChain, rule.handle);
    if (change.changes() > 0) TRY(change.commit(socket));
  }
  return {};
}

Result<std::vector<std::string>> forward_obstacles(NetlinkSocket& socket, const std::string& link) {
  std::vector<std::string> out;
  for (const nft::ChainInfo& chain : TRY(nft::list_chains(socket))) {
    const std::string family = family_name(chain.family);
    if (family.empty() || is_shared(chain) || !drops_forwarded(chain)) continue;
    const std::string place = fmt::format("{} {} {}", family, chain.table, chain.name);
    // Its rules are not read, so this is said as what may be.
    out.push_back(fmt::format(
        "the nftables chain {} drops by policy, and may drop what containers send: `nft insert "
        "rule "
        "{} iifname {} accept` and `nft insert rule {} oifname {} accept` let them pass",
        place, place, link, place, link));
  }
  for (const IpFamily family : {IpFamily::v4, IpFamily::v6}) {
    if (!TRY(legacy_forward_drops(family, link))) continue;
    const char* program = family == IpFamily::v4 ? "iptables-legacy" : "ip6tables-legacy";
    out.push_back(
        fmt::format("legacy iptables drops what is forwarded, and what {} sends and gets with it: "
                    "`{} -I FORWARD "
                    "-i {} -j ACCEPT` and `{} -I FORWARD -o {} -j ACCEPT` mend it",
                    link, program, link, program, link));
  }
  return out;
}

}  // namespace gantry::drivers
