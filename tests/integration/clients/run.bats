#!/usr/bin/env bats
# `run`: what a client's user sees of a container that runs in the foreground.
load ../../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
teardown() { usual_teardown; }

busybox() { client run --rm busybox "$@"; }

@test "run prints what the container prints and returns its status" {
  run busybox echo hello
  assert_success
  assert_output hello
  run busybox sh -c 'exit 42'
  assert_failure 42
}

@test "standard output and standard error stay apart" {
  run --separate-stderr busybox sh -c 'echo to-out; echo to-err >&2'
  assert_success
  assert_output to-out
  assert_equal "$stderr" to-err
}

@test "a container killed by a signal gives 128 and the signal" {
  client_background "$BATS_TEST_TMPDIR/out" run --rm --cidfile "$BATS_TEST_TMPDIR/cid" busybox sh -c 'echo ready; sleep 1000'
  eventually 10 grep -q ready "$BATS_TEST_TMPDIR/out"
  client kill "$(cat "$BATS_TEST_TMPDIR/cid")"
  client_ends
  assert_equal "$client_status" 137
}

@test "a command that does not exist is 127, one that cannot be executed 126" {
  run busybox no-such-command
  assert_failure 127
  assert_output --partial 'exec: "no-such-command": executable file not found in $PATH'
  run busybox /no/such/path
  assert_failure 127
  assert_output --partial 'no such file or directory'
  run busybox /etc/passwd
  assert_failure 126
  assert_output --partial 'permission denied'
  run busybox /etc
  assert_failure 126
}

@test "a bad flag is 125 and names the flag" {
  run client run --no-such-flag busybox true
  assert_failure 125
  assert_output --partial 'unknown flag: --no-such-flag'
}

@test "an image that cannot be had is 125, on one clear line" {
  run client run --rm gantry-test/no-such-image:1 true
  assert_failure 125
  assert_line "Unable to find image 'gantry-test/no-such-image:1' locally"
}

@test "standard input reaches the container with -i and ends there" {
  run bash -c "$(declare -f client client_program engine_socket engine_dir); printf 'one\ntwo\n' | client run --rm -i busybox cat"
  assert_success
  assert_output $'one\ntwo'
}

@test "without -i the container's standard input is empty" {
  run busybox cat
  assert_success
  assert_output ''
}

@test "a megabyte goes in and comes out unchanged" {
  head -c 1048576 /dev/urandom >"$BATS_TEST_TMPDIR/in"
  client run --rm -i busybox cat <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out"
  cmp "$BATS_TEST_TMPDIR/in" "$BATS_TEST_TMPDIR/out"
}

@test "environment, working directory, user, entrypoint" {
  run client run --rm -e A=1 -e B='two words' -w /var busybox sh -c 'echo "$A $B $PWD"'
  assert_output '1 two words /var'
  run client run --rm -w /made/for/me busybox pwd
  assert_output /made/for/me
  run client run --rm -u 1000:2000 busybox sh -c 'id -u; id -g'
  assert_output $'1000\n2000'
  run client run --rm -u www-data busybox id
  assert_output 'uid=33(www-data) gid=33(www-data) groups=33(www-data)'
  run client run --rm -u www-data:daemon busybox sh -c 'id -un; id -gn'
  assert_output $'www-data\ndaemon'
  run client run --rm -u 7 busybox sh -c 'id -u; id -g; id -G'
  assert_output $'7\n0\n0'
  run client run --rm --entrypoint /bin/echo busybox from entrypoint
  assert_output 'from entrypoint'
}

@test "-e NAME passes the client's own variable, and only when it has it" {
  FROM_HOST=yes run client run --rm -e FROM_HOST -e NOT_SET_HERE busybox sh -c 'echo "$FROM_HOST ${NOT_SET_HERE-unset}"'
  assert_output 'yes unset'
}

@test "a user who is not in the image is refused" {
  run client run --rm -u nobody-here busybox true
  assert_failure 125
  assert_output --partial 'unable to find user nobody-here: no matching entries in passwd file'
}

