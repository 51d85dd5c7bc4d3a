"""Consumer groups on one node (doc/http.md, "Groups")."""

import calendar
import json
import re
import time

import pytest

from client import assert_problem, assert_status, payload_of
from common import running, wait_until
from workers import Group, Workers


@pytest.fixture(scope="module")
def b(share_node):
    return share_node(set=["store.segment.messages=10"])


def fresh(b, topic, count=0, name="w", **settings):
    """A group of a new topic that has some messages, m0 and so on."""
    b.ok("PUT", "/v1/topics/" + topic, status=201)
    for i in range(count):
        b.publish(topic, b"m%d" % i)
    g = Group(topic, name)
    assert g.put(b, **settings).status == 201
    return g


def seconds_until(text):
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - time.time()


def data(messages):
    return [payload_of(m).decode() for m in messages]


# ---- settings

def test_a_group_is_created_once_and_other_settings_are_refused(b):
    g = fresh(b, "g-create", lease_time=5, order="key", retry={"min": 0.5})
    info = g.info(b)
    assert info["settings"] == {"lease_time": 5, "deliveries": 20, "lease_max": 1000, "order": "key",
                                "retry": {"min": 0.5, "max": 300, "factor": 2}, "dead_letter": None, "expire": 0, "expired": "drop",
                                "filter": None}
    assert (info["topic"], info["group"], info["generation"], info["lag"]) == ("g-create", "w", 1, 0)
    assert_status(g.call(b, "PUT", body={"lease_time": 5, "order": "key", "retry": {"min": 0.5}}), 200)
    before = g.info(b)
    assert_status(g.call(b, "PUT", body={"lease_time": 6}), 409, "group_exists")
    assert g.info(b) == before
    a = g.call(b, "PATCH", body={"lease_time": 6})
    assert_status(a, 200)
    assert a.json["settings"]["lease_time"] == 6 and a.json["settings"]["order"] == "key"


def test_wrong_settings_are_refused_with_their_names_and_bounds(b):
    b.ok("PUT", "/v1/topics/g-bad", status=201)
    g = Group("g-bad", "w")
    for body, word in [({"lease_time": 0.01}, "lease_time must be seconds from 0.1 to 43200"), ({"lease_time": "1"}, "lease_time"),
                       ({"deliveries": 1.5}, "deliveries"), ({"lease_max": 0}, "lease_max"), ({"order": "size"}, "order"),
                       ({"retry": {"factor": 0.5}}, "retry.factor"), ({"retry": {"min": 9, "max": 8}}, "retry.min"),
                       ({"retry": 5}, "retry"), ({"retry": []}, "retry must be an object"), ({"dead_letter": "_x"}, "dead_letter"), ({"filter": {}}, "filter must have"), ({"filter": []}, "filter"), ({"filter": "x"}, "filter"),
                       ({"filter": {"kye": "x"}}, "filter.kye"), ({"filter": {"key": 1}}, "filter"), ({"filter": {"headers": {"a": None}}}, "filter"),
                       ({"filter": {"key": "x" * 1025}}, "filter"), ({"filter": {"headers": {"a" * 600: "b" * 600}}}, "filter"),
                       ({"filter": {"name": "none"}}, "filter.none"), ({"filter": {"name": "x", "key": "y"}}, "filter"),
                       ({"expired": True}, "expired"), ({"expired": "lost"}, 'expired must be "drop" or "dead"'), ({"lease_tim": 5}, "lease_time"),
                       ({"lease_time": 0.2003}, "lease_time"), ({"expire": -1}, "expire"), ({"from": True}, "from"), ({"from": False}, "from"), ({"from": None}, "from"), ({"from": 7}, "ends at 0")]:
        a = g.call(b, "PUT", body=body)
        assert a.status in (400, 416), a
        assert word in a.json["detail"], a
    assert_status(g.call(b, "GET"), 404, "unknown_group")
    assert_status(Group("g-bad", "-w").call(b, "PUT"), 400, "bad_value")
    assert_status(Group("g-none", "w").call(b, "PUT"), 404, "unknown_topic")
    assert_status(Group("g-none", "w").call(b, "GET"), 404, "unknown_topic")
    assert_status(g.call(b, "POST", "/claim"), 404, "unknown_group")
    assert_status(g.call(b, "POST", "/settle", {"ack": ["1-1"]}), 404, "unknown_group")
    assert_status(g.call(b, "DELETE"), 404, "unknown_group")


def test_groups_are_listed_and_deleted_and_go_with_their_topic(b):
    g = fresh(b, "g-list", 3, name="b")
    Group("g-list", "a").put(b)
    assert [i["group"] for i in b.get("/v1/topics/g-list/groups").json["groups"]] == ["a", "b"]
    assert len(g.claim(b, limit=2)) == 2
    assert_status(g.call(b, "DELETE"), 204)
    assert_status(g.call(b, "GET"), 404, "unknown_group")
    assert [i["group"] for i in b.get("/v1/topics/g-list/groups").json["groups"]] == ["a"]
    b.ok("DELETE", "/v1/topics/g-list", status=204)
    b.ok("PUT", "/v1/topics/g-list", status=201)
    assert b.get("/v1/topics/g-list/groups").json["groups"] == []
    assert_status(Group("g-list", "a").call(b, "GET"), 404, "unknown_group")


def test_a_topic_of_a_stream_has_groups_until_it_is_deleted_and_takes_no_letters(node):
    n = node(config="durable_streams {}\n")
    n.ok("PUT", "/v1/stream/a", b"first", headers={"Content-Type": "text/plain"}, status=201)
    topic = next(t["name"] for t in n.get("/v1/topics").json["topics"] if t["name"].startswith("stream"))
    n.ok("PUT", "/v1/topics/t", status=201)
    g = Group("t", "w")
    for method in ("PUT", "PATCH"):
        a = g.call(n, method, body={"dead_letter": topic})
        assert_status(a, 400, "bad_value")
        assert "dead_letter" in a.json["detail"], a
        g.put(n)
    assert_status(g.call(n, "POST", "/redrive", {"to": topic}), 403, "forbidden")
    assert Group(topic, "w").put(n).status == 201
    assert len(n.get("/v1/topics/%s/groups" % topic).json["groups"]) == 1
    shown = 'lignum_group_lag{topic="%s"' % topic
    assert shown in n.get("/metrics").text
    n.ok("PUT", "/v1/stream/b", headers={"Content-Type": "text/plain", "Stream-Forked-From": "/v1/stream/a"}, status=201)
    n.ok("DELETE", "/v1/stream/a", status=204)
    assert_status(n.get("/v1/topics/%s/groups" % topic), 404, "unknown_topic")   # its log is still there, for the fork
    assert_status(Group(topic, "w").call(n, "GET"), 404, "unknown_topic")
    wait_until(lambda: shown not in n.get("/metrics").text, what="its groups go", timeout=30)


