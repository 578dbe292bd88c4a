#include "image/changes.h"

#include <algorithm>
#include <optional>

namespace gantry::image {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

std::string_view trim(std::string_view text) {
  size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// Words as a shell would split them: quotes and backslashes are taken away.
Result<std::vector<std::string>> shell_words(std::string_view text) {
  std::vector<std::string> words;
  std::optional<std::string> word;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      if (!word) word.emplace();
      *word += text[++i];
    } else if (quote) {
      c == quote ? void(quote = 0) : void(*word += c);
    } else if (c == '"' || c == '\'') {
      quote = c;
      if (!word) word.emplace();
    } else if (kBlank.find(c) != std::string_view::npos) {
      if (word) words.push_back(std::move(*word));
      word.reset();
    } else {
      if (!word) word.emplace();
      *word += c;
    }
  }
  if (quote) return invalid("unterminated quote");
  if (word) words.push_back(std::move(*word));
  return words;
}

std::optional<std::vector<std::string>> json_words(std::string_view text) {
  if (!text.starts_with('[')) return std::nullopt;
  auto parsed = json::parse<std::vector<std::string>>(text);
  if (!parsed) return std::nullopt;
  return parsed.release();
}

// The JSON form as it is, anything else for a shell.
std::vector<std::string> command(std::string_view text) {
  if (auto words = json_words(text)) return *words;
  return {"/bin/sh", "-c", std::string(text)};
}

// NAME=value …, or the old form NAME value.
Result<std::vector<std::pair<std::string, std::string>>> pairs(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  size_t blank = text.find_first_of(kBlank);
  size_t equals = text.find('=');
  if (equals == std::string_view::npos || (blank != std::string_view::npos && blank < equals)) {
    if (blank == std::string_view::npos) return invalid("must have two arguments");
    out.emplace_back(text.substr(0, blank), trim(text.substr(blank)));
    return out;
  }
  std::vector<std::string> words = TRY(shell_words(text));
  for (const std::string& word : words) {
    size_t at = word.find('=');
    if (at == std::string::npos || at == 0) return invalid("can't find = in \"{}\"", word);
    out.emplace_back(word.substr(0, at), word.substr(at + 1));
  }
  return out;
}

Status set_env(ContainerConfig& config, std::string_view text) {
  auto variables = TRY(pairs(text));
  for (const auto& [name, value] : variables) {
    std::string prefix = name + "=";
    auto known = std::find_if(config.env.begin(), config.env.end(),
                              [&](const std::string& entry) { return entry.starts_with(prefix); });
    if (known == config.env.end()) known = config.env.insert(config.env.end(), "");
    *known = prefix + value;
  }
  return {};
}

Status set_labels(ContainerConfig& config, std::string_view text) {
  auto labels = TRY(pairs(text));
  for (const auto& [name, value] : labels) config.labels[name] = value;
  return {};
}

Status set_ports(ContainerConfig& config, std::string_view text) {
  std::vector<std::string> words = TRY(shell_words(text));
  for (const std::string& word : words) {
    size_t slash = word.find('/');
    std::string protocol = slash == std::string::npos ? "tcp" : word.substr(slash + 1);
    std::string range = word.substr(0, slash);
    size_t dash = range.find('-');
    auto number = [&](const std::string& digits) -> Result<int> {
      bool good =
          !digits.empty() && digits.size() <= 5 &&
          std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
      int port = good ? std::stoi(digits) : -1;
      if (port < 0 || port > 65535) return invalid("invalid containerPort: {}", word);
      return port;
    };
    int first = TRY(number(range.substr(0, dash)));
    int last = dash == std::string::npos ? first : TRY(number(range.substr(dash + 1)));
    if (last < first) return invalid("invalid range format for containerPort: {}", word);
    if (protocol != "tcp" && protocol != "udp" && protocol != "sctp")
      return invalid("invalid proto: {}", protocol);
    for (int port = first; port <= last; ++port)
      config.exposed_ports[fmt::format("{}/{}", port, protocol)] = {};
  }
  return {};
}

Status set_volumes(ContainerConfig& config, std::string_view text) {
  std::optional<std::vector<std::string>> words = json_words(text);
  if (!words) words = TRY(shell_words(text));
  for (const std::string& path : *words) {
    if (path.empty()) return invalid("VOLUME specified can not be an empty string");
    config.volumes[path] = {};
  }
  return {};
}

Status set_health(ContainerConfig& config, std::string_view text) {
  size_t blank = std::min(text.find_first_of(kBlank), text.size());
  std::string_view kind = text.substr(0, blank);
  std::string_view rest = trim(text.substr(blank));
  HealthConfig health;
  if (kind == "NONE") {
    health.test = {"NONE"};
  } else if (kind == "CMD" && !rest.empty()) {
    if (auto words = json_words(rest)) {
      health.test = *words;
      health.test.insert(health.test.begin(), "CMD");
    } else {
      health.test = {"CMD-SHELL", std::string(rest)};
    }
  } else {
    return invalid("must be NONE or CMD and a command");
  }
  config.healthcheck = std::move(health);
  return {};
}

Status set_working_dir(ContainerConfig& config, std::string_view text) {
  std::string path(text);
  if (!path.starts_with('/'))
    path = (config.working_dir.empty() ? "" : config.working_dir) + "/" + path;
  config.working_dir = path;
  return {};
}

struct Instruction {
  std::string_view name;
  Status (*apply)(ContainerConfig&, std::string_view);
};
constexpr Instruction kInstructions[] = {
    {"CMD",
     [](ContainerConfig& config, std::string_view text) -> Status {
       config.cmd = command(text);
       return {};
     }},
    {"ENTRYPOINT",
     [](ContainerConfig& config, std::string_view text) -> Status {
       config.entrypoint = command(text);
       return {};
     }},
    {"ENV", set_env},
    {"EXPOSE", set_ports},
    {"HEALTHCHECK", set_health},
    {"LABEL", set_labels},
    {"ONBUILD",
     [](ContainerConfig& config, std::string_view text) -> Status {
       config.on_build.emplace_back(text);
       return {};
     }},
    {"STOPSIGNAL",
     [](ContainerConfig& config, std::string_view text) -> Status {
       config.stop_signal = text;
       return {};
     }},
    {"USER",
     [](ContainerConfig& config, std::string_view text) -> Status {
       config.user = text;
       return {};
     }},
    {"VOLUME", set_volumes},
    {"WORKDIR", set_working_dir},
};

}  // namespace

Status apply_changes(ContainerConfig& config, const std::vector<std::string>& changes) {
  for (const std::string& change : changes) {
    std::string_view line = trim(change);
    size_t blank = std::min(line.find_first_of(kBlank), line.size());
    std::string name(line.substr(0, blank));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    std::string_view rest = trim(line.substr(blank));
    auto found = std::find_if(std::begin(kInstructions), std::end(kInstructions),
                              [&](const Instruction& known) { return known.name == name; });
    if (found == std::end(kInstructions)) return invalid("{} is not a valid change command", name);
    if (rest.empty()) return invalid("{} requires at least one argument", name);
    TRY(found->apply(config, rest).context("{}", name));
  }
  return {};
}

}  // namespace gantry::image
