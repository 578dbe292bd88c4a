// gantry-layer-bench DRIVER DATA-ROOT TAR: what one layer costs with a storage driver, as one line
// of JSON in milliseconds: taken in (ingest, publish) and on the disk (sync), a container made and
// mounted, every file read for the first time and once more, the layer removed. For
// bench/layers.py; the data root must be empty.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "base/fs.h"
#include "base/sys.h"
#include "drivers/graph/graph_driver.h"
#include "drivers/graph/layer_directories.h"
#include "drivers/graph/rootfs_mount.h"

namespace gantry::drivers {
namespace {

class Steps {
 public:
  void done(std::string_view name) {
    auto now = std::chrono::steady_clock::now();
    double spent = std::chrono::duration<double, std::milli>(now - last_).count();
    text_ += fmt::format("{}\"{}\": {:.3f}", text_.empty() ? "" : ", ", name, spent);
    last_ = std::chrono::steady_clock::now();
  }
  const std::string& text() const { return text_; }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  std::string text_;
};

Status read_all_files(int directory, std::vector<char>& buffer) {
  std::vector<std::string> names = TRY(fs::list_directory(directory));
  for (const std::string& name : names) {
    struct stat st = TRY(sys::fstatat(directory, name));
    if (S_ISDIR(st.st_mode)) {
      UniqueFd child = TRY(sys::openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      TRY(read_all_files(child.get(), buffer));
    } else if (S_ISREG(st.st_mode)) {
      UniqueFd file = TRY(sys::openat(directory, name, O_RDONLY | O_NOFOLLOW));
      while (TRY(sys::read(file.get(), buffer.data(), buffer.size())) > 0) {
      }
    }
  }
  return {};
}

Status bench(const std::string& name, const std::string& root, const std::string& tar) {
  std::shared_ptr<GraphDriver> driver = TRY(open_graph_driver(name, root));
  UniqueFd file = TRY(sys::open(tar, O_RDONLY));
  FdSource source(file.get());
  PublishSpec spec;
  spec.chain_id = spec.diff_id = Digest::of(tar);
  spec.directory = new_layer_directory();
  std::vector<char> buffer(128 << 10);
  Steps steps;
  (void)TRY(driver->ingest(spec.directory, source));
  steps.done("ingest");
  (void)TRY(driver->publish(spec));
  steps.done("publish");
  TRY(sync(*driver));
  steps.done("sync");
  RootfsSource recipe =
      TRY(driver->create_container({"bench", spec.chain_id, ContainerLifetime::ephemeral}));
  steps.done("create");
  {
    UniqueFd mount = recipe.type == "bind" ? TRY(sys::open(recipe.source, O_RDONLY | O_DIRECTORY))
                                           : TRY(mount_overlay(recipe));
    steps.done("mount");
    UniqueFd top = TRY(sys::openat(mount.get(), ".", O_RDONLY | O_DIRECTORY));
    TRY(read_all_files(top.get(), buffer));
    steps.done("first read");
    TRY(read_all_files(top.get(), buffer));
    steps.done("second read");
  }
  steps.done("unmount");
  TRY(driver->remove_container("bench"));
  TRY(driver->directories().empty_trash("bench"));
  TRY(driver->remove_layer(spec.directory));
  TRY(driver->directories().empty_trash(spec.directory));
  steps.done("remove");
  fmt::print("{{{}}}\n", steps.text());
  return {};
}

}  // namespace
}  // namespace gantry::drivers

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: gantry-layer-bench DRIVER DATA-ROOT TAR\n", stderr);
    return 2;
  }
  gantry::Status done = gantry::drivers::bench(argv[1], argv[2], argv[3]);
  if (done) return 0;
  fmt::print(stderr, "gantry-layer-bench: {}\n", done.error().message());
  return 1;
}
