#include "daemon/graph_queries.h"

#include "base/clock.h"
#include "daemon/daemon.h"
#include "daemon/images.h"
#include "daemon/options.h"
#include "drivers/graph/graph_driver.h"
#include "engine/engine.h"
#include "graph/export.h"
#include "graph/graph.h"

namespace gantry::daemon {

using graph::Node;
using graph::NodeKind;

namespace {

using Found = std::optional<Node>;

// Nothing found is no error; that several are is one.
Result<Found> maybe(Result<Node> node) {
  if (node) return Found(node.release());
  if (node.error().kind() == ErrorKind::not_found) return Found();
  return std::move(node).error();
}

// Content and layers are named by digests: "sha256:" may be left out.
Result<Found> by_digest(graph::View& view, NodeKind kind, std::string_view text) {
  std::string key =
      text.starts_with("sha256:") ? std::string(text) : fmt::format("sha256:{}", text);
  return maybe(view.find_by_key_prefix(kind, key));
}

bool named_by_digest(NodeKind kind) {
  return kind == NodeKind::blob || kind == NodeKind::layer || kind == NodeKind::image ||
         kind == NodeKind::index;
}

Result<Found> by_name(graph::View& view, NodeKind kind, std::string_view text) {
  Result<Node> node = view.get_by_name(kind, text);
  if (node || node.error().kind() != ErrorKind::not_found) return maybe(std::move(node));
  return maybe(view.find_by_key_prefix(kind, text));
}

// A file or directory below the data root belongs to the node whose directory it is in.
Result<Found> by_path(Daemon& daemon, graph::View& view, std::string_view path) {
  const std::string root = daemon.options().data_root + "/";
  if (!path.starts_with(root)) return Found();
  std::vector<std::string> parts;
  for (std::string_view rest = path.substr(root.size()); !rest.empty();) {
    size_t end = std::min(rest.find('/'), rest.size());
    if (end > 0) parts.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (parts.size() < 2) return Found();
  if (parts[0] == "containers") return maybe(view.get(NodeKind::container, parts[1]));
  if (parts[0] == "volumes") return maybe(view.get(NodeKind::volume, parts[1]));
  if (parts[0] == "content" && parts.size() >= 5)  // content/blobs/sha256/xx/HEX
    return maybe(view.get(NodeKind::blob, "sha256:" + parts[4]));
  if (parts[0] != daemon.graph_driver().name()) return Found();
  if (parts[1] == "containers")
    return parts.size() < 3 ? Result<Found>(Found())
                            : maybe(view.get(NodeKind::container, parts[2]));
  if (parts[1] == "layers")
    return parts.size() < 3 ? Result<Found>(Found())
                            : maybe(view.get(NodeKind::layer, "sha256:" + parts[2]));
  Result<engine::ResourceRow> row = daemon.engine().resources().get(drivers::kLayerKind, parts[1]);
  if (!row || !row->owner.starts_with("layer:")) return Found();
  return maybe(view.get(NodeKind::layer, row->owner.substr(6)));
}

Result<std::string> name_of(graph::View& view, const Node& node) {
  std::vector<std::string> names = TRY(view.names(node.id));
  if (names.empty() && node.kind == NodeKind::image) {
    std::vector<Node> tags = TRY(view.holders(node.id, graph::EdgeKind::names));
    for (const Node& tag : tags) names.push_back(tag.key);
  }
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

Result<json::object> describe(graph::View& view, const Node& node) {
  json::object out;
  out["Kind"] = to_string(node.kind);
  out["Key"] = node.key;
  out["Name"] = TRY(name_of(view, node));
  out["Size"] = node.size;
  out["Created"] = format_time(node.created_at);
  return out;
}

}  // namespace

Result<Node> find_object(Daemon& daemon, std::string_view text) {
  graph::View view = daemon.graph().read();
  size_t colon = text.find(':');
  if (colon != std::string_view::npos) {
    Result<NodeKind> kind = graph::node_kind_from(text.substr(0, colon));
    if (kind) {
      std::string_view key = text.substr(colon + 1);
      Found found =
          TRY(named_by_digest(*kind) ? by_digest(view, *kind, key) : by_name(view, *kind, key));
      if (found) return std::move(*found);  // else it may be an image of that name
    }
  }
  if (text.starts_with('/') && text.starts_with(daemon.options().data_root)) {
    Found found = TRY(by_path(daemon, view, text));
    if (found) return std::move(*found);
    return not_found("{}: nothing in the graph accounts for this path", text);
  }
  std::string_view name = text.starts_with('/') ? text.substr(1) : text;
  if (Found found = TRY(by_name(view, NodeKind::container, name))) return std::move(*found);
  Result<image::Image> image = daemon.images().store().find(text);
  if (image) return view.get(NodeKind::image, image->id.text());
  if (Found found = TRY(maybe(view.get(NodeKind::volume, text)))) return std::move(*found);
  if (Found found = TRY(by_name(view, NodeKind::network, text))) return std::move(*found);
  for (NodeKind kind : {NodeKind::layer, NodeKind::blob, NodeKind::index})
    if (Found found = TRY(by_digest(view, kind, text))) return std::move(*found);
  for (NodeKind kind : {NodeKind::build_record, NodeKind::lease, NodeKind::tag})
    if (Found found = TRY(maybe(view.find_by_key_prefix(kind, text)))) return std::move(*found);
  return not_found("No such object: {}", text);
}

Result<json::object> why(Daemon& daemon, std::string_view object, size_t limit) {
  Node node = TRY(find_object(daemon, object));
  graph::View view = daemon.graph().read();
  // One more than is shown tells whether there are more.
  std::vector<graph::Chain> chains = TRY(view.why(node.id, graph::kRoots, limit + 1));
  bool more = chains.size() > limit;
  if (more) chains.resize(limit);
  json::array shown;
  for (const graph::Chain& chain : chains) {
    json::array steps;
    for (const graph::Chain::Step& step : chain.steps) {
      json::object one = TRY(describe(view, step.node));
      if (step.edge) one["Edge"] = to_string(*step.edge);
      steps.push_back(std::move(one));
    }
    shown.push_back(std::move(steps));
  }
  json::object out;
  out["Node"] = TRY(describe(view, node));
  out["Chains"] = std::move(shown);
  out["More"] = more;
  return out;
}

Result<json::array> graph_roots(Daemon& daemon) {
  graph::View view = daemon.graph().read();
  std::vector<Node> roots = TRY(view.roots());
  json::array out;
  for (const Node& root : roots) {
    json::object one = TRY(describe(view, root));
    std::vector<Node> held = TRY(view.closure(root.id));
    int64_t size = 0;
    for (const Node& node : held) size += node.size;
    one["Nodes"] = static_cast<int64_t>(held.size());
    one["Size"] = size;
    out.push_back(std::move(one));
  }
  return out;
}

Result<std::string> show_graph(Daemon& daemon, std::string_view format, std::string_view object) {
  graph::Format wanted = TRY(graph::parse_format(format));
  std::optional<graph::NodeId> from;
  if (!object.empty()) {
    Node node = TRY(find_object(daemon, object));
    from = node.id;
  }
  graph::View view = daemon.graph().read();
  return graph::show(view, wanted, from);
}

}  // namespace gantry::daemon
