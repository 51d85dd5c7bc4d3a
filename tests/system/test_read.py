"""/v1: reading (doc/http.md)."""

import json
import os
import re
import struct
import time

import pytest

from client import assert_refused, assert_status
from common import as_id, crc32c, wait_until

PAYLOADS = [b"m%d" % i for i in range(25)]


@pytest.fixture(scope="module")
def b(share_node):
    b = share_node(set=["store.segment.messages=10"])
    for p in PAYLOADS:
        b.publish("read", p)
    return b


def test_answer_has_the_documented_fields(b):
    a = b.ok("GET", "/v1/topics/read/messages?from=3&to=5")
    body = a.json
    assert set(body) == {"topic", "messages", "next", "epoch", "next_token"}
    assert (body["topic"], body["next"]) == ("read", 5)
    m = body["messages"][0]
    assert set(m) == {"offset", "epoch", "time", "data"}
    assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", m["time"])
    assert a.header("lignum-next-offset") == "%d:5:0" % m["epoch"]
    assert a.header("lignum-epoch") == str(body["epoch"])
    assert a.header("lignum-earliest") == "0"


def test_every_range_across_tiny_segments_equals_what_was_published(b):
    with b.connect() as c:
        for begin in range(0, 26):
            for end in range(begin + 1, 28):
                a = c.request("GET", "/v1/topics/read/messages?from=%d&to=%d" % (begin, end))
                got = [(m["offset"], m["data"].encode()) for m in a.json["messages"]]
                want = [(i, PAYLOADS[i]) for i in range(begin, min(end, 25))]
                assert got == want, (begin, end)
                assert a.json["next"] == max(begin, min(end, 25)), (begin, end)


def test_limit_and_bytes_bound_an_answer(b):
    for limit in [1, 9, 10, 11, 20, 25, 26]:
        body = b.read("read", from_=0, limit=limit)
        assert len(body["messages"]) == min(limit, 25)
        assert body["next"] == min(limit, 25)
    body = b.read("read", from_=0, bytes=1)
    assert len(body["messages"]) == 1, "at least one message, or a reader never gets on"
    body = b.read("read", from_=0, bytes=6)
    assert len(body["messages"]) < 10


def test_from_takes_words_and_times(b):
    assert b.read("read", from_="earliest", limit=1)["messages"][0]["offset"] == 0
    assert b.read("read", from_="latest")["messages"] == []
    assert b.read("read", from_="latest")["next"] == 25
    assert len(b.read("read", from_="-15m")["messages"]) == 25
    assert len(b.read("read", from_="-1h")["messages"]) == 25
    assert len(b.read("read", from_="2020-01-01T00:00:00Z")["messages"]) == 25
    assert b.read("read", from_="2099-01-01T00:00:00Z")["messages"] == []


def test_a_time_finds_the_first_message_at_or_after_it(b):
    for i in range(12):
        b.publish("timed", b"%d" % i)
        before = time.time()
        wait_until(lambda: time.time() >= before + 0.003)
    times = [m["time"] for m in b.read("timed")["messages"]]
    assert times == sorted(times)
    for t in times:
        first = b.read("timed", from_=t, limit=1)["messages"][0]["offset"]
        assert first == times.index(t)


def test_the_end_is_empty_and_unknown_topics_are_404(b):
    body = b.read("read", from_="latest")
    assert body["messages"] == []
    assert_status(b.get("/v1/topics/absent/messages"), 404, "unknown_topic")
    assert_status(b.get("/v1/topics/absent"), 404, "unknown_topic")


