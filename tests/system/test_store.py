"""Data on disk: segments, ranges, retention, restarts, damage, verify and dump."""

import glob
import json
import os
import re
import shutil
import time

import pytest

from client import assert_status
from common import BIG, SANITIZED, hold_for, in_threads, wait_until

TINY = ["store.segment.messages=10"]


def files(b, topic, suffix="*"):
    return sorted(glob.glob(os.path.join(b.data, "topics", topic, "*" + suffix)))


def test_files_are_sealed_at_exactly_so_many_messages(node):
    b = node(set=TINY)
    for i in range(35):
        b.publish("t", b"%d" % i)
    wait_until(lambda: [os.path.basename(f) for f in files(b, "t", ".log")] ==
               ["%020d.log" % n for n in (0, 10, 20)], what="three sealed files")
    assert [os.path.basename(f) for f in files(b, "t", ".qwal")][0] == "%020d.qwal" % 30
    assert b.topic("t")["segments"] >= 4


def test_files_are_sealed_by_bytes_and_batches_never_span_files(node, rng):
    b = node(set=["store.segment.bytes=65536"])
    published = []
    for i in range(60):
        batch = [b"%d.%d." % (i, k) + b"x" * rng.randrange(3000) for k in range(rng.randrange(1, 8))]
        b.publish_lines("t", batch)
        published += batch
    assert b.messages("t") == published
    assert len(files(b, "t", ".log")) > 3
    b.restart()
    assert b.messages("t") == published


def test_files_are_sealed_by_age_at_the_next_publish(node):
    b = node(set=["store.segment.age=0.2"])
    b.publish("t", b"old")
    hold_for(0.3, "longer than the age")
    assert files(b, "t", ".log") == [], "an idle file stays open"
    b.publish("t", b"new")
    wait_until(lambda: len(files(b, "t", ".log")) == 1)
    assert b.messages("t") == [b"old", b"new"]


def test_every_range_of_every_way_of_batching_reads_as_published(node, rng):
    b = node(set=TINY)
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
                        assert got == published[begin:end], (sizes, begin, end)
            if again == 0:
                b.restart()


def test_restart_keeps_everything_and_goes_on_where_it_was(node):
    b = node(set=TINY)
    for round_ in range(5):
        for i in range(7):
            assert b.publish("t", b"%d" % (round_ * 7 + i))["first"] == round_ * 7 + i
        b.restart()
        assert "torn" not in b.said()
    assert b.messages("t") == [b"%d" % i for i in range(35)]


def test_topics_and_settings_survive_restart_and_crash(node):
    b = node()
    b.ok("PUT", "/v1/topics/kept", json.dumps({"durability": "interval", "retain": {"messages": 77}}), status=201)
    b.ok("PUT", "/v1/topics/gone", "{}", status=201)
    b.request("DELETE", "/v1/topics/gone")
    b.kill()
    b.start()
    t = b.topic("kept")
    assert (t["durability"], t["retain"]["messages"]) == ("interval", 77)
    assert b.get("/v1/topics/gone").status == 404
    b.restart()
    assert b.topic("kept")["retain"]["messages"] == 77


def test_lignum_lua_sets_defaults_of_new_topics_and_weakens_no_existing_one(node):
    b = node(config='topic "a.*" { durability = "os" }\ntopic "*" { retain = { messages = 5 } }')
    b.publish("a.x", b"1")
    b.publish("b", b"1")
    assert b.topic("a.x")["durability"] == "os"
    assert (b.topic("b")["durability"], b.topic("b")["retain"]["messages"]) == ("commit", 5)
    b.stop()
    b.write_config('topic "*" { durability = "os" }')
    b.start()
    assert b.topic("b")["durability"] == "commit"


# ---- retention

