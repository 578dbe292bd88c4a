#!/usr/bin/env bats
# Between containers and images: diff, export, commit, import, and what the commands about images show. What
# dockerd does is what the tests expect (ENGINE=dockerd runs them against it).
load ../lib/common

setup_file() { usual_setup_file; }
teardown_file() { usual_teardown_file; }
teardown() {
  usual_teardown
  remove_all_containers
  client images -q --filter 'reference=t/*' | sort -u | xargs -r "$(client_program)" -H "unix://$(engine_socket)" rmi -f >/dev/null
}

image() { client image inspect -f "$2" "$1"; } # NAME TEMPLATE
running() { client run -d --name "$1" "${@:2}" >/dev/null; } # NAME ARGUMENT…

# --- diff ------------------------------------------------------------------------------------------------

@test "diff shows what was added, changed and deleted, with the directories on the way, in order" {
  client run --name box busybox sh -c 'echo x >/etc/new; mkdir -p /a/b; echo y >/a/b/f; rm /etc/group; echo z >>/etc/passwd'
  run client diff box
  assert_success
  ! on_engine dockerd || output=$(sort -k 2 <<<"$output") # which compares trees in no order where it cannot do better
  assert_output "A /a
A /a/b
A /a/b/f
C /etc
D /etc/group
A /etc/new
C /etc/passwd"
}

@test "diff of a file that is changed in place names its directory, too" {
  client run --name box busybox sh -c 'echo z >>/etc/passwd'
  run client diff box
  assert_output "C /etc
C /etc/passwd"
}

@test "diff shows nothing of what the engine mounts, and a running container's files as they are" {
  running box -v t-vol:/tmp -p 127.0.0.1::80 busybox sh -c 'touch /made; exec sleep 1000'
  eventually 5 client exec box test -e /made
  run client diff box
  assert_output "A /made"
  client rm -f box
  client volume rm t-vol
}

@test "diff of a container that changed nothing is empty, and of none is 404" {
  client create --name box busybox true
  run client diff box
  assert_success
  assert_output ""
  run api_status GET /containers/nope/changes
  assert_equal "${lines[-1]}" 404
  assert_equal "$(jq -r .message <<<"${lines[0]}")" "No such container: nope"
}

# --- export ----------------------------------------------------------------------------------------------

@test "export writes the whole file system of a running and of a stopped container, without its volumes" {
  running box -v t-vol:/vol busybox sh -c 'echo hello >/made; echo hidden >/vol/hidden; ln -s made /link; ln /made /hard; exec sleep 1000'
  eventually 5 client exec box test -e /hard
  for state in running stopped; do
    client export -o "$BATS_TEST_TMPDIR/$state.tar" box
    tar -tf "$BATS_TEST_TMPDIR/$state.tar" | sed 's,^\./,,' | sort >"$BATS_TEST_TMPDIR/$state"
    grep -qx bin/busybox "$BATS_TEST_TMPDIR/$state"
    grep -qx vol/ "$BATS_TEST_TMPDIR/$state"
    run ! grep -q hidden "$BATS_TEST_TMPDIR/$state"
    assert_equal "$(tar -xOf "$BATS_TEST_TMPDIR/$state.tar" made hard 2>/dev/null | head -n 1)" hello
    tar -tvf "$BATS_TEST_TMPDIR/$state.tar" link | grep -q 'link -> made'
    client stop -t 0 box >/dev/null
  done
  diff "$BATS_TEST_TMPDIR/running" "$BATS_TEST_TMPDIR/stopped"
  client rm -f box
  client volume rm t-vol
}

@test "export refuses a terminal, and a container that is not there; nothing is left of a failed one" {
  run client export -o "$BATS_TEST_TMPDIR/x.tar" nope
  assert_failure 1
  assert_output --partial "No such container: nope"
  refute [ -e "$BATS_TEST_TMPDIR/x.tar" ]
  client create --name box busybox true
  run client_terminal -- export box
  assert_output --partial 'cowardly refusing to save to a terminal. Use the -o flag or redirect'
}

