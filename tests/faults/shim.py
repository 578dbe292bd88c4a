"""The shim's own steps, and those of the container's init before it is the program.

A shim reads what is armed when it is spawned, and cannot be asked later: so the daemon is armed before a start,
disarmed right after it, and what was passed is read from the file that all shims share.
"""

import os
import signal

from cases import NETWORK, Case
from engine import eventually
from points import OF_SHIMS
from world import snapshot

SHIM_CASES = []


def shim_case(cls):
    SHIM_CASES.append(cls)
    return cls


class ShimCase(Case):
    walked = set()  # points of cases before this one
    job = "the shim"
    host = {"NetworkMode": NETWORK, "Memory": 64 << 20}

    def __init__(self, engine, walk):
        super().__init__(engine, walk)
        self.w = walk

    def prepare(self, policy=""):
        self.create(host={**self.host, "RestartPolicy": {"Name": policy}})

    def begin(self):
        """Up to where this case differs; the answer of a start that failed, or None."""
        answer = self.engine.ask("POST", "/containers/walked/start")
        return None if answer.ok else answer

    def go_on(self):
        """What follows a start that succeeded; its Answer, or None when there is nothing to ask."""

    def reach(self):
        self.engine.forget_seen()
        self.prepare()
        self.begin()
        self.go_on()
        eventually(2, lambda: "shim.running" in {name for _, name in self.engine.seen()})
        self.w.settle()
        seen = {name for _, name in self.engine.seen() if name.startswith(OF_SHIMS)}
        self.remove()
        self.w.same(self.w.base, "left behind by an undisturbed run:")
        return seen

    def walk(self):
        seen = []
        self.w.attempt(f"{self.label}: undisturbed", lambda: seen.extend(sorted(self.reach() - ShimCase.walked)))
        ShimCase.walked |= set(seen)
        for name in seen:
            todo = [("kill", "", "kill"), ("kill and restart", "always", "kill")]
            if self.w.points.get(name):
                todo.insert(0, ("error", "", "error(28)"))
            for verb, policy, action in todo:
                title = f"{self.label}: {verb} {name}"
                if self.w.chosen(title):
                    self.w.attempt(title, lambda n=name, p=policy, a=action: self.disturbed(n, p, a), self)

    def disturbed(self, name, policy, action):
        self.prepare(policy)
        before = snapshot(self.engine)
        self.engine.forget_seen()
        self.engine.arm(f"{name}={action}@1")
        failed = self.begin()
        self.engine.arm()
        later = None if failed else self.go_on()
        reached = lambda: name in {n for _, n in self.engine.seen()}
        self.expect(eventually(5, reached), "the point was not reached")
        if failed:
            self.refused_start(name, action, failed, before)
        elif action.startswith("error"):
            self.refused_later(name, later)
        else:
            self.died(name, policy)
        self.remove()
        self.w.same(self.w.base, "left behind after all was undone:")

    def expect(self, condition, text, *details):
        if not condition:
            raise AssertionError(text + "".join(f"\n    {line}" for line in details))

    def refused_start(self, name, action, failed, before):
        self.expect(failed.message, "the start failed without a word")
        if action.startswith("error") and name != "shim.create":
            self.expect("failpoint" in failed.message, f"the report does not say why: {failed.message}")
        self.w.settle()
        self.expect(self.status() in ("created", "exited"), f"after a failed start it is {self.status()}")
        self.w.same(before, "left behind by a failed start:")
        self.again()

    def again(self):
        self.engine.must("POST", "/containers/walked/start")
        self.expect(self.running(), "started again, it does not run")

    def refused_later(self, name, answer):
        self.expect(answer is not None and answer.status >= 400, "the failure was not reported")
        self.expect("failpoint" in answer.message, f"the report does not say why: {answer.message}")
        self.expect(self.running(), "the container does not run any more")

    def died(self, name, policy):
        """The shim has died and init with it; or it was init alone, before it was the program."""
        if name.startswith("init."):
            eventually(5, lambda: self.status() != "running")
            return
        if policy:
            again = lambda: self.status() == "running" and self.container()["RestartCount"] >= 1 and self.running()
            self.expect(eventually(15, again), f"it was not restarted: it is {self.status()}")
            return
        self.expect(eventually(15, lambda: self.status() == "exited"), f"its end is not noticed: it is {self.status()}")
        state = self.container()["State"]
        self.expect(state["ExitCode"] == 137, f"the exit code is {state['ExitCode']}")
        self.expect(state["Error"] or not self.reason_due, "no reason is told")
        self.again()

    reason_due = True


@shim_case
class ShimStart(ShimCase):
    pass


@shim_case
class ShimExec(ShimCase):
    def go_on(self):
        made = self.engine.must("POST", "/containers/walked/exec", {"Cmd": ["sleep", "1000"]})
        return self.engine.ask("POST", f"/exec/{made['Id']}/start", {"Detach": True})

    def died(self, name, policy):
        if name.startswith("init."):  # only the process of the exec
            self.expect(self.running(), "the container does not run any more")
            return
        super().died(name, policy)


@shim_case
class ShimExit(ShimCase):
    reason_due = False  # its word may have been on disk

    def go_on(self):
        eventually(5, lambda: "shim.running" in {n for _, n in self.engine.seen()})
        self.pid = self.container()["State"]["Pid"]
        os.kill(self.pid, signal.SIGKILL)
        eventually(10, lambda: self.container()["State"]["Pid"] != self.pid)


@shim_case
class ShimUndo(ShimCase):
    """The command is not there: what was made is undone."""

    def prepare(self, policy=""):
        self.create(command=["/no-such-command"], host={**self.host, "RestartPolicy": {"Name": policy}})

    def again(self):
        answer = self.engine.ask("POST", "/containers/walked/start")
        self.expect(answer.status in (400, 404), f"started again, it answers {answer.status} {answer.message}")


@shim_case
class ShimUndoEarly(ShimCase):
    """A step of creating the container fails."""

    def prepare(self, policy=""):  # a limit that the kernel refuses
        self.create(host={**self.host, "RestartPolicy": {"Name": policy}, "CpusetCpus": "0", "CpusetMems": "0",
                          "Sysctls": {"net.ipv4.no_such_sysctl": "1"}})

    def again(self):
        answer = self.engine.ask("POST", "/containers/walked/start")
        self.expect(answer.status >= 400, f"started again, it answers {answer.status} {answer.message}")
