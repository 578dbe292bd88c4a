#include <fcntl.h>
#include <unistd.h>

#include "base/sys.h"
#include "client/commands/commands.h"
#include "client/commands/pull.h"
#include "client/commands/transfer.h"
#include "client/io/terminal.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct LoadOptions {
  std::string input, platform;
  bool quiet = false;
};
constexpr Flag kLoadFlags[] = {
    flag<&LoadOptions::input>("input", 'i', "Read from tar archive file, instead of STDIN"),
    flag<&LoadOptions::platform>("platform", 0,
                                 "Load only the given platform variant. Formatted as "
                                 "\"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"),
    flag<&LoadOptions::quiet>("quiet", 'q', "Suppress the load output"),
};
const FlagGroup kLoadGroups[] = {own_flags(kLoadFlags)};

struct SaveOptions {
  std::string output, platform;
};
constexpr Flag kSaveFlags[] = {
    flag<&SaveOptions::output>("output", 'o', "Write to a file, instead of STDOUT"),
    flag<&SaveOptions::platform>("platform", 0,
                                 "Save only the given platform variant. Formatted as "
                                 "\"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"),
};
const FlagGroup kSaveGroups[] = {own_flags(kSaveFlags)};

struct ImportOptions {
  std::vector<std::string> change;
  std::string message, platform;
};
constexpr Flag kImportFlags[] = {
    flag<&ImportOptions::change>("change", 'c',
                                 "Apply Dockerfile instruction to the created image"),
    flag<&ImportOptions::message>("message", 'm', "Set commit message for imported image"),
    flag<&ImportOptions::platform>("platform", 0,
                                   "Set platform if server is multi-platform capable"),
};
const FlagGroup kImportGroups[] = {own_flags(kImportFlags)};

// "linux/arm64/v8" as the JSON that ?platform= of load and save takes.
std::string platform_json(const std::string& text) {
  if (text.empty()) return "";
  size_t first = text.find('/');
  size_t second = first == text.npos ? text.npos : text.find('/', first + 1);
  json::object out{{"os", text.substr(0, first)}};
  if (first != text.npos)
    out["architecture"] = text.substr(first + 1, second == text.npos ? second : second - first - 1);
  if (second != text.npos) out["variant"] = text.substr(second + 1);
  return json::serialize(out);
}

Result<int> run_load(Cli& cli, LoadOptions& options, Arguments&) {
  UniqueFd file;
  int source = STDIN_FILENO;
  if (!options.input.empty()) {
    file = TRY(open_file(options.input));
    source = file.get();
  } else if (is_terminal(STDIN_FILENO)) {
    return invalid("requested load from stdin, but stdin is empty");
  }
  Api* api = TRY(cli.api());
  Path path("/images/load");
  path.add("quiet", options.quiet || !is_terminal(STDOUT_FILENO) ? "1" : "0")
      .add_if("platform", platform_json(options.platform));
  http::Response response =
      TRY(api->upload("POST", path, {read_from(source), "application/x-tar", {}}));
  if (response.headers().get("Content-Type").find("json") != std::string_view::npos) {
    TRY(show_messages(response, STDOUT_FILENO, Progress::shown));
    return 0;
  }
  TRY(copy_body(response, STDOUT_FILENO));
  return 0;
}

Result<int> run_save(Cli& cli, SaveOptions& options, Arguments& names) {
  if (options.output.empty() && is_terminal(STDOUT_FILENO))
    return invalid("cowardly refusing to save to a terminal. Use the -o flag or redirect");
  Path path("/images/get");
  for (const std::string& name : names) path.add("names", name);
  path.add_if("platform", platform_json(options.platform));
  Api* api = TRY(cli.api());
  http::Response response = TRY(api->stream("GET", path));
  if (options.output.empty()) {
    TRY(copy_body(response, STDOUT_FILENO));
    return 0;
  }
  TRY(save_body(response, options.output));
  return 0;
}

Result<int> run_import(Cli& cli, ImportOptions& options, Arguments& arguments) {
  const std::string& source = arguments[0];
  const bool remote = source.starts_with("http://") || source.starts_with("https://");
  Path path("/images/create");
  path.add("fromSrc", remote ? source : "-")
      .add_if("message", options.message)
      .add_if("platform", options.platform);
  if (arguments.size() > 1) {
    TRY(check_reference(arguments[1]));
    ImageName name = split_image(arguments[1]);
    path.add("repo", name.repository).add_if("tag", name.tag);
  }
  for (const std::string& change : options.change) path.add("changes", change);
  UniqueFd file;
  int input = STDIN_FILENO;
  if (!remote && source != "-") {
    file = TRY(open_file(source));
    input = file.get();
  }
  Api* api = TRY(cli.api());
  http::Response response =
      remote ? TRY(api->stream("POST", path))
             : TRY(api->upload("POST", path, {read_from(input), "application/x-tar", {}}));
  TRY(show_messages(response, STDOUT_FILENO, Progress::shown));
  return 0;
}

}  // namespace

std::span<const Command> archive_commands() {
  static const Command commands[] = {
      command<LoadOptions, run_load>({.name = "load",
                                      .use = "[OPTIONS]",
                                      .summary = "Load an image from a tar archive or STDIN",
                                      .arity = exactly(0),
                                      .flags = kLoadGroups}),
      command<SaveOptions, run_save>(
          {.name = "save",
           .use = "[OPTIONS] IMAGE [IMAGE...]",
           .summary = "Save one or more images to a tar archive (streamed to STDOUT by default)",
           .arity = at_least(1),
           .flags = kSaveGroups}),
      command<ImportOptions, run_import>(
          {.name = "import",
           .use = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
           .summary = "Import the contents from a tarball to create a filesystem image",
           .arity = at_least(1),
           .flags = kImportGroups}),
  };
  return commands;
}

}  // namespace gantry::client
