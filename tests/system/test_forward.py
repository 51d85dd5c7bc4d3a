"""Writes to a follower: what it forwards to the leader, what it answers, and what it never sends twice.

The follower is real; its leader is a stand-in that does what each test needs. There is no Consul: the follower waits for
one, and follows whom the console tells it to. Without a secret, because with one it would send nothing to an address
that the leader has not told it over the connection between them.
"""

import contextlib
import json
import re
import socket
import threading
import time
import types

import pytest

from client import assert_refused, assert_status, request_bytes
from common import PATIENCE, as_id, hold_for, in_threads, running, wait_until

INCARNATION = "0123456789abcdef" * 2


def refusal(code, status=503, **more):
    body = json.dumps(dict({"code": code, "status": status, "detail": "", "retryable": True}, **more)).encode()
    return answer(status, body, "application/problem+json")


def answer(status, body=b"", kind="application/json", headers=()):
    lines = ["HTTP/1.1 %d X" % status, "Content-Length: %d" % len(body), "Content-Type: " + kind, *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Leader:
    """A stand-in for a leader. Each request takes the next step of `plan`, and the last step repeats: bytes are sent as the
    answer, None closes the connection, and a function is called before the connection is closed."""

    def __init__(self, *plan):
        self.plan, self.requests = list(plan), []
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                c, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        with c, contextlib.suppress(OSError):       # the follower may be gone
            c.settimeout(PATIENCE)
            while self.take(c):
                step = self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]
                if callable(step):
                    step()
                if not isinstance(step, bytes):
                    return
                c.sendall(step)

    def take(self, c):
        data = b""
        while b"\r\n\r\n" not in data:
            more = c.recv(65536)
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        headers = {}
        for line in head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        while len(body) < int(headers.get("content-length", 0)):
            body += c.recv(65536)
        method, target, _ = head.decode("latin-1").split("\r\n")[0].split(" ")
        self.requests.append((method, target, headers, body))
        return True

    def close(self):
        self.listening.close()


@pytest.fixture
def follower(node):
    """follower(config): starts a node that has no leader yet."""
    def start(config=""):
        b = node(config=config, set=["cluster.consul.address=127.0.0.1:1", "cluster.replication.listen=127.0.0.1:0",
                                     "cluster.replication.insecure=true"])
        assert b.ok("GET", "/v1/cluster").json["role"] == "follower"
        return b
    return start


@pytest.fixture
def lead(defer):
    """lead(plan): starts a stand-in for a leader."""
    def start(*plan):
        leader = Leader(*plan)
        defer(leader.close)
        return leader
    return start


def follow(b, leader, epoch=1):
    b.lua('require("lignum.core").cluster.follow { member = "n%d:%s", http = "127.0.0.1:%d", replication = "127.0.0.1:1", '
          'epoch = %d }' % (epoch, INCARNATION, leader.port, epoch))


@pytest.fixture
def pair(follower, lead):
    """pair(plan): starts a follower and its leader."""
    def start(*plan, **kw):
        b, leader = follower(**kw), lead(*plan)
        follow(b, leader)
        return b, leader
    return start


def refuses_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_what_matters_goes_on_byte_for_byte_and_the_answer_comes_back_as_it_is(pair):
    body = bytes(range(256)) * 300
    b, leader = pair(answer(200, b'{"first":7}', headers=["Lignum-Epoch: 3", "Set-Cookie: a=1", "Server: x", "X-Other: 1"]))
    a = b.request("POST", "/v1/topics/t/messages?a=%2Fb&c", body, {
        "Proxy-Authorization": "Basic x", "Via": "1.1 p", "Lignum-Forwarding": "1", "Range": "bytes=0-1",
        "Content-Type": "application/x-thing", "Authorization": "Bearer x", "Lignum-Key": "k", "Lignum-Header-A": "1",
        "Idempotency-Key": "i", "Producer-Id": "p", "Lignum-Ack": "peers", "Cookie": "c=1", "X-Api-Key": "secret", "TE": "trailers", "traceparent": "00-1-1-00", "tracestate": "a=1",
        "Connection": "keep-alive", "Keep-Alive": "timeout=5", "Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"})
    assert (a.status, a.body) == (200, b'{"first":7}')
    assert (a.header("lignum-epoch"), a.header("content-type")) == ("3", "application/json")
    method, target, headers, sent = leader.requests[0]
    assert (method, target, sent == body) == ("POST", "/v1/topics/t/messages?a=%2Fb&c", True)
    for name, value in {"content-type": "application/x-thing", "authorization": "Bearer x", "lignum-key": "k",
                        "lignum-header-a": "1", "producer-id": "p", "idempotency-key": "i", "lignum-ack": "peers", "cookie": "c=1",
                        "x-api-key": "secret", "traceparent": "00-1-1-00", "tracestate": "a=1"}.items():
        assert headers.get(name) == value, headers
    assert "lignum-forwarded" in headers
    assert headers["host"] == "127.0.0.1:%d" % leader.port
    assert not {"te", "connection", "keep-alive", "expect", "proxy-authorization", "via", "range", "origin", "sec-fetch-site",
                "lignum-forwarding"} & set(headers), headers
    assert not [n for n in ("set-cookie", "server", "x-other") if a.header(n)], a
    assert b.request("DELETE", "/v1/topics/..", None).status == 200
    assert leader.requests[-1][1] == "/v1/topics/.."


