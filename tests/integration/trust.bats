#!/usr/bin/env bats
# Which images may be used: the policy, signatures made by Gantry and by skopeo, and what is refused.
load ../lib/common

REGISTRY=127.0.0.1:5998
PASSPHRASE=correct-horse

setup_file() {
  on_engine gantry || return 0
  usual_setup_file
  TRUST=$TEST_ROOT/trust
  export TRUST GNUPGHOME=$TRUST/gnupg GANTRY_KEY_PASSPHRASE=$PASSPHRASE
  mkdir -p "$TRUST"
  mkdir -m 700 "$GNUPGHOME"
  engine_stop main
  printf '%s' '{"default":[{"type":"insecureAcceptAnything"}]}' >"$TRUST/policy.json"
  mkdir "$TRUST/registries.d"
  echo "default-docker: {lookaside: \"file://$TRUST/sigstore\", use-sigstore-attachments: true}" \
    >"$TRUST/registries.d/test.yaml"
  engine_start main --policy "$TRUST/policy.json" --registries-dir "$TRUST/registries.d"
  setsid "$GANTRY_BUILD/bin/gantry-registry" serve --root "$TRUST/store" --address "$REGISTRY" --delete \
    >>"$TRUST/registry.log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  echo $! >"$TRUST/registry.pid"
  eventually 10 curl -sf -o /dev/null "http://$REGISTRY/v2/"
  gantry image trust key generate -o "$TRUST/one" >/dev/null
  gantry image trust key generate -o "$TRUST/two" --type ed25519 >/dev/null
}
teardown_file() {
  [ -z "${TRUST:-}" ] || kill "$(cat "$TRUST/registry.pid")"
  [ -z "${GNUPGHOME:-}" ] || gpgconf --kill all 2>/dev/null || true
  usual_teardown_file
}
setup() {
  on_engine gantry || skip "it is about Gantry's own policy"
  need_command busybox
}
teardown() {
  usual_teardown
  on_engine gantry || return 0
  kill -CONT "$(cat "$TRUST/registry.pid")"
  [ ! -e "$TRUST/http.pid" ] || kill "$(cat "$TRUST/http.pid")"
  rm -f "$TRUST/http.pid" "$TRUST/registries.d/http.yaml"
  policy '"default": [{"type": "insecureAcceptAnything"}]'
  remove_all_containers
  gantry images -q --no-trunc "$REGISTRY/*/*" | sort -u | while read -r image; do gantry rmi -f "$image" >/dev/null; done
}

gantry() { timeout -k 2 60 "$GANTRY_BUILD/bin/gantry" -H "unix://$(engine_socket)" "$@"; }
gpg() { command gpg -q --batch "$@" 2>>"$TRUST/gpg.log"; }
skopeo() {
  timeout -k 2 60 skopeo --policy "$TRUST/skopeo-policy.json" --registries.d "$TRUST/registries.d" "$@"
}

policy() { echo "{ $1 }" >"$TRUST/policy.new" && mv "$TRUST/policy.new" "$TRUST/policy.json"; }
# docker_rule REQUIREMENT…: that for the registry, nothing else from registries, and archives as they come.
docker_rule() {
  local IFS=,
  policy "\"default\": [{\"type\": \"reject\"}], \"transports\": {\"docker\": {\"$REGISTRY\": [$*]},
    \"docker-archive\": {\"\": [{\"type\": \"insecureAcceptAnything\"}]},
    \"oci-archive\": {\"\": [{\"type\": \"insecureAcceptAnything\"}]}, \"tarball\": {\"\": [{\"type\": \"insecureAcceptAnything\"}]}}"
}
sigstore() { echo "{\"type\": \"sigstoreSigned\", \"keyPath\": \"$TRUST/$1.pub\"${2:+, \"signedIdentity\": $2}}"; }
signed_by() { echo "{\"type\": \"signedBy\", \"keyType\": \"GPGKeys\", \"keyPath\": \"$TRUST/$1\"${2:+, \"signedIdentity\": $2}}"; }

