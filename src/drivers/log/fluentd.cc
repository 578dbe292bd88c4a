// `fluentd`: the Forward protocol, message mode
// (https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1), records as moby's
// daemon/logger/fluentd has them, in MessagePack
// (https://github.com/msgpack/msgpack/blob/master/spec.md).
#include <algorithm>
#include <array>

#include "base/clock.h"
#include "base/id.h"
#include "base/units.h"
#include "drivers/log/connection.h"
#include "drivers/log/options.h"

namespace gantry::drivers {
namespace {

constexpr std::array<std::string_view, 16> kOptions = {"fluentd-address",
                                                       "fluentd-async",
                                                       "fluentd-async-connect",
                                                       "fluentd-async-reconnect-interval",
                                                       "fluentd-buffer-limit",
                                                       "fluentd-max-retries",
                                                       "fluentd-request-ack",
                                                       "fluentd-retry-wait",
                                                       "fluentd-sub-second-precision",
                                                       "fluentd-write-timeout",
                                                       "fluentd-read-timeout",
                                                       "tag",
                                                       "labels",
                                                       "labels-regex",
                                                       "env",
                                                       "env-regex"};
constexpr size_t kBatch = 64 * 1024;
constexpr int64_t kLeastInterval = 100, kMostInterval = 10'000;  // ms, as Docker has it

// ---- MessagePack

void pack_size(std::string& out, uint64_t size, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out += static_cast<char>(size >> shift);
}
void pack_text(std::string& out, std::string_view text) {
  if (text.size() < 32) {
    out += static_cast<char>(0xa0 | text.size());
  } else if (text.size() < 0x100) {
    out += '\xd9';
    pack_size(out, text.size(), 1);
  } else if (text.size() < 0x10000) {
    out += '\xda';
    pack_size(out, text.size(), 2);
  } else {
    out += '\xdb';
    pack_size(out, text.size(), 4);
  }
  out += text;
}
void pack_map(std::string& out, size_t size) {
  if (size < 16) {
    out += static_cast<char>(0x80 | size);
  } else {
    out += '\xde';
    pack_size(out, size, 2);
  }
}

// The server's {"ack": "…"}: whether it is all there, and what it acknowledges. A map of one text.
Result<std::optional<std::string>> parse_ack(std::string_view text) {
  using Ack = std::optional<std::string>;
  auto take_text = [&]() -> Result<Ack> {
    if (text.empty()) return Ack();
    auto head = static_cast<unsigned char>(text[0]);
    size_t size = 0, used = 1;
    if (head >= 0xa0 && head < 0xc0) {
      size = head & 0x1f;
    } else if (head == 0xd9) {
      if (text.size() < 2) return Ack();
      size = static_cast<unsigned char>(text[1]);
      used = 2;
    } else {
      return invalid("fluentd: the server's answer is no acknowledgement");
    }
    if (text.size() < used + size) return Ack();
    Ack out = std::string(text.substr(used, size));
    text.remove_prefix(used + size);
    return out;
  };
  if (text.empty()) return Ack();
  if (text[0] != '\x81') return invalid("fluentd: the server's answer is no acknowledgement");
  text.remove_prefix(1);
  Ack key = TRY(take_text());
  if (!key) return Ack();
  if (*key != "ack") return invalid("fluentd: the server's answer is no acknowledgement");
  return take_text();
}

// ---- Options

Result<LogAddress> address_of(const LogOptions& options) {
  std::string text = log_option(options, "fluentd-address");
  if (text.empty()) return LogAddress{"tcp", "127.0.0.1", "24224", ""};
  if (text.find("://") == std::string::npos) text = "tcp://" + text;
  LogAddress address =
      TRY(parse_log_address(text, "24224").context("invalid fluentd-address ({})", text));
  if (address.scheme != "tcp" && address.scheme != "tls" && address.scheme != "unix")
    return invalid("unsupported scheme in fluentd-address ({}): tcp, tls or unix", text);
  return address;
}

class FluentdSink final : public LogSink {
 public:
  LogAddress address;
  std::shared_ptr<const http::TlsContext> tls;
  bool acknowledged = false, sub_seconds = false;
  int write_timeout_ms = kLogTimeoutMs, read_timeout_ms = kLogTimeoutMs;
  int64_t reconnect_ms = 0;  // 0: never while it works
  std::string tag;
  std::map<std::string, std::string> record;  // of every entry

  Status connect(int cancel) override {
    connection_.reset();
    batch_.clear();
    chunks_.clear();
    answers_.clear();
    connection_ = TRY(LogConnection::open(address.scheme == "unix" ? "unix" : "tcp", address, tls,
                                          cancel, write_timeout_ms));
    connected_at_ = monotonic_ns();
    return {};
  }

