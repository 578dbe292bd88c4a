#!/usr/bin/env bats
# config-linux.md, "Control groups": the path's rules, what stays as it was, and every controller's values.

load helper

setup() {
  oci_setup
  NAME=oci-cgroups-$BATS_TEST_NUMBER-$RANDOM
}
teardown() {
  oci_teardown
  local mount
  for mount in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do
    [ ! -d "$mount/$NAME" ] || find "$mount/$NAME" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

resources() { config "c['linux'].setdefault('resources',{}).update($1)"; }

# own_group CONTROLLER: a group of that hierarchy, below $NAME, which is not the runtime's. Prints its directory.
own_group() {
  local mount; mount=$(hierarchy_of "$1")
  mkdir -p "$mount/$NAME"
  if on_v2 "$1"; then echo "+$1" >"$mount/cgroup.subtree_control"; echo "+$1" >"$mount/$NAME/cgroup.subtree_control"; fi
  mkdir -p "$mount/$NAME/theirs"
  echo "$mount/$NAME/theirs"
}

# stranger DIRECTORY: a process in that group; its pid is in $HELPER.
stranger() {
  sleep 1000 3>&- &
  HELPER=$!
  echo "$HELPER" >"$1/cgroup.procs"
}

is_running() { grep -q '^State:.[^ZX]' "/proc/$1/status"; }

# block_device: MAJOR:MINOR of some whole block device of this machine.
block_device() {
  local one
  for one in /sys/block/*; do
    [ -e "$one/dev" ] && [ "$(cat "$one/size")" -gt 0 ] && cat "$one/dev" && return
  done
  return 1
}

@test "cgroupsPath: an absolute path is that path below the mount point of every hierarchy" {
  config "c['linux']['cgroupsPath']='/$NAME/deep/$ID'"
  created 'exec sleep 100'
  local mount
  for mount in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do
    grep -qx "$(cat "$OCI/pid")" "$mount/$NAME/deep/$ID/cgroup.procs" || { echo "not in $mount"; return 1; }
  done
  runtime delete --force "$ID"
  nothing_left
}

@test "cgroupsPath: the same value leads to the same place, every time, relative or absolute" {
  local path first second
  for path in "/$NAME/a" "$NAME/b"; do
    config "c['linux']['cgroupsPath']='$path'"
    created 'exec sleep 100'
    first=$(group_directory pids)
    [[ "$first" == *"/${path#/}" ]]
    runtime delete --force "$ID"
    [ ! -e "$first" ]
    created 'exec sleep 100'
    second=$(group_directory pids)
    runtime delete --force "$ID"
    [ "$first" = "$second" ]
  done
}

@test "cgroupsPath: a path that climbs is an error" {
  config "c['linux']['cgroupsPath']='/$NAME/../../elsewhere'"
  refused "linux.cgroupsPath: /$NAME/../../elsewhere has a \"..\""
}

@test "cgroupsPath: a group that was there stays with what is in it when the container is deleted" {
  local group; group=$(own_group pids)
  stranger "$group"
  config "c['linux']['cgroupsPath']='/$NAME/theirs'; c['linux'].pop('resources',None)"
  created 'exec sleep 100'
  [ "$(group_directory pids)" = "$group" ]
  runtime start "$ID"
  runtime delete --force "$ID"
  is_running "$HELPER"
  [ "$(cat "$group/cgroup.procs")" = "$HELPER" ]
  # What create has made in the other hierarchies is gone.
  local mount
  for mount in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do
    [ "$mount/$NAME/theirs" = "$group" ] || [ ! -e "$mount/$NAME/theirs" ]
  done
}

@test "cgroupsPath: an error leaves a group that was there with what is in it" {
  local group; group=$(own_group pids)
  stranger "$group"
  config "c['linux']['cgroupsPath']='/$NAME/theirs'; c['root']['path']='nowhere'"
  refused "root.path: "
  is_running "$HELPER"
  [ "$(cat "$group/cgroup.procs")" = "$HELPER" ]
}

@test "resources: values of a group that was there and are not given stay, those that are given change" {
  local group; group=$(own_group pids)
  echo 77 >"$group/pids.max"
  config "c['linux']['cgroupsPath']='/$NAME/theirs'; c['linux']['resources']={'memory':{'limit':67108864}}"
  created 'exec sleep 100'
  [ "$(cat "$group/pids.max")" = 77 ]
  [ "$(group_of memory memory.limit_in_bytes memory.max)" = 67108864 ]
  runtime delete --force "$ID"
  config "c['linux']['resources']={'pids':{'limit':55}}"
  created 'exec sleep 100'
  [ "$(cat "$group/pids.max")" = 55 ]
}

@test "resources: without any, a group that was there keeps its device rules" {
  ! on_v2 devices || skip "rules of the unified hierarchy are programs, and each is its maker's"
  local group; group=$(own_group devices)
  local before; before=$(cat "$group/devices.list")
  config "c['linux']['cgroupsPath']='/$NAME/theirs'; c['linux'].pop('resources',None)"
  created 'exec sleep 100'
  [ "$(cat "$group/devices.list")" = "$before" ]
}

@test "memory.swap is memory and swap together" {
  [ -e "$(hierarchy_of memory)/cgroup.controllers" ] || [ -e "$(hierarchy_of memory)/memory.memsw.limit_in_bytes" ] ||
    skip "this kernel does not limit swap"
  resources "{'memory':{'limit':33554432,'swap':67108864}}"
  created 'exec sleep 100'
  [ "$(group_of memory memory.memsw.limit_in_bytes memory.swap.max)" = "$(if on_v2 memory; then echo 33554432; else echo 67108864; fi)" ]
}

@test "memory.limit: -1 is none" {
  local group; group=$(own_group memory)
  echo 67108864 >"$group/$(if on_v2 memory; then echo memory.max; else echo memory.limit_in_bytes; fi)"
  config "c['linux']['cgroupsPath']='/$NAME/theirs'"
  resources "{'memory':{'limit':-1}}"
  created 'exec sleep 100'
  if on_v2 memory; then [ "$(group_of memory - memory.max)" = max ]; else [ "$(group_of memory memory.limit_in_bytes)" -gt $((1 << 50)) ]; fi
}

@test "memory: a limit that Linux has no more is an error that names it, and one that is none is not" {
  resources "{'memory':{'kernel':33554432}}"
  refused "linux.resources.memory.kernel: "
  resources "{'memory':{'useHierarchy':False}}"
  refused "linux.resources.memory.useHierarchy: "
  resources "{'memory':{'kernel':-1,'useHierarchy':True}}"
  in_container true
  [ "$status" -eq 0 ]
  resources "{'memory':{'swappiness':101}}"
  refused "linux.resources.memory.swappiness: "
}

@test "memory.kernelTCP is set where the hierarchy has it, and is an error where not" {
  resources "{'memory':{'kernelTCP':33554432}}"
  if [ -e "$(hierarchy_of memory)/memory.kmem.tcp.limit_in_bytes" ]; then
    created 'exec sleep 100'
    [ "$(group_of memory memory.kmem.tcp.limit_in_bytes)" = 33554432 ]
  else
    refused "linux.resources.memory.kernelTCP: "
  fi
}

@test "memory.checkBeforeUpdate: a limit that is less than what is used is refused and changes nothing" {
  resources "{'memory':{'limit':134217728}}"
  config "c['mounts']=[m for m in c['mounts'] if m['destination']!='/dev/shm']+[{'destination':'/dev/shm','source':'shm','type':'tmpfs','options':['size=64m']}]"
  created 'dd if=/dev/zero of=/dev/shm/held bs=1M count=32 2>/dev/null && echo held; exec sleep 100'
  runtime start "$ID"
  until_true grep -q held "$OCI/out"
  echo '{"memory":{"limit":8388608,"checkBeforeUpdate":true}}' >"$OCI/update"
  run runtime update --resources "$OCI/update" "$ID"
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.resources.memory.limit: "* ]]
  [ "$(group_of memory memory.limit_in_bytes memory.max)" = 134217728 ]
  [ "$(status_of)" = running ]
  echo '{"memory":{"limit":100663296,"checkBeforeUpdate":true}}' >"$OCI/update"
  runtime update --resources "$OCI/update" "$ID"
  [ "$(group_of memory memory.limit_in_bytes memory.max)" = 100663296 ]
}

@test "cpu.burst and cpu.idle are set" {
  resources "{'cpu':{'period':100000,'quota':50000,'burst':20000}}"
  created 'exec sleep 100'
  [ "$(group_of cpu cpu.cfs_burst_us cpu.max.burst)" = 20000 ]
  runtime delete --force "$ID"
  resources "{'cpu':{'idle':1}}"
  created 'exec sleep 100'
  [ "$(group_of cpu cpu.idle cpu.idle)" = 1 ]
}

@test "cpu.burst that is larger than the quota is an error" {
  resources "{'cpu':{'period':100000,'quota':50000,'burst':70000}}"
  refused "linux.resources.cpu.burst: "
}

@test "cpu.realtimePeriod and realtimeRuntime are set where the hierarchy has them, and are an error where not" {
  resources "{'cpu':{'realtimePeriod':500000}}"
  if [ -e "$(hierarchy_of cpu)/cpu.rt_period_us" ]; then
    created 'exec sleep 100'
    [ "$(group_of cpu cpu.rt_period_us)" = 500000 ]
  else
    refused "linux.resources.cpu.realtimePeriod: "
  fi
  resources "{'cpu':{'realtimeRuntime':5}}"
  [ -e "$(hierarchy_of cpu)/cpu.rt_runtime_us" ] || refused "linux.resources.cpu.realtimeRuntime: "
}

@test "cpu: processors and memory nodes that are not there are an error" {
  resources "{'cpu':{'cpus':'9999'}}"
  refused "linux.resources.cpu.cpus: "
  resources "{'cpu':{'mems':'9999'}}"
  refused "linux.resources.cpu.mems: "
}

@test "pids.limit: -1 is none" {
  local group; group=$(own_group pids)
  echo 77 >"$group/pids.max"
  config "c['linux']['cgroupsPath']='/$NAME/theirs'"
  resources "{'pids':{'limit':-1}}"
  created 'exec sleep 100'
  [ "$(group_of pids pids.max pids.max)" = max ]
}

@test "blockIO: the four throttles are set for their devices" {
  local device; device=$(block_device) || skip "this machine has no block device"
  local entry="[{'major':${device%:*},'minor':${device#*:},'rate':%s}]"
  # shellcheck disable=SC2059
  resources "{'blockIO':{'throttleReadBpsDevice':$(printf "$entry" 1048576),'throttleWriteBpsDevice':$(printf "$entry" 2097152),
    'throttleReadIOPSDevice':$(printf "$entry" 111),'throttleWriteIOPSDevice':$(printf "$entry" 222)}}"
  created 'exec sleep 100'
  if [ -e "$(group_directory io)/io.max" ]; then
    [ "$(group_of io - io.max)" = "$device rbps=1048576 wbps=2097152 riops=111 wiops=222" ]
  else
    local pair
    for pair in read_bps=1048576 write_bps=2097152 read_iops=111 write_iops=222; do
      [ "$(group_of blkio "blkio.throttle.${pair%=*}_device")" = "$device ${pair#*=}" ]
    done
  fi
}

@test "blockIO: a weight is set where the kernel has one, and is an error where not" {
  resources "{'blockIO':{'weight':300}}"
  local file=blkio.bfq.weight
  ! on_v2 blkio || file=io.bfq.weight
  if find "$(hierarchy_of blkio)" -name $file | grep -q .; then
    created 'exec sleep 100'
    [[ "$(group_of blkio $file $file)" =~ (^|default )300$ ]]
  else
    refused "linux.resources.blockIO.weight: "
  fi
}

@test "blockIO: a leaf's weight, and a device without any weight, are errors" {
  resources "{'blockIO':{'leafWeight':300}}"
  refused "linux.resources.blockIO.leafWeight: "
  resources "{'blockIO':{'weightDevice':[{'major':8,'minor':0,'leafWeight':300}]}}"
  refused "linux.resources.blockIO.weightDevice[0].leafWeight: "
  resources "{'blockIO':{'weightDevice':[{'major':8,'minor':0}]}}"
  refused "linux.resources.blockIO.weightDevice[0]: has no weight"
}

@test "hugepageLimits: both what is used and what is reserved, and a page size that is none is an error" {
  resources "{'hugepageLimits':[{'pageSize':'3MB','limit':4194304}]}"
  refused "linux.resources.hugepageLimits: "
  resources "{'hugepageLimits':[{'pageSize':'big','limit':4194304}]}"
  refused "linux.resources.hugepageLimits: "
  grep -qw hugetlb /proc/cgroups && [ -d /sys/kernel/mm/hugepages/hugepages-2048kB ] || skip "this kernel has no huge pages of 2 MiB, or does not limit them"
  resources "{'hugepageLimits':[{'pageSize':'2MB','limit':4194304}]}"
  created 'exec sleep 100'
  [ "$(group_of hugetlb hugetlb.2MB.limit_in_bytes hugetlb.2MB.max)" = 4194304 ]
  [ "$(group_of hugetlb hugetlb.2MB.rsvd.limit_in_bytes hugetlb.2MB.rsvd.max)" = 4194304 ]
}

@test "network: classID and priorities are set where the host has the controllers, and are an error where not" {
  if awk '$3 == "cgroup" && $4 ~ /net_cls/ { found = 1 } END { exit !found }' /proc/mounts; then
    resources "{'network':{'classID':1048577}}"
    created 'exec sleep 100'
    [ "$(group_of net_cls net_cls.classid)" = 1048577 ]
  else
    resources "{'network':{'classID':1048577}}"
    refused "linux.resources.network.classID: this host has no net_cls controller"
    resources "{'network':{'priorities':[{'name':'lo','priority':5}]}}"
    refused "linux.resources.network.priorities: this host has no net_prio controller"
  fi
}

@test "rdma: an entry has a limit, and a device or a controller that is not there is an error" {
  resources "{'rdma':{'nosuch0':{}}}"
  refused "linux.resources.rdma.nosuch0: has neither hcaHandles nor hcaObjects"
  resources "{'rdma':{'nosuch0':{'hcaHandles':3,'hcaObjects':10}}}"
  refused "linux.resources.rdma: "
}

@test "unified: values are written to their files, with the controllers enabled that they need, known or not" {
  on_v2 cgroup || skip "this host has no unified hierarchy"
  resources "{'unified':{'cgroup.max.depth':'7','cgroup.max.descendants':'9'}}"
  created 'exec sleep 100'
  local group; group=$(dirname "$(grep -rlx --include=cgroup.procs "$(cat "$OCI/pid")" "$(unified_mount)")")
  [ "$(cat "$group/cgroup.max.depth") $(cat "$group/cgroup.max.descendants")" = "7 9" ]
  runtime delete --force "$ID"
  if on_v2 memory; then
    resources "{'unified':{'memory.high':'67108864','pids.max':'66'}}"
    created 'exec sleep 100'
    [ "$(group_of memory - memory.high) $(group_of pids - pids.max)" = "67108864 66" ]
  fi
}

@test "unified: a controller that is not there, a file that is none, and a host without the hierarchy are errors" {
  resources "{'unified':{'nosuch.max':'1'}}"
  refused "linux.resources.unified: "
  resources "{'unified':{'../memory.max':'1'}}"
  refused "linux.resources.unified: "
  on_v2 memory || {
    resources "{'unified':{'memory.high':'67108864'}}"
    refused "linux.resources.unified: "
  }
  on_v2 memory && {
    resources "{'unified':{'memory.nosuchfile':'1'}}"
    refused "linux.resources.unified: "
  }
  true
}

@test "resources.devices: rules are applied in their order, unset means all" {
  local node=$BUNDLE/rootfs/tmp
  mknod "$node/tun" c 10 200; mknod "$node/fuse" c 10 229; mknod "$node/vcs" c 7 0
  local open='for d in tun fuse vcs; do (: </tmp/$d) 2>&1 | grep -q "not permitted" && echo no $d; done; (: >>/tmp/tun) 2>&1 | grep -q "not permitted" && echo no write'
  config "c['root']['readonly']=False; c['linux']['resources']={'devices':[{'allow':False},{'allow':True},{'allow':False,'type':'c','major':10}]}"
  in_container "$open"
  echo "$output"
  [ "$(echo $output)" = "no tun no fuse no write" ]
  config "c['linux']['resources']={'devices':[{'allow':True},{'allow':False},{'allow':True,'type':'c','minor':200,'access':'r'}]}"
  in_container "$open"
  [ "$(echo $output)" = "no fuse no vcs no write" ]
}

# --- threads ------------------------------------------------------------------------------------------------

thread_file() { cat "$(group_directory cpu)/$1/$(if on_v2 cpu; then echo "$3"; else echo "$2"; fi)"; } # GROUP V1 V2

@test "update --threads limits threads of the container in a group of their own, and only those" {
  created 'sleep 100 & echo $!; wait'
  runtime start "$ID"
  until_true test -s "$OCI/out"
  local other
  other=$(runtime ps --format json "$ID" | tr -d '[]' | tr ',' '\n' | grep -vx "$(cat "$OCI/pid")")
  runtime update --threads "$other" --cgroup slow/er --cpu-period 100000 --cpu-quota 20000 --pids-limit 5 "$ID"
  [ "$(thread_file slow/er tasks cgroup.threads)" = "$other" ]
  [ "$(thread_file slow/er cpu.cfs_quota_us cpu.max)" = "$(if on_v2 cpu; then echo 20000 100000; else echo 20000; fi)" ]
  ! on_v2 cpu || [ "$(cat "$(group_directory cpu)/slow/cgroup.type")" = threaded ]
  # The rest is where it was, and ps, pause and kill see all of them.
  [ "$(basename "$(group_directory cpu)")" = "$ID" ]
  [ "$(runtime ps --format json "$ID" | tr ',' '\n' | wc -l)" -eq 2 ]
  runtime pause "$ID"
  runtime resume "$ID"
  runtime delete --force "$ID"
  nothing_left
  ! kill -0 "$other" 2>/dev/null
}

@test "update --threads refuses limits of processes, and threads of others" {
  created 'sleep 100'
  runtime start "$ID"
  run runtime update --threads "$(cat "$OCI/pid")" --cgroup part --memory 16777216 "$ID"
  [ "$status" -eq 1 ]
  [ "$output" = "gantry-runtime: linux.resources.memory.limit: is a limit of processes, not of threads" ]
  run runtime update --threads $$ --cgroup part --cpu-quota 20000 "$ID"
  [ "$status" -eq 1 ]
  [ "$output" = "gantry-runtime: --threads: $$ is not a thread of the container" ]
  run runtime update --threads 1 --cpu-quota 20000 "$ID"
  [ "$output" = "gantry-runtime: --threads and --cgroup: one goes with the other" ]
  run runtime update --threads 1 --cgroup ../part --cpu-quota 20000 "$ID"
  [ "$status" -eq 1 ]
  [ ! -e "$(group_directory cpu)/part" ]
}

@test "below a threaded group a container is threaded, with the limits that threads can have" {
  on_v2 cpu || skip "threaded groups are of cgroup v2"
  local top=/sys/fs/cgroup/$NAME
  mkdir -p "$top/seed"
  echo threaded >"$top/seed/cgroup.type"
  echo "+cpu +pids" >"$top/cgroup.subtree_control"
  config "c['linux']['cgroupsPath']='/$NAME/$ID'; c['linux']['resources']={'cpu':{'quota':20000,'period':100000},'pids':{'limit':9}}"
  created 'echo ready; sleep 100'
  runtime start "$ID"
  until_true grep -q ready "$OCI/out"
  local group=$top/$ID
  [ "$(cat "$group/cgroup.type")" = threaded ]
  [ "$(cat "$group/cpu.max")" = "20000 100000" ]
  run runtime ps --format json "$ID"
  [[ $output == *"$(cat "$OCI/pid")"* ]]
  runtime exec "$ID" true
  runtime kill "$ID" KILL
  until_true is_status stopped
  runtime delete "$ID"
  [ ! -e "$group" ]
  rmdir "$top/seed" "$top"
}
