// What a decoder may hold in memory, here and in the helper's process. Internal to the room.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/byte_source.h"

namespace gantry::image {

inline constexpr uint64_t kOwnWindow = 2u << 20;  // zstd: its default level
inline constexpr uint64_t kOwnXzMemory = 3u << 20;
inline constexpr uint64_t kHelperWindow = 128u << 20;  // zstd --ultra -22, --long=27
inline constexpr uint64_t kHelperMemory = 136u << 20;  // xz -9 needs 65 MiB

// With the helper's bounds; null for a format that it has no decoder for.
std::unique_ptr<ByteSource> make_helper_decoder(std::string_view format, ByteSource& compressed);

}  // namespace gantry::image
