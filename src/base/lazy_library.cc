// The other half of what tools/lazy_library.py writes: gantry_lazy_load(), called by the first call
// of a function of a library that is not loaded yet, from any thread.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

extern "C" {
// Parallel: where a function is (an entry is written once), its name (null ends), its library.
extern void* gantry_lazy_table[];
extern const char* const gantry_lazy_names[];
extern const char* const gantry_lazy_owners[];
void gantry_lazy_load();
}

namespace {

// Nobody who calls a function can be told that it is not there.
[[noreturn]] void give_up() {
  std::fprintf(stderr, "this needs a library that cannot be loaded: %s\n", ::dlerror());
  std::_Exit(127);
}

void load_all() {
  void* library = nullptr;
  const char* loaded = nullptr;
  for (size_t i = 0; gantry_lazy_names[i] != nullptr; ++i) {
    if (gantry_lazy_owners[i] != loaded) {
      loaded = gantry_lazy_owners[i];
      library = ::dlopen(loaded, RTLD_NOW | RTLD_LOCAL);
      if (library == nullptr) give_up();
    }
    void* function = ::dlsym(library, gantry_lazy_names[i]);
    if (function == nullptr) give_up();
    __atomic_store_n(&gantry_lazy_table[i], function, __ATOMIC_RELEASE);
  }
}

}  // namespace

void gantry_lazy_load() {
  static std::once_flag once;
  std::call_once(once, load_all);
}
