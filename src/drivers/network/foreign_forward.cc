#include "drivers/network/foreign_forward.h"

#include "drivers/network/nft.h"

namespace gantry::drivers {

namespace {

constexpr const char* kTable = "filter";
constexpr const char* kChain = "FORWARD";
constexpr uint8_t kFamilies[] = {NFPROTO_IPV4, NFPROTO_IPV6};

std::string tag(const std::string& instance, const std::string& link) {
  return "gantry-" + instance + " " + link;
}

// The handles of our rules in the chain.
Result<std::vector<uint64_t>> tagged_rules(NetlinkSocket& socket, uint8_t family,
                                           const std::string& comment) {
  std::vector<uint64_t> handles;
  for (const nft::RuleInfo& rule : TRY(nft::list_rules(socket, family, kTable, kChain)))
    if (rule.comment == comment) handles.push_back(rule.handle);
  return handles;
}

}  // namespace

Result<int> pass_foreign_forward(NetlinkSocket& socket, const std::string& instance,
                                 const std::string& link) {
  int needed = 0;
  const std::string comment = tag(instance, link);
  for (const nft::ChainInfo& chain : TRY(nft::list_chains(socket))) {
    const bool theirs = chain.table == kTable && chain.name == kChain &&
                        chain.hook == NF_INET_FORWARD &&
                        (chain.family == NFPROTO_IPV4 || chain.family == NFPROTO_IPV6);
    if (!theirs || chain.policy != NF_DROP) continue;
    ++needed;
    const std::vector<uint64_t> standing = TRY(tagged_rules(socket, chain.family, comment));
    if (standing.size() == 2) continue;
    nft::Transaction change(chain.family, kTable);
    for (uint64_t handle : standing) change.delete_rule(kChain, handle);
    for (const uint32_t key : {NFT_META_IIFNAME, NFT_META_OIFNAME})
      change.insert_rule(kChain, comment, [&](nft::Rule& rule) {
        nft::Fields name;
        name.ifname(link);
        rule.meta(key).equals(name.data()).verdict(NF_ACCEPT);
      });
    TRY(change.commit(socket).context("let {} pass the chain filter FORWARD of another firewall",
                                      link));
  }
  return needed;
}

Status leave_foreign_forward(NetlinkSocket& socket, const std::string& instance,
                             const std::string& link) {
  for (const uint8_t family : kFamilies) {
    auto standing = tagged_rules(socket, family, tag(instance, link));
    if (!standing && standing.error().code() == ENOENT) continue;  // no such chain
    if (!standing) return std::move(standing).error();
    nft::Transaction change(family, kTable);
    for (uint64_t handle : *standing) change.delete_rule(kChain, handle);
    TRY(change.commit(socket));
  }
  return {};
}

}  // namespace gantry::drivers
