"""docker-py against the engine at DOCKER_HOST. Each test leaves nothing behind."""
import io
import socket
import tarfile
import threading
import time
import unittest

import docker
import docker.errors
import docker.types

CLIENT = docker.from_env(version="auto", timeout=30)
LOOP = ["sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"]


def eventually(test, seconds=10):
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Containers(unittest.TestCase):
    def run_loop(self, **more):
        container = CLIENT.containers.run("busybox", LOOP, detach=True, **more)
        self.addCleanup(container.remove, force=True, v=True)
        self.assertTrue(eventually(lambda: b"ready" in container.logs()))
        return container

    def test_run_gives_the_output(self):
        self.assertEqual(CLIENT.containers.run("busybox", "echo hello", remove=True), b"hello\n")

    def test_run_raises_what_the_program_ends_with(self):
        with self.assertRaises(docker.errors.ContainerError) as raised:
            CLIENT.containers.run("busybox", ["sh", "-c", "echo wrong >&2; exit 5"], remove=True)
        self.assertEqual(raised.exception.exit_status, 5)
        self.assertIn(b"wrong", raised.exception.stderr)

    def test_errors_are_of_the_right_kind(self):
        with self.assertRaises(docker.errors.ImageNotFound):
            CLIENT.containers.create("no-such-image", "true")
        with self.assertRaises(docker.errors.NotFound):
            CLIENT.containers.get("nobody")
        with self.assertRaises(docker.errors.APIError) as raised:
            CLIENT.containers.create("busybox", "true", mem_limit=1)
        self.assertTrue(raised.exception.is_client_error())

    def test_the_life_of_a_container(self):
        container = self.run_loop(name="life", labels={"a": "b"}, environment={"X": "1"}, hostname="inside")
        container.pause()
        container.reload()
        self.assertEqual(container.status, "paused")
        container.unpause()
        container.rename("renamed")
        container.reload()
        self.assertEqual(container.name, "renamed")
        container.update(mem_limit="64m", memswap_limit="128m")
        container.reload()
        self.assertEqual(container.attrs["HostConfig"]["Memory"], 64 << 20)
        container.stop(timeout=5)
        self.assertEqual(container.wait()["StatusCode"], 3)
        container.start()
        container.restart(timeout=0)
        container.kill()
        self.assertEqual(container.wait()["StatusCode"], 137)

    def test_exec(self):
        container = self.run_loop()
        code, output = container.exec_run(["sh", "-c", "echo $X; echo e >&2; exit 4"], environment={"X": "y"}, demux=True)
        self.assertEqual((code, output), (4, (b"y\n", b"e\n")))
        code, output = container.exec_run("id -u", user="1000")
        self.assertEqual(output, b"1000\n")
        self.assertEqual(container.exec_run("pwd", workdir="/tmp").output, b"/tmp\n")
        self.assertEqual(b"".join(container.exec_run("echo streamed", stream=True).output), b"streamed\n")

    def test_exec_with_a_terminal_and_input(self):
        container = self.run_loop()
        made = CLIENT.api.exec_create(container.id, "cat", stdin=True, tty=True)
        stream = CLIENT.api.exec_start(made["Id"], socket=True, tty=True)._sock
        CLIENT.api.exec_resize(made["Id"], height=30, width=90)
        stream.sendall(b"typed\n")
        stream.settimeout(10)
        self.assertIn(b"typed", stream.recv(100))
        stream.close()

    def test_attach(self):
        container = CLIENT.containers.create("busybox", ["sh", "-c", "read x; echo got $x"], stdin_open=True)
        self.addCleanup(container.remove, force=True)
        stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})._sock
        container.start()
        stream.sendall(b"this\n")
        received = b""
        while piece := stream.recv(4096):
            received += piece
        self.assertEqual(received[8:], b"got this\n")
        stream.close()

    def test_logs_are_followed(self):
        container = self.run_loop()
        stream = container.logs(stream=True, follow=True, timestamps=True)
        self.assertRegex(next(iter(stream)), rb"^\d{4}-.*Z ready\n$")
        stream.close()

    def test_stats_and_top(self):
        container = self.run_loop()
        self.assertGreater(container.stats(stream=False)["memory_stats"]["usage"], 0)
        samples = container.stats(decode=True)
        self.assertIn("cpu_stats", next(samples))
        samples.close()
        self.assertIn("PID", container.top()["Titles"])

    def test_archives(self):
        container = self.run_loop()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo("put")
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
        self.assertTrue(container.put_archive("/tmp", buffer.getvalue()))
        chunks, stat = container.get_archive("/tmp/put")
        self.assertEqual((stat["name"], stat["size"]), ("put", 3))
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
            self.assertEqual(tar.extractfile("put").read(), b"abc")
        self.assertIn({"Path": "/tmp/put", "Kind": 1}, container.diff())
        with tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))) as tar:
            self.assertIn("tmp/put", tar.getnames())

    def test_list_and_prune(self):
        container = self.run_loop(name="listed", labels={"docker-py": "1"})
        self.assertEqual(CLIENT.containers.list(filters={"label": "docker-py", "status": "running"}), [container])
        container.kill()
        container.wait()
        self.assertEqual(CLIENT.containers.list(filters={"label": "docker-py"}), [])
        pruned = CLIENT.containers.prune(filters={"label": "docker-py"})
        self.assertEqual(pruned["ContainersDeleted"], [container.id])
        CLIENT.containers.create("busybox", "true", name="listed").remove()
        self.doCleanups = lambda: None

    def test_options_take_effect(self):
        container = self.run_loop(
            cap_add=["NET_ADMIN"], cap_drop=["MKNOD"], cpu_shares=512, mem_limit="128m", pids_limit=64, read_only=True,
            tmpfs={"/scratch": "size=1m"}, ulimits=[docker.types.Ulimit(name="nofile", soft=128, hard=128)],
            sysctls={"net.ipv4.ip_forward": "1"}, security_opt=["no-new-privileges"], init=True, shm_size="8m",
            working_dir="/work", user="0:0", devices=["/dev/null:/dev/nil:rw"], extra_hosts={"other": "192.0.2.9"})
        inside = lambda command: container.exec_run(["sh", "-c", command]).output.decode().strip()
        self.assertEqual(inside("ulimit -n"), "128")
        self.assertEqual(inside("cat /proc/sys/net/ipv4/ip_forward"), "1")
        self.assertEqual(inside("pwd"), "/work")
        self.assertIn("Read-only", inside("touch /x 2>&1"))
        self.assertIn("192.0.2.9", inside("cat /etc/hosts"))
        self.assertEqual(inside("test -c /dev/nil && echo yes"), "yes")
        self.assertIn("8192", inside("df -k /dev/shm"))

    def test_health(self):
        container = self.run_loop(healthcheck={"test": ["CMD", "true"], "interval": 100_000_000})

        def healthy():
            container.reload()
            return container.attrs["State"]["Health"]["Status"] == "healthy"

        self.assertTrue(eventually(healthy))


