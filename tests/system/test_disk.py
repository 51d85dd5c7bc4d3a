"""Full and failing disks."""

import os
import re
import subprocess
import threading
import unittest

from lignum import FAULTS, Background, Test, in_threads, request_bytes, wait_until


class Full(Test):
    """A real filesystem that is really full."""

    def small(self, size):
        """A mounted tmpfs of that size."""
        path = os.path.join(self.folder, "small")
        os.mkdir(path)
        if os.geteuid() != 0:
            self.skipTest("only root may mount a small filesystem")
        p = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % size, "tmpfs", path], capture_output=True, text=True)
        if p.returncode != 0:
            self.skipTest("a small filesystem cannot be mounted here: %s" % p.stderr.strip())
        self.addCleanup(subprocess.run, ["umount", "-l", path], check=False)
        return path

    def fill(self, path):
        """Takes all that is left; the file's name."""
        name = os.path.join(path, "ballast")
        with open(name, "ab", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 65536)
            except OSError:
                pass
            try:
                while True:
                    f.write(b"x")
            except OSError:
                pass
        return name

    def test_a_full_disk_refuses_keeps_reading_and_heals_by_itself(self):
        disk = self.small(16 << 20)
        b = self.broker(data=os.path.join(disk, "data"), set=["store.segment.bytes=1MiB"])
        acknowledged = []
        for i in range(20):
            acknowledged.append(b"%d" % i)
            b.publish("t", acknowledged[-1])
        ballast = self.fill(disk)

        def refused():
            payload = b"%d" % len(acknowledged) + b"." * 50000
            a = b.post("/v1/topics/t/messages", payload)
            if a.status == 200:
                acknowledged.append(payload)
                return False
            self.assertStatus(a, 507, "no_space")
            self.assertIs(a.json["appended"], False)
            self.assertIs(a.json["retryable"], True)
            return True
        wait_until(refused, what="507")
        a = b.post("/api/message", '{"topic": "new-topic", "message": "x"}')
        self.assertStatus(a, 507)
        self.assertIs(a.json["appended"], False)
        a = b.post("/v1/topics/t/messages", b"\n".join([b"y" * 1000] * 500), headers={"Content-Type": "application/x-ndjson"})
        self.assertStatus(a, 507)
        # Reads go on, and what was refused is not there.
        self.assertEqual(b.messages("t"), acknowledged)
        self.assertEqual(b.get("/metrics").status, 200)
        for _ in range(50):
            self.assertEqual(b.post("/v1/topics/t/messages", b"z" * 100000).status, 507)
        os.unlink(ballast)

        def healed():
            a = b.post("/v1/topics/t/messages", b"healed")
            if a.status == 200:
                acknowledged.append(b"healed")
            return a.status == 200
        wait_until(healed, 20, "publishing resumes by itself")
        self.assertEqual(b.messages("t"), acknowledged)
        self.assertEqual(b.publish("new-topic", b"x")["first"], 0)
        b.restart()
        self.assertEqual(b.messages("t"), acknowledged)
        b.stop()
        self.assertEqual(b.verify().code, 0)

    def test_a_broker_on_a_full_disk_stops_starts_and_loses_nothing(self):
        disk = self.small(16 << 20)
        b = self.broker(data=os.path.join(disk, "data"), set=["store.segment.bytes=1MiB"])
        stored = [b"%d" % i for i in range(100)]
        for m in stored:
            b.publish("t", m)
        ballast = self.fill(disk)
        epochs = []
        for end in (b.stop, b.kill, b.stop):
            end()
            b.start()
            epochs.append(int(re.search(r" main: ready .*epoch=(\d+)", b.said()).group(1)))
            self.assertEqual(b.messages("t"), stored)
            self.assertStatus(b.post("/v1/topics/t/messages", b"x" * 100000), 507, "no_space")
        self.assertEqual(epochs, sorted(set(epochs)), "an epoch never outlives its process")
        b.stop()
        os.unlink(ballast)
        b.start()
        self.assertEqual(b.messages("t"), stored)

    def test_retention_frees_a_full_disk(self):
        disk = self.small(16 << 20)
        b = self.broker(data=os.path.join(disk, "data"), set=["store.segment.bytes=1MiB"])
        b.ok("PUT", "/v1/topics/t", '{"retain": {"bytes": 4194304}}', status=201)
        refused = done = 0
        with b.connect() as c:
            for i in range(400):        # 40 MB through a disk of 16
                a = c.request("POST", "/v1/topics/t/messages", b"x" * 100000)
                done += a.status == 200
                if a.status != 200:
                    self.assertStatus(a, 507)
                    refused += 1
                    wait_until(lambda: c.request("POST", "/v1/topics/t/messages", b"x" * 100000).status == 200, 90,
                               "retention makes room")
        self.assertGreater(done, 300)


if __name__ == "__main__":
    unittest.main()
