#!/usr/bin/env bats
# config-linux.md: namespaces, devices, cgroups, sysctl, seccomp and paths; one test a demand.

load helper

setup() { oci_setup; }
teardown() { oci_teardown; }

group_of() { # CONTROLLER FILE: the value in the container's group
  local pid mount path
  pid=$(cat "$OCI/pid")
  path=$(awk -F: -v c="$1" '{n=split($2,a,","); for(i=1;i<=n;i++) if(a[i]==c) print $3}' "/proc/$pid/cgroup")
  mount=$(awk -v c="$1" '$3=="cgroup" {n=split($4,a,","); for(i=1;i<=n;i++) if(a[i]==c) print $2}' /proc/mounts | head -n 1)
  [ -n "$mount" ] || skip "the controller $1 is not on a v1 hierarchy here"
  cat "$mount$path/$2"
}

namespace_only() { # TYPE…: just these, and no mounts that need others
  config "
keep = '$*'.split()
c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type'] in keep or n['type']=='mount']
c['mounts']=[m for m in c['mounts'] if m['type'] in ('proc','tmpfs','devpts')]
c['linux'].pop('sysctl',None); c.pop('hostname',None)"
}

@test "the default file systems proc, sysfs, devpts and tmpfs are there" {
  in_container 'for p in /proc /sys /dev/pts /dev/shm; do awk -v p=$p "\$2==p{print \$3}" /proc/mounts; done'
  [ "$(echo $output)" = "proc sysfs devpts tmpfs" ]
}

@test "each namespace that is listed without a path is new, each that is not listed is the runtime's" {
  local all=(pid network ipc uts cgroup) kind file
  config "c['linux']['namespaces']=[{'type':t} for t in ('mount','pid','network','ipc','uts','cgroup')]"
  in_container 'for n in pid net ipc uts cgroup mnt; do readlink /proc/self/ns/$n; done'
  for file in pid net ipc uts cgroup mnt; do
    [[ "$output" != *"$(readlink /proc/self/ns/$file)"* ]]
  done
  namespace_only
  in_container 'for n in pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done'
  for file in pid net ipc uts cgroup; do
    [[ "$output" == *"$(readlink /proc/self/ns/$file)"* ]] || { echo "$file is not the runtime's: $output"; return 1; }
  done
}

@test "a namespace path that is of another type is an error" {
  config "c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='network']+[{'type':'network','path':'/proc/self/ns/uts'}]"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.namespaces"* ]]
  nothing_left
}

@test "a namespace that is listed twice is an error" {
  config "c['linux']['namespaces'].append({'type':'pid'})"
  in_container true
  [ "$status" -eq 1 ]
  nothing_left
}

@test "every kind of namespace is joined by its path" {
  config "c['linux']['namespaces']=[{'type':t} for t in ('mount','pid','network','ipc','uts','cgroup')]"
  created 'sleep 100'
  local first=$ID pid
  pid=$(cat "$OCI/pid")
  ID=$ID-second
  config "
c['linux']['namespaces']=[{'type':'mount'}]+[{'type':t,'path':'/proc/$pid/ns/'+f} for t,f in (('pid','pid'),('network','net'),('ipc','ipc'),('uts','uts'),('cgroup','cgroup'))]
c.pop('hostname',None)"
  in_container 'for n in pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done'
  local file wanted=""
  for file in pid net ipc uts cgroup; do wanted+="$(readlink "/proc/$pid/ns/$file") "; done
  runtime delete --force "$first"
  [ "$(echo $output) " = "$wanted" ]
}

@test "uid and gid mappings are those of the configuration, several of them" {
  config "
c['linux']['namespaces'].append({'type':'user'})
c['linux']['uidMappings']=[{'containerID':0,'hostID':100000,'size':10},{'containerID':10,'hostID':200000,'size':5}]
c['linux']['gidMappings']=[{'containerID':0,'hostID':300000,'size':7}]
c['mounts']=[m for m in c['mounts'] if m['type'] in ('proc','tmpfs')]"
  chown -R 100000:300000 "$BUNDLE/rootfs"; chmod 755 "$OCI" "$BUNDLE"
  in_container 'cat /proc/self/uid_map /proc/self/gid_map | while read a b c; do echo $a-$b-$c; done'
  [ "$(echo $output)" = "0-100000-10 10-200000-5 0-300000-7" ]
}

@test "time offsets hold in a new time namespace" {
  [ -e /proc/self/timens_offsets ] || skip "the kernel has no time namespaces"
  config "
c['linux']['namespaces'].append({'type':'time'})
c['linux']['timeOffsets']={'boottime':{'secs':100000000}}"
  in_container 'cut -d. -f1 /proc/uptime'
  [ "$output" -ge 100000000 ]
}

