"""The canary: another lignum.lua judges a share of the live messages beside the present one, and changes nothing."""

import json
import os
import subprocess

from client import assert_status
from common import BINARY, wait_until

PRESENT = """
function on_publish(msg)
  if msg.payload == "bad" then return reject("bad one") end
  if msg.payload == "quiet" then reject("not returned") end
end
"""
NEW = """
local n = 0
function on_publish(msg)
  n = n + 1
  if msg.payload == "bad" then reject("bad two") end
  if msg.payload == "worse" then return reject("worse one", { status = 422 }) end
  if msg.payload == "change" then msg.payload = "changed" msg.headers.seen = "yes" end
  if msg.payload == "go" then msg.topic = "elsewhere" end
  if msg.payload == "fail" then error("cannot") end
  if msg.payload == "acts" then
    topic("audit"):append("x")
    fetch { url = "http://127.0.0.1:1/" }
    shared.dict("d"):incr("n", 1)
    spawn(function() topic("audit"):append("y") end)
  end
  if msg.payload == "stats" then node.stats() end
  if msg.payload == "spins" then while true do end end
end
"""


def reload(b, *flags, code=0):
    p = subprocess.run([BINARY, "reload", "--url", "http://127.0.0.1:%d" % b.port, *flags], capture_output=True, text=True,
                       timeout=60)
    assert p.returncode == code, p.stdout + p.stderr
    return p.stdout + p.stderr


def report(b):
    return b.get("/v1/canary").json


def judged(b, n):
    """The report, once n messages are judged."""
    wait_until(lambda: report(b)["judged"] == n)
    return report(b)


def begin(node, share="100%", new=NEW):
    b = node(config=PRESENT)
    b.write_config(new)
    assert "has a canary" in reload(b, "--canary", share)
    return b


def test_a_canary_is_compared_and_changes_nothing(node):
    b = begin(node)
    for payload in [b"same", b"bad", b"worse", b"change", b"go", b"fail", b"acts", b"same"]:
        b.post("/v1/topics/t/messages", payload)
    r = judged(b, 8)
    assert r["state"] == "on" and r["share"] == 1
    assert r["kinds"] == {"same": 4, "accepted": 0, "rejected": 1, "changed": 1, "rerouted": 1, "failed": 1}
    assert r["examples"]["rejected"][0]["what"] == "worse one (rejected)"
    assert r["examples"]["rerouted"][0]["what"] == "to elsewhere, not t"
    assert "lignum.lua:9: cannot" in r["examples"]["failed"][0]["what"]
    assert r["undone"]['topic "audit":append'] == 1 and r["undone"]["spawn"] == 1
    assert b.messages("t") == [b"same", b"worse", b"change", b"go", b"fail", b"acts", b"same"]
    for name in ["audit", "elsewhere"]:
        assert b.get("/v1/topics/" + name).status == 404
    metrics = b.get("/metrics").body.decode()
    assert 'lignum_canary_messages_total{outcome="changed"} 1' in metrics and "lignum_canary_active 1" in metrics
    node = b.get("/v1/node").json
    assert node["canary"] == b.get("/v1/canary").json and node["ready"] is True and node["role"] == "alone"
    said = reload(b, "--status")
    assert "canary on, 100 %" in said and "worse one (rejected)" in said


def test_each_kind_of_difference_is_one_by_itself(node):
    b = begin(node, new="""function on_publish(msg)
  if msg.payload == "key" then msg.key = "other" end
  if msg.payload == "header" then msg.headers.seen = "yes" end
  if msg.payload == "text" then msg.payload = "other" end
end""")
    for payload in [b"key", b"header", b"text", b"bad", b"quiet", b"same"]:
        b.post("/v1/topics/t/messages", payload)
    r = judged(b, 6)
    assert b.messages("t") == [b"key", b"header", b"text", b"same"]
    assert r["kinds"] == {"same": 1, "accepted": 2, "rejected": 0, "changed": 3, "rerouted": 0, "failed": 0}
    assert [e["what"] for e in r["examples"]["accepted"]] == ["bad one", "not returned"]
    assert [e["what"] for e in r["examples"]["changed"]] == [".key", ".headers.seen", "payload"]


def test_a_share_of_the_messages_is_judged(node):
    b = begin(node, "25%")
    for i in range(40):
        b.publish("t", b"%d" % i)
    assert judged(b, 10)["kinds"]["same"] == 10


def test_batches_and_what_scripts_append_are_judged_too(node):
    b = begin(node)
    b.lua('topic("t"):append { "one", "worse" }')
    assert judged(b, 2)["kinds"]["rejected"] == 1


def test_promote_reloads_and_abort_ends(node):
    b = begin(node)
    assert "has ended its canary" in reload(b, "--abort")
    assert "has no canary" in reload(b, "--abort")
    assert report(b) == {"state": "off"}
    b.publish("t", b"worse")
    assert "has a canary" in reload(b, "--canary", "5")
    assert "has reloaded" in reload(b, "--promote")
    assert report(b) == {"state": "off"}
    assert_status(b.post("/v1/topics/t/messages", b"worse"), 422)


def test_one_that_fails_too_often_is_aborted_by_itself(node):
    b = begin(node, new="function on_publish() error('never right') end")
    for i in range(30):
        b.publish("t", b"%d" % i)
    wait_until(lambda: report(b)["state"] == "aborted")
    r = report(b)
    assert r["judged"] < 30 and "10 of 10 messages have failed: " in r["why"] and "never right" in r["why"], r
    assert b.said().count("the canary is aborted: ") == 1
    assert len(b.messages("t")) == 30
    assert "lignum_canary_active 0" in b.get("/metrics").body.decode()


def test_a_hook_that_needs_the_node_or_never_ends_fails_alone(node):
    b = begin(node)
    b.publish("t", b"stats")
    b.publish("t", b"spins")
    b.publish("t", b"same")
    r = judged(b, 3)
    assert r["kinds"]["same"] == 1 and b.messages("t") == [b"stats", b"spins", b"same"]
    assert "this is not done in a canary" in r["examples"]["failed"][0]["what"]
    assert b.get("/readyz").status == 200


def test_a_file_with_a_mistake_begins_no_canary(node):
    b = node(config=PRESENT)
    b.write_config("on_publich = 1\n")
    assert "on_publich: is not a hook" in reload(b, "--canary", "5%", code=65)
    assert report(b) == {"state": "off"}
    assert "a share such as 5%" in reload(b, "--canary", "all", code=65)
    assert "exclude each other" in reload(b, "--canary", "5%", "--abort", code=64)
    assert json.loads(reload(b, "--status", "-o", "json")) == {"state": "off"}
    assert os.path.exists(b.config_path)
