"""Durable Streams (doc/durable-streams.md): the protocol's own conformance tests, and what they do not ask.

    node(config=STREAMS), cluster(config=STREAMS)   serve the protocol
"""

import concurrent.futures
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading

import pytest

import balancer
from common import ROOT, wait_until

LONG_POLL = 2
STREAMS = """
durable_streams { long_poll = %d, webhook_networks = "127.0.0.0/8" }
cors { origins = "*" }
""" % LONG_POLL
JSON = {"Content-Type": "application/json"}
CORE, FORKS, SUBSCRIPTIONS = 250, 82, 6


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
    """All tests pass against each of the servers, at the same time: they name streams by the clock, so none may share data."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [pool.submit(suite, packages, url, os.path.join(folder, "suite%d.json" % i)) for i, url in enumerate(urls)]
    for url, run in zip(urls, runs):
        passed, failed = run.result()
        assert not failed, "%s:\n%s" % (url, failed)
        assert len(passed) >= CORE + FORKS + SUBSCRIPTIONS, "%s: only %d tests ran" % (url, len(passed))


def address(n):
    return "http://%s:%d" % (n.host, n.port)


def balanced(c):
    """Gives each request to the next node."""
    return balancer.Balancer([(n.host, n.port) for n in c.nodes])


def streams_cluster(cluster, mode, more="", **kw):
    rule = 'topic "stream.*" { replication = "%s"%s }\n' % (mode, ", copies = 2" if mode == "live" else "")
    return cluster(config=STREAMS + rule + more, **kw)


def test_conformance_on_a_node_and_through_a_balancer(node, cluster, packages, folder):
    """The balancer is before three nodes: what each answers must be no older than what any other one has acknowledged."""
    b, c = node(config=STREAMS), streams_cluster(cluster, "live")
    with balanced(c) as url:
        check_suites(packages, folder, [address(b), url])


if os.environ.get("LIGNUM_CONFORMANCE"):              # make conformance
    @pytest.mark.parametrize("through", ["leader", "follower", "balancer"])
    @pytest.mark.parametrize("mode", ["live", "wal"])
    def test_conformance_on_a_cluster(cluster, packages, folder, mode, through):
        c = streams_cluster(cluster, mode)
        with balanced(c) as url:
            urls = {"leader": address(c.leader()), "follower": address(c.followers()[0]), "balancer": url}
            check_suites(packages, folder, [urls[through]])


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


# ------------------------------------------------------------------------------------------- reads on any node

def test_a_frozen_old_leader_does_not_answer_stale(cluster):
    """It thaws while it still believes to lead, and within the lease: only the other members know better."""
    c = streams_cluster(cluster, "live")
    old = c.leader()
    old.ok("PUT", "/v1/stream/s", body=b"[1]", headers=JSON, status=201)
    old.freeze()
    new = c.wait_leader(besides=[old])
    wait_until(lambda: new.request("POST", "/v1/stream/s", body=b"[2]", headers=JSON).status == 204, what="the new leader appends")
    with old.connect() as conn:
        old.thaw()
        a = conn.request("GET", "/v1/stream/s")
    assert a.status == 503 or a.body == b"[1,2]", a
    wait_until(lambda: old.request("GET", "/v1/stream/s").body == b"[1,2]", what="the old leader follows")


def test_a_replaced_leader_refuses_no_append_by_its_own_log(cluster):
    c = streams_cluster(cluster, "live")
    old = c.leader()
    old.ok("PUT", "/v1/stream/s", body=b"[1]", headers=JSON, status=201)
    old.freeze()
    new = c.wait_leader(besides=[old])

    def numbered(seq):
        return dict(JSON, **{"Producer-Id": "p", "Producer-Epoch": "0", "Producer-Seq": str(seq)})
    wait_until(lambda: new.request("POST", "/v1/stream/s", body=b"[2]", headers=numbered(0)).status in (200, 204),
               what="the new leader appends")
    with old.connect() as conn:
        old.thaw()
        a = conn.request("POST", "/v1/stream/s", b"[3]", numbered(1))
    assert a.status in (200, 503, 504), a


def test_what_one_node_acknowledged_every_other_one_shows(cluster):
    """Of a wal topic followers get messages when they are due; a read through them has them sent at once."""
    c = streams_cluster(cluster, "wal")
    for i in range(60):
        a, b, d = c.nodes[i % 3], c.nodes[(i + 1) % 3], c.nodes[(i + 2) % 3]
        path = "/v1/stream/many/%d" % i
        a.ok("PUT", path, body=b"[0]", headers=JSON, status=201)
        b.ok("POST", path, body=b"[1]", headers=JSON, status=204)
        assert d.ok("GET", path).body == b"[0,1]"
        assert b.ok("DELETE", path, status=204)
        assert a.request("GET", path).status == 404
        assert d.request("HEAD", path).status == 404


# ------------------------------------------------------------------------------------------- the protocol's own client

READ = {"caught": list(range(100)), "live": {"long-poll": 101, "sse": 102}, "offset": "string", "refused": 409}


def test_the_client_of_the_protocol_works_in_node(node, packages):
    b = node(config=STREAMS)
    p = subprocess.run(["node", "client.mjs", address(b)], cwd=packages, capture_output=True, text=True, timeout=60)
    assert p.returncode == 0, p.stderr[-2000:]
    assert json.loads(p.stdout) == READ


class Page(http.server.SimpleHTTPRequestHandler):
    """The page, of an origin that is not the node's, and what it reports."""

    def do_GET(self):
        found = self.server.files.get(self.path.partition("?")[0])
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html" if self.path.startswith("/?") else "text/javascript")
        self.end_headers()
        self.wfile.write(found or b"")

    def do_POST(self):
        self.server.report = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


# A library that the client uses takes this one function of Node for granted; bundlers supply it.
PAGE = b"""<!doctype html><script>globalThis.process = { nextTick: (f) => queueMicrotask(f) }</script><script type="module">
import { use } from "./client.js"
const report = await use(new URLSearchParams(location.search).get("node")).then(JSON.stringify, (e) => "failed: " + e.stack)
await fetch("/report", { method: "POST", body: report })
</script>"""


def test_the_client_of_the_protocol_works_in_a_page(node, packages, folder):
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("there is no chromium in PATH")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    origin = "http://127.0.0.1:%d" % server.server_address[1]
    b = node(config="durable_streams { long_poll = %d }\ncors { origins = { \"%s\" } }" % (LONG_POLL, origin))
    bundle = os.path.join(folder, "client.js")
    p = subprocess.run(["node_modules/.bin/rolldown", "client.mjs", "--file", bundle, "--format", "esm", "--platform", "browser"],
                       cwd=packages, capture_output=True, text=True, timeout=60)
    assert p.returncode == 0, p.stdout + p.stderr
    server.report = None
    with open(bundle, "rb") as f:
        server.files = {"/": PAGE, "/client.js": f.read()}
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    browser = subprocess.Popen([chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                                "--user-data-dir=" + os.path.join(folder, "profile"), "%s/?node=%s" % (origin, address(b))],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until(lambda: server.report is not None, 60, "the page reports")
    finally:
        os.killpg(browser.pid, signal.SIGKILL)       # of its own session: only what it has started
        browser.wait()
        server.shutdown()
        server.server_close()
    assert server.report[:1] == "{", server.report
    assert json.loads(server.report) == READ
