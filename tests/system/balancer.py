"""A balancer that gives each request to the next server: what a client then gets must not depend on which one answered.

It reads requests one by one from each connection and passes them on over a connection of their own, so the bytes of an answer
are passed as they come, until the server closes.
"""

import itertools
import socket
import socketserver
import threading


class Handler(socketserver.StreamRequestHandler):
    """One client's connection. Each request goes to the next server; its answer is copied as it comes."""

    def read_request(self):
        """The next request: (head without hop-by-hop headers, body), or None at the end."""
        line = self.rfile.readline()
        if not line.strip():
            return None
        lines, size, chunked = [line], 0, False
        while True:
            header = self.rfile.readline()
            name, _, value = header.partition(b":")
            name = name.strip().lower()
            if not header.strip():
                break
            if name == b"content-length":
                size = int(value)
            if name == b"transfer-encoding":
                chunked = True
                continue
            if name not in (b"connection", b"expect"):
                lines.append(header)
        body = self.rfile.read(size)
        if chunked:
            parts = []
            while True:
                n = int(self.rfile.readline().split(b";")[0], 16)
                parts.append(self.rfile.read(n))
                self.rfile.readline()
                if n == 0:
                    break
            body = b"".join(parts)
            lines.append(b"Content-Length: %d\r\n" % len(body))
        return b"".join(lines) + b"Connection: close\r\n\r\n", body

    def handle(self):
        asked = self.read_request()
        if asked is None:
            return
        with socket.create_connection(next(self.server.turns)) as up:
            up.sendall(asked[0] + asked[1])
            # A client that leaves ends the server's stream, too.
            threading.Thread(target=self.watch, args=(up,), daemon=True).start()
            while True:
                data = up.recv(65536)
                if not data:
                    return
                self.connection.sendall(data)

    def watch(self, up):
        try:
            self.connection.recv(1)
            up.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass                        # a client that has left


class Balancer:
    """with Balancer([(host, port), ...]) as url: ..."""

    def __init__(self, servers):
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.turns = itertools.cycle(servers)      # next() of it is atomic
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return "http://127.0.0.1:%d" % self.server.server_address[1]

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
