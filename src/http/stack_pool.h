// Stacks of coroutines: mapped with a guard page below, a few kept for reuse. Memory is touched on
// use only.
#pragma once

#include <sys/mman.h>

#include <new>
#include <vector>

#include <boost/context/stack_context.hpp>

namespace gantry::http {

// For one thread; must outlive the stacks.
class StackPool {
 public:
  StackPool() = default;
  StackPool(const StackPool&) = delete;
  ~StackPool() {
    for (void* base : free_) ::munmap(base, kSize);
  }

  boost::context::stack_context allocate() {
    void* base = nullptr;
    if (free_.empty()) {
      base = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
      if (base == MAP_FAILED) throw std::bad_alloc();
      if (::mprotect(base, kGuard, PROT_NONE) != 0) {
        ::munmap(base, kSize);
        throw std::bad_alloc();
      }
    } else {
      base = free_.back();
      free_.pop_back();
    }
    boost::context::stack_context stack;
    stack.size = kSize - kGuard;
    stack.sp = static_cast<char*>(base) + kSize;  // grows down
    return stack;
  }
  void deallocate(boost::context::stack_context& stack) noexcept {
    void* base = static_cast<char*>(stack.sp) - kSize;
    if (free_.size() < kKept)
      free_.push_back(base);
    else
      ::munmap(base, kSize);
  }

 private:
  // Handlers decode JSON of bounded depth and run short queries; sanitizers need several times the
  // room.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr size_t kSize = 2u << 20;
#else
  static constexpr size_t kSize = 256u << 10;
#endif
  static constexpr size_t kGuard = 4096;
  static constexpr size_t kKept = 8;

  std::vector<void*> free_;
};

// What asio::spawn takes: a copyable handle of the pool.
class StackAllocator {
 public:
  explicit StackAllocator(StackPool& pool) : pool_(&pool) {}
  boost::context::stack_context allocate() { return pool_->allocate(); }
  void deallocate(boost::context::stack_context& stack) noexcept { pool_->deallocate(stack); }

 private:
  StackPool* pool_;
};

}  // namespace gantry::http