# An image of its own at $REGISTRY/t/NAME:1, which is not here.
publish() { # NAME [SEED]
  mkdir -p "$BATS_TEST_TMPDIR/root"
  cp "$(command -v busybox)" "$BATS_TEST_TMPDIR/root/busybox"
  echo "$1 ${2:-}" >"$BATS_TEST_TMPDIR/root/name"
  tar -cf "$BATS_TEST_TMPDIR/root.tar" -C "$BATS_TEST_TMPDIR/root" .
  gantry import "$BATS_TEST_TMPDIR/root.tar" "$REGISTRY/t/$1:1" >/dev/null
  gantry push -q "$REGISTRY/t/$1:1" >/dev/null
  digest=$(gantry image inspect -f '{{index .RepoDigests 0}}' "$REGISTRY/t/$1:1")
  digest=${digest#*@}
  gantry rmi -f "$REGISTRY/t/$1:1" "$REGISTRY/t/$1@$digest" >/dev/null 2>&1 || true
}
pull() { run gantry pull -q "$1"; }
refused() { # TEXT: the last command was refused by the policy, in one line that has the text
  assert_failure
  assert_output --partial "is refused by the policy $TRUST/policy.json, "
  refute_output --partial "denied"
  assert_output --partial "$1"
  assert_equal "${#lines[@]}" 1
}
absent() { assert_equal "$(gantry images -q "$1")" ""; }
verified() { gantry image inspect -f '{{range .Origins}}{{range .Verified}}{{.Rule}} {{.KeyID}} {{.Identity}}{{end}}{{end}}' "$1"; }

@test "an image that Gantry has signed is pulled and run under sigstoreSigned, and inspect says whose it is" {
  publish signed
  docker_rule "$(sigstore one)"
  pull "$REGISTRY/t/signed:1"
  refused "docker \"$REGISTRY\": sigstoreSigned: there is no signature"
  absent "$REGISTRY/t/signed"
  run gantry system check
  assert_success
  run gantry image sign --key "$TRUST/one.key" "$REGISTRY/t/signed:1"
  assert_success
  assert_output --partial "Signed $digest as $REGISTRY/t/signed:1"
  pull "$REGISTRY/t/signed:1"
  assert_success
  key=$(openssl pkey -pubin -in "$TRUST/one.pub" -outform DER | sha256sum | cut -d' ' -f1)
  assert_equal "$(verified "$REGISTRY/t/signed:1")" \
    "docker \"$REGISTRY\": sigstoreSigned sha256:$key $REGISTRY/t/signed:1"
  run gantry run --rm --network none "$REGISTRY/t/signed:1" /busybox cat /name
  assert_output --partial "signed"
  run gantry image verify --key "$TRUST/one.pub" "$REGISTRY/t/signed:1"
  assert_success
  run gantry image verify "$REGISTRY/t/signed:1"
  assert_success
  assert_output --partial "sigstoreSigned: signed as $REGISTRY/t/signed:1 by sha256:$key"
}

@test "another key, another name and a tag that was moved are refused, each by its reason" {
  publish strict
  gantry image sign --key "$TRUST/two.key" "$REGISTRY/t/strict:1" >/dev/null
  docker_rule "$(sigstore one)"
  pull "$REGISTRY/t/strict:1"
  refused "a signature was made by another key"
  run gantry image verify --key "$TRUST/one.pub" "$REGISTRY/t/strict:1"
  assert_failure
  assert_output --partial "none of its 1 signatures was made by this key"

  gantry image sign --key "$TRUST/one.key" --identity other.example/app:1 "$REGISTRY/t/strict:1" >/dev/null
  pull "$REGISTRY/t/strict:1"
  refused 'a signature is for "other.example/app:1", which matchRepoDigestOrExact does not take for this name'
  run gantry image verify --key "$TRUST/one.pub" "$REGISTRY/t/strict:1"
  assert_failure
  assert_output --partial "it is signed by this key, but as other.example/app:1"
  docker_rule "$(sigstore one '{"type": "exactReference", "dockerReference": "other.example/app:1"}')"
  pull "$REGISTRY/t/strict:1"
  assert_success

  # What is signed as :1 is put at :2 by whoever holds the registry.
  gantry image sign --key "$TRUST/one.key" "$REGISTRY/t/strict:1" >/dev/null
  docker_rule "$(sigstore one)"
  pull "$REGISTRY/t/strict:1"
  assert_success
  curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' -o "$BATS_TEST_TMPDIR/manifest" \
    -D "$BATS_TEST_TMPDIR/head" "http://$REGISTRY/v2/t/strict/manifests/1" \
    -H 'Accept: application/vnd.docker.distribution.manifest.v2+json'
  type=$(sed -n 's/^content-type: *\([^;\r]*\).*/\1/Ip' "$BATS_TEST_TMPDIR/head")
  curl -sf -X PUT -H "Content-Type: $type" --data-binary "@$BATS_TEST_TMPDIR/manifest" "http://$REGISTRY/v2/t/strict/manifests/2"
  pull "$REGISTRY/t/strict:2"
  refused "a signature is for \"$REGISTRY/t/strict:1\""
  pull "$REGISTRY/t/strict@$digest"
  assert_success
}

@test "every requirement of a scope has to be met, and the longest scope is the one that counts" {
  publish both
  docker_rule "$(sigstore one)" "$(sigstore two)"
  gantry image sign --key "$TRUST/one.key" "$REGISTRY/t/both:1" >/dev/null
  pull "$REGISTRY/t/both:1"
  refused "a signature was made by another key"
  gantry image sign --key "$TRUST/two.key" "$REGISTRY/t/both:1" >/dev/null
  pull "$REGISTRY/t/both:1"
  assert_success
  assert_equal "$(gantry image inspect -f '{{len (index .Origins 0).Verified}}' "$REGISTRY/t/both:1")" 2
  policy "\"default\": [{\"type\": \"reject\"}], \"transports\": {\"docker\": {
    \"$REGISTRY/t\": [{\"type\": \"insecureAcceptAnything\"}], \"$REGISTRY/t/both:1\": [{\"type\": \"reject\"}]}}"
  pull "$REGISTRY/t/both:1"
  refused "docker \"$REGISTRY/t/both:1\": reject: it allows no image"
  pull "$REGISTRY/t/both@$digest"
  assert_success
}

@test "a payload that was changed in the registry is refused" {
  publish tampered
  gantry image sign --key "$TRUST/one.key" "$REGISTRY/t/tampered:1" >/dev/null
  publish other
  gantry image sign --key "$TRUST/one.key" "$REGISTRY/t/other:1" >/dev/null
  evil=$digest
  # The signature of another image, and then one whose payload names this image.
  publish victim
  base=http://$REGISTRY/v2/t/victim
  payload=$(printf '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},"optional":null}' \
    "$REGISTRY/t/victim:1" "$digest")
  signature=$(curl -sf "http://$REGISTRY/v2/t/other/manifests/${evil/:/-}.sig" |
    jq -r '.layers[0].annotations["dev.cosignproject.cosign/signature"]')
  attach "$base" "$payload" "$signature"
  docker_rule "$(sigstore one)"
  pull "$REGISTRY/t/victim:1"
  refused "or what was signed has been changed"
  curl -sf "http://$REGISTRY/v2/t/other/blobs/$(curl -sf "http://$REGISTRY/v2/t/other/manifests/${evil/:/-}.sig" |
    jq -r '.layers[0].digest')" >"$BATS_TEST_TMPDIR/payload"
  attach "$base" "$(cat "$BATS_TEST_TMPDIR/payload")" "$signature"
  pull "$REGISTRY/t/victim:1"
  refused "a signature is for the manifest $evil"
}