def test_a_group_begins_where_it_is_told(b):
    b.ok("PUT", "/v1/topics/g-from", status=201)
    token = [b.publish("g-from", b"m%d" % i)["next_token"] for i in range(4)]
    for name, place, first in [("e", "earliest", "m0"), ("o", 2, "m2"), ("t", token[0], "m1"), ("l", "latest", None)]:
        g = Group("g-from", name)
        assert_status(g.call(b, "PUT", body={"from": place}), 201)
        assert data(g.claim(b))[:1] == ([first] if first else [])
    g = Group("g-from", "d")
    assert_status(g.call(b, "PUT"), 201)
    b.publish("g-from", b"m4")
    assert data(g.claim(b, limit=9)) == ["m4"]


def test_the_broker_keeps_the_topic_of_groups_to_itself(b):
    fresh(b, "g-own", 1)
    assert_status(b.post("/v1/topics/_groups/messages", b"x"), 403, "forbidden")
    assert_status(b.request("DELETE", "/v1/topics/_groups"), 403, "forbidden")
    assert_status(b.request("PATCH", "/v1/topics/_groups", '{"retain":{"messages":1}}'), 403, "forbidden")
    assert b.evaluate('assert(topic("_groups"):append("x"))').code != 0
    assert "_groups" not in b.get("/v1/topics").text


# ---- claim and settle

def test_a_claim_gives_each_message_once_in_order_with_its_fields(b):
    g = fresh(b, "g-claim")
    b.publish("g-claim", b"\xff", {"Lignum-Key": "k", "Lignum-Header-Colour": "red"})
    time.sleep(0.002)                                # the date of the second one is another
    b.publish("g-claim", b"two")
    one, two = g.claim(b, limit=5, consumer="me")
    assert [m["time"] for m in (one, two)] == [m["time"] for m in b.get("/v1/topics/g-claim/messages").json["messages"]]
    assert one["time"] < two["time"]
    assert (one["offset"], one["key"], one["headers"], payload_of(one), one["delivery"]) == (0, "k", {"colour": "red"}, b"\xff", 1)
    assert set(two) == {"offset", "epoch", "time", "data", "lease", "delivery"}
    assert g.claim(b) == []
    info = g.info(b)
    assert (info["lag"], info["leased"], info["oldest"]["offset"]) == (2, 2, 0)
    assert [(c["name"], c["leased"]) for c in info["consumers"]] == [("me", 2)]
    assert g.settle(b, ack=[two["lease"]]) == ["ok"]
    assert g.info(b)["cursor"].split(":")[1] == "0"
    assert g.settle(b, ack=[one["lease"]]) == ["ok"]
    assert (g.info(b)["lag"], g.info(b)["cursor"].split(":")[1], g.info(b)["oldest"]) == (0, "2", None)


def test_claims_and_settles_of_wrong_form_are_refused_and_change_nothing(b):
    g = fresh(b, "g-form", count=1)
    for body, word in [({"consumer": "a\0b"}, "consumer must not have a NUL"), ({"consumer": "c" * 65}, "consumer"),
                       ({"settle": []}, "settle must be an object"), ({"settle": {"ack": {}}}, "ack must be a list")]:
        a = g.call(b, "POST", "/claim", body)
        assert_status(a, 400, "bad_value")
        assert word in a.json["detail"], a
    a = g.call(b, "POST", "/settle", {"release": {"lease": "0-1"}})
    assert_status(a, 400, "bad_value")
    assert "release must be a list" in a.json["detail"], a
    assert (g.info(b)["leased"], g.info(b)["consumers"]) == (0, [])


def test_limit_and_bytes_bound_a_claim(b):
    g = fresh(b, "g-limit")
    for _ in range(5):
        b.publish("g-limit", b"x" * 1000)
    assert len(g.claim(b)) == 1
    assert len(g.claim(b, limit=10, bytes=2500)) == 2
    assert len(g.claim(b, limit=10, bytes=1)) == 1
    for body in ({"limit": 0}, {"limit": 10001}, {"bytes": 0}, {"wait": 61}, {"wait": -1}, {"consumer": "x" * 65}, {"limits": 1},
                 {"settle": {"acks": []}}):
        assert_status(g.call(b, "POST", "/claim", body), 400, "bad_value")


def test_settles_are_answered_in_order_and_lost_leases_change_nothing(b):
    g, other = fresh(b, "g-settle", 4), Group("g-settle", "other")
    other.put(b)
    m, foreign = g.claim(b, limit=4), other.claim(b)[0]
    a = g.call(b, "POST", "/settle", {
        "ack": [m[0]["lease"], foreign["lease"], "nonsense"], "release": [{"lease": m[1]["lease"], "delay": 100}],
        "reject": [{"lease": m[2]["lease"]}], "extend": [{"lease": m[3]["lease"], "seconds": 100}]})
    assert_status(a, 200)
    assert [(r["lease"], r["result"]) for r in a.json["results"]] == [
        (m[0]["lease"], "ok"), (foreign["lease"], "lease_lost"), ("nonsense", "lease_lost"), (m[1]["lease"], "ok"),
        (m[2]["lease"], "ok"), (m[3]["lease"], "ok")]
    info = g.info(b)
    assert (info["lag"], info["leased"], info["scheduled"], info["dead"]) == (2, 1, 1, 1)
    assert other.info(b)["leased"] == 1
    assert g.settle(b, ack=[m[0]["lease"], m[1]["lease"], m[2]["lease"]]) == ["ok", "lease_lost", "lease_lost"]
    for body in ({"ack": [5]}, {"ack": "x"}, {"extend": ["x"]}, {"extend": [{"lease": "x", "seconds": 0}]},
                 {"release": [{"lease": "x", "delay": -1}]}, {"release": [{}]}, {"reject": [{"lease": "x", "reason": "y"}]}, {"nack": []}):
        assert_status(g.call(b, "POST", "/settle", body), 400, "bad_value")


def test_a_released_message_comes_again_and_counts_its_deliveries(b):
    g = fresh(b, "g-release", 2, deliveries=3)
    for delivery in (1, 2, 3):
        m = g.claim(b)[0]
        assert (m["offset"], m["delivery"]) == (0, delivery)
        assert g.settle(b, release=[m["lease"]]) == ["ok"]
    assert g.claim(b)[0]["offset"] == 1          # after three deliveries it is dead
    info = g.info(b)
    assert (info["dead"], info["redelivered"], info["lag"]) == (1, 2, 1)


def test_a_lease_ends_with_its_time_and_the_late_ack_is_lost(b):
    g = fresh(b, "g-expire", 1, lease_time=1)
    first = g.claim(b)[0]
    again = g.claim(b, wait=10)[0]               # the timer ends the lease, and the waiting claim gets the message
    assert (again["offset"], again["delivery"]) == (0, 2)
    assert g.settle(b, extend=[{"lease": again["lease"], "seconds": 60}]) == ["ok"]
    assert g.settle(b, ack=[first["lease"]]) == ["lease_lost"]
    assert g.claim(b, wait=1.3) == []            # longer than lease_time
    assert g.settle(b, ack=[again["lease"]]) == ["ok"]
    assert g.settle(b, ack=[again["lease"]]) == ["ok"]


