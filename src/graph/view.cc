// Reads of single nodes, edges and names.
#include "graph/graph.h"
#include "graph/rows.h"

namespace gantry::graph {
namespace {

Result<std::vector<Edge>> all_edges(Statement statement) {
  std::vector<Edge> edges;
  while (TRY(statement.step()))
    edges.push_back({statement.integer(0), static_cast<EdgeKind>(statement.integer(1)),
                     statement.integer(2), statement.integer(3)});
  return edges;
}

// The least text greater than every text that begins with `prefix`; "" when there is none.
std::string after_prefix(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) ++prefix.back();
  return prefix;
}

}  // namespace

View::View(Result<Snapshot> snapshot) {
  if (snapshot)
    snapshot_.emplace(snapshot.release());
  else
    error_ = std::move(snapshot).error();
}

Result<Connection*> View::connection() {
  if (error_) return Error(*error_);
  return snapshot_ ? &snapshot_->connection() : connection_;
}

Result<Node> View::get(NodeKind kind, std::string_view key) {
  Connection* db = TRY(connection());
  Statement row = TRY(
      db->query("SELECT " GANTRY_NODE_COLUMNS " FROM node WHERE kind=?1 AND key=?2", kind, key));
  if (!TRY(row.step())) return not_found("no such {}: {}", to_string(kind), key);
  return node_of(row);
}

Result<Node> View::get(NodeId id) {
  Connection* db = TRY(connection());
  Statement row = TRY(db->query("SELECT " GANTRY_NODE_COLUMNS " FROM node WHERE id=?1", id));
  if (!TRY(row.step())) return not_found("no node {}", id);
  return node_of(row);
}

Result<bool> View::contains(NodeKind kind, std::string_view key) {
  Connection* db = TRY(connection());
  Statement row = TRY(db->query("SELECT 1 FROM node WHERE kind=?1 AND key=?2", kind, key));
  return row.step();
}

Result<Node> View::find_by_key_prefix(NodeKind kind, std::string_view prefix) {
  Connection* db = TRY(connection());
  if (prefix.empty()) return not_found("no such {}: ", to_string(kind));
  Statement row =
      TRY(db->query("SELECT " GANTRY_NODE_COLUMNS
                    " FROM node WHERE kind=?1 AND key>=?2 AND key<?3 ORDER BY key LIMIT 2",
                    kind, prefix, after_prefix(std::string(prefix))));
  std::vector<Node> found = TRY(all_nodes(std::move(row)));
  if (found.empty()) return not_found("no such {}: {}", to_string(kind), prefix);
  // The key itself sorts before every longer one.
  if (found.size() > 1 && found[0].key != prefix)
    return conflict("multiple IDs found with provided prefix: {}", prefix);
  return std::move(found[0]);
}

Result<std::vector<Node>> View::list(NodeKind kind) {
  Connection* db = TRY(connection());
  Statement rows = TRY(db->query(
      "SELECT " GANTRY_NODE_COLUMNS " FROM node WHERE kind=?1 ORDER BY created_at, id", kind));
  return all_nodes(std::move(rows));
}

Result<int64_t> View::count(NodeKind kind) {
  Connection* db = TRY(connection());
  Statement row = TRY(db->query("SELECT count(*) FROM node WHERE kind=?1", kind));
  TRY(row.step());
  return row.integer(0);
}

Result<std::vector<Edge>> View::out(NodeId from, std::optional<EdgeKind> kind) {
  Connection* db = TRY(connection());
  Statement rows =
      TRY(db->query("SELECT src, kind, dst, position FROM edge WHERE src=?1 AND (?2=0 OR kind=?2) "
                    "ORDER BY kind, position",
                    from, kind ? static_cast<int64_t>(*kind) : 0));
  return all_edges(std::move(rows));
}

Result<std::vector<Edge>> View::in(NodeId to, std::optional<EdgeKind> kind) {
  Connection* db = TRY(connection());
  Statement rows =
      TRY(db->query("SELECT src, kind, dst, position FROM edge WHERE dst=?1 AND (?2=0 OR kind=?2) "
                    "ORDER BY kind, src",
                    to, kind ? static_cast<int64_t>(*kind) : 0));
  return all_edges(std::move(rows));
}

Result<std::vector<Node>> View::targets(NodeId from, EdgeKind kind) {
  Connection* db = TRY(connection());
  Statement rows = TRY(
      db->query("SELECT n.id, n.kind, n.key, n.data, n.size, n.created_at, n.used_at FROM edge e "
                "JOIN node n ON n.id=e.dst WHERE e.src=?1 AND e.kind=?2 ORDER BY e.position",
                from, kind));
  return all_nodes(std::move(rows));
}

Result<std::vector<Node>> View::holders(NodeId to, EdgeKind kind) {
  Connection* db = TRY(connection());
  Statement rows = TRY(db->query(
      "SELECT DISTINCT n.id, n.kind, n.key, n.data, n.size, n.created_at, n.used_at FROM edge e "
      "JOIN node n ON n.id=e.src WHERE e.dst=?1 AND e.kind=?2 ORDER BY n.id",
      to, kind));
  return all_nodes(std::move(rows));
}

Result<Node> View::get_by_name(NodeKind kind, std::string_view name) {
  Connection* db = TRY(connection());
  Statement row = TRY(
      db->query("SELECT n.id, n.kind, n.key, n.data, n.size, n.created_at, n.used_at FROM name m "
                "JOIN node n ON n.id=m.node WHERE m.kind=?1 AND m.name=?2",
                kind, name));
  if (!TRY(row.step())) return not_found("no such {}: {}", to_string(kind), name);
  return node_of(row);
}

Result<std::vector<std::string>> View::names(NodeId node) {
  Connection* db = TRY(connection());
  Statement rows = TRY(db->query("SELECT name FROM name WHERE node=?1 ORDER BY name", node));
  std::vector<std::string> names;
  while (TRY(rows.step())) names.push_back(rows.string(0));
  return names;
}

Result<std::vector<std::pair<std::string, NodeId>>> View::all_names(NodeKind kind) {
  Connection* db = TRY(connection());
  Statement rows = TRY(db->query("SELECT name, node FROM name WHERE kind=?1 ORDER BY name", kind));
  std::vector<std::pair<std::string, NodeId>> names;
  while (TRY(rows.step())) names.emplace_back(rows.string(0), rows.integer(1));
  return names;
}

Result<std::string> View::setting(std::string_view key) {
  Connection* db = TRY(connection());
  Statement row = TRY(db->query("SELECT value FROM setting WHERE key=?1", key));
  if (!TRY(row.step())) return std::string();
  return row.string(0);
}

}  // namespace gantry::graph
