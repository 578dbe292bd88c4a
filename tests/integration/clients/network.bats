#!/usr/bin/env bats
# Networks of containers through a client. Everything stays in the test's own network namespace.
load ../../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }

setup() { name=$(random_name net); }
teardown() {
  usual_teardown
  ! api_ok GET "/containers/$name/json" || client rm -f "$name" >/dev/null
}

address() { client inspect -f '{{.NetworkSettings.Networks.bridge.IPAddress}}' "$name"; }
served() { curl -sS -m 5 --noproxy '*' "$1"; }
web() { client run -d --name "$name" "$@" busybox sh -c 'mkdir /w && echo served > /w/index.html && exec httpd -f -p 80 -h /w' >/dev/null; }

@test "a container on the bridge has an address, a route and a gateway it can reach" {
  run client run --rm busybox sh -c 'ip -o -4 addr show eth0 | wc -l; ip route | head -n 1; ping -c 1 -w 5 $(ip route | sed -n "s/default via \([0-9.]*\).*/\1/p") >/dev/null && echo reached'
  assert_line --index 0 1
  assert_line --index 1 --regexp '^default via [0-9.]+ dev eth0'
  assert_line --index 2 reached
}

@test "inspect tells the same address as the container sees" {
  client run -d --name "$name" busybox sleep 1000 >/dev/null
  run client exec "$name" sh -c 'ip -o -4 addr show eth0 | sed "s/.*inet \([0-9.]*\).*/\1/"'
  assert_output "$(address)"
  run client inspect -f '{{.NetworkSettings.IPAddress}}' "$name"
  assert_output "$(address)"
}

@test "two containers on the bridge reach each other" {
  web
  eventually 10 served "http://$(address)/"
  run client run --rm busybox wget -q -O - "http://$(address)/"
  assert_output served
}

@test "a published port answers on loopback and on the bridge's own address" {
  web -p 127.0.0.1:18080:80 -p 18081:80
  eventually 10 served http://127.0.0.1:18080/
  run served http://127.0.0.1:18081/
  assert_output served
  gateway=$(client inspect -f '{{.NetworkSettings.Networks.bridge.Gateway}}' "$name")
  run served "http://$gateway:18081/"
  assert_output served
  run served "http://$gateway:18080/" # published on loopback only
  assert_failure
}

@test "a port without a host port gets one, and port and ps tell it" {
  web -p 80
  port=$(client inspect -f '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}' "$name")
  eventually 10 served "http://127.0.0.1:$port/"
  run client ps --filter "name=$name" --format '{{.Ports}}'
  assert_output --partial "0.0.0.0:$port->80/tcp"
}

@test "a UDP port is published, and the answer finds its way back" {
  client run -d --name "$name" -p 127.0.0.1:18082:5000/udp busybox sleep 1000 >/dev/null
  # Debian's busybox has no UDP server: one of the host's, in the container's network namespace.
  nsenter --net="/proc/$(client inspect -f '{{.State.Pid}}' "$name")/ns/net" /usr/bin/python3 -c 'import socket
s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("", 5000)); s.settimeout(20); print("up", flush=True)
data, peer = s.recvfrom(100); s.sendto(data.upper(), peer)' >"$BATS_TEST_TMPDIR/up" 3>&- &
  eventually 10 grep -q up "$BATS_TEST_TMPDIR/up"
  run /usr/bin/python3 -c 'import socket
s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(10); s.sendto(b"datagram", ("127.0.0.1", 18082)); print(s.recv(100).decode())'
  assert_output DATAGRAM
}

@test "a port that is taken is refused, and the container is not started" {
  web -p 127.0.0.1:18083:80
  run client run --rm -p 127.0.0.1:18083:80 busybox true
  assert_failure 125
  assert_output --partial 'port is already allocated'
}

