"""Image archives for the soak: layers of random bytes, some shared between images, of which one may be present."""

import hashlib
import io
import json
import tarfile


def digest(data):
    return hashlib.sha256(data).hexdigest()


def add(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def layer(rng):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(rng.randrange(1, 4)):
            add(archive, f"dir-{rng.randrange(100)}/file-{number}", rng.randbytes(rng.randrange(1, 200000)))
    return out.getvalue()


class Images:
    def __init__(self, rng):
        self.common = [layer(rng) for _ in range(4)]

    def archive(self, name, rng):
        """(what `docker save` would have written of a new image, the image's id)."""
        return pack(name, rng.sample(self.common, rng.randrange(3)) + [layer(rng)], rng)

    def runnable(self, name, base, rng):
        """The same on the layers of a base, and the digests of its files by path."""
        files = {f"/data-{number}": rng.randbytes(rng.randrange(1, 400000)) for number in range(3)}
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for path, data in files.items():
                add(archive, path[1:], data)
        archive, image = pack(name, [*base, *rng.sample(self.common, 1), out.getvalue()], rng)
        return archive, image, {path: digest(data) for path, data in files.items()}


def pack(name, layers, rng):
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"], "Labels": {"n": str(rng.random())}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(l) for l in layers]}}).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number, data in enumerate(layers):
            add(archive, f"{number}/layer.tar", data)
        add(archive, digest(config) + ".json", config)
        add(archive, "manifest.json", json.dumps([{
            "Config": digest(config) + ".json", "RepoTags": [name],
            "Layers": [f"{number}/layer.tar" for number in range(len(layers))]}]).encode())
    return out.getvalue(), "sha256:" + digest(config)
