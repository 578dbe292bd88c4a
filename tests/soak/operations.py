"""What one client of the soak does, at random, to objects of its own, and what must be answered."""

import io
import os
import random
import signal
import tarfile

from engine import Failure, Lost, eventually
from model import ABSENT, CREATED, EXITED, PAUSED, RUNNING, THERE, Model, Thing

INIT = "trap 'exit 0' TERM; echo begun; while :; do sleep 100000 & wait; done"
STOPPED = {CREATED, EXITED}
SHARED = [f"shared-{number}" for number in range(3)]  # containers that every client meddles with


class Client:
    """One thread's worth of operations."""

    def __init__(self, engine, number, seed, images):
        self.engine, self.number, self.images = engine, number, images
        self.random = random.Random(f"{seed}/{number}")
        self.model = Model()
        self.made = 0
        self.count = {}
        self.label = f"client-{number}"

    # --- the loop's body ---

    def step(self):
        name = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        self.doing = name
        try:
            getattr(self, name)()
            self.count[name] = self.count.get(name, 0) + 1
        except Lost:
            self.count["lost"] = self.count.get("lost", 0) + 1
            self.engine.up.wait()

    def new_name(self, kind):
        self.made += 1
        return f"{kind}-{self.number}-{self.made}"

    def pick(self, things, *states):
        found = [t for t in things if t.may_be(*states)]
        return self.random.choice(found) if found else None

    def expect(self, status, wanted, what):
        if status not in wanted:
            raise Failure(f"{what}: status {status}, expected one of {wanted}")

    # --- containers ---

    def create(self):
        if sum(not t.may_be(ABSENT) for t in self.model.containers) >= 4:
            return self.remove()
        thing = Thing("container", self.new_name("c"))
        thing.restart = self.random.random() < 0.2
        thing.facts["memory"] = {0}
        binds = [f"{v.name}:/v" for v in self.model.volumes if v.states == {THERE}][:1]
        network = self.pick([n for n in self.model.networks if n.states == {THERE}], THERE)
        body = {"Image": "busybox", "Cmd": ["sh", "-c", INIT], "Labels": {"owner": self.label},
                "HostConfig": {"Binds": binds, "NetworkMode": network.name if network else self.random.choice(
                    ["bridge", "none"]), "RestartPolicy": {"Name": "unless-stopped" if thing.restart else "no"}}}
        self.model.containers.append(thing)
        thing.network = network
        try:
            status, answer = self.engine.request("POST", "/containers/create", body, name=thing.name)
        except Lost:
            thing.unanswered(CREATED)
            raise
        self.expect(status, [201], f"create {answer}")
        thing.id = answer["Id"]
        thing.states = {CREATED}
        if self.random.random() < 0.8:
            self.act(thing, "start", {CREATED: RUNNING, EXITED: RUNNING}, (204,), (304,))

    def act(self, thing, verb, moves, good, refused, through=(), **query):
        what = f"{verb} {thing.name}"
        method, path = ("DELETE", f"/containers/{self.handle(thing)}") if verb == "rm" else \
            ("POST", f"/containers/{self.handle(thing)}/{verb}")
        try:
            status, answer = self.engine.request(method, path, **query)
        except Lost:
            thing.unanswered(*[moves[s] for s in thing.states if s in moves], *through)
            thing.doomed = thing.doomed or verb in ("stop", "kill", "restart", "rm")
            raise
        if status == 404 and "No such container" not in answer["message"]:
            # Its network was removed while it was stopped, which Docker allows as well.
            if not (thing.network and thing.network.may_be(ABSENT)):
                raise Failure(f"{what}: {answer}")
            thing.network.states = {ABSENT}
            return thing.states.update({EXITED} if verb == "restart" and thing.may_be(RUNNING) else set())
        if status == 404:
            return thing.seen(what, ABSENT)
        self.expect(status, [*good, *refused], f"{what} {answer}")
        # What was answered while it could be absent says that it is there.
        thing.states.discard(ABSENT)
        thing.answered(f"{what} → {status}", status in good, moves)

    def handle(self, thing):
        return thing.id or (next(iter(thing.names)) if len(thing.names) == 1 else thing.name)

    def some(self, *states):
        thing = self.pick([c for c in self.model.containers if not c.passing], *states)
        if thing:
            self.look(thing)
        return thing if thing and thing.states <= set(states) else None

    def start(self):
        if thing := self.some(CREATED, EXITED):
            self.act(thing, "start", {CREATED: RUNNING, EXITED: RUNNING}, (204,), (304,))

    def stop(self):
        if thing := self.some(RUNNING, PAUSED, EXITED):
            self.act(thing, "stop", {RUNNING: EXITED, PAUSED: EXITED}, (204,), (304,), t=2)

    def stop_all(self):
        for thing in list(self.model.containers):
            if thing.may_be(RUNNING, PAUSED) and not thing.passing:
                self.look(thing)
                if thing.may_be(RUNNING, PAUSED):
                    self.act(thing, "stop", {RUNNING: EXITED, PAUSED: EXITED}, (204,), (304,), t=2)

    def restart(self):
        if thing := self.some(RUNNING, EXITED, CREATED):
            self.act(thing, "restart", {RUNNING: RUNNING, EXITED: RUNNING, CREATED: RUNNING}, (204,), (), (EXITED,), t=2)

    def kill(self):
        thing = self.some(RUNNING, EXITED)
        if not thing or thing.restart:
            return
        # `kill` answers before the container has ended
        self.act(thing, "kill", {RUNNING: EXITED}, (204,), (409,), (RUNNING,))
        self.await_state(thing, EXITED)

    def kill_shim(self):
        thing = self.some(RUNNING)
        state = thing and self.inspect_state(thing)
        if not state or not state["Pid"]:
            return
        shim = parent_of(state["Pid"])
        if shim > 1 and program_of(shim) == "gantry-runtime":
            os.kill(shim, signal.SIGKILL)
            thing.marks = []  # what the dead shim had not read yet is gone
            again = RUNNING if thing.restart else EXITED
            eventually(f"{thing.name} is {again} after its shim was killed", lambda: self.changed(thing, state, again))
            thing.states = {again}

    def changed(self, thing, before, wanted):
        try:
            state = self.inspect_state(thing)
        except Lost:
            self.engine.up.wait()
            return False
        if state is None:
            raise Failure(f"{thing.name} vanished with its shim")
        return state["Status"] == wanted and state["Pid"] != before["Pid"] and (wanted == RUNNING or state["ExitCode"] == 137)

    def await_state(self, thing, wanted):
        def there():
            try:
                state = self.inspect_state(thing)
            except Lost:
                self.engine.up.wait()
                return False
            return state is not None and state["Status"] == wanted
        eventually(f"{thing.name} is {wanted}", there)
        thing.states = {wanted}

    def pause(self):
        if thing := self.some(RUNNING, PAUSED):
            self.act(thing, "pause", {RUNNING: PAUSED}, (204,), (409,))

    def unpause(self):
        if thing := self.some(PAUSED, RUNNING):
            self.act(thing, "unpause", {PAUSED: RUNNING}, (204,), (409, 500))

    def remove(self):
        force = self.random.random() < 0.6
        if thing := self.some(CREATED, RUNNING, PAUSED, EXITED):
            moves = {CREATED: ABSENT, EXITED: ABSENT}
            if force:
                moves |= {RUNNING: ABSENT, PAUSED: ABSENT}
            self.act(thing, "rm", moves, (204,), (409,), (EXITED,) if force else (), force=force)

    def rename(self):
        thing = self.some(CREATED, RUNNING, EXITED)
        if not thing or not thing.id:
            return
        name = self.new_name("r")
        try:
            status, answer = self.engine.request("POST", f"/containers/{thing.id}/rename", name=name)
        except Lost:
            thing.names.add(name)
            raise
        self.expect(status, [204], f"rename {answer}")
        thing.names = {name}

    def update(self):
        thing = self.some(CREATED, RUNNING, EXITED)
        if not thing or not thing.id:
            return
        memory = self.random.randrange(16, 256) << 20
        try:
            status, answer = self.engine.request("POST", f"/containers/{thing.id}/update",
                                                 {"Memory": memory, "MemorySwap": -1})
        except Lost:
            thing.facts["memory"].add(memory)
            raise
        self.expect(status, [200], f"update {answer}")
        thing.facts["memory"] = {memory}

    def execute(self):
        """What it prints comes through attach; what it writes to the container's output is in the log."""
        thing = self.some(RUNNING)
        if not thing:
            return
        mark = self.new_name("mark")
        status, answer = self.engine.request("POST", f"/containers/{self.handle(thing)}/exec", {
            "Cmd": ["sh", "-c", f"echo out-{mark}; echo {mark} >/proc/1/fd/1"],
            "AttachStdout": True, "AttachStderr": True})
        if status != 201:
            raise Failure(f"exec in {thing.name}, which is running: {status} {answer}; {self.inspect_state(thing)}")
        status, output = self.engine.hijack(f"/exec/{answer['Id']}/start", {"Detach": False, "Tty": False})
        self.expect(status, [101], f"exec start in {thing.name}: {output}")
        kills = self.engine.kills
        status, result = self.engine.request("GET", f"/exec/{answer['Id']}/json")
        if status == 404 and (self.engine.kills != kills or self.engine.expected.is_set()):
            return  # execs are forgotten with the daemon
        if status == 200 and result["ExitCode"] == 0:
            if output != f"out-{mark}\n".encode():
                raise Failure(f"exec in {thing.name} printed {output!r} instead of out-{mark}")
            thing.marks.append(mark)

    def logs(self):
        thing = self.some(CREATED, RUNNING, PAUSED, EXITED)
        if not thing:
            return

        def complete():
            status, data = self.engine.request("GET", f"/containers/{self.handle(thing)}/logs", stdout=1, stderr=1)
            self.expect(status, [200], f"logs {thing.name}: {data}")
            lines = data.split(b"\n") if isinstance(data, bytes) else []
            return all(any(line.endswith(b" " + m.encode()) or line.endswith(m.encode()) for line in lines)
                       for m in thing.marks)
        eventually(f"the log of {thing.name} has {thing.marks}", complete)
        thing.marks = thing.marks[-20:]

    def attach(self):
        """Standard output of a container that is started under the attached stream."""
        self.run()

    def run(self):
        """`run --rm`: what it prints arrives whole, its status is its own, and it is gone afterwards."""
        thing = Thing("container", self.new_name("run"))
        thing.facts["memory"], thing.passing = {0}, True
        code, size = self.random.randrange(128), self.random.choice([1, 1000, 300000])
        body = {"Image": "busybox", "Cmd": ["sh", "-c", f"cat; head -c {size} /dev/zero | tr '\\0' x; exit {code}"],
                "Labels": {"owner": self.label}, "AttachStdout": True, "OpenStdin": True, "StdinOnce": True,
                "AttachStdin": True, "HostConfig": {"AutoRemove": True, "NetworkMode": self.random.choice(
                    ["bridge", "none", "host"])}}
        self.model.containers.append(thing)
        thing.states |= {CREATED, RUNNING, EXITED}
        status, answer = self.engine.request("POST", "/containers/create", body, name=thing.name)
        self.expect(status, [201], f"create {answer}")
        thing.id = answer["Id"]

        sent = thing.name.encode() * self.random.choice([1, 5000])

        def begin():
            begun, why = self.engine.request("POST", f"/containers/{thing.id}/start")
            self.expect(begun, [204], f"start {thing.name}: {why}")
        kills = self.engine.kills
        status, output = self.engine.hijack(f"/containers/{thing.id}/attach", given=sent, meanwhile=begin,
                                            stream=1, stdin=1, stdout=1, stderr=1)
        if status != 101:
            raise Failure(f"attach {thing.name}: {status} {output!r}")
        if output != sent + b"x" * size and kills == self.engine.kills and not self.engine.expected.is_set():
            raise Failure(f"{thing.name} printed {len(output)} bytes instead of {len(sent) + size}")
        status, answer = self.engine.request("POST", f"/containers/{thing.id}/wait", condition="removed")
        if status == 200 and answer and answer["StatusCode"] != code and "Error" not in answer:
            raise Failure(f"{thing.name} ended with {answer}, not {code}")
        eventually(f"{thing.name} is removed", lambda: self.inspect_state(thing) is None)
        self.model.containers.remove(thing)

    def prune_containers(self):
        try:
            status, answer = self.engine.request("POST", "/containers/prune", filters={"label": [f"owner={self.label}"]})
        except Lost:
            for thing in self.model.containers:
                if thing.may_be(CREATED, EXITED):
                    thing.unanswered(ABSENT)
            raise
        self.expect(status, [200], f"prune {answer}")
        gone = set(answer["ContainersDeleted"] or [])
        for thing in list(self.model.containers):
            if thing.id in gone or thing.states <= {CREATED, EXITED, ABSENT}:
                if not thing.may_be(ABSENT, *STOPPED):
                    raise Failure(f"prune removed {thing}")
                thing.states = {ABSENT}
        self.forget()

    # --- volumes, networks, images ---

    def make(self, things, limit, kind, method, path, body, identify=None, **query):
        if sum(t.may_be(THERE) for t in things) >= limit:
            return
        thing = Thing(kind, body["Name"])
        things.append(thing)
        try:
            status, answer = self.engine.request(method, path, body, **query)
        except Lost:
            thing.unanswered(THERE)
            raise
        self.expect(status, [201], f"{kind} create {answer}")
        thing.id = identify(answer) if identify else thing.name
        thing.states = {THERE}

    def drop(self, things, path, done, held, force=None):
        thing = self.pick(things, THERE)
        if not thing:
            return
        query = {} if force is None else {"force": force}
        try:
            status, answer = self.engine.request("DELETE", f"{path}/{thing.name}", **query)
        except Lost:
            thing.unanswered(ABSENT)
            raise
        if status == 404:
            return thing.seen(f"rm {thing.name}", ABSENT)
        self.expect(status, [done, held], f"rm {thing.name}: {answer}")
        if status == done:
            thing.seen(f"rm {thing.name}", THERE)
            thing.states = {ABSENT}
        elif not any(c.may_be(CREATED, RUNNING, PAUSED, EXITED) for c in self.model.containers):
            raise Failure(f"rm {thing.name} refused though no container is there: {answer}")

    def volume_create(self):
        self.make(self.model.volumes, 3, "volume", "POST", "/volumes/create",
                  {"Name": self.new_name("v"), "Labels": {"owner": self.label}})

    def volume_remove(self):
        self.drop(self.model.volumes, "/volumes", 204, 409)

    def network_create(self):
        self.make(self.model.networks, 2, "network", "POST", "/networks/create",
                  {"Name": self.new_name("n"), "Labels": {"owner": self.label}}, lambda answer: answer["Id"])

    def network_remove(self):
        self.drop(self.model.networks, "/networks", 204, 403)

    def tag(self):
        if sum(t.may_be(THERE) for t in self.model.tags) >= 4:
            return self.untag()
        name = self.new_name("t")
        self.new_tag(name, lambda: self.engine.request("POST", "/images/busybox/tag", repo=f"soak/{name}", tag="1"), 201)

    def new_tag(self, name, make, wanted, image=None):
        thing = Thing("tag", f"soak/{name}:1")
        thing.image = image
        self.model.tags.append(thing)
        try:
            status, answer = make()
        except Lost:
            thing.unanswered(THERE)
            raise
        self.expect(status, [wanted], f"{thing.name} {answer}")
        if isinstance(answer, bytes) and b'"error"' in answer:
            raise Failure(f"{thing.name}: {answer!r}")
        thing.states = {THERE}

    def load(self):
        if sum(t.may_be(THERE) for t in self.model.tags) >= 6:
            return self.untag()
        name = self.new_name("l")
        archive, image = self.images.archive(f"soak/{name}:1", self.random)
        self.new_tag(name, lambda: self.engine.request("POST", "/images/load", archive, quiet=1), 200, image)

    def load_import(self):
        if sum(t.may_be(THERE) for t in self.model.tags) >= 6:
            return self.untag()
        name = self.new_name("i")
        self.new_tag(name, lambda: self.engine.request("POST", "/images/create", tarball(self.random), fromSrc="-",
                                                       repo=f"soak/{name}", tag="1"), 200)

    def untag(self):
        self.drop(self.model.tags, "/images", 200, 409, force=False)

    def prune_images(self):
        status, answer = self.engine.request("POST", "/images/prune")
        self.expect(status, [200], f"image prune {answer}")

    def prune_volumes(self):
        self.prune(self.model.volumes, "/volumes/prune", "VolumesDeleted", {"all": ["1"]})

    def prune_networks(self):
        self.prune(self.model.networks, "/networks/prune", "NetworksDeleted", {})

    def prune(self, things, path, key, filters):
        try:
            status, answer = self.engine.request("POST", path, filters={"label": [f"owner={self.label}"], **filters})
        except Lost:
            for thing in things:
                thing.unanswered(ABSENT)
            raise
        self.expect(status, [200], f"{path} {answer}")
        for thing in list(things):
            if thing.name in (answer[key] or []):
                thing.seen(path, THERE)
                thing.states = {ABSENT}
        self.forget()

    # --- looking ---

    def inspect_state(self, thing):
        status, answer = self.engine.request("GET", f"/containers/{self.handle(thing)}/json")
        if status == 404:
            return None
        self.expect(status, [200], f"inspect {thing.name}: {answer}")
        if thing.id is None:
            thing.id = answer["Id"]
        return answer["State"]

    def look(self, thing):
        """One that may be in several states is in one of them, and stays there once somebody has seen it."""
        if thing.doomed:
            # Its processes may have got the signal and end at any moment, so only an answered stop says what it is.
            self.act(thing, "stop", {RUNNING: EXITED, PAUSED: EXITED}, (204,), (304,), t=2)
            thing.doomed = False
        if len(thing.states) > 1:
            state = self.inspect_state(thing)
            thing.seen("inspect", state["Status"] if state else ABSENT)

    def inspect(self):
        self.some(CREATED, RUNNING, PAUSED, EXITED)
        self.forget()

    def forget(self):
        """What is known to be absent is no longer looked at."""
        for things in (self.model.containers, self.model.volumes, self.model.networks, self.model.tags):
            things[:] = [t for t in things if t.states != {ABSENT}]

    def listing(self):
        path = self.random.choice(["/containers/json?all=1", "/images/json", "/volumes", "/networks", "/info",
                                   "/system/df", "/gantry/jobs", "/version", "/containers/json?all=1&size=1"])
        status, answer = self.engine.request("GET", path)
        self.expect(status, [200], f"{path} {answer}")

    def events(self):
        status, answer = self.engine.request("GET", "/events?since=1&until=2")
        self.expect(status, [200], f"events {answer}")

    # --- everybody's containers: any answer but a fault of the engine's is right ---

    def meddle(self):
        name = self.random.choice(SHARED)
        path = f"/containers/{name}"
        self.engine.request(*self.random.choice([
            ("POST", f"{path}/start"), ("POST", f"{path}/stop?t=1"), ("POST", f"{path}/kill"), ("POST", f"{path}/pause"),
            ("POST", f"{path}/unpause"), ("POST", f"{path}/restart?t=1"), ("DELETE", f"{path}?force=1"), ("DELETE", path),
            ("GET", f"{path}/json"), ("GET", f"{path}/top"), ("GET", f"{path}/logs?stdout=1"),
            ("POST", f"{path}/rename?name={self.random.choice(SHARED)}"),
            *[("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": ["sh", "-c", INIT]})] * 5,
            *[("POST", f"{path}/start")] * 3]))


WEIGHTS = {"create": 8, "start": 5, "stop": 4, "restart": 3, "kill": 3, "kill_shim": 1, "pause": 3, "unpause": 4,
           "remove": 4, "rename": 2, "update": 2, "execute": 10, "logs": 4, "run": 8, "prune_containers": 0.5,
           "volume_create": 3, "volume_remove": 2, "network_create": 2, "network_remove": 2, "tag": 4, "load": 2,
           "load_import": 2, "untag": 4, "prune_images": 0.5, "prune_volumes": 0.5, "prune_networks": 0.5, "inspect": 8,
           "listing": 5, "events": 1, "meddle": 8}


def parent_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def program_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.path.basename(file.read().split(b"\0")[0]).decode()
    except OSError:
        return ""


def tarball(rng):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(rng.randrange(1, 5)):
            data = rng.randbytes(rng.randrange(1, 100000))
            entry = tarfile.TarInfo(f"file-{number}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()
