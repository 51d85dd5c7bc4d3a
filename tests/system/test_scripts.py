"""What an operator's lignum.lua can do, and that its mistakes break nothing else."""

import concurrent.futures
import contextlib
import json
import os
import re
import socket
import time

import pytest

from client import assert_status, on_own_connections
from common import PATIENCE, SANITIZED, Background, as_id, hold_for, in_threads, wait_until


def said_of(b, answer):
    """The line of the log about a failure, by the id that its answer has."""
    return next(line for line in b.said().splitlines() if "id=" + answer.json["id"] in line)


# ---- hooks

def test_on_publish_changes_rejects_and_reroutes(node):
    b = node(config='''
function on_publish(msg)
  if #msg.payload == 0 then return reject("empty message") end
  if msg.payload == "teapot" then return reject("too hot", "too_many_requests") end
  if msg.payload:find("^secret") then msg.payload = "***" end
  if msg.topic == "in" then msg.topic = "out" end
  if msg.key == "k" then msg.key = "changed" msg.headers["seen"] = "yes" end
end''')
    a = b.post("/v1/topics/t/messages", b"")
    assert_status(a, 400, "rejected")
    assert "empty message" in a.json["detail"]
    assert a.json["appended"] is False
    assert_status(b.post("/v1/topics/t/messages", b"teapot"), 429, "too_many_requests")
    b.publish("t", b"secret word")
    assert b.messages("t") == [b"***"]
    assert b.publish("in", b"routed")["topic"] == "out"
    assert b.messages("out") == [b"routed"]
    assert b.get("/v1/topics/in").status == 404
    b.publish("keyed", b"x", {"Lignum-Key": "k"})
    m = b.read("keyed")["messages"][0]
    assert (m["key"], m["headers"]["seen"]) == ("changed", "yes")


def test_on_publish_may_change_any_part_of_a_message_or_none(node):
    b = node(config="""
function on_publish(msg)
  local do_it = {
    nothing = function() end,
    payload = function() msg.payload = "other" end,
    same = function() msg.payload = "pay" .. "load" end,
    key = function() msg.key = "k" end,
    header = function() msg.headers.a = "b" end,
    headers = function() msg.headers = { c = "d" } end,
    none = function() msg.headers = nil end,
    topic = function() msg.topic = "elsewhere" end,
    refuse = function() return reject("no") end,
    wait = function() sleep(0.01) msg.key = "late" end,
    wrong = function() msg.payload = 5 end,
    gone = function() msg.topic = nil end,
  }
  return do_it[msg.topic]()
end""")
    want = {"nothing": {}, "payload": {"data": "other"}, "same": {}, "key": {"key": "k"}, "header": {"headers": {"a": "b"}},
            "headers": {"headers": {"c": "d"}}, "none": {}, "wait": {"key": "late"}}
    for topic, changes in want.items():
        b.publish(topic, b"payload")
        message = b.read(topic)["messages"][0]
        found = {k: message[k] for k in ("data", "key", "headers") if k in message}
        assert found == dict({"data": "payload"}, **changes), topic
    b.publish("topic", b"payload")
    assert b.read("elsewhere")["messages"][0]["data"] == "payload"
    assert b.post("/v1/topics/refuse/messages", b"payload").status == 400
    for topic in "wrong", "gone":
        a = b.post("/v1/topics/%s/messages" % topic, b"payload")
        assert_status(a, 500)
        assert "on_publish" in a.json["detail"]


def test_a_message_that_a_hook_has_looked_through_is_a_table_like_any_other(node):
    b = node(config="""
local kept
function on_publish(msg)
  local do_it = {
    pairs = function()
      local names = {}
      for name, value in pairs(msg) do names[#names + 1] = name .. ":" .. type(value) end
      table.sort(names)
      msg.payload = table.concat(names, " ")
    end,
    asks = function() msg.payload = type(msg.key) .. type(msg.other) .. type(msg.headers) end,
    raw = function() rawset(msg, "key", "k") end,
    raw_headers = function() rawset(msg, "headers", { a = "b" }) return msg.key end,
    headers_first = function() msg.headers = { a = "b" } msg.key = msg.key or "k" end,
    keep = function() kept = msg end,
    kept = function() msg.payload = kept.payload .. kept.topic .. type(kept.headers) end,
    own = function() setmetatable(msg, { __index = { key = "not its own" } }) end,
    class = function() setmetatable(msg, { __index = { tag = function(m) m.headers.a = "b" end } }):tag() end,
    copied = function()
      local function copy(value)
        if type(value) ~= "table" then return value end
        local new = {}
        for k, v in next, value do new[k] = copy(v) end
        return setmetatable(new, copy(getmetatable(value)))
      end
      local new = copy(msg)
      new.headers.a = "b"
      topic("copies"):append(new)
    end,
    json = function() msg.payload = json.encode(msg) end,
    appended = function() topic("copy"):append(msg) end,
  }
  if do_it[msg.topic] then return do_it[msg.topic]() end
end""")
    want = {"copied": {}, "copies": {"headers": {"a": "b"}}, "class": {"headers": {"a": "b"}},
            "pairs": {"data": "headers:table payload:string topic:string"}, "asks": {"data": "nilniltable"},
            "raw": {"key": "k"}, "raw_headers": {"headers": {"a": "b"}},
            "headers_first": {"headers": {"a": "b"}, "key": "k"},
            "keep": {}, "other": {}, "kept": {"data": "payloadkeeptable"}, "own": {},
            "json": {"data": '{"headers":{},"payload":"payload","topic":"json"}'}, "appended": {}, "copy": {}}
    for topic, changes in want.items():
        if topic not in ("copy", "copies"):
            b.publish(topic, b"payload")
        message = b.read(topic)["messages"][0]
        found = {k: message[k] for k in ("data", "key", "headers") if k in message}
        assert found == dict({"data": "payload"}, **changes), topic


