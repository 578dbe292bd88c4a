#include "registry_server/options.h"

#include <algorithm>
#include <charconv>

#include "base/fs.h"
#include "base/units.h"
#include "http/url.h"

namespace gantry::registry_server {
namespace {

constexpr const char* kDefaultFile = "/etc/gantry/registry.conf";
constexpr size_t kFileLimit = 1u << 20;

enum class Repeat { no, yes };

struct Option {
  std::string_view name;
  Status (*set)(Options& options, std::string_view value);
  std::string_view help;
  Repeat repeat = Repeat::no;
};

template <auto Member>
Status text(Options& options, std::string_view value) {
  options.*Member = value;
  return {};
}
template <auto Member>
Status file(Options& options, std::string_view value) {
  if (!value.starts_with('/')) return invalid("expected an absolute path");
  options.*Member = value;
  return {};
}
template <auto Member>
Status list(Options& options, std::string_view value) {
  (options.*Member).emplace_back(value);
  return {};
}
template <auto Member>
Status flag(Options& options, std::string_view value) {
  bool on = value == "true" || value == "on" || value == "yes" || value == "1" || value.empty();
  if (!on && value != "false" && value != "off" && value != "no" && value != "0")
    return invalid("expected on or off");
  options.*Member = on;
  return {};
}
template <auto Member>
Status size(Options& options, std::string_view value) {
  options.*Member = TRY(parse_ram_size(value));
  return {};
}
template <auto Member>
Status duration(Options& options, std::string_view value) {
  if (value == "0") {
    options.*Member = 0;
    return {};
  }
  int64_t parsed = TRY(parse_duration(value));
  if (parsed < 0) return invalid("expected a time that is not negative");
  options.*Member = parsed;
  return {};
}
template <auto Member>
Status number(Options& options, std::string_view value) {
  int64_t parsed = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  if (error != std::errc() || end != value.data() + value.size() || parsed < 0)
    return invalid("expected a whole number");
  options.*Member = parsed;
  return {};
}

Status set_auth(Options& options, std::string_view value) {
  if (value == "none")
    options.auth = AuthMode::none;
  else if (value == "htpasswd")
    options.auth = AuthMode::htpasswd;
  else if (value == "token")
    options.auth = AuthMode::token;
  else
    return invalid("expected none, htpasswd or token");
  return {};
}
Status set_level(Options& options, std::string_view value) {
  options.log_level = TRY(log::parse_level(value));
  return {};
}
Status set_format(Options& options, std::string_view value) {
  options.log_format = TRY(log::parse_format(value));
  return {};
}

using O = Options;
constexpr Option kOptions[] = {
    {"address", list<&O::addresses>,
     "HOST:PORT, unix:///PATH or fd:// (systemd); default 127.0.0.1:5000", Repeat::yes},
    {"root", file<&O::root>, "directory of the store (/var/lib/gantry-registry)"},
    {"host", text<&O::host>, "URL under which clients reach the registry, for token realms"},
    {"tls-certificate", file<&O::tls_certificate>, "PEM file of the server's certificate chain"},
    {"tls-key", file<&O::tls_key>, "PEM file of its private key"},
    {"tls-client-ca", file<&O::tls_client_ca>,
     "PEM file of the authorities of clients' certificates"},
    {"tls-client-required", flag<&O::tls_client_required>, "refuse clients without a certificate"},
    {"auth", set_auth, "none, htpasswd or token (none)"},
    {"realm", text<&O::realm>, "realm of the htpasswd challenge"},
    {"htpasswd", file<&O::htpasswd>, "file of users with bcrypt hashes"},
    {"rights", file<&O::rights>, "file that says who may do what with which repositories"},
    {"token-realm", text<&O::token_realm>, "URL of the token service"},
    {"token-service", text<&O::token_service>, "audience of tokens (gantry-registry)"},
    {"token-issuer", text<&O::token_issuer>, "issuer of tokens (gantry-registry)"},
    {"token-key", list<&O::token_keys>, "file of public keys (PEM, JWKS) that sign tokens",
     Repeat::yes},
    {"token-roots", file<&O::token_roots>, "PEM file of certificates that vouch for signers (x5c)"},
    {"token-endpoint", flag<&O::token_endpoint>,
     "serve tokens at /token for the users of htpasswd"},
    {"token-lifetime", duration<&O::token_lifetime>, "of tokens that are served (5m)"},
    {"refresh-lifetime", duration<&O::refresh_lifetime>,
     "of tokens that stand for a password, for clients that keep one (720h)"},
    {"delete", flag<&O::deletes>, "allow deleting (off)"},
    {"read-only", flag<&O::read_only>, "refuse every change (off)"},
    {"quota-total", size<&O::quota_total>, "most bytes in the store (0: no limit)"},
    {"quota-repository", size<&O::quota_repository>, "most bytes of one repository (0: no limit)"},
    {"upload-age", duration<&O::upload_age>, "after which an unfinished upload is removed (24h)"},
    {"max-uploads", number<&O::max_uploads>, "uploads under way at once (10000)"},
    {"max-connections", number<&O::max_connections>, "(three quarters of the open files)"},
    {"gc-interval", duration<&O::gc_interval>,
     "between collections of garbage (0: by command only)"},
    {"gc-grace", duration<&O::gc_grace>, "what was used so lately is kept (1h)"},
    {"gc-untagged", flag<&O::gc_untagged>, "collect manifests that no tag leads to (off)"},
    {"upstream", text<&O::upstream>, "URL of a registry to be a pull-through cache of"},
    {"upstream-ca", file<&O::upstream_ca>, "PEM file of authorities to trust beside the machine's"},
    {"upstream-username", text<&O::upstream_username>, ""},
    {"upstream-password-file", file<&O::upstream_password_file>, ""},
    {"upstream-timeout", duration<&O::upstream_timeout>, "for an answer of the upstream (30s)"},
    {"cache-ttl", duration<&O::cache_ttl>, "how long a tag is served without asking (10m)"},
    {"metrics", flag<&O::metrics>, "serve /metrics (on)"},
    {"metrics-address", text<&O::metrics_address>, "HOST:PORT of /metrics and /health alone"},
    {"access-log", text<&O::access_log>, "a file, stderr or off (stderr)"},
    {"log-level", set_level, "debug, info, warn, error (info)"},
    {"log-format", set_format, "text or json (text)"},
    {"drain-timeout", duration<&O::drain_timeout>, "for requests under way at the end (30s)"},
    {"stall-timeout", duration<&O::stall_timeout>,
     "a client that moves nothing so long is cut off (2m)"},
};

const Option* find(std::string_view name) {
  for (const Option& option : kOptions)
    if (option.name == name) return &option;
  return nullptr;
}

std::string_view trim(std::string_view value) {
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t' || value.back() == '\r'))
    value.remove_suffix(1);
  return value;
}

Status apply(Options& options, std::string_view name, std::string_view value) {
  const Option* option = find(name);
  if (!option) return invalid("there is no option '{}'", name);
  return option->set(options, value).context("{} = {}", name, value);
}

Status read_file(Options& options, const std::string& path) {
  std::string content = TRY(fs::read_file(path, kFileLimit));
  std::string errors;
  std::vector<std::string_view> seen;
  std::string_view rest = content;
  for (int number = 1; !rest.empty(); ++number) {
    size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = trim(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || line.front() == '#') continue;
    size_t equals = line.find('=');
    Status set;
    if (equals == std::string_view::npos) {
      set = invalid("expected key = value");
    } else {
      std::string_view name = trim(line.substr(0, equals));
      const Option* option = find(name);
      if (option && option->repeat == Repeat::no &&
          std::find(seen.begin(), seen.end(), name) != seen.end())
        set = invalid("{} is set twice", name);
      else
        set = apply(options, name, trim(line.substr(equals + 1)));
      seen.push_back(name);
    }
    if (!set)
      errors += fmt::format("{}{}: line {}: {}", errors.empty() ? "" : "\n", path, number,
                            set.error().message());
  }
  if (!errors.empty()) return invalid("{}", errors);
  return {};
}

Status check(Options& options) {
  if (options.addresses.empty()) options.addresses.push_back("127.0.0.1:5000");
  if (options.tls_certificate.empty() != options.tls_key.empty())
    return invalid("tls-certificate and tls-key go together");
  if (!options.tls_client_ca.empty() && options.tls_certificate.empty())
    return invalid("tls-client-ca needs tls-certificate and tls-key");
  if (options.tls_client_required && options.tls_client_ca.empty())
    return invalid("tls-client-required needs tls-client-ca");
  if (options.auth == AuthMode::htpasswd && options.htpasswd.empty())
    return invalid("auth = htpasswd needs htpasswd = FILE");
  if (options.token_endpoint && (options.auth != AuthMode::token || options.htpasswd.empty()))
    return invalid("token-endpoint needs auth = token and htpasswd = FILE");
  if (options.auth == AuthMode::token && !options.token_endpoint) {
    if (options.token_realm.empty())
      return invalid("auth = token needs token-realm = URL, or token-endpoint = on");
    if (options.token_keys.empty() && options.token_roots.empty())
      return invalid("auth = token needs token-key or token-roots: nobody could sign a token");
  }
  if (options.upload_age < 60'000'000'000) return invalid("upload-age is at least 1m");
  if (options.token_lifetime < 1'000'000'000) return invalid("token-lifetime is at least 1s");
  if (options.refresh_lifetime < options.token_lifetime)
    return invalid("refresh-lifetime is at least token-lifetime");
  if (!options.upstream.empty())
    TRY(http::Url::parse(options.upstream).context("upstream wants a URL (https://HOST)"));
  if (!options.upstream_username.empty() && options.upstream.empty())
    return invalid("upstream-username needs upstream");
  return {};
}

}  // namespace

Result<Options> Options::parse(const std::vector<std::string>& arguments,
                               std::vector<std::string>* rest) {
  Options options;
  std::vector<std::pair<std::string, std::string>> flags;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--")) {
      if (!rest) return invalid("unexpected argument '{}'", argument);
      rest->push_back(argument);
      continue;
    }
    size_t equals = argument.find('=');
    std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    const Option* option = find(name);
    if (!option && name != "config") {
      if (!rest) return invalid("there is no option '--{}'", name);
      rest->push_back(argument);
      continue;
    }
    std::string value;
    bool is_flag =
        option && (option->set == &flag<&O::deletes> || option->set == &flag<&O::read_only> ||
                   option->set == &flag<&O::tls_client_required> ||
                   option->set == &flag<&O::token_endpoint> ||
                   option->set == &flag<&O::gc_untagged> || option->set == &flag<&O::metrics>);
    if (equals != std::string::npos)
      value = argument.substr(equals + 1);
    else if (!is_flag) {
      if (++i == arguments.size()) return invalid("--{} needs a value", name);
      value = arguments[i];
    }
    if (name == "config")
      options.config = value;
    else
      flags.emplace_back(name, value);
  }
  if (options.config.empty() && fs::exists(kDefaultFile)) options.config = kDefaultFile;
  if (!options.config.empty()) TRY(read_file(options, options.config));
  std::vector<std::string> given;
  for (const auto& [name, value] : flags) {
    // The first flag of a list replaces the file's.
    if (std::find(given.begin(), given.end(), name) == given.end()) {
      if (name == "address") options.addresses.clear();
      if (name == "token-key") options.token_keys.clear();
    }
    given.push_back(name);
    Status set = apply(options, name, value);
    if (!set) return Error(set.error().kind(), "--" + set.error().message());
  }
  TRY(check(options));
  return options;
}

std::string options_usage() {
  std::string out;
  for (const Option& option : kOptions)
    out += fmt::format("  --{:24} {}\n", option.name, option.help);
  return out;
}

}  // namespace gantry::registry_server
