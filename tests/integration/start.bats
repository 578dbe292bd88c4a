#!/usr/bin/env bats
# A daemon that starts answers at once, and takes over what still runs without being held up by any of it.
load ../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
setup() { on_engine gantry || skip "about gantryd's own start"; }
teardown() {
  [ -z "${shim:-}" ] || kill -CONT "$shim" 2>/dev/null || true
  usual_teardown
}

run_with_shim() { # NAME: the pid of its shim is in shim
  client run -d --name "$1" busybox sleep 100000 >/dev/null
  shim=$(awk '/^PPid:/ { print $2 }' "/proc/$(client inspect -f '{{.State.Pid}}' "$1")/status")
}
engine_says() { [ "$(api GET /gantry/engine | jq "$1")" = true ]; } # JQ-CONDITION
stopped() { grep -q '^State:.T' "/proc/$1/status"; }

@test "/_ping is answered while containers are being adopted, and what needs them waits" {
  client run -d --name before busybox sleep 100000 >/dev/null
  run_with_shim slow
  engine_kill
  kill -STOP "$shim"
  eventually 5 stopped "$shim"
  # shellcheck disable=SC2034 # engine_spawn sets it
  local spawned_pid
  engine_spawn main
  eventually 10 engine_answers
  api_ok GET /version
  engine_says '.Ready == false and .Reconciled == false'
  client ps --format '{{.Names}}' >"$BATS_TEST_TMPDIR/names" 3>&- &
  ps=$!
  eventually 5 engine_says '.Running == 1'
  assert_equal "$(api GET '/gantry/jobs?filters=%7B%22status%22:%5B%22running%22%5D%7D' | jq -r '.[].Name')" container.adopt
  engine_says '.Ready == false'
  kill -CONT "$shim"
  wait "$ps"
  assert_equal "$(sort "$BATS_TEST_TMPDIR/names" | paste -sd' ')" 'before slow'
  eventually 10 engine_says '.Reconciled'
  client exec slow true
  client rm -f before slow
}

@test "a shim that does not answer is left alone, holds up no other container, and goes with rm -f" {
  client run -d --name good busybox sleep 100000 >/dev/null
  run_with_shim stuck
  pid=$(client inspect -f '{{.State.Pid}}' stuck)
  engine_kill
  kill -STOP "$shim"
  eventually 5 stopped "$shim"
  engine_start main
  eventually 30 engine_says '.Reconciled'
  client exec good true
  assert_equal "$(client inspect -f '{{.State.Status}} {{.State.Pid}}' stuck)" "running $pid"
  run client kill -s TERM stuck
  assert_failure 1
  assert_output --partial 'its shim does not answer'
  client rm -f stuck good
  eventually 5 process_gone "$pid"
  process_gone "$shim"
}
