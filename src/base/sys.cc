#include "base/sys.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

// linux/mount.h collides with sys/mount.h of glibc 2.36; these are the kernel's numbers
// (uapi/linux/mount.h).
#ifndef FSCONFIG_SET_FLAG
#define FSCONFIG_SET_FLAG 0
#define FSCONFIG_SET_STRING 1
#define FSCONFIG_SET_FD 5
#define FSCONFIG_CMD_CREATE 6
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x4
#define MOVE_MOUNT_T_EMPTY_PATH 0x40
#endif

namespace gantry::sys {
namespace {

Status check(int result, std::string_view call, std::string_view what = {}) {
  if (result != -1) return {};
  int code = errno;
  if (what.empty()) return error_from_errno(code, call);
  return errno_error(code, "{} {}", call, what);
}

Result<UniqueFd> check_fd(int result, std::string_view call, std::string_view what = {}) {
  if (result != -1) return UniqueFd(result);
  int code = errno;
  if (what.empty()) return error_from_errno(code, call);
  return errno_error(code, "{} {}", call, what);
}

Result<size_t> check_size(ssize_t result, std::string_view call) {
  if (result != -1) return static_cast<size_t>(result);
  return error_from_errno(errno, call);
}

// What a file system context says of its last failure (fsopen(2): messages are read from the
// context).
std::string context_log(int context) {
  std::array<char, 1024> line;
  ssize_t size = ::read(context, line.data(), line.size());
  std::string text = size > 0 ? std::string(line.data(), static_cast<size_t>(size)) : "";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.size() > 2 && text[1] == ' ' ? text.substr(2) : text;
}

Status check_context(int result, int context, std::string_view call, std::string_view what) {
  if (result != -1) return {};
  int code = errno;
  std::string log = context_log(context);
  if (log.empty()) return errno_error(code, "{} {}", call, what);
  return errno_error(code, "{} {} ({})", call, what, log);
}

}  // namespace

Result<UniqueFd> open(const std::string& path, int flags, mode_t mode) {
  return check_fd(retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); }), "open",
                  path);
}

Result<UniqueFd> openat(int dirfd, const std::string& path, int flags, mode_t mode) {
  return check_fd(retry([&] { return ::openat(dirfd, path.c_str(), flags | O_CLOEXEC, mode); }),
                  "open", path);
}

Result<UniqueFd> openat2(int dirfd, const std::string& path, int flags, uint64_t resolve,
                         mode_t mode) {
  struct open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = (flags & (O_CREAT | O_TMPFILE)) ? mode : 0;
  how.resolve = resolve;
  // EAGAIN: a rename raced with the walk below a RESOLVE_IN_ROOT directory (openat2(2)); try again.
  int fd = -1;
  for (int attempt = 0; attempt < 32; ++attempt) {
    fd = static_cast<int>(
        retry([&] { return ::syscall(SYS_openat2, dirfd, path.c_str(), &how, sizeof how); }));
    if (fd != -1 || errno != EAGAIN) break;
  }
  return check_fd(fd, "open", path);
}

Result<size_t> read(int fd, void* buffer, size_t size) {
  return check_size(retry([&] { return ::read(fd, buffer, size); }), "read");
}

Result<size_t> pread(int fd, void* buffer, size_t size, off_t offset) {
  return check_size(retry([&] { return ::pread(fd, buffer, size, offset); }), "pread");
}

Result<size_t> write(int fd, const void* buffer, size_t size) {
  return check_size(retry([&] { return ::write(fd, buffer, size); }), "write");
}

Status write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    size_t written = TRY(write(fd, data.data(), data.size()));
    data.remove_prefix(written);
  }
  return {};
}

