#!/usr/bin/env bats
# What a pull may cost the daemon: under 64 MiB, whatever the layers are compressed with. Decoders with large windows run in a
# process of their own, which ends with the daemon.
load ../lib/common
load ../lib/registry

R=127.0.0.1:5021

setup_file() {
  on_engine gantry || return 0
  command -v zstd >/dev/null || return 0
  need_client
  engine_root
  leaks_snapshot "$TEST_ROOT/before"
  engine_start main --bridge none
  gantry_registry ours 5021
  # What is far back is needed: the second half is the first.
  head -c 40000000 /dev/urandom >"$TEST_ROOT/half"
  cat "$TEST_ROOT/half" "$TEST_ROOT/half" >"$TEST_ROOT/data"
  tar -cf "$TEST_ROOT/layer.tar" -C "$TEST_ROOT" data
  zstd -q -1 --long=27 -c <"$TEST_ROOT/layer.tar" >"$TEST_ROOT/layer.zst"
  push_layers window "$TEST_ROOT/layer.zst"
}
teardown_file() {
  [ -n "${TEST_ROOT:-}" ] || return 0
  registries_stop
  rm -rf "$TEST_ROOT/registries"
  usual_teardown_file
}
setup() {
  on_engine gantry || skip "it is about Gantry's own transfers"
  command -v zstd >/dev/null || skip "there is no zstd"
}
teardown() {
  usual_teardown
  gantry images -q "$R/*" | sort -u | while read -r image; do gantry rmi -f "$image" >/dev/null; done
}

gantry() { timeout -k 2 60 "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" "$@"; }
push_layers() { /usr/bin/python3 "$REPOSITORY/tests/lib/push_layer.py" $R "$1" "$TEST_ROOT/layer.tar" "${@:2}"; }
helpers() { pgrep -P "$(engine_pid)" -f 'decode zstd'; }
no_helpers() { ! pgrep -f 'decode zstd' >/dev/null; }
peak_kib() { awk '/^VmHWM:/ { print $2 }' "/proc/$(engine_pid)/status"; }

@test "a layer with a window of 128 MiB is pulled, and the daemon stays under 64 MiB" {
  assert [ "$(stat -c %s "$TEST_ROOT/layer.zst")" -lt 50000000 ] # the window was used
  gantry pull "$R/window:1"
  run gantry system check --content
  assert_output "Everything is as it should be."
  peak=$(peak_kib)
  echo "most resident: $peak KiB"
  assert [ "$peak" -lt 65536 ]
  assert no_helpers
}

@test "the helper has no more system calls than it needs, and ends with the daemon" {
  gantry pull "$R/window:1" >/dev/null 2>&1 &
  pull=$!
  eventually 20 helpers
  assert_equal "$(awk '/^Seccomp:/ { print $2 }' "/proc/$(helpers | head -n 1)/status")" 2
  engine_kill
  wait $pull || true
  eventually 5 no_helpers
  engine_start main --bridge none
  gantry pull -q "$R/window:1"
}

@test "a helper that is killed fails the pull with the layer's name, and nothing stays" {
  gantry pull "$R/window:1" >"$BATS_TEST_TMPDIR/out" 2>&1 &
  pull=$!
  eventually 20 helpers
  kill -KILL "$(helpers | head -n 1)"
  run wait $pull
  assert_equal "$(grep -c "layer sha256:[0-9a-f]*: the decoder was ended by signal 9" "$BATS_TEST_TMPDIR/out")" 1
  assert_equal "$(gantry images -q "$R/window")" ""
  gantry pull -q "$R/window:1"
}

@test "forty layers in one image, pulled twice at a time, leave the daemon under 64 MiB" {
  mkdir "$BATS_TEST_TMPDIR/layers"
  for i in $(seq 40); do
    mkdir -p "$BATS_TEST_TMPDIR/root"
    head -c 2000000 /dev/urandom >"$BATS_TEST_TMPDIR/root/$i"
    tar -C "$BATS_TEST_TMPDIR/root" -c "$i" | gzip -1 >"$BATS_TEST_TMPDIR/layers/$i.gz"
    rm "$BATS_TEST_TMPDIR/root/$i"
  done
  for name in forty reversed; do
    /usr/bin/python3 "$REPOSITORY/tests/lib/push_layer.py" $R $name - \
      $(find "$BATS_TEST_TMPDIR/layers" -name '*.gz' | sort $([ $name = forty ] || echo -r))
  done
  engine_stop main
  engine_start main --bridge none --max-concurrent-downloads 20
  gantry pull -q "$R/reversed:1" &
  pull=$!
  gantry pull -q "$R/forty:1"
  wait $pull
  peak=$(peak_kib)
  echo "most resident: $peak KiB"
  assert [ "$peak" -lt 65536 ]
  assert_equal "$(gantry image inspect -f '{{len .RootFS.Layers}}' "$R/forty:1")" 40
  run gantry system check --content
  assert_output "Everything is as it should be."
}
