#include "client/commands/commands.h"
#include "client/format/json_text.h"
#include "client/format/template.h"

namespace gantry::client {
namespace {

constexpr int kExitTemplate = 64;
constexpr std::string_view kJob = "job";

struct InspectOptions {
  std::string format, type, platform;
  bool size = false, verbose = false;
};
constexpr Flag kInspectFlags[] = {
    flag<&InspectOptions::format>("format", 'f', kInspectFormatUsage),
    flag<&InspectOptions::size>("size", 's', "Display total file sizes if the type is container"),
    flag<&InspectOptions::type>("type", 0, "Only inspect objects of the given type"),
};
constexpr Flag kContainerInspectFlags[] = {
    flag<&InspectOptions::format>("format", 'f', kInspectFormatUsage),
    flag<&InspectOptions::size>("size", 's', "Display total file sizes"),
};
constexpr Flag kImageInspectFlags[] = {
    flag<&InspectOptions::format>("format", 'f', kInspectFormatUsage),
    flag<&InspectOptions::platform>("platform", 0,
                                    "Inspect a specific platform of the multi-platform image"),
};
constexpr Flag kNetworkInspectFlags[] = {
    flag<&InspectOptions::format>("format", 'f', kInspectFormatUsage),
    flag<&InspectOptions::verbose>("verbose", 'v', "Verbose output for diagnostics"),
};
constexpr Flag kVolumeInspectFlags[] = {
    flag<&InspectOptions::format>("format", 'f', kInspectFormatUsage)};
const FlagGroup kInspectGroups[] = {own_flags(kInspectFlags)};
const FlagGroup kContainerGroups[] = {own_flags(kContainerInspectFlags)};
const FlagGroup kImageGroups[] = {own_flags(kImageInspectFlags)};
const FlagGroup kNetworkGroups[] = {own_flags(kNetworkInspectFlags)};
const FlagGroup kVolumeGroups[] = {own_flags(kVolumeInspectFlags)};

// Where objects of one kind are found. `kind` is "" when every kind is to be tried.
struct Kind {
  std::string_view name;
  Path (*path)(const std::string& name, const InspectOptions& options);
};
constexpr Kind kKinds[] = {
    {"container",
     [](const std::string& name, const InspectOptions& options) {
       return Path::of({"containers", name, "json"}).flag("size", options.size);
     }},
    {"image",
     [](const std::string& name, const InspectOptions& options) {
       return Path::of({"images", name, "json"}).add_if("platform", options.platform);
     }},
    {"network",
     [](const std::string& name, const InspectOptions& options) {
       return Path::of({"networks", name}).flag("verbose", options.verbose);
     }},
    {"volume",
     [](const std::string& name, const InspectOptions&) {
       return Path::of({"volumes", name});
     }},
    {"job",
     [](const std::string& name, const InspectOptions&) {
       return Path::of({"gantry", "jobs", name});
     }},
};

// What the API leaves out when it is empty and Docker's client, which knows the type, has all the
// same: a template may ask for it.
struct LeftOut {
  std::string_view kind, object, member;  // `object` "" is the whole
  enum class Type { text, flag, list, map } type;
};
constexpr LeftOut kLeftOut[] = {
    {"image", "", "Created", LeftOut::Type::text},
    {"image", "", "OsVersion", LeftOut::Type::text},
    {"image", "", "Variant", LeftOut::Type::text},
    {"image", "Config", "ArgsEscaped", LeftOut::Type::flag},
    {"image", "Config", "Cmd", LeftOut::Type::list},
    {"image", "Config", "Entrypoint", LeftOut::Type::list},
    {"image", "Config", "Env", LeftOut::Type::list},
    {"image", "Config", "ExposedPorts", LeftOut::Type::map},
    {"image", "Config", "Labels", LeftOut::Type::map},
    {"image", "Config", "OnBuild", LeftOut::Type::list},
    {"image", "Config", "Shell", LeftOut::Type::list},
    {"image", "Config", "StopSignal", LeftOut::Type::text},
    {"image", "Config", "User", LeftOut::Type::text},
    {"image", "Config", "Volumes", LeftOut::Type::map},
    {"image", "Config", "WorkingDir", LeftOut::Type::text},
};

void add_left_out(json::value& document, std::string_view kind) {
  for (const LeftOut& one : kLeftOut) {
    json::object* object = one.kind == kind ? document.if_object() : nullptr;
    if (object != nullptr && !one.object.empty()) {
      json::value* inner = object->if_contains(one.object);
      object = inner != nullptr ? inner->if_object() : nullptr;
    }
    if (object == nullptr || object->contains(one.member)) continue;
    json::value& added = (*object)[one.member];
    switch (one.type) {
      case LeftOut::Type::text:
        added = "";
        break;
      case LeftOut::Type::flag:
        added = false;
        break;
      case LeftOut::Type::list:
        added = json::array();
        break;
      case LeftOut::Type::map:
        added = json::object();
        break;
    }
  }
}

struct Fetched {
  std::string_view kind;
  std::string body;
};
Result<Fetched> fetch(Api& api, std::string_view kind, const std::string& name,
                      const InspectOptions& options) {
  if (name.empty()) return not_found("No such object: {}", name);
  for (const Kind& known : kKinds) {
    if (kind.empty() ? known.name == kJob : kind != known.name) continue;  // a number names others
    Result<std::string> body = api.call("GET", known.path(name, options));
    if (body) return Fetched{known.name, body.release()};
    const bool elsewhere =
        body.error().kind() == ErrorKind::not_found || body.error().kind() == ErrorKind::invalid;
    if (!kind.empty() || !elsewhere) return std::move(body).error();
  }
  return not_found("Error: No such object: {}", name);
}

Result<int> inspect(Cli& cli, const InspectOptions& options, const Arguments& names,
                    std::string_view kind) {
  std::optional<Template> parsed;
  if (!options.format.empty() && options.format != "json") {
    auto made = Template::parse(options.format);
    if (!made) {
      print_error("template parsing error: " + made.error().message());
      return kExitTemplate;
    }
    parsed = std::move(*made);
  }
  Api* api = TRY(cli.api());
  std::string list, errors;
  for (const std::string& name : names) {
    auto found = fetch(*api, kind, name, options);
    if (!found) {
      if (found.error().kind() == ErrorKind::unavailable) return std::move(found).error();
      errors += found.error().message() + "\n";
      continue;
    }
    if (parsed) {
      json::value document = TRY(json::parse(found->body));
      add_left_out(document, found->kind);
      const std::string shown = TRY(parsed->execute(document, {.missing = MissingField::no_entry})
                                        .context("template parsing error"));
      print_out(shown);
      print_out("\n");
      continue;
    }
    list += (list.empty() ? "" : ",") + compact_json(found->body);
  }
  if (options.format == "json")
    print_out("[{}]\n", list);
  else if (!parsed)
    print_out("{}\n", indent_json("[" + list + "]", "    "));
  if (errors.empty()) return 0;
  write_error(errors);
  return kExitFailure;
}

Result<int> run_inspect(Cli& cli, InspectOptions& options, Arguments& names) {
  static constexpr std::string_view kUnknown[] = {"node",   "service", "task",
                                                  "plugin", "secret",  "config"};
  for (const Kind& kind : kKinds)
    if (options.type == kind.name || options.type.empty())
      return inspect(cli, options, names, options.type);
  for (std::string_view kind : kUnknown)
    if (options.type == kind) return unsupported("objects of type {} do not exist in Gantry", kind);
  return invalid(
      "unknown type: \"{}\": must be one of \"config\", \"container\", \"image\", \"network\", "
      "\"node\", "
      "\"plugin\", \"secret\", \"service\", \"task\", \"volume\"",
      options.type);
}
template <const std::string_view& kind>
Result<int> run_kind(Cli& cli, InspectOptions& options, Arguments& names) {
  return inspect(cli, options, names, kind);
}
constexpr std::string_view kContainer = "container", kImage = "image", kNetwork = "network",
                           kVolume = "volume";

}  // namespace

std::span<const Command> inspect_commands() {
  static const Command commands[] = {
      command<InspectOptions, run_inspect>(
          {.name = "inspect",
           .use = "[OPTIONS] NAME|ID [NAME|ID...]",
           .summary = "Return low-level information on Docker objects",
           .arity = at_least(1),
           .flags = kInspectGroups}),
      command<InspectOptions, run_kind<kContainer>>(
          {.name = "container-inspect",
           .use = "[OPTIONS] CONTAINER [CONTAINER...]",
           .summary = "Display detailed information on one or more containers",
           .arity = at_least(1),
           .flags = kContainerGroups}),
      command<InspectOptions, run_kind<kImage>>(
          {.name = "image-inspect",
           .use = "[OPTIONS] IMAGE [IMAGE...]",
           .summary = "Display detailed information on one or more images",
           .arity = at_least(1),
           .flags = kImageGroups}),
      command<InspectOptions, run_kind<kNetwork>>(
          {.name = "network-inspect",
           .use = "[OPTIONS] NETWORK [NETWORK...]",
           .summary = "Display detailed information on one or more networks",
           .arity = at_least(1),
           .flags = kNetworkGroups}),
      command<InspectOptions, run_kind<kVolume>>(
          {.name = "volume-inspect",
           .use = "[OPTIONS] VOLUME [VOLUME...]",
           .summary = "Display detailed information on one or more volumes",
           .arity = at_least(1),
           .flags = kVolumeGroups}),
      command<InspectOptions, run_kind<kJob>>(
          {.name = "job-inspect",
           .use = "[OPTIONS] JOB [JOB...]",
           .summary = "Display detailed information on one or more jobs",
           .arity = at_least(1),
           .flags = kVolumeGroups}),
  };
  return commands;
}

}  // namespace gantry::client
