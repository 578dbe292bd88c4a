// Where the logs of containers go besides the file that the shim writes: `syslog`, `fluentd`,
// `gelf`, `journald`, with the options and the forms on the wire of Docker's drivers of these
// names.
//
// Vocabulary. A *subject* is the container whose log it is. A *sink* speaks one driver's protocol
// over one connection to its *server*. A *forwarder* (forwarder.h) reads the log's file and feeds a
// sink.
//
// Life cycle of a sink: make_log_sink() → connect() → (put()…, flush())… ; after an error it is
// not connected, and connect() begins anew. What was put and not flushed is then to be put again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "runtime/shim/log_format.h"

namespace gantry::drivers {

using LogOptions = std::map<std::string, std::string>;

struct LogSubject {
  std::string id;  // the container's, 64 hexadecimal digits
  std::string name;
  std::string image_id;    // "sha256:…"
  std::string image_name;  // as it was asked for
  std::string command;     // path and arguments, separated by spaces
  int64_t created = 0;     // ns since the epoch
  // What the options `labels`, `env` and the like chose of it.
  std::map<std::string, std::string> attributes;
};

// Not thread-safe. Blocks; whatever waits ends with `cancelled` when `cancel` becomes readable.
class LogSink {
 public:
  virtual ~LogSink() = default;
  // Within ten seconds. Errors are in Go's words: "dial tcp 127.0.0.1:24224: connect: connection
  // refused".
  virtual Status connect(int cancel) = 0;
  // An entry may be kept in memory (at most 64 KiB are) until flush(). `invalid`: the protocol
  // cannot say this one, and the connection is as it was.
  virtual Status put(const shim::LogEntry& entry, int cancel) = 0;
  // Everything that was put has been handed to the kernel, or, where the protocol acknowledges, to
  // the server.
  virtual Status flush(int cancel) = 0;
};

// The names of the drivers here.
std::span<const std::string_view> remote_log_drivers();
bool is_remote_log_driver(std::string_view name);

// Checks the options that are the driver's own; `invalid` in Docker's words. `options` may hold
// those that every driver has (mode, max-buffer-size, cache-…), which are not looked at.
Status check_remote_log_options(const std::string& driver, const LogOptions& options);
// For checked options. Makes no connection.
Result<std::unique_ptr<LogSink>> make_log_sink(const std::string& driver, const LogOptions& options,
                                               const LogSubject& subject);
// Whether a container must not start while the server cannot be reached: not for fluentd with
// `fluentd-async`, nor where nobody would tell.
bool connects_before_start(const std::string& driver, const LogOptions& options);

// How long and how much is kept for a server that does not take it. 0: no limit but the file's.
struct LogDelivery {
  int64_t retry_wait_ms = 500;  // before a connection is tried again; doubled up to 15 s
  bool constant_wait = false;   // not doubled: somebody said how long
  int64_t max_tries = 0;        // of connecting, before what is in hand is given up
  int64_t max_bytes = 0;        // unsent: `max-buffer-size` with `mode=non-blocking`
  int64_t max_entries = 0;      // unsent: `fluentd-buffer-limit` with `fluentd-async`
};
// For checked options.
LogDelivery log_delivery(const std::string& driver, const LogOptions& options);

// The tag of a container's log: `text` (the option `tag`; "": {{.ID}}) with its fields in place of
// {{.ID}} {{.FullID}} {{.Name}} {{.ImageID}} {{.ImageFullID}} {{.ImageName}} {{.Command}}
// {{.DaemonName}} {{.Hostname}} and the raw fields of Docker's (.ContainerID …). `invalid` when it
// says anything else in braces.
Result<std::string> log_tag(const std::string& text, const LogSubject& subject);

}  // namespace gantry::drivers
