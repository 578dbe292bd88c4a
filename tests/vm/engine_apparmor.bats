#!/usr/bin/env bats
# What the daemon makes of AppArmor, where the kernel enforces it.

load ../lib/common

setup_file() {
  [ "$(hostname)" = gantry-vm ] || skip "is for the virtual machine (tests/vm/run)"
  cat >"$BATS_FILE_TMPDIR/profile" <<'P'
profile gantry-vm-own flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, signal,
}
P
  apparmor_parser --add "$BATS_FILE_TMPDIR/profile"
  usual_setup_file
}
teardown_file() {
  [ "$(hostname)" != gantry-vm ] || {
    usual_teardown_file
    apparmor_parser --remove "$BATS_FILE_TMPDIR/profile"
  }
}
teardown() { usual_teardown; }

current() { client run --rm "$@" busybox cat /proc/self/attr/current; }

@test "a container runs under gantry-default, and inspect and info say so" {
  run current
  assert_output "gantry-default (enforce)"
  client create --name profiled busybox true
  run client inspect --format '{{.AppArmorProfile}}' profiled
  assert_output gantry-default
  client rm profiled
  run client info --format '{{.SecurityOptions}}'
  assert_output --partial name=apparmor
}

@test "--security-opt apparmor chooses another profile, or none" {
  run current --security-opt apparmor=gantry-vm-own
  assert_output "gantry-vm-own (enforce)"
  run current --security-opt apparmor=unconfined
  assert_output unconfined
}

@test "a privileged container is unconfined, unless a profile is asked for" {
  run current --privileged
  assert_output unconfined
  run current --privileged --security-opt apparmor=gantry-vm-own
  assert_output "gantry-vm-own (enforce)"
}

@test "exec runs under the container's profile, and unconfined when it is privileged" {
  client run -d --name entered busybox sleep 100
  run client exec entered cat /proc/self/attr/current
  assert_output "gantry-default (enforce)"
  run client exec --privileged entered cat /proc/self/attr/current
  assert_output unconfined
  client rm -f entered
}

@test "a profile that is not loaded is an error that names it, and nothing is left" {
  run client run --name absent --security-opt apparmor=gantry-vm-absent busybox true
  assert_failure 125
  assert_output --partial "gantry-vm-absent: no such profile is loaded"
  client rm absent
}
