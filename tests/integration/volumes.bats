#!/usr/bin/env bats
# Volumes beyond what clients/ tests: parts of them, snapshots and the way back, labels, prune; images as mounts.
load ../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
setup() { volume=$(random_name vol); }
teardown() {
  usual_teardown
  local id
  remove_all_containers
  for id in $(api GET /volumes | jq -r '.Volumes[]?.Name'); do api_ok DELETE "/volumes/$id"; done
}

gantry() { "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" "$@"; }
fill() { client run --rm -v "$volume:/data" busybox sh -c "$1"; }
# made MEMBERS: creates and starts a container with these members of HostConfig; its output is in $output.
made() {
  local id
  id=$(api_json POST /containers/create "{\"Image\": \"busybox\", \"Cmd\": [\"sh\", \"-c\", \"$1\"], \"HostConfig\": {$2}}")
  output=$id
  [ "$(tail -n 1 <<<"$id")" = 201 ] || return 1
  id=$(head -n 1 <<<"$id" | jq -r .Id)
  output=$(api_status POST "/containers/$id/start")
  [ "$(tail -n 1 <<<"$output")" = 204 ] || return 1
  api POST "/containers/$id/wait" >/dev/null
  output=$(client logs "$id" 2>&1)
  mapfile -t lines <<<"$output"
}
part() { echo "\"Mounts\": [{\"Type\": \"volume\", \"Source\": \"$volume\", \"Target\": \"/part\", \"VolumeOptions\": {\"Subpath\": \"$1\"}}]"; }

@test "a part of a volume is mounted, and a link in it does not lead out" {
  fill 'mkdir -p /data/a/b; echo in the part >/data/a/b/file; ln -s /etc /data/out; ln -s ../../../../../../etc /data/up; ln -s a/b /data/link'
  made 'cat /part/file' "$(part a/b)"
  assert_output 'in the part'
  made 'cat /part/file' "$(part link)"
  assert_output 'in the part'
  for link in out up; do
    run -1 made 'ls /part' "$(part $link)"
  done
  made 'x' "$(part nowhere)" && false
  [[ $output == *'cannot access path nowhere of volume'* ]]
  made 'x' "$(part ../a)" && false
  [[ $output == *'subpath must be a relative path within the volume'* ]]
  made 'x' "$(part /a)" && false
  [[ $output == *'subpath must be a relative path within the volume'* ]]
  made 'touch /part/new; echo $?' "$(part a | sed 's/"Target"/"ReadOnly": true, "Target"/')"
  assert_output --partial 'Read-only file system'
}

@test "an image is mounted, whole and in part, and cannot be written to or removed" {
  client create --name source busybox true >/dev/null
  client cp "$BATS_TEST_FILENAME" source:/etc/from-the-image
  client commit source mounted-image >/dev/null
  client rm source >/dev/null
  made 'ls /image/etc/from-the-image; touch /image/x' '"Mounts": [{"Type": "image", "Source": "mounted-image", "Target": "/image"}]'
  assert_line --index 0 /image/etc/from-the-image
  assert_output --partial 'Read-only file system'
  made 'ls /image' '"Mounts": [{"Type": "image", "Source": "mounted-image", "Target": "/image", "ImageOptions": {"Subpath": "etc"}}]'
  assert_line from-the-image
  run client rmi mounted-image
  assert_failure
  made 'x' '"Mounts": [{"Type": "image", "Source": "no-such-image", "Target": "/image"}]' && false
  [[ $output == *'No such image'* ]]
  remove_all_containers
  client rmi mounted-image
}

@test "cp sees parts of volumes and images where they are mounted" {
  fill 'mkdir -p /data/a; echo in the part >/data/a/file'
  made 'true' "$(part a)"
  id=$(api GET '/containers/json?all=1' | jq -r '.[0].Id')
  client cp "$id:/part/file" "$BATS_TEST_TMPDIR/file"
  assert_equal "$(cat "$BATS_TEST_TMPDIR/file")" 'in the part'
}

@test "a mount's labels are those of the volume that it makes" {
  made 'true' "\"Mounts\": [{\"Type\": \"volume\", \"Source\": \"$volume\", \"Target\": \"/x\", \"VolumeOptions\": {\"Labels\": {\"a\": \"b\"}}}]"
  assert_equal "$(api GET "/volumes/$volume" | jq -c .Labels)" '{"a":"b"}'
}

