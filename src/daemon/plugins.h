// Plugins by Docker's protocol (https://docs.docker.com/engine/extend/plugin_api/): programs that
// listen on a socket and answer JSON over HTTP. Found by name when they are needed, as files in
// these directories; nothing is kept between two calls but what a caller holds.
//
//   /run/docker/plugins            NAME.sock, NAME/NAME.sock
//   /etc/docker/plugins            NAME.spec (an address), NAME.json ({"Name", "Addr"}), also in a
//   /usr/lib/docker/plugins        directory NAME
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace gantry::daemon {

// Blocks: for jobs and the I/O pool. Thread-safe (each call has a connection of its own).
class Plugin {
 public:
  // Also asks it what it implements. Errors: not_found `plugin "x" not found`; invalid when it does
  // not implement `subsystem` ("VolumeDriver", "authz"), or its name cannot be one.
  static Result<Plugin> find(const std::string& name, std::string_view subsystem);

  const std::string& name() const { return name_; }
  // POST /<method>. A body with a non-empty "Err" becomes an error with that text; one that is over
  // 4 MiB, no JSON, or not there in time is an error as well.
  Result<json::object> call(std::string_view method, const json::object& input,
                            std::chrono::milliseconds timeout = std::chrono::seconds(120)) const;

 private:
  Plugin(std::string name, std::string address)
      : name_(std::move(name)), address_(std::move(address)) {}
  std::string name_, address_;
};

// The names of all that can be found, sorted; whether they answer is not known.
std::vector<std::string> plugin_names();

}  // namespace gantry::daemon
