#!/usr/bin/env bats
# What is wrong is refused with the right status code and one clear line, and leaves nothing behind.
load ../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }

setup() { state >"$BATS_TEST_TMPDIR/state"; }
teardown() {
  usual_teardown
  on_engine dockerd || state | diff "$BATS_TEST_TMPDIR/state" - # whatever the test sent changed nothing
}

# What the engine holds and knows.
state() {
  leaks_mounts
  leaks_links
  leaks_cgroups
  leaks_exec_roots
  api GET '/containers/json?all=1' | jq -r '.[].Id'
  api GET '/images/json?all=1' | jq -r '.[].Id'
  api GET /volumes | jq -r '.Volumes[]?.Name'
}

# refused STATUS MESSAGE-REGEXP: the last answer (of api_status) has that status and one clear message.
refused() {
  assert_equal "${lines[-1]}" "$1"
  message=$(jq -r .message <<<"${lines[0]}")
  assert_regex "$message" "$2"
  refute [ "$(wc -l <<<"$message")" -gt 1 ]
}

# The same where Docker answered 500 before version 23.
refused_400() {
  if on_engine dockerd; then refused 500 .; else refused 400 "$1"; fi
}

create() { run api_json POST "/containers/create$1" "$2"; }

@test "an unknown image is 404" {
  create '' '{"Image":"no-such-image:1"}'
  refused 404 '^No such image: no-such-image:1$'
}

@test "a bad reference is 400" {
  create '' '{"Image":"Not A Reference"}'
  refused 400 'invalid reference format'
}

@test "no image at all is 400" {
  create '' '{}'
  refused 400 .
}

@test "malformed JSON is 400 and says where" {
  create '' '{"Image": "busybox", '
  refused_400 .
  create '' '["an", "array"]'
  refused_400 .
  create '' '{"Image": 5}'
  refused_400 .
}

@test "JSON that is nested without end is 400, not a crash" {
  printf '%.0s[' $(seq 200000) >"$BATS_TEST_TMPDIR/deep"
  run api_status POST /containers/create -H 'Content-Type: application/json' --data-binary "@$BATS_TEST_TMPDIR/deep"
  refused_400 .
  engine_answers
}

@test "a body that is not JSON by its type is refused" {
  run api_status POST /containers/create -H 'Content-Type: text/plain' -d '{"Image":"busybox"}'
  assert_regex "${lines[-1]}" '^(400|415)$'
}

@test "a bad container name is 400" {
  create '?name=-bad' '{"Image":"busybox"}'
  refused 400 'Invalid container name \(-bad\)'
  create '?name=..%2f..%2fetc' '{"Image":"busybox"}'
  refused 400 'Invalid container name'
}

@test "a memory limit below the least is 400" {
  create '' '{"Image":"busybox","HostConfig":{"Memory":1024}}'
  refused 400 'Minimum memory limit allowed is 6MB'
}

@test "a bad mount is 400" {
  create '' '{"Image":"busybox","HostConfig":{"Binds":["/a:relative"]}}'
  refused_400 'invalid'
  create '' '{"Image":"busybox","HostConfig":{"Binds":["/a:/b:nonsense"]}}'
  refused_400 'invalid mode'
}

@test "a subpath that leads out of its volume, or of an anonymous one, is 400" {
  on_engine gantry || skip "Docker 20.10 does not know it"
  for path in ../a /a a/../../b; do
    create '' '{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"volume","Source":"vol","Target":"/m","VolumeOptions":{"Subpath":"'$path'"}}]}}'
    refused_400 'subpath must be a relative path within the volume'
  done
  create '' '{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"volume","Target":"/m","VolumeOptions":{"Subpath":"a"}}]}}'
  refused_400 'must not set Subpath when using anonymous volumes'
}

@test "what is not supported is refused beside --volumes-from too" {
  on_engine gantry || skip "about Gantry's own checks"
  api_json POST '/containers/create?name=giver' '{"Image":"busybox"}'
  create '' '{"Image":"busybox","HostConfig":{"VolumesFrom":["giver"],"VolumeDriver":"no-such-plugin"}}'
  refused 404 'plugin "no-such-plugin" not found'
  api_ok DELETE /containers/giver
}

@test "a bad port is 400" {
  create '' '{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"70000"}]}}}'
  refused 400 '70000'
}

@test "an unknown capability is 400" {
  create '' '{"Image":"busybox","HostConfig":{"CapAdd":["NO_SUCH"]}}'
  refused 400 'NO_SUCH'
}