def test_retention_by_count_removes_whole_old_files_and_says_410(node):
    b = node(set=TINY)
    b.ok("PUT", "/v1/topics/t", json.dumps({"retain": {"messages": 20}}), status=201)
    for i in range(100):
        b.publish("t", b"%d" % i)
    first = wait_until(lambda: (b.topic("t")["first"] >= 70 and b.topic("t")["first"]), what="old files are removed",
                       timeout=60)
    assert first % 10 == 0, "whole files only"
    assert 100 - first >= 20, "no more than asked"
    a = b.get("/v1/topics/t/messages?from=0")
    assert_status(a, 410, "offset_gone")
    assert a.json["earliest"] == first
    assert b.messages("t", first) == [b"%d" % i for i in range(first, 100)]
    assert b.read("t", from_="earliest", limit=1)["messages"][0]["offset"] == first
    wait_until(lambda: len(files(b, "t", ".log")) <= (100 - first) // 10)
    b.restart()
    assert b.topic("t")["first"] == first
    assert b.publish("t", b"100")["first"] == 100


def test_retention_by_bytes_and_by_age(node):
    b = node(set=TINY)
    b.ok("PUT", "/v1/topics/bytes", json.dumps({"retain": {"bytes": 20000}}), status=201)
    b.ok("PUT", "/v1/topics/age", json.dumps({"retain": {"age": 0.5}}), status=201)
    b.ok("PUT", "/v1/topics/all", "{}", status=201)
    for topic in ["bytes", "age", "all"]:
        for _ in range(10):
            b.publish_lines(topic, [b"x" * 1000] * 10)
    wait_until(lambda: b.topic("bytes")["first"] >= 70, 60, "bytes bound")
    wait_until(lambda: b.topic("age")["first"] >= 80, 60, "age bound")
    assert b.topic("bytes")["bytes"] >= 20000
    assert b.topic("all")["first"] == 0


def test_a_reader_of_removed_files_gets_whole_answers_or_410(node):
    b = node(set=TINY)
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
                assert a.status == 200, a
                assert [m["data"] for m in a.json["messages"]] == [str(m["offset"]) for m in a.json["messages"]]
    in_threads(publisher, reader, reader)


@pytest.mark.alone
def test_many_topics_under_a_small_descriptor_limit(node, rng, figure):
    count = 20000 if BIG else 1000 if SANITIZED else 3000
    b = node(descriptors=1024)
    began = time.monotonic()

    def publisher(k):
        with b.connect() as c:
            for i in range(k, count, 16):
                a = c.request("POST", "/v1/topics/many.%d/messages" % i, b"%d" % i)
                assert (a.status, a.json.get("first")) == (200, 0), a
    in_threads(*[lambda k=k: publisher(k) for k in range(16)])
    made = time.monotonic() - began
    assert b.descriptors_open() < 1024

    def check():
        with b.connect() as c:
            for i in rng.sample(range(count), 300):
                a = c.request("POST", "/v1/topics/many.%d/messages" % i, b"again")
                assert a.status == 200, a
                got = c.request("GET", "/v1/topics/many.%d/messages?limit=1" % i).json["messages"]
                assert got[0]["data"] == str(i)
    check()
    began = time.monotonic()
    b.stop(timeout=120)
    stopped = time.monotonic() - began
    clean = b.seconds_to_ready(timeout=120)
    listed, after = 0, ""
    while after is not None:
        page = b.ok("GET", "/v1/topics?limit=5000" + ("&after=" + after if after else "")).json
        listed, after = listed + len(page["topics"]), page.get("after")
    assert listed == count
    check()
    b.kill()
    crash = b.seconds_to_ready(timeout=120)
    check()
    figure("%d topics, ulimit -n 1024: made in %.1f s, stop %.2f s, start after a stop %.2f s, after kill -9 %.2f s", count, made,
           stopped, clean, crash)
    if not SANITIZED:
        assert clean < 10
        assert crash < 30
    b.stop(timeout=120)


# ---- damage

def filled(node, **kw):
    b = node(set=TINY, **kw)
    for i in range(45):
        b.publish("t", b"message %d" % i)
    wait_until(lambda: len(files(b, "t", ".log")) == 4)
    return b


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x10]))


def test_verify_of_sound_data_is_clean(node):
    b = filled(node)
    b.stop()
    r = b.verify()
    assert r.code == 0, r
    assert "t" in r.out


def test_verify_refuses_a_running_broker_and_what_is_not_there(node, folder):
    b = filled(node)
    r = b.verify()
    assert r.code == 65, r
    r = b.lignum("verify", os.path.join(folder, "nothing"))
    assert r.code == 65, r
    assert "nothing" in r.err
    r = b.lignum("verify", folder)
    assert r.code == 65, r


def test_a_flipped_byte_in_a_sealed_file_is_found_refused_and_never_deleted(node):
    b = filled(node)
    b.stop()
    path = files(b, "t", ".log")[1]
    original = open(path, "rb").read()
    flip(path, original.index(b"message 13") + 3)
    damaged = open(path, "rb").read()
    r = b.verify()
    assert r.code == 1, r
    assert os.path.basename(path).partition(".")[0] in r.out + r.err
    assert re.search(r"\b13\b", r.out + r.err)
    b.start()
    a = b.get("/v1/topics/t/messages?from=13&to=14")
    assert_status(a, 500, "damaged")
    assert b.messages("t", 0, 10) == [b"message %d" % i for i in range(10)]
    assert b.messages("t", 20, 45) == [b"message %d" % i for i in range(20, 45)]
    assert b.messages("t", 10, 13) == [b"message %d" % i for i in range(10, 13)]
    assert b.messages("t", 14, 20) == [b"message %d" % i for i in range(14, 20)]
    assert b.publish("t", b"after")["first"] == 45
    b.stop()
    assert open(path, "rb").read() == damaged, "nothing is cut or deleted"


