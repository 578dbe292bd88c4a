#include "image/compression.h"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "base/sys.h"
#include "image/decode_helper.h"

namespace gantry::image {
namespace {

// This program is also the helper that it starts.
constexpr const char* kHelperVerb = "decode-for-a-test";
[[maybe_unused]] const bool kIsHelper = [] {
  UniqueFd file = sys::open("/proc/self/cmdline", O_RDONLY).value();
  std::string words = sys::read_all(file.get()).value();
  size_t verb = words.find('\0') + 1;
  if (words.substr(verb).starts_with(kHelperVerb))
    ::_exit(run_decode_helper(words.c_str() + verb + std::string_view(kHelperVerb).size() + 1));
  return false;
}();

std::string compress_with(const std::string& program, const std::string& text,
                          const std::vector<std::string>& flags = {}) {
  SpawnOptions options;
  options.program = program;
  options.arguments = {program, "-c"};
  options.arguments.insert(options.arguments.end(), flags.begin(), flags.end());
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

class CompressionTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { set_decode_helper({"/proc/self/exe", kHelperVerb}); }
  void TearDown() override { set_decode_helper({}); }
};

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

struct LargeWindow {
  const char* program;
  std::vector<std::string> flags;
};
class LargeWindowTest : public testing::TestWithParam<LargeWindow> {
 protected:
  void TearDown() override { set_decode_helper({}); }
};

TEST_P(LargeWindowTest, IsDecodedInAProcessOfItsOwnAndRefusedWithoutOne) {
  std::string text = sample();
  std::string packed = compress_with(GetParam().program, text, GetParam().flags);
  if (packed.empty()) GTEST_SKIP() << GetParam().program << " is not installed";
  Result<std::string> refused = expand(packed);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("MiB is refused"), std::string::npos)
      << refused.error().message();

  set_decode_helper({"/proc/self/exe", kHelperVerb});
  Result<std::string> whole = expand(packed);
  ASSERT_TRUE(whole) << whole.error().message();
  EXPECT_EQ(*whole, text);
  // A frame that fits goes first, and the helper takes over in the middle.
  Result<std::string> both = expand(compress_with(GetParam().program, text) + packed);
  if (std::string_view(GetParam().program) == "zstd") {
    ASSERT_TRUE(both) << both.error().message();
    EXPECT_EQ(*both, text + text);
  }
  for (size_t cut : {size_t{1}, packed.size() / 2})
    EXPECT_FALSE(expand(std::string_view(packed).substr(0, packed.size() - cut)));
  std::string damaged = packed;
  damaged[packed.size() / 2] ^= 0x55;
  Result<std::string> wrong = expand(damaged);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message().find("data is damaged"), std::string::npos)
      << wrong.error().message();
  EXPECT_FALSE(expand(packed + "trailing rubbish"));

  // A reader that goes away leaves no process.
  MemorySource source(packed);
  char byte;
  { ASSERT_EQ(decompress(source)->source->read({&byte, 1}).value_or(0), 1u); }
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
}

INSTANTIATE_TEST_SUITE_P(Programs, LargeWindowTest,
                         testing::Values(LargeWindow{"zstd", {"--long=27"}},

                                         LargeWindow{"xz", {"-9"}}),
                         [](const auto& one) {
                           return fmt::format("{}{}", one.param.program, one.index);
                         });

TEST(Compression, RefusesWhatEvenTheHelperMayNotHold) {
  set_decode_helper({"/proc/self/exe", kHelperVerb});
  std::string packed = compress_with("zstd", sample(), {"--long=30"});
  if (packed.empty()) GTEST_SKIP() << "zstd is not installed";
  Result<std::string> refused = expand(packed);
  set_decode_helper({});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(),
            "zstd data needs a window of 1024 MiB: more than 128 MiB is refused");
}

TEST(Compression, LeavesOtherBytesAlone) {
  EXPECT_EQ(expand("").value(), "");
  EXPECT_EQ(expand("ab").value(), "ab");
  EXPECT_EQ(expand("plain text that is long enough").value(), "plain text that is long enough");
}

}  // namespace
}  // namespace gantry::image
