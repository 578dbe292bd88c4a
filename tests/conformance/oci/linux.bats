#!/usr/bin/env bats
# config-linux.md: namespaces, id maps, cgroups, propagation and paths; one test a demand.

load helper

setup() { oci_setup; }
teardown() { oci_teardown; }

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
  local file
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

@test "a user namespace is joined by its path, with namespaces of its own and its ids" {
  config "
c['linux']['namespaces']=[{'type':t} for t in ('mount','pid','network','ipc','uts','cgroup','user')]
c['linux']['uidMappings']=c['linux']['gidMappings']=[{'containerID':0,'hostID':100000,'size':65536}]
c['root']['readonly']=False
c['mounts']=[m for m in c['mounts'] if m['type'] in ('proc','tmpfs')]"
  chown -R 100000:100000 "$BUNDLE/rootfs"; chmod 755 "$OCI" "$BUNDLE"
  created 'sleep 100'
  local first=$ID pid
  pid=$(cat "$OCI/pid")
  ID=$ID-second
  config "
c['linux']['namespaces']=[{'type':t} for t in ('mount','ipc','uts','cgroup')]+[{'type':t,'path':'/proc/$pid/ns/'+f} for t,f in (('user','user'),('network','net'),('pid','pid'))]
del c['linux']['uidMappings'], c['linux']['gidMappings']"
  in_container 'for n in user net pid uts; do readlink /proc/self/ns/$n; done; id -u; touch /tmp/made'
  local user net pids uts
  user=$(readlink "/proc/$pid/ns/user") net=$(readlink "/proc/$pid/ns/net") pids=$(readlink "/proc/$pid/ns/pid") uts=$(readlink "/proc/$pid/ns/uts")
  echo "$output"
  [ "$status" -eq 0 ]
  [ "${lines[0]} ${lines[1]} ${lines[2]}" = "$user $net $pids" ]
  [ "${lines[3]}" != "$uts" ]
  [ "${lines[4]}" = 0 ]
  [ "$(stat -c %u "$BUNDLE/rootfs/tmp/made")" = 100000 ]
  # And exec comes into all of them.
  config "c['process']['args']=['/bin/sh','-c','sleep 100']"
  runtime run --detach --bundle "$BUNDLE" "$ID" </dev/null >/dev/null 2>&1
  run runtime exec "$ID" /bin/sh -c 'readlink /proc/self/ns/user; id -u'
  [ "$(echo $output)" = "$user 0" ]
  runtime delete --force "$first"
}

@test "a mount namespace is joined by its path" {
  unshare --mount --propagation private sh -c "mount -t tmpfs marked /mnt; echo seen >/mnt/mark; touch '$OCI/up'; exec sleep 100" &
  HELPER=$!
  until_true test -e "$OCI/up"
  config "
c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='mount']+[{'type':'mount','path':'/proc/$HELPER/ns/mnt'}]
c['mounts']=[m for m in c['mounts'] if m['type'] in ('proc','tmpfs')]+[{'destination':'/root','source':'/mnt','type':'bind','options':['bind']}]"
  in_container 'cat /root/mark; readlink /proc/self/ns/mnt'
  echo "$output"
  [ "${lines[0]}" = seen ]
  [ "${lines[1]}" = "$(readlink "/proc/$HELPER/ns/mnt")" ]
  nothing_left
}

@test "without a mount namespace the root is changed and nothing is mounted" {
  config "
c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='mount']"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *"mounts: needs a mount namespace"* ]]
  config "
c['mounts']=[]; c['root'].pop('readonly',None)
for k in ('maskedPaths','readonlyPaths'): c['linux'].pop(k,None)"
  cp /proc/self/mountinfo "$OCI/before"
  config "c['process']['args']=['/bin/sh','-c','ls /; sleep 100']"
  runtime run --detach --bundle "$BUNDLE" "$ID" </dev/null >"$OCI/out" 2>&1
  until_true grep -q root "$OCI/out"
  [ "$(echo $(cat "$OCI/out"))" = "bin dev etc proc root sys tmp" ]
  run runtime exec "$ID" /bin/sh -c 'ls /'
  [ "$(echo $output)" = "bin dev etc proc root sys tmp" ]
  cmp /proc/self/mountinfo "$OCI/before"
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

