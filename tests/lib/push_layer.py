"""usage: push_layer.py HOST:PORT NAME TAR BLOB…: puts an image into a plain registry whose layers are the BLOBs as they are.
TAR is what each of them unpacks to; "-": each is a gzip file of its own."""

import gzip
import hashlib
import json
import sys
import urllib.request

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def put(url, method, data, kind):
    urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": kind}, method=method)).read()


host, name, tar, *blobs = sys.argv[1:]
base = f"http://{host}/v2/{name}"
contents = [open(blob, "rb").read() for blob in blobs]
diff_ids = [digest(gzip.decompress(data)) for data in contents] if tar == "-" else [digest(open(tar, "rb").read())] * len(blobs)
config = json.dumps({"os": "linux", "architecture": "amd64", "config": {},
                     "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
layers = []
for data in [config, *contents]:
    put(f"{base}/blobs/uploads/?digest={digest(data)}", "POST", data, "application/octet-stream")
    layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": digest(data), "size": len(data)})
layers[0]["mediaType"] = "application/vnd.oci.image.config.v1+json"
put(f"{base}/manifests/1", "PUT",
    json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": layers[0], "layers": layers[1:]}).encode(), MANIFEST)
