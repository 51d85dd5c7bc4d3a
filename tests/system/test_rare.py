"""What hardly ever happens: directories that cannot be made, a lost state, no descriptors, timers that come early."""

import contextlib
import os
import subprocess
import time
import unittest

from lignum import FAULTS, Test, request_bytes, wait_until


class Rare(Test):
    def test_a_topic_that_was_asked_for_again_because_its_directory_could_not_be_made_keeps_its_messages(self):
        b = self.broker()
        b.publish("t", b"first")
        in_the_way = os.path.join(b.data, "topics", "late")
        open(in_the_way, "w").close()
        self.assertStatus(b.post("/v1/topics/late/messages", b"refused"), 500, "internal")
        os.unlink(in_the_way)
        b.publish("late", b"acknowledged")
        b.restart()
        self.assertEqual(b.messages("late"), [b"acknowledged"])
        self.assertEqual(os.listdir(os.path.join(b.data, "diverged")), [])

    def test_no_room_for_a_topics_directory_is_507_and_heals_by_itself(self):
        disk = os.path.join(self.folder, "small")
        os.mkdir(disk)
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=40", "tmpfs", disk]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            self.skipTest("a small filesystem cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=False)
        b = self.broker(data=os.path.join(disk, "data"))
        b.publish("t", b"first")
        ballast = []
        with contextlib.suppress(OSError):
            while True:
                open(os.path.join(disk, "%d" % len(ballast)), "w").close()
                ballast.append(os.path.join(disk, "%d" % len(ballast)))
        a = b.post("/v1/topics/late/messages", b"refused")
        self.assertStatus(a, 507, "no_space")
        self.assertIs(a.json["appended"], False)
        for name in ballast:
            os.unlink(name)
        b.publish("late", b"acknowledged")
        b.restart()
        self.assertEqual(b.messages("late"), [b"acknowledged"])

    def test_a_lost_state_never_lets_the_epoch_fall(self):
        b = self.broker()
        for i in range(5):          # all in one file, whose header knows only the first epoch
            b.publish("t", b"%d" % i)
            b.kill()
            b.start()
        b.kill()
        os.unlink(os.path.join(b.data, "state"))
        b.start()
        self.assertEqual(b.publish("t", b"5")["first"], 5)
        self.assertEqual(b.messages("t"), [b"%d" % i for i in range(6)])

    def test_an_interval_is_kept_though_nothing_else_wakes_the_loop(self):
        self.need(FAULTS, "the build with fault points")
        log = os.path.join(self.folder, "log")
        b = self.broker(config='topic "t" { durability = "interval" }', set=["store.sync_interval=0.02"],
                        binary=FAULTS, env={"LIGNUM_FAULT": "log=" + log})
        with b.connect() as c:
            for i in range(150):
                at = os.path.getsize(log)
                c.request("POST", "/v1/topics/t/messages", b"%d" % i)

                def synced():
                    with open(log, "rb") as f:
                        f.seek(at)
                        return b"\nsynced" in f.read()
                wait_until(synced, 5, "message %d is synced" % i, every=0.001)

    def test_topics_made_all_the_time_do_not_put_retention_off(self):
        b = self.broker(config='topic "t" { retain = { messages = 10 }, segment = { messages = 10 } }')
        for i in range(50):
            b.publish("t", b"%d" % i)

        def trimmed():
            b.publish("new-%d" % time.monotonic_ns(), b"x")
            return b.topic("t")["first"] > 0
        wait_until(trimmed, 25, "retention has come", every=0.5)

    def test_readers_that_take_all_descriptors_do_not_end_the_process(self):
        b = self.broker(descriptors=256)
        for _ in range(8):
            b.publish("big", b"x" * (1 << 20))
        ask = request_bytes("GET", "/v1/topics/big/messages?bytes=8388608", None,
                            {"Accept": "application/vnd.lignum.records"})
        readers = [b.connect()]
        self.addCleanup(lambda: [c.close() for c in readers])
        for _ in range(124):        # each holds a connection and, unread, a file
            readers.append(b.connect(receive_buffer=4096))
            readers[-1].send(ask)
        wait_until(lambda: b.descriptors_open() >= 254, what="the descriptors are taken")
        for i in range(4):          # a new topic's directory has to be synced
            a = readers[0].request("POST", "/v1/topics/new-%d/messages" % i, b"x")
            self.assertStatus(a, 200)


if __name__ == "__main__":
    unittest.main()