@pytest.mark.parametrize("words, name", [
    ("from=-1", "from"), ("from=x", "from"), ("from=1.5", "from"), ("from=0&to=0", "from"), ("from=5&to=3", "from"),
    ("limit=0", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"), ("limit=1000000000", "limit"), ("bytes=0", "bytes"),
    ("bytes=x", "bytes"), ("wait=x", "wait"), ("wait=-1", "wait"), ("wait=61", "wait"), ("form=1", "form"),
    ("raw=maybe", "raw"), ("raw=", "raw"), ("raw", "raw"), ("from=99999999999999999999999", "from"), ("from=0x10", "from"), ("from=1e3", "from"),
    ("from=", "from"), ("to=x", "to"), ("from=2026-13-01T00:00:00Z", "from"), ("from=0&from=1", "from"),
    ("limit=1&from=0&limit=1", '"limit" is given twice'), ("from=0&%66rom=1", '"from" is given twice'),
], ids=as_id)
def test_bad_parameters_are_400_and_named(b, words, name):
    a = b.get("/v1/topics/read/messages?" + words)
    assert_status(a, 400)
    assert name in a.json["detail"]


@pytest.mark.parametrize("target, headers", [
    ("/v1/topics/read/messages?%ff=1", {}), ("/v1/topics/read/messages?from=%ff", {}), ("/v1/topics/read/messages?raw=%ff", {}),
    ("/v1/topics/read/messages?wait=%ff", {}), ("/v1/topics?limit=%ff", {}), ("/api/message?%ff=1", {}),
    ("/v1/topics/read/messages", {"Accept": "text/event-stream", "Last-Event-ID": "\xff"}),
], ids=as_id)
def test_what_is_not_utf8_is_refused_by_its_own_error(b, target, headers):
    a = b.get(target, headers=headers)
    assert_status(a, 400, "bad_value")
    assert "\\xff" in a.json["detail"].replace("\\255", "\\xff")


def test_a_coding_that_is_not_utf8_is_refused_by_its_own_error(b):
    a = b.post("/v1/topics/read/messages", b"x", headers={"Content-Encoding": "\xff"})
    assert_refused(a, 415, "unsupported_media")


@pytest.mark.parametrize("time_of", [
    "-9999999999d", "-99999d", "1960-01-01T00:00:00Z",
], ids=as_id)
def test_times_before_all_messages_read_from_the_earliest(b, time_of):
    assert b.read("read", from_=time_of, limit=1)["messages"][0]["offset"] == 0


def test_a_range_without_messages_is_empty_and_not_an_error(b):
    end = b.get("/v1/topics/read").json["next"]
    for query in ("from=-15m&to=-10m", "from=latest&to=2099-01-01T00:00:00Z&wait=60", "from=%d&to=-1d" % end):
        a = b.ok("GET", "/v1/topics/read/messages?" + query).json
        assert a["messages"] == []
    assert b.ok("GET", "/v1/topics/read/messages?from=-15m&to=-10m", headers={"Accept": ""}).json["messages"] == []
    for query in ("from=-10m&to=-15m", "from=latest&to=earliest", "from=3&to=3"):
        assert_status(b.get("/v1/topics/read/messages?" + query), 400, "bad_range")


def test_ndjson_and_raw_reads(b):
    a = b.get("/v1/topics/read/messages?from=8&to=12", headers={"Accept": "application/x-ndjson"})
    assert a.header("content-type") == "application/x-ndjson"
    lines = a.body.split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(l)["offset"] for l in lines] == [8, 9, 10, 11]
    a = b.get("/v1/topics/read/messages?from=8&to=12&raw=1", headers={"Accept": "application/x-ndjson"})
    assert a.body == b"m8\nm9\nm10\nm11\n"
    assert re.search(r"^\d+:12:0$", a.header("lignum-next-offset"))


def test_records_are_the_stored_batches_checksums_included(b):
    got, at = b"", 0
    while True:
        a = b.get("/v1/topics/read/messages?from=%d" % at, headers={"Accept": "application/vnd.lignum.records"})
        assert_status(a, 200)
        assert a.header("content-type") == "application/vnd.lignum.records"
        if not a.body:
            break
        got += a.body
        at = int(a.header("lignum-next-offset").split(":")[1])
    seen, rest = [], got
    while rest:
        size, crc, first, count, flags = struct.unpack_from("<IIQIH", rest)
        batch, rest = rest[:size], rest[size:]
        assert crc == crc32c(struct.pack("<Q", first), batch[8:])
        if flags & 1:
            continue
        at = 64
        for i in range(count):
            payload, key, headers = struct.unpack_from("<IHH", batch, at)
            at += 8 + (0 if key == 0xffff else key) + headers
            seen.append((first + i, batch[at:at + payload]))
            at += payload
    assert seen == list(enumerate(PAYLOADS))


