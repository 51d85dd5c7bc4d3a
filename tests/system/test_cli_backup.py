"""lignum backup and restore: of a running node, and of what can go wrong."""

import glob
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading

import pytest
from common import BINARY, Background, in_threads, wait_until
from lignum import Broker, lignum


def url(b):
    return "http://127.0.0.1:%d" % b.port


def backup(b, to, *words):
    return b.lignum("backup", to, "--data", b.data, "--url", url(b), *words)


def restored(folder, b, kept, name="restored"):
    """A broker on the data that a backup gives."""
    place = os.path.join(folder, name)
    os.mkdir(place)
    ran = lignum("restore", kept, "--data", os.path.join(place, "data"))
    assert ran.code == 0 and ran.err == "", ran
    return Broker(place, set=b.set)


def test_a_backup_has_messages_groups_producers_and_topics_as_they_were(make_node, folder):
    b = make_node(set=["store.segment.messages=50"]).start()
    b.request("PUT", "/v1/topics/empty")
    for i in range(4):
        b.publish_lines("t", [b"%d" % n for n in range(i * 40, i * 40 + 40)])
    b.publish("t", b"once", {"Producer-Id": "p", "Producer-Seq": "0"})
    b.publish("keyed", b"k", {"Idempotency-Key": "one"})
    assert b.lignum("group", "new", "t", "g", "from=earliest", "--url", url(b)).code == 0
    assert len(b.lignum("sub", "t", "--group", "g", "--limit", "70", "--url", url(b)).out.splitlines()) == 70
    kept = os.path.join(folder, "kept")
    ran = backup(b, kept, "-o", "json")
    assert ran.code == 0, ran
    assert json.loads(ran.out)["topics"] == 5
    assert os.stat(glob.glob(kept + "/topics/t/*.log")[0]).st_nlink == 2, "sealed files are linked"
    assert all(os.stat(f).st_nlink == 1 for f in glob.glob(kept + "/topics/*/*.qwal")), "the others are copies"
    b.publish("t", b"after")
    b.publish("later", b"after")
    assert len(b.lignum("sub", "t", "--group", "g", "--url", url(b)).out.splitlines()) == 92
    b.stop()
    with restored(folder, b, kept) as r:
        assert r.messages("t") == [b"%d" % n for n in range(160)] + [b"once"]
        assert r.messages("keyed") == [b"k"] and r.messages("empty") == [] and r.get("/v1/topics/later").status == 404
        state = r.ok("GET", "/v1/topics/t/groups/g").json
        assert state["cursor"].split(":")[1] == "70" and state["lag"] == 91, state
        assert r.publish("t", b"once", {"Producer-Id": "p", "Producer-Seq": "0"})["duplicate"] is True
        assert r.publish("keyed", b"k", {"Idempotency-Key": "one"})["duplicate"] is True
        assert r.publish("t", b"next", {"Producer-Id": "p", "Producer-Seq": "1"})["first"] == 161
        r.publish_lines("t", [b"x"] * 100)
        assert r.ok("GET", "/v1/cluster").json["role"] == "alone"
    assert lignum("restore", kept, "--data", os.path.join(folder, "again")).code == 0, "the backup is as it was"
    assert r.verify().code == 0


def test_a_backup_under_load_is_one_moment(make_node, folder):
    """Each step publishes to `a`, then to `b`; the backup never has more of `b` than of `a`, nor a group beyond its topic."""
    b = make_node(set=["store.segment.messages=20"]).start()
    b.publish("a", b"0")
    b.publish("b", b"0")
    assert b.lignum("group", "new", "b", "g", "from=earliest", "--url", url(b)).code == 0
    with b.connect() as c:
        def step():
            for topic in ("a", "b"):
                assert c.request("POST", "/v1/topics/%s/messages" % topic, b"x").status == 200
            claimed = c.request("POST", "/v1/topics/b/groups/g/claim", b'{"limit":5}').json["messages"]
            c.request("POST", "/v1/topics/b/groups/g/settle", json.dumps({"ack": [m["lease"] for m in claimed]}).encode())
        with Background(step) as load:
            for i in range(4):
                load.progresses(50)
                ran = backup(b, os.path.join(folder, "kept%d" % i))
                assert ran.code == 0, ran
    for i in range(4):
        with restored(folder, b, os.path.join(folder, "kept%d" % i), "r%d" % i) as r:
            a, bb = r.topic("a")["next"], r.topic("b")["next"]
            assert bb <= a <= bb + 1, (a, bb)
            state = r.ok("GET", "/v1/topics/b/groups/g").json
            cursor = int(state["cursor"].split(":")[1])
            assert cursor <= bb and state["lag"] == bb - cursor, (state, bb)
        assert r.verify().code == 0


