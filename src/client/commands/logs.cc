#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/clock.h"
#include "base/sys.h"
#include "base/units.h"
#include "client/commands/commands.h"
#include "client/format/table.h"
#include "client/format/template.h"
#include "client/io/stream.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct LogsOptions {
  bool details = false, follow = false, timestamps = false;
  std::string since, until, tail = "all";
};
constexpr Flag kLogsFlags[] = {
    flag<&LogsOptions::details>("details", 0, "Show extra details provided to logs"),
    flag<&LogsOptions::follow>("follow", 'f', "Follow log output"),
    flag<&LogsOptions::since>("since", 0,
                              "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or "
                              "relative (e.g. \"42m\" for 42 minutes)"),
    flag<&LogsOptions::tail>("tail", 'n', "Number of lines to show from the end of the logs",
                             {.default_text = "\"all\""}),
    flag<&LogsOptions::timestamps>("timestamps", 't', "Show timestamps"),
    flag<&LogsOptions::until>("until", 0,
                              "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or "
                              "relative (e.g. \"42m\" for 42 minutes)"),
};
const FlagGroup kLogsGroups[] = {own_flags(kLogsFlags)};

struct EventsOptions {
  std::vector<std::string> filter;
  std::string format, since, until;
};
constexpr Flag kEventsFlags[] = {
    flag<&EventsOptions::filter>("filter", 'f', "Filter output based on conditions provided",
                                 {.type = "filter", .set = set_filter}),
    flag<&EventsOptions::format>("format", 0, kInspectFormatUsage),
    flag<&EventsOptions::since>("since", 0, "Show all events created since timestamp"),
    flag<&EventsOptions::until>("until", 0, "Stream events until this timestamp"),
};
const FlagGroup kEventsGroups[] = {own_flags(kEventsFlags)};

Status add_time(Path& path, std::string_view name, const std::string& text) {
  if (text.empty()) return {};
  const std::string value =
      TRY(timestamp_parameter(text, now_ns()).context("invalid value for \"{}\"", name));
  path.add(name, value);
  return {};
}

Result<int> run_logs(Cli& cli, LogsOptions& options, Arguments& arguments) {
  Api* api = TRY(cli.api());
  json::value info = TRY(api->get(Path::of({"containers", arguments.front(), "json"})));
  const bool tty = flag_of(object_of(info, "Config"), "Tty");
  Path path = Path::of({"containers", text_of(info, "Id"), "logs"});
  path.add("stdout", "1")
      .add("stderr", "1")
      .flag("follow", options.follow)
      .flag("timestamps", options.timestamps)
      .flag("details", options.details)
      .add("tail", options.tail);
  TRY(add_time(path, "since", options.since));
  TRY(add_time(path, "until", options.until));
  http::Response response = TRY(api->stream("GET", path));
  Demultiplexer demultiplexer;
  Status written;
  auto show = [&](Channel channel, std::string_view data) {
    if (written)
      written = sys::write_all(channel == Channel::out ? STDOUT_FILENO : STDERR_FILENO, data);
  };
  char buffer[64u << 10];
  while (true) {
    size_t got = TRY(response.read_some(buffer));
    if (got == 0) break;
    if (tty)
      show(Channel::out, {buffer, got});
    else
      TRY(demultiplexer.feed({buffer, got}, show));
    if (!written) return std::move(written).error();
  }
  return 0;
}

// "2026-11-24T06:10:38.000000000+00:00 container start ID (image=busybox, name=r1)"
std::string event_line(const json::value& event) {
  const int64_t nano = number_of(event, "timeNano");
  const int64_t seconds = nano ? nano / 1000000000 : number_of(event, "time");
  time_t whole = seconds;
  struct tm local {};
  ::localtime_r(&whole, &local);
  char stamp[64], zone[16];
  std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &local);
  std::strftime(zone, sizeof zone, "%z", &local);
  std::string offset(zone);
  offset = local.tm_gmtoff == 0 ? "Z" : offset.substr(0, 3) + ":" + offset.substr(3);
  std::string line =
      fmt::format("{}.{:09}{} {} {} {}", stamp, nano % 1000000000, offset, text_of(event, "Type"),
                  text_of(event, "Action"), text_of(object_of(event, "Actor"), "ID"));
  const json::object& attributes = object_of(object_of(event, "Actor"), "Attributes");
  if (!attributes.empty()) {
    std::vector<std::string> pairs;
    for (const auto& attribute : attributes)
      pairs.push_back(fmt::format(
          "{}={}", std::string_view(attribute.key()),
          attribute.value().is_string() ? std::string_view(attribute.value().get_string()) : ""));
    std::ranges::sort(pairs);
    std::string joined;
    for (const std::string& pair : pairs) joined += (joined.empty() ? "" : ", ") + pair;
    line += " (" + joined + ")";
  }
  return line + "\n";
}

Status show_event(std::string_view line, std::string_view format,
                  const std::optional<Template>& parsed) {
  if (line.find_first_not_of(" \r\n") == line.npos) return {};
  if (format == "json") {
    print_out("{}\n", line);
  } else {
    json::value event = TRY(json::parse(line));
    if (parsed) {
      const std::string shown = TRY(parsed->execute(event, {.type_name = "events.Message"})
                                        .context("failed to execute template"));
      print_out(shown);
      print_out("\n");
    } else {
      print_out(event_line(event));
    }
  }
  flush_out();
  return {};
}

Result<int> run_events(Cli& cli, EventsOptions& options, Arguments&) {
  Path path("/events");
  TRY(add_time(path, "since", options.since));
  TRY(add_time(path, "until", options.until));
  const std::string filters = TRY(filters_parameter(options.filter));
  path.add_if("filters", filters);
  std::optional<Template> parsed;
  if (!options.format.empty() && options.format != "json")
    parsed = TRY(Template::parse(unescape_format(options.format)).context("Error parsing format"));
  Api* api = TRY(cli.api());
  http::Response response = TRY(api->stream("GET", path));
  std::string pending;
  char buffer[16384];
  while (true) {
    size_t got = TRY(response.read_some(buffer));
    if (got == 0) break;
    pending.append(buffer, got);
    size_t start = 0;
    for (size_t end; (end = pending.find('\n', start)) != pending.npos; start = end + 1)
      TRY(show_event(std::string_view(pending).substr(start, end - start), options.format, parsed));
    pending.erase(0, start);
  }
  TRY(show_event(pending, options.format, parsed));
  return 0;
}

}  // namespace

std::span<const Command> log_commands() {
  static const Command commands[] = {
      command<LogsOptions, run_logs>({.name = "logs",
                                      .use = "[OPTIONS] CONTAINER",
                                      .summary = "Fetch the logs of a container",
                                      .arity = exactly(1),
                                      .flags = kLogsGroups}),
      command<EventsOptions, run_events>({.name = "events",
                                          .use = "[OPTIONS]",
                                          .summary = "Get real time events from the server",
                                          .arity = exactly(0),
                                          .flags = kEventsGroups}),
  };
  return commands;
}

}  // namespace gantry::client
