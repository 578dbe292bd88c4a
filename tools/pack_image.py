#!/usr/bin/python3
"""Packs an image archive: the built-in one, and those of tests. The same arguments give the same bytes.

usage: pack_image.py OUT [--name REPO:TAG]… [OPTION]…

  --busybox          a layer with Debian's static busybox, its applets, and a few files below /etc
  --file PATH=TEXT   a regular file in the top layer (mode 644)
  --script PATH=TEXT the same, executable
  --link PATH=TARGET a symbolic link in the top layer
  --raw-layer FILE   a tar archive as the top layer, as it is: for hostile ones
  --config JSON      fields of the image's config, e.g. {"Env": ["A=1"], "Cmd": ["sh"]}
  --gzip             layers are compressed
  --oci              an OCI image layout; otherwise what `docker save` wrote before version 25
"""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
mail:x:8:
wheel:x:10:root
www-data:x:33:
operator:x:37:
users:x:100:
nobody:x:65534:
"""


class Layer:
    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, path, kind=tarfile.REGTYPE, data=b"", mode=0o644, target=""):
        member = tarfile.TarInfo(path.lstrip("/"))
        member.type, member.mode, member.linkname = kind, mode, target
        member.size = len(data)
        self.tar.addfile(member, io.BytesIO(data))

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()


def busybox_layer():
    layer = Layer()
    for directory in ("bin", "etc", "home", "root", "tmp", "var", "var/spool", "var/spool/mail", "var/www", "usr", "usr/bin", "dev", "proc", "sys"):
        layer.add(directory, tarfile.DIRTYPE, mode=0o1777 if directory == "tmp" else 0o755)
    layer.add("bin/busybox", data=open("/bin/busybox", "rb").read(), mode=0o755)
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, check=True, text=True).stdout.split()
    for applet in sorted(set(applets) - {"busybox"}):
        layer.add(f"bin/{applet}", tarfile.SYMTYPE, target="busybox", mode=0o777)
    layer.add("etc/passwd", data=PASSWD.encode())
    layer.add("etc/group", data=GROUP.encode())
    return layer.bytes()


def top_layer(options):
    layer = Layer()
    made = set()
    for kind in ("file", "script", "link"):
        for item in getattr(options, kind):
            path, _, text = item.partition("=")
            parts = path.strip("/").split("/")
            for depth in range(1, len(parts)):
                parent = "/".join(parts[:depth])
                if parent not in made:
                    made.add(parent)
                    layer.add(parent, tarfile.DIRTYPE, mode=0o755)
            if kind == "link":
                layer.add(path, tarfile.SYMTYPE, target=text, mode=0o777)
            else:
                layer.add(path, data=text.encode(), mode=0o755 if kind == "script" else 0o644)
    return layer.bytes()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def created():
    """When the busybox was built: the same for the same package."""
    return datetime.datetime.fromtimestamp(int(os.stat("/bin/busybox").st_mtime), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def image_config(options, layers):
    config = {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    config.update(options.config)
    return json.dumps({
        "architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine), "os": "linux", "created": created(),
        "config": config, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(l) for l in layers]},
        "history": [{"created": created(), "created_by": "pack_image.py"} for _ in layers],
    }).encode()


def docker_archive(archive, options, layers, blobs, image):
    paths = []
    for number, (data, blob) in enumerate(zip(layers, blobs)):
        directory = f"{number}{digest(data)[:16]}"
        archive.add(directory, tarfile.DIRTYPE, mode=0o755)
        archive.add(f"{directory}/layer.tar", data=blob)
        paths.append(f"{directory}/layer.tar")
    archive.add(digest(image) + ".json", data=image)
    archive.add("manifest.json", data=json.dumps(
        [{"Config": digest(image) + ".json", "RepoTags": options.name or None, "Layers": paths}]).encode())


def oci_layout(archive, options, blobs, image):
    def descriptor(kind, data, **more):
        return {"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + digest(data), "size": len(data), **more}

    suffix = "+gzip" if options.gzip else ""
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", image),
        "layers": [descriptor("layer.v1.tar" + suffix, blob) for blob in blobs]}).encode()
    index = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        descriptor("manifest.v1+json", manifest, annotations={
            "io.containerd.image.name": "docker.io/" + ("" if "/" in name else "library/") + name,
            "org.opencontainers.image.ref.name": name.rpartition(":")[2]}) for name in options.name]}).encode()
    for directory in ("blobs", "blobs/sha256"):
        archive.add(directory, tarfile.DIRTYPE, mode=0o755)
    for blob in blobs + [image, manifest]:
        archive.add("blobs/sha256/" + digest(blob), data=blob)
    archive.add("index.json", data=index)
    archive.add("oci-layout", data=b'{"imageLayoutVersion":"1.0.0"}')


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("out")
    parser.add_argument("--name", action="append", default=[])
    for flag in ("busybox", "gzip", "oci"):
        parser.add_argument("--" + flag, action="store_true")
    for repeated in ("file", "script", "link", "raw-layer"):
        parser.add_argument("--" + repeated, action="append", default=[])
    parser.add_argument("--config", type=json.loads, default={})
    return parser.parse_args()


def main():
    options = arguments()
    layers = [busybox_layer()] if options.busybox else []
    if options.file or options.script or options.link:
        layers.append(top_layer(options))
    layers += [open(path, "rb").read() for path in options.raw_layer]
    blobs = [gzip.compress(l, 6, mtime=0) if options.gzip else l for l in layers]
    image = image_config(options, layers)
    archive = Layer()
    if options.oci:
        oci_layout(archive, options, blobs, image)
    else:
        docker_archive(archive, options, layers, blobs, image)
    with open(options.out + ".part", "wb") as out:
        out.write(archive.bytes())
    os.rename(options.out + ".part", options.out)


main()
