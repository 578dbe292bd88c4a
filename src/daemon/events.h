// What happened, for `docker events`: published by job handlers, kept for replay, fanned out to
// listeners.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/channel.h"
#include "base/json.h"

namespace gantry::daemon {

struct Event {
  std::string type;    // container, image, network, volume, daemon
  std::string action;  // start, die, "exec_create: sh", …
  std::string id;      // the actor
  std::map<std::string, std::string> attributes;
  int64_t time_ns = 0;  // set by publish() when 0

  // As GET /events sends it, with the deprecated `status`, `id` and `from` of containers and
  // images.
  json::object to_json() const;
};

// All given filters must match; several values of one are alternatives. Keys as Docker's:
// container, image, network, volume, daemon, event, label, type, scope, node, service, …
class EventFilter {
 public:
  static Result<EventFilter> parse(const std::map<std::string, std::vector<std::string>>& filters);
  bool matches(const Event& event) const;

 private:
  std::map<std::string, std::vector<std::string>> filters_;
};

// Thread-safe. publish() never blocks: a listener that reads too slowly (4,096 events behind) is
// cut off.
class Events {
 public:
  using Listener = Channel<Event>;

  void publish(Event event);
  // Past events from `since` (ns; kept: the last 1,024) come first when `replay`, then new ones.
  std::shared_ptr<Listener> subscribe(EventFilter filter, int64_t since_ns, int64_t until_ns);
  void unsubscribe(const std::shared_ptr<Listener>& listener);
  // Past events only, for a request whose `until` lies in the past.
  std::vector<Event> past(const EventFilter& filter, int64_t since_ns, int64_t until_ns) const;
  size_t listeners() const;
  int64_t published() const;  // since the daemon began
  void close();               // ends every subscription

 private:
  struct Subscription {
    std::shared_ptr<Listener> listener;
    EventFilter filter;
    int64_t until_ns;
  };
  mutable std::mutex mutex_;
  std::deque<Event> history_;
  int64_t published_ = 0;
  std::vector<Subscription> subscriptions_;
};

}  // namespace gantry::daemon