Status pwrite_all(int fd, std::string_view data, off_t offset) {
  while (!data.empty()) {
    ssize_t written = retry([&] { return ::pwrite(fd, data.data(), data.size(), offset); });
    if (written == -1) return error_from_errno(errno, "pwrite");
    data.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
  return {};
}

Result<std::string> read_all(int fd, size_t limit) {
  std::string out;
  size_t used = 0;
  out.resize(4096);
  for (;;) {
    if (used == out.size()) out.resize(out.size() * 2);
    size_t size = TRY(read(fd, out.data() + used, out.size() - used));
    if (size == 0) break;
    used += size;
    if (used > limit) return invalid("read: more than {} bytes", limit);
  }
  out.resize(used);
  return out;
}

Result<struct stat> fstat(int fd) {
  struct stat st;
  if (::fstat(fd, &st) == -1) return error_from_errno(errno, "fstat");
  return st;
}

Result<struct stat> fstatat(int dirfd, const std::string& path, int flags) {
  struct stat st;
  if (::fstatat(dirfd, path.c_str(), &st, flags) == -1) return errno_error(errno, "stat {}", path);
  return st;
}

Status mkdirat(int dirfd, const std::string& path, mode_t mode) {
  return check(::mkdirat(dirfd, path.c_str(), mode), "mkdir", path);
}

Status mknodat(int dirfd, const std::string& path, mode_t mode, dev_t device) {
  return check(::mknodat(dirfd, path.c_str(), mode, device), "mknod", path);
}

Status unlinkat(int dirfd, const std::string& path, int flags) {
  return check(::unlinkat(dirfd, path.c_str(), flags), "remove", path);
}

Status renameat(int from_dirfd, const std::string& from, int to_dirfd, const std::string& to,
                unsigned flags) {
  return check(::renameat2(from_dirfd, from.c_str(), to_dirfd, to.c_str(), flags), "rename", from);
}

Status symlinkat(const std::string& target, int dirfd, const std::string& path) {
  return check(::symlinkat(target.c_str(), dirfd, path.c_str()), "symlink", path);
}

Status linkat(int from_dirfd, const std::string& from, int to_dirfd, const std::string& to,
              int flags) {
  return check(::linkat(from_dirfd, from.c_str(), to_dirfd, to.c_str(), flags), "link", to);
}

Result<std::string> readlinkat(int dirfd, const std::string& path) {
  std::string target(256, '\0');
  for (;;) {
    ssize_t size = ::readlinkat(dirfd, path.c_str(), target.data(), target.size());
    if (size == -1) return errno_error(errno, "readlink {}", path);
    if (static_cast<size_t>(size) < target.size()) {
      target.resize(static_cast<size_t>(size));
      return target;
    }
    target.resize(target.size() * 2);
  }
}

Status fchmod(int fd, mode_t mode) { return check(::fchmod(fd, mode), "chmod"); }

Status fchmodat(int dirfd, const std::string& path, mode_t mode) {
  return check(::fchmodat(dirfd, path.c_str(), mode, 0), "chmod", path);
}

Status fchownat(int dirfd, const std::string& path, uid_t uid, gid_t gid, int flags) {
  return check(::fchownat(dirfd, path.c_str(), uid, gid, flags), "chown", path);
}

Status ftruncate(int fd, off_t size) {
  return check(retry([&] { return ::ftruncate(fd, size); }), "ftruncate");
}

Status fsync(int fd) {
  return check(retry([&] { return ::fsync(fd); }), "fsync");
}

Status flock(int fd, int operation) {
  return check(retry([&] { return ::flock(fd, operation); }), "flock");
}

Result<UniqueFd> dup(int fd) { return check_fd(::fcntl(fd, F_DUPFD_CLOEXEC, 3), "dup"); }

Status dup2(int fd, int target) {
  return check(retry([&] { return ::dup2(fd, target); }), "dup2");
}

Status set_cloexec(int fd, bool on) {
  return check(::fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0), "fcntl F_SETFD");
}

Status set_nonblocking(int fd, bool on) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags == -1) return error_from_errno(errno, "fcntl F_GETFL");
  return check(::fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK),
               "fcntl F_SETFL");
}

Result<UniqueFd> memfd_create(const std::string& name, unsigned flags) {
  return check_fd(::memfd_create(name.c_str(), flags | MFD_CLOEXEC), "memfd_create", name);
}

