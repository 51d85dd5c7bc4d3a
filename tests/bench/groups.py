#!/usr/bin/env python3
"""Claim and acknowledge, beside other brokers, and what groups and producers cost: `make bench-groups`, about 6 minutes.

    tests/bench/groups.py [--rounds N] [--seconds N] [--only WORD,...] [--big] [--scale X]

A round starts each server in turn, fills it, and lets 1, 16 and 64 consumers (consume.c) take messages of 100 bytes one by one and by
100, each step with the acknowledgements of the one before. What is acknowledged is durable on all sides as far as the server can say
so. Ratios are taken within a round; the table has the median over the rounds. --big measures once what a large backlog, many leases,
groups and producers cost: memory, start and failover (--scale 0.1: a tenth of each).
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import tempfile
import time

import peers
from peers import Beanstalk, Lignum, Nats, NatsAlways, Rabbit, Redis
from rows import run_json

LOADS = [(c, each) for each in (1, 100) for c in (1, 16, 64)]
AIMS = {("Redis, always", 64, 1): 1.2, ("RabbitMQ", 64, 1): 3, ("beanstalkd", 64, 1): 10}
AIM_BATCHES = 1e6


def tool(name, *words, seconds=60):
    return run_json([os.path.join(peers.TOOLS, name), *[str(w) for w in words]], seconds)


def load(server, path, *words):
    return tool("load", "--json", "-b", 100, *words, "-d", 100, server.url(path))


def consume(server, path, connections, each, seconds):
    """Messages a second, milliseconds of a step, and the server's CPU time a message."""
    cpu = server.cpu()
    r = tool("consume", "-c", connections, "-k", each, "-d", seconds, server.url(path))
    taken = r["requests"] * each
    return {"rate": taken / r["seconds"], "p50": r["p50_us"] / 1000, "p99": r["p99_us"] / 1000, "us": (server.cpu() - cpu) * 1e6 / max(taken, 1)}


# ------------------------------------------------------------------------------- each server's queue

class OfLignum:
    kind = Lignum

    def fill(self, s):
        load(s, "v1/topics/q/messages", "-B", 1000, "-c", 8, "-n", 4000)

    def ready(self, s, name):
        put_group(s, "q", name)
        return "v1/topics/q/groups/%s" % name


class OfRedis:
    kind = Redis

    def fill(self, s):
        load(s, "q", "-B", 1000, "-c", 8, "-n", 1500)

    def ready(self, s, name):
        with socket.create_connection(("127.0.0.1", s.port), 5) as c:
            c.sendall(b"XGROUP CREATE q %s 0\r\n" % name.encode())
            assert c.recv(100) == b"+OK\r\n"
        return "q/" + name


class OfNats:
    kind = Nats

    def fill(self, s):
        load(s, "t.x", "-B", 64, "-c", 8, "-n", 6000)

    def ready(self, s, name):
        config = json.dumps({"stream_name": "S", "config": {"durable_name": name, "deliver_policy": "all", "ack_policy": "explicit",
                                                            "max_ack_pending": 20000}}).encode()
        with socket.create_connection(("127.0.0.1", s.port), 5) as c:
            c.sendall(b'CONNECT {"verbose":false}\r\nSUB i 1\r\nPUB $JS.API.CONSUMER.DURABLE.CREATE.S.%s i %d\r\n%s\r\n' % (
                name.encode(), len(config), config))
            seen = b""
            while b"MSG i 1" not in seen or not seen.endswith(b"}\r\n"):
                seen += c.recv(65536)
        assert b'"created"' in seen, seen
        return "S/" + name


class OfNatsAlways(OfNats):
    kind = NatsAlways


class OfRabbit:
    """What is acknowledged is gone, so it is filled for each row."""

    kind = Rabbit

    def fill(self, s):
        pass

    def ready(self, s, name):
        load(s, "q%s.quorum" % name, "-c", 64, "-n", 40000)
        return "q%s.quorum" % name


class OfBeanstalk:
    kind = Beanstalk

    def fill(self, s):
        pass

    def ready(self, s, name):
        load(s, "", "-c", 64, "-n", 15000)
        return ""


ALL = [OfLignum, OfRedis, OfNats, OfNatsAlways, OfRabbit, OfBeanstalk]


def folder_here():
    return tempfile.TemporaryDirectory(prefix="bench-", dir=os.path.join(peers.ROOT, "build"))


