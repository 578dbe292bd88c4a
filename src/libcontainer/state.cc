#include "libcontainer/state.h"

#include "base/clock.h"
#include "base/fs.h"

namespace gantry::libcontainer {

Status write_state(int directory, const State& state) {
  return fs::replace_file_at(directory, "state.json", json::dump(state), 0600);
}

Result<State> read_state(int directory) {
  std::string text = TRY(fs::read_file_at(directory, "state.json", 1 << 20));
  return json::parse<State>(text).context("state.json");
}

bool init_alive(const State& state) {
  if (state.pid <= 0) return false;
  Result<std::string> stat = fs::read_file(fmt::format("/proc/{}/stat", state.pid), 4096);
  if (!stat) return false;
  size_t end = stat->rfind(')');
  if (end == std::string::npos || end + 2 >= stat->size()) return false;
  char run_state = (*stat)[end + 2];
  if (run_state == 'Z' || run_state == 'X') return false;
  Result<uint64_t> started = process_start_time(state.pid);
  return started && *started == state.pid_start_time;
}

}  // namespace gantry::libcontainer