def test_the_log_of_a_node_without_a_leader_names_no_epoch(follower, node):
    assert "epoch" not in re.search(r"ready .*", follower().said()).group()
    assert "epoch=1" in re.search(r"ready .*", node().said()).group()


def test_all_writes_go_on_and_no_read(pair):
    b, leader = pair(answer(200, b"{}"))
    for method, target, body in [("POST", "/api/message", b'{"topic":"t","message":"m"}'),
                                 ("POST", "/api/topics", b'{"name":"t"}'), ("PUT", "/v1/topics/t", b"{}"),
                                 ("PATCH", "/v1/topics/t", b'{"copies":1}'), ("DELETE", "/v1/topics/t", None)]:
        assert b.request(method, target, body).status == 200
        assert leader.requests[-1][:2] == (method, target)
        assert leader.requests[-1][3] == (body or b"")
    count = len(leader.requests)
    for target in ["/v1/topics", "/api/topics", "/v1/cluster", "/metrics"]:
        assert b.get(target).status == 200
    assert len(leader.requests) == count


def test_a_refusal_of_the_leader_is_the_answer(pair):
    b, leader = pair(refusal("no_space", 507, appended=False))
    a = b.post("/v1/topics/t/messages", b"x")
    assert_status(a, 507, "no_space")
    assert len(leader.requests) == 1


