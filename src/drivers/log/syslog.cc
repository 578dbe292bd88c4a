// `syslog`: the forms of moby's daemon/logger/syslog and of the library that it uses
// (github.com/RackSec/srslog formatter.go, framer.go): RFC 3164, RFC 5424, and the local daemon's.
#include <time.h>
#include <unistd.h>

#include <array>

#include "base/fs.h"
#include "drivers/log/connection.h"
#include "drivers/log/options.h"

namespace gantry::drivers {
namespace {

constexpr std::array<std::string_view, 12> kOptions = {"syslog-address",
                                                       "syslog-facility",
                                                       "syslog-format",
                                                       "syslog-tls-ca-cert",
                                                       "syslog-tls-cert",
                                                       "syslog-tls-key",
                                                       "syslog-tls-skip-verify",
                                                       "tag",
                                                       "labels",
                                                       "labels-regex",
                                                       "env",
                                                       "env-regex"};
// RFC 5424, 6.2.1, by the names of syslog.conf(5).
constexpr std::array<std::string_view, 24> kFacilities = {
    "kern",   "user",   "mail",     "daemon", "auth",   "syslog", "lpr",    "news",
    "uucp",   "cron",   "authpriv", "ftp",    "",       "",       "",       "",
    "local0", "local1", "local2",   "local3", "local4", "local5", "local6", "local7"};
constexpr int kDaemonFacility = 3, kSeverityError = 3, kSeverityInfo = 6;
constexpr std::array<const char*, 3> kLocalSockets = {"/dev/log", "/var/run/syslog",
                                                      "/var/run/log"};
constexpr size_t kBatch = 64 * 1024;

enum class Form { local, rfc3164, rfc5424, rfc5424_micro };

Result<int> facility_of(const LogOptions& options) {
  const std::string text = log_option(options, "syslog-facility");
  if (text.empty()) return kDaemonFacility;
  for (size_t i = 0; i < kFacilities.size(); ++i)
    if (text == kFacilities[i] || text == std::to_string(i)) return static_cast<int>(i);
  return invalid("invalid syslog facility: '{}'", text);
}

Result<Form> form_of(const LogOptions& options) {
  const std::string text = log_option(options, "syslog-format");
  if (text.empty()) return Form::local;
  if (text == "rfc3164") return Form::rfc3164;
  if (text == "rfc5424") return Form::rfc5424;
  if (text == "rfc5424micro") return Form::rfc5424_micro;
  return invalid("Invalid syslog format: '{}' (rfc3164, rfc5424 or rfc5424micro)", text);
}

// Scheme "": the machine's own daemon.
Result<LogAddress> address_of(const LogOptions& options) {
  const std::string text = log_option(options, "syslog-address");
  if (text.empty()) return LogAddress{};
  LogAddress address = TRY(parse_log_address(text, "514").context("syslog-address"));
  for (std::string_view known : {"tcp", "udp", "tcp+tls", "unix", "unixgram"})
    if (address.scheme == known) return address;
  return invalid("unsupported scheme: '{}'", address.scheme);
}

Result<std::shared_ptr<const http::TlsContext>> tls_of(const LogOptions& options) {
  http::TlsClientOptions tls;
  tls.verify = !TRY(flag_option(options, "syslog-tls-skip-verify", false));
  if (const std::string ca = log_option(options, "syslog-tls-ca-cert"); !ca.empty()) {
    tls.ca_files = {ca};
    tls.system_roots = false;
  }
  const std::string certificate = log_option(options, "syslog-tls-cert");
  const std::string key = log_option(options, "syslog-tls-key");
  if (certificate.empty() != key.empty())
    return invalid("syslog-tls-cert and syslog-tls-key go together: give both or none");
  if (!certificate.empty()) tls.identities = {{certificate, key}};
  return http::TlsContext::client(tls);
}

std::string time_text(Form form, int64_t ns) {
  const time_t seconds = ns / 1'000'000'000;
  tm local = {};
  ::localtime_r(&seconds, &local);
  char text[64];
  if (form == Form::local || form == Form::rfc3164) {
    (void)::strftime(text, sizeof text, "%b %e %H:%M:%S", &local);
    return text;
  }
  (void)::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &local);
  std::string out = text;
  if (form == Form::rfc5424_micro) out += fmt::format(".{:06}", ns % 1'000'000'000 / 1000);
  long offset = local.tm_gmtoff / 60;
  if (offset == 0) return out + "Z";
  return out + fmt::format("{}{:02}:{:02}", offset < 0 ? '-' : '+', std::abs(offset) / 60,
                           std::abs(offset) % 60);
}

class SyslogSink final : public LogSink {
 public:
  LogAddress address;
  std::shared_ptr<const http::TlsContext> tls;
  int facility = kDaemonFacility;
  Form form = Form::local;
  std::string tag, host;

