"""Publishers that record their acknowledgements, and the check that a topic has every acknowledged message."""

import collections

from client import assert_refused, request_bytes
from common import in_threads


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