def test_a_delay_holds_a_message_back_and_retries_grow(b):
    g = fresh(b, "g-delay", 1, retry={"min": 0.7, "factor": 2})
    for _ in range(2):
        m = g.claim(b, wait=10)[0]
        began = time.monotonic()
        g.settle(b, release=[m["lease"]])
        assert g.info(b)["scheduled"] == 1
    m = g.claim(b, wait=10)[0]
    assert time.monotonic() - began > 1.35
    g.settle(b, release=[{"lease": m["lease"], "delay": 0}])
    assert len(g.claim(b)) == 1


def test_a_claim_settles_first_and_its_messages_follow(b):
    g = fresh(b, "g-both", 3)
    m = g.claim(b)[0]
    a = g.call(b, "POST", "/claim", {"settle": {"ack": [m["lease"]]}})
    assert a.json["settled"] == [{"lease": m["lease"], "result": "ok"}]
    assert data(a.json["messages"]) == ["m1"]
    assert g.info(b)["lag"] == 2


def test_claims_that_wait_each_get_one_message(b):
    g = fresh(b, "g-wait")
    got = []

    def one():
        got.extend(g.claim(b, wait=20))
    def publish():
        wait_until(lambda: b.in_flight() >= 5, what="five claims wait")
        b.publish_lines("g-wait", [b"m%d" % i for i in range(5)])
    with running(publish, one, one, one, one, one):
        pass
    assert sorted(data(got)) == ["m%d" % i for i in range(5)]


def test_a_client_that_has_gone_takes_nothing_from_a_claim(b):
    g = fresh(b, "g-gone")
    with b.connect() as c:
        c.send(b"POST %s/claim HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n{\"wait\":30}" % g.path.encode())
        wait_until(lambda: b.in_flight() >= 1, what="the claim waits")
    wait_until(lambda: b.in_flight() == 0, what="the claim is over")
    b.publish("g-gone", b"m")
    m = g.claim(b)[0]
    assert m["delivery"] == 1
    assert g.settle(b, ack=[m["lease"]]) == ["ok"]


def test_lease_max_bounds_what_is_out_and_a_settle_lets_the_next_in(b):
    g = fresh(b, "g-max", 6, lease_max=2)
    held = g.claim(b, limit=5)
    assert len(held) == 2 and g.claim(b) == []
    got = []
    with running(lambda: got.extend(g.claim(b, limit=5, wait=20))):
        wait_until(lambda: b.in_flight() >= 1, what="a claim waits")
        g.settle(b, ack=[held[0]["lease"]])
    assert data(got) == ["m2"]


def test_with_order_key_one_message_of_a_key_is_out_and_others_pass(b):
    g = fresh(b, "g-key", order="key", lease_time=0.5)
    for i, key in enumerate(["a", "a", "b", None, "a", "b"]):
        b.publish("g-key", b"m%d" % i, {"Lignum-Key": key} if key else {})
    first = g.claim(b, limit=10)
    assert data(first) == ["m0", "m2", "m3"]
    assert g.settle(b, release=[{"lease": first[0]["lease"], "delay": 0.2}], ack=[first[1]["lease"]]) == ["ok", "ok"]
    second = g.claim(b, limit=10)
    assert data(second) == ["m5"]                # a's are held back, b goes on
    assert data(g.claim(b, limit=10, wait=5)) == ["m0"]
    b.restart()
    assert data(g.drain(b))[-1] == "m4"


# ---- moving the cursor

def test_seek_ends_all_leases_and_begins_anew(b):
    g = fresh(b, "g-seek", 5)
    held = g.claim(b, limit=3)
    a = g.call(b, "POST", "/seek", {"to": 1})
    assert (a.status, a.json["generation"], a.json["leased"], a.header("etag")) == (200, 2, 0, '"2"')
    assert g.settle(b, ack=[held[2]["lease"]]) == ["lease_lost"]
    again = g.claim(b, limit=9)
    assert data(again) == ["m1", "m2", "m3", "m4"] and {m["delivery"] for m in again} == {1}
    assert g.call(b, "POST", "/seek", {"to": "latest"}).json["lag"] == 0
    assert g.call(b, "POST", "/seek", {"to": "earliest"}).json["lag"] == 5
    assert_status(g.call(b, "POST", "/seek", {"to": 9}), 416, "offset_beyond")
    assert_status(g.call(b, "POST", "/seek", {}), 400, "bad_value")


def test_a_cursor_is_put_only_over_the_generation_that_is_named(b):
    g = fresh(b, "g-cursor", 3)
    token = b.read("g-cursor", from_=0, limit=2)["next_token"]
    assert_status(g.call(b, "PUT", "/cursor", {"next": token}), 428, "precondition_required")
    a = g.call(b, "PUT", "/cursor", {"next": token}, {"If-Match": '"7"'})
    assert_status(a, 412, "precondition_failed")
    assert a.json["generation"] == 1
    a = g.call(b, "PUT", "/cursor", {"next": token}, {"If-Match": "1"})
    assert_status(a, 200)
    assert (a.json["generation"], a.json["lag"], a.json["cursor"]) == (2, 1, token)
    a = g.call(b, "PUT", "/cursor", {"next": "99:1:0"}, {"If-Match": "2"})
    assert_problem(a, "log_truncated")


# ---- restarts

def test_a_group_goes_on_after_kill_9_with_its_leases_delays_and_counts(node):
    b = node()
    g = fresh(b, "g-kill", 6, lease_time=60)
    m = g.claim(b, limit=4, consumer="me")
    g.settle(b, ack=[m[1]["lease"]], release=[{"lease": m[2]["lease"], "delay": 5}])
    released = time.monotonic()
    before = g.info(b)
    b.kill()
    b.start()
    after = g.info(b)
    for field in ("lag", "leased", "scheduled", "generation", "settings"):
        assert before[field] == after[field], field
    rest = g.claim(b, limit=9)
    assert data(rest) == ["m4", "m5"]            # the leases are honoured, the delay holds
    assert g.settle(b, ack=[m[1]["lease"], m[0]["lease"], m[3]["lease"]]) == ["ok", "ok", "ok"]
    late = g.claim(b, wait=20)
    assert (data(late), late[0]["delivery"]) == (["m2"], 2)
    assert 4.9 < time.monotonic() - released


def test_kill_9_loop_with_workers_delivers_nothing_again_that_was_acknowledged(node, figure):
    b = node()
    g = fresh(b, "g-loop", lease_time=1)
    sent = []
    with Workers(g, [b], count=6) as w:
        for round_ in range(6):
            for i in range(40):
                b.publish("g-loop", b"r%d.%d" % (round_, i))
                sent.append(b"r%d.%d" % (round_, i))
            b.kill()
            b.start()
        wait_until(lambda: g.info(b)["lag"] == 0, timeout=60, what="all is acknowledged", every=0.1)
    figure("kill -9 loop: %d messages, %d deliveries, %d acknowledged", len(sent), len(w.delivered), len(w.acked))
    assert w.again() == []
    assert set(sent) <= {p for p, _, _ in w.delivered}
    assert len(w.acked) > 100


