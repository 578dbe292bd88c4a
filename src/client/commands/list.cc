#include <algorithm>

#include "base/clock.h"
#include "client/commands/commands.h"
#include "client/commands/container_rows.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct PsOptions {
  bool all = false, latest = false, no_trunc = false, quiet = false, size = false;
  int64_t last = -1;
  std::string format;
  std::vector<std::string> filter;
};
constexpr Flag kListFlags[] = {
    flag<&PsOptions::all>("all", 'a', "Show all containers (default shows just running)"),
    flag<&PsOptions::filter>("filter", 'f', "Filter output based on conditions provided",
                             {.type = "filter", .set = set_filter}),
    flag<&PsOptions::format>("format", 0, kFormatUsage),
    flag<&PsOptions::last>("last", 'n', "Show n last created containers (includes all states)",
                           {.default_text = "-1"}),
    flag<&PsOptions::latest>("latest", 'l',
                             "Show the latest created container (includes all states)"),
    flag<&PsOptions::no_trunc>("no-trunc", 0, "Don't truncate output"),
    flag<&PsOptions::quiet>("quiet", 'q', "Only display container IDs"),
    flag<&PsOptions::size>("size", 's', "Display total file sizes"),
};
const FlagGroup kListGroups[] = {own_flags(kListFlags)};

constexpr std::string_view kTable =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
constexpr std::string_view kSizedTable =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{."
    "Size}}";

Result<int> run_list(Cli& cli, PsOptions& options, Arguments&) {
  if (options.latest) options.last = 1;
  std::string format =
      options.format.empty() && !options.quiet ? cli.config_string("psFormat") : options.format;
  Path path("/containers/json");
  path.flag("all", options.all);
  if (options.last > 0) path.add("limit", fmt::format("{}", options.last));
  path.flag("size", options.size || format.find(".Size") != format.npos ||
                        format.find("{{json .}}") != format.npos);
  const std::string filters = TRY(filters_parameter(options.filter));
  path.add_if("filters", filters);
  Api* api = TRY(cli.api());
  json::value list = TRY(api->get(path));
  if (!list.is_array()) return internal("the daemon's list of containers is no list");

  if (options.quiet && (format.empty() || format == "table")) {
    for (const json::value& container : list.get_array()) {
      std::string id = text_of(container, "Id");
      print_out("{}\n", options.no_trunc ? id : id.substr(0, 12));
    }
    return 0;
  }
  Listing listing = container_listing(list.get_array(),
                                      options.no_trunc ? Truncate::no : Truncate::yes, now_ns());
  listing.table = options.size ? kSizedTable : kTable;
  const std::string shown = TRY(render(listing, format));
  print_out(shown);
  return 0;
}

constexpr std::string_view kAliases[] = {"list", "ps"};

}  // namespace

std::span<const Command> list_commands() {
  static const Command commands[] = {
      command<PsOptions, run_list>({.name = "ls",
                                    .aliases = kAliases,
                                    .use = "[OPTIONS]",
                                    .summary = "List containers",
                                    .arity = exactly(0),
                                    .flags = kListGroups}),
  };
  return commands;
}

}  // namespace gantry::client
