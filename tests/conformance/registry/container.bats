#!/usr/bin/env bats
# gantry-registry as a container of Gantry's, with its data in a volume.

load helper

setup_file() {
  [ -x "$GANTRY_REGISTRY" ]
  engine_root
  engine_start
}
teardown_file() {
  [ -n "${TEST_ROOT:-}" ] || return 0
  engine_stop
  rm -rf "$TEST_ROOT"
}
teardown() { [ -n "${BATS_TEST_COMPLETED:-}" ] || tail -n 5 "$(engine_dir)/log"; }

@test "an image of the registry is packed, run with a volume, pushed to, and keeps what it has" {
  "$REPOSITORY/tools/pack_registry.sh" "$TEST_ROOT/registry.tar" "$GANTRY_REGISTRY"
  client load -i "$TEST_ROOT/registry.tar"
  client run -d --name registry -v registry:/var/lib/gantry-registry gantry-registry
  local address
  address=$(client inspect registry --format '{{.NetworkSettings.IPAddress}}')
  eventually 10 wants 200 "http://$address:5000/v2/"
  local digest
  digest=$(push_image "http://$address:5000/v2/inside" v1)
  client exec registry /usr/bin/gantry-registry gc
  client stop registry
  [ "$(client inspect registry --format '{{.State.ExitCode}}')" = 0 ]
  client start registry
  address=$(client inspect registry --format '{{.NetworkSettings.IPAddress}}')
  eventually 10 wants 200 "http://$address:5000/v2/inside/manifests/$digest"
  client rm -f registry
  client volume rm registry
}
