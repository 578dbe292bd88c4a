// Who a process runs as, when it was asked for by name: the words of `docker run --user` and
// `--group-add`, looked up in the /etc/passwd and /etc/group of the container's own root file
// system. Parsed by our own code (threats: NSS is never loaded), reads are bounded, and only
// regular files are read: what the image puts there cannot reach a file of the host, make us wait
// or make us grow.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fs.h"
#include "base/json.h"
#include "base/result.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

// What somebody wrote. Carried beside a Process whose `user` it then replaces.
struct UserSpec {
  std::string user;                 // "", "name", "uid", "name:group", "uid:gid" …
  std::vector<std::string> groups;  // further groups, by name or number
};

struct ResolvedUser {
  User user;
  std::string home;  // "/" when the user has no entry
};

// Docker's rules: a name must be in passwd; a number need not, and its group is 0 then; without an
// explicit group the entry's group and the groups that list the user apply. Numbers over 2^31-1 are
// refused. Errors are `invalid`: "unable to find user x: no matching entries in passwd file".
Result<ResolvedUser> resolve_user(const Beneath& root, const UserSpec& spec);

// The same on the files' text, for tests and for fuzzing.
Result<ResolvedUser> resolve_user_in(std::string_view passwd, std::string_view group,
                                     const UserSpec& spec);

}  // namespace gantry::libcontainer

template <>
struct gantry::json::Schema<gantry::libcontainer::UserSpec> {
  using T = gantry::libcontainer::UserSpec;
  static constexpr Field fields[] = {field<&T::user>("user", kOmitEmpty),
                                     field<&T::groups>("groups", kOmitEmpty)};
};
