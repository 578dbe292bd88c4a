#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/units.h"
#include "client/cli/flags.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

// RFC 4180 fields of one line, as Go's encoding/csv.
Result<std::vector<std::string>> csv_fields(std::string_view line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted) {
      if (c != '"')
        out.back() += c;
      else if (i + 1 < line.size() && line[i + 1] == '"')
        out.back() += line[++i];
      else
        quoted = false;
    } else if (c == '"' && out.back().empty()) {
      quoted = true;
    } else if (c == ',') {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  if (quoted)
    return invalid("parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                   line.size());
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

Result<bool> mount_bool(std::string_view key, std::string_view value, bool given) {
  if (!given) return true;
  bool out = false;
  if (!set_bool(out, value)) return invalid("invalid value for {}: {}", key, value);
  return out;
}

// A name without "./" is a volume's.
bool is_relative(std::string_view path) {
  return path == "." || path == ".." || path.starts_with("./") || path.starts_with("../");
}

// Against our working directory, lexically cleaned as Go's filepath.Abs.
Result<std::string> absolute(const std::string& relative) {
  char* directory = ::getcwd(nullptr, 0);
  if (!directory) return errno_error(errno, "getcwd");
  const std::string path = std::string(directory) + "/" + relative;
  std::free(directory);
  std::vector<std::string> parts;
  for (size_t start = 0; start <= path.size();) {
    size_t end = std::min(path.find('/', start), path.size());
    std::string part = path.substr(start, end - start);
    if (part == ".." && !parts.empty())
      parts.pop_back();
    else if (!part.empty() && part != "." && part != "..")
      parts.push_back(part);
    start = end + 1;
  }
  std::string out;
  for (const std::string& part : parts) out += "/" + part;
  return out.empty() ? "/" : out;
}

struct MountParser {
  json::object mount{{"Type", "volume"}};
  json::object bind, volume, tmpfs, image;

  Status boolean(json::object& where, std::string_view member, std::string_view key,
                 std::string_view value, bool given) {
    where[member] = TRY(mount_bool(key, value, given));
    return {};
  }
  static void pair_into(json::object& where, std::string_view member, std::string_view pair) {
    if (!where.contains(member)) where[member] = json::object();
    size_t equals = pair.find('=');
    where[member].as_object()[pair.substr(0, equals)] =
        equals == pair.npos ? "" : pair.substr(equals + 1);
  }
  Status nested(json::object& where, std::string_view member, std::string_view pair) {
    if (!where.contains("DriverConfig")) where["DriverConfig"] = json::object();
    json::object& driver = where["DriverConfig"].as_object();
    if (member == "Name")
      driver["Name"] = pair;
    else
      pair_into(driver, "Options", pair);
    return {};
  }

  Status bind_recursive(std::string_view value) {
    if (value == "enabled") return {};
    if (value == "disabled")
      bind["NonRecursive"] = true;
    else if (value == "writable")
      bind["ReadOnlyNonRecursive"] = true;
    else if (value == "readonly")
      bind["ReadOnlyForceRecursive"] = true;
    else
      return invalid(
          "invalid value for bind-recursive: {} (must be \"enabled\", \"disabled\", \"writable\", "
          "or \"readonly\")",
          value);
    return {};
  }

  Status field(const std::string& text) {
    size_t equals = text.find('=');
    const bool given = equals != text.npos;
    const std::string key = lower(text.substr(0, equals));
    const std::string value = given ? text.substr(equals + 1) : "";
    if (key == "readonly" || key == "ro") return boolean(mount, "ReadOnly", key, value, given);
    if (key == "bind-nonrecursive") return boolean(bind, "NonRecursive", key, value, given);
    if (key == "volume-nocopy") return boolean(volume, "NoCopy", key, value, given);
    if (key == "bind-create-src") return boolean(bind, "CreateMountpoint", key, value, given);
    if (!given) return invalid("invalid field '{}' must be a key=value pair", text);
    if (key == "type")
      mount["Type"] = lower(value);
    else if (key == "source" || key == "src")
      mount["Source"] = value;
    else if (key == "target" || key == "dst" || key == "destination")
      mount["Target"] = value;
    else if (key == "consistency")
      mount["Consistency"] = lower(value);
    else if (key == "bind-propagation")
      bind["Propagation"] = lower(value);
    else if (key == "bind-recursive")
      return bind_recursive(value);
    else if (key == "volume-subpath")
      volume["Subpath"] = value;
    else if (key == "image-subpath")
      image["Subpath"] = value;
    else if (key == "volume-label")
      pair_into(volume, "Labels", value);
    else if (key == "volume-driver")
      return nested(volume, "Name", value);
    else if (key == "volume-opt")
      return nested(volume, "Options", value);
    else if (key == "tmpfs-size") {
      auto size = parse_ram_size(value);
      if (!size) return invalid("invalid value for {}: {}", key, value);
      tmpfs["SizeBytes"] = *size;
    } else if (key == "tmpfs-mode") {
      unsigned mode = 0;
      auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), mode, 8);
      if (failure != std::errc() || end != value.data() + value.size())
        return invalid("invalid value for {}: {}", key, value);
      tmpfs["Mode"] = mode;
    } else {
      return invalid("unexpected key '{}' in '{}'", key, text);
    }
    return {};
  }

  Result<json::object> finish() {
    const std::string type(mount["Type"].as_string());
    if (type.empty()) return invalid("type is required");
    if (!mount.contains("Target")) return invalid("target is required");
    struct Section {
      std::string_view type, member;
      json::object* options;
    };
    const Section sections[] = {{"bind", "BindOptions", &bind},
                                {"volume", "VolumeOptions", &volume},
                                {"tmpfs", "TmpfsOptions", &tmpfs},
                                {"image", "ImageOptions", &image}};
    for (const Section& section : sections) {
      if (section.options->empty()) continue;
      if (type != section.type)
        return invalid("cannot mix '{}-*' options with mount type '{}'", section.type, type);
      mount[section.member] = std::move(*section.options);
    }
    return std::move(mount);
  }
};

}  // namespace

