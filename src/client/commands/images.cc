#include <algorithm>

#include "base/clock.h"
#include "base/units.h"
#include "client/commands/commands.h"
#include "client/format/table.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct ImagesOptions {
  bool all = false, digests = false, no_trunc = false, quiet = false;
  std::string format;
  std::vector<std::string> filter;
};
constexpr Flag kListFlags[] = {
    flag<&ImagesOptions::all>("all", 'a', "Show all images (default hides intermediate images)"),
    flag<&ImagesOptions::digests>("digests", 0, "Show digests"),
    flag<&ImagesOptions::filter>("filter", 'f', "Filter output based on conditions provided",
                                 {.type = "filter", .set = set_filter}),
    flag<&ImagesOptions::format>("format", 0, kFormatUsage),
    flag<&ImagesOptions::no_trunc>("no-trunc", 0, "Don't truncate output"),
    flag<&ImagesOptions::quiet>("quiet", 'q', "Only show image IDs"),
};
const FlagGroup kListGroups[] = {own_flags(kListFlags)};

struct ImageRemoveOptions {
  bool force = false, no_prune = false;
  std::vector<std::string> platform;
};
constexpr Flag kRemoveFlags[] = {
    flag<&ImageRemoveOptions::force>("force", 'f', "Force removal of the image"),
    flag<&ImageRemoveOptions::no_prune>("no-prune", 0, "Do not delete untagged parents"),
    flag<&ImageRemoveOptions::platform>("platform", 0,
                                        "Remove only the given platform variant. Formatted as "
                                        "\"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
                                        {.type = "strings"}),
};
const FlagGroup kRemoveGroups[] = {own_flags(kRemoveFlags)};

struct HistoryOptions {
  bool human = true, no_trunc = false, quiet = false;
  std::string format, platform;
};
constexpr Flag kHistoryFlags[] = {
    flag<&HistoryOptions::format>("format", 0, kFormatUsage),
    flag<&HistoryOptions::human>("human", 'H', "Print sizes and dates in human readable format",
                                 {.default_text = "true"}),
    flag<&HistoryOptions::no_trunc>("no-trunc", 0, "Don't truncate output"),
    flag<&HistoryOptions::platform>("platform", 0, "Show history for the given platform"),
    flag<&HistoryOptions::quiet>("quiet", 'q', "Only show image IDs"),
};
const FlagGroup kHistoryGroups[] = {own_flags(kHistoryFlags)};

struct ImagePruneOptions {
  bool all = false, force = false;
  std::vector<std::string> filter;
};
constexpr Flag kPruneFlags[] = {
    flag<&ImagePruneOptions::all>("all", 'a', "Remove all unused images, not just dangling ones"),
    flag<&ImagePruneOptions::filter>("filter", 0,
                                     "Provide filter values (e.g. \"until=<timestamp>\")",
                                     {.type = "filter", .set = set_filter}),
    flag<&ImagePruneOptions::force>("force", 'f', "Do not prompt for confirmation"),
};
const FlagGroup kPruneGroups[] = {own_flags(kPruneFlags)};

std::string short_image_id(std::string id, bool whole) {
  if (whole) return id;
  if (id.starts_with("sha256:")) id.erase(0, 7);
  return id.substr(0, 12);
}

struct Name {
  std::string repository = "<none>", tag = "<none>", digest = "<none>";
};

// One row for each name of an image; with digests, one for each pair of a tag and a digest.
std::vector<Name> names_of(const json::value& image, bool digests) {
  std::vector<Name> out;
  std::vector<std::pair<std::string, std::string>> known;  // repository, digest
  for (const json::value& text : array_of(image, "RepoDigests")) {
    if (!text.is_string() || text.get_string() == "<none>@<none>") continue;
    ImageName name = split_image(text.get_string());
    known.emplace_back(name.repository, name.digest);
  }
  std::vector<bool> used(known.size());
  for (const json::value& text : array_of(image, "RepoTags")) {
    if (!text.is_string() || text.get_string() == "<none>:<none>") continue;
    ImageName name = split_image(text.get_string());
    bool with_digest = false;
    for (size_t i = 0; i < known.size(); ++i) {
      if (known[i].first != name.repository) continue;
      used[i] = true;
      if (digests) out.push_back({name.repository, name.tag, known[i].second});
      with_digest = digests;
    }
    if (!with_digest) out.push_back({name.repository, name.tag, "<none>"});
  }
  for (size_t i = 0; i < known.size(); ++i)
    if (!used[i]) out.push_back({known[i].first, "<none>", known[i].second});
  if (out.empty()) out.emplace_back();
  return out;
}

