"""lignum console https://...: who may run Lua on a node elsewhere, what it shows, and how it ends."""

import json
import os
import signal
import subprocess

import pytest

from certs import Authority
from client import Connection, assert_status, request_bytes
from common import BINARY, PATIENCE, wait_until
from test_console import PROMPT, Terminal

HOST = "127.0.0.2"


@pytest.fixture(scope="module")
def ca(shared_folder):
    return Authority(shared_folder)


def secured(ca, more=""):
    pair = ca.issue("node", hosts=("localhost", HOST))
    return 'listen { "127.0.0.1:0", { address = "%s:0", tls = { %s%s } } }\n' % (HOST, pair.lua, more)


def add(b, name, topics="*", may="read,publish,consume,admin,observe"):
    return b.lua('return tokens.add("%s", { topics = "%s", may = "%s" })' % (name, topics, may)).strip('"')


@pytest.fixture(scope="module")
def b(share_node, ca):
    b = share_node(config=secured(ca), listen=None)
    b.root, b.some = add(b, "root"), add(b, "some", "orders.*", "admin,read")
    return b


def environment(secret):
    return dict(os.environ, LIGNUM_TOKEN=secret or "", HOME="/nonexistent")


def words(b, ca, *more):
    return [BINARY, "console", "https://%s:%d" % (HOST, b.ports[1]), "--ca", ca.path, *more]


def console(b, ca, *more, secret=None, **kw):
    p = subprocess.run(words(b, ca, *more), capture_output=True, timeout=PATIENCE, env=environment(secret),
                       **kw if "input" in kw else {"stdin": subprocess.DEVNULL})
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def test_a_line_and_a_script_run_as_on_the_socket(b, ca):
    assert console(b, ca, "-e", "print('out') return 6 * 7", secret=b.root) == (0, "out\n42\n", "")
    assert console(b, ca, secret=b.root, input=b"local a = 1\nprint(a + 1)\n") == (0, "2\n", "")
    script = os.path.join(b.folder, "script.lua")
    with open(script, "w") as f:
        f.write("return 'from a file'\n")
    assert console(b, ca, script, secret=b.root) == (0, '"from a file"\n', "")
    assert console(b, ca, script, "-e", "return 1", secret=b.root)[0] == 64
    code, out, err = console(b, ca, "-e", "print('before') error('no')", secret=b.root)
    assert (code, out) == (1, "before\n") and "no" in err
    assert console(b, ca, "-e", "for i = 1, 2 do", secret=b.root)[0] == 1
    code, out, _ = console(b, ca, "-e", "for i = 1, 300 do print(('x'):rep(9999)) end return 'end'", secret=b.root)
    assert code == 0 and len(out) == 3000000 + len('"end"\n')


def test_output_comes_while_the_line_runs(b, ca):
    p = subprocess.Popen(words(b, ca, "-e", "print('now') return signal('go on'):wait(60, 0)"), stdout=subprocess.PIPE,
                         stdin=subprocess.DEVNULL, env=environment(b.root))
    assert p.stdout.readline() == b"now\n"
    assert b.lua("return signal('go on'):send()") == "1"
    assert p.stdout.read() == b"1\n"
    assert p.wait(PATIENCE) == 0


def test_a_terminal_has_editing_history_and_completion(b, ca, folder, defer):
    def terminal():
        t = Terminal(words(b, ca), folder, LIGNUM_TOKEN=b.root)
        defer(t.close)
        t.expect("quit or Ctrl-D exits")
        t.expect(PROMPT)
        return t
    t = terminal()
    t.answers("return 6 * 7", "42")
    t.answers("return 1\x1b[D8\x05 + 1", "82")                # a step to the left, and to the end of the line
    t.type("for i = 1, 2 do print('round', i)\r")
    t.expect(r" \.\. ")
    t.answers("end", "round\\s+2")
    t.type("return cluster.stat\t")
    t.expect(r"cluster\.stat[^\n]*us")
    t.type("\x03")                                            # Ctrl-C gives the line up
    t.expect(PROMPT)
    t.answers("return 'first'", '"first"')
    t.type("\x1b[A")                                          # the line before
    t.expect("return 'first'")
    t.answers("", '"first"')
    t.type("print('it', 'runs') sleep(600)\r")
    t.expect("it\\s+runs")
    t.type("\x03")                                            # and a line that runs
    t.expect("interrupted")
    t.expect(PROMPT)
    t.leave()
    again = terminal()
    again.type("\x1b[A\x1b[A")
    again.expect("return 'first'")
    again.answers("", '"first"')
    again.answers("topic('no') error('oops')", "oops")
    again.type("quit\r")
    assert again.process.wait(PATIENCE) == 0
    assert os.stat(os.path.join(folder, ".lignum_history")).st_mode & 0o777 == 0o600


