// A container in memory, and the table of all of them. The graph is the truth; this is its cache
// and holds what only a living daemon has (the instance, waiting clients).
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemon/container_record.h"
#include "daemon/containers.h"
#include "drivers/exec/exec_driver.h"

namespace gantry::daemon {

// Thread-safe. The record is an immutable snapshot that is replaced whole: readers never wait for a
// job. Jobs that change it hold the engine's lock on the container, but for what says otherwise.
class Container {
 public:
  explicit Container(ContainerRecord record)
      : id_(record.id),
        created_(record.created),
        record_(std::make_shared<const ContainerRecord>(std::move(record))) {}

  const std::string& id() const { return id_; }
  int64_t created() const { return created_; }
  std::shared_ptr<const ContainerRecord> record() const;
  // A text that `render` makes of `record`, kept for as long as that is the container's record.
  using Render = std::string (*)(const ContainerRecord&);
  std::shared_ptr<const std::string> rendered(const std::shared_ptr<const ContainerRecord>& record,
                                              Render render) const;
  // Replaces the snapshot; after the transaction that stored it.
  void publish(ContainerRecord record);

  // publish() and set_instance() at once: who sees it running finds its instance.
  void set_running(ContainerRecord record, std::shared_ptr<drivers::Instance> instance);

  std::shared_ptr<drivers::Instance> instance() const;
  void set_instance(std::shared_ptr<drivers::Instance> instance);

  // Clients that attached before there was a shim to hand them to.
  struct PendingAttach {
    AttachQuery query;
    ClientStream client;
  };
  // Gives it back when the container runs already, so that none is left to wait for a start that
  // was.
  std::optional<PendingAttach> add_pending(PendingAttach attach);
  std::vector<PendingAttach> take_pending();

  // Waiters get one result each; `removed` ones when the container is gone.
  std::shared_ptr<WaitChannel> add_waiter(WaitCondition condition);
  void wake_waiters(bool removed, WaitResult result);
  // Blocks until `run` is not the running one any more, or `deadline`; false then. Wakes on every
  // publish().
  bool wait_stopped(const std::string& run,
                    std::optional<std::chrono::steady_clock::time_point> deadline,
                    const std::function<bool()>& cancelled);
  // Healthchecks belong to a generation: what was planned or begun in an earlier one comes to
  // nothing.
  uint64_t new_check_generation() { return ++check_generation_; }
  uint64_t check_generation() const { return check_generation_; }
  // Wakes wait_stopped() to look at `cancelled` again.
  void nudge();

 private:
  struct Waiter {
    WaitCondition condition;
    std::shared_ptr<WaitChannel> channel;
  };
  const std::string id_;
  const int64_t created_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const ContainerRecord> record_;
  mutable std::shared_ptr<const std::string> rendered_;  // of record_; null: not yet
  std::shared_ptr<drivers::Instance> instance_;
  std::vector<PendingAttach> pending_;
  std::vector<Waiter> waiters_;
  std::atomic<uint64_t> check_generation_ = 0;
};

// Thread-safe.
class ContainerTable {
 public:
  // By full id, by name (with or without the slash), by the beginning of an id. not_found "No such
  // container: x"; invalid when several ids begin so.
  Result<std::shared_ptr<Container>> find(const std::string& reference) const;
  std::shared_ptr<Container> by_id(const std::string& id) const;  // null: none
  std::vector<std::shared_ptr<Container>> all() const;            // newest first
  // Adds it with its name; conflict (with Docker's words) when the name is taken.
  Status add(std::shared_ptr<Container> container, const std::string& name);
  // Claims a name for a container that is to be made: nobody else gets it until release_name().
  Status claim_name(const std::string& name, const std::string& id);
  void release_name(const std::string& name, const std::string& id);
  void remove(const std::string& id);

 private:
  mutable std::shared_mutex mutex_;
  std::map<std::string, std::shared_ptr<Container>> by_id_;
  std::map<std::string, std::string> names_;  // name -> id
};

}  // namespace gantry::daemon
