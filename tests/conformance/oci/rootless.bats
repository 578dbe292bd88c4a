#!/usr/bin/env bats
# As an ordinary user: user namespaces, and no cgroups unless some were delegated.

load helper

setup() {
  oci_setup
  [ "$(cat /proc/sys/user/max_user_namespaces)" -gt 0 ] || skip "this host has no user namespaces"
  # Where the user can reach it: build trees of root need not be.
  mkdir -m 755 "$OCI/bin" "$OCI/run"
  cp "$RUNTIME" "$OCI/bin/gantry-runtime"
  rm "$BUNDLE/config.json"
  chmod 755 "$OCI"
  chown -R 1000:1000 "$OCI"
  as_user spec --rootless --bundle "$BUNDLE"
  config "c['process']['terminal']=False"
}
teardown() {
  as_user delete --force "$ID" >/dev/null 2>&1
  oci_teardown
}

as_user() { setpriv --reuid 1000 --regid 1000 --clear-groups "$OCI/bin/gantry-runtime" --root "$OCI/run" "$@"; }

as_user_in_container() {
  config "c['process']['args']=['/bin/sh','-c','''$1''']"
  run as_user run --bundle "$BUNDLE" "$ID" </dev/null
}

@test "an ordinary user runs a container, as root of a user namespace" {
  as_user_in_container 'id -u; cat /proc/self/uid_map; cat /proc/self/setgroups; echo x >/dev/null && echo devices'
  echo "$output"
  [ "$status" -eq 0 ]
  [ "$(echo $output)" = "0 0 1000 1 deny devices" ]
}

@test "create, start, exec, kill and delete without a cgroup" {
  config "c['process']['args']=['sleep','100']"
  as_user create --bundle "$BUNDLE" --pid-file "$OCI/run/pid" "$ID" </dev/null >/dev/null 2>&1
  as_user start "$ID"
  [ "$(as_user state "$ID" | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["status"])')" = running ]
  [ "$(stat -c %u "/proc/$(cat "$OCI/run/pid")")" = 1000 ]
  run as_user exec "$ID" id -u
  [ "$output" = 0 ]
  run as_user pause "$ID"
  [ "$status" -eq 1 ]
  [[ "$output" == *"no freezer"* || "$output" == *"not delegated"* ]]
  as_user kill "$ID" KILL
  until_true eval 'as_user state "$ID" | grep -q stopped'
  as_user delete "$ID"
  [ ! -e "$OCI/run/$ID" ]
}

@test "a limit that nobody has delegated is an error that says so" {
  config "c['linux']['resources']={'memory':{'limit':33554432}}"
  as_user_in_container true
  echo "$output"
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.resources.memory.limit: the memory controller is not delegated to user 1000"* ]]
  [ ! -e "$OCI/run/$ID" ]
}

@test "more ids than the own need newuidmap, and what it may not is an error" {
  config "c['linux']['uidMappings']=[{'containerID':0,'hostID':1000,'size':1},{'containerID':1,'hostID':100000,'size':1000}]"
  as_user_in_container true
  echo "$output"
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.uidMappings: "*newuidmap* ]]
  [ ! -e "$OCI/run/$ID" ]
}

@test "a delegated cgroup is used, with its limits" {
  local mount group
  mount=$(awk '$3 == "cgroup" && $4 ~ /(^|,)pids(,|$)/ { print $2; exit }' /proc/mounts)
  [ -n "$mount" ] || skip "the pids controller is not on a v1 hierarchy here"
  group=$mount/delegated-$BATS_TEST_NUMBER
  mkdir "$group"
  chown -R 1000:1000 "$group"
  config "c['linux']['cgroupsPath']='/delegated-$BATS_TEST_NUMBER/mine'; c['linux']['resources']={'pids':{'limit':7}}"
  config "c['process']['args']=['sleep','100']"
  as_user create --bundle "$BUNDLE" --pid-file "$OCI/run/pid" "$ID" </dev/null >/dev/null 2>&1
  local limit member
  limit=$(cat "$group/mine/pids.max") member=$(grep -c . "$group/mine/cgroup.procs")
  as_user delete --force "$ID"
  [ "$limit $member" = "7 1" ]
  [ ! -e "$group/mine" ]
  rmdir "$group"
}

@test "--rootless takes true, false and auto" {
  run as_user --rootless perhaps state x
  [ "$status" -eq 1 ]
  [[ "$output" == *'--rootless: "perhaps" is not true, false or auto'* ]]
  # Told that it is not, it insists on its cgroup.
  config "c['process']['args']=['true']"
  run as_user --rootless false run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.cgroupsPath: mkdir"* ]]
}