def test_ctrl_c_ends_the_line_on_the_node(b, ca):
    p = subprocess.Popen(words(b, ca, "-e", "print('begun') while true do sleep(0.05) shared.dict('line'):incr('n') end"), stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(b.root))
    assert p.stdout.readline() == b"begun\n"

    def goes_on():
        code = "local d = shared.dict('line') local n = d:get('n') sleep(0.3) return d:get('n') ~= n"
        return b.lua(code) == "true"
    assert goes_on()
    p.send_signal(signal.SIGINT)
    assert p.wait(PATIENCE) == 130
    assert b"interrupted" in p.stderr.read()
    wait_until(lambda: not goes_on())


def test_strangers_and_tokens_that_may_not_admin_everything_are_refused(b, ca):
    for secret in (None, "lgn_" + "A" * 43, b.some):
        code, out, err = console(b, ca, "-e", "return 1", secret=secret)
        assert (code, out) == (77, ""), err
        assert "token" in err
    with Connection(b.ports[1], host=HOST, tls=ca.trusting()) as c:
        c.send(request_bytes("POST", "/v1/console", b'{"line":"return 1"}', {
            "Authorization": "Bearer " + b.root, "Origin": "https://evil.example", "Content-Type": "application/json"}))
        assert_status(c.answer("POST"), 403, "foreign_origin")


def test_each_line_is_in_the_audit_also_one_that_was_interrupted(b, ca):
    auditor = add(b, "auditor", "_audit", "read")

    def entries():
        a = b.ok("GET", "/v1/topics/_audit/messages?from=earliest&limit=1000", None, {"Authorization": "Bearer " + auditor})
        return [json.loads(m["data"]) for m in a.json["messages"]]
    console(b, ca, "-e", "return 'audited'", secret=b.root)
    line = "print('begun') sleep(1000)"
    with subprocess.Popen(words(b, ca, "-e", line), env=environment(b.root), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as p:
        assert p.stdout.readline() == b"begun\n"
        p.kill()
    for did, outcome in ("return 'audited'", "ok"), (line, "interrupted"):
        wait_until(lambda did=did, outcome=outcome: [
            e for e in entries() if (e["who"], e["did"], e.get("outcome")) == ("token root", did, outcome) and e["from"].startswith(HOST[:4])])


def test_http_is_for_this_host_only(b):
    p = subprocess.run([BINARY, "console", "http://192.0.2.1:8080", "-e", "return 1"], capture_output=True, env=environment(b.root),
                       stdin=subprocess.DEVNULL)
    assert p.returncode == 64 and b"needs https" in p.stderr


def test_a_node_runs_lua_over_https_only_for_other_hosts(cluster):
    c = cluster(count=1, net=True, config='function authorize(req) return { user = "me" } end')
    a = c.nodes[0].post("/v1/console", b'{"line":"return 1"}')
    assert_status(a, 403, "forbidden")
    assert "https only" in a.json["detail"]


def test_a_certificate_opens_the_console_where_it_opens_the_node(node, ca):
    b = node(config=secured(ca, ', client_ca = "%s"' % ca.path), listen=None)
    pair = ca.issue("alice", subject="/CN=alice", hosts=())
    code, out, err = console(b, ca, "--cert", pair.cert, "--key", pair.key, "-e", "return 1")
    assert (code, out) == (0, "1\n"), err
    code, out, err = console(b, ca, "-e", "return 1")
    assert (code, out) == (69, "")
