// Images that come from registries and go to them: the handlers of image.pull and image.push, and
// the questions that need no job (login, distribution, search).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "daemon/image_jobs.h"
#include "image/image_store.h"
#include "registry/hosts.h"
#include "registry/search.h"

namespace gantry::daemon {

struct Options;
class Events;

// Thread-safe. Everything given to create() must outlive it.
class Transfers {
 public:
  // Registers the handlers. Errors: invalid for options that name no registry or mirror.
  static Result<std::unique_ptr<Transfers>> create(engine::Engine& engine, image::ImageStore& store,
                                                   Events& events, const Options& options);

  registry::Hosts& hosts() { return *hosts_; }

  // POST /auth: gives Docker's answer.
  Result<json::object> login(const registry::AuthConfig& credentials);
  // GET /distribution/{name}/json.
  Result<json::object> distribution(const std::string& name,
                                    const registry::AuthConfig& credentials);
  // GET /images/search.
  Result<json::array> search(const registry::SearchQuery& query,
                             const registry::AuthConfig& credentials);

 private:
  Transfers(engine::Engine& engine, image::ImageStore& store, Events& events)
      : engine_(engine), store_(store), events_(events) {}
  Result<ImagePull::Output> pull(engine::JobContext& job, ImagePull::Input input);
  Result<ImagePull::Output> pull_all(engine::JobContext& job, const ImagePull::Input& input,
                                     const image::Reference& name);
  Result<image::Refetched> refetch(engine::JobContext& job, ImageRefetch::Input input);
  Result<ImagePush::Output> push(engine::JobContext& job, ImagePush::Input input);
  void add_handlers();

  engine::Engine& engine_;
  image::ImageStore& store_;
  Events& events_;
  std::unique_ptr<registry::Hosts> hosts_;
  image::PullOptions pull_defaults_;
  int parallel_uploads_ = 5;
};

}  // namespace gantry::daemon
