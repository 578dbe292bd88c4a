#include "server/daemon_options.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/fs.h"
#include "base/json.h"
#include "base/units.h"

namespace gantry::server {
namespace {

enum class Kind { text, list, flag, number, map };

// One option: a flag, and the key of daemon.json that means the same ("" for flags without one).
struct Option {
  std::string_view name;
  char letter;  // 0: none
  std::string_view key;
  Kind kind;
  Status (*set)(DaemonOptions& options, std::string_view value);
  std::string_view help;
};

template <auto Member>
Status set_text(DaemonOptions& options, std::string_view value) {
  options.*Member = value;
  return {};
}
template <auto Member>
Status set_daemon_text(DaemonOptions& options, std::string_view value) {
  options.daemon.*Member = value;
  return {};
}
template <auto Member>
Status add_daemon_text(DaemonOptions& options, std::string_view value) {
  (options.daemon.*Member).emplace_back(value);
  return {};
}
template <auto Member>
Status set_flag(DaemonOptions& options, std::string_view value) {
  options.*Member = value == "true";
  return {};
}

Status set_debug(DaemonOptions& options, std::string_view value) {
  options.daemon.debug = value == "true";
  return {};
}
Status add_host(DaemonOptions& options, std::string_view value) {
  options.hosts.emplace_back(value);
  return {};
}
Status set_level(DaemonOptions& options, std::string_view value) {
  options.log_level = TRY(log::parse_level(value));
  return {};
}
Status set_format(DaemonOptions& options, std::string_view value) {
  options.log_format = TRY(log::parse_format(value));
  return {};
}
Status set_shutdown_timeout(DaemonOptions& options, std::string_view value) {
  int seconds = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error != std::errc() || end != value.data() + value.size())
    return invalid("expected a whole number");
  options.daemon.shutdown_timeout = seconds;
  return {};
}
Status set_journal_limit(DaemonOptions& options, std::string_view value) {
  int64_t count = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), count);
  if (error != std::errc() || end != value.data() + value.size() || count < 1)
    return invalid("expected a whole number of at least 1");
  options.daemon.journal_limit = count;
  return {};
}
Status set_journal_age(DaemonOptions& options, std::string_view value) {
  constexpr int64_t kSecond = 1'000'000'000;
  int64_t age = TRY(parse_duration(value));
  if (age != 0 && age < kSecond) return invalid("expected a duration of at least 1s, or 0");
  options.daemon.journal_age = age / kSecond;
  return {};
}
// "age=720h", "count=50", "size=20GB": limits of what is kept; without any, all is.
template <graph::Keep daemon::GcOptions::*Member>
Status add_keep(DaemonOptions& options, std::string_view value) {
  graph::Keep& keep = options.daemon.gc.*Member;
  size_t equals = value.find('=');
  std::string_view name = value.substr(0, equals);
  std::string_view limit = equals == std::string_view::npos ? "" : value.substr(equals + 1);
  if (name == "age") {
    keep.age_ns = TRY(parse_duration(limit));
  } else if (name == "size") {
    keep.bytes = TRY(parse_ram_size(limit));
  } else if (name == "count") {
    int64_t count = 0;
    auto [end, error] = std::from_chars(limit.data(), limit.data() + limit.size(), count);
    if (error != std::errc() || end != limit.data() + limit.size() || count < 0)
      return invalid("expected count=NUMBER");
    keep.count = count;
  } else {
    return invalid("expected age=DURATION, count=NUMBER or size=BYTES");
  }
  return {};
}
template <int64_t daemon::GcOptions::*Member>
Status set_gc_duration(DaemonOptions& options, std::string_view value) {
  int64_t duration = TRY(parse_duration(value));
  if (duration < 0) return invalid("expected a duration of at least 0");
  options.daemon.gc.*Member = duration;
  return {};
}
// A whole number of at least one, for a member of the daemon's options.
template <auto Member>
Status set_daemon_count(DaemonOptions& options, std::string_view value) {
  int64_t count = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), count);
  if (error != std::errc() || end != value.data() + value.size() || count < 1 || count > 1'000'000)
    return invalid("expected a whole number of at least 1");
  using Type = std::remove_reference_t<decltype(options.daemon.*Member)>;
  options.daemon.*Member = static_cast<Type>(count);
  return {};
}
// The first one takes the place of those that are usual.
Status add_registries_dir(DaemonOptions& options, std::string_view value) {
  if (!std::exchange(options.registries_dirs_given, true)) options.daemon.registries_dirs.clear();
  options.daemon.registries_dirs.emplace_back(value);
  return {};
}
Status set_keep_compressed(DaemonOptions& options, std::string_view value) {
  options.daemon.keep_compressed = value == "true";
  return {};
}
Status set_max_layer_size(DaemonOptions& options, std::string_view value) {
  options.daemon.max_layer_size = TRY(parse_ram_size(value));
  if (options.daemon.max_layer_size < 1) return invalid("expected a size of at least 1 byte");
  return {};
}
Status add_log_option(DaemonOptions& options, std::string_view value) {
  size_t equals = value.find('=');
  if (equals == 0 || equals == std::string_view::npos) return invalid("expected NAME=VALUE");
  options.daemon.log_options[std::string(value.substr(0, equals))] = value.substr(equals + 1);
  return {};
}
// "nofile=1024:2048"; one number is both limits.
Status add_ulimit(DaemonOptions& options, std::string_view value) {
  size_t equals = value.find('=');
  if (equals == 0 || equals == std::string_view::npos) return invalid("expected NAME=SOFT[:HARD]");
  std::string_view limits = value.substr(equals + 1);
  size_t colon = std::min(limits.find(':'), limits.size());
  auto number = [](std::string_view text, int64_t& out) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
  };
  int64_t soft = 0, hard = 0;
  if (!number(limits.substr(0, colon), soft)) return invalid("expected NAME=SOFT[:HARD]");
  hard = soft;
  if (colon < limits.size() && !number(limits.substr(colon + 1), hard))
    return invalid("expected NAME=SOFT[:HARD]");
  options.daemon.container_defaults.ulimits[std::string(value.substr(0, equals))] = {soft, hard};
  return {};
}

