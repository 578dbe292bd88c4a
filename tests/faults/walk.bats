#!/usr/bin/env bats
# At each failpoint of each job: the step fails, and then the daemon is killed (walk.py says what must hold).
#
#   FAULTS_PART  0/1 (all, the default), or 0/N: one of N parts of the pairs
#   FAULTS_SEED  which part that is
load ../lib/common
export BATS_TEST_TIMEOUT=${FAULTS_TIMEOUT:-3600}

setup_file() {
  on_engine gantry || skip "Docker's daemon has no failpoints"
  engine_programs
  grep -q 'failpoint {}' "$GANTRY_BUILD/bin/gantryd" || skip "built without failpoints: GANTRY_BUILD=build/dev"
  leaks_snapshot "$BATS_FILE_TMPDIR/before"
}
teardown_file() { leaks_check "$BATS_FILE_TMPDIR/before"; }

setup() {
  TEST_ROOT=$(mktemp -d /tmp/gt.XXXXXX)
  chmod 755 "$TEST_ROOT"
}
teardown() {
  local pid
  # A walk that was stopped leaves its daemon.
  if [ -s "$TEST_ROOT/pid" ] && pid=$(cat "$TEST_ROOT/pid") && [ -n "$pid" ]; then kill -KILL "$pid" || true; fi
  rm -rf "$TEST_ROOT"
}

walk() { # GROUP
  /usr/bin/python3 -B "$REPOSITORY/tests/faults/walk.py" "$GANTRY_BUILD" "$TEST_ROOT" \
    --part "${FAULTS_PART:-0/1}" --seed "${FAULTS_SEED:-}" --group "$1" 3>&-
}

@test "every type of job has a case, and every failpoint is reached by one" { walk list; }
@test "jobs of containers: nothing leaks or is lost at any failpoint" { walk container; }
@test "jobs of images: nothing leaks or is lost at any failpoint" { walk image; }
@test "jobs of networks: nothing leaks or is lost at any failpoint" { walk network; }
@test "jobs of volumes: nothing leaks or is lost at any failpoint" { walk volume; }
@test "checks and collections: nothing leaks or is lost at any failpoint" { walk system; }
@test "a shim that fails or is killed at any of its steps takes its container along" { walk shim; }
@test "a daemon that fails or is killed while it starts is made good by the next" { walk startup; }
