#include "drivers/network/policy_watch.h"

#include <poll.h>
#include <sys/inotify.h>

#include "base/sys.h"
#include "drivers/network/ufw.h"

namespace gantry::drivers {

Result<std::unique_ptr<PolicyWatch>> PolicyWatch::start(std::function<void(Policy)> changed,
                                                        std::string root) {
  std::unique_ptr<PolicyWatch> watch(new PolicyWatch(std::move(changed), std::move(root)));
  watch->events_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch->events_) return errno_error(errno, "inotify_init");
  watch->stop_ = TRY(sys::eventfd(0));
  watch->watch_directories();  // before the first look, so that no change falls between
  watch->changed_(read_ufw(watch->root_));
  watch->thread_ = std::thread([self = watch.get()] { self->run(); });
  return watch;
}

PolicyWatch::~PolicyWatch() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  (void)sys::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

// Files are replaced by renaming, so directories are what is watched; /etc itself, because the
// others may come later, with the package.
void PolicyWatch::watch_directories() {
  constexpr uint32_t kFiles =
      IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR;
  ::inotify_add_watch(events_.get(), (root_ + "/etc").c_str(),
                      IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
  for (const char* directory : kUfwDirectories)
    ::inotify_add_watch(events_.get(), (root_ + directory).c_str(), kFiles);
}

void PolicyWatch::run() {
  pollfd fds[2] = {{events_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  while (sys::retry([&] { return ::poll(fds, 2, -1); }) > 0 && !(fds[1].revents & POLLIN)) {
    alignas(inotify_event) char buffer[16384];
    while (::read(events_.get(), buffer, sizeof buffer) > 0) {
    }
    watch_directories();
    changed_(read_ufw(root_));
  }
}

}  // namespace gantry::drivers
