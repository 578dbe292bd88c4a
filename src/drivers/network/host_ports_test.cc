#include "drivers/network/host_ports.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

namespace gantry::drivers {
namespace {

const IpAddress kLoopback = *IpAddress::parse("127.0.0.1");
const IpAddress kAny = IpAddress::v4(0);

UniqueFd tcp() {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return fd;
}
sockaddr_in at(uint16_t port) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return in;
}
bool can_bind(uint16_t port) {
  UniqueFd fd = tcp();
  const sockaddr_in in = at(port);
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in) == 0;
}

PortRequest any_port(Protocol protocol = Protocol::tcp) {
  PortRequest request;
  request.protocol = protocol;
  request.container_port = 80;
  return request;
}

TEST(HoldPort, ExcludesOthersEvenWithReuseAddressAndRefusesConnections) {
  auto held = hold_port(Protocol::tcp, kLoopback, 0);
  ASSERT_TRUE(held) << held.error().message();
  EXPECT_FALSE(can_bind(held->second));
  UniqueFd client = tcp();
  const sockaddr_in in = at(held->second);
  EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  held->first.reset();
  EXPECT_TRUE(can_bind(in.sin_port ? ntohs(in.sin_port) : 0));
}

TEST(HostPorts, TellsOurOwnConflictFromAnotherProcess) {
  HostPorts ports;
  const IpAddress loopback[] = {kLoopback};
  auto first = ports.reserve(any_port(), loopback, "172.17.0.2");
  ASSERT_TRUE(first) << first.error().message();
  PortRequest same = any_port();
  same.host_port = (*first)[0].host_port;
  const IpAddress any[] = {kAny};
  auto ours = ports.reserve(same, any, "172.17.0.3");
  ASSERT_FALSE(ours);
  EXPECT_EQ(ours.error().kind(), ErrorKind::conflict);
  EXPECT_EQ(ours.error().message(),
            fmt::format("Bind for 0.0.0.0:{} failed: port is already allocated", same.host_port));

  HostPorts other_process;
  auto theirs = other_process.reserve(same, loopback, "172.17.0.3");
  ASSERT_FALSE(theirs);
  EXPECT_EQ(
      theirs.error().message(),
      fmt::format(
          "failed to bind host port for 127.0.0.1:{}:172.17.0.3:80/tcp: address already in use",
          same.host_port));
  ports.release((*first)[0]);
  EXPECT_TRUE(other_process.reserve(same, loopback, "172.17.0.3"));
}

TEST(HostPorts, ProtocolsDoNotConflict) {
  HostPorts ports;
  const IpAddress loopback[] = {kLoopback};
  auto stream = ports.reserve(any_port(), loopback, "t");
  ASSERT_TRUE(stream);
  PortRequest datagram = any_port(Protocol::udp);
  datagram.host_port = (*stream)[0].host_port;
  EXPECT_TRUE(ports.reserve(datagram, loopback, "t"));
  EXPECT_FALSE(ports.reserve(datagram, loopback, "t"));
}

TEST(HostPorts, ARangeGivesItsFirstFreePort) {
  HostPorts ports;
  const IpAddress loopback[] = {kLoopback};
  auto first = ports.reserve(any_port(), loopback, "t");
  ASSERT_TRUE(first);
  PortRequest range = any_port();
  range.host_port = (*first)[0].host_port;
  range.host_port_end = static_cast<uint16_t>(range.host_port + 20);
  auto second = ports.reserve(range, loopback, "t");
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_GT((*second)[0].host_port, range.host_port);
  EXPECT_LE((*second)[0].host_port, range.host_port_end);
}

TEST(HostPorts, BothFamiliesGetTheSamePort) {
  HostPorts ports;
  const IpAddress both[] = {kLoopback, *IpAddress::parse("::1")};
  auto mappings = ports.reserve(any_port(), both, "t");
  if (!mappings && mappings.error().code() == EADDRNOTAVAIL)
    GTEST_SKIP() << "no IPv6 loopback here";
  ASSERT_TRUE(mappings) << mappings.error().message();
  ASSERT_EQ(mappings->size(), 2u);
  EXPECT_EQ((*mappings)[0].host_port, (*mappings)[1].host_port);
}

TEST(HostPorts, AnAddressThatIsNotOursIsSaidSo) {
  HostPorts ports;
  const IpAddress foreign[] = {*IpAddress::parse("192.0.2.77")};
  PortRequest request = any_port();
  request.host_port = 8080;
  auto refused = ports.reserve(request, foreign, "172.17.0.2");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(),
            "failed to bind host port for 192.0.2.77:8080:172.17.0.2:80/tcp: cannot assign "
            "requested address");
}

}  // namespace
}  // namespace gantry::drivers
