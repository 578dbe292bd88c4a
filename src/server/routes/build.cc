// POST /build, /build/prune: Docker's classic builder. The interface of BuildKit (/session, /grpc)
// is not there.
#include "base/base64.h"
#include "daemon/build/build_jobs.h"
#include "daemon/build/builds.h"

#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

using namespace daemon;

// A query's value that is JSON; nothing when it is absent.
template <typename T>
Result<T> json_query(Call& call, const char* name) {
  const std::string text = call.query(name);
  if (text.empty()) return T();
  json::value document = TRY(json::parse(text).context("error reading {}", name));
  if (document.is_null()) return T();
  T out;
  TRY(json::decode(out, document).context("error reading {}", name));
  return out;
}

Result<int64_t> number(Call& call, const char* name) {
  return TRY(call.number(name)).value_or(0);
}

Result<api::HostConfig> host_config(Call& call) {
  api::HostConfig host;
  host.Memory = TRY(number(call, "memory"));
  host.MemorySwap = TRY(number(call, "memswap"));
  host.CpuShares = TRY(number(call, "cpushares"));
  host.CpuPeriod = TRY(number(call, "cpuperiod"));
  host.CpuQuota = TRY(number(call, "cpuquota"));
  host.CpusetCpus = call.query("cpusetcpus");
  host.CpusetMems = call.query("cpusetmems");
  host.CgroupParent = call.query("cgroupparent");
  host.ShmSize = TRY(number(call, "shmsize"));
  host.NetworkMode = call.query("networkmode");
  host.Ulimits = TRY(json_query<std::vector<api::Ulimit>>(call, "ulimits"));
  // Docker's clients send each as a value of its own, older ones as one list.
  for (const std::string& text : call.x.query().all("extrahosts")) {
    if (!text.starts_with('[')) {
      host.ExtraHosts.push_back(text);
      continue;
    }
    std::vector<std::string> list = TRY(json_query<std::vector<std::string>>(call, "extrahosts"));
    host.ExtraHosts.insert(host.ExtraHosts.end(), list.begin(), list.end());
  }
  return host;
}

// The secrets that gantry sends along: JSON in base64, id → base64.
Result<std::map<std::string, std::string>> secrets_of(Call& call) {
  std::map<std::string, std::string> out;
  const std::string header(call.x.headers().get("X-Gantry-Build-Secrets"));
  if (header.empty()) return out;
  std::string text = TRY(base64_decode(header).context("X-Gantry-Build-Secrets"));
  auto encoded = TRY((json::parse(text).context("X-Gantry-Build-Secrets")));
  std::map<std::string, std::string> values;
  TRY(json::decode(values, encoded));
  for (const auto& [id, value] : values)
    out[id] = TRY(base64_decode(value).context("secret {}", id));
  return out;
}

Status build(Call& call) {
  if (std::string version = call.query("version"); version == "2")
    return unsupported(
        "BuildKit's interface is not supported by this engine: build with DOCKER_BUILDKIT=0, or "
        "with gantry build");
  if (std::string outputs = call.query("outputs"); !outputs.empty() && outputs != "[]" &&
                                                   outputs != "null")
    return unsupported(
        "outputs need BuildKit's interface, which is not supported by this engine: use gantry "
        "build --output");
  if (!call.query("securityopt").empty())
    return unsupported("security options cannot be set on a build");
  ImageBuild::Input input;
  input.dockerfile = call.query("dockerfile");
  input.remote = call.query("remote");
  if (input.remote == "client-session")
    return unsupported("a context from a client's session is not supported: send it as an archive");
  for (std::string& name : call.x.query().all("t"))
    if (!name.empty()) input.names.push_back(std::move(name));
  input.target = call.query("target");
  input.platform = call.query("platform");
  input.labels = TRY((json_query<std::map<std::string, std::string>>(call, "labels")));
  input.cache_from = TRY(json_query<std::vector<std::string>>(call, "cachefrom"));
  input.quiet = call.flag("q");
  input.no_cache = call.flag("nocache");
  input.pull = call.flag("pull");
  input.squash = call.flag("squash");
  auto arguments =
      TRY((json_query<std::map<std::string, std::optional<std::string>>>(call, "buildargs")));
  for (auto& [name, value] : arguments)
    if (value) input.build_args[name] = std::move(*value);
  input.host = TRY(host_config(call));
  input.secrets = TRY(secrets_of(call));
  input.credentials =
      TRY(registry::RegistryCredentials::decode(call.x.headers().get("X-Registry-Config")));
  std::shared_ptr<BytePipe> body;
  if (input.remote.empty()) body = std::make_shared<BytePipe>();
  input.context = body;
  return stream_job<ImageBuild>(call, std::move(input), body, {}, [](const Error& error) {
    json::object detail{{"message", error.message()}};
    if (int code = exit_code_of_build(error)) detail["code"] = code;
    return detail;
  });
}

Status prune(Call& call) {
  BuildPrune::Input input;
  input.filters = TRY(call.filters());
  input.all = call.flag("all");
  input.keep_storage = TRY(number(call, "keep-storage"));
  if (input.keep_storage == 0) input.keep_storage = TRY(number(call, "max-used-space"));
  for (const char* name : {"reserved-space", "min-free-space"})
    if (TRY(number(call, name)) != 0)
      return unsupported("{} is not supported: use max-used-space", name);
  return call.answer(200, run_job<BuildPrune>(call, std::move(input)));
}

Status no_session(Call&) {
  return unsupported(
      "BuildKit's interface is not supported by this engine: build with DOCKER_BUILDKIT=0, or with "
      "gantry build");
}

constexpr Route kRoutes[] = {
    {"POST", "/build", build},
    {"POST", "/build/prune", prune},
    {"POST", "/session", no_session},
};

}  // namespace

std::span<const Route> build_routes() { return kRoutes; }

}  // namespace gantry::server
