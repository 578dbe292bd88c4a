#include <strings.h>

#include "client/commands/commands.h"
#include "client/io/session.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct AttachOptions {
  std::string detach_keys;
  bool no_stdin = false;
  bool sig_proxy = true;
};
constexpr Flag kAttachFlags[] = {
    flag<&AttachOptions::detach_keys>("detach-keys", 0,
                                      "Override the key sequence for detaching a container"),
    flag<&AttachOptions::no_stdin>("no-stdin", 0, "Do not attach STDIN"),
    flag<&AttachOptions::sig_proxy>("sig-proxy", 0, "Proxy all received signals to the process",
                                    {.default_text = "true"}),
};
const FlagGroup kAttachGroups[] = {own_flags(kAttachFlags)};

struct ExecOptions {
  bool detach = false, interactive = false, privileged = false, tty = false;
  std::string detach_keys, user, workdir;
  std::vector<std::string> env, env_file;
};
constexpr Flag kExecFlags[] = {
    flag<&ExecOptions::detach>("detach", 'd', "Detached mode: run command in the background"),
    flag<&ExecOptions::detach_keys>("detach-keys", 0,
                                    "Override the key sequence for detaching a container"),
    flag<&ExecOptions::env>("env", 'e', "Set environment variables"),
    flag<&ExecOptions::env_file>("env-file", 0, "Read in a file of environment variables"),
    flag<&ExecOptions::interactive>("interactive", 'i', "Keep STDIN open even if not attached"),
    flag<&ExecOptions::privileged>("privileged", 0, "Give extended privileges to the command"),
    flag<&ExecOptions::tty>("tty", 't', "Allocate a pseudo-TTY"),
    flag<&ExecOptions::user>("user", 'u', "Username or UID (format: \"<name|uid>[:<group|gid>]\")"),
    flag<&ExecOptions::workdir>("workdir", 'w', "Working directory inside the container"),
};
const FlagGroup kExecGroups[] = {own_flags(kExecFlags)};

struct StartOptions {
  bool attach = false, interactive = false;
  std::string detach_keys, checkpoint, checkpoint_dir;
};
constexpr Flag kStartFlags[] = {
    flag<&StartOptions::attach>("attach", 'a', "Attach STDOUT/STDERR and forward signals"),
    flag<&StartOptions::checkpoint>("checkpoint", 0, "Restore from this checkpoint"),
    flag<&StartOptions::checkpoint_dir>("checkpoint-dir", 0,
                                        "Use a custom checkpoint storage directory"),
    flag<&StartOptions::detach_keys>("detach-keys", 0,
                                     "Override the key sequence for detaching a container"),
    flag<&StartOptions::interactive>("interactive", 'i', "Attach container's STDIN"),
};
const FlagGroup kStartGroups[] = {own_flags(kStartFlags)};

Result<std::string> detach_keys(Cli& cli, const std::string& given) {
  return given.empty() ? cli.config_string("detachKeys") : given;
}

void post_quietly(Api& api, const Path& path) {
  auto sent = api.call("POST", path);
  (void)sent.has_value();  // what it was for may have ended already
}

void resize(Api& api, std::string_view kind, const std::string& id, WindowSize size) {
  if (size.rows == 0) return;
  Path path = Path::of({kind, id, "resize"});
  path.add("h", fmt::format("{}", size.rows)).add("w", fmt::format("{}", size.columns));
  post_quietly(api, path);
}

// attach and start -a: the container is there; `begin` is called once the streams are joined.
struct Joined {
  Api& api;
  std::string id;
  bool tty = false;
  bool input = false;
  bool proxy = false;
  std::string keys;
  std::string wait_condition;

