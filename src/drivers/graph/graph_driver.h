// Where layers and container file systems live on disk.
//
// Vocabulary. A *layer* is the change that one tar archive of an image makes, named by its *chain
// id* (the digest of the whole stack up to it: image-spec, config.md). Layers are immutable and
// form trees by their parent. A *container layer* is the writable top of a container, named by the
// container's id. A *recipe* (RootfsSource) says how to mount one; whoever starts the container
// carries it out in the container's own mount namespace, so nothing here is ever attached to the
// host's tree.
//
// Life of a layer: `new_layer_directory()` draws a directory name and the caller writes the
// resource row (kLayerKind). Then two steps, which different threads may take:
//
//   ingest()   reads the whole stream into that directory. It needs nothing but the stream: the
//              layers of an image are ingested in parallel and in any order, before their parents
//              are there and before it is known that the digests are right.
//   publish()  gives what was ingested its place over its parent, which must be published by then,
//              and makes it visible under its chain id as its very last step. It is short: what it
//              does with what lies below is to let directories that the archive left out take their
//              attributes from there. Between the two the caller compares the diff id.
//
// apply() is both. An error or a crash before the end of publish() leaves an unpublished directory,
// which releasing the resource removes; a directory that failed is not used again. A name is never
// used twice, so a release that is still pending can never hit a layer that was loaded again
// meanwhile. What is ingested and not yet published is of this run: it does not outlive the daemon.
//
// Life of a container layer: the caller writes the row (kContainerKind), `create_container()` makes
// it, the recipe is mounted and unmounted any number of times (by one mount at a time), and
// releasing the resource removes it: `remove_*` only renames into <data root>/trash, so it is fast;
// what lies in the trash is deleted by the background releaser.
//
// Durability: nothing here calls fsync. Before the rows that name layers are committed, the caller
// calls `sync()` once for all of them; a layer whose row was lost in a power failure is an orphan,
// which the reconciler finds at the next start. Container layers are as durable as the container's
// own fsyncs.
//
// Every method is thread-safe. Two layers of one chain id may be ingested and published at a time,
// in directories of their own; both succeed, the last one published wins and the caller (who holds
// a lock or finds the layer in the graph) decides which to keep.
//
// Memory: what one ingest() or publish() needs is bounded (at most 16 MiB and what a member's own
// headers need, see tar.h) whatever the archive says and however many members it has.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_source.h"
#include "base/digest.h"
#include "base/rootfs_source.h"

namespace gantry::engine {
class Resources;
}

namespace gantry::drivers {

class LayerDirectories;

// What ingest() read.
struct IngestedLayer {
  std::string directory;
  uint64_t size = 0;  // bytes of the regular files that the archive carried
};

struct PublishSpec {
  Digest chain_id;
  // The digest of the archive, which the caller has computed and compared. Drivers that keep
  // archives store those of one diff id once. Empty: not known, nothing is shared.
  Digest diff_id;
  Digest parent;          // chain id of the layer below; empty for the lowest
  std::string directory;  // that was ingested
};

// For apply().
struct LayerSpec {
  Digest chain_id;
  Digest diff_id;
  Digest parent;
  std::string directory;  // from new_layer_directory()
  // Called between the two steps; an error discards the layer and is what apply() returns. This is
  // where the caller compares the diff id.
  std::function<Status()> accept = nullptr;
};

struct LayerInfo {
  Digest chain_id;
  Digest parent;
  std::string directory;
  uint64_t size = 0;  // bytes of the regular files that the archive carried
};

enum class ContainerLifetime {
  kept,       // survives a crash of the machine as far as the container synced its files
  ephemeral,  // --rm: gone with its container, so nothing of it need reach the disk (overlay
              // "volatile")
};

struct ContainerSpec {
  std::string id;
  Digest image;  // chain id of the topmost layer; empty: an empty file system
  ContainerLifetime lifetime = ContainerLifetime::kept;
  // Bytes that the container may add to its image; 0: as many as there is room for. `unsupported`
  // where the file system cannot hold it to that.
  uint64_t size_limit = 0;
};

// What happened to a path of a container since it was created, as `docker diff` counts it.
enum class ChangeKind : int { modified = 0, added = 1, deleted = 2 };

struct Change {
  ChangeKind kind;
  std::string path;  // absolute in the container, "/etc/motd"
  // The directory that holds it now and its name there; -1 for what was deleted. Borrowed for the
  // call.
  int directory_fd = -1;
  std::string name;
};
// Called for each change, a directory before its contents, siblings in byte order; an error ends
// the walk.
using ChangeVisitor = std::function<Status(const Change&)>;

class GraphDriver {
 public:
  virtual ~GraphDriver() = default;
  std::string_view name() const { return name_; }  // "erofs", "overlay2", "vfs"
  const std::string& data_root() const { return data_root_; }

