"""Durable Streams (doc/durable-streams.md): the protocol's own conformance tests, and what they do not ask.

    node(config=STREAMS), cluster(config=STREAMS)   serve the protocol
"""

import concurrent.futures
import json
import os
import subprocess

import pytest

from common import ROOT

LONG_POLL = 2
STREAMS = """
durable_streams { long_poll = %d }
cors { origins = "*" }
""" % LONG_POLL
JSON = {"Content-Type": "application/json"}
CORE, FORKS = 250, 82


@pytest.fixture(scope="module")
def packages():
    """The folder of the conformance tests with their packages installed."""
    p = subprocess.run([os.path.join(ROOT, "tests/npm"), os.path.join(ROOT, "tests/conformance")], capture_output=True, text=True)
    if p.returncode != 0:
        pytest.skip(p.stderr.strip())
    return p.stdout.strip()


def suite(packages, url, out):
    """Runs the conformance tests against a server; returns the names of those that passed, and a text of those that did not."""
    env = dict(os.environ, STREAMS_URL=url, STREAMS_LONG_POLL_MS=str(LONG_POLL * 1000))
    p = subprocess.run(["node", "node_modules/vitest/vitest.mjs", "run", "--reporter=json", "--outputFile=" + out], cwd=packages,
                       env=env, capture_output=True, text=True, timeout=170)
    if not os.path.exists(out):
        raise AssertionError("the tests did not run:\n" + p.stdout[-2000:] + p.stderr[-2000:])
    with open(out) as f:
        tests = [t for file in json.load(f)["testResults"] for t in file["assertionResults"]]
    failed = ["%s: %s" % (t["fullName"], (t["failureMessages"] or [""])[0][:300]) for t in tests if t["status"] == "failed"]
    return [t["fullName"] for t in tests if t["status"] == "passed"], "\n".join(failed)


def check_suites(packages, folder, urls):
    """All tests pass against each of the servers, at the same time."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [pool.submit(suite, packages, url, os.path.join(folder, "suite%d.json" % i)) for i, url in enumerate(urls)]
    for url, run in zip(urls, runs):
        passed, failed = run.result()
        assert not failed, "%s:\n%s" % (url, failed)
        assert len(passed) >= CORE + FORKS, "%s: only %d tests ran" % (url, len(passed))


def test_conformance_on_a_node(node, packages, folder):
    b = node(config=STREAMS)
    check_suites(packages, folder, ["http://127.0.0.1:%d" % b.port])


# ------------------------------------------------------------------------------------------- what /v1 may do

def test_clients_cannot_forge_streams(node):
    b = node(config=STREAMS + 'function on_publish(m) if m.payload == "reroute" then m.topic = "stream.a" end end')
    b.ok("PUT", "/v1/stream/a", body=b"[1]", headers=JSON, status=201)
    for method, path, body in [("POST", "/v1/topics/stream.a/messages", b"x"), ("POST", "/v1/topics/stream.new/messages", b"x"),
                               ("DELETE", "/v1/topics/stream.a", None), ("PATCH", "/v1/topics/stream.a", b'{"copies":1}'),
                               ("PUT", "/v1/topics/stream.b", b""), ("POST", "/v1/topics/t/messages", b"reroute"),
                               ("POST", "/v1/topics/stream.a/messages", b'[{"data":"x"}]')]:
        headers = JSON if body and body[:1] in b"{[" else {}
        a = b.request(method, path, body=body, headers=headers)
        assert (a.status, a.json["code"]) == (403, "forbidden"), (method, path, a)
        assert "/v1/stream/" in a.json["detail"]
    for path, body in [("/api/message", b'{"topic":"stream.a","message":"x"}'), ("/api/topics", b'{"name":"stream.c"}')]:
        a = b.request("POST", path, body=body, headers=JSON)
        assert (a.status, a.json["code"]) == (403, "forbidden"), (path, a)
    assert b.ok("GET", "/v1/stream/a").body == b"[1]"
    assert b.ok("GET", "/v1/topics/stream.a/messages?raw=1").body == b"1\n"