@test "a snapshot keeps what a volume has, a clone is another one, restore goes back" {
  on_engine gantry || skip "Docker has no such thing"
  fill 'mkdir -p /data/deep/er; echo first >/data/deep/er/file; ln -s deep /data/link; chown 1000:1000 /data/deep; chmod 2750 /data/deep'
  assert_equal "$(gantry volume snapshot "$volume" snap)" snap
  assert_equal "$(api GET /volumes/snap | jq -r '.Labels["gantry.volume.snapshot-of"]')" "$volume"
  fill 'echo second >/data/deep/er/file; touch /data/more'
  assert_equal "$(gantry volume clone "$volume" copy)" copy
  gantry volume restore "$volume" snap
  run fill 'cat /data/deep/er/file; ls /data; stat -c %u:%g:%a /data/deep; readlink /data/link'
  assert_output "$(printf 'first\ndeep\nlink\n1000:1000:2750\ndeep')"
  assert_equal "$(client run --rm -v copy:/data busybox cat /data/deep/er/file)" second
  run gantry volume snapshot "$volume"
  assert_output --regexp "^$volume-[0-9]{8}T[0-9]{6}\.[0-9]{3}\$"
  [ ! -e "$(engine_dir)/data/volumes/$volume/_rewind" ]
}

@test "a volume in use is copied while its containers are kept still, and not restored" {
  on_engine gantry || skip "Docker has no such thing"
  client run -d --name writer -v "$volume:/data" busybox sh -c 'i=0; while :; do i=$((i+1)); for f in a b; do echo $i >/data/new; mv /data/new /data/$f; done; done' >/dev/null
  eventually 10 client exec writer test -e /data/b
  for i in 1 2 3 4 5; do
    gantry volume snapshot "$volume" "snap$i" >/dev/null
    # Never is b before a: they were read at one moment.
    run client run --rm -v "snap$i:/data" busybox sh -c '[ $(($(cat /data/a) - $(cat /data/b))) -le 1 ] && echo one moment'
    assert_output 'one moment'
  done
  run gantry volume restore "$volume" snap1
  assert_failure 1
  assert_output --partial 'is in use by the running container'
  assert_equal "$(client inspect -f '{{.State.Status}}' writer)" running
  client rm -f writer >/dev/null
  gantry volume restore "$volume" snap1
}

@test "what cannot be copied or restored is said, and nothing is left" {
  on_engine gantry || skip "Docker has no such thing"
  client volume create "$volume" >/dev/null
  for wrong in "snapshot nobody" "snapshot $volume $volume" "clone $volume bad/name" "restore $volume nobody" \
    "restore nobody $volume" "restore $volume $volume"; do
    # shellcheck disable=SC2086 # words
    run gantry volume $wrong
    assert_failure 1
    assert_equal "${#lines[@]}" 1
  done
  assert_equal "$(api GET /volumes | jq -r '.Volumes[].Name')" "$volume"
}

@test "prune takes anonymous volumes; older clients mean all" {
  client volume create "$volume" >/dev/null
  api_json POST /volumes/create '{}' >/dev/null
  assert_equal "$(api POST /v1.42/volumes/prune | jq '.VolumesDeleted | length')" 1
  assert_equal "$(api POST /v1.41/volumes/prune | jq -r '.VolumesDeleted[]')" "$volume"
}

@test "shared memory and semaphores of a shareable container are joined" {
  client run -d --name donor --ipc shareable busybox sh -c 'echo shared >/dev/shm/x; sleep 1000' >/dev/null
  eventually 10 client exec donor test -s /dev/shm/x
  assert_equal "$(client run --rm --ipc container:donor busybox cat /dev/shm/x)" shared
  assert_equal "$(client run --rm --ipc container:donor busybox readlink /proc/self/ns/ipc)" \
    "$(client exec donor readlink /proc/self/ns/ipc)"
  client run -d --name private busybox sleep 1000 >/dev/null
  run client run --rm --ipc container:private busybox true
  assert_failure
  assert_output --partial 'non-shareable IPC'
  run client run --rm --ipc container:nobody busybox true
  assert_failure
  assert_output --partial 'No such container: nobody'
  # The donor cannot lead its guests elsewhere.
  client run -d --name liar --ipc shareable --privileged busybox sh -c 'umount /dev/shm; rmdir /dev/shm; ln -s / /dev/shm; sleep 1000' >/dev/null
  eventually 10 client exec liar test -L /dev/shm
  run client run --rm --ipc container:liar busybox ls /dev/shm
  assert_failure
  client rm -f donor private liar >/dev/null
}
