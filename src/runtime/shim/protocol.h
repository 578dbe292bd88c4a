// What the exec driver (in gantryd) and a container's shim say to each other.
//
// One stream socket, little-endian frames: {u32 payload size, u16 type, u16 descriptors, u32 id}
// and the payload, which is JSON by the tables below (the specification travels as its own text).
// Descriptors come with the first byte of their frame (SCM_RIGHTS) and are counted in its header.
// Both sides greet first; the version in the greeting only grows, unknown fields are ignored,
// missing ones keep their defaults, and a request that a shim does not know is answered with
// `unsupported`: a newer daemon speaks to older shims.
//
//   daemon                                    shim
//   greeting, launch, spec         ──▶
//                                  ◀──   greeting, then state [pidfd, netns] or error, with the id
//                                  of
//                                        `launch`: the namespaces exist, so the network can be
//                                        wired while init still builds its root file system
//   go [what is to be kept]        ──▶
//                                  ◀──   done, or error: the container or its program could not be
//                                  started
//   attach, exec, resize, signal … ──▶   done, started or error, with the request's id
//                                  ◀──   notices, with id 0
//
// A daemon that comes back connects to the shim's socket and greets; the shim answers with its
// greeting and its state. A later connection takes the place of an earlier one. Until `go`, the end
// of the connection undoes the container.
//
// A shim *keeps* descriptors for whichever daemon comes next (sockets that the daemon serves inside
// the container's network namespace): it never uses them, and they come back with its state.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/rootfs_source.h"
#include "base/unique_fd.h"
#include "libcontainer/user.h"  // structs only: nothing of the library is linked

namespace gantry::shim {

inline constexpr uint32_t kProtocolVersion = 1;
inline constexpr size_t kMaxPayload = 16u << 20;
inline constexpr size_t kMaxDescriptors = 8;
inline constexpr size_t kHeaderSize = 12;

enum class MessageType : uint16_t {
  greeting = 1,  // Greeting
  // Requests of the daemon.
  launch = 16,  // LaunchOptions
  spec,         // the OCI specification as JSON text; comes right after `launch`, with its id
  go,           // empty [what `keep` would bring]
  attach,       // AttachOptions [client]
  exec,         // ExecRequest [client, if AttachOptions ask for one]
  resize,       // ResizeRequest
  signal,       // SignalRequest
  close_stdin,  // ProcessRequest
  reopen_log,   // empty: the log file was moved away by somebody else
  keep,         // empty [descriptors, in place of those that were kept before]
  // Answers.
  done = 64,  // empty; of exec StartedReply
  error,      // ErrorReply
  state,      // StateReply [pidfd of init, network namespace, what is kept]
  // Notices.
  exited = 96,  // ExitStatus
  exec_exited,  // ExecExited
  oom,          // empty: the kernel killed a process of the container for want of memory
  detached,     // ProcessRequest: a client typed the detach keys
};

struct Greeting {
  uint32_t version = kProtocolVersion;
  std::string program;  // "gantry-runtime/0.1.0", for people
  int32_t pid = 0;
};

struct TerminalSize {
  uint16_t rows = 0;  // 0 and 0: as it is
  uint16_t columns = 0;
};

// Where what the container prints is kept. The shim writes `json-file` and `local` in Docker's
// formats.
struct LogConfig {
  std::string driver = "json-file";  // json-file, local or none
  std::string path;                  // rotated files are path.1 (the newest), path.2 …
  int64_t max_size = -1;             // bytes after which the file is rotated; -1: never
  int32_t max_files = 1;  // files kept, the current one included; 1: it is truncated instead
  std::map<std::string, std::string> attributes;  // json-file: "attrs" of every line
};

struct LaunchOptions {
  std::string id;
  std::string directory;  // the runtime directory, which exists; see layout.h
  RootfsSource rootfs;  // empty type: the specification's root is a directory that is used as it is
  bool terminal = false;
  bool open_stdin = false;  // else standard input is /dev/null
  bool stdin_once = false;  // the first client that closes its input closes the container's
  TerminalSize console;
  LogConfig log;
  libcontainer::UserSpec
      user;           // who the program runs as, resolved in the container (libcontainer/user.h)
  bool init = false;  // a reaping pid 1 runs the program as its child (`--init`)
  std::string seccomp_cache;  // directory of compiled filters; "": none
  // Files that move who writes "0" to them into the shims' cgroups (tasks, cgroup.procs).
  std::vector<std::string> shim_groups;
};

// How a client takes part in a process's input and output.
struct AttachOptions {
  bool standard_in = false;
  bool standard_out = true;
  bool standard_err = true;
  // What the client gets: with true Docker's frames {stream, 0, 0, 0, u32 size big-endian} and the
  // bytes, else the bytes as they are.
  bool multiplexed = false;
  std::string detach_keys = "ctrl-p,ctrl-q";  // only with a terminal and input; "": none
};

// `attach` and `exec` may carry input that was read from the client before it was handed over: the
// bytes after a NUL that ends the JSON text.

// A further process in the container.
struct ExecRequest {
  std::string id;  // the daemon's name for it
  libcontainer::Process process;
  std::optional<libcontainer::UserSpec>
      user;  // in place of process.user, resolved in the container
  bool terminal = false;
  TerminalSize console;
  bool attached =
      false;  // a client descriptor comes along; else input is /dev/null, output is dropped
  AttachOptions options;
};

struct ProcessRequest {
  std::string exec_id;  // "": the container's first process
};
struct ResizeRequest {
  std::string exec_id;
  TerminalSize size;
};
struct SignalRequest {
  std::string exec_id;
  int32_t signal = 0;
};

struct ErrorReply {
  std::string kind;  // to_string(ErrorKind)
  int32_t code = 0;
  std::string message;
};

// How a process ended; also the contents of exit.json.
struct ExitStatus {
  int32_t code = 0;         // as a shell shows it: 128 + signal for a killed process
  int32_t signal = 0;       // 0: it ended by itself
  bool oom = false;         // the kernel killed a process of the container for want of memory
  int64_t finished_at = 0;  // ns since the epoch
  std::string reason;       // set when it was not the program's own doing ("the shim was killed")
};

struct ExecExited {
  std::string exec_id;
  ExitStatus status;
};

struct StartedReply {
  int32_t pid = 0;
};

struct StateReply {
  std::string id;
  int32_t pid = 0;
  bool started = false;
  int64_t started_at = 0;
  std::string cgroup;  // the container's group, as /proc/PID/cgroup names it
  bool terminal = false;
  std::vector<std::string> execs;  // running now
  int32_t kept = 0;                // descriptors that come after the first two
  std::optional<ExitStatus> exit;  // it has ended; the descriptors do not come then
};

// A frame. Move-only: it owns the descriptors that came with it.
struct Message {
  MessageType type = MessageType::done;
  uint32_t id = 0;
  std::string payload;
  std::vector<UniqueFd> descriptors;