template <auto Member>
Status set_default_text(DaemonOptions& options, std::string_view value) {
  options.daemon.container_defaults.*Member = value;
  return {};
}
template <auto Member>
Status set_default_flag(DaemonOptions& options, std::string_view value) {
  options.daemon.container_defaults.*Member = value == "true";
  return {};
}
Status set_shm_size(DaemonOptions& options, std::string_view value) {
  options.daemon.container_defaults.shm_size = TRY(parse_ram_size(value));
  if (options.daemon.container_defaults.shm_size < 1) return invalid("expected at least 1 byte");
  return {};
}
Status set_ipc_mode(DaemonOptions& options, std::string_view value) {
  if (value != "private" && value != "shareable")
    return invalid("IPC mode \"{}\" cannot be a default: it is private or shareable", value);
  options.daemon.container_defaults.ipc_mode = value;
  return {};
}
Status set_cgroupns_mode(DaemonOptions& options, std::string_view value) {
  if (value != "private" && value != "host")
    return invalid("default cgroup namespace mode ({}) is invalid: it is private or host", value);
  options.daemon.container_defaults.cgroupns_mode = value;
  return {};
}
// Containers always outlive the daemon here.
Status set_live_restore(DaemonOptions&, std::string_view value) {
  if (value == "true") return {};
  return invalid("containers always go on running without the daemon: it cannot be false");
}
Status set_tls_verify(DaemonOptions& options, std::string_view value) {
  options.tls_verify = value == "true";
  options.tls = options.tls || options.tls_verify;
  return {};
}

