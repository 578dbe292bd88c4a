// The status line and header fields of a response as they go over the wire.
#pragma once

#include <cstdint>
#include <string>

#include "http/message.h"

namespace gantry::http {

enum class BodyFraming {
  none,     // 204, 304: a length would be wrong
  length,   // Content-Length
  chunked,  // Transfer-Encoding
  to_end,   // until the connection closes (HTTP/1.0)
};

// Adds Date and the framing's field. Line ends inside of values become spaces.
std::string response_head(int version, int status, const Headers& headers, BodyFraming framing,
                          uint64_t length);

}  // namespace gantry::http
