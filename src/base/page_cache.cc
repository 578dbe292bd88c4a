#include "base/page_cache.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451  // the same everywhere
#endif

namespace gantry {
namespace {

// uapi/linux/mman.h
struct CacheRange {
  uint64_t offset = 0;
  uint64_t size = 0;  // 0: to the end
};
struct CacheCounts {
  uint64_t cached, dirty, in_write_back, evicted, recently_evicted;  // pages
};

}  // namespace

Result<uint64_t> cached_bytes(int fd) {
  CacheRange whole;
  CacheCounts counts{};
  if (::syscall(SYS_cachestat, fd, &whole, &counts, 0) == -1) {
    if (errno == ENOSYS) return unsupported("cachestat(2) needs Linux 6.5");
    return errno_error(errno, "cachestat");
  }
  return counts.cached * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

void start_write_back(int fd, uint64_t offset, uint64_t size) {
  (void)::sync_file_range(fd, static_cast<off64_t>(offset), static_cast<off64_t>(size),
                          SYNC_FILE_RANGE_WRITE);
}

}  // namespace gantry
