#!/usr/bin/env bats
# config-linux.md, "Seccomp": every action and operator, errno, architectures, flags and the listener.

load helper

setup() { oci_setup; }
teardown() { oci_teardown; }

filter() { config "c['linux']['seccomp']=$1; c['root']['readonly']=False"; }

# on_mkdir ACTION [MORE]: mkdir leads to ACTION, everything else is allowed.
on_mkdir() { filter "{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[dict({'names':['mkdir','mkdirat'],'action':'$1'},**${2:-{\}})]}"; }

# listen SOCKET [PYTHON]: accepts one connection, writes what comes to SOCKET.got as JSON, runs the code with `c`, `fds`.
listen() {
  cat >"$OCI/listen.py" <<P
import array, json, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.bind(sys.argv[1]); s.listen(4)
open(sys.argv[1] + '.up', 'w')
c, _ = s.accept()
payload, parts, fds = b'', [], array.array('i')
while True:
    data, anc, _, _ = c.recvmsg(65536, socket.CMSG_SPACE(4 * 8))
    if not data: break
    got = array.array('i'); [got.frombytes(d) for _, _, d in anc]
    parts.append(len(got)); fds.extend(got); payload += data
message = json.loads(payload)
link = [os.readlink('/proc/self/fd/%d' % fd) for fd in fds]
json.dump(dict(message=message, parts=parts, links=link), open(sys.argv[1] + '.got.part', 'w'))
os.rename(sys.argv[1] + '.got.part', sys.argv[1] + '.got')
${2:-}
P
  /usr/bin/python3 "$OCI/listen.py" "$1" 3>&- >"$OCI/listen.out" 2>&1 &
  export HELPER=$! # ended by oci_teardown
  until_true test -e "$1.up"
}

@test "seccomp: SCMP_ACT_ERRNO and SCMP_ACT_LOG answer with the errno and let through" {
  on_mkdir SCMP_ACT_ERRNO "{'errnoRet':28}"
  in_container 'mkdir /tmp/x'
  [[ "$output" == *"No space left on device"* ]]
  on_mkdir SCMP_ACT_LOG
  in_container 'mkdir /tmp/y && echo made'
  [ "$output" = made ]
}

@test "seccomp: SCMP_ACT_KILL, KILL_THREAD and KILL_PROCESS end it with SIGSYS, SCMP_ACT_TRAP sends that" {
  local action
  for action in SCMP_ACT_KILL SCMP_ACT_KILL_THREAD SCMP_ACT_KILL_PROCESS SCMP_ACT_TRAP; do
    on_mkdir $action
    in_container '(mkdir /tmp/x); echo $?'
    [[ "$output" == *159 ]] || { echo "$action: $output"; return 1; }
  done
}

@test "seccomp: SCMP_ACT_TRACE without a tracer is ENOSYS" {
  on_mkdir SCMP_ACT_TRACE
  in_container 'mkdir /tmp/x'
  [[ "$output" == *"Function not implemented"* ]]
}

@test "seccomp: SCMP_ACT_ALLOW lets calls through, defaultAction and defaultErrnoRet are for those that no rule names" {
  filter "{'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':28,'syscalls':[{'names':sorted({n for s in c['linux']['seccomp']['syscalls'] if s['action']=='SCMP_ACT_ALLOW' for n in s['names']}),'action':'SCMP_ACT_ALLOW'}]}"
  in_container 'mkdir /tmp/x && echo made'
  [ "$output" = made ]
  config "r=c['linux']['seccomp']['syscalls'][0]; r['names']=[n for n in r['names'] if not n.startswith('mkdir')]"
  in_container 'mkdir /tmp/y'
  [[ "$output" == *"No space left on device"* ]]
}

@test "seccomp: an errno that an action has no use for is an error" {
  local action
  for action in SCMP_ACT_ALLOW SCMP_ACT_LOG SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD SCMP_ACT_TRAP; do
    on_mkdir $action "{'errnoRet':28}"
    refused "linux.seccomp.syscalls[0].action: $action "
  done
  filter "{'defaultAction':'SCMP_ACT_ALLOW','defaultErrnoRet':1}"
  refused "linux.seccomp.defaultAction: SCMP_ACT_ALLOW "
}

@test "seccomp: every operator compares as it says" {
  # kill(0, signal) of 10 = SIGUSR1, which is trapped: what the filter refuses says so.
  refuses() { # OPERATOR VALUE VALUETWO SIGNALS
    filter "{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['kill'],'action':'SCMP_ACT_ERRNO','args':[{'index':1,'value':$2,'valueTwo':$3,'op':'$1'}]}]}"
    in_container 'trap : USR1 USR2 CONT; for s in 10 12 18; do kill -$s $$ 2>/dev/null || echo $s; done'
    [ "$(echo $output)" = "$4" ] || { echo "$1 $2: $output, not $4"; return 1; }
  }
  refuses SCMP_CMP_EQ 12 0 "12"
  refuses SCMP_CMP_NE 12 0 "10 18"
  refuses SCMP_CMP_LT 12 0 "10"
  refuses SCMP_CMP_LE 12 0 "10 12"
  refuses SCMP_CMP_GT 12 0 "18"
  refuses SCMP_CMP_GE 12 0 "12 18"
  refuses SCMP_CMP_MASKED_EQ 2 2 "10 18"
}

