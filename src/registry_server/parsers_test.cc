// The parsers of outside bytes: routes, ranges, digests, manifests, challenges, URLs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "registry_server/content_digest.h"
#include "registry_server/manifest_view.h"
#include "registry_server/ranges.h"
#include "registry_server/route.h"
#include "registry_server/upstream.h"

namespace gantry::registry_server {
namespace {

using testing::HasSubstr;

TEST(RouteTest, TheLastPartsSayWhatAPathIs) {
  struct {
    const char* path;
    Resource resource;
    const char* repository;
    const char* reference;
  } cases[] = {
      {"/v2/", Resource::base, "", ""},
      {"/v2/_catalog", Resource::catalog, "", ""},
      {"/v2/a/b/tags/list", Resource::tags, "a/b", ""},
      {"/v2/a/blobs/uploads/", Resource::uploads, "a", ""},
      {"/v2/a/blobs/uploads", Resource::uploads, "a", ""},
      {"/v2/a/blobs/uploads/1-2", Resource::upload, "a", "1-2"},
      {"/v2/a/blobs/sha256:0", Resource::blob, "a", "sha256:0"},
      {"/v2/a/manifests/b/manifests/v1", Resource::manifest, "a/manifests/b", "v1"},
      {"/v2/blobs/uploads/tags/list", Resource::tags, "blobs/uploads", ""},
      {"/v2/a/referrers/sha256:0", Resource::referrers, "a", "sha256:0"},
      {"/v2/a/manifests/", Resource::none, "", ""},
      {"/v1/search", Resource::none, "", ""},
      {"/v2/a", Resource::none, "", ""},
  };
  for (const auto& one : cases) {
    Route route = parse_route(one.path);
    EXPECT_EQ(route.resource, one.resource) << one.path;
    EXPECT_EQ(route.repository, one.repository) << one.path;
    EXPECT_EQ(route.reference, one.reference) << one.path;
  }
}

TEST(RouteTest, RepositoriesHaveTheSpecifiedGrammar) {
  for (const char* good : {"a", "a/b", "library/busybox", "a.b_c__d---e/f0", "0/1"})
    EXPECT_TRUE(check_repository(good)) << good;
  std::string longest(255, 'a');
  EXPECT_TRUE(check_repository(longest));
  for (const char* bad : {"", "/", "a/", "/a", "A", "a//b", "a/../b", "..", "_a", "a_", "a___b",
                          "a..b", "a._b", "a b", "a\n", "a/_blobs", "-a"})
    EXPECT_FALSE(check_repository(bad)) << bad;
  EXPECT_FALSE(check_repository(longest + "a"));
  EXPECT_FALSE(check_repository(std::string("a\0b", 3)));
}

TEST(RangeTest, APartOfABodyIsFound) {
  auto part = [](const char* value, uint64_t first, uint64_t last) {
    RangeRequest got = parse_range(value, 100);
    EXPECT_EQ(got.kind, RangeKind::part) << value;
    EXPECT_EQ(got.range.first, first) << value;
    EXPECT_EQ(got.range.last, last) << value;
  };
  part("bytes=0-0", 0, 0);
  part("bytes=10-", 10, 99);
  part("bytes=10-1000", 10, 99);
  part("bytes=-5", 95, 99);
  part("bytes=-500", 0, 99);
  for (const char* bad :
       {"", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=0-1,5-6",
        "bytes=18446744073709551616-", "items=0-1", "bytes=+1-2"})
    EXPECT_EQ(parse_range(bad, 100).kind, RangeKind::whole) << bad;
  EXPECT_EQ(parse_range("bytes=100-", 100).kind, RangeKind::unsatisfiable);
  EXPECT_EQ(parse_range("bytes=-0", 100).kind, RangeKind::unsatisfiable);
  EXPECT_EQ(parse_range("bytes=0-", 0).kind, RangeKind::unsatisfiable);
}

TEST(RangeTest, AChunksRangeIsTwoNumbers) {
  auto good = parse_content_range("0-99");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->size(), 100u);
  EXPECT_TRUE(parse_content_range("bytes 5-9/10"));
  for (const char* bad : {"", "-", "1", "5-4", "a-b", "1-", "-1", "0-18446744073709551615", "0--1"})
    EXPECT_FALSE(parse_content_range(bad)) << bad;
}

TEST(RangeTest, AnEntityTagIsFoundInAList) {
  EXPECT_TRUE(matches_etag("\"a\", W/\"b\"", "\"b\""));
  EXPECT_TRUE(matches_etag("*", "\"b\""));
  EXPECT_TRUE(matches_etag("b", "\"b\""));  // as Docker's registry writes it
  EXPECT_FALSE(matches_etag("\"bb\"", "\"b\""));
  EXPECT_FALSE(matches_etag("", "\"b\""));
}

TEST(ContentDigestTest, BothAlgorithmsAreKnownAndNoOther) {
  EXPECT_EQ(ContentDigest::of("").text(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  auto longer = ContentDigest::of("abc", Algorithm::sha512);
  EXPECT_EQ(longer.hex().substr(0, 8), "ddaf35a1");
  EXPECT_EQ(*ContentDigest::parse(longer.text()), longer);
  EXPECT_EQ(*ContentDigest::from_key(longer.key()), longer);
  for (const std::string& bad : std::vector<std::string>{
           "", ":", "sha256:", "sha256:00", "sha384:" + std::string(96, '0'),
           "sha256:" + std::string(64, 'A'), "sha256:" + std::string(63, '0') + "/"})
    EXPECT_FALSE(ContentDigest::parse(bad)) << bad;
}

const std::string kDigest = ContentDigest::of("x").text();
std::string image_text(const std::string& more = "") {
  return R"({"schemaVersion":2,"config":{"mediaType":"application/vnd.x","digest":")" + kDigest +
         R"(","size":1},"layers":[])" + more + "}";
}

