// /containers/{id}/archive and /export: what is in a container's file system.
#include "base/base64.h"
#include "daemon/containers.h"

#include "server/pipe_stream.h"
#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

using namespace daemon;

constexpr const char* kPathStat = "X-Docker-Container-Path-Stat";

Result<Containers::PathRead> open_path(Call& call) {
  std::string path = call.query("path");
  if (path.empty()) return invalid("missing required parameter: \"path\"");
  if (path.find('\0') != std::string::npos) return invalid("path: a name has no NUL byte");
  return call.x.run_blocking(
      [&] { return call.daemon().containers().open_path(call.name("id"), path); });
}

// Sends what `write` gives, made on the I/O pool.
Status send_archive(Call& call, std::function<Status(ByteSink&)> write, std::string_view type) {
  auto pipe = std::make_shared<BytePipe>();
  call.x.start_blocking([pipe, write = std::move(write)] {
    Status written = write(*pipe);
    if (written)
      pipe->finish();
    else
      pipe->fail(std::move(written).error());
  });
  return send_pipe(call, *pipe, type, Head::with_first_bytes);
}

Status stat_path(Call& call) {
  Containers::PathRead read = TRY(open_path(call));
  call.extra.add(kPathStat, base64_encode(read.stat));
  return call.send_empty(200);
}

Status get_archive(Call& call) {
  Containers::PathRead read = TRY(open_path(call));
  call.extra.add(kPathStat, base64_encode(read.stat));
  TRY(send_archive(call, std::move(read.write), "application/x-tar"));
  call.daemon().containers().path_was_read(read.container);
  return {};
}

Status put_archive(Call& call) {
  ContainerExtract::Input input;
  input.container = call.name("id");
  input.path = call.query("path");
  if (input.path.empty()) return invalid("missing required parameter: \"path\"");
  if (input.path.find('\0') != std::string::npos) return invalid("path: a name has no NUL byte");
  input.keep_kinds = call.flag("noOverwriteDirNonDir");
  input.container_owner = call.flag("copyUIDGID");
  auto body = std::make_shared<BytePipe>();
  input.archive = body;
  return call.answer_empty(upload_job<ContainerExtract>(call, std::move(input), body), 200);
}

Status export_all(Call& call) {
  auto write = TRY(
      call.x.run_blocking([&] { return call.daemon().containers().open_export(call.name("id")); }));
  return send_archive(call, std::move(write), "application/octet-stream");
}

constexpr Route kRoutes[] = {
    {"HEAD", "/containers/{id}/archive", stat_path},
    {"GET", "/containers/{id}/archive", get_archive},
    {"PUT", "/containers/{id}/archive", put_archive},
    {"GET", "/containers/{id}/export", export_all},
};

}  // namespace

std::span<const Route> container_file_routes() { return kRoutes; }

}  // namespace gantry::server
