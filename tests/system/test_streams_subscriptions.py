"""Durable Streams: subscriptions under failures, and who may use them. What the protocol's own tests ask is in
test_durable_streams.py."""

import contextlib
import http.server
import json
import os
import threading

from client import Connection, assert_status, request_bytes
from common import hold_for, wait_until
from test_access import add, bearer

JSON = {"Content-Type": "application/json"}
STREAMS = 'durable_streams { webhook_networks = "127.0.0.0/8" }\n'
LIVE = STREAMS + 'topic "stream*" { replication = "live", copies = 2 }\n'
ONE = "/v1/stream/__ds/subscriptions/"


class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent, and answers as `answers` says: a status, or the JSON of a 200."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.wakes.append(body)
        answer = self.server.answer(body)
        status = answer if isinstance(answer, int) else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:%d/elsewhere" % self.server.server_address[1])
        data = b"" if status != 200 else json.dumps(answer if isinstance(answer, dict) else {}).encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def hook(answer):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.wakes, server.answer = [], answer
    server.url = "http://127.0.0.1:%d/" % server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def subscribe(node, id, status=201, headers=(), **config):
    config.setdefault("type", "webhook" if "webhook" in config else "pull-wake")
    a = node.request("PUT", ONE + id, body=json.dumps(config).encode(), headers={**JSON, **dict(headers)})
    assert a.status == status, a
    return a


def stream(node, path, body=b"[1]", **kw):
    node.ok("PUT", "/v1/stream/" + path, body=body, headers=JSON, status=201, **kw)


def append(node, path, body=b"[2]"):
    node.ok("POST", "/v1/stream/" + path, body=body, headers=JSON, status=204)


def act(node, id, action, token=None, **body):
    headers = {**JSON, **(bearer(token) if token else {})}
    return node.request("POST", ONE + id + "/" + action, body=json.dumps(body).encode(), headers=headers)


def offsets(wake):
    return {s["path"]: s["tail_offset"] for s in wake["streams"]}


def acks(wake):
    return [{"stream": path, "offset": at} for path, at in offsets(wake).items()]


def refusal(a, status):
    assert a.status == status, a
    return a.json["error"]["code"]


# ------------------------------------------------------------------------------------------- failures

def other(c):
    """A node that runs and does not lead."""
    return [n for n in c.followers() if n.running()][0]


def test_a_wake_survives_failovers_and_is_told_again(cluster):
    """The webhook fails until its second leader; then that wake is told with the same generation, and acknowledged elsewhere."""
    c = cluster(config=LIVE)
    old = c.leader()
    with hook(lambda _: 500) as server:
        subscribe(c.followers()[0], "s", pattern="jobs/**", webhook={"url": server.url}, lease_ttl_ms=60000)
        for i in range(20):
            stream(c.nodes[i % 3], "jobs/%d/x" % i)
        wait_until(lambda: server.wakes, what="the webhook is called")
        first = server.wakes[0]
        old.kill()
        c.wait_leader(besides=[old])
        for i in range(20, 30):
            wait_until(lambda i=i: other(c).request("PUT", "/v1/stream/jobs/%d/x" % i, body=b"[1]",
                                                            headers=JSON).status in (200, 201), what="a stream is created")
        server.answer = lambda body: 200 if len(body["streams"]) == 30 else 500      # a request may be on its way
        wait_until(lambda: len(server.wakes[-1]["streams"]) == 30, what="it is called for all streams")
        wake = server.wakes[-1]
        assert (wake["wake_id"], wake["generation"]) == (first["wake_id"], first["generation"])
        a = act(other(c), "s", "callback", first["callback_token"], wake_id=wake["wake_id"], generation=wake["generation"],
                acks=acks(wake), done=True)
        assert (a.status, a.json) == (200, {"ok": True, "next_wake": False}), a
        old.start()
        c.wait_whole()
        c.leader().kill()
        c.wait_leader(besides=[n for n in c.nodes if not n.running()])
        found = other(c).ok("GET", ONE + "s").json
        assert {s["path"]: s["acked_offset"] for s in found["streams"]} == offsets(wake)
        a = act(other(c), "s", "callback", wake["callback_token"], wake_id=wake["wake_id"], generation=wake["generation"])
        assert refusal(a, 409) == "FENCED"
        append(other(c), "jobs/7/x")
        wait_until(lambda: server.wakes[-1]["generation"] == wake["generation"] + 1, what="the next message wakes")
        assert [s["path"] for s in server.wakes[-1]["streams"] if s["has_pending"]] == ["jobs/7/x"]


