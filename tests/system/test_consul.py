"""scripts/lignum/consul.lua against a real Consul, and against what is not one."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from lignum import LIBC, PATIENCE, PR_SET_PDEATHSIG, ROOT, Connection, Test, in_threads, wait_until

PRELUDE = """
local consul = require "lignum.consul"
local c = consul.new { address = { %s }, tls = {} }
"""


class Agent:
    """A Consul of one agent that keeps nothing."""

    def __init__(self, folder):
        p = subprocess.run([os.path.join(ROOT, "tests/consul")], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if p.returncode != 0:
            raise unittest.SkipTest(p.stderr.strip())
        self.program, self.log = p.stdout.strip(), os.path.join(folder, "consul.log")

    @staticmethod
    def ports(n):
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
        ports = [s.getsockname()[1] for s in sockets]
        for s in sockets:
            s.close()
        return ports

    def start(self, *more):
        self.port, server, lan, wan = self.ports(4)
        self.address = "127.0.0.1:%d" % self.port
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "agent", "-dev", "-bind=127.0.0.1", "-node=consul", "-log-level=warn", "-dns-port=-1",
                 "-grpc-port=-1", "-http-port=%d" % self.port, "-server-port=%d" % server,
                 "-serf-lan-port=%d" % lan, "-serf-wan-port=%d" % wan, *more],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        wait_until(lambda: self.request("PUT", "/v1/kv/works", b"1") == (200, b"true"), what="Consul works")
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def request(self, method, path, body=None):
        """(status, body); (0, b"") when nobody answers."""
        try:
            with Connection(self.port) as c:
                a = c.request(method, path, body)
                return a.status, a.body.strip()
        except OSError:
            return 0, b""


class Stranger:
    """Answers every request with the same bytes, or with what a function makes of it, and keeps what it was asked."""

    def __init__(self, status=200, body=b"", headers=(), answer=None):
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def any(self):
                n = int(self.headers.get("content-length") or 0)
                asked.append((self.command, self.path, dict(self.headers), self.rfile.read(n)))
                code, content, more = answer(self.path) if answer else (status, body, headers)
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                for name, value in more:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            do_GET = do_PUT = do_DELETE = any

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = "127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class ConsulTest(Test):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="lignum-", dir=os.environ.get("LIGNUM_TMP"))
        cls.addClassCleanup(shutil.rmtree, folder, True)
        cls.consul = Agent(folder).start()
        cls.addClassCleanup(cls.consul.kill)
        cls.b = cls.share()

    def run_lua(self, code, *addresses):
        """What the code's results look like in the console; `c` is a client."""
        prelude = PRELUDE % ", ".join('"%s"' % a for a in addresses or [self.consul.address])
        ran = self.b.lignum("console", self.b.console, "-e", " ".join((prelude + code).split("\n")))
        self.assertEqual(ran.code, 0, ran)
        return ran.out.strip()

    def check(self, code, want, *addresses):
        self.assertEqual(self.run_lua(code, *addresses), want)

    # -- with a real one

    def test_values_come_back_byte_for_byte(self):
        self.check("""c:write("t/bytes", "a\\0\\255\\nb", {}) local s = c:read("t/bytes", {})
            return s.keys[1].value == "a\\0\\255\\nb", #s.keys""", "true, 1")

    def test_an_empty_value_and_no_key_are_two_things(self):
        self.check("""c:write("t/empty", "", {}) return #c:read("t/empty", {}).keys, c:read("t/empty", {}).keys[1].value,
            #c:read("t/nothing", {}).keys""", '1, "", 0')

    def test_a_blocking_read_returns_when_something_changes_and_when_the_time_is_over(self):
        self.check("""c:write("t/block", "1", {}) local s = c:read("t/block", {}) local began = now()
            local again = c:read("t/block", { index = s.index, wait = 0.3 }) local took = now() - began
            return again.index == s.index, took >= 0.28 and took < 2""", "true, true")
        results = []

        def wait():
            results.append(self.run_lua("""local s = c:read("t/block", {}) local began = now()
                local again = c:read("t/block", { index = s.index, wait = 20 })
                return again.keys[1].value, again.index > s.index, now() - began < 10"""))

        def change():
            time.sleep(0.5)         # nothing tells from outside that the other waits
            self.consul.request("PUT", "/v1/kv/t/block", b"2")
        in_threads(wait, change)
        self.assertEqual(results, ['"2", true, true'])

    def test_cas_wins_once(self):
        self.check("""local index = c:read("t/cas", {}).keys[1]
            local a, b = c:write("t/cas", "x", { cas = 0 }), c:write("t/cas", "y", { cas = 0 })
            return index, a, b, c:read("t/cas", {}).keys[1].value""", 'nil, true, false, "x"')

    def session(self, name):
        return """local function session() return (c:create_session { name = "%s", checks = {}, ttl = 10 }) end
            """ % name

    def test_a_lock_is_had_by_one_session_and_goes_with_it(self):
        self.check(self.session("lock") + """local a, b = session(), session()
            local first, second = c:write("t/lock", "a", { session = a }), c:write("t/lock", "b", { session = b })
            local holder = c:read("t/lock", {}).keys[1].session == a
            local over = c:destroy_session(a)
            local gone = #c:read("t/lock", {}).keys
            return first, second, holder, over, gone, c:write("t/lock", "b", { session = b })""",
                   "true, false, true, true, 0, true")

    def test_a_dead_session_is_told_from_an_unknown_outcome(self):
        self.check(self.session("dead") + """local a = session() c:destroy_session(a)
            local renewed, why = c:renew_session(a)
            local written, problem = c:write("t/dead", "", { session = a })
            local done = c:txn { { verb = "check-session", key = "t/dead", session = a } }
            return renewed, why, written, problem, done""",
                   'false, "the session is gone", false, "the session is gone", false')

    def test_a_transaction_is_done_as_a_whole_or_not_at_all(self):
        self.check(self.session("txn") + """local a = session()
            local function claim(index) return c:txn {
              { verb = "lock", key = "t/txn", value = "me", session = a },
              { verb = "cas", key = "t/txn/synced", value = "r", index = index } } end
            local first = claim(0)
            local right = first[2] == c:read("t/txn/synced", {}).keys[1].index
            c:write("t/txn", "", { release = a })
            local second, why = claim(0)
            return #first, right, second, why:find("index is stale") ~= nil, c:read("t/txn", {}).keys[1].session""",
                   "2, true, false, true, nil")

    def test_a_session_is_bound_to_the_check_of_the_service_and_to_nothing_else(self):
        port = self.b.port
        self.check("""c:register { ID = "t1", Name = "t", Port = %d, Check = { CheckID = "t1", TTL = "60s", Status = "passing" } }
            local id, why for _ = 1, 100 do id, why = c:create_session { name = "t1", checks = { "t1" }, ttl = 10 }
            if id then break end sleep(0.02) end
            local before = c:renew_session(id)
            fetch { url = "http://%s/v1/agent/check/fail/t1", method = "PUT" }
            local after = true for _ = 1, 200 do after = c:renew_session(id) if after == false then break end sleep(0.02) end
            return before, after, c:deregister("t1"), c:deregister("t1")""" % (port, self.consul.address),
                   "true, false, true, true")

    def test_the_next_address_is_asked_when_one_fails(self):
        with Stranger(500, b"No cluster leader") as broken:
            self.check("""return c:write("t/next", "x", {}), c.at, #c:read("t/next", {}).keys""", "true, 3, 1",
                       "127.0.0.1:1", broken.address, self.consul.address)

    def test_a_cas_whose_reply_is_lost_is_not_repeated(self):
        with Stranger(500, b"rpc error: timeout") as broken:
            self.check("""local done, why, code = c:write("t/lost", "x", { cas = 0 }) return done, code""",
                       'nil, "unavailable"', broken.address, self.consul.address)
            self.assertEqual(len(broken.asked), 1)
        self.assertEqual(self.consul.request("GET", "/v1/kv/t/lost")[0], 404)

    def test_both_sides_may_show_certificates(self):
        agent, folder = Agent(self.folder), self.folder

        def tls(*words):
            subprocess.run([agent.program, "tls", *words], cwd=folder, check=True, capture_output=True)
        tls("ca", "create")
        tls("cert", "create", "-server", "-additional-ipaddress", "127.0.0.1")
        tls("cert", "create", "-client")
        port, = Agent.ports(1)
        with open(os.path.join(folder, "tls.json"), "w") as f:
            json.dump({"ports": {"https": port}, "verify_incoming_https": True,
                       "ca_file": "%s/consul-agent-ca.pem" % folder, "cert_file": "%s/dc1-server-consul-0.pem" % folder,
                       "key_file": "%s/dc1-server-consul-0-key.pem" % folder}, f)
        agent.start("-config-file", os.path.join(folder, "tls.json"))
        self.addCleanup(agent.kill)
        ca = 'ca = "%s/consul-agent-ca.pem"' % folder
        client = 'cert = "%s/dc1-client-consul-0.pem", key = "%s/dc1-client-consul-0-key.pem"' % (folder, folder)
        for given, want in [(ca + ", " + client, "true"), (ca, "nil"), (client, "nil")]:
            self.check("""local c = consul.new { address = { "127.0.0.1:%d" }, tls = { enabled = true, %s } }
                return (c:write("t/tls", "x", {}))""" % (port, given), want)

    # -- with what is not one

    def test_rubbish_is_an_error_and_never_a_value(self):
        index = [("X-Consul-Index", "7")]
        html = b"<html><body>502 Bad Gateway</body></html>"
        item = b'[{"Key":"t","Value":"%s","ModifyIndex":%s}]'
        for status, body, headers in [
                (200, html, index), (200, b"", index), (200, b"null", index), (200, b"17", index), (200, b'"x"', index),
                (200, b"[1]", index), (200, b'[{"Key":1}]', index), (200, b'[{"Key":"t","Value":"eA==","Modif', index),
                (200, item % (b"!!!!", b"7"), index), (200, item % (b"eA==", b"-1"), index),
                (200, item % (b"eA==", b"1.5"), index), (200, item % (b"eA==", b'"7"'), index),
                (200, item % (b"eA==", b"1e300"), index), (200, b"[]", []), (200, b"[]", [("X-Consul-Index", "x")]),
                (200, b"[]", [("X-Consul-Index", "9" * 40)]), (302, b"", index + [("Location", "http://127.0.0.1:1/")]),
                (403, b"Permission denied", index), (500, html, index), (204, b"", index),
                (200, b"[" * 100000, index)]:
            with self.subTest(status=status, body=body[:40], headers=headers), Stranger(status, body, headers) as s:
                out = self.run_lua("""local s, why, code = c:read("t", {}) return s, type(why), code""", s.address)
                self.assertRegex(out, r'^nil, "string", "(bad_answer|unavailable)"$')
        for call in ['create_session { name = "x", checks = {}, ttl = 10 }', 'renew_session "1"', 'destroy_session "1"',
                     'write("t", "x", {})', 'delete "t"', 'register { ID = "x" }',
                     'txn { { verb = "cas", key = "t", value = "x", index = 0 } }']:
            for status, body in [(200, html), (200, b'{"ID": 5}'), (200, b"[]"), (200, b'{"Results":[{"KV":{}}]}'),
                                 (500, html), (409, b"{}"), (409, html)]:
                if call.startswith("register") and status == 200:
                    continue        # says nothing with 200
                with self.subTest(call=call, status=status, body=body), Stranger(status, body) as s:
                    out = self.run_lua("local done, why, code = c:%s return done, code" % call, s.address)
                    self.assertRegex(out, r'^nil, "(bad_answer|unavailable)"$')

    def test_an_answer_without_end_is_refused(self):
        with Stranger(200, b" " * (3 << 20), [("X-Consul-Index", "7")]) as s:
            self.assertRegex(self.run_lua("""return (c:read("t", {}))""", s.address), "^nil$")

    def test_an_index_that_goes_backwards_begins_anew(self):
        with Stranger(404, b"", [("X-Consul-Index", "5")]) as s:
            self.check("""return c:read("t", { index = 9, wait = 1 }).index, c:read("t", { index = 4, wait = 1 }).index""",
                       "0, 5", s.address)

    def test_silence_ends_in_time(self):
        with Stranger(answer=lambda _: (time.sleep(5), (200, b"", []))[1]) as s:
            began = time.monotonic()
            self.check("""local s, why, code = c:read("t", {}) return s, code""", 'nil, "unavailable"', s.address)
            self.assertLess(time.monotonic() - began, min(4.5, PATIENCE))

    def test_the_token_and_awkward_keys_are_sent_as_they_are(self):
        with Stranger(200, b"true") as s:
            self.check("""local c = consul.new { address = { "%s" }, tls = {}, token = "s3cret" }
                return c:write("t/ü ?&#", "x", { session = "a&b" })""" % s.address, "true", s.address)
            method, path, headers, body = s.asked[-1]
        self.assertEqual((method, path, body), ("PUT", "/v1/kv/t/%C3%BC%20%3F%26%23?acquire=a%26b", b"x"))
        self.assertEqual(headers.get("X-Consul-Token"), "s3cret")


if __name__ == "__main__":
    unittest.main()
