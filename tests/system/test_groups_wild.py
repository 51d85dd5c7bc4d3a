"""Requests about groups with wild bodies and parameters: each is answered, none by a 5xx, and the group stays what it is."""

import json

from client import assert_status
from common import BIG
from workers import Group

FIELDS = {"": ["from", "lease_time", "deliveries", "lease_max", "order", "retry", "dead_letter", "expire", "filter", "expired"],
          "/claim": ["consumer", "limit", "bytes", "wait", "settle"], "/settle": ["ack", "release", "reject", "extend"],
          "/seek": ["to"], "/redrive": ["limit", "to"], "/cursor": ["next"]}
NUMBERS = [0, 1, -1, 2, 0.1, 0.25, 1e-9, 1e300, -0.0, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 63, 2 ** 64, 10 ** 30, 20, 1000]
TEXTS = ["", "a", "key", "none", "earliest", "latest", "0", "1:2", "1:2:3", "-1", "2026-11-30T00:00:00Z", "\0", "ü" * 40, "x" * 5000, "_topics",
         "..", "drop", "dead", "0-0000000000000001"]
# Of each field, values of the kind that it takes: a body of wild ones alone is refused for the first of them.
FITS = dict([(name, NUMBERS) for name in ("lease_time", "deliveries", "lease_max", "expire", "limit", "bytes", "wait")],
            **{name: TEXTS for name in ("from", "order", "dead_letter", "expired", "consumer", "to", "next")})


def value(rng, leases, depth=0):
    """Any JSON value, of the kinds that some field takes."""
    kind = rng.randrange(9 if depth < 3 else 5)
    if kind < 2:
        return rng.choice(NUMBERS) if rng.random() < 0.8 else rng.uniform(-10, 1e6)
    if kind < 4:
        return rng.choice(TEXTS) if rng.random() < 0.5 or not leases else rng.choice(leases)
    if kind == 4:
        return rng.choice([None, True, False])
    if kind < 7:
        return [value(rng, leases, depth + 1) for _ in range(rng.randrange(4))]
    names = ["lease", "delay", "seconds", "why", "min", "max", "factor", "key", "headers", "name", "ack", "release", "extend"]
    return {rng.choice(names): value(rng, leases, depth + 1) for _ in range(rng.randrange(4))}


def wild(rng, below, leases):
    if rng.random() < 0.05:
        return value(rng, leases)
    fields = FIELDS[below] + ["lease"] * (rng.random() < 0.1)
    return {name: rng.choice(FITS[name]) if name in FITS and rng.random() < 0.8 else value(rng, leases)
            for name in rng.sample(fields, rng.randint(0, min(3, len(fields))))}


def test_wild_requests_about_groups_are_answered_and_break_nothing(node, rng, figure):
    b = node()
    b.ok("PUT", "/v1/topics/t", status=201)
    b.publish_lines("t", [b"m%d" % i for i in range(50)])
    sane, g, leases, statuses = Group("t", "sane"), Group("t", "g"), [], {}
    sane.put(b, lease_time=3600, lease_max=3)
    held = sane.claim(b, limit=3)
    g.put(b, lease_time=0.1)
    with b.connect() as c:
        for i in range(20000 if BIG else 1500):
            below = rng.choice(list(FIELDS))
            method = rng.choice(["PUT", "PATCH"]) if below == "" else "PUT" if below == "/cursor" else "POST"
            body = wild(rng, below, leases)
            if isinstance(body, dict) and "wait" in body and isinstance(body["wait"], (int, float)):
                body["wait"] = min(body["wait"], 0.01)
            headers = {"If-Match": rng.choice(["1", '"2"', "*", "x", "9" * 30])} if below == "/cursor" and rng.random() < 0.7 else {}
            a = c.request(method, g.path + below, json.dumps(body), headers)
            statuses[a.status] = statuses.get(a.status, 0) + 1
            assert a.status < 500, "request %d, %s %s %r: %r" % (i, method, below, body, a)
            if a.status == 200 and below == "/claim":
                leases = [m["lease"] for m in a.json["messages"]][:5] + leases[:5]
            if i % 50 == 0:
                info = g.info(b)
                assert 0 <= info["leased"] <= 50 and 0 <= info["lag"] <= 50, info
    assert statuses.get(200, 0) > 20 and statuses.get(400, 0) > 100, statuses
    assert sane.info(b)["leased"] == 3
    assert set(sane.settle(b, ack=[m["lease"] for m in held])) == {"ok"}
    b.restart()
    assert sane.info(b)["lag"] == 47
    assert_status(g.call(b, "POST", "/seek", {"to": "earliest"}), 200)
    assert len(g.drain(b)) == 50
    figure("wild requests about groups: %r", statuses)
