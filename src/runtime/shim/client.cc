#include "runtime/shim/client.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>

#include "base/sys.h"

namespace gantry::shim {
namespace {

constexpr size_t kInputChunk = 16 * 1024;

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

Client::Client(EventLoop& loop, ClientOwner& owner, UniqueFd socket, AttachOptions options,
               std::string keys)
    : loop_(loop),
      owner_(owner),
      socket_(std::move(socket)),
      options_(std::move(options)),
      matcher_(std::move(keys)) {}

Client::~Client() {
  if (socket_) loop_.forget(socket_.get(), *this);
}

Status Client::start(std::string_view leftover) {
  watched_ = options_.standard_in ? uint32_t{EPOLLIN} : 0;
  TRY(loop_.watch(socket_.get(), *this, watched_));
  if (options_.standard_in && !leftover.empty()) typed(leftover);
  return {};
}

void Client::output(Stream stream, std::string_view data) {
  if (state_ != State::open || data.empty()) return;
  if (stream == Stream::out ? !options_.standard_out : !options_.standard_err) return;
  auto size = static_cast<uint32_t>(data.size());
  char header[8] = {static_cast<char>(stream),
                    0,
                    0,
                    0,
                    static_cast<char>(size >> 24),
                    static_cast<char>(size >> 16),
                    static_cast<char>(size >> 8),
                    static_cast<char>(size)};
  std::string_view frame = options_.multiplexed ? std::string_view(header, 8) : std::string_view();
  size_t sent = 0;
  if (backlog() == 0) {
    iovec parts[2] = {{header, frame.size()}, {const_cast<char*>(data.data()), data.size()}};
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    ssize_t result =
        sys::retry([&] { return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT); });
    // A dead peer is found by the loop (EPOLLHUP, EPOLLERR); this output is for nobody.
    if (result == -1 && !would_block()) return;
    if (result > 0) sent = static_cast<size_t>(result);
  }
  if (sent == frame.size() + data.size()) return;
  if (sent < frame.size()) {
    queue_.append(frame.substr(sent));
    sent = frame.size();
  }
  queue_.append(data.substr(sent - frame.size()));
  update();
}

void Client::pause_input(bool paused) {
  input_paused_ = paused;
  update();
}

void Client::finish() {
  if (state_ != State::open) return;
  state_ = State::finishing;
  if (backlog() == 0)
    close();
  else
    update();
}

void Client::ready(uint32_t events) {
  if (events & EPOLLOUT) send_queue();
  if (state_ == State::open && (events & EPOLLIN)) (void)read_input();
  if (state_ != State::closed && (events & (EPOLLERR | EPOLLHUP))) {
    // What the peer typed before it went is still the process's.
    while (state_ == State::open && read_input()) {
    }
    if (state_ != State::closed) close();
  }
}

bool Client::read_input() {
  if (!input_open_ || input_paused_ || !options_.standard_in) return false;
  char buffer[kInputChunk];
  ssize_t size =
      sys::retry([&] { return ::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT); });
  if (size > 0) {
    typed({buffer, static_cast<size_t>(size)});
    return true;
  }
  if (size == -1 && would_block()) return false;
  input_open_ = false;
  update();
  owner_.client_input_ended(*this);
  return false;
}

void Client::typed(std::string_view bytes) {
  DetachMatcher::Result result = matcher_.feed(bytes);
  if (!result.input.empty()) owner_.client_typed(*this, result.input);
  if (result.detached) owner_.client_detached(*this);
}

void Client::send_queue() {
  while (backlog() > 0) {
    ssize_t size = sys::retry([&] {
      return ::send(socket_.get(), queue_.data() + sent_, backlog(), MSG_NOSIGNAL | MSG_DONTWAIT);
    });
    if (size == -1 && would_block()) return;
    if (size == -1) return close();
    sent_ += static_cast<size_t>(size);
  }
  std::string().swap(queue_);
  sent_ = 0;
  if (state_ == State::finishing) return close();
  update();
  owner_.client_drained(*this);
}

void Client::update() {
  if (state_ == State::closed) return;
  uint32_t wanted = backlog() > 0 ? uint32_t{EPOLLOUT} : 0;
  if (state_ == State::open && options_.standard_in && input_open_ && !input_paused_)
    wanted |= EPOLLIN;
  if (wanted == watched_) return;
  watched_ = wanted;
  (void)loop_.change(socket_.get(), *this, wanted);
}

void Client::close() {
  state_ = State::closed;
  // Input that nobody read would turn our close into a reset, and the peer might lose what we sent.
  (void)::shutdown(socket_.get(), SHUT_WR);
  char rest[4096];
  while (::recv(socket_.get(), rest, sizeof rest, MSG_DONTWAIT) > 0) {
  }
  loop_.forget(socket_.get(), *this);
  socket_.reset();
  bool input_was_open = std::exchange(input_open_, false) && options_.standard_in;
  if (input_was_open) owner_.client_input_ended(*this);
  owner_.client_gone(*this);
}

}  // namespace gantry::shim
