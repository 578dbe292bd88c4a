#include "libcontainer/terminal.h"

#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/sys.h"

namespace gantry::libcontainer {
namespace {

bool is_null(const struct stat& st) { return S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3); }

}  // namespace

Result<Terminal> open_terminal(const Beneath& root) {
  Result<UniqueFd> opened = root.open("/dev/pts/ptmx", O_RDWR | O_NOCTTY);
  if (!opened) return std::move(opened).error().context("process.terminal");
  Terminal terminal;
  terminal.master = opened.release();
  // What is behind the name is the container's matter: only a devpts master will do.
  struct statfs system;
  struct stat st = TRY(sys::fstat(terminal.master.get()));
  if (::fstatfs(terminal.master.get(), &system) == -1) return error_from_errno(errno, "statfs");
  if (system.f_type != DEVPTS_SUPER_MAGIC || st.st_rdev != makedev(5, 2))
    return make_error(ErrorKind::permission,
                      "process.terminal: /dev/pts/ptmx is not a devpts master");
  int locked = 0;
  if (::ioctl(terminal.master.get(), TIOCSPTLCK, &locked) == -1)
    return error_from_errno(errno, "process.terminal: unlock");
  int slave = ::ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave == -1) return error_from_errno(errno, "process.terminal: TIOCGPTPEER");
  terminal.slave = UniqueFd(slave);
  return terminal;
}

Status use_terminal(int slave, const std::optional<ConsoleSize>& size) {
  if (size) {
    winsize window = {};
    window.ws_row = static_cast<unsigned short>(size->height);
    window.ws_col = static_cast<unsigned short>(size->width);
    if (::ioctl(slave, TIOCSWINSZ, &window) == -1)
      return error_from_errno(errno, "process.consoleSize");
  }
  if (::ioctl(slave, TIOCSCTTY, 0) == -1)
    return error_from_errno(errno, "process.terminal: TIOCSCTTY");
  for (int fd = 0; fd <= 2; ++fd) TRY(sys::dup2(slave, fd));
  return {};
}

Status use_stdio(const Stdio& stdio) {
  const int sources[3] = {stdio.in, stdio.out, stdio.err};
  UniqueFd copies[3];
  // Above every target first: one source may be another's target.
  for (int fd = 0; fd <= 2; ++fd) {
    if (sources[fd] == fd) continue;
    int copy = ::fcntl(sources[fd], F_DUPFD_CLOEXEC, 3);
    if (copy == -1) return errno_error(errno, "descriptor {} for {}", sources[fd], fd);
    copies[fd] = UniqueFd(copy);
  }
  for (int fd = 0; fd <= 2; ++fd) {
    if (copies[fd])
      TRY(sys::dup2(copies[fd].get(), fd));
    else
      TRY(sys::set_cloexec(fd, false));
  }
  return {};
}

Status reopen_null(const Beneath& root) {
  for (int fd = 0; fd <= 2; ++fd) {
    struct stat st;
    if (::fstat(fd, &st) == -1 || !is_null(st)) continue;
    // Looked at first: to open what an image may have put there can block, or do something.
    Result<UniqueFd> own = root.open("/dev/null", O_PATH);
    if (own && is_null(TRY(sys::fstat(own->get()))))
      own = root.open("/dev/null", O_RDWR | O_NOCTTY);
    else
      return {};
    if (!own || !is_null(TRY(sys::fstat(own->get())))) return {};  // it has none: the host's, then
    TRY(sys::dup2(own->get(), fd));
  }
  return {};
}

void own_stdio(uid_t uid) {
  for (int fd = 0; fd <= 2; ++fd) {
    struct stat st;
    if (::fstat(fd, &st) == -1 || st.st_uid == uid) continue;
    if (is_null(st)) continue;
    (void)::fchown(fd, uid,
                   st.st_gid);  // not possible everywhere (read-only, id maps), never needed
  }
}

Status send_console(const std::string& socket_path, int master) {
  UniqueFd socket = TRY(sys::connect_unix(socket_path).context("--console-socket"));
  return sys::send_with_fds(socket.get(), "/dev/ptmx", std::span<const int>(&master, 1))
      .context("--console-socket");
}

}  // namespace gantry::libcontainer
