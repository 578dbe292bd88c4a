#include <gmock/gmock.h>
#include <poll.h>

#include <algorithm>
#include <latch>
#include <thread>

#include "base/clock.h"
#include "engine/journal.h"
#include "engine/test_world.h"

namespace gantry::engine {
namespace {

using namespace testing_world;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

#define ASSERT_OK(...)                                     \
  do {                                                     \
    auto&& ok_result = (__VA_ARGS__);                      \
    ASSERT_TRUE(ok_result) << ok_result.error().message(); \
  } while (0)

struct Unknown {
  static constexpr std::string_view kName = "test.unknown";
  using Input = int;
  using Output = Nothing;
};

class EngineTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-engine-XXXXXX";
    directory_ = ::mkdtemp(name);
    world_ = std::make_unique<World>(directory_);
    open();
  }
  void TearDown() override {
    close();
    EXPECT_TRUE(fs::remove_tree(directory_));
  }
  void open() {
    database_ = graph::Database::open(directory_ + "/db").release();
    EngineOptions options;
    options.concurrency[JobClass::container] = 4;
    options.retry_interval = 5ms;
    options.queue_limit = 8;
    engine_ = Engine::create(*database_, options).release();
    world_->register_kinds(engine_->resources());
    add_jobs(*engine_, *world_);
  }
  void close() {
    engine_.reset();
    database_.reset();
  }
  Result<std::string> run(Any::Input handler, SubmitOptions options = {}) {
    return engine_->run<Any>(std::move(handler), std::move(options));
  }
  void expect_no_rows() {
    ASSERT_TRUE(engine_->drain_releases(10s));
    std::vector<ResourceRow> rows = *engine_->resources().list();
    for (const ResourceRow& row : rows) ADD_FAILURE() << row.kind << " " << row.name << " is left";
    EXPECT_THAT(world_->all("thing"), IsEmpty());
    EXPECT_THAT(world_->all("slow"), IsEmpty());
  }

  std::string directory_;
  std::unique_ptr<World> world_;
  std::unique_ptr<graph::Database> database_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, ASuccessfulJobLeavesWhatItsOwnerHoldsAndNothingElse) {
  ASSERT_OK(engine_->run<Create>({"c1"}));
  std::vector<ResourceRow> rows = *engine_->resources().owned_by("container:c1");
  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_EQ(rows[0].name, "c1-dir");
  EXPECT_EQ(rows[0].state, ResourceState::held);
  EXPECT_FALSE(world_->has("thing", "c1-tmp")) << "a resource without an owner ends with its job";
  EXPECT_TRUE(*engine_->graph().read().contains(graph::NodeKind::container, "c1"));
  JobInfo job = engine_->list()->at(0);
  EXPECT_EQ(job.status, JobStatus::done);
  EXPECT_EQ(job.name, "test.create");
  EXPECT_THAT(job.resources, ElementsAre("thing c1-dir", "slow c1-veth", "thing c1-tmp"));

  ASSERT_OK(engine_->run<Remove>("c1"));
  expect_no_rows();
}

TEST_F(EngineTest, AFailedJobGivesEverythingBackInReverse) {
  Result<std::string> failed = engine_->run<Create>({"c1", true});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message(), "c1 was told to fail");
  expect_no_rows();
  EXPECT_THAT(world_->released(), ElementsAre("c1-tmp", "c1-dir", "c1-veth"))
      << "reverse; the deferred one by the releaser";
  JobInfo job = engine_->list()->at(0);
  EXPECT_EQ(job.status, JobStatus::failed);
  EXPECT_EQ(job.error, "c1 was told to fail");
}

TEST_F(EngineTest, AFailingGraphWriteRollsTheResourcesBackToo) {
  ASSERT_OK(engine_->run<Create>({"c1"}));
  Result<std::string> again = run([&](JobContext& job) -> Result<std::string> {
    TRY(job.take({{.kind = "thing", .name = "x", .owner = "container:c1"}}));
    TRY(world_->make("thing", "x"));
    job.on_commit([&](graph::Transaction& tx) -> Status {
      TRY(engine_->graph().insert(tx, {.kind = graph::NodeKind::container, .key = "c1"}));
      return {};
    });
    return "";
  });
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind(), ErrorKind::conflict);
  EXPECT_FALSE(world_->has("thing", "x"));
}

