"""Power loss, failed writes and failed syncs, with the fault points of test builds."""

import contextlib
import fcntl
import os
import random
import re
import select
import shutil

import pytest

from client import assert_refused, request_bytes
from common import BIG, BINARY, crc32c, running, wait_until
from powerloss import PAGE, Disk
from publishers import Publisher, check_promises

# So many that some rounds go by the commit log, and some by the topics' own files.
TOPICS = ["orders", "events", "metrics"] + ["t%d" % i for i in range(5)]


def entries(path):
    """Entries of the log of a broker with fault points: (position after the entry, fields, bytes written)."""
    with open(path, "rb") as f:
        while True:
            line = f.readline()
            if not line.endswith(b"\n"):
                return
            fields = line[:-1].decode("utf-8", "surrogateescape").split("\t")
            data = b""
            if fields[0] == "write":
                data = f.read(int(fields[3]))
                if f.read(1) != b"\n":
                    return
            yield f.tell(), fields, data


@contextlib.contextmanager
def locked(log):
    """In the body the broker changes nothing on the disk, and the log has everything that it has changed."""
    with open(log) as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def waits_for_lock(pid):
    with open("/proc/locks") as f:
        return re.search(r"-> FLOCK .* %d " % pid, f.read())


def on_disk(data):
    """The contents of a data directory in the form that Disk.crashed() returns, without `lock`, which is empty."""
    found = {}
    for folder, _, names in os.walk(os.path.realpath(data)):
        found[folder] = "dir"
        for path in [os.path.join(folder, name) for name in names if name != "lock"]:
            with open(path, "rb") as f:
                found[path] = f.read()
    return found


def in_log(data, log):
    """The same contents by the log."""
    disk = Disk(os.path.realpath(data))
    for _, fields, written in entries(log):
        replay(disk, fields, written)
    return disk.crashed(random.Random(), 1)


def differences(a, b):
    return ["%s: %s" % (path, "only in one" if path not in a or path not in b else "not the same bytes")
            for path in sorted(set(a) | set(b)) if a.get(path) != b.get(path)]


def replay(disk, fields, data):
    op, words = fields[0], fields[1:]
    if op == "write":
        disk.write(words[0], int(words[1]), data)
    elif op in ("allocate", "truncate"):
        getattr(disk, op)(words[0], int(words[1]))
    elif op == "sync":
        disk.sync_begins(words[0], words[1], words[2])
    elif op == "synced":
        disk.sync_ends(words[0])
    else:
        getattr(disk, op)(*words)


class Watched(Publisher):
    """Records with each acknowledgement the length of the log: everything it depends on is in that part."""

    def __init__(self, log, *rest):
        super().__init__(*rest)
        self.log, self.at = log, []
        self.acknowledged = self

    def append(self, promise):          # stands in for the list of acknowledgements of Publisher
        self.at.append((os.stat(self.log).st_size, promise))

    def __len__(self):
        return len(self.at)

    def until(self, position):
        """This publisher as it was at that length of the log."""
        then = Publisher(self.b, self.name, self.topic, None)
        then.asked = self.asked
        then.acknowledged = [promise for at, promise in self.at if at <= position]
        return then


# ---- the model of a disk itself

@pytest.fixture
def d():
    return Disk("/d")


def after(d, luck=0):
    return d.crashed(random.Random(1), luck)


def test_what_was_not_synced_is_not_there_without_luck(d):
    d.create("/d/f")
    d.write("/d/f", 0, b"abc")
    assert after(d) == {"/d": "dir"}
    assert after(d, 1) == {"/d": "dir", "/d/f": b"abc"}
    d.sync_begins(1, "file", "/d/f")
    d.sync_ends(1)
    assert after(d) == {"/d": "dir"}, "its name is not synced"
    d.sync_begins(2, "dir", "/d")
    d.sync_ends(2)
    assert after(d) == {"/d": "dir", "/d/f": b"abc"}


def test_a_sync_covers_what_was_written_before_it_began(d):
    d.create("/d/f")
    d.sync_begins(0, "dir", "/d")
    d.sync_ends(0)
    d.write("/d/f", 0, b"abc")
    d.sync_begins(1, "file", "/d/f")
    d.write("/d/f", 3, b"def")
    d.sync_ends(1)
    assert after(d)["/d/f"] == b"abc"
    d.sync_begins(2, "all", "/d")
    assert after(d)["/d/f"] == b"abc", "a sync that has not ended promises nothing"
    d.sync_ends(2)
    assert after(d)["/d/f"] == b"abcdef"


def test_renames_and_removals_are_lost_in_their_order(d):
    d.create("/d/new")
    d.create("/d/f")
    d.sync_begins(0, "all", "/d")
    d.sync_ends(0)
    d.write("/d/new", 0, b"new")
    d.sync_begins(1, "file", "/d/new")
    d.sync_ends(1)
    d.rename("/d/new", "/d/f")
    assert after(d) == {"/d": "dir", "/d/new": b"new", "/d/f": b""}
    assert after(d, 1) == {"/d": "dir", "/d/f": b"new"}