# attach BASE PAYLOAD SIGNATURE: puts that beside the image $digest as cosign does.
attach() {
  local layer config location
  printf '%s' "$2" >"$BATS_TEST_TMPDIR/blob"
  layer=sha256:$(sha256sum "$BATS_TEST_TMPDIR/blob" | cut -d' ' -f1)
  config=sha256:$(printf '{}' | sha256sum | cut -d' ' -f1)
  put_blob "$1" "$BATS_TEST_TMPDIR/blob" "$layer"
  printf '{}' >"$BATS_TEST_TMPDIR/config"
  put_blob "$1" "$BATS_TEST_TMPDIR/config" "$config"
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"%s"},"layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","size":%s,"digest":"%s","annotations":{"dev.cosignproject.cosign/signature":"%s"}}]}' \
    "$config" "$(stat -c %s "$BATS_TEST_TMPDIR/blob")" "$layer" "$3" |
    curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @- "$1/manifests/${digest/:/-}.sig"
}
put_blob() { # BASE FILE DIGEST
  local location
  location=$(curl -sf -X POST -D - -o /dev/null "$1/blobs/uploads/" | sed -n 's/^location: *\([^\r]*\).*/\1/Ip')
  case $location in /*) location=http://$REGISTRY$location ;; esac
  case $location in *\?*) location="$location&digest=$3" ;; *) location="$location?digest=$3" ;; esac
  curl -sf -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$2" "$location"
}

@test "a signature that openssl made in cosign's form is taken, and what Gantry writes has that form byte for byte" {
  publish cosign
  openssl ecparam -genkey -name prime256v1 -noout -out "$BATS_TEST_TMPDIR/key.pem"
  openssl pkey -in "$BATS_TEST_TMPDIR/key.pem" -pubout -out "$TRUST/openssl.pub"
  payload=$(printf '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},"optional":null}' \
    "$REGISTRY/t/cosign" "$digest")
  signature=$(printf '%s' "$payload" | openssl dgst -sha256 -sign "$BATS_TEST_TMPDIR/key.pem" | base64 -w0)
  attach "http://$REGISTRY/v2/t/cosign" "$payload" "$signature"
  docker_rule "$(sigstore openssl '{"type": "matchRepository"}')"
  pull "$REGISTRY/t/cosign:1"
  assert_success
  run gantry image verify --key "$TRUST/openssl.pub" "$REGISTRY/t/cosign:1"
  assert_success
  # Cosign signs for the repository: by tag that is another name.
  docker_rule "$(sigstore openssl)"
  pull "$REGISTRY/t/cosign:1"
  refused "matchRepoDigestOrExact does not take"

  # Ours is added to it: the same payload, a signature that openssl takes, and a referrer.
  gantry image sign --key "$TRUST/one.key" --identity "$REGISTRY/t/cosign" "$REGISTRY/t/cosign:1" >/dev/null
  curl -sf "http://$REGISTRY/v2/t/cosign/manifests/${digest/:/-}.sig" >"$BATS_TEST_TMPDIR/sig.json"
  assert_equal "$(jq '.layers | length' "$BATS_TEST_TMPDIR/sig.json")" 2
  assert_equal "$(jq -r '.layers[0].annotations[]' "$BATS_TEST_TMPDIR/sig.json")" "$signature"
  assert_equal "$(jq -r '.layers[1].mediaType' "$BATS_TEST_TMPDIR/sig.json")" application/vnd.dev.cosign.simplesigning.v1+json
  curl -sf "http://$REGISTRY/v2/t/cosign/blobs/$(jq -r '.layers[1].digest' "$BATS_TEST_TMPDIR/sig.json")" >"$BATS_TEST_TMPDIR/ours"
  printf '%s' "$payload" | cmp - "$BATS_TEST_TMPDIR/ours"
  jq -r '.layers[1].annotations["dev.cosignproject.cosign/signature"]' "$BATS_TEST_TMPDIR/sig.json" | base64 -d >"$BATS_TEST_TMPDIR/ours.sig"
  openssl dgst -sha256 -verify "$TRUST/one.pub" -signature "$BATS_TEST_TMPDIR/ours.sig" "$BATS_TEST_TMPDIR/ours"
  run curl -sf "http://$REGISTRY/v2/t/cosign/referrers/$digest"
  assert_equal "$(jq -r '.manifests[0].artifactType' <<<"$output")" application/vnd.dev.cosign.artifact.sig.v1+json
  # Without the tag the referrer is enough.
  curl -sf -X DELETE "http://$REGISTRY/v2/t/cosign/manifests/${digest/:/-}.sig"
  docker_rule "$(sigstore one '{"type": "matchRepository"}')"
  pull "$REGISTRY/t/cosign:1"
  assert_success
}

@test "what lies at the tag and is no signature, or too large for one, is passed over" {
  publish odd
  openssl genpkey -algorithm ed25519 -out "$BATS_TEST_TMPDIR/key.pem"
  openssl pkey -in "$BATS_TEST_TMPDIR/key.pem" -pubout -out "$TRUST/odd.pub"
  docker_rule "$(sigstore odd)"
  for filler in 70000 10; do
    payload=$(printf '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},"optional":{"x":"%0*d"}}' \
      "$REGISTRY/t/odd:1" "$digest" "$filler" 0)
    printf '%s' "$payload" >"$BATS_TEST_TMPDIR/odd"
    signature=$(openssl pkeyutl -sign -inkey "$BATS_TEST_TMPDIR/key.pem" -rawin -in "$BATS_TEST_TMPDIR/odd" | base64 -w0)
    attach "http://$REGISTRY/v2/t/odd" "$payload" "not base64!"
    pull "$REGISTRY/t/odd:1"
    refused "there is no signature"
    attach "http://$REGISTRY/v2/t/odd" "$payload" "$signature"
    pull "$REGISTRY/t/odd:1"
    [ "$filler" = 10 ] || refused "there is no signature"
  done
  assert_success
}

@test "a key that another program keeps in cosign's form signs" {
  openssl ecparam -genkey -name prime256v1 -noout | openssl pkcs8 -topk8 -nocrypt -outform DER -out "$BATS_TEST_TMPDIR/key.der"
  openssl pkey -inform DER -in "$BATS_TEST_TMPDIR/key.der" -pubout -out "$TRUST/peer.pub"
  docker_rule "$(sigstore peer)"
  publish peer
  for cost in 32768 65536; do
    /usr/bin/python3 "$REPOSITORY/tests/lib/cosign_box.py" "$BATS_TEST_TMPDIR/key.der" "$PASSPHRASE" $cost >"$TRUST/peer.key"
    run gantry image sign --key "$TRUST/peer.key" "$REGISTRY/t/peer:1"
    assert_success
  done
  sed -i 's/COSIGN/SIGSTORE/' "$TRUST/peer.key"
  run gantry image sign --key "$TRUST/peer.key" "$REGISTRY/t/peer:1"
  assert_success
  pull "$REGISTRY/t/peer:1"
  assert_success
}

@test "GPG signatures that skopeo made are verified from the lookaside store, and others refused" {
  need_command skopeo
  need_command gpgv
  gpg --passphrase '' --quick-gen-key 'Good <good@example>' ed25519 sign never
  gpg --passphrase '' --quick-gen-key 'Other <other@example>' rsa2048 sign never
  gpg --armor --export good@example >"$TRUST/good.asc"
  gpg --export other@example >"$TRUST/other.gpg"
  publish gpg
  echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$TRUST/skopeo-policy.json"
  docker_rule "$(signed_by good.asc)"
  pull "$REGISTRY/t/gpg:1"
  refused "signedBy: there is no signature"
  run skopeo copy --src-tls-verify=false --dest-tls-verify=false --sign-by good@example \
    "docker://$REGISTRY/t/gpg:1" "docker://$REGISTRY/t/gpg:1"
  assert_success
  pull "$REGISTRY/t/gpg:1"
  assert_success
  fingerprint=$(gpg --with-colons --fingerprint good@example | sed -n 's/^fpr:*\([0-9A-F]*\):.*/\1/p' | head -n 1)
  assert_equal "$(verified "$REGISTRY/t/gpg:1")" "docker \"$REGISTRY\": signedBy $fingerprint $REGISTRY/t/gpg:1"

  # What was verified is not verified again: with a gpgv that finds nothing good, it runs.
  [ -z "${GANTRY_ISOLATE_TMP:-}" ] || mount --bind /bin/false /usr/bin/gpgv
  run gantry run --rm --network none "$REGISTRY/t/gpg:1" /busybox true
  [ -z "${GANTRY_ISOLATE_TMP:-}" ] || umount /usr/bin/gpgv
  assert_success

  docker_rule "$(signed_by other.gpg)"
  pull "$REGISTRY/t/gpg:1"
  refused "it was made by another key"
  # A signature of skopeo's standalone-sign, for another name.
  curl -sf "http://$REGISTRY/v2/t/gpg/manifests/1" -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
    -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' >"$BATS_TEST_TMPDIR/manifest"
  skopeo standalone-sign -o "$BATS_TEST_TMPDIR/sig" "$BATS_TEST_TMPDIR/manifest" "$REGISTRY/t/elsewhere:1" good@example
  store=("$TRUST/sigstore/t/gpg@sha256="*)
  cp "$BATS_TEST_TMPDIR/sig" "${store[0]}/signature-1"
  docker_rule "$(signed_by good.asc)"
  gantry rmi -f "$REGISTRY/t/gpg:1" >/dev/null
  pull "$REGISTRY/t/gpg:1"
  refused "a signature is for \"$REGISTRY/t/elsewhere:1\""
  # One whose text was changed, one that is no signature, and both beside a good one.
  head -c 40 "$BATS_TEST_TMPDIR/sig" >"${store[0]}/signature-1"
  pull "$REGISTRY/t/gpg:1"
  refused "the GPG signature is not good"
  skopeo standalone-sign -o "${store[0]}/signature-2" "$BATS_TEST_TMPDIR/manifest" "$REGISTRY/t/gpg:1" good@example
  pull "$REGISTRY/t/gpg:1"
  assert_success

  # The same store over HTTP; one that does not answer is no permission.
  gantry rmi -f "$REGISTRY/t/gpg:1" >/dev/null
  echo "docker: {\"$REGISTRY/t\": {sigstore: \"http://127.0.0.1:5997\"}}" >"$TRUST/registries.d/http.yaml"
  pull "$REGISTRY/t/gpg:1"
  refused "looking for signatures"
  absent "$REGISTRY/t/gpg"
  setsid /usr/bin/python3 -m http.server --bind 127.0.0.1 --directory "$TRUST/sigstore" 5997 \
    >/dev/null 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  echo $! >"$TRUST/http.pid"
  eventually 10 curl -sf -o /dev/null http://127.0.0.1:5997/
  pull "$REGISTRY/t/gpg:1"
  assert_success
}

