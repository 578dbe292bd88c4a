# Private engines: each has a directory with data root, exec root, socket, pid file and log, and is stopped by
# its pid. TEST_ROOT is short because socket paths are limited to 108 bytes.

# engine_root: makes TEST_ROOT; call it first in setup_file.
engine_root() {
  TEST_ROOT=$(mktemp -d /tmp/gt.XXXXXX)
  chmod 755 "$TEST_ROOT"
  export TEST_ROOT ENGINE_NAME=main
  export DOCKER_CONFIG=$TEST_ROOT/docker-config
  mkdir -p "$DOCKER_CONFIG"
  unset DOCKER_HOST DOCKER_CONTEXT DOCKER_API_VERSION GANTRY_HOST
}

engine_dir() { echo "$TEST_ROOT/${1:-$ENGINE_NAME}"; }
engine_socket() { echo "$(engine_dir)/sock"; }
engine_pid() { cat "$(engine_dir "$@")/pid"; }
engine_log() { cat "$(engine_dir "$@")/log"; }

engine_programs() { # skips the file when the programs under test are not there
  if on_engine dockerd; then
    command -v dockerd >/dev/null || skip "dockerd is not installed"
  else
    [ -x "$GANTRY_BUILD/bin/gantryd" ] || {
      echo "there is no $GANTRY_BUILD/bin/gantryd: build it first (./dev build)" >&2
      return 1
    }
  fi
}

# engine_spawn NAME FLAG…: starts the daemon without waiting for it; its pid is in spawned_pid.
engine_spawn() {
  local name=$1 dir
  shift
  dir=$(engine_dir "$name")
  mkdir -p "$dir"
  local -a command=(dockerd)
  on_engine dockerd || command=("$GANTRY_BUILD/bin/gantryd")
  # STORAGE_DRIVER: another than the one that the daemon would choose.
  [ -z "${STORAGE_DRIVER:-}" ] || command+=(--storage-driver "$STORAGE_DRIVER")
  command+=(--data-root "$dir/data" --exec-root "$dir/exec" -H "unix://$dir/sock" --pidfile "$dir/pid" "$@")
  # Not 3 and up: bats waits for whoever holds those.
  setsid "${command[@]}" >>"$dir/log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  spawned_pid=$!
}

engine_answers() { api GET /_ping 2>/dev/null | grep -q '^OK'; }

engine_answers_or_died() { # PID
  process_gone "$1" || engine_answers
}

# engine_start [NAME [FLAG…]]: starts a daemon and returns when it answers.
engine_start() {
  engine_programs || return
  local ENGINE_NAME=${1:-main} spawned_pid
  engine_spawn "$ENGINE_NAME" "${@:2}"
  if ! eventually 30 engine_answers_or_died "$spawned_pid" || ! engine_answers; then
    echo "the daemon $ENGINE_NAME did not come up; its log ends:" >&2
    tail -n 20 "$(engine_dir "$ENGINE_NAME")/log" >&2
    return 1
  fi
  if on_engine dockerd; then
    fixture_image "$TEST_ROOT/busybox.tar" --busybox --name busybox:latest
    "$DOCKER" -H "unix://$(engine_socket)" load -q -i "$TEST_ROOT/busybox.tar" >/dev/null
  else
    eventually 20 api_ok GET /images/busybox/json
  fi
}

# engine_stop [NAME]: a clean stop, by pid.
engine_stop() {
  local pid
  pid=$(engine_pid "${1:-main}") || return
  kill -TERM "$pid"
  eventually 30 process_gone "$pid"
}

# engine_kill [NAME]: what a crash is.
engine_kill() {
  local pid
  pid=$(engine_pid "${1:-main}") || return
  kill -KILL "$pid"
  eventually 10 process_gone "$pid"
}

