"""kill -9 at any moment: every acknowledged message is there afterwards, once, in order, and batches are whole."""

import collections
import os
import random
import threading
import time
import unittest

from lignum import BIG, SANITIZED, Closed, Connection, Test, request_bytes, wait_until

TOPICS = ["orders", "events", "a.b-c", "x_y"]


class Publisher:
    """Publishes numbered messages on one connection until the broker goes; remembers what it was promised."""

    def __init__(self, b, name, topic, rng):
        self.b, self.name, self.topic, self.rng = b, name, topic, rng
        self.acknowledged = []      # (first offset, [payloads])
        self.asked = []             # all batches that were ever sent, in order
        self.number = 0

    def batch(self):
        count = self.rng.choice([1, 1, 1, 2, 7, 40])
        lines = []
        for _ in range(count):
            lines.append(b"%s %d of %d %s" % (self.name.encode(), self.number, count, b"." * self.rng.randrange(300)))
            self.number += 1
        return lines

    def run(self):
        try:
            with self.b.connect() as c:
                while True:
                    lines = self.batch()
                    self.asked.append(lines)
                    if len(lines) == 1 and self.rng.random() < 0.7:
                        c.send(request_bytes("POST", "/v1/topics/%s/messages" % self.topic, lines[0]))
                    else:
                        c.send(request_bytes("POST", "/v1/topics/%s/messages" % self.topic, b"\n".join(lines),
                                             {"Content-Type": "application/x-ndjson"}))
                    a = c.answer()
                    if a.status != 200:
                        raise AssertionError("a publish was answered %r" % a)
                    if a.json["count"] != len(lines):
                        raise AssertionError("count %d of %d" % (a.json["count"], len(lines)))
                    self.acknowledged.append((a.json["first"], lines))
        except OSError:
            pass        # the broker is gone, as it should be


def check_promises(stored, publishers):
    """The faults of what is stored in one topic against what its publishers were promised; [] when it keeps all."""
    faults = []
    for p in publishers:
        for first, lines in p.acknowledged:
            if stored[first:first + len(lines)] != lines:
                faults.append("acknowledged at %d, but there is %r, not %r" % (first, stored[first:first + len(lines)], lines))
    counted = collections.Counter(stored)
    faults += ["%d times: %r" % (n, m) for m, n in counted.items() if n > 1]
    known = {m: (p, k) for p in publishers for k, lines in enumerate(p.asked) for m in lines}
    at = 0
    last = {}
    while at < len(stored):             # whole batches, one after the other, each publisher's in its order
        if stored[at] not in known:
            faults.append("nobody published %r" % stored[at])
            at += 1
            continue
        p, k = known[stored[at]]
        lines = p.asked[k]
        if stored[at:at + len(lines)] != lines:
            faults.append("a batch of %d is not whole at %d" % (len(lines), at))
        if last.get(p, -1) >= k:
            faults.append("batch %d of %s comes after batch %d" % (k, p.name, last[p]))
        last[p] = k
        at += len(lines)
    return faults


class Kill(Test):
    def test_kill_9_loop_loses_nothing_acknowledged(self):
        rounds = 60 if BIG else 5 if SANITIZED else 10
        rng = random.Random(os.environ.get("LIGNUM_SEED", "lignum"))
        b = self.broker(set=["store.segment.messages=97", "store.segment.bytes=65536"])
        publishers = collections.defaultdict(list)
        total = 0
        for round_ in range(rounds):
            ours = []
            for topic in TOPICS:
                for k in range(2):
                    p = Publisher(b, "r%d.%s.%d" % (round_, topic, k), topic, random.Random(rng.random()))
                    publishers[topic].append(p)
                    ours.append(p)
            threads = [threading.Thread(target=p.run) for p in ours]
            for t in threads:
                t.start()
            moment = rng.randrange(20, 700)
            wait_until(lambda: sum(len(p.acknowledged) for p in ours) >= moment, what="publishing goes on")
            b.kill()
            for t in threads:
                t.join(30)
                self.assertFalse(t.is_alive())
            b.start(timeout=30)
            for topic in TOPICS:
                if b.get("/v1/topics/" + topic).status == 404:
                    self.assertFalse(any(p.acknowledged for p in publishers[topic]))
                    continue
                stored = b.messages(topic)
                faults = check_promises(stored, publishers[topic])
                self.assertEqual(faults[:5], [], "round %d, %s" % (round_, topic))
            total = sum(len(p.acknowledged) for ps in publishers.values() for p in ps)
        b.stop()
        r = b.verify()
        self.assertEqual(r.code, 0, r)
        print("figure: kill -9 loop: %d rounds, %d acknowledged batches, none lost" % (rounds, total))

    def test_kill_9_while_sealing_deleting_and_creating(self):
        rng = random.Random(5)
        b = self.broker(set=["store.segment.messages=10"])
        for round_ in range(6 if not SANITIZED else 3):
            acknowledged, deleted = {}, set()
            over = threading.Event()

            def churn(k):
                try:
                    with b.connect() as c:
                        for i in range(10000):
                            name = "c%d.%d.%d" % (round_, k, i)
                            for n in range(rng.randrange(1, 25)):
                                a = c.request("POST", "/v1/topics/%s/messages" % name, b"%d" % n)
                                if a.status == 200:
                                    acknowledged[name] = n + 1
                            if i % 3 == 0:
                                acknowledged.pop(name, None)      # from here on it may be either
                                deleted.add(name)
                                if c.request("DELETE", "/v1/topics/" + name).status not in (200, 204):
                                    raise AssertionError("delete failed")
                except OSError:
                    over.set()
            threads = [threading.Thread(target=churn, args=(k,)) for k in range(4)]
            for t in threads:
                t.start()
            wait_until(lambda: len(acknowledged) > 12)
            b.kill()
            for t in threads:
                t.join(30)
            b.start()
            for name, count in list(acknowledged.items()):
                stored = b.messages(name)
                self.assertEqual(stored[:count], [b"%d" % n for n in range(count)], name)
                self.assertLessEqual(len(stored), count + 1)
        b.stop()
        self.assertEqual(b.verify().code, 0)

    def test_the_check_of_promises_can_fail(self):
        p = Publisher(None, "p", "t", random.Random(1))
        p.asked = [[b"1"], [b"2", b"3"], [b"4"]]
        p.acknowledged = [(0, [b"1"]), (1, [b"2", b"3"])]
        self.assertEqual(check_promises([b"1", b"2", b"3"], [p]), [])
        self.assertEqual(check_promises([b"1", b"2", b"3", b"4"], [p]), [])
        for wrong in [[b"1"], [b"1", b"2"], [b"2", b"3", b"1"], [b"1", b"2", b"3", b"3"], [b"1", b"2", b"3", b"forged"], [],
                      [b"1", b"2", b"3", b"2", b"3"]]:
            self.assertNotEqual(check_promises(wrong, [p]), [], wrong)

    def test_interval_and_os_survive_kill_9(self):
        b = self.broker()
        for durability in ["interval", "os"]:
            b.ok("PUT", "/v1/topics/" + durability, '{"durability": "%s"}' % durability, status=201)
        sent = [b"%d" % i for i in range(200)]
        for topic in ["interval", "os"]:
            with b.connect() as c:
                for m in sent:
                    a = c.request("POST", "/v1/topics/%s/messages" % topic, m)
                    self.assertEqual((a.status, a.json["durability"]), (200, topic))
        b.kill()
        b.start()
        for topic in ["interval", "os"]:
            self.assertEqual(b.messages(topic), sent)


if __name__ == "__main__":
    unittest.main()