TEST_F(EngineTest, AnExceptionIsAnErrorOfTheJob) {
  Result<std::string> result =
      run([](JobContext&) -> Result<std::string> { throw std::runtime_error("oops"); });
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("oops"));
}

TEST_F(EngineTest, AThingInUseIsRefusedAndOneBeingReleasedIsFinishedFirst) {
  ASSERT_OK(engine_->run<Create>({"c1"}));
  auto take = [&](JobContext& job) -> Result<std::string> {
    TRY(job.take({{.kind = "slow", .name = "c1-veth", .owner = "container:c2"}}));
    TRY(world_->make("slow", "c1-veth"));
    return "";
  };
  Result<std::string> taken = run(take);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().message(), "slow c1-veth is in use by container:c1");
  for (int i = 0; i < 20; ++i) {
    ASSERT_OK(run([&](JobContext& job) -> Result<std::string> {
      TRY(job.release("slow", "c1-veth"));
      return "";
    }));
    ASSERT_OK(run(take));
    EXPECT_TRUE(world_->has("slow", "c1-veth"));
  }
  ASSERT_TRUE(engine_->drain_releases(10s));
  EXPECT_TRUE(world_->has("slow", "c1-veth")) << "a late release must not hit the new thing";
}

TEST_F(EngineTest, AReleaseThatFailsIsTriedAgainUntilItSucceeds) {
  world_->failing = true;
  ASSERT_FALSE(engine_->run<Create>({"c1", true}));
  ASSERT_TRUE(engine_->drain_releases(10s));
  EXPECT_THAT(*engine_->resources().list(), SizeIs(3));
  Result<ReconcileReport> report = engine_->reconcile(ReconcileMode::check);
  ASSERT_OK(report);
  EXPECT_FALSE(report->sound());
  world_->failing = false;
  auto give_up = std::chrono::steady_clock::now() + 10s;
  while (!engine_->resources().list()->empty() && std::chrono::steady_clock::now() < give_up)
    engine_->drain_releases(1s);
  expect_no_rows();
}

TEST_F(EngineTest, WorkMadeFinalSurvivesALaterFailure) {
  Result<std::string> result = run([&](JobContext& job) -> Result<std::string> {
    TRY(job.take({{.kind = "thing", .name = "kept", .owner = "image:i"}}));
    TRY(world_->make("thing", "kept"));
    TRY(job.commit_now([&](graph::Transaction& tx) -> Status {
      TRY(engine_->graph().put(tx, {.kind = graph::NodeKind::image, .key = "i"}));
      return {};
    }));
    TRY(job.take({{.kind = "thing", .name = "lost", .owner = "image:i"}}));
    TRY(world_->make("thing", "lost"));
    return invalid("the second half failed");
  });
  EXPECT_FALSE(result);
  EXPECT_THAT(world_->all("thing"), ElementsAre("kept"));
  EXPECT_TRUE(*engine_->graph().read().contains(graph::NodeKind::image, "i"));
}

TEST_F(EngineTest, ACancelledJobEndsAndIsRolledBack) {
  std::latch taken(1);
  auto handle = engine_->submit<Any>([&](JobContext& job) -> Result<std::string> {
    TRY(job.take({{.kind = "thing", .name = "x", .owner = "container:c"}}));
    TRY(world_->make("thing", "x"));
    taken.count_down();
    int fd = TRY(job.cancel().fd());
    TRY(sys::poll_one(fd, POLLIN, 10'000));
    TRY(job.check());
    return "not cancelled";
  });
  taken.wait();
  ASSERT_OK(engine_->cancel(handle->id()));
  Result<std::string> result = handle->wait();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::cancelled);
  EXPECT_EQ(engine_->inspect(handle->id())->status, JobStatus::cancelled);
  EXPECT_EQ(engine_->cancel(handle->id()).error().kind(), ErrorKind::conflict);
  EXPECT_EQ(engine_->cancel(9999).error().kind(), ErrorKind::not_found);
  expect_no_rows();
}

TEST_F(EngineTest, ADeadlineEndsAJobThatWaitsForALock) {
  std::latch held(1), leave(1);
  auto holder = engine_->submit<Any>([&](JobContext& job) -> Result<std::string> {
    TRY(job.lock({{LockKind::container, "a"}}));
    held.count_down();
    leave.wait();
    return "";
  });
  held.wait();
  SubmitOptions options;
  options.deadline =
      std::chrono::steady_clock::now() + 500ms;  // long enough to get as far as the lock
  Result<std::string> late = run(
      [&](JobContext& job) -> Result<std::string> {
        TRY(job.lock({{LockKind::container, "a"}}));
        return "";
      },
      options);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().message(), "waiting for container a: deadline exceeded");
  leave.count_down();
  ASSERT_OK(holder->wait());
}