def test_an_answer_to_a_claim_that_is_lost_delivers_again_and_loses_nothing(node):
    b = node()
    g = fresh(b, "g-lost", 3, lease_time=1)
    with b.connect() as c:                    # the answer is sent, and never read
        c.send(b"POST %s/claim HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n{\"limit\":3}" % g.path.encode())
        wait_until(lambda: g.info(b)["leased"] == 3, what="the messages are leased")
    got = []
    while len(got) < 3:
        got += g.claim(b, limit=3, wait=10)
    assert [(m["offset"], m["delivery"]) for m in got] == [(0, 2), (1, 2), (2, 2)]


def test_retention_removes_messages_under_leases_and_says_so(node):
    b = node()
    b.ok("PUT", "/v1/topics/g-retain", json.dumps({"retain": {"messages": 5}, "segment": {"messages": 5}}), status=201)
    g = Group("g-retain", "w")
    g.put(b)
    for i in range(4):
        b.publish("g-retain", b"m%d" % i)
    held = g.claim(b, limit=3)
    for i in range(4, 16):
        b.publish("g-retain", b"m%d" % i)
    wait_until(lambda: b.topic("g-retain")["first"] == 10, timeout=60, what="retention has removed two files")
    assert g.settle(b, ack=[held[0]["lease"]]) == ["lease_lost"]
    info = g.info(b)
    assert (info["removed"], info["lag"], info["leased"]) == (10, 6, 0)
    assert data(g.claim(b, limit=99)) == ["m%d" % i for i in range(10, 16)]
    assert "retention removed messages that were not settled" in b.said()


def test_a_topic_keeps_what_a_group_has_not_passed_up_to_its_bound(node):
    b = node()
    for topic, more in (("g-keep", {}), ("g-bound", {"messages": 10}), ("g-none", {})):
        b.ok("PUT", "/v1/topics/" + topic, json.dumps({"retain": dict({"groups": True}, **more), "segment": {"messages": 5}}), status=201)
        assert b.topic(topic)["retain"]["groups"] is True
    fast, slow, bound = Group("g-keep", "fast"), Group("g-keep", "slow"), Group("g-bound", "w")
    for g in (fast, slow, bound):
        g.put(b)
    for topic in ("g-keep", "g-bound", "g-none"):
        for i in range(30):
            b.publish(topic, b"m%d" % i)
    fast.drain(b)
    assert len(slow.claim(b, limit=30)) == 30
    wait_until(lambda: b.topic("g-bound")["first"] == 20, timeout=60, what="the bound holds")
    assert (b.topic("g-keep")["first"], b.topic("g-none")["first"]) == (0, 0)
    slow.call(b, "POST", "/seek", {"to": 12})
    wait_until(lambda: b.topic("g-keep")["first"] == 10, timeout=60, what="what both have passed is gone")
    assert (slow.info(b)["removed"], bound.info(b)["removed"]) == (0, 20)
    assert b.topic("g-none")["first"] == 0
    b.kill()
    b.start()
    assert data(slow.claim(b, limit=99)) == ["m%d" % i for i in range(12, 30)]


# ---- from Lua, and metrics

def test_scripts_claim_and_settle(b):
    fresh(b, "g-lua", 2)
    code = """
      local g = topic("g-lua"):group("lua")
      assert(g:create({ lease_time = 9, retry = { min = 1 } }, 0) == true)
      assert(g:create({ lease_time = 9, retry = { min = 1 } }, 0) == false)
      local m = assert(g:claim { limit = 2 })
      assert(#m == 2 and m[1].payload == "m0" and m[1].delivery == 1)
      local ok, problem = pcall(g.claim, g, { consumer = "a\\0b" })
      assert(not ok and problem:find("consumer must not have a NUL"), problem)
      local r = assert(g:settle { ack = { m[1].lease }, release = { m[2].lease } })
      assert(r[1].result == "ok" and r[2].result == "ok")
      local info = assert(g:info())
      assert(info.cursor == 1 and info.lag == 1 and info.scheduled == 1 and info.settings.lease_time == 9)
      assert(g:set { deliveries = 3 })
      assert(#assert(topic("g-lua"):groups()) == 2)
      assert(g:seek(0))
      assert(g:delete())
      local _, why, code = g:info()
      assert(code == "unknown_group", why)
      return "fine" """
    assert "fine" in b.lua(" ".join(code.split()))


WRONG = """
local calls = {
  function(g) local r = g:claim(5); return r end, function(g) local r = g:claim { limit = 0/0 }; return r end,
  function(g) local r = g:claim { lmit = 1 }; return r end, function(g) local r = g:settle(); return r end,
  function(g) local r = g:create(5); return r end, function(g) local r = g:set(); return r end,
  function(g) local r = g:seek("x"); return r end, function(g) local r = g:seek(0, {}); return r end,
}
route.get("/wrong", function(req)
  local out, g = {}, topic("g-blame"):group("w")
  for i, f in ipairs(calls) do out[i] = tostring(select(2, pcall(f, g))) end
  return 200, out
end)
"""


def test_a_wrong_call_of_a_group_names_its_own_line_and_how_to_call_it(node):
    b = node(config=WRONG)
    fresh(b, "g-blame")
    said = b.get("/wrong").json
    for i, (line, usage) in enumerate([(3, "group:claim {"), (3, "group:claim {"), (4, "group:claim {"), (4, "group:settle {"),
                                       (5, "group:create("), (5, "group:set("), (6, "group:seek("), (6, "group:seek(")]):
        assert "lignum.lua:%d: %s" % (line, usage) in said[i], said[i]
        assert "scripts/lignum" not in said[i]
    assert "is none of ack" in b.lua('select(2, topic("g-blame"):group("w"):settle { akc = {} })')


def test_metrics_count_what_a_group_does(b):
    g = fresh(b, "g-count", 4)
    m = g.claim(b, limit=3)
    g.settle(b, ack=[m[0]["lease"]], release=[m[1]["lease"]], reject=[m[2]["lease"]])
    samples, at = b.metrics(), '{topic="g-count",group="w"}'
    found = {n: samples["lignum_group_" + n + at] for n in ("lag", "leased", "scheduled", "claims_total", "acks_total",
                                                            "releases_total", "rejects_total", "dead_total")}
    assert found == {"lag": 2, "leased": 0, "scheduled": 0, "claims_total": 3, "acks_total": 1, "releases_total": 1,
                     "rejects_total": 1, "dead_total": 1}
    assert samples["lignum_group_oldest_seconds" + at] >= 0
    g.call(b, "PATCH", body={"lease_time": 0.1})
    assert [m["offset"] for m in g.claim(b, limit=1, wait=10)] == [1]
    wait_until(lambda: b.metrics()["lignum_group_expired_total" + at] == 1, what="the lease is over")
    g.claim(b, limit=1, wait=10)
    samples = b.metrics()
    assert (samples["lignum_group_redelivered_total" + at], samples["lignum_group_dying" + at]) == (2, 0)


