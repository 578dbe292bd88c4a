#include <algorithm>

#include "base/units.h"
#include "client/commands/commands.h"
#include "client/format/table.h"
#include "client/format/template.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct VolumeCreateOptions {
  std::string driver = "local", name;
  std::vector<std::string> label, opt;
};
constexpr Flag kCreateFlags[] = {
    flag<&VolumeCreateOptions::driver>("driver", 'd', "Specify volume driver name",
                                       {.default_text = "\"local\""}),
    flag<&VolumeCreateOptions::label>("label", 0, "Set metadata for a volume"),
    flag<&VolumeCreateOptions::name>("name", 0, "Specify volume name", {.hidden = true}),
    flag<&VolumeCreateOptions::opt>("opt", 'o', "Set driver specific options",
                                    {.type = "map", .default_text = "map[]"}),
};
const FlagGroup kCreateGroups[] = {own_flags(kCreateFlags)};

struct VolumeListOptions {
  bool quiet = false;
  std::string format;
  std::vector<std::string> filter;
};
constexpr Flag kListFlags[] = {
    flag<&VolumeListOptions::filter>("filter", 'f',
                                     "Provide filter values (e.g. \"dangling=true\")",
                                     {.type = "filter", .set = set_filter}),
    flag<&VolumeListOptions::format>("format", 0, kFormatUsage),
    flag<&VolumeListOptions::quiet>("quiet", 'q', "Only display volume names"),
};
const FlagGroup kListGroups[] = {own_flags(kListFlags)};

struct VolumeRemoveOptions {
  bool force = false, all = false;
  std::vector<std::string> filter;
};
constexpr Flag kRemoveFlags[] = {
    flag<&VolumeRemoveOptions::force>("force", 'f', "Force the removal of one or more volumes")};
constexpr Flag kPruneFlags[] = {
    flag<&VolumeRemoveOptions::all>("all", 'a',
                                    "Remove all unused volumes, not just anonymous ones"),
    flag<&VolumeRemoveOptions::filter>("filter", 0,
                                       "Provide filter values (e.g. \"label=<label>\")",
                                       {.type = "filter", .set = set_filter}),
    flag<&VolumeRemoveOptions::force>("force", 'f', "Do not prompt for confirmation"),
};
const FlagGroup kRemoveGroups[] = {own_flags(kRemoveFlags)};
const FlagGroup kPruneGroups[] = {own_flags(kPruneFlags)};

Result<int> run_create(Cli& cli, VolumeCreateOptions& options, Arguments& names) {
  if (!names.empty() && !options.name.empty())
    return invalid(
        "conflicting options: cannot specify a volume-name through both --name and as a positional "
        "arg");
  json::object request{{"Driver", options.driver},
                       {"DriverOpts", key_values(options.opt)},
                       {"Labels", key_values(options.label)},
                       {"Name", names.empty() ? options.name : names[0]}};
  Api* api = TRY(cli.api());
  std::string body = TRY(api->call("POST", Path("/volumes/create"), request));
  json::value answer = TRY(json::parse(body));
  print_out("{}\n", text_of(answer, "Name"));
  return 0;
}

Result<int> run_list(Cli& cli, VolumeListOptions& options, Arguments&) {
  std::string format = options.format.empty() && !options.quiet ? cli.config_string("volumesFormat")
                                                                : options.format;
  Path path("/volumes");
  const std::string filters = TRY(filters_parameter(options.filter));
  path.add_if("filters", filters);
  Api* api = TRY(cli.api());
  json::value answer = TRY(api->get(path));
  json::array volumes = array_of(answer, "Volumes");
  std::ranges::sort(volumes, {}, [](const json::value& volume) { return text_of(volume, "Name"); });
  Listing listing;
  listing.type_name = "*formatter.volumeContext";
  listing.headings = {{"Name", "VOLUME NAME"}, {"Driver", "DRIVER"},
                      {"Scope", "SCOPE"},      {"Mountpoint", "MOUNTPOINT"},
                      {"Labels", "LABELS"},    {"Links", "LINKS"},
                      {"Size", "SIZE"},        {"Availability", "AVAILABILITY"},
                      {"Group", "GROUP"},      {"Status", "STATUS"}};
  listing.table = "{{.Driver}}\t{{.Name}}";
  for (const json::value& volume : volumes) {
    if (options.quiet && format.empty()) {
      print_out("{}\n", text_of(volume, "Name"));
      continue;
    }
    json::object row{{"Availability", "N/A"},
                     {"Group", "N/A"},
                     {"Status", "N/A"},
                     {"Links", "N/A"},
                     {"Size", "N/A"}};
    for (std::string_view member : {"Name", "Driver", "Scope", "Mountpoint"})
      row[member] = text_of(volume, member);
    row["Labels"] = comma_pairs(object_of(volume, "Labels"));
    if (const json::object& usage = object_of(volume, "UsageData"); !usage.empty()) {
      row["Links"] = fmt::format("{}", number_of(usage, "RefCount"));
      row["Size"] = human_size(static_cast<double>(number_of(usage, "Size")));
    }
    row[kMethods] = json::object{{"Label", object_of(volume, "Labels")}};
    listing.rows.push_back(std::move(row));
  }
  if (options.quiet && format.empty()) return 0;
  const std::string shown = TRY(render(listing, format));
  print_out(shown);
  return 0;
}