  // The payload by its table; names the message when it does not parse.
  template <typename T>
  Result<T> as() const {
    return json::parse<T>(text()).context("shim message {}", static_cast<int>(type));
  }
  // The payload up to its NUL, and what follows it (`attach`, `exec`).
  std::string_view text() const { return std::string_view(payload).substr(0, payload.find('\0')); }
  std::string_view leftover() const;
};

// The frame's header and payload as they go over the socket (descriptors go beside it).
std::string encode(MessageType type, uint32_t id, size_t descriptors, std::string_view payload);

// Sends one frame on a blocking socket, whole.
Status send(int socket, MessageType type, uint32_t id, std::string_view payload = {},
            const std::vector<int>& descriptors = {});
template <typename T>
Status send_json(int socket, MessageType type, uint32_t id, const T& payload,
                 const std::vector<int>& descriptors = {}) {
  return send(socket, type, id, json::dump(payload), descriptors);
}

// The payload of an `error` answer, and the Error it carries.
std::string error_payload(const Error& error);
Error error_of(const Message& message);

// Puts frames together from what a socket gives. Memory is bounded by kMaxPayload and the
// descriptors of the frames that are due; a peer that breaks the rules gives an error, after which
// the decoder is dead.
class Decoder {
 public:
  // Adds bytes and the descriptors that were received with them.
  Status feed(std::string_view bytes, std::vector<UniqueFd> descriptors = {});
  // The next whole frame, if there is one.
  Result<std::optional<Message>> next();

 private:
  void compact();

  std::string buffer_;
  size_t consumed_ = 0;
  std::deque<UniqueFd> descriptors_;
};

// Reads from a blocking socket until `decoder` has a frame; `unavailable` when the peer has closed.
Result<Message> receive(int socket, Decoder& decoder);

}  // namespace gantry::shim

