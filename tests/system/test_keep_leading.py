"""A leader stays unless another node can do better, and gives its place away only with all that it has."""

import contextlib
import http.server
import re
import signal
import threading
import time

from client import assert_status
from cluster import KEY
from common import hold_for, wait_until

THREE = {"replication": "live", "copies": 3}


def gone_from_consul(c, node):
    """True once Consul has noticed that the node is gone."""
    return not any(node.name == key.rpartition("/")[2] for key in c.consul.keys("service/lignum/key/master/nodes/"))


def test_a_leader_stays_while_a_member_that_copies_keeps_is_gone(cluster):
    c = cluster(3, topics={"three": THREE, "wal": {}})
    leader, epoch = c.leader(), c.leader().view()["epoch"]
    gone = c.followers()[0]
    gone.kill()
    wait_until(lambda: gone_from_consul(c, gone), what="Consul has noticed")
    hold_for(8, "two leaders would have followed each other in that time")
    assert [s["epoch"] for s in c.statuses().values()] == [epoch, epoch]
    assert leader.publish("wal", b"goes on")["epoch"] == epoch
    gone.start()
    c.wait_whole()
    assert leader.publish("three", b"all are there")["epoch"] == epoch


def test_a_leader_steps_aside_for_a_node_that_reaches_the_member_it_does_not(cluster):
    c = cluster(3, net=True, topics={"three": THREE})
    leader, (cut, other) = c.leader(), c.followers()
    epoch = leader.view()["epoch"]
    c.net.cut(leader.name, cut.name)
    wait_until(lambda: other.publish("three", b"all are reached")["epoch"] > epoch, what="the node between the two leads")
    assert c.leader() is other
    assert "live topics need %s, which it does not reach; %s may" % (cut.name, other.name) in leader.said()
    now = other.view()["epoch"]
    hold_for(6, "another leader would have come in that time")
    assert other.publish("three", b"it stays")["epoch"] == now


def test_nobody_leads_in_turn_when_nobody_reaches_a_member(cluster):
    c = cluster(3, net=True, topics={"three": THREE, "wal": {}})
    leader, (cut, other) = c.leader(), c.followers()
    epoch = leader.view()["epoch"]
    c.net.cut(leader.name, cut.name)
    c.net.cut(other.name, cut.name)

    def both_have_tried():
        view = other.view()
        return view["role"] == "leader" and view["epoch"] > epoch
    wait_until(both_have_tried, what="the other node has tried")
    epoch = other.view()["epoch"]
    hold_for(12, "three more leaders would have come in that time")
    assert {n.name: n.view()["epoch"] for n in (leader, other)} == {leader.name: epoch, other.name: epoch}
    assert other.publish("wal", b"goes on")["epoch"] == epoch


@contextlib.contextmanager
def health():
    """An address at which Consul finds what a test wants it to find: (address, answers to come, those that were given)."""
    to_come, given = [], []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            given.append(to_come.pop(0) if to_come else 200)
            self.send_response(given[-1])
            self.end_headers()

        def do_HEAD(self):               # the check that is told early
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words):
            pass
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "127.0.0.1:%d" % server.server_port, to_come, given
        server.shutdown()


def test_one_failed_look_of_consul_does_not_end_a_session(cluster):
    with health() as (address, to_come, given):
        c = cluster(1, set=["node.advertise=" + address])
        wait_until(lambda: given, what="the first check, of which Consul takes a failure for two")
        session, epoch = c.consul.get(KEY)[2], c.leader().view()["epoch"]
        for failures, ends in [([500, 200, 500, 200, 200], False), ([500, 500, 200], True)]:
            del given[:]
            to_come[:] = failures
            wait_until(lambda: given[:len(failures)] == failures, what="Consul has looked")
            wait_until(lambda: (c.consul.get(KEY)[2] not in (None, session)) == ends, what="the session is another: %s" % ends)
            assert (c.wait_leader().view()["epoch"] > epoch) == ends


