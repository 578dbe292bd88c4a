// Rows of the node table as nodes. Private to this room.
#pragma once

#include <vector>

#include "graph/graph.h"

// The columns every query for nodes selects, in the order of Node.
#define GANTRY_NODE_COLUMNS "id, kind, key, data, size, created_at, used_at"

namespace gantry::graph {

// The node in the row that `row` stands on; it selected GANTRY_NODE_COLUMNS.
inline Node node_of(const Statement& row) {
  return {row.integer(0), static_cast<NodeKind>(row.integer(1)),
          row.string(2),  row.string(3),
          row.integer(4), row.integer(5),
          row.integer(6)};
}

inline Result<std::vector<Node>> all_nodes(Statement statement) {
  std::vector<Node> nodes;
  while (TRY(statement.step())) nodes.push_back(node_of(statement));
  return nodes;
}

}  // namespace gantry::graph
