"""/v1: publishing (doc/http.md)."""

import base64
import json
import os

import pytest

from client import assert_refused, assert_status, payload_of
from common import SANITIZED, as_id, hold_for
from publishers import count_together

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def b(share_node):
    return share_node(set=["store.segment.messages=10"])


def test_a_body_is_one_message_byte_for_byte(b):
    bodies = [b"plain", b"", bytes(range(256)), b"\n", b"a\nb\r\n", b"|#|", b"\xff\xfe", os.urandom(70000), b"\x00"]
    for i, body in enumerate(bodies):
        a = b.publish("bytes", body)
        assert {k: a[k] for k in ("topic", "first", "next", "count", "durability", "committed", "copies")} == (
            {"topic": "bytes", "first": i, "next": i + 1, "count": 1, "durability": "commit",
             "committed": "disk", "copies": 1})
    assert b.messages("bytes") == bodies


def test_content_type_key_and_headers_are_kept(b):
    b.publish("meta", b"x", {"Content-Type": "image/png", "Lignum-Key": "k1", "Lignum-Header-Trace": "abc",
                                  "Lignum-Header-X-Y": "1 2"})
    m = b.read("meta")["messages"][0]
    assert m["key"] == "k1"
    headers = {n.lower(): v for n, v in m["headers"].items()}
    assert headers == {"content-type": "image/png", "trace": "abc", "x-y": "1 2"}


def test_ndjson_lines_are_messages_as_they_stand(b):
    body = b'{"a": 1}\nplain text\r\n\n  spaced  \n\r\n\xff\xfe\nlast without newline'
    a = b.ok("POST", "/v1/topics/lines/messages", body, NDJSON).json
    want = [b'{"a": 1}', b"plain text", b"  spaced  ", b"\xff\xfe", b"last without newline"]
    assert (a["first"], a["next"], a["count"]) == (0, 5, 5)
    assert b.messages("lines") == want
    for empty in [b"", b"\n\n\r\n"]:
        a = b.post("/v1/topics/lines/messages", empty, headers=NDJSON)
        assert_refused(a, 400)


def test_json_envelopes_one_and_many(b):
    one = {"key": "k", "headers": {"h": "v"}, "data": "text"}
    a = b.ok("POST", "/v1/topics/envelope/messages", json.dumps(one), JSON).json
    assert (a["first"], a["count"]) == (0, 1)
    many = [{"data": "a"}, {"base64": base64.b64encode(b"\x00\xff").decode()}, {"key": "", "data": ""},
            {"data": "\u0000\U0001f600"}]
    a = b.ok("POST", "/v1/topics/envelope/messages", json.dumps(many), JSON).json
    assert (a["first"], a["next"], a["count"]) == (1, 5, 4)
    m = b.read("envelope")["messages"]
    assert (m[0]["key"], m[0]["headers"], m[0]["data"]) == ("k", {"h": "v"}, "text")
    assert [payload_of(x) for x in m[1:]] == [b"a", b"\x00\xff", b"", "\u0000\U0001f600".encode()]
    assert "key" not in m[1]
    assert m[3]["key"] == ""
    assert "headers" not in m[1]


@pytest.mark.parametrize("body", [
    '{}', '[]', '[{"data": "good"}, {}]', '{"data": "x", "base64": "eA=="}',
    '{"base64": "!!"}', '[{"data": "good"}, 5]', '{"key": 5, "data": "x"}',
    '{"headers": {"a": 1}, "data": "x"}', '{"headers": [], "data": "x"}', '{"dato": "x"}', '"x"', '[[]]', '{"data": "x"} x', '{"base64": "eA"}',
    '[{"data": "good"}, {"data": "x", "extra": 1}]', '{"data": "x", "delay": 0.0004}', '{"data": "x", "delay": "1"}',
    '{"data": "x", "headers": {"": "v"}}', '{"data": "x", "headers": {"a\\u0000b": "v"}}', '{"base64": "eB=="}',
    '{"data": "x", "delay": 1, "deliver_at": "2026-11-30T10:00:00Z"}', '{"data": "x", "deliver_at": "soon"}',
], ids=as_id)
def test_bad_envelopes_append_nothing_of_their_batch(b, body):
    a = b.post("/v1/topics/bad-envelope/messages", body, headers=JSON)
    assert_refused(a, 400)
    t = b.get("/v1/topics/bad-envelope")
    assert t.status == 404 or t.json["next"] == 0, t


