#!/usr/bin/env bats
# features.md and features-linux.md: what the features document says is so.

load helper

setup() {
  oci_setup
  "$RUNTIME" features >"$OCI/features"
}
teardown() { oci_teardown; }

# listed PYTHON: the words of that part of the document, `f`.
listed() { /usr/bin/python3 -IS -c 'import json,sys; f=json.load(open(sys.argv[1])); print(*eval(sys.argv[2]))' "$OCI/features" "$1"; }

# works PYTHON: a container of the configuration that is changed like that runs.
works() {
  config "$1"
  in_container 'echo on'
  [ "$output" = on ] || { echo "$1: $output"; return 1; }
}

@test "features: ociVersionMin and ociVersionMax are taken as a configuration's version, in this order" {
  local versions; versions=$(listed "[f['ociVersionMin'],f['ociVersionMax']]")
  [ "$versions" = "$(printf '%s\n' $versions | sort -V | tr '\n' ' ' | sed 's/ $//')" ]
  local version
  for version in $versions; do works "c['ociVersion']='$version'"; done
}

@test "features: there are no properties that the specification has not, and no null" {
  /usr/bin/python3 - "$OCI/features" <<'P'
import json, sys
f = json.load(open(sys.argv[1]))
known = {
    '': 'ociVersionMin ociVersionMax hooks mountOptions annotations linux potentiallyUnsafeConfigAnnotations',
    'linux': 'namespaces capabilities cgroup seccomp apparmor selinux memoryPolicy intelRdt mountExtensions netDevices',
    'linux.cgroup': 'v1 v2 systemd systemdUser rdma',
    'linux.seccomp': 'enabled actions operators archs knownFlags supportedFlags',
    'linux.apparmor': 'enabled', 'linux.selinux': 'enabled', 'linux.netDevices': 'enabled',
    'linux.memoryPolicy': 'modes flags', 'linux.intelRdt': 'enabled schemata monitoring',
    'linux.mountExtensions': 'idmap', 'linux.mountExtensions.idmap': 'enabled'}
def look(value, path):
    assert value is not None, path
    if isinstance(value, dict) and path != 'annotations':
        assert not set(value) - set(known[path].split()), (path, value)
        for key, one in value.items(): look(one, (path + '.' + key).lstrip('.'))
look(f, '')
assert all(isinstance(k, str) and k and isinstance(v, str) for k, v in f['annotations'].items()), f['annotations']
P
}

@test "features: every kind of hook that is listed runs" {
  local kind
  for kind in $(listed "f['hooks']"); do
    config "c['hooks']={'$kind':[{'path':'/no/such'}]}"
    run runtime --log "$OCI/log" run --bundle "$BUNDLE" "$ID" </dev/null
    grep -q "hooks.$kind\[0\] /no/such" "$OCI/log" || { echo "$kind did not run"; return 1; }
  done
}

@test "features: every mount option that is listed is known" {
  mkdir "$BUNDLE/rootfs/m" "$OCI/source"
  local word kind
  for word in $(listed "f['mountOptions']"); do
    case $word in
      idmap | ridmap) kind="'source':'$OCI/source','options':['bind','$word'],'uidMappings':[{'containerID':0,'hostID':0,'size':1}],'gidMappings':[{'containerID':0,'hostID':0,'size':1}]" ;;
      bind | rbind) kind="'source':'$OCI/source','options':['$word']" ;;
      remount) kind="'source':'tmpfs','type':'tmpfs'},{'destination':'/m','options':['remount']" ;;
      *) kind="'source':'tmpfs','type':'tmpfs','options':['$word']" ;;
    esac
    works "c['mounts']=[m for m in c['mounts'] if m['destination']!='/m']+[{'destination':'/m',$kind}]"
  done
  # A word that is in no list goes to the file system, and the check above would see that.
  config "c['mounts'].append({'destination':'/m','source':'tmpfs','type':'tmpfs','options':['nosuchword']})"
  in_container true
  [ "$status" -eq 1 ]
}