def test_accept_picks_the_form_or_is_406(b):
    for accept, want in [("*/*", "application/json"), ("application/*", "application/json"),
                         ("application/json", "application/json"),
                         ("text/html, application/x-ndjson;q=0.9", "application/x-ndjson")]:
        a = b.get("/v1/topics/read/messages", headers={"Accept": accept})
        assert (a.status, a.header("content-type")) == (200, want), accept
    assert_status(b.get("/v1/topics/read/messages", headers={"Accept": "image/png"}), 406, "not_acceptable")


def test_a_token_claims_no_later_epoch_than_that_of_the_last_message(node):
    b = node()
    epoch = b.publish("t", b"x")["epoch"]
    b.restart()
    for query, accept in [("from=1", "application/json"), ("from=1&wait=0.05", "application/json"),
                          ("from=0", "application/json"), ("from=0", "application/vnd.lignum.records"),
                          ("from=1", "application/vnd.lignum.records"), ("from=latest", "application/json")]:
        a = b.get("/v1/topics/t/messages?" + query, headers={"Accept": accept})
        assert a.header("lignum-next-offset") == "%d:1:0" % epoch, (query, accept)
    assert b.publish("t", b"y")["epoch"] == epoch + 1
    a = b.get("/v1/topics/t/messages?from=1")
    assert a.header("lignum-next-offset") == "%d:2:0" % (epoch + 1)


def test_tokens_of_this_history_are_taken_and_others_refused(b):
    token = b.get("/v1/topics/read/messages?from=0&to=7").header("lignum-next-offset")
    assert b.read("read", from_=token, limit=1)["messages"][0]["offset"] == 7
    assert b.read("read", from_="0:7", limit=1)["messages"][0]["offset"] == 7
    assert b.read("read", min_offset="0:7", limit=1)["next"] == 1
    a = b.get("/v1/topics/read/messages?from=99:3")
    assert_status(a, 409, "log_truncated")
    assert_status(b.get("/v1/topics/read/messages?from=1:9999999999999999"), 400, "bad_value")
    assert b.read("read", min_offset=25)["next"] == 25
    a = b.get("/v1/topics/read/messages?min_offset=1000&wait=0")
    assert_status(a, 503, "unavailable")
    assert a.header("retry-after") is not None


def test_a_range_that_cannot_change_has_a_tag(b):
    a = b.get("/v1/topics/read/messages?from=3&to=9")
    tag = a.header("etag")
    assert tag is not None
    assert b.get("/v1/topics/read/messages?from=3&to=9", headers={"If-None-Match": tag}).status == 304
    assert b.get("/v1/topics/read/messages?from=3").header("etag") is None, "that will grow"
    a = b.get("/v1/topics/read/messages?from=3&to=9", headers={"If-None-Match": '"x", W/"y"'})
    assert (a.status, a.header("etag")) == (200, tag)


def test_a_read_says_the_same_however_it_is_asked_for(b):
    for accept in "application/json", "application/x-ndjson", "application/vnd.lignum.records":
        of = {"Accept": accept}
        plain = b.get("/v1/topics/read/messages?from=3&to=9&limit=4", headers=of)
        roundabout = b.get("/v1/topics/read/messages?from=3&to=9&limit=4&wait=0.0", headers=of)
        assert plain.status == 200
        assert plain.body == roundabout.body
        for name in "etag", "content-type", "lignum-next-offset", "lignum-epoch", "lignum-earliest":
            assert plain.header(name) is not None, name
            assert plain.header(name) == roundabout.header(name), name
        tag = plain.header("etag")
        again = b.get("/v1/topics/read/messages?from=3&to=9&limit=4", headers=dict(of, **{"If-None-Match": tag}))
        assert (again.status, again.header("etag")) == (304, tag)
    assert_status(b.get("/v1/topics/read/messages?from=9&to=3"), 400, "bad_range")
    assert_status(b.get("/v1/topics/read/messages?from=1&limit=0"), 400, "bad_value")
    assert_status(b.get("/v1/topics/nothing/messages?from=1"), 404, "unknown_topic")


