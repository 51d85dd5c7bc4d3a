"""One plan for the three clients, doc/examples/clients/lignum.py, rocks/lignum_client.lua and scripts/web/lignum.js, against real
nodes, with the failover of a real cluster. Each is driven by a process of tests/clients, which does the steps that it is sent."""

import base64
import json
import os
import shutil
import socket
import subprocess
import threading

import pytest

from certs import Authority
from common import ROOT, die_with_parent, free_port, wait_until
from test_access import add

PROGRAMS = {"python": ["/usr/bin/python3", "driver.py"], "lua": ["lua5.4", "driver.lua"], "javascript": ["node", "driver.mjs"]}


def b64(data):
    return base64.b64encode(data).decode()


def why_not(language):
    """Why the client cannot run here, or None."""
    if not shutil.which(PROGRAMS[language][0]):
        return "%s is not installed" % PROGRAMS[language][0]
    if language == "lua":
        for package in "socket", "ssl", "dkjson":
            if subprocess.run(["lua5.4", "-e", "require %r" % package], capture_output=True).returncode != 0:
                return "lua-%s is not installed" % {"ssl": "sec"}.get(package, package)
    return None


class Driver:
    """A client in a process of its own. do() sends a step and waits for its result; send() only sends it."""

    def __init__(self, language, nodes, env=None, timeout=60, patience=12, **options):
        program, script = PROGRAMS[language]
        self.process = subprocess.Popen([program, os.path.join(ROOT, "tests/clients", script)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ, **env or {}))
        self.said, self.complaints, self.taken = [], [], 0
        self.readers = [threading.Thread(target=self.listen), threading.Thread(target=self.complain)]
        for reader in self.readers:
            reader.start()
        urls = [n if isinstance(n, str) else "http://127.0.0.1:%d" % n.port for n in nodes]
        self.do("connect", urls=urls, timeout=timeout, patience=patience, **options)

    def listen(self):
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def complain(self):
        self.complaints += self.process.stderr

    def close(self):
        self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join()
        for pipe in self.process.stdin, self.process.stdout, self.process.stderr:
            pipe.close()

    def send(self, do, **given):
        self.process.stdin.write(json.dumps(dict(given, do=do)) + "\n")
        self.process.stdin.flush()

    def answers(self):
        return [a for a in list(self.said) if "result" in a or "error" in a]

    def all(self, name):
        return [a[name] for a in list(self.said) if name in a]

    def wait(self, condition, what, timeout=60):
        def met():
            if self.process.poll() is not None:
                raise RuntimeError("the driver has ended: " + "".join(self.complaints))
            return condition()
        return wait_until(met, timeout, "%s: %s" % (what, self.said[-3:]))

    def answer(self):
        """The answer to the next step."""
        self.wait(lambda: len(self.answers()) > self.taken, "it answers")
        self.taken += 1
        return self.answers()[self.taken - 1]

    def do(self, do, **given):
        self.send(do, **given)
        answer = self.answer()
        assert "result" in answer, answer
        return answer["result"]

    def error(self, do, **given):
        self.send(do, **given)
        return self.answer().get("error")

    def texts(self):
        return [base64.b64decode(m["base64"]).decode() for m in self.all("message")]


