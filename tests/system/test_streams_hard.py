"""Durable Streams under failures and load: what the protocol's own tests (test_durable_streams.py) do not ask."""

import contextlib
import json
import random
import resource
import time

import pytest

from client import Connection, assert_status, request_bytes
from common import SANITIZED, hold_for, raise_descriptors, running, wait_until
from test_access import add, bearer

JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
STREAMS = "durable_streams { long_poll = 2 }\n"
LIVE = STREAMS + 'topic "stream*" { replication = "live", copies = 2 }\n'
SSE = b"GET /v1/stream/%s?offset=-1&live=sse HTTP/1.1\r\nHost: localhost\r\n\r\n"


def messages_of(node, path):
    """All messages of a stream of JSON, read in pieces."""
    out, at = [], "-1"
    with node.connect(timeout=20) as c:
        while True:
            a = c.request("GET", "%s?offset=%s" % (path, at))
            assert a.status == 200, a
            out += a.json
            at = a.header("stream-next-offset")
            if a.header("stream-up-to-date") == "true":
                return out


def test_many_streams_take_no_descriptors_of_their_own(node):
    """Clients make streams without end; files of those that nobody uses are closed, and opened again for a read."""
    b = node(config=STREAMS, set=["store.files=32"])
    with b.connect(timeout=20) as c:
        c.request("PUT", "/v1/stream/first", b"begun", TEXT)
        before = b.descriptors_open()
        for i in range(500):
            assert c.request("PUT", "/v1/stream/s%d" % i, b"begun %d" % i, TEXT).status == 201
            if i % 50 == 0:
                assert b.descriptors_open() <= before + 32
        assert b.descriptors_open() <= before + 32
        for i in range(0, 500, 7):
            assert c.request("GET", "/v1/stream/s%d?offset=-1" % i).body == b"begun %d" % i
            assert c.request("POST", "/v1/stream/s%d" % i, b"; more", TEXT).status in (200, 204)
        assert b.descriptors_open() <= before + 32
    b.restart()
    with b.connect(timeout=20) as c:
        assert c.request("GET", "/v1/stream/s7?offset=-1").body == b"begun 7; more"
        assert b.descriptors_open() <= before + 32


def test_streams_that_nobody_reads_end_also_behind_many_others(node):
    """A sweep looks at pages of 500."""
    b = node(config=STREAMS)
    with b.connect(timeout=20) as c:
        for i in range(1100):
            assert c.request("PUT", "/v1/stream/s%d" % i, b"", TEXT).status == 201
        for name in ("a", "s50", "z"):
            assert c.request("PUT", "/v1/stream/ends-%s" % name, b"x", {**TEXT, "Stream-TTL": "1"}).status == 201
        assert c.request("PUT", "/v1/stream/z-ends", b"x", {**TEXT, "Stream-TTL": "1"}).status == 201

    def topics():
        return b.ok("GET", "/v1/topics?names=1&limit=10000").json["names"]
    before = len(topics())
    wait_until(lambda: len(topics()) == before - 4, timeout=40, what="what expired is deleted")


# ------------------------------------------------------------------------------------------- failures

PRODUCERS, EACH = 4, 300


