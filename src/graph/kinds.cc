// The words for node and edge kinds.
#include <algorithm>
#include <array>
#include <utility>

#include "graph/graph.h"

namespace gantry::graph {
namespace {

constexpr std::pair<NodeKind, std::string_view> kNodeWords[] = {
    {NodeKind::blob, "blob"},
    {NodeKind::layer, "layer"},
    {NodeKind::image, "image"},
    {NodeKind::index, "index"},
    {NodeKind::tag, "tag"},
    {NodeKind::container, "container"},
    {NodeKind::volume, "volume"},
    {NodeKind::network, "network"},
    {NodeKind::build_record, "build_record"},
    {NodeKind::lease, "lease"}};

constexpr std::pair<EdgeKind, std::string_view> kEdgeWords[] = {
    {EdgeKind::content_of, "content_of"}, {EdgeKind::parent, "parent"},
    {EdgeKind::config, "config"},         {EdgeKind::member, "member"},
    {EdgeKind::names, "names"},           {EdgeKind::uses, "uses"},
    {EdgeKind::built_from, "built_from"}};

}  // namespace

std::string_view to_string(NodeKind kind) {
  for (const auto& [value, word] : kNodeWords)
    if (value == kind) return word;
  return "unknown";
}

std::string_view to_string(EdgeKind kind) {
  for (const auto& [value, word] : kEdgeWords)
    if (value == kind) return word;
  return "unknown";
}

Result<NodeKind> node_kind_from(std::string_view word) {
  for (const auto& [value, known] : kNodeWords)
    if (known == word) return NodeKind(value);
  return invalid("unknown kind of node \"{}\"", word);
}

}  // namespace gantry::graph
