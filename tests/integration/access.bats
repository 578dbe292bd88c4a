#!/usr/bin/env bats
# Who may speak to the daemon, and over what: TLS with certificates of clients, sockets that a service manager made.
load ../lib/common

setup_file() {
  on_engine gantry || skip "about gantryd's own sockets"
  need_client
  engine_root
  leaks_snapshot "$TEST_ROOT/before"
  certificates
  PORT=24376
  export PORT
  engine_programs
  mkdir "$(engine_dir main)" 2>/dev/null || true
  engine_start main -H "tcp://127.0.0.1:$PORT" --tlsverify --tlscacert "$TEST_ROOT/ca.pem" \
    --tlscert "$TEST_ROOT/server.pem" --tlskey "$TEST_ROOT/server.key"
}
teardown_file() { [ -z "${TEST_ROOT:-}" ] || usual_teardown_file; }
teardown() { usual_teardown; }

authority() { # NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout "$TEST_ROOT/$1.key" -out "$TEST_ROOT/$1.pem" 2>/dev/null
}
signed() { # NAME AUTHORITY [EXTENSION]
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$TEST_ROOT/$1.key" -out "$TEST_ROOT/$1.csr" 2>/dev/null
  openssl x509 -req -in "$TEST_ROOT/$1.csr" -CA "$TEST_ROOT/$2.pem" -CAkey "$TEST_ROOT/$2.key" -CAcreateserial -days 2 \
    -extfile <(echo "${3:-basicConstraints=CA:FALSE}") -out "$TEST_ROOT/$1.pem" 2>/dev/null
}
certificates() {
  authority ca
  authority other-ca
  signed server ca subjectAltName=IP:127.0.0.1
  signed alice ca
  signed mallory other-ca
}
over_tls() { # WHO ARGUMENT…
  timeout -k 2 30 "$(client_program)" -H "tcp://127.0.0.1:$PORT" --tlsverify --tlscacert "$TEST_ROOT/ca.pem" \
    --tlscert "$TEST_ROOT/$1.pem" --tlskey "$TEST_ROOT/$1.key" "${@:2}"
}

@test "a client with a certificate can do everything, attach and exec with their input too" {
  assert_equal "$(over_tls alice run --rm busybox echo hello)" hello
  run over_tls alice run --rm busybox sh -c 'exit 5'
  assert_failure 5
  over_tls alice run -d --name tls busybox sleep 1000 >/dev/null
  assert_equal "$(echo typed | over_tls alice exec -i tls cat)" typed
  assert_equal "$(head -c 3000000 /dev/zero | over_tls alice exec -i tls sh -c 'cat | wc -c')" 3000000
  assert_equal "$(over_tls alice exec tls head -c 3000000 /dev/zero | wc -c)" 3000000
  assert_equal "$(echo piped | over_tls alice run -i --rm busybox cat)" piped
  over_tls alice rm -f tls >/dev/null
}

@test "both directions at once do not stand in each other's way" {
  assert_equal "$(head -c 20000000 /dev/urandom | tee >(sha256sum >"$BATS_TEST_TMPDIR/in") | over_tls alice run -i --rm busybox cat | sha256sum)" \
    "$(eventually 5 test -s "$BATS_TEST_TMPDIR/in"; cat "$BATS_TEST_TMPDIR/in")"
}

@test "without a certificate of the right authority nobody is served" {
  run over_tls mallory ps
  assert_failure 1
  run curl -sS --cacert "$TEST_ROOT/ca.pem" "https://127.0.0.1:$PORT/_ping"
  assert_failure
  refute_output --partial OK
  run curl -sS "http://127.0.0.1:$PORT/_ping"
  refute_output --partial OK
}

@test "jobs say which certificate asked for them" {
  over_tls alice create --name asked busybox true >/dev/null
  run api GET '/gantry/jobs?limit=20'
  assert_output --partial '"tls:alice"'
  over_tls alice rm asked >/dev/null
}

