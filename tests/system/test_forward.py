"""A write that reaches a follower: what goes to the leader, what comes back, and what is never sent twice.

The follower is real; its leader is a stand-in that does what each test needs. There is no Consul: the follower waits for
one, and follows whom the console tells it to.
"""

import json
import socket
import threading
import time
import types
import unittest

from lignum import PATIENCE, Test, in_threads, request_bytes, wait_until

INCARNATION = "0123456789abcdef" * 2


def refusal(code, status=503, **more):
    body = json.dumps(dict({"code": code, "status": status, "detail": "", "retryable": True}, **more)).encode()
    return answer(status, body, "application/problem+json")


def answer(status, body=b"", kind="application/json", headers=()):
    lines = ["HTTP/1.1 %d X" % status, "Content-Length: %d" % len(body), "Content-Type: " + kind, *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Leader:
    """Answers each request with what `plan` has next (the last for ever): bytes to send, None to close without a word, or
    a function to call before closing. Connections are kept as long as answers are sent."""

    def __init__(self, *plan):
        self.plan, self.requests = list(plan), []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                c, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        with c:
            c.settimeout(PATIENCE)
            while self.take(c):
                step = self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]
                if callable(step):
                    step()
                if not isinstance(step, bytes):
                    return
                c.sendall(step)

    def take(self, c):
        data = b""
        while b"\r\n\r\n" not in data:
            more = c.recv(65536)
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        headers = {}
        for line in head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        while len(body) < int(headers.get("content-length", 0)):
            body += c.recv(65536)
        method, target, _ = head.decode("latin-1").split("\r\n")[0].split(" ")
        self.requests.append((method, target, headers, body))
        return True

    def close(self):
        self.listening.close()


