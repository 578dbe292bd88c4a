"""/containers and /exec: each step leaves nothing behind."""
import io
import tarfile
import threading
import time

import client


def frames(stream):
    """Of a multiplexed stream: (number, bytes)."""
    out = []
    while len(stream) >= 8:
        size = int.from_bytes(stream[4:8], "big")
        out.append((stream[0], stream[8:8 + size]))
        stream = stream[8 + size:]
    return out


def archive(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def wait_for(test, seconds=10):
    end = time.monotonic() + seconds
    while not (value := test()) and time.monotonic() < end:
        time.sleep(0.02)
    return value


# Every field of Config and HostConfig that has a place to be seen in.
FULL = {
    "Image": "busybox", "Cmd": ["sleep", "1000"], "Hostname": "full", "Domainname": "example.org", "User": "0:0",
    "AttachStdin": False, "AttachStdout": True, "AttachStderr": True, "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "Tty": False, "OpenStdin": True, "StdinOnce": True, "Env": ["A=1", "B=two words"], "Entrypoint": [],
    "Volumes": {"/anonymous": {}}, "WorkingDir": "/work", "Labels": {"contract": "1", "a.b": "c"},
    "StopSignal": "SIGINT", "StopTimeout": 3, "Shell": ["/bin/sh", "-c"],
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000, "Timeout": 1000000000, "Retries": 3,
                    "StartPeriod": 1000000000, "StartInterval": 1000000000},
    "HostConfig": {
        "Binds": ["/etc:/host-etc:ro"], "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}, "AutoRemove": False,
        "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"], "CgroupnsMode": "private", "Dns": ["192.0.2.1"],
        "DnsOptions": ["ndots:2"], "DnsSearch": ["example.org"], "ExtraHosts": ["other:192.0.2.2"],
        "GroupAdd": ["10"], "IpcMode": "shareable", "OomScoreAdj": 100, "PidMode": "", "Privileged": False,
        "PublishAllPorts": False, "ReadonlyRootfs": True, "SecurityOpt": ["no-new-privileges"],
        "Tmpfs": {"/scratch": "size=1m"}, "UTSMode": "", "ShmSize": 1 << 20,
        "Sysctls": {"net.ipv4.ip_forward": "1"}, "ConsoleSize": [24, 80], "CpuShares": 512, "Memory": 64 << 20,
        "MemoryReservation": 32 << 20, "MemorySwap": 128 << 20, "NanoCpus": 500000000, "PidsLimit": 100,
        "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}], "Init": True,
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/nil", "CgroupPermissions": "rw"}],
        "DeviceCgroupRules": ["c 1:3 rw"], "Mounts": [{"Type": "tmpfs", "Target": "/more"}],
        "Annotations": {"org.example": "x"}, "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"],
    },
}


def life(t):
    t.call("POST", "/containers/create", 400, {"name": "bad/name"}, {"Image": "busybox", "Cmd": ["true"]})
    t.call("POST", "/containers/create", 400, body={})
    t.call("POST", "/containers/create", 404, body={"Image": "no-such-image", "Cmd": ["true"]})
    t.call("POST", "/containers/create", 400, body={"Image": "busybox", "Cmd": 7})
    it = t.container("life", start=False)
    t.call("POST", "/containers/create", 409, {"name": "life"}, {"Image": "busybox", "Cmd": ["true"]})
    t.call("GET", "/containers/{id}/json", 200, id=it)
    t.call("GET", "/containers/{id}/json", 404, id="nobody")
    t.call("POST", "/containers/{id}/start", 204, id=it)
    t.call("POST", "/containers/{id}/start", 304, id=it)
    t.call("POST", "/containers/{id}/start", 404, id="nobody")
    running = t.call("GET", "/containers/{id}/json", 200, {"size": True}, id=it).json()
    t.expect("a running container has a pid", running["State"]["Pid"] > 0)
    t.expect("size=1 shows sizes", "SizeRw" in running and "SizeRootFs" in running, sorted(running))
    t.call("POST", "/containers/{id}/pause", 204, id=it)
    t.call("POST", "/containers/{id}/pause", 409, id=it)
    t.call("POST", "/containers/{id}/exec", 409, body={"Cmd": ["true"]}, id=it)
    t.call("POST", "/containers/{id}/unpause", 204, id=it)
    t.call("POST", "/containers/{id}/unpause", 409, id=it)
    t.call("POST", "/containers/{id}/pause", 404, id="nobody")
    t.call("POST", "/containers/{id}/unpause", 404, id="nobody")
    t.call("POST", "/containers/{id}/rename", 204, {"name": "renamed"}, id=it)
    t.call("POST", "/containers/{id}/rename", 400, {"name": "no/slash"}, id=it)
    t.call("POST", "/containers/{id}/rename", 404, {"name": "x"}, id="nobody")
    other = t.container("other", start=False)
    t.call("POST", "/containers/{id}/rename", 409, {"name": "other"}, id=it)
    t.call("DELETE", "/containers/{id}", 204, id=other)
    t.call("POST", "/containers/{id}/restart", 204, {"t": 0}, id=it)
    t.call("POST", "/containers/{id}/restart", 404, id="nobody")
    t.call("POST", "/containers/{id}/kill", 204, {"signal": "SIGHUP"}, id=it)
    t.call("POST", "/containers/{id}/kill", 400, {"signal": "SIGNONE"}, id=it)
    t.call("POST", "/containers/{id}/kill", 404, id="nobody")
    t.call("DELETE", "/containers/{id}", 409, id=it)
    t.call("POST", "/containers/{id}/stop", 204, {"t": 0}, id=it)
    t.call("POST", "/containers/{id}/stop", 304, id=it)
    t.call("POST", "/containers/{id}/stop", 404, id="nobody")
    t.call("POST", "/containers/{id}/kill", 409, id=it)
    t.call("DELETE", "/containers/{id}", 204, {"v": True}, id=it)
    t.call("DELETE", "/containers/{id}", 404, id=it)


