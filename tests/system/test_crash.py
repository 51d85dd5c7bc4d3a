"""kill -9 at any moment: afterwards every acknowledged message is stored once and in order, and batches are whole."""

import collections
import contextlib
import random

from common import BIG, SANITIZED, running, wait_until
from publishers import Publisher, check_promises

TOPICS = ["orders", "events", "a.b-c", "x_y"]


def test_kill_9_loop_loses_nothing_acknowledged(node, rng, figure):
    rounds = 60 if BIG else 5 if SANITIZED else 10
    b = node(set=["store.segment.messages=97", "store.segment.bytes=65536"])
    publishers = collections.defaultdict(list)
    total = 0
    for round_ in range(rounds):
        ours = []
        for topic in TOPICS:
            for k in range(2):
                p = Publisher(b, "r%d.%s.%d" % (round_, topic, k), topic, random.Random(rng.random()))
                publishers[topic].append(p)
                ours.append(p)
        moment = rng.randrange(20, 700)
        with running(*[p.run for p in ours]):
            wait_until(lambda: sum(len(p.acknowledged) for p in ours) >= moment, what="publishing goes on")
            b.kill()
        b.start(timeout=30)
        for topic in TOPICS:
            if b.get("/v1/topics/" + topic).status == 404:
                assert not any(p.acknowledged for p in publishers[topic])
                continue
            stored = b.messages(topic)
            faults = check_promises(stored, publishers[topic])
            assert faults[:5] == [], "round %d, %s" % (round_, topic)
        total = sum(len(p.acknowledged) for ps in publishers.values() for p in ps)
    b.stop()
    r = b.verify()
    assert r.code == 0, r
    figure("kill -9 loop: %d rounds, %d acknowledged batches, none lost", rounds, total)


def test_kill_9_while_sealing_deleting_and_creating(node, rng):
    b = node(set=["store.segment.messages=10"])
    for round_ in range(6 if not SANITIZED else 3):
        acknowledged = {}

        def churn(k):
            with contextlib.suppress(OSError), b.connect() as c:        # the broker is killed meanwhile
                for i in range(10000):
                    name = "c%d.%d.%d" % (round_, k, i)
                    for n in range(rng.randrange(1, 25)):
                        a = c.request("POST", "/v1/topics/%s/messages" % name, b"%d" % n)
                        if a.status == 200:
                            acknowledged[name] = n + 1
                    if i % 3 == 0:
                        acknowledged.pop(name, None)      # from here on the topic may exist or not
                        if c.request("DELETE", "/v1/topics/" + name).status not in (200, 204):
                            raise AssertionError("delete failed")
        with running(*[lambda k=k: churn(k) for k in range(4)]):
            wait_until(lambda: len(acknowledged) > 12, what="messages are acknowledged")
            b.kill()
        b.start()
        for name, count in list(acknowledged.items()):
            stored = b.messages(name)
            assert stored[:count] == [b"%d" % n for n in range(count)], name
            assert len(stored) <= count + 1
    b.stop()
    assert b.verify().code == 0


def test_the_check_of_promises_can_fail():
    p = Publisher(None, "p", "t", random.Random(1))
    p.asked = [[b"1"], [b"2", b"3"], [b"4"]]
    p.acknowledged = [(0, [b"1"]), (1, [b"2", b"3"])]
    assert check_promises([b"1", b"2", b"3"], [p]) == []
    assert check_promises([b"1", b"2", b"3", b"4"], [p]) == []
    for wrong in [[b"1"], [b"1", b"2"], [b"2", b"3", b"1"], [b"1", b"2", b"3", b"3"], [b"1", b"2", b"3", b"forged"], [],
                  [b"1", b"2", b"3", b"2", b"3"]]:
        assert check_promises(wrong, [p]) != [], wrong


def test_interval_and_os_survive_kill_9(node):
    b = node()
    for durability in ["interval", "os"]:
        b.ok("PUT", "/v1/topics/" + durability, '{"durability": "%s"}' % durability, status=201)
    sent = [b"%d" % i for i in range(200)]
    for topic in ["interval", "os"]:
        with b.connect() as c:
            for m in sent:
                a = c.request("POST", "/v1/topics/%s/messages" % topic, m)
                assert (a.status, a.json["durability"]) == (200, topic)
    b.kill()
    b.start()
    for topic in ["interval", "os"]:
        assert b.messages(topic) == sent
