// Users, rights and tokens.
#include "registry_server/auth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/fs.h"
#include "base/id.h"

namespace gantry::registry_server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(HtpasswdTest, OnlyTheRightPasswordIsRight) {
  auto line = htpasswd_line("alice", "secret", 4);
  ASSERT_TRUE(line) << line.error().message();
  auto users = Htpasswd::parse("# comment\n\n" + *line + "\r\n");
  ASSERT_TRUE(users) << users.error().message();
  EXPECT_TRUE(users->check("alice", "secret"));
  EXPECT_FALSE(users->check("alice", "Secret"));
  EXPECT_FALSE(users->check("alice", ""));
  EXPECT_FALSE(users->check("alice", std::string("secret\0", 7)));
  EXPECT_FALSE(users->check("bob", "secret"));
  EXPECT_FALSE(users->check("", ""));
  // What an unknown user is checked against is nobody's.
  EXPECT_FALSE(users->check("bob", "nobody has this password"));
}

TEST(HtpasswdTest, OtherLinesAreRefusedByTheirNumber) {
  std::string good = *htpasswd_line("a", "b", 4);
  for (const std::string& bad : std::vector<std::string>{
           "alice", ":x", "alice:plain", "alice:{SHA}x", "alice:$apr1$x$y",
           "alice:$2y$31$" + std::string(53, 'a'), "alice:$2y$10$" + std::string(52, 'a') + "!"}) {
    auto parsed = Htpasswd::parse(good + "\n" + bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_THAT(parsed.error().message(), HasSubstr("line 2")) << bad;
  }
  EXPECT_THAT(Htpasswd::parse(good + "\n" + good).error().message(), HasSubstr("there twice"));
  EXPECT_FALSE(htpasswd_line("a:b", "x", 4));
  EXPECT_FALSE(htpasswd_line("a", std::string(73, 'x'), 4));
}

TEST(PasswordCacheTest, KnowsWhatItWasToldUntilItIsCleared) {
  PasswordCache cache;
  cache.add("alice", "secret");
  EXPECT_TRUE(cache.knows("alice", "secret"));
  EXPECT_FALSE(cache.knows("alice", "other"));
  EXPECT_FALSE(cache.knows("alices", "ecret"));
  cache.clear();
  EXPECT_FALSE(cache.knows("alice", "secret"));
}

TEST(RightsTest, PatternsMatchPartsAndAcrossThem) {
  EXPECT_TRUE(matches_pattern("a/*", "a/b"));
  EXPECT_FALSE(matches_pattern("a/*", "a/b/c"));
  EXPECT_FALSE(matches_pattern("a/*", "a"));
  EXPECT_TRUE(matches_pattern("a/**", "a/b/c"));
  EXPECT_TRUE(matches_pattern("**", "a/b"));
  EXPECT_TRUE(matches_pattern("*", "a"));
  EXPECT_FALSE(matches_pattern("*", "a/b"));
  EXPECT_TRUE(matches_pattern("a*c/x", "abbc/x"));
  EXPECT_FALSE(matches_pattern("", "a"));
  std::string hostile;
  for (int i = 0; i < 100; ++i) hostile += "*a";
  EXPECT_FALSE(matches_pattern(hostile, std::string(250, 'a') + "b"));
}

TEST(RightsTest, LinesAddUp) {
  auto rights = Rights::parse(
      "group devs = alice, bob\n"
      "allow anonymous public/** pull  # all\n"
      "allow authenticated shared/* pull catalog\n"
      "allow group devs devs/** push\n"
      "allow user alice devs/secret delete\n"
      "allow user admin ** all\n");
  ASSERT_TRUE(rights) << rights.error().message();
  EXPECT_EQ(rights->of("", "public/a/b"), unsigned{kPull});
  EXPECT_EQ(rights->of("", "shared/a"), 0u);
  EXPECT_EQ(rights->of("carol", "shared/a"), unsigned{kPull | kCatalog});
  EXPECT_EQ(rights->of("bob", "devs/a"), unsigned{kPull | kPush});
  EXPECT_EQ(rights->of("alice", "devs/secret"), unsigned{kPull | kPush | kDelete});
  EXPECT_EQ(rights->of("carol", "devs/a"), 0u);
  EXPECT_EQ(rights->of("admin", "any/thing"), unsigned{kAllRights});
  EXPECT_TRUE(rights->any("carol", kCatalog));
  EXPECT_FALSE(rights->any("", kCatalog));
}

TEST(RightsTest, AWrongLineIsNamed) {
  for (const char* bad :
       {"deny all", "allow", "allow user alice", "allow user alice a/b", "allow nobody a pull",
        "allow user alice A pull", "allow user alice a fly", "group x"})
    EXPECT_THAT(Rights::parse(std::string("\n") + bad).error().message(), HasSubstr("line 2"))
        << bad;
  EXPECT_THAT(Rights::parse("allow group ghosts ** pull").error().message(),
              HasSubstr("no group 'ghosts'"));
}

// ---- tokens

struct Signer {
  explicit Signer(const char* algorithm) : name(algorithm) {
    if (name == "RS256") key.reset(EVP_RSA_gen(2048));
    if (name == "ES256") key.reset(EVP_EC_gen("P-256"));
    if (name == "EdDSA") key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  }
  std::string pem() const {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, key.get());
    char* data = nullptr;
    long size = BIO_get_mem_data(bio, &data);
    std::string out(data, static_cast<size_t>(size));
    BIO_free(bio);
    return out;
  }
  std::string token(const std::string& header, const std::string& claims) const {
    std::string text =
        base64_url_encode_unpadded(header) + "." + base64_url_encode_unpadded(claims);
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestSignInit(context, nullptr, name == "EdDSA" ? nullptr : EVP_sha256(), nullptr,
                       key.get());
    std::string signature(1024, '\0');
    size_t size = signature.size();
    EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size,
                   reinterpret_cast<const unsigned char*>(text.data()), text.size());
    EVP_MD_CTX_free(context);
    signature.resize(size);
    if (name == "ES256") signature = raw(signature);
    return text + "." + base64_url_encode_unpadded(signature);
  }
  std::string claims(int64_t expires, const std::string& more = "") const {
    return fmt::format(
        R"({{"iss":"i","sub":"alice","aud":"s","exp":{}{},"access":[{{"type":"repository","name":"a/b","actions":["pull"]}}]}})",
        expires, more);
  }
  // DER of two integers to their 32 bytes each.
  static std::string raw(const std::string& der) {
    std::string out;
    size_t at = 2;
    for (int i = 0; i < 2; ++i) {
      auto size = static_cast<size_t>(der[at + 1]);
      std::string number = der.substr(at + 2, size);
      at += 2 + size;
      while (number.size() > 32) number.erase(0, 1);
      out += std::string(32 - number.size(), '\0') + number;
    }
    return out;
  }

  std::string name;
  Key key;
};

