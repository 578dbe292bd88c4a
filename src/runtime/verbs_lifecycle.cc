#include <signal.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "libcontainer/hooks.h"
#include "libcontainer/state.h"
#include "libcontainer/terminal.h"
#include "libcontainer/validate.h"
#include "runtime/foreground.h"
#include "runtime/verbs.h"

namespace gantry::runtime {
namespace {

using libcontainer::Container;
using libcontainer::ContainerStatus;
using libcontainer::CreateOptions;
using libcontainer::Gate;

Result<std::string> real_path(const std::string& path) {
  char buffer[PATH_MAX];
  if (!::realpath(path.c_str(), buffer)) return errno_error(errno, "--bundle: {}", path);
  return std::string(buffer);
}

json::object document(const Container& container, ContainerStatus status) {
  return libcontainer::state_document(container.state(), libcontainer::to_string(status));
}

constexpr std::pair<std::string_view, int> kSignals[] = {
    {"HUP", SIGHUP},       {"INT", SIGINT},   {"QUIT", SIGQUIT},   {"ILL", SIGILL},
    {"TRAP", SIGTRAP},     {"ABRT", SIGABRT}, {"BUS", SIGBUS},     {"FPE", SIGFPE},
    {"KILL", SIGKILL},     {"USR1", SIGUSR1}, {"SEGV", SIGSEGV},   {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE},     {"ALRM", SIGALRM}, {"TERM", SIGTERM},   {"CHLD", SIGCHLD},
    {"CONT", SIGCONT},     {"STOP", SIGSTOP}, {"TSTP", SIGTSTP},   {"TTIN", SIGTTIN},
    {"TTOU", SIGTTOU},     {"URG", SIGURG},   {"XCPU", SIGXCPU},   {"XFSZ", SIGXFSZ},
    {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF}, {"WINCH", SIGWINCH}, {"IO", SIGIO},
    {"PWR", SIGPWR},       {"SYS", SIGSYS}};

Result<int> parse_signal(std::string_view text) {
  if (Result<int64_t> number = parse_number(text, "signal"); number) {
    if (*number < 0 || *number > 64) return invalid("invalid signal: {}", text);
    return static_cast<int>(*number);
  }
  std::string upper;
  for (char c : text) upper += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  std::string_view name = upper;
  if (name.starts_with("SIG")) name.remove_prefix(3);
  for (auto [known, number] : kSignals)
    if (known == name) return number;
  return invalid("invalid signal: {}", text);
}

}  // namespace

Result<CreateOptions> create_options(const Globals& globals, const Arguments& arguments,
                                     Gate gate) {
  if (arguments.rest.size() != 1) return invalid("exactly one container id is required");
  CreateOptions options;
  options.id = arguments.rest.front();
  TRY(libcontainer::check_id(options.id));
  options.bundle = TRY(real_path(arguments.get("bundle", ".")));
  std::string text = TRY(fs::read_file(options.bundle + "/config.json").context("--bundle"));
  options.spec = TRY(libcontainer::parse_spec(text).context("config.json"));
  options.state_directory = globals.root + "/" + options.id;
  options.gate = gate;
  if (globals.systemd_cgroup) options.cgroup_driver = libcontainer::CgroupDriver::systemd;
  options.rootless = globals.rootless;
  options.preserve_fds = TRY(preserved_fds(arguments));
  options.no_pivot = arguments.has("no-pivot");
  options.no_new_keyring = arguments.has("no-new-keyring");
  options.seccomp_cache = seccomp_cache(globals);
  return options;
}

Status check_console(const CreateOptions& options, const Arguments& arguments, bool detached) {
  bool terminal = options.spec.process && options.spec.process->terminal;
  bool socket = !arguments.get("console-socket").empty();
  if (terminal && detached && !socket)
    return invalid("process.terminal: a detached container needs --console-socket");
  if (!terminal && socket) return invalid("--console-socket: process.terminal is not set");
  return {};
}

Status publish(Container& container, const Arguments& arguments, UniqueFd& console) {
  std::string socket = arguments.get("console-socket");
  console = container.take_console();
  Status done;
  if (console && !socket.empty()) {
    done = libcontainer::send_console(socket, console.get());
    console.reset();
  }
  if (done) done = write_pid_file(arguments.get("pid-file"), container.pid());
  if (!done) {
    (void)container.signal(SIGKILL);
    (void)sys::waitpid(container.pid());
    log::ignored("delete", container.destroy());
  }
  return done;
}

Result<int> verb_create(const Globals& globals, const Arguments& arguments) {
  CreateOptions options = TRY(create_options(globals, arguments, Gate::socket));
  TRY(check_console(options, arguments, true));
  Container container = TRY(Container::create(std::move(options)));
  UniqueFd console;
  TRY(publish(container, arguments, console));
  return 0;
}

Result<int> verb_start(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  TRY(container.start());
  return 0;
}

Result<int> verb_run(const Globals& globals, const Arguments& arguments) {
  CreateOptions options = TRY(create_options(globals, arguments, Gate::in_process));
  bool detach = arguments.has("detach");
  TRY(check_console(options, arguments, detach));
  std::optional<Foreground> foreground;
  if (!detach) foreground = TRY(Foreground::create());
  const std::string id = options.id;
  const char* undo[] = {"gantry-runtime", "--root", globals.root.c_str(), "delete", "--force",
                        id.c_str(),       nullptr};
  Container container = TRY(Container::launch(std::move(options), undo));
  UniqueFd console;
  TRY(publish(container, arguments, console));
  Status started = container.started() ? Status() : container.start();
  if (!started) {
    (void)sys::waitpid(container.pid());
    log::ignored("delete", container.destroy());
    return std::move(started).error();
  }
  if (detach) return 0;
  int status = TRY(foreground->run(container.pid(), container.pidfd(), std::move(console)));
  if (!arguments.has("keep")) TRY(container.destroy());
  return status;
}

Result<int> verb_state(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  ContainerStatus status = TRY(container.status());
  TRY(print(json::pretty(document(container, status)) + "\n"));
  return 0;
}

Result<int> verb_kill(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  int number = TRY(parse_signal(arguments.rest.size() > 1 ? arguments.rest[1] : "SIGTERM"));
  if (arguments.has("all")) {
    TRY(container.signal(number, libcontainer::KillScope::all));
    return 0;
  }
  ContainerStatus status = TRY(container.status());
  if (status == ContainerStatus::stopped) return not_found("container not running");
  TRY(container.signal(number));
  // A frozen process does not die; kill(1) of a paused container should end it all the same.
  if (status == ContainerStatus::paused && number == SIGKILL) TRY(container.resume());
  return 0;
}

Result<int> verb_delete(const Globals& globals, const Arguments& arguments) {
  bool force = arguments.has("force");
  Result<Container> loaded = load_container(globals, arguments);
  if (!loaded) {
    if (force && loaded.error().kind() == ErrorKind::not_found) return 0;
    return std::move(loaded).error();
  }
  Container container = loaded.release();
  ContainerStatus status = TRY(container.status());
  if (status != ContainerStatus::stopped && !force)
    return conflict("cannot delete container {} that is not stopped: {}", container.id(),
                    libcontainer::to_string(status));
  TRY(container.destroy());
  return 0;
}

Result<int> verb_list(const Globals& globals, const Arguments& arguments) {
  std::string format = arguments.get("format", "table");
  if (format != "table" && format != "json")
    return invalid("--format: unknown format \"{}\"", format);
  std::vector<std::string> names;
  if (fs::exists(globals.root)) names = TRY(fs::list_directory(globals.root));
  std::sort(names.begin(), names.end());
  json::array documents;
  std::string out;
  auto row = [](auto&&... cells) {
    return fmt::format("{:<12} {:<11} {:<11} {:<24} {:<36} {}\n", cells...);
  };
  if (!arguments.has("quiet") && format == "table")
    out += row("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER");
  for (const std::string& name : names) {
    if (!libcontainer::check_id(name) || name.starts_with('.')) continue;
    Result<Container> container = Container::load(globals.root + "/" + name);
    if (!container) continue;  // deleted in between
    Result<ContainerStatus> status = container->status();
    if (!status) continue;
    json::object entry = document(*container, *status);
    entry["owner"] =
        container->state().owner == 0 ? "root" : std::to_string(container->state().owner);
    if (arguments.has("quiet"))
      out += name + "\n";
    else if (format == "table")
      out += row(name, json::serialize(entry["pid"]), libcontainer::to_string(*status),
                 container->state().bundle, format_time(container->state().created),
                 std::string_view(entry["owner"].as_string().c_str()));
    documents.push_back(std::move(entry));
  }
  if (!arguments.has("quiet") && format == "json") out = json::serialize(documents) + "\n";
  TRY(print(out));
  return 0;
}

}  // namespace gantry::runtime
