#!/usr/bin/env bats
# Volumes that have to be mounted: options of the local driver, and plugins.
load ../../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
setup() {
  volume=$(random_name vol)
  plugin_socket=/run/docker/plugins/shelf.sock
}
teardown() {
  usual_teardown
  remove_all_containers
  for name in $(client volume ls -q); do client volume rm -f "$name" >/dev/null; done
  [ -z "${plugin_pid:-}" ] || kill "$plugin_pid"
  rm -f /run/docker/plugins/shelf.sock /etc/docker/plugins/rack.spec /etc/docker/plugins/rack.json
}

plugin() { # [FLAG…]: the plugin "shelf"
  plugin_log=$BATS_TEST_TMPDIR/plugin.log
  mkdir -p "$BATS_TEST_TMPDIR/shelf"
  /usr/bin/python3 "$REPOSITORY/tests/lib/volume_plugin.py" "$plugin_socket" "$BATS_TEST_TMPDIR/shelf" "$plugin_log" "$@" \
    >/dev/null 2>"$BATS_TEST_TMPDIR/plugin.err" 3>&- 4>&- 5>&- &
  plugin_pid=$!
  eventually 10 test -S "$plugin_socket"
}
mountpoint_of() { client volume inspect -f '{{.Mountpoint}}' "$1"; }

@test "a local volume of memory is mounted while somebody runs with it, and shared" {
  client volume create -o type=tmpfs -o device=tmpfs -o o=size=2m,uid=7 "$volume"
  place=$(mountpoint_of "$volume")
  run ! mountpoint -q "$place"
  client run -d --name one -v "$volume:/data" busybox sh -c 'echo shared >/data/file; sleep 1000'
  mountpoint -q "$place"
  eventually 5 test -e "$place/file"
  run client run --rm -v "$volume:/data" busybox sh -c 'cat /data/file; stat -c %u /data; df -k /data | tail -n 1 | tr -s " " | cut -d " " -f 2'
  assert_output 'shared
7
2048'
  mountpoint -q "$place"
  client rm -f one
  eventually 5 sh -c "! mountpoint -q '$place'"
  run client run --rm -v "$volume:/data" busybox ls /data
  assert_output ''
  run client volume inspect -f '{{json .Options}}' "$volume"
  assert_output '{"device":"tmpfs","o":"size=2m,uid=7","type":"tmpfs"}'
}

@test "a local volume that is another directory: removing it leaves the directory alone" {
  mkdir "$BATS_TEST_TMPDIR/elsewhere"
  echo mine >"$BATS_TEST_TMPDIR/elsewhere/file"
  client volume create -o type=none -o "device=$BATS_TEST_TMPDIR/elsewhere" -o o=bind "$volume"
  run client run --rm -v "$volume:/data" busybox sh -c 'cat /data/file; echo new >/data/new'
  assert_output mine
  assert_equal "$(cat "$BATS_TEST_TMPDIR/elsewhere/new")" new
  client run -d --name one -v "$volume:/data" busybox sleep 1000
  client rm -f one
  client volume rm "$volume"
  assert_equal "$(cat "$BATS_TEST_TMPDIR/elsewhere/file")" mine
}

@test "an empty volume elsewhere gets what the image has" {
  mkdir "$BATS_TEST_TMPDIR/elsewhere"
  client run --rm --mount "type=volume,source=$volume,target=/etc,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=$BATS_TEST_TMPDIR/elsewhere" busybox true
  [ -e "$BATS_TEST_TMPDIR/elsewhere/passwd" ]
  run client volume inspect -f '{{.Options.device}}' "$volume"
  assert_output "$BATS_TEST_TMPDIR/elsewhere"
}

@test "read-only by its options" {
  mkdir "$BATS_TEST_TMPDIR/elsewhere"
  client volume create -o type=none -o "device=$BATS_TEST_TMPDIR/elsewhere" -o o=bind,ro "$volume"
  run client run --rm -v "$volume:/data" busybox touch /data/x
  assert_failure
  assert_output --partial 'Read-only file system'
}

@test "cp reads and writes a volume with options, also of a container that does not run" {
  mkdir "$BATS_TEST_TMPDIR/elsewhere"
  echo mine >"$BATS_TEST_TMPDIR/elsewhere/file"
  client volume create -o type=none -o "device=$BATS_TEST_TMPDIR/elsewhere" -o o=bind "$volume"
  client create --name one -v "$volume:/data" busybox true
  client cp one:/data/file "$BATS_TEST_TMPDIR/copy"
  assert_equal "$(cat "$BATS_TEST_TMPDIR/copy")" mine
  echo other >"$BATS_TEST_TMPDIR/other"
  client cp "$BATS_TEST_TMPDIR/other" one:/data/other
  assert_equal "$(cat "$BATS_TEST_TMPDIR/elsewhere/other")" other
}

