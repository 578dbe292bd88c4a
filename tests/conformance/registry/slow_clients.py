#!/usr/bin/python3
"""usage: slow_clients.py HOST PORT BLOB-PATH PID

500 clients that read a large blob slowly, 500 that send one slowly, all at once; the registry's memory stays below
96 MiB, and one more client is answered meanwhile.
"""

import selectors
import socket
import sys
import time
import http.client

HOST, PORT, BLOB, PID = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
LIMIT_KIB = 96 << 10


def pss():
    for line in open(f"/proc/{PID}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1])


def connect(text):
    s = socket.create_connection((HOST, PORT))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.sendall(text.encode())
    return s


readers = [connect(f"GET {BLOB} HTTP/1.1\r\nHost: r\r\n\r\n") for _ in range(500)]
writers = []
for i in range(500):
    connection = http.client.HTTPConnection(HOST, PORT, timeout=30)
    connection.request("POST", "/v2/slow/blobs/uploads/", b"")
    response = connection.getresponse()
    response.read()
    connection.close()
    writers.append(connect(f"PATCH {response.headers['Location']} HTTP/1.1\r\nHost: r\r\nContent-Length: 10000000\r\n\r\n"))

highest, received = 0, 0
for turn in range(20):
    for s in readers:
        received += len(s.recv(4096))
    for s in writers:
        s.sendall(b"x" * 4096)
    highest = max(highest, pss())
    connection = http.client.HTTPConnection(HOST, PORT, timeout=5)
    connection.request("GET", BLOB, headers={"Range": "bytes=0-99"})
    answer = connection.getresponse()
    assert (answer.status, len(answer.read())) == (206, 100)
    connection.close()
print(f"1,000 slow clients: {highest} KiB, {received} bytes read")
sys.exit(0 if highest < LIMIT_KIB and received > 1000000 else "too much memory, or nothing was read")
