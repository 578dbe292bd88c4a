#!/usr/bin/env bats
# Random operations of eight clients on one daemon that is killed again and again (soak.py).
#
# SOAK_MINUTES (default 10), SOAK_SEED (default: a random one, which is printed).
load ../lib/common
export BATS_TEST_TIMEOUT=$((${SOAK_MINUTES:-10} * 60 + 300))

setup_file() {
  on_engine gantry || skip "Docker's daemon is not held to it"
  engine_root
  leaks_snapshot "$TEST_ROOT/before"
}
teardown_file() { [ -z "${TEST_ROOT:-}" ] || rm -rf "$TEST_ROOT"; }

@test "whatever clients do and however often the daemon is killed, what was acknowledged is there and nothing leaks" {
  run /usr/bin/python3 "$REPOSITORY/tests/soak/soak.py" --program "$GANTRY_BUILD/bin/gantryd" --root "$(engine_dir main)" \
    --seconds $((${SOAK_MINUTES:-10} * 60)) ${SOAK_SEED:+--seed "$SOAK_SEED"}
  echo "$output"
  [ "$status" -eq 0 ] || tail -n 40 "$(engine_dir main)/log"
  [ -z "${SOAK_KEEP:-}" ] || cp -r "$(engine_dir main)/log" "$SOAK_KEEP"
  assert_success
  while read -r line; do echo "# $line" >&3; done <<<"$output"
  leaks_check "$TEST_ROOT/before"
}
