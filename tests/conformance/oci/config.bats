#!/usr/bin/env bats
# config.md and config-linux.md: what a configuration must bring about.

load helper

setup() { oci_setup; }
teardown() { oci_teardown; }

@test "only 0, 1 and 2 are open in the container" {
  exec 7</etc/passwd 9</dev/null
  in_container 'ls /proc/self/fd'
  # 3 is ls reading the directory.
  [ "$(echo "$output" | tr '\n' ' ')" = "0 1 2 3 " ]
}

@test "--preserve-fds passes that many on" {
  config "c['process']['args']=['/bin/sh','-c','cat <&3']"
  echo preserved >"$OCI/file"
  run runtime run --bundle "$BUNDLE" --preserve-fds 1 "$ID" 3<"$OCI/file"
  [ "$output" = preserved ]
}

@test "the default devices and links are there" {
  in_container 'cd /dev; for d in null zero full random urandom tty; do test -c $d || echo no $d; done; for l in ptmx fd stdin stdout stderr; do readlink $l; done'
  [ "$(echo "$output" | tr '\n' ' ')" = "pts/ptmx /proc/self/fd /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 " ]
}

@test "masked paths cannot be read, read-only paths cannot be written" {
  in_container 'cat /proc/timer_list | head -c 1; ls /sys/firmware; echo 1 >/proc/sys/kernel/panic || echo refused'
  [[ "${lines[-1]}" == refused ]]
  [ "${#lines[@]}" -eq 2 ]
}

@test "user, groups, umask, directory and environment are as asked" {
  config "c['process'].update(user={'uid':1000,'gid':1001,'umask':63,'additionalGids':[5,6]},cwd='/tmp',env=['PATH=/bin','A=b c'])"
  in_container 'id -u; id -G; umask; pwd; echo $A; echo $HOME'
  [ "$(echo "$output" | tr '\n' ' ')" = "1000 1001 5 6 0077 /tmp b c /home/user " ]
}

@test "capabilities are exactly the five sets" {
  config "c['process']['capabilities']={k:['CAP_CHOWN','CAP_KILL'] for k in ('bounding','effective','permitted','inheritable','ambient')}; c['process']['user']={'uid':1000,'gid':1000}"
  in_container 'grep ^Cap /proc/self/status'
  [ "$(echo "$output" | grep -c 0000000000000021)" -eq 5 ]
}

@test "no_new_privs, rlimits and oom score are applied" {
  config "c['process'].update(noNewPrivileges=True,oomScoreAdj=123,rlimits=[{'type':'RLIMIT_NOFILE','soft':100,'hard':200}])"
  in_container 'grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj; ulimit -Sn; ulimit -Hn'
  [[ "${lines[0]}" == *1 ]]
  [ "${lines[1]} ${lines[2]} ${lines[3]}" = "123 100 200" ]
}

@test "memory and pids limits are those of the configuration, in the container's own cgroup" {
  config "c['linux']['resources'].update(memory={'limit':33554432},pids={'limit':20})"
  local memory=memory/memory.limit_in_bytes pids=pids/pids.max
  ! on_v2 memory || memory=memory.max
  ! on_v2 pids || pids=pids.max
  in_container "cd /sys/fs/cgroup; cat $memory $pids; grep -v ':/$' /proc/self/cgroup || echo rooted"
  [ "$(echo "$output" | tr '\n' ' ')" = "33554432 20 rooted " ]
}

@test "a container works under a 1 MiB memory limit" {
  config "c['linux']['resources'].update(memory={'limit':1048576})"
  in_container true
  [ "$status" -eq 0 ]
}

@test "a device that is not allowed cannot be opened" {
  config "c['linux']['devices']=[{'path':'/dev/some/zero','type':'c','major':10,'minor':200}]"
  in_container ': </dev/some/zero && echo opened'
  [ "$output" = opened ]
  config "c['linux']['devices']=[]; c['process']['capabilities']['bounding'].append('CAP_MKNOD'); c['root']['readonly']=False"
  in_container '/bin/busybox mknod /tmp/tun c 10 200 && (: </tmp/tun) || echo refused'
  [[ "$output" == *refused ]]
}

