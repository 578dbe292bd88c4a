#!/usr/bin/env bats
# The pull-through cache, before another gantry-registry, which stands in for any.

load helper

setup_file() {
  registry_setup
  echo secret | "$GANTRY_REGISTRY" htpasswd cache 4 >"$TEST_ROOT/htpasswd"
  echo secret >"$TEST_ROOT/password"
}
teardown_file() { registry_teardown; }

U=http://127.0.0.1:5000/v2 # the upstream
C=http://127.0.0.1:5001/v2 # the cache
ACCEPT="Accept: $OCI_MANIFEST"
upstream() { registry upstream 5000 --delete "$@"; }
cache() { registry cache 5001 --upstream http://127.0.0.1:5000 "$@"; }
asked() { grep -c "$1" "$TEST_ROOT/upstream.log" || true; } # PATTERN: how often the upstream was
layer_of() { curl -s -H "$ACCEPT" "$1" | jq -r '.layers[0].digest'; }

@test "what is not there is fetched once, and then served without the upstream" {
  upstream
  local digest layer
  digest=$(push_image $U/a/b v1)
  cache
  wants 200 -H "$ACCEPT" $C/a/b/manifests/v1
  [ "sha256:$(sha <"$TEST_ROOT/body")" = "$digest" ]
  layer=$(layer_of $C/a/b/manifests/v1)
  [ "sha256:$(curl -s "$C/a/b/blobs/$layer" | sha)" = "$layer" ]
  [ "$(asked "GET /v2/a/b/manifests/v1")" -eq 1 ]
  [ "$(asked "GET /v2/a/b/blobs/$layer")" -eq 1 ]
  registry_stop upstream
  wants 200 "$C/a/b/blobs/$layer"
  wants 200 -H "$ACCEPT" $C/a/b/manifests/v1
  wants 200 -H "$ACCEPT" "$C/a/b/manifests/$digest"
  wants 206 -H 'Range: bytes=0-3' "$C/a/b/blobs/$layer"
  registry_stop cache
  run check_store cache --upstream http://127.0.0.1:5000
  [ "$status" -eq 0 ]
}

@test "many who want the same blob are one fetch, and all get it while it comes" {
  upstream
  head -c 30000000 /dev/urandom >"$TEST_ROOT/big"
  push_blob $U/a "$TEST_ROOT/big"
  cache
  local digest i
  digest=$(digest_of "$TEST_ROOT/big")
  for i in 1 2 3 4 5 6 7 8; do
    curl -s -o "$TEST_ROOT/got$i" "$C/a/blobs/$digest" 3>&- &
  done
  wait $(jobs -p | tail -n 8)
  for i in 1 2 3 4 5 6 7 8; do cmp "$TEST_ROOT/got$i" "$TEST_ROOT/big"; done
  [ "$(asked "GET /v2/a/blobs/$digest")" -eq 1 ]
  rm "$TEST_ROOT"/got* "$TEST_ROOT/big"
}

@test "a client that goes away does not end the fetch" {
  upstream
  head -c 20000000 /dev/urandom >"$TEST_ROOT/big"
  push_blob $U/a "$TEST_ROOT/big"
  cache
  local digest
  digest=$(digest_of "$TEST_ROOT/big")
  curl -s -m 0.05 --limit-rate 1000 -o /dev/null "$C/a/blobs/$digest" || true
  eventually 10 test -e "$TEST_ROOT/cache/repositories/a/_blobs/sha256-${digest#sha256:}"
  [ "$(curl -s "$C/a/blobs/$digest" | sha)" = "${digest#sha256:}" ]
  [ "$(asked "GET /v2/a/blobs/$digest")" -eq 1 ]
}

@test "a tag is asked about again when its time is over, and what moved is fetched" {
  upstream
  local first second
  first=$(push_image $U/a v1)
  cache --cache-ttl 1ms
  wants 200 -H "$ACCEPT" $C/a/manifests/v1
  wants 200 -H "$ACCEPT" $C/a/manifests/v1
  [ "$(asked '"GET /v2/a/manifests/v1" 304')" -eq 1 ] # it had not moved
  echo other >"$TEST_ROOT/other"
  push_blob $U/a "$TEST_ROOT/other"
  curl -s -H "$ACCEPT" $U/a/manifests/v1 | sed 's/"layers"/"annotations":{"n":"2"},"layers"/' >"$TEST_ROOT/manifest"
  wants 201 -X PUT --data-binary "@$TEST_ROOT/manifest" -H "Content-Type: $OCI_MANIFEST" $U/a/manifests/v1
  second=$(digest_of "$TEST_ROOT/manifest")
  wants 200 -H "$ACCEPT" $C/a/manifests/v1
  [ "sha256:$(sha <"$TEST_ROOT/body")" = "$second" ]
  wants 202 -X DELETE "$U/a/manifests/$second"
  wants 404 -H "$ACCEPT" $C/a/manifests/v1
  [ "$first" != "$second" ]
}

@test "when the upstream is down, what is here is served as stale, and what is not is 502" {
  upstream
  push_image $U/a v1
  cache --cache-ttl 1ms
  wants 200 -H "$ACCEPT" $C/a/manifests/v1
  registry_stop upstream KILL
  run curl -s -D - -o /dev/null -H "$ACCEPT" $C/a/manifests/v1
  [[ "$output" == *"200 OK"*"Warning: 110"* ]]
  wants 502 -H "$ACCEPT" $C/a/manifests/v2
  wants 502 "$C/a/blobs/sha256:$(echo nothing | sha)"
  [ "$(curl -s $C/a/tags/list | jq -c .tags)" = '["v1"]' ]
}

@test "an upstream that hangs is given up after its time" {
  background hanging /usr/bin/python3 -c 'import socket, time
s = socket.create_server(("127.0.0.1", 5000), backlog=50)
kept = []
while True: kept.append(s.accept())'
  cache --upstream-timeout 300ms
  eventually 5 wants 502 -m 5 -H "$ACCEPT" $C/a/manifests/v1
}

@test "content of another digest is neither served whole nor kept" {
  # Says it has the blob, and sends something else.
  background liar /usr/bin/python3 -c 'import http.server
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        data = b"x" * 100000
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
http.server.ThreadingHTTPServer(("127.0.0.1", 5000), H).serve_forever()'
  cache
  local digest
  digest=sha256:$(echo wanted | sha)
  eventually 5 wants 200 http://127.0.0.1:5000/
  run curl -s -f -o "$TEST_ROOT/got" "$C/a/blobs/$digest"
  [ "$status" -ne 0 ]
  [ "$(find "$TEST_ROOT/cache/blobs" "$TEST_ROOT/cache/uploads" -type f | wc -l)" -eq 0 ]
  wants 502 -H "$ACCEPT" "$C/a/manifests/$digest"
}

@test "the cache logs in to its upstream, with a token or a password, and clients need not" {
  local way
  for way in htpasswd token; do
    rm -rf "$TEST_ROOT/upstream" "$TEST_ROOT/cache"
    if [ $way = token ]; then
      upstream --auth token --token-endpoint --htpasswd "$TEST_ROOT/htpasswd"
      registry_stop upstream # filled without users
      upstream
      push_image $U/a v1
      registry_stop upstream
      upstream --auth token --token-endpoint --htpasswd "$TEST_ROOT/htpasswd"
    else
      upstream --auth htpasswd --htpasswd "$TEST_ROOT/htpasswd"
      push_image $U/a v1 -u cache:secret
    fi
    wants 401 $U/a/tags/list
    cache --upstream-username cache --upstream-password-file "$TEST_ROOT/password"
    wants 200 -H "$ACCEPT" $C/a/manifests/v1
    wants 200 "$C/a/blobs/$(layer_of $C/a/manifests/v1)"
    [ "$(curl -s $C/a/tags/list | jq -c .tags)" = '["v1"]' ]
    registry_stop cache
    registry_stop upstream
  done
}

@test "a cache takes no pushes" {
  upstream
  cache
  wants 405 -X POST $C/a/blobs/uploads/
  [ "$(jq -r .errors[0].code "$TEST_ROOT/body")" = UNSUPPORTED ]
}

@test "a full cache gives up what was used longest ago" {
  upstream
  local i
  for i in 1 2 3 4; do
    head -c 300000 /dev/urandom >"$TEST_ROOT/blob$i"
    push_blob $U/a "$TEST_ROOT/blob$i"
  done
  cache --quota-total 1m --gc-grace 0
  for i in 1 2 3; do
    wants 200 "$C/a/blobs/$(digest_of "$TEST_ROOT/blob$i")"
    touch -d "$((10 - i)) hours ago" "$TEST_ROOT"/cache/blobs/sha256/*/"$(sha <"$TEST_ROOT/blob$i")"
  done
  registry_stop cache
  cache --quota-total 950000 --gc-grace 1h
  "$GANTRY_REGISTRY" gc --root "$TEST_ROOT/cache"
  [ ! -e "$TEST_ROOT/cache/repositories/a/_blobs/sha256-$(sha <"$TEST_ROOT/blob1")" ]
  [ -e "$TEST_ROOT/cache/repositories/a/_blobs/sha256-$(sha <"$TEST_ROOT/blob3")" ]
  wants 200 "$C/a/blobs/$(digest_of "$TEST_ROOT/blob4")"
  # Also without being told: what comes in needs room.
  wants 200 "$C/a/blobs/$(digest_of "$TEST_ROOT/blob1")"
  wants 200 "$C/a/blobs/$(digest_of "$TEST_ROOT/blob2")"
  head -c 2000000 /dev/urandom >"$TEST_ROOT/huge"
  push_blob $U/a "$TEST_ROOT/huge"
  wants 507 "$C/a/blobs/$(digest_of "$TEST_ROOT/huge")"
  body | grep -q 'the cache is full'
}
