// Logical lines to typed instructions.
#include <algorithm>
#include <charconv>

#include "base/json.h"
#include "base/units.h"
#include "builder/lines.h"

namespace gantry::builder {
namespace {

constexpr std::string_view kNames[] = {
    "ADD",    "ARG",   "CMD",         "COPY",  "ENTRYPOINT", "ENV",
    "EXPOSE", "FROM",  "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
    "RUN",    "SHELL", "STOPSIGNAL",  "USER",  "VOLUME",     "WORKDIR"};

// One flag of an instruction, as its author wrote it.
struct FlagValue {
  std::string name;
  std::optional<std::string> value;
};

struct Source {
  std::string name;       // of the instruction, in capitals
  std::string_view rest;  // behind the flags
  std::vector<FlagValue> flags;
  std::vector<Heredoc> heredocs;
  int line = 0;
  char escape = '\\';
};

// --name[=value] in front of the arguments, quotes and escapes taken out.
Status take_flags(Source& source) {
  std::string_view& text = source.rest;
  for (;;) {
    text = trim(text);
    if (!text.starts_with("--")) return {};
    size_t i = 0;
    char quote = 0;
    std::string word;
    for (; i < text.size() && (quote || !is_blank(text[i])); ++i) {
      char c = text[i];
      if (c == source.escape && quote != '\'' && i + 1 < text.size())
        word += text[++i];
      else if (quote && c == quote)
        quote = 0;
      else if (!quote && (c == '"' || c == '\''))
        quote = c;
      else
        word += c;
    }
    text.remove_prefix(i);
    if (word == "--") {
      text = trim(text);
      return {};
    }
    FlagValue flag;
    size_t equals = word.find('=');
    flag.name = word.substr(2, equals == word.npos ? word.npos : equals - 2);
    if (equals != word.npos) flag.value = word.substr(equals + 1);
    source.flags.push_back(std::move(flag));
  }
}

// The flags of an instruction, each read once; what is left over is unknown.
class Flags {
 public:
  explicit Flags(Source& source) : source_(source) {}

  Result<std::string> text(std::string_view name) {
    FlagValue* flag = TRY(single(name));
    if (!flag) return std::string();
    if (!flag->value) return parse_error(source_.line, "missing a value on flag: {}", name);
    return *flag->value;
  }
  Result<std::vector<std::string>> list(std::string_view name) {
    known_.push_back(name);
    std::vector<std::string> out;
    for (FlagValue& flag : source_.flags) {
      if (flag.name != name) continue;
      if (!flag.value) return parse_error(source_.line, "missing a value on flag: {}", name);
      out.push_back(*flag.value);
    }
    return out;
  }
  Result<std::optional<bool>> boolean(std::string_view name) {
    FlagValue* flag = TRY(single(name));
    if (!flag) return std::optional<bool>();
    std::string value = lower(flag->value.value_or("true"));
    if (value == "true" || value == "1" || value == "t") return std::optional(true);
    if (value == "false" || value == "0" || value == "f") return std::optional(false);
    return parse_error(source_.line, "expecting boolean value for flag {}, not: {}", name,
                       value.substr(0, 64));
  }
  Status finish() {
    for (const FlagValue& flag : source_.flags) {
      if (std::find(known_.begin(), known_.end(), flag.name) != known_.end()) continue;
      std::string likely = suggestion(flag.name, known_);
      return parse_error(source_.line, "unknown flag: --{}{}", flag.name.substr(0, 64),
                         likely.empty() ? "" : " (did you mean --" + likely + "?)");
    }
    return {};
  }