@test "seccomp: every architecture and flag of the specification is known, others are errors" {
  filter "{'defaultAction':'SCMP_ACT_ALLOW','architectures':['SCMP_ARCH_'+a for a in 'X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB'.split()],
    'flags':['SECCOMP_FILTER_FLAG_'+f for f in 'TSYNC LOG SPEC_ALLOW'.split()],'syscalls':[{'names':['mkdir','mkdirat'],'action':'SCMP_ACT_ERRNO'}]}"
  in_container 'mkdir /tmp/x; echo on'
  [[ "$output" == *"not permitted"*on ]]
  filter "{'defaultAction':'SCMP_ACT_ALLOW','architectures':['SCMP_ARCH_Z80']}"
  refused 'linux.seccomp.architectures: unknown architecture "SCMP_ARCH_Z80"'
  filter "{'defaultAction':'SCMP_ACT_ALLOW','flags':['SECCOMP_FILTER_FLAG_WHAT']}"
  refused 'linux.seccomp.flags: unknown flag "SECCOMP_FILTER_FLAG_WHAT"'
}

@test "seccomp: a rule has at least one name, a known action, known operators and an argument of six" {
  on_mkdir SCMP_ACT_ERRNO "{'names':[]}"
  refused "linux.seccomp.syscalls[0].names: is empty"
  on_mkdir SCMP_ACT_WHAT
  refused 'linux.seccomp.syscalls[0].action: unknown action "SCMP_ACT_WHAT"'
  on_mkdir SCMP_ACT_ERRNO "{'args':[{'index':0,'value':1,'op':'SCMP_CMP_WHAT'}]}"
  refused 'linux.seccomp.syscalls[0].args: unknown operator "SCMP_CMP_WHAT"'
  on_mkdir SCMP_ACT_ERRNO "{'args':[{'index':6,'value':1,'op':'SCMP_CMP_EQ'}]}"
  refused "linux.seccomp.syscalls[0].args: index 6 is over 5"
  filter "{'syscalls':[]}"
  refused "linux.seccomp.defaultAction: is required"
}

@test "seccomp: the listener gets one container process state over a connection of its own, and its descriptor first" {
  listen "$OCI/notify"
  on_mkdir SCMP_ACT_NOTIFY
  config "c['linux']['seccomp'].update(listenerPath='$OCI/notify',listenerMetadata='meta'); c['annotations']={'a':'b'}"
  created 'exec sleep 100'
  runtime start "$ID"
  until_true test -e "$OCI/notify.got" || { cat "$OCI/listen.out"; return 1; }
  /usr/bin/python3 - "$OCI/notify.got" "$ID" "$BUNDLE" "$(cat "$OCI/pid")" <<'P'
import json, sys
got = json.load(open(sys.argv[1])); m = got['message']
assert got['parts'][0] == len(m['fds']) == len(got['links']) == 1 and not any(got['parts'][1:]), got
assert m['fds'] == ['seccompFd'] and got['links'] == ['anon_inode:seccomp notify'], got
assert m['ociVersion'].startswith('1.') and m['pid'] == int(sys.argv[4]) and m['metadata'] == 'meta', m
s = m['state']
assert s['id'] == sys.argv[2] and s['bundle'] == sys.argv[3] and s['pid'] == m['pid'] and s['annotations'] == {'a': 'b'}, s
assert s['ociVersion'].startswith('1.') and s['status'] == 'creating', s
P
}

@test "seccomp: a listener that cannot be reached is an error, without SCMP_ACT_NOTIFY it is ignored" {
  on_mkdir SCMP_ACT_NOTIFY
  config "c['linux']['seccomp']['listenerPath']='$OCI/nobody'"
  refused "linux.seccomp.listenerPath: "
  on_mkdir SCMP_ACT_LOG
  config "c['linux']['seccomp']['listenerPath']='$OCI/nobody'"
  in_container 'echo on'
  [ "$output" = on ]
}

@test "seccomp: SCMP_ACT_NOTIFY without listenerPath, and listenerMetadata without it, are errors" {
  on_mkdir SCMP_ACT_NOTIFY
  refused "linux.seccomp.listenerPath: is required with SCMP_ACT_NOTIFY"
  on_mkdir SCMP_ACT_LOG
  config "c['linux']['seccomp']['listenerMetadata']='meta'"
  refused "linux.seccomp.listenerMetadata: needs listenerPath"
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
  export HELPER=$! # ended by oci_teardown
  until_true test -e "$OCI/notify.up"
  config "c['linux']['seccomp']={'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'$OCI/notify','listenerMetadata':'meta','syscalls':[{'names':['chroot'],'action':'SCMP_ACT_NOTIFY'}]}"
  in_container true
  [ "$status" -eq 0 ]
  until_true test -e "$OCI/notify.ok" || { cat "$OCI/listen.out"; return 1; }
}
