// Named points at which a test can make the program fail, wait or die.
//
//   TRY(failpoint("layer.rename"));
//   (void)failpoint("database.committed");  // past the point of return: it can wait or die only
//
// Without GANTRY_FAILPOINTS (the presets dev, asan and tsan define it) all of this compiles away.
// With it, a specification decides at run time: "NAME=ACTION;NAME=ACTION…", with ACTION one of
// error(ERRNO), delay(MILLISECONDS) and kill (SIGKILL of the process), each optionally followed by
// "@N" for the N-th pass only. "SCOPE/NAME" limits an action to one scope: the name of a job, or of
// one of the daemon's threads. It is read from the environment variable GANTRY_FAILPOINTS, and
// failpoints_arm() replaces it. A shim inherits those actions whose name begins with "shim.",
// "runtime." or "init.".
//
// What was passed is kept in memory, and, when the environment variable GANTRY_FAILPOINTS_SEEN
// names a file, in that file too: one "SCOPE/NAME" a line, written by every process that inherits
// the variable (a shim and its children, whose memory nobody can ask).
//
// Thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gantry {

#ifdef GANTRY_FAILPOINTS

Status failpoint(std::string_view name);
std::vector<std::string> failpoints_seen();

// While it lives, what this thread passes belongs to `name`.
class FailpointScope {
 public:
  explicit FailpointScope(std::string_view name);
  ~FailpointScope();
  FailpointScope(const FailpointScope&) = delete;

 private:
  std::string before_;
};

struct FailpointPasses {
  std::string scope, name;
  int passes = 0;  // since the last failpoints_arm()
  int fired = 0;   // how many of them met an action
};

// Replaces what is armed and forgets what was passed; `invalid` when the text is malformed.
Status failpoints_arm(std::string_view specification);
std::vector<FailpointPasses> failpoints_passed();
// The environment ("K=V") that makes a shim obey the same specification.
std::vector<std::string> failpoints_environment();

#else

inline Status failpoint(std::string_view) { return {}; }
inline std::vector<std::string> failpoints_seen() { return {}; }

class FailpointScope {
 public:
  explicit FailpointScope(std::string_view) {}
};

#endif

}  // namespace gantry