@test "a port that another program listens on is refused" {
  /usr/bin/python3 -c 'import socket,sys
s = socket.socket(); s.bind(("127.0.0.1", 18084)); s.listen(); print("up", flush=True); sys.stdin.read()' \
    < <(sleep 30) >"$BATS_TEST_TMPDIR/up" 3>&- &
  listener=$!
  eventually 10 grep -q up "$BATS_TEST_TMPDIR/up"
  run client run --rm -p 127.0.0.1:18084:80 busybox true
  kill "$listener"
  assert_failure 125
  assert_output --partial 'address already in use'
}

@test "a port is free again when its container has gone" {
  for _ in 1 2 3; do
    client run --rm -p 127.0.0.1:18085:80 busybox true
  done
}

@test "--network none has only loopback, --network host the host's" {
  run client run --rm --network none busybox sh -c 'ls /sys/class/net'
  assert_output lo
  run client run --rm --network host busybox sh -c 'readlink /proc/self/ns/net'
  assert_output "$(readlink /proc/self/ns/net)"
  run client run --rm --network host busybox hostname
  assert_output "$(hostname)"
}

@test "an unknown network is refused" {
  run client run --rm --network no-such-network busybox true
  assert_failure 125
  assert_output --partial 'network no-such-network not found'
}

@test "--add-host, --dns and --hostname reach /etc/hosts and /etc/resolv.conf" {
  run client run --rm --add-host other:10.1.2.3 --dns 10.9.8.7 --dns-search example.test busybox \
    sh -c 'grep other /etc/hosts; grep -E "^(nameserver|search)" /etc/resolv.conf | sort'
  assert_output $'10.1.2.3\tother\nnameserver 10.9.8.7\nsearch example.test'
}

@test "a link on the default network is told in /etc/hosts and in the environment" {
  client run -d --name "$name" --hostname of-db --expose 5432 -e PASS=word busybox sleep 1000 >/dev/null
  run client run --rm --name "$name-web" --link "$name:db" busybox sh -c 'grep -w db /etc/hosts; env | grep ^DB_ | sort'
  assert_line --index 0 "$(address)"$'\t'"db of-db $name"
  assert_output --partial 'DB_ENV_PASS=word'
  assert_output --partial "DB_NAME=/$name-web/db"
  assert_output --partial "DB_PORT=tcp://$(address):5432"
  assert_output --partial "DB_PORT_5432_TCP_ADDR=$(address)"
  run client run --rm --link no-such-container:db busybox true
  assert_failure
  assert_output --partial 'could not get container for no-such-container'
  client stop -t 0 "$name" >/dev/null
  run client run --rm --name "$name-web" --link "$name:db" busybox true
  assert_failure
  assert_output --partial "Cannot link to"
  client rm -f "$name-web" >/dev/null 2>&1 || true
  run client run --rm --network host --link "$name:db" busybox true
  assert_failure
}

@test "what leaves the bridge wears the host's address" {
  ip netns add "out-$$"
  ip link add out0 type veth peer name peer0 netns "out-$$"
  ip addr add 192.0.2.1/24 dev out0
  ip link set out0 up
  ip -n "out-$$" addr add 192.0.2.2/24 dev peer0
  ip -n "out-$$" link set peer0 up
  ip netns exec "out-$$" /usr/bin/python3 -c 'import socket
s = socket.socket(); s.bind(("192.0.2.2", 9000)); s.listen(); s.settimeout(20); print("up", flush=True)
c, peer = s.accept(); print(peer[0], flush=True)' >"$BATS_TEST_TMPDIR/peer" 3>&- &
  listener=$!
  eventually 10 grep -q up "$BATS_TEST_TMPDIR/peer"
  run client run --rm busybox nc -w 3 192.0.2.2 9000 </dev/null
  wait "$listener" || true
  ip link del out0
  ip netns del "out-$$"
  run tail -n 1 "$BATS_TEST_TMPDIR/peer"
  assert_output 192.0.2.1
}