const TokenDemands kDemands{"i", "s", 1000};

TEST(TokenTest, EachAlgorithmIsVerified) {
  for (const char* algorithm : {"RS256", "ES256", "EdDSA"}) {
    Signer signer(algorithm);
    KeySet keys;
    ASSERT_TRUE(keys.add(signer.pem()));
    std::string header = fmt::format(R"({{"alg":"{}","typ":"JWT"}})", algorithm);
    auto claims = verify_token(signer.token(header, signer.claims(2000)), keys, kDemands);
    ASSERT_TRUE(claims) << algorithm << ": " << claims.error().message();
    EXPECT_EQ(claims->subject, "alice");
    ASSERT_EQ(claims->access.size(), 1u);
    EXPECT_THAT(claims->access[0].actions, ElementsAre("pull"));
  }
}

TEST(TokenTest, WhatIsNotSignedByAKnownKeyIsRefused) {
  Signer signer("ES256"), other("ES256"), rsa("RS256");
  KeySet keys;
  ASSERT_TRUE(keys.add(signer.pem()));
  std::string header = R"({"alg":"ES256"})";
  std::string good = signer.token(header, signer.claims(2000));
  EXPECT_TRUE(verify_token(good, keys, kDemands));
  EXPECT_FALSE(verify_token(other.token(header, signer.claims(2000)), keys, kDemands));
  EXPECT_FALSE(verify_token(rsa.token(R"({"alg":"RS256"})", signer.claims(2000)), keys, kDemands));
  // Another content under the same signature.
  size_t first = good.find('.'), second = good.rfind('.');
  std::string forged = good.substr(0, first + 1) + base64_url_encode_unpadded(signer.claims(3000)) +
                       good.substr(second);
  EXPECT_FALSE(verify_token(forged, keys, kDemands));
  // No signature, and a public key taken for a secret.
  for (const char* algorithm : {"none", "None", "HS256", "ES384", ""}) {
    std::string text = base64_url_encode_unpadded(fmt::format(R"({{"alg":"{}"}})", algorithm)) +
                       "." + base64_url_encode_unpadded(signer.claims(2000));
    EXPECT_FALSE(verify_token(text + ".", keys, kDemands)) << algorithm;
    EXPECT_FALSE(verify_token(text + ".AAAA", keys, kDemands)) << algorithm;
  }
  EXPECT_FALSE(verify_token(good.substr(0, second + 1), keys, kDemands));
  EXPECT_FALSE(verify_token("", keys, kDemands));
  EXPECT_FALSE(verify_token("..", keys, kDemands));
  EXPECT_FALSE(verify_token(std::string(1 << 20, 'a'), keys, kDemands));
  EXPECT_FALSE(verify_token(good, KeySet(), kDemands));
}

