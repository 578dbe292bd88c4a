#include "daemon/transfers.h"

#include "daemon/events.h"
#include "daemon/options.h"
#include "daemon/trust.h"
#include "engine/engine.h"
#include "image/platform.h"
#include "registry/errors.h"
#include "registry/repository.h"

namespace gantry::daemon {
namespace {

// Names must survive a power cut; and one that the daemon's end cut short is to be found in the
// journal.
constexpr engine::JobOptions kTransfer = {.job_class = engine::JobClass::transfer,
                                          .journaling = engine::Journaling::at_start,
                                          .durability = graph::Durability::full};

Event image_event(std::string action, const image::Reference& name) {
  Event event;
  event.type = "image";
  event.action = std::move(action);
  event.id = name.familiar();
  event.attributes["name"] = name.familiar_name();
  return event;
}

image::Progress progress_of(engine::JobContext& job,
                            const std::function<void(json::object)>& forward) {
  if (forward) return forward;
  return [&job](json::object line) { job.progress(std::move(line)); };
}

}  // namespace

Result<std::unique_ptr<Transfers>> Transfers::create(engine::Engine& engine,
                                                     image::ImageStore& store, Events& events,
                                                     const Options& options) {
  std::unique_ptr<Transfers> transfers(new Transfers(engine, store, events));
  registry::HostOptions hosts;
  hosts.insecure = options.insecure_registries;
  // "https://mirror" is docker.io's; "quay.io=https://mirror" another registry's.
  for (const std::string& mirror : options.registry_mirrors) {
    size_t equals = mirror.find('=');
    size_t scheme = mirror.find("://");
    if (equals != std::string::npos && equals < scheme)
      hosts.mirrors_of[mirror.substr(0, equals)].push_back(mirror.substr(equals + 1));
    else
      hosts.mirrors.push_back(mirror);
  }
  if (!options.certificate_dirs.empty()) hosts.certificate_dirs = options.certificate_dirs;
  transfers->hosts_ = TRY(registry::Hosts::create(std::move(hosts)));
  transfers->pull_defaults_.keep_compressed = options.keep_compressed;
  transfers->pull_defaults_.parallel = options.max_concurrent_downloads;
  transfers->pull_defaults_.limits.max_size = options.max_layer_size;
  transfers->pull_defaults_.limits.max_ratio = options.max_layer_ratio;
  store.set_limits(transfers->pull_defaults_.limits);
  transfers->parallel_uploads_ = options.max_concurrent_uploads;
  transfers->add_handlers();
  return transfers;
}

void Transfers::add_handlers() {
  engine_.add<ImagePull>([this](auto& job, auto input) { return pull(job, std::move(input)); },
                         kTransfer);
  engine_.add<ImageRefetch>(
      [this](auto& job, auto input) { return refetch(job, std::move(input)); }, kTransfer);
  engine_.add<ImagePush>([this](auto& job, auto input) { return push(job, std::move(input)); },
                         kTransfer);
}

Result<ImagePull::Output> Transfers::pull(engine::JobContext& job, ImagePull::Input input) {
  image::Reference reference = TRY(image::Reference::parse(input.image));
  if (input.tag.find(':') != std::string::npos) {
    reference = TRY(image::Reference::parse(reference.familiar_name() + "@" + input.tag));
  } else if (!input.tag.empty()) {
    TRY(image::check_tag(input.tag));
    reference = reference.with_tag(input.tag);
  }
  if (!input.platform.empty()) TRY(image::parse_platform(input.platform));
  if (input.all_tags && reference.name_only()) return pull_all(job, input, reference);
  reference = reference.with_default_tag();
  registry::RepositoryOptions options;
  options.credentials = input.credentials;
  options.cancel_fd = TRY(job.cancel().fd());
  std::unique_ptr<registry::Repository> remote =
      TRY(registry::Repository::open(*hosts_, reference, std::move(options)));
  image::PullOptions pull = pull_defaults_;
  pull.platform = input.platform;
  Result<image::PulledImage> pulled =
      store_.pull(job, *remote, reference, pull, progress_of(job, input.forward));
  if (!pulled) {
    TRY(job.check());  // told as the cancellation that it is
    if (Trust::is_refusal(pulled.error())) return std::move(pulled).error();
    return registry::explain_pull(std::move(pulled).error(), reference);
  }
  job.after_commit([this, reference] { events_.publish(image_event("pull", reference)); });
  return ImagePull::Output{pulled->id.text()};
}

// Each tag is a job of its own: what is here stays here if a later one fails.
Result<ImagePull::Output> Transfers::pull_all(engine::JobContext& job,
                                              const ImagePull::Input& input,
                                              const image::Reference& name) {
  registry::RepositoryOptions options;
  options.credentials = input.credentials;
  options.cancel_fd = TRY(job.cancel().fd());
  std::unique_ptr<registry::Repository> remote =
      TRY(registry::Repository::open(*hosts_, name, std::move(options)));
  Result<std::vector<std::string>> tags = remote->tags();
  if (!tags) return registry::explain_pull(std::move(tags).error(), name);
  ImagePull::Output output;
  for (const std::string& tag : *tags) {
    if (!image::check_tag(tag)) continue;
    ImagePull::Input one;
    one.image = input.image;
    one.tag = tag;
    one.platform = input.platform;
    one.credentials = input.credentials;
    one.forward = progress_of(job, input.forward);
    output = TRY(job.run<ImagePull>(std::move(one)));
  }
  return output;
}

Result<image::Refetched> Transfers::refetch(engine::JobContext& job, ImageRefetch::Input input) {
  const int cancel_fd = TRY(job.cancel().fd());
  image::RemoteOpener open =
      [&](const std::string& name) -> Result<std::unique_ptr<image::RemoteRepository>> {
    image::Reference source = TRY(image::Reference::parse(name));
    registry::RepositoryOptions how;
    how.cancel_fd = cancel_fd;
    how.credentials = input.credentials.of(source.domain());
    auto opened = TRY(registry::Repository::open(*hosts_, source, std::move(how)));
    return std::unique_ptr<image::RemoteRepository>(std::move(opened));
  };
  image::StoreFinding finding;
  finding.kind = input.kind;
  finding.key = input.key;
  return store_.refetch(job, finding, open, pull_defaults_);
}

Result<ImagePush::Output> Transfers::push(engine::JobContext& job, ImagePush::Input input) {
  image::Reference reference = TRY(image::Reference::parse(input.image));
  if (!reference.digest().empty()) return invalid("cannot push a digest reference");
  std::vector<image::Reference> references;
  if (!input.tag.empty()) {
    TRY(image::check_tag(input.tag));
    references = {reference.with_tag(input.tag)};
  } else if (!reference.tag().empty()) {
    references = {reference};
  } else {
    references = TRY(store_.tags_of(reference));
  }
  if (references.empty())
    return not_found("An image does not exist locally with the tag: {}", reference.familiar_name());
  const int cancel_fd = TRY(job.cancel().fd());
  registry::RepositoryOptions options;
  options.use = registry::Hosts::Use::push;
  options.credentials = input.credentials;
  options.cancel_fd = cancel_fd;
  std::unique_ptr<registry::Repository> remote =
      TRY(registry::Repository::open(*hosts_, reference, options));
  image::PushOptions push;
  push.recompress = input.recompress;
  push.parallel = parallel_uploads_;
  const std::string domain = reference.domain();
  push.sources = [this, cancel_fd, domain, credentials = input.credentials](
                     const std::string& name) -> Result<std::unique_ptr<image::RemoteRepository>> {
    image::Reference source = TRY(image::Reference::parse(name));
    registry::RepositoryOptions how;
    how.cancel_fd = cancel_fd;
    if (source.domain() == domain) how.credentials = credentials;
    auto opened = TRY(registry::Repository::open(*hosts_, source, std::move(how)));
    return std::unique_ptr<image::RemoteRepository>(std::move(opened));
  };
  image::Progress progress = progress_of(job, {});
  progress({{"status", fmt::format("The push refers to repository [{}]", reference.name())}});
  ImagePush::Output output;
  for (const image::Reference& one : references) {
    Result<image::PushedImage> pushed = store_.push(job, *remote, one, push, progress);
    if (!pushed) {
      TRY(job.check());
      return std::move(pushed).error();
    }
    output.digest = pushed->digest.text();
    if (pushed->recompressed)
      progress({{"status", fmt::format("{}: compressed anew: its digest is now {}", one.familiar(),
                                       output.digest)}});
  }
  job.after_commit([this, references] {
    for (const image::Reference& one : references) events_.publish(image_event("push", one));
  });
  return output;
}

Result<json::object> Transfers::login(const registry::AuthConfig& credentials) {
  std::string token = TRY(registry::check_login(*hosts_, credentials, -1));
  return json::object{{"Status", "Login Succeeded"}, {"IdentityToken", token}};
}

Result<json::object> Transfers::distribution(const std::string& name,
                                             const registry::AuthConfig& credentials) {
  Result<image::Reference> parsed = image::Reference::parse(name);
  if (!parsed) return std::move(parsed).error();
  image::Reference reference = parsed->with_default_tag();
  registry::RepositoryOptions options;
  options.credentials = credentials;
  auto remote = TRY(registry::Repository::open(*hosts_, reference, std::move(options)));
  Result<image::RemoteManifest> found =
      remote->manifest(reference.digest().empty() ? reference.tag() : reference.digest());
  if (!found) return registry::explain_pull(std::move(found).error(), reference);
  image::Manifest manifest =
      TRY(image::Manifest::parse(found->bytes).context("{}", reference.familiar()));
  json::array platforms;
  auto add = [&](const image::Platform& platform) {
    json::object one{{"architecture", platform.architecture}, {"os", platform.os}};
    if (!platform.variant.empty()) one["variant"] = platform.variant;
    platforms.push_back(std::move(one));
  };
  if (manifest.is_index()) {
    for (const image::Descriptor& entry : *manifest.manifests)
      if (entry.platform) add(*entry.platform);
  } else {
    constexpr size_t kConfigLimit = 8u << 20;
    Result<std::unique_ptr<ByteSource>> source = remote->blob(*manifest.config, 0);
    if (source) {
      std::string bytes = TRY(read_all(**source, kConfigLimit));
      Result<image::ImageConfig> config = image::ImageConfig::parse(bytes);
      if (config) add({config->architecture, config->os, config->variant});
    }
  }
  return json::object{
      {"Descriptor", json::object{{"mediaType", found->media_type},
                                  {"digest", found->digest.text()},
                                  {"size", static_cast<int64_t>(found->bytes.size())}}},
      {"Platforms", std::move(platforms)}};
}

Result<json::array> Transfers::search(const registry::SearchQuery& query,
                                      const registry::AuthConfig& credentials) {
  return registry::search(*hosts_, query, credentials, -1);
}

}  // namespace gantry::daemon
