"""scripts/lignum/consul.lua against a real Consul, and against servers that are none."""

import http.server
import re
import subprocess
import threading
import time

import pytest

from common import PATIENCE, as_id, free_port

PRELUDE = """
local consul = require "lignum.consul"
local c = consul.new { address = { %s }, tls = {} }
"""


class Stranger:
    """An HTTP server that gives every request the same answer, or that of a function, and records the requests."""

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


@pytest.fixture(scope="module")
def b(share_node):
    return share_node()


@pytest.fixture
def run_lua(b, shared_consul):
    """run_lua(code, addresses): the output of code in the console. `c` is a client of these Consuls, by default the shared one."""
    def run(code, *addresses):
        prelude = PRELUDE % ", ".join('"%s"' % a for a in addresses or [shared_consul.address])
        return b.lua(" ".join((prelude + code).split("\n")))
    return run


# ---- with a real one

def test_values_come_back_byte_for_byte(run_lua):
    out = run_lua("""c:write("t/bytes", "a\\0\\255\\nb", {}) local s = c:read("t/bytes", {})
            return s.keys[1].value == "a\\0\\255\\nb", #s.keys""")
    assert out == "true, 1"


def test_an_empty_value_and_no_key_are_two_things(run_lua):
    out = run_lua("""c:write("t/empty", "", {}) return #c:read("t/empty", {}).keys, c:read("t/empty", {}).keys[1].value,
            #c:read("t/nothing", {}).keys""")
    assert out == '1, "", 0'


