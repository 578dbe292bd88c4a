#!/usr/bin/env bats
# What is sent of a log when its server, or the daemon, is away.
load ../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
setup() {
  got=$BATS_TEST_TMPDIR/got
  port=$((20000 + BATS_TEST_NUMBER))
}
teardown() {
  local pid
  for pid in $servers; do kill "$pid" 2>/dev/null || true; done
  usual_teardown
  remove_all_containers
}
servers=

server() {
  rm -f "$BATS_TEST_TMPDIR/port"
  /usr/bin/python3 "$REPOSITORY/tests/lib/log_server.py" fluentd $port "$got" --port-file "$BATS_TEST_TMPDIR/port" --ack \
    3>&- 4>&- 5>&- 2>>"$BATS_TEST_TMPDIR/server-errors" >/dev/null &
  last_server=$!
  servers+=" $last_server"
  eventually 10 test -e "$BATS_TEST_TMPDIR/port"
}
server_stops() {
  kill "$last_server"
  wait "$last_server" 2>/dev/null || true
}
talker() { # SCRIPT FLAG…
  client run -d --name talker --log-driver fluentd --log-opt fluentd-address=127.0.0.1:$port --log-opt fluentd-async=true \
    --log-opt fluentd-retry-wait=100ms --log-opt fluentd-request-ack=true "${@:2}" busybox sh -c "$1"
}
has() { grep -qF "\"log\": \"$1\"" "$got" 2>/dev/null; }
count() { jq -r .record.log "$got" | sort -u | wc -l; }
dropped() { api GET /metrics | awk '/^engine_daemon_log_entries_dropped_total/ { print $2 }'; }

@test "nothing is lost while the server is away" {
  talker 'for i in $(seq 1 150); do echo line $i; sleep 0.01; done; echo end'
  server
  eventually 40 has "line 50"
  server_stops
  eventually 40 sh -c "! '$DOCKER' -H unix://$(engine_socket) ps -q | grep -q ."
  server
  eventually 40 has end
  assert_equal "$(count)" 151
  assert_equal "$(dropped)" 0
  # Also across a restart of the container.
  client start talker
  eventually 40 sh -c "grep -c '\"log\": \"end\"' '$got' | grep -qx 2"
}

@test "nothing is lost while the daemon is killed and away, and what was sent is not sent again" {
  server
  talker 'for i in $(seq 1 400); do echo line $i; sleep 0.01; done; echo end'
  eventually 20 has 'line 50'
  engine_kill
  sent=$(wc -l <"$got")
  sleep 1
  engine_start
  eventually 20 has end
  assert_equal "$(count)" 401
  # At most the batch that was on its way.
  [ "$(wc -l <"$got")" -le $((401 + sent)) ]
  [ "$(jq -r .record.log "$got" | sort | uniq -d | wc -l)" -lt 20 ]
}

@test "a container that ended while the daemon was away has its log sent by the next one" {
  talker 'sleep 1; echo last words'
  engine_kill
  sleep 1.5
  server
  engine_start
  eventually 20 has 'last words'
}

@test "what the bounded file could not keep for a server is counted as dropped" {
  before=$(dropped)
  talker 'for i in $(seq 1 5000); do echo line $i; done; sleep 1; echo end' --log-opt cache-max-size=20k --log-opt cache-max-file=2
  eventually 20 sh -c "'$DOCKER' -H unix://$(engine_socket) logs talker | grep -q end"
  server
  eventually 20 has end
  [ "$(count)" -lt 2000 ]
  assert_equal "$(($(count) + $(dropped) - before))" 5001
  run engine_log
  assert_output --partial 'entries were dropped: the file was rotated'
}

@test "an entry bound of non-blocking delivery drops the oldest" {
  before=$(dropped)
  talker 'for i in $(seq 1 5000); do echo line $i; done; sleep 1; echo end' --log-opt mode=non-blocking --log-opt max-buffer-size=20k
  eventually 20 sh -c "'$DOCKER' -H unix://$(engine_socket) logs talker | grep -q end"
  server
  eventually 20 has end
  [ "$(dropped)" -gt "$before" ]
  assert_equal "$(($(count) + $(dropped) - before))" 5001
}

@test "the last lines of a container that is removed at its end are sent" {
  server
  client run --rm --log-driver fluentd --log-opt fluentd-address=127.0.0.1:$port busybox sh -c 'echo one; echo two'
  has two
}

@test "removal does not wait for ever for a server that is away" {
  talker 'echo one; sleep 100'
  before=$(dropped)
  start=$SECONDS
  client rm -f talker
  [ $((SECONDS - start)) -le 8 ]
  assert_equal "$(($(dropped) - before))" 1
}

@test "the file is no longer readable when its cache is disabled" {
  talker 'echo one' --log-opt cache-disabled=true
  run client logs talker
  assert_failure
  assert_output --partial 'configured logging driver does not support reading'
}
