#include "runtime/init.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/sys.h"
#include "libcontainer/init_protocol.h"
#include "libcontainer/process.h"
#include "libcontainer/sync.h"
#include "runtime/foreground.h"

namespace gantry::runtime {
namespace {

using libcontainer::SyncSocket;

// Signals of the process itself; and those by which a terminal stops a background process that
// writes.
constexpr int kOwnSignals[] = {SIGFPE,  SIGILL, SIGSEGV, SIGBUS, SIGABRT,
                               SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU};

void ignore(int number, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  ::sigaction(number, &action, nullptr);
}

// A process group of its own, in the foreground when there is a terminal: what the keyboard sends
// goes to the program and not to us as well.
[[noreturn]] void run_program(char** argv, const sigset_t& mask, const SyncSocket& sync) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry; ++entry) environment.emplace_back(*entry);
  ::setpgid(0, 0);
  if (::isatty(STDIN_FILENO)) (void)::tcsetpgrp(STDIN_FILENO, ::getpgrp());
  ignore(SIGTTIN, SIG_DFL);
  ignore(SIGTTOU, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  Result<std::string> program = libcontainer::find_program(argv[0], environment);
  if (program) ::execve(program->c_str(), argv, environ);
  Error reason = program ? libcontainer::exec_error(*program, errno) : std::move(program).error();
  (void)sync.send_error(reason);
  ::_exit(reason.code() == ENOENT ? 127 : 126);
}

// Until the program has ended, whatever else ends on the way.
int reap_until(pid_t program, const sigset_t& signals) {
  for (;;) {
    siginfo_t info;
    int number = sys::retry([&] { return ::sigwaitinfo(&signals, &info); });
    if (number == -1) return 1;
    if (number != SIGCHLD) {
      (void)::kill(program, number);
      continue;
    }
    for (;;) {
      int status = 0;
      pid_t pid = ::waitpid(-1, &status, WNOHANG);
      if (pid <= 0) break;
      if (pid == program) return shell_status(status);
    }
  }
}

}  // namespace

bool is_init(const char* name) { return name && std::string_view(name) == libcontainer::kInitName; }

int init_main(int argc, char** argv) {
  if (argc < 3 || std::string_view(argv[1]) != "--") return 64;
  SyncSocket sync((UniqueFd(libcontainer::kInitSync)));
  if (!sys::set_cloexec(sync.fd(), true)) (void)sync.release().release();  // nobody listens
  (void)::prctl(PR_SET_NAME, "docker-init");
  // Orphans come to us in the host's pid namespace, too.
  if (::getpid() != 1) (void)::prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t signals, before;
  ::sigfillset(&signals);
  for (int number : kOwnSignals) ::sigdelset(&signals, number);
  ::sigprocmask(SIG_SETMASK, &signals, &before);
  ignore(SIGTTIN, SIG_IGN);
  ignore(SIGTTOU, SIG_IGN);
  pid_t program = ::fork();
  if (program == 0) run_program(argv + 2, before, sync);
  if (program == -1) {
    (void)sync.send_error(error_from_errno(errno, "init: fork"));
    return 126;
  }
  sync.close();
  return reap_until(program, signals);
}

}  // namespace gantry::runtime
