#!/usr/bin/env bats
# Attacks on the runtime that other engines fell to: what it mounts, makes and writes, and where. Each test names the
# flaw it guards against, and under "fails" what was taken out to see that it does.

load ../conformance/oci/helper

setup() {
  oci_setup
  config "c['root']['readonly']=False"
}
teardown() { oci_teardown; }

# OUT: a link's text that leads from anywhere in the container's tree to that path of the host.
out() { echo "../../../../../../../../..$1"; }

# swap A B: somebody who exchanges them all the time, until the test ends.
swap() {
  mkfifo "$OCI/swapping"
  "$BATS_TEST_DIRNAME/swap.py" "$1" "$2" >"$OCI/swapping" 3>&- &
  # shellcheck disable=SC2034 # oci_teardown ends it
  HELPER=$!
  read -r <"$OCI/swapping"
}

no_dev() { config "c['mounts']=[m for m in c['mounts'] if not m['destination'].startswith('/dev')]"; }

# --- CVE-2025-31133 ----------------------------------------------------------------------------------------

# Fails: mask() opens the container's /dev/null (and, as runc did, masks nothing when there is none) in place of null_.
@test "CVE-2025-31133: what masks is the null device, whatever /dev/null is in the container" {
  local before after null
  before=$(cat /proc/sys/kernel/core_pattern)
  no_dev
  mkdir "$OCI/dev"
  config "c['mounts'].append({'destination':'/dev','source':'$OCI/dev','type':'bind','options':['bind']})"
  for null in 'ln -s /proc/sys/kernel/core_pattern' 'ln -s /proc/uptime' touch 'rm -f'; do
    rm -f "$OCI/dev/null"
    $null "$OCI/dev/null"
    in_container 'echo "|/evil" >/proc/keys; wc -c </proc/keys; stat -c %t:%T /proc/keys'
    after=$(cat /proc/sys/kernel/core_pattern)
    [ "$after" = "$before" ] || echo "$before" >/proc/sys/kernel/core_pattern
    echo "$null: $output"
    [ "$after" = "$before" ]
    [ "${lines[*]}" = "0 1:3" ]
  done
}

# --- CVE-2025-52565 ----------------------------------------------------------------------------------------

pts() { # a volume in place of /dev/pts
  config "c['mounts']=[m for m in c['mounts'] if m['destination']!='/dev/pts']; c['mounts'].append({'destination':'/dev/pts','source':'$OCI/pts','type':'bind','options':['bind']})"
  mkdir "$OCI/pts"
  config "c['process']['terminal']=True"
}

# Fails: open_terminal() does not look at what it has opened.
@test "CVE-2025-52565: a console that is not a devpts master is refused" {
  pts
  config "c['process']['args']=['true']"
  for ptmx in 'mknod -m 666 PTMX c 1 3' 'mknod -m 666 PTMX c 5 2' 'touch PTMX' 'ln -s /proc/sys/kernel/core_pattern PTMX'; do
    rm -f "$OCI/pts/ptmx"
    ${ptmx/PTMX/$OCI\/pts\/ptmx}
    run runtime run --bundle "$BUNDLE" "$ID" </dev/null
    echo "$ptmx: $output"
    [ "$status" -eq 1 ]
    [[ "$output" == *"process.terminal: "*/dev/pts/ptmx* ]]
    nothing_left
  done
}

# Fails: open_terminal() opens the other end, or open_console() binds it, by its name, /dev/pts/N.
@test "CVE-2025-52565: the console is the terminal that was opened, whatever lies at /dev/pts/N" {
  pts
  config "c['mounts'].insert(0,{'destination':'/true','source':'devpts','type':'devpts','options':['newinstance','ptmxmode=0666','mode=0620']})"
  ln -s /true/ptmx "$OCI/pts/ptmx"
  echo untouched >"$BUNDLE/rootfs/canary"
  for n in 0 1 2 3; do ln -s /canary "$OCI/pts/$n"; done
  in_container 'echo OWNED >/dev/console; stat -Lc %t /dev/console /dev/stdin; cat /canary'
  echo "$output"
  [ "$(tr -d '\r' <<<"${lines[*]}")" = "OWNED 88 88 untouched" ]
}

