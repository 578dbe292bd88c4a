"""The images of the transfer benches: layers made of this machine's own programs, documents and libraries, put into a
registry by plain HTTP, and into archives as `docker save` writes them."""

import hashlib
import io
import json
import os
import subprocess
import tarfile

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
LARGEST = 30 << 20


def files_of_usr():
    for directory, names, files in os.walk("/usr"):
        names.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) <= LARGEST:
                yield path


class Chain:
    """One file after another, for as long as somebody reads."""

    def __init__(self, paths):
        self.paths, self.file = iter(paths), None

    def read(self, size):
        while True:
            data = self.file.read(size) if self.file else b""
            if data:
                return data
            self.file = open(next(self.paths), "rb")


class Member:
    """The bytes of one file, then what `more` has."""

    def __init__(self, path, more):
        self.file, self.more = open(path, "rb"), more

    def read(self, size):
        out = self.file.read(size)
        while len(out) < size:
            out += self.more.read(size - len(out))
        return out


def make_layer(path, count, size):
    """An uncompressed layer of `count` files and `size` bytes, taken evenly out of /usr: each has the size of one there,
    scaled so that the sum is right."""
    all_files = list(files_of_usr())
    chosen = all_files[::max(len(all_files) // count, 1)][:count]
    scale = size / sum(map(os.path.getsize, chosen))
    more = Chain(all_files * 100)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for file in chosen:
            info = tarfile.TarInfo(file.lstrip("/"))
            info.mode, info.size, info.mtime = 0o755, int(os.path.getsize(file) * scale), 1600000000
            tar.addfile(info, Member(file, more))


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def file_digest(path):
    whole = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            whole.update(part)
    return "sha256:" + whole.hexdigest()


class Layer:
    """A tar and its gzip form, as files."""

    def __init__(self, tar):
        self.tar, self.packed = tar, tar + ".gz"
        if not os.path.exists(self.packed):
            with open(self.packed, "wb") as out:
                subprocess.run(["gzip", "-6nc", tar], check=True, stdout=out)
        self.diff_id, self.digest = file_digest(tar), file_digest(self.packed)
        self.size = os.path.getsize(self.packed)


def small_layer(place, name, text, size=0):
    path = os.path.join(place, name + ".tar")
    with tarfile.open(path, "w") as tar:
        for file, data in (("name", text.encode()), ("data", hashlib.sha512(text.encode()).digest() * (size // 64))):
            info = tarfile.TarInfo(f"{name}/{file}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return Layer(path)


def config_of(layers):
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]},
                       "created": "2024-01-01T00:00:00Z",
                       "history": [{"created_by": layer.digest} for layer in layers],
                       "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}}).encode()


def publish(connection, name, layers):
    """Into the registry as NAME:1."""
    config = config_of(layers)
    for layer in layers:
        with open(layer.packed, "rb") as file:
            connection.push(name, layer.digest, file=file, size=layer.size)
    connection.push(name, digest(config), body=config)
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size} for layer in layers]}).encode()
    connection.call("PUT", f"/v2/{name}/manifests/1", body=manifest, content_type=MANIFEST)


def archive(path, name, layers):
    """As `docker save` writes it, with the layers plain."""
    config = config_of(layers)
    with tarfile.open(path, "w") as tar:
        def add(member, data):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        add(digest(config)[7:] + ".json", config)
        for layer in layers:
            tar.add(layer.tar, layer.diff_id[7:] + "/layer.tar")
        add("manifest.json", json.dumps([{"Config": digest(config)[7:] + ".json", "RepoTags": [name],
                                          "Layers": [layer.diff_id[7:] + "/layer.tar" for layer in layers]}]).encode())
