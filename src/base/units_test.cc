#include "base/units.h"

#include <gtest/gtest.h>

namespace gantry {
namespace {

constexpr int64_t kSecond = 1000000000;

TEST(Units, SizesAreShownAsGoUnitsShowsThem) {
  EXPECT_EQ(human_size(0), "0B");
  EXPECT_EQ(human_size(999), "999B");
  EXPECT_EQ(human_size(1000), "1kB");
  EXPECT_EQ(human_size(1982345), "1.982MB");
  EXPECT_EQ(human_size(1982345, 3), "1.98MB");
  EXPECT_EQ(human_size(23.5e9, 3), "23.5GB");
  EXPECT_EQ(bytes_size(1536), "1.5KiB");
  EXPECT_EQ(bytes_size(25275000000.0), "23.54GiB");
}

TEST(Units, DurationsArePeoples) {
  EXPECT_EQ(human_duration(0), "Less than a second");
  EXPECT_EQ(human_duration(kSecond), "1 second");
  EXPECT_EQ(human_duration(59 * kSecond), "59 seconds");
  EXPECT_EQ(human_duration(60 * kSecond), "About a minute");
  EXPECT_EQ(human_duration(59 * 60 * kSecond), "59 minutes");
  EXPECT_EQ(human_duration(60 * 60 * kSecond), "About an hour");
  EXPECT_EQ(human_duration(90 * 60 * kSecond), "2 hours");
  EXPECT_EQ(human_duration(48 * 3600 * kSecond), "2 days");
  EXPECT_EQ(human_duration(14 * 24 * 3600 * kSecond), "2 weeks");
  EXPECT_EQ(human_duration(60LL * 24 * 3600 * kSecond), "2 months");
  EXPECT_EQ(human_duration(3 * 365LL * 24 * 3600 * kSecond), "3 years");
}

TEST(Units, MemorySizesAreBinary) {
  EXPECT_EQ(*parse_ram_size("512"), 512);
  EXPECT_EQ(*parse_ram_size("4m"), 4 << 20);
  EXPECT_EQ(*parse_ram_size("1.5 GiB"), 3LL << 29);
  EXPECT_EQ(*parse_ram_size("1kB"), 1024);
  for (const char* bad : {"", "x", "-1", "1x", "1mm", "1..5m", "99999999999p"})
    EXPECT_FALSE(parse_ram_size(bad)) << bad;
  EXPECT_EQ(parse_ram_size("x").error().message(), "invalid size: 'x'");
}

TEST(Units, DurationsAreGos) {
  EXPECT_EQ(*parse_duration("1h30m"), 5400 * kSecond);
  EXPECT_EQ(*parse_duration("1.5s"), kSecond * 3 / 2);
  EXPECT_EQ(*parse_duration("-100ms"), -100000000);
  EXPECT_EQ(*parse_duration("0"), 0);
  EXPECT_EQ(parse_duration("10").error().message(), "time: missing unit in duration \"10\"");
  EXPECT_EQ(parse_duration("10y").error().message(),
            "time: unknown unit \"y\" in duration \"10y\"");
  EXPECT_FALSE(parse_duration(""));
  for (const char* text : {"1h30m0s", "1.5s", "100ms", "2.5µs", "3ns", "0s", "1m0s", "-1s"})
    EXPECT_EQ(format_duration(*parse_duration(text)), text);
}

TEST(Units, CpusAreBillionths) {
  EXPECT_EQ(*parse_nano_cpus("1.5"), 1500000000);
  EXPECT_EQ(*parse_nano_cpus(".25"), 250000000);
  EXPECT_EQ(parse_nano_cpus("x").error().message(), "failed to parse x as a rational number");
  EXPECT_FALSE(parse_nano_cpus("0.0000000001"));
}

TEST(Units, TimesOfParameters) {
  EXPECT_EQ(*timestamp_parameter("10s", 100 * kSecond), "90.000000000");
  EXPECT_EQ(*timestamp_parameter("2026-11-24T06:10:38.5Z", 0), "1795500638.500000000");
  EXPECT_EQ(*timestamp_parameter("1795500638", 0), "1795500638");
  EXPECT_FALSE(timestamp_parameter("2026-99-99", 0));
}

TEST(Units, TimesAreGos) {
  ::setenv("TZ", "UTC", 1);
  EXPECT_EQ(go_time("2026-11-24T06:04:48.715187540Z"), "2026-11-24 06:04:48.71518754 +0000 UTC");
  EXPECT_EQ(go_time("2026-11-24T06:04:48Z"), "2026-11-24 06:04:48 +0000 UTC");
}

}  // namespace
}  // namespace gantry
