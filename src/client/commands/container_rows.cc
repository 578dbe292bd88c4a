#include "client/commands/container_rows.h"

#include <algorithm>
#include <map>

#include "base/units.h"
#include "client/commands/commands.h"
#include "client/format/template.h"

namespace gantry::client {
namespace {

constexpr std::pair<std::string_view, std::string_view> kHeadings[] = {
    {"ID", "CONTAINER ID"},
    {"Image", "IMAGE"},
    {"Command", "COMMAND"},
    {"CreatedAt", "CREATED AT"},
    {"RunningFor", "CREATED"},
    {"Status", "STATUS"},
    {"State", "STATE"},
    {"Ports", "PORTS"},
    {"Names", "NAMES"},
    {"Size", "SIZE"},
    {"Labels", "LABELS"},
    {"Mounts", "MOUNTS"},
    {"LocalVolumes", "LOCAL VOLUMES"},
    {"Networks", "NETWORKS"},
    {"Platform", "PLATFORM"}};

std::string join(const std::vector<std::string>& list, std::string_view separator) {
  std::string out;
  for (const std::string& item : list) out.append(out.empty() ? "" : separator).append(item);
  return out;
}

std::string names_of(const json::value& container, Truncate truncate) {
  std::vector<std::string> names;
  for (const json::value& name : array_of(container, "Names")) {
    std::string text(name.is_string() ? std::string_view(name.get_string()) : "");
    if (text.starts_with('/')) text.erase(0, 1);
    // A name with a slash is an alias that a link gave: shown only with --no-trunc.
    if (truncate == Truncate::yes && text.find('/') != text.npos) continue;
    names.push_back(text);
  }
  return join(names, ",");
}

std::string image_of(const json::value& container, Truncate truncate) {
  std::string image = text_of(container, "Image");
  if (image.empty()) return "<no image>";
  if (truncate == Truncate::no) return image;
  std::string id = text_of(container, "ImageID");
  if (id.starts_with("sha256:")) id.erase(0, 7);
  std::string shown = image.starts_with("sha256:") ? image.substr(7) : image;
  if (!id.empty() && shown == id) return id.substr(0, 12);  // the image has no name any more
  size_t digest = image.find('@');
  return digest == image.npos ? image : image.substr(0, digest);
}

std::string quoted_command(const json::value& container, Truncate truncate) {
  std::string command = text_of(container, "Command");
  if (truncate == Truncate::yes) command = ellipsis(command, 20);
  std::string out = "\"";
  for (char c : command) {  // as Go's strconv.Quote
    if (c == '"' || c == '\\') out += '\\';
    switch (c) {
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
          out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else
          out += c;
    }
  }
  return out + "\"";
}

std::string size_of(const json::value& container) {
  std::string own = human_size(static_cast<double>(number_of(container, "SizeRw")), 3);
  int64_t whole = number_of(container, "SizeRootFs");
  if (whole <= 0) return own;
  return fmt::format("{} (virtual {})", own, human_size(static_cast<double>(whole), 3));
}

json::object row_of(const json::value& container, Truncate truncate, int64_t now) {
  json::object row;
  std::string id = text_of(container, "Id");
  const int64_t created = number_of(container, "Created");
  std::vector<std::string> mounts, networks;
  int64_t local_volumes = 0;
  for (const json::value& mount : array_of(container, "Mounts")) {
    std::string name = text_of(mount, "Name");
    if (name.empty()) name = text_of(mount, "Source");
    mounts.push_back(truncate == Truncate::yes ? ellipsis(name, 15) : name);
    local_volumes += text_of(mount, "Driver") == "local";
  }
  for (const auto& network : object_of(object_of(container, "NetworkSettings"), "Networks"))
    networks.emplace_back(network.key());
  std::ranges::sort(networks);
  row["ID"] = truncate == Truncate::yes ? id.substr(0, 12) : id;
  row["Names"] = names_of(container, truncate);
  row["Image"] = image_of(container, truncate);
  row["Command"] = quoted_command(container, truncate);
  row["CreatedAt"] = local_time(created);
  row["RunningFor"] = human_duration(now - created * 1000000000) + " ago";
  row["Status"] = text_of(container, "Status");
  row["State"] = text_of(container, "State");
  row["Ports"] = display_ports(array_of(container, "Ports"));
  row["Size"] = size_of(container);
  row["Labels"] = comma_pairs(object_of(container, "Labels"));
  row["Mounts"] = join(mounts, ",");
  row["LocalVolumes"] = fmt::format("{}", local_volumes);
  row["Networks"] = join(networks, ",");
  row["Platform"] = json::value(nullptr);
  row[kMethods] = json::object{{"Label", object_of(container, "Labels")}};
  return row;
}

struct Port {
  std::string ip, protocol;
  int64_t inner, outer;
};

}  // namespace

std::string display_ports(const json::array& ports) {
  std::vector<Port> list;
  for (const json::value& port : ports)
    list.push_back({text_of(port, "IP"), text_of(port, "Type"), number_of(port, "PrivatePort"),
                    number_of(port, "PublicPort")});
  std::ranges::sort(list, [](const Port& a, const Port& b) {
    return std::tie(a.inner, a.ip, a.outer, a.protocol) <
           std::tie(b.inner, b.ip, b.outer, b.protocol);
  });
  // Runs of consecutive ports, per address and protocol. Mappings whose numbers differ stand alone.
  struct Run {
    int64_t first, last;
  };
  std::map<std::string, Run> runs;
  std::vector<std::string> keys, out, mapped;
  auto flush = [&](const std::string& key) {
    Run run = runs[key];
    size_t slash = key.rfind('/');
    std::string ip = key.substr(0, slash);
    std::string group = run.first == run.last ? fmt::format("{}", run.first)
                                              : fmt::format("{}-{}", run.first, run.last);
    if (!ip.empty()) group = fmt::format("{}:{}->{}", ip, group, group);
    out.push_back(group + key.substr(slash));
  };
  for (const Port& port : list) {
    std::string ip = port.ip.find(':') != port.ip.npos ? "[" + port.ip + "]" : port.ip;
    std::string key = "/" + port.protocol;
    if (!ip.empty()) {
      if (port.outer != port.inner) {
        mapped.push_back(fmt::format("{}:{}->{}/{}", ip, port.outer, port.inner, port.protocol));
        continue;
      }
      key = ip + key;
    }
    auto run = runs.find(key);
    if (run == runs.end()) {
      runs[key] = {port.inner, port.inner};
      keys.push_back(key);
    } else if (port.inner == run->second.last + 1) {
      run->second.last = port.inner;
    } else if (port.inner != run->second.last) {
      flush(key);
      run->second = {port.inner, port.inner};
    }
  }
  for (const std::string& key : keys) flush(key);
  out.insert(out.end(), mapped.begin(), mapped.end());
  return join(out, ", ");
}

Listing container_listing(const json::array& containers, Truncate truncate, int64_t now) {
  Listing listing;
  listing.type_name = "*formatter.ContainerContext";
  listing.headings.assign(std::begin(kHeadings), std::end(kHeadings));
  for (const json::value& container : containers)
    listing.rows.push_back(row_of(container, truncate, now));
  return listing;
}

}  // namespace gantry::client