@test "what was exported can be imported and run" {
  client run --name box busybox sh -c 'echo hello >/made'
  client export box | client import -c 'CMD ["cat", "/made"]' -m 'a message' - t/imported:1
  assert_equal "$(client run --rm t/imported:1)" hello
  assert_equal "$(image t/imported:1 '{{.Comment}}')" 'a message'
}

# --- commit ----------------------------------------------------------------------------------------------

@test "commit makes an image of what a container changed" {
  client run --name box -e A=1 busybox sh -c 'echo hello >/made; rm /etc/group'
  run client commit -a 'An Author <a@example.org>' -m 'a message' box t/commit:1
  assert_success
  assert_equal "$output" "$(image t/commit:1 '{{.Id}}')"
  assert_equal "$(client run --rm t/commit:1 sh -c 'cat /made; ls /etc/group 2>&1; echo $A')" \
    "hello
ls: /etc/group: No such file or directory
1"
  assert_equal "$(image t/commit:1 '{{.Author}}|{{.Comment}}|{{.Parent}}')" \
    "An Author <a@example.org>|a message|$(image busybox '{{.Id}}')"
  assert_equal "$(image t/commit:1 '{{len .RootFS.Layers}}')" $(($(image busybox '{{len .RootFS.Layers}}') + 1))
  assert_equal "$(image t/commit:1 '{{json .Config.Cmd}}')" '["sh","-c","echo hello >/made; rm /etc/group"]'
  run client history --no-trunc --format '{{.CreatedBy}}|{{.Comment}}' t/commit:1
  assert_line -n 0 'sh -c echo hello >/made; rm /etc/group|a message'
}

@test "commit --change takes the instructions of a Dockerfile" {
  local -a signal=(-c 'STOPSIGNAL SIGINT')
  ! on_engine dockerd || signal=() # since Docker 23
  client create --name box -l keep=me -e OLD=1 busybox sleep 1
  client commit \
    -c 'ENV A=1 B="two words"' -c 'ENV C $A-${B}' -c 'LABEL x=y' -c 'EXPOSE 80 53/udp' -c 'USER nobody' \
    -c 'WORKDIR /w' -c 'WORKDIR sub' -c 'VOLUME ["/v", "/u"]' "${signal[@]}" -c 'ONBUILD RUN true' \
    -c 'HEALTHCHECK --interval=5s --retries=3 CMD ["true"]' -c 'ENTRYPOINT ["echo"]' -c 'CMD hi' box t/change:1
  assert_equal "$(image t/change:1 '{{json .Config.Env}}' | jq -c 'map(select(startswith("PATH=") | not)) | sort')" \
    '["A=1","B=two words","C=1-two words","OLD=1"]'
  assert_equal "$(image t/change:1 '{{json .Config.Labels}}')" '{"keep":"me","x":"y"}'
  assert_equal "$(image t/change:1 '{{json .Config.ExposedPorts}}')" '{"53/udp":{},"80/tcp":{}}'
  assert_equal "$(image t/change:1 '{{json .Config.Volumes}}')" '{"/u":{},"/v":{}}'
  assert_equal "$(image t/change:1 '{{.Config.User}} {{.Config.WorkingDir}} {{json .Config.OnBuild}}')" 'nobody /w/sub ["RUN true"]'
  on_engine dockerd || assert_equal "$(image t/change:1 '{{.Config.StopSignal}}')" SIGINT
  assert_equal "$(image t/change:1 '{{json .Config.Entrypoint}} {{json .Config.Cmd}}')" '["echo"] ["/bin/sh","-c","hi"]'
  assert_equal "$(image t/change:1 '{{json .Config.Healthcheck}}')" '{"Test":["CMD","true"],"Interval":5000000000,"Retries":3}'
}

