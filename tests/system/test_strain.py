"""Many clients neither move the leadership of a cluster nor prevent its move."""

import contextlib
import threading
import time

from client import assert_status, request_bytes
from common import PATIENCE, in_threads, wait_until


class Polling:
    """Clients that long-poll for messages that never come, each on its own connection, and retry when refused."""

    def __init__(self, node, count, target):
        self.node, self.target = node, target
        self.ended, self.refused = threading.Event(), 0
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]

    def run(self):
        while not self.ended.is_set():
            with contextlib.suppress(OSError, ValueError, AssertionError), self.node.connect() as c:
                c.socket.settimeout(0.5)
                c.send(request_bytes("GET", self.target))
                while not self.ended.is_set():
                    try:
                        answer = c.answer()
                    except TimeoutError:
                        continue
                    self.refused += answer.status in (429, 503)
                    break
            self.ended.wait(0.05)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for t in self.threads:
            t.join(PATIENCE)


def check_crowd(cluster, figure, setting):
    c = cluster(2, topics={"t": {}}, set=[setting])
    leader = c.leader()
    follower, before = c.followers()[0], leader.view()["epoch"]
    with Polling(leader, 60, "/v1/topics/t/messages?from=latest&wait=60") as crowd:
        wait_until(lambda: crowd.refused > 100, what="more want to wait than may")
        published, end = 0, time.monotonic() + 5          # Consul checks every second
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                published += leader.post("/v1/topics/u/messages", b"x").status == 200
        view = follower.view()
    figure("%s: %d polls refused, %d published", setting, crowd.refused, published)
    assert (view["epoch"], view["leader"]["name"]) == (before, leader.name)
    assert published > 10
    assert leader.topics()["u"]["next"] == published


def test_long_polls_beyond_the_tasks_neither_move_the_leadership_nor_stop_publishing(cluster, figure):
    check_crowd(cluster, figure, "limits.tasks=24")


def test_long_polls_beyond_the_connections_neither_move_the_leadership_nor_stop_publishing(cluster, figure):
    check_crowd(cluster, figure, "limits.connections=24")


def test_forwards_to_a_frozen_leader_end_when_another_leads(cluster, figure):
    c = cluster(3, topics={"t": {"replication": "live", "copies": 2}})
    leader, follower = c.leader(), c.followers()[0]
    leader.freeze()
    began = time.monotonic()
    answers = []
    in_threads(*[lambda: answers.append(follower.post("/v1/topics/t/messages", b"x"))] * 20)
    took = time.monotonic() - began
    figure("forwards to a leader that is frozen end after %.1f s: %s", took, ", ".join(sorted({str(a.status) for a in answers})))
    for a in answers:
        assert_status(a, 504, "unknown_outcome")
    assert took < 9              # and not when the leader ought to have answered: that takes 10 s
    second = c.wait_leader(besides=[leader])
    wait_until(lambda: follower.post("/v1/topics/t/messages", b"y").status == 200, what="the next leader takes it")
    leader.thaw()
    c.wait_whole()
    assert c.leader() is second
    assert [p for _, _, p in second.log("t")][-1] == b"y"


def test_a_reader_who_waits_where_the_log_is_cut_is_told_and_gets_no_others_messages(cluster):
    c = cluster(2, sync_interval=30, topics={"w": {"replication": "wal"}})
    leader = c.leader()
    epoch = leader.view()["epoch"]
    for i in range(20):
        leader.publish("w", b"never shipped %d" % i)
    with leader.connect() as reader:
        reader.send(request_bytes("GET", "/v1/topics/w/messages?from=%d:20&wait=60" % epoch))
        wait_until(lambda: leader.in_flight() >= 1, what="it waits")
        leader.freeze()
        other = c.wait_leader(besides=[leader])
        for i in range(30):
            wait_until(lambda: other.publish("w", b"instead"))
        other.ok("POST", "/v1/topics/w/messages", b"shipped", {"Lignum-Ack": "peers"})
        leader.thaw()
        a = reader.answer()
    assert_status(a, 409, "log_truncated")
    assert a.json["offset"] == 0
