#!/usr/bin/env bats
# checkpoint and restore, through CRIU where `criu check` passes.

load helper

setup() { oci_setup; }
teardown() { oci_teardown; }

needs_criu() {
  command -v criu >/dev/null || skip "there is no criu"
  criu check >/dev/null 2>&1 || skip "criu check fails on this kernel"
}

# counting: a detached container that counts in memory and writes each number to a pipe, and so to $OCI/out.
counting() { # [JSON of further changes]
  [ -z "${1:-}" ] || config "$1"
  config "c['process']['args']=['/bin/sh','-c','i=0; while :; do i=\$((i+1)); echo \$i; sleep 0.1; done']"
  runtime run --detach --bundle "$BUNDLE" --pid-file "$OCI/pid" "$ID" </dev/null > >(exec cat >"$OCI/out") 2>&1
  until_true counted 3
}
counted() { [ -s "$OCI/out" ] && [ "$(tail -n 1 "$OCI/out")" -ge "$1" ]; }
restored() { # [OPTIONS…]: its output goes to $OCI/out2
  runtime restore --detach --bundle "$BUNDLE" --image-path "$OCI/images" --pid-file "$OCI/pid2" "$@" "$ID" \
    </dev/null > >(exec cat >"$OCI/out2") 2>&1
}
goes_on() { [ -s "$OCI/out2" ] && [ "$(tail -n 1 "$OCI/out2")" -gt "$1" ]; }
log_on_failure() { tail -n 15 "$OCI"/images/*.log >&2 2>/dev/null; }

@test "a checkpoint without criu is unsupported, and says what is missing" {
  counting
  PATH=/nowhere run runtime checkpoint --image-path "$OCI/images" "$ID"
  [ "$status" -eq 1 ]
  [ "$output" = "gantry-runtime: checkpoint: criu is not installed (there is none in PATH)" ]
  [ "$(status_of)" = running ]
}

@test "a restore without criu is unsupported, and leaves nothing behind" {
  mkdir "$OCI/images"
  echo '["","",""]' >"$OCI/images/descriptors.json"
  PATH=/nowhere run runtime restore --bundle "$BUNDLE" --image-path "$OCI/images" "$ID"
  [ "$status" -eq 1 ]
  [ "$output" = "gantry-runtime: restore: criu is not installed (there is none in PATH)" ]
  nothing_left
}

@test "where criu check fails, a checkpoint says what criu says" {
  command -v criu >/dev/null || skip "there is no criu"
  ! criu check >/dev/null 2>&1 || skip "criu check passes on this kernel"
  counting
  run runtime checkpoint --image-path "$OCI/images" "$ID"
  [ "$status" -eq 1 ]
  [[ $output == "gantry-runtime: checkpoint: criu check: "?* ]]
  [ "${#lines[@]}" -eq 1 ]
  [ "$(status_of)" = running ]
}

@test "a container that is only created cannot be checkpointed" {
  created true
  run runtime checkpoint --image-path "$OCI/images" "$ID"
  [ "$status" -eq 1 ]
  [ "$output" = "gantry-runtime: checkpoint: cannot checkpoint a created container" ]
}

@test "a restore needs images" {
  run runtime restore --bundle "$BUNDLE" --image-path "$OCI/nowhere" "$ID"
  [ "$status" -eq 1 ]
  [[ $output == "gantry-runtime: restore: --image-path: open $OCI/nowhere: no such file or directory" ]]
  nothing_left
}

@test "a cgroup mode that is none is named" {
  counting
  run runtime checkpoint --image-path "$OCI/images" --manage-cgroups-mode odd "$ID"
  [ "$status" -eq 1 ]
  [[ $output == *'--manage-cgroups-mode: "odd" is not soft, full, strict or ignore' ]]
}

# asked TYPE: the criu_opts of the request of that type (1 dump, 2 restore, 4 pre-dump) that the imitation of criu got, as
# "FIELD=VALUE", for fields that are not descriptors or paths of the test's own.
imitation() {
  mkdir -p "$OCI/bin"
  cp "$OCI_REPOSITORY/tests/lib/fake_criu.py" "$OCI/bin/criu"
  export FAKE_CRIU=$OCI/asked
}
asked() { cat "$OCI/asked.$1"; }

@test "every option of checkpoint arrives at criu, and none that was not given" {
  imitation
  counting "c['annotations']={'org.criu.config':'/etc/passwd'}"
  PATH=$OCI/bin:$PATH runtime checkpoint --image-path "$OCI/images" --leave-running "$ID"
  local plain; plain=$(asked 1)
  [[ " $plain " == *" 3=1 "* && " $plain " == *" 34=3 "* ]]
  local field
  for field in 4 5 7 8 14 15 16 18 38 46; do [[ " $plain " != *" $field="* ]]; done
  # What a container says of itself does not choose criu's configuration.
  [[ $plain != */etc/passwd* && " $plain " == *" 51=/etc/criu/"* ]]
  PATH=$OCI/bin:$PATH runtime checkpoint --image-path "$OCI/images" --leave-running --tcp-established --tcp-skip-in-flight \
    --ext-unix-sk --shell-job --file-locks --link-remap --auto-dedup --manage-cgroups-mode ignore --empty-ns network \
    --parent-path ../before "$ID"
  local full; full=$(asked 1)
  for field in 3=1 4=1 5=1 7=1 8=1 14=../before 15=1 16=1 18=1 34=0 38=1073741824 46=1; do
    [[ " $full " == *" $field "* ]]
  done
  [ "$(status_of)" = running ]
}

