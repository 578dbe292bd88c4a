// Network namespaces for tests that need root: a "host" of the test's own, so that the machine's
// interfaces and firewall are never touched.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <exception>
#include <functional>
#include <string>
#include <thread>

#include "base/process.h"
#include "base/sys.h"
#include "drivers/network/link.h"
#include "drivers/network/services.h"

namespace gantry::drivers::testing {

// Runs `body` on a thread of its own inside a fresh network namespace whose loopback is up. Threads
// that the body starts live in there too. The namespace goes with the last thread and descriptor.
inline void in_new_netns(const std::function<void()>& body) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: makes network namespaces";
  std::string unavailable;
  std::thread([&] {
    if (auto made = sys::unshare(CLONE_NEWNET); !made) {
      unavailable = made.error().message();
      return;
    }
    auto socket = NetlinkSocket::open(NETLINK_ROUTE);
    ASSERT_TRUE(socket) << socket.error().message();
    auto up = set_loopback_up(*socket);
    ASSERT_TRUE(up) << up.error().message();
    // A new namespace takes these from the machine.
    ASSERT_TRUE(write_sysctl("net.ipv4.ip_forward", "0"));
    (void)write_sysctl("net.bridge.bridge-nf-call-iptables", "0");  // there with br_netfilter only
    body();
  }).join();
  if (!unavailable.empty()) GTEST_SKIP() << "no network namespaces here: " << unavailable;
}

// A further namespace (a container, an outside host), held by a descriptor.
inline UniqueFd make_netns() {
  UniqueFd fd;
  std::thread([&] {
    if (!sys::unshare(CLONE_NEWNET)) return;
    auto opened = sys::open("/proc/thread-self/ns/net", O_RDONLY);
    if (opened) fd = std::move(*opened);
  }).join();
  EXPECT_TRUE(fd.valid());
  return fd;
}

// What a program prints, in the calling thread's namespace; for looking from the outside with nft
// and ip.
inline std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "re");
  char buffer[4096];
  while (size_t got = pipe ? ::fread(buffer, 1, sizeof buffer, pipe) : 0) out.append(buffer, got);
  if (pipe) ::pclose(pipe);
  return out;
}

}  // namespace gantry::drivers::testing
