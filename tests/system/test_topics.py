"""/v1: topics, health, cluster status and OpenAPI (doc/http.md)."""

import json
import os
import re

import pytest

from client import assert_refused, assert_status
from common import as_id

@pytest.fixture(scope="module")
def b(share_node):
    return share_node(set=["store.segment.messages=10"])


def test_put_creates_is_idempotent_and_refuses_other_settings(b):
    settings = json.dumps({"durability": "interval", "retain": {"messages": 100}})
    a = b.request("PUT", "/v1/topics/put", settings)
    assert_status(a, 201)
    a = b.request("PUT", "/v1/topics/put", settings)
    assert_status(a, 200)
    a = b.request("PUT", "/v1/topics/put", json.dumps({"durability": "os"}))
    assert_status(a, 409, "topic_exists")
    t = b.topic("put")
    assert (t["name"], t["durability"], t["first"], t["next"]) == ("put", "interval", 0, 0)
    assert t["retain"]["messages"] == 100


def test_topics_are_listed_in_order_of_names_without_the_internal_ones(b):
    for name in ["list-b", "list-a", "list-c"]:
        b.publish(name, b"x")
    topics = b.ok("GET", "/v1/topics").json["topics"]
    names = [t["name"] for t in topics]
    assert names == sorted(names)
    assert {"list-a", "list-b", "list-c"} <= set(names)
    assert "_topics" not in names
    internal = [t["name"] for t in b.ok("GET", "/v1/topics?internal=1").json["topics"]]
    assert "_topics" in internal
    one = next(t for t in topics if t["name"] == "list-a")
    for field in ["first", "next", "bytes", "replication", "copies", "durability", "retain"]:
        assert field in one


def test_a_topic_too_many_is_refused_until_the_limit_rises_or_another_is_deleted(node):
    b = node(config="limits { topics = 16 }\n")
    made = 0
    while (a := b.post("/v1/topics/many-%d/messages" % made, b"x")).status == 200 and made < 16:
        made += 1
    assert_status(a, 507, "too_many_topics")
    assert "limits.topics" in a.json["detail"] and a.json["retryable"] is False and a.json["appended"] is False
    assert_status(b.request("PUT", "/v1/topics/more", "{}"), 507, "too_many_topics")
    b.publish("many-0", b"those that exist take messages")
    assert_status(b.request("DELETE", "/v1/topics/many-0"), 204)
    assert_status(b.request("PUT", "/v1/topics/more", "{}"), 201)
    assert_status(b.request("PUT", "/v1/topics/most", "{}"), 507, "too_many_topics")
    b.write_config("limits { topics = 17 }\n")
    b.reload()
    assert_status(b.request("PUT", "/v1/topics/most", "{}"), 201)
    b.restart()
    assert b.topic("most")["next"] == 0


def names_of(b, query):
    """All pages of names, and how many pages there were."""
    names, after, pages = [], "", 0
    while True:
        page = b.ok("GET", "/v1/topics?names=1&%s%s" % (query, "&after=" + after if after else "")).json
        names, pages = names + page["names"], pages + 1
        if "after" not in page:
            return names, pages
        after = page["after"]
        assert after == page["names"][-1]


def test_names_are_listed_page_by_page_by_prefix_and_pattern(node):
    b = node()
    made = sorted("%s-%d" % (kind, i) for kind in ("user", "users", "device") for i in range(25))
    for name in reversed(made):
        b.publish(name, b"x")
    assert names_of(b, "limit=7") == (made, 11)
    assert names_of(b, "limit=75") == (made, 1)
    assert names_of(b, "prefix=user-&limit=10") == ([n for n in made if n.startswith("user-")], 3)
    assert names_of(b, "prefix=user-2&limit=6") == ([n for n in made if n.startswith("user-2")], 1)
    assert names_of(b, "pattern=*-7&limit=2") == (["device-7", "user-7", "users-7"], 2)
    assert names_of(b, "prefix=none") == ([], 1)
    assert names_of(b, "internal=1&limit=10")[0] == ["_topics"] + made
    assert names_of(b, "pattern=_*") == (["_topics"], 1)
    whole = b.ok("GET", "/v1/topics?prefix=device-1").json["topics"]
    assert [t["name"] for t in whole] == [n for n in made if n.startswith("device-1")] and whole[0]["next"] == 1
    assert_status(b.get("/v1/topics?prefix=a&pattern=b"), 400, "bad_value")
    assert_status(b.get("/v1/topics?prefix=a*"), 400, "bad_value")


