"""Elections with a real Consul: the operator's hooks, sessions of killed processes, names, adopting, handing over."""

import contextlib
import re
import shutil
import socket
import time

import pytest

from client import assert_status
from cluster import KEY, REGISTER
from common import SECRET, Background, free_port, hold_for, wait_until


class Group:
    """Nodes that are configured by flags and start one by one, so that the first one leads."""

    def __init__(self, consul, make_node):
        self.consul, self.make_node, self.nodes = consul, make_node, []

    def node(self, name, config="", **kw):
        """Adds a node, which is not started."""
        http, replication = ["127.0.0.1:%d" % free_port() for _ in range(2)]
        b = self.make_node(config=config, listen=http, flags=["--name", name, "--consul", self.consul.address,
                                                              "--replication", replication,
                                                              "--set", "cluster.replication.secret=" + SECRET], **kw)
        self.nodes.append(b)
        return b

    def start(self, n, config=""):
        for i in range(n):
            self.node("n%d" % (i + 1), config).start()
        self.wait_whole(n)
        return self.nodes

    def wait_whole(self, n):
        wait_until(lambda: all(len(status(b)["synced"]) == n for b in self.nodes if b.running()),
                   what="all %d are in the synced set" % n)

    def leader(self, besides=None):
        def found():
            for b in self.nodes:
                if b is not besides and b.running() and status(b)["role"] == "leader":
                    return b
            return None
        return wait_until(found, what="there is a leader")

    def follower(self):
        leader = self.leader()
        return next(b for b in self.nodes if b is not leader)

    def services(self):
        return set(self.consul.ok("GET", "/v1/agent/services"))


def status(b):
    return b.ok("GET", "/v1/cluster").json


@pytest.fixture
def empty_consul(shared_consul):
    yield shared_consul
    shared_consul.delete(KEY + "?recurse")


@pytest.fixture
def group(empty_consul, make_node):
    return Group(empty_consul, make_node)


# ---- hooks

def test_may_lead_keeps_a_node_from_leading(group):
    hook = """
function may_lead(state)
  if state.role ~= "follower" or #state.nodes == 0 then error("a strange state") end
  return state.name ~= "n1"
end"""
    n1 = group.node("n1", hook).start()
    wait_until(lambda: "may_lead at" in n1.said(), what="it says that it does not try")
    assert_status(n1.get("/readyz"), 503, "no_leader")
    assert_status(n1.post("/v1/topics/t/messages", b"x"), 503, "no_leader")
    group.node("n2", hook).start()
    group.wait_whole(2)
    assert status(n1)["leader"]["name"] == "n2"
    assert n1.publish("t", b"x")["first"] == 0


def test_a_may_lead_that_fails_is_a_no(group):
    n1 = group.node("n1", "function may_lead() return nothing.at.all end").start()
    wait_until(lambda: "may_lead failed: " in n1.said(), what="it says why")
    assert status(n1)["leader"] is None
    n1.write_config("function may_lead() return true end")
    n1.reload()
    group.leader()


@pytest.mark.parametrize("body", ["sleep(3600)", 'fetch { url = "http://127.0.0.1:%d/", timeout = 30 }',
                                  "while true do end"], ids=["sleeps", "fetches", "loops"])
def test_a_may_lead_that_does_not_answer_is_a_no(group, body):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        body = body.replace("%d", str(silent.getsockname()[1]))
        # Time to compute, which by default may be over in the same moment.
        n1 = group.node("n1", "limits { script_time = 5 }\nfunction may_lead()\n  %s\n  return true end" % body).start()
        late = r"lignum\.lua:\d+: may_lead has not answered within 1 s"
        wait_until(lambda: re.search(late, n1.said()), what="it says so")
        hold_for(2, "it is asked again")
        assert status(n1)["leader"] is None
        assert n1.said().count("may_lead has not answered") == 1
        n1.write_config("function may_lead() return true end")
        n1.reload()
        group.leader()