Result<json::object> parse_mount(std::string_view spec) {
  MountParser parser;
  for (const std::string& text : TRY(csv_fields(spec))) TRY(parser.field(text));
  json::object out = TRY(parser.finish());
  if (out["Type"].as_string() == "bind" && out.contains("Source")) {
    std::string source(out["Source"].as_string());
    if (is_relative(source)) out["Source"] = TRY(absolute(source));
  }
  return out;
}

Result<VolumeSpec> parse_volume(std::string_view spec) {
  if (spec.empty()) return invalid("invalid empty volume spec");
  VolumeSpec out;
  size_t colon = spec.find(':');
  if (colon == spec.npos) {
    out.anonymous = true;
    out.bind = spec;
    return out;
  }
  std::string source(spec.substr(0, colon));
  if (source.empty() || spec.substr(colon + 1).empty())
    return invalid("invalid volume specification: '{}'", spec);
  if (is_relative(source)) source = TRY(absolute(source));
  out.bind = source + std::string(spec.substr(colon));
  return out;
}

Result<json::object> parse_network_attachment(std::string_view spec, std::string& name) {
  json::object endpoint;
  if (spec.find('=') == spec.npos) {
    name = spec;
    return endpoint;
  }
  json::object ipam;
  for (const std::string& text : TRY(csv_fields(spec))) {
    size_t equals = text.find('=');
    const std::string key = lower(text.substr(0, equals));
    if (equals == text.npos) return invalid("invalid field {}", text);
    const std::string value = text.substr(equals + 1);
    if (key == "name")
      name = value;
    else if (key == "alias") {
      if (!endpoint.contains("Aliases")) endpoint["Aliases"] = json::array();
      endpoint["Aliases"].as_array().push_back(json::value(value));
    } else if (key == "ip")
      ipam["IPv4Address"] = value;
    else if (key == "ip6")
      ipam["IPv6Address"] = value;
    else if (key == "mac-address")
      endpoint["MacAddress"] = value;
    else if (key == "link-local-ip") {
      if (!ipam.contains("LinkLocalIPs")) ipam["LinkLocalIPs"] = json::array();
      ipam["LinkLocalIPs"].as_array().push_back(json::value(value));
    } else if (key == "driver-opt")
      MountParser::pair_into(endpoint, "DriverOpts", value);
    else if (key == "gw-priority") {
      int64_t priority = 0;
      TRY(set_signed(priority, value, 64).context("invalid gw-priority"));
      endpoint["GwPriority"] = priority;
    } else
      return invalid("invalid field key {}", key);
  }
  if (name.empty()) return invalid("network name/id is not specified");
  if (!ipam.empty()) endpoint["IPAMConfig"] = std::move(ipam);
  return endpoint;
}

}  // namespace gantry::client
