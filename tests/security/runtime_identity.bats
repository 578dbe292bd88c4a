#!/usr/bin/env bats
# Attacks on the runtime that other engines fell to: who the process is. Each test names the flaw it guards against,
# and under "fails" what was taken out to see that it does.

load ../conformance/oci/helper

setup() { oci_setup; }
teardown() { oci_teardown; }

# called_by SETPRIV-OPTIONS…: from now on the runtime has such a caller.
called_by() {
  CALLER=(setpriv "$@")
  runtime() { "${CALLER[@]}" "$RUNTIME" --root "$OCI/root" "$@"; }
}

# user PYTHON: process.user
user() { config "c['process']['user']=$1"; }

readonly IDS="grep -E '^(Uid|Gid|Groups):' /proc/self/status"

ids_are() { # UID GID GROUPS: real, effective, saved and file system ids alike
  local expected="Uid: $1 $1 $1 $1 Gid: $2 $2 $2 $2 Groups: $3"
  [ "$(xargs <<<"$output")" = "$(xargs <<<"$expected")" ] || { echo "$output"; return 1; }
}

# --- CVE-2026-30892 --------------------------------------------------------------------------------------

# Fails: apply_user() does not take over what it has parsed; enter() does not call setresuid, or setresgid.
@test "CVE-2026-30892: exec as user 1 is user 1, in every id" {
  created 'sleep 100'
  runtime start "$ID"
  for user in 1 1:0; do
    run runtime exec --user "$user" "$ID" sh -c "$IDS"
    ids_are 1 0 ''
  done
  run runtime exec -u 1:2 "$ID" sh -c "$IDS"
  ids_are 1 2 ''
  run runtime exec -u=4294967294:4294967294 "$ID" sh -c "$IDS"
  ids_are 4294967294 4294967294 ''
}

# Fails: parse_user_or_group() drops what is not a number; parse_number() does not ask whether that is all of it.
@test "CVE-2026-30892: what is not a number is nobody, not root" {
  created 'sleep 100'
  runtime start "$ID"
  for user in 1x 1: :1 1:x x x:1 +1 0x1 1.5 ' 1' '1 ' 1:1:1 root $'1\n'; do
    run runtime exec --user "$user" "$ID" id -u
    [ "$status" -eq 255 ] || { echo "$user: $output"; false; }
    [[ "$output" == *--user:* ]]
  done
}

# --- CVE-2024-40635, CVE-2026-46680 ------------------------------------------------------------------------

# Fails: check_process() does not call check_ids(), parse_user_or_group() does not ask for the range; and the JSON
# reader's range, which has unit tests.
@test "CVE-2024-40635: ids that overflow, or mean no change, are refused and never root" {
  local field
  for uid in 4294967295 4294967296 4294967297 4294967296000 18446744073709551616 -1 1.5 \"1000\" 1e99; do
    for field in uid gid; do
      user "{'uid':1000,'gid':1000}"
      user "dict(c['process']['user'],$field=json.loads('''$uid'''))"
      in_container 'id'
      [ "$status" -eq 1 ] || { echo "$field $uid: $output"; false; }
      [[ "$output" == *"process.user.$field: "* ]]
    done
    user "{'uid':1000,'gid':1000,'additionalGids':[7,json.loads('''$uid''')]}"
    in_container 'id'
    [ "$status" -eq 1 ]
    [[ "$output" == *"process.user.additionalGids[1]: "* ]]
  done
}

# The same.
@test "CVE-2024-40635: nor by exec, in its options or in a process file" {
  created 'sleep 100'
  runtime start "$ID"
  for id in 4294967295 4294967296 4294967297 18446744073709551616 -1; do
    for option in "--user=$id" "--user=1:$id" "--user=1:1 --additional-gids=$id"; do
      # shellcheck disable=SC2086
      run runtime exec $option "$ID" id
      [ "$status" -eq 255 ] || { echo "$option: $output"; false; }
      [[ "$output" == *"is out of range" || "$output" == *"is not a number" ]]
    done
    echo '{"cwd":"/","args":["id"],"user":{"uid":'"$id"',"gid":1}}' >"$OCI/process.json"
    run runtime exec --process "$OCI/process.json" "$ID"
    [ "$status" -eq 255 ] || { echo "$id in a file: $output"; false; }
    [[ "$output" == *user.uid:* ]]
  done
}