TEST(ManifestViewTest, TheReferencesTypeAndSubjectAreRead) {
  auto view =
      ManifestView::parse(image_text(R"(,"subject":{"digest":")" + kDigest + R"(","size":1})"));
  ASSERT_TRUE(view) << view.error().message();
  EXPECT_EQ(view->artifact_type, "application/vnd.x");
  EXPECT_EQ(view->subject.text(), kDigest);
  ASSERT_EQ(view->references.size(), 1u);
  EXPECT_FALSE(view->index);
}

TEST(ManifestViewTest, WhatTwoReadersCouldTakeDifferentlyIsRefused) {
  auto why = [](const std::string& text, std::string_view type = "") {
    auto view = ManifestView::parse(text, type);
    return view ? std::string("accepted") : view.error().message();
  };
  EXPECT_THAT(why(image_text(R"(,"manifests":[])")), HasSubstr("both an image and an index"));
  EXPECT_THAT(why(image_text(R"(,"layers":[])")), HasSubstr("given twice"));
  EXPECT_THAT(why(image_text(R"(,"Layers":[])")), HasSubstr("is spelled"));
  EXPECT_THAT(why(image_text(R"(,"\u006canifests":[])")), HasSubstr("is escaped"));
  EXPECT_THAT(why(image_text(R"(,"fsLayers":[])")), HasSubstr("schema 1"));
  EXPECT_THAT(why(image_text(), "application/vnd.oci.image.index.v1+json"),
              HasSubstr("Content-Type"));
  EXPECT_THAT(why(image_text(), "text/plain"), HasSubstr("none of a manifest"));
  // Names further down are nobody's business.
  EXPECT_EQ(why(image_text(R"(,"annotations":{"Layers":"x","a":"{\"layers\":1,\"layers\":2}"})")),
            "accepted");
}

TEST(ChallengeTest, ParametersAreReadAndBounded) {
  auto got = parse_challenge(R"(Bearer realm="https://a/token?x=1",Service="s\"q", scope=plain)");
  EXPECT_EQ(got["realm"], "https://a/token?x=1");
  EXPECT_EQ(got["service"], "s\"q");
  EXPECT_EQ(got["scope"], "plain");
  EXPECT_TRUE(parse_challenge("Bearer").empty());
  EXPECT_TRUE(parse_challenge("Bearer realm").empty());
  std::string many = "Bearer ";
  for (int i = 0; i < 1000; ++i) many += fmt::format("a{}=1,", i);
  EXPECT_LE(parse_challenge(many).size(), 16u);
}

}  // namespace
}  // namespace gantry::registry_server
