#!/usr/bin/env bats
# config.md: the configuration's root, mounts, process, hostname and versions; one test a demand.

load helper

setup() { oci_setup; }
teardown() { oci_teardown; }

with_mount() { # JSON of one mount
  mkdir -p "$BUNDLE/rootfs/m"
  config "c['mounts'].append($1)"
}

@test "ociVersion: one of another major version is refused" {
  config "c['ociVersion']='2.0.0'"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *ociVersion* ]]
}

@test "ociVersion: minor versions of the same major one are taken" {
  local version
  for version in 1.0.0 1.0.2-dev 1.1.0 1.2.0 1.3.0; do
    config "c['ociVersion']='$version'"
    in_container true
    [ "$status" -eq 0 ]
  done
}

@test "unknown properties are passed over, unless they are of a known name and the wrong type" {
  config "c['com.example']={'a':1}; c['process']['x-later']=[1]"
  in_container true
  [ "$status" -eq 0 ]
  config "c['process']['args']='true'"
  run runtime run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 1 ]
  [[ "$output" == *process.args* ]]
}

@test "root.path may be absolute or relative to the bundle" {
  config "c['root']['path']='$BUNDLE/rootfs'"
  in_container 'echo absolute'
  [ "$output" = absolute ]
  config "c['root']['path']='rootfs'"
  in_container 'echo relative'
  [ "$output" = relative ]
}

@test "root.readonly makes the root read-only, and only when true" {
  config "c['root']['readonly']=True"
  in_container '(touch /file) 2>&1'
  [[ "$output" == *Read-only* ]]
  config "c['root']['readonly']=False"
  in_container 'touch /file && echo written'
  [ "$output" = written ]
}

@test "mounts are done in their order" {
  mkdir -p "$OCI/a" "$OCI/b"; touch "$OCI/a/first" "$OCI/b/second"
  with_mount "{'destination':'/m','source':'$OCI/a','type':'bind','options':['rbind']}"
  with_mount "{'destination':'/m','source':'$OCI/b','type':'bind','options':['rbind']}"
  in_container 'ls /m'
  [ "$output" = second ]
}

@test "mounts: a relative source is relative to the bundle" {
  mkdir "$BUNDLE/source"; touch "$BUNDLE/source/here"
  with_mount "{'destination':'/m','source':'source','type':'bind','options':['bind']}"
  in_container 'ls /m'
  [ "$output" = here ]
}

@test "mounts: a destination that is missing is made" {
  config "c['root']['readonly']=False; c['mounts'].append({'destination':'/not/there/yet','type':'tmpfs','source':'tmpfs'})"
  in_container 'grep -c " /not/there/yet " /proc/self/mountinfo'
  [ "$output" = 1 ]
}

@test "mounts: a destination that climbs out stays inside" {
  mkdir "$OCI/source"
  config "c['root']['readonly']=False; c['mounts'].append({'destination':'/../../../inside','source':'$OCI/source','type':'bind','options':['bind']})"
  in_container 'grep -c " /inside " /proc/self/mountinfo'
  [ "$output" = 1 ]
}

@test "mounts: the options of a bind hold" {
  mkdir "$OCI/source"; cp /bin/busybox "$OCI/source/"
  with_mount "{'destination':'/m','source':'$OCI/source','type':'bind','options':['bind','ro','nosuid','nodev','noexec','noatime']}"
  in_container 'grep " /m " /proc/self/mountinfo | cut -d" " -f6'
  for word in ro nosuid nodev noexec noatime; do [[ ",$output," == *",$word,"* ]]; done
}

@test "mounts: rro makes what is mounted below read-only as well, ro does not" {
  mkdir -p "$OCI/source/below"
  mount -t tmpfs tmpfs "$OCI/source/below"
  with_mount "{'destination':'/m','source':'$OCI/source','type':'bind','options':['rbind','rro']}"
  in_container '(touch /m/below/x) 2>&1'
  local recursive=$output
  config "c['mounts'][-1]['options']=['rbind','ro']"
  in_container 'touch /m/below/x && echo written'
  umount "$OCI/source/below"
  [[ "$recursive" == *Read-only* ]]
  [ "$output" = written ]
}

@test "mounts: size and mode of a tmpfs hold" {
  with_mount "{'destination':'/m','source':'tmpfs','type':'tmpfs','options':['size=64k','mode=1700','nosuid']}"
  in_container 'stat -c %a /m; dd if=/dev/zero of=/m/f bs=1k count=100 2>/dev/null; stat -c %s /m/f'
  [ "$(echo $output)" = "1700 65536" ]
}

