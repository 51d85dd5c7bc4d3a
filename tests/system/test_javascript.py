"""scripts/web/lignum.js, the client for JavaScript, from Node against real brokers."""

import json
import os
import shutil
import socket
import subprocess

import pytest

from client import assert_status
from common import ROOT, wait_until
from test_access import add

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")


class Client:
    """A process of client.mjs. lines() has what it has said so far."""

    def __init__(self, scenario, brokers, **given):
        given["urls"] = [b if isinstance(b, str) else "http://127.0.0.1:%d" % b.port for b in brokers]
        self.process = subprocess.Popen(
            ["node", os.path.join(ROOT, "tests/browser/client.mjs"), os.path.join(ROOT, "scripts/web/lignum.js"), scenario,
             json.dumps(given)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.text = b""

    def lines(self):
        self.text += self.process.stdout.read() or b""
        return [json.loads(line) for line in self.text.split(b"\n")[:-1]]

    def end(self, timeout=120):
        try:
            code = self.process.wait(timeout)
        finally:
            self.process.kill()
        assert code == 0, (self.text + self.process.stderr.read()).decode()
        return self.lines()


@pytest.fixture
def start():
    clients = []

    def begin(*words, **given):
        clients.append(Client(*words, **given))
        return clients[-1]
    yield begin
    for c in clients:
        c.process.kill()
        c.process.wait()


def test_messages_of_all_kinds_are_published_once_and_read(node, start):
    [found] = start("publish", [node()]).end()
    assert found["receipt"]["first"] == 0 and found["receipt"]["count"] == 3
    assert found["texts"] == ["text", "\x00\ufffd\x01", '{"a":[1,null]}', "once"] and found["bytes"] == [0, 255, 1]
    assert (found["json"], found["key"], found["headers"]) == ({"a": [1, None]}, "k", {"h": "v"})
    assert found["same"] is True and found["next"] == 4
    assert found["refused"] == "forbidden" and found["unknown"] == "unknown_topic"
    assert found["expected"] == "precondition_failed" and found["seq"] == "sequence_gap"


def test_publishing_and_following_survive_the_loss_of_the_leader(cluster, start):
    c = cluster(topics={"t": {"replication": "live", "copies": 2}})
    client = start("failover", c.nodes, count=400)
    wait_until(lambda: any(line.get("published", 0) >= 100 for line in client.lines()), what="some are published")
    c.leader().kill()
    found = client.end()[-1]
    assert found["seen"] == [str(i) for i in range(400)]
    leader = c.wait_leader()
    assert found["leader"] == found["first"] == "http://127.0.0.1:%d" % leader.port


def test_a_follower_is_told_what_was_truncated_and_goes_on(cluster, start):
    c = cluster(topics={"t": {"replication": "wal"}}, sync_interval=30)
    leader = c.leader()
    others = c.followers()
    leader.publish("t", b"kept")
    wait_until(lambda: all(n.get("/v1/topics/t").json.get("next") == 1 for n in others), timeout=60, what="it is shipped")
    client = start("truncated", [leader, *others], **{"from": "earliest", "last": "instead"})
    wait_until(lambda: {"offset": 0, "text": "kept"} in client.lines(), what="it is followed")
    leader.publish("t", b"lost 1")
    leader.publish("t", b"lost 2")
    wait_until(lambda: {"offset": 2, "text": "lost 2"} in client.lines(), what="they are followed")
    leader.kill()
    c.wait_leader(besides=[leader])
    wait_until(lambda: others[0].post("/v1/topics/t/messages", b"instead").status == 200, what="the next leader takes it")
    said = client.end()
    assert said[:3] == [{"offset": 0, "text": "kept"}, {"offset": 1, "text": "lost 1"}, {"offset": 2, "text": "lost 2"}]
    assert said[3:] == [{"truncated": 1}, {"offset": 1, "text": "instead"}]


def test_a_follower_is_told_what_was_removed(node, start):
    b = node(set=["store.segment.messages=2"])
    for text in (b"0", b"1", b"2", b"3", b"last"):
        b.publish("t", text)
    assert b.lua('return topic("t"):trim(2)')
    client = start("truncated", [b], **{"from": 0, "last": "last"})
    assert client.end()[0] == {"gap": [0, 2]} and client.lines()[1] == {"offset": 2, "text": "2"}


def test_groups_are_worked_off(node, start):
    [found] = start("groups", [node()]).end()
    assert found["done"] == ["a", "b", "c", "d"] and found["failed"] == ["b"] and found["lag"] == 0
    assert [s["result"] for s in found["settled"]] == ["ok"] and found["unknown"] == "unknown_group"


def test_nodes_that_cannot_be_reached_are_said_in_time(start):
    said = start("unreachable", ["http://127.0.0.1:1", "http://127.0.0.1:2"], timeout=1000).end()
    assert said[0]["code"] == "unreachable" and said[0]["ms"] < 3000
    assert said[1] == {"aborted": "enough"}


def test_a_node_that_never_answers_is_left(node, start):
    b = node()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        [said] = start("silent", ["http://127.0.0.1:%d" % deaf.getsockname()[1], b]).end()
    assert said["count"] == 1 and 10000 < said["ms"] < 20000, said


def test_a_token_is_shown(node, start):
    b = node()
    secret = add(b, "root")
    assert_status(b.get("/v1/topics"), 401)
    [found] = start("publish", [b], token=secret).end()
    assert found["next"] == 4
