#!/usr/bin/env bats
# The daemon runs out of descriptors or memory: errors are clear, running containers go on, it neither ends nor spins,
# and all is well once it may have more again.
load ../lib/common
load survivor

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
setup() {
  on_engine gantry || skip "Docker's daemon is not held to it"
  survivor_starts
  DAEMON=$(engine_pid)
  FILES=$(awk '/^Max open files/ { print $4 ":" $5 }' "/proc/$DAEMON/limits")
}
teardown() {
  usual_teardown
  prlimit --pid "$DAEMON" --nofile="$FILES" --as=unlimited
  client rm -f survivor >/dev/null
}

open_files() { find "/proc/$DAEMON/fd" -mindepth 1 | wc -l; }
may_open() { prlimit --pid "$DAEMON" --nofile="$(($(open_files) + $1)):${FILES#*:}"; }
names() { api GET '/containers/json?all=1' | jq -r '.[].Names[0]'; }

everything_works() {
  assert_equal "$(client run --rm busybox echo again)" again
  assert_equal "$(client exec survivor echo inside)" inside
  client volume create again && client volume rm again
  survivor_says after-all
  eventually 10 logged after-all
  survivor_lives
}

@test "without a free descriptor the daemon waits for one, and serves again when it has one" {
  before=$(names)
  may_open 0
  # Nobody can be let in. They wait at the door, which is no reason for the daemon to be busy.
  client_background "$BATS_TEST_TMPDIR/waiting" ps -q
  calm_during nsenter -t "$SURVIVOR" -m -p sleep 1
  survivor_serves
  kill -0 "$DAEMON"
  prlimit --pid "$DAEMON" --nofile="$FILES"
  client_ends
  assert_equal "$client_status" 0
  assert_equal "$(names)" "$before"
  everything_works
}

@test "with few descriptors what needs more of them is refused, and leaves nothing behind" {
  before=$(names)
  for few in 1 3 5 8 14; do
    leaks_snapshot "$BATS_TEST_TMPDIR/quiet"
    may_open "$few"
    # Docker's client passes a TERM on to its container and waits: nothing less than KILL ends it.
    run timeout -s KILL 10 "$(client_program)" -H "unix://$(engine_socket)" run --rm --name starved busybox echo over
    echo "$few more: $status $output"
    prlimit --pid "$DAEMON" --nofile="$FILES"
    kill -0 "$DAEMON"
    survivor_serves
    # Either it was done, or the reason was said, or nobody was let in.
    [ "$status" -eq 0 ] || [ "$status" -eq 137 ] || assert_regex "$output" \
      '[Tt]oo many open files|Cannot connect|EOF|connection reset|error during connect'
    client rm -f starved >/dev/null 2>&1 || true
    eventually 10 equals "$before" names
    leaks_check "$BATS_TEST_TMPDIR/quiet"
  done
  everything_works
}

@test "without memory what needs it is refused; the daemon does not end" {
  before=$(names)
  for kilobytes in 64 512 4096; do
    size=$(awk '/^VmSize:/ { print $2 }' "/proc/$DAEMON/status")
    prlimit --pid "$DAEMON" --as=$(((size + kilobytes) * 1024)):unlimited
    for command in "ps -q" "images -q" "volume create starved" "run --rm --name starved busybox true"; do
      # shellcheck disable=SC2086 # words
      run timeout -s KILL 10 "$(client_program)" -H "unix://$(engine_socket)" $command
      echo "$kilobytes KiB more: $command: $status $output"
    done
    prlimit --pid "$DAEMON" --as=unlimited
    kill -0 "$DAEMON"
    survivor_lives
    client rm -f starved >/dev/null 2>&1 || true
    client volume rm starved >/dev/null 2>&1 || true
    eventually 10 equals "$before" names
  done
  everything_works
}

@test "in a group with little memory the daemon does all its work, and is not killed" {
  group=/sys/fs/cgroup/memory/limited-daemon
  [ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ] || skip "no memory controller of version 1"
  head -c 40000000 /dev/urandom >"$BATS_TEST_TMPDIR/big"
  tar -C "$BATS_TEST_TMPDIR" -cf "$BATS_TEST_TMPDIR/big.tar" big
  mkdir "$group"
  echo "$DAEMON" >"$group/cgroup.procs"
  echo 32M >"$group/memory.limit_in_bytes"
  client import "$BATS_TEST_TMPDIR/big.tar" limited:1
  client save -o "$BATS_TEST_TMPDIR/saved.tar" limited:1
  client rmi limited:1
  client load -q -i "$BATS_TEST_TMPDIR/saved.tar"
  for _ in 1 2 3 4 5; do client run --rm busybox true; done
  everything_works
  client rmi limited:1
  assert_equal "$(awk '$1 == "oom_kill" { print $2 }' "$group/memory.oom_control")" 0
  kill -0 "$DAEMON"
  echo "$DAEMON" >/sys/fs/cgroup/memory/cgroup.procs
  rmdir "$group"
}
