// The image part of the daemon: job handlers (daemon/image_jobs.h), events, and the archives that
// are loaded at start. Queries (list, inspect, history, save) are the store's own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemon/image_jobs.h"
#include "image/image_store.h"

namespace gantry::engine {
class Engine;
class JobContext;
}  // namespace gantry::engine

namespace gantry::http {
class Agent;
}

namespace gantry::daemon {

class Events;

// Thread-safe. Everything given to create() must outlive it.
class Images {
 public:
  // Opens the store (its blobs below <data root>/content are the caller's ContentStore) and
  // registers the handlers and the resource kind of blobs. drivers::register_resource_kinds() is
  // the caller's.
  static Result<std::unique_ptr<Images>> create(engine::Engine& engine,
                                                graph::ContentStore& content,
                                                std::shared_ptr<drivers::GraphDriver> driver,
                                                Events& events,
                                                const std::string& temporary_directory);
  ~Images();

  image::ImageStore& store() { return *store_; }

  // How removal learns whether a container runs; before jobs run. Without it none does.
  void set_running(std::function<bool(const std::string& container)> running) {
    running_ = std::move(running);
  }

  // Bytes that an import may fetch; before jobs run.
  void set_max_download(int64_t bytes) { max_download_ = bytes; }

  // Loads every archive (*.tar, *.tar.gz, *.tgz, *.tar.zst, *.tar.xz) of the directories that has
  // an image which is not here; one that fails is logged and passed over. Runs image.load jobs and
  // waits for them. `again`: also those whose images are here, for the names (after a rebuild).
  void load_archives(const std::vector<std::string>& directories, bool again = false);

 private:
  Images(engine::Engine& engine, Events& events) : engine_(engine), events_(events) {}
  void add_handlers();
  Result<ImageLoad::Output> load(engine::JobContext& job, ImageLoad::Input input);
  Result<ImageImport::Output> import(engine::JobContext& job, ImageImport::Input input);
  Result<ImageTag::Output> tag(engine::JobContext& job, ImageTag::Input input);
  Result<ImageRemove::Output> remove(engine::JobContext& job, ImageRemove::Input input);
  void publish(const std::string& id, const std::vector<image::RemovedItem>& items);
  void load_archive(const std::string& path, bool again);

  engine::Engine& engine_;
  Events& events_;
  std::unique_ptr<image::ImageStore> store_;
  std::function<bool(const std::string&)> running_;
  std::unique_ptr<http::Agent> downloads_;
  int64_t max_download_ = int64_t{64} << 30;
};

}  // namespace gantry::daemon
