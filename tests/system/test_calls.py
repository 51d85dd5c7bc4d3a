"""What scripts of a follower have the leader do, over the connection between the nodes."""

import json

import pytest

from client import assert_status
from common import hold_for, wait_until

# on_publish says where it ran and for whom; the routes append as scripts do.
CONFIG = """
function on_publish(msg, ctx)
  if msg.payload == "refuse" then return reject("not this one") end
  if msg.payload == "split" then msg.topic = "elsewhere" end
  msg.headers["seen-by"] = (msg.headers["seen-by"] or "") .. node.info().name
end

local function outcome(first, count, epoch, more)
  if first == nil then return 200, { why = count, code = epoch, more = more } end
  return 200, { first = first, count = count, epoch = epoch, more = more }
end

route.post("/append/{topic}", function(req)
  local o = req.body ~= "" and req:json() or {}
  return outcome(topic(req.params.topic):append(o.what, o.options))
end)
route.post("/body/{topic}", function(req) return outcome(topic(req.params.topic):append(req)) end)
"""


@pytest.fixture(scope="module")
def shared(share_cluster):
    return share_cluster(count=2, config=CONFIG)


@pytest.fixture
def follower(shared):
    shared.wait_whole()
    return shared.followers()[0]


def append(node, topic, what, **options):
    return post(node, topic, what, options).json


def post(node, topic, what, options):
    return node.post("/append/" + topic, json.dumps({"what": what, "options": options}))


def read(shared, topic, count):
    """The messages of a topic on the leader, once there are that many."""
    leader = shared.leader()
    wait_until(lambda: leader.get("/v1/topics/%s/messages?from=earliest" % topic).status == 200)
    messages = wait_until(lambda: (m := leader.read(topic)["messages"]) and len(m) >= count and m)
    assert len(messages) == count
    return messages


def test_an_append_on_a_follower_is_the_leaders(shared, follower):
    first = append(follower, "here", [{"payload": "a", "key": "k", "headers": {"h": "1"}}, "b"])
    assert (first["first"], first["count"]) == (0, 2)
    assert first["epoch"] == shared.leader().view()["epoch"]
    assert append(follower, "here", "c")["first"] == 2
    messages = read(shared, "here", 3)
    assert [m["data"] for m in messages] == ["a", "b", "c"]
    assert (messages[0]["key"], messages[0]["headers"]["h"]) == ("k", "1")
    shared.wait_equal(["here"])


def test_only_the_followers_hook_sees_what_its_scripts_append(shared, follower):
    append(follower, "seen", "a")
    append(follower, "seen", "b", raw=True)
    messages = read(shared, "seen", 2)
    assert messages[0]["headers"] == {"seen-by": follower.name}
    assert "headers" not in messages[1]
    assert append(follower, "seen", "refuse")["code"] == "rejected"
    assert append(follower, "seen", ["c", "split"])["first"] == 2
    assert read(shared, "elsewhere", 1)[0]["data"] == "split"


# The hook's changes on a follower would be lost with its copy of the request, so it counts its calls.
COUNTS = """
function on_publish() shared.dict("calls"):incr("n") end
route.get("/calls", function() return 200, { n = shared.dict("calls"):get("n") or 0 } end)
"""


@pytest.mark.parametrize("more", ["", "function on_published() end\n"])
def test_only_the_leaders_hook_sees_what_clients_publish_through_a_follower(cluster, more):
    nodes = cluster(count=2, config=COUNTS + more)
    nodes.wait_whole()
    follower, envelopes = nodes.followers()[0], {"Content-Type": "application/json"}
    for body, headers in [(b"a", {}), (b"b\nc", {"Content-Type": "application/x-ndjson"}), (b"d", {"Lignum-Key": "k"}),
                          (json.dumps({"data": "e"}).encode(), envelopes)]:
        follower.ok("POST", "/v1/topics/through/messages", body, headers=headers)
    assert [n.get("/calls").json["n"] for n in (nodes.leader(), follower)] == [5, 0]


def test_conditions_hold_on_the_leader(shared, follower):
    assert append(follower, "once", "a", once="key")["first"] == 0
    again = append(follower, "once", "a", once="key")
    assert (again["first"], again["more"]) == (0, {"duplicate": True})
    refused = append(follower, "once", "b", expect="0:0")
    assert refused["code"] == "precondition_failed"
    assert append(follower, "once", "b", expect=refused["more"]["token"])["first"] == 1
    assert append(follower, "once", "c", producer="p", sequence=0)["first"] == 2
    assert append(follower, "once", "c", producer="p", sequence=0)["more"] == {"duplicate": True}
    gap = append(follower, "once", "c", producer="p", sequence=5)
    assert (gap["code"], gap["more"]["expected"]) == ("sequence_gap", 1)


def test_the_headers_of_a_request_hold_on_the_leader(shared, follower):
    def send(body, **headers):
        return follower.ok("POST", "/body/headers", body, headers={k.replace("_", "-"): v for k, v in headers.items()}).json
    assert send(b"a", Idempotency_Key="k1", Lignum_Key="key")["first"] == 0
    assert send(b"a", Idempotency_Key="k1", Lignum_Key="key")["more"] == {"duplicate": True}
    assert send(b"b", Producer_Id="p", Producer_Epoch="3", Producer_Seq="0")["first"] == 1
    assert send(b"b", Producer_Id="p", Producer_Epoch="2", Producer_Seq="0")["code"] == "fenced"
    assert send(b"c", If_Match='"0:0"')["code"] == "precondition_failed"
    assert send(b"c", Lignum_Ack="peers")["first"] == 2
    for headers in {"Lignum_Ack": "all"}, {"Producer_Id": "p", "Producer_Seq": "x"}:
        assert send(b"d", **headers)["code"] == "bad_value"
    assert read(shared, "headers", 3)[0]["key"] == "key"


