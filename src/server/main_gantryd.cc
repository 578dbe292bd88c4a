// gantryd: reads its options, takes its sockets, opens the daemon, serves until it is told to stop.
#include <malloc.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/daemon.h"
#include "daemon/name_service.h"
#include "daemon/trust.h"
#include "http/listen.h"
#include "http/server.h"
#include "http/tls.h"
#include "image/decode_helper.h"
#include "server/daemon_options.h"
#include "server/listen.h"
#include "server/routes.h"
#include "trust/gpg.h"

namespace gantry::server {
namespace {

constexpr std::string_view kDecodeVerb = "decode";

// The daemon's pid in a file that stays locked while it lives, so that a stale file is no obstacle.
class PidFile {
 public:
  static Result<PidFile> create(const std::string& path) {
    if (size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0)
      TRY(fs::make_directories(path.substr(0, slash), 0711));
    PidFile file;
    file.fd_ = TRY(sys::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0644));
    if (!sys::flock(file.fd_.get(), LOCK_EX | LOCK_NB)) {
      std::string pid = sys::read_all(file.fd_.get(), 64).value_or("");
      while (pid.ends_with('\n')) pid.pop_back();
      return conflict(
          "failed to start daemon, ensure gantryd is not running: process with PID {} is still "
          "running (pid file {})",
          pid, path);
    }
    TRY(sys::ftruncate(file.fd_.get(), 0));
    TRY(sys::write_all(file.fd_.get(), fmt::format("{}\n", ::getpid())));
    file.path_ = path;
    return file;
  }
  PidFile(PidFile&&) = default;
  ~PidFile() {
    if (fd_) ::unlink(path_.c_str());
  }

 private:
  PidFile() = default;
  UniqueFd fd_;
  std::string path_;
};

void prepare_process() {
  ::umask(022);
  ::signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &files);
  }
  // One arena for each core that was ever busy would cost more than the daemon itself.
  ::mallopt(M_ARENA_MAX, 2);
  ::mallopt(M_TRIM_THRESHOLD, 256 << 10);
}

// Where archives of images are looked for unless told: beside this program, in a build tree
// (bin/../images) or below an installation's prefix (bin/../share/gantry/images).
std::vector<std::string> default_images_dirs() {
  auto program = sys::readlinkat(AT_FDCWD, "/proc/self/exe");
  std::string prefix = program ? *program : "";
  for (int levels = 0; levels < 2; ++levels)
    prefix.resize(std::min(prefix.rfind('/'), prefix.size()));
  std::vector<std::string> out;
  for (const char* below : {"/images", "/share/gantry/images"})
    if (fs::exists(prefix + below)) out.push_back(prefix + below);
  return out;
}

// Null when no TLS was asked for.
Result<std::shared_ptr<const http::TlsContext>> tls_of(const DaemonOptions& options) {
  if (!options.tls) return std::shared_ptr<const http::TlsContext>();
  http::TlsServerOptions tls;
  tls.certificate = options.tls_certificate;
  tls.key = options.tls_key;
  if (options.tls_verify) tls.client_ca = options.tls_ca;
  return http::TlsContext::server(tls);
}

// TLS is for what comes through a network; a Unix socket has its file's mode.
bool is_of_network(int socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  return ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
         address.ss_family != AF_UNIX;
}

Status listen_with(http::Server& server, Listener& listener, const DaemonOptions& options,
                   const std::shared_ptr<const http::TlsContext>& tls) {
  if (!is_of_network(listener.socket.get())) return server.listen(std::move(listener.socket));
  if (!options.tls_verify)
    log::warn("{}everyone who can connect to its port is root on this machine: use --tlsverify",
              tls ? "clients show no certificate: " : "");
  return server.listen(std::move(listener.socket), tls);
}

