// The images of this machine: what is known of them (in the graph), their blobs (in the content
// store) and their layers (in the graph driver).
//
// Graph. Nodes: image (key: image id, the digest of its config), layer (key: chain id), blob (key:
// digest), tag (key: normalised reference). Edges: tag names image; image has its layers as members
// (position 0 is the lowest) and its config blob as config; a layer has a parent. Whoever creates a
// container links container → image "uses" in the transaction that adds the container; that keeps
// the image and its layers.
//
// Queries are thread-safe and take no lock that a change holds for long. Changes run inside a job:
// they take the store's lock, write resource rows before they take directories, and add their graph
// writes to the job's closing transaction, so an image is whole or absent whenever the daemon dies.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_source.h"
#include "base/digest.h"
#include "drivers/graph/graph_driver.h"
#include "image/api_types.h"
#include "image/config.h"
#include "image/reference.h"
#include "image/transfer.h"

namespace gantry::graph {
class ContentStore;
class Database;
}  // namespace gantry::graph
namespace gantry::engine {
class JobContext;
class Engine;
class Resources;
}  // namespace gantry::engine

namespace gantry::image {

// An image that is here.
struct Image {
  Digest id;  // of the config blob
  Digest
      top_layer;  // chain id for GraphDriver::create_container; empty for an image without layers
  ImageConfig config;
  int64_t size = 0;  // of all layers, unpacked
  // The name it was asked for by, familiar and with its tag ("busybox:latest"); the id when by id.
  std::string name;
  std::vector<Origin> origins;
  std::vector<StoredSignature> signatures;
};

using Filters = std::map<std::string, std::vector<std::string>>;  // as of the API: key → values

struct ListOptions {
  bool all = false;          // intermediate images too
  bool shared_size = false;  // compute SharedSize and Containers
  Filters filters;           // dangling, label, reference, before, since, until
};

struct LoadedImage {
  Digest id;
  std::vector<std::string> names;  // familiar references that now point at it; empty: untagged
};

struct ImportOptions {
  std::string repository;  // "" leaves the image untagged
  std::string tag;
  std::string message;   // comment
  std::string source;    // for the comment when there is no message ("-", a file, a URL)
  std::string platform;  // os[/arch[/variant]]; "" is the host's
  std::vector<std::string> changes;  // Dockerfile instructions
  // Called on the job's thread again and again while the tarball is read, and at its end.
  std::function<void()> while_reading;
};

struct CommitOptions {
  std::string repository;  // "" leaves the image untagged
  std::string tag;
  std::string author;
  std::string comment;
  ContainerConfig config;  // of the new image, whole
  std::string created_by;  // the command whose work it is, for the history
};

enum class Force { no, yes };
enum class PruneParents { no, yes };
struct RemoveOptions {
  Force force = Force::no;
  PruneParents prune_parents = PruneParents::yes;
  // Whether a container (by id) runs now; absent: none does.
  std::function<bool(const std::string& container)> running;
};

struct CheckOptions {
  bool repair = false;
  bool read = false;  // hash every blob, and every layer's archive as it is made again
};
struct StoreFinding {
  enum class What { missing, corrupt };
  What what = What::missing;
  std::string kind;  // "blob" or "layer"
  std::string key;
  std::string detail;
  // Tags, images and containers that need it. What is missing is made again by a load (or pull) of
  // one of the tags.
  std::vector<std::string> needed_by;
  bool repaired = false;  // what was corrupt is gone
};

// Where an image that holds a blob or a layer was pulled from or pushed to.
struct ImageSource {
  Reference reference;   // by digest
  std::string platform;  // the image's own: the digest may be an index's
};

// What refetch() did.
struct Refetched {
  std::string from;                   // "docker.io/library/busybox@sha256:…"; "": it is not here
  std::vector<std::string> failures;  // of repositories that were asked in vain, with the reasons
};

// What rebuild() made of the disk.
struct Rebuilt {
  std::vector<std::string> images;      // ids of those that are here again, without names
  std::vector<std::string> incomplete;  // of those whose layers are not all there and sound
};

// The kind of the rows of blobs in the content store ("blob", named by digest, owner
// "blob:<digest>").
inline constexpr std::string_view kBlobKind = "blob";
Status register_resource_kinds(engine::Resources& resources, graph::ContentStore& content);

class ImageStore {
 public:
  virtual ~ImageStore() = default;
  // Everything is borrowed and must outlive the store. register_resource_kinds() comes first.
  static Result<std::unique_ptr<ImageStore>> open(graph::Database& database,
                                                  graph::ContentStore& content,
                                                  std::shared_ptr<drivers::GraphDriver> driver,
                                                  const std::string& temporary_directory);

