"""The audit (doc/security.md, "Audit"): who did what, in _audit, or in the log where it cannot be stored."""

import json
import os
import re
import time

from client import assert_status
from common import wait_until

from test_access import ALL, add, bearer, revoke


def entries(b, secret):
    a = b.ok("GET", "/v1/topics/_audit/messages?limit=10000", None, bearer(secret))
    return [json.loads(m["data"]) for m in a.json["messages"]]


def find(b, secret, **wanted):
    return [e for e in entries(b, secret) if all(e.get(k) == v for k, v in wanted.items())]


def test_the_audit_says_who_did_what_and_has_no_secret(node):
    b = node()
    root, auditor = add(b, "root"), add(b, "auditor", "_audit", "read")
    b.ok("PUT", "/v1/topics/orders?x=1", b'{"retain":{"age":60}}', bearer(root), status=201)
    assert_status(b.request("PATCH", "/v1/topics/none", b"{}", bearer(root)), 404)
    b.ok("PUT", "/v1/topics/orders/groups/g", b"{}", bearer(root), status=201)
    a = b.request("POST", "/v1/tokens", json.dumps({"name": "ci", "topics": "*", "may": "read"}).encode(), bearer(root))
    secret = a.json["secret"]
    b.ok("DELETE", "/v1/tokens/ci", None, bearer(root), status=204)
    b.ok("POST", "/v1/topics/orders/messages", b"PAYLOAD", bearer(root))
    b.lua('local s = "%s" return #s' % root)
    assert "error" in b.evaluate("error('no')").err or True
    wait_until(lambda: find(b, auditor, who="console", outcome="error"), what="the last entry is there")
    did = {(e["who"], e["did"], e.get("topic"), e.get("about"), e["status"]) for e in entries(b, auditor) if "status" in e}
    assert did == {
        ("token root", "PUT /v1/topics/orders", "orders", None, 201), ("token root", "PATCH /v1/topics/none", "none", None, 404),
        ("token root", "PUT /v1/topics/orders/groups/g", "orders", None, 201),
        ("token root", "POST /v1/tokens", None, "token ci", 201), ("token root", "DELETE /v1/tokens/ci", None, None, 204)}
    lines = [e["did"] for e in entries(b, auditor) if e["who"] == "console"]
    assert any('tokens.add("auditor", { topics = "_audit", may = "read", })' in line for line in lines), lines
    assert any('local s = "lgn_..."' in line for line in lines), lines
    text = b.ok("GET", "/v1/topics/_audit/messages", None, bearer(auditor)).text
    assert not [s for s in (root, auditor, secret, "PAYLOAD", "x=1") if s in text]
    assert all(re.match(r"127\.0\.0\.1:\d+$", e["from"]) for e in entries(b, auditor) if "status" in e)
    for method, target, body in [("POST", "/v1/topics/_audit/messages", b"{}"), ("DELETE", "/v1/topics/_audit", None),
                                 ("PATCH", "/v1/topics/_audit", b'{"retain":{"bytes":1}}')]:
        assert b.request(method, target, body, bearer(root)).status == 403
    assert_status(b.request("GET", "/v1/topics/_audit/messages", None, bearer(add(b, "plain"))), 403)


def test_the_audit_outlives_a_restart_and_can_be_switched_off_and_on(node):
    b = node(config="access { audit = true }")
    b.ok("PUT", "/v1/topics/a", b"{}", status=201)
    there = wait_until(lambda: b.get("/v1/topics/_audit").status == 200 and b.read("_audit")["messages"], what="it is stored")
    assert [json.loads(m["data"])["who"] for m in there] == ["anonymous"]
    b.restart()
    b.write_config("")
    b.reload()
    b.ok("PUT", "/v1/topics/b", b"{}", status=201)
    assert [json.loads(m["data"])["topic"] for m in b.read("_audit")["messages"]] == ["a"]
    b.write_config("access { audit = false }")
    b.reload()
    root = add(b, "root", "*,_audit")
    b.ok("PUT", "/v1/topics/c", b"{}", bearer(root), status=201)
    assert len(entries(b, root)) == 1


def test_refusals_are_sampled_and_counted_in_the_audit(node):
    b = node()
    root = add(b, "root", "*,_audit")
    began = time.monotonic()
    for _ in range(50):
        assert b.get("/v1/topics").status == 401
    took = time.monotonic() - began
    wait_until(lambda: time.monotonic() - began > took + 1.1, what="a second has passed")
    assert b.request("DELETE", "/v1/topics/x", None, bearer("lgn_wrong")).status == 401
    refused = wait_until(lambda: [e for e in entries(b, root) if e.get("status") == 401 and e["did"] == "DELETE /v1/topics/x"],
                         what="the last one is there")
    assert refused[0]["who"] == "anonymous" and refused[0].get("left_out", 0) >= 45 - took
    total = [e for e in entries(b, root) if e.get("status") == 401]
    assert len(total) <= took + 3
    assert sum(1 + e.get("left_out", 0) for e in total) == 51


def test_an_entry_that_cannot_be_stored_is_in_the_log_and_counted(node, small_disk):
    disk = small_disk(8 << 20)
    b = node(data=os.path.join(disk, "data"))
    root = add(b, "root")
    with open(os.path.join(disk, "fill"), "wb") as f:
        try:
            while True:
                f.write(b"x" * 65536)
                f.flush()
        except OSError:
            pass

    def refused_and_said():
        a = b.request("PUT", "/v1/topics/t%d" % time.monotonic_ns(), b"{}", bearer(root))
        return a.status == 507 and "warn audit: cannot be stored (the disk is full)" in b.said()
    wait_until(refused_and_said, what="the entry is in the log", timeout=60)
    line = [l for l in b.said().splitlines() if "cannot be stored" in l][-1]
    assert '"who":"token root"' in line and '"status":507' in line and root not in line
    a = b.request("GET", "/metrics", None, bearer(root)).text
    assert int(re.search(r"^lignum_audit_failed_total (\d+)", a, re.M)[1]) >= 1


def test_a_follower_writes_its_entries_to_its_log_and_the_leader_says_via_whom(cluster):
    c = cluster(count=2)
    leader, follower = c.leader(), c.followers()[0]
    root = add(leader, "root", "*,_audit")
    wait_until(lambda: follower.request("GET", "/v1/tokens", None, bearer(root)).status == 200, what="the follower has it")
    follower.ok("PUT", "/v1/topics/t", b"{}", bearer(root), status=201)
    found = wait_until(lambda: find(follower, root, did="PUT /v1/topics/t"), what="it is on both nodes")
    assert (found[0]["via"], found[0]["node"], found[0]["who"]) == (follower.name, leader.name, "token root")
    follower.lua("1 + 1")
    assert re.search(r'info audit: .*"did":"1 \+ 1"', follower.said()) and follower.get("/v1/topics").status == 401
    assert re.search(r'info audit: .*"status":401', follower.said())