def test_topics_are_deleted_by_prefix_page_by_page(node):
    b = node()
    for i in range(250):
        b.ok("PUT", "/v1/topics/gone-%03d" % i, "{}", status=201)
    b.publish("gone", b"does not begin with it")
    b.publish("stays", b"x")
    a = b.ok("DELETE", "/v1/topics?prefix=gone-&limit=120").json
    assert a == {"deleted": 120, "after": "gone-119"}
    assert names_of(b, "")[0] == ["gone"] + ["gone-%03d" % i for i in range(120, 250)] + ["stays"]
    a = b.ok("DELETE", "/v1/topics?prefix=gone-&after=gone-119").json
    assert a == {"deleted": 130}
    b.restart()
    assert names_of(b, "")[0] == ["gone", "stays"]
    assert sorted(os.listdir(b.data + "/topics") + os.listdir(b.data + "/small")) == ["_topics", "gone", "stays"]
    for query in ("", "?prefix=", "?prefix=a*", "?prefix=a&limit=0", "?prefix=a&pattern=b", "?pattern=*"):
        assert_status(b.request("DELETE", "/v1/topics" + query), 400)
    assert_status(b.request("DELETE", "/v1/topics?prefix=_"), 403, "forbidden")
    assert names_of(b, "")[0] == ["gone", "stays"]


def test_streams_are_not_deleted_by_prefix(node):
    b = node(config="durable_streams {}")
    b.ok("PUT", "/v1/stream/s", b"kept", status=201)
    b.publish("st", b"x")
    assert b.ok("DELETE", "/v1/topics?prefix=s").json == {"deleted": 1}
    assert b.ok("GET", "/v1/stream/s").body == b"kept"


def test_patch_changes_some_settings_and_leaves_the_others(b):
    b.ok("PUT", "/v1/topics/patch", json.dumps({"durability": "os", "retain": {"messages": 50}}), status=201)
    b.ok("PATCH", "/v1/topics/patch", json.dumps({"durability": "commit"}))
    t = b.topic("patch")
    assert (t["durability"], t["retain"]["messages"]) == ("commit", 50)
    assert b.publish("patch", b"x")["durability"] == "commit"
    assert_status(b.request("PATCH", "/v1/topics/absent", "{}"), 404, "unknown_topic")


@pytest.mark.parametrize("body, word", [
    ({"durability": "sometimes"}, "durability"), ({"replication": "maybe"}, "replication"), ({"copies": 0}, "copies"),
    ({"copies": 1.5}, "copies"), ({"copies": "2"}, "copies"), ({"retain": 5}, "retain"), ({"retain": []}, "retain: must be a table, not a list"), ({"retain": None}, "retain: must be a table, not null"),
    ({"retain": {"age": 0.0004}}, "retain.age"), ({"segment": {"age": 1.0005}}, "segment.age"),
    ({"retain": {"bytes": 2**53 + 1}}, "retain.bytes"), ({"retain": {"messages": 2**64}}, "retain.messages"),
    ({"copies": 1.5}, "copies"), ({"retain": {"mesages": 5}}, "mesages"), ({"retain": {"bytes": -1}}, "bytes"), ({"segment": {"messages": 0}}, "messages"),
    ({"retention": {}}, "retention"),
], ids=as_id)
def test_settings_that_cannot_be_are_refused_with_their_name(b, body, word):
    for method in ["PUT", "PATCH"]:
        b.request("PUT", "/v1/topics/settings", "{}")
        name = "settings" if method == "PATCH" else "settings-new"
        a = b.request(method, "/v1/topics/" + name, json.dumps(body))
        assert_status(a, 400)
        assert word in a.json["detail"]
    assert_status(b.get("/v1/topics/settings-new"), 404, "unknown_topic")


def test_copies_of_a_wal_topic_are_refused_and_change_nothing(b):
    def refused(method, path, body):
        a = b.request(method, path, json.dumps(body))
        assert_status(a, 400, "bad_value")
        assert 'copies: 2 needs replication "live"' in a.json["detail"]

    t = "/v1/topics/wal-two"
    refused("PUT", t, {"copies": 2})
    refused("PUT", t, {"replication": "wal", "copies": 2})
    refused("POST", "/api/topics", {"name": "wal-two", "copies": 2})
    assert_status(b.get(t), 404, "unknown_topic")
    b.ok("PUT", t, "{}", status=201)
    refused("PATCH", t, {"copies": 2})
    b.ok("PATCH", t, '{"replication": "live", "copies": 2}')
    refused("PATCH", t, {"replication": "wal"})
    assert (b.topic("wal-two")["replication"], b.topic("wal-two")["copies"]) == ("live", 2)
    b.ok("PATCH", t, '{"replication": "wal", "copies": 1}')


