# Waiting for a condition, with a bound. The only place where a test sleeps.

# eventually SECONDS COMMAND…: runs it until it succeeds; fails, showing its last output, after SECONDS.
eventually() {
  local deadline=$(($(date +%s%N) + $1 * 1000000000)) output
  shift
  until output=$("$@" 2>&1); do
    if [ "$(date +%s%N)" -ge "$deadline" ]; then
      printf 'not in time: %s\n%s\n' "$*" "$output" >&2
      return 1
    fi
    sleep 0.02
  done
}

# process_gone PID: it has ended (a zombie counts: only its parent is late; but not one whose other threads still
# end: its files and locks are open until the last of them).
process_gone() {
  local state threads
  state=$(awk '/^State:/ { print $2 }' "/proc/$1/status" 2>/dev/null) || return 0
  [ -n "$state" ] || return 0
  threads=("/proc/$1/task"/*)
  [ "$state" = Z ] && [ ${#threads[@]} -le 1 ]
}

# matches PATTERN COMMAND…: its output, both streams, contains a line that matches the extended regexp.
matches() {
  local pattern=$1
  shift
  "$@" 2>&1 | grep -E -- "$pattern"
}

# equals TEXT COMMAND…: it prints exactly that.
equals() {
  local expected=$1 actual
  shift
  actual=$("$@" 2>&1)
  echo "got: $actual"
  [ "$actual" = "$expected" ]
}
