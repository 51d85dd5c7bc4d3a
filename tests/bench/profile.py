#!/usr/bin/env python3
"""Where the time goes: `make bench-profile`, about a minute and a half, needs perf (Debian's linux-perf).

Runs rows of the bench (rows.py) on a node of their own each, samples the node meanwhile, and prints the table of
doc/performance/profile.md: the share of the node's CPU time, in percent. What the kernel does is told apart by the system call
that it was asked by.
"""

import argparse
import collections
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import peers
import rows

COLUMNS = [
    ("publish, commit", "Lignum: 100 B, 64 connections"), ("16 connections", "Lignum: 100 B, 16 connections"),
    ("publish, interval", "Lignum interval: 100 B, 64 connections"),
    ("batches of 1,000", "Lignum: 1000 x 100 B, 8 connections"), ("1 MB bodies", "Lignum: 1 MB bodies, 4 connections"),
    ("1,000 topics", "Lignum: 1,000 topics"), ("read 100, JSON", "Lignum: 100 from the tail, JSON"),
    ("read 100, records", "Lignum: 100 from the tail, records"),
    ("records, 64 KiB", "Lignum: pieces of 64 KiB, 1 connection"),
    ("records, 8 MiB", "Lignum: pieces of 8 MiB, 1 connection"), ("fan-out", "Lignum: fan-out to 1,000 readers"),
]

CALLS = {
    "send, sendmsg, sendfile": ("sendto", "sendmsg", "sendfile64", "writev"),
    "recv, epoll": ("recvfrom", "recvmsg", "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "accept4"),
    "pwrite": ("pwrite64", "fallocate"),
    "fdatasync, syncfs": ("fdatasync", "fsync", "syncfs"),
    "futex, eventfd (waking the disk thread and back)": ("futex", "read", "write", "poll"),
    "open, close, pread": ("openat", "close", "pread64", "fcntl", "newfstat", "newfstatat", "unlink", "rename"),
    "page faults, brk": ("brk", "mmap", "munmap", "madvise"),
}
REST = "the rest"
OF_CALL = {prefix + name: "kernel: " + label for label, names in CALLS.items() for name in names
           for prefix in ("__x64_sys_", "__sys_")}
OF_OBJECT = {"liblua5.4.so": "Lua", "libc.so": "libc", "lignum": "Lignum's own C"}
LINES = ["kernel: " + label for label in (*CALLS, REST)] + ["Lua", "libc", "libevent and others", "Lignum's own C"]


def line_of(stack):
    """The line of a sample, which is [(symbol, object)] from the innermost frame outwards."""
    symbol, where = stack[0]
    if where.startswith("[") and where != "[vdso]":
        for symbol, _ in stack:
            if symbol in OF_CALL:
                return OF_CALL[symbol]
            if "page_fault" in symbol:
                return "kernel: page faults, brk"
        return "kernel: " + REST
    return next((line for name, line in OF_OBJECT.items() if os.path.basename(where).startswith(name)),
                "libevent and others")


def stacks(path):
    """The samples that perf has recorded."""
    words = ["perf", "script", "-i", path, "-F", "ip,sym,dso"]
    stack = []
    for line in subprocess.run(words, capture_output=True, text=True).stdout.splitlines() + [""]:
        fields = line.split()
        if len(fields) >= 3:
            stack.append((fields[1].split("+")[0], fields[-1].strip("()") if fields[-1] != "([vdso])" else "[vdso]"))
        elif not fields and stack:
            yield stack
            stack = []


def profile(row, seconds):
    """{line: samples} of the node while the row runs on it."""
    with tempfile.TemporaryDirectory(prefix="profile-", dir=os.path.join(peers.ROOT, "build")) as folder, \
            row.kind(folder) as server:
        if row.prepare:
            row.prepare(server)
        data = os.path.join(folder, "perf.data")
        load = threading.Thread(target=row.tool, args=(row, server, seconds + 1))
        load.start()
        time.sleep(0.5)
        subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-g", "-o", data, "-p",
                        str(server.process.pid), "--", "sleep", str(seconds)], check=True, stderr=subprocess.DEVNULL)
        load.join()
        return collections.Counter(line_of(s) for s in stacks(data))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=float, default=4, help="of each load (4)")
    p.add_argument("--only", default="", help="columns whose name contains this")
    o = p.parse_args()
    if shutil.which("perf") is None:
        print("skipped: perf is not here (Debian's linux-perf)")
        return 0
    by_name = {r.name: r for r in rows.ROWS}
    chosen = [(title, by_name[name]) for title, name in COLUMNS if o.only in title]
    found = [profile(row, o.seconds) for _, row in chosen]
    print("| | %s |\n|---|%s" % (" | ".join(title for title, _ in chosen), "---:|" * len(chosen)))
    for line in LINES:
        shares = [100 * counts[line] / max(1, sum(counts.values())) for counts in found]
        print("| %s | %s |" % (line, " | ".join("%.0f" % s if s >= 0.5 else "-" for s in shares)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
