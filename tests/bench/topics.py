#!/usr/bin/env python3
"""What many topics cost: `make bench-topics`, or with N=1000000 for the million of the aims.

    node      N topics of one message of 100 bytes each, made by first publishes on 64 connections: the rate, memory,
              disk, a stop, a start after it and after kill -9, a page of 10,000 names, deleting by prefix
    calls     system calls of a start and of a stop for each topic, by strace
    follower  N more on a cluster's only node, half of them live; then an empty node joins: the rate until it has all
    streams   10,000 topics made by clients of Durable Streams, and the descriptors that these take

The rates of making and deleting stand beside a program that only makes and removes such files (tests/bench/files.c).
Memory is the RSS less that of an empty node, disk is the whole data directory less that of an empty node. CPU is that
of the node's process, since the time of a start also depends on what else the machine does. Each figure has its aim;
--check makes the exit code 1 when one is not reached.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import once
import peers
import rows
import three
from common import wait_until

CONNECTIONS = 64
BARE_MOST = 100000        # files of the program to compare with: its rate does not change with more
PAGE = 10000
PAGES = 5
DELETED = 1000            # topics that a request deletes
TRACED = 5000             # topics of which system calls are counted
STREAMS, FILES = 10000, 64
KIB, MIB = 1024, 1024 * 1024


def disk_bytes(folder):
    out = subprocess.run(["du", "-s", "-B1", folder], capture_output=True, text=True)
    return int(out.stdout.split()[0])


def rss(server):
    return server.broker.status("VmRSS") * KIB


def bare_rates(o):
    """Such files made a second, and removed."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=o.on) as folder:
        words = [os.path.join(peers.TOOLS, "files"), folder, str(min(o.count, BARE_MOST)), str(CONNECTIONS)]
        found = rows.run_json(words, 600)
        return found["files_per_s"], found["removed_per_s"]


def load(url, count, *options):
    words = [os.path.join(peers.TOOLS, "load"), "--json", "-c", str(CONNECTIONS), "-T", str(count), "-n", str(count), "-d",
             "3600", *options, url]
    found = rows.run_json(words, 3600)
    if found["failures"] or set(found["status"]) - {"200", "201", "204"}:
        raise RuntimeError("%s: %s" % (url, found))
    return found["requests_per_s"]


def publish_first(url, count):
    """The first message to each of so many topics: topics a second."""
    return load(url, count, "-b", "100")


def page_ms(server):
    """The time that a page of names takes."""
    found = []
    with peers.Connection(server.port) as c:
        for _ in range(PAGES):
            began = time.monotonic()
            answer = c.request("GET", "/v1/topics?names=1&limit=%d" % PAGE)
            found.append((time.monotonic() - began) * 1000)
            if answer.status != 200:
                raise RuntimeError("a page of names: %d %s" % (answer.status, answer.body[:200]))
    return statistics.median(found)


def delete_all(server, count):
    """Deletes the topics page by page: topics a second."""
    deleted, after, began = 0, "", time.monotonic()
    with peers.Connection(server.port, timeout=60) as c:
        while after is not None:
            answer = c.request("DELETE", "/v1/topics?prefix=t-&limit=%d%s" % (DELETED, after and "&after=" + after))
            if answer.status != 200:
                raise RuntimeError("deleting by prefix: %d %s" % (answer.status, answer.body[:200]))
            page = json.loads(answer.body)
            deleted, after = deleted + page["deleted"], page.get("after")
    if deleted != count:
        raise RuntimeError("%d topics are deleted, not %d" % (deleted, count))
    return count / (time.monotonic() - began)


def stop_s(server):
    """Seconds of time and of the process's CPU that an orderly stop takes."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = server.cpu()
    server.broker.listen = "127.0.0.1:%d" % server.port
    server.broker.stop(timeout=600)
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - cpu


def start_s(server):
    """Seconds of time and of the process's CPU until the first answer."""
    seconds = once.first_answer(server.broker)
    server.process = server.broker.process
    return seconds, server.cpu()


class Figures:
    """What was measured beside what is aimed at: at most that, or with `least` at least."""

    def __init__(self):
        self.missed = []

    def note(self, what, unit, figure, aim, least=False):
        if figure < aim if least else figure > aim:
            self.missed.append(what)
        print("%-48s %10.2f %-6s aim %s %g" % (what, figure, unit, ">=" if least else "<=", aim), flush=True)

    def note_cpu(self, what, count, cpu, aim_us):
        self.note(what, "us", cpu * 1e6 / count, aim_us)


