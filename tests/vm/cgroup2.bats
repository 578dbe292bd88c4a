#!/usr/bin/env bats
# Limits on the unified hierarchy do what they say, and the device filter keeps devices out.

load helper

setup() {
  vm_only
  oci_setup
  config "c['root']['readonly']=False"
}
teardown() { oci_teardown; }

disk() { cat /sys/class/block/vda/dev; } # MAJOR:MINOR

count_of() { awk -v k="$1" '$1 == k { print $2 }' "$(group_directory "$2")/$3"; } # KEY CONTROLLER FILE

@test "the hierarchy is unified and has the controllers" {
  [ "$(awk '$3 ~ /^cgroup/ { print $2, $3 }' /proc/mounts)" = "/sys/fs/cgroup cgroup2" ]
  local controller
  for controller in cpu cpuset io memory pids hugetlb; do
    grep -qw $controller /sys/fs/cgroup/cgroup.controllers
  done
}

# take BYTES: a command that has so much memory at once, and says nothing.
take() { echo "dd if=/dev/zero of=/dev/null bs=$1 count=1 2>/dev/null"; }

@test "memory.limit: a process that takes more is killed for it, and that is counted" {
  config "c['linux']['resources']['memory']={'limit':16777216,'swap':16777216}"
  created "$(take 4194304); echo little \$?; $(take 67108864); echo much \$?; sleep 100"
  [ "$(group_of memory - memory.max)" = 16777216 ]
  [ "$(group_of memory - memory.swap.max)" = 0 ]
  runtime start "$ID"
  until_true grep -q much "$OCI/out"
  grep -qx 'little 0' "$OCI/out"
  grep -qx 'much 137' "$OCI/out"
  [ "$(count_of oom_kill memory memory.events)" = 1 ]
}

@test "pids.limit: the process over it is not made" {
  config "c['linux']['resources']['pids']={'limit':5}"
  created '(for i in 1 2 3 4 5 6 7 8; do sleep 100 & done); echo end; sleep 100'
  [ "$(group_of pids - pids.max)" = 5 ]
  runtime start "$ID"
  until_true grep -qx end "$OCI/out"
  grep -q "can.t fork" "$OCI/out"
  [ "$(count_of max pids pids.events)" -ge 1 ]
}

@test "cpu.quota: a busy container is throttled" {
  config "c['linux']['resources']['cpu']={'quota':5000,'period':50000}"
  created 'while :; do :; done'
  runtime start "$ID"
  throttled() { [ "$(count_of nr_throttled cpu cpu.stat)" -ge 3 ]; }
  until_true throttled
  # Of the time that passed it had a tenth, and at most one more period's quota.
  [ "$(count_of usage_usec cpu cpu.stat)" -le $(($(count_of nr_periods cpu cpu.stat) * 5000 + 10000)) ]
}

@test "cpu.cpus: only those can be run on" {
  config "c['linux']['resources']['cpu']={'cpus':'1'}"
  in_container 'awk "/Cpus_allowed_list/ { print \$2 }" /proc/self/status'
  [ "$output" = 1 ]
}

