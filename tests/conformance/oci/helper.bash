# For tests of gantry-runtime on bundles: a private root, a busybox bundle, a check that nothing is left.
# RUNTIME names the program under test (GANTRY_BUILD's by default).

bats_require_minimum_version 1.8.0

OCI_REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
GANTRY_BUILD=${GANTRY_BUILD:-$OCI_REPOSITORY/build/release}
RUNTIME=${RUNTIME:-$GANTRY_BUILD/bin/gantry-runtime}

oci_rootfs() { # DIRECTORY: what every test of a file gets a copy of
  mkdir -p "$1"/{bin,etc,proc,sys,dev,tmp,root}
  cp /bin/busybox "$1/bin/"
  local applet
  for applet in sh true false cat id ls mount umount sleep echo ps hostname touch env grep head readlink mkdir stat test kill dd awk wc cut sort uname mknod; do
    ln -s busybox "$1/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n' >"$1/etc/passwd"
}

oci_setup() {
  OCI=$(mktemp -d /tmp/oci.XXXXXX)
  ID=oci-$BATS_TEST_NUMBER-$RANDOM$RANDOM
  BUNDLE=$OCI/bundle
  mkdir "$BUNDLE"
  [ -d "$BATS_FILE_TMPDIR/rootfs" ] || oci_rootfs "$BATS_FILE_TMPDIR/rootfs"
  cp -a "$BATS_FILE_TMPDIR/rootfs" "$BUNDLE/rootfs"
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
  /usr/bin/python3 -IS - "$BUNDLE/config.json" "$1" <<'PY'
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

# refused TEXT: the configuration is an error of one line with that text in it, exit status 1, and nothing is left.
refused() {
  run runtime run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ] && [[ "$output" == *"$1"* ]] ||
    { echo "status $status, wanted \"$1\", got: $output"; return 1; }
  nothing_left
}

# hierarchy_of CONTROLLER: where the hierarchy that has it is mounted: a v1 one of its own, or the unified one.
hierarchy_of() {
  awk -v c="$1" '$3=="cgroup" {n=split($4,a,","); for(i=1;i<=n;i++) if(a[i]==c) v1=$2} $3=="cgroup2" {v2=$2}
    END {print v1 ? v1 : v2}' /proc/mounts
}
on_v2() { [ -e "$(hierarchy_of "$1")/cgroup.controllers" ]; } # CONTROLLER

unified_mount() { awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts; }

# group_directory CONTROLLER: the container's group in that hierarchy. Its pid is in $OCI/pid.
group_directory() {
  echo "$(hierarchy_of "$1")$(awk -F: -v c="$1" '{n=split($2,a,","); for(i=1;i<=n;i++) if(a[i]==c) v1=$3} $1==0 {v2=$3}
    END {print v1 ? v1 : v2}' "/proc/$(cat "$OCI/pid")/cgroup")"
}

# group_of CONTROLLER V1-FILE V2-FILE: what is in the container's group.
group_of() { cat "$(group_directory "$1")/$(if on_v2 "$1"; then echo "$3"; else echo "$2"; fi)"; }
