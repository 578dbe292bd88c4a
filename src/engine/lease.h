// Leases that the parts of a job share.
#pragma once

#include "base/result.h"
#include "engine/job.h"

namespace gantry::engine {

// The lease of a job, without anything yet; as any, it ends with the job.
Status open_lease(JobContext& job, graph::Transaction& tx);
// Keeps a node for another job, which runs and has a lease (open_lease(), JobContext::lease()):
// for jobs that work for it. `not_found` when that has none.
Status lease_for(JobContext& job, graph::Transaction& tx, JobId holder, graph::NodeId node);

}  // namespace gantry::engine
