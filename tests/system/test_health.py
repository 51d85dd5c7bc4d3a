"""GET /v1/health and /v1/hooks: what is wrong, since when, what to do; and the answers that help a newcomer on (doc/http.md)."""

import os

import pytest

from client import assert_refused, assert_status
from common import as_id, wait_until


def problems(b):
    return {p["code"]: p for p in b.ok("GET", "/v1/health").json["problems"]}


def test_a_sound_node_has_no_problems(node):
    b = node()
    health = b.ok("GET", "/v1/health").json
    assert (health["status"], health["problems"], health["role"]) == ("ok", [], "alone")
    assert health["leader"] == health["node"]


def test_a_hook_that_fails_is_reported_with_its_line_and_so_are_rejections(node):
    b = node(config='function on_publish(msg)\n  if msg.payload == "no" then return reject("not \\xff", { code = "busy" }) end\n'
                    '  if msg.payload == "bad" then error("broken") end\nend\nevery(3600, function() end)\nfunction authorize() return true end')
    for body in (b"good", b"no", b"bad", b"good"):
        b.post("/v1/topics/t/messages", body)
    answer = b.ok("GET", "/v1/hooks").json
    hooks = {h["name"]: h for h in answer["hooks"]}
    publish = hooks["on_publish"]
    assert (publish["calls"], publish["errors"]) == (4, 1)
    assert 0 < publish["p99"] < 1 and publish["seconds"] > 0
    assert publish["place"].endswith("lignum.lua:1")
    assert publish["last_error"]["text"].endswith("lignum.lua:3: broken")
    assert hooks["authorize"]["calls"] >= 5 and hooks["authorize"]["last_error"] is None
    assert [(r["topic"], r["code"], r["why"]) for r in answer["rejected"]] == [("t", "busy", "not \\xff")]
    found = problems(b)["hook_fails"]
    assert found["subject"] == "on_publish" and "lignum.lua:3: broken" in found["what"] and found["severity"] == "warning"
    again = problems(b)["hook_fails"]
    assert again["since"] == found["since"] and b.ok("GET", "/v1/health").json["status"] == "warning"


def test_a_timer_that_fails_is_reported(node):
    b = node(config='every(0.05, function()\n  error("tick")\nend)')
    wait_until(lambda: "timer_fails" in problems(b), what="the timer's failure is reported")
    assert "lignum.lua:2: tick" in problems(b)["timer_fails"]["what"]


def test_what_diverged_is_named_until_it_is_gone(node):
    b = node()
    place = os.path.join(b.data, "diverged", "orders-12-1700000000000")
    os.makedirs(place + "/x")
    os.makedirs(place + ".part")
    found = problems(b)["diverged"]
    assert "orders-12-1700000000000" in found["what"] and ".part" not in found["what"]
    assert "lignum dump" in found["cure"]
    os.removedirs(place + "/x")
    assert "diverged" not in problems(b)


def test_a_full_disk_is_critical(make_node, small_disk):
    with make_node(data=small_disk(12 << 20), set=["store.segment.bytes=4194304"]) as b:
        for _ in range(100):
            if b.post("/v1/topics/t/messages", os.urandom(1 << 20)).status == 507:
                break
        health = b.ok("GET", "/v1/health").json
        assert health["status"] == "critical" and health["problems"][0]["code"] == "disk_full"
        assert_status(b.get("/readyz"), 507, "no_space")
        for _ in range(20):
            assert b.post("/v1/topics/t/messages", bytes(1 << 20)).status == 507
            b.ok("GET", "/v1/health")
        assert b.said().count("health: the disk is full") == 1


def test_a_lost_follower_and_a_small_set_are_reported_by_the_leader(cluster):
    c = cluster(topics={"live": {"replication": "live", "copies": 3}})
    leader = c.leader()
    wait_until(lambda: leader.ok("GET", "/v1/health").json["problems"][:1] == [] or "set_has_no_spare" in problems(leader),
               what="the cluster is whole")
    assert "set_has_no_spare" in problems(leader)
    gone = c.followers()[0]
    gone.kill()
    wait_until(lambda: "follower_gone" in problems(leader), what="the loss is reported")
    assert problems(leader)["follower_gone"]["subject"] == gone.name


