// GET /metrics.
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/fs.h"
#include "daemon/containers.h"
#include "daemon/daemon.h"
#include "daemon/events.h"
#include "daemon/system.h"
#include "drivers/graph/graph_driver.h"

namespace gantry::daemon {
namespace {

struct Text {
  std::string out;
  void family(std::string_view name, std::string_view type, std::string_view help) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  void value(std::string_view name, int64_t value, std::string_view labels = {}) {
    out += fmt::format("{}{} {}\n", name, labels, value);
  }
  void one(std::string_view name, std::string_view type, std::string_view help, int64_t number) {
    family(name, type, help);
    value(name, number);
  }
};

int64_t resident_bytes() {
  Result<std::string> statm = fs::read_file("/proc/self/statm", 256);
  long long size = 0, resident = 0;
  if (!statm || std::sscanf(statm->c_str(), "%lld %lld", &size, &resident) != 2) return 0;
  return static_cast<int64_t>(resident) * ::sysconf(_SC_PAGESIZE);
}

int64_t entries_of(const char* directory) {
  Result<std::vector<std::string>> names = fs::list_directory(directory);
  return names ? static_cast<int64_t>(names->size()) : 0;
}

}  // namespace

std::string metrics(Daemon& daemon) {
  Text text;
  const Containers::Counts counts = daemon.containers().counts();
  constexpr std::string_view kStates = "engine_daemon_container_states_containers";
  text.family(kStates, "gauge", "The count of containers in various states");
  text.value(kStates, counts.paused, "{state=\"paused\"}");
  text.value(kStates, counts.running, "{state=\"running\"}");
  text.value(kStates, counts.stopped, "{state=\"stopped\"}");

  struct sysinfo memory = {};
  ::sysinfo(&memory);
  text.one("engine_daemon_engine_cpus_cpus", "gauge",
           "The number of cpus that the host system of the engine has",
           ::sysconf(_SC_NPROCESSORS_ONLN));
  text.one("engine_daemon_engine_memory_bytes", "gauge",
           "The number of bytes of memory that the host system of the engine has",
           static_cast<int64_t>(memory.totalram) * memory.mem_unit);
  constexpr std::string_view kInfo = "engine_daemon_engine_info";
  text.family(kInfo, "gauge", "The information related to the engine and the OS it is running on");
  text.value(kInfo, 1,
             fmt::format("{{daemon_id=\"{}\",graphdriver=\"{}\",version=\"{}\"}}",
                         daemon.instance(), daemon.graph_driver().name(), GANTRY_VERSION));

  text.one("engine_daemon_events_total", "counter", "The number of events logged",
           daemon.events().published());
  text.one("engine_daemon_events_subscribers_total", "gauge",
           "The number of current subscribers to events",
           static_cast<int64_t>(daemon.events().listeners()));
  const Containers::CheckCounts checks = daemon.containers().check_counts();
  text.one("engine_daemon_health_checks_total", "counter", "The total number of health checks",
           checks.run);
  text.one("engine_daemon_health_checks_failed_total", "counter",
           "The total number of failed health checks", checks.failed);

  text.one("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
           resident_bytes());
  text.one("process_open_fds", "gauge", "Number of open file descriptors.",
           entries_of("/proc/self/fd"));
  text.one("process_threads", "gauge", "Number of threads.", entries_of("/proc/self/task"));
  return std::move(text.out);
}

}  // namespace gantry::daemon