using D = daemon::Options;
using C = daemon::ContainerDefaults;
using O = DaemonOptions;
constexpr Option kOptions[] = {
    {"bip", 0, "bip", Kind::text, set_daemon_text<&D::bip>,
     "Address and prefix of the default bridge"},
    {"bridge", 'b', "bridge", Kind::text, set_daemon_text<&D::bridge>,
     "Default bridge (gantry0); \"none\": no default network"},
    {"certs-dir", 0, "certs-dirs", Kind::list, add_daemon_text<&D::certificate_dirs>,
     "Directory with a directory of certificates per registry (/etc/gantry/certs.d, "
     "/etc/docker/certs.d)"},
    {"cgroup-parent", 0, "cgroup-parent", Kind::text, set_default_text<&C::cgroup_parent>,
     "Parent group of containers"},
    {"config-file", 0, "", Kind::text, set_text<&O::config_file>, "Configuration file"},
    {"data-root", 0, "data-root", Kind::text, set_daemon_text<&D::data_root>,
     "Root of persistent state"},
    {"debug", 'D', "debug", Kind::flag, set_debug, "Log debug messages"},
    {"default-cgroupns-mode", 0, "default-cgroupns-mode", Kind::text, set_cgroupns_mode,
     "Default cgroup namespace mode of containers: private or host"},
    {"default-ipc-mode", 0, "default-ipc-mode", Kind::text, set_ipc_mode,
     "Default IPC mode of containers: private or shareable"},
    {"default-shm-size", 0, "default-shm-size", Kind::text, set_shm_size,
     "Default size of /dev/shm (64MiB)"},
    {"default-ulimit", 0, "default-ulimits", Kind::map, add_ulimit,
     "Default ulimits of containers"},
    {"dns", 0, "dns", Kind::list, add_daemon_text<&D::dns>, "Name server of containers"},
    {"dns-opt", 0, "dns-opts", Kind::list, add_daemon_text<&D::dns_options>, "Resolver option"},
    {"dns-search", 0, "dns-search", Kind::list, add_daemon_text<&D::dns_search>, "Search domain"},
    {"exec-root", 0, "exec-root", Kind::text, set_daemon_text<&D::exec_root>,
     "Root of run-time state"},
    {"gc-grace", 0, "gc-grace", Kind::text, set_gc_duration<&daemon::GcOptions::grace_ns>,
     "Age below which collection leaves things alone (10m)"},
    {"gc-interval", 0, "gc-interval", Kind::text, set_gc_duration<&daemon::GcOptions::interval_ns>,
     "Time between collections of what nothing holds (1h; 0: none)"},
    {"gc-keep-build-cache", 0, "gc-keep-build-cache", Kind::map,
     add_keep<&daemon::GcOptions::build_cache>,
     "Build cache kept: age=DURATION, count=N, size=BYTES (336h, 2000, 20GiB)"},
    {"gc-keep-images", 0, "gc-keep-images", Kind::map, add_keep<&daemon::GcOptions::images>,
     "Images without a name kept: age=DURATION, count=N, size=BYTES (all)"},
    {"group", 'G', "group", Kind::text, set_text<&O::group>, "Group of Unix sockets (gantry)"},
    {"help", 'h', "", Kind::flag, set_flag<&O::help>, "Print this"},
    {"host", 'H', "hosts", Kind::list, add_host,
     "Socket to listen on: unix://PATH, tcp://HOST:PORT, fd://"},
    {"images-dir", 0, "images-dirs", Kind::list, add_daemon_text<&D::images_dirs>,
     "Directory of archives to load at start"},
    {"init", 0, "init", Kind::flag, set_default_flag<&C::init>,
     "Run an init in containers that forwards signals and reaps processes"},
    {"insecure-registry", 0, "insecure-registries", Kind::list,
     add_daemon_text<&D::insecure_registries>,
     "Registry that may be plain or have any certificate: HOST[:PORT] or CIDR"},
    {"journal-age", 0, "journal-age", Kind::text, set_journal_age,
     "How long ended jobs are remembered, e.g. 720h (0: as many as --journal-limit)"},
    {"journal-limit", 0, "journal-limit", Kind::number, set_journal_limit,
     "How many ended jobs are remembered (2000)"},
    {"keep-compressed", 0, "keep-compressed", Kind::flag, set_keep_compressed,
     "Keep the compressed blobs of what is pulled"},
    {"label", 0, "labels", Kind::list, add_daemon_text<&D::labels>,
     "Label of the daemon (KEY=VALUE)"},
    {"live-restore", 0, "live-restore", Kind::flag, set_live_restore,
     "Containers go on running without the daemon: always so"},
    {"log-driver", 0, "log-driver", Kind::text, set_daemon_text<&D::log_driver>,
     "Default log driver of containers"},
    {"log-format", 0, "log-format", Kind::text, set_format, "text or json"},
    {"log-level", 'l', "log-level", Kind::text, set_level, "debug, info, warn, error or fatal"},
    {"log-opt", 0, "log-opts", Kind::map, add_log_option, "Default log option of containers"},
    {"max-concurrent-downloads", 0, "max-concurrent-downloads", Kind::number,
     set_daemon_count<&D::max_concurrent_downloads>, "Layers of a pull at a time (3)"},
    {"max-concurrent-uploads", 0, "max-concurrent-uploads", Kind::number,
     set_daemon_count<&D::max_concurrent_uploads>, "Layers of a push at a time (5)"},
    {"max-layer-ratio", 0, "max-layer-ratio", Kind::number, set_daemon_count<&D::max_layer_ratio>,
     "How many times its compressed size a pulled layer may unpack to (400)"},
    {"max-layer-size", 0, "max-layer-size", Kind::text, set_max_layer_size,
     "What a pulled layer may unpack to at most (64GiB)"},
    {"no-new-privileges", 0, "no-new-privileges", Kind::flag,
     set_default_flag<&C::no_new_privileges>, "Containers gain no new privileges, unless told"},
    {"pidfile", 'p', "pidfile", Kind::text, set_text<&O::pidfile>,
     "File for the daemon's process id"},
    {"policy", 0, "policy", Kind::text, set_daemon_text<&D::policy_file>,
     "Policy of images, in the form of containers-policy.json(5) (/etc/gantry/policy.json, if it "
     "is there)"},
    {"registries-dir", 0, "registries-dirs", Kind::list, add_registries_dir,
     "Directory of containers-registries.d(5): where GPG signatures are "
     "(/etc/gantry/registries.d, /etc/containers/registries.d)"},
    {"registry-mirror", 0, "registry-mirrors", Kind::list, add_daemon_text<&D::registry_mirrors>,
     "Mirror to pull from: URL for docker.io, HOST=URL for another registry"},
    {"runtime-program", 0, "", Kind::text, set_daemon_text<&D::runtime_program>,
     "gantry-runtime (the one beside gantryd)"},
    {"shutdown-timeout", 0, "shutdown-timeout", Kind::number, set_shutdown_timeout,
     "Seconds that jobs get to end when the daemon stops"},
    {"storage-driver", 's', "storage-driver", Kind::text, set_daemon_text<&D::storage_driver>,
     "Storage driver: erofs, overlay2 or vfs (the first that works)"},
    {"tls", 0, "tls", Kind::flag, set_flag<&O::tls>, "Speak TLS on tcp:// hosts"},
    {"tlscacert", 0, "tlscacert", Kind::text, set_text<&O::tls_ca>,
     "Who signed the certificates of clients (/etc/gantry/ca.pem)"},
    {"tlscert", 0, "tlscert", Kind::text, set_text<&O::tls_certificate>,
     "Certificate for TLS (/etc/gantry/cert.pem)"},
    {"tlskey", 0, "tlskey", Kind::text, set_text<&O::tls_key>,
     "Key of the certificate (/etc/gantry/key.pem)"},
    {"tlsverify", 0, "tlsverify", Kind::flag, set_tls_verify,
     "Speak TLS on tcp:// hosts, with clients whose certificate --tlscacert signed"},
    {"validate", 0, "", Kind::flag, set_flag<&O::validate>, "Check the configuration and exit"},
    {"version", 'v', "", Kind::flag, set_flag<&O::version>, "Print the version and exit"},
};

