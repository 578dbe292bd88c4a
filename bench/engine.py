"""The engine's own speed: requests are sent straight to the daemon's socket and timed there, without a client.

  start-up   1,000 containers, 200 of them running: from the daemon's start to its first answer of /_ping, to its
             first answer of a request that needs the containers, and to the end of reconciliation; after a clean
             stop and after kill -9
  reads      ps over those 1,000 and inspect of one
  tags       tag and untag of an image
  accounts   what a run costs in the database: transactions and time inside them, per run of --rm
  collection 10,000 blobs that nothing holds, removed by the daemon while containers are run beside it
"""

import concurrent.futures
import hashlib
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import threading
import time

import measure

BLOB = 1  # graph::NodeKind::blob
STARTING = 60  # seconds that a daemon may take before it counts as hung


class Connection:
    """One keep-alive connection; a request at a time."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.buffer = b""

    def close(self):
        self.socket.close()

    def _more(self):
        piece = self.socket.recv(1 << 20)
        if not piece:
            raise measure.Failed("the daemon closed the connection")
        self.buffer += piece

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode()

    def _take(self, size):
        pieces, have = [self.buffer], len(self.buffer)
        while have < size:
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise measure.Failed("the daemon closed the connection")
            pieces.append(piece)
            have += len(piece)
        everything = b"".join(pieces)
        self.buffer = everything[size:]
        return everything[:size]

    def raw(self, method, path, body=None):
        """Status and body."""
        payload = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        self.socket.sendall(head.encode() + payload)
        status = int(self._line().split()[1])
        headers = {}
        while line := self._line():
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            out = b""
            while size := int(self._line(), 16):
                out += self._take(size)
                self._line()
            self._line()
            return status, out
        if status in (204, 304):
            return status, b""
        return status, self._take(int(headers.get("content-length", 0)))

    def call(self, method, path, body=None):
        """The body of an answer that must be a success."""
        status, out = self.raw(method, path, body)
        if status >= 400:
            raise measure.Failed(f"{method} {path}: {status} {out.decode(errors='replace').strip()}")
        return json.loads(out) if out[:1] in (b"{", b"[") else out


class Daemon:
    """A gantryd on roots of its own, which can be stopped, killed and started again."""

    def __init__(self, place, name="engine"):
        self.program = place.program("gantryd")
        self.data = os.path.join(place.root, name, "data")
        self.flags = place.roots(name)
        self.socket = os.path.join(place.root, name, "sock")
        self.log = os.path.join(place.root, name + ".log")
        self.process = None

    def connect(self):
        """As soon as there is somebody to connect to."""
        deadline = time.monotonic() + STARTING
        while True:
            try:
                return Connection(self.socket)
            except (FileNotFoundError, ConnectionRefusedError):
                if self.process.poll() is not None:
                    raise measure.Failed("gantryd ended: " + open(self.log).read()[-500:]) from None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.0005)

    def start(self, *more):
        """When it was spawned, in nanoseconds."""
        out = open(self.log, "a")
        began = time.monotonic_ns()
        self.process = subprocess.Popen([self.program, *self.flags, *more], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        return began

    def end(self, number):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(timeout=60)

    def reconciled(self, connection):
        """When the start's reconciliation had ended."""
        deadline = time.monotonic() + STARTING
        while not connection.call("GET", "/gantry/engine")["Reconciled"]:
            if time.monotonic() > deadline:
                raise measure.Failed("the daemon does not get done with its reconciliation")
            time.sleep(0.002)
        return time.monotonic_ns()


def cpu_ms(pid):
    """CPU time that a process has used."""
    return sum(int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
               for task in os.listdir(f"/proc/{pid}/task")) / 1e6


def in_daemon(daemon, connection, method, path, runs):
    """Milliseconds of the daemon's CPU for each of `runs` requests."""
    times = []
    for number in range(runs):
        before = cpu_ms(daemon.process.pid)
        connection.call(method, path(number) if callable(path) else path)
        times.append(cpu_ms(daemon.process.pid) - before)
    return times


def timed(connection, method, path, runs, status=(200, 201, 204)):
    """Milliseconds of each of `runs` requests; path may be a function of the run's number."""
    times = []
    for number in range(-3, runs):
        where = path(number + 3) if callable(path) else path
        start = time.monotonic_ns()
        got, out = connection.raw(method, where)
        elapsed = time.monotonic_ns() - start
        if got not in status:
            raise measure.Failed(f"{method} {where}: {got} {out.decode(errors='replace').strip()}")
        if number >= 0:
            times.append(elapsed / 1e6)
    return times


