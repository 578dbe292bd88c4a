// The client against a registry that behaves and one that does not.
#include <gtest/gtest.h>

#include "registry/errors.h"
#include "registry/repository.h"
#include "registry/search.h"
#include "registry/test_registry.h"

namespace gantry::registry {
namespace {

class RegistryTest : public testing::Test {
 protected:
  Hosts& hosts(HostOptions options = {}) {
    options.certificate_dirs = {};
    options.first_retry = std::chrono::milliseconds(1);
    options.idle_timeout = std::chrono::milliseconds(2000);
    hosts_ = Hosts::create(std::move(options)).release();
    return *hosts_;
  }
  std::unique_ptr<Repository> open(AuthConfig credentials = {}, Hosts::Use use = Hosts::Use::pull) {
    if (!hosts_) hosts();
    auto name = image::Reference::parse(registry_.domain() + "/a/b");
    return Repository::open(*hosts_, *name, {.use = use, .credentials = std::move(credentials)})
        .release();
  }
  static image::Descriptor descriptor(const std::string& bytes) {
    image::Descriptor out;
    out.digest = Digest::of(bytes).text();
    out.size = static_cast<int64_t>(bytes.size());
    return out;
  }
  Result<std::string> fetch(Repository& repository, const image::Descriptor& blob,
                            uint64_t offset = 0) {
    std::unique_ptr<ByteSource> source = TRY(repository.blob(blob, offset));
    return read_all(*source, 64u << 20);
  }
  std::string big() const {
    std::string out;
    for (int i = 0; i < 200'000; ++i) out += fmt::format("{:06d}", i);
    return out;
  }

  TestRegistry registry_;
  std::unique_ptr<Hosts> hosts_;
};

TEST_F(RegistryTest, a_manifest_comes_with_the_digest_of_its_bytes) {
  std::string digest = registry_.put_manifest("1", "{\"a\":1}", "application/x");
  auto manifest = open()->manifest("1");
  ASSERT_TRUE(manifest) << manifest.error().message();
  EXPECT_EQ(manifest->digest.text(), digest);
  EXPECT_EQ(manifest->media_type, "application/x");
}

TEST_F(RegistryTest, a_manifest_that_is_not_what_its_digest_says_is_refused) {
  std::string wanted = Digest::of("other").text();
  registry_.manifests[wanted] = {"t", "bytes"};
  auto manifest = open()->manifest(wanted);
  ASSERT_FALSE(manifest);
  EXPECT_NE(manifest.error().message().find("manifest verification failed for digest " + wanted),
            std::string::npos);
}

TEST_F(RegistryTest, a_manifest_of_more_than_four_mebibytes_is_refused) {
  registry_.put_manifest("huge", std::string(5u << 20, ' '), "t");
  auto manifest = open()->manifest("huge");
  ASSERT_FALSE(manifest);
  EXPECT_NE(manifest.error().message().find("longer than 4194304"), std::string::npos)
      << manifest.error().message();
}

TEST_F(RegistryTest, what_is_absent_or_forbidden_is_told_in_dockers_words) {
  auto name = image::Reference::parse(registry_.domain() + "/a/b:x");
  auto manifest = open()->manifest("x");
  ASSERT_FALSE(manifest);
  EXPECT_EQ(
      explain_pull(std::move(manifest.error()), *name).message(),
      fmt::format("manifest for {0}/a/b:x not found: manifest unknown: no", registry_.domain()));
  registry_.basic = "u:p";
  auto denied = open()->manifest("x");
  ASSERT_FALSE(denied);
  Error explained = explain_pull(std::move(denied.error()), *name);
  EXPECT_EQ(explained.kind(), ErrorKind::not_found);
  EXPECT_TRUE(explained.message().starts_with(fmt::format(
      "pull access denied for {}/a/b, repository does not exist or may require 'docker login': ",
      registry_.domain())))
      << explained.message();
  EXPECT_NE(explained.message().find("no basic auth credentials"), std::string::npos);
}

TEST_F(RegistryTest, basic_credentials_are_sent_and_wrong_ones_named) {
  registry_.basic = "u:p";
  registry_.put_manifest("1", "{}", "t");
  EXPECT_TRUE(open({.username = "u", .password = "p"})->manifest("1"));
  auto wrong = open({.username = "u", .password = "x"})->manifest("1");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().kind(), ErrorKind::permission);
}

TEST_F(RegistryTest, a_token_is_fetched_once_and_again_when_it_has_expired) {
  registry_.bearer = true;
  registry_.put_manifest("1", "{}", "t");
  auto repository = open();
  EXPECT_TRUE(repository->manifest("1"));
  EXPECT_TRUE(repository->manifest("1"));
  EXPECT_EQ(registry_.count("GET /token"), 1);
  EXPECT_EQ(registry_.count("scope=repository%3Aa%2Fb%3Apull"), 1);
  registry_.token_lifetime = 1;
  auto other = open();
  EXPECT_TRUE(other->manifest("1"));
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // its lifetime
  EXPECT_TRUE(other->manifest("1"));
  EXPECT_EQ(registry_.count("GET /token"), 3);
}

TEST_F(RegistryTest, an_identity_token_is_exchanged_for_a_bearer_token) {
  registry_.bearer = true;
  registry_.basic = "u:p";
  registry_.refresh_token = "secret";
  registry_.put_manifest("1", "{}", "t");
  EXPECT_TRUE(open({.identity_token = "secret"})->manifest("1"));
  EXPECT_FALSE(open({.identity_token = "wrong"})->manifest("1"));
}

TEST_F(RegistryTest, login_gives_the_identity_token_and_refuses_wrong_credentials) {
  registry_.bearer = true;
  registry_.basic = "u:p";
  registry_.refresh_token = "secret";
  auto token = check_login(
      hosts(), {.username = "u", .password = "p", .server_address = registry_.domain()}, -1);
  ASSERT_TRUE(token) << token.error().message();
  EXPECT_EQ(*token, "secret");
  EXPECT_FALSE(check_login(
      *hosts_, {.username = "u", .password = "x", .server_address = registry_.domain()}, -1));
}

TEST_F(RegistryTest, a_blob_goes_on_after_a_cut) {
  std::string bytes = big();
  registry_.put_blob(bytes);
  registry_.cut_after = 300'000;
  auto fetched = fetch(*open(), descriptor(bytes));
  ASSERT_TRUE(fetched) << fetched.error().message();
  EXPECT_EQ(*fetched, bytes);
  EXPECT_EQ(registry_.count("range=bytes="), 1 + registry_.count("range= ") * 0);
}

TEST_F(RegistryTest, a_registry_without_ranges_is_read_past_what_is_known) {
  std::string bytes = big();
  registry_.put_blob(bytes);
  registry_.ranges = false;
  auto fetched = fetch(*open(), descriptor(bytes), 1000);
  ASSERT_TRUE(fetched) << fetched.error().message();
  EXPECT_EQ(*fetched, bytes.substr(1000));
}

TEST_F(RegistryTest, a_registry_that_lies_about_the_length_is_named_with_the_blob) {
  std::string bytes = big();
  registry_.put_blob(bytes);
  image::Descriptor blob = descriptor(bytes);
  blob.size = 10;
  auto fetched = fetch(*open(), blob);
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().message(),
            fmt::format("blob {}: the registry says it has {} bytes, the manifest 10", blob.digest,
                        bytes.size()));
}

TEST_F(RegistryTest, an_endless_blob_is_cut_off_at_its_size) {
  image::Descriptor blob = descriptor("short");
  registry_.hook = [&](http::Exchange& x) {
    if (x.path().find("/blobs/") == std::string::npos) return false;
    (void)x.start_stream(200, {});
    while (x.write(std::string(4096, 'x'))) {
    }
    return true;
  };
  auto fetched = fetch(*open(), blob);
  ASSERT_FALSE(fetched);
  EXPECT_NE(fetched.error().message().find("longer than the 5 bytes its manifest says"),
            std::string::npos);
}

TEST_F(RegistryTest, a_registry_that_hangs_is_given_up_on) {
  registry_.hook = [](http::Exchange& x) {
    if (x.path() == "/v2/") return false;
    (void)x.wait();
    return true;
  };
  HostOptions options;
  hosts(std::move(options));
  auto manifest = open()->manifest("1");
  ASSERT_FALSE(manifest);
  EXPECT_NE(manifest.error().message().find("i/o timeout"), std::string::npos)
      << manifest.error().message();
}

TEST_F(RegistryTest, a_redirect_to_itself_and_an_endless_one_are_errors) {
  registry_.hook = [](http::Exchange& x) {
    if (x.path().find("/manifests/self") != std::string::npos)
      return (void)x.respond(307, {{"Location", x.target()}}, ""), true;
    if (x.path().find("/manifests/") == std::string::npos) return false;
    return (void)x.respond(307, {{"Location", x.target() + "x"}}, ""), true;
  };
  auto self = open()->manifest("self");
  ASSERT_FALSE(self);
  EXPECT_NE(self.error().message().find("redirected to itself"), std::string::npos);
  auto endless = open()->manifest("on");
  ASSERT_FALSE(endless);
  EXPECT_NE(endless.error().message().find("stopped after 10 redirects"), std::string::npos);
}

TEST_F(RegistryTest, credentials_do_not_follow_a_redirect_to_another_host) {
  TestRegistry other;
  std::string bytes = "layer";
  other.put_blob(bytes);
  registry_.basic = "u:p";
  registry_.hook = [&](http::Exchange& x) {
    if (x.path().find("/blobs/") == std::string::npos) return false;
    return (void)x.respond(307, {{"Location", other.url() + x.target()}}, ""), true;
  };
  auto fetched = fetch(*open({.username = "u", .password = "p"}), descriptor(bytes));
  ASSERT_TRUE(fetched) << fetched.error().message();
  EXPECT_EQ(other.count("auth=Basic"), 0);
  EXPECT_EQ(other.count("/blobs/"), 1);
}

TEST_F(RegistryTest, an_overloaded_registry_is_asked_again_and_a_limit_is_explained) {
  std::atomic<int> failures{2};
  registry_.put_manifest("1", "{}", "t");
  registry_.hook = [&](http::Exchange& x) {
    if (x.path().find("/manifests/1") == std::string::npos || failures-- <= 0) return false;
    return (void)x.respond(503, {}, "busy"), true;
  };
  EXPECT_TRUE(open()->manifest("1"));
  registry_.hook = [&](http::Exchange& x) {
    return (void)x.respond(
               429, {{"Retry-After", "3600"}},
               R"({"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]})"),
           true;
  };
  auto limited = open()->manifest("1");
  ASSERT_FALSE(limited);
  EXPECT_NE(limited.error().message().find("toomanyrequests: You have reached your pull rate "
                                           "limit. (it asks to come again in 3600 seconds)"),
            std::string::npos)
      << limited.error().message();
}