const Option* find_option(std::string_view name) {
  auto at = std::find_if(std::begin(kOptions), std::end(kOptions),
                         [&](const Option& option) { return option.name == name; });
  return at == std::end(kOptions) ? nullptr : at;
}
const Option* find_letter(char letter) {
  auto at = std::find_if(std::begin(kOptions), std::end(kOptions),
                         [&](const Option& option) { return option.letter == letter; });
  return at == std::end(kOptions) ? nullptr : at;
}

// What flags gave, by option, for the comparison with the file.
using Given = std::map<const Option*, std::vector<std::string>>;

Status set_from_flag(DaemonOptions& options, const Option& option, std::string value,
                     Given& given) {
  if (option.kind == Kind::flag) {
    if (value == "1" || value == "t" || value == "T" || value == "TRUE" || value == "True")
      value = "true";
    if (value == "0" || value == "f" || value == "F" || value == "FALSE" || value == "False")
      value = "false";
    if (value != "true" && value != "false")
      return invalid("invalid argument \"{}\" for \"--{}\" flag: expected true or false", value,
                     option.name);
  }
  Status set = option.set(options, value);
  if (!set)
    return invalid("invalid argument \"{}\" for \"--{}\" flag: {}", value, option.name,
                   set.error().message());
  given[&option].push_back(std::move(value));
  return {};
}

