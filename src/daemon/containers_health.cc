// Runs the healthchecks: a timer for each container that has one, a job for each check.
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/units.h"
#include "daemon/containers_impl.h"
#include "daemon/health.h"

namespace gantry::daemon {
namespace {

using Clock = std::chrono::steady_clock;

int milliseconds_to(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000));
}

// Reads what the check writes until it ends, its time is up, or the job is cancelled.
void read_output(engine::JobContext& job, int fd, Clock::time_point deadline, HealthOutput& out) {
  Demultiplexer demultiplexer;
  std::array<char, 4096> buffer;
  const int cancelled = job.cancel().fd().value_or(-1);
  while (!job.cancelled() && Clock::now() < deadline) {
    std::array<pollfd, 2> watched = {{{.fd = fd, .events = POLLIN, .revents = 0},
                                      {.fd = cancelled, .events = POLLIN, .revents = 0}}};
    if (::poll(watched.data(), watched.size(), milliseconds_to(deadline)) <= 0) continue;
    if (watched[0].revents == 0) continue;
    const ssize_t size = ::read(fd, buffer.data(), buffer.size());
    if (size == -1 && errno == EINTR) continue;
    if (size <= 0) return;
    demultiplexer.add(std::string_view(buffer.data(), static_cast<size_t>(size)), out);
  }
}

}  // namespace

Containers::CheckCounts Containers::check_counts() const {
  return {impl_->checks_run, impl_->checks_failed};
}

void Containers::Impl::start_checks(const std::shared_ptr<Container>& container) {
  const uint64_t generation = container->new_check_generation();
  schedule_check(timer, container, generation);
}

// The timer calls only while this object is there; the end of a check may come later.
void Containers::Impl::schedule_check(const std::shared_ptr<Timer>& clock,
                                      const std::shared_ptr<Container>& container,
                                      uint64_t generation) {
  std::shared_ptr<const ContainerRecord> record = container->record();
  const std::optional<HealthProbe> probe = health_probe(record->config);
  if (!probe || record->state.status != "running") return;
  std::weak_ptr<Container> weak = container;
  clock->schedule(time_to_next_check(*probe, record->state, now_ns()),
                  [this, clock, weak, generation, run = record->state.run] {
                    std::shared_ptr<Container> alive = weak.lock();
                    if (!alive || alive->check_generation() != generation) return;
                    auto job = daemon.engine().submit<ContainerHealthCheck>(
                        {alive->id(), run, static_cast<int64_t>(generation)}, ourselves());
                    job->on_done([this, clock, weak, generation] {
                      std::shared_ptr<Container> still = weak.lock();
                      if (still && still->check_generation() == generation)
                        schedule_check(clock, still, generation);
                    });
                  });
}

// Blocks for as long as the check takes. What went wrong with running it is its result.
HealthResult Containers::Impl::run_check(engine::JobContext& job, const ContainerRecord& record,
                                         const HealthProbe& probe) {
  HealthResult result;
  HealthOutput output;
  result.start = now_ns();
  const Clock::time_point deadline = Clock::now() + std::chrono::nanoseconds(probe.timeout);
  std::string exec;
  bool in_time = true;
  Status ran = [&]() -> Status {
    ExecCreate::Input create;
    create.container = record.id;
    create.config.AttachStdout = create.config.AttachStderr = true;
    create.config.Cmd.items = probe.command;
    exec = TRY(job.run<ExecCreate>(std::move(create))).Id;
    auto sockets = TRY(sys::socketpair(SOCK_STREAM));
    ExecStart::Input start;
    start.exec = exec;
    start.client = std::make_shared<ClientStream>();
    start.client->fd = std::move(sockets.first);
    TRY(job.run<ExecStart>(std::move(start)));
    TRY(failpoint("container.check.running"));
    read_output(job, sockets.second.get(), deadline, output);
    in_time = wait_for_exec(job, exec, deadline, result.exit_code);
    return {};
  }();
  if (!ran) {
    result.exit_code = -1;
    output.add(ran.error().message());
  } else if (!in_time) {
    result.exit_code = -1;
    if (std::shared_ptr<Container> container = table.by_id(record.id))
      if (std::shared_ptr<drivers::Instance> instance = container->instance())
        log::ignored("check " + exec, instance->exec_signal(exec, SIGKILL));
    HealthOutput late;
    late.add(fmt::format("Health check exceeded timeout ({})", format_duration(probe.timeout)));
    if (!output.text().empty()) late.add(": " + output.text());
    output = late;
  }
  {  // one that was killed is forgotten later, as any other
    std::lock_guard lock(exec_mutex);
    auto found = execs.find(exec);
    if (found != execs.end() && !found->second.running) execs.erase(found);
  }
  result.end = now_ns();
  result.output = output.text();
  return result;
}

bool Containers::Impl::wait_for_exec(engine::JobContext& job, const std::string& id,
                                     Clock::time_point deadline, int& exit_code) {
  auto registration = job.cancel().on_cancel([this] {
    { std::lock_guard lock(exec_mutex); }
    exec_changed.notify_all();
  });
  std::unique_lock lock(exec_mutex);
  auto ended = [&] {
    auto found = execs.find(id);
    if (found != execs.end() && !found->second.exit_code) return false;
    exit_code = found == execs.end() ? -1 : *found->second.exit_code;
    return true;
  };
  while (!ended())
    if (job.cancelled() || exec_changed.wait_until(lock, deadline) == std::cv_status::timeout)
      return ended();
  return true;
}

Result<Nothing> Containers::Impl::health_check(engine::JobContext& job,
                                               const ContainerHealthCheck::Input& input) {
  std::shared_ptr<Container> container = table.by_id(input.container);
  if (!container) return Nothing{};
  auto current = [&](const ContainerRecord& record) {
    return record.state.run == input.run && record.state.status == "running" &&
           container->check_generation() == static_cast<uint64_t>(input.generation);
  };
  std::shared_ptr<const ContainerRecord> before = container->record();
  const std::optional<HealthProbe> probe = health_probe(before->config);
  if (!probe || !current(*before)) return Nothing{};
  HealthResult result = run_check(job, *before, *probe);
  TRY(job.check());

  TRY(job.lock({{engine::LockKind::container, container->id()}}));
  ContainerRecord record = *container->record();
  if (!table.by_id(record.id) || !current(record)) return Nothing{};
  TRY(failpoint("container.checked"));
  ++checks_run;
  if (result.exit_code != 0) ++checks_failed;
  const bool changed = add_check_result(record.state, *probe, std::move(result));
  commit(job, *container, record);
  if (!changed) return Nothing{};
  job.after_commit([this, record] {
    publish_event(record, "health_status: " + record.state.health->status);
    // Not one that somebody is stopping just now, which fails checks too.
    if (record.restart_unhealthy && record.state.health->status == "unhealthy" &&
        !record.state.manually_stopped) {
      log::warn("container {} ({}) is unhealthy and is restarted", record.name,
                short_id(record.id));
      ContainerRestart::Input restart;
      restart.container = record.id;
      (void)daemon.engine().submit<ContainerRestart>(std::move(restart), ourselves());
    }
  });
  return Nothing{};
}

}  // namespace gantry::daemon
