#include "runtime/shim/protocol.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/sys.h"

namespace gantry::shim {
namespace {

TEST(Protocol, FramesComeOutAsTheyWentInHoweverTheyAreCut) {
  SignalRequest request{"exec1", 15};
  std::string bytes =
      encode(MessageType::signal, 7, 0, json::dump(request)) + encode(MessageType::done, 8, 0, "");
  for (size_t step : {size_t{1}, size_t{3}, size_t{13}, bytes.size()}) {
    Decoder decoder;
    std::vector<Message> messages;
    for (size_t at = 0; at < bytes.size(); at += step) {
      ASSERT_TRUE(decoder.feed(std::string_view(bytes).substr(at, step)));
      for (;;) {
        auto message = decoder.next();
        ASSERT_TRUE(message) << message.error().message();
        if (!*message) break;
        messages.push_back(std::move(**message));
      }
    }
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_EQ(messages[0].type, MessageType::signal);
    EXPECT_EQ(messages[0].id, 7u);
    EXPECT_EQ(messages[0].as<SignalRequest>()->signal, 15);
    EXPECT_EQ(messages[0].as<SignalRequest>()->exec_id, "exec1");
    EXPECT_EQ(messages[1].type, MessageType::done);
    EXPECT_EQ(messages[1].payload, "");
  }
}

TEST(Protocol, DescriptorsGoToTheFrameTheyWereSentWith) {
  auto [ours, theirs] = *sys::socketpair(SOCK_STREAM);
  sys::Pipe pipe = *sys::pipe();
  ASSERT_TRUE(send(ours.get(), MessageType::go, 1));
  ASSERT_TRUE(send_json(ours.get(), MessageType::attach, 2, AttachOptions{}, {pipe.write.get()}));
  ASSERT_TRUE(send(ours.get(), MessageType::go, 3));
  Decoder decoder;
  EXPECT_TRUE(receive(theirs.get(), decoder)->descriptors.empty());
  Message attach = *receive(theirs.get(), decoder);
  ASSERT_EQ(attach.descriptors.size(), 1u);
  ASSERT_EQ(::write(attach.descriptors[0].get(), "x", 1), 1);
  char byte = 0;
  ASSERT_EQ(::read(pipe.read.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
  EXPECT_EQ(receive(theirs.get(), decoder)->id, 3u);
  ours.reset();
  Result<Message> end = receive(theirs.get(), decoder);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind(), ErrorKind::unavailable);
}

TEST(Protocol, LeftoverBytesFollowANul) {
  Message message;
  message.payload = json::dump(AttachOptions{.standard_in = true}) + std::string("\0\x01\xff\0", 4);
  ASSERT_TRUE(message.as<AttachOptions>());
  EXPECT_TRUE(message.as<AttachOptions>()->standard_in);
  EXPECT_EQ(message.leftover(), std::string_view("\x01\xff\0", 3));
}

TEST(Protocol, AnOversizedOrPoorFrameIsRefused) {
  Decoder decoder;
  std::string huge = "\xff\xff\xff\x7f\x10\x00\x00\x00\x01\x00\x00\x00";
  huge.assign("\xff\xff\xff\x7f\x10\0\0\0\x01\0\0\0", 12);
  ASSERT_TRUE(decoder.feed(huge));
  EXPECT_FALSE(decoder.next());
  Decoder missing;
  ASSERT_TRUE(missing.feed(encode(MessageType::attach, 1, 1, "{}")));
  EXPECT_FALSE(missing.next());
}

TEST(Protocol, ErrorsKeepKindAndNumber) {
  Message message;
  message.payload = error_payload(errno_error(ENOENT, "exec: \"x\""));
  Error error = error_of(message);
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_EQ(error.code(), ENOENT);
  EXPECT_EQ(error.message(), "exec: \"x\": no such file or directory");
}

TEST(Protocol, AMessageOfANewerPeerKeepsItsDefaults) {
  Message message;
  message.payload = R"({"version":99,"novelty":{"a":[1]}})";
  Result<Greeting> greeting = message.as<Greeting>();
  ASSERT_TRUE(greeting);
  EXPECT_EQ(greeting->version, 99u);
  EXPECT_EQ(greeting->pid, 0);
}

}  // namespace
}  // namespace gantry::shim
