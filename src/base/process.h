// Starting a program from a threaded process without copying it (vfork semantics), and waiting for
// it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry {

struct SpawnOptions {
  std::vector<std::string> arguments;  // arguments[0] is argv[0]
  // The program: by descriptor (execveat with AT_EMPTY_PATH) when `program_fd` is set, else by
  // path; a path without a slash is looked up in PATH.
  std::string program;
  int program_fd = -1;
  // The whole environment ("K=V"); inherited when absent.
  std::optional<std::vector<std::string>> environment;
  std::string working_directory;  // "": inherited
  // {ours, theirs}: our descriptor becomes theirs in the child; all others are closed on exec.
  // 0, 1 and 2 are /dev/null unless mapped.
  std::vector<std::pair<int, int>> descriptors;
  bool new_session = false;     // setsid
  bool default_signals = true;  // every handler back to default, no signal blocked
};

// A child process. kill()ed and reaped on destruction unless detached or waited for.
class ChildProcess {
 public:
  ChildProcess() = default;
  ChildProcess(ChildProcess&&) noexcept;
  ChildProcess& operator=(ChildProcess&&) noexcept;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

  // Fails with the errno of exec in the child (ENOENT: no such program) when it could not be
  // started.
  static Result<ChildProcess> spawn(const SpawnOptions& options);

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  // Waits for the end; a wait(2) status.
  Result<int> wait();
  // Lets the process go on alone; somebody else (SIGCHLD ignored, a subreaper) reaps it. Gives the
  // pidfd.
  UniqueFd detach();

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

struct ProcessOutput {
  int status = 0;  // as of wait(2)
  std::string out;
  std::string err;
};
// Runs a program to its end with `input` on its standard input. Output over `limit` bytes is an
// error. `timeout_ms` < 0 waits for ever; on timeout the program is killed and the error is
// `unavailable`.
Result<ProcessOutput> run_process(SpawnOptions options, std::string_view input = {},
                                  int timeout_ms = -1, size_t limit = 1u << 20);

}  // namespace gantry
