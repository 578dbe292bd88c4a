#include "client/cli/command.h"

#include <algorithm>

#include "client/cli/cli.h"
#include "client/io/terminal.h"

namespace gantry::client {
namespace {

const Command* find_child(const Command& parent, std::string_view word) {
  for (const Command& child : parent.children)
    if (child.name == word || std::ranges::find(child.aliases, word) != child.aliases.end())
      return &child;
  return nullptr;
}

std::string plural(size_t count) {
  return fmt::format("{} argument{}", count, count == 1 ? "" : "s");
}

// What is wrong with `count` arguments; empty when nothing is.
std::string arity_complaint(const Arity& arity, size_t count) {
  if (count >= arity.least && count <= arity.most) return {};
  const bool open_ended = arity.most == at_least(0).most;
  if (arity.least == arity.most)
    return arity.most == 0 ? "accepts no arguments" : "requires " + plural(arity.least);
  if (open_ended) return "requires at least " + plural(arity.least);
  if (arity.least == 0) return "requires at most " + plural(arity.most);
  return fmt::format("requires at least {} and at most {}", arity.least, plural(arity.most));
}

void print_usage_error(const Command& command, std::string_view path, std::string_view message,
                       std::string_view verb = "Run") {
  print_error(fmt::format("{}\n\nUsage:  {}{}{}\n\n{} '{} --help' for more information", message,
                          path, command.use.empty() ? "" : " ", command.use, verb, path));
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({substitute, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

int unknown_command(const Command& parent, std::string_view path, std::string_view word) {
  std::string text = fmt::format("gantry: unknown command: {} {}\n", path, word);
  std::vector<std::string_view> names = similar_names(parent, word);
  if (!names.empty()) {
    text += "\nDid you mean this?\n";
    for (std::string_view name : names) text += fmt::format("  {} {}\n", path, name);
  }
  if (path != "gantry") text += fmt::format("\nUsage:  {}\n", path);
  print_error(text + fmt::format("\nRun '{} --help' for more information", path));
  return kExitFailure;
}

// "gantry help container ls": the help of what the words name.
int show_help_of(std::span<const std::string> words) {
  const Command* command = &root_command();
  std::string path = "gantry";
  for (const std::string& word : words) {
    command = find_child(*command, word);
    if (!command) {
      print_error(fmt::format("unknown help topic: {}", word));
      return kExitFailure;
    }
    path.append(" ").append(command->name);
  }
  print_out(help_text(*command, path, terminal_width()));
  return 0;
}

}  // namespace

Prepared prepare(const Command& command, std::string_view path, void* options,
                 std::span<const std::string> words) {
  Prepared prepared;
  auto parsed = parse_flags(command.flags, options, command.interspersed, words);
  if (!parsed) {
    print_usage_error(command, path, parsed.error().message());
    prepared.status = kExitUsage;
    return prepared;
  }
  if (parsed->help) {
    print_out(help_text(command, path, terminal_width()));
    prepared.status = 0;
    return prepared;
  }
  std::string complaint = arity_complaint(command.arity, parsed->arguments.size());
  if (!complaint.empty()) {
    print_usage_error(command, path, fmt::format("gantry: '{}' {}", path, complaint),
                      command.arity.most == at_least(0).most ? "See" : "Run");
    prepared.status = kExitFailure;
    return prepared;
  }
  prepared.arguments = std::move(parsed->arguments);
  return prepared;
}

std::vector<std::string_view> similar_names(const Command& parent, std::string_view word) {
  std::vector<std::pair<size_t, std::string_view>> found;
  for (const Command& child : parent.children) {
    size_t distance = edit_distance(word, child.name);
    if (distance <= std::max<size_t>(1, std::min(word.size(), child.name.size()) / 3))
      found.emplace_back(distance, child.name);
  }
  std::ranges::stable_sort(found, {}, [](const auto& entry) { return entry.first; });
  std::vector<std::string_view> names;
  for (const auto& [distance, name] : found)
    if (names.size() < 3) names.push_back(name);
  return names;
}

int dispatch(Cli& cli, std::span<const std::string> words) {
  const Command* command = &root_command();
  std::string path = "gantry";
  while (!words.empty() && !command->execute) {
    const std::string& word = words.front();
    if (word == "--help" || word == "-h" || word == "help") {
      if (word == "help" && command == &root_command()) return show_help_of(words.subspan(1));
      print_out(help_text(*command, path, terminal_width()));
      return 0;
    }
    if (word.starts_with('-') && word.size() > 1) {
      print_usage_error(*command, path, fmt::format("unknown flag: {}", word));
      return kExitUsage;
    }
    const Command* child = find_child(*command, word);
    if (!child) return unknown_command(*command, path, word);
    command = child;
    path.append(" ").append(child->name);
    words = words.subspan(1);
  }
  if (!command->execute) {
    write_error(help_text(*command, path, terminal_width()));
    return 0;
  }
  Result<int> status = command->execute(cli, *command, path, words);
  if (status) return *status;
  print_error(status.error().message());
  return kExitFailure;
}

}  // namespace gantry::client
