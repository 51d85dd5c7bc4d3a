"""Pages in a real Chromium against a node: what they can send, what they can read, and a name that becomes 127.0.0.1.

test_browsers.py sends the same requests by hand; this shows that a browser sends them in that form.
"""

import http.server
import json
import os
import shutil
import subprocess
import threading

import pytest

from certs import Authority
from common import ROOT

pytestmark = pytest.mark.skipif(not os.environ.get("LIGNUM_BROWSER"), reason="a browser is started by make test-browser only")


class Page(http.server.BaseHTTPRequestHandler):
    """An empty page."""

    def do_GET(self):
        body = b"<!doctype html><title>a page</title><body></body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    """site() serves an empty page on a port of 127.0.0.1 and returns the port."""
    servers = []

    def serve():
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_address[1]
    yield serve
    for s in servers:
        s.shutdown()
        s.server_close()


@pytest.fixture(scope="module")
def packages():
    p = subprocess.run([os.path.join(ROOT, "tests/npm"), os.path.join(ROOT, "tests/browser")], capture_output=True, text=True)
    if p.returncode != 0:
        pytest.skip(p.stderr.strip())
    return p.stdout.strip()


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium")
    if not path:
        pytest.skip("Chromium is not installed")
    return path


def test_pages_in_chromium_write_and_read_only_what_they_may(node, site, packages, chromium, folder):
    app, foreign = site(), site()
    pair = Authority(folder).issue("node")
    b = node(listen=None, config="""
        listen { "127.0.0.1:0", { address = "127.0.0.2:0", tls = { %s } } }
        cors { origins = { "http://app.test:%d" } }
        route.get("/own", function() topic("t"):append("by a GET") return 204 end)
    """ % (pair.lua, app))
    b.request("PUT", "/v1/topics/t")
    b.publish("t", b"window.stolen = 1")
    ports = {"plain": b.ports[0], "tls": b.ports[1], "app": app, "foreign": foreign}
    ran = subprocess.run(["node", "attack.mjs", chromium, json.dumps(ports)], cwd=packages, capture_output=True, text=True,
                         timeout=150)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(ran.stdout)

    tried = found["foreign"]
    assert tried["forms"] == {"text/plain": [403], "application/x-www-form-urlencoded": [403], "multipart/form-data": [403]}, tried
    assert tried["noCors"] == [403] and tried["link"] == [403], tried
    assert tried["beacon"] is True, tried                    # it was sent, and refused
    assert tried["image"] == "refused by the browser or the node", tried
    for name in ("cors", "put", "read", "script", "events"):
        assert str(tried[name]).startswith("refused: "), (name, tried)

    assert found["rebinding"] == {"read": 421, "write": 421, "own": 421}
    assert found["listed"] == {"post": 200, "read": "window.stolen = 1\nfrom the app\n", "error": "unknown_topic"}, found["listed"]
    assert found["own"] == {"page": 200, "read": 200}
    assert "ERR_CERT_AUTHORITY_INVALID" in str(found["secure"]["stranger"])
    assert (found["secure"]["trusting"], found["secure"]["protocol"]) == (200, "TLS 1.3")
    assert b.messages("t") == [b"window.stolen = 1", b"from the app"]
    assert b.get("/v1/topics/made").status == 404
