"""Power loss, failed writes and failed syncs, by the fault points of builds made for tests."""

import contextlib
import fcntl
import os
import random
import re
import select
import shutil
import threading
import unittest

from lignum import BIG, BINARY, FAULTS, MUTANT, SANITIZED, Background, Test, crc32c, in_threads, request_bytes, wait_until
from powerloss import PAGE, Disk
from test_crash import Publisher, check_promises

TOPICS = ["orders", "events", "metrics"]


def entries(path):
    """The log of a broker with fault points, entry by entry: (position after it, fields, bytes written)."""
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
    """Meanwhile the broker changes nothing on the disk, and all that it has changed is in the log."""
    with open(log) as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def waits_for_lock(pid):
    with open("/proc/locks") as f:
        return re.search(r"-> FLOCK .* %d " % pid, f.read())


def on_disk(data):
    """What lies below a data directory, in the form of Disk.crashed; without `lock`, which holds nothing."""
    found = {}
    for folder, _, names in os.walk(os.path.realpath(data)):
        found[folder] = "dir"
        for path in [os.path.join(folder, name) for name in names if name != "lock"]:
            with open(path, "rb") as f:
                found[path] = f.read()
    return found


def in_log(data, log):
    """The same as the log tells it."""
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
    """Remembers with each acknowledgement how long the log was when it came: all that it rests on stands before."""

    def __init__(self, log, *rest):
        super().__init__(*rest)
        self.log, self.at = log, []
        self.acknowledged = self

    def append(self, promise):          # as the list that Publisher adds its acknowledgements to
        self.at.append((os.stat(self.log).st_size, promise))

    def __len__(self):
        return len(self.at)

    def until(self, position):
        """The same publisher as it was when the log was so long."""
        then = Publisher(self.b, self.name, self.topic, None)
        then.asked = self.asked
        then.acknowledged = [promise for at, promise in self.at if at <= position]
        return then


class Model(unittest.TestCase):
    """The model of a disk itself."""

    def setUp(self):
        self.rng = random.Random(1)
        self.d = Disk("/d")

    def after(self, luck=0):
        return self.d.crashed(self.rng, luck)

    def test_what_was_not_synced_is_not_there_without_luck(self):
        self.d.create("/d/f")
        self.d.write("/d/f", 0, b"abc")
        self.assertEqual(self.after(), {"/d": "dir"})
        self.assertEqual(self.after(1), {"/d": "dir", "/d/f": b"abc"})
        self.d.sync_begins(1, "file", "/d/f")
        self.d.sync_ends(1)
        self.assertEqual(self.after(), {"/d": "dir"}, "its name is not synced")
        self.d.sync_begins(2, "dir", "/d")
        self.d.sync_ends(2)
        self.assertEqual(self.after(), {"/d": "dir", "/d/f": b"abc"})

    def test_a_sync_covers_what_was_written_before_it_began(self):
        self.d.create("/d/f")
        self.d.sync_begins(0, "dir", "/d")
        self.d.sync_ends(0)
        self.d.write("/d/f", 0, b"abc")
        self.d.sync_begins(1, "file", "/d/f")
        self.d.write("/d/f", 3, b"def")
        self.d.sync_ends(1)
        self.assertEqual(self.after()["/d/f"], b"abc")
        self.d.sync_begins(2, "all", "/d")
        self.assertEqual(self.after()["/d/f"], b"abc", "a sync that has not ended promises nothing")
        self.d.sync_ends(2)
        self.assertEqual(self.after()["/d/f"], b"abcdef")

    def test_renames_and_removals_are_lost_in_their_order(self):
        self.d.create("/d/new")
        self.d.create("/d/f")
        self.d.sync_begins(0, "all", "/d")
        self.d.sync_ends(0)
        self.d.write("/d/new", 0, b"new")
        self.d.sync_begins(1, "file", "/d/new")
        self.d.sync_ends(1)
        self.d.rename("/d/new", "/d/f")
        self.assertEqual(self.after(), {"/d": "dir", "/d/new": b"new", "/d/f": b""})
        self.assertEqual(self.after(1), {"/d": "dir", "/d/f": b"new"})

    def test_a_cut_takes_with_it_what_was_written_before(self):
        self.d.create("/d/f")
        self.d.write("/d/f", 0, b"abcdef")
        self.d.truncate("/d/f", 3)
        self.d.allocate("/d/f", 5)
        self.d.write("/d/f", 3, b"x")
        self.assertEqual(self.after(1), {"/d": "dir", "/d/f": b"abcx\0"})


