#include "drivers/graph/spill_file.h"

#include <fcntl.h>

#include "base/sys.h"

namespace gantry::drivers {

Result<SpillFile> SpillFile::create(int directory, size_t memory) {
  UniqueFd file = TRY(sys::openat(directory, ".", O_RDWR | O_TMPFILE, 0600));
  return SpillFile(std::move(file), std::max<size_t>(memory / kPage, 4));
}

Result<uint32_t> SpillFile::allocate(size_t size) {
  if (size > kMaxRecord) return internal("a record of {} bytes", size);
  if (end_ % kPage + size > kPage) end_ += kPage - end_ % kPage;
  uint64_t id = end_ / kUnit;
  if (id > UINT32_MAX) return invalid("too many members");
  end_ += (size + kUnit - 1) / kUnit * kUnit;
  return static_cast<uint32_t>(id);
}

// The clock algorithm: what was used since the hand came by last stays.
Result<uint32_t> SpillFile::take_slot() {
  if (slots_.size() < max_slots_) {
    slots_.push_back({std::make_unique<char[]>(kPage)});
    return static_cast<uint32_t>(slots_.size() - 1);
  }
  for (;; hand_ = (hand_ + 1) % slots_.size()) {
    Slot& slot = slots_[hand_];
    if (std::exchange(slot.recent, false)) continue;
    if (slot.dirty)
      TRY(sys::pwrite_all(file_.get(), {slot.bytes.get(), kPage},
                          static_cast<off_t>(uint64_t{slot.page} * kPage)));
    where_[slot.page] = 0;
    slot.dirty = false;
    return static_cast<uint32_t>(hand_);
  }
}

Result<char*> SpillFile::page_of(uint32_t id, Use use) {
  uint64_t at = uint64_t{id} * kUnit;
  uint32_t page = static_cast<uint32_t>(at / kPage);
  if (page >= where_.size()) where_.resize(page + 1);
  if (where_[page] == 0) {
    uint32_t index = TRY(take_slot());
    Slot& slot = slots_[index];
    size_t done = 0;
    while (done < kPage) {
      size_t got = TRY(sys::pread(file_.get(), slot.bytes.get() + done, kPage - done,
                                  static_cast<off_t>(uint64_t{page} * kPage + done)));
      if (got == 0) break;
      done += got;
    }
    std::memset(slot.bytes.get() + done, 0, kPage - done);
    slot.page = page;
    where_[page] = index + 1;
  }
  Slot& slot = slots_[where_[page] - 1];
  slot.recent = true;
  if (use == Use::change) slot.dirty = true;
  return slot.bytes.get() + at % kPage;
}

}  // namespace gantry::drivers
