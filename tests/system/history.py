"""What the clients of a cluster saw, and a check that it is consistent with one durable log.

Clients publish values that are unique in the whole history, and no value is part of another. All clients record what happens in
a History, from any thread; times are those of one monotonic clock. At the end, when every node is back and has caught up, every
node is read completely (`final`) and its data directory is inspected (`sealed`, `diverged`). check(history) then returns a list
of findings, which is empty when the history is consistent:

    lost          acknowledged, but missing at the end
    moved         acknowledged at one place, at another at the end
    duplicated    a value that is stored twice
    forged        a value that nobody published, or not in this topic
    refused       a definite refusal whose value is stored
    reordered     acknowledged before another value was sent, but stored after it
    two_values    two different values seen at one (epoch, offset)
    nodes_differ  two nodes have different messages at one offset at the end, or end at different offsets
    not_dense     a gap in the offsets of a node, or an epoch lower than the one before
    vanished      read, but missing at the end
    skipped       a gap in what one reader saw
    backwards     a reader got an offset again, or an epoch lower than one it had seen
    switched      a reader continued in another history and was not told (409) that its own was truncated
    false_alarm   a reader was told that its history was truncated, but it is still there
    stale         a read with min_offset was answered without that offset
    two_leaders   two processes led in one epoch
    promise       a node followed two leaders in one epoch, or an older epoch after a newer one
    downgraded    an acknowledgement weaker than the publisher may expect of its topic
    files_differ  a sealed file is not the same on two nodes, or ends elsewhere
    no_trace      lost as WAL mode allows, but in no node's data/diverged

The acknowledgement says what may be lost. A message with `committed` = "peers" must survive. A message with less ("disk" or
"written", in WAL mode) may be lost around a fault: from `bound` seconds (the sync interval and the time for shipping) before the
fault begins until `bound` seconds after it ends. So everything acknowledged before the last shipped position must survive, and
what does not must be in some node's data/diverged, unless a node's disk was wiped. deliveries.py has the findings about groups.
"""

import bisect
import collections
import json
import zlib

import deliveries

ACKNOWLEDGED, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"
FOR_EVER = float("inf")

Publish = collections.namedtuple(
    "Publish", "publisher topic value invoked ended kind epoch offset committed process expected detail")
Read = collections.namedtuple("Read", "reader node topic epoch offset value at")
Reset = collections.namedtuple("Reset", "reader node topic at detail")
Waited = collections.namedtuple("Waited", "node topic wanted next at")
Led = collections.namedtuple("Led", "epoch process at how")
Fault = collections.namedtuple("Fault", "kind node begin end")
Finding = collections.namedtuple("Finding", "kind topic sentence")


