"""What the console shows of a running lignum.lua: traces of hooks, profiles, and its own world."""

import json
import re
import xml.etree.ElementTree

from common import Background

CONFIG = """
console { lua = true }
local seen, limits_of = 0, { most = 3 }
local function work(n)
  local t = 0
  for i = 1, n do t = t + i % 7 end
  return t
end
function on_publish(msg)
  seen = seen + 1
  if msg.payload == "work" then work(2000000) end
  if msg.payload == "bad" then return reject("bad one", { status = 422 }) end
  if msg.payload == "fails" then error("cannot") end
  if msg.payload == "change" then msg.payload = "changed" end
  if seen > limits_of.most then msg.headers.late = "yes" end
end
"""


def test_a_trace_shows_the_next_calls_of_a_hook_and_what_they_changed(node):
    b = node(config=CONFIG)
    posted = []

    def post():
        for payload in [b"plain", b"bad", b"fails", b"change"]:
            posted.append((payload, b.post("/v1/topics/t/messages", payload).status))

    with Background(post):
        said = b.lua('trace("on_publish", 8)')
    lines = [l for l in said.splitlines() if l.startswith("on_publish ")]
    assert len(lines) == 8, said
    assert said.count('reject("bad one") rejected') == 2
    assert len(re.findall(r"failed: \S*lignum.lua:\d+: cannot", said)) == 2, said
    assert said.count('.payload: "change" -> "changed"') == 2
    assert set(posted) == {(b"plain", 200), (b"bad", 422), (b"fails", 500), (b"change", 200)}, "a traced call ends as ever"
    assert "lignum.lua defines no on_retry" in b.lua('return pcall(trace, "on_retry", 1)')
    assert "such as trace" in b.lua('return pcall(trace, "on_publish", 0)')


def test_a_profile_says_where_the_time_of_scripts_goes(node, tmp_path):
    b = node(config=CONFIG)

    with Background(lambda: b.publish("t", b"work")):
        folded = b.lua("profile(1.5)")
        b.lua('profile(1.5, "%s")' % (tmp_path / "profile.svg"))
    stacks = dict(line.rsplit(" ", 1) for line in folded.splitlines() if line)
    inside = [s for s in stacks if re.search(r"lignum.lua:\d+;work lignum.lua:4$", s)]
    assert inside, folded
    assert sum(int(stacks[s]) for s in inside) > sum(map(int, stacks.values())) / 2, folded
    svg = xml.etree.ElementTree.parse(tmp_path / "profile.svg").getroot()
    titles = [t.text for t in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert any(t.startswith("work lignum.lua:4 (") for t in titles), titles
    assert b.post("/v1/topics/t/messages", b"still gives way").status == 200


def test_world_is_lignum_luas_own(node):
    b = node(config=CONFIG)

    def line(text):
        a = b.post("/v1/console", json.dumps({"line": text, "session": "s"}))
        assert a.status == 200, a.json
        return a.json["outcome"], a.json.get("result"), a.json["output"]

    b.publish("t", b"one")
    assert line("on_publish")[1] == "nil"                    # the core's world has no hooks
    assert line(":world")[0] == "ok"
    assert line("upvalues(on_publish).seen") == ("ok", "1", "")
    assert line("upvalues(on_publish).limits_of.most")[1] == "3"
    assert line("on_publish { payload = 'bad', headers = {}, topic = 't' }")[0] == "ok"
    assert line("upvalues(on_publish).seen")[1] == "2"
    assert line("x = 20") == ("ok", "", "")
    assert line("print('hello') return x + 1, _") == ("ok", "21, 2", "hello\n")
    assert line("nope")[0] == "error" and "there is no global nope" in line("nope")[1]
    assert line("for i = 1, 2 do")[0] == "more"
    assert line("topic('t'):info().next")[1] == "1"
    assert line("while true do end")[0] == "error"
    assert line(":core")[0] == "ok"
    assert line("config.console.lua")[1] == "true"


def test_calls_of_hooks_have_a_median(node):
    b = node(config=CONFIG)
    for i in range(20):
        b.publish("t", b"%d" % i)
    hook = next(h for h in b.get("/v1/hooks").json["hooks"] if h["name"] == "on_publish")
    assert hook["calls"] == 20 and 0 <= hook["p50"] <= hook["p99"]
