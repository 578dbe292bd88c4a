#include "client/cli/root.h"

#include "client/commands/commands.h"
#include "client/commands/cp.h"

namespace gantry::client {
namespace {

constexpr Flag kGlobalFlags[] = {
    flag<&GlobalOptions::config>("config", 0, "Location of client config files",
                                 {.default_text = "\"~/.docker\""}),
    flag<&GlobalOptions::context>(
        "context", 'c',
        "Name of the context to use to connect to the daemon (overrides GANTRY_HOST and "
        "DOCKER_HOST)"),
    flag<&GlobalOptions::debug>("debug", 'D', "Enable debug mode"),
    flag<&GlobalOptions::host>("host", 'H', "Daemon socket to connect to"),
    flag<&GlobalOptions::log_level>(
        "log-level", 'l',
        "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")",
        {.default_text = "\"info\""}),
    flag<&GlobalOptions::tls>("tls", 0, "Use TLS; implied by --tlsverify"),
    flag<&GlobalOptions::tls_ca>("tlscacert", 0, "Trust certs signed only by this CA"),
    flag<&GlobalOptions::tls_cert>("tlscert", 0, "Path to TLS certificate file"),
    flag<&GlobalOptions::tls_key>("tlskey", 0, "Path to TLS key file"),
    flag<&GlobalOptions::tls_verify>("tlsverify", 0, "Use TLS and verify the remote"),
    flag<&GlobalOptions::version>("version", 'v', "Print version information and quit"),
};
const FlagGroup kGlobalGroups[] = {own_flags(kGlobalFlags)};

// The management form of a group: "container" with the commands of these groups below it.
Command management(std::string_view name, std::string_view summary,
                   const std::vector<Command>& children) {
  Command out;
  out.name = name;
  out.summary = summary;
  out.section = HelpSection::management;
  out.children = children;
  return out;
}

std::vector<Command> gather(std::initializer_list<std::span<const Command>> groups) {
  std::vector<Command> out;
  for (auto group : groups)
    for (const Command& command : group) out.push_back(command);
  return out;
}

struct Tree {
  std::vector<Command> container, image, manifest, network, volume, job, system, graph, all;
  Command root;

  Tree() {
    auto inspect = [](std::string_view kind) {
      return std::vector<Command>{in_group(inspect_commands(), kind).as("inspect")};
    };
    container = gather({run_commands(), attach_commands(), lifecycle_commands(), list_commands(),
                        log_commands(), container_info_commands(), copy_commands(), cp_commands(),
                        update_commands(), inspect("container-inspect")});
    image = gather({image_commands(), archive_commands(), transfer_commands(),
                    inspect("image-inspect"), trust_commands()});
    manifest = gather({manifest_commands()});
    network = gather({network_commands(), inspect("network-inspect")});
    volume = gather({volume_commands(), inspect("volume-inspect")});
    job = gather({job_commands(), inspect("job-inspect")});
    system = gather({system_commands(), care_commands()});
    graph = gather({graph_commands()});
    std::erase_if(system, [](const Command& c) { return c.name == "version"; });
    std::erase_if(container, [](const Command& c) { return c.name == "events"; });
    system.push_back(in_group(log_commands(), "events"));

    // At the root: the common ones first, in the order in which the help shows them.
    for (const Command& command : container)
      if (command.name != "ls" && command.name != "prune" && command.name != "inspect")
        all.push_back(command);
    all.push_back(in_group(list_commands(), "ls").as("ps").in(HelpSection::common));
    for (const Command& command : image)
      if (command.name != "ls" && command.name != "rm" && command.name != "prune" &&
          command.name != "inspect" && command.name != "sign" && command.name != "verify" &&
          command.name != "trust")
        all.push_back(command);
    all.push_back(in_group(image_commands(), "ls").as("images").in(HelpSection::common));
    all.push_back(in_group(image_commands(), "rm").as("rmi"));
    all.push_back(in_group(log_commands(), "events"));
    for (const Command& command : registry_commands()) all.push_back(command);
    all.push_back(in_group(system_commands(), "version").in(HelpSection::common));
    all.push_back(in_group(system_commands(), "info").in(HelpSection::common));
    all.push_back(in_group(inspect_commands(), "inspect"));
    all.push_back(management("container", "Manage containers", container));
    all.push_back(management("graph", "Show what is kept, and why", graph));
    all.push_back(management("image", "Manage images", image));
    all.push_back(
        management("manifest", "Manage Docker image manifests and manifest lists", manifest));
    all.push_back(management("network", "Manage networks", network));
    all.push_back(management("volume", "Manage volumes", volume));
    all.push_back(management("job", "Manage jobs of the engine", job));
    all.push_back(management("system", "Manage Gantry", system));
    root.summary = "A container engine for Linux";
    root.children = all;
    root.flags = kGlobalGroups;
  }
};

}  // namespace

const Command& root_command() {
  static const Tree tree;
  return tree.root;
}

int run_client(std::span<const std::string> words) {
  GlobalOptions options;
  auto parsed = parse_flags(kGlobalGroups, &options, Interspersed::no, words);
  if (!parsed) {
    print_error(
        fmt::format("{}\n\nUsage:  gantry [OPTIONS] COMMAND [ARG...]\n\nRun 'gantry --help' for "
                    "more information",
                    parsed.error().message()));
    return kExitUsage;
  }
  if (parsed->help) parsed->arguments = {"--help"};
  if (options.version) {
    print_out("Gantry version {}\n", GANTRY_VERSION);
    return 0;
  }
  if (options.tls || options.tls_verify.value_or(false)) {
    print_error(
        "gantry: TLS connections are not supported by this build; use a unix:// or ssh-forwarded "
        "socket");
    return kExitFailure;
  }
  Cli cli(std::move(options));
  return dispatch(cli, parsed->arguments);
}

}  // namespace gantry::client