def test_a_restart_and_a_reload_keep_claims_and_acknowledgements(node):
    b = node(config=STREAMS, expect_exit=None)
    stream(b, "wake", b"[]")
    subscribe(b, "s", streams=["a", "b"], wake_stream="wake", lease_ttl_ms=60000)
    stream(b, "a")
    wait_until(lambda: b.ok("GET", "/v1/stream/wake").json, what="workers are woken")
    claim = act(b, "s", "claim", worker="w").json
    assert offsets(claim)["b"] == "0" * 16 + "_" + "0" * 16
    for again in (b.reload, b.restart):
        again()
        assert refusal(act(b, "s", "claim", worker="other"), 409) == "ALREADY_CLAIMED"
        append(b, "a")
        wake = dict(wake_id=claim["wake_id"], generation=claim["generation"])
        a = act(b, "s", "ack", claim["token"], acks=[{"stream": "a", "offset": offsets(claim)["a"]}], **wake)
        assert (a.status, a.json["ok"]) == (200, True)
    b.kill()
    b.start()
    assert [s["acked_offset"] for s in b.ok("GET", ONE + "s").json["streams"]] == [offsets(claim)["a"], "-1"]
    a = act(b, "s", "ack", claim["token"], acks=[], done=True, **wake)
    assert a.json == {"ok": True, "next_wake": True}, "two messages are left: %r" % a
    wait_until(lambda: b.ok("GET", "/v1/stream/wake").json[-1]["generation"] == claim["generation"] + 1,
               what="workers are woken again")


def test_all_that_is_known_is_written_again_before_retention_removes_it(node):
    """The topic keeps its last 200,000 messages; each POST writes 10,000."""
    b = node(config=STREAMS)
    paths = ["many/%d" % i for i in range(10000)]
    key = b.ok("GET", "/v1/stream/__ds/jwks.json").body
    stream(b, "wake", b"[]")
    subscribe(b, "kept", streams=["a"], wake_stream="wake")
    subscribe(b, "s", streams=paths, wake_stream="wake")
    a = b.request("POST", ONE + "s/streams", body=b'{"streams":["one more"]}', headers=JSON)
    assert refusal(a, 409) == "TOO_MANY"
    folder, files = os.path.join(b.data, "topics", "_streams"), set()
    for _ in range(32):
        files |= set(os.listdir(folder) if os.path.isdir(folder) else [])
        b.ok("POST", ONE + "s/streams", body=json.dumps({"streams": paths}).encode(), headers=JSON, status=204, timeout=20)
    first = "%020d" % 0
    wait_until(lambda: not [f for f in os.listdir(folder) if f.startswith(first) and f.endswith(".log")],
               what="the first file is removed")
    assert [f for f in files if f.startswith(first)]
    b.restart()
    assert b.ok("GET", "/v1/stream/__ds/jwks.json").body == key
    assert [s["path"] for s in b.ok("GET", ONE + "kept").json["streams"]] == ["a"]
    assert [s["path"] for s in b.ok("GET", ONE + "s").json["streams"]] == sorted(paths)


def test_a_lease_that_ends_wakes_another_worker_and_fences_the_first(node):
    b = node(config=STREAMS)
    stream(b, "wake", b"[]")
    subscribe(b, "s", streams=["a"], wake_stream="wake", lease_ttl_ms=3000)
    assert refusal(act(b, "s", "claim", worker="early"), 409) == "NO_PENDING_WORK"
    stream(b, "a")
    first = act(b, "s", "claim", worker="first").json
    assert refusal(act(b, "s", "claim", worker="second"), 409) == "ALREADY_CLAIMED"
    wait_until(lambda: act(b, "s", "claim", worker="second").status == 200, what="the lease ends")
    a = act(b, "s", "ack", first["token"], wake_id=first["wake_id"], generation=first["generation"], acks=acks(first), done=True)
    assert refusal(a, 409) == "FENCED"
    assert b.ok("GET", ONE + "s").json["streams"][0]["acked_offset"] == "-1"