class Forward(Test):
    def follower(self, config=""):
        b = self.broker(config=config, set=["cluster.consul.address=127.0.0.1:1", "cluster.replication.listen=127.0.0.1:0"])
        self.assertEqual(b.ok("GET", "/v1/cluster").json["role"], "follower")
        return b

    def follow(self, b, leader, epoch=1):
        ran = b.lignum("console", b.console, "-e", 'require("lignum.core").cluster.follow { member = "n%d:%s", http = '
                       '"127.0.0.1:%d", replication = "127.0.0.1:1", epoch = %d }' % (
                           epoch, INCARNATION, leader.port, epoch))
        self.assertEqual(ran.code, 0, ran)

    def pair(self, *plan, **kw):
        b, leader = self.follower(**kw), Leader(*plan)
        self.addCleanup(leader.close)
        self.follow(b, leader)
        return b, leader

    def test_what_matters_goes_on_byte_for_byte_and_the_answer_comes_back_as_it_is(self):
        body = bytes(range(256)) * 300
        b, leader = self.pair(answer(200, b'{"first":7}', headers=["Lignum-Epoch: 3"]))
        a = b.request("POST", "/v1/topics/t/messages?a=%2Fb&c", body, {
            "Content-Type": "application/x-thing", "Authorization": "Bearer x", "Lignum-Key": "k", "Lignum-Header-A": "1",
            "Producer-Id": "p", "Lignum-Ack": "peers", "Cookie": "c=1", "X-Api-Key": "secret", "TE": "trailers",
            "Connection": "keep-alive", "Keep-Alive": "timeout=5"})
        self.assertEqual((a.status, a.body), (200, b'{"first":7}'))
        self.assertEqual((a.header("lignum-epoch"), a.header("content-type")), ("3", "application/json"))
        method, target, headers, sent = leader.requests[0]
        self.assertEqual((method, target, sent == body), ("POST", "/v1/topics/t/messages?a=%2Fb&c", True))
        for name, value in {"content-type": "application/x-thing", "authorization": "Bearer x", "lignum-key": "k",
                            "lignum-header-a": "1", "producer-id": "p", "lignum-ack": "peers", "cookie": "c=1",
                            "x-api-key": "secret"}.items():
            self.assertEqual(headers.get(name), value, headers)
        self.assertIn("lignum-forwarded", headers)
        self.assertEqual(headers["host"], "127.0.0.1:%d" % leader.port)
        self.assertFalse({"te", "connection", "keep-alive", "expect"} & set(headers), headers)

    def test_all_writes_go_on_and_no_read(self):
        b, leader = self.pair(answer(200, b"{}"))
        for method, target, body in [("POST", "/api/message", b'{"topic":"t","message":"m"}'),
                                     ("POST", "/api/topics", b'{"name":"t"}'), ("PUT", "/v1/topics/t", b"{}"),
                                     ("PATCH", "/v1/topics/t", b'{"copies":1}'), ("DELETE", "/v1/topics/t", None)]:
            self.assertEqual(b.request(method, target, body).status, 200)
            self.assertEqual(leader.requests[-1][:2], (method, target))
            self.assertEqual(leader.requests[-1][3], body or b"")
        count = len(leader.requests)
        for target in ["/v1/topics", "/api/topics", "/v1/cluster", "/metrics"]:
            self.assertEqual(b.get(target).status, 200)
        self.assertEqual(len(leader.requests), count)

    def test_a_refusal_of_the_leader_is_the_answer(self):
        b, leader = self.pair(refusal("no_space", 507, appended=False))
        a = b.post("/v1/topics/t/messages", b"x")
        self.assertStatus(a, 507, "no_space")
        self.assertEqual(len(leader.requests), 1)

    def test_a_connection_that_breaks_is_unknown_and_never_sent_again(self):
        for plan in [(None,), (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",), (b"garbage\r\n\r\n",)]:
            with self.subTest(plan=plan):
                b, leader = self.pair(*plan)
                a = b.post("/v1/topics/t/messages", b"x")
                self.assertStatus(a, 504, "unknown_outcome")
                self.assertNotIn("appended", a.json)
                self.assertEqual(len(leader.requests), 1)

    def test_a_kept_connection_that_breaks_is_no_reason_to_send_it_twice(self):
        b, leader = self.pair(answer(200, b"{}"), None)
        self.assertEqual(b.post("/v1/topics/t/messages", b"x").status, 200)
        self.assertStatus(b.post("/v1/topics/t/messages", b"y"), 504, "unknown_outcome")
        self.assertEqual([r[3] for r in leader.requests], [b"x", b"y"])

    def test_one_that_was_not_accepted_is_sent_again_to_whoever_leads_then(self):
        b, first = self.pair(refusal("not_leader", appended=False))
        second = Leader(answer(200, b'{"first":0}'))
        self.addCleanup(second.close)

        def elect():
            wait_until(lambda: len(first.requests) >= 2, what="it is tried again")
            self.follow(b, second, epoch=2)

        def publish():
            a = b.post("/v1/topics/t/messages", b"x")
            self.assertEqual((a.status, a.body), (200, b'{"first":0}'), a)
        in_threads(elect, publish)
        self.assertEqual(len(second.requests), 1)

    def test_one_that_waits_ends_as_unknown_when_another_leads(self):
        ended = threading.Event()
        self.addCleanup(ended.set)
        b, first = self.pair(lambda: ended.wait(PATIENCE))
        second = Leader(answer(200, b'{"first":0}'))
        self.addCleanup(second.close)
        began = time.monotonic()

        def elect():
            wait_until(lambda: first.requests, what="it is on its way")
            self.follow(b, first)                              # the same again is no news
            self.follow(b, second, epoch=2)

        def publish():
            a = b.post("/v1/topics/t/messages", b"x")
            self.assertStatus(a, 504, "unknown_outcome")
            self.assertNotIn("appended", a.json)
            self.assertEqual(b.post("/v1/topics/t/messages", b"y").status, 200)
        in_threads(elect, publish)
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(([r[3] for r in first.requests], [r[3] for r in second.requests]), ([b"x"], [b"y"]))

    def test_one_that_no_connection_was_made_for_goes_to_whoever_leads_then(self):
        deaf = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.addCleanup(deaf.close)
        address = deaf.getsockname()
        for _ in range(4):                                     # more than it takes: further ones get no answer at all
            s = socket.socket()
            self.addCleanup(s.close)
            s.setblocking(False)
            s.connect_ex(address)
        second = Leader(answer(200, b'{"first":0}'))
        self.addCleanup(second.close)
        b = self.follower()
        self.follow(b, types.SimpleNamespace(port=address[1]))
        until = time.monotonic() + 2.5                         # longer than a forward waits for a leader

        def elect():
            wait_until(lambda: time.monotonic() > until)
            self.follow(b, second, epoch=2)
        in_threads(elect, lambda: self.assertEqual(b.post("/v1/topics/t/messages", b"x").status, 200))

    def test_a_refusal_that_may_have_been_appended_is_not_sent_again(self):
        b, leader = self.pair(refusal("stopping", appended=True))
        self.assertEqual(b.post("/v1/topics/t/messages", b"x").status, 503)
        self.assertEqual(len(leader.requests), 1)

    def test_nobody_there_is_a_definite_refusal_after_a_while(self):
        b, leader = self.pair(None)
        leader.close()
        wait_until(lambda: self.refused(leader.port), what="nobody listens")
        began = time.monotonic()
        a = b.post("/v1/topics/t/messages", b"x")
        self.assertStatus(a, 503, "no_leader")
        self.assertEqual((a.json["appended"], a.header("retry-after")), (False, "1"))
        self.assertTrue(1 < time.monotonic() - began < 5)

    @staticmethod
    def refused(port):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            return True
        return False

    def test_it_waits_for_a_leader_to_appear(self):
        b, leader = self.follower(), Leader(answer(200, b"{}"))
        self.addCleanup(leader.close)

        def appear():
            wait_until(lambda: any(v > 1 for n, v in b.metrics().items()
                                   if n.startswith("lignum_http_requests_in_flight")), what="the publish waits")
            self.follow(b, leader)
        in_threads(appear, lambda: self.assertEqual(b.post("/v1/topics/t/messages", b"x").status, 200))

    def test_forward_never_is_307_and_a_forwarded_one_goes_no_further(self):
        b, leader = self.pair(answer(200, b"{}"))
        a = b.request("POST", "/v1/topics/t/messages?x=1", b"x", {"Lignum-Forward": "never"})
        self.assertEqual((a.status, a.header("location")),
                         (307, "http://127.0.0.1:%d/v1/topics/t/messages?x=1" % leader.port))
        a = b.request("POST", "/v1/topics/t/messages", b"x", {"Lignum-Forwarded": "n1"})
        self.assertStatus(a, 503, "not_leader")
        self.assertEqual(leader.requests, [])

    def test_authorize_is_asked_before_anything_goes_on(self):
        b, leader = self.pair(answer(200, b"{}"),
                              config='function authorize(req) return req:header("authorization") == "yes" or '
                                     'req.path == "/v1/cluster" end')
        self.assertEqual(b.post("/v1/topics/t/messages", b"x").status, 401)
        self.assertEqual(b.request("POST", "/v1/topics/t/messages", b"x", {"Authorization": "yes"}).status, 200)
        self.assertEqual(len(leader.requests), 1)

    def test_many_at_once_do_not_wait_for_each_other(self):
        b, leader = self.pair(lambda: time.sleep(0.5))     # the stand-in is slow, on purpose
        began = time.monotonic()
        in_threads(*[lambda: self.assertEqual(b.post("/v1/topics/t/messages", b"x").status, 504)] * 20)
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(len(leader.requests), 20)

    def test_forwards_that_hang_do_not_keep_the_broker_from_asking_consul(self):
        ended = threading.Event()
        self.addCleanup(ended.set)
        b, leader = self.pair(lambda: ended.wait(PATIENCE))
        held = []
        try:
            for _ in range(256):
                held.append(b.connect())
                held[-1].send(request_bytes("POST", "/v1/topics/t/messages", b"x"))
            wait_until(lambda: len(leader.requests) >= 224, what="as many are on their way as may be")
            a = b.post("/v1/topics/t/messages", b"x")
            self.assertStatus(a, 503, "busy")
            self.assertIs(a.json["appended"], False)
            ran = b.lignum("console", b.console, "-e", 'fetch { url = "http://127.0.0.1:%d/ping" }.body' % b.port)
            self.assertEqual((ran.code, ran.out.strip()), (0, '"PONG"'), ran)
        finally:
            for c in held:
                c.close()

    def test_a_client_that_has_gone_does_not_disturb(self):
        b, leader = self.pair(lambda: time.sleep(0.2), answer(200, b"{}"))
        with b.connect() as c:
            c.send(request_bytes("POST", "/v1/topics/t/messages", b"x"))
            wait_until(lambda: leader.requests, what="it has gone on")
        self.assertEqual(b.post("/v1/topics/t/messages", b"y").status, 200)


if __name__ == "__main__":
    unittest.main()
