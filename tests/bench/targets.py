"""The targets, as ratios within a round or figures of Lignum, and whether they were reached."""

import statistics

PUBLISH = "Lignum: 100 B, 64 connections"


class Outcome:
    def __init__(self, text, values, want, most):
        self.text, self.values, self.want, self.most = text, values, want, most

    def shown(self, v):
        return ("{:,.0f}" if abs(v) >= 1000 else "{:.2f}").format(v)

    def median(self):
        return self.shown(statistics.median(self.values)) if self.values else "-"

    def spread(self):
        return "%s - %s" % (self.shown(min(self.values)), self.shown(max(self.values))) if self.values else ""

    def wanted(self):
        if self.want is None:
            return ""
        return ("<= " if self.most else ">= ") + self.shown(self.want)

    def reached(self, value):
        return value <= self.want if self.most else value >= self.want

    def missed(self):
        """Missed by more than the spread: no round reached it."""
        return self.want is not None and bool(self.values) and not any(self.reached(v) for v in self.values)

    def verdict(self):
        if not self.values:
            return "skipped"
        if self.want is None:
            return "to compare"
        if self.reached(statistics.median(self.values)):
            return "reached"
        return "MISSED" if self.missed() else "within the spread"


def ratio(a, b, key="rate"):
    return lambda r: r[a][key] / r[b][key]


def figure(name, key):
    return lambda r: r[name][key]


def to_limit(name, limit):
    return lambda r: r[name]["rate"] / r["limits"][limit]


def disk(r):
    """The cost of a megabyte, and of one of the disk, in the same unit."""
    return r["Lignum: 1 MB bodies, 4 connections"]["rate"] / r["limits"]["disk_1m_mb_per_s"]


def once(name):
    return lambda figures: figures[name]


# Text, value of a round, target (None: a figure that explains others), whether the target is an upper bound.
OF_ROUNDS = [
    ("durable publish, 64 connections / Redis always", ratio(PUBLISH, "Redis, always: 100 B, 64 connections"), 1.1, False),
    ("durable publish, 64 connections / bare program", ratio(PUBLISH, "bare program: 100 B, 64 connections"), .88, False),
    ("durable publish / NATS JetStream, sync always",
     ratio(PUBLISH, "NATS JetStream, sync always: 100 B, 64 connections"), 10, False),
    ("durable publish / Tarantool, fsync", ratio(PUBLISH, "Tarantool: 100 B, 64 connections"), 3, False),
    ("durable publish / RabbitMQ quorum queue", ratio(PUBLISH, "RabbitMQ, quorum queue: 100 B, 64 connections"), 3, False),
    ("durability interval / Redis everysec",
     ratio("Lignum interval: 100 B, 64 connections", "Redis, everysec: 100 B, 64 connections"), 1.0, False),
    ("publish by TLS 1.3 / plain, 64 connections", ratio("Lignum, TLS: 100 B", "Lignum without TLS: 100 B"), .7, False),
    ("publish by TLS 1.3 / nginx that ends TLS in front", ratio("Lignum, TLS: 100 B", "nginx, TLS in front of Lignum: 100 B"),
     1.0, False),
    ("full handshakes / nginx", ratio("Lignum, TLS: a handshake each", "nginx, TLS: a handshake each"), 1.0, False),
    ("CPU us a publish, 16 connections", figure("Lignum: 100 B, 16 connections", "server_us"), 8, True),
    ("CPU us a publish, 64 connections", figure(PUBLISH, "server_us"), 8, True),
    ("CPU us a publish, 256 connections", figure("Lignum: 100 B, 256 connections", "server_us"), 8, True),
    ("durable messages/s, 256 connections", figure("Lignum: 100 B, 256 connections", "rate"), 100000, False),
    ("p99 us, 256 connections", figure("Lignum: 100 B, 256 connections", "p99_us"), 10000, True),
    ("batches of 1,000, 8 connections: messages/s", figure("Lignum: 1000 x 100 B, 8 connections", "rate"), 2e6, False),
    ("batches of 1,000 / Redis always, pipelines of 64",
     ratio("Lignum: 1000 x 100 B, 8 connections", "Redis, always: 64 x 100 B, 8 connections"), 3.5, False),
    ("1 MB bodies, 4 connections / disk with an fdatasync each MiB", disk, .6, False),
    ("read of 100 as JSON / Redis XREAD",
     ratio("Lignum: 100 from the tail, JSON", "Redis, always: XREAD COUNT 100"), 1.5, False),
    ("read of 100 as records / Redis XREAD",
     ratio("Lignum: 100 from the tail, records", "Redis, always: XREAD COUNT 100"), 4, False),
    ("raw read, 64 KiB pieces, 4 connections / sendfile",
     to_limit("Lignum: pieces of 64 KiB, 4 connections", "sendfile_64k_mb_per_s"), .8, False),
    ("raw read, 64 KiB pieces / sendfile",
     to_limit("Lignum: pieces of 64 KiB, 1 connection", "sendfile_64k_mb_per_s"), .8, False),
    ("raw read, 64 KiB pieces / sendfile of each when asked for",
     to_limit("Lignum: pieces of 64 KiB, 1 connection", "asked_64k_mb_per_s"), .85, False),
    ("raw read, 8 MiB pieces / sendfile",
     to_limit("Lignum: pieces of 8 MiB, 1 connection", "sendfile_1m_mb_per_s"), .8, False),
    ("raw read, 1 MiB pieces / sendfile",
     to_limit("Lignum: pieces of 1 MiB, 1 connection", "sendfile_1m_mb_per_s"), .8, False),
    ("cold sequential read / disk",
     to_limit("Lignum: cold, once through 800 MB in pieces of 8 MB", "cold_read_mb_per_s"), .9, False),
    ("10,000 topics / Redis always, 10,000 streams", ratio("Lignum: 10,000 topics", "Redis, always: 10,000 topics"), 1.0, False),
    ("10,000 topics / 1 topic", ratio("Lignum: 10,000 topics", "Lignum: 1 topic"), .85, False),
    ("CPU a message, 1,000 topics / 1 topic", ratio("Lignum: 1,000 topics", "Lignum: 1 topic", "server_us"), 1.15, True),
    ("CPU us a publish, 16 connections / bare program", ratio("Lignum: 100 B, 16 connections",
                                                             "bare program: 100 B, 16 connections", "server_us"), 1.1, True),
    ("publish through /api, 64 connections / Redis always",
     ratio("Lignum: 100 B through /api, 64 connections", "Redis, always: 100 B, 64 connections"), 1.1, False),
    ("CPU us a publish through /api, 64 connections", figure("Lignum: 100 B through /api, 64 connections", "server_us"), 10, True),
    ("idempotent publish / plain, 64 connections",
     ratio("Lignum: 100 B, 64 connections, each an idempotent producer", PUBLISH), .95, False),
    ("1,000 topics / bare program with 1,000 files", ratio("Lignum: 1,000 topics",
                                                           "bare program, many files: 1,000 files"), None, False),
    ("bare program, 1,000 files / 1 file",
     ratio("bare program, many files: 1,000 files", "bare program: 100 B, 64 connections"), None, False),
    ("CPU a message, bare program, 1,000 files / 1 file",
     ratio("bare program, many files: 1,000 files", "bare program: 100 B, 64 connections", "server_us"), None, True),
    ("nginx without any work / Tarantool, fsync",
     ratio("nginx: 100 B, 64 connections", "Tarantool: 100 B, 64 connections"), None, False),
]

