#include "server/routes/container_streams.h"

#include <charconv>
#include <chrono>

#include "base/log.h"
#include "base/sys.h"
#include "daemon/containers.h"
#include "daemon/daemon.h"
#include "server/pipe_stream.h"

namespace gantry::server {
namespace {

using namespace daemon;

constexpr ApiVersion kStreamTypesSince{1, 42};

struct Condition {
  std::string_view word;
  WaitCondition condition;
};
constexpr Condition kConditions[] = {{"", WaitCondition::not_running},
                                     {"not-running", WaitCondition::not_running},
                                     {"next-exit", WaitCondition::next_exit},
                                     {"removed", WaitCondition::removed}};

json::object wait_answer(const WaitResult& result) {
  json::object out{{"StatusCode", result.exit_code}};
  if (!result.error.empty()) out["Error"] = json::object{{"Message", result.error}};
  return out;
}

// Reads a log, which may block while following, on a pool thread. Owned by that thread's task and
// by the coroutine that sends what it reads.
struct LogPump {
  std::unique_ptr<LogStream> stream;
  BytePipe pieces{256u << 10};

  void run() {
    while (true) {
      auto piece = stream->next();
      if (!piece) return pieces.fail(std::move(piece).error());
      if (!*piece) return pieces.finish();
      if (!pieces.write(**piece)) return;  // nobody reads any more
    }
  }
};

Result<LogsQuery> logs_query(Call& call) {
  LogsQuery query;
  query.standard_out = call.flag("stdout");
  query.standard_error = call.flag("stderr");
  if (!query.standard_out && !query.standard_error)
    return invalid("Bad parameters: you must choose at least one stream");
  query.follow = call.flag("follow");
  query.timestamps = call.flag("timestamps");
  query.details = call.flag("details");
  query.since_ns = TRY(call.time("since"));
  query.until_ns = TRY(call.time("until"));
  // Docker takes whatever is no number for "all".
  std::string tail = call.query("tail");
  int64_t lines = 0;
  auto [end, error] = std::from_chars(tail.data(), tail.data() + tail.size(), lines);
  if (!tail.empty() && error == std::errc() && end == tail.data() + tail.size()) query.tail = lines;
  return query;
}

}  // namespace

std::string_view stream_type(const Call& call, bool terminal) {
  return terminal || call.version < kStreamTypesSince ? "application/vnd.docker.raw-stream"
                                                      : "application/vnd.docker.multiplexed-stream";
}

Status container_wait(Call& call) {
  std::string word = call.query("condition");
  const Condition* condition = nullptr;
  for (const Condition& known : kConditions)
    if (known.word == word) condition = &known;
  if (condition == nullptr) return invalid("invalid condition: {:?}", word);
  auto channel = TRY(call.daemon().containers().wait(call.name("id"), condition->condition));
  // The head goes out at once: it tells the client that the wait has begun.
  TRY(call.start_stream("application/json"));
  auto result = TRY(call.x.next(*channel));
  if (!result) return internal("wait: the container went without an exit status");
  TRY(call.x.write(json::serialize(wait_answer(*result)) + "\n"));
  return call.x.finish();
}

Status container_logs(Call& call) {
  LogsQuery query = TRY(logs_query(call));
  auto pump = std::make_shared<LogPump>();
  pump->stream = TRY(call.daemon().containers().logs(call.name("id"), query));
  call.x.start_blocking([pump] { pump->run(); });
  Status sent =
      send_pipe(call, pump->pieces, stream_type(call, !pump->stream->framed()), Head::at_once);
  pump->stream->cancel();
  return sent;
}

namespace {

constexpr std::chrono::seconds kStatsInterval{1};  // Docker's

Result<json::object> sample(Call& call, const std::string& id, const json::object& previous) {
  return call.x.run_blocking([&] { return call.daemon().containers().stats(id, previous); });
}

// True when the interval has passed, false when there is nobody to go on for.
bool wait_interval(Call& call) {
  const http::Clock::time_point deadline = http::Clock::now() + kStatsInterval;
  while (true) {
    const http::Wake wake = call.x.wait(deadline);
    if (wake == http::Wake::timeout) return true;
    if (wake != http::Wake::notified) return false;
  }
}

}  // namespace

Status container_stats(Call& call) {
  const bool stream = !call.x.query().has("stream") || call.flag("stream");
  const bool one_shot = call.flag("one-shot");
  if (stream && one_shot) return invalid("cannot have stream=true and one-shot=true");
  const std::string id = TRY(call.daemon().containers().full_id(call.name("id")));
  json::object last = TRY(sample(call, id, {}));
  if (!stream) {
    // One sample says nothing of the use of the CPU; what does not run has none to wait for.
    if (!one_shot && last["cpu_stats"].as_object().contains("system_cpu_usage")) {
      if (!wait_interval(call)) return gone_error(http::Wake::client_gone);
      last = TRY(sample(call, id, last));
    }
    return call.answer(200, Result<json::object>(std::move(last)));
  }
  TRY(call.start_stream("application/json"));
  while (true) {
    TRY(call.x.write(json::serialize(last) + "\n"));
    if (!wait_interval(call)) return call.x.finish();
    Result<json::object> next = sample(call, id, last);
    if (!next) return call.x.finish();  // removed
    last = std::move(*next);
  }
}

namespace {

// Of a stream of whole frames, what is in them.
std::string without_frames(std::string_view piece) {
  constexpr size_t kHead = 8;
  std::string out;
  while (piece.size() >= kHead) {
    size_t size = 0;
    for (size_t i = 4; i < kHead; ++i) size = size << 8 | static_cast<unsigned char>(piece[i]);
    out += piece.substr(kHead, size);
    piece.remove_prefix(std::min(kHead + size, piece.size()));
  }
  return out;
}

// What was logged before, as the API's logs=1 asks for it. Takes as long as the client does.
Status replay_logs(Containers& containers, const std::string& id, const AttachQuery& query,
                   int client) {
  LogsQuery logs;
  logs.standard_out = query.standard_out;
  logs.standard_error = query.standard_error;
  if (!logs.standard_out && !logs.standard_error) return {};
  std::unique_ptr<LogStream> stream = TRY(containers.logs(id, logs));
  while (true) {
    std::optional<std::string> piece = TRY(stream->next());
    if (!piece) return {};
    TRY(sys::write_all(client, query.raw && stream->framed() ? without_frames(*piece) : *piece));
  }
}

Status attach_client(Call& call, AttachQuery query, bool websocket) {
  query.logs = call.flag("logs");
  query.stream = call.flag("stream");
  query.standard_in = call.flag("stdin");
  query.standard_out = call.flag("stdout");
  query.standard_error = call.flag("stderr");
  query.detach_keys = call.query("detachKeys");
  Containers& containers = call.daemon().containers();
  std::string id = TRY(containers.full_id(call.name("id")));
  auto info = TRY(containers.can_attach(id, query));
  auto stream =
      TRY(websocket ? call.x.accept_websocket() : call.x.hijack(stream_type(call, info.terminal)));
  ClientStream client{std::move(stream.fd), std::move(stream.leftover)};
  if (query.logs) {
    // Not here: a connection that is relayed is served only when this handler has returned.
    auto kept = std::make_shared<ClientStream>(std::move(client));
    call.x.start_blocking([&containers, id, query, kept] {
      if (!replay_logs(containers, id, query, kept->fd.get())) return;
      auto attached = containers.attach(id, query, std::move(*kept));
      if (attached && *attached)
        log::ignored("attach", containers.finish_attach(std::move(**attached)));
    });
    return {};
  }
  auto running = TRY(containers.attach(id, query, std::move(client)));
  if (!running) return {};
  return call.x.run_blocking([&] { return containers.finish_attach(std::move(*running)); });
}

}  // namespace

Status container_attach(Call& call) { return attach_client(call, {}, false); }

Status container_attach_websocket(Call& call) {
  AttachQuery query;
  query.raw = true;
  return attach_client(call, std::move(query), true);
}

}  // namespace gantry::server
