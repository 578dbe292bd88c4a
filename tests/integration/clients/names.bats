#!/usr/bin/env bats
# Names of containers on user-defined networks, through a client: what Docker's embedded DNS server does.
load ../../lib/common

setup_file() {
  usual_setup_file
  client network create app >/dev/null
  client network create other >/dev/null
}
teardown_file() { usual_teardown_file; }

setup() {
  need_command network
  name=$(random_name names)
}
teardown() {
  usual_teardown
  local id
  for id in $(api GET '/containers/json?all=1' | jq -r '.[].Id'); do api_ok DELETE "/containers/$id?force=1"; done
}

address() { client inspect -f "{{(index .NetworkSettings.Networks \"${2:-app}\").IPAddress}}" "$1"; }
# ask CONTAINER ARGUMENT…: from its network namespace.
ask() {
  nsenter --net="/proc/$(client inspect -f '{{.State.Pid}}' "$1")/ns/net" /usr/bin/python3 "$REPOSITORY/tests/lib/dns.py" ask "${@:2}"
}
sleeper() { client run -d --network app "$@" busybox sleep 1000; }

@test "a container reaches another by its name" {
  client run -d --name "$name" --network app busybox sh -c 'mkdir /w && echo served > /w/index.html && exec httpd -f -p 80 -h /w' >/dev/null
  served() { client run --rm --network app busybox wget -q -O - "http://$name/"; }
  eventually 10 served
  run served
  assert_output served
  run client run --rm --network app busybox nslookup "$name"
  assert_output --partial "$(address "$name")"
}

@test "its name, aliases and short id are names, with and without its network's" {
  id=$(sleeper --name "$name" --network-alias db --network-alias Cache)
  expected=$'NOERROR\nA '$(address "$name")
  for asked in "$name" db cache CACHE "${id:0:12}" "$name.app" "db.app"; do
    run ask "$name" "$asked" A
    assert_output "$expected"
  done
  run ask "$name" --tcp "$name" A
  assert_output "$expected"
  run ask "$name" "$name" AAAA
  assert_output NOERROR
  run ask "$name" "$name" MX
  assert_output NOERROR
}

@test "an address is resolved to name and network" {
  sleeper --name "$name" >/dev/null
  reversed=$(address "$name" | awk -F. '{ print $4 "." $3 "." $2 "." $1 ".in-addr.arpa" }')
  run ask "$name" "$reversed" PTR
  assert_output $'NOERROR\nPTR '"$name.app"
}

@test "a name that several have leads to all of them, in turns" {
  for i in 1 2 3; do sleeper --name "$name-$i" --network-alias many >/dev/null; done
  firsts=
  for _ in $(seq 40); do
    run ask "$name-1" many A
    assert_equal "${#lines[@]}" 4
    firsts+=" ${lines[1]}"
  done
  for i in 1 2 3; do [[ $firsts == *"A $(address "$name-$i")"* ]]; done
}

@test "a name goes when its container ends" {
  sleeper --name "$name" >/dev/null
  sleeper --name "$name-2" >/dev/null
  run ask "$name" "$name-2" A
  assert_line --index 0 NOERROR
  client stop -t 0 "$name-2" >/dev/null
  gone() { ! ask "$name" "$name-2" A | grep -q '^A '; }
  eventually 10 gone
  client start "$name-2" >/dev/null
  run ask "$name" "$name-2" A
  assert_output $'NOERROR\nA '"$(address "$name-2")"
}

@test "names come with a network that a running container is connected to, and go with it" {
  client run -d --name "$name" busybox sleep 1000 >/dev/null # on the default bridge: it has no server yet
  sleeper --name "$name-2" >/dev/null
  client network connect --alias late app "$name"
  run ask "$name" "$name-2" A
  assert_output $'NOERROR\nA '"$(address "$name-2")"
  run client exec "$name" grep ^nameserver /etc/resolv.conf
  assert_output 'nameserver 127.0.0.11'
  run ask "$name-2" late A
  assert_output $'NOERROR\nA '"$(address "$name")"
  client run -d --name "$name-3" --network other busybox sleep 1000 >/dev/null
  client network connect other "$name"
  run ask "$name" "$name-3" A
  assert_output $'NOERROR\nA '"$(address "$name-3" other)"
  client network disconnect app "$name"
  run ask "$name" "$name-2" A
  refute_output --partial "$(address "$name-2")"
  run ask "$name-2" late A
  refute_output --partial 'A 1'
  run ask "$name" "$name-3" A
  assert_line --index 0 NOERROR
}

@test "the names of another network are not known" {
  sleeper --name "$name" >/dev/null
  client run -d --name "$name-2" --network other busybox sleep 1000 >/dev/null
  run ask "$name" "$name-2" A
  refute_output --partial "$(address "$name-2" other)"
  run ask "$name" "$name-2.other" A
  refute_output --partial "$(address "$name-2" other)"
}

@test "resolv.conf names the server alone, with search domains and options" {
  run client run --rm --network app busybox grep -E '^(nameserver|options)' /etc/resolv.conf
  assert_output --regexp $'^nameserver 127.0.0.11\noptions .*ndots:0$'
  run client run --rm --network app --dns 192.0.2.1 --dns-search example.test --dns-opt ndots:3 busybox grep -E '^(nameserver|search|options)' /etc/resolv.conf
  assert_output $'nameserver 127.0.0.11\nsearch example.test\noptions ndots:3'
}

@test "the default bridge and --network none have no server" {
  run client run --rm --dns 192.0.2.1 busybox grep ^nameserver /etc/resolv.conf
  assert_output 'nameserver 192.0.2.1'
  run client run --rm --network none busybox grep 127.0.0.11 /etc/resolv.conf
  assert_failure 1
}

@test "a container may have port 53 of all its addresses itself" {
  sleeper --name "$name" >/dev/null
  ns=/proc/$(client inspect -f '{{.State.Pid}}' "$name")/ns/net
  nsenter --net="$ns" /usr/bin/python3 "$REPOSITORY/tests/lib/dns.py" serve 0.0.0.0 "$BATS_TEST_TMPDIR/log" 3>&- &
  own=$!
  eventually 10 grep -qs up "$BATS_TEST_TMPDIR/log"
  run ask "$name" small.example A --server 127.0.0.1
  assert_output $'NOERROR\nA 192.0.2.1'
  run ask "$name" "$name" A
  assert_output $'NOERROR\nA '"$(address "$name")"
  kill "$own"
}
