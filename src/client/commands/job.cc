// gantry job: what the engine does and did. Gantry's own; in the manner of Docker's commands.
#include "base/clock.h"
#include "base/units.h"
#include "client/commands/commands.h"
#include "client/format/table.h"
#include "client/format/template.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct JobListOptions {
  bool quiet = false, no_trunc = false;
  int64_t last = 100;
  std::string format;
  std::vector<std::string> filter;
};
constexpr Flag kListFlags[] = {
    flag<&JobListOptions::filter>("filter", 'f',
                                  "Filter output based on conditions provided (e.g. "
                                  "\"status=running\", \"name=image.load\", \"name=container\")",
                                  {.type = "filter", .set = set_filter}),
    flag<&JobListOptions::format>("format", 0, kFormatUsage),
    flag<&JobListOptions::last>("last", 'n', "Show the n newest jobs", {.default_text = "100"}),
    flag<&JobListOptions::no_trunc>("no-trunc", 0, "Don't truncate output"),
    flag<&JobListOptions::quiet>("quiet", 'q', "Only display job IDs"),
};
const FlagGroup kListGroups[] = {own_flags(kListFlags)};

struct JobWatchOptions {
  std::string format;
  std::vector<std::string> filter;
};
constexpr Flag kWatchFlags[] = {
    flag<&JobWatchOptions::filter>("filter", 'f',
                                   "Filter output based on conditions provided, without a JOB",
                                   {.type = "filter", .set = set_filter}),
    flag<&JobWatchOptions::format>("format", 0, kInspectFormatUsage),
};
const FlagGroup kWatchGroups[] = {own_flags(kWatchFlags)};

constexpr size_t kDetailColumns = 60;

// Nanoseconds since the epoch; 0 when it has not come to that.
int64_t time_of(const json::object& job, std::string_view member) {
  auto parsed = parse_time(text_of(job, member));
  return parsed && *parsed > 0 ? *parsed : 0;
}

std::string caller_of(const json::object& job) {
  const json::object& caller = object_of(job, "Caller");
  const int64_t pid = number_of(caller, "Pid");
  std::string name = text_of(caller, "Name");
  return pid > 0 ? fmt::format("{} (pid {})", name, pid) : name;
}

