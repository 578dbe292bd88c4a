#include "trust/policy.h"

#include <gtest/gtest.h>

#include "base/base64.h"
#include "trust/key.h"

namespace gantry::trust {
namespace {

std::string failure(std::string_view text) {
  auto policy = Policy::parse(text);
  return policy ? "(none)" : policy.error().message();
}
image::Reference name(const char* text) {
  return image::Reference::parse(text).value().with_default_tag();
}

constexpr std::string_view kScopes = R"({
  "default": [{"type": "reject"}],
  "transports": {
    "docker": {
      "a.example/ns/repo:1": [{"type": "insecureAcceptAnything"}],
      "a.example/ns/repo": [{"type": "reject"}],
      "a.example/ns": [{"type": "insecureAcceptAnything"}],
      "b.example:5000": [{"type": "insecureAcceptAnything"}],
      "*.example": [{"type": "reject"}],
      "*.deep.example": [{"type": "reject"}],
      "docker.io/library": [{"type": "insecureAcceptAnything"}]
    },
    "docker-archive": {"": [{"type": "insecureAcceptAnything"}]}
  }
})";

std::string chosen(const char* reference) {
  static const Policy policy = Policy::parse(kScopes).release();
  return policy.choose("docker", name(reference)).scope;
}

TEST(PolicyScopes, the_longest_that_the_name_is_in_applies) {
  EXPECT_EQ(chosen("a.example/ns/repo:1"), "docker \"a.example/ns/repo:1\"");
  EXPECT_EQ(chosen("a.example/ns/repo:2"), "docker \"a.example/ns/repo\"");
  EXPECT_EQ(chosen("a.example/ns/repository:1"), "docker \"a.example/ns\"");
  EXPECT_EQ(chosen("a.example/nsx/repo:1"), "docker \"*.example\"");
  EXPECT_EQ(chosen("b.example:5000/x"), "docker \"b.example:5000\"");
  EXPECT_EQ(chosen("b.example/x"), "docker \"*.example\"");
  EXPECT_EQ(chosen("c.deep.example/x"), "docker \"*.deep.example\"");
  EXPECT_EQ(chosen("busybox"), "docker \"docker.io/library\"");
  EXPECT_EQ(chosen("other/busybox"), "default");
  EXPECT_EQ(chosen("example/x"), "default");  // docker.io/example/x
}

TEST(PolicyScopes, other_transports_have_their_own_rule_or_the_default) {
  Policy policy = Policy::parse(kScopes).release();
  EXPECT_EQ(policy.choose("docker-archive", std::nullopt).scope, "docker-archive \"\"");
  EXPECT_EQ(policy.choose("oci-archive", std::nullopt).scope, "default");
}

TEST(PolicyFile, what_is_wrong_is_told_with_line_and_place) {
  EXPECT_EQ(failure("{\n \"default\": [{\"type\": \"reject\"}],\n \"extra\": 1\n}"),
            "line 3: it: unknown key \"extra\"");
  EXPECT_EQ(failure("{}"), "line 1: it: \"default\" is missing");
  EXPECT_EQ(failure("{\"default\": []}"),
            "line 1: default: a list of requirements must not be empty: it would allow all");
  EXPECT_EQ(failure("{\"default\":\n[{\"type\":\n\"accept\"}]}"),
            "line 2: default[0]: unknown type \"accept\"");
  EXPECT_EQ(failure("{\"default\": [{\"type\": \"reject\"}],\n\"default\": []}"),
            "line 2: the key \"default\" stands twice");
  EXPECT_EQ(failure("{\"default\": [{\"type\": \"reject\", \"keyPath\": \"/x\"}]}"),
            "line 1: default[0]: unknown key \"keyPath\"");
  EXPECT_EQ(failure("{\"default\": [{\"type\": \"reject\"}]\n \"transports\": {}}"),
            "line 2: a comma or a closing brace is expected");
  EXPECT_EQ(failure(""), "line 1: it ends where a value is expected");
  EXPECT_EQ(failure(R"({"default":[{"type":"reject"}],"transports":{"dokker":{}}})"),
            "line 1: transports.dokker: it is no transport that is known");
  for (const char* scope : {"https://a.example", "a.example/", "*.", "*.a/b", "a.example/UP"}) {
    std::string text = fmt::format(
        R"({{"default":[{{"type":"reject"}}],"transports":{{"docker":{{"{}":[{{"type":"reject"}}]}}}}}})",
        scope);
    EXPECT_NE(failure(text).find("no name can be in this scope"), std::string::npos) << scope;
  }
}

std::string requirement(const std::string& text) {
  return failure("{\"default\": [" + text + "]}");
}