def test_a_hook_is_asked_once_for_the_first_message_of_a_topic(node):
    b = node(config="""
local asked = 0
function on_publish(msg) asked = asked + 1 end
route.get("/asked", function() return 200, tostring(asked) end)""")
    b.publish("new", b"first")
    assert b.get("/asked").body == b"1"


def test_what_cannot_be_published_is_refused_before_a_hook_sees_it(node):
    for config in "", "function on_publish(msg) error('it was shown') end":
        b = node(config=config)
        publish = lambda body, **headers: b.post("/v1/topics/t/messages", body, headers={
            name.replace("_", "-"): value for name, value in headers.items()})
        assert_status(publish(b"x", Content_Encoding="gzip"), 415, "unsupported_media")
        assert_status(publish(b"x", Content_Encoding="identity, br"), 415, "unsupported_media")
        assert_status(publish(b"x", Content_Type="application/json"), 400, "bad_json")
        assert_status(publish(b"x", Content_Type="APPLICATION/JSON ;charset=utf-8"), 400, "bad_json")
        assert_status(publish(b"x", Content_Type="application/json x"), 400, "bad_json")
        assert b.get("/v1/topics/t").status == 404
        assert_status(publish(b"x" * (1 << 20) + b"x"), 413, "too_large")
        for more in {"Content_Encoding": "Identity"}, {"Content_Type": "application/jsonx"}:
            assert_status(publish(b"x", **more), 500 if config else 200)
        b.stop()


def test_on_publish_sees_every_message_of_every_way_of_publishing(node):
    b = node(config='function on_publish(msg) msg.payload = "<" .. msg.payload .. ">" end')
    b.publish("t", b"raw")
    b.publish_lines("t", [b"l1", b"l2"])
    b.ok("POST", "/v1/topics/t/messages", '[{"data": "e1"}, {"data": "e2"}]', {"Content-Type": "application/json"})
    a = b.ok("POST", "/api/message", '{"topic": "t", "message": "api"}').json
    assert a["offset"] == 5
    assert b.messages("t") == [b"<raw>", b"<l1>", b"<l2>", b"<e1>", b"<e2>", b"<api>"]


NDJSON = {"Content-Type": "application/x-ndjson"}


def test_one_rejection_refuses_its_whole_batch(node):
    b = node(config='''
function on_publish(msg)
  if msg.payload == "bad" then return reject("bad one") end
  if msg.payload == "move" then msg.topic = "elsewhere" end
end''')
    b.publish("t", b"first")
    assert_status(b.post("/v1/topics/t/messages", b"a\nmove\nbad\nb", headers=NDJSON), 400, "rejected")
    assert b.messages("t") == [b"first"]
    assert b.get("/v1/topics/elsewhere").status == 404


def test_messages_of_a_batch_may_go_to_several_topics(node):
    b = node(config='''
function on_publish(msg)
  local to = msg.payload:match("^to (%S+)")
  if to then msg.topic = to end
end''')
    a = b.publish_lines("t", [b"one", b"to x 1", b"two", b"to y 1", b"to x 2"])
    assert (a["topic"], a["first"], a["count"]) == ("t", 0, 2)
    assert a["rerouted"] == [{"topic": "x", "first": 0, "next": 2, "count": 2},
                             {"topic": "y", "first": 0, "next": 1, "count": 1}]
    assert (b.messages("t"), b.messages("x"), b.messages("y")) == ([b"one", b"two"], [b"to x 1", b"to x 2"], [b"to y 1"])
    a = b.publish_lines("t", [b"to x 3", b"to x 4"])
    assert (a["topic"], a["first"], a["count"], "rerouted" in a) == ("x", 2, 2, False)
    a = b.publish_lines("t", [b"to x 5", b"last"])                    # what stayed is told of, wherever it stands
    assert (a["topic"], a["first"], a["rerouted"][0]["topic"]) == ("t", 2, "x")
    a = b.post("/v1/topics/t/messages", b"to _topics now\nx", headers=NDJSON)
    assert_status(a, 403, "forbidden")
    assert a.json["appended"] is False
    token = b.publish("t", b"z")["next_token"]
    a = b.post("/v1/topics/t/messages", b"x\nto x 6", headers=dict(NDJSON, **{"If-Match": '"%s"' % token}))
    assert_status(a, 400, "bad_value")
    assert len(b.messages("t")) == 4
    producer = {"Producer-Id": "p", "Producer-Epoch": "1", "Producer-Seq": "0"}
    a = b.post("/v1/topics/t/messages", b"x\nto x 7", headers=dict(NDJSON, **producer))
    assert_status(a, 400, "bad_value")
    assert "Producer-Id cannot be spread" in a.json["detail"]
    assert len(b.messages("t")) == 4
    a = b.post("/v1/topics/t/messages", b"x\nto ../bad 1", headers=NDJSON)
    assert_status(a, 504, "unknown_outcome")
    assert "1 messages of the batch were appended" in a.json["detail"]
    a = b.post("/v1/topics/t/messages", b"".join(b"to t%d\n" % i for i in range(17)), headers=NDJSON)
    assert_status(a, 500, "script_error")
    assert "more than 16 topics" in said_of(b, a)