@test "mounts: an unknown file system type is an error that names the mount" {
  with_mount "{'destination':'/m','source':'none','type':'nosuchfs'}"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *"mounts["*"/m"* ]]
  nothing_left
}

@test "process.cwd is the working directory, must be absolute, and is made when missing" {
  config "c['process']['cwd']='/root'"
  in_container pwd
  [ "$output" = /root ]
  config "c['process']['cwd']='/made/here'; c['root']['readonly']=False"
  in_container pwd
  [ "$output" = /made/here ]
  config "c['process']['cwd']='relative'"
  in_container pwd
  [ "$status" -eq 1 ]
}

@test "process.env is the whole environment" {
  config "c['process']['env']=['PATH=/bin','ONE=1','HOME=/x']"
  OUTSIDE=1 in_container 'env | sort | grep -v "^_\|^PWD\|^SHLVL"'
  [ "$(echo $output)" = "HOME=/x ONE=1 PATH=/bin" ]
}

@test "process.args: the first is found in the container's PATH and is argv[0]" {
  config "c['process'].update(args=['cat','/proc/self/cmdline'],env=['PATH=/nowhere:/bin'])"
  run runtime run --bundle "$BUNDLE" "$ID" </dev/null
  [[ "$output" == cat* ]]
}

@test "process.args: an empty list is an error" {
  config "c['process']['args']=[]"
  run runtime run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 1 ]
  [[ "$output" == *process.args* ]]
}

@test "process.args: what cannot be executed says why, as Docker does" {
  echo text >"$BUNDLE/rootfs/etc/text"
  refused() {
    config "c['process']['args']=['$1']"
    run runtime run --bundle "$BUNDLE" "$ID" </dev/null
    [ "$status" -eq 1 ] && [[ "$output" == *"exec: \"$1\": $2" ]] || { echo "$output"; return 1; }
    nothing_left
  }
  refused nosuch 'executable file not found in $PATH'
  refused /nosuch 'stat /nosuch: no such file or directory'
  refused /etc/text 'permission denied'
  refused /etc 'is a directory'
}

@test "process.rlimits: a type twice or unknown is an error" {
  config "c['process']['rlimits']=[{'type':'RLIMIT_NOFILE','soft':1,'hard':2},{'type':'RLIMIT_NOFILE','soft':1,'hard':2}]"
  in_container true
  [ "$status" -eq 1 ]
  config "c['process']['rlimits']=[{'type':'RLIMIT_WHAT','soft':1,'hard':2}]"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *process.rlimits* ]]
}

@test "process.scheduler and process.ioPriority are applied" {
  config "c['process'].update(scheduler={'policy':'SCHED_BATCH','nice':5},ioPriority={'class':'IOPRIO_CLASS_IDLE','priority':0})"
  in_container 'cut -d" " -f19,41 /proc/self/stat'
  [ "$output" = "5 3" ]
}

@test "process.capabilities: one that the kernel does not know is passed over, and nothing is said into the container" {
  config "c['process']['capabilities']={k:['CAP_KILL','CAP_FROM_THE_FUTURE'] for k in ('bounding','effective','permitted')}"
  config "c['process']['args']=['/bin/sh','-c','grep CapEff /proc/self/status']"
  runtime --log "$OCI/log" run --bundle "$BUNDLE" "$ID" </dev/null >"$OCI/out" 2>"$OCI/err"
  grep -q 0000000000000020 "$OCI/out"
  [ ! -s "$OCI/err" ]
  grep -q CAP_FROM_THE_FUTURE "$OCI/log"
}

@test "process.noNewPrivileges holds" {
  config "c['process']['noNewPrivileges']=True"
  in_container 'grep NoNewPrivs /proc/self/status'
  [[ "$output" == *1 ]]
}

@test "process.user: umask is 0022 unless given" {
  in_container umask
  [ "$output" = 0022 ]
}

@test "the streams can be opened by their names by a user who is not root" {
  config "c['process']['user']={'uid':1000,'gid':1000}"
  config "c['process']['args']=['/bin/sh','-c','echo out >/dev/stdout; echo err >/dev/stderr']"
  runtime run --bundle "$BUNDLE" "$ID" </dev/null 2>&1 | cat >"$OCI/out"
  grep -q out "$OCI/out"
  grep -q err "$OCI/out"
}