@test "a container is made by what was verified, without asking the registry, until the policy changes" {
  publish kept
  gantry image sign --key "$TRUST/one.key" "$REGISTRY/t/kept:1" >/dev/null
  docker_rule "$(sigstore one)"
  pull "$REGISTRY/t/kept:1"
  assert_success
  kill -STOP "$(cat "$TRUST/registry.pid")" # whoever asks it waits in vain
  id=$(gantry create --network none "$REGISTRY/t/kept:1" /busybox true)
  gantry start "$id"
  # The policy asks for more than was asked when it came, which what was kept of it proves.
  docker_rule "$(sigstore one '{"type": "matchRepository"}')"
  run gantry run --rm --network none "$REGISTRY/t/kept:1" /busybox true
  assert_success
  # And for what nothing here proves.
  docker_rule "$(sigstore two)"
  run gantry run --rm --network none "$REGISTRY/t/kept:1" /busybox true
  assert_failure 125
  assert_output --partial "pull it again"
  run gantry start "$id"
  assert_failure
  assert_output --partial "sigstoreSigned: a signature was made by another key"
  run api_json POST /containers/create "{\"Image\": \"$REGISTRY/t/kept:1\", \"Cmd\": [\"/busybox\"]}"
  assert_equal "${lines[-1]}" 403
  # By another name and by its id it is the same image.
  gantry tag "$REGISTRY/t/kept:1" innocent:1
  run gantry run --rm --network none innocent:1 /busybox true
  assert_failure 125
  run gantry create --network none "$(gantry image inspect -f '{{.Id}}' innocent:1)" /busybox true
  assert_failure
  gantry rmi innocent:1 >/dev/null
  kill -CONT "$(cat "$TRUST/registry.pid")"
}

