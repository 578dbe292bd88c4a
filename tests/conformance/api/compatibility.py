#!/usr/bin/python3
"""compatibility.py CONTRACT SOCKET DOCUMENT: holds docs/compatibility.md against the contract and the engine.

Every endpoint and every field of the contract has one row, no row is of something else, and the engine does with each
what the row says: `served`, `refused` (an error), `applied` (and shown by inspect), `kept` (shown, has no effect in
Docker either), `warned` (has no effect, and create says so).
"""
import glob
import os
import re
import stat
import sys

import client
import openapi

# Tables of fields: heading of the document -> definition of the contract.
TABLES = {"Config": "ContainerConfig", "HostConfig": "HostConfig", "EndpointSettings": "EndpointSettings",
          "EndpointSettings.IPAMConfig": "EndpointIPAMConfig", "Mount": "Mount", "Healthcheck": "HealthConfig"}
PARTS_OF_MOUNT = ("BindOptions", "VolumeOptions", "ImageOptions", "TmpfsOptions")
STATES = {"endpoint": {"served", "refused"}, "field": {"applied", "kept", "warned", "refused", "told"}}

# A value for each field that makes a difference. (value, what inspect shows when it is another)
CONFIG = {
    "Hostname": "h", "Domainname": "d", "User": "1000", "AttachStdin": True, "AttachStdout": True,
    "AttachStderr": True, "ExposedPorts": {"1/tcp": {}}, "Tty": True, "OpenStdin": True, "StdinOnce": True,
    "Env": ["A=b"], "Cmd": ["echo"], "Healthcheck": {"Test": ["CMD", "true"]}, "ArgsEscaped": True,
    "Image": "busybox", "Volumes": {"/v": {}}, "WorkingDir": "/w", "Entrypoint": ["echo"], "NetworkDisabled": True,
    "MacAddress": "02:42:ac:11:00:63", "OnBuild": ["RUN x"], "Labels": {"a": "b"}, "StopSignal": "SIGHUP",
    "StopTimeout": 7, "Shell": ["/bin/sh", "-c"],
}
DEVICE = next((path for path in sorted(glob.glob("/dev/*")) if stat.S_ISBLK(os.stat(path).st_mode)), "/dev/sda")
HOST_CONFIG = {
    "Annotations": {"a": "b"}, "AutoRemove": True, "Binds": ["/etc:/x"],
    "BlkioWeight": 300, "BlkioWeightDevice": [{"Path": DEVICE, "Weight": 200}],
    "BlkioDeviceReadBps": [{"Path": DEVICE, "Rate": 1 << 20}], "BlkioDeviceWriteBps": [{"Path": DEVICE, "Rate": 1 << 20}],
    "BlkioDeviceReadIOps": [{"Path": DEVICE, "Rate": 100}], "BlkioDeviceWriteIOps": [{"Path": DEVICE, "Rate": 100}],
    "CapAdd": ["CAP_NET_ADMIN"], "CapDrop": ["CAP_CHOWN"], "Cgroup": "x", "CgroupParent": "/parent",
    "CgroupnsMode": "host", "ConsoleSize": [10, 20], "ContainerIDFile": "/x", "CpuCount": 1, "CpuPercent": 5,
    "CpuPeriod": 50000, "CpuQuota": 20000, "CpuRealtimePeriod": 1000000, "CpuRealtimeRuntime": 1000, "CpuShares": 100,
    "CpusetCpus": "0", "CpusetMems": "0", "DeviceCgroupRules": ["c 1:3 r"],
    "DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}],
    "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "r"}],
    "Dns": ["192.0.2.1"], "DnsOptions": ["ndots:3"], "DnsSearch": ["x.org"], "ExtraHosts": ["a:192.0.2.1"],
    "GroupAdd": ["5"], "IOMaximumBandwidth": 1, "IOMaximumIOps": 1, "Init": True, "IpcMode": "host",
    "Isolation": "hyperv", "KernelMemoryTCP": 1 << 26, "Links": ["nobody:x"],
    "LogConfig": {"Type": "local", "Config": {"max-size": "2m"}}, "MaskedPaths": ["/proc/keys"],
    "Memory": 1 << 27, "MemoryReservation": 1 << 26, "MemorySwap": None, "MemorySwappiness": 7,
    "Mounts": [{"Type": "tmpfs", "Target": "/t"}], "NanoCpus": 500000000, "NetworkMode": "none",
    "OomKillDisable": True, "OomScoreAdj": 77, "PidMode": "host", "PidsLimit": 55,
    "PortBindings": {"1/tcp": [{"HostIp": "127.0.0.1", "HostPort": "4711"}]}, "Privileged": True,
    "PublishAllPorts": True, "ReadonlyPaths": ["/proc/bus"], "ReadonlyRootfs": True,
    "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}, "Runtime": "native",
    "SecurityOpt": ["no-new-privileges"], "ShmSize": 1 << 21, "StorageOpt": {"size": "1g"},
    "Sysctls": {"net.ipv4.ip_forward": "1"}, "Tmpfs": {"/t": "size=1m"}, "UTSMode": "host",
    "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}], "UsernsMode": "host", "VolumeDriver": "local",
    "VolumesFrom": None,
}
# Fields whose row says what depends on the machine, and that are not tried here.
MACHINE = {"OomKillDisable", "MemorySwappiness", "StorageOpt", "CpuRealtimePeriod", "CpuRealtimeRuntime", "Runtime",
           "MemorySwap", "VolumesFrom", "Links", "MacAddress", "NetworkDisabled", "PublishAllPorts"}


