#!/usr/bin/python3
"""Calls every endpoint of the Engine API at one version and holds each answer against the contract.

contract.py CONTRACT SOCKET VERSION [-v]: a line per answer that is wrong, the endpoints that were not called, and
exit status 1 when there is either.
"""
import sys
import time

import client
import openapi
import steps_containers
import steps_images
import steps_others

# What is served by no route of the engine's, with the reason that docs/compatibility.md gives too.
NOT_SERVED = {
    ("POST", "/build"): "images are not built by this engine yet",
    ("POST", "/build/prune"): "images are not built by this engine yet",
    ("POST", "/session"): "BuildKit's",
    ("PUT", "/volumes/{name}"): "for cluster volumes only",
    ("GET", "/plugins/privileges"): "managed plugins are not served",
    ("POST", "/plugins/pull"): "managed plugins are not served",
    ("POST", "/plugins/create"): "managed plugins are not served",
    ("POST", "/plugins/{name}/upgrade"): "managed plugins are not served",
    ("POST", "/plugins/{name}/push"): "managed plugins are not served",
    ("POST", "/plugins/{name}/set"): "managed plugins are not served",
}

# Members that Docker's own answers have and its contract does not, of the operations where they come.
UNKNOWN = {
    ("GET", "/events"): {"$.status", "$.id", "$.from"},
    ("GET", "/containers/json"): {"$[].HostConfig.*"},
    ("GET", "/containers/{id}/json"): {
        "$.NetworkSettings.SandboxKey", "$.Config.ArgsEscaped", "$.HostConfig.ContainerIDFile"},
    ("GET", "/containers/{id}/stats"): {"$.os_type"},
    ("GET", "/exec/{id}/json"): {"$.DetachKeys"},
    ("GET", "/images/{name}/json"): {"$.Origins"},  # Gantry's own: where it came from
}
# What answers to older clients still have: (the first minor version without it, members).
FORMERLY = {
    ("GET", "/images/json"): [(44, {"$[].VirtualSize"})],
    ("GET", "/images/{name}/json"): [
        (44, {"$.VirtualSize"}), (45, {"$.Container", "$.ContainerConfig"}),
        (50, {f"$.Config.{name}" for name in ("Hostname", "Domainname", "Image", "AttachStdin", "AttachStdout", "AttachStderr",
                                              "OpenStdin", "StdinOnce", "Tty")})],
}


