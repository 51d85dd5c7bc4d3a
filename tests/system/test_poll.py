"""/v1: reads that wait, and event streams (doc/http.md)."""

import re
import time

import pytest

from client import assert_status, request_bytes
from common import in_threads, wait_until


@pytest.fixture(scope="module")
def b(share_node):
    return share_node()


def test_events_are_sent_as_they_come_and_resume_after_the_last(b):
    for i in range(3):
        b.publish("events", b"line %d\nsecond" % i)

    def events(c, count):
        text = b""
        while text.count(b"\n\n") < count:
            text += c.chunk()
        return [dict(re.findall(r"(?m)^(id|data): ?(.*)$", e)) for e in text.decode().split("\n\n")[:count]]
    with b.connect() as c:
        c.send(b"GET /v1/topics/events/messages HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        status, headers = c.head()
        assert (status, dict(headers)["content-type"]) == (200, "text/event-stream")
        seen = events(c, 3)
        assert [e["id"].partition(":")[2] for e in seen] == ["0:0", "1:0", "2:0"]
        b.publish("events", b"late")
        assert events(c, 1)[0]["id"].endswith(":3:0")
    with b.connect() as c:
        c.send(b"GET /v1/topics/events/messages HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
               b"Last-Event-ID: " + seen[1]["id"].encode() + b"\r\n\r\n")
        c.head()
        assert [e["id"].partition(":")[2] for e in events(c, 2)] == ["2:0", "3:0"]


def test_raw_events_are_the_payloads_line_by_line(b):
    payloads = [b"plain", b"", b"a\r\nb\rc\n\nd\n", b"\n", "\u00e9 \xff".encode("latin-1")]
    for p in payloads:
        b.publish("raw-events", p)
    a = b.get("/v1/topics/raw-events/messages?raw=1&from=0&to=5", headers={"Accept": "text/event-stream"})
    want = [[b"plain"], [b""], [b"a", b"b", b"c", b"", b"d", b""], [b"", b""], [payloads[4]]]
    events = [e.split(b"\n") for e in a.body.split(b"\n\n")]
    assert events.pop() == [b""]
    assert [e[0].split(b":")[2] for e in events] == [b"%d" % i for i in range(5)]
    assert [e[1:] for e in events] == [[b"data: " + line for line in lines] for lines in want]


def test_an_event_stream_takes_what_applies_to_it_and_refuses_the_rest(node):
    b = node(set=["store.segment.messages=2"])
    for i in range(8):
        b.publish("t", b"%d" % i)
    path, accept = "/v1/topics/t/messages", {"Accept": "text/event-stream"}
    a = b.get(path + "?from=1&limit=3&raw=1", headers=accept)
    assert re.findall(rb"data: (.*)", a.body) == [b"1", b"2", b"3"]
    first, second = re.findall(rb"id: (.*)", a.body)[:2]
    for target in (path + "?limit=1&raw=1&from=0&last_event_id=" + first.decode(), path + "?limit=1&raw=1&from=0"):
        a = b.get(target, headers=dict(accept, **({} if "last" in target else {"Last-Event-ID": first.decode()})))
        assert re.findall(rb"id: (.*)\ndata: (.*)", a.body) == [(second, b"2")]
    a = b.get(path + "?last_event_id=%s&limit=2" % first.decode()).json
    assert [m["data"] for m in a["messages"]] == ["2", "3"]
    for query, name in (("bytes=5", "bytes"), ("wait=1", "wait"), ("limit=0", "limit")):
        a = b.get("%s?%s" % (path, query), headers=accept)
        assert_status(a, 400, "bad_value")
        assert name in a.json["detail"]
    assert_status(b.get(path + "?raw=1", headers={"Accept": "application/vnd.lignum.records"}), 400, "bad_value")
    b.ok("PATCH", "/v1/topics/t", '{"retain": {"messages": 2}}')
    b.publish("t", b"8")
    wait_until(lambda: b.get("/v1/topics/t").json["first"] > 2, what="retention removes the first messages")
    a = b.get(path + "?limit=1", headers=dict(accept, **{"Last-Event-ID": first.decode()}))
    assert_status(a, 410, "offset_gone")
    assert a.json["earliest"] == b.get("/v1/topics/t").json["first"]


def test_long_poll_returns_as_soon_as_a_message_is_there(b):
    b.publish("poll", b"first")
    took = []

    def waiter():
        began = time.monotonic()
        body = b.read("poll", from_=1, wait=30)
        took.append(time.monotonic() - began)
        assert [m["data"] for m in body["messages"]] == ["second"]

    def publisher():
        # Publish only after the broker has the waiters' requests, as its metrics show.
        wait_until(lambda: b.in_flight() >= 3, what="three requests wait")
        b.publish("poll", b"second")
    in_threads(waiter, waiter, waiter, publisher)
    assert max(took) < 20


def test_long_poll_ends_empty_after_its_time(b):
    b.publish("poll-empty", b"x")
    began = time.monotonic()
    body = b.read("poll-empty", from_=1, wait=1)
    assert (body["messages"], body["next"]) == ([], 1)
    assert time.monotonic() - began >= 0.9


# The core serves a wait in whole seconds itself; any other wait is served by the script.
def both_ways(b, topic, accept, seconds, meanwhile):
    answers = {}

    def asker(wait):
        answers[wait] = b.get("/v1/topics/%s/messages?from=1&wait=%s" % (topic, wait), headers={"Accept": accept})

    def other():
        wait_until(lambda: b.in_flight() >= 2, what="two requests wait")
        meanwhile()
    whole, part = str(seconds), str(seconds) + ".0"
    in_threads(lambda: asker(whole), lambda: asker(part), other)
    return answers[whole], answers[part]


def test_a_wait_ends_the_same_however_it_is_asked_for(b):
    for i, accept in enumerate(["application/json", "application/x-ndjson", "application/vnd.lignum.records"]):
        topic = "both-%d" % i
        b.publish(topic, b"x")
        for seconds, meanwhile, status in [(1, lambda: None, 200),
                                           (30, lambda topic=topic: b.publish(topic, b"y"), 200)]:
            one, other = both_ways(b, topic, accept, seconds, meanwhile)
            assert (one.status, one.body) == (status, other.body)
            for name in "content-type", "lignum-next-offset", "lignum-epoch", "lignum-earliest", "etag":
                assert one.header(name) == other.header(name), name
        assert one.header("lignum-next-offset").split(":")[1] == "2"
    b.publish("both-gone", b"x")
    one, other = both_ways(b, "both-gone", "application/json", 30, lambda: b.request("DELETE", "/v1/topics/both-gone"))
    assert_status(one, 404, "unknown_topic")
    assert one.body == other.body


def test_deleting_a_topic_ends_who_waits_for_it(b):
    b.publish("poll-deleted", b"x")
    answers = []

    def waiter():
        answers.append(b.get("/v1/topics/poll-deleted/messages?from=1&wait=30"))

    def deleter():
        wait_until(lambda: b.in_flight() >= 1)
        b.request("DELETE", "/v1/topics/poll-deleted")
    began = time.monotonic()
    in_threads(waiter, deleter)
    assert time.monotonic() - began < 20
    assert_status(answers[0], 404, "unknown_topic")


def test_deleting_a_topic_ends_its_event_streams_with_the_reason(b):
    b.publish("events-deleted", b"x")
    path, accept = "/v1/topics/events-deleted/messages?from=0", {"Accept": "text/event-stream"}
    with b.connect() as waiting:
        waiting.send(request_bytes("GET", path, headers=accept))
        waiting.head()
        assert b"id: " in waiting.chunk()
        b.ok("DELETE", "/v1/topics/events-deleted", status=204)
        assert re.search(rb'^event: error\ndata: .*"unknown_topic"', b"".join(iter(waiting.chunk, b"")))
    for _ in range(20):
        b.publish("events-deleted", b"x" * (1 << 19))
    with b.connect(receive_buffer=4096) as slow:
        slow.send(request_bytes("GET", path, headers=accept))
        slow.head()
        b.ok("DELETE", "/v1/topics/events-deleted", status=204)
        body = b"".join(iter(slow.chunk, b""))
    assert len(body) < 20 << 19
    assert re.search(rb'\nevent: error\ndata: .*"unknown_topic"', body[-200:])


def test_an_event_stream_waits_for_a_topic_that_a_publish_may_create(node):
    b = node(config='topic "closed.*" { auto_create = false }')
    events = {"Accept": "text/event-stream"}
    assert_status(b.get("/v1/topics/closed.t/messages", headers=events), 404, "unknown_topic")
    assert_status(b.get("/v1/topics/_own/messages", headers=events), 400, "bad_topic")
    assert_status(b.get("/v1/topics/t/messages?from=5", headers=events), 404, "unknown_topic")
    assert_status(b.get("/v1/topics/t/messages?limit=0", headers=events), 400, "bad_value")
    assert_status(b.get("/v1/topics/t/messages"), 404, "unknown_topic")
    with b.connect() as early, b.connect() as late:
        for c, query in (early, "?limit=2&raw=1"), (late, "?from=latest&limit=2&raw=1"):
            c.send(request_bytes("GET", "/v1/topics/t/messages" + query, None, events))
            assert c.head()[0] == 200
        b.publish("other", b"x")                     # another topic wakes them, and is not what they wait for
        b.publish("t", b"first")
        b.publish("t", b"second")
        for c in (early, late):
            text = b"".join(iter(c.chunk, b""))
            assert re.findall(rb"^data: (.*)$", text, re.M) == [b"first", b"second"]
