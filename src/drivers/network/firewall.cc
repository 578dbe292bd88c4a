#include "drivers/network/firewall.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/sys.h"

namespace gantry::drivers {

namespace {

using nft::kReg0;

constexpr uint8_t kFamily = NFPROTO_INET;
constexpr uint32_t kOwned = NFT_TABLE_F_OWNER | nft::kTablePersist;
constexpr size_t kElementsInOneBatch = 500;  // keeps a batch below the socket's send buffer

// Offsets in the headers: RFC 791, RFC 8200, RFC 9293 (the port is in the same place for UDP and
// SCTP).
constexpr uint32_t kDestination4 = 16, kSource4 = 12, kDestination6 = 24, kSource6 = 8;
constexpr uint32_t kDestinationPort = 2;
constexpr std::string_view kLoopbackNet("\x7f", 1);

const char* kBridges = "bridges";   // ifname: every bridge of this instance
const char* kSame = "same_bridge";  // ifname . ifname: (b, b) for each with icc
const char* kInternal = "internal";

const char* masquerade_set(IpFamily family) {
  return family == IpFamily::v4 ? "masquerade4" : "masquerade6";
}
const char* routed_set(IpFamily family) { return family == IpFamily::v4 ? "routed4" : "routed6"; }
// address . protocol . port of containers whose addresses are routed
const char* open_set(IpFamily family) { return family == IpFamily::v4 ? "open4" : "open6"; }

const char* subnets_set(IpFamily family) {
  return family == IpFamily::v4 ? "subnets4" : "subnets6";
}

// The maps of published ports, by family and by whether the host address is part of the key.
const char* port_map(IpFamily family, bool any_address) {
  if (family == IpFamily::v4) return any_address ? "ports4_any" : "ports4";
  return any_address ? "ports6_any" : "ports6";
}

// The element that a published port stands for.
struct PortElement {
  const char* set;
  std::string key, data;
};
PortElement port_element(const PortRule& port) {
  nft::Fields key, data;
  const IpFamily family = port.to.family();
  if (port.routed) {
    key.address(port.to).byte(static_cast<uint8_t>(port.protocol)).port(port.to_port);
    return {open_set(family), std::string(key.data()), {}};
  }
  if (!port.host_ip.is_unspecified()) key.address(port.host_ip);
  key.byte(static_cast<uint8_t>(port.protocol)).port(port.host_port);
  data.address(port.to).port(port.to_port);
  return {port_map(family, port.host_ip.is_unspecified()), std::string(key.data()),
          std::string(data.data())};
}

void add_port(nft::Transaction& change, const PortRule& port) {
  const PortElement element = port_element(port);
  change.add_element(element.set, element.key, element.data, port.comment);
}
void delete_port(nft::Transaction& change, const PortRule& port) {
  const PortElement element = port_element(port);
  change.delete_element(element.set, element.key);
}

// Every element a bridge stands for, added or deleted.
struct BridgeElement {
  const char* set;
  std::string key;
  std::string end = {};  // of an interval, exclusive
  bool is_interval = false;
};
std::vector<BridgeElement> bridge_elements(const BridgeRules& bridge) {
  nft::Fields name, pair;
  name.ifname(bridge.link);
  pair.ifname(bridge.link).ifname(bridge.link);
  std::vector<BridgeElement> out = {{kBridges, std::string(name.data())}};
  if (bridge.icc) out.push_back({kSame, std::string(pair.data())});
  for (const auto& [family, routed] :
       {std::pair(IpFamily::v4, bridge.routed4), std::pair(IpFamily::v6, bridge.routed6)}) {
    if (bridge.internal) continue;
    if (routed)
      out.push_back({routed_set(family), std::string(name.data())});
    else if (bridge.masquerade)
      out.push_back({masquerade_set(family), std::string(name.data())});
  }
  if (bridge.internal) out.push_back({kInternal, std::string(name.data())});
  for (const Cidr& subnet : bridge.subnets) {
    nft::Fields first, end;
    first.address(subnet.first());
    const IpAddress after = IpAddress::from_number(subnet.family(), subnet.last().number() + 1);
    if (subnet.last().number() != Cidr(subnet.first(), 0).last().number()) end.address(after);
    out.push_back(
        {subnets_set(subnet.family()), std::string(first.data()), std::string(end.data()), true});
  }
  return out;
}
void add_bridge_elements(nft::Transaction& change, const BridgeRules& bridge) {
  for (const BridgeElement& element : bridge_elements(bridge)) {
    if (element.is_interval)
      change.add_interval(element.set, element.key, element.end);
    else
      change.add_element(element.set, element.key);
  }
}

void add_sets(nft::Transaction& change) {
  namespace type = nft::type;
  const uint32_t proto_port = type::concat(type::kProto, type::kPort);
  change.add_set({kBridges, type::kIfname, 16});
  change.add_set({kSame, type::concat(type::kIfname, type::kIfname), 32});
  change.add_set({kInternal, type::kIfname, 16});
  for (const auto& [family, address_type, size] :
       {std::tuple{IpFamily::v4, type::kIpv4, 4u}, std::tuple{IpFamily::v6, type::kIpv6, 16u}}) {
    const uint32_t data_type = type::concat(address_type, type::kPort);
    change.add_set({masquerade_set(family), type::kIfname, 16});
    change.add_set({routed_set(family), type::kIfname, 16});
    change.add_set({open_set(family),
                    type::concat(type::concat(address_type, type::kProto), type::kPort), size + 8});
    change.add_set({subnets_set(family), address_type, size, 0, 0, nft::SetSpec::Kind::interval});
    change.add_set({port_map(family, false),
                    type::concat(type::concat(address_type, type::kProto), type::kPort), size + 8,
                    data_type, size + 4});
    change.add_set({port_map(family, true), proto_port, 8, data_type, size + 4});
  }
}

void add_chains(nft::Transaction& change) {
  change.add_chain({"guard", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW});
  change.add_chain({"prerouting", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST});
  change.add_chain({"output", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST});
  change.add_chain({"postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC});
  change.add_chain({"forward", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER});
}

// Looks the packet's destination up in both maps of a family and translates it.
void add_translation(nft::Transaction& change, const std::string& chain, IpFamily family) {
  const uint32_t offset = family == IpFamily::v4 ? kDestination4 : kDestination6;
  const uint32_t size = family == IpFamily::v4 ? 4 : 16;
  const uint32_t words = size / 4;
  change.add_rule(chain, "published on one address", [&](nft::Rule& rule) {
    rule.family(family)
        .network_payload(offset, size, kReg0)
        .meta(NFT_META_L4PROTO, kReg0 + words)
        .transport_payload(kDestinationPort, 2, kReg0 + words + 1)
        .map(port_map(family, false), kReg0, kReg0)
        .dnat(family, kReg0, kReg0 + words);
  });
  change.add_rule(chain, "published on every address", [&](nft::Rule& rule) {
    const uint32_t local = 2;  // RTN_LOCAL
    rule.family(family)
        .fib_address_type()
        .equals({reinterpret_cast<const char*>(&local), 4})
        .meta(NFT_META_L4PROTO, kReg0)
        .transport_payload(kDestinationPort, 2, kReg0 + 1)
        .map(port_map(family, true), kReg0, kReg0)
        .dnat(family, kReg0, kReg0 + words);
  });
}

void add_nat_rules(nft::Transaction& change) {
  // What is published on 127.0.0.1 is for the host alone: its own packets come through `output`.
  change.add_rule("prerouting", "loopback is the host's own", [](nft::Rule& rule) {
    rule.family(IpFamily::v4)
        .network_payload(kDestination4, 1)
        .equals(kLoopbackNet)
        .verdict(NF_ACCEPT);
  });
  add_translation(change, "prerouting", IpFamily::v4);
  add_translation(change, "prerouting", IpFamily::v6);
  // The kernel does not route a packet from ::1 to another host, so it must not be translated.
  change.add_rule("output", "no way out of ::1", [](nft::Rule& rule) {
    const std::string loopback = std::string(15, '\0') + '\1';
    rule.family(IpFamily::v6)
        .network_payload(kDestination6, 16)
        .equals(loopback)
        .verdict(NF_ACCEPT);
  });
  add_translation(change, "output", IpFamily::v4);
  add_translation(change, "output", IpFamily::v6);

  // A container that reaches a published port of its own network: the answer must come back through
  // us. Its interface is not asked for, since with bridge-nf-call-iptables the bridge calls us
  // without one.
  for (const auto& [family, offset, size] :
       {std::tuple{IpFamily::v4, kSource4, 4u}, std::tuple{IpFamily::v6, kSource6, 16u}}) {
    change.add_rule("postrouting", "hairpin", [&](nft::Rule& rule) {
      rule.meta(NFT_META_OIFNAME)
          .in_set(kBridges)
          .ct_status(IPS_DST_NAT)
          .family(family)
          .network_payload(offset, size)
          .in_set(subnets_set(family))
          .masquerade();
    });
  }
  change.add_rule("postrouting", "within a bridge", [](nft::Rule& rule) {
    rule.meta(NFT_META_IIFNAME, kReg0)
        .meta(NFT_META_OIFNAME, kReg0 + 4)
        .in_set(kSame)
        .verdict(NF_ACCEPT);
  });
  for (const IpFamily family : {IpFamily::v4, IpFamily::v6}) {
    change.add_rule("postrouting", "out of a bridge", [&](nft::Rule& rule) {
      rule.family(family).meta(NFT_META_IIFNAME).in_set(masquerade_set(family)).masquerade();
    });
  }
  change.add_rule("postrouting", "the host by its loopback address", [](nft::Rule& rule) {
    rule.family(IpFamily::v4)
        .network_payload(kSource4, 1)
        .equals(kLoopbackNet)
        .meta(NFT_META_OIFNAME)
        .in_set(kBridges)
        .masquerade();
  });
}

void add_filter_rules(nft::Transaction& change) {
  for (const uint32_t offset : {kDestination4, kSource4}) {
    change.add_rule("guard", "no loopback from a bridge", [&](nft::Rule& rule) {
      rule.family(IpFamily::v4)
          .network_payload(offset, 1)
          .equals(kLoopbackNet)
          .meta(NFT_META_IIFNAME)
          .in_set(kBridges)
          .verdict(NF_DROP);
    });
  }
  change.add_rule("forward", "within a bridge", [](nft::Rule& rule) {
    rule.meta(NFT_META_IIFNAME, kReg0)
        .meta(NFT_META_OIFNAME, kReg0 + 4)
        .in_set(kSame)
        .verdict(NF_ACCEPT);
  });
  for (const uint32_t key : {NFT_META_IIFNAME, NFT_META_OIFNAME})
    change.add_rule("forward", "internal networks stay inside",
                    [&](nft::Rule& rule) { rule.meta(key).in_set(kInternal).verdict(NF_DROP); });
  change.add_rule("forward", "answers and what belongs to them", [](nft::Rule& rule) {
    const uint32_t established = 1u << 1, related = 1u << 2;  // NF_CT_STATE_BIT
    rule.meta(NFT_META_OIFNAME).in_set(kBridges).ct_state(established | related).verdict(NF_ACCEPT);
  });
  change.add_rule("forward", "published ports", [](nft::Rule& rule) {
    rule.meta(NFT_META_OIFNAME).in_set(kBridges).ct_status(IPS_DST_NAT).verdict(NF_ACCEPT);
  });
  for (const auto& [family, offset, size, icmp] :
       {std::tuple{IpFamily::v4, kDestination4, 4u, static_cast<int>(IPPROTO_ICMP)},
        std::tuple{IpFamily::v6, kDestination6, 16u, static_cast<int>(IPPROTO_ICMPV6)}}) {
    const std::string protocol(1, static_cast<char>(icmp));
    change.add_rule("forward", "open ports of routed addresses", [&](nft::Rule& rule) {
      rule.meta(NFT_META_OIFNAME)
          .in_set(routed_set(family))
          .family(family)
          .network_payload(offset, size, kReg0)
          .meta(NFT_META_L4PROTO, kReg0 + size / 4)
          .transport_payload(kDestinationPort, 2, kReg0 + size / 4 + 1)
          .in_set(open_set(family))
          .verdict(NF_ACCEPT);
    });
    change.add_rule("forward", "echo requests to routed addresses", [&](nft::Rule& rule) {
      rule.meta(NFT_META_OIFNAME)
          .in_set(routed_set(family))
          .family(family)
          .meta(NFT_META_L4PROTO)
          .equals(protocol)
          .verdict(NF_ACCEPT);
    });
  }
  change.add_rule("forward", "nothing else enters a bridge", [](nft::Rule& rule) {
    rule.meta(NFT_META_OIFNAME).in_set(kBridges).verdict(NF_DROP);
  });
}

bool is_missing(const Error& error) { return error.code() == ENOENT; }

}  // namespace

Result<std::unique_ptr<Firewall>> Firewall::open(const std::string& instance_id) {
  std::unique_ptr<Firewall> firewall(new Firewall(instance_id));
  firewall->socket_ = TRY(NetlinkSocket::open(NETLINK_NETFILTER));
  auto tables = nft::list_tables(*firewall->socket_);
  if (!tables)
    return std::move(tables)
        .error()
        .context("this kernel has no nf_tables (CONFIG_NF_TABLES; modprobe nf_tables)")
        .with_kind(ErrorKind::unsupported);
  return firewall;
}

Firewall::~Firewall() {
  if (watcher_.joinable()) {
    const uint64_t one = 1;
    (void)sys::write(watch_stop_.get(), &one, sizeof one);
    watcher_.join();
  }
}

void Firewall::remember(std::vector<BridgeRules> bridges, std::vector<PortRule> ports) {
  std::lock_guard lock(mutex_);
  bridges_.clear();
  ports_.clear();
  for (BridgeRules& bridge : bridges) bridges_.insert_or_assign(bridge.link, std::move(bridge));
  for (PortRule& port : ports) ports_.insert_or_assign(port.key(), std::move(port));
}

Status Firewall::install(std::vector<BridgeRules> bridges, std::vector<PortRule> ports) {
  remember(std::move(bridges), std::move(ports));
  std::lock_guard lock(mutex_);
  return write_all();
}

// Chains and rules first, in one transaction with as many elements as fit; the rest follows. A port
// that is still missing for that moment is not translated and is refused by the host.
Status Firewall::install_with(uint32_t flags) {
  nft::Transaction change(kFamily, table_);
  change.add_table(flags);  // takes over what a dead owner left
  change.delete_table();
  change.add_table(flags);
  add_sets(change);
  add_chains(change);
  add_nat_rules(change);
  add_filter_rules(change);
  for (const auto& [link, bridge] : bridges_) add_bridge_elements(change, bridge);
  auto port = ports_.begin();
  for (size_t n = 0; port != ports_.end() && n < kElementsInOneBatch; ++port, ++n)
    add_port(change, port->second);
  TRY(change.commit(*socket_));
  while (port != ports_.end()) {
    nft::Transaction more(kFamily, table_);
    for (size_t n = 0; port != ports_.end() && n < kElementsInOneBatch; ++port, ++n)
      add_port(more, port->second);
    TRY(more.commit(*socket_));
  }
  return {};
}

Status Firewall::write_all() {
  TRY(failpoint("network.firewall"));
  // A table keeps its kind, since `persist` cannot be changed. The kernel takes `owner` from one
  // whose owner died and leaves `persist`: that one can be taken over.
  bool plain = false;
  for (const nft::TableInfo& table : TRY(nft::list_tables(*socket_)))
    if (table.family == kFamily && table.name == table_) plain = !(table.flags & kOwned);
  Status status;
  if (!plain) {
    status = install_with(kOwned);
    if (status) ownership_ = Ownership::owned;
    if (!status && status.error().code() == EPERM)
      return std::move(status)
          .error()
          .context("another process owns the nftables table " + table_)
          .with_kind(ErrorKind::conflict);
    const bool too_old =
        !status && (status.error().code() == EOPNOTSUPP || status.error().code() == EINVAL);
    if (too_old) plain = true;
  }
  if (plain) {
    status = install_with(0);
    ownership_ = Ownership::plain;
  }
  TRY(std::move(status).context("set up the firewall"));
  installed_ = true;
  if (ownership_ == Ownership::plain && !watcher_.joinable()) {
    NetlinkSocket events = TRY(NetlinkSocket::open(NETLINK_NETFILTER));
    const int group = NFNLGRP_NFTABLES;
    if (::setsockopt(events.fd(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
      return errno_error(errno, "listen for changes of nftables");
    watch_stop_ = TRY(sys::eventfd(0));
    watcher_ = std::thread([this, events = std::move(events)]() mutable {
      pollfd fds[2] = {{events.fd(), POLLIN, 0}, {watch_stop_.get(), POLLIN, 0}};
      while (sys::retry([&] { return ::poll(fds, 2, -1); }) > 0 && !(fds[1].revents & POLLIN)) {
        (void)events.receive();  // an overrun (ENOBUFS) means: something changed
        auto there = has_table();
        if (!there || *there) continue;
        std::lock_guard lock(mutex_);
        if (!installed_) continue;
        log::warn("the nftables table {} was removed by someone else; putting it back", table_);
        log::ignored("put the firewall back", write_all(), log::Level::error);
      }
    });
  }
  return {};
}

bool Firewall::installed() const {
  std::lock_guard lock(mutex_);
  return installed_;
}

Status Firewall::remove() {
  std::lock_guard lock(mutex_);
  installed_ = false;
  for (const nft::TableInfo& table : TRY(nft::list_tables(*socket_))) {
    if (table.family != kFamily || table.name != table_) continue;
    nft::Transaction change(kFamily, table_);
    change.add_table(table.flags & kOwned ? kOwned : 0);  // takes over what a dead owner left
    change.delete_table();
    TRY(change.commit(*socket_).context("remove the firewall"));
  }
  return {};
}

Status Firewall::add_bridge(const BridgeRules& bridge) {
  std::lock_guard lock(mutex_);
  const bool known = bridges_.contains(bridge.link);
  bridges_.insert_or_assign(bridge.link, bridge);
  // What stands already, perhaps with other rules, is written anew with the whole.
  if (!installed_ || known) return write_all();
  nft::Transaction change(kFamily, table_);
  add_bridge_elements(change, bridge);
  Status status = change.commit(*socket_);
  // Flushed a moment ago, or what a bridge of that name left.
  if (!status && (is_missing(status.error()) || status.error().code() == EEXIST))
    return write_all();
  return status;
}

Status Firewall::remove_bridge(const std::string& link) {
  std::lock_guard lock(mutex_);
  const auto bridge = bridges_.find(link);
  if (bridge == bridges_.end()) return {};
  const std::vector<BridgeElement> elements = bridge_elements(bridge->second);
  bridges_.erase(bridge);
  if (!installed_) return {};
  nft::Transaction change(kFamily, table_);
  for (const BridgeElement& element : elements) {
    if (element.is_interval)
      change.delete_interval(element.set, element.key, element.end);
    else
      change.delete_element(element.set, element.key);
  }
  Status status = change.commit(*socket_);
  if (!status && is_missing(status.error())) return write_all();
  return status;
}

Status Firewall::publish(const std::vector<PortRule>& ports) {
  if (ports.empty()) return {};
  std::lock_guard lock(mutex_);
  struct Step {
    PortRule rule;
    bool replaces = false;  // an element that leads elsewhere
  };
  std::vector<Step> steps;
  for (const PortRule& port : ports) {
    const auto known = ports_.find(port.key());
    if (known == ports_.end()) {
      steps.push_back({port});
    } else if (known->second.to != port.to || known->second.to_port != port.to_port) {
      steps.push_back({port, true});
    }
    ports_.insert_or_assign(port.key(), port);
  }
  if (!installed_) return write_all();
  for (size_t at = 0; at < steps.size(); at += kElementsInOneBatch) {
    nft::Transaction change(kFamily, table_);
    for (size_t i = at; i < std::min(steps.size(), at + kElementsInOneBatch); ++i) {
      const PortRule& port = steps[i].rule;
      if (steps[i].replaces) delete_port(change, port);
      add_port(change, port);
    }
    Status status = change.commit(*socket_);
    if (status) continue;
    // Flushed a moment ago, or an element of ours that nobody remembers is in the way.
    const int code = status.error().code();
    if (is_missing(status.error()) || code == EEXIST || code == EBUSY) return write_all();
    for (const PortRule& port : ports) ports_.erase(port.key());
    return status;
  }
  return {};
}

Status Firewall::unpublish(const std::vector<PortRule>& ports) {
  std::lock_guard lock(mutex_);
  std::vector<PortRule> standing;
  for (const PortRule& port : ports)
    if (ports_.erase(port.key()) > 0) standing.push_back(port);
  if (standing.empty() || !installed_) return {};
  const auto remove = [&](std::span<const PortRule> some) {
    nft::Transaction change(kFamily, table_);
    for (const PortRule& port : some) delete_port(change, port);
    return change.commit(*socket_);
  };
  for (size_t at = 0; at < standing.size(); at += kElementsInOneBatch) {
    const std::span<const PortRule> some(&standing[at],
                                         std::min(kElementsInOneBatch, standing.size() - at));
    Status status = remove(some);
    if (status) continue;
    if (!is_missing(status.error())) return status;
    for (const PortRule& port : some) {  // one of them is gone already: each on its own
      status = remove({&port, 1});
      if (!status && !is_missing(status.error())) return status;
    }
  }
  return {};
}

Result<bool> Firewall::has_port(const PortRule& port) {
  std::lock_guard lock(mutex_);
  const PortElement element = port_element(port);
  Status status = nft::get_element(*socket_, kFamily, table_, element.set, element.key);
  if (status) return true;
  if (is_missing(status.error())) return false;
  return std::move(status).error();
}

Result<bool> Firewall::has_table() {
  std::lock_guard lock(mutex_);
  for (const nft::TableInfo& table : TRY(nft::list_tables(*socket_)))
    if (table.family == kFamily && table.name == table_) return true;
  return false;
}

}  // namespace gantry::drivers
