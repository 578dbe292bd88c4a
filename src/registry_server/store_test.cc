// The store, uploads, garbage and checks, on a real directory.
#include "registry_server/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>

#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "registry_server/checker.h"
#include "registry_server/collector.h"
#include "registry_server/uploads.h"

namespace gantry::registry_server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class StoreTest : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void TearDown() override {
    close();
    (void)fs::remove_tree(root_);
  }
  void open() {
    auto store = Store::open(root_);
    ASSERT_TRUE(store) << store.error().message();
    store_ = std::move(*store);
    uploads_ = std::make_unique<Uploads>(*store_, quotas_, Uploads::Limits{100});
    ASSERT_TRUE(uploads_->load());
    collector_ = std::make_unique<Collector>(*store_, *uploads_, metrics_);
    settings_.upload_age_ns = 3'600'000'000'000;
    collector_->set(settings_);
  }
  void close() {
    collector_.reset();
    uploads_.reset();
    store_.reset();
  }
  ContentDigest push(const std::string& repository, const std::string& bytes) {
    auto upload = uploads_->start(repository);
    EXPECT_TRUE(upload);
    auto owned = uploads_->own(**upload);
    EXPECT_TRUE(uploads_->append(**upload, owned->owner, bytes));
    auto digest = ContentDigest::of(bytes);
    Status done = uploads_->finish(**upload, owned->owner, digest);
    EXPECT_TRUE(done) << done.error().message();
    return digest;
  }
  static std::string image(const ContentDigest& config, const ContentDigest& layer,
                           const std::string& more = "") {
    auto descriptor = [](const ContentDigest& digest) {
      return R"({"mediaType":"application/x","digest":")" + digest.text() + R"(","size":1})";
    };
    return R"({"schemaVersion":2,"config":)" + descriptor(config) + R"(,"layers":[)" +
           descriptor(layer) + "]" + more + "}";
  }
  ContentDigest put(const std::string& repository, const std::string& text,
                    const std::string& tag) {
    auto digest = ContentDigest::of(text);
    auto view = ManifestView::parse(text);
    EXPECT_TRUE(view) << view.error().message();
    auto result = store_->put_manifest(repository, digest, text, *view, tag);
    EXPECT_TRUE(result);
    EXPECT_THAT(result->missing, IsEmpty());
    return digest;
  }
  std::string check() {
    std::string problems;
    Checker checker(*store_, Checker::Repair::no, Checker::References::needed,
                    [&](const std::string& text) { problems += text + "\n"; });
    EXPECT_TRUE(checker.run());
    return problems;
  }
  size_t files_below(const std::string& part) {
    size_t count = 0;
    auto prefixes = fs::list_directory(root_ + "/" + part).release();
    for (const auto& prefix : prefixes)
      count += fs::list_directory(root_ + "/" + part + "/" + prefix)->size();
    return count;
  }

  std::string root_ = "/tmp/gantry-registry-test-" + random_hex(8);
  Quotas quotas_;
  Metrics metrics_;
  CollectorSettings settings_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Uploads> uploads_;
  std::unique_ptr<Collector> collector_;
};

TEST_F(StoreTest, ABlobIsThereOnceForAllRepositories) {
  auto digest = push("a", "bytes");
  push("b/c", "bytes");
  EXPECT_EQ(files_below("blobs/sha256"), 1u);
  EXPECT_EQ(store_->used_bytes(), 5u);
  auto first = store_->open_blob("a", digest), second = store_->open_blob("b/c", digest);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(sys::fstat(first->fd.get())->st_ino, sys::fstat(second->fd.get())->st_ino);
  EXPECT_FALSE(store_->open_blob("b", digest));
  EXPECT_THAT(*fs::list_directory(root_ + "/uploads"), IsEmpty());
}

TEST_F(StoreTest, AStoreIsServedByOneProcess) {
  auto other = Store::open(root_);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind(), ErrorKind::conflict);
}

