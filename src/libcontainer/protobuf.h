// As much of protocol buffers' wire format as CRIU's RPC needs: varints and length-delimited
// fields (protobuf.dev/programming-guides/encoding). Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::libcontainer {

class ProtoWriter {
 public:
  void put(uint32_t field, uint64_t value) {
    put_varint(uint64_t{field} << 3 | kVarint);
    put_varint(value);
  }
  void put(uint32_t field, std::string_view bytes) {  // string, bytes, or a message within
    put_varint(uint64_t{field} << 3 | kBytes);
    put_varint(bytes.size());
    data_ += bytes;
  }
  const std::string& data() const { return data_; }

 private:
  friend class ProtoReader;
  enum : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  void put_varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) data_ += static_cast<char>(value | 0x80);
    data_ += static_cast<char>(value);
  }

  std::string data_;
};

// Goes through the fields of a message, which it borrows. What is malformed ends it.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view data) : data_(data) {}

  bool next() {
    uint64_t key = 0, size = 0;
    if (!varint(key)) return false;
    field_ = static_cast<uint32_t>(key >> 3);
    number_ = 0;
    bytes_ = {};
    switch (key & 7) {
      case ProtoWriter::kVarint:
        return varint(number_);
      case ProtoWriter::kBytes:
        return varint(size) && take(size);
      case ProtoWriter::kFixed64:
        return take(8);
      case ProtoWriter::kFixed32:
        return take(4);
      default:
        return false;
    }
  }
  uint32_t field() const { return field_; }
  uint64_t number() const { return number_; }        // of a varint
  std::string_view bytes() const { return bytes_; }  // of anything else

 private:
  bool varint(uint64_t& out) {
    out = 0;
    for (unsigned shift = 0; shift < 64 && !data_.empty(); shift += 7) {
      uint8_t byte = static_cast<uint8_t>(data_.front());
      data_.remove_prefix(1);
      out |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool take(uint64_t size) {
    if (size > data_.size()) return false;
    bytes_ = data_.substr(0, size);
    data_.remove_prefix(size);
    return true;
  }

  std::string_view data_, bytes_;
  uint32_t field_ = 0;
  uint64_t number_ = 0;
};

}  // namespace gantry::libcontainer
