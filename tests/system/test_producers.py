"""Requests that are repeated because their answer was lost: each is stored once, through kills, power failures and failovers."""

import glob
import os
import random
import time

import pytest

from client import request_bytes
from common import BIG, BINARY, SANITIZED, wait_until
from publishers import Repeater, check_requests, repeating
from test_power import differences, entries, in_log, locked, on_disk, states

LIVE = {"replication": "live", "copies": 2}
SMALL = ["store.segment.messages=40", "store.segment.bytes=16384"]


def acknowledged(repeaters):
    return sum(len(r.receipts) for r in repeaters)


def goes_on(repeaters, count=60):
    target = acknowledged(repeaters) + count
    wait_until(lambda: acknowledged(repeaters) >= target, what="%d more requests are acknowledged" % count)


def check_all_are_duplicates(repeaters, node):
    """The last requests of all, repeated, append nothing."""
    for r in repeaters:
        for seq in range(max(0, len(r.receipts) - 20), len(r.receipts)):
            before = r.duplicates
            assert r.take(seq, r.send(seq, node))
            assert r.duplicates > before, "request %d of %s is new again" % (seq, r.id)


def test_requests_repeated_through_kill_9_are_stored_once(node, rng, figure):
    b = node(set=SMALL)
    topics = ["a", "b"]
    ours = [Repeater(lambda: b, topic, "%s%d" % (topic, k), random.Random(rng.random())) for topic in topics for k in range(4)]
    rounds = 40 if BIG else 4 if SANITIZED else 10
    with repeating(ours):
        for _ in range(rounds):
            goes_on(ours, rng.randrange(1, 120))
            b.kill()
            b.start(timeout=30)
    for end in ["as it is", "closed"]:
        if end == "closed":
            b.stop()
            b.start()
        for topic in topics:
            assert check_requests(b.messages(topic), [r for r in ours if r.topic == topic]) == [], end
        check_all_are_duplicates(ours, b)
    assert sum(r.gaps for r in ours) == 0
    figure("kill -9 with repeated requests: %d rounds, %d acknowledged, %d duplicates", rounds, acknowledged(ours),
           sum(r.duplicates for r in ours))


def test_requests_repeated_after_a_power_loss_are_stored_once(make_node, folder, faults, rng, figure):
    binary = BINARY if "mutant" in BINARY else faults
    log = os.path.join(folder, "log")
    b = make_node(binary=binary, set=SMALL, expect_exit=None, env={"LIGNUM_FAULT": "log=" + log})
    ours = [Repeater(lambda: b, "t", "p%d" % k, random.Random(rng.random()), lambda: os.stat(log).st_size) for k in range(4)]
    for end in ["kill", "stop", "kill"]:
        b.start()
        with repeating(ours):
            goes_on(ours, 200)
        if end == "stop":
            b.stop()
        else:
            with locked(log):
                b.kill()
        assert differences(on_disk(b.data), in_log(b.data, log)) == [], "the log does not tell all"
    count = 100 if BIG else 24
    for moment, luck, data in states(rng, folder, b, log, [Noted(r) for r in ours], count):
        c = make_node(data=data, binary=binary, place=os.path.join(folder, "check")).start()
        then = [at_that_moment(r, moment, c) for r in ours]
        where = "power lost at byte %d of the log, luck %g" % (moment, luck)
        try:
            for r in then:
                for seq in range(max(0, len(r.receipts) - 5), len(r.receipts)):
                    assert r.take(seq, r.send(seq))
                wait_until(lambda: r.take(r.ask(), r.send(r.ask())), what="the next request is acknowledged")
            assert check_requests(c.messages("t"), then) == [], where
        except AssertionError as e:
            raise AssertionError("%s: %s" % (where, e))
        c.kill()
    figure("power lost at %d moments of %d operations with repeated requests, %d acknowledged", count,
           sum(1 for _ in entries(log)), acknowledged(ours))


class Noted:
    """The acknowledgements of a repeater in the form that states() chooses its moments by."""

    def __init__(self, repeater):
        self.at = repeater.notes


