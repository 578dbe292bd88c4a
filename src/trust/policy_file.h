// The policy in force: a file, read again when it changes. Thread-safe.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <mutex>
#include <string>

#include "trust/policy.h"

namespace gantry::trust {

class PolicyFile {
 public:
  // `must_exist`: it was named, so its absence is an error; else a file that is not there allows
  // everything until it is. Errors name the file and the line.
  static Result<std::unique_ptr<PolicyFile>> open(std::string path, bool must_exist);

  const std::string& path() const { return path_; }
  // Null while there is no policy. One stat(2) when nothing has changed. A file that has become
  // wrong, or has gone, leaves the policy that was; why is logged once, and told by error().
  std::shared_ptr<const Policy> current();
  std::string error();

 private:
  explicit PolicyFile(std::string path) : path_(std::move(path)) {}
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    int64_t modified = 0;  // ns
    int64_t changed = 0;
    bool operator==(const Stamp&) const = default;
  };
  Status load(const Stamp& stamp);
  static std::optional<Stamp> stamp_of(const std::string& path);

  const std::string path_;
  std::mutex mutex_;
  std::optional<Stamp> seen_;  // what was looked at last, good or not
  std::shared_ptr<const Policy> policy_;
  std::string error_;
};

}  // namespace gantry::trust