  // Queries. A name is a reference, an image id, or an unambiguous beginning of an id. What is not
  // here is not_found: "No such image: busybox:nope".
  virtual Result<Image> find(std::string_view name) const = 0;
  virtual Result<std::vector<ImageSummary>> list(const ListOptions& options) const = 0;
  virtual Result<ImageInspect> inspect(std::string_view name) const = 0;
  virtual Result<std::vector<HistoryItem>> history(std::string_view name) const = 0;
  virtual Result<int64_t> count() const = 0;
  // Writes a docker-archive that is also an OCI layout, as Docker 25 and later do.
  virtual Status save(const std::vector<std::string>& names, ByteSink& out) const = 0;

  // Changes, inside a job. Each takes the lock of the images for as long as its job runs.
  virtual Status lock(engine::JobContext& job) const = 0;
  // An archive of `docker save` or an OCI layout, plain or compressed. All its images or none.
  virtual Result<std::vector<LoadedImage>> load(engine::JobContext& job, ByteSource& archive,
                                                const Progress& progress) = 0;
  // An image of one layer made of a root tarball, plain or compressed. Gives its id.
  virtual Result<Digest> import(engine::JobContext& job, ByteSource& tarball,
                                const ImportOptions& options) = 0;
  // An image of `base` (an id) and one layer more, the archive that `write_layer` writes. A layer
  // that changes nothing is left out, as with Docker. `name` gets the familiar name, if there is
  // one.
  virtual Result<Digest> commit(engine::JobContext& job, std::string_view base,
                                const std::function<Status(ByteSink&)>& write_layer,
                                const CommitOptions& options, std::string& name) = 0;
  // Registers what pulls need (a resource kind and jobs of their own); once, before jobs run.
  virtual Status prepare_transfers(engine::Engine& engine) = 0;
  // What layers may become that are loaded or imported; before jobs run.
  virtual void set_limits(const LayerLimits& limits) = 0;
  virtual void set_pull_policy(PullPolicy policy) = 0;
  // The same for what is loaded or imported.
  virtual void set_archive_policy(ArchivePolicy policy) = 0;
  // Fetches what `reference` (with a tag or a digest) names; see image/transfer.h. The images' lock
  // is taken at the end only, and the change is part of the job's closing transaction.
  virtual Result<PulledImage> pull(engine::JobContext& job, RemoteRepository& remote,
                                   const Reference& reference, const PullOptions& options,
                                   const Progress& progress) = 0;
  // Sends an image under the tag of `reference`, which names it here.
  virtual Result<PushedImage> push(engine::JobContext& job, RemoteRepository& remote,
                                   const Reference& reference, const PushOptions& options,
                                   const Progress& progress) = 0;
  // The tags of a repository that are here.
  virtual Result<std::vector<Reference>> tags_of(const Reference& repository) const = 0;
  // Gives the familiar name ("repo:latest").
  virtual Result<std::string> tag(engine::JobContext& job, std::string_view source,
                                  const std::string& repository, const std::string& tag) = 0;
  virtual Result<std::vector<RemovedItem>> remove(engine::JobContext& job, std::string_view name,
                                                  const RemoveOptions& options) = 0;
  virtual Result<PruneReport> prune(engine::JobContext& job, const Filters& filters) = 0;
  // Looks for content and layers that the graph names and that are not there or not what their
  // digests say. Repair takes away what is corrupt, unless a container stands on it: absent is
  // better than wrong.
  virtual Result<std::vector<StoreFinding>> check(engine::JobContext& job,
                                                  const CheckOptions& options) = 0;
  // Of a finding: from where it can be had again, and whether it is on the disk (by now).
  virtual Result<std::vector<ImageSource>> sources_of(const StoreFinding& finding) const = 0;
  // Fetches a layer, or the compressed form of one that is kept, from the repositories that are
  // known to have had it. Nothing happens for what is no such thing.
  virtual Result<Refetched> refetch(engine::JobContext& job, const StoreFinding& finding,
                                    const RemoteOpener& open, const PullOptions& options) = 0;
  virtual Result<bool> is_here(const StoreFinding& finding) const = 0;
  // For a database that was lost or is not whole: images whose configuration and layers are on the
  // disk get their nodes again, and what has lost its resource row gets one.
  virtual Result<Rebuilt> rebuild(engine::JobContext& job) = 0;
};

}  // namespace gantry::image
