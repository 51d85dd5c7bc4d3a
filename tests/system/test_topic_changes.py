"""Creating, changing and deleting topics while something is wrong with the cluster, or with a disk."""

import contextlib
import json
import os

import pytest

from client import assert_refused, assert_status
from common import in_threads, wait_until

LIVE = {"replication": "live"}


def test_what_commits_because_a_member_leaves_the_set_has_taken_effect_when_it_is_answered(cluster):
    c = cluster(3, topics={"old": {}})
    leader, frozen = c.leader(), c.followers()[0]
    frozen.freeze()
    answers = {}

    def ask(n):
        if n < 8:
            answers[n] = leader.request("PUT", "/v1/topics/put%d" % n, b"{}")
        elif n < 16:
            answers[n] = leader.post("/v1/topics/published%d/messages" % n, b"x")
        else:
            answers[n] = leader.request("PATCH", "/v1/topics/old", json.dumps({"retain": {"messages": 1000}}))
    in_threads(*[lambda n=n: ask(n) for n in range(17)])
    assert {n: (a.status, a.body) for n, a in answers.items() if a.status not in (200, 201)} == {}
    assert answers[16].json["retain"]["messages"] == 1000
    frozen.thaw()
    c.wait_whole()


def block(node, topic):
    """Puts a file in the way of a topic's directory; its path."""
    path = os.path.join(node.data, "topics", topic)
    open(path, "w").close()
    return path


def test_a_topic_whose_directory_cannot_be_made_exists_and_is_opened_later(node):
    b = node()
    b.publish("t", b"x")
    in_the_way = block(b, "late")
    for method, path, body in [("PUT", "/v1/topics/late", b"{}"), ("PUT", "/v1/topics/late", b"{}"), ("GET", "/v1/topics/late", None),
                               ("POST", "/v1/topics/late/messages", b"refused"), ("GET", "/v1/topics/late/messages", None)]:
        a = b.request(method, path, body)
        assert_status(a, 503, "storage")
        assert a.json["retryable"] is True
    os.unlink(in_the_way)
    assert b.publish("late", b"taken")["first"] == 0

    in_the_way = block(b, "gone")
    assert_status(b.post("/v1/topics/gone/messages", b"refused"), 503, "storage")
    b.ok("DELETE", "/v1/topics/gone", status=204)
    os.unlink(in_the_way)
    assert_status(b.get("/v1/topics/gone"), 404, "unknown_topic")
    b.restart()
    assert sorted(t["name"] for t in b.ok("GET", "/v1/topics").json["topics"]) == ["late", "t"]


def test_a_topic_that_only_one_node_cannot_open_is_the_same_on_all_nodes_later(cluster):
    c = cluster(3, lag_max=1)
    for node in [c.leader(), c.followers()[0]]:
        leader, epoch = c.leader(), c.leader().view()["epoch"]
        topic = "blocked-on-" + node.name
        in_the_way = block(node, topic)
        a = leader.request("PUT", "/v1/topics/" + topic, json.dumps(LIVE))
        if node is leader:
            assert_status(a, 503, "storage")
            assert_refused(leader.post("/v1/topics/%s/messages" % topic, b"refused"), 503, "storage")
        else:
            wait_until(lambda: leader.publish(topic, b"it leaves the set first"), what="the others go on")
            wait_until(lambda: node.get("/v1/topics/" + topic).status == 503, what="it knows the topic")
            assert_status(node.get("/v1/topics/" + topic), 503, "storage")
        os.unlink(in_the_way)
        c.wait_whole()
        leader.publish(topic, b"for all")
        c.wait_equal()
        assert c.leader().view()["epoch"] == epoch
        assert [n.messages(topic) for n in c.nodes] == [leader.messages(topic)] * 3


def test_copies_can_be_lowered_while_a_member_that_they_keep_is_gone(cluster):
    three = {"replication": "live", "copies": 3}
    c = cluster(3, topics={"a": three, "b": three, "c": three})
    leader, epoch = c.leader(), c.leader().view()["epoch"]
    gone = c.followers()[0]
    gone.kill()
    with pytest.raises(TimeoutError):                  # it is not acknowledged, and not refused either: that would take 30 s
        leader.post("/v1/topics/a/messages", b"x", timeout=1)
    a = leader.request("PATCH", "/v1/topics/a", json.dumps({"copies": 2}))
    assert_status(a, 200)
    assert a.json["copies"] == 2
    assert leader.publish("a", b"taken")["copies"] == 2
    assert_refused(leader.post("/v1/topics/b/messages", b"x"), 503, "not_enough_copies")
    leader.ok("PATCH", "/v1/topics/b", json.dumps({"copies": 1}))
    leader.publish("b", b"taken")
    gone.start()
    c.wait_whole()
    assert leader.publish("c", b"taken")["copies"] == 3
    assert leader.view()["epoch"] == epoch


