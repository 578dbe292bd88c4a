// The rows of the engine: SQL for jobs and resources, nothing else. All functions belong to the
// transaction or connection they are given.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/job.h"
#include "engine/resource.h"
#include "graph/database.h"

namespace gantry::engine::journal {

// Jobs.
Status put(graph::Connection& db, const JobInfo& job);  // inserts or replaces
Result<std::optional<JobInfo>> get(graph::Connection& db, JobId id);
// The newest `limit` of those that `wanted` says.
Result<std::vector<JobInfo>> newest(graph::Connection& db, size_t limit,
                                    const std::function<bool(const JobInfo&)>& wanted);
Result<std::vector<JobInfo>> unfinished(graph::Connection& db);  // queued or running
Status interrupt(graph::Connection& db, JobId id, int64_t now);
// Forgets ended jobs below an id, and those that ended before a time (ns since the epoch).
Status trim(graph::Connection& db, JobId oldest_kept, int64_t ended_before);
Result<JobId> highest_id(graph::Connection& db);  // that any row mentions

// Resources.
// conflict when the (kind, name) has a row.
Result<int64_t> intend(graph::Connection& db, const ResourceRow& row);
Result<std::optional<ResourceRow>> find(graph::Connection& db, std::string_view kind,
                                        std::string_view name);
Status set_state(graph::Connection& db, int64_t id, ResourceState state);
// True when the row was still in `from`.
Result<bool> move_state(graph::Connection& db, int64_t id, ResourceState from, ResourceState to);
Status set_data(graph::Connection& db, int64_t id, std::string_view data);
Status erase(graph::Connection& db, int64_t id);
enum class Order { taking, releasing };  // releasing: newest first
Result<std::vector<ResourceRow>> all(graph::Connection& db);
Result<std::vector<ResourceRow>> by_owner(graph::Connection& db, std::string_view owner,
                                          Order order);
Result<std::vector<ResourceRow>> by_kind(graph::Connection& db, std::string_view kind);
Result<std::vector<ResourceRow>> by_state(graph::Connection& db, ResourceState state, Order order);

}  // namespace gantry::engine::journal
