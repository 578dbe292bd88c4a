#!/usr/bin/env bats
# Pull, push, login, logout and search with `gantry` and `docker` through the daemon, against gantry-registry and Debian's
# docker-registry; what they hold for skopeo and podman; certificates, users, tokens, plain registries, mirrors. Skips what needs
# Debian's programs where neither they nor build/peers (tests/conformance/engines/peers) are there.
load ../lib/common
load ../lib/registry

PLAIN=192.0.2.7 # an address of this test's own, that is not loopback

setup_file() {
  on_engine gantry || return 0
  [ -n "${GANTRY_ISOLATE_TMP:-}" ] || return 0
  need_client
  ip address add $PLAIN/32 dev lo
  engine_root
  if [ -e "$PEERS/.packages" ]; then
    mount -t tmpfs -o mode=755 run /run
    mount -t overlay -o "ro,lowerdir=$PEERS/usr:/usr" overlay /usr || true
  fi
  leaks_snapshot "$TEST_ROOT/before"
  certificates
  echo word-of-me | "$GANTRY_BUILD/bin/gantry-registry" htpasswd me 4 >"$TEST_ROOT/htpasswd"
  fixture_image "$TEST_ROOT/image.tar" --busybox --gzip --file readme=one --name made:1
  engine_start main --certs-dir "$TEST_ROOT/certs.d" --registry-mirror "$PLAIN:5003=http://127.0.0.1:5004" \
    --insecure-registry "$PLAIN:5003"
}
teardown_file() {
  [ -n "${TEST_ROOT:-}" ] || return 0
  usual_teardown_file
  umount /usr /run 2>/dev/null || true
  ip address del $PLAIN/32 dev lo
}
setup() {
  on_engine gantry || skip "it is about Gantry's own transfers"
  [ -n "${GANTRY_ISOLATE_TMP:-}" ] || skip "needs tests/isolate"
  gantry load -q -i "$TEST_ROOT/image.tar" >/dev/null
}
teardown() {
  usual_teardown
  registries_stop
  gantry images -q --no-trunc | sort -u | while read -r image; do gantry rmi -f "$image" >/dev/null; done
  rm -rf "$TEST_ROOT/registries" "$DOCKER_CONFIG/config.json"
}

gantry() { timeout -k 2 60 "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" "$@"; }
docker() { timeout -k 2 60 "$DOCKER" -H "unix://$(engine_socket)" "$@"; }
each_client() { # COMMAND…: with either client as `client`
  local CLIENT
  for CLIENT in gantry docker; do
    [ "$CLIENT" = gantry ] || [ -n "$DOCKER" ] || continue
    "$@" || {
      echo "with the client $CLIENT" >&2
      return 1
    }
  done
}
manifest_digest() { curl -sI "$@" -H "Accept: $TYPES" | tr -d '\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: //p'; }
TYPES=application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.manifest.v1+json,application/vnd.oci.image.index.v1+json
podman() {
  HOME=$TEST_ROOT timeout -k 2 60 env -u DOCKER_CONFIG /usr/bin/podman --root "$TEST_ROOT/podman" --runroot "$TEST_ROOT/podman-run" --storage-driver vfs \
    --cgroup-manager cgroupfs --log-level error "$@"
}
skopeo() { timeout -k 2 60 /usr/bin/skopeo --insecure-policy "$@"; }

# An authority, a registry's certificate for 127.0.0.1, and a client's.
certificates() {
  local dir=$TEST_ROOT/pki
  mkdir -p "$dir" "$TEST_ROOT/certs.d/127.0.0.1:5001" "$TEST_ROOT/certs.d/127.0.0.1:5002"
  (
    cd "$dir"
    exec 2>/dev/null
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=authority" -keyout ca.key -out ca.crt
    for name in server client; do
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout $name.key -out $name.csr
      openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out $name.crt \
        -extfile <(echo "subjectAltName=IP:127.0.0.1,IP:$PLAIN")
    done
  )
  cp "$dir/ca.crt" "$TEST_ROOT/certs.d/127.0.0.1:5001/ca.crt"
  cp "$dir/ca.crt" "$TEST_ROOT/certs.d/127.0.0.1:5002/ca.crt"
  cp "$dir/client.crt" "$TEST_ROOT/certs.d/127.0.0.1:5002/client.cert"
  cp "$dir/client.key" "$TEST_ROOT/certs.d/127.0.0.1:5002/client.key"
}

