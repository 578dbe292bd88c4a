#!/usr/bin/env bats
# The data root's disk is full, has no inodes left, fails, or is read-only, while the daemon runs and when it starts:
# errors are clear, running containers go on, what gives space back works, and all is well once the disk is.
load ../lib/common
load survivor
load disk

readonly FULL='no space left on device'

setup_file() {
  need_client
  engine_programs
  engine_root
  leaks_snapshot "$TEST_ROOT/before"
  fixture_image "$TEST_ROOT/big.tar" --busybox --name big:1 --file big="$(head -c 100000 /dev/zero | tr '\0' b)"
  fixture_image "$TEST_ROOT/small.tar" --name small:1 --file small="$(head -c 50000 /dev/zero | tr '\0' s)"
  tar -C "$GANTRY_BUILD/bin" -cf "$TEST_ROOT/tree.tar" gantry
}
teardown_file() {
  [ -n "${TEST_ROOT:-}" ] || return 0
  leaks_check "$TEST_ROOT/before"
  rm -rf "$TEST_ROOT"
}
setup() { on_engine gantry || skip "Docker's daemon is not held to it"; }
teardown() {
  usual_teardown
  free_disk
  free_inodes
  if engine_answers; then
    remove_all_containers || true
    engine_stop
  elif [ -n "${SURVIVOR:-}" ] && kill -0 "$SURVIVOR"; then
    kill -KILL "$(awk '/^PPid:/ { print $2 }' "/proc/$SURVIVOR/status")"
    eventually 10 process_gone "$SURVIVOR"
  fi
  [ -z "${DATA:-}" ] || drop_data
  rm -rf "$(engine_dir)"
}

objects() { # what the daemon knows and has on disk, without what a survivor writes
  api GET '/containers/json?all=1' | jq -r '.[].Names[0]' | sort
  api GET '/images/json?all=1' | jq -r '.[].RepoTags[]' | sort
  api GET /volumes | jq -r '.Volumes[]?.Name' | sort
  api GET /networks | jq -r '.[].Name' | sort
  find "$DATA/content" -type f | sort # its 256 directories stay once they are made
  find "$DATA/tmp" "$DATA/containers" "$DATA/volumes" -mindepth 1 -maxdepth 3 | sort
  find "$DATA"/{erofs,overlay2} -mindepth 1 -maxdepth 1 2>/dev/null | sort
  leaks_links
  leaks_cgroups
}

everything_works() {
  client load -q -i "$TEST_ROOT/big.tar"
  assert_equal "$(client run --rm big:1 echo again)" again
  client volume create again
  client network create again
  client tag big:1 again:1
  client rmi again:1 big:1
  client volume rm again
  client network rm again
}

takes_are_refused() { # PATTERN [REFILL]: what needs room for certain; a refusal may have used up the reserve
  local again=${2:-true}
  objects >"$BATS_TEST_TMPDIR/before"
  refuses "$1" client load -q -i "$TEST_ROOT/big.tar"
  $again
  refuses "$1" client import "$TEST_ROOT/tree.tar" imported:1
  $again
  refuses "$1" client create --name refused busybox true
  $again
  refuses "$1" client run --rm --name refused busybox true
  $again
  answers_500 "$1" POST '/containers/create?name=refused' -H 'Content-Type: application/json' \
    -d '{"Image": "busybox", "Cmd": ["true"]}'
  $again
  eventually 10 unchanged
}
unchanged() { objects | diff "$BATS_TEST_TMPDIR/before" -; }

@test "a full disk refuses what needs room, and leaves the rest working" {
  small_data size=48m
  engine_start main
  survivor_starts
  client create --name idle busybox sleep 1000
  client run -d --name stoppable busybox sleep 1000
  client run --name finished busybox true
  client load -q -i "$TEST_ROOT/small.tar"
  client volume create old
  client network create old
  fill_disk
  takes_are_refused "$FULL" fill_disk
  survivor_lives

  # Small things may still fit into what is allocated. Either way the answer is true.
  done_now=()
  works_or_refuses "$FULL" client tag busybox tagged:1 && done_now+=(tag)
  works_or_refuses "$FULL" client volume create vol && done_now+=(volume)
  works_or_refuses "$FULL" client network create net && done_now+=(network)
  works_or_refuses "$FULL" client start idle && done_now+=(start)
  for name in tag volume network start; do
    case $name in
      tag) run client inspect --type image tagged:1 ;;
      volume) run client volume inspect vol ;;
      network) run client network inspect net ;;
      start) run equals running client inspect -f '{{.State.Status}}' idle ;;
    esac
    case " ${done_now[*]} " in *" $name "*) assert_success ;; *) assert_failure ;; esac
  done

  # Its containers go on, and so does exec. What does not fit into a log is lost; nothing waits for it.
  assert_equal "$(client exec survivor echo inside)" inside
  survivor_says "$(head -c 20000 /dev/zero | tr '\0' x)"
  survivor_says one-more
  survivor_lives
  calm_during client exec survivor sleep 1

  # What gives space back works without any.
  client stop -t 1 stoppable
  client rm finished
  client rm -f stoppable idle
  client rmi small:1
  client volume rm old
  client network rm old
  client container prune -f
  client image prune -f

  free_disk
  everything_works
  survivor_says after-all
  eventually 10 logged after-all
  survivor_lives
}

