"""Pull, push, load, save and commit with Gantry (erofs and overlay2), dockerd and podman, interleaved: the same registry on
loopback, the same images. One layer of 600 MB with 12,000 files, 40 layers, and many tiny images.

Every pull is cold: the image is removed and the disk's queue empty before it; what the registry reads is in the page
cache for all. Peers are the installed ones, or build/peers' (tests/conformance/engines/peers).
"""

import os
import shutil
import statistics
import subprocess
import time

import contenders
import images
import measure
import registry

PORT = 5071
HOST = f"127.0.0.1:{PORT}"
NAMES = ("pull", "push", "load", "save", "commit")


class Timer:
    """Times by what was done, then by contender."""

    def __init__(self):
        self.found = {}

    def run(self, what, contender, command):
        self.found.setdefault(what, {}).setdefault(contender, []).append(measure.once(command, 0))

    def results(self):
        return [{"name": what, "unit": "ms", "runs": max(map(len, times.values())), "times": {
            name: {"median": statistics.median(ts) * 1e3, "p90": max(ts) * 1e3, "min": min(ts) * 1e3,
                   "all": [round(t * 1e3, 3) for t in ts]} for name, ts in times.items()}}
            for what, times in self.found.items()]


class Peak:
    """The most PSS that a daemon is seen with while something runs."""

    def __init__(self, pids):
        self.pids, self.kib = pids, 0

    def watch(self, command):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            self.kib = max(self.kib, sum(map(measure.pss_kib, self.pids)))
            time.sleep(0.01)
        if process.returncode:
            raise measure.Failed(f"status {process.returncode} from: {' '.join(command)}")


def fresh_registry(place, name="transfer"):
    root = os.path.join(place.root, name)
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    found = registry.Registry(name, PORT, [place.program("gantry-registry"), "serve", "--root", root + "/store", "--address",
                                           HOST, "--access-log", "off"], root)
    found.wait()
    return found


def settled():
    subprocess.run(["sync"], check=True)


def clients(engines):
    return [(engine, *next(iter(engine.clients()))) for engine in engines]


def tls_flags(engine):
    return ["--tls-verify=false"] if engine.name == "podman" else []


def pull(engine, argv, name):
    return argv + ["pull", "-q"] + tls_flags(engine) + [f"{HOST}/{name}:1"]


def remove(engine, *names):
    engine.run("rmi", "-f", *names)


def bench_pull(timer, engines, sets, rounds):
    for what, names in sets.items():
        for _ in range(rounds if len(names) == 1 else 1):
            for engine, contender, argv in clients(engines):
                settled()
                if len(names) == 1:
                    timer.run(f"pull {what}", contender, pull(engine, argv, names[0]))
                    timer.run(f"pull {what} again, no change", contender, pull(engine, argv, names[0]))
                else:
                    begin = time.monotonic()
                    for name in names:
                        measure.once(pull(engine, argv, name), 0)
                    timer.found.setdefault(f"pull {what}, each", {}).setdefault(contender, []).append(
                        (time.monotonic() - begin) / len(names))
                remove(engine, *(f"{HOST}/{name}:1" for name in names))
    return timer


def bench_push(timer, engines, place, archive, rounds):
    """A registry that has nothing, for each push."""
    for engine in engines:
        engine.run("load", "-q", "-i", archive)
    for number in range(rounds):
        for engine, contender, argv in clients(engines):
            empty = fresh_registry(place, "empty")
            try:
                target = f"{HOST}/push{number}:1"
                engine.run("tag", f"{HOST}/fresh:1", target)
                push = argv + ["push"] + tls_flags(engine) + [target]
                settled()
                timer.run("push of a fresh layer", contender, push)
                timer.run("push again, no change", contender, push)
                engine.run("rmi", target)
            finally:
                empty.stop()
    for engine in engines:
        remove(engine, f"{HOST}/fresh:1")


