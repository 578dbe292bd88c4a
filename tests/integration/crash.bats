#!/usr/bin/env bats
# `kill -9` of the daemon at any moment of a run loop: nothing is leaked or lost.
load ../lib/common
export BATS_TEST_TIMEOUT=600

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
setup() { on_engine gantry || skip "Docker's daemon is not held to it"; }
teardown() { usual_teardown; }

run_loop() { # containers start and end, with a network and a port, until it is killed
  while :; do
    "$(client_program)" -H "unix://$(engine_socket)" run --rm -p 127.0.0.1:18100:80 busybox true
  done
}

@test "fifty crashes in a run loop leave nothing behind, and what ran still runs" {
  client run -d --name survivor -p 127.0.0.1:18101:80 busybox sh -c 'mkdir /w && echo alive > /w/index.html && httpd -p 80 -h /w; exec sleep 100000' >/dev/null
  alive() { [ "$(curl -sS -m 5 --noproxy '*' http://127.0.0.1:18101/)" = alive ]; }
  eventually 10 alive
  pid=$(client inspect -f '{{.State.Pid}}' survivor)
  leaks_snapshot "$TEST_ROOT/with-survivor"

  for crash in $(seq "${CRASHES:-50}"); do
    run_loop >/dev/null 2>&1 </dev/null 3>&- &
    loop=$!
    # The moment is what varies: between 0 and 200 ms after the loop began, which spans several runs.
    sleep "0.$(printf %03d $((RANDOM % 200)))"
    kill -KILL "$(engine_pid)"
    kill -KILL "$loop" 2>/dev/null || true  # it may have ended with the client that lost its daemon
    wait "$loop" 2>/dev/null || true
    eventually 10 process_gone "$(engine_pid)"
    kill -0 "$pid" || fail "the survivor died at crash $crash"
    engine_start main || fail "no start after crash $crash"
    assert_equal "$(client inspect -f '{{.State.Pid}} {{.State.Status}}' survivor)" "$pid running"
  done

  # Whatever did not end on its own (its client was killed too) is removed as a user would.
  for id in $(client ps -aq --filter ancestor=busybox); do
    [ "$(client inspect -f '{{.Name}}' "$id" 2>/dev/null)" = /survivor ] || client rm -f "$id" >/dev/null 2>&1 || true
  done
  eventually 20 equals 1 count_containers
  leaks_check "$TEST_ROOT/with-survivor"
  alive
  assert_equal "$(client exec survivor echo controllable)" controllable
  client rm -f survivor
}
count_containers() { api GET '/containers/json?all=1' | jq length; }

@test "a shim that is killed takes its container with it, and the daemon says 137 and why" {
  client run -d --name shimless busybox sleep 1000 >/dev/null
  pid=$(client inspect -f '{{.State.Pid}}' shimless)
  shim=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")
  kill -KILL "$shim"
  eventually 10 process_gone "$pid"
  eventually 10 equals 'exited 137' client inspect -f '{{.State.Status}} {{.State.ExitCode}}' shimless
  run client inspect -f '{{.State.Error}}' shimless
  assert_output --partial shim
  client rm shimless
}
