// gantry-runtime: an OCI runtime command line in runc's grammar, and the shim.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>

#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "libcontainer/spec.h"
#include "runtime/early.h"
#include "runtime/init.h"
#include "runtime/self_protection.h"
#include "runtime/shim/shim.h"
#include "runtime/verbs.h"

namespace gantry::runtime {
namespace {

constexpr Flag kGlobalFlags[] = {
    {"root", "", FlagKind::text, "directory of container state"},
    {"log", "", FlagKind::text, "file for the log (standard error)"},
    {"log-format", "", FlagKind::text, "text or json"},
    {"debug", "", FlagKind::boolean, "log more"},
    {"systemd-cgroup", "", FlagKind::boolean, "make cgroups through systemd"},
    {"rootless", "", FlagKind::text, "true, false or auto"},
    {"version", "v", FlagKind::boolean, "print the version"},
    {"help", "h", FlagKind::boolean, "print this"}};

std::string default_root() {
  const char* runtime = ::getenv("XDG_RUNTIME_DIR");
  if (::geteuid() != 0 && runtime && *runtime) return std::string(runtime) + "/gantry-runtime";
  return "/run/gantry-runtime";
}

// "auto": an ordinary user, or the root of a user namespace, who has but what was delegated.
Result<bool> is_rootless(const std::string& word) {
  if (word == "true") return true;
  if (word == "false") return false;
  if (word != "auto") return invalid("--rootless: \"{}\" is not true, false or auto", word);
  if (::geteuid() != 0) return true;
  Result<std::string> map = fs::read_file("/proc/self/uid_map", 4096);
  if (!map) return false;  // a kernel without user namespaces
  uint64_t inside = 1, outside = 1, size = 0;
  return std::sscanf(map->c_str(), "%lu %lu %lu", &inside, &outside, &size) != 3 || inside ||
         outside || size != UINT32_MAX;
}

std::string usage() {
  std::string out = "usage: gantry-runtime [options] VERB [options] [arguments]\n\nverbs:\n";
  for (const Verb& verb : verbs()) out += fmt::format("  {:<40} {}\n", verb.usage, verb.help);
  out += "\noptions:\n";
  for (const Flag& flag : kGlobalFlags) out += fmt::format("  --{:<38} {}\n", flag.name, flag.help);
  return out;
}

std::string usage_of(const Verb& verb) {
  std::string out = fmt::format("usage: gantry-runtime {}\n\n{}\n", verb.usage, verb.help);
  for (const Flag& flag : verb.flags) out += fmt::format("  --{:<20} {}\n", flag.name, flag.help);
  return out;
}

// A container's process has its own standard error, and what we log on its way there does not go
// into it.
void keep_log_apart() {
  int copy = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
  if (copy != -1) log::set_output(copy);  // for the life of the program
}

Status configure_log(const Arguments& arguments) {
  log::Format format = TRY(log::parse_format(arguments.get("log-format", "text")));
  log::configure(arguments.has("debug") ? log::Level::debug : log::Level::warn, format);
  std::string path = arguments.get("log");
  if (path.empty()) return {};
  UniqueFd fd = TRY(sys::open(path, O_WRONLY | O_APPEND | O_CREAT, 0644).context("--log"));
  log::close_output();            // keep_log_apart's
  log::set_output(fd.release());  // for the life of the program
  return {};
}

bool enters(const Verb& verb) {
  return std::find(std::begin(kEntering), std::end(kEntering), verb.name) != std::end(kEntering);
}

// `settings` are set as far as they are known, for whoever reports the error.
Result<int> dispatch(int argc, char** argv, Globals& settings) {
  std::span<char* const> words(argv + 1, static_cast<size_t>(argc - 1));
  Arguments globals = TRY(parse_arguments(words, kGlobalFlags, Until::first_argument));
  if (globals.has("version")) {
    TRY(print(fmt::format("gantry-runtime version {}\nspec: {}\n", GANTRY_VERSION,
                          libcontainer::kOciVersion)));
    return 0;
  }
  if (globals.has("help") || globals.rest.empty()) {
    TRY(print(usage()));
    return globals.rest.empty() && !globals.has("help") ? 1 : 0;
  }
  TRY(configure_log(globals));
  settings.log_file = !globals.get("log").empty();
  for (const Verb& verb : verbs()) {
    if (verb.name != globals.rest.front()) continue;
    if (enters(verb)) TRY(ensure_protected(argv));
    std::span<char* const> rest = words.subspan(words.size() - globals.rest.size() + 1);
    if (!rest.empty() &&
        (std::string_view(rest[0]) == "--help" || std::string_view(rest[0]) == "-h")) {
      TRY(print(usage_of(verb)));
      return 0;
    }
    Arguments arguments = TRY(parse_arguments(rest, verb.flags, verb.until));
    settings.root = absolute_path(globals.get("root", default_root()));
    settings.rootless = TRY(is_rootless(globals.get("rootless", "auto")));
    settings.systemd_cgroup = globals.has("systemd-cgroup");
    return verb.run(settings, arguments);
  }
  return invalid("unknown verb \"{}\" (see gantry-runtime --help)", globals.rest.front());
}

int run(int argc, char** argv) {
  if (is_init(argv[0])) return init_main(argc, argv);
  keep_log_apart();
#ifdef GANTRY_HAS_SHIM
  if (argc > 1 && std::string_view(argv[1]) == "shim") return shim::shim_main(argc - 1, argv + 1);
#endif
  Globals settings;
  Result<int> status = dispatch(argc, argv, settings);
  if (status) return *status;
  const std::string& message = status.error().message();
  if (settings.log_file) log::error("{}", message);
  (void)sys::write_all(STDERR_FILENO, "gantry-runtime: " + message + "\n");
  return 1;
}

}  // namespace
}  // namespace gantry::runtime

int main(int argc, char** argv) { return gantry::runtime::run(argc, argv); }
