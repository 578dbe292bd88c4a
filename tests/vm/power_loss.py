#!/usr/bin/python3
"""Cuts the power of a machine whose daemon makes images, tags, volumes and networks (power/guest.py), again and again on
one disk, and sees what was acknowledged come back. Prints lines of a test lane.

usage: power_loss.py DIRECTORY TREE [ROUNDS [SEED]]    DIRECTORY has the images and the snapshot `power`

A cut is a SIGKILL of QEMU, which loses what the guest had in its page cache, and then the loss of what the disk had in
its own: of the writes after the last flush only some are on the disk of the next round (power/disk_log.py).
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/power"]
import disk_log  # noqa: E402
import machine  # noqa: E402

LOG_SIZE = 8 << 30  # sparse


class Failed(Exception):
    pass


class PowerLoss:
    def __init__(self, directory, tree, seed, scratch):
        self.directory, self.tree, self.seed, self.scratch = directory, tree, seed, scratch
        self.random = random.Random(seed)
        self.disk = f"{scratch}/disk.img"
        self.known = {"volume": [], "network": [], "tag": {}, "files": {}}
        with open(self.disk, "w") as file:
            file.truncate(machine.DATA_DISK)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", self.disk], check=True)

    def round(self, number, last):
        """One life of the machine; a line about it."""
        live, log, tree = (f"{self.scratch}/{name}" for name in ("live.img", "log", "tree.tar"))
        subprocess.run(["cp", "--sparse=always", self.disk, live], check=True)
        with open(log, "wb") as file:
            file.truncate(LOG_SIZE)
        shutil.copyfile(self.tree, tree)
        with open(f"{self.scratch}/acknowledged.json", "w", encoding="utf-8") as file:
            json.dump(self.known, file)
        subprocess.run(["tar", "-rf", tree, "-C", self.scratch, "acknowledged.json"], check=True)
        data = {"driver": "blklogwrites", "log-sector-size": 512, "log-super-update-interval": 1,
                "file": {"driver": "file", "filename": live}, "log": {"driver": "file", "filename": log}}
        command = ["python3", "tests/vm/power/guest.py", "/dev/vdd", str(self.seed), str(number)]
        with machine.resumed(self.directory, "power", tree, command, data) as guest:
            checked, acknowledged = self.follow(guest, last)
        kept, lost = disk_log.cut(log, self.disk, self.random)
        os.unlink(log)
        self.fsck()
        return f"{checked}; then {acknowledged} acknowledged, {kept} writes kept and {lost} lost"

    def follow(self, guest, last):
        """Until the power is cut: after the check, some acknowledgements, and a moment."""
        checked, acknowledged, wanted, log = None, 0, self.random.randrange(3, 40), []
        for line in os.fdopen(guest.port, errors="replace"):
            word, _, rest = line.strip().partition(" ")
            if word == "CHECKED":
                checked = rest
                if last:
                    break
            elif word == "ACKNOWLEDGED":
                self.note(json.loads(rest))
                acknowledged += 1
                if acknowledged == wanted:  # the moment is what varies; what is acknowledged meanwhile counts
                    threading.Timer(self.random.uniform(0, 0.6), guest.process.kill).start()
            else:
                log.append(line.rstrip())
        guest.process.kill()
        guest.process.wait()
        if log or checked is None:
            raise Failed(" | ".join(log[-25:]) or "the machine ended: " + "".join(guest.console_lines[-20:]))
        return checked, acknowledged

    def note(self, what):
        if what["kind"] == "tag":
            self.known["tag"][what["name"]] = what["image"]
            self.known["files"][what["name"]] = what["files"]
        else:
            self.known[what["kind"]].append(what["name"])

    def fsck(self):
        copy = f"{self.scratch}/fsck.img"
        subprocess.run(["cp", "--sparse=always", self.disk, copy], check=True)
        replayed = subprocess.run(["e2fsck", "-p", copy], capture_output=True, text=True)
        clean = subprocess.run(["e2fsck", "-fn", copy], capture_output=True, text=True)
        os.unlink(copy)
        if replayed.returncode > 1 or clean.returncode != 0:
            raise Failed(f"the file system is damaged: {replayed.stdout} {clean.stdout}".replace("\n", " "))


def main(directory, tree, rounds="4", seed=None):
    seed = seed or str(random.randrange(1 << 32))
    print(f"power loss with the seed {seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="gantry-power.") as scratch:
        power = PowerLoss(os.path.abspath(directory), tree, seed, scratch)
        for number in range(int(rounds) + 1):
            name = f"vm: power loss: what was acknowledged is there after cut {number}" if number else \
                "vm: power loss: a new disk"
            began = time.monotonic()
            try:
                line = power.round(number, number == int(rounds))
            except (Failed, RuntimeError, subprocess.CalledProcessError) as error:
                print(f"failed\t{name}\tseed {seed}: {error}", flush=True)
                return 1
            print(f"  cut {number}: {line} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
            print(f"passed\t{name}\t", flush=True)
    return 0


sys.exit(main(*sys.argv[1:]))
