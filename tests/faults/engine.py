"""A daemon under test, built with failpoints: started, armed, killed, and asked over its socket."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time


class Died(Exception):
    """The connection ended without an answer: the daemon was killed."""


class Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, status, body):
        self.status, self.body = status, body

    @property
    def ok(self):
        return self.status < 400

    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        try:
            return self.json()["message"]
        except (ValueError, KeyError, TypeError):
            return self.body.decode(errors="replace")[-400:]


def eventually(seconds, question):
    """Asks until the answer is true and returns it; the last answer when the time is over."""
    end = time.monotonic() + seconds
    while True:
        answer = question()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(0.004)


class Engine:
    def __init__(self, build, directory):
        self.build, self.directory = build, directory
        self.socket = directory + "/sock"
        self.data, self.exec = directory + "/data", directory + "/exec"
        self.seen_file = directory + "/seen"
        self.log_path = directory + "/log"
        self.process = None

    # --- life

    def spawn(self, failpoints=""):
        if self.process is not None:  # killed, and perhaps not gone yet: a thread of it may be in the kernel
            self.process.wait(timeout=30)
        environment = dict(os.environ, GANTRY_FAILPOINTS=failpoints, GANTRY_FAILPOINTS_SEEN=self.seen_file)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.build + "/bin/gantryd", "--data-root", self.data, "--exec-root", self.exec,
                 "-H", "unix://" + self.socket, "--pidfile", self.directory + "/pid",
                 # Collected when a case asks for it, and then whatever nothing holds.
                 "--gc-interval", "0s", "--gc-grace", "0s", "--gc-keep-images", "count=0"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)

    def dead(self):
        return self.process is None or self.process.poll() is not None

    def answers(self):
        try:
            return self.ask("GET", "/_ping", timeout=5).ok
        except (Died, OSError):
            return False

    def start(self, failpoints=""):
        """True when it answers, False when it ended before."""
        self.spawn(failpoints)
        eventually(30, lambda: self.dead() or self.answers())
        return not self.dead()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)

    def log_end(self, lines=12):
        with open(self.log_path, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    # --- requests

    def ask(self, method, path, body=None, timeout=40):
        connection = Connection(self.socket, timeout)
        try:
            headers = {}
            if isinstance(body, (dict, list)):
                body, headers = json.dumps(body), {"Content-Type": "application/json"}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        except (ConnectionError, FileNotFoundError, http.client.HTTPException) as error:
            raise Died(str(error)) from error
        finally:
            connection.close()

    def must(self, method, path, body=None):
        answer = self.ask(method, path, body)
        if not answer.ok:
            raise AssertionError(f"{method} {path}: {answer.status} {answer.message}")
        return answer.json() if answer.body.strip().startswith((b"{", b"[")) else answer

    # --- failpoints

    def arm(self, specification=""):
        self.must("PUT", "/gantry/failpoints", specification.encode())

    def failpoints(self):
        return self.must("GET", "/gantry/failpoints")

    def passed(self):
        """{(scope, name): passes} since the last arm()."""
        return {(p["Scope"], p["Name"]): p["Passes"] for p in self.failpoints()["Passed"]}

    def fired(self):
        return any(p["Fired"] for p in self.failpoints()["Passed"])

    def at_rest(self):
        state = self.failpoints()
        return state["Running"] == 0 and state["Queued"] == 0

    def forget_seen(self):
        with open(self.seen_file, "r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))

    def seen(self):
        """(scope, name) of all that shims and their children passed since forget_seen()."""
        with open(self.seen_file, "rb") as file:
            lines = file.read()[4:].rstrip(b"\0").decode().splitlines()
        return {tuple(line.split("/", 1)) for line in lines if "/" in line}
