#include "base/units.h"
#include "client/commands/commands.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct StopOptions {
  std::string signal;
  std::optional<int64_t> timeout;
};
constexpr Flag kStopFlags[] = {
    flag<&StopOptions::signal>("signal", 's', "Signal to send to the container"),
    flag<&StopOptions::timeout>("timeout", 't', "Seconds to wait before killing the container"),
    flag<&StopOptions::timeout>("time", 0, "Seconds to wait before killing the container",
                                {.hidden = true}),
};
const FlagGroup kStopGroups[] = {own_flags(kStopFlags)};

struct KillOptions {
  std::string signal;
};
constexpr Flag kKillFlags[] = {
    flag<&KillOptions::signal>("signal", 's', "Signal to send to the container")};
const FlagGroup kKillGroups[] = {own_flags(kKillFlags)};

struct ContainerRemoveOptions {
  bool force = false, link = false, volumes = false;
};
constexpr Flag kRemoveFlags[] = {
    flag<&ContainerRemoveOptions::force>("force", 'f',
                                         "Force the removal of a running container (uses SIGKILL)"),
    flag<&ContainerRemoveOptions::link>("link", 'l', "Remove the specified link"),
    flag<&ContainerRemoveOptions::volumes>(
        "volumes", 'v', "Remove anonymous volumes associated with the container"),
};
const FlagGroup kRemoveGroups[] = {own_flags(kRemoveFlags)};

struct ContainerPruneOptions {
  std::vector<std::string> filter;
  bool force = false;
};
constexpr Flag kPruneFlags[] = {
    flag<&ContainerPruneOptions::filter>("filter", 0,
                                         "Provide filter values (e.g. \"until=<timestamp>\")",
                                         {.type = "filter", .set = set_filter}),
    flag<&ContainerPruneOptions::force>("force", 'f', "Do not prompt for confirmation"),
};
const FlagGroup kPruneGroups[] = {own_flags(kPruneFlags)};

// POST /containers/NAME/VERB for every name.
Result<int> post_each(Cli& cli, const Arguments& names, std::string_view verb,
                      const StopOptions& options) {
  Api* api = TRY(cli.api());
  return for_each_name(names, EchoNames::yes, [&](const std::string& name) -> Status {
    Path path = Path::of({"containers", name, verb});
    path.add_if("signal", options.signal);
    if (options.timeout) path.add("t", fmt::format("{}", *options.timeout));
    TRY(api->call("POST", path));
    return {};
  });
}

Result<int> run_stop(Cli& cli, StopOptions& options, Arguments& names) {
  return post_each(cli, names, "stop", options);
}
Result<int> run_restart(Cli& cli, StopOptions& options, Arguments& names) {
  return post_each(cli, names, "restart", options);
}
Result<int> run_kill(Cli& cli, KillOptions& options, Arguments& names) {
  return post_each(cli, names, "kill", {options.signal, std::nullopt});
}
Result<int> run_pause(Cli& cli, NoOptions&, Arguments& names) {
  return post_each(cli, names, "pause", {});
}
Result<int> run_unpause(Cli& cli, NoOptions&, Arguments& names) {
  return post_each(cli, names, "unpause", {});
}

Result<int> run_remove(Cli& cli, ContainerRemoveOptions& options, Arguments& names) {
  Api* api = TRY(cli.api());
  return for_each_name(names, EchoNames::no, [&](const std::string& given) -> Status {
    std::string name = given.starts_with('/') ? given.substr(1) : given;
    if (name.empty()) return invalid("Container name cannot be empty");
    Path path = Path::of({"containers", name});
    path.flag("force", options.force).flag("link", options.link).flag("v", options.volumes);
    auto removed = api->call("DELETE", path);
    if (removed || (options.force && removed.error().kind() == ErrorKind::not_found)) {
      if (removed)
        print_out("{}\n", given);
      else
        print_error(removed.error().message());
      return {};
    }
    return std::move(removed).error();
  });
}

