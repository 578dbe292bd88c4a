#!/usr/bin/env bats
# Attacks of a layer's archive on the host and on the overlay that it becomes a part of, with every storage driver:
# members that lead out (CVE-2026-17106, CVE-2025-47290, CVE-2021-32760), and marks that would steer overlayfs. Under
# "fails" is what was taken out to see that a test does.

load ../lib/common

setup_file() {
  need_client
  engine_root
  mkdir "$TEST_ROOT/canary"
  echo untouched >"$TEST_ROOT/canary/file"
  chmod 700 "$TEST_ROOT/canary"
  chmod 600 "$TEST_ROOT/canary/file"
  /usr/bin/python3 "$REPOSITORY/tests/security/hostile_layers.py" "$TEST_ROOT/layers" "$TEST_ROOT/canary"
}
teardown_file() {
  [ -z "${TEST_ROOT:-}" ] || rm -rf "$TEST_ROOT"
}
setup() { on_engine gantry || skip "Docker's storage drivers are not held to it"; }
teardown() {
  if [ -e "$(engine_dir)/pid" ] && ! process_gone "$(engine_pid)"; then engine_stop "$ENGINE_NAME"; fi
  usual_teardown
}

canary_is_intact() {
  assert_equal "$(cd "$TEST_ROOT/canary" && find . -printf '%p %m %u ' && cat file)" ". 700 root ./file 600 root untouched"
}

# begin DRIVER: an engine with it, or a skip.
begin() {
  ENGINE_NAME=$1
  engine_start "$1" --storage-driver "$1" || {
    engine_log "$1" | grep -q 'does not work' && skip "$(engine_log "$1" | grep 'does not work' | tail -n 1)"
    return 1
  }
}

layers_on_disk() { find "$(engine_dir)/data/$1" -mindepth 1 -maxdepth 1 | sort; }

# fails: classify() without its checks; hard links through LayerTree without Missing::fail
refuses_them_all() {
  begin "$1"
  layers_on_disk "$1" >"$BATS_TEST_TMPDIR/before"
  for archive in "$TEST_ROOT"/layers/refused/*.tar; do
    run client load -i "$archive"
    assert_failure
    assert_output --partial "$(cat "${archive%.tar}.txt")"
    [ "${#output}" -lt 6000 ]
  done
  canary_is_intact
  layers_are_gone() { cmp -s "$BATS_TEST_TMPDIR/before" <(layers_on_disk "$1"); }
  eventually 10 layers_are_gone "$1"
  assert_equal "$(client run --rm busybox echo alive)" alive
}

# fails: LayerTree::walk and IndexBuilder::walk that take a link's target for a path of the host
touches_nothing() {
  begin "$1"
  for archive in "$TEST_ROOT"/layers/taken/*.tar; do
    client load -q -i "$archive" >/dev/null
  done
  canary_is_intact
  canary_is_intact
  assert [ "$(du -s "$(engine_dir)/data/$1" | cut -f1)" -lt 65536 ]
}

@test "erofs: a hostile layer is refused with the name of the member, and leaves nothing" { refuses_them_all erofs; }
@test "overlay2: a hostile layer is refused with the name of the member, and leaves nothing" { refuses_them_all overlay2; }
@test "vfs: a hostile layer is refused with the name of the member, and leaves nothing" { refuses_them_all vfs; }

@test "erofs: what a layer's links and paths lead to is inside" { touches_nothing erofs; }
@test "overlay2: what a layer's links and paths lead to is inside" { touches_nothing overlay2; }
@test "vfs: what a layer's links and paths lead to is inside" { touches_nothing vfs; }
