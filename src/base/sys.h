// Thin wrappers, one per system call: EINTR is retried, descriptors are O_CLOEXEC, and an error
// names the call and what it was called on. Thread-safe as the calls themselves are. Nothing here
// interprets a path that a container or an archive can influence; that is base/beneath.h.
#pragma once

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::sys {

// Repeats a call that returns -1 while it fails with EINTR.
template <typename Call>
auto retry(Call&& call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

// Files. `dirfd` may be AT_FDCWD.
Result<UniqueFd> open(const std::string& path, int flags, mode_t mode = 0);
Result<UniqueFd> openat(int dirfd, const std::string& path, int flags, mode_t mode = 0);
// openat2(2); `resolve` is a set of RESOLVE_*.
Result<UniqueFd> openat2(int dirfd, const std::string& path, int flags, uint64_t resolve,
                         mode_t mode = 0);
Result<size_t> read(int fd, void* buffer, size_t size);
Result<size_t> pread(int fd, void* buffer, size_t size, off_t offset);
Result<size_t> write(int fd, const void* buffer, size_t size);
Status write_all(int fd, std::string_view data);
Status pwrite_all(int fd, std::string_view data, off_t offset);
// Reads to end of file; an error when more than `limit` bytes come.
Result<std::string> read_all(int fd, size_t limit = 64u << 20);
Result<struct stat> fstat(int fd);
Result<struct stat> fstatat(int dirfd, const std::string& path, int flags = AT_SYMLINK_NOFOLLOW);
Status mkdirat(int dirfd, const std::string& path, mode_t mode);
Status mknodat(int dirfd, const std::string& path, mode_t mode, dev_t device);
Status unlinkat(int dirfd, const std::string& path, int flags = 0);
Status renameat(int from_dirfd, const std::string& from, int to_dirfd, const std::string& to,
                unsigned flags = 0);
Status symlinkat(const std::string& target, int dirfd, const std::string& path);
Status linkat(int from_dirfd, const std::string& from, int to_dirfd, const std::string& to,
              int flags = 0);
Result<std::string> readlinkat(int dirfd, const std::string& path);
Status fchmod(int fd, mode_t mode);
Status fchmodat(int dirfd, const std::string& path, mode_t mode);
Status fchownat(int dirfd, const std::string& path, uid_t uid, gid_t gid,
                int flags = AT_SYMLINK_NOFOLLOW);
Status ftruncate(int fd, off_t size);
Status fsync(int fd);
Status flock(int fd, int operation);
Result<UniqueFd> dup(int fd);
Status dup2(int fd, int target);  // the copy is not O_CLOEXEC, as dup2(2) says
Status set_cloexec(int fd, bool on);
Status set_nonblocking(int fd, bool on);
Result<UniqueFd> memfd_create(const std::string& name, unsigned flags);

// Pipes, events, sockets.
struct Pipe {
  UniqueFd read;
  UniqueFd write;
};
Result<Pipe> pipe(int flags = 0);
Result<std::pair<UniqueFd, UniqueFd>> socketpair(int type);
Result<UniqueFd> eventfd(unsigned initial, int flags = 0);
Result<UniqueFd> epoll_create();
// A listening SOCK_STREAM Unix socket bound to `path` (an existing socket file is replaced).
Result<UniqueFd> listen_unix(const std::string& path, mode_t mode, int backlog = 128);
Result<UniqueFd> connect_unix(const std::string& path, int type = SOCK_STREAM);
// Sends `data` with `fds` as SCM_RIGHTS; the whole of it or an error.
Status send_with_fds(int socket, std::string_view data, std::span<const int> fds);
struct Received {
  size_t size = 0;  // 0: the peer closed
  std::vector<UniqueFd> fds;
};
// Receives at most `size` bytes and the descriptors that came with them (MSG_CMSG_CLOEXEC).
Result<Received> receive_with_fds(int socket, void* buffer, size_t size, int flags = 0);
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};
Result<PeerCredentials> peer_credentials(int socket);

// Mounts. The new mount API takes and gives descriptors; see fsopen(2), open_tree(2),
// mount_setattr(2).
Status mount(const std::string& source, const std::string& target, const std::string& type,
             unsigned long flags, const std::string& data = {});
Status umount(const std::string& target, int flags);
Result<UniqueFd> fsopen(const std::string& type);
// Sets a string option of a file system context; the error carries the kernel's own log line.
Status fsconfig_string(int context, const std::string& key, const std::string& value);
Status fsconfig_flag(int context, const std::string& key);
Status fsconfig_fd(int context, const std::string& key, int fd);
Status fsconfig_create(int context);
// A context of the file system that is mounted where the descriptor is, to be reconfigured.
Result<UniqueFd> fspick(int fd);
Status fsconfig_reconfigure(int context);
Result<UniqueFd> fsmount(int context, unsigned attributes);
Result<UniqueFd> open_tree(int dirfd, const std::string& path, unsigned flags);
Status move_mount(int from, int to_dirfd, const std::string& to_path);
Status move_mount_onto(int from, int to_fd);  // both by descriptor, no path
Status mount_setattr(int dirfd, const std::string& path, unsigned flags, uint64_t set,
                     uint64_t clear, uint64_t propagation = 0, int userns_fd = -1);

// Processes and namespaces.
Status unshare(int flags);
Status setns(int fd, int type);
Status kill(pid_t pid, int signal);
Result<UniqueFd> pidfd_open(pid_t pid);
Status pidfd_send_signal(int pidfd, int signal);
struct WaitStatus {
  pid_t pid = 0;  // 0: nothing to report (WNOHANG)
  int status = 0;
};
Result<WaitStatus> waitpid(pid_t pid, int options = 0);
Status prctl(int option, unsigned long arg2 = 0, unsigned long arg3 = 0, unsigned long arg4 = 0,
             unsigned long arg5 = 0);

// Waits until `fd` has one of `events` (poll(2)); false on timeout. timeout_ms -1 waits for ever.
Result<bool> poll_one(int fd, short events, int timeout_ms);

}  // namespace gantry::sys
