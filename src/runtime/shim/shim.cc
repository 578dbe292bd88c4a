#include "runtime/shim/shim.h"

#include <sys/prctl.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/sys.h"
#include "runtime/shim/supervisor.h"

namespace gantry::shim {

int shim_main(int, char**) {
  constexpr int kSocket = 3;
  FailpointScope scope("shim");
  Status launched = [&]() -> Status {
    UniqueFd socket(kSocket);
    TRY(sys::set_cloexec(kSocket, true));
    std::unique_ptr<Supervisor> supervisor = TRY(Supervisor::create());
    TRY(supervisor->launch(std::move(socket)));
    int status = supervisor->run();
    if (status != 0) return internal("shim: the loop ended");
    return {};
  }();
  if (launched) return 0;
  log::error("{}", launched.error().message());
  return 1;
}

}  // namespace gantry::shim