@test "time offsets of both clocks, seconds and nanoseconds, and none without a new time namespace" {
  [ -e /proc/self/timens_offsets ] || skip "the kernel has no time namespaces"
  config "
c['linux']['namespaces'].append({'type':'time'})
c['linux']['timeOffsets']={'monotonic':{'secs':86400,'nanosecs':5},'boottime':{'secs':-1}}"
  created 'exec sleep 100'
  [ "$(tr -s ' ' <"/proc/$(cat "$OCI/pid")/timens_offsets" | sed 's/ *$//')" = "$(printf 'monotonic 86400 5\nboottime -1 0')" ]
  runtime delete --force "$ID"
  config "c['linux']['namespaces'].pop()"
  refused "linux.timeOffsets: need a new time namespace"
}

@test "an id-mapped bind shows the ids of its own maps, and of the user namespace without any" {
  [ "$(printf "%s\n" 6.3 "$(uname -r)" | sort -V | head -n 1)" = 6.3 ] || skip "a tmpfs can be id-mapped from Linux 6.3 on"
  mkdir "$OCI/dir" "$OCI/dir/below"; touch "$OCI/dir/file"; chown 5:6 "$OCI/dir/file"; chmod 755 "$OCI"
  mount -t tmpfs tmpfs "$OCI/dir/below"; touch "$OCI/dir/below/file"
  config "
c['mounts']+=[{'destination':'/tmp','source':'$OCI/dir','type':'bind','options':['rbind','idmap'],
  'uidMappings':[{'containerID':0,'hostID':1000,'size':10}],'gidMappings':[{'containerID':0,'hostID':2000,'size':10}]},
 {'destination':'/root','source':'$OCI/dir','type':'bind','options':['rbind','ridmap'],
  'uidMappings':[{'containerID':0,'hostID':1000,'size':10}],'gidMappings':[{'containerID':0,'hostID':2000,'size':10}]}]"
  in_container 'stat -c %u:%g /tmp/file /tmp/below/file /root/file /root/below/file'
  umount "$OCI/dir/below"
  echo "$output"
  [ "$(echo $output)" = "1005:2006 0:0 1005:2006 1000:2000" ]
  config "
c['linux']['namespaces'].append({'type':'user'})
c['linux']['uidMappings']=c['linux']['gidMappings']=[{'containerID':0,'hostID':100000,'size':65536}]
c['root']['readonly']=False
c['mounts']=[m for m in c['mounts'] if m['type'] in ('proc','tmpfs')]+[{'destination':'/root','source':'$OCI/dir','type':'bind','options':['bind','idmap']}]"
  chown -R 100000:100000 "$BUNDLE/rootfs"; chmod 755 "$BUNDLE"
  in_container 'stat -c %u:%g /root/file; touch /root/made'
  echo "$output"
  [ "${lines[0]}" = 5:6 ]
  [ "$(stat -c %u "$OCI/dir/made")" = 0 ]
}

@test "an id-mapped mount that cannot be is an error that names the mount" {
  config "c['mounts'].append({'destination':'/x','source':'tmpfs','type':'tmpfs','options':['idmap']})"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *"mounts[7] /x: options: only a bind mount can be id-mapped"* ]]
  config "c['mounts'][-1].update(type='bind',source='$OCI',options=['bind','idmap'])"
  in_container true
  [[ "$output" == *"mounts[7] /x: options: idmap needs uidMappings"* ]]
  nothing_left
}

@test "a bind in a user namespace comes from where only the host's root can look" {
  mkdir -m 700 "$OCI/secret"; mkdir "$OCI/secret/shared"; echo content >"$OCI/secret/shared/file"
  config "
c['linux']['namespaces'].append({'type':'user'})
c['linux']['uidMappings']=c['linux']['gidMappings']=[{'containerID':0,'hostID':100000,'size':65536}]
c['root']['readonly']=False
c['mounts']=[m for m in c['mounts'] if m['type'] in ('proc','tmpfs')]+[{'destination':'/root','source':'$OCI/secret/shared','type':'bind','options':['bind']}]"
  chown -R 100000:100000 "$BUNDLE/rootfs"; chmod 755 "$OCI" "$BUNDLE"
  in_container 'cat /root/file'
  [ "$output" = content ]
}