@test "features: the mount options that the specification wants are listed" {
  local word list; list=" $(listed "f['mountOptions']") "
  for word in async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime noexec noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro rprivate rshared rslave runbindable rw shared silent slave strictatime suid sync unbindable; do
    [[ "$list" == *" $word "* ]] || { echo "no $word"; return 1; }
  done
}

@test "features: every namespace that is listed is known" {
  local type
  for type in $(listed "f['linux']['namespaces']"); do
    [ "$type" != time ] || [ -e /proc/self/ns/time ] || continue
    config "c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='$type']+[{'type':'$type'}]"
    [ "$type" != user ] || {
      config "c['linux']['uidMappings']=c['linux']['gidMappings']=[{'containerID':0,'hostID':0,'size':65536}]; c['mounts']=[m for m in c['mounts'] if m['type'] in ('proc','tmpfs')]"
      chmod 755 "$OCI" "$BUNDLE"
    }
    works pass
  done
}

@test "features: every capability that is listed is known" {
  config "c['process']['capabilities']={'bounding':'''$(listed "f['linux']['capabilities']")'''.split()}"
  config "c['process']['args']=['/bin/true']"
  runtime --log "$OCI/log" run --bundle "$BUNDLE" "$ID" </dev/null
  run ! grep "is unknown" "$OCI/log"
  config "c['process']['capabilities']['bounding'].append('CAP_NOBODY_KNOWS')"
  runtime --log "$OCI/log" run --bundle "$BUNDLE" "$ID" </dev/null
  grep -q "CAP_NOBODY_KNOWS is unknown" "$OCI/log"
}

@test "features: every seccomp action, operator, architecture and flag that is listed is known" {
  local word
  for word in $(listed "f['linux']['seccomp']['actions']"); do
    works "c['linux']['seccomp']={'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'/none','syscalls':[{'names':['swapoff'],'action':'$word'}]}" ||
      { [ "$word" = SCMP_ACT_NOTIFY ] && [[ "$output" == *listenerPath* ]]; }
  done
  for word in $(listed "f['linux']['seccomp']['operators']"); do
    works "c['linux']['seccomp']={'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['swapoff'],'action':'SCMP_ACT_ERRNO','args':[{'index':0,'value':1,'op':'$word'}]}]}"
  done
  works "c['linux']['seccomp']={'defaultAction':'SCMP_ACT_ALLOW','architectures':'''$(listed "f['linux']['seccomp']['archs']")'''.split(),'syscalls':[{'names':['swapoff'],'action':'SCMP_ACT_ERRNO'}]}"
  for word in $(listed "f['linux']['seccomp']['supportedFlags']"); do
    # One of them is for those who listen.
    [ "$word" = SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV ] ||
      works "c['linux']['seccomp']={'defaultAction':'SCMP_ACT_ALLOW','flags':['$word'],'syscalls':[{'names':['swapoff'],'action':'SCMP_ACT_ERRNO'}]}"
  done
  for word in $(listed "f['linux']['seccomp']['knownFlags']"); do
    config "c['linux']['seccomp']['flags']=['$word']"
    in_container 'echo on'
    [[ "$output" != *"unknown flag"* ]]
  done
}

@test "features: every mode and flag of memoryPolicy that is listed is known" {
  local word
  for word in $(listed "f['linux']['memoryPolicy']['modes']"); do
    config "c['linux']['memoryPolicy']={'mode':'$word','nodes':'' if '$word' in ('MPOL_DEFAULT','MPOL_LOCAL') else '0'}"
    in_container 'echo on'
    [[ "$output" != *"unknown word"* ]]
    [[ "$output" == on || "$output" == *"linux.memoryPolicy: $word"* ]]
  done
  for word in $(listed "f['linux']['memoryPolicy']['flags']"); do
    config "c['linux']['memoryPolicy']={'mode':'MPOL_BIND','nodes':'0','flags':['$word']}"
    in_container 'echo on'
    [[ "$output" != *"unknown word"* ]]
  done
}
