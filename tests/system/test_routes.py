"""What lignum.lua can do with routes, and the helpers that its handlers have."""

import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from client import assert_status
from common import wait_until


# ---- routes

def test_a_route_takes_the_whole_rest_of_a_path(node):
    b = node(config='''
        route.get("/files/{path...}", function(req) return 200, { rest = req.params.path, p = req:param("path") } end)
        route.get("/files/{one}", function(req) return 200, { one = req.params.one } end)
        route.get("/files/{one}/meta", function(req) return 200, { meta = req.params.one } end)
        route.get("/files/fixed", function() return 200, { fixed = true } end)
        route.get("/{a}/x/{rest...}", function(req) return 200, req.params end)
        ''')
    for path, want in [("/files/a/b/c", {"rest": "a/b/c", "p": "a/b/c"}), ("/files/a", {"one": "a"}),
                       ("/files/a/meta", {"meta": "a"}), ("/files/fixed", {"fixed": True}),
                       ("/files/fixed/y", {"rest": "fixed/y", "p": "fixed/y"}), ("/files/a/meta/z", {"rest": "a/meta/z", "p": "a/meta/z"}),
                       ("/files/a%20b/c%2Fd", {"rest": "a b/c%2Fd", "p": "a b/c%2Fd"}), ("/files/a/", {"rest": "a/", "p": "a/"}),
                       ("/u/x/1/2", {"a": "u", "rest": "1/2"})]:
        assert b.ok("GET", path).json == want, path
    for path in "/files", "/files/", "/u/x", "/u/x/", "/u/y/z":
        assert b.get(path).status == 404, path
    assert_status(b.post("/files/a/b", b""), 405)


@pytest.mark.parametrize("code, words", [
    ('route.get("/a/{x...}/b", function() end)', "only the last one {name...}"),
    ('route.get("/a/{...}", function() end)', "whole segment"),
    ('route.get("/a/{x...}", print) route.get("/a/{y...}", print)', "is already declared"),
    ('route.wrap("GET /pong", function() end)', "there is no route GET /pong; did you mean GET /ping?"),
    ('route.use(5)', "route.use needs a function"), ('route.write("GET", "/a", function() end)', "POST, PUT, PATCH or DELETE"),
    ('route.get("/a", function() end, { action = "write" })', "action must be read, publish"),
    ('route.get("/a", function() end, { topic = "t" })', "topic must be a function"),
])
def test_wrong_declarations_name_line_and_cause(node, code, words):
    b = node()
    b.write_config("\n" + code)
    said = b.reload(expect=False)
    assert words in said
    assert "lignum.lua:2" in said


def test_functions_are_put_around_routes(node):
    b = node(config='''
        route.use(function(req, next)
          local status, body, headers = next(req)
          if type(headers) == "userdata" then return status, body, headers end       -- a batch
          if type(headers) ~= "table" then headers = { ["Content-Type"] = headers } end
          headers["X-Order"] = (headers["X-Order"] or "") .. "a"
          return status, body, headers
        end)
        route.use(function(req, next)
          if req.query.stop then return 418, "stopped" end
          local status, body, headers = next(req)
          if type(headers) == "userdata" then return status, body, headers end       -- a batch
          if type(headers) ~= "table" then headers = { ["Content-Type"] = headers } end
          headers["X-Order"] = (headers["X-Order"] or "") .. "b"
          return status, body, headers
        end)
        route.wrap("GET /own", function(req, next)
          local status, body = next(req)
          return status, "<" .. body .. ">", { ["X-Order"] = "w" }
        end)
        route.wrap("GET /v1/cluster", function(req, next) return 403, "no" end)
        route.get("/own", function() return 200, "own" end)
        route.get("/fails", function() return nil, "not today", "busy" end)
        ''')
    a = b.ok("GET", "/own")
    assert (a.body, a.header("x-order")) == (b"<own>", "wba")
    assert b.ok("GET", "/ping").header("x-order") == "ba"
    assert (b.get("/ping?stop=1").status, b.get("/ping?stop=1").header("x-order")) == (418, "a")
    a = b.get("/fails")
    assert_status(a, 503, "busy")
    assert a.header("x-order") == "ba"
    assert b.get("/v1/cluster").status == 403
    assert b.ok("GET", "/healthz").header("x-order") is None
    b.publish("t", b"x")
    assert b.messages("t") == [b"x"]