@test "commit with an entry point of its own drops the container's command" {
  client create --name box busybox sleep 1
  client commit -c 'ENTRYPOINT ["true"]' box t/change:2
  assert_equal "$(image t/change:2 '{{json .Config}}' | jq -c '[.Entrypoint, .Cmd]')" '[["true"],null]'
}

@test "commit merges the configuration of its body with the container's" {
  client create --name box -e A=1 -l a=b busybox sleep 1
  run api_json POST '/commit?container=box&repo=t/body&tag=1' '{"Env": ["B=2"], "Cmd": ["true"], "Labels": {"c": "d"}}'
  assert_equal "${lines[-1]}" 201
  assert_equal "$(image t/body:1 '{{json .Config.Env}}' | jq -c 'map(select(startswith("PATH=") | not)) | sort')" '["A=1","B=2"]'
  assert_equal "$(image t/body:1 '{{json .Config.Cmd}} {{json .Config.Labels}}')" '["true"] {"a":"b","c":"d"}'
}

@test "commit of a container that changed nothing adds no layer but a line of history" {
  client create --name box busybox true
  client commit -m nothing box t/nothing:1
  assert_equal "$(image t/nothing:1 '{{json .RootFS.Layers}}')" "$(image busybox '{{json .RootFS.Layers}}')"
  run client history --format '{{.Comment}} {{.Size}}' t/nothing:1
  assert_line -n 0 'nothing 0B'
}

@test "a running container goes on after its commit, paused or not" {
  running box busybox sh -c 'echo hello >/made; exec sleep 1000'
  eventually 5 client exec box test -e /made
  client commit box t/running:1
  client commit -p=false box t/running:2
  client exec box true
  for tag in 1 2; do assert_equal "$(client run --rm "t/running:$tag" cat /made)" hello; done
  client pause box
  client commit box t/running:3
  assert_equal "$(client inspect -f '{{.State.Status}}' box)" paused
  client unpause box
}

@test "commit is told of as Docker tells it" {
  client create --name box busybox true
  since=$(date +%s)
  id=$(client commit -m words box t/event:1)
  run client events --since "$since" --until "$(($(date +%s) + 1))" --format '{{.Type}} {{.Action}} {{index .Actor.Attributes "imageID"}} {{index .Actor.Attributes "comment"}}'
  assert_line --regexp '^image tag '
  assert_line "container commit $id words"
}

@test "a commit that is refused says why and makes nothing" {
  client create --name box busybox true
  before=$(client images -aq | sort)
  run client commit nope t/x:1
  assert_failure 1
  assert_output --partial 'No such container: nope'
  run client commit box 'Not A Reference'
  assert_failure 1
  assert_output --partial 'invalid reference format'
  run client commit -c 'RUN true' box t/x:1
  assert_failure 1
  assert_output --partial 'run is not a valid change command'
  run client commit -c 'EXPOSE 99999' box t/x:1
  assert_failure 1
  run client commit -c 'HEALTHCHECK --interval=nonsense CMD true' box t/x:1
  assert_failure 1
  run client commit -c 'ONBUILD FROM busybox' box t/x:1
  assert_failure 1
  assert_output --partial "FROM isn't allowed as an ONBUILD trigger"
  assert_equal "$(client images -aq | sort)" "$before"
}

@test "an image with a child of its own cannot be removed before it, and goes with it" {
  client run --name box busybox touch /a
  client commit box t/parent:1
  client run --name other t/parent:1 touch /b
  client commit other t/child:1
  client rm box other
  parent=$(image t/parent:1 '{{.Id}}')
  run client rmi t/parent:1
  assert_success
  assert_output 'Untagged: t/parent:1'
  run client rmi "$parent"
  assert_failure 1
  assert_output --partial 'image has dependent child images'
  run client rmi t/child:1
  assert_success
  assert_line "Deleted: $parent"
}

# --- lists -----------------------------------------------------------------------------------------------