@test "tmpcopyup: a tmpfs begins as a copy of what it covers" {
  mkdir -p "$BUNDLE/rootfs/data/sub"; echo text >"$BUNDLE/rootfs/data/sub/file"; ln -s sub "$BUNDLE/rootfs/data/link"
  chmod 640 "$BUNDLE/rootfs/data/sub/file"; chown 7:8 "$BUNDLE/rootfs/data/sub/file"; chmod 750 "$BUNDLE/rootfs/data"
  config "c['mounts'].append({'destination':'/data','source':'tmpfs','type':'tmpfs','options':['rw','nosuid','tmpcopyup','size=1m']})"
  in_container 'cat /data/link/file; stat -c %a:%u:%g /data/sub/file /data; echo more >/data/new; grep -c " /data tmpfs" /proc/mounts'
  echo "$output"
  [ "$(echo $output)" = "text 640:7:8 750:0:0 1" ]
  [ ! -e "$BUNDLE/rootfs/data/new" ]
  config "c['mounts'][-1]['options'].append('mode=1777')"
  in_container 'stat -c %a /data'
  [ "$output" = 1777 ]
  config "c['mounts'][-1]['options']=['tmpcopyup','size=4k']"
  head -c 100000 /dev/zero >"$BUNDLE/rootfs/data/big"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *"mounts[7] /data: options: tmpcopyup"* ]]
  nothing_left
}

@test "a tmpfs has the mode of the directory it covers unless told otherwise" {
  mkdir -m 2711 "$BUNDLE/rootfs/covered"; chmod 2711 "$BUNDLE/rootfs/covered"
  config "c['mounts']+=[{'destination':d,'source':'tmpfs','type':'tmpfs','options':o} for d,o in (('/covered',[]),('/tmp',['mode=700']))]"
  in_container 'stat -c %a /covered /tmp'
  [ "$(echo $output)" = "2711 700" ]
}

@test "memoryPolicy holds for the program and for exec, an unknown mode is an error" {
  config "c['linux']['memoryPolicy']={'mode':'MPOL_BIND','nodes':'0','flags':['MPOL_F_STATIC_NODES']}"
  in_container 'head -n 1 /proc/self/numa_maps'
  case $output in *"unction not implemented"* | *numa_maps*) skip "the kernel has no NUMA policies" ;; esac
  echo "$output"
  [[ "$output" == *"bind=static:0 "* || "$output" == *"bind:0 "* ]]
  config "c['linux']['memoryPolicy']['mode']='MPOL_HERE'"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *'linux.memoryPolicy.mode: unknown word "MPOL_HERE"'* ]]
  nothing_left
}

@test "mountLabel is given to the file systems, or refused where the kernel has no SELinux" {
  config "c['linux']['mountLabel']='system_u:object_r:container_file_t:s0'"
  in_container 'grep " /dev/shm " /proc/mounts'
  if [ -e /sys/fs/selinux/enforce ]; then
    [[ "$output" == *container_file_t* ]]
  else
    [ "$status" -eq 1 ]
    [[ "$output" == *"linux.mountLabel"* ]]
  fi
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
  [ "$(group_of pids pids.max pids.max)" = 17 ]
}

@test "memory: limit and reservation" {
  config "c['linux']['resources']['memory']={'limit':67108864,'reservation':33554432,'disableOOMKiller':False}"
  created 'sleep 100'
  [ "$(group_of memory memory.limit_in_bytes memory.max)" = 67108864 ]
  [ "$(group_of memory memory.soft_limit_in_bytes memory.low)" = 33554432 ]
}

@test "memory: swappiness is set where the hierarchy has it, and is an error where not" {
  config "c['linux']['resources']['memory']={'swappiness':10}"
  if on_v2 memory; then
    in_container true
    [ "$status" -eq 1 ]
    [[ "$output" == *"linux.resources.memory.swappiness: "* ]]
    nothing_left
  else
    created 'sleep 100'
    [ "$(group_of memory memory.swappiness)" = 10 ]
  fi
}

@test "memory: the out-of-memory killer is turned off where the hierarchy can, and is an error where not" {
  config "c['linux']['resources']['memory']={'limit':67108864,'disableOOMKiller':True}"
  if on_v2 memory; then
    in_container true
    [ "$status" -eq 1 ]
    [[ "$output" == *"linux.resources.memory.disableOOMKiller: "* ]]
    nothing_left
  else
    created 'sleep 100'
    group_of memory memory.oom_control | grep -qx 'oom_kill_disable 1'
  fi
}

