#!/usr/bin/env bats
# A container's life, through a client: create, start, stop, kill, restart, wait, logs, exec, attach, rm.
load ../../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }

setup() { name=$(random_name life); }
teardown() {
  usual_teardown
  ! api_ok GET "/containers/$name/json" || client rm -f "$name" >/dev/null
}

status() { client inspect -f '{{.State.Status}}' "${1:-$name}"; }
is_running() { equals running status "$@"; }
# Says `ready`, then waits for TERM, which it answers with status 7.
readonly LOOP='trap "echo bye; exit 7" TERM; echo ready; while :; do sleep 0.05; done'
start_loop() {
  client run -d --name "$name" "$@" busybox sh -c "$LOOP" >/dev/null
  eventually 10 matches ready client logs "$name"
}

@test "create, start, wait, inspect, rm" {
  run client create --name "$name" busybox sh -c 'echo made; exit 4'
  assert_output --regexp '^[0-9a-f]{64}$'
  assert_equal "$(status)" created
  run client start "$name"
  assert_success
  assert_output "$name"
  run client wait "$name"
  assert_output 4
  assert_equal "$(status)" exited
  assert_equal "$(client inspect -f '{{.State.ExitCode}}' "$name")" 4
  run client logs "$name"
  assert_output made
  run client rm "$name"
  assert_output "$name"
  run client inspect "$name"
  assert_failure 1
}

@test "start -a shows the output and returns the status, every time" {
  client create --name "$name" busybox sh -c 'echo again; exit 5' >/dev/null
  for _ in 1 2; do
    run client start -a "$name"
    assert_failure 5
    assert_output again
  done
}

@test "start of a command that is not there fails, and the container stays created" {
  client create --name "$name" busybox no-such-command >/dev/null
  run client start "$name"
  assert_failure 1
  assert_output --partial 'executable file not found in $PATH'
  assert_equal "$(status)" created
  assert_equal "$(client inspect -f '{{.State.ExitCode}}' "$name")" 127
}

@test "ps shows what runs, ps -a also what does not, ps -q only ids" {
  start_loop
  run client ps --filter "name=$name"
  assert_line --index 0 --regexp '^CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES$'
  assert_line --index 1 --regexp "^[0-9a-f]{12} +busybox +\"sh -c 'trap .+ +Up .* +$name\$"
  client kill "$name"
  client wait "$name" >/dev/null
  run client ps -q --filter "name=$name"
  assert_output ''
  run client ps -a --no-trunc --format '{{.Names}} {{.Status}}' --filter "name=$name"
  assert_output --regexp "^$name Exited \(137\) .* ago$"
}

@test "stop sends TERM and waits for the end" {
  start_loop
  run client stop "$name"
  assert_success
  assert_output "$name"
  assert_equal "$(client inspect -f '{{.State.ExitCode}} {{.State.Running}}' "$name")" '7 false'
  run client logs "$name"
  assert_output $'ready\nbye'
}

@test "stop kills what does not listen when its time is over" {
  client run -d --name "$name" busybox sleep 1000 >/dev/null # as process 1 it ignores TERM
  client stop -t 1 "$name" >/dev/null
  assert_equal "$(client inspect -f '{{.State.ExitCode}}' "$name")" 137
}

@test "stop of a stopped container is no error" {
  client run --name "$name" busybox true
  run client stop "$name"
  assert_success
}

@test "kill sends KILL or the signal named" {
  start_loop
  client kill -s TERM "$name"
  assert_equal "$(client wait "$name")" 7
  client start "$name"
  client kill "$name"
  assert_equal "$(client wait "$name")" 137
}

@test "kill of a container that does not run says so" {
  client create --name "$name" busybox true >/dev/null
  run client kill "$name"
  assert_failure 1
  assert_output --partial "is not running"
}

@test "restart stops and starts again" {
  need_command restart
  start_loop
  first=$(client inspect -f '{{.State.Pid}} {{.State.StartedAt}}' "$name")
  run client restart "$name"
  assert_success
  assert_output "$name"
  is_running
  refute [ "$first" = "$(client inspect -f '{{.State.Pid}} {{.State.StartedAt}}' "$name")" ]
  eventually 10 equals $'ready\nbye\nready' client logs "$name"
}

