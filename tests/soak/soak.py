#!/usr/bin/python3
"""Clients doing random operations on one daemon that is killed again and again; see README.md here.

usage: soak.py --program GANTRYD --root DIRECTORY [--seconds N] [--clients N] [--seed N]

Prints what was done and what it cost; the exit status is 1 when something was not as it must be. The directory keeps
the daemon's log.
"""

import argparse
import json
import os
import random
import sys
import threading
import time
import traceback

import audit
from engine import Engine, Failure, Lost, eventually
from images import Images
from model import ABSENT, RUNNING
from operations import INIT, SHARED, Client


class Soak:
    def __init__(self, options):
        self.options = options
        self.engine = Engine(options.program, options.root)
        rng = random.Random(options.seed)
        images = Images(rng)
        self.clients = [Client(self.engine, n, options.seed, images) for n in range(options.clients)]
        self.random = rng
        self.failures = []
        self.began = time.monotonic()
        self.over = threading.Event()

    def fail(self, where, error):
        self.failures.append(f"{where}: {error}")
        self.say("\n    ".join([self.failures[-1], *self.engine.trace[threading.get_ident()]]))
        self.over.set()

    def guarded(self, where, body):
        try:
            body()
        except Failure as failure:
            self.fail(where(), failure)
        except Exception:  # a fault of the driver is to be seen as well
            self.fail(where(), traceback.format_exc())

    def phase(self, seconds, kills):
        """All clients for that long, with or without kills of the daemon."""
        deadline = time.monotonic() + seconds

        def client_loop(client):
            while time.monotonic() < deadline and not self.over.is_set():
                client.step()

        threads = [threading.Thread(target=self.guarded, args=(
            lambda c=c: f"client {c.number} in {c.doing}", lambda c=c: client_loop(c))) for c in self.clients]
        for thread in threads:
            thread.start()
        while kills and not self.over.is_set():
            pause = min(self.random.expovariate(1 / 3), 15)
            if time.monotonic() + pause >= deadline:
                break
            self.over.wait(pause)
            self.guarded(lambda: "killing the daemon", self.crash)
        for thread in threads:
            thread.join()
        if self.engine.process.poll() is not None and not self.over.is_set():
            self.fail("phase", f"the daemon died: status {self.engine.process.returncode}")

    def crash(self):
        if self.engine.process.poll() is not None:
            raise Failure(f"the daemon had died: status {self.engine.process.returncode}")
        self.engine.kill()
        if self.random.random() < 0.2:  # and again while it starts
            self.engine.process = None
            self.engine.kills += 1
            self.start_and_kill()
        self.engine.start()

    def start_and_kill(self):
        import subprocess
        process = subprocess.Popen(self.engine.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(self.random.random() * 0.1)  # the moment is what varies
        process.kill()
        process.wait()

    def cost_at_rest(self):
        """With no container running, since each holds a few descriptors of the daemon's."""
        for client in self.clients:
            client.stop_all()
        for container in self.engine.request("GET", "/containers/json")[1]:
            self.engine.request("POST", f"/containers/{container['Id']}/stop", t=1)
        return audit.quiet_cost(self.engine)

    # --- the end ---

    def settle_restarts(self):
        """What the restart policy owes: a container that was running is running again."""
        for client in self.clients:
            for thing in client.model.containers:
                if getattr(thing, "restart", False) and thing.states == {RUNNING}:
                    client.await_state(thing, RUNNING)

    def compare(self):
        audit.settle(self.engine)
        self.settle_restarts()
        found = []

        def same():
            found[:] = audit.complaints(self.engine, self.clients)
            return not found
        try:
            eventually("the daemon has what was acknowledged", same, 20)
        except Failure:
            self.failures += found
        for client in self.clients:
            client.doing = "logs at the end"
            for _ in range(4):
                client.logs()

    def remove_everything(self):
        for container in self.engine.request("GET", "/containers/json", all=1)[1]:
            status, answer = self.engine.request("DELETE", f"/containers/{container['Id']}", force=1, v=1)
            if status not in (204, 404):
                raise Failure(f"rm -f {container['Names']}: {status} {answer}")
        for volume in self.engine.request("GET", "/volumes")[1]["Volumes"] or []:
            self.must(204, "DELETE", f"/volumes/{volume['Name']}")
        for network in self.engine.request("GET", "/networks")[1]:
            if network["Name"] not in ("bridge", "host", "none"):
                self.must(204, "DELETE", f"/networks/{network['Id']}")
        for image in self.engine.request("GET", "/images/json")[1]:
            self.must(200, "DELETE", f"/images/{image['Id']}", force=1)
        audit.settle(self.engine)

    def must(self, wanted, method, path, **query):
        status, answer = self.engine.request(method, path, **query)
        if status != wanted:
            raise Failure(f"{method} {path}: {status} {answer}")

    def run(self):
        seconds = self.options.seconds
        self.engine.start()
        eventually("busybox is there", lambda: self.engine.request("GET", "/images/busybox/json")[0] == 200)
        self.phase(seconds * 0.6, kills=True)
        if not self.failures:
            self.guarded(lambda: "after the kills", self.compare)
        self.say("compared after the kills")
        if self.failures:
            return
        # A daemon that lives long: warm up, then see that as much again costs nothing.
        self.engine.stop()
        self.engine.start()
        self.phase(seconds * 0.2, kills=False)
        if self.failures:
            return
        self.before = self.cost_at_rest()
        self.phase(seconds * 0.2, kills=False)
        if self.failures:
            return
        self.after = self.cost_at_rest()
        self.failures += audit.growth(self.before, self.after)
        self.guarded(lambda: "at the end", self.compare)
        self.guarded(lambda: "removing everything", self.remove_everything)
        self.engine.stop()
        self.failures += audit.database_complaints(f"{self.options.root}/data/gantry.db")
        self.guarded(lambda: "at the end", lambda: audit.check_empty(self.engine))

    def say(self, what):
        print(f"{time.monotonic() - self.began:6.1f} s  {what}", flush=True)

    def report(self):
        self.say("done")
        done = {}
        for client in self.clients:
            for name, count in client.count.items():
                done[name] = done.get(name, 0) + count
        print(f"seed {self.options.seed}: {sum(done.values())} operations, {self.engine.kills} kills of the daemon, "
              f"slowest start {self.engine.slowest_start:.2f} s")
        print("  " + ", ".join(f"{name} {count}" for name, count in sorted(done.items())))
        for when in ("before", "after"):
            if hasattr(self, when):
                print(f"  {when}: {json.dumps(getattr(self, when))}")
        for failure in self.failures:
            print(f"FAILURE {failure}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    soak = Soak(parser.parse_args())
    print(f"seed {soak.options.seed}", flush=True)
    soak.guarded(lambda: "the soak", soak.run)
    if soak.failures and soak.engine.process.poll() is None:
        soak.guarded(lambda: "removing everything", soak.remove_everything)
    if soak.engine.process and soak.engine.process.poll() is None:
        soak.guarded(lambda: "the end", soak.engine.stop)
    soak.report()
    return 1 if soak.failures else 0


sys.exit(main())
