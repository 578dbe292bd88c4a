#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/units.h"
#include "client/commands/commands.h"
#include "client/format/table.h"
#include "client/format/template.h"
#include "client/io/terminal.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct StatsOptions {
  bool all = false, no_stream = false, no_trunc = false;
  std::string format;
};
constexpr Flag kStatsFlags[] = {
    flag<&StatsOptions::all>("all", 'a', "Show all containers (default shows just running)"),
    flag<&StatsOptions::format>("format", 0, kFormatUsage),
    flag<&StatsOptions::no_stream>("no-stream", 0,
                                   "Disable streaming stats and only pull the first result"),
    flag<&StatsOptions::no_trunc>("no-trunc", 0, "Do not truncate output"),
};
const FlagGroup kStatsGroups[] = {own_flags(kStatsFlags)};

Result<int> run_top(Cli& cli, NoOptions&, Arguments& arguments) {
  Path path = Path::of({"containers", arguments[0], "top"});
  std::string options;
  for (size_t i = 1; i < arguments.size(); ++i) options += (i > 1 ? " " : "") + arguments[i];
  path.add_if("ps_args", options);
  Api* api = TRY(cli.api());
  json::value answer = TRY(api->get(path));
  std::string text;
  auto row = [&](const json::array& cells) {
    for (size_t i = 0; i < cells.size(); ++i)
      text += (i ? "\t" : "") +
              std::string(cells[i].is_string() ? std::string_view(cells[i].get_string()) : "");
    text += "\n";
  };
  row(array_of(answer, "Titles"));
  for (const json::value& process : array_of(answer, "Processes"))
    if (process.is_array()) row(process.get_array());
  print_out(align_columns(text));
  return 0;
}

Result<int> run_port(Cli& cli, NoOptions&, Arguments& arguments) {
  Api* api = TRY(cli.api());
  json::value info = TRY(api->get(Path::of({"containers", arguments[0], "json"})));
  const json::object& ports = object_of(object_of(info, "NetworkSettings"), "Ports");
  std::vector<std::pair<std::string, std::string>> lines;
  std::string wanted = arguments.size() > 1 ? arguments[1] : "";
  if (!wanted.empty() && wanted.find('/') == wanted.npos) wanted += "/tcp";
  for (const auto& port : ports) {
    if (!port.value().is_array() || (!wanted.empty() && std::string_view(port.key()) != wanted))
      continue;
    for (const json::value& binding : port.value().get_array()) {
      std::string ip = text_of(binding, "HostIp");
      if (ip.find(':') != ip.npos) ip = "[" + ip + "]";
      lines.emplace_back(std::string(port.key()), ip + ":" + text_of(binding, "HostPort"));
    }
  }
  if (!wanted.empty() && lines.empty())
    return not_found("Error: No public port '{}' published for {}", wanted, arguments[0]);
  std::ranges::stable_sort(lines, [](const auto& a, const auto& b) {
    auto number = [](const std::string& text) {
      int value = 0;
      std::from_chars(text.data(), text.data() + text.size(), value);
      return value;
    };
    return number(a.first) < number(b.first);
  });
  for (const auto& [inner, outer] : lines)
    print_out(wanted.empty() ? fmt::format("{} -> {}\n", inner, outer) : outer + "\n");
  return 0;
}

Result<int> run_diff(Cli& cli, NoOptions&, Arguments& arguments) {
  static constexpr char kLetters[] = {'C', 'A', 'D'};
  Api* api = TRY(cli.api());
  json::value changes = TRY(api->get(Path::of({"containers", arguments[0], "changes"})));
  if (!changes.is_array()) return 0;
  for (const json::value& change : changes.get_array()) {
    int64_t kind = number_of(change, "Kind");
    print_out("{} {}\n", kind >= 0 && kind < 3 ? kLetters[kind] : '?', text_of(change, "Path"));
  }
  return 0;
}

double sum_of(const json::value& io, std::string_view operation) {
  double total = 0;
  for (const json::value& entry : array_of(io, "io_service_bytes_recursive")) {
    std::string op = text_of(entry, "op");
    if (op.size() == operation.size() &&
        ::strcasecmp(op.c_str(), std::string(operation).c_str()) == 0)
      total += static_cast<double>(number_of(entry, "value"));
  }
  return total;
}