@test "rename gives a container another name and frees the old one" {
  need_command rename
  client create --name "$name" busybox true >/dev/null
  client rename "$name" "$name-2"
  run client inspect -f '{{.Name}}' "$name-2"
  assert_output "/$name-2"
  run client inspect "$name"
  assert_failure 1
  client create --name "$name" busybox true >/dev/null
  client rm "$name-2"
}

@test "a container is found by the beginning of its id" {
  id=$(client create --name "$name" busybox true)
  run client inspect -f '{{.Name}}' "${id:0:8}"
  assert_output "/$name"
}

@test "rm refuses a running container, rm -f does not" {
  start_loop
  run client rm "$name"
  assert_failure 1
  assert_output --regexp 'container is running|You cannot remove a running container' # 23 changed the words
  run client rm -f "$name"
  assert_success
  run client inspect "$name"
  assert_failure 1
}

@test "rm -f removes what is being restarted at that moment" {
  for _ in {1..8}; do
    start_loop
    client restart -t 0 "$name" >/dev/null 2>&1 &
    run client rm -f "$name"
    wait $! || true # it may have come too late
    assert_success
    run client inspect "$name"
    assert_failure 1
  done
}

@test "an unknown container is named in the error" {
  run client start no-such-container
  assert_failure 1
  assert_output --partial 'No such container: no-such-container'
  run client logs no-such-container
  assert_failure 1
  assert_output --partial 'No such container: no-such-container'
  run client rm no-such-container
  assert_failure 1
  assert_output --partial 'No such container: no-such-container'
}

@test "top shows the processes of a running container" {
  need_command top
  start_loop
  run client top "$name"
  assert_line --index 0 --regexp '^UID +PID +PPID '
  assert_output --partial 'trap'
}

# --- logs ------------------------------------------------------------------------------------------------

@test "logs keep the streams apart, and --tail shows the end" {
  client run --name "$name" busybox sh -c 'for i in 1 2 3 4 5; do echo $i; done; echo bad >&2' 2>/dev/null
  run --separate-stderr client logs "$name"
  assert_output $'1\n2\n3\n4\n5'
  assert_equal "$stderr" bad
  run --separate-stderr client logs --tail 3 "$name"
  assert_equal "$(printf '%s\n' "$output" "$stderr" | grep -c .)" 3
}

@test "logs -t puts the time before each line" {
  client run --name "$name" busybox echo hello
  run client logs -t "$name"
  assert_output --regexp '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}Z hello$'
}

@test "logs -f shows what comes and ends with the container" {
  start_loop
  client_background "$BATS_TEST_TMPDIR/out" logs -f "$name"
  eventually 10 grep -q ready "$BATS_TEST_TMPDIR/out"
  client stop "$name" >/dev/null
  wait "$client_pid"
  run cat "$BATS_TEST_TMPDIR/out"
  assert_output $'ready\nbye'
}

@test "a long line and bytes that are no text come back unchanged" {
  client run --name "$name" busybox sh -c 'head -c 100000 /dev/zero | tr "\0" x; echo; printf "\377\376\n"' >"$BATS_TEST_TMPDIR/run"
  client logs "$name" >"$BATS_TEST_TMPDIR/logs"
  assert_equal "$(head -n 1 "$BATS_TEST_TMPDIR/logs" | tr -d '\n' | wc -c)" 100000
}

# --- exec ------------------------------------------------------------------------------------------------

@test "exec runs a command inside and returns its status" {
  start_loop
  run client exec "$name" sh -c 'echo inside; exit 6'
  assert_failure 6
  assert_output inside
  run bash -c "$(declare -f client client_program engine_socket engine_dir); echo fed | client exec -i $name cat"
  assert_output fed
}

@test "exec takes environment, user and working directory" {
  start_loop -e FROM_RUN=1
  run client exec -e A=2 -u 1000 -w /var "$name" sh -c 'echo $FROM_RUN $A $(id -u) $PWD'
  assert_output '1 2 1000 /var'
}

@test "exec -it has a terminal" {
  start_loop
  run client_terminal 'expect:/ # ' 'send:tty; stty size\r' 'expect:/dev/pts/\d+' 'expect:30 100' 'send:exit 8\r' restored: \
    -- exec -it "$name" sh
  assert_failure 8
}

@test "exec -d returns at once" {
  start_loop
  run client exec -d "$name" touch /made-by-exec
  assert_success
  eventually 10 client exec "$name" test -e /made-by-exec
}

