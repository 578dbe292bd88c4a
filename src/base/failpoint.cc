#include "base/failpoint.h"

#ifdef GANTRY_FAILPOINTS

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace gantry {
namespace {

constexpr std::array<std::string_view, 3> kOfShims = {"shim.", "runtime.", "init."};
constexpr size_t kSeenSize = 256 << 10;

struct Action {
  enum class Kind { none, error, delay, kill } kind = Kind::none;
  int argument = 0;
  int pass = 0;  // 0: every pass
};

thread_local std::string t_scope;

bool of_shims(std::string_view name) {
  return std::any_of(kOfShims.begin(), kOfShims.end(),
                     [&](std::string_view prefix) { return name.starts_with(prefix); });
}

Result<int> number(std::string_view text, std::string_view entry) {
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0)
    return invalid("failpoint {:?}: {:?} is not a number", entry, text);
  return value;
}

// The file of GANTRY_FAILPOINTS_SEEN, shared by all that map it: a mapping outlives a change of the
// root and has no descriptor that a container could inherit.
class SeenFile {
 public:
  explicit SeenFile(const char* path) {
    if (!path || !*path) return;
    int fd = ::open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd == -1) return;
    if (::ftruncate(fd, kSeenSize) == 0) {
      void* memory = ::mmap(nullptr, kSeenSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      if (memory != MAP_FAILED) memory_ = static_cast<char*>(memory);
    }
    ::close(fd);
  }
  void add(const std::string& line) {
    if (!memory_) return;
    auto* used = reinterpret_cast<std::atomic<uint32_t>*>(memory_);
    size_t at = sizeof *used + used->fetch_add(static_cast<uint32_t>(line.size()));
    if (at + line.size() < kSeenSize) std::memcpy(memory_ + at, line.data(), line.size());
  }

 private:
  char* memory_ = nullptr;
};

struct Entry {
  std::string key;  // "NAME" or "SCOPE/NAME"
  Action action;
  std::string text;  // of the action
};

Result<Entry> read_entry(std::string_view entry) {
  size_t equals = entry.find('=');
  if (equals == std::string_view::npos || equals == 0)
    return invalid("failpoint {:?}: NAME=ACTION is expected", entry);
  Entry out{std::string(entry.substr(0, equals)), {}, std::string(entry.substr(equals + 1))};
  std::string_view what = entry.substr(equals + 1);
  if (size_t at = what.find('@'); at != std::string_view::npos) {
    out.action.pass = TRY(number(what.substr(at + 1), entry));
    what = what.substr(0, at);
  }
  if (size_t open = what.find('('); open != std::string_view::npos) {
    if (!what.ends_with(')')) return invalid("failpoint {:?}: the ')' is missing", entry);
    out.action.argument = TRY(number(what.substr(open + 1, what.size() - open - 2), entry));
    what = what.substr(0, open);
  }
  if (what == "error")
    out.action.kind = Action::Kind::error;
  else if (what == "delay")
    out.action.kind = Action::Kind::delay;
  else if (what == "kill")
    out.action.kind = Action::Kind::kill;
  else
    return invalid("failpoint {:?}: no action {:?} (error(ERRNO), delay(MS) or kill)", entry, what);
  return out;
}

struct State {
  std::mutex mutex;
  std::map<std::string, Entry, std::less<>> actions;
  std::map<std::string, int, std::less<>> passes;  // by name, for actions without a scope
  std::map<std::pair<std::string, std::string>, FailpointPasses> seen;
  SeenFile file{::getenv("GANTRY_FAILPOINTS_SEEN")};

  State() {
    const char* text = ::getenv("GANTRY_FAILPOINTS");
    Status armed = arm(text ? text : "");
    if (armed) return;
    // A test that armed nothing would pass for the wrong reason.
    (void)!::write(STDERR_FILENO, armed.error().message().data(), armed.error().message().size());
    ::abort();
  }

  Status arm(std::string_view rest) {
    std::map<std::string, Entry, std::less<>> wanted;
    while (!rest.empty()) {
      size_t end = std::min(rest.find(';'), rest.size());
      if (end > 0) {
        Entry entry = TRY(read_entry(rest.substr(0, end)));
        std::string key = entry.key;
        wanted.insert_or_assign(std::move(key), std::move(entry));
      }
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    std::lock_guard lock(mutex);
    actions = std::move(wanted);
    passes.clear();
    seen.clear();
    return {};
  }

  Action pass(std::string_view name) {
    std::lock_guard lock(mutex);
    int total = ++passes[std::string(name)];
    auto [at, first] = seen.try_emplace({t_scope, std::string(name)});
    FailpointPasses& here = at->second;
    if (first) {
      here.scope = t_scope;
      here.name = name;
      file.add(here.scope + "/" + here.name + "\n");
    }
    ++here.passes;
    auto scoped = actions.find(t_scope + "/" + here.name);
    auto plain = actions.find(name);
    const Entry* entry = scoped != actions.end()  ? &scoped->second
                         : plain != actions.end() ? &plain->second
                                                  : nullptr;
    if (!entry) return {};
    int count = scoped != actions.end() ? here.passes : total;
    if (entry->action.pass != 0 && entry->action.pass != count) return {};
    ++here.fired;
    return entry->action;
  }
};

State& state() {
  static State* instance = new State;  // outlives every thread
  return *instance;
}

}  // namespace

FailpointScope::FailpointScope(std::string_view name)
    : before_(std::exchange(t_scope, std::string(name))) {}
FailpointScope::~FailpointScope() { t_scope = std::move(before_); }

Status failpoint(std::string_view name) {
  Action action = state().pass(name);
  switch (action.kind) {
    case Action::Kind::none:
      break;
    case Action::Kind::kill:
      ::kill(::getpid(), SIGKILL);
      __builtin_trap();  // the first process of a pid namespace cannot kill itself
    case Action::Kind::delay:
      ::usleep(static_cast<useconds_t>(action.argument) * 1000);
      break;
    case Action::Kind::error:
      return errno_error(action.argument ? action.argument : EIO, "failpoint {}", name);
  }
  return {};
}

std::vector<std::string> failpoints_seen() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  std::vector<std::string> names;
  for (const auto& [name, passes] : s.passes) names.push_back(name);
  return names;
}

Status failpoints_arm(std::string_view specification) { return state().arm(specification); }

std::vector<FailpointPasses> failpoints_passed() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  std::vector<FailpointPasses> out;
  for (const auto& [key, passes] : s.seen) out.push_back(passes);
  return out;
}

std::vector<std::string> failpoints_environment() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  std::string text;
  for (const auto& [key, entry] : s.actions)
    if (of_shims(key)) text += (text.empty() ? "" : ";") + key + "=" + entry.text;
  std::vector<std::string> out = {"GANTRY_FAILPOINTS=" + text};
  if (const char* path = ::getenv("GANTRY_FAILPOINTS_SEEN"))
    out.push_back("GANTRY_FAILPOINTS_SEEN=" + std::string(path));
  return out;
}

}  // namespace gantry

#endif
