// The file system of a stage or an image as a tree that COPY takes files from and looks at; every
// path is resolved beneath its root by descriptor.
#pragma once

#include "base/fs.h"
#include "builder/tree.h"
#include "engine/job.h"
#include "image/image_store.h"

namespace gantry::drivers {
class GraphDriver;
}

namespace gantry::daemon {

class RootTree final : public builder::Tree {
 public:
  explicit RootTree(UniqueFd root) : root_(std::move(root)) {}
  // The layers up to `chain` (empty: nothing), read-only, through a container layer that the job
  // gives back when it ends.
  static Result<std::unique_ptr<RootTree>> mount(engine::JobContext& job,
                                                 drivers::GraphDriver& driver,
                                                 const Digest& chain);

  const Beneath& root() const { return root_; }
  Result<std::optional<tar::Entry>> stat(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<std::unique_ptr<ByteSource>> open(const std::string& path) override;
  Result<Digest> digest(const std::string& path) override;

 private:
  Beneath root_;
};

// All of a tree below `path`, which is taken as the root, as an archive. Of a file: that file,
// called `name`.
Status write_archive(builder::Tree& tree, const std::string& path, const std::string& name,
                     ByteSink& out);

}  // namespace gantry::daemon
