#include "server/router.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/id.h"
#include "http/client.h"
#include "server/status.h"

namespace gantry::server {
namespace {

// Says which row was taken and what its names stand for.
Status tell(Call& call, std::string_view route) {
  json::object names;
  for (const auto& [key, value] : call.names) names[key] = value;
  return call.send(
      200, json::object{{"route", route}, {"version", call.version.text()}, {"names", names}});
}
template <char Which>
Status row(Call& call) {
  return tell(call, std::string_view(&std::string_view("abcdefgh")[Which - 'a'], 1));
}

Status read_json(Call& call) { return call.answer(200, call.body()); }
Status read_filters(Call& call) {
  Filters filters = TRY(call.filters());
  return call.send(200, json::encode(filters));
}
Status read_time(Call& call) {
  int64_t time = TRY(call.time("t"));
  return call.send(200, time);
}
Status fail(Call& call) {
  ErrorKind kind = error_kind_from(call.name("kind"));
  return Error(kind, "it failed");
}

constexpr Route kRoutes[] = {
    {"GET", "/containers/json", row<'a'>},
    {"GET", "/containers/{id}/json", row<'b'>},
    {"DELETE", "/containers/{id}", row<'c'>},
    {"GET", "/images/{name...}/json", row<'d'>},
    {"GET", "/images/json", row<'e'>},
    {"DELETE", "/images/{name...}", row<'f'>},
    {"POST", "/json", read_json},
    {"GET", "/filters", read_filters},
    {"GET", "/time", read_time},
    {"GET", "/fail/{kind}", fail},
};

class RouterTest : public testing::Test {
 protected:
  RouterTest() : router_({kRoutes}, nullptr) {
    path_ = "/tmp/gantry-router-test-" + random_hex(8);
    auto socket = sys::listen_unix(path_, 0600);
    server_ = std::make_unique<http::Server>(http::ServerOptions{},
                                             [this](http::Exchange& x) { router_.handle(x); });
    EXPECT_TRUE(socket && server_->listen(std::move(*socket)));
    thread_ = std::thread([this] { server_->run(); });
  }
  ~RouterTest() override {
    server_->stop();
    thread_.join();
    ::unlink(path_.c_str());
  }

  struct Answer {
    int status = 0;
    std::string body;
    http::Headers headers;
  };
  Answer ask(http::Request request) {
    auto client = http::Client::open("unix://" + path_);
    auto response = client->request(request);
    EXPECT_TRUE(response);
    if (!response) return {};
    std::string body = response->read_all().release();
    return {response->status(), body, response->headers()};
  }
  Answer get(std::string target) { return ask({.target = std::move(target)}); }
  std::string message(const Answer& answer) {
    auto document = json::parse(answer.body);
    return document ? std::string(document->at("message").as_string()) : answer.body;
  }