@test "what was here before there were rules is refused until it is pulled again" {
  publish early
  pull "$REGISTRY/t/early:1"
  assert_success
  gantry image sign --key "$TRUST/one.key" "$REGISTRY/t/early:1" >/dev/null
  docker_rule "$(sigstore one)"
  run gantry run --rm --network none "$REGISTRY/t/early:1" /busybox true
  assert_failure 125
  assert_output --partial "there is no signature (of what was kept when it was pulled: pull it again)"
  pull "$REGISTRY/t/early:1"
  assert_success
  run gantry run --rm --network none "$REGISTRY/t/early:1" /busybox true
  assert_success
}

@test "what is made here of other images has a rule of its own" {
  docker_rule "$(sigstore one)"
  id=$(gantry create --network none busybox true)
  run gantry commit "$id" t/made:1
  assert_success
  run gantry run --rm --network none t/made:1 true
  refused_by_run 'an image that was made here' 'default: reject'
  policy '"default": [{"type": "reject"}], "transports": {"containers-storage": {"": [{"type": "insecureAcceptAnything"}]}}'
  run gantry run --rm --network none t/made:1 true
  assert_success
  run gantry run --rm --network none busybox true
  refused_by_run 'an image from a' 'default: reject'
  policy '"default": [{"type": "insecureAcceptAnything"}]'
  gantry rm "$id" >/dev/null
  gantry rmi t/made:1 >/dev/null
}
refused_by_run() { # TEXT…
  assert_failure 125
  local text
  for text in "$@"; do assert_output --partial "$text"; done
}

