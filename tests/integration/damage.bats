#!/usr/bin/env bats
# A store that was damaged, in many ways: `gantry system check` says what is wrong, `--repair` puts right what
# can be, and what cannot is named. What runs goes on, and nothing of a user's is lost to a repair.
load ../lib/common

setup_file() {
  usual_setup_file
  fixture_image "$TEST_ROOT/other.tar" --busybox --file readme=other --name other:1
}
teardown_file() { usual_teardown_file; }
setup() {
  on_engine gantry || skip "Docker has no such command"
  data=$(engine_dir)/data
  fixture_image "$TEST_ROOT/busybox.tar" --busybox --name busybox:latest
}
teardown() {
  usual_teardown
  engine_answers || engine_start main
  remove_all_containers
  # What a failed test leaves is not the next one's affair.
  check >/dev/null 2>&1 || { client load -q -i "$TEST_ROOT/busybox.tar" && check --repair; } >/dev/null 2>&1 || true
}

gantry() { timeout -k 2 60 "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" "$@"; }
check() { gantry system check "$@"; }
image_id() { client image inspect -f '{{.Id}}' "$1"; }
# sql STATEMENT…: what somebody does to the database with other means.
sql() {
  /usr/bin/python3 - "$data/gantry.db" "$@" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=10)
for statement in sys.argv[2:]:
    for row in db.execute(statement):
        print(*row, sep="|")
