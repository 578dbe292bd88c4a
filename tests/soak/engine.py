"""The daemon under the soak: starting and killing it, its HTTP API over the socket, what it costs."""

import collections
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.parse

PATIENCE = 60  # seconds; nothing here takes long, so a longer wait is a hang


class Failure(Exception):
    """The daemon did what it must not."""


class Lost(Exception):
    """The daemon went (it was killed) before it answered: the operation may have happened or not."""


def eventually(what, condition, seconds=PATIENCE):
    """The first true value of condition(); the only place that waits for a time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"not in {seconds} s: {what}")
        time.sleep(0.02)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    def __init__(self, program, root, data=None):
        self.root = root
        self.socket = f"{root}/sock"
        self.command = [program, "--data-root", data or f"{root}/data", "--exec-root", f"{root}/exec",
                        "-H", f"unix://{self.socket}", "--pidfile", f"{root}/pid"]
        self.process = None
        self.kills = 0
        self.expected = threading.Event()  # set while an end of the daemon is our doing
        self.up = threading.Event()
        self.slowest_start = 0.0
        self.trace = collections.defaultdict(lambda: collections.deque(maxlen=30))  # by thread, for reports
        os.makedirs(root, exist_ok=True)

    # --- life ---

    def start(self):
        began = time.monotonic()
        with open(f"{self.root}/log", "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        eventually("the daemon answers", self.answers)
        self.slowest_start = max(self.slowest_start, time.monotonic() - began)
        self.expected.clear()
        self.up.set()

    def answers(self):
        if self.process.poll() is not None:
            raise Failure(f"the daemon did not start: status {self.process.returncode}")
        try:
            return self.call("GET", "/_ping")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def kill(self):
        self.up.clear()
        self.expected.set()
        self.kills += 1
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.up.clear()
        self.expected.set()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"the daemon does not stop within {PATIENCE} s") from None
        if status != 0:
            raise Failure(f"the daemon stopped with status {status}")

    # --- HTTP ---

    def call(self, method, path, body=None, **query):
        """(status, bytes); lets errors of the connection through."""
        connection = UnixConnection(self.socket)
        try:
            headers = {}
            if isinstance(body, (dict, list)):
                body, headers = json.dumps(body), {"Content-Type": "application/json"}
            elif body is not None:
                headers = {"Content-Type": "application/x-tar"}
            connection.request(method, address(path, query), body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def request(self, method, path, body=None, **query):
        """(status, decoded JSON or bytes). Lost when the daemon was killed meanwhile."""
        kills = self.before_a_kill()
        try:
            status, data = self.call(method, path, body, **query)
            self.note(f"{method} {address(path, query)} {status} {data[:120]!r}")
        except (OSError, http.client.HTTPException) as error:
            raise self.lost(kills, f"{method} {path}: {error!r}") from None
        if status >= 500 and status != 501:
            raise Failure(f"{method} {address(path, query)}: {status} {data!r}")
        try:
            return status, json.loads(data)
        except ValueError:
            return status, data

    def before_a_kill(self):
        """For lost(): how many kills there have been; none where one is just going on, for a connection to the socket
        of the killed daemon, which a child of it may hold a moment longer, breaks when the next one is up already."""
        kills = self.kills
        return None if self.expected.is_set() else kills

    def note(self, what):
        self.trace[threading.get_ident()].append(time.strftime("%T") + f" {what}")

    def lost(self, kills, what):
        self.note(what)
        if isinstance(what, str) and "timed out" in what:
            return Failure(f"no answer in {PATIENCE} s: {what}")
        if self.kills == kills and not self.expected.is_set():
            return Failure(f"the connection broke though the daemon was not killed: {what}")
        return Lost(what)

    def hijack(self, path, body=None, given=b"", meanwhile=None, **query):
        """POSTs, leaves HTTP, sends `given`, calls meanwhile(); (status, output of the container) at its end."""
        kills = self.kills
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        try:
            with connection:
                connection.connect(self.socket)
                text = json.dumps(body if body is not None else {}).encode()
                connection.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                                   b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                                   % (address(path, query).encode(), len(text), text))
                stream = connection.makefile("rb")
                line = stream.readline()
                if not line:
                    raise ConnectionResetError("no answer")
                status = int(line.split()[1])
                length = 0
                for header in iter(stream.readline, b"\r\n"):
                    if not header:
                        raise ConnectionResetError("half an answer")
                    name, _, value = header.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                if status != 101:
                    data = stream.read(length)
                    if status >= 500:
                        raise Failure(f"POST {path}: {status} {data!r}")
                    return status, data
                if meanwhile is not None:
                    meanwhile()
                if given:
                    connection.sendall(given)
                    connection.shutdown(socket.SHUT_WR)
                return status, read_frames(stream)
        except (OSError, http.client.HTTPException) as error:
            raise self.lost(kills, f"POST {path}: {error!r}") from None

    # --- what it costs ---

    def cost(self):
        """{"pss": KiB, "descriptors": N, "threads": N} of the daemon."""
        place = f"/proc/{self.process.pid}"
        with open(f"{place}/smaps_rollup", encoding="ascii") as file:
            pss = next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        return {"pss": pss, "descriptors": len(os.listdir(f"{place}/fd")), "threads": len(os.listdir(f"{place}/task"))}


def address(path, query):
    if not query:
        return path
    return path + "?" + urllib.parse.urlencode(
        {k: json.dumps(v) if isinstance(v, dict) else int(v) if isinstance(v, bool) else v for k, v in query.items()})


def read_frames(stream):
    output = b""
    while True:
        head = stream.read(8)
        if len(head) < 8:
            return output
        output += stream.read(struct.unpack(">I", head[4:])[0])
