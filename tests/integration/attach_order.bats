#!/usr/bin/env bats
# A client that attaches and then starts gets the output from its first byte, however late threads of the daemon run.
load ../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
setup() { on_engine gantry || skip "names threads of gantryd"; }
teardown() {
  [ -z "${hogs:-}" ] || kill "${hogs[@]}" 2>/dev/null || true
  usual_teardown
}

# Threads whose name in /proc/PID/task is one of these get the processor only when nobody else wants it.
put_last() { # NAME…
  local task
  for task in /proc/"$(engine_pid)"/task/*; do
    case " $* " in *" $(cat "$task/comm") "*) chrt --idle --pid 0 "${task##*/}" ;; esac
  done
}

@test "a start that follows the head of an attach at once does not overtake it" {
  python3 "$BATS_TEST_DIRNAME/../lib/attach_at_once.py" "$(engine_socket)" 2 # which makes the threads
  put_last io-pool
  hogs=()
  local _
  for _ in $(seq "$(nproc)"); do
    (while :; do :; done) 3>&- &
    hogs+=($!)
  done
  run timeout 120 python3 "$BATS_TEST_DIRNAME/../lib/attach_at_once.py" "$(engine_socket)" 30
  assert_success
  assert_output ''
}