def rows(text):
    """(heading, [cells]) of every row of every table."""
    heading = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").strip("`")
        elif line.startswith("| `"):
            yield heading, [cell.strip() for cell in line.strip().strip("|").split(" | ")]


class Check:
    def __init__(self, contract, socket, document):
        self.contract, self.socket, self.wrong = contract, socket, []
        self.prefix = "/v" + contract.document["info"]["version"]
        self.endpoints, self.fields = {}, {}
        for heading, (first, state, *_) in rows(document):
            name = first.strip("`")
            table = self.endpoints if heading == "Endpoints" else self.fields.setdefault(heading, {})
            if name in table:
                self.wrong.append(f"{heading}: two rows of {name}")
            if state not in STATES["endpoint" if heading == "Endpoints" else "field"]:
                self.wrong.append(f"{heading}: {name} is said to be {state!r}")
            table[name] = state

    def compare(self, where, wanted, there):
        self.wrong += [f"{where}: {name} has no row" for name in sorted(set(wanted) - set(there))]
        self.wrong += [f"{where}: {name} is not in the contract" for name in sorted(set(there) - set(wanted))]

    def names(self):
        self.compare("Endpoints", [f"{method} {path}" for method, path, _ in self.contract.operations()], self.endpoints)
        for heading, definition in TABLES.items():
            fields = dict(self.contract.fields(self.contract.document["definitions"][definition])[0])
            if definition == "Mount":
                for part in PARTS_OF_MOUNT:
                    for name in fields.pop(part)["properties"]:
                        fields[f"{part}.{name}"] = None
            self.compare(heading, fields, self.fields.get(heading, {}))

    def endpoints_are_so(self):
        for row, state in self.endpoints.items():
            method, path = row.split(" ")
            if row in ("GET /events", "POST /images/load"):  # would go on for ever, or take anything
                continue
            target = self.prefix + re.sub(r"\{[^}]*\}", "nobody", path)
            answer = client.ask(self.socket, method, target)
            missing = answer.status == 404 and b"page not found" in answer.body
            if missing or (answer.status == 501) != (state == "refused" or "/swarm/" in path and answer.status == 501):
                self.wrong.append(f"{row} is said to be {state}: status {answer.status} {answer.body[:100]!r}")

    def field_is_so(self, where, name, state, body, shown):
        made = client.ask(self.socket, "POST", self.prefix + "/containers/create", body)
        if made.status != 201:
            if state != "refused":
                self.wrong.append(f"{where}.{name} is said to be {state}: {made.status} {made.body[:160]!r}")
            return
        document = made.json()
        seen = client.ask(self.socket, "GET", f"{self.prefix}/containers/{document['Id']}/json").json()
        client.ask(self.socket, "DELETE", f"{self.prefix}/containers/{document['Id']}?force=1&v=1")
        if state == "refused" or (state == "warned") != bool(document["Warnings"]):
            self.wrong.append(f"{where}.{name} is said to be {state}: it was taken, Warnings {document['Warnings']}")
        elif name == "Env":  # the image's come after
            if shown(seen)[:len(body["Env"])] != body["Env"]:
                self.wrong.append(f"{where}.{name} is said to be {state}: inspect shows {shown(seen)!r}")
        elif state in ("applied", "kept") and shown(seen) != shown({"Config": body, "HostConfig": body["HostConfig"]}):
            self.wrong.append(f"{where}.{name} is said to be {state}: inspect shows {shown(seen)!r}")

    def fields_are_so(self):
        for name, state in self.fields.get("Config", {}).items():
            if name not in MACHINE:
                body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {}, name: CONFIG[name]}
                self.field_is_so("Config", name, state, body, lambda seen, n=name: seen["Config"].get(n))
        for name, state in self.fields.get("HostConfig", {}).items():
            if name not in MACHINE:
                body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {name: HOST_CONFIG[name]}}
                self.field_is_so("HostConfig", name, state, body, lambda seen, n=name: seen["HostConfig"].get(n))


def main(contract, socket, path):
    with open(path, encoding="utf-8") as file:
        check = Check(openapi.Contract(contract), socket, file.read())
    check.names()
    check.endpoints_are_so()
    check.fields_are_so()
    print("\n".join(check.wrong))
    return 1 if check.wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