@test "load and import are refused by their own rules, with 403 and nothing left" {
  fixture_image "$BATS_TEST_TMPDIR/image.tar" --busybox --name t/loaded:1
  fixture_image "$BATS_TEST_TMPDIR/layout.tar" --oci --busybox --name t/layout:1
  tar -cf "$BATS_TEST_TMPDIR/root.tar" -C "$BATS_TEST_TMPDIR" image.tar
  policy '"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker-archive": {"": [{"type": "reject"}]},
    "oci": {"": [{"type": "reject"}]}, "tarball": {"": [{"type": "reject"}]}}'
  run gantry load -i "$BATS_TEST_TMPDIR/image.tar"
  refused 'docker-archive "": reject'
  absent t/loaded
  run gantry load -i "$BATS_TEST_TMPDIR/layout.tar"
  assert_failure
  absent t/layout
  run gantry import "$BATS_TEST_TMPDIR/root.tar" t/imported
  refused 'tarball "": reject'
  absent t/imported
  run api_status POST '/images/load' --data-binary "@$BATS_TEST_TMPDIR/image.tar" -H 'Content-Type: application/x-tar'
  assert_equal "${lines[-1]}" 403
  run api_status POST "/images/create?fromImage=$REGISTRY/t/none&tag=1"
  assert_equal "${lines[-1]}" 404
  policy '"default": [{"type": "insecureAcceptAnything"}]'
  run gantry load -i "$BATS_TEST_TMPDIR/image.tar"
  assert_success
  run gantry image inspect -f '{{range .Origins}}{{.Transport}} {{end}}' t/loaded:1
  assert_output --partial docker-archive
  gantry rmi -f t/loaded:1 >/dev/null
}

