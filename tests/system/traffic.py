"""Clients of a cluster that record what they see (history.py), and runs of such clients under faults.

    with Run(cluster, {"a": "live", "b": "wal"}) as run:
        with run.fault("kill", node):
            ...
    assert run.findings == []
"""

import contextlib
import json
import os
import random
import threading
import time

import deliveries
import history
from client import BadAnswer, payload_of, request_bytes
from common import PATIENCE, wait_until

PROBLEMS = OSError, BadAnswer


class Client(threading.Thread):
    """A thread with at most one connection, which calls step() until the run is over."""

    def __init__(self, run, name, seed):
        super().__init__(name=name, daemon=True)
        self.run_, self.history, self.cluster = run, run.history, run.cluster
        self.rng = random.Random("%s %s" % (seed, name))
        self.connection = self.node = self.process = self.failure = None
        self.steps = 0

    def run(self):
        try:
            while not self.run_.over.is_set():
                self.step()
                self.steps += 1
        except BaseException as e:      # a defect of the test or an impossible answer; the run raises it again
            self.failure = e
        finally:
            self.leave()

    def leave(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def pause(self, seconds):
        self.run_.over.wait(seconds)

    def connected(self, node=None, timeout=6):
        """Connects to this node, or to any, unless a connection exists; True if there is one."""
        if self.connection and (node is None or node is self.node) and self.node not in self.run_.shunned:
            return True
        self.leave()
        node = node or self.rng.choice([n for n in self.cluster.nodes if n not in self.run_.shunned])
        life = node.starts
        try:
            connection = node.connect(timeout=timeout)
        except OSError:
            self.pause(0.02)
            return False
        if life != node.starts:         # the node restarted meanwhile, so the process is not known
            connection.close()
            return False
        self.connection, self.node, self.process = connection, node, "%s/%d" % (node.name, life)
        return True

    def node_at(self, location):
        """The node that an absolute URL belongs to."""
        address = location.split("/")[2] if location.startswith("http://") else None
        return next((n for n in self.cluster.nodes if n.http == address), None)


class Publisher(Client):
    """Publishes `<name.number>...`. A direct publisher follows redirects to the leader; others use any node, which forwards."""

    def __init__(self, run, name, topic, seed, direct=False, expected=None, pace=0.004, sizes=(20, 100, 300)):
        super().__init__(run, name, seed)
        self.topic, self.direct, self.expected, self.pace, self.sizes = topic, direct, expected, pace, sizes
        self.target, self.number, self.idle = None, 0, False

    def values(self):
        out = []
        for _ in range(self.rng.choice([1, 1, 1, 1, 3, 10])):
            tag = b"<%s.%d>" % (self.name.encode(), self.number)
            self.number += 1
            out.append(tag.ljust(self.rng.choice(self.sizes), b"."))
        return out

    def step(self):
        if self.run_.held.is_set():
            self.idle = True
            return self.pause(0.02)
        self.idle = False
        target, self.target = self.target, None
        if not self.connected(target):
            return
        values = self.values()
        headers = {"Lignum-Forward": "never"} if self.direct else {}
        if len(values) > 1:
            headers["Content-Type"] = "application/x-ndjson"
        invoked = time.monotonic()
        try:
            self.connection.send(request_bytes("POST", "/v1/topics/%s/messages" % self.topic, b"\n".join(values), headers))
            a = self.connection.answer()
        except PROBLEMS as e:
            self.leave()
            return self.note(values, invoked, history.UNKNOWN, detail=repr(e))
        self.judge(values, invoked, a)
        self.pause(self.pace * self.rng.random() * 2)

    def judge(self, values, invoked, a):
        if a.status == 200:
            told = json.loads(a.body)
            self.note(values, invoked, history.ACKNOWLEDGED, told)
            if self.rng.random() < 0.05:
                self.read_own(told)
        elif a.status == 307:
            self.target = self.node_at(a.header("location") or "")
            self.note(values, invoked, history.REFUSED, detail="307")
            if self.target is None:
                self.pause(0.05)
        else:
            problem = json.loads(a.body)
            definite = a.status < 500 or problem.get("appended") is False
            self.note(values, invoked, history.REFUSED if definite else history.UNKNOWN,
                      detail="%d %s" % (a.status, problem.get("code")))
            self.run_.answers[a.status, problem.get("code")] = self.run_.answers.get((a.status, problem.get("code")), 0) + 1
            if self.rng.random() < 0.5:
                self.leave()            # another node may know the leader
            self.pause(0.02)

    def note(self, values, invoked, kind, told=None, detail=None):
        ended = time.monotonic()
        for i, value in enumerate(values):
            if told:
                self.history.publish(self.name, self.topic, value, invoked, ended, kind, told["epoch"], told["first"] + i,
                                     told["committed"], self.process if self.direct else None, self.expected)
            else:
                self.history.publish(self.name, self.topic, value, invoked, ended, kind, expected=self.expected, detail=detail)

    def read_own(self, told):
        """Reads the acknowledged messages back, on any node, by min_offset."""
        node = self.rng.choice(self.cluster.nodes)
        try:
            with node.connect(timeout=6) as c:
                a = c.request("GET", "/v1/topics/%s/messages?from=%d&limit=%d&min_offset=%d:%d&wait=2" % (
                    self.topic, told["first"], told["count"], told["epoch"], told["next"]))
        except PROBLEMS:
            return
        if a.status == 200:
            self.history.waited(node.name, self.topic, told["next"], json.loads(a.body)["next"], time.monotonic())


class Reader(Client):
    """Reads one topic from its beginning by the tokens in the answers, on changing nodes."""

    def __init__(self, run, name, topic, seed, node=None):
        super().__init__(run, name, seed)
        self.topic, self.only, self.token = topic, node, "earliest"

    def step(self):
        if self.only is None and self.rng.random() < 0.05:
            self.leave()
        if not self.connected(self.only):
            return
        try:
            a = self.connection.request("GET", "/v1/topics/%s/messages?from=%s&limit=%d&wait=1" % (
                self.topic, self.token, self.rng.choice([1, 10, 100, 500])))
        except PROBLEMS:
            return self.leave()
        now = time.monotonic()
        if a.status == 200:
            page = json.loads(a.body)
            for m in page["messages"]:
                self.history.read(self.name, self.node.name, self.topic, m["epoch"], m["offset"], payload_of(m), now)
            if page["messages"]:
                self.token = a.header("lignum-next-offset")
            else:
                self.leave_sometimes()
        elif a.status in (409, 416):
            problem = json.loads(a.body)
            self.history.reset(self.name, self.node.name, self.topic, now, "%s: %s" % (self.token, problem.get("detail")))
            self.token = str(problem["offset"]) if isinstance(problem.get("offset"), int) else "earliest"
        else:                           # the topic is not on this node yet, or the node is busy
            self.leave_sometimes()
            self.pause(0.05)

    def leave_sometimes(self):
        if self.rng.random() < 0.3:
            self.leave()


class Observer(Client):
    """Asks all nodes repeatedly which node leads."""

    def step(self):
        for node in self.cluster.answering():
            life = node.starts
            with contextlib.suppress(*PROBLEMS, AssertionError, ValueError):
                s = node.view(timeout=1)
                if s["role"] == "leader" and life == node.starts:
                    self.history.led(s["epoch"], "%s/%d" % (node.name, life), time.monotonic())
        self.pause(0.1)


class Run:
    """Clients at work on a cluster. At its end it waits until the cluster is whole, reads everything and checks the history."""

    def __init__(self, cluster, topics, seed=1, publishers=2, readers=1, bound=None, pace=0.004, copies=2, sizes=(20, 100, 300)):
        """`topics`: {name: "live" | "wal" | "mixed"}. Each topic has this number of publishers and readers."""
        self.cluster, self.topics = cluster, dict(topics)
        self.history = history.History(bound=bound or cluster.sync_interval + 1.5)
        self.over, self.held, self.answers, self.findings = threading.Event(), threading.Event(), {}, None
        self.shunned = set()        # nodes that publishers and readers avoid
        self.work, self.works = deliveries.Deliveries(), []         # of groups (consumers.py)
        self.clients = [Observer(self, "observer", seed)]
        self.settings = {name: {"replication": "live", "copies": copies} if mode == "live" else {"replication": "wal"}
                         for name, mode in topics.items()}
        for name, mode in topics.items():
            for i in range(publishers):
                self.clients.append(Publisher(self, "%s.p%d" % (name, i), name, seed, direct=i % 2 == 1, pace=pace, sizes=sizes,
                                              expected="peers" if mode == "live" else None))
            for i in range(readers):
                self.clients.append(Reader(self, "%s.r%d" % (name, i), name, seed))

    def __enter__(self):
        self.cluster.create(self.settings)
        for work in self.works:
            work.begin()
        for client in self.clients:
            client.start()
        self.progresses()
        return self

    def __exit__(self, kind, *_):
        if kind:
            return self.stop()
        self.finish()

    def stop(self):
        self.over.set()
        for client in self.clients:
            if client.is_alive():
                client.join(PATIENCE)

    def fail_if_a_client_did(self):
        for client in self.clients:
            if client.failure:
                raise client.failure

    def acknowledged(self, topic=None):
        return sum(1 for p in self.history.publishes if p.kind == history.ACKNOWLEDGED and topic in (None, p.topic))

    def progresses(self, more=30, timeout=PATIENCE, topics=None):
        """Waits until every topic has this many more acknowledged messages."""
        names = topics or list(self.topics)
        targets = {t: self.acknowledged(t) + more for t in names}

        def enough():
            self.fail_if_a_client_did()
            return all(self.acknowledged(t) >= n for t, n in targets.items())
        try:
            wait_until(enough, timeout, "messages are acknowledged in every topic", every=0.05)
        except AssertionError as e:
            raise AssertionError("%s\nlacking: %s; answers so far: %s\n%s" % (
                e, {t: n - self.acknowledged(t) for t, n in targets.items() if self.acknowledged(t) < n}, self.answers,
                "\n".join("%s: %s" % (n.name, json.dumps(s)) for n, s in self.cluster.statuses().items())))

    @contextlib.contextmanager
    def fault(self, kind, node=None, whole=True):
        """Records the body as a fault, which ends when the cluster is whole again."""
        begin = time.monotonic()
        try:
            yield begin
            if whole:
                self.cluster.wait_whole()
                self.cluster.wait_caught_up(self.topics)
        finally:
            self.history.fault(kind, getattr(node, "name", node), begin, time.monotonic())

    @contextlib.contextmanager
    def quiet(self):
        """Publishers pause in the body, and no request of theirs is in flight."""
        self.held.set()
        wait_until(lambda: all(c.idle for c in self.clients if isinstance(c, Publisher)), what="all publishers pause")
        try:
            yield
        finally:
            self.held.clear()

    def failover(self, since, topic=None):
        """Waits for the first acknowledgement of a message sent after `since`; returns the seconds from `since` to it."""
        def first():
            self.fail_if_a_client_did()
            late = [p.ended for p in self.history.publishes[-5000:] if p.kind == history.ACKNOWLEDGED and p.invoked >= since
                    and topic in (None, p.topic)]
            return min(late) - since if late else None
        return wait_until(first, what="a write is acknowledged after the fault", timeout=60)

    # -- the end

    def let_consumers_end(self):
        """Nothing is published any more, and groups settle what there is."""
        if self.works:
            self.cluster.wait_whole()
            with self.quiet():
                for work in self.works:
                    work.end()
                self.over.set()

    def finish(self):
        try:
            self.let_consumers_end()
        finally:
            self.stop()
        self.fail_if_a_client_did()
        self.cluster.wait_whole()
        self.cluster.wait_equal()
        self.collect()
        self.findings = history.check(self.history, self.work)
        keep = os.environ.get("LIGNUM_KEEP")
        if self.findings and keep:
            self.history.save(os.path.join(keep, "history-%d-%d" % (os.getpid(), int(time.time()))), self.work)

    def collect(self):
        for node in self.cluster.nodes:
            self.history.promises.update(node.promises())
        for node in self.cluster.answering():
            self.history.final[node.name] = {topic: node.log(topic) for topic in self.topics}
            sealed, open_ = node.files()
            self.history.sealed[node.name], self.history.open[node.name] = sealed, open_
            self.history.diverged[node.name] = node.diverged()

    def report(self):
        return history.report(self.findings)
