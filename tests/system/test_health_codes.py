"""Each problem that GET /v1/health and `lignum doctor` know (doc/http.md, "What health reports") is made to happen, seen in both, and
is over when it is cured. test_health.py has those of hooks, timers, full disks and Consul; tests/lua/test_health.lua those that take
minutes."""

import json
import os
import re
import resource

import pytest

import common
from certs import Authority
from cluster import Node
from client import assert_status
from common import Background, crc32c, wait_until
from workers import Group


def problem(b, code, subject=None):
    return next((p for p in b.ok("GET", "/v1/health").json["problems"] if p["code"] == code and subject in (None, p.get("subject"))), None)


def by_doctor(b, code):
    """What the command says of it; None when it says nothing."""
    ran = b.lignum("doctor", "-o", "json", "--url", "http://%s:%d" % (b.host, b.port))
    assert ran.err == "", ran
    found = json.loads(ran.out)["problems"]
    assert ran.code == (1 if found else 0), ran
    return next((p for p in found if p["code"] == code and p["node"] == b.ok("GET", "/v1/health").json["node"]), None)


def seen(b, code, severity="warning", subject=None):
    """Waits until it is reported, and returns the report."""
    p = wait_until(lambda: problem(b, code, subject) and by_doctor(b, code), what="%s is reported" % code)
    assert p["severity"] == severity and p["cure"] and p["since"] <= b.ok("GET", "/v1/health").json["time"], p
    return p


def over(b, *codes):
    for code in codes:
        wait_until(lambda code=code: not problem(b, code), what="%s is over" % code)
        assert not by_doctor(b, code)


# ---- one node

KEEPS = """
local kept = {}
route.post("/keep", function() kept[#kept + 1] = ("x"):rep(1 << 20) .. #kept return 204 end)
route.post("/drop", function() kept = { ("x"):rep(1 << 20) } return 204 end)
"""


@pytest.fixture(scope="module")
def b(share_node):
    return share_node(config=KEEPS, set=["limits.script_memory=%d" % (64 << 20), "limits.topics=16"])


def test_scripts_that_keep_too_much(b):
    assert not problem(b, "script_memory")

    def kept_too_much():
        assert_status(b.post("/keep", b""), 204)
        return problem(b, "script_memory")
    wait_until(kept_too_much, what="too much is kept")
    assert re.search(r"scripts use [56]\d\.?\d* MiB of 64 MiB", seen(b, "script_memory")["what"])

    def collected():
        assert_status(b.post("/drop", b""), 204)         # what is new makes Lua look for what is old
        return not problem(b, "script_memory")
    wait_until(collected, what="the memory is free again")
    over(b, "script_memory")


def test_descriptors_that_are_used_up(b):
    """A node takes fewer connections and files than it may, so its limit is lowered under it."""
    limit = resource.prlimit(b.process.pid, resource.RLIMIT_NOFILE)
    crowd = [b.connect() for _ in range(80)]
    wait_until(lambda: b.metrics()["lignum_http_connections"] > 80, what="all are accepted")
    low = b.ok("GET", "/v1/stats").json["process"]["fds"] + 5
    resource.prlimit(b.process.pid, resource.RLIMIT_NOFILE, (low, limit[1]))
    try:
        assert re.match(r"\d+ of %d file descriptors are open" % low, seen(b, "descriptors", "critical")["what"])
    finally:
        resource.prlimit(b.process.pid, resource.RLIMIT_NOFILE, limit)
        for c in crowd:
            c.close()
    over(b, "descriptors")


def test_a_group_that_is_blocked(b):
    b.ok("PUT", "/v1/topics/blocked", status=201)
    g = Group("blocked", "w")
    g.put(b, order="key")
    for n in (50000, 50000, 2):
        b.ok("POST", "/v1/topics/blocked/messages", json.dumps([{"key": "k", "data": "x"}] * n), {"Content-Type": "application/json"})
    b.publish("blocked", b"free")
    held = g.claim(b, limit=2, consumer="night")
    assert g.claim(b) == []
    p = seen(b, "group_blocked", "critical", "blocked/w")
    assert "wait for offset 0, which is leased (consumer night)" in p["what"]
    assert g.settle(b, ack=[held[0]["lease"]]) == ["ok"]
    assert_status(g.call(b, "POST", "/seek", {"to": "latest"}), 200)
    over(b, "group_blocked")
    b.ok("DELETE", "/v1/topics/blocked", status=204)


def test_dead_letters_that_cannot_be_written(b):
    b.ok("PUT", "/v1/topics/jobs", status=201)
    g = Group("jobs", "w")
    g.put(b, dead_letter="letters")
    b.publish("jobs", b"x")
    fillers = ["filler-%d" % i for i in range(16)]
    while b.request("PUT", "/v1/topics/" + fillers[-1], b"{}").status == 201:
        fillers.append("filler-%d" % len(fillers))
    assert g.settle(b, reject=[g.claim(b)[0]["lease"]]) == ["ok"]
    p = seen(b, "letters_wait", subject="jobs/w")
    assert "1 dead messages of group jobs/w cannot be copied to letters" in p["what"]
    for name in fillers:
        b.request("DELETE", "/v1/topics/" + name)
    over(b, "letters_wait")
    assert b.messages("letters") == [b"x"]


