// Into and out of a container's file system: archive (cp) and export.
#include <fcntl.h>

#include "base/failpoint.h"
#include "base/sys.h"
#include "base/tree_archive.h"
#include "base/tree_extract.h"
#include "daemon/container_tree.h"
#include "daemon/containers_impl.h"
#include "daemon/spec_builder.h"
#include "image/compression.h"
#include "libcontainer/user.h"

namespace gantry::daemon {
namespace {

// Docker's words for what is not there.
Error path_error(Error error, const std::string& path, const std::string& reference) {
  if (error.kind() == ErrorKind::not_found)
    return not_found("Could not find the file {} in container {}", path, reference);
  if (error.code() == ENOTDIR) return invalid("{}: not a directory", path);
  if (error.code() == ELOOP) return invalid("{}: too many levels of symbolic links", path);
  if (error.code() == ENAMETOOLONG) return invalid("{}: file name too long", path.substr(0, 256));
  return error;
}

}  // namespace

Result<Containers::PathRead> Containers::open_path(const std::string& reference,
                                                   const std::string& path) const {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  ContainerTree tree =
      TRY(ContainerTree::open(*container, impl_->daemon.graph_driver(), ContainerTree::Access::read,
                              ContainerTree::Volumes::all));
  Result<PathStat> stat = tree.stat(path);
  if (!stat) return path_error(std::move(stat).error(), path, reference);
  Result<ContainerTree::Entry> entry = tree.find(path);
  if (!entry) return path_error(std::move(entry).error(), path, reference);
  PathRead read;
  read.stat = json::dump(*stat);
  read.container = container->id();
  // The descriptor of the tree keeps its mounts; that of the entry alone would not.
  auto held = std::make_shared<std::pair<ContainerTree, ContainerTree::Entry>>(std::move(tree),
                                                                               entry.release());
  read.write = [held](ByteSink& out) {
    const ContainerTree::Entry& from = held->second;
    return write_subtree(from.directory.get(), from.name, from.shown, out);
  };
  return read;
}

Result<std::function<Status(ByteSink&)>> Containers::open_export(
    const std::string& reference) const {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  std::shared_ptr<const ContainerRecord> record = container->record();
  if (record->state.status == "removing")
    return conflict("You cannot export container {} which is being removed", record->id);
  if (record->state.status == "dead")
    return conflict("You cannot export container {} which is dead", record->id);
  auto tree = std::make_shared<ContainerTree>(
      TRY(ContainerTree::open(*container, impl_->daemon.graph_driver(), ContainerTree::Access::read,
                              ContainerTree::Volumes::none)));
  impl_->publish_event(*record, "export");
  return std::function<Status(ByteSink&)>([tree](ByteSink& out) -> Status {
    UniqueFd root = TRY(sys::openat(tree->root(), ".", O_RDONLY | O_DIRECTORY));
    return write_tree(root.get(), out);
  });
}

void Containers::path_was_read(const std::string& id) const {
  std::shared_ptr<Container> container = impl_->table.by_id(id);
  if (container) impl_->publish_event(*container->record(), "archive-path");
}

Result<Nothing> Containers::Impl::extract(engine::JobContext& job, ContainerExtract::Input input) {
  std::shared_ptr<Container> container = TRY(table.find(input.container));
  if (!input.archive) return invalid("no archive was given");
  auto pipe = std::dynamic_pointer_cast<BytePipe>(input.archive);
  auto interrupt = job.cancel().on_cancel([pipe] {
    if (pipe) pipe->fail(Error(ErrorKind::cancelled, "cancelled"));
  });
  const std::string temporary = daemon.options().data_root + "/tmp";
  // What is wrong is told before anything is sent.
  auto open = [&]() {
    return ContainerTree::open(*container, daemon.graph_driver(), ContainerTree::Access::read,
                               ContainerTree::Volumes::all);
  };
  {
    ContainerTree tree = TRY(open());
    Result<ContainerTree::Entry> entry = tree.find(input.path + "/.");
    if (!entry && entry.error().code() == ENOTDIR)
      return invalid("extraction point is not a directory");
    if (!entry) return path_error(std::move(entry).error(), input.path, input.container);
  }

  // A client may be slow, and the lock is not to be held for as long as it likes.
  TRY(failpoint("container.extract.spool"));
  UniqueFd spool = TRY(sys::open(temporary, O_TMPFILE | O_RDWR, 0600));
  FdSink sink(spool.get());
  uint64_t size = TRY(copy_all(*input.archive, sink));
  TRY(failpoint("container.extract.spooled"));
  TRY(job.check());

  TRY(job.lock({{engine::LockKind::container, container->id()}}));
  if (!table.by_id(container->id())) return not_found("No such container: {}", input.container);
  std::shared_ptr<const ContainerRecord> record = container->record();
  ContainerTree tree =
      TRY(ContainerTree::open(*container, daemon.graph_driver(), ContainerTree::Access::write,
                              ContainerTree::Volumes::all));
  Result<ContainerTree::Destination> destination = tree.destination(input.path);
  if (!destination) return path_error(std::move(destination).error(), input.path, input.container);
  ExtractOptions options;
  options.keep_kinds = input.keep_kinds;
  if (input.container_owner && !record->config.User.empty()) {
    UniqueFd root = TRY(sys::dup(tree.root()));
    libcontainer::ResolvedUser user =
        TRY(libcontainer::resolve_user(Beneath(std::move(root)), user_of(*record)));
    options.owner = Owner{user.user.uid, user.user.gid};
  }
  FileRangeSource file(spool.get(), 0, size);
  image::Decompressed plain = TRY(image::decompress(file));
  UniqueFd scratch = TRY(sys::open(temporary, O_RDONLY | O_DIRECTORY));
  TRY(failpoint("container.extract"));
  TRY(extract_tree(destination->root, destination->path, scratch.get(), *plain.source, options));
  job.after_commit([this, record] { publish_event(*record, "extract-to-dir"); });
  return Nothing{};
}

}  // namespace gantry::daemon
