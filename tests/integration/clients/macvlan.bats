#!/usr/bin/env bats
# Macvlan networks through a client: containers as neighbours of an interface of the host. The other end
# of its cable is a host of its own.
load ../../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }

setup() {
  net=$(random_name mv)
  host=out-$$-$BATS_TEST_NUMBER
  ip netns add "$host"
  ip link add par0 type veth peer name peer0 netns "$host"
  ip link set par0 up
  ip -n "$host" link set lo up
  ip -n "$host" addr add 192.0.2.1/24 dev peer0
  ip -n "$host" link set peer0 up
}
teardown() {
  usual_teardown
  remove_all_containers
  client network prune -f >/dev/null
  ip link delete par0
  ip netns delete "$host"
}

made() { client network create -d macvlan --subnet 192.0.2.0/24 --gateway 192.0.2.1 --ip-range 192.0.2.128/25 "$@" "$net" >/dev/null; }

@test "a container on a macvlan network is a neighbour of the hosts there, with a MAC address of its own" {
  made -o parent=par0
  run client run --rm --network "$net" busybox sh -c 'ip -o -4 addr show eth0; ip route; ping -c 1 -w 5 192.0.2.1 >/dev/null && echo reached'
  assert_output --regexp 'inet 192\.0\.2\.1(2[89]|[3-9][0-9])/24'
  assert_output --partial 'default via 192.0.2.1 dev eth0'
  assert_line reached
  client run -d --name there --network "$net" --ip 192.0.2.200 --mac-address 02:42:c0:00:02:c8 busybox sleep 1000 >/dev/null
  run ip netns exec "$host" busybox ping -c 1 -w 5 192.0.2.200
  assert_success
  run ip -n "$host" neigh show 192.0.2.200
  assert_output --partial 02:42:c0:00:02:c8
  run client inspect -f "{{(index .NetworkSettings.Networks \"$net\").Gateway}}" there
  assert_output 192.0.2.1
}

@test "containers of a macvlan network reach each other in mode bridge and not in mode private, by name and address" {
  made -o parent=par0
  client run -d --name one --network "$net" busybox sleep 1000 >/dev/null
  run client run --rm --network "$net" busybox ping -c 1 -w 5 one
  assert_success
  client rm -f one >/dev/null
  client network rm "$net" >/dev/null
  made -o parent=par0 -o macvlan_mode=private
  client run -d --name one --network "$net" --ip 192.0.2.201 busybox sleep 1000 >/dev/null
  run client run --rm --network "$net" busybox ping -c 1 -w 2 192.0.2.201
  assert_failure
}

@test "a VLAN that the parent's name asks for is made, and goes with the network" {
  ip link add link par0 name par0.9 type vlan id 9 || skip "this kernel has no VLANs"
  ip link delete par0.9
  made -o parent=par0.50
  run ip -d link show par0.50
  assert_output --partial 'vlan protocol 802.1Q id 50'
  client run --rm --network "$net" busybox ip -o addr show eth0
  client network rm "$net" >/dev/null
  eventually 5 no_link par0.50
}
no_link() { ! ip link show "$1" 2>/dev/null; }

@test "a running container is connected to a macvlan network and disconnected" {
  made -o parent=par0
  client run -d --name both busybox sleep 1000 >/dev/null
  client network connect "$net" both
  run client exec both ping -c 1 -w 5 -I eth1 192.0.2.1
  assert_success
  client network disconnect "$net" both
  run client exec both ls /sys/class/net
  refute_output --partial eth1
  client network connect "$net" both
  run client exec both ls /sys/class/net
  assert_output --partial eth1
}

@test "what a macvlan network cannot be is refused" {
  on_engine gantry || skip "Docker's daemon makes a dummy parent, and has other words"
  run client network create -d macvlan "$net"
  assert_failure
  assert_output --partial 'a macvlan network needs an interface of the host: -o parent=INTERFACE'
  run client network create -d macvlan -o parent=absent0 "$net"
  assert_failure
  assert_output --partial 'the requested parent interface absent0 was not found on the host'
  run client network create -d macvlan -o parent=par0 -o macvlan_mode=switch "$net"
  assert_failure
  assert_output --partial "requested macvlan mode 'switch' is not valid"
  made -o parent=par0 -o macvlan_mode=passthru
  client run -d --network "$net" busybox sleep 1000 >/dev/null
  run client run --rm --network "$net" busybox true
  assert_failure
  assert_output --partial 'its parent par0 has a container already'
}

@test "an interface of a container stays through a restart of the daemon, and can still be taken out" {
  on_engine gantry || skip "Docker's daemon stops containers"
  made -o parent=par0
  client run -d --name stays --network "$net" busybox sleep 1000 >/dev/null
  engine_kill
  engine_start main
  client exec stays ping -c 1 -w 5 192.0.2.1
  client network disconnect "$net" stays
  run client exec stays ls /sys/class/net
  refute_output --partial eth0
}
