#include "runtime/shim/log_compressor.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstdlib>

#include "base/log.h"
#include "base/sys.h"
#include "runtime/shim/log_identity.h"

namespace gantry::shim {
namespace {

constexpr size_t kChunk = 64 * 1024;
constexpr int kLevel = 6, kGzipWindow = 15 + 16;

std::string unfinished(const std::string& path) { return path + ".compressing"; }

void remove_if_there(const std::string& path) {
  Status removed = sys::unlinkat(AT_FDCWD, path);
  if (!removed && removed.error().code() != ENOENT) log::ignored("log", removed);
}

Status compress(int from, int to) {
  z_stream stream = {};
  if (::deflateInit2(&stream, kLevel, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return internal("zlib did not start");
  LogIdentity identity = TRY(identity_of(from));
  std::string field = identity_field(identity);
  gz_header header = {};
  header.os = 3;  // Unix
  header.extra = reinterpret_cast<Bytef*>(field.data());
  header.extra_len = static_cast<uInt>(field.size());
  if (::deflateSetHeader(&stream, &header) != Z_OK) return internal("zlib took no header");
  std::string in(kChunk, '\0'), out(kChunk, '\0');
  for (off_t offset = 0;;) {
    size_t got = TRY(sys::pread(from, in.data(), in.size(), offset));
    offset += static_cast<off_t>(got);
    stream.next_in = reinterpret_cast<Bytef*>(in.data());
    stream.avail_in = static_cast<uInt>(got);
    int last;
    do {
      stream.next_out = reinterpret_cast<Bytef*>(out.data());
      stream.avail_out = static_cast<uInt>(out.size());
      last = ::deflate(&stream, got == 0 ? Z_FINISH : Z_NO_FLUSH);
      TRY(sys::write_all(to, std::string_view(out.data(), out.size() - stream.avail_out)));
    } while (stream.avail_out == 0);
    if (got == 0) return last == Z_STREAM_END ? Status() : internal("zlib did not end");
  }
}

// The child is a copy of the shim: it lets go of all that the shim holds (a lock, sockets, the
// container's streams) before it takes its time.
[[noreturn]] void run_child(int from, int to, pid_t parent) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)::prctl(PR_SET_NAME, "gantry-gzip");
  if (::getppid() != parent) ::_exit(1);
  ::signal(SIGCHLD, SIG_DFL);
  UniqueFd kept[2];
  if (from < 5 || to < 5) {  // above those that they are moved to
    kept[0] = UniqueFd(::fcntl(from, F_DUPFD_CLOEXEC, 5));
    kept[1] = UniqueFd(::fcntl(to, F_DUPFD_CLOEXEC, 5));
    from = kept[0].release();
    to = kept[1].release();
  }
  if (::dup2(from, 3) == -1 || ::dup2(to, 4) == -1 || ::close_range(5, ~0u, 0) == -1) ::_exit(1);
  (void)::setpriority(PRIO_PROCESS, 0, 19);
  sched_param none = {};
  (void)::sched_setscheduler(0, SCHED_IDLE, &none);  // and with it of the disk (ioprio_set(2))
  // On disk before the plain file goes.
  bool done = compress(3, 4) && ::fdatasync(4) == 0;
  ::_exit(done ? 0 : 1);
}

}  // namespace

LogCompressor::LogCompressor(std::string path, int max_files)
    : path_(std::move(path)), max_files_(max_files) {
  remove_if_there(unfinished(path_));
  for (int number = 1; number < max_files_; ++number) {
    bool plain = ::access(name(number).c_str(), F_OK) == 0;
    std::string compressed = name(number) + std::string(kCompressedSuffix);
    if (::access(compressed.c_str(), F_OK) == 0) {
      if (plain) remove_if_there(compressed);
    } else if (!plain) {
      break;
    }
  }
}

LogCompressor::~LogCompressor() { give_up(); }

std::string LogCompressor::name(int number) const { return fmt::format("{}.{}", path_, number); }

void LogCompressor::give_up() {
  if (child_ == -1) return;
  (void)::kill(child_, SIGKILL);  // ours until it is waited for
  (void)sys::retry([&] { return ::waitpid(child_, nullptr, 0); });
  child_ = -1;
  remove_if_there(unfinished(path_));
}

void LogCompressor::rotating() {
  for (std::string_view suffix : {std::string_view(), kCompressedSuffix}) {
    remove_if_there(name(max_files_ - 1) + std::string(suffix));
    for (int number = max_files_ - 2; number >= 1; --number) {
      Status moved = sys::renameat(AT_FDCWD, name(number) + std::string(suffix), AT_FDCWD,
                                   name(number + 1) + std::string(suffix));
      if (!moved && moved.error().code() != ENOENT) log::ignored("log", moved);
    }
  }
  if (child_ != -1 && ++number_ >= max_files_) give_up();
}

void LogCompressor::begin() {
  if (child_ != -1) return;
  for (int number = 1; number < max_files_; ++number) {
    if (::access(name(number).c_str(), F_OK) == -1) continue;
    log::ignored("compressing a log", start(number));
    return;
  }
}

Status LogCompressor::start(int number) {
  UniqueFd from = TRY(sys::open(name(number), O_RDONLY | O_NOFOLLOW));
  UniqueFd to = TRY(sys::open(unfinished(path_), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640));
  pid_t parent = ::getpid();
  pid_t child = ::fork();
  if (child == -1) {
    int why = errno;
    remove_if_there(unfinished(path_));
    return error_from_errno(why, "fork");
  }
  if (child == 0) run_child(from.get(), to.get(), parent);
  child_ = child;
  number_ = number;
  return {};
}

Status LogCompressor::install() {
  TRY(sys::renameat(AT_FDCWD, unfinished(path_), AT_FDCWD,
                    name(number_) + std::string(kCompressedSuffix)));
  return sys::unlinkat(AT_FDCWD, name(number_));
}

bool LogCompressor::child_ended(pid_t pid, int status) {
  if (pid != child_ || pid == -1) return false;
  child_ = -1;
  Status installed = WIFEXITED(status) && WEXITSTATUS(status) == 0
                         ? install()
                         : internal("log {}: it could not be compressed", name(number_));
  if (installed) {
    begin();
    return true;
  }
  // Not tried again before the next rotation: the disk may be full.
  log::ignored("compressing a log", installed);
  remove_if_there(unfinished(path_));
  return true;
}

}  // namespace gantry::shim
