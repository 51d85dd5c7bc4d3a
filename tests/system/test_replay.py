"""`lignum replay`: the messages of a topic, judged by a new lignum.lua beside the present one, without doing anything."""

import errno
import hashlib
import json
import os
import subprocess

import pytest

from common import BINARY, hold_for, running, wait_until

PRESENT = """
function on_publish(msg)
  if msg.payload == "" then return reject("empty") end
  if msg.payload:find("old rule") then return reject("old rule") end
end
"""
NEW = """
function on_publish(msg)
  local ok, order = pcall(json.decode, msg.payload)
  if not ok or type(order) ~= "table" then return reject("not JSON", { status = 422 }) end
  if order.id == 1 then error("cannot judge it") end
  if order.id == 2 then order.total = 7 order.items[2].price = 5 msg.payload = json.encode(order) end
  if order.id == 3 then msg.topic = "elsewhere" end
  if order.id == 4 then msg.headers.seen = "yes" end
  if order.id == 5 then msg.key = "other" end
  if order.id == 6 then
    fetch { url = "https://nobody.example/x?secret" }
    topic("audit"):append("x")
    spawn(function() end)
    shared.dict("seen"):incr("n", 1)
    sleep(3600)
  end
end
"""


def replay(folder, *flags, new=NEW, code=0):
    """Runs `lignum replay` with this file, and returns what it prints."""
    path = os.path.join(folder, "new.lua")
    with open(path, "w") as f:
        f.write(new)
    p = subprocess.run([BINARY, "replay", "--config", path, *flags], cwd=folder, capture_output=True, text=True, timeout=120)
    assert p.returncode == code, p.stdout + p.stderr
    return json.loads(p.stdout) if "json" in flags else p.stdout + p.stderr


def contents(folder):
    """The checksums of all files below a folder."""
    sums = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    sums[path] = hashlib.sha256(f.read()).hexdigest()
    return sums


@pytest.fixture
def orders(node):
    """A node whose topic `orders` has 20 orders, and one message that is no JSON."""
    b = node(config=PRESENT)
    for i in range(20):
        order = {"id": i, "items": [{"price": 3}, {"price": 4}]}
        b.publish("orders", json.dumps(order).encode(), {"Lignum-Key": "k%d" % (i % 2), "Lignum-Header-Shop": "s"})
    b.publish("orders", b"no JSON")
    return b


@pytest.mark.parametrize("source", ["data", "url"])
def test_both_files_judge_each_message_and_differences_are_counted_by_reason(orders, source):
    b = orders
    where = ["--data", b.data] if source == "data" else ["--url", "http://127.0.0.1:%d" % b.port]
    before = contents(b.data)
    r = replay(b.folder, "--topic", "orders", "--against", b.config_path, "-o", "json", *where)
    assert contents(b.data) == before
    assert b.get("/v1/topics/elsewhere").status == 404 and b.get("/v1/topics/audit").status == 404
    assert (r["messages"], r["same"], r["damage"]) == (21, 15, [])
    assert {k: r["present"][k] for k in ("accepted", "rejected", "failed")} == {"accepted": 21, "rejected": 0, "failed": 0}
    assert {k: r["new"][k] for k in ("accepted", "rejected", "failed")} == {"accepted": 19, "rejected": 1, "failed": 1}
    assert r["rejected"]["reasons"] == [{"reason": "not JSON", "count": 1, "first": 20}]
    assert r["failed"]["examples"] == [{"offset": 1, "what": "%s:5: cannot judge it" % os.path.join(b.folder, "new.lua")}]
    assert r["rerouted"]["examples"] == [{"offset": 3, "what": "to elsewhere"}]
    assert {(x["reason"], x["first"]) for x in r["changed"]["reasons"]} == {
        (".items[].price", 2), (".total added", 2), ("headers", 4), ("key", 5)}
    undone = r["new"]["undone"]
    assert undone == {"fetch https://nobody.example/x": 1, 'topic "audit":append': 1, "spawn": 1, "sleep": 1, "shared seen": 1}
    assert r["new"]["hook"].endswith("new.lua:2") and r["new"]["p50_ns"] > 0
    text = replay(b.folder, "--topic", "orders", "--against", b.config_path, *where)
    assert "21 messages judged" in text and "not JSON (first at offset 20)" in text and "not done, only counted" in text


def test_ranges_samples_and_conditions_choose_messages(orders):
    b = orders

    def count(*flags, code=0):
        return replay(b.folder, "--topic", "orders", "--data", b.data, "-o", "json", *flags, code=code)["messages"]

    assert count("--from", "5") == 16
    assert count("--from", "5", "--to", "7") == 2
    assert count("--from", "-1h") == 21
    assert count("--to", "-1h") == 0
    assert count("--from", "2100-01-01T00:00:00Z") == 0
    assert count("--sample", "50%") == 11
    assert count("--where", "msg.key == 'k1' and offset < 10") == 5
    assert count("--where", "msg.headers.Shop == 's' or msg.headers.shop == 's'") == 20