db.commit()
PY
}
layer_link() { find "$data"/*/layers -name "$(gantry graph show --format json "$1" | jq -r '[.Nodes[] | select(.Kind == "layer")][-1].Key' | cut -c8-)"; }
blob_of() { find "$data/content/blobs" -name "$(image_id "$1" | cut -c8-)"; }

# found_and_repaired LINE-PATTERN: the check finds exactly that and fails, the repair mends it, then all is well.
found_and_repaired() {
  run check
  assert_failure 1
  assert_line --regexp "^$1"
  assert_line "1 found, 0 repaired."
  run check --repair
  assert_success
  assert_line --regexp "^$1.* \[repaired\]$"
  run check
  assert_output "Everything is as it should be."
}

# change_readme LAYER: one byte of a file's contents, wherever the storage driver keeps them.
change_readme() {
  if [ -e "$1/tar" ]; then
    LC_ALL=C sed -i 's/^other/0ther/; s/\x00other/\x000ther/' "$1/tar"
  else
    echo changed >"$1/diff/readme"
  fi
}

@test "a store that nobody damaged is sound, down to its content" {
  client run -d --name sound -p 127.0.0.1:18200:80 busybox sleep 1000 >/dev/null
  run check --content
  assert_success
  assert_output "Everything is as it should be."
}

@test "damage 1: a file among the content that nothing accounts for" {
  digest=$(echo stray | sha256sum | cut -d' ' -f1)
  mkdir -p "$data/content/blobs/sha256/${digest:0:2}"
  echo stray >"$data/content/blobs/sha256/${digest:0:2}/$digest"
  found_and_repaired "orphan: blob sha256:$digest"
  eventually 10 gone "$data/content/blobs/sha256/${digest:0:2}/$digest"
}
gone() { [ ! -e "$1" ]; }

@test "damage 2: the configuration of an image is gone; the check names what to load, and a load mends it" {
  rm "$(blob_of busybox)"
  run check --repair
  assert_failure 1
  assert_line --regexp "^missing: blob $(image_id busybox).*needed by tag docker.io/library/busybox:latest$"
  assert_line "Load or pull again:"
  assert_line "  docker.io/library/busybox:latest"
  client load -q -i "$TEST_ROOT/busybox.tar" >/dev/null
  run check --content
  assert_output "Everything is as it should be."
  client run --rm busybox true
}

@test "damage 3: content that is not what its digest says is found by reading it, dropped, and loaded again" {
  printf x | dd of="$(blob_of busybox)" bs=1 conv=notrunc status=none
  run check
  assert_success
  run check --content
  assert_failure 1
  assert_line --regexp "^corrupt: blob $(image_id busybox); needed by tag"
  run check --content --repair
  assert_success
  assert_line --regexp "^corrupt: blob .*\[repaired\]$"
  run check
  assert_failure 1
  assert_line --regexp "^missing: blob"
  client load -q -i "$TEST_ROOT/busybox.tar" >/dev/null
  run check --content
  assert_output "Everything is as it should be."
}

@test "damage 4: a layer's directory is gone; a load makes it again, and the image runs" {
  client load -q -i "$TEST_ROOT/other.tar" >/dev/null
  link=$(layer_link other:1)
  rm -r "$(readlink -f "$link")"
  run check
  assert_failure 1
  assert_line --regexp "^missing: layer .*needed by tag docker.io/library/other:1$"
  run check --repair
  assert_failure 1
  client load -q -i "$TEST_ROOT/other.tar" >/dev/null
  run check --repair --content
  assert_success
  run check
  assert_output "Everything is as it should be."
  assert_equal "$(client run --rm other:1 cat /readme)" other
  client rmi other:1 >/dev/null
}

@test "damage 5: a file of a layer was changed; a layer that a container stands on stays" {
  client load -q -i "$TEST_ROOT/other.tar" >/dev/null
  client create --name stands other:1 true >/dev/null
  change_readme "$(readlink -f "$(layer_link other:1)")"
  run check --content --repair
  assert_failure 1
  assert_line --regexp "^corrupt: layer .*it stays for as long as a container stands on it; needed by tag"
  client rm stands >/dev/null
  run check --content --repair
  assert_success
  client load -q -i "$TEST_ROOT/other.tar" >/dev/null
  run check --content --repair
  assert_success
  run check --content
  assert_output "Everything is as it should be."
  assert_equal "$(client run --rm other:1 cat /readme)" other
  client rmi other:1 >/dev/null
}

@test "damage 6: directories of layers and of containers that nothing accounts for" {
  mkdir "$data/$(storage)/strayaaaaaaaa" "$data/$(storage)/containers/straycontainer" "$data/containers/strayfiles"
  run check
  assert_failure 1
  assert_line --regexp "^orphan: layer-dir strayaaaaaaaa"
  assert_line --regexp "^orphan: container-dir straycontainer"
  assert_line --regexp "^orphan: container-files strayfiles"
  run check --repair
  assert_success
  eventually 10 gone "$data/$(storage)/strayaaaaaaaa"
  eventually 10 gone "$data/$(storage)/containers/straycontainer"
  gone "$data/containers/strayfiles"
  run check
  assert_output "Everything is as it should be."
}
storage() { client info -f '{{.Driver}}'; }

@test "damage 7: a thing of a container that is no more" {
  mkdir -p "$data/containers/nobody"
  sql "INSERT INTO resource(kind, name, owner, job, state, data, boot_id, created_at)
       VALUES('container-files', 'nobody', 'container:nobody', 1, 2, '{}', '', 0)"
  found_and_repaired "ownerless: container-files nobody of container:nobody"
  gone "$data/containers/nobody"
}

@test "damage 8: a row of a thing that is not there" {
  sql "INSERT INTO resource(kind, name, owner, job, state, data, boot_id, created_at)
       SELECT 'container-files', 'vanished', 'image:' || key, 1, 2, '{}', '', 0 FROM node WHERE kind = 3 LIMIT 1"
  found_and_repaired "vanished: container-files vanished of image:"
}

@test "damage 9: what a job left that is not running" {
  mkdir -p "$data/containers/halfmade"
  sql "INSERT INTO resource(kind, name, owner, job, state, data, boot_id, created_at)
       VALUES('container-files', 'halfmade', 'container:x', 0, 1, '{}', '', 0)"
  found_and_repaired "unfinished: container-files halfmade .*left by job 0"
  gone "$data/containers/halfmade"
}

@test "damage 10: a job that the journal has as running" {
  sql "INSERT INTO job VALUES(0, 'container.create', 2, 1, 0, '{}', 0, 0, 0, '', '', '[]')"
  found_and_repaired "interrupted job: container.create 0"
  sql "DELETE FROM job WHERE id = 0"
}

@test "damage 11: edges and names of nodes that are not there" {
  sql "PRAGMA foreign_keys = OFF" "INSERT INTO edge VALUES(999999, 1, 0, 1)"
  found_and_repaired "damaged: database .*refers to a row"
}

@test "damage 12: the bridge was deleted; the repair makes it again and containers start" {
  bridge=$(client network inspect -f '{{index .Options "com.docker.network.bridge.name"}}' bridge)
  ip link delete "$bridge"
  found_and_repaired "vanished: net.bridge $bridge"
  ip link show "$bridge" >/dev/null
  client run --rm -p 127.0.0.1:18201:80 busybox true
}

@test "damage 13: the directory of a volume is gone, or there is one that the database does not know" {
  client volume create lost >/dev/null
  rm -r "$data/volumes/lost"
  mkdir -p "$data/volumes/unknown/_data"
  echo precious >"$data/volumes/unknown/_data/file"
  run check
  assert_failure 1
  assert_line --regexp "^missing: volume lost: its directory is gone"
  assert_line --regexp "^unknown: volume unknown: "
  run check --repair
  assert_success
  run check
  assert_output "Everything is as it should be."
  assert_equal "$(client run --rm -v unknown:/v -v lost:/l busybox cat /v/file)" precious
  client volume rm lost unknown >/dev/null
}

@test "damage 13: the directory of a volume went with a power cut: at the next start it is there again, empty" {
  client volume create lost >/dev/null
  client create --name user -v lost:/l busybox touch /l/file >/dev/null
  engine_stop main
  rm -r "$data/volumes/lost"
  engine_start main
  eventually 20 test -d "$data/volumes/lost/_data"
  eventually 5 grep -q "volume lost: its directory was gone" "$(engine_dir)/log"
  client start -a user
  [ -e "$data/volumes/lost/_data/file" ]
  run check
  assert_output "Everything is as it should be."
}

@test "what lies among the volumes and is none is left alone, and several are mended in any order" {
  mkdir "$data/volumes/lost+found" "$data/volumes/begun"
  for name in zz mm aa; do
    client volume create "$name" >/dev/null
    rm -r "$data/volumes/$name"
  done
  run check --repair
  assert_success
  assert_line "3 found, 3 repaired."
  for name in zz mm aa; do [ -d "$data/volumes/$name/_data" ]; done
  run client volume inspect lost+found
  assert_failure
  client volume rm zz mm aa >/dev/null
  rmdir "$data/volumes/lost+found" "$data/volumes/begun"
}

@test "damage 14: a link with this engine's name that no container has" {
  bridge=$(client network inspect -f '{{index .Options "com.docker.network.bridge.name"}}' bridge)
  client run -d --name linked busybox sleep 1000 >/dev/null
  veth=$(sql "SELECT name FROM resource WHERE kind = 'net.veth'" | head -n 1)
  alias=$(ip -j link show "$veth" | jq -r '.[0].ifalias')
  ip link add gvstray type veth peer name gvpeer
  ip link set gvstray alias "$alias"
  found_and_repaired "orphan: net.veth gvstray"
  eventually 10 link_gone gvstray
  client exec linked true
}
link_gone() { ! ip link show "$1" >/dev/null 2>&1; }

@test "damage 15: the record of a container cannot be read: it is told of and the others are served" {
  client create --name garbled busybox true >/dev/null
  id=$(client inspect -f '{{.Id}}' garbled)
  record=$(sql "SELECT data FROM node WHERE key = '$id'")
  sql "UPDATE node SET data = '{\"id\": 7}' WHERE key = '$id'"
  run check --repair
  assert_failure 1
  assert_line --regexp "^unreadable: container $id: "
  sql "UPDATE node SET data = '${record//\'/\'\'}' WHERE key = '$id'"
  run check
  assert_success
}

# What is left of everything when the database is not there any more.
prepare_for_loss() {
  client run --rm -v "$1":/v busybox sh -c 'echo precious >/v/file'
  client create --name "$2" busybox true >/dev/null
  id=$(client inspect -f '{{.Id}}' "$2")
  engine=$(client info -f '{{.ID}}')
  [ -d "$data/$(storage)/containers/$id" ]
  driver=$(storage)
  : >"$(engine_dir)/log"
}
is_served_again() {
  assert_equal "$(client info -f '{{.ID}}')" "$engine"
  assert_equal "$(client run --rm -v "$1":/v busybox cat /v/file)" precious
  assert_equal "$(client images -q busybox:latest | wc -l)" 1
}

@test "damage 16: the database is gone: images and volumes are taken in again, nothing is removed unasked" {
  client volume create zz >/dev/null
  client volume create aa >/dev/null
  prepare_for_loss kept lost
  engine_stop
  rm "$data"/gantry.db*
  engine_start main
  is_served_again kept
  run engine_log
  assert_output --partial "the database was gone"
  assert_output --partial "made again: image sha256:"
  assert_output --partial "made again: volume kept"
  assert_output --partial "not made again: container $id: its files are in"
  # Nor by a later start.
  engine_kill
  engine_start main
  run check
  assert_failure 1
  assert_line "orphan: container-dir $id"
  [ -d "$data/$driver/containers/$id" ]
  run check --repair
  assert_success
  eventually 10 gone "$data/$driver/containers/$id"
  run check --content
  assert_output "Everything is as it should be."
  client volume rm kept zz aa
}

@test "damage 19: the database is gone and there is no image: a container's files stay" {
  prepare_for_loss kept19 lost19
  client rmi -f busybox >/dev/null
  engine_stop
  rm -r "$data"/gantry.db* "$data/content/blobs"
  engine_start main
  is_served_again kept19
  [ -d "$data/$driver/containers/$id" ]
  client run -d --name after busybox sleep 1000 >/dev/null
  engine_kill
  engine_start main
  [ -d "$data/$driver/containers/$id" ]
  client rm -f after >/dev/null
  run check --repair
  assert_success
  eventually 10 gone "$data/$driver/containers/$id"
  client volume rm kept19
}

@test "damage 17: the database is torn: what can be read of it is taken over" {
  for i in 1 2 3 4 5 6 7 8; do client create --name "torn$i" busybox true >/dev/null; done
  prepare_for_loss held whole
  engine_stop
  # The file has room for growth at its end: how many pages are used is in its header.
  pages=$(od -An -j28 -N4 -tu4 --endian=big "$data/gantry.db")
  dd if=/dev/urandom of="$data/gantry.db" bs=4096 seek=$((pages / 2)) count=4 conv=notrunc status=none
  engine_start main
  is_served_again held
  run engine_log
  assert_output --partial "the database was damaged (kept as $data/gantry.db.damaged-"
  ls "$data"/gantry.db.damaged-* >/dev/null
  check --repair || true
  run check --content
  assert_output "Everything is as it should be."
  rm "$data"/gantry.db.damaged-*
  client volume rm held
}

@test "damage 18: a file that is no database at all" {
  prepare_for_loss stays gone18
  engine_kill
  echo "not a database" >"$data/gantry.db"
  rm -f "$data"/gantry.db-wal "$data"/gantry.db-shm
  engine_start main
  is_served_again stays
  check --repair || true
  run check --content
  assert_output "Everything is as it should be."
  client volume rm stays
}
