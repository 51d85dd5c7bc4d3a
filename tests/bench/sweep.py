"""Durable publish by disk latency and connections: Lignum, Redis always and the bare program, as they are and slowed.

The three servers of one latency run one after another, so that a change of the machine's speed hits all of them.
N clients that each wait for their answer make at most N / L requests a second on a disk whose sync takes L. Redis syncs
on its loop, so it makes N / (L + N c), where c is its CPU time a request (taken from the row with the most requests).
A server that overlaps its work with the sync has at most 1 + N c / L of that rate, if its own work costs nothing and
all clients wait for each sync. Few clients may come to lie above it, where Redis needs a second sync for a client
that came late.
"""

import statistics

import rows
import targets
from peers import Bare, Lignum, Redis, slowed

TITLE = "Publish by disk latency and connections"
ADDED_US = (0, 100, 250, 1000, 4000)
CONNECTIONS = (1, 4, 16, 64, 256)
MANY = 64                      # from so many connections on, the aim is to be ahead
MAIN = (1, 64)                 # those that the main page shows
OF_BARE = .95
SHARE = 1 / 4                  # of the seconds of another row
SERVERS = {us: [slowed(kind, us) for kind in (Lignum, Redis, Bare)] for us in ADDED_US}
KINDS = [kind for kinds in SERVERS.values() for kind in kinds]

WORDS = """Messages of 100 B, on the disk as it is and with each fdatasync so much longer (`tests/bench/slow_disk.c`).
*bound* is 1 + N c / L (`tests/bench/sweep.py` says what it bounds); the aim is the
smaller of 1.15 and 0.97 of it from %d connections on, and 0.95 below; and %.2f of the bare program.""" % (MANY, OF_BARE)


def name_of(kind, connections):
    return "%s: sweep, 100 B, %d connection%s" % (kind.name, connections, "s" * (connections > 1))


REDIS_CPU = name_of(SERVERS[0][1], max(CONNECTIONS))


def load(row, server, seconds):
    return rows.load(row, server, seconds * SHARE)


ROWS = [rows.Row(TITLE, kind, name_of(kind, c), "t" if issubclass(kind, Redis) else "v1/topics/t/messages",
                 ["-b", "100", "-c", str(c)], quick=True, tool=load)
        for kind in KINDS for c in CONNECTIONS]


def bound(connections, redis_us, sync_us):
    return 1 + connections * redis_us / sync_us


def wanted(connections, most):
    """The least ratio to Redis that is aimed at, where `most` is the bound."""
    return min(1.15, .97 * most) if connections >= MANY else .95


class Point:
    """One latency and one number of connections: the rate, the bound, and the two ratios with their verdicts."""

    def __init__(self, rounds, added_us, connections):
        names = [name_of(kind, connections) for kind in SERVERS[added_us]]
        there = [r for r in rounds if names[0] in r]
        self.connections = connections
        self.text = "disk +%g ms, %d connection%s" % (added_us / 1000, connections, "s" * (connections > 1))
        self.rate = statistics.median(r[names[0]]["rate"] for r in there) if there else None
        bounds = [bound(connections, r[REDIS_CPU]["server_us"], 1e6 / r["limits"]["fdatasync_4k_per_s"] + added_us)
                  for r in there if REDIS_CPU in r]
        self.bound = statistics.median(bounds) if bounds else None
        self.redis = self.outcome(there, names[0], names[1], wanted(connections, self.bound) if bounds else None)
        self.bare = self.outcome(there, names[0], names[2], OF_BARE)

    def outcome(self, there, ours, other, want):
        ratios = [r[ours]["rate"] / r[other]["rate"] for r in there if other in r]
        words = " / Redis always" if other.startswith("Redis") else " / bare program"
        if other.startswith("Redis") and self.bound:
            words += " (bound %.2f)" % self.bound
        return targets.Outcome(self.text + words, ratios, want, False)


def judge(rounds):
    return [Point(rounds, us, c) for us in ADDED_US for c in CONNECTIONS]


def cells(o):
    return "%s | %s | %s | %s" % (o.median(), o.spread(), o.wanted(), o.verdict())


def table(points):
    lines = ["## " + TITLE, "", WORDS, "",
             "| | a second | bound | / Redis always | spread | wanted | | / bare program | spread | wanted | |",
             "|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---|"]
    for p in points:
        rate, most = ("{:,.0f}".format(p.rate) if p.rate else "skipped"), ("%.2f" % p.bound if p.bound else "")
        lines.append("| %s | %s | %s | %s | %s |" % (p.text, rate, most, cells(p.redis), cells(p.bare)))
    return lines + [""]
