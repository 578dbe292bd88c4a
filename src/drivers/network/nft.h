// nf_tables messages: tables, chains, sets, elements and rules, built straight into a netlink
// batch. Only the expressions that our firewall is made of. Sources: linux/netfilter/nf_tables.h,
// nft --debug=netlink.
#pragma once

#include <net/if.h>  // before the kernel headers, which give way to libc
#include <netinet/in.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/netlink.h"
#include "drivers/network/ip_address.h"

namespace gantry::drivers::nft {

// Since Linux 6.9; an owned table that outlives its owner. Not in older headers.
inline constexpr uint32_t kTablePersist = 0x4;

// The registers that rules load into: sixteen of 32 bits.
inline constexpr uint32_t kReg0 = NFT_REG32_00;

// What nft(8) calls the types of keys and data, so that `nft list table` shows them right; a
// concatenation is (a << 6 | b).
namespace type {
inline constexpr uint32_t kIpv4 = 7, kIpv6 = 8, kProto = 12, kPort = 13, kIfname = 41;
constexpr uint32_t concat(uint32_t a, uint32_t b) { return a << 6 | b; }
}  // namespace type

struct SetSpec {
  std::string name;
  uint32_t key_type = 0;
  uint32_t key_size = 0;
  uint32_t data_type = 0;  // with data_size > 0: a map
  uint32_t data_size = 0;
  enum class Kind { exact, interval } kind = Kind::exact;
};

struct ChainSpec {
  std::string name;
  std::string type;   // "filter", "nat"
  uint32_t hook = 0;  // NF_INET_*
  int32_t priority = 0;
};

// Fields of a concatenated key or of map data: each is padded to a multiple of four bytes.
class Fields {
 public:
  Fields& address(const IpAddress& address);
  Fields& byte(uint8_t value);
  Fields& port(uint16_t value);
  Fields& ifname(std::string_view name);
  std::string_view data() const { return data_; }

 private:
  void put(const void* data, size_t size);
  std::string data_;
};

// Expressions of one rule, in order. Registers: a load puts its value at `reg` and the following.
class Rule {
 public:
  explicit Rule(NetlinkBatch& batch) : batch_(&batch) {}
  Rule& meta(uint32_t key, uint32_t reg = kReg0);
  Rule& network_payload(uint32_t offset, uint32_t size, uint32_t reg = kReg0);
  Rule& transport_payload(uint32_t offset, uint32_t size, uint32_t reg = kReg0);
  Rule& fib_address_type(uint32_t reg = kReg0);  // of the destination
  Rule& ct(uint32_t key, uint32_t reg = kReg0);
  Rule& mask(std::string_view mask, uint32_t reg = kReg0);
  Rule& equals(std::string_view value, uint32_t reg = kReg0);
  Rule& differs(std::string_view value, uint32_t reg = kReg0);
  Rule& in_set(const std::string& set, uint32_t reg = kReg0);
  Rule& map(const std::string& map, uint32_t reg, uint32_t into);
  Rule& load(std::string_view value, uint32_t reg);  // a constant
  Rule& dnat(IpFamily family, uint32_t address_reg, uint32_t port_reg);
  Rule& masquerade();
  Rule& verdict(int32_t code);  // NF_ACCEPT, NF_DROP, NFT_RETURN
  Rule& jump(const std::string& chain);

  // Common beginnings.
  Rule& family(IpFamily family);
  Rule& iifname(std::string_view name);
  Rule& not_iifname(std::string_view name);
  Rule& ct_status(uint32_t bits);  // any of them
  Rule& ct_state(uint32_t bits);

 private:
  void expression(std::string_view name, const std::function<void()>& fill);
  void payload(uint32_t base, uint32_t offset, uint32_t size, uint32_t reg);
  void compare(uint32_t op, std::string_view value, uint32_t reg);
  Rule& bits_of(uint32_t bits);
  NetlinkBatch* batch_;
};

// One transaction on one table: all of it or nothing.
class Transaction {
 public:
  Transaction(uint8_t family, std::string table);

  // Without `flags` an existing table stays as it is.
  void add_table(uint32_t flags);
  void delete_table();
  void add_chain(const ChainSpec& spec);
  void add_plain_chain(const std::string& name);
  void add_set(const SetSpec& spec);
  // An existing element with the same data is left alone; with other data it is an error (EEXIST).
  void add_element(const std::string& set, std::string_view key, std::string_view data = {},
                   std::string_view comment = {});
  void delete_element(const std::string& set, std::string_view key);
  // An interval [first, end) of an interval set; an empty `end` reaches to the last value.
  void add_interval(const std::string& set, std::string_view first, std::string_view end);
  void delete_interval(const std::string& set, std::string_view first, std::string_view end);
  void add_rule(const std::string& chain, std::string_view comment,
                const std::function<void(Rule&)>& fill);

  // At the head of the chain.
  void insert_rule(const std::string& chain, std::string_view comment,
                   const std::function<void(Rule&)>& fill);
  void delete_rule(const std::string& chain, uint64_t handle);

  size_t changes() const { return batch_.count() - 1; }
  const NetlinkBatch& batch() const { return batch_; }
  // Closes the batch and sends it. To be called once.
  Status commit(NetlinkSocket& socket);

 private:
  void begin(uint16_t type, uint16_t flags, std::string what);
  void rule(uint16_t flags, const std::string& chain, std::string_view comment,
            const std::function<void(Rule&)>& fill);
  void element(uint16_t type, uint16_t flags, const std::string& set, std::string_view key,
               std::string_view data, std::string_view comment);
  void interval(uint16_t type, uint16_t flags, const std::string& set, std::string_view first,
                std::string_view end);

  uint8_t family_;
  std::string table_;
  uint32_t set_id_ = 0;
  NetlinkBatch batch_;
};

// Asks for one element. not_found (ENOENT) when set or element are not there.
Status get_element(NetlinkSocket& socket, uint8_t family, const std::string& table,
                   const std::string& set, std::string_view key);
struct TableInfo {
  uint8_t family = 0;
  std::string name;
  uint32_t flags = 0;
  uint32_t owner = 0;  // port id of the owning socket; 0: none
};
Result<std::vector<TableInfo>> list_tables(NetlinkSocket& socket);

struct ChainInfo {
  uint8_t family = 0;
  std::string table, name;
  uint32_t hook = 0xffffffff;  // of a base chain
  uint32_t policy = NF_ACCEPT;
};
Result<std::vector<ChainInfo>> list_chains(NetlinkSocket& socket);
struct RuleInfo {
  uint64_t handle = 0;
  std::string comment;
};
// Empty, or not_found (ENOENT), when the table or the chain is not there.
Result<std::vector<RuleInfo>> list_rules(NetlinkSocket& socket, uint8_t family,
                                         const std::string& table, const std::string& chain);

}  // namespace gantry::drivers::nft
