#!/usr/bin/env bats
# Bad input: one line that names the field and the reason, exit status 1, and nothing is left behind.

load helper

setup() {
  oci_setup
  config "c.pop('hostname')"
  cp "$BUNDLE/config.json" "$OCI/original"
}
teardown() { oci_teardown; }

# bad PYTHON TEXT: the original configuration, changed like that, is refused with that text.
bad() {
  cp "$OCI/original" "$BUNDLE/config.json"
  config "$1"
  refused "$2"
}

@test "bad input: a value of the wrong type names its field and both types" {
  bad "c['ociVersion']=1" "ociVersion: expected a string, got an integer"
  bad "c['process']['args']='true'" "process.args: expected an array, got a string"
  bad "c['process']['terminal']='no'" "process.terminal: expected a boolean, got a string"
  bad "c['process']['user']=0" "process.user: expected an object, got an integer"
  bad "c['process']['user']['uid']='root'" "process.user.uid: expected an integer, got a string"
  bad "c['process']['user']['additionalGids']=[1,'x']" "process.user.additionalGids[1]: expected an integer, got a string"
  bad "c['process']['env']=['A=b',3]" "process.env[1]: expected a string, got an integer"
  bad "c['mounts']={}" "mounts: expected an array, got an object"
  bad "c['linux']['resources']['memory']={'limit':'64m'}" "linux.resources.memory.limit: expected an integer, got a string"
  bad "c['annotations']={'a':1}" "annotations.a: expected a string, got an integer"
  bad "c['hooks']={'prestart':{}}" "hooks.prestart: expected an array, got an object"
}

@test "bad input: a number out of range names its field" {
  bad "c['process']['user']['uid']=-1" "process.user.uid: -1 is out of range"
  bad "c['process']['user']['gid']=2**32" "process.user.gid: 4294967296 is out of range"
  bad "c['process']['oomScoreAdj']=1001" "process.oomScoreAdj: 1001 is not between -1000 and 1000"
  bad "c['process']['ioPriority']={'class':'IOPRIO_CLASS_BE','priority':8}" "process.ioPriority.priority: 8 is not between 0 and 7"
  bad "c['process']['ioPriority']={'class':'IOPRIO_CLASS_BE','priority':-1}" "process.ioPriority.priority: -1 is not between 0 and 7"
}

@test "bad input: a property that is required and missing is named" {
  bad "del c['ociVersion']" "ociVersion: is required"
  bad "del c['root']" "root.path: is required"
  bad "del c['root']['path']" "root.path: is required"
  bad "del c['process']['cwd']" "process.cwd: is required"
  bad "del c['mounts'][0]['destination']" "mounts[0].destination: is required"
  bad "c['process']['consoleSize']={'height':2}" "process.consoleSize.width: is required"
  bad "c['process']['rlimits']=[{'type':'RLIMIT_CPU','soft':1}]" "process.rlimits[0].hard: is required"
  bad "c['process']['ioPriority']={'priority':1}" "process.ioPriority.class: is required"
  bad "c['process']['scheduler']={'nice':1}" "process.scheduler.policy: is required"
  bad "c['linux']['namespaces']=[{}]" "linux.namespaces[0].type: is required"
  bad "c['linux']['uidMappings']=[{'containerID':0,'hostID':0}]" "linux.uidMappings[0].size: is required"
  bad "c['linux']['devices']=[{'type':'c','major':1,'minor':3}]" "linux.devices[0].path: is required"
  bad "c['linux']['devices']=[{'path':'/dev/x','major':1,'minor':3}]" "linux.devices[0].type: is required"
  bad "c['linux']['devices']=[{'path':'/dev/x','type':'c','minor':3}]" "linux.devices[0]: /dev/x needs major and minor"
  bad "c['linux']['devices']=[{'path':'/dev/x','type':'b','major':3}]" "linux.devices[0]: /dev/x needs major and minor"
  bad "c['linux']['resources']['devices']=[{}]" "linux.resources.devices[0].allow: is required"
  bad "c['linux']['resources']['hugepageLimits']=[{'pageSize':'2MB'}]" "linux.resources.hugepageLimits[0].limit: is required"
  bad "c['linux']['resources']['blockIO']={'throttleReadBpsDevice':[{'major':8,'minor':0}]}" "linux.resources.blockIO.throttleReadBpsDevice[0].rate: is required"
  bad "c['linux']['resources']['network']={'priorities':[{'name':'lo'}]}" "linux.resources.network.priorities[0].priority: is required"
  bad "c['linux']['seccomp']={'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read']}]}" "linux.seccomp.syscalls[0].action: is required"
}

@test "bad input: ociVersion is a semantic version of the first major version" {
  local version
  for version in 1 1.0 1.0.0.0 1.x.0 v1.0.0 0.9.0 2.0.0 latest ""; do
    bad "c['ociVersion']='$version'" "ociVersion: \"$version\" is not supported (1.x.y is)"
  done
}

