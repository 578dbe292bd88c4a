// The shim's end of a daemon's connection.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "runtime/shim/event_loop.h"
#include "runtime/shim/protocol.h"

namespace gantry::shim {

class Control;

class ControlOwner {
 public:
  virtual ~ControlOwner() = default;
  virtual void control_message(Control& control, Message message) = 0;
  virtual void control_closed(Control& control) = 0;  // by the peer, or for its bad manners
};

// Not thread-safe. Never blocks: what the daemon does not read waits here, at most kMaxQueued bytes
// of it (a daemon that reads nothing for so long is taken for dead).
class Control final : public Source {
 public:
  Control(EventLoop& loop, ControlOwner& owner, UniqueFd socket, Decoder decoder = {});
  ~Control() override;

  Status begin();
  void send(MessageType type, uint32_t id, std::string_view payload = {},
            std::vector<UniqueFd> descriptors = {});
  bool flushed() const { return queue_.empty(); }
  void ready(uint32_t events) override;

 private:
  static constexpr size_t kMaxQueued = 1u << 20;
  struct Frame {
    std::string bytes;
    std::vector<UniqueFd> descriptors;
  };

  void flush();
  void receive();
  void fail();

  EventLoop& loop_;
  ControlOwner& owner_;
  UniqueFd socket_;
  Decoder decoder_;
  std::deque<Frame> queue_;
  size_t queued_ = 0;
  bool begun_ = false;
  bool failed_ = false;
};

}  // namespace gantry::shim