def test_a_cut_takes_with_it_what_was_written_before(d):
    d.create("/d/f")
    d.write("/d/f", 0, b"abcdef")
    d.truncate("/d/f", 3)
    d.allocate("/d/f", 5)
    d.write("/d/f", 3, b"x")
    assert after(d, 1) == {"/d": "dir", "/d/f": b"abcx\0"}


# ---- the log itself

def test_no_change_of_the_disk_escapes_the_log_when_the_broker_is_killed(node, folder, faults):
    log = os.path.join(folder, "log")
    b = node(binary=faults, env={"LIGNUM_FAULT": "log=" + log}, expect_exit=None)
    b.publish("t", b"before")
    with b.connect() as c, locked(log):
        before = on_disk(b.data)
        assert differences(before, in_log(b.data, log)) == []
        c.send(request_bytes("POST", "/v1/topics/t/messages", b"after"))
        wait_until(lambda: waits_for_lock(b.process.pid) or select.select([c.socket], [], [], 0)[0])
        assert differences(on_disk(b.data), before) == [], "changed behind the log's back"
        b.kill()
    assert differences(on_disk(b.data), in_log(b.data, log)) == []


# ---- power loss

@pytest.fixture
def record(make_node, folder, rng):
    """record(binary): publishes to a broker of that build through kills, a stop and restarts; returns the broker, its log and
    the publishers."""
    def run(binary):
        log = os.path.join(folder, "log")
        b = make_node(binary=binary, expect_exit=None, set=[
            "store.segment.messages=150", "store.segment.bytes=65536", "store.commit_log_age=0.05"],
                      env={"LIGNUM_FAULT": "log=" + log})
        publishers = []
        for round_, end in enumerate(["kill", "stop", "kill"]):
            b.start()
            ours = [Watched(log, b, "r%d.%s.%d" % (round_, topic, k), topic, random.Random(rng.random()))
                    for topic in TOPICS for k in range(2)]
            with running(*[p.run for p in ours]):
                wait_until(lambda: sum(len(p) for p in ours) > 500, what="500 acknowledgements")
                if end == "stop":
                    b.stop()
                else:
                    with locked(log):
                        b.kill()
            assert differences(on_disk(b.data), in_log(b.data, log)) == [], "the log does not tell all"
            publishers += ours
        return b, log, publishers
    return run


