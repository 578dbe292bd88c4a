#!/usr/bin/env bats
# What a build promises whatever client asks: hostile contexts, equal images on two daemons, nothing but cache after a
# failure, one operation for builds that run at the same time.
load ../lib/common

setup_file() {
  on_engine gantry || skip "Docker's daemon is not held to it"
  CLIENT=gantry usual_setup_file
}
teardown_file() { usual_teardown_file; }
teardown() { usual_teardown; }

setup() {
  CLIENT=gantry
  context=$(mktemp -d "$TEST_ROOT/context.XXXXXX")
}

dockerfile() { cat >"$context/Dockerfile"; }

# post_build QUERY: the context on standard input; the stream of the answer.
post_build() { api POST "/build?$1" -H 'Content-Type: application/x-tar' --data-binary @-; }

# hostile PYTHON: a context whose members the statements add to `tar`, with a Dockerfile that copies all of it.
hostile() {
  /usr/bin/python3 - "$1" <<'PYTHON'
import io, sys, tarfile
out = tarfile.open(fileobj=sys.stdout.buffer, mode="w|")
def add(name, text="", **fields):
    member = tarfile.TarInfo(name)
    member.size = len(text)
    for key, value in fields.items():
        setattr(member, key, value)
    out.addfile(member, io.BytesIO(text.encode()))
exec(sys.argv[1])
out.close()
PYTHON
}

@test "no member, link or source of a context leads to a file of the host" {
  echo canary >"$TEST_ROOT/canary"
  copy_all='add("Dockerfile", "FROM busybox\nCOPY . /all/\nCOPY link /got\n")'
  # A link that leads out of the context is looked up within it.
  run post_build t=hostile < <(hostile "$copy_all; add('link', type=tarfile.SYMTYPE, linkname='$TEST_ROOT/canary')")
  assert_output --partial "file not found in build context"
  run post_build t=hostile < <(hostile "$copy_all; add('link', type=tarfile.SYMTYPE, linkname='../../../../../../etc/passwd')")
  assert_output --partial "file not found in build context"
  run post_build t=hostile < <(hostile "$copy_all; add('link', type=tarfile.LNKTYPE, linkname='/etc/passwd')")
  assert_output --partial "not before it in the archive"
  run post_build t=hostile < <(hostile "$copy_all; add('../outside', 'x')")
  assert_output --partial "leads out of it"
  run post_build t=hostile < <(hostile 'add("Dockerfile", type=tarfile.SYMTYPE, linkname="/etc/passwd")')
  assert_output --partial "Cannot locate specified Dockerfile"
  run post_build 'dockerfile=../../etc/passwd' < <(hostile 'add("x", "y")')
  assert_output --partial "forbidden path outside the build context"
  for type in FIFOTYPE CHRTYPE BLKTYPE; do
    run post_build t=hostile < <(hostile "$copy_all; add('link', 'x'); add('special', type=tarfile.$type)")
    assert_output --partial "device or a pipe"
  done
  run post_build t=hostile < <(hostile "$copy_all; add('link', 'x'); add('.wh.etc', 'x')")
  assert_output --partial ".wh."
  [ "$(cat "$TEST_ROOT/canary")" = canary ]
  api_ok GET /_ping
  run client images -q hostile
  assert_output ""
}

@test "what is no archive, and no Dockerfile, is told" {
  run post_build t=x < <(printf 'not an archive, but long enough to be taken for one %0600d' 0)
  assert_output --partial "the build context"
  run post_build t=x < <(hostile 'add("other", "x")')
  assert_output --partial "Cannot locate specified Dockerfile: Dockerfile"
  run api_status POST '/build?version=2'
  assert_output --partial "DOCKER_BUILDKIT=0"
  run api_status POST '/build?t=UPPER' -H 'Content-Type: application/x-tar' --data-binary @/dev/null
  assert_output --partial "must be lowercase"
  run api_status POST '/build?buildargs=nonsense'
  assert_output --partial "error reading buildargs"
}

@test "links in the image below a COPY lead nowhere else" {
  echo new >"$context/f"
  dockerfile <<DOCKER
FROM busybox
RUN ln -s $TEST_ROOT/victim /absolute && ln -s ../../../../../..$TEST_ROOT/victim /relative
COPY f /absolute/one
COPY f /relative/two
RUN cat $TEST_ROOT/victim/one $TEST_ROOT/victim/two
DOCKER
  mkdir "$TEST_ROOT/victim"
  run client build "$context"
  assert_success
  assert_equal "$(ls "$TEST_ROOT/victim")" ""
}

