# What is left on the machine, seen from the outside: mounts, links, namespaces, cgroups, nftables objects,
# processes, directories. A snapshot is a sorted list of lines `kind what`; a check compares two.
#
# Exact under tests/isolate, where nobody else takes anything.

leaks_mounts() { awk '{ print "mount", $5, $9 }' /proc/self/mountinfo; }

leaks_links() { ip -o link show | awk -F': ' '{ sub(/@.*/, "", $2); print "link", $2 }'; }

leaks_nft() { nft list ruleset 2>/dev/null | awk '/^table/ { print "nft", $2, $3 }'; }

leaks_cgroups() {
  local mountpoint
  awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts | sort -u | while read -r mountpoint; do
    find "$mountpoint" -mindepth 1 -type d -printf "cgroup %p\n" 2>/dev/null || true # it may go while we look
  done
}

# Namespaces held by a process; those held by a bind mount are seen by leaks_mounts.
leaks_namespaces() {
  local namespace
  for namespace in /proc/[0-9]*/ns/*; do
    case $namespace in *_for_children) ;; *) readlink "$namespace" 2>/dev/null ;; esac
  done | sed 's/^/namespace /' | sort -u
}

# Every process but this one, those it came from, those it made, and the clock of bats' time limit.
leaks_processes() {
  ps -eo pid=,ppid=,args= | awk -v self="$BASHPID" -v clock="bats-exec-test|sleep ${BATS_TEST_TIMEOUT:-none}\$" '
    { pid = $1; parent[pid] = $2; $1 = $2 = ""; args[pid] = $0 }
    END {
      for (p = self; p > 1; p = parent[p]) mine[p] = 1
      for (pid in parent) {
        for (p = pid; p > 1 && p != self; p = parent[p]) {}
        if (p == self || pid in mine || args[pid] ~ clock) continue
        print "process" args[pid]
      }
    }'
}

# Names that an engine could leave outside its roots.
leaks_directories() {
  local place
  for place in /run /run/gantry /run/netns /var/run/netns /var/lib /var/lib/gantry /var/log /tmp /dev/shm /etc; do
    find "$place" -maxdepth 1 \( -iname '*gantry*' -o -path '/run/netns/*' \) -printf 'directory %p\n' 2>/dev/null || true
  done
}

# What the engines' own roots hold that belongs to containers.
leaks_exec_roots() {
  [ -n "${TEST_ROOT:-}" ] || return 0
  local root
  for root in "$TEST_ROOT"/*/exec "$TEST_ROOT"/*/data; do
    find "$root" -regextype posix-extended \( -path '*/containers/*' -o -path '*/shims/*' \) -mindepth 1 -maxdepth 3 \
      -printf 'left %p\n' 2>/dev/null || true
  done
}

leaks_snapshot() { # FILE
  { leaks_mounts; leaks_links; leaks_nft; leaks_cgroups; leaks_namespaces; leaks_processes; leaks_directories; leaks_exec_roots; } \
    | sort -u >"$1"
}

leaks_same() { # FILE
  leaks_snapshot "$1.now"
  local left
  left=$(comm -13 "$1" "$1.now")
  [ -z "$left" ] || {
    printf '%s\n' "$left"
    return 1
  }
}

# leaks_check FILE: nothing is there that was not there when FILE was written. What a daemon gives back in the
# background gets a few seconds. Docker's own daemon is not held to it.
leaks_check() {
  on_engine gantry || return 0
  eventually "${LEAKS_SECONDS:-10}" leaks_same "$1"
}
