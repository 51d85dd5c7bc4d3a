"""What lies on disk: segments, ranges, retention, restarts, damage, verify and dump."""

import glob
import json
import os
import random
import re
import shutil
import signal
import time
import unittest

import pytest

from lignum import BIG, SANITIZED, Test, in_threads, raise_descriptors, wait_until

TINY = ["store.segment.messages=10"]


def files(b, topic, suffix="*"):
    return sorted(glob.glob(os.path.join(b.data, "topics", topic, "*" + suffix)))


class Segments(Test):
    def test_files_are_sealed_at_exactly_so_many_messages(self):
        b = self.broker(set=TINY)
        for i in range(35):
            b.publish("t", b"%d" % i)
        wait_until(lambda: [os.path.basename(f) for f in files(b, "t", ".log")] ==
                   ["%020d.log" % n for n in (0, 10, 20)], what="three sealed files")
        self.assertEqual([os.path.basename(f) for f in files(b, "t", ".qwal")][0], "%020d.qwal" % 30)
        self.assertGreaterEqual(b.topic("t")["segments"], 4)

    def test_files_are_sealed_by_bytes_and_batches_never_span_files(self):
        b = self.broker(set=["store.segment.bytes=65536"])
        published = []
        rng = random.Random(1)
        for i in range(60):
            batch = [b"%d.%d." % (i, k) + b"x" * rng.randrange(3000) for k in range(rng.randrange(1, 8))]
            b.publish_lines("t", batch)
            published += batch
        self.assertEqual(b.messages("t"), published)
        self.assertGreater(len(files(b, "t", ".log")), 3)
        b.restart()
        self.assertEqual(b.messages("t"), published)

    def test_files_are_sealed_by_age_at_the_next_publish(self):
        b = self.broker(set=["store.segment.age=0.2"])
        b.publish("t", b"old")
        end = time.monotonic() + 0.3
        wait_until(lambda: time.monotonic() > end)
        self.assertEqual(files(b, "t", ".log"), [], "an idle file stays open")
        b.publish("t", b"new")
        wait_until(lambda: len(files(b, "t", ".log")) == 1)
        self.assertEqual(b.messages("t"), [b"old", b"new"])

    def test_every_range_of_every_way_of_batching_reads_as_published(self):
        b = self.broker(set=TINY)
        rng = random.Random(7)
        for case, sizes in enumerate([[10, 10, 10], [1] * 21, [9, 1, 10, 11], [3, 3, 3, 3, 3, 3], [25, 5], [10]]):
            topic, published = "t%d" % case, []
            for size in sizes:
                batch = [b"%d" % (len(published) + k) for k in range(size)]
                b.publish_lines(topic, batch)
                published += batch
            for again in range(2):
                with b.connect() as c:
                    for begin in range(len(published) + 1):
                        ends = range(begin + 1, len(published) + 2)
                        for end in ends if not again else rng.sample(list(ends), 1):
                            got = b.messages(topic, begin, end, connection=c)
                            self.assertEqual(got, published[begin:end], (sizes, begin, end))
                if again == 0:
                    b.restart()

    def test_restart_keeps_everything_and_goes_on_where_it_was(self):
        b = self.broker(set=TINY)
        for round_ in range(5):
            for i in range(7):
                self.assertEqual(b.publish("t", b"%d" % (round_ * 7 + i))["first"], round_ * 7 + i)
            b.restart()
            self.assertNotIn("torn", b.said())
        self.assertEqual(b.messages("t"), [b"%d" % i for i in range(35)])

    def test_topics_and_settings_survive_restart_and_crash(self):
        b = self.broker()
        b.ok("PUT", "/v1/topics/kept", json.dumps({"durability": "interval", "retain": {"messages": 77}}), status=201)
        b.ok("PUT", "/v1/topics/gone", "{}", status=201)
        b.request("DELETE", "/v1/topics/gone")
        b.kill()
        b.start()
        t = b.topic("kept")
        self.assertEqual((t["durability"], t["retain"]["messages"]), ("interval", 77))
        self.assertEqual(b.get("/v1/topics/gone").status, 404)
        b.restart()
        self.assertEqual(b.topic("kept")["retain"]["messages"], 77)

    def test_lignum_lua_sets_defaults_of_new_topics_and_weakens_no_existing_one(self):
        b = self.broker(config='topic "a.*" { durability = "os" }\ntopic "*" { retain = { messages = 5 } }')
        b.publish("a.x", b"1")
        b.publish("b", b"1")
        self.assertEqual(b.topic("a.x")["durability"], "os")
        self.assertEqual((b.topic("b")["durability"], b.topic("b")["retain"]["messages"]), ("commit", 5))
        b.stop()
        b.write_config('topic "*" { durability = "os" }')
        b.start()
        self.assertEqual(b.topic("b")["durability"], "commit")