def test_a_group_with_too_much_out_is_blocked_and_says_so(b):
    g = fresh(b, "g-blocked", order="key")
    for n in (50000, 50000, 2):
        body = json.dumps([{"key": "k", "data": "x"}] * n)
        b.ok("POST", "/v1/topics/g-blocked/messages", body, {"Content-Type": "application/json"})
    b.publish("g-blocked", b"free")
    consumer = 'c" reason=ready held="1'          # a name cannot forge fields of the line in the log
    first = g.claim(b, limit=2, consumer=consumer)
    assert [m["offset"] for m in first] == [0]
    assert g.claim(b) == []
    blocked = g.info(b)["blocked"]
    assert 15 < seconds_until(blocked.pop("until")) <= 30
    assert blocked == {"offset": 0, "reason": "leased", "held": 99999, "key": "k", "consumer": consumer}
    at = '{topic="g-blocked",group="w"%s}'
    assert b.metrics()["lignum_group_blocked_offset" + at % ',reason="leased"'] == 0
    assert g.settle(b, release=[{"lease": first[0]["lease"], "delay": 1000}]) == ["ok"]
    blocked = g.info(b)["blocked"]
    assert 900 < seconds_until(blocked.pop("until")) <= 1000
    assert blocked == {"offset": 0, "reason": "delayed", "held": 99999, "key": "k"}
    assert b.metrics()["lignum_group_blocked_offset" + at % ',reason="delayed"'] == 0
    assert b.metrics()['lignum_group_blocked{topic="g-blocked",group="w"}'] == 1
    line = [l for l in b.said().splitlines() if "a group is blocked: 100000 messages" in l and " topic=g-blocked " in l][0]
    assert line.endswith("group=w offset=0 reason=leased consumer=%s held=99999" % json.dumps(consumer))
    g.call(b, "POST", "/seek", {"to": 100001})
    assert [m["offset"] for m in g.claim(b, limit=9)] == [100001, 100002]
    assert g.info(b)["blocked"] is None
    assert not [name for name in b.metrics() if name.startswith("lignum_group_blocked_offset") and "g-blocked" in name]


def test_a_page_of_metrics_shows_a_bounded_number_of_groups(node):
    b = node()
    b.ok("PUT", "/v1/topics/g-many", status=201)
    for i in range(205):
        Group("g-many", "w%d" % i).put(b)
    samples = b.metrics()
    assert len([name for name in samples if name.startswith("lignum_group_lag{")]) == 200
    assert samples["lignum_groups_omitted"] == 5


WORKER = """
consume("g-work", "w", function(msg)
  if msg.payload == "later" and msg.delivery == 1 then return "release", 0.2 end
  if msg.payload == "never" then return "reject", "not mine" end
  if msg.payload == "broken" and msg.delivery == 1 then error("no way") end
  topic("g-done"):append(msg.payload)
end)
"""


def test_a_worker_of_lignum_lua_handles_messages_until_a_reload(node):
    b = node(config=WORKER)
    b.ok("PUT", "/v1/topics/g-done", status=201)
    g = fresh(b, "g-work", lease_time=60, dead_letter="g-letters")
    for m in (b"one", b"later", b"never", b"broken", b"two"):
        b.publish("g-work", m)

    def done():
        return [payload_of(m).decode() for m in b.read("g-done")["messages"]]
    wait_until(lambda: g.info(b)["lag"] == 0, timeout=30, what="all are settled")
    assert sorted(done()) == ["broken", "later", "one", "two"]
    assert "no way" in b.said()
    assert letters(b, "g-letters")[0]["headers"]["lignum-dead-why"] == "not mine"
    assert [c["name"] for c in g.info(b)["consumers"]] == ["lignum.lua"]
    b.write_config("")
    b.reload()
    b.publish("g-work", b"three")
    assert data(g.claim(b, wait=10)) == ["three"]
    assert len(done()) == 4


RETRY = """
function on_retry(msg, n, why)
  say.info(("asked %s %d %s"):format(msg.payload, n, why))
  if msg.payload == "dead" then return "dead" end
  if msg.payload == "slow" then return 600 end
  if msg.payload == "wrong" then return "x" end
  if msg.payload == "soon" then return 0 end
end
"""


def test_a_hook_decides_when_a_message_is_delivered_again(node):
    b = node(config=RETRY)
    g = fresh(b, "g-retry", lease_time=1, retry={"min": 3}, dead_letter="g-retry.dead")
    for m in (b"dead", b"slow", b"wrong", b"soon", b"own"):
        b.publish("g-retry", m)
    m = {payload_of(x): x["lease"] for x in g.claim(b, limit=9)}
    began = time.monotonic()
    g.settle(b, release=[m[b"dead"], m[b"slow"], m[b"wrong"], {"lease": m[b"own"], "delay": 0}])
    assert data(g.claim(b, limit=9, wait=10)) == ["own"]          # a delay of its own is not asked about
    g.settle(b, extend=[])
    assert data(g.claim(b, limit=1, wait=10)) == ["soon"]         # before "wrong", which the settings hold back for 3 s
    found = []
    while len(found) < 1:
        found += [x for x in data(g.claim(b, limit=9, wait=10)) if x == "wrong"]
    assert time.monotonic() - began > 2.9                         # what the settings say
    wait_until(lambda: len(letters(b, "g-retry.dead")) == 1, what="the letter is written")
    assert letters(b, "g-retry.dead")[0]["headers"]["lignum-dead-why"] == "on_retry"
    said = b.said()
    for text in ("asked dead 1 released", "asked slow 1 released", "asked soon 1 expired", "on_retry must return"):
        assert text in said
    assert "asked own 1 released" not in said
    assert g.info(b)["scheduled"] >= 1


def test_who_may_consume_may_create_groups_where_the_rule_says_so(node):
    b = node(config="""
      topic "open.*" { auto_group = true }
      topic "*" {}
      function authorize(req) return req.action == "consume" or req:header("authorization") ~= nil end""")
    admin, body = {"Authorization": "x"}, "{}"
    for topic in ("open.jobs", "jobs"):
        b.ok("PUT", "/v1/topics/" + topic, headers=admin, status=201)
    assert_status(b.request("PUT", "/v1/topics/open.jobs/groups/w", body), 201)
    assert_status(b.request("PUT", "/v1/topics/open.jobs/groups/w", body), 200)
    assert_status(b.request("PATCH", "/v1/topics/open.jobs/groups/w", body), 401)
    assert_status(b.request("PUT", "/v1/topics/jobs/groups/w", body), 401)
    assert_status(b.request("POST", "/v1/topics/open.jobs/groups/w/claim", body), 200)


# ---- dead letters

