#!/usr/bin/env bats
# runtime.md: states and operations.

load helper

setup() { oci_setup; }
teardown() { oci_teardown; }

@test "create leaves the program unstarted, start runs it, delete removes everything" {
  created 'echo ran >/tmp/ran; sleep 100'
  [ "$(status_of)" = created ]
  [ ! -e "$BUNDLE/rootfs/tmp/ran" ]
  [ "$(runtime state "$ID" | grep -c "\"pid\": $(cat "$OCI/pid")")" = 1 ]
  run runtime start "$ID"
  [ "$status" -eq 0 ]
  [ "$(status_of)" = running ]
  runtime kill "$ID" KILL
  until_true is_status stopped
  runtime delete "$ID"
  nothing_left
}

@test "state has the fields of the specification" {
  created 'sleep 100'
  runtime state "$ID" >"$OCI/state"
  /usr/bin/python3 -c '
import json, sys
s = json.load(open(sys.argv[1]))
assert s["id"] == sys.argv[2] and s["bundle"] == sys.argv[3], s
assert s["ociVersion"].startswith("1.") and s["pid"] > 0 and s["status"] == "created", s
' "$OCI/state" "$ID" "$BUNDLE"
}

@test "an id in use is an error and leaves the first container alone" {
  created 'sleep 100'
  run runtime create --bundle "$BUNDLE" "$ID"
  [ "$status" -eq 1 ]
  [[ "$output" == *"already exists"* ]]
  [ "$(status_of)" = created ]
  runtime start "$ID"
  [ "$(status_of)" = running ]
}

@test "start of what is not created, and state, kill and delete of what does not exist, are errors" {
  created 'sleep 100'
  runtime start "$ID"
  run runtime start "$ID"
  [ "$status" -ne 0 ]
  for verb in state start kill delete pause resume; do
    run runtime $verb no-such-container
    [ "$status" -ne 0 ]
    [[ "$output" == *"does not exist"* ]]
  done
}

@test "delete of a container that is created, running or paused is an error without --force, and leaves it" {
  created 'exec sleep 100'
  local state pid; pid=$(cat "$OCI/pid")
  for state in created running paused; do
    [ $state != running ] || runtime start "$ID"
    [ $state != paused ] || runtime pause "$ID"
    run runtime delete "$ID"
    [ "$status" -eq 1 ]
    [[ "$output" == *"that is not stopped: $state"* ]]
    [ "$(status_of)" = $state ]
    [ -d "/proc/$pid" ]
  done
}

@test "delete --force of a running container ends and removes it" {
  created 'sleep 100'
  runtime start "$ID"
  runtime delete --force "$ID"
  nothing_left
}

@test "run gives the exit status of the program and leaves nothing" {
  in_container 'exit 7'
  [ "$status" -eq 7 ]
  nothing_left
  in_container 'kill -9 $$'
  nothing_left
}

@test "kill delivers the signal" {
  created 'trap "echo got; exit 3" USR1; echo up >/tmp/up; while :; do sleep 0.05; done'
  config "c['root']['readonly']=False"
  runtime delete --force "$ID"
  created 'trap "echo got >/tmp/got; exit 3" USR1; echo up >/tmp/up; while :; do sleep 0.05; done'
  runtime start "$ID"
  until_true test -e "$BUNDLE/rootfs/tmp/up"
  runtime kill "$ID" SIGUSR1
  until_true is_status stopped
  [ "$(cat "$BUNDLE/rootfs/tmp/got")" = got ]
}

@test "a container whose maker was killed half-way can be deleted" {
  mkdir -p "$OCI/root/$ID" "$(hierarchy_of pids)/gantry-runtime/$ID"
  runtime delete --force "$ID"
  nothing_left
}

@test "exec runs in the namespaces and the cgroup of the container" {
  created 'sleep 100'
  runtime start "$ID"
  run runtime exec "$ID" sh -c 'hostname; cat /proc/self/cgroup | head -n 1; id -u; exit 5'
  [ "$status" -eq 5 ]
  [ "${lines[0]}" = gantry ]
  [[ "${lines[1]}" == *:/ ]]
  run runtime exec --user 1000:1000 --env A=b --cwd /tmp "$ID" sh -c 'echo $(id -u):$(id -g) $A $PWD'
  [ "$output" = "1000:1000 b /tmp" ]
  run runtime exec "$ID" no-such-program
  [ "$status" -eq 255 ]
  [[ "$output" == *"executable file not found in \$PATH"* ]]
}

@test "a paused container does not run, and exec into it needs --ignore-paused" {
  created 'sleep 100'
  runtime start "$ID"
  runtime pause "$ID"
  [ "$(status_of)" = paused ]
  run runtime exec "$ID" true
  [ "$status" -ne 0 ]
  runtime resume "$ID"
  [ "$(status_of)" = running ]
}

