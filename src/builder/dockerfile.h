// Dockerfiles as typed instructions: the language of docker/dockerfile, version 1 (Dockerfile
// reference; BuildKit's parser is what decides where the reference is silent). Pure functions on
// text, total on any bytes, with memory bounded by the text's size. Values.
//
// Variables are not expanded here: words keep their quotes until builder/expand.h makes them what
// they stand for, because what a variable is depends on the instructions before it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace gantry::builder {

// The longest Dockerfile that is taken.
inline constexpr size_t kMaxDockerfile = 4u << 20;

struct Heredoc {
  std::string name;
  std::string content;  // with its last line end; tabs are gone when it was <<-
  bool expand = true;   // the name was not quoted
};

// What RUN, CMD, ENTRYPOINT and HEALTHCHECK run.
struct CommandLine {
  bool shell = true;               // words[0] is for a shell; else the words are the program's
  std::vector<std::string> words;  // empty: none was given (CMD [])
  std::vector<Heredoc> heredocs;
};

struct RunMount {
  std::string type = "bind";  // bind, cache, tmpfs, secret, ssh
  std::string from, source, target, id, sharing, mode, uid, gid, size, env;
  std::optional<bool> read_only;
  bool required = false;
};

struct FromInstruction {
  std::string image, platform, name;  // name: of AS, in lower case
};
struct RunInstruction {
  CommandLine command;
  std::vector<RunMount> mounts;
  std::string network;   // "": default
  std::string security;  // "": sandbox
  std::vector<std::string> devices;
};
struct CopyInstruction {
  bool add = false;  // ADD
  std::vector<std::string> sources;
  std::vector<Heredoc> files;  // sources given inline
  std::string destination;
  std::string from, chown, chmod, checksum;
  std::vector<std::string> exclude;
  bool link = false, parents = false, keep_git_dir = false;
  std::optional<bool> unpack;
};
struct CmdInstruction {
  CommandLine command;
};
struct EntrypointInstruction {
  CommandLine command;
};
using Pairs = std::vector<std::pair<std::string, std::string>>;
struct EnvInstruction {
  Pairs pairs;
};
struct LabelInstruction {
  Pairs pairs;
};
struct ArgInstruction {
  std::vector<std::pair<std::string, std::optional<std::string>>> arguments;
};
struct ExposeInstruction {
  std::vector<std::string> ports;
};
struct VolumeInstruction {
  std::vector<std::string> paths;
};
struct UserInstruction {
  std::string user;
};
struct WorkdirInstruction {
  std::string path;
};
struct OnbuildInstruction {
  std::string trigger;  // the instruction as it was written
};
struct StopsignalInstruction {
  std::string signal;
};
struct HealthcheckInstruction {
  bool none = false;
  CommandLine command;
  int64_t interval = 0, timeout = 0, start_period = 0, start_interval = 0, retries = 0;  // ns
};
struct ShellInstruction {
  std::vector<std::string> words;
};
struct MaintainerInstruction {
  std::string name;
};

struct Instruction {
  std::string name;      // in capitals
  std::string original;  // as it was written, on one line; what "Step 2/5 : " shows
  int line = 0;          // where it begins and ends, from 1
  int end_line = 0;
  std::variant<FromInstruction, RunInstruction, CopyInstruction, CmdInstruction,
               EntrypointInstruction, EnvInstruction, LabelInstruction, ArgInstruction,
               ExposeInstruction, VolumeInstruction, UserInstruction, WorkdirInstruction,
               OnbuildInstruction, StopsignalInstruction, HealthcheckInstruction, ShellInstruction,
               MaintainerInstruction>
      what;
};

struct Stage {
  FromInstruction from;
  std::string original;
  int line = 0;
  std::vector<Instruction> instructions;  // without the FROM
};

struct Dockerfile {
  std::string syntax;  // of the directive; ""
  std::string check;
  char escape = '\\';
  std::vector<Instruction> global_arguments;  // ARGs before the first FROM
  std::vector<Stage> stages;

  // Errors are `invalid`: "dockerfile parse error on line 3: unknown instruction: RUNN (did you
  // mean RUN?)".
  static Result<Dockerfile> parse(std::string_view text);
};

// One instruction by itself: an ONBUILD trigger of a base image.
Result<Instruction> parse_trigger(std::string_view text);

// The line that an error of parse() names; 0 when it names none.
int line_of(const Error& error);
// The lines around `line`, numbered, with a mark on it.
std::string excerpt(std::string_view file, std::string_view text, int line);
// The candidate that `word` is likely to be a misspelling of; "".
std::string suggestion(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace gantry::builder
