#!/usr/bin/env bats
# Attacks on the runtime that other engines fell to. Each test names the flaw it guards against.

load ../conformance/oci/helper

setup() {
  oci_setup
  config "c['root']['readonly']=False"
}
teardown() { oci_teardown; }

@test "CVE-2019-5736: a container cannot write the runtime through /proc/PID/exe" {
  # A copy, in a place that can be written: an attack that works destroys it.
  cp "$RUNTIME" "$OCI/gantry-runtime"
  local RUNTIME=$OCI/gantry-runtime before after
  before=$(sha256sum <"$RUNTIME")
  # What is executed is the runtime itself, as a script's interpreter; opening its log, it waits for the attacker.
  mkfifo "$BUNDLE/rootfs/tmp/log"
  printf '#!/proc/self/exe --log=/tmp/log\n' >"$BUNDLE/rootfs/bin/trap"
  chmod +x "$BUNDLE/rootfs/bin/trap"
  cat >"$BUNDLE/rootfs/bin/attack" <<'SH'
#!/bin/sh
until [ -n "$victim" ]; do
  for p in /proc/[0-9]*; do
    [ "$(busybox tr '\0' ' ' <$p/cmdline 2>/dev/null)" = "/proc/self/exe --log=/tmp/log /bin/trap " ] && victim=$p
  done
done
exec 9<$victim/exe
busybox cat /tmp/log >/dev/null
while [ -d $victim/fd ] && [ -n "$(ls $victim/fd)" ]; do :; done
(echo OWNED >>/proc/self/fd/9) 2>/dev/null && echo WRITTEN || echo HELD
SH
  chmod +x "$BUNDLE/rootfs/bin/attack"
  config "c['root']['readonly']=False; c['process']['capabilities']={k:['CAP_DAC_OVERRIDE','CAP_SYS_PTRACE'] for k in ('bounding','effective','permitted')}"
  created 'exec /bin/attack'
  runtime start "$ID"
  runtime exec "$ID" /bin/trap >/dev/null 2>&1 || true
  until_true grep -qx 'WRITTEN\|HELD' "$OCI/out"
  [ "$(cat "$OCI/out")" = HELD ]
  after=$(sha256sum <"$RUNTIME")
  [ "$after" = "$before" ]
}

@test "CVE-2024-21626: a working directory that is a descriptor is refused, for every number" {
  created 'sleep 100'
  runtime start "$ID"
  for n in 0 3 4 5 6 7 8 9 10 11 12; do
    run runtime exec --cwd "/proc/self/fd/$n" "$ID" true
    [ "$status" -ne 0 ]
    [[ "$output" == *process.cwd* ]]
  done
}

@test "CVE-2025-31133: masked files stay masked when the image's /dev/null is a link" {
  mkdir -p "$BUNDLE/rootfs/dev"; ln -sf /proc/sys/kernel/core_pattern "$BUNDLE/rootfs/dev/null"
  before=$(cat /proc/sys/kernel/core_pattern)
  in_container 'cat /proc/keys | head -c 1; echo evil >/proc/keys; stat -c %t:%T /proc/keys'
  [ "${lines[-1]}" = 1:3 ]
  [ "$(cat /proc/sys/kernel/core_pattern)" = "$before" ]
}

@test "CVE-2025-52565: a console that is not a devpts master is refused" {
  config "c['mounts']=[m for m in c['mounts'] if m['destination']!='/dev/pts']; c['mounts'].append({'destination':'/dev/pts','source':'$OCI/pts','type':'bind','options':['bind']})"
  mkdir "$OCI/pts"; ln -s /proc/self/mem "$OCI/pts/ptmx.real"; mknod "$OCI/pts/ptmx" c 1 3
  config "c['process']['terminal']=True; c['process']['args']=['true']"
  run runtime run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 1 ]
  [[ "$output" == *"process.terminal"* ]]
  nothing_left
}

@test "CVE-2025-52881: sysctls reach the kernel although the image has a /proc of its own" {
  mkdir -p "$BUNDLE/rootfs/proc/sys/net/ipv4"; echo 0 >"$BUNDLE/rootfs/proc/sys/net/ipv4/ip_forward"
  config "c['linux']['sysctl']={'net.ipv4.ip_forward':'1'}"
  in_container 'cat /proc/sys/net/ipv4/ip_forward'
  [ "$output" = 1 ]
  [ "$(cat "$BUNDLE/rootfs/proc/sys/net/ipv4/ip_forward")" = 0 ]
}

@test "an AppArmor profile that cannot be applied stops the start" {
  [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" != Y ] || skip "AppArmor is enabled here"
  config "c['process']['apparmorProfile']='gantry-default'"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *process.apparmorProfile* ]]
}

@test "CVE-2026-41579: /dev as a link out of the image leaves the host alone" {
  mkdir "$OCI/victim"; rmdir "$BUNDLE/rootfs/dev"
  ln -s "../../../../../../../../$OCI/victim" "$BUNDLE/rootfs/dev"
  in_container true
  [ -z "$(ls -A "$OCI/victim")" ]
}

@test "CVE-2024-45310: bind targets are never made on the host" {
  mkdir "$OCI/victim" "$OCI/source"
  ln -s "../../../../../../../../$OCI/victim" "$BUNDLE/rootfs/link"
  ln -s "$OCI/victim" "$BUNDLE/rootfs/absolute"
  config "c['mounts']+=[{'destination':'/link/a/b','source':'$OCI/source','type':'bind','options':['bind']},{'destination':'/absolute/c','source':'$OCI/source','type':'bind','options':['bind']}]"
  in_container true
  [ -z "$(ls -A "$OCI/victim")" ]
}

@test "CVE-2026-30892: exec --user 1 is user 1" {
  created 'sleep 100'
  runtime start "$ID"
  [ "$(runtime exec --user 1 "$ID" id -u)" = 1 ]
}

@test "CVE-2024-40635: ids that overflow are refused and never root" {
  for uid in 4294967296 4294967295999 -1; do
    config "c['process']['user']={'uid':$uid,'gid':0}"
    in_container 'id -u'
    [ "$status" -eq 1 ]
    [[ "$output" == *process.user.uid* ]]
  done
}

@test "CVE-2022-24769: inheritable capabilities are empty, for exec too" {
  in_container 'grep CapInh /proc/self/status'
  [[ "$output" == *0000000000000000 ]]
  created 'sleep 100'
  runtime start "$ID"
  [[ "$(runtime exec "$ID" grep CapInh /proc/self/status)" == *0000000000000000 ]]
}

@test "CVE-2022-36109: the groups are exactly those given" {
  config "c['process']['user']={'uid':1000,'gid':1000,'additionalGids':[7]}"
  in_container 'id -G'
  [ "$output" = "1000 7" ]
}

@test "CVE-2023-25809: the cgroup cannot be written from inside" {
  local pids=pids/pids.max
  ! on_v2 pids || pids=pids.max
  in_container "echo 1 >/sys/fs/cgroup/$pids"
  [ "$status" -ne 0 ]
  [[ "$output" == *"Read-only file system"* ]]
}

@test "CVE-2026-31431: AF_ALG sockets answer EPERM" {
  cat >"$OCI/alg.c" <<'C'
#include <errno.h>
#include <sys/socket.h>
int main(void) { return socket(38, SOCK_SEQPACKET, 0) == -1 ? errno : 0; }
C
  cc -static -o "$BUNDLE/rootfs/bin/alg" "$OCI/alg.c" || skip "no C compiler"
  config "c['process']['args']=['/bin/alg']"
  run runtime run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 1 ]
}
