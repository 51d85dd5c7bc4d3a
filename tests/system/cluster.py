"""A cluster under test: a real Consul and N brokers. Each can be killed, frozen, stopped, wiped and disconnected.

    def test_claim(cluster):
        c = cluster(topics={"orders": {"replication": "live", "copies": 2}})
        c.leader().kill()
        c.wait_leader()

All are on loopback, or with net=True in network namespaces that can be disconnected from each other (network.py; root only).
close() ends all processes and removes the namespaces, whatever state they are in.
"""

import contextlib
import functools
import json
import os
import re
import shutil
import signal

import common
import consul
import history
import network
from client import payload_of
from common import PATIENCE, free_port, wait_until
from lignum import Broker

KEY = "service/lignum/key/master"
REGISTER, NODES = KEY + "/synced", KEY + "/nodes/"


class Node(Broker):
    """One broker of a cluster. Its addresses stay the same across restarts."""

    def __init__(self, cluster, name, place=None, **kw):
        self.cluster, self.name, self.place = cluster, name, place
        self.address = place.address if place else "127.0.0.1"
        self.http, self.replication = ["%s:%d" % (self.address, free_port()) for _ in range(2)]
        self.frozen, self.wiped_at = False, []
        self.settings = kw.pop("settings", "")
        super().__init__(os.path.join(cluster.folder, name), listen=self.http, **kw)
        self.host = self.address
        self.port = int(self.http.rpartition(":")[2])

    def config(self):
        c = self.cluster
        reached = "access { open = true }" if self.place and "access" not in c.config + self.settings else ""
        return reached + """
cluster {
  name = "%s",
  consul = { address = { %s }, key = "%s" },
  replication = { listen = "%s"%s },
  sync_interval = %g, lag_max = %g, lease = %g,
}
%s
%s
""" % (self.name, ", ".join('"%s"' % a for a in c.consul_addresses()), KEY, self.replication,
            ', secret = "%s"' % c.secret if c.secret else ", insecure = true", c.sync_interval, c.lag_max, c.lease, c.config, self.settings)

    def in_child(self):
        if self.place:
            self.place.enter()

    # -- life

    def spawn(self):
        self.frozen = False
        self.write_config(self.config())
        return super().spawn()

    def kill(self):
        super().kill()
        self.frozen = False

    def stop(self, **kw):
        self.thaw()
        return super().stop(**kw)

    def freeze(self):
        self.frozen = True
        common.freeze(self.process.pid)

    def thaw(self):
        if self.frozen:
            self.signal(signal.SIGCONT)
            self.frozen = False

    def wipe(self):
        """Deletes its data. It must not run."""
        if self.running():
            raise AssertionError("%s runs" % self.name)
        self.wiped_at.append(os.path.getsize(self.stderr_path))
        for name in os.listdir(self.data) if os.path.isdir(self.data) else []:
            path = os.path.join(self.data, name)
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)

    def answers(self):
        return self.running() and not self.frozen

    # -- its view of the cluster

    def view(self, timeout=3):
        """GET /v1/cluster."""
        a = self.request("GET", "/v1/cluster", timeout=timeout)
        if a.status != 200:
            raise AssertionError("%s: /v1/cluster: %r" % (self.name, a))
        return a.json

    def leads(self):
        return self.view()["role"] == "leader"

    def topics(self):
        return {t["name"]: t for t in self.ok("GET", "/v1/topics").json["topics"]}

    # -- its data

    def log(self, topic):
        """[(epoch, offset, payload)] of all messages of a topic that it serves."""
        out, at = [], "earliest"
        with self.connect() as c:
            while True:
                a = c.request("GET", "/v1/topics/%s/messages?from=%s&limit=10000&bytes=8388608" % (topic, at))
                if a.status == 404:
                    return out
                if a.status != 200:
                    raise AssertionError("reading %s of %s from %s: %r" % (topic, self.name, at, a))
                page = json.loads(a.body)
                out += [(m["epoch"], m["offset"], payload_of(m)) for m in page["messages"]]
                if not page["messages"]:
                    return out
                at = page["next"]

    def listed(self):
        """{topic: {first offset of a file: "log" or "qwal"}} as found on disk."""
        folder = os.path.join(self.data, "topics")
        small = {topic: {0: "qwal"} for topic in os.listdir(os.path.join(self.data, "small"))}
        return small | {topic: {int(m.group(1)): m.group(2) for m in re.finditer(
            r"(\d{20})\.(log|qwal)\b", " ".join(os.listdir(os.path.join(folder, topic))))} for topic in os.listdir(folder)}

    def files(self):
        """(sealed, open) as a History has them. Waits for a while until full files are sealed, which the disk thread does later;
        a file that stays unsealed is for the checker to find."""
        def what_is_full_is_sealed():
            files = self.listed()
            return all(kind == "log" or first == max(of) for of in files.values() for first, kind in of.items()) and \
                files == self.listed()
        with contextlib.suppress(AssertionError):
            wait_until(what_is_full_is_sealed, timeout=5)
        sealed, open_ = {}, {}
        for topic, files in self.listed().items():
            for first, kind in files.items():
                if kind == "log":
                    path = os.path.join(self.data, "topics", topic, "%020d.log" % first)
                    sealed.setdefault(topic, {})[first] = history.checksum(path)
                else:
                    open_.setdefault(topic, set()).add(first)
        return sealed, open_

    def promises(self):
        """{disk: [(epoch, leader)] followed with that disk} by its log, for this disk and those before a wipe."""
        with open(self.stderr_path, "rb") as f:
            said = f.read()
        found = {}
        for i, (a, b) in enumerate(zip([0, *self.wiped_at], [*self.wiped_at, len(said)])):
            # An empty node that joins a cluster takes the cluster's epochs, so what it followed before does not count.
            text = said[a:b].decode("utf-8", "replace").rpartition("joins the cluster that Consul names")[2]
            found["%s, disk %d" % (self.name, i + 1)] = [(int(e), m) for m, e in re.findall(
                r" follower: following member=(\S+) epoch=(\d+)", text)]
        return found

    def diverged(self):
        """All bytes that it has moved to data/diverged."""
        parts = []
        for folder, _, names in os.walk(os.path.join(self.data, "diverged")):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    parts.append(f.read())
        return b"\n".join(parts)


