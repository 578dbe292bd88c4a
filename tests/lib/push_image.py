"""usage: push_image.py HOST:PORT NAME TAG OS/ARCHITECTURE[/VARIANT] oci|docker [USER:PASSWORD]: puts a small image for that
platform into a plain registry and prints its digest."""

import base64
import gzip
import hashlib
import io
import json
import sys
import tarfile
import urllib.request

TYPES = {
    "oci": ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.layer.v1.tar+gzip"),
    "docker": ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.container.image.v1+json",
               "application/vnd.docker.image.rootfs.diff.tar.gzip"),
}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


host, name, tag, platform, form, *user = sys.argv[1:]
base = f"http://{host}/v2/{name}"
manifest_type, config_type, layer_type = TYPES[form]


def ask(url, method, data, kind):
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(user[0].encode()).decode())
    with urllib.request.urlopen(request) as answer:
        return answer.headers


def put_blob(data, kind):
    place = ask(f"{base}/blobs/uploads/", "POST", b"", "application/octet-stream")["Location"]
    if place.startswith("/"):
        place = f"http://{host}{place}"
    ask(place + ("&" if "?" in place else "?") + "digest=" + digest(data), "PUT", data, "application/octet-stream")
    return {"mediaType": kind, "size": len(data), "digest": digest(data)}


tar = io.BytesIO()
with tarfile.open(fileobj=tar, mode="w") as archive:
    entry = tarfile.TarInfo("platform")
    entry.size = len(platform)
    archive.addfile(entry, io.BytesIO(platform.encode()))
config = {"architecture": platform.split("/")[1], "os": platform.split("/")[0], "config": {},
          "rootfs": {"type": "layers", "diff_ids": [digest(tar.getvalue())]}}
if platform.count("/") == 2:
    config["variant"] = platform.split("/")[2]
document = json.dumps({
    "schemaVersion": 2, "mediaType": manifest_type,
    "config": put_blob(json.dumps(config).encode(), config_type),
    "layers": [put_blob(gzip.compress(tar.getvalue(), mtime=0), layer_type)],
    "annotations" if form == "oci" else "note": {"of": "a <small> image & its blobs"},
}, indent=2).encode()
ask(f"{base}/manifests/{tag}", "PUT", document, manifest_type)
print(digest(document))