# --- CVE-2025-52881, CVE-2019-16884, CVE-2019-19921, CVE-2023-27561 ------------------------------------------------

# Fails: apply_sysctls() writes to /proc/sys/… by name after setup_rootfs(), where others have done it.
@test "CVE-2025-52881: sysctls reach the kernel although a volume lies on /proc" {
  local file=sys/net/ipv4/ip_unprivileged_port_start
  mkdir -p "$OCI/proc/${file%/*}" "$OCI/proc/self"
  echo 0 | tee "$OCI/proc/$file" >"$OCI/proc/self/oom_score_adj"
  config "c['mounts'].append({'destination':'/proc','source':'$OCI/proc','type':'bind','options':['bind']})"
  config "c['linux']['sysctl']={'net.ipv4.ip_unprivileged_port_start':'567'}; c['process']['oomScoreAdj']=567"
  config "c['linux']['readonlyPaths']=[]" # or else it could not be written to in this case
  created 'sleep 100'
  [ "$(nsenter --net="/proc/$(cat "$OCI/pid")/ns/net" cat "/proc/$file")" = 567 ]
  [ "$(cat "/proc/$(cat "$OCI/pid")/oom_score_adj")" = 567 ]
  [ "$(cat "$OCI/proc/$file" "$OCI/proc/self/oom_score_adj")" = $'0\n0' ]
}

# Fails: ProcFs::open_file() resolves without RESOLVE_NO_XDEV.
@test "CVE-2025-52881: what lies on a file of /proc gets nothing, and the start fails" {
  echo untouched >"$OCI/canary"
  config "c['linux']['sysctl']={'kernel.domainname':'OWNED'}; c['process']['args']=['true']"
  run unshare --mount --propagation private /bin/sh -c '
    mount --bind "$1/canary" /proc/sys/kernel/domainname && shift && exec "$@"' sh "$OCI" \
    "$RUNTIME" --root "$OCI/root" run --bundle "$BUNDLE" "$ID" </dev/null
  [ "$status" -eq 1 ]
  [[ "$output" == *"linux.sysctl: kernel.domainname: "* ]]
  [ "$(cat "$OCI/canary")" = untouched ]
}

# Fails: check_sysctl() judges the name as given and not the path that it becomes.
@test "a sysctl's name does not lead out of its namespace" {
  local same
  same=$(cat /proc/sys/vm/swappiness) # it is not changed even if the attack succeeds
  for key in vm.swappiness vm/swappiness net/../vm/swappiness net.//.vm.swappiness net.ipv4.//.//.vm.swappiness /vm/swappiness; do
    config "c['linux']['sysctl']={'$key':'$same'}"
    in_container true
    echo "$key: $output"
    [ "$status" -eq 1 ]
    [[ "$output" == *linux.sysctl* ]]
  done
}

# Fails: mount_filesystem() does not call refuse_links().
@test "CVE-2019-19921: a /proc behind a link that is turned while the container is made is never left bare" {
  mkdir -p "$OCI/volume/x" "$OCI/volume/y"
  : >"$OCI/volume/y/keys"
  rmdir "$BUNDLE/rootfs/proc"
  ln -s volume/x "$BUNDLE/rootfs/proc"
  config "c['mounts'].insert(0,{'destination':'/volume','source':'$OCI/volume','type':'bind','options':['rbind']})"
  swap "$OCI/volume/x" "$OCI/volume/y"
  for _ in {1..20}; do
    in_container 'for p in /volume/x /volume/y; do
      [ ! -e $p/uptime ] || keys=$(stat -c %t:%T $p/keys 2>/dev/null) || continue
      [ "${keys:-1:3}" = 1:3 ] || echo BARE; done'
    echo "$output" >>"$OCI/rounds"
  done
  sort "$OCI/rounds" | uniq -c
  [ "$(grep -c BARE "$OCI/rounds")" = 0 ]
  [ "$(sort -u "$OCI/rounds")" = "gantry-runtime: mounts[1] /proc: destination: a symbolic link is in its way" ]
}

