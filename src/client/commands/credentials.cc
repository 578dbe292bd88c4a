#include "client/commands/credentials.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include <set>

#include "base/base64.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/sys.h"
#include "client/commands/commands.h"
#include "client/format/json_text.h"

namespace gantry::client {
namespace {

constexpr std::string_view kTokenUser = "<token>";  // a helper's word for an identity token

// The helper program for a server; "" when the file itself holds its credentials.
std::string helper_of(Cli& cli, const std::string& server) {
  std::string own = text_of(object_of(cli.config(), "credHelpers"), server);
  return own.empty() ? cli.config_string("credsStore") : own;
}

Result<std::string> ask_helper(const std::string& helper, const char* verb,
                               std::string_view input) {
  const std::string program = "docker-credential-" + helper;
  SpawnOptions options;
  options.arguments = {program, verb};
  options.program = program;
  Result<ProcessOutput> done = run_process(std::move(options), input);
  if (!done)
    return make_error(ErrorKind::invalid, "error getting credentials - err: exec: \"{}\": {}",
                      program,
                      done.error().code() == ENOENT ? "executable file not found in $PATH"
                                                    : done.error().message());
  std::string out = done->out;
  while (out.ends_with('\n') || out.ends_with('\r')) out.pop_back();
  if (WIFEXITED(done->status) && WEXITSTATUS(done->status) == 0) return out;
  if (out.find("credentials not found") != std::string::npos) return not_found("{}", out);
  return make_error(ErrorKind::invalid, "error {} credentials - err: exit status {}, out: `{}`",
                    std::string_view(verb) == "get" ? "getting" : "storing",
                    WIFEXITED(done->status) ? WEXITSTATUS(done->status) : -1, out);
}

// Replaces config.json in one step, with what is there but the member "auths".
Status write_auths(Cli& cli, const std::function<void(json::object&)>& change) {
  json::object config = cli.config();
  json::value& auths = config["auths"];
  if (!auths.is_object()) auths = json::object();
  change(auths.get_object());
  const std::string directory = cli.config_directory();
  TRY(fs::make_directories(directory, 0700));
  // A link stays one: what it names is written.
  std::string path = directory + "/config.json";
  if (char* resolved = ::realpath(path.c_str(), nullptr)) {
    path = resolved;
    ::free(resolved);
  }
  const std::string temporary = fmt::format("{}.{}", path, ::getpid());
  UniqueFd file = TRY(sys::open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  Status written = sys::write_all(file.get(), indent_json(json::serialize(config), "\t") + "\n");
  if (written) written = sys::fsync(file.get());
  if (written) written = sys::renameat(AT_FDCWD, temporary, AT_FDCWD, path);
  if (!written) (void)sys::unlinkat(AT_FDCWD, temporary);
  return std::move(written).context("error saving credentials");
}

}  // namespace

std::string Credentials::header() const {
  return empty() ? std::string() : base64_url_encode(json::serialize(object()));
}

json::object Credentials::object() const {
  json::object auth{{"serveraddress", server}};
  if (!username.empty()) auth["username"] = username;
  if (!password.empty()) auth["password"] = password;
  if (!identity_token.empty()) auth["identitytoken"] = identity_token;
  return auth;
}

std::string registry_key(std::string_view server) {
  if (server.empty()) return std::string(kIndexServer);
  if (size_t scheme = server.find("://"); scheme != server.npos) server.remove_prefix(scheme + 3);
  server = server.substr(0, server.find('/'));
  if (server == "docker.io" || server == "index.docker.io" || server == "registry-1.docker.io")
    return std::string(kIndexServer);
  return std::string(server);
}

Result<Credentials> load_credentials(Cli& cli, const std::string& server) {
  Credentials out;
  out.server = server;
  if (std::string helper = helper_of(cli, server); !helper.empty()) {
    Result<std::string> answer = ask_helper(helper, "get", server);
    if (!answer && answer.error().kind() == ErrorKind::not_found) return out;
    std::string text = TRY(std::move(answer));
    json::value document = TRY(json::parse(text).context("docker-credential-{}", helper));
    out.username = text_of(document, "Username");
    out.password = text_of(document, "Secret");
    if (out.username == kTokenUser) {
      out.identity_token = std::exchange(out.password, "");
      out.username.clear();
    }
    return out;
  }
  const json::object& auths = object_of(cli.config(), "auths");
  const json::value* entry = auths.if_contains(server);
  for (const auto& member : auths) {  // written with a scheme or a path, as older clients did
    if (entry != nullptr) break;
    if (registry_key(member.key()) == server) entry = &member.value();
  }
  if (entry == nullptr) return out;
  std::string pair = TRY(base64_decode(text_of(*entry, "auth")).context("config.json: {}", server));
  size_t colon = pair.find(':');
  if (colon != pair.npos) {
    out.username = pair.substr(0, colon);
    out.password = pair.substr(colon + 1);
    while (out.password.ends_with('\0')) out.password.pop_back();
  }
  out.identity_token = text_of(*entry, "identitytoken");
  return out;
}

std::string all_registry_auths(Cli& cli) {
  std::set<std::string> servers;
  for (const char* section : {"auths", "credHelpers"})
    for (const auto& member : object_of(cli.config(), section))
      servers.insert(registry_key(member.key()));
  json::object all;
  for (const std::string& server : servers) {
    Result<Credentials> credentials = load_credentials(cli, server);
    if (!credentials)
      print_error("WARNING: " + credentials.error().message());
    else if (!credentials->empty())
      all[server] = credentials->object();
  }
  return all.empty() ? std::string() : base64_url_encode(json::serialize(all));
}

Result<bool> store_credentials(Cli& cli, const Credentials& credentials) {
  if (std::string helper = helper_of(cli, credentials.server); !helper.empty()) {
    bool token = !credentials.identity_token.empty();
    json::object secret{{"ServerURL", credentials.server},
                        {"Username", token ? std::string(kTokenUser) : credentials.username},
                        {"Secret", token ? credentials.identity_token : credentials.password}};
    (void)TRY(ask_helper(helper, "store", json::serialize(secret)));
    // An empty entry tells others that there is one.
    TRY(write_auths(cli, [&](json::object& auths) { auths[credentials.server] = json::object(); }));
    return false;
  }
  TRY(write_auths(cli, [&](json::object& auths) {
    json::object entry;
    bool token = !credentials.identity_token.empty();
    entry["auth"] = base64_encode(credentials.username + ":" + (token ? "" : credentials.password));
    if (token) entry["identitytoken"] = credentials.identity_token;
    auths[credentials.server] = std::move(entry);
  }));
  return true;
}

Status erase_credentials(Cli& cli, const std::string& server) {
  if (std::string helper = helper_of(cli, server); !helper.empty()) {
    Result<std::string> erased = ask_helper(helper, "erase", server);
    if (!erased && erased.error().kind() != ErrorKind::not_found) return std::move(erased).error();
  }
  bool known = false;
  for (const auto& member : object_of(cli.config(), "auths"))
    known = known || member.key() == server || registry_key(member.key()) == server;
  if (!known) return {};
  return write_auths(cli, [&](json::object& auths) {
    std::vector<std::string> keys;
    for (const auto& member : auths)
      if (registry_key(member.key()) == server) keys.emplace_back(member.key());
    for (const std::string& key : keys) auths.erase(key);
  });
}

}  // namespace gantry::client