@test "the stock docker client is refused as every client is, with 403" {
  [ -n "$DOCKER" ] || skip "there is no docker client"
  publish docker
  docker_rule "$(sigstore one)"
  run "$DOCKER" -H "unix://$(engine_socket)" pull "$REGISTRY/t/docker:1"
  refused "docker \"$REGISTRY\": sigstoreSigned: there is no signature"
  run api_status POST "/images/create?fromImage=$REGISTRY/t/docker&tag=1"
  assert_equal "${lines[-1]}" 403
  run "$DOCKER" -H "unix://$(engine_socket)" run --rm "$REGISTRY/t/docker:1" /busybox true
  assert_failure 125
  assert_output --partial "sigstoreSigned: there is no signature"
  gantry image sign --key "$TRUST/one.key" "$REGISTRY/t/docker:1" >/dev/null
  run "$DOCKER" -H "unix://$(engine_socket)" run --rm --network none "$REGISTRY/t/docker:1" /busybox echo ran
  assert_success
  assert_line ran
}

@test "a policy that becomes wrong leaves the one before it in force, and says which line" {
  publish broken
  docker_rule '{"type": "reject"}'
  pull "$REGISTRY/t/broken:1"
  refused "reject"
  printf '{\n "default": [{"type": "insecureAcceptAnything"}],\n "transport": {}\n}\n' >"$TRUST/policy.json"
  pull "$REGISTRY/t/broken:1"
  refused "reject"
  run engine_log
  assert_output --partial "policy $TRUST/policy.json: line 3: it: unknown key \"transport\"; the one before stays in force"
  run gantry image trust show
  assert_output --partial "line 3: it: unknown key"
  rm "$TRUST/policy.json"
  pull "$REGISTRY/t/broken:1"
  refused "reject"
  policy '"default": [{"type": "insecureAcceptAnything"}]'
  pull "$REGISTRY/t/broken:1"
  assert_success
}