def test_what_cannot_be_acknowledged_is_refused_as_a_whole(node):
    b = node(config=STREAMS)
    stream(b, "wake", b"[]")
    subscribe(b, "s", streams=["a", "b"], wake_stream="wake")
    stream(b, "a", b"[1,2]")
    stream(b, "b")
    claim = act(b, "s", "claim", worker="w").json
    tail = offsets(claim)
    wake = dict(wake_id=claim["wake_id"], generation=claim["generation"])
    beyond = tail["a"][:-1] + "9"
    for wrong in ({"stream": "b", "offset": beyond}, {"stream": "c", "offset": tail["b"]}, {"stream": "b", "offset": "-1"},
                  {"stream": "b"}, {"offset": tail["b"]}, {"stream": "b", "offset": "1_1"}):
        a = act(b, "s", "ack", claim["token"], acks=[{"stream": "a", "offset": tail["a"]}, wrong], **wake)
        assert refusal(a, 409) == "INVALID_OFFSET", wrong
    assert [s["acked_offset"] for s in b.ok("GET", ONE + "s").json["streams"]] == ["-1", "-1"]
    for token, code in ((None, "TOKEN_INVALID"), ("1.x.y", "TOKEN_INVALID"), (claim["token"][:-2] + "xx", "TOKEN_INVALID")):
        assert refusal(act(b, "s", "ack", token, acks=[], **wake), 401) == code
    assert refusal(act(b, "s", "callback", claim["token"], acks=[], **wake), 400) == "INVALID_REQUEST"
    b.ok("DELETE", ONE + "s", status=204)
    subscribe(b, "s", streams=["a"], wake_stream="wake")
    assert refusal(act(b, "s", "ack", claim["token"], acks=[], **wake), 401) == "TOKEN_INVALID"      # of the one before


def test_a_deleted_stream_leaves_its_subscriptions_and_comes_back_as_a_new_one(node):
    b = node(config=STREAMS)
    stream(b, "wake", b"[]")
    stream(b, "e/old")
    subscribe(b, "s", pattern="e/*", wake_stream="wake")
    assert [s["path"] for s in b.ok("GET", ONE + "s").json["streams"]] == ["e/old"]
    stream(b, "e/a", b"[1,2,3]")
    stream(b, "e/a/b")
    stream(b, "other")
    claim = act(b, "s", "claim", worker="w").json
    assert {s["path"]: s["has_pending"] for s in claim["streams"]} == {"e/old": False, "e/a": True}
    act(b, "s", "ack", claim["token"], wake_id=claim["wake_id"], generation=claim["generation"], acks=acks(claim), done=True)
    b.ok("DELETE", "/v1/stream/e/a", status=204)
    assert [s["path"] for s in b.ok("GET", ONE + "s").json["streams"]] == ["e/old"]
    stream(b, "e/a")
    claim = act(b, "s", "claim", worker="w").json
    assert {s["path"]: s["has_pending"] for s in claim["streams"]} == {"e/old": False, "e/a": True}


# ------------------------------------------------------------------------------------------- who may

def test_no_client_reads_or_forges_subscriptions(node):
    b = node(config=STREAMS)
    stream(b, "wake", b"[]")
    subscribe(b, "s", streams=["a"], wake_stream="wake")
    secret = add(b, "all", "*,_*")
    for headers in ({}, bearer(secret)):
        for method, path, body in (("GET", "/v1/topics/_streams/messages", None), ("GET", "/v1/topics/_streams", None),
                                   ("POST", "/v1/topics/_streams/messages", b"x"),
                                   ("DELETE", "/v1/topics/_streams", None), ("PUT", "/v1/topics/_streams/groups/g", b"{}"),
                                   ("PATCH", "/v1/topics/_streams", b'{"copies":2}'),
                                   ("GET", "/api/topics/_streams/messages/0", None)):
            a = b.request(method, path, body=body, headers={**JSON, **headers} if body and body[:1] == b"{" else headers)
            assert a.status in (401, 403, 404, 405) and b"Ed25519" not in a.body and b'"d"' not in a.body, (method, path, a)
    for code in ('topic("_streams"):read { from = 0 }', 'topics("_streams")[1]:read { from = 0 }',
                 'topic("_streams"):append("x")', 'topic("_streams"):trim(1)'):
        assert "holds secrets" in b.evaluate(code).out, code


