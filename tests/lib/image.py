#!/usr/bin/python3
"""Makes an image archive as `docker save` would, for tests; the same arguments give the same bytes.

usage: image.py OUT [--name REPO:TAG]… [OPTION]…

  --busybox          a layer with Debian's static busybox, its applets, and a few files below /etc
  --file PATH=TEXT   a regular file in the top layer (mode 644)
  --script PATH=TEXT the same, executable
  --link PATH=TARGET a symbolic link in the top layer
  --raw-layer FILE   a tar archive as the top layer, as it is: for hostile ones
  --config JSON      fields of the image's config, e.g. {"Env": ["A=1"], "Cmd": ["sh"]}
  --gzip             layers are compressed
"""

import argparse
import gzip
import hashlib
import io
import json
import subprocess
import tarfile

PASSWD = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nalice:x:1000:1000::/home/alice:/bin/sh\n"
GROUP = "root:x:0:\ndaemon:x:1:\nalice:x:1000:\nextra:x:2000:alice\n"


class Layer:
    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, path, kind=tarfile.REGTYPE, data=b"", mode=0o644, target="", uid=0):
        member = tarfile.TarInfo(path.lstrip("/"))
        member.type, member.mode, member.linkname = kind, mode, target
        member.uid = member.gid = uid
        member.size = len(data)
        self.tar.addfile(member, io.BytesIO(data))

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()


def busybox_layer():
    layer = Layer()
    for directory in ("bin", "etc", "home", "root", "tmp", "var", "var/www", "usr", "usr/bin", "dev", "proc", "sys"):
        layer.add(directory, tarfile.DIRTYPE, mode=0o1777 if directory == "tmp" else 0o755)
    layer.add("home/alice", tarfile.DIRTYPE, mode=0o755, uid=1000)
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


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("out")
    parser.add_argument("--name", action="append", default=[])
    parser.add_argument("--busybox", action="store_true")
    parser.add_argument("--gzip", action="store_true")
    for repeated in ("file", "script", "link", "raw-layer"):
        parser.add_argument("--" + repeated, action="append", default=[])
    parser.add_argument("--config", type=json.loads, default={})
    options = parser.parse_args()

    layers = [busybox_layer()] if options.busybox else []
    if options.file or options.script or options.link:
        layers.append(top_layer(options))
    layers += [open(path, "rb").read() for path in options.raw_layer]

    config = {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    config.update(options.config)
    image = json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z", "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(l).hexdigest() for l in layers]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "test"} for _ in layers],
    }).encode()
    image_name = hashlib.sha256(image).hexdigest() + ".json"

    archive = Layer()
    names = []
    for number, data in enumerate(layers):
        names.append(f"{number}{hashlib.sha256(data).hexdigest()[:16]}/layer.tar")
        archive.add(names[-1].split("/")[0], tarfile.DIRTYPE, mode=0o755)
        archive.add(names[-1], data=gzip.compress(data, 1, mtime=0) if options.gzip else data)
    archive.add(image_name, data=image)
    archive.add("manifest.json", data=json.dumps(
        [{"Config": image_name, "RepoTags": options.name or None, "Layers": names}]).encode())
    with open(options.out, "wb") as out:
        out.write(archive.bytes())


main()