def test_a_producers_sequence_is_that_of_the_topic_that_stores_its_requests(node):
    b = node(config="""function on_publish(msg)
  if msg.topic == "all" or msg.payload == "away" then msg.topic = "there" end
end""")

    def publish(topic, seq, body):
        return b.post("/v1/topics/%s/messages" % topic, body, headers={"Producer-Id": topic, "Producer-Seq": str(seq)})
    for seq in range(3):
        assert publish("all", seq, b"%d" % seq).json["topic"] == "there"
    a = publish("all", 2, b"2")
    assert a.status == 200 and a.json["duplicate"] is True
    assert b.messages("there") == [b"0", b"1", b"2"]
    assert publish("some", 0, b"stays").json["topic"] == "some"
    a = publish("some", 1, b"away")
    assert_status(a, 409, "sequence_gap")
    assert "on_publish sent the request for some to there, which has its own sequence" in a.json["detail"]
    assert publish("some", 1, b"stays").status == 200


def test_a_rejection_counts_without_return(node):
    b = node(config='''
function on_publish(msg)
  if msg.payload == "bad" then reject("forgot to return") end
  if msg.payload == "deep" then coroutine.wrap(function() reject("in a coroutine") end)() end
  if msg.payload == "slow" then reject("before a wait") sleep(0.05) end
  if msg.payload == "gsub" then ("x"):gsub("x", function() reject("in gsub") end) end
end
route.get("/before", function() reject("of no hook") return 200, { first = topic("t"):append("good") } end)''')
    for word, why in [("bad", "forgot"), ("deep", "coroutine"), ("slow", "wait"), ("gsub", "gsub")]:
        for a in (b.post("/v1/topics/t/messages", word), b.post("/v1/topics/t/messages", word + "\nx", headers=NDJSON),
                  b.post("/api/message", '{"topic": "t", "message": "%s"}' % word)):
            assert_status(a, 400, "rejected")
            assert why in a.json["detail"]
    b.publish("t", b"fine")
    b.ok("GET", "/before")
    assert b.messages("t") == [b"fine", b"good"]


def test_a_rejection_has_a_status_a_code_and_fields_of_its_own(node):
    b = node(config='''
function on_publish(msg)
  if msg.payload == "own" then
    return reject("no such customer", { status = 422, code = "bad_customer", fields = { customer = 7, at = { "a" } } })
  end
  if msg.payload == "code" then return reject("later", { code = "busy", fields = { wait = 3 } }) end
  if msg.payload == "unnamed" then return reject("odd", { code = "odd_one" }) end
  if msg.payload == "wrong" then return reject("x", { stats = 422 }) end
end
route.get("/own", function() local _, why, code, more = topic("t"):append("own") return 200, { why, code, more } end)''')
    for _ in range(2):
        a = b.post("/v1/topics/t/messages", b"own")
        assert_status(a, 422, "bad_customer")
        assert (a.json["detail"], a.json["customer"], a.json["at"], a.json["appended"], a.json["retryable"]) == \
            ("no such customer", 7, ["a"], False, False)
    a = b.post("/v1/topics/t/messages", b"x\nown", headers=NDJSON)
    assert_status(a, 422, "bad_customer")
    assert a.json["detail"] == "message 2: no such customer"
    a = b.post("/v1/topics/t/messages", b"code")
    assert_status(a, 503, "busy")
    assert a.json["wait"] == 3
    assert_status(b.post("/v1/topics/t/messages", b"unnamed"), 400, "odd_one")
    a = b.post("/v1/topics/t/messages", b"wrong")
    assert_status(a, 500, "script_error")
    assert "there is no option stats" in said_of(b, a)
    assert b.ok("GET", "/own").json == ["no such customer", "bad_customer", {"customer": 7, "at": ["a"], "status": 422}]


def test_on_publish_sees_what_scripts_append(node):
    b = node(config='''
function on_publish(msg, ctx)
  if msg.payload == "no" then return reject("no") end
  if msg.payload == "audited" then topic("audit"):append("seen") end
  msg.payload = ("<%s %s>"):format(msg.payload, ctx.user or ctx.route or "-")
end
route.get("/append/{what}", function(req)
  local message = { payload = req.params.what, headers = { a = "b" } }
  local first, count, code = topic("t"):append(message, { request = req })
  return 200, { first or false, count, code, message.payload }
end)
route.get("/raw/{what}", function(req) return 200, { topic("t"):append(req.params.what, { raw = true }) } end)
route.get("/wrong", function() return 200, select(2, pcall(function() return topic("t"):append { payload = 5 } end)) end)
route.post("/relay", function(req) return 200, { topic("t"):append(req) } end)
after(0.01, function() topic("timer"):append { "a", { payload = "b" } } end)''')
    assert b.ok("GET", "/append/x").json == [0, 1, 1, "x"]
    assert b.ok("GET", "/append/no").json == [False, "no", "rejected", "no"]
    assert b.ok("GET", "/raw/y").json[0] == 1
    assert "topic:append" in b.ok("GET", "/wrong").body.decode()
    b.ok("POST", "/relay", b"1\n2\n", NDJSON)
    b.lua('topic("t"):append("console")')
    b.publish("t", b"audited")
    assert b.messages("t") == [b"<x GET /append/{what}>", b"y", b"<1 POST /relay>", b"<2 POST /relay>", b"<console ->",
                               b"<audited POST /v1/topics/{topic}/messages>"]
    assert b.messages("audit") == [b"seen"]
    wait_until(lambda: b.get("/v1/topics/timer").status == 200 and b.messages("timer") == [b"<a ->", b"<b ->"],
               what="the timer's messages are shown, too")


ACL = '''
local USERS = { ["Bearer a"] = { user = "alice" }, ["Bearer r"] = { user = "root" } }
function authorize(req)
  local who = USERS[req:header("authorization")]
  if not who then return false, "unauthorized" end
  if who.user ~= "root" and req.topic ~= "bob" and req.action ~= "observe" then return false, "forbidden", req.action end
  say.info(("asked %s %s"):format(req.action or "-", req.topic or "-"))
  return who
end
function on_publish(msg, ctx) msg.headers.by = ctx.user end
route.get("/me/{topic}", function(req) return 200, { req.user, req.topic, req.action } end)
route.get("/both", function(req) return 200, { req.topic, req.action } end,
  { action = "consume", topic = function(req) return req.query.of end })'''