TEST_F(RegistryTest, a_mirror_is_asked_first_without_credentials_and_the_origin_after_it) {
  TestRegistry mirror;
  mirror.put_manifest("1", "{\"from\":\"mirror\"}", "t");
  registry_.put_manifest("1", "{\"from\":\"origin\"}", "t");
  registry_.put_manifest("2", "{\"from\":\"origin\"}", "t");
  HostOptions options;
  options.mirrors_of[registry_.domain()] = {mirror.url()};
  hosts(std::move(options));
  auto repository = open({.username = "u", .password = "p"});
  EXPECT_NE(repository->manifest("1")->bytes.find("mirror"), std::string::npos);
  auto second = repository->manifest("2");
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_NE(second->bytes.find("origin"), std::string::npos);
  EXPECT_EQ(mirror.count("auth=Basic"), 0);
  EXPECT_EQ(repository->name(), registry_.domain() + "/a/b");
}

TEST_F(RegistryTest, an_upload_goes_on_after_a_cut_and_is_what_it_was_said_to_be) {
  std::string bytes = big();
  auto repository = open({}, Hosts::Use::push);
  image::BlobOpener opener = [&]() -> Result<std::unique_ptr<ByteSource>> {
    return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(bytes));
  };
  registry_.fail_uploads = 2;
  auto sent = repository->upload(Digest::of(bytes), static_cast<int64_t>(bytes.size()), opener, {});
  ASSERT_TRUE(sent) << sent.error().message();
  EXPECT_EQ(registry_.blobs[Digest::of(bytes).text()], bytes);
  registry_.fail_uploads = 1;
  registry_.blobs.clear();
  auto unknown = repository->upload({}, -1, opener, {});
  ASSERT_TRUE(unknown) << unknown.error().message();
  EXPECT_EQ(unknown->digest, Digest::of(bytes));
  EXPECT_EQ(unknown->size, static_cast<int64_t>(bytes.size()));
  auto wrong = repository->upload(Digest::of("x"), static_cast<int64_t>(bytes.size()), opener, {});
  EXPECT_FALSE(wrong);
}

