// Links of the default network (`--link`): there are no names on it, so what a container is told of
// another is in its /etc/hosts and its environment, as Docker writes them. On other networks a link
// is a name for the DNS server (EndpointSettings::Links).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "daemon/container_record.h"

namespace gantry::daemon {

struct ContainerLink {
  std::string container;  // as it was written
  std::string alias;
};
// "db", "db:alias", "/db:/web/alias"; kind invalid for anything else.
Result<ContainerLink> parse_link(std::string_view text);

// "172.17.0.2\talias 1f2e3d4c5b6a db", a line of the other's hosts file; conflict when `other` is
// not connected to the default network.
Result<std::string> link_hosts_line(const ContainerLink& link, const ContainerRecord& other);
// DB_NAME=/web/db, DB_PORT=tcp://172.17.0.2:5432, DB_PORT_5432_TCP_ADDR=…, DB_ENV_NAME=….
std::vector<std::string> link_environment(const ContainerLink& link, const std::string& own_name,
                                          const ContainerRecord& other);

}  // namespace gantry::daemon
