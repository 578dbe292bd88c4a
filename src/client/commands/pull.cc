#include "client/commands/pull.h"

#include <map>

#include "base/sys.h"
#include "base/units.h"
#include "client/commands/commands.h"
#include "client/commands/credentials.h"
#include "client/io/terminal.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

constexpr size_t kMaxMessage = 1u << 20;

// "[====>      ]  1.2MB/3.4MB"
std::string bar(const json::object& detail, int width) {
  const json::value wrapper(detail);
  const int64_t current = number_of(wrapper, "current"), total = number_of(wrapper, "total");
  if (total <= 0) return current > 0 ? human_size(static_cast<double>(current)) : "";
  std::string out;
  if (width > 110) {
    const int filled = static_cast<int>(std::min<int64_t>(50, current * 50 / total));
    out = "[" + std::string(static_cast<size_t>(filled), '=') + ">" +
          std::string(static_cast<size_t>(50 - filled), ' ') + "]  ";
  }
  return out + fmt::format("{:>8}/{}", human_size(static_cast<double>(current)),
                           human_size(static_cast<double>(total)));
}

class MessagePrinter {
 public:
  MessagePrinter(int fd, Progress progress)
      : fd_(fd),
        silent_(progress == Progress::silent),
        live_(!silent_ && is_terminal(fd)),
        width_(live_ ? std::max<int>(window_size(fd).columns, 20) : 0) {}

  Status take(const json::value& message) {
    if (const json::object& error = object_of(message, "errorDetail"); !error.empty())
      return invalid("{}", text_of(error, "message"));
    if (std::string error = text_of(message, "error"); !error.empty()) return invalid("{}", error);
    if (silent_) return {};
    if (std::string stream = text_of(message, "stream"); !stream.empty()) return write(stream);
    const std::string id = text_of(message, "id"), status = text_of(message, "status");
    if (status.empty()) return {};
    const json::object& detail = object_of(message, "progressDetail");
    std::string progress = detail.empty() ? "" : bar(detail, width_);
    if (!live_) {
      if (!progress.empty()) return {};  // only milestones in a log
      return write(id.empty() ? status + "\n" : fmt::format("{}: {}\n", id, status));
    }
    std::string line = id.empty() ? status : fmt::format("{}: {} {}", id, status, progress);
    if (id.empty()) {
      lines_.clear();
      return write(line + "\n");
    }
    return update(id, line);
  }

 private:
  Status write(std::string_view text) {
    flush_out();
    return sys::write_all(fd_, text);
  }
  // Rewrites the line of this id, so many lines above the cursor.
  Status update(const std::string& id, const std::string& line) {
    auto [entry, fresh] = lines_.try_emplace(id, lines_.size());
    std::string shown = line.substr(0, static_cast<size_t>(width_ - 1));
    if (fresh) return write(shown + "\n");
    size_t up = lines_.size() - entry->second;
    return write(fmt::format("\x1b[{}A\x1b[2K\r{}\r\x1b[{}B", up, shown, up));
  }

  int fd_;
  bool silent_;
  bool live_;
  int width_;
  std::map<std::string, size_t> lines_;
};

}  // namespace

std::string registry_auth(Cli& cli, std::string_view reference) {
  const ImageName name = split_image(reference);
  size_t slash = name.repository.find('/');
  std::string registry = slash == std::string::npos ? "" : name.repository.substr(0, slash);
  if (registry.find_first_of(".:") == std::string::npos && registry != "localhost")
    registry = kIndexServer;
  registry = registry_key(registry);
  Result<Credentials> credentials = load_credentials(cli, registry);
  if (!credentials) {  // as Docker: what cannot be had is told, and the registry asked without
    print_error("WARNING: " + credentials.error().message());
    return "";
  }
  return credentials->header();
}

Status show_messages(http::Response& response, int fd, Progress progress) {
  MessagePrinter printer(fd, progress);
  std::string pending;
  char buffer[16384];
  while (true) {
    size_t got = TRY(response.read_some(buffer));
    pending.append(buffer, got);
    size_t start = 0;
    for (size_t end; (end = pending.find('\n', start)) != pending.npos; start = end + 1) {
      std::string_view line = std::string_view(pending).substr(start, end - start);
      if (line.find_first_not_of(" \r\t") == line.npos) continue;
      json::value message = TRY(json::parse(line).context("the daemon's progress"));
      TRY(printer.take(message));
    }
    pending.erase(0, start);
    if (pending.size() > kMaxMessage)
      return internal("the daemon sent a message over {} bytes", kMaxMessage);
    if (got == 0) break;
  }
  if (pending.find_first_not_of(" \r\n\t") == pending.npos) return {};
  json::value message = TRY(json::parse(pending).context("the daemon's progress"));
  return printer.take(message);
}

Status pull_image(Cli& cli, const std::string& reference, const PullOptions& options, Tags tags) {
  Api* api = TRY(cli.api());
  ImageName name = split_image(reference);
  Path path("/images/create");
  path.add("fromImage", name.repository);
  if (!name.digest.empty())
    path.add("tag", name.digest);
  else if (tags == Tags::one)
    path.add("tag", name.tag.empty() ? "latest" : name.tag);
  path.add_if("platform", options.platform);
  http::Headers headers;
  if (std::string auth = registry_auth(cli, reference); !auth.empty())
    headers.add("X-Registry-Auth", auth);
  http::Response response = TRY(api->stream("POST", path, std::move(headers)));
  return show_messages(response, options.fd, options.progress);
}

}  // namespace gantry::client