def test_stored_messages_that_are_damaged(node):
    b = node(set=["store.segment.messages=10"])
    for i in range(15):
        b.publish("t", b"message %d" % i)
    b.stop()
    path = os.path.join(b.data, "topics/t/%020d.log" % 0)
    with open(path, "rb") as f:
        sound = f.read()
    with open(path, "r+b") as f:
        f.seek(sound.index(b"message 3"))
        f.write(b"M")
    b.start()
    assert_status(b.get("/v1/topics/t/messages?from=3&to=4"), 500, "damaged")
    assert seen(b, "damaged", "critical")["what"] == "1 ranges of stored messages are damaged"
    b.stop()
    with open(path, "wb") as f:
        f.write(sound)                             # from a backup
    b.start()
    assert len(b.messages("t")) == 15
    over(b, "damaged")


def test_a_disk_with_little_room(node, small_disk):
    disk = small_disk(64 << 20)
    b = node(data=os.path.join(disk, "data"), set=["store.segment.bytes=1048576"])
    assert not problem(b, "disk_low")
    other = os.path.join(disk, "of-another")
    with open(other, "wb") as f:
        free = os.fstatvfs(f.fileno())
        os.posix_fallocate(f.fileno(), 0, free.f_bavail * free.f_frsize - (2 << 20))
    assert re.search(r"MiB of 64 MiB are free", seen(b, "disk_low")["what"])
    wait_until(lambda: re.search(r"health: .* of 64 MiB are free", b.said()), what="the log says so")
    os.unlink(other)
    over(b, "disk_low")
    wait_until(lambda: "health: disk_low is over" in b.said(), what="the log says that it is over")


def test_a_certificate_that_expires(node, folder):
    ca = Authority(folder)
    pair = ca.issue("node", days=0)
    b = node(listen=None, config='listen { "127.0.0.1:0", { address = "127.0.0.2:0", tls = { %s } } }' % pair.lua)
    p = seen(b, "certificate_expires", "critical")
    assert p["subject"] == pair.cert and "has expired" in p["what"], p
    for days, severity, word in ((10, "warning", r"expires in (9|10) d"), (1, "critical", r"expires in 2[34] h")):
        ca.issue("node", days=days)
        b.reload()
        assert re.search(word, seen(b, "certificate_expires", severity)["what"])
    ca.issue("node", days=90)
    b.reload()
    over(b, "certificate_expires")


def test_a_log_that_nobody_reads(make_node):
    b = make_node(config='route.post("/say", function() say.info(("x"):rep(2000)) return 204 end)')
    end = b.spawn_unread()
    assert not problem(b, "log_lost")
    with b.connect() as c:
        for _ in range(100):
            assert_status(c.request("POST", "/say"), 204)
    assert re.search(r"standard error did not take \d+ lines of the log", seen(b, "log_lost")["what"])
    os.close(end)
    b.stop()
    b.stderr = None
    b.start()
    over(b, "log_lost")


# ---- a cluster

class WithSwitch(Node):
    """Each sync of its disk thread takes a second more as long as the file `switch` exists."""

    def __init__(self, *words, **kw):
        super().__init__(*words, **kw)
        self.switch = os.path.join(self.folder, "slow")
        self.env["LIGNUM_FAULT"] = "sync:SLOW:when-exists=" + self.switch


@pytest.fixture(scope="module")
def c(share_cluster):
    return share_cluster(node=WithSwitch, binary=common.FAULTS, lag_max=0.5,
                         topics={"wal": {"replication": "wal"}, "one": {"replication": "live"},
                                 "weak": {"replication": "wal", "durability": "interval"}})


def test_a_follower_that_lags_and_is_out_of_the_set(c):
    leader, follower = c.leader(), c.followers()[0]
    with open(follower.switch, "w"):
        pass
    with Background(lambda: [leader.publish(topic, b"x") for topic in ("wal", "one")]):
        p = seen(leader, "follower_lags", subject=follower.name)
        assert re.match(r"follower %s is \S+ \S+ behind: \d+ messages, " % follower.name, p["what"]), p
        assert "not in the synced set" in seen(leader, "follower_out", subject=follower.name)["what"]
    os.unlink(follower.switch)
    over(leader, "follower_lags", "follower_out")
    c.wait_whole()


def test_a_set_that_is_too_small_and_one_of_the_leader_alone(c):
    leader, (one, other) = c.leader(), c.followers()
    one.kill()
    wait_until(lambda: len(c.synced()) == 2, what="a set of two")
    c.create({"three": {"replication": "live", "copies": 3}, "two": {"replication": "live", "copies": 2}})
    p = seen(leader, "set_too_small", "critical")
    assert "has 2 of the 3 members that live topics need" in p["what"]
    assert_status(leader.post("/v1/topics/three/messages", b"x"), 503, "not_enough_copies")
    leader.ok("DELETE", "/v1/topics/three", status=204)
    over(leader, "set_too_small")
    leader.ok("DELETE", "/v1/topics/two", status=204)
    assert not problem(leader, "set_has_one_member")
    other.kill()
    assert "only the leader is in the synced set" in seen(leader, "set_has_one_member")["what"]
    one.start()
    over(leader, "set_has_one_member")
    other.start()
    c.wait_whole()


def test_a_node_that_may_have_forgotten(c):
    leader = c.wait_whole()
    leader.publish("weak", b"x")
    c.wait_equal()
    for node in c.nodes:
        node.kill()
    first, *others = c.nodes
    path = os.path.join(first.data, "state")
    with open(path, "rb") as f:
        text = re.sub(rb"(?m)^boot=.*$", b"boot=another-boot-of-this-machine", f.read())
    body = text[:text.rindex(b"crc=")]
    with open(path, "wb") as f:
        f.write(body + b"crc=%08x\n" % crc32c(body))
    first.start()
    assert "may have lost messages that it acknowledged" in seen(first, "amnesiac")["what"]
    for node in others:
        node.start()
    over(first, "amnesiac")
    c.wait_whole()
