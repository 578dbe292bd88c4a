#!/usr/bin/env bats
# version, info, events, volumes and networks through a client.
load ../../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
teardown() { usual_teardown; }

@test "version shows the client and the server" {
  run client version
  assert_success
  assert_line --regexp '^Client:'
  assert_line --regexp '^Server:'
  assert_line --regexp '^ +API version: +1\.[0-9]+'
  run client version --format '{{.Server.Os}}/{{.Server.Arch}}'
  assert_output linux/amd64
}

@test "info counts containers and names the drivers" {
  name=$(random_name info)
  client create --name "$name" busybox true >/dev/null
  run client info --format '{{.Containers}} {{.ContainersRunning}} {{.ContainersStopped}} {{.Images}} {{.Driver}} {{.OSType}}'
  assert_output --regexp '^[0-9]+ 0 [0-9]+ [0-9]+ (erofs|overlay2) linux$'
  run client info
  assert_line --regexp '^ *Storage Driver: (erofs|overlay2)'
  assert_line --regexp '^ *Cgroup Version: [12]'
  client rm "$name"
}

@test "events tells the whole life of a container, in order" {
  need_command events
  name=$(random_name events)
  since=$(date +%s.%N)
  client run --rm --name "$name" busybox true
  eventually 10 matches destroy client events --since "$since" --until "$(date +%s.%N)" --filter "container=$name" --format '{{.Action}}'
  run client events --since "$since" --until "$(date +%s.%N)" --filter type=container --filter "container=$name" --format '{{.Action}}'
  assert_output $'create\nattach\nstart\ndie\ndestroy'
}

@test "events follows what happens" {
  need_command events
  name=$(random_name follow)
  client_background "$BATS_TEST_TMPDIR/out" events --filter type=container --format '{{.Action}} {{.Actor.Attributes.name}}'
  # The stream is open when an event made for the purpose is seen.
  eventually 10 sees_events
  client run --name "$name" busybox sh -c 'exit 3' || true
  client rm "$name"
  eventually 10 grep -qx "destroy $name" "$BATS_TEST_TMPDIR/out"
  kill "$client_pid"
  run grep " $name$" "$BATS_TEST_TMPDIR/out"
  assert_output "$(printf '%s\n' create attach start die destroy | sed "s/$/ $name/")"
}

sees_events() {
  client rm "$(client create busybox true)" >/dev/null
  grep -q destroy "$BATS_TEST_TMPDIR/out"
}

@test "a die event carries the exit status" {
  need_command events
  since=$(date +%s.%N)
  client run --rm busybox sh -c 'exit 12' || true
  run client events --since "$since" --until "$(date +%s.%N)" --filter event=die --format '{{.Actor.Attributes.exitCode}} {{.Actor.Attributes.image}}'
  assert_output '12 busybox'
}

@test "volumes are made, listed, inspected and removed" {
  need_command volume ls
  run client volume create --label k=v keeps
  assert_output keeps
  run client volume ls
  assert_line --index 0 --regexp '^DRIVER +VOLUME NAME$'
  assert_line --regexp '^local +keeps$'
  run client volume inspect -f '{{.Name}} {{.Driver}} {{.Scope}} {{.Labels.k}}' keeps
  assert_output 'keeps local local v'
  client run --rm -v keeps:/v busybox sh -c 'echo kept > /v/file'
  assert_equal "$(cat "$(client volume inspect -f '{{.Mountpoint}}' keeps)/file")" kept
  run client volume rm keeps
  assert_output keeps
  run client volume inspect keeps
  assert_failure 1
  assert_output --partial 'o such volume' # Docker: "no such volume" from the daemon, "No such volume" before 20
}

@test "a volume in use is not removed, an anonymous one goes with rm -v" {
  need_command volume ls
  name=$(random_name vol)
  client create --name "$name" -v held:/a -v /anonymous busybox true >/dev/null
  run client volume rm held
  assert_failure 1
  assert_output --partial 'volume is in use'
  before=$(client volume ls -q | wc -l)
  client rm -v "$name"
  assert_equal "$(client volume ls -q | wc -l)" $((before - 1))
  client volume rm held
}

@test "system df counts what is in use, and the bytes of volumes" {
  need_command system df
  name=$(random_name df)
  client run --name "$name" -v counted:/v busybox sh -c 'head -c 5000 /dev/zero > /v/file'
  run client system df --format '{{.Type}}: {{.TotalCount}} {{.Active}}'
  assert_success
  assert_line 'Images: 1 1'
  run client system df -v
  assert_line --regexp '^counted +1 +5kB$'
  client rm "$name"
  run client system df -v
  assert_line --regexp '^counted +0 +5kB$'
  client volume rm counted
}

@test "stats shows what a container uses" {
  need_command stats
  name=$(random_name stats)
  client run -d --name "$name" --memory 64m busybox sh -c 'while :; do :; done' >/dev/null
  run client stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}' "$name"
  assert_output --regexp "^$name [0-9]*[1-9][0-9.]*% [0-9.]+[KM]iB / 64MiB 1$"
  client rm -f "$name"
  run client stats --no-stream "$name"
  assert_failure 1
  assert_output --partial "No such container: $name"
}

@test "the three usual networks are there" {
  need_command network ls
  run client network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'
  assert_line 'bridge bridge local'
  assert_line 'host host local'
  assert_line 'none null local'
  run client network inspect -f '{{.Name}} {{(index .IPAM.Config 0).Subnet}}' bridge
  assert_output --regexp '^bridge [0-9.]+/[0-9]+$'
}

@test "an unknown command or flag is one clear line" {
  run client no-such-command
  assert_failure
  assert_output --partial 'unknown command'
  run client ps --no-such-flag
  assert_failure 125
  assert_output --partial 'unknown flag: --no-such-flag'
}
