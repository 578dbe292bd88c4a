// Requests about a container that last: wait, logs, stats, attach. Rows of the table in
// routes/containers.cc.
#pragma once

#include "server/call.h"

namespace gantry::server {

Status container_wait(Call& call);
Status container_logs(Call& call);
Status container_stats(Call& call);
Status container_attach(Call& call);
Status container_attach_websocket(Call& call);

// The content type of a stream of a container or an exec: clients before 1.42 know one only.
std::string_view stream_type(const Call& call, bool terminal);

}  // namespace gantry::server
