// The jobs that change images: their names, inputs and outputs. Handlers are registered by Images
// (daemon/images.h). Progress events are Docker's JSON messages, to be sent as they are, one a line
// ({"stream": …}, {"status": …, "id": …}); a failure after the answer has begun is
// {"errorDetail": {"message": …}, "error": …}.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "base/json.h"
#include "daemon/api/container_config.h"
#include "image/api_types.h"
#include "image/image_store.h"
#include "registry/auth.h"

namespace gantry::daemon {

// POST /images/load. The archive comes through the source, which is not part of the journal.
struct ImageLoad {
  static constexpr std::string_view kName = "image.load";
  struct Input {
    std::shared_ptr<ByteSource> archive;
    bool quiet = false;
  };
  struct Output {
    std::vector<std::string> names;  // of all images loaded, familiar; the id of an untagged one
  };
};

// POST /images/create?fromSrc=…: without a tarball the source is a URL, which the job fetches. The
// last progress event is {"status": "sha256:…"}.
struct ImageImport {
  static constexpr std::string_view kName = "image.import";
  struct Input {
    std::shared_ptr<ByteSource> tarball;
    std::string source;  // fromSrc as given; "-" for the body
    std::string repository;
    std::string tag;
    std::string message;
    std::string platform;
    std::vector<std::string> changes;
  };
  struct Output {
    std::string id;
  };
};

// POST /commit. An image of what a container changed; the handler is of the containers.
struct ImageCommit {
  static constexpr std::string_view kName = "image.commit";
  struct Input {
    std::string container;
    std::string repository;
    std::string tag;
    std::string author;
    std::string comment;
    bool pause = true;                 // the container, while its layer is read
    std::vector<std::string> changes;  // Dockerfile instructions
    // In place of the container's own, from which it takes what it leaves out.
    std::optional<api::ContainerConfig> config;
  };
  struct Output {
    std::string Id;
  };
};

// POST /images/create?fromImage=…
struct ImagePull {
  static constexpr std::string_view kName = "image.pull";
  struct Input {
    std::string image;
    std::string tag;  // a tag or a digest; "" when `image` has it
    std::string platform;
    bool all_tags = false;  // when there is neither tag nor digest
    // Not part of the journal.
    registry::AuthConfig credentials;
    std::function<void(json::object)> forward;  // progress goes here, of a job within a job
  };
  struct Output {
    std::string id;
  };
};

// A layer, or the compressed form of one, that a check has found missing: from a repository that
// had it.
struct ImageRefetch {
  static constexpr std::string_view kName = "image.refetch";
  struct Input {
    std::string kind;  // "layer" or "blob"
    std::string key;
    // Not part of the journal.
    registry::RegistryCredentials credentials;
  };
  using Output = image::Refetched;
};

// POST /images/{name}/push. Without a tag: all that are here.
struct ImagePush {
  static constexpr std::string_view kName = "image.push";
  struct Input {
    std::string image;
    std::string tag;
    bool recompress = false;
    registry::AuthConfig credentials;  // not part of the journal
  };
  struct Output {
    std::string digest;  // of the last manifest
  };
};

// POST /images/{name}/tag
struct ImageTag {
  static constexpr std::string_view kName = "image.tag";
  struct Input {
    std::string image;
    std::string repository;
    std::string tag;
  };
  struct Output {
    std::string name;  // familiar
  };
};

// DELETE /images/{name}
struct ImageRemove {
  static constexpr std::string_view kName = "image.remove";
  struct Input {
    std::string image;
    bool force = false;
    bool no_prune = false;
  };
  struct Output {
    std::vector<image::RemovedItem> items;
  };
};

// POST /images/prune. Filters as of the API: dangling (default true), until, label.
struct ImagePrune {
  static constexpr std::string_view kName = "image.prune";
  struct Input {
    image::Filters filters;
  };
  using Output = image::PruneReport;
};

}  // namespace gantry::daemon

namespace gantry::json {

#define GANTRY_IMAGE_INPUT(Type, ...)                \
  template <>                                        \
  struct Schema<daemon::Type::Input> {               \
    using T = daemon::Type::Input;                   \
    static constexpr Field fields[] = {__VA_ARGS__}; \
  }
GANTRY_IMAGE_INPUT(ImageLoad, field<&T::quiet>("quiet"));
GANTRY_IMAGE_INPUT(ImageImport, field<&T::source>("source"), field<&T::repository>("repository"),
                   field<&T::tag>("tag"), field<&T::message>("message"),
                   field<&T::platform>("platform"), field<&T::changes>("changes"));
GANTRY_IMAGE_INPUT(ImagePull, field<&T::image>("image"), field<&T::tag>("tag"),
                   field<&T::platform>("platform"), field<&T::all_tags>("all_tags"));
GANTRY_IMAGE_INPUT(ImageRefetch, field<&T::kind>("kind"), field<&T::key>("key"));
GANTRY_IMAGE_INPUT(ImagePush, field<&T::image>("image"), field<&T::tag>("tag"),
                   field<&T::recompress>("recompress"));
GANTRY_IMAGE_INPUT(ImageTag, field<&T::image>("image"), field<&T::repository>("repository"),
                   field<&T::tag>("tag"));
GANTRY_IMAGE_INPUT(ImageRemove, field<&T::image>("image"), field<&T::force>("force"),
                   field<&T::no_prune>("no_prune"));
GANTRY_IMAGE_INPUT(ImagePrune, field<&T::filters>("filters"));
GANTRY_IMAGE_INPUT(ImageCommit, field<&T::container>("container"),
                   field<&T::repository>("repository"), field<&T::tag>("tag"),
                   field<&T::author>("author"), field<&T::comment>("comment"),
                   field<&T::pause>("pause"), field<&T::changes>("changes"),
                   field<&T::config>("config"));
#undef GANTRY_IMAGE_INPUT
template <>
struct Schema<daemon::ImageCommit::Output> {
  static constexpr Field fields[] = {field<&daemon::ImageCommit::Output::Id>("Id")};
};

}  // namespace gantry::json