# with_users SERVER PORT: over TLS, for the user `me`.
with_users() {
  local server=$1 port=$2 pki=$TEST_ROOT/pki
  if [ "$server" = gantry ]; then
    gantry_registry "$server" "$port" --auth htpasswd --htpasswd "$TEST_ROOT/htpasswd" --tls-certificate "$pki/server.crt" --tls-key "$pki/server.key"
  else
    docker_registry "$server" "$port" "http: {addr: '127.0.0.1:$port', tls: {certificate: $pki/server.crt, key: $pki/server.key}}" \
      "auth: {htpasswd: {realm: here, path: $TEST_ROOT/htpasswd}}"
  fi
}

login_push_pull() { # SERVER
  local image=127.0.0.1:5001/t/$1-$CLIENT:1
  gantry tag made:1 "$image"
  run client push "$image"
  assert_failure
  assert_output --regexp "no basic auth credentials|unauthorized|authentication required"
  run bash -c "echo wrong | timeout 30 '$(client_program)' -H 'unix://$(engine_socket)' login -u me --password-stdin 127.0.0.1:5001"
  assert_failure
  assert_output --partial "unauthorized"
  [ ! -e "$DOCKER_CONFIG/config.json" ] || assert_equal "$(jq '.auths // {} | length' "$DOCKER_CONFIG/config.json")" 0
  client login -u me --password-stdin 127.0.0.1:5001 <<<word-of-me
  run client push "$image"
  assert_success
  digest=$(sed -n 's/.*digest: \(sha256:[0-9a-f]*\) .*/\1/p' <<<"$output")
  assert_equal "$(manifest_digest -u me:word-of-me --cacert "$TEST_ROOT/pki/ca.crt" "https://127.0.0.1:5001/v2/t/$1-$CLIENT/manifests/1")" "$digest"
  client rmi -f "$image"
  run client pull "$image"
  assert_success
  assert_output --partial "Digest: $digest"
  client logout 127.0.0.1:5001
  client rmi -f "$image"
  run client pull "$image"
  assert_failure
  assert_equal "$(gantry images -q "$image")" ""
}

@test "gantry-registry over TLS with users: login, push, pull, logout, and what is refused" {
  with_users gantry 5001
  each_client login_push_pull gantry
}

@test "docker-registry over TLS with users: the same" {
  docker_registry_program >/dev/null || skip "there is no docker-registry"
  with_users docker 5001
  each_client login_push_pull docker
}

@test "an unknown authority is refused; a client's certificate is shown where one lies for it" {
  pki=$TEST_ROOT/pki
  gantry_registry gantry $PLAIN:5005 --tls-certificate "$pki/server.crt" --tls-key "$pki/server.key"
  run gantry pull $PLAIN:5005/t/x
  assert_failure
  assert_output --partial "certificate signed by unknown authority"
  registry_stop gantry
  mutual() {
    gantry_registry mutual 5002 --tls-certificate "$pki/server.crt" --tls-key "$pki/server.key" --tls-client-ca "$pki/ca.crt" \
      --tls-client-required
  }
  mutual
  gantry tag made:1 127.0.0.1:5002/t/mutual:1
  gantry push -q 127.0.0.1:5002/t/mutual:1
  mv "$TEST_ROOT/certs.d/127.0.0.1:5002/client.cert" "$TEST_ROOT/kept.cert"
  registry_stop mutual # what was connected before stays so
  mutual
  run gantry pull 127.0.0.1:5002/t/mutual:1
  mv "$TEST_ROOT/kept.cert" "$TEST_ROOT/certs.d/127.0.0.1:5002/client.cert"
  assert_failure
  assert_output --partial "client.key"
}

