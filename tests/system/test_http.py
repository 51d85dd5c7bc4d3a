"""The HTTP server against clients that break the rules (doc/http.md, "Strictness")."""

import re
import socket
import time

import pytest

from client import BadAnswer, Closed, Connection, assert_refused, assert_status, request_bytes
from common import as_id, wait_until

HOST = b"Host: localhost\r\n"


def get(target=b"/ping", headers=b"", version=b"HTTP/1.1"):
    return b"GET " + target + b" " + version + b"\r\n" + HOST + headers + b"\r\n"


def post(headers, body=b""):
    return b"POST /v1/topics/hostile/messages HTTP/1.1\r\n" + HOST + headers + b"\r\n" + body


def chunked(body, headers=b""):
    return post(b"Transfer-Encoding: chunked\r\n" + headers, body)


# A request and the status of its only answer. Each is a framing error, exceeds a limit, or is refused; none may be taken for two
# requests, and none may append anything.
REFUSED = {
    "no version": (b"GET /ping\r\n" + HOST + b"\r\n", 400),
    "two spaces": (b"GET  /ping HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "tab for a space": (b"GET\t/ping HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "space before the method": (b" GET /ping HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "bare LF": (b"GET /ping HTTP/1.1\n" + b"Host: localhost\n\n", 400),
    "bare LF after a header": (b"GET /ping HTTP/1.1\r\nHost: localhost\n\r\n", 400),
    "bare CR": (b"GET /ping HTTP/1.1\r\nHost: localhost\r\r\n\r\n", 400),
    "NUL in a header": (get(headers=b"A: b\x00c\r\n"), 400),
    "control byte in a header": (get(headers=b"A: b\x01c\r\n"), 400),
    "NUL in the target": (get(b"/pi\x00ng"), 400),
    "folded header": (get(headers=b"A: b\r\n c\r\n"), 400),
    "space before the colon": (get(headers=b"A : b\r\n"), 400),
    "header without a colon": (get(headers=b"nonsense\r\n"), 400),
    "header without a name": (get(headers=b": b\r\n"), 400),
    "no Host": (b"GET /ping HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (get(headers=b"Host: y\r\n"), 400),
    "bad Host": (b"GET /ping HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "absolute form": (get(b"http://x/ping"), 400),
    "authority form": (b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "asterisk form": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no leading slash": (get(b"ping"), 400),
    "fragment": (get(b"/ping#x"), 400),
    "bad escape": (get(b"/pi%zzng"), 400),
    "cut escape": (get(b"/ping%2"), 400),
    "escaped NUL": (get(b"/ping%00"), 400),
    "byte above 127 in the target": (get(b"/\xff"), 400),
    "HTTP/2.0": (get(version=b"HTTP/2.0"), 505),
    "HTTP/0.9 version": (get(version=b"HTTP/0.9"), 505),
    "lower-case version": (get(version=b"http/1.1"), 400),
    "long version": (get(version=b"HTTP/1.10"), 400),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 20, 400),
    "long target": (get(b"/" + b"a" * 9000), 414),
    "long head": (get(headers=b"A: " + b"a" * 17000 + b"\r\n"), 431),
    "many headers": (get(headers=b"".join(b"A%d: b\r\n" % i for i in range(200))), 431),
    "two lengths that differ": (post(b"Content-Length: 1\r\nContent-Length: 2\r\n", b"ab"), 400),
    "two lengths that agree": (post(b"Content-Length: 1\r\nContent-Length: 1\r\n", b"a"), 400),
    "a list of lengths": (post(b"Content-Length: 1, 1\r\n", b"a"), 400),
    "signed length": (post(b"Content-Length: +1\r\n", b"a"), 400),
    "negative length": (post(b"Content-Length: -1\r\n"), 400),
    "hexadecimal length": (post(b"Content-Length: 0x1\r\n", b"a"), 400),
    "empty length": (post(b"Content-Length: \r\n"), 400),
    "length beyond 64 bits": (post(b"Content-Length: 99999999999999999999999\r\n"), 413),
    "length beyond the limit": (post(b"Content-Length: 100000000\r\n"), 413),
    "length and coding": (post(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
    "coding and length": (post(b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"0\r\n\r\n"), 400),
    "other coding": (post(b"Transfer-Encoding: gzip\r\n", b"x"), 501),
    "two codings": (post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 501),
    "coding twice": (post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
    "identity": (post(b"Transfer-Encoding: identity\r\n", b"x"), 501),
    "space before the colon of a coding": (post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), 400),
    "coding with a vertical tab": (post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), 400),
    "chunk size with 0x": (chunked(b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with a sign": (chunked(b"+3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with a space": (chunked(b" 3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk without a size": (chunked(b"\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk with bare LF": (chunked(b"3\nabc\n0\n\n"), 400),
    "chunk longer than said": (chunked(b"3\r\nabcd\r\n0\r\n\r\n"), 400),
    "chunk size beyond 64 bits": (chunked(b"fffffffffffffffff\r\n"), 400),
    "chunk line without end": (chunked(b"3;" + b"a" * 1000), 400),
    "trailers without end": (chunked(b"0\r\n" + b"A: b\r\n" * 2000), 400),
    "chunked body beyond the limit": (chunked(b"1000000\r\n"), 413),
    "other expectation": (post(b"Expect: 200-ok\r\nContent-Length: 1\r\n", b"a"), 417),
    "HTTP/1.0 with a coding": (b"POST /ping HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
}


@pytest.fixture(scope="module")
def b(share_node):
    b = share_node(set=["limits.head_timeout=2", "limits.body_timeout=2", "limits.idle_timeout=3"])
    b.publish("hostile", b"first")
    return b


@pytest.mark.parametrize("what", REFUSED)
def test_every_malformed_request_is_answered_once_and_closed(b, what):
    request, status = REFUSED[what]
    with b.connect() as c:
        c.send(request + get(b"/healthz"))      # must not be answered
        a = c.answer()
        assert a.status == status, a
        assert (a.header("connection") or "").lower() == "close"
        assert c.closed(5)
    assert b.topic("hostile")["next"] == 1, "nothing of that was appended"


def test_errors_of_the_server_itself_are_problems_too(b):
    with b.connect() as c:
        c.send(b"GET /ping HTTP/1.1\r\n\r\n")
        a = c.answer()
    assert_refused(a, 400, "bad_request")
    assert "Host" in a.json["detail"]


def test_the_same_bytes_one_by_one_get_the_same_answer(b):
    upload = chunked(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n").replace(b"hostile", b"slowly")
    for request, status in [(get(), 200), (upload, 200), REFUSED["bare CR"], REFUSED["chunk longer than said"],
                            REFUSED["folded header"]]:
        with b.connect() as c:
            for i in range(len(request)):
                try:
                    c.send(request[i:i + 1])
                except OSError:
                    break       # refused before its end is sent
            assert c.answer().status == status, request


def test_http_1_0_is_answered_and_closed(b):
    with b.connect() as c:
        c.send(b"GET /ping HTTP/1.0\r\n\r\n")
        a = c.answer()
        assert (a.status, a.body) == (200, b"PONG")
        assert c.closed(5)
    with b.connect() as c:     # HTTP/1.0 has no chunked coding
        c.send(b"GET /v1/topics/hostile/messages HTTP/1.0\r\n\r\n")
        a = c.answer()
        assert a.status == 200
        assert a.header("transfer-encoding") is None


def test_connection_close_is_honoured(b):
    with b.connect() as c:
        a = c.request("GET", "/ping", headers={"Connection": "close"})
        assert a.header("connection").lower() == "close"
        assert c.closed(5)


def test_pipelined_requests_are_answered_in_order(b):
    n = 200
    with b.connect() as c:
        out = b"".join(request_bytes("POST", "/v1/topics/pipelined/messages", b"%d" % i) for i in range(n))
        c.send(out + get())
        for i in range(n):
            a = c.answer()
            assert (a.status, a.json["first"]) == (200, i)
        assert c.answer().body == b"PONG"
    assert b.messages("pipelined") == [b"%d" % i for i in range(n)]


def test_pipelining_behind_a_waiting_request_keeps_the_order(b):
    # The HTTP server of libevent ends its process here.
    with b.connect() as c:
        c.send(get(b"/v1/topics/hostile/messages?from=1&wait=1") + get() + get(b"/healthz"))
        assert c.answer().json["messages"] == []
        assert c.answer().body == b"PONG"
        assert c.answer().status == 200


def test_a_client_that_goes_while_it_waits_is_let_go_when_its_wait_ends(b):
    before = b.descriptors_open()
    for _ in range(50):
        with b.connect() as c:
            c.send(get(b"/v1/topics/hostile/messages?from=1&wait=2") + get())
    for _ in range(50):
        with b.connect() as c:
            c.send(post(b"Content-Length: 1000\r\n", b"cut short"))
    wait_until(lambda: b.descriptors_open() <= before, what="their sockets are closed")
    assert b.topic("hostile")["next"] == 1


def test_expect_100_continue_is_answered_before_the_body(b):
    with b.connect() as c:
        c.send(post(b"Expect: 100-continue\r\nContent-Length: 5\r\n").replace(b"hostile", b"expected"))
        while b"\r\n\r\n" not in c.input:
            c.more()
        assert c.input.startswith(b"HTTP/1.1 100 "), c.input
        c.send(b"hello")
        assert c.answer().status == 200
        assert c.interim == [100]
    assert b.messages("expected") == [b"hello"]


def test_expect_100_continue_of_too_large_a_body_is_refused_at_once(b):
    with b.connect() as c:
        c.send(post(b"Expect: 100-continue\r\nContent-Length: 100000000\r\n"))
        a = c.answer()
        assert_status(a, 413, "too_large")
        assert a.json["limit"] == 8 << 20
        assert c.interim == []


@pytest.mark.parametrize("framing", [b"Content-Length: 8000000", b"Transfer-Encoding: chunked",
                                     b"Content-Length: 5\r\nExpect: 100-continue"], ids=as_id)
def test_a_request_without_a_route_is_refused_before_its_body(b, framing):
    for target, status, allow in ((b"POST /no/such", 404, None), (b"PUT /ping", 405, "GET, HEAD, OPTIONS"),
                                  (b"PATCH /v1/topics/t/messages", 405, "GET, HEAD, OPTIONS, POST")):
        with b.connect() as c:
            c.send(target + b" HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n\r\n")
            a = c.answer()
            assert (a.status, a.header("allow"), a.header("connection"), c.interim) == (status, allow, "close", [])
            assert a.header("content-type") == "application/problem+json"
    with b.connect() as c:
        for _ in range(2):
            assert c.request("POST", "/no/such", b"body").status == 404, "one whose body is there keeps its connection"


def test_the_413_reaches_a_client_that_is_still_sending(b):
    with b.connect() as c:
        c.send(post(b"Content-Length: 12000000\r\n"))
        try:
            for _ in range(12):
                c.send(b"x" * 1000000)
        except OSError:
            pass
        assert_status(c.answer(), 413)


def test_a_chunked_upload_is_one_message(b):
    body = b"".join(b"%x\r\n" % n + b"z" * n + b"\r\n" for n in [1, 10, 4096, 65536, 100000]) + b"0\r\n\r\n"
    with b.connect() as c:
        c.send(chunked(body).replace(b"hostile", b"chunks") + get())
        assert c.answer().status == 200
        assert c.answer().body == b"PONG"
    assert b.messages("chunks") == [b"z" * (1 + 10 + 4096 + 65536 + 100000)]


def test_many_tiny_chunks_are_not_quadratic(b):
    n = 200000
    with b.connect() as c:
        began = time.monotonic()
        c.send(chunked(b"1\r\nx\r\n" * n + b"0\r\n\r\n").replace(b"hostile", b"tiny-chunks"))
        assert c.answer().status == 200
        assert time.monotonic() - began < 10
    assert b.messages("tiny-chunks") == [b"x" * n]


def test_an_empty_line_before_a_request_is_skipped_once(b):
    with b.connect() as c:
        c.send(b"\r\n" + get())
        assert c.answer().body == b"PONG"
        c.send(b"\r\n\r\n" + get())
        assert c.answer().status == 400


def test_a_slow_head_is_ended_by_an_absolute_deadline(b):
    # A new byte does not restart the timeout.
    trickles(b, get(headers=b"A: " + b"a" * 500 + b"\r\n"))


def test_a_slow_body_is_ended_by_an_absolute_deadline(b):
    trickles(b, post(b"Content-Length: 1000\r\n", b"x" * 1000))


def trickles(b, request):
    began = time.monotonic()
    with b.connect() as c:
        c.socket.settimeout(0.05)
        answer = b""
        for i in range(len(request)):
            try:
                c.send(request[i:i + 1])
                data = c.socket.recv(65536)
                answer += data
                if not data or b"\r\n\r\n" in answer:
                    break
            except socket.timeout:
                continue
            except OSError:
                break
        took = time.monotonic() - began
        assert answer.startswith(b"HTTP/1.1 408 "), answer[:100]
    assert took < 15                 # as a whole it would take 25 s and more


def test_an_idle_connection_is_closed_in_the_end(b):
    with b.connect() as c:
        c.request("GET", "/ping")
        assert c.closed()


def test_percent_escapes_are_decoded_once(b):
    a = b.post("/v1/topics/%2561/messages", b"x")
    assert a.status != 200, "a doubly escaped name is not decoded twice"


def test_answers_have_date_and_no_broken_headers(b):
    a = b.get("/ping")
    date = a.header("date")
    if date is not None:
        assert re.search(r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$", date)


def test_a_half_closed_client_gets_its_answer(b):
    with b.connect() as c:
        c.send(post(b"Content-Length: 5\r\n", b"hello").replace(b"hostile", b"half-closed"))
        c.socket.shutdown(socket.SHUT_WR)
        assert c.answer().status == 200
        assert c.closed(5)


def test_after_all_that_memory_and_descriptors_are_as_before(b):
    b.get("/ping")
    wait_until(lambda: b.descriptors_open() < 40, what="descriptors are given back")
    assert b.status("VmRSS") < 400 * 1024


@pytest.mark.parametrize("text", [
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
], ids=as_id)
def test_this_client_notices_a_wrong_answer(text):
    """A test of the harness: its client rejects malformed answers."""
    with socket.create_server(("127.0.0.1", 0)) as server, Connection(server.getsockname()[1], timeout=2) as c:
        peer, _ = server.accept()
        peer.sendall(text)
        peer.close()
        with pytest.raises((BadAnswer, Closed)):
            c.answer()
