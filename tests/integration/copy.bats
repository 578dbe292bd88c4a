#!/usr/bin/env bats
# cp: into and out of containers that run and that do not. What dockerd does is what the tests expect.
load ../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
setup() {
  cd "$BATS_TEST_TMPDIR" || return
  client run -d --name up -v cp-vol:/vol busybox sh -c 'mkdir -p /d/sub; echo in >/d/f; echo deep >/d/sub/g; chown 12:34 /d/f; chmod 4751 /d/f; ln -s /d /link; ln -s f /d/l; ln -s /nowhere /broken; mkfifo /d/fifo; exec sleep 1000' >/dev/null
  eventually 5 client exec up test -p /d/fifo
  client create --name down -v cp-vol:/vol busybox sleep 1 >/dev/null
  mkdir -p tree/sub
  echo one >tree/one
  echo two >tree/sub/two
  ln -s one tree/link
  chmod 640 tree/one
}
teardown() {
  cd /
  usual_teardown
  remove_all_containers
  client volume rm -f cp-vol >/dev/null
}

# what_is CONTAINER PATH: type, mode, owner and contents, wherever it is (the container may not run).
what_is() { client cp "$1:$2" - | tar -tvf - --numeric-owner | awk '{ print $1, $2, $6 }'; }
contents() { client cp "$1:$2" - | tar -xOf -; }
archive_status() { api_status "$@" | tail -n 1; }

@test "a file goes in and comes out, by name, into a directory, and over another one" {
  for c in up down; do
    client cp tree/one "$c:/tmp/renamed"
    assert_equal "$(contents $c /tmp/renamed)" one
    client cp tree/one "$c:/tmp"
    client cp tree/one "$c:/tmp/"
    assert_equal "$(contents $c /tmp/one)" one
    echo other >other
    client cp other "$c:/tmp/one"
    assert_equal "$(contents $c /tmp/one)" other
    client cp "$c:/tmp/one" got
    assert_equal "$(cat got)" other
    mkdir -p "into-$c"
    client cp "$c:/tmp/one" "into-$c"
    assert_equal "$(cat "into-$c/one")" other
  done
  assert_equal "$(client exec up cat /tmp/one)" other
}

@test "a directory goes as itself into one that is there, as a new one, or, with /., as its contents" {
  client cp tree up:/tmp
  assert_equal "$(client exec up cat /tmp/tree/sub/two)" two
  client cp tree up:/tmp/fresh
  assert_equal "$(client exec up cat /tmp/fresh/sub/two)" two
  client cp tree/. up:/home
  assert_equal "$(client exec up cat /home/sub/two)" two
  assert_equal "$(client exec up readlink /home/link)" one
  mkdir here
  client cp up:/d here
  assert_equal "$(cat here/d/sub/g)" deep
  client cp up:/d there
  assert_equal "$(cat there/sub/g)" deep
  client cp up:/d/. here
  assert_equal "$(cat here/sub/g)" deep
  assert_equal "$(readlink here/l)" f
  [ -p here/fifo ]
}

@test "owner, mode and time go along" {
  assert_equal "$(what_is up /d/f)" '-rwsr-x--x 12/34 f'
  touch -d 2001-02-03T04:05:06Z tree/one
  chown 55:66 tree/one
  for c in up down; do
    client cp tree/one "$c:/tmp/o"
    assert_equal "$(what_is $c /tmp/o)" '-rw-r----- 55/66 o'
  done
  assert_equal "$(client exec up stat -c %Y /tmp/o)" "$(stat -c %Y tree/one)"
}

@test "cp -a into a container with a user gives it what was copied" {
  client create --name user -u nobody busybox true >/dev/null
  chown 55:66 tree/one
  client cp -a tree/one user:/tmp/a
  assert_equal "$(what_is user /tmp/a)" '-rw-r----- 65534/65534 a'
}

@test "extended attributes go along" {
  on_engine gantry || skip "dockerd copies no attributes but capabilities out"
  /usr/bin/python3 -c 'import os; os.setxattr("tree/one", "user.colour", b"red")'
  tar --xattrs -cf coloured.tar -C tree one
  for c in up down; do
    api_ok PUT "/containers/$c/archive?path=/tmp" --data-binary @coloured.tar
    client cp "$c:/tmp/one" - | grep -aq 'SCHILY.xattr.user.colour=red'
  done
}

@test "links are copied as links, and followed with -L and with a slash behind them" {
  client cp up:/link a
  assert_equal "$(readlink a)" /d
  client cp -L up:/link b
  assert_equal "$(cat b/sub/g)" deep
  client cp up:/d/l c
  assert_equal "$(readlink c)" f
  client cp -L up:/d/l d
  assert_equal "$(cat d)" in
  client cp up:/link/. e
  assert_equal "$(cat e/sub/g)" deep
  client cp tree/link up:/tmp/l
  assert_equal "$(client exec up readlink /tmp/l)" one
  client cp -L tree/link up:/tmp/m
  assert_equal "$(client exec up cat /tmp/m)" one
  client cp tree/one up:/link/through
  assert_equal "$(client exec up cat /d/through)" one
  client cp tree/one up:/link
  assert_equal "$(client exec up cat /d/one)" one
}

@test "- is an archive on stdin and stdout" {
  tar -cf - -C tree . | client cp - up:/srv 2>/dev/null && fail "a directory that is not there was taken"
  client exec up mkdir /srv
  tar -cf - -C tree . | client cp - up:/srv
  assert_equal "$(client exec up cat /srv/sub/two)" two
  tar -czf - -C tree one | client cp - up:/tmp
  assert_equal "$(client exec up cat /tmp/one)" one
  client cp up:/d - | tar -tf - >names
  grep -qx d/sub/g names
}

