#include "builder/stage.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/json.h"
#include "builder/lines.h"
#include "image/changes.h"

namespace gantry::builder {
namespace {

std::string json_list(const std::vector<std::string>& words) {
  json::array out;
  for (const std::string& word : words) out.emplace_back(word);
  return json::serialize(out);
}

// As an instruction of `commit --change`, whose code this shares; the words are expanded already.
Status change(StageState& state, const std::string& text) {
  return image::apply_changes(state.config, {text});
}

void set_variable(std::vector<std::string>& environment, const std::string& name,
                  const std::string& value) {
  for (std::string& entry : environment)
    if (entry.starts_with(name + "=")) {
      entry = name + "=" + value;
      return;
    }
  environment.push_back(name + "=" + value);
}

std::string shown(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += " " + word;
  return out;
}

struct Applier {
  const BuildArguments& arguments;
  StageState& state;
  std::string text;  // for the history

  Result<bool> operator()(const FromInstruction&) { return internal("FROM within a stage"); }
  Result<bool> operator()(const RunInstruction&) { return false; }
  Result<bool> operator()(const CopyInstruction&) { return false; }
  Result<bool> operator()(const WorkdirInstruction&) { return false; }

  Result<bool> operator()(const CmdInstruction& cmd) {
    state.config.cmd = state.argv(cmd.command);
    state.config.args_escaped = false;
    state.command_given = true;
    text = "CMD " + json_list(*state.config.cmd);
    return true;
  }
  Result<bool> operator()(const EntrypointInstruction& entrypoint) {
    state.config.entrypoint = state.argv(entrypoint.command);
    if (state.config.entrypoint->empty()) state.config.entrypoint.reset();
    if (!state.command_given) state.config.cmd.reset();
    text = "ENTRYPOINT " + json_list(state.config.entrypoint.value_or(std::vector<std::string>()));
    return true;
  }
  Result<bool> operator()(const EnvInstruction& env) {
    // All of one instruction see what was before it.
    Pairs values = TRY(expanded(env.pairs));
    text = "ENV";
    for (const auto& [name, value] : values) {
      set_variable(state.config.env, name, value);
      text += " " + name + "=" + value;
    }
    return true;
  }
  Result<bool> operator()(const LabelInstruction& label) {
    Pairs values = TRY(expanded(label.pairs));
    text = "LABEL";
    for (const auto& [name, value] : values) {
      state.config.labels[name] = value;
      text += " " + name + "=" + value;
    }
    return true;
  }
  Result<bool> operator()(const ArgInstruction& arg) {
    text = "ARG";
    for (const auto& [raw, fallback] : arg.arguments) {
      std::string name = TRY(state.word(raw));
      std::optional<std::string> value;
      if (auto given = arguments.given.find(name); given != arguments.given.end()) {
        value = given->second;
        state.used.insert(name);
      } else if (fallback) {
        value = TRY(state.word(*fallback));
      } else if (auto global = arguments.global.find(name); global != arguments.global.end()) {
        value = global->second;
      } else if (auto known = arguments.platform.find(name); known != arguments.platform.end()) {
        value = known->second;
      }
      if (value) state.arguments[name] = *value;
      text += " " + name + (value && !is_predefined(name) ? "=" + *value : "");
    }
    return true;
  }
  Result<bool> operator()(const ExposeInstruction& expose) {
    text = "EXPOSE map[";
    for (const std::string& raw : expose.ports) {
      std::vector<std::string> ports = TRY(expand_words(raw, lookup(), state.escape));
      for (const std::string& port : ports) TRY(change(state, "EXPOSE " + port));
    }
    bool first = true;
    for (const auto& [port, unused] : state.config.exposed_ports) {
      text += (first ? "" : " ") + port + ":{}";
      first = false;
    }
    text += "]";
    return true;
  }
  Result<bool> operator()(const VolumeInstruction& volume) {
    std::vector<std::string> paths = TRY(state.words(volume.paths));
    for (const std::string& path : paths) {
      if (path.empty()) return invalid("VOLUME specified can not be an empty string");
      state.config.volumes[path] = {};
    }
    text = "VOLUME [" + shown(paths).substr(1) + "]";
    return true;
  }
  Result<bool> operator()(const UserInstruction& user) {
    state.config.user = TRY(state.word(user.user));
    text = "USER " + state.config.user;
    return true;
  }
  Result<bool> operator()(const OnbuildInstruction& onbuild) {
    state.config.on_build.push_back(onbuild.trigger);
    text = "ONBUILD " + onbuild.trigger;
    return true;
  }
  Result<bool> operator()(const StopsignalInstruction& stop) {
    std::string signal = TRY(state.word(stop.signal));
    state.config.stop_signal = signal;
    text = "STOPSIGNAL " + signal;
    return true;
  }
  Result<bool> operator()(const HealthcheckInstruction& health) {
    image::HealthConfig config;
    if (health.none) {
      config.test = {"NONE"};
    } else {
      config.test = health.command.words;
      config.test.insert(config.test.begin(), health.command.shell ? "CMD-SHELL" : "CMD");
    }
    config.interval = health.interval;
    config.timeout = health.timeout;
    config.start_period = health.start_period;
    config.start_interval = health.start_interval;
    config.retries = health.retries;
    text = "HEALTHCHECK " + json_list(config.test);
    state.config.healthcheck = std::move(config);
    return true;
  }
  Result<bool> operator()(const ShellInstruction& shell) {
    state.config.shell = shell.words;
    text = "SHELL [" + shown(shell.words).substr(1) + "]";
    return true;
  }
  Result<bool> operator()(const MaintainerInstruction& maintainer) {
    state.author = maintainer.name;
    text = "MAINTAINER " + maintainer.name;
    return true;
  }