def test_another_leader_lowers_copies_though_changes_that_it_began_with_are_under_way(cluster):
    c = cluster(3, topics={"a": {"replication": "live", "copies": 3}})
    leader, (gone, other) = c.leader(), c.followers()
    gone.kill()
    with contextlib.suppress(OSError):
        leader.request("PATCH", "/v1/topics/a", json.dumps({"retain": {"messages": 1000}}), timeout=0.5)
    leader.kill()
    leader.start()
    c.wait_leader()
    a = wait_until(lambda: (lambda a: a.status == 200 and a)(c.leader().request("PATCH", "/v1/topics/a", json.dumps({"copies": 2}))),
                   what="copies are lowered")
    assert (a.json["copies"], a.json["retain"]["messages"]) == (2, 1000)
    assert c.leader().publish("a", b"taken")["copies"] == 2


def test_a_publish_under_way_does_not_create_the_topic_again_that_is_deleted(cluster):
    c = cluster(3, topics={"t": {"replication": "live", "copies": 3}})
    leader = c.leader()
    c.followers()[0].kill()
    answers = []

    def publish():
        answers.append(leader.post("/v1/topics/t/messages", b"x", timeout=60))

    def delete():
        wait_until(lambda: leader.topic("t")["tail"] == 1, what="it is appended")
        leader.ok("DELETE", "/v1/topics/t", status=204)
    in_threads(publish, delete)
    assert_status(answers[0], 504, "unknown_outcome")
    assert_status(leader.get("/v1/topics/t"), 404, "unknown_topic")


def compact_topics(leader):
    """Changes a topic until a snapshot in _topics has replaced what was before it."""
    def change(k):
        with leader.connect() as c:
            while leader.topic("_topics")["first"] == 0:
                for n in range(100):
                    body = json.dumps({"retain": {"messages": 1000 * k + n}})
                    assert c.request("PATCH", "/v1/topics/busy", body).status == 200
    in_threads(*[lambda k=k: change(k) for k in range(16)])


def test_a_node_that_was_away_while_the_list_of_topics_was_compacted_takes_the_list_anew(cluster):
    c = cluster(3, topics={"busy": LIVE, "deleted": LIVE, "again": LIVE, "kept": LIVE})
    leader, away = c.leader(), c.followers()[0]
    for topic in "deleted", "again", "kept":
        leader.publish(topic, b"before")
    c.wait_equal()
    away.kill()
    wait_until(lambda: len(leader.view()["synced"]) == 2)
    for topic in "deleted", "again":
        leader.ok("DELETE", "/v1/topics/" + topic, status=204)
    leader.publish("again", b"another topic of that name")
    leader.publish("kept", b"meanwhile")
    compact_topics(leader)
    ids = {name: t["id"] for name, t in leader.topics().items()}

    away.spawn()                       # what it knows does not lead to what the leader has: it says so, and ends
    assert away.process.wait(timeout=30) == 75
    away.start()                       # as its service does
    c.wait_whole()
    c.wait_equal()
    assert {name: t["id"] for name, t in away.topics().items()} == ids
    assert b"before" in away.diverged()
    assert sorted(away.listed()) == ["_topics", "again", "kept"], "and busy has no message"

    for node in c.followers():         # and all of them start with what is left of the list
        node.restart()
    c.wait_whole()
    leader.kill()
    c.wait_leader(besides=[leader])
    leader.start()
    c.wait_whole()
    c.leader().publish("kept", b"after")
    c.wait_equal()
    assert {name: t["id"] for name, t in leader.topics().items()} == ids


def test_a_node_that_does_not_know_its_topics_gives_no_backup(cluster, folder):
    """As after an unclean claim whose history ends before the snapshot with which its list begins."""
    b = cluster(1, topics={"busy": LIVE}).leader()
    b.publish("busy", b"one")
    log = b.data + "/topics/_topics"

    def change(k):
        with b.connect() as c:
            n = 0
            while not os.path.exists("%s/%020d.log" % (log, 0)):      # 4 MiB
                n += 1
                body = json.dumps({"retain": {"messages": 100000 * (k + 1) + n}})
                assert c.request("PATCH", "/v1/topics/busy", body).status == 200
    in_threads(*[lambda k=k: change(k) for k in range(16)])
    b.stop()
    os.remove("%s/%020d.log" % (log, 0))
    os.remove(log + "/checkpoint")
    b.spawn()
    b.settles()
    assert [t["name"] for t in b.get("/v1/topics").json["topics"]] == []
    assert_status(b.get("/v1/marks"), 503, "unavailable")
    kept = os.path.join(folder, "kept")
    ran = b.lignum("backup", kept, "--data", b.data, "--url", "http://127.0.0.1:%d" % b.port)
    assert ran.code == 75 and "does not know yet which topics there are" in ran.err, ran
    assert not os.path.exists(kept)