# remove_all_containers: so that nothing may be left afterwards.
remove_all_containers() {
  local id
  for id in $(api GET '/containers/json?all=1' | jq -r '.[].Id'); do
    api_ok DELETE "/containers/$id?force=1&v=1"
  done
}

# --- HTTP ------------------------------------------------------------------------------------------------

# api METHOD PATH [CURL-ARGUMENT…]: the body of the answer.
api() {
  local method=$1 path=$2
  shift 2
  curl -sS -m 30 --unix-socket "$(engine_socket)" -X "$method" "$@" "http://localhost$path"
}

# api_status METHOD PATH [CURL-ARGUMENT…]: the body, then the status code on a line of its own.
api_status() { api "$@" -w '\n%{http_code}\n'; }

api_ok() { [[ "$(api_status "$@" | tail -n 1)" == 2* ]]; }

api_json() { # METHOD PATH BODY: as api_status
  api_status "$1" "$2" -H 'Content-Type: application/json' -d "$3"
}

# --- clients ---------------------------------------------------------------------------------------------

DOCKER=$(command -v docker || true)
export DOCKER

default_client() { if [ -n "$DOCKER" ]; then echo docker; else echo gantry; fi; }
export CLIENT=${CLIENT:-$(default_client)}

client_program() {
  if [ "$CLIENT" = docker ]; then echo "$DOCKER"; else echo "$GANTRY_BUILD/bin/gantry"; fi
}

# client ARGUMENT…: the client under test against the engine ENGINE_NAME, for at most CLIENT_TIMEOUT seconds.
client() {
  timeout -k 2 "${CLIENT_TIMEOUT:-30}" "$(client_program)" -H "unix://$(engine_socket)" "$@"
}

# client_terminal STEP… -- ARGUMENT…: the same on a terminal.
client_terminal() {
  local -a steps=()
  while [ "$1" != -- ]; do
    steps+=("$1")
    shift
  done
  shift
  on_terminal "${steps[@]}" -- "$(client_program)" -H "unix://$(engine_socket)" "$@"
}

# client_background OUT ARGUMENT…: in the background, output to OUT, its pid in client_pid.
client_background() {
  local out=$1
  shift
  "$(client_program)" -H "unix://$(engine_socket)" "$@" >"$out" 2>"$out.err" </dev/null 3>&- &
  export client_pid=$!
}

# client_ends: waits for the client in the background; its exit status is then in client_status.
client_ends() {
  export client_status=0
  wait "$client_pid" || client_status=$?
}

need_client() {
  if [ "$CLIENT" = docker ]; then
    [ -n "$DOCKER" ] || skip "there is no docker client on the PATH"
  elif on_engine dockerd; then
    skip "the reference engine is driven by its own client only"
  fi
}

# need_command COMMAND…: skips a test whose command this client does not have.
need_command() {
  [ "$CLIENT" = docker ] || client "$@" --help >/dev/null 2>&1 || skip "gantry has no command '$*'"
}

# --- the usual file --------------------------------------------------------------------------------------

# One engine for the whole file. A file that wants more overrides these.
usual_setup_file() {
  need_client
  engine_root
  leaks_snapshot "$TEST_ROOT/before"
  engine_start main
}

usual_teardown_file() {
  [ -n "${TEST_ROOT:-}" ] || return 0
  if [ -e "$(engine_dir main)/pid" ]; then
    remove_all_containers
    engine_stop main
  fi
  leaks_check "$TEST_ROOT/before"
  on_engine gantry || umount "$TEST_ROOT"/*/exec/netns/* "$TEST_ROOT"/*/data 2>/dev/null || true
  rm -rf "$TEST_ROOT"
}

# After a test that failed: the end of what the daemon said.
usual_teardown() {
  if [ -z "${BATS_TEST_COMPLETED:-}" ] && [ -e "$(engine_dir)/log" ]; then
    echo "--- the daemon's log ends:"
    tail -n 15 "$(engine_dir)/log"
  fi
  return 0
}