json::object row_of(const json::value& image, const Name& name, bool whole, int64_t now) {
  const int64_t created = number_of(image, "Created");
  const double size = static_cast<double>(number_of(image, "Size"));
  const int64_t containers = number_of(image, "Containers"),
                shared = number_of(image, "SharedSize");
  json::object row;
  row["Repository"] = name.repository;
  row["Tag"] = name.tag;
  row["Digest"] = name.digest;
  row["ID"] = short_image_id(text_of(image, "Id"), whole);
  row["CreatedSince"] = created <= 0 ? "N/A" : human_duration(now - created * 1000000000) + " ago";
  row["CreatedAt"] = local_time(created);
  row["Size"] = human_size(size, 3);
  row["VirtualSize"] = human_size(size, 4);
  row["Containers"] = containers < 0 ? "N/A" : fmt::format("{}", containers);
  row["SharedSize"] = shared < 0 ? "N/A" : human_size(static_cast<double>(shared));
  row["UniqueSize"] = shared < 0 ? "N/A" : human_size(size - static_cast<double>(shared));
  return row;
}

Result<int> run_list(Cli& cli, ImagesOptions& options, Arguments& arguments) {
  if (!arguments.empty()) options.filter.push_back("reference=" + arguments.front());
  std::string format =
      options.format.empty() && !options.quiet ? cli.config_string("imagesFormat") : options.format;
  Path path("/images/json");
  const std::string filters = TRY(filters_parameter(options.filter));
  path.flag("all", options.all).add_if("filters", filters);
  Api* api = TRY(cli.api());
  json::value list = TRY(api->get(path));
  if (!list.is_array()) return internal("the daemon's list of images is no list");
  const bool digests = options.digests || format.find(".Digest") != format.npos;
  Listing listing;
  listing.type_name = "*formatter.imageContext";
  listing.headings = {{"ID", "IMAGE ID"},
                      {"Repository", "REPOSITORY"},
                      {"Tag", "TAG"},
                      {"Digest", "DIGEST"},
                      {"CreatedSince", "CREATED"},
                      {"CreatedAt", "CREATED AT"},
                      {"Size", "SIZE"},
                      {"Containers", "CONTAINERS"},
                      {"VirtualSize", "SIZE"},
                      {"SharedSize", "SHARED SIZE"},
                      {"UniqueSize", "UNIQUE SIZE"}};
  listing.table =
      digests ? "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
              : "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
  const int64_t now = now_ns();
  for (const json::value& image : list.get_array())
    for (const Name& name : names_of(image, digests)) {
      if (options.quiet && format.empty())
        print_out("{}\n", short_image_id(text_of(image, "Id"), options.no_trunc));
      else
        listing.rows.push_back(row_of(image, name, options.no_trunc, now));
    }
  if (options.quiet && format.empty()) return 0;
  const std::string shown = TRY(render(listing, format));
  print_out(shown);
  return 0;
}

Result<int> run_remove(Cli& cli, ImageRemoveOptions& options, Arguments& names) {
  Api* api = TRY(cli.api());
  int status = 0;
  for (const std::string& name : names) {
    Path path = Path::of({"images", name});
    path.flag("force", options.force).flag("noprune", options.no_prune);
    for (const std::string& platform : options.platform) path.add("platforms", platform);
    auto body = api->call("DELETE", path);
    if (!body) {
      if (body.error().kind() == ErrorKind::unavailable) return std::move(body).error();
      print_error(body.error().message());
      if (body.error().kind() != ErrorKind::not_found || !options.force) status = kExitFailure;
      continue;
    }
    json::value list = TRY(json::parse(*body));
    if (!list.is_array()) continue;
    for (const json::value& item : list.get_array()) {
      if (std::string deleted = text_of(item, "Deleted"); !deleted.empty())
        print_out("Deleted: {}\n", deleted);
      else
        print_out("Untagged: {}\n", text_of(item, "Untagged"));
    }
  }
  return status;
}

Result<int> run_tag(Cli& cli, NoOptions&, Arguments& names) {
  if (auto valid = check_reference(names[1]); !valid)
    return invalid("Error parsing reference: \"{}\" is not a valid repository/tag: {}", names[1],
                   valid.error().message());
  ImageName target = split_image(names[1]);
  if (!target.digest.empty()) return invalid("refusing to create a tag with a digest reference");
  Path path = Path::of({"images", names[0], "tag"});
  path.add("repo", target.repository).add("tag", target.tag.empty() ? "latest" : target.tag);
  Api* api = TRY(cli.api());
  TRY(api->call("POST", path));
  return 0;
}

