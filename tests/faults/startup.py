"""The steps of a daemon's start, with much to put right: a container that runs on, one that ended meanwhile,
and a job that was interrupted."""

import os
import signal

from cases import NETWORK, Case
from engine import Died, eventually
from world import snapshot

SCOPES = ("", "network.restore", "container.adopt", "reconcile")
STARTUP_CASES = []


def startup_case(cls):
    STARTUP_CASES.append(cls)
    return cls


@startup_case
class Startup(Case):
    job, jobs = "the start", {"network.restore", "container.adopt"}

    scopes = SCOPES

    def __init__(self, engine, walk):
        super().__init__(engine, walk)
        self.w = walk

    def prepare(self):
        self.run("keep")
        self.pid = self.container("keep")["State"]["Pid"]
        before = snapshot(self.engine)
        self.run("lost")
        with open(f"/proc/{self.container('lost')['State']['Pid']}/status") as status:
            shim = next(int(line.split()[1]) for line in status if line.startswith("PPid:"))
        self.engine.arm("container.create/container.made=kill")
        try:
            self.create("half", Volumes={"/etc": {}})
        except Died:
            pass
        eventually(5, self.engine.dead)
        os.kill(shim, signal.SIGKILL)
        return before

    def undo(self):
        self.remove("keep")
        self.remove("lost")

    def right(self, before):
        self.expect(self.running("keep") and self.container("keep")["State"]["Pid"] == self.pid, "what ran does not run")
        self.expect(eventually(15, lambda: self.status("lost") == "exited"), f"what ended is {self.status('lost')}")
        self.expect(self.container("lost")["State"]["ExitCode"] == 137, "its exit code is lost")
        self.expect(self.status("half") == "absent", "a container is there by half")
        self.remove("lost")
        self.w.same(before, "not put right by the start:")
        self.remove("keep")
        self.w.same(self.w.base, "left behind after all was undone:")

    def still(self):
        """What must hold of a daemon that came up although a step of its start failed."""
        self.expect(self.running("keep"), "what ran does not run")

    def expect(self, condition, text):
        if not condition:
            raise AssertionError(text)

    def passed_by_start(self):
        before = self.prepare()
        self.expect(self.engine.start(), "the daemon does not start")
        self.w.settle()
        eventually(10, lambda: self.status("lost") == "exited")
        eventually(2, lambda: ("reconcile", "engine.repair.marked") in self.engine.passed())
        passed = self.engine.passed()
        self.engine.arm()
        self.right(before)
        return passed

    def reach(self):
        return {name for _, name in self.passed_by_start()}

    def walk(self):
        passed = {}
        self.w.attempt(f"{self.label}: undisturbed", lambda: passed.update(self.passed_by_start()), self)
        for (scope, name), passes in sorted(passed.items()):
            if scope not in self.scopes:
                continue
            for count in range(1, min(passes, 3) + 1):
                for action in ("error(5)", "kill"):
                    title = f"{self.label}: {action.split('(')[0]} {name}@{count} in {scope or 'main'}"
                    if self.w.chosen(title) and (action == "kill" or self.w.points.get(name)):
                        self.w.attempt(title, lambda k=f"{scope}/{name}", a=action, c=count: self.disturbed(k, a, c), self)

    def disturbed(self, key, action, count):
        before = self.prepare()
        up = self.engine.start(f"{key}={action}@{count}")
        if action == "kill":
            self.expect(eventually(5, self.engine.dead), "the point was not reached")
        elif up:
            self.still()
            self.w.settle()
            self.engine.kill()
        else:
            self.expect("failpoint" in self.engine.log_end(), "it ended without a word: " + self.engine.log_end())
        self.expect(self.engine.start(), "the daemon does not start again: " + self.engine.log_end())
        self.right(before)


@startup_case
class Rebuild(Startup):
    """The database is gone: images and volumes are made again, whenever that is cut short."""
    job, jobs = "the start without a database", {"system.rebuild"}
    scopes = ("", "system.rebuild", "network.restore", "reconcile")

    def prepare(self):
        self.engine.must("POST", "/volumes/create", {"Name": "faults-kept"})
        with open(self.engine.data + "/volumes/faults-kept/_data/file", "w") as file:
            file.write("precious")
        self.w.settle()
        self.engine.stop()
        for name in os.listdir(self.engine.data):
            if name.startswith("gantry.db"):
                os.unlink(self.engine.data + "/" + name)
        return None

    def undo(self):
        self.engine.ask("DELETE", "/volumes/faults-kept")

    def passed_by_start(self):
        self.prepare()
        self.expect(self.engine.start(), "the daemon does not start")
        self.expect(self.exists("/images/busybox/json"), "there is no image")
        self.w.settle()
        passed = self.engine.passed()
        self.engine.arm()
        self.right(None)
        return passed

    def right(self, before):
        self.expect(self.exists("/images/busybox/json"), "the image is lost")
        self.expect(self.exists("/volumes/faults-kept"), "the volume is lost")
        with open(self.engine.data + "/volumes/faults-kept/_data/file") as file:
            self.expect(file.read() == "precious", "the volume's data is lost")
        self.run("again")
        self.remove("again")
        self.undo()
        report = self.engine.must("POST", "/gantry/system/check?repair=1&content=1")
        self.expect(report["Unrepaired"] == 0, f"not repaired: {report['Findings']}")
        report = self.engine.must("POST", "/gantry/system/check?content=1")
        self.expect(not report["Findings"], f"not sound: {report['Findings']}")
        self.network()
        self.w.settle()
        self.w.base = snapshot(self.engine)

    def network(self):
        """The walk's own, which went with the database."""
        if not self.exists("/networks/" + NETWORK):
            self.engine.must("POST", "/networks/create", {
                "Name": NETWORK, "IPAM": {"Config": [{"Subnet": "10.213.0.0/29"}]}})

    def run(self, name="walked", **more):
        return super().run(name, host={}, **more)

    def still(self):
        self.expect(os.path.exists(self.engine.data + "/volumes/faults-kept/_data/file"), "the volume's data is lost")