json::object stats_row(const json::value& stats, bool whole) {
  const json::object& cpu = object_of(stats, "cpu_stats");
  const json::object& before = object_of(stats, "precpu_stats");
  const json::object& usage = object_of(cpu, "cpu_usage");
  const json::object& usage_before = object_of(before, "cpu_usage");
  const double delta =
      static_cast<double>(number_of(usage, "total_usage") - number_of(usage_before, "total_usage"));
  const double system = static_cast<double>(number_of(cpu, "system_cpu_usage") -
                                            number_of(before, "system_cpu_usage"));
  double cpus = static_cast<double>(number_of(cpu, "online_cpus"));
  if (cpus == 0) cpus = static_cast<double>(array_of(usage, "percpu_usage").size());
  const double percent = delta > 0 && system > 0 ? delta / system * cpus * 100 : 0;
  const json::object& memory = object_of(stats, "memory_stats");
  const json::object& detail = object_of(memory, "stats");
  // The page cache that can be dropped is not counted: total_inactive_file on v1, inactive_file on
  // v2.
  double used = static_cast<double>(number_of(memory, "usage"));
  double inactive = static_cast<double>(number_of(
      detail, detail.contains("total_inactive_file") ? "total_inactive_file" : "inactive_file"));
  if (inactive < used) used -= inactive;
  const double limit = static_cast<double>(number_of(memory, "limit"));
  double received = 0, sent = 0;
  for (const auto& network : object_of(stats, "networks")) {
    received += static_cast<double>(number_of(network.value(), "rx_bytes"));
    sent += static_cast<double>(number_of(network.value(), "tx_bytes"));
  }
  const json::object& io = object_of(stats, "blkio_stats");
  std::string id = text_of(stats, "id"), name = text_of(stats, "name");
  if (name.starts_with('/')) name.erase(0, 1);
  return json::object{
      {"ID", whole ? id : id.substr(0, 12)},
      {"Container", id},
      {"Name", name},
      {"CPUPerc", fmt::format("{:.2f}%", percent)},
      {"MemUsage", fmt::format("{} / {}", bytes_size(used), bytes_size(limit))},
      {"MemPerc", fmt::format("{:.2f}%", limit > 0 ? used / limit * 100 : 0)},
      {"NetIO", fmt::format("{} / {}", human_size(received, 3), human_size(sent, 3))},
      {"BlockIO", fmt::format("{} / {}", human_size(sum_of(io, "read"), 3),
                              human_size(sum_of(io, "write"), 3))},
      {"PIDs", fmt::format("{}", number_of(object_of(stats, "pids_stats"), "current"))}};
}

Result<int> run_stats(Cli& cli, StatsOptions& options, Arguments& names) {
  Api* api = TRY(cli.api());
  const bool live = !options.no_stream && is_terminal(STDOUT_FILENO);
  const bool listed = !names.empty();
  while (true) {
    if (!listed) {
      names.clear();
      json::value list = TRY(api->get(Path("/containers/json").flag("all", options.all)));
      if (list.is_array())
        for (const json::value& container : list.get_array())
          names.push_back(text_of(container, "Id"));
    }
    Listing listing;
    listing.type_name = "*container.statsContext";
    listing.headings = {
        {"ID", "CONTAINER ID"}, {"Container", "CONTAINER"},        {"Name", "NAME"},
        {"CPUPerc", "CPU %"},   {"MemUsage", "MEM USAGE / LIMIT"}, {"MemPerc", "MEM %"},
        {"NetIO", "NET I/O"},   {"BlockIO", "BLOCK I/O"},          {"PIDs", "PIDS"}};
    listing.table =
        "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{"
        "{.PIDs}}";
    // All are asked at once: the daemon samples for a second before it answers.
    std::vector<http::Call> calls;
    for (const std::string& name : names)
      calls.push_back(
          TRY(api->send("GET", Path::of({"containers", name, "stats"}).add("stream", "0"))));
    for (http::Call& call : calls) {
      http::Response response = TRY(call.response());
      response = TRY(Api::checked(std::move(response)));
      std::string body = TRY(response.read_all());
      json::value stats = TRY(json::parse(body));
      listing.rows.push_back(stats_row(stats, options.no_trunc));
    }
    std::string text = TRY(render(listing, options.format));
    print_out(live ? "\x1b[H\x1b[J" + text : text);
    flush_out();
    if (options.no_stream) return 0;
  }
}

}  // namespace

std::span<const Command> container_info_commands() {
  static const Command commands[] = {
      command<NoOptions, run_top>({.name = "top",
                                   .use = "CONTAINER [ps OPTIONS]",
                                   .summary = "Display the running processes of a container",
                                   .arity = at_least(1),
                                   .interspersed = Interspersed::no}),
      command<NoOptions, run_port>(
          {.name = "port",
           .use = "CONTAINER [PRIVATE_PORT[/PROTO]]",
           .summary = "List port mappings or a specific mapping for the container",
           .arity = between(1, 2)}),
      command<NoOptions, run_diff>(
          {.name = "diff",
           .use = "CONTAINER",
           .summary = "Inspect changes to files or directories on a container's filesystem",
           .arity = exactly(1)}),
      command<StatsOptions, run_stats>(
          {.name = "stats",
           .use = "[OPTIONS] [CONTAINER...]",
           .summary = "Display a live stream of container(s) resource usage statistics",
           .flags = kStatsGroups}),
  };
  return commands;
}

}  // namespace gantry::client