@pytest.mark.parametrize("path", ["core", "hook", "follower"])
def test_a_header_given_twice_means_the_same_on_each_path(b, node, cluster, path):
    if path == "hook":
        b = node(config="function on_publish(msg) msg.headers.seen = nil end")
    elif path == "follower":
        b = cluster(2, topics={"twice": {}}).followers()[0]

    def post(lines, body=b"x"):
        with b.connect() as c:
            c.send(b"POST /v1/topics/twice/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), lines, body))
            return c.answer()
    a = post(b"Lignum-Header-X: 1\r\nLignum-Header-Y: 0\r\nlignum-header-x: 2\r\n")
    assert_status(a, 200)
    for lines in (b"Lignum-Key: a\r\nLignum-Key: b\r\n", b"Content-Type: a/b\r\nContent-Type: a/b\r\n",
                  b"Content-Type: a/b\r\nLignum-Header-Content-Type: c/d\r\n", b"Lignum-Header-X: \xff\r\n",
                  b"Lignum-Header-: x\r\n", b"Lignum-Header-: \r\nLignum-Key: a\r\n",
                  b"Producer-Id: 1\r\nProducer-Id: 1\r\n", b"Content-Type: application/json\r\nLignum-Key: a\r\n",
                  b"Content-Type: application/x-ndjson\r\nLignum-Header-X: a\r\n"):
        assert_refused(post(lines, b'{"data": "x"}'), 400)
    assert_status(post(b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n"), 415, "unsupported_media")
    m = b.read("twice", min_offset=1)["messages"]
    assert [x["headers"] for x in m] == [{"x": "1, 2", "y": "0"}]
    with b.connect() as c:
        c.send(b"GET /v1/topics/twice/messages HTTP/1.1\r\nHost: localhost\r\nAccept: image/png\r\nAccept: application/x-ndjson\r\n\r\n")
        assert c.answer().header("content-type") == "application/x-ndjson"


def test_keys_of_any_bytes_are_read_as_they_can_be_published(b):
    b.publish("bytes-key", b"a", {"Lignum-Key": "\xff"})
    key = b.read("bytes-key")["messages"][0]["key_base64"]
    b.ok("POST", "/v1/topics/bytes-key/messages", json.dumps({"key_base64": key, "data": "a"}), JSON)
    m = b.read("bytes-key")["messages"]
    assert len({x["key_base64"] for x in m}) == 1 and "key" not in m[0], m
    assert base64.b64decode(key) in (b"\xff", "\xff".encode())
    for envelope in ({"key": "a", "key_base64": "eA==", "data": ""}, {"key_base64": "x", "data": ""}):
        assert_refused(b.post("/v1/topics/bytes-key/messages", json.dumps(envelope), headers=JSON), 400)


NOT_EXACT = ['{"data": "a"}\0', '[{"data": "a"}]\0{', '{"data": "a", "data": "b"}', '{"key": "", "key": "k", "data": "a"}',
             '{"data": "a", "headers": {"lignum-delay": "1"}, "delay": 2}', '{"data": "a", "headers": {}, "headers": {}}',
             '{"data": "a", "headers": {"h": "1", "\\u0068": "2"}}', '{"data": "a"}]', '{"data": "\\ud800"}']


@pytest.mark.parametrize("body", NOT_EXACT, ids=as_id)
def test_json_that_would_lose_something_is_refused(b, body):
    assert_status(b.post("/v1/topics/exact/messages", body, headers=JSON), 400, "bad_json")
    assert_status(b.get("/v1/topics/exact"), 404)


def test_json_beyond_its_limits_names_the_limit(b):
    values = "[" + ",".join(["[]"] * (1 << 16)) + "]"
    deep = "[" * 65 + "]" * 65
    messages = "[" + ",".join(['{"data":"","headers":{%s}}' % ",".join('"%d":""' % i for i in range(7))] * 60000) + "]"
    a = b.post("/v1/topics/limits-json/messages", messages, headers=JSON)
    assert_status(a, 413, "too_large")
    assert a.json["limit"] == 1 << 19
    for method, path, body in [
            ("POST", "/api/message", '{"topic": "limits-json", "message": "m", "x": %s}'),
            ("POST", "/api/topics", '{"name": %s}'), ("GET", "/api/message", '{"topic": %s}'),
            ("PUT", "/v1/topics/limits-json", '{"retain": %s}'), ("PATCH", "/v1/topics/limits-json", '{"x": %s}')]:
        for inner, limit in ((values, 1 << 16), (deep, 64)):
            a = b.request(method, path, body % inner, JSON)
            assert_status(a, 413, "too_large")
            assert a.json["limit"] == limit
    assert_status(b.get("/v1/topics/limits-json"), 404)


@pytest.mark.skipif(SANITIZED, reason="a sanitizer takes the script's time")
def test_envelopes_up_to_the_limits_cost_no_script_its_time(b):
    payload = os.urandom(1 << 20)
    body = json.dumps([{"base64": base64.b64encode(payload).decode()}] * 5)
    b.ok("POST", "/v1/topics/large-envelope/messages", body, JSON)
    assert b.messages("large-envelope") == [payload] * 5
    body = "[" + ",".join(['{"data": "%05d"}' % i for i in range(65536)]) + "]"
    a = b.ok("POST", "/v1/topics/many-envelopes/messages", body, JSON).json
    assert a["count"] == 65536
    assert b.messages("many-envelopes", from_=65535) == [b"65535"]


@pytest.mark.parametrize("hooked", [False, True], ids=["core", "hook"])
def test_a_long_body_of_json_is_read_in_slices_as_a_short_one_is(node, hooked):
    b = node(config="function on_publish(msg) end" if hooked else None)
    envelopes = [{"data": "\u00e9\n\"%d" % i, "key": "k\\%d" % i, "headers": {"h\t%d" % i: "v", "b": "\u0001" * 9}} for i in range(3000)]
    envelopes += [{"base64": base64.b64encode(os.urandom(99)).decode(), "key_base64": "/w==", "delay": 0.25}] * 1000
    a = b.ok("POST", "/v1/topics/t/messages", json.dumps(envelopes), JSON).json
    assert (a["first"], a["count"]) == (0, 4000)
    for envelope, m in zip(envelopes, b.read("t", limit=5000)["messages"], strict=True):
        for field in ("data", "base64", "key", "key_base64"):
            assert m.get(field) == envelope.get(field)
        assert m["headers"] == envelope.get("headers", {"lignum-delay": "0.250"})
    for at, bad, why in ((3, {"data": "", "key": 1}, "message 4: key must be a string"), (3999, {}, "message 4000: a message must have either data or base64"),
                         (3500, {"dato": ""}, "message 3501: there is no field dato, but data, base64, key, key_base64, headers, delay, deliver_at, ttl: "
                          "application/json is read as {\"data\": ...}; send other JSON as application/x-ndjson, which is stored as it is")):
        a = b.post("/v1/topics/t/messages", json.dumps(envelopes[:at] + [bad] + envelopes[at:]), headers=JSON)
        assert_status(a, 400, "bad_value")
        assert a.json["detail"] == why
    assert b.publish("t", b"x")["first"] == 4000


# What an envelope has as `data`, the payload that is stored, and what a reader of values gets.
VALUES = [('{"a": [1, {"b" : "x \\" y"}], "c":{ }}', b'{"a":[1,{"b":"x \\" y"}],"c":{}}'), ("[]", b"[]"), ("[ [ ] , null ]", b"[[],null]"),
          ("12345678901234567890.10", b"12345678901234567890.10"), ("-0", b"-0"), ("true", b"true"), ("null", b"null")]


@pytest.mark.parametrize("hooked", [False, True], ids=["core", "hook"])
def test_data_of_an_envelope_may_be_any_value_of_json(node, hooked):
    b = node(config="function on_publish(msg) end" if hooked else None)
    for text, payload in VALUES:
        b.ok("POST", "/v1/topics/one/messages", '{"key": "k", "data": %s, "headers": {"h": "v"}}' % text, JSON)
    b.ok("POST", "/v1/topics/all/messages", "[%s]" % ",".join('{"data":\n%s\n}' % text for text, _ in VALUES), JSON)
    payloads = [payload for _, payload in VALUES]
    assert b.messages("one") == b.messages("all") == payloads
    assert b.read("one")["messages"][0]["data"] == payloads[0].decode()
    assert {(m["key"], m["headers"]["h"]) for m in b.read("one")["messages"]} == {("k", "v")}
    for bad, why in (('{"data": {"a": 1}', "a comma or } is due"), ('{"data": {"a": }}', "there is no value"), ('{"data": 01}', "a number is malformed"),
                     ('{"data": ' + "[" * 100 + "]" * 100 + "}", "nested deeper"), ('{"data": {}, "data": []}', 'the name "data" twice')):
        a = b.post("/v1/topics/one/messages", bad, headers=JSON)
        assert a.status in (400, 413) and why in a.json["detail"], a
    assert b.publish("one", b"x")["first"] == len(VALUES)


def test_a_reader_of_values_gets_payloads_that_are_json_as_they_are(b):
    b.ok("POST", "/v1/topics/values/messages", b'{"id": 9007199254740993,\t"n": 1.10}\n"text"\nno json\n{"twice": 1} 2\n' + b"\xff\n", NDJSON)
    text = b.ok("GET", "/v1/topics/values/messages?json=1").body
    assert b'"json":{"id":9007199254740993,"n":1.10}}' in text and b'"json":"text"}' in text
    assert [m.get("data") for m in json.loads(text)["messages"]] == [None, None, "no json", '{"twice": 1} 2', None]
    lines = b.ok("GET", "/v1/topics/values/messages?json=1", headers={"Accept": NDJSON["Content-Type"]}).body.splitlines()
    assert [json.loads(line) for line in lines] == json.loads(text)["messages"]
    events = b.ok("GET", "/v1/topics/values/messages?json=1&limit=5", headers={"Accept": "text/event-stream"}).body.split(b"\n")
    assert [json.loads(e[6:]) for e in events if e.startswith(b"data: ")] == json.loads(text)["messages"]
    assert b.ok("GET", "/v1/topics/values/messages?limit=1").json["messages"][0]["data"] == '{"id": 9007199254740993,\t"n": 1.10}'
    tags = {b.ok("GET", "/v1/topics/values/messages?from=0&to=1" + more).header("etag") for more in ("", "&json=1")}
    assert len(tags) == 2
    for query, accept in (("json=1&raw=1", "application/json"), ("json=1", "application/vnd.lignum.records"), ("json=yes", "application/json")):
        assert_status(b.get("/v1/topics/values/messages?" + query, headers={"Accept": accept}), 400, "bad_value")


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("hooked", [False, True], ids=["core", "hook"])
def test_a_trace_is_kept_with_each_message_of_its_request(node, hooked):
    b = node(config="function on_publish(msg) end" if hooked else None)
    headers = {"traceparent": TRACE, "tracestate": "a=1,b=2"}
    kept = {"traceparent": TRACE, "tracestate": "a=1,b=2"}
    for body, more in ((b"one", {}), (b"two\nthree\n", NDJSON), (b'[{"data": "four"}, {"data": 5, "headers": {"h": "v"}}]', JSON),
                       (b"six", {"Lignum-Header-H": "v"})):
        b.ok("POST", "/v1/topics/t/messages", body, {**headers, **more})
    assert [m["data"] for m in b.read("t")["messages"]] == ["one", "two", "three", "four", "5", "six"]
    assert [m["headers"] for m in b.read("t")["messages"]] == [kept] * 4 + [{**kept, "h": "v"}] * 2
    own = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"
    b.ok("POST", "/v1/topics/own/messages", b"x", {**headers, "Lignum-Header-Traceparent": own})
    b.ok("POST", "/v1/topics/own/messages", json.dumps({"data": "x", "headers": {"traceparent": own}}), {**headers, **JSON})
    assert [m["headers"] for m in b.read("own")["messages"]] == [{"traceparent": own}, {"traceparent": own}]
    b.ok("PUT", "/v1/topics/t/groups/g", '{"from": "earliest"}', status=201)
    assert b.ok("POST", "/v1/topics/t/groups/g/claim", '{"consumer": "me"}', JSON).json["messages"][0]["headers"] == kept


@pytest.mark.parametrize("value", [
    "", "00", TRACE[:-1], TRACE + "0", TRACE + "-00", TRACE.upper(), "ff" + TRACE[2:], TRACE.replace("-", "_"), "0x" + TRACE[2:],
    "00-" + "0" * 32 + TRACE[35:], TRACE[:36] + "0" * 16 + "-01", "01" + TRACE[2:] + "0"], ids=as_id)
def test_a_traceparent_that_is_not_valid_is_as_none(b, value):
    b.ok("POST", "/v1/topics/untraced/messages", b"x", {"traceparent": value, "tracestate": "a=1"})
    assert "headers" not in b.read("untraced", from_="-1m")["messages"][-1]


def test_a_later_version_of_a_trace_is_kept_and_two_of_them_are_not(b):
    later = "01" + TRACE[2:] + "-what-comes"
    b.ok("POST", "/v1/topics/versions/messages", b"x", {"traceparent": later, "tracestate": "\xff"})
    b.ok("POST", "/v1/topics/versions/messages", b"x", [("traceparent", TRACE), ("Traceparent", TRACE)])
    b.ok("POST", "/v1/topics/versions/messages", b"x", {"traceparent": TRACE, "Lignum-Header-Large": "x" * 8000})
    first, second, third = b.read("versions")["messages"]
    assert first["headers"] == {"traceparent": later}
    assert "headers" not in second
    assert third["headers"]["large"] == "x" * 8000


def test_a_batch_is_appended_as_a_whole_or_not_at_all(b):
    big = b"x" * (1 << 20)
    body = b"good\n" + big + b"x\n"
    a = b.post("/v1/topics/whole/messages", body, headers=NDJSON)
    assert_status(a, 413, "too_large")
    assert a.json["limit"] == 1 << 20
    assert a.json["appended"] is False
    a = b.ok("POST", "/v1/topics/whole/messages", b"good\n" + big + b"\n", NDJSON).json
    assert a["count"] == 2
    assert b.messages("whole") == [b"good", big]


def test_limits_of_messages_name_the_limit(b):
    a = b.post("/v1/topics/limits/messages", b"x" * ((1 << 20) + 1))
    assert_status(a, 413, "too_large")
    assert a.json["limit"] == 1 << 20
    a = b.post("/v1/topics/limits/messages", b"x", headers={"Lignum-Key": "k" * 5000})
    assert a.status in (400, 413), a
    a = b.post("/v1/topics/limits/messages", b"\n".join([b"x"] * 70000), headers=NDJSON)
    assert_status(a, 413, "too_large")
    assert a.json["limit"] == 65536
    a = b.post("/v1/topics/limits/messages", b"x" * ((8 << 20) + 1))
    assert_status(a, 413, "too_large")
    assert a.json["limit"] == 8 << 20
    a = b.post("/v1/topics/limits/messages", json.dumps({"data": "x", "key": "k" * 5000}), headers=JSON)
    assert_status(a, 413, "too_large")
    assert a.json["limit"] == 4096
    t = b.get("/v1/topics/limits")
    assert t.status == 404 or t.json["next"] == 0, t


@pytest.mark.parametrize("name", [
    "a%20b", "%2e%2e", ".", "..", ".x", "-x", "_x", "a%2fb", "%c3%a9", "x" * 129, "a%0ab", "a%00b", "a*b",
], ids=as_id)
def test_bad_topic_names_in_the_path_are_400(b, name):
    a = b.post("/v1/topics/%s/messages" % name, b"x")
    assert a.status in (400, 403, 404), a


def test_an_escaped_topic_name_in_the_path_is_decoded(b):
    a = b.post("/v1/topics/%74est-escaped/messages", b"x")
    assert a.json["topic"] == "test-escaped"


def test_auto_create_false_makes_publishing_to_an_unknown_topic_404(node):
    b = node(config='topic "made.*" { auto_create = false }\ntopic "*" {}')
    a = b.post("/v1/topics/made.one/messages", b"x")
    assert_refused(a, 404, "unknown_topic")
    b.ok("PUT", "/v1/topics/made.one", "{}", status=201)
    b.publish("made.one", b"x")
    b.publish("free", b"x")


def test_unknown_media_types_are_taken_as_bytes_but_codings_are_refused(b):
    a = b.post("/v1/topics/media/messages", b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert_refused(a, 415, "unsupported_media")
    b.publish("media", b"x", {"Content-Type": "weird/thing; a=b"})


def test_every_answer_says_its_durability(b):
    for durability, committed in [("commit", "disk"), ("interval", "written"), ("os", "written")]:
        name = "durability-" + durability
        b.ok("PUT", "/v1/topics/" + name, json.dumps({"durability": durability}), status=201)
        a = b.publish(name, b"x")
        assert (a["durability"], a["committed"]) == (durability, committed)
        assert b.messages(name) == [b"x"]


def test_producer_headers_are_checked(b):
    for headers in [{"Producer-Id": "x"}, {"Producer-Id": "1", "Producer-Seq": "-1"}, {"Producer-Seq": "1"},
                    {"Producer-Id": "1", "Producer-Seq": "0", "Producer-Epoch": "9" * 16},
                    {"Producer-Id": "x" * 65, "Producer-Seq": "0"}, {"Idempotency-Key": "x" * 129},
                    {"Producer-Id": "x", "Producer-Seq": "0", "Idempotency-Key": "x"}]:
        assert_refused(b.post("/v1/topics/producer/messages", b"x", headers=headers), 400, "bad_value")


def test_a_conditional_append_goes_to_its_place_or_nowhere(b):
    """In every form of body, by both interfaces, and with a hook or without (test_scripts)."""
    name, at = "conditional", "/v1/topics/conditional/messages"
    forms = [(at, b"one", {}), (at, b"a\nb\n", NDJSON), (at, b'{"data": "x"}', JSON),
             (at, b"keyed", {"Lignum-Key": "k", "Content-Type": "text/plain"}),
             ("/api/message", json.dumps({"topic": name, "message": "m"}).encode(), JSON)]
    a = b.post(at, b"x", headers={"If-Match": '"1:5"'})
    assert (assert_refused(a, 412, "precondition_failed"), a.json["token"]) == (None, "0:0")
    assert b.get("/v1/topics/" + name).status == 404, "a condition that fails creates no topic"
    token = b.publish(name, b"first", {"If-Match": '"0:0"'})["next_token"]
    for path, body, headers in forms:
        before = b.messages(name)
        for wrong in ["0:0", "1:0:7", token.rpartition(":")[0] + ":7", "0" + token, "7:%s" % token.split(":")[1]]:
            if wrong == "0" + token:
                continue                        # the same number
            a = b.post(path, body, headers=dict(headers, **{"If-Match": '"%s"' % wrong}))
            assert_refused(a, 412, "precondition_failed")
            assert (a.json["token"], b.messages(name)) == (token, before)
        assert_refused(b.post(path, body, headers=dict(headers, **{"If-Match": token})), 400, "bad_value")
        b.ok("POST", path, body, dict(headers, **{"If-Match": '"%s"' % token}))
        assert len(b.messages(name)) > len(before)
        token = b.read(name)["next_token"]


def test_of_many_appends_with_one_token_one_succeeds(b):
    count_together(lambda: b, "count", up_to=100, clients=8)
    assert b.messages("count") == [b"%d" % i for i in range(101)]


class Producer:
    """Sends requests of one producer; `sent` are the receipts of those that were appended, by sequence."""

    def __init__(self, b, topic, id, epoch=None):
        self.b, self.topic, self.id, self.epoch, self.sent = b, topic, id, epoch, []

    def send(self, seq, body=None, form=("/v1/topics/%s/messages", {}), **more):
        headers = dict({"Producer-Id": self.id, "Producer-Seq": str(seq)}, **dict(form[1], **more))
        if self.epoch is not None:
            headers["Producer-Epoch"] = str(self.epoch)
        path = form[0] % self.topic if "%" in form[0] else form[0]
        return self.b.post(path, b"%s %d" % (self.id.encode(), seq) if body is None else body, headers=headers)

    def append(self, seq, **kw):
        a = self.send(seq, **kw)
        assert_status(a, 200)
        assert "duplicate" not in a.json
        self.sent.append(a.json)


def place(receipt):
    return {k: receipt[k] for k in ("first", "next", "count", "epoch", "next_token")}


def test_a_repeated_request_of_a_producer_is_answered_with_its_place_and_appended_once(b):
    """In every form of body, by both interfaces."""
    text = json.dumps({"topic": "producer", "message": "m"}).encode()
    forms = [(("/v1/topics/%s/messages", {}), b"one"), (("/v1/topics/%s/messages", NDJSON), b"a\nb\nc\n"),
             (("/v1/topics/%s/messages", JSON), b'[{"data": "x"}, {"data": "y"}]'),
             (("/v1/topics/%s/messages", {"Lignum-Key": "k", "Content-Type": "text/plain"}), b"keyed"),
             (("/api/message", JSON), text)]
    p, seq, before = Producer(b, "producer", "p-1"), 0, 0
    for form, body in forms:
        first = p.send(seq, body=body, form=form)
        assert_status(first, 200)
        assert "duplicate" not in first.json
        stored = b.messages("producer")
        assert len(stored) > before
        for _ in range(2):
            again = p.send(seq, body=body, form=form)
            assert_status(again, 200)
            assert again.json == dict(first.json, duplicate=True)
        assert b.messages("producer") == stored
        before, seq = len(stored), seq + 1
    assert b.metrics()['lignum_topic_duplicates_total{topic="producer"}'] == 2 * len(forms)


def test_gaps_and_old_epochs_of_producers_are_refused(b):
    p = Producer(b, "gaps", "p", epoch=3)
    a = p.send(1)
    assert_refused(a, 409, "sequence_gap")
    assert a.json["expected"] == 0
    for seq in range(3):
        p.append(seq)
    a = p.send(5)
    assert_refused(a, 409, "sequence_gap")
    assert (a.json["expected"], a.json["retryable"]) == (3, False)
    other = Producer(b, "gaps", "p", epoch=7)
    assert_refused(other.send(3), 409, "sequence_gap")
    other.append(0)
    for seq in (0, 3):
        a = p.send(seq)
        assert_refused(a, 403, "fenced")
        assert a.json["epoch"] == 7
    other.append(1)
    Producer(b, "gaps", "P").append(0)             # another producer
    Producer(b, "elsewhere", "p").append(0)        # another topic
    assert len(b.messages("gaps")) == 6
    assert b.metrics()['lignum_topic_sequence_gaps_total{topic="gaps"}'] == 3
    assert b.metrics()['lignum_topic_duplicates_total{topic="gaps"}'] == 0


def test_of_old_requests_only_that_they_were_appended_is_known(b):
    p = Producer(b, "old", "p")
    for seq in range(20):
        p.append(seq)
    for seq in range(20):
        a = p.send(seq)
        assert_status(a, 200)
        if seq >= 4:
            assert a.json == dict(p.sent[seq], duplicate=True)
        else:
            assert set(a.json) == {"topic", "duplicate", "durability", "committed", "copies"} and a.json["duplicate"]
    a = b.post("/api/message", json.dumps({"topic": "old", "message": "m"}).encode(),
               headers=dict(JSON, **{"Producer-Id": "p", "Producer-Seq": "0"}))
    assert set(a.json) == {"status", "data", "duplicate", "durability", "committed"}


def test_an_idempotency_key_is_a_duplicate_within_the_window_of_its_topic(b):
    b.ok("PUT", "/v1/topics/keys", json.dumps({"dedupe": {"keys": 3}}), status=201)
    assert b.topic("keys")["dedupe"] == {"age": 120, "keys": 3}

    def send(key):
        return b.publish("keys", key.encode(), {"Idempotency-Key": key})
    first = send("a")
    assert send("a") == dict(first, duplicate=True)
    for key in "bcd":
        assert "duplicate" not in send(key)
    assert "duplicate" not in send("a")            # three others came after it
    assert send("d")["duplicate"]
    b.ok("PATCH", "/v1/topics/keys", json.dumps({"dedupe": {"age": 0.001}}))
    hold_for(0.01, "the age of the keys")
    assert "duplicate" not in send("d")
    assert b.messages("keys") == [b"a", b"b", b"c", b"d", b"a", b"d"]


def test_the_rule_of_producers_is_asked_before_the_condition(b):
    p = Producer(b, "both", "p")
    a = p.send(0, **{"If-Match": '"0:0"'})
    assert_status(a, 200)
    again = p.send(0, **{"If-Match": '"0:0"'})
    assert (again.status, again.json) == (200, dict(a.json, duplicate=True))
    assert_refused(p.send(1, **{"If-Match": '"0:0"'}), 412, "precondition_failed")
    p.append(1)                                     # what was refused takes no sequence


def test_readers_get_stored_batches_without_their_producers(b):
    p = Producer(b, "bare", "a producer's name")
    for seq in range(3):
        p.append(seq, body=b"x" * (seq * 50000))
    b.publish("bare", b"last", {"Idempotency-Key": "a secret"})
    a = b.request("GET", "/v1/topics/bare/messages", headers={"Accept": "application/vnd.lignum.records"})
    assert_status(a, 200)
    assert b"producer" not in a.body and b"secret" not in a.body and b"last" in a.body
