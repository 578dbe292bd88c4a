#!/usr/bin/env bats
# config.md, "Mounts": every option of the Linux table, order, destinations and sources.

load helper

setup() {
  oci_setup
  mkdir "$BUNDLE/rootfs/m"
}
teardown() { oci_teardown; }

# options_of WORDS: what mountinfo says of a tmpfs mounted with these options: ",of the mount,of the file system,".
options_of() {
  config "c['mounts']=[m for m in c['mounts'] if m['destination']!='/m']+[{'destination':'/m','source':'tmpfs','type':'tmpfs','options':'$1'.split(',')}]"
  in_container 'grep " /m " /proc/self/mountinfo'
  [ "$status" -eq 0 ] || { echo "$1: $output"; return 1; }
  output=,$(echo "$output" | cut -d' ' -f6),$(echo "$output" | sed 's/.* //'),
}

has() { # OPTIONS WORD
  options_of "$1"
  [[ "$output" == *",$2,"* ]] || { echo "$1 gives $output, not $2"; return 1; }
}

has_not() {
  options_of "$1"
  [[ "$output" != *",$2,"* ]] || { echo "$1 gives $output with $2"; return 1; }
}

# tree: $OCI/source with a tmpfs mounted on its directory below.
tree() {
  mkdir -p "$OCI/source/below"
  mount -t tmpfs -o "${1:-rw}" tmpfs "$OCI/source/below"
  TREE=$OCI/source/below
}

# bound OPTIONS: mountinfo of the tree bound to /m, one line for /m and one for what is mounted below it.
bound() {
  config "c['mounts']=[m for m in c['mounts'] if m['destination']!='/m']+[{'destination':'/m','source':'$OCI/source','type':'none','options':'$1'.split(',')}]"
  in_container 'grep " /m" /proc/self/mountinfo | cut -d" " -f5-8'
}

unmount_tree() { [ -z "${TREE:-}" ] || umount -l "$TREE"; }

@test "mount options: ro, nosuid, nodev, noexec and their opposites, the later word wins" {
  local word
  for word in ro:rw nosuid:suid nodev:dev noexec:exec; do
    has "${word%:*}" "${word%:*}"
    has "${word#*:},${word%:*}" "${word%:*}"
    has_not "${word%:*},${word#*:}" "${word%:*}"
  done
}

@test "mount options: noatime, nodiratime, relatime, strictatime and their opposites" {
  has noatime noatime
  has_not noatime,atime noatime
  has nodiratime nodiratime
  has_not nodiratime,diratime nodiratime
  has relatime relatime
  has_not relatime,norelatime relatime
  has_not strictatime relatime
  has_not strictatime noatime
  has strictatime,nostrictatime relatime
}

@test "mount options: nosymfollow and symfollow" {
  has nosymfollow nosymfollow
  has_not nosymfollow,symfollow nosymfollow
}

@test "mount options: sync, dirsync and lazytime reach the file system, async and nolazytime take them back" {
  has sync sync
  has_not sync,async sync
  has dirsync dirsync
  has lazytime lazytime
  has_not lazytime,nolazytime lazytime
}

@test "mount options: defaults, silent, loud, iversion, noiversion, mand and nomand are known" {
  has defaults,silent,loud,iversion,noiversion,mand,nomand,size=64k size=64k
}

@test "mount options: what no runtime knows goes to the file system, which may refuse it" {
  has nr_inodes=77 nr_inodes=77
  config "c['mounts'][-1]['options']=['nosuchoption']"
  refused "mounts[7] /m: options: "
}

