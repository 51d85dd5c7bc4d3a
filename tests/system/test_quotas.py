"""Limits for one client (limits.client in lignum.lua): by access token, or by address without one."""

import time

import pytest

from client import Connection, assert_status, request_bytes
from common import SANITIZED, wait_until

from test_access import add, bearer


def limited(**limits):
    return "limits { client = { %s } }" % ", ".join("%s = %s" % item for item in limits.items())


def burst(b, count, source=None, headers=(), target="/v1/topics"):
    """Requests on one connection, sent at once; returns the answers."""
    with Connection(b.port, source=source) as c:
        c.send(request_bytes("GET", target, None, headers) * count)
        return [c.answer() for _ in range(count)]


def statuses(answers):
    return {s: sum(a.status == s for a in answers) for s in {a.status for a in answers}}


def test_requests_beyond_the_limit_get_429_and_may_come_again_when_it_says(node):
    b = node(config=limited(requests=20))
    began = time.monotonic()
    answers = burst(b, 60, "127.0.0.2")
    passed = statuses(answers)[200]
    assert 20 <= passed <= 21 + 20 * (time.monotonic() - began)
    refused = next(a for a in answers if a.status == 429)
    assert_status(refused, 429, "too_many_requests")
    assert refused.header("retry-after") == "1" and "limits.client.requests" in refused.json["detail"]
    assert statuses(burst(b, 15, "127.0.0.3")) == {200: 15}, "another address"
    assert statuses(burst(b, 60, "127.0.0.2", target="/healthz")) == {200: 60}
    time.sleep(1)
    assert burst(b, 1, "127.0.0.2")[0].status == 200


def test_a_token_is_one_client_from_wherever_and_does_not_use_up_its_address(node):
    b = node(config=limited(requests=20))
    one, two = add(b, "one"), add(b, "two")
    began = time.monotonic()
    answers = burst(b, 60, "127.0.0.2", bearer(one)) + burst(b, 60, "127.0.0.3", bearer(one))
    assert statuses(answers)[200] <= 21 + 20 * (time.monotonic() - began)
    assert statuses(burst(b, 15, "127.0.0.2", bearer(two))) == {200: 15}
    began = time.monotonic()
    strangers = burst(b, 60, "127.0.0.4", bearer("lgn_guess"))       # who guesses counts as an address
    assert statuses(strangers)[401] <= 21 + 20 * (time.monotonic() - began)


def test_bytes_are_counted_in_both_directions(node):
    b = node(config=limited(bytes=100000))
    for topic, size in ("small", 90000), ("large", 900000):          # the latter takes 9 s of the limit
        b.lua('topic("%s"):append(("x"):rep(%d))' % (topic, size))   # from the console, which is no client
    with Connection(b.port, source="127.0.0.2") as c:
        answers = [c.request("GET", "/v1/topics/%s/messages" % topic) for topic in ("small", "large", "small")]
    assert [a.status for a in answers] == [200, 200, 429]
    assert "limits.client.bytes" in answers[2].json["detail"]
    with Connection(b.port, source="127.0.0.3") as c:
        sent = [c.request("POST", "/v1/topics/t/messages", b"x" * size).status for size in (90000, 900000, 90000)]
    assert sent == [200, 200, 429]


def test_an_event_stream_is_slowed_down_to_the_limit(node):
    b = node(config=limited(bytes=1000000))
    b.lua('for i = 1, 90 do topic("t"):append(("x"):rep(40000)) end')          # from the console, which is no client
    began, size = time.monotonic(), 0
    with Connection(b.port, source="127.0.0.2") as c:
        c.send(request_bytes("GET", "/v1/topics/t/messages?limit=90", None, {"Accept": "text/event-stream"}))
        assert c.head()[0] == 200
        while piece := c.chunk():
            size += len(piece)
    assert size > 3600000
    assert 1.4 < time.monotonic() - began < 20        # but for the first second's bytes and the last piece
    assert statuses(burst(b, 5, "127.0.0.3")) == {200: 5}


