#!/usr/bin/python3
"""usage: kill_pushes.py GANTRY-REGISTRY ROOT ROUNDS

Pushes images from several threads and kills the registry with SIGKILL at a random moment; then the store must be
whole (`check`), every push that was acknowledged must be there, and the same pushes must end when they are repeated.
"""

import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

PROGRAM, ROOT, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
PORT = 5055
SEED = int(os.environ.get("KILLS_SEED", random.randrange(1 << 30)))
RANDOM = random.Random(SEED)
TYPE = "application/vnd.oci.image.manifest.v1+json"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Down(Exception):
    pass


def call(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Down(str(error))
    finally:
        connection.close()


def expect(status, method, path, body=None, headers=None):
    got, answer, text = call(method, path, body, headers)
    if got != status:
        raise AssertionError(f"{method} {path}: {got} {text[:200]}")
    return answer


def start():
    process = subprocess.Popen([PROGRAM, "serve", "--root", ROOT, "--address", f"127.0.0.1:{PORT}", "--gc-grace", "0",
                                "--gc-interval", "50ms", "--access-log", "off", "--log-level", "error"])
    deadline = time.monotonic() + 20
    while True:
        try:
            expect(200, "GET", "/health")
            return process
        except Down:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def push(name, number, acknowledged):
    """In chunks, then the manifest; after a 404 for a blob that was collected between, again."""
    data = random.Random(number % 7).randbytes(1 + number % 7 * 60000)
    config = json.dumps({"n": number % 5}).encode()
    manifest = json.dumps({"schemaVersion": 2, "mediaType": TYPE, "annotations": {"n": str(number)}, "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)}, "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(data), "size": len(data)}]}).encode()
    for _ in range(200):
        for blob in (config, data):
            location = expect(202, "POST", f"/v2/{name}/blobs/uploads/", b"")["Location"]
            half = len(blob) // 2
            if half:
                location = expect(202, "PATCH", location, blob[:half])["Location"]
            expect(201, "PUT", f"{location}?digest={digest(blob)}", blob[half:])
        status, _, text = call("PUT", f"/v2/{name}/manifests/t{number}", manifest, {"Content-Type": TYPE})
        if status == 201:
            acknowledged[(name, f"t{number}")] = manifest
            return
        if status != 404 or b"MANIFEST_BLOB_UNKNOWN" not in text:
            raise AssertionError(f"manifest: {status} {text[:200]}")
    raise AssertionError("the manifest never found its blobs")


def worker(name, first, acknowledged, failures):
    number = first
    try:
        while True:
            push(name, number, acknowledged)
            number += 4
    except Down:
        pass
    except AssertionError as error:
        failures.append(error)


def main():
    acknowledged, failures, at = {}, [], 0
    for round_number in range(ROUNDS):
        process = start()
        threads = [threading.Thread(target=worker, args=(f"team/r{i % 2}", at + i, acknowledged, failures)) for i in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(RANDOM.uniform(0.02, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for thread in threads:
            thread.join()
        at += 1000
        checked = subprocess.run([PROGRAM, "check", "--root", ROOT], capture_output=True, text=True, check=False)
        if checked.returncode or failures:
            sys.exit(f"seed {SEED}, round {round_number}: {failures} {checked.stdout} {checked.stderr}")
    process = start()
    try:
        for (name, tag), manifest in acknowledged.items():
            status, _, text = call("GET", f"/v2/{name}/manifests/{tag}", headers={"Accept": TYPE})
            if (status, text) != (200, manifest):
                sys.exit(f"seed {SEED}: {name}:{tag} was acknowledged and is {status}")
        push("team/r0", at, acknowledged)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    print(f"seed {SEED}: {ROUNDS} kills, {len(acknowledged)} pushes acknowledged and there")


main()
