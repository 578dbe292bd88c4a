// gantry-registry: serve, gc, check, htpasswd, version.
#include <cstdio>
#include <iterator>

#include "base/log.h"
#include "base/sys.h"
#include "http/client.h"
#include "registry_server/auth.h"
#include "registry_server/checker.h"
#include "registry_server/collector.h"
#include "registry_server/htpasswd.h"
#include "registry_server/ranges.h"
#include "registry_server/serve.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kPasswordLimit = 4096;

using Arguments = std::vector<std::string>;

std::string usage() {
  return "usage: gantry-registry VERB [OPTION]…\n\n"
         "  serve                  serve the store until SIGTERM; SIGHUP reads the configuration "
         "again\n"
         "  gc                     collect garbage, in the registry that serves or in an idle "
         "store\n"
         "  check [--repair]       compare the store with itself; repair an idle one\n"
         "  config                 check the configuration\n"
         "  htpasswd USER [COST]   a line for the htpasswd file; the password is read from "
         "standard input\n"
         "  version\n\n"
         "Options, as flags or as \"name = value\" lines of a file (--config FILE, else\n"
         "/etc/gantry/registry.conf if it is there):\n" +
         options_usage();
}

Status run_serve(const Arguments& arguments) {
  Options options = TRY(Options::parse(arguments));
  return serve(options, arguments);
}

Status run_gc(const Arguments& arguments) {
  Options options = TRY(Options::parse(arguments));
  auto client = TRY(http::Client::open("unix://" + admin_socket(options)));
  auto response = client.request({.method = "POST", .target = "/gc"});
  if (response) {
    std::string text = TRY(response->read_all(64u << 10));
    if (response->status() != 200) return internal("{}", text);
    fmt::print("{}", text);
    return {};
  }
  int code = response.error().code();
  if (code != ENOENT && code != ECONNREFUSED) return std::move(response).error();
  log::configure(log::Level::warn, log::Format::text);
  auto store = TRY(Store::open(options.root));
  Quotas quotas;
  Uploads uploads(*store, quotas, {});
  TRY(uploads.load());
  Metrics metrics;
  Collector collector(*store, uploads, metrics);
  collector.set(CollectorSettings::of(options));
  fmt::print("{}", TRY(collector.run()).text());
  return {};
}

Status run_check(const Arguments& arguments) {
  std::vector<std::string> rest;
  Options options = TRY(Options::parse(arguments, &rest));
  bool repair = rest == std::vector<std::string>{"--repair"};
  if (!rest.empty() && !repair) return invalid("unexpected argument '{}'", rest[0]);
  auto store = TRY(Store::open(options.root, repair ? Store::Use::serve : Store::Use::look));
  // A cache has what somebody asked for, and may lack the rest of an image.
  auto references =
      options.upstream.empty() ? Checker::References::needed : Checker::References::optional;
  Checker checker(*store, repair ? Checker::Repair::yes : Checker::Repair::no, references,
                  [](const std::string& text) { fmt::print("{}\n", text); });
  CheckReport report = TRY(checker.run());
  fmt::print("{} objects of content, {} repositories, {} manifests: {} problems{}\n",
             report.contents, report.repositories, report.manifests, report.problems,
             repair ? fmt::format(", {} repaired", report.repaired) : "");
  if (report.problems > report.repaired) return invalid("the store is not whole");
  return {};
}

Status run_config(const Arguments& arguments) {
  Options options = TRY(Options::parse(arguments));
  if (!options.token_endpoint) TRY(Auth::load(options));
  fmt::print("configuration OK\n");
  return {};
}

Status run_htpasswd(const Arguments& arguments) {
  if (arguments.empty() || arguments.size() > 2) return invalid("usage: htpasswd USER [COST]");
  uint64_t cost = 10;
  if (arguments.size() == 2) {
    auto number = parse_number(arguments[1]);
    if (!number || *number > 14) return invalid("bcrypt's cost is between 4 and 14");
    cost = *number;
  }
  std::string password = TRY(sys::read_all(0, kPasswordLimit));
  while (password.ends_with('\n') || password.ends_with('\r')) password.pop_back();
  fmt::print("{}\n", TRY(htpasswd_line(arguments[0], password, static_cast<int>(cost))));
  return {};
}

Status run_version(const Arguments&) {
  fmt::print("Gantry registry version {}\n", GANTRY_VERSION);
  return {};
}

struct Verb {
  std::string_view name;
  Status (*run)(const Arguments& arguments);
};
constexpr Verb kVerbs[] = {{"serve", run_serve},       {"gc", run_gc},
                           {"check", run_check},       {"config", run_config},
                           {"htpasswd", run_htpasswd}, {"version", run_version}};

int run(const Arguments& arguments) {
  std::string verb = arguments.empty() ? "help" : arguments[0];
  if (verb == "help" || verb == "--help" || verb == "-h") {
    fmt::print("{}", usage());
    return arguments.empty() ? 64 : 0;
  }
  if (verb == "--version") verb = "version";
  for (const Verb& one : kVerbs) {
    if (one.name != verb) continue;
    Status done = one.run(Arguments(arguments.begin() + 1, arguments.end()));
    if (done) return 0;
    fmt::print(stderr, "gantry-registry: {}\n", done.error().message());
    return 1;
  }
  fmt::print(stderr, "gantry-registry: there is no verb '{}' (see 'gantry-registry help')\n", verb);
  return 64;
}

}  // namespace
}  // namespace gantry::registry_server

int main(int argc, char** argv) {
  return gantry::registry_server::run(std::vector<std::string>(argv + 1, argv + argc));
}
