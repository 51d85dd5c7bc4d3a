"""Three nodes and a real Consul without faults: leadership, replication in both modes, reads and writes on any node.

A comment that begins with "The article:" names a published defect of the implementation before this one.
"""

import json
import os
import random
import socket
import subprocess
import time

import pytest

import history
from client import assert_refused, assert_status
from cluster import KEY, NODES
from common import SANITIZED, hold_for, in_threads, wait_until
from publishers import count_together

LIVE = {"replication": "live", "copies": 2}


@pytest.fixture(scope="module")
def shared(share_cluster):
    return share_cluster(set=["store.segment.messages=50"])


@pytest.fixture
def c(shared):
    """The cluster shared by all tests that leave it whole."""
    shared.wait_whole()
    return shared


@pytest.fixture
def topic(request, c):
    """topic(name, settings): creates a topic on all nodes, by default with the name of the test."""
    def create(name=None, **settings):
        name = name or request.node.name[:100]
        c.create({name: settings})
        c.wait_equal([name])
        return name
    return create


def test_one_node_leads_and_all_agree_who(c):
    statuses = c.statuses()
    assert len(statuses) == 3
    leaders = {(s["epoch"], s["leader"]["name"], s["leader"]["http"]) for s in statuses.values()}
    assert len(leaders) == 1, statuses
    leader = c.leader()
    assert leaders.pop()[1:] == (leader.name, "http://" + leader.http)
    for node, s in statuses.items():
        assert s["self"] == node.name
        assert s["role"] == ("leader" if node is leader else "follower")
        assert sorted(s["synced"]) == ["n1", "n2", "n3"]
        assert sorted(n["name"] for n in s["nodes"]) == ["n1", "n2", "n3"]
        assert node.get("/readyz").status == 200
    value, _, session = c.consul.get(KEY)
    assert json.loads(value)["name"] == leader.name
    assert session in c.consul.sessions()
    register, _ = c.register()
    assert register["leader"].split(":")[0] == leader.name
    assert register["epoch"] == leader.view()["epoch"]
    assert sorted(m.split(":")[0] for m in register["members"]) == ["n1", "n2", "n3"]
    assert len(c.consul.keys(NODES)) == 3


def test_of_many_appends_with_one_token_one_succeeds_on_any_node(c, topic):
    t = topic(**LIVE)
    count_together(lambda: random.choice(c.nodes), t, up_to=60, clients=6)
    assert c.leader().messages(t) == [b"%d" % i for i in range(61)]
    a = c.followers()[0].post("/v1/topics/%s/messages" % t, b"x", headers={"If-Match": '"0:0"'})
    assert_refused(a, 412, "precondition_failed")
    assert a.json["token"] == c.leader().read(t)["next_token"]


# The article: on the two followers 1,208 and 1,246 of 1,275 range reads were wrong.
def test_every_range_read_on_a_follower_is_right(c, topic):
    t = topic(**LIVE)
    sent = ["message %d" % i for i in range(50)]
    for m in sent:
        c.leader().publish(t, m.encode())
    for node in c.followers():
        wait_until(lambda: node.topic(t)["next"] == 50)
        with node.connect() as connection:
            for a in range(50):
                for b in range(a + 1, 51):
                    page = connection.request("GET", "/api/message?topic=%s&from=%d&to=%d" % (t, a, b)).json
                    assert [m["Data"] for m in page["messages"]] == sent[a:b], (node.name, a, b)


# The article: the open file is never replicated.
def test_the_open_file_is_replicated(c, topic):
    t = topic(replication="wal")
    leader = c.leader()
    sent = [b"%d" % i for i in range(7)]          # a file is sealed after 50
    for m in sent:
        leader.publish(t, m)
    for node in c.followers():
        wait_until(lambda: node.messages(t) == sent, what="%s has the open file" % node.name)