@test "a daemon does not start with a policy that is wrong or that it was promised" {
  printf '{"default": [\n{"type": "accept"}]}' >"$BATS_TEST_TMPDIR/wrong.json"
  for file in wrong absent; do
    run "$GANTRY_BUILD/bin/gantryd" --data-root "$BATS_TEST_TMPDIR/data" --exec-root "$BATS_TEST_TMPDIR/exec" \
      -H "unix://$BATS_TEST_TMPDIR/sock" --bridge none --policy "$BATS_TEST_TMPDIR/$file.json"
    assert_failure 1
    [ "$file" = absent ] || assert_output --partial "wrong.json: line 2: default[0]: unknown type \"accept\""
    [ "$file" = wrong ] || assert_output --partial "absent.json: there is no such file"
  done
  assert [ ! -e "$BATS_TEST_TMPDIR/data" ]
  run "$GANTRY_BUILD/bin/gantryd" --validate --policy "$BATS_TEST_TMPDIR/wrong.json"
  assert_failure 1
}

@test "trust set and rm edit the file, which the daemon then follows, and show tells it" {
  run gantry image trust set --policy "$TRUST/policy.json" --type sigstoreSigned -f "$TRUST/one.pub" "$REGISTRY/t"
  assert_success
  run gantry image trust show
  assert_output --regexp "docker +$REGISTRY/t +sigstoreSigned +$TRUST/one.pub +matchRepoDigestOrExact"
  publish edited
  pull "$REGISTRY/t/edited:1"
  refused "docker \"$REGISTRY/t\": sigstoreSigned"
  run gantry image trust set --policy "$TRUST/policy.json" --type nonsense "$REGISTRY/t"
  assert_failure
  run gantry image trust rm --policy "$TRUST/policy.json" "$REGISTRY/t"
  assert_success
  pull "$REGISTRY/t/edited:1"
  assert_success
  run gantry image trust rm --policy "$TRUST/policy.json" "$REGISTRY/t"
  assert_failure
  assert_output --partial "there is no rule for docker \"$REGISTRY/t\""
}

@test "keys are made once, and kept for their owner alone; a wrong passphrase is told" {
  run gantry image trust key generate -o "$TRUST/one"
  assert_failure
  assert_output --partial "one.key is there already"
  assert_equal "$(stat -c %a "$TRUST/one.key")" 600
  publish wrongpass
  GANTRY_KEY_PASSPHRASE=nonsense run gantry image sign --key "$TRUST/one.key" "$REGISTRY/t/wrongpass:1"
  assert_failure
  assert_output --partial "wrong passphrase"
  openssl genpkey -algorithm ed25519 -aes-256-cbc -pass "pass:$PASSPHRASE" -out "$BATS_TEST_TMPDIR/pkcs8.key"
  run gantry image sign --key "$BATS_TEST_TMPDIR/pkcs8.key" "$REGISTRY/t/wrongpass:1"
  assert_success
}
