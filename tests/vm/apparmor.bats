#!/usr/bin/env bats
# AppArmor profiles, where the kernel enforces them; and threat 13 (CVE-2026-31431), which needs one.

load helper

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

@test "CVE-2025-52881: the profile holds although the image has a /proc of its own" {
  mkdir -p "$BUNDLE/rootfs/proc/self/attr/apparmor"
  : >"$BUNDLE/rootfs/proc/self/attr/apparmor/exec"
  under gantry-vm-first
  in_container 'cat /proc/self/attr/current'
  [ "$output" = "gantry-vm-first (enforce)" ]
  [ ! -s "$BUNDLE/rootfs/proc/self/attr/apparmor/exec" ]
}

# --- the default profile ------------------------------------------------------------------------------------

is_loaded() { grep -q "^$1 (enforce)" /sys/kernel/security/apparmor/profiles; }

@test "gantry-default is loaded when the first container asks for it" {
  ! is_loaded gantry-default
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

# alg: a program that asks for an AF_ALG socket, by `socket`, or with an argument by the 32-bit `socketcall`,
# whose arguments seccomp cannot read. Its exit status is the errno, 0 for a socket.
alg_program() {
  cat >"$OCI/alg.c" <<'C'
#include <errno.h>
#include <sys/socket.h>
static unsigned arguments[3] = {38, SOCK_SEQPACKET, 0};
int main(int argc, char **argv) {
  long got;
  if (argc == 1) return socket(38, SOCK_SEQPACKET, 0) == -1 ? errno : 0;
  __asm__ volatile("int $0x80" : "=a"(got) : "a"(102), "b"(1), "c"(arguments) : "memory", "r8", "r9", "r10", "r11");
  return got < 0 ? -got : 0;
}
C
  cc -static -no-pie -O1 -o "$BUNDLE/rootfs/bin/alg" "$OCI/alg.c"
}

without_filter() { config "c['linux'].pop('seccomp')"; }

@test "CVE-2026-31431: the kernel gives AF_ALG sockets to who is not held back, both ways" {
  alg_program
  without_filter
  in_container '/bin/alg; echo $?; /bin/alg 32; echo $?'
  [ "${lines[*]}" = "0 0" ]
}

@test "CVE-2026-31431: socket is answered EPERM by the default seccomp filter" {
  alg_program
  in_container '/bin/alg; echo $?'
  [ "$output" = 1 ]
}

@test "CVE-2026-31431: socketcall is answered EACCES by gantry-default" {
  alg_program
  without_filter
  under gantry-default
  in_container '/bin/alg 32; echo $?'
  [ "$output" = 13 ]
}
