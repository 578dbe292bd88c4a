#!/bin/bash
# pack_registry.sh OUT [PROGRAM]: an image archive with gantry-registry (default: of the release build) and the
# libraries it is linked with. The same program and libraries give the same bytes.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
[ $# -ge 1 ] || {
  echo "usage: pack_registry.sh OUT [PROGRAM]" >&2
  exit 64
}
out=$1
program=${2:-$here/../build/release/bin/gantry-registry}
[ -x "$program" ] || {
  echo "pack_registry.sh: there is no $program: build it first (./dev build)" >&2
  exit 1
}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root"/tree/{etc,tmp,usr/bin,usr/lib,usr/lib64,var/lib/gantry-registry}
ln -s usr/lib "$root/tree/lib"
ln -s usr/lib64 "$root/tree/lib64"
cp "$program" "$root/tree/usr/bin/gantry-registry"
ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
  directory=$root/tree$(dirname "$library")
  mkdir -p "$directory"
  cp -L "$library" "$directory/"
done
echo 'root:x:0:0:root:/:/sbin/nologin' >"$root/tree/etc/passwd"
echo 'root:x:0:' >"$root/tree/etc/group"
bundle=/etc/ssl/certs/ca-certificates.crt # to fetch from an upstream over TLS
if [ -r $bundle ]; then
  mkdir -p "$root/tree$(dirname $bundle)"
  cp $bundle "$root/tree$bundle"
fi
tar -C "$root/tree" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$root/layer.tar" .

/usr/bin/python3 "$here/pack_image.py" "$out" --oci --gzip --name gantry-registry:latest --raw-layer "$root/layer.tar" --config '{
  "Entrypoint": ["/usr/bin/gantry-registry"], "Cmd": ["serve", "--address", "0.0.0.0:5000"],
  "ExposedPorts": {"5000/tcp": {}}, "Volumes": {"/var/lib/gantry-registry": {}}}'
