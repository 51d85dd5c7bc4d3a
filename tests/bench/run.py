#!/usr/bin/env python3
"""The figures of doc/performance.md: `make bench`, about 15 minutes; `make bench-quick` (--quick) takes 3.

A round starts each server in turn on a directory under build/ (tests/bench/peers.py), runs that server's rows on it
(tests/bench/rows.py) and ends it; there are several rounds, so that a change of the machine's speed hits all of
them. Medians and spread are over the rounds; ratios are taken within a round (tests/bench/targets.py). Rows of other
latencies of the disk are in sweep.py. One load program (load.c) speaks to all. Figures that are taken once, of memory
and starting, come last (once.py).

Exit code: 0; 1 when no round of this run met some target.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import once
import peers
import plot
import rows
import sweep
import targets

PAGE = os.path.join(peers.ROOT, "doc/performance.md")
BEGIN, END = "<!-- figures: made by make bench -->", "<!-- end of figures -->"
QUIET = 0.08


# ------------------------------------------------------------------------------------------- running

def folder_here():
    return tempfile.TemporaryDirectory(prefix="bench-", dir=os.path.join(peers.ROOT, "build"))


def run_row(row, server, seconds):
    """One measured load; its figures, with the CPU time a message (or MB) of server and load."""
    if row.prepare:
        row.prepare(server)
    before = server.cpu()
    result = row.tool(row, server, seconds)
    result["rate"] = result[row.rate] if row.rate else result["requests_per_s"] * row.each
    count = result["rate"] * result["seconds"] or 1
    result["server_us"] = (server.cpu() - before) * 1e6 / count
    result["load_us"] = result.get("cpu_us_per_request", 0) * result["requests"] / count
    return result


def run_round(number, chosen, seconds):
    """All rows once: {row's name: figures}."""
    found = {}
    for kind in rows.servers(chosen):
        if kind.missing():
            continue
        with folder_here() as folder, kind(folder) as server:
            for row in (r for r in chosen if r.kind is kind):
                try:
                    r = found[row.name] = run_row(row, server, seconds)
                except (RuntimeError, OSError, subprocess.SubprocessError) as e:
                    print("round %d  %-52s failed: %s" % (number, row.name, e), flush=True)
                    continue
                print("round %d  %-52s %11.0f/s  %7.2f us server  %6.2f us load" % (
                    number, row.name, r["rate"], r["server_us"], r["load_us"]), flush=True)
    return found


def run_limits(seconds):
    with folder_here() as folder:
        out = subprocess.run([os.path.join(peers.TOOLS, "limits"), folder, str(seconds)], capture_output=True,
                             text=True, check=True)
    limits = json.loads(out.stdout)
    print("limits   " + "  ".join("%s %.0f" % pair for pair in limits.items()), flush=True)
    return limits


# ------------------------------------------------------------------------------------------- report

def middle(rounds, name, key):
    values = [r[name][key] for r in rounds if name in r]
    return statistics.median(values) if values else None


def cpu_name():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown CPU")


def file_system(path):
    out = subprocess.run(["df", "--output=source,fstype", path], capture_output=True, text=True).stdout.split()
    return "%s on %s" % (out[-1], out[-2]) if len(out) >= 4 else "unknown"


def cpu_use():
    """CPU seconds so far: of the machine, and of this run and the processes that have ended."""
    with open("/proc/stat") as f:
        ticks = [int(n) for n in f.readline().split()[1:]]
    idle, stolen = ticks[3] + ticks[4], ticks[7]
    return (sum(ticks[:7]) - idle + stolen) / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4]), time.monotonic()


def others_share(before):
    """The share of the machine that other processes had since then, kernel threads included."""
    machine, ours, now = (b - a for a, b in zip(before, cpu_use()))
    return max(0.0, (machine - ours) / now / os.cpu_count())


def machine(o, others):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    words = "%s: %s, %d cores shared by server and load, %.0f GiB of memory, Linux %s, %s. %d rounds of %g s a row." % (
        datetime.date.today().isoformat(), cpu_name(), os.cpu_count(), memory, platform.release(),
        file_system(os.path.join(peers.ROOT, "build")), o.rounds, o.seconds)
    if others > QUIET:
        words += " **Not quiet: other processes used %.0f %% of the CPUs.**" % (100 * others)
    return [words, ""]


def server_table(chosen):
    lines = ["| server | version | settings |", "|---|---|---|"]
    for kind in rows.servers(chosen):
        version = "**skipped: not here**" if kind.missing() else kind.version()
        lines.append("| %s | %s | %s |" % (kind.name, version, kind.settings))
    return lines + [""]


def row_line(rounds, row):
    rates = [r[row.name]["rate"] for r in rounds if row.name in r]
    if not rates:
        return "| %s | skipped | | | | | |" % row.name
    of = {key: middle(rounds, row.name, key) for key in ("p50_us", "p99_us", "server_us", "load_us")}
    return "| %s | %s | %s - %s | %.2f | %.2f | %.2f | %.2f |" % (
        row.name, "{:,.0f}".format(statistics.median(rates)), "{:,.0f}".format(min(rates)),
        "{:,.0f}".format(max(rates)), of["p50_us"] / 1e3, of["p99_us"] / 1e3, of["server_us"], of["load_us"])


