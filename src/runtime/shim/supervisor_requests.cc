// What a daemon asks of its shim.
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "runtime/shim/supervisor.h"

namespace gantry::shim {

namespace {

std::optional<std::string> nothing_more() { return std::string(); }

}  // namespace

const Supervisor::Request Supervisor::kRequests[] = {
    {MessageType::go, &Supervisor::go},
    {MessageType::attach, &Supervisor::attach},
    {MessageType::exec, &Supervisor::exec},
    {MessageType::resize, &Supervisor::resize},
    {MessageType::signal, &Supervisor::signal},
    {MessageType::close_stdin, &Supervisor::close_stdin},
    {MessageType::reopen_log, &Supervisor::reopen_log},
    {MessageType::keep, &Supervisor::keep},
};

void Supervisor::control_message(Control& control, Message message) {
  busy_ = true;
  if (&control == newcomer_.get()) {
    Result<Greeting> greeting = message.as<Greeting>();
    if (message.type != MessageType::greeting || !greeting) return control_closed(control);
    if (control_) loop_.bury(std::move(control_));
    control_ = std::move(newcomer_);
    greet(*control_, message.id);
    return;
  }
  if (&control != control_.get()) return;  // its place was taken
  for (const Request& request : kRequests) {
    if (request.type != message.type) continue;
    Answer answer = (this->*request.handle)(message);
    if (!control_) return;
    if (!answer)
      control_->send(MessageType::error, message.id, error_payload(answer.error()));
    else if (*answer)
      control_->send(MessageType::done, message.id, **answer);
    return;
  }
  control_->send(MessageType::error, message.id,
                 error_payload(unsupported("this container's shim does not know request {}",
                                           static_cast<int>(message.type))));
}

void Supervisor::control_closed(Control& control) {
  if (&control == newcomer_.get()) {
    loop_.bury(std::move(newcomer_));
    return;
  }
  if (&control != control_.get()) return;
  loop_.bury(std::move(control_));
  // Nobody will say "go" any more.
  if (phase_ == Phase::at_gate) undo();
}

void Supervisor::accept() {
  UniqueFd socket(::accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket) return;
  Result<sys::PeerCredentials> peer = sys::peer_credentials(socket.get());
  if (!peer || (peer->uid != 0 && peer->uid != ::geteuid())) return;
  if (newcomer_) loop_.bury(std::move(newcomer_));
  newcomer_ =
      std::make_unique<Control>(loop_, static_cast<ControlOwner&>(*this), std::move(socket));
  if (!newcomer_->begin()) newcomer_.reset();
}

void Supervisor::greet(Control& control, uint32_t id) {
  Greeting greeting;
  greeting.program = "gantry-runtime/" GANTRY_VERSION;
  greeting.pid = ::getpid();
  control.send(MessageType::greeting, id, json::dump(greeting));
  control.send(MessageType::state, id, json::dump(state_reply()), state_descriptors());
}

StateReply Supervisor::state_reply() const {
  StateReply reply;
  reply.id = state_.id;
  reply.pid = state_.pid;
  reply.started = phase_ == Phase::running || phase_ == Phase::ended;
  reply.started_at = state_.started_at;
  reply.cgroup = state_.cgroup;
  reply.terminal = state_.terminal;
  for (const auto& [exec_id, exec] : execs_)
    if (!exec.exited) reply.execs.push_back(exec_id);
  reply.kept = static_cast<int32_t>(kept_.size());
  if (phase_ == Phase::ended) reply.exit = exit_;
  return reply;
}

std::vector<UniqueFd> Supervisor::state_descriptors() const {
  std::vector<UniqueFd> descriptors;
  const auto add = [&](const UniqueFd& fd) {
    Result<UniqueFd> copy = sys::dup(fd.get());
    if (copy) descriptors.push_back(std::move(*copy));
  };
  add(init_);
  add(netns_);
  for (const UniqueFd& fd : kept_) add(fd);
  return descriptors;
}

void Supervisor::notify(MessageType type, std::string_view payload) {
  if (control_) control_->send(type, 0, payload);
}

Supervisor::Answer Supervisor::go(Message& message) {
  if (phase_ != Phase::at_gate) return conflict("the container has been started already");
  kept_ = std::move(message.descriptors);
  Status started = std::exchange(creation_, Status());
  if (started) started = failpoint("shim.gate");
  if (started) started = container_->start();
  if (started) started = failpoint("shim.started");
  if (!started) {
    undo();
    return std::move(started).error();
  }
  phase_ = Phase::running;
  state_.started_at = now_ns();
  Status begun = io_->begin();
  log::ignored("streams", begun, log::Level::error);
  (void)failpoint("shim.streams");
  control_->send(MessageType::done, message.id, {});
  (void)failpoint("shim.answered");
  // Off the path of whoever waits: the socket for later daemons, the record, the specification's
  // memory.
  container_.reset();
  log::ignored("state", write_state(options_.directory, state_), log::Level::error);
  (void)failpoint("shim.socket");
  Result<UniqueFd> socket = sys::listen_unix(options_.directory + "/" + kSocketFile, 0600, 4);
  Status listening = socket ? Status() : Status(std::move(socket).error());
  if (listening) {
    listener_.fd = std::move(*socket);
    listening = sys::set_nonblocking(listener_.fd.get(), true);
    if (listening) listening = loop_.watch(listener_.fd.get(), listener_, EPOLLIN);
  }
  log::ignored("socket", listening, log::Level::error);
  (void)failpoint("shim.running");
  return Answer(std::nullopt);
}

Result<ProcessIo*> Supervisor::io_of(const std::string& exec_id) {
  if (exec_id.empty()) return io_.get();
  auto found = execs_.find(exec_id);
  if (found == execs_.end() || found->second.exited)
    return not_found("no running exec {}", exec_id);
  return found->second.io.get();
}

Supervisor::Answer Supervisor::attach(Message& message) {
  AttachOptions options = TRY(message.as<AttachOptions>());
  if (message.descriptors.size() != 1) return invalid("attach: no connection came along");
  TRY(io_->attach(std::move(message.descriptors[0]), options, message.leftover()));
  return nothing_more();
}

Supervisor::Answer Supervisor::exec(Message& message) {
  ExecRequest request = TRY(message.as<ExecRequest>());
  TRY(failpoint("shim.exec"));
  if (phase_ != Phase::running) return conflict("the container is not running");
  if (execs_.contains(request.id)) return conflict("exec {} has been started already", request.id);
  if (request.attached && message.descriptors.size() != 1)
    return invalid("exec: no connection came along");
  libcontainer::Container container =
      TRY(libcontainer::Container::load(options_.directory + "/" + kContainerDirectory));
  Exec exec;
  exec.io = std::make_unique<ProcessIo>(io_context(), nullptr, true);
  libcontainer::ExecOptions options;
  options.process = std::move(request.process);
  options.process.terminal = request.terminal;
  options.user = std::move(request.user);
  options.die_with_parent = true;
  if (!request.terminal) {
    TRY(exec.io->make_pipes(request.attached && request.options.standard_in));
    options.stdio = exec.io->process_side();
  }
  libcontainer::ContainerProcess process = TRY(container.exec(options));
  (void)failpoint("shim.exec.started");
  exec.pid = process.pid;
  exec.io->process_started();
  if (request.terminal) {
    exec.io->use_terminal(std::move(process.console));
    if (request.console.rows != 0 || request.console.columns != 0)
      log::ignored("resize", exec.io->resize(request.console));
  }
  exec.io->on_detached = [this, id = request.id] {
    notify(MessageType::detached, json::dump(ProcessRequest{id}));
  };
  ProcessIo& io = *exec.io;
  execs_.emplace(request.id, std::move(exec));
  if (request.attached)
    log::ignored("exec",
                 io.attach(std::move(message.descriptors[0]), request.options, message.leftover()));
  log::ignored("exec", io.begin(), log::Level::error);
  StartedReply reply;
  reply.pid = process.pid;
  return Answer(json::dump(reply));
}

Supervisor::Answer Supervisor::resize(Message& message) {
  ResizeRequest request = TRY(message.as<ResizeRequest>());
  ProcessIo* io = TRY(io_of(request.exec_id));
  TRY(io->resize(request.size));
  return nothing_more();
}

Supervisor::Answer Supervisor::signal(Message& message) {
  SignalRequest request = TRY(message.as<SignalRequest>());
  if (request.exec_id.empty()) {
    TRY(sys::pidfd_send_signal(init_.get(), request.signal));
    return nothing_more();
  }
  (void)TRY(io_of(request.exec_id));
  // Ours to reap, so the pid is still its own.
  TRY(sys::kill(execs_.at(request.exec_id).pid, request.signal));
  return nothing_more();
}

Supervisor::Answer Supervisor::close_stdin(Message& message) {
  ProcessRequest request = TRY(message.as<ProcessRequest>());
  ProcessIo* io = TRY(io_of(request.exec_id));
  io->close_stdin();
  return nothing_more();
}

Supervisor::Answer Supervisor::keep(Message& message) {
  kept_ = std::move(message.descriptors);
  return nothing_more();
}

Supervisor::Answer Supervisor::reopen_log(Message&) {
  if (log_) TRY(log_->reopen());
  return nothing_more();
}

}  // namespace gantry::shim