@test "a cache mount that a command filled with links reaches nothing of the host" {
  mkdir "$TEST_ROOT/host"
  echo canary >"$TEST_ROOT/host/file"
  dockerfile <<DOCKER
FROM busybox
RUN --mount=type=cache,target=/c,id=evil ln -s $TEST_ROOT/host /c/sub
RUN --mount=type=cache,target=/d,id=evil,source=sub rm -rf /d/* /d/file; touch /d/made
DOCKER
  run client build "$context"
  [ "$(cat "$TEST_ROOT/host/file")" = canary ]
  [ ! -e "$TEST_ROOT/host/made" ]
}

@test "the places of mounts are cleaned up in the layer and nowhere else" {
  mkdir "$TEST_ROOT/place"
  dockerfile <<DOCKER
FROM busybox
RUN --mount=type=tmpfs,target=/m/inner rmdir /m/inner 2>/dev/null; rm -rf /m 2>/dev/null; ln -s $TEST_ROOT/place /n
RUN ls -ld /m 2>&1; ls -ld /n
DOCKER
  run client build "$context"
  [ -d "$TEST_ROOT/place" ]
}

@test "two daemons make the same image of the same inputs" {
  engine_start second --bridge gtsecond0 --bip 10.231.7.1/24
  echo data >"$context/file"
  dockerfile <<'DOCKER'
FROM busybox
LABEL a=b
COPY file /copied/
RUN mkdir -p /made/in && echo x >/made/in/file && hostname >/host && echo $SOURCE_DATE_EPOCH >/epoch
WORKDIR /work
DOCKER
  touch -d '2021-01-01' "$context/file"
  client build -q "$context" >"$TEST_ROOT/id.main"
  touch "$context/file"
  ENGINE_NAME=second client build -q "$context" >"$TEST_ROOT/id.second"
  engine_stop second
  diff "$TEST_ROOT/id.main" "$TEST_ROOT/id.second"
  client build -q --build-arg SOURCE_DATE_EPOCH=1000000000 -t dated "$context"
  assert_equal "$(client inspect -f '{{.Created}}' dated)" 2001-09-09T01:46:40Z
  run client run --rm dated stat -c %Y /made/in/file /copied/file /work
  assert_output $'1000000000\n1000000000\n1000000000'
  # Made now, whatever its own time says.
  run client images --format '{{.CreatedSince}}' dated
  assert_output --regexp 'second|minute'
}

@test "a secret is there for its command alone" {
  printf 'hunter%s' 2 >"$TEST_ROOT/secret"
  dockerfile <<'DOCKER'
FROM busybox
RUN --mount=type=secret,id=token wc -c </run/secrets/token; stat -c %a /run/secrets/token
RUN --mount=type=secret,id=token,env=TOKEN echo "${#TOKEN}"
RUN ls /run/secrets 2>&1 || true
RUN --mount=type=secret,id=absent,required=true true
DOCKER
  run client build -t secretive --secret "id=token,src=$TEST_ROOT/secret" "$context"
  assert_failure
  assert_line "7"
  assert_line "400"
  assert_output --partial "secret absent: not found"
  sed -i '$d' "$context/Dockerfile"
  run client build -t secretive --secret "id=token,src=$TEST_ROOT/secret" "$context"
  assert_success
  run client save -o "$TEST_ROOT/saved.tar" secretive
  refute grep -q hunter2 "$TEST_ROOT/saved.tar"
  refute grep -rqs hunter2 "$(engine_dir)/log" "$(engine_dir)/data"
}

@test "builds at the same time do one operation once" {
  dockerfile <<'DOCKER'
FROM busybox
RUN --mount=type=cache,target=/count echo x >>/count/once; sleep 1
RUN --mount=type=cache,target=/count wc -l </count/once
DOCKER
  for i in 1 2 3 4; do
    client build "$context" >"$TEST_ROOT/out.$i" 2>&1 3>&- &
    pids[i]=$!
  done
  for i in 1 2 3 4; do wait "${pids[i]}"; done
  run cat "$TEST_ROOT"/out.[1-4]
  assert_line "1"
  [ "$(grep -c 'Using cache' <<<"$output")" -ge 3 ]
}

@test "a daemon that is killed during a build leaves cache, and the next build goes on from it" {
  dockerfile <<'DOCKER'
FROM busybox
RUN echo first; date +%s%N >/first
RUN echo second; sleep 7432
DOCKER
  client_background "$TEST_ROOT/out" build -t killed "$context"
  eventually 20 grep -q '^second' "$TEST_ROOT/out"
  engine_kill main
  client_ends
  engine_start main
  nothing_sleeps() { ! pgrep -f 'sleep 7432$' >/dev/null; }
  eventually 20 nothing_sleeps
  sed -i 's/sleep 7432/true/' "$context/Dockerfile"
  run client build -t killed "$context"
  assert_success
  assert_output --partial "Using cache"
}

@test "outputs: a directory, an archive, an image file" {
  echo data >"$context/file"
  dockerfile <<<$'FROM scratch\nCOPY file /in/'
  run client build --output "type=local,dest=$TEST_ROOT/tree" "$context"
  assert_success
  assert_equal "$(cat "$TEST_ROOT/tree/in/file")" data
  run client build --output "type=tar,dest=$TEST_ROOT/files.tar" "$context"
  assert_success
  assert_equal "$(tar -xOf "$TEST_ROOT/files.tar" in/file)" data
  run client build -t saved:1 --output "type=oci,dest=$TEST_ROOT/image.tar" --iidfile "$TEST_ROOT/iid" "$context"
  assert_success
  run tar -tf "$TEST_ROOT/image.tar"
  assert_line index.json
  assert_equal "$(client inspect -f '{{.Id}}' saved:1)" "$(cat "$TEST_ROOT/iid")"
  run client build --call=targets "$context"
  assert_output --partial "0 (default)"
}

@test "squash makes one layer of what was built" {
  dockerfile <<<$'FROM busybox\nRUN echo 1 >/one\nRUN rm /one && echo 2 >/two\nRUN rm /bin/wget'
  client build -q --squash -t squashed "$context"
  base=$(client inspect -f '{{len .RootFS.Layers}}' busybox)
  assert_equal "$(client inspect -f '{{len .RootFS.Layers}}' squashed)" $((base + 1))
  run client run --rm squashed sh -c 'cat /two; ls /one /bin/wget 2>&1 | wc -l'
  assert_output $'2\n2'
}