@test "the image's environment, command, entrypoint, user and working directory are obeyed and overridden" {
  fixture_image "$BATS_TEST_TMPDIR/i.tar" --busybox --name configured:1 \
    --file $'/etc/passwd=root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n' \
    --file $'/etc/group=root:x:0:\nalice:x:1000:\nextra:x:2000:alice\n' --config \
    '{"Env":["PATH=/bin","FROM_IMAGE=1"],"Entrypoint":["/bin/sh","-c"],"Cmd":["echo $FROM_IMAGE $(id -u) $PWD"],"User":"alice","WorkingDir":"/srv"}'
  client load -q -i "$BATS_TEST_TMPDIR/i.tar"
  run client run --rm configured:1
  assert_output '1 1000 /srv'
  run client run --rm -e FROM_IMAGE=2 -u root -w / configured:1 'echo $FROM_IMAGE $(id -u) $PWD'
  assert_output '2 0 /'
  run client run --rm configured:1 'id'
  assert_output 'uid=1000(alice) gid=1000(alice) groups=1000(alice),2000(extra)'
  run client run --rm --entrypoint pwd configured:1 # drops the image's command too
  assert_output /srv
  client rmi configured:1
}

@test "HOME follows the user, PATH has Docker's default" {
  run client run --rm busybox sh -c 'echo $HOME $PATH'
  assert_output '/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  run client run --rm -u www-data busybox sh -c 'echo $HOME'
  assert_output /var/www
}

@test "everything after the image belongs to the command" {
  run busybox echo --rm -d --name x -- y
  assert_output -- '--rm -d --name x -- y'
}

@test "the host name is the short id, or what -h says, and /etc/hosts knows it" {
  run client run --rm busybox sh -c 'hostname; grep "$(hostname)" /etc/hosts'
  assert_line --index 0 --regexp '^[0-9a-f]{12}$'
  assert_line --index 1 --regexp "^[0-9.]+[[:space:]]+${lines[0]}$"
  run client run --rm -h box busybox sh -c 'hostname; cat /etc/hostname'
  assert_output $'box\nbox'
  run client run --rm busybox sh -c 'grep -c . /etc/hosts; head -n 1 /etc/hosts'
  assert_line --index 1 $'127.0.0.1\tlocalhost'
}

@test "a terminal: prompt, size, exit status, modes restored" {
  run client_terminal 'expect:/ # ' 'send:stty size\r' 'expect:30 100' 'send:exit 3\r' restored: -- run --rm -it busybox sh
  assert_failure 3
}

@test "a terminal follows the size of the user's" {
  run client_terminal 'expect:ready' resize:41x133 'expect:41 133' restored: -- \
    run --rm -it busybox sh -c 'echo ready; until [ "$(stty size)" = "41 133" ]; do sleep 0.05; done; stty size; exit 4'
  assert_failure 4
}

@test "control-C on a terminal interrupts the command inside, not the client" {
  run client_terminal 'expect:ready' 'send:\x03' 'expect:interrupted' restored: -- \
    run --rm -it busybox sh -c 'trap "echo interrupted; exit 5" INT; echo ready; while :; do sleep 0.05; done'
  assert_failure 5
}

@test "-t without a terminal on standard input is refused" {
  run client run --rm -it busybox true </dev/null
  assert_failure 1
  assert_output --partial 'the input device is not a TTY'
}

@test "signals sent to the client reach the container" {
  client_background "$BATS_TEST_TMPDIR/out" run --rm busybox sh -c 'trap "echo got it; exit 9" TERM; echo ready; while :; do sleep 0.05; done'
  eventually 10 grep -q ready "$BATS_TEST_TMPDIR/out"
  kill -TERM "$client_pid"
  client_ends
  assert_equal "$client_status" 9
  grep -q 'got it' "$BATS_TEST_TMPDIR/out"
}

@test "--rm leaves no container, without it one stays" {
  name=$(random_name gone)
  client run --rm --name "$name" busybox true
  eventually 10 equals '' client ps -aq --filter "name=$name"
  client run --name "$name" busybox true
  run client ps -aq --filter "name=$name"
  assert_output --regexp '^[0-9a-f]{12}$'
  client rm "$name"
}

