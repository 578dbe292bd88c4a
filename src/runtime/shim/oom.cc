#include "runtime/shim/oom.h"

#include <sys/inotify.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/fs.h"
#include "base/sys.h"
#include "libcontainer/cgroup.h"

namespace gantry::shim {

Result<std::unique_ptr<OomWatch>> OomWatch::create(EventLoop& loop, const std::string& cgroup,
                                                   std::function<void()> on_kill) {
  std::unique_ptr<OomWatch> none;
  if (cgroup.empty()) return none;
  std::vector<libcontainer::Hierarchy> hierarchies = TRY(libcontainer::find_hierarchies());
  auto memory = std::find_if(hierarchies.begin(), hierarchies.end(), [](const auto& hierarchy) {
    const auto& names = hierarchy.controllers;
    return std::find(names.begin(), names.end(), "memory") != names.end();
  });
  if (memory == hierarchies.end()) return none;
  std::string group = memory->mountpoint + cgroup;
  std::unique_ptr<OomWatch> watch(new OomWatch(loop));
  watch->counters_ = group + (memory->v2 ? "/memory.events" : "/memory.oom_control");
  watch->on_kill_ = std::move(on_kill);
  watch->v2_ = memory->v2;
  if (!fs::exists(watch->counters_)) return none;
  if (memory->v2) {
    watch->event_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!watch->event_) return error_from_errno(errno, "inotify_init");
    if (::inotify_add_watch(watch->event_.get(), watch->counters_.c_str(), IN_MODIFY) == -1)
      return errno_error(errno, "inotify {}", watch->counters_);
  } else {
    watch->event_ = TRY(sys::eventfd(0, O_NONBLOCK));
    UniqueFd control = TRY(sys::open(watch->counters_, O_RDONLY));
    TRY(fs::write_file(group + "/cgroup.event_control",
                       fmt::format("{} {}", watch->event_.get(), control.get())));
  }
  TRY(loop.watch(watch->event_.get(), *watch, EPOLLIN));
  return watch;
}

OomWatch::~OomWatch() {
  if (event_) loop_.forget(event_.get(), *this);
}

void OomWatch::ready(uint32_t) {
  char drained[4096];
  while (::read(event_.get(), drained, sizeof drained) > 0) {
  }
  // v1 signals before it kills, and once more when the group is removed; v2 tells of other limits
  // too, and only its counter says which it was.
  int64_t now = count();
  bool told = v2_ ? now > seen_ : fs::exists(counters_);
  seen_ = std::max(seen_, now);
  if (told) on_kill_();
}

bool OomWatch::killed() const { return seen_ > 0 || count() > 0; }

int64_t OomWatch::count() const {
  Result<std::string> text = fs::read_file(counters_, 4096);
  if (!text) return 0;
  size_t at = text->find("oom_kill ");
  if (at == std::string::npos) return 0;
  int64_t value = 0;
  std::from_chars(text->data() + at + 9, text->data() + text->size(), value);
  return value;
}

}  // namespace gantry::shim
