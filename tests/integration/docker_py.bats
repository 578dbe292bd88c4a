#!/usr/bin/env bats
# Docker's library for Python (Debian's python3-docker), which Compose and much else is made with: docker_py.py.
load ../lib/common

setup_file() {
  /usr/bin/python3 -c 'import docker' 2>/dev/null || skip "needs Debian's python3-docker"
  export HAVE_DOCKER_PY=1
  usual_setup_file
}
teardown_file() { [ -z "${HAVE_DOCKER_PY:-}" ] || usual_teardown_file; }
teardown() { usual_teardown; }

@test "docker-py does with the engine all that it can do" {
  run env DOCKER_HOST="unix://$(engine_socket)" timeout 100 /usr/bin/python3 "$BATS_TEST_DIRNAME/docker_py.py" -v
  echo "$output"
  assert_success
}
