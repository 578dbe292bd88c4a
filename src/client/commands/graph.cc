// gantry graph why|roots|show, and gantry system check|gc: what is kept, why, and whether it is so.
#include <algorithm>

#include "base/units.h"
#include "client/commands/commands.h"
#include "client/commands/credentials.h"
#include "client/format/table.h"

namespace gantry::client {
namespace {

struct WhyOptions {
  std::string format;
  int64_t limit = 16;
};
constexpr Flag kWhyFlags[] = {
    flag<&WhyOptions::format>("format", 0, "Format output: \"text\" or \"json\"",
                              {.default_text = "\"text\""}),
    flag<&WhyOptions::limit>("limit", 'n', "Chains to show at most", {.default_text = "16"}),
};
const FlagGroup kWhyGroups[] = {own_flags(kWhyFlags)};

struct RootsOptions {
  std::string format;
  bool no_trunc = false, quiet = false;
};
constexpr Flag kRootsFlags[] = {
    flag<&RootsOptions::format>("format", 0, kFormatUsage),
    flag<&RootsOptions::no_trunc>("no-trunc", 0, "Don't truncate output"),
    flag<&RootsOptions::quiet>("quiet", 'q', "Only display kinds and keys"),
};
const FlagGroup kRootsGroups[] = {own_flags(kRootsFlags)};

struct ShowOptions {
  std::string format = "tree";
};
constexpr Flag kShowFlags[] = {
    flag<&ShowOptions::format>("format", 0, "Format output: \"tree\", \"dot\" or \"json\"",
                               {.default_text = "\"tree\""}),
};
const FlagGroup kShowGroups[] = {own_flags(kShowFlags)};

struct CheckOptions {
  bool repair = false, content = false;
  std::string format;
};
constexpr Flag kCheckFlags[] = {
    flag<&CheckOptions::content>("content", 0, "Read all content and layers and compare digests"),
    flag<&CheckOptions::format>("format", 0, "Format output: \"text\" or \"json\"",
                                {.default_text = "\"text\""}),
    flag<&CheckOptions::repair>("repair", 0, "Put right what can be put right"),
};
const FlagGroup kCheckGroups[] = {own_flags(kCheckFlags)};

struct CollectOptions {
  bool dry_run = false, quiet = false;
};
constexpr Flag kCollectFlags[] = {
    flag<&CollectOptions::dry_run>("dry-run", 0, "Only show what would be removed"),
    flag<&CollectOptions::quiet>("quiet", 'q', "Only display the space reclaimed"),
};
const FlagGroup kCollectGroups[] = {own_flags(kCollectFlags)};

// Digests and ids as Docker cuts them.
std::string short_key(std::string_view key) {
  if (key.starts_with("sha256:") && key.size() == 71) return std::string(key.substr(7, 12));
  bool hex =
      key.size() == 64 && key.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  return std::string(hex ? key.substr(0, 12) : key);
}

// "image sha256:… (busybox:latest)"
std::string node_text(const json::value& node) {
  const std::string key = text_of(node, "Key"), name = text_of(node, "Name");
  std::string out = fmt::format("{} {}", text_of(node, "Kind"), key);
  if (!name.empty() && name != key) out += fmt::format(" ({})", name);
  return out;
}

Result<bool> wants_json(const std::string& format) {
  if (format == "json") return true;
  if (format.empty() || format == "text") return false;
  return invalid("unknown format \"{}\": text or json", format);
}

Result<int> run_why(Cli& cli, WhyOptions& options, Arguments& arguments) {
  bool as_json = TRY(wants_json(options.format));
  Api* api = TRY(cli.api());
  Path path("/gantry/graph/why");
  path.add("id", arguments[0]).add("limit", fmt::format("{}", options.limit));
  json::value answer = TRY(api->get(path));
  if (as_json) {
    print_out("{}\n", json::pretty(answer));
    return 0;
  }
  const json::value node = json::value(object_of(answer, "Node"));
  const json::array& chains = array_of(answer, "Chains");
  if (chains.empty())
    print_out("{}: nothing holds it; a collection or a prune removes it\n", node_text(node));
  for (const json::value& chain : chains) {
    std::string line;
    for (const json::value& step : chain.get_array()) {
      line += node_text(step);
      if (const std::string edge = text_of(step, "Edge"); !edge.empty())
        line += fmt::format("\n  -{}-> ", edge);
    }
    print_out("{}\n", line);
  }
  if (flag_of(answer, "More")) print_out("… and more: --limit shows them\n");
  return 0;
}

Result<int> run_roots(Cli& cli, RootsOptions& options, Arguments&) {
  Api* api = TRY(cli.api());
  json::value answer = TRY(api->get(Path("/gantry/graph/roots")));
  Listing listing;
  listing.type_name = "*formatter.graphRootContext";
  listing.headings = {{"Kind", "KIND"},   {"Key", "KEY"},   {"Name", "NAME"},
                      {"Nodes", "HOLDS"}, {"Size", "SIZE"}, {"CreatedAt", "CREATED AT"}};
  listing.table = "{{.Kind}}\t{{.Key}}\t{{.Name}}\t{{.Nodes}}\t{{.Size}}";
  for (const json::value& root : answer.get_array()) {
    if (options.quiet) {
      print_out("{}:{}\n", text_of(root, "Kind"), text_of(root, "Key"));
      continue;
    }
    json::object row;
    const std::string key = text_of(root, "Key");
    row["Kind"] = text_of(root, "Kind");
    row["Key"] = options.no_trunc ? key : short_key(key);
    row["Name"] = text_of(root, "Name");
    row["Nodes"] = fmt::format("{}", number_of(root, "Nodes"));
    row["Size"] = human_size(static_cast<double>(number_of(root, "Size")));
    row["CreatedAt"] = text_of(root, "Created");
    listing.rows.push_back(std::move(row));
  }
  if (options.quiet) return 0;
  const std::string shown = TRY(render(listing, options.format));
  print_out(shown);
  return 0;
}

Result<int> run_show(Cli& cli, ShowOptions& options, Arguments& arguments) {
  Api* api = TRY(cli.api());
  Path path("/gantry/graph");
  path.add("format", options.format);
  if (!arguments.empty()) path.add("id", arguments[0]);
  const std::string text = TRY(api->call("GET", path));
  print_out(text);
  return 0;
}

std::string finding_text(const json::value& finding) {
  std::string out = fmt::format("{}: {} {}", text_of(finding, "What"), text_of(finding, "Kind"),
                                text_of(finding, "Name"));
  if (const std::string owner = text_of(finding, "Owner"); !owner.empty())
    out += fmt::format(" of {}", owner);
  if (const std::string detail = text_of(finding, "Detail"); !detail.empty()) out += ": " + detail;
  std::string needed;
  for (const json::value& holder : array_of(finding, "NeededBy"))
    if (holder.is_string())
      needed += (needed.empty() ? "" : ", ") + std::string(holder.get_string());
  if (!needed.empty()) out += "; needed by " + needed;
  if (flag_of(finding, "Repaired")) out += " [repaired]";
  return out;
}

// Images that have to come again, as the commands that bring them.
void print_what_to_load(const json::value& report) {
  std::vector<std::string> tags;
  for (const json::value& finding : array_of(report, "Findings"))
    for (const json::value& holder : array_of(finding, "NeededBy")) {
      if (!holder.is_string() || !text_of(finding, "FetchedFrom").empty()) continue;
      const std::string_view text = holder.get_string();
      if (!text.starts_with("tag ")) continue;
      std::string tag(text.substr(4));
      if (std::find(tags.begin(), tags.end(), tag) == tags.end()) tags.push_back(std::move(tag));
    }
  if (tags.empty()) return;
  print_out("Load or pull again:\n");
  for (const std::string& tag : tags) print_out("  {}\n", tag);
}

Result<int> run_check(Cli& cli, CheckOptions& options, Arguments&) {
  bool as_json = TRY(wants_json(options.format));
  Api* api = TRY(cli.api());
  Path path("/gantry/system/check");
  path.flag("repair", options.repair).flag("content", options.content);
  http::Headers headers;
  if (std::string all = options.repair ? all_registry_auths(cli) : ""; !all.empty())
    headers.add("X-Registry-Config", all);
  http::Response response = TRY(api->stream("POST", path, std::move(headers)));
  const std::string body = TRY(response.read_all());
  json::value report = TRY(json::parse(body));
  const int64_t left = number_of(report, "Unrepaired");
  if (as_json) {
    print_out("{}\n", json::pretty(report));
    return left == 0 ? 0 : kExitFailure;
  }
  const json::array& findings = array_of(report, "Findings");
  for (const json::value& finding : findings) print_out("{}\n", finding_text(finding));
  if (findings.empty())
    print_out("Everything is as it should be.\n");
  else
    print_out("{} found, {} repaired.\n", findings.size(),
              static_cast<int64_t>(findings.size()) - left);
  if (left > 0 && !options.repair) print_out("Repair with: gantry system check --repair\n");
  print_what_to_load(report);
  return left == 0 ? 0 : kExitFailure;
}

Result<int> run_collect(Cli& cli, CollectOptions& options, Arguments&) {
  Api* api = TRY(cli.api());
  Path path("/gantry/system/gc");
  path.flag("dry-run", options.dry_run);
  const std::string body = TRY(api->call("POST", path));
  json::value report = TRY(json::parse(body));
  for (const json::value& item : array_of(report, "Items")) {
    if (options.quiet) break;
    print_out("{} {} {}\n", text_of(item, "Kind"), text_of(item, "Key"),
              human_size(static_cast<double>(number_of(item, "Size"))));
  }
  print_out("{} space: {}\n", options.dry_run ? "Reclaimable" : "Total reclaimed",
            human_size(static_cast<double>(number_of(report, "SpaceReclaimed"))));
  return 0;
}

}  // namespace

std::span<const Command> graph_commands() {
  static const Command commands[] = {
      command<RootsOptions, run_roots>({.name = "roots",
                                        .use = "[OPTIONS]",
                                        .summary = "List what keeps things on the disk",
                                        .arity = exactly(0),
                                        .flags = kRootsGroups}),
      command<ShowOptions, run_show>({.name = "show",
                                      .use = "[OPTIONS] [ID]",
                                      .summary = "Show everything that is kept, or what ID holds",
                                      .arity = at_most(1),
                                      .flags = kShowGroups}),
      command<WhyOptions, run_why>(
          {.name = "why",
           .use = "[OPTIONS] ID",
           .summary = "Show why a thing is on the disk: the chains that hold it",
           .details = "ID is a container, image, volume or network by name or id, the beginning of "
                      "a digest, a path below the data root, or KIND:KEY.",
           .arity = exactly(1),
           .flags = kWhyGroups}),
  };
  return commands;
}

std::span<const Command> care_commands() {
  static const Command commands[] = {
      command<CheckOptions, run_check>(
          {.name = "check",
           .use = "[OPTIONS]",
           .summary = "Compare the database with the machine",
           .details = "The exit status is 1 when something is wrong and not repaired.",
           .arity = exactly(0),
           .flags = kCheckGroups}),
      command<CollectOptions, run_collect>({.name = "gc",
                                            .use = "[OPTIONS]",
                                            .summary = "Remove what nothing holds, now",
                                            .arity = exactly(0),
                                            .flags = kCollectGroups}),
  };
  return commands;
}

}  // namespace gantry::client
