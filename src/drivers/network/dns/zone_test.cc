#include "drivers/network/dns/zone.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "drivers/network/dns/test_messages.h"

namespace gantry::drivers::dns {
namespace {

using testing::query;

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

// What a client would make of it: addresses in order, or a word for how it failed.
struct Answered {
  std::string rcode = "forward";
  std::vector<std::string> data;
};
Answered ask(const View& view, std::string_view name, uint16_t type = type::kA,
             uint64_t random = 0) {
  const std::string bytes = query(name, type);
  Message message;
  EXPECT_EQ(read_message(bytes, Expect::query, message), Reading::whole);
  const auto response = resolve(view, bytes, message, 512, random);
  if (!response) return {};
  Message read;
  EXPECT_EQ(read_message(*response, Expect::response, read), Reading::whole);
  Answered out;
  out.rcode = read.rcode == 0 ? "ok" : "error";
  for (const Record& record : read.records) {
    if (record.type == type::kPtr) {
      size_t at = record.data;
      out.data.push_back(read_name(*response, at).value_or("?"));
    } else {
      out.data.push_back(
          IpAddress::from_bytes(record.type == type::kA ? IpFamily::v4 : IpFamily::v6,
                                response->data() + record.data)
              .to_string());
    }
  }
  return out;
}
using Strings = std::vector<std::string>;

struct LocalNames : ::testing::Test {
  std::shared_ptr<Zone> front = std::make_shared<Zone>("front");
  std::shared_ptr<Zone> back = std::make_shared<Zone>("back.End");
  View view;
  void SetUp() override {
    front->put("e1", {"web", {"www", "0123456789ab"}, {ip("10.0.0.2"), ip("fd00::2")}});
    front->put("e2", {"Cache", {"www"}, {ip("10.0.0.3")}});
    back->put("e3", {"db", {}, {ip("10.1.0.2")}});
    view.networks = {{front, {}}, {back, {}}};
  }
};

TEST_F(LocalNames, AliasesAndShortIdsAreAnswered) {
  EXPECT_EQ(ask(view, "web").data, Strings{"10.0.0.2"});
  EXPECT_EQ(ask(view, "web", type::kAaaa).data, Strings{"fd00::2"});
  EXPECT_EQ(ask(view, "0123456789ab").data, Strings{"10.0.0.2"});
  EXPECT_EQ(ask(view, "db").data, Strings{"10.1.0.2"});
}

TEST_F(LocalNames, AreComparedWithoutCase) {
  EXPECT_EQ(ask(view, "WEB").data, Strings{"10.0.0.2"});
  EXPECT_EQ(ask(view, "cache").data, Strings{"10.0.0.3"});
}

TEST_F(LocalNames, MayBeFollowedByTheirNetwork) {
  EXPECT_EQ(ask(view, "web.front").data, Strings{"10.0.0.2"});
  EXPECT_EQ(ask(view, "db.back.end").data, Strings{"10.1.0.2"});
  EXPECT_EQ(ask(view, "db.front").rcode, "forward");
  EXPECT_EQ(ask(view, "web.back.end").rcode, "forward");
}

TEST_F(LocalNames, OfOtherNetworksAreNotSeen) {
  view.networks.pop_back();
  EXPECT_EQ(ask(view, "db").rcode, "forward");
  EXPECT_EQ(ask(view, "db.back.end").rcode, "forward");
  EXPECT_EQ(ask(view, "2.0.1.10.in-addr.arpa", type::kPtr).rcode, "forward");
}

TEST_F(LocalNames, WithoutAnAddressOfTheFamilyExistNevertheless) {
  const Answered answer = ask(view, "db", type::kAaaa);
  EXPECT_EQ(answer.rcode, "ok");
  EXPECT_TRUE(answer.data.empty());
}

TEST_F(LocalNames, OfOursAreNotAskedElsewhereForOtherRecords) {
  for (const uint16_t type : {type::kMx, uint16_t{16}, uint16_t{65}, type::kAny}) {
    EXPECT_EQ(ask(view, "web", type).rcode, "ok") << type;
    EXPECT_EQ(ask(view, "example", type).rcode, "forward") << type;
  }
}

TEST_F(LocalNames, SharedBySeveralTakeTurns) {
  std::set<std::string> first;
  for (uint64_t random = 0; random < 4; ++random) {
    Answered answer = ask(view, "www", type::kA, random);
    ASSERT_EQ(answer.data.size(), 2u);
    first.insert(answer.data[0]);
    std::sort(answer.data.begin(), answer.data.end());
    EXPECT_EQ(answer.data, (Strings{"10.0.0.2", "10.0.0.3"}));
  }
  EXPECT_EQ(first.size(), 2u);
}

TEST_F(LocalNames, AnAddressIsTheContainersNameInItsNetwork) {
  EXPECT_EQ(ask(view, "2.0.0.10.in-addr.arpa", type::kPtr).data, Strings{"web.front"});
  EXPECT_EQ(ask(view, pointer_name(ip("fd00::2")), type::kPtr).data, Strings{"web.front"});
  EXPECT_EQ(ask(view, "9.0.0.10.in-addr.arpa", type::kPtr).rcode, "forward");
  EXPECT_EQ(ask(view, "web", type::kPtr).rcode, "forward");
}

TEST_F(LocalNames, AreReplacedAtOnceAndForgotten) {
  front->put("e1", {"site", {}, {ip("10.0.0.9")}});
  EXPECT_EQ(ask(view, "web").rcode, "forward");
  EXPECT_EQ(ask(view, "site").data, Strings{"10.0.0.9"});
  EXPECT_EQ(ask(view, "www").data, Strings{"10.0.0.3"});
  EXPECT_EQ(ask(view, "2.0.0.10.in-addr.arpa", type::kPtr).rcode, "forward");
  front->erase("e1");
  front->erase("e1");
  front->erase("e2");
  EXPECT_EQ(ask(view, "www").rcode, "forward");
  EXPECT_EQ(front->size(), 0u);
}

TEST_F(LocalNames, OfLinksAreSeenByTheirContainerOnly) {
  View other = view;
  view.networks[1].links = {{"database", "db"}};
  EXPECT_EQ(ask(view, "database").data, Strings{"10.1.0.2"});
  EXPECT_EQ(ask(view, "database", type::kMx).rcode, "ok");
  EXPECT_EQ(ask(other, "database").rcode, "forward");
}

TEST_F(LocalNames, WithoutADotStayHereWhenTheUserSaidHowManyDots) {
  EXPECT_EQ(ask(view, "nowhere").rcode, "forward");
  view.ndots_set = true;
  EXPECT_EQ(ask(view, "nowhere").rcode, "ok");
  EXPECT_EQ(ask(view, "no.where").rcode, "forward");
}

}  // namespace
}  // namespace gantry::drivers::dns
