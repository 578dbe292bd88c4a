#!/usr/bin/env bats
# AppArmor profiles, where the kernel enforces them; and threat 13 (CVE-2026-31431), which needs one.

load helper

docker_rules() { # PROFILE [RULE]: Docker's default profile under that name, with one rule more
  cat <<P
profile $1 flags=(attach_disconnected,mediate_deleted) {
  $2
  network,
  capability,
  file,
  umount,
  signal (receive) peer=unconfined,
  signal (send,receive) peer=$1,
  deny /proc/* w,
  deny /proc/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,
  deny mount,
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
  ptrace (trace,read,tracedby,readby) peer=$1,
}
P
}

setup_file() {
  vm_only
  export PROFILES
  PROFILES=$(mktemp -d)
  cat >"$PROFILES/profiles" <<'P'
profile gantry-vm-first flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, mount, umount, signal, ptrace, unix,
  deny /etc/secret r,
  deny network alg,
}
profile gantry-vm-second flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, signal, ptrace, unix,
  deny /etc/other r,
}
P
  docker_rules gantry-vm-docker >>"$PROFILES/profiles"
  docker_rules gantry-vm-docker-alg 'deny network alg,' >>"$PROFILES/profiles"
  apparmor_parser --add "$PROFILES/profiles"
}

teardown_file() {
  apparmor_parser --remove "$PROFILES/profiles"
  rm -r "$PROFILES"
}

setup() {
  vm_only
  oci_setup
  echo secret >"$BUNDLE/rootfs/etc/secret"
  echo other >"$BUNDLE/rootfs/etc/other"
}
teardown() { oci_teardown; }

under() { config "c['process']['apparmorProfile']='$1'"; } # PROFILE

@test "AppArmor is enabled here" { [ "$(cat /sys/module/apparmor/parameters/enabled)" = Y ]; }

@test "the process runs under its profile, and the profile is enforced" {
  under gantry-vm-first
  in_container 'cat /proc/self/attr/current /etc/other; cat /etc/secret 2>&1'
  [ "${lines[0]}" = "gantry-vm-first (enforce)" ]
  [ "${lines[1]}" = other ]
  [[ "${lines[2]}" == *"/etc/secret': Permission denied" ]]
}

@test "the profile is that of the program, not of the runtime's init before it: it changes on exec" {
  under gantry-vm-first
  created 'cat /proc/1/attr/current'
  [ "$(cat "/proc/$(cat "$OCI/pid")/attr/current")" = unconfined ]
  runtime start "$ID"
  until_true is_status stopped
  [ "$(cat "$OCI/out")" = "gantry-vm-first (enforce)" ]
}

@test "exec takes the container's profile, or the one it is given" {
  under gantry-vm-first
  created 'sleep 100'
  runtime start "$ID"
  [ "$(runtime exec "$ID" cat /proc/self/attr/current)" = "gantry-vm-first (enforce)" ]
  run runtime exec "$ID" cat /etc/secret
  [ "$status" -ne 0 ]
  [ "$(runtime exec --apparmor gantry-vm-second "$ID" cat /proc/self/attr/current)" = "gantry-vm-second (enforce)" ]
  [ "$(runtime exec --apparmor gantry-vm-second "$ID" cat /etc/secret)" = secret ]
  run runtime exec --apparmor gantry-vm-second "$ID" cat /etc/other
  [ "$status" -ne 0 ]
}

@test "without a profile the container is unconfined" {
  in_container 'cat /proc/self/attr/current'
  [ "$output" = unconfined ]
}

@test "a profile that is not loaded stops the start, in one line that names the field, and leaves nothing" {
  under gantry-vm-absent
  in_container 'echo started'
  [ "$status" -eq 1 ]
  [ "${#lines[@]}" -eq 1 ]
  [[ "$output" == *"process.apparmorProfile: gantry-vm-absent: "* ]]
  nothing_left
}

@test "a profile that is not loaded stops an exec, and the container goes on" {
  created 'sleep 100'
  runtime start "$ID"
  run runtime exec --apparmor gantry-vm-absent "$ID" echo started
  [ "$status" -ne 0 ]
  [[ "$output" == *gantry-vm-absent* && "$output" != started ]]
  is_status running
}

# Fails: apply_labels() writes to /proc/self/attr/… by name, where it then is the container's /proc (CVE-2019-16884).
@test "CVE-2025-52881: the profile holds although a volume lies on /proc, for run and exec" {
  mkdir -p "$OCI/proc/self/attr/apparmor"
  : >"$OCI/proc/self/attr/apparmor/exec"
  : >"$OCI/proc/self/attr/exec"
  config "c['mounts'].append({'destination':'/proc','source':'$OCI/proc','type':'bind','options':['bind']})"
  under gantry-vm-first
  created 'cat /etc/secret; echo; exec sleep 100'
  runtime start "$ID"
  until_true grep -q 'Permission denied' "$OCI/out"
  [ "$(cat "/proc/$(cat "$OCI/pid")/attr/current")" = "gantry-vm-first (enforce)" ]
  run runtime exec "$ID" cat /etc/secret
  [ "$status" -ne 0 ]
  [[ "$output" == *"Permission denied" ]]
  run runtime exec --apparmor gantry-vm-second "$ID" cat /etc/secret
  [ "$output" = secret ]
  run runtime exec --apparmor gantry-vm-second "$ID" cat /etc/other
  [[ "$output" == *"Permission denied" ]]
  [ ! -s "$OCI/proc/self/attr/apparmor/exec" ]
  [ ! -s "$OCI/proc/self/attr/exec" ]
}

# --- the default profile ------------------------------------------------------------------------------------

is_loaded() { grep -q "^$1 (enforce)" /sys/kernel/security/apparmor/profiles; }

@test "gantry-default is loaded when the first container asks for it" {
  run is_loaded gantry-default
  [ "$status" -ne 0 ]
  under gantry-default
  in_container 'cat /proc/self/attr/current'
  [ "$output" = "gantry-default (enforce)" ]
  is_loaded gantry-default
  in_container 'echo again'
  [ "$output" = again ]
}

@test "without a parser gantry-default is unsupported, in one line, and leaves nothing" {
  echo -n gantry-default >/sys/kernel/security/apparmor/.remove
  : >"$OCI/no-program"
  mount --bind "$OCI/no-program" /usr/sbin/apparmor_parser
  under gantry-default
  in_container 'echo started'
  local got=$output code=$status
  umount /usr/sbin/apparmor_parser
  [ "$code" -eq 1 ]
  [ "$got" = "gantry-runtime: process.apparmorProfile: there is no apparmor_parser to load gantry-default with" ]
  nothing_left
}

@test "gantry-default denies what no mount and no mask holds back" {
  under gantry-default
  # As good as privileged but for the profile.
  config "c['linux']['maskedPaths']=[]; c['linux']['readonlyPaths']=[]
del c['linux']['seccomp']
caps=['CAP_SYS_ADMIN','CAP_SYS_PTRACE','CAP_NET_ADMIN','CAP_DAC_OVERRIDE','CAP_MKNOD','CAP_SYS_RAWIO','CAP_SETUID','CAP_CHOWN','CAP_KILL']
c['process']['capabilities']={k:caps for k in ('bounding','effective','permitted')}
for m in c['mounts']:
  if m['destination'].startswith('/sys'): m['options']=[o for o in m['options'] if o!='ro']"
  in_container 'mount -t tmpfs none /tmp && echo mounted
echo core >/proc/sys/kernel/core_pattern && echo core_pattern
echo x >/proc/sysrq-trigger && echo sysrq
head -c 1 /proc/kcore >/dev/null && echo kcore
echo 1 >/sys/kernel/mm/ksm/run && echo ksm
ls /sys/kernel/security/apparmor >/dev/null && echo securityfs
echo 100 >/proc/sys/vm/swappiness && echo swappiness
echo done'
  [ "${lines[-1]}" = done ]
  local word
  for word in mounted core_pattern sysrq kcore ksm securityfs swappiness; do
    ! grep -qx "$word" <<<"$output" || { echo "$output" && false; }
  done
  [ "$(grep -c 'Permission denied$' <<<"$output")" -eq 6 ]
}

@test "gantry-default lets a container do its work: files, sockets, signals, what is namespaced" {
  under gantry-default
  config "c['root']['readonly']=False"
  in_container 'set -e
echo x >/root/file; mkdir /root/d; mv /root/file /root/d; rm -r /root/d
sleep 100 & kill $!
wait $! || test $? -eq 143
echo 1 >/proc/self/oom_score_adj
cat /proc/1/status /proc/self/maps >/dev/null
echo works'
  [ "${lines[-1]}" = works ] || { echo "$output" && false; }
}

@test "gantry-default lets the host stop the container" {
  under gantry-default
  created 'trap "exit 7" TERM; echo ready; while :; do sleep 0.1; done'
  runtime start "$ID"
  until_true grep -q ready "$OCI/out"
  runtime kill "$ID" TERM
  until_true is_status stopped
}

# --- CVE-2026-31431 --------------------------------------------------------------------------------------

# /bin/family CALL NUMBER: asks for a socket of a family, by `socket`, or by one of the 32-bit calls: `socketcall`, whose
# arguments lie in memory where seccomp cannot read them, and `socket32`. Says the errno, 0 for a socket.
family_program() {
  cat >"$OCI/family.c" <<'C'
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
static unsigned arguments[3] = {0, SOCK_SEQPACKET, 0};
static long int80(long call, long a, long b, long c) {
  long got;
  __asm__ volatile("int $0x80" : "=a"(got) : "a"(call), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
  return got < 0 ? -got : 0;
}
int main(int argc, char **argv) {
  long got = -1;
  (void)argc;
  arguments[0] = (unsigned)atoi(argv[2]);
  if (!strcmp(argv[1], "socket")) got = socket((int)arguments[0], SOCK_SEQPACKET, 0) == -1 ? errno : 0;
  if (!strcmp(argv[1], "socket32")) got = int80(359, arguments[0], SOCK_SEQPACKET, 0);
  if (!strcmp(argv[1], "socketcall")) got = int80(102, 1, (long)arguments, 0);
  printf("%ld\n", got);
}
C
  cc -static -no-pie -O1 -o "$BUNDLE/rootfs/bin/family" "$OCI/family.c"
}

readonly EVERY_WAY='for call in socket socket32 socketcall; do /bin/family $call 38; done; /bin/family socketcall 1'

without_filter() { config "c['linux'].pop('seccomp')"; }

@test "CVE-2026-31431: the kernel gives AF_ALG sockets to who is not held back, every way" {
  family_program
  without_filter
  in_container "$EVERY_WAY"
  [ "${lines[*]}" = "0 0 0 0" ]
}

# What is to be shown to fail in the next ones: the filter alone does not hold socketcall, nor do Docker's rules.
@test "CVE-2026-31431: the default filter holds all but socketcall, with Docker's rules, too" {
  family_program
  in_container "$EVERY_WAY"
  [ "${lines[*]}" = "1 1 0 0" ]
  under gantry-vm-docker
  in_container "$EVERY_WAY"
  [ "${lines[*]}" = "1 1 0 0" ]
}

# Fails: default_apparmor_profile() without "deny network alg".
@test "CVE-2026-31431: under gantry-default nothing is left, and other families are" {
  family_program
  under gantry-default
  in_container "cat /proc/self/attr/current; $EVERY_WAY"
  [ "${lines[*]}" = "gantry-default (enforce) 1 1 13 0" ]
}

# Fails: apply_labels() does nothing.
@test "CVE-2026-31431: with the family denied by the profile nothing is left, and other families are" {
  family_program
  under gantry-vm-docker-alg
  in_container "cat /proc/self/attr/current; $EVERY_WAY"
  [ "${lines[*]}" = "gantry-vm-docker-alg (enforce) 1 1 13 0" ]
  created 'sleep 100'
  runtime start "$ID"
  [ "$(runtime exec "$ID" /bin/family socketcall 38)" = 13 ]
  # As root with every capability.
  [ "$(runtime exec --cap CAP_SYS_ADMIN --cap CAP_MAC_ADMIN "$ID" /bin/family socketcall 38)" = 13 ]
}

# The same.
@test "CVE-2026-31431: the profile alone holds all of them" {
  family_program
  without_filter
  under gantry-vm-docker-alg
  in_container "$EVERY_WAY"
  [ "${lines[*]}" = "13 13 13 0" ]
}
