// The shim itself: one container, its processes, and whichever daemon is there.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "libcontainer/container.h"
#include "runtime/shim/control.h"
#include "runtime/shim/event_loop.h"
#include "runtime/shim/layout.h"
#include "runtime/shim/log_writer.h"
#include "runtime/shim/oom.h"
#include "runtime/shim/process_io.h"
#include "runtime/shim/protocol.h"

namespace gantry::shim {

// Not thread-safe; one per process. Life: launch(), then run() until the container has ended and
// its clients have their output, or until it was undone.
class Supervisor final : private ControlOwner {
 public:
  static Result<std::unique_ptr<Supervisor>> create();
  ~Supervisor() override;

  // Reads what is to be launched from the daemon's socket, begins with the container and answers
  // with its state. On failure the daemon has been told, and nothing is left.
  Status launch(UniqueFd socket);
  int run();

 private:
  // What the shim does next, and how it ends.
  enum class Phase {
    at_gate,  // the end of the daemon's connection undoes the container
    running,  // init runs
    ended,    // recorded; the last output is still on its way to clients
    undone,   // there is nothing any more
  };

  // A process that was started by `exec`.
  struct Exec {
    pid_t pid = -1;
    bool exited = false;
    std::unique_ptr<ProcessIo> io;
  };

  // SIGCHLD, as an eventfd that its handler writes.
  struct Children final : Source {
    explicit Children(Supervisor& owner) : supervisor(owner) {}
    void ready(uint32_t) override;
    Supervisor& supervisor;
    UniqueFd fd;
  };
  struct Listener final : Source {
    explicit Listener(Supervisor& owner) : supervisor(owner) {}
    void ready(uint32_t) override { supervisor.accept(); }
    Supervisor& supervisor;
    UniqueFd fd;
  };

  // A request's answer: the payload of `done`; nothing when it has been sent already.
  using Answer = Result<std::optional<std::string>>;
  struct Request {
    MessageType type;
    Answer (Supervisor::*handle)(Message& message);
  };
  static const Request kRequests[];

  explicit Supervisor(EventLoop loop) : loop_(std::move(loop)) {}
  Status begin_container(libcontainer::Spec spec);
  void finish_creation();
  void join_shim_groups();
  StateReply state_reply() const;
  std::vector<UniqueFd> state_descriptors() const;
  Status write_state_file();
  IoContext io_context();

  void control_message(Control& control, Message message) override;
  void control_closed(Control& control) override;
  void accept();
  void greet(Control& control, uint32_t id);
  void notify(MessageType type, std::string_view payload);

  Answer go(Message& message);
  Answer attach(Message& message);
  Answer exec(Message& message);
  Answer resize(Message& message);
  Answer signal(Message& message);
  Answer close_stdin(Message& message);
  Answer reopen_log(Message& message);
  Answer keep(Message& message);
  // The streams of a running process; "" is the container's first.
  Result<ProcessIo*> io_of(const std::string& exec_id);

  void reap();
  void init_exited(int status);
  void exec_exited(const std::string& id, Exec& exec, ExitStatus status);
  void record_end(ExitStatus status);
  void undo();
  void forget_finished();
  bool finished();
  void trim();

  EventLoop loop_;
  Scratch scratch_;
  Children children_{*this};
  Listener listener_{*this};
  LaunchOptions options_;
  State state_;
  Phase phase_ = Phase::at_gate;
  std::optional<libcontainer::Container> container_;  // until it runs
  Status creation_;                                   // of the steps up to the gate
  bool init_gone_ = false;
  bool own_pid_namespace_ = true;
  bool poststop_hooks_ = false;
  UniqueFd lock_;
  UniqueFd init_;  // pidfd
  UniqueFd netns_;
  std::vector<UniqueFd> kept_;  // for the next daemon
  std::unique_ptr<LogWriter> log_;
  std::unique_ptr<ProcessIo> io_;
  std::unique_ptr<OomWatch> oom_;
  std::map<std::string, Exec> execs_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<Control> newcomer_;  // has not greeted yet
  ExitStatus exit_;
  bool busy_ = true;  // memory may be given back once it is quiet
};

}  // namespace gantry::shim
