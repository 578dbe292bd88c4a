// Records in bounded memory: the pages that were not used for a while lie in a file without a name.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::drivers {

// Not thread-safe. A record has an id and at most kMaxRecord bytes; it begins as zeros and is never
// freed. Nothing is written to the disk before `memory` bytes are exceeded.
class SpillFile {
 public:
  static constexpr size_t kPage = 4 << 10;
  static constexpr size_t kMaxRecord = 1 << 10;
  // `directory`: an open directory on whose file system the file lies.
  static Result<SpillFile> create(int directory, size_t memory);

  // Ids are not 0. `invalid` when 32 GiB are used up.
  Result<uint32_t> allocate(size_t size);
  // The record's bytes (and those behind it up to its page's end), valid until the next call.
  Result<const char*> look(uint32_t id) {
    char* bytes = TRY(page_of(id, Use::look));
    return static_cast<const char*>(bytes);
  }
  template <typename T>
  Result<T> get(uint32_t id) {
    const char* bytes = TRY(look(id));
    T out;
    std::memcpy(&out, bytes, sizeof out);
    return out;
  }
  template <typename T>
  Status put(uint32_t id, const T& value) {
    char* bytes = TRY(page_of(id, Use::change));
    std::memcpy(bytes, &value, sizeof value);
    return {};
  }
  Result<char*> change(uint32_t id) { return page_of(id, Use::change); }

 private:
  enum class Use { look, change };
  struct Slot {
    std::unique_ptr<char[]> bytes;
    uint32_t page = 0;
    bool dirty = false;
    bool recent = false;
  };
  SpillFile(UniqueFd file, size_t slots) : file_(std::move(file)), max_slots_(slots) {}
  Result<char*> page_of(uint32_t id, Use use);
  Result<uint32_t> take_slot();

  UniqueFd file_;
  size_t max_slots_;
  uint64_t end_ = kUnit;
  std::vector<Slot> slots_;
  std::vector<uint32_t> where_;  // of each page: its slot and one, or 0
  size_t hand_ = 0;
  static constexpr uint64_t kUnit = 8;  // what an id counts
};

}  // namespace gantry::drivers
