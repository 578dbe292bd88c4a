#!/usr/bin/env bats
# `gantry system check --repair` fetches what the disk has lost, or what was damaged, from where it came from.
load ../lib/common
load ../lib/registry

setup_file() {
  on_engine gantry || return 0
  usual_setup_file
  fixture_image "$TEST_ROOT/one.tar" --busybox --gzip --file readme=one --name source:1
}
teardown_file() { on_engine gantry && usual_teardown_file; }
setup() {
  on_engine gantry || skip "Docker has no such command"
  data=$(engine_dir)/data
}
teardown() {
  usual_teardown
  registries_stop
  remove_all_containers
  gantry rmi -f $(gantry images -q "$R/*" | sort -u) >/dev/null 2>&1 || true
  rm -f "$DOCKER_CONFIG/config.json"
  check --repair >/dev/null 2>&1 || true
}

R=127.0.0.1:5998
gantry() { timeout -k 2 60 "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" "$@"; }
check() { gantry system check "$@"; }
node_keys() { gantry graph show --format json "$1" | jq -r ".Nodes[] | select(.Kind == \"$2\").Key"; } # IMAGE KIND
layer_of() { readlink -f "$(find "$data"/*/layers -name "$(node_keys "$1" layer | tail -n 1 | cut -c8-)")"; }
blob() { find "$data/content/blobs" -name "${1#sha256:}"; } # DIGEST
image_id() { gantry image inspect -f '{{.Id}}' "$1"; }

# publish NAME: the image is in the registry as $R/NAME:1, and here by a pull.
publish() {
  gantry load -q -i "$TEST_ROOT/one.tar" >/dev/null
  gantry tag source:1 "$R/$1:1"
  gantry push -q "$R/$1:1" >/dev/null
  gantry rmi -f source:1 "$R/$1:1" >/dev/null
  gantry pull -q "$R/$1:1" >/dev/null
}

# mended WHAT NAME CHECK-FLAG…: the repair fetches it; then all is well, and the image runs.
mended() {
  local what=$1 name=$2
  shift 2
  run check "$@"
  assert_failure 1
  assert_line --regexp "^$what"
  run check --repair "$@"
  assert_success
  assert_line --regexp "^$what.*fetched again (from|with) $R/$name@sha256:.* \[repaired\]$"
  refute_output --partial "Load or pull again"
  run check --content
  assert_output "Everything is as it should be."
  assert_equal "$(gantry run --rm --network none "$R/$name:1" cat /readme)" one
}

@test "a layer that is gone, or whose bytes were changed, is fetched again from its registry" {
  gantry_registry main 5998
  publish layer
  id=$(image_id "$R/layer:1")
  rm -r "$(layer_of "$R/layer:1")"
  mended "missing: layer" layer
  layer=$(layer_of "$R/layer:1")
  if [ -e "$layer/tar" ]; then
    LC_ALL=C sed -i 's/\x00one/\x000ne/' "$layer/tar"
  else
    echo changed >"$layer/diff/readme"
  fi
  mended "corrupt: layer" layer --content
  assert_equal "$(image_id "$R/layer:1")" "$id"
}

@test "a configuration, a manifest and an index are fetched again, whether they are gone or damaged" {
  gantry_registry main 5998
  publish blobs
  while read -r digest; do
    rm "$(blob "$digest")"
    mended "missing: blob $digest" blobs
    printf x | dd of="$(blob "$digest")" bs=1 conv=notrunc status=none
    mended "corrupt: blob $digest" blobs --content
  done < <(node_keys "$R/blobs:1" blob)
}

@test "several things of several images are mended by one pull of each, and a container stands on its layer again" {
  gantry_registry main 5998
  publish first
  publish second
  gantry create --name stands --network none "$R/first:1" cat /readme >/dev/null
  rm -r "$(layer_of "$R/first:1")"
  rm "$(blob "$(image_id "$R/first:1")")"
  run check --repair
  assert_success
  run check --content
  assert_output "Everything is as it should be."
  assert_equal "$(gantry start -a stands)" one
}