def test_retrying_producers_append_once_and_in_order_through_failovers(cluster, rng):
    """Four producers send each request to a random node until it is answered; leaders are killed meanwhile."""
    c = cluster(config=LIVE)
    path, done = "/v1/stream/orders", [0] * PRODUCERS
    c.leader().ok("PUT", path, headers=JSON, status=201)

    def produce(i):
        mine = random.Random(rng.random() + i)
        for n in range(EACH):
            headers = dict(JSON, **{"Producer-Id": "p%d" % i, "Producer-Epoch": "0", "Producer-Seq": str(n)})
            deadline = time.monotonic() + 60
            while True:
                assert time.monotonic() < deadline, "request %d of producer %d is not answered" % (n, i)
                node = mine.choice(c.nodes)
                try:
                    a = node.request("POST", path, body=json.dumps([i, n]).encode().join([b"[", b"]"]), headers=headers, timeout=5)
                except OSError:
                    time.sleep(0.02)      # a pause between attempts; nothing waits for it
                    continue
                if a.status in (200, 204):
                    break
                assert a.status >= 500, a
                time.sleep(0.02)
            done[i] = n + 1

    with running(*[lambda i=i: produce(i) for i in range(PRODUCERS)]):
        for part in range(1, 4):        # on this thread: a process ends with the thread that has started it
            wait_until(lambda: sum(done) >= PRODUCERS * EACH * part // 4, 90, "a quarter more is appended")
            victim = c.wait_leader()
            victim.kill()
            c.wait_leader(besides=[victim])
            victim.start()
    c.wait_whole()
    for node in c.nodes:
        found = messages_of(node, path)
        assert len(found) == PRODUCERS * EACH
        for i in range(PRODUCERS):
            assert [n for p, n in found if p == i] == list(range(EACH)), "producer %d on %s" % (i, node.name)


def test_appends_of_all_kinds_at_once_are_each_there_once_where_they_were_told(node, rng):
    """Most of them take the way of a plain append; between them others that change the state of the stream."""
    b, told, threads, each = node(config=STREAMS), [{} for _ in range(8)], 8, 120
    b.ok("PUT", "/v1/stream/s", headers=JSON, status=201)

    def produce(i):
        mine = random.Random(rng.random() + i)
        with b.connect(timeout=20) as c:
            for n in range(each):
                kind, headers, body = mine.randrange(6), dict(JSON), b"[%d,%d]" % (i, n)
                if kind == 0:
                    headers.update({"Producer-Id": "p%d.%d" % (i, n), "Producer-Epoch": "0", "Producer-Seq": "0"})
                elif kind == 1:
                    headers["Content-Type"] = "application/json; charset=utf-8"
                elif kind == 2:
                    headers["Lignum-Ack"] = "peers"
                elif kind == 3:
                    body = b" {\"at\":[%d,%d]}\r\n" % (i, n)
                if kind != 3:
                    body = b"[" + body + b"]"
                a = c.request("POST", "/v1/stream/s", body, headers)
                assert a.status in (200, 204), a
                told[i][n] = a.header("stream-next-offset")

    with running(*[lambda i=i: produce(i) for i in range(threads)]):
        pass
    found = [m["at"] if isinstance(m, dict) else m for m in messages_of(b, "/v1/stream/s")]
    assert sorted(found) == [[i, n] for i in range(threads) for n in range(each)]
    at = {tuple(m): place for place, m in enumerate(found)}
    for i in range(threads):
        for n, offset in told[i].items():
            assert int(offset[17:]) == at[i, n] + 1, (i, n)
    a = b.request("POST", "/v1/stream/s", body=b"5", headers={**JSON, "Stream-Seq": "b"})
    assert a.status == 204
    assert b.request("POST", "/v1/stream/s", body=b"6", headers={**JSON, "Stream-Seq": "a"}).status == 409
    assert b.request("POST", "/v1/stream/s", body=b"7", headers={**JSON, "Stream-Closed": "true"}).status == 204
    assert b.request("POST", "/v1/stream/s", body=b"8", headers=JSON).status == 409
    assert b.request("POST", "/v1/stream/s", body=b"text", headers=TEXT).status == 409
    assert messages_of(b, "/v1/stream/s")[len(found):] == [5, 7]


BARE = """
route.post("/once", function(req)
  local info = topic("t"):info()
  local form, at = req.query.form, tonumber(req.query.at)
  local first, why, code = req:append(topic("t"), form, info.next > 0 and 1 or 0, at or info.next, tonumber(info.id:match("%d+$")))
  if first == nil then return nil, why, code end
  return 200, { first = first, count = why }
end)
"""


def test_a_route_may_append_a_body_as_one_message(node):
    b = node(config=BARE)
    b.ok("PUT", "/v1/topics/t", status=201)

    def once(body, form="json", headers=(), **more):
        query = "".join("&%s=%s" % pair for pair in more.items())
        return b.request("POST", "/once?form=" + form + query, body=body, headers=dict(headers))
    assert once(b'\n {"a": [1, "\xc3\xa4"]}\t\n').json == {"first": 0, "count": 1}
    assert once(b"\x00\xff", "bytes").json == {"first": 1, "count": 1}
    for body in (b"[1]", b" [1]", b"{", b"1 2", b"", b" ", b'"' + b"x" * 16384 + b'"', b'"\xff"'):
        assert once(body).json["first"] is False, body
    for header in ("Producer-Id", "Idempotency-Key", "If-Match", "Lignum-Ack", "Lignum-Key", "Lignum-Header-X", "Lignum-Delay", "Lignum-TTL"):
        assert once(b"1", headers={header: "1"}).json["first"] is False, header
    assert once(b"1", headers={"Content-Encoding": "gzip"}).json["first"] is False
    a = once(b"1", at=1)
    assert (a.status, a.json["code"]) == (412, "precondition_failed")
    assert [m["data"] for m in b.read("t")["messages"][:1]] == ['{"a": [1, "ä"]}']
    assert once(b"1", "words").status == 500


def test_a_fork_outlives_its_deleted_source_on_all_nodes(cluster):
    c = cluster(config=LIVE)
    leader, other = c.leader(), c.followers()[0]
    leader.ok("PUT", "/v1/stream/a", body=b"[1,2,3]", headers=JSON, status=201)
    at = leader.ok("GET", "/v1/stream/a?offset=now").header("stream-next-offset")
    leader.ok("POST", "/v1/stream/a", body=b"[4]", headers=JSON, status=204)
    fork = {**JSON, "Stream-Forked-From": "/v1/stream/a", "Stream-Fork-Offset": at}
    other.ok("PUT", "/v1/stream/b", headers=fork, status=201)
    other.ok("POST", "/v1/stream/b", body=b"[5]", headers=JSON, status=204)
    other.ok("DELETE", "/v1/stream/a", status=204)
    leader.kill()
    c.wait_leader(besides=[leader])
    leader.start()
    c.wait_whole()
    for node in c.nodes:
        assert node.ok("GET", "/v1/stream/b").json == [1, 2, 3, 5]
        assert node.request("GET", "/v1/stream/a").status == 410
        assert node.request("PUT", "/v1/stream/a", headers=JSON).status == 409
        assert node.request("POST", "/v1/topics/stream.a/messages", b"x").status == 403
        for path in ("", "/messages", "/messages?raw=1&limit=1"):
            assert node.request("GET", "/v1/topics/stream.a" + path).status == 404, path
        assert "stream.a" not in node.topics()
    other.ok("DELETE", "/v1/stream/b", status=204)
    for node in c.nodes:
        assert node.request("GET", "/v1/stream/a").status == 404
        assert "stream.a" not in node.topics()
    other.ok("PUT", "/v1/stream/a", body=b"[9]", headers=JSON, status=201)
    assert leader.ok("GET", "/v1/stream/a").json == [9]


def test_an_offset_of_a_history_that_was_cut_off_is_410(cluster):
    """Of a wal topic a leader that is alone acknowledges what the next one never has."""
    c = cluster(config=STREAMS, net=True)
    old = c.leader()
    old.ok("PUT", "/v1/stream/s", body=b"[1]", headers=JSON, status=201)
    c.wait_equal(["stream.s"])
    c.net.isolate(old.name)
    a = old.request("POST", "/v1/stream/s", body=b"[2,3]", headers=JSON, timeout=30)
    lost = a.header("stream-next-offset")
    assert (a.status, lost[-1:]) == (204, "3"), a
    new = c.wait_leader(besides=[old])
    wait_until(lambda: new.request("POST", "/v1/stream/s", body=b"[4,5,6]", headers=JSON).status == 204, what="another one leads")
    kept = new.ok("GET", "/v1/stream/s?offset=now").header("stream-next-offset")
    c.net.heal()
    for node in c.nodes:
        wait_until(lambda: node.request("GET", "/v1/stream/s").body == b"[1,4,5,6]", what="%s has what the new one has" % node.name)
        for live in ("", "&live=long-poll", "&live=sse"):
            a = node.request("GET", "/v1/stream/s?offset=" + lost + live)
            assert_status(a, 410, "log_truncated")
        assert node.ok("GET", "/v1/stream/s?offset=" + kept).json == []
        assert node.ok("GET", "/v1/stream/s?offset=" + kept[:-1] + "2").json == [5, 6]


TTL = 5


def test_a_restart_neither_shortens_nor_ends_a_time_to_live(node):
    """Reads count, also those before a kill -9. What was read last may be known less exactly: then it lives a little longer."""
    b = node(config=STREAMS, expect_exit=None)
    for path in ("read", "left"):
        b.ok("PUT", "/v1/stream/" + path, body=b"x", headers={**TEXT, "Stream-TTL": str(TTL)}, status=201)
    created = last = time.monotonic()
    while time.monotonic() < created + TTL + 1:
        b.ok("GET", "/v1/stream/read")
        last = time.monotonic()
        hold_for(0.1, "between two reads")
    assert b.request("HEAD", "/v1/stream/left").status == 404
    hold_for(2.5, "until the last read is written")
    b.kill()
    b.start()
    while time.monotonic() < last + TTL - 0.3:
        assert b.request("HEAD", "/v1/stream/read").status == 200, "%.1f s after the last read" % (time.monotonic() - last)
        hold_for(0.1, "between two looks")
    wait_until(lambda: b.request("HEAD", "/v1/stream/read").status == 404, what="it is over")
    assert time.monotonic() - last < 2 * TTL


# ------------------------------------------------------------------------------------------- who may

AUTHORIZE = STREAMS + """
function authorize(req)
  if req.path == "/healthz" or req.action == "observe" then return true end
  local who = req:header("authorization")
  if not who then return false end
  if req.topic == "stream.secret" and who ~= "Bearer owner" then return false, "forbidden", "it is secret" end
  return { user = who }
end
"""


def test_authorize_holds_on_every_node(cluster):
    c = cluster(config=AUTHORIZE)
    owner, guest = {"Authorization": "Bearer owner"}, {"Authorization": "Bearer guest"}
    leader, follower = c.leader(), c.followers()[0]
    follower.ok("PUT", "/v1/stream/secret", body=b"[1]", headers={**JSON, **owner, "Stream-TTL": "60"}, status=201)
    for node in (leader, follower):
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            body = b"[2]" if method in ("PUT", "POST") else None
            for headers, status in (({}, 401), (guest, 403)):
                a = node.request(method, "/v1/stream/secret", body=body, headers={**JSON, **headers})
                assert a.status == status, (node.name, method, a)
        a = node.request("PUT", "/v1/stream/copy", headers={**JSON, **guest, "Stream-Forked-From": "/v1/stream/secret"})
        assert a.status == 403, "a fork would show what its source has: %r" % a
        a = node.request("GET", "/v1/stream/secret", headers=owner)     # the leader is told of it, with these credentials
        assert (a.status, a.body) == (200, b"[1]"), a
        node.ok("POST", "/v1/stream/secret", body=b"[]"[:0] or b"[1]", headers={**JSON, **owner}, status=204)
        node.ok("DELETE", "/v1/stream/secret", headers=owner, status=204)
        node.ok("PUT", "/v1/stream/secret", body=b"[1]", headers={**JSON, **owner}, status=201)


def test_access_tokens_hold_on_a_follower_and_end_a_stream_of_events(cluster):
    c = cluster(config=LIVE)
    leader, follower = c.leader(), c.followers()[0]
    root = bearer(add(leader, "root", "*"))
    writer, reader = bearer(add(leader, "writer", "stream.a", "publish")), bearer(add(leader, "reader", "stream.a", "read"))
    wait_until(lambda: follower.request("HEAD", "/v1/stream/a", headers=reader).status == 404, what="all tokens hold")
    follower.ok("PUT", "/v1/stream/a", body=b"[1]", headers={**JSON, **writer}, status=201)
    for node in (leader, follower):
        node.ok("POST", "/v1/stream/a", body=b"[2]", headers={**JSON, **writer}, status=204)
        for method, who, status in (("GET", reader, 200), ("HEAD", reader, 200), ("GET", writer, 403), ("POST", reader, 403),
                                    ("PUT", reader, 403), ("DELETE", writer, 403), ("DELETE", reader, 403), ("GET", {}, 401),
                                    ("POST", {}, 401)):
            body = b"[9]" if method in ("POST", "PUT") else None
            a = node.request(method, "/v1/stream/a", body=body, headers={**JSON, **who})
            assert a.status == status, (node.name, method, a)
        assert node.request("GET", "/v1/stream/b", headers=reader).status == 403
        assert node.request("PUT", "/v1/stream/b", body=b"[1]", headers={**JSON, **writer}).status == 403
    assert follower.ok("GET", "/v1/stream/a", headers=root).json == [1, 2, 2]
    with follower.connect() as c1, leader.connect() as c2:
        for conn in (c1, c2):
            conn.send(request_bytes("GET", "/v1/stream/a?offset=now&live=sse", None, reader))
            assert conn.head()[0] == 200
            assert b"control" in conn.chunk()
        assert leader.lignum("token", "revoke", "reader", "--console", leader.console).code == 0
        wait_until(lambda: follower.request("HEAD", "/v1/stream/a", headers=reader).status == 401, what="it is revoked there")
        follower.ok("POST", "/v1/stream/a", body=b"[3]", headers={**JSON, **writer}, status=204)
        for conn in (c1, c2):
            text = b""
            while piece := conn.chunk():
                text += piece
            assert b"event: error" in text and b'"unauthorized"' in text and b"[3]" not in text, text


def test_on_publish_sees_what_is_appended_to_streams(node):
    b = node(config=STREAMS + """
function on_publish(m, ctx)
  if m.payload == '"bad"' then return reject("not this", { status = 422, code = "nasty" }) end
  if m.payload == '"break"' then m.payload = "{" end
  if m.payload == '"away"' then m.topic = "elsewhere" end
  if m.payload == '"change"' then m.payload = '"changed"' end
end
""")
    b.ok("PUT", "/v1/stream/s", body=b'["change", 1]', headers=JSON, status=201)
    a = b.request("POST", "/v1/stream/s", body=b'[2, "bad"]', headers=JSON)
    assert (a.status, a.json["code"]) == (422, "nasty")
    for wrong in (b'"break"', b'"away"'):
        assert b.request("POST", "/v1/stream/s", body=wrong, headers=JSON).status == 500
    assert "must leave each message of a JSON stream one JSON value" in b.said()
    assert "cannot send messages of stream.s to another topic" in b.said()
    assert b.ok("GET", "/v1/stream/s").json == ["changed", 1]
    a = b.request("POST", "/v1/stream/s", body=b"3", headers={**JSON, "Lignum-Ack": "none"})
    assert a.status == 400, "Lignum-Ack is read: %r" % a


# ------------------------------------------------------------------------------------------- sizes

def test_eight_megabytes_of_json_are_one_append(node):
    b = node(config=STREAMS)
    items = [{"id": i, "text": "x" * 107, "more": [1, {"a": None}]} for i in range(50000)]
    body = json.dumps(items).encode()[:-1] + b"]"
    assert 7_500_000 < len(body) < 8_388_608
    b.ok("PUT", "/v1/stream/big", headers=JSON, status=201)
    b.ok("POST", "/v1/stream/big", body=body, headers=JSON, status=204, timeout=20)
    assert messages_of(b, "/v1/stream/big") == items
    b.ok("PUT", "/v1/stream/many", headers=JSON, status=201)         # more values than one JSON text may have
    many = [[1] * 9] * 60000
    b.ok("POST", "/v1/stream/many", body=json.dumps(many).encode(), headers=JSON, status=204, timeout=20)
    assert messages_of(b, "/v1/stream/many") == many
    a = b.request("POST", "/v1/stream/big", body=b"[" + b"1," * 65536 + b"1]", headers=JSON)
    assert (a.status, a.json["limit"]) == (413, 65536)
    a = b.request("POST", "/v1/stream/big", body=b'["' + b"x" * 1048576 + b'"]', headers=JSON)
    assert (a.status, a.json["limit"]) == (413, 1048576)
    assert len(messages_of(b, "/v1/stream/big")) == len(items)


@pytest.mark.alone
def test_the_first_touch_of_a_million_messages_is_quick(node, figure):
    b = node(config=STREAMS)
    b.ok("PUT", "/v1/stream/million", headers=JSON, status=201)
    body = b"[" + b",".join([b'{"n":1}'] * 62500) + b"]"
    for _ in range(16):
        b.ok("POST", "/v1/stream/million", body=body, headers=JSON, status=204, timeout=20)
    took, first = [], []
    for _ in range(3):
        b.restart()
        with b.connect() as c:
            assert c.request("GET", "/ping").status == 200
            began = time.monotonic()
            a = c.request("POST", "/v1/stream/million", b'{"n":2}', JSON)
            took.append(time.monotonic() - began)
            assert a.status == 204
    for _ in range(3):
        b.restart()
        with b.connect() as c:
            assert c.request("GET", "/ping").status == 200
            began = time.monotonic()
            a = c.request("GET", "/v1/stream/million?offset=now")
            first.append(time.monotonic() - began)
    assert a.header("stream-next-offset").endswith("_%016d" % 1000003)
    figure("a million messages: the first read after a start takes %.2f ms, the first append %.2f ms (after a batch of 62,500: %.2f)",
           min(first) * 1e3, min(took) * 1e3, took[0] * 1e3)
    if not SANITIZED:
        assert min(first) < 0.005
        assert min(took[1:]) < 0.1            # a sync of the disk included; to read all messages takes longer


# ------------------------------------------------------------------------------------------- events

def events_of(data):
    """[(event, data)] of a text/event-stream."""
    out = []
    for block in data.decode().split("\n\n"):
        fields = dict(line.split(":", 1) for line in block.split("\n") if ":" in line and not line.startswith(":"))
        if "event" in fields:
            out.append((fields["event"].strip(), json.loads(fields["data"])))
    return out


def test_readers_of_events_get_the_last_message_and_the_end(node):
    """They begin before, during and after the final append: all of it arrives, and then that the stream is closed."""
    b, last = node(config=STREAMS), ["x" * 60] * 25000 + [3]     # more than one event
    for i in range(30):
        path = "close/%d" % i
        b.ok("PUT", "/v1/stream/" + path, body=b"[1]", headers=JSON, status=201)
        with b.connect() as early, b.connect() as during:
            early.send(SSE % path.encode())

            def close():
                headers = {**JSON, "Stream-Closed": "true"}
                b.ok("POST", "/v1/stream/" + path, body=json.dumps(last).encode(), headers=headers, status=204)
            with running(close):
                during.send(SSE % path.encode())
                answers = [c.answer() for c in (early, during)]
        with b.connect() as late:
            late.send(SSE % path.encode())
            answers.append(late.answer())
        for a in answers:
            found = events_of(a.body)
            assert sum([d for name, d in found if name == "data"], []) == [1] + last
            assert found[-1][0] == "control" and found[-1][1]["streamClosed"] is True
            assert [d.get("streamClosed") for name, d in found[:-1] if name == "control"].count(True) == 0


@pytest.fixture
def allowed():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield raise_descriptors(20000)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.alone
def test_ten_thousand_idle_readers_of_events(node, allowed, figure):
    count = 10000
    if allowed < 15000:
        pytest.skip("only %d descriptors are allowed here" % allowed)
    b = node(config=STREAMS, descriptors=allowed, set=["store.files=64"])
    b.ok("PUT", "/v1/stream/news", body=b"[1]", headers=JSON, status=201)
    before, readers = b.status("VmRSS"), []
    try:
        for _ in range(count):
            readers.append(Connection(b.port, timeout=30))
            readers[-1].send(SSE % b"news")
        for c in readers:
            assert c.head()[0] == 200
            assert b"control" in c.chunk() + c.chunk()
        grown = b.status("VmRSS") - before
        with b.connect() as c:
            began = time.monotonic()
            assert c.request("GET", "/healthz").status == 200
            health = time.monotonic() - began
            began = time.monotonic()
            assert c.request("POST", "/v1/stream/news", b"[2]", JSON).status == 204
            for r in readers:
                assert b"[2]" in r.chunk()
            fan_out = time.monotonic() - began
        cpu = b.cpu_seconds()
        hold_for(1, "idle, over which the CPU time is measured")
        cpu = b.cpu_seconds() - cpu
        figure("%d readers of events: %.1f kB each, a health check %.1f ms, one message to all of them %.2f s, idle %.2f s/s of CPU",
               count, grown / count, health * 1e3, fan_out, cpu)
        if not SANITIZED:
            assert grown / count < 40
        assert fan_out < 10
    finally:
        for c in readers:
            c.close()


def test_readers_of_events_beyond_the_limit_are_told_so(node):
    """And not by a stream that ends: that would have the client come again at once."""
    b = node(config=STREAMS, set=["limits.tasks=16"])
    b.ok("PUT", "/v1/stream/s", body=b"[1]", headers=JSON, status=201)
    with contextlib.ExitStack() as all:
        statuses = []
        for _ in range(14):
            c = all.enter_context(b.connect())
            c.send(SSE % b"s")
            statuses.append(c.head()[0])
        assert statuses == [200] * 12 + [429] * 2
