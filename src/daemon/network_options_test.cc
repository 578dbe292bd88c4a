#include "daemon/network_options.h"

#include <gtest/gtest.h>

namespace gantry::daemon {
namespace {

TEST(NetworkOptions, AddressPoolsAreBaseAndSize) {
  auto pool = parse_address_pool("base=10.20.1.0/16,size=24");
  ASSERT_TRUE(pool) << pool.error().message();
  EXPECT_EQ(pool->first, "10.20.0.0/16");
  EXPECT_EQ(pool->second, 24u);
  EXPECT_TRUE(parse_address_pool("size=64,base=fd00:1::/48"));
  for (const char* bad : {"", "base=10.0.0.0/8", "base=10.0.0.0/16,size=8", "base=x,size=24",
                          "base=10.0.0.0/16,size=31", "base=10.0.0.0/16,size=2x", "size=24",
                          "base=10.0.0.0/16,size=24,more=1"})
    EXPECT_FALSE(parse_address_pool(bad)) << bad;
}

}  // namespace
}  // namespace gantry::daemon