TEST_F(EngineTest, ExclusiveLocksQueueAndSharedOnesDoNot) {
  std::atomic<int> inside{0}, most{0};
  auto count = [&](LockMode mode) {
    std::latch both(2);
    std::atomic<int> arrived{0};
    std::vector<std::shared_ptr<JobHandle<std::string>>> handles;
    most = 0;
    for (int i = 0; i < 4; ++i)
      handles.push_back(engine_->submit<Any>([&, mode](JobContext& job) -> Result<std::string> {
        TRY(job.lock({{LockKind::image, "i", mode}}));
        int now = ++inside;
        most = std::max(most.load(), now);
        if (mode == LockMode::shared && arrived++ < 2) {
          both.count_down();
          both.wait();  // two must be inside at once
        }
        --inside;
        return "";
      }));
    for (auto& handle : handles) ASSERT_TRUE(handle->wait());
  };
  count(LockMode::exclusive);
  EXPECT_EQ(most, 1);
  count(LockMode::shared);
}

// What breaks a rule of the locks: the end of the process where builds check themselves, and else
// the end of the job.
class LockRules : public EngineTest {
 protected:
  void expect_refused(const Any::Input& handler, const std::string& rule) {
#ifdef GANTRY_FAILPOINTS
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH((void)run(handler), "job [0-9]+ test.any: " + rule);
#else
    Result<std::string> result = run(handler);
    ASSERT_FALSE(result);
    EXPECT_THAT(result.error().message(), HasSubstr(rule));
#endif
  }
};

TEST_F(LockRules, AreKeptByAnyOrderInOneRequestAndByAskingTwice) {
  ASSERT_OK(run([](JobContext& job) -> Result<std::string> {
    TRY(job.lock({{LockKind::image, "b"}, {LockKind::container, "z"}}));
    TRY(job.lock({{LockKind::image, "b"}}));
    TRY(job.lock({{LockKind::volume, "a"}, {LockKind::network, "a"}}));
    return "";
  }));
}

TEST_F(LockRules, NamesOfAKindGoUpwards) {
  expect_refused(
      [](JobContext& job) -> Result<std::string> {
        TRY(job.lock({{LockKind::image, "b"}}));
        TRY(job.lock({{LockKind::image, "a"}}));
        return "";
      },
      "lock order: image a is wanted after image b");
}

TEST_F(LockRules, KindsGoUpwardsInAChildToo) {
  expect_refused(
      [](JobContext& job) -> Result<std::string> {
        TRY(job.lock({{LockKind::network, "n"}}));
        TRY(job.run<Any>([](JobContext& child) -> Result<std::string> {
          TRY(child.lock({{LockKind::container, "c"}}));
          return "";
        }));
        return "";
      },
      "lock order: container c is wanted after network n");
}

TEST_F(LockRules, ASharedLockDoesNotBecomeExclusive) {
  expect_refused(
      [](JobContext& job) -> Result<std::string> {
        TRY(job.lock({{LockKind::image, "b", LockMode::shared}}));
        TRY(job.lock({{LockKind::image, "b"}}));
        return "";
      },
      "lock order: image b is held as shared and wanted as exclusive");
}

TEST_F(LockRules, NoneIsWaitedForInsideATransaction) {
  expect_refused(
      [this](JobContext& job) -> Result<std::string> {
        TRY(database_->write([&](graph::Transaction&) {
          return job.lock({{LockKind::image, "b"}});
        }));
        return "";
      },
      "lock order: a lock is wanted inside a transaction");
}

