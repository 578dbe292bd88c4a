// Whether the calling thread has a transaction open on any database: what waits for something else
// asks, in builds that check themselves.
#pragma once

namespace gantry::graph {

bool in_transaction();

}  // namespace gantry::graph
