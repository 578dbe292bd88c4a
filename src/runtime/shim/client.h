// A client's connection that was handed over: what a process prints goes to it, what it types comes
// from it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/shim/detach_keys.h"
#include "runtime/shim/event_loop.h"
#include "runtime/shim/log_format.h"
#include "runtime/shim/protocol.h"

namespace gantry::shim {

class Client;

// Whose client it is. Called from the client; may drop it by way of EventLoop::bury().
class ClientOwner {
 public:
  virtual ~ClientOwner() = default;
  virtual void client_typed(Client& client, std::string_view input) = 0;
  virtual void client_input_ended(Client& client) = 0;  // half-closed, or dead
  virtual void client_detached(Client& client) = 0;
  virtual void client_drained(Client& client) = 0;  // it can take output again
  virtual void client_gone(Client& client) = 0;     // closed; to be buried
};

// Not thread-safe. Everything is non-blocking; what a peer does not take is kept here, and the
// owner stops reading the process's output while anything is (backlog()).
class Client final : public Source {
 public:
  // `keys` as parse_detach_keys() gives them, "" for none.
  Client(EventLoop& loop, ClientOwner& owner, UniqueFd socket, AttachOptions options,
         std::string keys);
  ~Client() override;

  Status start(std::string_view leftover);
  void output(Stream stream, std::string_view data);
  size_t backlog() const { return queue_.size() - sent_; }
  bool wants_input() const { return options_.standard_in; }
  // Reads no input while the process's input is full.
  void pause_input(bool paused);
  // No more output comes: what is queued is still delivered, then the connection ends.
  void finish();

  void ready(uint32_t events) override;

 private:
  enum class State { open, finishing, closed };

  bool read_input();  // false when there was nothing
  void typed(std::string_view bytes);
  void send_queue();
  void update();
  void close();

  EventLoop& loop_;
  ClientOwner& owner_;
  UniqueFd socket_;
  AttachOptions options_;
  DetachMatcher matcher_;
  std::string queue_;
  size_t sent_ = 0;
  State state_ = State::open;
  bool input_open_ = true;
  bool input_paused_ = false;
  uint32_t watched_ = 0;
};

}  // namespace gantry::shim