class History:
    """Several threads append to the lists, one item at a time, which is safe in Python."""

    def __init__(self, bound=2.0):
        self.bound = bound
        self.publishes, self.reads, self.resets, self.waits, self.leaders, self.faults = [], [], [], [], [], []
        self.final = {}         # node -> topic -> [(epoch, offset, value)]
        self.sealed = {}        # node -> topic -> {first offset: (checksum, size)}
        self.open = {}          # node -> topic -> {first offset} of files that are not sealed
        self.diverged = {}      # node -> all bytes in its data/diverged
        self.promises = {}      # disk of a node -> [(epoch, leader)] that it followed, in order
        self.wiped = set()      # nodes whose disk was wiped

    # -- what clients record

    def publish(self, publisher, topic, value, invoked, ended, kind, epoch=None, offset=None, committed="peers",
                process=None, expected=None, detail=None):
        """`process` is the leader that acknowledged, given only where the answer cannot have been forwarded. `expected` is the
        weakest `committed` that the publisher may expect."""
        self.publishes.append(Publish(publisher, topic, value, invoked, ended, kind, epoch, offset, committed,
                                      process, expected, detail))

    def read(self, reader, node, topic, epoch, offset, value, at):
        self.reads.append(Read(reader, node, topic, epoch, offset, value, at))

    def reset(self, reader, node, topic, at, detail=None):
        """The reader was told that its history was truncated, and starts again."""
        self.resets.append(Reset(reader, node, topic, at, detail))

    def waited(self, node, topic, wanted, next_, at):
        self.waits.append(Waited(node, topic, wanted, next_, at))

    def led(self, epoch, process, at, how="seen"):
        self.leaders.append(Led(epoch, process, at, how))

    def fault(self, kind, node, begin, end=None):
        self.faults.append(Fault(kind, node, begin, begin if end is None else end))

    # -- figures

    def count(self, kind=ACKNOWLEDGED):
        return sum(1 for p in self.publishes if p.kind == kind)

    def save(self, path, work=None):
        """Writes the history, and what groups delivered, as one JSON object a line, with values as text."""
        def plain(o):
            if isinstance(o, bytes):
                return o.decode("utf-8", "backslashreplace")
            return sorted(o) if isinstance(o, set) else str(o)
        with open(path, "w") as f:
            for name in ("faults", "leaders", "publishes", "reads", "resets", "waits"):
                for item in getattr(self, name):
                    f.write(json.dumps(dict(item._asdict(), what=name), default=plain) + "\n")
            for what, items in (("delivered", work.delivered), ("acks", work.acks)) if work else ():
                for item in items:
                    f.write(json.dumps(dict(item._asdict(), what=what), default=plain) + "\n")
            for node, topics in self.final.items():
                for topic, messages in topics.items():
                    f.write(json.dumps({"what": "final", "node": node, "topic": topic, "messages": messages},
                                       default=plain) + "\n")


