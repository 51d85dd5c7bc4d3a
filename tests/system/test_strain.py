"""Clients who crowd a cluster do not move its leadership, nor keep it from moving."""

import contextlib
import threading
import time
import unittest

import lignum
from cluster import ClusterTest
from lignum import request_bytes, wait_until


class Polling:
    """Clients that long-poll for what does not come, on connections of their own, and again when they are refused."""

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
            t.join(lignum.PATIENCE)


class Strain(ClusterTest):
    def crowd(self, setting):
        c = self.cluster(2, topics={"t": {}}, set=[setting])
        leader = c.leader()
        follower, before = c.followers()[0], leader.view()["epoch"]
        with Polling(leader, 60, "/v1/topics/t/messages?from=latest&wait=60") as crowd:
            wait_until(lambda: crowd.refused > 100, what="more want to wait than may")
            published, end = 0, time.monotonic() + 5          # Consul looks each second
            while time.monotonic() < end:
                with contextlib.suppress(OSError):
                    published += leader.post("/v1/topics/u/messages", b"x").status == 200
            view = follower.view()
        print("figure: %s: %d polls refused, %d published" % (setting, crowd.refused, published))
        self.assertEqual((view["epoch"], view["leader"]["name"]), (before, leader.name))
        self.assertGreater(published, 10)
        self.assertEqual(leader.topics()["u"]["next"], published)

    def test_long_polls_beyond_the_tasks_neither_move_the_leadership_nor_stop_publishing(self):
        self.crowd("limits.tasks=24")

    def test_long_polls_beyond_the_connections_neither_move_the_leadership_nor_stop_publishing(self):
        self.crowd("limits.connections=24")


if __name__ == "__main__":
    unittest.main()
