#include <sys/utsname.h>

#include <algorithm>

#include "base/units.h"
#include "client/commands/commands.h"
#include "client/commands/info_text.h"
#include "client/format/table.h"
#include "client/format/template.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct VersionOptions {
  std::string format;
  bool client = false;
};
constexpr Flag kVersionFlags[] = {
    flag<&VersionOptions::client>("client", 0,
                                  "Show the version of the client only; asks no daemon"),
    flag<&VersionOptions::format>("format", 'f', kInspectFormatUsage),
};
const FlagGroup kVersionGroups[] = {own_flags(kVersionFlags)};

struct InfoOptions {
  std::string format;
};
constexpr Flag kInfoFlags[] = {flag<&InfoOptions::format>("format", 'f', kInspectFormatUsage)};
const FlagGroup kInfoGroups[] = {own_flags(kInfoFlags)};

struct DfOptions {
  std::string format;
  bool verbose = false;
};
constexpr Flag kDfFlags[] = {
    flag<&DfOptions::format>("format", 0, kFormatUsage),
    flag<&DfOptions::verbose>("verbose", 'v', "Show detailed information on space usage"),
};
const FlagGroup kDfGroups[] = {own_flags(kDfFlags)};

struct SystemPruneOptions {
  bool all = false, force = false, volumes = false;
  std::vector<std::string> filter;
};
constexpr Flag kPruneFlags[] = {
    flag<&SystemPruneOptions::all>("all", 'a', "Remove all unused images not just dangling ones"),
    flag<&SystemPruneOptions::filter>("filter", 0,
                                      "Provide filter values (e.g. \"label=<key>=<value>\")",
                                      {.type = "filter", .set = set_filter}),
    flag<&SystemPruneOptions::force>("force", 'f', "Do not prompt for confirmation"),
    flag<&SystemPruneOptions::volumes>("volumes", 0, "Prune anonymous volumes"),
};
const FlagGroup kPruneGroups[] = {own_flags(kPruneFlags)};

// A template, "json", or nothing: then `plain` is printed.
Status print_formatted(const json::value& document, std::string_view format,
                       std::string_view plain) {
  if (format.empty()) {
    print_out(plain);
    return {};
  }
  if (format == "json") {
    print_out("{}\n", json::serialize(document));
    return {};
  }
  Template parsed = TRY(Template::parse(unescape_format(format)).context("template parsing error"));
  const std::string shown = TRY(parsed.execute(document, {}).context("template parsing error"));
  print_out(shown);
  print_out("\n");
  return {};
}

std::string architecture() {
  struct utsname name {};
  ::uname(&name);
  std::string machine(name.machine);
  return machine == "x86_64" ? "amd64" : machine == "aarch64" ? "arm64" : machine;
}

Result<int> run_version(Cli& cli, VersionOptions& options, Arguments&) {
  std::optional<Error> failure;
  json::value server;
  std::string api_version(kApiVersion);
  if (!options.client) {
    auto api = cli.api();
    if (!api) {
      failure = std::move(api).error();
    } else {
      auto answer = (*api)->get(Path("/version"));
      if (answer)
        server = std::move(*answer);
      else
        failure = std::move(answer).error();
      api_version = (*api)->version();
    }
  }
  json::object client{{"Version", GANTRY_VERSION},        {"ApiVersion", api_version},
                      {"DefaultAPIVersion", kApiVersion}, {"Os", "linux"},
                      {"Arch", architecture()},           {"Context", cli.context_name()}};
  json::object document{{"Client", client}};
  if (server.is_object()) document["Server"] = server;
  TRY(print_formatted(document, options.format, version_text(client, server)));
  if (failure) {
    print_error(failure->message());
    return kExitFailure;
  }
  return 0;
}

Result<int> run_info(Cli& cli, InfoOptions& options, Arguments&) {
  json::object client{
      {"Version", GANTRY_VERSION}, {"Context", cli.context_name()}, {"Debug", cli.options().debug}};
  Api* api = TRY(cli.api());
  auto server = api->get(Path("/info"));
  if (!server) {
    if (options.format.empty()) print_out(info_text(client, json::value()));
    return std::move(server).error();
  }
  json::value document = *server;
  if (document.is_object()) document.get_object()["ClientInfo"] = client;
  TRY(print_formatted(document, options.format, info_text(client, *server)));
  return 0;
}

struct Usage {
  std::string_view type;
  int64_t total = 0, active = 0, size = 0, reclaimable = 0;
};

std::string reclaimable_text(const Usage& usage, bool percent) {
  std::string text = human_size(static_cast<double>(usage.reclaimable));
  if (!percent || usage.size <= 0) return text;
  return fmt::format("{} ({}%)", text, usage.reclaimable * 100 / usage.size);
}

