"""A case for every type of job: how it is brought about, what shows that it was done, how it is undone.

A job type without a case, and a case without a job type, fail the walk (walk.py).
"""

import atexit
import base64
import glob
import json
import os
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request

from engine import Answer, Died, eventually

CASES = []
NETWORK = "faults-net"  # a /29: an address that leaks is missed by the fifth container
SLEEP = ["sleep", "100000"]


def case(cls):
    CASES.append(cls)
    return cls


class Case:
    job = ""  # whose points are walked
    group = ""
    refused = False  # the job is for what goes wrong: its caller gets an error anyhow
    changes_on_error = False  # what was done before the failing step stays, and is told

    def __init__(self, engine, fixtures):
        self.engine, self.fixtures = engine, fixtures

    @property
    def label(self):
        return f"{self.job} ({type(self).__name__})"

    def prepare(self):
        """Brings about what the job needs; undisturbed."""

    def act(self):
        """Runs the job; its Answer. Raises Died when the daemon does."""
        raise NotImplementedError

    def done(self):
        """Whether it has been done. Raises AssertionError when it is done in halves."""
        raise NotImplementedError

    def sound(self):
        """Asserts what must hold of the daemon's word and the kernel, done or not."""

    def undo(self):
        """Back to what was before prepare()."""

    # --- what several need

    def create(self, name="walked", command=None, host=None, **config):
        body = {"Image": "busybox", "Cmd": command or SLEEP, "StopSignal": "SIGKILL", "HostConfig": host or {}, **config}
        return self.engine.must("POST", f"/containers/create?name={name}", body)["Id"]

    def run(self, name="walked", **more):
        more.setdefault("host", {"NetworkMode": NETWORK})
        identity = self.create(name, **more)
        self.engine.must("POST", f"/containers/{name}/start")
        return identity

    def remove(self, name="walked"):
        eventually(5, lambda: self.engine.ask("DELETE", f"/containers/{name}?force=1&v=1").status in (204, 404))

    def container(self, name="walked"):
        answer = self.engine.ask("GET", f"/containers/{name}/json")
        return answer.json() if answer.ok else None

    def status(self, name="walked"):
        found = self.container(name)
        return found["State"]["Status"] if found else "absent"

    def running(self, name="walked"):
        found = self.container(name)
        if not found or found["State"]["Status"] not in ("running", "paused"):
            return False
        assert os.path.exists(f"/proc/{found['State']['Pid']}"), f"{name} is said to run and does not"
        return True

    def exists(self, path):
        return self.engine.ask("GET", path).ok

    def frozen(self):
        found = self.container()
        with open(f"/proc/{found['State']['Pid']}/cgroup") as file:
            paths = {p.split(",")[0]: q for p, q in (line.strip().split(":", 2)[1:] for line in file)}
        if "freezer" in paths:
            with open(f"/sys/fs/cgroup/freezer{paths['freezer']}/freezer.state") as file:
                return file.read().strip() != "THAWED"
        with open(f"/sys/fs/cgroup{paths['']}/cgroup.freeze") as file:
            return file.read().strip() == "1"


# --- containers


@case
class Create(Case):
    job, group = "container.create", "container"

    def act(self):
        host = {"NetworkMode": NETWORK, "Binds": ["faults-named:/named"],
                "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18100"}]}}
        return self.engine.ask("POST", "/containers/create?name=walked", {
            "Image": "busybox", "Cmd": SLEEP, "Volumes": {"/etc": {}}, "ExposedPorts": {"80/tcp": {}}, "HostConfig": host})

    def done(self):
        made, volume = self.status() == "created", self.exists("/volumes/faults-named")
        assert made == volume, f"container {made}, volume {volume}"
        return made

    def undo(self):
        self.remove()
        self.engine.ask("DELETE", "/volumes/faults-named")


