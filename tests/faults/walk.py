#!/usr/bin/python3
"""Walks the failpoints of every job: at each, the step fails, and then the daemon is killed.

usage: walk.py BUILD DIRECTORY [--group NAME]… [--case CLASS]… [--part N/M] [--only SUBSTRING] [--seed TEXT]

After an error the job reports it, leaves nothing behind, and can be done again. After a kill and a new start
nothing is left behind, what was acknowledged is there, and what was not is there wholly or not at all. The
groups are container, image, network, volume, system, shim, startup, and list: that each job type has a case, and each
failpoint of the sources is reached. --part takes every M-th pair, a different set for each seed.
"""

import argparse
import errno
import hashlib
import os
import sys
import time
import traceback

import points
import world
from cases import CASES, NETWORK, Case
from engine import Died, Engine, eventually
from shim import SHIM_CASES
from startup import STARTUP_CASES

ERRORS = (errno.ENOSPC, errno.EIO)
MOST_PASSES = 4  # of one point in one run that are walked
SECONDS = 15
BACKGROUND = ("releaser", "monitor")

# Steps whose failure is rightly none of the job's: (job or "", point): why.
NOT_AN_ERROR = {
    ("", "resource.release."): "what cannot be given back now is given back by the releaser",
    ("", "resource.released."): "the same",
    ("", "layer.container.discard"): "a release",
    ("", "layer.discard"): "a release",
    ("", "layer.trash"): "a release",
    ("", "content.remove"): "a release",
    ("network.remove", "network.bridge.close"): "a release",
    ("network.remove", "network.bridge.delete"): "a release",
    ("container.exit", ""): "nobody asked for it: it is tried again",
    ("container.failed", ""): "the start that failed is what is reported",
}


class Failure(Exception):
    pass


def expect(condition, text, *details):
    if not condition:
        raise Failure(text + "".join(f"\n    {line}" for line in details))


def number_of(text):
    return int(hashlib.sha1(text.encode()).hexdigest(), 16)


def excused(job, name):
    return any((job == j or not j) and name.startswith(prefix) for j, prefix in NOT_AN_ERROR)


