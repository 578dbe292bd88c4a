#include "image/compression.h"

#include <gtest/gtest.h>

#include "base/process.h"

namespace gantry::image {
namespace {

std::string compress_with(const std::string& program, const std::string& text) {
  SpawnOptions options;
  options.program = program;
  options.arguments = {program, "-c"};
  Result<ProcessOutput> output = run_process(options, text, 20000, 64u << 20);
  return output && output->status == 0 ? output->out : "";
}

Result<std::string> expand(std::string_view bytes) {
  MemorySource source(bytes);
  Decompressed opened = TRY(decompress(source));
  return read_all(*opened.source, 64u << 20);
}

std::string sample() {
  std::string text;
  for (int i = 0; i < 40000; ++i) text += std::to_string(i * 7919 % 10007) + "\n";
  return text;
}

class CompressionTest : public testing::TestWithParam<const char*> {};

TEST_P(CompressionTest, ReadsWholeStreamsAndRefusesCutOnes) {
  std::string text = sample();
  std::string packed = compress_with(GetParam(), text);
  if (packed.empty()) GTEST_SKIP() << GetParam() << " is not installed";
  MemorySource source(packed);
  EXPECT_EQ(to_string(decompress(source)->compression), GetParam());
  Result<std::string> whole = expand(packed);
  ASSERT_TRUE(whole) << whole.error().message();
  EXPECT_EQ(*whole, text);
  Result<std::string> twice = expand(packed + packed);
  ASSERT_TRUE(twice) << twice.error().message();
  EXPECT_EQ(*twice, text + text);
  for (size_t cut : {size_t{1}, size_t{5}, size_t{9}, packed.size() / 2, packed.size() - 10}) {
    Result<std::string> broken = expand(std::string_view(packed).substr(0, packed.size() - cut));
    EXPECT_FALSE(broken) << "without its last " << cut << " bytes";
  }
  std::string damaged = packed;
  damaged[packed.size() / 2] ^= 0x55;
  EXPECT_FALSE(expand(damaged));
  EXPECT_FALSE(expand(packed + "trailing rubbish"));
}

INSTANTIATE_TEST_SUITE_P(Programs, CompressionTest, testing::Values("gzip", "zstd", "xz", "bzip2"));

TEST(Compression, LeavesOtherBytesAlone) {
  EXPECT_EQ(expand("").value(), "");
  EXPECT_EQ(expand("ab").value(), "ab");
  EXPECT_EQ(expand("plain text that is long enough").value(), "plain text that is long enough");
}

}  // namespace
}  // namespace gantry::image