@pytest.fixture(params=sorted(PROGRAMS))
def language(request):
    reason = why_not(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture
def start(language, defer):
    def begin(nodes, **options):
        d = Driver(language, nodes, **options)
        defer(d.close)
        return d
    return begin


def test_messages_of_all_kinds_are_published_once_and_read(node, start):
    b = node()
    d = start([b])
    sent = [{"data": "text"}, {"base64": b64(bytes(range(256)))}, {"data": ""}, {"data": "käse \u0000 \U0001f9c0", "key": "schlüssel"},
            {"data": "k", "key_base64": b64(b"\xff\x00"), "headers": {"h": "v", "ä": "ö"}}]
    receipt = d.do("publish", topic="t", messages=sent)
    assert (receipt["first"], receipt["count"], receipt["next"]) == (0, 5, 5)
    again = [d.do("publish", topic="t", messages=[{"data": "once"}], id="the key") for _ in range(2)]
    assert [a["first"] for a in again] == [5, 5] and again[1]["duplicate"] is True
    page = d.do("read", topic="t", **{"from": "earliest"})
    payloads = [base64.b64decode(m["base64"]) for m in page["messages"]]
    assert payloads == [b"text", bytes(range(256)), b"", "käse \0 \U0001f9c0".encode(), b"k", b"once"]
    keys = [m.get("key_base64") and base64.b64decode(m["key_base64"]) for m in page["messages"]]
    assert keys == [None, None, None, "schlüssel".encode(), b"\xff\x00", None]
    assert page["messages"][4]["headers"] == {"h": "v", "ä": "ö"} and page["next"] == 6
    d.do("publish", topic="t", messages=[{"data": "at its place"}], expect=page["next_token"])
    assert d.error("publish", topic="t", messages=[{"data": "too late"}], expect=page["next_token"]) == "precondition_failed"
    rest = d.do("read", topic="t", limit=1, **{"from": page["next_token"]})
    assert [m["offset"] for m in rest["messages"]] == [6]


def test_what_a_node_refuses_is_an_error_at_once(node, start):
    d = start([node()])
    assert d.error("read", topic="none", **{"from": 0}) == "unknown_topic"
    assert d.error("publish", topic="_own", messages=[{"data": "x"}]) == "forbidden"
    assert d.error("publish", topic="not a name/", messages=[{"data": "x"}]) == "bad_topic"
    assert d.error("group", topic="none", group="g") == "unknown_topic"


def test_a_producers_requests_are_stored_once_and_a_later_run_fences_it(node, start):
    b = node()
    one, two = start([b]), start([b])
    for text in "a", "b":
        one.do("produce", topic="t", producer="p", epoch=1, messages=[{"data": text}])
    assert one.error("produce", topic="_own", producer="p", epoch=1, messages=[{"data": "x"}]) == "forbidden"
    two.do("produce", topic="t", producer="p", epoch=2, messages=[{"data": "c"}, {"data": "d"}])
    assert one.error("produce", topic="t", producer="p", epoch=1, messages=[{"data": "late"}]) == "fenced"
    assert two.do("produce", topic="t", producer="p", epoch=2, messages=[{"data": "e"}])["first"] == 4
    assert b.messages("t") == [b"a", b"b", b"c", b"d", b"e"]


def test_groups_are_worked_off(node, start):
    b = node()
    d = start([b])
    d.do("create_topic", topic="t", settings={})
    d.do("create_group", topic="t", group="g", settings={"from": "earliest", "retry": {"min": 0}, "dead_letter": "dead"})
    d.do("publish", topic="t", messages=[{"data": text} for text in "abcd"])
    d.do("work", topic="t", group="g", count=4, fails="b")
    assert sorted(d.all("done")) == list("abcd") and d.all("failed") == ["b"]
    d.do("publish", topic="t", messages=[{"data": "e", "key_base64": b64(b"\xfe")}])
    [m] = d.do("claim", topic="t", group="g", limit=1, wait=10)
    assert (m["key_base64"], m["delivery"]) == (b64(b"\xfe"), 1)
    of = {"topic": "t", "group": "g"}
    assert d.do("settle", verb="extend", lease=m["lease"], value=60, **of) == "ok"
    assert d.do("settle", verb="release", lease=m["lease"], value=0, **of) == "ok"
    [again] = d.do("claim", limit=1, wait=10, **of)
    assert (again["offset"], again["delivery"]) == (m["offset"], 2)
    assert d.do("settle", verb="reject", lease=again["lease"], value="no good", **of) == "ok"
    assert d.do("settle", verb="ack", lease=m["lease"], **of) == "lease_lost"
    wait_until(lambda: d.do("group", **of)["lag"] == 0, what="the letter is written")
    [letter] = d.do("read", topic="dead", **{"from": "earliest"})["messages"]
    assert letter["headers"]["lignum-dead-why"] == "no good"


def test_following_from_the_latest_misses_nothing_while_a_node_is_away(make_node, start):
    b = make_node(listen="127.0.0.1:%d" % free_port(), expect_exit=None).start()
    b.publish("t", b"old")
    before = b.in_flight()
    d = start([b])
    d.send("follow", topic="t", count=2, **{"from": "latest"})
    wait_until(lambda: b.in_flight() > before, what="it waits for a message")
    b.kill()
    b.write_config('function on_start() topic("t"):append("while it was away") end')
    b.start()
    wait_until(lambda: b.topic("t")["next"] >= 2, what="the node has published")
    b.publish("t", b"last")
    assert "result" in d.answer() and d.texts() == ["while it was away", "last"]


@pytest.fixture(scope="module")
def three(share_cluster):
    return share_cluster(topics={})


def test_nothing_is_lost_or_doubled_when_the_leader_is_killed(three, language, start):
    c, topic, count = three, language, 150
    texts = [str(i) for i in range(count)]
    writer, keyed, follower, worker = [start(c.nodes) for _ in range(4)]
    for name in topic, topic + ".keyed":
        writer.do("create_topic", topic=name, settings={"replication": "live", "copies": 2})
    writer.do("create_group", topic=topic, group="g", settings={"from": "earliest", "lease_time": 5})
    follower.send("follow", topic=topic, count=count, **{"from": "earliest"})
    worker.send("work", topic=topic, group="g", count=count)

    def publish(those):
        for text in those:
            writer.send("produce", topic=topic, messages=[{"data": text}])
            keyed.send("publish", topic=topic + ".keyed", messages=[{"data": text}])
    lost = c.leader()
    publish(texts[:50])
    follower.wait(lambda: len(follower.texts()) >= 30, "it follows")
    worker.wait(lambda: len(worker.all("done")) >= 10, "it works")
    publish(texts[50:])
    lost.kill()             # while these are under way
    c.wait_leader(besides=[lost])
    for d in writer, keyed:
        assert all("result" in d.answer() for _ in texts), d.said
    assert "result" in follower.answer() and "result" in worker.answer()
    assert follower.texts() == texts
    assert set(worker.all("done")) == set(texts)
    url, first = writer.do("prefer_leader")
    leader = c.wait_leader()
    assert url == first == "http://127.0.0.1:%d" % leader.port
    for name in topic, topic + ".keyed":
        assert [payload.decode() for _, _, payload in leader.log(name)] == texts
    lost.start()
    c.wait_whole()


def test_a_follower_is_told_what_was_truncated_and_goes_on(cluster, start):
    c = cluster(topics={"t": {"replication": "wal"}}, sync_interval=30)
    leader, others = c.leader(), c.followers()
    leader.publish("t", b"kept", {"Lignum-Ack": "peers"})       # is shipped at once; the next ones are not
    d = start([leader, *others])
    d.send("follow", topic="t", count=4, **{"from": "earliest"})
    leader.publish("t", b"lost 1")
    leader.publish("t", b"lost 2")
    d.wait(lambda: d.texts() == ["kept", "lost 1", "lost 2"], "they are followed")
    leader.kill()
    c.wait_leader(besides=[leader])
    wait_until(lambda: others[0].post("/v1/topics/t/messages", b"instead").status == 200, what="the next leader takes it")
    assert "result" in d.answer()
    assert d.all("truncated") == [1]
    assert [(m["offset"], text) for m, text in zip(d.all("message"), d.texts())][3] == (1, "instead")


def test_a_follower_is_told_what_was_removed_and_goes_on(node, start):
    b = node(set=["store.segment.messages=2"])
    for text in (b"0", b"1", b"2", b"3", b"last"):
        b.publish("t", text)
    assert b.lua('return topic("t"):trim(2)')
    d = start([b])
    d.do("follow", topic="t", count=3, **{"from": 0})
    assert d.all("gap") == [[0, 2]] and d.texts() == ["2", "3", "last"]


def test_nodes_that_cannot_be_reached_are_said_in_time(start):
    closed = [socket.socket(), socket.socket()]
    for s in closed:
        s.bind(("127.0.0.1", 0))        # a port of its own, on which nobody listens
    d = start(["http://127.0.0.1:%d" % s.getsockname()[1] for s in closed], timeout=1)
    assert d.error("read", topic="t", **{"from": 0}) == "unreachable"
    for s in closed:
        s.close()


def test_a_node_that_never_answers_is_left(node, start):
    b = node()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        d = start(["http://127.0.0.1:%d" % deaf.getsockname()[1], b], patience=0.5)
        assert d.do("publish", topic="t", messages=[{"data": "x"}])["first"] == 0
    assert b.messages("t") == [b"x"]


def test_a_token_is_shown(node, start):
    b = node()
    secret = add(b, "root")
    assert start([b]).error("read", topic="t", **{"from": 0}) == "unauthorized"
    assert start([b], token=secret).do("publish", topic="t", messages=[{"data": "x"}])["count"] == 1


def test_tls_nodes_are_verified(node, folder, language, start):
    ca, other = Authority(folder), Authority(folder, "other")
    pair, elsewhere = ca.issue("node", hosts=("localhost", "127.0.0.1")), ca.issue("elsewhere", hosts=("elsewhere.example",))
    listeners = ['{ address = "127.0.0.%d:0", tls = { %s } }' % (i, p.lua) for i, p in ((1, pair), (2, elsewhere))]
    b = node(config="listen { %s }" % ", ".join(listeners), listen=None)

    def client(url, authority):
        trusted = {"env": {"NODE_EXTRA_CA_CERTS": authority.path}} if language == "javascript" else {"ca": authority.path}
        return start([url], timeout=2, **trusted)
    named = "https://localhost:%d" % b.ports[0]
    good = client(named, ca)
    for i in range(2):
        assert good.do("publish", topic="t", messages=[{"data": "x"}])["first"] == i
    assert client(named, other).error("read", topic="t", **{"from": 0}) == "unreachable"
    assert client("https://127.0.0.2:%d" % b.ports[1], ca).error("read", topic="t", **{"from": 0}) == "unreachable"


@pytest.mark.parametrize("language", ["javascript"], indirect=True)
def test_a_call_in_javascript_ends_with_its_signal(start, language):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        d = start(["http://127.0.0.1:%d" % deaf.getsockname()[1]])
        assert d.do("abort", topic="t") == "enough"


# ------------------------------------------------------------------------------------------- inside nginx

NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log error.log info;
%(modules)s
events {}
http {
  access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  lua_package_path "%(root)s/rocks/?.lua;/usr/share/lua/5.1/?.lua;;";
  lua_ssl_trusted_certificate %(ca)s;
  server { listen unix:%(folder)s/nginx.sock; location / { content_by_lua_file %(root)s/tests/clients/nginx.lua; } }
}
"""


@pytest.fixture
def nginx(folder, defer):
    """nginx(ca): nginx with Lua and one process; returns what asks it: ask(URL of a node, part)."""
    modules = [m for m in ("ndk_http_module", "ngx_http_lua_module") if os.path.exists("/usr/lib/nginx/modules/%s.so" % m)]
    if len(modules) < 2 or not os.path.exists("/usr/sbin/nginx"):
        pytest.skip("nginx with Lua is not installed")
    if not os.path.exists("/usr/share/lua/5.1/dkjson.lua"):
        pytest.skip("lua-dkjson is not installed")

    def begin(ca):
        path, sock = os.path.join(folder, "nginx.conf"), os.path.join(folder, "nginx.sock")
        with open(path, "w") as f:
            f.write(NGINX % {"root": ROOT, "ca": ca, "folder": folder, "modules": " ".join(
                "load_module /usr/lib/nginx/modules/%s.so;" % m for m in modules)})
        p = subprocess.Popen(["/usr/sbin/nginx", "-p", folder, "-c", path, "-e", os.path.join(folder, "error.log"), "-g",
                              "user root;" if os.geteuid() == 0 else ""], stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)

        def end():
            p.terminate()       # its worker too
            p.wait()
        defer(end)
        wait_until(lambda: os.path.exists(sock) or p.poll() is not None, what="nginx listens")
        assert p.poll() is None

        def ask(url, part, name="localhost"):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(60)
                s.connect(sock)
                s.sendall(("GET /?part=%s&url=%s&name=%s HTTP/1.0\r\n\r\n" % (part, url, name)).encode())
                head, _, body = b"".join(iter(lambda: s.recv(65536), b"")).partition(b"\r\n\r\n")
            with open(os.path.join(folder, "error.log")) as f:
                assert b" 200 " in head, f.read()
            return json.loads(body)
        return ask
    return begin


def test_the_lua_client_works_inside_nginx_and_holds_nothing_up(node, folder, nginx):
    ca = Authority(folder)
    pair = ca.issue("node", hosts=("localhost",))
    b = node(config='listen { "127.0.0.1:0", { address = "127.0.0.2:0", tls = { %s } } }' % pair.lua, listen=None)
    ask, url = nginx(ca.path), "https://127.0.0.2:%d" % b.ports[1]
    found = ask(url, "all")
    assert found == {"lag": 0, "code": "unknown_topic", "found": [
        [0, b64(b"one"), ""], [1, b64(b"\0\xff"), b64(b"\xfe"), "v"], [2, b64(b"three"), ""]]}
    b.ok("PUT", "/v1/topics/w", status=201)
    before, waiting = b.in_flight(), []
    reader = threading.Thread(target=lambda: waiting.append(ask(url, "wait")))
    reader.start()
    wait_until(lambda: b.in_flight() == before + 1, what="a read waits in nginx's only process")
    assert ask(url, "publish")["first"] == 0
    reader.join()
    assert waiting == [{"payload": "at last"}]
