#include "drivers/network/ufw.h"

#include <algorithm>
#include <charconv>

#include "base/fs.h"

namespace gantry::drivers {

namespace {

constexpr size_t kLargestFile = 4u << 20;
constexpr std::string_view kTuple = "### tuple ###";

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> out;
  while (true) {
    const size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) return out;
    line.remove_prefix(begin);
    const size_t size = std::min(line.find_first_of(" \t\r"), line.size());
    out.push_back(line.substr(0, size));
    line.remove_prefix(size);
  }
}

bool read_port(std::string_view text, uint16_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

// "any", "80", "80,443", "6000:6007"
Result<std::vector<PortRange>> read_ports(std::string_view text) {
  std::vector<PortRange> out;
  if (text == "any") return out;
  while (true) {
    const std::string_view one = text.substr(0, text.find(','));
    const size_t colon = one.find(':');
    PortRange range;
    if (!read_port(one.substr(0, colon), range.first)) return invalid("bad port \"{}\"", one);
    range.last = range.first;
    if (colon != std::string_view::npos && !read_port(one.substr(colon + 1), range.last))
      return invalid("bad port \"{}\"", one);
    out.push_back(range);
    if (one.size() == text.size()) return out;
    text.remove_prefix(one.size() + 1);
  }
}

// "any", an address or a subnet; that of everything counts as any.
Result<std::optional<Cidr>> read_address(std::string_view text) {
  if (text == "any") return std::optional<Cidr>();
  Cidr cidr;
  if (text.find('/') != std::string_view::npos) {
    cidr = TRY(Cidr::parse(text));
  } else {
    const IpAddress address = TRY(IpAddress::parse(text));
    cidr = Cidr(address, address.is_v4() ? 32 : 128);
  }
  if (cidr.prefix() == 0) return std::optional<Cidr>();
  return std::optional<Cidr>(cidr.network());
}

// ACTION PROTOCOL PORTS TO SOURCE-PORTS FROM [APPLICATION APPLICATION] in[_INTERFACE]
Result<std::optional<PolicyRule>> read_tuple(std::string_view line) {
  std::vector<std::string_view> words = words_of(line);
  if (!words.empty() && words.back().starts_with("comment=")) words.pop_back();
  if (words.size() != 7 && words.size() != 9) return invalid("unknown form");
  if (words[0].starts_with("route:")) return std::optional<PolicyRule>();
  const std::string_view direction = words.back();
  if (direction.starts_with("out")) return std::optional<PolicyRule>();
  PolicyRule rule;
  if (direction.starts_with("in_"))
    rule.interface = direction.substr(3);
  else if (direction != "in")
    return invalid("unknown direction \"{}\"", direction);
  const std::string_view action = words[0].substr(0, words[0].find('_'));  // "allow_log-all"
  if (action == "allow" || action == "limit")
    rule.action = PolicyAction::allow;
  else if (action == "deny")
    rule.action = PolicyAction::drop;
  else if (action == "reject")
    rule.action = PolicyAction::reject;
  else
    return invalid("unknown action \"{}\"", action);
  if (words[1] != "any") {
    const auto protocol = parse_protocol(words[1]);
    if (!protocol) return std::optional<PolicyRule>();  // of one that no port is published of
    rule.protocol = *protocol;
  }
  rule.ports = TRY(read_ports(words[2]));
  rule.destination = TRY(read_address(words[3]));
  rule.source_ports = TRY(read_ports(words[4]));
  rule.source = TRY(read_address(words[5]));
  rule.text = std::string(action);
  rule.text += words[2] == "any" ? "" : " " + std::string(words[2]);
  if (rule.protocol)
    rule.text += (words[2] == "any" ? " " : "/") + std::string(to_string(*rule.protocol));
  if (rule.destination) rule.text += " to " + rule.destination->to_string();
  if (rule.source) rule.text += " from " + rule.source->to_string();
  if (!rule.interface.empty()) rule.text += " on " + rule.interface;
  return std::optional<PolicyRule>(std::move(rule));
}

// NAME=value or NAME="value", as a shell reads it; the last one counts.
std::string setting(std::string_view text, std::string_view name) {
  std::string out;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != '=') continue;
    line.remove_prefix(name.size() + 1);
    if (line.size() >= 2 && (line[0] == '"' || line[0] == '\'') && line.back() == line[0])
      line = line.substr(1, line.size() - 2);
    out = line;
  }
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return out;
}

// Not there: "".
Result<std::string> file_text(const std::string& path) {
  auto text = fs::read_file(path, kLargestFile);
  if (!text && text.error().kind() == ErrorKind::not_found) return std::string();
  return text;
}

}  // namespace

Result<std::vector<PolicyRule>> read_ufw_rules(std::string_view text) {
  std::vector<PolicyRule> out;
  for (int number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (!line.starts_with(kTuple)) continue;
    auto rule = TRY(read_tuple(line.substr(kTuple.size())).context("line {}", number));
    if (rule) out.push_back(std::move(*rule));
  }
  return out;
}

Result<std::optional<HostPolicy>> read_ufw(const std::string& root) {
  const std::string main = TRY(file_text(root + "/etc/ufw/ufw.conf"));
  if (setting(main, "ENABLED") != "yes") return std::optional<HostPolicy>();
  const std::string defaults = TRY(file_text(root + "/etc/default/ufw"));
  HostPolicy policy;
  policy.firewall = "ufw";
  const std::string otherwise = setting(defaults, "DEFAULT_INPUT_POLICY");
  policy.otherwise = otherwise == "accept"   ? PolicyAction::allow
                     : otherwise == "reject" ? PolicyAction::reject
                                             : PolicyAction::drop;
  for (auto [name, rules] : {std::pair("/etc/ufw/user.rules", &policy.rules4),
                             std::pair("/etc/ufw/user6.rules", &policy.rules6)}) {
    const std::string text = TRY(file_text(root + name));
    *rules = TRY(read_ufw_rules(text).context("{}", name));
  }
  // Without IPv6 ufw lets none of it in.
  if (setting(defaults, "IPV6") != "yes") policy.rules6.clear();
  return std::optional<HostPolicy>(std::move(policy));
}

}  // namespace gantry::drivers
