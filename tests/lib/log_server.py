#!/usr/bin/env python3
"""A server of logs: listens, and writes what it gets to a file, one JSON text a line.

    log_server.py KIND ADDRESS OUT [--ack] [--port-file FILE]

KIND: lines (syslog over a stream), octets (syslog of RFC 5425), datagrams (each one text), gelf-udp, gelf-tcp,
fluentd, journal. ADDRESS: a port on 127.0.0.1 (0: any, told in FILE), or a path.
"""

import argparse
import array
import gzip
import json
import os
import socket
import struct
import threading
import zlib

parser = argparse.ArgumentParser()
parser.add_argument("kind")
parser.add_argument("address")
parser.add_argument("out")
parser.add_argument("--ack", action="store_true")
parser.add_argument("--port-file")
args = parser.parse_args()

DATAGRAMS = args.kind in ("datagrams", "gelf-udp", "journal")
out = open(args.out, "a", buffering=1)
lock = threading.Lock()


def record(message):
    with lock:
        out.write(json.dumps(message) + "\n")


class Unpacker:
    """MessagePack from a stream (https://github.com/msgpack/msgpack/blob/master/spec.md)."""

    def __init__(self, stream):
        self.stream = stream

    def take(self, size):
        data = self.stream.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def value(self):
        head = self.take(1)[0]
        if head < 0x80:
            return head
        if head < 0x90:
            return self.mapping(head & 15)
        if head < 0xA0:
            return [self.value() for _ in range(head & 15)]
        if head < 0xC0:
            return self.text(head & 31)
        if head == 0xC0:
            return None
        if head in (0xC2, 0xC3):
            return head == 0xC3
        if head in (0xCC, 0xCD, 0xCE, 0xCF):
            return self.number(1 << (head - 0xCC))
        if head in (0xD0, 0xD1, 0xD2, 0xD3):
            return int.from_bytes(self.take(1 << (head - 0xD0)), "big", signed=True)
        if head == 0xD7:
            kind = self.take(1)[0]
            assert kind == 0, kind
            return {"seconds": self.number(4), "nanoseconds": self.number(4)}
        if head in (0xD9, 0xDA, 0xDB):
            return self.text(self.number(1 << (head - 0xD9)))
        if head == 0xDE:
            return self.mapping(self.number(2))
        raise ValueError(f"head {head:#x}")

    def text(self, size):
        return self.take(size).decode("utf-8", "replace")

    def mapping(self, size):
        return {self.value(): self.value() for _ in range(size)}


def lines(connection, stream):
    for line in stream:
        record({"text": line.decode("utf-8", "replace").rstrip("\n")})


def octets(connection, stream):
    while True:
        size = b""
        while not size.endswith(b" "):
            byte = stream.read(1)
            if not byte:
                return
            size += byte
        record({"text": stream.read(int(size)).decode().rstrip("\n")})


def gelf_tcp(connection, stream):
    text = b""
    while byte := stream.read(1):
        if byte == b"\0":
            record(json.loads(text))
            text = b""
        else:
            text += byte


def fluentd(connection, stream):
    unpacker = Unpacker(stream)
    while True:
        try:
            message = unpacker.value()
        except EOFError:
            return
        record({"tag": message[0], "time": message[1], "record": message[2]})
        if args.ack and len(message) > 3:
            chunk = message[3]["chunk"].encode()
            connection.sendall(b"\x81\xa3ack" + bytes([0xD9, len(chunk)]) + chunk)


def inflate(data):
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"x"):
        return zlib.decompress(data)
    return data


chunks = {}


def gelf_udp(data):
    if data.startswith(b"\x1e\x0f"):
        name, number, count = data[2:10], data[10], data[11]
        parts = chunks.setdefault(name, {})
        parts[number] = data[12:]
        if len(parts) < count:
            return
        data = b"".join(parts[i] for i in range(count))
        del chunks[name]
        chunked = count
    else:
        chunked = 1
    record({**json.loads(inflate(data)), "chunks": chunked})


def journal(data):
    fields = {}
    while data:
        name, data = data.split(b"\n", 1) if b"=" not in data.split(b"\n", 1)[0] else (None, data)
        if name is None:
            line, data = data.split(b"\n", 1)
            key, value = line.split(b"=", 1)
        else:
            key, (size,) = name, struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + size], data[9 + size :]
        fields[key.decode()] = value.decode("utf-8", "replace")
    record(fields)


family = socket.AF_UNIX if args.address.startswith("/") else socket.AF_INET
server = socket.socket(family, socket.SOCK_DGRAM if DATAGRAMS else socket.SOCK_STREAM)
if family == socket.AF_UNIX:
    if os.path.exists(args.address):
        os.unlink(args.address)
    server.bind(args.address)
else:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(args.address)))
if not DATAGRAMS:
    server.listen(64)
if args.port_file:
    with open(args.port_file + ".new", "w") as f:
        f.write(str(server.getsockname()[1]) if family == socket.AF_INET else args.address)
    os.rename(args.port_file + ".new", args.port_file)


def serve(connection, handle):
    with connection, connection.makefile("rb") as stream:
        handle(connection, stream)


if DATAGRAMS:
    while True:
        data, ancillary, _, _ = server.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        for level, kind, content in ancillary:
            fds = array.array("i")
            fds.frombytes(content[: fds.itemsize])
            with os.fdopen(fds[0], "rb") as f:
                f.seek(0)
                data = f.read()
        if args.kind == "datagrams":
            record({"text": data.decode("utf-8", "replace").rstrip("\n")})
        else:
            {"gelf-udp": gelf_udp, "journal": journal}[args.kind](data)
else:
    handler = {"lines": lines, "octets": octets, "gelf-tcp": gelf_tcp, "fluentd": fluentd}[args.kind]
    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection, handler), daemon=True).start()
