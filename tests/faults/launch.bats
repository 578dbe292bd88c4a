#!/usr/bin/env bats
# `gantry-runtime run` where init shares its maker's memory until its program is executed (libcontainer/clone_waiting.h):
# init fails, or is killed, at every step.
load ../conformance/oci/helper

setup() {
  oci_setup
  config "c['process']['args']=['true']; c['linux'].setdefault('resources',{})['memory']={'limit':64*1048576}"
}
teardown() { oci_teardown; }

readonly POINTS=(runtime.state init.cgroup init.namespaces init.mount init.mounted init.populated init.pivot init.ready
  init.start)

nothing_is_left() { # a record, a cgroup, a process
  [ -z "$(ls "$OCI/root")" ] && [ -z "$(find /sys/fs/cgroup -name "$ID" 2>/dev/null)" ] && ! pgrep -f "run --bundle $BUNDLE"
}

at_every_step() { # ACTION MESSAGE: what the run says then (POINT is the step), and nothing else stays of it
  local point
  for point in "${POINTS[@]}"; do
    GANTRY_FAILPOINTS="$point=$1" run runtime run --bundle "$BUNDLE" "$ID" </dev/null
    echo "$point: $status: $output"
    [ "$status" -eq 1 ]
    [ "$output" = "gantry-runtime: ${2//POINT/$point}" ]
    nothing_is_left
  done
  runtime run --bundle "$BUNDLE" "$ID" </dev/null
}

@test "an error at any step of init is the run's, and nothing stays" {
  at_every_step 'error(5)' 'failpoint POINT: input/output error'
}

@test "killed at any step of init, the run says so, and nothing stays" {
  at_every_step kill 'init ended before its program was executed (killed, or out of memory)'
}