TEST_F(EngineTest, AStuckJobHoldsUpItsOwnObjectOnlyAndInOrder) {
  std::latch stuck(1), leave(1);
  std::mutex mutex;
  std::vector<std::string> order;
  auto on = [&](const std::string& name, std::string note) {
    return [&, name, note](JobContext& job) -> Result<std::string> {
      TRY(job.lock({{LockKind::container, name}}));
      if (note == "stuck") {
        stuck.count_down();
        leave.wait();
      }
      std::lock_guard lock(mutex);
      order.push_back(note);
      return "";
    };
  };
  auto first = engine_->submit<Any>(on("a", "stuck"));
  stuck.wait();
  auto second = engine_->submit<Any>(on("a", "second"));
  ASSERT_OK(run(on("b", "other")));
  ASSERT_OK(run(on("c", "another")));
  EXPECT_FALSE(second->finished());
  EXPECT_EQ(engine_->inspect(second->id())->status, JobStatus::running);
  leave.count_down();
  ASSERT_OK(first->wait());
  ASSERT_OK(second->wait());
  EXPECT_THAT(order, ElementsAre("other", "another", "stuck", "second"));
}

TEST_F(EngineTest, AJobThatWaitsForALockIsCancelledWithoutHavingIt) {
  std::latch held(1), leave(1), waiting(1);
  auto holder = engine_->submit<Any>([&](JobContext& job) -> Result<std::string> {
    TRY(job.lock({{LockKind::container, "a"}}));
    held.count_down();
    leave.wait();
    return "";
  });
  held.wait();
  auto waiter = engine_->submit<Any>([&](JobContext& job) -> Result<std::string> {
    TRY(job.take({{.kind = "thing", .name = "x", .owner = "container:c"}}));
    waiting.count_down();
    TRY(job.lock({{LockKind::container, "a"}}));
    return "";
  });
  waiting.wait();
  ASSERT_OK(engine_->cancel(waiter->id()));
  Result<std::string> result = waiter->wait();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "waiting for container a: cancelled");
  EXPECT_EQ(engine_->inspect(waiter->id())->status, JobStatus::cancelled);
  leave.count_down();
  ASSERT_OK(holder->wait());
  expect_no_rows();
}

TEST_F(EngineTest, AJobIsCancelledOrLateBeforeItsTurn) {
  std::latch leave(1);
  std::vector<std::shared_ptr<JobHandle<std::string>>> running;
  for (int i = 0; i < 4; ++i)
    running.push_back(engine_->submit<Any>([&](JobContext&) -> Result<std::string> {
      leave.wait();
      return "";
    }));
  bool ran = false;
  auto never = [&](JobContext&) -> Result<std::string> {
    ran = true;
    return "";
  };
  auto cancelled = engine_->submit<Any>(never);
  EXPECT_EQ(engine_->inspect(cancelled->id())->status, JobStatus::queued);
  ASSERT_OK(engine_->cancel(cancelled->id()));
  EXPECT_EQ(cancelled->wait().error().kind(), ErrorKind::cancelled);
  SubmitOptions options;
  options.deadline = std::chrono::steady_clock::now() + 1ms;
  auto late = engine_->submit<Any>(never, options);
  EXPECT_EQ(late->wait().error().message(), "deadline exceeded");
  leave.count_down();
  for (auto& handle : running) ASSERT_OK(handle->wait());
  EXPECT_FALSE(ran);
  EXPECT_EQ(engine_->inspect(cancelled->id())->status, JobStatus::cancelled);
  EXPECT_EQ(engine_->inspect(late->id())->status, JobStatus::failed);
}

