#!/usr/bin/env bats
# runtime.md: the life of a container, its state, its operations, its hooks; one test a demand.

load helper

setup() { oci_setup; }
teardown() { oci_teardown; }

field() { runtime state "$ID" | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin).get(sys.argv[1],""))' "$1"; }

hook_that_appends() { # NAME: a hook that writes its first argument, its state's status, and its place
  cat >"$OCI/hook" <<H
#!/bin/sh
state=\$(cat)
printf '%s %s %s\n' "\$1" "\$(echo "\$state" | sed 's/.*"status":"\([a-z]*\)".*/\1/')" "\$(readlink /proc/self/ns/\${2:-mnt})" >>"$OCI/order"
H
  chmod +x "$OCI/hook"
}

@test "ociVersion of the state is the version of the specification that is complied with" {
  created 'sleep 100'
  [[ "$(field ociVersion)" =~ ^1\.[0-9]+\.[0-9]+ ]]
}

@test "pid of the state is the process as the runtime's pid namespace sees it" {
  created 'sleep 100'
  [ "$(field pid)" = "$(cat "$OCI/pid")" ]
  grep -q "NSpid:.*[[:space:]]1$" "/proc/$(field pid)/status"
}

@test "bundle of the state is an absolute path" {
  cd "$BUNDLE"
  config "c['process']['args']=['sleep','100']"
  runtime create --bundle . "$ID" </dev/null >/dev/null 2>&1
  [ "$(field bundle)" = "$BUNDLE" ]
}

@test "annotations of the configuration are in the state" {
  config "c['annotations']={'com.example.key':'value'}"
  created 'sleep 100'
  runtime state "$ID" | grep -q '"com.example.key": "value"'
}

@test "the status is created, running, stopped, in this order" {
  created 'sleep 100'
  [ "$(field status)" = created ]
  runtime start "$ID"
  [ "$(field status)" = running ]
  runtime kill "$ID" KILL
  until_true is_status stopped
}

@test "create without an id is an error" {
  run runtime create --bundle "$BUNDLE"
  [ "$status" -ne 0 ]
}

@test "create of a bundle without config.json is an error and makes nothing" {
  mkdir "$OCI/empty"
  run runtime create --bundle "$OCI/empty" "$ID"
  [ "$status" -ne 0 ]
  nothing_left
}

@test "changes of config.json after create have no effect on the container" {
  config "c['root']['readonly']=False"
  created 'echo first >/tmp/which; sleep 100'
  config "c['process']['args']=['/bin/sh','-c','echo second >/tmp/which; sleep 100']"
  runtime start "$ID"
  until_true test -s "$BUNDLE/rootfs/tmp/which"
  [ "$(cat "$BUNDLE/rootfs/tmp/which")" = first ]
}

@test "the program that was asked for does not run before start" {
  config "c['root']['readonly']=False"
  created 'echo ran >/tmp/ran'
  [ ! -e "$BUNDLE/rootfs/tmp/ran" ]
}

@test "start of a running or of a stopped container is an error and changes nothing" {
  created 'sleep 100'
  runtime start "$ID"
  run runtime start "$ID"
  [ "$status" -ne 0 ]
  [ "$(field status)" = running ]
  runtime kill "$ID" KILL
  until_true is_status stopped
  run runtime start "$ID"
  [ "$status" -ne 0 ]
  [ "$(field status)" = stopped ]
}

@test "start without process is an error" {
  config "del c['process']"
  run runtime run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -ne 0 ]
  nothing_left
}

@test "kill of a created container sends the signal" {
  created 'sleep 100'
  runtime kill "$ID" KILL
  until_true is_status stopped
}

@test "kill of a stopped container is an error" {
  created 'sleep 100'
  runtime start "$ID"
  runtime kill "$ID" KILL
  until_true is_status stopped
  run runtime kill "$ID" TERM
  [ "$status" -ne 0 ]
}

@test "kill of an unknown signal is an error and sends nothing" {
  created 'sleep 100'
  runtime start "$ID"
  run runtime kill "$ID" NOTASIGNAL
  [ "$status" -ne 0 ]
  [ "$(field status)" = running ]
}

@test "kill takes names with and without SIG, in either case, and numbers" {
  config "c['root']['readonly']=False"
  created 'trap "echo got >>/tmp/got" USR1; echo up >/tmp/up; while :; do sleep 0.02; done'
  runtime start "$ID"
  until_true test -e "$BUNDLE/rootfs/tmp/up"
  local count=0 name
  for name in SIGUSR1 USR1 10 sigusr1 usr1; do
    count=$((count + 1))
    runtime kill "$ID" $name
    got() { [ "$(wc -l <"$BUNDLE/rootfs/tmp/got" 2>/dev/null || echo 0)" -ge $count ]; }
    until_true got
  done
}

