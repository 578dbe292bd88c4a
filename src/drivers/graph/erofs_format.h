// The on-disk format of EROFS, as far as it is used here (the kernel's fs/erofs/erofs_fs.h and
// Documentation/filesystems/erofs.rst say what everything means). Little-endian.
//
// An index that Gantry writes:
//
//   0      1024 bytes of zeros, super block, device table
//   1536   inodes, each with its attributes and its chunk indexes or link behind it, aligned to 32;
//          an inode's number ("nid") is its place divided by 32. The root comes first, then
//          directory by directory what is in it
//   ...    from the next block on, blocks of directories and of long symbolic links
//
// Blocks have 512 bytes, since that is how the contents of files lie in a tar. Device 0 is the
// index, 1 the tar, 2 the side file (what does not lie in the tar as a file should: sparse ones).
#pragma once

#include <bit>
#include <cstdint>

namespace gantry::drivers::erofs {

static_assert(std::endian::native == std::endian::little);

inline constexpr unsigned kBlockBits = 9;
inline constexpr uint64_t kBlock = 1 << kBlockBits;
inline constexpr uint64_t kSuperOffset = 1024;
inline constexpr uint64_t kInodesOffset = 1536;
inline constexpr uint64_t kSlot = 32;  // what a nid counts
inline constexpr uint32_t kMagic = 0xE0F5E1E2;
inline constexpr uint32_t kCompatMtime = 0x2;
inline constexpr uint32_t kIncompatChunked = 0x4;
inline constexpr uint32_t kIncompatDeviceTable = 0x8;
inline constexpr uint64_t kDeviceSlot = 128;
inline constexpr uint16_t kTarDevice = 1;
inline constexpr uint16_t kSideDevice = 2;
inline constexpr uint32_t kNoBlock = 0xFFFFFFFF;  // a hole
// Blocks are counted by 32 bits.
inline constexpr uint64_t kMaxDevice = uint64_t{kNoBlock} * kBlock;

struct SuperBlock {
  uint32_t magic;
  uint32_t checksum;
  uint32_t compat;
  uint8_t block_bits;
  uint8_t ext_slots;
  uint16_t root_nid;
  uint64_t inodes;
  uint64_t build_time;
  uint32_t build_time_nsec;
  uint32_t blocks;
  uint32_t meta_block;
  uint32_t xattr_block;
  uint8_t uuid[16];
  uint8_t volume[16];
  uint32_t incompat;
  uint16_t compression;
  uint16_t extra_devices;
  uint16_t device_table;  // in slots of 128 bytes
  uint8_t directory_bits;
  uint8_t reserved[37];
};
static_assert(sizeof(SuperBlock) == 128);

struct DeviceSlot {
  uint8_t tag[64];
  uint32_t blocks;
  uint32_t mapped;
  uint8_t reserved[56];
};
static_assert(sizeof(DeviceSlot) == kDeviceSlot);

// i_format: bit 0 "extended", bits 1-3 the layout.
enum class Layout : uint16_t { plain = 0, inlined = 2, chunks = 4 };
constexpr uint16_t extended_format(Layout layout) {
  return static_cast<uint16_t>(1 | (static_cast<uint16_t>(layout) << 1));
}
inline constexpr uint32_t kChunkIndexes = 0x20;
inline constexpr unsigned kMaxChunkBits = 31;  // beyond the block's

struct InodeExtended {
  uint16_t format;
  uint16_t xattr_count;  // 0, or 1 and the bytes behind the header divided by 4
  uint16_t mode;
  uint16_t reserved;
  uint64_t size;
  uint32_t u;  // first block, chunk format or device number
  uint32_t ino;
  uint32_t uid;
  uint32_t gid;
  int64_t mtime;
  uint32_t mtime_nsec;
  uint32_t nlink;
  uint8_t reserved2[16];
};
static_assert(sizeof(InodeExtended) == 64);

struct XattrHeader {
  uint32_t name_filter;
  uint8_t shared_count;
  uint8_t reserved[7];
};
static_assert(sizeof(XattrHeader) == 12);
inline constexpr size_t kMaxXattrs = 4 * 65534;  // of one inode, behind the header

struct XattrEntry {
  uint8_t name_size;
  uint8_t prefix;
  uint16_t value_size;
};

struct ChunkIndex {
  uint16_t advise;
  uint16_t device;
  uint32_t block;
};
static_assert(sizeof(ChunkIndex) == 8);

#pragma pack(push, 1)
struct DirectoryEntry {
  uint64_t nid;
  uint16_t name_offset;
  uint8_t type;
  uint8_t reserved;
};
#pragma pack(pop)
static_assert(sizeof(DirectoryEntry) == 12);

}  // namespace gantry::drivers::erofs
