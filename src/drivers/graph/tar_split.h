// A layer's archive is not kept, but must be given back byte for byte (save, push). So while it is
// unpacked, everything but the contents of its files is recorded: headers, padding and trailer
// literally, contents as a reference to the unpacked file. The record is zstd-compressed and small.
//
// Record: a sequence of (kind byte, length as LEB128, bytes). 'L': literal bytes. 'F': a file; the
// bytes are its inode number and its size (both LEB128) and its path in the layer. A file that a
// later member of the same archive replaced lies in the layer's scratch directory, named by its
// inode number.
#pragma once

#include <memory>
#include <string>

#include "base/byte_source.h"
#include "base/tar.h"
#include "base/unique_fd.h"

namespace gantry::drivers {

class SplitRecorder final : public tar::RawObserver {
 public:
  // `out` gets the compressed record; borrowed.
  explicit SplitRecorder(ByteSink& out);
  ~SplitRecorder() override;

  Status literal(std::string_view bytes) override;
  Status payload(std::string_view bytes) override;
  // The next `size` bytes of payload are the contents of the file at `path`.
  Status reference(const std::string& path, uint64_t inode, uint64_t size);
  Status finish();

 private:
  Status flush_literal();
  Status emit(char kind, std::string_view bytes);
  Status compress(std::string_view bytes, bool last);

  struct Compressor;
  ByteSink& out_;
  std::unique_ptr<Compressor> compressor_;
  std::string pending_;           // literal bytes not emitted yet
  uint64_t referenced_left_ = 0;  // payload bytes that the last reference stands for
};

// Reassembles the archive from its record and the directories the layer was unpacked to.
Result<std::unique_ptr<ByteSource>> read_split(UniqueFd record, UniqueFd root, UniqueFd scratch);

}  // namespace gantry::drivers
