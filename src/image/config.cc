#include "image/config.h"

#include <algorithm>

namespace gantry::image {

Result<ImageConfig> ImageConfig::parse(std::string_view blob) {
  ImageConfig config = TRY(json::parse<ImageConfig>(blob).context("image configuration"));
  if (config.os.empty()) return invalid("image configuration: os is missing");
  if (!config.rootfs.type.empty() && config.rootfs.type != "layers")
    return invalid("image configuration: rootfs.type \"{}\" is not known", config.rootfs.type);
  for (const std::string& diff_id : config.rootfs.diff_ids)
    TRY(Digest::parse(diff_id).context("image configuration: rootfs.diff_ids"));
  if (!config.history.empty()) {
    auto filled = std::count_if(config.history.begin(), config.history.end(),
                                [](const HistoryEntry& entry) { return !entry.empty_layer; });
    if (static_cast<size_t>(filled) != config.rootfs.diff_ids.size())
      return invalid("image configuration: history tells of {} layers, rootfs of {}", filled,
                     config.rootfs.diff_ids.size());
  }
  return config;
}

Digest chain_id(const Digest& parent, const Digest& diff_id) {
  if (parent.empty()) return diff_id;
  return Digest::of(parent.text() + " " + diff_id.text());
}

Result<std::vector<Digest>> chain_ids(const std::vector<std::string>& diff_ids) {
  std::vector<Digest> chain;
  Digest below;
  for (const std::string& text : diff_ids) {
    Digest diff_id = TRY(Digest::parse(text));
    below = chain_id(below, diff_id);
    chain.push_back(below);
  }
  return chain;
}

}  // namespace gantry::image
