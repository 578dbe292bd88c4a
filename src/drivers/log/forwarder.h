// Feeds a sink from the file that the shim writes.
//
// Entries are numbered (LogConfig::numbered), and what has been sent is remembered as a number in a
// file beside the log, so a daemon that was away or killed goes on where the last one stopped. An
// entry is sent at least once: the batch that was on its way when a daemon was killed is sent
// again. What rotation took away before it was sent leaves a gap in the numbers, and that is how
// many entries count as dropped. The container is never slowed.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "drivers/exec/log_reader.h"
#include "drivers/log/log_driver.h"

namespace gantry::drivers {

// How far a log has been sent.
struct LogProgress {
  uint64_t sent = 0;     // the number of the last entry that was sent, or dropped
  uint64_t dropped = 0;  // since the container was made
};
// Of a log that has none yet: zeros.
Result<LogProgress> read_progress(const std::string& log_path);
// Whether there is anything in the log that has not been sent.
Result<bool> has_unsent(const shim::LogConfig& config);

// Thread-safe. A thread of its own per log, which waits for the file, for the server, or for the
// end.
class LogForwarder {
 public:
  struct Options {
    std::string name;  // of the container, for the daemon's own log
    shim::LogConfig log;
    LogDelivery delivery;
    std::function<void(uint64_t)> on_dropped;  // how many more; any thread
  };
  // `sink` may be connected already. `running`: more is being written.
  LogForwarder(Options options, std::unique_ptr<LogSink> sink, bool running);
  ~LogForwarder();  // stop()
  LogForwarder(const LogForwarder&) = delete;

  // The container runs again, or has ended: what is there by then is all.
  void begin_run();
  void end_run();
  // Everything that ended runs wrote has been sent; false when it has not by `deadline`.
  bool wait_until_sent(std::chrono::steady_clock::time_point deadline);
  // Ends the thread, whatever is unsent.
  void stop();
  // The same, and what is unsent counts as dropped: the log is about to go.
  void give_up();
  LogProgress progress() const;

 private:
  void loop();
  Result<bool> run_once();  // to the end of what is there; false when stopped
  Result<std::unique_ptr<LogReader>> open_reader(bool follow);
  Status put_last(LogReader& reader);
  Status flush(LogReader& reader);
  Status redeliver();
  Result<bool> reconnect();
  Status pause(int64_t ms);
  Status skip_excess(LogReader& reader);
  void drop(uint64_t count, const std::string& why);
  void note_sent();

  Options options_;
  std::unique_ptr<LogSink> sink_;
  // Only of the thread.
  bool connected_ = false;
  UniqueFd progress_file_;
  std::vector<LogEntry> batch_;  // put, and not known to be sent
  size_t batch_bytes_ = 0;
  uint64_t last_ = 0;  // the number of the last entry that was read

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  UniqueFd cancel_;       // readable: stop
  LogProgress progress_;  // written by the thread only
  std::shared_ptr<LogReader> reader_;
  bool running_, again_ = true, stopping_ = false, idle_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace gantry::drivers