@case
class Start(Case):
    job, group = "container.start", "container"

    def prepare(self):
        self.create(host={"NetworkMode": NETWORK, "Memory": 64 << 20, "Tmpfs": {"/t": ""},
                          "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18100"}]}},
                    ExposedPorts={"80/tcp": {}})

    def act(self):
        return self.engine.ask("POST", "/containers/walked/start")

    def done(self):
        return self.running()

    def undo(self):
        self.remove()


@case
class Failed(Case):
    """A container whose command is not there: it stays, and says why."""
    job, group, refused = "container.failed", "container", True

    def prepare(self):
        self.create(command=["/no-such-command"], host={"NetworkMode": NETWORK})

    def act(self):
        return self.engine.ask("POST", "/containers/walked/start")

    def done(self):
        return self.status() == "created" and self.container()["State"]["ExitCode"] == 127

    def undo(self):
        self.remove()


class Exit(Case):
    """Init is told to end, with a code of its own; the daemon is to notice."""
    job, group = "container.exit", "container"
    host = {}
    command = ["sh", "-c", "trap 'exit 3' TERM; echo ready; sleep 100000 & wait"]
    changes_on_error = True

    def prepare(self):
        self.run(host={"NetworkMode": NETWORK, **self.host}, command=self.command)
        self.pid = self.container()["State"]["Pid"]
        ready = eventually(10, lambda: b"ready" in self.engine.ask("GET", "/containers/walked/logs?stdout=1").body)
        assert ready, "the container does not get ready"

    def act(self):
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass  # done again: it has ended, and is only to be noticed
        if eventually(15, lambda: self.engine.dead() or self.done()):
            if self.engine.dead():
                raise Died()
            return Answer(200, b"")
        return Answer(599, f"never noticed: it is {self.status()}".encode())

    def undo(self):
        self.remove()


@case
class ExitPlain(Exit):
    def done(self):
        state = (self.container() or {}).get("State", {})
        return state.get("Status") == "exited" and state.get("ExitCode") == 3


@case
class ExitRestart(Exit):
    host = {"RestartPolicy": {"Name": "always"}}

    def done(self):
        found = self.container()
        return bool(found) and found["State"]["Status"] == "running" and found["State"]["Pid"] not in (0, self.pid)


@case
class ExitRemove(Exit):
    host = {"AutoRemove": True}

    def done(self):
        return self.status() == "absent"


@case
class HealthCheck(Case):
    """A check succeeds from the moment a file is there; one that comes to nothing is followed by another."""
    job, group = "container.health-check", "container"
    changes_on_error = True

    def prepare(self):
        self.run(Healthcheck={"Test": ["CMD", "test", "-e", "/dev/shm/fine"], "Interval": 50_000_000, "Retries": 1000})
        self.pid = self.container()["State"]["Pid"]

    def act(self):
        with open(f"/proc/{self.pid}/root/dev/shm/fine", "w", encoding="ascii"):
            pass
        if eventually(15, lambda: self.engine.dead() or self.done()):
            if self.engine.dead():
                raise Died()
            return Answer(200, b"")
        return Answer(599, b"it does not become healthy")

    def done(self):
        return self.container()["State"]["Health"]["Status"] == "healthy"

    def undo(self):
        self.remove()


@case
class Stop(Case):
    job, group, changes_on_error = "container.stop", "container", True

    def prepare(self):
        self.run()

    def act(self):
        return self.engine.ask("POST", "/containers/walked/stop")

    def done(self):
        return eventually(5, lambda: self.status() == "exited") if not self.running() else False

    def undo(self):
        self.remove()


@case
class MarkStopped(Stop):
    job, changes_on_error = "container.mark-stopped", False


@case
class StopRestarting(Case):
    """Between two runs: the pending restart is called off."""
    job, group = "container.stop", "container"
    changes_on_error = True

    def prepare(self):
        self.run(command=["false"], host={"RestartPolicy": {"Name": "always"}})
        # Later restarts wait longer, so that the container is seen between two runs.
        eventually(10, lambda: self.container()["RestartCount"] >= 3 and self.status() == "restarting")

    def act(self):
        return self.engine.ask("POST", "/containers/walked/stop")

    def done(self):
        return self.status() == "exited"

    def undo(self):
        self.remove()


