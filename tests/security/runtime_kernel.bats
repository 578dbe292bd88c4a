#!/usr/bin/env bats
# Attacks on the runtime that other engines fell to: the kernel's interfaces that a container must not reach. Each
# test names the flaw it guards against, and under "fails" what was taken out to see that it does.

load ../conformance/oci/helper

setup() {
  oci_setup
  config "c['root']['readonly']=False"
}
teardown() {
  [ -z "${DELEGATED:-}" ] || find "$DELEGATED" -depth -type d -exec rmdir {} +
  oci_teardown
}

# --- CVE-2023-25809 ---------------------------------------------------------------------------------

as_user() { setpriv --reuid 1000 --regid 1000 --clear-groups "$@"; }
user_runtime() { as_user "$OCI/bin/gantry-runtime" --root "$OCI/run" "$@"; }

# rootless: from now on there is a user who may run a rootless bundle, and has a cgroup, $DELEGATED, on the host.
rootless() {
  [ "$(cat /proc/sys/user/max_user_namespaces)" -gt 0 ] || skip "this host has no user namespaces"
  mkdir -m 755 "$OCI/bin" "$OCI/run"
  cp "$RUNTIME" "$OCI/bin/gantry-runtime"
  rm "$BUNDLE/config.json"
  chmod 755 "$OCI"
  chown -R 1000:1000 "$OCI"
  user_runtime spec --rootless --bundle "$BUNDLE"
  config "c['process']['terminal']=False"
  DELEGATED=$(hierarchy_of pids)/delegated-$BATS_TEST_NUMBER
  mkdir "$DELEGATED"
  chown -R 1000:1000 "$DELEGATED"
  as_user mkdir "$DELEGATED/possible" # it is not for want of rights that it cannot be done inside
  as_user rmdir "$DELEGATED/possible"
}

user_in_container() {
  config "c['process']['args']=['/bin/sh','-c','''$1''']"
  run user_runtime run --bundle "$BUNDLE" "$ID" </dev/null
  echo "$output"
}

# Tries to make a group in everything that is writable at or below /sys/fs/cgroup, as cgroup or under any other name.
readonly ATTACK='for d in $(grep -E " /sys/fs/cgroup| - cgroup" /proc/self/mountinfo | cut -d" " -f5); do
    for g in $d $d/delegated-*; do mkdir $g/owned 2>/dev/null && echo OWNED $g; done; done
  mkdir /sys/fs/cgroup/owned 2>&1 | grep -c "Read-only file system"'

# Fails: mount_cgroup() does not call hide_cgroups() and rootless_spec() has "ro" for "rro": either one holds it.
@test "CVE-2023-25809: a rootless container without a group of its own cannot write those that its user has" {
  rootless
  user_in_container "$ATTACK"
  [ "$output" = 1 ]
  [ ! -e "$DELEGATED/owned" ]
}

# Fails: mount_cgroup() does not call hide_cgroups().
@test "CVE-2023-25809: nor with the /sys that other engines write into the configuration, with or without a namespace" {
  rootless
  config "[m.update(options=['rbind','nosuid','noexec','nodev','ro']) for m in c['mounts'] if m['destination']=='/sys']"
  user_in_container "$ATTACK"
  [ "$output" = 1 ]
  [ ! -e "$DELEGATED/owned" ]
  config "c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='cgroup']"
  user_in_container "$ATTACK"
  [ "$output" = 1 ]
  [ ! -e "$DELEGATED/owned" ]
}

# Fails: mount_cgroup() does not set the attributes of what it mounts.
@test "CVE-2023-25809: a rootless container with a group of its own cannot write it" {
  rootless
  ! on_v2 pids || skip "a group of the unified hierarchy is entered from within what was delegated only"
  config "c['linux']['cgroupsPath']='/${DELEGATED##*/}/mine'; c['linux']['resources']={'pids':{'limit':7}}"
  user_in_container "$ATTACK; echo 8 >/sys/fs/cgroup/pids/pids.max; cat /sys/fs/cgroup/pids/pids.max"
  [ "${lines[0]}" = 1 ]
  [[ "${lines[1]}" == *"Read-only file system" ]]
  [ "${lines[2]}" = 7 ]
}

