# gantry-registry, started on loopback ports of tests/isolate's own network namespace. Stopped by its pid.
#
#   tests/isolate bats tests/conformance/registry/store.bats

load ../../lib/common

GANTRY_REGISTRY=$GANTRY_BUILD/bin/gantry-registry
OCI_MANIFEST=application/vnd.oci.image.manifest.v1+json
HERE=$REPOSITORY/tests/conformance/registry
export OCI_MANIFEST HERE

registry_setup() {
  [ -n "${GANTRY_ISOLATE_TMP:-}" ] || skip "needs tests/isolate"
  [ -x "$GANTRY_REGISTRY" ] || {
    echo "there is no $GANTRY_REGISTRY: build it first (./dev build)" >&2
    return 1
  }
  TEST_ROOT=$(mktemp -d /tmp/gr.XXXXXX)
  export TEST_ROOT
}

# After each test: what it left running ends, the log of what it was about is shown when it failed, and the next one
# begins with empty stores.
teardown() {
  local pid
  for pid in "$TEST_ROOT"/*.pid; do
    [ -e "$pid" ] || continue
    [ -n "${BATS_TEST_COMPLETED:-}" ] || tail -n 5 "${pid%.pid}.log"
    registry_stop "$(basename "$pid" .pid)" KILL
  done
  for pid in "$TEST_ROOT"/*.log; do
    [ ! -e "$pid" ] || rm -rf "${pid%.log}" "$pid"
  done
}

registry_teardown() {
  [ -z "${TEST_ROOT:-}" ] || rm -rf "$TEST_ROOT"
}

# background NAME COMMAND…: with its log and pid below TEST_ROOT, and none of bats' descriptors.
background() {
  local name=$1
  shift
  setsid "$@" >>"$TEST_ROOT/$name.log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  echo $! >"$TEST_ROOT/$name.pid"
}

# registry NAME PORT FLAG…: serves $TEST_ROOT/NAME on that port of loopback.
registry() {
  local name=$1 port=$2
  shift 2
  background "$name" "$GANTRY_REGISTRY" serve --root "$TEST_ROOT/$name" --address "127.0.0.1:$port" "$@"
  eventually 10 answers "$name"
}
answers() { # its log says so, or it has ended
  kill -0 "$(registry_pid "$1")" && [ -S "$TEST_ROOT/$1/admin.sock" ] &&
    curl -sf --unix-socket "$TEST_ROOT/$1/admin.sock" http://registry/health >/dev/null
}
registry_pid() { cat "$TEST_ROOT/$1.pid"; }
registry_stop() { # NAME [SIGNAL]
  local pid
  pid=$(registry_pid "$1")
  kill -"${2:-TERM}" "$pid" 2>/dev/null || true
  eventually 40 process_gone "$pid"
  wait "$pid" 2>/dev/null || true
  rm -f "$TEST_ROOT/$1.pid"
}
log_of() { cat "$TEST_ROOT/$1.log"; }

sha() { sha256sum | cut -d' ' -f1; }
digest_of() { echo "sha256:$(sha <"$1")"; } # FILE

# status CURL-ARGUMENT…: the status of the answer only; its body is in $TEST_ROOT/body.
status_of() { curl -s -o "$TEST_ROOT/body" -w '%{http_code}' "$@" || true; }
# wants STATUS CURL-ARGUMENT…
wants() {
  local wanted=$1 got
  shift
  got=$(status_of "$@")
  [ "$got" = "$wanted" ] || {
    echo "wanted $wanted, got $got: curl $*: $(head -c 500 "$TEST_ROOT/body" | tr -cd '[:print:]')" >&2
    return 1
  }
}
body() { cat "$TEST_ROOT/body"; }

# push_blob URL/v2/NAME FILE [CURL-ARGUMENT…]
push_blob() {
  local url=$1 file=$2
  shift 2
  wants 201 "$@" -X POST --data-binary "@$file" -H 'Content-Type: application/octet-stream' \
    "$url/blobs/uploads/?digest=$(digest_of "$file")"
}

# push_image URL/v2/NAME TAG [CURL-ARGUMENT…]: one small image; its digest is printed.
push_image() {
  local url=$1 tag=$2 dir
  shift 2
  dir=$(mktemp -d "$TEST_ROOT/image.XXXXXX")
  echo "{\"for\":\"$url:$tag\"}" >"$dir/config"
  echo "layer of $url:$tag" >"$dir/layer"
  push_blob "$url" "$dir/config" "$@" || return
  push_blob "$url" "$dir/layer" "$@" || return
  printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%d}]}' \
    "$OCI_MANIFEST" "$(digest_of "$dir/config")" "$(stat -c %s "$dir/config")" \
    "$(digest_of "$dir/layer")" "$(stat -c %s "$dir/layer")" >"$dir/manifest"
  wants 201 "$@" -X PUT --data-binary "@$dir/manifest" -H "Content-Type: $OCI_MANIFEST" "$url/manifests/$tag" || return
  digest_of "$dir/manifest"
  rm -r "$dir"
}

check_store() { "$GANTRY_REGISTRY" check --root "$TEST_ROOT/$1" "${@:2}"; } # NAME [FLAG…]