// What can change while the daemon runs: the level of its log, and the certificates. A mistake
// leaves all as it is.
void reload(http::Server& server, const std::vector<std::string>& arguments, bool tls) {
  auto options = DaemonOptions::parse(arguments);
  if (!options) {
    log::error("reload: {}", options.error().message());
    return;
  }
  auto certificates = tls_of(*options);
  if (!certificates) {
    log::error("reload: {}", certificates.error().message());
    return;
  }
  log::configure(options->log_level, options->log_format);
  if (tls && *certificates) server.replace_tls(*certificates);
  log::info(
      "reloaded the configuration: the log level and certificates are in force; other keys are "
      "read at start");
}

Status serve(DaemonOptions options, const std::vector<std::string>& arguments) {
  auto pidfile = TRY(PidFile::create(options.pidfile));
  if (options.daemon.images_dirs.empty()) options.daemon.images_dirs = default_images_dirs();
  const std::shared_ptr<const http::TlsContext> tls = TRY(tls_of(options));
  std::vector<Listener> listeners;
  for (const std::string& host : options.hosts) {
    std::vector<Listener> made = TRY(listen_on(host, options.group));
    std::move(made.begin(), made.end(), std::back_inserter(listeners));
  }
  auto daemon = TRY(daemon::Daemon::open(options.daemon).context("failed to start daemon"));

  Router router(
      {system_routes(), container_routes(), container_file_routes(), exec_routes(), image_routes(),
       volume_routes(), network_routes(), job_routes(), graph_routes(), swarm_routes()
#ifdef GANTRY_FAILPOINTS
                                                                            ,
       failpoint_routes()
#endif
      },
      daemon.get());
  http::Server server({}, [&](http::Exchange& exchange) { router.handle(exchange); });
  for (Listener& listener : listeners) TRY(listen_with(server, listener, options, tls));
  TRY(server.watch(daemon->names().descriptor(), [&] { daemon->names().run(); }));
  TRY(server.handle_signals({SIGTERM, SIGINT, SIGHUP}, [&](int signal) {
    if (signal == SIGHUP) return reload(server, arguments, tls != nullptr);
    log::info("stopping: signal {}; containers go on running", signal);
    http::notify_service_manager("STOPPING=1");
    server.stop();
  }));
  daemon->on_ready([] {
    log::info("ready");
    http::notify_service_manager("READY=1");
    ::malloc_trim(0);
  });
  daemon->start();
  for (const std::string& host : options.hosts) log::info("API listen on {}", host);
  server.run();
  listeners.clear();
  daemon->shut_down();
  return {};
}

int run(const std::vector<std::string>& arguments) {
  auto options = DaemonOptions::parse(arguments);
  if (!options) {
    fmt::print(stderr, "gantryd: {} (see 'gantryd --help')\n", options.error().message());
    return 1;
  }
  if (options->help) {
    fmt::print("{}", daemon_usage());
    return 0;
  }
  if (options->version) {
    fmt::print("Gantry version {}\n", GANTRY_VERSION);
    return 0;
  }
  if (options->validate) {
    auto policy = daemon::Trust::read_policy(options->daemon);
    if (!policy) {
      fmt::print(stderr, "gantryd: {}\n", policy.error().message());
      return 1;
    }
    if (auto tls = tls_of(*options); !tls) {
      fmt::print(stderr, "gantryd: {}\n", tls.error().message());
      return 1;
    }
    fmt::print("configuration OK\n");
    return 0;
  }
  log::configure(options->log_level, options->log_format);
  prepare_process();
  image::set_decode_helper({"/proc/self/exe", std::string(kDecodeVerb)});
  Status served = serve(*options, arguments);
  if (served) return 0;
  fmt::print(stderr, "gantryd: {}\n", served.error().message());
  return 1;
}

}  // namespace
}  // namespace gantry::server

int main(int argc, char** argv) {
  // Started by this very program (image/decode_helper.h): before anything is set up.
  if (argc == 3 && std::string_view(argv[1]) == gantry::server::kDecodeVerb)
    return gantry::image::run_decode_helper(argv[2]);
  if (argc == 2 && std::string_view(argv[1]) == gantry::trust::kGpgHelper)
    return gantry::trust::run_gpg_helper();
  return gantry::server::run(std::vector<std::string>(argv + 1, argv + argc));
}