  // Reads `tar` (uncompressed) to its end into the fresh directory. Whatever its members are
  // called, nothing outside of it is touched; a member that tries is an `invalid` error that names
  // it.
  virtual Result<IngestedLayer> ingest(const std::string& directory, ByteSource& tar) = 0;
  // Not twice for one directory, also when it fails. `not_found` when the parent is not published.
  // An archive may turn out only here to be wrong: `invalid`, naming the member.
  virtual Result<LayerInfo> publish(const PublishSpec& spec) = 0;
  // ingest(), accept(), publish(), for a layer whose parent is there; without the parent nothing is
  // read.
  Result<LayerInfo> apply(const LayerSpec& spec, ByteSource& tar);
  // What publish() returned, for a published layer; not_found for any other chain id.
  virtual Result<LayerInfo> layer(const Digest& chain_id) = 0;
  // The archive that was applied, byte for byte. The layer must outlive the source.
  virtual Result<std::unique_ptr<ByteSource>> read_layer(const Digest& chain_id) = 0;
  // Whether what the driver keeps beside the archive is what publish() made: `invalid` when it is
  // not. The archive itself is checked by reading it.
  virtual Status check_layer(const Digest& chain_id) {
    Result<LayerInfo> known = layer(chain_id);
    return known ? Status() : std::move(known).error();
  }
  // Unpublishes the directory and moves it to the trash; one that is not there is success.
  virtual Status remove_layer(const std::string& directory) = 0;

  // A few system calls, no fsync: on the path of every `run`.
  virtual Result<RootfsSource> create_container(const ContainerSpec& spec) = 0;
  // Makes the container layer ready for another mount and says how to do it. Not while it is
  // mounted.
  virtual Result<RootfsSource> recipe(const std::string& id) = 0;
  // Puts the container layer onto the layers of `image` (topmost chain id) that are there now:
  // those that it was made on were lost and came again. What it stands on already is left alone.
  virtual Status rebase_container(const std::string& id, const Digest& image) = 0;
  // Moves the container layer to the trash; one that is not there is success.
  virtual Status remove_container(const std::string& id) = 0;
  // Differences between the container layer and its image; sees a running container's files as they
  // are.
  virtual Status diff(const std::string& id, const ChangeVisitor& visit) = 0;

  // The driver's tree on disk, for the resource kinds and sync().
  virtual LayerDirectories& directories() = 0;

 protected:
  GraphDriver(std::string name, std::string data_root)
      : name_(std::move(name)), data_root_(std::move(data_root)) {}

 private:
  std::string name_;
  std::string data_root_;
};

// All that there are, the preferred one first.
std::vector<std::string_view> graph_driver_names();

// Opens the driver called `name`, or, for "", the first that works on this data root: erofs (Linux
// 6.12), overlay2, vfs. Whether it works is found by really mounting one, attached to nothing. An
// unknown name is `invalid`; a named driver that does not work here is `unsupported` with the
// kernel's reason.
Result<std::shared_ptr<GraphDriver>> open_graph_driver(const std::string& name,
                                                       const std::string& data_root);

// A name for a layer's directory that was never used before: 13 letters and digits.
std::string new_layer_directory();

// Flushes everything the driver has written to the disk (syncfs); see "Durability" above.
Status sync(GraphDriver& driver);

// Kinds of the rows: "layer-dir" (named by directory) and "container-dir" (named by container id).
// Both are deferred: released by the background releaser, which renames into the trash and deletes
// there.
inline constexpr std::string_view kLayerKind = "layer-dir";
inline constexpr std::string_view kContainerKind = "container-dir";
Status register_resource_kinds(engine::Resources& resources, std::shared_ptr<GraphDriver> driver);

}  // namespace gantry::drivers