def test_waiting_requests_of_one_client_are_bounded(node):
    b = node(config=limited(waiting=3))
    b.publish("t", b"x")
    held = [Connection(b.port, source="127.0.0.2") for _ in range(3)]
    for c in held:
        c.send(request_bytes("GET", "/v1/topics/t/messages?from=1&wait=30", None))
    wait_until(lambda: b.in_flight() >= 3, what="they wait")
    refused = burst(b, 1, "127.0.0.2", target="/v1/topics/t/messages?from=1&wait=30")[0]
    assert_status(refused, 429, "too_many_requests")
    assert "limits.client.waiting" in refused.json["detail"] and refused.header("retry-after")
    assert burst(b, 1, "127.0.0.2")[0].status == 200
    with Connection(b.port, source="127.0.0.3") as c:
        c.send(request_bytes("GET", "/v1/topics/t/messages?from=1&wait=30", None))
        wait_until(lambda: b.in_flight() >= 4, what="another address may wait")
        b.publish("t", b"y")
        assert [a.answer().status for a in [*held, c]] == [200] * 4
    for c in held:
        c.close()
    assert burst(b, 1, "127.0.0.2", target="/v1/topics/t/messages?from=2&wait=0.01")[0].status == 200, "the places are free again"


def test_connections_of_one_address_are_bounded_and_its_health_checks_served(node):
    b = node(config=limited(connections=5))
    held = [Connection(b.port, source="127.0.0.2") for _ in range(5)]
    assert [c.request("GET", "/v1/topics").status for c in held] == [200] * 5
    refused = burst(b, 1, "127.0.0.2")[0]
    assert_status(refused, 429, "too_many_requests")
    assert "limits.client.connections" in refused.json["detail"]
    assert burst(b, 1, "127.0.0.2", target="/healthz")[0].status == 200
    assert burst(b, 1, "127.0.0.3")[0].status == 200
    more = [Connection(b.port, source="127.0.0.2") for _ in range(5)]
    wait_until(lambda: b.metrics()['lignum_http_client_refused_total{class="address",limit="connections"}'] >= 2, what="counted")
    for c in held + more:
        c.close()
    wait_until(lambda: burst(b, 1, "127.0.0.2")[0].status == 200, what="its connections have ended")


def test_a_thousand_clients_keep_their_limits_side_by_side(node):
    b = node(config=limited(requests=5))
    before = b.status("VmRSS")
    passed, refused = 0, 0
    for i in range(1000):
        answers = burst(b, 8, "127.1.%d.%d" % (i // 250, i % 250 + 1), target="/ping")
        passed += sum(a.status == 200 for a in answers)
        refused += sum(a.status == 429 for a in answers)
        assert sum(a.status == 200 for a in answers) >= 5
    assert refused >= 2000, (passed, refused)
    m = b.metrics()
    assert m["lignum_http_clients"] >= 1000
    assert m['lignum_http_client_refused_total{class="address",limit="requests"}'] == refused
    assert not [name for name in m if "127.1" in name]
    assert SANITIZED or b.status("VmRSS") - before < 8000, "freed memory stays with a sanitizer for a while"


@pytest.mark.parametrize("config", ["", "limits { client = { requests = 0 } }"])
def test_without_limits_nobody_is_counted(node, config):
    b = node(config=config)
    assert statuses(burst(b, 200)) == {200: 200}
    assert b.metrics()["lignum_http_clients"] == 0


def test_limits_change_with_a_reload(node):
    b = node()
    assert statuses(burst(b, 50)) == {200: 50}
    b.write_config(limited(requests=10))
    b.reload()
    assert statuses(burst(b, 50))[429] >= 30
    b.write_config("")
    b.reload()
    assert statuses(burst(b, 50)) == {200: 50}
