#include "image/changes.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include "base/units.h"

namespace gantry::image {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

std::string_view trim(std::string_view text) {
  size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string upper_case(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return out;
}

std::string lower_case(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return text;
}

// What a variable stands for in the configuration as it is so far.
std::string variable(const ContainerConfig& config, std::string_view name) {
  std::string prefix = std::string(name) + "=";
  for (const std::string& entry : config.env)
    if (entry.starts_with(prefix)) return entry.substr(prefix.size());
  return {};
}

bool of_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// $NAME, ${NAME}, ${NAME:-default} or ${NAME:+alternative} at `at`, which is moved behind it.
Result<std::string> expand(const ContainerConfig& config, std::string_view text, size_t& at) {
  size_t begin = at + 1;
  if (begin < text.size() && text[begin] == '{') {
    size_t end = text.find('}', begin);
    if (end == std::string_view::npos) return invalid("syntax error: missing '}}' in \"{}\"", text);
    std::string_view inside = text.substr(begin + 1, end - begin - 1);
    at = end + 1;
    size_t colon = std::min(inside.find(':'), inside.size());
    std::string value = variable(config, inside.substr(0, colon));
    if (colon == inside.size()) return value;
    std::string_view rest = inside.substr(colon);
    std::string word(rest.substr(std::min<size_t>(2, rest.size())));
    if (rest.starts_with(":-")) return value.empty() ? word : value;
    if (rest.starts_with(":+")) return value.empty() ? std::string() : word;
    return invalid("unsupported modifier ({}) in substitution", rest.substr(0, 2));
  }
  size_t end = begin;
  while (end < text.size() && of_name(text[end])) ++end;
  at = end;
  if (end == begin) return std::string("$");
  return variable(config, text.substr(begin, end - begin));
}

enum class Split { no, yes };

// As a shell would read it: quotes and backslashes are taken away, variables stand for their values
// but between single quotes. Split at blanks, or as one word.
Result<std::vector<std::string>> shell_words(const ContainerConfig& config, std::string_view text,
                                             Split split = Split::yes) {
  std::vector<std::string> words;
  std::optional<std::string> word;
  char quote = 0;
  for (size_t i = 0; i < text.size();) {
    char c = text[i];
    bool blank = split == Split::yes && !quote && kBlank.find(c) != std::string_view::npos;
    if (blank) {
      if (word) words.push_back(std::move(*word));
      word.reset();
      ++i;
      continue;
    }
    if (!word) word.emplace();
    if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      // Between double quotes a backslash quotes only what would mean something.
      bool kept = quote == '"' && text[i + 1] != '"' && text[i + 1] != '$' && text[i + 1] != '\\';
      if (kept) *word += c;
      *word += text[i + 1];
      i += 2;
    } else if (quote ? c == quote : (c == '"' || c == '\'')) {
      quote = quote ? 0 : c;
      ++i;
    } else if (c == '$' && quote != '\'') {
      *word += TRY(expand(config, text, i));
    } else {
      *word += c;
      ++i;
    }
  }
  if (quote)
    return invalid("unexpected end of statement while looking for matching {}-quote",
                   quote == '"' ? "double" : "single");
  if (word) words.push_back(std::move(*word));
  return words;
}

Result<std::string> shell_word(const ContainerConfig& config, std::string_view text) {
  std::vector<std::string> words = TRY(shell_words(config, text, Split::no));
  return words.empty() ? std::string() : std::move(words.front());
}

std::optional<std::vector<std::string>> json_words(std::string_view text) {
  if (!text.starts_with('[')) return std::nullopt;
  auto parsed = json::parse<std::vector<std::string>>(text);
  if (!parsed) return std::nullopt;
  return parsed.release();
}

// The JSON form as it is, anything else for a shell.
std::vector<std::string> command(const ContainerConfig& config, std::string_view text) {
  if (auto words = json_words(text)) return *words;
  std::vector<std::string> words = config.shell;
  if (words.empty()) words = {"/bin/sh", "-c"};
  words.emplace_back(text);
  return words;
}

// NAME=value …, or the old form NAME value.
Result<std::vector<std::pair<std::string, std::string>>> pairs(const ContainerConfig& config,
                                                               std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  size_t blank = text.find_first_of(kBlank);
  size_t equals = text.find('=');
  if (equals == std::string_view::npos || (blank != std::string_view::npos && blank < equals)) {
    if (blank == std::string_view::npos) return invalid("must have two arguments");
    std::string value = TRY(shell_word(config, trim(text.substr(blank))));
    out.emplace_back(text.substr(0, blank), std::move(value));
    return out;
  }
  std::vector<std::string> words = TRY(shell_words(config, text));
  for (const std::string& word : words) {
    size_t at = word.find('=');
    if (at == std::string::npos || at == 0) return invalid("can't find = in \"{}\"", word);
    out.emplace_back(word.substr(0, at), word.substr(at + 1));
  }
  return out;
}

Status set_env(ContainerConfig& config, std::string_view text) {
  auto variables = TRY(pairs(config, text));
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
  auto labels = TRY(pairs(config, text));
  for (const auto& [name, value] : labels) config.labels[name] = value;
  return {};
}

Status set_ports(ContainerConfig& config, std::string_view text) {
  std::vector<std::string> words = TRY(shell_words(config, text));
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
  if (!words) words = TRY(shell_words(config, text));
  for (const std::string& path : *words) {
    if (path.empty()) return invalid("VOLUME specified can not be an empty string");
    config.volumes[path] = {};
  }
  return {};
}

// --interval=30s and the like; `text` becomes what follows them.
Status take_health_flags(HealthConfig& health, std::string_view& text) {
  struct {
    std::string_view name;
    int64_t HealthConfig::*time;
  } constexpr kTimes[] = {{"interval", &HealthConfig::interval},
                          {"timeout", &HealthConfig::timeout},
                          {"start-period", &HealthConfig::start_period},
                          {"start-interval", &HealthConfig::start_interval}};
  while (text.starts_with("--")) {
    size_t blank = std::min(text.find_first_of(kBlank), text.size());
    std::string_view flag = text.substr(2, blank - 2);
    text = trim(text.substr(blank));
    size_t equals = flag.find('=');
    if (equals == std::string_view::npos) return invalid("Missing a value on flag: {}", flag);
    std::string_view name = flag.substr(0, equals);
    std::string value(flag.substr(equals + 1));
    if (name == "retries") {
      int retries = 0;
      auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), retries);
      if (error != std::errc() || end != value.data() + value.size() || retries < 0)
        return invalid("--retries must be a number, not negative: \"{}\"", value);
      health.retries = retries;
      continue;
    }
    auto known = std::find_if(std::begin(kTimes), std::end(kTimes),
                              [&](const auto& time) { return time.name == name; });
    if (known == std::end(kTimes)) return invalid("Unknown flag: {}", name);
    int64_t time = TRY(parse_duration(value));
    if (time != 0 && time < 1'000'000)
      return invalid("Interval \"{}\" cannot be less than 1ms", name);
    health.*known->time = time;
  }
  return {};
}