@test "devices: type, number, mode and owner are as given" {
  config "c['linux']['devices']=[
 {'path':'/dev/some/char','type':'c','major':1,'minor':3,'fileMode':0o640,'uid':7,'gid':8},
 {'path':'/dev/block','type':'b','major':7,'minor':0,'fileMode':0o600},
 {'path':'/dev/fifo','type':'p','fileMode':0o622}]"
  in_container 'stat -c "%F %t:%T %a %u:%g" /dev/some/char /dev/block; stat -c "%F %a" /dev/fifo'
  [ "${lines[0]}" = "character special file 1:3 640 7:8" ]
  [ "${lines[1]}" = "block special file 7:0 600 0:0" ]
  [ "${lines[2]}" = "fifo 622" ]
}

@test "a file of another kind where a device should be is an error" {
  config "c['mounts']=[m for m in c['mounts'] if m['destination']!='/dev']; c['root']['readonly']=False; c['linux']['devices']=[{'path':'/etc/passwd','type':'c','major':1,'minor':3}]"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.devices[0]"* ]]
}

@test "the default devices are there whatever linux.devices says" {
  config "c['linux']['devices']=[]"
  in_container 'stat -c %t:%T /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty'
  [ "$(echo $output)" = "1:3 1:5 1:7 1:8 1:9 5:0" ]
}

@test "/dev/console is the terminal when process.terminal is set" {
  config "c['process'].update(terminal=True,args=['/bin/sh','-c','stat -c %t /dev/console; test -t 0 && test -t 1 && test -t 2 && echo terminal'])"
  run /usr/bin/python3 "$OCI_REPOSITORY/tests/lib/terminal.py" -- "$RUNTIME" --root "$OCI/root" run --bundle "$BUNDLE" "$ID"
  [[ "$output" == *88*terminal* ]]
}

@test "cgroupsPath: an absolute path is taken below the hierarchy's root" {
  config "c['linux']['cgroupsPath']='/oci-conformance/$ID'"
  created 'sleep 100'
  grep -q ":/.*oci-conformance/$ID$\|:/oci-conformance/$ID$" "/proc/$(cat "$OCI/pid")/cgroup"
  runtime delete --force "$ID"
  nothing_left
}

@test "two containers with one cgroupsPath below do not share limits of others" {
  config "c['linux']['resources'].update(pids={'limit':17})"
  created 'sleep 100'
  [ "$(group_of pids pids.max)" = 17 ]
}

@test "memory: limit, reservation and swappiness" {
  config "c['linux']['resources']['memory']={'limit':67108864,'reservation':33554432,'swappiness':10,'disableOOMKiller':False}"
  created 'sleep 100'
  [ "$(group_of memory memory.limit_in_bytes)" = 67108864 ]
  [ "$(group_of memory memory.soft_limit_in_bytes)" = 33554432 ]
  [ "$(group_of memory memory.swappiness)" = 10 ]
}

@test "cpu: shares, period, quota, cpus and mems" {
  config "c['linux']['resources']['cpu']={'shares':512,'period':50000,'quota':25000,'cpus':'0','mems':'0'}"
  created 'sleep 100'
  [ "$(group_of cpu cpu.shares)" = 512 ]
  [ "$(group_of cpu cpu.cfs_period_us)" = 50000 ]
  [ "$(group_of cpu cpu.cfs_quota_us)" = 25000 ]
  [ "$(group_of cpuset cpuset.cpus)" = 0 ]
  [ "$(group_of cpuset cpuset.mems)" = 0 ]
}

@test "devices of the cgroup: the last rule that matches wins" {
  config "c['linux']['resources']['devices']=[{'allow':False,'access':'rwm'},{'allow':True,'type':'c','major':10,'minor':229,'access':'r'}]"
  created 'sleep 100'
  group_of devices devices.list | grep -qx 'c 10:229 r'
  group_of devices devices.list | grep -qvx 'a \*:\* rwm'
}

@test "a limit the kernel refuses is an error that names the field" {
  config "c['linux']['resources']['cpu']={'period':1}"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.resources.cpu"* ]]
  nothing_left
}

@test "update changes limits of a running container" {
  config "c['linux']['resources']['pids']={'limit':50}"
  created 'sleep 100'
  runtime start "$ID"
  runtime update --pids-limit 33 "$ID"
  [ "$(group_of pids pids.max)" = 33 ]
  echo '{"memory":{"limit":134217728}}' | runtime update --resources - "$ID"
  [ "$(group_of memory memory.limit_in_bytes)" = 134217728 ]
}