# The article: live-replicated messages are neither readable nor stored on followers.
def test_live_messages_are_readable_and_stored_on_followers(c, topic):
    t = topic(replication="live", copies=3)
    receipt = c.leader().publish(t, b"kept by everybody")
    assert (receipt["committed"], receipt["copies"]) == ("peers", 3)
    for node in c.followers():
        wait_until(lambda: node.messages(t) == [b"kept by everybody"])
        with open(os.path.join(node.data, "small", t), "rb") as f:
            stored = f.read()
        assert b"kept by everybody" in stored


# The article: a write to a follower is acknowledged and kept only there.
def test_a_write_to_a_follower_is_stored_by_the_leader_and_on_all_nodes(c, topic):
    t = topic(**LIVE)
    for i, node in enumerate(c.nodes):
        receipt = node.publish(t, b"by way of %s" % node.name.encode())
        assert (receipt["first"], receipt["epoch"]) == (i, c.leader().view()["epoch"])
        a = node.ok("POST", "/api/message", json.dumps({"topic": t + ".api", "message": "x"}))
        assert a.json["offset"] == i
    c.wait_equal([t, t + ".api"])
    for node in c.nodes:
        assert node.messages(t) == [b"by way of n1", b"by way of n2", b"by way of n3"]
        assert node.messages(t + ".api") == [b"x"] * 3


def test_a_forwarded_body_arrives_byte_for_byte(c, topic):
    t = topic(**LIVE)
    bodies = [bytes(range(256)) * 4, b"\r\n\r\n", b"", b"x" * 900000, "\u00e4\u20ac".encode()]
    follower = c.followers()[0]
    for body in bodies:
        follower.publish(t, body)
    follower.publish_lines(t, [b"a", b"b"])
    assert c.leader().messages(t) == bodies + [b"a", b"b"]


def test_a_forwarded_refusal_is_the_leaders(c, topic):
    follower = c.followers()[0]
    assert_status(follower.post("/v1/topics/.bad/messages", b"x"), 400, "bad_topic")
    a = follower.request("POST", "/v1/topics/%s/messages" % topic(**LIVE), "[", {"Content-Type": "application/json"})
    assert_status(a, 400, "bad_json")


def test_forward_never_is_307_to_the_leader(c, topic):
    t = topic(**LIVE)
    a = c.followers()[0].request("POST", "/v1/topics/%s/messages" % t, b"x", {"Lignum-Forward": "never"})
    assert (a.status, a.header("location")) == (307, "http://%s/v1/topics/%s/messages" % (c.leader().http, t))
    a = c.leader().request("POST", "/v1/topics/%s/messages" % t, b"y", {"Lignum-Forward": "never"})
    assert (a.status, a.json["first"]) == (200, 0)


def test_a_read_with_min_offset_waits_on_a_follower(c, topic):
    t = topic(replication="wal")
    leader, follower = c.leader(), c.followers()[0]
    for i in range(5):
        receipt = leader.publish(t, b"%d" % i)
        page = follower.read(t, from_=i, min_offset="%d:%d" % (receipt["epoch"], receipt["next"]), wait=10)
        assert [m["data"] for m in page["messages"]] == ["%d" % i]


def test_a_min_offset_that_does_not_come_is_503_with_retry_after(c, topic):
    t = topic(replication="wal")
    a = c.followers()[0].get("/v1/topics/%s/messages?min_offset=5&wait=0.1" % t)
    assert a.status == 503, a
    assert a.header("retry-after") is not None


def test_a_follower_says_how_stale_it_is(c, topic):
    t = topic(**LIVE)
    c.leader().publish(t, b"x")
    for node in c.followers():
        wait_until(lambda: node.topic(t)["next"] == 1)
        stale = node.get("/v1/topics/%s/messages" % t).header("lignum-staleness-ms")
        assert int(stale) < 5000
    assert c.leader().get("/v1/topics/%s/messages" % t).header("lignum-staleness-ms") is None