@test "a disk without inodes refuses what needs one" {
  small_data size=64m,nr_inodes=1200
  engine_start main
  survivor_starts
  client run -d --name stoppable busybox sleep 1000
  fill_inodes
  takes_are_refused "$FULL"
  survivor_lives
  calm_during client exec survivor sleep 1
  client stop -t 1 stoppable
  client rm stoppable
  free_inodes
  everything_works
  survivor_lives
}

@test "a daemon that starts on a full disk says so, or works in what it can" {
  small_data size=48m
  engine_start main
  survivor_starts
  client run -d --name stoppable busybox sleep 1000
  engine_kill
  fill_disk
  engine_start main
  survivor_lives
  refuses "$FULL" client load -q -i "$TEST_ROOT/big.tar"
  client rm -f stoppable
  free_disk
  everything_works
  survivor_lives
}

@test "a daemon does not start on a new disk that is full, and says why" {
  small_data size=1m
  fill_disk
  local spawned_pid
  engine_spawn main
  eventually 10 process_gone "$spawned_pid"
  run tail -n 1 "$(engine_dir)/log"
  assert_output --regexp "gantryd: failed to start daemon: .*$FULL"
  run ! test -e "$(engine_dir)/pid"
}

@test "a daemon does not start on a read-only disk, and says why" {
  small_data size=48m
  engine_start main
  client create --name kept busybox true
  engine_stop
  mount -o remount,ro "$DATA"
  local spawned_pid
  engine_spawn main
  eventually 10 process_gone "$spawned_pid"
  run tail -n 1 "$(engine_dir)/log"
  assert_output --regexp 'gantryd: failed to start daemon: .*[Rr]ead-only file system'
  mount -o remount,rw "$DATA"
  engine_start main
  client inspect kept
}

@test "a disk that turns read-only refuses changes; what runs goes on" {
  loop_data 256
  engine_start main
  survivor_starts
  client volume create old
  device=$(basename "$(cat "$(engine_dir)/loop")")
  tune2fs -e remount-ro "/dev/$device"
  mount -o remount,errors=remount-ro "$DATA"
  objects >"$BATS_TEST_TMPDIR/before"
  echo injected >"/sys/fs/ext4/$device/trigger_fs_error"
  broken='[Rr]ead-only file system|[Ii]nput/output error|disk I/O error|readonly database'
  refuses "$broken" client load -q -i "$TEST_ROOT/big.tar"
  refuses "$broken" client create --name refused busybox true
  refuses "$broken" client volume create refused
  refuses "$broken" client tag busybox refused:1
  refuses "$broken" client network create refused
  survivor_lives
  client images | grep busybox
  survivor_says unheard
  survivor_lives
  # An exec is a job, and a job that cannot be written down is not run.
  refuses "$broken" client exec survivor true
  calm_during nsenter -t "$SURVIVOR" -m -p sleep 1
  eventually 10 unchanged
  # Such a disk comes back by being mounted anew, for which the daemon has to go.
  engine_kill
  kill -KILL "$(awk '/^PPid:/ { print $2 }' "/proc/$SURVIVOR/status")"
  eventually 10 process_gone "$SURVIVOR"
  eventually 10 umount "$DATA"
  e2fsck -fy "/dev/$device" || [ $? -le 2 ]
  mount "/dev/$device" "$DATA"
  engine_start main
  client volume inspect old
  assert_equal "$(client inspect -f '{{.State.Status}} {{.State.ExitCode}}' survivor)" 'exited 137'
  client rm survivor
  everything_works
}

@test "a disk that answers with I/O errors fails what was to be stored, and works again when it does" {
  loop_data 96 -O ^has_journal
  mount -o remount,errors=continue "$DATA"
  engine_start main
  survivor_starts
  objects >"$BATS_TEST_TMPDIR/before"
  fill_disk "$BACKING" # what the disk has not written yet it cannot write
  broken="[Ii]nput/output error|$FULL" # the second is ext4's word for it once the device has said why
  refuses "$broken" client load -q -i "$TEST_ROOT/big.tar"
  refuses "$broken" client import "$TEST_ROOT/tree.tar" imported:1
  survivor_lives
  assert_equal "$(client exec survivor echo inside)" inside
  calm_during client exec survivor sleep 1
  free_disk "$BACKING"
  # The kernel tells the next one that syncs of a write that failed before, once for each open file (the file system,
  # the database, its log).
  for _ in 1 2 3 4; do
    ! works_or_refuses "$broken" client load -q -i "$TEST_ROOT/big.tar" || break
  done
  client inspect --type image big:1
  client rmi big:1
  eventually 10 unchanged
  everything_works
  survivor_lives
}

@test "a quota that is used up refuses what needs room, as a full disk does" {
  # No file system here has quotas: what would meet one is told that it has (122 is EDQUOT).
  small_data size=64m
  engine_start main
  survivor_starts
  objects >"$BATS_TEST_TMPDIR/before"
  client create --name goes busybox true
  local over='[Dd]isk quota exceeded'
  arm() { curl -sS --fail-with-body --unix-socket "$(engine_socket)" -X PUT -d "$1" http://x/gantry/failpoints; }
  arm 'content.write=error(122);layer.container=error(122);volume.directory=error(122);image.tag/database.commit=error(122)'
  refuses "$over" client load -q -i "$TEST_ROOT/big.tar"
  refuses "$over" client create --name refused busybox true
  refuses "$over" client volume create refused
  refuses "$over" client tag busybox refused:1
  survivor_lives
  assert_equal "$(client exec survivor echo inside)" inside
  client rm goes
  arm ''
  eventually 10 unchanged
  everything_works
  survivor_lives
}
