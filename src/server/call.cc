#include "server/call.h"

#include <charconv>

#include "base/clock.h"
#include "server/status.h"

namespace gantry::server {
namespace {

constexpr size_t kBodyLimit = 16u << 20;
constexpr std::string_view kJson = "application/json";

// The media type without its parameters.
std::string_view media_type(std::string_view text) {
  text = text.substr(0, text.find(';'));
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

Result<std::optional<int64_t>> Call::number(std::string_view key) const {
  std::string text = query(key);
  if (text.empty()) return std::optional<int64_t>();
  std::string_view digits = text;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  int64_t number = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error == std::errc::result_out_of_range)
    return invalid("strconv.Atoi: parsing {:?}: value out of range", text);
  if (error != std::errc() || end != digits.data() + digits.size())
    return invalid("strconv.Atoi: parsing {:?}: invalid syntax", text);
  return std::optional<int64_t>(number);
}

Result<Filters> Call::filters() const {
  Filters out;
  std::string text = query("filters");
  if (text.empty()) return out;
  auto document = json::parse(text);
  if (!document || !document->is_object()) return invalid("invalid filter: {:?}", text);
  for (const auto& member : document->get_object()) {
    auto& values = out[std::string(member.key())];
    if (member.value().is_array()) {
      for (const json::value& item : member.value().get_array()) {
        if (!item.is_string()) return invalid("invalid filter: {:?}", text);
        values.emplace_back(item.get_string());
      }
    } else if (member.value().is_object()) {
      for (const auto& item : member.value().get_object()) {
        if (!item.value().is_bool()) return invalid("invalid filter: {:?}", text);
        if (item.value().get_bool()) values.emplace_back(item.key());
      }
    } else {
      return invalid("invalid filter: {:?}", text);
    }
  }
  return out;
}

Result<int64_t> Call::time(std::string_view key) const {
  constexpr int64_t kSecond = 1'000'000'000;
  std::string text = query(key);
  if (text.empty()) return int64_t{0};
  if (text.find_first_not_of("0123456789.-") != std::string::npos ||
      text.find('-', 1) != std::string::npos)
    return parse_time(text);
  size_t dot = std::min(text.find('.'), text.size());
  int64_t seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + dot, seconds);
  std::string fraction = dot < text.size() ? text.substr(dot + 1) : "";
  int64_t nanoseconds = 0;
  fraction.resize(9, '0');
  auto [fraction_end, fraction_error] =
      std::from_chars(fraction.data(), fraction.data() + fraction.size(), nanoseconds);
  if (error != std::errc() || end != text.data() + dot || fraction_error != std::errc() ||
      fraction_end != fraction.data() + fraction.size() || nanoseconds < 0 ||
      std::abs(seconds) > std::numeric_limits<int64_t>::max() / kSecond - 1)
    return invalid("invalid value for {:?}: {:?}", key, text);
  return seconds * kSecond + nanoseconds;
}

Result<json::value> Call::body() {
  std::string_view type = x.headers().get("Content-Type");
  bool absent = x.content_length() == std::optional<uint64_t>(0);
  if (!(type.empty() && absent) && media_type(type) != kJson)
    return invalid("unsupported Content-Type header ({}): must be 'application/json'", type);
  if (absent) return json::value(json::object());
  std::string text = TRY(x.read_body(kBodyLimit));
  if (std::all_of(text.begin(), text.end(), is_space))
    return invalid("invalid JSON: got EOF while reading request body");
  return json::parse(text);
}

http::Headers Call::headers(std::string_view content_type) const {
  http::Headers out{{"Api-Version", kNewestVersion.text()},
                    {"Docker-Experimental", "false"},
                    {"Ostype", "linux"},
                    {"Server", "Gantry/" GANTRY_VERSION " (linux)"}};
  for (const auto& [name, value] : extra.fields()) out.add(name, value);
  if (!content_type.empty()) out.add("Content-Type", std::string(content_type));
  return out;
}

Status Call::send(int status, const json::value& document) {
  return x.respond(status, headers(kJson), json::serialize(document) + "\n");
}

Status Call::send_text(int status, std::string_view content_type, std::string_view text) {
  return x.respond(status, headers(content_type), text);
}

Status Call::send_empty(int status) { return x.respond(status, headers(), {}); }

Status Call::send_error(const Error& error) {
  return send(http_status(error), json::object{{"message", error.message()}});
}

Status Call::start_stream(std::string_view content_type) {
  return x.start_stream(200, headers(content_type));
}

Status Call::write_json(const json::value& document) {
  return x.write(json::serialize(document) + "\r\n");
}

Status PiecewiseAnswer::write(std::string_view text) {
  buffer_ += text;
  if (buffer_.size() < kPiece) return {};
  if (!call_.x.started()) TRY(call_.start_stream(content_type_));
  TRY(call_.x.write(buffer_));
  buffer_.clear();
  return {};
}

Status PiecewiseAnswer::finish(std::string_view last) {
  buffer_ += last;
  if (!call_.x.started()) return call_.send_text(200, content_type_, buffer_);
  TRY(call_.x.write(buffer_));
  return call_.x.finish();
}

}  // namespace gantry::server