@test "SIGHUP takes other certificates, and keeps the old ones when they are wrong" {
  cp "$TEST_ROOT/server.pem" "$TEST_ROOT/server.old"
  shown() { openssl s_client -connect "127.0.0.1:$PORT" -cert "$TEST_ROOT/alice.pem" -key "$TEST_ROOT/alice.key" </dev/null 2>/dev/null | openssl x509 -noout -serial; }
  before=$(shown)
  signed server ca subjectAltName=IP:127.0.0.1
  kill -HUP "$(engine_pid main)"
  changed() { [ "$(shown)" != "$before" ]; }
  eventually 5 changed
  over_tls alice version >/dev/null
  echo nonsense >"$TEST_ROOT/server.pem"
  kill -HUP "$(engine_pid main)"
  eventually 5 matches 'reload: .*server.pem' engine_log main
  over_tls alice version >/dev/null
  cp "$TEST_ROOT/server.old" "$TEST_ROOT/server.pem"
}

@test "certificates that are not there are said at the start" {
  run "$GANTRY_BUILD/bin/gantryd" --data-root "$BATS_TEST_TMPDIR/d" --exec-root "$BATS_TEST_TMPDIR/e" -H tcp://127.0.0.1:0 --tls --tlscert /nowhere.pem
  assert_failure 1
  assert_output --partial '/nowhere.pem'
  assert_equal "${#lines[@]}" 1
  run "$GANTRY_BUILD/bin/gantryd" --validate --tls --tlscert /nowhere.pem
  assert_failure 1
}

@test "sockets that a service manager made are served, and it is told of readiness" {
  mkdir -p "$(engine_dir passed)"
  cat >"$BATS_TEST_TMPDIR/manager.py" <<'PY'
import os, socket, sys
directory, *command = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(directory + "/sock")
listener.listen()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(directory + "/notify")
pid = os.fork()
if pid == 0:
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)
    os.execve(command[0], command, {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "NOTIFY_SOCKET": directory + "/notify"})
print(notify.recv(100).decode(), flush=True)
os.waitpid(pid, 0)
PY
  /usr/bin/python3 "$BATS_TEST_TMPDIR/manager.py" "$(engine_dir passed)" "$GANTRY_BUILD/bin/gantryd" --data-root "$(engine_dir passed)/data" \
    --exec-root "$(engine_dir passed)/exec" --bridge none --pidfile "$(engine_dir passed)/pid" -H fd:// \
    >"$BATS_TEST_TMPDIR/told" 2>"$(engine_dir passed)/log" </dev/null 3>&- &
  manager=$!
  ENGINE_NAME=passed eventually 20 engine_answers
  eventually 20 grep -q READY=1 "$BATS_TEST_TMPDIR/told"
  kill "$(engine_pid passed)"
  wait "$manager"
}

@test "defaults of containers come from the configuration" {
  cat >"$TEST_ROOT/daemon.json" <<'JSON'
{"default-shm-size": "8m", "default-ipc-mode": "shareable", "init": true, "no-new-privileges": true, "live-restore": true,
 "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 77, "Hard": 88}}}
JSON
  engine_start defaults --config-file "$TEST_ROOT/daemon.json" --bridge none
  # shellcheck disable=SC2034 # client reads it
  ENGINE_NAME=defaults
  run client run --rm --network none busybox sh -c 'ulimit -n; df -k /dev/shm | tail -1; grep NoNewPrivs /proc/self/status; cat /proc/1/comm'
  assert_line --index 0 77
  assert_line --index 1 --partial ' 8192 '
  assert_line --index 2 --regexp '1$'
  refute_line --index 3 sh
  run client run --rm --network none --ulimit nofile=99 --ipc private busybox sh -c 'ulimit -n'
  assert_output 99
  engine_stop defaults
  for wrong in '{"live-restore": false}' '{"default-ipc-mode": "host"}' '{"default-shm-size": "x"}' '{"tls": "yes"}' '{"nonsense": 1}'; do
    echo "$wrong" >"$TEST_ROOT/daemon.json"
    run "$GANTRY_BUILD/bin/gantryd" --validate --config-file "$TEST_ROOT/daemon.json"
    assert_failure 1
    assert_equal "${#lines[@]}" 1
  done
}