@case
class Restart(Case):
    job, group, changes_on_error = "container.restart", "container", True

    def prepare(self):
        self.run()
        self.pid = self.container()["State"]["Pid"]

    def act(self):
        return self.engine.ask("POST", "/containers/walked/restart")

    def done(self):
        return self.running() and self.container()["State"]["Pid"] != self.pid

    def undo(self):
        self.remove()


@case
class Kill(Stop):
    job = "container.kill"

    def act(self):
        return self.engine.ask("POST", "/containers/walked/kill")


@case
class Pause(Case):
    job, group = "container.pause", "container"

    def prepare(self):
        self.run()

    def act(self):
        return self.engine.ask("POST", "/containers/walked/pause")

    def done(self):
        said = self.status() == "paused"
        assert said == self.frozen(), f"the container is {self.status()}, its cgroup frozen: {self.frozen()}"
        return said

    def undo(self):
        self.remove()


@case
class Unpause(Pause):
    job = "container.unpause"

    def prepare(self):
        super().prepare()
        self.engine.must("POST", "/containers/walked/pause")

    def act(self):
        return self.engine.ask("POST", "/containers/walked/unpause")

    def done(self):
        return not super().done()


@case
class Rename(Case):
    job, group = "container.rename", "container"

    def prepare(self):
        self.id = self.create()

    def act(self):
        return self.engine.ask("POST", f"/containers/{self.id}/rename?name=renamed")

    def done(self):
        new, old = self.exists("/containers/renamed/json"), self.exists("/containers/walked/json")
        assert new != old, f"new name {new}, old name {old}"
        return new

    def undo(self):
        self.engine.ask("DELETE", f"/containers/{self.id}?force=1")


@case
class Update(Case):
    job, group = "container.update", "container"

    def prepare(self):
        self.run(host={"NetworkMode": NETWORK, "Memory": 64 << 20})

    def act(self):
        return self.engine.ask("POST", "/containers/walked/update", {"Memory": 32 << 20, "MemorySwap": -1})

    def limit(self):
        with open(f"/proc/{self.container()['State']['Pid']}/cgroup") as file:
            paths = {p: q for p, q in (line.strip().split(":", 2)[1:] for line in file)}
        path = f"memory{paths['memory']}/memory.limit_in_bytes" if "memory" in paths else paths[""].lstrip("/") + "/memory.max"
        with open("/sys/fs/cgroup/" + path) as file:
            return int(file.read())

    def done(self):
        return self.container()["HostConfig"]["Memory"] == 32 << 20

    # Not after a kill: what was written to the cgroup and not recorded stays until the next update.
    def sound(self):
        said = self.container()["HostConfig"]["Memory"]
        assert said == self.limit(), f"the record says {said}, the cgroup {self.limit()}"

    def undo(self):
        self.remove()


@case
class Remove(Case):
    job, group = "container.remove", "container"

    def prepare(self):
        self.create(host={"NetworkMode": NETWORK}, Volumes={"/etc": {}})

    def act(self):
        return self.engine.ask("DELETE", "/containers/walked?v=1")

    def done(self):
        return self.status() == "absent"

    def undo(self):
        self.remove()


@case
class RemoveRunning(Remove):
    changes_on_error = True

    def prepare(self):
        self.run(Volumes={"/etc": {}})

    def act(self):
        return self.engine.ask("DELETE", "/containers/walked?v=1&force=1")


@case
class Prune(Remove):
    job = "container.prune"
    changes_on_error = True

    def act(self):
        return self.engine.ask("POST", "/containers/prune")

    def undo(self):
        super().undo()
        for volume in self.engine.must("GET", "/volumes")["Volumes"]:
            self.engine.ask("DELETE", "/volumes/" + volume["Name"])


