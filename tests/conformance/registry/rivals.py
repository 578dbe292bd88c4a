#!/usr/bin/python3
"""usage: rivals.py URL: threads that push, delete and read the same images; no answer may be 5xx, and what is read is
whole."""

import hashlib
import http.client
import json
import random
import sys
import threading
import urllib.parse

ORIGIN = urllib.parse.urlsplit(sys.argv[1]).netloc
TYPE = "application/vnd.oci.image.manifest.v1+json"
FAILURES, DONE = [], {}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def call(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(ORIGIN, timeout=30)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    if response.status >= 500:
        FAILURES.append(f"{method} {path}: {response.status} {data[:200]}")
    DONE[response.status] = DONE.get(response.status, 0) + 1
    return response.status, response.headers, data


CONFIG = b"{}"
LAYERS = [b"a" * 100000, b"b" * 10]
MANIFESTS = [json.dumps({"schemaVersion": 2, "mediaType": TYPE, "annotations": {"n": str(n)}, "config": {
    "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(CONFIG), "size": 2}, "layers": [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(layer), "size": len(layer)}]}).encode()
    for n, layer in enumerate(LAYERS)]


def rival(seed):
    choose = random.Random(seed)
    for _ in range(60):
        name = choose.choice(("r", "r/below", "s"))
        which = choose.randrange(2)
        blob = choose.choice((CONFIG, LAYERS[which]))
        action = choose.randrange(6)
        if action == 0:
            _, headers, _ = call("POST", f"/v2/{name}/blobs/uploads/", b"")
            call("PUT", f"{headers['Location']}?digest={digest(blob)}", blob)
        elif action == 1:
            for one in (CONFIG, LAYERS[which]):
                call("POST", f"/v2/{name}/blobs/uploads/?digest={digest(one)}", one)
            call("PUT", f"/v2/{name}/manifests/t", MANIFESTS[which], {"Content-Type": TYPE})
        elif action == 2:
            call("DELETE", f"/v2/{name}/manifests/{digest(MANIFESTS[which])}")
        elif action == 3:
            call("POST", f"/v2/{name}/blobs/uploads/?mount={digest(blob)}&from=s", b"")
        elif action == 4:
            status, _, data = call("GET", f"/v2/{name}/blobs/{digest(blob)}")
            if status == 200 and digest(data) != digest(blob):
                FAILURES.append("a blob of other bytes")
        else:
            status, _, data = call("GET", f"/v2/{name}/manifests/t", headers={"Accept": TYPE})
            if status == 200 and data not in MANIFESTS:
                FAILURES.append("a manifest of other bytes")


threads = [threading.Thread(target=rival, args=(seed,)) for seed in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(DONE)
sys.exit("\n".join(FAILURES) or 0)
