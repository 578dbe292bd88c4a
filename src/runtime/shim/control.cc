#include "runtime/shim/control.h"

#include <cerrno>
#include <cstring>

#include "base/sys.h"

namespace gantry::shim {

Control::Control(EventLoop& loop, ControlOwner& owner, UniqueFd socket, Decoder decoder)
    : loop_(loop), owner_(owner), socket_(std::move(socket)), decoder_(std::move(decoder)) {}

Control::~Control() {
  if (begun_) loop_.forget(socket_.get(), *this);
}

Status Control::begin() {
  TRY(sys::set_nonblocking(socket_.get(), true));
  TRY(loop_.watch(socket_.get(), *this, EPOLLIN));
  begun_ = true;
  flush();
  return {};
}

void Control::send(MessageType type, uint32_t id, std::string_view payload,
                   std::vector<UniqueFd> descriptors) {
  if (failed_) return;
  Frame frame;
  frame.bytes = encode(type, id, descriptors.size(), payload);
  frame.descriptors = std::move(descriptors);
  queued_ += frame.bytes.size();
  queue_.push_back(std::move(frame));
  flush();
}

void Control::flush() {
  while (!queue_.empty() && !failed_) {
    Frame& frame = queue_.front();
    iovec part{frame.bytes.data(), frame.bytes.size()};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
    if (!frame.descriptors.empty()) {
      size_t size = frame.descriptors.size() * sizeof(int);
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(size);
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(size);
      for (size_t i = 0; i < frame.descriptors.size(); ++i) {
        int fd = frame.descriptors[i].get();
        std::memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof fd);
      }
    }
    ssize_t sent =
        sys::retry([&] { return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT); });
    if (sent == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (sent == -1) return fail();
    frame.descriptors.clear();  // they go with the first byte
    frame.bytes.erase(0, static_cast<size_t>(sent));
    queued_ -= static_cast<size_t>(sent);
    if (frame.bytes.empty()) queue_.pop_front();
  }
  if (queued_ > kMaxQueued) return fail();
  if (begun_ && !failed_)
    (void)loop_.change(socket_.get(), *this,
                       queue_.empty() ? uint32_t{EPOLLIN} : uint32_t{EPOLLIN} | EPOLLOUT);
}

// The owner hears of it from the loop: a caller of send() may be the owner itself.
void Control::fail() {
  failed_ = true;
  queue_.clear();
  (void)::shutdown(socket_.get(), SHUT_RDWR);
}

void Control::ready(uint32_t events) {
  if (events & EPOLLOUT) flush();
  if (failed_) return owner_.control_closed(*this);
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive();
}

void Control::receive() {
  char buffer[8192];
  Result<sys::Received> received =
      sys::receive_with_fds(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (!received) {
    if (received.error().code() == EAGAIN || received.error().code() == EWOULDBLOCK) return;
    return owner_.control_closed(*this);
  }
  if (received->size == 0) return owner_.control_closed(*this);
  if (!decoder_.feed(std::string_view(buffer, received->size), std::move(received->fds)))
    return owner_.control_closed(*this);
  for (;;) {
    Result<std::optional<Message>> message = decoder_.next();
    if (!message) return owner_.control_closed(*this);
    if (!*message) return;
    owner_.control_message(*this, std::move(**message));
  }
}

}  // namespace gantry::shim
