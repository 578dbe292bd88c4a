#include <fnmatch.h>

#include <algorithm>

#include "base/clock.h"
#include "image/local_store.h"

namespace gantry::image {

using graph::EdgeKind;
using graph::Node;
using graph::NodeKind;

namespace {

int64_t seconds_of(const std::string& time) {
  Result<int64_t> ns = parse_time(time);
  return ns ? *ns / 1'000'000'000 : 0;
}

std::vector<std::string> familiar(const std::vector<Reference>& names) {
  std::vector<std::string> out;
  for (const Reference& name : names)
    if (!name.tag().empty()) out.push_back(name.familiar());
  return out;
}

std::vector<std::string> digests(const std::vector<Reference>& names) {
  std::vector<std::string> out;
  for (const Reference& name : names)
    if (!name.digest().empty()) out.push_back(name.familiar());
  return out;
}

// Go's path.Match, as reference.FamiliarMatch uses it: the whole name or the name without its tag.
bool matches_reference(const std::string& pattern, const Reference& name) {
  return ::fnmatch(pattern.c_str(), name.familiar().c_str(), FNM_PATHNAME) == 0 ||
         ::fnmatch(pattern.c_str(), name.familiar_name().c_str(), FNM_PATHNAME) == 0;
}

bool has_label(const std::map<std::string, std::string>& labels, const std::string& wanted) {
  size_t equals = wanted.find('=');
  auto found = labels.find(wanted.substr(0, equals));
  return found != labels.end() &&
         (equals == std::string::npos || found->second == wanted.substr(equals + 1));
}

// A point in time as the API's filters give it: seconds since the epoch, RFC 3339, or a duration
// back from now ("10m", "1h30m").
Result<int64_t> parse_moment(const std::string& text) {
  bool digits = !text.empty() && text.find_first_not_of("0123456789.") == std::string::npos;
  if (digits && text.size() < 18) return static_cast<int64_t>(std::stod(text));
  if (Result<int64_t> time = parse_time(text)) return *time / 1'000'000'000;
  int64_t seconds = 0;
  int64_t number = 0;
  bool any = false;
  for (char c : text) {
    if (c >= '0' && c <= '9' && number < 1'000'000'000) {
      number = number * 10 + (c - '0');
    } else if (c == 'h' || c == 'm' || c == 's') {
      seconds += number * (c == 'h' ? 3600 : c == 'm' ? 60 : 1);
      number = 0;
      any = true;
    } else {
      return invalid("invalid filter 'until={}'", text);
    }
  }
  if (!any || number != 0) return invalid("invalid filter 'until={}'", text);
  return now_ns() / 1'000'000'000 - seconds;
}

// The filters of `list`, checked and ready to be asked.
struct Selection {
  std::optional<bool> dangling;
  std::vector<std::string> labels;
  std::vector<std::string> without_labels;
  std::vector<std::string> references;
  std::optional<int64_t> before;  // ns
  std::optional<int64_t> since;
};

}  // namespace

Result<std::vector<ImageSummary>> LocalStore::list(const ListOptions& options) const {
  graph::View view = graph_.read();
  Selection selection;
  for (const auto& [key, values] : options.filters) {
    for (const std::string& value : values) {
      if (key == "dangling") {
        if (value != "true" && value != "false" && value != "1" && value != "0")
          return invalid("invalid filter 'dangling={}'", value);
        selection.dangling = value == "true" || value == "1";
      } else if (key == "label") {
        selection.labels.push_back(value);
      } else if (key == "label!") {
        selection.without_labels.push_back(value);
      } else if (key == "reference") {
        selection.references.push_back(value);
      } else if (key == "before" || key == "since") {
        Located located = TRY(locate(view, value));
        ImageRecord record = TRY(json::parse<ImageRecord>(located.node.data));
        (key == "before" ? selection.before : selection.since) =
            parse_time(record.created).value_or(0);
      } else if (key == "until") {
        int64_t moment = TRY(parse_moment(value));
        moment *= 1'000'000'000;
        selection.before = std::min(selection.before.value_or(moment), moment);
      } else {
        return invalid("invalid filter '{}'", key);
      }
    }
  }
  std::vector<Node> nodes = TRY(view.list(NodeKind::image));
  std::set<std::string> parents;
  std::vector<std::pair<Node, ImageRecord>> images;
  for (Node& node : nodes) {
    ImageRecord record = TRY(json::parse<ImageRecord>(node.data));
    if (!record.parent.empty()) parents.insert(record.parent);
    images.emplace_back(std::move(node), std::move(record));
  }
  std::vector<ImageSummary> out;
  for (const auto& [node, record] : images) {
    int64_t created = parse_time(record.created).value_or(0);
    if (selection.before && created >= *selection.before) continue;
    if (selection.since && created <= *selection.since) continue;
    auto labelled = [&](const std::string& wanted) { return has_label(record.labels, wanted); };
    if (!std::all_of(selection.labels.begin(), selection.labels.end(), labelled)) continue;
    if (std::any_of(selection.without_labels.begin(), selection.without_labels.end(), labelled))
      continue;
    std::vector<Reference> names = TRY(references(view, node.id));
    bool untagged = names.empty();
    if (untagged && !options.all && parents.contains(node.key)) continue;  // an intermediate image
    if (selection.dangling && *selection.dangling != untagged) continue;
    if (!selection.references.empty()) {
      std::erase_if(names, [&](const Reference& name) {
        return std::none_of(selection.references.begin(), selection.references.end(),
                            [&](const std::string& p) { return matches_reference(p, name); });
      });
      if (names.empty()) continue;
    }
    ImageSummary summary;
    summary.id = node.key;
    summary.parent_id = record.parent;
    summary.repo_tags = familiar(names);
    summary.repo_digests = digests(names);
    summary.created = created / 1'000'000'000;
    summary.size = record.size;
    if (!record.labels.empty()) summary.labels = record.labels;
    if (options.shared_size) {
      summary.shared_size = 0;
      std::vector<Node> layers = TRY(layers_of(view, node.id));
      for (const Node& layer : layers) {
        std::vector<graph::Edge> holders = TRY(view.in(layer.id, EdgeKind::member));
        if (holders.size() > 1) summary.shared_size += layer.size;
      }
      std::vector<graph::Edge> users = TRY(view.in(node.id, EdgeKind::uses));
      summary.containers = static_cast<int64_t>(users.size());
    }
    out.push_back(std::move(summary));
  }
  std::stable_sort(out.begin(), out.end(), [](const ImageSummary& a, const ImageSummary& b) {
    return a.created > b.created;
  });
  return out;
}

Result<ImageInspect> LocalStore::inspect(std::string_view name) const {
  graph::View view = graph_.read();
  Located located = TRY(locate(view, name));
  ImageRecord record = TRY(json::parse<ImageRecord>(located.node.data));
  ImageConfig config = TRY(config_of(located.node));
  std::vector<Reference> names = TRY(references(view, located.node.id));
  ImageInspect out;
  out.id = located.node.key;
  out.repo_tags = familiar(names);
  out.repo_digests = digests(names);
  out.parent = record.parent;
  out.comment = config.comment;
  if (out.comment.empty() && !config.history.empty()) out.comment = config.history.back().comment;
  out.created = config.created;
  out.docker_version = config.docker_version;
  out.author = config.author;
  out.config = config.config;
  out.architecture = config.architecture;
  out.variant = config.variant;
  out.os = config.os;
  out.os_version = config.os_version;
  out.size = record.size;
  out.graph_driver.name = driver_->name();
  out.root_fs.type = "layers";
  out.root_fs.layers = config.rootfs.diff_ids;
  out.metadata.last_tag_time = format_time(record.tagged_at);
  out.origins = std::move(record.origins);
  std::vector<Node> layers = TRY(layers_of(view, located.node.id));
  std::string below;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    LayerData data = TRY(json::parse<LayerData>(layer->data));
    std::string path =
        fmt::format("{}/{}/{}/diff", driver_->data_root(), driver_->name(), data.directory);
    if (layer == layers.rbegin()) {
      out.graph_driver.data[driver_->name() == "overlay2" ? "UpperDir" : "Dir"] = path;
    } else {
      below += (below.empty() ? "" : ":") + path;
    }
  }
  if (driver_->name() == "overlay2" && !below.empty()) out.graph_driver.data["LowerDir"] = below;
  return out;
}

Result<std::vector<HistoryItem>> LocalStore::history(std::string_view name) const {
  graph::View view = graph_.read();
  Located located = TRY(locate(view, name));
  ImageConfig config = TRY(config_of(located.node));
  std::vector<Node> layers = TRY(layers_of(view, located.node.id));
  std::vector<HistoryItem> items;
  size_t layer = 0;
  for (const HistoryEntry& entry : config.history) {
    HistoryItem item;
    item.id = "<missing>";
    item.created = seconds_of(entry.created);
    item.created_by = entry.created_by;
    item.comment = entry.comment;
    if (!entry.empty_layer && layer < layers.size()) item.size = layers[layer++].size;
    items.push_back(std::move(item));
  }
  std::reverse(items.begin(), items.end());
  if (!items.empty()) {
    items.front().id = located.node.key;
    std::vector<Reference> names = TRY(references(view, located.node.id));
    items.front().tags = familiar(names);
  }
  return items;
}

}  // namespace gantry::image