class Cluster:
    def __init__(self, folder, count=3, net=False, config="", secret=common.SECRET, sync_interval=0.5, lag_max=2, lease=6, node=Node,
                 on_new=lambda thing: None, **kw):
        """`on_new` is called with Consul and with each node when it is created."""
        self.folder, self.config = folder, config
        self.secret = secret         # None: nodes are insecure
        self.sync_interval, self.lag_max, self.lease = sync_interval, lag_max, lease
        self.nodes = []
        names = ["n%d" % (i + 1) for i in range(count)]
        self.net = network.Network(["consul", *names]) if net else None
        self.consul = consul.Consul(os.path.join(folder, "consul"), self.net and self.net["consul"])
        self.kind, self.settings, self.on_new = node, kw, on_new
        on_new(self.consul)
        for name in names:
            self.add(name)

    def consul_addresses(self):
        return [self.consul.address]

    def add(self, name, **kw):
        """Adds a node, which is not started."""
        os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        node = self.kind(self, name, self.net[name] if self.net else None, **dict(self.settings, **kw))
        self.nodes.append(node)
        self.on_new(node)
        return node

    def __getitem__(self, name):
        return next(n for n in self.nodes if n.name == name)

    def start(self):
        self.consul.start()
        self.start_nodes()
        self.wait_whole()
        return self

    def start_nodes(self):
        """Starts all at once. From this thread: a child is killed when the thread that created it ends."""
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait_ready()

    def stop(self):
        """Stops all that run and checks their exit codes."""
        for node in self.nodes:
            if not node.running() and not node.awaited:
                raise AssertionError("%s ended with %d when nobody asked it to:\n%s" % (
                    node.name, node.process.returncode, node.said()[-3000:]))
        running = [n for n in self.nodes if n.running()]
        for node in running:
            node.thaw()
            node.signal(signal.SIGTERM)
        for node in running:
            code = node.wait_exit()
            if code != 0:
                raise AssertionError("%s ended with %d:\n%s" % (node.name, code, node.said()[-3000:]))
        self.check_said()

    def check_said(self):
        for node in self.nodes:
            if node.process:
                node.check_said()

    def close(self):
        """Kills everything, whatever state it is in."""
        for node in self.nodes:
            node.kill()
        self.consul.kill()
        if self.net:
            self.net.close()

    # -- who leads

    def answering(self):
        return [n for n in self.nodes if n.answers()]

    def statuses(self):
        """{node: its view of the cluster} for all nodes that answer."""
        found = {}
        for node in self.answering():
            with contextlib.suppress(OSError, AssertionError):
                found[node] = node.view()
        return found

    def leader(self):
        """The node that claims to lead, in the highest epoch; None when there is none."""
        leading = [(s["epoch"], n) for n, s in self.statuses().items() if s["role"] == "leader"]
        return max(leading, key=lambda pair: pair[0])[1] if leading else None

    def followers(self):
        leader = self.leader()
        return [n for n in self.nodes if n is not leader]

    def wait_leader(self, besides=(), timeout=PATIENCE):
        """Waits for a leader other than `besides`."""
        def led():
            leader = self.leader()
            return leader if leader and leader not in besides else None
        return wait_until(led, timeout, "somebody leads%s" % (" besides " + ", ".join(n.name for n in besides) if besides else ""))

    def whole(self, names=None):
        """True when all running nodes agree on one leader and epoch, and all (or those named) are in the synced set."""
        statuses = self.statuses()
        if len(statuses) < len([n for n in self.nodes if n.running()]):
            return False
        leading = [s for s in statuses.values() if s["role"] == "leader"]
        if len(leading) != 1:
            return False
        s = leading[0]
        return (all((o["epoch"], (o["leader"] or {}).get("name")) == (s["epoch"], s["self"]["name"] if isinstance(s["self"], dict)
                    else s["self"]) for o in statuses.values())
                and set(s["synced"]) == set(names or [n.name for n in statuses]))

    def wait_whole(self, names=None, timeout=PATIENCE):
        try:
            wait_until(lambda: self.whole(names), timeout, "the cluster is whole", every=0.03)
        except AssertionError as e:
            raise AssertionError("%s\n%s" % (e, "\n".join(
                "%s: %s" % (n.name, json.dumps(s)) for n, s in self.statuses().items())))
        return self.leader()

    def synced(self):
        leader = self.leader()
        return set(leader.view()["synced"]) if leader else set()

    def ends(self, topics=None):
        """{node: {topic: next offset}} for all nodes that answer."""
        found = {}
        for node in self.answering():
            found[node.name] = {name: t["next"] for name, t in node.topics().items() if topics is None or name in topics}
        return found

    def wait_equal(self, topics=None, timeout=PATIENCE):
        """Waits until every node serves every topic up to the same offset."""
        def equal():
            ends = list(self.ends(topics).values())
            return all(e == ends[0] for e in ends)
        try:
            wait_until(equal, timeout, "all nodes end at the same offsets", every=0.05)
        except AssertionError as e:
            raise AssertionError("%s\n%s" % (e, json.dumps(self.ends(topics), indent=1)))

    def wait_caught_up(self, topics, timeout=PATIENCE):
        """Waits until every node has what the leader had at the call; publishing may go on."""
        ends = wait_until(lambda: self.ends(topics), timeout, "the nodes say how far they are")
        most = {t: max(e.get(t, 0) for e in ends.values()) for t in topics}

        def there():
            now = self.ends(topics)
            return all(e.get(t, 0) >= most[t] for e in now.values() for t in topics)
        wait_until(there, timeout, "all nodes have caught up", every=0.05)

    def create(self, topics):
        """Creates topics, {name: settings}; they may exist already."""
        for name, settings in topics.items():
            def created():
                leader = self.leader()
                if leader:
                    a = leader.request("PUT", "/v1/topics/" + name, json.dumps(settings))
                    if a.status not in (200, 201):
                        raise AssertionError("PUT %s %s: %r" % (name, settings, a))
                return leader
            wait_until(created, what="the topic %s is created" % name, every=0.05)

    # -- the register

    def register(self):
        value, index, _ = self.consul.get(REGISTER)
        return (json.loads(value), index) if value else (None, None)


@functools.cache
def why_no_cluster():
    """The reason why no cluster can run here, or None."""
    why = consul.binary()[1]
    return "no Consul: " + why if why else None