def every_field(t):
    made = t.call("POST", "/containers/create", 201, {"name": "full"}, FULL)
    it = made.json()["Id"]
    shown = t.call("GET", "/containers/{id}/json", 200, id=it).json()
    for field, value in FULL.items():
        if field in ("HostConfig", "Entrypoint"):
            continue
        seen = shown["Config"].get(field)
        t.expect(f"inspect shows Config.{field}", seen == value or field == "Env" and seen[:len(value)] == value, seen)
    for field, value in FULL["HostConfig"].items():
        seen = shown["HostConfig"].get(field)
        if field in ("CapAdd", "CapDrop"):
            seen, value = [c.removeprefix("CAP_") for c in seen], [c.removeprefix("CAP_") for c in value]
        t.expect(f"inspect shows HostConfig.{field}", seen == value, seen)
    t.expect("inspect shows the mounts", {m["Destination"] for m in shown["Mounts"]} >= {"/host-etc", "/anonymous"})
    t.call("POST", "/containers/{id}/start", 204, id=it)
    t.call("GET", "/containers/{id}/json", 200, id=it)
    listed = t.call("GET", "/containers/json", 200, {"filters": {"name": ["full"]}, "size": True}).json()
    t.expect("it is listed", [c["Id"] for c in listed] == [it], listed)
    t.call("DELETE", "/containers/{id}", 204, {"force": True, "v": True}, id=it)


def lists(t):
    first, second = t.container("list1"), t.container("list2", start=False)
    ids = lambda **query: [c["Id"] for c in t.call("GET", "/containers/json", 200, query).json()]
    t.expect("only what runs is listed", ids(filters={"label": ["contract"]}) == [first])
    t.expect("all are listed, newest first", ids(all=1, filters={"label": ["contract=1"]}) == [second, first])
    t.expect("limit", ids(limit=1) == [second])
    t.expect("status", ids(filters={"status": ["created"], "label": ["contract"]}) == [second])
    t.expect("since", ids(filters={"since": [first]}) == [second])
    t.expect("before", ids(filters={"before": [second], "label": ["contract"]}) == [first])
    t.expect("id", ids(all=1, filters={"id": [second[:12]]}) == [second])
    t.expect("ancestor", set(ids(all=1, filters={"ancestor": ["busybox"]})) == {first, second})
    t.expect("health", set(ids(all=1, filters={"health": ["none"]})) == {first, second})
    t.expect("older form of filters", ids(all=1, filters={"name": {"list2": True}}) == [second])
    t.call("GET", "/containers/json", 400, {"filters": {"nonsense": ["1"]}})
    t.call("GET", "/containers/json", 400, {"filters": "{"})
    t.call("GET", "/containers/json", 400, {"limit": "many"})
    t.call("GET", "/containers/json", 400, {"filters": {"status": ["nonsense"]}})
    t.call("GET", "/containers/json", 400, {"filters": {"health": ["nonsense"]}})
    t.call("POST", "/containers/{id}/stop", 204, {"t": 0}, id=first)
    pruned = t.call("POST", "/containers/prune", 200, {"filters": {"label": ["contract"]}}).json()
    t.expect("prune removes both", set(pruned["ContainersDeleted"]) == {first, second}, pruned)
    t.call("POST", "/containers/prune", 400, {"filters": {"nonsense": ["1"]}})