  Result<int> run(const std::function<Status()>& begin) {
    SessionOptions options;
    options.tty = tty;
    options.input = input;
    options.detach_keys = TRY(parse_detach_keys(keys.empty() ? "ctrl-p,ctrl-q" : keys));
    options.proxy_signals = proxy && !tty;
    options.on_signal = [this](int signal) {
      Path path = Path::of({"containers", id, "kill"});
      path.add("signal", fmt::format("{}", signal));
      post_quietly(api, path);
    };
    options.on_resize = [this](WindowSize size) { resize(api, "containers", id, size); };
    Path path = Path::of({"containers", id, "attach"});
    path.add("stream", "1")
        .flag("stdin", input)
        .add("stdout", "1")
        .add("stderr", "1")
        .add_if("detachKeys", keys);
    http::Upgrade stream = TRY(api.hijack(path, nullptr));
    Path wait = Path::of({"containers", id, "wait"});
    wait.add_if("condition", wait_condition);
    http::Response exited = TRY(api.stream("POST", wait));
    Session session = TRY(Session::open(std::move(options)));
    TRY(begin());
    if (tty && is_terminal(STDOUT_FILENO))
      resize(api, "containers", id, window_size(STDOUT_FILENO));
    SessionEnd end = TRY(session.run(std::move(stream.fd), std::move(stream.leftover)));
    session.restore_terminal();
    if (end == SessionEnd::detached) return invalid("read escape sequence");
    if (!exited.readable()) TRY(session.wait_readable(exited.fd()));
    std::string body = TRY(exited.read_all());
    json::value answer = TRY(json::parse(body));
    std::string message = text_of(object_of(answer, "Error"), "Message");
    if (!message.empty()) return internal("{}", message);
    return static_cast<int>(number_of(answer, "StatusCode"));
  }
};

Result<int> run_attach(Cli& cli, AttachOptions& options, Arguments& arguments) {
  Api* api = TRY(cli.api());
  const std::string& name = arguments.front();
  json::value info = TRY(api->get(Path::of({"containers", name, "json"})));
  const json::object& state = object_of(info, "State");
  if (!flag_of(state, "Running"))
    return conflict("You cannot attach to a stopped container, start it first");
  if (flag_of(state, "Paused"))
    return conflict("You cannot attach to a paused container, unpause it first");
  if (flag_of(state, "Restarting"))
    return conflict("You cannot attach to a restarting container, wait until it is running");
  const json::object& config = object_of(info, "Config");
  const std::string keys = TRY(detach_keys(cli, options.detach_keys));
  Joined joined{*api,
                text_of(info, "Id"),
                flag_of(config, "Tty"),
                !options.no_stdin && flag_of(config, "OpenStdin"),
                options.sig_proxy,
                keys,
                ""};
  if (joined.input && joined.tty && !is_terminal(STDIN_FILENO))
    return invalid("the input device is not a TTY");
  return joined.run([] { return Status(); });
}

Result<int> start_attached(Cli& cli, const StartOptions& options, const std::string& name) {
  Api* api = TRY(cli.api());
  json::value info = TRY(api->get(Path::of({"containers", name, "json"})));
  const json::object& config = object_of(info, "Config");
  const bool removed = flag_of(object_of(info, "HostConfig"), "AutoRemove");
  const std::string keys = TRY(detach_keys(cli, options.detach_keys));
  Joined joined{*api,
                text_of(info, "Id"),
                flag_of(config, "Tty"),
                options.interactive && flag_of(config, "OpenStdin"),
                true,
                keys,
                removed ? "removed" : "next-exit"};
  if (joined.input && joined.tty && !is_terminal(STDIN_FILENO))
    return invalid("the input device is not a TTY");
  return joined.run([&]() -> Status {
    TRY(api->call("POST", Path::of({"containers", joined.id, "start"})));
    return {};
  });
}

Result<int> run_start(Cli& cli, StartOptions& options, Arguments& arguments) {
  if (options.attach || options.interactive) {
    if (arguments.size() > 1)
      return invalid("you cannot start and attach multiple containers at once");
    return start_attached(cli, options, arguments.front());
  }
  Api* api = TRY(cli.api());
  std::string failed;
  int status = TRY(for_each_name(arguments, EchoNames::yes, [&](const std::string& name) -> Status {
    Path path = Path::of({"containers", name, "start"});
    path.add_if("checkpoint", options.checkpoint).add_if("checkpoint-dir", options.checkpoint_dir);
    auto started = api->call("POST", path);
    if (started) return {};
    failed += (failed.empty() ? "" : ", ") + name;
    return std::move(started).error();
  }));
  if (status != 0) return invalid("Error: failed to start containers: {}", failed);
  return 0;
}

