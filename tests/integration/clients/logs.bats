#!/usr/bin/env bats
# Where logs go: files that are compressed, and servers of syslog, fluentd, gelf and the journal.
load ../../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
setup() { got=$BATS_TEST_TMPDIR/got; }
teardown() {
  local pid
  for pid in $servers; do kill "$pid" 2>/dev/null || true; done
  usual_teardown
  remove_all_containers
}
servers=

# server KIND ADDRESS [ARGUMENT…]: starts one; its port is then in $port.
server() {
  rm -f "$BATS_TEST_TMPDIR/port"
  /usr/bin/python3 "$REPOSITORY/tests/lib/log_server.py" "$1" "$2" "$got" --port-file "$BATS_TEST_TMPDIR/port" "${@:3}" \
    3>&- 4>&- 5>&- 2>"$BATS_TEST_TMPDIR/server-errors" >/dev/null &
  last_server=$!
  servers+=" $last_server"
  eventually 10 test -e "$BATS_TEST_TMPDIR/port"
  port=$(cat "$BATS_TEST_TMPDIR/port")
}
server_stops() {
  kill "$last_server"
  wait "$last_server" 2>/dev/null || true
}
# gets N JQ EXPECTED: what the first N messages are by that filter.
has_messages() { [ -e "$got" ] && [ "$(wc -l <"$got")" -ge "$1" ]; }
gets() {
  eventually 15 has_messages "$1"
  run jq -r "$2" "$got"
  assert_output "$3"
}
says() { echo "for i in \$(seq $1); do echo line \$i; done"; }

@test "syslog: a line is a message, with facility, severity and tag; logs shows it as well" {
  server lines 0
  client run --name talker --log-driver syslog --log-opt "syslog-address=tcp://127.0.0.1:$port" --log-opt syslog-format=rfc5424 \
    --log-opt syslog-facility=local3 --log-opt 'tag={{.Name}}/{{.ID}}' busybox sh -c 'echo one; sleep 0.1; echo two >&2; sleep 0.1; echo; printf three'
  id=$(client inspect -f '{{.Id}}' talker)
  host=$(hostname)
  # local3 is 19; 6 is information, 3 an error
  gets 3 '.text | sub("T[0-9:+Z-]+ "; "T ") | sub("/[0-9a-f]+ [0-9]+ "; "/ID PID ") | sub("/[0-9a-f]+ - "; "/ID - ")' "<158>1 $(date +%F)T $host talker/ID PID talker/ID - one
<155>1 $(date +%F)T $host talker/ID PID talker/ID - two
<158>1 $(date +%F)T $host talker/ID PID talker/ID - three"
  grep -q "talker/${id:0:12} " "$got"
  run client logs talker
  assert_line one
  assert_line two
  assert_line three
  run client inspect -f '{{.HostConfig.LogConfig.Type}} {{.LogPath}}.' talker
  assert_output 'syslog .'
}

@test "syslog: by datagrams, and in the old format" {
  server datagrams 0
  client run --rm --log-driver syslog --log-opt "syslog-address=udp://127.0.0.1:$port" --log-opt syslog-format=rfc3164 \
    --log-opt tag=x busybox sh -c 'echo hello'
  gets 1 '.text | test("^<30>[A-Z][a-z][a-z] [ 0-9][0-9] [0-9:]{8} [^ ]+ x\\[[0-9]+\\]: hello$")' true
  rm "$got"
  server datagrams "$BATS_TEST_TMPDIR/socket"
  client run --rm --log-driver syslog --log-opt "syslog-address=unixgram://$BATS_TEST_TMPDIR/socket" --log-opt tag=x busybox echo hello
  gets 1 '.text | test("^<30>[A-Z][a-z][a-z] [ 0-9][0-9] [0-9:]{8} x\\[[0-9]+\\]: hello$")' true
}

@test "fluentd: a record has the container, the stream and what labels and env choose" {
  server fluentd 0
  client run --name talker --label color=red --label shape=round --env SIZE=big --env OTHER=x --log-driver fluentd \
    --log-opt "fluentd-address=127.0.0.1:$port" --log-opt labels=color --log-opt env-regex='^SI' --log-opt 'tag=docker.{{.Name}}' \
    busybox sh -c 'echo one; sleep 0.1; echo two >&2'
  id=$(client inspect -f '{{.Id}}' talker)
  gets 2 '[.tag, .record.log, .record.source, .record.container_name, .record.container_id, .record.color, .record.shape, .record.SIZE, .record.OTHER] | join(" ")' \
    "docker.talker one stdout /talker $id red  big 
docker.talker two stderr /talker $id red  big "
  run jq '.time > 1700000000' "$got"
  assert_line --index 0 true
  run client logs --details talker
  assert_line 'SIZE=big,color=red one'
}

@test "fluentd: what is acknowledged only counts then, and times have nanoseconds when asked for" {
  server fluentd 0 --ack
  client run --rm --log-driver fluentd --log-opt "fluentd-address=tcp://127.0.0.1:$port" --log-opt fluentd-request-ack=true \
    --log-opt fluentd-sub-second-precision=true busybox sh -c "$(says 500)"
  eventually 15 has_messages 500
  run jq -r '.record.log' "$got"
  assert_equal "${#lines[@]}" 500
  assert_line --index 499 'line 500'
  run jq -r '.time.nanoseconds > 0' "$got"
  assert_line --index 0 true
}