@test "exec of a missing command is 127, of one not executable 126" {
  start_loop
  run client exec "$name" no-such-command
  assert_failure "$(if on_engine dockerd; then echo 126; else echo 127; fi)" # 127 since 23
  assert_output --partial 'executable file not found in $PATH'
  run client exec "$name" /etc/passwd
  assert_failure 126
  assert_output --partial 'permission denied'
}

@test "exec in a container that does not run is refused" {
  client create --name "$name" busybox true >/dev/null
  run client exec "$name" true
  assert_failure 1
  assert_output --partial 'is not running'
}

@test "exec has the container's limits, capabilities and seccomp filter" {
  start_loop
  run client exec "$name" sh -c 'grep -E "^(CapEff|Seccomp):" /proc/self/status; cat /proc/self/cgroup > /tmp/a; cat /proc/1/cgroup > /tmp/b; cmp /tmp/a /tmp/b && echo same'
  assert_output $'CapEff:\t00000000a80425fb\nSeccomp:\t2\nsame'
}

# --- attach ----------------------------------------------------------------------------------------------

@test "attach shows what comes and returns the status" {
  start_loop
  client_background "$BATS_TEST_TMPDIR/out" attach --no-stdin "$name"
  # Attached when the daemon holds the connection: the client's own socket is established.
  eventually 10 attached "$client_pid"
  client stop "$name" >/dev/null
  client_ends
  assert_equal "$client_status" 7
  run cat "$BATS_TEST_TMPDIR/out"
  assert_output bye
}

attached() { # PID: the output of the container's next line reaches it; asked by making a line appear
  client exec "$name" sh -c 'echo probe > /proc/1/fd/1'
  grep -q probe "$BATS_TEST_TMPDIR/out" && : >"$BATS_TEST_TMPDIR/out"
}

@test "attach to a terminal, detach with control-P control-Q, attach again" {
  client run -dit --name "$name" busybox sh >/dev/null
  run client_terminal 'send:echo fi"rst"\r' 'expect:first' 'send:\x10\x11' 'expect:read escape sequence' restored: -- attach "$name"
  assert_failure 1
  is_running
  run client_terminal 'send:echo sec"ond"\r' 'expect:second' 'send:exit 2\r' restored: -- attach "$name"
  assert_failure 2
}

@test "attach to a stopped container is refused" {
  client create --name "$name" busybox true >/dev/null
  run client attach "$name"
  assert_failure 1
  assert_output --partial 'cannot attach to a stopped container'
}

@test "two clients may be attached at once" {
  client run -d -i --name "$name" busybox cat >/dev/null
  client_background "$BATS_TEST_TMPDIR/one" attach --no-stdin "$name"
  first=$client_pid
  eventually 10 both_see "$BATS_TEST_TMPDIR/one"
  client_background "$BATS_TEST_TMPDIR/two" attach --no-stdin "$name"
  eventually 10 both_see "$BATS_TEST_TMPDIR/one" "$BATS_TEST_TMPDIR/two"
  client kill "$name" >/dev/null
  client_pid=$first client_ends
  assert_equal "$client_status" 137
}

both_see() {
  local file
  client exec "$name" sh -c 'echo probe > /proc/1/fd/1'
  for file in "$@"; do grep -q probe "$file" || return 1; done
  for file in "$@"; do : >"$file"; done
}

@test "logs of one stream are followed past what the other one says" {
  client run -d --name streams busybox sh -c 'echo first; sleep 0.3; echo second >&2; sleep 0.3; echo third; echo fourth >&2'
  run api GET '/containers/streams/logs?stderr=1&follow=1' --output -
  assert_output --partial second
  assert_output --partial fourth
  refute_output --partial first
  client rm -f streams
}

@test "a container of --rm outlives a restart, and goes when it is stopped" {
  client run -d --rm --name passing busybox sleep 1000
  first=$(client inspect -f '{{.State.Pid}}' passing)
  client restart -t 0 passing
  assert_equal "$(client inspect -f '{{.State.Status}} {{.HostConfig.AutoRemove}}' passing)" 'running true'
  refute [ "$(client inspect -f '{{.State.Pid}}' passing)" = "$first" ]
  client stop -t 0 passing
  passing_gone() { ! client inspect passing >/dev/null 2>&1; }
  eventually 10 passing_gone
}