Status set_health(ContainerConfig& config, std::string_view text) {
  HealthConfig health;
  TRY(take_health_flags(health, text));
  size_t blank = std::min(text.find_first_of(kBlank), text.size());
  std::string kind = upper_case(text.substr(0, blank));
  std::string_view rest = trim(text.substr(blank));
  if (kind == "NONE") {
    if (!rest.empty()) return invalid("HEALTHCHECK NONE takes no arguments");
    health.test = {"NONE"};
  } else if (kind == "CMD") {
    if (rest.empty()) return invalid("Missing command after HEALTHCHECK CMD");
    if (auto words = json_words(rest)) {
      health.test = *words;
      health.test.insert(health.test.begin(), "CMD");
    } else {
      health.test = {"CMD-SHELL", std::string(rest)};
    }
  } else {
    return invalid("Unknown type \"{}\" in HEALTHCHECK (try CMD)", kind);
  }
  config.healthcheck = std::move(health);
  return {};
}

Status set_working_dir(ContainerConfig& config, std::string_view text) {
  std::string path = TRY(shell_word(config, text));
  if (!path.starts_with('/')) path = "/" + config.working_dir + "/" + path;
  config.working_dir = std::filesystem::path(path).lexically_normal().string();
  while (config.working_dir.size() > 1 && config.working_dir.back() == '/')
    config.working_dir.pop_back();
  if (config.working_dir.starts_with("//")) config.working_dir.erase(0, 1);
  return {};
}