@case
class ExecCreate(Case):
    job, group = "exec.create", "container"

    def prepare(self):
        self.run()
        self.exec = None

    def act(self):
        answer = self.engine.ask("POST", "/containers/walked/exec", {"Cmd": ["sleep", "1000"]})
        self.exec = answer.json()["Id"] if answer.ok else None
        return answer

    def done(self):  # what is remembered of it ends with the daemon, as in Docker
        return self.exec is not None and self.running()

    def undo(self):
        self.remove()


@case
class ExecStart(ExecCreate):
    job = "exec.start"

    def act(self):
        answer = super().act()
        if not answer.ok:
            return answer
        answer = self.engine.ask("POST", f"/exec/{self.exec}/start", {"Detach": True})
        if not answer.ok:
            self.exec = None
        return answer

    def lost_with_daemon(self):
        return True


@case
class Extract(Case):
    """A file is put into a container that was never started, and into its volume."""
    job, group = "container.extract", "container"
    changes_on_error = True  # what was unpacked before stays, as with Docker

    def prepare(self):
        self.create(host={"NetworkMode": NETWORK, "Binds": ["faults-named:/named"]})

    def act(self):
        path = self.engine.directory + "/extract.tar"
        if not os.path.exists(path):
            with open(self.engine.directory + "/extracted", "w") as file:
                file.write("x")
            subprocess.run(["tar", "-cf", path, "-C", self.engine.directory, "extracted"], check=True)
        with open(path, "rb") as file:
            return self.engine.ask("PUT", "/containers/walked/archive?path=/named", file.read())

    def done(self):
        return self.exists("/containers/walked/archive?path=/named/extracted")

    def undo(self):
        self.remove()
        self.engine.ask("DELETE", "/volumes/faults-named")


# --- images


class ImageCase(Case):
    group = "image"

    def archive(self, name, *arguments):
        path = f"{self.engine.directory}/{name}.tar"
        if not os.path.exists(path):
            pack = os.path.dirname(os.path.abspath(__file__)) + "/../../tools/pack_image.py"
            subprocess.run(["/usr/bin/python3", pack, path, *arguments], check=True, stdout=subprocess.DEVNULL)
        with open(path, "rb") as file:
            return file.read()

    def streamed(self, answer):
        """An error after the answer has begun is the last document of its stream."""
        if answer.ok and b'"errorDetail"' in answer.body:
            return Answer(500, answer.body)
        return answer

    def load(self, name="tagged", *arguments):
        archive = self.archive(name, *(arguments or ("--name", "t/load:1", "--file", f"f={name}")))
        return self.streamed(self.engine.ask("POST", "/images/load", archive))

    def image(self, name):
        return self.exists("/images/" + urllib.parse.quote(name) + "/json")

    def remove_image(self, name):
        self.engine.ask("DELETE", f"/images/{name}?force=1")


@case
class Load(ImageCase):
    job = "image.load"

    def act(self):
        return self.load()

    def done(self):
        return self.image("t/load:1")

    def undo(self):
        self.remove_image("t/load:1")


@case
class Commit(ImageCase):
    """Of a running container, which is paused meanwhile and goes on however the job ends."""
    job = "image.commit"

    def prepare(self):
        self.run(command=["sh", "-c", "echo new >/new; exec sleep 100000"])
        # What runs must be what runs from then on.
        with open(f"/proc/{self.container()['State']['Pid']}/cmdline") as command:
            eventually(5, lambda: command.seek(0) == 0 and command.read().startswith("sleep"))

    def act(self):
        return self.engine.ask("POST", "/commit?container=walked&repo=t/commit&tag=1&changes=CMD+true")

    def done(self):
        return self.image("t/commit:1")

    def sound(self):
        assert self.status() == "running", f"the container is {self.status()}"
        pid = self.container()["State"]["Pid"]
        with open(f"/proc/{pid}/cgroup") as groups:
            for line in groups:
                number, names, group = line.rstrip("\n").split(":", 2)
                for state, frozen in ((f"/sys/fs/cgroup/freezer{group}/freezer.state", "FROZEN"),
                                      (f"/sys/fs/cgroup{group}/cgroup.freeze", "1")):
                    if ("freezer" in names.split(",") or number == "0") and os.path.exists(state):
                        with open(state) as file:
                            assert file.read().strip() != frozen, "the container is left frozen"

    def undo(self):
        self.remove()
        self.remove_image("t/commit:1")


