#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "client/commands/commands.h"
#include "client/commands/pull.h"
#include "client/io/session.h"
#include "client/options/container_options.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

// What create has beside the container's own flags.
struct CreateOptions {
  std::string name;
  std::string platform;
  std::string pull = "missing";
  bool quiet = false;
  bool disable_content_trust = true;
};
struct RunOptions {
  CreateOptions create;
  ContainerOptions container;
  bool detach = false;
  bool sig_proxy = true;
  std::string detach_keys;
};

constexpr Flag kCreateFlags[] = {
    flag<&CreateOptions::name>("name", 0, "Assign a name to the container"),
    flag<&CreateOptions::platform>("platform", 0,
                                   "Set platform if server is multi-platform capable"),
    flag<&CreateOptions::pull>("pull", 0,
                               "Pull image before creating (\"always\", \"missing\", \"never\")",
                               {.default_text = "\"missing\""}),
    flag<&CreateOptions::quiet>("quiet", 'q', "Suppress the pull output"),
    flag<&CreateOptions::disable_content_trust>(
        "disable-content-trust", 0, "Skip image verification", {.default_text = "true"}),
};
constexpr Flag kRunFlags[] = {
    flag<&RunOptions::detach>("detach", 'd', "Run container in background and print container ID"),
    flag<&RunOptions::sig_proxy>("sig-proxy", 0, "Proxy received signals to the process",
                                 {.default_text = "true"}),
    flag<&RunOptions::detach_keys>("detach-keys", 0,
                                   "Override the key sequence for detaching a container"),
};

// For requests whose failure changes nothing: the container may have ended already.
void ignore(const Result<std::string>&) {}

int report(std::string_view command, const Error& error, int status) {
  if (error.kind() == ErrorKind::unavailable && error.message().starts_with("Cannot connect"))
    print_error(fmt::format("gantry: {}", error.message()));
  else
    print_error(fmt::format("gantry: {}\n\nRun 'gantry {} --help' for more information",
                            error.message(), command));
  return status;
}

// A start that failed because of the command has a status of its own, as a shell's.
int status_of_start(std::string_view message) {
  auto says = [&](std::string_view text) { return message.find(text) != message.npos; };
  if (says("executable file not found") || says("no such file or directory") ||
      says("system cannot find"))
    return kExitNotFound;
  if (says("permission denied") || says("is a directory") || says("not a directory"))
    return kExitCannotExecute;
  return kExitUsage;
}

// --cidfile: must not exist before; removed again when no container was made.
class IdFile {
 public:
  static Result<IdFile> open(const std::string& path) {
    IdFile out;
    if (path.empty()) return out;
    if (fs::exists(path))
      return invalid(
          "container ID file found, make sure the other container isn't running or delete {}",
          path);
    out.fd_ = TRY(sys::open(path, O_WRONLY | O_CREAT | O_EXCL, 0666)
                      .context("failed to create the container ID file"));
    out.path_ = path;
    return out;
  }
  IdFile(IdFile&& other) noexcept
      : path_(std::exchange(other.path_, {})), fd_(std::move(other.fd_)) {}
  ~IdFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  Status write(std::string_view id) {
    if (path_.empty()) return {};
    TRY(sys::write_all(fd_.get(), id));
    path_.clear();
    return {};
  }

 private:
  IdFile() = default;
  std::string path_;
  UniqueFd fd_;
};

Status check_pull(std::string_view policy) {
  if (policy == "always" || policy == "missing" || policy == "never") return {};
  return invalid("invalid pull option: '{}': must be one of \"always\", \"missing\" or \"never\"",
                 policy);
}

std::string with_tag(const std::string& image) {
  ImageName name = split_image(image);
  return name.tag.empty() && name.digest.empty() ? image + ":latest" : image;
}

