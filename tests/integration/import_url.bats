#!/usr/bin/env bats
# `import` of a URL, which the daemon fetches: through proxies and redirects, and from servers that lie (tests/lib/tar_server.py).
load ../lib/common

AWAY=192.0.2.9 # an address of this test's own, that is not loopback: what is on loopback goes through no proxy

setup_file() {
  on_engine gantry || return 0
  [ -n "${GANTRY_ISOLATE_TMP:-}" ] || return 0
  need_client
  engine_root
  ip address add $AWAY/32 dev lo
  leaks_snapshot "$TEST_ROOT/before"
  serve direct 127.0.0.1:0
  serve proxy 127.0.0.1:0
  HTTP_PROXY=http://127.0.0.1:$(cat "$TEST_ROOT/proxy.port") engine_start main --max-layer-size 64m
}
teardown_file() {
  [ -n "${TEST_ROOT:-}" ] || return 0
  kill "$(cat "$TEST_ROOT/direct.pid")" "$(cat "$TEST_ROOT/proxy.pid")"
  usual_teardown_file
  ip address del $AWAY/32 dev lo
}
setup() {
  on_engine gantry || skip "it is about Gantry's own daemon"
  [ -n "${GANTRY_ISOLATE_TMP:-}" ] || skip "needs tests/isolate"
  U=127.0.0.1:$(cat "$TEST_ROOT/direct.port")
}
teardown() {
  usual_teardown
  gantry images -q --no-trunc "t/*" | sort -u | while read -r image; do gantry rmi -f "$image" >/dev/null; done
}

serve() { # NAME ADDRESS
  setsid /usr/bin/python3 "$REPOSITORY/tests/lib/tar_server.py" "$2" >"$TEST_ROOT/$1.port" 2>"$TEST_ROOT/$1.log" </dev/null 3>&- &
  echo $! >"$TEST_ROOT/$1.pid"
  eventually 20 [ -s "$TEST_ROOT/$1.port" ]
}
gantry() { timeout -k 2 "${LIMIT:-60}" "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" "$@"; }
hello() { gantry export "$(gantry create "$1" x)" | tar -xOf - hello; } # IMAGE
spools() { find "$(engine_dir)/data/tmp" -type f; }

imported() { # PATH
  run client import -m "$1" -c "LABEL from=$1" "http://$U/$1" "t/$1:1"
  assert_success
  assert_line --partial "Downloading from http://$U/$1"
  assert_line --regexp '^sha256:[0-9a-f]{64}$'
  assert_equal "$(hello "t/$1:1")" world
  assert_equal "$(gantry image inspect -f '{{.Comment}} {{.Config.Labels.from}}' "t/$1:1")" "$1 $1"
  gantry rm -f "$(gantry ps -aq)" >/dev/null
}

@test "a root file system is imported from a URL: plain, compressed, of a length that is not told, and redirected" {
  imported tar
  imported gzip
  imported unsized
  imported moved
}

@test "without a message the image says where it came from, and it needs no name" {
  run client import "http://$U/tar"
  assert_success
  id=${lines[-1]}
  assert_equal "$(gantry image inspect -f '{{.Comment}}|{{len .RepoTags}}' "$id")" "Imported from http://$U/tar|0"
  gantry rmi "$id"
}

@test "the API takes a URL without a scheme for one of http" {
  run api POST "/images/create?fromSrc=$U/tar&repo=t/bare&tag=1"
  assert_output --partial "Downloading from http://$U/tar"
  gantry image inspect t/bare:1
}

refused() { # PATH STATUS PATTERN
  run api_status POST "/images/create?fromSrc=http://$U/$1&repo=t/refused&tag=1"
  assert_line --regexp "^($2)$" # an error that comes after the first line of progress is in a stream
  assert_output --regexp "$3"
  run client import "http://$U/$1" t/refused:1
  assert_failure 1
  assert_output --regexp "$3"
  assert_equal "$(gantry images -q t/refused)" ""
  assert_equal "$(spools)" ""
}

@test "an answer that is no success is told with its reason" {
  refused nowhere 404 "failed to GET http://$U/nowhere with status 404 Not Found: there is no such file"
  refused denied 403 "failed to GET http://$U/denied with status 403 Forbidden: not for you"
  refused page 500 "failed to GET http://$U/page with status 500 Internal Server Error"
}

@test "redirects end" {
  refused loop 400 "redirected to itself"
  refused further 400 "stopped after 10 redirects"
}

@test "what is too large is refused: as it is announced, as it comes, and as it unpacks" {
  refused announced 400 "it says that it has [0-9]+ bytes: more than 67108864 are refused"
  refused endless "200|400" "(it has|it unpacks to) more than 67108864 bytes"
  refused bomb "200|400" "it unpacks to more than 67108864 bytes"
}

@test "what is cut short or no archive is refused" {
  refused short "200|50." "unexpected EOF"
  refused noise "200|400" "invalid tar header"
}

@test "a URL that is none, or has a password, is refused before anything is asked" {
  for bad in "ftp://$U/tar" "http://me:word@$U/tar" "http://" "%01"; do
    run api_status POST "/images/create?fromSrc=$bad&repo=t/refused"
    assert_equal "$(tail -n 1 <<<"$output")" 400
  done
  run ! grep -q word "$TEST_ROOT/direct.log"
  # Nor for an import that is refused by its other arguments.
  : >"$TEST_ROOT/direct.log"
  run client import --change "NOPE x" "http://$U/tar" t/refused:1
  assert_failure 1
  assert_equal "$(cat "$TEST_ROOT/direct.log")" ""
}

@test "a server that hangs is left with the client; nobody listening is told" {
  LIMIT=2 run gantry import "http://$U/hangs" t/refused:1
  assert_failure 124
  eventually 10 no_transfers
  assert_equal "$(spools)" ""
  refused_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  run client import "http://127.0.0.1:$refused_port/tar" t/refused:1
  assert_failure 1
  assert_output --partial "connection refused"
}
no_transfers() { ! api GET /gantry/jobs | jq -e '.[] | select(.Status == "running")' >/dev/null; }

@test "what is not on loopback is asked for through the proxy" {
  run client import "http://$AWAY:6010/gzip" t/away:1
  assert_success
  assert_equal "$(hello t/away:1)" world
  gantry rm -f "$(gantry ps -aq)" >/dev/null
  grep -q "^GET http://$AWAY:6010/gzip " "$TEST_ROOT/proxy.log"
}
