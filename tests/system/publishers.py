"""Publishers that record their acknowledgements, and the check that a topic has every acknowledged message."""

import collections
import contextlib
import threading

from client import assert_refused, request_bytes
from common import in_threads, running


class Publisher:
    """Publishes numbered messages on one connection until the broker ends; records every acknowledgement."""

    def __init__(self, b, name, topic, rng):
        self.b, self.name, self.topic, self.rng = b, name, topic, rng
        self.acknowledged = []      # (first offset, [payloads])
        self.asked = []             # all batches that were sent, in order
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
            pass        # the broker has ended, as the test intends


def check_promises(stored, publishers):
    """What is wrong with the messages stored in a topic, given what its publishers recorded; [] if nothing is."""
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
    while at < len(stored):             # batches must be whole, and those of one publisher in order
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


def count_together(node, topic, up_to, clients):
    """Clients count together from 0 up to a number: each reads the last number of the topic, and appends the next one on the
    condition that nobody has appended anything since. `node()` is where a request goes. The condition must fail at times."""
    node().ok("POST", "/v1/topics/%s/messages" % topic, b"0", {"If-Match": '"0:0"'})
    refused = []

    def count():
        while True:
            last = node().ok("GET", "/v1/topics/%s/messages?from=0&limit=100000" % topic).json
            number = int(last["messages"][-1]["data"]) if last["messages"] else -1
            if number >= up_to:
                return
            if number < 0:
                continue                       # a follower that has nothing yet
            a = node().request("POST", "/v1/topics/%s/messages" % topic, b"%d" % (number + 1),
                               {"If-Match": '"%s"' % last["next_token"]})
            if a.status != 200:
                assert_refused(a, 412, "precondition_failed")
                refused.append(a.json["token"])
    in_threads(*[count] * clients)
    assert refused


class Repeater:
    """A producer that repeats each request until it is answered, on whatever node: `node()` is where the next one goes. Some it
    sends twice at once, and some again after they were answered. Thread-safe only in `over`."""

    def __init__(self, node, topic, id, rng, noted=lambda: None):
        self.node, self.topic, self.id, self.rng, self.noted = node, topic, id, rng, noted
        self.over = threading.Event()
        self.asked = []         # the messages of each request
        self.receipts = []      # of those that were acknowledged
        self.notes = []         # (what noted() said after it, the number of requests acknowledged by then)
        self.duplicates = self.gaps = 0

    def request(self, seq):
        lines = self.asked[seq]
        headers = {"Producer-Id": self.id, "Producer-Seq": str(seq)}
        if len(lines) > 1 or seq % 3 == 0:
            headers["Content-Type"] = "application/x-ndjson"
        return request_bytes("POST", "/v1/topics/%s/messages" % self.topic, b"\n".join(lines), headers)

    def ask(self):
        """The messages of the next request, unless they are known already."""
        seq = len(self.receipts)
        if seq == len(self.asked):
            count = self.rng.choice([1, 1, 1, 2, 5])
            self.asked.append([b"%s %d.%d%s" % (self.id.encode(), seq, i, b"." * self.rng.randrange(200)) for i in range(count)])
        return seq

    def send(self, seq, node=None):
        """The answer; None if there is none. A request that is sent twice at once has the answer to the second copy."""
        twice = self.rng.random() < 0.2
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            connections = [stack.enter_context((node or self.node()).connect(timeout=15)) for _ in range(1 + twice)]
            for c in connections:
                c.send(self.request(seq))
            return connections[-1].answer()
        return None

    def take(self, seq, a):
        """What an answer says of that request: whether it is acknowledged."""
        if a is None or a.status in (503, 504):
            return False
        if a.status == 409 and a.json["code"] == "sequence_gap" and a.json["expected"] < seq:
            del self.receipts[a.json["expected"]:]            # a leader of a WAL topic was lost, and requests with it
            self.gaps += 1
            return False
        if a.status != 200:
            raise AssertionError("request %d of %s was answered %r" % (seq, self.id, a))
        receipt, known = a.json, len(self.receipts)
        if receipt.pop("duplicate", False):
            self.duplicates += 1
        elif seq < known:
            raise AssertionError("request %d of %s was appended again: %r" % (seq, self.id, a))
        place = [receipt.get(k) for k in ("first", "next", "count", "epoch")]
        if seq < known and place[0] is not None and place != self.receipts[seq]:
            raise AssertionError("request %d of %s was at %r, and is at %r" % (seq, self.id, self.receipts[seq], place))
        if seq == known:
            if place[2] != len(self.asked[seq]):
                raise AssertionError("request %d of %s has %r messages" % (seq, self.id, place[2]))
            self.receipts.append(place)
            self.notes.append((self.noted(), seq + 1))
        return True

    def step(self):
        seq = self.ask()
        if not self.take(seq, self.send(seq)):
            self.over.wait(0.01)
        elif self.rng.random() < 0.2:
            old = self.rng.randrange(max(0, seq - 20), seq + 1)
            self.take(old, self.send(old))

    def run(self):
        while not self.over.is_set():
            self.step()

    def known_at(self, note):
        """How many requests were acknowledged when noted() said this."""
        return max((n for said, n in self.notes if said <= note), default=0)


def check_requests(stored, repeaters):
    """What is wrong with the messages stored in a topic, given what its repeaters sent; [] if each request that was acknowledged is
    there once, and one more of each at most."""
    faults = []
    owners = {r.id.encode(): r for r in repeaters}
    found = {id: [] for id in owners}
    for m in stored:
        found[m.split(b" ")[0]].append(m)
    for id, r in owners.items():
        wants = [sum(r.asked[:n], []) for n in range(len(r.receipts), len(r.asked) + 1)]
        if found[id] not in wants:
            counted = collections.Counter(found[id])
            faults.append("%s: %d requests acknowledged, %d messages stored, twice: %r, missing: %r" % (
                r.id, len(r.receipts), len(found[id]), [m for m, n in counted.items() if n > 1][:3],
                [m for m in wants[0] if m not in counted][:3]))
        for place, lines in zip(r.receipts, r.asked):
            if place[0] is not None and stored[place[0]:place[1]] != lines:
                faults.append("%s: at %r there is not %r" % (r.id, place, lines))
                break
    return faults


@contextlib.contextmanager
def repeating(repeaters):
    """They send their requests while the body runs."""
    for r in repeaters:
        r.over.clear()
    with running(*[r.run for r in repeaters]):
        try:
            yield
        finally:
            for r in repeaters:
                r.over.set()