class Check:
    """One pass over a history."""

    def __init__(self, h):
        self.h, self.findings = h, []
        self.by_value = {}
        for p in h.publishes:
            if p.value in self.by_value:
                raise ValueError("%r was published twice: values must be unique" % p.value)
            self.by_value[p.value] = p
        self.evidence = {}      # value -> the earliest time when it was known to be stored
        for p in h.publishes:
            if p.kind == ACKNOWLEDGED:
                self.evidence[p.value] = p.ended
        for r in h.reads:
            if r.at < self.evidence.get(r.value, FOR_EVER):
                self.evidence[r.value] = r.at
        self.kept_aside = b"\n".join(h.diverged.values())
        self.topics = sorted({t for topics in h.final.values() for t in topics} | {p.topic for p in h.publishes})
        # The final log of each topic: the longest one. Where the nodes do not agree, nodes_differ reports it.
        self.end, self.at_end = {}, {}
        for topic in self.topics:
            logs = [topics[topic] for topics in h.final.values() if topic in topics]
            self.end[topic] = max(logs, key=lambda log: log[-1][:2] if log else (-1, -1), default=[])
            self.at_end[topic] = {value: (epoch, offset) for epoch, offset, value in self.end[topic]}
        self.earliest = {topic: end[0][1] if end else 0 for topic, end in self.end.items()}

    def found(self, kind, topic, sentence, *words):
        self.findings.append(Finding(kind, topic, sentence % words))

    # -- what may be lost

    def may_be_lost(self, value):
        """True for a value within the window of a fault that was not acknowledged by peers."""
        p = self.by_value.get(value)
        if p is None or (p.committed if p.kind == ACKNOWLEDGED else p.expected) == "peers":
            return False
        known, bound = self.evidence.get(value, FOR_EVER), self.h.bound
        return any(known >= f.begin - bound and p.invoked <= f.end + bound for f in self.h.faults)

    def retained(self, topic, offset):
        """False if retention has removed it, which is no loss."""
        return offset is None or offset >= self.earliest.get(topic, 0)

    # -- the checks

    def lost_and_moved(self):
        for p in self.h.publishes:
            if p.kind != ACKNOWLEDGED or not self.retained(p.topic, p.offset):
                continue
            at = self.at_end[p.topic].get(p.value)
            if at is None:
                if not self.may_be_lost(p.value):
                    self.found("lost", p.topic, "%r was acknowledged at %d:%d (%s) at %.3f and is not there", p.value, p.epoch,
                               p.offset, p.committed, p.ended)
                elif p.value not in self.kept_aside and not self.h.wiped:
                    self.found("no_trace", p.topic, "%r was acknowledged at %d:%d (%s) at %.3f; no node has kept it aside",
                               p.value, p.epoch, p.offset, p.committed, p.ended)
            elif at != (p.epoch, p.offset):
                self.found("moved", p.topic, "%r was acknowledged at %d:%d and is at %d:%d", p.value, p.epoch, p.offset, *at)

    def contents(self):
        """Checks each node's log: dense, only published values, each once, none that was refused."""
        for node, topics in self.h.final.items():
            for topic, log in topics.items():
                seen = {}
                for i, (epoch, offset, value) in enumerate(log):
                    if i and (offset != log[i - 1][1] + 1 or epoch < log[i - 1][0]):
                        self.found("not_dense", topic, "%s has %d:%d after %d:%d", node, epoch, offset, *log[i - 1][:2])
                    if value in seen:
                        self.found("duplicated", topic, "%s has %r at %d and at %d", node, value, seen[value], offset)
                    seen[value] = offset
                    self.known(topic, value, "%s has at %d:%d" % (node, epoch, offset))

    def known(self, topic, value, where):
        p = self.by_value.get(value)
        if p is None or p.topic != topic:
            self.found("forged", topic, "%s %r, which nobody published there", where, value)
        elif p.kind == REFUSED:
            self.found("refused", topic, "%s %r, which was refused at %.3f (%s)", where, value, p.ended, p.detail)

    def refused_and_kept_aside(self):
        for p in self.h.publishes:
            if p.kind == REFUSED and p.value in self.kept_aside:
                self.found("refused", p.topic, "%r was refused at %.3f and lies in a data/diverged", p.value, p.ended)

    def order_of_time(self):
        """A value acknowledged before another was sent must have the lower offset, at the end and in the acknowledgements."""
        for topic in self.topics:
            present = [(offset, self.by_value[value]) for epoch, offset, value in self.end[topic] if value in self.by_value]
            self.rises(topic, present, "at the end")
            told, by_epoch = [], collections.defaultdict(list)
            for p in self.h.publishes:
                if p.topic == topic and p.kind == ACKNOWLEDGED:
                    (told if p.committed == "peers" else by_epoch[p.epoch]).append(((p.epoch, p.offset), p))
            # In WAL mode a paused leader may acknowledge late what does not survive, so only the order within an epoch counts.
            for list_ in [told, *by_epoch.values()]:
                self.rises(topic, sorted(list_, key=lambda pair: pair[0]), "as acknowledged")

    def rises(self, topic, pairs, where):
        latest = None           # of all earlier entries, the one that was sent last
        for place, p in pairs:
            if p.kind == ACKNOWLEDGED and latest and p.ended < latest[1].invoked:
                self.found("reordered", topic, "%r was acknowledged at %.3f, %r was sent at %.3f; %s they stand at %s and %s",
                           p.value, p.ended, latest[1].value, latest[1].invoked, where, place, latest[0])
            if latest is None or p.invoked > latest[1].invoked:
                latest = place, p

    def one_value_a_place(self):
        places = {}

        def see(topic, epoch, offset, value, who):
            other = places.setdefault((topic, epoch, offset), (value, who))
            if other[0] != value:
                self.found("two_values", topic, "%d:%d is %r to %s and %r to %s", epoch, offset, other[0], other[1], value, who)
        for p in self.h.publishes:
            if p.kind == ACKNOWLEDGED:
                see(p.topic, p.epoch, p.offset, p.value, "publisher %s" % p.publisher)
        for r in self.h.reads:
            see(r.topic, r.epoch, r.offset, r.value, "reader %s of %s" % (r.reader, r.node))
        for node, topics in self.h.final.items():
            for topic, log in topics.items():
                for epoch, offset, value in log:
                    see(topic, epoch, offset, value, node)

    def nodes_agree(self):
        for topic in self.topics:
            logs = {node: topics.get(topic, []) for node, topics in self.h.final.items()}
            if len(logs) < 2:
                continue
            first = max((log[0][1] for log in logs.values() if log), default=0)
            names = sorted(logs)
            for a, b in zip(names, names[1:]):
                left, right = ([m for m in logs[n] if m[1] >= first] for n in (a, b))
                if left == right:
                    continue
                i = next((i for i, (x, y) in enumerate(zip(left, right)) if x != y), min(len(left), len(right)))
                self.found("nodes_differ", topic, "%s and %s differ from offset %d on: %s and %s", a, b, first + i,
                           left[i:i + 1] or "the end", right[i:i + 1] or "the end")

    def alarms(self):
        """What a reader saw last before it was told of a truncation must be missing at the end."""
        seen = collections.defaultdict(list)
        for r in self.h.reads:
            seen[r.reader, r.topic].append(r)
        for alarm in self.h.resets:
            reads = seen[alarm.reader, alarm.topic]
            i = bisect.bisect_right([r.at for r in reads], alarm.at)
            if i and self.at_end[alarm.topic].get(reads[i - 1].value) == (reads[i - 1].epoch, reads[i - 1].offset):
                self.found("false_alarm", alarm.topic, "%s was told by %s at %.3f that %d:%d was cut off, and it is there (%s)",
                           alarm.reader, alarm.node, alarm.at, reads[i - 1].epoch, reads[i - 1].offset, alarm.detail)

    def readers(self):
        told = collections.defaultdict(list)
        for r in self.h.resets:
            told[r.reader, r.topic].append(r.at)
        last = {}
        for r in self.h.reads:
            self.known(r.topic, r.value, "%s read on %s at %d:%d" % (r.reader, r.node, r.epoch, r.offset))
            self.still_there(r)
            key = r.reader, r.topic
            before, last[key] = last.get(key), r
            if before and not any(before.at <= at <= r.at for at in told[key]):
                self.goes_on(before, r)

    def still_there(self, r):
        if self.retained(r.topic, r.offset) and self.at_end[r.topic].get(r.value) != (r.epoch, r.offset) \
                and not self.may_be_lost(r.value):
            self.found("vanished", r.topic, "%s read %r on %s at %d:%d at %.3f, and it is not there", r.reader, r.value, r.node,
                       r.epoch, r.offset, r.at)

    def goes_on(self, before, r):
        if r.offset > before.offset + 1:
            self.found("skipped", r.topic, "%s read %d on %s after %d on %s", r.reader, r.offset, r.node, before.offset,
                       before.node)
        elif r.offset <= before.offset or r.epoch < before.epoch:
            self.found("backwards", r.topic, "%s read %d:%d on %s after %d:%d on %s", r.reader, r.epoch, r.offset, r.node,
                       before.epoch, before.offset, before.node)
        elif self.retained(r.topic, before.offset) and self.at_end[r.topic].get(r.value) == (r.epoch, r.offset) \
                and self.at_end[r.topic].get(before.value) != (before.epoch, before.offset):
            self.found("switched", r.topic, "%s read %d:%d on %s after %d:%d on %s, which was cut off, and was not told", r.reader,
                       r.epoch, r.offset, r.node, before.epoch, before.offset, before.node)

    def minimum_offsets(self):
        for w in self.h.waits:
            if w.next < w.wanted:
                self.found("stale", w.topic, "%s answered a read with min_offset %d up to %d", w.node, w.wanted, w.next)

    def one_leader(self):
        leaders = {}
        told = [(p.epoch, p.process, p.ended, "acknowledged") for p in self.h.publishes if p.kind == ACKNOWLEDGED and p.process]
        for epoch, process, at, how in sorted(told + [tuple(l) for l in self.h.leaders], key=lambda l: l[2]):
            other = leaders.setdefault(epoch, (process, at, how))
            if other[0] != process:
                self.found("two_leaders", None, "epoch %d was led by %s (%s at %.3f) and by %s (%s at %.3f)", epoch, other[0],
                           other[2], other[1], process, how, at)
                leaders[epoch] = process, at, how

    def promises_kept(self):
        for disk, followed in self.h.promises.items():
            for (epoch, leader), (next_epoch, next_leader) in zip(followed, followed[1:]):
                if next_epoch < epoch or next_epoch == epoch and next_leader != leader:
                    self.found("promise", None, "%s followed %s in epoch %d after %s in epoch %d", disk, next_leader, next_epoch,
                               leader, epoch)

    def as_expected(self):
        rank = {"written": 0, "disk": 1, "peers": 2}
        for p in self.h.publishes:
            if p.kind == ACKNOWLEDGED and p.expected and rank[p.committed] < rank[p.expected]:
                self.found("downgraded", p.topic, "%r was acknowledged as %s where %s was due", p.value, p.committed, p.expected)

    def files(self):
        nodes = sorted(set(self.h.sealed) | set(self.h.open))
        for i, a in enumerate(nodes):
            for b in nodes[i + 1:]:
                for topic in sorted(set(self.h.sealed.get(a, {})) | set(self.h.sealed.get(b, {}))):
                    self.compare(topic, a, b)

    def compare(self, topic, a, b):
        sealed = [self.h.sealed.get(n, {}).get(topic, {}) for n in (a, b)]
        open_ = [self.h.open.get(n, {}).get(topic, set()) for n in (a, b)]
        begins = [min([*s, *o], default=None) for s, o in zip(sealed, open_)]
        if None in begins:
            return              # one of the nodes has nothing of the topic, which nodes_differ reports
        for first in sorted(set(sealed[0]) | set(sealed[1])):
            x, y = (s.get(first) for s in sealed)
            if x and y and x != y:
                self.found("files_differ", topic, "the file from %d is not the same on %s and %s: %s and %s", first, a, b, x, y)
            elif not (x and y):
                # The last file may be sealed on one node and open on the other; retention may have removed older ones.
                lacks = 0 if y else 1
                if first >= begins[lacks] and not (first in open_[lacks] and first == max([*sealed[lacks], *open_[lacks]])):
                    self.found("files_differ", topic, "%s has a sealed file from %d, %s has not", (b, a)[lacks], first,
                               (a, b)[lacks])

    def run(self):
        for step in (self.lost_and_moved, self.contents, self.refused_and_kept_aside, self.order_of_time, self.one_value_a_place,
                     self.nodes_agree, self.readers, self.alarms, self.minimum_offsets, self.one_leader, self.promises_kept,
                     self.as_expected, self.files):
            step()
        return self.findings


def check(history, work=None):
    """Returns the findings, roughly in the order of the list above; [] for a consistent history. `work`: what groups delivered."""
    c = Check(history)
    c.run()
    if work:
        deliveries.check(work, c.end, c.found)
    return c.findings


def report(findings, most=8):
    """The findings as text, at most `most` lines a kind."""
    kinds = collections.Counter(f.kind for f in findings)
    lines = [", ".join("%s: %d" % pair for pair in kinds.items())]
    for kind in kinds:
        lines += ["  %s %s: %s" % (f.kind, f.topic or "", f.sentence) for f in [f for f in findings if f.kind == kind][:most]]
    return "\n".join(lines)


def checksum(path):
    with open(path, "rb") as f:
        data = f.read()
    return zlib.crc32(data), len(data)
