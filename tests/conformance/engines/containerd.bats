#!/usr/bin/env bats
# containerd: ctr run --runtime io.containerd.runc.v2 --runc-binary gantry-runtime. How to run it: helper.bash.

load helper

setup_file() {
  peers_setup
  cat >"$TEST_ROOT/config.toml" <<TOML
version = 2
root = "$TEST_ROOT/root"
state = "$TEST_ROOT/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$TEST_ROOT/sock"
TOML
  export CONTAINERD_ADDRESS=$TEST_ROOT/sock
  daemon containerd --config "$TEST_ROOT/config.toml"
  eventually 30 bounded /usr/bin/ctr version
  ctr image import "$TEST_ROOT/busybox.tar"
  create --rm "$(image)" warm true
  engine_is_warm
}

teardown_file() {
  [ -n "${CONTAINERD_ADDRESS:-}" ] || return 0
  local status=0 id
  for id in $(ctr container ls -q); do remove "$id"; done
  nothing_left "$TEST_ROOT/runtime/default" || status=$?
  daemon_stop || status=$?
  peers_teardown
  return $status
}

teardown() {
  [ -n "${BATS_TEST_COMPLETED:-}" ] || tail -n 5 "$TEST_ROOT/log"
}

ctr() { bounded /usr/bin/ctr "$@"; }
image() { ctr image ls -q | head -n 1; }
RUN=(run --runtime io.containerd.runc.v2 --runc-binary "$RUNTIME" --runc-root "$TEST_ROOT/runtime")
create() { ctr "${RUN[@]}" "$@"; }
on_ctr_terminal() { # STEP… -- ARGUMENT…
  local -a steps=()
  while [ "$1" != -- ]; do steps+=("$1") && shift; done
  on_terminal "${steps[@]}" -- /usr/bin/ctr "${@:2}"
}
status_of() { ctr task ls | awk -v id="$1" '$1 == id { print $3 }'; }
remove() { # ID: whatever state it is in
  ctr task kill -s KILL "$1" 2>/dev/null || true
  eventually 10 ended "$1"
  ctr task rm "$1" 2>/dev/null || true
  ctr container rm "$1"
}
ended() { case $(status_of "$1") in '' | STOPPED) ;; *) return 1 ;; esac; }

sleeper() { # ID [OPTION…]
  create -d "${@:2}" "$(image)" "$1" sh -c 'trap "exit 3" TERM; touch /tmp/started; while :; do sleep 0.1; done'
  eventually 10 ctr task exec --exec-id "probe$RANDOM" "$1" test -e /tmp/started
}

@test "run passes output and exit status" {
  run --separate-stderr create --rm "$(image)" out sh -c 'echo out; echo err >&2; exit 7'
  [ "$status" -eq 7 ]
  [ "$output" = out ]
  [ "$stderr" = err ]
}

@test "a program that is not there is told in words" {
  run create --rm "$(image)" nosuch nosuch
  [ "$status" -ne 0 ]
  [[ "$output" == *'exec: "nosuch": executable file not found in $PATH'* ]]
}

@test "run with a terminal" {
  run on_ctr_terminal 'expect:# ' 'send:tty; stty size; exit 5\r' restored: -- "${RUN[@]}" --rm -t "$(image)" terminal sh
  [ "$status" -eq 5 ]
  [[ "$output" == *"/dev/pts/0"*"30 100"* ]]
}

@test "a task starts, is killed and removed" {
  sleeper life
  [ "$(status_of life)" = RUNNING ]
  ctr task ps life | grep -q "$(ctr task ls | awk '$1 == "life" { print $2 }')"
  ctr task kill -s TERM life
  eventually 10 equals STOPPED status_of life
  run ctr task rm life
  [[ "$output" == *"exit with non-zero exit code 3"* ]] || [ "$status" -eq 3 ]
  ctr container rm life
}

@test "exec passes output and status, says why a program was not run" {
  sleeper exec
  run ctr task exec --exec-id one exec sh -c 'echo in; exit 9'
  [ "$status" -eq 9 ]
  [ "$output" = in ]
  run ctr task exec --exec-id two exec nosuch
  [ "$status" -ne 0 ]
  [[ "$output" == *'exec: "nosuch": executable file not found in $PATH'* ]]
  remove exec
}

@test "exec with a terminal" {
  sleeper execterminal
  run on_ctr_terminal 'expect:# ' 'send:tty; stty size; exit 6\r' restored: -- task exec -t --exec-id one execterminal sh
  [ "$status" -eq 6 ]
  [[ "$output" == *"/dev/pts/0"*"30 100"* ]]
  remove execterminal
}

@test "metrics are those of the container" {
  sleeper metrics --memory-limit $((64 << 20))
  ctr task metrics metrics >"$TEST_ROOT/metrics"
  awk '$1 == "memory.limit_in_bytes" && $2 == 67108864 { limit = 1 } $1 == "pids.current" && $2 >= 1 { pids = 1 }
    END { exit !(limit && pids) }' "$TEST_ROOT/metrics" || { cat "$TEST_ROOT/metrics"; false; }
  remove metrics
}

@test "pause stops and resume goes on" {
  sleeper pause
  ctr task pause pause
  [ "$(status_of pause)" = PAUSED ]
  run ctr task exec --exec-id one pause true
  [ "$status" -ne 0 ]
  ctr task resume pause
  [ "$(status_of pause)" = RUNNING ]
  ctr task exec --exec-id two pause true
  remove pause
}

@test "a container is killed while it is paused" {
  sleeper frozen
  ctr task pause frozen
  remove frozen
}

@test "a read-only root, mounts and the host's network" {
  mkdir "$TEST_ROOT/volume"
  run create --rm --read-only --net-host --mount "type=bind,src=$TEST_ROOT/volume,dst=/v,options=rbind:rw" \
    "$(image)" mounts sh -c 'touch /no; mkdir /v/made; readlink /proc/self/ns/net'
  [ "$status" -eq 0 ]
  [[ "$output" == *"Read-only file system"*"$(readlink /proc/self/ns/net)"* ]]
  [ -d "$TEST_ROOT/volume/made" ]
}
