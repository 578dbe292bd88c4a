// Netlink without a library: messages built in one buffer, sent in one system call, answered in
// order. Sources: netlink(7), rtnetlink(7), linux/netlink.h.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry {

// One or more netlink messages, built back to back. Not thread-safe.
class NetlinkBatch {
 public:
  // `plain`: each message stands for itself. `transaction`: the first and the last message are
  // nfnetlink's batch marks, and what is between them happens as a whole or not at all.
  enum class Kind { plain, transaction };
  explicit NetlinkBatch(Kind kind = Kind::plain) : kind_(kind) {}
  Kind kind() const { return kind_; }

  // Starts a message with its fixed header (ifinfomsg, ifaddrmsg, …). `what` names it in errors
  // ("create veth gv12"). NLM_F_REQUEST is added.
  template <typename Header>
  Header& begin(uint16_t type, uint16_t flags, const Header& header, std::string what) {
    static_assert(std::is_trivially_copyable_v<Header>);
    start(type, flags, std::move(what));
    const size_t at = grow(sizeof header);
    std::memcpy(&buffer_[at], &header, sizeof header);
    return *reinterpret_cast<Header*>(&buffer_[at]);
  }

  void put(uint16_t type, const void* data, size_t size);
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void put(uint16_t type, const T& value) {
    put(type, &value, sizeof value);
  }
  void put_string(uint16_t type, std::string_view text);  // with the terminating zero
  // Puts a whole fixed structure inside the open attribute (veth's peer ifinfomsg).
  void put_raw(const void* data, size_t size);
  // `fill` adds the attributes of the nest.
  template <typename Fill>
  void nest(uint16_t type, Fill&& fill) {
    const size_t at = open_nest(type);
    fill();
    close_nest(at);
  }

  bool empty() const { return starts_.empty(); }
  size_t count() const { return starts_.size(); }
  size_t bytes() const { return buffer_.size(); }
  const std::string& what(size_t index) const { return what_[index]; }
  nlmsghdr& header(size_t index) { return *reinterpret_cast<nlmsghdr*>(&buffer_[starts_[index]]); }
  std::string_view data() const { return {buffer_.data(), buffer_.size()}; }

 private:
  const Kind kind_;
  void start(uint16_t type, uint16_t flags, std::string what);
  size_t grow(size_t size);  // aligned to 4, zero-filled; keeps the current message's length right
  size_t open_nest(uint16_t type);
  void close_nest(size_t at);

  std::vector<char> buffer_;
  std::vector<size_t> starts_;
  std::vector<std::string> what_;
};

// A received attribute stream.
class Attributes {
 public:
  Attributes(const void* data, size_t size) : data_(static_cast<const char*>(data)), size_(size) {}
  // The payload of the first attribute of that type; empty view with null data when there is none.
  std::string_view find(uint16_t type) const;
  template <typename T>
  bool read(uint16_t type, T& out) const {
    const std::string_view raw = find(type);
    if (raw.size() < sizeof out) return false;
    std::memcpy(&out, raw.data(), sizeof out);
    return true;
  }
  // A string attribute without its terminating zero.
  std::string text(uint16_t type) const;
  Attributes nested(uint16_t type) const;
  void each(const std::function<void(uint16_t type, std::string_view payload)>& visit) const;

 private:
  const char* data_;
  size_t size_;
};

// One netlink socket, bound to the network namespace of the thread that opened it. Used by one
// thread at a time: the owner serialises.
class NetlinkSocket {
 public:
  // `family` is NETLINK_ROUTE or NETLINK_NETFILTER.
  static Result<NetlinkSocket> open(int family);
  // Opens the socket inside another network namespace; the calling thread is back in its own when
  // this returns (the process aborts if it cannot return: a thread must never be left in a wrong
  // namespace).
  static Result<NetlinkSocket> open_in(int family, int netns_fd);

  // Sends the batch in one call and waits for the kernel to have handled all of it. Returns the
  // first error, as "what: message of the kernel: errno text". Answers other than acknowledgements
  // (NLM_F_ECHO) go to `answer`. Messages after a failed one were still tried (rtnetlink handles
  // each on its own).
  using Answer = std::function<void(const nlmsghdr& header)>;
  Status transact(NetlinkBatch& batch, const Answer& answer = nullptr);
  // Sends a dump request (NLM_F_DUMP is added) and hands every entry to `entry`. An interrupted
  // dump is started again, so `restart` must forget what was gathered.
  Status dump(NetlinkBatch& request, const Answer& entry, const std::function<void()>& restart);

  int fd() const { return fd_.get(); }
  uint32_t port_id() const { return port_id_; }
  // For users that build messages otherwise: raw send, and receive of one datagram into the buffer.
  uint32_t next_sequence(uint32_t count = 1);
  Status send(const void* data, size_t size);
  Result<std::string_view> receive();

 private:
  explicit NetlinkSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  uint32_t port_id_ = 0;
  uint32_t sequence_ = 0;
  std::vector<char> buffer_;
};

// The errno of an NLMSG_ERROR message (0 for an acknowledgement) and the kernel's own words, if
// any.
struct NetlinkError {
  int code = 0;
  std::string message;
};
NetlinkError read_error(const nlmsghdr& header);

// Payload after the fixed header of `Header`.
template <typename Header>
Attributes attributes_of(const nlmsghdr& header) {
  const size_t skip = NLMSG_ALIGN(sizeof(nlmsghdr) + sizeof(Header));
  if (header.nlmsg_len < skip) return {nullptr, 0};
  return {reinterpret_cast<const char*>(&header) + skip, header.nlmsg_len - skip};
}
template <typename Header>
const Header* fixed_header(const nlmsghdr& header) {
  if (header.nlmsg_len < sizeof(nlmsghdr) + sizeof(Header)) return nullptr;
  return reinterpret_cast<const Header*>(reinterpret_cast<const char*>(&header) + sizeof(nlmsghdr));
}

// Runs `call` with the calling thread inside the network namespace `netns_fd`. The thread is back
// when this returns; if the way back fails the process aborts.
Status inside_netns(int netns_fd, const std::function<Status()>& call);

}  // namespace gantry