@test "blockIO: throttles are set for the device, and reading through it is held back" {
  local device
  device=$(disk)
  config "
c['linux']['resources']['blockIO']={'throttleReadBpsDevice':[{'major':${device%:*},'minor':${device#*:},'rate':1048576}],'throttleWriteIOPSDevice':[{'major':${device%:*},'minor':${device#*:},'rate':10}]}
c['linux']['devices']=[{'path':'/dev/disk','type':'b','major':${device%:*},'minor':${device#*:}}]"
  created 'dd if=/dev/disk of=/dev/null bs=65536 count=48 iflag=direct 2>/dev/null; echo read'
  group_of io - io.max
  [ "$(group_of io - io.max)" = "$device rbps=1048576 wbps=max riops=max wiops=10" ]
  local begin end
  begin=$(date +%s%N)
  runtime start "$ID"
  until_true grep -q read "$OCI/out"
  end=$(date +%s%N)
  [ $((end - begin)) -ge 1500000000 ] # 3 MiB at 1 MiB a second: the throttle is the clock here, not the test
}

@test "unified: a file that has no field of its own is written, one that does not exist is an error" {
  config "c['linux']['resources']['unified']={'memory.high':'33554432','pids.max':'44'}"
  created 'sleep 100'
  [ "$(group_of memory - memory.high) $(group_of pids - pids.max)" = "33554432 44" ]
  runtime delete --force "$ID"
  config "c['linux']['resources']['unified']={'memory.nothing':'1'}"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.resources.unified"*memory.nothing* ]]
  nothing_left
}

@test "the init is born in its group: it is never seen in another" {
  created 'sleep 100'
  grep -qx "0::/.*$ID" "/proc/$(cat "$OCI/pid")/cgroup"
  runtime exec "$ID" true
  runtime start "$ID"
  [[ "$(runtime exec "$ID" cat /proc/self/cgroup)" == "0::/" ]]
}

@test "pause freezes the group, kill --all and delete end what is in it" {
  created 'sleep 100 & sleep 100'
  runtime start "$ID"
  runtime pause "$ID"
  [ "$(count_of frozen memory cgroup.events)" = 1 ]
  is_status paused
  runtime resume "$ID"
  [ "$(count_of frozen memory cgroup.events)" = 0 ]
  runtime pause "$ID"
  runtime delete --force "$ID"
  nothing_left
}

@test "the device filter: what no rule allows cannot be opened by root with all capabilities" {
  config "
for k in c['process']['capabilities'].values(): k.extend(['CAP_MKNOD','CAP_SYS_ADMIN','CAP_SYS_RAWIO','CAP_DAC_OVERRIDE'])"
  in_container "mknod /tmp/disk b $(disk | tr : ' '); (: </tmp/disk) 2>&1; mknod /tmp/mem c 1 1; (: </tmp/mem) 2>&1; : </dev/zero && echo zero"
  [ "${#lines[@]}" -eq 3 ]
  [[ "${lines[0]}" == *"/tmp/disk: Operation not permitted" ]]
  [[ "${lines[1]}" == *"/tmp/mem: Operation not permitted" ]]
  [ "${lines[2]}" = zero ]
}

@test "the device filter: reading and writing are told apart, for exec too" {
  config "
c['linux']['resources']['devices']=[{'allow':False,'access':'rwm'},{'allow':True,'type':'b','major':$(disk | cut -d: -f1),'minor':$(disk | cut -d: -f2),'access':'r'}]
for k in c['process']['capabilities'].values(): k.append('CAP_MKNOD')"
  created 'sleep 100'
  runtime start "$ID"
  runtime exec "$ID" mknod /tmp/disk b "$(disk | cut -d: -f1)" "$(disk | cut -d: -f2)"
  runtime exec "$ID" sh -c ': </tmp/disk'
  run runtime exec "$ID" sh -c ': >>/tmp/disk'
  [ "$status" -ne 0 ]
  [[ "$output" == *"Operation not permitted"* ]]
}

@test "the device filter: update puts another in its place" {
  config "for k in c['process']['capabilities'].values(): k.append('CAP_MKNOD')"
  created 'sleep 100'
  runtime start "$ID"
  runtime exec "$ID" mknod /tmp/disk b "$(disk | cut -d: -f1)" "$(disk | cut -d: -f2)"
  run runtime exec "$ID" sh -c ': </tmp/disk'
  [ "$status" -ne 0 ]
  echo '{"devices":[{"allow":true,"access":"rwm"}]}' | runtime update --resources - "$ID"
  runtime exec "$ID" sh -c ': </tmp/disk'
  echo '{"devices":[{"allow":false,"access":"rwm"}]}' | runtime update --resources - "$ID"
  run runtime exec "$ID" sh -c ': </tmp/disk'
  [ "$status" -ne 0 ]
}
