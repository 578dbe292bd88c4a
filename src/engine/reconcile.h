// What the reconciler finds and does. See Engine::reconcile().
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "engine/job.h"

namespace gantry::engine {

// careful: repairs what jobs left and what has vanished; what has no owner, or no row, is only told
// of: after the database was lost it may be somebody's data.
enum class ReconcileMode { check, careful, repair };

struct Finding {
  enum class What {
    interrupted_job,  // running when the daemon died; repair: marked interrupted, its intents
                      // released
    unfinished,       // an intended resource without a running job; repair: released
    releasing,        // marked for release and still there; repair: handed to the releaser
    ownerless,        // held by an owner that no longer exists; repair: released
    vanished,      // held, but the kernel or the disk no longer has it; repair: the row is dropped
    orphan,        // exists with this instance's name but has no row; repair: released
    unknown_kind,  // a row of a kind that nobody registered; left alone
    failed,        // could not be probed or released; `detail` says why
  };
  What what;
  std::string kind;  // resource kind; job name for interrupted_job
  std::string name;  // resource name; job id for interrupted_job
  std::string owner;
  std::string detail;
  bool repaired = false;
};
std::string_view to_string(Finding::What what);

struct ReconcileReport {
  std::vector<Finding> findings;
  int64_t duration_ns = 0;
  bool sound() const { return findings.empty(); }
};

}  // namespace gantry::engine

template <>
struct gantry::json::CodecOf<gantry::engine::Finding::What> {
  static Status decode(void* out, const value& in);
  static value encode(const void* in);
  static bool empty(const void*) { return false; }
};
template <>
struct gantry::json::Schema<gantry::engine::Finding> {
  using F = gantry::engine::Finding;
  static constexpr Field fields[] = {field<&F::what>("What"),
                                     field<&F::kind>("Kind"),
                                     field<&F::name>("Name"),
                                     field<&F::owner>("Owner", kOmitEmpty),
                                     field<&F::detail>("Detail", kOmitEmpty),
                                     field<&F::repaired>("Repaired")};
};
template <>
struct gantry::json::Schema<gantry::engine::ReconcileReport> {
  using R = gantry::engine::ReconcileReport;
  static constexpr Field fields[] = {field<&R::findings>("Findings"),
                                     field<&R::duration_ns>("DurationNs")};
};
