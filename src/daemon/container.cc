#include "daemon/container.h"

#include <algorithm>

namespace gantry::daemon {

std::shared_ptr<const ContainerRecord> Container::record() const {
  std::lock_guard lock(mutex_);
  return record_;
}

std::shared_ptr<const std::string> Container::rendered(
    const std::shared_ptr<const ContainerRecord>& record, Render render) const {
  {
    std::lock_guard lock(mutex_);
    if (record_ == record && rendered_) return rendered_;
  }
  auto text = std::make_shared<const std::string>(render(*record));
  std::lock_guard lock(mutex_);
  if (record_ == record) rendered_ = text;
  return text;
}

void Container::publish(ContainerRecord record) {
  auto next = std::make_shared<const ContainerRecord>(std::move(record));
  {
    std::lock_guard lock(mutex_);
    record_ = std::move(next);
    rendered_.reset();
  }
  changed_.notify_all();
}

void Container::set_running(ContainerRecord record, std::shared_ptr<drivers::Instance> instance) {
  auto next = std::make_shared<const ContainerRecord>(std::move(record));
  {
    std::lock_guard lock(mutex_);
    rendered_.reset();
    std::swap(record_, next);  // the old ones are destroyed after the lock
    std::swap(instance_, instance);
  }
  changed_.notify_all();
}

std::shared_ptr<drivers::Instance> Container::instance() const {
  std::lock_guard lock(mutex_);
  return instance_;
}

void Container::set_instance(std::shared_ptr<drivers::Instance> instance) {
  std::lock_guard lock(mutex_);
  std::swap(instance_, instance);  // the old one is destroyed after the lock
}

std::optional<Container::PendingAttach> Container::add_pending(PendingAttach attach) {
  std::lock_guard lock(mutex_);
  if (record_->running() && instance_) return attach;
  pending_.push_back(std::move(attach));
  return std::nullopt;
}

std::vector<Container::PendingAttach> Container::take_pending() {
  std::lock_guard lock(mutex_);
  return std::exchange(pending_, {});
}

std::shared_ptr<WaitChannel> Container::add_waiter(WaitCondition condition) {
  auto channel = std::make_shared<WaitChannel>(1);
  std::lock_guard lock(mutex_);
  if (condition == WaitCondition::not_running && !record_->running() &&
      record_->state.status != "restarting") {
    (void)channel->try_push({record_->state.exit_code, {}});
    channel->close();
    return channel;
  }
  waiters_.push_back({condition, channel});
  return channel;
}

void Container::wake_waiters(bool removed, WaitResult result) {
  std::vector<std::shared_ptr<WaitChannel>> woken;
  {
    std::lock_guard lock(mutex_);
    std::erase_if(waiters_, [&](const Waiter& waiter) {
      if (!removed && waiter.condition == WaitCondition::removed) return false;
      woken.push_back(waiter.channel);
      return true;
    });
  }
  for (auto& channel : woken) {
    (void)channel->try_push(result);
    channel->close();
  }
}

bool Container::wait_stopped(const std::string& run,
                             std::optional<std::chrono::steady_clock::time_point> deadline,
                             const std::function<bool()>& cancelled) {
  std::unique_lock lock(mutex_);
  auto stopped = [&] { return record_->state.run != run || !record_->running(); };
  while (!stopped()) {
    if (cancelled && cancelled()) return false;
    if (!deadline) {
      changed_.wait(lock);
    } else if (changed_.wait_until(lock, *deadline) == std::cv_status::timeout) {
      return stopped();
    }
  }
  return true;
}

void Container::nudge() {
  { std::lock_guard lock(mutex_); }
  changed_.notify_all();
}

Result<std::shared_ptr<Container>> ContainerTable::find(const std::string& reference) const {
  std::shared_lock lock(mutex_);
  if (auto found = by_id_.find(reference); found != by_id_.end()) return found->second;
  std::string name = reference.starts_with('/') ? reference.substr(1) : reference;
  if (auto found = names_.find(name); found != names_.end()) {
    auto container = by_id_.find(found->second);
    if (container != by_id_.end()) return container->second;
  }
  if (!reference.empty()) {
    auto first = by_id_.lower_bound(reference);
    if (first != by_id_.end() && first->first.starts_with(reference)) {
      auto next = std::next(first);
      if (next != by_id_.end() && next->first.starts_with(reference))
        return invalid("multiple IDs found with provided prefix: {}", reference);
      return first->second;
    }
  }
  return not_found("No such container: {}", reference);
}

std::shared_ptr<Container> ContainerTable::by_id(const std::string& id) const {
  std::shared_lock lock(mutex_);
  auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Container>> ContainerTable::all() const {
  std::vector<std::pair<int64_t, std::shared_ptr<Container>>> sorted;
  {
    std::shared_lock lock(mutex_);
    sorted.reserve(by_id_.size());
    for (const auto& [id, container] : by_id_) sorted.emplace_back(container->created(), container);
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::shared_ptr<Container>> out;
  out.reserve(sorted.size());
  for (auto& [created, container] : sorted) out.push_back(std::move(container));
  return out;
}

Status ContainerTable::claim_name(const std::string& name, const std::string& id) {
  std::unique_lock lock(mutex_);
  auto [entry, added] = names_.emplace(name, id);
  if (!added && entry->second != id)
    return conflict(
        "Conflict. The container name \"/{}\" is already in use by container \"{}\". You have to "
        "remove (or rename) that container to be able to reuse that name.",
        name, entry->second);
  return {};
}

void ContainerTable::release_name(const std::string& name, const std::string& id) {
  std::unique_lock lock(mutex_);
  auto found = names_.find(name);
  if (found != names_.end() && found->second == id) names_.erase(found);
}

Status ContainerTable::add(std::shared_ptr<Container> container, const std::string& name) {
  TRY(claim_name(name, container->id()));
  std::unique_lock lock(mutex_);
  by_id_[container->id()] = std::move(container);
  return {};
}

void ContainerTable::remove(const std::string& id) {
  std::unique_lock lock(mutex_);
  by_id_.erase(id);
  std::erase_if(names_, [&](const auto& entry) { return entry.second == id; });
}

}  // namespace gantry::daemon
