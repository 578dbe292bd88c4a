#!/usr/bin/env bats
# cp against a container that lies to it: nothing outside of the container is read, written or changed (threats 14
# to 17).
load ../lib/common

setup_file() {
  usual_setup_file
  export CANARY=$TEST_ROOT/canary
  mkdir -p "$CANARY/dir"
}
teardown_file() { usual_teardown_file; }
setup() {
  echo secret >"$CANARY/file"
  echo secret >"$CANARY/dir/file"
  chmod 600 "$CANARY/file" "$CANARY/dir/file"
  seal >"$BATS_TEST_TMPDIR/before"
  cd "$BATS_TEST_TMPDIR" || return
}
teardown() {
  cd /
  usual_teardown
  remove_all_containers
  seal | diff "$BATS_TEST_TMPDIR/before" -
}
seal() { find "$CANARY" -printf '%p %y %m %U:%G %s %l\n' | sort; find "$CANARY" -type f -exec sha256sum {} +; }

# A container that exchanges /a (a directory of its own) and /b (a link to the canary) as fast as it can.
swapping() { # TARGET
  client run -d --name box --cpus 0.5 busybox sh -c "mkdir /a; echo own >/a/file; ln -s $1 /b; touch /ready
    while :; do mv -T /a /x 2>/dev/null; mv -T /b /a; mv -T /a /b; mv -T /x /a; done" >/dev/null
  eventually 5 client exec box test -e /ready
}

# Fails: resolve a path of the container by name, or look at it first and open it then.
@test "CVE-2018-15664: reading and writing through a link that is being swapped never leaves the container" {
  swapping "$CANARY"
  mkdir in
  echo evil >in/file
  tar -cf in.tar -C in file
  local end=$((SECONDS + 8))
  while ((SECONDS < end)); do
    api GET '/containers/box/archive?path=/a/file' | tar -xOf - 2>/dev/null >got || true
    run ! grep -q secret got
    api GET '/containers/box/archive?path=/a/' | tar -xOf - 2>/dev/null >got || true
    run ! grep -q secret got
    api PUT '/containers/box/archive?path=/a' --data-binary @in.tar >/dev/null || true
    api GET '/containers/box/export' | tar -xOf - --wildcards '*file' 2>/dev/null >got || true
    run ! grep -q secret got
  done
}

# Fails: take ".." and absolute links of a container's paths as the host's.
@test "links and dots that lead out lead to the container's own root" {
  client run -d --name box busybox sh -c "ln -s / /root-link; ln -s ../../../../../../..$CANARY /rel; ln -s $CANARY /abs; exec sleep 1000" >/dev/null
  eventually 5 client exec box test -L /abs
  for path in /rel/file /abs/file /root-link$CANARY/file "/../../..$CANARY/file" "/proc/1/root$CANARY/file"; do
    run api_status GET "/containers/box/archive?path=$path"
    assert_equal "${lines[-1]}" 404
  done
}

# Fails: unpack members by name, or follow what the archive itself put there out of the tree.
@test "an archive whose members lead out writes nothing outside" {
  client run -d --name box busybox sleep 1000 >/dev/null
  /usr/bin/python3 - "$CANARY" <<'PY'
import io, sys, tarfile
canary = sys.argv[1]
def make(name, *members):
    with tarfile.open(name, "w") as out:
        for path, kind, link in members:
            info = tarfile.TarInfo(path)
            info.type, info.linkname = kind, link
            data = b"evil" if kind == tarfile.REGTYPE else b""
            info.size, info.mode = len(data), 0o777
            out.addfile(info, io.BytesIO(data))
make("dots.tar", (f"../../../../../..{canary}/file", tarfile.REGTYPE, ""))
make("absolute.tar", (f"{canary}/file", tarfile.REGTYPE, ""))
make("through.tar", ("l", tarfile.SYMTYPE, canary), ("l/file", tarfile.REGTYPE, ""), ("l/dir", tarfile.DIRTYPE, ""))
make("hard.tar", ("h", tarfile.LNKTYPE, f"../../../../../..{canary}/file"))
make("chmod.tar", ("m", tarfile.SYMTYPE, f"{canary}/file"), ("m", tarfile.REGTYPE, ""))
PY
  for archive in dots absolute through hard chmod; do
    for path in /tmp /; do
      api PUT "/containers/box/archive?path=$path" --data-binary @$archive.tar >/dev/null || true
    done
    seal | diff "$BATS_TEST_TMPDIR/before" -
  done
}

# Fails: run anything of the container's root (a decompressor, a tar, a name service) to copy.
@test "CVE-2019-14271, CVE-2026-41567: nothing of the container is run by a copy" {
  client run -d --name box busybox sh -c 'for p in /bin/tar /bin/gzip /usr/bin/xz /bin/unpigz /usr/bin/unpigz; do
    rm -f $p; mkdir -p ${p%/*}; printf "#!/bin/sh\ntouch /ran\n" >$p; chmod +x $p; done; touch /ready; exec sleep 1000' >/dev/null
  eventually 5 client exec box test -e /ready
  echo x >x
  for kind in z J j; do
    tar -c${kind}f x.tar x
    api_ok PUT '/containers/box/archive?path=/tmp' --data-binary @x.tar
  done
  client cp box:/etc - >/dev/null
  client exec box test ! -e /ran
}

# Fails: open what stands at a path without asking what it is, or on a mount that lets devices be opened.
@test "a device or a FIFO in a container holds a copy up neither way" {
  client run -d --name box --cap-add MKNOD busybox sh -c 'mkdir /d; mknod /d/tty c 5 0; mknod /d/zero c 1 5; mkfifo /d/fifo; touch /d/z; exec sleep 1000' >/dev/null
  eventually 5 client exec box test -e /d/z
  timeout 10 "$(client_program)" -H "unix://$(engine_socket)" cp box:/d - | tar -tvf - >names
  grep -q '^c.*d/zero' names
  grep -q '^p.*d/fifo' names
}

# Fails: attach a volume to a place that the container turned into a link.
@test "CVE-2026-42306: a volume's place that became a link takes nothing to the host" {
  mkdir bound
  client create --name box -v "$PWD/bound:/m/v" busybox true >/dev/null
  mkdir m
  ln -s "$CANARY/dir" m/v
  tar -cf m.tar m
  client create --name other -v "$PWD/bound:/m/v" busybox sh -c "rm -rf /m/v; ln -s $CANARY/dir /m/v" >/dev/null
  client run --name linked busybox sh -c "mkdir /m; ln -s $CANARY/dir /m/v" >/dev/null
  client commit linked t/link:1 >/dev/null
  client create --name fake -v "$PWD/bound:/m/v" t/link:1 true >/dev/null
  echo evil >evil
  tar -cf evil.tar evil
  api PUT '/containers/fake/archive?path=/m/v' --data-binary @evil.tar >/dev/null || true
  api PUT "/containers/fake/archive?path=$CANARY/dir" --data-binary @evil.tar >/dev/null || true
  client rm -f fake >/dev/null
  client rmi -f t/link:1 >/dev/null
}
