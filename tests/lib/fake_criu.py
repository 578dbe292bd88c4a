#!/usr/bin/python3
"""criu swrk 3, as an imitation: notes the options of a request in $FAKE_CRIU.TYPE as "FIELD=VALUE …", agrees to a check
and a dump, and refuses a restore after it has come to the point where hooks run."""
import os
import socket
import sys

DUMP, RESTORE, CHECK, PRE_DUMP, NOTIFY = 1, 2, 3, 4, 6


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        yield key >> 3, value


def encode(field, value):
    if isinstance(value, int):
        return bytes([field << 3, value])
    return bytes([field << 3 | 2, len(value)]) + value


assert sys.argv[1:] == ["swrk", "3"]
peer = socket.socket(fileno=3)
request = dict(fields(peer.recv(1 << 16)))
kind = request[1]
if kind != CHECK:
    with open(f"{os.environ['FAKE_CRIU']}.{kind}", "w") as out:
        print(*(f"{f}={v.decode(errors='replace') if isinstance(v, bytes) else v}" for f, v in fields(request[2])), file=out)
if kind == RESTORE:
    notice = encode(1, b"setup-namespaces") + encode(2, 1)
    peer.send(encode(1, NOTIFY) + encode(2, 1) + encode(5, notice))
    peer.recv(1 << 16)
    peer.send(encode(1, RESTORE) + encode(2, 0) + encode(9, b"an imitation restores nothing"))
else:
    peer.send(encode(1, kind) + encode(2, 1))