def test_the_private_key_is_in_no_answer(node):
    b = node(config=STREAMS)
    with hook(lambda _: 200) as server:
        a = subscribe(b, "s", pattern="e/*", webhook={"url": server.url})
        keys = b.ok("GET", "/v1/stream/__ds/jwks.json")
        assert set(keys.json["keys"][0]) == {"kty", "crv", "x", "kid", "use", "alg"}
        assert a.json["webhook"]["signing"]["kid"] == keys.json["keys"][0]["kid"]
        b.restart()
        assert b.ok("GET", "/v1/stream/__ds/jwks.json").body == keys.body


def test_access_tokens_decide_who_subscribes_to_what(node):
    b = node(config=STREAMS)
    root = bearer(add(b, "root", "*", "publish read consume admin observe"))
    b.ok("PUT", "/v1/stream/wake", body=b"[]", headers={**JSON, **root}, status=201)
    few = bearer(add(b, "few", "stream.jobs.*,stream.__ds.*", "publish read consume admin"))
    narrow = bearer(add(b, "narrow", "stream.jobs.?,stream.wake,stream.__ds.*", "publish read consume admin"))
    only = bearer(add(b, "only", "stream.jobs.*,stream.wake", "publish read consume admin"))
    worker = bearer(add(b, "worker", "stream.__ds.subscriptions.s", "consume"))
    both = bearer(add(b, "both", "stream.jobs.*,stream.wake,stream.__ds.*", "publish read consume admin"))
    for who, config, status in (({}, {"pattern": "jobs/*"}, 401), (few, {"pattern": "jobs/*"}, 403), (only, {"pattern": "jobs/*"}, 403),
                                (narrow, {"pattern": "jobs/*"}, 403), (both, {"pattern": "*"}, 403), (both, {"streams": ["x"]}, 403),
                                (worker, {"pattern": "jobs/*"}, 403), (both, {"pattern": "jobs/*"}, 201)):
        subscribe(b, "s", status=status, headers=who, wake_stream="wake", **config)
    b.ok("PUT", "/v1/stream/jobs/a", body=b"[1]", headers={**JSON, **both}, status=201)
    a = b.request("POST", ONE + "s/claim", body=b'{"worker":"w"}', headers={**JSON, **worker})
    assert a.status == 200, a
    claim = a.json
    assert_status(b.request("POST", ONE + "s/claim", body=b'{"worker":"w"}', headers=JSON), 401, "unauthorized")
    assert_status(b.request("DELETE", ONE + "s", headers=worker), 403, "forbidden")
    a = act(b, "s", "ack", claim["token"], wake_id=claim["wake_id"], generation=claim["generation"], acks=acks(claim), done=True)
    assert a.json == {"ok": True, "next_wake": False}, "the token of the wake is enough: %r" % a
    assert refusal(act(b, "s", "ack", "guess", wake_id="x", generation=1), 401) == "TOKEN_INVALID"
    with Connection(b.port) as c:                 # the head is judged before its body arrives
        c.send(request_bytes("POST", ONE + "s/ack", b"?", {**JSON, **bearer(claim["token"]), "Expect": "100-continue"})[:-1])
        c.more()
        c.send(b"?")
        assert refusal(c.answer(), 400) == "INVALID_REQUEST", "the token of the wake is enough for the head"
    b.ok("GET", "/v1/stream/__ds/jwks.json")      # whoever is sent a webhook may check its signature


# ------------------------------------------------------------------------------------------- where webhooks lead