@test "a name in use is a conflict and 125" {
  name=$(random_name taken)
  client create --name "$name" busybox true
  run client run --rm --name "$name" busybox true
  assert_failure 125
  assert_output --partial "Conflict. The container name \"/$name\" is already in use by container"
  client rm "$name"
}

@test "a name with a bad character is refused" {
  run client run --rm --name 'a b' busybox true
  assert_failure 125
  assert_output --partial 'Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed'
}

@test "run -d prints the whole id and --cidfile keeps it" {
  run client run -d --cidfile "$BATS_TEST_TMPDIR/cid" busybox sleep 1000
  assert_success
  assert_output --regexp '^[0-9a-f]{64}$'
  assert_equal "$(cat "$BATS_TEST_TMPDIR/cid")" "$output"
  client rm -f "$output"
}

# --- limits ----------------------------------------------------------------------------------------------

@test "memory, cpu and process limits are what the container's cgroup says" {
  id=$(client run -d -m 64m --cpus 0.5 --pids-limit 20 busybox sleep 1000)
  pid=$(client inspect -f '{{.State.Pid}}' "$id")
  group() { # CONTROLLER: the container's group in that v1 hierarchy, or the v2 one
    awk -F: -v c="$1" '$2 == c { print "/sys/fs/cgroup/" c $3; found = 1 } $1 == 0 { v2 = $3 }
      END { if (!found) print "/sys/fs/cgroup" v2 }' "/proc/$pid/cgroup"
  }
  value() { cat "$(group "$1")/$2" 2>/dev/null || cat "$(group "$1")/$3"; }
  assert_equal "$(value memory memory.limit_in_bytes memory.max)" 67108864
  assert_equal "$(value pids pids.max pids.max)" 20
  if [ -e "$(group cpu)/cpu.cfs_quota_us" ]; then
    quota=$(cat "$(group cpu)/cpu.cfs_quota_us") period=$(cat "$(group cpu)/cpu.cfs_period_us")
  else
    read -r quota period <"$(group cpu)/cpu.max"
  fi
  assert_equal "$((quota * 10 / period))" 5
  client rm -f "$id"
}

@test "a container that takes more memory than it may is killed, and says so" {
  name=$(random_name oom)
  run client run --name "$name" -m 16m --memory-swap 16m busybox sh -c 'a=x; while :; do a=$a$a; done'
  assert_failure 137
  run client inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' "$name"
  assert_output 'true 137'
  client rm "$name"
}

@test "a container cannot make more processes than it may" {
  run client run --rm --pids-limit 8 busybox sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 3 & done; wait'
  assert_failure
  assert_output --partial "can't fork"
}

@test "too little memory is refused before anything runs" {
  run client run --rm -m 1m busybox true
  assert_failure 125
  assert_output --partial 'Minimum memory limit allowed is 6MB'
}

# --- the container seen from inside ----------------------------------------------------------------------

@test "the container is process 1 of its own, with Docker's capabilities and a seccomp filter" {
  run busybox sh -c 'echo $$; grep -E "^(Cap(Eff|Bnd|Inh|Amb)|Seccomp|NoNewPrivs):" /proc/self/status | tr -d "\t "'
  assert_line --index 0 1
  assert_line CapEff:00000000a80425fb
  assert_line CapBnd:00000000a80425fb
  assert_line CapInh:0000000000000000
  assert_line CapAmb:0000000000000000
  assert_line Seccomp:2
  assert_line NoNewPrivs:0
}

@test "a user other than root has no effective capabilities" {
  run client run --rm -u 1000 busybox grep CapEff /proc/self/status
  assert_output $'CapEff:\t0000000000000000'
}

@test "only 0, 1 and 2 are open inside" {
  run busybox sh -c 'ls /proc/self/fd | wc -l' # and the one that ls itself opens
  assert_output 4
}

