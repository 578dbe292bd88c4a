#!/usr/bin/env bats
# Building images with a client: Docker's classic builder, and gantry's own command.
load ../../lib/common

setup_file() {
  export DOCKER_BUILDKIT=0
  usual_setup_file
}
teardown_file() { usual_teardown_file; }
teardown() { usual_teardown; }

setup() { context=$(mktemp -d "$TEST_ROOT/context.XXXXXX"); }

# dockerfile: standard input becomes the Dockerfile of the context
dockerfile() { cat >"$context/Dockerfile"; }
build() { client build "$@" "$context"; }

@test "an image is built, tagged and run" {
  echo hello >"$context/file.txt"
  dockerfile <<'DOCKER'
FROM busybox
ENV who=world
LABEL a=b
WORKDIR /work
COPY file.txt .
RUN echo "$who" >>file.txt && pwd
CMD ["cat", "/work/file.txt"]
DOCKER
  run build -t built:one -t built:two
  assert_success
  assert_line --partial "Step 1/7 : FROM busybox"
  assert_line --partial "---> Running in"
  assert_line "/work"
  assert_line --partial "Successfully built"
  assert_line "Successfully tagged built:one"
  assert_line "Successfully tagged built:two"
  run client run --rm built:two
  assert_success
  assert_output $'hello\nworld'
  run client inspect -f '{{.Config.WorkingDir}} {{.Config.Labels.a}}' built:one
  assert_output "/work b"
  run client history --no-trunc --format '{{.CreatedBy}}' built:one
  assert_line --index 0 'CMD ["cat","/work/file.txt"]'
  assert_line --index 1 --partial 'echo "$who"'
}

@test "nothing changed: every step is found again, also after the daemon was killed" {
  echo 1 >"$context/a"
  dockerfile <<'DOCKER'
FROM busybox
COPY a /a
RUN date +%s%N >/stamp
DOCKER
  build -q >"$TEST_ROOT/first"
  touch -d yesterday "$context/a"
  run build
  assert_success
  [ "$(grep -c 'Using cache' <<<"$output")" -eq 2 ]
  engine_kill main
  engine_start main
  build -q >"$TEST_ROOT/second"
  diff "$TEST_ROOT/first" "$TEST_ROOT/second"
  echo 2 >"$context/a"
  run build
  assert_success
  refute_line --partial "Using cache"
  run build --no-cache
  refute_line --partial "Using cache"
}

@test "stages: only those that are needed are built, and files come from them" {
  dockerfile <<'DOCKER'
FROM busybox AS one
RUN mkdir -p /out/d && echo 1 >/out/d/f && chown 5:6 /out/d/f
FROM busybox AS never
RUN false
FROM scratch AS last
COPY --from=one /out/ /
COPY --from=busybox /bin/busybox /bin/
FROM last
CMD ["/bin/busybox", "stat", "-c", "%u %g", "/d/f"]
DOCKER
  run build -t stages
  assert_success
  run client run --rm stages
  assert_output "5 6"
  run build --target never
  assert_failure
  run build --target nowhere
  assert_failure
  assert_output --partial "failed to reach build target nowhere"
}

@test "a command that fails ends the build with its code, and what it said is shown" {
  dockerfile <<'DOCKER'
FROM busybox
RUN echo before; exit 23
DOCKER
  run build -t failing
  assert_failure 23
  assert_line "before"
  assert_output --partial "The command '/bin/sh -c echo before; exit 23' returned a non-zero code: 23"
  run client images -q failing
  assert_output ""
}

@test "mistakes are told with their line and what was meant" {
  dockerfile <<<$'FROM busybox\nRUNN true'
  run build
  assert_failure
  assert_output --partial "unknown instruction: RUNN (did you mean RUN?)"
  dockerfile <<<$'FROM busybox\nCOPY nothing /'
  run build
  assert_failure
  assert_output --partial "nothing"
  dockerfile <<<$'FROM busybox\nCOPY --from=later /a /\nFROM busybox AS later'
  run build --target 0
  assert_failure
  assert_output --partial "later"
  dockerfile <<<$'FROM busybox\nCOPY ../secret /'
  run build
  assert_failure
  assert_output --partial "forbidden path outside the build context"
  dockerfile <<<$'# syntax=example.com/other:1\nFROM busybox'
  run build
  assert_failure
  assert_output --partial "only docker/dockerfile"
  dockerfile <<<$'FROM no-such-image-here.invalid/x'
  run build
  assert_failure
}

