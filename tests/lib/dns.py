#!/usr/bin/env python3
"""DNS by hand, for tests.

dns.py ask NAME TYPE [--tcp] [--edns SIZE] [--server ADDRESS] [--port N] [--wait SECONDS]
    prints the response code and, a line each, what the answer section has ("A 10.0.0.2"); "truncated" too.
dns.py serve ADDRESS LOG
    a resolver: a line in LOG for each question. small.example has an address, large.example a hundred
    (truncated by datagram), bad.example SERVFAIL, slow.example no answer; other names are NXDOMAIN.
dns.py load SECONDS NAME
    asks for NAME again and again, several at a time; prints how many answers a second came, and the median of the
    latency of one at a time in microseconds.
"""
import argparse
import select
import socket
import struct
import sys
import time

TYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def write_name(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.rstrip(".").split(".") if p) + b"\0"


def read_name(data, at):
    labels, end = [], None
    while True:
        length = data[at]
        if length & 0xC0:
            end = end or at + 2
            at = struct.unpack("!H", data[at:at + 2])[0] & 0x3FFF
        elif length == 0:
            return ".".join(labels), end or at + 1
        else:
            labels.append(data[at + 1:at + 1 + length].decode())
            at += 1 + length


def question(name, kind, edns=0, ident=1):
    out = struct.pack("!6H", ident, 0x100, 1, 0, 0, 1 if edns else 0) + write_name(name) + struct.pack("!2H", kind, 1)
    return out + (b"\0" + struct.pack("!2HIH", 41, edns, 0, 0) if edns else b"")


def show(data):
    _, flags, _, answers, _, _ = struct.unpack("!6H", data[:12])
    print(RCODES[flags & 15] + (" truncated" if flags & 0x200 else ""))
    _, at = read_name(data, 12)
    at += 4
    for _ in range(answers):
        _, at = read_name(data, at)
        kind, _, _, size = struct.unpack("!2HIH", data[at:at + 10])
        at += 10
        if kind == 1:
            print("A", socket.inet_ntop(socket.AF_INET, data[at:at + 4]))
        elif kind == 28:
            print("AAAA", socket.inet_ntop(socket.AF_INET6, data[at:at + 16]))
        elif kind == 12:
            print("PTR", read_name(data, at)[0])
        else:
            print("type", kind)
        at += size


def exactly(stream, size):
    out = b""
    while len(out) < size:
        piece = stream.recv(size - len(out))
        if not piece:
            raise EOFError
        out += piece
    return out


def ask(args):
    data = question(args.name, TYPES[args.type], args.edns)
    if args.tcp:
        with socket.create_connection((args.server, args.port), timeout=args.wait) as stream:
            stream.sendall(struct.pack("!H", len(data)) + data)
            show(exactly(stream, struct.unpack("!H", exactly(stream, 2))[0]))
    else:
        with socket.socket(type=socket.SOCK_DGRAM) as datagram:
            datagram.settimeout(args.wait)
            datagram.connect((args.server, args.port))  # the answer must come from there
            datagram.send(data)
            if args.sent:
                open(args.sent, "w").close()
            show(datagram.recv(65535))


def respond(data, stream):
    name, end = read_name(data, 12)
    name = name.lower()
    kind = struct.unpack("!H", data[end:end + 2])[0]
    if name == "slow.example":
        return None
    code = {"bad.example": 2, "small.example": 0, "large.example": 0}.get(name, 3)
    count = {"small.example": 1, "large.example": 100}.get(name, 0) if kind == 1 else 0
    flags = 0x8180 | code
    if count > 1 and not stream:
        count, flags = 0, flags | 0x200
    out = data[:2] + struct.pack("!5H", flags, 1, count, 0, 0) + data[12:end + 4]
    for i in range(count):
        out += struct.pack("!3HIH", 0xC00C, 1, 1, 60, 4) + bytes([192, 0, 2, i + 1])
    return out


def serve(args):
    datagram = socket.socket(type=socket.SOCK_DGRAM)
    datagram.bind((args.address, 53))
    stream = socket.create_server((args.address, 53))
    with open(args.log, "a", buffering=1) as log:
        print("up", file=log)
        while True:
            ready, _, _ = select.select([datagram, stream], [], [])
            if datagram in ready:
                data, peer = datagram.recvfrom(65535)
                print("udp", read_name(data, 12)[0], file=log)
                answer = respond(data, False)
                if answer:
                    datagram.sendto(answer, peer)
            if stream in ready:
                client, _ = stream.accept()
                with client:
                    data = exactly(client, struct.unpack("!H", exactly(client, 2))[0])
                    print("tcp", read_name(data, 12)[0], file=log)
                    answer = respond(data, True)
                    if answer:
                        client.sendall(struct.pack("!H", len(answer)) + answer)


def load(args):
    data = question(args.name, 1)
    with socket.socket(type=socket.SOCK_DGRAM) as datagram:
        datagram.settimeout(5)
        datagram.connect(("127.0.0.11", 53))
        times = []
        end = time.monotonic() + args.seconds / 3
        while time.monotonic() < end:
            begin = time.perf_counter()
            datagram.send(data)
            datagram.recv(65535)
            times.append(time.perf_counter() - begin)
        answers, begin = 0, time.monotonic()
        while time.monotonic() < begin + args.seconds:
            for _ in range(32):
                datagram.send(data)
            for _ in range(32):
                datagram.recv(65535)
            answers += 32
        print(round(answers / (time.monotonic() - begin)), round(sorted(times)[len(times) // 2] * 1e6))


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("ask")
    verb.add_argument("name")
    verb.add_argument("type", choices=TYPES)
    verb.add_argument("--tcp", action="store_true")
    verb.add_argument("--edns", type=int, default=0)
    verb.add_argument("--server", default="127.0.0.11")
    verb.add_argument("--port", type=int, default=53)
    verb.add_argument("--wait", type=float, default=10)
    verb.add_argument("--sent", help="a file that is made when the question is on its way")
    verb.set_defaults(run=ask)
    verb = verbs.add_parser("serve")
    verb.add_argument("address")
    verb.add_argument("log")
    verb.set_defaults(run=serve)
    verb = verbs.add_parser("load")
    verb.add_argument("seconds", type=float)
    verb.add_argument("name")
    verb.set_defaults(run=load)
    args = parser.parse_args()
    try:
        args.run(args)
    except socket.timeout:
        sys.exit("no answer")


main()