def copy_and_sync(source, target):
    begin = time.monotonic()
    shutil.copyfile(source, target)
    subprocess.run(["sync", "-f", target], check=True)
    os.unlink(target)
    return time.monotonic() - begin


def bench_archives(timer, engines, place, archive, names, rounds):
    out = os.path.join(place.root, "saved.tar")
    for _ in range(rounds):
        timer.found.setdefault("load", {}).setdefault("cp and sync", []).append(copy_and_sync(archive, out))
        for engine, contender, argv in clients(engines):
            settled()
            timer.run("load", contender, argv + ["load", "-q", "-i", archive])
            settled()
            if "save" in names:
                timer.run("save", contender, argv + ["save", "-o", out, f"{HOST}/fresh:1"])
                os.unlink(out)
            remove(engine, f"{HOST}/fresh:1")


def bench_commit(timer, engines, rounds):
    """Of a running container in which one small file is changed each time."""
    for engine in engines:
        engine.run("run", "-d", "--name", "committed", "--network", "none", "busybox", "sleep", "100000")
    for number in range(rounds * 4):
        for engine, contender, argv in clients(engines):
            engine.run("exec", "committed", "sh", "-c", f"echo {number} >/file")
            timer.run("commit of one changed file", contender, argv + ["commit", "-q"][: 2 if engine.name == "podman" else 1] +
                      ["committed", f"made:{number}"])
    for engine in engines:
        engine.run("rm", "-f", "committed")
        remove(engine, *(f"made:{number}" for number in range(rounds * 4)))


def bench_memory(engines, names):
    values = {}
    for engine, contender, argv in clients(engines):
        if not engine.pids() or engine.name == "podman":
            continue
        peak = Peak(engine.pids())
        for name in names:
            peak.watch(pull(engine, argv, name))
            remove(engine, f"{HOST}/{name}:1")
        values[contender] = peak.kib
    return [{"name": "most PSS of the daemon while it pulls", "unit": "KiB", "values": values}]


def bench(options, place):
    quick = options.quick
    files, size, tiny, rounds = (1200, 60 << 20, 20, 2) if quick else (12000, 600 << 20, options.tiny, options.rounds)
    work = os.path.abspath(options.images or os.path.join(place.root, "images"))
    os.makedirs(work, exist_ok=True)
    big_tar = os.path.join(work, f"{files}-{size}.tar")
    if not os.path.exists(big_tar):
        images.make_layer(big_tar, files, size)
    big = images.Layer(big_tar)
    layers = [images.small_layer(work, f"layer-{n}", f"layer {n}", 1 << 20) for n in range(40)]
    main = fresh_registry(place)
    timer, memory = Timer(), []
    try:
        with place.engines(place.gantry, place.gantry_overlay2, place.dockerd, place.podman) as engines:
            if "pull" in options.names:
                connection = registry.Connection(PORT)
                images.publish(connection, "big", [big])
                images.publish(connection, "layers", layers)
                tinies = [f"tiny-{n}" for n in range(tiny)]
                for name in tinies:
                    images.publish(connection, name, [images.small_layer(work, name, name)])
                bench_pull(timer, engines, {f"one layer, {files} files, {size >> 20} MiB": ["big"], "40 layers": ["layers"],
                                            f"{tiny} tiny images": tinies}, rounds)
                memory = bench_memory(engines, ["big", "layers"])
            main.stop()
            main = None
            if "commit" in options.names:
                bench_commit(timer, engines, rounds)
            if not {"push", "load", "save"} & set(options.names):
                return timer.results() + memory
            archive = os.path.join(work, "archive.tar")
            images.archive(archive, f"{HOST}/fresh:1", [big])
            if "push" in options.names:
                bench_push(timer, engines, place, archive, min(rounds, 3))
            if {"load", "save"} & set(options.names):
                bench_archives(timer, engines, place, archive, options.names, rounds)
    finally:
        if main:
            main.stop()
    return timer.results() + memory