def test_a_long_poll_on_a_follower_wakes(c, topic):
    t = topic(**LIVE)
    follower, got = c.followers()[0], []

    def publish():
        wait_until(lambda: follower.in_flight() >= 3, what="three requests wait")
        c.leader().publish(t, b"wake")
    in_threads(publish, *[lambda: got.append(follower.read(t, from_=0, wait=20))] * 3)
    assert [[m["data"] for m in page["messages"]] for page in got] == [["wake"]] * 3


def test_one_request_may_ask_for_peers_in_a_wal_topic(c, topic):
    t = topic(replication="wal")
    receipt = c.leader().ok("POST", "/v1/topics/%s/messages" % t, b"x", {"Lignum-Ack": "peers"}).json
    assert receipt["committed"] == "peers"
    for node in c.followers():
        assert sorted(n.decode() for _, _, n in node.log(t)) == ["x"], "it is there before the sync interval"


def test_more_copies_than_nodes_is_503_and_appends_nothing(c, topic):
    t = topic(replication="live", copies=4)
    for node in c.nodes:
        a = node.post("/v1/topics/%s/messages" % t, b"x")
        assert_refused(a, 503, "not_enough_copies")
    assert c.leader().topic(t)["next"] == 0
    c.leader().ok("PATCH", "/v1/topics/" + t, '{"copies": 3}')
    assert c.leader().publish(t, b"y")["first"] == 0


def test_topics_are_created_changed_and_deleted_everywhere(c, topic):
    t = topic(replication="wal")
    c.followers()[0].ok("PATCH", "/v1/topics/" + t, '{"replication": "live", "copies": 2}')

    def settings():
        return {(n.topic(t)["replication"], n.topic(t)["copies"], n.topic(t)["id"]) for n in c.nodes}
    wait_until(lambda: len(settings()) == 1 and settings().pop()[:2] == ("live", 2), what="all nodes have the change")
    id_ = settings().pop()[2]
    c.followers()[1].ok("DELETE", "/v1/topics/" + t, status=204)
    wait_until(lambda: all(n.get("/v1/topics/" + t).status == 404 for n in c.nodes), what="it is gone everywhere")
    c.followers()[0].publish(t, b"another one of that name")
    wait_until(lambda: all(n.messages(t) == [b"another one of that name"] for n in c.nodes if n.get("/v1/topics/" + t).status
                           == 200) and len(settings()) == 1)
    assert settings().pop()[2] != id_


def test_sealed_files_are_identical_on_all_nodes(c, topic):
    topics = [topic("sealed.live", **LIVE), topic("sealed.wal", replication="wal")]
    leader = c.leader()
    for t in topics:
        for i in range(0, 120, 4):
            leader.publish_lines(t, [b"%d" % (i + k) for k in range(4)])
        leader.publish(t, b"the last")
    c.wait_equal(topics)
    h = history.History()
    for node in c.nodes:
        h.sealed[node.name], h.open[node.name] = node.files()
    assert history.check(h) == []
    assert len(h.sealed["n1"]["sealed.live"]) >= 2
    assert len(h.sealed["n1"]["sealed.wal"]) >= 2


def test_metrics_show_role_epoch_and_lag(c, topic):
    t = topic(**LIVE)
    c.leader().publish(t, b"x")
    for node in c.nodes:
        m = node.metrics()
        names = " ".join(sorted(m))
        for word in ["role", "epoch", "lag", "synced", "elections", "diverged"]:
            assert word in names, "no metric speaks of it"
        assert [v for n, v in m.items() if "epoch" in n][0] == c.leader().view()["epoch"]


