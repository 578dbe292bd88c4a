#include "daemon/log_forwarders.h"

#include "base/log.h"
#include "daemon/log_config.h"
#include "drivers/log/forwarder.h"

namespace gantry::daemon {
namespace {

using drivers::LogForwarder;
using Sink = std::unique_ptr<drivers::LogSink>;

constexpr std::chrono::seconds kFarewell{3};

Result<Sink> make_sink(const ContainerRecord& record) {
  const api::LogConfig& config = record.host_config.log_config;
  if (!drivers::is_remote_log_driver(config.Type)) return Sink();
  return drivers::make_log_sink(config.Type, config.Config, log_subject(record));
}

}  // namespace

LogForwarders::LogForwarders() = default;
LogForwarders::~LogForwarders() = default;

std::shared_ptr<LogForwarder> LogForwarders::find(const std::string& id) const {
  std::lock_guard lock(mutex_);
  auto found = forwarders_.find(id);
  return found == forwarders_.end() ? nullptr : found->second;
}

Result<Sink> LogForwarders::prepare(const ContainerRecord& record) {
  constexpr std::string_view kFailed =
      "failed to create task for container: failed to initialize logging driver";
  Sink sink = TRY(make_sink(record).context("{}", kFailed));
  const api::LogConfig& config = record.host_config.log_config;
  if (sink && drivers::connects_before_start(config.Type, config.Config))
    TRY(sink->connect(-1).context("{}", kFailed));
  return sink;
}

void LogForwarders::begin(const ContainerRecord& record, Sink sink) {
  if (!drivers::is_remote_log_driver(record.host_config.log_config.Type)) return;
  if (std::shared_ptr<LogForwarder> known = find(record.id)) return known->begin_run();
  if (!sink) {
    Result<Sink> made = make_sink(record);
    if (!made)
      return log::error("the log of container {} is not sent: {}", record.name,
                        made.error().message());
    sink = std::move(*made);
  }
  LogForwarder::Options options;
  options.name = record.name;
  options.log = shim_log_config(record);
  options.delivery = drivers::log_delivery(record.host_config.log_config.Type,
                                           record.host_config.log_config.Config);
  options.on_dropped = [this](uint64_t count) { dropped_ += count; };
  std::lock_guard lock(mutex_);
  forwarders_[record.id] =
      std::make_shared<LogForwarder>(std::move(options), std::move(sink), true);
}

void LogForwarders::end(const std::string& id) {
  if (std::shared_ptr<LogForwarder> known = find(id)) known->end_run();
}

void LogForwarders::resume(const ContainerRecord& record) {
  if (!drivers::is_remote_log_driver(record.host_config.log_config.Type)) return;
  Result<bool> unsent = drivers::has_unsent(shim_log_config(record));
  if (!unsent)
    return log::ignored("the log of container " + record.name, std::move(unsent).error());
  if (!*unsent) return;
  begin(record);
  end(record.id);
}

void LogForwarders::finish(const ContainerRecord& record) {
  const std::string& id = record.id;
  if (!find(id)) resume(record);  // it ended while no daemon was there
  std::shared_ptr<LogForwarder> known;
  {
    std::lock_guard lock(mutex_);
    auto found = forwarders_.find(id);
    if (found == forwarders_.end()) return;
    known = std::move(found->second);
    forwarders_.erase(found);
  }
  known->end_run();
  if (!known->wait_until_sent(std::chrono::steady_clock::now() + kFarewell)) known->give_up();
  known->stop();
}

}  // namespace gantry::daemon
