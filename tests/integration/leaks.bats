#!/usr/bin/env bats
# After a day's work, with every container removed and the daemon stopped, nothing of Gantry's is left.
load ../lib/common

setup_file() {
  need_client
  engine_root
  leaks_snapshot "$TEST_ROOT/before"
}
teardown_file() {
  [ -n "${TEST_ROOT:-}" ] || return 0
  leaks_check "$TEST_ROOT/before"
  rm -rf "$TEST_ROOT"
}
setup() { on_engine gantry || skip "Docker's daemon is not held to it"; }
teardown() { usual_teardown; }

@test "the check sees each kind of thing that could be left" {
  leaks_snapshot "$BATS_TEST_TMPDIR/clean"
  sees() { ! leaks_same "$BATS_TEST_TMPDIR/clean" >/dev/null; }
  mkdir "$BATS_TEST_TMPDIR/m"
  mount -t tmpfs tmpfs "$BATS_TEST_TMPDIR/m"
  sees
  umount "$BATS_TEST_TMPDIR/m"
  ip link add left0 type bridge
  sees
  ip link del left0
  nft add table inet left
  sees
  nft delete table inet left
  group=$(awk '$3 ~ /^cgroup/ { print $2; exit }' /proc/self/mounts)/left
  mkdir "$group"
  sees
  rmdir "$group"
  setsid -f sleep 1001 3>&- </dev/null
  sees
  kill "$(ps -eo pid=,args= | awk '$2 == "sleep" && $3 == 1001 { print $1 }')"
  eventually 5 leaks_same "$BATS_TEST_TMPDIR/clean"
}

@test "containers of every kind come and go and leave nothing" {
  engine_start main
  leaks_snapshot "$TEST_ROOT/running"
  client run --rm busybox true
  client run --rm --network none busybox true
  client run --rm --network host busybox true
  client run --rm -m 32m --cpus 0.5 --pids-limit 10 busybox true
  client run --rm -p 127.0.0.1:18120:80 -p 127.0.0.1:18121:81/udp busybox true
  client run --rm -v "$BATS_TEST_TMPDIR:/m" -v anonymous:/n -v /o busybox true
  client run --rm --tmpfs /t busybox true
  client run -d --name day busybox sleep 1000
  client exec day true
  client exec -d day sleep 500
  client rm -f day
  client create --name never busybox true
  client rm never
  run ! client run --name bad busybox no-such-command
  client rm bad
  client run --name kids busybox sh -c 'sleep 1000 & sleep 1000 & exit 3' || true
  client rm kids
  api_ok DELETE /volumes/anonymous
  assert_equal "$(api GET /volumes | jq '.Volumes | length')" 0
  leaks_check "$TEST_ROOT/running"
  engine_stop main
  leaks_check "$TEST_ROOT/before"
}

@test "many at once come and go and leave nothing" {
  engine_start main
  leaks_snapshot "$TEST_ROOT/running"
  pids=()
  for number in $(seq 20); do
    client run --rm busybox sh -c "exit $number" 3>&- &
    pids+=($!)
  done
  for number in $(seq 20); do
    status=0
    wait "${pids[number - 1]}" || status=$?
    assert_equal "$status" "$number"
  done
  leaks_check "$TEST_ROOT/running"
  engine_stop main
}

@test "the daemon's own descriptors and memory do not grow with the number of runs" {
  engine_start main
  client run --rm busybox true
  settled() { client ps -aq | grep -q . && return 1 || true; }
  open_files() { find "/proc/$(engine_pid)/fd" -mindepth 1 | wc -l; }
  eventually 10 settled
  before=$(open_files)
  for _ in $(seq 30); do client run --rm busybox true; done
  few_more() { [ "$(open_files)" -le $((before + 4)) ]; }
  eventually 10 few_more
  engine_stop main
}