class Others(unittest.TestCase):
    def test_the_system(self):
        self.assertTrue(CLIENT.ping())
        self.assertEqual(CLIENT.version()["Os"], "linux")
        self.assertIn("Containers", CLIENT.info())
        self.assertIn("LayersSize", CLIENT.df())

    def test_events(self):
        seen, started = [], threading.Event()

        def listen():
            stream = CLIENT.events(decode=True, filters={"label": "events-test"})
            started.set()
            for event in stream:
                seen.append(event["Action"])
                if event["Action"] == "destroy":
                    stream.close()
                    return

        listener = threading.Thread(target=listen)
        listener.start()
        started.wait()
        CLIENT.containers.run("busybox", "true", labels=["events-test"], remove=True)
        listener.join(10)
        self.assertEqual([a for a in seen if a in ("create", "start", "die", "destroy")], ["create", "start", "die", "destroy"])

    def test_volumes(self):
        volume = CLIENT.volumes.create("docker-py", labels={"docker-py": "1"})
        self.assertIn(volume, CLIENT.volumes.list(filters={"label": "docker-py"}))
        write = {"docker-py": {"bind": "/data", "mode": "rw"}}
        CLIENT.containers.run("busybox", ["sh", "-c", "echo kept >/data/x"], volumes=write, remove=True)
        mount = docker.types.Mount("/data", "docker-py", read_only=True)
        self.assertEqual(CLIENT.containers.run("busybox", "cat /data/x", mounts=[mount], remove=True), b"kept\n")
        volume.remove()
        with self.assertRaises(docker.errors.NotFound):
            CLIENT.volumes.get("docker-py")

    def test_networks(self):
        network = CLIENT.networks.create("docker-py", labels={"docker-py": "1"}, driver="bridge")
        self.assertEqual(CLIENT.networks.list(names=["docker-py"]), [network])
        container = CLIENT.containers.run("busybox", LOOP, detach=True, network="docker-py")
        network.reload()
        self.assertEqual(network.containers, [container])
        container.remove(force=True)
        network.remove()

    def test_images(self):
        image = CLIENT.images.get("busybox")
        self.assertTrue(image.tag("docker-py/test", "1"))
        saved = b"".join(CLIENT.images.get("docker-py/test:1").save(named="docker-py/test:1"))
        CLIENT.images.remove("docker-py/test:1")
        loaded = CLIENT.images.load(saved)
        self.assertEqual(loaded[0].id, image.id)
        self.assertTrue(loaded[0].history())
        CLIENT.images.remove("docker-py/test:1")
        container = CLIENT.containers.create("busybox", "true")
        committed = container.commit("docker-py/committed", "1", changes=["ENV A=b"])
        self.assertIn("A=b", committed.attrs["Config"]["Env"])
        container.remove()
        CLIENT.images.remove("docker-py/committed:1")

    def test_published_ports(self):
        container = CLIENT.containers.run("busybox", ["httpd", "-f", "-p", "80", "-h", "/etc"], detach=True,
                                          ports={"80/tcp": ("127.0.0.1", None)})
        self.addCleanup(container.remove, force=True)
        container.reload()
        port = int(container.ports["80/tcp"][0]["HostPort"])

        def answers():
            try:
                with socket.create_connection(("127.0.0.1", port), 2) as connection:
                    connection.sendall(b"GET /passwd HTTP/1.0\r\n\r\n")
                    return b"200 OK" in connection.recv(100)
            except OSError:
                return False

        self.assertTrue(eventually(answers))


if __name__ == "__main__":
    unittest.main(warnings="ignore")
