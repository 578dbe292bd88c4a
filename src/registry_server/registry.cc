#include "registry_server/registry.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kRememberedTypes = 20'000;

}  // namespace

Registry::~Registry() { shut_down(); }

void Registry::shut_down() {
  if (collector_) collector_->stop();
  if (cache_) cache_->stop();
}

Result<std::unique_ptr<Registry>> Registry::open(Options given) {
  std::unique_ptr<Registry> registry(new Registry);
  auto options = std::make_shared<const Options>(std::move(given));
  registry->options_ = options;
  registry->store_ = TRY(Store::open(options->root));
  registry->quotas_.total = static_cast<uint64_t>(options->quota_total);
  registry->quotas_.repository = static_cast<uint64_t>(options->quota_repository);
  registry->uploads_ =
      std::make_unique<Uploads>(*registry->store_, registry->quotas_,
                                Uploads::Limits{static_cast<size_t>(options->max_uploads)});
  TRY(registry->uploads_->load());
  registry->auth_ = std::make_unique<Auth>(TRY(Auth::load(*options)));
  registry->access_log_ = TRY(AccessLog::open(options->access_log));
  registry->collector_ =
      std::make_unique<Collector>(*registry->store_, *registry->uploads_, registry->metrics_);
  registry->collector_->set(CollectorSettings::of(*options));
  if (!options->upstream.empty())
    registry->cache_ =
        TRY(Cache::open(*options, *registry->store_, *registry->uploads_, registry->metrics_,
                        [collector = registry->collector_.get()](uint64_t room) {
                          auto report = collector->run(room);
                          if (!report) log::warn("making room: {}", report.error().message());
                        }));
  return registry;
}

Status Registry::reload(const Options& given) {
  auto state = TRY(Auth::load(given));
  TRY(access_log_->reopen(given.access_log));
  if (cache_) TRY(cache_->reload(given));
  auth_->replace(std::move(state));
  quotas_.total = static_cast<uint64_t>(given.quota_total);
  quotas_.repository = static_cast<uint64_t>(given.quota_repository);
  collector_->set(CollectorSettings::of(given));
  log::configure(given.log_level, given.log_format);
  auto options = std::make_shared<Options>(given);
  {
    std::lock_guard lock(options_mutex_);
    // What was taken at the start stays as it is.
    options->root = options_->root;
    options->addresses = options_->addresses;
    options->metrics_address = options_->metrics_address;
    options->upstream = options_->upstream;
    options_ = std::move(options);
  }
  return {};
}

std::shared_ptr<const Options> Registry::options() const {
  std::lock_guard lock(options_mutex_);
  return options_;
}

Result<std::string> Registry::media_type(const ContentDigest& digest, const Content& content) {
  {
    std::lock_guard lock(types_mutex_);
    if (auto found = types_.find(digest.text()); found != types_.end())
      return std::string(found->second);
  }
  std::string text(content.size, '\0');
  size_t got = TRY(sys::pread(content.fd.get(), text.data(), text.size(), 0));
  text.resize(got);
  ManifestView view = TRY(ManifestView::parse(text));
  std::lock_guard lock(types_mutex_);
  if (types_.size() >= kRememberedTypes) types_.clear();
  types_[digest.text()] = view.media_type;
  return view.media_type;
}

void Registry::handle(http::Exchange& exchange) {
  auto started = http::Clock::now();
  Call call{exchange, parse_route(exchange.path()), options(), auth_->state(), {}};
  call.tls = exchange.peer().tls;
  ++metrics_.in_flight;
  serve(call);
  --metrics_.in_flight;
  double seconds = std::chrono::duration<double>(http::Clock::now() - started).count();
  metrics_.request(to_string(call.route.resource), exchange.method(), call.status, seconds,
                   call.received, call.sent);
  access_log_->write({exchange.peer().address, call.identity.user, exchange.method(),
                      exchange.target(), std::string(exchange.headers().get("User-Agent")),
                      call.status, call.received, call.sent, seconds});
}