@test "mount options: rbind brings what is mounted below the source, bind does not" {
  tree
  bound rbind
  local recursive=${#lines[@]}
  bound bind
  unmount_tree
  [ "$recursive ${#lines[@]}" = "2 1" ]
}

@test "mount options: of a bind, whatever its type says, hold for that mount only" {
  tree
  bound rbind,ro,nosuid,nodev,noexec,noatime
  unmount_tree
  [[ "${lines[0]}" == *" ro,nosuid,nodev,noexec,noatime "* ]]
  [[ "${lines[1]}" == "/m/below rw,relatime "* ]]
}

@test "mount options: each recursive one holds for what is mounted below as well" {
  tree
  local word
  for word in rro:ro rnosuid:nosuid rnodev:nodev rnoexec:noexec rnoatime:noatime rnodiratime:nodiratime rnosymfollow:nosymfollow; do
    bound "rbind,${word%:*}"
    [ "${#lines[@]}" -eq 2 ] && [[ ",${lines[0]// /,}," == *",${word#*:},"* && ",${lines[1]// /,}," == *",${word#*:},"* ]] ||
      { echo "$word: $output"; unmount_tree; return 1; }
  done
  unmount_tree
}

@test "mount options: each recursive opposite takes away from what is mounted below as well" {
  tree ro,nosuid,nodev,noexec,noatime,nodiratime
  local word
  for word in rrw:ro rsuid:nosuid rdev:nodev rexec:noexec ratime:noatime rdiratime:nodiratime rrelatime:noatime rstrictatime:noatime; do
    bound "rbind,${word%:*}"
    [ "${#lines[@]}" -eq 2 ] && [[ ",${lines[1]// /,}," != *",${word#*:},"* ]] ||
      { echo "$word: $output"; unmount_tree; return 1; }
  done
  bound rbind
  unmount_tree
  [[ "${lines[1]}" == *ro,nosuid,nodev,noexec,noatime,nodiratime* ]]
}

@test "mount options: shared, slave, private and unbindable, and their recursive forms" {
  tree
  mount --make-private "$TREE"
  mount --bind "$OCI/source" "$OCI/source"
  mount --make-shared "$OCI/source"
  local word failed=
  for word in shared=shared: private= unbindable=unbindable; do
    bound "rbind,${word%%=*}"
    case ${word%%=*} in
      private) [[ "${lines[0]}" != *shared:* && "${lines[0]}" != *master:* ]] || failed+="$word: $output" ;;
      *) [[ "${lines[0]}" == *"${word#*=}"* ]] || failed+="$word: $output" ;;
    esac
  done
  for word in rshared=shared: runbindable=unbindable; do
    mount --bind "$TREE" "$TREE"
    bound "rbind,${word%%=*}"
    umount "$TREE"
    [ "${#lines[@]}" -ge 1 ] && [ "$(grep -c "${word#*=}" <<<"$output")" = "${#lines[@]}" ] || failed+="$word: $output"
  done
  for word in slave rslave; do
    bound "rbind,$word"
    [[ "${lines[0]}" == *master:* ]] || failed+="$word: $output"
  done
  bound rbind,rprivate
  [[ "$output" != *shared:* && "$output" != *master:* ]] || failed+="rprivate: $output"
  umount -l "$OCI/source"
  unmount_tree
  [ -z "$failed" ] || { echo "$failed"; return 1; }
}

@test "mount options: remount changes what is mounted there, and nothing else of it" {
  has nosuid,size=64k nosuid
  config "c['mounts'].append({'destination':'/m','options':['remount','ro','noexec','size=128k']})"
  in_container 'grep -c " /m " /proc/self/mountinfo; grep " /m " /proc/self/mountinfo; (touch /m/x) 2>&1'
  [ "${lines[0]}" = 1 ]
  [[ "${lines[1]}" == *" ro,nosuid,noexec,relatime "*size=128k* ]]
  [[ "${lines[2]}" == *"Read-only file system"* ]]
}

@test "mount options: remount of a bind leaves the source as it is, and needs something to be mounted there" {
  mkdir "$OCI/source"
  bound bind
  config "c['mounts'].append({'destination':'/m','source':'$OCI/source','options':['bind','remount','ro']})"
  in_container '(touch /m/x) 2>&1'
  [[ "$output" == *"Read-only file system"* ]]
  touch "$OCI/source/outside"
  config "c['mounts'][-1]={'destination':'/root','options':['remount','ro']}"
  refused "mounts[8] /root: options: remount: nothing is mounted there"
}

@test "mounts: a later entry lies on top of an earlier one, also on its parent" {
  mkdir -p "$BUNDLE/rootfs/m/child"
  config "c['mounts']+=[{'destination':d,'source':'tmpfs','type':'tmpfs','options':[]} for d in ('/m/child','/m')]"
  in_container 'test -d /m/child && echo there || echo hidden'
  [ "$output" = hidden ]
  mkdir -p "$OCI/source/child"
  config "c['mounts'][-2:]=[{'destination':'/m','source':'$OCI/source','options':['bind']},{'destination':'/m/child','source':'tmpfs','type':'tmpfs'}]"
  in_container 'grep -c " /m/child tmpfs" /proc/mounts'
  [ "$output" = 1 ]
}

@test "mounts: a relative destination is relative to the root, /dev included" {
  config "c['mounts'].append({'destination':'m','source':'tmpfs','type':'tmpfs','options':['size=64k']})"
  in_container 'grep -c "^tmpfs /m tmpfs" /proc/mounts'
  [ "$output" = 1 ]
  mkdir "$OCI/dev"
  config "c['mounts']=[m for m in c['mounts'] if not m['destination'].startswith('/dev')]; c['mounts'][-1]={'destination':'dev','source':'$OCI/dev','options':['bind']}"
  in_container true
  [ "$status" -eq 0 ]
  [ -z "$(ls -A "$OCI/dev")" ]
}

@test "mounts: a destination whose links lead out of the root file system stays inside" {
  mkdir -p "$OCI/outside" "$OCI/source" "$BUNDLE/rootfs/inside" "$BUNDLE/rootfs$OCI/outside"
  ln -s "$OCI/outside" "$BUNDLE/rootfs/absolute"
  ln -s ../../../../../../../../inside "$BUNDLE/rootfs/climbing"
  config "c['root']['readonly']=False
c['mounts']+=[{'destination':'/absolute/a','source':'$OCI/source','options':['bind']},{'destination':'/climbing/b','source':'$OCI/source','options':['bind']}]"
  in_container "grep -c ' $OCI/outside/a ' /proc/self/mountinfo; grep -c ' /inside/b ' /proc/self/mountinfo"
  echo "$output"
  [ "$(echo $output)" = "1 1" ]
  [ -z "$(ls -A "$OCI/outside")" ]
  rmdir "$BUNDLE/rootfs$OCI/outside/a" "$BUNDLE/rootfs$OCI/outside"
  refused "mounts[7] /absolute/a: "
  [ -z "$(ls -A "$OCI/outside")" ]
}

@test "mounts: uidMappings and gidMappings are given together" {
  mkdir "$OCI/source"
  config "c['mounts'].append({'destination':'/m','source':'$OCI/source','options':['bind','idmap'],'uidMappings':[{'containerID':0,'hostID':1000,'size':10}]})"
  refused "mounts[7] /m: uidMappings: and gidMappings are given together or not at all"
}
