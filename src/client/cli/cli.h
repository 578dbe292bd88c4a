// What every command works with: the global flags, the configuration file, the connection to the
// daemon, and the three standard streams. One per process; single-threaded.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "client/cli/api.h"

namespace gantry::client {

// The flags before the command.
struct GlobalOptions {
  std::vector<std::string> host;
  std::string context;
  std::string config;
  std::string log_level = "info";
  bool debug = false;
  bool version = false;
  bool tls = false;
  std::optional<bool> tls_verify;
  std::string tls_ca, tls_cert, tls_key;
};

class Cli {
 public:
  explicit Cli(GlobalOptions options) : options_(std::move(options)) {}

  const GlobalOptions& options() const { return options_; }
  // The daemon. Connects on the first request.
  Result<Api*> api();
  // Docker's config.json, read once when first asked for; an empty object when there is none. A
  // file that cannot be parsed is reported on standard error and counts as empty.
  const json::object& config();
  // A string member of config.json, "" when absent.
  std::string config_string(std::string_view name);
  // Directory of config.json and of the contexts: --config, DOCKER_CONFIG, ~/.docker.
  std::string config_directory() const;
  // Which daemon: -H, --context, GANTRY_HOST, DOCKER_HOST, DOCKER_CONTEXT, the configured context,
  // default.
  Result<std::string> host();
  std::string context_name();

 private:
  GlobalOptions options_;
  std::optional<json::object> config_;
  std::unique_ptr<Api> api_;
};

inline constexpr std::string_view kDefaultHost = "unix:///run/gantry/gantry.sock";

// Standard output, buffered; flushed by flush_out(), before anything is written to standard error,
// and at exit. A reader that went away ends the program as SIGPIPE does.
void print_out(std::string_view text);
void flush_out();
template <typename... Args>
void print_out(fmt::format_string<Args...> format, Args&&... args) {
  print_out(std::string_view(fmt::format(format, std::forward<Args>(args)...)));
}
// Standard error: as it is, and as a line.
void write_error(std::string_view text);
void print_error(std::string_view line);

// "[y/N]": true when the answer on standard input is "y" or "yes".
Result<bool> confirm(std::string_view question);

}  // namespace gantry::client
