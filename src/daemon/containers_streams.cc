#include "base/log.h"
#include "daemon/containers_impl.h"

namespace gantry::daemon {

Result<std::shared_ptr<WaitChannel>> Containers::wait(const std::string& reference,
                                                      WaitCondition condition) {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  std::shared_ptr<WaitChannel> channel = container->add_waiter(condition);
  // Removed between the look-up and the waiter: nobody else would wake it.
  if (!impl_->table.by_id(container->id()))
    container->wake_waiters(true, {container->record()->state.exit_code, {}});
  return channel;
}

Result<Containers::AttachInfo> Containers::can_attach(const std::string& reference,
                                                      const AttachQuery& query) const {
  (void)query;
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  std::shared_ptr<const ContainerRecord> record = container->record();
  if (record->state.status == "paused")
    return conflict("container {} is paused, unpause the container before attach", record->id);
  if (record->state.status == "restarting")
    return conflict("container {} is restarting, wait until the container is running", record->id);
  return AttachInfo{record->config.Tty};
}

Result<std::optional<Containers::RunningAttach>> Containers::attach(const std::string& reference,
                                                                    const AttachQuery& query,
                                                                    ClientStream client) {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  std::shared_ptr<const ContainerRecord> record = container->record();
  impl_->publish_event(*record, "attach");
  if (!query.stream) return std::optional<RunningAttach>();
  AttachQuery effective = query;
  if (!record->config.OpenStdin) effective.standard_in = false;
  std::optional<Container::PendingAttach> now =
      container->add_pending({effective, std::move(client)});
  if (!now) return std::optional<RunningAttach>();  // it gets its output from the start on
  std::shared_ptr<drivers::Instance> instance = container->instance();
  if (!instance) return conflict("container {} is not running", record->id);
  return RunningAttach{std::move(instance), effective, std::move(now->client), record->config.Tty};
}

Status Containers::finish_attach(RunningAttach attach) {
  return Impl::attach_to(*attach.instance, {attach.query, std::move(attach.client)},
                         attach.terminal);
}

Status Containers::resize(const std::string& reference, unsigned rows, unsigned columns) {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  std::shared_ptr<drivers::Instance> instance = container->instance();
  if (!container->record()->running() || !instance)
    return conflict("cannot resize a stopped container: unknown: container {} is not running",
                    container->id());
  TRY(instance->resize({static_cast<uint16_t>(rows), static_cast<uint16_t>(columns)}));
  impl_->publish_event(*container->record(), "resize",
                       {{"height", std::to_string(rows)}, {"width", std::to_string(columns)}});
  return {};
}

Result<std::string> Containers::full_id(const std::string& reference) const {
  std::shared_ptr<Container> container = TRY(impl_->table.find(reference));
  return container->id();
}

}  // namespace gantry::daemon