@test "bad input: what is not JSON, and a configuration that is none, are errors" {
  echo '{"ociVersion":"1.0.0",' >"$BUNDLE/config.json"
  refused "config.json: "
  echo '[]' >"$BUNDLE/config.json"
  refused "config.json: "
  : >"$BUNDLE/config.json"
  refused "config.json: "
  rm "$BUNDLE/config.json"; mkdir "$BUNDLE/config.json"
  refused "config.json"
}

@test "bad input: namespaces of an unknown type, twice, or with a path that is relative, no namespace or of another type" {
  bad "c['linux']['namespaces'].append({'type':'disk'})" 'linux.namespaces[6].type: unknown namespace "disk"'
  local type
  for type in pid network ipc uts mount cgroup user time; do
    bad "c['linux']['namespaces']=[{'type':'$type'},{'type':'mount'},{'type':'$type'}]" "is there twice"
    bad "c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='$type']+[{'type':'$type','path':'proc/self/ns/pid'}]" 'path: "proc/self/ns/pid" is not absolute'
    bad "c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='$type']+[{'type':'$type','path':'/no/such'}]" "linux.namespaces"
    bad "c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='$type']+[{'type':'$type','path':'/etc/passwd'}]" "linux.namespaces"
    bad "c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='$type']+[{'type':'$type','path':'/proc/self/ns/$([ $type = uts ] && echo ipc || echo uts)'}]" "linux.namespaces"
  done
}

@test "bad input: id maps without a user namespace, half of them, or more than the kernel takes" {
  bad "c['linux']['uidMappings']=[{'containerID':0,'hostID':0,'size':1}]" "linux.uidMappings: need a user namespace"
  bad "c['linux']['namespaces'].append({'type':'user'})" "linux.uidMappings: a new user namespace needs uid and gid mappings"
  bad "c['linux']['namespaces'].append({'type':'user'}); c['linux']['uidMappings']=c['linux']['gidMappings']=[{'containerID':0,'hostID':0,'size':0}]" "linux.uidMappings"
  bad "c['linux']['namespaces'].append({'type':'user'}); c['linux']['uidMappings']=c['linux']['gidMappings']=[{'containerID':0,'hostID':0,'size':9},{'containerID':5,'hostID':20,'size':9}]" "linux.uidMappings"
}

@test "bad input: a root file system that is not there, or no directory" {
  bad "c['root']['path']='nowhere'" "root.path: "
  bad "c['root']['path']='/no/such/root'" "root.path: "
  touch "$BUNDLE/file"
  bad "c['root']['path']='file'" "root.path: "
}

@test "bad input: a mount that cannot be, with its place in the list" {
  bad "c['mounts'].append({'destination':'/x','source':'/no/such','type':'bind','options':['bind']})" "mounts[7] /x: source: "
  bad "c['mounts'].append({'destination':'/x','type':'none','options':['bind']})" "mounts[7] /x: source: is required for a bind mount"
  bad "c['mounts'].append({'destination':'/x','source':'none','type':'nosuchfs'})" "mounts[7] /x: type: "
  bad "c['mounts'].append({'destination':'/','source':'tmpfs','type':'tmpfs'})" "mounts[7] /: destination: it is the root itself"
  bad "c['mounts'].append({'destination':'/../..','source':'/tmp','options':['bind']})" "mounts[7] /../..: destination: it is the root itself"
  bad "c['mounts'].append({'destination':'/etc/passwd','source':'tmpfs','type':'tmpfs'})" "mounts[7] /etc/passwd: destination: it is not a directory in the container"
  bad "c['mounts'].append({'destination':'/etc','source':'/etc/passwd','options':['bind']})" "mounts[7] /etc: destination: it is a directory in the container"
  bad "c['mounts'].append({'destination':'/tmp','source':'tmpfs','type':'tmpfs','options':['size=much']})" "mounts[7] /tmp: options: "
}

@test "bad input: limits that are impossible name their field" {
  bad "c['linux']['resources']['memory']={'limit':100,'swap':50}" "linux.resources.memory.swap: 50 is less than the memory limit 100"
  bad "c['linux']['resources']['cpu']={'period':1}" "linux.resources.cpu"
  bad "c['linux']['resources']['cpu']={'quota':1}" "linux.resources.cpu.quota: "
  bad "c['linux']['resources']['cpu']={'cpus':'x'}" "linux.resources.cpu.cpus: "
  bad "c['linux']['resources']['devices']=[{'allow':True,'type':'z'}]" 'linux.resources.devices[0].type: unknown type "z"'
  bad "c['linux']['resources']['devices']=[{'allow':True,'type':'c','access':'x'}]" "linux.resources.devices[0].access: "
}

@test "bad input: rlimits of an unknown type, twice, or with soft over hard" {
  bad "c['process']['rlimits']=[{'type':'RLIMIT_WHAT','soft':1,'hard':2}]" 'process.rlimits[0].type: unknown limit "RLIMIT_WHAT"'
  bad "c['process']['rlimits']=[{'type':'RLIMIT_CORE','soft':1,'hard':2}]*2" "process.rlimits[1].type: RLIMIT_CORE is there twice"
  bad "c['process']['rlimits']=[{'type':'RLIMIT_CORE','soft':3,'hard':2}]" "process.rlimits[0]: soft 3 is over hard 2"
  bad "c['process']['rlimits']=[{'type':'RLIMIT_NOFILE','soft':2**40,'hard':2**40}]" "process.rlimits: RLIMIT_NOFILE"
}

