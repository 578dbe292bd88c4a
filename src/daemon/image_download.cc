#include "daemon/image_download.h"

#include <algorithm>

#include "base/clock.h"

namespace gantry::daemon {
namespace {

constexpr int64_t kBetween = 100'000'000;  // ns between two lines of progress
constexpr size_t kErrorLimit = 4u << 10;   // of the body of an answer that is no success

ErrorKind kind_of_status(int status) {
  if (status == 401 || status == 403) return ErrorKind::permission;
  if (status == 404) return ErrorKind::not_found;
  if (status >= 400 && status < 500) return ErrorKind::invalid;
  return ErrorKind::internal;  // Docker's 500: it is not this daemon that is overloaded
}

// The body of a refusal when it is a line of text, and no page.
std::string reason_in(http::Agent::Response& response) {
  Result<std::string> body = response.read_all(kErrorLimit);
  if (!body) return {};
  std::string text = *body;
  while (text.ends_with('\n') || text.ends_with('\r') || text.ends_with(' ')) text.pop_back();
  const bool plain =
      std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
  return !plain || text.empty() || text.front() == '<' ? "" : ": " + text;
}

}  // namespace

std::unique_ptr<http::Agent> download_agent() {
  http::AgentOptions options;
  options.user_agent = "docker/28.3 gantry/" GANTRY_VERSION;
  options.proxies = http::Proxies::from_environment();
  options.kept_connections = 0;
  return std::make_unique<http::Agent>(std::move(options));
}

Result<std::unique_ptr<ImageDownload>> ImageDownload::create(http::Agent& agent,
                                                             const std::string& source,
                                                             int64_t limit, int cancel_fd) {
  const bool whole = source.find("://") != std::string::npos;
  http::Url url = TRY(http::Url::parse(whole ? source : "http://" + source));
  if (!url.user_password.empty())
    return invalid("{}: a URL with a name and a password is not fetched", url.text());
  return std::unique_ptr<ImageDownload>(new ImageDownload(agent, std::move(url), limit, cancel_fd));
}

Status ImageDownload::open() {
  http::Agent::Request request;
  request.url = url_;
  http::Agent::Response response = TRY(agent_.send(request, cancel_fd_));
  if (response.status != 200) {
    const std::string reason = reason_in(response);
    return Error(kind_of_status(response.status),
                 fmt::format("failed to GET {} with status {} {}{}", url_.text(), response.status,
                             http::reason(response.status), reason));
  }
  if (response.content_length) {
    if (*response.content_length > static_cast<uint64_t>(limit_))
      return invalid("{}: it says that it has {} bytes: more than {} are refused", url_.text(),
                     *response.content_length, limit_);
    total_ = static_cast<int64_t>(*response.content_length);
  }
  response_.emplace(std::move(response));
  read_ = 0;
  return {};
}

Result<size_t> ImageDownload::read(std::span<char> into) {
  if (!response_) TRY(open());
  const size_t got = TRY(response_->read_some(into));
  read_ += static_cast<int64_t>(got);
  if (read_ > limit_) return invalid("{}: it has more than {} bytes: refused", url_.text(), limit_);
  return got;
}

std::optional<json::object> ImageDownload::progress() {
  const int64_t read = read_;
  if (read < 0) return std::nullopt;
  if (!told_of_answer_) {
    told_of_answer_ = true;
    return json::object{{"status", "Downloading from " + url_.text()}};
  }
  const int64_t now = monotonic_ns();
  if (read == told_ || (now - told_at_ns_ < kBetween && read != total_)) return std::nullopt;
  told_ = read;
  told_at_ns_ = now;
  json::object detail{{"current", read}};
  if (total_ >= 0) detail["total"] = total_.load();
  return json::object{{"status", "Importing"}, {"progressDetail", std::move(detail)}};
}

}  // namespace gantry::daemon
