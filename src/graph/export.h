// The graph for people: as Graphviz, JSON and a tree of text.
#pragma once

#include <string>

#include "base/result.h"
#include "graph/graph.h"

namespace gantry::graph {

enum class Format { dot, json, tree };
Result<Format> parse_format(std::string_view word);  // "dot", "json", "tree"

// The whole graph, or what `from` holds. A tree begins at the roots and names what nothing holds
// last; a node that was shown in full above is followed by "…" instead of what it holds.
Result<std::string> show(View& view, Format format, std::optional<NodeId> from = {});

// "tag docker.io/library/busybox:latest -names-> image sha256:… -member-> layer sha256:…"
std::string to_text(const Chain& chain);

}  // namespace gantry::graph