TEST_F(EngineTest, ADeadlineEndsARunningJobWithWhatItTook) {
  SubmitOptions options;
  options.deadline = std::chrono::steady_clock::now() + 20ms;
  Result<std::string> late = run(
      [&](JobContext& job) -> Result<std::string> {
        TRY(job.take({{.kind = "thing", .name = "x", .owner = "container:c"}}));
        TRY(world_->make("thing", "x"));
        int fd = TRY(job.cancel().fd());
        TRY(sys::poll_one(fd, POLLIN, 10'000));
        TRY(job.check());
        return "";
      },
      options);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().message(), "deadline exceeded");
  expect_no_rows();
}

TEST_F(EngineTest, ARollbackIsNotCutShortByACancellation) {
  std::latch releasing(1), leave(1);
  ASSERT_OK(engine_->resources().add(
      {.name = "gated", .probe = nullptr, .release = [&](const Resource&) -> Status {
         releasing.count_down();
         leave.wait();
         return {};
       }}));
  auto handle = engine_->submit<Any>([&](JobContext& job) -> Result<std::string> {
    TRY(job.take({{.kind = "thing", .name = "x", .owner = "container:c"},
                  {.kind = "gated", .name = "g", .owner = "container:c"}}));
    TRY(world_->make("thing", "x"));
    return conflict("no");
  });
  releasing.wait();
  EXPECT_EQ(engine_->inspect(handle->id())->status, JobStatus::running);
  ASSERT_OK(engine_->cancel(handle->id()));
  leave.count_down();
  EXPECT_EQ(handle->wait().error().message(), "no") << "what failed it, not the cancellation";
  EXPECT_EQ(engine_->inspect(handle->id())->status, JobStatus::failed);
  expect_no_rows();
}

struct Digested {
  static constexpr std::string_view kName = "test.digested";
  using Input = Caller;
  using Output = Nothing;
};

TEST_F(EngineTest, TheJournalTellsWhatEachJobWasAndHowItEnded) {
  engine_->add<Digested>(
      [&](JobContext& job, Caller in) -> Result<Nothing> {
        TRY(job.take({{.kind = "thing", .name = in.name}}));
        if (in.uid == 1) return conflict("told to fail");
        if (in.uid == 2) job.cancel().cancel();
        TRY(job.check());
        return Nothing{};
      },
      JobClass::container);
  const int64_t before = now_ns();
  ASSERT_OK(engine_->run<Digested>({"done", 0, 0}));
  ASSERT_FALSE(engine_->run<Digested>({"failed", 1, 0}));
  ASSERT_FALSE(engine_->run<Digested>({"cancelled", 2, 0}));
  JobInfo lost;  // of a daemon that died
  lost.id = 100;
  lost.name = "test.lost";
  lost.status = JobStatus::running;
  lost.queued_at = lost.started_at = before;
  ASSERT_OK(database_->write(
      [&](graph::Transaction& tx) { return journal::put(tx.connection(), lost); }));
  close();
  open();
  ASSERT_OK(engine_->reconcile(ReconcileMode::repair));
  std::vector<JobInfo> jobs = *engine_->list();
  ASSERT_THAT(jobs, SizeIs(4));
  std::vector<std::string> told;
  for (const JobInfo& job : jobs) {
    told.push_back(std::string(to_string(job.status)) + ": " + job.error);
    EXPECT_LE(before, job.queued_at);
    EXPECT_LE(job.queued_at, job.started_at);
    EXPECT_LE(job.started_at, job.finished_at);
  }
  EXPECT_THAT(told, ElementsAre("interrupted: interrupted by the end of the daemon",
                                "cancelled: cancelled", "failed: told to fail", "done: "));
  EXPECT_THAT(jobs[3].resources, ElementsAre("thing done"));
  EXPECT_EQ(jobs[3].input_digest, digest_text(json::dump(Caller{"done", 0, 0})));
  EXPECT_NE(jobs[2].input_digest, jobs[3].input_digest);
}

TEST_F(EngineTest, AChildHasItsParentsLocksCallerAndCancellation) {
  SubmitOptions options;
  options.caller = {"uid:7", 7, 1};
  Result<std::string> result = run(
      [&](JobContext& job) -> Result<std::string> {
        TRY(job.lock({{LockKind::container, "c1"}}));
        std::string child = TRY(job.run<Create>({"c1"}));
        job.cancel().cancel();
        Result<std::string> second = job.run<Create>({"c2"});
        EXPECT_FALSE(second);
        return child;
      },
      options);
  ASSERT_OK(result);
  std::vector<JobInfo> jobs = *engine_->list();
  ASSERT_THAT(jobs, SizeIs(3));
  EXPECT_EQ(jobs[1].name, "test.create");
  EXPECT_EQ(jobs[1].parent, jobs[2].id);
  EXPECT_EQ(jobs[1].caller.name, "uid:7");
}

TEST_F(EngineTest, AClassIsBoundedAndControlNeverWaits) {
  std::latch leave(1);
  std::vector<std::shared_ptr<JobHandle<std::string>>> handles;
  ASSERT_OK(engine_->run<Create>({"c1"}));
  auto waiting = [&](JobContext&) -> Result<std::string> {
    leave.wait();
    return "";
  };
  for (int i = 0; i < 12; ++i) handles.push_back(engine_->submit<Any>(waiting));
  EXPECT_EQ(engine_->stats().running, 4);
  EXPECT_EQ(engine_->stats().queued, 8);
  Result<std::string> refused = run(waiting);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::unavailable);
  ASSERT_OK(engine_->run<Remove>("c1"));
  handles.back()->cancel();
  EXPECT_EQ(handles.back()->wait().error().kind(), ErrorKind::cancelled) << "without its turn";
  handles.pop_back();
  leave.count_down();
  for (auto& handle : handles) ASSERT_OK(handle->wait());
}

