// A seccomp section: a filter that ends on every call, or an error.
#include "libcontainer/seccomp.h"

using namespace gantry::libcontainer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto seccomp = gantry::json::parse<Seccomp>({reinterpret_cast<const char*>(data), size});
  if (!seccomp) return 0;
  gantry::Result<SeccompFilter> filter = compile_seccomp(*seccomp);
  if (!filter) return 0;
  for (uint32_t arch : {0xC000003Eu, 0x40000003u, 0u})
    for (int number : {0, 1, 56, 435, 1 << 30, -1}) {
      seccomp_data call = {};
      call.arch = arch;
      call.nr = number;
      (void)evaluate(filter->program, call);
    }
  return 0;
}
