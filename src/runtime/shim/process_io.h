// The standard streams of one process of the container: its pipes or its terminal, the log, its
// clients.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libcontainer/container.h"
#include "runtime/shim/client.h"
#include "runtime/shim/event_loop.h"
#include "runtime/shim/log_writer.h"

namespace gantry::shim {

// One buffer for all reads, given back while everything is quiet. Not thread-safe.
class Scratch {
 public:
  static constexpr size_t kSize = 64 * 1024;
  char* data();
  void release();  // the pages go back to the kernel
  bool in_use() const { return buffer_ != nullptr; }
  ~Scratch() { release(); }

 private:
  char* buffer_ = nullptr;
};

// What a process's streams need of the shim. All outlive them.
struct IoContext {
  EventLoop& loop;
  Scratch& scratch;
  std::function<void()> busy;  // memory was taken that may be given back later
};

// Not thread-safe. Life: make_pipes() or use_terminal(); attach() any number of times;
// process_ended(); done() when every client has its output.
class ProcessIo final : private ClientOwner {
 public:
  // `log` may be null. `close_stdin_once`: the first client that ends its input ends the process's.
  ProcessIo(IoContext context, LogWriter* log, bool close_stdin_once);
  ~ProcessIo() override;
  ProcessIo(const ProcessIo&) = delete;

  // Pipes (and /dev/null as input unless `open_stdin`), whose far ends are `process_side()`. The
  // near ends are watched from begin() on.
  Status make_pipes(bool open_stdin);
  libcontainer::Stdio process_side() const;
  // Closes the far ends: the process has its own.
  void process_started();
  // The master of its terminal, in place of pipes.
  void use_terminal(UniqueFd master);
  Status begin();

  bool has_terminal() const { return terminal_; }
  Status resize(TerminalSize size);
  Status attach(UniqueFd client, const AttachOptions& options, std::string_view leftover);
  void close_stdin();
  // The process is gone: reads what it left in its streams, closes the log's lines and lets clients
  // end.
  void process_ended();
  bool done() const { return ended_ && clients_.empty(); }
  // A client typed the detach keys.
  std::function<void()> on_detached;

 private:
  // A stream of output; of a terminal also the input, since they share a descriptor.
  struct Output final : Source {
    Output(ProcessIo& owner, Stream which) : io(owner), stream(which) {}
    void ready(uint32_t events) override { io.output_ready(*this, events); }
    ProcessIo& io;
    Stream stream;
    UniqueFd fd;
    uint32_t watched = 0;  // 0: not in the loop
    bool enlarged = false;
  };
  struct Input final : Source {
    explicit Input(ProcessIo& owner) : io(owner) {}
    void ready(uint32_t) override { io.write_input(); }
    ProcessIo& io;
    UniqueFd fd;
    bool watched = false;
  };

  enum class Read { more, nothing, ended };
  Read read_once(Output& output);
  void output_ready(Output& output, uint32_t events);
  void drain(Output& output);
  void close_output(Output& output);
  void watch_outputs();
  void watch(Output& output, uint32_t events);
  void write_input();
  void watch_input();
  void end_input();
  bool input_open() const { return terminal_ ? out_.fd.valid() : input_.fd.valid(); }
  bool blocked() const;

  void client_typed(Client& client, std::string_view input) override;
  void client_input_ended(Client& client) override;
  void client_detached(Client& client) override;
  void client_drained(Client& client) override;
  void client_gone(Client& client) override;

  IoContext context_;
  LogWriter* log_;
  bool stdin_once_;
  bool terminal_ = false;
  bool ended_ = false;
  bool begun_ = false;
  UniqueFd far_[3];                 // the process's ends of its pipes
  std::string input_queue_;         // typed, not taken by the process yet
  bool input_closing_ = false;      // to be closed once the queue has been written
  Output out_{*this, Stream::out};  // of a terminal: its master
  Output err_{*this, Stream::err};
  Input input_{*this};
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace gantry::shim
