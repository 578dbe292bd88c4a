// A running container that is kept still for as long as something is read that it could change.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "daemon/container_record.h"
#include "drivers/exec/exec_driver.h"

namespace gantry::daemon {

// Keeps a container still until let_go(), with its lock held. Not a state that the graph remembers:
// a daemon that dies meanwhile finds a container that is said to run, and lets it go on when it
// adopts it.
class HeldStill {
 public:
  HeldStill(const ContainerRecord& record, std::shared_ptr<drivers::Instance> instance)
      : id_(record.id) {
    if (record.state.status == "running") instance_ = std::move(instance);
  }
  HeldStill(const HeldStill&) = delete;
  ~HeldStill() {
    if (held_) log::ignored("container " + id_, let_go());
  }
  Status hold() {
    if (!instance_) return {};
    held_ = true;  // first: a pause that fails may have frozen a part
    Status paused = instance_->pause();
    if (paused || instance_->state() == drivers::InstanceState::exited) return {};
    return std::move(paused).context("Cannot pause container {}", id_);
  }
  // When it fails it is tried once more by the destructor.
  Status let_go() {
    if (!held_) return {};
    Status resumed = instance_->resume();
    if (!resumed && resumed.error().kind() != ErrorKind::conflict &&
        instance_->state() != drivers::InstanceState::exited)
      return std::move(resumed).context("Cannot unpause container {}", id_);
    held_ = false;
    return {};
  }

 private:
  const std::string id_;
  std::shared_ptr<drivers::Instance> instance_;  // null: nothing runs
  bool held_ = false;
};

}  // namespace gantry::daemon