@test "masked and read-only paths, and the default devices" {
  run busybox sh -c 'for f in kcore keys timer_list; do [ -s /proc/$f ] && echo "$f is readable"; done; cat /proc/keys | wc -c; ls /sys/firmware | wc -l'
  assert_output $'0\n0'
  run busybox sh -c 'echo x > /proc/sys/kernel/domainname'
  assert_failure
  assert_output --partial 'Read-only file system'
  run busybox sh -c 'mkdir /sys/fs/cgroup/x 2>&1; touch /sys/x'
  assert_failure
  run busybox sh -c 'cd /dev; for d in null zero full random urandom tty; do [ -c $d ] && echo $d; done; for l in fd stdin stdout stderr ptmx; do readlink $l; done; ls -d shm mqueue pts'
  assert_output $'null\nzero\nfull\nrandom\nurandom\ntty\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\nmqueue\npts\nshm'
}

@test "a device that is not allowed cannot be opened" {
  run busybox sh -c 'mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem'
  assert_failure
  assert_output --partial 'Operation not permitted'
}

@test "the root file system can be written, and --read-only forbids it" {
  run busybox sh -c 'echo data > /new && cat /new'
  assert_output data
  run client run --rm --read-only busybox touch /new
  assert_failure
  assert_output --partial 'Read-only file system'
}

@test "--init, --tmpfs, --ulimit and --shm-size do what they say" {
  run client run --rm --tmpfs /scratch:size=1m busybox sh -c 'grep " /scratch " /proc/mounts'
  assert_output --regexp '^tmpfs /scratch tmpfs .*size=1024k'
  run client run --rm --ulimit nofile=100:200 busybox sh -c 'ulimit -n; ulimit -Hn'
  assert_output $'100\n200'
  run client run --rm --shm-size 8m busybox sh -c 'df -k /dev/shm | tail -n 1'
  assert_output --regexp '^shm +8192 '
}

@test "--cap-add and --cap-drop change the capabilities" {
  run client run --rm --cap-drop all --cap-add net_bind_service busybox grep CapEff /proc/self/status
  assert_output $'CapEff:\t0000000000000400'
}

@test "--privileged has every capability the daemon has, and no filter" {
  ! on_engine dockerd || [[ "$(grep CapBnd /proc/self/status)" == *1ff?ffffffff ]] || skip "runc needs every capability for that"
  run client run --rm --privileged busybox sh -c 'grep CapEff /proc/self/status; grep Seccomp: /proc/self/status'
  assert_line --index 0 "$(grep CapBnd /proc/self/status | sed s/CapBnd/CapEff/)"
  assert_line --index 1 $'Seccomp:\t0'
}

@test "--security-opt no-new-privileges and seccomp=unconfined" {
  run client run --rm --security-opt no-new-privileges --security-opt seccomp=unconfined busybox \
    sh -c 'grep -E "^(NoNewPrivs|Seccomp):" /proc/self/status'
  assert_output $'NoNewPrivs:\t1\nSeccomp:\t0'
}

@test "-v mounts a directory of the host, read-write or read-only" {
  mkdir "$BATS_TEST_TMPDIR/shared"
  echo host >"$BATS_TEST_TMPDIR/shared/file"
  run client run --rm -v "$BATS_TEST_TMPDIR/shared:/mnt/a" busybox sh -c 'cat /mnt/a/file; echo box > /mnt/a/new'
  assert_output host
  assert_equal "$(cat "$BATS_TEST_TMPDIR/shared/new")" box
  run client run --rm -v "$BATS_TEST_TMPDIR/shared:/mnt/a:ro" busybox touch /mnt/a/no
  assert_failure
  assert_output --partial 'Read-only file system'
}

@test "-v makes a host directory that is not there; --mount refuses it" {
  client run --rm -v "$BATS_TEST_TMPDIR/made:/m" busybox true
  [ -d "$BATS_TEST_TMPDIR/made" ]
  run client run --rm --mount "type=bind,source=$BATS_TEST_TMPDIR/missing,target=/m" busybox true
  assert_failure 125
  assert_output --partial "bind source path does not exist: $BATS_TEST_TMPDIR/missing"
}

@test "a named volume keeps its contents and takes the image's first" {
  volume=$(random_name vol)
  run client run --rm -v "$volume:/etc" busybox sh -c 'echo kept > /etc/mine; ls /etc/passwd'
  assert_output /etc/passwd
  run client run --rm -v "$volume:/data" busybox cat /data/mine
  assert_output kept
  api_ok DELETE "/volumes/$volume"
}
