#!/usr/bin/env python3
"""Instructions a request: `make bench-instructions`, about two minutes, needs valgrind.

Runs a node under callgrind, sends it two loads of different length, and prints the difference divided by the difference
in requests: user space only, without start-up. Times on a shared machine are noise, instructions are not: two runs of
one binary differ by about 50 for a publish, because Lua seeds its hashes differently in each process.

    tests/bench/instructions.py [--only WORD] [BINARY [BINARY]]

With two binaries it measures each and prints their ratio. Without one it takes build/release/lignum.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOAD = os.path.join(ROOT, "build/release/tests/bench/load")
START_S = 60                   # a node under valgrind takes some seconds

PUBLISH = ["-c", "64", "-b", "100"]
HOOK = 'function on_publish(msg) end\n'
CONTEXT = 'function on_publish(msg, ctx) if ctx.user == "nobody" or ctx.route == "" then return reject("no") end end\n'
MESSAGE = ["-c", "64", "-f", os.path.join(ROOT, "tests/bench/message.json")]
API = ["-c", "64", "-f", os.path.join(ROOT, "tests/bench/api.json")]
DECODE = 'function on_publish(msg) if not json.decode(msg.payload).a then return reject("no a") end end\n'

STREAM = ["-c", "64", "-m", "POST", "-H", "Content-Type: application/json", "-f", os.path.join(ROOT, "tests/bench/message.json")]
STREAMS = "durable_streams {}\n"

# What is measured: name, more of lignum.lua, path, options of the load, requests of the short and of the long load.
LOADS = [
    ("publish, 64 connections", "", "/v1/topics/t/messages", PUBLISH, (4000, 16000)),
    ("append to a stream, 64 connections", STREAMS, "/v1/stream/s", STREAM, (4000, 16000)),
    ("publish through /api, 64 connections", "", "/api/message", API, (4000, 16000)),
    ("publish, idempotent producers", "", "/v1/topics/t/messages", PUBLISH + ["-P"], (4000, 16000)),
    ("publish, empty on_publish", HOOK, "/v1/topics/t/messages", PUBLISH, (4000, 16000)),
    ("publish, on_publish that looks at ctx", CONTEXT, "/v1/topics/t/messages", PUBLISH, (4000, 16000)),
    ("publish, on_publish that decodes JSON", DECODE, "/v1/topics/t/messages", MESSAGE, (4000, 16000)),
    ("publish, 1,000 topics", "", "/v1/topics/t%d/messages", PUBLISH + ["-T", "1000"], (4000, 16000)),
    ("read 100, JSON", "", "/v1/topics/t/messages?from=0&limit=100", ["-c", "1"], (500, 2000)),
    ("read 100, records", "", "/v1/topics/t/messages?from=0&limit=100",
     ["-c", "1", "-H", "Accept: application/vnd.lignum.records"], (500, 2000)),
]


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def load(words, url):
    out = subprocess.run([LOAD, "--json", *words, url], capture_output=True, text=True, timeout=600)
    if out.returncode != 0:
        raise RuntimeError("%s\n%s%s" % (" ".join(words), out.stdout, out.stderr))


def run(binary, config, path, options, requests):
    """Instructions of one whole process that answers that many requests."""
    with tempfile.TemporaryDirectory(prefix="instructions-", dir=os.path.join(ROOT, "build")) as folder:
        port, out = free_port(), os.path.join(folder, "callgrind")
        file = os.path.join(folder, "lignum.lua")
        with open(file, "w") as f:
            f.write(config)
        words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out, binary, "serve", "-c", file, "--data",
                 os.path.join(folder, "data"), "--listen", "127.0.0.1:%d" % port, "--console", os.path.join(folder, "console")]
        with open(os.path.join(folder, "log"), "w+") as log:
            node = subprocess.Popen(words, stdout=log, stderr=log)
            try:
                url = "http://127.0.0.1:%d" % port
                end = time.monotonic() + START_S
                while True:
                    try:
                        urllib.request.urlopen(url + "/readyz", timeout=5).read()
                        break
                    except OSError:
                        if time.monotonic() > end or node.poll() is not None:
                            log.seek(0)
                            raise RuntimeError("no node: " + log.read())
                        time.sleep(0.05)
                if "limit=" in path:           # something to read
                    load(["-c", "1", "-n", "20", "-b", "100", "-B", "100", "-H", "Content-Type: application/x-ndjson"],
                         url + "/v1/topics/t/messages")
                if "/stream/" in path:         # it has to be there
                    urllib.request.urlopen(urllib.request.Request(url + path, method="PUT", headers={"Content-Type": "application/json"}))
                load(options + ["-n", str(requests)], url + path)
            finally:
                node.send_signal(signal.SIGTERM)
                node.wait(START_S)
        with open(out) as f:
            return int(re.search(r"(?m)^(?:summary|totals): (\d+)", f.read()).group(1))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("binaries", nargs="*", default=[os.path.join(ROOT, "build/release/lignum")])
    p.add_argument("--only", default="", help="loads whose name contains this")
    o = p.parse_args()
    print("| load | %s |%s" % (" | ".join(os.path.relpath(b) for b in o.binaries), " ratio |" if len(o.binaries) == 2 else ""))
    for name, config, path, options, (short, long) in LOADS:
        if o.only not in name:
            continue
        each = [(run(b, config, path, options, long) - run(b, config, path, options, short)) / (long - short)
                for b in o.binaries]
        ratio = " %.3f |" % (each[1] / each[0]) if len(each) == 2 else ""
        print("| %s | %s |%s" % (name, " | ".join("{:,.0f}".format(n) for n in each), ratio), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