@pytest.mark.parametrize("method, target, body, action, topic", [
    ("GET", "/v1/topics/{t}/messages", None, "read", True), ("GET", "/v1/topics/{t}", None, "read", True),
    ("POST", "/v1/topics/{t}/messages", "x", "publish", True), ("PUT", "/v1/topics/{t}", "{}", "admin", True),
    ("PATCH", "/v1/topics/{t}", "{}", "admin", True), ("DELETE", "/v1/topics/{t}", None, "admin", True),
    ("POST", "/api/message", '{"topic": "{t}", "message": "x"}', "publish", True),
    ("GET", "/api/message?topic={t}&to=1", None, "read", True), ("GET", "/api/message", '{"topic": "{t}", "to": 1}', "read", True),
    ("POST", "/api/topics", '{"name": "{t}"}', "admin", True), ("GET", "/v1/topics", None, "observe", False),
    ("GET", "/metrics", None, "observe", False), ("GET", "/v1/cluster", None, "observe", False),
    ("GET", "/me/{t}", None, "own", True), ("GET", "/both?of={t}", None, "consume", True),
], ids=as_id)
def test_authorize_knows_topic_and_action_of_each_route(node, method, target, body, action, topic):
    b = node(config=ACL)
    b.ok("PUT", "/v1/topics/bob", b"{}", {"Authorization": "Bearer r"}, status=201)
    def ask(name, token):
        return b.request(method, target.replace("{t}", name), body and body.replace("{t}", name), {"Authorization": token})
    assert ask("bob", "Bearer none").status == 401
    if topic:
        a = ask("eve", "Bearer a")
        assert_status(a, 403, "forbidden")
        assert a.json["detail"] == action
    assert ask("bob", "Bearer a").status < 400 or (method, action) == ("POST", "admin")   # that topic exists
    assert "asked %s %s" % (action, "bob" if topic else "-") in b.said()


def test_authorize_is_asked_before_404_and_405(node):
    b = node(config=ACL)
    for method, target in [("GET", "/nothing"), ("DELETE", "/ping"), ("OPTIONS", "/ping"), ("GET", "/v1/topics/none/x")]:
        assert_status(b.request(method, target), 401)
        assert b.request(method, target, None, {"Authorization": "Bearer r"}).status in (404, 405, 204)
    for method, target in [("POST", "/nothing"), ("PUT", "/ping")]:           # with a body, which is judged by itself
        assert_status(b.request(method, target, b"body"), 401)
        assert b.request(method, target, b"body", {"Authorization": "Bearer r"}).status in (404, 405)
    assert b.get("/healthz").status == b.request("HEAD", "/healthz").status == 200
    assert b.ok("GET", "/me/bob", None, {"Authorization": "Bearer a"}).json == ["alice", "bob", "own"]
    b.ok("POST", "/v1/topics/bob/messages", b"x", {"Authorization": "Bearer a"})
    a = b.ok("GET", "/v1/topics/bob/messages", None, {"Authorization": "Bearer r"})
    assert a.json["messages"][0]["headers"] == {"by": "alice"}


def test_on_publish_cannot_make_what_may_not_be_stored(node):
    b = node(config='''
function on_publish(msg)
  if msg.payload == "topic" then msg.topic = "../../etc" end
  if msg.payload == "internal" then msg.topic = "_topics" end
  if msg.payload == "payload" then msg.payload = nil end
  if msg.payload == "number" then msg.payload = {} end
  if msg.payload == "large" then msg.payload = ("x"):rep(2000000) end
  if msg.payload == "headers" then msg.headers = "x" end
end''')
    for word in ["topic", "internal", "payload", "number", "large", "headers"]:
        a = b.post("/v1/topics/t/messages", word)
        assert a.status >= 400, (word, a)
        assert a.json["appended"] is False
    b.publish("t", b"fine")
    assert b.messages("t") == [b"fine"]


def test_authorize_denies_and_allows(node):
    b = node(config='''
function authorize(request)
  if request.path == "/healthz" then return true end
  local token = request:header("Authorization")
  if token == nil then return false, "unauthorized" end
  return token == "Bearer good"
end''')
    assert b.get("/healthz").status == 200
    assert_status(b.get("/v1/topics"), 401)
    assert_status(b.get("/v1/topics", headers={"Authorization": "Bearer bad"}), 403, "forbidden")
    assert_status(b.get("/v1/topics", headers={"Authorization": "Bearer good"}), 200)
    a = b.post("/v1/topics/t/messages", b"x", headers={"Authorization": "Bearer bad"})
    assert_status(a, 403)
    assert b.get("/v1/topics/t", headers={"Authorization": "Bearer good"}).status == 404


@pytest.mark.parametrize("body", [
    'error("broken")', "local x = nil; return x.y", "while true do end", "return nil", "return 'yes' == 1",
    "return setmetatable({}, {__index = error})[1]",
], ids=as_id)
def test_a_failing_authorize_denies(node, body):
    b = node(config="function authorize(request) %s end" % body)
    for method, target in [("GET", "/v1/topics"), ("POST", "/v1/topics/t/messages"), ("POST", "/api/message"),
                           ("GET", "/metrics"), ("GET", "/nothing"), ("DELETE", "/v1/topics/t")]:
        a = b.request(method, target, b"{}" if method == "POST" else None)
        assert a.status >= 400, a
    b.write_config("")
    b.reload()
    assert b.get("/v1/topics/t").status == 404, "nothing was stored"
    b.stop()


