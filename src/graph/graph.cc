// Writes.
#include "graph/graph.h"

#include "base/clock.h"

namespace gantry::graph {
namespace {

Result<NodeId> only_id(Statement statement) {
  if (!TRY(statement.step())) return internal("the database gave no id");
  NodeId id = statement.integer(0);
  TRY(statement.run());
  return id;
}

std::string_view data_or_empty_object(const std::string& data) {
  return data.empty() ? std::string_view("{}") : std::string_view(data);
}

}  // namespace

Result<NodeId> Graph::put(Transaction& tx, const Node& node) const {
  int64_t now = now_ns();
  Statement statement = TRY(tx.connection().query(
      "INSERT INTO node(kind, key, data, size, created_at, used_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6) "
      "ON CONFLICT(kind, key) DO UPDATE SET data=excluded.data, size=excluded.size, "
      "used_at=excluded.used_at RETURNING id",
      node.kind, node.key, data_or_empty_object(node.data), node.size,
      node.created_at ? node.created_at : now, node.used_at ? node.used_at : now));
  return only_id(std::move(statement));
}

Result<NodeId> Graph::insert(Transaction& tx, const Node& node) const {
  int64_t now = now_ns();
  Status inserted = tx.connection().execute(
      "INSERT INTO node(kind, key, data, size, created_at, used_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
      node.kind, node.key, data_or_empty_object(node.data), node.size,
      node.created_at ? node.created_at : now, node.used_at ? node.used_at : now);
  if (!inserted) {
    if (inserted.error().kind() != ErrorKind::conflict) return std::move(inserted).error();
    return conflict("{} {} exists already", to_string(node.kind), node.key);
  }
  return tx.connection().last_insert_id();
}

Status Graph::set_data(Transaction& tx, NodeId id, std::string_view data) const {
  TRY(tx.connection().execute("UPDATE node SET data=?2 WHERE id=?1", id, data));
  if (tx.connection().changes() == 0) return not_found("no node {}", id);
  return {};
}

Status Graph::touch(Transaction& tx, NodeId id) const {
  return tx.connection().execute("UPDATE node SET used_at=?2 WHERE id=?1", id, now_ns());
}

Status Graph::remove(Transaction& tx, NodeId id) const {
  Status removed = tx.connection().execute("DELETE FROM node WHERE id=?1", id);
  if (removed || removed.error().kind() != ErrorKind::conflict) return removed;
  View view = read(tx);
  Node node = TRY(view.get(id));
  std::vector<Edge> holders = TRY(view.in(id));
  if (holders.empty()) return removed;
  Node holder = TRY(view.get(holders.front().from));
  return conflict("{} {} is held by {} {}", to_string(node.kind), node.key, to_string(holder.kind),
                  holder.key);
}

Status Graph::link(Transaction& tx, NodeId from, EdgeKind kind, NodeId to, int64_t position) const {
  Status linked = tx.connection().execute(
      "INSERT INTO edge(src, kind, position, dst) VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
      from, kind, position, to);
  if (!linked && linked.error().kind() == ErrorKind::conflict)
    return not_found("edge {} from node {} to node {}: no such node", to_string(kind), from, to);
  return linked;
}

Status Graph::unlink(Transaction& tx, NodeId from, EdgeKind kind, NodeId to) const {
  return tx.connection().execute("DELETE FROM edge WHERE src=?1 AND kind=?2 AND dst=?3", from, kind,
                                 to);
}

Status Graph::unlink_all(Transaction& tx, NodeId from, EdgeKind kind) const {
  return tx.connection().execute("DELETE FROM edge WHERE src=?1 AND kind=?2", from, kind);
}

Status Graph::claim_name(Transaction& tx, NodeKind kind, std::string_view name, NodeId node) const {
  Connection& connection = tx.connection();
  TRY(connection.execute(
      "INSERT INTO name(kind, name, node) VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING", kind, name,
      node));
  if (connection.changes() == 1) return {};
  Node holder = TRY(read(tx).get_by_name(kind, name));
  if (holder.id == node) return {};
  return Error(ErrorKind::conflict, holder.key);
}

Status Graph::rename(Transaction& tx, NodeKind kind, std::string_view from,
                     std::string_view to) const {
  Node node = TRY(read(tx).get_by_name(kind, from));
  TRY(claim_name(tx, kind, to, node.id));
  if (from == to) return {};
  return release_name(tx, kind, from);
}

Status Graph::release_name(Transaction& tx, NodeKind kind, std::string_view name) const {
  return tx.connection().execute("DELETE FROM name WHERE kind=?1 AND name=?2", kind, name);
}

Status Graph::set_setting(Transaction& tx, std::string_view key, std::string_view value) const {
  return tx.connection().execute(
      "INSERT INTO setting(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET "
      "value=excluded.value",
      key, value);
}

}  // namespace gantry::graph
