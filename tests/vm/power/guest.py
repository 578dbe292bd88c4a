#!/usr/bin/python3
"""Inside the machine: checks what the last power cut left on the disk against what had been acknowledged, then makes
images, tags, volumes and networks, saying so line by line as each is acknowledged, until the power goes.

usage: guest.py DISK SEED ROUND     what was acknowledged is in /gantry/acknowledged.json
"""

import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/../../soak")
from engine import Engine, Failure, eventually  # noqa: E402
from images import Images, add  # noqa: E402

TREE = os.path.abspath(f"{HERE}/../../..")


def say(*words):
    print(*words, flush=True)


def busybox():
    """The layers of the built-in image, an OCI layout, as tar archives."""
    with tarfile.open(f"{TREE}/build/release/images/busybox.tar") as archive:
        def blob(descriptor):
            return archive.extractfile("blobs/" + descriptor["digest"].replace(":", "/")).read()
        index = json.load(archive.extractfile("index.json"))
        layers = [blob(layer) for layer in json.loads(blob(index["manifests"][0]))["layers"]]
        return [gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer for layer in layers]


class Power:
    def __init__(self, seed, number):
        self.engine = Engine(f"{TREE}/build/release/bin/gantryd", "/tmp/power", data="/power/data")
        self.random = random.Random(f"{seed}/{number}")
        self.number = number
        self.images = Images(self.random)
        self.base = busybox()
        self.made = 0

    # --- after the cut ---

    def check(self, known):
        self.blobs()
        volumes = {v["Name"] for v in self.get("/volumes")["Volumes"] or []}
        networks = {n["Name"] for n in self.get("/networks")}
        tags = {t: i["Id"] for i in self.get("/images/json") for t in i["RepoTags"] or []}
        for name in known["volume"]:
            self.must(name in volumes, f"the volume {name} was acknowledged and is not there")
            self.must(os.path.isdir(f"/power/data/volumes/{name}"), f"the volume {name} has no directory")
        for name in known["network"]:
            self.must(name in networks, f"the network {name} was acknowledged and is not there")
        for name, image in known["tag"].items():
            self.must(name in tags, f"the tag {name} was acknowledged and is not there")
            self.must(not image or tags[name] == image, f"the tag {name} is {tags.get(name)}, not {image}")
        whole = sum(self.whole(name, image, known["files"].get(name)) for name, image in tags.items())
        say(f"CHECKED {len(volumes)} volumes, {len(networks)} networks, {len(tags)} tags, {whole} images whole")

    def get(self, path):
        status, answer = self.engine.request("GET", path)
        self.must(status == 200, f"GET {path}: {status} {answer}")
        return answer

    def must(self, fact, what):
        if not fact:
            raise Failure(what)

    def blobs(self):
        place = "/power/data/content/blobs/sha256"
        for directory, _, names in os.walk(place):
            for name in names:
                with open(f"{directory}/{name}", "rb") as file:
                    self.must(hashlib.sha256(file.read()).hexdigest() == name, f"the blob {name} is damaged")

    def whole(self, name, image, files):
        """Its layers, as it is saved, have the digests that its config names; its files are what they were."""
        status, data = self.engine.call("GET", f"/images/{name}/get")
        self.must(status == 200, f"save {name}: {status} {data[:200]}")
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            (entry,) = json.load(archive.extractfile("manifest.json"))
            config = archive.extractfile(entry["Config"]).read()
            self.must("sha256:" + hashlib.sha256(config).hexdigest() == image, f"the config of {name} is not {image}")
            digests = ["sha256:" + hashlib.sha256(archive.extractfile(layer).read()).hexdigest()
                       for layer in entry["Layers"]]
        self.must(digests == json.loads(config)["rootfs"]["diff_ids"], f"layers of {name} are damaged")
        if files:
            self.runs(name, files)
        return 1

    def runs(self, name, files):
        """What a container of it sees."""
        status, made = self.engine.request("POST", "/containers/create", {
            "Image": name, "Cmd": ["sha256sum", *files], "HostConfig": {"NetworkMode": "none"}})
        self.must(status == 201, f"create from {name}: {status} {made}")
        status, answer = self.engine.request("POST", f"/containers/{made['Id']}/start")
        self.must(status == 204, f"start of {name}: {status} {answer}")
        self.engine.request("POST", f"/containers/{made['Id']}/wait")
        status, output = self.engine.call("GET", f"/containers/{made['Id']}/logs?stdout=1&stderr=1")
        for path, digest in files.items():
            self.must(f"{digest}  {path}".encode() in output, f"{path} of {name} is damaged: {output!r}")
        self.must(self.engine.request("DELETE", f"/containers/{made['Id']}", force=1)[0] == 204, "rm")

    # --- until the next ---

    def name(self, kind):
        self.made += 1
        return f"{kind}-{self.number}-{self.made}"

    def step(self):
        self.random.choices([self.load, self.load_import, self.commit, self.tag, self.volume, self.network],
                            [3, 2, 3, 4, 4, 2])[0]()

    def done(self, status, wanted, answer, **what):
        self.must(status == wanted and b'"error"' not in (answer if isinstance(answer, bytes) else b""),
                  f"{what}: {status} {answer}")
        say("ACKNOWLEDGED", json.dumps(what))

    def load(self):
        name = f"power/{self.name('load')}:1"
        archive, image, files = self.images.runnable(name, self.base, self.random)
        status, answer = self.engine.request("POST", "/images/load", archive, quiet=1)
        self.done(status, 200, answer, kind="tag", name=name, image=image, files=files)

    def load_import(self):
        name = self.name("import")
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            add(archive, "file", self.random.randbytes(self.random.randrange(1, 500000)))
        status, answer = self.engine.request("POST", "/images/create", out.getvalue(), fromSrc="-",
                                             repo=f"power/{name}", tag="1")
        self.done(status, 200, answer, kind="tag", name=f"power/{name}:1", image=None, files={})

    def commit(self):
        """A container's work as an image: what it wrote must be in it."""
        name = f"power/{self.name('commit')}:1"
        text = self.random.randbytes(20).hex()
        status, made = self.engine.request("POST", "/containers/create", {
            "Image": "busybox", "Cmd": ["sh", "-c", f"echo {text} >/work"], "HostConfig": {"NetworkMode": "none"}})
        self.must(status == 201, f"create: {status} {made}")
        status, answer = self.engine.request("POST", f"/containers/{made['Id']}/start")
        self.must(status == 204, f"start: {status} {answer}")
        self.engine.request("POST", f"/containers/{made['Id']}/wait")
        status, answer = self.engine.request("POST", "/commit", None, container=made["Id"], repo=name[:-2], tag="1")
        self.must(status == 201, f"commit: {status} {answer}")
        files = {"/work": hashlib.sha256(f"{text}\n".encode()).hexdigest()}
        self.done(status, 201, answer, kind="tag", name=name, image=answer["Id"], files=files)
        self.must(self.engine.request("DELETE", f"/containers/{made['Id']}", force=1)[0] == 204, "rm")

    def tag(self):
        name = self.name("tag")
        status, answer = self.engine.request("POST", "/images/busybox/tag", repo=f"power/{name}", tag="1")
        self.done(status, 201, answer, kind="tag", name=f"power/{name}:1", image=None, files={})

    def volume(self):
        name = self.name("volume")
        status, answer = self.engine.request("POST", "/volumes/create", {"Name": name})
        self.done(status, 201, answer, kind="volume", name=name)

    def network(self):
        if sum(1 for _ in self.get("/networks")) > 12:
            return self.volume()
        name = self.name("network")
        status, answer = self.engine.request("POST", "/networks/create", {"Name": name})
        self.done(status, 201, answer, kind="network", name=name)


def main():
    disk, seed, number = sys.argv[1:]
    os.makedirs("/power", exist_ok=True)
    subprocess.run(["blockdev", "--flushbufs", disk], check=True)
    subprocess.run(["mount", "-t", "ext4", disk, "/power"], check=True)
    with open(f"{TREE}/acknowledged.json", encoding="utf-8") as file:
        known = json.load(file)
    power = Power(seed, number)
    try:
        power.engine.start()
        eventually("busybox is there", lambda: power.engine.request("GET", "/images/busybox/json")[0] == 200)
        power.check(known)
        while True:
            power.step()
    except Failure as failure:
        say("FAILURE", str(failure).replace("\n", " "))
        with open("/tmp/power/log", encoding="utf-8", errors="replace") as log:
            for line in log.readlines()[-15:]:
                say("LOG", line.rstrip())
        return 1


sys.exit(main())
