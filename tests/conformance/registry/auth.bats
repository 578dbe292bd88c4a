#!/usr/bin/env bats
# Users, rights, tokens, certificates.

load helper

setup_file() {
  registry_setup
  cd "$TEST_ROOT" || return
  { for user in alice bob admin; do echo "secret-$user" | "$GANTRY_REGISTRY" htpasswd "$user" 4; done; } >htpasswd
  cat >rights <<'TEXT'
group devs = bob
allow user alice   team/**   pull push delete catalog
allow group devs   devs/*    pull push
allow group devs   team/**   pull
allow anonymous    public/** pull
allow user admin   **        all
TEXT
}
teardown_file() { registry_teardown; }

R=http://127.0.0.1:5000/v2
ACCEPT="Accept: $OCI_MANIFEST"
header() { # NAME CURL-ARGUMENT…: a header of the answer
  local name=$1
  shift
  curl -s -o /dev/null -D - "$@" | tr -d '\r' | awk -F': ' -v n="$name" 'tolower($1) == n { sub(/^[^:]*: /, ""); print }'
}
token() { # USER SCOPE…
  local user=$1 scope
  local -a arguments=(-s -G --data-urlencode service=gantry-registry)
  shift
  [ -z "$user" ] || arguments+=(-u "$user:secret-$user")
  for scope in "$@"; do arguments+=(--data-urlencode "scope=$scope"); done
  curl "${arguments[@]}" http://127.0.0.1:5000/token | jq -r .token
}

@test "htpasswd: without a password 401 and a challenge, with the wrong one 401, with the right one 200" {
  registry main 5000 --auth htpasswd --htpasswd "$TEST_ROOT/htpasswd" --realm 'our "realm"'
  wants 401 $R/
  [ "$(jq -r .errors[0].code "$TEST_ROOT/body")" = UNAUTHORIZED ]
  [ "$(header www-authenticate $R/)" = 'Basic realm="our \"realm\""' ]
  wants 401 -u alice:wrong $R/
  wants 401 -u nobody:secret-alice $R/
  wants 401 -u :secret-alice $R/
  wants 401 -H 'Authorization: Basic !!!' $R/
  wants 401 -H 'Authorization: Bearer x' $R/
  wants 200 -u alice:secret-alice $R/
  push_image $R/a v1 -u alice:secret-alice
  wants 401 $R/a/manifests/v1 -H "$ACCEPT"
  wants 401 $R/_catalog
}

@test "rights: each user may what the file says, for each repository" {
  registry main 5000 --auth htpasswd --htpasswd "$TEST_ROOT/htpasswd" --rights "$TEST_ROOT/rights" --delete
  push_image $R/team/app v1 -u alice:secret-alice
  push_image $R/public/app v1 -u admin:secret-admin
  push_image $R/devs/app v1 -u bob:secret-bob
  wants 200 -u bob:secret-bob -H "$ACCEPT" $R/team/app/manifests/v1
  wants 403 -u bob:secret-bob -X POST $R/team/app/blobs/uploads/
  [ "$(jq -r .errors[0].code "$TEST_ROOT/body")" = DENIED ]
  wants 403 -u bob:secret-bob -X DELETE $R/team/app/manifests/v1
  wants 403 -u alice:secret-alice -H "$ACCEPT" $R/devs/app/manifests/v1
  wants 403 -u alice:secret-alice $R/devs/app/tags/list
  wants 200 -H "$ACCEPT" $R/public/app/manifests/v1 # nobody's name is needed
  wants 401 -X POST $R/public/app/blobs/uploads/
  wants 401 $R/team/app/tags/list
  wants 403 -u bob:secret-bob $R/_catalog
  [ "$(curl -s -u alice:secret-alice $R/_catalog | jq -c .repositories)" = '["team/app"]' ]
  [ "$(curl -s -u admin:secret-admin $R/_catalog | jq -c .repositories)" = '["devs/app","public/app","team/app"]' ]
  wants 202 -u alice:secret-alice -X DELETE $R/team/app/manifests/v1
}

@test "a mount needs the right to pull where the blob is" {
  registry main 5000 --auth htpasswd --htpasswd "$TEST_ROOT/htpasswd" --rights "$TEST_ROOT/rights"
  echo secret >"$TEST_ROOT/blob"
  push_blob $R/team/app "$TEST_ROOT/blob" -u alice:secret-alice
  local digest
  digest=$(digest_of "$TEST_ROOT/blob")
  wants 201 -u bob:secret-bob -X POST "$R/devs/app/blobs/uploads/?mount=$digest&from=team/app"
  push_blob $R/devs/own "$TEST_ROOT/blob" -u bob:secret-bob
  wants 202 -u alice:secret-alice -X POST "$R/team/other/blobs/uploads/?mount=$digest&from=devs/own"
  wants 202 -u alice:secret-alice -X POST "$R/team/other/blobs/uploads/?mount=$digest"
  wants 404 -u alice:secret-alice "$R/team/other/blobs/$digest"
}

@test "users and rights are read again at SIGHUP, and a wrong file changes nothing" {
  cp "$TEST_ROOT/htpasswd" "$TEST_ROOT/users"
  registry main 5000 --auth htpasswd --htpasswd "$TEST_ROOT/users"
  wants 200 -u alice:secret-alice $R/
  sed -i '/^alice:/d' "$TEST_ROOT/users"
  kill -HUP "$(registry_pid main)"
  eventually 5 wants 401 -u alice:secret-alice $R/
  wants 200 -u bob:secret-bob $R/
  echo 'alice:plain' >>"$TEST_ROOT/users"
  kill -HUP "$(registry_pid main)"
  eventually 5 matches "line 3: the hash of user 'alice'" log_of main
  wants 200 -u bob:secret-bob $R/
}

@test "the token endpoint gives what the rights allow, and the token opens that and no more" {
  registry main 5000 --auth token --token-endpoint --htpasswd "$TEST_ROOT/htpasswd" --rights "$TEST_ROOT/rights" --delete
  [ "$(header www-authenticate $R/)" = 'Bearer realm="http://127.0.0.1:5000/token",service="gantry-registry"' ]
  [ "$(header www-authenticate -X POST $R/team/app/blobs/uploads/)" = \
    'Bearer realm="http://127.0.0.1:5000/token",service="gantry-registry",scope="repository:team/app:pull,push"' ]
  local alice bob nobody
  alice=$(token alice repository:team/app:pull,push repository:devs/app:pull)
  bob=$(token bob 'repository:team/app:pull,push,delete')
  nobody=$(token '' repository:team/app:pull repository:public/app:pull,push)
  wants 200 -H "Authorization: Bearer $alice" $R/
  wants 200 -H "Authorization: Bearer $nobody" $R/
  push_image $R/team/app v1 -H "Authorization: Bearer $alice"
  wants 401 -H "Authorization: Bearer $alice" -H "$ACCEPT" $R/devs/app/manifests/v1
  [[ "$(header www-authenticate -H "Authorization: Bearer $alice" $R/devs/app/manifests/v1)" == *'scope="repository:devs/app:pull",error="insufficient_scope"' ]]
  wants 200 -H "Authorization: Bearer $bob" -H "$ACCEPT" $R/team/app/manifests/v1
  wants 401 -H "Authorization: Bearer $bob" -X POST $R/team/app/blobs/uploads/
  wants 401 -H "Authorization: Bearer $bob" -X DELETE $R/team/app/manifests/v1
  wants 401 -H "Authorization: Bearer $nobody" -H "$ACCEPT" $R/team/app/manifests/v1
  wants 404 -H "Authorization: Bearer $nobody" -H "$ACCEPT" $R/public/app/manifests/v1
  wants 401 -u alice:wrong "http://127.0.0.1:5000/token?service=gantry-registry"
  wants 400 -u alice:secret-alice "http://127.0.0.1:5000/token?service=other"
  wants 401 -u alice:secret-alice $R/
  # Another form of the same: OAuth's.
  wants 200 -d 'grant_type=password&username=alice&password=secret-alice&service=gantry-registry&scope=repository:team/app:pull' http://127.0.0.1:5000/token
  wants 200 -H "Authorization: Bearer $(jq -r .access_token "$TEST_ROOT/body")" -H "$ACCEPT" $R/team/app/manifests/v1
  # It goes on after a restart: the key is kept.
  registry_stop main
  registry main 5000 --auth token --token-endpoint --htpasswd "$TEST_ROOT/htpasswd" --rights "$TEST_ROOT/rights"
  wants 200 -H "Authorization: Bearer $alice" -H "$ACCEPT" $R/team/app/manifests/v1
  [ "$(stat -c %a "$TEST_ROOT/main/token-key.pem")" = 600 ]
}

@test "a refresh token stands for the password at the token endpoint, until the password changes" {
  local form="service=gantry-registry&scope=repository:team/app:pull,push" refresh access
  cp "$TEST_ROOT/htpasswd" "$TEST_ROOT/htpasswd.own"
  registry main 5000 --auth token --token-endpoint --htpasswd "$TEST_ROOT/htpasswd.own" --rights "$TEST_ROOT/rights"
  wants 200 -u alice:secret-alice "http://127.0.0.1:5000/token?service=gantry-registry"
  [ "$(jq 'has("refresh_token")' "$TEST_ROOT/body")" = false ]
  wants 200 "http://127.0.0.1:5000/token?service=gantry-registry&offline_token=true"
  [ "$(jq 'has("refresh_token")' "$TEST_ROOT/body")" = false ] # nobody has a password
  wants 200 -u alice:secret-alice "http://127.0.0.1:5000/token?service=gantry-registry&offline_token=true"
  refresh=$(jq -r .refresh_token "$TEST_ROOT/body")
  wants 200 -d "grant_type=password&access_type=offline&username=alice&password=secret-alice&$form" http://127.0.0.1:5000/token
  [ "$(jq -r .refresh_token "$TEST_ROOT/body" | wc -c)" -gt 50 ]
  wants 200 -d "grant_type=refresh_token&refresh_token=$refresh&$form" http://127.0.0.1:5000/token
  access=$(jq -r .access_token "$TEST_ROOT/body")
  push_image $R/team/app v1 -H "Authorization: Bearer $access"
  # Neither is good for the other.
  wants 401 -H "Authorization: Bearer $refresh" $R/
  wants 401 -d "grant_type=refresh_token&refresh_token=$access&$form" http://127.0.0.1:5000/token
  wants 401 -d "grant_type=refresh_token&refresh_token=${refresh%????}AAAA&$form" http://127.0.0.1:5000/token
  wants 401 -d "grant_type=refresh_token&$form" http://127.0.0.1:5000/token
  wants 400 -d "grant_type=other&$form" http://127.0.0.1:5000/token
  # Another password, and it is over.
  sed -i /^alice:/d "$TEST_ROOT/htpasswd.own"
  echo another | "$GANTRY_BUILD/bin/gantry-registry" htpasswd alice 4 >>"$TEST_ROOT/htpasswd.own"
  registry_stop main
  registry main 5000 --auth token --token-endpoint --htpasswd "$TEST_ROOT/htpasswd.own" --rights "$TEST_ROOT/rights"
  wants 401 -d "grant_type=refresh_token&refresh_token=$refresh&$form" http://127.0.0.1:5000/token
  wants 200 -u alice:another "http://127.0.0.1:5000/token?service=gantry-registry&offline_token=true"
}

b64() { openssl base64 -A | tr '+/' '-_' | tr -d =; }
# foreign KEY ALGORITHM CLAIMS [HEADER-FIELDS]: signs with openssl's command
foreign() {
  local text
  text=$(printf '{"alg":"%s","typ":"JWT"%s}' "$2" "${4:-}" | b64).$(printf '%s' "$3" | b64)
  printf '%s' "$text" | openssl dgst -sha256 -sign "$1" >"$TEST_ROOT/signature"
  echo "$text.$(b64 <"$TEST_ROOT/signature")"
}

@test "tokens of another service are verified by its key, its key set or its certificate" {
  cd "$TEST_ROOT"
  openssl genrsa -out rsa.pem 2048 2>/dev/null
  openssl rsa -in rsa.pem -pubout -out rsa.pub 2>/dev/null
  openssl req -x509 -newkey rsa:2048 -nodes -keyout root-key.pem -out root.pem -days 2 -subj /CN=root 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -keyout leaf-key.pem -out leaf.csr -subj /CN=signer 2>/dev/null
  openssl x509 -req -in leaf.csr -CA root.pem -CAkey root-key.pem -CAcreateserial -out leaf.pem -days 2 2>/dev/null
  openssl req -x509 -newkey rsa:2048 -nodes -keyout other-key.pem -out other.pem -days 2 -subj /CN=root 2>/dev/null
  registry main 5000 --auth token --token-realm https://auth.example/token --token-issuer auth --token-service us \
    --token-key "$TEST_ROOT/rsa.pub" --token-roots "$TEST_ROOT/root.pem"
  [[ "$(header www-authenticate $R/)" == 'Bearer realm="https://auth.example/token",service="us"' ]]
  now=$(date +%s)
  claims() { printf '{"iss":"%s","aud":"us","sub":"alice","exp":%d,"nbf":%d,"access":[{"type":"repository","name":"a","actions":["pull","push"]}]}' "${1:-auth}" $((now + ${2:-300})) $((now - 10)); }
  good=$(foreign rsa.pem RS256 "$(claims)")
  wants 200 -H "Authorization: Bearer $good" $R/
  push_image $R/a v1 -H "Authorization: Bearer $good"
  wants 401 -H "Authorization: Bearer $good" -X POST $R/b/blobs/uploads/
  wants 401 -H "Authorization: Bearer $(foreign leaf-key.pem RS256 "$(claims)")" $R/
  wants 401 -H "Authorization: Bearer $(foreign rsa.pem RS256 "$(claims other)")" $R/
  wants 401 -H "Authorization: Bearer $(foreign rsa.pem RS256 "$(claims auth -300)")" $R/
  body | grep -q 'expired'
  wants 401 -H "Authorization: Bearer $(foreign rsa.pem none "$(claims)")" $R/
  wants 401 -H "Authorization: Bearer ${good%.*}." $R/
  chain() { openssl x509 -in "$1" -outform DER | openssl base64 -A; }
  wants 200 -H "Authorization: Bearer $(foreign leaf-key.pem RS256 "$(claims)" ",\"x5c\":[\"$(chain leaf.pem)\"]")" $R/
  wants 401 -H "Authorization: Bearer $(foreign other-key.pem RS256 "$(claims)" ",\"x5c\":[\"$(chain other.pem)\"]")" $R/
  wants 401 -H "Authorization: Bearer $(foreign other-key.pem RS256 "$(claims)" ",\"x5c\":[\"$(chain leaf.pem)\"]")" $R/
}

@test "over TLS a client's certificate names the user, or is demanded" {
  cd "$TEST_ROOT"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca-key.pem -out ca.pem 2>/dev/null
  certificate() { # FILE NAME EXTENSION
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1-key.pem" -out "$1.csr" -subj "/CN=$2" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -out "$1.pem" -extfile <(echo "$3") 2>/dev/null
  }
  certificate server registry subjectAltName=IP:127.0.0.1
  certificate alice alice extendedKeyUsage=clientAuth
  local -a tls=(--tls-certificate "$PWD/server.pem" --tls-key "$PWD/server-key.pem" --tls-client-ca "$PWD/ca.pem")
  local S=https://127.0.0.1:5001/v2 C=(--cacert ca.pem) A=(--cacert ca.pem --cert alice.pem --key alice-key.pem)
  registry tls 5001 "${tls[@]}" --rights "$TEST_ROOT/rights"
  wants 200 "${C[@]}" $S/
  wants 403 "${C[@]}" -X POST $S/team/app/blobs/uploads/
  push_image $S/team/app v1 "${A[@]}"
  wants 403 "${A[@]}" -X POST $S/devs/app/blobs/uploads/
  # A renewed certificate is served after SIGHUP.
  local before
  before=$(serial)
  certificate server registry subjectAltName=IP:127.0.0.1
  kill -HUP "$(registry_pid tls)"
  eventually 5 differs "$before"
  registry_stop tls
  registry tls 5001 "${tls[@]}" --tls-client-required
  wants 000 "${C[@]}" $S/
  wants 200 "${A[@]}" $S/
}
serial() { openssl s_client -connect 127.0.0.1:5001 </dev/null 2>/dev/null | openssl x509 -noout -serial; }
differs() { [ "$(serial)" != "$1" ]; }

@test "a wrong configuration is refused, a line for each mistake" {
  printf 'auth = maybe\nfly = on\ntls-key = x\n' >"$TEST_ROOT/bad"
  run "$GANTRY_REGISTRY" config --config "$TEST_ROOT/bad"
  [ "$status" -eq 1 ]
  [ "${#lines[@]}" -eq 3 ]
  [[ "${lines[0]}" == *"line 1: auth = maybe: expected none, htpasswd or token" ]]
  run "$GANTRY_REGISTRY" config --auth htpasswd --htpasswd "$TEST_ROOT/nothing"
  [ "$status" -eq 1 ]
  [[ "$output" == *"$TEST_ROOT/nothing"*"no such file"* ]]
  run "$GANTRY_REGISTRY" config --htpasswd "$TEST_ROOT/htpasswd" --auth htpasswd --rights "$TEST_ROOT/rights"
  [ "$output" = "configuration OK" ]
  run "$GANTRY_REGISTRY" fly
  [ "$status" -eq 64 ]
  registry main 5000
  run "$GANTRY_REGISTRY" serve --root "$TEST_ROOT/other" --address 127.0.0.1:5000
  [ "$status" -eq 1 ]
  [[ "$output" == *"127.0.0.1:5000': bind: address already in use"* ]]
}

@test "metrics want a user where there are users" {
  registry main 5000 --auth htpasswd --htpasswd "$TEST_ROOT/htpasswd"
  wants 401 http://127.0.0.1:5000/metrics
  wants 200 -u alice:secret-alice http://127.0.0.1:5000/metrics
  wants 200 http://127.0.0.1:5000/health
}