  Status connect(int cancel) override {
    batch_.clear();
    connection_.reset();
    if (address.scheme.empty()) return connect_locally(cancel);
    const std::string transport = address.scheme == "tcp+tls" ? "tcp" : address.scheme;
    connection_ = TRY(LogConnection::open(transport, address, tls, cancel));
    return {};
  }

  Status put(const shim::LogEntry& entry, int cancel) override {
    std::string_view text = text_of(entry);
    if (text.empty()) return {};  // as Docker does
    std::string message = format(entry, text);
    if (!connection_) return make_error(ErrorKind::unavailable, "syslog: not connected");
    if (connection_->datagrams()) return failed(connection_->send(message, cancel));
    // A message of RFC 5425 says its length; otherwise a line is a message.
    if (tls && (form == Form::rfc5424 || form == Form::rfc5424_micro))
      batch_ += fmt::format("{} ", message.size());
    batch_ += message;
    return batch_.size() < kBatch ? Status() : flush(cancel);
  }

  Status flush(int cancel) override {
    if (batch_.empty()) return {};
    if (!connection_) return make_error(ErrorKind::unavailable, "syslog: not connected");
    // A stream whose other end has gone takes a first write without a word.
    if (connection_->stale())
      return failed(make_error(ErrorKind::unavailable, "syslog: the server closed the connection"));
    TRY(failed(connection_->send(batch_, cancel)));
    batch_.clear();
    return {};
  }

 private:
  Status connect_locally(int cancel) {
    for (const char* transport : {"unixgram", "unix"})
      for (const char* path : kLocalSockets) {
        LogAddress local{transport, "", "", path};
        Result<LogConnection> made = LogConnection::open(transport, local, nullptr, cancel);
        if (!made) continue;
        connection_ = std::move(*made);
        return {};
      }
    return make_error(ErrorKind::unavailable, "Unix syslog delivery error");  // srslog's words
  }

  Status failed(Status status) {
    if (!status) {
      connection_.reset();
      batch_.clear();
    }
    return status;
  }

  std::string format(const shim::LogEntry& entry, std::string_view text) const {
    const int priority =
        facility * 8 + (entry.stream == shim::Stream::err ? kSeverityError : kSeverityInfo);
    const std::string time = time_text(form, entry.time);
    const int pid = ::getpid();
    switch (form) {
      case Form::local:
        return fmt::format("<{}>{} {}[{}]: {}\n", priority, time, tag, pid, text);
      case Form::rfc3164:
        return fmt::format("<{}>{} {} {}[{}]: {}\n", priority, time, host, tag, pid, text);
      case Form::rfc5424:
      case Form::rfc5424_micro:
        break;
    }
    return fmt::format("<{}>1 {} {} {} {} {} - {}\n", priority, time, host, tag, pid, tag, text);
  }

  std::optional<LogConnection> connection_;
  std::string batch_;
};

}  // namespace

Status check_syslog_options(const LogOptions& options) {
  TRY(check_option_names({"syslog", kOptions}, options));
  LogAddress address = TRY(address_of(options));
  if (!address.path.empty() && !fs::exists(address.path))
    return invalid("stat {}: no such file or directory", address.path);
  TRY(facility_of(options));
  TRY(form_of(options));
  if (address.scheme == "tcp+tls") {
    TRY(tls_of(options));
    return {};
  }
  for (const auto& [key, value] : options)
    if (key.starts_with("syslog-tls-"))
      return invalid("log opt '{}' is only for a syslog-address of the form tcp+tls://", key);
  return {};
}

SinkResult make_syslog_sink(const LogOptions& options, const LogSubject& subject) {
  auto sink = std::make_unique<SyslogSink>();
  sink->address = TRY(address_of(options));
  if (sink->address.scheme == "tcp+tls") sink->tls = TRY(tls_of(options));
  sink->facility = TRY(facility_of(options));
  sink->form = TRY(form_of(options));
  sink->tag = TRY(log_tag(log_option(options, "tag"), subject));
  sink->host = host_name();
  return std::unique_ptr<LogSink>(std::move(sink));
}

}  // namespace gantry::drivers
