"""Groups and producers when the power is lost at any moment (powerloss.py): nothing acknowledged comes again, nothing else is lost, no
request is stored twice, and keys keep their order."""

import json
import os
import random
import re

import pytest

from client import request_bytes
from common import BIG, BINARY, in_threads, wait_until
from publishers import Repeater, check_requests, repeating
from test_power import differences, entries, in_log, locked, on_disk, states
from test_producers import Noted, at_that_moment, goes_on
from workers import Group, Workers

LEASE = 0.3
MANY = 10000


class Keyed(Repeater):
    """What it publishes has its id as the key."""

    def request(self, seq):
        body = json.dumps([{"key": self.id, "data": line.decode()} for line in self.asked[seq]])
        return request_bytes("POST", "/v1/topics/%s/messages" % self.topic, body, {
            "Producer-Id": self.id, "Producer-Seq": str(seq), "Content-Type": "application/json"})


class Watched(Workers):
    """Workers that note how long the log of the disk was when they sent an acknowledgement, and when it was answered."""

    def __init__(self, log, *words, **kw):
        super().__init__(*words, **kw)
        self.size, self.sent, self.at = lambda: os.stat(log).st_size, {}, []

    def step(self, c, i, held, turn):
        for m in held:
            self.sent.setdefault(m["data"].encode(), self.size())
        return super().step(c, i, held, turn)

    def note(self, held, a, field):
        before = set(self.acked)
        super().note(held, a, field)
        self.at += [(self.size(), p) for p in set(self.acked) - before]


class Trace:
    """A node that is killed, stopped and killed under producers and workers; in its second life the log of groups is replaced by
    snapshots."""

    def __init__(self, make_node, folder, binary, rng):
        self.log, self.folder = os.path.join(folder, "log"), folder
        self.b = make_node(binary=binary, set=["store.segment.messages=40", "store.segment.bytes=16384"], expect_exit=None,
                           env={"LIGNUM_FAULT": "log=" + self.log})
        self.repeaters = [Keyed(lambda: self.b, "t", "p%d" % k, random.Random(rng.random()), lambda: os.stat(self.log).st_size)
                          for k in range(4)]
        self.workers = []
        for life, end in enumerate(["kill", "stop", "kill"]):
            self.b.start()
            self.live(life, end)
            assert differences(on_disk(self.b.data), in_log(self.b.data, self.log)) == [], "the log does not tell all"

    def live(self, life, end):
        b = self.b
        groups = [Group("t", "w"), Group("t", "k")]
        if life == 0:
            b.ok("PUT", "/v1/topics/t", status=201)
            groups[0].put(b, lease_time=LEASE, deliveries=0)
            groups[1].put(b, lease_time=LEASE, deliveries=0, order="key")
        ours = [Watched(self.log, g, [b], count=3) for g in groups]
        self.workers += ours
        if life == 1:
            self.fill_the_log()
        with ours[0], ours[1], repeating(self.repeaters):
            goes_on(self.repeaters, 100)
            wait_until(lambda: all(len(w.acked) > 60 for w in ours), what="messages are acknowledged")
            if end == "stop":
                b.stop()
            else:
                with locked(self.log):
                    b.kill()

    def fill_the_log(self):
        """Claims and releases until snapshots have replaced the beginning of the log."""
        b, g = self.b, Group("many", "m")
        b.ok("PUT", "/v1/topics/many", '{"segment": {"messages": %d, "bytes": 4194304}}' % MANY, status=201)
        b.publish_lines("many", [b"%d" % i for i in range(MANY)])
        g.put(b, lease_time=600, lease_max=MANY, deliveries=0)
        while b.topic("_groups")["first"] == 0:
            held = g.claim(b, limit=MANY)
            assert len(held) == MANY
            assert set(g.settle(b, release=[m["lease"] for m in held])) == {"ok"}


