"""A strict HTTP/1.1 client: it rejects every malformed answer, and keeps unread bytes for the next answer."""

import base64
import contextlib
import json
import re
import socket
import threading

from common import PATIENCE


class BadAnswer(AssertionError):
    """The broker's answer is malformed by RFC 9112, or its JSON is."""


class Closed(OSError):
    """The broker closed the connection before the answer was complete."""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __repr__(self):
        return "%d %r %r" % (self.status, self.headers, self.body[:300])

    def header(self, name):
        values = [v for n, v in self.headers if n == name.lower()]
        return ", ".join(values) if values else None

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def json(self):
        """The body as strict JSON: no NaN, no repeated names."""
        def pairs(items):
            names = [n for n, _ in items]
            if len(set(names)) != len(names):
                raise BadAnswer("a name twice in %r" % names)
            return dict(items)

        def constant(c):
            raise BadAnswer("%s is not JSON" % c)
        try:
            return json.loads(self.body.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
        except (ValueError, UnicodeDecodeError) as e:
            raise BadAnswer("not JSON: %s in %r" % (e, self.body[:300]))


TOKEN = re.compile(rb"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")


class Connection:
    """One keep-alive connection. send() takes raw bytes; answer() reads one answer. `tls`: an SSLContext to secure it by."""

    def __init__(self, port, timeout=PATIENCE, receive_buffer=None, host="127.0.0.1", source=None, tls=None, name="localhost",
                 session=None):
        self.socket = socket.socket()
        if source:
            self.socket.bind((source, 0))
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect((host, port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                self.socket = tls.wrap_socket(self.socket, server_hostname=name, session=session)
        except OSError:
            self.socket.close()
            raise
        self.input = b""
        self.interim = []   # 1xx statuses seen before the last answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Closed("closed by the broker; unread input %r" % self.input[:200])
        self.input += data

    def _until(self, mark, most=1 << 20):
        while mark not in self.input:
            if len(self.input) > most:
                raise BadAnswer("no %r in %d bytes" % (mark, most))
            self.more()
        found, _, self.input = self.input.partition(mark)
        return found

    def _exactly(self, n):
        parts, have = [self.input], len(self.input)
        while have < n:
            data = self.socket.recv(min(1 << 20, n - have))
            if not data:
                raise Closed("closed %d bytes before the end of a body" % (n - have))
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self.input = whole[n:]
        return whole[:n]

    def _rest(self):
        with contextlib.suppress(Closed):
            while True:
                self.more()
        rest, self.input = self.input, b""
        return rest

    def head(self):
        """Status, minor version and headers of the next answer; interim answers are recorded and skipped."""
        self.interim = []
        while True:
            lines = self._until(b"\r\n\r\n").split(b"\r\n")
            m = re.match(rb"^HTTP/1\.([01]) ([1-5]\d\d) ([\t\x20-\x7e]*)$", lines[0])
            if not m:
                raise BadAnswer("bad status line %r" % lines[0])
            headers = []
            for line in lines[1:]:
                name, colon, value = line.partition(b":")
                if not colon or not TOKEN.match(name) or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
                    raise BadAnswer("bad header line %r" % line)
                headers.append((name.decode().lower(), value.strip(b" \t").decode("latin-1")))
            status = int(m.group(2))
            if status >= 200:
                return status, headers
            self.interim.append(status)

    def chunk(self):
        """The next chunk of a chunked answer; b"" for the last one."""
        line = self._until(b"\r\n", 64)
        if not re.match(rb"^[0-9A-Fa-f]+$", line):
            raise BadAnswer("bad chunk size %r" % line)
        size = int(line, 16)
        data = self._exactly(size)
        if self._exactly(2) != b"\r\n":
            raise BadAnswer("a chunk of %d bytes is not followed by CRLF" % size)
        return data

    def answer(self, method="GET"):
        status, headers = self.head()
        names = [n for n, _ in headers]
        lengths = [v for n, v in headers if n == "content-length"]
        codings = [v for n, v in headers if n == "transfer-encoding"]
        if len(lengths) + len(codings) > 1:
            raise BadAnswer("framed more than once: %r" % headers)
        for once in ("content-type", "date", "server", "connection"):
            if names.count(once) > 1:
                raise BadAnswer("%s more than once" % once)
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif lengths:
            body = self._exactly(int(lengths[0]))
        elif codings:
            if codings[0] != "chunked":
                raise BadAnswer("unknown coding %r" % codings[0])
            body = b"".join(iter(self.chunk, b""))
        else:
            body = self._rest()
        return Answer(status, headers, body)

    def request(self, method, target, body=None, headers=()):
        self.send(request_bytes(method, target, body, headers))
        return self.answer(method)

    def closed(self, timeout=PATIENCE):
        """Waits until the broker closes its side; fails if it sends anything before."""
        self.socket.settimeout(timeout)
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            return True
        if data:
            raise BadAnswer("unexpected bytes %r" % (self.input + data)[:200])
        return True


def request_bytes(method, target, body=None, headers=()):
    if isinstance(headers, dict):
        headers = headers.items()
    if isinstance(body, str):
        body = body.encode()
    lines = ["%s %s HTTP/1.1" % (method, target), "Host: localhost"]
    lines += ["%s: %s" % (n, v) for n, v in headers]
    if body is not None:
        lines.append("Content-Length: %d" % len(body))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def payload_of(m):
    if "base64" in m:
        return base64.b64decode(m["base64"], validate=True)
    return m["data"].encode()


def on_own_connections(b, step):
    """A function that calls step(connection), with one connection for each thread."""
    local = threading.local()

    def run():
        if not hasattr(local, "connection"):
            local.connection = b.connect()
        step(local.connection)
    return run


# ------------------------------------------------------------------------------------------- claims

def assert_problem(answer, code):
    """The body is a problem of RFC 9457 with our additional members."""
    assert answer.header("content-type") == "application/problem+json", answer
    p = answer.json
    assert (p.get("code"), p.get("status")) == (code, answer.status), p
    assert isinstance(p.get("detail"), str) and isinstance(p.get("retryable"), bool), p


def assert_status(answer, status, code=None):
    assert answer.status == status, answer
    if code:
        assert_problem(answer, code)


def assert_refused(answer, status, code=None):
    """An error that says that nothing was appended."""
    assert_status(answer, status, code)
    assert answer.json["appended"] is False, answer