@contextlib.contextmanager
def folder_on(o):
    folder = tempfile.mkdtemp(prefix="bench-", dir=o.on)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def measure_node(o, figures):
    made, removed = bare_rates(o)
    print("%-48s %10.0f /s made, %.0f /s removed" % ("a program that only makes and removes such files", made, removed))
    with folder_on(o) as folder, peers.Lignum(folder) as server:
        server.broker.write_config("limits { topics = %d }\n" % (o.count + 1000))
        stop_s(server)
        start_s(server)
        empty_rss, empty_disk = rss(server), disk_bytes(server.broker.data)
        rate = publish_first(server.url("v1/topics/t-%d/messages"), o.count)
        figures.note("made by first publishes", "/s", rate, min(5000, made / 2), least=True)
        figures.note("memory of a topic", "KiB", (rss(server) - empty_rss) / o.count / KIB, 1.05)
        figures.note("page of %d names" % PAGE, "ms", page_ms(server), 20)
        took, cpu = stop_s(server)
        figures.note("stop", "s", took, 10)
        figures.note_cpu("stop, CPU a topic", o.count, cpu, 10)
        figures.note("disk of a topic", "KiB", (disk_bytes(server.broker.data) - empty_disk) / o.count / KIB, 8)
        took, cpu = start_s(server)
        figures.note("ready after a stop", "s", took, 5)
        figures.note_cpu("start after a stop, CPU a topic", o.count, cpu, 5)
        figures.note("memory of a topic after a start", "KiB", (rss(server) - empty_rss) / o.count / KIB, 1.05)
        server.broker.kill()
        took, cpu = start_s(server)
        figures.note("ready after kill -9", "s", took, 15)
        figures.note_cpu("start after kill -9, CPU a topic", o.count, cpu, 15)
        figures.note("deleted by prefix, %d a request" % DELETED, "/s", delete_all(server, o.count), min(5000, removed / 2),
                     least=True)
        stop_s(server)


def calls_of(server, act):
    """System calls of a process while `act` runs, which starts it or ends it."""
    out = os.path.join(server.folder, "calls")
    binary, server.broker.binary = server.broker.binary, os.path.join(server.folder, "traced")
    server.file("traced", "#!/bin/sh\nexec strace -f -c -o %s %s \"$@\"\n" % (out, binary))
    os.chmod(server.broker.binary, 0o755)
    try:
        act()
    finally:
        server.broker.binary = binary
    with open(out) as f:
        return int(next(line for line in f if line.endswith(" total\n")).split()[3])


def restart_traced(server):
    """A start and a stop. strace passes no signal on, so it goes to the node itself."""
    server.broker.start()
    node = peers.descendants(server.broker.process.pid)[-1]
    os.kill(node, signal.SIGTERM)
    server.broker.wait_exit(600)


def measure_calls(o, figures):
    if shutil.which("strace") is None:
        print("system calls are not counted: strace is not installed")
        return
    count = min(o.count, TRACED)
    with folder_on(o) as folder, peers.Lignum(folder) as server:
        stop_s(server)
        without = calls_of(server, lambda: restart_traced(server))
        start_s(server)
        publish_first(server.url("v1/topics/t-%d/messages"), count)
        stop_s(server)
        found = calls_of(server, lambda: restart_traced(server))
        figures.note("system calls of a start and a stop, a topic", "", (found - without) / count, 2.1)
        server.broker.start()


def measure_follower(o, figures):
    """What counts as had is what the leader counts: it adds a node to the synced set that has everything."""
    if three.cluster.why_no_cluster():
        print("no follower is measured: %s" % three.cluster.why_no_cluster())
        return
    with folder_on(o) as folder, three.Three(folder, 1, set=["limits.topics=%d" % (o.count + 1000)]) as made:
        c = made.c
        leader = c.leader()
        leader.write_config(LIVE)
        leader.reload()
        url, half, began = "http://%s/v1/topics/" % leader.http, o.count // 2, time.monotonic()
        for kind in ("live", "wal"):
            publish_first(url + kind + "-%d/messages", half)
        rate = 2 * half / (time.monotonic() - began)
        late, cpu = c.add("late"), leader.cpu_seconds()
        began = time.monotonic()
        late.start(timeout=60)
        wait_until(lambda: "late" in leader.view(timeout=30)["synced"], 3600, "the new node has all topics", every=0.2)
        took = time.monotonic() - began
        print("%-48s %10.0f /s (CPU a topic: leader %.0f us, follower %.0f us)" % (
            "made on a cluster's only node, half of them live", rate, (leader.cpu_seconds() - cpu) * 1e6 / o.count,
            late.cpu_seconds() * 1e6 / o.count))
        figures.note("replicated to an empty node", "/s", 2 * half / took, rate, least=True)


LIVE = 'topic "live-*" { replication = "live" }\n'


def measure_streams(o, figures):
    with folder_on(o) as folder, peers.Lignum(folder) as server:
        server.broker.write_config("durable_streams {}\nstore { files = %d }\n" % FILES)
        stop_s(server)
        start_s(server)
        url = server.url("v1/stream/s-%d")
        load(url.replace("s-", "first-"), 1000, "-m", "PUT", "-H", "Content-Type: text/plain", "-b", "100")
        before, began = server.broker.descriptors_open(), time.monotonic()
        load(url, STREAMS, "-m", "PUT", "-H", "Content-Type: text/plain", "-b", "100")
        figures.note("%d Durable Streams made" % STREAMS, "s", time.monotonic() - began, 60)
        figures.note("descriptors that they took, store.files = %d" % FILES, "", server.broker.descriptors_open() - before, FILES)


PARTS = {"node": measure_node, "calls": measure_calls, "follower": measure_follower, "streams": measure_streams}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="topics")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--on", default=os.path.join(peers.ROOT, "build"), help="the directory for the data, such as a tmpfs")
    parser.add_argument("--check", action="store_true", help="fail if an aim is not reached")
    o = parser.parse_args()
    figures = Figures()
    for part in [o.only] if o.only else PARTS:
        PARTS[part](o, figures)
    print("aims that are not reached: %s" % (", ".join(figures.missed) or "none"))
    sys.exit(1 if figures.missed and o.check else 0)


if __name__ == "__main__":
    main()