def test_a_node_with_another_configuration_is_reported_by_all_until_it_is_equal(cluster):
    """Names and addresses differ between these nodes from the beginning, and are no difference."""
    c = cluster()
    changed, *others = c.nodes

    def differing(node):
        found = {p["subject"] for p in node.ok("GET", "/v1/health").json["problems"] if p["code"] == "config_differs"}
        assert "lignum_nodes_config_differs %d\n" % len(found) in node.ok("GET", "/metrics").body.decode()
        return found

    def told(node):
        return {n["name"]: n.get("config") for n in node.view()["nodes"]}

    wait_until(lambda: all(len(told(n)) == 3 and None not in told(n).values() for n in c.nodes), what="all have told")
    assert len({v for n in c.nodes for v in told(n).values()}) == 1
    assert [differing(n) for n in c.nodes] == [set()] * 3
    hook = "\nfunction on_publish(msg) if msg.payload == 'no' then return reject('no') end end\n"
    changed.write_config(changed.config() + hook)
    changed.reload()
    names = {n.name for n in others}
    wait_until(lambda: differing(changed) == names and all(differing(n) == {changed.name} for n in others), what="it differs")
    [problem] = [p for p in others[0].ok("GET", "/v1/health").json["problems"] if p["code"] == "config_differs"]
    assert problem["severity"] == "warning" and changed.name in problem["what"] and "reload" in problem["cure"]
    for n in others:
        n.write_config(n.config() + "-- as all have it" + hook)
        n.reload()
    wait_until(lambda: not any(differing(n) for n in c.nodes), what="all are equal")


def test_a_silent_consul_is_reported(cluster):
    c = cluster()
    c.consul.freeze()
    wait_until(lambda: all("consul_unreachable" in problems(n) for n in c.nodes), timeout=60, what="every node reports it")
    c.consul.thaw()
    wait_until(lambda: not any("consul_unreachable" in problems(n) for n in c.nodes), timeout=60, what="it is over")


def test_health_needs_observe_on_everything(node):
    b = node(set=["access.open=false"])
    assert_status(b.get("/v1/health"), 401)
    assert_status(b.get("/v1/hooks"), 401)
    assert_status(b.get("/"), 200)


# ---- finding the way

def test_the_first_paths_are_listed(node):
    b = node(config='route.get("/mine/{x}", function() return 204 end)')
    index = b.ok("GET", "/").json
    for name, path in index.items():
        if name != "service":
            assert b.get(path).status in (200, 303), path
    paths = {p["path"]: p for p in b.ok("GET", "/v1").json["paths"]}
    assert set(paths["/v1/topics/{topic}"]["methods"]) == {"GET", "PUT", "PATCH", "DELETE"}
    assert paths["/mine/{x}"]["methods"] == ["GET"] and paths["/v1/health"]["summary"]


def test_an_own_route_of_the_root_is_kept(node):
    b = node(config='route.get("/", function() return 200, "mine" end)')
    assert b.get("/").body == b"mine"


@pytest.mark.parametrize("method, target, place", [
    ("GET", "/v1/", "/v1"), ("GET", "/ping/", "/ping"), ("GET", "/v1/topics/t/messages//?from=0", "/v1/topics/t/messages?from=0"),
    ("POST", "/v1/topics/t/messages/", "/v1/topics/t/messages"), ("DELETE", "/v1/topics/t/", "/v1/topics/t"),
], ids=as_id)
def test_a_slash_too_many_is_a_redirect(node, method, target, place):
    a = node().request(method, target, b"x" if method == "POST" else None)
    assert (a.status, a.header("location")) == (308, place)


@pytest.mark.parametrize("method, target, meant", [
    ("GET", "/v1/topic", "/v1/topics"), ("POST", "/v1/topics/t/message", "/v1/topics/t/messages"), ("GET", "/topics/t", "/v1/topics/t"),
    ("GET", "/helthz", "/healthz"), ("GET", "/health/", "/v1/health"), ("GET", "/message", "/api/message"),
    ("GET", "/v1/topic/%3Cb%3E", "/v1/topics/{topic}"),
], ids=as_id)
def test_a_misspelt_path_is_told_the_nearest(node, method, target, meant):
    a = node().request(method, target, b"x" if method == "POST" else None)
    assert_status(a, 404, "not_found")
    assert "did you mean %s?" % meant in a.json["detail"]


def test_a_large_body_to_an_unknown_path_is_not_read(node):
    with node().connect() as c:
        c.send(b"POST /v1/topic HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16385\r\n\r\n")
        assert_refused(c.answer("POST"), 404, "not_found")
    with node().connect() as c:
        c.send(b"POST /v1/topic HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert_refused(c.answer("POST"), 404, "not_found")