Result<int> run_wait(Cli& cli, NoOptions&, Arguments& names) {
  Api* api = TRY(cli.api());
  return for_each_name(names, EchoNames::no, [&](const std::string& name) -> Status {
    std::string body = TRY(api->call("POST", Path::of({"containers", name, "wait"})));
    json::value answer = TRY(json::parse(body));
    std::string message = text_of(object_of(answer, "Error"), "Message");
    if (!message.empty()) return internal("{}", message);
    print_out("{}\n", number_of(answer, "StatusCode"));
    flush_out();
    return {};
  });
}

Result<int> run_rename(Cli& cli, NoOptions&, Arguments& names) {
  for (const std::string& name : names)
    if (name.empty()) return invalid("Error: Neither old nor new names may be empty");
  Api* api = TRY(cli.api());
  Path path = Path::of({"containers", names[0], "rename"});
  path.add("name", names[1]);
  auto renamed = api->call("POST", path);
  if (renamed) return 0;
  if (renamed.error().kind() == ErrorKind::unavailable) return std::move(renamed).error();
  print_error(renamed.error().message());
  return invalid("Error: failed to rename container named {}", names[0]);
}

Result<int> run_prune(Cli& cli, ContainerPruneOptions& options, Arguments&) {
  Path path("/containers/prune");
  const std::string filters = TRY(filters_parameter(options.filter));
  path.add_if("filters", filters);
  if (!options.force) {
    bool yes = TRY(confirm(
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?"));
    if (!yes) return invalid("container prune has been cancelled");
  }
  Api* api = TRY(cli.api());
  std::string body = TRY(api->call("POST", path));
  json::value answer = TRY(json::parse(body));
  if (const json::array& deleted = array_of(answer, "ContainersDeleted"); !deleted.empty()) {
    print_out("Deleted Containers:\n");
    for (const json::value& id : deleted) print_out("{}\n", std::string_view(id.get_string()));
    print_out("\n");
  }
  print_out("Total reclaimed space: {}\n",
            human_size(static_cast<double>(number_of(answer, "SpaceReclaimed"))));
  return 0;
}

constexpr std::string_view kRemoveAliases[] = {"remove"};

}  // namespace

std::span<const Command> lifecycle_commands() {
  static constexpr std::string_view kMany = "[OPTIONS] CONTAINER [CONTAINER...]";
  static const Command commands[] = {
      command<StopOptions, run_stop>({.name = "stop",
                                      .use = kMany,
                                      .summary = "Stop one or more running containers",
                                      .arity = at_least(1),
                                      .flags = kStopGroups}),
      command<StopOptions, run_restart>({.name = "restart",
                                         .use = kMany,
                                         .summary = "Restart one or more containers",
                                         .arity = at_least(1),
                                         .flags = kStopGroups}),
      command<KillOptions, run_kill>({.name = "kill",
                                      .use = kMany,
                                      .summary = "Kill one or more running containers",
                                      .arity = at_least(1),
                                      .flags = kKillGroups}),
      command<NoOptions, run_pause>({.name = "pause",
                                     .use = "CONTAINER [CONTAINER...]",
                                     .summary = "Pause all processes within one or more containers",
                                     .arity = at_least(1)}),
      command<NoOptions, run_unpause>(
          {.name = "unpause",
           .use = "CONTAINER [CONTAINER...]",
           .summary = "Unpause all processes within one or more containers",
           .arity = at_least(1)}),
      command<ContainerRemoveOptions, run_remove>({.name = "rm",
                                                   .aliases = kRemoveAliases,
                                                   .use = kMany,
                                                   .summary = "Remove one or more containers",
                                                   .arity = at_least(1),
                                                   .flags = kRemoveGroups}),
      command<NoOptions, run_wait>(
          {.name = "wait",
           .use = "CONTAINER [CONTAINER...]",
           .summary = "Block until one or more containers stop, then print their exit codes",
           .arity = at_least(1)}),
      command<NoOptions, run_rename>({.name = "rename",
                                      .use = "CONTAINER NEW_NAME",
                                      .summary = "Rename a container",
                                      .arity = exactly(2)}),
      command<ContainerPruneOptions, run_prune>({.name = "prune",
                                                 .use = "[OPTIONS]",
                                                 .summary = "Remove all stopped containers",
                                                 .arity = exactly(0),
                                                 .flags = kPruneGroups}),
  };
  return commands;
}

}  // namespace gantry::client
