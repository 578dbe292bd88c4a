#include "daemon/plugins.h"

#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sys.h"
#include "daemon/names.h"
#include "http/client.h"

namespace gantry::daemon {
namespace {

constexpr const char* kSockets = "/run/docker/plugins";
constexpr std::array<const char*, 2> kSpecs = {"/etc/docker/plugins", "/usr/lib/docker/plugins"};
constexpr size_t kMaxSpec = 64 << 10, kMaxBody = 4 << 20;
constexpr const char* kMediaType = "application/vnd.docker.plugins.v1.2+json";
constexpr std::chrono::seconds kActivation{30};

bool is_socket(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode);
}

// "": there is none.
Result<std::string> plugin_address(const std::string& name) {
  for (const std::string& path :
       {fmt::format("{}/{}.sock", kSockets, name), fmt::format("{0}/{1}/{1}.sock", kSockets, name)})
    if (is_socket(path)) return "unix://" + path;
  for (const char* directory : kSpecs)
    for (const std::string& stem :
         {fmt::format("{}/{}", directory, name), fmt::format("{0}/{1}/{1}", directory, name)}) {
      Result<std::string> text = fs::read_file(stem + ".spec", kMaxSpec);
      if (text) {
        while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
        return text;
      }
      text = fs::read_file(stem + ".json", kMaxSpec);
      if (!text) continue;
      json::value spec = TRY(json::parse(*text).context("{}.json", stem));
      const json::object* members = spec.if_object();
      const json::value* address = members ? members->if_contains("Addr") : nullptr;
      if (!address || !address->is_string()) return invalid("{}.json: \"Addr\" is missing", stem);
      const json::value* tls = members->if_contains("TLSConfig");
      if (tls && !tls->is_null())
        return unsupported("{}.json: \"TLSConfig\": plugins are not asked over TLS by this engine",
                           stem);
      return std::string(address->get_string());
    }
  return std::string();
}

// What is left until then, in milliseconds; an error when it has passed.
Result<int> left_until(int64_t deadline) {
  int64_t left = (deadline - monotonic_ns()) / 1'000'000;
  if (left <= 0) return make_error(ErrorKind::unavailable, "no answer in time");
  return static_cast<int>(std::min<int64_t>(left, INT32_MAX));
}

Status wait_readable(int fd, int64_t deadline) {
  pollfd entry{fd, POLLIN, 0};
  int left = TRY(left_until(deadline));
  if (sys::retry([&] { return ::poll(&entry, 1, left); }) == 0)
    return make_error(ErrorKind::unavailable, "no answer in time");
  return {};
}

Result<std::string> ask(const std::string& address, std::string_view method,
                        const std::string& body, int64_t deadline, int& status) {
  http::Client client = TRY(http::Client::open(address));
  http::Request request;
  request.method = "POST";
  request.target = "/" + std::string(method);
  request.headers.add("Accept", kMediaType);
  request.headers.add("Content-Type", kMediaType);
  request.body = body;
  http::Call call = TRY(client.send(request));
  TRY(wait_readable(call.fd(), deadline));
  http::Response response = TRY(call.response());
  status = response.status();
  std::string out;
  std::array<char, 16 << 10> buffer;
  for (;;) {
    if (!response.readable()) TRY(wait_readable(response.fd(), deadline));
    size_t size = TRY(response.read_some(buffer));
    if (size == 0) return out;
    out.append(buffer.data(), size);
    if (out.size() > kMaxBody) return invalid("an answer of more than {} bytes", kMaxBody);
  }
}

}  // namespace

Result<Plugin> Plugin::find(const std::string& name, std::string_view subsystem) {
  if (!is_valid_name(name)) return invalid("plugin \"{}\": that cannot be a name", name);
  std::string address = TRY(plugin_address(name).context("plugin \"{}\"", name));
  if (address.empty()) return not_found("plugin \"{}\" not found", name);
  Plugin plugin(name, std::move(address));
  json::object about = TRY(plugin.call("Plugin.Activate", {}, kActivation));
  const json::value* implements = about.if_contains("Implements");
  if (implements && implements->is_array())
    for (const json::value& word : implements->get_array())
      if (word.is_string() && std::string_view(word.get_string()) == subsystem) return plugin;
  return invalid("plugin \"{}\" does not implement the requested driver", name);
}

Result<json::object> Plugin::call(std::string_view method, const json::object& input,
                                  std::chrono::milliseconds timeout) const {
  const int64_t deadline = monotonic_ns() + timeout.count() * 1'000'000;
  const std::string what = fmt::format("plugin \"{}\": {}", name_, method);
  int status = 0;
  const std::string body = json::serialize(input);
  std::string answer = TRY(ask(address_, method, body, deadline, status).context("{}", what));
  Result<json::value> parsed = json::parse(answer);
  json::object* members = parsed ? parsed->if_object() : nullptr;
  if (const json::value* error = members ? members->if_contains("Err") : nullptr;
      error && error->is_string() && !error->get_string().empty())
    return internal("{}: {}", method, std::string_view(error->get_string()));
  if (status != 200) return internal("{}: it answered {}", what, status);
  if (!members) return internal("{}: its answer is no JSON object", what);
  return std::move(*members);
}

std::vector<std::string> plugin_names() {
  std::set<std::string> names;
  auto look_in = [&](const std::string& directory, const std::vector<std::string>& endings) {
    Result<std::vector<std::string>> found = fs::list_directory(directory);
    if (!found) return;
    for (const std::string& entry : *found)
      for (const std::string& ending : endings) {
        if (entry.size() > ending.size() && entry.ends_with(ending))
          names.insert(entry.substr(0, entry.size() - ending.size()));
        if (fs::exists(fmt::format("{0}/{1}/{1}{2}", directory, entry, ending)))
          names.insert(entry);
      }
  };
  look_in(kSockets, {".sock"});
  for (const char* directory : kSpecs) look_in(directory, {".spec", ".json"});
  std::erase_if(names, [](const std::string& name) { return !is_valid_name(name); });
  return {names.begin(), names.end()};
}

}  // namespace gantry::daemon
