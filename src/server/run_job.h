// Where a coroutine meets a job: submits, waits without blocking the I/O thread, and lets go of the
// job (or cancels it) when the client goes away.
#pragma once

#include <functional>

#include "base/byte_source.h"
#include "daemon/daemon.h"
#include "engine/engine.h"
#include "server/call.h"

namespace gantry::server {

// What becomes of a job whose client has gone: changes that were asked for are finished, transfers
// end.
enum class WhenGone { finish, cancel };

inline engine::SubmitOptions submit_options(Call& call) {
  engine::SubmitOptions options;
  const http::Peer& peer = call.x.peer();
  if (peer.unix_socket) {
    options.caller = {fmt::format("uid:{}", peer.credentials.uid), peer.credentials.uid,
                      peer.credentials.pid};
  } else {
    options.caller.name =
        peer.tls_subject.empty() ? "tcp:" + peer.address : "tls:" + peer.tls_subject;
  }
  return options;
}

template <typename Output>
Result<Output> await_job(Call& call, engine::JobHandle<Output>& handle, WhenGone when_gone) {
  handle.on_done(call.x.waker());
  while (!handle.finished()) {
    http::Wake wake = call.x.wait();
    if (wake == http::Wake::notified) continue;
    if (when_gone == WhenGone::cancel) handle.cancel();
    return gone_error(wake);
  }
  return handle.wait();
}

template <typename Job>
Result<typename Job::Output> run_job(Call& call, typename Job::Input input,
                                     WhenGone when_gone = WhenGone::finish) {
  auto handle = call.daemon().engine().template submit<Job>(std::move(input), submit_options(call));
  return await_job(call, *handle, when_gone);
}

// Feeds the request's body to `upload` (null: there is none) and waits for the job's end. `between`
// is called whenever there may be something to pass on; `handle` and the pipe wake the call. When
// the client goes the job gets an error out of the pipe, and is cancelled.
template <typename Output>
Status feed_job(Call& call, engine::JobHandle<Output>& handle, BytePipe* upload,
                const std::function<Status()>& between) {
  auto wait = [&]() -> Status {
    http::Wake woken = call.x.wait();
    return woken == http::Wake::notified ? Status() : Status(gone_error(woken));
  };
  auto pump = [&]() -> Status {
    std::string buffer(64u << 10, '\0');
    while (upload != nullptr && !upload->reader_gone() && !handle.finished()) {
      size_t size = TRY(call.x.read_some(buffer));
      if (size == 0) break;
      std::string piece = buffer.substr(0, size);
      while (!upload->try_write(piece)) {
        TRY(between());
        // A job that has ended reads no more, and tells of its end once.
        if (handle.finished() || upload->try_write(piece)) break;
        TRY(wait());
      }
      TRY(between());
    }
    if (upload != nullptr) upload->finish();
    while (!handle.finished()) {
      TRY(between());
      if (!handle.finished()) TRY(wait());
    }
    return between();
  };
  Status pumped = pump();
  if (upload != nullptr) upload->set_waker(nullptr);
  if (pumped) return {};
  if (upload != nullptr)
    upload->fail(pumped.error().kind() == ErrorKind::invalid
                     ? invalid("{}", pumped.error().message())
                     : Error(ErrorKind::cancelled, pumped.error().message()));
  handle.cancel();
  return pumped;
}

// Submits a job that reads the request's body from `upload`, which its input has too.
template <typename Job>
Result<typename Job::Output> upload_job(Call& call, typename Job::Input input,
                                        const std::shared_ptr<BytePipe>& upload) {
  auto wake = call.x.waker();
  auto handle = call.daemon().engine().template submit<Job>(std::move(input), submit_options(call));
  handle->on_done(wake);
  upload->set_waker(wake);
  TRY(feed_job(call, *handle, upload.get(), [] { return Status(); }));
  return handle->wait();
}

// Docker's stream of JSON documents about a long job: starts with the first event (or the job's
// success); an error before that is returned, a later one is the last document of the stream.
class ProgressStream {
 public:
  explicit ProgressStream(Call& call) : call_(call) {}
  Status write(const json::value& event) {
    TRY(start());
    return call_.write_json(event);
  }
  // Gives `result` back when it is an error that can still be the answer.
  Status finish(Status result) {
    if (!result && !call_.x.started()) return result;
    TRY(start());
    if (!result)
      TRY(call_.write_json(
          json::object{{"errorDetail", json::object{{"message", result.error().message()}}},
                       {"error", result.error().message()}}));
    return call_.x.finish();
  }

 private:
  Status start() { return call_.x.started() ? Status() : call_.start_stream("application/json"); }
  Call& call_;
};

// Submits a job that reports progress and, with `upload`, reads the request's body from that pipe;
// streams the one while feeding the other.
template <typename Job>
Status stream_job(
    Call& call, typename Job::Input input, std::shared_ptr<BytePipe> upload,
    const std::function<void(const typename Job::Output&, ProgressStream&)>& last = {}) {
  engine::SubmitOptions options = submit_options(call);
  options.want_progress = true;
  auto wake = call.x.waker();
  auto handle = call.daemon().engine().template submit<Job>(std::move(input), std::move(options));
  handle->on_done(wake);
  engine::ProgressChannel progress = handle->progress();
  if (progress) progress->set_waker(wake);
  if (upload) upload->set_waker(wake);

  ProgressStream stream(call);
  auto drain = [&]() -> Status {
    while (progress) {
      auto event = progress->try_pop();
      if (!event) return {};
      TRY(stream.write(*event));
    }
    return {};
  };
  Status fed = feed_job(call, *handle, upload.get(), drain);
  if (progress) progress->set_waker(nullptr), progress->close();
  if (!fed) return fed;
  auto output = handle->wait();
  if (!output) return stream.finish(std::move(output).error());
  if (last) last(*output, stream);
  return stream.finish({});
}

}  // namespace gantry::server