TEST_F(RegistryTest, cancelling_ends_a_request_that_hangs) {
  registry_.hook = [](http::Exchange& x) {
    if (x.path() == "/v2/") return false;
    (void)x.wait();
    return true;
  };
  auto pipe = sys::pipe();
  hosts();
  auto name = image::Reference::parse(registry_.domain() + "/a/b");
  auto repository = Repository::open(*hosts_, *name, {.cancel_fd = pipe->read.get()}).release();
  ASSERT_TRUE(sys::write_all(pipe->write.get(), "x"));
  auto manifest = repository->manifest("1");
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().kind(), ErrorKind::cancelled);
}

TEST_F(RegistryTest, search_asks_the_index_that_is_named) {
  registry_.hook = [](http::Exchange& x) {
    if (!x.path().starts_with("/v1/search")) return false;
    return (void)x.respond(
               200, {},
               R"({"results":[{"name":"a","star_count":5,"is_official":true},{"name":"b","star_count":1}]})"),
           true;
  };
  auto found = search(
      hosts(), {.term = registry_.domain() + "/thing", .filters = {{"stars", {"3"}}}}, {}, -1);
  ASSERT_TRUE(found) << found.error().message();
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ(found->at(0).at("name").as_string(), "a");
  EXPECT_EQ(registry_.count("GET /v1/search?q=thing&n=25"), 1);
  auto limit = search(*hosts_, {.term = "x", .limit = 200}, {}, -1);
  ASSERT_FALSE(limit);
  EXPECT_EQ(limit.error().message(), "Limit 200 is outside the range of [1, 100]");
}

