#include "drivers/network/nft.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nfnetlink.h>

namespace gantry::drivers::nft {

namespace {

constexpr uint16_t message_type(uint16_t type) { return NFNL_SUBSYS_NFTABLES << 8 | type; }

nfgenmsg generic_header(uint8_t family, uint16_t resource = 0) {
  nfgenmsg header{};
  header.nfgen_family = family;
  header.version = NFNETLINK_V0;
  header.res_id = htons(resource);
  return header;
}

void put_u32(NetlinkBatch& batch, uint16_t type, uint32_t value) {
  batch.put<uint32_t>(type, htonl(value));
}

void put_value(NetlinkBatch& batch, uint16_t type, std::string_view value) {
  batch.nest(type, [&] { batch.put(NFTA_DATA_VALUE, value.data(), value.size()); });
}

// The user data that nft(8) shows as a comment: one TLV of type 0.
std::string comment_udata(std::string_view comment) {
  const std::string text(comment.substr(0, 120));
  std::string out;
  out.push_back(0);
  out.push_back(static_cast<char>(text.size() + 1));
  out.append(text.c_str(), text.size() + 1);
  return out;
}

std::string_view raw(const auto& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string padded_name(std::string_view name) {
  std::string out(name);
  out.resize(IFNAMSIZ, '\0');
  return out;
}

}  // namespace

void Fields::put(const void* data, size_t size) {
  data_.append(static_cast<const char*>(data), size);
  data_.resize((data_.size() + 3) / 4 * 4, '\0');
}
Fields& Fields::address(const IpAddress& address) {
  put(address.bytes().data(), address.size());
  return *this;
}
Fields& Fields::byte(uint8_t value) {
  put(&value, 1);
  return *this;
}
Fields& Fields::port(uint16_t value) {
  const uint16_t wire = htons(value);
  put(&wire, sizeof wire);
  return *this;
}
Fields& Fields::ifname(std::string_view name) {
  const std::string padded = padded_name(name);
  put(padded.data(), padded.size());
  return *this;
}

void Rule::expression(std::string_view name, const std::function<void()>& fill) {
  batch_->nest(NFTA_LIST_ELEM, [&] {
    batch_->put_string(NFTA_EXPR_NAME, name);
    batch_->nest(NFTA_EXPR_DATA, [&] { fill(); });
  });
}

Rule& Rule::meta(uint32_t key, uint32_t reg) {
  expression("meta", [&] {
    put_u32(*batch_, NFTA_META_KEY, key);
    put_u32(*batch_, NFTA_META_DREG, reg);
  });
  return *this;
}
void Rule::payload(uint32_t base, uint32_t offset, uint32_t size, uint32_t reg) {
  expression("payload", [&] {
    put_u32(*batch_, NFTA_PAYLOAD_DREG, reg);
    put_u32(*batch_, NFTA_PAYLOAD_BASE, base);
    put_u32(*batch_, NFTA_PAYLOAD_OFFSET, offset);
    put_u32(*batch_, NFTA_PAYLOAD_LEN, size);
  });
}
Rule& Rule::network_payload(uint32_t offset, uint32_t size, uint32_t reg) {
  payload(NFT_PAYLOAD_NETWORK_HEADER, offset, size, reg);
  return *this;
}
Rule& Rule::transport_payload(uint32_t offset, uint32_t size, uint32_t reg) {
  payload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, size, reg);
  return *this;
}
Rule& Rule::fib_address_type(uint32_t reg) {
  expression("fib", [&] {
    put_u32(*batch_, NFTA_FIB_DREG, reg);
    put_u32(*batch_, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    put_u32(*batch_, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  });
  return *this;
}
Rule& Rule::ct(uint32_t key, uint32_t reg) {
  expression("ct", [&] {
    put_u32(*batch_, NFTA_CT_KEY, key);
    put_u32(*batch_, NFTA_CT_DREG, reg);
  });
  return *this;
}
Rule& Rule::mask(std::string_view mask, uint32_t reg) {
  const std::string zero(mask.size(), '\0');
  expression("bitwise", [&] {
    put_u32(*batch_, NFTA_BITWISE_SREG, reg);
    put_u32(*batch_, NFTA_BITWISE_DREG, reg);
    put_u32(*batch_, NFTA_BITWISE_LEN, static_cast<uint32_t>(mask.size()));
    put_value(*batch_, NFTA_BITWISE_MASK, mask);
    put_value(*batch_, NFTA_BITWISE_XOR, zero);
  });
  return *this;
}
void Rule::compare(uint32_t op, std::string_view value, uint32_t reg) {
  expression("cmp", [&] {
    put_u32(*batch_, NFTA_CMP_SREG, reg);
    put_u32(*batch_, NFTA_CMP_OP, op);
    put_value(*batch_, NFTA_CMP_DATA, value);
  });
}
Rule& Rule::equals(std::string_view value, uint32_t reg) {
  compare(NFT_CMP_EQ, value, reg);
  return *this;
}
Rule& Rule::differs(std::string_view value, uint32_t reg) {
  compare(NFT_CMP_NEQ, value, reg);
  return *this;
}
Rule& Rule::in_set(const std::string& set, uint32_t reg) {
  expression("lookup", [&] {
    batch_->put_string(NFTA_LOOKUP_SET, set);
    put_u32(*batch_, NFTA_LOOKUP_SREG, reg);
  });
  return *this;
}
Rule& Rule::map(const std::string& map, uint32_t reg, uint32_t into) {
  expression("lookup", [&] {
    batch_->put_string(NFTA_LOOKUP_SET, map);
    put_u32(*batch_, NFTA_LOOKUP_SREG, reg);
    put_u32(*batch_, NFTA_LOOKUP_DREG, into);
  });
  return *this;
}
Rule& Rule::load(std::string_view value, uint32_t reg) {
  expression("immediate", [&] {
    put_u32(*batch_, NFTA_IMMEDIATE_DREG, reg);
    put_value(*batch_, NFTA_IMMEDIATE_DATA, value);
  });
  return *this;
}
Rule& Rule::dnat(IpFamily family, uint32_t address_reg, uint32_t port_reg) {
  expression("nat", [&] {
    put_u32(*batch_, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    put_u32(*batch_, NFTA_NAT_FAMILY, family == IpFamily::v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
    put_u32(*batch_, NFTA_NAT_REG_ADDR_MIN, address_reg);
    put_u32(*batch_, NFTA_NAT_REG_PROTO_MIN, port_reg);
  });
  return *this;
}
Rule& Rule::masquerade() {
  expression("masq", [] {});
  return *this;
}
Rule& Rule::verdict(int32_t code) {
  expression("immediate", [&] {
    put_u32(*batch_, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    batch_->nest(NFTA_IMMEDIATE_DATA, [&] {
      batch_->nest(NFTA_DATA_VERDICT,
                   [&] { put_u32(*batch_, NFTA_VERDICT_CODE, static_cast<uint32_t>(code)); });
    });
  });
  return *this;
}
Rule& Rule::jump(const std::string& chain) {
  expression("immediate", [&] {
    put_u32(*batch_, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    batch_->nest(NFTA_IMMEDIATE_DATA, [&] {
      batch_->nest(NFTA_DATA_VERDICT, [&] {
        put_u32(*batch_, NFTA_VERDICT_CODE, static_cast<uint32_t>(NFT_JUMP));
        batch_->put_string(NFTA_VERDICT_CHAIN, chain);
      });
    });
  });
  return *this;
}

Rule& Rule::family(IpFamily family) {
  const uint8_t value = family == IpFamily::v4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
  return meta(NFT_META_NFPROTO).equals(raw(value));
}
Rule& Rule::iifname(std::string_view name) {
  return meta(NFT_META_IIFNAME).equals(padded_name(name));
}
Rule& Rule::not_iifname(std::string_view name) {
  return meta(NFT_META_IIFNAME).differs(padded_name(name));
}
Rule& Rule::bits_of(uint32_t bits) {
  const uint32_t zero = 0;
  return mask(raw(bits)).differs(raw(zero));
}
Rule& Rule::ct_status(uint32_t bits) { return ct(NFT_CT_STATUS).bits_of(bits); }
Rule& Rule::ct_state(uint32_t bits) { return ct(NFT_CT_STATE).bits_of(bits); }

Transaction::Transaction(uint8_t family, std::string table)
    : family_(family), table_(std::move(table)), batch_(NetlinkBatch::Kind::transaction) {
  batch_.begin(NFNL_MSG_BATCH_BEGIN, 0, generic_header(AF_UNSPEC, NFNL_SUBSYS_NFTABLES),
               "nftables table " + table_);
}

void Transaction::begin(uint16_t type, uint16_t flags, std::string what) {
  batch_.begin(message_type(type), flags, generic_header(family_), std::move(what));
}

void Transaction::add_table(uint32_t flags) {
  begin(NFT_MSG_NEWTABLE, NLM_F_CREATE, "add nftables table " + table_);
  batch_.put_string(NFTA_TABLE_NAME, table_);
  put_u32(batch_, NFTA_TABLE_FLAGS, flags);
}
void Transaction::delete_table() {
  begin(NFT_MSG_DELTABLE, 0, "delete nftables table " + table_);
  batch_.put_string(NFTA_TABLE_NAME, table_);
}
void Transaction::add_chain(const ChainSpec& spec) {
  begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE, "add nftables chain " + spec.name);
  batch_.put_string(NFTA_CHAIN_TABLE, table_);
  batch_.put_string(NFTA_CHAIN_NAME, spec.name);
  batch_.nest(NFTA_CHAIN_HOOK, [&] {
    put_u32(batch_, NFTA_HOOK_HOOKNUM, spec.hook);
    put_u32(batch_, NFTA_HOOK_PRIORITY, static_cast<uint32_t>(spec.priority));
  });
  put_u32(batch_, NFTA_CHAIN_POLICY, NF_ACCEPT);
  batch_.put_string(NFTA_CHAIN_TYPE, spec.type);
}
void Transaction::add_plain_chain(const std::string& name) {
  begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE, "add nftables chain " + name);
  batch_.put_string(NFTA_CHAIN_TABLE, table_);
  batch_.put_string(NFTA_CHAIN_NAME, name);
}
void Transaction::add_set(const SetSpec& spec) {
  begin(NFT_MSG_NEWSET, NLM_F_CREATE, "add nftables set " + spec.name);
  batch_.put_string(NFTA_SET_TABLE, table_);
  batch_.put_string(NFTA_SET_NAME, spec.name);
  uint32_t flags = spec.data_size > 0 ? NFT_SET_MAP : 0;
  if (spec.kind == SetSpec::Kind::interval) flags |= NFT_SET_INTERVAL;
  put_u32(batch_, NFTA_SET_FLAGS, flags);
  put_u32(batch_, NFTA_SET_KEY_TYPE, spec.key_type);
  put_u32(batch_, NFTA_SET_KEY_LEN, spec.key_size);
  if (spec.data_size > 0) {
    put_u32(batch_, NFTA_SET_DATA_TYPE, spec.data_type);
    put_u32(batch_, NFTA_SET_DATA_LEN, spec.data_size);
  }
  put_u32(batch_, NFTA_SET_ID, ++set_id_);
}

void Transaction::element(uint16_t type, uint16_t flags, const std::string& set,
                          std::string_view key, std::string_view data, std::string_view comment) {
  begin(type, flags, "nftables element of " + set);
  batch_.put_string(NFTA_SET_ELEM_LIST_TABLE, table_);
  batch_.put_string(NFTA_SET_ELEM_LIST_SET, set);
  batch_.nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&] {
    batch_.nest(NFTA_LIST_ELEM, [&] {
      put_value(batch_, NFTA_SET_ELEM_KEY, key);
      if (!data.empty()) put_value(batch_, NFTA_SET_ELEM_DATA, data);
      if (!comment.empty()) {
        const std::string udata = comment_udata(comment);
        batch_.put(NFTA_SET_ELEM_USERDATA, udata.data(), udata.size());
      }
    });
  });
}
void Transaction::add_element(const std::string& set, std::string_view key, std::string_view data,
                              std::string_view comment) {
  element(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, key, data, comment);
}
void Transaction::delete_element(const std::string& set, std::string_view key) {
  element(NFT_MSG_DELSETELEM, 0, set, key, {}, {});
}

void Transaction::interval(uint16_t type, uint16_t flags, const std::string& set,
                           std::string_view first, std::string_view end) {
  begin(type, flags, "nftables interval of " + set);
  batch_.put_string(NFTA_SET_ELEM_LIST_TABLE, table_);
  batch_.put_string(NFTA_SET_ELEM_LIST_SET, set);
  batch_.nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&] {
    batch_.nest(NFTA_LIST_ELEM, [&] { put_value(batch_, NFTA_SET_ELEM_KEY, first); });
    if (end.empty()) return;
    batch_.nest(NFTA_LIST_ELEM, [&] {
      put_value(batch_, NFTA_SET_ELEM_KEY, end);
      put_u32(batch_, NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
    });
  });
}
void Transaction::add_interval(const std::string& set, std::string_view first,
                               std::string_view end) {
  interval(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, first, end);
}
void Transaction::delete_interval(const std::string& set, std::string_view first,
                                  std::string_view end) {
  interval(NFT_MSG_DELSETELEM, 0, set, first, end);
}

void Transaction::add_rule(const std::string& chain, std::string_view comment,
                           const std::function<void(Rule&)>& fill) {
  rule(NLM_F_CREATE | NLM_F_APPEND, chain, comment, fill);
}
void Transaction::insert_rule(const std::string& chain, std::string_view comment,
                              const std::function<void(Rule&)>& fill) {
  rule(NLM_F_CREATE, chain, comment, fill);
}
void Transaction::delete_rule(const std::string& chain, uint64_t handle) {
  begin(NFT_MSG_DELRULE, 0, "delete nftables rule of " + chain);
  batch_.put_string(NFTA_RULE_TABLE, table_);
  batch_.put_string(NFTA_RULE_CHAIN, chain);
  batch_.put<uint64_t>(NFTA_RULE_HANDLE, htobe64(handle));
}

void Transaction::rule(uint16_t flags, const std::string& chain, std::string_view comment,
                       const std::function<void(Rule&)>& fill) {
  begin(NFT_MSG_NEWRULE, flags, "add nftables rule to " + chain);
  batch_.put_string(NFTA_RULE_TABLE, table_);
  batch_.put_string(NFTA_RULE_CHAIN, chain);
  batch_.nest(NFTA_RULE_EXPRESSIONS, [&] {
    Rule expressions(batch_);
    fill(expressions);
  });
  const std::string udata = comment_udata(comment);
  batch_.put(NFTA_RULE_USERDATA, udata.data(), udata.size());
}

Status Transaction::commit(NetlinkSocket& socket) {
  if (changes() == 0) return {};
  batch_.begin(NFNL_MSG_BATCH_END, 0, generic_header(AF_UNSPEC, NFNL_SUBSYS_NFTABLES), "end");
  return socket.transact(batch_);
}

Status get_element(NetlinkSocket& socket, uint8_t family, const std::string& table,
                   const std::string& set, std::string_view key) {
  NetlinkBatch batch;
  batch.begin(message_type(NFT_MSG_GETSETELEM), 0, generic_header(family),
              "look up an nftables element of " + set);
  batch.put_string(NFTA_SET_ELEM_LIST_TABLE, table);
  batch.put_string(NFTA_SET_ELEM_LIST_SET, set);
  batch.nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&] {
    batch.nest(NFTA_LIST_ELEM, [&] { put_value(batch, NFTA_SET_ELEM_KEY, key); });
  });
  return socket.transact(batch);
}

