#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sys.h"
#include "libcontainer/terminal.h"
#include "runtime/foreground.h"
#include "runtime/verbs.h"

namespace gantry::runtime {
namespace {

using libcontainer::Container;
using libcontainer::ExecOptions;
using libcontainer::Process;

constexpr int kExecFailed = 255;  // as runc

Result<uint32_t> parse_user_or_group(const std::string& text, std::string_view flag) {
  int64_t number = TRY(parse_number(text, flag));
  if (number < 0 || number >= UINT32_MAX) return invalid("{}: {} is out of range", flag, text);
  return static_cast<uint32_t>(number);
}

Status apply_user(Process& process, const std::string& text) {
  if (text.empty()) return {};
  size_t colon = text.find(':');
  process.user.uid = TRY(parse_user_or_group(text.substr(0, colon), "--user"));
  if (colon != std::string::npos)
    process.user.gid = TRY(parse_user_or_group(text.substr(colon + 1), "--user"));
  return {};
}

Status add_capabilities(Process& process, const std::vector<std::string>& names) {
  if (names.empty()) return {};
  if (!process.capabilities) process.capabilities.emplace();
  for (const std::string& name : names)
    for (auto* set : {&process.capabilities->bounding, &process.capabilities->effective,
                      &process.capabilities->permitted})
      set->push_back(name);
  return {};
}

Result<Process> exec_process(const Container& container, const Globals& globals,
                             const Arguments& arguments) {
  std::string file = arguments.get("process");
  if (!file.empty()) {
    std::string text = TRY(fs::read_file(file).context("--process"));
    return json::parse<Process>(text).context("--process");
  }
  if (arguments.rest.size() < 2) return invalid("process args cannot be empty");
  std::string text = TRY(fs::read_file(globals.root + "/" + container.id() + "/config.json"));
  libcontainer::Spec spec = TRY(libcontainer::parse_spec(text));
  Process process = std::move(*spec.process);
  process.args.assign(arguments.rest.begin() + 1, arguments.rest.end());
  process.terminal = arguments.has("tty");
  process.console_size.reset();
  TRY(apply_user(process, arguments.get("user")));
  for (const std::string& gid : arguments.all("additional-gids"))
    process.user.additional_gids.push_back(TRY(parse_user_or_group(gid, "--additional-gids")));
  for (const std::string& variable : arguments.all("env")) process.env.push_back(variable);
  process.cwd = arguments.get("cwd", process.cwd);
  TRY(add_capabilities(process, arguments.all("cap")));
  if (arguments.has("no-new-privs")) process.no_new_privileges = true;
  process.apparmor_profile = arguments.get("apparmor", process.apparmor_profile);
  process.selinux_label = arguments.get("process-label", process.selinux_label);
  return process;
}

Result<int> exec(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  ExecOptions options;
  options.process = TRY(exec_process(container, globals, arguments));
  options.preserve_fds = TRY(preserved_fds(arguments));
  options.cgroup = arguments.get("cgroup");
  options.ignore_paused = arguments.has("ignore-paused");
  bool detach = arguments.has("detach");
  std::string socket = arguments.get("console-socket");
  if (options.process.terminal && detach && socket.empty())
    return invalid("--tty: a detached process needs --console-socket");
  std::optional<Foreground> foreground;
  if (!detach) foreground = TRY(Foreground::create());
  libcontainer::ContainerProcess process = TRY(container.exec(options));
  if (process.console && !socket.empty()) {
    TRY(libcontainer::send_console(socket, process.console.get()));
    process.console.reset();
  }
  TRY(write_pid_file(arguments.get("pid-file"), process.pid));
  if (detach) return 0;
  return foreground->run(process.pid, process.pidfd.get(), std::move(process.console));
}

}  // namespace

Result<int> verb_exec(const Globals& globals, const Arguments& arguments) {
  Result<int> status = exec(globals, arguments);
  if (status) return status;
  std::string message = "exec failed: " + status.error().message();
  if (globals.log_file) log::error("{}", message);
  (void)sys::write_all(STDERR_FILENO, message + "\n");
  return kExecFailed;
}

Result<int> verb_ps(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  std::vector<pid_t> pids = TRY(container.processes());
  if (arguments.get("format", "table") == "json") {
    json::array list;
    for (pid_t pid : pids) list.push_back(pid);
    TRY(print(json::serialize(list) + "\n"));
    return 0;
  }
  std::string out = "    PID COMMAND\n";
  for (pid_t pid : pids) {
    Result<std::string> command = fs::read_file(fmt::format("/proc/{}/cmdline", pid), 1 << 16);
    if (!command) continue;
    for (char& c : *command)
      if (c == '\0') c = ' ';
    out += fmt::format("{:>7} {}\n", pid, *command);
  }
  TRY(print(out));
  return 0;
}

}  // namespace gantry::runtime