@test "gelf: fields of GELF 1.1, compressed datagrams, and chunks for what is long" {
  server gelf-udp 0
  client run --name talker --label color=red --log-driver gelf --log-opt "gelf-address=udp://127.0.0.1:$port" --log-opt labels=color \
    busybox sh -c 'echo one; sleep 0.1; echo two >&2; sleep 0.1; head -c 9000 /dev/urandom | od -An -tx1 | tr -d " \n" | head -c 16000; echo'
  id=$(client inspect -f '{{.Id}}' talker)
  gets 3 '[.version, .level, ._container_id, ._container_name, ._image_name, ._tag, ._color, (.short_message | .[0:3] | test("one|two|[0-9a-f]{3}")), (.short_message | length), .chunks > 1] | map(tostring) | join(" ")' \
    "1.1 6 $id talker busybox ${id:0:12} red true 3 false
1.1 3 $id talker busybox ${id:0:12} red true 3 false
1.1 6 $id talker busybox ${id:0:12} red true 16000 true"
}

@test "gelf: over TCP" {
  server gelf-tcp 0
  client run --rm --log-driver gelf --log-opt "gelf-address=tcp://127.0.0.1:$port" busybox sh -c 'echo one; echo two'
  gets 2 .short_message 'one
two'
}

@test "journald: fields of an entry, and of a line in pieces" {
  # In the test's own mount namespace.
  [ ! -e /run/systemd/journal/socket ] || skip "there is a journal here already"
  mkdir -p /run/systemd/journal
  server journal /run/systemd/journal/socket
  client run --name talker --label com.example.color=red --log-driver journald --log-opt labels=com.example.color --log-opt 'tag={{.Name}}' \
    busybox sh -c 'echo one; sleep 0.1; echo two >&2; sleep 0.1; head -c 20000 /dev/zero | tr "\0" x; echo'
  id=$(client inspect -f '{{.Id}}' talker)
  gets 4 '[.CONTAINER_ID_FULL, .CONTAINER_NAME, .CONTAINER_TAG, .SYSLOG_IDENTIFIER, .COM_EXAMPLE_COLOR, .PRIORITY, (.MESSAGE | length | tostring), .CONTAINER_PARTIAL_MESSAGE, .CONTAINER_PARTIAL_ORDINAL] | join(" ")' \
    "$id talker talker talker red 6 3  
$id talker talker talker red 3 3  
$id talker talker talker red 6 16384 true 1
$id talker talker talker red 6 3616  2"
  rm -r /run/systemd/journal
}

@test "a server that cannot be reached keeps a container from starting, except with fluentd-async" {
  run client run --rm --log-driver syslog --log-opt syslog-address=tcp://127.0.0.1:1 busybox true
  assert_failure 125
  assert_output --partial 'failed to initialize logging driver: dial tcp 127.0.0.1:1: connect: connection refused'
  run client run --rm --log-driver fluentd --log-opt fluentd-address=127.0.0.1:1 busybox true
  assert_failure 125
  assert_output --partial 'connect: connection refused'
  run client run --rm --log-driver fluentd --log-opt fluentd-async=true --log-opt fluentd-address=127.0.0.1:1 busybox true
  assert_success
}

@test "options that a driver does not have, or that make no sense, are refused" {
  refused() { # WORDS FLAG…
    local words=$1
    shift
    run client create "$@" busybox true
    assert_failure
    assert_output --partial "$words"
  }
  refused "no log driver named 'nothing' is registered" --log-driver nothing
  refused 'unknown log opt' --log-driver syslog --log-opt max-size=1m
  refused 'unknown log opt' --log-driver journald --log-opt x=y
  refused 'unsupported scheme' --log-driver syslog --log-opt syslog-address=http://x
  refused 'facility' --log-driver syslog --log-opt syslog-facility=nobody
  refused 'syslog format' --log-driver syslog --log-opt syslog-format=x
  refused 'gelf-address is a required parameter' --log-driver gelf
  refused 'gelf' --log-driver gelf --log-opt gelf-address=http://x:1
  refused 'compression' --log-driver gelf --log-opt gelf-address=udp://x:1 --log-opt gelf-compression-type=rar
  refused 'logging mode not supported' --log-driver gelf --log-opt gelf-address=udp://x:1 --log-opt mode=fast
  refused 'max-buffer-size option is only supported with' --log-driver gelf --log-opt gelf-address=udp://x:1 --log-opt max-buffer-size=1m
  refused 'compress cannot be true' --log-driver json-file --log-opt compress=true --log-opt max-file=1 --log-opt max-size=1m
}

@test "rotated files are compressed and read back" {
  client run --name talker --log-driver local --log-opt max-size=64k --log-opt max-file=4 busybox sh -c "$(says 20000); sleep 1"
  run client logs --tail 3 talker
  assert_output 'line 19998
line 19999
line 20000'
  run client logs talker
  assert_equal "${lines[-1]}" 'line 20000'
  # None is missing from the first that is left to the last.
  first=${lines[0]#line }
  assert_equal "${#lines[@]}" "$((20000 - first + 1))"
  [ "$first" -gt 1 ]
}

@test "details show what labels, env and tag choose" {
  client run --name talker --label color=red --env 'A B=x y' --log-opt labels=color --log-opt 'env=A B' --log-opt 'tag={{.Name}}' busybox echo hello
  run client logs --details talker
  assert_output 'A+B=x+y,color=red,tag=talker hello'
}
