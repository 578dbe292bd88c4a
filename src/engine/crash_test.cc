// A process that is killed at every failpoint in turn, and what the next one finds.
//
// The test program starts itself again as the victim: the failpoints are read from the environment
// once.
#include <gmock/gmock.h>
#include <stdlib.h>

#include <set>
#include <sstream>

#include "base/failpoint.h"
#include "base/process.h"
#include "engine/test_world.h"

extern char** environ;

namespace gantry::engine {
namespace {

using namespace testing_world;
using namespace std::chrono_literals;

constexpr const char* kDirectory = "GANTRY_ENGINE_VICTIM";

Status note(const std::string& directory, const std::string& line) {
  UniqueFd log = TRY(sys::open(directory + "/acknowledged", O_WRONLY | O_CREAT | O_APPEND, 0600));
  return sys::write_all(log.get(), line + "\n");
}

struct Opened {
  explicit Opened(const std::string& directory) : world(directory) {
    database = graph::Database::open(directory + "/db").release();
    EngineOptions options;
    options.retry_interval = 1ms;
    engine = Engine::create(*database, options).release();
    world.register_kinds(engine->resources());
    add_jobs(*engine, world);
  }
  World world;
  std::unique_ptr<graph::Database> database;
  std::unique_ptr<Engine> engine;
};

// A fixed script of jobs; what is acknowledged is noted at once.
TEST(EngineVictim, DISABLED_Run) {
  const char* directory = ::getenv(kDirectory);
  ASSERT_TRUE(directory);
  {
    Opened opened(directory);
    EXPECT_TRUE(opened.engine->reconcile(ReconcileMode::repair));
    for (int i = 0; i < 3; ++i) {
      std::string id = fmt::format("c{}", i);
      if (opened.engine->run<Create>({id})) {
        EXPECT_TRUE(note(directory, "+" + id));
      }
      (void)opened.engine->run<Create>({"f" + id, true});
    }
    if (opened.engine->run<Remove>("c1")) {
      EXPECT_TRUE(note(directory, "-c1"));
    }
    opened.engine->drain_releases(10s);
    EXPECT_TRUE(opened.engine->reconcile(ReconcileMode::repair));
  }
  std::string seen;
  for (const std::string& name : failpoints_seen()) seen += name + "\n";
  ASSERT_TRUE(fs::write_file(std::string(directory) + "/seen", seen));
}

class CrashTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-crash-XXXXXX";
    base_ = ::mkdtemp(name);
  }
  void TearDown() override { EXPECT_TRUE(fs::remove_tree(base_)); }

  // The wait status of a victim with these failpoints in a fresh directory.
  int victim(const std::string& failpoints) {
    directory_ = base_ + fmt::format("/{}", runs_++);
    EXPECT_TRUE(fs::make_directories(directory_, 0700));
    SpawnOptions options;
    options.program = "/proc/self/exe";
    options.arguments = {"victim", "--gtest_filter=EngineVictim.DISABLED_Run",
                         "--gtest_also_run_disabled_tests"};
    options.environment.emplace();
    for (char** entry = environ; *entry; ++entry)
      if (!std::string_view(*entry).starts_with("GTEST_")) options.environment->push_back(*entry);
    options.environment->push_back(std::string(kDirectory) + "=" + directory_);
    options.environment->push_back("GANTRY_FAILPOINTS=" + failpoints);
    Result<ProcessOutput> output = run_process(std::move(options), {}, 60'000);
    EXPECT_TRUE(output) << output.error().message();
    return output ? output->status : -1;
  }
  std::vector<std::string> lines(const std::string& file) {
    std::vector<std::string> out;
    Result<std::string> text = fs::read_file(directory_ + "/" + file);
    std::istringstream stream(text ? *text : "");
    for (std::string line; std::getline(stream, line);) out.push_back(line);
    return out;
  }

  // The next process: everything acknowledged is there, and nothing is that nobody owns.
  void expect_recovered(const std::string& what) {
    SCOPED_TRACE(what);
    std::set<std::string> acknowledged, removed;
    std::vector<std::string> log = lines("acknowledged");
    for (const std::string& line : log)
      (line[0] == '+' ? acknowledged : removed).insert(line.substr(1));
    Opened opened(directory_);
    ASSERT_TRUE(opened.engine->reconcile(ReconcileMode::repair));
    ASSERT_TRUE(opened.engine->drain_releases(10s));
    ReconcileReport again = *opened.engine->reconcile(ReconcileMode::check);
    for (const Finding& found : again.findings)
      ADD_FAILURE() << "not repaired: " << to_string(found.what) << " " << found.name << " "
                    << found.detail;

    std::set<std::string> things, slow;
    std::vector<graph::Node> nodes =
        *opened.engine->graph().read().list(graph::NodeKind::container);
    for (const graph::Node& node : nodes) {
      EXPECT_FALSE(removed.contains(node.key)) << node.key;
      EXPECT_NE(node.key[0], 'f') << "a failed job left its container";
      acknowledged.erase(node.key);
      // Removal that was begun and not acknowledged may have released inline things already.
      if (opened.world.has("thing", node.key + "-dir"))
        things.insert(node.key + "-dir");
      else
        EXPECT_EQ(node.key, "c1");
      if (opened.world.has("slow", node.key + "-veth"))
        slow.insert(node.key + "-veth");
      else
        EXPECT_EQ(node.key, "c1");
    }
    for (const std::string& id : removed) acknowledged.erase(id);
    EXPECT_THAT(acknowledged, testing::IsEmpty()) << "acknowledged and gone";
    std::vector<std::string> left = opened.world.all("thing");
    EXPECT_THAT(left, testing::UnorderedElementsAreArray(things));
    left = opened.world.all("slow");
    EXPECT_THAT(left, testing::UnorderedElementsAreArray(slow));
    std::vector<JobInfo> jobs = *opened.engine->list(1000);
    for (const JobInfo& job : jobs) EXPECT_GT(job.status, JobStatus::running) << job.name;
  }

  std::string base_, directory_;
  int runs_ = 0;
};

TEST_F(CrashTest, KilledAtAnyPointNothingLeaksAndNothingAcknowledgedIsLost) {
#ifndef GANTRY_FAILPOINTS
  GTEST_SKIP() << "built without failpoints";
#endif
  ASSERT_EQ(victim(""), 0);
  std::vector<std::string> points = lines("seen");
  EXPECT_GE(points.size(), 12u);
  expect_recovered("undisturbed");
  int killed = 0;
  for (const std::string& point : points)
    for (int pass : {1, 2, 5}) {
      int status = victim(fmt::format("{}=kill@{}", point, pass));
      if (WIFSIGNALED(status)) ++killed;
      expect_recovered(fmt::format("{} pass {}", point, pass));
    }
  EXPECT_GE(killed, static_cast<int>(points.size()));
}

TEST_F(CrashTest, AnErrorAtAnyPointIsReportedAndLeavesNothing) {
#ifndef GANTRY_FAILPOINTS
  GTEST_SKIP() << "built without failpoints";
#endif
  ASSERT_EQ(victim(""), 0);
  std::vector<std::string> points = lines("seen");
  for (const std::string& point : points) {
    // The second pass: the first of some is the opening of the database, without which there is no
    // run.
    for (const char* error : {"error(28)@2", "error(5)@3"}) {
      int status = victim(point + "=" + error);
      EXPECT_FALSE(WIFSIGNALED(status)) << point << " " << error;
      expect_recovered(point + "=" + error);
    }
  }
}

}  // namespace
}  // namespace gantry::engine
