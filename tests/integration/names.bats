#!/usr/bin/env bats
# The DNS server of containers, and whom it asks: forwarding, internal networks, a daemon that goes away.
load ../lib/common

setup_file() {
  usual_setup_file
  on_engine gantry || return 0
  client network create --subnet 10.88.0.0/24 app >/dev/null
  client network create --subnet 10.89.0.0/24 --internal closed >/dev/null
  # The "outside": a resolver on the host's own side of the bridges.
  for address in 10.88.0.1 10.89.0.1; do
    /usr/bin/python3 "$REPOSITORY/tests/lib/dns.py" serve "$address" "$TEST_ROOT/asked-$address" 3>&- >&- 2>&- &
    echo $! >>"$TEST_ROOT/resolvers"
    eventually 10 grep -qs up "$TEST_ROOT/asked-$address"
  done
}
teardown_file() {
  [ ! -e "$TEST_ROOT/resolvers" ] || xargs kill <"$TEST_ROOT/resolvers"
  usual_teardown_file
}

setup() {
  on_engine gantry || skip "how it is done is Gantry's own"
  name=$(random_name names)
  need_command network
}
teardown() {
  usual_teardown
  engine_answers || engine_start main
  local id
  for id in $(api GET '/containers/json?all=1' | jq -r '.[].Id'); do api_ok DELETE "/containers/$id?force=1"; done
}

pid_of() { client inspect -f '{{.State.Pid}}' "$1"; }
ask_in() { nsenter --net="/proc/$1/ns/net" /usr/bin/python3 "$REPOSITORY/tests/lib/dns.py" ask "${@:2}"; }
ask() { ask_in "$(pid_of "$1")" "${@:2}"; }
asked() { grep -c "$1" "$TEST_ROOT/asked-${2:-10.88.0.1}" || true; }
start_in() { client run -d --name "$name" --network "$1" --dns 10.88.0.1 "${@:2}" busybox sleep 1000 >/dev/null; }

@test "other names are asked of the container's servers" {
  start_in app
  run ask "$name" small.example A
  assert_output $'NOERROR\nA 192.0.2.1'
  run ask "$name" nowhere.example A
  assert_output NXDOMAIN
  run ask "$name" bad.example A
  assert_output SERVFAIL
  run client exec "$name" nslookup small.example
  assert_output --partial 192.0.2.1
}

@test "a large answer is fetched whole and cut to what the asker takes" {
  start_in app
  run ask "$name" large.example A
  assert_line --index 0 'NOERROR truncated'
  run ask "$name" large.example A --edns 4096
  assert_line --index 0 NOERROR
  assert_equal "${#lines[@]}" 101
  run ask "$name" large.example A --tcp
  assert_equal "${#lines[@]}" 101
}

@test "a server that does not answer holds nobody up" {
  start_in app
  pid=$(pid_of "$name")
  local -a slow=()
  for _ in $(seq 8); do
    ask_in "$pid" slow.example A >/dev/null 2>&1 3>&- &
    slow+=($!)
  done
  run ask_in "$pid" "$name" A --wait 1
  assert_line --index 0 NOERROR
  run ask "$name" slow.example A
  assert_output SERVFAIL
  wait "${slow[@]}" || true # they only have to be gone
}

# Threat 20 (CVE-2024-29018): a name is data, and could carry others out.
@test "nothing of an internal network is asked upstream" {
  start_in closed
  pid=$(pid_of "$name")
  nft add table inet watch
  nft 'add chain inet watch out { type filter hook output priority 0; }'
  nft 'add chain inet watch forward { type filter hook forward priority 0; }'
  nft 'add rule inet watch out meta l4proto { tcp, udp } th dport 53 ip daddr != 127.0.0.11 counter'
  nft 'add rule inet watch forward th dport 53 counter'
  for kind in A AAAA MX TXT; do
    run ask_in "$pid" "secret-$kind.example" "$kind"
    assert_output SERVFAIL
    run ask_in "$pid" "secret-$kind.example" "$kind" --tcp
    assert_output SERVFAIL
  done
  run ask_in "$pid" 1.0.0.10.in-addr.arpa PTR
  assert_output SERVFAIL
  run ask_in "$pid" "$name" A
  assert_output --regexp $'^NOERROR\nA 10.89.0.[0-9]+$'
  packets=$(nft list table inet watch | grep -c 'packets 0 ')
  nft delete table inet watch
  assert_equal "$packets" 2
  assert_equal "$(asked secret) $(asked secret 10.89.0.1)" "0 0"
}

@test "what is asked while the daemon is away is answered when it is back" {
  start_in app
  pid=$(pid_of "$name")
  address=$(client inspect -f '{{.NetworkSettings.Networks.app.IPAddress}}' "$name")
  engine_kill
  ask_in "$pid" "$name" A --wait 40 --sent "$BATS_TEST_TMPDIR/sent" >"$BATS_TEST_TMPDIR/udp" 3>&- &
  datagram=$!
  ask_in "$pid" "$name" A --wait 40 --tcp >"$BATS_TEST_TMPDIR/tcp" 3>&- &
  stream=$!
  eventually 10 test -e "$BATS_TEST_TMPDIR/sent"
  queued() { nsenter --net="/proc/$pid/ns/net" ss -Htn state established dport = 53 | grep -q 127.0.0.11; }
  eventually 10 queued
  engine_start main
  wait "$datagram" "$stream"
  run cat "$BATS_TEST_TMPDIR/udp" "$BATS_TEST_TMPDIR/tcp"
  assert_output $'NOERROR\nA '"$address"$'\nNOERROR\nA '"$address"
  # And for good, with forwarding, through a stop as well.
  engine_stop
  engine_start main
  run ask_in "$pid" small.example A
  assert_output $'NOERROR\nA 192.0.2.1'
  engine_kill
  engine_start main
  run ask_in "$pid" "$name" A --tcp
  assert_output $'NOERROR\nA '"$address"
}

@test "a container finds its own name in its first moment" {
  run client run --rm --name "$name" --network app busybox nslookup "$name"
  assert_success
  assert_output --partial 10.88.0.
}

@test "a container that was renamed is found by its new name" {
  start_in app
  client rename "$name" "$name-new"
  run ask "$name-new" "$name-new" A
  assert_line --index 0 NOERROR
  run ask "$name-new" "$name" A
  assert_output NXDOMAIN
}

@test "a loopback server of --dns is the container's own" {
  client run -d --name "$name" --network app --dns 127.0.0.1 busybox sleep 1000 >/dev/null
  nsenter --net="/proc/$(pid_of "$name")/ns/net" /usr/bin/python3 "$REPOSITORY/tests/lib/dns.py" serve 127.0.0.1 "$BATS_TEST_TMPDIR/log" 3>&- &
  own=$!
  eventually 10 grep -qs up "$BATS_TEST_TMPDIR/log"
  run ask "$name" small.example A
  kill "$own"
  assert_output $'NOERROR\nA 192.0.2.1'
}

@test "the daemon's sockets in a container's network namespace go with the container" {
  sockets() { find "/proc/$(engine_pid)/fd" -lname 'socket:*' | wc -l; }
  before=$(sockets)
  for _ in 1 2 3; do client run --rm --network app busybox true; done
  same() { [ "$(sockets)" -le "$before" ]; }
  eventually 10 same
  run ! client run --rm --network app busybox /no-such-program
  eventually 10 same
}