Result<std::vector<TableInfo>> list_tables(NetlinkSocket& socket) {
  NetlinkBatch batch;
  batch.begin(message_type(NFT_MSG_GETTABLE), 0, generic_header(NFPROTO_UNSPEC),
              "list nftables tables");
  std::vector<TableInfo> out;
  TRY(socket.dump(
      batch,
      [&](const nlmsghdr& message) {
        const auto* header = fixed_header<nfgenmsg>(message);
        if (message.nlmsg_type != message_type(NFT_MSG_NEWTABLE) || header == nullptr) return;
        const Attributes attributes = attributes_of<nfgenmsg>(message);
        TableInfo info;
        info.family = header->nfgen_family;
        info.name = attributes.text(NFTA_TABLE_NAME);
        uint32_t wire = 0;
        if (attributes.read(NFTA_TABLE_FLAGS, wire)) info.flags = ntohl(wire);
        if (attributes.read(NFTA_TABLE_OWNER, wire)) info.owner = ntohl(wire);
        out.push_back(std::move(info));
      },
      [&] { out.clear(); }));
  return out;
}

Result<std::vector<ChainInfo>> list_chains(NetlinkSocket& socket) {
  NetlinkBatch batch;
  batch.begin(message_type(NFT_MSG_GETCHAIN), 0, generic_header(NFPROTO_UNSPEC),
              "list nftables chains");
  std::vector<ChainInfo> out;
  TRY(socket.dump(
      batch,
      [&](const nlmsghdr& message) {
        const auto* header = fixed_header<nfgenmsg>(message);
        if (message.nlmsg_type != message_type(NFT_MSG_NEWCHAIN) || header == nullptr) return;
        const Attributes attributes = attributes_of<nfgenmsg>(message);
        ChainInfo info;
        info.family = header->nfgen_family;
        info.table = attributes.text(NFTA_CHAIN_TABLE);
        info.name = attributes.text(NFTA_CHAIN_NAME);
        uint32_t wire = 0;
        if (attributes.nested(NFTA_CHAIN_HOOK).read(NFTA_HOOK_HOOKNUM, wire))
          info.hook = ntohl(wire);
        if (attributes.read(NFTA_CHAIN_POLICY, wire)) info.policy = ntohl(wire);
        out.push_back(std::move(info));
      },
      [&] { out.clear(); }));
  return out;
}

