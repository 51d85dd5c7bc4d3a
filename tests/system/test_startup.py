"""How soon a node with data is ready: after a clean stop without reading messages, after a crash by reading what
lies above the checkpoints."""

import time
import unittest

import pytest

from lignum import BIG, SANITIZED, Test, in_threads

TOPICS = 1000 if BIG else 100
BATCH = [b"x" * 1024] * 1000                       # 1 MB
BATCHES = 10                                       # 10 MB a topic


@pytest.mark.alone
class Startup(Test):
    @unittest.skipIf(SANITIZED, "measures time")
    def test_a_node_with_much_data_is_ready_in_time(self):
        b = self.broker()

        def publisher(k):
            with b.connect() as c:
                body = b"\n".join(BATCH)
                for i in range(k, TOPICS, 4):
                    for _ in range(BATCHES):
                        a = c.request("POST", "/v1/topics/t%d/messages" % i, body,
                                      {"Content-Type": "application/x-ndjson"})
                        self.assertEqual(a.status, 200, a)
        in_threads(*[lambda k=k: publisher(k) for k in range(4)])
        b.stop(timeout=120)
        clean = self.seconds_to_ready(b)
        self.check(b)
        b.kill()
        crash = self.seconds_to_ready(b)
        self.check(b)
        print("figure: %d topics, %.1f GB: ready %.2f s after a stop, %.2f s after kill -9" % (
            TOPICS, TOPICS * BATCHES / 1000, clean, crash))
        self.assertLess(clean, 1.0 if BIG else 0.3)
        self.assertLess(crash, 3.0 if BIG else 0.6)
        b.stop(timeout=120)

    def seconds_to_ready(self, b):
        began = time.monotonic()
        b.start(timeout=120)
        return time.monotonic() - began

    def check(self, b):
        """Makes every tenth topic dirty again, so that a kill -9 has something to find."""
        for i in range(0, TOPICS, 10):
            self.assertEqual(b.publish_lines("t%d" % i, BATCH)["count"], 1000)