def row(name, values, goal):
    """A result in the report's form; `goal` is what the project holds itself to, in milliseconds."""
    times = {name: {"median": statistics.median(ts), "p90": sorted(ts)[int(len(ts) * 0.9)], "min": min(ts),
                    "p99": sorted(ts)[int(len(ts) * 0.99)], "all": [round(t, 3) for t in ts]}
             for name, ts in values.items()}
    return {"name": name + (f" (goal: under {goal} ms)" if goal else ""), "unit": "ms",
            "runs": len(next(iter(values.values()))), "goal": goal, "times": times}


def populate(daemon, total, running):
    """`total` containers, the first `running` of them running, on the default network."""
    def make(number):
        connection = Connection(daemon.socket)
        try:
            made = connection.call("POST", f"/containers/create?name=bench-{number}", {
                "Image": "busybox", "Cmd": ["sleep", "1000000"], "Env": ["A=1", "B=2"],
                "Labels": {"bench": str(number), "purpose": "speed"}})
            if number < running:
                connection.call("POST", f"/containers/{made['Id']}/start")
            return made["Id"]
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(make, range(total)))


def start_up(daemon, total, running, rounds):
    results = []
    for how, number in (("a clean stop", signal.SIGTERM), ("kill -9", signal.SIGKILL)):
        ping, ready, reconciled = [], [], []
        for _ in range(rounds):
            daemon.end(number)
            began = daemon.start()
            connection = daemon.connect()
            connection.call("GET", "/_ping")
            ping.append((time.monotonic_ns() - began) / 1e6)
            listed = connection.call("GET", "/containers/json")
            ready.append((time.monotonic_ns() - began) / 1e6)
            if len(listed) != running:
                raise measure.Failed(f"{len(listed)} containers are running after the start, {running} were before it")
            reconciled.append((daemon.reconciled(connection) - began) / 1e6)
            connection.close()
        results.append(row(f"start with {total} containers, {running} running, after {how}",
                           {"answers /_ping": ping, "ready": ready, "reconciled": reconciled}, 1000))
    return results


def reads(daemon, connection, ids, runs):
    def both(name, path, goal):
        return row(name, {"gantryd, in the daemon": in_daemon(daemon, connection, "GET", path, runs),
                          "gantryd, to the last byte in Python": timed(connection, "GET", path, runs)}, goal)

    return [both(f"ps -a over {len(ids)} containers", "/containers/json?all=1", 5),
            both("ps, the running ones of them", "/containers/json", 5),
            both("inspect of a container among them", lambda n: f"/containers/{ids[n * 7 % len(ids)]}/json", 1)]


def tags(connection, runs):
    tagged = timed(connection, "POST", lambda n: f"/images/busybox/tag?repo=bench&tag=t{n}", runs)
    untagged = timed(connection, "DELETE", lambda n: f"/images/bench:t{n}", runs)
    return [row("tag and untag an image", {"tag": tagged, "untag": untagged}, 5)]


def accounts(daemon, client, runs):
    """What the database adds to `run --rm`: everything that any thread does in it, divided by the runs."""
    connection = Connection(daemon.socket)

    def read():
        return connection.call("GET", "/gantry/engine")

    # The question reads the database too: what that costs is taken off again.
    samples = [read()["Database"]["ReadNs"] for _ in range(21)]
    question = statistics.median(b - a for a, b in zip(samples, samples[1:]))

    def settled():
        """The counters, once what a run leaves to the background has been done, which belongs to it; and how often
        was asked for them."""
        asked = 0
        while True:
            state, asked = read(), asked + 1
            if not state["Releasing"]:
                return state["Database"], asked
            time.sleep(0.002)

    results = []
    for name, more in (("bridge network", []), ("--network none", ["--network", "none"])):
        command = client + ["run", "--rm"] + more + ["busybox", "true"]
        for _ in range(3):
            measure.once(command, 0)
        writing, reading, transactions = [], [], []
        for _ in range(runs):
            before, _ = settled()
            measure.once(command, 0)
            after, asked = settled()
            writing.append((after["WriteNs"] - before["WriteNs"]) / 1e6)
            reading.append(max(0, after["ReadNs"] - before["ReadNs"] - asked * question) / 1e6)
            transactions.append(after["Transactions"] - before["Transactions"])
        both = [w + r for w, r in zip(writing, reading)]
        results.append(row(
            f"time in the database of a run --rm, {name}; {statistics.median(transactions):.0f} transactions",
            {"in all": both, "writing": writing, "reading": reading}, 0.5))
    connection.close()
    return results


