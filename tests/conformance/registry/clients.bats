#!/usr/bin/env bats
# The clients that people have: skopeo, podman and docker, of Debian's packages, unpacked into build/peers
# (tests/conformance/engines/peers), against gantry-registry.

load helper

setup_file() {
  registry_setup
  PEERS=$REPOSITORY/build/peers
  if [ ! -x "$PEERS/usr/bin/skopeo" ] && ! "$REPOSITORY/tests/conformance/engines/peers" >&2; then
    export MISSING="the clients of Debian's packages cannot be had (tests/conformance/engines/peers)"
    return
  fi
  mount -t tmpfs -o mode=755 run /run
  mount -t overlay -o "ro,lowerdir=$PEERS/usr:/usr" overlay /usr || skip "an overlay cannot be mounted over /usr here"
  cd "$TEST_ROOT" || return
  mkdir -p containers home/.config
  ln -s ../../containers home/.config/containers
  echo '{"default":[{"type":"insecureAcceptAnything"}]}' >containers/policy.json
  fixture_image "$TEST_ROOT/busybox.tar" --busybox --gzip --name busybox:latest
  { for user in alice bob; do echo "secret-$user" | "$GANTRY_REGISTRY" htpasswd "$user" 4; done; } >htpasswd
  printf 'allow user alice team/** push delete\nallow anonymous team/public pull\n' >rights
}
teardown_file() {
  umount -R "$TEST_ROOT/docker" 2>/dev/null || true
  umount /usr /run 2>/dev/null || true
  registry_teardown
}

setup() { [ -z "${MISSING:-}" ] || skip "$MISSING"; }

R=127.0.0.1:5000
bounded() { timeout -k 5 --foreground 100 "$@"; }
skopeo() { bounded /usr/bin/skopeo --policy "$TEST_ROOT/containers/policy.json" "$@"; }
with_users() { # token authentication with the registry's own endpoint
  registry main 5000 --auth token --token-endpoint --htpasswd "$TEST_ROOT/htpasswd" --rights "$TEST_ROOT/rights" --delete
}

@test "skopeo copies in and out, inspects, lists and deletes" {
  registry main 5000 --delete
  skopeo copy --dest-tls-verify=false "docker-archive:$TEST_ROOT/busybox.tar" docker://$R/a/busybox:v1
  skopeo copy --dest-tls-verify=false --format oci "docker-archive:$TEST_ROOT/busybox.tar" docker://$R/a/busybox:oci
  [ "$(skopeo inspect --tls-verify=false --format '{{.Os}}' docker://$R/a/busybox:v1)" = linux ]
  [ "$(skopeo list-tags --tls-verify=false docker://$R/a/busybox | jq -c .Tags)" = '["oci","v1"]' ]
  skopeo copy --src-tls-verify=false docker://$R/a/busybox:v1 "oci:$TEST_ROOT/out:v1"
  skopeo copy --src-tls-verify=false --dest-tls-verify=false docker://$R/a/busybox:v1 docker://$R/b/busybox:v1
  grep -q '"POST /v2/b/busybox/blobs/uploads/?from=a%2Fbusybox&mount=[^"]*" 201' "$TEST_ROOT/main.log"
  skopeo delete --tls-verify=false docker://$R/a/busybox:v1
  run skopeo inspect --tls-verify=false docker://$R/a/busybox:v1
  [ "$status" -ne 0 ]
  [[ "$output" == *"manifest unknown"* ]]
  registry_stop main
  run check_store main
  [ "$status" -eq 0 ]
}

@test "skopeo logs in with a token, and may what the rights say" {
  with_users
  skopeo copy --dest-tls-verify=false --dest-creds alice:secret-alice "docker-archive:$TEST_ROOT/busybox.tar" docker://$R/team/private:v1
  skopeo copy --dest-tls-verify=false --dest-creds alice:secret-alice "docker-archive:$TEST_ROOT/busybox.tar" docker://$R/team/public:v1
  skopeo inspect --tls-verify=false docker://$R/team/public:v1 >/dev/null
  run skopeo inspect --tls-verify=false docker://$R/team/private:v1
  [ "$status" -ne 0 ]
  run skopeo copy --dest-tls-verify=false --dest-creds bob:secret-bob "docker-archive:$TEST_ROOT/busybox.tar" docker://$R/team/private:v2
  [ "$status" -ne 0 ]
  run skopeo copy --dest-tls-verify=false --dest-creds alice:wrong "docker-archive:$TEST_ROOT/busybox.tar" docker://$R/team/private:v2
  [ "$status" -ne 0 ]
  skopeo delete --tls-verify=false --creds alice:secret-alice docker://$R/team/private:v1
}