TEST(TokenTest, ClaimsHaveToFit) {
  Signer signer("EdDSA");
  KeySet keys;
  ASSERT_TRUE(keys.add(signer.pem()));
  auto why = [&](const std::string& claims, TokenDemands demands = kDemands,
                 const std::string& header = R"({"alg":"EdDSA"})") {
    auto got = verify_token(signer.token(header, claims), keys, demands);
    return got ? std::string("accepted") : got.error().message();
  };
  EXPECT_EQ(why(signer.claims(2000)), "accepted");
  EXPECT_THAT(why(signer.claims(900)), HasSubstr("expired"));
  EXPECT_EQ(why(signer.claims(990)), "accepted");  // two clocks may differ
  EXPECT_THAT(why(signer.claims(2000, R"(,"nbf":1500)")), HasSubstr("not valid yet"));
  EXPECT_THAT(why(signer.claims(2000), {"other", "s", 1000}), HasSubstr("issuer"));
  EXPECT_THAT(why(signer.claims(2000), {"i", "other", 1000}), HasSubstr("service"));
  EXPECT_THAT(why(R"({"iss":"i","aud":"s"})"), HasSubstr("no time of expiry"));
  EXPECT_EQ(why(R"({"iss":"i","aud":["x","s"],"exp":1e4})"), "accepted");
  EXPECT_THAT(why(R"({"iss":"i","aud":"s","exp":"2000"})"), HasSubstr("malformed"));
  EXPECT_THAT(why(R"([])"), HasSubstr("malformed"));
  EXPECT_THAT(why(signer.claims(2000), kDemands, R"({"alg":"EdDSA","crit":["x"]})"),
              HasSubstr("extension"));
}