def letters(b, topic):
    a = b.get("/v1/topics/%s/messages?limit=1000" % topic)
    return a.json["messages"] if a.status == 200 else []


def test_a_dead_message_is_copied_to_its_topic_with_the_reason(b):
    g = fresh(b, "g-dead", deliveries=2, dead_letter="g-dead.letters")
    assert g.info(b)["settings"]["dead_letter"] == "g-dead.letters"
    tokens = []
    for i in range(3):
        a = b.publish("g-dead", b"\xff%d" % i, {"Lignum-Key": "k%d" % i, "Lignum-Header-Colour": "red"})
        tokens.append("%d:%d:%s" % (a["epoch"], a["first"], a["next_token"].split(":")[2]))
    m = g.claim(b, limit=2)
    g.settle(b, reject=[m[0]["lease"]], release=[m[1]["lease"]])
    m = g.claim(b, limit=1)[0]
    assert m["delivery"] == 2
    g.settle(b, release=[m["lease"]])
    m = g.claim(b, limit=1)[0]
    for bad in ({"why": 5}, {"why": "x" * 257}, {"why": "x", "delay": 1}):
        a = g.call(b, "POST", "/settle", {"reject": [dict({"lease": m["lease"]}, **bad)]})
        assert_status(a, 400, "bad_value")
        assert "why" in a.json["detail"]
    assert g.settle(b, reject=[{"lease": m["lease"], "why": "no such \u00e9 address"}]) == ["ok"]
    wait_until(lambda: g.info(b)["dead"] == 3, what="all are dead")
    found = letters(b, "g-dead.letters")
    assert [(payload_of(x), x["key"]) for x in found] == [(b"\xff0", "k0"), (b"\xff1", "k1"), (b"\xff2", "k2")]
    assert [x["headers"] for x in found] == [
        {"colour": "red", "lignum-dead-topic": "g-dead", "lignum-dead-group": "w", "lignum-dead-offset": tokens[i],
         "lignum-dead-deliveries": n, "lignum-dead-why": why}
        for i, (n, why) in enumerate([("1", "rejected"), ("2", "deliveries"), ("1", "no such \u00e9 address")])]
    info = g.info(b)
    assert (info["lag"], info["dying"], info["scheduled"]) == (0, 0, 0)


def test_while_letters_cannot_be_written_messages_stay_and_it_is_said(node):
    b = node(config='topic "dead" { auto_create = false }')
    g = fresh(b, "g-stay", 2, dead_letter="dead")
    for m in g.claim(b, limit=2):
        assert g.settle(b, reject=[m["lease"]]) == ["ok"]
    wait_until(lambda: "dead letters wait" in b.said(), what="it is said")
    info = g.info(b)
    assert (info["dying"], info["lag"], info["dead"]) == (2, 2, 0)
    assert g.claim(b) == []
    b.kill()
    b.start()
    assert g.info(b)["dying"] == 2
    b.ok("PUT", "/v1/topics/dead", status=201)
    wait_until(lambda: g.info(b)["lag"] == 0, what="both are settled")
    assert data(letters(b, "dead")) == ["m0", "m1"]
    assert g.info(b)["dead"] == 2


def test_kill_9_loop_writes_each_letter_once(node):
    b = node()
    g = fresh(b, "g-once", deliveries=1, dead_letter="g-once.letters", lease_time=30)
    sent = []
    for round_ in range(5):
        lines = [b"r%d.%d" % (round_, i) for i in range(60)]
        b.publish_lines("g-once", lines)
        sent += lines
        got = g.claim(b, limit=60)
        g.settle(b, reject=[m["lease"] for m in got])
        wait_until(lambda: len(letters(b, "g-once.letters")) > len(sent) - 40, what="some letters are written", every=0.001)
        b.kill()
        b.start()
    wait_until(lambda: g.info(b)["lag"] == 0, timeout=60, what="all are settled")
    found = [payload_of(m) for m in letters(b, "g-once.letters")]
    assert sorted(found) == sorted(sent)
    assert g.info(b)["dead"] == len(sent)


def test_a_letter_is_written_once_however_late_its_message_is_settled(node):
    """The topic of letters forgets idempotency keys at once. A letter is written, and its message is not settled before the
    node dies."""
    b = node(config='topic "*.letters" { dedupe = { age = 0.001 } }')
    g = fresh(b, "g-exact", 3, deliveries=1, dead_letter="g-exact.letters")
    for m in g.claim(b, limit=3):
        g.settle(b, reject=[m["lease"]])
    wait_until(lambda: g.info(b)["dead"] == 3, what="the letters are written")
    b.lua("local raw = require('lignum.core').group; raw.bury = function() return nil, 'not now', 'unavailable' end; return 1")
    b.publish("g-exact", b"m3")
    b.publish("g-exact", b"m4")
    for m in g.claim(b, limit=2):
        g.settle(b, reject=[m["lease"]])
    wait_until(lambda: len(letters(b, "g-exact.letters")) == 4, what="a letter is written, and its message is not settled")
    assert (g.info(b)["dying"], g.info(b)["dead"]) == (2, 3)
    for _ in range(2):
        b.kill()
        b.start()
        wait_until(lambda: g.info(b)["lag"] == 0, what="all are settled")
    assert data(letters(b, "g-exact.letters")) == ["m%d" % i for i in range(5)]


# ---- delays on publish

def test_a_delayed_message_is_not_delivered_early_and_others_pass_it(b):
    g = fresh(b, "g-later")
    path = "/v1/topics/g-later/messages"
    b.publish("g-later", b"late", {"Lignum-Delay": "1.5"})
    began = time.monotonic()
    b.ok("POST", path, json.dumps([{"data": "later", "delay": 3}, {"data": "now"}]), {"Content-Type": "application/json"})
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
    b.ok("POST", path, b"x\ny\n", {"Content-Type": "application/x-ndjson", "Lignum-Deliver-At": at})
    assert data(g.claim(b, limit=9)) == ["now"]
    info = g.info(b)
    assert (info["lag"], info["scheduled"]) == (5, 4)
    assert len(b.read("g-later")["messages"]) == 5          # readers see all at once
    assert data(g.claim(b, limit=9, wait=10)) == ["late"] and time.monotonic() - began > 1.4
    assert data(g.claim(b, limit=9, wait=10)) == ["later"] and time.monotonic() - began > 2.9
    m = g.claim(b, limit=9, wait=10)
    assert (data(m), m[0]["headers"], m[0]["delivery"]) == (["x", "y"], {"lignum-deliver-at": at}, 1)
    assert time.monotonic() - began > 3.9


def test_delays_hold_over_a_restart(node):
    b = node()
    g = fresh(b, "g-hold")
    b.publish("g-hold", b"late", {"Lignum-Delay": "4"})
    began = time.monotonic()
    b.publish("g-hold", b"now")
    assert data(g.claim(b, limit=9)) == ["now"]
    b.kill()
    b.start()
    assert g.claim(b, limit=9) == []
    assert data(g.claim(b, limit=9, wait=20)) == ["late"]
    assert time.monotonic() - began > 3.9


