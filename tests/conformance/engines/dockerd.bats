#!/usr/bin/env bats
# dockerd --add-runtime gantry=…, docker run --runtime gantry. How to run it: helper.bash.

load helper

setup_file() {
  peers_setup
  export DOCKER_HOST=unix://$TEST_ROOT/sock DOCKER_CONFIG=$TEST_ROOT/client
  mkdir "$DOCKER_CONFIG"
  daemon dockerd --data-root "$TEST_ROOT/data" --exec-root "$TEST_ROOT/exec" -H "$DOCKER_HOST" -p "$TEST_ROOT/pid" \
    --bridge none --iptables=false --add-runtime "gantry=$(command -v "$RUNTIME")"
  eventually 30 bounded /usr/bin/docker version
  docker load -q -i "$TEST_ROOT/busybox.tar"
  create --rm busybox true
  engine_is_warm
}

teardown_file() {
  [ -n "${DOCKER_HOST:-}" ] || return 0
  local status=0 left
  left=$(docker ps -aq)
  [ -z "$left" ] || xargs /usr/bin/docker rm -f <<<"$left" >/dev/null
  nothing_left "$TEST_ROOT/exec/runtime-runc/moby" || status=$?
  daemon_stop || status=$?
  peers_teardown
  return $status
}

teardown() {
  [ -n "${BATS_TEST_COMPLETED:-}" ] || tail -n 5 "$TEST_ROOT/log"
}

docker() { bounded /usr/bin/docker "$@"; }
create() { docker run --runtime gantry --network none "$@"; }
on_docker_terminal() { # STEP… -- ARGUMENT…
  local -a steps=()
  while [ "$1" != -- ]; do steps+=("$1") && shift; done
  on_terminal "${steps[@]}" -- /usr/bin/docker "${@:2}"
}
state() { docker inspect "$1" --format "{{.State.$2}}"; }
group_file() { # CONTAINER CONTROLLER FILE
  cat "/sys/fs/cgroup/$2/docker/$(docker inspect "$1" --format '{{.Id}}')/$3"
}

sleeper() { # NAME [OPTION…]
  create -d --name "$1" "${@:2}" busybox sh -c 'trap "exit 3" TERM; echo started; while :; do sleep 0.1; done'
  eventually 10 matches started docker logs "$1"
}

@test "run passes output and exit status" {
  run --separate-stderr create --rm busybox sh -c 'echo out; echo err >&2; exit 7'
  [ "$status" -eq 7 ]
  [ "$output" = out ]
  [ "$stderr" = err ]
  [ "$(echo text | create --rm -i busybox cat)" = text ]
}

@test "a program that is not there is 127, one that cannot be run is 126" {
  run -127 create --rm busybox nosuch
  [[ "$output" == *'exec: "nosuch": executable file not found in $PATH'* ]]
  run create --rm busybox /etc/passwd
  [ "$status" -eq 126 ]
  [[ "$output" == *'exec: "/etc/passwd": permission denied'* ]]
}

@test "run with a terminal has the terminal's size and the program's status" {
  run on_docker_terminal 'expect:# ' 'send:tty; stty size; exit 5\r' restored: -- \
    run --runtime gantry --network none --rm -it busybox sh
  [ "$status" -eq 5 ]
  [[ "$output" == *"/dev/pts/0"*"30 100"* ]]
}

@test "start, kill, stop and restart; inspect tells states and exit codes" {
  sleeper life
  [ "$(state life Status)" = running ]
  [ -d "/proc/$(state life Pid)" ]
  docker kill -s TERM life
  [ "$(docker wait life)" = 3 ]
  docker start life
  docker stop -t 10 life
  [ "$(state life Status) $(state life ExitCode)" = "exited 3" ]
  docker start life
  docker restart -t 10 life
  [ "$(state life Status)" = running ]
  docker rm -f life
}