TEST(PolicyFile, requirements_have_just_the_keys_of_their_type) {
  EXPECT_EQ(requirement(R"({"type":"sigstoreSigned"})"),
            "line 1: default[0]: no key: keyPath, keyPaths or keyData is missing");
  EXPECT_EQ(requirement(R"({"type":"sigstoreSigned","keyPath":"/a","keyData":"aa"})"),
            "line 1: default[0]: only one of keyPath, keyPaths, keyData and keyDatas may be given");
  EXPECT_EQ(requirement(R"({"type":"sigstoreSigned","keyPath":"a"})"),
            "line 1: default[0]: the path \"a\" is not absolute");
  EXPECT_EQ(requirement(R"({"type":"sigstoreSigned","fulcio":{}})"),
            "line 1: default[0]: \"fulcio\" is not supported: name keys by keyPath");
  EXPECT_EQ(requirement(R"({"type":"sigstoreSigned","keyData":"bm9uc2Vuc2U="})"),
            "line 1: default[0]: it is not a public key in PEM form");
  EXPECT_EQ(requirement(R"({"type":"signedBy","keyPath":"/a"})"),
            "line 1: default[0]: \"keyType\" is missing");
  EXPECT_EQ(requirement(R"({"type":"signedBy","keyType":"X509Certificates","keyPath":"/a"})"),
            "line 1: default[0]: keyType \"X509Certificates\" is not supported: use GPGKeys");
  EXPECT_EQ(requirement(R"({"type":"signedBy","keyType":"GPGKeys","keyPath":"/a"})"), "(none)");
  auto key = PrivateKey::generate(KeyType::ed25519);
  EXPECT_EQ(requirement(fmt::format(R"({{"type":"sigstoreSigned","keyDatas":["{}"]}})",
                                    base64_encode(key->public_key().pem()))),
            "(none)");
}

bool accepts(const std::string& identity, const char* used, const char* signed_as) {
  auto policy = Policy::parse(fmt::format(
      R"({{"default":[{{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{}}}]}})",
      identity));
  if (!policy) {
    ADD_FAILURE() << policy.error().message();
    return false;
  }
  return policy->fallback().front().identity.accepts(name(used), signed_as);
}

constexpr const char* kDigest =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(SignedIdentity, each_type_compares_what_it_says) {
  const std::string usual = R"({"type":"matchRepoDigestOrExact"})";
  EXPECT_TRUE(accepts(usual, "a.io/r:1", "a.io/r:1"));
  EXPECT_FALSE(accepts(usual, "a.io/r:1", "a.io/r:2"));
  EXPECT_FALSE(accepts(usual, "a.io/r:1", "a.io/r"));
  EXPECT_FALSE(accepts(usual, "a.io/r:1", "b.io/r:1"));
  std::string by_digest = std::string("a.io/r@") + kDigest;
  EXPECT_TRUE(accepts(usual, by_digest.c_str(), "a.io/r:2"));
  EXPECT_TRUE(accepts(usual, by_digest.c_str(), "a.io/r"));
  EXPECT_FALSE(accepts(usual, by_digest.c_str(), "a.io/s"));
  const std::string exact = R"({"type":"matchExact"})";
  EXPECT_TRUE(accepts(exact, "busybox", "docker.io/library/busybox:latest"));
  EXPECT_FALSE(accepts(exact, by_digest.c_str(), "a.io/r:1"));
  const std::string repository = R"({"type":"matchRepository"})";
  EXPECT_TRUE(accepts(repository, "a.io/r:1", "a.io/r"));
  EXPECT_TRUE(accepts(repository, "a.io/r:1", "a.io/r:2"));
  EXPECT_FALSE(accepts(repository, "a.io/r:1", "a.io/r/s:1"));
  EXPECT_FALSE(accepts(repository, "a.io/r:1", "not a name"));
  const std::string one = R"({"type":"exactReference","dockerReference":"z.io/x:7"})";
  EXPECT_TRUE(accepts(one, "a.io/r:1", "z.io/x:7"));
  EXPECT_FALSE(accepts(one, "a.io/r:1", "z.io/x:8"));
  const std::string whole = R"({"type":"exactRepository","dockerRepository":"z.io/x"})";
  EXPECT_TRUE(accepts(whole, "a.io/r:1", "z.io/x:8"));
  EXPECT_FALSE(accepts(whole, "a.io/r:1", "a.io/r:1"));
  const std::string remap =
      R"({"type":"remapIdentity","prefix":"mirror.io/vendor","signedPrefix":"vendor.io"})";
  EXPECT_TRUE(accepts(remap, "mirror.io/vendor/app:1", "vendor.io/app:1"));
  EXPECT_FALSE(accepts(remap, "mirror.io/vendor/app:1", "mirror.io/vendor/app:1"));
  EXPECT_FALSE(accepts(remap, "mirror.io/vendors/app:1", "vendor.ios/app:1"));
  EXPECT_TRUE(accepts(remap, "other.io/app:1", "other.io/app:1"));
}

}  // namespace
}  // namespace gantry::trust
