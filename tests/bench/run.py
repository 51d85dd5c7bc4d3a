#!/usr/bin/env python3
"""The figures of doc/performance.md and doc/performance/rows.md (pages.py): `make bench`, about 15 minutes;
`make bench-quick` (--quick) takes 3.

A round starts each server in turn on a directory under build/ (tests/bench/peers.py), runs that server's rows on it
(tests/bench/rows.py) and ends it; there are several rounds, so that a change of the machine's speed hits all of
them. Medians and spread are over the rounds; ratios are taken within a round (tests/bench/targets.py). Rows of other
latencies of the disk are in sweep.py. One load program (load.c) speaks to all. Figures that are taken once, of memory
and starting, come last (once.py).

Exit code: 0; 1 when no round of this run met some target.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import once
import pages
import peers
import rows
import sweep
import targets


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
    print("other processes used %.0f %% of the CPUs%s" % (100 * others, ": not quiet" if others > pages.QUIET else ""))
    if whole:
        pages.write(o, rounds, chosen, outcomes, points, singles, others)
    return 1 if any(t.missed() for t in outcomes + by_row) else 0


if __name__ == "__main__":
    sys.exit(main())
