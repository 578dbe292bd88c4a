// The host's /proc, by descriptor: whatever the runtime writes there (sysctls, labels, oom score)
// goes through a descriptor that has been verified to be procfs and that no container can have
// mounted over (threats: CVE-2025-52881, CVE-2019-19921).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::libcontainer {

class ProcFs {
 public:
  // Opens /proc as it is now, to be done before pivot_root. Fails unless it is the root of a
  // procfs.
  static Result<ProcFs> open();

  // `path` is relative ("self/oom_score_adj", "sys/net/ipv4/ip_forward"). No link and no other
  // mount is followed, save "self" itself.
  Result<UniqueFd> open_file(const std::string& path, int flags) const;
  Status write(const std::string& path, std::string_view text) const;
  Result<std::string> read(const std::string& path) const;
  int fd() const { return root_.get(); }

 private:
  explicit ProcFs(UniqueFd root) : root_(std::move(root)) {}
  UniqueFd root_;
};

}  // namespace gantry::libcontainer
