#include "image/partial_blobs.h"

#include <algorithm>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"

namespace gantry::image {

using graph::Node;
using graph::NodeKind;

namespace {

constexpr std::string_view kPrefix = "partial:";
// Small changes; the rows are the journal's witnesses.
constexpr engine::JobOptions kChange = {.job_class = engine::JobClass::control};

// One that is being given back is gone: taking it waits for its end.
bool has_row(engine::Engine& engine, const std::string& digest) {
  Result<engine::ResourceRow> row = engine.resources().get(kPartialKind, digest);
  return row && row->state != engine::ResourceState::releasing;
}

std::string lease_key(const std::string& digest) { return std::string(kPrefix) + digest; }

}  // namespace

Result<std::unique_ptr<PartialBlobs>> PartialBlobs::open(engine::Engine& engine,
                                                         const std::string& directory) {
  TRY(fs::make_directories(directory, 0700));
  std::unique_ptr<PartialBlobs> partials(new PartialBlobs(engine, directory));
  engine::ResourceKind kind;
  kind.name = kPartialKind;
  // Deferred, so that what is kept goes only when the transaction that gives it up is on disk.
  kind.mode = engine::Release::deferred;
  auto path_of = [directory](const engine::Resource& resource) -> Result<std::string> {
    Digest digest = TRY(Digest::parse(resource.name));
    return directory + "/" + digest.hex();
  };
  kind.probe = [path_of](const engine::Resource& resource) -> Result<engine::Presence> {
    // A reservation that has no file yet is whole: nothing was received.
    (void)TRY(path_of(resource));
    return engine::Presence::present;
  };
  kind.release = [path_of](const engine::Resource& resource) -> Status {
    std::string path = TRY(path_of(resource));
    Status removed = sys::unlinkat(AT_FDCWD, path);
    if (!removed && removed.error().code() != ENOENT) return removed;
    return {};
  };
  kind.enumerate = [directory]() -> Result<std::vector<engine::Resource>> {
    std::vector<std::string> names = TRY(fs::list_directory(directory));
    std::vector<engine::Resource> out;
    for (const std::string& name : names) {
      Result<Digest> digest = Digest::parse("sha256:" + name);
      if (!digest) continue;
      engine::Resource resource;
      resource.kind = kPartialKind;
      resource.name = digest->text();
      out.push_back(std::move(resource));
    }
    return out;
  };
  TRY(engine.resources().add(std::move(kind)));
  PartialBlobs* raw = partials.get();
  engine.add<BlobReserve>(
      [raw](engine::JobContext& job, BlobReserve::Input input) -> Result<bool> {
        TRY(raw->reserve(job, input.digests));
        return true;
      },
      kChange);
  engine.add<BlobForget>(
      [raw](engine::JobContext& job, BlobForget::Input input) -> Result<bool> {
        TRY(raw->forget(job, input.digests));
        return true;
      },
      kChange);
  return partials;
}

Status PartialBlobs::reserve(engine::JobContext& job,
                             const std::vector<std::string>& digests) const {
  std::vector<engine::Resource> rows;
  for (const std::string& digest : digests) {
    if (has_row(engine_, digest)) continue;
    engine::Resource row;
    row.kind = kPartialKind;
    row.name = digest;
    row.owner = "lease:" + lease_key(digest);
    rows.push_back(std::move(row));
  }
  TRY(failpoint("image.partial-reserve"));
  graph::Graph graph = engine_.graph();
  Status taken = rows.empty() ? Status() : job.take(rows);
  if (!taken && taken.error().kind() == ErrorKind::conflict) {
    // Another pull has just reserved some of them, which is as good.
    for (engine::Resource& row : rows) {
      taken = job.take({std::move(row)});
      if (!taken && taken.error().kind() != ErrorKind::conflict) return taken;
    }
    taken = {};
  }
  TRY(std::move(taken));
  job.on_commit([graph, digests](graph::Transaction& tx) -> Status {
    for (const std::string& digest : digests) {
      Node lease;
      lease.kind = NodeKind::lease;
      lease.key = lease_key(digest);
      TRY(graph.put(tx, lease));
    }
    return {};
  });
  return {};
}

Status PartialBlobs::forget(engine::JobContext& job,
                            const std::vector<std::string>& digests) const {
  graph::Graph graph = engine_.graph();
  for (const std::string& digest : digests) TRY(job.release_owned("lease:" + lease_key(digest)));
  job.on_commit([graph, digests](graph::Transaction& tx) -> Status {
    for (const std::string& digest : digests) {
      Result<Node> lease = graph.read(tx).get(NodeKind::lease, lease_key(digest));
      if (lease) TRY(graph.remove(tx, lease->id));
    }
    return {};
  });
  return {};
}

void PartialBlobs::empty(const std::vector<std::string>& digests) {
  std::lock_guard lock(mutex_);
  for (const std::string& text : digests) {
    Result<Digest> digest = Digest::parse(text);
    if (!digest || held_.contains(text)) continue;
    Result<UniqueFd> file =
        sys::open(directory_ + "/" + digest->hex(), O_WRONLY | O_TRUNC | O_NOFOLLOW);
    if (!file && file.error().kind() != ErrorKind::not_found)
      log::ignored("partial blob " + text, std::move(file).error());
  }
}

PartialBlobs::Holder::~Holder() {
  if (owner_ == nullptr) return;
  std::lock_guard lock(owner_->mutex_);
  owner_->held_.erase(digest_);
}

Result<PartialBlobs::Holder> PartialBlobs::hold(const Digest& digest) {
  {
    std::lock_guard lock(mutex_);
    if (!held_.insert(digest.text()).second)
      return conflict("blob {} is being received already", digest.text());
  }
  Holder holder(*this, digest.text(), UniqueFd());
  holder.fd_ = TRY(sys::open(directory_ + "/" + digest.hex(), O_RDWR | O_CREAT, 0600));
  return holder;
}

bool PartialBlobs::reserved(const Digest& digest) const { return has_row(engine_, digest.text()); }

Result<std::vector<std::string>> PartialBlobs::expired(const PartialLimits& limits) const {
  struct Kept {
    std::string digest;
    int64_t used_at = 0;
    int64_t size = 0;
  };
  std::vector<Node> leases = TRY(engine_.graph().read().list(NodeKind::lease));
  std::vector<Kept> kept;
  for (const Node& lease : leases) {
    if (!lease.key.starts_with(kPrefix)) continue;
    Kept one{lease.key.substr(kPrefix.size()), lease.used_at, 0};
    Result<Digest> digest = Digest::parse(one.digest);
    if (!digest) continue;
    Result<struct stat> st = sys::fstatat(AT_FDCWD, directory_ + "/" + digest->hex());
    if (st) one.size = st->st_size;
    kept.push_back(std::move(one));
  }
  std::sort(kept.begin(), kept.end(),
            [](const Kept& a, const Kept& b) { return a.used_at > b.used_at; });
  std::vector<std::string> out;
  int64_t total = 0;
  int64_t now = now_ns();
  for (const Kept& one : kept) {
    total += one.size;
    if (now - one.used_at > limits.age_ns || total > limits.bytes) out.push_back(one.digest);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace gantry::image
