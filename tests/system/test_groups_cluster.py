"""Consumer groups in a cluster: any node serves them, and failovers keep their promises."""

import json
import threading
import time

from client import payload_of, request_bytes
from common import wait_until
from workers import Group, Workers

LIVE = {"replication": "live", "copies": 2}


def test_any_node_serves_a_group_and_a_claim_waits_through_a_follower(cluster):
    c = cluster(topics={"jobs": LIVE})
    g, follower = Group("jobs", "w"), c.followers()[0]
    assert g.put(follower).status == 201
    for node in c.nodes:
        assert g.info(node)["lag"] == 0
    assert g.claim(follower, wait=1) == []
    c.leader().publish("jobs", b"one")
    a = g.call(follower, "GET", "/events", headers={"Accept": "text/event-stream"})
    assert (a.status, a.header("location")) == (307, "http://%s%s/events" % (c.leader().http, g.path))
    m = g.claim(follower, wait=15)[0]
    assert g.settle(c.followers()[1], ack=[m["lease"]]) == ["ok"]
    assert g.info(c.leader())["lag"] == 0


def test_after_an_orderly_handover_leases_hold_and_delays_too(cluster):
    c = cluster(topics={"jobs": LIVE})
    g, leader = Group("jobs", "w"), c.leader()
    g.put(leader, lease_time=60)
    for i in range(5):
        leader.publish("jobs", b"m%d" % i)
    m = g.claim(leader, limit=4)
    g.settle(leader, ack=[m[0]["lease"]], release=[{"lease": m[1]["lease"], "delay": 100}])
    leader.stop()
    next_ = c.wait_leader(besides=[leader])
    assert [payload_of(x) for x in g.claim(next_, limit=9)] == [b"m4"]
    info = g.info(next_)
    assert (info["leased"], info["scheduled"], info["lag"]) == (3, 1, 4)
    assert g.settle(next_, ack=[m[0]["lease"], m[2]["lease"], m[3]["lease"]]) == ["ok", "ok", "ok"]
    leader.start()
    c.wait_whole()


def test_killing_leaders_under_workers_delivers_nothing_again_that_was_acknowledged(cluster, figure):
    c = cluster(topics={"jobs": LIVE})
    g, sent = Group("jobs", "w"), []
    g.put(c.leader(), lease_time=2, deliveries=0)
    with Workers(g, c.nodes, count=6) as w:
        for round_ in range(3):
            leader = c.wait_leader()
            for i in range(60):
                payload = b"r%d.%d" % (round_, i)
                leader.publish("jobs", payload)
                sent.append(payload)
            leader.kill()
            c.wait_leader(besides=[leader])
            leader.start()
            c.wait_whole()
        wait_until(lambda: g.info(c.leader())["lag"] == 0, timeout=60, what="all is acknowledged", every=0.2)
    figure("failovers: %d messages, %d deliveries, %d acknowledged", len(sent), len(w.delivered), len(w.acked))
    assert w.again() == []
    assert set(sent) <= {p for p, _, _ in w.delivered}
    assert len(w.acked) > 100


def test_a_settle_is_answered_only_when_the_other_copies_have_it(cluster):
    c = cluster(topics={"jobs": LIVE})
    g, leader = Group("jobs", "w"), c.leader()
    g.put(leader)
    for i in range(3):
        leader.publish("jobs", b"m%d" % i)
    m = g.claim(leader, limit=2)
    for below, body in [("/settle", {"ack": [m[0]["lease"]]}), ("/claim", {"settle": {"ack": [m[1]["lease"]]}})]:
        c.wait_whole()
        with leader.connect(timeout=0.7) as one:
            for follower in c.followers():
                follower.freeze()
            one.send(request_bytes("POST", g.path + below, json.dumps(body)))
            try:
                a = one.answer()
            except TimeoutError:
                a = None
            for follower in c.nodes:
                follower.thaw()
            assert a is None, a
            one.socket.settimeout(20)
            a = one.answer()
            assert a.status == 200 and a.json["results" if below == "/settle" else "settled"][0]["result"] == "ok", a


def test_settles_of_a_wal_topic_do_not_outlive_its_messages(make_cluster):
    c = make_cluster(config='topic "jobs" { replication = "wal" } function ship() return 0 end')
    c.start()
    c.create({"jobs": {"replication": "wal"}})
    g, leader = Group("jobs", "w"), c.leader()
    g.put(leader)
    for i in range(3):
        leader.publish("jobs", b"old%d" % i)
    m = g.claim(leader, limit=3)
    assert g.settle(leader, ack=[x["lease"] for x in m]) == ["ok"] * 3
    wait_until(lambda: all(n.topics()["jobs"]["next"] == 0 for n in c.followers()), what="followers have none of it")
    leader.kill()
    next_ = c.wait_leader(besides=[leader])
    for i in range(4):
        next_.publish("jobs", b"new%d" % i)
    assert [payload_of(x) for x in g.claim(next_, limit=9)] == [b"new%d" % i for i in range(4)]
    assert "are forgotten" in next_.said()
    leader.start()
    c.wait_whole()


def test_a_claim_that_waits_when_its_leader_goes_is_answered(cluster):
    c = cluster(topics={"jobs": LIVE})
    g, leader, follower = Group("jobs", "w"), c.leader(), c.followers()[0]
    g.put(leader)
    began, got = time.monotonic(), []
    t = threading.Thread(target=lambda: got.append(g.call(follower, "POST", "/claim", {"wait": 20}, timeout=40)))
    t.start()
    wait_until(lambda: leader.in_flight() >= 1, what="the claim waits on the leader")
    leader.stop()
    next_ = c.wait_leader(besides=[leader])
    next_.publish("jobs", b"one")
    t.join(40)
    assert got and got[0].status in (200, 503, 504), got
    assert time.monotonic() - began < 35
    assert g.info(next_)["lag"] == 1
    leader.start()
    c.wait_whole()


def test_snapshots_let_old_records_go_on_all_nodes_and_the_next_leader_knows_all(cluster):
    c = cluster(topics={"jobs": LIVE})
    g, leader = Group("jobs", "w"), c.leader()
    g.put(leader, lease_max=20000, deliveries=0, lease_time=600)
    leader.publish_lines("jobs", [b"m%d" % i for i in range(10003)])
    kept = g.claim(leader, limit=3)
    assert g.settle(leader, ack=[kept[1]["lease"]]) == ["ok"]
    for _ in range(24):
        m = g.claim(leader, limit=10000)
        assert len(m) == 10000
        assert set(g.settle(leader, release=[x["lease"] for x in m])) == {"ok"}
    wait_until(lambda: all(n.topic("_groups")["first"] > 0 for n in c.nodes), timeout=60, what="files of _groups are gone", every=0.2)
    leader.kill()
    next_ = c.wait_leader(besides=[leader])
    info = g.info(next_)
    assert (info["leased"], info["lag"], info["settings"]["lease_max"]) == (2, 10002, 20000)
    assert g.settle(next_, ack=[kept[0]["lease"], kept[1]["lease"]]) == ["ok", "ok"]
    m = g.claim(next_, limit=10000)
    assert len(m) == 10000 and {x["delivery"] for x in m} == {25}
    leader.start()
    c.wait_whole()