class Suite:
    def __init__(self, contract, socket, version):
        self.contract, self.socket, self.version = contract, socket, tuple(map(int, version.split(".")))
        self.prefix = "/v" + version
        self.called, self.failures, self.answers = {}, [], 0

    def since(self, minor):
        return self.version >= (1, minor)

    def fail(self, where, what):
        self.failures.append(f"{where}: {what}")

    def call(self, method, path, status, query=None, body=None, headers=None, shape=True, timeout=30, **names):
        """Asks, and holds status, head and body against the contract. Gives the answer."""
        operation = self.contract.operation(method, path)
        target = path
        for name, value in names.items():
            target = target.replace("{" + name + "}", str(value))
        answer = client.ask(self.socket, method, client.url(self.prefix + target, query), body, headers, timeout)
        self.called.setdefault((method, path), set()).add(answer.status)
        self.answers += 1
        where = f"{method} {path} {query or ''} {body if isinstance(body, (dict, list)) else ''}"[:160]
        if answer.status != status:
            self.fail(where, f"status {answer.status}, not {status}: {answer.body[:200]!r}")
        elif shape:
            self.check(where, method, path, operation, answer)
        return answer

    def check(self, where, method, path, operation, answer):
        response = operation["responses"].get(answer.status)
        if answer.status >= 400:
            if method != "HEAD":
                self.check_error(where, answer)
            return
        if response is None:
            self.fail(where, f"status {answer.status} is not in the contract")
            return
        if answer.status in (204, 304) and answer.body:
            self.fail(where, f"a body with status {answer.status}")
        if "schema" not in response or response["schema"].get("type") == "string" or method == "HEAD":
            return
        if not answer.headers.get("Content-Type", "").startswith("application/json"):
            self.fail(where, f"the type {answer.headers.get('Content-Type')} is not application/json")
            return
        unknown = set(UNKNOWN.get((method, path), ()))
        for gone, members in FORMERLY.get((method, path), ()):
            unknown |= set() if self.since(gone) else members
        for document in answer.documents():
            self.check_document(where, document, response["schema"], unknown)

    def check_document(self, where, document, schema, unknown=frozenset()):
        for problem in self.contract.problems(document, schema, unknown=unknown):
            self.fail(where, problem)

    def check_error(self, where, answer):
        if not answer.headers.get("Content-Type", "").startswith("application/json"):
            self.fail(where, f"an error of the type {answer.headers.get('Content-Type')}")
            return
        document = answer.json()
        if set(document) != {"message"} or not isinstance(document["message"], str) or not document["message"]:
            self.fail(where, f"an error is {{\"message\": …}}, not {document}")
        elif "\n" in document["message"]:
            self.fail(where, f"a message of more than one line: {document['message']!r}")

    def expect(self, what, condition, seen=None):
        self.answers += 1
        if not condition:
            self.fail(what, f"is not so: {seen!r:.300}" if seen is not None else "is not so")

    # --- what several steps need

    def container(self, name, command=("sleep", "1000"), start=True, host=None, **config):
        body = {"Image": "busybox", "Cmd": list(command), "Labels": {"contract": "1"}, "StopTimeout": 0,
                "HostConfig": host or {}, **config}
        made = self.call("POST", "/containers/create", 201, {"name": name}, body)
        identity = made.json().get("Id", name) if made.status == 201 else name
        if start:
            self.call("POST", "/containers/{id}/start", 204, id=identity)
        return identity

    def hijack(self, method, path, query=None, body=None, send=b"", end_input=False, **names):
        target = path
        for name, value in names.items():
            target = target.replace("{" + name + "}", value)
        status, head, rest = client.hijack(
            self.socket, method, client.url(self.prefix + target, query), body, send=send, end_input=end_input)
        self.called.setdefault((method, path), set()).add(status)
        self.answers += 1
        return status, head, rest

    def not_called(self):
        """Endpoints of the contract that no step has called, and such that never succeeded or never failed."""
        for method, path, operation in self.contract.operations():
            statuses = self.called.get((method, path), set())
            if not statuses:
                yield f"{method} {path}: was not called"


def clean(suite):
    """After a step that could not go on."""
    for container in client.ask(suite.socket, "GET", "/containers/json?all=1").json():
        if container["Labels"].get("contract"):
            client.ask(suite.socket, "DELETE", f"/containers/{container['Id']}?force=1&v=1")
    for network in ("contract", "contract2"):
        client.ask(suite.socket, "DELETE", f"/networks/{network}")


def not_served(suite):
    for (method, path), why in NOT_SERVED.items():
        names = {part[1:-1]: "x" for part in path.split("/") if part.startswith("{")}
        suite.call(method, path, 501, **names)


def main(arguments):
    contract = openapi.Contract(arguments[0])
    suite = Suite(contract, arguments[1], arguments[2])
    began = time.monotonic()
    steps = [*steps_others.STEPS, *steps_containers.STEPS, *steps_images.STEPS, not_served]
    for step in steps:
        try:
            step(suite)
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            suite.fail(step.__name__, f"could not go on: {type(error).__name__}: {error}")
    clean(suite)
    for line in [*suite.failures, *suite.not_called()]:
        print(line)
    wrong = len(suite.failures) + len(list(suite.not_called()))
    if "-v" in arguments or not wrong:
        print(f"{suite.answers} answers at {arguments[2]}, {wrong} wrong, {time.monotonic() - began:.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