@test "every option of restore arrives at criu" {
  imitation
  mkdir "$OCI/images"
  echo '["","",""]' >"$OCI/images/descriptors.json"
  PATH=$OCI/bin:$PATH run runtime restore --bundle "$BUNDLE" --image-path "$OCI/images" --tcp-established --ext-unix-sk \
    --shell-job --file-locks --link-remap --auto-dedup --manage-cgroups-mode strict --empty-ns network \
    --lsm-profile apparmor:other "$ID"
  [ "$status" -eq 1 ]
  [ "$output" = "gantry-runtime: restore: criu: an imitation restores nothing" ]
  local field full; full=$(asked 2)
  for field in 4=1 5=1 6=1 7=1 8=1 16=1 18=1 26=1 34=5 38=1073741824 53=apparmor:other; do
    [[ " $full " == *" $field "* ]]
  done
  nothing_left
}

@test "a restore that fails after its hooks have run is followed by poststop, and leaves nothing" {
  imitation
  mkdir "$OCI/images"
  echo '["","",""]' >"$OCI/images/descriptors.json"
  config "c['hooks']={'createRuntime':[{'path':'/bin/sh','args':['sh','-c','echo createRuntime >>$OCI/hooks']}],
'poststop':[{'path':'/bin/sh','args':['sh','-c','echo poststop >>$OCI/hooks']}]}"
  PATH=$OCI/bin:$PATH run runtime restore --bundle "$BUNDLE" --image-path "$OCI/images" "$ID"
  [ "$status" -eq 1 ]
  [ "$(xargs <"$OCI/hooks")" = "createRuntime poststop" ]
  nothing_left
}

@test "a container goes on where it was dumped, and the dump has ended it" {
  needs_criu
  counting
  runtime checkpoint --image-path "$OCI/images" "$ID" || { log_on_failure; false; }
  run runtime state "$ID"
  [ "$status" -eq 1 ]
  nothing_left
  local last
  last=$(tail -n 1 "$OCI/out")
  restored || { log_on_failure; cat "$OCI/out2"; false; }
  [ "$(status_of)" = running ]
  until_true goes_on "$last"
  [ "$(head -n 1 "$OCI/out2")" -le $((last + 2)) ]
}

@test "a restored container is isolated, limited and entered as it was" {
  needs_criu
  counting "c['linux']['resources']={'pids':{'limit':20},'devices':[{'allow':False,'access':'rwm'}]}
c['linux']['maskedPaths']=['/proc/kcore','/proc/acpi']; c['linux']['readonlyPaths']=['/proc/sys']
c['hostname']='restored'"
  runtime checkpoint --image-path "$OCI/images" "$ID" || { log_on_failure; false; }
  restored || { log_on_failure; cat "$OCI/out2"; false; }
  cp "$OCI/pid2" "$OCI/pid"
  run runtime exec "$ID" hostname
  echo "$output"
  [ "$output" = restored ]
  run runtime exec "$ID" sh -c 'echo 1 >/proc/sys/kernel/hostname'
  [ "$status" -ne 0 ]
  run runtime exec "$ID" head -c 1 /proc/kcore
  [ "$output" = "" ]
  [ "$(group_of pids pids.max pids.max)" = 20 ]
  run runtime ps --format json "$ID"
  [[ $output == *"$(cat "$OCI/pid2")"* ]]
  for namespace in pid mnt uts ipc net; do
    [ "$(readlink "/proc/$(cat "$OCI/pid2")/ns/$namespace")" != "$(readlink /proc/self/ns/$namespace)" ]
  done
  runtime kill "$ID" KILL
  until_true is_status stopped
  runtime delete "$ID"
  nothing_left
}

@test "--leave-running and --pre-dump leave the container running" {
  needs_criu
  counting
  runtime checkpoint --pre-dump --image-path "$OCI/before" "$ID" || { log_on_failure; false; }
  [ "$(status_of)" = running ]
  runtime checkpoint --leave-running --image-path "$OCI/images" --parent-path ../before "$ID" || { log_on_failure; false; }
  [ "$(status_of)" = running ]
  local last
  last=$(tail -n 1 "$OCI/out")
  until_true counted $((last + 2))
  runtime delete --force "$ID"
  restored || { log_on_failure; false; }
  until_true goes_on "$last"
}

