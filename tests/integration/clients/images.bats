#!/usr/bin/env bats
# Images through a client: load, import, tag, list, inspect, remove.
load ../../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
teardown() { usual_teardown; }

@test "images lists the built-in image" {
  run client images
  assert_line --index 0 --regexp '^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE$'
  assert_line --regexp '^busybox +latest +[0-9a-f]{12} .* [0-9.]+[kM]B$'
  run client images -q busybox
  assert_output --regexp '^[0-9a-f]{12}$'
}

@test "load reads what docker save wrote, plain and compressed, from a file and from standard input" {
  fixture_image "$BATS_TEST_TMPDIR/a.tar" --busybox --name loaded:plain --file /which=plain
  fixture_image "$BATS_TEST_TMPDIR/b.tar" --busybox --name loaded:gzip --file /which=gzip --gzip
  run client load -i "$BATS_TEST_TMPDIR/a.tar"
  assert_success
  assert_output --partial 'Loaded image: loaded:plain'
  gzip -k "$BATS_TEST_TMPDIR/b.tar"
  run client load -q <"$BATS_TEST_TMPDIR/b.tar.gz"
  assert_success
  assert_output --partial 'Loaded image: loaded:gzip'
  run client run --rm loaded:plain cat /which
  assert_output plain
  run client run --rm loaded:gzip cat /which
  assert_output gzip
  client rmi loaded:plain loaded:gzip
}

@test "load reads an OCI image layout" {
  on_engine gantry || skip "Docker's daemon reads these since version 25"
  fixture_image "$BATS_TEST_TMPDIR/o.tar" --busybox --name oci:1 --file /which=oci --oci --gzip
  run client load -q -i "$BATS_TEST_TMPDIR/o.tar"
  assert_success
  assert_output --partial 'Loaded image: oci:1'
  run client run --rm oci:1 cat /which
  assert_output oci
  client rmi oci:1
}

@test "load of an image without a name prints its id" {
  fixture_image "$BATS_TEST_TMPDIR/a.tar" --busybox --file /nameless=1
  run client load -q -i "$BATS_TEST_TMPDIR/a.tar"
  assert_success
  assert_output --regexp 'Loaded image ID: sha256:[0-9a-f]{64}'
  client rmi "${output##*: }"
}

@test "layers lie over one another, and a whiteout hides a file" {
  mkdir -p "$BATS_TEST_TMPDIR/l/var/spool"
  touch "$BATS_TEST_TMPDIR/l/var/spool/.wh.mail"
  tar -C "$BATS_TEST_TMPDIR/l" -cf "$BATS_TEST_TMPDIR/l.tar" var/spool/.wh.mail
  fixture_image "$BATS_TEST_TMPDIR/a.tar" --busybox --name layered:1 --file /top=1 --raw-layer "$BATS_TEST_TMPDIR/l.tar"
  client load -q -i "$BATS_TEST_TMPDIR/a.tar"
  run client run --rm layered:1 sh -c 'cat /top; echo; ls -A /var/spool'
  assert_output 1
  client rmi layered:1
}

@test "import makes an image of a root file system" {
  mkdir -p "$BATS_TEST_TMPDIR/root/bin"
  cp /bin/busybox "$BATS_TEST_TMPDIR/root/bin/"
  tar -C "$BATS_TEST_TMPDIR/root" -cf "$BATS_TEST_TMPDIR/root.tar" .
  run client import --change 'CMD ["/bin/busybox","echo","imported"]' -m 'a message' "$BATS_TEST_TMPDIR/root.tar" imported:1
  assert_success
  assert_output --regexp '^sha256:[0-9a-f]{64}$'
  run client run --rm imported:1
  assert_output imported
  run client import - imported:2 <"$BATS_TEST_TMPDIR/root.tar"
  assert_success
  client rmi imported:1 imported:2
}

@test "tag gives another name, rmi takes names before it takes the image" {
  fixture_image "$BATS_TEST_TMPDIR/a.tar" --busybox --name tagged:1 --file /tagged=1
  client load -q -i "$BATS_TEST_TMPDIR/a.tar"
  client tag tagged:1 other/name:2
  assert_equal "$(client images -q tagged:1)" "$(client images -q other/name:2)"
  run client rmi tagged:1
  assert_output 'Untagged: tagged:1'
  run client rmi other/name:2
  assert_line 'Untagged: other/name:2'
  assert_line --regexp '^Deleted: sha256:[0-9a-f]{64}$'
  run client inspect other/name:2
  assert_failure 1
}

@test "an image in use is not removed" {
  name=$(random_name user)
  fixture_image "$BATS_TEST_TMPDIR/a.tar" --busybox --name used:1 --file /used=1
  client load -q -i "$BATS_TEST_TMPDIR/a.tar"
  id=$(client create --name "$name" used:1 true)
  run client rmi used:1
  assert_failure 1
  assert_output --regexp "conflict: unable to remove repository reference \"used:1\" \(must force\) - container ${id:0:12} is using its referenced image [0-9a-f]{12}"
  client rm "$name"
  client rmi used:1
}

@test "inspect of an image shows its config" {
  fixture_image "$BATS_TEST_TMPDIR/a.tar" --busybox --name inspected:1 --config '{"Cmd":["a","b"],"Labels":{"k":"v"},"ExposedPorts":{"80/tcp":{}}}'
  client load -q -i "$BATS_TEST_TMPDIR/a.tar"
  run client inspect -f '{{json .Config.Cmd}} {{.Config.Labels.k}} {{json .Config.ExposedPorts}} {{.Os}}/{{.Architecture}} {{json .RepoTags}}' inspected:1
  assert_output '["a","b"] v {"80/tcp":{}} linux/amd64 ["inspected:1"]'
  client rmi inspected:1
}

@test "unknown images and bad references are named in the error" {
  run client rmi no-such-image:1
  assert_failure 1
  assert_output --partial 'No such image: no-such-image:1'
  run client tag no-such-image:1 x:1
  assert_failure 1
  assert_output --partial 'No such image: no-such-image:1'
  run client run --rm 'Bad Reference' true
  assert_failure 125
  assert_output --partial 'invalid reference format'
}

@test "load of something that is no archive says so" {
  head -c 4096 /dev/urandom >"$BATS_TEST_TMPDIR/noise"
  run client load -i "$BATS_TEST_TMPDIR/noise"
  assert_failure 1
  before=$(client images -q | wc -l)
  run client load -i "$BATS_TEST_TMPDIR/does-not-exist"
  assert_failure 1
  assert_output --partial 'no such file or directory'
  assert_equal "$(client images -q | wc -l)" "$before"
}