def states(rng, folder, b, log, publishers, count):
    """Power failures at `count` moments: yields (moment, luck, a data directory with a possible state of the disk)."""
    # Moments right after an acknowledgement are the likeliest to break it.
    acks = sorted(at for p in publishers for at, _ in p.at)
    size = os.path.getsize(log)
    moments = sorted(rng.sample(acks, count * 2 // 3) + [rng.randrange(size) for _ in range(count - count * 2 // 3)])
    disk, stream = Disk(os.path.realpath(b.data)), entries(log)
    waiting = next(stream)
    for i, moment in enumerate(moments):
        while waiting and waiting[0] <= moment:
            replay(disk, *waiting[1:])
            waiting = next(stream, None)
        luck = [0, 0.5, 0.9, 1][i % 4]
        to = os.path.join(folder, "crash%d" % i)
        disk.save(disk.crashed(rng, luck), to)
        yield moment, luck, to
        shutil.rmtree(to)


@pytest.fixture
def broken_promises(make_node, folder):
    """broken_promises(publishers, moment, data): what is wrong in that directory, as read by the sound build."""
    def check(publishers, moment, data):
        b = make_node(data=data, binary=BINARY, place=os.path.join(folder, "check")).start()
        found = []
        for topic in TOPICS:
            then = [p.until(moment) for p in publishers if p.topic == topic]
            if b.get("/v1/topics/" + topic).status == 404:
                found += ["the topic %s is gone" % topic] if any(p.acknowledged for p in then) else []
                continue
            try:
                found += check_promises(b.messages(topic), then)
            except AssertionError as e:        # the read was refused, for example because of damage
                found.append("%s cannot be read: %s; the broker said %s" % (topic, e, b.said()[-1500:]))
        b.kill()
        b.check_said()
        return found + re.findall(r"\S+ store: (?:damaged|missing|files overlap).*", b.said())
    return check


def test_power_loss_at_any_moment_loses_nothing_acknowledged(record, broken_promises, folder, faults, rng, figure):
    b, log, publishers = record(faults)
    count = 200 if BIG else 32
    for moment, luck, data in states(rng, folder, b, log, publishers, count):
        found = broken_promises(publishers, moment, data)
        assert found[:3] == [], "power lost at byte %d of the log, luck %g" % (moment, luck)
    figure("power lost at %d moments of %d operations, %d acknowledged batches, none lost", count,
           sum(1 for _ in entries(log)), sum(len(p) for p in publishers))


def test_the_state_is_whole_whenever_the_power_is_lost(node, folder, faults, rng):
    log = os.path.join(folder, "log")
    b = node(binary=faults, expect_exit=None)
    b.kill()
    data = os.path.realpath(b.data)
    state = os.path.join(data, "state")
    with open(state, "r+b") as f:       # longer than a disk writes atomically
        text = f.read()[:-len("crc=00000000\n")] + b"later=" + b"x" * 2 * PAGE + b"\n"
        f.seek(0)
        f.write(text + b"crc=%08x\n" % crc32c(text))
    b.env["LIGNUM_FAULT"] = "log=" + log
    disk, known = Disk(data, on_disk(data)), 0
    whole = {on_disk(data)[state]}
    for start in range(3):
        b.start()
        with locked(log):
            b.kill()
        told = list(entries(log))[known:]
        known += len(told)
        whole |= {written for _, fields, written in told if fields[0] == "write" and fields[1].startswith(state)}
        # As if killed right after the rename of the state, so that the next process must make the name durable.
        last = max(i for i, (_, fields, _) in enumerate(told) if fields[0] == "exchange")
        for _, fields, written in told[:last + 1]:
            replay(disk, fields, written)
            for luck in (0, 0.5, 0.5, 0.5, 1):
                assert disk.crashed(rng, luck).get(state) in whole, "power lost after %r" % fields


def test_a_build_that_acknowledges_before_the_sync_is_caught(record, broken_promises, folder, mutant, rng):
    b, log, publishers = record(mutant)
    assert any(broken_promises(publishers, moment, data) for moment, _, data in states(rng, folder, b, log, publishers, 32))


# ---- failing writes and syncs

@pytest.fixture
def faulty(node, folder, faults):
    """faulty(rule): a broker whose rule applies while the file SWITCH exists, and the path of that file."""
    def start(rule, **kw):
        switch = os.path.join(folder, "switch")
        b = node(binary=faults, env={"LIGNUM_FAULT": rule.replace("SWITCH", switch)}, expect_exit=None, **kw)
        return b, switch
    return start


@pytest.mark.parametrize("rule", ["pwrite:EIO", "pwrite:SHORT", "pwrite:ENOSPC", "sync:EIO"])
def test_a_failed_write_or_sync_ends_the_process_and_acknowledges_nothing(faulty, rule):
    b, switch = faulty(rule + ":when-exists=SWITCH", set=["store.segment.messages=50"])
    publishers = [Publisher(b, "p%d" % k, "t", random.Random(k)) for k in range(4)]
    with running(*[p.run for p in publishers]):
        wait_until(lambda: sum(len(p.acknowledged) for p in publishers) > 100, what="messages are acknowledged")
        open(switch, "w").close()
        # From here on only requests that were in flight may be acknowledged.
        assert b.wait_exit() == 74, b.said()
    assert re.search(r"error \S+: .*(failed|cannot|error)", b.said())
    assert "stopped" not in b.said()
    os.unlink(switch)
    b.binary, b.env = BINARY, {}
    b.start()
    assert check_promises(b.messages("t"), publishers) == []
    b.publish("t", b"on")
    b.stop()
    assert b.verify().code == 0


def test_nothing_is_acknowledged_after_a_sync_has_failed(faulty):
    b, switch = faulty("sync:EIO:when-exists=SWITCH")
    b.publish("t", b"before")
    open(switch, "w").close()
    with contextlib.suppress(OSError):
        a = b.post("/v1/topics/t/messages", b"after")
        assert a.status != 200, a
    assert b.wait_exit() == 74


def test_space_that_cannot_be_taken_is_507_and_heals_by_itself(faulty):
    b, switch = faulty("allocate:ENOSPC:when-exists=SWITCH", set=["store.segment.messages=20"])
    stored = []

    def publish(payload):
        a = b.post("/v1/topics/t/messages", payload)
        if a.status == 200:
            assert a.json["first"] == len(stored)
            stored.append(payload)
        else:
            assert_refused(a, 507, "no_space")
        return a.status
    for i in range(5):
        assert publish(b"%d" % i) == 200
    for _ in range(3):
        open(switch, "w").close()
        wait_until(lambda: publish(b"x" * 3000) == 507)
        assert b.post("/v1/topics/new/messages", b"x").status == 507
        for _ in range(20):
            assert publish(b"x" * 3000) == 507
        assert b.messages("t") == stored
        os.unlink(switch)
        wait_until(lambda: publish(b"healed") == 200)
    assert b.messages("t") == stored
    b.stop()
    b.binary, b.env = BINARY, {}
    b.start()
    assert b.messages("t") == stored
    b.stop()
    assert b.verify().code == 0
