# For tests of gantry-runtime on bundles: a private root, a busybox bundle, a check that nothing is left.
# RUNTIME names the program under test (GANTRY_BUILD's by default).

OCI_REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
GANTRY_BUILD=${GANTRY_BUILD:-$OCI_REPOSITORY/build/release}
RUNTIME=${RUNTIME:-$GANTRY_BUILD/bin/gantry-runtime}

oci_setup() {
  OCI=$(mktemp -d /tmp/oci.XXXXXX)
  ID=oci-$BATS_TEST_NUMBER-$RANDOM$RANDOM
  BUNDLE=$OCI/bundle
  mkdir -p "$BUNDLE"/rootfs/{bin,etc,proc,sys,dev,tmp,root}
  cp /bin/busybox "$BUNDLE/rootfs/bin/"
  local applet
  for applet in sh true false cat id ls mount umount sleep echo ps hostname touch env grep head readlink mkdir stat test kill dd awk wc cut sort uname; do
    ln -s busybox "$BUNDLE/rootfs/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n' >"$BUNDLE/rootfs/etc/passwd"
  (cd "$BUNDLE" && "$RUNTIME" spec)
  config "c['process']['terminal']=False"
}

oci_teardown() {
  [ -z "${HELPER:-}" ] || kill "$HELPER" 2>/dev/null || true
  runtime delete --force "$ID" >/dev/null 2>&1
  rm -rf "$OCI"
}

runtime() { "$RUNTIME" --root "$OCI/root" "$@"; }

# config PYTHON: changes the configuration, which is `c`.
config() {
  /usr/bin/python3 - "$BUNDLE/config.json" "$1" <<'PY'
import json, sys
path = sys.argv[1]
c = json.load(open(path))
exec(sys.argv[2])
json.dump(c, open(path, 'w'))
PY
}

# sh SCRIPT: runs it in a new container.
in_container() {
  config "c['process']['args']=['/bin/sh','-c','''$1''']"
  run runtime run --bundle "$BUNDLE" "$ID" </dev/null
}

# created SCRIPT: a container at its gate. Its output goes to $OCI/out.
created() {
  config "c['process']['args']=['/bin/sh','-c','''$1''']"
  runtime create --bundle "$BUNDLE" --pid-file "$OCI/pid" "$ID" </dev/null >"$OCI/out" 2>&1
}

status_of() { runtime state "$ID" | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["status"])'; }

# until_true COMMAND…: waits at most 5 s for it to succeed.
until_true() {
  local end=$((SECONDS + 5))
  until "$@"; do
    [ $SECONDS -lt $end ] || { echo "not within 5 s: $*" >&2; return 1; }
    sleep 0.02
  done
}
is_status() { [ "$(status_of)" = "$1" ]; }

nothing_left() {
  [ ! -e "$OCI/root/$ID" ] || { echo "state directory is left"; return 1; }
  local groups
  groups=$(find /sys/fs/cgroup -maxdepth 4 -type d -name "$ID" 2>/dev/null)
  [ -z "$groups" ] || { echo "cgroups are left: $groups"; return 1; }
  ! grep -q "$OCI" /proc/self/mountinfo || { echo "a mount is left"; return 1; }
}