TEST(TokenTest, KeysComeAsJsonToo) {
  Signer signer("EdDSA");
  std::string point(32, '\0');
  size_t size = point.size();
  EVP_PKEY_get_raw_public_key(signer.key.get(), reinterpret_cast<unsigned char*>(point.data()),
                              &size);
  KeySet keys;
  Status added =
      keys.add(fmt::format(R"({{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{}"}}]}})",
                           base64_url_encode_unpadded(point)));
  ASSERT_TRUE(added) << added.error().message();
  std::string claims = signer.claims(2000);
  EXPECT_TRUE(verify_token(signer.token(R"({"alg":"EdDSA","kid":"k"})", claims), keys, kDemands));
  EXPECT_TRUE(
      verify_token(signer.token(R"({"alg":"EdDSA","kid":"unknown"})", claims), keys, kDemands));
  EXPECT_FALSE(keys.add("no key"));
  EXPECT_FALSE(keys.add(R"({"keys":[{"kty":"oct","k":"AAAA"}]})"));
  EXPECT_FALSE(keys.add("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"));
}

TEST(TokenTest, OwnTokensAreVerified) {
  auto key = make_key();
  ASSERT_TRUE(key);
  auto again = load_private_key(*private_key_pem(*key));
  ASSERT_TRUE(again);
  KeySet keys;
  keys.add_key(*public_part(*key), *key_id(*key));
  TokenClaims claims;
  claims.issuer = "i";
  claims.audience = {"s"};
  claims.expires = 2000;
  claims.access = {{"repository", "a", {"pull", "push"}}};
  auto token = sign_token(claims, *again);
  ASSERT_TRUE(token);
  auto got = verify_token(*token, keys, kDemands);
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_THAT(got->access[0].actions, ElementsAre("pull", "push"));
}

TEST(Base64Test, OnlyTheStrictFormIsRead) {
  EXPECT_EQ(*base64_url_decode_strict("AQID"), "\1\2\3");
  EXPECT_EQ(*base64_decode_strict("YTpi"), "a:b");
  EXPECT_EQ(*base64_decode_strict("YQ=="), "a");
  for (const char* bad : {"A", "AB", "AA=A", "A+==", "AAA=="})
    EXPECT_FALSE(base64_decode_strict(bad)) << bad;
  for (size_t size = 0; size < 50; ++size) {
    std::string bytes = random_hex(size);
    EXPECT_EQ(*base64_url_decode_strict(base64_url_encode_unpadded(bytes)), bytes);
  }
}

TEST(AuthTest, ScopesAreGrantedByRights) {
  AuthState state;
  state.mode = AuthMode::token;
  state.rights =
      Rights::parse("allow user alice team/** push\nallow anonymous public/* pull").release();
  auto actions = [&](const std::string& user, std::string_view scope) {
    return grant(state, user, *parse_scope(scope)).actions;
  };
  EXPECT_THAT(actions("alice", "repository:team/x:pull,push,delete"), ElementsAre("pull", "push"));
  EXPECT_THAT(actions("alice", "repository:team/x:*"), ElementsAre("pull", "push"));
  EXPECT_THAT(actions("", "repository:team/x:pull"), ElementsAre());
  EXPECT_THAT(actions("", "repository:public/x:pull,push"), ElementsAre("pull"));
  EXPECT_THAT(actions("alice", "registry:catalog:*"), ElementsAre());
  EXPECT_THAT(actions("alice", "repository:Team/../x:pull"), ElementsAre());
  EXPECT_FALSE(parse_scope("repository"));
  EXPECT_FALSE(parse_scope("a:b"));
  EXPECT_EQ(parse_scope("repository:host:5000/a:pull")->name, "host:5000/a");
}

TEST(AuthTest, ATokenAllowsWhatItSaysAndWhatNeedsNone) {
  AuthState state;
  state.mode = AuthMode::token;
  Identity none, some;
  some.access = {{"repository", "a/b", {"pull", "push"}}};
  EXPECT_EQ(state.rights_of(none, "a/b"), 0u);
  EXPECT_EQ(state.rights_of(some, "a/b"), unsigned{kPull | kPush});
  EXPECT_EQ(state.rights_of(some, "a/c"), 0u);
  state.rights = Rights::parse("allow anonymous a/* pull").release();
  EXPECT_EQ(state.rights_of(some, "a/c"), unsigned{kPull});
}

}  // namespace
}  // namespace gantry::registry_server
