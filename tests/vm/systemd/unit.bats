#!/usr/bin/env bats
# gantryd as a service of systemd, and containers in a machine whose control groups systemd manages.

load ../helper

setup_file() {
  vm_only
  install -m 755 "$GANTRY_BUILD"/bin/* /usr/local/bin/
  mkdir -p /usr/local/share/gantry
  cp -r "$GANTRY_BUILD/images" /usr/local/share/gantry/
  cp "$GANTRY_BUILD/packaging/gantry.service" /etc/systemd/system/
  systemctl daemon-reload
}

setup() {
  vm_only
  [ "$(cat /proc/1/comm)" = systemd ] || skip "process 1 is not systemd (tests/vm/run --systemd)"
}

teardown_file() {
  gantry ps -aq | xargs -r gantry rm -f >/dev/null
  systemctl stop gantry
}

answers() { gantry images --format '{{.Repository}}' | grep -qx busybox; }
pid_of() { gantry inspect --format '{{.State.Pid}}' "$1"; }

@test "the unit is started when the daemon answers, and not before" {
  systemctl start gantry
  [ "$(systemctl is-active gantry)" = active ]
  gantry version
}

@test "a container runs, in a group outside of the service's" {
  until_true answers
  run gantry run --rm busybox echo hello
  [ "$output" = hello ]
  gantry run -d --name kept busybox sleep 1000
  local group
  group=$(cut -d: -f3 "/proc/$(pid_of kept)/cgroup")
  [[ "$group" != *gantry.service* ]]
  [[ "$group" == *"$(gantry inspect --format '{{.Id}}' kept)"* ]]
}

@test "limits are applied below systemd's groups" {
  gantry run -d --name limited --memory 32m --pids-limit 50 --cpus 0.5 busybox sleep 1000
  local group
  group=/sys/fs/cgroup$(cut -d: -f3 "/proc/$(pid_of limited)/cgroup")
  [ "$(cat "$group/memory.max" "$group/pids.max" "$group/cpu.max" | paste -sd' ')" = "33554432 50 50000 100000" ]
}

@test "containers outlive a restart of the service, and a reload of systemd" {
  local before
  before=$(pid_of kept)
  systemctl restart gantry
  systemctl daemon-reload
  [ "$(pid_of kept)" = "$before" ]
  [ "$(gantry exec kept echo still)" = still ]
  # Reloading systemd applies its own idea of controllers to the groups it manages; a container's are not among them.
  [ "$(cat "/sys/fs/cgroup$(cut -d: -f3 "/proc/$(pid_of limited)/cgroup")/memory.max")" = 33554432 ]
}

@test "a daemon that is killed is started again by systemd and finds its containers" {
  local before
  before=$(pid_of kept)
  kill -KILL "$(systemctl show --property MainPID --value gantry)"
  restarted() { [ "$(systemctl show --property NRestarts --value gantry)" = 1 ] && gantry version; }
  until_true restarted
  [ "$(pid_of kept)" = "$before" ]
}
