#include "libcontainer/criu.h"

#include <gtest/gtest.h>

namespace gantry::libcontainer {
namespace {

TEST(Protobuf, WritesTheFormatsOwnExample) {
  ProtoWriter writer;
  writer.put(1, uint64_t{150});
  EXPECT_EQ(writer.data(), "\x08\x96\x01");
  ProtoWriter text;
  text.put(2, "testing");
  EXPECT_EQ(text.data(), "\x12\x07testing");
}

TEST(Protobuf, ReadsFieldsAndEndsWhereTorn) {
  ProtoWriter writer;
  writer.put(3, uint64_t{1} << 40);
  writer.put(300, "text");
  ProtoReader reader(writer.data());
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.field(), 3);
  EXPECT_EQ(reader.number(), uint64_t{1} << 40);
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.field(), 300);
  EXPECT_EQ(reader.bytes(), "text");
  EXPECT_FALSE(reader.next());
  for (size_t size = 1; size < writer.data().size(); ++size) {
    ProtoReader torn(std::string_view(writer.data()).substr(0, size));
    int fields = 0;
    while (torn.next()) ++fields;
    EXPECT_LE(fields, 1);
  }
}

TEST(Criu, ErrorsOfALog) {
  const char* log =
      "(00.01) Collecting\n"
      "(00.02)      1: Error (criu/files.c:12): mnt: cannot open: x\n"
      "(00.03) Error (criu/cr-restore.c:1): Restoring FAILED.\n"
      "(00.04) done\n";
  EXPECT_EQ(first_criu_error(log), "mnt: cannot open: x");
  EXPECT_EQ(last_criu_error(log), "Restoring FAILED.");
  EXPECT_EQ(first_criu_error("all is well\n"), "");
}

}  // namespace
}  // namespace gantry::libcontainer
