"""The engines and runtimes that are measured: Gantry, and whichever of its peers are installed.

Everything lives below one temporary directory, and is stopped by pid.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

import measure

HERE = os.path.dirname(os.path.abspath(__file__))


def call(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, **more).stdout.decode()


def wait_until(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise measure.Failed(f"not in time: {what}")
        time.sleep(0.02)


def use_peers():
    """Those that tests/conformance/engines/peers unpacked are seen in /usr, by this bench's mount namespace only."""
    peers = os.path.join(HERE, "../build/peers/usr")
    if os.path.exists(peers) and not shutil.which("dockerd"):
        call("mount", "-t", "overlay", "-o", f"ro,lowerdir={os.path.abspath(peers)}:/usr", "overlay", "/usr")
        call("mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run")


class Engine:
    """A client's argument list, and the daemon behind it if there is one."""

    def __init__(self, name, clients, process=None, helpers=()):
        self.name, self._clients, self.process, self.helpers = name, clients, process, helpers

    def clients(self):
        return list(self._clients.items())

    def run(self, *arguments):
        return call(*next(iter(self._clients.values())), *arguments)

    def pids(self):
        """The daemon, and those that it cannot do without (dockerd: containerd)."""
        if not self.process:
            return []
        children = [p for p in measure.processes() if measure.parent(p) == self.process.pid]
        return [self.process.pid] + [p for p in children if os.path.basename(os.readlink(f"/proc/{p}/exe")) in self.helpers]

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)