def test_a_wrong_call_is_an_error_of_the_script(shared, follower):
    for what, options in ({"payload": 5}, {}), ("a", {"ack": "all"}), ("a", {"nonsense": 1}), ("a", {"once": ""}):
        assert_status(post(follower, "wrong", what, options), 500, "script_error")
    assert append(follower, "_topics", "a")["code"] == "forbidden"
    too_large = append(follower, "wrong", "x" * (1024 * 1024 + 1), raw=True)
    assert (too_large["code"], too_large["more"]["limit"]) == ("too_large", 1024 * 1024)


def test_topics_and_groups_are_changed_from_a_follower(shared, follower):
    assert follower.lua('return topic("made"):create { replication = "live", retain = { messages = 7 } }') == "true"
    assert follower.get("/v1/topics/made").json["retain"]["messages"] == 7
    assert follower.lua('return topic("made"):set { retain = { messages = 8 } }') == "true"
    assert shared.leader().get("/v1/topics/made").json["retain"]["messages"] == 8
    assert follower.lua('return topic("made"):append { "one", "two" }').startswith("0, 2")
    code = """
      local g = topic("made"):group("g")
      assert(g:create({ lease_time = 30 }, 0))
      assert(g:set { deliveries = 3 })
      local list = assert(g:claim { limit = 2, wait = 1 })
      assert(#list == 2 and list[1].payload == "one", json.encode(list))
      local settled = assert(g:settle { ack = { list[1].lease }, release = { list[2].lease } })
      assert(settled[1].result == "ok" and settled[2].result == "ok", json.encode(settled))
      local now = assert(g:info())
      assert(now.cursor == 1 and now.settings.deliveries == 3, json.encode(now))
      assert(g:seek(0))
      now = assert(g:info())
      assert(now.cursor == 0, json.encode(now))
      assert(#topic("made"):groups() == 1, "the list of groups")
      assert(g:delete())
      local info, why, code = g:info()
      assert(info == nil and code == "unknown_group", code)
    """
    follower.lua(" ".join(code.split()))
    assert follower.lua('return topic("made"):delete()') == "true"
    assert shared.leader().get("/v1/topics/made").status == 404


def test_tokens_are_made_and_revoked_on_a_follower(cluster):
    c = cluster(count=2)
    follower = c.followers()[0]

    def token(*words):
        return follower.lignum("token", *words, "--console", follower.console)

    def answers(secret, status):
        headers = {"Authorization": "Bearer " + secret}
        return all(n.get("/v1/topics/orders.x/messages", headers=headers).status == status for n in c.nodes)
    made = [token("add", name, "--topics", "orders.*", "--may", "read") for name in ("ci", "other")]
    assert [m.code for m in made] == [0, 0], made
    secrets = [m.out.strip() for m in made]
    wait_until(lambda: all(answers(s, 404) for s in secrets))
    again = token("add", "ci", "--topics", "orders.*", "--may", "read")
    assert again.code == 1
    assert "already" in again.err, again
    assert "ci" in token("list").out
    assert token("revoke", "ci").code == 0
    assert "ci" not in token("list").out
    wait_until(lambda: answers(secrets[0], 401))
    assert answers(secrets[1], 404)


def test_a_call_needs_no_token_and_no_authorize(cluster):
    c = cluster(count=2, config="""
function authorize(req) return req.action == "observe" end
route.post("/append/{topic}", function(req) return 200, {} end)
local n = 0
every(0.05, function()
  if cluster.status().role == "follower" and n < 3 and topic("t"):append("m" .. n, { once = "m" .. n }) then n = n + 1 end
end)""")
    assert_status(c.followers()[0].post("/v1/topics/t/messages", b"x"), 401)
    wait_until(lambda: c.wait_leader().lua('local i = topic("t"):info() return i and i.next or 0') == "3", what="all three are there")


def test_appends_of_a_followers_timer_are_in_the_log_once_or_an_error_says_so(cluster):
    """The leader is killed three times while the others append. What succeeded is in the log once, what failed with a code other
    than unknown_outcome is not in it, and nothing is in it twice."""
    c = cluster(count=3, config="""
topic "t" { replication = "live", copies = 2 }
local log, n, life = {}, 0, nil
for worker = 1, 4 do
  every(0.001, function()
    n, life = n + 1, life or node.info().name .. "-" .. crypto.encode(crypto.random(4), "hex")
    local id = life .. "-" .. n
    local first, why, code = topic("t"):append(id, worker > 2 and { once = id } or nil)
    log[id] = first and "ok" or code
  end)
end
route.get("/outcomes", function() return 200, log end)
""")
    outcomes = {}
    for _ in range(3):
        leader = c.leader()
        hold_for(0.5, "the followers append")
        leader.kill()
        new = c.wait_leader(besides=[leader])
        hold_for(1, "they append by the new leader")
        for node in c.answering():
            outcomes.update(node.ok("GET", "/outcomes").json)
        found = {}
        for _, _, payload in new.log("t"):
            found[payload.decode()] = found.get(payload.decode(), 0) + 1
        assert max(found.values()) == 1
        for name, outcome in outcomes.items():
            assert outcome == "unknown_outcome" or (name in found) == (outcome == "ok"), (name, outcome)
        leader.start()
        c.wait_whole()
    of_followers = [o for name, o in outcomes.items() if not name.startswith(new.name + "-")]
    assert of_followers.count("ok") > 100
