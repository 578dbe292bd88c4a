#!/usr/bin/env bats
# What the daemon's options say of networks: the default bridge, address pools, defaults of others.
load ../lib/common

setup_file() {
  need_client
  engine_root
  leaks_snapshot "$TEST_ROOT/before"
}
teardown_file() {
  [ -n "${TEST_ROOT:-}" ] || return 0
  leaks_check "$TEST_ROOT/before"
  rm -rf "$TEST_ROOT"
}
setup() { on_engine gantry || skip "Docker's daemon has them, and other defaults"; }
teardown() {
  usual_teardown
  if [ -e "$(engine_dir)/pid" ]; then
    remove_all_containers
    client network prune -f >/dev/null
    engine_stop
  fi
  rm -rf "$(engine_dir)"
}

inside() { client run --rm busybox "$@"; }
shown() { client network inspect -f "$1" "${2:-bridge}"; }

@test "the default bridge has its address, its containers' part, another gateway and its MTU" {
  engine_start main --bip 10.201.1.1/24 --fixed-cidr 10.201.1.128/25 --default-gateway 10.201.1.254 --mtu 1400
  run inside sh -c 'ip -o -4 addr show eth0; ip route; cat /sys/class/net/eth0/mtu'
  assert_output --regexp 'inet 10\.201\.1\.1(2[89]|[3-9][0-9])/24'
  assert_output --partial 'default via 10.201.1.254 dev eth0'
  assert_line 1400
  run shown '{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.Gateway}}{{end}}'
  assert_output '10.201.1.0/24 10.201.1.128/25 10.201.1.1'
}

@test "IPv6 on the default bridge, of a private pool or of a subnet that is told" {
  engine_start main --ipv6
  run shown '{{range .IPAM.Config}}{{.Subnet}} {{end}}{{.EnableIPv6}}'
  assert_output --regexp '^172\.[0-9.]+/16 fd[0-9a-f:]+::/64 true$'
  run inside sh -c 'ip -o -6 addr show dev eth0 scope global; ip -6 route show default'
  assert_output --regexp 'inet6 fd[0-9a-f:]+/64'
  assert_output --partial 'default via fd'
  engine_stop
  engine_start main --ipv6 --fixed-cidr-v6 fd00:201::/80
  run shown '{{range .IPAM.Config}}{{.Subnet}} {{end}}'
  assert_output --partial ' fd00:201::/80 '
  run inside ip -o -6 addr show dev eth0 scope global
  assert_output --partial 'inet6 fd00:201::'
}

@test "containers of the default bridge apart, and nothing masqueraded" {
  engine_start main --icc=false --ip-masq=false
  address=$(client inspect -f '{{.NetworkSettings.IPAddress}}' "$(client run -d busybox sleep 1000)")
  run inside ping -c 1 -w 2 "$address"
  assert_failure
  run shown '{{index .Options "com.docker.network.bridge.enable_ip_masquerade"}} {{index .Options "com.docker.network.bridge.enable_icc"}}'
  assert_output 'false false'
  run nft list set inet "gantry-$(client info -f '{{.ID}}')" masquerade4
  refute_output --partial gantry0
}

@test "ports of the default bridge are published where --ip says, those of others on every address" {
  engine_start main --ip 127.0.0.2
  run client run --rm -d --name one -p 18301:80 busybox sleep 1000
  run client port one
  assert_output '80/tcp -> 127.0.0.2:18301'
  client network create other >/dev/null
  client run -d --name two --network other -p 18302:80 busybox sleep 1000 >/dev/null
  run client port two
  assert_output --partial '80/tcp -> 0.0.0.0:18302'
}

@test "networks get their subnets of the pools, around the host's routes, until there is none" {
  ip link add gtroute0 type veth peer name gtroute1
  ip addr add 10.202.0.17/28 dev gtroute0
  ip link set gtroute0 up
  engine_start main --default-address-pool base=10.202.0.0/26,size=28 --default-address-pool base=fd00:202::/62,size=64
  run shown '{{range .IPAM.Config}}{{.Subnet}}{{end}}'
  assert_output 10.202.0.0/28
  client network create --ipv6 first >/dev/null
  run shown '{{range .IPAM.Config}}{{.Subnet}} {{end}}' first
  assert_output '10.202.0.32/28 fd00:202::/64 '
  client network create second >/dev/null
  run client network create third
  assert_failure
  assert_output --partial 'all predefined address pools have been fully subnetted'
  run client network inspect third
  assert_failure
  client network rm first >/dev/null
  client network create third >/dev/null
  ip link delete gtroute0
}

@test "options for networks that do not say otherwise" {
  engine_start main --default-network-opt bridge=com.docker.network.driver.mtu=1300
  client network create plain >/dev/null
  client network create -o com.docker.network.driver.mtu=1200 own >/dev/null
  run client run --rm --network plain busybox cat /sys/class/net/eth0/mtu
  assert_output 1300
  run client run --rm --network own busybox cat /sys/class/net/eth0/mtu
  assert_output 1200
  run inside cat /sys/class/net/eth0/mtu
  assert_output 1500
}

@test "what is wrong with defaults of networks keeps the daemon from starting" {
  mkdir -p "$(engine_dir)"
  for flag in --default-network-opt=bridge=com.docker.network.driver.mtu=none \
    --default-network-opt=bridge=com.docker.network.nonsense=1 --default-network-opt=nonsense=a=b; do
    run "$GANTRY_BUILD/bin/gantryd" "$flag" --data-root "$(engine_dir)/data" --exec-root "$(engine_dir)/exec" \
      -H "unix://$(engine_dir)/sock" --pidfile "$(engine_dir)/p"
    assert_failure
    assert_line --index -1 --partial default-network-opts
  done
}

@test "forwarding and the firewall are left alone when that is asked for, and userland-proxy is told to be nothing" {
  former=$(cat /proc/sys/net/ipv4/ip_forward)
  echo 0 >/proc/sys/net/ipv4/ip_forward
  engine_start main --ip-forward=false --iptables=false --userland-proxy=false
  assert_equal "$(cat /proc/sys/net/ipv4/ip_forward)" 0
  run client info
  assert_output --partial 'IPv4 forwarding is disabled'
  run nft list tables
  refute_output --partial "gantry-$(client info -f '{{.ID}}')"
  inside true
  run client run --rm -p 18303:80 busybox true
  assert_failure 125
  assert_output --partial 'the daemon was told to leave the firewall alone'
  run engine_log
  assert_output --partial 'userland-proxy has no effect'
  echo "$former" >/proc/sys/net/ipv4/ip_forward
}

@test "new options wait until no container is on the default network" {
  engine_start main --bip 10.203.1.1/24
  client run -d --name there busybox sleep 1000 >/dev/null
  engine_kill
  engine_start main --bip 10.203.2.1/24
  run engine_log
  assert_output --partial 'it keeps its options until'
  client exec there ping -c 1 -w 5 10.203.1.1
  client rm -f there >/dev/null
  engine_stop
  engine_start main --bip 10.203.2.1/24
  run inside ip route
  assert_output --partial 'default via 10.203.2.1'
}
