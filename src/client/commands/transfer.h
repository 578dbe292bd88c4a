// Bodies of requests from files, and bodies of responses into files.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "client/cli/api.h"

namespace gantry::client {

// Opens for reading; errors in Go's wording ("open PATH: no such file or directory").
Result<UniqueFd> open_file(const std::string& path);
// The descriptor is borrowed.
Api::BodySource read_from(int fd);
Status copy_body(http::Response& response, int fd);
// Into a temporary beside `path`, renamed over it at the end: a failure leaves nothing behind.
Status save_body(http::Response& response, const std::string& path);

}  // namespace gantry::client
