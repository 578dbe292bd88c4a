// Reservations of blobs that several pulls want, on a real engine.
#include "image/partial_blobs.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/fs.h"
#include "base/id.h"
#include "engine/engine.h"
#include "graph/database.h"

namespace gantry::image {
namespace {

class PartialBlobsTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = "/tmp/gantry-partial-" + random_hex(6);
    ASSERT_TRUE(fs::make_directories(root_, 0700));
    database_ = graph::Database::open(root_ + "/db").release();
    engine_ = engine::Engine::create(*database_).release();
    partials_ = PartialBlobs::open(*engine_, root_ + "/partial").release();
  }
  void TearDown() override {
    if (engine_) engine_->shutdown(std::chrono::seconds(5));
    ASSERT_TRUE(fs::remove_tree(root_));
  }

  std::string root_;
  std::unique_ptr<graph::Database> database_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<PartialBlobs> partials_;
};

TEST_F(PartialBlobsTest, WhatSeveralPullsWantAtOnceIsReservedForAllOfThem) {
  constexpr int kPulls = 4, kBlobs = 40, kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::string> digests;
    for (int i = 0; i < kBlobs; ++i)
      digests.push_back(Digest::of(fmt::format("{}/{}", round, i)).text());
    std::vector<std::string> errors(kPulls);
    std::vector<std::thread> pulls;
    for (int i = 0; i < kPulls; ++i)
      pulls.emplace_back([&, i] {
        // Each in an order of its own, as images have them.
        std::vector<std::string> wanted = digests;
        std::rotate(wanted.begin(), wanted.begin() + i * kBlobs / kPulls, wanted.end());
        Result<bool> reserved = engine_->run<BlobReserve>({wanted});
        if (!reserved) errors[static_cast<size_t>(i)] = reserved.error().message();
      });
    for (std::thread& pull : pulls) pull.join();
    for (const std::string& error : errors) EXPECT_EQ(error, "");
    for (const std::string& digest : digests)
      EXPECT_TRUE(partials_->reserved(Digest::parse(digest).release()));
    ASSERT_TRUE(engine_->run<BlobForget>({digests}));
  }
}

TEST_F(PartialBlobsTest, OneHolderAtATime) {
  Digest digest = Digest::of("blob");
  ASSERT_TRUE(engine_->run<BlobReserve>({{digest.text()}}));
  Result<PartialBlobs::Holder> first = partials_->hold(digest);
  ASSERT_TRUE(first);
  Result<PartialBlobs::Holder> second = partials_->hold(digest);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::conflict);
}

}  // namespace
}  // namespace gantry::image
