"""/v1: topics, publishing and reading (doc/http.md, section 2)."""

import base64
import json
import os
import re
import struct
import time
import unittest

from lignum import SANITIZED, Test, crc32c, in_threads, payload_of, request_bytes, wait_until

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}


class V1(Test):
    @classmethod
    def setUpClass(cls):
        cls.b = cls.share(set=["store.segment.messages=10"])

    def messages_of(self, topic, words=""):
        return self.b.ok("GET", "/v1/topics/%s/messages%s" % (topic, words)).json["messages"]


class Topics(V1):
    def test_put_creates_is_idempotent_and_refuses_other_settings(self):
        settings = json.dumps({"durability": "interval", "retain": {"messages": 100}})
        a = self.b.request("PUT", "/v1/topics/put", settings)
        self.assertStatus(a, 201)
        a = self.b.request("PUT", "/v1/topics/put", settings)
        self.assertStatus(a, 200)
        a = self.b.request("PUT", "/v1/topics/put", json.dumps({"durability": "os"}))
        self.assertStatus(a, 409, "topic_exists")
        t = self.b.topic("put")
        self.assertEqual((t["name"], t["durability"], t["first"], t["next"]), ("put", "interval", 0, 0))
        self.assertEqual(t["retain"]["messages"], 100)

    def test_topics_are_listed_in_order_of_names_without_the_internal_ones(self):
        for name in ["list-b", "list-a", "list-c"]:
            self.b.publish(name, b"x")
        topics = self.b.ok("GET", "/v1/topics").json["topics"]
        names = [t["name"] for t in topics]
        self.assertEqual(names, sorted(names))
        self.assertLessEqual({"list-a", "list-b", "list-c"}, set(names))
        self.assertNotIn("_topics", names)
        internal = [t["name"] for t in self.b.ok("GET", "/v1/topics?internal=1").json["topics"]]
        self.assertIn("_topics", internal)
        one = next(t for t in topics if t["name"] == "list-a")
        for field in ["first", "next", "bytes", "replication", "copies", "durability", "retain"]:
            self.assertIn(field, one)

    def test_patch_changes_some_settings_and_leaves_the_others(self):
        self.b.ok("PUT", "/v1/topics/patch", json.dumps({"durability": "os", "retain": {"messages": 50}}), status=201)
        self.b.ok("PATCH", "/v1/topics/patch", json.dumps({"durability": "commit"}))
        t = self.b.topic("patch")
        self.assertEqual((t["durability"], t["retain"]["messages"]), ("commit", 50))
        self.assertEqual(self.b.publish("patch", b"x")["durability"], "commit")
        self.assertStatus(self.b.request("PATCH", "/v1/topics/absent", "{}"), 404, "unknown_topic")

    def test_settings_that_cannot_be_are_refused_with_their_name(self):
        for body, word in [({"durability": "sometimes"}, "durability"), ({"replication": "maybe"}, "replication"),
                           ({"copies": 0}, "copies"), ({"copies": 1.5}, "copies"), ({"copies": "2"}, "copies"),
                           ({"retain": 5}, "retain"), ({"retain": {"mesages": 5}}, "mesages"),
                           ({"retain": {"bytes": -1}}, "bytes"), ({"segment": {"messages": 0}}, "messages"),
                           ({"retention": {}}, "retention")]:
            with self.subTest(body=body):
                for method in ["PUT", "PATCH"]:
                    self.b.request("PUT", "/v1/topics/settings", "{}")
                    name = "settings" if method == "PATCH" else "settings-new"
                    a = self.b.request(method, "/v1/topics/" + name, json.dumps(body))
                    self.assertStatus(a, 400)
                    self.assertIn(word, a.json["detail"])
        self.assertStatus(self.b.get("/v1/topics/settings-new"), 404, "unknown_topic")

    def test_delete_removes_the_topic_and_a_new_one_of_that_name_is_empty(self):
        self.b.publish_lines("deleted", [b"%d" % i for i in range(35)])
        a = self.b.request("DELETE", "/v1/topics/deleted")
        self.assertIn(a.status, (200, 204), a)
        self.assertStatus(self.b.get("/v1/topics/deleted"), 404, "unknown_topic")
        self.assertStatus(self.b.get("/v1/topics/deleted/messages"), 404, "unknown_topic")
        self.assertStatus(self.b.request("DELETE", "/v1/topics/deleted"), 404, "unknown_topic")
        self.assertEqual(self.b.publish("deleted", b"new")["first"], 0)
        self.assertEqual(self.b.messages("deleted"), [b"new"])

    def test_internal_topics_are_read_only_to_clients(self):
        for a in [self.b.post("/v1/topics/_topics/messages", b"x"), self.b.request("DELETE", "/v1/topics/_topics"),
                  self.b.request("PATCH", "/v1/topics/_topics", '{"durability": "os"}'),
                  self.b.request("PUT", "/v1/topics/_mine", "{}"), self.b.post("/v1/topics/_mine/messages", b"x")]:
            self.assertIn(a.status, (400, 403), a)
        self.assertEqual(self.b.topic("_topics")["durability"], "commit")

    def test_copies_beyond_one_are_refused_on_a_node_of_its_own(self):
        self.b.ok("PUT", "/v1/topics/copies", json.dumps({"replication": "live", "copies": 2}), status=201)
        a = self.b.post("/v1/topics/copies/messages", b"x")
        self.assertStatus(a, 503, "not_enough_copies")
        self.assertIs(a.json["appended"], False)
        self.assertIsNotNone(a.header("retry-after"))
        self.assertEqual(self.b.topic("copies")["next"], 0)


