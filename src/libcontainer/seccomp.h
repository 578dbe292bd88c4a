// linux.seccomp as a BPF program: our own small compiler (a binary search over system call numbers
// for each architecture; libseccomp gives only the numbers of names), a cache of its results on
// disk, loading.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

struct SeccompFilter {
  std::vector<sock_filter> program;
  unsigned flags = 0;  // SECCOMP_FILTER_FLAG_*
  bool notifies = false;
};

// Pure. A rule whose action is the default one is left out; a call that an architecture does not
// have is skipped there, one that no architecture has is an error. With SCMP_ACT_ERRNO as the
// default, calls newer than any the profile names answer ENOSYS, so that programs fall back to
// older ones.
Result<SeccompFilter> compile_seccomp(const Seccomp& seccomp);
// The same through `directory` ("" or unusable: no cache). An entry holds the text it was made
// from, so a collision of names cannot give the wrong filter.
Result<SeccompFilter> cached_seccomp(const Seccomp& seccomp, const std::string& directory);

// The words of linux.seccomp that are understood; `supported_flags` are those of the running
// kernel.
struct SeccompNames {
  std::vector<std::string> actions, operators, architectures, flags, supported_flags;
};
SeccompNames seccomp_names();

// What the program answers for a call, by interpreting it.
uint32_t evaluate(const std::vector<sock_filter>& program, const seccomp_data& data);
// True when every call that the runtime makes between loading and exec is allowed.
bool permits_setup(const SeccompFilter& filter);

// Loads it into this process; the notify descriptor when it notifies, else an invalid one.
Result<UniqueFd> load_seccomp(const SeccompFilter& filter);

}  // namespace gantry::libcontainer