@pytest.mark.parametrize("body", [
    "sleep(3600)", "while true do end", "fetch { url = 'http://127.0.0.1:%d/', timeout = 30 }",
    "pcall(sleep, 10) return true", "while true do pcall(sleep, 0.1) end", "signal('never'):wait() return true",
    "coroutine.wrap(function() sleep(10) end)() return true",
], ids=as_id)
def test_an_authorize_that_does_not_answer_in_time_denies(node, body):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as hangs:
        config = 'function authorize(req)\n  if req.path == "/fast" then return true end\n  %s\nend\n'
        b = node(config=(config % body).replace("%d", str(hangs.getsockname()[1])),
                 set=["limits.script_time=5"])           # of processor time, which by default may be over in the same moment
        began = time.monotonic()
        a = b.post("/v1/topics/t/messages", b"x")
        assert_status(a, 503, "unavailable")
        assert 0.9 < time.monotonic() - began < 9        # of 10 s and more
        assert a.json["appended"] is False and a.json["detail"].startswith("authorize failed; ") and a.header("retry-after")
        assert re.search(r"authorize failed: \S*lignum.lua:[23]: has not answered within 1000 ms", b.said())
        assert_status(b.get("/fast"), 404)
        b.write_config("")
        b.reload()
        assert b.get("/v1/topics/t").status == 404, "nothing was stored"


RUNAWAYS = {
    "an endless loop": ("while true do end", "script_timeout"),
    "a loop under pcall": ("while true do pcall(function() while true do end end) end", "script_timeout"),
    "a loop in a coroutine": ("while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
                              "script_timeout"),
    "a loop in coroutine.wrap": ("coroutine.wrap(function() while true do end end)()", "script_timeout"),
    "a loop in xpcall's handler": ("xpcall(error, function() while true do end end)", "script_timeout"),
    "a goto loop": ("::again:: goto again", "script_timeout"),
    "memory": ("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(10000) .. i end", ("script_memory", "script_timeout")),
    "one huge string": ("local s = 'x' while true do s = s .. s end", ("script_memory", "script_timeout")),
    "an error": ("error('my own mistake')", "script_error"),
    "an error that is a table": ("error({})", "script_error"),
    "an error that is nil": ("error(nil)", "script_error"),
    "a wrong type": ("local x = nil; return x.y.z", "script_error"),
    "deep recursion": ("local function f() return 1 + f() end return f()", ("script_error", "script_timeout", "script_memory")),
}


def test_a_runaway_hook_costs_only_its_own_request(node):
    config = ["function on_publish(msg)"]
    lines = {}
    for what, (body, _) in RUNAWAYS.items():
        config.append("  if msg.payload == %s then" % json.dumps(what))
        config.append("    %s" % body)
        lines[what] = len(config)
        config.append("  end")
    config.append("end")
    b = node(config="\n".join(config), set=["limits.script_memory=%d" % (32 << 20), "limits.script_time=0.2"])
    fine = on_own_connections(b, lambda c: assert_status(c.request("POST", "/v1/topics/fine/messages", b"x"), 200))
    with Background(fine) as others:
        for what, (body, code) in RUNAWAYS.items():
            a = b.post("/v1/topics/bad/messages", what.encode())
            assert a.status >= 500, a
            assert a.json["code"] in code, a      # `code` is a string or a tuple of codes
            assert a.json["detail"] == "on_publish failed; the node's log says more under this id", what
            said = said_of(b, a)
            if what not in ("an error that is nil", "an error that is a table", "deep recursion"):
                assert "lignum.lua:%d" % lines[what] in said
            assert a.json["appended"] is False
            others.progresses(20)
    t = b.get("/v1/topics/bad")
    assert t.status == 404 or t.json["next"] == 0, t
    assert b.status("VmRSS") < 200 * 1024


def test_a_pattern_that_takes_long_holds_up_nobody(node):
    """The usual idiom to trim a text, on blanks: it took 19 s, for everybody."""
    b = node(config="""route.get("/trim", function(req)
  local s = (" "):rep(60000) .. "x"
  return 200, #s:match("^(.-)%s*$")
end)
""")
    b.post("/v1/topics/t/messages", b"x")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        trimming = pool.submit(b.get, "/trim")
        slowest = 0
        while not trimming.done():
            began = time.monotonic()
            assert b.get("/healthz").status == 200
            assert b.get("/v1/topics/t/messages?from=0").status == 200
            slowest = max(slowest, time.monotonic() - began)
        a = trimming.result()
    assert (a.status, a.json["code"]) == (500, "script_timeout"), a
    assert slowest < 0.9, slowest
    assert 'lignum.lua:3: the pattern "(.-)%s*$" is over its budget of 1000 ms' in b.said()


def test_a_long_c_call_is_named_by_the_watchdog(node):
    """Comparisons of texts of 16 MB, all of them equal, take seconds in one call of C."""
    b = node(config="""function on_publish(msg)
  local s, t = ("a"):rep(16 << 20), {}
  for i = 1, 600 do t[i] = s end
  table.sort(t)
end
""")
    b.post("/v1/topics/t/messages", b"x", timeout=4 * PATIENCE)
    assert re.search(r"watchdog: \S*lignum.lua:4: .* has been inside one call of C for 1 s", b.said())
    assert b.get("/ping").status == 200


MISTAKES = {
    "topic('t'):append({ payload = 'x' }, { producer_id = 'p' })": "there is no field producer_id",
    "topic('t'):append()": "topic:append",
    "topic('t'):group('g'):claim { limit = 0/0 }": "limit must be a whole number",
    "topic('t'):read { from = -1 }": "from must be a whole number",
    "fetch { url = 7, retry = 2 }": "url must be a string",
    "jwt.sign({ exp = 0/0 }, ('x'):rep(32), 'HS256')": "json: a number that is not finite",
    "sleep(1e300)": "seconds must be at most 4294967",
    "lock('')": "name must have 1 to",
    "load({})": "string or function expected",
    "reject(7)": "why must be a string",
    "error({})": "an error value of type table",
}


