"""Clients of groups and of idempotent producers that record what they see (deliveries.py), for a Run of traffic.py.

    run = Run(cluster, {"a": "wal"})
    Work(run, "a", live=False, groups={"w": {}})                                            # consumes what is published there
    Work(run, "jobs", live=True, groups={"w": {}, "k": {"order": "key"}}, producers=3)      # a topic more
"""

import json
import time

import deliveries
import history
from client import payload_of, request_bytes
from common import wait_until
from traffic import PROBLEMS, Client, Publisher
from workers import Group

LEASE = 2.0
AGAIN = (429, 500, 502, 503, 504, 507)      # a request may be sent again after these
STALE = 8.0         # so long a leader that another has replaced may answer by what it knows: more than a lease of the cluster


class Producer(Publisher):
    """A producer that repeats each request until it is answered, on whatever node. What it publishes has one of its own keys.

    A gap is believed when it stays: a leader that does not know yet that another leads does not know either what that one has."""

    KEYS = 16

    def __init__(self, *words, **kw):
        super().__init__(*words, **kw)
        self.id, self.seq, self.pending, self.invoked, self.repeated, self.gap_since = self.name, 0, None, 0, 0, None

    def step(self):
        self.idle = self.pending is None and self.run_.held.is_set()
        if self.idle:
            return self.pause(0.02)
        if not self.connected():
            return
        if self.pending is None:
            self.pending, self.invoked = self.values(), time.monotonic()
        body = json.dumps([{"key": self.key_of(v), "data": v.decode()} for v in self.pending])
        headers = {"Producer-Id": self.id, "Producer-Seq": str(self.seq), "Content-Type": "application/json"}
        request = request_bytes("POST", "/v1/topics/%s/messages" % self.topic, body, headers)
        try:
            self.connection.send(request)
            if self.rng.random() < 0.05:
                return self.leave()         # the answer is lost; the next step repeats the request, on another node
            a = self.connection.answer()
        except PROBLEMS:
            return self.leave()
        self.judge_repeated(a)
        if self.rng.random() < 0.05:
            self.leave()
        self.pause(self.pace * self.rng.random() * 2)

    def key_of(self, value):
        return "%s.%d" % (self.name, int(value[1:value.index(b">")].rpartition(b".")[2]) % self.KEYS)

    def judge_repeated(self, a):
        if a.status == 200:
            told = json.loads(a.body)
            self.repeated += told.get("duplicate", False)
            self.acknowledge(told)
        elif a.status == 409 and time.monotonic() - (self.gap_since or time.monotonic()) < STALE:
            self.gap_since = self.gap_since or time.monotonic()
            self.leave()
            self.pause(0.05)
        elif a.status == 409:
            self.run_.work.gaps.append((self.topic, "request %d of %s was answered %r" % (self.seq, self.id, a)))
            self.give_up()
            self.id, self.seq = "%s after %d" % (self.id, self.seq), 0      # it goes on as another one
        elif a.status in AGAIN:
            self.leave()
            self.pause(0.02)
        else:
            raise AssertionError("request %d of %s was answered %r" % (self.seq, self.name, a))

    def acknowledge(self, told):
        self.note(self.pending, self.invoked, history.ACKNOWLEDGED, told)
        self.seq, self.pending, self.gap_since = self.seq + 1, None, None

    def give_up(self):
        if self.pending is not None:
            self.note(self.pending, self.invoked, history.UNKNOWN)
            self.pending, self.gap_since = None, None

    def run(self):
        super().run()
        self.give_up()


