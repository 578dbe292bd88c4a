// Fake resource kinds for the engine's tests: things are files in a directory, so that they outlive
// a killed process as real ones do.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "base/fs.h"
#include "base/sys.h"
#include "engine/engine.h"

namespace gantry::engine::testing_world {

class World {
 public:
  explicit World(std::string directory) : directory_(std::move(directory)) {
    for (const char* kind : {"thing", "slow"})
      EXPECT_TRUE(fs::make_directories(directory_ + "/" + kind, 0700));
  }

  Status make(const std::string& kind, const std::string& name) {
    return fs::write_file(directory_ + "/" + kind + "/" + name, "");
  }
  bool has(const std::string& kind, const std::string& name) const {
    return fs::exists(directory_ + "/" + kind + "/" + name);
  }
  std::vector<std::string> all(const std::string& kind) const {
    return *fs::list_directory(directory_ + "/" + kind);
  }
  // What was released, in order.
  std::vector<std::string> released() {
    std::lock_guard lock(mutex_);
    return released_;
  }

  void register_kinds(Resources& resources) {
    for (const char* kind : {"thing", "slow"}) {
      std::string name = kind;
      ASSERT_TRUE(resources.add({.name = name,
                                 .probe = [this, name](const Resource& r) -> Result<Presence> {
                                   return has(name, r.name) ? Presence::present : Presence::absent;
                                 },
                                 .release = [this, name](const Resource& r) -> Status {
                                   if (failing) return errno_error(EBUSY, "unlink {}", r.name);
                                   TRY(fs::remove_tree(directory_ + "/" + name + "/" + r.name));
                                   std::lock_guard lock(mutex_);
                                   released_.push_back(r.name);
                                   return {};
                                 },
                                 .mode = name == "slow" ? Release::deferred : Release::inline_,
                                 .enumerate = [this, name]() -> Result<std::vector<Resource>> {
                                   std::vector<Resource> found;
                                   std::vector<std::string> names =
                                       TRY(fs::list_directory(directory_ + "/" + name));
                                   for (std::string& file : names)
                                     found.push_back({.name = std::move(file)});
                                   return found;
                                 }}));
    }
  }

  std::atomic<bool> failing{false};

 private:
  const std::string directory_;
  std::mutex mutex_;
  std::vector<std::string> released_;
};

// A job whose handler is given by the test.
struct Any {
  static constexpr std::string_view kName = "test.any";
  using Input = std::function<Result<std::string>(JobContext&)>;
  using Output = std::string;
};

// The jobs of a small container engine, on fake things.
struct Create {
  static constexpr std::string_view kName = "test.create";
  struct Input {
    std::string id;
    bool fail = false;
  };
  using Output = std::string;
};
struct Remove {
  static constexpr std::string_view kName = "test.remove";
  using Input = std::string;
  using Output = Nothing;
};

inline void add_jobs(Engine& engine, World& world) {
  engine.add<Any>([](JobContext& job, Any::Input handler) { return handler(job); },
                  JobClass::container);
  engine.add<Create>(
      [&engine, &world](JobContext& job, Create::Input in) -> Result<std::string> {
        TRY(job.lock({{LockKind::container, in.id}}));
        std::string owner = "container:" + in.id;
        TRY(job.take({{.kind = "thing", .name = in.id + "-dir", .owner = owner},
                      {.kind = "slow", .name = in.id + "-veth", .owner = owner},
                      {.kind = "thing", .name = in.id + "-tmp"}}));
        TRY(world.make("thing", in.id + "-dir"));
        TRY(world.make("slow", in.id + "-veth"));
        TRY(world.make("thing", in.id + "-tmp"));
        if (in.fail) return conflict("{} was told to fail", in.id);
        job.on_commit([&engine, id = in.id](graph::Transaction& tx) -> Status {
          TRY(engine.graph().insert(tx, {.kind = graph::NodeKind::container, .key = id}));
          return {};
        });
        return in.id;
      },
      JobClass::container);
  engine.add<Remove>(
      [&engine](JobContext& job, std::string id) -> Result<Nothing> {
        TRY(job.lock({{LockKind::container, id}}));
        graph::Node node = TRY(engine.graph().read().get(graph::NodeKind::container, id));
        TRY(job.release_owned("container:" + id));
        job.on_commit(
            [&engine, node](graph::Transaction& tx) { return engine.graph().remove(tx, node.id); });
        return Nothing{};
      },
      JobClass::control);
}

}  // namespace gantry::engine::testing_world