class Retention(Test):
    def test_retention_by_count_removes_whole_old_files_and_says_410(self):
        b = self.broker(set=TINY)
        b.ok("PUT", "/v1/topics/t", json.dumps({"retain": {"messages": 20}}), status=201)
        for i in range(100):
            b.publish("t", b"%d" % i)
        first = wait_until(lambda: (b.topic("t")["first"] >= 70 and b.topic("t")["first"]), what="old files are removed",
                           timeout=60)
        self.assertEqual(first % 10, 0, "whole files only")
        self.assertGreaterEqual(100 - first, 20, "no more than asked")
        a = b.get("/v1/topics/t/messages?from=0")
        self.assertStatus(a, 410, "offset_gone")
        self.assertEqual(a.json["earliest"], first)
        self.assertEqual(b.messages("t", first), [b"%d" % i for i in range(first, 100)])
        self.assertEqual(b.read("t", from_="earliest", limit=1)["messages"][0]["offset"], first)
        wait_until(lambda: len(files(b, "t", ".log")) <= (100 - first) // 10)
        b.restart()
        self.assertEqual(b.topic("t")["first"], first)
        self.assertEqual(b.publish("t", b"100")["first"], 100)

    def test_retention_by_bytes_and_by_age(self):
        b = self.broker(set=TINY)
        b.ok("PUT", "/v1/topics/bytes", json.dumps({"retain": {"bytes": 20000}}), status=201)
        b.ok("PUT", "/v1/topics/age", json.dumps({"retain": {"age": 0.5}}), status=201)
        b.ok("PUT", "/v1/topics/all", "{}", status=201)
        for topic in ["bytes", "age", "all"]:
            for _ in range(10):
                b.publish_lines(topic, [b"x" * 1000] * 10)
        wait_until(lambda: b.topic("bytes")["first"] >= 70, 60, "bytes bound")
        wait_until(lambda: b.topic("age")["first"] >= 80, 60, "age bound")
        self.assertGreaterEqual(b.topic("bytes")["bytes"], 20000)
        self.assertEqual(b.topic("all")["first"], 0)

    def test_a_reader_of_removed_files_gets_whole_answers_or_410(self):
        b = self.broker(set=TINY)
        b.ok("PUT", "/v1/topics/t", json.dumps({"retain": {"messages": 30}}), status=201)
        stop = []

        def publisher():
            with b.connect() as c:
                for i in range(600):
                    c.request("POST", "/v1/topics/t/messages", b"%d" % i)
            stop.append(1)

        def reader():
            with b.connect() as c:
                while not stop:
                    first = c.request("GET", "/v1/topics/t").json["first"]
                    a = c.request("GET", "/v1/topics/t/messages?from=%d" % first)
                    if a.status == 410:
                        continue
                    self.assertEqual(a.status, 200, a)
                    self.assertEqual([m["data"] for m in a.json["messages"]],
                                     [str(m["offset"]) for m in a.json["messages"]])
        in_threads(publisher, reader, reader)


@pytest.mark.alone
class Many(Test):
    def test_many_topics_under_a_small_descriptor_limit(self):
        count = 20000 if BIG else 1000 if SANITIZED else 3000
        b = self.broker(descriptors=1024)
        began = time.monotonic()

        def publisher(k):
            with b.connect() as c:
                for i in range(k, count, 16):
                    a = c.request("POST", "/v1/topics/many.%d/messages" % i, b"%d" % i)
                    self.assertEqual((a.status, a.json.get("first")), (200, 0), a)
        in_threads(*[lambda k=k: publisher(k) for k in range(16)])
        made = time.monotonic() - began
        self.assertLess(b.descriptors_open(), 1024)
        rng = random.Random(3)

        def check():
            with b.connect() as c:
                for i in rng.sample(range(count), 300):
                    a = c.request("POST", "/v1/topics/many.%d/messages" % i, b"again")
                    self.assertEqual(a.status, 200, a)
                    got = c.request("GET", "/v1/topics/many.%d/messages?limit=1" % i).json["messages"]
                    self.assertEqual(got[0]["data"], str(i))
        check()
        began = time.monotonic()
        b.stop(timeout=120)
        stopped = time.monotonic() - began
        began = time.monotonic()
        b.start(timeout=120)
        clean = time.monotonic() - began
        listed, after = 0, ""
        while after is not None:
            page = b.ok("GET", "/v1/topics?limit=5000" + ("&after=" + after if after else "")).json
            listed, after = listed + len(page["topics"]), page.get("after")
        self.assertEqual(listed, count)
        check()
        b.kill()
        began = time.monotonic()
        b.start(timeout=120)
        crash = time.monotonic() - began
        check()
        print("figure: %d topics, ulimit -n 1024: made in %.1f s, stop %.2f s, start after a stop %.2f s, after kill -9 %.2f s" %
              (count, made, stopped, clean, crash))
        if not SANITIZED:
            self.assertLess(clean, 10)
            self.assertLess(crash, 30)
        b.stop(timeout=120)


class Damage(Test):
    def filled(self, **kw):
        b = self.broker(set=TINY, **kw)
        for i in range(45):
            b.publish("t", b"message %d" % i)
        wait_until(lambda: len(files(b, "t", ".log")) == 4)
        return b

    def flip(self, path, at):
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 0x10]))

    def test_verify_of_sound_data_is_clean(self):
        b = self.filled()
        b.stop()
        r = b.verify()
        self.assertEqual(r.code, 0, r)
        self.assertIn("t", r.out)

    def test_verify_refuses_a_running_broker_and_what_is_not_there(self):
        b = self.filled()
        r = b.verify()
        self.assertEqual(r.code, 65, r)
        r = b.lignum("verify", os.path.join(self.folder, "nothing"))
        self.assertEqual(r.code, 65, r)
        self.assertIn("nothing", r.err)
        r = b.lignum("verify", self.folder)
        self.assertEqual(r.code, 65, r)

    def test_a_flipped_byte_in_a_sealed_file_is_found_refused_and_never_deleted(self):
        b = self.filled()
        b.stop()
        path = files(b, "t", ".log")[1]
        original = open(path, "rb").read()
        self.flip(path, original.index(b"message 13") + 3)
        damaged = open(path, "rb").read()
        r = b.verify()
        self.assertEqual(r.code, 1, r)
        self.assertIn(os.path.basename(path).partition(".")[0], r.out + r.err)
        self.assertRegex(r.out + r.err, r"\b13\b")
        b.start()
        a = b.get("/v1/topics/t/messages?from=13&to=14")
        self.assertStatus(a, 500, "damaged")
        self.assertEqual(b.messages("t", 0, 10), [b"message %d" % i for i in range(10)])
        self.assertEqual(b.messages("t", 20, 45), [b"message %d" % i for i in range(20, 45)])
        self.assertEqual(b.messages("t", 10, 13), [b"message %d" % i for i in range(10, 13)])
        self.assertEqual(b.messages("t", 14, 20), [b"message %d" % i for i in range(14, 20)])
        self.assertEqual(b.publish("t", b"after")["first"], 45)
        b.stop()
        self.assertEqual(open(path, "rb").read(), damaged, "nothing is cut or deleted")

    def test_every_kind_of_damage_is_detected_or_harmless_never_wrong_data(self):
        b = self.filled()
        b.stop()
        want = [b"message %d" % i for i in range(45)]
        saved = os.path.join(self.folder, "saved")
        shutil.copytree(b.data, saved)
        rng = random.Random(11)
        for case in range(12):
            shutil.rmtree(b.data)
            shutil.copytree(saved, b.data)
            path = rng.choice(files(b, "t", ".log") + files(b, "t", ".qwal")[:1])
            size = len(open(path, "rb").read().rstrip(b"\0"))
            at = rng.randrange(size)
            self.flip(path, at)
            with self.subTest(file=os.path.basename(path), at=at):
                b.spawn()
                wait_until(lambda: " main: ready " in b.said() or b.process.poll() is not None)
                if not b.running():
                    self.assertEqual(b.wait_exit(), 65, b.said())
                    continue
                b.port = int(re.search(r"listening address=\S*:(\d+)", b.said()).group(1))
                with b.connect() as c:
                    for i in range(45):
                        a = c.request("GET", "/v1/topics/t/messages?from=%d&to=%d" % (i, i + 1))
                        if a.status == 200 and a.json["messages"]:
                            self.assertEqual(a.json["messages"][0]["data"].encode(), want[i])
                            self.assertEqual(a.json["messages"][0]["offset"], i)
                b.stop()

    def test_a_file_in_the_wrong_place_is_refused(self):
        b = self.filled()
        b.stop()
        logs = files(b, "t", ".log")
        shutil.copy(logs[0], logs[1])
        r = b.verify()
        self.assertEqual(r.code, 1, r)
        b.start()
        a = b.get("/v1/topics/t/messages?from=10&to=11")
        self.assertNotEqual(a.status, 200, a)

    def test_a_missing_file_is_a_hole_that_is_refused_not_skipped(self):
        b = self.filled()
        b.stop()
        os.unlink(files(b, "t", ".log")[2])
        r = b.verify()
        self.assertEqual(r.code, 1, r)
        b.spawn()
        wait_until(lambda: " main: ready " in b.said() or b.process.poll() is not None)
        if b.running():
            b.port = int(re.search(r"listening address=\S*:(\d+)", b.said()).group(1))
            a = b.get("/v1/topics/t/messages?from=20&to=21")
            self.assertNotEqual(a.status, 200, a)
            self.assertEqual(b.messages("t", 0, 20), [b"message %d" % i for i in range(20)])
        else:
            self.assertEqual(b.wait_exit(), 65)

    def test_metadata_that_is_missing_or_derived_deletes_no_data(self):
        b = self.filled()
        b.stop()
        for f in files(b, "t"):
            if not f.endswith((".log", ".qwal")):
                os.unlink(f)
        for f in glob.glob(os.path.join(b.data, "topics", "*", "*.index")):
            os.unlink(f)
        b.start()
        self.assertEqual(b.messages("t"), [b"message %d" % i for i in range(45)])

    def test_a_directory_without_a_record_is_left_alone_and_said(self):
        b = self.filled()
        b.stop()
        os.makedirs(os.path.join(b.data, "topics", "stray"))
        with open(os.path.join(b.data, "topics", "stray", "file"), "w") as f:
            f.write("mine")
        b.start()
        self.assertIn("stray", b.said())
        self.assertEqual(open(os.path.join(b.data, "topics", "stray", "file")).read(), "mine")

    def test_dump_prints_messages_as_json_lines(self):
        b = self.filled()
        b.publish("t", b"\xff\x00", {"Lignum-Key": "k"})
        b.stop()
        r = b.lignum("dump", b.data, "t")
        self.assertEqual(r.code, 0, r)
        lines = [json.loads(l) for l in r.out.splitlines()]
        self.assertEqual([l["offset"] for l in lines], list(range(46)))
        self.assertEqual(lines[7]["data"], "message 7")
        self.assertEqual((lines[45]["base64"], lines[45]["key"]), ("/wA=", "k"))
        r = b.lignum("dump", b.data, "t", "8", "12")
        self.assertEqual([json.loads(l)["offset"] for l in r.out.splitlines()], [8, 9, 10, 11])
        r = b.lignum("dump", b.data, "absent")
        self.assertNotEqual(r.code, 0)
        self.assertIn("absent", r.err)


if __name__ == "__main__":
    unittest.main()
