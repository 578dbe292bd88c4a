#include "libcontainer/systemd_scope.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>

#include "base/fs.h"
#include "base/sys.h"
#include "libcontainer/cgroup.h"
#include "libcontainer/dbus.h"
#include "libcontainer/namespaces.h"

namespace gantry::libcontainer {
namespace {

constexpr uint64_t kInfinity = UINT64_MAX;
constexpr uint64_t kDefaultPeriod = 100000;  // µs, the kernel's

std::string private_socket(bool rootless) {
  if (!rootless) return "/run/systemd/private";
  const char* runtime = ::getenv("XDG_RUNTIME_DIR");
  return std::string(runtime ? runtime : "/run/user/" + std::to_string(::geteuid())) +
         "/systemd/private";
}

Result<DbusConnection> connect(bool rootless) {
  return DbusConnection::open(private_socket(rootless))
      .context("--systemd-cgroup: systemd cannot be reached");
}

DbusMessage manager_call(std::string member, std::string signature, std::string body) {
  DbusMessage call;
  call.path = "/org/freedesktop/systemd1";
  call.interface = "org.freedesktop.systemd1.Manager";
  call.destination = "org.freedesktop.systemd1";
  call.member = std::move(member);
  call.signature = std::move(signature);
  call.body = std::move(body);
  return call;
}

std::string unit_of(const std::string& cgroup) { return cgroup.substr(cgroup.rfind('/') + 1); }

// Elements of a(sv).
class Properties {
 public:
  explicit Properties(DbusWriter& out) : out_(out) {}
  void text(const char* name, std::string_view value) {
    begin(name, "s");
    out_.put_string(value);
  }
  void flag(const char* name, bool value) {
    begin(name, "b");
    out_.put_bool(value);
  }
  void number(const char* name, uint64_t value) {
    begin(name, "t");
    out_.put_u64(value);
  }
  void process(const char* name, pid_t pid) {
    begin(name, "au");
    out_.array(4, [&] { out_.put_u32(static_cast<uint32_t>(pid)); });
  }

 private:
  void begin(const char* name, std::string_view type) {
    out_.align(8);
    out_.put_string(name);
    out_.put_signature(type);
  }
  DbusWriter& out_;
};

uint64_t or_infinity(int64_t limit) { return limit < 0 ? kInfinity : static_cast<uint64_t>(limit); }

// What systemd has a name for; all of it, and the rest, is written to the cgroup by us, too.
void put_limits(Properties& out, const Resources& resources) {
  if (const auto& memory = resources.memory) {
    if (memory->limit) out.number("MemoryMax", or_infinity(*memory->limit));
    if (memory->reservation) out.number("MemoryLow", or_infinity(*memory->reservation));
    // Of both together; a sum below the limit is refused when the cgroup is written.
    if (memory->swap && memory->limit && *memory->limit >= 0 && *memory->swap >= *memory->limit)
      out.number("MemorySwapMax", static_cast<uint64_t>(*memory->swap - *memory->limit));
    else if (memory->swap && *memory->swap < 0)
      out.number("MemorySwapMax", kInfinity);
  }
  if (const auto& cpu = resources.cpu) {
    if (cpu->shares && *cpu->shares) out.number("CPUWeight", weight_of_shares(*cpu->shares));
    if (cpu->quota) {
      uint64_t period = cpu->period.value_or(0) ? *cpu->period : kDefaultPeriod;
      out.number("CPUQuotaPeriodUSec", period);
      // Of a second, in whole steps of 10 ms as systemd counts them.
      uint64_t quota = kInfinity;
      if (*cpu->quota > 0) {
        unsigned __int128 second = static_cast<unsigned __int128>(*cpu->quota) * 1000000 / period;
        if (second < INT64_MAX) quota = (static_cast<uint64_t>(second) + 9999) / 10000 * 10000;
      }
      out.number("CPUQuotaPerSecUSec", quota);
    }
  }
  if (resources.pids && resources.pids->limit)
    out.number("TasksMax", *resources.pids->limit > 0
                               ? static_cast<uint64_t>(*resources.pids->limit)
                               : kInfinity);
}

// The cgroup2 path of a process, or that of systemd's own v1 hierarchy.
Result<std::string> cgroup_of(pid_t pid) {
  std::string text = TRY(fs::read_file(fmt::format("/proc/{}/cgroup", pid), 65536));
  std::string named, unified;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    size_t path = line.find(":/");
    if (path == line.npos) continue;
    if (line.starts_with("0::")) unified = line.substr(path + 1);
    if (line.find(":name=systemd:") != line.npos) named = line.substr(path + 1);
  }
  // Hybrid: the controllers are on v1, where systemd counts by its named hierarchy.
  std::string path = named.empty() || named == "/" ? unified : named;
  if (path.empty() || path == "/") return internal("--systemd-cgroup: the scope has no cgroup");
  return path;
}

// A job's end: JobRemoved(u id, o job, s unit, s result).
Status wait_for(DbusConnection& connection, const std::string& job) {
  for (;;) {
    DbusMessage signal = TRY(connection.signal());
    if (signal.member != "JobRemoved") continue;
    DbusReader body(signal.body);
    (void)body.u32();
    if (body.string() != job) continue;
    std::string unit = body.string(), result = body.string();
    if (result == "done") return {};
    return internal("--systemd-cgroup: starting {}: {}", unit, result);
  }
}

}  // namespace

