#!/usr/bin/env bats
# The store: whole whatever happens, bounded, collected while it serves.

load helper

setup_file() { registry_setup; }
teardown_file() { registry_teardown; }

R=http://127.0.0.1:5000/v2

@test "an upload goes on after kill -9, and its blob is what was sent" {
  registry main 5000
  head -c 300000 /dev/urandom >"$TEST_ROOT/blob"
  local location digest
  digest=$(digest_of "$TEST_ROOT/blob")
  location=$(curl -s -D - -o /dev/null -X POST $R/a/blobs/uploads/ | tr -d '\r' | awk 'tolower($1) == "location:" { print $2 }')
  head -c 100000 "$TEST_ROOT/blob" | wants 202 -X PATCH --data-binary @- -H 'Content-Range: 0-99999' "http://127.0.0.1:5000$location"
  registry_stop main KILL
  registry main 5000
  run curl -s -D - -o /dev/null "http://127.0.0.1:5000$location"
  [[ "$output" == *"Range: 0-99999"* ]]
  tail -c +100001 "$TEST_ROOT/blob" |
    wants 201 -X PUT --data-binary @- -H 'Content-Range: 100000-299999' "http://127.0.0.1:5000$location?digest=$digest"
  [ "$(curl -s $R/a/blobs/"$digest" | sha)" = "${digest#sha256:}" ]
  registry_stop main
}

@test "a connection cut in the middle of a chunk keeps what came" {
  registry main 5000
  local location
  location=$(curl -s -D - -o /dev/null -X POST $R/a/blobs/uploads/ | tr -d '\r' | awk 'tolower($1) == "location:" { print $2 }')
  # Says it sends 1,000 bytes, sends 300 and goes.
  { printf 'PATCH %s HTTP/1.1\r\nHost: r\r\nContent-Length: 1000\r\n\r\n' "$location"; head -c 300 /dev/zero; } >"$TEST_ROOT/cut"
  /usr/bin/python3 -c 'import socket, sys
s = socket.create_connection(("127.0.0.1", 5000)); s.sendall(open(sys.argv[1], "rb").read()); s.close()' "$TEST_ROOT/cut"
  eventually 10 matches 'Range: 0-299' curl -s -D - -o /dev/null "http://127.0.0.1:5000$location"
  registry_stop main
}

@test "kill -9 at random points of pushes leaves a whole store, and the pushes end when they are repeated" {
  run /usr/bin/python3 "$HERE/kill_pushes.py" "$GANTRY_REGISTRY" "$TEST_ROOT/killed" "${KILLS:-12}"
  echo "$output"
  [ "$status" -eq 0 ]
}

@test "pushes and deletes of the same things at once leave a whole store" {
  registry main 5000 --delete --gc-grace 0 --gc-interval 200ms --gc-untagged
  run /usr/bin/python3 "$HERE/rivals.py" http://127.0.0.1:5000
  echo "$output"
  [ "$status" -eq 0 ]
  registry_stop main
  run check_store main
  echo "$output"
  [ "$status" -eq 0 ]
}

@test "gc removes what nothing leads to, beside a registry that serves and in an idle store" {
  registry gc 5000 --delete --gc-grace 0
  local kept gone
  kept=$(push_image $R/kept v1)
  gone=$(push_image $R/gone v1)
  wants 202 -X DELETE "$R/gone/manifests/$gone"
  run "$GANTRY_REGISTRY" gc --root "$TEST_ROOT/gc"
  [[ "$output" == *"3 objects of content"*"1 empty repositories"* ]]
  wants 200 "$R/kept/manifests/$kept"
  wants 404 $R/gone/tags/list
  [ "$(find "$TEST_ROOT/gc/blobs" -type f | wc -l)" -eq 3 ]
  wants 202 -X DELETE "$R/kept/manifests/$kept"
  registry_stop gc
  run "$GANTRY_REGISTRY" gc --root "$TEST_ROOT/gc" --gc-grace 0
  [[ "$output" == *"3 objects of content"* ]]
  [ "$(find "$TEST_ROOT/gc/blobs" -type f | wc -l)" -eq 0 ]
}

