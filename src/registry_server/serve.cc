#include "registry_server/serve.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

#include <thread>

#include "base/log.h"
#include "base/sys.h"
#include "http/listen.h"
#include "http/server.h"
#include "registry_server/listen.h"
#include "registry_server/registry.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kPoolThreads = 32;
constexpr size_t kTrim = 256u << 10;

void prepare_process() {
  ::umask(027);
  ::signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &files);
  }
  ::mallopt(M_ARENA_MAX, 2);
  ::mallopt(M_TRIM_THRESHOLD, kTrim);
  ::mallopt(M_MMAP_THRESHOLD, 64 << 10);  // buffers of slow clients: what is not used is not there
}

std::chrono::seconds seconds(int64_t ns) {
  return std::chrono::seconds((ns + 999'999'999) / 1'000'000'000);
}

// The metrics' listener and the admin socket, on a thread of their own, so that they answer
// whatever the clients do.
class SideServer {
 public:
  explicit SideServer(Registry& registry)
      : server_(side_options(), [&registry](http::Exchange& exchange) {
          if (exchange.peer().unix_socket)
            registry.handle_admin(exchange);
          else
            registry.handle_metrics(exchange);
        }) {}
  ~SideServer() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }
  http::Server& server() { return server_; }
  void start() {
    thread_ = std::thread([this] { server_.run(); });
  }

 private:
  static http::ServerOptions side_options() {
    http::ServerOptions options;
    options.pool_threads = 2;
    options.max_connections = 64;
    options.drain_timeout = std::chrono::seconds(1);
    return options;
  }
  http::Server server_;
  std::thread thread_;
};

// Null when the options name no certificate.
Result<std::shared_ptr<const http::TlsContext>> tls_of(const Options& options) {
  if (options.tls_certificate.empty()) return std::shared_ptr<const http::TlsContext>();
  http::TlsServerOptions tls;
  tls.certificate = options.tls_certificate;
  tls.key = options.tls_key;
  tls.client_ca = options.tls_client_ca;
  tls.client_optional = !options.tls_client_required;
  return http::TlsContext::server(tls);
}

Status apply(http::Server& server, Registry& registry, const std::vector<std::string>& arguments) {
  Options options = TRY(Options::parse(arguments));
  auto tls = TRY(tls_of(options));
  if ((tls != nullptr) != !registry.options()->tls_certificate.empty())
    return invalid("TLS cannot be turned on or off without a restart");
  TRY(registry.reload(options));
  server.replace_tls(std::move(tls));
  return {};
}

void reload(http::Server& server, Registry& registry, const std::vector<std::string>& arguments) {
  Status done = apply(server, registry, arguments);
  if (!done) return log::error("reload: {}: all stays as it was", done.error().message());
  log::info("reloaded: {}, delete {}", registry.options()->read_only ? "read-only" : "writable",
            registry.options()->deletes ? "on" : "off");
}

}  // namespace

std::string admin_socket(const Options& options) { return options.root + "/admin.sock"; }

Status serve(const Options& options, const std::vector<std::string>& arguments) {
  prepare_process();
  log::configure(options.log_level, options.log_format);
  auto registry = TRY(Registry::open(options));

  http::ServerOptions server_options;
  server_options.drain_timeout = seconds(options.drain_timeout);
  server_options.stall_timeout = seconds(options.stall_timeout);
  server_options.max_connections = static_cast<size_t>(options.max_connections);
  server_options.pool_threads = kPoolThreads;
  http::Server server(server_options,
                      [&](http::Exchange& exchange) { registry->handle(exchange); });
  registry->connections = [&server] { return server.connections(); };
  auto tls = TRY(tls_of(options));
  std::string names;
  for (const std::string& address : options.addresses)
    for (UniqueFd& socket : TRY(listen_on(address))) {
      names += (names.empty() ? "" : ", ") + address_of(socket.get());
      TRY(server.listen(std::move(socket), tls));
    }
  SideServer side(*registry);
  TRY(side.server().listen(TRY(sys::listen_unix(admin_socket(options), 0600))));
  if (!options.metrics_address.empty())
    for (UniqueFd& socket : TRY(listen_on(options.metrics_address)))
      TRY(side.server().listen(std::move(socket)));
  TRY(server.handle_signals({SIGTERM, SIGINT, SIGHUP}, [&](int signal) {
    if (signal == SIGHUP) return reload(server, *registry, arguments);
    log::info("stopping: requests under way have {} s to end",
              seconds(options.drain_timeout).count());
    http::notify_service_manager("STOPPING=1");
    server.stop();
  }));
  side.start();
  registry->collector().start();
  log::info("gantry-registry {} serves {} on {}", GANTRY_VERSION, options.root, names);
  http::notify_service_manager("READY=1");
  server.run();
  registry->shut_down();
  (void)::unlink(admin_socket(options).c_str());
  log::info("stopped");
  return {};
}

}  // namespace gantry::registry_server
