#!/usr/bin/env bats
# The Engine API against its OpenAPI file (contract.py): every endpoint, at the versions where an answer's shape
# changed, success and error alike.
load ../../lib/common

# The file is not part of this repository. It is looked for beside it, where it is beside several of them.
contract_file() {
  local directory
  for directory in "$REPOSITORY" "$REPOSITORY"/.. "$REPOSITORY"/../..; do
    ls "$directory"/shared/spec/engine-api-v1.51.yaml 2>/dev/null && return
  done
  return 1
}

setup_file() {
  CONTRACT=${GANTRY_API_CONTRACT:-$(contract_file)} || skip "the contract is not here: set GANTRY_API_CONTRACT"
  export CONTRACT
  /usr/bin/python3 -c 'import yaml' 2>/dev/null || skip "needs Debian's python3-yaml"
  usual_setup_file
}
teardown_file() { [ -z "${CONTRACT:-}" ] || usual_teardown_file; }
teardown() { usual_teardown; }

api_suite() { # VERSION…: what is wrong is printed
  local version
  for version in "$@"; do
    run /usr/bin/python3 "$REPOSITORY/tests/conformance/api/contract.py" "$CONTRACT" "$(engine_socket)" "$version"
    echo "--- $version: $output"
    assert_success
  done
}

@test "the newest version" { api_suite 1.51; }
@test "the oldest version" { api_suite 1.24; }
# 1.25 prune, 1.28 networks without containers, 1.30 wait conditions, 1.40 ping, 1.41 cgroup namespaces, 1.42 stream
# types and anonymous volumes, 1.44 several networks, 1.45 subpaths.
@test "versions at which something changed" { api_suite 1.25 1.30 1.40 1.41 1.42 1.44 1.47; }

@test "the suite finds what is wrong with an answer" {
  run /usr/bin/python3 "$REPOSITORY/tests/conformance/api/openapi_test.py" "$CONTRACT"
  assert_success
}

@test "docs/compatibility.md tells of every endpoint and field, and what it tells is so" {
  run /usr/bin/python3 "$REPOSITORY/tests/conformance/api/compatibility.py" "$CONTRACT" "$(engine_socket)" \
    "$REPOSITORY/docs/compatibility.md"
  echo "$output"
  assert_success
}