def streams(t):
    it = t.container("streams", ["sh", "-c", "echo out; echo err >&2; read line; echo got $line"], start=False,
                     OpenStdin=True, StdinOnce=True, AttachStdin=True)
    found = []
    attach = threading.Thread(target=lambda: found.append(t.hijack(
        "POST", "/containers/{id}/attach", {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1}, send=b"me\n", id=it)))
    attach.start()
    waited = []
    wait = threading.Thread(target=lambda: waited.append(t.call("POST", "/containers/{id}/wait", 200, {
        "condition": "next-exit"} if t.since(30) else None, id=it)))
    if t.since(30):
        wait.start()
    time.sleep(0.2)  # both have to be there before the start; a late one is not wrong, only not what is meant
    t.call("POST", "/containers/{id}/start", 204, id=it)
    if not t.since(30):
        wait.start()
    attach.join()
    wait.join()
    status, head, rest = found[0]
    t.expect("attach is upgraded", status == 101, head)
    seen = frames(rest)
    t.expect("attach has the output", b"".join(b for n, b in seen if n == 1) == b"out\ngot me\n", rest)
    t.expect("attach has the errors", b"".join(b for n, b in seen if n == 2) == b"err\n", rest)
    t.expect("the stream says what it is", ("multiplexed-stream" in head) == t.since(42), head)
    t.expect("wait gives the status", waited[0].json()["StatusCode"] == 0, waited[0].body)
    t.hijack("POST", "/containers/{id}/attach", {"stream": 1, "stdout": 1}, id="nobody")
    t.call("POST", "/containers/{id}/attach", 404, {"stream": 1, "stdout": 1}, id="nobody")
    t.call("POST", "/containers/{id}/wait", 404, id="nobody")
    if t.since(30):
        t.call("POST", "/containers/{id}/wait", 400, {"condition": "never"}, id=it)
    logs = t.call("GET", "/containers/{id}/logs", 200, {"stdout": 1, "stderr": 1}, id=it)
    t.expect("logs have both", sorted(frames(logs.body))[0][1] == b"got me\n" or len(frames(logs.body)) >= 2, logs.body)
    late = t.call("GET", "/containers/{id}/logs", 200, {"stdout": 1, "tail": 2, "timestamps": 1}, id=it)
    t.expect("tail and timestamps", frames(late.body)[-1][1].endswith(b"Z got me\n"), late.body)
    t.call("GET", "/containers/{id}/logs", 400, id=it)
    t.call("GET", "/containers/{id}/logs", 404, {"stdout": 1}, id="nobody")
    t.call("DELETE", "/containers/{id}", 204, {"force": 1}, id=it)


def websocket(t):
    it = t.container("websocket", ["sh", "-c", "echo hello; echo err >&2; read line; echo got $line"], start=False,
                     OpenStdin=True, StdinOnce=True)
    t.call("GET", "/containers/{id}/attach/ws", 404, id="nobody")
    t.call("GET", "/containers/{id}/attach/ws", 400, {"stream": 1}, id=it)  # no WebSocket handshake
    target = client.url(f"{t.prefix}/containers/{it}/attach/ws", {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1})
    socket = client.WebSocket(t.socket, target)
    t.expect("the handshake is answered", socket.status == 101, socket.head)
    t.call("POST", "/containers/{id}/start", 204, id=it)
    received = b""
    while b"hello" not in received or b"err" not in received:
        received += socket.receive()
    socket.send(b"me\n")
    while piece := socket.receive():
        received += piece
    t.expect("a WebSocket has the bytes as they are", sorted(received.split(b"\n")) == [
        b"", b"err", b"got me", b"hello"], received)
    t.expect("and is closed as it should be", socket.closed == 1000, socket.closed)
    target = client.url(f"{t.prefix}/containers/{it}/attach/ws", {"logs": 1, "stdout": 1})
    socket, received = client.WebSocket(t.socket, target), b""
    while piece := socket.receive():
        received += piece
    t.expect("logs=1 gives what was", received == b"hello\ngot me\n", received)
    t.call("DELETE", "/containers/{id}", 204, {"force": 1}, id=it)


