// Compressing a layer for a registry: gzip in members of a fixed size, each on a thread of its own,
// so that the same tar gives the same bytes every time.
#pragma once

#include <memory>
#include <string_view>

#include "base/byte_source.h"

namespace gantry::image {

// Names the library and parameters that the bytes follow from; stored with what was made.
std::string_view encoder_name();

// Compresses `tar` (taken over) as it is read. Memory: about 10 MiB. An error of the tar is the
// error of a read.
std::unique_ptr<ByteSource> encode_layer(std::unique_ptr<ByteSource> tar);

}  // namespace gantry::image
