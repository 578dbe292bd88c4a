#!/usr/bin/env bats
# Every demand of the distribution specification (suite.py), asked of gantry-registry, and, as far as the
# specification leaves nothing open, of Debian's docker-registry, which is how we know that the suite asks right.

load helper

setup_file() { registry_setup; }
teardown_file() { registry_teardown; }

@test "gantry-registry does what the distribution specification demands" {
  registry main 5000 --delete
  run /usr/bin/python3 "$HERE/suite.py" http://127.0.0.1:5000
  echo "$output" | grep -v '^ok'
  [ "$status" -eq 0 ]
  run check_store main
  [ "$status" -eq 0 ]
  registry_stop main
}

@test "the same over TLS" {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=registry \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$TEST_ROOT/key.pem" -out "$TEST_ROOT/cert.pem" 2>/dev/null
  registry tls 5001 --delete --tls-certificate "$TEST_ROOT/cert.pem" --tls-key "$TEST_ROOT/key.pem"
  run env SSL_CERT_FILE="$TEST_ROOT/cert.pem" /usr/bin/python3 "$HERE/suite.py" https://127.0.0.1:5001
  echo "$output" | grep -v '^ok'
  [ "$status" -eq 0 ]
  registry_stop tls
}

# What docker-registry 2.8 is known to do otherwise; anything else that fails is the suite's mistake.
@test "docker-registry passes the same suite but for what it is known to do otherwise" {
  local peer=$REPOSITORY/build/peers/usr/bin/docker-registry
  [ -x "$peer" ] || skip "docker-registry is not there: run tests/conformance/engines/peers"
  cat >"$TEST_ROOT/docker-registry.yml" <<YAML
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $TEST_ROOT/docker-registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:5002"}
YAML
  background docker-registry "$peer" serve "$TEST_ROOT/docker-registry.yml"
  eventually 10 wants 200 http://127.0.0.1:5002/v2/
  run /usr/bin/python3 "$HERE/suite.py" http://127.0.0.1:5002 --peer
  grep '^not ok' <<<"$output" | sed 's/^not ok [0-9]* //' | sort >"$TEST_ROOT/failed"
  sort >"$TEST_ROOT/known" <<'TEXT'
a chunk out of order is 416 and the upload goes on
a closing put out of order is 416
a foreign layer need not be there
an unknown upload is 404
an unsatisfiable range is 416
names and tags outside the grammar are refused
tags are listed in order
TEXT
  diff <(comm -13 "$TEST_ROOT/known" "$TEST_ROOT/failed") /dev/null
  registry_stop docker-registry KILL
}