@test "hooks run in their order with the state on standard input" {
  cat >"$OCI/hook" <<H
#!/bin/sh
cat >>"$OCI/states"; echo "\$1" >>"$OCI/order"
H
  chmod +x "$OCI/hook"
  config "
h = lambda kind: [{'path': '$OCI/hook', 'args': ['hook', kind]}]
c['hooks'] = {'prestart': h('prestart'), 'createRuntime': h('createRuntime'), 'createContainer': h('createContainer'), 'poststart': h('poststart'), 'poststop': h('poststop')}"
  in_container true
  [ "$status" -eq 0 ]
  [ "$(cat "$OCI/order" | tr '\n' ' ')" = "prestart createRuntime createContainer poststart poststop " ]
  [ "$(grep -o "\"id\":\"$ID\"" "$OCI/states" | wc -l)" -eq 5 ]
}

@test "a failing hook stops the creation and leaves nothing" {
  config "c['hooks']={'createRuntime':[{'path':'/bin/false'}]}"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *"hooks.createRuntime[0] /bin/false: exit status 1"* ]]
  nothing_left
}

@test "a hook that hangs is ended by its timeout" {
  config "c['hooks']={'prestart':[{'path':'/bin/sleep','args':['sleep','100'],'timeout':1}]}"
  in_container true
  [ "$status" -eq 1 ]
  nothing_left
}

@test "state, create, start, kill and delete without an id are errors of one line" {
  local verb
  for verb in state create start kill delete; do
    run runtime $verb
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == *"container id is required"* ]]
  done
}

@test "create without a bundle is an error where the directory is none" {
  mkdir "$OCI/empty"
  run bash -c 'cd "$1" && shift && exec "$@"' - "$OCI/empty" "$RUNTIME" --root "$OCI/root" create "$ID"
  [ "$status" -eq 1 ]
  [[ "$output" == *config.json* ]]
  run runtime create --bundle /no/such/bundle "$ID"
  [ "$status" -eq 1 ]
  [[ "$output" == *"--bundle: /no/such/bundle"* ]]
  nothing_left
}

@test "create makes all resources of the container before its program is started" {
  config "c['hostname']='made-by-create'; c['linux']['resources']['pids']={'limit':44}; c['mounts'].append({'destination':'/tmp','source':'tmpfs','type':'tmpfs'})"
  created 'exec sleep 100'
  local pid n; pid=$(cat "$OCI/pid")
  [ "$(status_of)" = created ]
  for n in pid net ipc uts mnt cgroup; do [ "$(readlink "/proc/$pid/ns/$n")" != "$(readlink /proc/self/ns/$n)" ]; done
  [ "$(nsenter -t "$pid" -u hostname)" = made-by-create ]
  grep -q " /tmp tmpfs " "/proc/$pid/mounts"
  [ "$(group_of pids pids.max pids.max)" = 44 ]
  [ "$(readlink "/proc/$pid/root")" = / ]
  [ -e "/proc/$pid/root/bin/busybox" ]
}

@test "start runs the program and the status is running" {
  config "c['root']['readonly']=False"
  created 'echo ran >/tmp/ran; exec sleep 100'
  runtime start "$ID"
  [ "$(status_of)" = running ]
  until_true test -e "$BUNDLE/rootfs/tmp/ran"
}

@test "a container whose program ends by itself is stopped, and start, kill and pause of it are errors" {
  created 'exit 3'
  runtime start "$ID"
  until_true is_status stopped
  local verb
  for verb in start kill pause resume; do
    run runtime $verb "$ID"
    [ "$status" -ne 0 ]
    [ "$(status_of)" = stopped ]
  done
  runtime delete "$ID"
  nothing_left
}

@test "the required properties are in the state at every status, and its pid while there is a process" {
  look() {
    runtime state "$ID" | /usr/bin/python3 -c '
import json, sys
s = json.load(sys.stdin); status, ident, bundle, pid = sys.argv[1:]
assert s["status"] == status and s["id"] == ident and s["bundle"] == bundle and s["ociVersion"] == "1.3.0", s
assert status == "stopped" or s["pid"] == int(pid), s
assert "annotations" not in s or s["annotations"] == {}, s
' "$1" "$ID" "$BUNDLE" "$(cat "$OCI/pid")"
  }
  created 'exec sleep 100'
  look created
  runtime start "$ID"; look running
  runtime pause "$ID"; look paused
  runtime resume "$ID"; look running
  runtime kill "$ID" KILL; until_true is_status stopped; look stopped
}

@test "an id that has been deleted is unknown to every operation" {
  created 'exec sleep 100'
  runtime delete --force "$ID"
  local verb
  for verb in state start kill delete; do
    run runtime $verb "$ID"
    [ "$status" -eq 1 ]
    [[ "$output" == *"does not exist"* ]]
  done
}
