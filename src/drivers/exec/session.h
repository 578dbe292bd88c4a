// The daemon's side of one shim.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "drivers/exec/exec_driver.h"
#include "drivers/exec/monitor.h"
#include "runtime/shim/layout.h"
#include "runtime/shim/protocol.h"

namespace gantry::drivers {

// Thread-safe. Shared by the instance that callers hold and, while the shim lives, by the monitor,
// which reads its socket, reaps it and finds out when it was killed.
class Session : public std::enable_shared_from_this<Session> {
 public:
  // What is known of an instance when a session begins.
  struct Start {
    std::string id;
    std::string directory;
    std::string cgroup;
    pid_t pid = 0;
    InstanceState state = InstanceState::created;
    int64_t started_at = 0;
    std::optional<ExitStatus> exit;
    UniqueFd init;  // pidfd of the first process
    UniqueFd netns;
    std::vector<UniqueFd> kept;  // given to the shim by an earlier daemon
    UniqueFd shim;               // pidfd of the shim
    UniqueFd socket;
    shim::Decoder decoder;  // with what was read from the socket already
  };
  static Result<std::shared_ptr<Session>> begin(Monitor& monitor, Start start);
  explicit Session(Monitor& monitor, Start start);
  ~Session();

  // Sends a request and waits for its answer: the payload of `done`, or the error.
  Result<std::string> request(shim::MessageType type, std::string payload,
                              const std::vector<int>& descriptors = {});
  // What request() would do with `go`, and what follows from it.
  Status start(const std::vector<int>& kept);
  std::vector<UniqueFd> take_kept();
  Status signal(int number);
  void set_listener(Listener listener);
  // The caller has let go of the instance: one at its gate is undone, and nobody listens any more.
  void abandon();

  const std::string& id() const { return start_.id; }
  const std::string& directory() const { return start_.directory; }
  pid_t pid() const { return start_.pid; }
  Result<UniqueFd> process() const;  // a pidfd of the first process
  int netns_fd() const { return start_.netns.get(); }
  InstanceState state() const;
  int64_t started_at() const;
  std::optional<ExitStatus> exit_status() const;

 private:
  struct Pending {
    bool answered = false;
    Result<std::string> answer = std::string();
  };

  void socket_ready();
  void shim_ready();
  // False at the end of the connection.
  bool read_socket();
  void handle(shim::Message message);
  void answer(uint32_t id, Result<std::string> result);
  void disconnect();
  void shim_is_gone();
  void ended(ExitStatus status);
  void notify(Notice notice);

  Monitor& monitor_;
  Start
      start_;  // state, started_at, exit and socket are guarded by mutex_; the rest does not change
  uint64_t socket_token_ = 0;
  uint64_t shim_token_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable answered_;
  std::map<uint32_t, Pending*> pending_;
  uint32_t next_id_ = 2;
  bool connected_ = true;
  bool starting_ = false;
  bool lost_ = false;  // the shim went while the container was at the gate, leaving no exit

  std::mutex send_mutex_;  // one frame at a time on the socket

  std::recursive_mutex notice_mutex_;  // held while a listener is called
  Listener listener_;
  std::deque<Notice> unheard_;
  bool abandoned_ = false;
};

// What a shim that was killed leaves undone: kills what is left of the container and records its
// end in exit.json, unless that has been recorded. The shim's lock must be free.
Result<ExitStatus> settle_lost_container(const std::string& directory, const std::string& reason);

}  // namespace gantry::drivers
