#include "libcontainer/dbus.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

#include "base/sys.h"
#include "libcontainer/systemd_scope.h"

namespace gantry::libcontainer {
namespace {

using namespace std::string_literals;

TEST(Dbus, AMessageIsLaidOutAsTheSpecificationSays) {
  DbusMessage call;
  call.serial = 1;
  call.path = "/a";
  call.member = "M";
  call.signature = "u";
  DbusWriter body;
  body.put_u32(7);
  call.body = body.data();
  EXPECT_EQ(encode(call),
            "l\1\0\1\4\0\0\0\1\0\0\0'\0\0\0"  // call, 4 bytes of body, serial 1, 39 of fields
            "\1\1o\0\2\0\0\0/a\0\0\0\0\0\0"   // path
            "\3\1s\0\1\0\0\0M\0\0\0\0\0\0\0"  // member
            "\10\1g\0\1u\0\0"                 // signature, padded to 8
            "\7\0\0\0"s);
}

TEST(Dbus, AnArrayCountsItsElementsWithoutThePaddingBeforeThem) {
  DbusWriter out;
  out.put_byte(1);
  out.array(8, [&] {
    out.align(8);
    out.put_u64(2);
  });
  EXPECT_EQ(out.data(), "\1\0\0\0\10\0\0\0\2\0\0\0\0\0\0\0"s);
}

TEST(Dbus, WhatIsEncodedIsDecodedAndWhatIsTornIsNot) {
  DbusMessage signal;
  signal.type = DbusMessage::Type::signal;
  signal.serial = 77;
  signal.path = "/org/freedesktop/systemd1";
  signal.interface = "org.freedesktop.systemd1.Manager";
  signal.member = "JobRemoved";
  signal.signature = "uoss";
  DbusWriter body;
  body.put_u32(5);
  for (const char* text : {"/job/5", "x.scope", "done"}) body.put_string(text);
  signal.body = body.data();
  std::string wire = encode(signal);
  Result<DbusMessage> back = decode(wire);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->member, "JobRemoved");
  EXPECT_EQ(back->signature, "uoss");
  DbusReader reader(back->body);
  EXPECT_EQ(reader.u32(), 5u);
  EXPECT_EQ(reader.string(), "/job/5");
  EXPECT_EQ(reader.string(), "x.scope");
  EXPECT_EQ(reader.string(), "done");
  EXPECT_FALSE(reader.failed());
  EXPECT_EQ(reader.string(), "");
  EXPECT_TRUE(reader.failed());
  for (size_t size = 0; size < wire.size(); ++size)
    EXPECT_FALSE(decode(std::string_view(wire).substr(0, size))) << size;
  for (size_t at = 0; at < wire.size(); ++at) {  // never beyond its end, whatever it says
    std::string damaged = wire;
    damaged[at] = static_cast<char>(0xff);
    (void)decode(damaged).has_value();
  }
}

// A peer that takes the client in, then answers one call with `answers`.
std::thread peer(UniqueFd socket, std::vector<DbusMessage> answers) {
  return std::thread([fd = std::move(socket), list = std::move(answers)]() mutable {
    auto read_until = [&](std::string_view end) {
      std::string got;
      char c;
      while (!got.ends_with(end) && ::read(fd.get(), &c, 1) == 1) got += c;
    };
    read_until("\r\nBEGIN\r\n");
    char more;  // not before the answer
    if (::recv(fd.get(), &more, 1, MSG_DONTWAIT | MSG_PEEK) != -1) return;
    (void)sys::write_all(fd.get(), "OK 0123\r\n");
    char header[16];
    if (::read(fd.get(), header, sizeof header) != sizeof header) return;
    size_t size = message_size({header, sizeof header}).release();
    std::string rest(size - sizeof header, '\0');
    (void)!::read(fd.get(), rest.data(), rest.size());
    for (DbusMessage& one : list) (void)sys::write_all(fd.get(), encode(one));
  });
}

TEST(Dbus, ACallGetsItsReplyAndSignalsInBetweenAreKept) {
  auto [ours, theirs] = sys::socketpair(SOCK_STREAM).release();
  DbusMessage signal, reply;
  signal.type = DbusMessage::Type::signal;
  signal.member = "JobRemoved";
  reply.type = DbusMessage::Type::reply;
  reply.reply_serial = 1;
  reply.signature = "o";
  DbusWriter body;
  body.put_string("/job/1");
  reply.body = body.data();
  std::thread other = peer(std::move(theirs), {signal, reply});
  Result<DbusConnection> connection = DbusConnection::over(std::move(ours));
  ASSERT_TRUE(connection) << connection.error().message();
  DbusMessage call;
  call.path = "/";
  call.member = "StartTransientUnit";
  Result<DbusMessage> got = connection->call(call);
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(DbusReader(got->body).string(), "/job/1");
  Result<DbusMessage> kept = connection->signal();
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->member, "JobRemoved");
  other.join();
  EXPECT_FALSE(connection->signal());  // the other side has gone
}

TEST(Dbus, AnErrorOfThePeerComesBackInItsWords) {
  auto [ours, theirs] = sys::socketpair(SOCK_STREAM).release();
  DbusMessage error;
  error.type = DbusMessage::Type::error;
  error.reply_serial = 1;
  error.error_name = "org.freedesktop.DBus.Error.AccessDenied";
  error.signature = "s";
  DbusWriter body;
  body.put_string("Permission denied");
  error.body = body.data();
  std::thread other = peer(std::move(theirs), {error});
  Result<DbusConnection> connection = DbusConnection::over(std::move(ours));
  ASSERT_TRUE(connection);
  DbusMessage call;
  call.path = "/";
  call.member = "StartTransientUnit";
  Result<DbusMessage> got = connection->call(call);
  other.join();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind(), ErrorKind::permission);
  EXPECT_EQ(got.error().message(), "StartTransientUnit: Permission denied");
}

TEST(SystemdScope, TheCgroupsPathIsSliceAndPrefixAndName) {
  auto of = [](const char* path) { return parse_scope(path, "id", false); };
  EXPECT_EQ(of("")->slice, "system.slice");
  EXPECT_EQ(of("")->unit, "gantry-id.scope");
  EXPECT_EQ(parse_scope("", "id", true)->slice, "user.slice");
  EXPECT_EQ(of("machine.slice:libpod:abc")->slice, "machine.slice");
  EXPECT_EQ(of("machine.slice:libpod:abc")->unit, "libpod-abc.scope");
  EXPECT_EQ(of("::abc")->unit, "abc.scope");
  for (const char* wrong : {"/a/b", "a.slice:b", "a:b:c", "a.slice:b:c:d",
                            "a.slice:b:", "a.slice:b:c.slice", "a.slice:b:c/d"})
    EXPECT_FALSE(of(wrong)) << wrong;
}

}  // namespace
}  // namespace gantry::libcontainer
