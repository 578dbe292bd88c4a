# gantry-runtime inside the container engines of Debian's packages: podman, containerd and dockerd.
#
#   ./dev test engines                                           all of it
#   tests/conformance/engines/peers                              unpack the engines into build/peers, once
#   tests/isolate bats tests/conformance/engines/podman.bats     one engine
#   RUNTIME=runc tests/isolate bats …                            the same with runc: what the engines may expect
#
# The engines see build/peers/usr as part of /usr, and an empty /run, in the mount namespace of tests/isolate
# only. Each engine has its own root and socket below TEST_ROOT.

load ../../lib/common

RUNTIME=${RUNTIME:-$GANTRY_BUILD/bin/gantry-runtime}
PEERS=$REPOSITORY/build/peers

# In setup_file: makes TEST_ROOT with the image $TEST_ROOT/busybox.tar, and the peers' programs usable.
peers_setup() {
  [ -n "${GANTRY_ISOLATE_TMP:-}" ] || skip "needs tests/isolate"
  [ -e "$PEERS/.packages" ] || skip "the engines are not there: run tests/conformance/engines/peers"
  TEST_ROOT=$(mktemp -d /tmp/ge.XXXXXX)
  export TEST_ROOT
  mount -t tmpfs -o mode=755 run /run
  mount -t overlay -o "ro,lowerdir=$PEERS/usr:/usr" overlay /usr || skip "an overlay cannot be mounted over /usr here"
  fixture_image "$TEST_ROOT/busybox.tar" --busybox --name busybox:latest
}

# After a first container: what the engine itself keeps is there now.
engine_is_warm() { leaks_snapshot "$TEST_ROOT/before"; }

peers_teardown() {
  [ -n "${TEST_ROOT:-}" ] || return 0
  umount -R "$TEST_ROOT"/*/* 2>/dev/null || true
  umount /usr /run
  rm -rf "$TEST_ROOT"
}

# nothing_left STATE: neither mounts, cgroups, processes nor namespaces, nor anything in the runtime's state
# directory but its cache.
nothing_left() {
  leaks_check "$TEST_ROOT/before"
  eventually 5 equals "" no_states "$1"
}
no_states() { [ ! -d "$1" ] || find "$1" -mindepth 1 -maxdepth 1 ! -name .seccomp; }

bounded() { timeout -k 5 --foreground 60 "$@"; }

# Starts a daemon in the background, log and pid below TEST_ROOT; not with bats' descriptors.
daemon() { # COMMAND…
  setsid "$@" >"$TEST_ROOT/log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  echo $! >"$TEST_ROOT/daemon"
}
daemon_stop() {
  [ -e "$TEST_ROOT/daemon" ] || return 0
  kill -TERM "$(cat "$TEST_ROOT/daemon")"
  eventually 30 process_gone "$(cat "$TEST_ROOT/daemon")"
}
