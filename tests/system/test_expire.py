"""Topics that are deleted when nobody uses them (`expire`), on a node and in a cluster. Hours are in tests/lua/clock_test.lua."""

import json
import time

from client import assert_status
from common import Background, hold_for, running, wait_until
from workers import Group

EXPIRE = 2
IDLE = {"expire": EXPIRE}


def is_there(b, topic):
    a = b.get("/v1/topics/%s" % topic)
    assert a.status in (200, 404)
    return a.status == 200


def wait_gone(nodes, topic):
    for n in nodes:
        wait_until(lambda n=n: not is_there(n, topic), what="%s is gone on %s" % (topic, n.name), every=0.05)


def test_a_topic_that_expires_is_counted_and_its_files_go(node):
    b = node(config='topic "s.*" { expire = 0.5 }\n')
    b.publish("s.1", b"x")
    assert b.topic("s.1")["expire"] == 0.5
    b.publish("lasting", b"x")
    wait_gone([b], "s.1")
    assert b.metrics()["lignum_topics_expired_total"] == 1
    assert "topics that nobody has used for their `expire` are deleted topics=1 first=s.1" in b.said()
    assert is_there(b, "lasting")
    b.restart()
    assert not is_there(b, "s.1") and is_there(b, "lasting")


def test_the_log_names_the_group_that_keeps_a_topic(node):
    b = node()
    b.ok("PUT", "/v1/topics/jobs", json.dumps({"expire": 0.4}), status=201)
    g = Group("jobs", "w")
    g.put(b)
    b.publish("jobs", b"x")
    wait_until(lambda: "a group has not settled all of it" in b.said(), what="it says so")
    assert "topic=jobs group=w settled=0 end=1" in b.said()
    assert is_there(b, "jobs")
    m = g.claim(b)
    assert g.settle(b, ack=[m[0]["lease"]]) == ["ok"]
    wait_gone([b], "jobs")
    assert b.said().count("a group has not settled all of it") == 1


def test_many_topics_expire_at_once(node):
    b = node(config='topic "s.*" { expire = 1 }\n')
    with b.connect() as c:
        for i in range(2500):
            assert_status(c.request("POST", "/v1/topics/s.%d/messages" % i, b"x"), 200)
    wait_until(lambda: b.get("/v1/topics?names=1").json["names"] == [], what="all are gone", every=0.1)
    assert b.metrics()["lignum_topics_expired_total"] >= 2500


def test_the_time_begins_again_with_a_start(node):
    for _ in range(5):
        b = node()
        b.ok("PUT", "/v1/topics/t", json.dumps(IDLE), status=201)
        b.kill()
        hold_for(EXPIRE + 0.5, "nobody uses the topic, and no node runs")
        began = time.monotonic()
        b.start()
        there, took = is_there(b, "t"), time.monotonic() - began
        if took < EXPIRE:
            break
    assert there and took < EXPIRE
    wait_gone([b], "t")


class Reader:
    """Reads a topic on a node again and again, and knows its longest pause."""

    def __init__(self, node, topic):
        self.node, self.topic, self.longest, self.last = node, topic, 0, time.monotonic()

    def step(self):
        self.node.get("/v1/topics/%s/messages?from=0" % self.topic)
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now
        time.sleep(0.05)


def test_reads_on_a_follower_keep_a_topic_and_what_expires_is_gone_everywhere(cluster):
    c = cluster()
    for round_ in range(5):
        leader, follower = c.leader(), c.followers()[0]
        kept, idle, later = ("%s-%d" % (name, round_) for name in ["kept", "idle", "later"])
        for name in [kept, idle]:
            leader.ok("PUT", "/v1/topics/%s" % name, json.dumps(IDLE), status=201)
        leader.publish(kept, b"x")
        wait_until(lambda: is_there(follower, kept), what="the follower has it")
        reader = Reader(follower, kept)
        with Background(reader.step):
            wait_gone(c.nodes, idle)
            leader.ok("PUT", "/v1/topics/%s" % later, json.dumps(IDLE), status=201)
            wait_gone(c.nodes, later)
            there = [is_there(n, kept) for n in c.nodes]
        if reader.longest < EXPIRE / 2:
            break
    assert reader.longest < EXPIRE / 2, "the machine is too slow"
    assert there == [True] * 3
    wait_gone(c.nodes, kept)


def test_a_reader_that_waits_on_a_follower_keeps_a_topic(cluster):
    c = cluster()
    leader, follower = c.leader(), c.followers()[0]
    for name in ["kept", "idle"]:
        leader.ok("PUT", "/v1/topics/%s" % name, json.dumps(IDLE), status=201)
    wait_until(lambda: is_there(follower, "kept"), what="the follower has it")
    found = []
    with running(lambda: found.append(follower.get("/v1/topics/kept/messages?from=0&wait=50", timeout=60))):
        wait_gone(c.nodes, "idle")
        leader.ok("PUT", "/v1/topics/later", json.dumps(IDLE), status=201)
        wait_gone(c.nodes, "later")
        assert [is_there(n, "kept") for n in c.nodes] == [True] * 3
        leader.publish("kept", b"x")
    assert_status(found[0], 200)
    assert len(found[0].json["messages"]) == 1


def test_a_failover_deletes_nothing_early(cluster):
    c = cluster()
    leader = c.leader()
    leader.ok("PUT", "/v1/topics/t", json.dumps({"expire": 8}), status=201)
    for n in c.nodes:
        wait_until(lambda n=n: is_there(n, "t"), what="%s has it" % n.name)
    leader.kill()
    next_ = c.wait_leader(besides=[leader])
    seen = time.monotonic()
    hold_for(3, "a look of the new leader comes: there is one in each quarter of `expire`")
    there, took = is_there(next_, "t"), time.monotonic() - seen
    assert there or took > 7, "the machine is too slow"
    leader.start()
    c.wait_whole()
    wait_gone(c.nodes, "t")