@test "bad input: a process without arguments, directory, program, or with a variable that is none" {
  bad "c['process']['args']=[]" "process.args: is empty"
  bad "c['process']['cwd']='tmp'" 'process.cwd: "tmp" is not absolute'
  bad "c['process']['cwd']='/etc/passwd'" "process.cwd: "
  bad "c['process']['env']=['=x']" "process.env: "
  bad "c['process']['args']=['/no/such/program']" 'exec: "/no/such/program": '
  bad "del c['process']" "process: is required"
}

@test "bad input: words of scheduler, ioPriority, memoryPolicy, personality and propagation that are none" {
  bad "c['process']['scheduler']={'policy':'SCHED_WHAT'}" 'process.scheduler.policy: unknown word "SCHED_WHAT"'
  bad "c['process']['scheduler']={'policy':'SCHED_OTHER','flags':['SCHED_FLAG_WHAT']}" 'process.scheduler.flags: unknown word "SCHED_FLAG_WHAT"'
  bad "c['process']['ioPriority']={'class':'IOPRIO_CLASS_WHAT','priority':1}" 'process.ioPriority.class: unknown word "IOPRIO_CLASS_WHAT"'
  bad "c['linux']['memoryPolicy']={'mode':'MPOL_WHAT'}" 'linux.memoryPolicy.mode: unknown word "MPOL_WHAT"'
  bad "c['linux']['memoryPolicy']={'mode':'MPOL_DEFAULT','flags':['MPOL_F_WHAT']}" 'linux.memoryPolicy.flags: unknown word "MPOL_F_WHAT"'
  bad "c['linux']['personality']={'domain':'SVR4'}" 'linux.personality.domain: unknown domain "SVR4"'
  bad "c['linux']['personality']={'domain':'LINUX','flags':['X']}" 'linux.personality.flags: unknown flag "X"'
  bad "c['linux']['rootfsPropagation']='what'" 'linux.rootfsPropagation: unknown propagation "what"'
  bad "c['linux']['timeOffsets']={'realtime':{'secs':1}}" 'linux.timeOffsets: unknown clock "realtime"'
}

@test "bad input: sysctls that would be the host's, and one that the kernel refuses" {
  bad "c['linux']['sysctl']={'vm.swappiness':'1'}" "linux.sysctl: vm.swappiness is not of a namespace, it would change the host"
  bad "c['linux']['sysctl']={'kernel.hostname':'x'}" "linux.sysctl: kernel.hostname: use hostname instead"
  bad "c['linux']['sysctl']={'net.ipv4.nosuch':'1'}" "linux.sysctl: net.ipv4.nosuch: "
  bad "c['linux']['sysctl']={'net.ipv4.ip_forward':'maybe'}" "linux.sysctl: net.ipv4.ip_forward: "
}

@test "bad input: a seccomp rule with an unknown system call" {
  bad "c['linux']['seccomp']={'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read','blub'],'action':'SCMP_ACT_ERRNO'}]}" 'linux.seccomp.syscalls[0].names: unknown system call "blub"'
}

@test "bad input: maskedPaths, readonlyPaths, devices and cgroup paths that are relative or climb" {
  bad "c['linux']['maskedPaths']=['proc/kcore']" 'linux.maskedPaths: "proc/kcore" is not absolute'
  bad "c['linux']['readonlyPaths']=['proc/sys']" 'linux.readonlyPaths: "proc/sys" is not absolute'
  bad "c['linux']['devices']=[{'path':'dev/x','type':'c','major':1,'minor':3}]" 'linux.devices[0].path: "dev/x" is not absolute'
  bad "c['linux']['devices']=[{'path':'/dev/x','type':'q','major':1,'minor':3}]" 'linux.devices[0].type: unknown type "q"'
  bad "c['linux']['cgroupsPath']='../x'" 'linux.cgroupsPath: ../x has a ".."'
}

@test "bad input: an annotation's key is not empty" {
  bad "c['annotations']={'':'x'}" "annotations: a key is empty"
}

@test "bad input: a user that does not exist, or a name where a number is needed, is an error of exec" {
  created 'exec sleep 100'
  runtime start "$ID"
  run runtime exec --user nosuchuser "$ID" true
  [ "$status" -ne 0 ]
  [ "${#lines[@]}" -eq 1 ]
  [[ "$output" == *nosuchuser* ]]
  run runtime exec --cwd relative "$ID" true
  [ "$status" -ne 0 ]
  [ "${#lines[@]}" -eq 1 ]
  [[ "$output" == *'"relative" is not absolute'* ]]
  [ "$(status_of)" = running ]
}

@test "intelRdt without a resctrl file system is an error that names it" {
  ! grep -q ' resctrl ' /proc/mounts || skip "resctrl is mounted here"
  bad "c['linux']['intelRdt']={'closID':'group','schemata':['L3:0=f']}" "linux.intelRdt"
}
