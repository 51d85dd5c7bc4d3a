"""The rows of doc/performance/rows.md: which load on which server. Sizes are of one message, without its newline."""

import json
import os
import re
import subprocess

import peers
from peers import (Bare, BareMany, BareOs, Beanstalk, Echo, Etcd, Lignum, LignumDecode, LignumHook,
                   LignumInterval, LignumTls, Nats, NatsAlways, Nginx, NginxProxy, NginxTls, Rabbit, Redis,
                   RedisEverysec, Tarantool)

RECORDS = ["-H", "Accept: application/vnd.lignum.records"]
HISTORY = 1000 * 1000          # messages of 100 bytes that reads go through, stored in batches of 100


class Row:
    """`each` is messages a request; `tool` makes the load; `prepare` fills what is read, or touches topics;
    `rate` is the figure to show, where it is not messages/s."""

    def __init__(self, title, kind, name, path, options, each=1, quick=False, tool=None, prepare=None,
                 rate=None):
        self.title, self.kind, self.name, self.path, self.options = title, kind, name, path, options
        self.each, self.quick, self.tool, self.prepare, self.rate = each, quick, tool or load, prepare, rate


# ------------------------------------------------------------------------------------------- tools

def run_json(words, seconds):
    out = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 60)
    if out.returncode != 0:
        raise RuntimeError("%s\n%s%s" % (" ".join(words), out.stdout, out.stderr))
    return json.loads(out.stdout)


def load(row, server, seconds):
    words = [os.path.join(peers.TOOLS, "load"), "--json", "-d", str(seconds), *row.options, server.url(row.path)]
    return run_json(words, seconds)


def fill(path, *options):
    """A prepare that loads a number of requests first."""
    def prepare(server):
        run_json([os.path.join(peers.TOOLS, "load"), "--json", *options, server.url(path)], 120)
    return prepare


def fanout(row, server, seconds):
    words = [os.path.join(peers.TOOLS, "fanout"), "127.0.0.1:%d" % server.port, row.options[0], str(seconds)]
    return run_json(words, seconds)


WRK_SCRIPT = """wrk.method = "POST"
wrk.body = ("x"):rep(100)
"""
WRK_UNITS = {"us": 1, "ms": 1000, "s": 1000000}


def wrk(row, server, seconds):
    """The stock client, with its own percentiles, parsed from its output."""
    script = server.file("wrk.lua", WRK_SCRIPT)
    script = row.options or ["-s", script]
    words = ["wrk", "-t1", "-c64", "-d%ds" % max(1, seconds), "--latency", *script, server.url(row.path)]
    text = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 60, check=True).stdout
    if "Non-2xx" in text:
        raise RuntimeError(text)

    def percentile(p):
        n, unit = re.search(r"%s%%\s+([\d.]+)(us|ms|s)" % p, text).groups()
        return float(n) * WRK_UNITS[unit]
    return {"requests": int(re.search(r"(\d+) requests in", text).group(1)),
            "requests_per_s": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
            "seconds": float(re.search(r"requests in ([\d.]+)s", text).group(1)), "p50_us": percentile(50), "p99_us": percentile(99)}


def drop_cache(server):
    """Drops the log's files from the page cache, as far as they are on disk."""
    for folder, _, files in os.walk(server.broker.data):
        for name in files:
            if name.endswith(".sock"):
                continue
            fd = os.open(os.path.join(folder, name), os.O_RDONLY)
            try:
                os.fdatasync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


# ------------------------------------------------------------------------------------------- rows

