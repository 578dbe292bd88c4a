#include "registry_server/access_log.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"

namespace gantry::registry_server {
namespace {

// What a client sent cannot end a line or a field, nor steer a terminal.
std::string clean(std::string_view text, size_t limit = 512) {
  std::string out;
  for (char c : text.substr(0, limit)) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x21 || byte > 0x7e || c == '"' || c == '\\')
      out += fmt::format("\\x{:02x}", byte);
    else
      out += c;
  }
  return out.empty() ? "-" : out;
}

}  // namespace

Result<std::unique_ptr<AccessLog>> AccessLog::open(const std::string& where) {
  std::unique_ptr<AccessLog> log(new AccessLog);
  TRY(log->reopen(where));
  return log;
}

Status AccessLog::reopen(const std::string& where) {
  UniqueFd file;
  if (where != "stderr" && where != "off")
    file = TRY(
        sys::open(where, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0640).context("access log"));
  std::lock_guard lock(mutex_);
  where_ = where;
  file_ = std::move(file);
  return {};
}

void AccessLog::write(const AccessRecord& record) {
  std::lock_guard lock(mutex_);
  if (where_ == "off") return;
  std::string line = fmt::format("{} {} \"{} {}\" {} {} {} {:.3f}ms {}", clean(record.address),
                                 clean(record.user, 128), clean(record.method, 16),
                                 clean(record.target), record.status, record.received, record.sent,
                                 record.seconds * 1e3, clean(record.agent, 128));
  if (where_ == "stderr") return log::info("{}", line);
  line = format_time(now_ns()) + " " + line + "\n";
  (void)sys::retry([&] { return ::write(file_.get(), line.data(), line.size()); });
}

}  // namespace gantry::registry_server