@test "an upload that nobody ends is removed after its time, and one that is new is not" {
  registry main 5000 --upload-age 1h
  wants 202 -X POST $R/a/blobs/uploads/
  local before
  before=$(find "$TEST_ROOT/main/uploads" -type f | wc -l)
  touch -d '2 hours ago' "$TEST_ROOT"/main/uploads/*
  wants 202 -X POST $R/a/blobs/uploads/
  run "$GANTRY_REGISTRY" gc --root "$TEST_ROOT/main"
  [[ "$output" == *"$before unfinished uploads"* ]]
  [ "$(find "$TEST_ROOT/main/uploads" -type f | wc -l)" -eq 1 ]
  registry_stop main
}

@test "a full disk is 507 with one message, and nothing half is there" {
  mkdir "$TEST_ROOT/small"
  mount -t tmpfs -o size=4m tmpfs "$TEST_ROOT/small"
  registry small 5000 --delete
  head -c 3000000 /dev/urandom >"$TEST_ROOT/first"
  head -c 3000000 /dev/urandom >"$TEST_ROOT/second"
  push_blob $R/a "$TEST_ROOT/first"
  wants 507 -X POST --data-binary "@$TEST_ROOT/second" "$R/a/blobs/uploads/?digest=$(digest_of "$TEST_ROOT/second")"
  body | grep -q "disk is full"
  wants 404 "$R/a/blobs/$(digest_of "$TEST_ROOT/second")"
  [ -z "$(ls -A "$TEST_ROOT/small/uploads")" ]
  [ "$(curl -s "$R/a/blobs/$(digest_of "$TEST_ROOT/first")" | sha)" = "$(sha <"$TEST_ROOT/first")" ]
  # An upload in chunks goes on when there is room again.
  local location
  location=$(curl -s -D - -o /dev/null -X POST $R/a/blobs/uploads/ | tr -d '\r' | awk 'tolower($1) == "location:" { print $2 }')
  wants 507 -X PATCH --data-binary "@$TEST_ROOT/second" "http://127.0.0.1:5000$location"
  wants 202 -X DELETE "$R/a/blobs/$(digest_of "$TEST_ROOT/first")"
  "$GANTRY_REGISTRY" gc --root "$TEST_ROOT/small"
  registry_stop small
  registry small 5000 --delete --gc-grace 0
  "$GANTRY_REGISTRY" gc --root "$TEST_ROOT/small"
  local range
  range=$(curl -s -D - -o /dev/null "http://127.0.0.1:5000$location" | tr -d '\r' | sed -n 's/^Range: 0-//p')
  [ "$range" -gt 0 ] || range=-1
  tail -c +$((range + 2)) "$TEST_ROOT/second" |
    wants 201 -X PUT --data-binary @- "http://127.0.0.1:5000$location?digest=$(digest_of "$TEST_ROOT/second")"
  registry_stop small
  run check_store small
  [ "$status" -eq 0 ]
  umount "$TEST_ROOT/small"
}

@test "a quota refuses with 413 and says how much is used" {
  registry quota 5000 --quota-repository 100k --quota-total 150k --delete
  head -c 80000 /dev/urandom >"$TEST_ROOT/first"
  head -c 40000 /dev/urandom >"$TEST_ROOT/second"
  push_blob $R/a "$TEST_ROOT/first"
  wants 413 -X POST --data-binary "@$TEST_ROOT/second" "$R/a/blobs/uploads/?digest=$(digest_of "$TEST_ROOT/second")"
  [ "$(jq -r .errors[0].code "$TEST_ROOT/body")" = DENIED ]
  body | grep -q 'repository a would be over its quota: 78.12KiB of 100KiB are used'
  push_blob $R/b "$TEST_ROOT/second"
  head -c 60000 /dev/urandom >"$TEST_ROOT/third"
  wants 413 -X POST --data-binary "@$TEST_ROOT/third" -H 'Transfer-Encoding: chunked' "$R/c/blobs/uploads/?digest=$(digest_of "$TEST_ROOT/third")"
  body | grep -q 'the registry would be over its quota'
  # What is there already needs no room.
  wants 201 -X POST "$R/c/blobs/uploads/?mount=$(digest_of "$TEST_ROOT/first")&from=a"
  registry_stop quota
}

@test "read-only, turned on and off by SIGHUP, refuses changes and serves" {
  printf 'delete = on\n' >"$TEST_ROOT/conf"
  registry readonly 5000 --config "$TEST_ROOT/conf"
  local digest
  digest=$(push_image $R/a v1)
  printf 'delete = on\nread-only = on\n' >"$TEST_ROOT/conf"
  kill -HUP "$(registry_pid readonly)"
  eventually 5 wants 405 -X POST $R/a/blobs/uploads/
  [ "$(jq -r .errors[0].code "$TEST_ROOT/body")" = UNSUPPORTED ]
  wants 405 -X DELETE "$R/a/manifests/$digest"
  wants 405 -X PUT --data-binary '{}' $R/a/manifests/v2
  wants 200 $R/a/manifests/v1
  # What is wrong changes nothing.
  printf 'read-only = perhaps\n' >"$TEST_ROOT/conf"
  kill -HUP "$(registry_pid readonly)"
  eventually 5 matches 'line 1: read-only = perhaps.*all stays as it was' log_of readonly
  wants 405 -X POST $R/a/blobs/uploads/
  printf 'delete = on\n' >"$TEST_ROOT/conf"
  kill -HUP "$(registry_pid readonly)"
  eventually 5 wants 202 -X POST $R/a/blobs/uploads/
  registry_stop readonly
}

@test "deleting is refused unless it is allowed" {
  registry main 5000
  local digest
  digest=$(push_image $R/a v1)
  wants 405 -X DELETE "$R/a/manifests/$digest"
  wants 405 -X DELETE $R/a/manifests/v1
  wants 405 -X DELETE "$R/a/blobs/$digest"
  wants 200 $R/a/manifests/v1
  registry_stop main
}

@test "damage is found, removed by check --repair, and mended by a push" {
  registry damaged 5000
  push_image $R/a v1
  registry_stop damaged
  local file
  file=$(grep -rl '^layer of' "$TEST_ROOT/damaged/blobs")
  echo 'LAYER of' >"$file"
  run check_store damaged
  [ "$status" -eq 1 ]
  [[ "$output" == *"its content has another digest"* ]]
  run "$GANTRY_REGISTRY" check --repair --root "$TEST_ROOT/damaged"
  [[ "$output" == *"push the image again"* ]]
  registry damaged 5000
  run "$GANTRY_REGISTRY" check --repair --root "$TEST_ROOT/damaged"
  [[ "$output" == *"another gantry-registry serves this store"* ]]
  push_image $R/a v1
  registry_stop damaged
  run check_store damaged
  [ "$status" -eq 0 ]
}

@test "SIGTERM lets a request under way end, and takes no more" {
  registry main 5000
  head -c 50000000 /dev/zero >"$TEST_ROOT/big"
  push_blob $R/a "$TEST_ROOT/big"
  curl -s --limit-rate 20M -o "$TEST_ROOT/got" "$R/a/blobs/$(digest_of "$TEST_ROOT/big")" 3>&- &
  local reader=$!
  eventually 5 test -s "$TEST_ROOT/got"
  kill -TERM "$(registry_pid main)"
  eventually 5 wants 000 $R/
  wait $reader
  cmp "$TEST_ROOT/got" "$TEST_ROOT/big"
  eventually 10 process_gone "$(registry_pid main)"
  log_of main | tail -n 1 | grep -q stopped
  rm "$TEST_ROOT/main.pid"
}

@test "a thousand slow clients are served in bounded memory" {
  registry slow 5000
  head -c 20000000 /dev/urandom >"$TEST_ROOT/big"
  push_blob $R/a "$TEST_ROOT/big"
  run /usr/bin/python3 "$HERE/slow_clients.py" 127.0.0.1 5000 "/v2/a/blobs/$(digest_of "$TEST_ROOT/big")" \
    "$(registry_pid slow)"
  echo "$output"
  [ "$status" -eq 0 ]
  registry_stop slow
}

@test "hostile requests are answered with 4xx, and the registry goes on" {
  registry main 5000 --delete
  push_image $R/a v1
  run /usr/bin/python3 "$HERE/hostile.py" 127.0.0.1 5000 "$TEST_ROOT"
  echo "$output"
  [ "$status" -eq 0 ]
  wants 200 $R/a/manifests/v1
  registry_stop main
  run check_store main
  [ "$status" -eq 0 ]
}

@test "metrics and health are served, also on a listener of their own" {
  registry main 5000
  push_image $R/a v1
  wants 200 http://127.0.0.1:5000/health
  wants 200 http://127.0.0.1:5000/metrics
  body | grep -q '^gantry_registry_requests_total{resource="manifest",method="PUT",status="201"} 1$'
  body | grep -q '^gantry_registry_store_blobs'
  registry_stop main
  registry main 5000 --metrics-address 127.0.0.1:5009
  wants 404 http://127.0.0.1:5000/metrics
  wants 200 http://127.0.0.1:5009/metrics
  wants 200 http://127.0.0.1:5009/health
  wants 404 http://127.0.0.1:5009/v2/
  registry_stop main
}

@test "the access log has a line for each request, and what a client sends cannot break it" {
  registry main 5000 --access-log "$TEST_ROOT/access"
  wants 404 -A 'evil"\' "$R/a/manifests/x%0ay"
  grep -qF '"GET /v2/a/manifests/x%0ay" 404' "$TEST_ROOT/access"
  grep -qF 'evil\x22\x5c' "$TEST_ROOT/access"
  mv "$TEST_ROOT/access" "$TEST_ROOT/access.1"
  kill -HUP "$(registry_pid main)"
  eventually 5 test -e "$TEST_ROOT/access"
  registry_stop main
}