TEST_F(EngineTest, ProgressReachesTheListenerAndDoesNotWaitForOneThatLeft) {
  auto talk = [&](JobContext& job) -> Result<std::string> {
    for (int i = 0; i < 500; ++i) job.progress(i);
    return "said";
  };
  SubmitOptions options;
  options.want_progress = true;
  auto handle = engine_->submit<Any>(talk, options);
  ProgressChannel channel = handle->progress();
  int expected = 0;
  while (auto event = channel->pop()) EXPECT_EQ(event->as_int64(), expected++);
  EXPECT_EQ(expected, 500);
  ASSERT_OK(handle->wait());

  handle = engine_->submit<Any>(talk, options);
  channel = handle->progress();
  ASSERT_TRUE(channel->pop());
  channel.reset();
  ASSERT_OK(handle->wait());
  ASSERT_OK(engine_->submit<Any>(talk, options)->wait());  // never taken at all
}

TEST_F(EngineTest, WatchersSeeAJobToItsEnd) {
  std::latch go(1);
  auto handle = engine_->submit<Any>([&](JobContext& job) -> Result<std::string> {
    go.wait();
    job.progress("half");
    return "";
  });
  JobWatch watch = engine_->watch(handle->id());
  go.count_down();
  std::vector<JobStatus> seen;
  bool half = false;
  while (auto info = watch->pop()) {
    seen.push_back(info->status);
    half |= info->progress == json::value("half");
  }
  EXPECT_TRUE(half);
  EXPECT_EQ(seen.back(), JobStatus::done);
  EXPECT_FALSE(engine_->watch(handle->id())->pop()) << "nothing to come from an ended job";
}

