// Terminals and standard input, output and error of a process in a container. Child-only code,
// except for send_console().
#pragma once

#include "base/fs.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "libcontainer/container.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

struct Terminal {
  UniqueFd master;
  UniqueFd slave;
};
// A new terminal of the devpts at /dev/pts below `root`, verified to be one (CVE-2025-52565).
Result<Terminal> open_terminal(const Beneath& root);
// Makes the slave 0, 1, 2 and the controlling terminal of a new session.
Status use_terminal(int slave, const std::optional<ConsoleSize>& size);
// Makes `stdio` 0, 1 and 2, whatever numbers they have.
Status use_stdio(const Stdio& stdio);
// Opens the container's own /dev/null for those of 0, 1 and 2 that are the host's: nothing of the
// host's file systems is held then, and CRIU finds them again.
Status reopen_null(const Beneath& root);
// Gives 0, 1 and 2 to the user, so that /dev/stdout can be opened again; /dev/null stays as it is.
void own_stdio(uid_t uid);
// Sends the master over a --console-socket.
Status send_console(const std::string& socket_path, int master);

}  // namespace gantry::libcontainer
