// `gantry-runtime shim`: the one process that stands beside a container. It creates the container,
// owns its input, output and logs, reaps it and records its end, and outlives the daemon that
// started it.
#pragma once

namespace gantry::shim {

// The daemon's socket is descriptor 3 (protocol.h); there are no arguments. Returns the exit status
// of the process: 0 when the container ended or was undone, 1 when the daemon could not be
// understood.
int shim_main(int argc, char** argv);

}  // namespace gantry::shim