def test_exit_codes_tell_differences_and_mistakes(orders):
    b = orders
    source = ["--topic", "orders", "--data", b.data]
    replay(b.folder, *source, "--fail-on", "changed,failed", code=1)
    replay(b.folder, *source, "--fail-on", "accepted,damage")
    replay(b.folder, *source, "--fail-on", "rejected", new=PRESENT)
    said = replay(b.folder, *source, new="local x = = 1\n", code=64)
    assert "new.lua:1: unexpected symbol" in said
    said = replay(b.folder, *source, new="on_publich = function() end\n", code=64)
    assert "new.lua:1: on_publich: is not a hook; did you mean on_publish?" in said
    assert "there is no such topic" in replay(b.folder, "--topic", "none", "--data", b.data, code=66)
    assert "not a data directory" in replay(b.folder, "--topic", "none", "--data", b.folder, code=65)
    assert "none of" in replay(b.folder, *source, "--fail-on", "different", code=64)
    assert "--from: yesterday is no offset" in replay(b.folder, *source, "--from", "yesterday", code=64)
    assert "--where:1:" in replay(b.folder, *source, "--where", "msg.", code=64)
    assert "is no share" in replay(b.folder, *source, "--sample", "lots", code=64)
    r = replay(b.folder, *source, "--to", "1", "-o", "json", new="function on_publish() while true do end end")
    assert "new.lua:1: over its budget of 1000 ms" in r["failed"]["examples"][0]["what"]


def test_a_file_of_another_host_is_judged_where_its_addresses_and_certificates_are_not(orders):
    b = orders
    new = """listen { address = "10.255.255.1:443", tls = { cert = "none.crt", key = "none.key" } }
cluster { consul = { address = "consul.example:8500" } }
""" + NEW
    r = replay(b.folder, "--topic", "orders", "--data", b.data, "--against", b.config_path, "-o", "json", new=new)
    assert r["rejected"]["count"] == 1


def test_all_is_accepted_where_there_is_no_present_file(orders):
    b = orders
    r = replay(b.folder, "--topic", "orders", "--data", b.data, "--against", "none", "-o", "json")
    assert (r["messages"], r["same"], r["present"]["accepted"]) == (21, 15, 21)
    r = replay(b.folder, "--topic", "orders", "--data", b.data, "--against", "none", "-o", "json", new="")
    assert (r["same"], r["new"]["accepted"]) == (21, 21)
    new = "function on_publish(msg) msg.headers = nil end"
    r = replay(b.folder, "--topic", "orders", "--data", b.data, "--against", "none", "-o", "json", new=new)
    assert [x["reason"] for x in r["changed"]["reasons"]] == ["headers"] and r["changed"]["count"] == 20


def test_damage_is_said_and_left_out_by_range(node):
    b = node(config="", set=["topic[*].segment.messages=4"])
    for i in range(12):
        b.publish("t", b"message %d" % i)
    b.stop()
    files = sorted(f for f in os.listdir(os.path.join(b.data, "topics", "t")) if f.endswith(".log"))
    with open(os.path.join(b.data, "topics", "t", files[1]), "r+b") as f:
        bytes_ = f.read()
        at = bytes_.index(b"message 5")
        f.seek(at)
        f.write(b"MESSAGE 5")
    new = "function on_publish(msg) if msg.payload:find('5') then return reject('five') end end"
    r = replay(b.folder, "--topic", "t", "--data", b.data, "-o", "json", "--fail-on", "damage", new=new, code=1)
    assert r["damage"] == [{"from": 5, "to": 6, "what": "bad bytes"}]
    assert (r["messages"], r["rejected"]["count"]) == (11, 0)
    os.remove(os.path.join(b.data, "topics", "t", files[1]))
    r = replay(b.folder, "--topic", "t", "--data", b.data, "-o", "json", new=new)
    assert r["damage"] == [{"from": 4, "to": 8, "what": "missing"}]
    assert r["messages"] == 8