@test "token authentication: each is given what the rights say" {
  printf 'allow user me team/** push\nallow anonymous team/public pull\n' >"$TEST_ROOT/rights"
  gantry_registry gantry 5006 --auth token --token-endpoint --htpasswd "$TEST_ROOT/htpasswd" --rights "$TEST_ROOT/rights"
  R=127.0.0.1:5006
  for name in team/public team/private other/x; do gantry tag made:1 $R/$name:1; done
  client login -u me --password-stdin $R <<<word-of-me
  each_client client push $R/team/public:1
  client push $R/team/private:1
  run client push $R/other/x:1
  assert_failure
  assert_output --partial "unauthorized: authentication required"
  client logout $R
  gantry rmi -f $R/team/public:1 $R/team/private:1 >/dev/null
  each_client client pull $R/team/public:1
  run client pull $R/team/private:1
  assert_failure
}

@test "a plain registry that is not on loopback is refused, unless it is named as insecure" {
  gantry_registry plain $PLAIN:5007
  gantry tag made:1 $PLAIN:5007/t/plain:1
  run gantry push $PLAIN:5007/t/plain:1
  assert_failure
  assert_output --partial "server gave HTTP response to HTTPS client"
  engine_start second --bridge none --insecure-registry 192.0.2.0/24
  ENGINE_NAME=second gantry load -q -i "$TEST_ROOT/image.tar"
  ENGINE_NAME=second gantry tag made:1 $PLAIN:5007/t/plain:1
  ENGINE_NAME=second gantry push -q $PLAIN:5007/t/plain:1
  ENGINE_NAME=second gantry pull -q $PLAIN:5007/t/plain:1
  engine_stop second
}

@test "a mirror is asked first and without the origin's credentials, and the image keeps the name that was typed" {
  gantry_registry origin $PLAIN:5003 --auth htpasswd --htpasswd "$TEST_ROOT/htpasswd"
  gantry_registry mirror 5004
  gantry tag made:1 $PLAIN:5003/t/m:1
  gantry tag made:1 127.0.0.1:5004/t/m:1
  client login -u me --password-stdin $PLAIN:5003 <<<word-of-me
  gantry push -q $PLAIN:5003/t/m:1
  gantry push -q 127.0.0.1:5004/t/m:1
  gantry rmi -f made:1 $PLAIN:5003/t/m:1 127.0.0.1:5004/t/m:1 >/dev/null
  before=$(registry_log origin | wc -l)
  gantry pull $PLAIN:5003/t/m:1
  assert_equal "$(registry_log origin | wc -l)" "$before" # nobody asked it
  assert_equal "$(registry_log mirror | grep -c '"GET /v2/t/m/manifests')" 1
  run registry_log mirror
  refute_output --partial " me "
  assert_output --partial " - "
  assert_equal "$(gantry image inspect -f '{{range .RepoDigests}}{{.}} {{end}}' $PLAIN:5003/t/m:1 | sed 's/@.*//')" "$PLAIN:5003/t/m"
  # What the mirror has not, the origin gives, with the credentials that are its own.
  registry_forget mirror
  gantry_registry mirror 5004
  gantry rmi -f $PLAIN:5003/t/m:1 >/dev/null
  gantry pull -q $PLAIN:5003/t/m:1
}

