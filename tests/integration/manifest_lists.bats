#!/usr/bin/env bats
# `gantry manifest` beside `docker manifest`: what they print, what they keep (in each other's form), and what they push, with
# gantry-registry and Debian's docker-registry. No daemon is asked.
load ../lib/common
load ../lib/registry

setup_file() {
  on_engine gantry || return 0
  engine_root
}
teardown_file() { ! on_engine gantry || rm -rf "${TEST_ROOT:?}"; }
setup() {
  on_engine gantry || skip "it is about Gantry's own client"
  mkdir -p "$TEST_ROOT/gantry" "$TEST_ROOT/docker"
}
teardown() {
  registries_stop
  rm -rf "$TEST_ROOT/registries" "$TEST_ROOT/gantry" "$TEST_ROOT/docker"
}

R=127.0.0.1:5011
gantry() { DOCKER_CONFIG=$TEST_ROOT/gantry timeout -k 2 30 "$GANTRY_BUILD/bin/gantry" -H unix:///nowhere manifest "$@"; }
docker() { DOCKER_CONFIG=$TEST_ROOT/docker timeout -k 2 30 "$DOCKER" -H unix:///nowhere manifest "$@"; }
push_image() { /usr/bin/python3 "$REPOSITORY/tests/lib/push_image.py" "$@"; }
kept() { (cd "$TEST_ROOT/$1/manifests" && find . -type f | sort); } # CLIENT

# same COMMAND…: both clients print the same and end the same; what `run` leaves is of gantry.
same() {
  local theirs=0 said
  if [ -n "$DOCKER" ]; then said=$(docker "$@" 2>&1) || theirs=$?; fi
  run gantry "$@"
  [ -n "$DOCKER" ] || return 0
  assert_equal "$output" "$said"
  assert_equal "$status" "$theirs"
}
# The same lists are kept, in files that mean the same.
same_store() {
  local file
  [ -n "$DOCKER" ] || return 0
  assert_equal "$(kept gantry)" "$(kept docker)"
  for file in $(kept gantry); do
    assert_equal "$(jq -S . "$TEST_ROOT/gantry/manifests/$file")" "$(jq -S . "$TEST_ROOT/docker/manifests/$file")"
  done
}

images() { # three platforms, two forms
  amd=$(push_image $R a/app amd linux/amd64 docker)
  arm=$(push_image $R a/app arm linux/arm64/v8 docker)
  oci=$(push_image $R b/other riscv linux/riscv64 oci)
}

a_life() {
  images
  same create --insecure $R/a/app:1 $R/a/app:amd "$R/a/app@$arm"
  assert_success
  assert_output "Created manifest list $R/a/app:1"
  same_store
  same create --insecure $R/a/app:1 $R/a/app:amd
  assert_failure 1
  assert_output "refusing to amend an existing manifest list with no --amend flag"
  same create --insecure -a $R/a/app:1 $R/b/other:riscv
  assert_success
  same annotate $R/a/app:1 $R/a/app:amd --os-version 10.1 --os-features sse4,aes --os-features aes --variant v3
  assert_success
  same annotate --os windows --arch amd64 $R/a/app:1 $R/b/other:riscv
  assert_success
  same_store
  same annotate --arch vax $R/a/app:1 $R/a/app:amd
  assert_failure 1
  same_store
  same inspect $R/a/app:1
  assert_success
  assert_equal "$(jq -c '.manifests[] | select(.platform["os.version"]) | .platform' <<<"$output")" \
    '{"architecture":"amd64","os":"linux","os.version":"10.1","os.features":["sse4","aes"],"variant":"v3"}'
  same inspect -v $R/a/app:1
  assert_success
  same inspect $R/a/app:1 $R/a/app:amd
  same inspect -v $R/a/app:1 $R/b/other:riscv
  assert_success
  same push --insecure $R/a/app:1
  assert_success
  assert_line -n 0 --partial "Pushed ref $R/a/app@$oci with digest: $oci"
  digest=${lines[1]}
  assert_equal "$(curl -s "http://$R/v2/a/app/manifests/1" -H "Accept: $LIST" | sha256sum | cut -d' ' -f1)" "${digest#sha256:}"
  assert_equal "$(curl -s "http://$R/v2/a/app/manifests/1" -H "Accept: $LIST" | jq '.manifests | length')" 3
  curl -sfo /dev/null "http://$R/v2/a/app/manifests/$oci" -H "Accept: application/vnd.oci.image.manifest.v1+json"
  same push --insecure --purge $R/a/app:1
  assert_success
  assert_equal "$(kept gantry)" ""
  # What is in the registry now, and not here.
  same inspect --insecure $R/a/app:1
  assert_success
  same inspect --insecure -v $R/a/app:1
  assert_success
  same inspect --insecure $R/b/other:riscv
  same inspect --insecure -v "$R/a/app@$amd"
  assert_success
  assert_equal "$(jq -r .Descriptor.platform.architecture <<<"$output")" amd64
}
LIST=application/vnd.docker.distribution.manifest.list.v2+json

@test "a list is made, changed, shown, pushed and forgotten as by docker, with gantry-registry" {
  gantry_registry main 5011
  a_life
}

@test "the same with docker-registry" {
  docker_registry_program >/dev/null || skip "there is no docker-registry"
  docker_registry main 5011
  a_life
}

@test "a list of OCI manifests is an OCI index, and a list may be pushed by its digest's name alone" {
  gantry_registry main 5011
  push_image $R o/x one linux/amd64 oci
  push_image $R o/x two linux/arm64 oci
  same create --insecure $R/o/x $R/o/x:one $R/o/x:two
  assert_output "Created manifest list $R/o/x:latest"
  same push --insecure $R/o/x
  assert_success
  assert_equal "$(curl -s "http://$R/v2/o/x/manifests/latest" -H 'Accept: application/vnd.oci.image.index.v1+json' | jq -r .mediaType)" \
    application/vnd.oci.image.index.v1+json
}

@test "each goes on with what the other began" {
  [ -n "$DOCKER" ] || skip "there is no docker client"
  gantry_registry main 5011
  images
  docker create --insecure $R/a/app:2 $R/a/app:amd
  mv "$TEST_ROOT/docker/manifests" "$TEST_ROOT/gantry/manifests"
  gantry create --insecure --amend $R/a/app:2 $R/a/app:arm
  gantry annotate --variant v9 $R/a/app:2 $R/a/app:arm
  mv "$TEST_ROOT/gantry/manifests" "$TEST_ROOT/docker/manifests"
  docker annotate --os-version 7 $R/a/app:2 $R/a/app:amd
  cp -r "$TEST_ROOT/docker/manifests" "$TEST_ROOT/gantry/manifests"
  same push --insecure $R/a/app:2
  assert_success
  same inspect -v $R/a/app:2
}

@test "what is wrong is said as docker says it, and nothing is kept of it" {
  gantry_registry main 5011
  images
  same create --insecure $R/a/app:3 $R/a/app:nope
  assert_failure 1
  assert_output "no such manifest: $R/a/app:nope"
  same create $R/a/App:3 $R/a/app:amd
  assert_failure 1
  same inspect --insecure $R/nothing/here
  assert_output "no such manifest: $R/nothing/here:latest"
  same inspect $R/a/app:3 $R/a/app:amd
  assert_failure 1
  same push --insecure $R/a/app:3
  assert_failure 1
  same annotate $R/a/app:3 $R/a/app:amd --variant v1
  assert_output "manifest for image $R/a/app:amd does not exist in $R/a/app:3"
  same rm $R/a/app:3 $R/a/App
  assert_failure 1
  [ ! -e "$TEST_ROOT/gantry/manifests" ] || assert_equal "$(kept gantry)" ""
  # A list of the images of another registry.
  same create --insecure 127.0.0.1:5012/a/app:1 $R/a/app:amd
  same inspect 127.0.0.1:5012/a/app:1
  same push --insecure 127.0.0.1:5012/a/app:1
  assert_failure 1
  assert_output "cannot use source images from a different registry than the target image: $R != 127.0.0.1:5012"
  run gantry inspect --insecure 127.0.0.1:1/x
  assert_failure 1
  assert_output --partial "connection refused"
  assert_equal "${#lines[@]}" 1
}

@test "several lists are removed at once" {
  gantry_registry main 5011
  images
  for tag in 1 2; do same create --insecure $R/a/app:$tag $R/a/app:amd; done
  same rm $R/a/app:1 $R/a/app:2
  assert_success
  assert_equal "$(kept gantry)" ""
}

@test "a file that was changed by hand is not pushed as what it says it is" {
  gantry_registry main 5011
  images
  gantry create --insecure $R/c/app:1 $R/a/app:amd
  file=$TEST_ROOT/gantry/manifests/$(kept gantry)
  jq -c ".Raw = \"$(base64 -w0 <<<'{"schemaVersion": 2}')\"" "$file" >"$file.new"
  mv "$file.new" "$file"
  run gantry push --insecure $R/c/app:1
  assert_failure 1
  assert_output --partial "internal digest mismatch for $R/a/app:amd: expected $amd, got sha256:"
  curl -sfo /dev/null "http://$R/v2/c/app/manifests/1" && false
  echo noise >"$file"
  run gantry inspect $R/c/app:1
  assert_failure 1
}

@test "credentials are those of config.json" {
  echo word-of-me | "$GANTRY_BUILD/bin/gantry-registry" htpasswd me 4 >"$TEST_ROOT/htpasswd"
  gantry_registry main 5011 --auth htpasswd --htpasswd "$TEST_ROOT/htpasswd"
  push_image $R a/app amd linux/amd64 docker me:word-of-me
  same create --insecure $R/a/app:1 $R/a/app:amd
  assert_failure 1
  for client in gantry docker; do
    jq -n --arg auth "$(echo -n me:word-of-me | base64)" "{auths: {\"$R\": {auth: \$auth}}}" >"$TEST_ROOT/$client/config.json"
  done
  same create --insecure $R/a/app:1 $R/a/app:amd
  assert_success
  same push --insecure $R/a/app:1
  assert_success
}
