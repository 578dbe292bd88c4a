#include "daemon/images.h"

#include <fcntl.h>

#include <algorithm>

#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/events.h"
#include "daemon/image_download.h"
#include "daemon/image_jobs.h"
#include "engine/engine.h"
#include "image/archive.h"

namespace gantry::daemon {
namespace {

// Changes of names must survive a power cut; the rest of a load is on disk by then anyway.
// Long, so that one which the daemon's end cut short is to be found in the journal.
constexpr engine::JobOptions kTransfer = {.job_class = engine::JobClass::transfer,
                                          .journaling = engine::Journaling::at_start,
                                          .durability = graph::Durability::full};
constexpr engine::JobOptions kChange = {.job_class = engine::JobClass::container,
                                        .durability = graph::Durability::full};
constexpr engine::JobOptions kRemoval = {.job_class = engine::JobClass::container,
                                         .durability = graph::Durability::full,
                                         .space = graph::Space::reserve};

constexpr std::string_view kArchiveSuffixes[] = {".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz"};

Event image_event(std::string action, const std::string& id, const std::string& name) {
  Event event;
  event.type = "image";
  event.action = std::move(action);
  event.id = id;
  event.attributes["name"] = name;
  return event;
}

// A job that waits for more of an upload is not to wait for it once it is cancelled.
engine::CancelSource::Registration interrupt_on_cancel(engine::JobContext& job,
                                                       const std::shared_ptr<ByteSource>& source) {
  auto pipe = std::dynamic_pointer_cast<BytePipe>(source);
  if (!pipe) return {};
  return job.cancel().on_cancel([pipe] { pipe->fail(Error(ErrorKind::cancelled, "cancelled")); });
}

}  // namespace

Images::~Images() = default;

Result<std::unique_ptr<Images>> Images::create(engine::Engine& engine, graph::ContentStore& content,
                                               std::shared_ptr<drivers::GraphDriver> driver,
                                               Events& events,
                                               const std::string& temporary_directory) {
  TRY(fs::make_directories(temporary_directory, 0700));
  std::unique_ptr<Images> images(new Images(engine, events));
  images->downloads_ = download_agent();
  TRY(image::register_resource_kinds(engine.resources(), content));
  images->store_ = TRY(
      image::ImageStore::open(engine.database(), content, std::move(driver), temporary_directory));
  TRY(images->store_->prepare_transfers(engine));
  images->add_handlers();
  return images;
}

Result<ImageLoad::Output> Images::load(engine::JobContext& job, ImageLoad::Input input) {
  auto interrupt = interrupt_on_cancel(job, input.archive);
  if (!input.archive) return invalid("no archive was given");
  Result<std::vector<image::LoadedImage>> stored = store_->load(job, *input.archive, {});
  // What is missing is missing in the archive, not here.
  if (!stored && stored.error().kind() == ErrorKind::not_found)
    return invalid("{}", stored.error().message());
  std::vector<image::LoadedImage> loaded = TRY(std::move(stored));
  ImageLoad::Output output;
  for (const image::LoadedImage& image : loaded) {
    for (const std::string& name : image.names) output.names.push_back(name);
    if (image.names.empty()) output.names.push_back(image.id.text());
  }
  // Told once it is true.
  job.after_commit([this, &job, loaded = std::move(loaded)] {
    for (const image::LoadedImage& image : loaded) {
      const std::string& id = image.id.text();
      for (const std::string& name : image.names)
        job.progress(json::object{{"stream", "Loaded image: " + name + "\n"}});
      if (image.names.empty())
        job.progress(json::object{{"stream", "Loaded image ID: " + id + "\n"}});
      events_.publish(image_event("load", id, image.names.empty() ? id : image.names.front()));
    }
  });
  return output;
}

Result<ImageImport::Output> Images::import(engine::JobContext& job, ImageImport::Input input) {
  auto interrupt = interrupt_on_cancel(job, input.tarball);
  image::ImportOptions options;
  if (!input.tarball && input.source != "-") {
    const int cancel_fd = TRY(job.cancel().fd());
    std::shared_ptr<ImageDownload> download =
        TRY(ImageDownload::create(*downloads_, input.source, max_download_, cancel_fd));
    input.tarball = download;
    options.while_reading = [download, &job] {
      while (std::optional<json::object> line = download->progress())
        job.progress(std::move(*line));
    };
  }
  if (!input.tarball) return invalid("no tarball was given");
  options.repository = std::move(input.repository);
  options.tag = std::move(input.tag);
  options.message = std::move(input.message);
  options.source = input.source;
  options.platform = std::move(input.platform);
  options.changes = std::move(input.changes);
  Digest id = TRY(store_->import(job, *input.tarball, options));
  std::string name = options.repository.empty() ? id.text() : options.repository;
  job.after_commit([this, &job, id, name] {
    job.progress(json::object{{"status", id.text()}});
    events_.publish(image_event("import", id.text(), name));
  });
  return ImageImport::Output{id.text()};
}

Result<ImageTag::Output> Images::tag(engine::JobContext& job, ImageTag::Input input) {
  image::Image image = TRY(store_->find(input.image));
  std::string name = TRY(store_->tag(job, input.image, input.repository, input.tag));
  job.after_commit(
      [this, id = image.id.text(), name] { events_.publish(image_event("tag", id, name)); });
  return ImageTag::Output{name};
}

Result<ImageRemove::Output> Images::remove(engine::JobContext& job, ImageRemove::Input input) {
  image::Image image = TRY(store_->find(input.image));
  image::RemoveOptions options;
  options.force = input.force ? image::Force::yes : image::Force::no;
  options.prune_parents = input.no_prune ? image::PruneParents::no : image::PruneParents::yes;
  options.running = running_;
  ImageRemove::Output output;
  output.items = TRY(store_->remove(job, input.image, options));
  job.after_commit([this, id = image.id.text(), items = output.items] { publish(id, items); });
  return output;
}

void Images::publish(const std::string& id, const std::vector<image::RemovedItem>& items) {
  for (const image::RemovedItem& item : items) {
    if (!item.untagged.empty()) events_.publish(image_event("untag", id, id));
    // Layers are listed like images; only what was an image is an event.
    if (item.deleted == id) events_.publish(image_event("delete", id, id));
  }
}

void Images::add_handlers() {
  engine_.add<ImageLoad>([this](auto& job, auto input) { return load(job, std::move(input)); },
                         kTransfer);
  engine_.add<ImageImport>([this](auto& job, auto input) { return import(job, std::move(input)); },
                           kTransfer);
  engine_.add<ImageTag>([this](auto& job, auto input) { return tag(job, std::move(input)); },
                        kChange);
  engine_.add<ImageRemove>([this](auto& job, auto input) { return remove(job, std::move(input)); },
                           kRemoval);
  engine_.add<ImagePrune>(
      [this](engine::JobContext& job, ImagePrune::Input input) -> Result<image::PruneReport> {
        image::PruneReport report = TRY(store_->prune(job, input.filters));
        job.after_commit([this, items = report.images_deleted] {
          for (const image::RemovedItem& item : items)
            if (!item.deleted.empty()) publish(item.deleted, {item});
        });
        return report;
      },
      kRemoval);
}

void Images::load_archives(const std::vector<std::string>& directories, bool again) {
  for (const std::string& directory : directories) {
    Result<std::vector<std::string>> names = fs::list_directory(directory);
    if (!names) {
      if (names.error().kind() != ErrorKind::not_found)
        log::warn("images directory: {}", names.error().message());
      continue;
    }
    std::sort(names->begin(), names->end());
    for (const std::string& name : *names) {
      bool archive = std::any_of(std::begin(kArchiveSuffixes), std::end(kArchiveSuffixes),
                                 [&](std::string_view suffix) { return name.ends_with(suffix); });
      if (archive) load_archive(directory + "/" + name, again);
    }
  }
}

// Nothing is unpacked for an image that is here; a name that the user gave to another image
// meanwhile, or took away from this one, stays as the user wants it.
void Images::load_archive(const std::string& path, bool again) {
  Status loaded = [&]() -> Status {
    UniqueFd file = TRY(sys::open(path, O_RDONLY));
    FdSource probe(file.get());
    std::vector<Digest> ids = TRY(image::archive_image_ids(probe));
    bool all_here = std::all_of(ids.begin(), ids.end(), [&](const Digest& id) {
      Result<image::Image> image = store_->find(id.text());
      return image.has_value();
    });
    if (!ids.empty() && all_here && !again) return {};
    if (::lseek(file.get(), 0, SEEK_SET) == -1) return error_from_errno(errno, "lseek");
    ImageLoad::Input input;
    input.archive = std::make_shared<FdSource>(std::move(file));
    engine::SubmitOptions options;
    options.caller.name = "gantryd";
    ImageLoad::Output output = TRY(engine_.run<ImageLoad>(std::move(input), options));
    for (const std::string& name : output.names) log::info("loaded image {} from {}", name, path);
    return {};
  }();
  log::ignored("image archive " + path, loaded);
}

}  // namespace gantry::daemon
