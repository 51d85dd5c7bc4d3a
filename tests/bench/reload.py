#!/usr/bin/env python3
"""How long a reload takes: of an empty lignum.lua, of one with 1,000 lines that do nothing, and of one with 1,000 routes.

    tests/bench/reload.py [--rounds N] [BINARY...]

The files take turns in each round, and so do the binaries, because the machine is shared. Prints the median, the least and
the most milliseconds, from node.reload() to its outcome in the console.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CODE = "local began = time.clock() assert(node.reload()) print((time.clock() - began) * 1000)"
FILES = {
    "empty": "",
    "1,000 lines": "".join("do local function f(msg) return msg.payload == %d end f {} end\n" % i for i in range(1000)),
    "1,000 routes": "".join('route.get("/own/%d/{id}", function(req) return 200, req.params.id end)\n' % i for i in range(1000)),
}


class Node:
    def __init__(self, binary, folder):
        os.makedirs(folder)
        self.binary, self.file, self.console = binary, os.path.join(folder, "lignum.lua"), os.path.join(folder, "console")
        self.write("")
        self.log = open(os.path.join(folder, "log"), "w+")
        self.process = subprocess.Popen([binary, "serve", "-c", self.file, "--listen", "127.0.0.1:0", "--scripts",
                                         os.path.join(ROOT, "scripts"), "--data", os.path.join(folder, "data"), "--console",
                                         self.console], stderr=self.log)
        for _ in range(500):
            if os.path.exists(self.console):
                return
            time.sleep(0.01)
        raise RuntimeError("the node does not start: " + open(self.log.name).read())

    def write(self, text):
        with open(self.file, "w") as f:
            f.write(text)

    def reload_ms(self, text):
        self.write(text)
        out = subprocess.run([self.binary, "console", self.console, "-e", CODE], capture_output=True, text=True, timeout=60)
        if out.returncode != 0:
            raise RuntimeError(out.stdout + out.stderr)
        return float(out.stdout.split()[0])

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("binaries", nargs="*", default=[os.path.join(ROOT, "build/release/lignum")])
    p.add_argument("--rounds", type=int, default=25)
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="reload-") as folder:
        nodes = [Node(b, os.path.join(folder, str(i))) for i, b in enumerate(o.binaries)]
        try:
            times = {}
            for _ in range(o.rounds):
                for name, text in FILES.items():
                    for node in nodes:
                        times.setdefault((name, node.binary), []).append(node.reload_ms(text))
        finally:
            for node in nodes:
                node.stop()
    print("| lignum.lua | binary | median, ms | least | most |\n|---|---|---:|---:|---:|")
    for (name, binary), each in times.items():
        print("| %s | %s | %.0f | %.0f | %.0f |" % (name, os.path.relpath(binary, ROOT), statistics.median(each), min(each),
                                                  max(each)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