def test_damage_on_a_node_is_said_and_left_out_by_range(node):
    """Where a batch is larger than what is copied, the node sends it as it is, and the client finds the damage."""
    b = node(config="", set=["topic[*].segment.messages=40"])
    for i in range(120):
        b.publish("t", (b"message %d " % i) * (30000 if i == 70 else 1))

    def sealed():
        return sorted(f for f in os.listdir(os.path.join(b.data, "topics", "t")) if f.endswith(".log"))
    wait_until(lambda: len(sealed()) >= 2, what="the disk thread has sealed the full files")
    files = sealed()
    b.stop()
    for name, numbers in (files[0], (0, 1, 20)), (files[1], (*range(50, 57), 70)):
        with open(os.path.join(b.data, "topics", "t", name), "r+b") as f:
            bytes_ = f.read()
            for i in numbers:
                f.seek(bytes_.index(b"message %d " % i))
                f.write(b"MESSAGE")
    b.start()
    new = "function on_publish(msg) if msg.payload:find('MESSAGE') then return reject('bad') end end"
    url = "http://127.0.0.1:%d" % b.port
    r = replay(b.folder, "--topic", "t", "--url", url, "-o", "json", "--fail-on", "damage", new=new, code=1)
    assert [(d["from"], d["to"]) for d in r["damage"]] == [(0, 2), (20, 21), (50, 57), (70, 71)]
    assert (r["messages"], r["same"]) == (120 - 11, 120 - 11)
    r = replay(b.folder, "--topic", "t", "--url", url, "--from", "-1h", "-o", "json", new=new)
    assert r["messages"] == 120 - 11


def open_pipe(path):
    """Waits until somebody opens the pipe to read from it, which ends that one's wait."""
    def opened():
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as e:
            assert e.errno == errno.ENXIO
    os.close(wait_until(opened))


def test_files_that_retention_removes_meanwhile_are_said_and_left_out(node):
    """It waits for two files, pipes here. Once it has listed all, those that follow are removed, and new ones written."""
    b = node(config="", set=["topic[*].segment.messages=4"])
    for i in range(32):
        b.publish("t", b"message %d" % i)
    b.stop()
    folder = os.path.join(b.data, "topics", "t")
    files = {int(f.split(".")[0]): os.path.join(folder, f) for f in os.listdir(folder) if f.endswith((".log", ".qwal"))}
    assert sorted(files)[:8] == list(range(0, 32, 4))
    for first in files:
        if first >= 24:
            os.rename(files[first], files[first] + ".later")
    for first in 4, 8:
        os.remove(files[first])
        os.mkfifo(files[first])

    def retention():
        open_pipe(files[4])
        for first in files:
            if 12 <= first < 24:
                os.remove(files[first])
            elif first >= 24:
                os.rename(files[first] + ".later", files[first])
        open_pipe(files[8])

    with running(retention):
        r = replay(b.folder, "--topic", "t", "--data", b.data, "-o", "json", new="")
    assert [(d["from"], d["to"]) for d in r["damage"]] == [(4, 8), (8, 12), (12, 24)]
    assert r["damage"][2]["what"] == "removed while the topic was read"
    assert (r["messages"], r["same"]) == (12, 12)


def test_the_clock_of_a_hook_is_that_of_the_message(orders):
    b = orders
    first = b.read("orders")["messages"][0]["time"]
    new = "function on_publish(msg) msg.headers = { at = time.format(now()) } end"
    path = os.path.join(b.folder, "p.lua")
    with open(path, "w") as f:
        f.write("function on_publish(msg) msg.headers = { at = %r } end" % first)
    r = replay(b.folder, "--topic", "orders", "--data", b.data, "--against", path, "--to", "1", "-o", "json", new=new)
    assert r["same"] == 1


def test_a_table_of_a_shared_dictionary_is_a_copy_as_in_a_node(node):
    b = node()
    for payload in (b"a", b"b"):
        b.publish("t", payload)
    new = """local seen = shared.dict("seen")
function on_publish(msg)
  local list = seen:get("list") or {}
  list[#list + 1] = msg.payload
  if msg.payload == "a" then
    seen:set("list", { "first" })
    list = seen:get("list")
    list[2] = "not stored"
    seen:set("gone", 1)
    seen:cas("gone", 1, nil)
  else
    return reject(("%d %s %s"):format(#list, list[1], seen:add("gone", 1)))
  end
end"""
    r = replay(b.folder, "--topic", "t", "--data", b.data, "--against", "none", "-o", "json", new=new)
    assert [x["reason"] for x in r["rejected"]["reasons"]] == ["2 first true"]


def test_shared_keys_live_by_the_times_of_messages_and_a_rejection_need_not_be_returned(node):
    b = node()
    b.publish("t", b"a")
    hold_for(0.1, "longer than the short keys of the hook live")
    for payload in (b"a", b"b"):
        b.publish("t", payload)
    new = """local seen = shared.dict("seen")
function on_publish(msg)
  if msg.payload == "b" then reject("dropped") return end
  if not seen:add("short", 1, 0.05) then return reject("too soon") end
  if not seen:add("long", 1, 3600) then return reject("again") end
end"""
    r = replay(b.folder, "--topic", "t", "--data", b.data, "--against", "none", "-o", "json", new=new)
    assert {(x["reason"], x["first"]) for x in r["rejected"]["reasons"]} == {("again", 1), ("dropped", 2)}