TEST_F(StoreTest, AnUploadGoesOnAfterARestart) {
  auto upload = uploads_->start("a");
  std::string id = (*upload)->id();
  auto owned = uploads_->own(**upload);
  ASSERT_TRUE(uploads_->append(**upload, owned->owner, "first "));
  upload->reset();
  close();
  open();
  EXPECT_EQ(uploads_->count(), 1u);
  EXPECT_FALSE(uploads_->find("b", id));
  auto again = uploads_->find("a", id);
  ASSERT_TRUE(again);
  owned = uploads_->own(**again);
  EXPECT_EQ(owned->offset, 6u);
  ASSERT_TRUE(uploads_->append(**again, owned->owner, "second"));
  ASSERT_TRUE(uploads_->finish(**again, owned->owner, ContentDigest::of("first second")));
  EXPECT_TRUE(store_->open_blob("a", ContentDigest::of("first second")));
  EXPECT_EQ(uploads_->pending_bytes(), 0u);
}

TEST_F(StoreTest, TheNewestRequestOwnsAnUpload) {
  auto upload = uploads_->start("a");
  auto old_owner = uploads_->own(**upload);
  auto new_owner = uploads_->own(**upload);
  EXPECT_FALSE(uploads_->append(**upload, old_owner->owner, "late"));
  EXPECT_TRUE(uploads_->append(**upload, new_owner->owner, "good"));
  uploads_->disown(**upload, old_owner->owner);
  EXPECT_FALSE(uploads_->finish(**upload, old_owner->owner, ContentDigest::of("good")));
  EXPECT_TRUE(uploads_->finish(**upload, new_owner->owner, ContentDigest::of("good")));
}

TEST_F(StoreTest, AWrongDigestLeavesNothing) {
  auto upload = uploads_->start("a");
  auto owned = uploads_->own(**upload);
  ASSERT_TRUE(uploads_->append(**upload, owned->owner, "bytes"));
  Status done = uploads_->finish(**upload, owned->owner, ContentDigest::of("other"));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), HasSubstr("did not match"));
  EXPECT_THAT(*fs::list_directory(root_ + "/uploads"), IsEmpty());
  EXPECT_EQ(store_->used_bytes() + uploads_->pending_bytes() + uploads_->count(), 0u);
  EXPECT_FALSE(uploads_->find("a", (*upload)->id()));
}

TEST_F(StoreTest, AManifestWaitsForWhatItRefersTo) {
  auto config = push("a", "config");
  auto layer = ContentDigest::of("layer");
  std::string text = image(config, layer);
  auto view = ManifestView::parse(text);
  auto result = store_->put_manifest("a", ContentDigest::of(text), text, *view, "v1");
  ASSERT_TRUE(result);
  EXPECT_THAT(result->missing, ElementsAre(layer));
  EXPECT_FALSE(store_->resolve_tag("a", "v1"));
  push("a", "layer");
  put("a", text, "v1");
  EXPECT_EQ(*store_->resolve_tag("a", "v1"), ContentDigest::of(text));
  EXPECT_EQ(check(), "");
}

TEST_F(StoreTest, NamesCannotLeadOut) {
  auto digest = push("a", "x");
  for (const char* name : {"..", "a/..", "../uploads", "/etc", "a/_blobs", "", "a/../../x"}) {
    EXPECT_FALSE(store_->open_blob(name, digest)) << name;
    EXPECT_FALSE(store_->mount_any(name, digest)) << name;
    EXPECT_FALSE(store_->tags(name, "", 0)) << name;
  }
  for (const char* tag : {"..", "../x", "a/b", ".x", ""}) {
    EXPECT_FALSE(store_->resolve_tag("a", tag)) << tag;
    EXPECT_FALSE(store_->remove_tag("a", tag)) << tag;
  }
  // A link that somebody made in there is not followed.
  ASSERT_EQ(::symlink("/etc", (root_ + "/repositories/evil").c_str()), 0);
  EXPECT_FALSE(store_->tags("evil", "", 0));
  EXPECT_FALSE(store_->mount_any("evil", digest));
}

