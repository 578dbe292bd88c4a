#!/usr/bin/env bats
# Registries that hang, lie, and send without end: one line that names the blob and the cause, bounded memory, and nothing
# left. See tests/lib/hostile_registry.py.
load ../lib/common

setup_file() {
  on_engine gantry || return 0
  need_client
  engine_root
  leaks_snapshot "$TEST_ROOT/before"
  engine_start main --max-layer-size 256m
  setsid /usr/bin/python3 "$REPOSITORY/tests/lib/hostile_registry.py" >"$TEST_ROOT/port" 2>"$TEST_ROOT/hostile.log" </dev/null 3>&- &
  echo $! >"$TEST_ROOT/hostile.pid"
  eventually 20 [ -s "$TEST_ROOT/port" ]
  tree >"$TEST_ROOT/tree"
}
teardown_file() {
  [ -n "${TEST_ROOT:-}" ] || return 0
  kill "$(cat "$TEST_ROOT/hostile.pid")"
  usual_teardown_file
}
setup() {
  on_engine gantry || skip "it is about Gantry's own transfers"
  R=127.0.0.1:$(cat "$TEST_ROOT/port")
}
teardown() { usual_teardown; }

gantry() { timeout -k 2 "${LIMIT:-60}" "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" "$@"; }
# What is on the disk, but for the database.
tree() { (cd "$(engine_dir)/data" && find . -path ./gantry.db\* -prune -o -printf '%y %p\n' | grep -v '/trash/' | sort); }
same_tree() { diff "$TEST_ROOT/tree" <(tree | grep -v '^f ./content/partial/'); }
layer_digest='sha256:[0-9a-f]{64}'

# refused REPOSITORY PATTERN: one line, and no trace.
refused() {
  run gantry pull "$R/$1:1"
  assert_failure 1
  assert_equal "$(grep -c -v -E '^(Using default tag|1: Pulling from|[0-9a-f]{12}: )' <<<"$output")" 1
  assert_line --regexp "$2"
  assert_equal "$(gantry images -q "$R/$1")" ""
  eventually 10 same_tree
}

@test "a blob that is not what its digest, its size or its diff id says" {
  refused digest "verification failed for digest $layer_digest: its bytes have the digest $layer_digest"
  refused diffid "layer $layer_digest: wrong diff id"
  refused size-less "blob $layer_digest: the registry says it has [0-9]+ bytes, the manifest [0-9]+"
  refused size-more "blob $layer_digest: the registry says it has [0-9]+ bytes, the manifest [0-9]+"
  refused truncated "layer $layer_digest: compressed data is cut short"
}

@test "a body that is longer or shorter than the manifest says, that has no end, or that is another range" {
  refused longer "blob $layer_digest: the registry says it has [0-9]+ bytes"
  refused shorter "blob $layer_digest: the registry says it has [0-9]+ bytes"
  refused endless "blob $layer_digest: it is longer than the [0-9]+ bytes its manifest says"
  refused unasked-range "blob $layer_digest: the registry sent another range than it was asked for"
}

@test "a registry that closes within a blob is asked again a few times and no more" {
  refused closes "blob $layer_digest: .*(unexpected EOF|connection reset)"
  hits=$(curl -s "http://$R/hits?closes")
  assert [ "$hits" -ge 4 ]
  assert [ "$hits" -le 12 ]
}

@test "a redirect to itself, of a blob or of a manifest, ends" {
  refused redirects "blobs/$layer_digest\": redirected to itself"
  refused redirects-far "blobs/$layer_digest.*redirects"
  refused loop "manifests/1\": redirected to itself"
}

@test "manifests that are huge, without end, deep, of another shape, of two kinds, or another's" {
  refused huge "manifest 1: .*: the answer of 67108864 bytes is longer than 4194304"
  refused endless-manifest "manifest 1: .*longer than 4194304"
  refused deep "."
  refused shape "config"
  refused both "it is both an image and an index"
  refused type "the registry calls it .*, which it is not"
  refused other-manifest "manifest verification failed for digest"
}

@test "a bomb is refused while it goes off" {
  refused bomb "layer $layer_digest: it unpacks to more than 268435456 bytes: refused"
}

@test "a pull from a registry that hangs ends when its client goes, and what came is kept for the next" {
  gantry pull "$R/hangs:1" >"$BATS_TEST_TMPDIR/out" 2>&1 &
  pull=$!
  eventually 20 grep -q "Pulling fs layer" "$BATS_TEST_TMPDIR/out"
  kill -INT $pull
  wait $pull || true
  eventually 10 equals "" running_pulls
  eventually 10 same_tree
}
running_pulls() { gantry job ls -q --filter status=running; }

@test "all of that left the daemon small and its store sound" {
  pss=$(awk '/^Pss:/ { print $2 }' "/proc/$(engine_pid)/smaps_rollup")
  assert [ "$pss" -lt 65536 ]
  peak=$(awk '/^VmHWM:/ { print $2 }' "/proc/$(engine_pid)/status")
  echo "pss $pss KiB, most resident $peak KiB"
  run gantry system check --content
  assert_output "Everything is as it should be."
}
