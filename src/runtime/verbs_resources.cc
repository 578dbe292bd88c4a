#include <poll.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "libcontainer/default_profile.h"
#include "libcontainer/stats.h"
#include "runtime/verbs.h"

namespace gantry::runtime {
namespace {

using libcontainer::Container;
using libcontainer::Resources;

template <typename T>
Status take_number(const Arguments& arguments, std::string_view flag, std::optional<T>& out) {
  std::string text = arguments.get(flag);
  if (text.empty()) return {};
  out = static_cast<T>(TRY(parse_number(text, flag)));
  return {};
}

Result<Resources> requested(const Arguments& arguments) {
  std::string file = arguments.get("resources");
  if (!file.empty()) {
    Result<std::string> read = file == "-" ? sys::read_all(STDIN_FILENO) : fs::read_file(file);
    std::string text = TRY(std::move(read).context("--resources"));
    return json::parse<Resources>(text).context("--resources");
  }
  Resources out;
  libcontainer::MemoryResources memory;
  TRY(take_number(arguments, "memory", memory.limit));
  TRY(take_number(arguments, "memory-reservation", memory.reservation));
  TRY(take_number(arguments, "memory-swap", memory.swap));
  out.memory = memory;
  libcontainer::CpuResources cpu;
  TRY(take_number(arguments, "cpu-share", cpu.shares));
  TRY(take_number(arguments, "cpu-period", cpu.period));
  TRY(take_number(arguments, "cpu-quota", cpu.quota));
  cpu.cpus = arguments.get("cpuset-cpus");
  cpu.mems = arguments.get("cpuset-mems");
  out.cpu = cpu;
  out.pids.emplace();
  TRY(take_number(arguments, "pids-limit", out.pids->limit));
  out.block_io.emplace();
  TRY(take_number(arguments, "blkio-weight", out.block_io->weight));
  return out;
}

Result<std::vector<pid_t>> thread_list(const std::string& text) {
  std::vector<pid_t> out;
  for (size_t at = 0; at <= text.size();) {
    size_t comma = std::min(text.find(',', at), text.size());
    int64_t thread = TRY(parse_number(text.substr(at, comma - at), "--threads"));
    if (thread <= 0 || thread > INT32_MAX) return invalid("--threads: {} is no thread", thread);
    out.push_back(static_cast<pid_t>(thread));
    at = comma + 1;
  }
  return out;
}

}  // namespace

Result<int> verb_pause(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  TRY(container.pause());
  return 0;
}

Result<int> verb_resume(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  TRY(container.resume());
  return 0;
}

Result<int> verb_update(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  Resources resources = TRY(requested(arguments));
  std::string threads = arguments.get("threads");
  std::string group = arguments.get("cgroup");
  if (threads.empty() != group.empty())
    return invalid("--threads and --cgroup: one goes with the other");
  if (threads.empty())
    TRY(container.update(resources));
  else
    TRY(container.limit_threads(group, TRY(thread_list(threads)), resources));
  return 0;
}

Result<int> verb_events(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  int64_t interval = TRY(parse_number(arguments.get("interval", "5"), "--interval"));
  if (interval <= 0 || interval > 86400) return invalid("--interval: {} is out of range", interval);
  for (;;) {
    libcontainer::Stats stats = TRY(container.stats());
    json::object event;
    event["type"] = "stats";
    event["id"] = container.id();
    event["data"] = json::encode(stats);
    TRY(print(json::serialize(event) + "\n"));
    if (arguments.has("stats")) return 0;
    // The end of the container ends the wait.
    if (TRY(sys::poll_one(container.pidfd(), POLLIN, static_cast<int>(interval * 1000)))) return 0;
  }
}

Result<int> verb_spec(const Globals&, const Arguments& arguments) {
  libcontainer::Spec spec = arguments.has("rootless")
                                ? libcontainer::rootless_spec(::geteuid(), ::getegid())
                                : libcontainer::default_spec();
  spec.process->terminal = true;
  spec.process->args = {"sh"};
  spec.process->env.push_back("TERM=xterm");
  spec.root.emplace().path = "rootfs";
  spec.root->readonly = true;
  spec.hostname = "gantry";
  std::string path = arguments.get("bundle", ".") + "/config.json";
  if (fs::exists(path)) return conflict("{} exists, remove it first", path);
  TRY(fs::write_file(path, json::pretty(json::encode(spec)) + "\n", 0644));
  return 0;
}

}  // namespace gantry::runtime