Result<Pipe> pipe(int flags) {
  int ends[2];
  if (::pipe2(ends, flags | O_CLOEXEC) == -1) return error_from_errno(errno, "pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<std::pair<UniqueFd, UniqueFd>> socketpair(int type) {
  int ends[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == -1)
    return error_from_errno(errno, "socketpair");
  return std::pair<UniqueFd, UniqueFd>(UniqueFd(ends[0]), UniqueFd(ends[1]));
}

Result<UniqueFd> eventfd(unsigned initial, int flags) {
  return check_fd(::eventfd(initial, flags | EFD_CLOEXEC), "eventfd");
}

Result<UniqueFd> epoll_create() { return check_fd(::epoll_create1(EPOLL_CLOEXEC), "epoll_create"); }

namespace {

// sun_path holds 107 bytes and a terminator; a longer path is reached through its directory's
// descriptor
// (/proc/self/fd/N/name), which this returns in `holder`.
Result<sockaddr_un> unix_address(const std::string& path, UniqueFd& holder) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::string name = path;
  if (name.size() >= sizeof address.sun_path) {
    size_t slash = path.rfind('/');
    if (slash == std::string::npos) return invalid("socket path too long: {}", path);
    holder = TRY(open(path.substr(0, slash), O_PATH | O_DIRECTORY));
    name = fmt::format("/proc/self/fd/{}{}", holder.get(), path.substr(slash));
    if (name.size() >= sizeof address.sun_path) return invalid("socket path too long: {}", path);
  }
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  return address;
}

}  // namespace

Result<UniqueFd> listen_unix(const std::string& path, mode_t mode, int backlog) {
  UniqueFd holder;
  sockaddr_un address = TRY(unix_address(path, holder));
  UniqueFd socket = TRY(check_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  struct stat st;
  if (::lstat(address.sun_path, &st) == 0 && S_ISSOCK(st.st_mode)) ::unlink(address.sun_path);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == -1)
    return errno_error(errno, "bind {}", path);
  if (::chmod(address.sun_path, mode) == -1) return errno_error(errno, "chmod {}", path);
  if (::listen(socket.get(), backlog) == -1) return errno_error(errno, "listen {}", path);
  return socket;
}

Result<UniqueFd> connect_unix(const std::string& path, int type) {
  UniqueFd holder;
  sockaddr_un address = TRY(unix_address(path, holder));
  UniqueFd socket = TRY(check_fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0), "socket"));
  if (retry([&] {
        return ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
      }) == -1)
    return errno_error(errno, "connect {}", path);
  return socket;
}

Status send_with_fds(int socket, std::string_view data, std::span<const int> fds) {
  if (fds.size() > 64) return internal("send: {} descriptors in one message", fds.size());
  alignas(cmsghdr) std::array<char, CMSG_SPACE(64 * sizeof(int))> control = {};
  while (!data.empty()) {
    iovec part{const_cast<char*>(data.data()), data.size()};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(fds.size_bytes());
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(fds.size_bytes());
      std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    }
    ssize_t sent = retry([&] { return ::sendmsg(socket, &message, MSG_NOSIGNAL); });
    if (sent == -1) return error_from_errno(errno, "send");
    fds = {};  // they travel with the first byte
    data.remove_prefix(static_cast<size_t>(sent));
  }
  return {};
}

Result<Received> receive_with_fds(int socket, void* buffer, size_t size, int flags) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(64 * sizeof(int))> control;
  iovec part{buffer, size};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t received = retry([&] { return ::recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC); });
  if (received == -1) return error_from_errno(errno, "receive");
  Received out;
  out.size = static_cast<size_t>(received);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      out.fds.emplace_back(fd);
    }
  }
  return out;
}

Result<PeerCredentials> peer_credentials(int socket) {
  ucred credentials;
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == -1)
    return error_from_errno(errno, "getsockopt SO_PEERCRED");
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

Status mount(const std::string& source, const std::string& target, const std::string& type,
             unsigned long flags, const std::string& data) {
  return check(
      ::mount(source.empty() ? nullptr : source.c_str(), target.c_str(),
              type.empty() ? nullptr : type.c_str(), flags, data.empty() ? nullptr : data.c_str()),
      "mount", target);
}

Status umount(const std::string& target, int flags) {
  return check(::umount2(target.c_str(), flags), "umount", target);
}

Result<UniqueFd> fsopen(const std::string& type) {
  return check_fd(static_cast<int>(::syscall(SYS_fsopen, type.c_str(), 1 /* FSOPEN_CLOEXEC */)),
                  "fsopen", type);
}