def plant_blobs(daemon, count):
    """Blobs that nothing holds and nobody used for long, put where a load would have; the daemon does not run."""
    database = sqlite3.connect(os.path.join(daemon.data, "gantry.db"))
    old = 1_600_000_000 * 10**9
    blobs = os.path.join(daemon.data, "content/blobs/sha256")
    with database:
        for number in range(count):
            content = f"bench blob {number}\n".encode()
            digest = hashlib.sha256(content).hexdigest()
            os.makedirs(os.path.join(blobs, digest[:2]), mode=0o700, exist_ok=True)
            path = os.path.join(blobs, digest[:2], digest)
            with open(path, "wb") as out:
                out.write(content)
            os.utime(path, ns=(old, old))
            database.execute("INSERT INTO node(kind, key, data, size, created_at, used_at) VALUES(?,?,'',?,?,?)",
                             (BLOB, "sha256:" + digest, len(content), old, old))
    database.close()


def collection(daemon, client, blobs, runs, rounds):
    """Collections of `blobs` blobs each, and what runs that stand beside them take: all of the runs that fit into
    `rounds` collections, for one of them is over in the time of a few."""
    command = client + ["run", "--rm", "--network", "none", "busybox", "true"]
    alone, beside, took = [], [], []

    def collect(connection, answers):
        began = time.monotonic_ns()
        answers.append(connection.raw("POST", "/gantry/system/gc"))
        took.append((time.monotonic_ns() - began) / 1e6)

    for _ in range(rounds):
        daemon.end(signal.SIGTERM)
        plant_blobs(daemon, blobs)
        daemon.start("--gc-interval", "0")  # else it collects by itself as soon as it is up
        connection, answers = daemon.connect(), []
        for _ in range(3):
            measure.once(command, 0)
        alone += [measure.once(command, 0) * 1e3 for _ in range(runs)]
        collector = threading.Thread(target=collect, args=(connection, answers))
        collector.start()
        while collector.is_alive():
            beside.append(measure.once(command, 0) * 1e3)
        collector.join()
        connection.close()
        status, answer = answers[0]
        if status >= 400:
            raise measure.Failed(f"POST /gantry/system/gc: {status} {answer.decode(errors='replace').strip()}")
        if (gone := len(json.loads(answer)["Items"])) < blobs:
            raise measure.Failed(f"{gone} of {blobs} blobs went with the collection that was measured")
        left = sum(len(files) for _, _, files in os.walk(os.path.join(daemon.data, "content/blobs")))
        if left > blobs // 10:
            raise measure.Failed(f"{left} blobs are left after a collection of {blobs}")
    runs = row("run --rm --network none beside it", {"alone": alone, "beside": beside}, None)
    return [row(f"garbage collection of {blobs} blobs", {"gantryd": took}, 1000), runs,
            {"name": f"the same, p99 of {len(alone)} and {len(beside)} runs (goal: within twice)", "unit": "ms",
             "values": {"gantryd " + name: times["p99"] for name, times in runs["times"].items()}}]


def bench(options, place):
    daemon = Daemon(place)
    total, running, blobs = (1000, 200, 10000) if not options.quick else (50, 10, 500)
    client = [place.program("gantry"), "-H", f"unix://{daemon.socket}"]
    results = []
    try:
        daemon.start()
        connection = daemon.connect()
        results += accounts(daemon, client, options.runs)
        results += tags(connection, options.runs)
        connection.close()
        results += collection(daemon, client, blobs, options.runs, 1 if options.quick else 8)
        ids = populate(daemon, total, running)
        connection = daemon.connect()
        results += reads(daemon, connection, ids, options.runs * 2)
        connection.close()
        results += start_up(daemon, total, running, 3)
    finally:
        if daemon.process and daemon.process.poll() is None:
            connection = daemon.connect()
            for container in connection.call("GET", "/containers/json"):
                connection.call("DELETE", f"/containers/{container['Id']}?force=1")
            connection.close()
        daemon.end(signal.SIGTERM)
    return results