@test "delete of a container that is not stopped is an error and leaves it as it is" {
  created 'sleep 100'
  runtime start "$ID"
  run runtime delete "$ID"
  [ "$status" -ne 0 ]
  [ "$(field status)" = running ]
}

@test "delete removes what create made, and only that" {
  mkdir "$OCI/outside"; touch "$OCI/outside/file"
  config "c['mounts'].append({'destination':'/outside','source':'$OCI/outside','type':'bind','options':['rbind']})"
  mkdir "$BUNDLE/rootfs/outside"
  created 'sleep 100'
  runtime kill "$ID" KILL
  until_true is_status stopped
  runtime delete "$ID"
  nothing_left
  [ -e "$OCI/outside/file" ]
  [ -e "$BUNDLE/rootfs/bin/busybox" ]
}

@test "after delete the id can be used again" {
  created 'sleep 100'
  runtime delete --force "$ID"
  created 'sleep 100'
  [ "$(field status)" = created ]
}

@test "an operation on a container that does not exist is an error of one line" {
  for verb in state start kill delete pause resume ps events update exec; do
    run runtime $verb no-such-container true
    [ "$status" -ne 0 ]
    [ "${#lines[@]}" -eq 1 ]
  done
}

@test "ids that are empty, paths or too long are refused" {
  local id
  for id in "" . .. a/b ../x "$(printf 'x%.0s' $(seq 2000))" "a b"; do
    run runtime create --bundle "$BUNDLE" "$id" </dev/null
    [ "$status" -ne 0 ]
  done
}

@test "hooks run in the order prestart, createRuntime, createContainer, startContainer, poststart, poststop" {
  hook_that_appends
  mkdir -p "$BUNDLE/rootfs/hook" "$BUNDLE/rootfs$OCI"
  config "
h = lambda kind: [{'path': '$OCI/hook', 'args': ['hook', kind]}]
c['root']['readonly']=False
c['hooks'] = {k: h(k) for k in ('prestart','createRuntime','createContainer','poststart','poststop')}
c['hooks']['startContainer']=[{'path':'/bin/sh','args':['sh','-c','cat >/tmp/start']}]"
  in_container 'cat /tmp/start | grep -c created'
  [ "$output" = 1 ]
  [ "$(cut -d' ' -f1 "$OCI/order" | tr '\n' ' ')" = "prestart createRuntime createContainer poststart poststop " ]
  [ "$(cut -d' ' -f2 "$OCI/order" | tr '\n' ' ')" = "creating creating creating running stopped " ]
}

@test "prestart and createRuntime run in the runtime's namespaces, createContainer in the container's" {
  hook_that_appends
  config "
h = lambda kind: [{'path': '$OCI/hook', 'args': ['hook', kind, 'mnt']}]
c['hooks'] = {k: h(k) for k in ('prestart','createRuntime','createContainer','poststart','poststop')}"
  in_container true
  local mine; mine=$(readlink /proc/self/ns/mnt)
  for kind in prestart createRuntime poststart poststop; do
    [ "$(awk -v k=$kind '$1==k{print $3}' "$OCI/order")" = "$mine" ]
  done
  [ "$(awk '$1=="createContainer"{print $3}' "$OCI/order")" != "$mine" ]
}

@test "entries of a hook run in the order of the array, with their args and env" {
  cat >"$OCI/hook" <<H
#!/bin/sh
cat >/dev/null; echo "\$0 \$1 \$WHICH" >>"$OCI/order"
H
  chmod +x "$OCI/hook"
  config "c['hooks']={'createRuntime':[{'path':'$OCI/hook','args':['x',str(n)],'env':['WHICH=e%d'%n]} for n in (1,2,3)]}"
  in_container true
  [ "$(awk '{print $2 $3}' "$OCI/order" | tr '\n' ' ')" = "1e1 2e2 3e3 " ]
}

@test "a failing prestart, createRuntime, createContainer or startContainer hook stops and destroys the container" {
  for kind in prestart createRuntime createContainer startContainer; do
    config "c['hooks']={'$kind':[{'path':'/bin/false'}]}; c['root']['readonly']=False"
    rm -f "$BUNDLE/rootfs/tmp/ran"
    in_container 'touch /tmp/ran'
    [ "$status" -eq 1 ]
    [[ "$output" == *"hooks.${kind}[0]"* ]]
    [ ! -e "$BUNDLE/rootfs/tmp/ran" ]
    nothing_left
  done
}

