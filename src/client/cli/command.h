// The tree of commands: constant tables that the dispatcher, the help and the completions read.
//
// A command has either a handler or children. Its handler is a function over its own options type:
//
//   Result<int> run_ps(Cli& cli, PsOptions& options, Arguments& arguments);
//   constexpr FlagGroup kPsGroups[] = {own_flags(kPsFlags)};
//   constexpr Command kPs = command<PsOptions, run_ps>(
//       {.name = "ps", .use = "[OPTIONS]", .summary = "List containers", .arity = exactly(0),
//       .flags = kPsGroups});
//
// The handler's value is the exit status; an Error is printed by the dispatcher as it is, with
// status 1.
#pragma once

#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/cli/flags.h"

namespace gantry::client {

class Cli;
using Arguments = std::vector<std::string>;

// Exit statuses that Docker's client gives a meaning to.
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 125;  // a bad flag, or an engine that refused a run
inline constexpr int kExitCannotExecute = 126;
inline constexpr int kExitNotFound = 127;

struct Arity {
  size_t least;
  size_t most;
};
constexpr Arity exactly(size_t count) { return {count, count}; }
constexpr Arity at_least(size_t count) { return {count, std::numeric_limits<size_t>::max()}; }
constexpr Arity at_most(size_t count) { return {0, count}; }
constexpr Arity between(size_t least, size_t most) { return {least, most}; }

// Under which heading of the help a command of the root stands.
enum class HelpSection { common, management, other, hidden };

struct Command {
  std::string_view name;
  std::span<const std::string_view> aliases = {};  // further names beside it
  std::string_view use = {};                       // what follows the name in the usage line
  std::string_view summary = {};
  std::string_view details = {};  // more paragraphs of the help
  std::string_view examples = {};
  Arity arity = at_least(0);
  std::span<const FlagGroup> flags = {};
  Interspersed interspersed = Interspersed::yes;
  HelpSection section = HelpSection::other;
  std::span<const Command> children = {};
  // Set by command<>(): parses the words behind the name, then runs the handler.
  Result<int> (*execute)(Cli& cli, const Command& self, std::string_view path,
                         std::span<const std::string> words) = nullptr;

  // The same command under another name ("ps" at the root, "ls" below "container").
  constexpr Command as(std::string_view other,
                       std::span<const std::string_view> others = {}) const {
    Command copy(*this);
    copy.name = other;
    copy.aliases = others;
    return copy;
  }
  constexpr Command in(HelpSection where) const {
    Command copy(*this);
    copy.section = where;
    return copy;
  }
};

// Parses and checks the words of a command. On a usage error or --help it prints what there is to
// print and sets `status`; the command must not run then.
struct Prepared {
  Arguments arguments;
  std::optional<int> status;
};
Prepared prepare(const Command& command, std::string_view path, void* options,
                 std::span<const std::string> words);

struct NoOptions {};

template <typename Options, Result<int> (*Handler)(Cli&, Options&, Arguments&)>
constexpr Command command(Command description) {
  description.execute = [](Cli& cli, const Command& self, std::string_view path,
                           std::span<const std::string> words) -> Result<int> {
    Options options;
    Prepared prepared = prepare(self, path, &options, words);
    if (prepared.status) return *prepared.status;
    return Handler(cli, options, prepared.arguments);
  };
  return description;
}

// All commands of gantry; `children` of a nameless command.
const Command& root_command();

// Runs `words` (without the program's name) and gives the exit status. Prints errors.
int dispatch(Cli& cli, std::span<const std::string> words);

// The help of a command as --help prints it; `path` is "gantry container ls". `width` in columns.
std::string help_text(const Command& command, std::string_view path, int width);
// The names nearest to a mistyped one, at most three, best first.
std::vector<std::string_view> similar_names(const Command& parent, std::string_view word);

}  // namespace gantry::client
