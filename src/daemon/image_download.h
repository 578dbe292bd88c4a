// What `import` of a URL reads: by the daemon, as Docker's does it.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "base/byte_source.h"
#include "base/json.h"
#include "http/agent.h"

namespace gantry::daemon {

// The agent for URLs that users name: the machine's roots, proxies of the environment, ten
// redirects, and none from https to http.
std::unique_ptr<http::Agent> download_agent();

// The URL is asked for by the first read, so that nothing is fetched for an import that is refused
// by its other arguments. One reader; progress() is another thread's.
class ImageDownload final : public ByteSource {
 public:
  // `agent` outlives it; `cancel_fd` readable ends every read. A body that is announced to be
  // longer than `limit` bytes is not begun, another ends there. `source` gets "http://" when it has
  // no scheme. Errors: invalid for a URL that is none.
  static Result<std::unique_ptr<ImageDownload>> create(http::Agent& agent,
                                                       const std::string& source, int64_t limit,
                                                       int cancel_fd);

  // Errors: invalid for what the limit refuses, the status' kind for an answer that is no success,
  // else the agent's.
  Result<size_t> read(std::span<char> into) override;

  // A line as Docker's stream has it, when there is news to tell.
  std::optional<json::object> progress();

 private:
  ImageDownload(http::Agent& agent, http::Url url, int64_t limit, int cancel_fd)
      : agent_(agent), url_(std::move(url)), limit_(limit), cancel_fd_(cancel_fd) {}
  Status open();

  http::Agent& agent_;
  const http::Url url_;
  const int64_t limit_;
  const int cancel_fd_;
  std::optional<http::Agent::Response> response_;
  std::atomic<int64_t> total_{-1};  // as announced; -1: it was not
  std::atomic<int64_t> read_{-1};   // -1: not answered
  bool told_of_answer_ = false;
  int64_t told_ = 0;
  int64_t told_at_ns_ = 0;
};

}  // namespace gantry::daemon