std::vector<Usage> usages(const json::value& df) {
  Usage images{"Images"}, containers{"Containers"}, volumes{"Local Volumes"}, cache{"Build Cache"};
  images.size = number_of(df, "LayersSize");
  int64_t used = 0;
  for (const json::value& image : array_of(df, "Images")) {
    ++images.total;
    if (number_of(image, "Containers") > 0) {
      ++images.active;
      if (number_of(image, "Size") >= 0 && number_of(image, "SharedSize") >= 0)
        used += number_of(image, "Size") - number_of(image, "SharedSize");
    }
  }
  images.reclaimable = std::max<int64_t>(0, images.size - used);
  for (const json::value& container : array_of(df, "Containers")) {
    ++containers.total;
    const int64_t size = number_of(container, "SizeRw");
    containers.size += size;
    const std::string state = text_of(container, "State");
    if (state == "running" || state == "paused" || state == "restarting")
      ++containers.active;
    else
      containers.reclaimable += size;
  }
  for (const json::value& volume : array_of(df, "Volumes")) {
    const json::object& usage = object_of(volume, "UsageData");
    const int64_t size = std::max<int64_t>(0, number_of(usage, "Size"));
    ++volumes.total;
    volumes.size += size;
    if (number_of(usage, "RefCount") > 0)
      ++volumes.active;
    else
      volumes.reclaimable += size;
  }
  for (const json::value& record : array_of(df, "BuildCache")) {
    const int64_t size = number_of(record, "Size");
    ++cache.total;
    if (!flag_of(record, "Shared")) cache.size += size;
    if (flag_of(record, "InUse"))
      ++cache.active;
    else if (!flag_of(record, "Shared"))
      cache.reclaimable += size;
  }
  return {images, containers, volumes, cache};
}

Result<int> run_df(Cli& cli, DfOptions& options, Arguments&) {
  Api* api = TRY(cli.api());
  json::value df = TRY(api->get(Path("/system/df")));
  if (options.verbose) {
    if (!options.format.empty()) {
      TRY(print_formatted(df, options.format, ""));
      return 0;
    }
    const std::string details = TRY(df_details(df));
    print_out(details);
    return 0;
  }
  Listing listing;
  listing.type_name = "*formatter.diskUsageContext";
  listing.headings = {{"Type", "TYPE"},
                      {"TotalCount", "TOTAL"},
                      {"Active", "ACTIVE"},
                      {"Size", "SIZE"},
                      {"Reclaimable", "RECLAIMABLE"}};
  listing.table = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
  for (const Usage& usage : usages(df)) {
    json::object row;
    row["Type"] = usage.type;
    row["TotalCount"] = fmt::format("{}", usage.total);
    row["Active"] = fmt::format("{}", usage.active);
    row["Size"] = human_size(static_cast<double>(usage.size));
    row["Reclaimable"] = reclaimable_text(usage, usage.type != "Build Cache");
    listing.rows.push_back(std::move(row));
  }
  const std::string shown = TRY(render(listing, options.format));
  print_out(shown);
  return 0;
}

Result<int> run_prune(Cli& cli, SystemPruneOptions& options, Arguments&) {
  if (!options.force) {
    std::string question =
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at "
        "least one container\n";
    if (options.volumes)
      question += "  - all anonymous volumes not used by at least one container\n";
    question += options.all ? "  - all images without at least one container associated to them\n"
                            : "  - all dangling images\n";
    question += "  - unused build cache\n\nAre you sure you want to continue?";
    bool yes = TRY(confirm(question));
    if (!yes) return invalid("system prune has been cancelled");
  }
  Api* api = TRY(cli.api());
  struct Step {
    std::string_view path, member, title;
    bool wanted;
  };
  const Step steps[] = {{"/containers/prune", "ContainersDeleted", "Deleted Containers", true},
                        {"/networks/prune", "NetworksDeleted", "Deleted Networks", true},
                        {"/volumes/prune", "VolumesDeleted", "Deleted Volumes", options.volumes},
                        {"/images/prune", "ImagesDeleted", "Deleted Images", true},
                        {"/build/prune", "CachesDeleted", "Deleted build cache objects", true}};
  int64_t reclaimed = 0;
  for (const Step& step : steps) {
    if (!step.wanted) continue;
    std::vector<std::string> wanted = options.filter;
    if (step.path == "/images/prune") wanted.push_back(fmt::format("dangling={}", !options.all));
    Path path(step.path);
    const std::string filters = TRY(filters_parameter(wanted));
    path.add_if("filters", filters);
    auto body = api->call("POST", path);
    if (!body && step.path == "/build/prune") continue;  // a daemon without a builder
    if (!body) return std::move(body).error();
    json::value answer = TRY(json::parse(*body));
    reclaimed += number_of(answer, "SpaceReclaimed");
    const json::array& deleted = array_of(answer, step.member);
    if (deleted.empty()) continue;
    print_out("{}:\n", step.title);
    for (const json::value& item : deleted) {
      if (item.is_string())
        print_out("{}\n", std::string_view(item.get_string()));
      else if (std::string untagged = text_of(item, "Untagged"); !untagged.empty())
        print_out("untagged: {}\n", untagged);
      else
        print_out("deleted: {}\n", text_of(item, "Deleted"));
    }
    print_out("\n");
  }
  print_out("Total reclaimed space: {}\n", human_size(static_cast<double>(reclaimed)));
  return 0;
}

}  // namespace

std::span<const Command> system_commands() {
  static const Command commands[] = {
      command<DfOptions, run_df>({.name = "df",
                                  .use = "[OPTIONS]",
                                  .summary = "Show disk usage",
                                  .arity = exactly(0),
                                  .flags = kDfGroups}),
      command<InfoOptions, run_info>({.name = "info",
                                      .use = "[OPTIONS]",
                                      .summary = "Display system-wide information",
                                      .arity = exactly(0),
                                      .flags = kInfoGroups}),
      command<SystemPruneOptions, run_prune>({.name = "prune",
                                              .use = "[OPTIONS]",
                                              .summary = "Remove unused data",
                                              .arity = exactly(0),
                                              .flags = kPruneGroups}),
      command<VersionOptions, run_version>({.name = "version",
                                            .use = "[OPTIONS]",
                                            .summary = "Show the Gantry version information",
                                            .arity = exactly(0),
                                            .flags = kVersionGroups}),
  };
  return commands;
}

}  // namespace gantry::client