# --- CVE-2026-41579, CVE-2026-47766 ------------------------------------------------------------------------------

# Fails: Beneath::open() resolves without RESOLVE_IN_ROOT.
@test "CVE-2026-41579: devices and links of a /dev that is a link out of the image are not made on the host" {
  mkdir "$OCI/victim"
  rmdir "$BUNDLE/rootfs/dev"
  config "c['linux']['devices']=[{'path':'/dev/fuse','type':'c','major':10,'minor':229}]"
  for target in "$(out "$OCI/victim")" "$OCI/victim"; do
    ln -sfn "$target" "$BUNDLE/rootfs/dev"
    in_container true # with a tmpfs on it
    [ -z "$(ls -A "$OCI/victim")" ]
  done
  no_dev
  for target in "$(out "$OCI/victim")" "$OCI/victim"; do
    ln -sfn "$target" "$BUNDLE/rootfs/dev"
    rm -rf "$BUNDLE/rootfs/${OCI#/}"
    in_container true
    [ -z "$(ls -A "$OCI/victim")" ]
    [ "$status" -ne 0 ]
    # There is such a directory in the image, too: that is where they go.
    mkdir -p "$BUNDLE/rootfs/$OCI/victim"
    in_container true
    [ "$status" -eq 0 ]
    [ -c "$BUNDLE/rootfs/$OCI/victim/fuse" ]
    [ -L "$BUNDLE/rootfs/$OCI/victim/fd" ]
    [ -z "$(ls -A "$OCI/victim")" ]
  done
}

# --- CVE-2024-45310 ------------------------------------------------------------------------------------

# Fails: Beneath::open() resolves without RESOLVE_IN_ROOT.
@test "CVE-2024-45310: targets of mounts behind a link out of the image are not made on the host" {
  mkdir "$OCI/victim" "$OCI/source"
  : >"$OCI/file"
  ln -s "$(out "$OCI/victim")" "$BUNDLE/rootfs/relative"
  ln -s "$OCI/victim" "$BUNDLE/rootfs/absolute"
  local mounts=$BUNDLE/mounts link
  cp "$BUNDLE/config.json" "$mounts"
  for link in relative absolute; do
    for m in "{'destination':'/$link/a/b','source':'$OCI/source','type':'bind','options':['bind']}" \
      "{'destination':'/$link/f','source':'$OCI/file','type':'bind','options':['bind']}" \
      "{'destination':'/$link/t','source':'tmpfs','type':'tmpfs'}"; do
      cp "$mounts" "$BUNDLE/config.json"
      config "c['mounts'].append($m)"
      in_container true
      [ -z "$(ls -A "$OCI/victim")" ]
    done
  done
}

# Fails: make_directories() and target() resolve first and make the rest by name, as runc did with securejoin.
@test "CVE-2024-45310: nor behind a directory that is exchanged for a link while they are made" {
  mkdir -p "$OCI/victim" "$OCI/source" "$OCI/volume/a" "$BUNDLE/rootfs/$OCI/victim"
  : >"$OCI/file"
  ln -s "$(out "$OCI/victim")" "$OCI/volume/link"
  swap "$OCI/volume/a" "$OCI/volume/link"
  for n in {1..20}; do
    config "c['mounts'][7:]=[{'destination':'/volume','source':'$OCI/volume','type':'bind','options':['bind']},
      {'destination':'/volume/a/$n/deep','source':'$OCI/source','type':'bind','options':['bind']},
      {'destination':'/volume/a/f$n','source':'$OCI/file','type':'bind','options':['bind']}]"
    in_container true
    [ -z "$(ls -A "$OCI/victim")" ] || { echo "round $n: $(ls -A "$OCI/victim")"; false; }
  done
}
