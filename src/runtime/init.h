// pid 1 of a container that asked for one (`docker run --init`): runs the program as its child,
// passes signals on to it, reaps whatever becomes an orphan, and ends with the program's status.
#pragma once

namespace gantry::runtime {

// Whether argv[0] says that this process is to be one.
bool is_init(const char* name);
// The program's exit status; 128 + signal for one that was killed.
int init_main(int argc, char** argv);

}  // namespace gantry::runtime
