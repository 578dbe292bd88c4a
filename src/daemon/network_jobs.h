// The jobs that change networks. Handlers: daemon/network_jobs.cc.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "daemon/api/container_config.h"

namespace gantry::daemon {

// One entry of IPAM.Config, as in the API.
struct IpamEntry {
  std::string Subnet, IPRange, Gateway;
  std::map<std::string, std::string> AuxiliaryAddresses;
};
struct IpamBody {
  std::string Driver = "default";
  std::vector<IpamEntry> Config;
  api::StringMap Options;
};

struct ConfigReference {
  std::string Network;
};

struct NetworkCreate {
  static constexpr std::string_view kName = "network.create";
  struct Input {  // the body of POST /networks/create
    std::string Name;
    std::string Driver = "bridge";
    std::string Scope;
    bool Internal = false, Attachable = false, Ingress = false, ConfigOnly = false;
    std::optional<bool> EnableIPv4, EnableIPv6;
    ConfigReference ConfigFrom;  // a network that was made with ConfigOnly
    IpamBody ipam;
    api::StringMap Options, Labels;
  };
  struct Output {
    std::string Id;
    std::string Warning;
  };
};
struct NetworkRemove {
  static constexpr std::string_view kName = "network.remove";
  struct Input {
    std::string network;  // name, id or a prefix of the id
  };
  struct Output {
    bool ok = true;
  };
};
struct NetworkPrune {
  static constexpr std::string_view kName = "network.prune";
  struct Input {
    std::map<std::string, api::Strings> filters;
  };
  struct Output {
    api::Strings NetworksDeleted;
  };
};
// Handlers of these two: daemon/containers_networks.cc, since they change a container's record.
struct NetworkConnect {
  static constexpr std::string_view kName = "network.connect";
  struct Input {
    std::string network;  // name, id or a prefix of the id; the same goes for the container
    std::string Container;
    api::EndpointSettings EndpointConfig;
  };
  struct Output {
    bool ok = true;
  };
};
struct NetworkDisconnect {
  static constexpr std::string_view kName = "network.disconnect";
  struct Input {
    std::string network;
    std::string Container;
    bool Force = false;  // also of a network that is gone, or a container that does not answer
  };
  struct Output {
    bool ok = true;
  };
};
// At start-up: the networks "bridge", "host" and "none" exist, and every network is real (after a
// reboot its bridge is gone).
struct NetworkRestore {
  static constexpr std::string_view kName = "network.restore";
  struct Input {
    bool ok = true;
  };
  struct Output {
    bool ok = true;
  };
};

}  // namespace gantry::daemon

namespace gantry::json {

template <>
struct Schema<daemon::IpamEntry> {
  using T = daemon::IpamEntry;
  static constexpr Field fields[] = {
      field<&T::Subnet>("Subnet", kOmitEmpty), field<&T::IPRange>("IPRange", kOmitEmpty),
      field<&T::Gateway>("Gateway", kOmitEmpty),
      field<&T::AuxiliaryAddresses>("AuxiliaryAddresses", kOmitEmpty)};
};
template <>
struct Schema<daemon::IpamBody> {
  using T = daemon::IpamBody;
  static constexpr Field fields[] = {field<&T::Driver>("Driver"),
                                     field<&T::Options>("Options", kNullEmpty),
                                     field<&T::Config>("Config")};
};
template <>
struct Schema<daemon::ConfigReference> {
  static constexpr Field fields[] = {field<&daemon::ConfigReference::Network>("Network")};
};
template <>
struct Schema<daemon::NetworkCreate::Input> {
  using T = daemon::NetworkCreate::Input;
  static constexpr Field fields[] = {field<&T::Name>("Name"),
                                     field<&T::Driver>("Driver"),
                                     field<&T::Scope>("Scope"),
                                     field<&T::Internal>("Internal"),
                                     field<&T::Attachable>("Attachable"),
                                     field<&T::Ingress>("Ingress"),
                                     field<&T::ConfigOnly>("ConfigOnly"),
                                     field<&T::ConfigFrom>("ConfigFrom"),
                                     field<&T::EnableIPv4>("EnableIPv4"),
                                     field<&T::EnableIPv6>("EnableIPv6"),
                                     field<&T::ipam>("IPAM"),
                                     field<&T::Options>("Options"),
                                     field<&T::Labels>("Labels")};
};
template <>
struct Schema<daemon::NetworkCreate::Output> {
  using T = daemon::NetworkCreate::Output;
  static constexpr Field fields[] = {field<&T::Id>("Id"), field<&T::Warning>("Warning")};
};
template <>
struct Schema<daemon::NetworkRemove::Input> {
  static constexpr Field fields[] = {field<&daemon::NetworkRemove::Input::network>("network")};
};
template <>
struct Schema<daemon::NetworkRemove::Output> {
  static constexpr Field fields[] = {field<&daemon::NetworkRemove::Output::ok>("ok")};
};
template <>
struct Schema<daemon::NetworkPrune::Input> {
  static constexpr Field fields[] = {field<&daemon::NetworkPrune::Input::filters>("filters")};
};
template <>
struct Schema<daemon::NetworkPrune::Output> {
  static constexpr Field fields[] = {
      field<&daemon::NetworkPrune::Output::NetworksDeleted>("NetworksDeleted", kNullEmpty)};
};
template <>
struct Schema<daemon::NetworkConnect::Input> {
  using T = daemon::NetworkConnect::Input;
  static constexpr Field fields[] = {field<&T::network>("network"),
                                     field<&T::Container>("Container"),
                                     field<&T::EndpointConfig>("EndpointConfig")};
};
template <>
struct Schema<daemon::NetworkConnect::Output> {
  static constexpr Field fields[] = {field<&daemon::NetworkConnect::Output::ok>("ok")};
};
template <>
struct Schema<daemon::NetworkDisconnect::Input> {
  using T = daemon::NetworkDisconnect::Input;
  static constexpr Field fields[] = {field<&T::network>("network"),
                                     field<&T::Container>("Container"), field<&T::Force>("Force")};
};
template <>
struct Schema<daemon::NetworkDisconnect::Output> {
  static constexpr Field fields[] = {field<&daemon::NetworkDisconnect::Output::ok>("ok")};
};
template <>
struct Schema<daemon::NetworkRestore::Input> {
  static constexpr Field fields[] = {field<&daemon::NetworkRestore::Input::ok>("ok")};
};
template <>
struct Schema<daemon::NetworkRestore::Output> {
  static constexpr Field fields[] = {field<&daemon::NetworkRestore::Output::ok>("ok")};
};

}  // namespace gantry::json