class Publish(V1):
    def test_a_body_is_one_message_byte_for_byte(self):
        bodies = [b"plain", b"", bytes(range(256)), b"\n", b"a\nb\r\n", b"|#|", b"\xff\xfe", os.urandom(70000), b"\x00"]
        for i, body in enumerate(bodies):
            a = self.b.publish("bytes", body)
            self.assertEqual({k: a[k] for k in ("topic", "first", "next", "count", "durability", "committed", "copies")},
                             {"topic": "bytes", "first": i, "next": i + 1, "count": 1, "durability": "commit",
                              "committed": "disk", "copies": 1})
        self.assertEqual(self.b.messages("bytes"), bodies)

    def test_content_type_key_and_headers_are_kept(self):
        self.b.publish("meta", b"x", {"Content-Type": "image/png", "Lignum-Key": "k1", "Lignum-Header-Trace": "abc",
                                      "Lignum-Header-X-Y": "1 2"})
        m = self.messages_of("meta")[0]
        self.assertEqual(m["key"], "k1")
        headers = {n.lower(): v for n, v in m["headers"].items()}
        self.assertEqual(headers, {"content-type": "image/png", "trace": "abc", "x-y": "1 2"})

    def test_ndjson_lines_are_messages_as_they_stand(self):
        body = b'{"a": 1}\nplain text\r\n\n  spaced  \n\r\n\xff\xfe\nlast without newline'
        a = self.b.ok("POST", "/v1/topics/lines/messages", body, NDJSON).json
        want = [b'{"a": 1}', b"plain text", b"  spaced  ", b"\xff\xfe", b"last without newline"]
        self.assertEqual((a["first"], a["next"], a["count"]), (0, 5, 5))
        self.assertEqual(self.b.messages("lines"), want)
        for empty in [b"", b"\n\n\r\n"]:
            a = self.b.post("/v1/topics/lines/messages", empty, headers=NDJSON)
            self.assertStatus(a, 400)
            self.assertIs(a.json["appended"], False)

    def test_json_envelopes_one_and_many(self):
        one = {"key": "k", "headers": {"h": "v"}, "data": "text"}
        a = self.b.ok("POST", "/v1/topics/envelope/messages", json.dumps(one), JSON).json
        self.assertEqual((a["first"], a["count"]), (0, 1))
        many = [{"data": "a"}, {"base64": base64.b64encode(b"\x00\xff").decode()}, {"key": "", "data": ""},
                {"data": "\u0000\U0001f600"}]
        a = self.b.ok("POST", "/v1/topics/envelope/messages", json.dumps(many), JSON).json
        self.assertEqual((a["first"], a["next"], a["count"]), (1, 5, 4))
        m = self.messages_of("envelope")
        self.assertEqual((m[0]["key"], m[0]["headers"], m[0]["data"]), ("k", {"h": "v"}, "text"))
        self.assertEqual([payload_of(x) for x in m[1:]], [b"a", b"\x00\xff", b"", "\u0000\U0001f600".encode()])
        self.assertNotIn("key", m[1])
        self.assertEqual(m[3]["key"], "")
        self.assertNotIn("headers", m[1])

    def test_bad_envelopes_append_nothing_of_their_batch(self):
        for body in ['{}', '[]', '[{"data": "good"}, {}]', '[{"data": "good"}, {"data": 5}]', '{"data": "x", "base64": "eA=="}',
                     '{"base64": "!!"}', '{"data": {"a": 1}}', '{"data": null}', '[{"data": "good"}, 5]', '{"key": 5, "data": "x"}',
                     '{"headers": {"a": 1}, "data": "x"}', '{"dato": "x"}', '"x"', '[[]]', '{"data": "x"} x', '{"base64": "eA"}',
                     '[{"data": "good"}, {"data": "x", "extra": 1}]']:
            with self.subTest(body=body):
                a = self.b.post("/v1/topics/bad-envelope/messages", body, headers=JSON)
                self.assertStatus(a, 400)
                self.assertIs(a.json["appended"], False)
        t = self.b.get("/v1/topics/bad-envelope")
        self.assertTrue(t.status == 404 or t.json["next"] == 0, t)

    @unittest.skipIf(SANITIZED, "a sanitizer takes the script's time")
    def test_envelopes_up_to_the_limits_cost_no_script_its_time(self):
        payload = os.urandom(1 << 20)
        body = json.dumps([{"base64": base64.b64encode(payload).decode()}] * 5)
        self.b.ok("POST", "/v1/topics/large-envelope/messages", body, JSON)
        self.assertEqual(self.b.messages("large-envelope"), [payload] * 5)
        body = "[" + ",".join(['{"data": "%05d"}' % i for i in range(65536)]) + "]"
        a = self.b.ok("POST", "/v1/topics/many-envelopes/messages", body, JSON).json
        self.assertEqual(a["count"], 65536)
        self.assertEqual(self.b.messages("many-envelopes", from_=65535), [b"65535"])

    def test_a_batch_is_appended_as_a_whole_or_not_at_all(self):
        big = b"x" * (1 << 20)
        body = b"good\n" + big + b"x\n"
        a = self.b.post("/v1/topics/whole/messages", body, headers=NDJSON)
        self.assertStatus(a, 413, "too_large")
        self.assertEqual(a.json["limit"], 1 << 20)
        self.assertIs(a.json["appended"], False)
        a = self.b.ok("POST", "/v1/topics/whole/messages", b"good\n" + big + b"\n", NDJSON).json
        self.assertEqual(a["count"], 2)
        self.assertEqual(self.b.messages("whole"), [b"good", big])

    def test_limits_of_messages_name_the_limit(self):
        a = self.b.post("/v1/topics/limits/messages", b"x" * ((1 << 20) + 1))
        self.assertStatus(a, 413, "too_large")
        self.assertEqual(a.json["limit"], 1 << 20)
        a = self.b.post("/v1/topics/limits/messages", b"x", headers={"Lignum-Key": "k" * 5000})
        self.assertIn(a.status, (400, 413), a)
        a = self.b.post("/v1/topics/limits/messages", b"\n".join([b"x"] * 70000), headers=NDJSON)
        self.assertStatus(a, 413, "too_large")
        a = self.b.post("/v1/topics/limits/messages", b"x" * ((8 << 20) + 1))
        self.assertStatus(a, 413, "too_large")
        t = self.b.get("/v1/topics/limits")
        self.assertTrue(t.status == 404 or t.json["next"] == 0, t)

    def test_bad_topic_names_in_the_path_are_400(self):
        for name in ["a%20b", "%2e%2e", ".", "..", ".x", "-x", "_x", "a%2fb", "%c3%a9", "x" * 129, "a%0ab", "a%00b", "a*b"]:
            with self.subTest(name=name):
                a = self.b.post("/v1/topics/%s/messages" % name, b"x")
                self.assertIn(a.status, (400, 403, 404), a)
                self.assertNotEqual(a.status, 200)
        a = self.b.post("/v1/topics/%74est-escaped/messages", b"x")
        self.assertEqual(a.json["topic"], "test-escaped")

    def test_auto_create_false_makes_publishing_to_an_unknown_topic_404(self):
        b = self.broker(config='topic "made.*" { auto_create = false }\ntopic "*" {}')
        a = b.post("/v1/topics/made.one/messages", b"x")
        self.assertStatus(a, 404, "unknown_topic")
        self.assertIs(a.json["appended"], False)
        b.ok("PUT", "/v1/topics/made.one", "{}", status=201)
        b.publish("made.one", b"x")
        b.publish("free", b"x")

    def test_unknown_media_types_are_taken_as_bytes_but_codings_are_refused(self):
        a = self.b.post("/v1/topics/media/messages", b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
        self.assertStatus(a, 415, "unsupported_media")
        self.assertIs(a.json["appended"], False)
        self.b.publish("media", b"x", {"Content-Type": "weird/thing; a=b"})

    def test_every_answer_says_its_durability(self):
        for durability, committed in [("commit", "disk"), ("interval", "written"), ("os", "written")]:
            name = "durability-" + durability
            self.b.ok("PUT", "/v1/topics/" + name, json.dumps({"durability": durability}), status=201)
            a = self.b.publish(name, b"x")
            self.assertEqual((a["durability"], a["committed"]), (durability, committed))
            self.assertEqual(self.b.messages(name), [b"x"])

    def test_producer_headers_are_taken_and_checked(self):
        self.b.publish("producer", b"x", {"Producer-Id": "7", "Producer-Epoch": "1", "Producer-Seq": "1"})
        for headers in [{"Producer-Id": "x"}, {"Producer-Id": "1", "Producer-Seq": "-1"},
                        {"Producer-Id": "1", "Producer-Epoch": "99999999"}]:
            a = self.b.post("/v1/topics/producer/messages", b"x", headers=headers)
            self.assertStatus(a, 400)
            self.assertIs(a.json["appended"], False)


class Read(V1):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.payloads = [b"m%d" % i for i in range(25)]
        for p in cls.payloads:
            cls.b.publish("read", p)

    def test_answer_has_the_documented_fields(self):
        a = self.b.ok("GET", "/v1/topics/read/messages?from=3&to=5")
        body = a.json
        self.assertEqual(set(body), {"topic", "messages", "next", "epoch"})
        self.assertEqual((body["topic"], body["next"]), ("read", 5))
        m = body["messages"][0]
        self.assertEqual(set(m), {"offset", "epoch", "time", "data"})
        self.assertRegex(m["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(a.header("lignum-next-offset"), "%d:5" % m["epoch"])
        self.assertEqual(a.header("lignum-epoch"), str(body["epoch"]))
        self.assertEqual(a.header("lignum-earliest"), "0")

    def test_every_range_across_tiny_segments_equals_what_was_published(self):
        with self.b.connect() as c:
            for begin in range(0, 26):
                for end in range(begin + 1, 28):
                    a = c.request("GET", "/v1/topics/read/messages?from=%d&to=%d" % (begin, end))
                    got = [(m["offset"], m["data"].encode()) for m in a.json["messages"]]
                    want = [(i, self.payloads[i]) for i in range(begin, min(end, 25))]
                    self.assertEqual(got, want, (begin, end))
                    self.assertEqual(a.json["next"], max(begin, min(end, 25)), (begin, end))

    def test_limit_and_bytes_bound_an_answer(self):
        for limit in [1, 9, 10, 11, 20, 25, 26]:
            body = self.b.read("read", from_=0, limit=limit)
            self.assertEqual(len(body["messages"]), min(limit, 25))
            self.assertEqual(body["next"], min(limit, 25))
        body = self.b.read("read", from_=0, bytes=1)
        self.assertEqual(len(body["messages"]), 1, "at least one message, or a reader never gets on")
        body = self.b.read("read", from_=0, bytes=6)
        self.assertLess(len(body["messages"]), 10)

    def test_from_takes_words_and_times(self):
        self.assertEqual(self.messages_of("read", "?from=earliest&limit=1")[0]["offset"], 0)
        self.assertEqual(self.b.read("read", from_="latest")["messages"], [])
        self.assertEqual(self.b.read("read", from_="latest")["next"], 25)
        self.assertEqual(len(self.messages_of("read", "?from=-15m")), 25)
        self.assertEqual(len(self.messages_of("read", "?from=-1h")), 25)
        self.assertEqual(len(self.messages_of("read", "?from=2020-01-01T00:00:00Z")), 25)
        self.assertEqual(self.messages_of("read", "?from=2099-01-01T00:00:00Z"), [])

    def test_a_time_finds_the_first_message_at_or_after_it(self):
        for i in range(12):
            self.b.publish("timed", b"%d" % i)
            before = time.time()
            wait_until(lambda: time.time() >= before + 0.003)
        times = [m["time"] for m in self.messages_of("timed")]
        self.assertEqual(times, sorted(times))
        for t in times:
            first = self.messages_of("timed", "?from=%s&limit=1" % t)[0]["offset"]
            self.assertEqual(first, times.index(t))

    def test_past_the_end_is_empty_and_unknown_topics_are_404(self):
        body = self.b.read("read", from_=1000)
        self.assertEqual(body["messages"], [])
        self.assertStatus(self.b.get("/v1/topics/absent/messages"), 404, "unknown_topic")
        self.assertStatus(self.b.get("/v1/topics/absent"), 404, "unknown_topic")

    def test_bad_parameters_are_400_and_named(self):
        for words, name in [("from=-1", "from"), ("from=x", "from"), ("from=1.5", "from"), ("from=0&to=0", "from"),
                            ("from=5&to=3", "from"), ("limit=0", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"),
                            ("limit=1000000000", "limit"), ("bytes=0", "bytes"), ("bytes=x", "bytes"), ("wait=x", "wait"),
                            ("wait=-1", "wait"), ("wait=61", "wait"), ("form=1", "form"), ("raw=maybe", "raw"),
                            ("from=99999999999999999999999", "from"), ("from=0x10", "from"), ("from=1e3", "from"),
                            ("from=", "from"), ("to=x", "to"), ("from=2026-13-01T00:00:00Z", "from")]:
            with self.subTest(words=words):
                a = self.b.get("/v1/topics/read/messages?" + words)
                self.assertStatus(a, 400)
                self.assertIn(name, a.json["detail"])

    def test_what_is_not_utf8_is_refused_by_its_own_error(self):
        messages = "/v1/topics/read/messages"
        for target, headers in [(messages + "?%ff=1", {}), (messages + "?from=%ff", {}), (messages + "?raw=%ff", {}),
                                (messages + "?wait=%ff", {}), ("/v1/topics?limit=%ff", {}), ("/api/message?%ff=1", {}),
                                (messages, {"Accept": "text/event-stream", "Last-Event-ID": "\xff"})]:
            with self.subTest(target=target):
                a = self.b.get(target, headers=headers)
                self.assertStatus(a, 400, "bad_value")
                self.assertIn("\\xff", a.json["detail"].replace("\\255", "\\xff"))
        a = self.b.post(messages, b"x", headers={"Content-Encoding": "\xff"})
        self.assertStatus(a, 415, "unsupported_media")
        self.assertIs(a.json["appended"], False)

    def test_times_before_all_messages_read_from_the_earliest(self):
        for time_of in ["-9999999999d", "-99999d", "1960-01-01T00:00:00Z"]:
            with self.subTest(time_of=time_of):
                self.assertEqual(self.messages_of("read", "?limit=1&from=" + time_of)[0]["offset"], 0)

    def test_ndjson_and_raw_reads(self):
        a = self.b.get("/v1/topics/read/messages?from=8&to=12", headers={"Accept": "application/x-ndjson"})
        self.assertEqual(a.header("content-type"), "application/x-ndjson")
        lines = a.body.split(b"\n")
        self.assertEqual(lines.pop(), b"")
        self.assertEqual([json.loads(l)["offset"] for l in lines], [8, 9, 10, 11])
        a = self.b.get("/v1/topics/read/messages?from=8&to=12&raw=1", headers={"Accept": "application/x-ndjson"})
        self.assertEqual(a.body, b"m8\nm9\nm10\nm11\n")
        self.assertRegex(a.header("lignum-next-offset"), r"^\d+:12$")

    def test_records_are_the_stored_batches_checksums_included(self):
        got, at = b"", 0
        while True:
            a = self.b.get("/v1/topics/read/messages?from=%d" % at, headers={"Accept": "application/vnd.lignum.records"})
            self.assertStatus(a, 200)
            self.assertEqual(a.header("content-type"), "application/vnd.lignum.records")
            if not a.body:
                break
            got += a.body
            at = int(a.header("lignum-next-offset").partition(":")[2])
        seen, rest = [], got
        while rest:
            size, crc, first, count, flags = struct.unpack_from("<IIQIH", rest)
            batch, rest = rest[:size], rest[size:]
            self.assertEqual(crc, crc32c(struct.pack("<Q", first), batch[8:]))
            if flags & 1:
                continue
            at = 64
            for i in range(count):
                payload, key, headers = struct.unpack_from("<IHH", batch, at)
                at += 8 + (0 if key == 0xffff else key) + headers
                seen.append((first + i, batch[at:at + payload]))
                at += payload
        self.assertEqual(seen, list(enumerate(self.payloads)))

    def test_accept_picks_the_form_or_is_406(self):
        for accept, want in [("*/*", "application/json"), ("application/*", "application/json"),
                             ("application/json", "application/json"),
                             ("text/html, application/x-ndjson;q=0.9", "application/x-ndjson")]:
            a = self.b.get("/v1/topics/read/messages", headers={"Accept": accept})
            self.assertEqual((a.status, a.header("content-type")), (200, want), accept)
        self.assertStatus(self.b.get("/v1/topics/read/messages", headers={"Accept": "image/png"}), 406, "not_acceptable")

    def test_a_token_claims_no_later_epoch_than_that_of_the_last_message(self):
        b = self.broker()
        epoch = b.publish("t", b"x")["epoch"]
        b.restart()
        for query, accept in [("from=1", "application/json"), ("from=1&wait=0.05", "application/json"),
                              ("from=0", "application/json"), ("from=0", "application/vnd.lignum.records"),
                              ("from=1", "application/vnd.lignum.records"), ("from=latest", "application/json")]:
            a = b.get("/v1/topics/t/messages?" + query, headers={"Accept": accept})
            self.assertEqual(a.header("lignum-next-offset"), "%d:1" % epoch, (query, accept))
        self.assertEqual(b.publish("t", b"y")["epoch"], epoch + 1)
        a = b.get("/v1/topics/t/messages?from=1")
        self.assertEqual(a.header("lignum-next-offset"), "%d:2" % (epoch + 1))

    def test_tokens_of_this_history_are_taken_and_others_refused(self):
        token = self.b.get("/v1/topics/read/messages?from=0&to=7").header("lignum-next-offset")
        self.assertEqual(self.messages_of("read", "?from=%s&limit=1" % token)[0]["offset"], 7)
        self.assertEqual(self.messages_of("read", "?from=0:7&limit=1")[0]["offset"], 7)
        self.assertEqual(self.b.read("read", min_offset="0:7", limit=1)["next"], 1)
        a = self.b.get("/v1/topics/read/messages?from=99:3")
        self.assertStatus(a, 409, "log_truncated")
        self.assertStatus(self.b.get("/v1/topics/read/messages?from=1:9999999999999999"), 400, "bad_value")
        self.assertEqual(self.b.read("read", min_offset=25)["next"], 25)
        a = self.b.get("/v1/topics/read/messages?min_offset=1000&wait=0")
        self.assertStatus(a, 503, "unavailable")
        self.assertIsNotNone(a.header("retry-after"))

    def test_a_range_that_cannot_change_has_a_tag(self):
        a = self.b.get("/v1/topics/read/messages?from=3&to=9")
        tag = a.header("etag")
        self.assertIsNotNone(tag)
        self.assertEqual(self.b.get("/v1/topics/read/messages?from=3&to=9", headers={"If-None-Match": tag}).status, 304)
        self.assertIsNone(self.b.get("/v1/topics/read/messages?from=3").header("etag"), "that will grow")
        a = self.b.get("/v1/topics/read/messages?from=3&to=9", headers={"If-None-Match": '"x", W/"y"'})
        self.assertEqual((a.status, a.header("etag")), (200, tag))

    def test_a_read_says_the_same_however_it_is_asked_for(self):
        for accept in "application/json", "application/x-ndjson", "application/vnd.lignum.records":
            of = {"Accept": accept}
            plain = self.b.get("/v1/topics/read/messages?from=3&to=9&limit=4", headers=of)
            roundabout = self.b.get("/v1/topics/read/messages?from=3&to=9&limit=4&wait=0.0", headers=of)
            self.assertEqual(plain.status, 200)
            self.assertEqual(plain.body, roundabout.body)
            for name in "etag", "content-type", "lignum-next-offset", "lignum-epoch", "lignum-earliest":
                self.assertIsNotNone(plain.header(name), name)
                self.assertEqual(plain.header(name), roundabout.header(name), name)
            tag = plain.header("etag")
            again = self.b.get("/v1/topics/read/messages?from=3&to=9&limit=4", headers=dict(of, **{"If-None-Match": tag}))
            self.assertEqual((again.status, again.header("etag")), (304, tag))
        self.assertStatus(self.b.get("/v1/topics/read/messages?from=9&to=3"), 400, "bad_range")
        self.assertStatus(self.b.get("/v1/topics/read/messages?from=1&limit=0"), 400, "bad_value")
        self.assertStatus(self.b.get("/v1/topics/nothing/messages?from=1"), 404, "unknown_topic")

    def test_records_are_the_same_bytes_in_small_and_large_pieces(self):
        for i in range(40):
            self.b.publish("pieces", b"%d" % i * 2000)

        def walk(piece):
            whole, at = b"", 0
            while at < 40:
                a = self.b.get("/v1/topics/pieces/messages?from=%d&bytes=%d" % (at, piece),
                               headers={"Accept": "application/vnd.lignum.records"})
                whole, at = whole + a.body, int(a.header("lignum-next-offset").split(":")[1])
            return whole
        whole = walk(1)
        self.assertGreater(len(whole), 40 * 2000)
        for piece in 9000, 33000, 1000000:
            self.assertEqual(walk(piece), whole)

    def test_events_are_sent_as_they_come_and_resume_after_the_last(self):
        for i in range(3):
            self.b.publish("events", b"line %d\nsecond" % i)

        def events(c, count):
            text = b""
            while text.count(b"\n\n") < count:
                text += c.chunk()
            return [dict(re.findall(r"(?m)^(id|data): ?(.*)$", e)) for e in text.decode().split("\n\n")[:count]]
        with self.b.connect() as c:
            c.send(b"GET /v1/topics/events/messages HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
            status, headers = c.head()
            self.assertEqual((status, dict(headers)["content-type"]), (200, "text/event-stream"))
            seen = events(c, 3)
            self.assertEqual([e["id"].partition(":")[2] for e in seen], ["0", "1", "2"])
            self.b.publish("events", b"late")
            self.assertTrue(events(c, 1)[0]["id"].endswith(":3"))
        with self.b.connect() as c:
            c.send(b"GET /v1/topics/events/messages HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
                   b"Last-Event-ID: " + seen[1]["id"].encode() + b"\r\n\r\n")
            c.head()
            self.assertEqual([e["id"].partition(":")[2] for e in events(c, 2)], ["2", "3"])

    def test_records_end_with_the_batch_that_reaches_the_limit(self):
        self.b.publish_lines("limited", [b"a", b"b", b"c"])
        for i in range(5):
            self.b.publish("limited", b"%d" % i)

        def next_after(query):
            a = self.b.get("/v1/topics/limited/messages?" + query, headers={"Accept": "application/vnd.lignum.records"})
            return int(a.header("lignum-next-offset").split(":")[1])
        for query, want in [("from=0", 8), ("from=0&limit=1", 3), ("from=1&limit=2", 3), ("from=0&limit=4", 4),
                            ("from=3&limit=2", 5), ("from=3&to=5", 5), ("from=3&limit=2&to=4", 4), ("from=7&limit=9", 8)]:
            self.assertEqual(next_after(query), want, query)

    def test_raw_events_are_the_payloads_line_by_line(self):
        payloads = [b"plain", b"", b"a\r\nb\rc\n\nd\n", b"\n", "\u00e9 \xff".encode("latin-1")]
        for p in payloads:
            self.b.publish("raw-events", p)
        a = self.b.get("/v1/topics/raw-events/messages?raw=1&from=0&to=5", headers={"Accept": "text/event-stream"})
        want = [[b"plain"], [b""], [b"a", b"b", b"c", b"", b"d", b""], [b"", b""], [payloads[4]]]
        events = [e.split(b"\n") for e in a.body.split(b"\n\n")]
        self.assertEqual(events.pop(), [b""])
        self.assertEqual([e[0].split(b":")[2] for e in events], [b"%d" % i for i in range(5)])
        self.assertEqual([e[1:] for e in events], [[b"data: " + line for line in lines] for lines in want])

    def test_long_poll_returns_as_soon_as_a_message_is_there(self):
        self.b.publish("poll", b"first")
        took = []

        def waiter():
            began = time.monotonic()
            body = self.b.read("poll", from_=1, wait=30)
            took.append(time.monotonic() - began)
            self.assertEqual([m["data"] for m in body["messages"]], ["second"])

        def publisher():
            # The waiters' requests are in the broker before the message is: they show in its metrics.
            wait_until(lambda: self.waiting() >= 3, what="three requests wait")
            self.b.publish("poll", b"second")
        in_threads(waiter, waiter, waiter, publisher)
        self.assertLess(max(took), 20)

    def waiting(self):
        return sum(v for n, v in self.b.metrics().items() if n.startswith("lignum_http_requests_in_flight")) - 1

    def test_long_poll_ends_empty_after_its_time(self):
        self.b.publish("poll-empty", b"x")
        began = time.monotonic()
        body = self.b.read("poll-empty", from_=1, wait=1)
        self.assertEqual((body["messages"], body["next"]), ([], 1))
        self.assertGreaterEqual(time.monotonic() - began, 0.9)

    # The core takes a wait in whole seconds as it stands; any other goes through the script.
    def both_ways(self, topic, accept, seconds, meanwhile):
        answers = {}

        def asker(wait):
            answers[wait] = self.b.get("/v1/topics/%s/messages?from=1&wait=%s" % (topic, wait), headers={"Accept": accept})

        def other():
            wait_until(lambda: self.waiting() >= 2, what="two requests wait")
            meanwhile()
        whole, part = str(seconds), str(seconds) + ".0"
        in_threads(lambda: asker(whole), lambda: asker(part), other)
        return answers[whole], answers[part]

    def test_a_wait_ends_the_same_however_it_is_asked_for(self):
        for i, accept in enumerate(["application/json", "application/x-ndjson", "application/vnd.lignum.records"]):
            topic = "both-%d" % i
            self.b.publish(topic, b"x")
            for seconds, meanwhile, status in [(1, lambda: None, 200),
                                               (30, lambda topic=topic: self.b.publish(topic, b"y"), 200)]:
                a, b = self.both_ways(topic, accept, seconds, meanwhile)
                self.assertEqual((a.status, a.body), (status, b.body))
                for name in "content-type", "lignum-next-offset", "lignum-epoch", "lignum-earliest", "etag":
                    self.assertEqual(a.header(name), b.header(name), name)
            self.assertEqual(a.header("lignum-next-offset").split(":")[1], "2")
        self.b.publish("both-gone", b"x")
        a, b = self.both_ways("both-gone", "application/json", 30,
                              lambda: self.b.request("DELETE", "/v1/topics/both-gone"))
        self.assertStatus(a, 404, "unknown_topic")
        self.assertEqual(a.body, b.body)

    def test_deleting_a_topic_ends_who_waits_for_it(self):
        self.b.publish("poll-deleted", b"x")
        answers = []

        def waiter():
            answers.append(self.b.get("/v1/topics/poll-deleted/messages?from=1&wait=30"))

        def deleter():
            wait_until(lambda: self.waiting() >= 1)
            self.b.request("DELETE", "/v1/topics/poll-deleted")
        began = time.monotonic()
        in_threads(waiter, deleter)
        self.assertLess(time.monotonic() - began, 20)
        self.assertStatus(answers[0], 404, "unknown_topic")

    def test_deleting_a_topic_ends_its_event_streams_with_the_reason(self):
        self.b.publish("events-deleted", b"x")
        path, accept = "/v1/topics/events-deleted/messages?from=0", {"Accept": "text/event-stream"}
        with self.b.connect() as waiting:
            waiting.send(request_bytes("GET", path, headers=accept))
            waiting.head()
            self.assertIn(b"id: ", waiting.chunk())
            self.b.ok("DELETE", "/v1/topics/events-deleted", status=204)
            self.assertRegex(b"".join(iter(waiting.chunk, b"")), rb'^event: error\ndata: .*"unknown_topic"')
        for _ in range(20):
            self.b.publish("events-deleted", b"x" * (1 << 19))
        with self.b.connect(receive_buffer=4096) as slow:
            slow.send(request_bytes("GET", path, headers=accept))
            slow.head()
            self.b.ok("DELETE", "/v1/topics/events-deleted", status=204)
            body = b"".join(iter(slow.chunk, b""))
        self.assertLess(len(body), 20 << 19)
        self.assertRegex(body[-200:], rb'\nevent: error\ndata: .*"unknown_topic"')

    def test_head_has_the_headers_of_get_and_no_body(self):
        with self.b.connect() as c:
            for target in ["/ping", "/v1/topics/read", "/v1/topics/read/messages?from=0&to=3", "/nothing"]:
                get = c.request("GET", target)
                head = c.request("HEAD", target)
                self.assertEqual(head.status, get.status)
                self.assertEqual(head.header("content-type"), get.header("content-type"))
                if head.header("content-length") is not None:
                    self.assertEqual(int(head.header("content-length")), len(get.body))
            self.assertEqual(c.request("GET", "/ping").body, b"PONG", "the connection is still in step")

    def test_large_reads_are_whole(self):
        payloads = [os.urandom(900 * 1024) for _ in range(12)]
        for p in payloads:
            self.b.publish("large", p)
        self.assertEqual(self.b.messages("large"), payloads)


class Surroundings(V1):
    def test_healthz_and_readyz_answer_200_when_serving(self):
        self.assertStatus(self.b.get("/healthz"), 200)
        self.assertStatus(self.b.get("/readyz"), 200)

    def test_cluster_of_one_says_who_it_is(self):
        b = self.broker(flags=["--name", "n1"])
        body = b.ok("GET", "/v1/cluster").json
        self.assertEqual(body["self"], "n1")
        self.assertEqual(body["role"], "alone")
        self.assertGreaterEqual(body["epoch"], 1)

    def test_openapi_is_valid_json_and_names_routes_that_exist(self):
        spec = self.b.ok("GET", "/openapi.json").json
        self.assertRegex(spec["openapi"], r"^3\.1\.")
        self.assertIn("title", spec["info"])
        self.assertIn("version", spec["info"])
        self.assertLessEqual({"/ping", "/api/message", "/api/topics", "/v1/topics", "/v1/topics/{topic}",
                              "/v1/topics/{topic}/messages", "/healthz", "/readyz", "/metrics"}, set(spec["paths"]))
        self.b.publish("openapi", b"x")
        for path, item in spec["paths"].items():
            named = set(re.findall(r"\{(\w+)\}", path))
            for method, operation in item.items():
                if method not in ("get", "put", "post", "delete", "patch", "head", "options"):
                    continue
                parameters = [self.resolved(spec, p) for p in item.get("parameters", []) + operation.get("parameters", [])]
                self.assertEqual({p["name"] for p in parameters if p["in"] == "path"}, named, (method, path))
                self.assertTrue(operation["responses"], (method, path))
                if method == "get":
                    a = self.b.get(re.sub(r"\{\w+\}", "openapi", path))
                    self.assertNotIn(a.status, (404, 405), path)
        for ref in re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(spec)):
            self.resolved(spec, {"$ref": ref})

    def resolved(self, spec, value):
        while "$ref" in value:
            at = spec
            self.assertTrue(value["$ref"].startswith("#/"))
            for word in value["$ref"][2:].split("/"):
                at = at[word]
            value = at
        return value

    def test_errors_come_from_one_table(self):
        # Every code that the broker answers with stands in doc/http.md.
        for target, status, code in [("/nothing", 404, "not_found"), ("/v1/topics/absent", 404, "unknown_topic"),
                                     ("/v1/topics/a%20b", 400, "bad_topic")]:
            a = self.b.get(target)
            self.assertStatus(a, status, code)

    def test_no_other_site_is_allowed_to_read_answers(self):
        a = self.b.get("/ping", headers={"Origin": "https://example.org"})
        self.assertIsNone(a.header("access-control-allow-origin"))


del V1

if __name__ == "__main__":
    unittest.main()
