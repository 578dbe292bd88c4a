# What every bats file loads: paths, the engine under test, the client, assertions, leak checks.
#
# Environment:
#   ENGINE   gantry (default), or dockerd: Docker's own daemon as the reference for what a client may expect
#   CLIENT   docker (default when there is one) or gantry: the client that `client` runs
#   GANTRY_BUILD  the build tree whose programs are tested (default build/release)

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
GANTRY_BUILD=${GANTRY_BUILD:-$REPOSITORY/build/release}
export ENGINE=${ENGINE:-gantry} REPOSITORY GANTRY_BUILD

BATS_LIB_PATH=${BATS_LIB_PATH:-/usr/lib/bats}
bats_load_library bats-support
bats_load_library bats-assert
for part in wait engine leaks; do
  # shellcheck source=/dev/null
  source "$REPOSITORY/tests/lib/$part.bash"
done

export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-120}
bats_require_minimum_version 1.8.0

# on_engine NAME: whether that is the engine under test.
on_engine() { [ "$ENGINE" = "$1" ]; }

# fixture_image OUT ARGUMENT…: makes an image archive (see tools/pack_image.py).
fixture_image() { /usr/bin/python3 "$REPOSITORY/tools/pack_image.py" "$@"; }

# on_terminal STEP… -- COMMAND…: runs it on a terminal (see tests/lib/terminal.py).
on_terminal() { /usr/bin/python3 "$REPOSITORY/tests/lib/terminal.py" "$@"; }

# random_name PREFIX: a container name no other test uses.
random_name() { echo "$1-$BATS_TEST_NUMBER-$RANDOM$RANDOM"; }
