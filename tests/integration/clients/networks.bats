#!/usr/bin/env bats
# Networks themselves through a client: how they are made, listed, shown and removed.
load ../../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }

setup() { net=$(random_name net); }
teardown() {
  usual_teardown
  remove_all_containers
  local each
  for each in $(client network ls -q --filter type=custom --filter "name=$net"); do
    client network inspect -f '{{if not .ConfigOnly}}{{.Id}}{{end}}' "$each"
  done | xargs -r -n 1 "$(client_program)" -H "unix://$(engine_socket)" network rm >/dev/null
  client network ls -q --filter type=custom --filter "name=$net" |
    xargs -r -n 1 "$(client_program)" -H "unix://$(engine_socket)" network rm >/dev/null
}

made() { client network create "$@" "$net" >/dev/null; }
shown() { client network inspect -f "$1" "$net"; }

@test "a network with a subnet, a range, a gateway and reserved addresses hands out the others" {
  made --subnet 10.95.0.0/24 --ip-range 10.95.0.8/30 --gateway 10.95.0.1 --aux-address router=10.95.0.9 --label tier=web
  run shown '{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.Gateway}} {{.AuxiliaryAddresses}}{{end}} {{.Labels}}'
  assert_output '10.95.0.0/24 10.95.0.8/30 10.95.0.1 map[router:10.95.0.9] map[tier:web]'
  for _ in 1 2 3; do client run -d --network "$net" busybox sleep 1000 >/dev/null; done
  run shown '{{range .Containers}}{{.IPv4Address}} {{end}}'
  assert_output --partial 10.95.0.8/24
  refute_output --partial 10.95.0.9/24
  run client run --rm --network "$net" busybox true # the range is used up
  assert_failure
}

@test "a subnet that another network has is refused, and one that is none" {
  made --subnet 10.95.0.0/24
  run client network create --subnet 10.95.0.128/25 "$net-2"
  assert_failure
  assert_output --partial 'Pool overlaps with other one on this address space'
  run client network create --subnet 10.95.300.0/24 "$net-2"
  assert_failure
  run client network create --subnet 10.96.0.0/24 --gateway 10.97.0.1 "$net-2"
  assert_failure
  run client network create "$net"
  assert_failure
  assert_output --partial "network with name $net already exists"
}

@test "an IPv6 network of its own subnets, and one from a private pool" {
  on_engine gantry || skip 'dockerd 20.10 chooses no IPv6 subnet'
  made --ipv6
  run shown '{{range .IPAM.Config}}{{.Subnet}} {{end}}'
  assert_output --regexp '^[0-9./]+ fd[0-9a-f:]+::/64 $'
  run client run --rm --network "$net" busybox sh -c 'ip -o -6 addr show dev eth0 scope global; ip -6 route show default'
  assert_output --regexp 'inet6 fd[0-9a-f:]+/64'
  assert_output --partial 'default via fd'
  client network create --ipv6 --ipv4=false --subnet fd00:95::/64 "$net-6" >/dev/null
  run client run --rm --network "$net-6" busybox sh -c 'ip -o -4 addr show dev eth0; ip -o -6 addr show dev eth0 scope global'
  assert_output --partial 'inet6 fd00:95::'
  refute_output --partial 'inet '
}

@test "an internal network has no way out" {
  made --internal
  run client run --rm --network "$net" busybox ip route
  refute_output --partial default
  run shown '{{.Internal}}'
  assert_output true
}

@test "a configuration is shared by networks, and stays as long as one has it" {
  client network create --config-only --subnet 10.95.0.0/24 --label of=config "$net-config" >/dev/null
  made --config-from "$net-config"
  run shown '{{range .IPAM.Config}}{{.Subnet}}{{end}} {{.ConfigFrom.Network}} {{.Labels.of}}'
  assert_output "10.95.0.0/24 $net-config config"
  run client network inspect -f '{{.ConfigOnly}}' "$net-config"
  assert_output true
  run client network rm "$net-config"
  assert_failure
  assert_output --partial 'is in use'
  run client run --rm --network "$net-config" busybox true
  assert_failure
  run client network create --config-from "$net-config" --subnet 10.96.0.0/24 "$net-2"
  assert_failure
  assert_output --partial 'user specified configurations are not supported'
  run client network create --config-from nope "$net-2"
  assert_failure
  assert_output --partial 'does not exist'
  run client network create --config-only --internal "$net-2"
  assert_failure
  assert_output --partial 'network operator fields' || assert_output --partial 'Network operator fields'
}

@test "options of the bridge: its name, MTU, and whether its containers meet" {
  made -o com.docker.network.bridge.name=br-named -o com.docker.network.driver.mtu=1400 -o com.docker.network.bridge.enable_icc=false --subnet 10.95.0.0/24
  [ -e /sys/class/net/br-named ]
  client run -d --name "$net-c" --network "$net" --ip 10.95.0.9 busybox sleep 1000 >/dev/null
  run client run --rm --network "$net" busybox sh -c 'cat /sys/class/net/eth0/mtu; ping -c 1 -W 1 10.95.0.9 >/dev/null || echo apart'
  assert_output $'1400\napart'
}

@test "networks are listed by filters and formats" {
  made --label tier=web
  client network create --label tier=db --internal "$net-2" >/dev/null
  run client network ls --filter label=tier=web --format '{{.Name}} {{.Driver}} {{.Scope}}'
  assert_output "$net bridge local"
  run client network ls --filter "name=$net" --filter driver=bridge --format '{{.Name}}'
  assert_output "$net
$net-2"
  run client network ls --filter type=builtin --format '{{.Name}}'
  assert_output $'bridge\nhost\nnone'
  run client network ls --filter "name=$net" --filter label=tier -q --no-trunc
  assert_equal "${#lines[@]}" 2
  run client network ls --filter colour=red
  assert_failure
}

@test "prune removes what nothing is connected to, as its filters say" {
  made --label keep=yes
  client network create "$net-2" >/dev/null
  client network create "$net-3" >/dev/null
  client run -d --network "$net-3" busybox sleep 1000 >/dev/null
  run client network prune -f --filter label!=keep=yes
  assert_output --partial "$net-2"
  refute_output --partial "$net-3"
  client network inspect "$net" >/dev/null
  run client network prune -f --filter until=24h
  refute_output --partial "$net"
  run client network prune -f
  assert_line "$net"
  run client network prune -f --filter colour=red
  assert_failure
}

@test "what is predefined is not made and not removed" {
  run client network rm bridge
  assert_failure
  assert_output --partial 'bridge is a pre-defined network and cannot be removed'
  run client network create host
  assert_failure
  run client network create -d host "$net"
  assert_failure
  assert_output --partial 'only one instance of "host" network is allowed'
  run client network create -d no-such-driver "$net"
  assert_failure
}