def running(t):
    it = t.container("running")
    t.call("GET", "/containers/{id}/top", 200, id=it)
    top = t.call("GET", "/containers/{id}/top", 200, {"ps_args": "aux"}, id=it).json()
    t.expect("top shows the program", any("sleep 1000" in " ".join(p) for p in top["Processes"]), top)
    t.call("GET", "/containers/{id}/top", 404, id="nobody")
    for query in ({"stream": 0, "one-shot": 1}, {"stream": 0}):
        stats = t.call("GET", "/containers/{id}/stats", 200, query, id=it).json()
        t.expect("stats count memory", stats["memory_stats"].get("usage", 0) > 0, stats)
    t.call("GET", "/containers/{id}/stats", 404, {"stream": 0}, id="nobody")
    t.call("POST", "/containers/{id}/resize", 200, {"h": 30, "w": 100}, id=t.container("terminal", Tty=True))
    t.call("POST", "/containers/{id}/resize", 404, {"h": 30, "w": 100}, id="nobody")
    t.call("POST", "/containers/{id}/resize", 400, {"h": "x", "w": 100}, id=it)
    updated = t.call("POST", "/containers/{id}/update", 200, body={
        "Memory": 64 << 20, "MemorySwap": 128 << 20, "RestartPolicy": {"Name": "unless-stopped"}}, id=it)
    t.expect("update has warnings or none", set(updated.json()) == {"Warnings"}, updated.body)
    t.call("POST", "/containers/{id}/update", 404, body={"CpuShares": 512}, id="nobody")
    t.call("POST", "/containers/{id}/update", 400, body={"Memory": 1}, id=it)
    shown = t.call("GET", "/containers/{id}/json", 200, id=it).json()["HostConfig"]
    t.expect("update is shown", shown["Memory"] == 64 << 20 and shown["RestartPolicy"]["Name"] == "unless-stopped")
    t.call("DELETE", "/containers/{id}", 204, {"force": 1}, id=it)
    t.call("DELETE", "/containers/{id}", 204, {"force": 1}, id="terminal")


def files(t):
    it = t.container("files")
    t.call("PUT", "/containers/{id}/archive", 200, {"path": "/tmp"}, archive(new=b"content"),
           {"Content-Type": "application/x-tar"}, id=it)
    t.call("PUT", "/containers/{id}/archive", 404, {"path": "/nowhere"}, archive(new=b"x"), id=it)
    t.call("PUT", "/containers/{id}/archive", 404, {"path": "/tmp"}, archive(new=b"x"), id="nobody")
    t.call("PUT", "/containers/{id}/archive", 400, body=archive(new=b"x"), id=it)
    got = t.call("GET", "/containers/{id}/archive", 200, {"path": "/tmp/new"}, id=it)
    with tarfile.open(fileobj=io.BytesIO(got.body)) as tar:
        t.expect("the file comes back", tar.extractfile("new").read() == b"content")
    t.expect("its stat is told", "X-Docker-Container-Path-Stat" in got.headers, dict(got.headers))
    head = t.call("HEAD", "/containers/{id}/archive", 200, {"path": "/tmp/new"}, id=it)
    t.expect("and by HEAD", head.headers["X-Docker-Container-Path-Stat"] == got.headers["X-Docker-Container-Path-Stat"])
    t.call("GET", "/containers/{id}/archive", 404, {"path": "/nowhere"}, id=it)
    t.call("GET", "/containers/{id}/archive", 400, id=it)
    t.call("HEAD", "/containers/{id}/archive", 404, {"path": "/nowhere"}, id=it)
    changes = t.call("GET", "/containers/{id}/changes", 200, id=it).json()
    t.expect("the change is seen", {"Path": "/tmp/new", "Kind": 1} in changes, changes)
    t.call("GET", "/containers/{id}/changes", 404, id="nobody")
    exported = t.call("GET", "/containers/{id}/export", 200, id=it)
    with tarfile.open(fileobj=io.BytesIO(exported.body)) as tar:
        t.expect("the export has it", "tmp/new" in tar.getnames())
    t.call("GET", "/containers/{id}/export", 404, id="nobody")
    t.call("DELETE", "/containers/{id}", 204, {"force": 1}, id=it)


