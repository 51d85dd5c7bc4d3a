#!/usr/bin/python3
"""Durable Streams beside /v1, on one node, in turns:  tests/bench/streams.py [--seconds S] [--rounds N] [--only WORD]

    append      one message of 100 bytes of JSON a request, by 1 and by 64 connections, to a stream and to a topic
    CPU         of the node for such a request: says more than the rate on a machine that does other things
    catch-up    100 MB of messages of 100 bytes: as JSON from a stream, as NDJSON from the topic
    fan-out     one message to 1,000 readers of events, of a stream and of a topic: until the last one has it

Prints the median of each and the ratio of the two, with the targets; exits 1 when a target was missed in every round.
"""

import argparse
import json
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
os.environ.setdefault("LIGNUM", os.path.join(ROOT, "build", "release", "lignum"))

import lignum  # noqa: E402

LOAD = os.path.join(ROOT, "build", "release", "tests", "bench", "load")
JSON = {"Content-Type": "application/json"}
READERS, TOTAL = 1000, 100 * 1000 * 1000
MESSAGE = b'{"text":"%s"}' % (b"x" * 89)
TARGETS = {"append, 1 connection": 0.85, "append, 64 connections": 0.85, "append, a CPU second": 0.85,
           "catch-up, MB/s": 0.7, "fan-out, a second": 1.0}


def append(b, path, connections, seconds, count=False):
    """Requests a second, or their number."""
    body = os.path.join(b.folder, "body")
    with open(body, "wb") as f:
        f.write(MESSAGE)
    kind = "application/json" if "/stream/" in path else "application/octet-stream"      # /v1 takes JSON for envelopes
    words = [LOAD, "--json", "-d", str(seconds), "-c", str(connections), "-H", "Content-Type: " + kind, "-f", body, "-m", "POST",
             "http://127.0.0.1:%d%s" % (b.port, path)]
    out = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 60)
    if out.returncode != 0:
        raise RuntimeError(out.stdout + out.stderr)
    found = json.loads(out.stdout)
    if found["failures"]:
        raise RuntimeError("%s: %s" % (path, found))
    return found["requests" if count else "requests_per_s"]


def cpu(b, path):
    """Requests that a second of the node's CPU time serves."""
    before = b.cpu_seconds()
    count = append(b, path, 64, 1, count=True)
    return count / (b.cpu_seconds() - before)


def fill(b):
    """Both hold the same messages."""
    batch = 10000
    b.ok("PUT", "/v1/stream/all", headers=JSON, status=201)
    for _ in range(TOTAL // len(MESSAGE) // batch):
        b.ok("POST", "/v1/stream/all", body=b"[" + b",".join([MESSAGE] * batch) + b"]", headers=JSON, status=204)
        b.ok("POST", "/v1/topics/all/messages", body=b"\n".join([MESSAGE] * batch),
             headers={"Content-Type": "application/x-ndjson"})


def received(sock, request):
    """The head of an answer, and the size of its body."""
    sock.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(1 << 20)
    head, _, rest = data.partition(b"\r\n\r\n")
    names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if b"content-length" in names:
        left = int(names[b"content-length"]) - len(rest)
        size = int(names[b"content-length"])
        buffer = memoryview(bytearray(1 << 20))
        while left > 0:
            left -= sock.recv_into(buffer, min(left, len(buffer)))
        return names, size
    size = len(rest)
    tail = rest[-5:]
    while tail != b"0\r\n\r\n":
        data = sock.recv(1 << 20)
        size += len(data)
        tail = (tail + data)[-5:]
    return names, size


def catch_up(b, path, parameter, header, size):
    """MB a second of the messages, read in pieces of the same size."""
    at, done, began = b"-1" if parameter == b"offset" else b"0", 0, time.monotonic()
    with socket.create_connection(("127.0.0.1", b.port)) as sock:
        while done < TOTAL * 0.95:
            request = b"GET %s?%s=%s%s HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson, application/json;q=0.5\r\n\r\n" % (
                path, parameter, at, size)
            names, n = received(sock, request)
            at = names[header]
            if parameter == b"offset":
                done += n
            else:                       # counted by the messages, and not by what surrounds them: epoch:offset:topic
                done = int(at.split(b":")[1]) * len(MESSAGE)
    return TOTAL / 1e6 / (time.monotonic() - began)


def fan_out(b, target, publish, body, count):
    """Seconds from a publish until all readers have its event; the median of `count`."""
    poll, readers, took = select.epoll(), {}, []
    for _ in range(READERS):
        s = socket.create_connection(("127.0.0.1", b.port))
        s.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n" % target)
        poll.register(s, select.EPOLLIN)
        readers[s.fileno()] = s
    quiet = time.monotonic() + 1
    while time.monotonic() < quiet:
        for fd, _ in poll.poll(0.1):
            readers[fd].recv(1 << 16)
    with b.connect() as c:
        for i in range(count):
            mark, waiting = b"mark%06d" % i, set(readers)
            began = time.monotonic()
            c.send(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
                publish, len(body % mark), body % mark))
            while waiting:
                for fd, _ in poll.poll(5):
                    if mark in readers[fd].recv(1 << 16):
                        waiting.discard(fd)
            took.append(time.monotonic() - began)
            c.answer("POST")
            time.sleep(0.02)        # the rest of the events is on its way
            for fd, _ in poll.poll(0):
                readers[fd].recv(1 << 16)
    for s in readers.values():
        s.close()
    return 1 / statistics.median(took)


