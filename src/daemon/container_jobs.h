// The jobs that change a container or an exec: their names, inputs and outputs. Handlers are
// registered by Containers (daemon/containers.h); a front end does
// engine.submit<ContainerStart>({...}) and encodes the result. `container` is always a name, an id
// or an unambiguous id prefix, as a client wrote it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/byte_source.h"
#include "base/unique_fd.h"
#include "daemon/api/container_config.h"

namespace gantry::daemon {

struct ContainerCreate {
  static constexpr std::string_view kName = "container.create";
  struct Input {
    std::string name;  // "": one is made up
    std::string platform;
    api::CreateBody body;
  };
  struct Output {
    std::string Id;
    api::Strings Warnings;
  };
};

// `changed` is false when there was nothing to do (Docker answers 304 Not Modified).
struct ChangeOutput {
  bool changed = true;
};
struct Nothing {
  bool ok = true;
};

struct ContainerStart {
  static constexpr std::string_view kName = "container.start";
  struct Input {
    std::string container;
    // Set by the restart policy: the run whose end asks for this start. When anything else happened
    // to the container meanwhile, nothing is done.
    std::string restart_of;
  };
  using Output = ChangeOutput;
};

// Records why a container could not be started: a child of container.start, whose own work is
// undone.
struct ContainerFailed {
  static constexpr std::string_view kName = "container.failed";
  struct Input {
    std::string container;  // full id
    std::string record;     // JSON of the ContainerRecord to store
  };
  using Output = Nothing;
};

// Remembers that the end of a run is somebody's wish: a child of container.stop, kill, restart and
// remove, which hold no lock while they wait for the end. Nothing when that run is over.
struct ContainerMarkStopped {
  static constexpr std::string_view kName = "container.mark-stopped";
  struct Input {
    std::string container;  // full id
    std::string run;
    bool restart = false;  // a start follows: --rm does not act in between
  };
  using Output = Nothing;
};

struct ContainerStop {
  static constexpr std::string_view kName = "container.stop";
  struct Input {
    std::string container;
    std::optional<int> timeout;  // seconds until SIGKILL; absent: the container's own; -1: for ever
    std::string signal;          // "": the container's stop signal
  };
  using Output = ChangeOutput;
};

struct ContainerRestart {
  static constexpr std::string_view kName = "container.restart";
  using Input = ContainerStop::Input;
  using Output = Nothing;
};

struct ContainerKill {
  static constexpr std::string_view kName = "container.kill";
  struct Input {
    std::string container;
    std::string signal;  // "KILL", "SIGTERM", "9"; "" is KILL
  };
  using Output = Nothing;
};

struct ContainerPause {
  static constexpr std::string_view kName = "container.pause";
  using Input = ContainerStart::Input;
  using Output = Nothing;
};
struct ContainerUnpause {
  static constexpr std::string_view kName = "container.unpause";
  using Input = ContainerStart::Input;
  using Output = Nothing;
};

struct ContainerRename {
  static constexpr std::string_view kName = "container.rename";
  struct Input {
    std::string container;
    std::string name;
  };
  using Output = Nothing;
};

struct ContainerRemove {
  static constexpr std::string_view kName = "container.remove";
  struct Input {
    std::string container;
    bool force = false;    // kill it first
    bool volumes = false;  // its anonymous volumes too
  };
  using Output = Nothing;
};

struct ContainerPrune {
  static constexpr std::string_view kName = "container.prune";
  struct Input {
    std::map<std::string, api::Strings> filters;
  };
  struct Output {
    api::Strings ContainersDeleted;
    int64_t SpaceReclaimed = 0;
  };
};

// POST /containers/{id}/update: only resources that are present change.
struct ContainerUpdate {
  static constexpr std::string_view kName = "container.update";
  struct Input {
    std::string container;
    json::object changes;  // the body as it came
  };
  struct Output {
    api::Strings Warnings;
  };
};

// PUT /containers/{id}/archive. The archive is not part of the journal.
struct ContainerExtract {
  static constexpr std::string_view kName = "container.extract";
  struct Input {
    std::string container;
    std::string path;              // of a directory in the container
    bool keep_kinds = false;       // noOverwriteDirNonDir
    bool container_owner = false;  // copyUIDGID: everything belongs to the container's user
    std::shared_ptr<ByteSource> archive;
  };
  using Output = Nothing;
};

// A container's process ended (or its shim is gone): told by the exec driver, or found by the
// reconciler.
struct ContainerExit {
  static constexpr std::string_view kName = "container.exit";
  struct Input {
    std::string container;  // full id
    std::string run;        // which run of it: a late notice of an earlier run changes nothing
    int exit_code = 0;
    bool oom_killed = false;
    int64_t finished_at = 0;  // ns since the epoch
    std::string reason;       // why, when the exit was not the process's own ("shim killed")
  };
  using Output = Nothing;
};

// One run of a container's healthcheck, an exec of its own, and what it says of the container.
struct ContainerHealthCheck {
  static constexpr std::string_view kName = "container.health-check";
  struct Input {
    std::string container;   // full id
    std::string run;         // nothing is done when that is over
    int64_t generation = 0;  // nor when the checks were stopped meanwhile
  };
  using Output = Nothing;
};

// At start: takes over the containers whose shims live, before any other job of a container. Gives
// the ends that nobody saw, each to become a container.exit.
struct ContainerAdopt {
  static constexpr std::string_view kName = "container.adopt";
  struct Input {
    std::string container;  // id of one that could not be reached then; "": all
  };
  struct Output {
    int64_t adopted = 0;
    std::vector<ContainerExit::Input> ended;
    std::vector<std::string> unreached;  // ids, to be tried again
  };
};

// A client's connection after hijacking, with the bytes that were read too far.
struct ClientStream {
  UniqueFd fd;
  std::string leftover;
};

struct ExecConfig {
  bool AttachStdin = false, AttachStdout = false, AttachStderr = false;
  std::optional<std::vector<uint32_t>> ConsoleSize;  // [height, width]
  std::string DetachKeys;
  bool Tty = false;
  api::Strings Env;
  api::StringOrList Cmd;
  bool Privileged = false;
  std::string User, WorkingDir;
};

struct ExecCreate {
  static constexpr std::string_view kName = "exec.create";
  struct Input {
    std::string container;
    ExecConfig config;
  };
  struct Output {
    std::string Id;
  };
};

struct ExecStart {
  static constexpr std::string_view kName = "exec.start";
  struct Input {
    std::string exec;
    bool detach = false;
    bool tty = false;
    std::optional<std::vector<uint32_t>> console_size;
    std::shared_ptr<ClientStream> client;  // not journalled; absent when detached
  };
  using Output = Nothing;
};

}  // namespace gantry::daemon