@test "an image goes from registry to registry with its manifest unchanged, through the daemon and through skopeo and podman" {
  docker_registry_program >/dev/null || skip "there is no docker-registry"
  [ -x /usr/bin/skopeo ] || skip "there is no skopeo"
  docker_registry debian 5010
  gantry_registry ours 5011
  skopeo copy -q --dest-tls-verify=false "docker-archive:$TEST_ROOT/image.tar" docker://127.0.0.1:5010/a/image:1
  digest=$(manifest_digest http://127.0.0.1:5010/v2/a/image/manifests/1)
  gantry rmi -f made:1 >/dev/null
  gantry pull -q 127.0.0.1:5010/a/image:1
  gantry tag 127.0.0.1:5010/a/image:1 127.0.0.1:5011/b/image:2
  run client push 127.0.0.1:5011/b/image:2
  assert_success
  assert_output --partial "2: digest: $digest"
  assert_equal "$(manifest_digest http://127.0.0.1:5011/v2/b/image/manifests/2)" "$digest"
  # And back, by a daemon that has it from there.
  gantry rmi -f 127.0.0.1:5010/a/image:1 127.0.0.1:5011/b/image:2 >/dev/null
  gantry pull -q "127.0.0.1:5011/b/image@$digest"
  gantry tag "127.0.0.1:5011/b/image@$digest" 127.0.0.1:5010/c/image:3
  gantry push -q 127.0.0.1:5010/c/image:3
  assert_equal "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' docker://127.0.0.1:5010/c/image:3)" "$digest"
  mkdir -p "$TEST_ROOT/.config/containers"
  echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$TEST_ROOT/.config/containers/policy.json"
  podman pull -q --tls-verify=false 127.0.0.1:5011/b/image:2
  podman push -q --tls-verify=false 127.0.0.1:5011/b/image:2 127.0.0.1:5010/d/image:4
  podman rmi -f 127.0.0.1:5011/b/image:2
  gantry pull -q 127.0.0.1:5010/d/image:4
}

@test "of an index the platform that is asked for is pulled, and it says so when there is none" {
  [ -x /usr/bin/skopeo ] || skip "there is no skopeo"
  gantry_registry ours 5011
  layout=$BATS_TEST_TMPDIR/layout
  /usr/bin/python3 - "$layout" <<'PY'
import gzip, hashlib, io, json, os, sys, tarfile
root = sys.argv[1]
os.makedirs(root + "/blobs/sha256")
def put(data):
    name = hashlib.sha256(data).hexdigest()
    open(f"{root}/blobs/sha256/{name}", "wb").write(data)
    return {"digest": "sha256:" + name, "size": len(data)}
entries = []
for arch, variant in (("amd64", ""), ("arm64", ""), ("arm", "v6"), ("arm", "v7")):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as out:
        info = tarfile.TarInfo("arch")
        info.size = len(arch + variant)
        out.addfile(info, io.BytesIO((arch + variant).encode()))
    platform = {"architecture": arch, "os": "linux", **({"variant": variant} if variant else {})}
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **put(gzip.compress(tar.getvalue(), mtime=0))}
    config = put(json.dumps({**platform, "config": {}, "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar.getvalue()).hexdigest()]}}).encode())
    manifest = put(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [layer],
                               "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config}}).encode())
    entries.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest, "platform": platform})
index = put(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}).encode())
json.dump({"imageLayoutVersion": "1.0.0"}, open(root + "/oci-layout", "w"))
json.dump({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.index.v1+json", **index,
           "annotations": {"org.opencontainers.image.ref.name": "all"}}]}, open(root + "/index.json", "w"))