def test_retention_takes_nothing_away_from_a_backup(make_node, folder):
    b = make_node(set=["store.segment.messages=10"]).start()
    for i in range(5):
        b.publish_lines("t", [b"%d" % i] * 10)
    kept = os.path.join(folder, "kept")
    assert backup(b, kept).code == 0
    assert b.lignum("topic", "trim", "t", "--before", "latest", "--url", url(b)).code == 0
    b.request("DELETE", "/v1/topics/t")
    with restored(folder, b, kept) as r:
        assert len(r.messages("t")) == 50
    with make_node(set=b.set) as trimmed:
        for i in range(5):
            trimmed.publish_lines("t", [b"%d" % i] * 10)
        trimmed.publish("t", b"p", {"Producer-Id": "p", "Producer-Seq": "0"})
        trimmed.publish_lines("t", [b"x"] * 19)
        trimmed.lignum("topic", "trim", "t", "--before", "65", "--url", url(trimmed))
        assert trimmed.topic("t")["first"] == 51
        assert backup(trimmed, kept + "2").code == 0
        with restored(folder, trimmed, kept + "2", "second") as r:
            assert r.topic("t")["first"] == 51
            assert r.publish("t", b"p", {"Producer-Id": "p", "Producer-Seq": "0"})["duplicate"] is True, \
                "what the removed files said of producers is in a snapshot"


def test_files_that_go_after_the_marks_were_told_begin_the_backup_anew(make_node, folder):
    b = make_node(set=["store.segment.messages=10"]).start()
    for i in range(5):
        b.publish_lines("t", [b"%d" % i] * 10)
    b.publish("t", b"last")
    asked = []

    class Between(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            a = b.get(self.path)
            asked.append(self.path)
            if asked.count("/v1/marks") == 2:          # the first is a look whether the directory is the node's
                assert b.lignum("topic", "trim", "t", "--before", "25", "--url", url(b)).code == 0
                wait_until(lambda: not os.path.exists(b.data + "/topics/t/%020d.log" % 0))
            self.send_response(a.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(a.body)))
            self.end_headers()
            self.wfile.write(a.body)

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept = os.path.join(folder, "kept")
    ran = b.lignum("backup", kept, "--data", b.data, "--url", "http://127.0.0.1:%d" % server.server_port)
    server.shutdown()
    server.server_close()
    assert ran.code == 0, ran
    assert asked.count("/v1/marks") == 3
    with restored(folder, b, kept) as r:
        assert (r.topic("t")["first"], r.topic("t")["next"]) == (20, 51)


def test_to_another_filesystem_everything_is_copied(make_node, folder):
    if os.stat("/dev/shm").st_dev == os.stat("/var/tmp").st_dev:
        pytest.skip("/dev/shm and /var/tmp are one filesystem")
    b = make_node(set=["store.segment.messages=10"]).start()
    for i in range(3):
        b.publish_lines("t", [b"%d" % i] * 10)
    other = "/var/tmp" if os.stat(folder).st_dev == os.stat("/dev/shm").st_dev else "/dev/shm"
    kept = os.path.join(other, "lignum-backup-%d" % os.getpid())
    try:
        assert backup(b, kept).code == 0
        with restored(folder, b, kept) as r:
            assert len(r.messages("t")) == 30
    finally:
        shutil.rmtree(kept, ignore_errors=True)


# ---- what can go wrong

