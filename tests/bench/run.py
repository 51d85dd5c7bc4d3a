#!/usr/bin/env python3
"""The figures of doc/performance.md: `make bench`, about 5 minutes; `--quick` takes one round of 2 s a row.

Each row runs one load (tests/bench/load.c) against one server, several rounds, all rows of a round in turn, so that a
change of the machine's speed hits all of them; medians and spread are over the rounds, ratios are taken within a round.
The server is a fresh process for each run. "bare" is tests/bench/bare.c: what the hardware allows to a program without
Lua, checksums, index and limits.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import lignum  # noqa: E402

TOOLS = os.path.join(ROOT, "build/release/tests/bench")
PAGE = os.path.join(ROOT, "doc/performance.md")
BEGIN, END = "<!-- figures: made by make bench -->", "<!-- end of figures -->"


def cpu_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bare:
    """The ceiling, spoken to like a broker."""

    def __init__(self, folder, nosync=False):
        self.path, self.nosync, self.port = os.path.join(folder, "bare.data"), nosync, lignum_port()

    def __enter__(self):
        words = [os.path.join(TOOLS, "bare"), str(self.port), self.path] + (["nosync"] if self.nosync else [])
        self.process = subprocess.Popen(words)
        lignum.wait_until(lambda: lignum.Connection(self.port).close() is None, what="bare listens")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.unlink(self.path)


def lignum_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def load(port, target, seconds, *options):
    words = [os.path.join(TOOLS, "load"), "--json", "-d", str(seconds), *options,
             "http://127.0.0.1:%d%s" % (port, target)]
    out = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 60)
    if out.returncode != 0:
        raise SystemExit("load failed: %s\n%s%s" % (" ".join(words), out.stdout, out.stderr))
    return json.loads(out.stdout)


class Row:
    """One line of the table. `prepare` fills the topic before the measured load."""

    def __init__(self, name, options, target="/v1/topics/t/messages", bare=None, settings=(), config="",
                 prepare=None, messages_each=1):
        self.name, self.options, self.target, self.bare = name, options, target, bare
        self.settings, self.config, self.prepare, self.each = settings, config, prepare, messages_each
        self.runs = []

    def run(self, seconds):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=os.path.join(ROOT, "build")) as folder:
            server = Bare(folder, self.bare == "nosync") if self.bare else \
                lignum.Broker(folder, config=self.config, set=self.settings)
            with server:
                if self.prepare:
                    self.prepare(server)
                before = cpu_of(server.process.pid)
                result = load(server.port, self.target, seconds, *self.options)
                result["server_us"] = (cpu_of(server.process.pid) - before) * 1e6 / result["requests"]
                self.runs.append(result)

    def median(self, key):
        return statistics.median(r[key] for r in self.runs)

    def rates(self):
        return [r["requests_per_s"] * self.each for r in self.runs]


def hundred_messages(server):
    for _ in range(20):
        server.publish_lines("t", [b"x" * 100] * 1000)


NDJSON_1000 = ["-b", "100", "-B", "1000", "-c", "8"]
READ = "/v1/topics/t/messages?from=10000&limit=100"


def rows():
    def publish(connections, **kw):
        return Row("publish 100 B, %d connections" % connections, ["-b", "100", "-c", str(connections)], **kw)
    hook = 'function on_publish(msg) end'
    decode = 'function on_publish(msg) local v = json.decode(msg.payload) if not v.a then return reject("a") end end'
    object_file = os.path.join(ROOT, "build", "bench-object.json")
    with open(object_file, "w") as f:
        f.write('{"a": 1, "b": "%s", "c": [1, 2, 3]}' % ("x" * 70))
    return [
        publish(1), publish(16), publish(64), publish(256),
        Row("bare, 64 connections", ["-b", "100", "-c", "64"], bare="sync"),
        Row("bare without fdatasync, 64", ["-b", "100", "-c", "64"], bare="nosync"),
        Row("durability interval, 64", ["-b", "100", "-c", "64"],
            config='topic "*" { durability = "interval" }'),
        Row("publish 1 KiB, 64", ["-b", "1024", "-c", "64"]),
        Row("publish through /api, 64", ["-f", api_file(), "-c", "64"], target="/api/message"),
        Row("on_publish that does nothing, 64", ["-b", "100", "-c", "64"], config=hook),
        Row("on_publish that decodes JSON, 64", ["-f", object_file, "-c", "64"], config=decode),
        Row("NDJSON batches of 1,000, 8", NDJSON_1000, messages_each=1000),
        Row("NDJSON batches of 100, 64", ["-b", "100", "-B", "100", "-c", "64"], messages_each=100),
        Row("1 MB bodies, 4", ["-b", "1000000", "-c", "4"]),
        Row("1,000 topics, 64", ["-b", "100", "-c", "64", "--topics", "1000"], target="/v1/topics/t%d/messages"),
        Row("read 100 as JSON, 16", ["-c", "16"], target=READ, prepare=hundred_messages, messages_each=100),
        Row("read 100 as NDJSON, 16", ["-c", "16", "-H", "Accept: application/x-ndjson"], target=READ,
            prepare=hundred_messages, messages_each=100),
        Row("read 100 as records, 16", ["-c", "16", "-H", "Accept: application/vnd.lignum.records"], target=READ,
            prepare=hundred_messages, messages_each=100),
    ]


def api_file():
    path = os.path.join(ROOT, "build", "bench-api.json")
    with open(path, "w") as f:
        json.dump({"topic": "t", "message": "x" * 100}, f)
    return path


def idle_figures():
    """Memory of an idle node, and from exec to the first answer, on an empty directory."""
    starts, rss, anon = [], 0, 0
    for _ in range(7):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=os.path.join(ROOT, "build")) as folder:
            b = lignum.Broker(folder, listen="127.0.0.1:%d" % lignum_port())
            began = time.monotonic()
            b.spawn()
            port = int(b.listen.rsplit(":", 1)[1])
            while True:
                try:
                    with lignum.Connection(port) as c:
                        c.request("GET", "/ping")
                    break
                except OSError:
                    pass
            starts.append((time.monotonic() - began) * 1000)
            rss, anon = b.status("VmRSS"), b.status("RssAnon")
            b.process.terminate()
            b.process.wait()
    return statistics.median(starts), rss, anon


def table(all_rows):
    lines = ["| row | messages/s | spread | p50 ms | p99 ms | server CPU us/request | load CPU us/request |",
             "|---|---:|---:|---:|---:|---:|---:|"]
    for r in all_rows:
        rates = r.rates()
        lines.append("| %s | %s | %s - %s | %.2f | %.2f | %.1f | %.1f |" % (
            r.name, "{:,.0f}".format(statistics.median(rates)), "{:,.0f}".format(min(rates)),
            "{:,.0f}".format(max(rates)), r.median("p50_us") / 1000, r.median("p99_us") / 1000,
            r.median("server_us"), r.median("cpu_us_per_request")))
    return lines


def ratio(all_rows, a, b):
    by_name = {r.name: r for r in all_rows}
    return statistics.median(x / y for x, y in zip(by_name[a].rates(), by_name[b].rates()))


RATIOS = [
    ("durable publish / bare program with fdatasync, 64 connections", "publish 100 B, 64 connections",
     "bare, 64 connections", 0.88),
    ("durability interval / bare program without fdatasync, 64 connections", "durability interval, 64",
     "bare without fdatasync, 64", None),
    ("1,000 topics / one topic", "1,000 topics, 64", "publish 100 B, 64 connections", 0.5),
]


def page(all_rows, seconds, rounds, idle):
    lines = [BEGIN, "", "%s, %d cores, Linux %s; %d rounds of %g s a row, in turn; server and load share the cores." % (
        cpu_name(), os.cpu_count(), platform.release(), rounds, seconds), ""]
    lines += table(all_rows)
    lines += ["", "| ratio, within a round | median | target |", "|---|---:|---:|"]
    for name, a, b, target in RATIOS:
        lines.append("| %s | %.2f | %s |" % (name, ratio(all_rows, a, b), target if target else ""))
    lines += ["", "| idle node, empty directory | measured | target |", "|---|---:|---:|",
              "| exec to first answer, median of 7 | %.1f ms | 20 ms |" % idle[0],
              "| RSS | %.1f MB | 12 MB |" % (idle[1] / 1024), "| RssAnon | %.1f MB | 4 MB |" % (idle[2] / 1024), "", END]
    return "\n".join(lines)


def cpu_name():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown CPU")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--only", help="rows whose name contains this; the page is not written")
    options.add_argument("--seconds", type=float, default=None)
    options.add_argument("--rounds", type=int, default=None)
    o = options.parse_args()
    seconds = o.seconds or (2 if o.quick else 4)
    rounds = o.rounds or (1 if o.quick else 3)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    chosen = [r for r in rows() if not o.only or o.only in r.name]
    for n in range(rounds):
        for r in chosen:
            r.run(seconds)
            print("round %d  %-40s %10.0f messages/s  %6.1f us/request" % (
                n + 1, r.name, r.rates()[-1], r.runs[-1]["server_us"]), flush=True)
    if o.only:
        print("\n".join(table(chosen)))
        return
    text = page(chosen, seconds, rounds, idle_figures())
    print(text)
    if not o.quick:
        with open(PAGE) as f:
            whole = f.read()
        with open(PAGE, "w") as f:
            f.write(whole.split(BEGIN)[0] + text + whole.split(END)[1])


if __name__ == "__main__":
    main()
