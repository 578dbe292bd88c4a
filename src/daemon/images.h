// The image part of the daemon: job handlers (daemon/image_jobs.h), events, and the archives that are loaded
// at start. Queries (list, inspect, history, save) are the store's own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/image_store.h"

namespace gantry::engine {
class Engine;
}

namespace gantry::daemon {

class Events;

// Thread-safe. Everything given to create() must outlive it.
class Images {
 public:
  // Opens the store (its blobs below <data root>/content are the caller's ContentStore) and registers the
  // handlers. Registers no resource kinds of the graph driver: drivers::register_resource_kinds does.
  static Result<std::unique_ptr<Images>> create(engine::Engine& engine, graph::ContentStore& content,
                                                std::shared_ptr<drivers::GraphDriver> driver,
                                                Events& events, const std::string& temporary_directory);
  ~Images();

  image::ImageStore& store() { return *store_; }

  // Loads every archive (*.tar, *.tar.gz, *.tar.zst, *.tar.xz) of the directories whose images are not
  // here yet; one that fails is logged and passed over. Runs image.load jobs and waits for them.
  void load_archives(const std::vector<std::string>& directories);

 private:
  Images(engine::Engine& engine, Events& events) : engine_(engine), events_(events) {}
  void add_handlers();

  engine::Engine& engine_;
  Events& events_;
  std::unique_ptr<image::ImageStore> store_;
};

}  // namespace gantry::daemon
