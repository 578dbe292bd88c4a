// Follows the files of the administrator's firewall.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/result.h"
#include "base/unique_fd.h"
#include "drivers/network/host_policy.h"

namespace gantry::drivers {

// Has a thread of its own, which waits for inotify(7) and ends with this object.
class PolicyWatch {
 public:
  // What the files say now; none: no such firewall is switched on.
  using Policy = Result<std::optional<HostPolicy>>;
  // `changed` is called once before this returns, and then by the thread after each change of the
  // directories, whether it means anything or not. `root` is where /etc is looked for ("" but in
  // tests).
  static Result<std::unique_ptr<PolicyWatch>> start(std::function<void(Policy)> changed,
                                                    std::string root = {});
  ~PolicyWatch();

 private:
  PolicyWatch(std::function<void(Policy)> changed, std::string root)
      : changed_(std::move(changed)), root_(std::move(root)) {}
  void watch_directories();
  void run();

  const std::function<void(Policy)> changed_;
  const std::string root_;
  UniqueFd events_, stop_;
  std::thread thread_;
};

}  // namespace gantry::drivers
