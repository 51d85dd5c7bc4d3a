"""The hook on_published: it is shown what is acknowledged, in order, and holds up nobody."""

import json

import pytest

from common import wait_until

CONFIG = """
topic "*" { auto_create = true }
local slow = shared.dict("slow")
function on_published(msg, ctx)
  if msg.payload == "break" then error("it is broken") end
  if slow:get("on") then sleep(5) end
  if msg.topic:find("^seen") then error("it is shown what it appends") end
  topic("seen"):append(json.encode { msg.topic, msg.offset, msg.payload, msg.key or "-", msg.headers.h or "-", ctx.peer ~= nil })
end
route.post("/mine", function(req)
  topic("t"):append { "from a route", { payload = "raw", key = "k" } }
  topic("t"):append("unseen by on_publish", { raw = true })
  return 200
end)
%s
"""


def seen(b):
    a = b.get("/v1/topics/seen/messages?from=0&limit=1000&raw=1", headers={"Accept": "application/x-ndjson"})
    return [json.loads(line) for line in a.body.decode().splitlines()] if a.status == 200 else []


def check_all(b, changed):
    b.publish("t", b"one")
    b.ok("POST", "/v1/topics/t/messages", b"two\nthree", {"Content-Type": "application/x-ndjson"})
    b.ok("POST", "/v1/topics/t/messages", json.dumps([{"data": "four", "key": "k", "headers": {"h": "x"}}]),
         {"Content-Type": "application/json"})
    b.ok("POST", "/api/message", json.dumps({"topic": "t", "message": "five"}))
    b.ok("POST", "/mine", b"")
    for _ in range(2):                                   # the second is a duplicate
        b.ok("POST", "/v1/topics/t/messages", b"six", {"Idempotency-Key": "a"})
    wait_until(lambda: len(seen(b)) == 9)
    end = "!" if changed else ""
    assert seen(b) == [
        ["t", 0, "one" + end, "-", "-", True], ["t", 1, "two" + end, "-", "-", True], ["t", 2, "three" + end, "-", "-", True],
        ["t", 3, "four" + end, "k", "x", True], ["t", 4, "five" + end, "-", "-", True],
        ["t", 5, "from a route" + end, "-", "-", False], ["t", 6, "raw" + end, "k", "-", False],
        ["t", 7, "unseen by on_publish", "-", "-", False], ["t", 8, "six" + end, "-", "-", True]]
    assert b.messages("t")[0] == b"one" + end.encode()


def test_it_is_shown_what_is_acknowledged(node):
    check_all(node(config=CONFIG % ""), changed=False)


def test_it_is_shown_messages_as_on_publish_leaves_them(node):
    b = node(config=CONFIG % 'function on_publish(msg) if msg.topic == "t" then msg.payload = msg.payload .. "!" end end')
    check_all(b, changed=True)


def test_an_error_is_logged_and_the_next_message_is_shown(node):
    b = node(config=CONFIG % "")
    b.publish("t", b"break")
    b.publish("t", b"fine")
    wait_until(lambda: [m[2] for m in seen(b)] == ["fine"])
    assert "it is broken" in b.said() and "lignum.lua:5" in b.said()
    [hook] = [h for h in b.get("/v1/hooks").json["hooks"] if h["name"] == "on_published"]
    assert hook["calls"] == 2 and hook["errors"] == 1


def test_it_is_shown_what_clients_append_to_streams(node):
    b = node(config=CONFIG % "" + "durable_streams {}")
    text, json_ = {"Content-Type": "text/plain"}, {"Content-Type": "application/json"}
    producer = {"Producer-Id": "p", "Producer-Epoch": "0", "Producer-Seq": "0"}
    b.ok("PUT", "/v1/stream/a", b"begun", text, status=201)
    b.ok("POST", "/v1/stream/a", b"two", text, status=204)
    b.ok("POST", "/v1/stream/a", b"three", text, status=204)
    for status in 200, 204:                              # the second is a duplicate
        b.ok("POST", "/v1/stream/a", b"four", {**text, **producer}, status=status)
    b.ok("POST", "/v1/stream/a", b"", {"Stream-Closed": "true"}, status=204)      # stores a record that is no message
    b.ok("PUT", "/v1/stream/j", b"", json_, status=201)
    b.ok("POST", "/v1/stream/j", b'[1, {"x": 2}]', json_, status=204)
    wait_until(lambda: len(seen(b)) == 6)
    assert [m[:3] for m in seen(b)] == [
        ["stream.a", 0, "begun"], ["stream.a", 1, "two"], ["stream.a", 2, "three"], ["stream.a", 3, "four"],
        ["stream.j", 0, "1"], ["stream.j", 1, '{"x": 2}']]
    assert all(m[5] for m in seen(b))


@pytest.mark.parametrize("message, count", [({"data": "x" * (1 << 20)}, 1), ({"data": "", "headers": {"h": "x" * 15000}}, 70)],
                         ids=["payloads", "headers"])
def test_a_slow_hook_holds_up_no_publish_and_what_waits_is_bounded(node, message, count):
    b = node(config=CONFIG % "")
    b.lua("shared.dict('slow'):set('on', true)")
    for _ in range(20):
        b.ok("POST", "/v1/topics/t/messages", json.dumps([message] * count), {"Content-Type": "application/json"})
    assert b.get("/v1/topics/t").json["next"] == 20 * count
    wait_until(lambda: "on_published is too slow" in b.said())
    b.stop()