TEST_F(RegistryTest, signatures_that_the_registry_keeps_are_asked_of_one_that_says_so) {
  const std::string digest = registry_.put_manifest("1", "{\"a\":1}", "application/x");
  std::atomic<bool> keeps{true};
  std::atomic<int> asked{0};
  registry_.hook = [&](http::Exchange& x) {
    if (x.path() == "/v2/" && keeps) {
      (void)x.respond(200, {{"X-Registry-Supports-Signatures", "1"}}, "{}");
      return true;
    }
    if (!x.path().starts_with("/extensions/")) return false;
    ++asked;
    if (x.path() != "/extensions/v2/a/b/signatures/" + digest) {
      (void)x.respond(404, {}, "");
      return true;
    }
    (void)x.respond(
        200, {},
        fmt::format(
            R"({{"signatures":[{{"version":2,"name":"{0}@1","type":"atomic","content":"{1}"}},)"
            R"({{"version":2,"name":"{0}@2","type":"other","content":"{1}"}},)"
            R"({{"version":2,"name":"{0}@3","type":"atomic","content":"!"}}]}})",
            digest, base64_encode("signed")));
    return true;
  };
  {
    auto repository = open();
    auto manifest = repository->manifest("1");
    ASSERT_TRUE(manifest) << manifest.error().message();
    auto kept = repository->kept_signatures(manifest->digest);
    ASSERT_TRUE(kept) << kept.error().message();
    EXPECT_EQ(*kept, std::vector<std::string>{"signed"});
    auto none = repository->kept_signatures(Digest::of("another"));
    ASSERT_TRUE(none) << none.error().message();
    EXPECT_TRUE(none->empty());
  }
  EXPECT_EQ(asked, 2);
  keeps = false;
  hosts_.reset();
  auto repository = open();
  ASSERT_TRUE(repository->manifest("1"));
  auto kept = repository->kept_signatures(Digest::of("{\"a\":1}"));
  ASSERT_TRUE(kept);
  EXPECT_TRUE(kept->empty());
  EXPECT_EQ(asked, 2);  // nobody was asked
}

TEST(Challenges, are_read_with_quotes_commas_and_several_at_once) {
  auto all = parse_challenges(
      R"(Bearer realm="https://a/t?x=1,2",service="s \"q\"",scope="a b", Basic realm=x)");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].scheme, "bearer");
  EXPECT_EQ(all[0].parameters["realm"], "https://a/t?x=1,2");
  EXPECT_EQ(all[0].parameters["service"], "s \"q\"");
  EXPECT_EQ(all[1].scheme, "basic");
  EXPECT_EQ(all[1].parameters["realm"], "x");
  EXPECT_TRUE(parse_challenges("=,,=").empty());
}

TEST(Hosts_, loopback_and_what_the_options_name_may_be_plain) {
  auto hosts = Hosts::create({.insecure = {"10.0.0.0/8", "reg.example:5000", "plain.example"}});
  ASSERT_TRUE(hosts);
  for (const char* domain :
       {"localhost:5000", "127.0.0.1", "127.9.9.9:1", "[::1]:5000", "10.1.2.3:5000",
        "reg.example:5000", "plain.example", "plain.example:80"})
    EXPECT_TRUE((*hosts)->insecure(domain)) << domain;
  for (const char* domain : {"docker.io", "reg.example", "11.0.0.1", "127.example"})
    EXPECT_FALSE((*hosts)->insecure(domain)) << domain;
  EXPECT_FALSE(Hosts::create({.insecure = {"http://x"}}));
  EXPECT_FALSE(Hosts::create({.mirrors = {"ftp://x"}}));
}

TEST(AuthHeader, is_decoded_in_both_forms) {
  auto plain = AuthConfig::decode(base64_url_encode(R"({"username":"u","password":"p"})"));
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->password, "p");
  auto old = AuthConfig::decode(base64_encode(R"({"auth":")" + base64_encode("u:p:q") + "\"}"));
  ASSERT_TRUE(old);
  EXPECT_EQ(old->username, "u");
  EXPECT_EQ(old->password, "p:q");
  EXPECT_TRUE(AuthConfig::decode("e30=")->empty());
  EXPECT_FALSE(AuthConfig::decode("!!!"));
}

}  // namespace
}  // namespace gantry::registry
