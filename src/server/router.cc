#include "server/router.h"

#include "base/log.h"
#include "daemon/daemon.h"

namespace gantry::server {
namespace {

bool is_name(std::string_view segment) {
  return segment.starts_with('{') && segment.ends_with('}');
}
bool is_rest(std::string_view segment) { return is_name(segment) && segment.ends_with("...}"); }

std::string join(std::span<const std::string_view> segments) {
  std::string out;
  for (std::string_view segment : segments) {
    if (!out.empty()) out += '/';
    out += segment;
  }
  return out;
}

// HEAD is answered like GET; the body is left out below.
bool same_method(std::string_view route, std::string_view asked) {
  return route == asked || (route == "GET" && asked == "HEAD");
}

}  // namespace

std::vector<std::string_view> path_segments(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    size_t end = std::min(path.find('/'), path.size());
    if (end > 0) out.push_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return out;
}

Router::Router(std::initializer_list<std::span<const Route>> tables, daemon::Daemon* daemon)
    : daemon_(daemon) {
  for (std::span<const Route> table : tables) {
    for (const Route& route : table) {
      Entry entry{&route, path_segments(route.pattern)};
      for (size_t i = 0; i < entry.segments.size(); ++i)
        if (is_rest(entry.segments[i])) entry.rest = i;
      entries_.push_back(std::move(entry));
    }
  }
}

bool Router::match(const Entry& entry, const std::vector<std::string_view>& path, Call& call) {
  bool open = entry.rest != static_cast<size_t>(-1);
  if (open ? path.size() < entry.segments.size() : path.size() != entry.segments.size())
    return false;
  size_t extra = path.size() - entry.segments.size();  // segments that {name...} takes beyond one
  for (size_t i = 0; i < entry.segments.size(); ++i) {
    std::string_view pattern = entry.segments[i];
    size_t at = open && i > entry.rest ? i + extra : i;
    if (!is_name(pattern) && pattern != path[at]) return false;
  }
  for (size_t i = 0; i < entry.segments.size(); ++i) {
    std::string_view pattern = entry.segments[i];
    if (!is_name(pattern)) continue;
    size_t at = open && i > entry.rest ? i + extra : i;
    size_t count = i == entry.rest ? extra + 1 : 1;
    std::string_view key = pattern.substr(1, pattern.size() - (i == entry.rest ? 5 : 2));
    call.names[std::string(key)] = join(std::span(path).subspan(at, count));
  }
  return true;
}

const Route* Router::find(Call& call) const {
  std::vector<std::string_view> path = path_segments(call.path);
  for (const Entry& entry : entries_)
    if (same_method(entry.route->method, call.x.method()) && match(entry, path, call))
      return entry.route;
  return nullptr;
}

Status Router::wait_until_ready(Call& call) const {
  if (daemon_ == nullptr || daemon_->ready()) return {};
  daemon_->on_ready(call.x.waker());
  while (!daemon_->ready()) {
    http::Wake wake = call.x.wait();
    if (wake != http::Wake::notified) return gone_error(wake);
  }
  return {};
}

void Router::handle(http::Exchange& exchange) const {
  Call call(exchange, daemon_);
  VersionedPath versioned = split_version(exchange.path());
  call.version = versioned.version;
  call.path = std::move(versioned.path);
  // Docker answers a known path with another method like an unknown one.
  const Route* route = find(call);
  Status status =
      route == nullptr ? Status(not_found("page not found")) : check_version(call.version);
  if (status && route->answered == Route::Answered::when_ready) status = wait_until_ready(call);
  if (status) status = route->handler(call);
  if (status || exchange.started()) return;
  if (status.error().kind() == ErrorKind::internal)
    log::error("{} {}: {}", exchange.method(), exchange.path(), status.error().message());
  else
    log::debug("{} {}: {}", exchange.method(), exchange.path(), status.error().message());
  (void)call.send_error(status.error());
}

}  // namespace gantry::server