@test "binds: file and directory targets are made, options hold" {
  echo content >"$OCI/file"; mkdir "$OCI/dir"
  config "
c['root']['readonly']=False
c['mounts']+=[{'destination':'/new/file','source':'$OCI/file','type':'bind','options':['bind','ro']},
 {'destination':'/new/dir','source':'$OCI/dir','type':'bind','options':['rbind','rw']}]"
  in_container 'cat /new/file; echo x >/new/file || echo refused; echo y >/new/dir/z'
  [[ "$output" == content*refused ]]
  [ "$(cat "$OCI/dir/z")" = y ]
}

@test "sysctls of the namespace are set" {
  config "c['linux']['sysctl']={'net.ipv4.ip_forward':'1','kernel.shmmni':'111'}"
  in_container 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni'
  [ "$(echo "$output" | tr '\n' ' ')" = "1 111 " ]
}

@test "the network namespace is new and its loopback is up" {
  in_container 'ls /sys/class/net; cat /sys/class/net/lo/flags'
  [ "$(echo "$output" | tr '\n' ' ')" = "lo 0x9 " ]
}

@test "a namespace given by path is joined, one that is not listed is the runtime's" {
  config "
c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type'] not in ('network','ipc')]
c['linux']['namespaces'].append({'type':'ipc','path':'/proc/self/ns/ipc'})
c['mounts']=[m for m in c['mounts'] if m['type']!='sysfs' and m['type']!='cgroup']"
  in_container 'readlink /proc/self/ns/net; readlink /proc/self/ns/ipc'
  [ "${lines[0]}" = "$(readlink /proc/self/ns/net)" ]
  [ "${lines[1]}" = "$(readlink /proc/self/ns/ipc)" ]
}

@test "a user namespace maps the ids" {
  config "
c['linux']['namespaces'].append({'type':'user'})
c['linux']['uidMappings']=c['linux']['gidMappings']=[{'containerID':0,'hostID':100000,'size':65536}]
c['root']['readonly']=False
c['mounts']=[m for m in c['mounts'] if m['type'] not in ('cgroup','mqueue')]"
  chown -R 100000:100000 "$BUNDLE/rootfs"; chmod 755 "$OCI" "$BUNDLE"
  in_container 'id -u; cat /proc/self/uid_map; touch /tmp/made; echo >/dev/null'
  [ "$status" -eq 0 ]
  [ "${lines[0]}" = 0 ]
  [ "$(stat -c %u "$BUNDLE/rootfs/tmp/made")" = 100000 ]
}

@test "errors name the field and the reason in one line, exit with 1 and leave nothing" {
  local original; original=$(cat "$BUNDLE/config.json")
  refused() {
    config "$1"
    in_container true
    [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ] && [[ "$output" == *"$2"* ]] || { echo "got: $output"; return 1; }
    nothing_left
    echo "$original" >"$BUNDLE/config.json"
  }
  refused "c['process']['user']['uid']='x'" "process.user.uid: expected an integer, got a string"
  refused "c['linux']['namespaces'].append({'type':'disk'})" 'linux.namespaces[6].type: unknown namespace "disk"'
  refused "c['root']['path']='nowhere'" "root.path: "
  refused "c['mounts'].append({'destination':'/x','source':'/no/such','type':'bind','options':['bind']})" "mounts[7] /x: source: "
  refused "c['linux']['resources']['memory']={'limit':100,'swap':50}" "linux.resources.memory.swap"
  refused "c['linux']['sysctl']={'vm.swappiness':'1'}" "linux.sysctl: vm.swappiness"
  refused "c['linux']['seccomp']['syscalls'].append({'names':['blub'],'action':'SCMP_ACT_ALLOW'})" 'unknown system call "blub"'
  refused "c['process']['cwd']='tmp'" "process.cwd"
  refused "c['linux']['personality']={'domain':'LINUX64'}" "linux.personality.domain"
}
