// The jobs of the builder: their names, inputs and outputs. Handlers are registered by Builds
// (daemon/build/builds.h). Progress events of image.build are Docker's JSON messages, to be sent as
// they are, one a line.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "base/json.h"
#include "daemon/api/container_config.h"
#include "engine/engine.h"
#include "image/image_store.h"
#include "registry/auth.h"

namespace gantry::daemon {

class BuildRun;

// POST /build: what Docker's classic builder takes.
struct ImageBuild {
  static constexpr std::string_view kName = "image.build";
  struct Input {
    std::string dockerfile;             // its path in the context; "": Dockerfile
    std::string remote;                 // a URL in place of the context
    std::vector<std::string> names;     // of the image
    std::string target;                 // a stage; "": the last
    std::string platform;               // "": the host's
    std::map<std::string, std::string> labels;
    std::vector<std::string> cache_from;
    bool quiet = false, no_cache = false, pull = false, squash = false;
    // What every RUN gets: limits, networks, further hosts, shared memory.
    api::HostConfig host;
    // Not part of the journal.
    std::map<std::string, std::string> build_args;
    std::map<std::string, std::string> secrets;  // by id
    registry::RegistryCredentials credentials;
    std::shared_ptr<ByteSource> context;  // the body; null with `remote`
  };
  struct Output {
    std::string id;
    std::vector<std::string> names;  // familiar
  };
};

// One stage of a build, on a thread of its own.
struct BuildStage {
  static constexpr std::string_view kName = "build.stage";
  struct Input {
    std::shared_ptr<BuildRun> run;
    size_t stage = 0;
  };
  using Output = engine::Nothing;
};

// One operation whose result is kept: a layer over another, found again by its key.
struct BuildStep {
  static constexpr std::string_view kName = "build.step";
  struct Input {
    std::string key;          // of the record
    std::string type;         // as `system df` shows it: "exec.cachemount", "regular", …
    std::string description;
    engine::JobId build = 0;  // whose lease keeps it
    // Not part of the journal.
    std::function<Result<image::BuiltLayer>(engine::JobContext&)> work;
  };
  using Output = image::BuiltLayer;
};

// A command of a build, in a container that only it knows.
struct BuildExec {
  static constexpr std::string_view kName = "build.exec";
  struct Input {
    std::string container;
    std::function<Result<int>(engine::JobContext&)> work;
  };
  struct Output {
    int exit_code = 0;
  };
};

// POST /build/prune.
struct BuildPrune {
  static constexpr std::string_view kName = "build.prune";
  struct Input {
    std::map<std::string, api::Strings> filters;  // until, id, type
    bool all = false;                             // also what images still share
    int64_t keep_storage = 0;                     // bytes that may stay
  };
  struct Output {
    api::Strings CachesDeleted;
    int64_t SpaceReclaimed = 0;
  };
};

}  // namespace gantry::daemon

namespace gantry::json {

template <>
struct Schema<daemon::ImageBuild::Input> {
  using T = daemon::ImageBuild::Input;
  static constexpr Field fields[] = {field<&T::dockerfile>("dockerfile", kOmitEmpty),
                                     field<&T::remote>("remote", kOmitEmpty),
                                     field<&T::names>("names", kOmitEmpty),
                                     field<&T::target>("target", kOmitEmpty),
                                     field<&T::platform>("platform", kOmitEmpty),
                                     field<&T::labels>("labels", kOmitEmpty),
                                     field<&T::no_cache>("no_cache"),
                                     field<&T::pull>("pull"),
                                     field<&T::squash>("squash")};
};
template <>
struct Schema<daemon::BuildStep::Input> {
  using T = daemon::BuildStep::Input;
  static constexpr Field fields[] = {field<&T::key>("key"), field<&T::type>("type")};
};
template <>
struct Schema<daemon::BuildExec::Input> {
  static constexpr Field fields[] = {field<&daemon::BuildExec::Input::container>("container")};
};
template <>
struct Schema<daemon::BuildPrune::Input> {
  using T = daemon::BuildPrune::Input;
  static constexpr Field fields[] = {field<&T::filters>("filters"), field<&T::all>("all"),
                                     field<&T::keep_storage>("keep_storage")};
};
template <>
struct Schema<daemon::BuildPrune::Output> {
  using T = daemon::BuildPrune::Output;
  static constexpr Field fields[] = {field<&T::CachesDeleted>("CachesDeleted", kNullEmpty),
                                     field<&T::SpaceReclaimed>("SpaceReclaimed")};
};

}  // namespace gantry::json
