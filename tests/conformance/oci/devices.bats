#!/usr/bin/env bats
# config-linux.md, "Devices", "Default Devices" and "Network Devices".

load helper

setup() { oci_setup; }
teardown() { oci_teardown; }

@test "netDevices: an interface moves in with its global addresses, under its new name, and is up" {
  ip link add oci-a type veth peer name oci-b
  ip addr add 10.99.1.5/24 broadcast 10.99.1.255 dev oci-a
  ip addr add 2001:db8::5/64 dev oci-a nodad
  ip addr add 169.254.7.7/16 scope link dev oci-a
  config "c['linux']['netDevices']={'oci-a':{'name':'eth7'}}"
  created 'sleep 100'
  local seen
  seen=$(nsenter -t "$(cat "$OCI/pid")" -n ip -o addr show dev eth7)
  run ! ip link show oci-a
  runtime delete --force "$ID"
  echo "$seen"
  [[ "$seen" == *"10.99.1.5/24 brd 10.99.1.255"* ]]
  [[ "$seen" == *"2001:db8::5/64"* ]]
  [[ "$seen" != *169.254* ]]
  # A virtual one goes with the namespace.
  until_true eval '! ip link show oci-b 2>/dev/null'
}

@test "netDevices: a device that is not there, or without a network namespace, is an error" {
  config "c['linux']['netDevices']={'nosuch0':{}}"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.netDevices.nosuch0: find: "* ]]
  nothing_left
  config "c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='network']; c['mounts']=[m for m in c['mounts'] if m['type']!='sysfs']"
  in_container true
  [[ "$output" == *"linux.netDevices: need a network namespace"* ]]
}

@test "netDevices: a name that is taken in the container is an error that leaves the device where it is" {
  ip link add oci-a type dummy 2>/dev/null || ip link add oci-a type veth peer name oci-b
  config "c['linux']['netDevices']={'oci-a':{'name':'lo'}}"
  refused "linux.netDevices.oci-a: the container has a lo already"
  ip link show oci-a
  # Neither is another moved when one is missing.
  config "c['linux']['netDevices']={'oci-a':{},'oci-nosuch':{}}"
  refused "linux.netDevices.oci-nosuch: find: "
  ip link show oci-a
  ip link del oci-a
}

@test "netDevices: the name eth%d lets the kernel choose one that is free" {
  ip link add oci-a type veth peer name oci-b
  config "c['linux']['netDevices']={'oci-a':{'name':'oci%d'},'oci-b':{'name':'oci%d'}}"
  created 'exec sleep 100'
  local seen; seen=$(nsenter -t "$(cat "$OCI/pid")" -n ip -o link show up)
  runtime delete --force "$ID"
  [[ "$seen" == *" oci0"* && "$seen" == *" oci1"* ]]
  config "c['linux']['netDevices']={'lo':{'name':'x%s'}}"
  refused 'linux.netDevices.lo.name: "x%s" is no pattern such as eth%d'
}

@test "netDevices: a device without a new name keeps its own, and is up" {
  ip link add oci-a type veth peer name oci-b
  ip link set oci-a down
  config "c['linux']['netDevices']={'oci-a':{}}"
  created 'exec sleep 100'
  local seen; seen=$(nsenter -t "$(cat "$OCI/pid")" -n ip -o link show oci-a)
  runtime delete --force "$ID"
  [[ "$seen" == *"oci-a"*"UP"* ]]
  [ ! -e /sys/class/net/oci-a ]
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

@test "devices: one that is there already and is the same is left as it is, u is a character device" {
  mkdir -p "$BUNDLE/rootfs/nodes"; mknod -m 611 "$BUNDLE/rootfs/nodes/null" c 1 3
  config "c['linux']['devices']=[{'path':'/nodes/null','type':'c','major':1,'minor':3,'fileMode':0o666},{'path':'/nodes/tty','type':'u','major':5,'minor':0}]"
  in_container 'stat -c "%a %t:%T" /nodes/null; stat -c "%F %t:%T" /nodes/tty; echo x >/nodes/null && echo works'
  [ "${lines[0]}" = "611 1:3" ]
  [ "${lines[1]}" = "character special file 5:0" ]
  [ "${lines[2]}" = works ]
}

@test "devices: in a user namespace one that the host has under another number is an error" {
  config "
c['linux']['namespaces'].append({'type':'user'})
c['linux']['uidMappings']=c['linux']['gidMappings']=[{'containerID':0,'hostID':100000,'size':65536}]
c['mounts']=[m for m in c['mounts'] if m['type'] in ('proc','tmpfs')]
c['root']['readonly']=False
c['linux']['devices']=[{'path':'/dev/full','type':'c','major':1,'minor':5}]"
  chown -R 100000:100000 "$BUNDLE/rootfs"; chmod 755 "$OCI" "$BUNDLE"
  refused "linux.devices[0] /dev/full: "
  config "c['linux']['devices'][0]['minor']=7"
  in_container 'stat -c %t:%T /dev/full'
  [ "$output" = 1:7 ]
}

@test "/dev/ptmx is the container's own, and opens" {
  in_container 'readlink /dev/ptmx; (: </dev/ptmx) && echo opens; stat -c %t:%T -L /dev/ptmx'
  [ "$(echo $output)" = "pts/ptmx opens 5:2" ]
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
