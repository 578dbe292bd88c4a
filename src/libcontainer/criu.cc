#include "libcontainer/criu.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/sys.h"
#include "libcontainer/sync.h"

namespace gantry::libcontainer {
namespace {

constexpr size_t kCriuPacket = 40960;
constexpr int kCriuSocket = 3;
constexpr uint32_t kCriuNotification = 6;  // criu_req_type NOTIFY

// Fields of criu_req, criu_resp and criu_notify.
enum : uint32_t { kRequestType = 1, kRequestOptions = 2, kRequestNotifySuccess = 3 };
enum : uint32_t {
  kAnswerType = 1,
  kAnswerSuccess = 2,
  kAnswerNotify = 5,
  kAnswerErrno = 7,
  kAnswerMessage = 9
};
enum : uint32_t { kNotifyScript = 1, kNotifyPid = 2 };

struct CriuResponse {
  uint32_t type = 0;
  bool success = false;
  int code = 0;
  std::string message;
  std::string script;
  pid_t pid = 0;
};

CriuResponse parse_response(std::string_view data) {
  CriuResponse out;
  for (ProtoReader reader(data); reader.next();) {
    switch (reader.field()) {
      case kAnswerType:
        out.type = static_cast<uint32_t>(reader.number());
        break;
      case kAnswerSuccess:
        out.success = reader.number() != 0;
        break;
      case kAnswerErrno:
        out.code = static_cast<int>(reader.number());
        break;
      case kAnswerMessage:
        out.message = reader.bytes();
        break;
      case kAnswerNotify:
        for (ProtoReader inner(reader.bytes()); inner.next();) {
          if (inner.field() == kNotifyScript) out.script = inner.bytes();
          if (inner.field() == kNotifyPid) out.pid = static_cast<pid_t>(inner.number());
        }
        break;
      default:
        break;
    }
  }
  return out;
}

std::string criu_error(std::string_view log, bool first) {
  std::string_view found;
  while (!log.empty() && !(first && !found.empty())) {
    size_t end = std::min(log.find('\n'), log.size());
    std::string_view line = log.substr(0, end);
    // "(00.023456)    123: Error (criu/mount.c:12): …"
    if (size_t at = line.find("Error ("); at != std::string_view::npos) found = line.substr(at);
    log.remove_prefix(std::min(end + 1, log.size()));
  }
  if (size_t at = found.find("): "); at != std::string_view::npos) found.remove_prefix(at + 3);
  return std::string(found);
}

// Puts every descriptor where criu looks for it and becomes criu.
Status become_criu(const CriuChild& child, int socket, int output) {
  if (child.prepare) TRY(child.prepare());
  std::vector<std::pair<int, int>> moves = {{output, 1}, {output, 2}, {socket, kCriuSocket}};
  moves.insert(moves.end(), child.descriptors.begin(), child.descriptors.end());
  UniqueFd null = TRY(sys::open("/dev/null", O_RDWR));
  moves.emplace_back(null.get(), 0);
  int above = kCriuSocket;
  for (auto [ours, theirs] : moves) above = std::max(above, theirs);
  // Above every target first: one source may be another's target.
  for (auto& [ours, theirs] : moves) {
    ours = ::fcntl(ours, F_DUPFD_CLOEXEC, above + 1);
    if (ours == -1) return error_from_errno(errno, "criu: descriptor");
  }
  for (auto [ours, theirs] : moves) TRY(sys::dup2(ours, theirs));
  ::execlp("criu", "criu", "swrk", "3", nullptr);
  if (errno == ENOENT) return unsupported("criu is not installed (there is none in PATH)");
  return error_from_errno(errno, "criu");
}

}  // namespace

Result<Criu> Criu::start(const CriuChild& child) {
  auto [ours, theirs] = TRY(sys::socketpair(SOCK_SEQPACKET));
  UniqueFd output = TRY(sys::memfd_create("criu", MFD_CLOEXEC));
  SyncSocket::Pair sync = TRY(SyncSocket::pair());
  pid_t pid = ::fork();
  if (pid == -1) return error_from_errno(errno, "fork");
  if (pid == 0) {
    sync.parent.close();
    ours.reset();
    Status failed = become_criu(child, theirs.get(), output.get());
    (void)sync.child.send_error(failed.error());
    ::_exit(127);
  }
  sync.child.close();
  theirs.reset();
  Criu criu(pid, std::move(ours), std::move(output));
  (void)TRY(sync.parent.receive());  // closed by exec
  return criu;
}

Criu::~Criu() {
  if (!socket_) return;  // moved from
  socket_.reset();
  (void)sys::waitpid(pid_);
}

std::string Criu::printed() const {
  char buffer[16384];
  Result<size_t> size = sys::pread(output_.get(), buffer, sizeof buffer, 0);
  return size ? std::string(buffer, *size) : "";
}

Status Criu::ask(CriuRequest type, const ProtoWriter& options, const Notify& notify) {
  ProtoWriter request;
  request.put(kRequestType, static_cast<uint64_t>(type));
  request.put(kRequestOptions, options.data());
  TRY(sys::send_with_fds(socket_.get(), request.data(), {}).context("criu"));
  for (;;) {
    std::string packet(kCriuPacket, '\0');
    sys::Received received =
        TRY(sys::receive_with_fds(socket_.get(), packet.data(), packet.size()).context("criu"));
    if (received.size == 0) {
      std::string why = last_criu_error(printed());
      return internal("criu ended without an answer{}{}", why.empty() ? "" : ": ", why);
    }
    CriuResponse response = parse_response(std::string_view(packet).substr(0, received.size));
    if (response.type != kCriuNotification) {
      if (response.success) return {};
      std::string why = response.message.empty() ? last_criu_error(printed()) : response.message;
      if (why.empty() && response.code) why = std::strerror(response.code);
      return internal("criu: {}", why.empty() ? "it failed" : why);
    }
    UniqueFd fd = received.fds.empty() ? UniqueFd() : std::move(received.fds.front());
    if (notify) TRY(notify(response.script, response.pid, std::move(fd)));
    ProtoWriter answer;
    answer.put(kRequestType, uint64_t{kCriuNotification});
    answer.put(kRequestNotifySuccess, uint64_t{1});
    TRY(sys::send_with_fds(socket_.get(), answer.data(), {}).context("criu"));
  }
}

Status check_criu() {
  Criu criu = TRY(Criu::start());
  // A check needs no images, but criu_opts does not go without the descriptor.
  UniqueFd here = TRY(sys::open("/", O_RDONLY | O_DIRECTORY));
  ProtoWriter options;
  options.put(1, static_cast<uint64_t>(here.get()));
  Status checked = criu.ask(CriuRequest::check, options, {});
  if (checked) return {};
  return unsupported("criu check: {}", checked.error().message());
}

std::string first_criu_error(std::string_view log) { return criu_error(log, true); }
std::string last_criu_error(std::string_view log) { return criu_error(log, false); }

}  // namespace gantry::libcontainer
