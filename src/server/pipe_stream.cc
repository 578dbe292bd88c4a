#include "server/pipe_stream.h"

namespace gantry::server {
namespace {

Status send_pieces(Call& call, BytePipe& pipe, std::string_view content_type) {
  while (true) {
    while (auto piece = pipe.try_read()) {
      if (!*piece) return std::move(*piece).error();
      if (!call.x.started()) TRY(call.start_stream(content_type));
      if ((*piece)->empty()) return call.x.finish();
      TRY(call.x.write(**piece));
    }
    switch (call.x.wait()) {
      case http::Wake::client_gone:
        return Error(ErrorKind::cancelled, "the client closed the connection");
      case http::Wake::stopping:
        return Error(ErrorKind::unavailable, "the daemon is shutting down");
      default:
        break;
    }
  }
}

}  // namespace

Status send_pipe(Call& call, BytePipe& pipe, std::string_view content_type, Head head) {
  if (head == Head::at_once) TRY(call.start_stream(content_type));
  pipe.set_waker(call.x.waker());
  Status sent = send_pieces(call, pipe, content_type);
  pipe.set_waker(nullptr);
  pipe.close_reader();
  return sent;
}

}  // namespace gantry::server