TEST_F(StoreTest, GarbageIsWhatNothingLeadsTo) {
  auto config = push("a", "config"), layer = push("a", "layer"), loose = push("a", "loose");
  put("a", image(config, layer), "v1");
  push("b", "only here");
  auto report = collector_->run();
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(store_->open_blob("a", layer));
  EXPECT_TRUE(store_->open_blob("a", config));
  EXPECT_FALSE(store_->open_blob("a", loose));
  EXPECT_EQ(report->links, 2u);
  EXPECT_EQ(report->blobs, 2u);
  EXPECT_EQ(report->repositories, 1u);
  EXPECT_EQ(files_below("blobs/sha256"), 3u);
  EXPECT_EQ(store_->blob_count(), 3u);
  EXPECT_EQ(check(), "");
}

TEST_F(StoreTest, WhatWasUsedLatelyStays) {
  settings_.grace_ns = 3'600'000'000'000;
  collector_->set(settings_);
  auto loose = push("a", "loose");
  ASSERT_TRUE(collector_->run());
  EXPECT_TRUE(store_->open_blob("a", loose));
}

TEST_F(StoreTest, UntaggedManifestsGoOnlyWhenTold) {
  auto config = push("a", "config"), layer = push("a", "layer");
  auto first = put("a", image(config, layer), "v1");
  auto second = put("a", image(config, layer, R"(,"annotations":{"n":"2"})"), "v1");
  auto about_first = put(
      "a", image(config, layer, R"(,"subject":{"digest":")" + first.text() + R"(","size":1})"), "");
  auto about_second =
      put("a", image(config, layer, R"(,"subject":{"digest":")" + second.text() + R"(","size":1})"),
          "");
  std::string index =
      R"({"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":")";
  auto third = put("a", image(config, layer, R"(,"annotations":{"n":"3"})"), "");
  put("a", index + third.text() + R"(","size":1}]})", "index");
  ASSERT_TRUE(collector_->run());
  EXPECT_TRUE(store_->open_manifest("a", first));
  settings_.untagged = true;
  collector_->set(settings_);
  auto report = collector_->run();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->manifests, 2u);
  EXPECT_FALSE(store_->open_manifest("a", first));
  EXPECT_FALSE(store_->open_manifest("a", about_first));
  EXPECT_TRUE(store_->open_manifest("a", second));
  EXPECT_TRUE(store_->open_manifest("a", about_second));
  EXPECT_TRUE(store_->open_manifest("a", third));
  EXPECT_EQ(check(), "");
}

TEST_F(StoreTest, CollectionsBesidePushesTakeNothingThatIsNeeded) {
  std::atomic<bool> ended{false};
  std::thread collecting([&] {
    while (!ended) EXPECT_TRUE(collector_->run());
  });
  int pushed = 0;
  for (int i = 0; i < 200; ++i) {
    auto config = push("a", "config"), layer = push("a", "layer" + std::to_string(i % 3));
    std::string text = image(config, layer, fmt::format(R"(,"annotations":{{"n":"{}"}})", i));
    auto digest = ContentDigest::of(text);
    auto result = store_->put_manifest("a", digest, text, *ManifestView::parse(text), "v");
    ASSERT_TRUE(result) << result.error().message();
    // Without a grace time a blob may go before its manifest comes, and the push is told so.
    if (!result->missing.empty()) continue;
    ++pushed;
    EXPECT_TRUE(store_->open_blob("a", layer));
    if (i % 2 == 0) continue;
    ASSERT_TRUE(store_->remove_manifest("a", digest));
  }
  ended = true;
  collecting.join();
  EXPECT_GT(pushed, 0);
  EXPECT_EQ(check(), "");
}

TEST_F(StoreTest, ManyPushAndDeleteTheSame) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::string repository = t % 2 ? "a" : "b/c";
      for (int i = 0; i < 50; ++i) {
        auto digest = push(repository, "the same bytes");
        Status removed = store_->remove_blob(repository, digest);
        EXPECT_TRUE(removed || removed.error().kind() == ErrorKind::not_found)
            << removed.error().message();
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(store_->blob_count(), 1u);
  EXPECT_EQ(check(), "");
}

