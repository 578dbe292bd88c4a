#!/usr/bin/env bats
# Limits that cgroup v2 does not have: as Docker, a warning, and the container runs without them.

load ../lib/common

setup_file() {
  [ "$(hostname)" = gantry-vm ] || skip "is for the virtual machine (tests/vm/run)"
  usual_setup_file
}
teardown_file() { [ "$(hostname)" != gantry-vm ] || usual_teardown_file; }
teardown() { usual_teardown; }

@test "--memory-swappiness is discarded with a warning" {
  run client run --rm --memory-swappiness 10 busybox echo ran
  assert_success
  assert_output --partial "Memory swappiness discarded."
  assert_line ran
}

@test "--oom-kill-disable is discarded with a warning" {
  run client run --rm --memory 64m --oom-kill-disable busybox echo ran
  assert_success
  assert_output --partial "OomKillDisable discarded."
  assert_line ran
}

@test "what is out of range is refused all the same" {
  run client run --rm --memory-swappiness 101 busybox true
  assert_failure 125
  assert_output --partial "alid memory swappiness range is 0-100"
}

@test "memory, cpu and pids are limited" {
  run client run --rm --memory 64m --cpus 0.5 --pids-limit 7 busybox \
    cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max
  assert_success
  assert_output "67108864
50000 100000
7"
}
