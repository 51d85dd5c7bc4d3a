"""Tokens epoch:offset:topic: what they promise on any node, after a topic was deleted, and after messages were lost."""


from client import assert_status
from common import wait_until


def messages_of(a):
    return [m["data"] for m in a.json["messages"]]


def test_a_token_of_a_deleted_topic_is_refused_by_the_next_one_of_that_name(node):
    b = node()
    b.publish("t", b"zero")
    old = b.publish("t", b"one")["next_token"]
    b.ok("DELETE", "/v1/topics/t", status=204)
    for data in [b"a", b"b", b"c"]:
        new = b.publish("t", data)["next_token"]
    assert old.rpartition(":")[0] == "1:2"
    for query, headers in [("from=" + old, {}), ("from=%s&wait=1" % old, {}), ("from=0&min_offset=" + old, {}), ("to=" + old, {}),
                           ("", {"Accept": "text/event-stream", "Last-Event-ID": "1:1:" + old.rpartition(":")[2]})]:
        assert_status(b.request("GET", "/v1/topics/t/messages?" + query, headers=headers), 409, "log_truncated")
    assert b.get("/v1/topics/t/messages?from=1:2").status == 200              # two parts say nothing of the topic
    a = b.get("/v1/topics/t/messages?from=" + new)
    assert (a.status, messages_of(a), a.json["next_token"], a.header("lignum-next-offset")) == (200, [], new, new)


def test_every_answer_with_a_position_gives_the_token(node):
    b = node()
    b.publish("first", b"x")
    receipt = b.publish("t", b"zero")
    assert receipt["next_token"] == "1:1:1"                                   # its record is the second one of _topics
    a = b.get("/v1/topics/t/messages?from=0")
    assert (a.json["next"], a.json["next_token"], a.header("lignum-next-offset")) == (1, "1:1:1", "1:1:1")
    with b.connect() as c:
        c.send(b"GET /v1/topics/t/messages?from=0&to=1 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n")
        assert b"id: 1:0:1\n" in c.answer().body


def test_an_offset_beyond_the_end_is_not_taken_for_nothing_yet(node):
    b = node()
    b.publish("t", b"zero")
    assert messages_of(b.get("/v1/topics/t/messages?from=1")) == []
    for query in ["from=2", "from=2&wait=30", "from=2&limit=5&raw=1"]:
        a = b.get("/v1/topics/t/messages?" + query)
        assert_status(a, 416, "offset_beyond")
        assert (a.json["next"], a.json["detail"]) == (1, "the topic ends at 1")


def test_a_read_with_the_token_of_a_topic_that_was_just_created_waits_or_is_503(cluster):
    c = cluster(3, sync_interval=0.1)
    leader, others = c.leader(), c.followers()
    for i in range(40):
        topic = "t%d" % i
        token = leader.publish(topic, b"mine")["next_token"]
        for node in others:
            a = node.get("/v1/topics/%s/messages?from=0&min_offset=%s" % (topic, token))
            assert (a.status, messages_of(a)) == (200, ["mine"]), (i, a)


def test_a_node_that_is_cut_off_says_503_for_a_topic_that_it_may_not_know(cluster):
    c = cluster(3, net=True)
    leader, behind = c.leader(), c.followers()[0]
    c.net.isolate(behind.name)
    token = wait_until(lambda: leader.publish("late", b"x")["next_token"], what="the others go on")
    for query in ["min_offset=%s&wait=0" % token, "min_offset=%s&wait=0.2" % token.rpartition(":")[0], "min_offset=1&wait=0",
                  "from=" + token]:
        a = behind.get("/v1/topics/late/messages?" + query)
        assert_status(a, 503, "unavailable")
        assert a.json["retryable"] is True
    assert_status(behind.get("/v1/topics/late/messages?from=0"), 404, "unknown_topic")
    c.net.heal()
    wait_until(lambda: behind.get("/v1/topics/late/messages?from=" + token).status == 200, what="it knows the topic")
    leader.ok("DELETE", "/v1/topics/late", status=204)
    for node in c.nodes:
        wait_until(lambda: node.get("/v1/topics/late/messages?min_offset=%s&wait=0" % token).status == 404, what="it is deleted")


def test_a_token_whose_offset_ends_an_older_history_is_not_satisfied_by_that(cluster):
    c = cluster(3, net=True, topics={"t": {}})
    old = c.leader()
    for i in range(3):
        old.publish("t", b"shared %d" % i)
    c.wait_equal()
    c.net.isolate(old.name)
    old.post("/v1/topics/t/messages", b"old", timeout=30)                     # 1:3, which nobody else ever has
    assert old.log("t")[3:] == [(1, 3, b"old")]
    new = c.wait_leader(besides=[old])
    token = wait_until(lambda: new.publish("t", b"new")["next_token"], what="another leads")
    assert token.startswith("2:4:")
    for given in [token, "2:4"]:
        assert_status(old.get("/v1/topics/t/messages?from=3&min_offset=%s&wait=0.2" % given), 503, "unavailable")
    c.net.heal()
    a = wait_until(lambda: (lambda a: a.status == 200 and a)(old.get("/v1/topics/t/messages?from=3&min_offset=" + token)),
                   what="it has come back")
    assert messages_of(a) == ["new"]