  Router router_;
  std::string path_;
  std::unique_ptr<http::Server> server_;
  std::thread thread_;
};

TEST_F(RouterTest, patterns_are_matched_with_and_without_a_version) {
  EXPECT_EQ(get("/containers/json").body, R"({"route":"a","version":"1.51","names":{}})"
                                          "\n");
  EXPECT_EQ(get("/v1.24/containers/x%20y/json").body,
            R"({"route":"b","version":"1.24","names":{"id":"x y"}})"
            "\n");
  EXPECT_EQ(get("/v1.41//containers//x/json").status, 200);
  EXPECT_EQ(ask({.method = "DELETE", .target = "/containers/x"}).body,
            R"({"route":"c","version":"1.51","names":{"id":"x"}})"
            "\n");
}

TEST_F(RouterTest, names_of_images_may_have_slashes) {
  EXPECT_EQ(get("/images/host:5000/a/b:c/json").body,
            R"({"route":"d","version":"1.51","names":{"name":"host:5000/a/b:c"}})"
            "\n");
  EXPECT_EQ(get("/images/json").body, R"({"route":"e","version":"1.51","names":{}})"
                                      "\n");
  EXPECT_EQ(ask({.method = "DELETE", .target = "/images/a%2Fb"}).body,
            R"({"route":"f","version":"1.51","names":{"name":"a/b"}})"
            "\n");
}

TEST_F(RouterTest, what_is_unknown_is_not_found) {
  for (const char* target :
       {"/", "/v1.41", "/nope", "/v1.99/nope", "/containers", "/vx.y/containers/json"}) {
    Answer answer = get(target);
    EXPECT_EQ(answer.status, 404) << target;
    EXPECT_EQ(message(answer), "page not found");
  }
  EXPECT_EQ(ask({.method = "PUT", .target = "/containers/json"}).status, 404);
}

TEST_F(RouterTest, versions_out_of_range_are_refused_in_dockers_words) {
  Answer answer = get("/v1.99/containers/json");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(
      answer.body,
      "{\"message\":\"client version 1.99 is too new. Maximum supported API version is 1.51\"}\n");
  answer = get("/v1.12/containers/json");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(message(answer),
            "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade "
            "your client "
            "to a newer version");
}

TEST_F(RouterTest, every_answer_tells_the_version_and_head_has_no_body) {
  Answer answer = ask({.method = "HEAD", .target = "/containers/json"});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "");
  EXPECT_EQ(answer.headers.get("Api-Version"), "1.51");
  EXPECT_EQ(answer.headers.get("Ostype"), "linux");
  EXPECT_EQ(get("/nope").headers.get("Api-Version"), "1.51");
}

TEST_F(RouterTest, errors_become_status_and_message) {
  std::pair<const char*, int> kinds[] = {
      {"invalid", 400},  {"permission", 403},  {"not_found", 404},   {"conflict", 409},
      {"internal", 500}, {"unsupported", 501}, {"unavailable", 503}, {"cancelled", 500}};
  for (auto [kind, status] : kinds) {
    Answer answer = get(std::string("/fail/") + kind);
    EXPECT_EQ(answer.status, status) << kind;
    EXPECT_EQ(answer.body, "{\"message\":\"it failed\"}\n");
  }
  EXPECT_EQ(http_status(error_from_errno(ENOSPC, "write")), 500);
}

TEST_F(RouterTest, bodies_follow_dockers_rules) {
  auto post = [&](std::string type, std::string body) {
    http::Request request{.method = "POST", .target = "/json", .body = std::move(body)};
    if (!type.empty()) request.headers.add("Content-Type", std::move(type));
    return ask(request);
  };
  EXPECT_EQ(post("application/json", "{\"a\":1}").body, "{\"a\":1}\n");
  EXPECT_EQ(post("application/json; charset=utf-8", "{}").status, 200);
  EXPECT_EQ(post("", "").status, 200);
  EXPECT_EQ(message(post("text/plain", "{}")),
            "unsupported Content-Type header (text/plain): must be 'application/json'");
  EXPECT_EQ(message(post("application/json", " \n")),
            "invalid JSON: got EOF while reading request body");
  Answer broken = post("application/json", "{\"a\":");
  EXPECT_EQ(broken.status, 400);
  EXPECT_TRUE(message(broken).starts_with("invalid JSON: ")) << broken.body;
  EXPECT_EQ(post("application/json", "{} {}").status, 400);
  EXPECT_EQ(post("application/json", std::string(17u << 20, ' ')).status, 400);
}

TEST_F(RouterTest, filters_are_read_in_both_forms) {
  auto filters = [&](std::string_view text) {
    return get("/filters?filters=" + http::percent_encode(text));
  };
  EXPECT_EQ(filters(R"({"name":["a","b"]})").body, R"({"name":["a","b"]})"
                                                   "\n");
  EXPECT_EQ(filters(R"({"name":{"a":true,"b":false}})").body, R"({"name":["a"]})"
                                                              "\n");
  for (const char* bad : {"[]", "x", R"({"a":1})", R"({"a":[1]})", R"({"a":{"b":1}})"})
    EXPECT_EQ(filters(bad).status, 400) << bad;
}

TEST_F(RouterTest, times_are_seconds_or_rfc3339) {
  EXPECT_EQ(get("/time?t=12.5").body, "12500000000\n");
  EXPECT_EQ(get("/time?t=12.000000001").body, "12000000001\n");
  EXPECT_EQ(get("/time").body, "0\n");
  EXPECT_EQ(get("/time?t=1970-01-01T00:00:02Z").body, "2000000000\n");
  for (const char* bad : {"x", "1.2.3", "99999999999999999999", "1-2"})
    EXPECT_EQ(get(std::string("/time?t=") + bad).status, 400) << bad;
}

TEST(ApiVersion, prefixes_are_split_off) {
  EXPECT_EQ(split_version("/v1.41/a/b").path, "/a/b");
  EXPECT_EQ(split_version("/v1.41/a/b").version, (ApiVersion{1, 41}));
  EXPECT_EQ(split_version("/volumes").path, "/volumes");
  EXPECT_EQ(split_version("/v1/x").path, "/v1/x");
  EXPECT_EQ(split_version("/v1.41").path, "/");
  EXPECT_FALSE(parse_version("1.-2"));
  EXPECT_FALSE(parse_version(""));
  EXPECT_FALSE(parse_version("1.99999999999999999999"));
}

}  // namespace
}  // namespace gantry::server
