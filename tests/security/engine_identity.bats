#!/usr/bin/env bats
# Attacks of images on who a process is, through a client and the daemon; runtime_identity.bats has them against the
# runtime alone. Each test names the flaw it guards against, and under "fails" what was taken out to see that it does.

BATS_TEST_TIMEOUT=300 # one test starts the client 150 times
load ../lib/common

setup_file() {
  usual_setup_file
  hostile_image
}
teardown_file() { usual_teardown_file; }
teardown() { usual_teardown; }

# hostile: an image whose passwd and group files have every kind of name and number in them, a file that group 1000 is
# denied, and a set-group-id program that reads it.
hostile_image() {
  local root=$TEST_ROOT/rootfs
  mkdir -p "$root"/{bin,etc,proc,sys,dev,tmp}
  cp /bin/busybox "$root/bin/"
  for applet in sh id cat sleep ls echo; do ln -s busybox "$root/bin/$applet"; done
  cat >"$root/etc/passwd" <<'P'
root:x:0:0:root:/root:/bin/sh
1234:x:0:0:numeric:/:/bin/sh
4294967296:x:0:0:overflow:/:/bin/sh
4294967295:x:0:0:no change:/:/bin/sh
-1:x:0:0:negative:/:/bin/sh
0x1:x:7:7:hexadecimal:/:/bin/sh
overflow:x:4294967296:4294967296::/:/bin/sh
unchanged:x:4294967295:4294967295::/:/bin/sh
negative:x:-1:-1::/:/bin/sh
spaced:x: 0: 0::/:/bin/sh
octal:x:010:010::/:/bin/sh
member:x:1000:1000::/:/bin/sh
P
  cat >"$root/etc/group" <<'G'
root:x:0:
1234:x:0:
seven:x:7:member
overflow:x:4294967296:member
unchanged:x:4294967295:member
negative:x:-1:member
nine:x:9:root,member,other
members:x:10:members,memb,ember
G
  echo SECRET >"$root/denied"
  chown 0:1000 "$root/denied"
  chmod 604 "$root/denied"
  cat >"$TEST_ROOT/reader.c" <<'C'
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
  char text[64];
  int fd = open("/denied", O_RDONLY);
  printf("%d\n", (int)getegid());
  if (fd == -1) return 1;
  fwrite(text, 1, (size_t)read(fd, text, sizeof text), stdout);
  return 0;
}
C
  if cc -static -o "$root/bin/reader" "$TEST_ROOT/reader.c"; then
    chown 0:27 "$root/bin/reader"
    chmod 2755 "$root/bin/reader"
  fi
  tar -C "$root" --numeric-owner -cf "$TEST_ROOT/hostile.tar" .
  client import "$TEST_ROOT/hostile.tar" hostile:1
}

running() { # sets name: a container that can be execed in
  name=$(random_name identity)
  client run -d --name "$name" "$@" hostile:1 sleep 1000
}

# refused ARGUMENT…: the client fails, and nothing of what it asked for has run.
refused() {
  local answer
  ! answer=$(client "$@" 2>&1) || { echo "$*: $answer" && return 1; }
  [[ "$answer" != *OWNED* && "$answer" != *uid=* ]] || { echo "$*: $answer" && return 1; }
}

# Fails: enter() does not call setresuid.
@test "CVE-2026-30892: user 1 is user 1, for run, exec and the image's USER" {
  run client run --rm -u 1 hostile:1 id -u
  assert_output 1
  running
  run client exec -u 1 "$name" id -u
  assert_output 1
  client rm -f "$name"
  client import --change 'USER 1' "$TEST_ROOT/hostile.tar" hostile:user
  run client run --rm hostile:user id -u
  assert_output 1
  running -u 1
  run client exec "$name" id -u
  assert_output 1
  client rm -f "$name"
  client rmi hostile:user
}

# Fails: number() has no limit.
@test "CVE-2024-40635: numbers that are no ids are refused and never root, though the image has users of that name" {
  running
  for user in 4294967296 4294967295 2147483648 18446744073709551616 1:4294967296 1:4294967295 \
    overflow unchanged negative spaced 1:overflow 1:unchanged 1:negative; do
    refused run --rm -u "$user" hostile:1 id
    refused exec -u "$user" "$name" id
  done
  for group in 4294967296 4294967295 overflow unchanged negative; do
    refused run --rm -u 1 --group-add "$group" hostile:1 id
  done
  client rm -f "$name"
}

# Fails: find_passwd() matches a name that is a number, and resolve_user_in() takes the id of what was found.
@test "CVE-2026-46680: a user's name that is a number does not shadow the id" {
  run client run --rm -u 1234 hostile:1 id -u
  assert_output 1234
  run client run --rm -u 1234:1234 hostile:1 id -g
  assert_output 1234
  running
  run client exec -u 1234 "$name" id -u
  assert_output 1234
  client rm -f "$name"
  client import --change 'USER 1234' "$TEST_ROOT/hostile.tar" hostile:user
  run client run --rm hostile:user id -u
  assert_output 1234
  client rmi hostile:user
}

# Fails: add_memberships() compares the beginning of a name only.
@test "CVE-2022-36109: the groups are exactly those of the user and those given" {
  run client run --rm -u member hostile:1 id -G
  assert_output '1000 7 9'
  run client run --rm -u 1000 hostile:1 id -G
  assert_output '1000 7 9'
  run client run --rm -u member --group-add 44 --group-add seven hostile:1 id -G
  assert_output '1000 7 9 44'
  run client run --rm -u 5:6 hostile:1 id -G
  assert_output 6
  running
  run client exec -u member "$name" id -G
  assert_output '1000 7 9'
  run client exec "$name" id -G
  assert_output '0 9'
  client rm -f "$name"
}

# Fails: resolve_user_in() leaves the user's own group out of the additional ones.
@test "CVE-2022-36109: a program that is set-group-id is no way round what a group is denied" {
  [ -e "$TEST_ROOT/rootfs/bin/reader" ] || skip "no C compiler"
  for user in member 1000:1000 member:1000; do
    run client run --rm -u "$user" hostile:1 reader
    assert_failure
    assert_output 27
  done
  running
  run client exec -u member "$name" reader
  assert_failure
  assert_output 27
  client rm -f "$name"
}

# Fails: close_others() is not called, change_directory() resolves magic links and does not ask getcwd (each for its
# own half).
@test "CVE-2024-21626: no descriptor of the shim leads to a program or a working directory of the host" {
  running
  for n in {3..40}; do
    refused exec "$name" "/proc/self/fd/$n/self/root/bin/echo" OWNED
    refused exec -w "/proc/self/fd/$n" "$name" echo OWNED
  done
  client rm -f "$name"
  for n in {3..40}; do
    refused run --rm hostile:1 "/proc/self/fd/$n/self/root/bin/echo" OWNED
    refused run --rm -w "/proc/self/fd/$n" hostile:1 echo OWNED
  done
  run client ps -aq
  refute_output
}