@case
class Import(ImageCase):
    job = "image.import"

    def act(self):
        path = self.engine.directory + "/import.tar"
        if not os.path.exists(path):
            with open(self.engine.directory + "/imported", "w") as file:
                file.write("x")
            subprocess.run(["tar", "-cf", path, "-C", self.engine.directory, "imported"], check=True)
        with open(path, "rb") as file:
            return self.streamed(self.engine.ask("POST", "/images/create?fromSrc=-&repo=t/import&tag=1", file.read()))

    def done(self):
        return self.image("t/import:1")

    def undo(self):
        self.remove_image("t/import:1")


class RegistryCase(ImageCase):
    """A registry of our own beside the daemon, with one image in it."""

    def registry(self):
        if getattr(self.engine, "faults_registry", None) is None:
            program = os.path.dirname(os.path.abspath(__file__)) + "/../lib/mock_registry.py"
            process = subprocess.Popen(["/usr/bin/python3", program], stdout=subprocess.PIPE, text=True)
            atexit.register(process.kill)
            self.engine.faults_registry = int(process.stdout.readline())
        return f"127.0.0.1:{self.engine.faults_registry}"

    def encoded(self, name):
        return urllib.parse.quote(f"{self.registry()}/{name}", safe="")


@case
class Pull(RegistryCase):
    job = "image.pull"

    def act(self):
        return self.streamed(self.engine.ask("POST", f"/images/create?fromImage={self.encoded('t/pull')}&tag=1"))

    def done(self):
        return self.image(f"{self.registry()}/t/pull:1")

    def undo(self):
        self.remove_image(f"{self.registry()}/t/pull:1")


@case
class ReserveBlobs(Pull):
    job = "image.blob-reserve"


@case
class ForgetBlobs(RegistryCase):
    """A blob that is not what its digest says is given up, with what was kept of it."""

    job = "image.blob-forget"
    refused = True

    def act(self):
        return self.streamed(self.engine.ask("POST", f"/images/create?fromImage={self.encoded('t/pull')}&tag=wrong"))

    def done(self):
        assert not self.image(f"{self.registry()}/t/pull:wrong")
        return not os.listdir(self.engine.data + "/content/partial")


@case
class Push(RegistryCase):
    job = "image.push"

    def prepare(self):
        assert self.load().ok
        assert self.engine.ask("POST", f"/images/t/load:1/tag?repo={self.encoded('t/push')}&tag=1").ok

    def act(self):
        return self.streamed(self.engine.ask("POST", f"/images/{self.registry()}/t/push/push?tag=1"))

    def done(self):
        found = self.exists(f"/images/{self.registry()}/t/push:1/json")
        answer = self.engine.ask("GET", f"/images/{self.registry()}/t/push:1/json")
        return found and bool(answer.json()["RepoDigests"])

    def undo(self):
        self.remove_image(f"{self.registry()}/t/push:1")
        self.remove_image("t/load:1")


@case
class Refetch(RegistryCase):
    """A layer that is gone, of an image that was made here of one whose own name is gone."""

    job, changes_on_error = "image.refetch", True

    def layers(self):
        root = glob.glob(self.engine.data + "/*/layers")[0]
        return {os.path.realpath(f"{root}/{name}") for name in os.listdir(root)}

    def prepare(self):
        before = self.layers()
        pulled = f"{self.registry()}/t/pull:1"
        answer = self.streamed(self.engine.ask("POST", f"/images/create?fromImage={self.encoded('t/pull')}&tag=1"))
        assert answer.ok, answer.message
        self.engine.must("POST", "/containers/create?name=walked", {"Image": pulled, "Cmd": ["x"]})
        self.engine.must("POST", "/commit?container=walked&repo=t/refetch&tag=1&changes=CMD+true")
        self.remove_image(pulled)
        for layer in self.layers() - before:
            shutil.rmtree(layer)

    def act(self):
        answer = self.engine.ask("POST", "/gantry/system/check?repair=1")
        if answer.ok and answer.json()["Findings"]:
            told = "; ".join(one.get("Detail", "") for one in answer.json()["Findings"] if not one["Repaired"])
            if told:
                return Answer(500, json.dumps({"message": told}).encode())
        return answer

    def done(self):
        findings = self.engine.ask("POST", "/gantry/system/check").json()["Findings"]
        return not [one for one in findings if one["Kind"] == "layer"]

    def undo(self):
        self.remove()
        self.remove_image("t/refetch:1")
        self.remove_image(f"{self.registry()}/t/pull:1")