def test_wrong_calls_are_blamed_on_the_line_of_the_script(node):
    """Also where a function of Lignum in Lua is between the two, while the file is loaded as well as later."""
    routes = ["route.get('/%d', function()\n  %s\n  return 200\nend)" % (i, code) for i, code in enumerate(MISTAKES)]
    b = node(config="\n".join(routes))
    b.post("/v1/topics/t/messages", b"x")
    assert b.request("PUT", "/v1/topics/t/groups/g", b"{}").status in (200, 201)
    for i, (code, words) in enumerate(MISTAKES.items()):
        a = b.get("/%d" % i)
        assert_status(a, 500, "script_error")
        said = said_of(b, a)
        assert words in said and (code == "error({})" or "lignum.lua:%d: " % (4 * i + 2) in said), (code, said)
    for code, words in [("fetch { url = 'http://127.0.0.1:1' }", "not while loading"), ("error({})", "not a text: table"),
                        ("sleep(1)", "not while loading"), ("jwt.sign({ exp = 0/0 }, ('x'):rep(32), 'HS256')", "json: ")]:
        b.write_config("\n" + code)
        said = b.reload(expect=False)
        assert "lignum.lua:2: " in said and words in said, code


def test_the_libraries_of_lua_are_the_files_own_and_load_sees_its_globals(node):
    b = node(config="""
table.sort, string.format, table.concat = nil, nil, nil
assert(load("return topic ~= nil and json ~= nil")())
assert(load("return x", "=x", "t", { x = 5 })() == 5)
route.get("/l", function() return 200, { load("return json ~= nil")(), select(2, pcall(load("return nothing"))) } end)
topic "b.*" {}
topic "*" {}""")
    assert b.get("/metrics").status == 200
    found, why = b.get("/l").json
    assert found is True and "there is no global nothing" in why


def test_locks_and_signals_are_of_the_node(node):
    """The console is another Lua state, and a reload makes a new one."""
    b = node(config="""
local woken = signal("woken")
route.get("/lock", function() local held <close> = lock("one") woken:send() signal("let go"):wait(20, 0) return 200, "held" end)
route.get("/wait", function() return 200, tostring(woken:wait(20, 1)) end)
""")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waits = pool.submit(b.get, "/wait")
        holds = pool.submit(b.get, "/lock")
        assert b.lua('return signal("woken"):wait(20, 0)') == "1"
        assert b.lua('return select(3, lock("one", 0.01))') == '"timeout"'
        b.lua('signal("let go"):send()')
        assert holds.result().text == "held"
        assert b.lua('return lock("one", 20) ~= nil') == "true"
        b.reload()
        assert b.lua('return signal("woken"):send()') == "2"
        assert waits.result().text == "2"


# ---- routes, timers, rocks

def test_what_a_script_writes_into_params_is_that_requests_alone(node):
    b = node(config='''
route.get("/whoami", function(req)
  local before = req.params.user
  req.params.user = req.query.user
  return 200, { before = before, now = req.params.user }
end)''')
    assert b.get("/whoami?user=alice").json == {"now": "alice"}
    assert b.get("/whoami").json == {}


def test_an_operators_own_routes(node):
    b = node(config='''
local count = 0
route.get("/hello/{name}", function(req) return 200, { hello = req.params.name, q = req.query.q } end)
route.post("/orders", function(req)
  local order, why = req:json { id = "integer", note = "string?" }
  if not order then return http.fail("bad_value", why) end
  local first, problem, code = topic("orders"):append(json.encode(order))
  if not first then return http.fail(code, problem) end
  return 201, { first = first }, { location = "/orders/" .. first }
end)
route.get("/text", function() return 200, "text" end)
route.get("/stream", function() return 200, function(write) for i = 1, 3 do write("part " .. i .. "\\n") sleep(0.01) end end end)
route.get("/empty", function() return 204 end)
route.get("/read", function() return 200, topic("orders"):read { from = 0 } end)
route.get("/fails", function() return nil, "no such thing", "not_found" end)
route.get("/err", function() error("broken route") end)
route.get("/headers", function() return 200, "x", { ["x-evil"] = "a\\r\\nInjected: yes" } end)
route.get("/list", function() return 200, json.array {} end)
route.get("/bad-status", function() return 42, "x" end)
route.get("/bad-body", function() return 200, { f = print } end)
''')
    assert b.get("/hello/w%20%C3%A9?q=a+b").json == {"hello": "w é", "q": "a b"}
    a = b.post("/orders", '{"id": 9007199254740991}')
    assert (a.status, a.json, a.header("location")) == (201, {"first": 0}, "/orders/0")
    assert b.messages("orders") == [b'{"id":9007199254740991}']
    a = b.post("/orders", '{"id": "x"}')
    assert_status(a, 400, "bad_value")
    assert "id" in a.json["detail"]
    assert "nota" in b.post("/orders", '{"id": 1, "nota": 1}').json["detail"]
    assert b.get("/text").body == b"text"
    a = b.get("/stream")
    assert (a.body, a.header("transfer-encoding")) == (b"part 1\npart 2\npart 3\n", "chunked")
    a = b.get("/empty")
    assert (a.status, a.body) == (204, b"")
    assert b.get("/read").json["messages"][0]["offset"] == 0
    assert_status(b.get("/fails"), 404, "not_found")
    a = b.get("/err")
    assert_status(a, 500, "script_error")
    assert "lignum.lua" not in a.text and a.json["detail"].startswith("GET /err failed; ")
    a = b.get("/headers")
    assert a.header("injected") is None
    assert b.get("/list").body == b"[]"
    assert b.get("/bad-status").status == 500
    assert b.get("/bad-body").status == 500
    assert b.request("DELETE", "/text").status == 405
    assert b.get("/ping").body == b"PONG"


