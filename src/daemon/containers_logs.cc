#include "base/clock.h"
#include "base/sys.h"
#include "daemon/containers_impl.h"
#include "daemon/log_config.h"
#include "drivers/exec/log_reader.h"

namespace gantry::daemon {
namespace {

constexpr size_t kChunk = 64 << 10;

class FileLogStream : public LogStream {
 public:
  FileLogStream(std::unique_ptr<drivers::LogReader> reader, UniqueFd cancel, const LogsQuery& query,
                bool framed)
      : reader_(std::move(reader)), cancel_(std::move(cancel)), query_(query), framed_(framed) {}
  ~FileLogStream() override {
    if (ended_) ended_->set_waker({});
  }

  // The log ends with the container's run.
  void end_with(std::shared_ptr<WaitChannel> ended) {
    ended_ = std::move(ended);
    ended_->set_waker([this] { reader_->finish(); });
    if (ended_->finished() || ended_->try_pop()) reader_->finish();
  }

  bool framed() const override { return framed_; }

  Result<std::optional<std::string>> next() override {
    std::string out;
    while (out.size() < kChunk) {
      // While following, what is ready goes out before waiting for more.
      Result<std::optional<drivers::LogEntry>> entry = reader_->next(cancel_.get());
      if (!entry && entry.error().kind() == ErrorKind::cancelled) break;
      if (!entry) return std::move(entry).error();
      if (!*entry) break;
      append(out, **entry);
      if (query_.follow && !out.empty()) break;  // an entry of a stream nobody wants adds nothing
    }
    if (out.empty()) return std::optional<std::string>();
    return std::optional<std::string>(std::move(out));
  }

  void cancel() override {
    uint64_t one = 1;
    (void)sys::write(cancel_.get(), &one, sizeof one);
  }

 private:
  void append(std::string& out, const drivers::LogEntry& entry) {
    bool error = entry.stream == shim::Stream::err;
    if (error ? !query_.standard_error : !query_.standard_out) return;
    std::string line;
    if (query_.timestamps) {
      // Docker prints nine digits of the fraction, always.
      std::string time = format_time(entry.time);
      std::string fraction = fmt::format("{:09}", entry.time % 1'000'000'000);
      line = time.substr(0, 19) + "." + fraction + "Z ";
    }
    line += entry.line;
    if (framed_) {
      uint32_t size = static_cast<uint32_t>(line.size());
      char header[8] = {static_cast<char>(error ? 2 : 1),
                        0,
                        0,
                        0,
                        static_cast<char>(size >> 24),
                        static_cast<char>(size >> 16),
                        static_cast<char>(size >> 8),
                        static_cast<char>(size)};
      out.append(header, sizeof header);
    }
    out += line;
  }

  std::unique_ptr<drivers::LogReader> reader_;
  UniqueFd cancel_;
  LogsQuery query_;
  bool framed_;
  std::shared_ptr<WaitChannel> ended_;
};

}  // namespace

Result<std::unique_ptr<LogStream>> Containers::logs(const std::string& reference,
                                                    const LogsQuery& query) {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  std::shared_ptr<const ContainerRecord> record = container->record();
  if (!query.standard_out && !query.standard_error)
    return invalid("Bad parameters: you must choose at least one stream");
  if (record->host_config.log_config.Type == "none")
    return unsupported("configured logging driver does not support reading");
  shim::LogConfig config =
      shim_log_config(record->host_config.log_config, record->log_path, record->config);
  bool follow = query.follow && record->running();
  drivers::LogQuery wanted{query.tail, query.since_ns, query.until_ns, follow};
  std::unique_ptr<drivers::LogReader> reader = TRY(drivers::LogReader::open(config, wanted));
  UniqueFd cancel = TRY(sys::eventfd(0));
  LogsQuery effective = query;
  effective.follow = follow;
  auto stream = std::make_unique<FileLogStream>(std::move(reader), std::move(cancel), effective,
                                                !record->config.Tty);
  if (follow) stream->end_with(container->add_waiter(WaitCondition::not_running));
  return std::unique_ptr<LogStream>(std::move(stream));
}

}  // namespace gantry::daemon