def test_records_are_the_same_bytes_in_small_and_large_pieces(b):
    for i in range(40):
        b.publish("pieces", b"%d" % i * 2000)

    def walk(piece):
        whole, at = b"", 0
        while at < 40:
            a = b.get("/v1/topics/pieces/messages?from=%d&bytes=%d" % (at, piece),
                      headers={"Accept": "application/vnd.lignum.records"})
            whole, at = whole + a.body, int(a.header("lignum-next-offset").split(":")[1])
        return whole
    whole = walk(1)
    assert len(whole) > 40 * 2000
    for piece in 9000, 33000, 1000000:
        assert walk(piece) == whole


def test_records_end_with_the_batch_that_reaches_the_limit(b):
    b.publish_lines("limited", [b"a", b"b", b"c"])
    for i in range(5):
        b.publish("limited", b"%d" % i)

    def next_after(query):
        a = b.get("/v1/topics/limited/messages?" + query, headers={"Accept": "application/vnd.lignum.records"})
        return int(a.header("lignum-next-offset").split(":")[1])
    for query, want in [("from=0", 8), ("from=0&limit=1", 3), ("from=1&limit=2", 3), ("from=0&limit=4", 4),
                        ("from=3&limit=2", 5), ("from=3&to=5", 5), ("from=3&limit=2&to=4", 4), ("from=7&limit=9", 8)]:
        assert next_after(query) == want, query


def test_head_has_the_headers_of_get_and_no_body(b):
    with b.connect() as c:
        for target in ["/ping", "/v1/topics/read", "/v1/topics/read/messages?from=0&to=3", "/nothing"]:
            get = c.request("GET", target)
            head = c.request("HEAD", target)
            assert head.status == get.status
            assert head.header("content-type") == get.header("content-type")
            if head.header("content-length") is not None:
                assert int(head.header("content-length")) == len(get.body)
        assert c.request("GET", "/ping").body == b"PONG", "the connection is still in step"


def test_large_reads_are_whole(b):
    payloads = [os.urandom(900 * 1024) for _ in range(12)]
    for p in payloads:
        b.publish("large", p)
    assert b.messages("large") == payloads


# ---- filters

def coloured(b, topic):
    """Messages with keys and headers in every combination, also without; what each is, by offset."""
    b.ok("PUT", "/v1/topics/" + topic, status=201)
    all = [(key, headers) for key in (None, "a", "b", "") for headers in ({}, {"colour": "red"}, {"colour": "blue", "size": "1"})] * 12
    for i in range(0, len(all), 7):
        body = [dict({"data": "m%d" % (i + k), "headers": h}, **({} if key is None else {"key": key})) for k, (key, h) in enumerate(all[i:i + 7])]
        b.ok("POST", "/v1/topics/%s/messages" % topic, json.dumps(body), {"Content-Type": "application/json"})
    return all


def test_a_filter_leaves_the_messages_that_have_its_key_and_headers(b):
    all = coloured(b, "r-filter")
    for query, takes in [("key=a", lambda k, h: k == "a"), ("key=", lambda k, h: k == ""), ("header.colour=red", lambda k, h: h.get("colour") == "red"),
                         ("key=b&header.colour=blue&header.size=1", lambda k, h: k == "b" and h.get("size") == "1"),
                         ("header.colour=red&header.size=1", lambda k, h: False), ("key=A", lambda k, h: False)]:
        wanted = [i for i, m in enumerate(all) if takes(*m)]
        for limit, bytes in [(1000, 100000), (1, 100000), (3, 100000), (1000, 1), (1000, 9)]:
            path, found, at = "/v1/topics/r-filter/messages?%s&limit=%d&bytes=%d&from=" % (query, limit, bytes), [], 0
            for _ in range(len(all) + 2):
                a = b.get(path + str(at)).json
                assert len(a["messages"]) <= limit
                found += [m["offset"] for m in a["messages"]]
                lines = b.request("GET", path + str(at), headers={"Accept": "application/x-ndjson"})
                assert [json.loads(x)["offset"] for x in lines.text.splitlines()] == [m["offset"] for m in a["messages"]]
                assert lines.header("lignum-next-offset") == a["next_token"]
                if a["next"] == len(all):
                    break
                at = a["next"]
            assert found == wanted, query
    to = b.get("/v1/topics/r-filter/messages?key=a&from=3&to=40").json
    assert [m["offset"] for m in to["messages"]] == [i for i in range(3, 40) if all[i][0] == "a"] and to["next"] == 40
    raw = b.get("/v1/topics/r-filter/messages?key=a&to=40&raw=1").text.split()
    assert raw == ["m%d" % i for i in range(40) if all[i][0] == "a"]
    out = b.lua('local b = topic("r-filter"):read { from = 3, to = 40, filter = { key = "a", headers = { colour = "red" } } }\n'
                'local s = "" for _, m in ipairs(b) do s = s .. m.offset .. m.key .. m.headers.colour .. " " end return #b, b.next, s')
    offsets = [i for i in range(3, 40) if all[i] == ("a", {"colour": "red"})]
    assert out == '%d, 40, "%s "' % (len(offsets), " ".join("%dared" % i for i in offsets))