// The error of a job that ended badly, or what it last told of its progress, in one line.
std::string detail_of(const json::object& job) {
  std::string text = text_of(job, "Error");
  if (text.empty()) {
    const json::object& progress = object_of(job, "Progress");
    for (std::string_view member : {"id", "status", "stream", "progress"}) {
      const std::string part = text_of(progress, member);
      if (!part.empty()) text += (text.empty() ? "" : " ") + part;
    }
  }
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

std::string duration_of(const json::object& job, int64_t now) {
  constexpr int64_t kMillisecond = 1'000'000;
  const int64_t started = time_of(job, "StartedAt"), finished = time_of(job, "FinishedAt");
  if (started == 0) return "";
  const int64_t spent = (finished != 0 ? finished : now) - started;
  return format_duration(spent / kMillisecond * kMillisecond);
}

json::object row_of(const json::object& job, bool truncate, int64_t now) {
  const int64_t parent = number_of(job, "Parent");
  const std::string detail = detail_of(job);
  std::string resources;
  for (const json::value& resource : array_of(job, "Resources"))
    resources += (resources.empty() ? "" : ", ") + std::string(resource.get_string());
  return {{"ID", fmt::format("{}", number_of(job, "Id"))},
          {"Name", text_of(job, "Name")},
          {"Status", text_of(job, "Status")},
          {"Class", text_of(job, "Class")},
          {"Parent", parent != 0 ? fmt::format("{}", parent) : ""},
          {"Caller", caller_of(job)},
          {"Created", human_duration(now - time_of(job, "QueuedAt")) + " ago"},
          {"QueuedAt", text_of(job, "QueuedAt")},
          {"StartedAt", text_of(job, "StartedAt")},
          {"FinishedAt", text_of(job, "FinishedAt")},
          {"Duration", duration_of(job, now)},
          {"InputDigest", text_of(job, "InputDigest")},
          {"Error", text_of(job, "Error")},
          {"Resources", resources},
          {"Detail", truncate ? ellipsis(detail, kDetailColumns) : detail}};
}

Result<int> run_list(Cli& cli, JobListOptions& options, Arguments&) {
  const std::string filters = TRY(filters_parameter(options.filter));
  Path path("/gantry/jobs");
  path.add("limit", fmt::format("{}", options.last)).add_if("filters", filters);
  Api* api = TRY(cli.api());
  json::value list = TRY(api->get(path));
  if (!list.is_array()) return internal("the daemon's list of jobs is no list");
  Listing listing;
  listing.type_name = "*formatter.jobContext";
  listing.headings = {{"ID", "JOB ID"},
                      {"Name", "NAME"},
                      {"Status", "STATUS"},
                      {"Class", "CLASS"},
                      {"Parent", "PARENT"},
                      {"Caller", "CALLER"},
                      {"Created", "CREATED"},
                      {"QueuedAt", "QUEUED AT"},
                      {"StartedAt", "STARTED AT"},
                      {"FinishedAt", "FINISHED AT"},
                      {"Duration", "DURATION"},
                      {"InputDigest", "INPUT DIGEST"},
                      {"Error", "ERROR"},
                      {"Resources", "RESOURCES"},
                      {"Detail", "DETAIL"}};
  listing.table =
      "{{.ID}}\t{{.Name}}\t{{.Status}}\t{{.Parent}}\t{{.Caller}}\t{{.Created}}\t{{.Duration}}\t"
      "{{.Detail}}";
  const int64_t now = now_ns();
  for (const json::value& job : list.get_array()) {
    if (!job.is_object()) continue;
    listing.rows.push_back(row_of(job.get_object(), !options.no_trunc, now));
    if (options.quiet && options.format.empty()) print_out("{}\n", number_of(job, "Id"));
  }
  if (options.quiet && options.format.empty()) return 0;
  const std::string shown = TRY(render(listing, options.format));
  print_out(shown);
  return 0;
}

Status show_change(const json::value& job, const std::string& format,
                   const std::optional<Template>& parsed) {
  if (format == "json") {
    print_out("{}\n", json::serialize(job));
  } else if (parsed) {
    const std::string shown =
        TRY(parsed->execute(job, {.type_name = "jobs.Job"}).context("failed to execute template"));
    print_out("{}\n", shown);
  } else {
    std::string line =
        fmt::format("{} {} {}", number_of(job, "Id"), text_of(job, "Name"), text_of(job, "Status"));
    const std::string detail = detail_of(job.get_object());
    if (!detail.empty()) line += ": " + detail;
    print_out("{}\n", line);
  }
  flush_out();
  return {};
}

// 0 when the one job that was asked for is done, or when all were.
Result<int> run_watch(Cli& cli, JobWatchOptions& options, Arguments& names) {
  if (!names.empty() && !options.filter.empty())
    return invalid("--filter chooses among all jobs: give it or a JOB");
  std::optional<Template> parsed;
  if (!options.format.empty() && options.format != "json")
    parsed = TRY(Template::parse(unescape_format(options.format)).context("Error parsing format"));
  const std::string filters = TRY(filters_parameter(options.filter));
  Path path = names.empty() ? Path("/gantry/jobs") : Path::of({"gantry", "jobs", names[0]});
  path.flag("stream", true).add_if("filters", filters);
  Api* api = TRY(cli.api());
  http::Response response = TRY(api->stream("GET", path));
  std::string pending, last;
  char buffer[16384];
  while (size_t got = TRY(response.read_some(buffer))) {
    pending.append(buffer, got);
    size_t start = 0;
    for (size_t end; (end = pending.find('\n', start)) != pending.npos; start = end + 1) {
      json::value job = TRY(json::parse(std::string_view(pending).substr(start, end - start)));
      if (!job.is_object()) return internal("the daemon's description of a job is no object");
      TRY(show_change(job, options.format, parsed));
      last = text_of(job, "Status");
    }
    pending.erase(0, start);
  }
  return names.empty() || last == "done" ? 0 : kExitFailure;
}

Result<int> run_cancel(Cli& cli, NoOptions&, Arguments& names) {
  Api* api = TRY(cli.api());
  return for_each_name(names, EchoNames::yes, [&](const std::string& name) -> Status {
    TRY(api->call("DELETE", Path::of({"gantry", "jobs", name})));
    return {};
  });
}

constexpr std::string_view kListAliases[] = {"list", "ps"};

}  // namespace

std::span<const Command> job_commands() {
  static const Command commands[] = {
      command<NoOptions, run_cancel>(
          {.name = "cancel",
           .use = "JOB [JOB...]",
           .summary = "Ask one or more jobs to stop; what they did is undone",
           .arity = at_least(1)}),
      command<JobListOptions, run_list>({.name = "ls",
                                         .aliases = kListAliases,
                                         .use = "[OPTIONS]",
                                         .summary = "List jobs, the newest first",
                                         .arity = exactly(0),
                                         .flags = kListGroups}),
      command<JobWatchOptions, run_watch>(
          {.name = "watch",
           .use = "[OPTIONS] [JOB]",
           .summary = "Show what happens to a job until it ends, or to all",
           .details = "The exit status is 0 when the job was done, and 1 when it failed, was "
                      "cancelled or was interrupted.",
           .arity = at_most(1),
           .flags = kWatchGroups}),
  };
  return commands;
}

}  // namespace gantry::client
