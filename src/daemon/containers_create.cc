#include <algorithm>
#include <set>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "daemon/container_links.h"
#include "daemon/containers_impl.h"
#include "daemon/images.h"
#include "daemon/mounts.h"
#include "daemon/names.h"
#include "daemon/spec_builder.h"
#include "daemon/trust.h"
#include "daemon/validate.h"
#include "daemon/volumes.h"
#include "drivers/graph/graph_driver.h"

namespace gantry::daemon {
namespace {

Result<std::string> claim_name(ContainerTable& table, const std::string& wanted,
                               const std::string& id) {
  if (!wanted.empty()) {
    std::string name = wanted.starts_with('/') ? wanted.substr(1) : wanted;
    if (!is_valid_name(name))
      return invalid("Invalid container name ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                     wanted);
    TRY(table.claim_name(name, id));
    return name;
  }
  for (int attempt = 0; attempt < 8; ++attempt) {
    std::string name = random_name(attempt);
    if (table.claim_name(name, id)) return name;
  }
  TRY(table.claim_name(short_id(id), id));
  return short_id(id);
}

// The mounts of the containers in VolumesFrom ("name[:ro|rw]").
Result<std::vector<MountPoint>> inherited_mounts(const ContainerTable& table,
                                                 const api::Strings& from) {
  std::vector<MountPoint> out;
  for (const std::string& spec : from) {
    size_t colon = spec.find(':');
    std::string mode = colon == std::string::npos ? "" : spec.substr(colon + 1);
    if (mode != "" && mode != "ro" && mode != "rw" && mode != "z" && mode != "Z")
      return invalid("invalid mode: {}", mode);
    std::shared_ptr<Container> other = TRY(table.find(spec.substr(0, colon)));
    for (MountPoint mount : other->record()->mounts) {
      if (mode == "ro") mount.writable = false;
      mount.anonymous = false;  // it belongs to the other one
      out.push_back(std::move(mount));
    }
  }
  return out;
}

// What a mount says of the volume that is made for it.
api::StringMap volume_labels(const api::HostConfig& host, const MountPoint& mount) {
  for (const api::Mount& given : host.Mounts)
    if (given.Type == "volume" && given.Target == mount.destination && given.volume)
      return given.volume->Labels;
  return {};
}

struct ImageMount {
  std::string layer, image;
  Digest top_layer;
};

void set_command(ContainerRecord& record) {
  api::Strings words;
  if (record.config.Entrypoint.items) words = *record.config.Entrypoint.items;
  if (record.config.Cmd.items)
    words.insert(words.end(), record.config.Cmd.items->begin(), record.config.Cmd.items->end());
  if (words.empty()) return;
  record.path = words.front();
  record.args.assign(words.begin() + 1, words.end());
}

}  // namespace

Result<ContainerCreate::Output> Containers::Impl::create(engine::JobContext& job,
                                                         ContainerCreate::Input input) {
  api::ContainerConfig& config = input.body.config;
  api::HostConfig& host = input.body.host_config;
  if (config.Image.empty()) return invalid("no image specified: Image must not be empty");
  image::Image image = TRY(daemon.images().store().find(config.Image));
  TRY(daemon.trust().check_use(image));

  ContainerRecord record;
  record.id = new_id();
  record.created = now_ns();
  // Before the image's labels come in, which steer nothing.
  if (auto label = config.Labels.find(std::string(kRestartUnhealthyLabel));
      label != config.Labels.end())
    record.restart_unhealthy = label->second == "true" || label->second == "1";
  merge_image_config(config, image.config);
  set_defaults(host, daemon.options());
  api::Strings warnings = TRY(validate(config, host));
  for (std::string& warning : discard_unsupported(host, limit_support()))
    warnings.push_back(std::move(warning));
  if (config.Hostname.empty() && host.UTSMode != "host") config.Hostname = short_id(record.id);
  if (host.UTSMode == "host" || host.NetworkMode == "host") {
    std::array<char, 65> name = {};
    (void)::gethostname(name.data(), name.size() - 1);
    if (config.Hostname.empty() || config.Hostname == short_id(record.id))
      config.Hostname = name.data();
  }
  record.config = config;
  record.host_config = host;
  record.networks = input.body.networking_config.EndpointsConfig;
  daemon.networks().complete(record);
  record.image_id = image.id.text();
  record.graph_driver = daemon.graph_driver().name();
  set_command(record);
  if (record.path.empty()) return invalid("no command specified");
  record.log_path = host.log_config.Type == "none"
                        ? ""
                        : fmt::format("{}/{}-json.log", directory_of(record.id), record.id);
  std::vector<MountPoint> inherited = TRY(inherited_mounts(table, host.VolumesFrom));
  record.mounts = TRY(collect_mounts(config, host, inherited));
  TRY(daemon.networks().validate(record));
  TRY(build_spec(record,
                 {.container_directory = directory_of(record.id)}));  // refused now, not at start

  for (const std::string& text : host.Links) {
    const ContainerLink link = TRY(parse_link(text));
    auto other = table.find(link.container);
    if (!other)  // not a 404, from which clients conclude that the image is missing
      return invalid("could not get container for {}: {}", link.container, other.error().message());
    record.links[link.alias] = (*other)->id();
  }
  record.name = TRY(claim_name(table, input.name, record.id));
  auto claim = std::make_shared<NameClaim>(table, record.name, record.id);

  std::vector<engine::LockName> locks = {
      {engine::LockKind::container, record.id},
      {engine::LockKind::image, record.image_id, engine::LockMode::shared}};
  for (MountPoint& mount : record.mounts) {
    if (mount.type != "volume") continue;
    if (mount.anonymous) mount.name = random_hex(32);
    mount.source = daemon.volumes().directory(mount.name);
    locks.push_back({engine::LockKind::volume, mount.name});
  }
  // An image is mounted through a layer of its own, which is never written to.
  std::vector<ImageMount> image_mounts;
  std::set<std::string> mounted_images;
  for (MountPoint& mount : record.mounts) {
    if (mount.type != "image") continue;
    image::Image mounted = TRY(daemon.images().store().find(mount.name));
    TRY(daemon.trust().check_use(mounted));
    mount.source = mounted.id.text();
    mount.layer = new_id();
    image_mounts.push_back({mount.layer, mount.source, mounted.top_layer});
    if (mount.source != record.image_id && mounted_images.insert(mount.source).second)
      locks.push_back({engine::LockKind::image, mount.source, engine::LockMode::shared});
  }
  TRY(job.lock(std::move(locks)));

  std::vector<engine::Resource> intents = {
      {"container-files", record.id, owner_of(record.id), ""},
      {std::string(drivers::kContainerKind), record.id, owner_of(record.id), ""}};
  api::Strings new_volumes = TRY(daemon.volumes().missing(record.mounts));
  for (const std::string& name : new_volumes) intents.push_back(daemon.volumes().intent(name));
  for (const ImageMount& mount : image_mounts)
    intents.push_back({std::string(drivers::kContainerKind), mount.layer, owner_of(record.id), ""});
  TRY(job.take(std::move(intents)));

  TRY(failpoint("container.files"));
  TRY(fs::make_directories(directory_of(record.id), 0710));
  TRY(failpoint("container.files.made"));
  for (const std::string& name : new_volumes) TRY(daemon.volumes().make(name));
  uint64_t size_limit = TRY(storage_size(host));
  record.rootfs = TRY(daemon.graph_driver().create_container(
      {record.id, image.top_layer,
       host.AutoRemove ? drivers::ContainerLifetime::ephemeral : drivers::ContainerLifetime::kept,
       size_limit}));
  for (const ImageMount& mount : image_mounts)
    TRY(daemon.graph_driver().create_container(
        {mount.layer, mount.top_layer, drivers::ContainerLifetime::kept, 0}));
  TRY(daemon.volumes().copy_up(record.mounts, record.rootfs));

  TRY(failpoint("container.made"));

  auto container = std::make_shared<Container>(record);
  job.on_commit([this, record, new_volumes](graph::Transaction& tx) -> Status {
    for (const MountPoint& mount : record.mounts)
      if (mount.type == "volume" &&
          std::find(new_volumes.begin(), new_volumes.end(), mount.name) != new_volumes.end())
        TRY(daemon.volumes().add_node(tx, mount.name, mount.anonymous,
                                      volume_labels(record.host_config, mount)));
    TRY(store(tx, record));
    graph::View view = daemon.graph().read(tx);
    graph::Node node = TRY(view.get(graph::NodeKind::container, record.id));
    TRY(daemon.graph().claim_name(tx, graph::NodeKind::container, record.name, node.id));
    graph::Node image_node = TRY(view.get(graph::NodeKind::image, record.image_id));
    TRY(daemon.graph().link(tx, node.id, graph::EdgeKind::uses, image_node.id));
    std::set<std::string> linked = {record.image_id};
    for (const MountPoint& mount : record.mounts) {
      if (mount.type != "image" || !linked.insert(mount.source).second) continue;
      graph::Node mounted = TRY(view.get(graph::NodeKind::image, mount.source));
      TRY(daemon.graph().link(tx, node.id, graph::EdgeKind::uses, mounted.id));
    }
    for (const MountPoint& mount : record.mounts) {
      if (mount.type != "volume") continue;
      graph::Node volume = TRY(view.get(graph::NodeKind::volume, mount.name));
      TRY(daemon.graph().link(tx, node.id, graph::EdgeKind::uses, volume.id));
    }
    return {};
  });
  job.after_commit([this, container, claim, name = record.name, new_volumes, record] {
    claim->keep();
    (void)table.add(container, name);
    for (const std::string& volume : new_volumes) daemon.volumes().created(volume);
    publish_event(record, "create");
  });
  return ContainerCreate::Output{record.id, warnings};
}

}  // namespace gantry::daemon