def test_options_has_a_handler_of_its_own(node):
    b = node(config='''
        route.get("/a", function() return 200, "a" end)
        route.options("/a", function() return 204, nil, { ["Access-Control-Allow-Methods"] = "GET" } end)
        ''')
    assert b.ok("OPTIONS", "/a", status=204).header("access-control-allow-methods") == "GET"
    assert b.post("/a", b"").header("allow") == "GET, HEAD, OPTIONS"
    assert b.ok("OPTIONS", "/ping", status=204).header("allow") == "GET, HEAD, OPTIONS"


# ---- what handlers use

def test_each_yields_every_message_once(node):
    b = node(config='''
        route.get("/sum", function(req)
          local count, sum, last = 0, 0, nil
          for m in topic("t"):each { from = tonumber(req.query.from), to = tonumber(req.query.to) } do
            count, sum, last = count + 1, sum + tonumber(m.payload), m.offset
          end
          return 200, { count, sum, last }
        end)
        route.get("/follow", function()
          local seen = {}
          for m in topic("t"):each { from = 2500, wait = 5 } do
            seen[#seen + 1] = m.payload
            if m.payload == "end" then break end
          end
          return 200, seen
        end)
        route.get("/wrong", function() for _ in topic(nil or "none"):each() do end end)
        route.get("/option", function() topic("t"):each { form = 1 } end)
        ''')
    b.publish_lines("t", [b"%d" % i for i in range(2500)])
    assert b.ok("GET", "/sum").json == [2500, sum(range(2500)), 2499]
    assert b.ok("GET", "/sum?from=10&to=12").json == [2, 21, 11]
    assert b.ok("GET", "/sum?from=2500").json[0] == 0
    done = []
    follower = threading.Thread(target=lambda: done.append(b.ok("GET", "/follow").json))
    follower.start()
    for word in b"one", b"end":
        b.publish("t", word)
    follower.join(30)
    assert done == [["one", "end"]]
    for path, why in ("/wrong", "unknown_topic"), ("/option", "did you mean from?"):
        a = b.get(path)
        assert a.status == 500 and why in next(line for line in b.said().splitlines() if "id=" + a.json["id"] in line)


def test_trim_removes_whole_files_below_an_offset(node):
    b = node(config='topic "*" { segment = { messages = 10 } }')
    b.publish_lines("other", [b"x"] * 5)
    for n in range(35):
        b.publish("t", b"%d" % n)

    def trim(offset):
        return b.lua('print(topic("t"):trim(%d))' % offset)
    assert [trim(n) for n in (0, 9, 10, 19, 25)] == ["0", "0", "10", "10", "20"]
    assert_status(b.get("/v1/topics/t/messages?from=19"), 410, "offset_gone")
    assert b.messages("t", from_=20)[0] == b"20"
    assert "bad_range" in trim(36)
    assert trim(35) == "30", "the active file stays"
    assert "unknown_topic" in b.lua('print(topic("none"):trim(0))')
    assert "forbidden" in b.lua('print(topic("_topics"):trim(0))')
    b.restart()
    assert b.ok("GET", "/v1/topics/t").json["first"] == 30
    assert b.messages("t", from_=30) == [b"%d" % n for n in range(30, 35)]
    assert len(b.messages("other")) == 5


