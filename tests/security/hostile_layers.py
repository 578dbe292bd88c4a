#!/usr/bin/python3
"""usage: hostile_layers.py DIRECTORY CANARY: writes image archives whose one layer is hostile.

REFUSED/NAME.tar must not load; NAME.txt holds what the error must say. TAKEN/NAME.tar must load, and must not touch
CANARY (a directory of the host) when they do.
"""

import hashlib
import io
import json
import os
import sys
import tarfile


def member(name, kind=tarfile.REGTYPE, link="", mode=0o644, size=0, pax=None, device=(0, 0)):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, size
    info.pax_headers = pax or {}
    info.devmajor, info.devminor = device
    return info


def layer(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"hostile\n"[: info.size].ljust(info.size)))
    return out.getvalue()


def image(path, tar):
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/sh"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]}}
    text = json.dumps(config).encode()
    name = hashlib.sha256(text).hexdigest() + ".json"
    tag = "hostile-" + os.path.basename(path)[:-4] + ":1"
    manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as out:
        for entry, data in ((name, text), ("layer.tar", tar), ("manifest.json", manifest)):
            info = tarfile.TarInfo(entry)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))


def xattr(name, value):
    return {"SCHILY.xattr." + name: value}


def cut(tar, size):
    return tar[:size]


def refused(canary):
    directory, char, link, hard = tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    yield "dotdot", layer(member("../../../../../.." + canary + "/x", size=8)), "leads outside"
    yield "dotdot-inside", layer(member("a/../../x", size=8)), "leads outside"
    yield "hardlink-out", layer(member("x", hard, "../../../etc/shadow")), "outside of the layer"
    yield "hardlink-absolute", layer(member("x", hard, canary + "/file")), "hard link to"
    yield "hardlink-through-link", layer(member("l", link, canary), member("x", hard, "l/file")), "hard link to"
    yield "redirect", layer(member("d", directory, pax=xattr("trusted.overlay.redirect", "/etc"))), \
        "trusted.overlay.redirect is not allowed"
    yield "opaque", layer(member("d", directory, pax=xattr("trusted.overlay.opaque", "y"))), \
        "trusted.overlay.opaque is not allowed"
    yield "metacopy", layer(member("f", pax=xattr("trusted.overlay.metacopy", "x"))), "is not allowed"
    yield "user-opaque", layer(member("d", directory, pax=xattr("user.overlay.opaque", "y"))), \
        "user.overlay.opaque is not allowed"
    yield "own-mark", layer(member("d", directory, pax=xattr("trusted.gantry.parent", "y"))), "is not allowed"
    yield "whiteout-device", layer(member("x", char)), "device 0/0"
    yield "whiteout-of-dotdot", layer(member(".wh...")), "whiteout of nothing"
    yield "below-a-whiteout", layer(member(".wh.a/b")), "not a directory"
    yield "below-a-file", layer(member("f"), member("f/g")), "not a directory"
    yield "loop", layer(member("l", link, "l"), member("l/x")), "levels"
    yield "long-name", layer(member("n" * (64 << 10))), "layer member"
    yield "long-component", layer(member("d/" + "n" * 256)), "layer member"
    yield "long-link", layer(member("l", link, "t" * 4096)), "layer member"
    yield "cut", cut(layer(member("f", size=5000)), 2000), "unexpected end of archive"
    yield "no-tar", b"this is no archive".ljust(1024, b"!"), "tar"
    sparse = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "s", "GNU.sparse.size": "100",
              "GNU.sparse.map": "90,50"}
    yield "sparse-overlap", layer(member("s", size=50, pax=sparse)), "sparse"


def taken(canary):
    directory, link, hard = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    up = "../" * 12
    yield "absolute", layer(member(canary + "/planted", size=8))
    yield "link-absolute", layer(member("l", link, canary), member("l/planted", size=8))
    yield "link-relative", layer(member("l", link, up + canary[1:]), member("l/planted", size=8))
    yield "chmod-through-link", layer(member("l", link, canary), member("l/file", mode=0o777, size=8))
    yield "directory-over-link", layer(member("l", link, canary), member("l", directory, mode=0o777))
    yield "whiteout-through-link", layer(member("l", link, canary), member("l/.wh.file"), member("l/.wh..wh..opq"))
    yield "duplicates", layer(member("d", directory), member("d/x", size=8), member("d", link, canary),
                              member("d/file", size=8), member("d"), member("d", directory), member("d/x", size=3))
    yield "hardlink-of-a-link", layer(member("l", link, canary + "/file"), member("h", hard, "l"))
    big = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "s",
           "GNU.sparse.size": str(100 << 30), "GNU.sparse.map": f"{(100 << 30) - 8},8"}
    yield "sparse-bomb", layer(member("s", size=8, pax=big))


def main():
    out, canary = sys.argv[1], os.path.realpath(sys.argv[2])
    for name in ("refused", "taken"):
        os.makedirs(f"{out}/{name}")
    for name, tar, says in refused(canary):
        image(f"{out}/refused/{name}.tar", tar)
        with open(f"{out}/refused/{name}.txt", "w", encoding="ascii") as file:
            file.write(says)
    for name, tar in taken(canary):
        image(f"{out}/taken/{name}.tar", tar)


main()
