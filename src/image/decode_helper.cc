#include "image/decode_helper.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstring>

#include "base/process.h"
#include "base/sys.h"
#include "image/decoders.h"

namespace gantry::image {
namespace {

constexpr size_t kPiece = 128u << 10;
constexpr int kPipeSize = 1 << 20;
constexpr rlim_t kMemory = kHelperMemory + (32u << 20);  // what the program itself needs

std::vector<std::string>& helper_command() {
  static std::vector<std::string> command;
  return command;
}

// One thread serves both pipes: it writes while there is room and reads when there is something.
class HelperSource final : public ByteSource {
 public:
  HelperSource(ByteSource& compressed, std::string head)
      : compressed_(compressed), piece_(std::move(head)) {}

  Status start(Compression format) {
    sys::Pipe in = TRY(sys::pipe());
    sys::Pipe out = TRY(sys::pipe());
    sys::Pipe words = TRY(sys::pipe());
    for (int fd : {in.write.get(), out.read.get()}) {
      (void)::fcntl(fd, F_SETPIPE_SZ, kPipeSize);  // as large as the user may have them
      TRY(sys::set_nonblocking(fd, true));
    }
    SpawnOptions options;
    options.program = helper_command().front();
    options.arguments = helper_command();
    options.arguments.emplace_back(to_string(format));
    options.environment = std::vector<std::string>();
    options.working_directory = "/";
    options.descriptors = {{in.read.get(), 0}, {out.write.get(), 1}, {words.write.get(), 2}};
    child_ = TRY(ChildProcess::spawn(options).context("the decoder's process"));
    to_ = std::move(in.write);
    from_ = std::move(out.read);
    words_ = std::move(words.read);
    return {};
  }

  Result<size_t> read(std::span<char> into) override {
    while (from_) {
      TRY(feed());
      ssize_t got = ::read(from_.get(), into.data(), into.size());
      if (got > 0) return static_cast<size_t>(got);
      if (got == 0) {
        TRY(end());
        break;
      }
      if (errno != EAGAIN && errno != EINTR) return errno_error(errno, "the decoder's output");
      pollfd wait[2] = {{from_.get(), POLLIN, 0}, {to_.get(), POLLOUT, 0}};
      if (::poll(wait, to_ ? 2 : 1, -1) == -1 && errno != EINTR) return errno_error(errno, "poll");
    }
    return size_t{0};
  }

 private:
  // Writes until the pipe is full, the source has ended, or the helper reads no more.
  Status feed() {
    while (to_) {
      if (used_ == piece_.size()) {
        piece_.resize(kPiece);
        used_ = 0;
        size_t got = TRY(compressed_.read(piece_));
        piece_.resize(got);
        if (got == 0) {
          to_.reset();
          return {};
        }
      }
      ssize_t sent = ::write(to_.get(), piece_.data() + used_, piece_.size() - used_);
      if (sent == -1 && errno == EAGAIN) return {};
      if (sent == -1 && errno == EINTR) continue;
      if (sent == -1) {  // it has ended, and its status says why
        to_.reset();
        return {};
      }
      used_ += static_cast<size_t>(sent);
    }
    return {};
  }

  Status end() {
    from_.reset();
    to_.reset();
    int status = TRY(child_.wait());
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    std::string words(512, '\0');
    ssize_t got = ::read(words_.get(), words.data(), words.size());
    words.resize(got > 0 ? static_cast<size_t>(got) : 0);
    words.resize(std::min(words.find('\n'), words.size()));
    if (!words.empty()) return invalid("{}", words);
    if (WIFSIGNALED(status))
      return Error(ErrorKind::unavailable,
                   fmt::format("the decoder was ended by signal {}", WTERMSIG(status)));
    return internal("the decoder ended with status {}", WEXITSTATUS(status));
  }

  ByteSource& compressed_;
  std::string piece_;
  size_t used_ = 0;
  ChildProcess child_;
  UniqueFd to_, from_, words_;
};

// What a decoder needs of the kernel once its descriptors are open.
constexpr int kAllowed[] = {SYS_read, SYS_write,   SYS_mmap,         SYS_munmap,       SYS_mremap,
                            SYS_brk,  SYS_madvise, SYS_rt_sigreturn, SYS_rt_sigaction, SYS_futex,
                            SYS_exit, SYS_fstat,   SYS_exit_group};
#if defined(__x86_64__)
constexpr unsigned kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr unsigned kArchitecture = AUDIT_ARCH_AARCH64;
#elif defined(__riscv) && __riscv_xlen == 64
constexpr unsigned kArchitecture = AUDIT_ARCH_RISCV64;
#endif

bool restrict_system_calls() {
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
  };
  for (int number : kAllowed) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// A sanitizer's own memory and system calls are not ours to count.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kConfined = false;
#else
constexpr bool kConfined = true;
#endif

Status confine() {
  // The daemon may have ended between the spawn and here; then there is nobody to read either.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) == -1) return errno_error(errno, "PR_SET_PDEATHSIG");
  ::signal(SIGPIPE, SIG_DFL);
  if (!kConfined) return {};
  const rlimit memory{kMemory, kMemory};
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_DATA, &memory) == -1 || ::setrlimit(RLIMIT_CORE, &none) == -1)
    return errno_error(errno, "setrlimit");
  if (!restrict_system_calls()) return errno_error(errno, "seccomp");
  return {};
}

Status decode(std::string_view format) {
  TRY(confine());
  FdSource in(0);
  std::unique_ptr<ByteSource> decoder = make_helper_decoder(format, in);
  if (!decoder) return invalid("there is no decoder for {}", format);
  std::vector<char> piece(kPiece);
  while (true) {
    size_t got = TRY(decoder->read(piece));
    if (got == 0) return {};
    TRY(sys::write_all(1, {piece.data(), got}));
  }
}

}  // namespace

void set_decode_helper(std::vector<std::string> command) { helper_command() = std::move(command); }
bool has_decode_helper() { return !helper_command().empty(); }

Result<std::unique_ptr<ByteSource>> decode_in_helper(Compression format, std::string head,
                                                     ByteSource& compressed) {
  auto source = std::make_unique<HelperSource>(compressed, std::move(head));
  TRY(source->start(format));
  return std::unique_ptr<ByteSource>(std::move(source));
}

int run_decode_helper(std::string_view format) {
  Status decoded;
  try {
    decoded = decode(format);
  } catch (const std::bad_alloc&) {
    decoded = invalid("{} data needs more memory than the decoder may have", format);
  }
  if (decoded) return 0;
  std::string words = decoded.error().message() + "\n";
  (void)sys::write_all(2, words);
  return 1;
}

}  // namespace gantry::image
