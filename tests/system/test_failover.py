"""A cluster under single faults. Where messages could be lost, the checker of histories runs.

The long form is tests/torture. A comment that begins with "The article:" names a published defect of the implementation before
this one.
"""

import json
import os
import re
import signal
import statistics
import subprocess
import time

import history
from client import assert_status
from cluster import KEY
from common import SANITIZED, crc32c, hold_for, in_threads, wait_until
from traffic import Run

LIVE = {"replication": "live", "copies": 2}
BOTH = {"live": "live", "wal": "wal"}


def sound(run):
    assert run.findings == [], run.report()
    assert run.acknowledged() > 100


# ---- the leader dies

# The article: after kill -9 of the leader the next one led after 29.5 s, and 95 of 345 acknowledged messages were lost.
def test_after_kill_9_of_the_leader_another_leads_soon_and_nothing_live_is_lost(cluster, figure):
    c = cluster(set=["store.segment.messages=200"])
    took = []
    with Run(c, BOTH, seed=1) as run:
        for _ in range(3):
            leader = c.leader()
            with run.fault("kill leader", leader):
                leader.kill()
                took.append(run.failover(time.monotonic(), "live"))
                assert c.wait_leader() is not leader
                leader.start()
            run.progresses()
    figure("kill -9 of the leader: %d acknowledged, next acknowledgement after %s s", run.acknowledged(),
           ", ".join("%.2f" % t for t in took))
    sound(run)
    assert statistics.median(took) < (10 if SANITIZED else 4)


# A timer that computes without end, and a leak up to the limit of memory.
BURNING = """
every(0.001, function() while true do end end)
local kept = {}
every(0.01, function() kept[#kept + 1] = ("x"):rep(1 << 20) .. #kept end)
"""


def test_a_failover_takes_no_longer_beside_a_world_that_burns_leaks_and_is_reloaded(cluster, figure):
    c = cluster(config=BURNING, set=["limits.script_memory=%d" % (64 << 20)])
    took = []
    with Run(c, {"live": "live"}, seed=7) as run:
        for _ in range(2):
            leader = c.leader()
            with run.fault("kill leader", leader):
                for node in c.nodes:
                    node.signal(signal.SIGHUP)
                leader.kill()
                took.append(run.failover(time.monotonic(), "live"))
                leader.start()
            run.progresses()
    figure("kill -9 of the leader beside a burning world: next acknowledgement after %s s", ", ".join("%.2f" % t for t in took))
    sound(run)
    assert min(took) < (10 if SANITIZED else 4)


def test_a_leader_that_loses_its_epoch_sends_a_publish_with_a_key_to_the_next(cluster):
    """It has appended the message, and waits for its followers when it has to stop leading."""
    c = cluster(topics={"t": LIVE})
    leader, followers = c.leader(), c.followers()
    for node in followers:
        node.freeze()

    def publish():
        a = leader.post("/v1/topics/t/messages", b"once", headers={"Idempotency-Key": "k"}, timeout=20)
        assert a.status == 200, a

    def change():
        wait_until(lambda: "tail" in leader.get("/v1/topics/t").json and leader.get("/v1/topics/t").json["tail"] == 1)
        c.consul.destroy_session(c.consul.get(KEY)[2])
        wait_until(lambda: not leader.leads())
        for node in followers:
            node.thaw()
    in_threads(publish, change)
    c.wait_whole()
    assert [payload for _, _, payload in c.leader().log("t")] == [b"once"]


def test_an_orderly_stop_hands_over_and_loses_nothing_of_a_wal_topic_either(cluster, figure):
    c = cluster()
    took = []
    with Run(c, BOTH, seed=2) as run:
        for _ in range(3):
            leader = c.leader()
            leader.stop()       # not recorded as a fault: nothing may be lost
            took.append(run.failover(time.monotonic(), "live"))
            leader.start()
            c.wait_whole()
            run.progresses()
    figure("orderly stop: next acknowledgement %s s after its end", ", ".join("%.2f" % t for t in took))
    sound(run)
    assert statistics.median(took) < (5 if SANITIZED else 1)


def test_kill_9_of_all_and_of_followers_loses_nothing(cluster):
    c = cluster(set=["store.segment.messages=200"])
    with Run(c, BOTH, seed=3) as run:
        for round_ in range(2):
            follower = c.followers()[round_]
            with run.fault("kill follower", follower):
                follower.kill()
                run.progresses()
                follower.start()
            with run.fault("kill all"):
                for node in c.nodes:
                    node.kill()
                c.start_nodes()
            run.progresses()
    sound(run)


