#include "runtime/shim/process_io.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"

namespace gantry::shim {
namespace {

// A pipe that was once read full grows to this, so that a busy process and its shim switch less
// often.
constexpr int kBusyPipe = 1 << 20;
// What a process leaves in a pipe when it ends is at most this; whoever still writes was handed the
// pipe.
constexpr size_t kMostLeft = 2u << 20;

}  // namespace

char* Scratch::data() {
  if (!buffer_) {
    void* memory =
        ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    buffer_ = static_cast<char*>(memory);
  }
  return buffer_;
}

void Scratch::release() {
  if (buffer_) ::munmap(std::exchange(buffer_, nullptr), kSize);
}

ProcessIo::ProcessIo(IoContext context, LogWriter* log, bool close_stdin_once)
    : context_(std::move(context)), log_(log), stdin_once_(close_stdin_once) {}

ProcessIo::~ProcessIo() {
  close_output(out_);
  close_output(err_);
  end_input();
}

Status ProcessIo::make_pipes(bool open_stdin) {
  sys::Pipe out = TRY(sys::pipe());
  sys::Pipe err = TRY(sys::pipe());
  if (open_stdin) {
    sys::Pipe in = TRY(sys::pipe());
    far_[0] = std::move(in.read);
    input_.fd = std::move(in.write);
    TRY(sys::set_nonblocking(input_.fd.get(), true));
  } else {
    far_[0] = TRY(sys::open("/dev/null", O_RDONLY));
  }
  far_[1] = std::move(out.write);
  far_[2] = std::move(err.write);
  out_.fd = std::move(out.read);
  err_.fd = std::move(err.read);
  TRY(sys::set_nonblocking(out_.fd.get(), true));
  TRY(sys::set_nonblocking(err_.fd.get(), true));
  return {};
}

libcontainer::Stdio ProcessIo::process_side() const {
  return {far_[0].get(), far_[1].get(), far_[2].get()};
}

void ProcessIo::process_started() {
  for (UniqueFd& end : far_) end.reset();
}

void ProcessIo::use_terminal(UniqueFd master) {
  terminal_ = true;
  out_.fd = std::move(master);
}

Status ProcessIo::begin() {
  begun_ = true;
  if (terminal_) TRY(sys::set_nonblocking(out_.fd.get(), true));
  watch_outputs();
  watch_input();
  return {};
}

Status ProcessIo::resize(TerminalSize size) {
  if (!terminal_ || !out_.fd) return conflict("the process has no terminal");
  winsize window = {};
  window.ws_row = size.rows;
  window.ws_col = size.columns;
  if (::ioctl(out_.fd.get(), TIOCSWINSZ, &window) == -1)
    return error_from_errno(errno, "ioctl TIOCSWINSZ");
  return {};
}

Status ProcessIo::attach(UniqueFd client, const AttachOptions& options, std::string_view leftover) {
  std::string keys;
  if (terminal_ && options.standard_in)
    keys = TRY(parse_detach_keys(options.detach_keys).context("detach keys"));
  clients_.push_back(std::make_unique<Client>(context_.loop, static_cast<ClientOwner&>(*this),
                                              std::move(client), options, std::move(keys)));
  Client& added = *clients_.back();
  if (ended_) {
    added.finish();
    return {};
  }
  Status started = added.start(leftover);
  if (!started) clients_.pop_back();
  return started;
}

void ProcessIo::close_stdin() {
  if (terminal_) return;
  input_closing_ = true;
  if (input_queue_.empty()) end_input();
}

ProcessIo::Read ProcessIo::read_once(Output& output) {
  char* buffer = context_.scratch.data();
  ssize_t size = sys::retry([&] { return ::read(output.fd.get(), buffer, Scratch::kSize); });
  if (size == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Read::nothing;
  // A terminal that nobody has open any more answers EIO (pty(7)).
  if (size <= 0) return Read::ended;
  context_.busy();
  std::string_view data(buffer, static_cast<size_t>(size));
  if (log_) log_->write(output.stream, data, now_ns());
  for (auto& client : clients_) client->output(output.stream, data);
  if (data.size() == Scratch::kSize && !terminal_ && !std::exchange(output.enlarged, true))
    (void)::fcntl(output.fd.get(), F_SETPIPE_SZ, kBusyPipe);
  return Read::more;
}

void ProcessIo::output_ready(Output& output, uint32_t events) {
  if (terminal_ && (events & EPOLLOUT)) write_input();
  if (!output.fd || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  // Several reads for one write of the log, but not so many that others wait.
  for (int i = 0; i < 4; ++i) {
    Read result = read_once(output);
    if (result == Read::ended) close_output(output);
    if (result != Read::more || blocked()) break;
  }
  if (log_) log::ignored("log", log_->flush());
  if (blocked()) watch_outputs();
}

void ProcessIo::close_output(Output& output) {
  if (!output.fd) return;
  watch(output, 0);
  output.fd.reset();
  if (log_) log_->finish(output.stream, now_ns());
}

bool ProcessIo::blocked() const {
  return std::any_of(clients_.begin(), clients_.end(),
                     [](const auto& client) { return client->backlog() > 0; });
}

// A hang-up is reported whatever events are asked for, so who must not be read leaves the loop.
void ProcessIo::watch(Output& output, uint32_t events) {
  if (!output.fd || events == output.watched) return;
  if (events == 0)
    context_.loop.forget(output.fd.get(), output);
  else if (output.watched == 0)
    log::ignored("shim", context_.loop.watch(output.fd.get(), output, events));
  else
    log::ignored("shim", context_.loop.change(output.fd.get(), output, events));
  output.watched = events;
}

void ProcessIo::watch_outputs() {
  if (!begun_) return;
  if (blocked()) {
    watch(out_, 0);
    watch(err_, 0);
    return;
  }
  bool typing = terminal_ && !input_queue_.empty();
  watch(out_, typing ? uint32_t{EPOLLIN} | EPOLLOUT : uint32_t{EPOLLIN});
  watch(err_, EPOLLIN);
}

void ProcessIo::watch_input() {
  if (terminal_) return watch_outputs();
  bool wanted = begun_ && input_.fd && !input_queue_.empty();
  if (wanted == input_.watched) return;
  if (wanted)
    log::ignored("shim", context_.loop.watch(input_.fd.get(), input_, EPOLLOUT));
  else
    context_.loop.forget(input_.fd.get(), input_);
  input_.watched = wanted;
}

void ProcessIo::client_typed(Client&, std::string_view input) {
  if (!input_open() || input_closing_) return;
  bool was_empty = input_queue_.empty();
  input_queue_.append(input);
  if (was_empty) write_input();
}

void ProcessIo::write_input() {
  int fd = terminal_ ? out_.fd.get() : input_.fd.get();
  size_t written = 0;
  while (fd >= 0 && written < input_queue_.size()) {
    ssize_t size = sys::retry(
        [&] { return ::write(fd, input_queue_.data() + written, input_queue_.size() - written); });
    if (size > 0) {
      written += static_cast<size_t>(size);
      continue;
    }
    if (size == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    // Nobody reads it any more: what is typed from here on is for nobody.
    written = input_queue_.size();
    if (!terminal_) input_closing_ = true;
  }
  input_queue_.erase(0, written);
  if (input_queue_.empty()) {
    std::string().swap(input_queue_);
    if (input_closing_) end_input();
  }
  watch_input();
  for (auto& client : clients_) client->pause_input(!input_queue_.empty());
}

void ProcessIo::end_input() {
  if (!input_.fd) return;
  if (std::exchange(input_.watched, false)) context_.loop.forget(input_.fd.get(), input_);
  input_.fd.reset();
  input_queue_.clear();
}

void ProcessIo::client_input_ended(Client& client) {
  if (!client.wants_input()) return;
  // As Docker (moby container/stream/attach.go): the input of a client that ends either ends the
  // process's, or the client's part in it.
  if (stdin_once_ && !terminal_)
    close_stdin();
  else
    client.finish();
}

void ProcessIo::client_detached(Client& client) {
  client.finish();
  if (on_detached) on_detached();
}

void ProcessIo::client_drained(Client&) {
  if (!blocked()) watch_outputs();
}

void ProcessIo::client_gone(Client& client) {
  auto found = std::find_if(clients_.begin(), clients_.end(),
                            [&](const auto& entry) { return entry.get() == &client; });
  if (found == clients_.end()) return;
  std::unique_ptr<Client> gone = std::move(*found);
  clients_.erase(found);
  context_.loop.bury(std::move(gone));
  if (!blocked()) watch_outputs();
}

void ProcessIo::drain(Output& output) {
  for (size_t total = 0; output.fd && total < kMostLeft; total += Scratch::kSize) {
    Read result = read_once(output);
    if (result == Read::nothing) break;
    if (result == Read::ended) close_output(output);
  }
  close_output(output);
}

void ProcessIo::process_ended() {
  if (ended_) return;
  process_started();
  drain(out_);
  drain(err_);
  end_input();
  if (log_) log::ignored("log", log_->flush());
  ended_ = true;
  std::vector<Client*> clients;
  for (auto& client : clients_) clients.push_back(client.get());
  for (Client* client : clients) client->finish();
}

}  // namespace gantry::shim
