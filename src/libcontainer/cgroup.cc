#include "libcontainer/cgroup.h"

#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "libcontainer/device_filter.h"

namespace gantry::libcontainer {
namespace {

template <typename Visit>
void for_each_word(std::string_view text, char separator, Visit&& visit) {
  while (!text.empty()) {
    size_t end = text.find(separator);
    std::string_view word = text.substr(0, end);
    if (!word.empty()) visit(word);
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string> words(std::string_view text, char separator) {
  std::vector<std::string> out;
  for_each_word(text, separator, [&](std::string_view word) { out.emplace_back(word); });
  return out;
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

uint64_t to_number(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

uint64_t number_in(const std::string& path) {
  Result<std::string> text = fs::read_file(path, 4096);
  return text ? to_number(*text) : 0;  // "max" is 0: no limit
}

std::map<std::string, uint64_t> table_in(const std::string& path) {
  std::map<std::string, uint64_t> out;
  Result<std::string> text = fs::read_file(path, 1 << 20);
  if (!text) return out;
  for_each_word(*text, '\n', [&](std::string_view line) {
    size_t space = line.find(' ');
    if (space != std::string_view::npos)
      out.emplace(line.substr(0, space), to_number(line.substr(space + 1)));
  });
  return out;
}

// A new v1 cpuset is empty, and nothing may enter it before it has processors and memory nodes.
Status inherit_cpuset(const std::string& directory) {
  std::string parent = directory.substr(0, directory.rfind('/'));
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    std::string own = TRY(fs::read_file(directory + "/" + file));
    if (!trimmed(own).empty()) continue;
    std::string value = TRY(fs::read_file(parent + "/" + file));
    if (trimmed(value).empty()) {  // somebody made the parent and left it empty
      TRY(inherit_cpuset(parent));
      value = TRY(fs::read_file(parent + "/" + file));
    }
    UniqueFd fd = TRY(sys::open(directory + "/" + file, O_WRONLY));
    TRY(sys::write_all(fd.get(), trimmed(value)).context("{}/{}", directory, file));
  }
  return {};
}

// Lets the children of `directory` use what it has itself.
void enable_controllers(const std::string& directory) {
  Result<std::string> available = fs::read_file(directory + "/cgroup.controllers", 4096);
  if (!available) return;
  Result<UniqueFd> control = sys::open(directory + "/cgroup.subtree_control", O_WRONLY);
  if (!control) return;
  // One at a time: a controller that cannot be enabled here must not keep the others out. A limit
  // that needs it fails with its own name later.
  for (const std::string& name : words(trimmed(*available), ' '))
    (void)sys::write_all(control->get(), "+" + name);
}

bool may_enter(const Hierarchy& hierarchy, const std::string& path) {
  std::string file = hierarchy.mountpoint + path + (hierarchy.v2 ? "/cgroup.procs" : "/tasks");
  return ::faccessat(AT_FDCWD, file.c_str(), W_OK, AT_EACCESS) == 0;
}

Status remove_directory(const std::string& directory) {
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  int failure = errno;
  // Groups that the container made below its own.
  Result<std::vector<std::string>> names = fs::list_directory(directory);
  if (names)
    for (const std::string& name : *names) {
      struct stat st;
      std::string child = directory + "/" + name;
      if (::lstat(child.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) (void)remove_directory(child);
    }
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  return errno_error(failure, "rmdir {}", directory);
}

pid_t process_of(pid_t thread) {
  Result<std::string> text = fs::read_file(fmt::format("/proc/{}/status", thread), 65536);
  size_t at = text ? text->find("\nTgid:\t") : std::string::npos;
  return at == std::string::npos ? 0 : static_cast<pid_t>(to_number(text->substr(at + 7)));
}

void collect_processes(const std::string& directory, std::set<pid_t>& out) {
  Result<std::string> text = fs::read_file(directory + "/cgroup.procs");
  // A threaded group lists threads only.
  bool threaded = !text && text.error().code() == EOPNOTSUPP;
  if (threaded) text = fs::read_file(directory + "/cgroup.threads");
  if (text)
    for_each_word(*text, '\n', [&](std::string_view line) {
      pid_t pid = static_cast<pid_t>(to_number(line));
      if (threaded) pid = process_of(pid);
      if (pid > 0) out.insert(pid);
    });
  Result<std::vector<std::string>> names = fs::list_directory(directory);
  if (!names) return;
  for (const std::string& name : *names) {
    struct stat st;
    std::string child = directory + "/" + name;
    if (::lstat(child.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) collect_processes(child, out);
  }
}

}  // namespace

Status make_group(const Hierarchy& hierarchy, const std::string& path) {
  std::string directory = hierarchy.mountpoint + path;
  if (::mkdir(directory.c_str(), 0755) == -1 && errno != EEXIST) {
    if (errno != ENOENT) return errno_error(errno, "linux.cgroupsPath: mkdir {}", directory);
    TRY(make_group(hierarchy, path.substr(0, path.rfind('/'))));
    if (::mkdir(directory.c_str(), 0755) == -1 && errno != EEXIST)
      return errno_error(errno, "linux.cgroupsPath: mkdir {}", directory);
  }
  if (hierarchy.v2) {
    Result<std::string> type = fs::read_file(directory + "/cgroup.type", 64);
    if (type && type->starts_with("domain invalid")) return make_threaded(directory);
    return {};
  }
  for (const std::string& controller : hierarchy.controllers)
    if (controller == "cpuset") TRY(inherit_cpuset(directory));
  return {};
}

std::vector<Hierarchy> parse_hierarchies(std::string_view mountinfo,
                                         const std::function<bool(const Hierarchy&)>& reachable) {
  std::vector<Hierarchy> out;
  for_each_word(mountinfo, '\n', [&](std::string_view line) {
    size_t dash = line.find(" - cgroup");
    if (dash == std::string_view::npos) return;
    std::vector<std::string> before = words(line.substr(0, dash), ' ');
    std::vector<std::string> after = words(line.substr(dash + 3), ' ');
    if (before.size() < 6 || after.size() < 3) return;
    Hierarchy hierarchy;
    hierarchy.mountpoint = before[4];
    hierarchy.v2 = after[0] == "cgroup2";
    if (!hierarchy.v2)
      for (const std::string& word : words(after[2], ','))
        if (word != "rw" && word != "ro" && word != "xattr" &&
            !word.starts_with("release_agent=") && word != "clone_children" && word != "noprefix")
          hierarchy.controllers.push_back(word);
    // The same hierarchy mounted twice: the first one will do.
    for (const Hierarchy& known : out)
      if (known.v2 == hierarchy.v2 && known.controllers == hierarchy.controllers) return;
    if (reachable(hierarchy)) out.push_back(std::move(hierarchy));
  });
  return out;
}

namespace {

bool is_what_it_says(const Hierarchy& hierarchy) {
  struct statfs st;
  return ::statfs(hierarchy.mountpoint.c_str(), &st) == 0 &&
         st.f_type == (hierarchy.v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC);
}

}  // namespace

Result<std::vector<Hierarchy>> find_hierarchies() {
  std::string mountinfo = TRY(fs::read_file("/proc/self/mountinfo"));
  std::vector<Hierarchy> out = parse_hierarchies(mountinfo, is_what_it_says);
  for (Hierarchy& hierarchy : out)
    if (hierarchy.v2)
      hierarchy.controllers = words(
          trimmed(TRY(fs::read_file(hierarchy.mountpoint + "/cgroup.controllers", 4096))), ' ');
  return out;
}

Result<std::string> normalize_cgroup_path(const std::string& path, const std::string& id) {
  std::string out;
  for (const std::string& part : words(path, '/')) {
    if (part == "..") return invalid("linux.cgroupsPath: {} has a \"..\"", path);
    if (part != ".") out += "/" + part;
  }
  return out.empty() ? "/gantry-runtime/" + id : out;
}

std::string Cgroup::directory(const Hierarchy& hierarchy) const {
  return hierarchy.mountpoint + path_;
}

const Hierarchy* Cgroup::with(std::string_view controller) const {
  for (const Hierarchy& hierarchy : hierarchies_)
    if (std::find(hierarchy.controllers.begin(), hierarchy.controllers.end(), controller) !=
        hierarchy.controllers.end())
      return &hierarchy;
  return nullptr;
}

const Hierarchy* Cgroup::unified() const {
  for (const Hierarchy& hierarchy : hierarchies_)
    if (hierarchy.v2) return &hierarchy;
  return nullptr;
}

Result<Cgroup> Cgroup::create(const std::string& path, bool rootless, Found found) {
  Cgroup group;
  group.path_ = path;
  group.rootless_ = rootless;
  for (Hierarchy& hierarchy : TRY(find_hierarchies())) {
    hierarchy.theirs = found == Found::theirs && fs::exists(group.directory(hierarchy));
    Status made = make_group(hierarchy, path);
    if (made && rootless && !may_enter(hierarchy, path)) continue;
    int code = made ? 0 : made.error().code();
    if (rootless && (code == EACCES || code == EPERM || code == EROFS)) continue;
    if (!made) {
      log::ignored("linux.cgroupsPath", group.remove(0));
      return std::move(made).error();
    }
    group.hierarchies_.push_back(std::move(hierarchy));
  }
  for (const Hierarchy& hierarchy : group.hierarchies_) {
    if (!hierarchy.v2) continue;
    for (size_t slash = 0; slash != std::string::npos; slash = path.find('/', slash + 1))
      enable_controllers(hierarchy.mountpoint + path.substr(0, slash));
  }
  return group;
}

Result<Cgroup> Cgroup::open(const std::string& path, const std::vector<std::string>& found) {
  Cgroup group;
  group.path_ = path;
  group.hierarchies_ = TRY(find_hierarchies());
  std::erase_if(group.hierarchies_, [&](const Hierarchy& hierarchy) {
    return !fs::exists(group.directory(hierarchy));
  });
  for (Hierarchy& hierarchy : group.hierarchies_)
    hierarchy.theirs = std::find(found.begin(), found.end(), hierarchy.mountpoint) != found.end();
  return group;
}

std::vector<std::string> Cgroup::found() const {
  std::vector<std::string> out;
  for (const Hierarchy& hierarchy : hierarchies_)
    if (hierarchy.theirs) out.push_back(hierarchy.mountpoint);
  return out;
}

Error Cgroup::missing(const CgroupWrite& write) const {
  if (rootless_)
    return unsupported("{}: the {} controller is not delegated to user {}", write.field,
                       write.controller, ::geteuid());
  return unsupported("{}: this host has no {} controller", write.field, write.controller);
}

// No descriptor: the kernel has no such file, and need not have one.
Result<UniqueFd> Cgroup::open_for(const CgroupWrite& write, const Hierarchy& hierarchy) const {
  Result<UniqueFd> fd = sys::open(directory(hierarchy) + "/" + write.file, O_WRONLY);
  if (fd || fd.error().code() != ENOENT) return std::move(fd).context("{}", write.field);
  if (write.where_present) return UniqueFd();
  return unsupported("{}: {} has no {}", write.field, hierarchy.v2 ? "cgroup v2" : "this kernel",
                     write.file);
}

Status Cgroup::write(const CgroupWrite& write, int fd) const {
  return sys::write_all(fd, write.value)
      .context("{}: {} to {}", write.field, write.value, write.file);
}

Status Cgroup::write(const CgroupWrite& one, const Hierarchy& hierarchy) const {
  UniqueFd fd = TRY(open_for(one, hierarchy));
  return fd ? write(one, fd.get()) : Status();
}

// Version 1 refuses a limit below what is used; version 2 kills for it.
Status Cgroup::check_usage(const Resources& resources) const {
  const auto& memory = resources.memory;
  if (!memory || !memory->check_before_update.value_or(false) || memory->limit.value_or(0) <= 0)
    return {};
  const Hierarchy* hierarchy = with("memory");
  if (!hierarchy || !hierarchy->v2) return {};
  uint64_t used = number_in(directory(*hierarchy) + "/memory.current");
  if (used <= static_cast<uint64_t>(*memory->limit)) return {};
  return conflict("linux.resources.memory.limit: {} is less than the {} bytes in use",
                  *memory->limit, used);
}

Status Cgroup::apply(const Resources& resources) {
  TRY(check_usage(resources));
  std::vector<CgroupWrite> v1 = TRY(translate_v1(resources));
  bool any_v2 = std::any_of(hierarchies_.begin(), hierarchies_.end(),
                            [](const Hierarchy& h) { return h.v2; });
  for (auto write_at = v1.begin(); write_at != v1.end(); ++write_at) {
    const Hierarchy* hierarchy =
        with(write_at->controller == "blkio" ? "blkio" : write_at->controller);
    if (hierarchy && hierarchy->v2) continue;
    if (!hierarchy) {
      std::string_view on_v2 = write_at->controller == "blkio" ? "io" : write_at->controller;
      if (with(on_v2)) continue;
      return missing(*write_at);
    }
    Status done = write(*write_at, *hierarchy);
    // Raising both limits: memory may not pass memory+swap, so that one has to go first.
    if (!done && write_at->file == "memory.limit_in_bytes" && std::next(write_at) != v1.end() &&
        std::next(write_at)->file == "memory.memsw.limit_in_bytes") {
      TRY(write(*std::next(write_at), *hierarchy));
      done = write(*write_at, *hierarchy);
    }
    TRY(std::move(done));
  }
  if (!any_v2 && rootless_) {
    std::vector<CgroupWrite> v2 = TRY(translate_v2(resources));
    for (const CgroupWrite& one : v2)
      if (!with(one.controller == "io" ? "blkio" : one.controller)) return missing(one);
    return {};
  }
  if (!any_v2) {
    if (!resources.unified.empty())
      return unsupported("linux.resources.unified: this host has no cgroup v2");
    return {};
  }
  // What is on v1 has been written, and v2 has rules that are not for it (swap needs a limit).
  Resources rest = resources;
  if (const Hierarchy* memory = with("memory"); memory && !memory->v2) rest.memory.reset();
  std::vector<CgroupWrite> v2 = TRY(translate_v2(rest));
  for (const CgroupWrite& write_one : v2) {
    const Hierarchy* hierarchy = with(write_one.controller);
    // "cgroup.…": of no controller, every group has them.
    if (write_one.controller == "cgroup") hierarchy = unified();
    if (hierarchy && hierarchy->v2) {
      TRY(write(write_one, *hierarchy));
    } else if (write_one.field == "linux.resources.unified") {
      return unsupported("linux.resources.unified: {}: the {} controller is not on cgroup v2",
                         write_one.file, write_one.controller);
    } else if (write_one.controller == "rdma" && !hierarchy) {
      return unsupported("linux.resources.rdma: this host has no rdma controller");
    }
  }
  return {};
}

Status Cgroup::apply_devices(const std::vector<DeviceCgroup>& rules) {
  std::vector<CgroupWrite> writes = TRY(translate_devices_v1(rules));
  const Hierarchy* hierarchy = with("devices");
  if (!hierarchy) {
    UniqueFd group = TRY(clone_target());
    if (!group) return unsupported("linux.resources.devices: this host has no devices controller");
    Status attached = attach_device_filter(group.get(), rules);
    // Whoever may not load a filter may not make devices either.
    if (!attached && attached.error().code() == EPERM && ::geteuid() != 0)
      return unsupported("{}", attached.error().message());
    return attached;
  }
  // A dozen rules, a file for each way: opened once.
  std::string opened;
  UniqueFd fd;
  for (const CgroupWrite& one : writes) {
    if (one.file != opened) fd = TRY(open_for(one, *hierarchy));
    opened = one.file;
    if (fd) TRY(write(one, fd.get()));
  }
  return {};
}

Result<std::vector<UniqueFd>> Cgroup::entries(const std::string& below) const {
  std::vector<UniqueFd> out;
  for (const Hierarchy& hierarchy : hierarchies_) {
    if (hierarchy.v2) continue;
    if (!below.empty()) TRY(make_group(hierarchy, path_ + "/" + below));
    UniqueFd fd = TRY(sys::open(hierarchy.mountpoint + path_ + "/" + below + "/tasks", O_WRONLY));
    out.push_back(std::move(fd));
  }
  return out;
}

Result<UniqueFd> Cgroup::clone_target(const std::string& below) const {
  for (const Hierarchy& hierarchy : hierarchies_) {
    if (!hierarchy.v2) continue;
    if (!below.empty()) TRY(make_group(hierarchy, path_ + "/" + below));
    return sys::open(hierarchy.mountpoint + path_ + "/" + below, O_RDONLY | O_DIRECTORY);
  }
  return UniqueFd();
}

std::vector<std::pair<std::string, std::string>> Cgroup::mounts() const {
  std::vector<std::pair<std::string, std::string>> out;
  bool hybrid = hierarchies_.size() > 1;
  for (const Hierarchy& hierarchy : hierarchies_) {
    std::string name = hierarchy.mountpoint.substr(hierarchy.mountpoint.rfind('/') + 1);
    out.emplace_back(hierarchy.v2 && !hybrid ? "" : name, directory(hierarchy));
  }
  return out;
}

Status Cgroup::freeze(bool frozen_now) {
  CgroupWrite one;
  one.field = frozen_now ? "pause" : "resume";
  const Hierarchy* freezer = with("freezer");
  if (freezer && !freezer->v2) {
    one.file = "freezer.state";
    one.value = frozen_now ? "FROZEN" : "THAWED";
    TRY(write(one, *freezer));
    // FREEZING until every task has stopped; writing again makes the kernel look again.
    for (int64_t end = monotonic_ns() + 5'000'000'000; frozen_now && !TRY(frozen());) {
      if (monotonic_ns() > end)
        return make_error(ErrorKind::unavailable, "pause: the processes did not freeze in 5 s");
      (void)::poll(nullptr, 0, 1);
      TRY(write(one, *freezer));
    }
    return {};
  }
  for (const Hierarchy& hierarchy : hierarchies_) {
    if (!hierarchy.v2) continue;
    UniqueFd events = TRY(sys::open(directory(hierarchy) + "/cgroup.events", O_RDONLY));
    one.file = "cgroup.freeze";
    one.value = frozen_now ? "1" : "0";
    TRY(write(one, hierarchy));
    while (frozen_now && !TRY(frozen()))
      if (!TRY(sys::poll_one(events.get(), POLLPRI, 5000)))
        return make_error(ErrorKind::unavailable, "pause: the processes did not freeze in 5 s");
    return {};
  }
  return unsupported("{}: this host has no freezer", one.field);
}

std::string Cgroup::freezer() const {
  const Hierarchy* freezer = with("freezer");
  if (freezer && !freezer->v2) return directory(*freezer);
  for (const Hierarchy& hierarchy : hierarchies_)
    if (hierarchy.v2) return directory(hierarchy);
  return "";
}

Result<bool> Cgroup::frozen() const {
  const Hierarchy* freezer = with("freezer");
  if (freezer && !freezer->v2) {
    std::string text = TRY(fs::read_file(directory(*freezer) + "/freezer.state", 4096));
    return text.starts_with("FROZEN");
  }
  for (const Hierarchy& hierarchy : hierarchies_) {
    if (!hierarchy.v2) continue;
    std::string text = TRY(fs::read_file(directory(hierarchy) + "/cgroup.events", 4096));
    return text.find("frozen 1") != std::string::npos;
  }
  return false;
}

Result<Stats> Cgroup::stats() const {
  Stats out;
  if (const Hierarchy* memory = with("memory")) {
    std::string base = directory(*memory) + "/memory.";
    MemoryStats& stats = out.memory.emplace();
    bool v2 = memory->v2;
    stats.usage.usage = number_in(base + (v2 ? "current" : "usage_in_bytes"));
    stats.usage.limit = number_in(base + (v2 ? "max" : "limit_in_bytes"));
    stats.usage.max = number_in(base + (v2 ? "peak" : "max_usage_in_bytes"));
    if (!v2) stats.usage.failcnt = number_in(base + "failcnt");
    stats.raw = table_in(base + "stat");
    stats.cache = stats.raw[v2 ? "file" : "cache"];
  }
  if (const Hierarchy* cpuacct = with("cpuacct")) {
    std::string base = directory(*cpuacct) + "/cpuacct.";
    CpuStats& stats = out.cpu.emplace();
    stats.usage.total = number_in(base + "usage");
    stats.usage.user = number_in(base + "usage_user");
    stats.usage.kernel = number_in(base + "usage_sys");
    if (Result<std::string> text = fs::read_file(base + "usage_percpu", 65536); text)
      for (const std::string& word : words(trimmed(*text), ' '))
        stats.usage.per_cpu.push_back(to_number(word));
  }
  if (const Hierarchy* cpu = with("cpu")) {
    std::map<std::string, uint64_t> table = table_in(directory(*cpu) + "/cpu.stat");
    if (!out.cpu) out.cpu.emplace();
    CpuStats& stats = *out.cpu;
    stats.throttling.periods = table["nr_periods"];
    stats.throttling.throttled_periods = table["nr_throttled"];
    stats.throttling.throttled_time =
        cpu->v2 ? table["throttled_usec"] * 1000 : table["throttled_time"];
    if (cpu->v2) {
      stats.usage.total = table["usage_usec"] * 1000;
      stats.usage.user = table["user_usec"] * 1000;
      stats.usage.kernel = table["system_usec"] * 1000;
    }
  }
  if (const Hierarchy* pids = with("pids")) {
    PidsStats& stats = out.pids.emplace();
    stats.current = number_in(directory(*pids) + "/pids.current");
    stats.limit = number_in(directory(*pids) + "/pids.max");
  }
  if (const Hierarchy* blkio = with("blkio"); blkio && !blkio->v2) {
    BlkioStats& stats = out.blkio.emplace();
    const std::pair<const char*, std::vector<BlkioEntry>*> files[] = {
        {"/blkio.throttle.io_service_bytes_recursive", &stats.io_service_bytes},
        {"/blkio.throttle.io_serviced_recursive", &stats.io_serviced}};
    for (auto [file, list] : files) {
      Result<std::string> text = fs::read_file(directory(*blkio) + file, 1 << 20);
      if (!text) continue;
      for_each_word(*text, '\n', [&, entries = list](std::string_view line) {
        std::vector<std::string> parts = words(line, ' ');
        if (parts.size() != 3) return;
        size_t colon = parts[0].find(':');
        if (colon == std::string::npos) return;
        entries->push_back({to_number(parts[0]),
                            to_number(std::string_view(parts[0]).substr(colon + 1)), parts[1],
                            to_number(parts[2])});
      });
    }
  }
  return out;
}

Result<std::vector<pid_t>> Cgroup::processes() const {
  std::set<pid_t> out;
  for (const Hierarchy& hierarchy : hierarchies_) collect_processes(directory(hierarchy), out);
  return std::vector<pid_t>(out.begin(), out.end());
}

Status Cgroup::signal(int number) const {
  for (const Hierarchy& hierarchy : hierarchies_) {
    if (!hierarchy.v2 || number != SIGKILL) continue;
    Result<UniqueFd> kill = sys::open(directory(hierarchy) + "/cgroup.kill", O_WRONLY);
    if (kill) (void)sys::write_all(kill->get(), "1");
  }
  std::vector<pid_t> pids = TRY(processes());
  for (pid_t pid : pids)
    if (::kill(pid, number) == -1 && errno != ESRCH) return errno_error(errno, "kill {}", pid);
  return {};
}

bool Cgroup::exists() const {
  return std::any_of(hierarchies_.begin(), hierarchies_.end(),
                     [&](const Hierarchy& hierarchy) { return fs::exists(directory(hierarchy)); });
}

Status Cgroup::remove(int timeout_ms) {
  std::erase_if(hierarchies_, [](const Hierarchy& hierarchy) { return hierarchy.theirs; });
  auto remove_all = [&]() -> Status {
    Status first;
    for (const Hierarchy& hierarchy : hierarchies_) {
      Status removed = remove_directory(directory(hierarchy));
      if (!removed && first) first = std::move(removed);
    }
    return first;
  };
  int64_t end = monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
  for (;;) {
    Status removed = remove_all();
    if (removed || removed.error().code() != EBUSY) return removed;
    std::vector<pid_t> pids = TRY(processes());
    (void)signal(SIGKILL);
    if (const Hierarchy* freezer = with("freezer"); freezer && fs::exists(directory(*freezer)))
      (void)freeze(false);  // the frozen do not die
    // Their descriptors become readable when they are gone; a zombie still counts until it is
    // reaped.
    for (pid_t pid : pids) {
      int64_t left = (end - monotonic_ns()) / 1'000'000;
      Result<UniqueFd> pidfd = sys::pidfd_open(pid);
      if (pidfd && left > 0) (void)sys::poll_one(pidfd->get(), POLLIN, static_cast<int>(left));
    }
    if (monotonic_ns() > end) return removed;
    (void)::poll(nullptr, 0, 1);
  }
}

}  // namespace gantry::libcontainer
