#!/usr/bin/env bats
# config.md, "POSIX-platform Hooks": when each kind runs, where, with what, and what its failure means.

load helper

setup() { oci_setup; }
teardown() { oci_teardown; }

readonly CREATION="prestart createRuntime createContainer"
readonly KINDS="$CREATION startContainer poststart poststop"

# hook_script: $OCI/hook KIND runs the shell code on standard input, with the state in $state and $pid. The root file
# system has it as well, under the same path; $OCI/from-container is a directory of both.
hook_script() {
  { echo '#!/bin/sh'
    echo 'state=$(cat); pid=$(echo "$state" | sed "s/.*\"pid\":\([0-9]*\).*/\1/")'
    cat; } >"$OCI/hook"
  chmod +x "$OCI/hook"
  mkdir -p "$OCI/out.d" "$BUNDLE/rootfs$OCI/out.d"
  [ -e "$BUNDLE/rootfs/bin/sed" ] || ln -s busybox "$BUNDLE/rootfs/bin/sed"
  cp "$OCI/hook" "$BUNDLE/rootfs$OCI/hook"
  config "c['mounts'].append({'destination':'$OCI/out.d','source':'$OCI/out.d','type':'bind','options':['bind']})"
}

hooks() { # KIND…: each is $OCI/hook
  config "c['hooks']={k:[{'path':'$OCI/hook','args':['hook',k],'env':['PATH=/usr/sbin:/usr/bin:/sbin:/bin']}] for k in '$*'.split()}"
}

lines_of() { tr '\n' ' ' <"$OCI/out.d/$1"; }

@test "prestart, createRuntime and createContainer hooks are called by create, startContainer and poststart by start, poststop by delete" {
  hook_script <<<"echo \$1 >>$OCI/out.d/order"
  hooks $KINDS
  created 'exec sleep 100'
  [ "$(lines_of order)" = "prestart createRuntime createContainer " ]
  runtime start "$ID"
  [ "$(lines_of order)" = "prestart createRuntime createContainer startContainer poststart " ]
  runtime kill "$ID" KILL
  until_true is_status stopped
  runtime delete "$ID"
  [ "$(lines_of order)" = "prestart createRuntime createContainer startContainer poststart poststop " ]
}

@test "every hook gets the state of the container on standard input" {
  hook_script <<<"echo \"\$state\" >$OCI/out.d/\$1"
  hooks $KINDS
  config "c['annotations']={'com.example.key':'value'}"
  in_container true
  [ "$status" -eq 0 ]
  /usr/bin/python3 - "$OCI/out.d" "$ID" "$BUNDLE" <<'P'
import json, sys
status = dict(prestart='creating', createRuntime='creating', createContainer='creating', startContainer='created',
              poststart='running', poststop='stopped')
for kind, wanted in status.items():
    s = json.load(open(sys.argv[1] + '/' + kind))
    assert s['ociVersion'].startswith('1.') and s['id'] == sys.argv[2] and s['bundle'] == sys.argv[3], (kind, s)
    assert s['status'] == wanted and s['annotations'] == {'com.example.key': 'value'}, (kind, s)
P
}

@test "the state's pid is the runtime's in hooks of the runtime's namespaces, the container's in the others" {
  hook_script <<<"echo \$pid >$OCI/out.d/\$1"
  hooks $KINDS
  created 'exec sleep 100'
  runtime start "$ID"
  local kind pid; pid=$(cat "$OCI/pid")
  for kind in prestart createRuntime poststart; do [ "$(cat "$OCI/out.d/$kind")" = "$pid" ]; done
  for kind in createContainer startContainer; do [ "$(cat "$OCI/out.d/$kind")" = 1 ]; done
}

@test "prestart, createRuntime, poststart and poststop hooks run in the namespaces of the runtime" {
  hook_script <<<"cd /proc/self/ns; for n in pid net ipc uts mnt user cgroup; do readlink \$n; done >$OCI/out.d/\$1"
  hooks prestart createRuntime poststart poststop
  in_container true
  [ "$status" -eq 0 ]
  local kind n wanted=""
  for n in pid net ipc uts mnt user cgroup; do wanted+="$(readlink "/proc/self/ns/$n") "; done
  for kind in prestart createRuntime poststart poststop; do [ "$(lines_of $kind)" = "$wanted" ]; done
}

@test "createContainer and startContainer hooks run in the namespaces of the container" {
  hook_script <<<"cd /proc/self/ns; for n in pid net ipc uts mnt cgroup; do readlink \$n; done >$OCI/out.d/\$1"
  hooks createContainer startContainer
  created 'exec sleep 100'
  runtime start "$ID"
  local kind n wanted=""
  for n in pid net ipc uts mnt cgroup; do wanted+="$(readlink "/proc/$(cat "$OCI/pid")/ns/$n") "; done
  [ "$(lines_of startContainer)" = "$wanted" ]
  [ "$(lines_of createContainer)" = "$wanted" ]
}

