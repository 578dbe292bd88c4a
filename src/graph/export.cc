#include "graph/export.h"

#include <map>
#include <set>

#include "base/clock.h"
#include "base/json.h"

namespace gantry::graph {
namespace {

struct Whole {
  std::vector<Node> nodes;
  std::map<NodeId, const Node*> by_id;
  std::map<NodeId, std::vector<Edge>> out;
  std::set<NodeId> held;
};

Result<Whole> load(View& view, std::optional<NodeId> from) {
  Whole whole;
  if (from) {
    whole.nodes = TRY(view.closure(*from));
  } else {
    constexpr KindSet kAll = {NodeKind::blob,   NodeKind::layer,   NodeKind::image,
                              NodeKind::index,  NodeKind::tag,     NodeKind::container,
                              NodeKind::volume, NodeKind::network, NodeKind::build_record,
                              NodeKind::lease};
    whole.nodes = TRY(view.roots(kAll));
  }
  for (const Node& node : whole.nodes) whole.by_id[node.id] = &node;
  for (const Node& node : whole.nodes) {
    std::vector<Edge> edges = TRY(view.out(node.id));
    for (const Edge& edge : edges) whole.held.insert(edge.to);
    if (!edges.empty()) whole.out[node.id] = std::move(edges);
  }
  return whole;
}

// Digests and ids are cut as Docker cuts them.
std::string label_of(const Node& node) {
  std::string key = node.key;
  if (key.starts_with("sha256:") && key.size() == 71) key = key.substr(7, 12);
  if (key.size() == 64 && key.find_first_not_of("0123456789abcdef") == std::string::npos)
    key.resize(12);
  return fmt::format("{} {}", to_string(node.kind), key);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string to_dot(const Whole& whole) {
  std::string out = "digraph gantry {\n  rankdir=LR;\n  node [shape=box];\n";
  for (const Node& node : whole.nodes)
    out += fmt::format("  n{} [label={}];\n", node.id, quoted(label_of(node)));
  for (const auto& [id, edges] : whole.out)
    for (const Edge& edge : edges)
      out += fmt::format("  n{} -> n{} [label={}];\n", edge.from, edge.to,
                         quoted(std::string(to_string(edge.kind))));
  return out + "}\n";
}

std::string to_json(const Whole& whole) {
  json::array nodes, edges;
  auto text = [](std::string_view view) { return json::value(boost::json::string(view)); };
  for (const Node& node : whole.nodes) {
    json::object object;
    object["Id"] = node.id;
    object["Kind"] = text(to_string(node.kind));
    object["Key"] = text(node.key);
    object["Size"] = node.size;
    object["Created"] = text(format_time(node.created_at));
    nodes.push_back(std::move(object));
  }
  for (const auto& [id, list] : whole.out)
    for (const Edge& edge : list) {
      json::object object;
      object["From"] = edge.from;
      object["Kind"] = text(to_string(edge.kind));
      object["To"] = edge.to;
      edges.push_back(std::move(object));
    }
  json::object all;
  all["Nodes"] = std::move(nodes);
  all["Edges"] = std::move(edges);
  return json::pretty(all) + "\n";
}

class Tree {
 public:
  explicit Tree(const Whole& whole) : whole_(whole) {}

  std::string draw(std::optional<NodeId> from) {
    if (from) {
      if (auto top = whole_.by_id.find(*from); top != whole_.by_id.end())
        line(*top->second, "", "");
      return std::move(out_);
    }
    for (const Node& node : whole_.nodes)
      if (kRoots.contains(node.kind)) line(node, "", "");
    bool heading = false;
    for (const Node& node : whole_.nodes) {
      if (kRoots.contains(node.kind) || whole_.held.contains(node.id)) continue;
      if (!heading) out_ += "(held by nothing)\n";
      heading = true;
      line(node, "", "");
    }
    return std::move(out_);
  }

 private:
  // Depth is that of the graph (a layer's chain of parents: at most 128 in an image).
  void line(const Node& node, const std::string& indent, std::string_view edge) {
    bool again = !shown_.insert(node.id).second;
    auto below = whole_.out.find(node.id);
    out_ += indent;
    if (!edge.empty()) out_ += fmt::format("{}: ", edge);
    out_ += label_of(node);
    if (node.size > 0) out_ += fmt::format(" ({} bytes)", node.size);
    if (again && below != whole_.out.end()) out_ += " …";
    out_ += '\n';
    if (again || below == whole_.out.end()) return;
    for (const Edge& next : below->second)
      if (auto target = whole_.by_id.find(next.to); target != whole_.by_id.end())
        line(*target->second, indent + "  ", to_string(next.kind));
  }

  const Whole& whole_;
  std::set<NodeId> shown_;
  std::string out_;
};

}  // namespace

Result<Format> parse_format(std::string_view word) {
  if (word == "dot") return Format::dot;
  if (word == "json") return Format::json;
  if (word == "tree") return Format::tree;
  return invalid("unknown format \"{}\": dot, json or tree", word);
}

Result<std::string> show(View& view, Format format, std::optional<NodeId> from) {
  Whole whole = TRY(load(view, from));
  switch (format) {
    case Format::dot:
      return to_dot(whole);
    case Format::json:
      return to_json(whole);
    case Format::tree:
      break;
  }
  return Tree(whole).draw(from);
}

std::string to_text(const Chain& chain) {
  std::string out;
  for (const Chain::Step& step : chain.steps) {
    out += fmt::format("{} {}", to_string(step.node.kind), step.node.key);
    if (step.edge) out += fmt::format(" -{}-> ", to_string(*step.edge));
  }
  return out;
}

}  // namespace gantry::graph
