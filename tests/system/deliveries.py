"""What the consumers of groups saw, and a check of it against the topic as it is at the end: a part of history.py.

At the end each group has settled the whole topic. The findings:

    again         delivered by a claim that was sent after its acknowledgement had been answered
    passed_over   the group is past a message that nobody has acknowledged
    overtaken     a message was delivered while an earlier one of its key was not acknowledged (groups with order = "key")
    forgotten     a producer's next request was refused with a gap
    unsettled     the group has not settled everything

An acknowledgement that was answered `ok` counts for all of them; one whose answer was lost may count, and one that was answered
`lease_lost` does not. In a WAL topic a lost leader may take acknowledgements with it, so `again` is checked in live topics only.
"""

import collections

OK, LOST, UNKNOWN = "ok", "lease_lost", "unknown"

Delivered = collections.namedtuple("Delivered", "consumer topic group value offset key sent at delivery")
Acked = collections.namedtuple("Acked", "consumer topic group value sent at result")


class Deliveries:
    """Several threads append to the lists, one item at a time, which is safe in Python."""

    def __init__(self):
        self.delivered, self.acks = [], []
        self.groups = {}        # (topic, group) -> {"live": bool, "keyed": bool}
        self.lag = {}           # (topic, group) -> at the end
        self.gaps = []          # (topic, what was answered)

    def deliver(self, *words):
        self.delivered.append(Delivered(*words))

    def ack(self, *words):
        self.acks.append(Acked(*words))

    def count(self, result=OK):
        return sum(1 for a in self.acks if a.result == result)


def check(d, logs, found):
    """`logs`: topic -> [(epoch, offset, value)] at the end. Calls found(kind, topic, sentence, *words)."""
    for topic, said in d.gaps:
        found("forgotten", topic, "%s", said)
    for (topic, group), what in d.groups.items():
        delivered = [x for x in d.delivered if (x.topic, x.group) == (topic, group)]
        acks = collections.defaultdict(list)
        for a in d.acks:
            if (a.topic, a.group) == (topic, group) and a.result != LOST:
                acks[a.value].append(a)
        if d.lag.get((topic, group)) != 0:
            found("unsettled", topic, "%s has a lag of %s at the end", group, d.lag.get((topic, group)))
            continue
        for epoch, offset, value in logs.get(topic, []):
            if value not in acks:
                found("passed_over", topic, "%s has settled %d:%d, %r, which nobody has acknowledged; it was delivered %d times", group, epoch,
                      offset, value, sum(1 for x in delivered if x.value == value))
        if what["live"]:
            again(topic, group, delivered, acks, found)
        if what["keyed"]:
            overtaken(topic, group, delivered, acks, logs.get(topic, []), found)


def again(topic, group, delivered, acks, found):
    for x in delivered:
        answered = min((a.at for a in acks.get(x.value, ()) if a.result == OK), default=x.sent)
        if answered < x.sent:
            found("again", topic, "%s delivered %r (%d) to a claim of %s sent at %.3f; it was acknowledged at %.3f", group, x.value, x.offset,
                  x.consumer, x.sent, answered)


def overtaken(topic, group, delivered, acks, log, found):
    there = {value for _, _, value in log}
    first = {value: min(a.sent for a in of) for value, of in acks.items()}
    by_key = collections.defaultdict(dict)
    for x in delivered:
        if x.key is not None and x.value in there:
            by_key[x.key].setdefault(x.offset, x)       # its first delivery
    for of in by_key.values():
        before = [x for _, x in sorted(of.items())]
        for a, b in zip(before, before[1:]):
            if first.get(a.value, b.at) >= b.at:
                found("overtaken", topic, "%s delivered %r (%d) at %.3f, before %r (%d) of its key was acknowledged", group, b.value, b.offset,
                      b.at, a.value, a.offset)
