#include "http/parser.h"

#include <gtest/gtest.h>

namespace gantry::http {
namespace {

constexpr size_t kLimit = 1024;

// Feeds `input` in steps and returns what is left after the message.
Result<std::string> feed(Parser& parser, std::string_view input, std::string& body, size_t step) {
  std::string pending;
  while (true) {
    while (!pending.empty() && !parser.done()) {
      size_t used = TRY(parser.put(pending, body));
      pending.erase(0, used);
      if (used == 0) break;
    }
    if (parser.done() || input.empty()) return pending + std::string(input);
    pending.append(input.substr(0, step));
    input.remove_prefix(std::min(step, input.size()));
  }
}

TEST(Parser, a_request_parses_alike_however_it_is_cut) {
  std::string_view text =
      "POST /a?b=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: t\r\n\r\nGET /next";
  for (size_t step = 1; step < text.size(); ++step) {
    Parser parser(Parser::Kind::request, kLimit);
    std::string body;
    auto rest = feed(parser, text, body, step);
    ASSERT_TRUE(rest) << rest.error().message();
    EXPECT_TRUE(parser.done());
    EXPECT_EQ(parser.head().target, "/a?b=1");
    EXPECT_EQ(parser.head().headers.get("host"), "x");
    EXPECT_FALSE(parser.head().headers.has("Trailer"));
    EXPECT_EQ(body, "hello world");
    EXPECT_EQ(*rest, "GET /next");
  }
}

TEST(Parser, put_stops_at_the_end_of_the_head) {
  Parser parser(Parser::Kind::request, kLimit);
  std::string body;
  auto used = parser.put("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", body);
  ASSERT_TRUE(used);
  EXPECT_TRUE(parser.head_done());
  EXPECT_FALSE(parser.done());
  EXPECT_EQ(body, "");
  EXPECT_EQ(parser.head().content_length, 3u);
}

struct Bad {
  const char* text;
  int status;
};
class Refused : public testing::TestWithParam<Bad> {};
TEST_P(Refused, with_its_status) {
  for (size_t step : {size_t{1}, size_t{7}, size_t{1} << 20}) {
    Parser parser(Parser::Kind::request, kLimit);
    std::string body;
    auto rest = feed(parser, GetParam().text, body, step);
    ASSERT_FALSE(rest);
    EXPECT_EQ(parser.error_status(), GetParam().status);
    EXPECT_FALSE(parser.put("x", body));  // dead
  }
}
INSTANTIATE_TEST_SUITE_P(
    Parser, Refused,
    testing::Values(
        Bad{"\x16\x03\x01garbage that is TLS\r\n\r\n", 400}, Bad{"GET / HTTP/2.0\r\n\r\n", 505},
        Bad{"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400},
        Bad{"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400},
        Bad{"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
        Bad{"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        Bad{"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400},
        Bad{"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
        Bad{"GET / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 501},
        Bad{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
        Bad{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXXXX\r\n", 400}));

TEST(Parser, a_head_over_the_limit_is_refused_however_it_arrives) {
  std::string head = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 100; ++i) head += "X-Field: 0123456789\r\n";
  for (size_t step : {size_t{1}, size_t{21}, size_t{4096}}) {
    Parser parser(Parser::Kind::request, kLimit);
    std::string body;
    ASSERT_FALSE(feed(parser, head, body, step));
    EXPECT_EQ(parser.error_status(), 431);
  }
}

TEST(Parser, a_chunk_header_without_end_is_refused) {
  Parser parser(Parser::Kind::request, kLimit);
  std::string body;
  std::string text =
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(100000, 'x');
  EXPECT_FALSE(feed(parser, text, body, 4096));
}

TEST(Parser, a_response_without_length_goes_to_the_end_of_the_connection) {
  Parser parser(Parser::Kind::response, kLimit);
  std::string body;
  ASSERT_TRUE(feed(parser, "HTTP/1.1 200 OK\r\n\r\nabc", body, 5));
  EXPECT_FALSE(parser.done());
  ASSERT_TRUE(parser.put_eof());
  EXPECT_TRUE(parser.done());
  EXPECT_EQ(body, "abc");
  EXPECT_FALSE(parser.head().keep_alive);
}

TEST(Parser, a_truncated_body_is_an_error) {
  Parser parser(Parser::Kind::response, kLimit);
  std::string body;
  ASSERT_TRUE(feed(parser, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", body, 5));
  EXPECT_FALSE(parser.put_eof());
}

TEST(Parser, the_answer_to_head_has_no_body) {
  Parser parser(Parser::Kind::response, kLimit, Parser::Body::none);
  std::string body;
  auto rest = feed(parser, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP", body, 100);
  ASSERT_TRUE(rest);
  EXPECT_TRUE(parser.done());
  EXPECT_EQ(*rest, "HTTP");
}

}  // namespace
}  // namespace gantry::http