def test_streaming_to_a_client_that_leaves_ends_the_task(node):
    b = node(config='''
route.get("/endless", function() return 200, function(write)
  local mark <close> = setmetatable({}, {__close = function() say.info("stream closed") end})
  while true do write(("x"):rep(10000)) end
end end)''')
    with b.connect() as c:
        c.send(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _ = c.head()
        assert status == 200
        for _ in range(20):
            assert c.chunk()
    wait_until(lambda: "stream closed" in b.said())
    assert "over its budget" not in b.said()
    assert b.status("VmRSS") < (500 if SANITIZED else 100) * 1024     # a sanitizer keeps what is freed, up to 256 MiB


def test_rocks_can_be_required(make_node):
    b = make_node(config='')
    share = os.path.join(b.folder, "rocks", "share", "lua", "5.4")
    os.makedirs(share)
    with open(os.path.join(share, "shout.lua"), "w") as f:
        f.write("return function(s) return s:upper() end")
    b.write_config('local shout = require "shout"\nroute.get("/shout/{w}", function(r) return 200, shout(r.params.w) end)')
    b.start()
    assert b.get("/shout/abc").body == b"ABC"
    b.write_config('require "no.such.rock"')
    assert "no.such.rock" in b.reload(expect=False)


def test_every_runs_again_and_again_and_survives_its_own_errors(node):
    b = node(config='''
every(0.02, function() topic("ticks"):append("tick") end)
every(0.02, function() error("broken timer") end)
every(0.02, function() while true do end end)''', set=["limits.script_time=0.05"])
    wait_until(lambda: b.get("/v1/topics/ticks").status == 200 and b.topic("ticks")["next"] >= 5,
               what="five ticks")
    assert re.search(r"lignum\.lua:3", b.said())
    wait_until(lambda: re.search(r"lignum\.lua:4", b.said()), what="the endless one is named")
    b.write_config("")
    b.reload()
    at = b.topic("ticks")["next"]
    hold_for(0.2, "ten times a timer's period")
    assert b.topic("ticks")["next"] <= at + 1, "a reload ends the timers of before"


def test_fetch_waits_like_any_call(node):
    other = node(config='route.get("/late", function() sleep(1) return 200, "late" end)')
    b = node(config='''
route.get("/via", function(req)
  local r, why, code = fetch { url = "http://127.0.0.1:%d/late", timeout = 20 }
  if not r then return http.fail(code, why) end
  return 200, r.body
end)
route.get("/refused", function() local r, why, code = fetch { url = "http://127.0.0.1:1/" } return 200, { code = code } end)
route.get("/scheme", function() local r, why, code = fetch { url = "file:///etc/passwd" } return 200, { code = code } end)
route.get("/timeout", function()
  local r, why, code = fetch { url = "http://127.0.0.1:%d/late", timeout = 0.05 }
  return 200, { code = code }
end)
''' % (other.port, other.port))
    began, bodies = time.monotonic(), []
    in_threads(*[lambda: bodies.append(b.get("/via").body)] * 10)
    assert bodies == [b"late"] * 10
    assert time.monotonic() - began < 8, "ten at once do not queue up behind each other"
    assert b.get("/refused").json == {"code": "fetch_failed"}
    assert b.get("/scheme").json == {"code": "bad_value"}
    assert b.get("/timeout").json == {"code": "timeout"}


def test_a_failure_is_in_the_log_with_its_lines_under_the_id_of_its_answer(node):
    b = node(config='''
local function inner(x)
  return x.field.of_nothing
end
local function outer(req)
  local v = inner(req.query)
  return v
end
route.get("/fails", function(req)
  local v = outer(req)
  return 200, v
end)
every(0.02, function() local v = inner({}) return v end)''')
    a = b.get("/fails")
    assert_status(a, 500, "script_error")
    assert re.fullmatch("[0-9a-f]{8}", a.json["id"])
    line = said_of(b, a)
    for one in "lignum.lua:3 in inner", "lignum.lua:6 in outer", "lignum.lua:10":
        assert one in line
    assert line.index("lua:3 in") < line.index("lua:6 in") < line.index("lignum.lua:10")
    assert a.json["id"] != b.get("/fails").json["id"]
    wait_until(lambda: re.search("every 0.02 s.*trace=.*lignum.lua:3 in inner < [^<]*lignum.lua:13", b.said()), what="a timer's too")
    assert "id" not in b.get("/nothing").json


# ---- what scripts cannot take from the broker

LEAKS = {
    "on_publish": ("function on_publish(m) keep(m.payload) end", "/v1/topics/leak/messages"),
    "a route": ('route.post("/leak", function(req) keep(req.body) return 200 end)', "/leak"),
    "a caught error": ("function on_publish(m) pcall(keep, m.payload) end", "/v1/topics/leak/messages"),
}


@pytest.mark.parametrize("what", LEAKS)
def test_what_leaks_takes_nothing_from_the_broker_and_a_reload_frees_it(node, what):
    config, path = LEAKS[what]
    b = node(config="""
local head
local function keep(id) head = { id = id .. "!", next = head } end
""" + config + """
function authorize(req) return true end
route.get("/before", function() return 200, "before" end)
every(0.01, function() shared.dict("ticks"):incr("n") end)""", set=["limits.script_memory=%d" % (8 << 20)])
    b.publish("t", b"kept")
    with b.connect() as c:
        while "its on_publish, routes and timers fail" not in b.said():
            for _ in range(100):
                last = c.request("POST", path, b"x" * 1000)
    wait_until(lambda: b.post(path, b"x").status == 500, what="it is not called")
    refused = b.post(path, b"x")
    assert_status(refused, 500, "script_memory")
    assert "is reloaded" in b.said(), (refused, last)
    for _ in range(50):
        assert b.messages("t")[0] == b"kept"
        for read in "/healthz", "/readyz", "/metrics", "/v1/cluster", "/v1/topics":
            assert b.get(read).status == 200, read
    assert b.lua("return 6 * 7") == "42"
    assert_status(b.get("/before"), 500, "script_memory")       # a route of the operator's
    b.write_config("")
    b.reload()
    assert b.publish("leak", b"again")
    assert b.said().count("its on_publish, routes and timers fail") == 1


@pytest.mark.parametrize("config, probes", [
    ("function authorize(req) keep(req.body or req.path) return true end", ["/healthz"]),
    ("route.use(function(req, next) keep(req.body or req.path) return next(req) end)", ["/healthz", "/readyz"]),
    ("every(0.001, function() for i = 1, 100 do keep(('x'):rep(1000)) end end)",
     ["/healthz", "/readyz", "/metrics", "/v1/topics", "/v1/topics/t/messages?from=0"]),
], ids=["authorize", "route.use", "a timer"])
def test_what_leaks_in_all_requests_stops_neither_health_checks_nor_the_cure(node, config, probes):
    """Where the operator's code decides about each request, what needs no decision goes on: health checks, console, reload."""
    b = node(config="local head\nlocal function keep(id) head = { id = id .. '!', next = head } end\n" + config,
             set=["limits.script_memory=%d" % (8 << 20)])
    with b.connect() as c:
        for _ in range(200):
            for _ in range(500):
                last = c.request("POST", "/v1/topics/t/messages", b"x" * 1000)
            if last.status == 500 or "its on_publish, routes and timers fail" in b.said():
                break
    for _ in range(50):
        for path in probes:
            assert b.get(path).status == 200, path
    assert b.lua("return 6 * 7") == "42"
    b.write_config("")
    b.reload()
    assert b.publish("t", b"again") and b.get("/metrics").status == 200


def test_routes_that_compute_hold_up_no_health_check(node, figure):
    b = node(config="""
route.get("/busy", function()
  local till = os.clock() + 0.02
  while os.clock() < till do end
  return 200
end)""")
    took = []
    busy = on_own_connections(b, lambda c: c.request("GET", "/busy"))
    with contextlib.ExitStack() as crowd:
        clients = [crowd.enter_context(Background(busy)) for _ in range(40)]
        clients[0].progresses(1)
        for _ in range(20):
            began = time.monotonic()
            assert b.get("/healthz").status == 200
            took.append(time.monotonic() - began)
    figure("a health check takes at most %.3f s beside 40 clients of a route that computes for 20 ms" % max(took))
    assert sorted(took)[-5] < 0.5, took          # behind all of them, each takes 0.8 s


def test_a_timer_that_never_gives_up_does_not_delay_the_end_and_does_not_fill_the_log(node):
    b = node(config="every(0.01, function() while true do pcall(sleep, 0.1) say.info('on and on') end end)\n"
                    "every(0.01, function() for i = 1, 3000 do say.warn('line ' .. i) end sleep(3600) end)")
    wait_until(lambda: "more lines of lignum.lua" in b.said(), what="the log is limited")
    began = time.monotonic()
    b.stop()
    assert time.monotonic() - began < 8
    left_out = sum(int(n) for n in re.findall(r"left out (\d+) more lines of lignum", b.said()))
    assert left_out + b.said().count("warn lua: line ") + b.said().count("on and on") >= 3000
    assert b.said().count("on and on") < 100


def test_tasks_of_clients_that_have_gone_end(node):
    b = node(config="""
local open = 0
route.get("/job/{id}", function(req)
  local mark <close> = setmetatable({}, { __close = function() open = open - 1 end })
  open = open + 1
  while true do sleep(1000) end
end)
route.get("/open", function() return 200, tostring(open) end)""", set=["limits.tasks=20"])
    for _ in range(3):
        clients = [b.connect() for _ in range(10)]
        for c in clients:
            c.send(b"GET /job/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: b.get("/open").body == b"10", what="they wait")
        for c in clients:
            c.close()
        wait_until(lambda: b.get("/open").body == b"0", what="they have ended")


def test_a_failure_after_a_change_does_not_say_that_nothing_was_appended(node):
    """Topics, groups and tokens are changed by records, too. Whoever is told "appended": false may send a request again."""
    b = node(config="""
route.post("/topic", function() assert(topic("new"):create()) error "late" end)
route.post("/settings", function() assert(topic("t"):set { retain = { age = 60 } }) error "late" end)
route.post("/delete", function() assert(topic("new"):delete()) error "late" end)
route.post("/group", function() assert(topic("t"):group("g"):create({}, 0)) error "late" end)
route.post("/claim", function() assert(#topic("t"):group("g"):claim {} == 1) error "late" end)
route.post("/settle", function()
  local m = topic("t"):group("g"):claim {}[1]
  assert(topic("t"):group("g"):settle { ack = { m.lease } }) error "late"
end)
route.post("/nothing", function() error "early" end)
topic "t" { auto_group = true }
""")
    b.ok("POST", "/v1/topics/t/messages", b"one\ntwo", {"Content-Type": "application/x-ndjson"})
    for path in "/topic", "/settings", "/delete", "/group", "/claim", "/settle":
        a = b.post(path, b"")
        assert a.status == 500 and "appended" not in a.json, (path, a)
    assert b.post("/nothing", b"").json["appended"] is False