def test_a_may_lead_that_waits_on_one_node_does_not_stop_failover(group):
    group.start(3, 'topic "*" { replication = "live", copies = 2 }\n'
                   'function may_lead(s) if s.name == "n2" then sleep(3600) end return true end')
    first = group.leader()
    first.publish("t", b"before")
    first.kill()
    second = group.leader(besides=first)
    assert status(second)["self"] != "n2"
    second.publish("t", b"after")
    assert second.messages("t") == [b"before", b"after"]


def test_a_world_that_computes_leaks_and_reloads_stops_no_failover(group, figure):
    group.start(3, 'limits { script_memory = 16 * MiB }\ntopic "*" { replication = "live", copies = 2 }\n'
                   'every(0.001, function() while true do end end)\n'
                   'local head every(0.01, function() for i = 1, 1000 do head = { head, ("x"):rep(1000) .. i } end end)\n'
                   'function may_lead() return true end')
    first = group.leader()
    first.publish("t", b"before")
    wait_until(lambda: "lignum.lua keeps" in first.said(), what="the first one's memory is used up")
    with contextlib.ExitStack() as reloads:
        for b in group.nodes:
            if b is not first:
                reloads.enter_context(Background(b.reload))
        first.kill()
        began = time.monotonic()
        second = group.leader(besides=first)
        second.publish("t", b"after")
        figure("another node leads and takes a publish %.1f s after a kill, beside worlds that compute, leak and reload"
               % (time.monotonic() - began))
    assert second.messages("t") == [b"before", b"after"]


@pytest.mark.parametrize("body, said", [
    ("return p.disk + 1", "ship returned an offset beyond p.disk"), ("while true do end", "; the WAL mode"),
    ("sleep(3600)", "ship has not answered"), ("error('no')", "ship failed"), ("return 'all'", "not a string")])
def test_a_ship_that_does_not_answer_well_stops_no_shipping(group, body, said):
    group.start(2, "cluster { sync_interval = 0.05 }\nfunction ship(p) %s end" % body)
    leader, follower = group.leader(), group.follower()
    for i in range(3):
        leader.publish("t", b"%d" % i)
        wait_until(lambda: follower.get("/v1/topics/t").status == 200 and follower.topic("t")["next"] == i + 1,
                   what="message %d is shipped" % i)
    assert len(re.findall(r"lignum\.lua:\d+.*the WAL mode decides instead", leader.said())) == 1
    assert said in leader.said()


def test_an_on_leader_change_that_waits_is_asked_again(group):
    group.start(2, 'function on_leader_change(e)\n'
                   '  say.warn("told of " .. (e.leader and e.leader.name or "none")) sleep(3600) end')
    first = group.leader()
    first.kill()
    second = group.leader(besides=first)
    wait_until(lambda: "told of %s" % status(second)["self"] in second.said(), what="it is told of the new leader")
    wait_until(lambda: "on_leader_change has not answered within 1 s" in second.said(), what="it says so")


def test_on_leader_change_is_told_on_every_node(group):
    group.start(2, 'function on_leader_change(e) say.warn(("told %s %s %d"):format(e.leader and e.leader.name'
                   ' or "none", e.leads, e.epoch)) end')
    first = group.leader()
    first.stop()
    second = group.leader(besides=first)
    name = status(second)["self"]
    epoch = status(second)["epoch"]
    wait_until(lambda: "told %s true %d" % (name, epoch) in second.said(), what="it is told that it leads")
    first.start()
    wait_until(lambda: "told %s false %d" % (name, epoch) in first.said(), what="the other is told too")


def test_replication_as_a_function_follows_the_cluster(group):
    group.start(2, 'topic "*" { replication = function(t, state)'
                   ' return #state.synced > 1 and "live" or "wal" end }')
    leader = group.leader()
    leader.publish("t", b"x")
    assert leader.topic("t")["replication"] == "live"
    other = group.follower()
    other.kill()
    wait_until(lambda: leader.topic("t")["replication"] == "wal", what="it is wal where one is alone")
    other.start()
    wait_until(lambda: leader.topic("t")["replication"] == "live", what="it is live again")
    assert leader.messages("t") == [b"x"]