Status add_trigger(ContainerConfig& config, std::string_view text) {
  std::string name = upper_case(text.substr(0, text.find_first_of(kBlank)));
  if (name == "ONBUILD") return invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (name == "MAINTAINER" || name == "FROM")
    return invalid("{} isn't allowed as an ONBUILD trigger", name);
  config.on_build.emplace_back(text);
  return {};
}

struct Instruction {
  std::string_view name;
  Status (*apply)(ContainerConfig&, std::string_view);
};
constexpr Instruction kInstructions[] = {
    {"CMD",
     [](ContainerConfig& config, std::string_view text) -> Status {
       config.cmd = command(config, text);
       return {};
     }},
    {"ENTRYPOINT",
     [](ContainerConfig& config, std::string_view text) -> Status {
       config.entrypoint = command(config, text);
       return {};
     }},
    {"ENV", set_env},
    {"EXPOSE", set_ports},
    {"HEALTHCHECK", set_health},
    {"LABEL", set_labels},
    {"ONBUILD", add_trigger},
    {"STOPSIGNAL",
     [](ContainerConfig& config, std::string_view text) -> Status {
       config.stop_signal = TRY(shell_word(config, text));
       return {};
     }},
    {"USER",
     [](ContainerConfig& config, std::string_view text) -> Status {
       config.user = TRY(shell_word(config, text));
       return {};
     }},
    {"VOLUME", set_volumes},
    {"WORKDIR", set_working_dir},
};

// Lines of a Dockerfile: comments and empty ones are left out, a backslash at the end goes on.
Result<std::vector<std::string>> instructions(const std::vector<std::string>& changes) {
  std::vector<std::string> out;
  for (const std::string& change : changes) {
    std::string line;
    for (size_t at = 0; at <= change.size();) {
      size_t end = std::min(change.find('\n', at), change.size());
      std::string_view piece = trim(std::string_view(change).substr(at, end - at));
      at = end + 1;
      if (piece.starts_with('#')) continue;
      bool more = piece.ends_with('\\') && at <= change.size();
      line += more ? piece.substr(0, piece.size() - 1) : piece;
      if (more) continue;
      line = trim(line);
      if (!line.empty()) out.push_back(std::exchange(line, {}));
    }
    line = trim(line);
    if (!line.empty()) out.push_back(std::move(line));
  }
  return out;
}

}  // namespace

Status apply_changes(ContainerConfig& config, const std::vector<std::string>& changes) {
  bool command_given = false;
  std::vector<std::string> lines = TRY(instructions(changes));
  for (const std::string& line : lines) {
    size_t blank = std::min(line.find_first_of(kBlank), line.size());
    std::string name = upper_case(line.substr(0, blank));
    std::string_view rest = trim(std::string_view(line).substr(blank));
    auto found = std::find_if(std::begin(kInstructions), std::end(kInstructions),
                              [&](const Instruction& known) { return known.name == name; });
    if (found == std::end(kInstructions))
      return invalid("{} is not a valid change command", lower_case(name));
    if (rest.empty()) return invalid("{} requires at least one argument", name);
    TRY(found->apply(config, rest).context("{}", name));
    // An entry point of one's own goes with a command of one's own, or none.
    if (name == "CMD") command_given = true;
    if (name == "ENTRYPOINT" && !command_given) config.cmd.reset();
  }
  return {};
}

}  // namespace gantry::image