@test "an unknown log driver or runtime is refused by name" {
  create '' '{"Image":"busybox","HostConfig":{"LogConfig":{"Type":"no-such-driver"}}}'
  assert_regex "${lines[-1]}" '^(400|500)$'
  assert_regex "${lines[0]}" 'no-such-driver'
  create '' '{"Image":"busybox","HostConfig":{"Runtime":"no-such-runtime"}}'
  assert_regex "${lines[-1]}" '^(400|500)$'
  assert_regex "${lines[0]}" 'no-such-runtime'
}

@test "an API version that is too old or too new is 400 and names the ones that are spoken" {
  run api_status GET /v1.1/version
  assert_equal "${lines[-1]}" 400
  assert_output --regexp 'client version 1.1 is too old. Minimum supported API version is 1\.[0-9]+'
  run api_status GET /v1.99/version
  assert_equal "${lines[-1]}" 400
  assert_output --regexp 'client version 1.99 is too new. Maximum supported API version is 1\.[0-9]+'
}

@test "an unknown path is 404, a wrong method 404 or 405" {
  run api_status GET /no/such/path
  refused 404 'page not found'
  run api_status PUT /version
  assert_regex "${lines[-1]}" '^40[45]$'
}

@test "unknown containers, images, volumes and networks are 404" {
  run api_status POST /containers/nobody/start
  refused 404 '^No such container: nobody$'
  run api_status GET /images/nothing:1/json
  refused 404 'No such image: nothing:1$'
  run api_status GET /volumes/nothing
  refused 404 'no such volume'
  run api_status GET /networks/nothing
  refused 404 '^network nothing not found$'
  run api_status POST /exec/nothing/start -H 'Content-Type: application/json' -d '{}'
  refused 404 'No such exec instance: nothing'
}

@test "a name that is in use is 409" {
  api_json POST '/containers/create?name=taken' '{"Image":"busybox"}'
  create '?name=taken' '{"Image":"busybox"}'
  refused 409 '^Conflict\. The container name "/taken" is already in use by container "?[0-9a-f]{64}"?\. You have to remove \(or rename\) that container to be able to reuse that name\.$'
  api_ok DELETE /containers/taken
}

@test "a request that contradicts the state is 409, one that changes nothing 304" {
  api_json POST '/containers/create?name=idle' '{"Image":"busybox","Cmd":["sleep","1000"]}'
  run api_status POST /containers/idle/kill
  refused 409 'is not running'
  run api_status POST /containers/idle/exec -H 'Content-Type: application/json' -d '{"Cmd":["true"]}'
  refused 409 'is not running'
  run api_status POST /containers/idle/stop
  assert_equal "${lines[-1]}" 304
  api_ok POST /containers/idle/start
  run api_status POST /containers/idle/start
  assert_equal "${lines[-1]}" 304
  run api_status DELETE /containers/idle
  assert_equal "${lines[-1]}" 409
  api_ok DELETE '/containers/idle?force=1'
}

@test "a signal that does not exist is refused" {
  api_json POST '/containers/create?name=sig' '{"Image":"busybox","Cmd":["sleep","1000"]}'
  api_ok POST /containers/sig/start
  run api_status POST '/containers/sig/kill?signal=NOSUCH'
  refused 400 '[Ii]nvalid signal'
  api_ok DELETE '/containers/sig?force=1'
}

@test "a command that is not there fails the start with 400 and leaves a container that can be removed" {
  api_json POST '/containers/create?name=nocmd' '{"Image":"busybox","Cmd":["no-such-command"]}'
  run api_status POST /containers/nocmd/start
  refused 400 'exec: "no-such-command": executable file not found in \$PATH'
  assert_equal "$(api GET /containers/nocmd/json | jq .State.ExitCode)" 127
  api_ok DELETE /containers/nocmd
}

# --- archives --------------------------------------------------------------------------------------------

load_archive() { run api_status POST /images/load -H 'Content-Type: application/x-tar' --data-binary "@$1"; }

# A load answers 200 and puts the error into the stream, or refuses at once.
load_refused() {
  load_archive "$1"
  if [ "${lines[-1]}" = 200 ]; then
    assert_output --partial '"error"'
  else
    assert_regex "${lines[-1]}" '^(400|500)$'
  fi
}

