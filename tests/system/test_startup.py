"""The start time of a node with much data. After a clean stop it reads no messages, after a crash those above the checkpoints."""

import pytest

from common import BIG, SANITIZED, in_threads

TOPICS = 1000 if BIG else 100
BATCH = [b"x" * 1024] * 1000                       # 1 MB
BATCHES = 10                                       # 10 MB a topic


def make_dirty(b):
    """Publishes to every tenth topic, so that a start after kill -9 has messages to recover."""
    for i in range(0, TOPICS, 10):
        assert b.publish_lines("t%d" % i, BATCH)["count"] == 1000


@pytest.mark.alone
@pytest.mark.skipif(SANITIZED, reason="measures time")
def test_a_node_with_much_data_is_ready_in_time(node, figure):
    b = node()

    def publisher(k):
        with b.connect() as c:
            body = b"\n".join(BATCH)
            for i in range(k, TOPICS, 4):
                for _ in range(BATCHES):
                    a = c.request("POST", "/v1/topics/t%d/messages" % i, body, {"Content-Type": "application/x-ndjson"})
                    assert a.status == 200, a
    in_threads(*[lambda k=k: publisher(k) for k in range(4)])
    b.stop(timeout=120)
    clean = b.seconds_to_ready(timeout=120)
    make_dirty(b)
    b.kill()
    crash = b.seconds_to_ready(timeout=120)
    make_dirty(b)
    figure("%d topics, %.1f GB: ready %.2f s after a stop, %.2f s after kill -9", TOPICS, TOPICS * BATCHES / 1000, clean, crash)
    assert clean < (1.0 if BIG else 0.3)
    assert crash < (3.0 if BIG else 0.6)
    b.stop(timeout=120)
