#!/usr/bin/python3
"""usage: hostile.py HOST PORT DIRECTORY: requests of bad will. Each is answered with 4xx (or the connection is closed),
nothing outside the store is read or written, and the registry still answers."""

import os
import socket
import sys

HOST, PORT, DIRECTORY = sys.argv[1], int(sys.argv[2]), sys.argv[3]
SECRET = os.path.join(DIRECTORY, "secret")
with open(SECRET, "w") as out:
    out.write("canary\n")
FAILURES = []


def send(raw, limit=65536):
    s = socket.create_connection((HOST, PORT), timeout=20)
    try:
        s.sendall(raw)
        s.shutdown(socket.SHUT_WR)
        data = b""
        while len(data) < limit:
            part = s.recv(65536)
            if not part:
                break
            data += part
        return data
    except ConnectionError:
        return b""
    finally:
        s.close()


def refused(raw, what):
    answer = send(raw)
    status = answer.split(b" ")[1:2]
    if b"canary" in answer or b"root:" in answer:
        FAILURES.append(f"{what}: something of the machine was read")
    if answer and not (status and (status[0].startswith(b"4") or status[0] == b"505")):
        FAILURES.append(f"{what}: {answer[:120]!r}")
    alive = send(b"GET /v2/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n")
    if not alive.startswith(b"HTTP/1.1 200"):
        FAILURES.append(f"after {what} the registry does not answer: {alive[:100]!r}")


def request(method, path, body=b"", headers=()):
    head = f"{method} {path} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    return (head + "".join(h + "\r\n" for h in headers) + "\r\n").encode("latin-1") + body


up = "../" * 8
for path in (up + "etc/passwd", "%2e%2e/" * 8 + "etc/passwd", "..%2f" * 8 + "etc%2fpasswd", up + DIRECTORY[1:] + "/secret",
             "a/../../secret", "a/blobs/../../../version", "a%00b/tags/list", "a\\..\\b/tags/list", "a/_tags/v1", "a/_blobs"):
    for method in ("GET", "DELETE", "PUT"):
        refused(request(method, "/v2/" + path), f"{method} {path}")
        refused(request(method, f"/v2/{path}/manifests/latest"), f"{method} {path} as a repository")
for reference in ("..", "../../../version", "..%2f..%2fversion", "%2e%2e", "v1%2f..%2fv2", ".", "sha256:" + "g" * 64,
                  "sha256:../../../../secret", "sha256:" + "0" * 63 + "/", "a" * 10000):
    for kind in ("manifests", "blobs", "referrers", "blobs/uploads"):
        refused(request("GET", f"/v2/a/{kind}/{reference}"), f"{kind}/{reference[:40]}")
refused(request("POST", "/v2/a/blobs/uploads/?mount=sha256:" + "0" * 64 + "&from=../../etc&digest=x"), "mount from outside")
refused(request("POST", "/v2/a/blobs/uploads/?digest=sha256:../../x", b"x"), "digest with a path")
refused(request("PUT", "/v2/a/manifests/v", b"[" * 1000000, ["Content-Type: application/vnd.oci.image.manifest.v1+json"]), "deep JSON")
refused(request("PUT", "/v2/a/manifests/v", b'{"schemaVersion":2,"layers":[' + b'{"digest":"sha256:' + b"0" * 64 + b'","size":1},' * 30000 +
                b'{}]}', ["Content-Type: application/vnd.oci.image.manifest.v1+json"]), "very many layers")
refused(request("PUT", "/v2/a/manifests/v", b'{"schemaVersion":1e999}'), "a number without end")
refused(request("PUT", "/v2/a/manifests/v", b"\xff\xfe{}"), "no text")
refused(request("PUT", "/v2/a/manifests/v", b'{"a":' * 63 + b"1" + b"}" * 63), "nested objects")
refused(b"GET /v2/ HTTP/1.1\r\nHost: r\r\nX: " + b"a" * 200000 + b"\r\n\r\n", "a long header")
refused(b"GET /v2/" + b"a/" * 60000 + b" HTTP/1.1\r\nHost: r\r\n\r\n", "a long path")
refused(b"GET /v2/ HTTP/1.1\r\n" + b"A: b\r\n" * 20000 + b"\r\n", "many headers")
refused(b"PUT /v2/a/manifests/v HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "two framings")
refused(b"PUT /v2/a/manifests/v HTTP/1.1\r\nHost: r\r\nContent-Length: 99999999999\r\n\r\n{", "a manifest without end")
refused(b"PUT /v2/a/manifests/v HTTP/1.1\r\nHost: r\r\nContent-Length: -1\r\n\r\n", "a negative length")
refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500, "TLS on a plain port")
refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2")
refused(request("BREW", "/v2/a/manifests/v1"), "a method of one's own")
for value in ("n=-1", "n=x", "n=99999999999999999999999", "n=1e9"):
    refused(request("GET", "/v2/a/tags/list?" + value), value)
refused(request("GET", "/v2/a/tags/list?n=1&last=%ff%00").replace(b"n=1&last", b"n=&last"), "an odd last")
if open(SECRET).read() != "canary\n":
    FAILURES.append("the canary was changed")
for entry in os.listdir(DIRECTORY):
    if entry in ("etc", "x", "passwd"):
        FAILURES.append(f"{entry} was made beside the store")
sys.exit("\n".join(FAILURES) or 0)