namespace gantry::json {

template <>
struct Schema<shim::Greeting> {
  using T = shim::Greeting;
  static constexpr Field fields[] = {field<&T::version>("version"), field<&T::program>("program"),
                                     field<&T::pid>("pid")};
};
template <>
struct Schema<shim::TerminalSize> {
  using T = shim::TerminalSize;
  static constexpr Field fields[] = {field<&T::rows>("rows"), field<&T::columns>("columns")};
};
template <>
struct Schema<shim::LogConfig> {
  using T = shim::LogConfig;
  static constexpr Field fields[] = {
      field<&T::driver>("driver"), field<&T::path>("path"), field<&T::max_size>("maxSize"),
      field<&T::max_files>("maxFiles"), field<&T::attributes>("attributes", kOmitEmpty)};
};
template <>
struct Schema<shim::LaunchOptions> {
  using T = shim::LaunchOptions;
  static constexpr Field fields[] = {field<&T::id>("id", kRequired),
                                     field<&T::directory>("directory", kRequired),
                                     field<&T::rootfs>("rootfs"),
                                     field<&T::terminal>("terminal"),
                                     field<&T::open_stdin>("openStdin"),
                                     field<&T::stdin_once>("stdinOnce"),
                                     field<&T::console>("console"),
                                     field<&T::log>("log"),
                                     field<&T::user>("user"),
                                     field<&T::init>("init", kOmitEmpty),
                                     field<&T::seccomp_cache>("seccompCache", kOmitEmpty),
                                     field<&T::shim_groups>("shimGroups", kOmitEmpty)};
};
template <>
struct Schema<shim::AttachOptions> {
  using T = shim::AttachOptions;
  static constexpr Field fields[] = {
      field<&T::standard_in>("stdin"), field<&T::standard_out>("stdout"),
      field<&T::standard_err>("stderr"), field<&T::multiplexed>("multiplexed"),
      field<&T::detach_keys>("detachKeys")};
};
template <>
struct Schema<shim::ExecRequest> {
  using T = shim::ExecRequest;
  static constexpr Field fields[] = {
      field<&T::id>("id", kRequired),      field<&T::process>("process"),
      field<&T::user>("user", kOmitEmpty), field<&T::terminal>("terminal"),
      field<&T::console>("console"),       field<&T::attached>("attached"),
      field<&T::options>("options")};
};
template <>
struct Schema<shim::ProcessRequest> {
  using T = shim::ProcessRequest;
  static constexpr Field fields[] = {field<&T::exec_id>("execId")};
};
template <>
struct Schema<shim::ResizeRequest> {
  using T = shim::ResizeRequest;
  static constexpr Field fields[] = {field<&T::exec_id>("execId"), field<&T::size>("size")};
};
template <>
struct Schema<shim::SignalRequest> {
  using T = shim::SignalRequest;
  static constexpr Field fields[] = {field<&T::exec_id>("execId"), field<&T::signal>("signal")};
};
template <>
struct Schema<shim::ErrorReply> {
  using T = shim::ErrorReply;
  static constexpr Field fields[] = {field<&T::kind>("kind"), field<&T::code>("code"),
                                     field<&T::message>("message")};
};
template <>
struct Schema<shim::ExitStatus> {
  using T = shim::ExitStatus;
  static constexpr Field fields[] = {
      field<&T::code>("code", kRequired), field<&T::signal>("signal"), field<&T::oom>("oom"),
      field<&T::finished_at>("finishedAt"), field<&T::reason>("reason", kOmitEmpty)};
};
template <>
struct Schema<shim::ExecExited> {
  using T = shim::ExecExited;
  static constexpr Field fields[] = {field<&T::exec_id>("execId"), field<&T::status>("status")};
};
template <>
struct Schema<shim::StartedReply> {
  using T = shim::StartedReply;
  static constexpr Field fields[] = {field<&T::pid>("pid")};
};
template <>
struct Schema<shim::StateReply> {
  using T = shim::StateReply;
  static constexpr Field fields[] = {field<&T::id>("id"),
                                     field<&T::pid>("pid"),
                                     field<&T::started>("started"),
                                     field<&T::started_at>("startedAt"),
                                     field<&T::cgroup>("cgroup"),
                                     field<&T::terminal>("terminal"),
                                     field<&T::execs>("execs"),
                                     field<&T::kept>("kept", kOmitEmpty),
                                     field<&T::exit>("exit", kOmitEmpty)};
};

}  // namespace gantry::json
