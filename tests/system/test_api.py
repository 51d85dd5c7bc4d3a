"""/api, the original interface (doc/http.md), and defects that it no longer has."""

import json

import pytest

from client import assert_refused, assert_status
from common import as_id, in_threads


@pytest.fixture(scope="module")
def b(share_node):
    return share_node(set=["store.segment.messages=10"])


def send(b, topic, message):
    return b.post("/api/message", json.dumps({"topic": topic, "message": message}))


def ask(b, **body):
    return b.request("GET", "/api/message", json.dumps(body))


def test_ping_answers_pong(b):
    a = b.get("/ping")
    assert_status(a, 200)
    assert a.body == b"PONG"


def test_api_publish_answers_with_status_data_and_place(b):
    a = send(b, "api-place", "this is a test message")
    assert_status(a, 200)
    assert a.header("content-type") == "application/json"
    body = a.json
    assert body["status"] == "message commited"
    assert body["data"] == "this is a test message"
    assert body["offset"] == 0
    assert body["durability"] == "commit"
    assert body["committed"] == "disk"
    assert body["epoch"] >= 1
    assert send(b, "api-place", "second").json["offset"] == 1


def test_api_publish_answers_valid_json_whatever_the_message(b):
    nasty = ['a "quote"', "back\\slash", "line\nbreak", "tab\t", "\u0000", "\u2028", "\U0001f600", "", "</script>",
             "\x7f\x80", "a|#|b", '"}', "%s%n", "é", "{\"json\": true}"]
    for i, text in enumerate(nasty):
        body = send(b, "api-nasty", text).json
        assert (body["data"], body["offset"]) == (text, i)
    body = ask(b, topic="api-nasty", **{"from": 0, "to": len(nasty)}).json
    assert [m["Data"] for m in body["messages"]] == nasty


def test_api_publish_of_any_length_has_the_same_answer(b):
    for i, n in enumerate([1, 16 * 1024 - 100, 16 * 1024 + 1, 200_000]):
        a = send(b, "api-long", "é" * n)
        assert_status(a, 200)
        assert (a.json["data"] == "é" * n, a.json["offset"], a.json["committed"]) == (True, i, "disk")
    a = send(b, "api-long", "x" * (1024 * 1024 + 1))
    assert_refused(a, 413)
    assert a.json["limit"] == 1024 * 1024
    assert [len(m) for m in b.messages("api-long")] == [2, 2 * (16 * 1024 - 100), 2 * (16 * 1024 + 1), 400_000]


def test_api_publish_that_is_sent_again_is_a_duplicate(b):
    for duplicate in [None, True]:
        a = b.ok("POST", "/api/message", json.dumps({"message": "once", "topic": "api-once"}), {"Idempotency-Key": "k"})
        assert (a.json["data"], a.json["offset"], a.json.get("duplicate")) == ("once", 0, duplicate)


def test_api_publish_with_a_hook_answers_what_was_sent_and_where_it_went(node):
    b = node(config='''
function on_publish(msg)
  if msg.payload == "no" then return reject("not this") end
  if msg.payload == "change" then msg.payload = "changed" end
  if msg.payload == "move" then msg.topic = "other" end
end''')
    placed = [(m, send(b, "t", m).json) for m in ["keep", "change", "move", "keep"]]
    assert [(m, a["data"], a["offset"], a["status"], a["committed"]) for m, a in placed] == [
        (m, m, i, "message commited", "disk") for m, i in [("keep", 0), ("change", 1), ("move", 0), ("keep", 2)]]
    assert b.messages("t") == [b"keep", b"changed", b"keep"]
    assert b.messages("other") == [b"move"]
    a = send(b, "t", "no")
    assert_refused(a, 400)
    assert (a.json["code"], a.json["detail"]) == ("rejected", "not this")
    assert b.messages("t") == [b"keep", b"changed", b"keep"]


def test_api_read_gives_the_half_open_range(b):
    for i in range(5):
        send(b, "api-range", "m%d" % i)
    body = ask(b, topic="api-range", **{"from": 0, "to": 3}).json
    assert body == {"messages": [{"Id": i, "Data": "m%d" % i} for i in range(3)], "count": 3}
    assert ask(b, topic="api-range", **{"from": 3, "to": 100}).json["count"] == 2
    assert ask(b, topic="api-range", **{"from": 5, "to": 9}).json == {"messages": [], "count": 0}
    assert ask(b, topic="api-range", **{"from": 99, "to": 100}).json == {"messages": [], "count": 0}


def test_api_read_takes_query_parameters_too(b):
    send(b, "api-query", "x")
    a = b.get("/api/message?topic=api-query&from=0&to=3")
    assert_status(a, 200)
    assert a.json == {"messages": [{"Id": 0, "Data": "x"}], "count": 1}