def test_wrong_delays_are_refused_and_nothing_is_appended(b):
    b.ok("PUT", "/v1/topics/g-wrong", status=201)
    path = "/v1/topics/g-wrong/messages"
    for headers in ({"Lignum-Delay": "-1"}, {"Lignum-Delay": "31622401"}, {"Lignum-Delay": "1.2345"}, {"Lignum-Delay": "x"},
                    {"Lignum-Delay": "1."}, {"Lignum-Deliver-At": "tomorrow"}, {"Lignum-Deliver-At": "2199-01-01T00:00:00Z"},
                    {"Lignum-Delay": "1", "Lignum-Deliver-At": "2026-01-01T00:00:00Z"}):
        for kind in ("text/plain", "application/x-ndjson"):
            assert_status(b.request("POST", path, b"m", dict(headers, **{"Content-Type": kind})), 400, "bad_value")
    for fields in ({"delay": -1}, {"delay": 31622401}, {"delay": 0.0001}, {"delay": "1"}, {"deliver_at": "x"},
                   {"deliver_at": "2199-01-01T00:00:00Z"}, {"delay": 1, "deliver_at": "2026-01-01T00:00:00Z"}):
        a = b.request("POST", path, json.dumps(dict({"data": "m"}, **fields)), {"Content-Type": "application/json"})
        assert_status(a, 400, "bad_value")
    a = b.request("POST", path, '{"data": "m"}', {"Content-Type": "application/json", "Lignum-Delay": "1"})
    assert_status(a, 400, "bad_value")
    assert b.topic("g-wrong")["next"] == 0


# ---- filters

