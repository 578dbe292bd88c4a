#!/usr/bin/env bats
# Published ports and the firewalls that the host has besides: ufw, other rulesets. "Outside" is a host of its own
# at the other end of a cable.
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
setup() {
  on_engine gantry || skip "Docker's daemon publishes past every firewall"
  ip netns add outside
  ip link add gtout0 type veth peer name eth0 netns outside
  ip addr add 192.0.2.1/24 dev gtout0
  ip link set gtout0 up
  ip -n outside addr add 192.0.2.2/24 dev eth0
  ip -n outside link set eth0 up
}
teardown() {
  usual_teardown
  if [ -e "$(engine_dir)/pid" ]; then
    remove_all_containers
    engine_stop
  fi
  rm -rf "$(engine_dir)"
  nft flush ruleset
  ip link delete gtout0
  ip netns delete outside
  for mountpoint in /etc/ufw /etc/default /lib/ufw /var/lib/ufw; do
    ! mountpoint -q "$mountpoint" || umount "$mountpoint"
  done
}

web() { client run -d --name web "$@" busybox sh -c 'mkdir /w && echo served > /w/index.html && exec httpd -f -p 80 -h /w' >/dev/null; }
outside() { ip netns exec outside curl -sS -m 2 --noproxy '*' "http://192.0.2.1:$1/"; }
outside_is_served() { [ "$(outside "$1" 2>&1)" = served ]; }
outside_is_not_served() { ! outside_is_served "$1"; }
inside_is_served() { [ "$(curl -sS -m 2 --noproxy '*' "http://127.0.0.1:$1/" 2>&1)" = served ]; }
state() { client inspect web | jq -r ".[0].NetworkSettings.PortStates.\"80/tcp\"[] | select(.HostPort == \"$1\") | .State + \" (\" + .By + \")\""; }

# ufw's files, for this test alone.
with_ufw() {
  command -v ufw >/dev/null || skip "ufw is not installed"
  local directory
  for directory in /etc/ufw /etc/default /lib/ufw; do
    cp -a "$directory" "$BATS_TEST_TMPDIR/$(echo "$directory" | tr / _)"
    mount --bind "$BATS_TEST_TMPDIR/$(echo "$directory" | tr / _)" "$directory"
  done
}

@test "with ufw a published port is open to whom ufw lets in, and follows its changes" {
  with_ufw
  ufw --force enable >/dev/null
  engine_start main
  web -p 18401:80 -p 18402:80
  eventually 10 inside_is_served 18401
  outside_is_not_served 18401
  assert_equal "$(state 18401)" 'blocked (ufw: default deny)'
  run env CLIENT=gantry bash -c "\"$GANTRY_BUILD/bin/gantry\" -H unix://$(engine_socket) ps"
  assert_output --partial '0.0.0.0:18401->80/tcp (blocked)'
  client exec web wget -q -O /dev/null "http://192.0.2.2/" || true # out it may: nobody is there
  ufw allow 18401/tcp >/dev/null
  eventually 2 outside_is_served 18401
  assert_equal "$(state 18401)" 'allowed (ufw: allow 18401/tcp)'
  outside_is_not_served 18402
  ufw insert 1 deny from 192.0.2.2 >/dev/null
  eventually 2 outside_is_not_served 18401
  assert_equal "$(state 18401)" 'allowed (ufw: allow 18401/tcp)' # for others
  ufw delete deny from 192.0.2.2 >/dev/null
  eventually 2 outside_is_served 18401
  ufw --force disable >/dev/null
  eventually 2 outside_is_served 18402
  assert_equal "$(state 18402)" 'allowed ()'
}

@test "--firewall docker publishes past ufw" {
  with_ufw
  ufw --force enable >/dev/null
  engine_start main --firewall docker
  web -p 18403:80
  eventually 10 outside_is_served 18403
  assert_equal "$(state 18403)" 'allowed ()'
  ufw reload >/dev/null # takes what lets our bridge pass with it
  eventually 2 outside_is_served 18403
  ufw --force disable >/dev/null
}

@test "what nobody can read makes the answer unknown, and nothing changes" {
  with_ufw
  ufw --force enable >/dev/null
  ufw allow 18404/tcp >/dev/null
  engine_start main --firewall host
  web -p 18404:80
  eventually 10 outside_is_served 18404
  echo '### tuple ### perhaps tcp 80 0.0.0.0/0 any 0.0.0.0/0 in' >>/etc/ufw/user.rules
  eventually 2 state_is_unknown
  assert_regex "$(state 18404)" '^unknown \(/etc/ufw/user.rules: line [0-9]+: unknown action "perhaps"\)$'
  outside_is_served 18404
  ufw --force disable >/dev/null
}
state_is_unknown() { [[ "$(state 18404)" == unknown* ]]; }

@test "isolation, loopback ports and published ones hold after a flush of all rules" {
  engine_start main
  web -p 127.0.0.1:18405:80 -p 18406:80
  address=$(client inspect -f '{{.NetworkSettings.IPAddress}}' web)
  eventually 10 outside_is_served 18406
  ip -n outside route add "${address%.*}.0/24" via 192.0.2.1
  ip -n outside route add 127.0.0.5/32 via 192.0.2.1 2>/dev/null || true
  nft flush ruleset
  eventually 1 outside_is_served 18406
  run ip netns exec outside curl -sS -m 2 --noproxy '*' "http://$address/"
  assert_failure
  outside_is_not_served 18405
  inside_is_served 18405
}

@test "a firewall that drops what is forwarded is passed again after its reload" {
  nft -f - <<<'table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }'
  engine_start main
  web -p 18407:80
  eventually 10 outside_is_served 18407
  nft -f - <<<'flush chain ip filter FORWARD'
  eventually 1 outside_is_served 18407
}

@test "a chain that drops and is not ours to change is told with what helps, and its ports are unknown" {
  nft -f - <<<'table inet mine { chain forward { type filter hook forward priority 0; policy drop; }; }'
  engine_start main
  run client info
  assert_output --partial 'the nftables chain inet mine forward drops by policy'
  web -p 18408:80
  assert_regex "$(state 18408)" '^unknown \(the nftables chain inet mine forward'
  outside_is_not_served 18408
  nft insert rule inet mine forward iifname gantry0 accept
  nft insert rule inet mine forward oifname gantry0 accept
  eventually 10 outside_is_served 18408
}

@test "a port in use is refused with who has it" {
  engine_start main
  web -p 18409:80
  run client run --rm -p 18409:80 busybox true
  assert_failure 125
  assert_output --partial 'port is already allocated (by container web)'
  /usr/bin/python3 -c 'import socket, sys
s = socket.socket(); s.bind(("", 18410)); s.listen(); print("up", flush=True); sys.stdin.read()' \
    < <(sleep 30) >"$BATS_TEST_TMPDIR/up" 3>&- &
  listener=$!
  eventually 10 grep -q up "$BATS_TEST_TMPDIR/up"
  run client run --rm -p 18410:80 busybox true
  kill "$listener"
  assert_failure 125
  assert_output --partial "address already in use (by python3"
  assert_output --partial "(pid $listener)"
}
