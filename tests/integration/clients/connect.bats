#!/usr/bin/env bats
# Containers on several networks: at start, connected and disconnected while they run and while they do not.
load ../../lib/common

setup_file() {
  usual_setup_file
  client network create --subnet 10.91.0.0/24 left >/dev/null
  client network create --subnet 10.92.0.0/24 right >/dev/null
}
teardown_file() {
  remove_all_containers
  client network rm left right >/dev/null
  usual_teardown_file
}

setup() { name=$(random_name con); }
teardown() {
  usual_teardown
  ! api_ok GET "/containers/$name/json" || client rm -f "$name" >/dev/null
}

sleeper() { client run -d --name "$name" "$@" busybox sleep 1000 >/dev/null; }
inside() { client exec "$name" "$@"; }
shown() { client inspect -f "{{.NetworkSettings.Networks.$1}}" "$name"; }
route() { inside ip route show default; }
served() { curl -sS -m 5 --noproxy '*' "$1"; }

@test "a container that is run with two networks has an interface, an address and names on each" {
  on_engine gantry || skip 'dockerd 20.10 takes one network at create'
  sleeper --network name=right,ip=10.92.0.9,alias=of-right --network name=left,alias=of-left
  run inside sh -c 'ip -o -4 addr show | sed "s/.* \(eth[0-9]\) *inet \([0-9./]*\).*/\1 \2/" | grep eth'
  assert_line --index 0 'eth0 10.92.0.9/24' # the network of its mode first
  assert_line --index 1 --regexp '^eth1 10\.91\.0\.[0-9]+/24$'
  run client inspect -f '{{.NetworkSettings.Networks.right.IPAddress}} {{.NetworkSettings.Networks.right.Aliases}} {{.NetworkSettings.Networks.right.IPAMConfig.IPv4Address}}' "$name"
  assert_output '10.92.0.9 [of-right] 10.92.0.9'
  run client network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}' right
  assert_output "$name 10.92.0.9/24"
}

@test "the default route is that of the network whose name comes first, or has the highest priority" {
  on_engine gantry || skip 'dockerd 20.10 takes one network at create, and has no priorities'
  sleeper --network right --network left
  run route
  assert_output --partial 'via 10.91.0.1'
  client rm -f "$name" >/dev/null
  sleeper --network name=right,gw-priority=1 --network left
  run route
  assert_output --partial 'via 10.92.0.1'
  run shown right.GwPriority
  assert_output 1
}

@test "a running container gets and loses an interface, an address and a line in /etc/hosts" {
  sleeper --network left --hostname named
  client network connect --ip 10.92.0.77 --alias other right "$name"
  run inside ip -o -4 addr show eth1
  assert_output --partial 'inet 10.92.0.77/24'
  run inside grep -w 10.92.0.77 /etc/hosts
  assert_output $'10.92.0.77\tnamed'
  run shown right.IPAddress
  assert_output 10.92.0.77
  run route
  assert_output --partial 'via 10.91.0.1'

  client network disconnect right "$name"
  run inside ls /sys/class/net
  refute_output --partial eth1
  run inside cat /etc/hosts
  refute_output --partial 10.92.0.77
  run client inspect -f '{{len .NetworkSettings.Networks}}' "$name"
  assert_output 1
  # Its address is free at once.
  client run --rm --network right --ip 10.92.0.77 busybox true
}

@test "what the container wrote into its /etc/hosts stays" {
  sleeper --network left
  inside sh -c 'echo "10.1.2.3 mine" >> /etc/hosts'
  client network connect right "$name"
  client network disconnect right "$name"
  run inside grep mine /etc/hosts
  assert_output '10.1.2.3 mine'
}

@test "what the container wrote into its /etc/hosts does not keep it on a network" {
  on_engine gantry || skip 'dockerd reads the file, whatever its size'
  sleeper --network left
  client network connect right "$name"
  inside dd if=/dev/zero of=/etc/hosts bs=1M count=2
  client network disconnect right "$name"
  run inside ip -o link
  refute_output --partial eth1
  run engine_log
  assert_output --partial 'its /etc/hosts stays as it is'
}

@test "the default route follows connect and disconnect, and so do published ports" {
  client run -d --name "$name" -p 127.0.0.1:18190:80 --network right busybox \
    sh -c 'mkdir /w && echo served > /w/index.html && exec httpd -f -p 80 -h /w' >/dev/null
  eventually 10 served http://127.0.0.1:18190/
  client network connect left "$name" # its name comes first
  run route
  assert_output --partial 'via 10.91.0.1'
  run served http://127.0.0.1:18190/
  assert_output served
  client network disconnect left "$name"
  run route
  assert_output --partial 'via 10.92.0.1'
  run served http://127.0.0.1:18190/
  assert_output served
  client network connect left "$name"
  client network disconnect right "$name"
  run served http://127.0.0.1:18190/
  assert_output served
  run client port "$name"
  assert_output '80/tcp -> 127.0.0.1:18190'
  client network disconnect left "$name"
  run served http://127.0.0.1:18190/
  assert_failure
  run client port "$name"
  assert_output ''
  client network connect left "$name"
  run served http://127.0.0.1:18190/
  assert_output served
}