@case
class RebaseContainer(Refetch):
    job = "container.rebase"


@case
class SignImage(RegistryCase):
    """All that it changes is the registry's: what was sent before the failing step stays there, and is told."""

    job = "image.sign"
    changes_on_error = True

    def digest(self):
        answer = self.engine.ask("GET", f"/distribution/{self.encoded('t/pull:1')}/json")
        return answer.json()["Descriptor"]["digest"]

    def signature_tag(self):
        return f"http://{self.registry()}/v2/t/pull/manifests/{self.digest().replace(':', '-')}"

    def act(self):
        payload = json.dumps({
            "critical": {"identity": {"docker-reference": "a/b:1"}, "image": {"docker-manifest-digest": self.digest()},
                         "type": "cosign container image signature"}, "optional": None}).encode()
        body = {"payload": base64.b64encode(payload).decode(), "signature": base64.b64encode(b"any").decode()}
        return self.engine.ask("POST", f"/gantry/images/{self.encoded('t/pull:1')}/signatures", body)

    def done(self):
        answer = self.engine.ask("GET", f"/gantry/images/{self.encoded('t/pull:1')}/signatures")
        return len(answer.json()["Signatures"]) == 1

    def undo(self):
        for name in (".sig", ""):
            request = urllib.request.Request(self.signature_tag() + name, method="DELETE")
            urllib.request.urlopen(request).close()


@case
class Tag(ImageCase):
    job = "image.tag"

    def act(self):
        return self.engine.ask("POST", "/images/busybox/tag?repo=t/tag&tag=1")

    def done(self):
        return self.image("t/tag:1")

    def undo(self):
        self.remove_image("t/tag:1")


@case
class RemoveImage(ImageCase):
    job = "image.remove"

    def prepare(self):
        assert self.load().ok

    def act(self):
        return self.engine.ask("DELETE", "/images/t/load:1")

    def done(self):
        return not self.image("t/load:1")

    def undo(self):
        self.remove_image("t/load:1")


@case
class PruneImages(ImageCase):
    job = "image.prune"

    def prepare(self):
        assert self.load("dangling", "--file", "f=dangling").ok

    def dangling(self):
        return self.engine.must("GET", "/images/json?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D")

    def act(self):
        return self.engine.ask("POST", "/images/prune")

    def done(self):
        answer = self.engine.ask("GET", "/images/json?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D")
        return not answer.json()

    def undo(self):
        self.engine.ask("POST", "/images/prune")


# --- networks and volumes


@case
class CreateNetwork(Case):
    job, group = "network.create", "network"

    def act(self):
        return self.engine.ask("POST", "/networks/create", {
            "Name": "made", "IPAM": {"Config": [{"Subnet": "10.214.0.0/24"}]}})

    def done(self):
        return self.exists("/networks/made")

    def undo(self):
        self.engine.ask("DELETE", "/networks/made")


@case
class RemoveNetwork(CreateNetwork):
    job = "network.remove"

    def prepare(self):
        answer = super().act()
        assert answer.ok, answer.message

    def act(self):
        return self.engine.ask("DELETE", "/networks/made")

    def done(self):
        return not super().done()


