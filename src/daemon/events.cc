#include "daemon/events.h"

#include <algorithm>
#include <array>

#include "base/clock.h"

namespace gantry::daemon {
namespace {

constexpr size_t kHistory = 1024;
constexpr size_t kBacklog = 4096;

constexpr std::array<std::string_view, 15> kFilterKeys = {
    "config", "container", "daemon", "event",   "image", "label",  "network", "node",
    "plugin", "scope",     "secret", "service", "type",  "volume", "builder"};

std::string attribute(const Event& event, const std::string& key) {
  auto found = event.attributes.find(key);
  return found == event.attributes.end() ? "" : found->second;
}

// A container, volume or network is meant by its name, its id or the beginning of its id.
bool names_actor(const Event& event, std::string_view type, const std::string& wanted) {
  if (event.type == type)
    return event.id == wanted || attribute(event, "name") == wanted ||
           (wanted.size() >= 1 && event.id.starts_with(wanted));
  // An event of another kind may concern a container ("network connect", "volume mount").
  std::string related = attribute(event, std::string(type));
  return !related.empty() && (related == wanted || related.starts_with(wanted));
}

// An image is meant with or without its tag, by id, or through a container made from it.
bool names_image(const Event& event, const std::string& wanted) {
  auto same = [&](std::string name) {
    if (name == wanted) return true;
    size_t colon = name.rfind(':');
    return colon != std::string::npos && name.find('/', colon) == std::string::npos &&
           name.substr(0, colon) == wanted;
  };
  if (event.type == "image") return same(event.id) || same(attribute(event, "name"));
  if (event.type == "container") return same(attribute(event, "image"));
  return false;
}

bool matches_label(const Event& event, const std::string& wanted) {
  size_t equals = wanted.find('=');
  auto found = event.attributes.find(wanted.substr(0, equals));
  if (found == event.attributes.end()) return false;
  return equals == std::string::npos || found->second == wanted.substr(equals + 1);
}

bool matches_one(const Event& event, const std::string& key, const std::string& wanted) {
  if (key == "type") return event.type == wanted;
  if (key == "scope") return wanted == "local";
  if (key == "label") return matches_label(event, wanted);
  if (key == "image") return names_image(event, wanted);
  if (key == "event")  // "exec_create" also means "exec_create: sh"
    return event.action == wanted || event.action.starts_with(wanted + ": ");
  return names_actor(event, key, wanted);
}

}  // namespace

json::object Event::to_json() const {
  json::object out;
  if (type == "container" || type == "image") {
    out["status"] = action;
    out["id"] = id;
    if (type == "container") out["from"] = attribute(*this, "image");
  }
  out["Type"] = type;
  out["Action"] = action;
  out["Actor"] = json::object{{"ID", id}, {"Attributes", json::encode(attributes)}};
  out["scope"] = "local";
  out["time"] = time_ns / 1'000'000'000;
  out["timeNano"] = time_ns;
  return out;
}

Result<EventFilter> EventFilter::parse(
    const std::map<std::string, std::vector<std::string>>& filters) {
  EventFilter filter;
  for (const auto& [key, values] : filters) {
    if (std::find(kFilterKeys.begin(), kFilterKeys.end(), key) == kFilterKeys.end())
      return invalid("invalid filter '{}'", key);
    if (!values.empty()) filter.filters_[key] = values;
  }
  return filter;
}

bool EventFilter::matches(const Event& event) const {
  return std::all_of(filters_.begin(), filters_.end(), [&](const auto& entry) {
    const auto& [key, values] = entry;
    auto matches = [&](const std::string& value) { return matches_one(event, key, value); };
    // Docker asks for every label, and for any of the rest.
    return key == "label" ? std::all_of(values.begin(), values.end(), matches)
                          : std::any_of(values.begin(), values.end(), matches);
  });
}

void Events::publish(Event event) {
  if (event.time_ns == 0) event.time_ns = now_ns();
  std::lock_guard lock(mutex_);
  std::erase_if(subscriptions_, [&](Subscription& subscription) {
    if (subscription.until_ns != 0 && event.time_ns > subscription.until_ns) {
      subscription.listener->close();
      return true;
    }
    if (!subscription.filter.matches(event)) return false;
    if (subscription.listener->try_push(event)) return false;
    subscription.listener->close();
    return true;
  });
  ++published_;
  history_.push_back(std::move(event));
  if (history_.size() > kHistory) history_.pop_front();
}

std::shared_ptr<Events::Listener> Events::subscribe(EventFilter filter, int64_t since_ns,
                                                    int64_t until_ns) {
  auto listener = std::make_shared<Listener>(kBacklog);
  std::lock_guard lock(mutex_);
  if (since_ns != 0)
    for (const Event& event : history_)
      if (event.time_ns >= since_ns && (until_ns == 0 || event.time_ns <= until_ns) &&
          filter.matches(event))
        (void)listener->try_push(event);
  subscriptions_.push_back({listener, std::move(filter), until_ns});
  return listener;
}

void Events::unsubscribe(const std::shared_ptr<Listener>& listener) {
  std::lock_guard lock(mutex_);
  std::erase_if(subscriptions_, [&](const Subscription& s) { return s.listener == listener; });
}

std::vector<Event> Events::past(const EventFilter& filter, int64_t since_ns,
                                int64_t until_ns) const {
  std::vector<Event> out;
  std::lock_guard lock(mutex_);
  for (const Event& event : history_)
    if (event.time_ns >= since_ns && (until_ns == 0 || event.time_ns <= until_ns) &&
        filter.matches(event))
      out.push_back(event);
  return out;
}

size_t Events::listeners() const {
  std::lock_guard lock(mutex_);
  return subscriptions_.size();
}

int64_t Events::published() const {
  std::lock_guard lock(mutex_);
  return published_;
}

void Events::close() {
  std::lock_guard lock(mutex_);
  for (Subscription& subscription : subscriptions_) subscription.listener->close();
  subscriptions_.clear();
}

}  // namespace gantry::daemon