@test "a container that does not run is connected, and disconnected, for its next start" {
  client create --name "$name" --network left busybox sleep 1000 >/dev/null
  client network connect --ip 10.92.0.50 right "$name"
  client start "$name" >/dev/null
  run inside ip -o -4 addr show eth1
  assert_output --partial 'inet 10.92.0.50/24'
  client stop -t 0 "$name" >/dev/null
  client network disconnect left "$name"
  client start "$name" >/dev/null
  run inside sh -c 'ls /sys/class/net; ip -o -4 addr show eth0'
  refute_output --partial eth1
  assert_output --partial 'inet 10.92.0.50/24'
}

@test "what was connected while it ran is there after a restart, with its static address" {
  sleeper --network left
  client network connect --ip 10.92.0.51 right "$name"
  client restart -t 0 "$name" >/dev/null
  run inside ip -o -4 addr
  assert_output --partial 'inet 10.92.0.51/24'
  assert_output --partial 'inet 10.91.0.'
}

@test "networks and containers are known by name, id and the beginning of an id" {
  sleeper --network left
  network=$(client network inspect -f '{{.Id}}' right)
  container=$(client inspect -f '{{.Id}}' "$name")
  client network connect "$network" "${container:0:12}"
  client network disconnect "${network:0:8}" "$container"
}

@test "connect and disconnect are told as events of the network" {
  sleeper --network left
  container=$(client inspect -f '{{.Id}}' "$name")
  since=$(date +%s.%N)
  client network connect right "$name"
  client network disconnect right "$name"
  run client events --since "$since" --until "$(date +%s.%N)" --filter type=network \
    --format '{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}} {{.Actor.Attributes.container}}'
  assert_equal "$(uniq <<<"$output")" "connect right bridge $container
disconnect right bridge $container" # dockerd 20.10 tells of the second twice
}

@test "what cannot be connected is refused, and nothing changes" {
  sleeper --network left
  run client network connect left "$name"
  assert_failure
  assert_output --partial "endpoint with name $name already exists in network left"
  run client network connect nope "$name"
  assert_output --partial 'network nope not found'
  run client network connect right no-such-container
  assert_output --partial 'No such container: no-such-container'
  run client network disconnect right "$name"
  assert_failure
  assert_output --partial 'is not connected to'
  run client network connect --ip 10.93.0.1 right "$name"
  assert_failure
  run client network connect none "$name"
  assert_failure
  assert_output --partial 'private (none) mode'
  run client network connect host "$name"
  assert_failure
  run inside ls /sys/class/net
  refute_output --partial eth1
}

@test "an address that is taken is refused, and the next connect succeeds" {
  sleeper --network left
  client run -d --name "$name-other" --network right --ip 10.92.0.60 busybox sleep 1000 >/dev/null
  run client network connect --ip 10.92.0.60 right "$name"
  assert_failure
  assert_output --partial 'Address already in use'
  client rm -f "$name-other" >/dev/null
  client network connect --ip 10.92.0.60 right "$name"
}

@test "a container in the host's or another's network namespace is not connected" {
  sleeper --network host
  run client network connect left "$name"
  assert_failure
  client run -d --name "$name-guest" --network "container:$name" busybox sleep 1000 >/dev/null
  run client network connect left "$name-guest"
  assert_failure
  assert_output --partial 'sharing network namespace'
  client rm -f "$name-guest" >/dev/null
}

@test "a MAC address, a link-local address, an interface name and sysctls of one endpoint" {
  on_engine gantry || skip 'dockerd 20.10 does not know them'
  sleeper --network "name=left,mac-address=02:00:00:00:00:77,\"driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.arp_ignore=2\""
  run inside cat /sys/class/net/eth0/address /proc/sys/net/ipv4/conf/eth0/log_martians /proc/sys/net/ipv4/conf/eth0/arp_ignore
  assert_output $'02:00:00:00:00:77\n1\n2'
  client network connect --link-local-ip 169.254.7.7 --driver-opt com.docker.network.endpoint.ifname=data0 right "$name"
  run inside ip -o -4 addr show data0
  assert_output --partial 'inet 169.254.7.7/16'
  client restart -t 0 "$name" >/dev/null
  run inside cat /sys/class/net/eth0/address
  assert_output 02:00:00:00:00:77
  client network disconnect right "$name"
  run client network connect --driver-opt com.docker.network.endpoint.ifname=eth0 right "$name"
  assert_failure
  assert_output --partial 'interface name eth0 is taken'
  run client network connect --driver-opt com.docker.network.endpoint.sysctls=net.ipv4.ip_forward=1 right "$name"
  assert_failure
  assert_output --partial 'unrecognised network interface sysctl'
}

@test "an address that was not asked for does not keep its MAC address for another" {
  sleeper --network left
  first=$(shown left.MacAddress)
  client stop -t 0 "$name" >/dev/null
  client run -d --name "$name-other" --network left busybox sleep 1000 >/dev/null
  client start "$name" >/dev/null
  run client inspect -f '{{.NetworkSettings.Networks.left.MacAddress}}' "$name" "$name-other"
  assert_equal "$(sort -u <<<"$output" | wc -l)" 2
  client rm -f "$name-other" >/dev/null
  [ -n "$first" ]
}

@test "a network with a container on it is not removed" {
  sleeper --network left
  client network connect right "$name"
  run client network rm right
  assert_failure
  assert_output --partial 'has active endpoints'
}
