// /containers/{id}/exec and /exec/….
#include "daemon/containers.h"

#include "server/routes.h"
#include "server/routes/container_streams.h"
#include "server/run_job.h"

namespace gantry::server {

struct ExecStartBody {
  bool Detach = false, Tty = false;
  std::optional<std::vector<uint32_t>> ConsoleSize;
};

}  // namespace gantry::server

template <>
struct gantry::json::Schema<gantry::server::ExecStartBody> {
  using T = gantry::server::ExecStartBody;
  static constexpr Field fields[] = {field<&T::Detach>("Detach"), field<&T::Tty>("Tty"),
                                     field<&T::ConsoleSize>("ConsoleSize")};
};

namespace gantry::server {
namespace {

using namespace daemon;

Status create(Call& call) {
  ExecCreate::Input input;
  input.container = call.name("id");
  input.config = TRY(call.body_as<ExecConfig>());
  if (!input.config.Cmd.has_items()) return invalid("No exec command specified");
  return call.answer(201, run_job<ExecCreate>(call, std::move(input)));
}

// What a client of a multiplexed stream takes for bytes of standard error (Docker's stdcopy).
std::string frame(std::string_view text, bool terminal) {
  if (terminal) return std::string(text);
  auto size = static_cast<uint32_t>(text.size());
  std::string out{2,
                  0,
                  0,
                  0,
                  static_cast<char>(size >> 24),
                  static_cast<char>(size >> 16),
                  static_cast<char>(size >> 8),
                  static_cast<char>(size)};
  return out.append(text);
}

// After the hijack no status can be sent: a failure is told through the stream, when it is still
// here.
Status start_attached(Call& call, ExecStart::Input input, bool terminal) {
  auto stream = TRY(call.x.hijack(stream_type(call, terminal)));
  auto client = std::make_shared<ClientStream>();
  client->fd = std::move(stream.fd);
  client->leftover = std::move(stream.leftover);
  input.client = client;
  auto output = run_job<ExecStart>(call, std::move(input));
  if (!output && client->fd)
    (void)sys::write_all(client->fd.get(), frame(output.error().message() + "\r\n", terminal));
  return {};
}

Status start(Call& call) {
  auto body = TRY(call.body_as<ExecStartBody>());
  Containers& containers = call.daemon().containers();
  TRY(containers.can_start_exec(call.name("id")));
  ExecStart::Input input;
  input.exec = call.name("id");
  input.detach = body.Detach;
  input.tty = body.Tty;
  input.console_size = body.ConsoleSize;
  if (!body.Detach)
    return start_attached(call, std::move(input), containers.has_terminal_exec(call.name("id")));
  return call.answer_empty(run_job<ExecStart>(call, std::move(input)), 200);
}

Status resize(Call& call) {
  auto rows = TRY(call.number("h"));
  auto columns = TRY(call.number("w"));
  if (!rows || !columns || *rows < 0 || *columns < 0 || *rows > 65535 || *columns > 65535)
    return invalid("invalid terminal size: h and w must be numbers between 0 and 65535");
  // Asks the container's shim.
  TRY(call.x.run_blocking([&] {
    return call.daemon().containers().resize_exec(call.name("id"), static_cast<unsigned>(*rows),
                                                  static_cast<unsigned>(*columns));
  }));
  return call.send_empty(200);
}

Status inspect(Call& call) {
  std::string id = call.name("id");
  return call.answer(
      200, call.x.run_blocking([&] { return call.daemon().containers().inspect_exec(id); }));
}

constexpr Route kRoutes[] = {
    {"POST", "/containers/{id}/exec", create},
    {"POST", "/exec/{id}/start", start},
    {"POST", "/exec/{id}/resize", resize},
    {"GET", "/exec/{id}/json", inspect},
};

}  // namespace

std::span<const Route> exec_routes() { return kRoutes; }

}  // namespace gantry::server
