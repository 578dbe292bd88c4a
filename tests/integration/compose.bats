#!/usr/bin/env bats
# Debian's docker-compose (1.29) with an application of four services (compose/docker-compose.yml).
BATS_TEST_TIMEOUT=300 # an application is made and taken down several times
load ../lib/common

setup_file() {
  command -v docker-compose >/dev/null || skip "needs Debian's docker-compose"
  usual_setup_file
  if api POST /networks/nobody/connect -H 'Content-Type: application/json' -d '{"Container": "x"}' | grep -q 'not supported'; then
    skip "needs networks to be connected to containers that are there"
  fi
  DOCKER_HOST=unix://$(engine_socket)
  export DOCKER_HOST COMPOSE_PROJECT_NAME=app COMPOSE_FILE=$BATS_TEST_DIRNAME/compose/docker-compose.yml
}
teardown_file() {
  [ -n "${COMPOSE_FILE:-}" ] || return 0
  compose down -v -t 0 >/dev/null 2>&1 || true
  usual_teardown_file
}
teardown() { usual_teardown; }

compose() { timeout -k 2 60 docker-compose --ansi never "$@"; }
state() { api GET "/containers/app_$1_1/json" | jq -r ".State.$2"; } # SERVICE FIELD
left() { api GET "/$1" | jq -r '.. | .Name? // empty' | grep -c '^app_' || true; }

@test "up waits for what is healthy, twice, and down leaves nothing" {
  for _ in 1 2; do
    run compose up -d
    echo "$output"
    assert_success
    assert_equal "$(state store Health.Status) $(state web Health.Status)" 'healthy healthy'
    eventually 10 equals exited state seed Status
    assert_equal "$(state seed ExitCode)" 0
    run compose ps
    assert_line --regexp 'app_web_1 .*Up \(healthy\) .*127.0.0.1:[0-9]+->8080/tcp'
    assert_line --regexp 'app_seed_1 .*Exit 0'
    port=$(compose port web 8080)
    assert_equal "$(curl -sS "http://$port/seed")" seeded
    run compose up -d # nothing to do
    assert_line --partial 'app_store_1 is up-to-date'
    run compose down -v -t 1
    assert_success
    assert_equal "$(left networks) $(left volumes) $(api GET '/containers/json?all=1')" '0 0 []'
  done
}

@test "exec, logs, scale, stop, start, restart, rm" {
  compose up -d
  assert_equal "$(compose exec -T web sh -c 'echo $ROLE')" web
  run compose exec -T web sh -c 'exit 7'
  assert_failure 7
  run compose up -d --scale worker=3
  assert_success
  run compose ps -q worker
  assert_equal "${#lines[@]}" 3
  run compose logs worker
  assert_line --regexp 'worker_3 .*working as [0-9a-f]{12}'
  run compose up -d --scale worker=1
  run compose ps -q worker
  assert_equal "${#lines[@]}" 1
  run compose stop -t 2 worker
  assert_success
  assert_equal "$(state worker ExitCode)" 0
  run compose start worker
  assert_equal "$(state worker Status)" running
  run compose restart -t 0 web
  assert_success
  run compose pause worker
  assert_equal "$(state worker Status)" paused
  run compose unpause worker
  run compose top worker
  assert_output --partial 'sleep 0.1'
  run compose rm -fs worker
  assert_success
  run compose run --rm -T worker echo once
  assert_line once
  run compose down -v -t 0
  assert_success
}

# Compose 1.29 looks here for a member of images that the API has no more since 1.45, and asks in the newest version
# unless told: so it fails with Docker 25 and newer too.
@test "a change of the file makes its container anew, with its volume" {
  export COMPOSE_API_VERSION=1.44
  compose up -d store
  before=$(state store Pid)
  sed 's/retries: 50/retries: 40/' "$COMPOSE_FILE" >"$BATS_TEST_TMPDIR/changed.yml"
  run compose -f "$BATS_TEST_TMPDIR/changed.yml" up -d store
  assert_line --partial 'Recreating app_store_1'
  [ "$(state store Pid)" != "$before" ]
  eventually 20 equals ready compose exec -T store cat /data/state
  compose down -v -t 0
}