def test_a_first_file_that_was_removed_is_said_and_one_that_retention_removed_is_not(node):
    b = filled(node)
    b.stop()
    os.unlink(files(b, "t", ".log")[0])
    b.start()
    assert re.search("files are missing at the beginning.* topic=t from=0 to=10", b.said())
    assert b.messages("t", 10, 45) == [b"message %d" % i for i in range(10, 45)]
    b.restart()
    assert re.search("files are missing at the beginning.* topic=t from=0 to=10", b.said()), "until retention goes on"
    b.ok("PATCH", "/v1/topics/t", '{"retain": {"messages": 12}}')
    wait_until(lambda: len(files(b, "t", ".log")) == 1, 30, "retention")
    b.restart()
    assert "missing at the beginning" not in b.said()


def test_every_kind_of_damage_is_detected_or_harmless_never_wrong_data(node, folder, rng):
    b = filled(node)
    b.stop()
    want = [b"message %d" % i for i in range(45)]
    saved = os.path.join(folder, "saved")
    shutil.copytree(b.data, saved)
    for _ in range(12):
        shutil.rmtree(b.data)
        shutil.copytree(saved, b.data)
        path = rng.choice(files(b, "t", ".log") + files(b, "t", ".qwal")[:1])
        size = len(open(path, "rb").read().rstrip(b"\0"))
        at = rng.randrange(size)
        flip(path, at)
        if not b.try_start():
            assert b.wait_exit() == 65, b.said()
            continue
        with b.connect() as c:
            for i in range(45):
                a = c.request("GET", "/v1/topics/t/messages?from=%d&to=%d" % (i, i + 1))
                if a.status == 200 and a.json["messages"]:
                    assert a.json["messages"][0]["data"].encode() == want[i], (path, at)
                    assert a.json["messages"][0]["offset"] == i, (path, at)
        b.stop()


def test_a_file_in_the_wrong_place_is_refused(node):
    b = filled(node)
    b.stop()
    logs = files(b, "t", ".log")
    shutil.copy(logs[0], logs[1])
    r = b.verify()
    assert r.code == 1, r
    b.start()
    a = b.get("/v1/topics/t/messages?from=10&to=11")
    assert a.status != 200, a


def test_a_missing_file_is_a_hole_that_is_refused_not_skipped(node):
    b = filled(node)
    b.stop()
    os.unlink(files(b, "t", ".log")[2])
    r = b.verify()
    assert r.code == 1, r
    if b.try_start():
        a = b.get("/v1/topics/t/messages?from=20&to=21")
        assert a.status != 200, a
        assert b.messages("t", 0, 20) == [b"message %d" % i for i in range(20)]
    else:
        assert b.wait_exit() == 65


def test_metadata_that_is_missing_or_derived_deletes_no_data(node):
    b = filled(node)
    b.stop()
    for f in files(b, "t"):
        if not f.endswith((".log", ".qwal")):
            os.unlink(f)
    for f in glob.glob(os.path.join(b.data, "topics", "*", "*.index")):
        os.unlink(f)
    b.start()
    assert b.messages("t") == [b"message %d" % i for i in range(45)]


def test_a_directory_without_a_record_is_left_alone_and_said(node):
    b = filled(node)
    b.stop()
    os.makedirs(os.path.join(b.data, "topics", "stray"))
    with open(os.path.join(b.data, "topics", "stray", "file"), "w") as f:
        f.write("mine")
    b.start()
    assert "stray" in b.said()
    assert open(os.path.join(b.data, "topics", "stray", "file")).read() == "mine"


def test_dump_prints_messages_as_json_lines(node):
    b = filled(node)
    b.publish("t", b"\xff\x00", {"Lignum-Key": "k"})
    b.publish("t", b"a", {"Producer-Id": "p-1", "Producer-Epoch": "3", "Producer-Seq": "0"})
    b.publish("t", b"b", {"Idempotency-Key": "order 7"})
    b.stop()
    assert re.search(r"^topic t: .*, batches of producers 2$", b.verify().out, re.M)
    r = b.lignum("dump", b.data, "t")
    assert r.code == 0, r
    lines = [json.loads(l) for l in r.out.splitlines()]
    assert [l["offset"] for l in lines] == list(range(48))
    assert (lines[46]["producer"], lines[46]["producer_epoch"], lines[46]["producer_seq"]) == ("p-1", 3, 0)
    assert lines[47]["idempotency_key"] == "order 7" and "producer" not in lines[47]
    assert lines[7]["data"] == "message 7"
    assert (lines[45]["base64"], lines[45]["key"]) == ("/wA=", "k")
    r = b.lignum("dump", b.data, "t", "8", "12")
    assert [json.loads(l)["offset"] for l in r.out.splitlines()] == [8, 9, 10, 11]
    r = b.lignum("dump", b.data, "absent")
    assert r.code != 0
    assert "absent" in r.err