def test_delete_removes_the_topic_and_a_new_one_of_that_name_is_empty(b):
    b.publish_lines("deleted", [b"%d" % i for i in range(35)])
    a = b.request("DELETE", "/v1/topics/deleted")
    assert a.status in (200, 204), a
    assert_status(b.get("/v1/topics/deleted"), 404, "unknown_topic")
    assert_status(b.get("/v1/topics/deleted/messages"), 404, "unknown_topic")
    assert_status(b.request("DELETE", "/v1/topics/deleted"), 404, "unknown_topic")
    assert b.publish("deleted", b"new")["first"] == 0
    assert b.messages("deleted") == [b"new"]


def test_internal_topics_are_read_only_to_clients(b):
    for a in [b.post("/v1/topics/_topics/messages", b"x"), b.request("DELETE", "/v1/topics/_topics"),
              b.request("PATCH", "/v1/topics/_topics", '{"durability": "os"}'),
              b.request("PUT", "/v1/topics/_mine", "{}"), b.post("/v1/topics/_mine/messages", b"x")]:
        assert a.status in (400, 403), a
    assert b.topic("_topics")["durability"] == "commit"


def test_copies_beyond_one_are_refused_on_a_node_of_its_own(b):
    b.ok("PUT", "/v1/topics/copies", json.dumps({"replication": "live", "copies": 2}), status=201)
    a = b.post("/v1/topics/copies/messages", b"x")
    assert_refused(a, 503, "not_enough_copies")
    assert a.header("retry-after") is not None
    assert b.topic("copies")["next"] == 0


def test_healthz_and_readyz_answer_200_when_serving(b):
    assert_status(b.get("/healthz"), 200)
    assert_status(b.get("/readyz"), 200)


def test_cluster_of_one_says_who_it_is(node):
    b = node(flags=["--name", "n1"])
    body = b.ok("GET", "/v1/cluster").json
    assert body["self"] == "n1"
    assert body["role"] == "alone"
    assert body["epoch"] >= 1


def test_openapi_is_valid_json_and_names_routes_that_exist(b):
    spec = b.ok("GET", "/openapi.json").json
    assert re.search(r"^3\.1\.", spec["openapi"])
    assert "title" in spec["info"]
    assert "version" in spec["info"]
    assert {"/ping", "/api/message", "/api/topics", "/v1/topics", "/v1/topics/{topic}",
            "/v1/topics/{topic}/messages", "/healthz", "/readyz", "/metrics"} <= set(spec["paths"])
    b.publish("openapi", b"x")
    b.ok("PUT", "/v1/topics/openapi/groups/openapi", status=201)
    for path, item in spec["paths"].items():
        named = set(re.findall(r"\{(\w+)\}", path))
        for method, operation in item.items():
            if method not in ("get", "put", "post", "delete", "patch", "head", "options"):
                continue
            parameters = [resolved(spec, p) for p in item.get("parameters", []) + operation.get("parameters", [])]
            assert {p["name"] for p in parameters if p["in"] == "path"} == named, (method, path)
            assert operation["responses"], (method, path)
            if method == "get":
                a = b.get(re.sub(r"\{\w+\}", "openapi", path.replace("{file}", "app.js")))
                assert a.status not in (404, 405), path
    for ref in re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(spec)):
        resolved(spec, {"$ref": ref})


def resolved(spec, value):
    while "$ref" in value:
        at = spec
        assert value["$ref"].startswith("#/")
        for word in value["$ref"][2:].split("/"):
            at = at[word]
        value = at
    return value


def test_errors_come_from_one_table(b):
    # doc/http.md lists all codes.
    for target, status, code in [("/nothing", 404, "not_found"), ("/v1/topics/absent", 404, "unknown_topic"),
                                 ("/v1/topics/a%20b", 400, "bad_topic")]:
        a = b.get(target)
        assert_status(a, status, code)


def test_no_other_site_is_allowed_to_read_answers(b):
    a = b.get("/ping", headers={"Origin": "https://example.org"})
    assert a.header("access-control-allow-origin") is None