def test_an_orderly_stop_takes_the_time_that_slow_followers_need(cluster, figure):
    c = cluster(3, net=True, sync_interval=60, lag_max=60, topics={"wal": {}})
    leader = c.leader()
    for node in c.nodes:
        c.net[node.name].limit(60)
    for i in range(240):             # takes longer than Consul takes to declare a node dead
        leader.publish("wal", b"%04d" % i + b"x" * 100000)
    began = time.monotonic()
    leader.stop()
    took = time.monotonic() - began
    figure("orderly stop while followers lack 24 MB over 60 Mbit/s: %.2f s", took)
    assert took > 4
    assert "hands over: the followers have everything" in leader.said()
    wait_until(lambda: c.wait_leader().topic("wal")["next"] == 240, what="the next leader has it on its disk")
    assert [payload[:4] for _, _, payload in c.wait_leader().log("wal")] == [b"%04d" % i for i in range(240)]


def test_a_leader_that_stops_answers_health_checks_until_it_has_handed_over(cluster):
    c = cluster(3, net=True, sync_interval=60, lag_max=60, topics={"wal": {}})
    leader = c.leader()
    for node in c.followers():
        c.net[node.name].limit(1)
    for i in range(30):
        leader.publish("wal", b"x" * 100000)
    leader.signal(signal.SIGTERM)
    wait_until(lambda: "main: stopping" in leader.said(), what="it stops")
    assert leader.get("/healthz").status == 200
    assert leader.get("/readyz").status == 503
    assert_status(leader.request("POST", "/v1/topics/wal/messages", b"late"), 503, "stopping")
    leader.kill()


def test_a_leader_does_not_say_that_members_which_left_have_everything(cluster):
    c = cluster(2, sync_interval=60, topics={"wal": {}, "two": {"replication": "live", "copies": 2}})
    leader, gone = c.leader(), c.followers()[0]
    gone.kill()
    leader.publish("wal", b"x")
    leader.stop()
    assert "missing: %s (not connected)" % gone.name in leader.said()


def test_a_stop_is_bounded_and_says_what_followers_lack(cluster):
    c = cluster(3, net=True, sync_interval=60, lag_max=60, set=["cluster.drain=0.5"], topics={"wal": {}})
    leader = c.leader()
    for node in c.followers():
        c.net[node.name].limit(1)
    for i in range(30):
        leader.publish("wal", b"x" * 100000)
    leader.stop()
    assert re.search(r"did not receive all messages within cluster.drain \(0.5 s\); missing: n\d \d+", leader.said())


def test_a_leader_that_loses_its_session_gives_followers_what_it_holds(cluster):
    c = cluster(3, sync_interval=60, topics={"wal": {}})
    leader, epoch = c.leader(), c.leader().view()["epoch"]
    for i in range(50):
        leader.publish("wal", b"%d" % i)
    assert {n.topic("wal")["next"] for n in c.followers()} == {0}
    c.consul.destroy_session(c.consul.get(KEY)[2])
    wait_until(lambda: c.wait_leader().view()["epoch"] > epoch, what="a higher epoch is led")
    c.wait_whole()
    assert c.leader().messages("wal") == [b"%d" % i for i in range(50)]
    assert [n.diverged() for n in c.nodes] == [b"", b"", b""]


def test_a_node_that_consul_does_not_reach_says_at_which_address(cluster):
    c = cluster(1)
    late = c.add("late", set=["node.advertise=127.0.0.1:1"])
    late.start()
    wait_until(lambda: "does not reach this node at http://127.0.0.1:1/healthz (node.advertise)" in late.said(), what="it says so")
    assert "Consul is not available" not in late.said()


def test_a_follower_without_its_leader_is_not_ready(cluster):
    c = cluster(3, net=True)
    leader, cut = c.leader(), c.followers()[0]
    assert cut.get("/readyz").status == 200
    c.net.cut(leader.name, cut.name)
    a = wait_until(lambda: (lambda a: a.status == 503 and a)(cut.get("/readyz")), what="it is not ready")
    assert a.json["detail"] == "this node is not connected to its leader, %s: it has been silent for too long" % leader.name
    c.net.heal()
    wait_until(lambda: cut.get("/readyz").status == 200, what="it is ready again")