  Status put(const shim::LogEntry& entry, int cancel) override {
    std::map<std::string, std::string> fields = record;
    fields["source"] = to_string(entry.stream);
    fields["log"] = text_of(entry);
    if (entry.partial) {
      fields["partial_message"] = "true";
      fields["partial_id"] = entry.partial->id;
      fields["partial_ordinal"] = std::to_string(entry.partial->ordinal);
      fields["partial_last"] = entry.partial->last ? "true" : "false";
    }
    const auto seconds = static_cast<uint64_t>(entry.time / 1'000'000'000);
    batch_ += acknowledged ? '\x94' : '\x93';  // an array of [tag, time, record(, option)]
    pack_text(batch_, tag);
    if (sub_seconds) {  // EventTime: an extension of 8 bytes, type 0
      batch_ += '\xd7';
      batch_ += '\0';
      pack_size(batch_, seconds, 4);
      pack_size(batch_, static_cast<uint64_t>(entry.time % 1'000'000'000), 4);
    } else {
      batch_ += '\xd3';
      pack_size(batch_, seconds, 8);
    }
    pack_map(batch_, fields.size());
    for (const auto& [key, value] : fields) {
      pack_text(batch_, key);
      pack_text(batch_, value);
    }
    if (acknowledged) {
      chunks_.push_back(random_hex(16));
      pack_map(batch_, 1);
      pack_text(batch_, "chunk");
      pack_text(batch_, chunks_.back());
    }
    return batch_.size() < kBatch ? Status() : flush(cancel);
  }

  Status flush(int cancel) override {
    if (batch_.empty()) return {};
    if (!connection_ || connection_->stale())
      return failed(
          make_error(ErrorKind::unavailable, "fluentd: the server closed the connection"));
    TRY(failed(connection_->send(batch_, cancel, write_timeout_ms)));
    if (acknowledged) TRY(failed(read_answers(cancel)));
    batch_.clear();
    // So that a name that leads elsewhere by now is followed.
    if (reconnect_ms > 0 && monotonic_ns() - connected_at_ > reconnect_ms * 1'000'000)
      return connect(cancel);
    return {};
  }

 private:
  Status read_answers(int cancel) {
    while (!chunks_.empty()) {
      std::optional<std::string> ack = TRY(parse_ack(answers_));
      if (ack) {
        auto found = std::find(chunks_.begin(), chunks_.end(), *ack);
        if (found == chunks_.end())
          return make_error(ErrorKind::unavailable, "fluentd: an acknowledgement of nothing");
        chunks_.erase(found);
        answers_.erase(0, 1 + 4 + (ack->size() < 32 ? 1 : 2) + ack->size());
        continue;
      }
      char bytes[4096];
      size_t got = TRY(connection_->receive(bytes, sizeof bytes, cancel, read_timeout_ms));
      answers_.append(bytes, got);
    }
    return {};
  }

  Status failed(Status status) {
    if (!status) connection_.reset();
    return status;
  }

  std::optional<LogConnection> connection_;
  int64_t connected_at_ = 0;
  std::string batch_, answers_;
  std::vector<std::string> chunks_;  // sent and not acknowledged
};

}  // namespace

Status check_fluentd_options(const LogOptions& options) {
  TRY(check_option_names({"fluentd", kOptions}, options));
  TRY(address_of(options));
  for (const char* key : {"fluentd-async", "fluentd-async-connect", "fluentd-request-ack",
                          "fluentd-sub-second-precision"})
    TRY(flag_option(options, key, false));
  if (options.contains("fluentd-async") && options.contains("fluentd-async-connect"))
    return invalid(
        "conflicting options: cannot specify both 'fluentd-async' and "
        "'fluentd-async-connect'");
  for (const char* key : {"fluentd-retry-wait", "fluentd-write-timeout", "fluentd-read-timeout"})
    TRY(duration_option(options, key, 0));
  TRY(number_option(options, "fluentd-max-retries", 0, 0, INT32_MAX));
  if (const std::string limit = log_option(options, "fluentd-buffer-limit"); !limit.empty())
    TRY(parse_ram_size(limit).context("invalid value for log opt 'fluentd-buffer-limit'"));
  const int64_t interval = TRY(duration_option(options, "fluentd-async-reconnect-interval", 0));
  if (interval != 0 && (interval < kLeastInterval || interval > kMostInterval))
    return invalid(
        "invalid value for fluentd-async-reconnect-interval: value ({}) must be between "
        "100ms and 10s",
        log_option(options, "fluentd-async-reconnect-interval"));
  return {};
}

SinkResult make_fluentd_sink(const LogOptions& options, const LogSubject& subject) {
  auto sink = std::make_unique<FluentdSink>();
  sink->address = TRY(address_of(options));
  if (sink->address.scheme == "tls") sink->tls = TRY(http::TlsContext::client({}));
  sink->acknowledged = TRY(flag_option(options, "fluentd-request-ack", false));
  sink->sub_seconds = TRY(flag_option(options, "fluentd-sub-second-precision", false));
  sink->write_timeout_ms =
      static_cast<int>(TRY(duration_option(options, "fluentd-write-timeout", kLogTimeoutMs)));
  sink->read_timeout_ms =
      static_cast<int>(TRY(duration_option(options, "fluentd-read-timeout", kLogTimeoutMs)));
  sink->reconnect_ms = TRY(duration_option(options, "fluentd-async-reconnect-interval", 0));
  sink->tag = TRY(log_tag(log_option(options, "tag"), subject));
  sink->record = subject.attributes;
  sink->record["container_id"] = subject.id;
  sink->record["container_name"] = "/" + subject.name;
  return std::unique_ptr<LogSink>(std::move(sink));
}

}  // namespace gantry::drivers
