#include "drivers/network/services.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>

#include "base/sys.h"
#include "drivers/network/conntrack.h"

namespace gantry::drivers {

std::string port_row_name(const PortMapping& mapping) {
  return fmt::format("{}/{}", to_string(mapping.protocol),
                     host_port_text(mapping.host_ip, mapping.host_port));
}

std::string address_row_name(const std::string& network_id, const IpAddress& address) {
  return network_id + "/" + address.to_string();
}

Status NetworkServices::forget_flows(std::span<const PortMapping> mappings) const {
  if (std::none_of(mappings.begin(), mappings.end(),
                   [](const PortMapping& m) { return m.protocol == Protocol::udp; }))
    return {};
  NetlinkSocket socket = TRY(NetlinkSocket::open(NETLINK_NETFILTER));
  return drivers::forget_flows(socket, mappings);
}

namespace {

// /proc/sys/net shows the network namespace of the thread that opens it. What is opened must be
// procfs, not something mounted over it.
Result<UniqueFd> open_sysctl(const std::string& name, int flags) {
  std::string path = "/proc/sys/" + name;
  if (name.find('/') == std::string::npos) std::replace(path.begin() + 10, path.end(), '.', '/');
  UniqueFd fd = TRY(sys::open(path, flags));
  struct statfs info;
  if (::fstatfs(fd.get(), &info) != 0) return errno_error(errno, "statfs {}", path);
  if (info.f_type != PROC_SUPER_MAGIC) return internal("{}: not a file of procfs", path);
  return fd;
}

}  // namespace

Result<std::string> read_sysctl(const std::string& name) {
  UniqueFd fd = TRY(open_sysctl(name, O_RDONLY));
  std::string text = TRY(sys::read_all(fd.get(), 4096));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Status write_sysctl(const std::string& name, std::string_view value) {
  UniqueFd fd = TRY(open_sysctl(name, O_WRONLY));
  return sys::write_all(fd.get(), value).context("set {} to {}", name, value);
}

}  // namespace gantry::drivers
