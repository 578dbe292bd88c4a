#!/usr/bin/env bats
# Healthchecks: what a check's results make of a container, and that checks begin and end with it.
load ../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
setup() { name=$(random_name health); }
teardown() {
  usual_teardown
  ! api_ok GET "/containers/$name/json" || client rm -f "$name" >/dev/null
}

# checked HEALTHCHECK [MORE]: runs a container with that check (JSON); MORE are further members of the body.
checked() {
  local command='["sh", "-c", "trap \"exit 0\" TERM; while :; do sleep 0.05; done"]'
  run api_json POST "/containers/create?name=$name" "{\"Image\": \"busybox\", \"Cmd\": $command,
    \"Healthcheck\": $1 ${2:+, $2}}"
  assert_line --index 1 201
  api_ok POST "/containers/$name/start"
}
health() { api GET "/containers/$name/json" | jq -r ".State.Health$1"; }
is() { equals "$1" health .Status; }
ends_of_checks() { health '.Log | map(.End) | join(" ")'; }
# What `docker events` would have shown of it.
told() { api GET "/events?until=$(date +%s.%N)&since=1&filters=%7B%22container%22:%5B%22$name%22%5D%7D" | jq -r .Action; }

@test "a check that succeeds makes its container healthy, and everybody says so" {
  checked '{"Test": ["CMD", "sh", "-c", "echo fine; echo really >&2"], "Interval": 100000000}'
  eventually 10 is healthy
  assert_equal "$(health .FailingStreak)" 0
  assert_equal "$(health '.Log[0].ExitCode')" 0
  assert_equal "$(health '.Log[0].Output' | grep . | sort | paste -sd' ')" 'fine really'
  run told
  assert_line 'health_status: healthy'
  assert_line 'exec_create: sh -c echo fine; echo really >&2'
  assert_line exec_die
  run client ps --format '{{.Status}}' --filter "name=$name"
  assert_output --regexp '^Up .* \(healthy\)$'
  run client ps -q --no-trunc --filter health=healthy
  assert_output "$(client inspect -f '{{.Id}}' "$name")"
  run client ps -q --filter health=unhealthy
  assert_output ''
}

@test "failures make it unhealthy when there are enough of them in a row, and one success healthy again" {
  checked '{"Test": ["CMD-SHELL", "echo no; test -e /fine"], "Interval": 50000000, "Retries": 3}'
  eventually 10 is unhealthy
  [ "$(health .FailingStreak)" -ge 3 ]
  assert_equal "$(health '.Log[-1].ExitCode')" 1
  eventually 10 equals 5 health '.Log | length'
  client exec "$name" touch /fine
  eventually 10 is healthy
  run told
  assert_line 'health_status: unhealthy'
  assert_line 'health_status: healthy'
}

@test "failures in the start period do not count, and the checks come at the start interval" {
  on_engine gantry || skip "Docker 20.10 has no start interval"
  checked '{"Test": ["CMD", "false"], "Interval": 3600000000000, "StartPeriod": 3600000000000, "StartInterval": 50000000, "Retries": 1}'
  eventually 10 equals 5 health '.Log | length'
  assert_equal "$(health .Status) $(health .FailingStreak)" 'starting 0'
  run client ps --format '{{.Status}}' --filter "name=$name"
  assert_output --partial '(health: starting)'
}

@test "a check that takes too long has failed, and is killed" {
  on_engine gantry || skip "Docker 20.10 leaves it running"
  checked '{"Test": ["CMD", "sleep", "4711"], "Interval": 50000000, "Timeout": 200000000, "Retries": 1}'
  eventually 10 is unhealthy
  assert_equal "$(health '.Log[0].ExitCode')" -1
  assert_equal "$(health '.Log[0].Output')" 'Health check exceeded timeout (200ms)'
  # One may be under way; none is left of those that were over.
  [ "$(client top "$name" | grep -c 'sleep 4711')" -le 1 ]
}

@test "a check that cannot be run has failed, and says why" {
  checked '{"Test": ["CMD", "no-such-program"], "Interval": 50000000, "Retries": 1}'
  eventually 10 is unhealthy
  run health '.Log[0].Output'
  assert_output --partial 'executable file not found'
}

@test "what a check writes is kept up to 4096 bytes, and the rest does not hold it up" {
  checked '{"Test": ["CMD-SHELL", "head -c 3000000 /dev/zero | tr \\\\0 x"], "Interval": 50000000}'
  eventually 20 is healthy
  assert_equal "$(health '.Log[0].Output | length')" 4099
}

