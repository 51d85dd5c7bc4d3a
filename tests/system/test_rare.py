"""Rare conditions: directories that cannot be created, a lost state file, no descriptors, early timers."""

import contextlib
import os
import time

from client import assert_refused, assert_status, request_bytes
from common import wait_until


def test_a_topic_that_was_asked_for_again_because_its_directory_could_not_be_made_keeps_its_messages(node):
    b = node()
    b.publish("t", b"first")
    in_the_way = os.path.join(b.data, "topics", "late")
    open(in_the_way, "w").close()
    assert_status(b.post("/v1/topics/late/messages", b"refused"), 503, "storage")
    os.unlink(in_the_way)
    b.publish("late", b"acknowledged")
    b.restart()
    assert b.messages("late") == [b"acknowledged"]
    assert os.listdir(os.path.join(b.data, "diverged")) == []


def test_no_room_for_a_topics_directory_is_507_and_heals_by_itself(node, small_disk):
    disk = small_disk(4 << 20, ",nr_inodes=40")
    b = node(data=os.path.join(disk, "data"))
    b.publish("t", b"first")
    ballast = []
    with contextlib.suppress(OSError):
        while True:
            open(os.path.join(disk, "%d" % len(ballast)), "w").close()
            ballast.append(os.path.join(disk, "%d" % len(ballast)))
    a = b.post("/v1/topics/late/messages", b"refused")
    assert_refused(a, 507, "no_space")
    for name in ballast:
        os.unlink(name)
    b.publish("late", b"acknowledged")
    b.restart()
    assert b.messages("late") == [b"acknowledged"]


def test_a_lost_state_never_lets_the_epoch_fall(node):
    b = node()
    for i in range(5):          # all in one file, whose header has only the first epoch
        b.publish("t", b"%d" % i)
        b.kill()
        b.start()
    b.kill()
    os.unlink(os.path.join(b.data, "state"))
    b.start()
    assert b.publish("t", b"5")["first"] == 5
    assert b.messages("t") == [b"%d" % i for i in range(6)]


def test_an_interval_is_kept_though_nothing_else_wakes_the_loop(node, folder, faults):
    log = os.path.join(folder, "log")
    b = node(config='topic "t" { durability = "interval" }', set=["store.sync_interval=0.02"],
             binary=faults, env={"LIGNUM_FAULT": "log=" + log})
    with b.connect() as c:
        for i in range(150):
            at = os.path.getsize(log)
            c.request("POST", "/v1/topics/t/messages", b"%d" % i)

            def synced():
                with open(log, "rb") as f:
                    f.seek(at)
                    return b"\nsynced" in f.read()
            wait_until(synced, what="message %d is synced" % i, every=0.001)


def test_topics_made_all_the_time_do_not_put_retention_off(node):
    b = node(config='topic "t" { retain = { messages = 10 }, segment = { messages = 10 } }')
    for i in range(50):
        b.publish("t", b"%d" % i)

    def trimmed():
        b.publish("new-%d" % time.monotonic_ns(), b"x")
        return b.topic("t")["first"] > 0
    wait_until(trimmed, 25, "retention has come", every=0.5)


def test_readers_that_take_all_descriptors_do_not_end_the_process(node, defer):
    b = node(descriptors=256)
    for _ in range(8):
        b.publish("big", b"x" * (1 << 20))
    ask = request_bytes("GET", "/v1/topics/big/messages?bytes=8388608", None,
                        {"Accept": "application/vnd.lignum.records"})
    readers = [b.connect()]
    defer(lambda: [c.close() for c in readers])
    for _ in range(124):        # each holds a connection and, until it reads, a file
        readers.append(b.connect(receive_buffer=4096))
        readers[-1].send(ask)
    wait_until(lambda: "answers from files take too many descriptors" in b.said(), what="the bound is reached")
    for i in range(4):          # a new topic needs a sync of its directory
        a = readers[0].request("POST", "/v1/topics/new-%d/messages" % i, b"x")
        assert_status(a, 200)