Result<int> run_history(Cli& cli, HistoryOptions& options, Arguments& names) {
  Api* api = TRY(cli.api());
  json::value list =
      TRY(api->get(Path::of({"images", names[0], "history"}).add_if("platform", options.platform)));
  if (!list.is_array()) return internal("the daemon's history is no list");
  Listing listing;
  listing.type_name = "*formatter.historyContext";
  listing.headings = {{"ID", "IMAGE"},
                      {"CreatedSince", "CREATED"},
                      {"CreatedAt", "CREATED AT"},
                      {"CreatedBy", "CREATED BY"},
                      {"Size", "SIZE"},
                      {"Comment", "COMMENT"}};
  listing.table = options.human
                      ? "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
                      : "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
  const int64_t now = now_ns();
  for (const json::value& layer : list.get_array()) {
    const int64_t created = number_of(layer, "Created");
    std::string by = text_of(layer, "CreatedBy");
    std::ranges::replace(by, '\t', ' ');
    json::object row;
    row["ID"] = short_image_id(text_of(layer, "Id"), options.no_trunc);
    row["CreatedSince"] =
        created <= 0 ? "N/A" : human_duration(now - created * 1000000000) + " ago";
    row["CreatedAt"] = created <= 0 ? "N/A" : format_time(created * 1000000000);
    row["CreatedBy"] = options.no_trunc ? by : ellipsis(by, 45);
    row["Size"] = options.human ? human_size(static_cast<double>(number_of(layer, "Size")), 3)
                                : fmt::format("{}", number_of(layer, "Size"));
    row["Comment"] = text_of(layer, "Comment");
    if (options.quiet && options.format.empty())
      print_out("{}\n", std::string_view(row["ID"].as_string()));
    else
      listing.rows.push_back(std::move(row));
  }
  if (options.quiet && options.format.empty()) return 0;
  const std::string shown = TRY(render(listing, options.format));
  print_out(shown);
  return 0;
}

Result<int> run_prune(Cli& cli, ImagePruneOptions& options, Arguments&) {
  options.filter.push_back(fmt::format("dangling={}", !options.all));
  Path path("/images/prune");
  const std::string filters = TRY(filters_parameter(options.filter));
  path.add_if("filters", filters);
  if (!options.force) {
    bool yes = TRY(confirm(options.all
                               ? "WARNING! This will remove all images without at least one "
                                 "container associated to them.\nAre you sure you want to continue?"
                               : "WARNING! This will remove all dangling images.\nAre you sure you "
                                 "want to continue?"));
    if (!yes) return invalid("image prune has been cancelled");
  }
  Api* api = TRY(cli.api());
  std::string body = TRY(api->call("POST", path));
  json::value answer = TRY(json::parse(body));
  if (const json::array& deleted = array_of(answer, "ImagesDeleted"); !deleted.empty()) {
    print_out("Deleted Images:\n");
    for (const json::value& item : deleted) {
      std::string untagged = text_of(item, "Untagged");
      print_out("{}{}\n", untagged.empty() ? "deleted: " : "untagged: ",
                untagged.empty() ? text_of(item, "Deleted") : untagged);
    }
    print_out("\n");
  }
  print_out("Total reclaimed space: {}\n",
            human_size(static_cast<double>(number_of(answer, "SpaceReclaimed"))));
  return 0;
}

constexpr std::string_view kListAliases[] = {"list"};
constexpr std::string_view kRemoveAliases[] = {"remove"};

}  // namespace

std::span<const Command> image_commands() {
  static const Command commands[] = {
      command<ImagesOptions, run_list>({.name = "ls",
                                        .aliases = kListAliases,
                                        .use = "[OPTIONS] [REPOSITORY[:TAG]]",
                                        .summary = "List images",
                                        .arity = at_most(1),
                                        .flags = kListGroups}),
      command<ImageRemoveOptions, run_remove>({.name = "rm",
                                               .aliases = kRemoveAliases,
                                               .use = "[OPTIONS] IMAGE [IMAGE...]",
                                               .summary = "Remove one or more images",
                                               .arity = at_least(1),
                                               .flags = kRemoveGroups}),
      command<NoOptions, run_tag>(
          {.name = "tag",
           .use = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
           .summary = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
           .arity = exactly(2)}),
      command<HistoryOptions, run_history>({.name = "history",
                                            .use = "[OPTIONS] IMAGE",
                                            .summary = "Show the history of an image",
                                            .arity = exactly(1),
                                            .flags = kHistoryGroups}),
      command<ImagePruneOptions, run_prune>({.name = "prune",
                                             .use = "[OPTIONS]",
                                             .summary = "Remove unused images",
                                             .arity = exactly(0),
                                             .flags = kPruneGroups}),
  };
  return commands;
}

}  // namespace gantry::client