def at_that_moment(r, moment, node):
    """The repeater as it was then: it knows what was acknowledged to it, and has sent the next request, or not."""
    then = Repeater(lambda: node, r.topic, r.id, random.Random(r.id))
    known = r.known_at(moment)
    then.asked, then.receipts = r.asked[:known + 1], r.receipts[:known]
    return then


def test_requests_repeated_through_failovers_are_stored_once(cluster, figure):
    c = cluster(set=SMALL, topics={"live": LIVE})
    ours = [Repeater(lambda: random.choice(c.nodes), "live", "p%d" % k, random.Random(k)) for k in range(6)]
    with repeating(ours):
        for _ in range(4):
            goes_on(ours)
            leader = c.leader() or c.wait_leader()
            leader.kill()
            c.wait_leader(besides=[leader])
            goes_on(ours)
            leader.start()
            c.wait_whole()
    c.wait_equal()
    for node in c.nodes:
        assert check_requests(node.messages("live"), ours) == []
        check_all_are_duplicates(ours, node)
    assert sum(r.gaps for r in ours) == 0
    figure("failovers with repeated requests to any node: %d acknowledged, %d duplicates", acknowledged(ours),
           sum(r.duplicates for r in ours))


def test_a_replaced_leader_refuses_nothing_by_its_own_log(cluster):
    """It thaws while it still believes to lead: the sequence and the place that a client names are those of the new leader."""
    c = cluster(topics={"t": LIVE})
    path = "/v1/topics/t/messages"
    old = c.leader()

    def numbered(seq):
        return {"Producer-Id": "p", "Producer-Seq": str(seq)}
    old.ok("POST", path, b"0", numbered(0))
    old.freeze()
    new = c.wait_leader(besides=[old])
    wait_until(lambda: new.post(path, b"1", headers=numbered(1)).status == 200, what="the new leader appends")
    token = new.ok("GET", path + "?from=latest").json["next_token"]
    with old.connect() as one, old.connect() as two:
        old.thaw()
        for conn, headers in (one, numbered(2)), (two, {"If-Match": '"%s"' % token}):
            a = conn.request("POST", path, b"2", headers)
            assert a.status in (200, 503, 504), (headers, a)


def test_requests_lost_with_a_leader_of_a_wal_topic_are_new_again_on_it_too(cluster):
    """The lost leader comes back, is cut, and leads again: it must have forgotten what it has lost."""
    c = cluster(sync_interval=30, set=SMALL, topics={"w": {"replication": "wal"}})
    first = c.leader()
    p = Repeater(lambda: c.leader() or c.wait_leader(), "w", "p", random.Random(1))
    while len(p.receipts) < 50:
        p.step()
    shipped = [r for r in p.receipts]
    first.ok("POST", "/v1/topics/w/messages", b"q all have this", {"Lignum-Ack": "peers"})
    c.wait_equal()
    while len(p.receipts) < 100:
        p.step()
    first.freeze()                     # not killed: it has in memory what it will have lost
    second = c.wait_leader(besides=[first])
    while len(p.receipts) < 75 or p.gaps == 0:
        p.step()
    assert (p.gaps, p.receipts[:50]) == (1, shipped)
    second.ok("POST", "/v1/topics/w/messages", b"q and this", {"Lignum-Ack": "peers"})
    first.thaw()
    c.wait_whole()
    wait_until(lambda: first.diverged(), what="what it has lost was moved aside")
    c.wait_equal()
    others = [node for node in c.nodes if node is not first]
    for node in others:
        node.kill()
    wait_until(lambda: c.leader() is first, what="the first leader leads again")
    for node in others:
        node.start()
    c.wait_whole()
    p.gaps = 0
    for seq in range(55, 75):
        before = p.duplicates
        assert p.take(seq, p.send(seq, first)) and p.duplicates > before
    while len(p.receipts) < 120:
        p.step()
    assert p.gaps == 0
    stored = c.leader().messages("w")
    assert check_requests([m for m in stored if not m.startswith(b"q")], [without_places(p)]) == []