 private:
  Result<FlagValue*> single(std::string_view name) {
    known_.push_back(name);
    FlagValue* found = nullptr;
    for (FlagValue& flag : source_.flags) {
      if (flag.name != name) continue;
      if (found) return parse_error(source_.line, "duplicate flag specified: {}", name);
      found = &flag;
    }
    return found;
  }
  Source& source_;
  std::vector<std::string_view> known_;
};

// ["a", "b"]; nothing for what is not a JSON list of strings.
std::optional<std::vector<std::string>> json_words(std::string_view text) {
  text = trim(text);
  if (!text.starts_with('[')) return {};
  Result<json::value> parsed = json::parse(text);
  if (!parsed || !parsed->is_array()) return {};
  std::vector<std::string> out;
  for (const json::value& item : parsed->get_array()) {
    if (!item.is_string()) return {};
    out.emplace_back(item.get_string());
  }
  return out;
}

Error needs_one(const Source& source) {
  return parse_error(source.line, "{} requires at least one argument", source.name);
}
Error needs_exactly_one(const Source& source) {
  return parse_error(source.line, "{} requires exactly one argument", source.name);
}

CommandLine command_line(Source& source) {
  CommandLine out;
  if (auto words = json_words(source.rest)) {
    out.shell = false;
    out.words = std::move(*words);
  } else {
    out.words = {std::string(source.rest)};
  }
  out.heredocs = std::move(source.heredocs);
  return out;
}

std::vector<std::string> list_words(const Source& source) {
  if (auto words = json_words(source.rest)) return *words;
  std::vector<std::string> out;
  std::string word;
  for (char c : source.rest) {
    if (!is_blank(c))
      word += c;
    else if (!word.empty())
      out.push_back(std::exchange(word, {}));
  }
  if (!word.empty()) out.push_back(std::move(word));
  return out;
}

// NAME=VALUE …, or NAME VALUE of old.
Result<Pairs> pairs(const Source& source) {
  std::vector<std::string> words = raw_words(source.rest, source.escape);
  if (words.empty()) return needs_one(source);
  Pairs out;
  if (words[0].find('=') == std::string::npos) {
    std::string_view rest = trim(source.rest.substr(words[0].size()));
    if (words.size() < 2 || rest.empty())
      return parse_error(source.line, "{} must have two arguments", source.name);
    out.emplace_back(words[0], std::string(rest));
    return out;
  }
  for (const std::string& word : words) {
    size_t equals = word.find('=');
    if (equals == std::string::npos)
      return parse_error(source.line, "can't find = in \"{}\". Must be of the form: name=value",
                         word.substr(0, 256));
    if (equals == 0) return parse_error(source.line, "{} names can not be blank", source.name);
    out.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return out;
}

Result<FromInstruction> parse_from(Source& source) {
  Flags flags(source);
  FromInstruction out;
  out.platform = TRY(flags.text("platform"));
  TRY(flags.finish());
  std::vector<std::string> words = list_words(source);
  if (words.size() == 3 && upper(words[1]) == "AS") {
    out.name = lower(words[2]);
    auto fits = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    };
    if (!(out.name[0] >= 'a' && out.name[0] <= 'z') ||
        !std::all_of(out.name.begin(), out.name.end(), fits))
      return parse_error(
          source.line,
          "invalid name for build stage: \"{}\", name can't start with a number or contain symbols",
          words[2].substr(0, 64));
  } else if (words.size() != 1) {
    return parse_error(source.line, "FROM requires either one or three arguments");
  }
  out.image = words[0];
  return out;
}

struct MountField {
  std::string_view name;
  std::string RunMount::*text;
};
constexpr MountField kMountFields[] = {{"type", &RunMount::type},
                                       {"from", &RunMount::from},
                                       {"source", &RunMount::source},
                                       {"src", &RunMount::source},
                                       {"target", &RunMount::target},
                                       {"dst", &RunMount::target},
                                       {"destination", &RunMount::target},
                                       {"id", &RunMount::id},
                                       {"sharing", &RunMount::sharing},
                                       {"mode", &RunMount::mode},
                                       {"uid", &RunMount::uid},
                                       {"gid", &RunMount::gid},
                                       {"size", &RunMount::size},
                                       {"env", &RunMount::env}};

Result<RunMount> parse_mount(const Source& source, std::string_view text) {
  RunMount out;
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string_view field = text.substr(at, end - at);
    at = end + 1;
    size_t equals = field.find('=');
    std::string key = lower(trim(field.substr(0, equals)));
    std::string value(equals == field.npos ? "" : field.substr(equals + 1));
    if (key == "readonly" || key == "ro" || key == "readwrite" || key == "rw" ||
        key == "required") {
      bool on = value.empty() || value == "true" || value == "1";
      if (!on && value != "false" && value != "0")
        return parse_error(source.line, "invalid value for {}: {}", key, value.substr(0, 64));
      if (key == "required")
        out.required = on;
      else
        out.read_only =
            (key[0] == 'r' && key[1] == 'e' ? key == "readonly" : key == "ro") ? on : !on;
      continue;
    }
    if (equals == field.npos)
      return parse_error(source.line, "invalid field '{}' must be a key=value pair",
                         field.substr(0, 64));
    auto known = std::find_if(std::begin(kMountFields), std::end(kMountFields),
                              [&](const MountField& one) { return one.name == key; });
    if (known == std::end(kMountFields))
      return parse_error(source.line, "unexpected key '{}' in '{}'", key.substr(0, 64),
                         field.substr(0, 128));
    out.*known->text = std::move(value);
  }
  constexpr std::string_view kTypes[] = {"bind", "cache", "tmpfs", "secret", "ssh"};
  if (std::find(std::begin(kTypes), std::end(kTypes), out.type) == std::end(kTypes))
    return parse_error(source.line, "unsupported mount type \"{}\"", out.type.substr(0, 64));
  constexpr std::string_view kSharing[] = {"", "shared", "private", "locked"};
  if (std::find(std::begin(kSharing), std::end(kSharing), out.sharing) == std::end(kSharing))
    return parse_error(source.line, "unsupported sharing value \"{}\"", out.sharing.substr(0, 64));
  const bool placed = out.type == "secret" || out.type == "ssh";
  if (!placed && out.target.empty())
    return parse_error(source.line, "invalid mount target: {} mounts need a target", out.type);
  return out;
}

Result<RunInstruction> parse_run(Source& source) {
  Flags flags(source);
  RunInstruction out;
  std::vector<std::string> mounts = TRY(flags.list("mount"));
  for (const std::string& mount : mounts) out.mounts.push_back(TRY(parse_mount(source, mount)));
  out.network = TRY(flags.text("network"));
  out.security = TRY(flags.text("security"));
  out.devices = TRY(flags.list("device"));
  TRY(flags.finish());
  if (!out.network.empty() && out.network != "default" && out.network != "none" &&
      out.network != "host")
    return parse_error(source.line, "network \"{}\" is not supported", out.network.substr(0, 64));
  if (!out.security.empty() && out.security != "sandbox" && out.security != "insecure")
    return parse_error(source.line, "security \"{}\" is not supported", out.security.substr(0, 64));
  if (source.rest.empty()) return needs_one(source);
  out.command = command_line(source);
  if (out.command.words.empty()) return needs_one(source);
  return out;
}

Result<CopyInstruction> parse_copy(Source& source) {
  Flags flags(source);
  CopyInstruction out;
  out.add = source.name == "ADD";
  out.chown = TRY(flags.text("chown"));
  out.chmod = TRY(flags.text("chmod"));
  out.link = TRY(flags.boolean("link")).value_or(false);
  out.exclude = TRY(flags.list("exclude"));
  if (out.add) {
    out.checksum = TRY(flags.text("checksum"));
    out.keep_git_dir = TRY(flags.boolean("keep-git-dir")).value_or(false);
    out.unpack = TRY(flags.boolean("unpack"));
  } else {
    out.from = TRY(flags.text("from"));
    out.parents = TRY(flags.boolean("parents")).value_or(false);
  }
  TRY(flags.finish());
  std::vector<std::string> words = list_words(source);
  if (words.size() < 2)
    return parse_error(source.line,
                       "{} requires at least two arguments, but only {} {} provided. Destination "
                       "could not be determined",
                       source.name, words.size(), words.size() == 1 ? "was" : "were");
  out.destination = words.back();
  words.pop_back();
  size_t used = 0;
  for (std::string& word : words) {
    auto heredoc = heredoc_start(word);
    if (heredoc && used < source.heredocs.size())
      out.files.push_back(std::move(source.heredocs[used++]));
    else
      out.sources.push_back(std::move(word));
  }
  return out;
}

Result<ArgInstruction> parse_arg(Source& source) {
  std::vector<std::string> words = raw_words(source.rest, source.escape);
  if (words.empty()) return needs_one(source);
  ArgInstruction out;
  for (std::string& word : words) {
    size_t equals = word.find('=');
    if (equals == 0) return parse_error(source.line, "ARG names can not be blank");
    if (equals == word.npos)
      out.arguments.emplace_back(std::move(word), std::nullopt);
    else
      out.arguments.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return out;
}

Result<HealthcheckInstruction> parse_health(Source& source) {
  Flags flags(source);
  HealthcheckInstruction out;
  struct {
    std::string_view name;
    int64_t HealthcheckInstruction::*time;
  } constexpr kTimes[] = {{"interval", &HealthcheckInstruction::interval},
                          {"timeout", &HealthcheckInstruction::timeout},
                          {"start-period", &HealthcheckInstruction::start_period},
                          {"start-interval", &HealthcheckInstruction::start_interval}};
  for (const auto& time : kTimes) {
    std::string text = TRY(flags.text(time.name));
    if (text.empty()) continue;
    Result<int64_t> value = parse_duration(text);
    if (!value) return parse_error(source.line, "{}", value.error().message());
    if (*value != 0 && *value < 1'000'000)
      return parse_error(source.line, "interval \"{}\" cannot be less than 1ms", time.name);
    out.*time.time = *value;
  }
  std::string retries = TRY(flags.text("retries"));
  if (!retries.empty()) {
    auto [end, error] =
        std::from_chars(retries.data(), retries.data() + retries.size(), out.retries);
    if (error != std::errc() || end != retries.data() + retries.size() || out.retries < 0)
      return parse_error(source.line, "--retries cannot be \"{}\": a number, not negative",
                         retries.substr(0, 64));
  }
  TRY(flags.finish());
  std::string_view text = source.rest;
  if (text.empty()) return needs_one(source);
  size_t blank = std::min(text.find_first_of(" \t"), text.size());
  std::string kind = upper(text.substr(0, blank));
  source.rest = trim(text.substr(blank));
  if (kind == "NONE") {
    if (!source.rest.empty())
      return parse_error(source.line, "HEALTHCHECK NONE takes no arguments");
    out.none = true;
    return out;
  }
  if (kind != "CMD")
    return parse_error(source.line, "unknown type \"{}\" in HEALTHCHECK (try CMD)",
                       kind.substr(0, 64));
  if (source.rest.empty()) return parse_error(source.line, "missing command after HEALTHCHECK CMD");
  out.command = command_line(source);
  if (out.command.words.empty())
    return parse_error(source.line, "missing command after HEALTHCHECK CMD");
  return out;
}

Result<OnbuildInstruction> parse_onbuild(Source& source) {
  if (source.rest.empty()) return needs_one(source);
  std::string name = upper(source.rest.substr(0, source.rest.find_first_of(" \t")));
  if (name == "ONBUILD")
    return parse_error(source.line, "chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (name == "MAINTAINER" || name == "FROM")
    return parse_error(source.line, "{} isn't allowed as an ONBUILD trigger", name);
  OnbuildInstruction out{std::string(source.rest)};
  for (const Heredoc& heredoc : source.heredocs)
    out.trigger += "\n" + heredoc.content + heredoc.name;
  // What is wrong is told where it was written, not where it is used.
  Result<Instruction> trigger = parse_trigger(out.trigger);
  if (!trigger) {
    std::string message = trigger.error().message();
    size_t colon = message.find(": ");
    return parse_error(source.line, "{}",
                       colon == message.npos ? message : message.substr(colon + 2));
  }
  return out;
}

Status parse_what(Source& source, Instruction& out) {
  const std::string& name = source.name;
  if (name == "FROM") {
    out.what = TRY(parse_from(source));
  } else if (name == "RUN") {
    out.what = TRY(parse_run(source));
  } else if (name == "COPY" || name == "ADD") {
    out.what = TRY(parse_copy(source));
  } else if (name == "HEALTHCHECK") {
    out.what = TRY(parse_health(source));
  } else {
    // The others have no flags.
    if (!(name == "CMD" || name == "ENTRYPOINT" || name == "SHELL" || name == "ONBUILD" ||
          name == "MAINTAINER"))
      TRY(Flags(source).finish());
    if (source.rest.empty() && name != "CMD" && name != "ENTRYPOINT")
      return name == "USER" || name == "WORKDIR" || name == "STOPSIGNAL" || name == "MAINTAINER"
                 ? needs_exactly_one(source)
                 : needs_one(source);
    std::vector<std::string> words = list_words(source);
    if (name == "CMD") {
      out.what = CmdInstruction{command_line(source)};
    } else if (name == "ENTRYPOINT") {
      out.what = EntrypointInstruction{command_line(source)};
    } else if (name == "ENV") {
      out.what = EnvInstruction{TRY(pairs(source))};
    } else if (name == "LABEL") {
      out.what = LabelInstruction{TRY(pairs(source))};
    } else if (name == "ARG") {
      out.what = TRY(parse_arg(source));
    } else if (name == "EXPOSE") {
      out.what = ExposeInstruction{std::move(words)};
    } else if (name == "VOLUME") {
      if (words.empty()) return needs_one(source);
      for (const std::string& path : words)
        if (path.empty())
          return parse_error(source.line, "VOLUME specified can not be an empty string");
      out.what = VolumeInstruction{std::move(words)};
    } else if (name == "USER" || name == "STOPSIGNAL") {
      if (raw_words(source.rest, source.escape).size() != 1) return needs_exactly_one(source);
      if (name == "USER")
        out.what = UserInstruction{std::string(source.rest)};
      else
        out.what = StopsignalInstruction{std::string(source.rest)};
    } else if (name == "WORKDIR") {
      out.what = WorkdirInstruction{std::string(source.rest)};
    } else if (name == "MAINTAINER") {
      out.what = MaintainerInstruction{std::string(source.rest)};
    } else if (name == "ONBUILD") {
      out.what = TRY(parse_onbuild(source));
    } else if (name == "SHELL") {
      auto list = json_words(source.rest);
      if (!list) return parse_error(source.line, "SHELL requires the arguments to be in JSON form");
      if (list->empty()) return needs_one(source);
      out.what = ShellInstruction{std::move(*list)};
    }
  }
  return {};
}

Result<Instruction> parse_line(LogicalLine& line, char escape) {
  Source source;
  source.line = line.line;
  source.escape = escape;
  source.heredocs = std::move(line.heredocs);
  std::string_view text = line.text;
  size_t blank = std::min(text.find_first_of(" \t"), text.size());
  source.name = upper(text.substr(0, blank));
  source.rest = trim(text.substr(blank));
  Instruction out;
  out.name = source.name;
  out.original = line.text;
  out.line = line.line;
  out.end_line = line.end_line;
  std::vector<std::string_view> names(std::begin(kNames), std::end(kNames));
  if (std::find(names.begin(), names.end(), out.name) == names.end()) {
    std::string likely = suggestion(out.name, names);
    return parse_error(line.line, "unknown instruction: {}{}",
                       text.substr(0, std::min<size_t>(blank, 64)),
                       likely.empty() ? "" : " (did you mean " + likely + "?)");
  }
  const bool flags = out.name != "CMD" && out.name != "ENTRYPOINT" && out.name != "SHELL" &&
                     out.name != "ONBUILD" && out.name != "MAINTAINER" && out.name != "ENV" &&
                     out.name != "LABEL" && out.name != "ARG";
  if (flags) TRY(take_flags(source));
  TRY(parse_what(source, out));
  return out;
}

size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t corner = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, corner + (a[i - 1] == b[j - 1] ? 0 : 1)});
      corner = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string suggestion(std::string_view word, const std::vector<std::string_view>& candidates) {
  if (word.size() > 32) return {};
  std::string_view best;
  size_t least = 3;  // at most two edits
  for (std::string_view candidate : candidates) {
    size_t edits = distance(word, candidate);
    if (edits < least && edits < candidate.size()) least = edits, best = candidate;
  }
  return std::string(best);
}

Result<Dockerfile> Dockerfile::parse(std::string_view text) {
  Lines lines = TRY(split_lines(text));
  Dockerfile out;
  out.syntax = std::move(lines.syntax);
  out.check = std::move(lines.check);
  out.escape = lines.escape;
  if (lines.lines.empty()) return invalid("dockerfile parse error: file with no instructions");
  for (LogicalLine& line : lines.lines) {
    Instruction instruction = TRY(parse_line(line, out.escape));
    if (auto* from = std::get_if<FromInstruction>(&instruction.what)) {
      for (const Stage& stage : out.stages)
        if (!from->name.empty() && stage.from.name == from->name)
          return parse_error(line.line, "duplicate name {}: another stage has it", from->name);
      out.stages.push_back(
          {std::move(*from), std::move(instruction.original), instruction.line, {}});
    } else if (!out.stages.empty()) {
      out.stages.back().instructions.push_back(std::move(instruction));
    } else if (instruction.name == "ARG") {
      out.global_arguments.push_back(std::move(instruction));
    } else {
      return parse_error(line.line, "no build stage in current context");
    }
  }
  if (out.stages.empty())
    return invalid("dockerfile parse error: no build stage: there is no FROM");
  return out;
}

Result<Instruction> parse_trigger(std::string_view text) {
  Lines lines = TRY(split_lines(text));
  if (lines.lines.size() != 1)
    return invalid("dockerfile parse error on line 1: one instruction is expected");
  return parse_line(lines.lines[0], '\\');
}

int line_of(const Error& error) {
  constexpr std::string_view kMark = " on line ";
  size_t at = error.message().find(kMark);
  int line = 0;
  if (at == std::string::npos) return 0;
  const char* begin = error.message().data() + at + kMark.size();
  std::from_chars(begin, error.message().data() + error.message().size(), line);
  return line;
}

std::string excerpt(std::string_view file, std::string_view text, int line) {
  constexpr int kAround = 2;
  std::string out = fmt::format("{}:{}\n--------------------\n", file, line);
  int number = 0;
  for (size_t at = 0; at < text.size() && number < line + kAround;) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view one = text.substr(at, std::min<size_t>(end - at, 256));
    if (one.ends_with('\r')) one.remove_suffix(1);
    at = end + 1;
    if (++number >= line - kAround)
      out += fmt::format("{:4} | {} {}\n", number, number == line ? ">>>" : "   ", one);
  }
  return out + "--------------------\n";
}

}  // namespace gantry::builder
