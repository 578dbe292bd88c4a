"""HTTP to a Unix socket, as plain as a contract needs it: one request, its whole answer."""
import http.client
import json
import socket
import urllib.parse


class Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def documents(self):
        """Of a stream: one JSON document after another."""
        text, decoder, out = self.body.decode().strip(), json.JSONDecoder(), []
        while text:
            document, end = decoder.raw_decode(text)
            out.append(document)
            text = text[end:].lstrip()
        return out


def url(path, query):
    if not query:
        return path
    encode = lambda v: json.dumps(v) if isinstance(v, (dict, list)) else str(v).lower() if isinstance(v, bool) else v
    return path + "?" + urllib.parse.urlencode({k: encode(v) for k, v in query.items()})


def ask(path, method, target, body=None, headers=None, timeout=30):
    connection = Connection(path, timeout)
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, target, body=body, headers=sent)
        response = connection.getresponse()
        return Answer(response.status, response.headers, b"" if response.status == 101 else response.read())
    finally:
        connection.close()


def hijack(path, method, target, body=None, headers=None, send=b"", end_input=False, timeout=30):
    """Status, head, and what comes through an upgraded connection until it ends."""
    text = json.dumps(body).encode() if body is not None else b""
    head = {"Host": "localhost", "Connection": "Upgrade", "Upgrade": "tcp", "Content-Length": len(text),
            "Content-Type": "application/json", **(headers or {})}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.connect(path)
        lines = "".join(f"{k}: {v}\r\n" for k, v in head.items())
        sock.sendall(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + text + send)
        received = b""
        while b"\r\n\r\n" not in received:
            piece = sock.recv(65536)
            if not piece:
                break
            received += piece
        start, _, rest = received.partition(b"\r\n\r\n")
        status = int(start.split(b" ", 2)[1])
        if end_input:
            sock.shutdown(socket.SHUT_WR)
        if status in (101, 200):
            while piece := sock.recv(65536):
                rest += piece
        return status, start.decode(), rest


class WebSocket:
    """A client's side of RFC 6455, for messages of up to 64 KiB."""

    def __init__(self, path, target, timeout=20):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        self.file, self.closed = self.sock.makefile("rb"), None
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n") and (line := self.file.readline()):
            self.head += line
        self.status = int(self.head.split(b" ", 2)[1])

    def send(self, payload, opcode=2):
        mask = b"\x0b\x16\x21\x2c"
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        self.sock.sendall(bytes([0x80 | opcode]) + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def receive(self):
        """The payload of the next message; b"" at the end."""
        head = self.file.read(2)
        if len(head) < 2:
            return b""
        size = head[1]
        if size > 125:
            size = int.from_bytes(self.file.read(2 if size == 126 else 8), "big")
        payload = self.file.read(size)
        if head[0] & 15 == 8:
            self.closed = int.from_bytes(payload[:2], "big")
            self.close()
            return b""
        return payload

    def close(self):
        self.file.close()
        self.sock.close()