class Walk:
    def __init__(self, engine, arguments):
        self.engine, self.arguments = engine, arguments
        self.failures, self.counts, self.reached = [], {}, set()
        self.base = None

    # --- the world

    def settle(self):
        eventually(SECONDS, self.engine.at_rest)

    def same(self, before, what):
        """Nothing came and nothing went since `before`, as soon as the background is done."""
        left = []

        def look():
            left[:] = world.difference(before, world.snapshot(self.engine))
            return not left

        eventually(SECONDS, look)
        expect(not left, what, *left[:30])

    def set_up(self):
        expect(self.engine.start(), "the daemon does not start", self.engine.log_end())
        expect(eventually(30, lambda: self.engine.ask("GET", "/images/busybox/json").ok), "there is no image")
        self.engine.must("POST", "/networks/create", {
            "Name": NETWORK, "IPAM": {"Config": [{"Subnet": "10.213.0.0/29"}]}})
        kinds = self.engine.failpoints()["Kinds"]
        self.points = points.all_points(points_root(), kinds)
        self.settle()
        self.base = world.snapshot(self.engine)

    # --- one pair

    def act(self, case):
        """The answer, or None when the daemon died on the way."""
        try:
            return case.act()
        except Died:
            return None

    def pair(self, case, specification, check):
        case.prepare()
        self.settle()
        before = world.snapshot(self.engine)
        self.engine.arm(specification)
        check(case, before)

    def again_and_undo(self, case):
        if not case.refused or not case.done():
            if not case.done():
                answer = self.act(case)
                expect(answer is not None, "it died of doing it again")
                expect(answer.ok or case.refused, "it cannot be done again", answer.message)
                expect(eventually(5, case.done), "done again, it is not done")
        case.undo()
        self.same(self.base, "left behind after all was undone:")

    def error(self, case, name, count):
        # A full disk inside a transaction is met with the log's room and, by what gives back, with the
        # reserve: that is no failure.
        code = errno.EIO if name.startswith(("database.", "gc.commit")) else ERRORS[number_of(case.label + name) % len(ERRORS)]

        def check(case, before):
            answer = self.act(case)
            expect(answer is not None, "the daemon died", self.engine.log_end())
            fired = self.engine.fired() or self.scope in BACKGROUND and eventually(5, self.engine.fired)
            expect(fired or count > 1, "the point was not reached")
            told = answer.status >= 400
            self.settle()
            self.engine.arm()
            if fired and not case.refused and not excused(case.job, name) and case.job == self.scope:
                expect(told, f"the failure was not reported: {answer.status} {answer.message}")
                expect("failpoint" in answer.message, f"the report does not say why: {answer.message}")
            if told and not case.refused and not case.changes_on_error:
                expect(not case.done(), "it was refused and is done")
                case.sound()
                self.same(before, "left behind by the failed job:")
            elif not told:
                case.sound()
                expect(eventually(SECONDS, case.done), f"it was reported as done and is not: {answer.message}")
            self.again_and_undo(case)

        self.pair(case, f"{self.scope}/{name}=error({code})@{count}", check)

    def kill(self, case, specification, maybe=False):
        def check(case, before):
            answer = self.act(case)
            died = bool(eventually(SECONDS if not maybe else 0.3, self.engine.dead))
            expect(died or maybe, "the point was not reached", str(answer and answer.message))
            if not died:
                self.engine.kill()
            expect(self.engine.start(), "the daemon does not start again", self.engine.log_end())
            done = case.done()
            if answer is not None and answer.ok and not hasattr(case, "lost_with_daemon"):
                done = eventually(SECONDS, case.done)
                expect(done, "it was acknowledged and is lost")
            if not done and not case.changes_on_error:
                self.same(before, "left behind by the killed job:")
            self.again_and_undo(case)

        self.pair(case, specification, check)

    # --- the points of a case

    def record(self, case, specification=""):
        """{(scope, name): passes} of a run; disturbed only by `specification`."""
        case.prepare()
        self.settle()
        self.engine.arm(specification)
        answer = self.act(case)
        expect(answer is not None, "the daemon died undisturbed")
        if not specification:
            expect(answer.ok != case.refused, f"undisturbed, it answers {answer.status} {answer.message}")
            expect(eventually(5, case.done), "undisturbed, it is not done")
        self.settle()
        time.sleep(0)
        passed = self.engine.passed()
        self.engine.arm()
        case.undo()
        self.same(self.base, "left behind by an undisturbed run:")
        self.reached |= {name for _, name in passed} | {name for _, name in self.engine.seen()}
        return passed

    def pairs(self, case, walked):
        """(title, function) of each pair of a case."""
        out = []
        plain = self.record(case)
        mine = {key: passes for key, passes in plain.items() if key[0] == case.job}
        expect(mine, f"{case.job} is not run by its case")
        background = {key: 1 for key in plain if key[0] in BACKGROUND and key not in walked}
        walked |= set(background)
        for (scope, name), passes in sorted({**mine, **background}.items()):
            for count in range(1, min(passes, MOST_PASSES) + 1):
                if self.points.get(name):
                    out.append((scope, f"error {name}@{count}", lambda n=name, c=count: self.error(case, n, c)))
                out.append((scope, f"kill {name}@{count}",
                            lambda n=name, c=count, s=scope: self.kill(case, f"{s}/{n}=kill@{c}", maybe=c > 1)))
        if (case.job, "engine.commit") not in plain:
            return out
        # And what is passed only by a job that fails: at its very end, when it has taken all there is.
        failing = f"{case.job}/engine.commit=error(28)@1"
        for (scope, name), passes in sorted(self.record(case, failing).items()):
            if scope != case.job or passes <= plain.get((scope, name), 0):
                continue
            first = plain.get((scope, name), 0) + 1
            for action in ("kill", "error(5)"):
                # A step that undoes another and fails as well is a second fault; it is only logged.
                if action != "kill" and (not self.points.get(name) or name.startswith("exec.")):
                    continue
                specification = f"{failing};{scope}/{name}={action}@{first}"
                out.append((scope, f"roll back, {action} {name}@{first}",
                            lambda s=specification, a=action: self.kill(case, s, maybe=True) if a == "kill"
                            else self.failed_rollback(case, s)))
        return out

    def failed_rollback(self, case, specification):
        def check(case, before):
            answer = self.act(case)
            expect(answer is not None, "the daemon died", self.engine.log_end())
            self.settle()
            self.engine.arm()
            if not case.refused and not case.changes_on_error and not excused(case.job, ""):
                expect(answer.status >= 400, "the failure was not reported")
                self.same(before, "left behind by the failed job:")
            self.again_and_undo(case)

        self.pair(case, specification, check)

    def chosen(self, title):
        if self.arguments.only and self.arguments.only not in title:
            return False
        part, parts = self.arguments.part
        return number_of(self.arguments.seed + title) % parts == part

    def attempt(self, title, function, case=None):
        kind = title.split(": ", 1)[-1].split()[0]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        try:
            function()
        except Exception as failure:  # whatever it is, it is this pair that failed
            self.failures.append(title)
            text = str(failure) if isinstance(failure, (Failure, AssertionError)) else traceback.format_exc()
            print(f"FAILED {title}\n  {text}\n  the daemon's log ends:", flush=True)
            print("    " + self.engine.log_end(6).replace("\n", "\n    "), flush=True)
            self.recover(case)

    def recover(self, case):
        """After a failure: back to the base by force, so that the next pair begins clean."""
        if self.engine.dead():
            self.engine.start()
        try:
            self.engine.arm()
            if case:
                case.undo()
            for container in self.engine.must("GET", "/containers/json?all=1"):
                self.engine.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
            self.same(self.base, "")
        except Exception:
            try:
                self.engine.kill()
                self.engine.start()
                self.same(self.base, "")
            except Exception as failure:
                print(f"  not even a new start makes it good: {failure}", flush=True)
                self.base = world.snapshot(self.engine)

    def walk_case(self, case_type, walked):
        case = case_type(self.engine, self)
        pairs = []
        self.attempt(f"{case.label}: undisturbed", lambda: pairs.extend(self.pairs(case, walked)), case)
        for scope, title, function in pairs:
            title = f"{case.label}: {title}" + ("" if scope == case.job else f" in the {scope}")
            if not self.chosen(title):
                continue
            self.scope = scope
            if self.arguments.verbose:
                print(title, flush=True)
            self.attempt(title, function, case)

    # --- groups

    def group(self, name):
        if name == "list":
            return self.list()
        if name in ("shim", "startup"):
            for case_type in SHIM_CASES if name == "shim" else STARTUP_CASES:
                case_type(self.engine, self).walk()
            return None
        walked = set()
        for case_type in CASES:
            if case_type.group == name and (not self.arguments.case or case_type.__name__ in self.arguments.case):
                self.walk_case(case_type, walked)
        return None

    def list(self):
        """Every job type has a case, and every failpoint is reached by one."""
        jobs = set(self.engine.failpoints()["Jobs"])
        covered = {case_type.job for case_type in CASES} | {job for c in STARTUP_CASES for job in c.jobs}
        self.attempt("list: job types without a case", lambda: expect(
            not jobs - covered, "write a case in tests/faults/cases.py for", *sorted(jobs - covered)))
        self.attempt("list: cases without a job type", lambda: expect(
            not covered - jobs, "there are no such jobs", *sorted(covered - jobs)))
        for case_type in CASES:
            case = case_type(self.engine, self)
            self.attempt(f"{case.label}: undisturbed", lambda c=case: self.record(c), case)
            if not case.refused:
                self.attempt(f"{case.label}: failing", lambda c=case: self.record(
                    c, f"{c.job}/engine.commit=error(28)@1"), case)
        for case_type in SHIM_CASES + STARTUP_CASES:
            case = case_type(self.engine, self)
            self.attempt(f"{case.label}: undisturbed", lambda c=case: self.reached.update(c.reach()))
        missing = sorted(set(self.points) - self.reached - set(points.EXCUSED))
        self.attempt("list: failpoints", lambda: expect(
            not missing, "no case reaches (tests/faults/points.py has a list of excuses)", *missing))
        for name in sorted(set(points.EXCUSED) & self.reached):
            print(f"note: {name} is reached and needs no excuse in tests/faults/points.py")
        for name in sorted(set(points.EXCUSED) - set(self.points)):
            print(f"note: {name} of tests/faults/points.py is no failpoint")

    def run(self):
        begun = time.monotonic()
        self.set_up()
        for name in self.arguments.group:
            self.group(name)
        descriptors = len(os.listdir(f"/proc/{self.engine.process.pid}/fd"))
        if descriptors > 120:
            self.failures.append(f"the daemon has {descriptors} open files")
        self.engine.stop()
        counted = ", ".join(f"{number} {kind}" for kind, number in sorted(self.counts.items()))
        print(f"{' '.join(self.arguments.group)}: {counted}; {len(self.failures)} failed; "
              f"{time.monotonic() - begun:.0f} s", flush=True)
        return 1 if self.failures else 0


def points_root():
    return os.path.dirname(os.path.abspath(__file__)) + "/../.."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("directory")
    parser.add_argument("--group", action="append")
    parser.add_argument("--case", action="append", help="the class of a case, in cases.py")
    parser.add_argument("--part", default="0/1", type=lambda text: tuple(int(n) for n in text.split("/")))
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", default="")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    arguments.group = arguments.group or ["list", "container", "image", "network", "volume", "system", "shim", "startup"]
    return Walk(Engine(arguments.build, arguments.directory), arguments).run()


if __name__ == "__main__":
    sys.exit(main())