Result<std::string> create(Cli& cli, const CreateOptions& create, const ContainerOptions& options) {
  TRY(check_pull(create.pull));
  TRY(check_reference(options.image));
  json::object request = TRY(container_request(options));
  if (options.tty) {
    WindowSize size = window_size(STDOUT_FILENO);
    request["HostConfig"].as_object()["ConsoleSize"] = json::array{size.rows, size.columns};
  }
  IdFile id_file = TRY(IdFile::open(options.cidfile));
  PullOptions pull{create.platform, create.quiet ? Progress::silent : Progress::shown,
                   STDERR_FILENO};
  if (create.pull == "always") TRY(pull_image(cli, options.image, pull));
  Api* api = TRY(cli.api());
  Path path("/containers/create");
  path.add_if("name", create.name).add_if("platform", create.platform);
  auto made = api->call("POST", path, request);
  const bool no_image = !made && made.error().kind() == ErrorKind::not_found &&
                        ::strcasestr(made.error().message().c_str(), "no such image");
  if (no_image && create.pull == "missing") {
    if (!create.quiet)
      print_error(fmt::format("Unable to find image '{}' locally", with_tag(options.image)));
    TRY(pull_image(cli, options.image, pull));
    made = api->call("POST", path, request);
  }
  std::string body = TRY(std::move(made));
  json::value answer = TRY(json::parse(body));
  for (const json::value& warning : array_of(answer, "Warnings"))
    if (warning.is_string())
      print_error(fmt::format("WARNING: {}", std::string_view(warning.get_string())));
  std::string id = text_of(answer, "Id");
  TRY(id_file.write(id));
  return id;
}

void take_arguments(ContainerOptions& options, Arguments& arguments) {
  options.image = arguments.front();
  options.command.assign(arguments.begin() + 1, arguments.end());
}

Result<int> run_create(Cli& cli, RunOptions& options, Arguments& arguments) {
  take_arguments(options.container, arguments);
  std::string id = TRY(create(cli, options.create, options.container));
  print_out("{}\n", id);
  return 0;
}

// Everything of a run that is attached, after the container was made.
class AttachedRun {
 public:
  AttachedRun(Api& api, std::string id, const RunOptions& options)
      : api_(api), id_(std::move(id)), options_(options), tty_(options.container.tty) {}

  Result<int> run(const std::string& keys) {
    const ContainerOptions& container = options_.container;
    auto attaches = [&](std::string_view stream, bool fallback) {
      if (container.attach.empty()) return fallback;
      for (const std::string& name : container.attach)
        if (::strcasecmp(name.c_str(), std::string(stream).c_str()) == 0) return true;
      return false;
    };
    SessionOptions session_options;
    session_options.tty = tty_;
    session_options.input = container.interactive && attaches("stdin", true);
    session_options.out = attaches("stdout", true);
    session_options.err = attaches("stderr", true);
    session_options.detach_keys = TRY(parse_detach_keys(keys.empty() ? "ctrl-p,ctrl-q" : keys));
    session_options.proxy_signals = options_.sig_proxy;
    session_options.on_signal = [this](int signal) { forward(signal); };
    session_options.on_resize = [this](WindowSize size) { resize(size); };

    Path attach = Path::of({"containers", id_, "attach"});
    attach.add("stream", "1")
        .flag("stdin", session_options.input)
        .flag("stdout", session_options.out)
        .flag("stderr", session_options.err)
        .add_if("detachKeys", keys);
    http::Upgrade stream = TRY(api_.hijack(attach, nullptr));
    // The answer's head comes as soon as the wait is registered; only then may the container start.
    Path wait = Path::of({"containers", id_, "wait"});
    wait.add("condition", container.rm ? "removed" : "next-exit");
    http::Response exited = TRY(api_.stream("POST", wait));

    Session session = TRY(Session::open(std::move(session_options)));
    auto started = api_.call("POST", Path::of({"containers", id_, "start"}));
    if (!started) {
      session.restore_terminal();
      if (container.rm) (void)exited.read_all();  // the daemon removes it
      return report("run", started.error(), status_of_start(started.error().message()));
    }
    started_ = true;
    if (tty_ && is_terminal(STDOUT_FILENO)) resize(window_size(STDOUT_FILENO));
    if (pending_signal_) forward(pending_signal_);
    SessionEnd end = TRY(session.run(std::move(stream.fd), std::move(stream.leftover)));
    session.restore_terminal();
    if (end == SessionEnd::detached) return 0;
    if (!exited.readable()) TRY(session.wait_readable(exited.fd()));
    std::string body = TRY(exited.read_all());
    json::value answer = TRY(json::parse(body));
    if (std::string message = text_of(object_of(answer, "Error"), "Message"); !message.empty()) {
      print_error(fmt::format("Error waiting for container: {}", message));
      return kExitUsage;
    }
    return static_cast<int>(number_of(answer, "StatusCode"));
  }

