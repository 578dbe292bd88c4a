// From a container to an image, and what it changed.
#include "base/failpoint.h"
#include "base/log.h"
#include "daemon/containers_impl.h"
#include "daemon/held_still.h"
#include "daemon/images.h"
#include "daemon/validate.h"
#include "drivers/graph/graph_driver.h"
#include "drivers/graph/tree_diff.h"
#include "image/changes.h"

namespace gantry::daemon {
namespace {

// What an image keeps of a container's configuration.
image::ContainerConfig image_config(const api::ContainerConfig& config) {
  image::ContainerConfig out;
  out.user = config.User;
  out.exposed_ports = config.ExposedPorts;
  out.env = config.Env;
  out.entrypoint = config.Entrypoint.items;
  out.cmd = config.Cmd.items;
  if (config.Healthcheck) {
    const api::HealthConfig& health = *config.Healthcheck;
    out.healthcheck = {health.Test,        health.Interval,      health.Timeout,
                       health.StartPeriod, health.StartInterval, health.Retries};
  }
  out.args_escaped = config.ArgsEscaped;
  out.volumes = config.Volumes;
  out.working_dir = config.WorkingDir;
  out.on_build = config.OnBuild;
  out.labels = config.Labels;
  out.stop_signal = config.StopSignal;
  out.shell = config.Shell;
  return out;
}

// The other way round; `host` keeps what images do not have.
api::ContainerConfig container_config(const image::ContainerConfig& config) {
  api::ContainerConfig out;
  out.User = config.user;
  out.ExposedPorts = config.exposed_ports;
  out.Env = config.env;
  out.Entrypoint.items = config.entrypoint;
  out.Cmd.items = config.cmd;
  if (config.healthcheck) {
    const image::HealthConfig& health = *config.healthcheck;
    out.Healthcheck = {health.test,           health.interval,
                       health.timeout,        health.start_period,
                       health.start_interval, static_cast<int>(health.retries)};
  }
  out.ArgsEscaped = config.args_escaped;
  out.Volumes = config.volumes;
  out.WorkingDir = config.working_dir;
  out.OnBuild = config.on_build;
  out.Labels = config.labels;
  out.StopSignal = config.stop_signal;
  out.Shell = config.shell;
  return out;
}

// As Docker: the instructions act on the configuration that was sent (or the container's), and what
// it then leaves out comes from the container's.
Result<image::ContainerConfig> committed_config(const ContainerRecord& record,
                                                const ImageCommit::Input& input) {
  image::ContainerConfig config = image_config(input.config.value_or(record.config));
  TRY(image::apply_changes(config, input.changes));
  image::ImageConfig base;
  base.config = image_config(record.config);
  api::ContainerConfig merged = container_config(config);
  merge_image_config(merged, base);
  return image_config(merged);
}

std::string words(const api::StringOrList& command) {
  std::string out;
  if (command.items)
    for (const std::string& word : *command.items) out += (out.empty() ? "" : " ") + word;
  return out;
}

}  // namespace

Result<ImageCommit::Output> Containers::Impl::commit_image(engine::JobContext& job,
                                                           const ImageCommit::Input& input) {
  std::shared_ptr<Container> container = TRY(find_locked(job, input.container));
  std::shared_ptr<const ContainerRecord> record = container->record();
  if (record->state.status == "removing")
    return conflict("You cannot commit container {} which is being removed", record->id);
  if (record->state.status == "dead")
    return conflict("You cannot commit container {} which is Dead", record->id);
  image::CommitOptions options;
  options.repository = input.repository;
  options.tag = input.tag;
  options.author = input.author;
  options.comment = input.comment;
  options.config = TRY(committed_config(*record, input));
  options.created_by = words(record->config.Cmd);
  auto write_layer = [&](ByteSink& out) -> Status {
    HeldStill still(*record, input.pause ? container->instance() : nullptr);
    TRY(still.hold());
    TRY(failpoint("image.commit.paused"));
    TRY(drivers::write_diff(daemon.graph_driver(), record->id, out));
    return still.let_go();
  };
  std::string name;
  Digest id =
      TRY(daemon.images().store().commit(job, record->image_id, write_layer, options, name));
  job.after_commit([this, record, id, name, comment = input.comment] {
    if (!name.empty()) daemon.events().publish({"image", "tag", id.text(), {{"name", name}}, 0});
    publish_event(*record, "commit",
                  {{"comment", comment}, {"imageID", id.text()}, {"imageRef", name}});
  });
  return ImageCommit::Output{id.text()};
}

Status Containers::hold_still(const api::Strings& ids, const std::function<Status()>& work) {
  std::vector<std::unique_ptr<HeldStill>> held;
  for (const std::string& id : ids) {
    std::shared_ptr<Container> container = impl_->table.by_id(id);
    if (!container) continue;
    held.push_back(std::make_unique<HeldStill>(*container->record(), container->instance()));
    TRY(held.back()->hold());
  }
  TRY(work());
  for (const std::unique_ptr<HeldStill>& one : held) TRY(one->let_go());
  return {};
}

bool Containers::is_running(const std::string& id) const {
  std::shared_ptr<Container> container = impl_->table.by_id(id);
  return container && container->record()->running();
}

Result<json::array> Containers::changes(const std::string& reference) const {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  json::array out;
  TRY(impl_->daemon.graph_driver().diff(container->id(), [&](const drivers::Change& change) {
    out.push_back(json::object{{"Kind", static_cast<int>(change.kind)}, {"Path", change.path}});
    return Status();
  }));
  return out;
}

}  // namespace gantry::daemon
