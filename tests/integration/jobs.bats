#!/usr/bin/env bats
# Jobs from the outside: seen while they run and afterwards, watched, cancelled.
load ../lib/common

setup_file() {
  usual_setup_file
  fixture_image "$TEST_ROOT/other.tar" --busybox --name other:latest --config '{"Env": ["OTHER=1"]}'
}
teardown_file() { usual_teardown_file; }
setup() { on_engine gantry || skip "Docker has no jobs"; }
teardown() {
  [ -z "${uploader:-}" ] || kill "$uploader" 2>/dev/null || true
  exec 5>&-
  usual_teardown
}

gantry() { "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" "$@"; }

# begin_load: a load whose archive does not come to its end; the client's pid is in uploader, the job's id in job.
begin_load() {
  mkfifo "$BATS_TEST_TMPDIR/archive"
  curl -sS --unix-socket "$(engine_socket)" -X POST -H 'Content-Type: application/x-tar' -H 'Expect:' -T "$BATS_TEST_TMPDIR/archive" \
    http://localhost/images/load >"$BATS_TEST_TMPDIR/answer" 2>&1 3>&- &
  uploader=$!
  exec 5>"$BATS_TEST_TMPDIR/archive"
  head -c 300000 "$TEST_ROOT/other.tar" >&5
  eventually 10 load_runs
  job=$(running_loads)
}
running_loads() { gantry job ls -q -f status=running -f name=image.load; }
load_runs() { [ -n "$(running_loads)" ]; }
status_of() { gantry job inspect -f '{{.Status}}' "$1"; }
nothing_of_it_is_left() {
  [ -z "$(ls -A "$(engine_dir)/data/tmp")" ] && ! api_ok GET /images/other/json
}

@test "a long job is seen running, with who asked for it" {
  begin_load
  run gantry job ls --filter status=running
  assert_line --index 0 --regexp '^JOB ID +NAME +STATUS +PARENT +CALLER +CREATED +DURATION +DETAIL$'
  assert_line --index 1 --regexp "^$job +image\.load +running +uid:0 \(pid $uploader\) "
  assert_equal "$(gantry job inspect "$job" | jq -c '.[0] | [.Name, .Status, .Class, .Parent, .Caller.Uid, .Caller.Pid]')" \
    "[\"image.load\",\"running\",\"transfer\",0,0,$uploader]"
  assert_equal "$(api GET "/gantry/jobs/$job" | jq -r .FinishedAt)" 0001-01-01T00:00:00Z
  gantry job cancel "$job"
}

@test "a running load is cancelled, and nothing of it is left" {
  begin_load
  gantry job watch "$job" >"$BATS_TEST_TMPDIR/watched" 3>&- 5>&- &
  watcher=$!
  eventually 10 grep -q running "$BATS_TEST_TMPDIR/watched"
  run gantry job cancel "$job"
  assert_success
  assert_output "$job"
  local ended_with=0
  wait "$watcher" || ended_with=$?
  assert_equal "$ended_with" 1
  assert_equal "$(tail -n 1 "$BATS_TEST_TMPDIR/watched")" "$job image.load cancelled: cancelled"
  exec 5>&-
  wait "$uploader"
  assert_equal "$(jq -r .message "$BATS_TEST_TMPDIR/answer")" cancelled
  eventually 5 nothing_of_it_is_left
  run gantry job cancel "$job"
  assert_failure 1
  assert_output "Error response from daemon: job $job has ended"
}

@test "DELETE cancels; of an ended job, an unknown one and of nonsense it is refused" {
  begin_load
  assert_equal "$(api_status DELETE "/gantry/jobs/$job" | tail -n 1)" 204
  ended() { [ "$(status_of "$job")" = cancelled ]; }
  eventually 10 ended
  assert_equal "$(api_status DELETE "/gantry/jobs/$job" | tail -n 1)" 409
  assert_equal "$(api_status DELETE /gantry/jobs/99999999 | tail -n 1)" 404
  assert_equal "$(api_status DELETE /gantry/jobs/x | tail -n 1)" 400
}