Status fsconfig_string(int context, const std::string& key, const std::string& value) {
  return check_context(static_cast<int>(::syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING,
                                                  key.c_str(), value.c_str(), 0)),
                       context, "fsconfig", fmt::format("{}={}", key, value));
}

Status fsconfig_flag(int context, const std::string& key) {
  return check_context(static_cast<int>(::syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG,
                                                  key.c_str(), nullptr, 0)),
                       context, "fsconfig", key);
}

Status fsconfig_fd(int context, const std::string& key, int fd) {
  return check_context(
      static_cast<int>(::syscall(SYS_fsconfig, context, FSCONFIG_SET_FD, key.c_str(), nullptr, fd)),
      context, "fsconfig", key);
}

Status fsconfig_create(int context) {
  return check_context(
      static_cast<int>(::syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0)),
      context, "fsconfig", "create");
}

Result<UniqueFd> fspick(int fd) {
  return check_fd(
      static_cast<int>(::syscall(SYS_fspick, fd, "", 0x9 /* FSPICK_CLOEXEC, FSPICK_EMPTY_PATH */)),
      "fspick");
}

Status fsconfig_reconfigure(int context) {
  return check_context(static_cast<int>(::syscall(SYS_fsconfig, context, FSCONFIG_CMD_RECONFIGURE,
                                                  nullptr, nullptr, 0)),
                       context, "fsconfig", "reconfigure");
}

Result<UniqueFd> fsmount(int context, unsigned attributes) {
  return check_fd(
      static_cast<int>(::syscall(SYS_fsmount, context, 1 /* FSMOUNT_CLOEXEC */, attributes)),
      "fsmount");
}

Result<UniqueFd> open_tree(int dirfd, const std::string& path, unsigned flags) {
  return check_fd(
      static_cast<int>(::syscall(SYS_open_tree, dirfd, path.c_str(), flags | O_CLOEXEC)),
      "open_tree", path);
}

Status move_mount(int from, int to_dirfd, const std::string& to_path) {
  return check(static_cast<int>(::syscall(SYS_move_mount, from, "", to_dirfd, to_path.c_str(),
                                          MOVE_MOUNT_F_EMPTY_PATH)),
               "move_mount", to_path);
}

Status move_mount_onto(int from, int to_fd) {
  return check(static_cast<int>(::syscall(SYS_move_mount, from, "", to_fd, "",
                                          MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)),
               "move_mount");
}

Status mount_setattr(int dirfd, const std::string& path, unsigned flags, uint64_t set,
                     uint64_t clear, uint64_t propagation, int userns_fd) {
  // struct mount_attr, MOUNT_ATTR_SIZE_VER0 (mount_setattr(2)).
  struct {
    uint64_t attr_set, attr_clr, propagation, userns_fd;
  } attributes = {set, clear, propagation, userns_fd >= 0 ? static_cast<uint64_t>(userns_fd) : 0};
  return check(static_cast<int>(::syscall(SYS_mount_setattr, dirfd, path.c_str(), flags,
                                          &attributes, sizeof attributes)),
               "mount_setattr", path);
}

Status unshare(int flags) { return check(::unshare(flags), "unshare"); }

Status setns(int fd, int type) { return check(::setns(fd, type), "setns"); }

Status kill(pid_t pid, int signal) { return check(::kill(pid, signal), "kill"); }

Result<UniqueFd> pidfd_open(pid_t pid) {
  return check_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), "pidfd_open");
}

Status pidfd_send_signal(int pidfd, int signal) {
  return check(static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0)),
               "pidfd_send_signal");
}

Result<WaitStatus> waitpid(pid_t pid, int options) {
  WaitStatus out;
  out.pid = retry([&] { return ::waitpid(pid, &out.status, options); });
  if (out.pid == -1) return error_from_errno(errno, "waitpid");
  return out;
}

Status prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4,
             unsigned long arg5) {
  return check(::prctl(option, arg2, arg3, arg4, arg5), "prctl");
}

Result<bool> poll_one(int fd, short events, int timeout_ms) {
  pollfd entry{fd, events, 0};
  int count = retry([&] { return ::poll(&entry, 1, timeout_ms); });
  if (count == -1) return error_from_errno(errno, "poll");
  return count > 0;
}

}  // namespace gantry::sys
