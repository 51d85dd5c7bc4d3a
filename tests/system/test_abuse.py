"""Hostile files in the place of lignum.lua (tests/abuse): whatever they do, the broker goes on, and a reload cures it.

The first lines of such a file say what is sent to it meanwhile, and what works meanwhile besides health checks and the
console.
"""

import glob
import os
import re
import threading
import time

import pytest

from common import ROOT, SANITIZED, running

FILES = sorted(glob.glob(os.path.join(ROOT, "tests", "abuse", "*.lua")))
SECONDS = 1
SLOW = 15 if SANITIZED else 5               # seconds, for a health check

WORKS = {
    "reads": lambda b: b.messages("kept") == [b"kept"],
    "metrics": lambda b: b.get("/metrics").status == 200,
    "publishes": lambda b: b.post("/v1/topics/mine/messages", b"x").status == 200,
}


def header(text, name):
    return re.search(r"^-- %s: *(.*)$" % name, text, re.M).group(1)


def sender(b, method, path, stop):
    """Sends a request again and again, whatever the answers are, or whether there are any."""
    def send():
        while not stop.is_set():
            try:
                b.request(method, path, b"hello" if method == "POST" else None, timeout=2)
            except (AssertionError, OSError):
                time.sleep(0.01)
    return send


@pytest.mark.parametrize("path", FILES, ids=[os.path.basename(path)[:-4] for path in FILES])
def test_a_hostile_file_stops_nothing_but_itself(node, path):
    with open(path) as f:
        text = f.read()
    b = node(set=["limits.script_memory=%d" % (32 << 20), "limits.script_time=0.2"])
    b.publish("kept", b"kept")
    b.write_config(text)
    b.reload()
    stop = threading.Event()
    sends = [request.split(" ") for request in header(text, "sends").split(", ") if request]
    with running(*[sender(b, *request, stop) for request in sends * 2]):
        try:
            till = time.monotonic() + SECONDS
            while time.monotonic() < till:
                began = time.monotonic()
                assert b.get("/healthz").status == 200
                assert time.monotonic() - began < SLOW
                for what in header(text, "works").split():
                    assert WORKS[what](b), what
            assert b.lua("return 6 * 7") == "42"
            b.write_config("")
            b.reload()
        finally:
            stop.set()
    assert b.messages("kept") == [b"kept"] and b.get("/readyz").status == 200
    assert b.publish("after", b"x")