def test_api_ranges_at_multiples_of_the_segment_are_whole(b):
    # The old implementation lost blocks there. A segment holds 10 messages here.
    for i in range(30):
        assert send(b, "api-multiples", "m%d" % i).status == 200
    for begin in range(0, 31):
        for end in range(begin + 1, 33):
            body = ask(b, topic="api-multiples", **{"from": begin, "to": end}).json
            want = [{"Id": i, "Data": "m%d" % i} for i in range(begin, min(end, 30))]
            assert body == {"messages": want, "count": len(want)}, (begin, end)


def test_api_messages_with_newline_or_old_separator_stay_one_message(b):
    texts = ["a\nb", "a|#|b", "\n", "|#|", "1|#|forged\n2|#|forged", "a\r\nb"]
    for t in texts:
        assert_status(send(b, "api-separator", t), 200)
    body = ask(b, topic="api-separator", **{"from": 0, "to": 100}).json
    assert [m["Data"] for m in body["messages"]] == texts


def test_api_topics_lists_names_and_counts(b):
    for i in range(3):
        send(b, "api-listed", "x")
    listed = {t["name"]: t["message_count"] for t in b.ok("GET", "/api/topics").json}
    assert listed["api-listed"] == 3
    assert not [n for n in listed if n.startswith("_")], "the broker's own topics are not listed"


def test_api_topics_creates_once(b):
    a = b.post("/api/topics", '{"name": "api-created"}')
    assert_status(a, 201)
    assert {"name": "api-created", "message_count": 0} in b.ok("GET", "/api/topics").json
    assert_status(b.post("/api/topics", '{"name": "api-created"}'), 409, "topic_exists")
    a = b.post("/api/topics", '{"name": "api-live", "replication": "live", "copies": 1}')
    assert_status(a, 201)
    assert b.topic("api-live")["replication"] == "live"


@pytest.mark.parametrize("body, field", [
    ('{"message": "x"}', "topic"), ('{"topic": "", "message": "x"}', "topic"), ('{"topic": "t"}', "message"),
    ('{"topic": 5, "message": "x"}', "topic"), ('{"topic": "t", "message": 5}', "message"),
    ('{"topic": "t", "message": null}', "message"), ('{"topic": "t", "message": {"a": 1}}', "message"),
    ('{"topic": "t", "message": "x", "mesage": "y"}', "mesage"), ('{"topic": null, "message": "x"}', "topic"),
])
def test_api_refuses_a_publish_with_the_name_of_the_field(b, body, field):
    a = b.post("/api/message", body)
    assert_refused(a, 400)
    assert field in a.json["detail"]


@pytest.mark.parametrize("query, field", [
    ({"from": 0, "to": 1}, "topic"), ({"topic": "", "from": 0, "to": 1}, "topic"),
    ({"topic": "api-fields", "from": 0}, "to"), ({"topic": "api-fields", "from": None, "to": 1}, "from"),
    ({"topic": "api-fields", "from": 1, "to": 1}, "from"), ({"topic": "api-fields", "from": 2, "to": 1}, "from"),
    ({"topic": "api-fields", "from": -1, "to": 1}, "from"), ({"topic": "api-fields", "from": 0, "to": -1}, "to"),
    ({"topic": "api-fields", "from": 0.5, "to": 1}, "from"), ({"topic": "api-fields", "from": 0, "to": 1.5}, "to"),
    ({"topic": "api-fields", "from": "0", "to": 1}, "from"), ({"topic": "api-fields", "from": 0, "to": True}, "to"),
    ({"topic": "api-fields", "from": 0, "to": 1, "limit": 1}, "limit"), ({"topic": "api-absent", "from": 0, "to": 1}, "topic"),
], ids=as_id)
def test_api_refuses_a_read_with_the_name_of_the_field(b, query, field):
    send(b, "api-fields", "x")
    a = ask(b, **query)
    assert_status(a, 400)
    assert field in a.json["detail"]


@pytest.mark.parametrize("body", [
    "", "{", "nonsense", "[]", '"text"', "null", "7", '{"topic": "t", "message": "x"} trailing', "{'topic': 't'}",
    '{"topic": "t", "message": "\x01"}', '{"topic": NaN}', '{"topic": 0x10}', '{"topic": "t", "message": "x",}',
    b'{"topic": "t", "message": "\xff\xfe"}',
], ids=as_id)
def test_api_refuses_a_publish_that_is_not_json(b, body):
    assert_refused(b.post("/api/message", body), 400)


@pytest.mark.parametrize("target, body", [
    ("/api/message", "{"), ("/api/message", None), ("/api/message?topic=t&from=x&to=1", None),
    ("/api/message?topic=t&from=1e3&to=2000", None), ("/api/message?topic=t&from=0x1&to=2000", None),
    ("/api/message?topic=t&from=99999999999999999999&to=2", None),
])
def test_api_refuses_a_read_that_is_not_json_or_whose_numbers_are_none(b, target, body):
    assert_status(b.request("GET", target, body), 400)


