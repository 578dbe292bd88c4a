// /images/… and /distribution/….
#include "daemon/images.h"
#include "daemon/image_jobs.h"
#include "daemon/transfers.h"
#include "daemon/trust.h"

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

Status list(Call& call) {
  image::ListOptions options;
  options.all = call.flag("all");
  options.shared_size = call.flag("shared-size");
  options.filters = TRY(call.filters());
  return send_list(
      call, call.x.run_blocking([&] { return call.daemon().images().store().list(options); }));
}

Status inspect(Call& call) {
  return call.answer(200, call.daemon().images().store().inspect(call.name("name")));
}

Status history(Call& call) {
  return send_list(call, call.daemon().images().store().history(call.name("name")));
}

Status load(Call& call) {
  auto body = std::make_shared<BytePipe>();
  ImageLoad::Input input;
  input.archive = body;
  input.quiet = call.flag("quiet");
  return stream_job<ImageLoad>(call, std::move(input), body);
}

Status import(Call& call) {
  auto body = std::make_shared<BytePipe>();
  ImageImport::Input input;
  input.source = call.query("fromSrc");
  if (input.source != "-")
    return unsupported("import from {}: only a tarball in the request's body", input.source);
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