def text_file(name, text):
    path = os.path.join(peers.ROOT, "build", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    return path


JSON_BODY = text_file("bench-object.json", '{"a": 1, "b": "%s", "c": [1, 2, 3]}' % ("x" * 67))
API_BODY = os.path.join(peers.ROOT, "tests/bench/api.json")
FORM_BODY = text_file("bench-form", "value=" + "x" * 100)


PUBLISH = "Publish, one message a request"


def publish(kind, connections, size=100, path="v1/topics/t/messages", more=(), label=None, title=PUBLISH, **kw):
    name = "%s: %s B, %d connection%s" % (label or kind.name, "{:,}".format(size), connections,
                                          "s" if connections > 1 else "")
    return Row(title, kind, name, path, ["-b", str(size), "-c", str(connections), *more], **kw)


def batch(kind, count, connections, path="v1/topics/b/messages", **kw):
    name = "%s: %d x 100 B, %d connections" % (kind.name, count, connections)
    return Row("Batches", kind, name, path, ["-b", "100", "-B", str(count), "-c", str(connections)], each=count, **kw)


TOPIC_COUNTS = (1, 100, 1000, 10000)
TOPIC_KINDS = (Lignum, Redis)


def topics(count, kind=Lignum, noun="topic", **kw):
    path = ("n%d-%%d" if kind is Redis else "v1/topics/n%d-%%d/messages") % count
    name = "%s: %s %s%s" % (kind.name, "{:,}".format(count), noun, "s" * (count > 1))
    return Row("Many topics, 100 B, 64 connections", kind, name, path, ["-b", "100", "-c", "64", "--topics", str(count)],
               prepare=fill(path, "-b", "100", "-c", "64", "--topics", str(count), "-n", str(count)), **kw)


def read(name, path, options, each, prepare=None, **kw):
    return Row("Reads; a message is 100 B", Lignum, "Lignum: " + name, "v1/topics/r/messages?" + path, options, each,
               prepare=prepare or fill_history, **kw)


RAW = "Raw sequential reads, stored records; MB/s, and CPU a MB"


def raw(name, size, connections, **kw):
    """The pieces of what fill_history stored: each as many whole batches as fit into `size`."""
    batches = size // (100 * (100 + 8) + 64)
    path = "v1/topics/r/messages?from=%%d00&limit=100000&bytes=%d" % size
    title = "Lignum: pieces of %s, %d connection%s" % (name, connections, "s" * (connections > 1))
    return Row(RAW, Lignum, title, path,
               ["-c", str(connections), *RECORDS, "-T", str(HISTORY // 100 // batches), "--step", str(batches)],
               rate="received_mb_per_s", prepare=fill_history, **kw)


def fill_cold(server):
    fill("v1/topics/c/messages", "-b", "800000", "-c", "4", "-n", "1000")(server)
    drop_cache(server)


def fill_history(server):
    """Once for each server of the chosen rows."""
    if not getattr(server, "has_history", False):
        fill("v1/topics/r/messages", "-b", "100", "-B", "100", "-c", "16", "-n", str(HISTORY // 100))(server)
    server.has_history = True


def cool_history(server):
    fill_history(server)
    drop_cache(server)


REDIS_FILL = fill("r", "-b", "100", "-B", "64", "-c", "4", "-n", "400")


def publish_rows():
    http = ["-H", "Content-Type: application/x-www-form-urlencoded"]
    title = PUBLISH
    found = [publish(Lignum, c, size, quick=size == 100 and c > 1) for size in (100, 1024) for c in (1, 16, 64, 256)]
    found += [
        Row(title, Lignum, "Lignum: 100 B, 64 connections, 20,000/s as due", "v1/topics/t/messages",
            ["-b", "100", "-c", "64", "-r", "20000"]),
        Row(title, Lignum, "Lignum: 100 B, 64 connections, by wrk", "v1/topics/t/messages", [], tool=wrk),
        Row(title, Lignum, "Lignum: 100 B through /api, 64 connections", "api/message", ["-f", API_BODY, "-c", "64"]),
        Row(title, Lignum, "Lignum: 100 B of JSON, 64 connections", "v1/topics/j/messages", ["-f", JSON_BODY, "-c", "64"]),
        Row(title, Lignum, "Lignum: 100 B, 64 connections, each an idempotent producer", "v1/topics/t/messages",
            ["-b", "100", "-c", "64", "-P"], quick=True),
        publish(LignumHook, 64), publish(LignumInterval, 64, quick=True),
        Row(title, LignumDecode, "Lignum with a JSON hook: 100 B of JSON, 64 connections", "v1/topics/j/messages",
            ["-f", JSON_BODY, "-c", "64"]),
        publish(Bare, 1), publish(Bare, 16, quick=True), publish(Bare, 64, quick=True), publish(Bare, 256),
        publish(BareOs, 64, quick=True), publish(Echo, 16), publish(Echo, 64), publish(Nginx, 64),
        publish(Redis, 64, path="t", quick=True), publish(Redis, 256, path="t"), publish(Redis, 64, 1024, path="t"),
        publish(RedisEverysec, 64, path="t", quick=True),
        publish(Nats, 64, path="t.x"), publish(NatsAlways, 64, path="t.x"), publish(Tarantool, 64, path="512"),
        publish(Rabbit, 64, path="q.quorum", label="RabbitMQ, quorum queue"),
        publish(Rabbit, 64, path="q.stream", label="RabbitMQ, stream"),
        publish(Beanstalk, 64, path=""),
        Row(title, Etcd, "etcd, one node: 100 B, 64 connections", "v2/keys/q", ["-f", FORM_BODY, "-c", "64", *http]),
    ]
    return found


TLS = "TLS 1.3, 64 connections, by wrk"


def tls_rows():
    """Publishing on connections that stay, and GET on a new connection for each request, with a full handshake."""
    post = "v1/topics/t/messages"
    close = ["-H", "Connection: close"]
    return [Row(TLS, kind, name + ": 100 B", post, [], tool=wrk) for kind, name in (
        (Lignum, "Lignum without TLS"), (LignumTls, LignumTls.name), (NginxProxy, NginxProxy.name))] + [
        Row(TLS, kind, kind.name + ": a handshake each", "ping", close, tool=wrk) for kind in (LignumTls, NginxTls)]


def batch_rows():
    return [
        batch(Lignum, 100, 64), batch(Lignum, 1000, 8, quick=True),
        Row("Batches", Lignum, "Lignum: 1 MB bodies, 4 connections", "v1/topics/big/messages",
            ["-b", "1000000", "-c", "4"], quick=True),
        batch(Redis, 64, 8, path="b", quick=True), batch(Redis, 1000, 8, path="b"),
        batch(Tarantool, 64, 8, path="512"), batch(Nats, 64, 8, path="t.b"),
    ]


def read_rows():
    ndjson = ["-H", "Accept: application/x-ndjson"]
    tail = "from=%d&limit=100" % (HISTORY - 100)
    walk = "from=%d00&limit=100"
    return [
        read("100 from the tail, JSON", tail, ["-c", "16"], 100, quick=True),
        read("100 from the tail, NDJSON", tail, ["-c", "16", *ndjson], 100),
        read("100 from the tail, records", tail, ["-c", "16", *RECORDS], 100, quick=True),
        read("100, cold files in order, JSON", walk, ["-c", "16", "-T", str(HISTORY // 100)], 100, prepare=cool_history),
        read("100, cold files in order, records", walk, ["-c", "16", "-T", str(HISTORY // 100), *RECORDS], 100,
             prepare=cool_history),
        raw("64 KiB", 2**16, 1, quick=True), raw("1 MiB", 2**20, 1, quick=True), raw("8 MiB", 2**23, 1, quick=True),
        raw("64 KiB", 2**16, 4, quick=True),
        Row(RAW, Lignum, "Lignum: cold, once through 800 MB in pieces of 8 MB",
            "v1/topics/c/messages?from=%d0&limit=10&bytes=8388608", ["-c", "1", *RECORDS, "-T", "100", "-n", "100"],
            rate="received_mb_per_s", prepare=fill_cold),
        Row("Reads; a message is 100 B", Redis, "Redis, always: XREAD COUNT 100", "r",
            ["-c", "16", "-m", "XREAD COUNT 100 STREAMS r 0-0"], 100, prepare=REDIS_FILL, quick=True),
    ]


def fanout_rows():
    return [Row("Long-poll: one message to all readers; deliveries", Lignum,
                "Lignum: fan-out to %s reader%s" % ("{:,}".format(n), "s" if n > 1 else ""), "", [str(n)], tool=fanout)
            for n in (1, 100, 1000)]


def servers(chosen):
    """Their servers, with those next to each other that are compared; the sweep's last, in its own order."""
    order = [Lignum, LignumTls, NginxProxy, NginxTls, Redis, Bare, BareMany, LignumHook, LignumDecode,
             LignumInterval, RedisEverysec, BareOs, Echo, Nginx, Nats, NatsAlways, Tarantool, Rabbit, Beanstalk, Etcd]
    used = dict.fromkeys(r.kind for r in chosen)
    return [k for k in order if k in used] + [k for k in used if k not in order]


ROWS = (publish_rows() + tls_rows() + batch_rows() + read_rows()
        + [topics(n, kind) for kind in TOPIC_KINDS for n in TOPIC_COUNTS] + [topics(1000, BareMany, "file")]
        + fanout_rows())

PLOTS = [
    ("publish.svg", "Publish of 100 B, 64 connections: acknowledged messages a second", [
        (r.name.split(":")[0] + (", stock client wrk" if "wrk" in r.name else ""), r.name) for r in ROWS
        if r.title == PUBLISH and re.search("100 B, 64 connections(, by wrk)?$", r.name) and r.kind not in (LignumHook, Echo)]),
    ("batch.svg", "Batches and reads of 100 B: messages a second", [
        (r.name, r.name) for r in ROWS if r.title == "Batches" and "1 MB" not in r.name
        or r.title.startswith("Reads") and "tail" in r.name or "XREAD" in r.name]),
]