class Log(Test):
    """The log itself."""

    def test_no_change_of_the_disk_escapes_the_log_when_the_broker_is_killed(self):
        self.need(FAULTS, "the build with fault points")
        log = os.path.join(self.folder, "log")
        b = self.broker(binary=FAULTS, env={"LIGNUM_FAULT": "log=" + log}, expect_exit=None)
        b.publish("t", b"before")
        with b.connect() as c, locked(log):
            before = on_disk(b.data)
            self.assertEqual(differences(before, in_log(b.data, log)), [])
            c.send(request_bytes("POST", "/v1/topics/t/messages", b"after"))
            wait_until(lambda: waits_for_lock(b.process.pid) or select.select([c.socket], [], [], 0)[0])
            self.assertEqual(differences(on_disk(b.data), before), [], "changed behind the log's back")
            b.kill()
        self.assertEqual(differences(on_disk(b.data), in_log(b.data, log)), [])


class Power(Test):
    def record(self, binary):
        """Has brokers of that build publish, killed, started, stopped and started again; the log and the publishers."""
        log = os.path.join(self.folder, "log")
        b = self.made(binary=binary, set=["store.segment.messages=150", "store.segment.bytes=65536"], expect_exit=None,
                      env={"LIGNUM_FAULT": "log=" + log})
        rng = random.Random(os.environ.get("LIGNUM_SEED", "power"))
        publishers = []
        for round_, end in enumerate(["kill", "stop", "kill"]):
            b.start()
            ours = [Watched(log, b, "r%d.%s.%d" % (round_, topic, k), topic, random.Random(rng.random()))
                    for topic in TOPICS for k in range(2)]
            threads = [threading.Thread(target=p.run) for p in ours]
            for t in threads:
                t.start()
            wait_until(lambda: sum(len(p) for p in ours) > 300, what="300 acknowledgements")
            if end == "stop":
                b.stop()
            else:
                with locked(log):
                    b.kill()
            for t in threads:
                t.join(30)
            self.assertEqual(differences(on_disk(b.data), in_log(b.data, log)), [], "the log does not tell all")
            publishers += ours
        return b, log, publishers

    def states(self, b, log, publishers, count):
        """Crashes at `count` moments: yields (moment, a data directory of what the disk may hold then)."""
        rng = random.Random(os.environ.get("LIGNUM_SEED", "moments"))
        # Moments right after an acknowledgement came are the likeliest to break it.
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
            to = os.path.join(self.folder, "crash%d" % i)
            disk.save(disk.crashed(rng, luck), to)
            yield moment, luck, to
            shutil.rmtree(to)

    def broken_promises(self, publishers, moment, data):
        """What a sound build finds wrong in that directory."""
        b = self.made(data=data, binary=BINARY, folder=os.path.join(self.folder, "check"))
        b.start()
        faults = []
        for topic in TOPICS:
            then = [p.until(moment) for p in publishers if p.topic == topic]
            if b.get("/v1/topics/" + topic).status == 404:
                faults += ["the topic %s is gone" % topic] if any(p.acknowledged for p in then) else []
                continue
            try:
                faults += check_promises(b.messages(topic), then)
            except AssertionError as e:        # refused, for instance as damaged
                faults.append("%s cannot be read: %s; the broker said %s" % (topic, e, b.said()[-1500:]))
        b.kill()
        b.check_said()
        return faults + re.findall(r"\S+ store: (?:damaged|missing|files overlap).*", b.said())

    def test_power_loss_at_any_moment_loses_nothing_acknowledged(self):
        self.need(FAULTS, "the build with fault points")
        b, log, publishers = self.record(FAULTS)
        count = 200 if BIG else 32
        for moment, luck, data in self.states(b, log, publishers, count):
            faults = self.broken_promises(publishers, moment, data)
            self.assertEqual(faults[:3], [], "power lost at byte %d of the log, luck %g" % (moment, luck))
        print("figure: power lost at %d moments of %d operations, %d acknowledged batches, none lost" % (
            count, sum(1 for _ in entries(log)), sum(len(p) for p in publishers)))

    def test_the_state_is_whole_whenever_the_power_is_lost(self):
        self.need(FAULTS, "the build with fault points")
        log = os.path.join(self.folder, "log")
        b = self.broker(binary=FAULTS, expect_exit=None)
        b.kill()
        data = os.path.realpath(b.data)
        state = os.path.join(data, "state")
        with open(state, "r+b") as f:       # longer than what a disk writes at once
            text = f.read()[:-len("crc=00000000\n")] + b"later=" + b"x" * 2 * PAGE + b"\n"
            f.seek(0)
            f.write(text + b"crc=%08x\n" % crc32c(text))
        b.env["LIGNUM_FAULT"] = "log=" + log
        disk, rng, known = Disk(data, on_disk(data)), random.Random(1), 0
        whole = {on_disk(data)[state]}
        for start in range(3):
            b.start()
            with locked(log):
                b.kill()
            told = list(entries(log))[known:]
            known += len(told)
            whole |= {written for _, fields, written in told if fields[0] == "write" and fields[1].startswith(state)}
            # As if killed right after the state got its name: that name is left to the next process to make durable.
            last = max(i for i, (_, fields, _) in enumerate(told) if fields[0] == "exchange")
            for _, fields, written in told[:last + 1]:
                replay(disk, fields, written)
                for luck in (0, 0.5, 0.5, 0.5, 1):
                    self.assertTrue(disk.crashed(rng, luck).get(state) in whole, "power lost after %r" % fields)

    def test_a_build_that_acknowledges_before_the_sync_is_caught(self):
        self.need(MUTANT, "the mutant that acknowledges before the sync")
        b, log, publishers = self.record(MUTANT)
        for moment, luck, data in self.states(b, log, publishers, 32):
            if self.broken_promises(publishers, moment, data):
                return
        self.fail("32 moments did not catch it")


