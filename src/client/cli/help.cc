#include <algorithm>

#include "client/cli/command.h"

namespace gantry::client {
namespace {

struct Section {
  HelpSection section;
  std::string_view title;
};
constexpr Section kSections[] = {{HelpSection::common, "Common Commands"},
                                 {HelpSection::management, "Management Commands"},
                                 {HelpSection::other, "Commands"}};

// Every path under which the same command can be reached.
void collect_paths(const Command& parent, const std::string& path, const Command& wanted,
                   std::vector<std::string>& out) {
  for (const Command& child : parent.children) {
    if (child.execute && child.execute == wanted.execute) {
      out.push_back(path + " " + std::string(child.name));
      for (std::string_view alias : child.aliases) out.push_back(path + " " + std::string(alias));
    }
    collect_paths(child, path + " " + std::string(child.name), wanted, out);
  }
}

std::string list_children(const Command& command) {
  std::string out;
  size_t width = 0;
  for (const Command& child : command.children) width = std::max(width, child.name.size());
  const bool root = command.name.empty();
  for (const Section& section : kSections) {
    std::vector<const Command*> shown;
    for (const Command& child : command.children)
      if (child.section != HelpSection::hidden &&
          (!root ? section.section == HelpSection::other : child.section == section.section))
        shown.push_back(&child);
    if (shown.empty()) continue;
    if (!root || section.section == HelpSection::other)
      std::ranges::sort(shown, {}, &Command::name);
    out += fmt::format("\n{}:\n", section.title);
    for (const Command* child : shown)
      out += fmt::format("  {:<{}}  {}\n", child->name, width + 1, child->summary);
  }
  return out;
}

std::string indented(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    out.append("  ").append(text.substr(0, end)).append("\n");
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace

std::string help_text(const Command& command, std::string_view path, int width) {
  std::string use(command.use);
  if (command.children.size() > 0) use = command.name.empty() ? "[OPTIONS] COMMAND" : "COMMAND";
  std::string out =
      fmt::format("Usage:  {}{}{}\n\n{}\n", path, use.empty() ? "" : " ", use, command.summary);
  if (!command.details.empty()) out += fmt::format("\n{}\n", command.details);
  if (command.execute) {
    std::vector<std::string> paths;
    collect_paths(root_command(), "gantry", command, paths);
    std::ranges::sort(paths, [](const std::string& a, const std::string& b) {
      return std::ranges::count(a, ' ') != std::ranges::count(b, ' ')
                 ? std::ranges::count(a, ' ') > std::ranges::count(b, ' ')
                 : a < b;
    });
    if (paths.size() > 1) {
      out += "\nAliases:\n  ";
      for (size_t i = 0; i < paths.size(); ++i) out += (i ? ", " : "") + paths[i];
      out += "\n";
    }
  }
  out += list_children(command);
  std::string flags = describe_flags(command.flags, width);
  if (!flags.empty())
    out += fmt::format("\n{}:\n{}", command.name.empty() ? "Global Options" : "Options", flags);
  if (!command.examples.empty()) out += fmt::format("\nExamples:\n{}", indented(command.examples));
  if (!command.children.empty())
    out += fmt::format("\nRun '{} COMMAND --help' for more information on a command.\n", path);
  return out;
}

}  // namespace gantry::client
