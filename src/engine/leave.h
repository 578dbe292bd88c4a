// Giving back what stays in use when a job fails.
#pragma once

#include <string_view>

#include "base/result.h"
#include "engine/job.h"

namespace gantry::engine {

// Gives back what was held before this job, but only once it has succeeded: marked by its closing
// transaction and released right after it, before the job's waiters wake. JobContext::release()
// does so at once, and what it has released stays so when the job fails. Absent is success; a
// release that fails is left to the background releaser.
Status release_after_commit(JobContext& job, std::string_view kind, std::string_view name);

// New data for what was held before this job, stored by its closing transaction: a job that fails
// leaves the old.
Status set_data_on_commit(JobContext& job, std::string_view kind, std::string_view name,
                          std::string data);

}  // namespace gantry::engine