def test_a_filtered_read_is_bounded_and_its_token_goes_on(b):
    b.ok("PUT", "/v1/topics/r-sparse", status=201)
    for _ in range(12):
        b.ok("POST", "/v1/topics/r-sparse/messages", json.dumps([{"data": "x" * 9000, "key": "no"}] * 100), {"Content-Type": "application/json"})
    b.ok("POST", "/v1/topics/r-sparse/messages", b"here", {"Lignum-Key": "yes"})
    path, at, reads = "/v1/topics/r-sparse/messages?key=yes&from=", "0", []
    while not reads or reads[-1]["next"] < 1201:
        reads.append(b.get(path + at).json)
        at = reads[-1]["next_token"]
        assert len(reads) < 20
    assert 3 <= len(reads) <= 4 and [len(r["messages"]) for r in reads] == [0] * (len(reads) - 1) + [1]
    assert reads[0]["next"] < 1200 and reads[-1]["messages"][0]["data"] == "here"
    assert [m["offset"] for m in b.get(path + "0&wait=10").json["messages"]] == [1200]
    first = b.request("GET", path + "0", headers={"If-None-Match": '"x"'})
    assert b.request("GET", path + "0", headers={"If-None-Match": first.header("etag")}).status == 304
    events = b.request("GET", "/v1/topics/r-sparse/messages?key=yes&limit=1", headers={"Accept": "text/event-stream"}).text
    assert events.count("data:") == 1 and "here" in events and events.startswith("id: ")


def test_a_filter_of_wrong_form_is_refused(b):
    b.ok("PUT", "/v1/topics/r-wrong", status=201)
    for query, word in [("header.=x", "header."), ("header=x", "header"), ("key=a&key=b", "twice"), ("key=" + "x" * 1025, "1024"), ("header.%s=x" % ("y" * 7000), "1024"),
                        ("header.a=%s&header.b=%s" % ("x" * 600, "x" * 600), "1024"), ("keys=a", "key")]:
        a = b.get("/v1/topics/r-wrong/messages?" + query)
        assert_status(a, 400, "bad_value")
        assert word in a.json["detail"], a
    assert_status(b.request("GET", "/v1/topics/r-wrong/messages?key=a", headers={"Accept": "application/vnd.lignum.records"}), 400, "bad_value")
    assert "filter" in b.evaluate('topic("r-wrong"):read { filter = { key = ("x"):rep(2000) } }').err


def test_a_filtered_wait_ends_with_a_message_that_is_taken(b):
    b.ok("PUT", "/v1/topics/r-await", status=201)
    publish = lambda key: b.ok("POST", "/v1/topics/r-await/messages", key.encode(), {"Lignum-Key": key})
    with b.connect(timeout=20) as c:
        c.send(b"GET /v1/topics/r-await/messages?key=yes&from=0&wait=15 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(5):
            publish("no")
        publish("yes")
        a = c.answer().json
    assert [m["key"] for m in a["messages"]] == ["yes"] and a["next"] == 6
    began = time.monotonic()
    a = b.get("/v1/topics/r-await/messages?key=never&from=0&wait=0.5").json
    assert a["messages"] == [] and a["next"] == 6 and time.monotonic() - began >= 0.5