# The same for the figures that are taken once; a list where there are several of a kind.
OF_ONCE = [
    ("CPU us of an on_publish that does nothing", once("hook_us"), 1, True),
    ("CPU us of an on_publish that decodes JSON", once("decode_us"), 5, True),
    ("CPU a publish with 100 GB behind it / with none", once("history_cpu"), 1.1, True),
    ("private memory of an idle node, MB", once("idle_anon_mb"), 4, True),
    ("private memory added by a stored message, of 20 million, bytes", once("bytes_a_message"), 0.1, True),
    ("wake-ups of an idle node in 5 s", once("wakeups"), 1, True),
]

# Those that the main page shows.
MAIN = {
    "durable publish, 64 connections / Redis always", "durable publish / NATS JetStream, sync always",
    "durable publish / Tarantool, fsync", "durable publish / RabbitMQ quorum queue", "durability interval / Redis everysec",
    "publish by TLS 1.3 / plain, 64 connections", "publish by TLS 1.3 / nginx that ends TLS in front",
    "durable messages/s, 256 connections", "batches of 1,000, 8 connections: messages/s",
    "batches of 1,000 / Redis always, pipelines of 64", "read of 100 as JSON / Redis XREAD",
    "read of 100 as records / Redis XREAD", "10,000 topics / Redis always, 10,000 streams", "10,000 topics / 1 topic",
    "idempotent publish / plain, 64 connections", "publish through /api, 64 connections / Redis always",
    "CPU us a publish, 64 connections", "private memory of an idle node, MB", "wake-ups of an idle node in 5 s",
}


def value_of(of, r):
    """None if one of its rows was skipped."""
    try:
        return of(r)
    except (KeyError, ZeroDivisionError):
        return None


def judge(rounds, figures, known_only):
    outcomes = []
    for targets, sources in ((OF_ROUNDS, rounds), (OF_ONCE, [figures])):
        for text, of, want, most in targets:
            found = [v for v in (value_of(of, s) for s in sources) if v is not None]
            values = found[0] if found and isinstance(found[0], list) else found
            if values or not known_only:
                outcomes.append(Outcome(text, values, want, most))
    return outcomes