def measures(seconds):
    """{name: (of a stream, of /v1)}"""
    events = b"/v1/topics/f/messages?from=latest", b"/v1/topics/f/messages", b'[{"data":"%s"}]'
    stream = b"/v1/stream/f?offset=now&live=sse", b"/v1/stream/f", b'["%s"]'
    return {
        "append, 1 connection": (lambda b: append(b, "/v1/stream/s", 1, seconds),
                                 lambda b: append(b, "/v1/topics/t/messages", 1, seconds)),
        "append, 64 connections": (lambda b: append(b, "/v1/stream/s", 64, seconds),
                                   lambda b: append(b, "/v1/topics/t/messages", 64, seconds)),
        "append, a CPU second": (lambda b: cpu(b, "/v1/stream/s"), lambda b: cpu(b, "/v1/topics/t/messages")),
        "catch-up, MB/s": (lambda b: catch_up(b, b"/v1/stream/all", b"offset", b"stream-next-offset", b""),
                     lambda b: catch_up(b, b"/v1/topics/all/messages", b"from", b"lignum-next-offset", b"&limit=100000&bytes=1048576")),
        "fan-out, a second": (lambda b: fan_out(b, *stream, 20), lambda b: fan_out(b, *events, 20)),
    }


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", default="", help="measures whose name contains this")
    o = p.parse_args()
    folder = tempfile.mkdtemp(prefix="lignum-streams-")
    missed = False
    try:
        with lignum.Broker(folder, config="durable_streams {}") as b:
            for name in ("s", "f"):
                b.ok("PUT", "/v1/stream/" + name, headers=JSON, status=201)
            for name in ("t", "f"):
                b.ok("PUT", "/v1/topics/" + name, status=201)
            if o.only in "catch-up, MB/s":
                fill(b)
            print("%-24s %12s %12s %8s %8s" % ("", "stream", "/v1", "ratio", "wanted"))
            for name, both in measures(o.seconds).items():
                if o.only not in name:
                    continue
                pairs = [[f(b) for f in both] for _ in range(o.rounds)]
                ratios = [s / v for s, v in pairs]
                print("%-24s %12.1f %12.1f %8.2f %8.2f   %.2f - %.2f" % (
                    name, *[statistics.median(x) for x in zip(*pairs)], statistics.median(ratios), TARGETS[name], min(ratios),
                    max(ratios)))
                missed = missed or max(ratios) < TARGETS[name]
    finally:
        shutil.rmtree(folder, True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