def test_fetch_repeats_what_may_be_repeated(node):
    asked = []

    class Server(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path))
            status = 503 if asked.count(asked[-1]) < 3 else 200
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if self.path == "/after":
                self.send_header("Retry-After", "1" if status == 503 else "9")
            self.end_headers()
        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_):
            pass
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    b = node(config='''
        route.get("/try", function(req)
          local q, began = req.query, time.clock()
          local answer, why, code = fetch { url = q.url, method = q.method, body = q.body, retry = tonumber(q.retry) }
          return 200, { answer and answer.status or code, time.clock() - began, why }
        end)
        route.get("/wrong", function() return 200, select(2, pcall(fetch, { url = "http://127.0.0.1:1/", retry = 11 })) end)
        ''')
    try:
        def attempt(path, port=server.server_port, **query):
            query["url"] = "http://127.0.0.1:%d%s" % (port, path)
            return b.ok("GET", "/try?" + "&".join("%s=%s" % q for q in query.items())).json
        assert attempt("/a", retry=2)[0] == 200
        assert asked.count(("GET", "/a")) == 3
        assert attempt("/b", retry=1)[0] == 503
        assert asked.count(("GET", "/b")) == 2
        assert attempt("/c", retry=2, method="POST", body="x")[0] == 503, "a POST may have had an effect"
        assert asked.count(("POST", "/c")) == 1
        assert attempt("/d", retry=2, method="PUT", body="x")[0] == 200
        assert attempt("/e")[0] == 503
        status, took, *_ = attempt("/after", retry=2)
        assert status == 200
        assert took >= 2
    finally:
        server.shutdown()
        server.server_close()
    code, took, *_ = attempt("/", retry=2, method="POST", body="x")
    assert code == "fetch_failed"
    assert took >= 0.1, "nothing was sent, so it is tried again"
    assert "retry must be a whole number from 0 to 10" in b.ok("GET", "/wrong").body.decode()


def test_say_has_fields(node):
    b = node(config='''
        route.get("/say", function()
          say.warn("stored", { id = 17, who = "al b", ok = true, quote = 'a"b', empty = "", ["a.b"] = 0.5, line = "x\\ny" })
          say.info("plain")
          local ok, why = pcall(say.info, "x", { ["a b"] = 1 })
          return 200, why
        end)''')
    assert "a field cannot be named a b" in b.ok("GET", "/say").body.decode()
    assert 'warn lua: stored a.b=0.5 empty="" id=17 line="x\\ny" ok=true quote="a\\"b" who="al b"\n' in b.said()
    assert "info lua: plain\n" in b.said()


# ---- several files

def write(b, name, text):
    path = os.path.join(b.folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def test_included_files_and_modules_see_what_lignum_lua_sees(node):
    b = node()
    write(b, "routes/one.lua", 'local n = ... route.get("/one", function() return 200, { n, json.encode {}, 2 * MiB } end) return "r"')
    write(b, "helper.lua", 'local M = {} function M.f() return topic("t"):append("from helper") end return M')
    write(b, "hooks.lua", 'local helper = require "helper" function on_publish(m) m.payload = m.payload .. "!" end'
                          ' route.get("/help", function() return 200, { helper.f() } end)')
    b.write_config('local r = include "routes/one.lua" include "hooks.lua" assert(r == "r")\n'
                   'route.get("/same", function() return 200, { require "helper" == require "helper" } end)')
    b.reload()
    assert b.ok("GET", "/one").json == ["routes/one.lua", "{}", 2 << 20]
    assert b.ok("GET", "/help").json[0] == 0
    assert b.messages("t") == [b"from helper!"]
    assert b.ok("GET", "/same").json == [True]
    write(b, "helper.lua", 'return { f = function() return "new" end }')
    b.reload()
    assert b.ok("GET", "/help").json == ["new"]


@pytest.mark.parametrize("name, text, config, words", [
    ("a.lua", "\nstor { path = 1 }", 'include "a.lua"', ["a.lua:2", "there is no global stor"]),
    ("a.lua", "\nx = = 1", 'include "a.lua"', ["a.lua:2"]), ("a.lua", "", '\ninclude "b.lua"', ["lignum.lua:2", "b.lua"]),
    ("a.lua", 'include "a.lua"', 'include "a.lua"', ["more than 16 files within each other"]),
    ("a.lua", "\nlocal x = misspelt", 'require "a"', ["a.lua:2", "there is no global misspelt"]),
    ("a.lua", "\nleaked = 1", 'require "a"', ["a.lua:2", "leaked"]), ("a.lua", 'require "a"', 'require "a"', ["requires itself"]),
])
def test_mistakes_in_other_files_are_found_at_their_line(node, name, text, config, words):
    b = node()
    write(b, name, text)
    b.write_config(config)
    said = b.reload(expect=False)
    for word in words:
        assert word in said