// pflag's grammar: --name=value, --name value, -n value, -nvalue, -n=value; flags may be joined
// (-Dv).
class ArgumentReader {
 public:
  ArgumentReader(DaemonOptions& options, Given& given, const std::vector<std::string>& arguments)
      : options_(options), given_(given), arguments_(arguments) {}

  Status run() {
    for (at_ = 0; at_ < arguments_.size(); ++at_) {
      const std::string& argument = arguments_[at_];
      if (argument.starts_with("--") && argument.size() > 2) {
        TRY(read_long(std::string_view(argument).substr(2)));
      } else if (argument.size() > 1 && argument[0] == '-' && argument != "--") {
        TRY(read_short(std::string_view(argument).substr(1)));
      } else {
        return invalid("\"gantryd\" accepts no arguments, but was given \"{}\"", argument);
      }
    }
    return {};
  }

 private:
  Status read_long(std::string_view text) {
    size_t equals = std::min(text.find('='), text.size());
    const Option* option = find_option(text.substr(0, equals));
    if (option == nullptr) return invalid("unknown flag: --{}", text.substr(0, equals));
    if (equals < text.size())
      return set_from_flag(options_, *option, std::string(text.substr(equals + 1)), given_);
    if (option->kind == Kind::flag) return set_from_flag(options_, *option, "true", given_);
    if (at_ + 1 >= arguments_.size()) return invalid("flag needs an argument: --{}", option->name);
    return set_from_flag(options_, *option, arguments_[++at_], given_);
  }

  Status read_short(std::string_view letters) {
    for (size_t i = 0; i < letters.size(); ++i) {
      const Option* option = find_letter(letters[i]);
      if (option == nullptr)
        return invalid("unknown shorthand flag: '{}' in -{}", letters[i], letters);
      std::string_view rest = letters.substr(i + 1);
      if (rest.starts_with('='))
        return set_from_flag(options_, *option, std::string(rest.substr(1)), given_);
      if (option->kind == Kind::flag) {
        TRY(set_from_flag(options_, *option, "true", given_));
        continue;
      }
      if (!rest.empty()) return set_from_flag(options_, *option, std::string(rest), given_);
      if (at_ + 1 >= arguments_.size())
        return invalid("flag needs an argument: '{}' in -{}", letters[i], letters);
      return set_from_flag(options_, *option, arguments_[++at_], given_);
    }
    return {};
  }

  DaemonOptions& options_;
  Given& given_;
  const std::vector<std::string>& arguments_;
  size_t at_ = 0;
};

// A member of daemon.json as the values that the flag would have been given.
Result<std::vector<std::string>> file_values(const Option& option, const json::value& value) {
  auto text = [&](const json::value& item) -> Result<std::string> {
    if (!item.is_string()) return json::type_error("a string", item);
    return std::string(item.get_string());
  };
  std::vector<std::string> out;
  switch (option.kind) {
    case Kind::text:
      out.push_back(TRY(text(value)));
      return out;
    case Kind::flag:
      if (!value.is_bool()) return json::type_error("a boolean", value);
      out.emplace_back(value.get_bool() ? "true" : "false");
      return out;
    case Kind::number:
      if (!value.is_int64()) return json::type_error("an integer", value);
      out.push_back(std::to_string(value.get_int64()));
      return out;
    case Kind::list:
      if (!value.is_array()) return json::type_error("an array", value);
      for (const json::value& item : value.get_array()) out.push_back(TRY(text(item)));
      return out;
    case Kind::map:
      if (!value.is_object()) return json::type_error("an object", value);
      for (const auto& member : value.get_object()) {
        std::string name(member.key());
        if (member.value().is_int64()) {
          out.push_back(fmt::format("{}={}", name, member.value().get_int64()));
          continue;
        }
        if (!member.value().is_object()) {
          std::string item = TRY(text(member.value()));
          out.push_back(name + "=" + item);
          continue;
        }
        // A ulimit: {"Name": "nofile", "Soft": 1, "Hard": 2}.
        const json::object& limits = member.value().get_object();
        const json::value* soft = limits.if_contains("Soft");
        const json::value* hard = limits.if_contains("Hard");
        if (soft == nullptr || hard == nullptr || !soft->is_int64() || !hard->is_int64())
          return invalid("{}: Soft and Hard must be integers", name);
        out.push_back(fmt::format("{}={}:{}", name, soft->get_int64(), hard->get_int64()));
      }
      return out;
  }
  return out;
}