def test_a_filter_delivers_what_has_its_key_and_headers_and_settles_the_rest(b):
    b.ok("PUT", "/v1/topics/g-filter", status=201)
    g, keyed = Group("g-filter", "w"), Group("g-filter", "keyed")
    keyed.put(b, filter={"key": "k1"})
    g.put(b, filter={"headers": {"colour": "red", "size": "1"}})
    assert g.info(b)["settings"]["filter"] == {"headers": {"colour": "red", "size": "1"}}
    for i in range(300):
        b.publish("g-filter", b"m%d" % i, {"Lignum-Key": "k%d" % (i % 3), "Lignum-Header-Colour": ["red", "blue"][i % 2],
                                           "Lignum-Header-Size": str(i % 4 // 2)})
    assert [int(x[1:]) for x in data(g.drain(b))] == [i for i in range(300) if i % 2 == 0 and i % 4 // 2 == 1]
    assert [int(x[1:]) for x in data(keyed.claim(b, limit=1))] == [1]
    info = keyed.info(b)
    assert (info["lag"], info["leased"]) == (299, 1)         # what no claim has met counts
    assert [int(x[1:]) for x in data(keyed.claim(b, limit=999))] == [i for i in range(4, 300) if i % 3 == 1]
    assert keyed.info(b)["lag"] == 100
    assert g.call(b, "PATCH", body={"filter": None}).json["settings"]["filter"] is None
    assert_status(g.call(b, "PUT", body={"filter": {"key": "x"}}), 409, "group_exists")
    began = time.monotonic()
    a = keyed.call(b, "POST", "/claim", {"wait": 0.3})
    assert a.json["messages"] == [] and time.monotonic() - began > 0.29


FILTERS = """
filter.even = function(msg) return msg.offset % 2 == 0 and msg.payload ~= "" end
filter.bad = function(msg) error("no way") end
"""


def test_a_function_of_lignum_lua_decides_what_a_group_delivers(node):
    b = node(config=FILTERS)
    g, bad = fresh(b, "g-fn", 5, filter={"name": "even"}), Group("g-fn", "bad")
    assert data(g.claim(b, limit=1)) == ["m0"]
    assert data(g.claim(b, limit=9)) == ["m2", "m4"]
    assert g.info(b)["lag"] == 3
    b.publish("g-fn", b"m5")
    b.publish("g-fn", b"m6")
    e = Events(b, g)
    assert payload_of(e.next()) == b"m6"
    e.c.close()
    wait_until(lambda: g.info(b)["leased"] == 3, what="the event's lease goes back")
    a = g.call(b, "POST", "/claim", {"limit": 9, "settle": {"ack": ["1-1"]}}).json
    assert data(a["messages"]) == ["m6"] and a["settled"] == [{"lease": "1-1", "result": "lease_lost"}]
    bad.put(b, filter={"name": "bad"})
    assert_status(bad.call(b, "POST", "/claim"), 500, "script_error")
    assert (bad.info(b)["leased"], bad.info(b)["lag"]) == (0, 7)
    assert "no way" in b.said()
    b.stop()
    b.write_config("")
    b.start()
    assert_status(g.call(b, "POST", "/claim"), 503, "unavailable")


def test_a_message_whose_ttl_is_over_is_not_delivered(b):
    g, dead = fresh(b, "g-ttl"), Group("g-ttl", "dead")
    dead.put(b, expired="dead", dead_letter="g-ttl.letters")
    path = "/v1/topics/g-ttl/messages"
    b.publish("g-ttl", b"brief", {"Lignum-TTL": "0.3"})
    b.ok("POST", path, json.dumps([{"data": "short", "ttl": 0.3}, {"data": "long", "ttl": 60}]), {"Content-Type": "application/json"})
    b.ok("POST", path, b"x\ny\n", {"Content-Type": "application/x-ndjson", "Lignum-TTL": "60"})
    assert len(b.read("g-ttl")["messages"]) == 5
    assert b.read("g-ttl")["messages"][1]["headers"] == {"lignum-ttl": "0.300"}
    time.sleep(0.4)                                           # the TTL is what is tested
    for each in (g, dead):
        assert data(each.claim(b, limit=9)) == ["long", "x", "y"]
        wait_until(lambda: each.info(b)["lag"] == 3, what="the others are settled")
        assert each.info(b)["outdated"] == 2
    found = letters(b, "g-ttl.letters")
    assert [(payload_of(m), m["headers"]["lignum-dead-why"], "lignum-ttl" in m["headers"]) for m in found] == [
        (b"brief", "expired", False), (b"short", "expired", False)]
    assert b.metrics()['lignum_group_outdated_total{topic="g-ttl",group="w"}'] == 2
    for value in ("0", "-1", "x", "31622401", "0.0001"):
        assert_status(b.request("POST", path, b"m", {"Lignum-TTL": value}), 400, "bad_value")
    for value in (0, -1, "1", 31622401, 0.0001):
        body = json.dumps({"data": "m", "ttl": value})
        assert_status(b.request("POST", path, body, {"Content-Type": "application/json"}), 400, "bad_value")


# ---- events

class Events:
    """A stream of a group's events."""

    def __init__(self, b, g, query=""):
        self.c = b.connect(timeout=20)
        self.c.send(b"GET %s/events%s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n" % (g.path.encode(), query.encode()))
        self.status, self.headers = self.c.head()
        self.text = b""

    def next(self):
        while True:
            while b"\n\n" not in self.text:
                self.text += self.c.chunk()
            event, _, self.text = self.text.partition(b"\n\n")
            if event.startswith(b"data: "):
                return json.loads(event[6:])

    def quiet(self, seconds):
        """Nothing comes for this long."""
        self.c.socket.settimeout(seconds)
        try:
            return self.c.chunk() if not self.text else self.text
        except TimeoutError:
            return None
        finally:
            self.c.socket.settimeout(20)


def test_events_deliver_as_they_come_and_no_more_than_lease_max(b):
    g = fresh(b, "g-events", 3)
    e = Events(b, g, "?consumer=me&lease_max=2")
    assert (e.status, dict(e.headers)["content-type"]) == (200, "text/event-stream")
    one, two = e.next(), e.next()
    assert data([one, two]) == ["m0", "m1"] and one["delivery"] == 1
    assert e.quiet(0.4) is None
    assert g.info(b)["consumers"][0]["name"] == "me"
    assert g.settle(b, ack=[one["lease"]]) == ["ok"]
    three = e.next()
    assert payload_of(three) == b"m2"
    assert g.settle(b, ack=[two["lease"], three["lease"]]) == ["ok", "ok"]
    b.publish("g-events", b"m3")
    assert payload_of(e.next()) == b"m3"
    e.c.close()
    assert_status(g.call(b, "GET", "/events"), 406, "not_acceptable")
    accept = {"Accept": "text/event-stream"}
    assert_status(g.call(b, "GET", "/events?lease_max=0", headers=accept), 400, "bad_value")
    assert_status(Group("g-events", "none").call(b, "GET", "/events", headers=accept), 404, "unknown_group")


def test_what_a_stream_has_leased_goes_back_when_its_client_goes(b):
    g = fresh(b, "g-back", 4, lease_time=600)
    for most in (2, 10):                         # it waits for a settle; for messages
        e = Events(b, g, "?lease_max=%d" % most)
        got = [e.next() for _ in range(min(most, 4))]
        assert {m["delivery"] for m in got} == {1}
        e.c.close()
        wait_until(lambda: g.info(b)["leased"] == 0, what="the leases go back")
    m = g.claim(b, limit=9)
    assert data(m) == ["m0", "m1", "m2", "m3"] and {x["delivery"] for x in m} == {1}


def test_a_stream_ends_when_the_node_stops(node):
    b = node()
    g = fresh(b, "g-stop", 1)
    e = Events(b, g)
    assert payload_of(e.next()) == b"m0"
    b.stop()
    b.start()
    assert g.info(b)["leased"] == 0


def test_letters_of_a_group_are_published_again_once(b):
    g, other = fresh(b, "g-redrive", deliveries=1, dead_letter="g-redrive.dead"), Group("g-redrive", "other")
    other.put(b, dead_letter="g-redrive.dead")
    for i in range(3):
        b.publish("g-redrive", b"m%d" % i, {"Lignum-Key": "k", "Lignum-Header-Colour": "red", "Lignum-Delay": "2"})
    wait_until(lambda: g.claim(b, limit=3) == [] and g.info(b)["scheduled"] == 3, what="they are delayed")
    for each in (g, other):
        m = each.claim(b, limit=2, wait=10)
        m += each.claim(b, limit=2 - len(m), wait=10) if len(m) < 2 else []
        each.settle(b, reject=[x["lease"] for x in m])
        wait_until(lambda: each.info(b)["dead"] == 2, what="the letters are written")
    assert_status(g.call(b, "POST", "/redrive", {"limit": 0}), 400, "bad_value")
    assert g.call(b, "POST", "/redrive", {"limit": 1}).json == {"published": 1}
    assert g.call(b, "POST", "/redrive").json == {"published": 1}
    assert g.call(b, "POST", "/redrive").json == {"published": 0}
    again = b.read("g-redrive", from_=3)["messages"]
    assert [(payload_of(m), m["key"], m["headers"]) for m in again] == [(b"m%d" % i, "k", {"colour": "red"}) for i in range(2)]
    assert other.call(b, "POST", "/redrive", {"to": "g-redrive.to"}).json == {"published": 2}
    assert len(b.read("g-redrive.to")["messages"]) == 2
    assert sorted(data(g.drain(b))) == ["m0", "m1", "m2"]
    plain = Group("g-redrive", "plain")
    plain.put(b)
    assert_status(plain.call(b, "POST", "/redrive"), 400, "bad_value")


def test_messages_that_go_through_delays_and_dead_letters_and_back_are_neither_lost_nor_doubled(node):
    b, names = node(), ["m%d" % i for i in range(4)]
    g = fresh(b, "loop", deliveries=2, retry={"min": 0.2, "factor": 1}, dead_letter="loop.dead")
    for name in names:
        b.publish("loop", name.encode(), {"Lignum-Delay": "0.3"})
    for lap in range(3):
        failed, deadline = {}, time.monotonic() + 60
        while sum(failed.values()) < 2 * len(names):
            assert time.monotonic() < deadline, "lap %d: %r" % (lap, failed)
            for m in g.claim(b, limit=3, wait=1):
                assert m["delivery"] == failed.get(payload_of(m), 0) + 1
                failed[payload_of(m)] = m["delivery"]
                assert g.settle(b, release=[m["lease"]]) == ["ok"]
        assert sorted(x.decode() for x in failed) == names
        wait_until(lambda: g.info(b)["lag"] == 0, what="all are dead")
        if lap == 1:
            b.kill()
            b.start()
        assert sorted(data(b.read("loop.dead", from_=lap * len(names))["messages"])) == names
        assert g.call(b, "POST", "/redrive").json == {"published": len(names)}
        assert sorted(data(b.read("loop", from_=(lap + 1) * len(names))["messages"])) == names
    assert sorted(data(g.drain(b))) == names


def test_messages_of_producers_and_idempotent_requests_are_delivered_as_they_are(b):
    g = fresh(b, "g-origin")
    b.publish("g-origin", b"one", {"Idempotency-Key": "a key"})
    b.publish("g-origin", b"two", {"Producer-Id": "p", "Producer-Epoch": "1", "Producer-Seq": "0"})
    b.ok("POST", "/v1/topics/g-origin/messages", b"x\ny\n", {"Content-Type": "application/x-ndjson", "Idempotency-Key": "z"})
    assert data(g.claim(b, limit=9)) == ["one", "two", "x", "y"]


def test_a_group_that_is_not_used_goes_after_its_time(b):
    g, used = fresh(b, "g-idle", 1, expire=2), Group("g-idle", "used")
    used.put(b, expire=600)
    names = ["used", "w"]

    def left():
        return [i["group"] for i in b.get("/v1/topics/g-idle/groups").json["groups"]]
    assert left() == names
    wait_until(lambda: left() == ["used"], timeout=60, what="it is gone", every=0.2)
    assert_status(g.call(b, "POST", "/claim"), 404, "unknown_group")
