"""Elections with a real Consul: the operator's hooks, leftovers of a killed process, names, adopting, handing over."""

import json
import os
import re
import shutil
import tempfile
import time
import unittest

from lignum import Test, wait_until
from test_consul import Agent

KEY = "service/lignum/key/master"


class ElectionTest(Test):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="lignum-", dir=os.environ.get("LIGNUM_TMP"))
        cls.addClassCleanup(shutil.rmtree, folder, True)
        cls.consul = Agent(folder).start()
        cls.addClassCleanup(cls.consul.kill)

    def setUp(self):
        super().setUp()
        self.nodes = []
        self.addCleanup(self.consul.request, "DELETE", "/v1/kv/%s?recurse" % KEY)     # after the brokers have ended

    def node(self, name, config="", **kw):
        http, replication = ["127.0.0.1:%d" % p for p in Agent.ports(2)]
        b = self.made(config=config, listen=http, flags=["--name", name, "--consul", self.consul.address, "--replication",
                                                          replication], **kw)
        self.nodes.append(b)
        return b

    def cluster(self, n, config=""):
        for i in range(n):
            self.node("n%d" % (i + 1), config).start()
        self.wait_whole(n)
        return self.nodes

    @staticmethod
    def status(b):
        return b.ok("GET", "/v1/cluster").json

    def wait_whole(self, n):
        wait_until(lambda: all(len(self.status(b)["synced"]) == n for b in self.nodes if b.running()),
                   what="all %d are in the synced set" % n)

    def leader(self, besides=None):
        def found():
            for b in self.nodes:
                if b is not besides and b.running() and self.status(b)["role"] == "leader":
                    return b
            return None
        return wait_until(found, what="there is a leader")

    def services(self):
        return set(json.loads(self.consul.request("GET", "/v1/agent/services")[1]))

    def eval(self, b, code):
        ran = b.lignum("console", b.console, "-e", code)
        self.assertEqual(ran.code, 0, ran)
        return ran.out.strip()

    # -- hooks

    def test_may_lead_keeps_a_node_from_leading(self):
        hook = """
function may_lead(state)
  if state.role ~= "follower" or #state.nodes == 0 then error("a strange state") end
  return state.name ~= "n1"
end"""
        n1 = self.node("n1", hook).start()
        wait_until(lambda: "may_lead at" in n1.said(), what="it says that it does not try")
        self.assertStatus(n1.get("/readyz"), 503, "no_leader")
        self.assertStatus(n1.post("/v1/topics/t/messages", b"x"), 503, "no_leader")
        self.node("n2", hook).start()
        self.wait_whole(2)
        self.assertEqual(self.status(n1)["leader"]["name"], "n2")
        self.assertEqual(n1.publish("t", b"x")["first"], 0)

    def test_a_may_lead_that_fails_is_a_no(self):
        n1 = self.node("n1", "function may_lead() return nothing.at.all end", expect_exit=0).start()
        wait_until(lambda: "may_lead failed: " in n1.said(), what="it says why")
        self.assertEqual(self.status(n1)["leader"], None)
        n1.write_config("function may_lead() return true end")
        n1.reload()
        self.leader()

    def test_on_leader_change_is_told_on_every_node(self):
        nodes = self.cluster(2, 'function on_leader_change(e) say.warn(("told %s %s %d"):format(e.leader and e.leader.name'
                                ' or "none", e.leads, e.epoch)) end')
        first = self.leader()
        first.stop()
        second = self.leader(besides=first)
        name = self.status(second)["self"]
        epoch = self.status(second)["epoch"]
        wait_until(lambda: "told %s true %d" % (name, epoch) in second.said(), what="it is told that it leads")
        first.start()
        wait_until(lambda: "told %s false %d" % (name, epoch) in first.said(), what="the other is told too")
        self.assertEqual(len(nodes), 2)

    def test_replication_as_a_function_follows_the_cluster(self):
        nodes = self.cluster(2, 'topic "*" { replication = function(t, state)'
                                ' return #state.synced > 1 and "live" or "wal" end }')
        leader = self.leader()
        leader.publish("t", b"x")
        self.assertEqual(leader.topic("t")["replication"], "live")
        other = [b for b in nodes if b is not leader][0]
        other.kill()
        wait_until(lambda: leader.topic("t")["replication"] == "wal", what="it is wal where one is alone")
        other.start()
        wait_until(lambda: leader.topic("t")["replication"] == "live", what="it is live again")
        self.assertEqual(leader.messages("t"), [b"x"])

    def test_an_operators_own_mode_ships_when_it_says(self):
        nodes = self.cluster(2, 'cluster { sync_interval = 0.05 }\n'
                                'function ship(p) if p.disk - p.shipped >= 5 then return p.disk end end')
        leader = self.leader()
        follower = [b for b in nodes if b is not leader][0]
        for i in range(4):
            leader.publish("t", b"%d" % i)
        wait_until(lambda: follower.get("/v1/topics/t").status == 200, what="the topic is there")
        end = time.monotonic() + 0.5
        wait_until(lambda: time.monotonic() > end)
        self.assertEqual(follower.topic("t")["next"], 0)
        leader.publish("t", b"4")
        wait_until(lambda: follower.topic("t")["next"] == 5, what="five are shipped")

    # -- coming and going

    def test_a_lone_node_that_was_killed_leads_again_at_once(self):
        n1 = self.node("n1").start()
        self.leader()
        n1.publish("t", b"x")
        ended = []                   # by hand, where Consul had not noticed yet that the process was gone
        for i in range(3):
            n1.kill()
            began = time.monotonic()
            n1.start()
            self.leader()
            took = time.monotonic() - began
            ended.append("ends the session of an earlier process" in n1.said())
            self.assertLess(took, 2)
            self.assertEqual(n1.publish("t", b"y")["first"], i + 1)
            print("figure: a lone node that was killed leads again %.2f s after its start" % took)
        self.assertTrue(any(ended), n1.said())

    def test_a_stop_hands_over_and_leaves_nothing_at_consul(self):
        services = self.services()
        nodes = self.cluster(3)
        self.assertEqual(len(self.services()), len(services) + 3)
        leader = self.leader()
        before = self.status(leader)["epoch"]
        leader.stop()
        successor = self.leader(besides=leader)
        self.assertEqual(self.status(successor)["epoch"], before + 1)
        for b in nodes:
            if b.running():
                b.stop()
        self.assertEqual(self.consul.request("GET", "/v1/session/list")[1], b"[]")
        self.assertEqual(self.services(), services)
        self.assertEqual(re.findall(rb"[\w/]*master[\w/]*", self.consul.request("GET", "/v1/kv/%s?keys" % KEY)[1]),
                         [b"service/lignum/key/master/synced"])

    def test_the_second_of_one_name_takes_no_part_until_the_first_has_gone(self):
        first = self.node("same").start()
        self.leader()
        second = self.node("same").start()
        wait_until(lambda: "takes part under the name same" in second.said(), what="the second says so")
        self.assertEqual(self.status(first)["role"], "leader")
        first.publish("t", b"x")
        self.assertEqual(second.get("/v1/topics/t").status, 404)

    def test_a_copy_of_a_data_directory_takes_no_part_and_disturbs_nobody(self):
        first = self.node("n1").start()
        self.leader()
        first.publish("t", b"x")
        epoch = self.status(first)["epoch"]
        copy = shutil.copytree(first.data, first.data + ".copy")
        second = self.node("n1", data=copy).start()
        wait_until(lambda: "a copy must never run" in second.said(), what="the copy says so")
        until = time.monotonic() + 2.5           # two looks of Consul
        while time.monotonic() < until:
            first.publish("t", b"y")
            self.assertEqual((self.status(first)["role"], self.status(first)["epoch"]), ("leader", epoch))
            self.assertNotEqual(self.status(second)["role"], "leader")
        self.assertNotIn("ends the session of an earlier process", second.said())

    def test_a_killed_node_that_comes_back_at_another_address_waits_for_its_session_to_end(self):
        first = self.node("n1").start()
        self.leader()
        first.publish("t", b"x")
        first.kill()
        second = self.node("n1", data=first.data).start()
        self.leader()
        self.assertEqual(second.publish("t", b"y")["first"], 1)

    def test_a_node_with_messages_adopts_an_empty_consul_and_others_follow(self):
        alone = self.made(flags=["--name", "n1"]).start()
        alone.publish("t", b"kept")
        alone.stop()
        n1 = self.node("n1", folder=alone.folder).start()
        wait_until(lambda: "cluster.adopt()" in n1.get("/readyz").text, what="it says what cures it")
        self.assertEqual(self.eval(n1, "cluster.adopt()"), "true")
        self.assertEqual(self.status(n1)["role"], "leader")
        wait_until(lambda: n1.get("/v1/topics/t").status == 200, what="it has its topics")
        self.assertEqual(n1.messages("t"), [b"kept"])
        n2 = self.node("n2").start()
        self.wait_whole(2)
        wait_until(lambda: n2.get("/v1/topics/t").status == 200 and n2.messages("t") == [b"kept"], what="the other has it")
        self.assertIn("holds the lock", self.eval(n2, "cluster.adopt()"))

    def test_a_follower_whose_set_is_lost_leads_when_it_is_told_to(self):
        nodes = self.cluster(2)
        leader = self.leader()
        other = [b for b in nodes if b is not leader][0]
        other.stop()
        wait_until(lambda: len(self.status(leader)["synced"]) == 1, what="the set is the leader alone")
        leader.publish("t", b"lost")
        leader.kill()
        other.start()
        wait_until(lambda: "not in the synced set" in other.get("/readyz").text, what="it says why it does not try")
        wait_until(lambda: self.eval(other, "cluster.claim_unclean()") == "true", what="the lock is free")
        self.assertEqual(self.status(other)["synced"], [self.status(other)["self"]])
        self.assertIn("UNCLEAN", other.said())
        other.publish("u", b"x")

    # The cure where a follower keeps a history of its own.
    def test_a_leader_that_is_told_to_leads_again_by_an_unclean_claim_and_is_followed(self):
        self.cluster(2)
        leader = self.leader()
        leader.publish("t", b"x")
        epoch = self.status(leader)["epoch"]
        self.assertEqual(self.eval(leader, "cluster.claim_unclean()"), "true")
        self.wait_whole(2)
        self.assertIs(self.leader(), leader)
        self.assertGreater(self.status(leader)["epoch"], epoch)
        leader.publish("t", b"y")
        for b in self.nodes:
            wait_until(lambda b=b: b.messages("t") == [b"x", b"y"], what="both have all")


if __name__ == "__main__":
    unittest.main()
