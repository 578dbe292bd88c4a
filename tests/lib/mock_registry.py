"""A registry in memory on a free port of loopback, which it prints: t/pull:1 is an image whose layer is large
enough for its beginning to be kept, t/pull:wrong one whose layer is not what its digest says. Takes pushes."""

import gzip
import hashlib
import http.server
import io
import json
import random
import sys
import tarfile
import urllib.parse

BLOBS, MANIFESTS, BY_DIGEST, UPLOADS = {}, {}, {}, {}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def put(data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    BLOBS[digest] = data
    return digest


def image(seed, time=0):
    source = random.Random(seed)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("file")
        data = source.randbytes(2 << 20)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    layer = gzip.compress(archive.getvalue(), 1, mtime=0)
    diff_id = "sha256:" + hashlib.sha256(archive.getvalue()).hexdigest()
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["sh"]},
                         "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": put(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": put(layer), "size": len(layer)}],
    }).encode()
    # The time in a gzip header changes nothing but the digest.
    BLOBS[put(layer)] = layer[:4] + bytes([time]) + layer[5:]
    return manifest


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, code):
        self.answer(404, json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode())

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        if path == "/v2/":
            return self.answer(200, b"{}")
        kind, _, name = path.rpartition("/")
        if kind.endswith("/manifests"):
            kept = MANIFESTS.get(path) or BY_DIGEST.get(name)
            return self.answer(200, kept[1], Content_Type=kept[0]) if kept else self.refuse("MANIFEST_UNKNOWN")
        body = BLOBS.get(name)
        if body is None:
            return self.refuse("BLOB_UNKNOWN")
        begin = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        if begin:
            return self.answer(206, body[begin:], Content_Range=f"bytes {begin}-{len(body) - 1}/{len(body)}")
        self.answer(200, body)

    do_HEAD = do_GET

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        out = b""
        while size := int(self.rfile.readline(), 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return out

    def do_POST(self):
        self.body()
        upload = str(len(UPLOADS))
        UPLOADS[upload] = b""
        self.answer(202, Location=urllib.parse.urlsplit(self.path).path + upload, Range="0-0")

    def do_PATCH(self):
        upload = self.path.rpartition("/")[2]
        UPLOADS[upload] += self.body()
        self.answer(202, Location=self.path, Range=f"0-{len(UPLOADS[upload]) - 1}")

    def do_PUT(self):
        data = self.body()
        path = urllib.parse.urlsplit(self.path)
        kind, _, name = path.path.rpartition("/")
        if kind.endswith("/manifests"):
            kept = self.headers.get("Content-Type", MANIFEST), data
            MANIFESTS[path.path] = BY_DIGEST["sha256:" + hashlib.sha256(data).hexdigest()] = kept
            return self.answer(201, Docker_Content_Digest="sha256:" + hashlib.sha256(data).hexdigest())
        digest = put(UPLOADS.pop(name) + data)
        wanted = urllib.parse.parse_qs(path.query)["digest"][0]
        self.answer(201 if digest == wanted else 400)


    def do_DELETE(self):
        MANIFESTS.pop(urllib.parse.urlsplit(self.path).path, None)
        self.answer(202)


MANIFESTS["/v2/t/pull/manifests/1"] = MANIFEST, image(1)
MANIFESTS["/v2/t/pull/manifests/wrong"] = MANIFEST, image(2, 1)
for one in MANIFESTS.values():
    BY_DIGEST["sha256:" + hashlib.sha256(one[1]).hexdigest()] = one
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1])
sys.stdout.flush()
server.serve_forever()
