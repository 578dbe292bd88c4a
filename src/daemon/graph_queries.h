// What the graph tells people: what something is, why it is on the disk, what holds everything.
// Reads only; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "graph/graph.h"

namespace gantry::daemon {

class Daemon;

// The node that a user means, in this order: "KIND:KEY" (a beginning of the key is enough), a path
// below the data root, a container by name or id, an image by name or id, a volume, a network, and
// the beginning of a digest or of a chain id. not_found: "No such object: x"; `invalid` when it is
// ambiguous.
Result<graph::Node> find_object(Daemon& daemon, std::string_view text);

// {"Node": {…}, "Chains": [[{"Kind", "Key", "Name", "Edge"}, …], …], "More": bool}: each chain from
// a root down to the node, shortest first, at most `limit`. No chain: nothing holds it.
Result<json::object> why(Daemon& daemon, std::string_view object, size_t limit);

// An array of {"Kind", "Key", "Name", "Nodes", "Size", "Created"}, by kind and key: what begins a
// chain, how many nodes it holds, and their bytes on disk (what several roots hold is counted for
// each).
Result<json::array> graph_roots(Daemon& daemon);

// The whole graph, or what `object` holds ("": all), as `format` says: dot, json or tree.
Result<std::string> show_graph(Daemon& daemon, std::string_view format, std::string_view object);

}  // namespace gantry::daemon