@test "volumes are where they are in the container, whether it runs or not" {
  client cp tree/one down:/vol/from-down
  assert_equal "$(client exec up cat /vol/from-down)" one
  client cp tree/one up:/vol/from-up
  assert_equal "$(contents down /vol/from-up)" one
  mkdir bound
  echo host >bound/f
  client create --name binds -v "$PWD/bound:/b" -v "$PWD/bound:/r:ro" busybox true >/dev/null
  assert_equal "$(contents binds /b/f)" host
  client cp tree/one binds:/b/new
  assert_equal "$(cat bound/new)" one
  run client cp tree/one binds:/r/no
  assert_failure 1
  assert_output --partial 'mounted volume is marked read-only'
  refute [ -e bound/no ]
}

@test "a read-only container takes nothing, but its volumes do" {
  client run -d --name ro --read-only -v cp-vol:/vol busybox sleep 1000 >/dev/null
  run client cp tree/one ro:/tmp/x
  assert_failure 1
  assert_output --partial 'container rootfs is marked read-only'
  client cp tree/one ro:/vol/x
  assert_equal "$(client exec ro cat /vol/x)" one
  on_engine dockerd || # 500 before Docker 23
    assert_equal "$(archive_status PUT '/containers/ro/archive?path=/tmp' --data-binary @/dev/null)" 403
}

@test "a stopped container that got a file has it when it is started" {
  client create --name later busybox cat /got >/dev/null
  client cp tree/one later:/got
  assert_equal "$(client start -a later)" one
}

@test "HEAD tells what is there" {
  stat_of() { api HEAD "/containers/$1/archive?path=$2" -I | tr -d '\r' | sed -n 's/^X-Docker-Container-Path-Stat: //ip' | base64 -d; }
  for c in up; do
    assert_equal "$(stat_of $c /d/f | jq -c '[.name, .size, .linkTarget]')" '["f",3,""]'
    assert_equal "$(stat_of $c /d/f | jq '.mode')" $((1 << 23 | 0751))
    assert_equal "$(stat_of $c /d/ | jq -c '[.name, .mode >= 2147483648]')" '["d",true]'
    assert_equal "$(stat_of $c /link | jq -c '[.name, .linkTarget]')" '["link","/d"]'
    assert_equal "$(stat_of $c /d/l | jq -r '.linkTarget')" /d/f
    assert_equal "$(stat_of $c /broken | jq -r '.linkTarget')" /nowhere
    assert_equal "$(stat_of $c /d/fifo | jq '.mode')" $((1 << 25 | 0644))
    assert_equal "$(stat_of $c / | jq -r .name)" /
  done
}

@test "what is wrong is said, and nothing is changed" {
  run client cp tree/one up:/nope/x
  assert_failure 1
  assert_output --partial 'Could not find the file /nope in container up'
  run client cp up:/nope x
  assert_failure 1
  assert_output --partial 'Could not find the file /nope in container up'
  run client cp nope:/x .
  assert_failure 1
  assert_output --partial 'No such container: nope'
  run client cp nowhere up:/tmp
  assert_failure 1
  assert_output --partial 'no such file or directory'
  run client cp up:/d down:/d
  assert_failure 1
  assert_output --partial 'copying between containers is not supported'
  run client cp tree other
  assert_failure 1
  assert_output --partial 'must specify at least one container source'
  run client cp tree up:/d/f
  assert_failure 1
  assert_output --partial 'cannot copy directory'
  run client cp up:/d tree/one
  assert_failure 1
  assert_output --partial 'cannot copy directory'
  run client cp tree/one up:/nope/
  assert_failure 1
  assert_output --partial 'no such directory'
  run client cp up:/d/f nowhere/x
  assert_failure 1
  assert_output --partial 'does not exist'
}

@test "the API answers a bad request as Docker does" {
  assert_equal "$(archive_status GET /containers/up/archive)" 400
  assert_equal "$(archive_status GET '/containers/up/archive?path=/nope')" 404
  assert_equal "$(archive_status GET '/containers/nope/archive?path=/')" 404
  assert_equal "$(archive_status PUT '/containers/up/archive?path=/nope' --data-binary @/dev/null)" 404
  on_engine dockerd || # 500 before Docker 23
    assert_equal "$(archive_status PUT '/containers/up/archive?path=/d/f' --data-binary @/dev/null)" 400
  printf 'no archive at all, and long enough to be looked at as one %0600d' 0 >junk
  run api_status PUT '/containers/up/archive?path=/tmp' --data-binary @junk
  refute [ "${lines[-1]}" = 200 ]
  tar -cf file.tar -C tree sub/two
  mkdir kinds && echo x >kinds/d && tar -cf kinds.tar -C kinds d
  run api_status PUT '/containers/up/archive?path=/&noOverwriteDirNonDir=1' --data-binary @kinds.tar
  refute [ "${lines[-1]}" = 200 ]
  assert_output --partial 'cannot overwrite directory'
  client exec up test -d /d/sub
  mkdir -p kinds2/d/f && tar -cf kinds2.tar -C kinds2 d
  run api_status PUT '/containers/up/archive?path=/&noOverwriteDirNonDir=1' --data-binary @kinds2.tar
  refute [ "${lines[-1]}" = 200 ]
  assert_output --partial 'cannot overwrite non-directory'
  assert_equal "$(archive_status PUT '/containers/up/archive?path=/' --data-binary @kinds2.tar)" 200
  client exec up test -d /d/f
}
