"""Calls of consumer groups, and workers that claim and acknowledge in threads."""

import json
import threading
import time

from client import BadAnswer, payload_of


class Group:
    """A group, through any node with request()."""

    def __init__(self, topic, name):
        self.topic, self.name = topic, name
        self.path = "/v1/topics/%s/groups/%s" % (topic, name)

    def call(self, node, method, below="", body=None, headers=(), **kw):
        return node.request(method, self.path + below, None if body is None else json.dumps(body), headers, **kw)

    def put(self, node, **settings):
        a = self.call(node, "PUT", body=dict({"from": "earliest"}, **settings))
        assert a.status in (200, 201), a
        return a

    def info(self, node):
        a = self.call(node, "GET")
        assert a.status == 200, a
        return a.json

    def claim(self, node, **what):
        a = self.call(node, "POST", "/claim", what)
        assert a.status == 200, a
        return a.json["messages"]

    def settle(self, node, **what):
        a = self.call(node, "POST", "/settle", what)
        assert a.status == 200, a
        return [r["result"] for r in a.json["results"]]

    def drain(self, node, pause=0.05, limit=1000):
        """Claims and acknowledges until nothing is left; the messages."""
        found = []
        while self.info(node)["lag"]:
            got = self.claim(node, limit=limit, wait=pause)
            if got:
                assert set(self.settle(node, ack=[m["lease"] for m in got])) == {"ok"}
            found += got
        return found


class Workers:
    """Threads that claim from any of some nodes and acknowledge what they got, in the next claim or by a settle. They
    note each delivery, and each acknowledgement that was answered, with its time."""

    def __init__(self, group, nodes, count=4, limit=3, rng=None):
        self.group, self.nodes, self.limit, self.rng = group, nodes, limit, rng
        self.over, self.lock = threading.Event(), threading.Lock()
        self.delivered = []       # (payload, claim sent, number of delivery)
        self.acked = {}           # payload: when the answer had come
        self.failure = None
        self.threads = [threading.Thread(target=self.guard, args=(i,), daemon=True) for i in range(count)]

    def guard(self, i):
        try:
            self.work(i)
        except BaseException as e:
            self.failure = e

    def work(self, i):
        connection, held, turn = None, [], i
        while not self.over.is_set():
            turn += 1
            try:
                if connection is None:
                    connection = self.nodes[turn % len(self.nodes)].connect(timeout=20)
                held = self.step(connection, i, held, turn)
            except (OSError, BadAnswer):
                if connection:
                    connection.close()
                connection, held = None, []
                self.over.wait(0.02)
        if connection:
            connection.close()

    def step(self, c, i, held, turn):
        body = {"consumer": "w%d" % i, "limit": self.limit, "wait": 0.2}
        leases = [m["lease"] for m in held]
        if held and turn % 2:
            a = c.request("POST", self.group.path + "/settle", json.dumps({"ack": leases}))
            self.note(held, a, "results")
            held = []
        elif held:
            body["settle"] = {"ack": leases}
        sent = time.monotonic()
        a = c.request("POST", self.group.path + "/claim", json.dumps(body))
        if held:
            self.note(held, a, "settled")
        if a.status != 200:
            assert a.status in (429, 503, 504), a
            self.over.wait(0.02)
            return []
        got = a.json["messages"]
        with self.lock:
            self.delivered += [(payload_of(m), sent, m["delivery"]) for m in got]
        return got

    def note(self, held, a, field):
        now = time.monotonic()
        if a.status != 200:
            return
        results = {r["lease"]: r["result"] for r in a.json[field]}
        with self.lock:
            for m in held:
                if results[m["lease"]] == "ok":
                    self.acked.setdefault(payload_of(m), now)

    def again(self):
        """What was delivered by a claim that was sent after its acknowledgement was answered."""
        return [(p, sent - self.acked[p]) for p, sent, _ in self.delivered if p in self.acked and sent > self.acked[p]]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join(30)
            assert not t.is_alive()
        if self.failure:
            raise self.failure
