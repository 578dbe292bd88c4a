#!/usr/bin/python3
"""Runs a virtual machine from the images in DIRECTORY (see tests/vm/image).

usage: machine.py snapshot DIRECTORY VARIANT           boots it and keeps it as it is once it is up
       machine.py run DIRECTORY VARIANT TREE COMMAND…  goes on from there, in a copy of the tar archive TREE; the
                                                       command's output on stdout, its exit status returned,
                                                       125 if it never ended; MACHINE_TIMEOUT seconds at most

VARIANT is plain (process 1 is guest/init), systemd, or power: plain with one more disk, for power_loss.py. There is no KVM in it: the code is translated, which is the
same on every host, and makes every run several times slower than the host.
"""

import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

INIT = {"plain": "/sbin/gantry-vm-init", "systemd": "/lib/systemd/systemd", "power": "/sbin/gantry-vm-init"}
MEMORY = 1 << 30
DISK = 512 << 20  # of the job; the same in the snapshot
DATA_DISK = 512 << 20  # of the power variant
READY, EXIT = "=MACHINE-READY=", "=MACHINE-EXIT="
UNFINISHED = 125


def data_disk(node):
    """A disk with a write-back cache, of which the guest is told, on a block node: a QMP description of it."""
    return ("-blockdev", json.dumps({"node-name": "data", "driver": "raw", "file": node}),
            "-device", "virtio-blk-pci,drive=data,write-cache=on,addr=0x10")  # found after the others


class Machine:
    """A QEMU process; its monitor speaks QMP on a socket pair, its console and its port write to pipes."""

    def __init__(self, directory, variant, disk, memory, extra=(), data=None):
        ours, theirs = socket.socketpair()
        self.port, port = os.pipe()
        self.console, console = os.pipe()
        os.set_inheritable(theirs.fileno(), True)
        command = [
            "qemu-system-x86_64", "-M", "q35,memory-backend=ram", "-object", memory,
            "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", f"{MEMORY >> 20}M",
            "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", f"{directory}/vmlinuz", "-initrd", f"{directory}/initramfs",
            "-append", f"console=ttyS0 quiet loglevel=1 panic=-1 gantry.init={INIT[variant]}",
            "-chardev", f"file,id=console,path=/dev/fd/{console}", "-serial", "chardev:console",
            "-drive", f"file={directory}/root.ext4,format=raw,if=virtio,readonly=on",
            "-drive", f"file={disk},format=raw,if=virtio,readonly=on",
            "-drive", f"file={directory}/scratch.ext4,format=raw,if=virtio,snapshot=on",
            "-device", "virtio-serial-pci", "-chardev", f"file,id=port,path=/dev/fd/{port}",
            "-device", "virtserialport,chardev=port",
            "-chardev", f"socket,id=monitor,fd={theirs.fileno()}", "-mon", "chardev=monitor,mode=control",
            *(data_disk(data or {"driver": "file", "filename": f"{directory}/power.disk"}) if variant == "power" else ()),
            *extra]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr,
                                        pass_fds=(theirs.fileno(), port, console))
        for descriptor in (port, console):
            os.close(descriptor)
        theirs.close()
        self.socket = ours
        self.monitor = ours.makefile("rw")
        self.answer("QMP")
        self.do("qmp_capabilities")

    def answer(self, *keys):
        for line in self.monitor:
            message = json.loads(line)
            if "error" in message:
                raise RuntimeError(f"qemu: {message['error']['desc']}")
            if any(key in message for key in keys):
                return message
        raise RuntimeError("qemu ended")

    def do(self, command, **arguments):
        self.monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.monitor.flush()
        return self.answer("return")["return"]

    def enable(self, *capabilities):
        self.do("migrate-set-capabilities",
                capabilities=[{"capability": name, "state": True} for name in capabilities])

    def event(self, name, **wanted):
        while True:
            message = self.answer("event")
            data = message.get("data", {})
            if message["event"] == name and data.get("status") == "failed":
                raise RuntimeError(f"qemu: {name}: failed")
            if message["event"] == name and all(data.get(k) == v for k, v in wanted.items()):
                return

    def close(self):
        self.process.kill()
        self.process.wait()


