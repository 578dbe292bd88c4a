// Decoders that need more memory than the daemon has to spare run in a process of their own: this
// program once more (set_decode_helper), with a pipe on either side, a bound on its memory, and a
// seccomp filter that leaves it little but read and write. It ends with its parent.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "image/compression.h"

namespace gantry::image {

// How to start it: a program, then arguments, to which the format's name is added. Once, before
// anything is decoded. Without it such streams are refused.
void set_decode_helper(std::vector<std::string> command);
bool has_decode_helper();

// `head`, then what `compressed` (borrowed) still has, decoded. The source is read on the thread
// that reads the result, and read to its end.
Result<std::unique_ptr<ByteSource>> decode_in_helper(Compression format, std::string head,
                                                     ByteSource& compressed);

// What the helper does: standard input to standard output. Gives its exit status; one line on
// standard error says why it is not 0.
int run_decode_helper(std::string_view format);

}  // namespace gantry::image
