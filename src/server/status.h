// The one place where kinds of errors become HTTP status codes.
#pragma once

#include "base/result.h"

namespace gantry::server {

int http_status(const Error& error);

}  // namespace gantry::server
