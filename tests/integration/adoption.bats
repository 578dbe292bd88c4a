#!/usr/bin/env bats
# Containers outlive the daemon, stopped or killed, and the next one takes them over as they are.
load ../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }

setup() {
  on_engine gantry || skip "Docker's daemon needs --live-restore for that"
  name=$(random_name adopt)
}
teardown() {
  usual_teardown
  engine_answers || engine_start main
  ! api_ok GET "/containers/$name/json" || api_ok DELETE "/containers/$name?force=1"
}

inspect() { client inspect -f "$1" "$name"; }
start_counter() { # one line each 20 ms, so that a gap would show
  client run -d --name "$name" "$@" busybox sh -c 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done' >/dev/null
  eventually 10 matches '^5$' client logs "$name"
}

# The log counts up from 0 without a gap.
log_is_whole() {
  client logs "$name" | awk '$1 != NR - 1 { print "line " NR " is " $1; exit 1 }'
}

each_way_down() { # COMMAND: after a clean stop, and after a crash
  engine_stop
  "$@"
  engine_start main
}

@test "a running container keeps running, with the same process, when the daemon stops and starts" {
  start_counter
  pid=$(inspect '{{.State.Pid}}') started=$(inspect '{{.State.StartedAt}}')
  engine_stop
  kill -0 "$pid"
  engine_start main
  assert_equal "$(inspect '{{.State.Pid}} {{.State.StartedAt}} {{.State.Status}}')" "$pid $started running"
  client exec "$name" true
}

@test "a running container keeps running when the daemon is killed" {
  start_counter
  pid=$(inspect '{{.State.Pid}}')
  engine_kill
  kill -0 "$pid"
  engine_start main
  assert_equal "$(inspect '{{.State.Pid}} {{.State.Status}}')" "$pid running"
  client stop -t 0 "$name"
  assert_equal "$(inspect '{{.State.ExitCode}}')" 137
}

@test "what a container says while the daemon is away is in its log" {
  start_counter
  engine_kill
  last=$(tail -n 1 "$(find "$(engine_dir)/data" -name '*-json.log')" | jq -r .log)
  log_grew() { [ "$(tail -n 1 "$(find "$(engine_dir)/data" -name '*-json.log')" | jq -r .log)" -gt "$((last + 10))" ]; }
  eventually 10 log_grew
  engine_start main
  log_is_whole
}

@test "an exit while the daemon is away is known to the next one, with its status" {
  client run -d --name "$name" busybox sh -c 'trap "exit 23" TERM; while :; do sleep 0.02; done' >/dev/null
  pid=$(inspect '{{.State.Pid}}')
  engine_kill
  kill -TERM "$pid"
  eventually 10 process_gone "$pid"
  engine_start main
  assert_equal "$(inspect '{{.State.Status}} {{.State.ExitCode}}')" 'exited 23'
  assert_equal "$(client wait "$name")" 23
}

@test "an exit after adoption is seen by who waits, and told as an event" {
  client run -d --name "$name" busybox sh -c 'trap "exit 24" TERM; while :; do sleep 0.02; done' >/dev/null
  pid=$(inspect '{{.State.Pid}}')
  engine_kill
  engine_start main
  client_background "$BATS_TEST_TMPDIR/wait" wait "$name"
  kill -TERM "$pid"
  client_ends
  assert_equal "$(cat "$BATS_TEST_TMPDIR/wait")" 24
  eventually 5 equals 'exited 24' inspect '{{.State.Status}} {{.State.ExitCode}}'
}

@test "a container that was run with --rm is removed when it ends while the daemon is away" {
  client run -d --rm --name "$name" busybox sleep 1000 >/dev/null
  pid=$(inspect '{{.State.Pid}}')
  engine_kill
  kill -KILL "$pid"
  eventually 10 process_gone "$pid"
  engine_start main
  gone() { ! api_ok GET "/containers/$name/json"; }
  eventually 10 gone
}

@test "attach works again after adoption, and the terminal keeps its state" {
  client run -dit --name "$name" busybox sh >/dev/null
  run client_terminal 'send:MARK=kept; echo se"t"\r' 'expect:set' 'send:\x10\x11' 'expect:read escape sequence' -- attach "$name"
  engine_kill
  engine_start main
  run client_terminal 'send:echo $MARK-it\r' 'expect:kept-it' 'send:exit 5\r' -- attach "$name"
  assert_failure 5
}

@test "a plain attached client survives the daemon" {
  client run -d -i --name "$name" busybox sh -c 'while read -r line; do echo "got $line"; done' >/dev/null
  mkfifo "$BATS_TEST_TMPDIR/in"
  "$(client_program)" -H "unix://$(engine_socket)" attach --sig-proxy=false "$name" <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
  client_pid=$!
  exec 4>"$BATS_TEST_TMPDIR/in"
  echo before >&4
  eventually 10 grep -q 'got before' "$BATS_TEST_TMPDIR/out"
  engine_kill
  engine_start main
  client exec "$name" sh -c 'echo from-inside > /proc/1/fd/1'
  eventually 10 grep -q from-inside "$BATS_TEST_TMPDIR/out"
  exec 4>&-
  kill "$client_pid" 2>/dev/null || true
}

@test "a published port answers while the daemon is away and afterwards" {
  client run -d --name "$name" -p 127.0.0.1:18090:80 busybox sh -c 'mkdir /w && echo served > /w/index.html && exec httpd -f -p 80 -h /w' >/dev/null
  served() { [ "$(curl -sS -m 5 --noproxy '*' http://127.0.0.1:18090/)" = served ]; }
  eventually 10 served
  engine_kill
  served
  engine_start main
  served
  run client run --rm -p 127.0.0.1:18090:80 busybox true
  assert_failure 125
  assert_output --partial 'port is already allocated'
}

@test "stopped containers, images and volumes are remembered" {
  client create --name "$name" -e REMEMBERED=1 -v remembered:/v busybox true >/dev/null
  images=$(client images -q --no-trunc | sort)
  engine_kill
  engine_start main
  assert_equal "$(inspect '{{.State.Status}} {{json .Config.Env}}')" 'created ["REMEMBERED=1","PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]'
  assert_equal "$(client images -q --no-trunc | sort)" "$images"
  api_ok GET /volumes/remembered
  client rm "$name"
  api_ok DELETE /volumes/remembered
}

@test "SIGTERM stops the daemon cleanly: status 0, socket and pid file gone" {
  pid=$(engine_pid)
  engine_stop
  refute [ -e "$(engine_dir)/pid" ]
  run curl -sS -m 5 --unix-socket "$(engine_socket)" http://localhost/_ping
  assert_failure
  refute process_exists "$pid"
  engine_start main
}
process_exists() { ! process_gone "$1"; }

@test "a restart that a crash cut short before the end leaves the container running and --rm in force" {
  client run -d --rm --name stubborn busybox sh -c 'trap "" TERM; while :; do sleep 0.1; done'
  pid=$(client inspect -f '{{.State.Pid}}' stubborn)
  client restart -t 600 stubborn 3>&- &
  restarter=$!
  since=$(date +%s)
  stopping() { client events --since "$((since - 5))" --until "$(date +%s)" --filter event=kill | grep -q stubborn; }
  eventually 10 stopping
  engine_kill main
  wait "$restarter" || true
  engine_start main
  assert_equal "$(client inspect -f '{{.State.Status}} {{.State.Pid}}' stubborn)" "running $pid"
  kill -KILL "$pid"
  stubborn_gone() { ! client inspect stubborn >/dev/null 2>&1; }
  eventually 10 stubborn_gone
}