def test_workers_are_woken_by_a_stream_and_nothing_else(node):
    b = node(config=STREAMS)
    for name in ("__ds/x", "/", "__ds"):
        assert refusal(subscribe(b, "s", status=400, streams=["a"], wake_stream=name), 400) == "INVALID_REQUEST", name


def test_webhooks_lead_to_the_internet_only_unless_lignum_lua_says_more(node):
    b = node(config="durable_streams {}")
    for url in ("http://127.0.0.1/", "https://127.0.0.1/", "https://localhost/", "https://10.0.0.1/", "https://[::1]/", "https://0x7f.1/",
                "https://[::ffff:169.254.169.254]/", "https://169.254.169.254/", "http://example.org/", "ftp://1.1.1.1/", "nonsense",
                "https://user:pass@1.1.1.1/"):
        a = subscribe(b, "s", status=400, pattern="e/*", webhook={"url": url})
        assert a.json["error"]["code"] == "WEBHOOK_URL_REJECTED", (url, a)
    subscribe(b, "s", pattern="e/*", webhook={"url": "https://1.1.1.1/"})
    assert refusal(b.request("GET", ONE + "t"), 404) == "SUBSCRIPTION_NOT_FOUND"


def test_a_redirect_is_a_failure_and_not_followed(node):
    b = node(config=STREAMS)
    with hook(lambda _: 302) as server:
        subscribe(b, "s", streams=["a"], webhook={"url": server.url})
        stream(b, "a")
        wait_until(lambda: len(server.wakes) >= 2, what="it is told again")
        assert b.ok("GET", ONE + "s").json["status"] == "failed"
        assert len({(w["wake_id"], w["generation"]) for w in server.wakes}) == 1
    b.reload()
    assert "it answers 302" in b.said()


def test_a_subscription_whose_network_is_not_allowed_any_more_is_told_nothing(node):
    b = node(config=STREAMS)
    with hook(lambda _: 200) as server:
        subscribe(b, "s", streams=["a"], webhook={"url": server.url})
        b.write_config('durable_streams { webhook_networks = "127.1.0.0/16" }')
        b.reload()
        stream(b, "a")
        wait_until(lambda: "127.0.0.1 is not in a network that may be reached" in b.said(), what="the delivery is refused")
        hold_for(0.3, "in which nothing is sent")
        assert server.wakes == []


def test_bad_subscriptions_are_refused_with_the_reason(node):
    b = node(config=STREAMS)
    good = {"type": "pull-wake", "streams": ["a"], "wake_stream": "wake"}
    for change, word in (({"type": "x"}, "type"), ({"streams": []}, "pattern or streams"), ({"streams": [1]}, "streams"),
                         ({"streams": ["__ds/x"]}, "streams"), ({"lease_ttl_ms": 999}, "lease_ttl_ms"), ({"lease_ttl_ms": 1.5}, "lease_ttl_ms"),
                         ({"lease_ttl_ms": 600001}, "lease_ttl_ms"), ({"wake_stream": None}, "wake_stream"), ({"wake_stream": "a"}, "own streams"),
                         ({"pattern": "wak*"}, "own streams"), ({"pattern": "*/" * 9}, "at most 8"), ({"pattern": 5}, "pattern"),
                         ({"type": "webhook"}, "webhook.url"), ({"description": 5}, "description")):
        a = b.request("PUT", ONE + "s", body=json.dumps({**good, **change}).encode(), headers=JSON)
        assert (refusal(a, 400), word in a.json["error"]["message"]) == ("INVALID_REQUEST", True), (change, a)
    for body in (b"[]", b"nonsense", b'"x"'):
        assert refusal(b.request("PUT", ONE + "s", body=body, headers=JSON), 400) == "INVALID_REQUEST"
    assert refusal(b.request("PUT", ONE + "a%20b", body=json.dumps(good).encode(), headers=JSON), 400) == "INVALID_REQUEST"
    for method in ("PUT", "POST", "GET", "DELETE"):
        body = b"[1]" if method in ("PUT", "POST") else None
        assert b.request(method, "/v1/stream/__ds/x", body=body, headers=JSON).status == 404, method
