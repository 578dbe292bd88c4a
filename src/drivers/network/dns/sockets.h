// The sockets of the DNS server inside a container's network namespace, and how port 53 of
// 127.0.0.11 leads to them.
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::drivers::dns {

inline constexpr const char* kServerAddress = "127.0.0.11";

// Bound to one port of 127.0.0.11, which the kernel has chosen, so that a container may have
// 0.0.0.0:53 itself. They keep their network namespace alive: to be closed when the container has
// ended.
struct Sockets {
  UniqueFd udp;
  UniqueFd tcp;  // listening
  // For a process that holds them while nobody reads: queries queue.
  Result<Sockets> duplicate() const;
};

// Makes them in the namespace `netns` (borrowed), and there an nftables table that translates
// 127.0.0.11:53, both protocols, to them; a table that an earlier call made is replaced. By a
// thread of a job: the calling thread is in the namespace meanwhile. `unsupported`: this kernel has
// no nftables or cannot translate addresses. What has been made goes with the namespace.
Result<Sockets> open_sockets(int netns);

}  // namespace gantry::drivers::dns