@test "a failing poststop hook is logged, the ones after it and the lifecycle go on" {
  hook_that_appends
  config "c['hooks']={'poststop':[{'path':'/bin/false'},{'path':'$OCI/hook','args':['hook','after']}]}"
  config "c['process']['args']=['/bin/sh','-c','exit 4']"
  run runtime --log "$OCI/log" run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 4 ]
  grep -q 'hooks.poststop\[0\] /bin/false: exit status 1' "$OCI/log"
  [ "$(cut -d' ' -f1 "$OCI/order")" = after ]
  nothing_left
}

@test "a failing poststart hook is an error that stops and destroys the container" {
  hook_that_appends
  config "c['hooks']={'poststart':[{'path':'/bin/false'}],'poststop':[{'path':'$OCI/hook','args':['hook','stopped']}]}"
  in_container 'exec sleep 100'
  [ "$status" -eq 1 ]
  [[ "$output" == *"hooks.poststart[0] /bin/false: exit status 1"* ]]
  nothing_left
  created 'exec sleep 100'
  local pid; pid=$(cat "$OCI/pid")
  run runtime start "$ID"
  [ "$status" -eq 1 ]
  [[ "$output" == *"hooks.poststart[0]"* ]]
  until_true eval "! grep -qs '^State:.[^Z]' /proc/$pid/status"
  nothing_left
  [ "$(wc -l <"$OCI/order")" -eq 2 ]
}

@test "a failing startContainer hook destroys the container that was created before" {
  config "c['hooks']={'startContainer':[{'path':'/bin/false'}]}; c['root']['readonly']=False"
  created 'echo ran >/tmp/ran'
  run runtime start "$ID"
  [ "$status" -eq 1 ]
  [[ "$output" == *"hooks.startContainer[0] /bin/false: exit status 1"* ]]
  [ ! -e "$BUNDLE/rootfs/tmp/ran" ]
  run runtime state "$ID"
  [[ "$output" == *"does not exist"* ]]
  nothing_left
}

@test "poststop hooks run after a hook of the creation has failed, in the runtime's namespaces" {
  hook_that_appends
  local kind
  for kind in prestart createRuntime createContainer; do
    rm -f "$OCI/order"
    config "c['hooks']={'$kind':[{'path':'/bin/false'}],'poststop':[{'path':'$OCI/hook','args':['hook','poststop']}]}"
    in_container true
    [ "$status" -eq 1 ]
    [ "$(cat "$OCI/order")" = "poststop stopped $(readlink /proc/self/ns/mnt)" ]
    nothing_left
  done
}

@test "features: what it says it can do is of the specification's words, and complete" {
  run "$RUNTIME" features
  [ "$status" -eq 0 ]
  echo "$output" | /usr/bin/python3 -c '
import json, sys
f = json.load(sys.stdin)
l = f["linux"]
assert f["ociVersionMin"] == "1.0.0" and f["ociVersionMax"].startswith("1."), f
assert f["hooks"] == ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"], f["hooks"]
assert sorted(l["namespaces"]) == ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"], l
assert "SCMP_ACT_NOTIFY" in l["seccomp"]["actions"] and "SCMP_ARCH_X86_64" in l["seccomp"]["archs"], l
assert set(l["seccomp"]["supportedFlags"]) <= set(l["seccomp"]["knownFlags"]), l
assert "SECCOMP_FILTER_FLAG_LOG" in l["seccomp"]["supportedFlags"], l
assert {"rro", "ridmap", "tmpcopyup", "rslave"} <= set(f["mountOptions"]), f["mountOptions"]
assert l["mountExtensions"]["idmap"]["enabled"] and l["netDevices"]["enabled"], l
assert "CAP_CHECKPOINT_RESTORE" in l["capabilities"], l
'
}

@test "--systemd-cgroup where systemd is not there says so" {
  [ ! -S /run/systemd/private ] || skip "systemd is there"
  run runtime --systemd-cgroup run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 1 ]
  [[ "$output" == *"--systemd-cgroup: systemd cannot be reached: connect to /run/systemd/private: no such file or directory"* ]]
  nothing_left
}

@test "the program is static, and less than 2 MiB without its symbols" {
  command -v strip >/dev/null || skip "there is no strip"
  [[ $GANTRY_BUILD == */release ]] || skip "only a release build is small"
  [ "$(readelf -lW "$RUNTIME" | grep -c INTERP)" -eq 0 ]
  strip -o "$OCI/stripped" "$RUNTIME"
  [ "$(stat -c %s "$OCI/stripped")" -lt 2097152 ]
}
