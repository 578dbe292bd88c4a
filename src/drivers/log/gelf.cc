// `gelf`: GELF 1.1 (https://go2docs.graylog.org/current/getting_in_log_data/gelf.html) over UDP,
// compressed and in chunks, or over TCP, ended by a NUL; fields as moby's daemon/logger/gelf has
// them.
#include <zlib.h>

#include <array>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "drivers/log/connection.h"
#include "drivers/log/options.h"

namespace gantry::drivers {
namespace {

constexpr std::array<std::string_view, 10> kOptions = {"gelf-address",
                                                       "gelf-compression-type",
                                                       "gelf-compression-level",
                                                       "gelf-tcp-max-reconnect",
                                                       "gelf-tcp-reconnect-delay",
                                                       "tag",
                                                       "labels",
                                                       "labels-regex",
                                                       "env",
                                                       "env-regex"};
constexpr size_t kBatch = 64 * 1024;
// A datagram, of which 12 bytes are the chunk's head (as graylog's Go library has it).
constexpr size_t kChunk = 1420, kChunkHead = 12, kMaxChunks = 128;
constexpr int kLevelError = 3, kLevelInfo = 6;  // syslog's

Result<LogAddress> address_of(const LogOptions& options) {
  const std::string text = log_option(options, "gelf-address");
  if (text.empty()) return invalid("gelf-address is a required parameter");
  LogAddress address = TRY(parse_log_address(text, "").context("gelf-address"));
  if (address.scheme != "udp" && address.scheme != "tcp")
    return invalid("gelf: endpoint needs to be TCP or UDP");
  return address;
}

enum class Compression { none, gzip, zlib };
Result<Compression> compression_of(const LogOptions& options) {
  const std::string text = log_option(options, "gelf-compression-type");
  if (text.empty() || text == "gzip") return Compression::gzip;
  if (text == "zlib") return Compression::zlib;
  if (text == "none") return Compression::none;
  return invalid("gelf: invalid compression type '{}' (gzip, zlib or none)", text);
}

class GelfSink final : public LogSink {
 public:
  LogAddress address;
  Compression compression = Compression::gzip;
  int level = Z_BEST_SPEED;
  json::object fields;  // of every message

  Status connect(int cancel) override {
    connection_.reset();
    batch_.clear();
    connection_ = TRY(LogConnection::open(address.scheme, address, nullptr, cancel));
    return {};
  }

  Status put(const shim::LogEntry& entry, int cancel) override {
    std::string_view text = text_of(entry);
    if (text.empty()) return {};  // which GELF does not allow, and Docker does not send
    if (!connection_) return make_error(ErrorKind::unavailable, "gelf: not connected");
    json::object message = fields;
    // What is no UTF-8 is not JSON either.
    message["short_message"] = valid_utf8(text);
    message["level"] = entry.stream == shim::Stream::err ? kLevelError : kLevelInfo;
    std::string body = json::serialize(message);
    // With three digits, which a double cannot promise.
    body.pop_back();
    body += fmt::format(",\"timestamp\":{}.{:03}}}", entry.time / 1'000'000'000,
                        entry.time / 1'000'000 % 1000);
    if (address.scheme == "udp") return failed(send_datagrams(TRY(compressed(body)), cancel));
    batch_ += body;
    batch_ += '\0';
    return batch_.size() < kBatch ? Status() : flush(cancel);
  }

  Status flush(int cancel) override {
    if (batch_.empty()) return {};
    if (!connection_ || connection_->stale())
      return failed(make_error(ErrorKind::unavailable, "gelf: the server closed the connection"));
    TRY(failed(connection_->send(batch_, cancel)));
    batch_.clear();
    return {};
  }

 private:
  static std::string valid_utf8(std::string_view text) {
    std::string escaped(6 * text.size(), '\0');
    escaped.resize(static_cast<size_t>(shim::escape_json(escaped.data(), text) - escaped.data()));
    Result<json::value> parsed = json::parse("\"" + escaped + "\"");
    return parsed && parsed->is_string() ? std::string(parsed->get_string()) : std::string();
  }

  Result<std::string> compressed(const std::string& body) const {
    if (compression == Compression::none) return body;
    z_stream stream = {};
    const int window = compression == Compression::gzip ? 15 + 16 : 15;
    if (::deflateInit2(&stream, level, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) != Z_OK)
      return internal("zlib did not start");
    std::string out(::deflateBound(&stream, body.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
    stream.avail_in = static_cast<uInt>(body.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    int ended = ::deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    ::deflateEnd(&stream);
    if (ended != Z_STREAM_END) return internal("zlib did not end");
    return out;
  }

  Status send_datagrams(const std::string& body, int cancel) {
    if (body.size() <= kChunk) return connection_->send(body, cancel);
    constexpr size_t kPart = kChunk - kChunkHead;
    const size_t count = (body.size() + kPart - 1) / kPart;
    if (count > kMaxChunks)  // where the format ends
      return invalid("gelf: a message of {} bytes is too large", body.size());
    const std::string id = random_hex(4);  // eight characters
    for (size_t i = 0; i < count; ++i) {
      std::string chunk = "\x1e\x0f" + id;
      chunk += static_cast<char>(i);
      chunk += static_cast<char>(count);
      chunk += body.substr(i * kPart, kPart);
      TRY(connection_->send(chunk, cancel));
    }
    return {};
  }

  Status failed(Status status) {
    if (!status && status.error().kind() != ErrorKind::invalid) {
      connection_.reset();
      batch_.clear();
    }
    return status;
  }

  std::optional<LogConnection> connection_;
  std::string batch_;
};

}  // namespace

Status check_gelf_options(const LogOptions& options) {
  TRY(check_option_names({"gelf", kOptions}, options));
  LogAddress address = TRY(address_of(options));
  TRY(compression_of(options));
  TRY(number_option(options, "gelf-compression-level", 1, -1, 9));
  TRY(number_option(options, "gelf-tcp-max-reconnect", 3, 0, 1'000'000));
  TRY(number_option(options, "gelf-tcp-reconnect-delay", 1, 0, 86'400));
  for (const auto& [key, value] : options) {
    if (address.scheme == "tcp" && key.starts_with("gelf-compression"))
      return invalid("compression is only supported on UDP");
    if (address.scheme == "udp" && key.starts_with("gelf-tcp"))
      return invalid("log opt '{}' is only for a gelf-address of the form tcp://", key);
  }
  return {};
}

SinkResult make_gelf_sink(const LogOptions& options, const LogSubject& subject) {
  auto sink = std::make_unique<GelfSink>();
  sink->address = TRY(address_of(options));
  sink->compression = TRY(compression_of(options));
  sink->level = static_cast<int>(TRY(number_option(options, "gelf-compression-level", 1, -1, 9)));
  json::object& fields = sink->fields;
  fields["version"] = "1.1";
  fields["host"] = host_name();
  fields["_container_id"] = subject.id;
  fields["_container_name"] = subject.name;
  fields["_image_id"] = subject.image_id;
  fields["_image_name"] = subject.image_name;
  fields["_command"] = subject.command;
  fields["_tag"] = TRY(log_tag(log_option(options, "tag"), subject));
  fields["_created"] = format_time(subject.created);
  for (const auto& [key, value] : subject.attributes)
    if (key != "id") fields["_" + key] = value;  // `_id` is not allowed
  return std::unique_ptr<LogSink>(std::move(sink));
}

}  // namespace gantry::drivers