def test_a_leader_that_was_stopped_for_a_second_loses_nothing(cluster):
    c = cluster()
    with Run(c, BOTH, seed=4) as run:
        for _ in range(2):
            leader = c.leader()
            with run.fault("freeze leader 1 s", leader):
                leader.freeze()
                hold_for(1, "the fault lasts so long")
                leader.thaw()
            run.progresses()
    sound(run)


def test_a_frozen_leader_that_nobody_hears_is_replaced_before_consul_gives_it_up(cluster, figure):
    c = cluster()
    took = []
    with Run(c, {"live": "live"}, seed=6) as run:
        for _ in range(4):
            leader = c.leader()
            with run.fault("freeze leader", leader):
                began = time.monotonic()
                leader.freeze()
                c.wait_leader(besides=[leader])
                took.append(time.monotonic() - began)
                leader.thaw()
            c.wait_whole()
            run.progresses()
        assert any("no node hears the leader" in n.said() for n in c.nodes)
    figure("frozen leader: %d acknowledged, another one leads after %s s", run.acknowledged(),
           ", ".join("%.2f" % t for t in took))
    sound(run)
    assert statistics.median(took) < (10 if SANITIZED else 3)


# ---- its claim

# The article: a leader that lost its session never steps down.
def test_a_leader_that_lost_its_session_is_replaced_or_claims_anew(cluster):
    c = cluster()
    with Run(c, BOTH, seed=5) as run:
        leader = c.leader()
        epoch = leader.view()["epoch"]
        with run.fault("session destroyed", leader) as at:
            c.consul.destroy_session(c.consul.get(KEY)[2])
            wait_until(lambda: c.consul.get(KEY)[2], what="somebody holds the lock again")
            wait_until(lambda: c.leader() and c.leader().view()["epoch"] > epoch, what="a higher epoch is led")
            run.failover(at)
        assert len([s for s in c.statuses().values() if s["role"] == "leader"]) == 1
        run.progresses()
    sound(run)


def test_a_deleted_lock_is_taken_again(cluster):
    c = cluster()
    with Run(c, BOTH, seed=6) as run:
        with run.fault("lock deleted"):
            c.consul.delete(KEY)
            wait_until(lambda: c.consul.get(KEY)[2], what="somebody holds the lock again")
        run.progresses()
    sound(run)


def test_consul_down_and_back_stops_writes_and_loses_nothing(cluster):
    c = cluster(lease=3)
    with Run(c, BOTH, seed=7) as run:
        with run.fault("consul down"):
            c.consul.kill()
            wait_until(lambda: all(a.status == 503 for a in publish_everywhere(c)), what="nobody acknowledges any more")
            for node in c.nodes:                # reads still work
                assert node.get("/v1/topics/live/messages?limit=1").status == 200
                assert node.get("/healthz").status == 200
            c.consul.start()
            c.wait_leader()
        run.progresses()
    sound(run)


def publish_everywhere(c):
    return [n.post("/v1/topics/probe/messages", b"x", timeout=20) for n in c.nodes]


def test_a_consul_that_is_restarted_at_once_is_not_noticed(cluster):
    c = cluster(lease=8)
    with Run(c, BOTH, seed=8) as run:
        with run.fault("consul restarted"):
            c.consul.restart()
        run.progresses()
    sound(run)


def test_a_leader_that_stops_by_itself_lets_another_lead_at_once(cluster):
    c = cluster(topics={"t": LIVE})
    leader = c.leader()
    leader.lua('require("lignum.core").cluster.resign("as a test has it")')
    other = c.wait_leader(besides=[leader], timeout=8)     # a session lasts for 10 s at least
    assert other.view()["epoch"] > 1
    other.publish("t", b"goes on")


# ---- the synced set

def test_the_set_shrinks_and_grows_and_copies_are_kept(cluster):
    c = cluster(lag_max=1, topics={"two": LIVE, "three": {"replication": "live", "copies": 3}})
    leader = c.leader()
    assert leader.publish("three", b"a")["copies"] == 3
    gone = c.followers()[0]
    gone.kill()
    wait_until(lambda: leader.publish("two", b"b")["committed"] == "peers", what="two of three are enough for copies = 2")

    refusals = []

    def refused():
        a = leader.post("/v1/topics/three/messages", b"refused %d" % len(refusals), timeout=20)
        refusals.append((a.status, a.json.get("code"), a.json.get("appended")))
        return refusals[-1][0] == 503
    wait_until(refused, what="copies = 3 is refused")
    assert refusals[-1] == (503, "not_enough_copies", False)
    gone.start()
    c.wait_whole()
    assert wait_until(lambda: leader.publish("three", b"d"))["copies"] == 3
    c.wait_equal()
    definite = {b"refused %d" % i for i, r in enumerate(refusals) if r[2] is False}
    for node in c.nodes:
        assert definite & set(node.messages("three")) == set()


