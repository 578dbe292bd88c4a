// The logs that are sent elsewhere (drivers/log/forwarder.h), by container.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "daemon/container_record.h"
#include "drivers/log/log_driver.h"

namespace gantry::drivers {
class LogForwarder;
}

namespace gantry::daemon {

// Thread-safe.
class LogForwarders {
 public:
  LogForwarders();
  ~LogForwarders();  // ends all; the next daemon goes on

  // Before a container starts: its sink, connected where the driver insists on it; null when its
  // log is not sent anywhere. Docker's error: "failed to initialize logging driver: dial tcp …".
  static Result<std::unique_ptr<drivers::LogSink>> prepare(const ContainerRecord& record);
  // It runs. `sink` of prepare(), or null: one is made when the log is sent anywhere.
  void begin(const ContainerRecord& record, std::unique_ptr<drivers::LogSink> sink = nullptr);
  // It has ended, and its shim has written everything.
  void end(const std::string& id);
  // It does not run, and an earlier daemon may not have sent everything.
  void resume(const ContainerRecord& record);
  // It is about to be removed: what is left is sent if that takes no longer than a few seconds, and
  // counts as dropped otherwise.
  void finish(const ContainerRecord& record);

  uint64_t dropped() const { return dropped_; }  // entries, since the daemon started

 private:
  std::shared_ptr<drivers::LogForwarder> find(const std::string& id) const;

  std::atomic<uint64_t> dropped_ = 0;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<drivers::LogForwarder>> forwarders_;
};

}  // namespace gantry::daemon