@case
class PruneNetworks(RemoveNetwork):
    job = "network.prune"
    changes_on_error = True

    def prepare(self):
        super().prepare()
        self.run("holder")  # the other networks are in use

    def act(self):
        return self.engine.ask("POST", "/networks/prune")

    def undo(self):
        super().undo()
        self.remove("holder")


class Connected(Case):
    """A container of two networks: routes, ports and /etc/hosts are those of the networks that it is said to have."""
    group = "network"
    gateways = {NETWORK: "10.213.0.1", "made": "10.214.0.1"}  # in the order of their right to the route

    def prepare(self, *networks):
        self.engine.must("POST", "/networks/create", {"Name": "made", "IPAM": {"Config": [{"Subnet": "10.214.0.0/24"}]}})
        self.create(host={"NetworkMode": networks[0],
                          "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18101"}]}})
        for network in networks[1:]:
            self.engine.must("POST", f"/networks/{network}/connect", {"Container": "walked"})
        self.engine.must("POST", "/containers/walked/start")

    def look(self):
        container = self.container()
        pid = container["State"]["Pid"]

        def inside(*command):
            return subprocess.run(["nsenter", "-t", str(pid), "-n", *command], capture_output=True, text=True,
                                  check=True).stdout

        networks = container["NetworkSettings"]["Networks"]
        addresses = {name: settings["IPAddress"] for name, settings in networks.items()}
        gateway = next(name for name in self.gateways if name in addresses)
        with open(f"/proc/{pid}/root/etc/hosts") as file:
            hosts = file.read()
        return (addresses, sorted(line.split()[3].split("/")[0] for line in inside(
                    "ip", "-o", "-4", "addr", "show", "scope", "global").splitlines()),
                self.gateways[gateway] in inside("ip", "route", "show", "default"),
                addresses[gateway] in subprocess.run(["nft", "list", "map", "inet", self.table(), "ports4"],
                                                     capture_output=True, text=True, check=True).stdout,
                sorted(line.split()[0] for line in hosts.splitlines() if line.startswith("10.21")))

    @staticmethod
    def table():
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        return next(word for word in tables.split() if word.startswith("gantry-"))

    def whole(self):
        addresses, interfaces, route, port, hosts = self.look()
        return route and port and interfaces == hosts == sorted(addresses.values())

    def sound(self):
        # What is given back in the background may still be there for a moment.
        assert eventually(10, self.whole), self.look()

    def undo(self):
        self.remove()
        eventually(5, lambda: self.engine.ask("DELETE", "/networks/made").status in (204, 404))


@case
class Connect(Connected):
    job = "network.connect"

    def prepare(self):
        super().prepare("made")

    def act(self):
        return self.engine.ask("POST", f"/networks/{NETWORK}/connect", {"Container": "walked"})

    def done(self):
        return NETWORK in self.container()["NetworkSettings"]["Networks"] and (self.sound() or True)


@case
class ConnectFirst(Connected):
    """The ports are published with the connection."""
    job = "network.connect"

    def prepare(self):
        super().prepare("made")
        self.engine.must("POST", "/networks/made/disconnect", {"Container": "walked"})

    def act(self):
        return self.engine.ask("POST", f"/networks/{NETWORK}/connect", {"Container": "walked"})

    def done(self):
        return bool(self.container()["NetworkSettings"]["Networks"]) and (super().sound() or True)

    def sound(self):
        self.done()


@case
class Disconnect(Connected):
    job = "network.disconnect"

    def prepare(self):
        super().prepare(NETWORK, "made")

    def act(self):
        return self.engine.ask("POST", f"/networks/{NETWORK}/disconnect", {"Container": "walked"})

    def done(self):
        return NETWORK not in self.container()["NetworkSettings"]["Networks"] and (self.sound() or True)


@case
class CreateVolume(Case):
    job, group = "volume.create", "volume"

    def act(self):
        return self.engine.ask("POST", "/volumes/create", {"Name": "made"})

    def done(self):
        made = self.exists("/volumes/made")
        assert not made or os.path.isdir(self.engine.data + "/volumes/made/_data"), "a volume without its directory"
        return made

    def undo(self):
        self.engine.ask("DELETE", "/volumes/made")