def broken(trace, c, moment):
    """What is wrong in a node that was started on what the disk had at that moment."""
    if c.get("/v1/topics/t").status == 404:
        return ["the topic is gone"] if trace.repeaters and any(r.known_at(moment) for r in trace.repeaters) else []
    found, got = [], {}
    stored = c.messages("t")
    in_threads(*[lambda g=g: got.update({g.name: drained(g, c)}) for g in (Group("t", "w"), Group("t", "k"))])
    for name, delivered in got.items():
        ours = [w for w in trace.workers if w.group.name == name]
        acked = {p for w in ours for at, p in w.at if at <= moment}
        maybe = {p for w in ours for p, at in w.sent.items() if at <= moment}
        if delivered is None:
            found += ["the group %s is gone" % name] if acked else []
            continue
        payloads = [m["data"].encode() for m in delivered]
        found += ["%s: %r was acknowledged and comes again" % (name, p) for p in payloads if p in acked][:3]
        found += ["%s: %r is lost" % (name, p) for p in sorted(set(stored) - set(payloads) - maybe)][:3]
        if name == "k":
            found += out_of_order(delivered)[:3]
    a = Group("many", "m").call(c, "GET")
    if a.status == 200 and a.json["lag"] != MANY:
        found.append("of %d messages %r are not settled" % (MANY, a.json["lag"]))
    return found + repeated(trace, c, moment)


def drained(g, c):
    return None if g.call(c, "GET").status == 404 else g.drain(c)


def out_of_order(delivered):
    last, found = {}, []
    for m in delivered:
        if m["offset"] < last.get(m["key"], -1):
            found.append("k: %d of %s comes after %d" % (m["offset"], m["key"], last[m["key"]]))
        last[m["key"]] = m["offset"]
    return found


def repeated(trace, c, moment):
    """Requests that were acknowledged are duplicates, and each is there once."""
    then = [at_that_moment(r, moment, c) for r in trace.repeaters]
    for r in then:
        r.request = Keyed.request.__get__(r)
        for seq in range(max(0, len(r.receipts) - 3), len(r.receipts)):
            if not r.take(seq, r.send(seq)):
                return ["request %d of %s is refused" % (seq, r.id)]
    return check_requests(c.messages("t"), then)


def findings(trace, make_node, folder, rng, count, binary):
    """Of each moment at which the power was lost: what is wrong."""
    noted = [Noted(r) for r in trace.repeaters] + trace.workers
    for moment, luck, data in states(rng, folder, trace.b, trace.log, noted, count):
        c = make_node(data=data, binary=binary, place=os.path.join(folder, "check"), expect_exit=None)
        if not c.try_start():
            yield "power lost at byte %d of the log, luck %g" % (moment, luck), [c.said()]
            continue
        try:
            found = broken(trace, c, moment)
        except AssertionError as e:
            found = [str(e)]
        c.kill()
        found += re.findall(r"\S+ (?:groups|store): (?:damaged|missing|a record|cannot).*", c.said())
        yield "power lost at byte %d of the log, luck %g" % (moment, luck), found


@pytest.mark.timeout(600 if BIG else 180)
def test_groups_after_a_power_loss_forget_and_repeat_nothing(make_node, folder, faults, rng, figure):
    binary = BINARY if "mutant" in BINARY else faults
    trace = Trace(make_node, folder, binary, rng)
    count = 150 if BIG else 16
    for where, found in findings(trace, make_node, folder, rng, count, binary):
        assert found == [], where
    figure("power lost at %d moments of %d operations with groups and producers: %d acknowledged deliveries, %d acknowledged requests", count,
           sum(1 for _ in entries(trace.log)), sum(len(w.at) for w in trace.workers), sum(len(r.receipts) for r in trace.repeaters))


@pytest.mark.timeout(180)
def test_settles_that_are_answered_before_the_sync_are_caught(make_node, folder, mutant, rng):
    trace = Trace(make_node, folder, mutant, rng)
    for _, found in findings(trace, make_node, folder, rng, 96, BINARY):
        if found:              # of a sound build there is nothing
            return
    raise AssertionError("not caught")
