// /images/… and /distribution/….
#include "daemon/images.h"
#include "daemon/image_jobs.h"
#include "daemon/transfers.h"
#include "daemon/trust.h"
#include "image/platform.h"

#include "server/pipe_stream.h"
#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

using namespace daemon;

template <typename T>
Status send_list(Call& call, Result<std::vector<T>> list) {
  if (!list) return std::move(list).error();
  return call.send(200, json::encode(*list));
}

// ---- older shapes of an image

constexpr ApiVersion kPlainNames{1, 43};  // before it "<none>:<none>" stood for no name
constexpr ApiVersion kNoVirtualSize{1, 44};
constexpr ApiVersion kNoContainerConfig{1, 45};
constexpr ApiVersion kImageConfigOnly{1, 50};  // before it the fields of a container were in Config
constexpr ApiVersion kSharedSizeAsked{1, 42};
constexpr ApiVersion kNoFilter{1, 41};  // before it ?filter= was a pattern of names

json::object container_fields() {
  json::object out;
  for (const char* name : {"Hostname", "Domainname", "User", "Image", "WorkingDir"}) out[name] = "";
  for (const char* name :
       {"AttachStderr", "AttachStdin", "AttachStdout", "OpenStdin", "StdinOnce", "Tty"})
    out[name] = false;
  for (const char* name : {"Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes"})
    out[name] = nullptr;
  return out;
}

void make_older(json::object& image, ApiVersion version) {
  if (version < kNoVirtualSize) image["VirtualSize"] = image["Size"];
  if (version < kPlainNames && image["RepoTags"].is_array() &&
      image["RepoTags"].get_array().empty() && image["RepoDigests"].is_array() &&
      image["RepoDigests"].get_array().empty() && !image.contains("Config")) {
    image["RepoTags"] = json::array{"<none>:<none>"};
    image["RepoDigests"] = json::array{"<none>@<none>"};
  }
  if (!image.contains("Config")) return;
  if (version < kNoVirtualSize && !image.contains("Created"))
    image["Created"] = "0001-01-01T00:00:00Z";
  if (version < kImageConfigOnly && image["Config"].is_object()) {
    json::object& config = image["Config"].get_object();
    for (auto& field : container_fields())
      if (!config.contains(field.key())) config[field.key()] = field.value();
  }
  if (version < kNoContainerConfig) {
    image["Container"] = "";
    image["ContainerConfig"] = container_fields();
  }
}

// "linux/arm64", or the same as JSON, as newer versions have it.
Result<image::Platform> platform_of(const std::string& text) {
  if (!text.starts_with('{')) return image::parse_platform(text);
  json::value document = TRY(json::parse(text).context("invalid platform"));
  return json::from_value<image::Platform>(document).context("invalid platform");
}

// An image here is of one platform, and no other can be shown, sent or removed of it.
Status check_platform(Call& call, const std::string& name, const std::string& text) {
  if (text.empty()) return {};
  image::Platform wanted = TRY(platform_of(text));
  image::Image image = TRY(call.daemon().images().store().find(name));
  image::Platform offered;
  offered.os = image.config.os;
  offered.architecture = image.config.architecture;
  offered.variant = image.config.variant;
  if (image::matches(image::normalized(wanted), image::normalized(offered))) return {};
  return not_found(
      "image with reference {} was found but does not provide the specified platform ({})", name,
      image::to_string(wanted));
}

Status list(Call& call) {
  image::ListOptions options;
  options.all = call.flag("all");
  options.shared_size = call.version >= kSharedSizeAsked && call.flag("shared-size");
  options.filters = TRY(call.filters());
  if (call.version < kNoFilter && !call.query("filter").empty())
    options.filters["reference"].push_back(call.query("filter"));
  auto found =
      TRY(call.x.run_blocking([&] { return call.daemon().images().store().list(options); }));
  json::value images = json::encode(found);
  for (json::value& image : images.get_array()) make_older(image.get_object(), call.version);
  return call.send(200, images);
}

Status inspect(Call& call) {
  TRY(check_platform(call, call.name("name"), call.query("platform")));
  image::ImageInspect found = TRY(call.daemon().images().store().inspect(call.name("name")));
  json::value image = json::encode(found);
  make_older(image.get_object(), call.version);
  return call.send(200, image);
}

Status history(Call& call) {
  TRY(check_platform(call, call.name("name"), call.query("platform")));
  return send_list(call, call.daemon().images().store().history(call.name("name")));
}

Status load(Call& call) {
  if (std::string text = call.query("platform"); !text.empty()) {
    image::Platform wanted = TRY(platform_of(text));
    if (!image::matches(image::normalized(wanted), image::host_platform()))
      return unsupported("load: images of the platform {} cannot be kept by this engine",
                         image::to_string(wanted));
  }
  auto body = std::make_shared<BytePipe>();
  ImageLoad::Input input;
  input.archive = body;
  input.quiet = call.flag("quiet");
  return stream_job<ImageLoad>(call, std::move(input), body);
}

Status import(Call& call) {
  ImageImport::Input input;
  input.source = call.query("fromSrc");
  std::shared_ptr<BytePipe> body;  // else the job fetches it
  if (input.source == "-") body = std::make_shared<BytePipe>();
  input.tarball = body;
  input.repository = call.query("repo");
  input.tag = call.query("tag");
  input.message = call.query("message");
  input.platform = call.query("platform");
  input.changes = call.x.query().all("changes");
  return stream_job<ImageImport>(call, std::move(input), body);
}

