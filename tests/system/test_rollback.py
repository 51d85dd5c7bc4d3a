"""A register that Consul rolled back, or that belongs to another cluster: no node leads by it, and an operator can repair it."""

import json
import os
import re

from cluster import REGISTER
from common import hold_for, wait_until

LIVE = {"replication": "live", "copies": 2}


def member_of(node):
    """name:incarnation of a node that is down."""
    with open(os.path.join(node.data, "state"), encoding="ascii") as f:
        return node.name + ":" + re.search("^incarnation=(.*)$", f.read(), re.M)[1]


def regressed(nodes):
    wait_until(lambda: {n.get("/readyz").json.get("code") for n in nodes} == {"set_regressed"},
               what="all say that Consul went back")


def refuses_all(c):
    for node in c.nodes:
        a = node.post("/v1/topics/t/messages", b"x")
        assert (a.status, a.json["appended"]) == (503, False), a
        assert node.get("/readyz").status == 503


def test_a_register_that_was_rolled_back_stops_the_leader(cluster):
    c = cluster(topics={"t": LIVE})
    old, _ = c.register()
    leader = c.leader()
    leader.kill()
    c.wait_leader(besides=[leader])
    leader.start()
    c.wait_whole()
    c.leader().publish("t", b"acknowledged in the newer epoch")
    c.wait_equal(["t"])  # a follower serves the message only once it has the mark
    c.consul.put(REGISTER, json.dumps(old))

    def regressed():
        return [n.post("/v1/topics/t/messages", b"x").json.get("code") for n in c.nodes]
    wait_until(lambda: set(regressed()) == {"set_regressed"}, what="nobody writes, and says why")
    for node in c.nodes:
        assert b"acknowledged in the newer epoch" in node.messages("t"), "nothing was cut"


def test_a_rollback_is_marked_in_the_register_so_that_no_node_leads_that_does_not_know(cluster):
    c = cluster(topics={"t": LIVE})
    unaware = c.followers()[0]
    unaware.kill()
    old, _ = c.register()
    c.leader().kill()
    knowing = [n for n in c.nodes if n is not unaware]
    gone = [n for n in knowing if not n.running()][0]
    c.wait_leader(besides=[gone])
    gone.start()
    wait_until(lambda: len(c.synced() & {n.name for n in knowing}) == 2, what="both are in the set")
    c.leader().publish("t", b"acknowledged in the newer epoch")
    c.wait_equal(["t"])
    lost, _ = c.register()
    assert lost["epoch"] > old["epoch"]
    c.consul.put(REGISTER, json.dumps(old))
    regressed(knowing)
    wait_until(lambda: "lost" in c.register()[0], what="the register says so")
    flagged, index = c.register()
    assert [flagged[k] for k in old] == list(old.values()), "all else is as it was"
    assert flagged["lost"] == {"epoch": lost["epoch"], "version": lost["version"], "leader": lost["leader"].split(":")[1]}

    for node in knowing:
        node.kill()  # this ends their sessions too
    unaware.start()
    assert unaware.name in {m.split(":")[0] for m in old["members"]}, "it might lead by the old register"
    regressed([unaware])
    hold_for(2, "time in which it would have come to lead")
    assert c.register() == (flagged, index), "nobody has claimed"

    for node in knowing:
        node.start()
    regressed(c.nodes)
    wait_until(lambda: all("cluster.adopt()" in n.said() for n in c.nodes), what="they name the cure")
    adopting = knowing[0]
    assert adopting.lua("cluster.adopt()") == "true"
    c.wait_whole()
    assert c.leader() is adopting
    assert "lost" not in c.register()[0]
    assert c.register()[0]["epoch"] > lost["epoch"]
    c.leader().publish("t", b"after")
    c.wait_equal(["t"])
    for node in c.nodes:
        assert node.messages("t") == [b"acknowledged in the newer epoch", b"after"]


# Both registers have the same epoch and version.
def test_two_leaders_of_one_epoch_are_noticed_and_neither_goes_on(cluster):
    c = cluster(2, topics={"t": {"replication": "wal"}})
    first = c.leader()
    other = c.followers()[0]
    other.kill()
    wait_until(lambda: c.synced() == {first.name}, what="the set is the leader alone")
    first.kill()
    first.start()
    c.wait_leader()
    first.publish("t", b"in the epoch that is lost")
    lost, _ = c.register()
    first.kill()
    forged = dict(lost, leader=member_of(other), members=[member_of(other)])
    c.consul.put(REGISTER, json.dumps(forged))       # as if it had claimed with the restored register: same epoch and version
    first.start()
    regressed([first])
    wait_until(lambda: "lost" in c.register()[0], what="the register says so")
    assert c.register()[0]["lost"]["leader"] == lost["leader"].split(":")[1]
    other.start()
    regressed(c.nodes)
    assert first.lua("cluster.adopt()") == "true"
    c.wait_whole()
    c.wait_equal(["t"])
    assert other.messages("t") == [b"in the epoch that is lost"]
    assert c.register()[0]["unclean"] == c.register()[0]["epoch"]
    first.stop()
    c.wait_leader(besides=[first])
    assert c.register()[0]["unclean"] < c.register()[0]["epoch"], "later leaders say it, too"


def test_a_register_with_numbers_that_no_cluster_reaches_stops_a_cluster_until_an_operator_adopts(cluster):
    c = cluster(2, topics={"t": LIVE})
    c.leader().publish("t", b"before")
    c.wait_equal(["t"])
    # Of the last one, which is no register at all, the leader keeps the lock.
    for i, field, number in (0, "epoch", 2**53 - 1), (1, "version", 2**53 - 1), (1, "epoch", 2**62):
        old, _ = c.register()
        c.consul.put(REGISTER, json.dumps({**old, field: number}))
        wait_until(lambda: {n.post("/v1/topics/t/messages", b"x").status for n in c.nodes} == {503}, what="nobody leads by it")
        assert c.nodes[i].lua("cluster.adopt()") == "true"
        c.wait_whole()
        new, _ = c.register()
        assert (new["epoch"], new["version"] < old["version"] + 5) == (old["epoch"] + 1, True), "nothing came of the numbers"
        c.leader().publish("t", b"after")
        c.wait_equal(["t"])
    for n in c.nodes:
        assert [m for m in n.messages("t") if m != b"x"] == [b"before"] + 3 * [b"after"]
    assert any("no cluster reaches" in n.said() for n in c.nodes)


def test_a_register_of_another_cluster_is_refused_with_the_cure(cluster):
    c = cluster(2, topics={"t": LIVE})
    c.nodes[0].publish("t", b"mine")
    for node in c.nodes:
        node.stop()
    c.consul.kill()
    c.consul.wipe()
    c.consul.start()
    for node in c.nodes:
        node.start()
    wait_until(lambda: all("adopt" in n.said() for n in c.nodes), what="nodes with messages say how to make a register of theirs")
    assert c.register() == (None, None)
    refuses_all(c)
    c.consul.put(REGISTER, json.dumps({"cluster": "0" * 31 + "1", "epoch": 7, "version": 9, "leader": "x:" + "2" * 32,
                                       "members": ["x:" + "2" * 32]}))
    wait_until(lambda: all(re.search("belongs to cluster 0{31}1.*adopt", n.said()) for n in c.nodes), what="they say whose it is")
    refuses_all(c)
    assert c.register()[0]["epoch"] == 7, "nobody touched it"
    for node in c.nodes:
        with open(os.path.join(node.data, "small/t"), "rb") as f:
            assert b"mine" in f.read(), "nothing was cut"