@case
class RemoveVolume(CreateVolume):
    job = "volume.remove"

    def prepare(self):
        answer = super().act()
        assert answer.ok, answer.message

    def act(self):
        return self.engine.ask("DELETE", "/volumes/made")

    def done(self):
        return not super().done()


@case
class CopyVolume(CreateVolume):
    """A snapshot of a volume that a running container uses: it is kept still meanwhile, and goes on afterwards."""
    job = "volume.copy"
    made = "/volumes/copied"

    def prepare(self):
        self.run(host={"NetworkMode": NETWORK, "Binds": ["made:/data"]})
        with open(self.engine.data + "/volumes/made/_data/file", "w", encoding="ascii") as file:
            file.write("content")

    def act(self):
        return self.engine.ask("POST", "/gantry/volumes/made/snapshot", {"Name": "copied"})

    def done(self):
        made = self.exists(self.made)
        if made:
            with open(self.engine.data + self.made + "/_data/file", encoding="ascii") as file:
                assert file.read() == "content", "a snapshot that has not all"
        return made

    def sound(self):
        assert eventually(5, lambda: not self.running() or not self.frozen()), "it is kept still"

    def undo(self):
        self.remove()
        self.engine.ask("DELETE", self.made)
        super().undo()


@case
class RewindVolume(Case):
    job, group = "volume.rewind", "volume"

    def data(self, name):
        return f"{self.engine.data}/volumes/{name}/_data/file"

    def prepare(self):
        for name in ("made", "kept"):
            self.engine.must("POST", "/volumes/create", {"Name": name})
            with open(self.data(name), "w", encoding="ascii") as file:
                file.write(name)

    def act(self):
        return self.engine.ask("POST", "/gantry/volumes/made/restore", {"Snapshot": "kept"})

    def done(self):
        with open(self.data("made"), encoding="ascii") as file:
            content = file.read()
        assert content in ("made", "kept"), "neither what it had nor what it is to have"
        return content == "kept"

    def sound(self):
        assert eventually(5, lambda: not os.path.exists(f"{self.engine.data}/volumes/made/_rewind")), "something is left"

    def undo(self):
        for name in ("made", "kept"):
            self.engine.ask("DELETE", "/volumes/" + name)


@case
class PruneVolumes(RemoveVolume):
    job = "volume.prune"
    changes_on_error = True

    def act(self):
        return self.engine.ask("POST", "/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D")


# --- the whole


@case
class Check(Case):
    """A repair: what nothing accounts for goes, and what is missing of a volume is made again."""
    job, group, changes_on_error = "system.check", "system", True

    def stray(self):
        return self.engine.data + "/containers/stray"

    def lost(self):
        return self.engine.data + "/volumes/faults-lost"

    def prepare(self):
        self.engine.must("POST", "/volumes/create", {"Name": "faults-lost"})
        shutil.rmtree(self.lost())
        os.mkdir(self.stray())

    def act(self):
        return self.engine.ask("POST", "/gantry/system/check?repair=1&content=1")

    def done(self):
        return not os.path.exists(self.stray()) and os.path.exists(self.lost() + "/_data")

    def undo(self):
        shutil.rmtree(self.stray(), ignore_errors=True)
        self.engine.ask("DELETE", "/volumes/faults-lost?force=1")


@case
class RestoreVolume(Check):
    job = "volume.restore"


class Collecting(ImageCase):
    """An image that lost its name goes by the policy that the daemon under test has."""
    group, changes_on_error = "system", True

    def prepare(self):
        assert self.load("forgotten", "--file", "f=forgotten").ok

    def act(self):
        return self.engine.ask("POST", "/gantry/system/gc")

    def done(self):
        return not self.engine.must("GET", "/images/json?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D")

    def undo(self):
        self.engine.ask("POST", "/images/prune")


@case
class Collect(Collecting):
    job = "system.collect"


@case
class CollectStep(Collecting):
    job = "system.collect.step"
