"""Nodes with different IP addresses, as on separate hosts: a refused connection does not prove that a leader is gone."""

import contextlib
import json
import socket
import threading
import time

from cluster import KEY, Node
from common import free_port, wait_until


class Door:
    """A proxy to another port. shut() ends its connections and makes it refuse new ones; nothing passes while `flows` is clear."""

    def __init__(self, host, to):
        self.address, self.to, self.ends, self.listening = (host, free_port()), to, [], None
        self.flows = threading.Event()
        self.flows.set()

    def open(self):
        self.listening = socket.create_server(self.address)
        threading.Thread(target=self.run, args=(self.listening,), daemon=True).start()

    def run(self, listening):
        while True:
            try:
                here, _ = listening.accept()
                there = socket.create_connection(self.to)
            except OSError:
                return
            self.ends += [here, there]
            for a, b in ((here, there), (there, here)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    def copy(self, a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                self.flows.wait()
                b.sendall(data)
        with contextlib.suppress(OSError):
            b.shutdown(socket.SHUT_RDWR)
        a.close()

    def shut(self):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for s in self.ends:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        self.ends = []


class Apart(Node):
    """A node that listens for followers on its own loopback address."""

    def __init__(self, cluster, name, place=None, **kw):
        super().__init__(cluster, name, place, **kw)
        self.replication = "127.0.0.%d:%d" % (10 + len(cluster.nodes), int(self.replication.rpartition(":")[2]))


class BehindADoor(Apart):
    def __init__(self, cluster, name, place=None, **kw):
        door = Door("127.0.1.%d" % (10 + len(cluster.nodes)), None)
        super().__init__(cluster, name, place, set=["cluster.replication.advertise=%s:%d" % door.address], **kw)
        host, _, port = self.replication.rpartition(":")
        door.to, self.door = (host, int(port)), door
        door.open()


def test_a_leader_that_one_follower_is_refused_by_goes_on_leading(cluster):
    c = cluster(2, node=BehindADoor, topics={"t": {}})
    leader, epoch = c.leader(), c.leader().view()["epoch"]
    leader.door.shut()
    wait_until(lambda: c.synced() == {leader.name}, what="the follower is not reached any more")
    until = time.monotonic() + 3        # longer than it takes to lose an election
    while time.monotonic() < until:
        assert leader.ok("POST", "/v1/topics/t/messages", b"x").json["epoch"] == epoch
        assert c.statuses()[leader]["role"] == "leader"
    leader.door.open()
    c.wait_whole()
    assert c.leader().view()["epoch"] == epoch
    for node in c.nodes:
        assert "process is gone" not in node.said()
        node.door.shut()


def entry_of(cluster, node):
    return json.loads(cluster.consul.get("%s/nodes/%s" % (KEY, node.name))[0])


def test_a_leader_that_answers_consul_keeps_its_session_though_no_follower_hears_it(cluster):
    c = cluster(3, node=BehindADoor, topics={"t": {}})
    leader, epoch = c.leader(), c.leader().view()["epoch"]
    leader.door.flows.clear()
    followers = c.followers()
    wait_until(lambda: all("silent" in entry_of(c, n) for n in followers), what="both followers have told Consul")
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert leader.ok("POST", "/v1/topics/t/messages", b"x").json["epoch"] == epoch
    leader.door.flows.set()
    c.wait_whole()
    assert c.leader().view()["epoch"] == epoch
    wait_until(lambda: not any("silent" in entry_of(c, n) for n in followers), what="they hear it again")
    for node in c.nodes:
        assert "no node hears the leader" not in node.said()
        node.door.shut()


def test_two_followers_that_are_refused_need_not_wait_for_consul(cluster, figure):
    c = cluster(3, node=Apart, set=["cluster.consul.check_interval=20"])
    leader, began = c.leader(), time.monotonic()
    leader.kill()
    c.wait_leader(besides=[leader])
    took = time.monotonic() - began
    figure("kill -9 of a leader on another host: the next one leads after %.2f s", took)
    assert took < 10                     # Consul looks after the leader each 20 s
