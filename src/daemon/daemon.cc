#include "daemon/daemon.h"

#include <sys/file.h>

#include <mutex>
#include <thread>
#include <vector>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/containers.h"
#include "daemon/events.h"
#include "daemon/images.h"
#include "daemon/maintenance.h"
#include "daemon/name_service.h"
#include "daemon/networks.h"
#include "daemon/transfers.h"
#include "daemon/trust.h"
#include "daemon/volumes.h"
#include "drivers/exec/exec_driver.h"
#include "drivers/exec/resources.h"
#include "drivers/graph/graph_driver.h"
#include "engine/engine.h"
#include "graph/check.h"
#include "graph/content_store.h"
#include "graph/database.h"
#include "graph/graph.h"
#include "libcontainer/container.h"

namespace gantry::daemon {

struct Daemon::State {
  UniqueFd root_lock, exec_lock;
  std::unique_ptr<graph::Database> database;
  std::unique_ptr<graph::ContentStore> content;
  std::shared_ptr<drivers::GraphDriver> graph_driver;
  std::unique_ptr<drivers::ExecDriver> exec_driver;
  std::unique_ptr<engine::Engine> engine;
  std::thread background;
  std::mutex ready_mutex;
  std::vector<std::function<void()>> when_ready;
  bool shut_down = false;
};

namespace {

constexpr const char* kInstanceKey = "instance";
constexpr const char* kStorageDriverKey = "storage-driver";
// How long an orderly stop waits for what is given back in the background.
constexpr std::chrono::seconds kDrain{10};

Result<UniqueFd> lock_root(const std::string& path) {
  UniqueFd fd = TRY(sys::open(path + "/gantryd.lock", O_RDWR | O_CREAT, 0600));
  Status locked = sys::flock(fd.get(), LOCK_EX | LOCK_NB);
  if (locked) return fd;
  if (locked.error().code() != EWOULDBLOCK) return std::move(locked).error();
  return conflict(
      "another gantryd uses {}: stop it, or give this one its own --data-root and --exec-root",
      path);
}

// In a file as well: what carries the instance's name in the kernel outlives a lost database, and a
// database without the instance of the file is not the one that was here.
Result<std::string> instance_of(graph::Graph& graph, const std::string& root) {
  const std::string file = root + "/engine-id";
  std::string instance = TRY(graph.read().setting(kInstanceKey));
  Result<std::string> kept = fs::read_file(file, 64);
  if (!kept && kept.error().kind() != ErrorKind::not_found) return std::move(kept).error();
  if (instance.empty()) {
    if (kept) instance = kept->substr(0, kept->find('\n'));
    if (instance.size() != 12 ||
        instance.find_first_not_of("0123456789abcdef") != std::string::npos)
      instance = random_hex(6);
    TRY(graph.database().write(graph::Durability::full, graph::Space::ordinary,
                               [&](graph::Transaction& tx) -> Status {
                                 if (kept) TRY(graph.set_setting(tx, graph::kRecoveredKey, "1"));
                                 return graph.set_setting(tx, kInstanceKey, instance);
                               }));
  }
  // After the database: a first start that is cut short has lost nothing.
  if (!kept) TRY(fs::write_file(file, instance + "\n"));
  return instance;
}

// Layers are made by one driver and can be read by no other, so the one that a root was begun with
// stays.
Result<std::shared_ptr<drivers::GraphDriver>> storage_of(graph::Graph& graph,
                                                         const std::string& wanted,
                                                         const std::string& root) {
  std::string known = TRY(graph.read().setting(kStorageDriverKey));
  if (known.empty())  // a database that was lost: the layers on the disk tell
    for (std::string_view name : drivers::graph_driver_names()) {
      Result<std::vector<std::string>> layers =
          fs::list_directory(fmt::format("{}/{}/layers", root, name));
      if (layers && !layers->empty()) known = name;
    }
  if (!known.empty() && !wanted.empty() && known != wanted)
    return conflict(
        "{} was begun with the storage driver {}: start with it, or give {} a --data-root of its "
        "own",
        root, known, wanted);
  std::shared_ptr<drivers::GraphDriver> driver =
      TRY(drivers::open_graph_driver(known.empty() ? wanted : known, root));
  if (TRY(graph.read().setting(kStorageDriverKey)).empty())
    TRY(graph.database().write(graph::Durability::full, graph::Space::ordinary,
                               [&](graph::Transaction& tx) {
                                 return graph.set_setting(tx, kStorageDriverKey, driver->name());
                               }));
  return driver;
}

// What became of a damaged database, for whoever reads the log.
void tell(const std::optional<graph::Recovery>& recovery, const SystemRebuild::Output& rebuilt) {
  if (recovery) {
    log::warn(
        "the database was {}; taken over: {} nodes, {} edges, {} names, {} resources; found on the "
        "disk: {} blobs",
        recovery->kept_as.empty() ? "gone" : "damaged (kept as " + recovery->kept_as + ")",
        recovery->nodes, recovery->edges, recovery->names, recovery->resources, recovery->blobs);
    for (const std::string& what : recovery->not_read) log::warn("not read: {}", what);
  }
  for (const std::string& what : rebuilt.made) log::warn("made again: {}", what);
  for (const std::string& what : rebuilt.not_made) log::warn("not made again: {}", what);
}

Result<std::string> runtime_beside_us() {
  std::string self = TRY(sys::readlinkat(AT_FDCWD, "/proc/self/exe"));
  return self.substr(0, self.rfind('/')) + "/gantry-runtime";
}

// The directory of a container's own files: log, hosts, resolv.conf.
engine::ResourceKind container_files(const std::string& data_root) {
  std::string root = data_root + "/containers";
  engine::ResourceKind kind;
  kind.name = "container-files";
  // Deferred, so that they go only when the transaction that forgets the container is on disk.
  kind.mode = engine::Release::deferred;
  kind.probe = [root](const engine::Resource& files) -> Result<engine::Presence> {
    return fs::exists(root + "/" + files.name) ? engine::Presence::present
                                               : engine::Presence::absent;
  };
  kind.release = [root](const engine::Resource& files) {
    return fs::remove_tree(root + "/" + files.name);
  };
  kind.enumerate = [root]() -> Result<std::vector<engine::Resource>> {
    std::vector<std::string> names = TRY(fs::list_directory(root));
    std::vector<engine::Resource> out;
    for (std::string& name : names) out.push_back({"container-files", std::move(name), "", ""});
    return out;
  };
  return kind;
}

}  // namespace

Daemon::Daemon() : state_(std::make_unique<State>()), events_(std::make_unique<Events>()) {}

Daemon::~Daemon() {
  shut_down();
  maintenance_.reset();
  containers_.reset();
  volumes_.reset();
  names_.reset();
  networks_.reset();
  trust_.reset();
  transfers_.reset();
  images_.reset();
  state_->engine.reset();
}

engine::Engine& Daemon::engine() { return *state_->engine; }
graph::Graph& Daemon::graph() { return state_->engine->graph(); }
drivers::GraphDriver& Daemon::graph_driver() { return *state_->graph_driver; }
drivers::ExecDriver& Daemon::exec_driver() { return *state_->exec_driver; }

Result<std::unique_ptr<Daemon>> Daemon::open(Options options) {
  std::unique_ptr<Daemon> daemon(new Daemon);
  State& state = *daemon->state_;
  const std::string root = options.data_root;
  auto policy = TRY(Trust::read_policy(options));  // before anything is taken
  TRY(fs::make_directories(root, 0711));
  TRY(fs::make_directories(options.exec_root, 0711));
  state.root_lock = TRY(lock_root(root));
  state.exec_lock = TRY(lock_root(options.exec_root));
  for (const char* name : {"/containers", "/volumes", "/tmp"})
    TRY(fs::make_directories(root + name, 0701));
  TRY(fs::make_directories(options.exec_root + "/shims", 0700));
  if (options.runtime_program.empty()) options.runtime_program = TRY(runtime_beside_us());
  daemon->options_ = std::move(options);
  const Options& o = daemon->options_;

  state.content = TRY(graph::ContentStore::open(root + "/content"));
  std::optional<graph::Recovery> recovery;
  state.database = TRY(graph::open_or_recover(root + "/gantry.db", *state.content, &recovery));
  // On a disk that is full already what can work without it does; it is made when there is room.
  log::ignored("the reserve for a full disk", state.database->set_reserve(4 << 20, 2 << 20));
  engine::EngineOptions engine_options;
  engine_options.journal_limit = o.journal_limit;
  engine_options.journal_age = std::chrono::seconds(o.journal_age);
  state.engine = TRY(engine::Engine::create(*state.database, std::move(engine_options)));
  daemon->instance_ = TRY(instance_of(state.engine->graph(), root));
  // There for as long as the daemon is, so that a start makes one directory a hierarchy.
  TRY(libcontainer::make_cgroup("/gantry/" + daemon->instance_));
  state.graph_driver = TRY(storage_of(state.engine->graph(), o.storage_driver, root));
  state.exec_driver = TRY(drivers::make_native_driver({.runtime = o.runtime_program}));

  engine::Resources& resources = state.engine->resources();
  TRY(resources.add(container_files(root)));
  TRY(drivers::register_resource_kinds(resources, state.graph_driver));
  TRY(drivers::register_exec_resources(resources));
  daemon->images_ = TRY(Images::create(*state.engine, *state.content, state.graph_driver,
                                       *daemon->events_, root + "/tmp"));
  daemon->images_->set_max_download(o.max_layer_size);
  daemon->transfers_ =
      TRY(Transfers::create(*state.engine, daemon->images_->store(), *daemon->events_, o));
  daemon->trust_ = Trust::create(*state.engine, daemon->images_->store(),
                                 daemon->transfers_->hosts(), o, std::move(policy));
  daemon->networks_ = TRY(Networks::open(*state.engine, *daemon->events_, o, daemon->instance_));
  daemon->names_ = TRY(NameService::create(*daemon->networks_, o));
  daemon->volumes_ = std::make_unique<Volumes>(*daemon);
  daemon->containers_ = std::make_unique<Containers>(*daemon);
  daemon->maintenance_ = std::make_unique<Maintenance>(*daemon);

  daemon->recovered_ = TRY(state.engine->graph().read().setting(graph::kRecoveredKey)) == "1";
  if (daemon->recovered_) {  // again, if the last start was cut short
    SystemRebuild::Output rebuilt =
        TRY(state.engine->run<SystemRebuild>({}, {.caller = {.name = "gantryd"}}));
    tell(recovery, rebuilt);
  }
  TRY(state.engine->run<NetworkRestore>({}, {.caller = {.name = "gantryd"}}));
  TRY(daemon->containers_->load());
  return daemon;
}

void Daemon::start() {
  state_->background = std::thread([this] { adopt_and_reconcile(); });
}

void Daemon::adopt_and_reconcile() {
  log::ignored("adopting containers", containers_->adopt());
  names_->begin();  // what was asked meanwhile is answered now that everybody is known
  // Before the first request is answered: `gantryd` and then `run busybox` is what a new user
  // types.
  images_->load_archives(options_.images_dirs, recovered_);
  become_ready();
  FailpointScope scope("reconcile");
  // What a rebuild could not account for may be somebody's data: it stays until it is asked for.
  Result<engine::ReconcileReport> report = state_->engine->reconcile(
      recovered_ ? engine::ReconcileMode::careful : engine::ReconcileMode::repair);
  if (recovered_)
    log::warn(
        "what the database does not account for was left alone: `gantry system check` shows it, "
        "and `gantry system check --repair` removes it");
  if (!report) {
    log::error("reconcile: {}", report.error().message());
  } else {
    for (const engine::Finding& finding : report->findings)
      log::warn("reconcile: {} {} {}: {}", to_string(finding.what), finding.kind, finding.name,
                finding.repaired ? "repaired" : finding.detail);
    volumes_->make_good(*report);
  }
  phase_ = Phase::reconciled;
  containers_->resume();
  maintenance_->start();
}

void Daemon::become_ready() {
  std::vector<std::function<void()>> waiting;
  {
    std::lock_guard lock(state_->ready_mutex);
    phase_ = Phase::ready;
    waiting.swap(state_->when_ready);
  }
  for (const auto& fn : waiting) fn();
}

void Daemon::on_ready(std::function<void()> fn) {
  {
    std::lock_guard lock(state_->ready_mutex);
    if (!ready()) {
      state_->when_ready.push_back(std::move(fn));
      return;
    }
  }
  fn();
}

void Daemon::shut_down() {
  if (state_->background.joinable()) state_->background.join();
  if (!state_->engine) return;
  if (maintenance_) maintenance_->stop();
  state_->engine->shutdown(std::chrono::seconds(options_.shutdown_timeout), kDrain);
  if (maintenance_) maintenance_->shut_down();
  if (containers_) containers_->shut_down();
  events_->close();
  if (!containers_ || std::exchange(state_->shut_down, true)) return;
  // With nothing running, nothing of ours stays on the machine; the next start makes it again.
  const Containers::Counts counts = containers_->counts();
  if (counts.running + counts.paused > 0) return;
  log::ignored("networks", networks_->take_down());
  libcontainer::remove_cgroup_if_unused("/gantry/" + instance_);
  libcontainer::remove_cgroup_if_unused("/gantry");
}

}  // namespace gantry::daemon
