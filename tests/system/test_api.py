"""/api: what Lignum has always spoken (doc/http.md), and the defects it no longer has."""

import json
import unittest

from lignum import Test, in_threads


class Api(Test):
    @classmethod
    def setUpClass(cls):
        cls.b = cls.share(set=["store.segment.messages=10"])

    def send(self, topic, message):
        return self.b.post("/api/message", json.dumps({"topic": topic, "message": message}))

    def ask(self, **body):
        return self.b.request("GET", "/api/message", json.dumps(body))

    def test_ping_answers_pong(self):
        a = self.b.get("/ping")
        self.assertStatus(a, 200)
        self.assertEqual(a.body, b"PONG")

    def test_api_publish_answers_with_status_data_and_place(self):
        a = self.send("api-place", "this is a test message")
        self.assertStatus(a, 200)
        self.assertEqual(a.header("content-type"), "application/json")
        body = a.json
        self.assertEqual(body["status"], "message commited")
        self.assertEqual(body["data"], "this is a test message")
        self.assertEqual(body["offset"], 0)
        self.assertEqual(body["durability"], "commit")
        self.assertEqual(body["committed"], "disk")
        self.assertGreaterEqual(body["epoch"], 1)
        self.assertEqual(self.send("api-place", "second").json["offset"], 1)

    def test_api_publish_answers_valid_json_whatever_the_message(self):
        nasty = ['a "quote"', "back\\slash", "line\nbreak", "tab\t", "\u0000", "\u2028", "\U0001f600", "", "</script>",
                 "\x7f\x80", "a|#|b", '"}', "%s%n", "é", "{\"json\": true}"]
        for i, text in enumerate(nasty):
            body = self.send("api-nasty", text).json
            self.assertEqual((body["data"], body["offset"]), (text, i))
        body = self.ask(topic="api-nasty", **{"from": 0, "to": len(nasty)}).json
        self.assertEqual([m["Data"] for m in body["messages"]], nasty)

    def test_api_read_gives_the_half_open_range(self):
        for i in range(5):
            self.send("api-range", "m%d" % i)
        body = self.ask(topic="api-range", **{"from": 0, "to": 3}).json
        self.assertEqual(body, {"messages": [{"Id": i, "Data": "m%d" % i} for i in range(3)], "count": 3})
        self.assertEqual(self.ask(topic="api-range", **{"from": 3, "to": 100}).json["count"], 2)
        self.assertEqual(self.ask(topic="api-range", **{"from": 5, "to": 9}).json, {"messages": [], "count": 0})
        self.assertEqual(self.ask(topic="api-range", **{"from": 99, "to": 100}).json, {"messages": [], "count": 0})

    def test_api_read_takes_query_parameters_too(self):
        self.send("api-query", "x")
        a = self.b.get("/api/message?topic=api-query&from=0&to=3")
        self.assertStatus(a, 200)
        self.assertEqual(a.json, {"messages": [{"Id": 0, "Data": "x"}], "count": 1})

    def test_api_ranges_at_multiples_of_the_segment_are_whole(self):
        # The old implementation lost blocks exactly there; segments hold 10 messages here.
        for i in range(30):
            self.assertEqual(self.send("api-multiples", "m%d" % i).status, 200)
        for begin in range(0, 31):
            for end in range(begin + 1, 33):
                body = self.ask(topic="api-multiples", **{"from": begin, "to": end}).json
                want = [{"Id": i, "Data": "m%d" % i} for i in range(begin, min(end, 30))]
                self.assertEqual(body, {"messages": want, "count": len(want)}, (begin, end))

    def test_api_messages_with_newline_or_old_separator_stay_one_message(self):
        texts = ["a\nb", "a|#|b", "\n", "|#|", "1|#|forged\n2|#|forged", "a\r\nb"]
        for t in texts:
            self.assertStatus(self.send("api-separator", t), 200)
        body = self.ask(topic="api-separator", **{"from": 0, "to": 100}).json
        self.assertEqual([m["Data"] for m in body["messages"]], texts)

    def test_api_topics_lists_names_and_counts(self):
        for i in range(3):
            self.send("api-listed", "x")
        listed = {t["name"]: t["message_count"] for t in self.b.ok("GET", "/api/topics").json}
        self.assertEqual(listed["api-listed"], 3)
        self.assertFalse([n for n in listed if n.startswith("_")], "the broker's own topics are not listed")

    def test_api_topics_creates_once(self):
        a = self.b.post("/api/topics", '{"name": "api-created"}')
        self.assertStatus(a, 201)
        self.assertIn({"name": "api-created", "message_count": 0}, self.b.ok("GET", "/api/topics").json)
        self.assertStatus(self.b.post("/api/topics", '{"name": "api-created"}'), 409, "topic_exists")
        a = self.b.post("/api/topics", '{"name": "api-live", "replication": "live", "copies": 1}')
        self.assertStatus(a, 201)
        self.assertEqual(self.b.topic("api-live")["replication"], "live")

    def test_api_refuses_with_the_name_of_the_field(self):
        bad_posts = [
            ('{"message": "x"}', "topic"), ('{"topic": "", "message": "x"}', "topic"), ('{"topic": "t"}', "message"),
            ('{"topic": 5, "message": "x"}', "topic"), ('{"topic": "t", "message": 5}', "message"),
            ('{"topic": "t", "message": null}', "message"), ('{"topic": "t", "message": {"a": 1}}', "message"),
            ('{"topic": "t", "message": "x", "mesage": "y"}', "mesage"), ('{"topic": null, "message": "x"}', "topic"),
        ]
        for body, field in bad_posts:
            with self.subTest(body=body):
                a = self.b.post("/api/message", body)
                self.assertStatus(a, 400)
                self.assertIn(field, a.json["detail"])
                self.assertIs(a.json.get("appended"), False)
        self.send("api-fields", "x")
        bad_reads = [
            ({"from": 0, "to": 1}, "topic"), ({"topic": "", "from": 0, "to": 1}, "topic"),
            ({"topic": "api-fields", "from": 0}, "to"), ({"topic": "api-fields", "from": None, "to": 1}, "from"),
            ({"topic": "api-fields", "from": 1, "to": 1}, "from"), ({"topic": "api-fields", "from": 2, "to": 1}, "from"),
            ({"topic": "api-fields", "from": -1, "to": 1}, "from"), ({"topic": "api-fields", "from": 0, "to": -1}, "to"),
            ({"topic": "api-fields", "from": 0.5, "to": 1}, "from"), ({"topic": "api-fields", "from": 0, "to": 1.5}, "to"),
            ({"topic": "api-fields", "from": "0", "to": 1}, "from"), ({"topic": "api-fields", "from": 0, "to": True}, "to"),
            ({"topic": "api-fields", "from": 0, "to": 1, "limit": 1}, "limit"),
            ({"topic": "api-absent", "from": 0, "to": 1}, "topic"),
        ]
        for body, field in bad_reads:
            with self.subTest(body=body):
                a = self.ask(**body)
                self.assertStatus(a, 400)
                self.assertIn(field, a.json["detail"])

    def test_api_refuses_what_is_not_json(self):
        for body in ["", "{", "nonsense", "[]", '"text"', "null", "7", '{"topic": "t", "message": "x"} trailing',
                     "{'topic': 't'}", '{"topic": "t", "message": "\x01"}', '{"topic": NaN}', '{"topic": 0x10}',
                     '{"topic": "t", "message": "x",}', "[" * 5000 + "]" * 5000]:
            with self.subTest(body=body[:40]):
                a = self.b.post("/api/message", body)
                self.assertStatus(a, 400)
                self.assertIs(a.json.get("appended"), False)
        a = self.b.post("/api/message", b'{"topic": "t", "message": "\xff\xfe"}')
        self.assertStatus(a, 400)
        self.assertStatus(self.b.request("GET", "/api/message", "{"), 400)
        self.assertStatus(self.b.get("/api/message"), 400)
        self.assertStatus(self.b.get("/api/message?topic=t&from=x&to=1"), 400)
        self.assertStatus(self.b.get("/api/message?topic=t&from=1e3&to=2000"), 400)
        self.assertStatus(self.b.get("/api/message?topic=t&from=0x1&to=2000"), 400)
        self.assertStatus(self.b.get("/api/message?topic=t&from=99999999999999999999&to=2"), 400)

    def test_topic_names_are_taken_or_refused_but_never_break_a_connection(self):
        # '-', '.' and a space dropped the connection of the old implementation.
        with self.b.connect() as c:
            for name in ["a-b", "a.b", "A_b.c-9", "x" * 128, "a..b", "0"]:
                a = c.request("POST", "/api/message", json.dumps({"topic": name, "message": "x"}))
                self.assertStatus(a, 200)
                a = c.request("GET", "/api/message", json.dumps({"topic": name, "from": 0, "to": 1}))
                self.assertEqual(a.json["count"], 1, name)
            for name in ["a b", "", ".", "..", ".hidden", "-dash", "_own", "a/b", "../x", "a\\b", "a\u0000b", "é",
                         "x" * 129, "a\nb", "%2e%2e", "a*", "a?b", "a:b", " ", "a\t"]:
                a = c.request("POST", "/api/message", json.dumps({"topic": name, "message": "x"}))
                self.assertStatus(a, 403 if name.startswith("_") else 400)
                self.assertIs(a.json["appended"], False)

    def test_creating_300_topics_at_once_works(self):
        # That ended the old process.
        failures = []

        def publisher(k):
            with self.b.connect() as c:
                for i in range(k, 300, 30):
                    a = c.request("POST", "/api/message", json.dumps({"topic": "many-%d" % i, "message": str(i)}))
                    if a.status != 200 or a.json["offset"] != 0:
                        failures.append(a)
        in_threads(*[lambda k=k: publisher(k) for k in range(30)])
        self.assertEqual(failures, [])
        listed = {t["name"]: t["message_count"] for t in self.b.ok("GET", "/api/topics").json}
        self.assertEqual([listed.get("many-%d" % i) for i in range(300)], [1] * 300)

    def test_one_topic_created_by_many_at_once_has_every_message_once(self):
        offsets = []

        def publisher(k):
            a = self.send("race", "m%d" % k)
            offsets.append((a.json["offset"], "m%d" % k))
        in_threads(*[lambda k=k: publisher(k) for k in range(40)])
        body = self.ask(topic="race", **{"from": 0, "to": 100}).json
        self.assertEqual([(m["Id"], m["Data"]) for m in body["messages"]], sorted(offsets))
        self.assertEqual(body["count"], 40)

    def test_other_methods_are_405_with_allow(self):
        for target, allowed in [("/ping", {"GET"}), ("/api/message", {"GET", "POST"}), ("/api/topics", {"GET", "POST"}),
                                ("/metrics", {"GET"}), ("/healthz", {"GET"})]:
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "PURGE"]:
                if method in allowed:
                    continue
                with self.subTest(target=target, method=method):
                    a = self.b.request(method, target, b"" if method != "GET" else None)
                    self.assertStatus(a, 405, "method_not_allowed")
                    allow = {m.strip() for m in (a.header("allow") or "").split(",")}
                    self.assertLessEqual(allowed, allow, a)
                    self.assertLessEqual(allow, allowed | {"HEAD", "OPTIONS"}, a)

    def test_unknown_paths_are_404_and_echo_nothing(self):
        for target in ["/", "/nothing", "/api", "/api/", "/api/messages", "/ping/", "/v2/topics", "/%3Cscript%3E",
                       "/v1/topics/t/nothing", "//ping", "/api/message/"]:
            with self.subTest(target=target):
                a = self.b.get(target)
                self.assertStatus(a, 404)
                self.assertNotIn(b"<script>", a.body)

    def test_errors_never_echo_input_unescaped(self):
        evil = '"><script>\u0001</script>"'
        for a in [self.b.post("/api/message", json.dumps({"topic": evil, "message": "x"})),
                  self.b.post("/api/message", json.dumps({evil: "x"})),
                  self.b.get("/v1/topics/%22%3E%3Cscript%3E"),
                  self.b.get("/v1/topics/t/messages?%22%3E=1")]:
            self.assertIn(a.status, (400, 404))
            self.assertIsInstance(a.json["detail"], str)
            self.assertEqual(a.header("content-type"), "application/problem+json")


class Restart(Test):
    def test_one_message_with_the_old_separator_does_not_hinder_later_starts(self):
        b = self.broker()
        b.ok("POST", "/api/message", '{"topic": "t", "message": "a|#|b"}')
        for _ in range(3):
            b.restart()
            body = b.ok("GET", "/api/message?topic=t&from=0&to=9").json
            self.assertEqual(body["messages"], [{"Id": 0, "Data": "a|#|b"}])

    def test_restart_after_a_crash_neither_waits_nor_reuses_ids(self):
        # The old one waited 24 s for its own lock, reset its counter and gave acknowledged ids again.
        b = self.broker(set=["store.segment.messages=10"])
        epoch = 0
        for round_ in range(4):
            for i in range(7):
                a = b.ok("POST", "/api/message", json.dumps({"topic": "t", "message": "r%d" % round_})).json
                self.assertEqual(a["offset"], round_ * 7 + i)
                self.assertEqual(a["data"], "r%d" % round_)
            self.assertGreater(a["epoch"], epoch, "an epoch never outlives its process")
            epoch = a["epoch"]
            b.kill()
            b.start(timeout=5)
        self.assertEqual(len(b.messages("t")), 28)


if __name__ == "__main__":
    unittest.main()