 private:
  Variables lookup() const {
    return [this](std::string_view name) { return state.variable(name); };
  }
  Result<Pairs> expanded(const Pairs& raw) const {
    Pairs out;
    for (const auto& [name, value] : raw) {
      std::string key = TRY(state.word(name));
      if (key.empty()) return invalid("names can not be blank");
      out.emplace_back(std::move(key), TRY(state.word(value)));
    }
    return out;
  }
};

}  // namespace

bool is_predefined(std::string_view name) {
  constexpr std::string_view kNames[] = {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy",
                                         "FTP_PROXY",  "ftp_proxy",  "NO_PROXY",    "no_proxy",
                                         "ALL_PROXY",  "all_proxy"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

Result<std::string> expand_global(std::string_view word, const BuildArguments& arguments,
                                  char escape) {
  auto variables = [&](std::string_view name) -> std::optional<std::string> {
    for (const auto* map : {&arguments.global, &arguments.platform})
      if (auto found = map->find(std::string(name)); found != map->end()) return found->second;
    return {};
  };
  return expand_word(word, variables, escape);
}

Status take_globals(const Dockerfile& file, BuildArguments& arguments) {
  for (const Instruction& instruction : file.global_arguments) {
    for (const auto& [name, fallback] : std::get<ArgInstruction>(instruction.what).arguments) {
      auto given = arguments.given.find(name);
      if (given != arguments.given.end()) {
        arguments.global[name] = given->second;
      } else if (fallback) {
        Result<std::string> value = expand_global(*fallback, arguments, file.escape);
        if (!value) return parse_error(instruction.line, "{}", value.error().message());
        arguments.global[name] = *value;
      }
    }
  }
  return {};
}

std::optional<std::string> StageState::variable(std::string_view name) const {
  std::string prefix = std::string(name) + "=";
  for (const std::string& entry : config.env)
    if (entry.starts_with(prefix)) return entry.substr(prefix.size());
  auto found = arguments.find(std::string(name));
  if (found == arguments.end()) return {};
  return found->second;
}

Result<std::string> StageState::word(std::string_view text) const {
  return expand_word(
      text, [this](std::string_view name) { return variable(name); }, escape);
}

Result<std::vector<std::string>> StageState::words(const std::vector<std::string>& texts) const {
  std::vector<std::string> out;
  for (const std::string& text : texts) out.push_back(TRY(word(text)));
  return out;
}

std::string StageState::absolute(std::string_view path) const {
  std::filesystem::path whole("/");
  if (!path.starts_with('/') && !config.working_dir.empty()) whole /= config.working_dir;
  whole /= path;
  std::string out = whole.lexically_normal().string();
  while (out.size() > 1 && out.ends_with('/')) out.pop_back();
  return out;
}

std::vector<std::string> StageState::default_shell() const {
  return config.shell.empty() ? std::vector<std::string>{"/bin/sh", "-c"} : config.shell;
}

std::vector<std::string> StageState::argv(const CommandLine& command) const {
  if (!command.shell || (command.words.size() == 1 && command.words[0].empty()))
    return command.shell ? std::vector<std::string>() : command.words;
  std::vector<std::string> out = default_shell();
  out.push_back(command.words[0]);
  return out;
}

Result<bool> apply_metadata(const Instruction& instruction, const BuildArguments& arguments,
                            StageState& state) {
  Applier applier{arguments, state, {}};
  Result<bool> done = std::visit(applier, instruction.what);
  if (!done) {
    if (line_of(done.error()) > 0) return done;
    return parse_error(instruction.line, "{}: {}", instruction.name, done.error().message());
  }
  if (*done) {
    image::HistoryEntry entry;
    entry.created_by = applier.text;
    entry.author = state.author;
    entry.empty_layer = true;
    state.history.push_back(std::move(entry));
  }
  return done;
}

std::optional<size_t> find_stage(const Dockerfile& file, std::string_view name, size_t before) {
  for (size_t i = before; i-- > 0;)
    if (!file.stages[i].from.name.empty() && file.stages[i].from.name == lower(name)) return i;
  size_t number = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (!name.empty() && error == std::errc() && end == name.data() + name.size() && number < before)
    return number;
  return {};
}

Result<std::vector<size_t>> needed_stages(const Dockerfile& file, size_t target,
                                          const BuildArguments& arguments) {
  std::set<size_t> needed = {target};
  // A stage needs only stages before it: one pass from the end finds them all.
  for (size_t i = target + 1; i-- > 0;) {
    if (!needed.contains(i)) continue;
    const Stage& stage = file.stages[i];
    std::string base = TRY(expand_global(stage.from.image, arguments, file.escape));
    if (base.empty())
      return parse_error(stage.line, "base name ({}) should not be blank", stage.from.image);
    // A FROM names stages by name alone: "FROM 0" is an image.
    for (size_t j = i; j-- > 0;)
      if (!file.stages[j].from.name.empty() && file.stages[j].from.name == lower(base)) {
        needed.insert(j);
        break;
      }
    for (const Instruction& instruction : stage.instructions) {
      std::vector<std::string> names;
      if (auto* copy = std::get_if<CopyInstruction>(&instruction.what)) names.push_back(copy->from);
      if (auto* run = std::get_if<RunInstruction>(&instruction.what))
        for (const RunMount& mount : run->mounts) names.push_back(mount.from);
      for (const std::string& name : names) {
        if (name.empty()) continue;
        std::optional<size_t> found = find_stage(file, name, i);
        if (found) {
          needed.insert(*found);
        } else if (find_stage(file, name, file.stages.size())) {
          return parse_error(instruction.line, "circular dependency or a later stage: --from={}",
                             name);
        }
      }
    }
  }
  return std::vector<size_t>(needed.begin(), needed.end());
}

}  // namespace gantry::builder