def execs(t):
    it = t.container("execs")
    create = lambda status=201, **config: t.call("POST", "/containers/{id}/exec", status, body=config, id=it)
    one = create(Cmd=["sh", "-c", "cat; echo err >&2; exit 3"], AttachStdin=True, AttachStdout=True,
                 AttachStderr=True, Env=["A=1"], WorkingDir="/tmp", User="0", DetachKeys="ctrl-a").json()["Id"]
    before = t.call("GET", "/exec/{id}/json", 200, id=one).json()
    t.expect("an exec that was not started does not run", before["Running"] is False and before["ExitCode"] is None, before)
    wanted = {"ContainerID": it, "CanRemove": False}
    t.expect("an exec knows its container", all(before[k] == v for k, v in wanted.items()), before)
    status, head, rest = t.hijack("POST", "/exec/{id}/start", body={"Detach": False, "Tty": False}, id=one, send=b"in\n",
                                  end_input=True)
    t.expect("exec is upgraded", status == 101, head)
    t.expect("exec has input, output and errors", sorted(frames(rest)) == [(1, b"in\n"), (2, b"err\n")], rest)
    ended = wait_for(lambda: (lambda e: e if e["ExitCode"] is not None else None)(
        t.call("GET", "/exec/{id}/json", 200, id=one).json()), 3)
    t.expect("its exit code is told", ended and ended["ExitCode"] == 3, ended)
    two = create(Cmd=["true"]).json()["Id"]
    t.call("POST", "/exec/{id}/start", 200, body={"Detach": True}, id=two)
    t.call("POST", "/exec/{id}/start", 409, body={"Detach": True}, id=two)
    t.call("POST", "/exec/{id}/start", 404, body={"Detach": True}, id="nobody")
    done = wait_for(lambda: (lambda e: e if e["ExitCode"] is not None else None)(
        t.call("GET", "/exec/{id}/json", 200, id=two).json()))
    t.expect("its exit code is told", done and done["ExitCode"] == 0, done)
    terminal = create(Cmd=["sleep", "1000"], Tty=True, AttachStdout=True).json()["Id"]
    t.call("POST", "/exec/{id}/start", 200, body={"Detach": True, "Tty": True}, id=terminal)
    t.call("POST", "/exec/{id}/resize", 200, {"h": 30, "w": 100}, id=terminal)
    t.call("POST", "/exec/{id}/resize", 404, {"h": 30, "w": 100}, id="nobody")
    t.call("POST", "/exec/{id}/resize", 400, {"h": "x", "w": 100}, id=terminal)
    t.call("GET", "/exec/{id}/json", 200, id=terminal)
    t.call("GET", "/exec/{id}/json", 404, id="nobody")
    t.call("POST", "/containers/{id}/exec", 404, body={"Cmd": ["true"]}, id="nobody")
    create(400, Cmd=[])
    t.call("POST", "/containers/{id}/stop", 204, {"t": 0}, id=it)
    t.call("POST", "/containers/{id}/exec", 409, body={"Cmd": ["true"]}, id=it)
    t.call("DELETE", "/containers/{id}", 204, id=it)


