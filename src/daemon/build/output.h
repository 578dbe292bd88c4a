// What a build says, in the order of its stages although they run side by side: the foremost stage
// that is not done speaks at once, the others when it is their turn.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace gantry::daemon {

// Thread-safe.
class BuildOutput {
 public:
  // The stages by their places among those that are built; `quiet`: nothing is said but result().
  void begin(size_t stages, bool quiet);
  // Of a stage. Waits while the foremost stage is far ahead of the reader; what a stage that is not
  // foremost says beyond a bound is left out, and that is said.
  void say(size_t stage, const std::string& text);
  void event(size_t stage, json::object event);
  void finish(size_t stage);
  // Of the build as a whole; a reader that is slow is not waited for.
  void tell(json::object event);
  void close();   // nobody reads any more
  void notify();  // wakes the reader

  // The next piece for the client; nothing when `done` says so and none is left.
  std::optional<json::value> next(const std::function<bool()>& done);

 private:
  struct Stage {
    std::deque<json::value> waiting;
    size_t bytes = 0;
    bool finished = false, clipped = false;
  };
  void put(size_t stage, json::object event, size_t bytes);
  void advance();

  static constexpr size_t kBound = 1u << 20;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Stage> stages_;
  std::deque<std::pair<json::value, size_t>> ready_;
  size_t ready_bytes_ = 0;
  size_t foremost_ = 0;
  bool quiet_ = false, closed_ = false;
};

// Bytes that are no UTF-8 become U+FFFD, as JSON needs it.
std::string as_utf8(std::string_view bytes);

}  // namespace gantry::daemon
