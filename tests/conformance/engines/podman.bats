#!/usr/bin/env bats
# podman --runtime gantry-runtime. How to run it: helper.bash.

load helper

setup_file() {
  peers_setup
  mkdir -p "$TEST_ROOT/home/.config/containers"
  cp "$PEERS/etc/containers/policy.json" "$TEST_ROOT/home/.config/containers/"
  cat >"$TEST_ROOT/containers.conf" <<TOML
[containers]
netns = "none"
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$TEST_ROOT/tmp"
[network]
network_config_dir = "$TEST_ROOT/networks"
TOML
  printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' "$TEST_ROOT/root" "$TEST_ROOT/runroot" \
    >"$TEST_ROOT/storage.conf"
  export HOME=$TEST_ROOT/home CONTAINERS_CONF=$TEST_ROOT/containers.conf CONTAINERS_STORAGE_CONF=$TEST_ROOT/storage.conf
  unset XDG_RUNTIME_DIR
  podman load -q -i "$TEST_ROOT/busybox.tar"
  podman run --rm busybox true
  engine_is_warm
}

teardown_file() {
  [ -z "${HOME##*/ge.*}" ] || return 0
  podman rm -a -f -t 0 >/dev/null
  local status=0
  nothing_left /run/gantry-runtime || status=$?
  peers_teardown
  return $status
}

# conmon writes a file `oom` where it was started.
podman() { bounded env -C "$TEST_ROOT" /usr/bin/podman --runtime "$RUNTIME" "$@"; }
on_podman_terminal() { # STEP… -- ARGUMENT…
  local -a steps=()
  while [ "$1" != -- ]; do steps+=("$1") && shift; done
  on_terminal "${steps[@]}" -- /usr/bin/podman --runtime "$RUNTIME" "${@:2}"
}
state() { podman inspect "$1" --format "{{.State.$2}}"; }
group_file() { # CONTAINER CONTROLLER FILE
  cat "/sys/fs/cgroup/$2$(state "$1" CgroupPath)/$3"
}

# sleeper NAME [OPTION…]: a container that ends with status 3 when it is told to.
sleeper() {
  podman run -d --name "$1" "${@:2}" busybox sh -c 'trap "exit 3" TERM; echo started; while :; do sleep 0.1; done'
  eventually 10 matches started podman logs "$1"
}

@test "run passes output and exit status" {
  run --separate-stderr podman run --rm busybox sh -c 'echo out; echo err >&2; exit 7'
  [ "$status" -eq 7 ]
  [ "$output" = out ]
  [ "$stderr" = err ]
  [ "$(echo text | podman run --rm -i busybox cat)" = text ]
}

@test "a program that is not there is 127, one that cannot be run is 126" {
  run -127 podman run --rm busybox nosuch
  [ "$status" -eq 127 ]
  [[ "$output" == *'exec: "nosuch": executable file not found in $PATH'* ]]
  run podman run --rm busybox /etc/passwd
  [ "$status" -eq 126 ]
  [[ "$output" == *'exec: "/etc/passwd": permission denied'* ]]
  [ -z "$(podman ps -aq)" ]
}

@test "run with a terminal has the terminal's size and the program's status" {
  run on_podman_terminal 'expect:# ' 'send:tty; stty size; exit 5\r' restored: -- run --rm -it busybox sh
  [ "$status" -eq 5 ]
  [[ "$output" == *"/dev/pts/0"*"30 100"* ]]
}

@test "a resized terminal reaches the container" {
  run on_podman_terminal 'expect:# ' resize:20x50 'send:while [ "$(stty size)" != "20 50" ]; do :; done; echo gr""own; exit\r' \
    'expect:grown' -- run --rm -it busybox sh
  [ "$status" -eq 0 ]
}

@test "start, kill and stop; inspect tells states and exit codes" {
  sleeper life
  [ "$(state life Status)" = running ]
  [ -d "/proc/$(state life Pid)" ]
  podman kill -s TERM life
  [ "$(podman wait life)" = 3 ]
  [ "$(state life ExitCode)" = 3 ]
  podman start life
  podman stop -t 10 life
  [ "$(state life Status) $(state life ExitCode)" = "exited 3" ]
  podman start life
  podman restart -t 10 life
  [ "$(state life Status)" = running ]
  podman rm -f -t 0 life
  run podman inspect life
  [ "$status" -ne 0 ]
}

@test "stop kills what does not listen" {
  podman run -d --name deaf busybox sh -c 'trap "" TERM; while :; do sleep 0.1; done'
  podman stop -t 1 deaf
  [ "$(state deaf ExitCode)" = 137 ]
  podman rm deaf
}

@test "exec passes output, status, user, environment and directory" {
  sleeper exec
  run podman exec exec sh -c 'echo in; exit 9'
  [ "$status" -eq 9 ]
  [ "$output" = in ]
  [ "$(podman exec --user 1000:1001 -w /tmp -e A=B exec sh -c 'echo $(id -u):$(id -g) $(pwd) $A')" = "1000:1001 /tmp B" ]
  podman exec -d exec sh -c 'echo later >/tmp/later'
  eventually 10 matches later podman exec exec cat /tmp/later
  run -127 podman exec exec nosuch
  [ "$status" -eq 127 ]
  run podman exec exec /etc/passwd
  [ "$status" -eq 126 ]
  podman rm -f -t 0 exec
}

@test "exec with a terminal" {
  sleeper execterminal
  run on_podman_terminal 'expect:# ' 'send:tty; stty size; exit 6\r' restored: -- exec -it execterminal sh
  [ "$status" -eq 6 ]
  [[ "$output" == *"/dev/pts/0"*"30 100"* ]]
  podman rm -f -t 0 execterminal
}