std::string shown(const Option& option, const std::vector<std::string>& values) {
  if (option.kind != Kind::list && option.kind != Kind::map)
    return values.empty() ? "" : values.back();
  std::string out = "[";
  for (const std::string& value : values) out += (out.size() > 1 ? " " : "") + value;
  return out + "]";
}

const Option* find_key(std::string_view key) {
  auto at = std::find_if(std::begin(kOptions), std::end(kOptions),
                         [&](const Option& option) { return option.key == key; });
  return key.empty() || at == std::end(kOptions) ? nullptr : at;
}

void append(std::string& list, std::string item) {
  list += (list.empty() ? "" : ", ") + std::move(item);
}

Status read_document(DaemonOptions& options, const json::object& document, const Given& given) {
  std::string unknown, conflicts;
  std::vector<std::pair<const Option*, std::vector<std::string>>> found;
  for (const auto& member : document) {
    const Option* option = find_key(member.key());
    if (option == nullptr) {
      append(unknown, std::string(member.key()));
      continue;
    }
    auto values = TRY(file_values(*option, member.value()).context("{}", option->key));
    if (auto flag = given.find(option); flag != given.end())
      append(conflicts, fmt::format("{}: (from flag: {}, from file: {})", option->key,
                                    shown(*option, flag->second), shown(*option, values)));
    found.emplace_back(option, std::move(values));
  }
  if (!unknown.empty())
    return invalid("the following directives don't match any configuration option: {}", unknown);
  if (!conflicts.empty())
    return invalid(
        "the following directives are specified both as a flag and in the configuration file: {}",
        conflicts);
  for (const auto& [option, values] : found)
    for (const std::string& value : values)
      TRY(option->set(options, value).context("{}", option->key));
  return {};
}

Status read_config_file(DaemonOptions& options, const Given& given) {
  bool named = given.contains(find_option("config-file"));
  auto text = fs::read_file(options.config_file, 1u << 20);
  if (!text && text.error().kind() == ErrorKind::not_found && !named) return {};
  if (!text) return std::move(text).error();
  if (std::all_of(text->begin(), text->end(),
                  [](char c) { return isspace(static_cast<unsigned char>(c)); }))
    return {};
  json::value document = TRY(json::parse(*text));
  if (!document.is_object()) return json::type_error("an object", document);
  return read_document(options, document.get_object(), given);
}

}  // namespace

Result<DaemonOptions> DaemonOptions::parse(const std::vector<std::string>& arguments) {
  DaemonOptions options;
  Given given;
  TRY(ArgumentReader(options, given, arguments).run());
  if (options.help || options.version) return options;
  Status file = read_config_file(options, given);
  if (!file)
    return invalid("unable to configure the daemon with file {}: {}", options.config_file,
                   file.error().message());
  if (options.daemon.debug) options.log_level = log::Level::debug;
  if (options.pidfile.empty()) options.pidfile = options.daemon.exec_root + "/gantryd.pid";
  if (options.hosts.empty())
    options.hosts.push_back("unix://" + options.daemon.exec_root + "/gantry.sock");
  for (const std::string* path : {&options.daemon.data_root, &options.daemon.exec_root})
    if (!path->starts_with('/')) return invalid("{}: the path must be absolute", *path);
  return options;
}

std::string daemon_usage() {
  std::string out = "Usage: gantryd [OPTIONS]\n\nA container engine.\n\nOptions:\n";
  for (const Option& option : kOptions) {
    std::string letter = option.letter ? fmt::format("-{},", option.letter) : "   ";
    out += fmt::format("  {} --{:<18} {}\n", letter, option.name, option.help);
  }
  return out;
}

}  // namespace gantry::server
