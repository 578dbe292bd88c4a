// An image of what a container changed.
#include <fcntl.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/sys.h"
#include "engine/engine.h"
#include "image/local_store.h"

namespace gantry::image {
namespace {

// Keeps an archive in a file without a name, and measures it.
class LayerSpool final : public ByteSink {
 public:
  LayerSpool(int borrowed, engine::JobContext& job) : fd_(borrowed), job_(job) {}
  Status write(std::string_view bytes) override {
    buffer_ += bytes;
    return buffer_.size() < kFlushAt ? Status() : flush();
  }
  // Once, at the end.
  Result<Digest> finish() {
    TRY(flush());
    return hash_.finish();
  }
  uint64_t size() const { return size_; }

 private:
  static constexpr size_t kFlushAt = 256 << 10;
  Status flush() {
    TRY(job_.check());
    hash_.update({buffer_.data(), buffer_.size()});
    TRY(sys::write_all(fd_, buffer_));
    size_ += buffer_.size();
    buffer_.clear();
    return {};
  }

  int fd_;
  engine::JobContext& job_;
  Sha256 hash_;
  std::string buffer_;
  uint64_t size_ = 0;
};

// An archive of no members.
constexpr uint64_t kEmptyArchive = 1024;

}  // namespace

Result<Digest> LocalStore::commit(engine::JobContext& job, std::string_view base,
                                  const std::function<Status(ByteSink&)>& write_layer,
                                  const CommitOptions& options, std::string& name) {
  Addition addition;
  if (!options.repository.empty()) {
    Reference reference = TRY(Reference::parse(options.repository));
    if (!reference.digest().empty()) return invalid("cannot commit to digest reference");
    if (!options.tag.empty()) {
      TRY(check_tag(options.tag));
      reference = reference.with_tag(options.tag);
    }
    reference = reference.with_default_tag();
    name = reference.familiar();
    addition.names.push_back(std::move(reference));
  }

  // The layer's name is its digest, and a resource has its name before it is taken.
  TRY(failpoint("image.commit.spool"));
  UniqueFd file = TRY(sys::open(temporary_directory_, O_TMPFILE | O_RDWR, 0600));
  LayerSpool spool(file.get(), job);
  TRY(write_layer(spool));
  Digest diff_id = TRY(spool.finish());
  TRY(failpoint("image.commit.spooled"));
  TRY(lock(job));

  Image below = TRY(find(base));
  ImageConfig& config = addition.config;
  config = below.config;
  addition.parent = below.id.text();
  addition.chain = TRY(chain_ids(config.rootfs.diff_ids));
  const bool changed = spool.size() > kEmptyArchive;
  if (changed) {
    LayerInput input;
    input.parent = below.top_layer;
    input.diff_id = diff_id;
    input.chain_id = input.parent.empty() ? input.diff_id : chain_id(input.parent, input.diff_id);
    input.compressed_size = static_cast<int64_t>(spool.size());
    FileRangeSource layer(file.get(), 0, spool.size());
    TRY(add_layer(job, input, layer, addition));
    addition.chain.push_back(input.chain_id);
  }
  // A history says something of every layer or of none.
  if (config.history.empty()) config.history.resize(config.rootfs.diff_ids.size());
  if (changed) config.rootfs.diff_ids.push_back(diff_id.text());
  config.rootfs.type = "layers";
  config.created = format_time(now_ns());
  config.author = options.author;
  config.comment.clear();  // the history's last
  config.docker_version.clear();
  config.parent.clear();
  config.config = options.config;
  HistoryEntry entry;
  entry.created = config.created;
  entry.created_by = options.created_by;
  entry.author = options.author;
  entry.comment = options.comment;
  entry.empty_layer = !changed;
  config.history.push_back(std::move(entry));
  TRY(put_config(job, json::dump(config), addition));
  Digest id = addition.id;
  std::vector<Addition> additions;
  additions.push_back(std::move(addition));
  TRY(add_images(job, std::move(additions)));
  return id;
}

}  // namespace gantry::image