hostile_layer() { # OUT: python that fills the tar archive `t`
  /usr/bin/python3 - "$1" <<PYTHON
import io, sys, tarfile
t = tarfile.open(sys.argv[1], "w")
def add(name, kind=tarfile.REGTYPE, data=b"x", link="", **more):
    m = tarfile.TarInfo(name); m.type = kind; m.linkname = link; m.size = len(data) if kind == tarfile.REGTYPE else 0
    for key, value in more.items(): setattr(m, key, value)
    t.addfile(m, io.BytesIO(data))
$2
t.close()
PYTHON
}

load_hostile() { # PYTHON: an image whose last layer is that
  hostile_layer "$BATS_TEST_TMPDIR/hostile.tar" "$1"
  fixture_image "$BATS_TEST_TMPDIR/image.tar" --name hostile:1 --raw-layer "$BATS_TEST_TMPDIR/hostile.tar"
  load_archive "$BATS_TEST_TMPDIR/image.tar"
}

@test "an archive that is noise, or empty, or cut off is refused" {
  head -c 20000 /dev/urandom >"$BATS_TEST_TMPDIR/noise"
  load_refused "$BATS_TEST_TMPDIR/noise"
  : >"$BATS_TEST_TMPDIR/empty"
  load_archive "$BATS_TEST_TMPDIR/empty" # Docker takes it for an archive without images
  fixture_image "$BATS_TEST_TMPDIR/whole" --busybox --name cut:1 --file /cut=1
  head -c 1000000 "$BATS_TEST_TMPDIR/whole" >"$BATS_TEST_TMPDIR/cut"
  load_refused "$BATS_TEST_TMPDIR/cut"
  engine_answers
}

@test "a layer whose digest is not the one the config names is refused" {
  fixture_image "$BATS_TEST_TMPDIR/i.tar" --name lies:1 --file /a=original
  sed 's/original/ORIGINAL/' "$BATS_TEST_TMPDIR/i.tar" >"$BATS_TEST_TMPDIR/changed.tar"
  load_refused "$BATS_TEST_TMPDIR/changed.tar"
}

@test "an archive whose manifest names a path outside is refused" {
  mkdir "$BATS_TEST_TMPDIR/m"
  echo '[{"Config":"../../../../../../etc/passwd","RepoTags":["escape:1"],"Layers":[]}]' >"$BATS_TEST_TMPDIR/m/manifest.json"
  tar -C "$BATS_TEST_TMPDIR/m" -cf "$BATS_TEST_TMPDIR/m.tar" manifest.json
  load_refused "$BATS_TEST_TMPDIR/m.tar"
}

@test "a layer with a path that climbs out writes nothing outside" {
  canary=$BATS_TEST_TMPDIR/canary
  load_hostile "add('../../../../../../../../../../../../$canary')"
  refute [ -e "$canary" ]
  api_ok DELETE /images/hostile:1 || true
}

@test "a layer that writes through a link it made writes nothing outside" {
  mkdir "$BATS_TEST_TMPDIR/outside"
  load_hostile "add('door', tarfile.SYMTYPE, link='$BATS_TEST_TMPDIR/outside'); add('door/canary')"
  assert_equal "$(ls -A "$BATS_TEST_TMPDIR/outside")" ''
  api_ok DELETE /images/hostile:1 || true
}

@test "a layer with a hard link to a file of the host does not get it" {
  echo secret >"$BATS_TEST_TMPDIR/secret"
  load_hostile "add('stolen', tarfile.LNKTYPE, link='../../../../../../../../../../../../$BATS_TEST_TMPDIR/secret')"
  assert_equal "$(stat -c %h "$BATS_TEST_TMPDIR/secret")" 1
  api_ok DELETE /images/hostile:1 || true
}

@test "a layer that says it is overlayfs' own business is refused" {
  on_engine gantry || skip "Docker's daemon strips some of these and takes others"
  load_hostile "add('a', pax_headers={'SCHILY.xattr.trusted.overlay.opaque': 'y'})"
  assert_output --partial 'the attribute trusted.overlay.opaque is not allowed'
  load_hostile "add('a', tarfile.CHRTYPE, devmajor=0, devminor=0)"
  assert_output --partial '0/0'
}

@test "import of an archive with a path that climbs out writes nothing outside" {
  canary=$BATS_TEST_TMPDIR/canary2
  hostile_layer "$BATS_TEST_TMPDIR/h.tar" "add('../../../../../../../../../../../../$canary')"
  run api_status POST '/images/create?fromSrc=-&repo=climbs&tag=1' --data-binary "@$BATS_TEST_TMPDIR/h.tar"
  refute [ -e "$canary" ]
  api_ok DELETE /images/climbs:1 || true
}
