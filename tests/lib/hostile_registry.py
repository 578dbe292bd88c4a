"""A registry that lies, on a free port of loopback, which it prints. Each repository is one lie (see LIES); the image that
it spoils is otherwise sound. GET /hits?NAME is how many requests came for a repository."""

import collections
import gzip
import hashlib
import http.server
import io
import json
import random
import socket
import sys
import tarfile
import time
import urllib.parse

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
HITS = collections.Counter()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(size, seed=1):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = size
        tar.addfile(member, io.BytesIO(random.Random(seed).randbytes(size)))
    return archive.getvalue()


TAR = tar_of(2 << 20)
LAYER = gzip.compress(TAR, 1, mtime=0)


def zeros(size):
    """A gzip file of `size` zero bytes after one another, and what the tar header before them says."""
    header = tarfile.TarInfo("zeros")
    header.size = size
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9, mtime=0) as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
        file.write(bytes(1024))
    return out.getvalue()


class Image:
    def __init__(self, layer=LAYER, diff_id=None, layer_digest=None, size=None, manifest=None):
        self.layer = layer
        self.config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["sh"]},
                                  "rootfs": {"type": "layers", "diff_ids": [diff_id or digest(TAR)]}}).encode()
        self.manifest = manifest or json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(self.config),
                       "size": len(self.config)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer_digest or digest(layer),
                        "size": len(layer) if size is None else size}]}).encode()
        self.blobs = {digest(self.config): self.config, layer_digest or digest(layer): layer}

    def layer_name(self):
        return json.loads(self.manifest)["layers"][0]["digest"]


SOUND = Image()
BOMB = zeros(600 << 20)
IMAGES = {
    "bomb": Image(BOMB, diff_id=digest(b"")),
    "digest": Image(layer_digest=digest(b"another")),
    "diffid": Image(diff_id=digest(b"another")),
    "size-less": Image(size=len(LAYER) - 1),
    "size-more": Image(size=len(LAYER) + 1),
    "truncated": Image(LAYER[:-2000]),
    "deep": Image(manifest=b'{"schemaVersion":2,"mediaType":"%s","config":' % MANIFEST.encode() + b"[" * 200000),
    "shape": Image(manifest=b'{"schemaVersion":2,"config":[1],"layers":{}}'),
    "both": Image(manifest=b'{"schemaVersion":2,"config":{"digest":"x","size":1},"layers":[],"manifests":[]}'),
}
# How a blob's body is served: by repository.
SERVED = ("hangs", "closes", "endless", "longer", "shorter", "redirects", "redirects-far", "unasked-range")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def drop(self):
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/hits":
            return self.answer(200, str(HITS[url.query]).encode())
        if url.path == "/v2/":
            return self.answer(200, b"{}")
        parts = url.path.split("/")
        name, kind, what = parts[2], parts[3], parts[4]
        HITS[name] += 1
        image = IMAGES.get(name, SOUND)
        if kind == "manifests":
            return self.manifest(name, image)
        body = image.blobs.get(what)
        if body is None:
            return self.answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}')
        if what == image.layer_name() and name in SERVED:
            return getattr(self, name.replace("-", "_"))(body)
        begin = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        if begin:
            return self.answer(206, body[begin:], Content_Range=f"bytes {begin}-{len(body) - 1}/{len(body)}")
        self.answer(200, body)

    do_HEAD = do_GET

    def manifest(self, name, image):
        if name == "huge":
            return self.answer(200, b" " * (64 << 20), Content_Type=MANIFEST)
        if name == "other-manifest":
            return self.answer(200, image.manifest, Content_Type=MANIFEST, Docker_Content_Digest=digest(b"another"))
        if name == "endless-manifest":
            self.send_response(200)
            self.send_header("Content-Type", MANIFEST)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return self.pour(b"10000\r\n" + b" " * 65536 + b"\r\n")
        if name == "loop":
            return self.answer(307, Location=self.path)
        if name == "type":
            return self.answer(200, image.manifest, Content_Type=INDEX)
        self.answer(200, image.manifest, Content_Type=MANIFEST)

    def pour(self, piece):
        try:
            while True:
                self.wfile.write(piece)
        except OSError:
            self.close_connection = True

    def hangs(self, body):  # after a part, for longer than anybody should wait
        self.answer(200, body[:100000], length=len(body))
        self.wfile.flush()
        time.sleep(600)

    def closes(self, body):  # always after a few bytes of what is asked for
        begin = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        left = body[begin:]
        status, more = (206, {"Content_Range": f"bytes {begin}-{len(body) - 1}/{len(body)}"}) if begin else (200, {})
        self.answer(status, left[:0], length=len(left), **more)
        self.drop()

    def endless(self, body):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        self.pour(b"10000\r\n" + bytes(65536) + b"\r\n")

    def longer(self, body):
        self.answer(200, body + b"more")

    def shorter(self, body):
        self.answer(200, body[:-100])

    def redirects(self, _):
        self.answer(307, Location=self.path)

    def redirects_far(self, _):
        number = int(urllib.parse.urlsplit(self.path).query or 0)
        self.answer(307, Location=f"{urllib.parse.urlsplit(self.path).path}?{number + 1}")

    def unasked_range(self, body):
        self.answer(206, body[10:], Content_Range=f"bytes 10-{len(body) - 1}/{len(body)}")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1])
sys.stdout.flush()
server.serve_forever()
