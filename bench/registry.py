"""gantry-registry beside Debian's docker-registry, over loopback, the same client for both, interleaved: a blob of
600 MB and 1,000 small ones, pushed and pulled, and what the process takes.

The client costs as little as it can: files go out by sendfile(2), and what comes in is thrown away in the kernel.
docker-registry is the installed one, or build/peers' (tests/conformance/engines/peers).
"""

import concurrent.futures
import hashlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import time

import measure

BIG = 600 << 20
SMALL_COUNT, SMALL_SIZE, SMALL_WIDTH = 1000, 2000, 8
HERE = os.path.dirname(os.path.abspath(__file__))


class Connection:
    """HTTP/1.1 with keep-alive, just enough of it."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = b""

    def call(self, method, path, body=b"", file=None, size=0, content_type="application/octet-stream"):
        length = size if file else len(body)
        head = (f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {content_type}\r\n"
                f"Content-Length: {length}\r\n\r\n").encode()
        self.socket.sendall(head + (b"" if file else body))
        if file:
            self.socket.sendfile(file, 0, size)
        while b"\r\n\r\n" not in self.left:
            self.left += self._receive()
        head, _, self.left = self.left.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        self._drop(int(headers.get("content-length", 0)) if method != "HEAD" else 0)
        status = int(lines[0].split()[1])
        if status >= 400:
            raise measure.Failed(f"{method} {path}: {status}")
        return headers

    def _receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise measure.Failed("the registry closed the connection")
        return data

    def _drop(self, size):
        size -= len(self.left)
        self.left = b""
        buffer = bytearray(1 << 20)
        while size > 0:
            got = self.socket.recv_into(buffer, min(size, len(buffer)), socket.MSG_TRUNC)
            if not got:
                raise measure.Failed("the registry closed the connection within a body")
            size -= got

    def push(self, name, digest, **body):
        location = self.call("POST", f"/v2/{name}/blobs/uploads/")["location"]
        location = location[location.index("/v2/"):]
        if body.get("file"):
            location = self.call("PATCH", location, **body)["location"]
            location = location[location.index("/v2/"):]
            body = {}
        self.call("PUT", location + ("&" if "?" in location else "?") + "digest=" + digest, **body)


class Registry:
    def __init__(self, name, port, command, root):
        self.name, self.port, self.root = name, port, root
        self.log = open(os.path.join(root, "log"), "w")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def wait(self):
        deadline = time.monotonic() + 20
        while True:
            try:
                return Connection(self.port).call("GET", "/v2/")
            except (OSError, measure.Failed):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise measure.Failed(f"{self.name} did not start: " + open(self.log.name).read()[-300:])
                time.sleep(0.02)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def peak_kib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        return 0


def start(place, where):
    """`where`: a directory for their stores."""
    found = []
    program = place.program("gantry-registry")
    if program:
        root = os.path.join(where, "gantry-registry")
        os.makedirs(root)
        found.append(Registry("gantry-registry", 5061, [program, "serve", "--root", root + "/store", "--address", "127.0.0.1:5061",
                                                        "--access-log", "off"], root))
    peer = shutil.which("docker-registry") or os.path.join(HERE, "../build/peers/usr/bin/docker-registry")
    if os.path.exists(peer):
        root = os.path.join(where, "docker-registry")
        os.makedirs(root)
        config = os.path.join(root, "config.yml")
        with open(config, "w") as out:
            out.write("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
                      f"storage: {{filesystem: {{rootdirectory: {root}/store}}, delete: {{enabled: true}}}}\n"
                      "http: {addr: '127.0.0.1:5062'}\n")
        found.append(Registry("docker-registry", 5062, [peer, "serve", config], root))
    for registry in found:
        registry.wait()
    return found


def seconds_of(function):
    begin = time.monotonic_ns()
    function()
    return (time.monotonic_ns() - begin) / 1e9


def result(name, times, runs):
    return {"name": name, "unit": "ms", "runs": runs, "times": {
        contender: {"median": statistics.median(ts) * 1e3, "p90": max(ts) * 1e3, "min": min(ts) * 1e3,
                    "all": [round(t * 1e3, 3) for t in ts]} for contender, ts in times.items()}}


def big_blobs(registries, place, size, runs, where):
    """A new blob for each run: the same bytes but for the first ones."""
    path = os.path.join(place.root, "big")
    with open(path, "wb") as out:
        for _ in range(size >> 20):
            out.write(os.urandom(1 << 20))
    pushes, pulls = ({r.name: [] for r in registries} for _ in range(2))
    for run in range(runs):
        with open(path, "r+b") as out:
            out.write(run.to_bytes(8, "little"))
        with open(path, "rb") as file:
            digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") \
                else "sha256:" + digest_of(file)
            for registry in registries:
                connection = Connection(registry.port)
                pushes[registry.name].append(
                    seconds_of(lambda: connection.push("big", digest, file=file, size=size)))
            for registry in registries:
                connection = Connection(registry.port)
                connection.call("GET", f"/v2/big/blobs/{digest}")  # in memory for both
                pulls[registry.name].append(seconds_of(lambda: connection.call("GET", f"/v2/big/blobs/{digest}")))
    os.unlink(path)
    return [result(f"registry: push a blob of {size >> 20} MiB, store {where}", pushes, runs),
            result(f"registry: pull a blob of {size >> 20} MiB, store {where}", pulls, runs)]


def digest_of(file):
    whole = hashlib.sha256()
    file.seek(0)
    while part := file.read(1 << 20):
        whole.update(part)
    return whole.hexdigest()


def small_blobs(registries, count, runs):
    pushes, pulls = ({r.name: [] for r in registries} for _ in range(2))

    def all_of(registry, work, blobs):
        def some(part):
            connection = Connection(registry.port)
            for digest, data in part:
                work(connection, digest, data)
        with concurrent.futures.ThreadPoolExecutor(SMALL_WIDTH) as pool:
            list(pool.map(some, [blobs[i::SMALL_WIDTH] for i in range(SMALL_WIDTH)]))

    for _ in range(runs):
        blobs = [("sha256:" + hashlib.sha256(data).hexdigest(), data) for data in (os.urandom(SMALL_SIZE) for _ in range(count))]
        for registry in registries:
            pushes[registry.name].append(seconds_of(
                lambda: all_of(registry, lambda c, digest, data: c.push("small", digest, body=data), blobs)))
        for registry in registries:
            pulls[registry.name].append(seconds_of(
                lambda: all_of(registry, lambda c, digest, data: c.call("GET", f"/v2/small/blobs/{digest}"), blobs)))
    return [result(f"registry: push {count} small blobs, {SMALL_WIDTH} at a time", pushes, runs),
            result(f"registry: pull {count} small blobs, {SMALL_WIDTH} at a time", pulls, runs)]


def with_registries(place, where, measured):
    registries = start(place, where)
    try:
        idle = {r.name: measure.pss_kib(r.process.pid) for r in registries}
        return measured(registries), idle, {r.name: r.peak_kib() for r in registries}
    finally:
        for registry in registries:
            registry.stop()


def bench(options, place):
    """Large blobs twice: what a registry itself costs shows in memory, on a disk mostly the disk does."""
    size, count, runs = (BIG, SMALL_COUNT, 4) if not options.quick else (40 << 20, 100, 2)
    memory, disk = (os.path.join(place.root, name) for name in ("registry-memory", "registry-disk"))
    os.makedirs(disk)
    os.makedirs(memory)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={2 * (runs + 1) * size}", "tmpfs", memory], check=True)
    try:
        results, _, _ = with_registries(place, memory, lambda them: big_blobs(them, place, size, runs, "in memory"))
    finally:
        subprocess.run(["umount", memory], check=True)
    more, idle, peak = with_registries(place, disk, lambda them: big_blobs(them, place, size, runs, "on disk") +
                                       small_blobs(them, count, runs))
    return results + more + [{"name": "registry: PSS when idle", "unit": "KiB", "values": idle},
                             {"name": "registry: most resident memory of all this", "unit": "KiB", "values": peak}]