class Workplace:
    def __init__(self, programs):
        self.programs = programs

    def __enter__(self):
        self.root = tempfile.mkdtemp(prefix="gbench.")
        self.image = os.path.join(self.root, "busybox.tar")
        call("/usr/bin/python3", os.path.join(HERE, "../tools/pack_image.py"), self.image, "--busybox", "--name", "busybox:latest")
        return self

    def __exit__(self, *_):
        # In the bench's own mount namespace, whatever a peer left mounted goes with it.
        mounts = [line.split()[1] for line in open("/proc/self/mounts") if line.split()[1].startswith(self.root)]
        for mount in reversed(mounts):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def program(self, name):
        path = os.path.join(self.programs, "bin", name)
        return path if os.path.exists(path) else None

    # --- bare runtimes ---------------------------------------------------------------------------------

    def bundle(self, name, *arguments):
        """A bundle for all runtimes, with the namespaces and limits of an ordinary container."""
        bundle = os.path.join(self.root, name)
        rootfs = os.path.join(bundle, "rootfs")
        for directory in ("bin", "proc", "dev", "sys", "etc", "tmp"):
            os.makedirs(os.path.join(rootfs, directory))
        shutil.copy("/bin/busybox", os.path.join(rootfs, "bin/busybox"))
        for applet in ("true", "sleep"):
            os.symlink("busybox", os.path.join(rootfs, "bin", applet))
        capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"]
        config = {
            "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "hostname": "bench",
            "process": {"cwd": "/", "args": list(arguments), "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
                        "noNewPrivileges": True,
                        "capabilities": {s: capabilities for s in ("bounding", "effective", "permitted")}},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}],
            "linux": {"namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")],
                      "resources": {"pids": {"limit": 100}, "memory": {"limit": 67108864}},
                      "maskedPaths": ["/proc/kcore", "/proc/keys"], "readonlyPaths": ["/proc/sys"]}}
        with open(os.path.join(bundle, "config.json"), "w") as out:
            json.dump(config, out)
        return bundle

    def runtimes(self):
        """Runtime → its program and root."""
        found = {}
        for name in ("gantry-runtime", "crun", "runc"):
            path = self.program(name) if name.startswith("gantry") else shutil.which(name)
            if not path:
                continue
            found[name] = [path, "--root", os.path.join(self.root, "state-" + name)]
        if found.get("crun"):
            subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=False, capture_output=True)
        return found

    # --- engines ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def engines(self, *starts):
        """`starts`: functions of this object; all that there are."""
        started = []
        try:
            for start in starts or (self.gantry, self.dockerd, self.podman):
                engine = start()
                if engine:
                    started.append(engine)
            yield started
        finally:
            for engine in reversed(started):
                engine.stop()

    def daemon(self, name, command):
        log = open(os.path.join(self.root, name + ".log"), "w")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        client = [shutil.which("docker") or self.program("gantry"), "-H", f"unix://{self.root}/{name}/sock"]

        def answers():
            if process.poll() is not None:
                raise measure.Failed(f"{name} ended with status {process.returncode}: " + open(log.name).read()[-500:])
            return subprocess.run(client + ["ps"], check=False, capture_output=True).returncode == 0

        wait_until(answers, f"{name} answers")
        return process

    def roots(self, name):
        os.makedirs(os.path.join(self.root, name))
        flags = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
        return [f"--{flag[2:]}={self.root}/{name}/{path}" for flag, path in flags.items()] + \
               ["-H", f"unix://{self.root}/{name}/sock"]

    def gantry(self):
        if not self.program("gantryd"):
            return None
        process = self.daemon("gantryd", [self.program("gantryd")] + self.roots("gantryd"))
        socket = f"unix://{self.root}/gantryd/sock"
        clients = {"gantry + gantryd": [self.program("gantry"), "-H", socket]}
        if shutil.which("docker"):
            clients["gantryd (docker client)"] = [shutil.which("docker"), "-H", socket]
        engine = Engine("gantryd", clients, process)
        wait_until(lambda: "busybox" in engine.run("images"), "the built-in image is loaded")
        return engine

    def gantry_overlay2(self):
        if not self.program("gantryd"):
            return None
        name = "gantryd-overlay2"
        process = self.daemon(name, [self.program("gantryd"), "--storage-driver", "overlay2", "--bridge", "none"] + self.roots(name))
        return Engine(name, {"gantry, overlay2": [self.program("gantry"), "-H", f"unix://{self.root}/{name}/sock"]}, process)

    def dockerd(self):
        if not shutil.which("dockerd"):
            return None
        process = self.daemon("dockerd", ["dockerd"] + self.roots("dockerd"))
        engine = Engine("dockerd", {"docker + dockerd": [shutil.which("docker"), "-H", f"unix://{self.root}/dockerd/sock"]},
                        process, helpers=("containerd",))
        engine.run("load", "-q", "-i", self.image)
        return engine

    def podman(self):
        if not shutil.which("podman"):
            return None
        runtime = shutil.which("crun") or shutil.which("runc")
        command = ["podman", "--root", f"{self.root}/podman/data", "--runroot", f"{self.root}/podman/run",
                   "--cgroup-manager", "cgroupfs", "--runtime", runtime, "--log-level", "error"]
        # It asks for more open files than it may have here, and wants a policy.
        os.environ["CONTAINERS_CONF"] = os.path.join(self.root, "containers.conf")
        with open(os.environ["CONTAINERS_CONF"], "w") as out:
            out.write('[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=1000:1000"]\n')
        if not os.path.exists("/etc/containers/policy.json"):
            os.environ["HOME"] = os.path.join(self.root, "home")
            os.makedirs(os.path.join(self.root, "home/.config/containers"))
            with open(os.path.join(self.root, "home/.config/containers/policy.json"), "w") as out:
                out.write('{"default": [{"type": "insecureAcceptAnything"}]}')
        engine = Engine("podman", {"podman": command})
        try:
            engine.run("load", "-q", "-i", self.image)
            engine.run("tag", "localhost/busybox:latest", "docker.io/library/busybox:latest")
            engine.run("run", "--rm", "busybox", "true")
        except subprocess.CalledProcessError as error:
            print(f"podman is left out: {error.stderr.decode(errors='replace').strip()}")
            return None
        return engine
