#include "base/failpoint.h"

#ifdef GANTRY_FAILPOINTS

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <set>

namespace gantry {
namespace {

struct Action {
  enum class Kind { error, delay, kill } kind = Kind::error;
  int argument = 0;
  int pass = 0;  // 0: every pass
};

struct State {
  std::mutex mutex;
  std::map<std::string, Action, std::less<>> actions;
  std::map<std::string, int, std::less<>> passes;

  State() {
    const char* text = ::getenv("GANTRY_FAILPOINTS");
    std::string_view rest = text ? text : "";
    while (!rest.empty()) {
      size_t end = rest.find(';');
      add(rest.substr(0, end));
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
  }
  void add(std::string_view entry) {
    size_t equals = entry.find('=');
    if (equals == std::string_view::npos) return;
    std::string name(entry.substr(0, equals));
    std::string_view what = entry.substr(equals + 1);
    Action action;
    size_t at = what.find('@');
    if (at != std::string_view::npos) {
      action.pass = std::atoi(std::string(what.substr(at + 1)).c_str());
      what = what.substr(0, at);
    }
    size_t open = what.find('(');
    if (open != std::string_view::npos)
      action.argument = std::atoi(std::string(what.substr(open + 1)).c_str());
    std::string_view verb = what.substr(0, open);
    action.kind = verb == "kill"    ? Action::Kind::kill
                  : verb == "delay" ? Action::Kind::delay
                                    : Action::Kind::error;
    actions[name] = action;
  }
};

State& state() {
  static State* instance = new State;  // outlives every thread
  return *instance;
}

}  // namespace

Status failpoint(std::string_view name) {
  State& s = state();
  Action action;
  {
    std::lock_guard lock(s.mutex);
    int pass = ++s.passes[std::string(name)];
    auto found = s.actions.find(name);
    if (found == s.actions.end()) return {};
    action = found->second;
    if (action.pass != 0 && action.pass != pass) return {};
  }
  switch (action.kind) {
    case Action::Kind::kill:
      ::kill(::getpid(), SIGKILL);
      break;
    case Action::Kind::delay:
      ::usleep(static_cast<useconds_t>(action.argument) * 1000);
      break;
    case Action::Kind::error:
      return errno_error(action.argument ? action.argument : EIO, "failpoint {}", name);
  }
  return {};
}

std::vector<std::string> failpoints_seen() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  std::vector<std::string> names;
  for (const auto& [name, passes] : s.passes) names.push_back(name);
  return names;
}

}  // namespace gantry

#endif
