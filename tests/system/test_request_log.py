"""The log of requests (log.requests): a line for each answer, which shows who asked what, and no secret."""

import json
import re

import pytest

from client import assert_status
from common import wait_until

from test_access import add, bearer

CONFIG = "log { requests = true }"
VALUE = r'"(?:[^"\\]|\\.)*"|[^" ]+'
LINE = re.compile(r"\S+ info http: request((?: [a-z]+=(?:%s))+)" % VALUE)


def lines(b):
    """The fields of each line; a line of another form fails."""
    said = [line for line in b.said().splitlines() if " http: request" in line]
    fields = [re.findall("([a-z]+)=(%s)" % VALUE, LINE.fullmatch(line)[1]) for line in said]
    return [{name: json.loads(value) if value.startswith('"') else value for name, value in line} for line in fields]


def line_of(b, answer):
    """The line whose id the answer has."""
    return next(f for f in lines(b) if f["id"] == answer.header("lignum-request-id"))


@pytest.fixture(name="b")
def node_that_logs(node):
    return node(config=CONFIG)


def test_a_line_shows_what_was_asked_and_how_it_ended(b):
    a = b.ok("POST", "/v1/topics/orders/messages?x=SECRET", b"PAYLOAD", {"Authorization": "Basic U0VDUkVU"})
    f = line_of(b, a)
    assert (f["method"], f["path"], f["topic"], f["status"], f["received"]) == ("POST", "/v1/topics/orders/messages", "orders", "200", "7")
    assert f["bytes"] == a.header("content-length")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", f["client"]) and float(f["ms"]) >= 0 and "user" not in f
    a = b.ok("GET", "/v1/topics/orders/messages?wait=0.2&from=1")
    assert float(line_of(b, a)["ms"]) >= 200
    assert line_of(b, b.get("/nowhere"))["status"] == "404"
    assert "SECRET" not in b.said() and "PAYLOAD" not in b.said() and "U0VDUkVU" not in b.said()


def test_requests_that_reach_no_script_are_logged_too(b):
    before = len(lines(b))
    with b.connect() as c:
        c.send(b"GET / HTTP/3.0\r\n\r\n")
        a = c.answer()
    f = line_of(b, a)
    assert (f["status"], "path" in f) == ("505", False)
    a = b.request("GET", "/v1/topics", headers={"Origin": "http://evil.example"})
    assert_status(a, 403, "foreign_origin")
    assert (line_of(b, a)["path"], line_of(b, a)["status"]) == ("/v1/topics", "403")
    assert len(lines(b)) == before + 2


def test_no_request_forges_a_field_or_a_line(b):
    a = b.get('/v1/topics/a%22%20status=200/messages')
    f = line_of(b, a)
    assert (f["path"], f["topic"]) == ("/v1/topics/a%22%20status=200/messages", 'a" status=200')
    assert f["status"] == str(a.status) != "200"
    with b.connect() as c:
        c.send(b'GET /"status="200 HTTP/1.1\r\nHost: x\r\n\r\n')
        a = c.answer()
    assert line_of(b, a)["status"] == str(a.status) == "400"


def test_a_stream_is_logged_when_it_begins(b):
    b.publish("streamed", b"x")
    a = b.ok("GET", "/v1/topics/streamed/messages?limit=1", headers={"Accept": "text/event-stream"})
    f = line_of(b, a)
    assert (f["status"], f["topic"], "bytes" in f) == ("200", "streamed", False)


def test_the_user_is_the_tokens_name_and_secrets_are_not_logged(b):
    secret = add(b, "root")
    other = add(b, "reader", "orders", "read")
    a = b.ok("GET", "/v1/topics", None, bearer(secret))
    assert line_of(b, a)["user"] == "root"
    a = b.request("POST", "/v1/topics/orders/messages", b"x", bearer(other))
    assert_status(a, 403)
    assert (line_of(b, a)["user"], line_of(b, a)["topic"]) == ("reader", "orders")
    b.ok("POST", "/v1/topics/orders/messages", b"x", bearer(secret))
    b.ok("GET", "/v1/topics/orders/messages?limit=1&access_token=" + secret, headers={"Accept": "text/event-stream"})
    assert secret not in b.said() and other not in b.said()


def test_it_is_off_unless_it_is_asked_for_and_changes_at_a_reload(node):
    b = node()
    assert not b.ok("GET", "/v1/topics").header("lignum-request-id")
    b.write_config(CONFIG)
    b.reload()
    assert line_of(b, b.ok("GET", "/v1/topics"))["status"] == "200"
    b.write_config("")
    b.reload()
    count = len(lines(b))
    assert not b.ok("GET", "/v1/topics").header("lignum-request-id")
    assert len(lines(b)) == count
    wait_until(lambda: b.get("/readyz").status == 200)