@pytest.mark.parametrize("step", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", b"garbage\r\n\r\n"], ids=as_id)
def test_a_connection_that_breaks_is_unknown_and_never_sent_again(pair, step):
    b, leader = pair(step)
    a = b.post("/v1/topics/t/messages", b"x")
    assert_status(a, 504, "unknown_outcome")
    assert "appended" not in a.json
    assert len(leader.requests) == 1


KEYS = [{"Idempotency-Key": "k"}, {"Producer-Id": "p", "Producer-Seq": "0"}]


@pytest.mark.parametrize("headers", KEYS, ids=as_id)
def test_one_that_is_idempotent_is_sent_again_until_its_outcome_is_known(pair, headers):
    unknown, passing = refusal("unknown_outcome", 504), refusal("stopping", appended=False)
    b, leader = pair(None, b"garbage\r\n\r\n", unknown, passing, answer(200, b'{"first":0}'))
    a = b.post("/v1/topics/t/messages", b"x", headers=headers)
    assert (a.status, a.body) == (200, b'{"first":0}')
    assert [r[3] for r in leader.requests] == [b"x"] * 5


def test_one_that_is_idempotent_goes_to_whoever_leads_then(pair, lead):
    b, first = pair(None)
    second = lead(answer(200, b'{"first":0}'))

    def elect():
        wait_until(lambda: len(first.requests) >= 2, what="it is tried again")
        hold_for(2.5, "longer than a forward waits for a leader")
        follow(b, second, epoch=2)
    with running(elect):
        assert b.post("/v1/topics/t/messages", b"x", headers=KEYS[0]).status == 200
    assert len(second.requests) == 1


def test_a_refusal_after_an_unknown_outcome_is_unknown(pair):
    b, leader = pair(None, refusal("no_space", 507, appended=False))
    a = b.post("/v1/topics/t/messages", b"x", headers=KEYS[0])
    assert_status(a, 504, "unknown_outcome")
    assert "appended" not in a.json and len(leader.requests) == 2


def test_an_idempotent_one_without_an_answer_ends_as_unknown_in_time(pair):
    b, leader = pair(None)
    began = time.monotonic()
    assert_status(b.post("/v1/topics/t/messages", b"x", headers=KEYS[0]), 504, "unknown_outcome")
    assert 9 < time.monotonic() - began < 25


def test_a_kept_connection_that_breaks_is_no_reason_to_send_it_twice(pair):
    b, leader = pair(answer(200, b"{}"), None)
    assert b.post("/v1/topics/t/messages", b"x").status == 200
    assert_status(b.post("/v1/topics/t/messages", b"y"), 504, "unknown_outcome")
    assert [r[3] for r in leader.requests] == [b"x", b"y"]


def test_one_that_was_not_accepted_is_sent_again_to_whoever_leads_then(pair, lead):
    b, first = pair(refusal("not_leader", appended=False))
    second, answers = lead(answer(200, b'{"first":0}')), []

    def elect(epoch):
        wait_until(lambda: len(first.requests) >= 2, what="it is tried again")
        follow(b, second, epoch)

    # The next one may come while the first is asked again, which makes the outcome unknown, or on a busy machine after the 2 s
    # that a forward waits for a leader.
    for epoch in range(2, 18, 2):
        in_threads(lambda: elect(epoch), lambda: answers.append(b.post("/v1/topics/t/messages", b"x")))
        if answers[-1].status == 200:
            break
        assert answers[-1].json["code"] in ("unknown_outcome", "no_leader"), answers
        follow(b, first, epoch + 1)
        del first.requests[:]
    assert (answers[-1].status, answers[-1].body) == (200, b'{"first":0}'), answers
    assert len(second.requests) == 1


def test_one_that_waits_ends_as_unknown_when_another_leads(pair, lead, defer):
    ended = threading.Event()
    defer(ended.set)
    b, first = pair(lambda: ended.wait(PATIENCE))
    second = lead(answer(200, b'{"first":0}'))
    began = time.monotonic()

    def elect():
        wait_until(lambda: first.requests, what="it is on its way")
        follow(b, first)                              # the same leader again changes nothing
        follow(b, second, epoch=2)

    def publish():
        a = b.post("/v1/topics/t/messages", b"x")
        assert_status(a, 504, "unknown_outcome")
        assert "appended" not in a.json
        assert b.post("/v1/topics/t/messages", b"y").status == 200
    in_threads(elect, publish)
    assert time.monotonic() - began < 9               # and not when the leader ought to have answered: that takes 10 s
    assert ([r[3] for r in first.requests], [r[3] for r in second.requests]) == ([b"x"], [b"y"])


def test_one_that_no_connection_was_made_for_goes_to_whoever_leads_then(follower, lead, defer):
    deaf = socket.create_server(("127.0.0.1", 0), backlog=0)
    defer(deaf.close)
    address = deaf.getsockname()
    for _ in range(4):                                     # they fill the backlog, so further connections are not answered
        s = socket.socket()
        defer(s.close)
        s.setblocking(False)
        s.connect_ex(address)
    second = lead(answer(200, b'{"first":0}'))
    b = follower()
    follow(b, types.SimpleNamespace(port=address[1]))

    def elect():
        hold_for(2.5, "longer than a forward waits for a leader")
        follow(b, second, epoch=2)
    with running(elect):
        assert b.post("/v1/topics/t/messages", b"x").status == 200


def test_a_refusal_that_may_have_been_appended_is_not_sent_again(pair):
    b, leader = pair(refusal("stopping", appended=True))
    assert b.post("/v1/topics/t/messages", b"x").status == 503
    assert len(leader.requests) == 1


def test_nobody_there_is_a_definite_refusal_after_a_while(pair):
    b, leader = pair(None)
    leader.close()
    wait_until(lambda: refuses_connections(leader.port), what="nobody listens")
    began = time.monotonic()
    a = b.post("/v1/topics/t/messages", b"x")
    assert_status(a, 503, "no_leader")
    assert (a.json["appended"], a.header("retry-after")) == (False, "1")
    assert 1 < time.monotonic() - began < 9


def test_it_waits_for_a_leader_to_appear(follower, lead):
    b, leader = follower(), lead(answer(200, b"{}"))

    def appear():
        wait_until(lambda: b.in_flight() >= 1, what="the publish waits")
        follow(b, leader)
    with running(appear):
        assert b.post("/v1/topics/t/messages", b"x").status == 200


def test_forward_never_is_307_and_a_forwarded_one_goes_no_further(pair):
    b, leader = pair(answer(200, b"{}"))
    a = b.request("POST", "/v1/topics/t/messages?x=1", b"x", {"Lignum-Forward": "never"})
    assert (a.status, a.header("location")) == (307, "http://127.0.0.1:%d/v1/topics/t/messages?x=1" % leader.port)
    a = b.request("POST", "/v1/topics/t/messages", b"x", {"Lignum-Forwarded": "n1"})
    assert_status(a, 503, "not_leader")
    assert leader.requests == []


def test_authorize_is_asked_before_anything_goes_on(pair):
    b, leader = pair(answer(200, b"{}"),
                     config='function authorize(req) return req:header("authorization") == "yes" or '
                            'req.path == "/v1/cluster" end')
    assert b.post("/v1/topics/t/messages", b"x").status == 401
    assert b.request("POST", "/v1/topics/t/messages", b"x", {"Authorization": "yes"}).status == 200
    assert len(leader.requests) == 1


def test_many_at_once_do_not_wait_for_each_other(pair):
    """The stand-in holds every request until all have arrived."""
    all_are_there = threading.Event()
    b, leader = pair(lambda: all_are_there.wait(PATIENCE))
    answers = []
    with running(*[lambda: answers.append(b.post("/v1/topics/t/messages", b"x").status)] * 20):
        wait_until(lambda: len(leader.requests) >= 20, what="all are on their way")
        all_are_there.set()
    assert (answers, len(leader.requests)) == ([504] * 20, 20)


def test_forwards_that_hang_do_not_keep_the_broker_from_asking_consul(pair, defer):
    ended = threading.Event()
    defer(ended.set)
    b, leader = pair(lambda: ended.wait(PATIENCE))
    held = []
    try:
        for _ in range(256):
            held.append(b.connect())
            held[-1].send(request_bytes("POST", "/v1/topics/t/messages", b"x"))
        wait_until(lambda: len(leader.requests) >= 224, what="as many are on their way as may be")
        a = b.post("/v1/topics/t/messages", b"x")
        assert_refused(a, 503, "busy")
        assert b.lua('fetch { url = "http://127.0.0.1:%d/ping" }.body' % b.port) == '"PONG"'
    finally:
        for c in held:
            c.close()


def test_a_client_that_has_gone_does_not_disturb(pair):
    gone = threading.Event()
    b, leader = pair(lambda: gone.wait(PATIENCE), answer(200, b"{}"))
    with b.connect() as c:
        c.send(request_bytes("POST", "/v1/topics/t/messages", b"x"))
        wait_until(lambda: leader.requests, what="it has gone on")
    gone.set()
    assert b.post("/v1/topics/t/messages", b"y").status == 200


def test_credentials_go_only_to_the_address_that_the_leader_tells_over_the_link(cluster, lead):
    """Somebody who can write to Consul names another address. The follower learns it before it follows."""
    c, thief = cluster(2, topics={"t": {}}), lead(answer(200, b"{}"))
    leader, follower = c.leader(), c.followers()[0]
    key = "service/lignum/key/master"
    follower.stop()
    for k in (key, "%s/nodes/%s" % (key, leader.name)):
        value, _, session = c.consul.get(k)
        entry = json.loads(value)
        entry["http"] = "127.0.0.1:%d" % thief.port
        assert c.consul.ok("PUT", "/v1/kv/%s?acquire=%s" % (k, session), json.dumps(entry)) is True
    follower.start()
    wait_until(lambda: follower.view()["leader"], what="it follows")
    assert follower.lua("require('lignum.core').cluster.status().leader.http") == '"127.0.0.1:%d"' % thief.port
    a = follower.request("POST", "/v1/topics/t/messages", b"x", {"Authorization": "Bearer secret", "Cookie": "a=1"})
    assert_status(a, 200)
    a = follower.request("POST", "/v1/topics/t/messages", b"x", {"Lignum-Forward": "never"})
    assert a.header("location") == "http://127.0.0.1:%d/v1/topics/t/messages" % leader.port
    assert thief.requests == []
