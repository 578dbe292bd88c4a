// What a stage of a Dockerfile is so far: its configuration, its variables, its history; and what
// the instructions that touch no file make of it. Pure; values.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "builder/dockerfile.h"
#include "builder/expand.h"
#include "image/config.h"

namespace gantry::builder {

// What holds for the whole build.
struct BuildArguments {
  std::map<std::string, std::string> given;     // --build-arg
  std::map<std::string, std::string> platform;  // TARGETARCH and the like
  std::map<std::string, std::string> global;    // ARGs before the first FROM, once they are known
};
// HTTP_PROXY and the like: RUN sees them without an ARG, and they are part of no key and no
// history.
bool is_predefined(std::string_view name);
// Takes the ARGs before the first FROM into `arguments.global`.
Status take_globals(const Dockerfile& file, BuildArguments& arguments);
// What a FROM's words stand for.
Result<std::string> expand_global(std::string_view word, const BuildArguments& arguments,
                                  char escape);

struct StageState {
  image::ContainerConfig config;
  std::string author;
  std::map<std::string, std::string> arguments;  // that ARGs have declared, with their values
  std::set<std::string> used;                    // --build-args that were declared
  std::vector<image::HistoryEntry> history;      // since the last layer; `created` is not set
  bool command_given = false;                    // a CMD of this stage's own
  char escape = '\\';

  std::optional<std::string> variable(std::string_view name) const;
  Result<std::string> word(std::string_view text) const;
  Result<std::vector<std::string>> words(const std::vector<std::string>& texts) const;  // one each
  // "/a/b", taken from the working directory when it is relative.
  std::string absolute(std::string_view path) const;
  // The words that start a command: the shell's first, for a line.
  std::vector<std::string> argv(const CommandLine& command) const;
  std::vector<std::string> default_shell() const;
};

// ARG, CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, MAINTAINER, ONBUILD, SHELL, STOPSIGNAL,
// USER and VOLUME. False for what touches files (RUN, COPY, ADD, WORKDIR), of which nothing is
// done. Errors are `invalid` and name the line.
Result<bool> apply_metadata(const Instruction& instruction, const BuildArguments& arguments,
                            StageState& state);

// The stages that the build of stage `target` needs, in their order; `target` itself included.
// Errors are `invalid`: a stage that does not exist or comes later.
Result<std::vector<size_t>> needed_stages(const Dockerfile& file, size_t target,
                                          const BuildArguments& arguments);
// "builder", "0"; nothing for what names no stage before `before`.
std::optional<size_t> find_stage(const Dockerfile& file, std::string_view name, size_t before);

}  // namespace gantry::builder