def test_topic_names_are_taken_or_refused_but_never_break_a_connection(b):
    # In the old implementation '-', '.' and a space ended the connection.
    with b.connect() as c:
        for name in ["a-b", "a.b", "A_b.c-9", "x" * 128, "a..b", "0"]:
            a = c.request("POST", "/api/message", json.dumps({"topic": name, "message": "x"}))
            assert_status(a, 200)
            a = c.request("GET", "/api/message", json.dumps({"topic": name, "from": 0, "to": 1}))
            assert a.json["count"] == 1, name
        for name in ["a b", "", ".", "..", ".hidden", "-dash", "_own", "a/b", "../x", "a\\b", "a\u0000b", "é",
                     "x" * 129, "a\nb", "%2e%2e", "a*", "a?b", "a:b", " ", "a\t"]:
            a = c.request("POST", "/api/message", json.dumps({"topic": name, "message": "x"}))
            assert_refused(a, 403 if name.startswith("_") else 400)


def test_creating_300_topics_at_once_works(b):
    # This ended the process of the old implementation.
    failures = []

    def publisher(k):
        with b.connect() as c:
            for i in range(k, 300, 30):
                a = c.request("POST", "/api/message", json.dumps({"topic": "many-%d" % i, "message": str(i)}))
                if a.status != 200 or a.json["offset"] != 0:
                    failures.append(a)
    in_threads(*[lambda k=k: publisher(k) for k in range(30)])
    assert failures == []
    listed = {t["name"]: t["message_count"] for t in b.ok("GET", "/api/topics").json}
    assert [listed.get("many-%d" % i) for i in range(300)] == [1] * 300


def test_one_topic_created_by_many_at_once_has_every_message_once(b):
    offsets = []

    def publisher(k):
        a = send(b, "race", "m%d" % k)
        offsets.append((a.json["offset"], "m%d" % k))
    in_threads(*[lambda k=k: publisher(k) for k in range(40)])
    body = ask(b, topic="race", **{"from": 0, "to": 100}).json
    assert [(m["Id"], m["Data"]) for m in body["messages"]] == sorted(offsets)
    assert body["count"] == 40


@pytest.mark.parametrize("target, allowed", [
    ("/ping", {"GET"}), ("/api/message", {"GET", "POST"}), ("/api/topics", {"GET", "POST"}), ("/metrics", {"GET"}),
    ("/healthz", {"GET"}),
], ids=as_id)
def test_other_methods_are_405_with_allow(b, target, allowed):
    for method in sorted({"GET", "POST", "PUT", "PATCH", "DELETE", "PURGE"} - allowed):
        a = b.request(method, target, b"" if method != "GET" else None)
        assert_status(a, 405, "method_not_allowed")
        allow = {m.strip() for m in (a.header("allow") or "").split(",")}
        assert allowed <= allow <= allowed | {"HEAD", "OPTIONS"}, a


@pytest.mark.parametrize("target", [
    "/nothing", "/api", "/api/", "/api/messages", "/v2/topics", "/%3Cscript%3E", "/v1/topics/t/nothing", "//ping", "//",
    "/v1/topic/%3Cscript%3E",
])
def test_unknown_paths_are_404_and_echo_nothing(b, target):
    a = b.get(target)
    assert_status(a, 404)
    assert b"script" not in a.body


def test_errors_never_echo_input_unescaped(b):
    evil = '"><script>\u0001</script>"'
    for a in [b.post("/api/message", json.dumps({"topic": evil, "message": "x"})),
              b.post("/api/message", json.dumps({evil: "x"})),
              b.get("/v1/topics/%22%3E%3Cscript%3E"),
              b.get("/v1/topics/t/messages?%22%3E=1")]:
        assert a.status in (400, 404)
        assert isinstance(a.json["detail"], str)
        assert a.header("content-type") == "application/problem+json"


def test_one_message_with_the_old_separator_does_not_hinder_later_starts(node):
    b = node()
    b.ok("POST", "/api/message", '{"topic": "t", "message": "a|#|b"}')
    for _ in range(3):
        b.restart()
        body = b.ok("GET", "/api/message?topic=t&from=0&to=9").json
        assert body["messages"] == [{"Id": 0, "Data": "a|#|b"}]


def test_restart_after_a_crash_neither_waits_nor_reuses_ids(node):
    # The old implementation waited 24 s for its own lock, reset its counter and reused acknowledged ids.
    b = node(set=["store.segment.messages=10"])
    epoch = 0
    for round_ in range(4):
        for i in range(7):
            a = b.ok("POST", "/api/message", json.dumps({"topic": "t", "message": "r%d" % round_})).json
            assert a["offset"] == round_ * 7 + i
            assert a["data"] == "r%d" % round_
        assert a["epoch"] > epoch, "an epoch never outlives its process"
        epoch = a["epoch"]
        b.kill()
        b.start(timeout=15)
    assert len(b.messages("t")) == 28