TEST_F(StoreTest, QuotasAreToldInOneMessage) {
  quotas_.repository = 10;
  auto upload = uploads_->start("a");
  auto owned = uploads_->own(**upload);
  EXPECT_TRUE(uploads_->append(**upload, owned->owner, "12345678"));
  Status over = uploads_->append(**upload, owned->owner, "9012");
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().kind(), ErrorKind::permission);
  EXPECT_THAT(over.error().message(), HasSubstr("repository a would be over its quota"));
  ASSERT_TRUE(uploads_->finish(**upload, owned->owner, ContentDigest::of("12345678")));
  EXPECT_EQ(*store_->repository_bytes("a"), 8u);
  EXPECT_FALSE(uploads_->check_quota("a", 3));
  EXPECT_TRUE(uploads_->check_quota("b", 3));
  quotas_.total = 9;
  EXPECT_FALSE(uploads_->check_quota("b", 2));
}

TEST_F(StoreTest, OldUploadsExpireAndOwnedOnesDoNot) {
  auto idle = uploads_->start("a"), owned_one = uploads_->start("a");
  auto owned = uploads_->own(**owned_one);
  EXPECT_EQ(*uploads_->expire(3'600'000'000'000), 0u);
  EXPECT_EQ(*uploads_->expire(0), 1u);
  EXPECT_FALSE(uploads_->find("a", (*idle)->id()));
  EXPECT_TRUE(uploads_->append(**owned_one, owned->owner, "x"));
  EXPECT_EQ(uploads_->count(), 1u);
}

TEST_F(StoreTest, TooManyUploadsAreRefused) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(uploads_->start("a"));
  auto more = uploads_->start("a");
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().kind(), ErrorKind::unavailable);
}

TEST_F(StoreTest, DamageIsFoundAndRepaired) {
  auto config = push("a", "config"), layer = push("a", "layer");
  put("a", image(config, layer), "v1");
  std::string path = root_ + "/blobs/sha256/" + layer.hex().substr(0, 2) + "/" + layer.hex();
  ASSERT_TRUE(fs::write_file(path, "LAYER"));
  ASSERT_TRUE(fs::write_file(root_ + "/repositories/a/_tags/lost", ContentDigest::of("x").text()));
  std::string problems = check();
  EXPECT_THAT(problems, HasSubstr(layer.text() + ": its content has another digest"));
  EXPECT_THAT(problems, HasSubstr("a:lost leads nowhere"));
  Checker repairer(*store_, Checker::Repair::yes, Checker::References::needed,
                   [](const std::string&) {});
  ASSERT_TRUE(repairer.run());
  EXPECT_THAT(check(), HasSubstr("push the image again"));
  push("a", "layer");
  EXPECT_EQ(check(), "");
}

TEST_F(StoreTest, APushReplacesContentThatWasCutShort) {
  auto digest = push("a", "whole");
  std::string path = root_ + "/blobs/sha256/" + digest.hex().substr(0, 2) + "/" + digest.hex();
  ASSERT_EQ(::truncate(path.c_str(), 2), 0);
  push("a", "whole");
  auto content = store_->open_blob("a", digest);
  ASSERT_TRUE(content);
  EXPECT_EQ(content->size, 5u);
  EXPECT_EQ(check(), "");
}

TEST_F(StoreTest, TagsAndRepositoriesComeInPages) {
  auto config = push("a", "config"), layer = push("a", "layer");
  std::string text = image(config, layer);
  for (const char* tag : {"c", "a", "b"}) put("a", text, tag);
  auto page = store_->tags("a", "", 2);
  ASSERT_TRUE(page);
  EXPECT_THAT(page->names, ElementsAre("a", "b"));
  EXPECT_TRUE(page->more);
  EXPECT_THAT(store_->tags("a", "b", 2)->names, ElementsAre("c"));
  for (const char* name : {"a-b", "a/b", "z"}) {
    push(name, "config");
    push(name, "layer");
    put(name, text, "v");
  }
  push("no-manifest", "x");
  auto all = [](const std::string&) { return true; };
  EXPECT_THAT(store_->repositories("", 0, all)->names, ElementsAre("a", "a-b", "a/b", "z"));
  auto first = store_->repositories("", 2, all);
  EXPECT_TRUE(first->more);
  EXPECT_THAT(store_->repositories("a-b", 2, all)->names, ElementsAre("a/b", "z"));
  EXPECT_THAT(store_->repositories("a", 1, all)->names, ElementsAre("a-b"));
}

}  // namespace
}  // namespace gantry::registry_server
