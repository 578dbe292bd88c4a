#include "http/websocket.h"

#include <gtest/gtest.h>

namespace gantry::http {
namespace {

// As a client sends it.
std::string client_frame(int first, std::string payload, std::string_view mask = "\1\2\3\4") {
  std::string out(1, static_cast<char>(first));
  if (payload.size() < 126) {
    out += static_cast<char>(0x80 | payload.size());
  } else {
    out += static_cast<char>(0x80 | 126);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size());
  }
  out += mask;
  for (size_t i = 0; i < payload.size(); ++i)
    payload[i] = static_cast<char>(payload[i] ^ mask[i % 4]);
  return out + payload;
}

TEST(WebSocket, TheHandshakeIsAnsweredAsTheStandardHasIt) {
  Headers request{{"Upgrade", "websocket"},
                  {"Connection", "keep-alive, Upgrade"},
                  {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                  {"Sec-WebSocket-Version", "13"}};
  auto accept = websocket_accept(request);
  ASSERT_TRUE(accept);
  EXPECT_EQ(*accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");  // RFC 6455, 1.3
  EXPECT_FALSE(websocket_accept({{"Upgrade", "tcp"}, {"Connection", "Upgrade"}}));
  EXPECT_FALSE(websocket_accept({{"Upgrade", "websocket"},
                                 {"Connection", "Upgrade"},
                                 {"Sec-WebSocket-Key", "x"},
                                 {"Sec-WebSocket-Version", "8"}}));
}

TEST(WebSocket, MessagesComeThroughInPiecesOfAnySize) {
  const std::string stream = client_frame(0x82, "one") + client_frame(0x02, std::string(300, 'x')) +
                             client_frame(0x89, "ping") + client_frame(0x80, "end") +
                             client_frame(0x88, "\x03\xe8");
  for (size_t piece = 1; piece < stream.size(); piece += 7) {
    WebSocketReader reader;
    std::string in, out, reply;
    for (size_t at = 0; at < stream.size(); at += piece) {
      in += stream.substr(at, piece);
      ASSERT_TRUE(reader.read(in, out, reply));
    }
    EXPECT_EQ(out, "one" + std::string(300, 'x') + "end");
    EXPECT_EQ(reply, "\x8a\x04ping\x88\x02\x03\xe8");
    EXPECT_TRUE(reader.closed());
  }
}

TEST(WebSocket, WhatBreaksTheProtocolIsRefused) {
  for (std::string wrong :
       {std::string("\x82\x03one"), client_frame(0xc2, "x"), client_frame(0x83, "x"),
        client_frame(0x09, "x"), client_frame(0x89, std::string(126, 'x'))}) {
    WebSocketReader reader;
    std::string out, reply;
    EXPECT_FALSE(reader.read(wrong, out, reply));
  }
}

TEST(WebSocket, FramesHaveTheirLength) {
  EXPECT_EQ(websocket_frame("abc"),
            "\x82\x03"
            "abc");
  EXPECT_EQ(websocket_frame(std::string(126, 'x')).substr(0, 4),
            std::string("\x82\x7e\x00\x7e", 4));
  EXPECT_EQ(websocket_frame(std::string(65536, 'x')).substr(0, 10),
            std::string("\x82\x7f\0\0\0\0\0\1\0\0", 10));
}

}  // namespace
}  // namespace gantry::http
