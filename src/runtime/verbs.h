// The verbs of gantry-runtime: one function each, in a table that main and `--help` go by.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "libcontainer/container.h"
#include "runtime/arguments.h"

namespace gantry::runtime {

struct Globals {
  std::string root;  // where state directories are
  bool systemd_cgroup = false;
  bool rootless = false;  // --rootless, or what the process finds itself to be
  bool log_file = false;  // --log was given: whoever runs us looks for errors there
};

struct Verb {
  std::string_view name;
  std::string_view usage;
  std::string_view help;
  std::span<const Flag> flags;
  Until until;
  Result<int> (*run)(const Globals&, const Arguments&);
};
std::span<const Verb> verbs();

// What several verbs need.
Result<libcontainer::Container> load_container(const Globals& globals, const Arguments& arguments);
std::string seccomp_cache(const Globals& globals);
Status write_pid_file(const std::string& path, pid_t pid);
// Checks that descriptors 3 … 2+n are open; adds those of LISTEN_FDS.
Result<int> preserved_fds(const Arguments& arguments);
Status print(std::string_view text);

Result<int> verb_create(const Globals&, const Arguments&);
Result<int> verb_start(const Globals&, const Arguments&);
Result<int> verb_run(const Globals&, const Arguments&);
Result<int> verb_state(const Globals&, const Arguments&);
Result<int> verb_kill(const Globals&, const Arguments&);
Result<int> verb_delete(const Globals&, const Arguments&);
Result<int> verb_list(const Globals&, const Arguments&);
Result<int> verb_exec(const Globals&, const Arguments&);
Result<int> verb_ps(const Globals&, const Arguments&);
Result<int> verb_pause(const Globals&, const Arguments&);
Result<int> verb_resume(const Globals&, const Arguments&);
Result<int> verb_update(const Globals&, const Arguments&);
Result<int> verb_events(const Globals&, const Arguments&);
Result<int> verb_spec(const Globals&, const Arguments&);
Result<int> verb_features(const Globals&, const Arguments&);
Result<int> verb_checkpoint(const Globals&, const Arguments&);
Result<int> verb_restore(const Globals&, const Arguments&);

// For create, run and restore: the bundle read, and what the options say of it. The id is the only
// argument.
Result<libcontainer::CreateOptions> create_options(const Globals& globals,
                                                   const Arguments& arguments,
                                                   libcontainer::Gate gate);
// The terminal's master goes to the console socket. Without one a detached terminal has nowhere to
// go.
Status check_console(const libcontainer::CreateOptions& options, const Arguments& arguments,
                     bool detached);
// Sends what belongs outside; on failure the container is taken down again. `console` gets the
// master when there is no socket for it.
Status publish(libcontainer::Container& container, const Arguments& arguments, UniqueFd& console);

}  // namespace gantry::runtime
