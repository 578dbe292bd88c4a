// RUN: a command in a container that only its job knows. Nothing of it is remembered; all that it
// takes belongs to the job, which gives it back however it ends.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <limits>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/tree_archive.h"
#include "base/tree_extract.h"
#include "base/units.h"
#include "daemon/build/stage.h"
#include "daemon/images.h"
#include "daemon/mounts.h"
#include "daemon/name_service.h"
#include "daemon/networks.h"
#include "daemon/options.h"
#include "daemon/spec_builder.h"
#include "daemon/special_mounts.h"
#include "daemon/validate.h"
#include "drivers/exec/exec_driver.h"
#include "drivers/exec/resources.h"
#include "drivers/graph/graph_driver.h"
#include "drivers/graph/rootfs_mount.h"

namespace gantry::daemon {
namespace {

constexpr std::string_view kHostname = "gantry-build";

// "0700", "1000": a number of a --mount option.
Result<uint32_t> number(const std::string& text, uint32_t fallback, int base,
                        std::string_view what) {
  if (text.empty()) return fallback;
  uint32_t out = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (error != std::errc() || end != text.data() + text.size())
    return invalid("--mount: invalid {} \"{}\"", what, text);
  return out;
}

// A file system of memory with one file, of which only the file is mounted: attached to nothing.
Result<UniqueFd> secret_file(const std::string& contents, mode_t mode, uid_t uid, gid_t gid) {
  UniqueFd copy;
  TRY(apart([&]() -> Status {
    TRY(sys::unshare(CLONE_FS | CLONE_NEWNS));
    TRY(sys::mount("none", "/", "", MS_REC | MS_PRIVATE));
    UniqueFd context = TRY(sys::fsopen("tmpfs"));
    TRY(sys::fsconfig_string(context.get(), "mode", "0700"));
    TRY(sys::fsconfig_create(context.get()));
    const unsigned execute = (mode & 0111) != 0 ? 0 : MOUNT_ATTR_NOEXEC;
    UniqueFd mount =
        TRY(sys::fsmount(context.get(), MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | execute));
    TRY(sys::move_mount(mount.get(), AT_FDCWD, "/proc"));  // any directory does
    UniqueFd file = TRY(sys::openat(mount.get(), "secret", O_WRONLY | O_CREAT | O_EXCL, 0600));
    TRY(sys::write_all(file.get(), contents));
    if (::fchown(file.get(), uid, gid) == -1) return errno_error(errno, "fchown");
    TRY(sys::fchmod(file.get(), mode));
    copy = TRY(sys::open_tree(mount.get(), "secret", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    return {};
  }));
  return copy;
}

// Part of a mount that is attached to nothing, itself attached to nothing.
Result<UniqueFd> part_of(int mount, const std::string& path) {
  UniqueFd copy;
  TRY(apart([&]() -> Status {
    TRY(sys::unshare(CLONE_FS | CLONE_NEWNS));
    TRY(sys::mount("none", "/", "", MS_REC | MS_PRIVATE));
    TRY(sys::move_mount(mount, AT_FDCWD, "/proc"));
    UniqueFd root = TRY(sys::dup(mount));
    UniqueFd part = TRY(Beneath(std::move(root)).open(path.empty() ? "/" : path, O_PATH));
    copy = TRY(sys::open_tree(part.get(), "",
                              OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE));
    return {};
  }));
  return copy;
}

// The end of a container, told by the thread that watches shims.
struct Ending {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<drivers::ExitStatus> status;
};

// What is in the way of a mount did not come from the command: an empty file or directory that is
// at a mount's place and was not there before, and directories that lead there.
class Stubs {
 public:
  void add(const std::string& path) {
    for (size_t slash = path.find('/', 1); slash != path.npos; slash = path.find('/', slash + 1))
      ways_.insert(path.substr(0, slash));
    ways_.insert(path);
  }
  bool is_stub(const drivers::Change& change, int depth = 0) const {
    constexpr int kDeepest = 32;  // whatever a Dockerfile says: this is a job's small stack
    if (depth > kDeepest) return false;
    if (change.kind != drivers::ChangeKind::added || !ways_.contains(change.path)) return false;
    struct stat st;
    if (::fstatat(change.directory_fd, change.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == -1)
      return false;
    if (S_ISREG(st.st_mode)) return st.st_size == 0;
    if (!S_ISDIR(st.st_mode)) return false;
    Result<UniqueFd> directory = sys::openat(change.directory_fd, change.name,
                                             O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!directory) return false;
    Result<std::vector<std::string>> names = fs::list_directory(directory->get());
    return names && std::all_of(names->begin(), names->end(), [&](const std::string& name) {
      return is_stub({drivers::ChangeKind::added, change.path + "/" + name, directory->get(), name},
                     depth + 1);
    });
  }

 private:
  std::set<std::string> ways_;
};

// What one RUN needs besides its container; everything is prepared before the command begins.
struct Preparation {
  SpecialMounts special;
  std::vector<MountPoint> mounts;
  std::vector<std::string> secret_environment;
  std::vector<BuildCache::Turn> turns;
  Stubs stubs;
  std::vector<UniqueFd> held;
};

class Preparer {
 public:
  Preparer(Daemon& daemon, Builds& builds, engine::JobContext& job, BuildRun& run,
           const std::string& directory)
      : daemon_(daemon), builds_(builds), job_(job), run_(run), directory_(directory) {}

  // `chain`: the layers of a bind mount's `from`; nothing: the build context.
  Status add(const builder::RunMount& mount, const std::string& target,
             const std::optional<Digest>& chain) {
    MountPoint point;
    point.destination = target;
    point.type = "bind";
    point.writable = !mount.read_only.value_or(mount.type == "bind");
    if (mount.type == "bind") {
      TRY(bind(mount, chain, point));
    } else if (mount.type == "cache") {
      TRY(cache(mount, target, point));
    } else if (mount.type == "tmpfs") {
      point.type = "tmpfs";
      point.writable = true;
      if (!mount.size.empty()) point.tmpfs_options.push_back("size=" + mount.size);
    } else if (mount.type == "secret") {
      return secret(mount, target, point);
    } else {
      return unsupported(
          "RUN --mount=type={}: the client's agent cannot be reached over this interface",
          mount.type);
    }
    out_.stubs.add(target);
    out_.mounts.push_back(std::move(point));
    return {};
  }
  Status file(const std::string& target, const std::string& contents, mode_t mode) {
    UniqueFd tree = TRY(secret_file(contents, mode, 0, 0));
    MountPoint point;
    point.type = "bind";
    point.destination = target;
    point.writable = false;
    out_.special.add(target, std::move(tree));
    out_.stubs.add(target);
    out_.mounts.push_back(std::move(point));
    return {};
  }
  Preparation finish() { return std::move(out_); }

 private:
  Status bind(const builder::RunMount& mount, const std::optional<Digest>& chain,
              MountPoint& point) {
    std::string source = mount.source;
    while (source.starts_with('/')) source.erase(0, 1);
    UniqueFd tree;
    if (chain) {
      const std::string id = new_id();
      TRY(job_.take({{std::string(drivers::kContainerKind), id, "", ""}}));
      RootfsSource recipe = TRY(daemon_.graph_driver().create_container(
          {id, *chain, drivers::ContainerLifetime::ephemeral, 0}));
      // Written to in vain: the container layer goes with this job.
      UniqueFd whole = TRY(drivers::mount_rootfs(
          recipe, point.writable ? drivers::RootfsAccess::write : drivers::RootfsAccess::read));
      tree = TRY(part_of(whole.get(), source).context("--mount source {}", mount.source));
    } else {
      tree = TRY(from_context(source));
    }
    if (!point.writable)
      TRY(sys::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0));
    out_.special.add(point.destination, std::move(tree));
    return {};
  }

  // The context is an archive: what is mounted of it is unpacked for the length of the command.
  Result<UniqueFd> from_context(const std::string& source) {
    std::string real = TRY(builder::resolve(*run_.context, source));
    std::optional<tar::Entry> entry = TRY(run_.context->stat(real));
    if (!entry)
      return not_found(
          "--mount: \"/{}\": not found in the build context or excluded by .dockerignore", source);
    const std::string name = fmt::format("mount-{}", count_++);
    TRY(fs::make_directories(directory_ + "/" + name, 0755));
    UniqueFd there = TRY(sys::open(directory_ + "/" + name, O_PATH | O_DIRECTORY));
    UniqueFd archive = TRY(sys::open(directory_, O_TMPFILE | O_RDWR, 0600));
    FdSink sink(archive.get());
    const bool directory = entry->type == tar::Type::directory;
    TRY(write_archive(*run_.context, real, directory ? "" : "file", sink));
    if (::lseek(archive.get(), 0, SEEK_SET) == -1) return errno_error(errno, "lseek");
    FdSource packed(archive.get());
    UniqueFd scratch = TRY(sys::open(directory_, O_RDONLY | O_DIRECTORY));
    TRY(extract_tree(there.get(), "/", scratch.get(), packed, {}));
    constexpr unsigned kCopy = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    return directory ? sys::open_tree(there.get(), "", kCopy | AT_EMPTY_PATH)
                     : sys::open_tree(there.get(), "file", kCopy | AT_SYMLINK_NOFOLLOW);
  }

  Status cache(const builder::RunMount& mount, const std::string& target, MountPoint& point) {
    std::string id = mount.id.empty() ? target : mount.id;
    const mode_t mode = TRY(number(mount.mode, 0755, 8, "mode"));
    const uid_t uid = TRY(number(mount.uid, 0, 10, "uid"));
    const gid_t gid = TRY(number(mount.gid, 0, 10, "gid"));
    BuildCache& cache = builds_.cache();
    if (mount.sharing == "locked") {
      out_.turns.push_back(TRY(cache.turn(job_, "mount:" + id)));
    } else if (mount.sharing == "private") {
      // The first that nobody uses now.
      const std::string wanted = id;
      for (int i = 0;; ++i) {
        id = i == 0 ? wanted : fmt::format("{}#{}", wanted, i);
        if (auto turn = cache.try_turn("mount:" + id)) {
          out_.turns.push_back(std::move(*turn));
          break;
        }
      }
    }
    std::string path = TRY(cache.mount_directory(job_, id, mode, uid, gid, run_.job));
    // Links that a command has left in the cache lead nowhere: they are not followed.
    UniqueFd root = TRY(sys::open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    std::string source = mount.source;
    while (source.starts_with('/')) source.erase(0, 1);
    if (!source.empty()) {
      UniqueFd whole = TRY(sys::dup(root.get()));
      root = TRY(Beneath(std::move(whole)).make_directories(source, 0755));
    }
    UniqueFd tree = TRY(sys::open_tree(
        root.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE));
    TRY(sys::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE,
                           point.writable ? 0 : MOUNT_ATTR_RDONLY, 0, MS_PRIVATE));
    out_.special.add(target, std::move(tree));
    return {};
  }

  Status secret(const builder::RunMount& mount, const std::string& target, MountPoint& point) {
    const std::string id = mount.id.empty() ? target.substr(target.rfind('/') + 1) : mount.id;
    auto known = run_.input.secrets.find(id);
    if (known == run_.input.secrets.end()) {
      if (mount.required)
        return invalid("secret {}: not found: give it with --secret id={},src=FILE", id, id);
      return {};
    }
    if (!mount.env.empty()) out_.secret_environment.push_back(mount.env + "=" + known->second);
    if (!mount.env.empty() && mount.target.empty()) return {};
    const mode_t mode = TRY(number(mount.mode, 0400, 8, "mode"));
    const uid_t uid = TRY(number(mount.uid, 0, 10, "uid"));
    const gid_t gid = TRY(number(mount.gid, 0, 10, "gid"));
    UniqueFd tree = TRY(secret_file(known->second, mode, uid, gid));
    TRY(sys::mount_setattr(tree.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0));
    point.writable = false;
    out_.special.add(target, std::move(tree));
    out_.stubs.add(target);
    out_.mounts.push_back(std::move(point));
    return {};
  }

  Daemon& daemon_;
  Builds& builds_;
  engine::JobContext& job_;
  BuildRun& run_;
  const std::string& directory_;
  Preparation out_;
  int count_ = 0;
};

// A command in its container, from the plan of its network to its end.
class Command {
 public:
  Command(Daemon& daemon, ContainerRecord& record, std::string directory, Preparation& prepared,
          std::function<void(const std::string&)> say)
      : daemon_(daemon),
        record_(record),
        directory_(std::move(directory)),
        prepared_(prepared),
        say_(std::move(say)) {}

  Result<int> run(engine::JobContext& job) {
    std::vector<engine::LockName> networks;
    for (const auto& [name, settings] : record_.networks)
      if (!is_predefined(name))  // the others cannot go
        networks.push_back({engine::LockKind::network, name, engine::LockMode::shared});
    TRY(job.lock(std::move(networks)));
    SandboxPlan plan = TRY(daemon_.networks().plan(record_));
    if (plan.mode == SandboxMode::container)
      return unsupported("network mode \"{}\": a build joins no container's network",
                         record_.host_config.NetworkMode);
    record_.state.run = random_hex(8);
    drivers::Launch launch;
    launch.id = record_.id;
    launch.directory = fmt::format("{}/shims/{}-{}", daemon_.options().exec_root, record_.id,
                                   record_.state.run);
    SpecInputs inputs;
    inputs.container_directory = directory_;
    std::string parent = record_.host_config.CgroupParent;
    if (parent.empty()) parent = "/gantry/" + daemon_.instance();
    if (!parent.starts_with('/')) parent = "/" + parent;
    inputs.cgroups_path = fmt::format("{}/{}-{}", parent, record_.id, record_.state.run);
    if (plan.mode == SandboxMode::host) inputs.network_namespace = "host";
    inputs.detached = prepared_.special.sources();
    launch.spec = TRY(build_spec(record_, inputs));
    launch.user = user_of(record_);
    launch.rootfs = TRY(daemon_.graph_driver().recipe(record_.id));
    launch.log.driver = "none";

    std::vector<engine::Resource> intents = drivers::launch_resources(launch, "");
    for (engine::Resource row : plan.rows) {
      row.owner.clear();
      intents.push_back(std::move(row));
    }
    TRY(job.take(std::move(intents)));
    plan.keep();
    TRY(failpoint("build.exec.planned"));
    TRY(fs::write_file(directory_ + "/hosts", plan.hosts, 0644));
    TRY(fs::write_file(directory_ + "/hostname", plan.hostname, 0644));
    TRY(fs::write_file(directory_ + "/resolv.conf", plan.resolv_conf, 0644));

    std::shared_ptr<drivers::Instance> instance = TRY(daemon_.exec_driver().create(launch));
    TRY(failpoint("build.exec.created"));
    if (plan.mode == SandboxMode::own) TRY(daemon_.networks().join(plan, instance->netns_fd()));
    // Ends with this function: who is connected is nobody else's business.
    std::shared_ptr<NameService::Serving> serving =
        TRY(daemon_.names().serve(record_, plan, instance->netns_fd()));
    auto ending = std::make_shared<Ending>();
    instance->set_listener([ending](const drivers::Notice& notice) {
      if (notice.type != drivers::Notice::Type::exited) return;
      std::lock_guard lock(ending->mutex);
      ending->status = notice.status;
      ending->changed.notify_all();
    });
    auto [ours, theirs] = TRY(sys::socketpair(SOCK_STREAM));
    drivers::AttachOptions attach;
    attach.detach_keys.clear();
    TRY(instance->attach(std::move(theirs), attach, ""));
    TRY(instance->start(serving ? serving->sockets() : std::vector<int>()));
    TRY(failpoint("build.exec.started"));
    Status read = read_output(job, ours.get());
    if (!read) return std::move(read).error();
    auto wake = job.cancel().on_cancel([ending] {
      std::lock_guard lock(ending->mutex);
      ending->changed.notify_all();
    });
    std::unique_lock lock(ending->mutex);
    ending->changed.wait(lock, [&] { return ending->status || job.cancelled(); });
    TRY(job.check());
    if (ending->status->oom)
      say_("the command was ended: it ran out of the memory that it may use\n");
    return ending->status->code;
  }

 private:
  // Until the container has ended. A character that is cut in two is put together.
  Status read_output(engine::JobContext& job, int socket) {
    const int cancel_fd = TRY(job.cancel().fd());
    std::string buffer(32u << 10, '\0'), kept;
    for (;;) {
      pollfd polled[2] = {{socket, POLLIN, 0}, {cancel_fd, POLLIN, 0}};
      if (::poll(polled, 2, -1) == -1 && errno != EINTR) return errno_error(errno, "poll");
      TRY(job.check());
      if (polled[0].revents == 0) continue;
      size_t got = TRY(sys::read(socket, buffer.data(), buffer.size()));
      if (got == 0) break;
      kept.append(buffer.data(), got);
      size_t whole = kept.size();
      for (size_t back = 1; back <= 3 && back <= kept.size(); ++back) {
        const auto c = static_cast<unsigned char>(kept[kept.size() - back]);
        if ((c & 0xc0) == 0x80) continue;
        const size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        if (length > back) whole = kept.size() - back;
        break;
      }
      if (whole > 0) say_(as_utf8(std::string_view(kept).substr(0, whole)));
      kept.erase(0, whole);
    }
    if (!kept.empty()) say_(as_utf8(kept));
    return {};
  }

  Daemon& daemon_;
  ContainerRecord& record_;
  const std::string directory_;
  Preparation& prepared_;
  std::function<void(const std::string&)> say_;
};

// As RUN's heredocs are carried out: alone they are the shell's script (or a program with a #!
// line); behind a command they are what that command reads.
struct Script {
  builder::CommandLine command;
  std::string program;  // contents of the file that is run in place of a shell
  std::string path;     // and where it is
};

Script script_of(const builder::CommandLine& written) {
  Script out{written, "", ""};
  if (!written.shell || written.heredocs.empty() || written.words.empty()) return out;
  std::string line = written.words[0];
  while (line.ends_with(' ')) line.pop_back();
  const builder::Heredoc& first = written.heredocs[0];
  const bool alone = written.heredocs.size() == 1 && line.starts_with("<<") &&
                     line.find_first_of(" \t") == line.npos;
  if (alone && first.content.starts_with("#!")) {
    out.program = first.content;
    out.path = "/dev/pipes/" + first.name;
    out.command = {false, {out.path}, {}};
  } else if (alone) {
    out.command.words = {first.content};
  } else {
    for (const builder::Heredoc& heredoc : written.heredocs)
      line += "\n" + heredoc.content + heredoc.name;
    out.command.words = {line + "\n"};
  }
  return out;
}

}  // namespace

Status StageBuilder::exec(const builder::RunInstruction& what) {
  if (what.security == "insecure")
    return invalid(
        "RUN --security=insecure is not allowed: commands of a build run with the isolation of any "
        "container");
  if (!what.devices.empty())
    return unsupported("RUN --device: no device can be given to a build");
  const Script script = script_of(what.command);
  const std::vector<std::string> argv = built_.state.argv(script.command);
  const std::vector<std::string> arguments = argument_list();

  // Mounts, with the layers they are from; what they hold goes into the key.
  struct Mounted {
    builder::RunMount mount;
    std::string target;
    std::optional<Digest> chain;
  };
  std::vector<Mounted> mounts;
  BuildKey run_key = key("run");
  for (builder::RunMount mount : what.mounts) {
    for (std::string* text : {&mount.from, &mount.source, &mount.target, &mount.id, &mount.mode,
                              &mount.uid, &mount.gid})
      *text = TRY(built_.state.word(*text));
    Mounted one;
    std::string target = mount.target;
    if (mount.type == "secret" && target.empty()) target = "/run/secrets/" + mount.id;
    if (target.empty()) return invalid("--mount=type={}: a target is needed", mount.type);
    one.target = built_.state.absolute(target);
    if (one.target == "/") return invalid("--mount: the target cannot be /");
    run_key.add(mount.type).add(one.target).add(mount.read_only.value_or(false) ? "ro" : "");
    run_key.add(mount.id).add(mount.mode).add(mount.uid).add(mount.gid).add(mount.size);
    run_key.add(mount.env).add(mount.sharing).add(mount.source);
    if (mount.type == "bind" && !mount.from.empty()) {
      one.chain = TRY(chain_of(mount.from));
      run_key.add(one.chain->text());
    } else if (mount.type == "cache" && !mount.from.empty()) {
      return unsupported("--mount=type=cache,from={}: a cache begins empty", mount.from);
    } else if (mount.type == "bind") {
      builder::CopySpec spec;
      spec.instruction = "--mount";
      spec.sources = {mount.source.empty() ? "/" : mount.source};
      auto tops = TRY(builder::find_copies(*run_.context, spec));
      Digest contents = TRY(builder::digest_copies(*run_.context, spec, tops));
      run_key.add(contents.text());
    }
    one.mount = std::move(mount);
    mounts.push_back(std::move(one));
  }

  std::string network = what.network;
  if (network.empty() || network == "default") network = run_.input.host.NetworkMode;
  if (network.empty()) network = "default";
  if (what.network == "host" && run_.input.host.NetworkMode != "host")
    return invalid(
        "RUN --network=host is not allowed: ask for it with --network=host of the build");
  run_key.add(argv).add(arguments).add(built_.state.config.env).add(script.program);
  run_key.add(built_.state.config.user).add(built_.state.config.working_dir).add(network);
  run_key.add(run_.input.host.ExtraHosts).add(std::to_string(run_.input.host.ShmSize));

  std::string history = "RUN ";
  if (!arguments.empty()) {
    history += fmt::format("|{}", arguments.size());
    for (const std::string& argument : arguments) history += " " + argument;
    history += " ";
  }
  for (size_t i = 0; i < argv.size(); ++i) history += (i == 0 ? "" : " ") + argv[i];

  auto work = [&](engine::JobContext& job) -> Result<image::BuiltLayer> {
    TRY(failpoint("build.run"));
    ContainerRecord record;
    record.id = new_id();
    record.name = record.id;
    api::ContainerConfig& config = record.config;
    config.Hostname = kHostname;
    config.User = built_.state.config.user;
    config.WorkingDir = built_.state.config.working_dir;
    config.Env = arguments;
    config.Env.push_back(fmt::format("SOURCE_DATE_EPOCH={}", built_.epoch));
    for (const auto& [name, value] : run_.input.build_args)
      if (builder::is_predefined(name)) config.Env.push_back(name + "=" + value);
    // ENV wins over ARG.
    config.Env.insert(config.Env.end(), built_.state.config.env.begin(),
                      built_.state.config.env.end());
    config.Cmd.items = argv;
    record.host_config = run_.input.host;
    record.host_config.NetworkMode = network;
    set_defaults(record.host_config, daemon_.options());
    TRY(validate(config, record.host_config));
    (void)discard_unsupported(record.host_config, limit_support());
    record.path = argv.empty() ? "" : argv[0];
    if (argv.size() > 1) record.args.assign(argv.begin() + 1, argv.end());
    daemon_.networks().complete(record);
    TRY(daemon_.networks().validate(record));

    const std::string directory = daemon_.options().data_root + "/containers/" + record.id;
    TRY(job.take({{"container-files", record.id, "", ""},
                  {std::string(drivers::kContainerKind), record.id, "", ""}}));
    TRY(fs::make_directories(directory, 0710));
    record.rootfs = TRY(daemon_.graph_driver().create_container(
        {record.id, built_.chain, drivers::ContainerLifetime::ephemeral, 0}));
    Preparer preparer(daemon_, builds_, job, run_, directory);
    for (const Mounted& one : mounts) TRY(preparer.add(one.mount, one.target, one.chain));
    if (!script.program.empty()) TRY(preparer.file(script.path, script.program, 0755));
    Preparation prepared = preparer.finish();
    record.mounts = prepared.mounts;
    for (const std::string& secret : prepared.secret_environment) config.Env.push_back(secret);

    say(fmt::format(" ---> Running in {}\n", short_id(record.id)));
    Command command(daemon_, record, directory, prepared,
                    [this](const std::string& text) { say(text); });
    BuildExec::Input input;
    input.container = record.id;
    input.work = [&](engine::JobContext& child) { return command.run(child); };
    Result<BuildExec::Output> ended = job.run<BuildExec>(std::move(input));
    if (!ended) {
      TRY(job.check());
      return std::move(ended).error();
    }
    if (ended->exit_code != 0) {
      std::string words;
      for (const std::string& word : argv) words += (words.empty() ? "" : " ") + word;
      return invalid("The command '{}' returned a non-zero code: {}", words, ended->exit_code);
    }
    say(fmt::format(" ---> Removed intermediate container {}\n", short_id(record.id)));
    TRY(failpoint("build.run.ended"));
    return daemon_.images().store().add_layer(
        job, built_.chain, [&](ByteSink& out) -> Status {
          TreeArchiver archive(out);
          archive.set_latest(built_.epoch);
          TRY(daemon_.graph_driver().diff(
              record.id, [&](const drivers::Change& change) -> Status {
                if (prepared.stubs.is_stub(change)) return {};
                std::string path = change.path.substr(1);
                if (change.kind == drivers::ChangeKind::deleted) return archive.add_whiteout(path);
                return archive.add(path, change.directory_fd, change.name);
              }));
          return archive.finish();
        });
  };
  return operation(run_key.finish(), "regular", history, work);
}

}  // namespace gantry::daemon
