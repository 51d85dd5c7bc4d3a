"""A real filesystem that is full."""

import contextlib
import os
import re
import resource
import shutil

import pytest

from client import assert_refused, assert_status
from common import wait_until


def fill(path):
    """Fills the filesystem; returns the name of the file that does."""
    name = os.path.join(path, "ballast")
    with open(name, "ab", buffering=0) as f:
        for piece in b"x" * 65536, b"x":
            with contextlib.suppress(OSError):
                while True:
                    f.write(piece)
    return name


def test_a_full_disk_refuses_keeps_reading_and_heals_by_itself(node, small_disk):
    disk = small_disk(16 << 20)
    b = node(data=os.path.join(disk, "data"), set=["store.segment.bytes=1MiB"])
    acknowledged = []
    for i in range(20):
        acknowledged.append(b"%d" % i)
        b.publish("t", acknowledged[-1])
    ballast = fill(disk)

    def refused():
        payload = b"%d" % len(acknowledged) + b"." * 50000
        a = b.post("/v1/topics/t/messages", payload)
        if a.status == 200:
            acknowledged.append(payload)
            return False
        assert_refused(a, 507, "no_space")
        assert a.json["retryable"] is True
        return True
    wait_until(refused, what="507")
    a = b.post("/api/message", '{"topic": "new-topic", "message": "x"}')
    assert_refused(a, 507)
    a = b.post("/v1/topics/t/messages", b"\n".join([b"y" * 1000] * 500), headers={"Content-Type": "application/x-ndjson"})
    assert_status(a, 507)
    # Reads work, and refused messages are not stored.
    assert b.messages("t") == acknowledged
    assert b.get("/metrics").status == 200
    for _ in range(50):
        assert b.post("/v1/topics/t/messages", b"z" * 100000).status == 507
    os.unlink(ballast)

    def healed():
        a = b.post("/v1/topics/t/messages", b"healed")
        if a.status == 200:
            acknowledged.append(b"healed")
        return a.status == 200
    wait_until(healed, 20, "publishing resumes by itself")
    assert b.messages("t") == acknowledged
    assert b.publish("new-topic", b"x")["first"] == 0
    b.restart()
    assert b.messages("t") == acknowledged
    b.stop()
    assert b.verify().code == 0


def test_a_broker_on_a_full_disk_stops_starts_and_loses_nothing(node, small_disk):
    disk = small_disk(16 << 20)
    b = node(data=os.path.join(disk, "data"), set=["store.segment.bytes=1MiB"])
    stored = [b"%d" % i for i in range(100)]
    for m in stored:
        b.publish("t", m)
    ballast = fill(disk)
    epochs = []
    for end in (b.stop, b.kill, b.stop):
        end()
        b.start()
        epochs.append(int(re.search(r" main: ready .*epoch=(\d+)", b.said()).group(1)))
        assert b.messages("t") == stored
        assert_status(b.post("/v1/topics/t/messages", b"x" * 100000), 507, "no_space")
    assert epochs == sorted(set(epochs)), "an epoch never outlives its process"
    b.stop()
    os.unlink(ballast)
    b.start()
    assert b.messages("t") == stored


def test_retention_frees_a_full_disk(node, small_disk):
    disk = small_disk(16 << 20)
    b = node(data=os.path.join(disk, "data"), set=["store.segment.bytes=1MiB"])
    b.ok("PUT", "/v1/topics/t", '{"retain": {"bytes": 4194304}}', status=201)
    refused = done = 0
    with b.connect() as c:
        for i in range(400):        # 40 MB in all, on a disk of 16 MB
            a = c.request("POST", "/v1/topics/t/messages", b"x" * 100000)
            done += a.status == 200
            if a.status != 200:
                assert_status(a, 507)
                refused += 1
                wait_until(lambda: c.request("POST", "/v1/topics/t/messages", b"x" * 100000).status == 200, 90,
                           "retention makes room")
    assert done > 300


def test_a_file_at_the_limit_of_its_size_is_as_a_full_disk(node):
    b = node()
    stored = [b"%d" % i for i in range(10)]
    for m in stored:
        b.publish("t", m)
    soft, hard = resource.prlimit(b.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(b.process.pid, resource.RLIMIT_FSIZE, (200 << 10, hard))

    def refused():
        a = b.post("/v1/topics/t/messages", b"x" * 50000)
        if a.status == 200:
            stored.append(b"x" * 50000)
            return False
        assert_refused(a, 507, "no_space")
        return True
    wait_until(refused, what="507")
    assert b.messages("t") == stored
    resource.prlimit(b.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
    b.publish("t", b"after")
    assert b.messages("t") == stored + [b"after"]


@pytest.mark.parametrize("what", ["data", "topic"])
def test_files_that_are_removed_under_a_node_are_said_and_nothing_more_is_acknowledged(make_node, what):
    b = make_node(expect_exit=None).start()
    b.publish("t", b"before")
    assert b.get("/readyz").status == 200
    if what == "topic":
        os.unlink(os.path.join(b.data, "small", "t"))
    else:
        shutil.rmtree(b.data)
        assert_status(b.get("/readyz"), 503, "unavailable")
    codes = [b.post("/v1/topics/t/messages", b"after").json["code"] for _ in range(3)]
    assert codes[0] in ("storage", "unknown_outcome") and codes[1:] == ["storage"] * 2
    assert_status(b.get("/readyz"), 503, "unavailable")
    assert b.metrics()["lignum_ready"] == 0
    assert len(re.findall("were removed while this node uses them", b.said())) == 1
    b.stop()
