#include "runtime/verbs.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "base/fs.h"
#include "base/sys.h"
#include "libcontainer/validate.h"

namespace gantry::runtime {
namespace {

constexpr FlagKind kBool = FlagKind::boolean;
constexpr FlagKind kText = FlagKind::text;

constexpr Flag kCreateFlags[] = {
    {"bundle", "b", kText, "directory with config.json (the current one)"},
    {"console-socket", "", kText, "Unix socket that gets the terminal's master"},
    {"pid-file", "", kText, "file that gets the pid of the container"},
    {"no-pivot", "", kBool, "move the root instead of pivoting to it"},
    {"no-new-keyring", "", kBool, "keep the session keyring"},
    {"preserve-fds", "", kText, "number of further descriptors for the container"}};
constexpr Flag kRunFlags[] = {
    {"bundle", "b", kText, "directory with config.json (the current one)"},
    {"console-socket", "", kText, "Unix socket that gets the terminal's master"},
    {"pid-file", "", kText, "file that gets the pid of the container"},
    {"no-pivot", "", kBool, "move the root instead of pivoting to it"},
    {"no-new-keyring", "", kBool, "keep the session keyring"},
    {"preserve-fds", "", kText, "number of further descriptors for the container"},
    {"detach", "d", kBool, "do not wait for the container's end"},
    {"keep", "", kBool, "do not delete the container at its end"}};
constexpr Flag kKillFlags[] = {{"all", "a", kBool, "every process of the container"}};
constexpr Flag kDeleteFlags[] = {{"force", "f", kBool, "kill it if it runs"}};
constexpr Flag kListFlags[] = {{"format", "f", kText, "table or json"},
                               {"quiet", "q", kBool, "ids only"}};
constexpr Flag kExecFlags[] = {{"process", "p", kText, "file with the process as JSON"},
                               {"user", "u", kText, "UID[:GID]"},
                               {"additional-gids", "g", kText, "further group"},
                               {"env", "e", kText, "NAME=VALUE"},
                               {"cwd", "", kText, "working directory"},
                               {"tty", "t", kBool, "with a terminal"},
                               {"cap", "c", kText, "add a capability"},
                               {"no-new-privs", "", kBool, "set no_new_privs"},
                               {"apparmor", "", kText, "AppArmor profile"},
                               {"process-label", "", kText, "SELinux label"},
                               {"detach", "d", kBool, "do not wait for the end"},
                               {"pid-file", "", kText, "file that gets the pid"},
                               {"console-socket", "", kText, "Unix socket that gets the master"},
                               {"ignore-paused", "", kBool, "also in a paused container"},
                               {"cgroup", "", kText, "cgroup below the container's"},
                               {"preserve-fds", "", kText, "number of further descriptors"}};
constexpr Flag kPsFlags[] = {{"format", "f", kText, "table or json"}};
constexpr Flag kUpdateFlags[] = {
    {"resources", "r", kText, "file with resources as JSON, - for stdin"},
    {"memory", "", kText, "bytes"},
    {"memory-reservation", "", kText, "bytes"},
    {"memory-swap", "", kText, "bytes"},
    {"cpu-share", "", kText, "shares"},
    {"cpu-period", "", kText, "microseconds"},
    {"cpu-quota", "", kText, "microseconds"},
    {"cpuset-cpus", "", kText, "list"},
    {"cpuset-mems", "", kText, "list"},
    {"pids-limit", "", kText, "number"},
    {"blkio-weight", "", kText, "weight"},
    {"threads", "", kText, "TID[,TID...]: of these threads only, in a group of their own"},
    {"cgroup", "", kText, "that group, below the container's"}};
constexpr Flag kEventsFlags[] = {{"stats", "", kBool, "once, then end"},
                                 {"interval", "", kText, "seconds between statistics (5)"}};
constexpr Flag kCheckpointFlags[] = {
    {"image-path", "", kText, "directory for the images (./checkpoint)"},
    {"work-path", "", kText, "directory for logs (that of the images)"},
    {"parent-path", "", kText, "images of an earlier --pre-dump, relative to --image-path"},
    {"leave-running", "", kBool, "let the container go on"},
    {"pre-dump", "", kBool, "only memory, and let the container go on"},
    {"tcp-established", "", kBool, "with open TCP connections"},
    {"tcp-skip-in-flight", "", kBool, "without those being set up"},
    {"ext-unix-sk", "", kBool, "with Unix sockets that lead outside"},
    {"shell-job", "", kBool, "with a terminal and session of outside"},
    {"file-locks", "", kBool, "with file locks"},
    {"link-remap", "", kBool, "with files that have been unlinked"},
    {"auto-dedup", "", kBool, "drop what a parent image has"},
    {"manage-cgroups-mode", "", kText, "soft, full, strict or ignore (soft)"},
    {"empty-ns", "", kText, "network: leave that namespace empty"}};
constexpr Flag kRestoreFlags[] = {
    {"bundle", "b", kText, "directory with config.json (the current one)"},
    {"image-path", "", kText, "directory of the images (./checkpoint)"},
    {"work-path", "", kText, "directory for logs (that of the images)"},
    {"console-socket", "", kText, "Unix socket that gets the terminal's master"},
    {"pid-file", "", kText, "file that gets the pid of the container"},
    {"detach", "d", kBool, "do not wait for the container's end"},
    {"no-subreaper", "", kBool, "what is the case: no processes are adopted"},
    {"tcp-established", "", kBool, "with open TCP connections"},
    {"ext-unix-sk", "", kBool, "with Unix sockets that lead outside"},
    {"shell-job", "", kBool, "with a terminal and session of outside"},
    {"file-locks", "", kBool, "with file locks"},
    {"link-remap", "", kBool, "with files that had been unlinked"},
    {"auto-dedup", "", kBool, "drop what has been read"},
    {"manage-cgroups-mode", "", kText, "soft, full, strict or ignore (soft)"},
    {"empty-ns", "", kText, "network: leave that namespace empty"},
    {"lsm-profile", "", kText, "apparmor:NAME or selinux:LABEL in place of the dumped one"}};
constexpr Flag kSpecFlags[] = {{"bundle", "b", kText, "directory that gets config.json"},
                               {"rootless", "", kBool, "for the user who runs this"}};

constexpr Verb kVerbs[] = {
    {"create", "create [options] ID", "create a container", kCreateFlags, Until::end, verb_create},
    {"start", "start ID", "start a created container", {}, Until::end, verb_start},
    {"run", "run [options] ID", "create and start a container", kRunFlags, Until::end, verb_run},
    {"state", "state ID", "print the state", {}, Until::end, verb_state},
    {"kill", "kill [--all] ID [SIGNAL]", "send a signal", kKillFlags, Until::end, verb_kill},
    {"delete", "delete [--force] ID", "delete a container", kDeleteFlags, Until::end, verb_delete},
    {"list", "list [options]", "list containers", kListFlags, Until::end, verb_list},
    {"exec", "exec [options] ID COMMAND [ARG...]", "run a process in a container", kExecFlags,
     Until::first_argument, verb_exec},
    {"ps", "ps [options] ID", "list a container's processes", kPsFlags, Until::end, verb_ps},
    {"pause", "pause ID", "stop all processes", {}, Until::end, verb_pause},
    {"resume", "resume ID", "let them go on", {}, Until::end, verb_resume},
    {"update", "update [options] ID", "change resource limits", kUpdateFlags, Until::end,
     verb_update},
    {"events", "events [options] ID", "print statistics", kEventsFlags, Until::end, verb_events},
    {"checkpoint", "checkpoint [options] ID", "write a container to images (CRIU)",
     kCheckpointFlags, Until::end, verb_checkpoint},
    {"restore", "restore [options] ID", "run a container from such images", kRestoreFlags,
     Until::end, verb_restore},
    {"spec", "spec [options]", "write a config.json", kSpecFlags, Until::end, verb_spec},
    {"features", "features", "print what this runtime can do", {}, Until::end, verb_features}};

}  // namespace

std::span<const Verb> verbs() { return kVerbs; }

Result<libcontainer::Container> load_container(const Globals& globals, const Arguments& arguments) {
  if (arguments.rest.empty()) return invalid("a container id is required");
  TRY(libcontainer::check_id(arguments.rest.front()));
  return libcontainer::Container::load(globals.root + "/" + arguments.rest.front());
}

std::string seccomp_cache(const Globals& globals) { return globals.root + "/.seccomp"; }

Status write_pid_file(const std::string& path, pid_t pid) {
  if (path.empty()) return {};
  return fs::replace_file(path, std::to_string(pid), 0644).context("--pid-file");
}

Result<int> preserved_fds(const Arguments& arguments) {
  int64_t count = TRY(parse_number(arguments.get("preserve-fds", "0"), "--preserve-fds"));
  if (const char* listen = ::getenv("LISTEN_FDS")) count += parse_number(listen, "").value_or(0);
  if (count < 0 || count > 1024) return invalid("--preserve-fds: {} is out of range", count);
  for (int fd = 3; fd < 3 + count; ++fd)
    if (::fcntl(fd, F_GETFD) == -1) return invalid("--preserve-fds: descriptor {} is not open", fd);
  return static_cast<int>(count);
}

Status print(std::string_view text) { return sys::write_all(STDOUT_FILENO, text); }

}  // namespace gantry::runtime