# The article: anyone who reaches its ports can register a follower; a malformed registration ends the leader.
def test_garbage_on_the_replication_port_ends_nothing(c, topic):
    rng = random.Random(7)
    for node in c.nodes:
        host, _, port = node.replication.rpartition(":")
        for junk in [b"", b"\0" * 4000, b"GET / HTTP/1.1\r\n\r\n", b"register ../../etc/passwd 1 2 3\n",
                     *(rng.randbytes(rng.randrange(1, 3000)) for _ in range(40))]:
            with socket.create_connection((host, int(port)), 10) as s:
                try:
                    s.sendall(junk)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(4096):
                        pass
                except OSError:
                    pass        # the node may close while this writes
    c.wait_whole()
    assert [n.starts for n in c.nodes] == [1, 1, 1]
    t = topic(**LIVE)
    c.leader().publish(t, b"still here")


def test_connections_that_say_nothing_do_not_hold_a_place(c, topic):
    host, _, port = c.leader().replication.rpartition(":")
    silent = [socket.create_connection((host, int(port)), 10) for _ in range(100)]
    try:
        t = topic(**LIVE)
        c.leader().publish(t, b"x")
    finally:
        for s in silent:
            s.close()


# The article: an idle cluster uses 165 % of 200 % CPU and makes 3,131 Consul writes a second.
def test_an_idle_cluster_writes_next_to_nothing_to_consul_and_uses_no_cpu(cluster, figure):
    c = cluster()

    def writes():
        return int(c.consul.ok("GET", "/v1/agent/self")["Stats"]["raft"]["last_log_index"])
    before, cpu = writes(), [n.cpu_seconds() for n in c.nodes]
    hold_for(5, "idle, over which both are measured")
    per_second, used = (writes() - before) / 5, [(n.cpu_seconds() - t) / 5 for n, t in zip(c.nodes, cpu)]
    figure("idle cluster: %.1f Consul writes/s, CPU of the nodes %s %%", per_second, ", ".join("%.1f" % (100 * u) for u in used))
    assert per_second < 3
    assert max(used) < (0.2 if SANITIZED else 0.05)


# The article: three nodes in live mode took 1,242 messages/s, without any fsync.
def test_three_nodes_live_take_more_than_the_old_one_did(cluster, load_program, figure):
    c = cluster(topics={"t": {"replication": "live", "copies": 3}})
    out = subprocess.run([load_program, "--json", "-b", "100", "-c", "64", "-d", "2",
                          "http://%s/v1/topics/t/messages" % c.leader().http], capture_output=True, text=True)
    rate = json.loads(out.stdout)["requests_per_s"]
    figure("three nodes, live, 64 connections: %d messages/s", rate)
    assert rate > 1242


def test_a_lone_node_with_consul_leads_at_once_and_again_after_kill_9(cluster):
    # The article: a lone node waits 24 s for its own old lock, resets its counter and reuses ids.
    c = cluster(1, topics={"t": {"replication": "live"}})
    receipt = c.nodes[0].publish("t", b"before")
    c.nodes[0].kill()
    began = time.monotonic()
    c.nodes[0].start()
    after = wait_until(lambda: c.nodes[0].publish("t", b"after"), what="it leads again")
    assert time.monotonic() - began < 10
    assert after["first"] == 1
    assert after["epoch"] > receipt["epoch"]
    assert c.nodes[0].messages("t") == [b"before", b"after"]


def test_flags_are_all_that_a_cluster_needs(make_cluster):
    c = make_cluster(2)
    c.consul.start()
    for node in c.nodes:
        node.config = lambda: ""
        node.flags = ["--name", node.name, "--consul", c.consul.address, "--replication", node.replication,
                      "--set", "cluster.replication.secret=" + c.secret]
        node.start()
    c.wait_whole()
    c.create({"t": LIVE})
    assert c.leader().publish("t", b"x")["committed"] == "peers"


def test_nodes_that_start_before_consul_wait_for_it(make_cluster):
    c = make_cluster(2)
    c.start_nodes()
    a = c.nodes[0].post("/v1/topics/t/messages", b"x")
    assert (a.status, a.json["appended"]) == (503, False), a
    assert c.nodes[0].get("/readyz").status != 200
    c.consul.start()
    c.wait_whole()
    c.create({"t": LIVE})
    c.nodes[0].publish("t", b"x")