Result<std::vector<RuleInfo>> list_rules(NetlinkSocket& socket, uint8_t family,
                                         const std::string& table, const std::string& chain) {
  // A dump of a chain that is not there is empty; so is one whose rules are all somebody else's.
  NetlinkBatch batch;
  batch.begin(message_type(NFT_MSG_GETRULE), 0, generic_header(family), "list nftables rules");
  batch.put_string(NFTA_RULE_TABLE, table);
  batch.put_string(NFTA_RULE_CHAIN, chain);
  std::vector<RuleInfo> out;
  TRY(socket.dump(
      batch,
      [&](const nlmsghdr& message) {
        if (message.nlmsg_type != message_type(NFT_MSG_NEWRULE)) return;
        const Attributes attributes = attributes_of<nfgenmsg>(message);
        RuleInfo info;
        uint64_t wire = 0;
        if (attributes.read(NFTA_RULE_HANDLE, wire)) info.handle = be64toh(wire);
        const std::string_view udata = attributes.find(NFTA_RULE_USERDATA);
        if (udata.size() > 2 && udata[0] == 0)
          info.comment = udata.substr(2, udata.find('\0', 2) - 2);
        out.push_back(std::move(info));
      },
      [&] { out.clear(); }));
  return out;
}

}  // namespace gantry::drivers::nft