# One field wrong at a time: (body, what the message must name).
BAD = [
    ({"HostConfig": {"Memory": -1}}, "memory"), ({"HostConfig": {"Memory": "1g"}}, "Memory"),
    ({"HostConfig": {"Memory": 1024}}, "6MB"), ({"HostConfig": {"NanoCpus": -1}}, "CPU"),
    ({"HostConfig": {"CpuShares": -1}}, "CPU shares"), ({"HostConfig": {"MemorySwappiness": 101}}, "swappiness"),
    ({"HostConfig": {"CpuPeriod": 1}}, "period"), ({"HostConfig": {"CpuQuota": 1}}, "quota"),
    ({"HostConfig": {"OomScoreAdj": 2000}}, "oom score"), ({"HostConfig": {"ShmSize": -1}}, "SHM"),
    ({"HostConfig": {"BlkioWeight": 5}}, "blkio weight"), ({"HostConfig": {"PidMode": "nonsense"}}, "PID mode"),
    ({"HostConfig": {"IpcMode": "nonsense"}}, "IPC mode"), ({"HostConfig": {"UTSMode": "nonsense"}}, "UTS mode"),
    ({"HostConfig": {"UsernsMode": "nonsense"}}, "userns mode"),
    ({"HostConfig": {"CgroupnsMode": "nonsense"}}, "cgroup namespace mode"),
    ({"HostConfig": {"RestartPolicy": {"Name": "often"}}}, "restart policy"),
    ({"HostConfig": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}}, "restart policy"),
    ({"HostConfig": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}}, "AutoRemove"),
    ({"HostConfig": {"CapAdd": ["NONSENSE"]}}, "NONSENSE"), ({"HostConfig": {"Runtime": "nonsense"}}, "nonsense"),
    ({"HostConfig": {"LogConfig": {"Type": "nonsense"}}}, "nonsense"),
    ({"HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"nonsense": "1"}}}}, "nonsense"),
    ({"HostConfig": {"Binds": ["/a:/"]}}, "destination"), ({"HostConfig": {"Binds": ["/a:relative"]}}, "absolute"),
    ({"HostConfig": {"Binds": ["/etc:/x", "/usr:/x"]}}, "Duplicate mount point: /x"),
    ({"HostConfig": {"Binds": ["/etc:/x:nonsense"]}}, "nonsense"),
    ({"HostConfig": {"Mounts": [{"Type": "nonsense", "Target": "/x"}]}}, "nonsense"),
    ({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": ""}]}}, "Target"),
    ({"HostConfig": {"Tmpfs": {"relative": ""}}}, "absolute"),
    ({"HostConfig": {"Ulimits": [{"Name": "nonsense", "Soft": 1, "Hard": 1}]}}, "nonsense"),
    ({"HostConfig": {"Ulimits": [{"Name": "nofile", "Soft": 2, "Hard": 1}]}}, "ulimit"),
    ({"HostConfig": {"SecurityOpt": ["nonsense"]}}, "nonsense"),
    ({"HostConfig": {"Devices": [{"PathOnHost": "/dev/nonsense", "PathInContainer": "/dev/x"}]}}, "/dev/nonsense"),
    ({"HostConfig": {"DeviceCgroupRules": ["nonsense"]}}, "nonsense"),
    ({"HostConfig": {"StorageOpt": {"nonsense": "1"}}}, "nonsense"),
    ({"HostConfig": {"VolumesFrom": ["nobody"]}}, "nobody"),
    ({"HostConfig": {"PortBindings": {"nonsense": [{"HostPort": "1"}]}}}, "nonsense"),
    ({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}}, "99999"),
    ({"HostConfig": {"Dns": ["nonsense"]}}, "nonsense"), ({"HostConfig": {"ExtraHosts": ["nonsense"]}}, "nonsense"),
    ({"HostConfig": {"NetworkMode": "container:nobody"}}, "nobody"),
    ({"HostConfig": {"Sysctls": {"kernel.nonsense": "1"}}}, "kernel.nonsense"),
    ({"StopSignal": "SIGNONE"}, "SIGNONE"), ({"WorkingDir": "relative"}, "absolute"), ({"Env": ["=x"]}, "environment"),
    ({"ExposedPorts": {"nonsense": {}}}, "nonsense"), ({"Volumes": {"relative": {}}}, "absolute"),
    ({"Hostname": "x" * 80}, "hostname"), ({"StopTimeout": "x"}, "StopTimeout"),
    ({"Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}}, "Interval"),
    ({"Healthcheck": {"Test": ["CMD", "x"], "Timeout": -1}}, "Timeout"), ({"Healthcheck": {"Retries": -1}}, "Retries"),
    ({"User": "99999999999"}, "99999999999"),
]
# Refused when the container is started, as in Docker, or already here.
LATE = ("99999999999", "kernel.nonsense", "/dev/nonsense", "nobody")


def bad_fields(t):
    for number, (fields, named) in enumerate(BAD):
        body = {"Image": "busybox", "Cmd": ["true"], **fields}
        answer = client.ask(t.socket, "POST", f"{t.prefix}/containers/create?name=bad{number}", body)
        t.answers += 1
        where = f"create with {fields}"
        if answer.status == 201 and named in LATE:
            answer = client.ask(t.socket, "POST", f"{t.prefix}/containers/bad{number}/start")
            client.ask(t.socket, "DELETE", f"{t.prefix}/containers/bad{number}?force=1&v=1")
            if answer.status not in (400, 404, 500):
                t.fail(where, f"was started: status {answer.status}")
            continue
        if answer.status not in (400, 404, 409):
            t.fail(where, f"status {answer.status}: {answer.body[:160]!r}")
            client.ask(t.socket, "DELETE", f"{t.prefix}/containers/bad{number}?force=1&v=1")
            continue
        t.check_error(where, answer)
        if named.lower() not in answer.json()["message"].lower():
            t.fail(where, f"the message does not name {named!r}: {answer.json()['message']}")
    left = t.call("GET", "/containers/json", 200, {"all": 1, "filters": {"name": ["^/bad"]}}).json()
    t.expect("a container that is refused is not there", left == [], left)


STEPS = [life, every_field, lists, streams, websocket, running, files, execs, bad_fields]
