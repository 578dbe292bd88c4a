#include "daemon/log_config.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/units.h"

namespace gantry::daemon {
namespace {

constexpr std::array<std::string_view, 3> kDrivers = {"json-file", "local", "none"};
constexpr std::array<std::string_view, 7> kOptions = {
    "max-size", "max-file", "compress", "labels", "labels-regex", "env", "tag"};

std::string option(const api::LogConfig& config, const std::string& key) {
  auto found = config.Config.find(key);
  return found == config.Config.end() ? "" : found->second;
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at < text.size()) {
    size_t comma = std::min(text.find(',', at), text.size());
    if (comma > at) out.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return out;
}

}  // namespace

Status check_log_config(const api::LogConfig& config) {
  if (std::find(kDrivers.begin(), kDrivers.end(), config.Type) == kDrivers.end())
    return invalid("logger: no log driver named '{}' is registered", config.Type);
  for (const auto& [key, value] : config.Config) {
    if (config.Type == "none" || std::find(kOptions.begin(), kOptions.end(), key) == kOptions.end())
      return invalid("unknown log opt '{}' for {} log driver", key, config.Type);
    if (key == "compress" && value != "true" && value != "false")
      return invalid("invalid value for log opt 'compress': {}", value);
    if (key == "compress" && value == "true" && config.Type == "json-file")
      return unsupported("log opt 'compress' is not supported yet: rotated files stay as they are");
    if (key == "labels-regex" || key == "tag")
      return unsupported("log opt '{}' is not supported by the {} log driver of this engine", key,
                         config.Type);
  }
  std::string size = option(config, "max-size"), files = option(config, "max-file");
  if (!size.empty() && size != "-1") TRY(parse_ram_size(size).context("max-size"));
  if (!files.empty() && (files.find_first_not_of("0123456789") != std::string::npos ||
                         files.size() > 4 || std::atoi(files.c_str()) < 1))
    return invalid("max-file cannot be less than 1 and must be a number, not '{}'", files);
  if (config.Type == "json-file" && size.empty() && !files.empty() &&
      std::atoi(files.c_str()) > 1 && config.Config.contains("max-size"))
    return invalid("max-size must be given with max-file");
  return {};
}

shim::LogConfig shim_log_config(const api::LogConfig& config, const std::string& path,
                                const api::ContainerConfig& container) {
  shim::LogConfig out;
  out.driver = config.Type;
  out.path = path;
  std::string size = option(config, "max-size"), files = option(config, "max-file");
  out.max_size = size.empty()   ? 10 << 20
                 : size == "-1" ? -1
                                : parse_ram_size(size).value_or(10 << 20);
  out.max_files = files.empty() ? 3 : std::atoi(files.c_str());
  for (const std::string& label : words(option(config, "labels")))
    if (auto found = container.Labels.find(label); found != container.Labels.end())
      out.attributes[label] = found->second;
  for (const std::string& name : words(option(config, "env")))
    for (const std::string& entry : container.Env)
      if (entry.starts_with(name + "=")) out.attributes[name] = entry.substr(name.size() + 1);
  return out;
}

}  // namespace gantry::daemon
