#!/usr/bin/env python3
"""What many topics cost: `make bench-topics`, or with N=1000000 for the million of the aims.

Makes N topics of one message of 100 bytes each by first publishes on 64 connections, and measures the rate beside a
program that only makes such files (tests/bench/files.c); then memory, disk, a stop, a start after it, a start after
kill -9, and a page of 10,000 names. Memory is the RSS less that of an empty node, disk is the whole data directory less
that of an empty node. Each figure has its aim; --check makes the exit code 1 when one is not reached.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import once
import peers
import rows

CONNECTIONS = 64
BARE_MOST = 100000        # files of the program to compare with: its rate does not change with more
PAGE = 10000
PAGES = 5
KIB, MIB = 1024, 1024 * 1024


def disk_bytes(folder):
    out = subprocess.run(["du", "-s", "-B1", folder], capture_output=True, text=True)
    return int(out.stdout.split()[0])


def rss(server):
    return server.broker.status("VmRSS") * KIB


def bare_rate(count):
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.path.join(peers.ROOT, "build")) as folder:
        words = [os.path.join(peers.TOOLS, "files"), folder, str(min(count, BARE_MOST)), str(CONNECTIONS)]
        return rows.run_json(words, 600)["files_per_s"]


def publish_first(server, count):
    """The first message to each of so many topics: topics a second."""
    words = [os.path.join(peers.TOOLS, "load"), "--json", "-b", "100", "-c", str(CONNECTIONS), "-T", str(count), "-n",
             str(count), "-d", "3600", server.url("v1/topics/t-%d/messages")]
    return rows.run_json(words, 3600)["requests_per_s"]


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


def stop_s(server):
    began = time.monotonic()
    server.broker.listen = "127.0.0.1:%d" % server.port
    server.broker.stop(timeout=600)
    return time.monotonic() - began


def start_s(server):
    seconds = once.first_answer(server.broker)
    server.process = server.broker.process
    return seconds


def measure(count):
    """[(what, unit, figure, the highest or lowest that is aimed at)]; a lowest one is negative."""
    found = []

    def note(what, unit, figure, aim):
        found.append((what, unit, figure, aim))
        print("%-44s %10.2f %-6s aim %s %g" % (what, figure, unit, ">=" if aim < 0 else "<=", abs(aim)), flush=True)

    bare = bare_rate(count)
    print("%-44s %10.0f /s" % ("a program that only makes such files", bare), flush=True)
    folder = tempfile.mkdtemp(prefix="bench-", dir=os.path.join(peers.ROOT, "build"))
    try:
        config = "limits { topics = %d }\n" % (count + 1000)
        with peers.Lignum(folder) as server:
            server.broker.write_config(config)
            stop_s(server)
            start_s(server)
            empty_rss, empty_disk = rss(server), disk_bytes(server.broker.data)
            note("made by first publishes", "/s", publish_first(server, count), -min(5000, bare / 2))
            note("memory of a topic", "KiB", (rss(server) - empty_rss) / count / KIB, 1.05)
            note("page of %d names" % PAGE, "ms", page_ms(server), 20)
            note("stop", "s", stop_s(server), 10)
            note("disk of a topic", "KiB", (disk_bytes(server.broker.data) - empty_disk) / count / KIB, 8)
            note("ready after a stop", "s", start_s(server), 5)
            note("memory of a topic after a start", "KiB", (rss(server) - empty_rss) / count / KIB, 1.05)
            server.broker.kill()
            note("ready after kill -9", "s", start_s(server), 15)
            stop_s(server)
    finally:
        shutil.rmtree(folder)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="topics")
    parser.add_argument("--check", action="store_true", help="fail if an aim is not reached")
    o = parser.parse_args()
    missed = [what for what, _, figure, aim in measure(o.count) if (figure < -aim if aim < 0 else figure > aim)]
    print("aims that are not reached: %s" % (", ".join(missed) or "none"))
    sys.exit(1 if missed and o.check else 0)


if __name__ == "__main__":
    main()
