#!/usr/bin/env python3
"""The figures of a cluster of three nodes, each with that of the single node or peer it is compared with: `make bench-cluster`.

Failovers first, each timed by a client that writes one message after the other to whichever node takes it; then publishing in
both modes against a single node and against etcd with three nodes, in turn within each round; then latency where each node
has a disk of its own; then what TLS between the nodes costs; then catching up, and idling.
All processes share this machine's cores. Nodes run as shipped, with a real Consul. About 4 minutes; --quick takes one.

Exit code: 0; 1 when a target was missed in every round.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import peers
import rows
import targets

sys.path.insert(0, os.path.join(peers.ROOT, "tests", "system"))
import cluster  # noqa: E402
from client import Connection  # noqa: E402
from common import wait_until  # noqa: E402

PATH = "v1/topics/%s/messages"


def say(text, *words):
    print(text % words, flush=True)


# ------------------------------------------------------------------------------------------- servers

class Shipped(cluster.Node):
    """With no settings except its name and addresses."""

    def config(self):
        return ""

    def command(self):
        secret = self.cluster.secret
        return super().command() + ["--name", self.name, "--consul", self.cluster.consul.address,
                                    "--replication", self.replication, "--set", "cluster.replication." +
                                    ("secret=" + secret if secret else "insecure=true")]


class Three:
    """Three nodes and Consul. Without a secret, they replicate without TLS."""

    name = "Lignum, three nodes"

    def __init__(self, folder, count=3, **kw):
        self.c = cluster.Cluster(folder, count, node=Shipped, **kw)

    def __enter__(self):
        try:
            self.c.start()
        except BaseException:
            self.c.close()
            raise
        return self

    def __exit__(self, *_):
        self.c.close()

    def url(self, topic):
        return "http://%s/%s" % (self.c.leader().http, PATH % topic)

    def cpu(self):
        return sum(n.cpu_seconds() for n in self.c.nodes)


class EtcdOfThree(peers.Etcd):
    name, settings = "etcd, three nodes", "version 2 keys over HTTP, in-order POST, to the leader"

    def __enter__(self):
        self.ports = [(peers.free_port(), peers.free_port()) for _ in range(3)]
        self.members = []
        initial = ",".join("m%d=http://127.0.0.1:%d" % (i, p[1]) for i, p in enumerate(self.ports))
        for i, (client, peer) in enumerate(self.ports):
            member = Member(os.path.join(self.folder, "m%d" % i), i, client, peer, initial)
            os.makedirs(member.folder)
            self.members.append(member)
            member.launch()
        for member in self.members:
            wait_until(member.listens, 30, "etcd answers", every=0.05)
        self.port = wait_until(self.leader, 30, "etcd has a leader", every=0.05)
        return self

    def leader(self):
        for member in self.members:
            with Connection(member.port) as c:
                if json.loads(c.request("GET", "/v2/stats/self").body)["state"] == "StateLeader":
                    return member.port
        return None

    def __exit__(self, *_):
        for member in self.members:
            member.__exit__()

    def cpu(self):
        return sum(m.cpu() for m in self.members)


class Member(peers.Etcd):
    def __init__(self, folder, number, client, peer, initial):
        super().__init__(folder)
        self.port, self.words = client, [
            "--name", "m%d" % number, "--listen-peer-urls", "http://127.0.0.1:%d" % peer,
            "--initial-advertise-peer-urls", "http://127.0.0.1:%d" % peer, "--initial-cluster", initial]

    def command(self):
        client = "http://127.0.0.1:%d" % self.port
        return ["etcd", "--enable-v2", "--data-dir", os.path.join(self.folder, "data"), "--log-level", "error",
                "--listen-client-urls", client, "--advertise-client-urls", client, *self.words]

    def launch(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                                  stderr=log, preexec_fn=peers.die_with_parent)


def load(url, seconds, *options):
    words = [os.path.join(peers.TOOLS, "load"), "--json", "-d", str(seconds), *options, url]
    return rows.run_json(words, seconds)


# ----------------------------------------------------------------------------------------- failovers

def write_until_taken(c, since, topic):
    """Seconds from then to the first acknowledgement, by any node, of a message sent afterwards."""
    def taken():
        for node in c.answering():
            try:
                if node.post("/" + PATH % topic, b"x", timeout=5).status == 200:
                    return time.monotonic() - since
            except OSError:
                continue
        return None
    return wait_until(taken, 60, "a write is acknowledged", every=0.002)


def failovers(o, how):
    """The time without acknowledgements after each end of the leader."""
    took = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=o.folder) as folder, Three(folder) as three:
        c = three.c
        c.create({"f": {"replication": "live", "copies": 2}})
        for _ in range(o.failovers):
            leader = c.wait_whole()
            leader.publish("f", b"before")
            since = time.monotonic()
            if how == "kill":
                leader.kill()
            else:
                leader.signal(signal.SIGTERM)
            took.append(write_until_taken(c, since, "f"))
            if how == "stop":
                leader.wait_exit()
            leader.start()
    say("%-46s median %.2f s, worst %.2f s (%s)", "kill -9 of the leader" if how == "kill" else "orderly stop of the leader",
        statistics.median(took), max(took), " ".join("%.2f" % t for t in took))
    return took


# ---------------------------------------------------------------------------------------- publishing

def publish_round(o):
    """{row: figures} of one round: a single node, three in both modes, etcd."""
    found = {}

    def row(name, server, url, *options):
        before = server.cpu()
        r = load(url, o.seconds, "-b", "100", *options)
        found[name] = r
        say("%-46s %8.0f/s  p50 %6.2f ms  p99 %6.2f ms  %5.1f us of all servers", name, r["requests_per_s"], r["p50_us"] / 1e3,
            r["p99_us"] / 1e3, (server.cpu() - before) * 1e6 / max(1, r["requests"]))
    with tempfile.TemporaryDirectory(prefix="bench-", dir=o.folder) as folder, peers.Lignum(folder) as one:
        for n in (64, 1):
            row("single node, %d" % n, one, one.url(PATH % "t"), "-c", str(n))
    with tempfile.TemporaryDirectory(prefix="bench-", dir=o.folder) as folder, Three(folder) as three:
        three.c.create({"live": {"replication": "live", "copies": 3}, "wal": {"replication": "wal"}})
        for mode in ("live", "wal"):
            for n in (64, 1):
                row("three nodes, %s, %d" % (mode, n), three, three.url(mode), "-c", str(n))
    if not EtcdOfThree.missing():
        with tempfile.TemporaryDirectory(prefix="bench-", dir=o.folder) as folder, EtcdOfThree(folder) as etcd:
            before = etcd.cpu()
            r = load(etcd.url("v2/keys/q"), o.seconds, "-f", rows.FORM_BODY, "-c", "64", "-H",
                     "Content-Type: application/x-www-form-urlencoded")
            found["etcd, three nodes, 64"] = r
            say("%-46s %8.0f/s  p50 %6.2f ms  p99 %6.2f ms  %5.1f us of all servers", "etcd, three nodes, v2, 64", r["requests_per_s"],
                r["p50_us"] / 1e3, r["p99_us"] / 1e3, (etcd.cpu() - before) * 1e6 / r["requests"])
    return found


# ------------------------------------------------------------------------------- disks of their own

SLOWED_US, TMPFS = (250, 1000), "/dev/shm"


def apart(o):
    """The latency of one connection where each node has a disk of its own: here, three nodes that sync at once wait for one
    device, one after the other. On a tmpfs each sync takes so long by itself (slow_disk.c). {us: ratios to a single node}"""
    found = {}
    if not os.access(TMPFS, os.W_OK):
        say("no disks of their own: there is no %s", TMPFS)
        return found
    for us in SLOWED_US:
        pairs = []
        with tempfile.TemporaryDirectory(prefix="bench-", dir=TMPFS) as folder, tempfile.TemporaryDirectory(
                prefix="bench-", dir=TMPFS) as alone, peers.slowed(peers.Lignum, us)(alone) as one, Three(
                folder, env={"LD_PRELOAD": os.path.join(peers.TOOLS, "slow_disk.so"), "SLOW_DISK_US": str(us)}) as three:
            three.c.create({"live": {"replication": "live", "copies": 3}})
            for i in range(o.pairs):
                urls = [one.url(PATH % "t"), three.url("live")]
                p50 = [load(url, 0.6, "-b", "100", "-c", "1")["p50_us"] for url in urls[::1 if i % 2 else -1]]
                pairs.append(p50[::1 if i % 2 else -1])
        found[us] = [live / single for single, live in pairs]
        say("disks of their own, a sync of %.2f ms, 1 connection: p50 %.2f ms live, %.2f ms of a single node, x%.2f (%.2f - %.2f)",
            us / 1e3, statistics.median(p[1] for p in pairs) / 1e3, statistics.median(p[0] for p in pairs) / 1e3,
            statistics.median(found[us]), min(found[us]), max(found[us]))
    return found


# ----------------------------------------------------------------------------------------------- TLS

TLS_CASES = {"100 B, 1 connection": ("100", "1"), "100 B, 64 connections": ("100", "64"), "16 kB, 8 connections": ("16000", "8"),
             "1 MB, 2 connections": ("1000000", "2")}


def tls(o):
    """What TLS between the nodes costs a live topic: two clusters that take turns. The median of pairs."""
    pairs = {case: [] for case in TLS_CASES}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=o.folder) as folder:
        plain, secured = [Three(os.path.join(folder, name), **kw) for name, kw in (("plain", {"secret": None}), ("tls", {}))]
        with plain, secured:
            for three in (plain, secured):
                three.c.create({"live": {"replication": "live", "copies": 3}})
            for i in range(o.pairs):
                for case, (size, connections) in TLS_CASES.items():
                    found = {}
                    for three in (plain, secured)[::1 if i % 2 else -1]:
                        before = three.cpu()
                        found[three] = load(three.url("live"), 0.6, "-b", size, "-c", connections)
                        found[three]["cpu_us"] = (three.cpu() - before) * 1e6 / max(1, found[three]["requests"])
                    pairs[case].append((found[plain], found[secured]))
    for case, found in pairs.items():
        def ratio(key):
            return statistics.median(b[key] / a[key] for a, b in found)
        say("TLS over none, live, %-22s rate x%.2f  p50 x%.2f  CPU of all nodes x%.2f (%.0f and %.0f us a message)", case,
            ratio("requests_per_s"), ratio("p50_us"), ratio("cpu_us"),
            *(statistics.median(pair[i]["cpu_us"] for pair in found) for i in (1, 0)))


# -------------------------------------------------------------------------------- catching up, idling

def catch_up(o):
    """(MB/s of an empty follower, the leader's publish rate meanwhile as a share of before)."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=o.folder) as folder, Three(folder, 2) as two:
        c = two.c
        c.create({"history": {"replication": "wal"}, "now": {"replication": "wal"}})
        load(two.url("history"), 120, "-b", "100000", "-c", "4", "-n", str(o.history * 10))
        c.wait_equal()
        before = load(two.url("now"), 3, "-b", "100", "-c", "16")["requests_per_s"]
        late = c.add("n3")
        with subprocess.Popen([os.path.join(peers.TOOLS, "load"), "--json", "-d", "120", "-b", "100", "-c", "16", two.url("now")],
                              stdout=subprocess.PIPE, text=True) as publishing:
            count = c.leader().topic("now")["next"]
            began = time.monotonic()
            late.start()
            wait_until(lambda: late.get("/v1/topics/history").status == 200 and late.topic("history")["next"] == o.history * 10,
                       120, "the follower has it all", every=0.02)
            took = time.monotonic() - began
            meanwhile = (c.leader().topic("now")["next"] - count) / took
            publishing.terminate()
    say("%-46s %.0f MB/s (%d MB in %.1f s from its start); the leader took %.0f/s meanwhile, %.0f/s before", "catch-up of an empty follower",
        o.history / took, o.history, took, meanwhile, before)
    return o.history / took, meanwhile / before


def consul_requests(c):
    """Requests a second, from Consul's own count of the last whole interval of 10 s."""
    samples = c.consul.ok("GET", "/v1/agent/metrics")["Samples"]
    return sum(s["Count"] for s in samples if s["Name"].startswith("consul.http.")) / 10


def idle(o):
    with tempfile.TemporaryDirectory(prefix="bench-", dir=o.folder) as folder, Three(folder) as three:
        c = three.c
        c.create({"t": {"replication": "live", "copies": 2}, "w": {"replication": "wal"}})
        c.leader().publish("t", b"x")
        before, end = [n.cpu_seconds() for n in c.nodes], time.monotonic() + o.idle
        wait_until(lambda: time.monotonic() > end, o.idle + 5, every=0.2)
        cpu = [100 * (n.cpu_seconds() - b) / o.idle for n, b in zip(c.nodes, before)]
        rss = [n.status("VmRSS") / 1024 for n in c.nodes]
        private = [n.status("RssAnon") / 1024 for n in c.nodes]
        requests = consul_requests(c)
    say("%-46s CPU %s %%; RSS %s MB; private %s MB; %.1f Consul requests/s", "idle, three nodes", *(
        "/".join("%.1f" % v for v in values) for values in (cpu, rss, private)), requests)
    return max(cpu), max(rss), max(private), requests / 3


# ---------------------------------------------------------------------------------------------- main

def judge(rounds, singles):
    def over(a, b, key="requests_per_s"):
        return [r[a][key] / r[b][key] for r in rounds if a in r and b in r]
    found = [
        targets.Outcome("kill -9 of the leader to the next write, median s", singles["kill"], 1.0, True),
        targets.Outcome("kill -9 of the leader to the next write, worst s", [max(singles["kill"])], 2.5, True),
        targets.Outcome("orderly stop to the next write, s", singles["stop"], 0.2, True),
        targets.Outcome("live over etcd with three nodes, 64 connections", over("three nodes, live, 64", "etcd, three nodes, 64"), 2, False),
        targets.Outcome("WAL over a single node, 64 connections", over("three nodes, wal, 64", "single node, 64"), 0.7, False),
        targets.Outcome("live latency over a single node's, 1 connection", over("three nodes, live, 1", "single node, 1", "p50_us"), 1.5, True),
        targets.Outcome("catch-up of an empty follower, MB/s", [singles["catch_up"][0]], 200, False),
        targets.Outcome("the leader's rate meanwhile, of before", [singles["catch_up"][1]], 0.67, False),
    ]
    for us, ratios in singles["apart"].items():
        found.append(targets.Outcome("the same with disks of their own, a sync of %.2f ms" % (us / 1e3), ratios, 1.5, True))
    for value, (text, want) in zip(singles["idle"], [("idle CPU of a node, %", 1), ("RSS of a node, MB", 16),
                                                     ("private memory of a node, MB", 6), ("Consul requests a second and node", 10)]):
        found.append(targets.Outcome(text, [value], want, True))
    return found


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--quick", action="store_true")
    a.add_argument("--only", help="failover, publish, apart, tls, catch_up or idle")
    o = a.parse_args()
    o.folder = os.path.join(peers.ROOT, "build")
    o.failovers, o.rounds, o.seconds, o.history, o.idle, o.pairs = (5, 1, 1, 300, 12, 3) if o.quick else (20, 4, 3, 1000, 25, 12)
    why = cluster.why_no_cluster()
    if why:
        say("bench-cluster: %s", why)
        return 1
    singles, rounds = {"kill": [], "stop": [], "apart": {}, "catch_up": (), "idle": ()}, []
    if o.only in (None, "failover"):
        singles["kill"], singles["stop"] = failovers(o, "kill"), failovers(o, "stop")
    if o.only in (None, "publish"):
        rounds = [publish_round(o) for _ in range(o.rounds)]
    if o.only in (None, "apart"):
        singles["apart"] = apart(o)
    if o.only in (None, "tls"):
        tls(o)
    if o.only in (None, "catch_up"):
        singles["catch_up"] = catch_up(o)
    if o.only in (None, "idle"):
        singles["idle"] = idle(o)
    if o.only:
        return 0
    outcomes = judge(rounds, singles)
    say("")
    for t in outcomes:
        say("%-60s %9s %-16s %s %s", t.text, t.median(), t.spread() if len(t.values) > 1 else "", t.wanted(), t.verdict())
    return 1 if any(t.missed() for t in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
