// `journald`: the journal's native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL), with the
// fields of moby's daemon/logger/journald.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "drivers/log/connection.h"
#include "drivers/log/options.h"

namespace gantry::drivers {
namespace {

constexpr const char* kSocket = "/run/systemd/journal/socket";
constexpr std::array<std::string_view, 5> kOptions = {"tag", "labels", "labels-regex", "env",
                                                      "env-regex"};

void add(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  if (value.find('\n') == std::string_view::npos) {
    out += '=';
  } else {
    out += '\n';
    uint64_t size = value.size();
    for (int i = 0; i < 8; ++i, size >>= 8) out += static_cast<char>(size);
  }
  out += value;
  out += '\n';
}

// Upper case, digits and underscores, and no digit or underscore first: the journal drops what is
// named otherwise.
std::string field_name(std::string_view key) {
  std::string name;
  for (char c : key) {
    bool lower = c >= 'a' && c <= 'z';
    bool plain = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    name += lower ? static_cast<char>(c - 'a' + 'A') : plain ? c : '_';
  }
  size_t first = name.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
  return first == std::string::npos ? "" : name.substr(first, 64);
}

class JournaldSink final : public LogSink {
 public:
  std::string fields;  // of every entry

  Status connect(int cancel) override {
    connection_.reset();
    connection_ =
        TRY(LogConnection::open("unixgram", {"unixgram", "", "", kSocket}, nullptr, cancel)
                .context("journald is not enabled on this host"));
    return {};
  }

  Status put(const shim::LogEntry& entry, int cancel) override {
    if (!connection_) return make_error(ErrorKind::unavailable, "journald: not connected");
    std::string message = fields;
    add(message, "PRIORITY", entry.stream == shim::Stream::err ? "3" : "6");
    add(message, "SYSLOG_TIMESTAMP", format_time(entry.time));
    add(message, "CONTAINER_LOG_ORDINAL", std::to_string(entry.number));
    if (entry.partial) {
      if (!entry.partial->last) add(message, "CONTAINER_PARTIAL_MESSAGE", "true");
      add(message, "CONTAINER_PARTIAL_ID", entry.partial->id);
      add(message, "CONTAINER_PARTIAL_ORDINAL", std::to_string(entry.partial->ordinal));
      add(message, "CONTAINER_PARTIAL_LAST", entry.partial->last ? "true" : "false");
    }
    add(message, "MESSAGE", text_of(entry));
    Status sent = connection_->send(message, cancel);
    if (!sent && (sent.error().code() == EMSGSIZE || sent.error().code() == ENOBUFS))
      sent = send_as_file(message);
    if (!sent) connection_.reset();
    return sent;
  }

  Status flush(int) override { return {}; }

 private:
  // What is too large for a datagram goes as a sealed file.
  Status send_as_file(const std::string& message) {
    UniqueFd file = TRY(sys::memfd_create("journal-entry", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    TRY(sys::write_all(file.get(), message));
    constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    if (::fcntl(file.get(), F_ADD_SEALS, kSeals) == -1) return error_from_errno(errno, "seal");
    msghdr header = {};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* head = CMSG_FIRSTHDR(&header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    *reinterpret_cast<int*>(CMSG_DATA(head)) = file.get();
    if (sys::retry([&] { return ::sendmsg(connection_->fd(), &header, MSG_NOSIGNAL); }) == -1)
      return error_from_errno(errno, "sendmsg");
    return {};
  }

  std::optional<LogConnection> connection_;
};

}  // namespace

Status check_journald_options(const LogOptions& options) {
  return check_option_names({"journald", kOptions}, options);
}

SinkResult make_journald_sink(const LogOptions& options, const LogSubject& subject) {
  auto sink = std::make_unique<JournaldSink>();
  const std::string tag = TRY(log_tag(log_option(options, "tag"), subject));
  std::string& out = sink->fields;
  add(out, "CONTAINER_ID", std::string_view(subject.id).substr(0, 12));
  add(out, "CONTAINER_ID_FULL", subject.id);
  add(out, "CONTAINER_NAME", subject.name);
  add(out, "CONTAINER_TAG", tag);
  add(out, "IMAGE_NAME", subject.image_name);
  add(out, "SYSLOG_IDENTIFIER", tag);
  add(out, "CONTAINER_LOG_EPOCH", random_hex(32));
  for (const auto& [key, value] : subject.attributes)
    if (std::string name = field_name(key); !name.empty()) add(out, name, value);
  return std::unique_ptr<LogSink>(std::move(sink));
}

}  // namespace gantry::drivers
