# Registries on loopback: Gantry's own, and Debian's docker-registry where it is installed or unpacked into build/peers
# (tests/conformance/engines/peers). Each has a store, a log and a pid file below TEST_ROOT/registries, and is stopped by its
# pid. For what is about the engine; the registry itself is tested in tests/conformance/registry.

PEERS=$REPOSITORY/build/peers

registry_spawn() { # NAME ADDRESS SCHEME COMMAND…
  local name=$1 address=$2 scheme=$3 dir=$TEST_ROOT/registries/$1
  shift 3
  mkdir -p "$dir"
  setsid "$@" >>"$dir/log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  echo $! >"$dir/pid"
  eventually 15 registry_listens "$scheme" "$address" || {
    tail -n 5 "$dir/log" >&2
    return 1
  }
}
registry_listens() { # SCHEME ADDRESS; one that wants a client's certificate ends the handshake, which is an answer
  curl -skI -o /dev/null -m 5 "$1://$2/v2/" || [ $? -eq 56 ]
}

# gantry_registry NAME [HOST:]PORT FLAG…
gantry_registry() {
  local name=$1 address=$2 scheme=http
  [[ $address == *:* ]] || address=127.0.0.1:$address
  shift 2
  [[ " $* " != *" --tls-key "* ]] || scheme=https
  registry_spawn "$name" "$address" $scheme "$GANTRY_BUILD/bin/gantry-registry" serve --root "$TEST_ROOT/registries/$name/store" \
    --address "$address" "$@"
}

docker_registry_program() { command -v docker-registry || { [ -x "$PEERS/usr/bin/docker-registry" ] && echo "$PEERS/usr/bin/docker-registry"; }; }
# docker_registry NAME PORT [YAML-LINE…]: more lines of its configuration.
docker_registry() {
  local name=$1 port=$2 dir=$TEST_ROOT/registries/$1 program scheme=http
  shift 2
  program=$(docker_registry_program) || return
  [[ "$*" != *"tls:"* ]] || scheme=https
  mkdir -p "$dir"
  {
    printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: false}}\n'
    printf 'storage: {filesystem: {rootdirectory: %s/store}, delete: {enabled: true}}\n' "$dir"
    [[ "$*" == *"http:"* ]] || printf 'http: {addr: "127.0.0.1:%s"}\n' "$port"
    printf '%s\n' "$@"
  } >"$dir/config.yml"
  registry_spawn "$name" "127.0.0.1:$port" $scheme "$program" serve "$dir/config.yml"
}

registry_pid() { cat "$TEST_ROOT/registries/$1/pid"; }
registry_log() { cat "$TEST_ROOT/registries/$1/log"; }
registry_stop() { # NAME [SIGNAL]
  local pid
  pid=$(registry_pid "$1") || return 0
  kill "-${2:-TERM}" "$pid" 2>/dev/null || true
  eventually 20 process_gone "$pid"
  rm "$TEST_ROOT/registries/$1/pid"
}
registries_stop() {
  local pid
  for pid in "$TEST_ROOT"/registries/*/pid; do
    [ ! -e "$pid" ] || registry_stop "$(basename "$(dirname "$pid")")" KILL
  done
}
registry_forget() { registry_stop "$1" KILL; rm -rf "${TEST_ROOT:?}/registries/$1"; } # NAME: and what it has
