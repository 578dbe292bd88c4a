#include "base/clock.h"
#include "base/sys.h"
#include "daemon/containers_impl.h"
#include "daemon/log_config.h"
#include "drivers/exec/log_reader.h"

namespace gantry::daemon {
namespace {

constexpr size_t kChunk = 64 << 10;

// As Go's url.QueryEscape has it.
std::string escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '_' || c == '.' || c == '~';
    if (plain)
      out += c;
    else if (c == ' ')
      out += '+';
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// "env=prod,version=1.2", sorted: what `labels`, `env` and `tag` chose.
std::string print_details(const std::map<std::string, std::string>& attributes) {
  std::string out;
  for (const auto& [key, value] : attributes)
    out += (out.empty() ? "" : ",") + escape(key) + "=" + escape(value);
  return out;
}

class FileLogStream : public LogStream {
 public:
  FileLogStream(std::unique_ptr<drivers::LogReader> reader, UniqueFd cancel, const LogsQuery& query,
                bool framed, std::string sent_details)
      : reader_(std::move(reader)),
        cancel_(std::move(cancel)),
        query_(query),
        framed_(framed),
        sent_details_(std::move(sent_details)) {}
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
    if (query_.details) line += details(entry.attributes) + " ";
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

  std::string details(const std::string& attributes) const {
    if (attributes.empty()) return sent_details_;
    std::map<std::string, std::string> sorted;
    if (Result<json::value> parsed = json::parse(attributes); parsed && parsed->is_object())
      for (const auto& [key, value] : parsed->get_object())
        if (value.is_string()) sorted[std::string(key)] = value.get_string();
    return print_details(sorted);
  }

  std::unique_ptr<drivers::LogReader> reader_;
  UniqueFd cancel_;
  LogsQuery query_;
  bool framed_;
  std::string sent_details_;  // of every line of a log that is sent elsewhere
  std::shared_ptr<WaitChannel> ended_;
};

}  // namespace

Result<std::unique_ptr<LogStream>> Containers::logs(const std::string& reference,
                                                    const LogsQuery& query) {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  std::shared_ptr<const ContainerRecord> record = container->record();
  if (!query.standard_out && !query.standard_error)
    return invalid("Bad parameters: you must choose at least one stream");
  if (!is_log_readable(record->host_config.log_config))
    return unsupported("configured logging driver does not support reading");
  shim::LogConfig config = shim_log_config(*record);
  bool follow = query.follow && record->running();
  drivers::LogQuery wanted{query.tail, query.since_ns, query.until_ns, follow};
  std::unique_ptr<drivers::LogReader> reader = TRY(drivers::LogReader::open(config, wanted));
  UniqueFd cancel = TRY(sys::eventfd(0));
  LogsQuery effective = query;
  effective.follow = follow;
  std::string sent_details;
  if (config.numbered) sent_details = print_details(log_subject(*record).attributes);
  auto stream = std::make_unique<FileLogStream>(std::move(reader), std::move(cancel), effective,
                                                !record->config.Tty, std::move(sent_details));
  if (follow) stream->end_with(container->add_waiter(WaitCondition::not_running));
  return std::unique_ptr<LogStream>(std::move(stream));
}

uint64_t Containers::dropped_log_entries() const { return impl_->log_forwarders.dropped(); }

}  // namespace gantry::daemon
