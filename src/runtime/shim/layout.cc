#include "runtime/shim/layout.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sys.h"

namespace gantry::shim {
namespace {

constexpr size_t kFileLimit = 1u << 20;

std::string path_of(const std::string& directory, const char* name) {
  return directory + "/" + name;
}

struct flock whole_file(short type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

Result<UniqueFd> take_lock(const std::string& directory) {
  UniqueFd lock =
      TRY(sys::open(path_of(directory, kLockFile), O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  struct flock whole = whole_file(F_WRLCK);
  if (::fcntl(lock.get(), F_OFD_SETLK, &whole) == 0) return lock;
  if (errno == EAGAIN || errno == EACCES)
    return conflict("{}: a living shim holds the lock", directory);
  return errno_error(errno, "lock {}", directory);
}

Result<bool> is_locked(const std::string& directory) {
  Result<UniqueFd> lock = sys::open(path_of(directory, kLockFile), O_RDWR | O_NOFOLLOW);
  if (!lock) {
    if (lock.error().kind() == ErrorKind::not_found) return false;
    return std::move(lock).error();
  }
  struct flock whole = whole_file(F_WRLCK);
  if (::fcntl(lock->get(), F_OFD_GETLK, &whole) == -1)
    return errno_error(errno, "lock {}", directory);
  return whole.l_type != F_UNLCK;
}

Result<State> read_state(const std::string& directory) {
  std::string text = TRY(fs::read_file(path_of(directory, kStateFile), kFileLimit));
  return json::parse<State>(text).context("{}", path_of(directory, kStateFile));
}

Status write_state(const std::string& directory, const State& state) {
  return fs::replace_file(path_of(directory, kStateFile), json::dump(state));
}

Result<std::optional<ExitStatus>> read_exit(const std::string& directory) {
  Result<std::string> text = fs::read_file(path_of(directory, kExitFile), kFileLimit);
  if (!text) {
    if (text.error().kind() == ErrorKind::not_found) return std::optional<ExitStatus>();
    return std::move(text).error();
  }
  ExitStatus status =
      TRY(json::parse<ExitStatus>(*text).context("{}", path_of(directory, kExitFile)));
  return std::optional<ExitStatus>(std::move(status));
}

Status write_exit(const std::string& directory, const ExitStatus& status) {
  return fs::replace_file(path_of(directory, kExitFile), json::dump(status));
}

ExitStatus exit_status_of(int wait_status) {
  ExitStatus status;
  if (WIFSIGNALED(wait_status)) {
    status.signal = WTERMSIG(wait_status);
    status.code = 128 + status.signal;
  } else {
    status.code = WEXITSTATUS(wait_status);
  }
  status.finished_at = now_ns();
  return status;
}

}  // namespace gantry::shim
