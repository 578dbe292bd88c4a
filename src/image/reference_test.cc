#include "image/reference.h"

#include <gtest/gtest.h>

namespace gantry::image {
namespace {

const std::string kHex(64, 'a');

TEST(Reference, NormalisesAsDockerDoes) {
  struct Case {
    std::string text, normal, familiar;
  };
  const Case cases[] = {
      {"busybox", "docker.io/library/busybox", "busybox"},
      {"busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"},
      {"library/busybox", "docker.io/library/busybox", "busybox"},
      {"docker.io/busybox", "docker.io/library/busybox", "busybox"},
      {"index.docker.io/busybox", "docker.io/library/busybox", "busybox"},
      {"docker.io/library/busybox", "docker.io/library/busybox", "busybox"},
      {"user/repo:tag", "docker.io/user/repo:tag", "user/repo:tag"},
      {"library/a/b", "docker.io/library/a/b", "library/a/b"},
      {"localhost/a", "localhost/a", "localhost/a"},
      {"localhost:5000/a:b", "localhost:5000/a:b", "localhost:5000/a:b"},
      {"host:5000/a", "host:5000/a", "host:5000/a"},
      {"example.com/a/b/c:v1", "example.com/a/b/c:v1", "example.com/a/b/c:v1"},
      {"HOST/a", "HOST/a", "HOST/a"},
      {"[fd00::1]:5000/a", "[fd00::1]:5000/a", "[fd00::1]:5000/a"},
      {"[::1]/a", "[::1]/a", "[::1]/a"},
      {"a--b__c.d_e", "docker.io/library/a--b__c.d_e", "a--b__c.d_e"},
      {"a@sha256:" + kHex, "docker.io/library/a@sha256:" + kHex, "a@sha256:" + kHex},
      {"a:t@sha256:" + kHex, "docker.io/library/a:t@sha256:" + kHex, "a:t@sha256:" + kHex},
      {"a:" + std::string(128, 't'), "docker.io/library/a:" + std::string(128, 't'),
       "a:" + std::string(128, 't')},
  };
  for (const Case& test : cases) {
    Result<Reference> reference = Reference::parse(test.text);
    ASSERT_TRUE(reference) << test.text << ": " << reference.error().message();
    EXPECT_EQ(reference->text(), test.normal) << test.text;
    EXPECT_EQ(reference->familiar(), test.familiar) << test.text;
    EXPECT_EQ(Reference::parse(test.normal)->text(), test.normal);
  }
}

TEST(Reference, RefusesWithDockersWords) {
  const std::string bad = "invalid reference format";
  const std::pair<std::string, std::string> cases[] = {
      {"", bad},
      {":tag", bad},
      {"a:", bad},
      {"a:b c", bad},
      {" a", bad},
      {"a/", bad},
      {"/a", bad},
      {"a//b", bad},
      {"-a", bad},
      {"a-", bad},
      {"a..b", bad},
      {"a___b", bad},
      {"a._b", bad},
      {"host:port/a", bad},
      {"-host.com/a", bad},
      {"[fd00::1/a", bad},
      {"a@sha256:abc", bad},
      {"a@", bad},
      {"a:" + std::string(129, 't'), bad},
      {"https://a/b", bad},
      {"a\nb", bad},
      {"Busybox", bad + ": repository name (library/Busybox) must be lowercase"},
      {"user/Repo:x", bad + ": repository name (user/Repo) must be lowercase"},
      {"example.com/Repo", bad + ": repository name (Repo) must be lowercase"},
      {kHex, "invalid repository name (" + kHex + "), cannot specify 64-byte hexadecimal strings"},
      {"a@sha512:" + kHex, "invalid checksum digest length"},
      {"a@md5:" + kHex, "unsupported digest algorithm"},
      {"a@sha256:" + std::string(64, 'A'), "invalid checksum digest format"},
      {"u/" + std::string(256, 'a'), "repository name must not be more than 255 characters"},
  };
  for (const auto& [text, message] : cases) {
    Result<Reference> reference = Reference::parse(text);
    ASSERT_FALSE(reference) << text;
    EXPECT_EQ(reference.error().message(), message) << text;
    EXPECT_EQ(reference.error().kind(), ErrorKind::invalid);
  }
}

TEST(Reference, ChangesTagsAndDigests) {
  Reference reference = Reference::parse("a").release();
  EXPECT_EQ(reference.with_default_tag().familiar(), "a:latest");
  EXPECT_EQ(reference.with_tag("x").with_default_tag().familiar(), "a:x");
  EXPECT_EQ(reference.with_tag("x").with_digest("sha256:" + kHex).familiar(), "a@sha256:" + kHex);
}

TEST(Reference, KnowsWhatMayBeAnId) {
  EXPECT_TRUE(is_id_prefix("abc123"));
  EXPECT_TRUE(is_id_prefix("sha256:" + kHex));
  EXPECT_FALSE(is_id_prefix("sha256:"));
  EXPECT_FALSE(is_id_prefix("busybox"));
  EXPECT_FALSE(is_id_prefix(kHex + "a"));
}

}  // namespace
}  // namespace gantry::image