@test "skopeo speaks to it over TLS, and through a cache" {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=registry \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$TEST_ROOT/key.pem" -out "$TEST_ROOT/ca.crt" 2>/dev/null
  mkdir -p "$TEST_ROOT/certs"
  cp "$TEST_ROOT/ca.crt" "$TEST_ROOT/certs/"
  registry main 5000 --tls-certificate "$TEST_ROOT/ca.crt" --tls-key "$TEST_ROOT/key.pem"
  skopeo copy --dest-cert-dir "$TEST_ROOT/certs" "docker-archive:$TEST_ROOT/busybox.tar" docker://$R/a:v1
  skopeo inspect --cert-dir "$TEST_ROOT/certs" docker://$R/a:v1 >/dev/null
  registry_stop main
  registry main 5000
  registry cache 5001 --upstream http://$R
  skopeo copy --src-tls-verify=false docker://127.0.0.1:5001/a:v1 "oci:$TEST_ROOT/cached:v1"
  registry_stop main
  skopeo copy --src-tls-verify=false docker://127.0.0.1:5001/a:v1 "oci:$TEST_ROOT/again:v1"
}

podman() {
  HOME=$TEST_ROOT/home bounded /usr/bin/podman --root "$TEST_ROOT/podman" --runroot "$TEST_ROOT/podman-run" \
    --storage-driver vfs --cgroup-manager cgroupfs --log-level error "$@" 2>&1
}

@test "podman logs in, pushes and pulls" {
  with_users
  export REGISTRY_AUTH_FILE=$TEST_ROOT/auth.json
  podman load -i "$TEST_ROOT/busybox.tar"
  podman tag localhost/busybox:latest $R/team/podman:v1
  run podman login --tls-verify=false -u alice -p wrong $R
  [ "$status" -ne 0 ]
  podman login --tls-verify=false -u alice -p secret-alice $R
  podman push --tls-verify=false $R/team/podman:v1
  podman rmi -f $R/team/podman:v1
  podman pull --tls-verify=false $R/team/podman:v1
  podman rmi -fa
  podman logout $R
  run podman pull --tls-verify=false $R/team/podman:v1
  [ "$status" -ne 0 ]
}

@test "docker logs in, pushes and pulls, and mounts what is there" {
  with_users
  export DOCKER_HOST=unix://$TEST_ROOT/docker.sock DOCKER_CONFIG=$TEST_ROOT/docker-config
  mkdir -p "$DOCKER_CONFIG"
  background dockerd /usr/sbin/dockerd --data-root "$TEST_ROOT/docker" --exec-root "$TEST_ROOT/docker-exec" -H "$DOCKER_HOST" \
    -p "$TEST_ROOT/dockerd.pidfile" --bridge none --iptables=false --storage-driver vfs
  eventually 30 docker_answers
  bounded /usr/bin/docker load -q -i "$TEST_ROOT/busybox.tar"
  bounded /usr/bin/docker tag busybox $R/team/docker:v1
  run bounded /usr/bin/docker push $R/team/docker:v1
  [ "$status" -ne 0 ]
  bounded /usr/bin/docker login -u alice --password-stdin $R <<<secret-alice
  bounded /usr/bin/docker push $R/team/docker:v1
  bounded /usr/bin/docker tag busybox $R/team/docker2:v1
  run bounded /usr/bin/docker push $R/team/docker2:v1
  [[ "$output" == *"Mounted from team/docker"* ]]
  bounded /usr/bin/docker rmi -f $R/team/docker:v1 $R/team/docker2:v1 busybox
  bounded /usr/bin/docker pull $R/team/docker:v1
  [ "$(bounded /usr/bin/docker manifest inspect --insecure $R/team/docker:v1 | jq .schemaVersion)" = 2 ]
  registry_stop dockerd
}
docker_answers() { bounded /usr/bin/docker version >/dev/null; }
