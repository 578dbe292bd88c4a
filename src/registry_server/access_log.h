// One line for each request: to standard error with the program's log, to a file, or nowhere.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::registry_server {

struct AccessRecord {
  std::string address, user, method, target, agent;
  int status = 0;
  uint64_t received = 0, sent = 0;
  double seconds = 0;
};

// Thread-safe.
class AccessLog {
 public:
  // "stderr", "off" or a path. Errors: of open.
  static Result<std::unique_ptr<AccessLog>> open(const std::string& where);
  // Opens the file again by its name (after a rotation), or another one.
  Status reopen(const std::string& where);
  void write(const AccessRecord& record);

 private:
  AccessLog() = default;
  std::mutex mutex_;
  std::string where_;
  UniqueFd file_;
};

}  // namespace gantry::registry_server