@test "the path of a startContainer hook resolves in the container, that of every other one in the runtime's namespace" {
  hook_script <<<"echo \$1 >>$OCI/out.d/order"
  rm "$BUNDLE/rootfs$OCI/hook"
  cat >"$BUNDLE/rootfs/bin/only-inside" <<H
#!/bin/sh
echo startContainer >>$OCI/out.d/order
H
  chmod +x "$BUNDLE/rootfs/bin/only-inside"
  hooks $CREATION poststart poststop
  config "c['hooks']['startContainer']=[{'path':'/bin/only-inside'}]"
  in_container true
  [ "$status" -eq 0 ]
  [ "$(lines_of order)" = "$KINDS " ]
}

@test "hooks of the creation run when the environment is made, and before the root is changed" {
  hook_script <<H
[ \$1 = createContainer ] && pid=self
stat -L -c %d:%i /proc/\$pid/root >$OCI/out.d/\$1
grep -c "$BUNDLE/rootfs/dev/shm " /proc/\$pid/mountinfo >>$OCI/out.d/\$1
H
  hooks $CREATION
  in_container true
  [ "$status" -eq 0 ]
  local kind
  for kind in $CREATION; do [ "$(lines_of $kind)" = "$(stat -c %d:%i /) 1 " ]; done
}

@test "createRuntime hooks find the container's namespaces made, and can fill its network" {
  hook_script <<<"nsenter -t \$pid -n ip addr add 10.98.76.54/32 dev lo"
  hooks createRuntime
  in_container 'grep -c 10.98.76.54 /proc/net/fib_trie'
  [ "$status" -eq 0 ]
  [ "$output" -ge 1 ]
}

@test "startContainer hooks run before the program and poststart hooks after it was executed" {
  hook_script <<<"tr '\\0' ' ' </proc/\$pid/cmdline >$OCI/out.d/\$1"
  hooks startContainer poststart
  created 'exec sleep 123'
  runtime start "$ID"
  [[ "$(lines_of startContainer)" != *"sleep 123"* ]]
  [[ "$(lines_of poststart)" == *"sh -c exec sleep 123"* || "$(lines_of poststart)" == *"sleep 123"* ]]
}

@test "poststop hooks run when the container is gone, and before delete returns" {
  hook_script <<H
ls -d $OCI/root/$ID >>$OCI/out.d/left 2>/dev/null
find /sys/fs/cgroup -type d -name $ID >>$OCI/out.d/left
echo ran >$OCI/out.d/poststop
H
  hooks poststop
  created 'exec sleep 100'
  runtime delete --force "$ID"
  [ "$(lines_of poststop)" = "ran " ]
  [ ! -s "$OCI/out.d/left" ]
}

@test "a hook's path must be absolute and its timeout greater than zero, of every kind" {
  local kind
  for kind in $KINDS; do
    config "c['hooks']={'$kind':[{'path':'/bin/true'},{'path':'bin/true'}]}"
    refused "hooks.${kind}[1].path: \"bin/true\" is not absolute"
    config "c['hooks']={'$kind':[{'path':'/bin/true','timeout':0}]}"
    refused "hooks.${kind}[0].timeout: 0 is not positive"
    config "c['hooks']={'$kind':[{'path':'/bin/true','timeout':-3}]}"
    refused "hooks.${kind}[0].timeout: -3 is not positive"
    config "c['hooks']={'$kind':[{'args':['true']}]}"
    refused "hooks.${kind}[0].path: is required"
  done
}

@test "a hook that is not there or cannot be run is an error that says so" {
  local kind
  for kind in $CREATION startContainer poststart; do
    config "c['hooks']={'$kind':[{'path':'/no/such/hook'}]}"
    refused "hooks.${kind}[0] /no/such/hook: "
  done
}

@test "a hook that hangs is ended when its timeout is over" {
  local kind
  for kind in $CREATION startContainer poststart; do
    config "c['hooks']={'$kind':[{'path':'/bin/sleep','args':['sleep','10000'],'timeout':1}]}; c['process']['args']=['sleep','100']"
    run timeout 60 "$RUNTIME" --root "$OCI/root" run --bundle "$BUNDLE" "$ID" </dev/null
    [ "$status" -eq 1 ]
    [[ "$output" == *"hooks.${kind}[0] /bin/sleep: "* ]] || { echo "$output"; return 1; }
    nothing_left
  done
  [ -z "$(pgrep -f '^sleep 10000$')" ]
}

@test "a poststop hook that hangs is ended when its timeout is over, and delete goes on" {
  config "c['hooks']={'poststop':[{'path':'/bin/sleep','args':['sleep','10000'],'timeout':1}]}"
  created 'exec sleep 100'
  runtime --log "$OCI/log" delete --force "$ID"
  grep -q 'hooks.poststop\[0\] /bin/sleep: ' "$OCI/log"
  nothing_left
}
