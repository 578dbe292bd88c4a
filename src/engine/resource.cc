#include "engine/resource.h"

#include <mutex>

#include "engine/journal.h"

namespace gantry::engine {

Status Resources::add(ResourceKind kind) {
  std::unique_lock lock(mutex_);
  std::string name = kind.name;
  auto [at, added] = kinds_.emplace(name, std::make_unique<ResourceKind>(std::move(kind)));
  if (!added) return conflict("resource kind {} is registered twice", name);
  return {};
}

const ResourceKind* Resources::find_kind(std::string_view name) const {
  std::shared_lock lock(mutex_);
  auto found = kinds_.find(name);
  return found == kinds_.end() ? nullptr : found->second.get();
}

std::vector<const ResourceKind*> Resources::kinds() const {
  std::shared_lock lock(mutex_);
  std::vector<const ResourceKind*> all;
  for (const auto& [name, kind] : kinds_) all.push_back(kind.get());
  return all;
}

Result<std::vector<ResourceRow>> Resources::list() const {
  graph::Snapshot snapshot = TRY(database_->read());
  return journal::all(snapshot.connection());
}

Result<std::vector<ResourceRow>> Resources::owned_by(std::string_view owner) const {
  graph::Snapshot snapshot = TRY(database_->read());
  return journal::by_owner(snapshot.connection(), owner, journal::Order::taking);
}

Result<std::vector<ResourceRow>> Resources::of_kind(std::string_view kind) const {
  graph::Snapshot snapshot = TRY(database_->read());
  return journal::by_kind(snapshot.connection(), kind);
}

Result<ResourceRow> Resources::get(std::string_view kind, std::string_view name) const {
  graph::Snapshot snapshot = TRY(database_->read());
  std::optional<ResourceRow> row = TRY(journal::find(snapshot.connection(), kind, name));
  if (!row) return not_found("no resource {} {}", kind, name);
  return std::move(*row);
}

}  // namespace gantry::engine