@test "a load whose client goes away stops, and nothing of it is left" {
  begin_load
  kill -KILL "$uploader"
  wait "$uploader" 2>/dev/null || true
  run gantry job watch "$job"
  assert_failure 1
  assert_equal "$(status_of "$job")" cancelled
  eventually 5 nothing_of_it_is_left
}

@test "an import whose client goes away stops" {
  mkfifo "$BATS_TEST_TMPDIR/archive"
  curl -sS --unix-socket "$(engine_socket)" -X POST -H 'Content-Type: application/x-tar' -H 'Expect:' -T "$BATS_TEST_TMPDIR/archive" \
    'http://localhost/images/create?fromSrc=-&repo=imported' >/dev/null 2>&1 3>&- &
  uploader=$!
  exec 5>"$BATS_TEST_TMPDIR/archive"
  head -c 300000 "$TEST_ROOT/other.tar" >&5
  import_runs() { [ -n "$(gantry job ls -q -f status=running -f name=image.import)" ]; }
  eventually 10 import_runs
  job=$(gantry job ls -q -f status=running -f name=image.import)
  kill -KILL "$uploader"
  run gantry job watch "$job"
  assert_failure 1
  assert_equal "$(status_of "$job")" cancelled
  refute api_ok GET /images/imported/json
}

@test "watch tells of a job's progress to its end, and of all jobs" {
  gantry job watch -f name=image.load >"$BATS_TEST_TMPDIR/all" 3>&- &
  watcher=$!
  api GET '/gantry/jobs?stream=1' >"$BATS_TEST_TMPDIR/stream" 3>&- &
  streamer=$!
  loaded() { gantry load -i "$TEST_ROOT/other.tar" >/dev/null && grep -q 'image.load done' "$BATS_TEST_TMPDIR/all"; }
  eventually 10 loaded
  grep -Eq '^[0-9]+ image.load [a-z]+: Loaded image: other:latest' "$BATS_TEST_TMPDIR/all"
  refute grep -qv image.load "$BATS_TEST_TMPDIR/all"
  kill "$watcher" "$streamer"
  jq -e 'select(.Name == "image.load" and .Status == "done")' "$BATS_TEST_TMPDIR/stream" >/dev/null
  # One that has ended is told at once, and how.
  run gantry job watch "$(gantry job ls -q -n 1 -f name=image.load -f status=done)"
  assert_success
  assert_output --regexp '^[0-9]+ image\.load done$'
  api_ok DELETE /images/other
}

@test "a job that failed says why, and watching it fails" {
  run -127 gantry run --name fails busybox /no/such/program
  job=$(gantry job ls -q -n 1 -f name=container.start -f status=failed)
  run gantry job watch "$job"
  assert_failure 1
  assert_output --partial 'container.start failed: '
  assert_output --partial '/no/such/program'
  assert_equal "$(gantry job ls -f name=container.failed --format '{{.Parent}}' -n 1)" "$job"
  run gantry job ls -f name=container.start --no-trunc -n 1
  assert_output --partial 'no such file or directory'
  gantry rm fails
}

@test "the journal has a job's times, input and resources, and its parent" {
  gantry run -d --name kept busybox sleep 1000 >/dev/null
  job=$(gantry job ls -q -n 1 -f name=container.start)
  run gantry job inspect -f '{{.Status}} {{.InputDigest}} {{len .Resources}}' "$job"
  assert_output --regexp '^done sha256:[0-9a-f]{64} [1-9]'
  api GET "/gantry/jobs/$job" | jq -e '.QueuedAt <= .StartedAt and .StartedAt < .FinishedAt and (.Resources | map(select(startswith("cgroup "))) | length == 1)'
  gantry stop -t 0 kept >/dev/null
  assert_equal "$(gantry job ls -n 1 -f name=container.mark-stopped --format '{{.Parent}}')" "$(gantry job ls -q -n 1 -f name=container.stop)"
  gantry rm kept
  engine_kill
  engine_start main
  assert_equal "$(status_of "$job")" 'done'
}

@test "what was running when the daemon was killed is interrupted" {
  begin_load
  engine_kill
  exec 5>&-
  engine_start main
  interrupted() { [ "$(status_of "$job")" = interrupted ]; }
  eventually 10 interrupted
  assert_equal "$(gantry job inspect -f '{{.Error}}' "$job")" 'interrupted by the end of the daemon'
  run gantry job watch "$job"
  assert_failure 1
  eventually 5 nothing_of_it_is_left
}

