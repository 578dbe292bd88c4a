#include "base/netlink.h"

#include <sched.h>
#include <sys/socket.h>

#include <cstdlib>

#include "base/log.h"
#include "base/sys.h"

namespace gantry {

namespace {

constexpr size_t kReceiveSize = 64 * 1024;  // the kernel's dumps come in pieces of at most 32 KiB

size_t aligned(size_t size) { return NLMSG_ALIGN(size); }

}  // namespace

size_t NetlinkBatch::grow(size_t size) {
  const size_t at = buffer_.size();
  buffer_.resize(at + aligned(size));
  header(starts_.size() - 1).nlmsg_len = static_cast<uint32_t>(buffer_.size() - starts_.back());
  return at;
}

void NetlinkBatch::start(uint16_t type, uint16_t flags, std::string what) {
  starts_.push_back(buffer_.size());
  what_.push_back(std::move(what));
  buffer_.resize(buffer_.size() + sizeof(nlmsghdr));
  nlmsghdr& start = header(starts_.size() - 1);
  start.nlmsg_len = sizeof(nlmsghdr);
  start.nlmsg_type = type;
  start.nlmsg_flags = flags | NLM_F_REQUEST;
}

void NetlinkBatch::put(uint16_t type, const void* data, size_t size) {
  const size_t at = grow(NLA_HDRLEN + size);
  auto* attribute = reinterpret_cast<nlattr*>(&buffer_[at]);
  attribute->nla_type = type;
  attribute->nla_len = static_cast<uint16_t>(NLA_HDRLEN + size);
  if (size > 0) std::memcpy(&buffer_[at + NLA_HDRLEN], data, size);
}

void NetlinkBatch::put_string(uint16_t type, std::string_view text) {
  const std::string terminated(text);
  put(type, terminated.c_str(), terminated.size() + 1);
}

void NetlinkBatch::put_raw(const void* data, size_t size) {
  const size_t at = grow(size);
  std::memcpy(&buffer_[at], data, size);
}

size_t NetlinkBatch::open_nest(uint16_t type) {
  const size_t at = buffer_.size();
  put(type | NLA_F_NESTED, nullptr, 0);
  return at;
}

void NetlinkBatch::close_nest(size_t at) {
  reinterpret_cast<nlattr*>(&buffer_[at])->nla_len = static_cast<uint16_t>(buffer_.size() - at);
}

void Attributes::each(
    const std::function<void(uint16_t type, std::string_view payload)>& visit) const {
  size_t at = 0;
  while (at + NLA_HDRLEN <= size_) {
    nlattr attribute;
    std::memcpy(&attribute, data_ + at, sizeof attribute);
    if (attribute.nla_len < NLA_HDRLEN || at + attribute.nla_len > size_) return;
    visit(attribute.nla_type & NLA_TYPE_MASK,
          {data_ + at + NLA_HDRLEN, static_cast<size_t>(attribute.nla_len - NLA_HDRLEN)});
    at += NLA_ALIGN(attribute.nla_len);
  }
}

std::string_view Attributes::find(uint16_t type) const {
  std::string_view found;
  each([&](uint16_t candidate, std::string_view payload) {
    if (candidate == type && found.data() == nullptr) found = payload;
  });
  return found;
}

std::string Attributes::text(uint16_t type) const {
  const std::string_view raw = find(type);
  return std::string(raw.substr(0, raw.find('\0')));
}

Attributes Attributes::nested(uint16_t type) const {
  const std::string_view raw = find(type);
  return {raw.data(), raw.size()};
}

NetlinkError read_error(const nlmsghdr& header) {
  NetlinkError out;
  if (header.nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) return {EBADMSG, "truncated answer"};
  const auto* error = reinterpret_cast<const nlmsgerr*>(NLMSG_DATA(&header));
  out.code = -error->error;
  if (header.nlmsg_flags & NLM_F_ACK_TLVS) {
    // With NLM_F_CAPPED only the failed message's header precedes the attributes.
    size_t skip = NLMSG_LENGTH(sizeof(nlmsgerr));
    if (!(header.nlmsg_flags & NLM_F_CAPPED)) skip += error->msg.nlmsg_len - sizeof(nlmsghdr);
    skip = NLMSG_ALIGN(skip);
    if (skip < header.nlmsg_len)
      out.message =
          Attributes(reinterpret_cast<const char*>(&header) + skip, header.nlmsg_len - skip)
              .text(NLMSGERR_ATTR_MSG);
  }
  return out;
}

Result<NetlinkSocket> NetlinkSocket::open(int family) {
  const int raw = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
  if (raw < 0) return errno_error(errno, "open a netlink socket");
  NetlinkSocket socket{UniqueFd(raw)};
  const int on = 1;
  // Without these two (kernels before 4.12) only the texts of errors are poorer.
  ::setsockopt(raw, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  ::setsockopt(raw, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(raw, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return errno_error(errno, "bind a netlink socket");
  socklen_t size = sizeof address;
  if (::getsockname(raw, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return errno_error(errno, "name of a netlink socket");
  socket.port_id_ = address.nl_pid;
  return socket;
}

Result<NetlinkSocket> NetlinkSocket::open_in(int family, int netns_fd) {
  std::optional<NetlinkSocket> socket;
  TRY(inside_netns(netns_fd, [&]() -> Status {
    auto opened = open(family);
    if (!opened) return std::move(opened).error();
    socket = std::move(*opened);
    return {};
  }));
  return std::move(*socket);
}

uint32_t NetlinkSocket::next_sequence(uint32_t count) {
  const uint32_t first = sequence_ + 1;
  sequence_ += count;
  return first;
}

Status NetlinkSocket::send(const void* data, size_t size) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent = sys::retry([&] {
    return ::sendto(fd_.get(), data, size, 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  });
  if (sent < 0) return errno_error(errno, "send to netlink");
  return {};
}

Result<std::string_view> NetlinkSocket::receive() {
  buffer_.resize(kReceiveSize);
  const ssize_t got =
      sys::retry([&] { return ::recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC); });
  if (got < 0) return errno_error(errno, "receive from netlink");
  if (static_cast<size_t>(got) > buffer_.size())
    return internal("receive from netlink: an answer of {} bytes does not fit", got);
  return std::string_view(buffer_.data(), static_cast<size_t>(got));
}

namespace {

// Calls `visit` for each message of a datagram; stops when it returns true.
bool walk(std::string_view datagram, const std::function<bool(const nlmsghdr&)>& visit) {
  size_t at = 0;
  while (at + sizeof(nlmsghdr) <= datagram.size()) {
    const auto& header = *reinterpret_cast<const nlmsghdr*>(datagram.data() + at);
    if (header.nlmsg_len < sizeof(nlmsghdr) || at + header.nlmsg_len > datagram.size())
      return false;
    if (visit(header)) return true;
    at += aligned(header.nlmsg_len);
  }
  return false;
}

Error refused(const NetlinkError& error, const std::string& what) {
  if (error.message.empty()) return error_from_errno(error.code, what);
  return error_from_errno(error.code, what + ": " + error.message);
}

}  // namespace

Status NetlinkSocket::transact(NetlinkBatch& batch, const Answer& answer) {
  if (batch.empty()) return {};
  const auto count = static_cast<uint32_t>(batch.count());
  const uint32_t first = next_sequence(count);
  for (uint32_t i = 0; i < count; ++i) batch.header(i).nlmsg_seq = first + i;
  // Errors are always answered, in order; so one acknowledgement, of the last message, ends the
  // wait. A transaction's closing message is never answered, and a failure of the whole is told of
  // its first.
  const uint32_t last = count - (batch.kind() == NetlinkBatch::Kind::transaction ? 2 : 1);
  batch.header(last).nlmsg_flags |= NLM_F_ACK;
  TRY(send(batch.data().data(), batch.bytes()));

  std::optional<Error> failure;
  for (bool done = false; !done;) {
    const std::string_view datagram = TRY(receive());
    done = walk(datagram, [&](const nlmsghdr& header) {
      const uint32_t index = header.nlmsg_seq - first;
      if (index >= count) return false;  // left over from an exchange that was given up
      if (header.nlmsg_type != NLMSG_ERROR) {
        if (answer) answer(header);
        return false;
      }
      const NetlinkError error = read_error(header);
      if (error.code != 0 && !failure) failure = refused(error, batch.what(index));
      return index == last || (index == 0 && error.code != 0 && last != count - 1);
    });
  }
  if (failure) return std::move(*failure);
  return {};
}

Status NetlinkSocket::dump(NetlinkBatch& request, const Answer& entry,
                           const std::function<void()>& restart) {
  for (int attempt = 0;; ++attempt) {
    const uint32_t sequence = next_sequence();
    nlmsghdr& header = request.header(0);
    header.nlmsg_seq = sequence;
    header.nlmsg_flags |= NLM_F_DUMP;
    TRY(send(request.data().data(), request.bytes()));
    bool interrupted = false;
    std::optional<Error> failure;
    for (bool done = false; !done;) {
      const std::string_view datagram = TRY(receive());
      done = walk(datagram, [&](const nlmsghdr& answer) {
        if (answer.nlmsg_seq != sequence) return false;
        if (answer.nlmsg_flags & NLM_F_DUMP_INTR) interrupted = true;
        if (answer.nlmsg_type == NLMSG_DONE) return true;
        if (answer.nlmsg_type == NLMSG_ERROR) {
          failure = refused(read_error(answer), request.what(0));
          return true;
        }
        entry(answer);
        return false;
      });
    }
    if (failure) return std::move(*failure);
    if (!interrupted) return {};
    if (attempt == 16) return internal("{}: the list keeps changing", request.what(0));
    restart();
  }
}

Status inside_netns(int netns_fd, const std::function<Status()>& call) {
  const UniqueFd home = TRY(
      sys::open("/proc/thread-self/ns/net", O_RDONLY).context("network namespace of this thread"));
  TRY(sys::setns(netns_fd, CLONE_NEWNET).context("enter a network namespace"));
  Status status = call();
  if (const Status back = sys::setns(home.get(), CLONE_NEWNET); !back) {
    log::error("cannot return from a network namespace; giving up before harm is done");
    std::abort();
  }
  return status;
}

}  // namespace gantry