def row_tables(rounds, chosen):
    lines = []
    for title in dict.fromkeys(r.title for r in chosen):
        lines += ["### %s" % title, "", "| row | a second | spread | p50 ms | p99 ms | server us each | load us each |", "|---|---:|---:|---:|---:|---:|---:|"]
        lines += [row_line(rounds, r) for r in chosen if r.title == title] + [""]
    return lines


def limit_table(rounds):
    words = {
        "fdatasync_4k_per_s": "write of 4 KiB and fdatasync, one after another, /s",
        "disk_1m_mb_per_s": "write of 1 MiB and fdatasync, MB/s",
        "cold_read_mb_per_s": "sequential read past the page cache, MB/s",
        "sendfile_64k_mb_per_s": "sendfile of 64 KiB pieces over loopback, MB/s",
        "sendfile_1m_mb_per_s": "sendfile of 1 MiB pieces over loopback, MB/s",
        "asked_64k_mb_per_s": "the same, each of 64 KiB asked for when the last has been read, MB/s",
        "asked_1m_mb_per_s": "the same of 1 MiB, MB/s",
        "asked_8m_mb_per_s": "the same of 8 MiB, MB/s",
        "round_trips_1_per_s": "200 bytes there and back, 1 connection, /s",
        "round_trips_64_per_s": "200 bytes there and back, 64 connections, one thread a side, /s",
    }
    lines = ["### Limits of this machine, in the same rounds", "", "| limit | median | spread |", "|---|---:|---:|"]
    for key, text in words.items():
        values = [r["limits"][key] for r in rounds]
        lines.append("| %s | %s | %s - %s |" % (text, *("{:,.0f}".format(v) for v in (
            statistics.median(values), min(values), max(values)))))
    return lines + [""]


def target_table(outcomes):
    lines = ["### Targets", "", "| target | median | spread | wanted | |", "|---|---:|---:|---:|---|"]
    for t in outcomes:
        lines.append("| %s | %s | %s | %s | %s |" % (t.text, t.median(), t.spread(), t.wanted(), t.verdict()))
    return lines + [""]


def page(o, rounds, chosen, outcomes, points, singles, busy):
    lines = [BEGIN, ""] + machine(o, busy) + target_table(outcomes)
    lines += ["![Durable publish, 64 connections](performance-publish.svg)", "",
              "![Batches and reads](performance-batch.svg)", ""]
    others = [r for r in chosen if r.title != sweep.TITLE]
    lines += row_tables(rounds, others) + sweep.table(points) + limit_table(rounds)
    lines += singles + ["### Servers", ""] + server_table(others)
    lines += ["Three nodes, and etcd with three nodes: see below.", "", END]
    return "\n".join(lines)


def write_plots(rounds):
    def bars(names):
        found = []
        for label, name in names:
            rates = [r[name]["rate"] for r in rounds if name in r]
            if rates:
                found.append((label, statistics.median(rates), min(rates), max(rates)))
        return found
    for file, title, names in rows.PLOTS:
        with open(os.path.join(peers.ROOT, "doc", file), "w") as f:
            f.write(plot.bars(title, bars(names)))


def write_page(text):
    with open(PAGE) as f:
        whole = f.read()
    with open(PAGE, "w") as f:
        f.write(whole.split(BEGIN)[0] + text + whole.split(END)[1])


# ------------------------------------------------------------------------------------------- main

def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="main ratios against Redis and the limits; no page")
    p.add_argument("--only", help="rows whose name contains this; no page")
    p.add_argument("--seconds", type=float, help="of each row (2; quick 1)")
    p.add_argument("--rounds", type=int, help="(4; quick 3)")
    p.add_argument("--history", type=float, default=10, help="GB of the longest start (10)")
    o = p.parse_args()
    o.seconds = o.seconds or (1 if o.quick else 2)
    o.rounds = o.rounds or (3 if o.quick else 4)
    return o


def main():
    o = options()
    before = cpu_use()
    chosen = [r for r in rows.ROWS + sweep.ROWS if (r.quick or not o.quick) and (not o.only or o.only in r.name)]
    for kind in rows.servers(chosen):
        if kind.missing():
            print("skipped: %s (%s) is not here" % (kind.name, kind.settings))
    rounds = []
    for n in range(o.rounds):
        limits = {} if o.only else run_limits(o.seconds / 2)
        rounds.append(dict(run_round(n + 1, chosen, o.seconds), limits=limits))
    if o.only:
        return 0
    whole = not o.quick
    singles, once_figures = once.measure(folder_here, o.history) if whole else ([], {})
    outcomes = targets.judge(rounds, once_figures, known_only=o.quick)
    points = sweep.judge(rounds)
    by_row = [t for p in points for t in (p.redis, p.bare)]
    for t in outcomes + by_row:
        print("%-66s %9s  %s %s" % (t.text, t.median(), t.wanted(), t.verdict()))
    others = others_share(before)
    print("other processes used %.0f %% of the CPUs%s" % (100 * others, ": not quiet" if others > QUIET else ""))
    if whole:
        write_page(page(o, rounds, chosen, outcomes, points, singles, others))
        write_plots(rounds)
    return 1 if any(t.missed() for t in outcomes + by_row) else 0


if __name__ == "__main__":
    sys.exit(main())