@test "cpu: shares, period, quota, cpus and mems" {
  config "c['linux']['resources']['cpu']={'shares':512,'period':50000,'quota':25000,'cpus':'0','mems':'0'}"
  created 'sleep 100'
  if on_v2 cpu; then
    [ "$(group_of cpu - cpu.weight)" = 20 ] # 1 + (512 - 2) * 9999 / 262142
    [ "$(group_of cpu - cpu.max)" = "25000 50000" ]
  else
    [ "$(group_of cpu cpu.shares)" = 512 ]
    [ "$(group_of cpu cpu.cfs_period_us)" = 50000 ]
    [ "$(group_of cpu cpu.cfs_quota_us)" = 25000 ]
  fi
  [ "$(group_of cpuset cpuset.cpus cpuset.cpus)" = 0 ]
  [ "$(group_of cpuset cpuset.mems cpuset.mems)" = 0 ]
}

@test "devices of the cgroup: the last rule that matches wins" {
  config "
c['linux']['resources']['devices']=[{'allow':False,'access':'rwm'},
 {'allow':True,'type':'c','major':10,'minor':200,'access':'rwm'},{'allow':False,'type':'c','major':10,'minor':200,'access':'w'}]
for k in c['process']['capabilities'].values(): k.append('CAP_MKNOD')
c['root']['readonly']=False"
  in_container 'mknod /tmp/tun c 10 200 && (: </tmp/tun) && echo read; (: >>/tmp/tun) 2>&1; mknod /tmp/other c 10 229; (: </tmp/other) 2>&1'
  [ "${#lines[@]}" -eq 3 ]
  [ "${lines[0]}" = read ]
  [[ "${lines[1]}" == *"/tmp/tun: Operation not permitted" ]]
  [[ "${lines[2]}" == *"/tmp/other: Operation not permitted" ]]
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
  [ "$(group_of pids pids.max pids.max)" = 33 ]
  echo '{"memory":{"limit":134217728}}' | runtime update --resources - "$ID"
  [ "$(group_of memory memory.limit_in_bytes memory.max)" = 134217728 ]
}

@test "update: swap alone changes beside the memory limit that is there, or is an error where it needs both" {
  [ -e "$(hierarchy_of memory)/cgroup.controllers" ] || [ -e "$(hierarchy_of memory)/memory.memsw.limit_in_bytes" ] ||
    skip "this kernel does not limit swap"
  config "c['linux']['resources']['memory']={'limit':67108864,'swap':67108864}"
  created 'sleep 100'
  if on_v2 memory; then
    run runtime update --memory-swap 134217728 "$ID"
    [ "$status" -eq 1 ]
    [[ "$output" == *"linux.resources.memory.swap: "* ]]
  else
    runtime update --memory-swap 134217728 "$ID"
    [ "$(group_of memory memory.memsw.limit_in_bytes)" = 134217728 ]
  fi
}

@test "rootfsPropagation: shared, slave, private and unbindable" {
  local word
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

@test "rootfsPropagation: a mount of the host comes in with slave and shared, not with private" {
  mkdir -p "$OCI/host/below" "$BUNDLE/rootfs/seen"
  mount -t tmpfs tmpfs "$OCI/host"; mount --make-shared "$OCI/host"; mkdir "$OCI/host/below"
  local word failed=
  for word in slave private; do
    config "c['linux']['rootfsPropagation']='$word'; c['mounts']=[m for m in c['mounts'] if m['destination']!='/seen']+[{'destination':'/seen','source':'$OCI/host','type':'bind','options':['rbind','r$word']}]"
    created 'exec sleep 100'
    mount -t tmpfs later "$OCI/host/below"
    if grep -q "^later /seen/below" "/proc/$(cat "$OCI/pid")/mounts"; then [ $word = slave ]; else [ $word = private ]; fi || failed+="$word "
    umount "$OCI/host/below"
    runtime delete --force "$ID"
  done
  umount "$OCI/host"
  [ -z "$failed" ] || { echo "$failed"; return 1; }
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