def test_mistakes_are_a_sentence_and_change_nothing(make_node, folder):
    b, other = make_node().start(), make_node().start()
    b.publish("t", b"x")
    kept, full = os.path.join(folder, "kept"), os.path.join(folder, "full")
    os.mkdir(full)
    with open(full + "/mine", "w"):
        pass
    for words, code, says in [
            (("backup", full, "--data", b.data), 73, "is not empty"),
            (("backup", kept, "--data", os.path.join(folder, "nothing")), 66, "no node's data directory"),
            (("backup", kept, "--data", other.data), 65, "is not the data of the node"),
            (("backup", os.path.join(folder, "no/such"), "--data", b.data), 73, "No such file"),
            (("restore", kept, "--data", os.path.join(folder, "r")), 66, "no complete backup"),
            (("restore", full), 64, "--data"),
    ]:
        ran = b.lignum(*words, *(["--url", url(b)] if words[0] == "backup" else []))
        assert ran.code == code and says in ran.err and len(ran.err.splitlines()) == 1, (words, ran)
    assert not os.path.exists(kept) and os.listdir(full) == ["mine"] and not os.path.exists(os.path.join(folder, "r"))
    assert backup(b, kept).code == 0
    ran = lignum("restore", kept, "--data", b.data)
    assert ran.code == 73 and "is not empty" in ran.err
    assert b.messages("t") == [b"x"]
    with open(glob.glob(kept + "/topics/t/*.qwal")[0], "r+b") as f:
        f.seek(100)
        f.write(b"\xff\xff")
    ran = lignum("restore", kept, "--data", os.path.join(folder, "r"))
    assert ran.code == 65 and "damaged" in ran.err and not os.path.exists(os.path.join(folder, "r")), ran
    os.remove(glob.glob(kept + "/topics/t/*.qwal")[0])
    ran = lignum("restore", kept, "--data", os.path.join(folder, "r"))
    assert ran.code == 65 and not os.path.exists(os.path.join(folder, "r")), ran


def test_a_backup_s_manifest_leads_nowhere_else(make_node, folder):
    b = make_node().start()
    b.publish("t", b"x")
    kept, data = os.path.join(folder, "kept"), os.path.join(folder, "a", "r")
    assert backup(b, kept).code == 0
    os.mkdir(os.path.dirname(data))
    shutil.copytree(kept + "/topics/t", folder + "/outside")
    with open(kept + "/backup.json") as f:
        manifest = json.load(f)
    own = [t for t in manifest["topics"] if t["name"] == "t"][0]
    for topic in ({**own, "name": "../../outside"}, {**own, "name": ".."}, {**own, "name": "a/b"}, {**own, "name": ""},
                  {**own, "name": 1}, {**own, "next": "1"}, {**own, "first": None}, 7):
        with open(kept + "/backup.json", "w") as f:
            json.dump({**manifest, "topics": [topic]}, f)
        ran = lignum("restore", kept, "--data", data)
        assert ran.code == 65 and "not well formed" in ran.err, (topic, ran)
        assert os.listdir(os.path.dirname(data)) == [], topic


def test_a_full_disk_is_said_and_nothing_is_left(make_node, folder):
    b = make_node().start()
    b.publish("t", b"x" * 100000)
    small = os.path.join(folder, "small")
    os.mkdir(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        ran = backup(b, small)
        assert ran.code == 74 and "No space left" in ran.err and "removed" in ran.err, ran
        assert os.listdir(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_ctrl_c_leaves_nothing(make_node, folder):
    b = make_node(set=["store.segment.messages=100"]).start()
    for i in range(200):
        b.publish_lines("t", [b"x" * 1000] * 100)
    kept = os.path.join(folder, "kept")
    p = subprocess.Popen([BINARY, "backup", kept, "--data", b.data, "--url", url(b)], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: os.path.exists(kept + "/topics/t") or p.poll() is not None, what="it has begun", every=0.0005)
        p.send_signal(signal.SIGINT)
        assert p.wait(20) in (130, 0)
        assert os.path.exists(kept) == (p.returncode == 0)
    finally:
        p.kill()


def test_a_backup_has_what_only_memory_and_the_commit_log_have(make_node, folder):
    b = make_node(set=["store.commit_log_age=3600"]).start()
    topics = ["t%d" % i for i in range(300)]

    def publish(k, payload):
        with b.connect() as c:
            for t in topics[k::30]:
                assert c.request("POST", "/v1/topics/%s/messages" % t, payload).status == 200

    def lacks(t):
        with open("%s/small/%s" % (b.data, t), "rb") as f:
            return b"the second one" not in f.read()
    for payload in b"the first one", b"the second one":
        in_threads(*[lambda k=k: publish(k, payload) for k in range(30)])
    assert any(map(lacks, topics))         # how many depends on how many clients shared a group commit
    kept = os.path.join(folder, "kept")
    ran = backup(b, kept)
    assert ran.code == 0, ran
    assert not any(map(lacks, topics))
    b.kill()
    with restored(folder, b, kept) as r:
        assert {t: r.messages(t) for t in topics} == {t: [b"the first one", b"the second one"] for t in topics}