def snapshot(directory, variant):
    kept = f"{directory}/{variant}"
    for path in (f"{kept}.state", f"{kept}.ram"):
        if os.path.exists(path):
            os.unlink(path)
    files = [(f"{directory}/empty", DISK), (f"{kept}.ram", MEMORY)]
    if variant == "power":
        files.append((f"{directory}/power.disk", DATA_DISK))
    for path, size in files:
        with open(path, "w") as file:
            file.truncate(size)
    machine = Machine(directory, variant, f"{directory}/empty",
                      f"memory-backend-file,id=ram,size={MEMORY},mem-path={kept}.ram,share=on")
    watchdog = threading.Timer(300, machine.process.kill)
    watchdog.start()
    try:
        seen = []
        for line in os.fdopen(machine.console, errors="replace"):
            seen.append(line)
            if READY in line:
                break
        else:
            raise RuntimeError("the machine did not come up:\n" + "".join(seen[-30:]))
        machine.enable("x-ignore-shared", "events")  # the memory is in its file already
        machine.do("migrate", uri=f"exec:cat >{shlex.quote(kept)}.partial")
        machine.event("MIGRATION", status="completed")
        machine.do("quit")
        machine.process.wait()
    finally:
        watchdog.cancel()
        machine.close()
    os.rename(f"{kept}.partial", f"{kept}.state")


def job_disk(path, tree, command):
    """A copy of the tree's archive with the job behind it, as large as the disk in the snapshot."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copyfile(tree, path)
        for name, content in ((".job", command.encode()), (".now", b"%d" % time.time()), (".seed", os.urandom(64))):
            with open(f"{scratch}/{name}", "wb") as file:
                file.write(content)
        subprocess.run(["tar", "-rf", path, "-C", scratch, ".job", ".now", ".seed"], check=True)
    if os.path.getsize(path) > DISK:
        raise RuntimeError(f"{tree} is larger than {DISK >> 20} MiB")
    os.truncate(path, DISK)


def copy_output(descriptor):
    """What the job writes, to stdout; its exit status."""
    status, held = UNFINISHED, []
    for line in os.fdopen(descriptor, errors="replace"):
        if line.startswith(EXIT):
            status = int(line.split("=")[2])
            break
        held.append(line)
        if line.strip():  # the empty line before the status is not the job's
            sys.stdout.write("".join(held))
            sys.stdout.flush()
            held = []
    return status


@contextlib.contextmanager
def resumed(directory, variant, tree, command, data=None):
    """A machine that goes on from the snapshot with the job; killed at the end, if it still is there."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="run.") as scratch:
        disk = f"{scratch}/disk"
        job_disk(disk, tree, shlex.join(command))
        machine = Machine(directory, variant, disk,
                          f"memory-backend-file,id=ram,size={MEMORY},mem-path={directory}/{variant}.ram,share=off",
                          ("-incoming", "defer"), data)
        watchdog = threading.Timer(float(os.environ.get("MACHINE_TIMEOUT", 900)), machine.process.kill)
        watchdog.start()
        machine.console_lines = []
        reader = threading.Thread(
            target=lambda: machine.console_lines.extend(os.fdopen(machine.console, errors="replace")))
        reader.start()
        try:
            machine.enable("x-ignore-shared")
            machine.do("migrate-incoming", uri=f"exec:cat {shlex.quote(directory)}/{variant}.state")
            yield machine
        finally:
            watchdog.cancel()
            machine.close()
            reader.join()


def run(directory, variant, tree, *command):
    with resumed(directory, variant, tree, command) as machine:
        status = copy_output(machine.port)
        if status != UNFINISHED:
            machine.process.wait()
    if status == UNFINISHED:
        sys.stderr.write("the virtual machine ended before its job did; its console:\n"
                         + "".join(machine.console_lines[-40:]))
    return status


def main(arguments):
    verb, directory, *rest = arguments
    try:
        return {"snapshot": snapshot, "run": run}[verb](os.path.abspath(directory), *rest) or 0
    except RuntimeError as error:
        sys.stderr.write(f"machine: {error}\n")
        return UNFINISHED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