@test "hostname and domainname are set, in the container only" {
  local before; before=$(hostname)
  config "c['hostname']='inside'; c['domainname']='example.test'"
  in_container 'hostname; cat /proc/sys/kernel/domainname'
  [ "$(echo $output)" = "inside example.test" ]
  [ "$(hostname)" = "$before" ]
}

@test "hostname without a uts namespace is an error, not the host's new name" {
  local before; before=$(hostname)
  config "c['hostname']='stolen'; c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='uts']"
  in_container true
  [ "$status" -eq 1 ]
  [ "$(hostname)" = "$before" ]
}

@test "sysctl without its namespace is an error" {
  config "c['linux']['sysctl']={'net.ipv4.ip_forward':'1'}; c['linux']['namespaces']=[n for n in c['linux']['namespaces'] if n['type']!='network']; c['mounts']=[m for m in c['mounts'] if m['type']!='sysfs']"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *linux.sysctl* ]]
}

@test "execCPUAffinity: a process of exec runs on the final CPUs, init on its own" {
  local all
  all=$(awk '/^Cpus_allowed_list/{print $2}' /proc/self/status)
  [[ "$all" == *[-,]* ]] || skip "there is one CPU only"
  local last=${all##*[-,]}
  config "c['process']['execCPUAffinity']={'initial':'$last','final':'$last'}"
  created 'sleep 100'
  runtime start "$ID"
  run runtime exec "$ID" /bin/sh -c 'grep Cpus_allowed_list /proc/self/status'
  [[ "$output" == *[[:space:]]$last ]]
  [ "$(awk '/^Cpus_allowed_list/{print $2}' "/proc/$(cat "$OCI/pid")/status")" = "$all" ]
  runtime delete --force "$ID"
  config "c['process']['execCPUAffinity']={'initial':'3-1'}"
  in_container true
  [ "$status" -eq 1 ]
  [[ "$output" == *'process.execCPUAffinity.initial: "3-1": 3-1 is backwards'* ]]
  nothing_left
}

@test "process.oomScoreAdj is set when given, and not changed when not" {
  config "c['process']['oomScoreAdj']=321"
  in_container 'cat /proc/self/oom_score_adj'
  [ "$output" = 321 ]
  config "del c['process']['oomScoreAdj']; c['process']['args']=['cat','/proc/self/oom_score_adj']"
  run bash -c 'echo 77 >/proc/self/oom_score_adj; exec "$@" </dev/null' - "$RUNTIME" --root "$OCI/root" run --bundle "$BUNDLE" "$ID"
  [ "$output" = 77 ]
}

@test "process.rlimits: every type of the kernel is set, soft and hard as given" {
  # Not above our own hard limits, which not everybody may raise.
  config "
import resource
names = dict(CPU=(0,'cpu time'), FSIZE=(1,'file size'), DATA=(2,'data size'), STACK=(3,'stack size'), CORE=(4,'core file size'), RSS=(5,'resident set'),
 NPROC=(6,'processes'), NOFILE=(7,'open files'), MEMLOCK=(8,'locked memory'), AS=(9,'address space'), LOCKS=(10,'file locks'),
 SIGPENDING=(11,'pending signals'), MSGQUEUE=(12,'msgqueue size'), NICE=(13,'nice priority'), RTPRIO=(14,'realtime priority'), RTTIME=(15,'realtime timeout'))
c['process']['rlimits'] = []
with open('$OCI/wanted', 'w') as wanted:
    for name, (number, text) in names.items():
        own = resource.getrlimit(number)[1]
        hard = (2**34 if name in ('DATA','STACK','RSS','AS') else 2000) + number
        if own != -1: hard = min(hard, own)
        c['process']['rlimits'].append({'type': 'RLIMIT_' + name, 'soft': hard // 2, 'hard': hard})
        print('Max ' + text, hard // 2, hard, file=wanted)
c['process']['args'] = ['cat', '/proc/self/limits']"
  run runtime run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 0 ]
  local line
  while read -r line; do
    grep -q "^$line " <<<"$(tr -s ' ' <<<"$output")" || { echo "not $line: $output"; return 1; }
  done <"$OCI/wanted"
  [ "$(wc -l <"$OCI/wanted")" -eq 16 ]
}

@test "process.consoleSize is ignored without a terminal, and the terminal's size with one" {
  config "c['process']['consoleSize']={'height':11,'width':22}"
  in_container 'test -t 0 || echo none'
  [ "$output" = none ]
  ln -s busybox "$BUNDLE/rootfs/bin/stty"
  config "c['process'].update(terminal=True,args=['/bin/sh','-c','stty size'])"
  cat >"$OCI/console.py" <<'P'
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.bind(sys.argv[1]); s.listen(1)
open(sys.argv[1] + '.up', 'w')
c, _ = s.accept()
_, anc, _, _ = c.recvmsg(4096, socket.CMSG_SPACE(4))
fd = array.array('i'); fd.frombytes(anc[0][2])
out = b''
try:
    while True:
        data = os.read(fd[0], 4096)
        if not data: break
        out += data
except OSError:
    pass
open(sys.argv[1] + '.part', 'wb').write(out)
os.rename(sys.argv[1] + '.part', sys.argv[1] + '.out')
P
  /usr/bin/python3 "$OCI/console.py" "$OCI/console" 3>&- &
  export HELPER=$! # ended by oci_teardown
  until_true test -e "$OCI/console.up"
  runtime create --bundle "$BUNDLE" --console-socket "$OCI/console" "$ID"
  runtime start "$ID"
  until_true test -e "$OCI/console.out"
  grep -q "^11 22" "$OCI/console.out"
}

@test "process.scheduler: what is not given is 0, whatever the runtime's is" {
  config "c['process'].update(scheduler={'policy':'SCHED_OTHER'},args=['cut','-d',' ','-f','18,19,40,41','/proc/self/stat'])"
  run nice -n 7 "$RUNTIME" --root "$OCI/root" run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$output" = "20 0 0 0" ]
}

@test "process.scheduler: policy, priority and flags are applied" {
  config "c['process']['scheduler']={'policy':'SCHED_IDLE','flags':['SCHED_FLAG_RESET_ON_FORK']}"
  created 'exec sleep 100'
  run chrt -p "$(cat "$OCI/pid")"
  [[ "$output" == *"SCHED_IDLE|SCHED_RESET_ON_FORK"* ]]
  runtime delete --force "$ID"
  # Groups of a v1 cpu controller have no real-time of their own, unless they were given some.
  config "c['process']['scheduler']={'policy':'SCHED_FIFO','priority':7}"
  if chrt -f 1 true 2>/dev/null; then
    created 'exec sleep 100'
    run chrt -p "$(cat "$OCI/pid")"
    [[ "$output" == *SCHED_FIFO* && "$output" == *"priority: 7"* ]]
  else
    refused "process.scheduler: "
  fi
}

@test "process.ioPriority: class and priority are applied" {
  command -v ionice >/dev/null || skip "there is no ionice"
  local class
  for class in BE:best-effort RT:realtime; do
    config "c['process']['ioPriority']={'class':'IOPRIO_CLASS_${class%:*}','priority':6}"
    created 'exec sleep 100'
    [ "$(ionice -p "$(cat "$OCI/pid")")" = "${class#*:}: prio 6" ]
    runtime delete --force "$ID"
  done
}

@test "process.capabilities: one that cannot be granted is a warning, and the others are granted" {
  config "c['process']['capabilities']={k:['CAP_KILL','CAP_SYS_TIME'] for k in ('bounding','effective','permitted')}"
  config "c['process']['args']=['grep','CapEff','/proc/self/status']"
  setpriv --bounding-set -sys_time --inh-caps -sys_time "$RUNTIME" --root "$OCI/root" --log "$OCI/log" run --bundle "$BUNDLE" "$ID" </dev/null >"$OCI/out"
  grep -q 0000000000000020 "$OCI/out"
  grep -i warn "$OCI/log" | grep -q "process.capabilities: CAP_SYS_TIME cannot be granted here, left out"
}

@test "sections of other platforms are ignored" {
  config "
c['windows']={'layerFolders':['C:\\\\x'],'hyperv':{}}; c['solaris']={'limitpriv':'all'}; c['zos']={'namespaces':[{'type':'pid'}]}
c['vm']={'kernel':{'path':'/no/such/kernel'}}; c['freebsd']={'devices':[]}"
  in_container 'echo on'
  [ "$output" = on ]
}

@test "unknown annotations are passed on, also those of the reserved name space" {
  config "c['annotations']={'org.opencontainers.later':'x','com.example.empty':''}"
  created 'exec sleep 100'
  runtime state "$ID" | /usr/bin/python3 -c 'import json,sys; assert json.load(sys.stdin)["annotations"] == {"org.opencontainers.later": "x", "com.example.empty": ""}'
}
