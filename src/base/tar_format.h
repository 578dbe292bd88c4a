// The layout of a tar header block and of its number fields, shared by the reader and the writer.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace gantry::tar {

struct HeaderField {
  size_t offset;
  size_t size;
};
inline constexpr HeaderField kName = {0, 100};
inline constexpr HeaderField kMode = {100, 8};
inline constexpr HeaderField kUid = {108, 8};
inline constexpr HeaderField kGid = {116, 8};
inline constexpr HeaderField kSize = {124, 12};
inline constexpr HeaderField kMtime = {136, 12};
inline constexpr HeaderField kChecksum = {148, 8};
inline constexpr HeaderField kType = {156, 1};
inline constexpr HeaderField kLink = {157, 100};
inline constexpr HeaderField kMagic = {257, 8};  // with the version
inline constexpr HeaderField kMajor = {329, 8};
inline constexpr HeaderField kMinor = {337, 8};
inline constexpr HeaderField kPrefix = {345, 155};
// Old GNU sparse header: 4 extents of 2×12 bytes, "is extended", real size.
inline constexpr size_t kGnuSparse = 386;
inline constexpr size_t kGnuSparseExtended = 482;
inline constexpr HeaderField kGnuRealSize = {483, 12};
// A GNU sparse continuation block: 21 extents, "is extended".
inline constexpr size_t kGnuMoreExtended = 504;

// A field up to its first NUL.
std::string_view text_field(const char* block, HeaderField field);
// Octal digits with blanks or NULs around, or GNU base-256; negative values only in base-256.
Result<int64_t> number_field(const char* block, HeaderField field);
// Decimal, digits only; for pax records.
Result<uint64_t> parse_decimal(std::string_view text);
// "123.000456" → seconds and nanoseconds; may be negative (the fraction then counts up from the
// floor).
Result<timespec> parse_pax_time(std::string_view text);
// The sum of a block's bytes with the checksum field taken as blanks, unsigned and signed.
struct Checksums {
  int64_t as_unsigned;
  int64_t as_signed;
};
Checksums checksum(const char* block);

}  // namespace gantry::tar