class Failing(Test):
    """Writes and syncs that fail, as long as a file exists."""

    def faulty(self, rule, **kw):
        self.need(FAULTS, "the build with fault points")
        switch = os.path.join(self.folder, "switch")
        b = self.broker(binary=FAULTS, env={"LIGNUM_FAULT": rule.replace("SWITCH", switch)}, expect_exit=None, **kw)
        return b, switch

    def test_a_failed_write_or_sync_ends_the_process_and_acknowledges_nothing(self):
        for rule in ["pwrite:EIO:when-exists=SWITCH", "pwrite:SHORT:when-exists=SWITCH", "pwrite:ENOSPC:when-exists=SWITCH",
                     "sync:EIO:when-exists=SWITCH"]:
            with self.subTest(rule=rule):
                b, switch = self.faulty(rule, set=["store.segment.messages=50"])
                publishers = [Publisher(b, "p%d" % k, "t", random.Random(k)) for k in range(4)]
                threads = [threading.Thread(target=p.run) for p in publishers]
                for t in threads:
                    t.start()
                wait_until(lambda: sum(len(p.acknowledged) for p in publishers) > 100)
                open(switch, "w").close()
                # From here on nothing may be acknowledged but what was under way before.
                self.assertEqual(b.wait_exit(), 74, b.said())
                for t in threads:
                    t.join(30)
                self.assertRegex(b.said(), r"error \S+: .*(failed|cannot|error)")
                self.assertNotIn("stopped", b.said())
                os.unlink(switch)
                b.binary, b.env = BINARY, {}
                b.start()
                self.assertEqual(check_promises(b.messages("t"), publishers), [])
                b.publish("t", b"on")
                b.stop()
                self.assertEqual(b.verify().code, 0)

    def test_nothing_is_acknowledged_after_a_sync_has_failed(self):
        b, switch = self.faulty("sync:EIO:when-exists=SWITCH")
        b.publish("t", b"before")
        open(switch, "w").close()
        try:
            a = b.post("/v1/topics/t/messages", b"after")
            self.assertNotEqual(a.status, 200, a)
        except OSError:
            pass
        self.assertEqual(b.wait_exit(), 74)

    def test_space_that_cannot_be_taken_is_507_and_heals_by_itself(self):
        b, switch = self.faulty("allocate:ENOSPC:when-exists=SWITCH", set=["store.segment.messages=20"])
        stored = []

        def publish(payload):
            a = b.post("/v1/topics/t/messages", payload)
            if a.status == 200:
                self.assertEqual(a.json["first"], len(stored))
                stored.append(payload)
            else:
                self.assertStatus(a, 507, "no_space")
                self.assertIs(a.json["appended"], False)
            return a.status
        for i in range(5):
            self.assertEqual(publish(b"%d" % i), 200)
        for _ in range(3):
            open(switch, "w").close()
            wait_until(lambda: publish(b"x" * 3000) == 507)
            self.assertEqual(b.post("/v1/topics/new/messages", b"x").status, 507)
            for _ in range(20):
                self.assertEqual(publish(b"x" * 3000), 507)
            self.assertEqual(b.messages("t"), stored)
            os.unlink(switch)
            wait_until(lambda: publish(b"healed") == 200)
        self.assertEqual(b.messages("t"), stored)
        b.stop()
        b.binary, b.env = BINARY, {}
        b.start()
        self.assertEqual(b.messages("t"), stored)
        b.stop()
        self.assertEqual(b.verify().code, 0)


if __name__ == "__main__":
    unittest.main()