Result<ScopeName> parse_scope(const std::string& cgroups_path, const std::string& id,
                              bool rootless) {
  ScopeName name{rootless ? "user.slice" : "system.slice", "gantry-" + id + ".scope"};
  if (cgroups_path.empty()) return name;
  size_t first = cgroups_path.find(':');
  size_t second = first == cgroups_path.npos ? first : cgroups_path.find(':', first + 1);
  if (second == cgroups_path.npos || cgroups_path.find(':', second + 1) != cgroups_path.npos)
    return invalid("linux.cgroupsPath: \"{}\" is not slice:prefix:name, as systemd needs it",
                   cgroups_path);
  std::string slice = cgroups_path.substr(0, first);
  std::string prefix = cgroups_path.substr(first + 1, second - first - 1);
  std::string last = cgroups_path.substr(second + 1);
  if (last.empty() || last.ends_with(".slice") || cgroups_path.find('/') != cgroups_path.npos)
    return invalid("linux.cgroupsPath: \"{}\" does not name a scope", cgroups_path);
  if (!slice.empty() && !slice.ends_with(".slice"))
    return invalid("linux.cgroupsPath: \"{}\" is not a slice", slice);
  if (!slice.empty()) name.slice = slice;
  name.unit = (prefix.empty() ? last : prefix + "-" + last) + ".scope";
  return name;
}

Result<Scope> start_scope(const ScopeName& name, const std::optional<Resources>& resources,
                          bool rootless) {
  DbusConnection connection = TRY(connect(rootless));
  pid_t self = ::getpid();
  Clone holder = TRY(clone_process(0, -1, -1));
  if (holder.pid == 0) {
    // It must not outlive us, whatever becomes of us.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1 || ::getppid() != self) ::_exit(1);
    for (;;) ::pause();
  }
  Scope scope;
  scope.holder_pid = holder.pid;
  scope.holder = std::move(holder.pidfd);
  DbusWriter body;
  body.put_string(name.unit);
  body.put_string("fail");  // one of that name is an error
  body.array(8, [&] {
    Properties properties(body);
    properties.text("Description", "container " + name.unit);
    if (!name.slice.empty()) properties.text("Slice", name.slice);
    properties.process("PIDs", holder.pid);
    properties.flag("Delegate", true);
    properties.flag("DefaultDependencies", false);
    properties.text("CollectMode", "inactive-or-failed");
    for (const char* accounting :
         {"CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting"})
      properties.flag(accounting, true);
    if (resources) put_limits(properties, *resources);
  });
  body.array(8, [] {});  // no further units
  auto start = [&]() -> Status {
    DbusMessage reply =
        TRY(connection.call(manager_call("StartTransientUnit", "ssa(sv)a(sa(sv))", body.data()))
                .context("--systemd-cgroup: {}", name.unit));
    TRY(wait_for(connection, DbusReader(reply.body).string()));
    scope.cgroup = TRY(cgroup_of(holder.pid));
    return {};
  };
  Status started = start();
  if (!started) {
    release_scope(scope);
    return std::move(started).error();
  }
  return scope;
}

void release_scope(Scope& scope) {
  if (!scope.holder) return;
  (void)sys::pidfd_send_signal(scope.holder.get(), SIGKILL);
  (void)sys::waitpid(scope.holder_pid);
  scope.holder.reset();
}

Status stop_scope(const std::string& cgroup, bool rootless) {
  DbusConnection connection = TRY(connect(rootless));
  DbusWriter body;
  body.put_string(unit_of(cgroup));
  body.put_string("replace");
  Result<DbusMessage> reply = connection.call(manager_call("StopUnit", "ss", body.data()));
  if (reply || reply.error().kind() == ErrorKind::not_found) return {};
  return std::move(reply).error().context("--systemd-cgroup: " + cgroup);
}

Status update_scope(const std::string& cgroup, const Resources& resources, bool rootless) {
  DbusConnection connection = TRY(connect(rootless));
  DbusWriter body;
  body.put_string(unit_of(cgroup));
  body.put_bool(true);  // until the next boot, as the unit itself
  body.array(8, [&] {
    Properties properties(body);
    put_limits(properties, resources);
  });
  (void)TRY(connection.call(manager_call("SetUnitProperties", "sba(sv)", body.data()))
                .context("--systemd-cgroup: {}", cgroup));
  return {};
}

}  // namespace gantry::libcontainer