@test "no check: none is given, the test is NONE, or it is of no known kind, which is said" {
  on_engine gantry || skip "Docker says nothing"
  checked '{"Test": ["NONE"]}'
  assert_equal "$(health '')" null
  run client ps -q --no-trunc --filter health=none --filter "name=$name"
  assert_output "$(client inspect -f '{{.Id}}' "$name")"
  run api_json POST /containers/create '{"Image": "busybox", "Cmd": ["true"], "Healthcheck": {"Test": ["PING"]}}'
  assert_output --partial 'The healthcheck is not run'
  run api_json POST /containers/create '{"Image": "busybox", "Cmd": ["true"], "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}}'
  assert_line --index 0 --partial 'Interval in Healthcheck cannot be less than 1ms'
  assert_line --index 1 400
}

@test "the check of an image is run, and NONE of the container turns it off" {
  client create --name base-"$name" busybox true >/dev/null
  client commit --change 'HEALTHCHECK --interval=100ms CMD echo from the image' base-"$name" checked-image >/dev/null
  client rm base-"$name"
  client run -d --name "$name" checked-image sleep 1000 >/dev/null
  eventually 10 is healthy
  assert_equal "$(health '.Log[0].Output')" 'from the image'
  client rm -f "$name"
  api_json POST "/containers/create?name=$name" '{"Image": "checked-image", "Cmd": ["sleep", "1000"], "Healthcheck": {"Test": ["NONE"]}}'
  api_ok POST "/containers/$name/start"
  assert_equal "$(health '')" null
  client rm -f "$name"
  client rmi checked-image
}

@test "checks stop with a pause, and with the container" {
  checked '{"Test": ["CMD", "true"], "Interval": 50000000}'
  eventually 10 is healthy
  client pause "$name"
  before=$(ends_of_checks)
  run client ps --format '{{.Status}}' --filter "name=$name"
  assert_output --partial '(Paused)'
  changed() { [ "$before" != "$(ends_of_checks)" ]; }
  run eventually 1 changed
  assert_failure
  client unpause "$name"
  eventually 10 changed
  client stop "$name"
  is unhealthy # as Docker has it
  before=$(ends_of_checks)
  run eventually 1 changed
  assert_failure
  client start "$name"
  eventually 10 is healthy
}

@test "health outlives the daemon, and the checks go on" {
  on_engine gantry || skip "about gantryd"
  checked '{"Test": ["CMD-SHELL", "test ! -e /broken"], "Interval": 100000000, "Retries": 2}'
  eventually 10 is healthy
  engine_kill
  engine_start main
  is healthy
  client exec "$name" touch /broken
  eventually 10 is unhealthy
}

@test "one that becomes unhealthy is restarted when its creator asked for that" {
  on_engine gantry || skip "Docker has no such thing"
  local check='{"Test": ["CMD-SHELL", "test ! -e /dev/shm/broken"], "Interval": 50000000, "Retries": 1}'
  checked "$check" '"Labels": {"gantry.restart-unhealthy": "true"}, "StopTimeout": 0'
  eventually 10 is healthy
  local pid
  pid=$(client inspect -f '{{.State.Pid}}' "$name")
  client exec "$name" touch /dev/shm/broken
  eventually 10 process_gone "$pid"
  eventually 10 is healthy # the new run has a /dev/shm of its own
  run told
  assert_line restart
}

@test "the label of an image restarts nothing" {
  on_engine gantry || skip "Docker has no such thing"
  client create --name base-"$name" busybox true >/dev/null
  client commit --change 'LABEL gantry.restart-unhealthy=true' base-"$name" steering-image >/dev/null
  client rm base-"$name"
  run api_json POST "/containers/create?name=$name" '{"Image": "steering-image", "Cmd": ["sleep", "1000"],
    "Healthcheck": {"Test": ["CMD", "false"], "Interval": 50000000, "Retries": 1}}'
  api_ok POST "/containers/$name/start"
  eventually 10 is unhealthy
  eventually 10 equals 5 health '.Log | length'
  run told
  refute_line restart
  client rm -f "$name"
  client rmi steering-image
}

@test "/metrics counts checks, containers and events" {
  on_engine gantry || skip "Docker serves them elsewhere"
  checked '{"Test": ["CMD", "false"], "Interval": 50000000}'
  eventually 10 matches 'engine_daemon_health_checks_failed_total [1-9]' api GET /metrics
  run api GET /metrics
  assert_line 'engine_daemon_container_states_containers{state="running"} 1'
  assert_line --regexp '^engine_daemon_events_total [1-9]'
  assert_line --regexp '^process_resident_memory_bytes [1-9]'
  # Each line is a comment or a number.
  run grep -vE '^# (HELP|TYPE) [a-z_]+ .+$|^[a-z_]+(\{[^}]*\})? [0-9]+$' <<<"$output"
  assert_output ''
}
