#include "graph/wal_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>

namespace gantry::graph {
namespace {

constexpr const char* kName = "gantry";
constexpr sqlite3_int64 kLogHeader = 32;
constexpr int kFrameHeader = 24;
constexpr size_t kBufferAtMost = 1 << 20;   // of a transaction with more, the rest follows
constexpr size_t kWriteAtMost = 120 << 10;  // os_unix.c takes the length modulo 128 KiB

uint32_t big_endian(const unsigned char* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

// What is to be written next, from `offset` on.
struct Pending {
  std::string bytes;
  sqlite3_int64 offset = 0;
  bool commit = false;  // the last frame in it ends its transaction
};

// Laid out in the room that SQLite gives (szOsFile), with the file of the system's VFS behind it.
struct WalFile {
  sqlite3_file base;
  Pending* pending;
  uint32_t page_size;  // 0 until the WAL's header has been seen

  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

WalFile& wal(sqlite3_file* file) { return *reinterpret_cast<WalFile*>(file); }
sqlite3_file* real(sqlite3_file* file) { return wal(file).real(); }

int flush(WalFile& file) {
  Pending& pending = *file.pending;
  int code = SQLITE_OK;
  for (size_t at = 0; at < pending.bytes.size() && code == SQLITE_OK; at += kWriteAtMost)
    code = file.real()->pMethods->xWrite(
        file.real(), pending.bytes.data() + at,
        static_cast<int>(std::min(kWriteAtMost, pending.bytes.size() - at)),
        pending.offset + static_cast<sqlite3_int64>(at));
  // Also after an error: SQLite rolls back, and what is written next is another transaction.
  pending.bytes.clear();
  pending.commit = false;
  return code;
}

void learn_page_size(WalFile& file) {
  unsigned char header[kLogHeader];
  if (file.real()->pMethods->xRead(file.real(), header, sizeof header, 0) == SQLITE_OK)
    file.page_size = big_endian(header + 8);
}

bool is_frame_header(WalFile& file, int amount, sqlite3_int64 offset) {
  if (amount != kFrameHeader || offset < kLogHeader) return false;
  if (file.page_size == 0) learn_page_size(file);
  return file.page_size != 0 && (offset - kLogHeader) % (kFrameHeader + file.page_size) == 0;
}

int close(sqlite3_file* file) {
  int flushed = flush(wal(file));
  delete wal(file).pending;
  int closed = real(file)->pMethods->xClose(real(file));
  return closed == SQLITE_OK ? flushed : closed;
}

int read(sqlite3_file* file, void* out, int amount, sqlite3_int64 offset) {
  int flushed = flush(wal(file));
  return flushed == SQLITE_OK ? real(file)->pMethods->xRead(real(file), out, amount, offset)
                              : flushed;
}

int write(sqlite3_file* self, const void* data, int amount, sqlite3_int64 offset) {
  WalFile& file = wal(self);
  Pending& pending = *file.pending;
  const auto* bytes = static_cast<const unsigned char*>(data);
  const auto end = [&] {
    return pending.offset + static_cast<sqlite3_int64>(pending.bytes.size());
  };
  if (!pending.bytes.empty() && (offset != end() || pending.bytes.size() > kBufferAtMost))
    if (int code = flush(file); code != SQLITE_OK) return code;
  const bool header = is_frame_header(file, amount, offset);
  if (!header && pending.bytes.empty()) {
    if (offset == 0 && amount == kLogHeader) file.page_size = big_endian(bytes + 8);
    return file.real()->pMethods->xWrite(file.real(), data, amount, offset);
  }
  try {
    if (pending.bytes.empty()) pending.offset = offset;
    pending.bytes.append(static_cast<const char*>(data), static_cast<size_t>(amount));
  } catch (const std::bad_alloc&) {
    pending.bytes.clear();
    return SQLITE_IOERR_NOMEM;
  }
  // "The size of the database file in pages after the commit; for all others, zero."
  if (header)
    pending.commit = big_endian(bytes + 4) != 0;
  else if (pending.commit)
    return flush(file);
  return SQLITE_OK;
}

int truncate(sqlite3_file* file, sqlite3_int64 size) {
  int flushed = flush(wal(file));
  return flushed == SQLITE_OK ? real(file)->pMethods->xTruncate(real(file), size) : flushed;
}

int sync(sqlite3_file* file, int flags) {
  int flushed = flush(wal(file));
  return flushed == SQLITE_OK ? real(file)->pMethods->xSync(real(file), flags) : flushed;
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
  int flushed = flush(wal(file));
  return flushed == SQLITE_OK ? real(file)->pMethods->xFileSize(real(file), size) : flushed;
}

int lock(sqlite3_file* file, int level) { return real(file)->pMethods->xLock(real(file), level); }
int unlock(sqlite3_file* file, int level) {
  return real(file)->pMethods->xUnlock(real(file), level);
}
int check_reserved_lock(sqlite3_file* file, int* out) {
  return real(file)->pMethods->xCheckReservedLock(real(file), out);
}
int file_control(sqlite3_file* file, int what, void* argument) {
  return real(file)->pMethods->xFileControl(real(file), what, argument);
}
int sector_size(sqlite3_file* file) { return real(file)->pMethods->xSectorSize(real(file)); }
int characteristics(sqlite3_file* file) {
  return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

constexpr sqlite3_io_methods kMethods = {
    .iVersion = 1,
    .xClose = close,
    .xRead = read,
    .xWrite = write,
    .xTruncate = truncate,
    .xSync = sync,
    .xFileSize = file_size,
    .xLock = lock,
    .xUnlock = unlock,
    .xCheckReservedLock = check_reserved_lock,
    .xFileControl = file_control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = nullptr,
    .xShmLock = nullptr,
    .xShmBarrier = nullptr,
    .xShmUnmap = nullptr,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* system = static_cast<sqlite3_vfs*>(vfs->pAppData);
  if (!(flags & SQLITE_OPEN_WAL)) return system->xOpen(system, name, file, flags, out_flags);
  WalFile& self = wal(file);
  self.base.pMethods = nullptr;  // "xClose is not called" unless it is set
  self.page_size = 0;
  self.pending = new (std::nothrow) Pending;
  if (!self.pending) return SQLITE_NOMEM;
  int code = system->xOpen(system, name, self.real(), flags, out_flags);
  if (code == SQLITE_OK) {
    self.base.pMethods = &kMethods;
  } else {
    if (self.real()->pMethods) self.real()->pMethods->xClose(self.real());
    delete self.pending;
  }
  return code;
}

sqlite3_vfs* make() {
  sqlite3_vfs* system = sqlite3_vfs_find(nullptr);
  static sqlite3_vfs vfs = *system;  // everything but opening is the system's
  vfs.zName = kName;
  vfs.pNext = nullptr;
  vfs.pAppData = system;
  vfs.szOsFile = static_cast<int>(sizeof(WalFile)) + system->szOsFile;
  vfs.xOpen = open;
  sqlite3_vfs_register(&vfs, 0);
  return &vfs;
}

}  // namespace

const char* wal_vfs() {
  static const sqlite3_vfs* registered = make();
  return registered->zName;
}

}  // namespace gantry::graph
