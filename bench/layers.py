"""One big layer with every storage driver, beside `tar x`: 12,000 files, 600 MB, made here.

Every round takes the layer in with each driver on an empty data root, mounts a container on it, reads every file
twice and removes it (gantry-layer-bench). Rounds are interleaved; what is printed are medians. The layer's tar is in
the page cache throughout; what a step leaves to be written is written by its `sync`, and before the next contender.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time

DRIVERS = ("erofs", "overlay2", "vfs")
STEPS = ("ingest", "publish", "sync", "mount", "first read", "second read", "remove")


def make_layer(path, files, size):
    """Sizes as in an image of programs: many small files, a few large; contents that do not repeat."""
    rng = random.Random(1)
    weights = [rng.paretovariate(1.1) for _ in range(files)]
    scale = size / sum(weights)
    pool = rng.randbytes(8 << 20)
    with tarfile.open(path, "w") as tar:
        for number, weight in enumerate(weights):
            if number % 12 == 0:
                directory = tarfile.TarInfo(f"usr/d{number // 120}/d{number // 12 % 10}")
                directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(directory)
            info = tarfile.TarInfo(f"{directory.name}/file-{number}")
            info.size = int(weight * scale)
            start = rng.randrange(len(pool))
            tar.addfile(info, Repeated(pool, start))


class Repeated:
    def __init__(self, pool, at):
        self.pool, self.at = pool, at

    def read(self, size):
        out = b""
        while len(out) < size:
            out += self.pool[self.at:self.at + size - len(out)]
            self.at = (self.at + size) % len(self.pool) if len(out) == size else 0
        return out


def untar(tar, directory):
    start = time.monotonic()
    subprocess.run(["tar", "-xf", tar, "-C", directory], check=True)
    unpacked = time.monotonic()
    subprocess.run(["sync", "-f", directory], check=True)
    return {"ingest": (unpacked - start) * 1e3, "sync": (time.monotonic() - unpacked) * 1e3}


def one(program, driver, tar, place):
    directory = tempfile.mkdtemp(dir=place)
    try:
        subprocess.run(["sync", "-f", place], check=True)
        if driver == "tar x":
            return untar(tar, directory)
        run = subprocess.run([program, driver, directory, tar], check=False, capture_output=True, text=True)
        if run.returncode != 0:
            print(f"layers: {run.stderr.strip()}")
            return None
        return json.loads(run.stdout)
    finally:
        shutil.rmtree(directory)


def bench(options):
    program = os.path.join(options.programs, "tests", "gantry-layer-bench")
    rounds = 1 if options.quick else 5
    files, size = (1200, 60 << 20) if options.quick else (12000, 600 << 20)
    found = {}
    with tempfile.TemporaryDirectory(dir=options.out) as place:
        tar = os.path.join(place, "layer.tar")
        make_layer(tar, files, size)
        for _ in range(rounds):
            for driver in (*DRIVERS, "tar x"):
                times = one(program, driver, tar, place)
                if times:
                    found.setdefault(driver, []).append(times)
    results = []
    for step in STEPS:
        times = {driver: [t[step] for t in all_times if step in t] for driver, all_times in found.items()}
        results.append({"name": f"a layer of {files} files, {size >> 20} MiB: {step}", "unit": "ms", "runs": rounds,
                        "times": {("gantry, " if driver in DRIVERS else "") + driver: {
                            "median": statistics.median(ts), "p90": sorted(ts)[int(len(ts) * 0.9)], "min": min(ts),
                            "all": [round(t, 3) for t in ts]} for driver, ts in times.items() if ts}})
    return results