Result<int> run_remove(Cli& cli, VolumeRemoveOptions& options, Arguments& names) {
  Api* api = TRY(cli.api());
  return for_each_name(names, EchoNames::yes, [&](const std::string& name) -> Status {
    TRY(api->call("DELETE", Path::of({"volumes", name}).flag("force", options.force)));
    return {};
  });
}

Result<int> run_prune(Cli& cli, VolumeRemoveOptions& options, Arguments&) {
  if (options.all) options.filter.emplace_back("all=true");
  Path path("/volumes/prune");
  const std::string filters = TRY(filters_parameter(options.filter));
  path.add_if("filters", filters);
  if (!options.force) {
    bool yes =
        TRY(confirm(options.all ? "WARNING! This will remove all local volumes not used by at "
                                  "least one container.\nAre you sure you want to continue?"
                                : "WARNING! This will remove anonymous local volumes not used by "
                                  "at least one container.\nAre you sure you want to continue?"));
    if (!yes) return invalid("volume prune has been cancelled");
  }
  Api* api = TRY(cli.api());
  std::string body = TRY(api->call("POST", path));
  json::value answer = TRY(json::parse(body));
  if (const json::array& deleted = array_of(answer, "VolumesDeleted"); !deleted.empty()) {
    print_out("Deleted Volumes:\n");
    for (const json::value& name : deleted) print_out("{}\n", std::string_view(name.get_string()));
    print_out("\n");
  }
  print_out("Total reclaimed space: {}\n",
            human_size(static_cast<double>(number_of(answer, "SpaceReclaimed"))));
  return 0;
}

struct VolumeCopyOptions {};

// The new volume's name is the answer.
Result<int> copy_volume(Cli& cli, const char* how, const Arguments& names) {
  json::object request{{"Name", names.size() > 1 ? names[1] : std::string()}};
  Api* api = TRY(cli.api());
  std::string body =
      TRY(api->call("POST", Path::of({"gantry", "volumes", names[0], how}), request));
  json::value answer = TRY(json::parse(body));
  print_out("{}\n", text_of(answer, "Name"));
  return 0;
}
Result<int> run_snapshot(Cli& cli, VolumeCopyOptions&, Arguments& names) {
  return copy_volume(cli, "snapshot", names);
}
Result<int> run_clone(Cli& cli, VolumeCopyOptions&, Arguments& names) {
  return copy_volume(cli, "clone", names);
}
Result<int> run_restore(Cli& cli, VolumeCopyOptions&, Arguments& names) {
  json::object request{{"Snapshot", names[1]}};
  Api* api = TRY(cli.api());
  TRY(api->call("POST", Path::of({"gantry", "volumes", names[0], "restore"}), request));
  print_out("{}\n", names[0]);
  return 0;
}

constexpr std::string_view kListAliases[] = {"list"};
constexpr std::string_view kRemoveAliases[] = {"remove"};

}  // namespace

std::span<const Command> volume_commands() {
  static const Command commands[] = {
      command<VolumeCreateOptions, run_create>({.name = "create",
                                                .use = "[OPTIONS] [VOLUME]",
                                                .summary = "Create a volume",
                                                .arity = at_most(1),
                                                .flags = kCreateGroups}),
      command<VolumeCopyOptions, run_clone>({.name = "clone",
                                             .use = "VOLUME [NEW]",
                                             .summary = "Make a volume with what another has now",
                                             .arity = between(1, 2)}),
      command<VolumeCopyOptions, run_snapshot>(
          {.name = "snapshot",
           .use = "VOLUME [NEW]",
           .summary = "Keep what a volume has now in a new volume",
           .arity = between(1, 2)}),
      command<VolumeCopyOptions, run_restore>(
          {.name = "restore",
           .use = "VOLUME SNAPSHOT",
           .summary = "Give a volume what a snapshot of it has; what it had is lost",
           .arity = exactly(2)}),
      command<VolumeListOptions, run_list>({.name = "ls",
                                            .aliases = kListAliases,
                                            .use = "[OPTIONS]",
                                            .summary = "List volumes",
                                            .arity = exactly(0),
                                            .flags = kListGroups}),
      command<VolumeRemoveOptions, run_prune>({.name = "prune",
                                               .use = "[OPTIONS]",
                                               .summary = "Remove unused local volumes",
                                               .arity = exactly(0),
                                               .flags = kPruneGroups}),
      command<VolumeRemoveOptions, run_remove>(
          {.name = "rm",
           .aliases = kRemoveAliases,
           .use = "[OPTIONS] VOLUME [VOLUME...]",
           .summary = "Remove one or more volumes. You cannot remove a volume that is in use by a "
                      "container.",
           .arity = at_least(1),
           .flags = kRemoveGroups}),
  };
  return commands;
}

}  // namespace gantry::client
