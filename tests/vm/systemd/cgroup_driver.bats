#!/usr/bin/env bats
# The systemd cgroup driver of gantry-runtime: a container's group is a transient scope.

load ../helper

setup() {
  vm_only
  [ "$(cat /proc/1/comm)" = systemd ] || skip "process 1 is not systemd (tests/vm/run --systemd)"
  oci_setup
  SCOPE=oci-$BATS_TEST_NUMBER
  config "c['linux']['cgroupsPath']='system.slice:oci:$BATS_TEST_NUMBER'"
}
teardown() { oci_teardown; }

driven() { "$RUNTIME" --root "$OCI/root" --systemd-cgroup "$@"; }
property() { systemctl show -p "$1" --value "$SCOPE.scope"; }

@test "the scope holds the container, with its limits, in its slice" {
  config "c['linux']['resources'].update(memory={'limit':67108864,'reservation':33554432,'swap':134217728},pids={'limit':33},cpu={'shares':512,'quota':50000,'period':100000})"
  config "c['process']['args']=['sleep','1000']"
  driven run --detach --bundle "$BUNDLE" --pid-file "$OCI/pid" "$ID" </dev/null >/dev/null 2>&1
  [ "$(property ActiveState)" = active ]
  [ "$(property Slice)" = system.slice ]
  [ "$(property Delegate)" = yes ]
  [ "$(property MemoryMax) $(property MemoryLow) $(property MemorySwapMax) $(property TasksMax)" = "67108864 33554432 67108864 33" ]
  [ "$(property CPUQuotaPerSecUSec)" = 500ms ]
  [ "$(cut -d: -f3 "/proc/$(cat "$OCI/pid")/cgroup")" = "/system.slice/$SCOPE.scope" ]
  # Nobody but the container is in it.
  [ "$(cat "/sys/fs/cgroup/system.slice/$SCOPE.scope/cgroup.procs")" = "$(cat "$OCI/pid")" ]
  # systemd has not forgotten, and does not set others back.
  systemctl daemon-reload
  [ "$(cat "/sys/fs/cgroup/system.slice/$SCOPE.scope/memory.max" "/sys/fs/cgroup/system.slice/$SCOPE.scope/pids.max" | xargs)" = "67108864 33" ]
}

@test "update tells systemd, too" {
  config "c['process']['args']=['sleep','1000']"
  driven run --detach --bundle "$BUNDLE" --pid-file "$OCI/pid" "$ID" </dev/null >/dev/null 2>&1
  driven update --pids-limit 44 --memory 134217728 "$ID"
  [ "$(property TasksMax) $(property MemoryMax)" = "44 134217728" ]
  systemctl daemon-reload
  [ "$(cat "/sys/fs/cgroup/system.slice/$SCOPE.scope/pids.max")" = 44 ]
}

@test "exec, pause and ps work in it, and the scope goes with the container" {
  config "c['process']['args']=['sleep','1000']"
  driven create --bundle "$BUNDLE" --pid-file "$OCI/pid" "$ID" </dev/null >/dev/null 2>&1
  driven start "$ID"
  run driven exec "$ID" cat /proc/self/cgroup
  [ "$output" = "0::/" ]
  driven pause "$ID"
  [ "$(property FreezerState)" = frozen ] || [ "$(cat "/sys/fs/cgroup/system.slice/$SCOPE.scope/cgroup.freeze")" = 1 ]
  driven resume "$ID"
  driven kill "$ID" KILL
  until_true eval "driven state $ID | grep -q stopped"
  driven delete "$ID"
  until_true eval '[ "$(property LoadState)" = not-found ]'
  [ ! -e "/sys/fs/cgroup/system.slice/$SCOPE.scope" ]
}

@test "a container that fails to start leaves no scope" {
  config "c['process']['args']=['/no/such']"
  run driven run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -ne 0 ]
  [[ "$output" == *"/no/such"* ]]
  until_true eval '[ "$(property LoadState)" = not-found ]'
}

@test "a path that is not slice:prefix:name is an error, and so is a scope that is there" {
  config "c['linux']['cgroupsPath']='/some/path'; c['process']['args']=['sleep','1000']"
  run driven run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 1 ]
  [[ "$output" == *'linux.cgroupsPath: "/some/path" is not slice:prefix:name'* ]]
  config "c['linux']['cgroupsPath']='system.slice:oci:$BATS_TEST_NUMBER'"
  driven run --detach --bundle "$BUNDLE" "$ID" </dev/null >/dev/null 2>&1
  run driven run --bundle "$BUNDLE" "$ID-second" </dev/null
  [ "$status" -eq 1 ]
  [[ "$output" == *"$SCOPE.scope"* ]]
  [ "$(property ActiveState)" = active ]
}

@test "limits that make no sense are refused by name and leave no scope" {
  config "c['linux']['resources'].update(memory={'limit':67108864,'swap':33554432}); c['process']['args']=['true']"
  run driven run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.resources.memory.swap"* ]]
  until_true eval '[ "$(property LoadState)" = not-found ]'
  # 0 is the kernel's own period, as without systemd.
  config "c['linux']['resources'].update(cpu={'quota':50000,'period':0}); c['linux']['resources'].pop('memory')"
  run driven run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 0 ]
}
