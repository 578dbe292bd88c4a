#!/usr/bin/env bats
# Several daemons on one machine, and daemons that must not start.
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
setup() { on_engine gantry || skip "not for Docker's daemon"; }
teardown() {
  usual_teardown
  for directory in "$TEST_ROOT"/*/; do
    [ -e "$directory/pid" ] || continue
    ENGINE_NAME=$(basename "$directory")
    remove_all_containers
    engine_stop "$ENGINE_NAME"
  done
  ENGINE_NAME=main
}
on() { # NAME COMMAND…
  ENGINE_NAME=$1 "${@:2}"
}
# The daemon does not come up, and its last words match.
does_not_start() { # NAME REGEXP FLAG…
  local spawned_pid
  : >"$(engine_dir "$1")/log.refused"
  "$GANTRY_BUILD/bin/gantryd" "${@:3}" >"$(engine_dir "$1")/log.refused" 2>&1 </dev/null 3>&- &
  spawned_pid=$!
  eventually 10 process_gone "$spawned_pid"
  run wait "$spawned_pid"
  run tail -n 1 "$(engine_dir "$1")/log.refused"
  assert_output --regexp "$2"
}

@test "two daemons side by side see nothing of each other" {
  engine_start one --bridge gtone0 --bip 10.201.1.1/24
  engine_start two --bridge gttwo0 --bip 10.201.2.1/24
  on one client run -d --name same -p 127.0.0.1:18110:80 busybox sleep 1000
  on two client run -d --name same -p 127.0.0.1:18111:80 busybox sleep 1000
  assert_equal "$(on one client ps -q | wc -l)" 1
  refute [ "$(on one client ps -q)" = "$(on two client ps -q)" ]
  assert_regex "$(on one client inspect -f '{{.NetworkSettings.IPAddress}}' same)" '^10\.201\.1\.'
  assert_regex "$(on two client inspect -f '{{.NetworkSettings.IPAddress}}' same)" '^10\.201\.2\.'
  # One goes with everything that is its own; the other's container, network and rules stay.
  on one client rm -f same
  engine_stop one
  on two client exec same true
  run on two client exec same ping -c 1 -w 5 10.201.2.1
  assert_success
  ip link show gttwo0
}

@test "a port taken by one daemon's container is refused to the other's" {
  engine_start one --bridge gtone0 --bip 10.201.1.1/24
  engine_start two --bridge gttwo0 --bip 10.201.2.1/24
  on one client run -d --name holder -p 127.0.0.1:18112:80 busybox sleep 1000
  run on two client run --rm -p 127.0.0.1:18112:80 busybox true
  assert_failure 125
  assert_output --regexp 'already (allocated|in use)'
}

@test "a second daemon on the same root is refused, and does no harm to the first" {
  engine_start main
  client run -d --name there busybox sleep 1000
  does_not_start main 'another gantryd uses .*/data: stop it, or give this one its own --data-root' --data-root "$(engine_dir)/data" \
    --exec-root "$(engine_dir)/exec-2" -H "unix://$(engine_dir)/sock-2" --pidfile "$(engine_dir)/pid-2"
  client exec there true
}

@test "a bad flag, a bad address and a bad configuration file are named" {
  mkdir -p "$(engine_dir)"
  does_not_start main 'unknown flag: --no-such-flag' --no-such-flag
  does_not_start main 'nonsense' -H nonsense://x --data-root "$(engine_dir)/d" --exec-root "$(engine_dir)/e" --pidfile "$(engine_dir)/p"
  echo '{"log-level": ' >"$TEST_ROOT/broken.json"
  does_not_start main 'broken\.json' --config-file "$TEST_ROOT/broken.json" --data-root "$(engine_dir)/d" --exec-root "$(engine_dir)/e" --pidfile "$(engine_dir)/p"
  echo '{"no-such-key": 1}' >"$TEST_ROOT/unknown.json"
  does_not_start main 'no-such-key' --config-file "$TEST_ROOT/unknown.json" --data-root "$(engine_dir)/d" --exec-root "$(engine_dir)/e" --pidfile "$(engine_dir)/p"
  does_not_start main 'no-such-driver' --storage-driver no-such-driver --data-root "$(engine_dir)/d" --exec-root "$(engine_dir)/e" --pidfile "$(engine_dir)/p" -H "unix://$(engine_dir)/s"
  rm -rf "$(engine_dir)"
}

@test "the configuration file says what the flags say, and a flag given twice over is refused" {
  echo '{"log-level": "debug", "bridge": "gtconf0", "bip": "10.201.3.1/24"}' >"$TEST_ROOT/daemon.json"
  engine_start main --config-file "$TEST_ROOT/daemon.json"
  run client run --rm busybox ip route
  assert_output --partial 'default via 10.201.3.1'
  ip link show gtconf0
}

@test "the vfs driver runs containers too" {
  ENGINE_NAME=vfs
  engine_start vfs --storage-driver vfs
  run client run --rm busybox sh -c 'echo written > /f && cat /f'
  assert_output written
  run client info --format '{{.Driver}}'
  assert_output vfs
}

@test "the storage driver a root was begun with stays, and another is refused by name" {
  engine_start vfs --storage-driver vfs
  engine_stop vfs
  engine_start vfs
  run on vfs client info --format '{{.Driver}}'
  assert_output vfs
  engine_stop vfs
  ENGINE_NAME=vfs does_not_start vfs 'begun with the storage driver vfs' --storage-driver overlay2 \
    --data-root "$(engine_dir vfs)/data" --exec-root "$(engine_dir vfs)/exec" --pidfile "$(engine_dir vfs)/p" -H "unix://$(engine_dir vfs)/s"
}

@test "several -H are all served" {
  engine_start main -H "unix://$TEST_ROOT/second-sock"
  run curl -sS --unix-socket "$TEST_ROOT/second-sock" http://localhost/_ping
  assert_output OK
}

@test "a full disk: a load and a run fail with a clear line, stop and rm still work, nothing is left" {
  mkdir -p "$(engine_dir)/data"
  mount -t tmpfs -o size=64m,mode=711 tmpfs "$(engine_dir)/data"
  engine_start main
  client run -d --name early busybox sleep 1000
  fixture_image "$TEST_ROOT/i.tar" --busybox --name big:1 --file "/big=$(head -c 100000 /dev/zero | tr '\0' x)"
  dd if=/dev/zero of="$(engine_dir)/data/filler" bs=64k 2>/dev/null || true
  run client load -i "$TEST_ROOT/i.tar"
  assert_failure 1
  assert_output --partial 'no space left on device'
  run client run --rm busybox true # runs or says why; either way it ends
  if [ "$status" -ne 0 ]; then
    assert_failure 125
    assert_output --partial 'no space left on device'
  fi
  run client stop -t 0 early
  assert_success
  run client rm early
  assert_success
  assert_equal "$(api GET '/containers/json?all=1' | jq length)" 0
  rm "$(engine_dir)/data/filler"
  client load -q -i "$TEST_ROOT/i.tar"
  client run --rm big:1 true
  engine_stop main
  umount "$(engine_dir)/data"
}

@test "networks that come and go faster than their bridges do not use the address pools up" {
  engine_start main
  for round in 1 2 3; do
    for number in $(seq 28); do
      run api_json POST /networks/create "{\"Name\": \"passing$number\"}"
      assert_line --index -1 201
    done
    for number in $(seq 28); do
      run api_status DELETE "/networks/passing$number"
      assert_line --index -1 204
    done
  done
}
