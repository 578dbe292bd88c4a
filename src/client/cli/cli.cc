#include "client/cli/cli.h"

#include <unistd.h>

#include <cstdlib>

#include "base/fs.h"
#include "base/sys.h"
#include "client/cli/context_store.h"

namespace gantry::client {
namespace {

constexpr size_t kFlushAt = 64u << 10;
std::string g_out;

std::string environment(const char* name) {
  const char* value = ::getenv(name);
  return value ? value : "";
}

// A write error that is not EPIPE (which raises SIGPIPE) is a full disk or the like: told once,
// then the rest of the output is dropped and the exit status says so.
void write_or_die(int fd, std::string_view text) {
  Status written = sys::write_all(fd, text);
  if (written) return;
  if (fd != STDERR_FILENO)
    (void)sys::write_all(STDERR_FILENO, fmt::format("gantry: {}\n", written.error().message()));
  ::_exit(1);
}

}  // namespace

void print_out(std::string_view text) {
  g_out += text;
  if (g_out.size() >= kFlushAt) flush_out();
}

void flush_out() {
  if (g_out.empty()) return;
  write_or_die(STDOUT_FILENO, g_out);
  g_out.clear();
}

void write_error(std::string_view text) {
  flush_out();
  write_or_die(STDERR_FILENO, text);
}

void print_error(std::string_view line) { write_error(fmt::format("{}\n", line)); }

Result<bool> confirm(std::string_view question) {
  print_out("{} [y/N] ", question);
  flush_out();
  std::string answer;
  char byte = 0;
  while (true) {
    size_t got = TRY(sys::read(STDIN_FILENO, &byte, 1));
    if (got == 0 || byte == '\n') break;
    answer += static_cast<char>(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte);
  }
  return answer == "y" || answer == "yes";
}

std::string Cli::config_directory() const {
  if (!options_.config.empty()) return options_.config;
  std::string directory = environment("DOCKER_CONFIG");
  if (!directory.empty()) return directory;
  return environment("HOME") + "/.docker";
}

const json::object& Cli::config() {
  if (config_) return *config_;
  config_.emplace();
  std::string path = config_directory() + "/config.json";
  auto text = fs::read_file(path);
  if (!text) {
    if (text.error().kind() != ErrorKind::not_found)
      print_error(fmt::format("WARNING: Error loading config file: {}", text.error().message()));
    return *config_;
  }
  auto document = json::parse(*text);
  if (document && document->is_object())
    config_ = std::move(document->get_object());
  else
    print_error(fmt::format("WARNING: Error loading config file: {}: {}", path,
                            document ? "not a JSON object" : document.error().message()));
  return *config_;
}

std::string Cli::config_string(std::string_view name) {
  const json::value* member = config().if_contains(name);
  return member && member->is_string() ? std::string(member->get_string()) : "";
}

std::string Cli::context_name() {
  if (!options_.context.empty()) return options_.context;
  if (!options_.host.empty()) return "default";
  if (!environment("GANTRY_HOST").empty() || !environment("DOCKER_HOST").empty()) return "default";
  if (std::string name = environment("DOCKER_CONTEXT"); !name.empty()) return name;
  if (std::string name = config_string("currentContext"); !name.empty()) return name;
  return "default";
}

Result<std::string> Cli::host() {
  if (options_.host.size() > 1) return invalid("Specify only one -H");
  if (!options_.host.empty() && !options_.context.empty())
    return invalid("conflicting options: cannot specify both --host and --context");
  if (!options_.host.empty()) return options_.host.front();
  std::string context = context_name();
  if (context != "default") return context_host(config_directory(), context);
  for (const char* name : {"GANTRY_HOST", "DOCKER_HOST"})
    if (std::string host = environment(name); !host.empty()) return host;
  return std::string(kDefaultHost);
}

Result<Api*> Cli::api() {
  if (!api_) {
    std::string where = TRY(host());
    api_ = TRY(Api::open(where));
  }
  return api_.get();
}

}  // namespace gantry::client
