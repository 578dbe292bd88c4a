#include "graph/wal_vfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/fs.h"
#include "graph/database.h"

namespace gantry::graph {
namespace {

using testing::IsEmpty;

class WalVfsTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-wal-XXXXXX";
    directory_ = ::mkdtemp(name);
    database_ = Database::open(directory_ + "/db").release();
  }
  void TearDown() override {
    database_.reset();
    EXPECT_TRUE(fs::remove_tree(directory_));
  }

  Status put(Transaction& tx, int from, int count, size_t size) {
    for (int i = from; i < from + count; ++i)
      TRY(tx.connection().execute("INSERT INTO setting(key, value) VALUES(?1, ?2)",
                                  std::to_string(i), std::string(size, 'x')));
    return {};
  }
  // What another process would find if this one died now: the settings in a copy that is opened
  // anew.
  int64_t left() {
    const std::string copy = directory_ + "/copy";
    std::filesystem::create_directory(copy);
    for (const char* file : {"db", "db-wal"})
      std::filesystem::copy_file(directory_ + "/" + file, copy + "/" + file,
                                 std::filesystem::copy_options::overwrite_existing);
    int64_t count = -1;
    {
      std::unique_ptr<Database> again = Database::open(copy + "/db").release();
      EXPECT_THAT(*again->integrity_check(), IsEmpty());
      Snapshot snapshot = again->read().release();
      Statement row = snapshot.connection().query("SELECT count(*) FROM setting").release();
      EXPECT_TRUE(row.step());
      count = row.integer(0);
    }
    std::filesystem::remove_all(copy);
    return count;
  }
  // proc_pid_io(5): of this thread.
  static int64_t write_calls() {
    std::ifstream io("/proc/thread-self/io");
    for (std::string line; std::getline(io, line);)
      if (line.starts_with("syscw: ")) return std::stoll(line.substr(7));
    return -1;
  }

  std::string directory_;
  std::unique_ptr<Database> database_;
};

TEST_F(WalVfsTest, ATransactionIsOneWrite) {
  ASSERT_TRUE(database_->write([&](Transaction& tx) { return put(tx, 0, 1, 10); }));
  if (write_calls() < 0) GTEST_SKIP() << "this kernel does not count system calls";
  const int64_t before = write_calls();
  ASSERT_TRUE(database_->write([&](Transaction& tx) { return put(tx, 1, 20, 3000); }));
  EXPECT_EQ(write_calls() - before, 1);
  EXPECT_EQ(left(), 21);
}

TEST_F(WalVfsTest, WhatIsCommittedIsThereHoweverLarge) {
  for (Durability durability : {Durability::normal, Durability::full}) {
    const int begin = durability == Durability::full ? 0 : 1000;
    ASSERT_TRUE(database_->write(durability, Space::ordinary,
                                 [&](Transaction& tx) { return put(tx, begin, 900, 4000); }));
  }
  EXPECT_EQ(left(), 1800);
}

TEST_F(WalVfsTest, WhatIsRolledBackLeavesNothingThatALaterOneMeets) {
  for (int round = 0; round < 20; ++round) {
    const Durability durability = round % 2 == 0 ? Durability::normal : Durability::full;
    {
      Transaction given_up = database_->begin(durability).release();
      ASSERT_TRUE(put(given_up, 10'000, 500, 4000));
    }
    ASSERT_TRUE(database_->write(round % 3 == 0 ? Durability::full : Durability::normal,
                                 Space::ordinary,
                                 [&](Transaction& tx) { return put(tx, round * 3, 3, 2000); }));
    ASSERT_EQ(left(), (round + 1) * 3);
  }
}

TEST_F(WalVfsTest, ReadersSeeACommitAtOnce) {
  for (int round = 0; round < 50; ++round) {
    ASSERT_TRUE(database_->write([&](Transaction& tx) { return put(tx, round * 5, 5, 1500); }));
    if (round % 10 == 0) ASSERT_TRUE(database_->checkpoint());
    Snapshot snapshot = database_->read().release();
    Statement row = snapshot.connection().query("SELECT count(*) FROM setting").release();
    ASSERT_TRUE(row.step());
    ASSERT_EQ(row.integer(0), (round + 1) * 5);
  }
}

}  // namespace
}  // namespace gantry::graph
