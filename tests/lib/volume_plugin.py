#!/usr/bin/env python3
"""A volume plugin by Docker's protocol: directories below ROOT, mounted as they are.

    volume_plugin.py SOCKET ROOT LOG [--fail METHOD]

Each request is a line of LOG: the method and the body. With --fail the method answers with an error.
"""

import argparse
import http.server
import json
import os
import shutil
import socketserver

parser = argparse.ArgumentParser()
parser.add_argument("socket")
parser.add_argument("root")
parser.add_argument("log")
parser.add_argument("--fail", default="")
args = parser.parse_args()

volumes = {}
mounted = {}


def place(name):
    return os.path.join(args.root, name)


def answer(method, body):
    name = body.get("Name", "")
    if method == "Plugin.Activate":
        return {"Implements": ["VolumeDriver"]}
    if method == "VolumeDriver.Capabilities":
        return {"Capabilities": {"Scope": "global"}}
    if method == "VolumeDriver.Create":
        os.makedirs(place(name), exist_ok=True)
        volumes[name] = body.get("Opts") or {}
        return {"Err": ""}
    if method == "VolumeDriver.List":
        return {"Volumes": [{"Name": n, "Mountpoint": place(n) if mounted.get(n) else ""} for n in sorted(volumes)]}
    if name not in volumes:
        return {"Err": f"no volume {name} here"}
    if method == "VolumeDriver.Get":
        return {"Volume": {"Name": name, "Mountpoint": place(name) if mounted.get(name) else "",
                           "CreatedAt": "2024-01-01T00:00:00Z", "Status": {"opts": json.dumps(volumes[name])}}}
    if method == "VolumeDriver.Remove":
        shutil.rmtree(place(name))
        del volumes[name]
        return {"Err": ""}
    if method == "VolumeDriver.Path":
        return {"Mountpoint": place(name)}
    if method == "VolumeDriver.Mount":
        mounted.setdefault(name, set()).add(body["ID"])
        return {"Mountpoint": place(name)}
    if method == "VolumeDriver.Unmount":
        mounted[name].discard(body["ID"])
        return {"Err": ""}
    return {"Err": f"what is {method}?"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
        method = self.path[1:]
        with open(args.log, "a") as log:
            log.write(f"{method} {json.dumps(body, sort_keys=True)}\n")
        out = {"Err": "it does not want to"} if method == args.fail else answer(method, body)
        text = json.dumps(out).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.docker.plugins.v1.2+json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass

    def address_string(self):
        return "plugin"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


os.makedirs(os.path.dirname(args.socket), exist_ok=True)
if os.path.exists(args.socket):
    os.unlink(args.socket)
with Server(args.socket, Handler) as server:
    server.serve_forever()