def test_a_cluster_says_once_what_wal_mode_may_lose(group):
    group.start(2, 'cluster { sync_interval = 0.05 }')
    leader, other = group.leader(), group.follower()
    leader.ok("PUT", "/v1/topics/live", '{"replication": "live"}', status=201)
    leader.publish("live", b"x")
    told = 'is replicated in mode "wal": a failover may lose messages'
    for topic in ["first", "second"]:
        leader.publish(topic, b"x")
        wait_until(lambda: other.get("/v1/topics/%s/messages" % topic).status == 200 and other.messages(topic) == [b"x"],
                   what="it is shipped")
    assert leader.said().count(told) == 1 and "topic first " + told in leader.said()
    assert told not in other.said()


def test_by_default_a_wal_message_is_at_the_follower_soon_after_its_acknowledgement(group):
    group.start(2, "")
    leader, follower = group.leader(), group.follower()
    leader.publish("t", b"first")
    wait_until(lambda: follower.get("/v1/topics/t").status == 200, what="the topic is there")
    began = time.monotonic()
    for i in range(1, 20):
        leader.publish("t", b"%d" % i)
        wait_until(lambda: follower.topic("t")["next"] > i, what="it is shipped", every=0.005)
    assert time.monotonic() - began < 10      # with a round each second it is about 19


def test_an_operators_own_mode_ships_when_it_says(group):
    group.start(2, 'cluster { sync_interval = 0.05 }\n'
                   'function ship(p) if p.disk - p.shipped >= 5 then return p.disk end end')
    leader = group.leader()
    follower = group.follower()
    for i in range(4):
        leader.publish("t", b"%d" % i)
    wait_until(lambda: follower.get("/v1/topics/t").status == 200, what="the topic is there")
    hold_for(0.5, "ten times the interval, and nothing is shipped")
    assert follower.topic("t")["next"] == 0
    leader.publish("t", b"4")
    wait_until(lambda: follower.topic("t")["next"] == 5, what="five are shipped")


# ---- coming and going

def test_a_lone_node_that_was_killed_leads_again_at_once(group, figure):
    n1 = group.node("n1").start()
    group.leader()
    n1.publish("t", b"x")
    ended = []                   # whether the node itself ended the session, because Consul had not done so yet
    for i in range(3):
        n1.kill()
        began = time.monotonic()
        n1.start()
        group.leader()
        took = time.monotonic() - began
        ended.append("ends the session of an earlier process" in n1.said())
        assert took < 8            # its session lasts for 10 s at least
        assert n1.publish("t", b"y")["first"] == i + 1
        figure("a lone node that was killed leads again %.2f s after its start", took)
    assert any(ended), n1.said()


def test_a_stop_hands_over_and_leaves_nothing_at_consul(group):
    services = group.services()
    group.start(3)
    assert len(group.services()) == len(services) + 3
    leader = group.leader()
    before = status(leader)["epoch"]
    leader.stop()
    successor = group.leader(besides=leader)
    assert status(successor)["epoch"] == before + 1
    for b in group.nodes:
        if b.running():
            b.stop()
    assert group.consul.sessions() == []
    assert group.services() == services
    assert group.consul.keys(KEY) == [REGISTER]


def test_the_second_of_one_name_takes_no_part_until_the_first_has_gone(group):
    first = group.node("same").start()
    group.leader()
    second = group.node("same").start()
    wait_until(lambda: "takes part under the name same" in second.said(), what="the second says so")
    assert status(first)["role"] == "leader"
    first.publish("t", b"x")
    assert second.get("/v1/topics/t").status == 404


