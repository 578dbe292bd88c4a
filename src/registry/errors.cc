#include "registry/errors.h"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/json.h"

namespace gantry::registry {
namespace {

constexpr size_t kErrorLimit = 64u << 10;

struct Known {
  std::string_view code;
  std::string_view words;  // what Docker's registry client prints before the message
  ErrorKind kind;
};
constexpr Known kKnown[] = {
    {"UNAUTHORIZED", "unauthorized", ErrorKind::permission},
    {"DENIED", "denied", ErrorKind::permission},
    {"MANIFEST_UNKNOWN", "manifest unknown", ErrorKind::not_found},
    {"NAME_UNKNOWN", "name unknown", ErrorKind::not_found},
    {"BLOB_UNKNOWN", "blob unknown", ErrorKind::not_found},
    {"BLOB_UPLOAD_UNKNOWN", "blob upload unknown", ErrorKind::not_found},
    {"BLOB_UPLOAD_INVALID", "blob upload invalid", ErrorKind::invalid},
    {"DIGEST_INVALID", "digest invalid", ErrorKind::invalid},
    {"MANIFEST_INVALID", "manifest invalid", ErrorKind::invalid},
    {"MANIFEST_BLOB_UNKNOWN", "blob unknown", ErrorKind::invalid},
    {"NAME_INVALID", "name invalid", ErrorKind::invalid},
    {"SIZE_INVALID", "size invalid", ErrorKind::invalid},
    {"TOOMANYREQUESTS", "toomanyrequests", ErrorKind::unavailable},
    {"UNSUPPORTED", "unsupported", ErrorKind::unsupported},
};

ErrorKind kind_of(int status) {
  if (status == 401 || status == 403) return ErrorKind::permission;
  if (status == 404) return ErrorKind::not_found;
  if (status == 429 || status >= 500) return ErrorKind::unavailable;
  return ErrorKind::invalid;
}

// What stands between the quotes is the registry's; it must not break a line of ours.
std::string clean(std::string_view text) {
  std::string out(text.substr(0, 1024));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return out;
}

}  // namespace

int retry_after(const http::Headers& headers) {
  std::string value(headers.get("Retry-After"));
  int seconds = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error == std::errc() && end == value.data() + value.size() && seconds >= 0) return seconds;
  tm parts{};
  if (value.empty() || ::strptime(value.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts) == nullptr)
    return -1;
  return static_cast<int>(std::clamp<int64_t>(::timegm(&parts) - ::time(nullptr), 0, 1 << 30));
}

Error error_from(int status, std::string_view body, const http::Headers& headers) {
  ErrorKind kind = kind_of(status);
  std::string text;
  Result<json::value> document = json::parse(body);
  const json::array* errors = nullptr;
  if (document && document->is_object())
    if (const json::value* list = document->get_object().if_contains("errors"))
      errors = list->if_array();
  for (size_t i = 0; errors != nullptr && i < errors->size() && i < 4; ++i) {
    const json::object* one = (*errors)[i].if_object();
    if (one == nullptr) continue;
    auto field = [&](const char* name) -> std::string {
      const json::value* found = one->if_contains(name);
      return found != nullptr && found->is_string() ? clean(std::string_view(found->get_string()))
                                                    : "";
    };
    std::string code = field("code");
    std::string words = code;
    std::transform(words.begin(), words.end(), words.begin(), ::tolower);
    for (const Known& known : kKnown) {
      if (known.code != code) continue;
      words = known.words;
      if (i == 0) kind = known.kind;
    }
    std::string message = field("message");
    if (!text.empty()) text += "; ";
    text += words.empty() ? message : message.empty() ? words : words + ": " + message;
  }
  if (text.empty() && document && document->is_object()) {
    const json::value* details = document->get_object().if_contains("details");
    if (details != nullptr && details->is_string())
      text = clean(std::string_view(details->get_string()));
  }
  if (status == 429) {
    kind = ErrorKind::unavailable;
    if (text.empty()) text = "toomanyrequests: the registry limits how often it is asked";
    int wait = retry_after(headers);
    if (wait >= 0) text += fmt::format(" (it asks to come again in {} seconds)", wait);
  }
  if (text.empty() && status == 401) text = "unauthorized: authentication required";
  if (text.empty() && status == 403) text = "denied: requested access to the resource is denied";
  if (text.empty())
    text = fmt::format("received unexpected HTTP status: {} {}", status, http::reason(status));
  return Error(kind, std::move(text), status == 429 || status >= 500 ? EAGAIN : 0);
}

Error error_of(http::Agent::Response& response) {
  Result<std::string> body = response.read_all(kErrorLimit);
  return error_from(response.status, body ? *body : std::string(), response.headers);
}

bool is_denied(const Error& error) { return error.kind() == ErrorKind::permission; }
bool lacks_credentials(const Error& error) { return is_denied(error) && error.code() == ENOKEY; }
bool is_manifest_unknown(const Error& error) {
  return error.message().find("manifest unknown") != std::string::npos;
}
bool is_name_unknown(const Error& error) {
  return error.message().find("name unknown") != std::string::npos;
}

}  // namespace gantry::registry