def test_a_wiped_node_comes_back_as_a_new_one(cluster):
    c = cluster(set=["store.segment.messages=100"])
    with Run(c, BOTH, seed=9) as run:
        node = c.followers()[0]
        before = set(c.register()[0]["members"])
        with run.fault("wiped", node):
            node.kill()
            node.wipe()
            run.history.wiped.add(node.name)
            run.progresses()
            node.start()
        run.progresses()
        assert len(set(c.register()[0]["members"]) - before) == 1, "another incarnation under the old name"
    sound(run)


def test_a_node_comes_back_into_the_set_under_full_load(cluster, load_program):
    c = cluster(topics={"live": {"replication": "live"}, "wal": {"replication": "wal"}})
    for topic in ["live", "wal"]:
        leader, away = c.leader(), c.followers()
        with subprocess.Popen([load_program, "-b", "100", "-c", "64", "-d", "60", "http://%s/v1/topics/%s/messages" % (
                leader.http, topic)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as load:
            try:
                for node in away:
                    node.kill()
                wait_until(lambda: c.synced() == {leader.name}, what="the leader is alone in the set")
                for node in away:
                    node.start()
                c.wait_whole(timeout=20)
                assert load.poll() is None, "all that time the load went on"
            finally:
                load.terminate()


def test_a_node_that_joins_later_catches_up(cluster):
    c = cluster(2, topics={"live": LIVE, "wal": {"replication": "wal"}}, set=["store.segment.messages=1000"])
    for t in ["live", "wal"]:
        for i in range(0, 5000, 100):
            c.leader().publish_lines(t, [b"%d" % (i + k) for k in range(100)])
    late = c.add("n3")
    late.start()
    c.wait_whole()
    c.wait_equal()
    for t in ["live", "wal"]:
        assert late.messages(t) == [b"%d" % i for i in range(5000)]


def test_a_node_that_starts_while_nobody_leads_serves_what_it_has(cluster):
    c = cluster(2, topics={"t": LIVE})
    c.leader().publish("t", b"x")
    c.wait_equal()
    for node in c.nodes:
        node.stop()
    c.consul.kill()
    for node in c.nodes:
        node.start()
        assert node.get("/v1/topics/t/messages").status == 200


def test_a_restart_of_all_keeps_everything(cluster):
    c = cluster(topics={"t": LIVE})
    epoch = c.leader().view()["epoch"]
    c.leader().publish("t", b"before")
    for node in c.nodes:
        node.stop()
    c.start_nodes()
    c.wait_whole()
    assert c.leader().publish("t", b"after")["epoch"] > epoch
    c.wait_equal()
    for node in c.nodes:
        assert node.messages("t") == [b"before", b"after"]


# ---- modes and topics

def test_switching_the_mode_under_load_loses_nothing(cluster):
    c = cluster()
    with Run(c, {"mixed": "mixed"}, seed=10, publishers=4) as run:
        for i in range(6):
            mode = ["live", "wal"][i % 2]
            c.leader().ok("PATCH", "/v1/topics/mixed", json.dumps({"replication": mode, "copies": 2 if mode == "live" else 1}))
            at = time.monotonic()
            run.progresses()
            after = {p.committed for p in run.history.publishes if p.kind == history.ACKNOWLEDGED and p.invoked > at}
            assert after == {"peers" if mode == "live" else "disk"}
        leader = c.leader()
        c.leader().ok("PATCH", "/v1/topics/mixed", '{"replication": "live", "copies": 2}')
        with run.fault("kill leader", leader):
            leader.kill()
            c.wait_leader()
            leader.start()
    sound(run)


def test_topics_and_their_settings_survive_failover(cluster):
    c = cluster()
    c.create({"keep": dict(LIVE, retain={"messages": 12345}), "gone": LIVE})
    leader = c.leader()
    leader.publish("keep", b"x")
    leader.ok("DELETE", "/v1/topics/gone", status=204)
    ids = leader.topic("keep")["id"]
    leader.kill()
    other = c.wait_leader()
    assert other.topic("keep")["id"] == ids
    assert other.topic("keep")["retain"]["messages"] == 12345
    wait_until(lambda: other.get("/v1/topics/gone").status == 404, what="the delete has taken effect here too")
    leader.start()
    c.wait_whole()
    wait_until(lambda: leader.get("/v1/topics/gone").status == 404, what="and there")


# ---- divergence

# The article: a leader that rejoins keeps messages that diverged.
def test_what_diverged_is_moved_aside_and_counted(cluster):
    c = cluster(sync_interval=30, topics={"w": {"replication": "wal"}})
    leader = c.leader()
    lost = [b"never shipped %d" % i for i in range(20)]
    for m in lost:
        leader.publish("w", m)
    token = "%d:20" % leader.view()["epoch"]
    leader.kill()
    other = c.wait_leader()
    kept = [b"instead %d" % i for i in range(5)]
    for m in kept:
        wait_until(lambda: other.publish("w", m))
    leader.start()
    c.wait_whole()
    wait_until(lambda: leader.diverged(), what="something was moved aside")
    for m in lost:
        assert m in leader.diverged()
    a = other.get("/v1/topics/w/messages?from=" + token)
    assert_status(a, 409, "log_truncated")
    assert a.json["offset"] == 0
    assert other.messages("w") == kept
    assert lost[0] not in leader.messages("w")
    assert leader.metrics()["lignum_diverged_messages_total"] == 20
    other.ok("POST", "/v1/topics/w/messages", b"all have this", {"Lignum-Ack": "peers"})
    c.wait_equal()
    for node in c.nodes:
        assert node.messages("w") == kept + [b"all have this"]


# ---- damage

def test_a_damaged_file_is_fetched_from_another_node(cluster):
    c = cluster(topics={"t": LIVE}, set=["store.segment.messages=50"])
    sent = [b"message %d" % i for i in range(220)]
    for m in sent:
        c.leader().publish("t", m)
    c.wait_equal()
    node = c.followers()[0]
    node.stop()
    path = os.path.join(node.data, "topics/t/%020d.log" % 50)
    with open(path, "r+b") as f:
        whole = f.read()
        at = whole.index(b"message 70")
        f.seek(at)
        f.write(b"forged  70")
    node.start()
    c.wait_whole()

    def mended():
        a = node.get("/v1/topics/t/messages?from=50&to=100&limit=50")    # a read finds the damage
        return a.status == 200 and [m["data"].encode() for m in a.json["messages"]] == sent[50:100]
    wait_until(mended, what="the file is whole again")
    with open(path, "rb") as f:
        assert f.read() == whole
    assert node.messages("t") == sent
    node.stop()
    assert node.verify().code == 0
    kept = b"".join(open(os.path.join(d, n), "rb").read() for d, _, names in os.walk(os.path.join(node.data, "torn"))
                    for n in names)
    assert b"forged  70" in kept, "the damaged file is kept aside"


# ---- amnesia

def test_a_node_that_may_have_forgotten_does_not_lead_until_it_has_caught_up(cluster):
    c = cluster(2, topics={"weak": {"replication": "live", "copies": 2, "durability": "interval"}})
    c.nodes[0].publish("weak", b"x")
    c.wait_equal()
    for node in c.nodes:
        node.kill()
    state = os.path.join(c.nodes[0].data, "state")
    with open(state, "rb") as f:
        text = re.sub(rb"(?m)^boot=.*$", b"boot=another-boot-of-this-machine", f.read())
    body = text[:text.rindex(b"crc=")]
    with open(state, "wb") as f:
        f.write(body + b"crc=%08x\n" % crc32c(body))
    c.nodes[0].start()
    wait_until(lambda: "may have forgotten" in c.nodes[0].said(),
               what="it says that it may have forgotten")
    assert c.leader() is None
    c.nodes[1].start()
    assert c.wait_leader() is c.nodes[1]
    wait_until(lambda: "caught up: this node counts again" in c.nodes[0].said(), what="it has caught up")
    c.wait_whole()
    c.nodes[1].stop()
    c.wait_leader(besides=[c.nodes[1]])


# ---- disks

def test_a_full_disk_on_the_leader_or_a_follower_refuses_and_heals(folder, make_cluster, faults):
    switch = os.path.join(folder, "full.")
    c = make_cluster(binary=faults, lag_max=1, set=["store.segment.messages=100", "store.segment.bytes=65536"])
    for node in c.nodes:
        node.env = {"LIGNUM_FAULT": "allocate:ENOSPC:when-exists=" + switch + node.name}
    c.start()
    with Run(c, BOTH, seed=11) as run:
        for node in [c.leader(), c.followers()[0]]:
            with run.fault("full disk", node):
                open(switch + node.name, "w").close()
                if node is c.leader():
                    wait_until(lambda: (507, "no_space") in run.answers, what="507")
                else:
                    run.progresses()
                os.unlink(switch + node.name)
            run.progresses()
    sound(run)
    assert [n.starts for n in c.nodes] == [1, 1, 1]


def test_a_leader_whose_disk_alone_is_full_hands_over_and_one_among_equals_stays(folder, make_cluster, faults):
    switch = os.path.join(folder, "full.")
    c = make_cluster(binary=faults)
    for node in c.nodes:
        node.env = {"LIGNUM_FAULT": "allocate:ENOSPC:when-exists=" + switch + node.name}
    c.start()
    c.create({"t": {"replication": "live", "copies": 2, "segment": {"messages": 10}}})
    old, epoch = c.leader(), c.leader().view()["epoch"]
    open(switch + old.name, "w").close()

    def accepted():
        return any(n.post("/v1/topics/t/messages", b"x" * 100).status == 200 for _ in range(12) for n in c.nodes[:1])
    wait_until(lambda: old.post("/v1/topics/t/messages", b"x").status == 507, what="it is full")
    wait_until(lambda: old.get("/readyz").json.get("code") == "no_space", what="it says so")
    c.wait_leader(besides=[old])
    wait_until(accepted, what="messages are taken again")
    assert "its disk is full, and there is room on" in old.said()
    assert c.leader().view()["epoch"] == epoch + 1

    for node in c.nodes:
        open(switch + node.name, "a").close()
    leader, until = c.leader(), time.monotonic() + 6
    while time.monotonic() < until:
        leader.post("/v1/topics/t/messages", b"x" * 100)
        assert leader.leads(), "nobody could do better"
    for node in c.nodes:
        os.unlink(switch + node.name)
    wait_until(accepted, what="there is room again")
    c.wait_whole()
    assert c.leader().view()["epoch"] == epoch + 1


# ---- partitions

def test_a_leader_that_is_cut_off_from_all_acknowledges_nothing_live_and_is_replaced(cluster):
    c = cluster(net=True, lease=3)
    with Run(c, BOTH, seed=12) as run:
        old = c.leader()
        with run.fault("leader cut off", old) as at:
            c.net.isolate(old.name)
            new = c.wait_leader(besides=[old], timeout=60)
            run.failover(at)
            a = old.post("/v1/topics/live/messages", b"into the void", timeout=30)
            assert a.status in (503, 504), a
            c.net.heal()
        assert not (old.leads() and new.leads())
        run.progresses()
    sound(run)


def test_a_leader_that_is_cut_from_its_followers_goes_on_only_with_enough_copies(cluster):
    c = cluster(net=True, lag_max=1, lease=3)
    with Run(c, BOTH, seed=13) as run:
        old = c.leader()
        with run.fault("leader cut from followers", old):
            for node in c.followers():
                c.net.cut(old.name, node.name)
            run.progresses(timeout=90)              # under any leader
            c.net.heal()
        run.progresses()
    sound(run)


def staleness(node, topic, **query):
    a = node.get("/v1/topics/%s/messages?%s" % (topic, "&".join("%s=%s" % q for q in query.items())))
    return a.status, a.header("lignum-staleness-ms") and int(a.header("lignum-staleness-ms"))


def test_every_node_that_cannot_know_says_how_stale_it_is(cluster):
    c = cluster(2, topics={"t": {"replication": "live", "copies": 2}}, lease=2)
    leader, follower = c.leader(), c.followers()[0]
    for i in range(3):
        leader.publish("t", b"%d" % i)
    c.wait_equal(["t"])
    assert staleness(leader, "t") == (200, None)
    c.consul.kill()
    wait_until(lambda: staleness(leader, "t")[1], what="a leader that is suspended says it")
    assert staleness(leader, "t")[1] >= 2000, "for as long as Consul has not confirmed it"
    leader.kill()
    wait_until(lambda: staleness(follower, "t")[1] > 1000, what="a follower without a leader says it")
    leader.start()
    for offset in range(3):
        status, ms = staleness(leader, "t", **{"from": offset})
        assert (status, ms is None) in ((200, False), (503, True)), "never an empty answer as if there were nothing"
        assert status == 200 or leader.get("/v1/topics/t/messages?from=%d" % offset).json["code"] == "unavailable"
    assert staleness(leader, "t", **{"from": 2})[0] == 503, "what is behind the last message, nothing tells"
    assert staleness(leader, "t", **{"from": 3})[0] == 200