def test_a_blocking_read_returns_when_something_changes_and_when_the_time_is_over(b, run_lua, shared_consul):
    out = run_lua("""c:write("t/block", "1", {}) local s = c:read("t/block", {}) local began = now()
            local again = c:read("t/block", { index = s.index, wait = 0.3 }) local took = now() - began
            return again.index == s.index, took >= 0.28 and took < 2""")
    assert out == "true, true"
    began = """c:write("t/block", "1", {}) local s = c:read("t/block", {}) print("waits") local began = now()
            local again = c:read("t/block", { index = s.index, wait = 20 })
            return again.keys[1].value, again.index > s.index, now() - began < 10"""
    code = " ".join((PRELUDE % ('"%s"' % shared_consul.address) + began).split("\n"))
    with subprocess.Popen([b.binary, "console", b.console, "-e", code], stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout.readline() == "waits\n"
        shared_consul.put("t/block", "2")
        assert p.communicate(timeout=PATIENCE)[0] == '"2", true, true\n'


def test_cas_wins_once(run_lua):
    out = run_lua("""local index = c:read("t/cas", {}).keys[1]
            local a, b = c:write("t/cas", "x", { cas = 0 }), c:write("t/cas", "y", { cas = 0 })
            return index, a, b, c:read("t/cas", {}).keys[1].value""")
    assert out == 'nil, true, false, "x"'


def session(name):
    return """local function session() return (c:create_session { name = "%s", checks = {}, ttl = 10 }) end
            """ % name


def test_a_lock_is_had_by_one_session_and_goes_with_it(run_lua):
    out = run_lua(session("lock") + """local a, b = session(), session()
            local first, second = c:write("t/lock", "a", { session = a }), c:write("t/lock", "b", { session = b })
            local holder = c:read("t/lock", {}).keys[1].session == a
            local over = c:destroy_session(a)
            local gone = #c:read("t/lock", {}).keys
            return first, second, holder, over, gone, c:write("t/lock", "b", { session = b })""")
    assert out == "true, false, true, true, 0, true"


def test_a_dead_session_is_told_from_an_unknown_outcome(run_lua):
    out = run_lua(session("dead") + """local a = session() c:destroy_session(a)
            local renewed, why = c:renew_session(a)
            local written, problem = c:write("t/dead", "", { session = a })
            local done = c:txn { { verb = "check-session", key = "t/dead", session = a } }
            return renewed, why, written, problem, done""")
    assert out == 'false, "the session is gone", false, "the session is gone", false'


def test_a_transaction_is_done_as_a_whole_or_not_at_all(run_lua):
    out = run_lua(session("txn") + """local a = session()
            local function claim(index) return c:txn {
              { verb = "lock", key = "t/txn", value = "me", session = a },
              { verb = "cas", key = "t/txn/synced", value = "r", index = index } } end
            local first = claim(0)
            local right = first[2] == c:read("t/txn/synced", {}).keys[1].index
            c:write("t/txn", "", { release = a })
            local second, why = claim(0)
            return #first, right, second, why:find("index is stale") ~= nil, c:read("t/txn", {}).keys[1].session""")
    assert out == "2, true, false, true, nil"


def test_a_session_is_bound_to_the_check_of_the_service_and_to_nothing_else(b, run_lua, shared_consul):
    port = b.port
    out = run_lua("""c:register { ID = "t1", Name = "t", Port = %d, Check = { CheckID = "t1", TTL = "60s", Status = "passing" } }
            local id, why for _ = 1, 100 do id, why = c:create_session { name = "t1", checks = { "t1" }, ttl = 10 }
            if id then break end sleep(0.02) end
            local before = c:renew_session(id)
            fetch { url = "http://%s/v1/agent/check/fail/t1", method = "PUT" }
            local after = true for _ = 1, 200 do after = c:renew_session(id) if after == false then break end sleep(0.02) end
            return before, after, c:deregister("t1"), c:deregister("t1")""" % (port, shared_consul.address))
    assert out == "true, false, true, true"


def test_the_next_address_is_asked_when_one_fails(run_lua, shared_consul):
    with Stranger(500, b"No cluster leader") as broken:
        out = run_lua("""return c:write("t/next", "x", {}), c.at, #c:read("t/next", {}).keys""", "127.0.0.1:1", broken.address,
                      shared_consul.address)
        assert out == "true, 3, 1"


def test_a_cas_whose_reply_is_lost_is_not_repeated(run_lua, shared_consul):
    with Stranger(500, b"rpc error: timeout") as broken:
        out = run_lua("""local done, why, code = c:write("t/lost", "x", { cas = 0 }) return done, code""", broken.address,
                      shared_consul.address)
        assert out == 'nil, "unavailable"'
        assert len(broken.asked) == 1
    assert shared_consul.get("t/lost") == (None, None, None)


def test_both_sides_may_show_certificates(make_consul, run_lua, folder):
    port = free_port()
    agent = make_consul(ports={"https": port}, verify_incoming_https=True, ca_file=folder + "/consul-agent-ca.pem",
                        cert_file=folder + "/dc1-server-consul-0.pem", key_file=folder + "/dc1-server-consul-0-key.pem")
    for words in ["ca create", "cert create -server -additional-ipaddress 127.0.0.1", "cert create -client"]:
        subprocess.run([agent.program, "tls", *words.split()], cwd=folder, check=True, capture_output=True)
    agent.start()
    ca = 'ca = "%s/consul-agent-ca.pem"' % folder
    client = 'cert = "%s/dc1-client-consul-0.pem", key = "%s/dc1-client-consul-0-key.pem"' % (folder, folder)
    for given, want in [(ca + ", " + client, "true"), (ca, "nil"), (client, "nil")]:
        out = run_lua("""local c = consul.new { address = { "127.0.0.1:%d" }, tls = { enabled = true, %s } }
                return (c:write("t/tls", "x", {}))""" % (port, given))
        assert out == want


# ---- with servers that are no Consul

INDEX = [("X-Consul-Index", "7")]
HTML = b"<html><body>502 Bad Gateway</body></html>"
ITEM = b'[{"Key":"t","Value":"%s","ModifyIndex":%s}]'


@pytest.mark.parametrize("status, body, headers", [
    (200, HTML, INDEX), (200, b"", INDEX), (200, b"null", INDEX), (200, b"17", INDEX), (200, b'"x"', INDEX), (200, b"[1]", INDEX),
    (200, b'[{"Key":1}]', INDEX), (200, b'[{"Key":"t","Value":"eA==","Modif', INDEX), (200, ITEM % (b"!!!!", b"7"), INDEX),
    (200, ITEM % (b"eA==", b"-1"), INDEX), (200, ITEM % (b"eA==", b"1.5"), INDEX), (200, ITEM % (b"eA==", b'"7"'), INDEX),
    (200, ITEM % (b"eA==", b"1e300"), INDEX), (200, b"[]", []), (200, b"[]", [("X-Consul-Index", "x")]),
    (200, b"[]", [("X-Consul-Index", "9" * 40)]), (302, b"", INDEX + [("Location", "http://127.0.0.1:1/")]),
    (403, b"Permission denied", INDEX), (500, HTML, INDEX), (204, b"", INDEX), (200, b"[" * 100000, INDEX),
], ids=as_id)
def test_rubbish_is_an_error_of_a_read_and_never_a_value(run_lua, status, body, headers):
    with Stranger(status, body, headers) as s:
        out = run_lua("""local s, why, code = c:read("t", {}) return s, type(why), code""", s.address)
    assert re.search(r'^nil, "string", "(bad_answer|unavailable)"$', out)


@pytest.mark.parametrize("call", [
    'create_session { name = "x", checks = {}, ttl = 10 }', 'renew_session "1"', 'destroy_session "1"', 'write("t", "x", {})',
    'delete "t"', 'register { ID = "x" }', 'txn { { verb = "cas", key = "t", value = "x", index = 0 } }',
], ids=as_id)
def test_rubbish_is_an_error_of_every_call_and_never_a_value(run_lua, call):
    for status, body in [(200, HTML), (200, b'{"ID": 5}'), (200, b"[]"), (200, b'{"Results":[{"KV":{}}]}'), (500, HTML),
                         (409, b"{}"), (409, HTML)]:
        if call.startswith("register") and status == 200:
            continue        # its answer with 200 has no body
        with Stranger(status, body) as s:
            out = run_lua("local done, why, code = c:%s return done, code" % call, s.address)
        assert re.search(r'^nil, "(bad_answer|unavailable)"$', out), (status, body)


def test_an_answer_without_end_is_refused(run_lua):
    with Stranger(200, b" " * (3 << 20), [("X-Consul-Index", "7")]) as s:
        assert re.search("^nil$", run_lua("""return (c:read("t", {}))""", s.address))


def test_an_index_that_goes_backwards_begins_anew(run_lua):
    with Stranger(404, b"", [("X-Consul-Index", "5")]) as s:
        out = run_lua("""return c:read("t", { index = 9, wait = 1 }).index, c:read("t", { index = 4, wait = 1 }).index""",
                      s.address)
        assert out == "0, 5"


def test_silence_ends_in_time(run_lua):
    over = threading.Event()
    with Stranger(answer=lambda _: (over.wait(PATIENCE), (200, b"", []))[1]) as s:
        began = time.monotonic()
        assert run_lua("""local s, why, code = c:read("t", {}) return s, code""", s.address) == 'nil, "unavailable"'
        assert time.monotonic() - began < PATIENCE / 2
        over.set()


def test_the_token_and_awkward_keys_are_sent_as_they_are(run_lua):
    with Stranger(200, b"true") as s:
        out = run_lua("""local c = consul.new { address = { "%s" }, tls = {}, token = "s3cret" }
                return c:write("t/ü ?&#", "x", { session = "a&b" })""" % s.address, s.address)
        assert out == "true"
        method, path, headers, body = s.asked[-1]
    assert (method, path, body) == ("PUT", "/v1/kv/t/%C3%BC%20%3F%26%23?acquire=a%26b", b"x")
    assert headers.get("X-Consul-Token") == "s3cret"