@test "bind mounts are where they were" {
  needs_criu
  mkdir "$OCI/data"
  echo before >"$OCI/data/file"
  counting "c['mounts'].append({'destination':'/data','type':'bind','source':'$OCI/data','options':['rbind','ro']})"
  runtime checkpoint --image-path "$OCI/images" "$ID" || { log_on_failure; false; }
  echo after >"$OCI/data/file"
  restored || { log_on_failure; false; }
  run runtime exec "$ID" cat /data/file
  echo "$output"
  [ "$output" = after ]
  run runtime exec "$ID" touch /data/new
  [ "$status" -ne 0 ]
}

@test "a network namespace by path is left alone, and joined again" {
  needs_criu
  touch "$OCI/net"
  unshare --net="$OCI/net" ip link add name kept type bridge
  counting "c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='network']+[{'type':'network','path':'$OCI/net'}]"
  runtime checkpoint --image-path "$OCI/images" "$ID" || { log_on_failure; false; }
  restored || { log_on_failure; false; }
  run runtime exec "$ID" ls /sys/class/net
  local inside=$output
  [ "$(stat -Lc %i "/proc/$(cat "$OCI/pid2")/ns/net")" = "$(stat -Lc %i "$OCI/net")" ]
  runtime delete --force "$ID"
  umount "$OCI/net"
  [[ $inside == *kept* ]]
}

@test "output goes on to the same file" {
  needs_criu
  config "c['process']['args']=['/bin/sh','-c','i=0; while :; do i=\$((i+1)); echo \$i; sleep 0.1; done']"
  runtime run --detach --bundle "$BUNDLE" "$ID" </dev/null >>"$OCI/out" 2>&1
  until_true counted 3
  runtime checkpoint --image-path "$OCI/images" "$ID" || { log_on_failure; false; }
  local last
  last=$(tail -n 1 "$OCI/out")
  runtime restore --detach --bundle "$BUNDLE" --image-path "$OCI/images" "$ID" </dev/null >>"$OCI/out" 2>&1
  until_true counted $((last + 2))
  runtime delete --force "$ID"
  # Every number once, in order.
  cmp "$OCI/out" <(seq 1 "$(tail -n 1 "$OCI/out")")
}

@test "a terminal goes to the console socket again" {
  needs_criu
  config "c['process']['terminal']=True"
  config "c['process']['args']=['/bin/sh','-c','i=0; while read -r line; do i=\$((i+1)); echo \"\$i:\$line\"; done']"
  mkfifo "$OCI/typed"
  /usr/bin/python3 "$OCI_REPOSITORY/tests/lib/console.py" "$OCI/console" "$OCI/typed" "$OCI/out" &
  HELPER=$!
  until_true test -S "$OCI/console"
  runtime run --detach --console-socket "$OCI/console" --bundle "$BUNDLE" "$ID"
  echo one >"$OCI/typed"
  until_true grep -q 1:one "$OCI/out"
  runtime checkpoint --image-path "$OCI/images" "$ID" || { log_on_failure; false; }
  wait "$HELPER"
  rm "$OCI/console"
  /usr/bin/python3 "$OCI_REPOSITORY/tests/lib/console.py" "$OCI/console" "$OCI/typed" "$OCI/out2" &
  HELPER=$!
  until_true test -S "$OCI/console"
  runtime restore --detach --console-socket "$OCI/console" --image-path "$OCI/images" --bundle "$BUNDLE" "$ID" \
    || { log_on_failure; false; }
  echo two >"$OCI/typed"
  until_true grep -q 2:two "$OCI/out2"
}

@test "a failing dump names criu's reason, and the container goes on" {
  needs_criu
  # A descriptor that leads outside, and that nobody declared.
  config "c['process']['args']=['/bin/sh','-c','while :; do sleep 0.1; done']"
  /usr/bin/python3 -IS - "$RUNTIME" "$OCI/root" "$BUNDLE" "$ID" <<'PY'
import os, socket, sys
ours, theirs = socket.socketpair()
os.dup2(theirs.fileno(), 3)
null = os.open('/dev/null', os.O_RDWR)
for fd in 0, 1, 2: os.dup2(null, fd)
os.execv(sys.argv[1], [sys.argv[1], '--root', sys.argv[2], 'run', '--detach', '--preserve-fds', '1', '--bundle', sys.argv[3], sys.argv[4]])
PY
  run runtime checkpoint --image-path "$OCI/images" "$ID"
  [ "$status" -eq 1 ]
  [[ $output == "gantry-runtime: checkpoint: criu: "*"(see $OCI/images/dump.log)" ]]
  [ "${#lines[@]}" -eq 1 ]
  [ "$(status_of)" = running ]
}

@test "a failing restore leaves nothing behind" {
  needs_criu
  counting
  runtime checkpoint --image-path "$OCI/images" "$ID" || { log_on_failure; false; }
  rm "$OCI"/images/core-*.img
  run runtime restore --detach --bundle "$BUNDLE" --image-path "$OCI/images" "$ID"
  [ "$status" -eq 1 ]
  [[ $output == "gantry-runtime: restore: criu: "*"(see $OCI/images/restore.log)" ]]
  nothing_left
}