def run_round(number, o):
    found = {}
    for queue in (of() for of in ALL):
        name = queue.kind.name
        if queue.kind.missing() or (o.only and queue.kind is not Lignum and not any(w in name for w in o.only.split(","))):
            continue
        with folder_here() as folder, queue.kind(folder) as s:
            queue.fill(s)
            for connections, each in LOADS:
                path = queue.ready(s, "c%dk%d" % (connections, each))
                try:
                    r = found[name, connections, each] = consume(s, path, connections, each, o.seconds)
                except (RuntimeError, subprocess.SubprocessError) as e:
                    print("round %d  %s, %d x %d failed: %s" % (number, name, connections, each, e), flush=True)
                    continue
                print("round %d  %-28s %3d consumers, %3d a step %10.0f/s  p50 %.2f p99 %.2f ms  %.2f us server" % (
                    number, name, connections, each, r["rate"], r["p50"], r["p99"], r["us"]), flush=True)
    return found


def show(rounds):
    keys = [k for k in dict.fromkeys(k for r in rounds for k in r)]
    print("\n| claim and acknowledge, messages of 100 B | consumers | a step | a second | spread | p50 ms | p99 ms | server us each | "
          "Lignum / it | aim |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for key in keys:
        name, connections, each = key
        mine = [r[key] for r in rounds if key in r]
        rates = [m["rate"] for m in mine]
        ratios = [r["Lignum", connections, each]["rate"] / r[key]["rate"] for r in rounds
                  if key in r and ("Lignum", connections, each) in r and r[key]["rate"]]
        aim = AIMS.get(key)
        if name == "Lignum" and each == 100:
            aim = "1,000,000/s" if max(rates) < AIM_BATCHES else "1,000,000/s: reached"
        elif aim:
            aim = ">= %g: %s" % (aim, "reached" if statistics.median(ratios) >= aim else "MISSED")
        print("| %s | %d | %d | %s | %s - %s | %.2f | %.2f | %.2f | %s | %s |" % (
            name, connections, each, *["{:,.0f}".format(x) for x in (statistics.median(rates), min(rates), max(rates))],
            *[statistics.median(m[f] for m in mine) for f in ("p50", "p99", "us")],
            "-" if name == "Lignum" or not ratios else "%.2f" % statistics.median(ratios), aim or ""))


# ---------------------------------------------------------------------------------------------- big

def put_group(s, topic, name, **settings):
    body = json.dumps(dict({"from": "earliest", "lease_max": 100000, "lease_time": 3600}, **settings))
    with peers.Connection(s.port) as c:
        a = c.request("PUT", "/v1/topics/%s/groups/%s" % (topic, name), body)
        assert a.status in (200, 201), a


def ask(s, path, body):
    with peers.Connection(s.port, timeout=60) as c:
        a = c.request("POST", path, json.dumps(body))
        assert a.status == 200, a
        return a.json


def private_mb(s):
    return s.broker.status("RssAnon") / 1024


def restarted(s, kill, path, body):
    """Seconds from exec until the node answers, its CPU time until then, and seconds until that claim is answered."""
    broker = s.broker
    broker.listen = "127.0.0.1:%d" % s.port
    (broker.kill if kill else broker.stop)()
    began = time.monotonic()
    broker.spawn()
    while True:
        try:
            with peers.Connection(s.port) as c:
                if c.request("GET", "/readyz").status == 200:
                    break
        except OSError:
            time.sleep(0.002)
    answered, s.process = time.monotonic() - began, broker.process
    cpu = s.cpu()
    ask(s, path, body)
    return answered, cpu, time.monotonic() - began


def started(s, path, body):
    lines = []
    for kill in (False, True):
        answered, cpu, claimed = restarted(s, kill, path, body)
        lines.append("%s: ready after %.2f s (%.2f s of CPU), a claim answered after %.2f s" % (
            "after kill -9" if kill else "after a stop", answered, cpu, claimed))
    return "; ".join(lines)


def backlog(scale):
    """Claims from a backlog of ten million, at its beginning and after half of it."""
    count = int(10e6 * scale)
    with folder_here() as folder, Lignum(folder) as s:
        put_topic(s, "q")
        load(s, "v1/topics/q/messages", "-B", 1000, "-c", 8, "-n", count // 1000)
        put_group(s, "q", "g")
        print("| %s messages of backlog, none claimed | private %.1f MB |" % ("{:,}".format(count), private_mb(s)), flush=True)
        for text in ("at its beginning", "after a tenth", "after a half"):
            r = consume(s, "v1/topics/q/groups/g", 64, 1, 2)
            print("| the same, 64 consumers one by one %s | %.0f/s, p50 %.2f, p99 %.2f ms, %.1f us a message; private %.1f MB |" % (
                text, r["rate"], r["p50"], r["p99"], r["us"], private_mb(s)), flush=True)
            ask(s, "/v1/topics/q/groups/g/seek", {"to": count // 10 if text == "at its beginning" else count // 2})
        print("| the same, started again | %s |" % started(s, "/v1/topics/q/groups/g/claim", {}), flush=True)


def put_topic(s, name):
    with peers.Connection(s.port) as c:
        assert c.request("PUT", "/v1/topics/" + name).status in (200, 201)


def many_leases(scale):
    """A thousand groups of one topic, each with a thousand leases."""
    groups, leases = max(1, int(1000 * scale)), 1000
    with folder_here() as folder, Lignum(folder) as s:
        load(s, "v1/topics/q/messages", "-B", 1000, "-c", 1, "-n", 2)
        before = private_mb(s)
        for i in range(groups):
            put_group(s, "q", "g%d" % i)
        with_groups, began = private_mb(s), time.monotonic()
        for i in range(groups):
            ask(s, "/v1/topics/q/groups/g%d/claim" % i, {"limit": leases})
        took, with_leases = time.monotonic() - began, private_mb(s)
        print("| %d groups of one topic | private %.1f MB more: %.1f KB a group |" % (
            groups, with_groups - before, (with_groups - before) * 1024 / groups), flush=True)
        print("| %s leases in them | private %.1f MB more: %.0f bytes a lease; claimed in %.1f s |" % (
            "{:,}".format(groups * leases), with_leases - with_groups, (with_leases - with_groups) * 2**20 / (groups * leases), took), flush=True)
        print("| the same, started again | %s; private %.1f MB |" % (
            started(s, "/v1/topics/q/groups/g0/claim", {}), private_mb(s)), flush=True)


def many_producers(scale):
    count = int(100000 * scale)
    with folder_here() as folder, Lignum(folder) as s:
        put_topic(s, "t")
        before = private_mb(s)
        send_producers(s, count)
        print("| %s producers of one topic | private %.1f MB more: %.0f bytes a producer |" % (
            "{:,}".format(count), private_mb(s) - before, (private_mb(s) - before) * 2**20 / count), flush=True)
        put_group(s, "t", "g")
        print("| the same, started again | %s |" % started(s, "/v1/topics/t/groups/g/claim", {}), flush=True)


def send_producers(s, count):
    from client import request_bytes
    with peers.Connection(s.port, timeout=60) as c:
        for begin in range(0, count, 500):
            n = min(500, count - begin)
            c.send(b"".join(request_bytes("POST", "/v1/topics/t/messages", b"x" * 100, {
                "Producer-Id": "producer-%08d" % i, "Producer-Seq": "0"}) for i in range(begin, begin + n)))
            for _ in range(n):
                assert c.answer().status == 200


def failover(scale):
    """Three nodes: the leader of a live topic with many groups, leases and producers is killed."""
    import cluster
    groups, leases, producers = max(1, int(1000 * scale)), 1000, int(100000 * scale)
    with folder_here() as folder:
        c = cluster.Cluster(folder)
        try:
            c.start()
            c.create({name: {"replication": "live", "copies": 2} for name in ("q", "t")})
            for text in ("with nothing", "with %s leases in %d groups, and %s producers" % ("{:,}".format(groups * leases), groups, "{:,}".format(producers))):
                leader = c.leader()
                if text == "with nothing":
                    leader.publish_lines("q", [b"x" * 100] * 2000)
                    put_group(leader, "q", "g0")
                else:
                    send_producers(leader, producers)
                    for i in range(groups):
                        put_group(leader, "q", "g%d" % i)
                        ask(leader, "/v1/topics/q/groups/g%d/claim" % i, {"limit": leases})
                c.wait_equal()
                print("| failover of a cluster of three %s | the next claim is answered after %.2f s |" % (text, killed(c, leader)), flush=True)
                leader.start()
                c.wait_whole(timeout=60)
        finally:
            c.close()


def killed(c, leader):
    """Seconds from the kill of the leader to the answer to a claim."""
    leader.kill()
    began = time.monotonic()
    while True:
        for node in c.nodes:
            try:
                a = node.request("POST", "/v1/topics/q/groups/g0/claim", "{}", timeout=2) if node is not leader else None
            except OSError:
                continue
            if a and a.status == 200:
                return time.monotonic() - began
        time.sleep(0.005)


BIG = {"backlog": backlog, "leases": many_leases, "producers": many_producers, "failover": failover}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--seconds", type=float, default=1.5, help="of each row")
    a.add_argument("--only", help="peers (or parts of --big) whose name has one of these words")
    a.add_argument("--big", action="store_true", help="instead: what large numbers of messages, leases, groups and producers cost")
    a.add_argument("--scale", type=float, default=1, help="of the numbers of --big")
    o = a.parse_args()
    if o.big:
        for name, measure in BIG.items():
            if not o.only or any(w in name for w in o.only.split(",")):
                measure(o.scale)
        return
    show([run_round(n + 1, o) for n in range(o.rounds)])


if __name__ == "__main__":
    main()
