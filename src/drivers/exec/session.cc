#include "drivers/exec/session.h"

#include <signal.h>
#include <sys/wait.h>

#include <cerrno>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "libcontainer/cgroup.h"

namespace gantry::drivers {
namespace {

constexpr const char* kShimKilled = "the container's shim was killed";

Notice notice_of(Notice::Type type) {
  Notice notice;
  notice.type = type;
  return notice;
}

// The exit code that Docker gives a program that could not be started.
int code_of(const Error& error) {
  if (error.kind() == ErrorKind::not_found) return 127;
  if (error.kind() == ErrorKind::permission) return 126;
  return 128;
}

}  // namespace

Session::Session(Monitor& monitor, Start start) : monitor_(monitor), start_(std::move(start)) {}
Session::~Session() = default;

Result<std::shared_ptr<Session>> Session::begin(Monitor& monitor, Start start) {
  auto session = std::make_shared<Session>(monitor, std::move(start));
  if (session->start_.state == InstanceState::exited) return session;
  TRY(sys::set_nonblocking(session->start_.socket.get(), false));
  session->socket_token_ =
      TRY(monitor.add(session->start_.socket.get(), [session] { session->socket_ready(); }));
  Result<uint64_t> token =
      monitor.add(session->start_.shim.get(), [session] { session->shim_ready(); });
  if (!token) {
    monitor.remove(session->socket_token_, session->start_.socket.get());
    return std::move(token).error();
  }
  session->shim_token_ = *token;
  return session;
}

Result<std::string> Session::request(shim::MessageType type, std::string payload,
                                     const std::vector<int>& descriptors) {
  Pending pending;
  uint32_t id;
  {
    std::lock_guard lock(mutex_);
    if (start_.state == InstanceState::exited) return conflict("container is not running");
    if (!connected_) return make_error(ErrorKind::unavailable, "the container's shim is gone");
    id = next_id_++;
    pending_[id] = &pending;
  }
  Status sent = [&]() -> Status {
    std::lock_guard lock(send_mutex_);
    return shim::send(start_.socket.get(), type, id, payload, descriptors);
  }();
  std::unique_lock lock(mutex_);
  if (!sent && !pending.answered) {
    pending_.erase(id);
    return std::move(sent).error().with_kind(ErrorKind::unavailable);
  }
  answered_.wait(lock, [&] { return pending.answered; });
  return std::move(pending.answer);
}

std::vector<UniqueFd> Session::take_kept() {
  std::lock_guard lock(mutex_);
  return std::exchange(start_.kept, {});
}

Status Session::start(const std::vector<int>& kept) {
  TRY(failpoint("exec.go"));
  {
    std::lock_guard lock(mutex_);
    starting_ = true;
  }
  Result<std::string> answer = request(shim::MessageType::go, {}, kept);
  std::unique_lock lock(mutex_);
  starting_ = false;
  if (answer) {
    if (start_.started_at == 0) start_.started_at = now_ns();
    if (start_.state == InstanceState::created) start_.state = InstanceState::running;
    bool lost = lost_;  // it started, and its shim was killed before this thread heard of the start
    lock.unlock();
    if (lost) shim_is_gone();
    return failpoint("exec.started");
  }
  if (start_.state == InstanceState::created) {
    ExitStatus status;
    status.code = code_of(answer.error());
    status.finished_at = now_ns();
    status.reason = answer.error().message();
    start_.exit = std::move(status);
    start_.state = InstanceState::exited;
  }
  return std::move(answer).error();
}

Status Session::signal(int number) {
  TRY(failpoint("exec.signal"));
  Status sent = sys::pidfd_send_signal(start_.init.get(), number);
  if (!sent && sent.error().code() == ESRCH) return conflict("container is not running");
  return sent;
}

Result<UniqueFd> Session::process() const {
  if (!start_.init.valid()) return conflict("container is not running");
  return sys::dup(start_.init.get());
}

InstanceState Session::state() const {
  std::lock_guard lock(mutex_);
  return start_.state;
}

int64_t Session::started_at() const {
  std::lock_guard lock(mutex_);
  return start_.started_at;
}

std::optional<ExitStatus> Session::exit_status() const {
  std::lock_guard lock(mutex_);
  return start_.exit;
}

void Session::set_listener(Listener listener) {
  std::lock_guard lock(notice_mutex_);
  listener_ = std::move(listener);
  while (listener_ && !unheard_.empty()) {
    Notice notice = std::move(unheard_.front());
    unheard_.pop_front();
    listener_(notice);
  }
}

void Session::notify(Notice notice) {
  std::lock_guard lock(notice_mutex_);
  if (abandoned_) return;
  if (listener_)
    listener_(notice);
  else
    unheard_.push_back(std::move(notice));
}

void Session::abandon() {
  {
    std::lock_guard lock(notice_mutex_);
    abandoned_ = true;
    listener_ = nullptr;
    unheard_.clear();
  }
  bool at_gate;
  {
    std::lock_guard lock(mutex_);
    at_gate = start_.state == InstanceState::created;
  }
  // The shim takes the end of the connection before "go" as the word to undo the container.
  if (at_gate) (void)::shutdown(start_.socket.get(), SHUT_RDWR);
}

void Session::socket_ready() {
  if (!read_socket()) disconnect();
}

bool Session::read_socket() {
  for (;;) {
    char buffer[8192];
    Result<sys::Received> received =
        sys::receive_with_fds(start_.socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (!received)
      return received.error().code() == EAGAIN || received.error().code() == EWOULDBLOCK;
    if (received->size == 0) return false;
    if (!start_.decoder.feed(std::string_view(buffer, received->size), std::move(received->fds)))
      return false;
    for (;;) {
      Result<std::optional<shim::Message>> message = start_.decoder.next();
      if (!message) return false;
      if (!*message) break;
      handle(std::move(**message));
    }
  }
}

void Session::handle(shim::Message message) {
  switch (message.type) {
    case shim::MessageType::done:
      return answer(message.id, std::move(message.payload));
    case shim::MessageType::error:
      return answer(message.id, shim::error_of(message));
    case shim::MessageType::exited: {
      Result<ExitStatus> status = message.as<ExitStatus>();
      if (status) ended(std::move(*status));
      return;
    }
    case shim::MessageType::exec_exited: {
      Result<shim::ExecExited> exited = message.as<shim::ExecExited>();
      if (!exited) return;
      Notice notice = notice_of(Notice::Type::exec_exited);
      notice.exec_id = std::move(exited->exec_id);
      notice.status = std::move(exited->status);
      return notify(std::move(notice));
    }
    case shim::MessageType::oom:
      return notify(notice_of(Notice::Type::oom));
    case shim::MessageType::detached: {
      Notice notice = notice_of(Notice::Type::detached);
      Result<shim::ProcessRequest> process = message.as<shim::ProcessRequest>();
      if (process) notice.exec_id = std::move(process->exec_id);
      return notify(std::move(notice));
    }
    default:
      return;  // a newer shim's notice
  }
}

void Session::answer(uint32_t id, Result<std::string> result) {
  std::lock_guard lock(mutex_);
  auto found = pending_.find(id);
  if (found == pending_.end()) return;
  found->second->answer = std::move(result);
  found->second->answered = true;
  pending_.erase(found);
  answered_.notify_all();
}

void Session::disconnect() {
  monitor_.remove(socket_token_, start_.socket.get());
  std::lock_guard lock(mutex_);
  connected_ = false;
  for (auto& [id, pending] : pending_) {
    pending->answer = make_error(ErrorKind::unavailable, "{}", kShimKilled);
    pending->answered = true;
  }
  pending_.clear();
  answered_.notify_all();
}

void Session::ended(ExitStatus status) {
  Notice notice = notice_of(Notice::Type::exited);
  notice.status = status;
  {
    std::lock_guard lock(mutex_);
    if (start_.state == InstanceState::exited) return;
    start_.state = InstanceState::exited;
    start_.exit = std::move(status);
  }
  notify(std::move(notice));
}

void Session::shim_ready() {
  std::shared_ptr<Session> self = shared_from_this();  // the monitor gives its own up below
  // Ours to reap unless an earlier daemon made it (ECHILD).
  siginfo_t info = {};
  (void)sys::retry([&] {
    return ::waitid(P_PIDFD, static_cast<id_t>(start_.shim.get()), &info, WEXITED | WNOHANG);
  });
  (void)read_socket();
  disconnect();
  monitor_.remove(shim_token_, start_.shim.get());
  shim_is_gone();
}

void Session::shim_is_gone() {
  bool recorded = false;
  if (state() == InstanceState::created) {
    // Undone, or killed at the gate; in both cases init went with it.
    (void)sys::pidfd_send_signal(start_.init.get(), SIGKILL);
    Result<std::optional<ExitStatus>> exit = shim::read_exit(start_.directory);
    recorded = exit && *exit;
  }
  {
    std::lock_guard lock(mutex_);  // start() may have settled the container since
    if (start_.state == InstanceState::exited) return;
    if (start_.state == InstanceState::created && !recorded) {
      lost_ = true;
      if (starting_) return;  // start() has the answer that tells what became of it
      ExitStatus status;
      status.code = 128;
      status.finished_at = now_ns();
      status.reason = kShimKilled;
      start_.state = InstanceState::exited;
      start_.exit = std::move(status);
      return;
    }
  }
  Result<ExitStatus> status = settle_lost_container(start_.directory, kShimKilled);
  if (!status) {
    log::error("container {}: {}", start_.id, status.error().message());
    status =
        ExitStatus{.code = 137, .signal = SIGKILL, .finished_at = now_ns(), .reason = kShimKilled};
  }
  ended(std::move(*status));
}

Result<ExitStatus> settle_lost_container(const std::string& directory, const std::string& reason) {
  std::optional<ExitStatus> recorded = TRY(shim::read_exit(directory));
  if (recorded) return std::move(*recorded);
  shim::State state = TRY(shim::read_state(directory));
  std::string boot = TRY(boot_id());
  if (state.boot_id == boot) {
    // Init has PDEATHSIG; this is for one that was not told (it changed its credentials).
    Result<UniqueFd> init = sys::pidfd_open(state.pid);
    Result<uint64_t> started = process_start_time(state.pid);
    if (init && started && *started == state.start_time)
      (void)sys::pidfd_send_signal(init->get(), SIGKILL);
    if (!state.cgroup.empty()) {
      Result<libcontainer::Cgroup> cgroup = libcontainer::Cgroup::open(state.cgroup);
      if (cgroup) log::ignored("cgroup", cgroup->signal(SIGKILL));
    }
  }
  ExitStatus status;
  status.code = 137;
  status.signal = SIGKILL;
  status.finished_at = now_ns();
  status.reason = reason;
  TRY(failpoint("exec.settle"));
  TRY(shim::write_exit(directory, status));
  (void)sys::unlinkat(AT_FDCWD, directory + "/" + shim::kSocketFile);
  return status;
}

}  // namespace gantry::drivers