 private:
  void forward(int signal) {
    if (!started_) {
      pending_signal_ = signal;
      return;
    }
    Path path = Path::of({"containers", id_, "kill"});
    path.add("signal", fmt::format("{}", signal));
    ignore(api_.call("POST", path));  // it may have ended already
  }
  void resize(WindowSize size) {
    if (!started_ || size.rows == 0) return;
    Path path = Path::of({"containers", id_, "resize"});
    path.add("h", fmt::format("{}", size.rows)).add("w", fmt::format("{}", size.columns));
    ignore(api_.call("POST", path));
  }

  Api& api_;
  std::string id_;
  const RunOptions& options_;
  bool tty_;
  bool started_ = false;
  int pending_signal_ = 0;
};

Result<int> run_run(Cli& cli, RunOptions& options, Arguments& arguments) {
  ContainerOptions& container = options.container;
  take_arguments(container, arguments);
  if (options.detach && !container.attach.empty())
    return invalid("conflicting options: cannot specify both --attach and --detach");
  if (!options.detach && container.interactive && container.tty && !is_terminal(STDIN_FILENO))
    return invalid("the input device is not a TTY");
  container.detach = options.detach;
  auto id = create(cli, options.create, container);
  if (!id) return report("run", id.error(), kExitUsage);
  Api* api = TRY(cli.api());
  if (options.detach) {
    auto started = api->call("POST", Path::of({"containers", *id, "start"}));
    if (!started) return report("run", started.error(), status_of_start(started.error().message()));
    print_out("{}\n", *id);
    return 0;
  }
  std::string keys =
      options.detach_keys.empty() ? cli.config_string("detachKeys") : options.detach_keys;
  auto status = AttachedRun(*api, *id, options).run(keys);
  if (!status) return report("run", status.error(), kExitUsage);
  return *status;
}

const FlagGroup kCreateGroups[] = {shared_flags<&RunOptions::create>(kCreateFlags),
                                   shared_flags<&RunOptions::container>(kContainerFlags)};
const FlagGroup kRunGroups[] = {shared_flags<&RunOptions::create>(kCreateFlags),
                                shared_flags<&RunOptions::container>(kContainerFlags),
                                own_flags(kRunFlags)};

}  // namespace

std::span<const Command> run_commands() {
  static const Command commands[] = {
      command<RunOptions, run_run>({.name = "run",
                                    .use = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
                                    .summary = "Create and run a new container from an image",
                                    .examples = "gantry run --rm busybox echo hello\n"
                                                "gantry run -it --name shell busybox sh\n"
                                                "gantry run -d -p 8080:80 --restart always IMAGE",
                                    .arity = at_least(1),
                                    .flags = kRunGroups,
                                    .interspersed = Interspersed::no,
                                    .section = HelpSection::common}),
      command<RunOptions, run_create>({.name = "create",
                                       .use = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
                                       .summary = "Create a new container",
                                       .arity = at_least(1),
                                       .flags = kCreateGroups,
                                       .interspersed = Interspersed::no}),
  };
  return commands;
}

}  // namespace gantry::client
