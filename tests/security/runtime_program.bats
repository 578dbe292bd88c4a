#!/usr/bin/env bats
# Attacks on the runtime that other engines fell to: its program and the descriptors it holds. Each test names the
# flaw it guards against, and under "fails" what was taken out to see that it does.

load ../conformance/oci/helper

setup() {
  oci_setup
  config "c['root']['readonly']=False"
}
teardown() { oci_teardown; }

# overwrite PROGRAM: a container attacks the runtime that is executed as PROGRAM; `before` is what $OCI/gantry-runtime
# was, a copy in a place that can be written: an attack that works destroys it.
overwrite() {
  local RUNTIME=$1 before
  before=$(sha256sum <"$OCI/gantry-runtime")
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
while [ -n "$(ls $victim/fd 2>/dev/null)" ]; do :; done
(echo OWNED >>/proc/self/fd/9) 2>/dev/null && echo WRITTEN || echo HELD
SH
  chmod +x "$BUNDLE/rootfs/bin/attack"
  config "c['root']['readonly']=False; c['process']['capabilities']={k:['CAP_DAC_OVERRIDE','CAP_SYS_PTRACE'] for k in ('bounding','effective','permitted')}"
  created 'exec /bin/attack'
  runtime start "$ID"
  runtime exec "$ID" /bin/trap >/dev/null 2>&1 || true
  until_true grep -qx 'WRITTEN\|HELD' "$OCI/out"
  [ "$(cat "$OCI/out")" = HELD ]
  [ "$(sha256sum <"$OCI/gantry-runtime")" = "$before" ]
}

# Fails: gantry_early() in main_early.cc returns at once, and is_protected() in self_protection.cc says yes at once.
# Either holds it alone.
@test "CVE-2019-5736: a container cannot write the runtime through /proc/PID/exe" {
  cp "$RUNTIME" "$OCI/gantry-runtime"
  overwrite "$OCI/gantry-runtime"
}

# Fails: is_protected() says yes at once. The early start leaves to it what is executed as a descriptor.
@test "CVE-2019-5736: nor one that was executed as a descriptor" {
  cp "$RUNTIME" "$OCI/gantry-runtime"
  exec 8<"$OCI/gantry-runtime"
  overwrite /dev/fd/8
}

# leak COMMAND…: the runtime, from a caller that has a directory of the host open and leaves it to its children, as
# descriptor 9.
leak() { run "$RUNTIME" --root "$OCI/root" "$@" 9<"$OCI/host" </dev/null; }

host_directory() { # with a secret and a program
  mkdir "$OCI/host"
  echo SECRET >"$OCI/host/secret"
  cp /bin/busybox "$OCI/host/echo"
}

held() { # WHERE: the last run was refused for its working directory and has seen nothing
  [ "$status" -ne 0 ] || { echo "$1: it runs: $output"; return 1; }
  [[ "$output" == *process.cwd* && "$output" != *SECRET* ]] || { echo "$1: $output"; return 1; }
}

# Fails: change_directory() resolves as open(2) does and does not ask getcwd, and close_others() is not called: it
# takes all three.
@test "CVE-2024-21626: a working directory that is a descriptor is refused, for every number" {
  host_directory
  ln -s /proc/self/fd/9 "$BUNDLE/rootfs/innocent"
  config "c['process']['args']=['cat','secret']"
  for cwd in /proc/self/fd/9 /proc/self/fd/9/ /proc/self/fd/9/. /proc/thread-self/fd/9 /proc/1/fd/9 /innocent; do
    config "c['process']['cwd']='$cwd'"
    leak run --bundle "$BUNDLE" "$ID"
    held "$cwd"
  done
  config "c['process']['cwd']='/'"
  created 'sleep 100'
  runtime start "$ID"
  for cwd in /proc/self/fd/9 /innocent; do
    leak exec --cwd "$cwd" "$ID" cat secret
    held "$cwd"
  done
  # Nor one of the runtime's own, whichever that is.
  for n in {0..40}; do
    run runtime exec --cwd "/proc/self/fd/$n" "$ID" ls
    held "$n"
  done
}

# Fails: Beneath::open() resolves without RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS; today's kernels follow no magic
# link with either.
@test "CVE-2024-21626: no directory is made through a descriptor" {
  host_directory
  ln -s /proc/self/fd/9 "$BUNDLE/rootfs/innocent"
  for cwd in /proc/self/fd/9/made /innocent/made; do
    config "c['process']['cwd']='$cwd'; c['process']['args']=['true']"
    leak run --bundle "$BUNDLE" "$ID"
    held "$cwd"
    [ ! -e "$OCI/host/made" ]
  done
  config "c['process']['cwd']='/'; c['mounts'].append({'destination':'/innocent/made','type':'tmpfs','source':'tmpfs'})"
  leak run --bundle "$BUNDLE" "$ID"
  [ "$status" -ne 0 ]
  [ ! -e "$OCI/host/made" ]
}

# Fails: close_others() is not called.
@test "CVE-2024-21626: a program that is found through a descriptor is not found" {
  host_directory
  for program in /proc/self/fd/9/echo /proc/self/fd/9/../../../../../../bin/echo; do
    config "c['process']['args']=['$program','OWNED']"
    leak run --bundle "$BUNDLE" "$ID"
    [ "$status" -ne 0 ]
    [[ "$output" == *"no such file or directory" ]]
  done
  created 'sleep 100'
  runtime start "$ID"
  leak exec "$ID" /proc/self/fd/9/echo OWNED
  [ "$status" -ne 0 ]
  # The runtime's own: behind the host's procfs there is every root of the host.
  for n in {3..40}; do
    for program in "/proc/self/fd/$n/self/root/bin/echo" "/proc/self/fd/$n/bin/echo"; do
      run runtime exec "$ID" "$program" OWNED
      [ "$status" -ne 0 ] || { echo "$program: $output"; false; }
    done
  done
}

# Fails: close_others() is not called, because of the filter; without that the close_range of exec() holds it, too.
@test "CVE-2024-21626: nothing but the standard streams is open inside, also where a filter refuses close_range" {
  host_directory
  config "c['process']['args']=['/bin/sh','-c','ls /proc/1/fd; true']"
  leak run --bundle "$BUNDLE" "$ID"
  [ "${lines[*]}" = "0 1 2" ]
  config "s=c['linux']['seccomp']['syscalls']; [r['names'].remove('close_range') for r in s if 'close_range' in r['names']]"
  leak run --bundle "$BUNDLE" "$ID"
  [ "${lines[*]}" = "0 1 2" ]
  created 'sleep 100'
  runtime start "$ID"
  leak exec "$ID" sh -c 'ls /proc/$$/fd; true'
  [ "${lines[*]}" = "0 1 2" ]
}
