// Compressed streams, told by their first bytes and never by a name. Output is bounded only by the
// caller; memory is bounded by the decoders' windows (2 MiB at most; what needs up to 128 MiB is
// decoded by image/decode_helper.h, more is refused).
#pragma once

#include <memory>

#include "base/byte_source.h"

namespace gantry::image {

enum class Compression { none, gzip, zstd, xz, bzip2 };
std::string_view to_string(Compression compression);

struct Decompressed {
  Compression compression;
  std::unique_ptr<ByteSource> source;  // borrows the source it was made from
};
// Several members or frames after one another are one stream. A stream that was cut short, is
// followed by something else, or whose checksum is wrong is an `invalid` error; it is never an
// early end.
Result<Decompressed> decompress(ByteSource& compressed);

}  // namespace gantry::image