@test "what cannot be mounted fails the start, with the reason, and leaves nothing" {
  client volume create -o type=none -o device=/no/such/directory -o o=bind "$volume"
  run ! client run --rm -v "$volume:/data" busybox true
  assert_output --partial 'failed to mount local volume: mount /no/such/directory:'
  assert_output --partial 'no such file or directory'
  client volume rm "$volume"
}

@test "options that make no sense are refused" {
  refused() {
    local words=$1
    shift
    run client volume create "$@" "$volume"
    assert_failure
    assert_output --partial "$words"
  }
  refused 'invalid option: "color"' -o color=red
  refused 'missing required option' -o type=tmpfs
  refused 'missing required option' -o type=tmpfs -o o=size=1m
  refused 'plugin "nobody" not found' -d nobody
}

@test "a plugin makes, mounts, lists and removes a volume" {
  plugin
  client volume create -d shelf -o shape=round "$volume"
  grep -qF "VolumeDriver.Create {\"Name\": \"$volume\", \"Opts\": {\"shape\": \"round\"}}" "$plugin_log"
  run client volume ls --format '{{.Driver}} {{.Name}}'
  assert_line "shelf $volume"
  run client volume inspect -f '{{.Driver}} {{.Scope}} {{.Status.opts}}' "$volume"
  assert_output 'shelf global {"shape": "round"}'
  client run -d --name one -v "$volume:/data" busybox sh -c 'echo hello >/data/file; sleep 1000'
  eventually 5 test -e "$BATS_TEST_TMPDIR/shelf/$volume/file"
  run client inspect -f '{{range .Mounts}}{{.Driver}} {{.Name}} {{.Destination}}{{end}}' one
  assert_output "shelf $volume /data"
  run client volume rm "$volume"
  assert_failure
  assert_output --partial 'volume is in use'
  client stop -t 0 one
  # Each mount is undone, with its own id.
  eventually 5 sh -c "[ \"\$(grep VolumeDriver.Mount '$plugin_log' | sed 's/.*\"ID\"/ID/' | sort)\" = \"\$(grep VolumeDriver.Unmount '$plugin_log' | sed 's/.*\"ID\"/ID/' | sort)\" ]"
  client start one
  client rm -f one
  client volume rm "$volume"
  grep -qF "VolumeDriver.Remove {\"Name\": \"$volume\"}" "$plugin_log"
  [ ! -e "$BATS_TEST_TMPDIR/shelf/$volume" ]
}

@test "a plugin by the file that names its address; a volume made by run" {
  plugin_socket=$BATS_TEST_TMPDIR/hidden.sock
  plugin
  mkdir -p /etc/docker/plugins
  echo "unix://$BATS_TEST_TMPDIR/hidden.sock" >/etc/docker/plugins/rack.spec
  client run --rm --volume-driver rack -v "$volume:/data" busybox sh -c 'echo x >/data/file'
  run client volume inspect -f '{{.Driver}}' "$volume"
  assert_output rack
  client volume rm "$volume"
  printf '{"Name": "rack", "Addr": "unix://%s"}' "$BATS_TEST_TMPDIR/hidden.sock" >/etc/docker/plugins/rack.json
  rm /etc/docker/plugins/rack.spec
  client volume create -d rack "$volume"
  client volume rm "$volume"
}

@test "what a plugin refuses is told, and leaves nothing" {
  plugin --fail VolumeDriver.Create
  run client volume create -d shelf "$volume"
  assert_failure
  assert_output --partial 'it does not want to'
  run client volume ls -q
  assert_output ''
  kill "$plugin_pid"
  rm /run/docker/plugins/shelf.sock
  plugin --fail VolumeDriver.Mount
  client volume create -d shelf "$volume"
  run client run --rm -v "$volume:/data" busybox true
  assert_failure
  assert_output --partial 'it does not want to'
}

@test "a volume whose plugin has gone can be removed by force only" {
  plugin
  client volume create -d shelf "$volume"
  kill "$plugin_pid"
  plugin_pid=
  rm /run/docker/plugins/shelf.sock
  run client volume rm "$volume"
  assert_failure
  assert_output --partial 'plugin "shelf" not found'
  client volume rm -f "$volume"
  run client volume ls -q
  assert_output ''
}