namespace gantry::json {

#define GANTRY_JOB_FIELDS(type) \
  template <>                   \
  struct Schema<daemon::type>

GANTRY_JOB_FIELDS(ChangeOutput) {
  static constexpr Field fields[] = {field<&daemon::ChangeOutput::changed>("changed")};
};
GANTRY_JOB_FIELDS(Nothing) {
  static constexpr Field fields[] = {field<&daemon::Nothing::ok>("ok")};
};
GANTRY_JOB_FIELDS(ContainerCreate::Input) {
  using T = daemon::ContainerCreate::Input;
  static constexpr Field fields[] = {field<&T::name>("name"), field<&T::platform>("platform"),
                                     field<&T::body>("body")};
};
GANTRY_JOB_FIELDS(ContainerCreate::Output) {
  using T = daemon::ContainerCreate::Output;
  static constexpr Field fields[] = {field<&T::Id>("Id"), field<&T::Warnings>("Warnings")};
};
GANTRY_JOB_FIELDS(ContainerStart::Input) {
  using T = daemon::ContainerStart::Input;
  static constexpr Field fields[] = {field<&T::container>("container"),
                                     field<&T::restart_of>("restart_of", kOmitEmpty)};
};
GANTRY_JOB_FIELDS(ContainerMarkStopped::Input) {
  using T = daemon::ContainerMarkStopped::Input;
  static constexpr Field fields[] = {field<&T::container>("container"), field<&T::run>("run"),
                                     field<&T::restart>("restart", kOmitEmpty)};
};
GANTRY_JOB_FIELDS(ContainerFailed::Input) {
  using T = daemon::ContainerFailed::Input;
  static constexpr Field fields[] = {field<&T::container>("container"),
                                     field<&T::record>("record")};
};
GANTRY_JOB_FIELDS(ContainerStop::Input) {
  using T = daemon::ContainerStop::Input;
  static constexpr Field fields[] = {field<&T::container>("container"),
                                     field<&T::timeout>("timeout", kOmitEmpty),
                                     field<&T::signal>("signal", kOmitEmpty)};
};
GANTRY_JOB_FIELDS(ContainerKill::Input) {
  using T = daemon::ContainerKill::Input;
  static constexpr Field fields[] = {field<&T::container>("container"),
                                     field<&T::signal>("signal")};
};
GANTRY_JOB_FIELDS(ContainerRename::Input) {
  using T = daemon::ContainerRename::Input;
  static constexpr Field fields[] = {field<&T::container>("container"), field<&T::name>("name")};
};
GANTRY_JOB_FIELDS(ContainerRemove::Input) {
  using T = daemon::ContainerRemove::Input;
  static constexpr Field fields[] = {field<&T::container>("container"), field<&T::force>("force"),
                                     field<&T::volumes>("volumes")};
};
GANTRY_JOB_FIELDS(ContainerPrune::Input) {
  static constexpr Field fields[] = {field<&daemon::ContainerPrune::Input::filters>("filters")};
};
GANTRY_JOB_FIELDS(ContainerPrune::Output) {
  using T = daemon::ContainerPrune::Output;
  static constexpr Field fields[] = {field<&T::ContainersDeleted>("ContainersDeleted", kNullEmpty),
                                     field<&T::SpaceReclaimed>("SpaceReclaimed")};
};
GANTRY_JOB_FIELDS(ContainerUpdate::Input) {
  using T = daemon::ContainerUpdate::Input;
  static constexpr Field fields[] = {field<&T::container>("container"),
                                     field<&T::changes>("changes")};
};
GANTRY_JOB_FIELDS(ContainerUpdate::Output) {
  static constexpr Field fields[] = {
      field<&daemon::ContainerUpdate::Output::Warnings>("Warnings", kNullEmpty)};
};
GANTRY_JOB_FIELDS(ContainerExtract::Input) {
  using T = daemon::ContainerExtract::Input;
  static constexpr Field fields[] = {field<&T::container>("container"), field<&T::path>("path"),
                                     field<&T::keep_kinds>("keep_kinds"),
                                     field<&T::container_owner>("container_owner")};
};
GANTRY_JOB_FIELDS(ContainerExit::Input) {
  using T = daemon::ContainerExit::Input;
  static constexpr Field fields[] = {
      field<&T::container>("container"),     field<&T::run>("run"),
      field<&T::exit_code>("exit_code"),     field<&T::oom_killed>("oom_killed"),
      field<&T::finished_at>("finished_at"), field<&T::reason>("reason", kOmitEmpty)};
};
GANTRY_JOB_FIELDS(ContainerHealthCheck::Input) {
  using T = daemon::ContainerHealthCheck::Input;
  static constexpr Field fields[] = {field<&T::container>("container"), field<&T::run>("run"),
                                     field<&T::generation>("generation")};
};
GANTRY_JOB_FIELDS(ExecConfig) {
  using T = daemon::ExecConfig;
  static constexpr Field fields[] = {
      field<&T::AttachStdin>("AttachStdin"),   field<&T::AttachStdout>("AttachStdout"),
      field<&T::AttachStderr>("AttachStderr"), field<&T::ConsoleSize>("ConsoleSize", kOmitEmpty),
      field<&T::DetachKeys>("DetachKeys"),     field<&T::Tty>("Tty"),
      field<&T::Env>("Env", kOmitEmpty),       field<&T::Cmd>("Cmd"),
      field<&T::Privileged>("Privileged"),     field<&T::User>("User"),
      field<&T::WorkingDir>("WorkingDir")};
};
GANTRY_JOB_FIELDS(ExecCreate::Input) {
  using T = daemon::ExecCreate::Input;
  static constexpr Field fields[] = {field<&T::container>("container"),
                                     field<&T::config>("config")};
};
GANTRY_JOB_FIELDS(ExecCreate::Output) {
  static constexpr Field fields[] = {field<&daemon::ExecCreate::Output::Id>("Id")};
};
GANTRY_JOB_FIELDS(ExecStart::Input) {
  using T = daemon::ExecStart::Input;
  static constexpr Field fields[] = {field<&T::exec>("exec"), field<&T::detach>("detach"),
                                     field<&T::tty>("tty"),
                                     field<&T::console_size>("console_size", kOmitEmpty)};
};

}  // namespace gantry::json