@test "COPY follows Docker's rules for directories, wildcards and slashes" {
  mkdir -p "$context/d/sub" "$context/other"
  echo a >"$context/d/a.txt"
  echo b >"$context/d/sub/b.txt"
  echo c >"$context/c.txt"
  ln -s d/a.txt "$context/link"
  ln -s a.txt "$context/d/inner"
  chmod 4750 "$context/c.txt"
  dockerfile <<'DOCKER'
FROM busybox
RUN mkdir /there /real && ln -s real /linked && echo old >/there/c.txt
COPY d /whole
COPY d/*.txt c.txt /many/
COPY c.txt /there
COPY c.txt /renamed
COPY link /followed
COPY c.txt /linked/x/
COPY --chown=7:8 --chmod=0604 c.txt /owned/
ADD d/sub /added
COPY <<FILE /here/doc
text $HOME ${unset:-default}
FILE
DOCKER
  run build -t copies
  assert_success
  run client run --rm copies sh -c 'cat /whole/a.txt /whole/sub/b.txt /many/a.txt /many/c.txt /there/c.txt /renamed /followed /real/x/c.txt /added/b.txt
    stat -c "%u:%g %a" /owned/c.txt /renamed; readlink /whole/inner; cat /here/doc; ls -d /owned -ln | cut -c1-10'
  assert_success
  assert_output $'a\nb\na\nc\nc\nc\na\nc\nb\n7:8 604\n0:0 4750\na.txt\ntext  default\ndrwxr-xr-x'
  dockerfile <<<$'FROM busybox\nCOPY c.txt d/a.txt /file'
  run build
  assert_failure
  assert_output --partial "the destination must be a directory and end with a /"
}

@test ".dockerignore decides what is sent, and ADD unpacks archives" {
  mkdir -p "$context/node_modules/x" "$context/in"
  echo n >"$context/node_modules/x/y"
  echo k >"$context/keep.log"
  echo l >"$context/drop.log"
  echo i >"$context/in/file"
  tar -C "$context/in" -czf "$context/packed.tgz" file
  printf '%s\n' node_modules '*.log' '!keep.log' Dockerfile >"$context/.dockerignore"
  dockerfile <<'DOCKER'
FROM busybox
COPY . /all
ADD packed.tgz /unpacked/
COPY packed.tgz /packed/
RUN find /all /unpacked /packed -type f | sort
DOCKER
  run build
  assert_success
  assert_line "/all/keep.log"
  assert_line "/all/in/file"
  assert_line "/unpacked/file"
  assert_line "/packed/packed.tgz"
  refute_line "/all/drop.log"
  refute_line "/all/Dockerfile"
  refute_line "/all/node_modules/x/y"
}

@test "arguments: declared ones are variables, and those that nothing takes are told of" {
  dockerfile <<'DOCKER'
ARG base=busybox
FROM ${base}
ARG a=1
ARG b
RUN echo "a=$a b=$b arch=$TARGETARCH"
ARG TARGETARCH
RUN echo "arch=${TARGETARCH}"
DOCKER
  run build --build-arg b=2 --build-arg stray=1
  assert_success
  assert_line "a=1 b=2 arch="
  refute_line "arch="
  assert_line --partial "[stray] were not consumed"
}

@test "commands have the isolation, user, directory and network that they are to have" {
  dockerfile <<'DOCKER'
FROM busybox
RUN echo someone:x:77:77::/:/bin/sh >>/etc/passwd
USER someone
WORKDIR /tmp/x
RUN id -u; pwd; ls -l /proc/self/ns >/dev/null; cat /proc/self/status | grep -E 'Seccomp:|CapEff'
RUN --network=none ! ip -o link | grep eth && echo isolated
DOCKER
  run build
  assert_success
  assert_line "77"
  assert_line "/tmp/x"
  assert_line $'Seccomp:\t2'
  assert_line $'CapEff:\t0000000000000000'
  assert_line "isolated"
  run build --network none
  assert_success
}

@test "the base's ONBUILD instructions are carried out once" {
  dockerfile <<<$'FROM busybox\nONBUILD RUN echo triggered\nONBUILD COPY f /f'
  build -q -t base
  echo f >"$context/f"
  dockerfile <<<$'FROM base\nRUN cat /f'
  run build -t child
  assert_success
  assert_line "triggered"
  assert_line "f"
  run client inspect child
  refute_output --partial "RUN echo triggered"
}

@test "mounts of RUN: bind, cache and tmpfs leave nothing in the layer" {
  echo data >"$context/data"
  dockerfile <<'DOCKER'
FROM busybox AS tools
RUN echo tool >/tool
FROM busybox
RUN --mount=type=bind,target=/ctx --mount=type=bind,from=tools,source=/tool,target=/the/tool cat /ctx/data /the/tool
RUN --mount=type=cache,target=/cache echo x >>/cache/log; wc -l </cache/log
RUN --mount=type=cache,target=/cache echo x >>/cache/log; wc -l </cache/log # again
RUN --mount=type=tmpfs,target=/scratch touch /scratch/a
RUN ls -d /ctx /the /cache /scratch || true
DOCKER
  run build
  assert_success
  assert_line "data"
  assert_line "tool"
  assert_line "1"
  assert_line "2"
  for path in /ctx /the /cache /scratch; do
    assert_line --partial "ls: $path: No such file"
  done
}

@test "heredocs of RUN are scripts" {
  dockerfile <<'DOCKER'
FROM busybox
RUN <<EOF
echo one
echo two >/two
EOF
RUN cat <<A - && echo end
in $0
A
RUN <<PROGRAM
#!/bin/sh
echo "$0"
PROGRAM
RUN cat /two; ls /dev/pipes 2>&1 | head -1
DOCKER
  run build
  assert_success
  assert_line "one"
  assert_line "in /bin/sh"
  assert_line "two"
  assert_line "/dev/pipes/PROGRAM"
}

@test "the context on standard input, and a Dockerfile from elsewhere" {
  echo in >"$context/in"
  dockerfile <<<$'FROM busybox\nCOPY in /\nRUN cat /in'
  run client build - < <(tar -C "$context" -c .)
  assert_success
  assert_line "in"
  run client build - < <(tar -C "$context" -cz .)
  assert_success
  mv "$context/Dockerfile" "$TEST_ROOT/Elsewhere"
  run client build -f "$TEST_ROOT/Elsewhere" "$context"
  assert_success
  run client build -f - "$context" < <(printf 'FROM busybox\nRUN ls -a')
  assert_success
  run client build - < <(printf 'FROM busybox\nRUN echo alone\n')
  assert_success
  assert_line "alone"
}

@test "a build that is cancelled leaves no container, no process and no image" {
  dockerfile <<<$'FROM busybox\nRUN echo started; sleep 7431'
  client_background "$TEST_ROOT/out" build -t cancelled "$context"
  eventually 20 grep -q '^started' "$TEST_ROOT/out"
  run client ps -aq
  assert_output ""
  kill -TERM "$client_pid"
  client_ends
  nothing_sleeps() { ! pgrep -f 'sleep 7431' >/dev/null; }
  eventually 20 nothing_sleeps
  run client images -q cancelled
  assert_output ""
}

@test "the cache is shown and pruned" {
  dockerfile <<<$'FROM busybox\nRUN echo cached >/cached'
  build -q -t pruned
  run api GET /system/df
  [ "$(jq '.BuildCache | length' <<<"$output")" -gt 0 ]
  run client builder prune -af
  assert_success
  assert_output --partial "Total reclaimed space"
  [ "$(api GET /system/df | jq '.BuildCache | length')" -eq 0 ]
  run client run --rm pruned cat /cached
  assert_output "cached"
}