# The same.
@test "CVE-2023-25809: the cgroup cannot be written by root either" {
  local pids=pids/pids.max
  ! on_v2 pids || pids=pids.max
  in_container "$ATTACK; echo 1 >/sys/fs/cgroup/$pids"
  [ "$status" -ne 0 ]
  [ "${lines[0]}" = 1 ]
  [[ "${lines[1]}" == *"Read-only file system" ]]
}

# --- CVE-2026-31431 -----------------------------------------------------------------------------------
# The 32-bit socketcall, whose arguments no filter can read, is for AppArmor: tests/vm/apparmor.bats.

alg_program() { # /bin/alg CALL: asks for an AF_ALG socket, and says the errno, or "a socket"
  cat >"$OCI/alg.c" <<'C'
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
static long answer(long got) { return got == -1 ? -errno : got; }
static long int80(long call, long a, long b, long c) {
  long got;
  __asm__ volatile("int $0x80" : "=a"(got) : "a"(call), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
  return got;
}
int main(int argc, char **argv) {
  int pair[2];
  long got = -1;
  (void)argc;
  if (!strcmp(argv[1], "socket")) got = answer(socket(38, SOCK_SEQPACKET, 0));
  if (!strcmp(argv[1], "flags")) got = answer(socket(38, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!strcmp(argv[1], "high")) got = answer(syscall(SYS_socket, 38 | 1L << 32, SOCK_SEQPACKET, 0));
  if (!strcmp(argv[1], "pair")) got = answer(socketpair(38, SOCK_SEQPACKET, 0, pair));
  if (!strcmp(argv[1], "x32")) got = answer(syscall(0x40000000 | SYS_socket, 38, SOCK_SEQPACKET, 0));
  if (!strcmp(argv[1], "i386")) got = int80(359, 38, SOCK_SEQPACKET, 0);
  if (got < 0) printf("%s\n", strerrorname_np(-got)); else puts("a socket");
}
C
  cc -static -no-pie -O1 -D_GNU_SOURCE -o "$BUNDLE/rootfs/bin/alg" "$OCI/alg.c" || skip "no C compiler"
}

# Fails: enter() does not call load_filter(); the profile has no condition on socket's family; it allows whatever is
# greater than 40, as Docker's does ("high").
@test "CVE-2026-31431: AF_ALG sockets answer EPERM, whichever way they are asked for" {
  alg_program
  in_container 'exec 2>/dev/null; for call in socket flags high i386 x32 pair; do echo $call $(/bin/alg $call); done'
  echo "$output"
  [ "${lines[0]}" = "socket EPERM" ]
  [ "${lines[1]}" = "flags EPERM" ]
  # The kernel reads 32 bits of the family, the filter 64.
  [ "${lines[2]}" = "high EPERM" ]
  # No answer at all: a kernel without these calls ends the program.
  [[ "${lines[3]}" == i386* && "${lines[3]}" != *"a socket" && "${lines[3]}" != *EAFNOSUPPORT ]]
  [[ "${lines[4]}" == x32* && "${lines[4]}" != *"a socket" && "${lines[4]}" != *EAFNOSUPPORT ]]
  [[ "${lines[5]}" == pair* && "${lines[5]}" != *"a socket" ]]
  # And exec.
  created 'sleep 100'
  runtime start "$ID"
  [ "$(runtime exec "$ID" /bin/alg socket)" = EPERM ]
}

@test "CVE-2026-31431: it is the filter that answers so, and not this kernel" {
  alg_program
  config "c['linux'].pop('seccomp')"
  in_container '/bin/alg socket'
  [[ "$output" == "a socket" || "$output" == EAFNOSUPPORT ]]
}
