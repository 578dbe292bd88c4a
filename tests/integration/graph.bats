#!/usr/bin/env bats
# What is kept, and why: `gantry graph`, and the collection of what nothing holds.
load ../lib/common

setup_file() {
  usual_setup_file
  # Nothing is too young for a collection that a test asks for, and none comes by itself.
  engine_stop
  engine_start main --gc-interval 0s --gc-grace 0s
}
teardown_file() { usual_teardown_file; }
setup() { on_engine gantry || skip "Docker has no such command"; }
teardown() {
  usual_teardown
  remove_all_containers
}

gantry() { timeout -k 2 30 "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" "$@"; }
image_id() { client image inspect -f '{{.Id}}' "$1"; }
top_layer() { gantry graph show --format json "$1" | jq -r '[.Nodes[] | select(.Kind == "layer")][0].Key'; }

@test "why a layer, its image, and the image's configuration are there: each chain from a root" {
  client create --name holder busybox true >/dev/null
  id=$(image_id busybox) layer=$(top_layer busybox) container=$(client inspect -f '{{.Id}}' holder)
  run gantry graph why "$layer"
  assert_success
  assert_output --partial "tag docker.io/library/busybox:latest
  -names-> image $id (docker.io/library/busybox:latest)
  -member-> layer $layer"
  assert_output --partial "container $container (holder)
  -uses-> image $id"
  run gantry graph why "blob:$id"
  assert_output --partial "-config-> blob $id"
  run gantry graph why --format json busybox
  assert_equal "$(jq -r '.Node.Kind, (.Chains | length), .More' <<<"$output" | tr '\n' ' ')" "image 2 false "
  run gantry graph why --limit 1 busybox
  assert_output --partial "… and more"
  run gantry graph why holder
  assert_output "container $container (holder)"
}

@test "a thing is found by name, id, the beginning of an id, its path on the disk, or KIND:KEY" {
  client volume create wanted >/dev/null
  client create --name found -v wanted:/v busybox true >/dev/null
  id=$(client inspect -f '{{.Id}}' found) image=$(image_id busybox) layer=$(top_layer busybox)
  data=$(engine_dir)/data
  kind_of() { gantry graph why --format json "$1" | jq -r '.Node.Kind + " " + .Node.Key'; }
  for name in found "${id:0:12}" "$id" "container:found" "$data/containers/$id/hosts"; do
    assert_equal "$(kind_of "$name")" "container $id"
  done
  for name in busybox busybox:latest "${image:7:12}" "$image"; do
    assert_equal "$(kind_of "$name")" "image $image"
  done
  for name in "$layer" "layer:${layer:7:12}" "$(find "$data"/*/layers -name "${layer:7}")/layer.json"; do
    assert_equal "$(kind_of "$name")" "layer $layer"
  done
  directory=$(basename "$(readlink "$(find "$data"/*/layers -name "${layer:7}")")")
  assert_equal "$(kind_of "$(echo "$data"/*/"$directory")/layer.json")" "layer $layer"
  assert_equal "$(kind_of wanted)" "volume wanted"
  assert_equal "$(kind_of "$data/volumes/wanted/_data/x/y")" "volume wanted"
  assert_equal "$(kind_of bridge)" "network $(client network inspect -f '{{.Id}}' bridge)"
  assert_equal "$(kind_of "$(find "$data/content/blobs" -name "${image:7}")")" "blob $image"
  client rm found
  client volume rm wanted
}

@test "what is not there, and what is no name, is said in one line" {
  run gantry graph why nosuch
  assert_failure 1
  assert_output "Error response from daemon: No such object: nosuch"
  run gantry graph why "$(engine_dir)/data/tmp/nothing"
  assert_failure 1
  assert_output --partial "nothing in the graph accounts for this path"
  run gantry graph show --format svg
  assert_failure 1
  assert_output 'Error response from daemon: unknown format "svg": dot, json or tree'
  run gantry graph why --format yaml busybox
  assert_failure 1
  assert_equal "$(api_status GET '/gantry/graph/why?id=busybox&limit=0' | tail -n 1)" 400
}

@test "roots are listed with what they hold" {
  client create --name root1 busybox true >/dev/null
  run gantry graph roots
  assert_success
  assert_line --index 0 --regexp '^KIND +KEY +NAME +HOLDS +SIZE$'
  assert_line --regexp '^tag +docker.io/library/busybox:latest +4 '
  assert_line --regexp "^container +$(client inspect -f '{{.Id}}' root1 | cut -c1-12) +root1 +4 "
  assert_line --regexp '^network +[0-9a-f]{12} +bridge +1 +0B$'
  run gantry graph roots -q
  assert_line tag:docker.io/library/busybox:latest
  run gantry graph roots --format '{{.Kind}}={{.Name}}'
  assert_line container=root1
}

@test "the graph is shown as a tree, for Graphviz, and as JSON" {
  run gantry graph show
  assert_line "tag docker.io/library/busybox:latest"
  assert_line --regexp '^  names: image [0-9a-f]{12}'
  run gantry graph show --format dot busybox
  assert_line --index 0 "digraph gantry {"
  assert_line --regexp '^  n[0-9]+ -> n[0-9]+ \[label="member"\];$'
  # Edges name only nodes that are there.
  run gantry graph show --format json
  assert_equal "$(jq '[.Nodes[].Id] as $ids | [.Edges[] | .From, .To] - $ids | length' <<<"$output")" 0
}

@test "an image that lost its name stays until a policy or a prune takes it; what is held never goes" {
  id=$(image_id busybox)
  for content in first second; do # the second takes the name of the first
    fixture_image "$TEST_ROOT/$content.tar" --busybox --name other:1 --file "readme=$content"
    client load -q -i "$TEST_ROOT/$content.tar" >/dev/null
    [ "$content" = second ] || nameless=$(image_id other:1)
  done
  named=$(image_id other:1)
  [ "$nameless" != "$named" ]
  run gantry system gc
  assert_output "Total reclaimed space: 0B"
  client image inspect "$nameless" >/dev/null

  engine_stop
  engine_start main --gc-interval 0s --gc-grace 0s --gc-keep-images count=0
  client create --name user "$nameless" true >/dev/null
  run gantry system gc
  assert_output "Total reclaimed space: 0B"
  client rm user
  before=$(count_layers)
  run gantry system gc --dry-run
  assert_line --regexp "^image $nameless "
  assert_line --regexp "^layer sha256:"
  assert_line --regexp "^blob $nameless "
  client image inspect "$nameless" >/dev/null
  run gantry system gc
  assert_line --regexp "^image $nameless "
  refute_output --partial "$named"
  refute_output --partial "$id"
  run client image inspect "$nameless"
  assert_failure
  eventually 10 equals "$((before - 1))" count_layers
  assert_equal "$(client run --rm other:1 cat /readme)" second
  run gantry system check --content
  assert_output "Everything is as it should be."
  assert_success
  client rmi other:1 >/dev/null
}
count_layers() { find "$(engine_dir)"/data/*/layers -type l | wc -l; }

@test "an image that is called like a kind of thing is found" {
  client tag busybox volume:1
  assert_equal "$(gantry graph why --format json volume:1 | jq -r .Node.Kind)" image
  client rmi volume:1 >/dev/null
}