PY
  skopeo copy -q --all --dest-tls-verify=false "oci:$layout:all" docker://127.0.0.1:5011/t/index:1
  image=127.0.0.1:5011/t/index:1
  index=$(manifest_digest http://127.0.0.1:5011/v2/t/index/manifests/1)
  for platform in linux/amd64 linux/arm64 linux/arm/v6 linux/arm/v7; do
    run client pull --platform $platform $image
    assert_success
    assert_output --partial "Digest: $index"
    assert_equal "$(gantry image inspect $image | jq -r '.[0] | [.Os, .Architecture, .Variant // empty] | join("/")')" $platform
    # What the disk loses of it comes again for the same platform.
    layer=$(gantry graph show --format json $image | jq -r '.Nodes[] | select(.Kind == "layer").Key')
    rm -r "$(readlink -f "$(find "$(engine_dir)"/data/*/layers -name "${layer#sha256:}")")"
    gantry system check --repair
    assert_equal "$(gantry image inspect -f '{{.Architecture}}' $image)" "$(cut -d/ -f2 <<<$platform)"
  done
  run client pull --platform linux/s390x $image
  assert_failure
  assert_output --partial "no matching manifest for linux/s390x in the manifest list entries"
}

big_image() { # NAME: a layer of 24 MB that does not compress
  head -c 24000000 /dev/urandom >"$BATS_TEST_TMPDIR/data"
  tar -cf "$BATS_TEST_TMPDIR/root.tar" -C "$BATS_TEST_TMPDIR" data
  gantry import "$BATS_TEST_TMPDIR/root.tar" "$1" >/dev/null
}
no_jobs() { [ -z "$(gantry job ls -q --filter status=running)" ]; }
wait_a_part_of() { timeout "0.$((RANDOM % 300 + 10))" tail -f /dev/null || true; } # somewhere in it, each time elsewhere

@test "a daemon that is killed while it pushes goes on where the registry is, and both are whole" {
  gantry_registry ours 5011
  big_image 127.0.0.1:5011/t/killed:1
  for _ in 1 2 3; do
    gantry push 127.0.0.1:5011/t/killed:1 >/dev/null 2>&1 &
    push=$!
    wait_a_part_of
    engine_kill
    wait $push || true
    engine_start main --certs-dir "$TEST_ROOT/certs.d" --registry-mirror "$PLAIN:5003=http://127.0.0.1:5004" \
      --insecure-registry "$PLAIN:5003"
  done
  run gantry push 127.0.0.1:5011/t/killed:1
  assert_success
  gantry rmi -f 127.0.0.1:5011/t/killed:1 >/dev/null
  gantry pull -q 127.0.0.1:5011/t/killed:1
  run gantry system check --content
  assert_output "Everything is as it should be."
  registry_stop ours
  "$GANTRY_BUILD/bin/gantry-registry" check --root "$TEST_ROOT/registries/ours/store"
}

@test "a registry that is killed within a pull and within a push is waited for" {
  gantry_registry ours 5011
  big_image 127.0.0.1:5011/t/restarted:1
  for what in push pull; do
    gantry $what 127.0.0.1:5011/t/restarted:1 >"$BATS_TEST_TMPDIR/out" 2>&1 &
    pid=$!
    wait_a_part_of
    registry_stop ours KILL
    gantry_registry ours 5011
    wait $pid || { cat "$BATS_TEST_TMPDIR/out"; return 1; }
    [ $what = pull ] || gantry rmi -f 127.0.0.1:5011/t/restarted:1 >/dev/null
  done
}

@test "a client that goes away ends its pull or its push; the next begins where that was" {
  gantry_registry ours 5011
  big_image 127.0.0.1:5011/t/left:1
  for what in push pull; do
    for signal in KILL INT KILL; do
      gantry $what 127.0.0.1:5011/t/left:1 >/dev/null 2>&1 &
      pid=$!
      wait_a_part_of
      pkill -$signal -P $pid || kill -$signal $pid 2>/dev/null || true
      wait $pid || true
      eventually 10 no_jobs
    done
    run gantry $what 127.0.0.1:5011/t/left:1
    assert_success
    [ $what = pull ] || gantry rmi -f 127.0.0.1:5011/t/left:1 >/dev/null
  done
  run gantry system check
  assert_output "Everything is as it should be."
}

@test "search asks the index of the registry that is named" {
  setsid /usr/bin/python3 - >"$TEST_ROOT/port" 2>/dev/null 3>&- <<'PY' &
import http.server, json, urllib.parse
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        names = [n for n in ("team/busybox", "busybox", "busy") if query["q"][0] in n]
        body = json.dumps({"results": [{"name": n, "description": "of " + n, "star_count": len(n), "is_official": n == "busybox",
                                        "is_automated": False} for n in names]}).encode()
        self.send_response(200 if url.path == "/v1/search" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
PY
  pid=$!
  eventually 10 [ -s "$TEST_ROOT/port" ]
  R=127.0.0.1:$(cat "$TEST_ROOT/port")
  for CLIENT in gantry docker; do
    [ "$CLIENT" = gantry ] || [ -n "$DOCKER" ] || continue
    run client search "$R/busybox"
    assert_success
    assert_line --regexp "^NAME +DESCRIPTION +STARS +OFFICIAL"
    assert_line --regexp "^busybox +of busybox +7 +\[OK\]"
    assert_line --regexp "^team/busybox +of team/busybox +12 "
    run client search --filter is-official=true --format '{{.Name}}' "$R/busybox"
    assert_output busybox
  done
  kill $pid
}