@test "exec passes output, status, user, environment and directory" {
  sleeper exec
  run docker exec exec sh -c 'echo in; exit 9'
  [ "$status" -eq 9 ]
  [ "$output" = in ]
  [ "$(docker exec --user 1000:1001 -w /tmp -e A=B exec sh -c 'echo $(id -u):$(id -g) $(pwd) $A')" = "1000:1001 /tmp B" ]
  docker exec -d exec sh -c 'echo later >/tmp/later'
  eventually 10 matches later docker exec exec cat /tmp/later
  docker rm -f exec
}

@test "exec says why a program was not run" {
  sleeper execfails
  run docker exec execfails nosuch
  [ "$status" -ne 0 ]
  [[ "$output" == *'exec: "nosuch": executable file not found in $PATH'* ]]
  run docker exec execfails /etc/passwd
  [ "$status" -eq 126 ]
  [[ "$output" == *'exec: "/etc/passwd": permission denied'* ]]
  docker rm -f execfails
}

@test "exec with a terminal" {
  sleeper execterminal
  run on_docker_terminal 'expect:# ' 'send:tty; stty size; exit 6\r' restored: -- exec -it execterminal sh
  [ "$status" -eq 6 ]
  [[ "$output" == *"/dev/pts/0"*"30 100"* ]]
  docker rm -f execterminal
}

@test "stats and top see the container's processes" {
  sleeper stats
  curl -s --unix-socket "$TEST_ROOT/sock" 'http://d/containers/stats/stats?stream=false&one-shot=true' >"$TEST_ROOT/stats"
  jq -e '.pids_stats.current >= 1 and .memory_stats.usage > 0 and .cpu_stats.cpu_usage.total_usage > 0' "$TEST_ROOT/stats"
  docker top stats | grep 'sh -c trap'
  docker rm -f stats
}

@test "pause stops and unpause goes on" {
  sleeper pause
  docker pause pause
  [ "$(state pause Status)" = paused ]
  [ "$(group_file pause freezer freezer.state)" = FROZEN ]
  run docker exec pause true
  [ "$status" -ne 0 ]
  docker unpause pause
  docker exec pause true
  docker rm -f pause
}

@test "update changes the limits" {
  sleeper update --memory 128m --pids-limit 50
  [ "$(group_file update memory memory.limit_in_bytes)" = $((128 << 20)) ]
  docker update --memory 64m --memory-swap 64m --cpus 0.5 --pids-limit 77 update
  [ "$(group_file update memory memory.limit_in_bytes)" = $((64 << 20)) ]
  [ "$(group_file update pids pids.max)" = 77 ]
  [ $((2 * $(group_file update cpu cpu.cfs_quota_us))) = "$(group_file update cpu cpu.cfs_period_us)" ]
  docker rm -f update
}

@test "a read-only root, tmpfs, volumes, devices and an init" {
  mkdir "$TEST_ROOT/volume"
  run create --rm --init --read-only --tmpfs /scratch:size=1m -v "$TEST_ROOT/volume:/v" -v named:/n --device /dev/null:/dev/other \
    busybox sh -c 'touch /no; echo 1 >/v/a; echo 2 >/n/b; cat /n/b; grep " /scratch " /proc/mounts; test -c /dev/other && cat /proc/1/comm'
  [ "$status" -eq 0 ]
  [[ "$output" == *"Read-only file system"*2*"tmpfs /scratch tmpfs"*size=1024k*docker-init ]]
  [ "$(cat "$TEST_ROOT/volume/a")" = 1 ]
  docker volume rm named
}

@test "a container joins another's namespaces" {
  sleeper first
  run docker run --runtime gantry --rm --network container:first --pid container:first busybox ps
  [ "$status" -eq 0 ]
  [[ "$output" == *"sh -c trap"* ]]
  docker rm -f first
}

@test "an out-of-memory death is told" {
  run create --name hungry --memory 8m busybox sh -c 'x=a; while :; do x=$x$x; done'
  [ "$status" -eq 137 ]
  [ "$(state hungry OOMKilled)" = true ]
  docker rm hungry
}