// What is not below /v2/. True when it was answered.
bool Registry::serve_outside(Call& call) {
  switch (call.route.resource) {
    case Resource::health:
      if (!call.reads()) return call.fail(unsupported_operation("only GET")), true;
      return call.answer(200, {{"Content-Type", "text/plain"}}, "ok\n"), true;
    case Resource::token:
      if (!call.auth->endpoint) break;
      return serve_token(*this, call), true;
    case Resource::metrics:
      if (!call.options->metrics || !call.options->metrics_address.empty()) break;
      if (!call.reads()) return call.fail(unsupported_operation("only GET")), true;
      if (call.auth->mode == AuthMode::none) {
        return call.answer(200, {{"Content-Type", "text/plain; version=0.0.4"}},
                           metrics_.text(gauges())),
               true;
      }
      return false;  // for those who may list everything
    case Resource::none:
      break;
    default:
      return false;
  }
  call.fail({404, "UNSUPPORTED", "there is no such endpoint", nullptr, {}});
  return true;
}

void Registry::serve(Call& call) {
  if (serve_outside(call)) return;
  Auth::Answer who = auth_->identify(call.x, *call.auth);
  if (who.error) {
    if (who.error->status == 401) ++metrics_.login_failures;
    http::Headers headers;
    if (who.error->status == 401)
      headers.set("WWW-Authenticate", challenge(*call.auth, call.x, call.tls, "", "invalid_token"));
    return call.fail(*who.error, std::move(headers));
  }
  call.identity = std::move(*who.identity);
  dispatch(call);
}

void Registry::dispatch(Call& call) {
  if (call.route.resource == Resource::metrics) {
    if (!call.auth->may_list(call.identity)) return call.refuse("registry:catalog:*", "metrics");
    return call.answer(200, {{"Content-Type", "text/plain; version=0.0.4"}},
                       metrics_.text(gauges()));
  }
  if (call.route.resource == Resource::base) {
    if (!call.reads()) return call.fail(unsupported_operation("only GET"));
    bool known = call.auth->mode == AuthMode::none || !call.identity.user.empty() ||
                 call.identity.access.has_value();
    if (!known) return call.refuse("", "log in first");
    return call.answer_json(200, json::object{});
  }
  if (call.route.resource == Resource::catalog) return serve_catalog(*this, call);
  if (Status good = check_repository(call.route.repository); !good)
    return call.fail(name_invalid(good.error().message()));
  bool changes = !call.reads();
  bool listing =
      call.route.resource == Resource::tags || call.route.resource == Resource::referrers;
  if (changes && listing) return call.fail(unsupported_operation("only GET"));
  if (changes && cache_)
    return call.fail(unsupported_operation("this registry is a pull-through cache: push to " +
                                           call.options->upstream));
  if (changes && call.options->read_only)
    return call.fail(unsupported_operation("the registry is read-only at present"));
  switch (call.route.resource) {
    case Resource::blob:
      return serve_blob(*this, call);
    case Resource::uploads:
      return serve_uploads(*this, call);
    case Resource::upload:
      return serve_upload(*this, call);
    case Resource::manifest:
      return serve_manifest(*this, call);
    case Resource::tags:
      return serve_tags(*this, call);
    default:
      return serve_referrers(*this, call);
  }
}

Metrics::Gauges Registry::gauges() const {
  Metrics::Gauges gauges;
  gauges.bytes = store_->used_bytes();
  gauges.blobs = store_->blob_count();
  gauges.uploads = uploads_->count();
  gauges.connections = connections();
  gauges.read_only = options()->read_only;
  return gauges;
}

void Registry::handle_metrics(http::Exchange& exchange) {
  if (exchange.path() == "/metrics" && options()->metrics) {
    (void)exchange.respond(200, {{"Content-Type", "text/plain; version=0.0.4"}},
                           metrics_.text(gauges()));
  } else if (exchange.path() == "/health") {
    (void)exchange.respond(200, {{"Content-Type", "text/plain"}}, "ok\n");
  } else {
    (void)exchange.respond(404, {{"Content-Type", "text/plain"}}, "not found\n");
  }
}

void Registry::handle_admin(http::Exchange& exchange) {
  if (exchange.path() != "/gc" || exchange.method() != "POST") return handle_metrics(exchange);
  auto report = exchange.run_blocking([&] { return collector_->run(); });
  if (!report) {
    int status = report.error().kind() == ErrorKind::conflict ? 409 : 500;
    (void)exchange.respond(status, {{"Content-Type", "text/plain"}}, report.error().message());
    return;
  }
  (void)exchange.respond(200, {{"Content-Type", "text/plain"}}, report->text());
}

}  // namespace gantry::registry_server
