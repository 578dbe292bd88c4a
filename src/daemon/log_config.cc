#include "daemon/log_config.h"

#include <regex.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/units.h"

namespace gantry::daemon {
namespace {

// Of json-file; local has those of its file.
constexpr std::array<std::string_view, 8> kOptions = {
    "max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"};
constexpr size_t kFileOptions = 3;
constexpr std::array<std::string_view, 2> kDelivery = {"mode", "max-buffer-size"};
// What Docker's cache of a log that is sent elsewhere has.
constexpr int64_t kCacheSize = 20'000'000;
constexpr int kCacheFiles = 5;

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

bool is_remote(const api::LogConfig& config) { return drivers::is_remote_log_driver(config.Type); }

// POSIX extended: of all that the C library offers, what no subject can make it recurse with.
class Pattern {
 public:
  static Result<std::unique_ptr<Pattern>> compile(const std::string& key, const std::string& text) {
    std::unique_ptr<Pattern> pattern(new Pattern);
    int failed = ::regcomp(&pattern->regex_, text.c_str(), REG_EXTENDED | REG_NOSUB);
    if (failed == 0) {
      pattern->compiled_ = true;
      return pattern;
    }
    char why[128];
    (void)::regerror(failed, &pattern->regex_, why, sizeof why);
    return invalid("invalid value for log opt '{}': '{}' is no regular expression: {}", key, text,
                   why);
  }
  ~Pattern() {
    if (compiled_) ::regfree(&regex_);
  }
  Pattern(const Pattern&) = delete;
  bool matches(const std::string& text) const {
    return ::regexec(&regex_, text.c_str(), 0, nullptr, 0) == 0;
  }

