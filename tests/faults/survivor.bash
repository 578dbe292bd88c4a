# What the fault tests share: clear refusals, a container that must not notice, a daemon that must not spin.

# refuses REGEXP COMMAND…: it fails, soon, with one line that matches (docker wraps what it prints).
refuses() {
  local pattern=$1
  shift
  run --separate-stderr "$@"
  echo "$*: status $status: $output $stderr" >&2
  [ "$status" -ne 0 ] || fail "it was done"
  # shellcheck disable=SC2154 # set by run
  assert_regex "$stderr" "$pattern"
  assert_equal "$(grep -cE "$pattern" <<<"$stderr")" 1
  [ "$(grep -vc "^See 'docker\|^Run 'docker\|^See 'gantry\|^$" <<<"$stderr")" -eq 1 ] || fail "more than one line"
}

# answers_500 REGEXP METHOD PATH…: the API's own answer, one message in one line.
answers_500() {
  local pattern=$1 body
  shift
  body=$(api_status "$@")
  assert_equal "$(tail -n 1 <<<"$body")" 500
  assert_regex "$(jq -r .message <<<"${body%$'\n'*}")" "$pattern"
  assert_equal "$(jq -r .message <<<"${body%$'\n'*}" | wc -l)" 1
}

# works_or_refuses REGEXP COMMAND…: a small write may still find room; then it holds. 0 when it was done.
works_or_refuses() {
  local pattern=$1
  shift
  run --separate-stderr "$@"
  echo "$*: status $status: $output $stderr" >&2
  [ "$status" -eq 0 ] && return 0
  assert_regex "$stderr" "$pattern"
  return 1
}

# --- a container that must not notice --------------------------------------------------------------------

survivor_starts() { # answers on a port; repeats to its output what is written to /p
  client run -d --name survivor -p 127.0.0.1:18130:80 busybox sh -c \
    'mkdir /w && echo alive >/w/index.html && mkfifo /p && httpd -p 80 -h /w; while :; do cat /p; done' >/dev/null
  SURVIVOR=$(client inspect -f '{{.State.Pid}}' survivor)
  export SURVIVOR
  eventually 10 survivor_serves
}
survivor_serves() { [ "$(curl -sS -m 5 --noproxy '*' http://127.0.0.1:18130/)" = alive ]; }
survivor_lives() {
  kill -0 "$SURVIVOR"
  survivor_serves
  assert_equal "$(client inspect -f '{{.State.Status}} {{.State.Pid}}' survivor)" "running $SURVIVOR"
}
survivor_says() { nsenter -t "$SURVIVOR" -m -r sh -c "echo '$1' >/p"; }
logged() { client logs survivor | grep -F "$1"; }

# --- a daemon that must not spin -------------------------------------------------------------------------

cpu_ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$(engine_pid)/stat"; }

# The daemon has little to do while COMMAND takes its second or more: less than half a processor.
calm_during() {
  local before began used
  before=$(cpu_ticks)
  began=$(date +%s%N)
  "$@"
  used=$(($(cpu_ticks) - before))
  local took=$((($(date +%s%N) - began) / 10000000))
  [ $((used * 2)) -lt "$took" ] || fail "the daemon used $used of $took ticks"
}
