#!/usr/bin/env bats
# Images from a registry and back to it, with Debian's docker-registry as the peer where it is there, else Gantry's.
load ../lib/common

REGISTRY=127.0.0.1:5999

setup_file() {
  on_engine gantry || return 0
  usual_setup_file
  REGISTRY_ROOT=$(mktemp -d /tmp/gr.XXXXXX)
  export REGISTRY_ROOT
  registry_start
}
teardown_file() {
  [ -z "${REGISTRY_ROOT:-}" ] || {
    registry_stop
    rm -rf "$REGISTRY_ROOT"
  }
  usual_teardown_file
}
setup() {
  on_engine gantry || skip "it is about Gantry's own transfers"
  need_command busybox
}
teardown() {
  usual_teardown
  gantry images -q --no-trunc "$REGISTRY/*/*" | sort -u | while read -r image; do gantry rmi -f "$image" >/dev/null; done
}

gantry() { timeout -k 2 60 "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" "$@"; }

registry_start() {
  if command -v docker-registry >/dev/null; then
    cat >"$REGISTRY_ROOT/config.yml" <<CONFIG
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $REGISTRY_ROOT/store}}
http: {addr: "$REGISTRY"}
CONFIG
    setsid docker-registry serve "$REGISTRY_ROOT/config.yml" >>"$REGISTRY_ROOT/log" 2>&1 </dev/null 3>&- &
  else
    setsid "$GANTRY_BUILD/bin/gantry-registry" serve --root "$REGISTRY_ROOT/store" --address "$REGISTRY" \
      >>"$REGISTRY_ROOT/log" 2>&1 </dev/null 3>&- &
  fi
  echo $! >"$REGISTRY_ROOT/pid"
  eventually 10 curl -sf -o /dev/null "http://$REGISTRY/v2/"
}
registry_stop() { kill "$(cat "$REGISTRY_ROOT/pid")"; }

# An image of its own, under $REGISTRY/t/NAME:1 here and in the registry; its digest is printed.
publish() { # NAME
  cp "$(command -v busybox)" "$BATS_TEST_TMPDIR/busybox"
  head -c 3000000 /dev/urandom >"$BATS_TEST_TMPDIR/data"
  tar -cf "$BATS_TEST_TMPDIR/root.tar" -C "$BATS_TEST_TMPDIR" busybox data
  gantry import "$BATS_TEST_TMPDIR/root.tar" "$REGISTRY/t/$1:1" >/dev/null
  gantry push "$REGISTRY/t/$1:1" | sed -n 's/.*digest: \(sha256:[0-9a-f]*\) .*/\1/p'
}
forget() { gantry rmi -f "$@" >/dev/null; }
digests() { gantry image inspect -f '{{join .RepoDigests " "}}' "$1"; }

@test "an image that was made here is pushed, removed, pulled again, and runs" {
  digest=$(publish made)
  assert [ -n "$digest" ]
  assert_equal "$(digests "$REGISTRY/t/made:1")" "$REGISTRY/t/made@$digest"
  id=$(gantry image inspect -f '{{.Id}}' "$REGISTRY/t/made:1")
  forget "$REGISTRY/t/made:1"
  run gantry pull "$REGISTRY/t/made:1"
  assert_success
  assert_output --partial "Pull complete"
  assert_output --partial "Digest: $digest"
  assert_output --partial "Status: Downloaded newer image for $REGISTRY/t/made:1"
  assert_equal "$(gantry image inspect -f '{{.Id}}' "$REGISTRY/t/made:1")" "$id"
  run gantry pull "$REGISTRY/t/made:1"
  assert_output --partial "Status: Image is up to date for $REGISTRY/t/made:1"
  run gantry run --rm --network none "$REGISTRY/t/made:1" /busybox wc -c /data
  assert_output "3000000 /data"
  run gantry system check --content
  assert_success
}

@test "docker pulls and pushes through the daemon, with the digest unchanged in another repository" {
  digest=$(publish plain)
  forget "$REGISTRY/t/plain:1"
  run client pull "$REGISTRY/t/plain@$digest"
  assert_success
  client tag "$REGISTRY/t/plain@$digest" "$REGISTRY/u/other:2"
  run client push "$REGISTRY/u/other:2"
  assert_success
  assert_output --partial "Mounted from t/plain"
  assert_output --partial "2: digest: $digest size:"
  run client push "$REGISTRY/u/other:2"
  assert_output --partial "Layer already exists"
}

@test "what cannot be had is told in Docker's words, and leaves nothing" {
  run gantry pull "$REGISTRY/t/absent:1"
  assert_failure
  assert_output --partial "$REGISTRY/t/absent:1 not found: manifest unknown"
  run gantry pull 127.0.0.1:9/x
  assert_failure
  assert_output --partial "dial tcp 127.0.0.1:9: connect: connection refused"
  run gantry push "$REGISTRY/t/never:1"
  assert_failure
  assert_output --partial "An image does not exist locally with the tag: $REGISTRY/t/never"
}

@test "a daemon that is killed while it pulls goes on with what it had, and nothing else stays" {
  publish killed >/dev/null
  forget "$REGISTRY/t/killed:1"
  for delay in 0.01 0.03 0.05 0.08; do
    gantry pull "$REGISTRY/t/killed:1" >/dev/null 2>&1 &
    pull=$!
    timeout "$delay" tail -f /dev/null || true # somewhere in it, each time elsewhere
    engine_kill
    wait "$pull" || true
    engine_start main
    eventually 20 gantry version
  done
  run gantry pull "$REGISTRY/t/killed:1"
  assert_success
  run gantry system check --content
  assert_success
}

@test "login keeps credentials where Docker keeps them, and logout takes them away" {
  export DOCKER_CONFIG=$BATS_TEST_TMPDIR/config
  run bash -c "echo secret | timeout 20 '$GANTRY_BUILD/bin/gantry' -H 'unix://$(engine_socket)' login -u me --password-stdin $REGISTRY"
  assert_success
  assert_output --partial "Login Succeeded"
  assert_equal "$(jq -r ".auths[\"$REGISTRY\"].auth" "$DOCKER_CONFIG/config.json" | base64 -d)" "me:secret"
  assert_equal "$(stat -c %a "$DOCKER_CONFIG/config.json")" 600
  run gantry logout "$REGISTRY"
  assert_success
  assert_equal "$(jq -r '.auths | length' "$DOCKER_CONFIG/config.json")" 0
}