@test "wrong words are one clear line" {
  run gantry job inspect nonsense
  assert_failure 1
  assert_line 'Error response from daemon: invalid job id "nonsense": it is a number'
  run gantry job watch 99999999
  assert_failure 1
  assert_output 'Error response from daemon: no such job: 99999999'
  run gantry job ls -f status=asleep
  assert_failure 1
  assert_output 'Error response from daemon: unknown job status "asleep" (queued, running, done, failed, cancelled, interrupted)'
  run gantry job ls -f colour=red
  assert_failure 1
  assert_output "Error response from daemon: invalid filter 'colour'"
  run gantry job ls -n 0
  assert_failure 1
  assert_output 'Error response from daemon: limit must be between 1 and 10000'
}

@test "the journal keeps as many jobs as it is told, and no older ones" {
  engine_start bounded --bridge none --journal-limit 3 --gc-interval 0s
  for _ in 1 2 3 4 5 6; do ENGINE_NAME=bounded gantry volume create >/dev/null; done
  engine_stop bounded
  engine_start bounded --bridge none --journal-limit 3 --gc-interval 0s
  reconciled() { [ "$(ENGINE_NAME=bounded api GET /gantry/engine | jq .Reconciled)" = true ]; }
  eventually 10 reconciled
  assert_equal "$(ENGINE_NAME=bounded gantry job ls -q | wc -l)" 3
  ENGINE_NAME=bounded gantry volume prune -af >/dev/null
  engine_stop bounded
}

@test "create and start take two transactions, an exit and rm one, and one behind them" {
  transactions() { api GET /gantry/engine | jq .Database.Transactions; }
  settled() { [ "$(api GET /gantry/engine | jq '.Running + .Queued + .Releasing')" = 0 ]; }
  spent() { # by COMMAND, with what it leaves to the background
    local before
    eventually 10 settled
    before=$(transactions)
    "$@" >/dev/null
    eventually 10 settled
    echo $(($(transactions) - before))
  }
  assert_equal "$(spent gantry create --name counted busybox sleep 1000)" 2
  assert_equal "$(spent gantry start counted)" 2
  end() {
    kill -KILL "$(gantry inspect -f '{{.State.Pid}}' counted)"
    gantry wait counted
  }
  assert_equal "$(spent end)" 2
  assert_equal "$(spent gantry start counted)" 2
  assert_equal "$(spent gantry exec counted true)" 2
  assert_equal "$(spent end)" 2
  assert_equal "$(spent gantry rm counted)" 2
  assert_equal "$(spent gantry run --rm busybox true)" 6
}

@test "a stuck job holds up its own container only, and is finished when its client goes away" {
  grep -q resource.released "$GANTRY_BUILD/bin/gantryd" || skip "built without failpoints"
  GANTRY_FAILPOINTS='resource.release.container-files=delay(6000)@1' engine_start stuck --bridge none
  export ENGINE_NAME=stuck
  gantry create --network none --name aa busybox true >/dev/null
  gantry create --network none --name bb busybox true >/dev/null
  gantry rm aa >/dev/null 3>&- &
  remover=$!
  removing() { [ "$(gantry job ls -f status=running -f name=container.remove --format '{{.Status}}')" = running ]; }
  eventually 5 removing
  kill -KILL "$remover"
  gantry rename aa cc 3>&- 2>"$BATS_TEST_TMPDIR/rename" &
  renamer=$!
  renaming() { [ -n "$(gantry job ls -q -f status=running -f name=container.rename)" ]; }
  eventually 5 renaming
  gantry rename bb dd
  gantry rm dd
  gantry ps -a
  removing && renaming
  local ended_with=0
  wait "$renamer" || ended_with=$?
  assert_equal "$ended_with" 1
  assert_equal "$(gantry ps -aq | wc -l)" 0
  assert_equal "$(gantry job ls -n 1 -f name=container.remove -f status=done -q | wc -l)" 1
  engine_stop stuck
}