Result<int> run_exec(Cli& cli, ExecOptions& options, Arguments& arguments) {
  if (!options.detach && options.tty && options.interactive && !is_terminal(STDIN_FILENO))
    return invalid("the input device is not a TTY");
  Api* api = TRY(cli.api());
  const std::string keys = TRY(detach_keys(cli, options.detach_keys));
  json::array command;
  for (size_t i = 1; i < arguments.size(); ++i) command.push_back(json::value(arguments[i]));
  json::array environment;
  for (const std::string& text : TRY(collect_environment(options.env_file, options.env)))
    environment.push_back(json::value(text));
  const bool attached = !options.detach;
  const WindowSize size = options.tty ? window_size(STDOUT_FILENO) : WindowSize{};
  json::object request{{"User", options.user},
                       {"Privileged", options.privileged},
                       {"Tty", options.tty},
                       {"AttachStdin", attached && options.interactive},
                       {"AttachStdout", attached},
                       {"AttachStderr", attached},
                       {"DetachKeys", keys},
                       {"Env", std::move(environment)},
                       {"WorkingDir", options.workdir},
                       {"Cmd", std::move(command)}};
  json::object start{{"Detach", options.detach}, {"Tty", options.tty}};
  if (size.rows > 0) {
    request["ConsoleSize"] = json::array{size.rows, size.columns};
    start["ConsoleSize"] = json::array{size.rows, size.columns};
  }
  std::string body =
      TRY(api->call("POST", Path::of({"containers", arguments.front(), "exec"}), request));
  json::value made = TRY(json::parse(body));
  const std::string id = text_of(made, "Id");
  if (options.detach) {
    TRY(api->call("POST", Path::of({"exec", id, "start"}), start));
    return 0;
  }
  SessionOptions session_options;
  session_options.tty = options.tty;
  session_options.input = options.interactive;
  session_options.detach_keys = TRY(parse_detach_keys(keys.empty() ? "ctrl-p,ctrl-q" : keys));
  session_options.on_resize = [&](WindowSize now) { resize(*api, "exec", id, now); };
  http::Upgrade stream = TRY(api->hijack(Path::of({"exec", id, "start"}), start));
  Session session = TRY(Session::open(std::move(session_options)));
  if (options.tty && is_terminal(STDOUT_FILENO))
    resize(*api, "exec", id, window_size(STDOUT_FILENO));
  SessionEnd end = TRY(session.run(std::move(stream.fd), std::move(stream.leftover)));
  session.restore_terminal();
  if (end == SessionEnd::detached) return invalid("read escape sequence");
  json::value info = TRY(api->get(Path::of({"exec", id, "json"})));
  return static_cast<int>(number_of(info, "ExitCode"));
}

}  // namespace

std::span<const Command> attach_commands() {
  static const Command commands[] = {
      command<ExecOptions, run_exec>({.name = "exec",
                                      .use = "[OPTIONS] CONTAINER COMMAND [ARG...]",
                                      .summary = "Execute a command in a running container",
                                      .arity = at_least(2),
                                      .flags = kExecGroups,
                                      .interspersed = Interspersed::no,
                                      .section = HelpSection::common}),
      command<AttachOptions, run_attach>(
          {.name = "attach",
           .use = "[OPTIONS] CONTAINER",
           .summary =
               "Attach local standard input, output, and error streams to a running container",
           .arity = exactly(1),
           .flags = kAttachGroups}),
      command<StartOptions, run_start>({.name = "start",
                                        .use = "[OPTIONS] CONTAINER [CONTAINER...]",
                                        .summary = "Start one or more stopped containers",
                                        .arity = at_least(1),
                                        .flags = kStartGroups}),
  };
  return commands;
}

}  // namespace gantry::client