# --- CVE-2022-24769, CVE-2022-29162, CVE-2022-27649, CVE-2022-27650 ----------------------------------------

readonly SETS="grep -E '^Cap(Inh|Amb):' /proc/self/status"
sets_are_empty() { [ "$(xargs <<<"$output")" = "CapInh: 0000000000000000 CapAmb: 0000000000000000" ] || { echo "$output"; return 1; }; }

# Fails: apply_capabilities() keeps the caller's inheritable set (of its own the kernel keeps the ambient one then).
@test "CVE-2022-24769: nothing of its caller's inheritable and ambient capabilities is left, for run and exec" {
  called_by --inh-caps +chown,+net_raw,+kill --ambient-caps +chown,+net_raw,+kill
  in_container "$(tr "'" '"' <<<"$SETS")"
  sets_are_empty
  created 'sleep 100'
  runtime start "$ID"
  run runtime exec "$ID" sh -c "$SETS"
  sets_are_empty
  run runtime exec --cap CAP_SYS_ADMIN "$ID" sh -c "$SETS"
  sets_are_empty
  run runtime exec --user 1000 --cap CAP_SYS_ADMIN "$ID" sh -c "$SETS"
  sets_are_empty
}

# Fails: default_spec() has inheritable capabilities, as Docker's and runc's had.
@test "CVE-2022-24769: a program with inheritable file capabilities gets none of them" {
  mkdir "$BUNDLE/rootfs/inheriting"
  cp /bin/busybox "$BUNDLE/rootfs/inheriting/"
  # VFS_CAP_REVISION_2 with the effective bit: permitted none, inheritable those that a container has.
  /usr/bin/python3 -IS -c 'import os, struct, sys
os.setxattr(sys.argv[1], "security.capability", struct.pack("<5I", 0x02000001, 0, 0xa80425fb, 0, 0))' \
    "$BUNDLE/rootfs/inheriting/busybox"
  user "{'uid':1000,'gid':1000}"
  in_container '/inheriting/busybox grep -E "^Cap(Prm|Eff):" /proc/self/status'
  [ "$(xargs <<<"$output")" = "CapPrm: 0000000000000000 CapEff: 0000000000000000" ]
  created 'sleep 100'
  runtime start "$ID"
  run runtime exec --cap CAP_CHOWN "$ID" /inheriting/busybox grep -E '^Cap(Prm|Eff):' /proc/self/status
  [ "$(xargs <<<"$output")" = "CapPrm: 0000000000000000 CapEff: 0000000000000000" ]
}

# --- CVE-2022-36109 ------------------------------------------------------------------------------------

# Fails: enter() does not call setgroups.
@test "CVE-2022-36109: the groups are exactly those given, and none of the caller's" {
  called_by --groups 4,27,1000
  user "{'uid':1000,'gid':1000}"
  in_container 'id -G'
  [ "$output" = 1000 ]
  user "{'uid':1000,'gid':1000,'additionalGids':[7]}"
  in_container 'id -G'
  [ "$output" = "1000 7" ]
  user "{'uid':0,'gid':0,'additionalGids':[7,0]}"
  created 'sleep 100'
  runtime start "$ID"
  [ "$(grep ^Groups: "/proc/$(cat "$OCI/pid")/status" | xargs)" = "Groups: 0 7" ]
  run runtime exec --user 5:6 --additional-gids 8 "$ID" sh -c "$IDS"
  ids_are 5 6 '0 7 8'
}