@test "images that share layers are removed together" {
  tar -C "$BATS_TEST_DIRNAME" -c images.bats | client import - t/base:1
  before=$(client images -qa | sort -u | wc -l)
  # A child without a layer of its own, whose parent has lost its name.
  client create --name box t/base:1 x
  client commit -c 'CMD ["a"]' box t/child:1
  client rm box
  client rmi t/base:1
  run client rmi t/child:1
  assert_success
  # Several without names, on layers that are each other's.
  tar -C "$BATS_TEST_DIRNAME" -c images.bats | client import - t/base:1
  client create --name box t/base:1 x
  client cp "$BATS_TEST_DIRNAME/copy.bats" box:/one
  first=$(client commit box)
  second=$(client commit -c 'CMD ["b"]' box)
  client rm box
  client create --name box "$first" x
  client cp "$BATS_TEST_DIRNAME/copy.bats" box:/two
  third=$(client commit box)
  client rm box
  client rmi t/base:1
  run client image prune -f
  assert_success
  for image in "$first" "$second" "$third"; do
    run client image inspect "$image"
    assert_failure
  done
  assert_equal "$(client images -qa | sort -u | wc -l)" $((before - 1))
}

@test "images can be chosen by label, reference, before, since, until and dangling" {
  client create --name box busybox true
  client commit -c 'LABEL kind=one' box t/one:1
  client commit -c 'LABEL kind=two' box t/two:1
  dangling=$(client commit -c 'LABEL kind=three' box)
  names() { client images --format '{{.Repository}}:{{.Tag}}' "$@" | sort | paste -sd' '; }
  assert_equal "$(names -f label=kind=one)" t/one:1
  assert_equal "$(names -f label=kind -f dangling=false)" 't/one:1 t/two:1'
  assert_equal "$(names -f 'reference=t/*:1')" 't/one:1 t/two:1'
  assert_equal "$(names 't/two')" t/two:1
  assert_equal "$(names -f 'reference=t/*' -f before=t/two:1)" t/one:1
  assert_equal "$(names -f 'reference=t/*' -f since=t/one:1)" t/two:1
  assert_equal "$(names -f dangling=true)" '<none>:<none>'
  assert_equal "$(client images -q --no-trunc -f dangling=true)" "$dangling"
  assert_equal "$(names --digests -f label=kind=one)" t/one:1
  run client images -f nonsense=1
  assert_failure 1
  assert_output --regexp "[Ii]nvalid filter 'nonsense"
  run client images -f before=t/nope
  assert_failure 1
  assert_output --partial 'No such image: t/nope:latest'
  client image prune -f --filter label=kind=two
  client images -q --no-trunc | grep -q "$dangling"
  client image prune -f --filter label=kind=three
  assert_equal "$(names -f dangling=true)" ''
}

@test "older clients see an image in the shape that they know" {
  client create --name box busybox true
  dangling=$(client commit box)
  list() { api GET "/v$1/images/json?all=1" | jq -c ".[] | select(.Id == \"$dangling\")"; }
  assert_equal "$(list 1.41 | jq -c '[.RepoTags, .RepoDigests, .VirtualSize == .Size]')" '[["<none>:<none>"],["<none>@<none>"],true]'
  shown() { api GET "/v$1/images/busybox/json" | jq -c "$2"; }
  assert_equal "$(shown 1.41 '[.VirtualSize == .Size, (.Config | has("Hostname"))]')" '[true,true]'
  if on_engine gantry; then
    assert_equal "$(list 1.51 | jq -c '[.RepoTags, has("VirtualSize")]')" '[[],false]'
    assert_equal "$(shown 1.51 '[has("VirtualSize"), has("ContainerConfig"), (.Config | has("Hostname"))]')" '[false,false,false]'
    run api_status GET '/v1.51/images/busybox/json?platform=%7B%22os%22:%22linux%22,%22architecture%22:%22s390x%22%7D'
    assert_equal "${lines[-1]}" 404
    assert_output --partial 'does not provide the specified platform (linux/s390x)'
  fi
  client rmi "$dangling"
}