@test "stats and top see the container's processes" {
  sleeper stats
  podman stats --no-stream --format json stats >"$TEST_ROOT/stats"
  jq -e '.[0] | (.pids | tonumber) >= 1 and (.mem_usage | startswith("0B") | not)' "$TEST_ROOT/stats"
  podman top stats | grep 'sh -c trap'
  podman rm -f -t 0 stats
}

@test "pause stops and unpause goes on" {
  sleeper pause
  podman pause pause
  [ "$(state pause Status)" = paused ]
  grep -q FROZEN <(group_file pause freezer freezer.state) || skip "not a v1 freezer"
  run podman exec pause true
  [ "$status" -ne 0 ]
  podman unpause pause
  [ "$(state pause Status)" = running ]
  podman exec pause true
  podman rm -f -t 0 pause
}

@test "update changes the limits" {
  sleeper update --memory 128m --pids-limit 50
  [ "$(group_file update memory memory.limit_in_bytes)" = $((128 << 20)) ]
  [ "$(group_file update pids pids.max)" = 50 ]
  podman update --memory 64m --cpus 0.5 --cpu-shares 77 update
  [ "$(group_file update memory memory.limit_in_bytes)" = $((64 << 20)) ]
  [ "$(group_file update cpu cpu.shares)" = 77 ]
  [ $((2 * $(group_file update cpu cpu.cfs_quota_us))) = "$(group_file update cpu cpu.cfs_period_us)" ]
  podman rm -f -t 0 update
}

@test "a read-only root, volumes and devices" {
  mkdir "$TEST_ROOT/volume"
  run podman run --rm --read-only --read-only-tmpfs=false -v "$TEST_ROOT/volume:/v" -v named:/n -v "$TEST_ROOT/volume:/ro:ro" \
    busybox sh -c 'touch /no; touch /ro/no; echo 1 >/v/a; echo 2 >/n/b; cat /ro/a /n/b'
  [ "$status" -eq 0 ]
  [ "$(grep -c 'Read-only file system' <<<"$output")" = 2 ]
  [ "$(cat "$TEST_ROOT/volume/a")" = 1 ]
  [ "$(podman run --rm -v named:/n busybox cat /n/b)" = 2 ]
  podman volume rm named
  podman run --rm --device /dev/null:/dev/other busybox sh -c 'test -c /dev/other && echo lost >/dev/other'
}

@test "--tmpfs is a tmpfs with a copy of what was there" {
  run podman run --rm --tmpfs /etc:size=1m busybox sh -c 'touch /etc/new; cat /etc/passwd; grep " /etc " /proc/mounts'
  [ "$status" -eq 0 ]
  [[ "$output" == root:* ]]
  [[ "$output" == *"tmpfs /etc tmpfs"*size=1024k* ]]
}

@test "--init reaps and passes signals" {
  run podman run --rm --init busybox sh -c 'cat /proc/1/comm; exit 4'
  [ "$status" -eq 4 ]
  [[ "$output" == podman-init* ]] || [[ "$output" == catatonit* ]]
}

@test "a health check runs in the container" {
  sleeper health --health-cmd 'test -e /tmp/well' --health-interval disable
  run podman healthcheck run health
  [ "$status" -eq 1 ]
  podman exec health touch /tmp/well
  podman healthcheck run health
  podman rm -f -t 0 health
}

@test "user, capabilities, no-new-privileges, limits and names" {
  run podman run --rm --user 1000 --cap-drop all --security-opt no-new-privileges --hostname foo \
    --ulimit nofile=100:200 --ulimit nproc=100:200 --shm-size 1m --sysctl net.ipv4.ip_unprivileged_port_start=0 \
    --oom-score-adj 100 busybox sh -c '
      id -u; hostname; ulimit -n; grep -E "CapBnd|NoNewPrivs|Seccomp:" /proc/self/status
      cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/self/oom_score_adj; df -k /dev/shm | tail -n 1'
  [ "$status" -eq 0 ]
  [ "$(tr -s ' \t\n' ' ' <<<"$output" | sed 's/shm .*//')" = \
    '1000 foo 100 CapBnd: 0000000000000000 NoNewPrivs: 1 Seccomp: 2 0 100 ' ]
  [[ "$output" == *"shm"*1024* ]]
}

@test "a container joins another's namespaces" {
  sleeper first
  run podman run --rm --network container:first --pid container:first --ipc container:first busybox sh -c \
    'ps; for at in self 1; do readlink /proc/$at/ns/net; done | uniq | wc -l'
  [ "$status" -eq 0 ]
  [[ "$output" == *"sh -c trap"* ]]
  [ "${lines[-1]}" = 1 ]
  podman rm -f -t 0 first
}

@test "a pod shares its namespaces" {
  podman pod create --name pod --network none
  run podman run --rm --pod pod busybox hostname
  [ "$status" -eq 0 ]
  [ "$output" = pod ]
  podman pod rm -f -t 0 pod
}

@test "the host's namespaces are the host's" {
  run podman run --rm --network host --pid host --ipc host --uts host busybox sh -c \
    'readlink /proc/self/ns/net; readlink /proc/self/ns/uts; readlink /proc/self/ns/pid'
  [ "$output" = "$(readlink /proc/self/ns/net /proc/self/ns/uts /proc/self/ns/pid)" ]
}

@test "what exceeds its memory is killed" {
  run podman run --rm --memory 8m busybox sh -c 'x=a; while :; do x=$x$x; done'
  [ "$status" -eq 137 ]
}

@test "a created container that was never started goes away" {
  podman create --name unstarted busybox true
  podman init unstarted
  [ "$(state unstarted Status)" = initialized ]
  podman rm -f unstarted
}
