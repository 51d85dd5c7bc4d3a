"""/metrics, and what a node costs."""

import os
import re
import shutil
import statistics
import subprocess
import time
import unittest

import pytest

from lignum import BIG, SANITIZED, Test, in_threads, wait_until

pytestmark = pytest.mark.alone


class Metrics(Test):
    def test_metrics_are_clean_for_promtool(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed (Debian package prometheus)")
        b = self.broker()
        b.publish("t", b"x")
        b.messages("t")
        b.get("/nothing")
        a = b.ok("GET", "/metrics")
        self.assertTrue(a.header("content-type").startswith("text/plain; version=0.0.4"), a.headers)
        p = subprocess.run(["promtool", "check", "metrics"], input=a.body, capture_output=True, timeout=30)
        self.assertEqual((p.returncode, p.stdout, p.stderr), (0, b"", b""))

    def test_a_read_of_few_messages_reads_no_more_than_these(self):
        b = self.broker()
        for i in range(100):
            b.publish("t", b"x" * 100)
        for query in "from=10&limit=5", "from=10&limit=5&min_offset=0":
            before = b.metrics()
            self.assertEqual(len(b.ok("GET", "/v1/topics/t/messages?" + query).json["messages"]), 5)
            after = b.metrics()
            name = "lignum_read_bytes_total"
            self.assertLess(after[name] - before[name], 2000, query)

    def test_counters_rise_with_what_happens(self):
        b = self.broker()
        b.publish("t", b"x")
        before = b.metrics()
        for _ in range(10):
            b.publish("t", b"12345")
        b.publish_lines("t", [b"a", b"b", b"c"])
        b.messages("t")
        b.get("/nothing")
        after = b.metrics()

        def grown(name, **labels):
            def total(samples):
                return sum(v for n, v in samples.items() if re.match(name + r"(\{|$)", n)
                           and all('%s="%s"' % l in n for l in labels.items()))
            self.assertTrue(any(re.match(name + r"(\{|$)", n) for n in after), "%s is not there:\n%s" % (
                name, "\n".join(sorted(after))))
            return total(after) - total(before)
        self.assertEqual(grown("lignum_appended_messages_total"), 13)
        self.assertEqual(grown("lignum_appended_bytes_total") >= 53, True)
        self.assertEqual(grown("lignum_read_messages_total"), 14)
        self.assertGreaterEqual(grown("lignum_http_requests_total"), 13)
        self.assertGreaterEqual(grown("lignum_store_sync_duration_seconds_count"), 1)
        self.assertGreaterEqual(after["lignum_http_connections"], 1)
        self.assertEqual(after['lignum_topic_next_offset{topic="t"}'], 14)
        self.assertTrue(any("messages" in n and "lignum_http_requests_total" in n and "{topic}" in n for n in after),
                        "requests are counted by route pattern, not by path")
        self.assertGreater(after["lignum_lua_memory_bytes"], 0)
        self.assertIn("lignum_lua_cpu_seconds_total", after)    # sampled: so little work may not show

    def test_series_are_bounded_whatever_clients_ask_for(self):
        b = self.broker()
        with b.connect() as c:
            for i in range(500):
                c.request("GET", "/made-up-%d" % i)
                c.request("GET", "/v1/topics/unknown-%d" % i)
        size = len(b.ok("GET", "/metrics").body)
        with b.connect() as c:
            for i in range(1500):
                self.assertEqual(c.request("POST", "/v1/topics/s%d/messages" % i, b"x").status, 200)
        samples = b.metrics()
        per_topic = [n for n in samples if n.startswith("lignum_topic_next_offset")]
        self.assertLessEqual(len(per_topic), 1100)
        self.assertLess(size, 100000)

    def test_names_of_topics_cannot_break_the_format(self):
        b = self.broker()
        for name in ["a.b-c", "x" * 128]:
            b.publish(name, b"x")
            self.assertEqual(b.metrics()['lignum_topic_next_offset{topic="%s"}' % name], 1)


class Footprint(Test):
    def setUp(self):
        super().setUp()
        if SANITIZED:
            self.skipTest("memory and times under a sanitizer say nothing")

    def test_start_to_first_answer_is_quick_on_an_empty_directory(self):
        took = []
        for i in range(9):
            b = self.made()
            began = time.monotonic()
            b.spawn()
            while True:
                text = b.said()
                m = re.search(r"listening address=\S*:(\d+)", text)
                if m:
                    break
                self.assertLess(time.monotonic() - began, 10, text)
                time.sleep(0.0005)      # a pace for polling, not a wait for something
            b.port = int(m.group(1))
            self.assertEqual(b.get("/ping").body, b"PONG")
            took.append((time.monotonic() - began) * 1e3)
            wait_until(lambda: " main: ready " in b.said())
            b.stop()
        print("figure: start to first answer: median %.1f ms, best %.1f ms (aim: 20)" % (statistics.median(took), min(took)))
        self.assertLess(min(took), 60)

    def test_an_idle_node_is_small_and_sleeps(self):
        b = self.broker()
        b.get("/ping")
        rss, anon = b.status("VmRSS"), b.status("RssAnon")
        switches, cpu, end = b.switches(), b.cpu_seconds(), time.monotonic() + 2
        wait_until(lambda: time.monotonic() > end, every=0.2)
        woken = b.switches() - switches
        print("figure: idle: RSS %d kB (aim 12288), RssAnon %d kB (aim 4096), %d wake-ups in 2 s" % (rss, anon, woken))
        self.assertLessEqual(rss, 12 * 1024)
        self.assertLessEqual(anon, 4 * 1024)
        self.assertLessEqual(woken, 4)
        self.assertLessEqual(b.cpu_seconds() - cpu, 0.02)

    def test_memory_is_flat_over_many_messages(self):
        count = 10_000_000 if BIG else 300_000
        b = self.broker(set=["store.segment.messages=50000"])
        b.ok("PUT", "/v1/topics/t", '{"retain": {"messages": 100000}}', status=201)
        line = b"x" * 100 + b"\n"
        batch = line * 1000

        def publish(n):
            with b.connect() as c:
                for _ in range(n // 1000):
                    a = c.request("POST", "/v1/topics/t/messages", batch, {"Content-Type": "application/x-ndjson"})
                    self.assertEqual(a.status, 200, a)

        def single(n):
            with b.connect() as c:
                for _ in range(n):
                    self.assertEqual(c.request("POST", "/v1/topics/t/messages", b"x" * 100).status, 200)
        in_threads(lambda: publish(count // 6), lambda: single(1000))
        before = b.status("RssAnon")
        began = time.monotonic()
        in_threads(lambda: publish(count // 3), lambda: publish(count // 3), lambda: single(2000))
        took = time.monotonic() - began
        after = b.status("RssAnon")
        print("figure: %d messages: RssAnon %d -> %d kB, %.0f messages/s" % (count, before, after, count * 2 / 3 / took))
        self.assertFlat(before, after, 3 * 1024, "RssAnon")

    def test_memory_is_flat_over_many_connections_and_errors(self):
        b = self.broker()

        def churn(n):
            for i in range(n):
                b.get("/ping")
                b.get("/nothing")
                b.post("/v1/topics/t/messages", b"x")
                b.post("/api/message", "{")
        churn(300)
        before = b.status("RssAnon")
        churn(1500)
        self.assertFlat(before, b.status("RssAnon"), 1024, "RssAnon")


if __name__ == "__main__":
    unittest.main()
