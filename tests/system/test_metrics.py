"""/metrics, and the resources that a node uses."""

import os
import re
import shutil
import statistics
import subprocess
import time

import pytest

from common import BIG, SANITIZED, hold_for, in_threads, wait_until

pytestmark = pytest.mark.alone


def test_metrics_are_clean_for_promtool(node):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian package prometheus)")
    b = node()
    b.publish("t", b"x")
    b.messages("t")
    b.get("/nothing")
    a = b.ok("GET", "/metrics")
    assert a.header("content-type").startswith("text/plain; version=0.0.4"), a.headers
    p = subprocess.run(["promtool", "check", "metrics"], input=a.body, capture_output=True, timeout=30)
    assert (p.returncode, p.stdout, p.stderr) == (0, b"", b"")


def test_the_start_time_is_exact(node):
    b = node()
    with open("/proc/%d/stat" % b.process.pid) as stat, open("/proc/uptime") as uptime:
        after_boot = int(stat.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        started = time.time() - float(uptime.read().split()[0]) + after_boot
    assert abs(b.metrics()["lignum_process_start_time_seconds"] - started) < 0.1


def test_a_read_of_few_messages_reads_no_more_than_these(node):
    b = node()
    for i in range(100):
        b.publish("t", b"x" * 100)
    for query in "from=10&limit=5", "from=10&limit=5&min_offset=0":
        before = b.metrics()
        assert len(b.ok("GET", "/v1/topics/t/messages?" + query).json["messages"]) == 5
        after = b.metrics()
        name = "lignum_read_bytes_total"
        assert after[name] - before[name] < 2000, query


def test_counters_rise_with_what_happens(node):
    b = node()
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
        assert any(re.match(name + r"(\{|$)", n) for n in after), "%s is not there:\n%s" % (
            name, "\n".join(sorted(after)))
        return total(after) - total(before)
    assert grown("lignum_appended_messages_total") == 13
    assert grown("lignum_appended_bytes_total") >= 53
    assert grown("lignum_read_messages_total") == 14
    assert grown("lignum_http_requests_total") >= 13
    assert grown("lignum_store_sync_duration_seconds_count") >= 1
    assert after["lignum_http_connections"] >= 1
    assert after['lignum_topic_next_offset{topic="t"}'] == 14
    assert any("messages" in n and "lignum_http_requests_total" in n and "{topic}" in n for n in after), (
        "requests are counted by route pattern, not by path")
    assert after["lignum_lua_memory_bytes"] > 0
    assert "lignum_lua_cpu_seconds_total" in after    # sampled, so it may be 0 after this little work


def test_series_are_bounded_whatever_clients_ask_for(node):
    b = node()
    with b.connect() as c:
        for i in range(500):
            c.request("GET", "/made-up-%d" % i)
            c.request("GET", "/v1/topics/unknown-%d" % i)
    size = len(b.ok("GET", "/metrics").body)
    with b.connect() as c:
        for i in range(1500):
            assert c.request("POST", "/v1/topics/s%d/messages" % i, b"x").status == 200
    samples = b.metrics()
    per_topic = [n for n in samples if n.startswith("lignum_topic_next_offset")]
    assert len(per_topic) <= 1100
    assert size < 100000


def test_names_of_topics_cannot_break_the_format(node):
    b = node()
    for name in ["a.b-c", "x" * 128]:
        b.publish(name, b"x")
        assert b.metrics()['lignum_topic_next_offset{topic="%s"}' % name] == 1


# ---- resources

measured = pytest.mark.skipif(SANITIZED, reason="memory and times under a sanitizer say nothing")


@measured
def test_start_to_first_answer_is_quick_on_an_empty_directory(make_node, figure):
    took = []
    for i in range(9):
        b = make_node()
        began = time.monotonic()
        b.spawn()
        b.port = int(wait_until(lambda: re.search(r"listening address=\S*:(\d+)", b.said()), every=0.0005)[1])
        assert b.get("/ping").body == b"PONG"
        took.append((time.monotonic() - began) * 1e3)
        b.wait_ready()
        b.stop()
    figure("start to first answer: median %.1f ms, best %.1f ms (aim: 20)", statistics.median(took), min(took))
    assert min(took) < 60


@measured
def test_an_idle_node_is_small_and_sleeps(node, figure):
    b = node()
    b.get("/ping")
    rss, anon = b.status("VmRSS"), b.status("RssAnon")
    switches, cpu = b.switches(), b.cpu_seconds()
    hold_for(2, "idle, over which both are measured")
    woken = b.switches() - switches
    figure("idle: RSS %d kB (aim 12288), RssAnon %d kB (aim 4096), %d wake-ups in 2 s", rss, anon, woken)
    assert rss <= 12 * 1024
    assert anon <= 4 * 1024
    assert woken <= 4
    assert b.cpu_seconds() - cpu <= 0.02


@measured
def test_memory_is_flat_over_many_messages(node, figure):
    count = 10_000_000 if BIG else 300_000
    b = node(set=["store.segment.messages=50000"])
    b.ok("PUT", "/v1/topics/t", '{"retain": {"messages": 100000}}', status=201)
    line = b"x" * 100 + b"\n"
    batch = line * 1000

    def publish(n):
        with b.connect() as c:
            for _ in range(n // 1000):
                a = c.request("POST", "/v1/topics/t/messages", batch, {"Content-Type": "application/x-ndjson"})
                assert a.status == 200, a

    def single(n):
        with b.connect() as c:
            for _ in range(n):
                assert c.request("POST", "/v1/topics/t/messages", b"x" * 100).status == 200
    in_threads(lambda: publish(count // 6), lambda: single(1000))
    before = b.status("RssAnon")
    began = time.monotonic()
    in_threads(lambda: publish(count // 3), lambda: publish(count // 3), lambda: single(2000))
    took = time.monotonic() - began
    after = b.status("RssAnon")
    figure("%d messages: RssAnon %d -> %d kB, %.0f messages/s", count, before, after, count * 2 / 3 / took)
    assert after - before <= 3 * 1024, "RssAnon"


@measured
def test_memory_is_flat_over_many_connections_and_errors(node):
    b = node()

    def churn(n):
        for i in range(n):
            b.get("/ping")
            b.get("/nothing")
            b.post("/v1/topics/t/messages", b"x")
            b.post("/api/message", "{")
    churn(300)
    before = b.status("RssAnon")
    churn(1500)
    assert b.status("RssAnon") - before <= 1024, "RssAnon"
