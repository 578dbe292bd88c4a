#include "drivers/network/dns/message.h"

#include <gtest/gtest.h>

#include "drivers/network/dns/test_messages.h"

namespace gantry::drivers::dns {
namespace {

using namespace std::string_literals;
using testing::query;
using testing::record;

// Of RFC 1035 4.1.4: F.ISI.ARPA at 20, FOO.F.ISI.ARPA at 40, ARPA at 64, the root at 92.
std::string names_of_the_rfc() {
  std::string bytes(20, '\0');
  bytes += "\1F\3ISI\4ARPA\0"s;
  bytes.resize(40);
  bytes += "\3FOO\xc0\x14"s;
  bytes.resize(64);
  bytes += "\xc0\x1a"s;
  bytes.resize(92);
  return bytes + "\0"s;
}

TEST(Names, AreReadThroughPointers) {
  const std::string bytes = names_of_the_rfc();
  size_t at = 20;
  EXPECT_EQ(read_name(bytes, at), "f.isi.arpa");
  EXPECT_EQ(at, 32u);
  at = 40;
  EXPECT_EQ(read_name(bytes, at), "foo.f.isi.arpa");
  EXPECT_EQ(at, 46u);
  at = 64;
  EXPECT_EQ(read_name(bytes, at), "arpa");
  EXPECT_EQ(at, 66u);
  at = 92;
  EXPECT_EQ(read_name(bytes, at), "");
  EXPECT_EQ(at, 93u);
}

TEST(Names, WithPointersThatDoNotGoBackwardsAreRefused) {
  for (const std::string& tail : {
           "\xc0\x0c"s,                             // itself
           "\1a\xc0\x0c"s,                          // round
           "\xc0\x10\1a\0\0"s,                      // forwards
           "\xc0\x04"s,                             // into the header
           "\xc0"s,                                 // cut
           "\x40"s + std::string(64, 'a') + "\0"s,  // a label of 64 bytes
           "\x80\0"s,                               // a reserved kind of label
           "\5ab"s,                                 // beyond the end
           "\1a"s,                                  // no root
       }) {
    const std::string bytes = std::string(kHeaderSize, '\0') + tail;
    size_t at = kHeaderSize;
    EXPECT_EQ(read_name(bytes, at), std::nullopt) << tail.size();
  }
}

TEST(Names, AreBoundedAlsoWhenTheyAreCompressed) {
  // Each run of labels is short, and together they are longer than 255 bytes.
  std::string bytes(kHeaderSize, '\0');
  size_t before = 0;
  for (int i = 0; i < 5; ++i) {
    const size_t begin = bytes.size();
    bytes += static_cast<char>(60) + std::string(60, 'a');
    if (before == 0) {
      bytes += '\0';
    } else {
      bytes += static_cast<char>(0xc0 | before >> 8);
      bytes += static_cast<char>(before);
    }
    before = begin;
    size_t at = begin;
    EXPECT_EQ(read_name(bytes, at).has_value(), i < 4) << i;
  }
}

TEST(Names, WithDotsInsideALabelAreNotTakenForOthers) {
  const std::string bytes = std::string(kHeaderSize, '\0') + "\7web.net\2\\\1\0"s;
  size_t at = kHeaderSize;
  const auto name = read_name(bytes, at);
  ASSERT_EQ(name, "web\\.net.\\\\\\001");
  EXPECT_EQ(write_name(*name), bytes.substr(kHeaderSize));
}

TEST(Names, AreWrittenAsTheyAre) {
  EXPECT_EQ(write_name("Web.net"), "\3Web\3net\0"s);
  EXPECT_EQ(write_name(""), "\0"s);
  EXPECT_EQ(write_name("a..b"), std::nullopt);
  EXPECT_EQ(write_name(".a"), std::nullopt);
  EXPECT_EQ(write_name("a."), std::nullopt);
  EXPECT_EQ(write_name(std::string(64, 'a')), std::nullopt);
  EXPECT_EQ(write_name("a\\30"), std::nullopt);
  EXPECT_EQ(write_name("a\\999"), std::nullopt);
  std::string longest;
  for (int i = 0; i < 127; ++i) longest += longest.empty() ? "a" : ".a";
  EXPECT_EQ(write_name(longest)->size(), 255u);
  EXPECT_EQ(write_name(longest + ".a"), std::nullopt);
}

TEST(Messages, AQueryIsReadWhole) {
  Message message;
  const std::string bytes = query("Web.Net", type::kAaaa, {.id = 0xbeef, .edns_size = 4096});
  ASSERT_EQ(read_message(bytes, Expect::query, message), Reading::whole);
  EXPECT_EQ(message.id, 0xbeef);
  EXPECT_EQ(message.name, "web.net");
  EXPECT_EQ(message.type, type::kAaaa);
  EXPECT_EQ(message.klass, kClassIn);
  EXPECT_TRUE(message.recursion_desired);
  ASSERT_NE(message.opt(), nullptr);
  EXPECT_EQ(message.udp_limit(), 4096u);
  EXPECT_EQ(message.end, bytes.size());
}

TEST(Messages, AnAskerWithoutEdnsTakes512Bytes) {
  Message message;
  ASSERT_EQ(read_message(query("web", type::kA), Expect::query, message), Reading::whole);
  EXPECT_EQ(message.udp_limit(), 512u);
  ASSERT_EQ(read_message(query("web", type::kA, {.edns_size = 100}), Expect::query, message),
            Reading::whole);
  EXPECT_EQ(message.udp_limit(), 512u) << "less is taken for 512 (RFC 6891 6.2.5)";
}

TEST(Messages, WhatIsCutIsNeverTakenForWhole) {
  const std::string bytes = query("web.net", type::kA, {.edns_size = 1232});
  Message message;
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_NE(read_message(bytes.substr(0, size), Expect::query, message), Reading::whole) << size;
}

TEST(Messages, OfOtherKindsAreToldApart) {
  Message message;
  std::string bytes = query("web", type::kA);
  EXPECT_EQ(read_message(bytes, Expect::response, message), Reading::not_a_query);
  bytes[2] |= '\x80';
  EXPECT_EQ(read_message(bytes, Expect::query, message), Reading::not_a_query);
  bytes = query("web", type::kA);
  bytes[5] = 2;  // questions
  EXPECT_EQ(read_message(bytes, Expect::query, message), Reading::malformed);
  bytes[5] = 0;
  EXPECT_EQ(read_message(bytes, Expect::query, message), Reading::malformed);
  bytes = query("web", type::kA);
  bytes[11] = 1;  // a record that is not there
  EXPECT_EQ(read_message(bytes, Expect::query, message), Reading::malformed);
  bytes = query("web", type::kA, {.edns_size = 1232});
  bytes += bytes.substr(bytes.size() - 11);
  bytes[11] = 2;
  EXPECT_EQ(read_message(bytes, Expect::query, message), Reading::malformed) << "two OPT records";
}

TEST(Responses, CarryQuestionAndAnswers) {
  const std::string asked = query("Web", type::kA, {.id = 7});
  Message message;
  ASSERT_EQ(read_message(asked, Expect::query, message), Reading::whole);
  const std::string bytes = make_response(asked, message, Rcode::no_error,
                                          {address_answer(*IpAddress::parse("10.0.0.1")),
                                           address_answer(*IpAddress::parse("10.0.0.2"))},
                                          600, 512);
  EXPECT_EQ(bytes.substr(0, 12), "\0\7\x81\x80\0\1\0\2\0\0\0\0"s);
  EXPECT_EQ(bytes.substr(12, 9), "\3Web\0\0\1\0\1"s) << "the question comes back as it was asked";
  Message read;
  ASSERT_EQ(read_message(bytes, Expect::response, read), Reading::whole);
  ASSERT_EQ(read.records.size(), 2u);
  EXPECT_EQ(read.records[0].ttl, 600u);
  EXPECT_EQ(bytes.substr(read.records[1].data, 4), "\x0a\0\0\2"s);
  size_t at = read.records[1].begin;
  EXPECT_EQ(read_name(bytes, at), "web");
  EXPECT_EQ(read.opt(), nullptr);
}

TEST(Responses, ThatDoNotFitAreCutAtARecord) {
  const std::string asked = query("web", type::kA, {.edns_size = 512});
  Message message;
  ASSERT_EQ(read_message(asked, Expect::query, message), Reading::whole);
  std::vector<Answer> answers(100, address_answer(*IpAddress::parse("10.0.0.1")));
  const std::string bytes =
      make_response(asked, message, Rcode::no_error, answers, 600, message.udp_limit());
  EXPECT_LE(bytes.size(), 512u);
  EXPECT_GT(bytes.size(), 512u - 16);
  Message read;
  ASSERT_EQ(read_message(bytes, Expect::response, read), Reading::whole);
  EXPECT_TRUE(read.truncated);
  EXPECT_EQ(read.end, bytes.size());
  EXPECT_NE(read.opt(), nullptr);
}

TEST(Responses, OfOthersAreShortenedBySections) {
  std::string bytes = query("web.example", type::kA, {.id = 9, .response = true});
  for (int i = 0; i < 40; ++i) bytes += record("\xc0\x0c"s, type::kA, "\x0a\0\0\1"s);
  for (int i = 0; i < 5; ++i) bytes += record("\xc0\x0c"s, 2, "\2ns\xc0\x0c"s);
  bytes += record("\2ns\xc0\x0c"s, type::kA, "\x0a\0\0\2"s);
  bytes += testing::opt_record(1232);
  bytes[7] = 40, bytes[9] = 5, bytes[11] = 2;
  Message message;
  ASSERT_EQ(read_message(bytes, Expect::response, message), Reading::whole);
  for (size_t limit : {kPlainLimit, size_t{100}, size_t{700}}) {
    const std::string cut = shorten(bytes, message, limit);
    EXPECT_LE(cut.size(), limit);
    Message read;
    ASSERT_EQ(read_message(cut, Expect::response, read), Reading::whole) << limit;
    EXPECT_TRUE(read.truncated);
    EXPECT_EQ(read.end, cut.size());
    ASSERT_NE(read.opt(), nullptr);
    EXPECT_EQ(read.records.size(), (limit - 29 - 11) / 16 > 40 ? 41 : (limit - 29 - 11) / 16 + 1);
  }
}

TEST(PointerNames, StandForAddresses) {
  for (const char* text : {"10.0.0.1", "172.18.255.3", "fd00::1", "2001:db8::abcd:1"}) {
    const IpAddress address = *IpAddress::parse(text);
    EXPECT_EQ(address_of_pointer_name(pointer_name(address)), address) << text;
  }
  EXPECT_EQ(pointer_name(*IpAddress::parse("10.0.0.1")), "1.0.0.10.in-addr.arpa");
  for (const char* name :
       {"0.0.10.in-addr.arpa", "5.1.0.0.10.in-addr.arpa", "256.0.0.10.in-addr.arpa",
        "01.0.0.10.in-addr.arpa", "1.0.0.10.in-addr.arpa.com", ".0.0.10.in-addr.arpa", "web",
        "in-addr.arpa", ".in-addr.arpa", "1.ip6.arpa", "10.0.0.10.ip6.arpa",
        "-1.0.0.10.in-addr.arpa"})
    EXPECT_EQ(address_of_pointer_name(name), std::nullopt) << name;
}

}  // namespace
}  // namespace gantry::drivers::dns