def test_a_copy_of_a_data_directory_takes_no_part_and_disturbs_nobody(group):
    first = group.node("n1").start()
    group.leader()
    first.publish("t", b"x")
    epoch = status(first)["epoch"]
    copy = shutil.copytree(first.data, first.data + ".copy")
    second = group.node("n1", data=copy).start()
    wait_until(lambda: "a copy must never run" in second.said(), what="the copy says so")
    until = time.monotonic() + 2.5           # two checks by Consul
    while time.monotonic() < until:
        first.publish("t", b"y")
        assert (status(first)["role"], status(first)["epoch"]) == ("leader", epoch)
        assert status(second)["role"] != "leader"
    assert "ends the session of an earlier process" not in second.said()


def test_a_killed_node_that_comes_back_at_another_address_waits_for_its_session_to_end(group):
    first = group.node("n1").start()
    group.leader()
    first.publish("t", b"x")
    first.kill()
    second = group.node("n1", data=first.data).start()
    group.leader()
    assert second.publish("t", b"y")["first"] == 1


def test_a_node_with_messages_adopts_an_empty_consul_and_others_follow(group, make_node):
    alone = make_node(flags=["--name", "n1"]).start()
    alone.publish("t", b"kept")
    alone.stop()
    n1 = group.node("n1", place=alone.folder).start()
    wait_until(lambda: "cluster.adopt()" in n1.get("/readyz").text, what="it says what cures it")
    assert n1.lua("cluster.adopt()") == "true"
    assert status(n1)["role"] == "leader"
    wait_until(lambda: n1.get("/v1/topics/t").status == 200, what="it has its topics")
    assert n1.messages("t") == [b"kept"]
    n2 = group.node("n2").start()
    group.wait_whole(2)
    wait_until(lambda: n2.get("/v1/topics/t").status == 200 and n2.messages("t") == [b"kept"], what="the other has it")
    assert "holds the lock" in n2.lua("cluster.adopt()")


def test_a_follower_whose_set_is_lost_leads_when_it_is_told_to(group):
    group.start(2)
    leader = group.leader()
    other = group.follower()
    other.stop()
    wait_until(lambda: len(status(leader)["synced"]) == 1, what="the set is the leader alone")
    leader.publish("t", b"lost")
    leader.kill()
    other.start()
    wait_until(lambda: "not in the synced set" in other.get("/readyz").text, what="it says why it does not try")
    wait_until(lambda: other.lua("cluster.claim_unclean()") == "true", what="the lock is free")
    assert status(other)["synced"] == [status(other)["self"]]
    assert "UNCLEAN" in other.said()
    other.publish("u", b"x")


# This is how an operator discards the different history of a follower.
def test_a_leader_that_is_told_to_leads_again_by_an_unclean_claim_and_is_followed(group):
    group.start(2)
    leader = group.leader()
    leader.publish("t", b"x")
    epoch = status(leader)["epoch"]
    assert leader.lua("cluster.claim_unclean()") == "true"
    group.wait_whole(2)
    assert group.leader() is leader
    assert status(leader)["epoch"] > epoch
    leader.publish("t", b"y")
    for b in group.nodes:
        wait_until(lambda b=b: b.messages("t") == [b"x", b"y"], what="both have all")


def test_what_runs_once_per_cluster_runs_on_the_leader(group):
    config = '''
        local ran = shared.dict("ran")
        every(0.02, function() ran:incr("leader") end, { once_per = "cluster" })
        every(0.02, function() ran:incr("each") end)
        route.get("/ran", function() return 200, { leader = ran:get("leader") or 0, each = ran:get("each") or 0 } end)
        '''
    group.start(2, config)
    leader, follower = group.leader(), group.follower()

    def ran(b):
        return b.ok("GET", "/ran").json
    wait_until(lambda: ran(leader)["leader"] > 3 and ran(follower)["each"] > 3, what="the timers run")
    assert ran(follower)["leader"] == 0
    leader.kill()
    wait_until(lambda: ran(follower)["leader"] > 3, what="the new leader runs them")
