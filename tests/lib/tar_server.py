"""usage: tar_server.py [ADDRESS:PORT]: serves a root file system, soundly and otherwise, on a free port of loopback, which it
prints; as a proxy, too. Every request is a line on standard error."""

import gzip
import http.server
import io
import sys
import tarfile
import time

archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w") as tar:
    entry = tarfile.TarInfo("hello")
    entry.size = 6
    tar.addfile(entry, io.BytesIO(b"world\n"))
TAR = archive.getvalue()
GZIP = gzip.compress(TAR, mtime=0)


def bomb():
    header = tarfile.TarInfo("zeros")
    header.size = 1 << 30
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9, mtime=0) as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(512):
            file.write(bytes(1 << 20))
    return out.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        headers.setdefault("Content_Length", len(body))
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.removeprefix("http://192.0.2.9:6010")  # of a request to a proxy
        if path == "/tar":
            self.answer(200, TAR)
        elif path == "/gzip":
            self.answer(200, GZIP)
        elif path == "/unsized":
            self.answer(200, TAR, Content_Length=None, Connection="close")
            self.close_connection = True
        elif path == "/moved":
            self.answer(302, Location="/tar")
        elif path == "/loop":
            self.answer(302, Location="/loop")
        elif path.startswith("/further"):
            self.answer(302, Location=f"/further{int(path[8:] or 0) + 1}")
        elif path == "/denied":
            self.answer(403, b"not for you\n")
        elif path == "/page":
            self.answer(500, b"<html>no</html>")
        elif path == "/noise":
            self.answer(200, b"noise" * 1000)
        elif path == "/announced":
            self.answer(200, b"x", Content_Length=1 << 50)
        elif path == "/short":
            self.answer(200, TAR[:2000], Content_Length=len(TAR))
            self.close_connection = True
        elif path == "/bomb":
            self.answer(200, bomb())
        elif path == "/endless":
            self.answer(200, Content_Length=None, Connection="close")
            header = tarfile.TarInfo("endless")
            header.size = 1 << 40
            self.wfile.write(header.tobuf(tarfile.GNU_FORMAT))
            while True:
                self.wfile.write(bytes(1 << 20))
        elif path == "/hangs":
            self.answer(200, TAR[:600], Content_Length=len(TAR))
            self.wfile.flush()
            time.sleep(60)
        else:
            self.answer(404, b"there is no such file\n")

    def log_message(self, _format, *args):
        print(self.requestline, file=sys.stderr, flush=True)


address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:0"
host, port = address.rsplit(":", 1)
server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