 private:
  Pattern() = default;
  regex_t regex_ = {};
  bool compiled_ = false;
};

Status check_pattern(const api::LogConfig& config, const std::string& key) {
  if (const std::string text = option(config, key); !text.empty()) TRY(Pattern::compile(key, text));
  return {};
}

Status check_flag(const api::LogConfig& config, const std::string& key) {
  const std::string value = option(config, key);
  if (config.Config.contains(key) && value != "true" && value != "false")
    return invalid("invalid value for log opt '{}': {}", key, value);
  return {};
}

Status check_files(const std::string& key, const std::string& files) {
  if (!files.empty() && (files.find_first_not_of("0123456789") != std::string::npos ||
                         files.size() > 4 || std::atoi(files.c_str()) < 1))
    return invalid("{} cannot be less than 1 and must be a number, not '{}'", key, files);
  return {};
}

// What every driver has: moby daemon/logger/factory.go, ValidateLogOpts.
Status check_delivery(const api::LogConfig& config) {
  const std::string mode = option(config, "mode");
  if (!mode.empty() && mode != "blocking" && mode != "non-blocking")
    return invalid("logger: logging mode not supported: {}", mode);
  if (config.Config.contains("max-buffer-size")) {
    if (mode != "non-blocking")
      return invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
    TRY(parse_ram_size(option(config, "max-buffer-size"))
            .context("error parsing option max-buffer-size"));
  }
  if (!is_remote(config)) {
    // A file takes what it is given at once: there is nothing that a buffer could stand before.
    if (mode == "non-blocking")
      return unsupported(
          "log opt 'mode=non-blocking' is for drivers that send the log elsewhere: the {} driver "
          "of this engine writes to a file and waits for nobody",
          config.Type);
    return {};
  }
  TRY(check_flag(config, "cache-disabled"));
  TRY(check_flag(config, "cache-compress"));
  if (const std::string size = option(config, "cache-max-size"); !size.empty())
    TRY(parse_ram_size(size).context("cache-max-size"));
  return check_files("cache-max-file", option(config, "cache-max-file"));
}

Status check_local_options(const api::LogConfig& config) {
  const size_t known = config.Type == "none"    ? 0
                       : config.Type == "local" ? kFileOptions
                                                : kOptions.size();
  for (const auto& [key, value] : config.Config)
    if (std::find(kOptions.begin(), kOptions.begin() + known, key) == kOptions.begin() + known &&
        std::find(kDelivery.begin(), kDelivery.end(), key) == kDelivery.end())
      return invalid("unknown log opt '{}' for {} log driver", key, config.Type);
  TRY(check_flag(config, "compress"));
  std::string size = option(config, "max-size"), files = option(config, "max-file");
  if (!size.empty() && size != "-1") TRY(parse_ram_size(size).context("max-size"));
  TRY(check_files("max-file", files));
  if (config.Type == "json-file" && size.empty() && !files.empty() &&
      std::atoi(files.c_str()) > 1 && config.Config.contains("max-size"))
    return invalid("max-size must be given with max-file");
  if (option(config, "compress") == "true" && (files == "1" || size == "-1"))
    return invalid("compress cannot be true when max-file is less than 2 or max-size is not set");
  TRY(drivers::log_tag(option(config, "tag"), {}));
  return {};
}

std::string command_of(const ContainerRecord& record) {
  std::string command = record.path;
  for (const std::string& argument : record.args) command += " " + argument;
  return command;
}

std::map<std::string, std::string> log_attributes(const ContainerRecord& record) {
  const api::LogConfig& config = record.host_config.log_config;
  std::map<std::string, std::string> out;
  auto pattern_of = [&](const std::string& key) -> std::unique_ptr<Pattern> {
    const std::string text = option(config, key);
    if (text.empty()) return nullptr;
    Result<std::unique_ptr<Pattern>> pattern = Pattern::compile(key, text);  // checked before
    return pattern ? std::move(*pattern) : nullptr;
  };
  const std::vector<std::string> labels = words(option(config, "labels"));
  const std::vector<std::string> names = words(option(config, "env"));
  const auto label_pattern = pattern_of("labels-regex"), name_pattern = pattern_of("env-regex");
  auto wanted = [](const std::string& key, const std::vector<std::string>& list,
                   const std::unique_ptr<Pattern>& pattern) {
    return std::find(list.begin(), list.end(), key) != list.end() ||
           (pattern && pattern->matches(key));
  };
  for (const auto& [key, value] : record.config.Labels)
    if (wanted(key, labels, label_pattern)) out[key] = value;
  for (const std::string& entry : record.config.Env) {
    size_t equals = entry.find('=');
    if (equals == std::string::npos) continue;
    std::string name = entry.substr(0, equals);
    if (wanted(name, names, name_pattern)) out[name] = entry.substr(equals + 1);
  }
  return out;
}

}  // namespace

std::vector<std::string> log_driver_names() {
  std::vector<std::string> names = {"json-file", "local", "none"};
  for (std::string_view name : drivers::remote_log_drivers()) names.emplace_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

Status check_log_config(const api::LogConfig& config) {
  const std::vector<std::string> known = log_driver_names();
  if (std::find(known.begin(), known.end(), config.Type) == known.end())
    return invalid("logger: no log driver named '{}' is registered", config.Type);
  TRY(is_remote(config) ? drivers::check_remote_log_options(config.Type, config.Config)
                        : check_local_options(config));
  TRY(check_delivery(config));
  TRY(check_pattern(config, "labels-regex"));
  return check_pattern(config, "env-regex");
}

shim::LogConfig shim_log_config(const ContainerRecord& record) {
  const api::LogConfig& config = record.host_config.log_config;
  const bool remote = is_remote(config);
  shim::LogConfig out;
  out.driver = remote ? "local" : config.Type;
  out.path = record.log_path;
  out.numbered = remote;
  const std::string size = option(config, remote ? "cache-max-size" : "max-size");
  const std::string files = option(config, remote ? "cache-max-file" : "max-file");
  const int64_t usual = remote ? kCacheSize : 10 << 20;
  out.max_size = size.empty() ? usual : size == "-1" ? -1 : parse_ram_size(size).value_or(usual);
  out.max_files = !files.empty() ? std::atoi(files.c_str()) : remote ? kCacheFiles : 3;
  out.compress = option(config, remote ? "cache-compress" : "compress") != "false";
  if (config.Type != "json-file") return out;
  out.attributes = log_attributes(record);
  if (const std::string tag = option(config, "tag"); !tag.empty())
    out.attributes["tag"] = drivers::log_tag(tag, log_subject(record)).value_or(tag);
  return out;
}

bool is_log_readable(const api::LogConfig& config) {
  return config.Type != "none" && option(config, "cache-disabled") != "true";
}

drivers::LogSubject log_subject(const ContainerRecord& record) {
  return {record.id,          record.name,    record.image_id,       record.config.Image,
          command_of(record), record.created, log_attributes(record)};
}

}  // namespace gantry::daemon