def test_a_follower_that_begins_above_0_knows_the_producers_of_its_leader(cluster):
    """Retention has removed what the producers have sent before the follower comes back, and it leads then."""
    c = cluster(set=SMALL, topics={"t": dict(LIVE, retain={"messages": 40})})
    late = [n for n in c.nodes if n is not c.leader()][0]
    late.kill()
    path, old = "/v1/topics/t/messages", {"Producer-Id": "old", "Producer-Seq": "0"}
    wait_until(lambda: c.leader() and c.leader().post(path, b"q old", headers=old).status == 200, what="two nodes are enough")
    once = {"Idempotency-Key": "once"}
    first = c.leader().ok("POST", path, b"q once", once).json["first"]
    c.leader().ok("POST", path, b"q old", dict(old, **{"Producer-Seq": "1"}))
    for i in range(400):
        c.leader().ok("POST", path, b"q %d" % i)
    wait_until(lambda: c.leader().topic("t")["first"] > first + 1, timeout=60, what="retention has removed them")
    late.start()
    c.wait_whole()
    c.wait_equal()
    assert late.topic("t")["first"] > first + 1
    late.kill()                        # what it knows is on its disk
    late.start()
    c.wait_whole()
    others = [n for n in c.nodes if n is not late]
    for n in others:
        n.kill()
    wait_until(lambda: c.leader() is late, what="it leads")
    for n in others:
        n.start()
    c.wait_whole()
    assert late.ok("POST", path, b"q once", once).json["duplicate"]
    for seq in ("0", "1"):
        assert late.ok("POST", path, b"q old", dict(old, **{"Producer-Seq": seq})).json["duplicate"]
    assert "duplicate" not in late.ok("POST", path, b"q old", dict(old, **{"Producer-Seq": "2"})).json


def without_places(r):
    then = Repeater(r.node, r.topic, r.id, r.rng)
    then.asked, then.receipts = r.asked, [[None, None, n, None] for _, _, n, _ in r.receipts]
    return then


@pytest.mark.alone
def test_many_producers_are_remembered_within_their_memory_and_after_a_restart(node, figure):
    count = 100000 if BIG else 10000
    b = node()
    b.ok("PUT", "/v1/topics/t", '{"durability": "os"}', status=201)     # no request waits for the disk
    b.publish("t", b"x", {"Producer-Id": "first", "Producer-Seq": "0"})

    def send_all(seq):
        """Each producer sends this request; the number of duplicates."""
        duplicates = 0
        with b.connect() as c:
            for begin in range(0, count, 500):
                c.send(b"".join(request_bytes("POST", "/v1/topics/t/messages", b"x", {
                    "Producer-Id": "producer-%08d" % i, "Producer-Seq": str(seq)}) for i in range(begin, begin + 500)))
                for _ in range(500):
                    a = c.answer()
                    assert a.status == 200, a
                    duplicates += b'"duplicate":true' in a.body
        return duplicates
    before = b.status("VmRSS")
    assert (send_all(0), send_all(1)) == (0, 0)
    grown = b.status("VmRSS") - before
    began = time.monotonic()
    b.stop()
    stopped = time.monotonic() - began
    took = {}
    for how in ["a clean stop", "kill -9"]:
        b.start()
        began = time.monotonic()
        a = b.post("/v1/topics/t/messages", b"x", headers={"Producer-Id": "producer-00000007", "Producer-Seq": "1"})
        assert a.json["duplicate"], a
        took[how] = time.monotonic() - began
        assert send_all(1) == count
        b.kill()
        if how == "a clean stop":
            for path in glob.glob(os.path.join(b.data, "topics/t/*.senders")):
                os.unlink(path)                     # all is read back from the log
    figure("%d producers: %.1f MB more; a stop takes %.2f s, the first request after a clean stop %.3f s, without a snapshot %.3f s",
           count, grown / 1024, stopped, took["a clean stop"], took["kill -9"])
    assert SANITIZED or grown < 10000 + count * 0.6             # kB
