// The groups of commands; each is a constant table in its own file.
#pragma once

#include <functional>
#include <span>

#include "client/cli/cli.h"
#include "client/cli/command.h"

namespace gantry::client {

std::span<const Command> run_commands();             // run, create
std::span<const Command> attach_commands();          // attach, exec, start
std::span<const Command> lifecycle_commands();       // stop, kill, rm, …
std::span<const Command> list_commands();            // container ls
std::span<const Command> log_commands();             // logs, events
std::span<const Command> container_info_commands();  // top, port, diff, stats, …
std::span<const Command> update_commands();
std::span<const Command> copy_commands();      // export, commit
std::span<const Command> inspect_commands();   // inspect, and that of each kind
std::span<const Command> image_commands();     // ls, rm, tag, history, prune
std::span<const Command> archive_commands();   // load, save, import
std::span<const Command> transfer_commands();  // pull, push
std::span<const Command> trust_commands();     // image sign, verify, trust
std::span<const Command> manifest_commands();  // create, annotate, push, …
std::span<const Command> registry_commands();  // login, logout, search
std::span<const Command> network_commands();
std::span<const Command> volume_commands();
std::span<const Command> job_commands();     // ls, watch, cancel
std::span<const Command> system_commands();  // version, info, df, prune
std::span<const Command> graph_commands();   // graph why, roots, show
std::span<const Command> care_commands();    // system check, gc
// Every command of a group by its name; it must be there.
const Command& in_group(std::span<const Command> group, std::string_view name);

inline constexpr std::string_view kFormatUsage =
    "Format output using a custom template:\n"
    "'table':            Print output in table format with column headers (default)\n"
    "'table TEMPLATE':   Print output in table format using the given Go template\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.";
inline constexpr std::string_view kInspectFormatUsage =
    "Format output using a custom template:\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.";

// Runs `one` for every name; prints the errors as they come and gives exit status 1 when there was
// one. A success prints the name, if told.
enum class EchoNames { no, yes };
Result<int> for_each_name(const Arguments& names, EchoNames echo,
                          const std::function<Status(const std::string&)>& one);

// Member access that forgives: "" or 0 or an empty object when it is absent or of another kind.
std::string text_of(const json::value& object, std::string_view member);
int64_t number_of(const json::value& object, std::string_view member);
bool flag_of(const json::value& object, std::string_view member);
const json::object& object_of(const json::value& object, std::string_view member);
const json::array& array_of(const json::value& object, std::string_view member);
std::string text_of(const json::object& object, std::string_view member);
int64_t number_of(const json::object& object, std::string_view member);
bool flag_of(const json::object& object, std::string_view member);
const json::object& object_of(const json::object& object, std::string_view member);
const json::array& array_of(const json::object& object, std::string_view member);
// These two give references into their argument.
const json::object& object_of(json::value&&, std::string_view) = delete;
const json::object& object_of(json::object&&, std::string_view) = delete;
const json::array& array_of(json::value&&, std::string_view) = delete;
const json::array& array_of(json::object&&, std::string_view) = delete;
std::string comma_pairs(const json::object& labels);  // "a=1,b=2", sorted

}  // namespace gantry::client