Result<registry::AuthConfig> credentials_of(Call& call) {
  return registry::AuthConfig::decode(call.x.headers().get("X-Registry-Auth"));
}

Status create(Call& call) {
  if (call.x.query().has("fromSrc")) return import(call);
  ImagePull::Input input;
  input.image = call.query("fromImage");
  input.tag = call.query("tag");
  input.platform = call.query("platform");
  // As dockerd: a repository without a tag is all of its tags.
  input.all_tags = input.tag.empty();
  input.credentials = TRY(credentials_of(call));
  return stream_job<ImagePull>(call, std::move(input), nullptr);
}

Status tag(Call& call) {
  return call.answer_empty(
      run_job<ImageTag>(call, {call.name("name"), call.query("repo"), call.query("tag")}), 201);
}

Status remove(Call& call) {
  for (const std::string& platform : call.x.query().all("platforms"))
    TRY(check_platform(call, call.name("name"), platform));
  auto output = TRY(
      run_job<ImageRemove>(call, {call.name("name"), call.flag("force"), call.flag("noprune")}));
  return call.send(200, json::encode(output.items));
}

Status prune(Call& call) {
  Filters filters = TRY(call.filters());
  return call.answer(200, run_job<ImagePrune>(call, {std::move(filters)}));
}

Status save(Call& call, std::vector<std::string> names) {
  if (names.empty()) return invalid("no image to save: give names=IMAGE");
  for (const std::string& name : names) TRY(check_platform(call, name, call.query("platform")));
  image::ImageStore& store = call.daemon().images().store();
  auto pipe = std::make_shared<BytePipe>();
  call.x.start_blocking([pipe, &store, names = std::move(names)] {
    Status saved = store.save(names, *pipe);
    if (saved)
      pipe->finish();
    else
      pipe->fail(std::move(saved).error());
  });
  return send_pipe(call, *pipe, "application/x-tar", Head::with_first_bytes);
}

Status save_one(Call& call) { return save(call, {call.name("name")}); }
Status save_several(Call& call) { return save(call, call.x.query().all("names")); }

Status push(Call& call) {
  ImagePush::Input input;
  input.image = call.name("name");
  input.tag = call.query("tag");
  input.recompress = call.flag("recompress");
  const std::string named = input.tag.empty() ? input.image : input.image + ":" + input.tag;
  TRY(check_platform(call, named, call.query("platform")));
  input.credentials = TRY(credentials_of(call));
  return stream_job<ImagePush>(call, std::move(input), nullptr);
}

// Reads that wait for somebody else's machine: on the I/O pool, bounded by the client's timeouts.
Status search(Call& call) {
  registry::SearchQuery query;
  query.term = call.query("term");
  std::optional<int64_t> limit = TRY(call.number("limit"));
  if (limit && *limit != 0) query.limit = *limit;
  query.filters = TRY(call.filters());
  registry::AuthConfig credentials = TRY(credentials_of(call));
  Result<json::array> found =
      call.x.run_blocking([&] { return call.daemon().transfers().search(query, credentials); });
  if (!found) return std::move(found).error();
  return call.send(200, found.release());
}

Status distribution(Call& call) {
  registry::AuthConfig credentials = TRY(credentials_of(call));
  const std::string name = call.name("name");
  Result<json::object> found = call.x.run_blocking(
      [&] { return call.daemon().transfers().distribution(name, credentials); });
  if (!found) return std::move(found).error();
  return call.send(200, found.release());
}

Status policy(Call& call) { return call.send(200, call.daemon().trust().show()); }

Status signatures(Call& call) {
  registry::AuthConfig credentials = TRY(credentials_of(call));
  const std::string name = call.name("name");
  Result<json::object> found =
      call.x.run_blocking([&] { return call.daemon().trust().signatures(name, credentials); });
  if (!found) return std::move(found).error();
  return call.send(200, found.release());
}

Status verify(Call& call) {
  registry::AuthConfig credentials = TRY(credentials_of(call));
  const std::string name = call.name("name");
  Result<json::object> found =
      call.x.run_blocking([&] { return call.daemon().trust().verify(name, credentials); });
  if (!found) return std::move(found).error();
  return call.send(200, found.release());
}

Status sign(Call& call) {
  auto input = TRY(call.body_as<ImageSign::Input>());
  input.image = call.name("name");
  input.credentials = TRY(credentials_of(call));
  auto output = TRY(run_job<ImageSign>(call, std::move(input), WhenGone::cancel));
  return call.send(201, json::encode(output));
}

constexpr Route kRoutes[] = {
    {"GET", "/gantry/policy", policy},
    {"GET", "/gantry/images/{name...}/signatures", signatures},
    {"POST", "/gantry/images/{name...}/signatures", sign},
    {"GET", "/gantry/images/{name...}/verify", verify},
    {"GET", "/images/json", list},
    {"GET", "/images/get", save_several},
    {"GET", "/images/search", search},
    {"POST", "/images/load", load},
    {"POST", "/images/create", create},
    {"POST", "/images/prune", prune},
    {"GET", "/images/{name...}/json", inspect},
    {"GET", "/images/{name...}/history", history},
    {"GET", "/images/{name...}/get", save_one},
    {"POST", "/images/{name...}/tag", tag},
    {"POST", "/images/{name...}/push", push},
    {"GET", "/distribution/{name...}/json", distribution},
    {"DELETE", "/images/{name...}", remove},
};

}  // namespace

std::span<const Route> image_routes() { return kRoutes; }

}  // namespace gantry::server