@test "a registry that asks for credentials gets the client's; without them the finding says what to do" {
  local word=parole-d-ordre-92
  echo $word | "$GANTRY_BUILD/bin/gantry-registry" htpasswd me 4 >"$TEST_ROOT/htpasswd"
  gantry_registry main 5998 --auth htpasswd --htpasswd "$TEST_ROOT/htpasswd"
  gantry login -u me --password-stdin $R <<<$word
  publish private
  rm -r "$(layer_of "$R/private:1")"
  mv "$DOCKER_CONFIG/config.json" "$TEST_ROOT/config.json"
  run check --repair
  assert_failure 1
  assert_line --regexp "^missing: layer .*cannot be fetched from $R/private@sha256:[0-9a-f]* again: .*(no basic auth credentials|docker login)"
  refute_line --regexp "^missing: layer.*\[repaired\]"
  assert_line "Load or pull again:"
  mv "$TEST_ROOT/config.json" "$DOCKER_CONFIG/config.json"
  mended "missing: layer" private
  # What was sent for the repair is in no journal.
  run grep -rl -e $word -e "$(printf me:$word | base64)" "$data" "$(engine_dir)/log"
  assert_failure
}

@test "a registry that has it no more, or is not there, is named with its reason, and nothing else changes" {
  gantry_registry main 5998
  publish lost
  digest=$(gantry image inspect -f '{{index .RepoDigests 0}}' "$R/lost:1")
  layer=$(node_keys "$R/lost:1" layer | tail -n 1)
  rm -r "$(layer_of "$R/lost:1")"
  registry_forget main
  run check --repair
  assert_failure 1
  assert_line --regexp "^missing: layer $layer.*cannot be fetched from $digest again: .*connection refused; needed by tag"
  gantry_registry main 5998
  run check --repair
  assert_failure 1
  assert_line --regexp "^missing: layer $layer.*cannot be fetched from $digest again: .*not found: manifest unknown"
  assert_line "1 found, 0 repaired."
  assert_line "  $digest"
}

@test "a layer that no image of a registry has any more is fetched from where it was first seen" {
  gantry_registry main 5998
  publish base
  gantry create --name made --network none "$R/base:1" cat /readme >/dev/null
  gantry commit -c 'CMD ["cat", "/readme"]' made child:1 >/dev/null
  gantry rmi -f "$R/base:1" >/dev/null
  layer=$(node_keys child:1 layer | tail -n 1)
  rm -r "$(layer_of child:1)"
  run check
  assert_failure 1
  assert_line --regexp "^missing: layer $layer"
  # It is told when there is nothing to fetch it from.
  registry_stop main
  run check --repair
  assert_failure 1
  assert_line --regexp "^missing: layer $layer.*cannot be fetched from $R/base: .*connection refused"
  gantry_registry main 5998
  run check --repair
  assert_success
  assert_line --regexp "^missing: layer $layer.*fetched again from $R/base@sha256:[0-9a-f]{64}.* \[repaired\]$"
  run check --content
  assert_output "Everything is as it should be."
  assert_equal "$(gantry run --rm --network none child:1)" one
  assert_equal "$(gantry start -a made)" one
  gantry rm -f made
  gantry rmi -f child:1
}

@test "the compressed form of a layer, where it is kept, is fetched again" {
  engine_stop main
  engine_start main --keep-compressed
  gantry_registry main 5998
  publish kept
  form=$(curl -s "http://$R/v2/kept/manifests/1" -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json' | jq -r '.layers[-1].digest')
  rm "$(blob "$form")"
  mended "missing: blob" kept
  # (LC_ALL: any byte is a character.)
  LC_ALL=C sed -i 's/./x/20' "$(blob "$form")"
  mended "corrupt: blob" kept --content
  cmp "$(blob "$form")" <(curl -s "http://$R/v2/kept/blobs/$form")
  engine_stop main
  engine_start main
}
