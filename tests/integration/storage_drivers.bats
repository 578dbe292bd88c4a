#!/usr/bin/env bats
# The same for every storage driver: images come and go, containers run on them, change files, and are looked into.
load ../lib/common

setup_file() {
  need_client
  engine_root
}
teardown_file() {
  [ -z "${TEST_ROOT:-}" ] || rm -rf "$TEST_ROOT"
}
setup() { on_engine gantry || skip "Docker's storage drivers are not held to it"; }
teardown() {
  if [ -e "$(engine_dir)/pid" ] && ! process_gone "$(engine_pid)"; then engine_stop "$ENGINE_NAME"; fi
  usual_teardown
}

begin() { # DRIVER
  ENGINE_NAME=$1
  engine_start "$1" --storage-driver "$1" || {
    engine_log "$1" | grep -q 'does not work' && skip "$(engine_log "$1" | grep 'does not work' | tail -n 1)"
    return 1
  }
}

a_life() {
  begin "$1"
  assert_equal "$(client info -f '{{.Driver}}')" "$1"
  name=$(random_name life)
  # The second time it is mounted, it is as it was left.
  client create --name "$name" busybox sh -c 'if [ -e /new ]; then
      cat /new; tail -n 1 /etc/passwd; ls -d /e; ls /bin/vi /d 2>/dev/null; [ ! -e /bin/vi ]
    else
      echo new >/new && rm /bin/vi && echo more >>/etc/passwd && mkdir /d && mv /d /e && echo made
    fi' >/dev/null
  assert_equal "$(client start -a "$name")" made
  run client start -a "$name"
  assert_success
  assert_output "new
more
/e"
  client save -o "$BATS_TEST_TMPDIR/saved.tar" busybox
  id=$(client images -q --no-trunc busybox)
  client rm "$name" >/dev/null
  client rmi busybox >/dev/null
  client load -q -i "$BATS_TEST_TMPDIR/saved.tar"
  assert_equal "$(client images -q --no-trunc busybox)" "$id"
  assert_equal "$(client run --rm busybox echo again)" again
  run "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" system check --content
  assert_success
}

@test "erofs: images and containers have a whole life" { a_life erofs; }
@test "overlay2: images and containers have a whole life" { a_life overlay2; }
@test "vfs: images and containers have a whole life" { a_life vfs; }

@test "the first driver that works is taken, and stays the data root's own" {
  engine_start chosen
  ENGINE_NAME=chosen
  driver=$(client info -f '{{.Driver}}')
  if [ "$driver" != erofs ]; then
    engine_log chosen | grep 'erofs does not work'
    skip "this kernel has no EROFS in plain files"
  fi
  engine_stop chosen
  engine_start chosen
  assert_equal "$(client info -f '{{.Driver}}')" erofs
}

@test "containers of one image share nothing that they write" {
  begin erofs
  one=$(random_name one) two=$(random_name two)
  client run --name "$one" busybox sh -c 'echo 1 >/f; echo x >>/etc/passwd; rm /bin/vi'
  client run --name "$two" busybox sh -c 'test ! -e /f; echo 2 >/f; cat /f'
  assert_equal "$(client run --rm busybox sh -c 'cat /f 2>&1; ls /bin/vi; grep -c ^x$ /etc/passwd')" "cat: can't open '/f': No such file or directory
/bin/vi
0"
}
