#include <unistd.h>

#include "client/commands/commands.h"
#include "client/commands/transfer.h"
#include "client/io/terminal.h"
#include "client/options/container_options.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct ExportOptions {
  std::string output;
};
constexpr Flag kExportFlags[] = {
    flag<&ExportOptions::output>("output", 'o', "Write to a file, instead of STDOUT")};
const FlagGroup kExportGroups[] = {own_flags(kExportFlags)};

struct CommitOptions {
  std::string author, message;
  std::vector<std::string> change;
  bool pause = true;
};
constexpr Flag kCommitFlags[] = {
    flag<&CommitOptions::author>("author", 'a',
                                 "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"),
    flag<&CommitOptions::change>("change", 'c',
                                 "Apply Dockerfile instruction to the created image"),
    flag<&CommitOptions::message>("message", 'm', "Commit message"),
    flag<&CommitOptions::pause>("pause", 'p', "Pause container during commit",
                                {.default_text = "true"}),
};
const FlagGroup kCommitGroups[] = {own_flags(kCommitFlags)};

Result<int> run_export(Cli& cli, ExportOptions& options, Arguments& names) {
  if (options.output.empty() && is_terminal(STDOUT_FILENO))
    return invalid("cowardly refusing to save to a terminal. Use the -o flag or redirect");
  Api* api = TRY(cli.api());
  http::Response response = TRY(api->stream("GET", Path::of({"containers", names[0], "export"})));
  if (options.output.empty())
    TRY(copy_body(response, STDOUT_FILENO));
  else
    TRY(save_body(response, options.output));
  return 0;
}

Result<int> run_commit(Cli& cli, CommitOptions& options, Arguments& arguments) {
  Path path("/commit");
  path.add("container", arguments[0]);
  if (arguments.size() > 1) {
    TRY(check_reference(arguments[1]));
    ImageName name = split_image(arguments[1]);
    path.add("repo", name.repository).add_if("tag", name.tag);
  }
  path.add_if("comment", options.message).add_if("author", options.author);
  for (const std::string& change : options.change) path.add("changes", change);
  if (!options.pause) path.add("pause", "0");
  Api* api = TRY(cli.api());
  std::string body = TRY(api->call("POST", path, json::object()));
  json::value answer = TRY(json::parse(body));
  print_out("{}\n", text_of(answer, "Id"));
  return 0;
}

Result<int> run_diff(Cli& cli, NoOptions&, Arguments& names) {
  constexpr std::string_view kLetters = "CAD";
  if (names[0].empty()) return invalid("Container name cannot be empty");
  Api* api = TRY(cli.api());
  json::value changes = TRY(api->get(Path::of({"containers", names[0], "changes"})));
  if (!changes.is_array()) return 0;  // null: nothing
  std::string text;
  for (const json::value& change : changes.get_array()) {
    auto kind = static_cast<size_t>(number_of(change, "Kind"));
    text += kind < kLetters.size() ? kLetters[kind] : '?';
    text += " " + text_of(change, "Path") + "\n";
  }
  print_out(text);
  return 0;
}

}  // namespace

std::span<const Command> copy_commands() {
  static const Command commands[] = {
      command<NoOptions, run_diff>(
          {.name = "diff",
           .use = "CONTAINER",
           .summary = "Inspect changes to files or directories on a container's filesystem",
           .arity = exactly(1)}),
      command<ExportOptions, run_export>(
          {.name = "export",
           .use = "[OPTIONS] CONTAINER",
           .summary = "Export a container's filesystem as a tar archive",
           .arity = exactly(1),
           .flags = kExportGroups}),
      command<CommitOptions, run_commit>(
          {.name = "commit",
           .use = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
           .summary = "Create a new image from a container's changes",
           .arity = between(1, 2),
           .flags = kCommitGroups}),
  };
  return commands;
}

}  // namespace gantry::client