@test "seccomp: errnoRet is what the call answers, EPERM without it" {
  config "c['linux']['seccomp']={'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['mkdir','mkdirat'],'action':'SCMP_ACT_ERRNO','errnoRet':28},{'names':['symlink','symlinkat'],'action':'SCMP_ACT_ERRNO'}]}; c['root']['readonly']=False"
  in_container 'mkdir /tmp/x; ln -s a /tmp/l'
  [[ "${lines[0]}" == *"No space left"* ]]
  [[ "${lines[1]}" == *"not permitted"* ]]
}

@test "seccomp: an action that kills does so" {
  config "c['linux']['seccomp']={'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['mkdir','mkdirat'],'action':'SCMP_ACT_KILL_PROCESS'}]}"
  in_container 'mkdir /tmp/x; echo $?'
  [[ "$output" == *159* ]]
}

@test "seccomp: argument conditions are all needed, rules are any" {
  config "c['linux']['seccomp']={'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['kill'],'action':'SCMP_ACT_ERRNO','args':[{'index':1,'value':10,'op':'SCMP_CMP_EQ'}]},{'names':['kill'],'action':'SCMP_ACT_ERRNO','args':[{'index':1,'value':12,'op':'SCMP_CMP_EQ'}]}]}"
  in_container 'trap : USR1 USR2 CONT; kill -10 $$ || echo one; kill -12 $$ || echo two; kill -18 $$ && echo three'
  [[ "$output" == *one*two*three* ]]
}

@test "seccomp: an unknown action or operator is an error that names the field" {
  config "c['linux']['seccomp']['defaultAction']='SCMP_ACT_WHAT'"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.seccomp.defaultAction"* ]]
}

@test "seccomp: listenerPath gets the notify descriptor and the state of the container process" {
  cat >"$OCI/listen.py" <<'P'
import array, json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.bind(sys.argv[1]); s.listen(1)
open(sys.argv[1] + '.up', 'w')
c, _ = s.accept()
data, anc, _, _ = c.recvmsg(65536, socket.CMSG_SPACE(4 * 8))
fds = array.array('i'); [fds.frombytes(d) for _, _, d in anc]
m = json.loads(data)
assert len(fds) == len(m['fds']) and 'seccompFd' in m['fds'], m
assert m['ociVersion'] and m['pid'] > 0 and m['metadata'] == 'meta' and m['state']['id'] == sys.argv[2], m
open(sys.argv[1] + '.ok', 'w')
P
  /usr/bin/python3 "$OCI/listen.py" "$OCI/notify" "$ID" 3>&- >"$OCI/listen.out" 2>&1 &
  HELPER=$!
  until_true test -e "$OCI/notify.up"
  config "c['linux']['seccomp']={'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'$OCI/notify','listenerMetadata':'meta','syscalls':[{'names':['chroot'],'action':'SCMP_ACT_NOTIFY'}]}"
  in_container true
  [ "$status" -eq 0 ]
  until_true test -e "$OCI/notify.ok" || { cat "$OCI/listen.out"; return 1; }
}

@test "rootfsPropagation: shared, slave, private and unbindable" {
  local word mark
  for word in private slave shared unbindable; do
    config "c['linux']['rootfsPropagation']='$word'"
    in_container 'grep " / / " /proc/self/mountinfo | tail -n 1; grep -m1 " / rw\| / ro" /proc/self/mountinfo'
    case $word in
      shared) [[ "$output" == *shared:* ]] ;;
      unbindable) [[ "$output" == *unbindable* ]] ;;
      private) [[ "$output" != *shared:* && "$output" != *master:* ]] ;;
    esac
  done
  config "c['linux']['rootfsPropagation']='what'"
  in_container true
  [ "$status" -eq 1 ]
}

@test "maskedPaths cannot be read, readonlyPaths cannot be written, those that are absent are passed over" {
  config "c['linux'].update(maskedPaths=['/proc/version','/sys/firmware','/no/such'],readonlyPaths=['/proc/sys','/no/such'])"
  in_container 'cat /proc/version | wc -c; ls /sys/firmware | wc -l; (echo 1 >/proc/sys/kernel/domainname) 2>&1'
  [ "${lines[0]} ${lines[1]}" = "0 0" ]
  [[ "${lines[2]}" == *Read-only* ]]
}

@test "personality: LINUX32 is what uname says" {
  config "c['linux']['personality']={'domain':'LINUX32'}; c['linux'].pop('seccomp',None)"
  in_container 'uname -m'
  [ "$output" = i686 ]
}