class Consumer(Client):
    """Claims from any node and acknowledges, in the next claim or by a settle. At times it takes its time, dies, is frozen for longer
    than its leases, or releases what it got. A direct one follows redirects to the leader; any node forwards for the others."""

    def __init__(self, run, name, group, seed, limit, direct):
        super().__init__(run, name, seed)
        self.group, self.limit, self.direct, self.target, self.held = group, limit, direct, None, []

    def step(self):
        target, self.target = self.target, None
        if not self.connected(target):
            return
        fate, held, self.held = self.rng.random(), self.held, []
        if self.run_.held.is_set():
            fate = 0.5                                  # nothing is published any more: it settles what there is
        if held and fate < 0.02:
            return self.leave()                         # it dies with its leases
        if held and fate < 0.04:
            self.pause(LEASE * 1.3)                     # it is frozen, and does not know that its leases are over
        elif held and fate > 0.8:
            self.pause(LEASE * 0.7 * self.rng.random())
        body = {"consumer": self.name, "limit": self.rng.randint(1, self.limit), "wait": 0.3}
        if held and fate > 0.5:
            self.settle(held, fate)
        elif held:
            body["settle"] = {"ack": [m["lease"] for m in held]}
        self.claim(body, held if "settle" in body else [], lost=fate < 0.05)
        if fate > 0.95:
            self.leave()

    def settle(self, held, fate):
        n = self.rng.randint(0, len(held)) if fate > 0.9 else len(held)
        body = {"ack": [m["lease"] for m in held[:n]], "release": [m["lease"] for m in held[n:]]}
        self.ask("/settle", body, held[:n], "results")

    def claim(self, body, acked, lost):
        sent = time.monotonic()
        a = self.ask("/claim", body, acked, "settled", lost)
        if a is None:
            return
        now = time.monotonic()
        for m in a["messages"]:
            self.run_.work.deliver(self.name, self.group.topic, self.group.name, payload_of(m), m["offset"], m.get("key"), sent, now,
                                   m["delivery"])
        self.held = a["messages"]

    def ask(self, below, body, acked, field, lost=False):
        """The answer, or None; notes what became of the messages that it acknowledges."""
        sent, answer = time.monotonic(), None
        try:
            if self.connection:
                headers = {"Lignum-Forward": "never"} if self.direct else {}
                self.connection.send(request_bytes("POST", self.group.path + below, json.dumps(body), headers))
                if lost:
                    self.pause(self.rng.random() * 0.05)
                    self.leave()
                else:
                    answer = self.connection.answer()
        except PROBLEMS:
            self.leave()
        told = json.loads(answer.body) if answer is not None and answer.status == 200 else None
        results = {r["lease"]: r["result"] for r in told.get(field, ())} if told else {}
        now = time.monotonic()
        for m in acked:
            self.run_.work.ack(self.name, self.group.topic, self.group.name, payload_of(m), sent, now,
                               results.get(m["lease"], deliveries.UNKNOWN))
        if answer is not None and told is None:
            if answer.status == 307:
                self.target = self.node_at(answer.header("location") or "")
            elif answer.status not in AGAIN:
                raise AssertionError("%s was answered %r" % (below, answer))
            self.leave()
            self.pause(0.02)
        return told


class Work:
    """Groups of a topic of a Run with their consumers. With producers the topic is another one, which these alone publish to."""

    def __init__(self, run, topic, live, groups, seed=1, consumers=3, producers=0, pace=0.02, limit=40):
        self.run, self.topic, self.live, self.settings = run, topic, live, groups
        self.groups = [Group(topic, name) for name in groups]
        if producers:
            run.topics[topic] = "live" if live else "wal"
            run.settings[topic] = {"replication": "live", "copies": 2} if live else {"replication": "wal"}
        for i in range(producers):
            run.clients.append(Producer(run, "%s.%d" % (topic, i), topic, seed, pace=pace, expected="peers" if live else None))
        for g in self.groups:
            run.clients += [Consumer(run, "%s.%s.c%d" % (topic, g.name, i), g, seed, limit, direct=i % 2 == 0) for i in range(consumers)]
        run.works.append(self)

    def begin(self):
        for g in self.groups:
            what = self.settings[g.name]
            self.run.work.groups[self.topic, g.name] = {"live": self.live, "keyed": what.get("order") == "key"}
            wait_until(lambda: self.created(g, what), what="the group %s of %s is created" % (g.name, self.topic), every=0.05)

    def created(self, g, what):
        leader = self.run.cluster.leader()
        a = leader and g.call(leader, "PUT", body=dict({"from": "earliest", "lease_time": LEASE, "deliveries": 0}, **what))
        return a and a.status in (200, 201)

    def lag(self, g):
        try:
            return g.info(self.run.cluster.leader())["lag"]
        except (AttributeError, AssertionError, *PROBLEMS):
            return None

    def end(self):
        """Everything is settled, or the check says what is not."""
        for g in self.groups:
            def drained():
                self.run.fail_if_a_client_did()
                self.run.work.lag[self.topic, g.name] = self.lag(g)
                return self.run.work.lag[self.topic, g.name] == 0
            try:
                wait_until(drained, 60, "all is acknowledged", every=0.1)
            except AssertionError:
                continue
