#!/usr/bin/python3
"""Attaches to new containers, and asks for the start of each the moment the head of the attach is there.

usage: attach_at_once.py SOCKET COUNT

Prints a line for each container whose output did not come whole: what a client that is faster than `docker` would
have lost.
"""

import http.client
import json
import socket
import sys


class Api(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self, method, url, body=None):
        text = None if body is None else json.dumps(body)
        self.request(method, url, text, {"Content-Type": "application/json"})
        answer = self.getresponse()
        data = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {url}: {answer.status} {data.decode()}")
        return json.loads(data) if data else None


def output_of(path, api, container):
    stream = Api(path)
    stream.connect()
    with stream.sock as sock:
        sock.sendall(f"POST /containers/{container}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: localhost\r\n"
                     "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        got = b""
        while b"\r\n\r\n" not in got:
            got += sock.recv(65536)
        api.ask("POST", f"/containers/{container}/start")
        while piece := sock.recv(65536):
            got += piece
    return got.split(b"\r\n\r\n", 1)[1]


def main(path, count):
    api = Api(path)
    for number in range(int(count)):
        spec = {"Image": "busybox", "Cmd": ["echo", f"whole {number}"], "HostConfig": {"NetworkMode": "none"}}
        container = api.ask("POST", "/containers/create", spec)["Id"]
        output = output_of(path, api, container)
        if f"whole {number}\n".encode() not in output:
            print(f"container {number}: {output!r}")
        api.ask("DELETE", f"/containers/{container}?force=1")


main(*sys.argv[1:])
