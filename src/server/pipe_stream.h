// An answer whose bytes are made by blocking code on the I/O pool.
#pragma once

#include <memory>

#include "base/byte_source.h"
#include "server/call.h"

namespace gantry::server {

enum class Head {
  at_once,
  with_first_bytes,  // an error before them is returned, and can still become the answer
};

// Sends what comes through `pipe` until its end. When the client goes, or the daemon stops, the
// reader's end is closed, so that the writer fails. The writer must finish() or fail() the pipe.
Status send_pipe(Call& call, BytePipe& pipe, std::string_view content_type, Head head);

}  // namespace gantry::server