TEST_F(EngineTest, DoneIsToldOnceAndOutputsAreMovedOut) {
  std::atomic<int> told{0};
  auto handle = engine_->submit<Any>([](JobContext&) -> Result<std::string> { return "out"; });
  handle->on_done([&] { ++told; });
  EXPECT_EQ(*handle->wait(), "out");
  handle->on_done([&] { ++told; });
  auto give_up = std::chrono::steady_clock::now() + 10s;
  while (told < 2 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  EXPECT_EQ(told, 2);
  EXPECT_FALSE(handle->wait());
}

TEST_F(EngineTest, ShutdownCancelsWhatDoesNotEndAndAdmitsNothing) {
  auto handle = engine_->submit<Any>([](JobContext& job) -> Result<std::string> {
    int fd = TRY(job.cancel().fd());
    TRY(sys::poll_one(fd, POLLIN, 10'000));
    TRY(job.check());
    return "";
  });
  engine_->shutdown(1ms);
  EXPECT_THAT(handle->wait().error().message(), HasSubstr("shutting down"));
  EXPECT_EQ(run([](JobContext&) -> Result<std::string> { return ""; }).error().kind(),
            ErrorKind::unavailable);
}

TEST_F(EngineTest, TheJournalIsBounded) {
  close();
  database_ = graph::Database::open(directory_ + "/db").release();
  EngineOptions options;
  options.journal_limit = 20;
  engine_ = Engine::create(*database_, options).release();
  add_jobs(*engine_, *world_);
  for (int i = 0; i < 200; ++i)
    ASSERT_OK(run([](JobContext&) -> Result<std::string> { return ""; }));
  EXPECT_LE(engine_->list(1000)->size(), 84u);
  EXPECT_EQ(engine_->list(5)->size(), 5u);
}

TEST_F(EngineTest, TheJournalForgetsWhatIsOldWhenReconciling) {
  const JobId old =
      engine_->submit<Any>([](JobContext&) -> Result<std::string> { return ""; })->id();
  ASSERT_OK(run([](JobContext&) -> Result<std::string> { return ""; }));
  close();
  database_ = graph::Database::open(directory_ + "/db").release();
  ASSERT_OK(database_->write([&](graph::Transaction& tx) {
    return tx.connection().execute("UPDATE job SET finished_at=?2 WHERE id=?1", old,
                                   now_ns() - int64_t{3601} * 1'000'000'000);
  }));
  EngineOptions options;
  options.journal_age = 1h;
  engine_ = Engine::create(*database_, options).release();
  ASSERT_OK(engine_->reconcile(ReconcileMode::check));
  ASSERT_EQ(engine_->list()->size(), 2u);
  ASSERT_OK(engine_->reconcile(ReconcileMode::repair));
  ASSERT_EQ(engine_->list()->size(), 1u);
  EXPECT_NE(engine_->list()->front().id, old);
}

TEST_F(EngineTest, JobsAreListedByNameAndStatus) {
  ASSERT_OK(run([](JobContext&) -> Result<std::string> { return ""; }));
  ASSERT_FALSE(run([](JobContext&) -> Result<std::string> { return conflict("no"); }));
  ASSERT_OK(engine_->run<Create>({"x"}));
  auto names = [&](JobFilter filter, size_t limit = 100) {
    std::vector<std::string> out;
    const std::vector<JobInfo> jobs = *engine_->list(limit, filter);
    for (const JobInfo& job : jobs)
      out.push_back(job.name + " " + std::string(to_string(job.status)));
    return out;
  };
  EXPECT_THAT(names({}), ElementsAre("test.create done", "test.any failed", "test.any done"));
  EXPECT_THAT(names({.names = {"test.any"}, .statuses = {}}),
              ElementsAre("test.any failed", "test.any done"));
  EXPECT_THAT(names({.names = {"test"}, .statuses = {JobStatus::done}}),
              ElementsAre("test.create done", "test.any done"));
  EXPECT_THAT(names({.names = {"test.a", "tes"}, .statuses = {}}), IsEmpty());
  EXPECT_THAT(names({.names = {}, .statuses = {JobStatus::failed, JobStatus::running}}, 1),
              ElementsAre("test.any failed"));

  // A running one is what it is now, whatever its row says.
  std::string seen;
  ASSERT_OK(run([&](JobContext& job) -> Result<std::string> {
    TRY(job.take({{.kind = "thing", .name = "t"}}));
    const std::vector<JobInfo> jobs =
        TRY(engine_->list(1, {.names = {}, .statuses = {JobStatus::running}}));
    for (const JobInfo& info : jobs) seen += info.name;
    return "";
  }));
  EXPECT_EQ(seen, "test.any");
  EXPECT_EQ(engine_->list(100, {.names = {}, .statuses = {JobStatus::running}})->size(), 0u);
}

TEST_F(EngineTest, ReconcileFindsDifferencesInBothDirections) {
  ASSERT_OK(engine_->run<Create>({"c1"}));
  ASSERT_OK(engine_->run<Create>({"c2"}));
  EXPECT_TRUE(engine_->reconcile(ReconcileMode::check)->sound());
  ASSERT_OK(fs::remove_tree(directory_ + "/thing/c1-dir"));  // vanished
  ASSERT_OK(world_->make("thing", "stranger"));              // orphan
  graph::Node c2 = *engine_->graph().read().get(graph::NodeKind::container, "c2");
  ASSERT_OK(
      database_->write([&](graph::Transaction& tx) { return engine_->graph().remove(tx, c2.id); }));

  auto names = [](const ReconcileReport& report) {
    std::vector<std::string> out;
    for (const Finding& found : report.findings)
      out.push_back(fmt::format("{} {}", to_string(found.what), found.name));
    return out;
  };
  ReconcileReport report = *engine_->reconcile(ReconcileMode::check);
  EXPECT_THAT(names(report),
              testing::UnorderedElementsAre("vanished c1-dir", "orphan stranger",
                                            "ownerless c2-dir", "ownerless c2-veth"));
  EXPECT_TRUE(world_->has("thing", "stranger")) << "checking changes nothing";
  report = *engine_->reconcile(ReconcileMode::repair);
  for (const Finding& found : report.findings)
    EXPECT_TRUE(found.repaired) << found.name << found.detail;
  ASSERT_TRUE(engine_->drain_releases(10s));
  EXPECT_TRUE(engine_->reconcile(ReconcileMode::check)->sound());
  EXPECT_THAT(world_->all("thing"), IsEmpty());
  EXPECT_THAT(world_->all("slow"), ElementsAre("c1-veth"));
}

TEST_F(EngineTest, ReconcileLeavesRunningJobsAlone) {
  std::latch taken(1), leave(1);
  auto handle = engine_->submit<Any>([&](JobContext& job) -> Result<std::string> {
    TRY(job.take({{.kind = "thing", .name = "x", .owner = "lease:l"}}));
    TRY(world_->make("thing", "x"));
    taken.count_down();
    leave.wait();
    return "";
  });
  taken.wait();
  EXPECT_TRUE(engine_->reconcile(ReconcileMode::repair)->sound());
  EXPECT_TRUE(world_->has("thing", "x"));
  leave.count_down();
  ASSERT_OK(handle->wait());
}

TEST_F(EngineTest, ALeaseLastsAsLongAsItsJob) {
  graph::Graph& graph = engine_->graph();
  graph::NodeId blob = 0;
  auto reachable = [&] { return *graph.read().reachable(blob); };
  auto handler = [&](JobContext& job) -> Result<std::string> {
    auto find = [&](graph::Transaction& tx) -> Status {
      blob = TRY(graph.put(tx, {.kind = graph::NodeKind::blob, .key = "b"}));
      return job.lease(tx, blob);
    };
    TRY(database_->write(find));
    EXPECT_TRUE(reachable());
    EXPECT_TRUE(engine_->reconcile(ReconcileMode::repair));
    EXPECT_TRUE(reachable()) << "the job is running";
    return "";
  };
  ASSERT_OK(run(handler));
  EXPECT_FALSE(reachable());
  // One that a killed process left.
  ASSERT_OK(database_->write([&](graph::Transaction& tx) -> Status {
    TRY(graph.put(tx, {.kind = graph::NodeKind::lease, .key = "job:1"}));
    return {};
  }));
  ASSERT_OK(engine_->reconcile(ReconcileMode::repair));
  EXPECT_EQ(*graph.read().count(graph::NodeKind::lease), 0);
}

TEST_F(EngineTest, AnUnknownJobOrKindIsAnError) {
  EXPECT_EQ(engine_->run<Unknown>(1).error().message(), "no handler for job test.unknown");
  Result<std::string> result = run([](JobContext& job) -> Result<std::string> {
    TRY(job.take({{.kind = "none", .name = "x"}}));
    return "";
  });
  EXPECT_EQ(result.error().message(), "resource kind none is not registered");
}

TEST_F(EngineTest, WhatAJobCostsIsReported) {
  constexpr int kRuns = 200;
  int64_t start = monotonic_ns();
  for (int i = 0; i < kRuns; ++i) {
    ASSERT_OK(run([&](JobContext& job) -> Result<std::string> {
      TRY(job.take({{.kind = "thing", .name = fmt::format("n{}", i), .owner = "x:"},
                    {.kind = "thing", .name = fmt::format("m{}", i), .owner = "x:"}}));
      return "";
    }));
  }
  double each = static_cast<double>(monotonic_ns() - start) / kRuns / 1e3;
  RecordProperty("microseconds_per_job", static_cast<int>(each));
  fmt::print("a job with two resources: {:.0f} us\n", each);
}

}  // namespace
}  // namespace gantry::engine
