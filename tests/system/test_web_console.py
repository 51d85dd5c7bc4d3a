"""The web console: what serves it (/console, /v1/console, /v1/me, /v1/stats, /v1/groups), and the console itself in a real Chromium."""

import json
import os
import re
import shutil
import subprocess
import threading

import pytest

from client import assert_status
from common import ROOT, wait_until
from test_access import add, bearer
from test_audit import find

HOOKS = """
function on_publish(msg)
  if msg.payload == "reject me" then return reject("a bad word") end
  if msg.payload == "break" then error("it is broken") end
end
"""
PAGES = ["#/", "#/topics", "#/topics/orders", "#/groups", "#/groups/orders/mails", "#/hooks", "#/health", "#/api", "#/lua"]


# ---- what serves it

def test_the_console_is_served_with_a_strict_policy(node):
    b = node()
    assert (b.get("/", headers={"Accept": "text/html,*/*;q=0.8"}).header("location")) == "/console"
    page = b.ok("GET", "/console")
    assert page.header("content-type") == "text/html; charset=utf-8"
    policy = page.header("content-security-policy")
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert b.get("/console", headers={"If-None-Match": page.header("etag")}).status == 304
    for name in os.listdir(os.path.join(ROOT, "scripts/web")):
        file = b.ok("GET", "/console/" + name)
        assert file.header("content-security-policy") == policy and file.header("x-content-type-options") == "nosniff"
        with open(os.path.join(ROOT, "scripts/web", name), "rb") as f:
            assert file.body == f.read()
    for wrong in ("/console/nothing", "/console/..%2Flignum%2Froute.lua", "/console/%2e%2e%2flignum", "/console/x/y"):
        assert b.get(wrong).status == 404, wrong


def test_no_file_of_the_console_speaks_to_another_origin():
    for name in os.listdir(os.path.join(ROOT, "scripts/web")):
        with open(os.path.join(ROOT, "scripts/web", name)) as f:
            text = f.read()
        for url in re.findall(r"\bhttps?://[^\s\"'`)]+", text):
            assert url.startswith(("http://www.w3.org/", "http://node-")), (name, url)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|style=\"|\son\w+=\"", text), name


def test_the_console_can_be_turned_off_and_own_routes_win(node):
    b = node(config="console { web = false }")
    assert b.get("/console").status == 404 and b.get("/console/app.js").status == 404
    assert "console" not in b.ok("GET", "/", headers={"Accept": "text/html"}).json
    own = node(config='route.get("/console", function() return 200, "mine" end)')
    assert own.get("/console").body == b"mine" and "console" not in own.ok("GET", "/").json


def test_everybody_gets_the_console_and_nobody_more_without_a_token(node):
    b = node(set=["access.open=false"])
    assert_status(b.get("/console"), 200)
    for path in ("/v1/me", "/v1/stats", "/v1/groups", "/v1/hooks", "/v1/cluster"):
        assert_status(b.get(path), 401)
    assert_status(b.post("/v1/console", b'{"line":"1"}'), 401)


def test_me_says_what_a_token_may(node):
    b = node()
    everybody = b.ok("GET", "/v1/me").json
    assert (everybody["token"], everybody["topics"], everybody["console"]) == (None, ["*"], False)
    root, some = add(b, "root"), add(b, "some", "orders.*", "read,publish")
    assert b.ok("GET", "/v1/me", None, bearer(root)).json["console"] is True
    me = b.ok("GET", "/v1/me", None, bearer(some)).json
    assert (me["token"], me["topics"], me["may"], me["console"]) == ("some", ["orders.*"], ["read", "publish"], False)
    assert_status(b.get("/v1/me", headers=bearer("lgn_wrong")), 401)


def lua(b, line, secret=None, **more):
    return b.request("POST", "/v1/console", json.dumps({"line": line, **more}).encode(), bearer(secret) if secret else ())


def test_lua_runs_for_who_may_admin_everything_and_is_audited(node):
    b = node()
    assert_status(lua(b, "return 1"), 403, "forbidden")               # nobody needs a token, and any user of the host could come
    root, admin, looks = add(b, "root"), add(b, "admin", "orders.*", "admin"), add(b, "looks", "*", "read,observe")
    auditor = add(b, "auditor", "_audit", "read")
    for secret in (admin, looks, None):
        assert_status(lua(b, "return 1", secret), 403 if secret else 401)
        a = b.request("POST", "/v1/console/complete", b'{"line":"ret"}', bearer(secret) if secret else ())
        assert_status(a, 403 if secret else 401)
    assert lua(b, "x = 6 print('out', x) return x * 7", root, session="a").json == {"outcome": "ok", "result": "42", "output": "out\t6\n"}
    assert lua(b, "return x", root, session="a").json["result"] == "6"
    assert lua(b, "return x", root, session="b").json["result"] == "nil"
    assert lua(b, "return x", add(b, "other"), session="a").json["result"] == "nil", "a session is its token's own"
    assert lua(b, "for i = 1, 2 do", root).json["outcome"] == "more"
    wrong = lua(b, "error('no')", root).json
    assert wrong["outcome"] == "error" and "no" in wrong["result"]
    assert lua(b, "topic('t'):append('by hand') return topic('t'):info().next", root).json["result"] == "1"
    words = b.request("POST", "/v1/console/complete", b'{"line":"return topic(\'t\'):ap"}', bearer(root))
    assert_status(words, 200)
    assert b.request("POST", "/v1/console/complete", b'{"line":"cluster.stat"}', bearer(root)).json["words"] == ["cluster.status"]
    assert_status(lua(b, 1, root), 400, "bad_value")
    wait_until(lambda: find(b, auditor, who="token root", outcome="error"), what="the line is in the audit")
    entry = find(b, auditor, who="token root", outcome="error")[0]
    assert entry["did"] == "error('no')" and entry["from"].startswith("127.0.0.1:")


def test_a_line_that_prints_too_much_or_never_ends_is_bounded(node):
    b = node()
    root = add(b, "root")
    printed = lua(b, "for i = 1, 300 do print(('x'):rep(10000)) end", root).json["output"]
    assert len(printed) < (1 << 20) + 100 and printed.endswith("3000300 bytes in all")
    assert lua(b, "while true do end", root).json["outcome"] == "error"
    for i in range(40):
        lua(b, "kept = 1", root, session="s%d" % i)
    assert lua(b, "return kept", root, session="s39").json["result"] == "1"
    assert lua(b, "return kept", root, session="s0").json["result"] == "nil"        # made room


@pytest.mark.parametrize("setting, token, status", [("true", False, 200), ("false", True, 403)])
def test_console_lua_decides_who_may_run_lua(node, setting, token, status):
    b = node(set=["console.lua=" + setting])
    secret = add(b, "root") if token else None
    assert_status(lua(b, "return 1", secret), status)
    assert_status(b.request("POST", "/v1/console/complete", b'{"line":"ret"}', bearer(secret) if secret else ()), status)
    assert b.ok("GET", "/v1/me", None, bearer(secret) if secret else ()).json["console"] is (status == 200)


def test_stats_are_a_stream_that_ends_with_its_token(node):
    b = node()
    once = b.ok("GET", "/v1/stats").json
    assert once["role"] == "alone" and once["nodes"][0]["name"] == once["node"] and once["health"]["status"] == "ok"
    add(b, "root")
    secret = add(b, "observer", "*", "observe")
    with b.connect() as c:
        c.send(("GET /v1/stats?every=1 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n" % secret).encode())
        status, _ = c.head()[:2]
        first = c.chunk()
        assert json.loads(first.split(b"data: ")[1])["log"]["appended_messages"] >= 0
        assert b"data: " in c.chunk()
        b.lua('tokens.revoke("observer")')
        rest = b""
        while b"event: error" not in rest:
            rest += c.chunk()
    assert_status(b.get("/v1/stats?every=0", headers=bearer(secret)), 401)
    b.stop()


def test_groups_of_all_topics_come_in_pages(node):
    b = node()
    for t in ("b", "a"):
        b.ok("PUT", "/v1/topics/" + t, status=201)
        for g in ("y", "x"):
            b.ok("PUT", "/v1/topics/%s/groups/%s" % (t, g), b"{}", status=201)
    first = b.ok("GET", "/v1/groups?limit=3").json
    assert [(g["topic"], g["group"]) for g in first["groups"]] == [("a", "x"), ("a", "y"), ("b", "x")]
    assert [(g["topic"], g["group"]) for g in b.ok("GET", "/v1/groups?after=" + first["after"]).json["groups"]] == [("b", "y")]
    add(b, "root")
    some = add(b, "some", "a", "observe")
    assert {g["topic"] for g in b.ok("GET", "/v1/groups", None, bearer(some)).json["groups"]} == {"a"}


def test_the_oldest_message_of_a_group_says_how_it_stands(node):
    b = node()
    b.publish("t", b"m")
    b.ok("PUT", "/v1/topics/t/groups/g", b'{"from":"earliest","retry":{"min":100}}', status=201)

    def oldest():
        return {k: v for k, v in b.ok("GET", "/v1/topics/t/groups/g").json["oldest"].items() if k != "age"}
    assert oldest() == {"offset": 0, "state": "new", "deliveries": 0}
    m = b.post("/v1/topics/t/groups/g/claim", b'{"consumer":"c"}').json["messages"][0]
    assert oldest() == {"offset": 0, "state": "leased", "deliveries": 0, "consumer": "c"}
    b.post("/v1/topics/t/groups/g/settle", json.dumps({"release": [m["lease"]]}).encode())
    assert oldest() == {"offset": 0, "state": "delayed", "deliveries": 1}


# ---- in a browser

@pytest.fixture(scope="module")
def run():
    """run(scenario, **given): what console.mjs prints. Skipped, with the reason, where Chromium or npm cannot be had."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("Chromium is not installed")
    p = subprocess.run([os.path.join(ROOT, "tests/npm"), os.path.join(ROOT, "tests/browser")], capture_output=True, text=True)
    if p.returncode != 0:
        pytest.skip(p.stderr.strip())

    def start(scenario, **given):
        ran = subprocess.run(["node", "console.mjs", chromium, scenario, json.dumps(given)], cwd=p.stdout.strip(),
                             capture_output=True, text=True, timeout=170)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return json.loads(ran.stdout)
    start.chromium, start.folder = chromium, p.stdout.strip()
    return start


def fill(b):
    """What a broker has after a bad day; returns the secrets of who may do everything and who may look."""
    root, looks = add(b, "root"), add(b, "looks", "*", "observe,read")
    b.ok("PUT", "/v1/topics/tenant-1.events", None, bearer(root), status=201)
    for k in range(3):
        lines = "\n".join(json.dumps({"id": 100 * k + i, "total": i * 1.5, "paid": i % 3 > 0, "note": None}) for i in range(100))
        b.request("POST", "/v1/topics/orders/messages", lines.encode(), {**bearer(root), "Content-Type": "application/x-ndjson"})
    for body in (b"reject me", b"break", b"\x00\xff\x01"):
        b.request("POST", "/v1/topics/orders/messages", body, bearer(root))
    group = "/v1/topics/orders/groups/mails"
    b.ok("PUT", group, b'{"from":"earliest","dead_letter":"orders.dead","retry":{"min":0}}', bearer(root), status=201)
    for what in ("reject", "release"):
        m = b.request("POST", group + "/claim", b'{"consumer":"mailer-1"}', bearer(root)).json["messages"][0]
        settle = [{"lease": m["lease"], "why": "no such mailbox"}] if what == "reject" else [m["lease"]]
        b.request("POST", group + "/settle", json.dumps({what: settle}).encode(), bearer(root))
    wait_until(lambda: b.ok("GET", group, None, bearer(root)).json["dead"] == 1, what="the letter is written")
    return root, looks


def url(b):
    return "http://127.0.0.1:%d" % b.port


def test_every_page_is_accessible_and_says_nothing_in_the_log(node, run):
    b = node(config=HOOKS)
    root, _ = fill(b)
    found = run("tour", url=url(b), token=root, pages=PAGES)
    assert found["violations"] == [] and found["wide"] == []
    assert [line for line in found["log"] if "401" not in line] == [] and found["pages"] == 2 * len(PAGES)


def test_a_person_does_the_main_job_of_each_page(node, run):
    b = node(config=HOOKS)
    root, _ = fill(b)
    found = run("jobs", url=url(b), token=root)
    assert "not those of a token in force" in found["refused"]
    assert '  "deep": {\n    "list": [\n      1,\n      true,\n      null' in found["pretty"]
    assert [a.rpartition("&")[2] for a in found["asked"]] == ["key=customer-1", "header.lang=de", "header.lang=d"], "the node filters"
    assert "trace" in found["headers"] and "de" in found["headers"]
    assert found["hex"].startswith("000000  7b 22 74 6f 74 61 6c 22") and found["hex"].endswith('{"total": 12, "d')
    assert found["guarded"] is True and found["searched"] == 2 and "retain.age: x is not a number" in found["badSetting"]
    assert "Offset 1," in found["stuck"] and "1 delivery of it has failed" in found["stuck"]
    assert "no such mailbox" in found["letters"]
    assert "lignum.lua:4: it is broken" in found["hooks"] and "a bad word" in found["rejected"]
    assert "lignum.lua:4: it is broken" in found["health"] and "What to do" in found["health"]
    assert "printed" in found["terminal"]
    assert [line for line in found["log"] if "401" not in line] == []


@pytest.mark.skipif(not os.environ.get("LIGNUM_BROWSER"), reason="make test-browser runs it")
def test_the_keyboard_alone_suffices(node, run):
    b = node(config=HOOKS)
    root, _ = fill(b)
    found = run("keyboard", url=url(b), token=root)
    assert found.get("unseen", []) == [] and found["opened"] == "typed"
    assert b.ok("GET", "/v1/topics/by.keyboard/messages", None, bearer(root)).json["messages"][0]["data"] == "typed"


@pytest.mark.skipif(not os.environ.get("LIGNUM_BROWSER"), reason="make test-browser runs it")
def test_who_may_only_look_is_offered_nothing_else(node, run):
    b = node(config=HOOKS)
    _, looks = fill(b)
    found = run("reader", url=url(b), reader=looks, pages=PAGES)
    assert "Lua" not in found["pages"]
    changes = {"New topic", "Publish", "Settings", "Delete", "Redrive", "Move cursor", "Run"}
    assert not changes & {name for names in found["buttons"].values() for name in names}
    assert "Show" in found["buttons"]["#/topics/orders"]


@pytest.mark.skipif(not os.environ.get("LIGNUM_BROWSER"), reason="make test-browser runs it")
def test_tabs_share_one_stream_and_one_sign_in(node, run):
    b = node()
    found = run("tabs", url=url(b), token=fill(b)[0])
    assert found["after"] == found["before"]


@pytest.mark.skipif(not os.environ.get("LIGNUM_SCREENSHOTS"), reason="make screenshots runs it")
def test_pictures_of_each_page_are_taken(cluster, run):
    c = cluster(config=HOOKS)
    folder, leader = os.environ["LIGNUM_SCREENSHOTS"], c.leader()
    os.makedirs(folder, exist_ok=True)
    root, _ = fill(leader)
    for i in range(300):
        leader.ok("PUT", "/v1/topics/tenant-%03d.events" % i, None, bearer(root), status=201)
    next(n for n in c.nodes if n is not leader).kill()
    wait_until(lambda: leader.ok("GET", "/v1/stats", None, bearer(root)).json["health"]["problems"], what="the loss is reported")
    done = threading.Event()

    def traffic():
        while not done.wait(0.05):
            leader.request("POST", "/v1/topics/orders/messages", json.dumps({"id": 1, "total": 12.5}).encode(), bearer(root))
    busy = threading.Thread(target=traffic)
    busy.start()
    pages = {"overview": "#/", "topics": "#/topics", "topic": "#/topics/orders", "message": "#/topics/orders?from=120",
             "groups": "#/groups", "group": "#/groups/orders/mails", "hooks": "#/hooks", "health": "#/health", "lua": "#/lua"}
    try:
        subprocess.run(["node", "screenshots.mjs", run.chromium, url(leader), folder, root, json.dumps(pages)], cwd=run.folder,
                       check=True, timeout=170, env=dict(os.environ, WARM="12000"))
    finally:
        done.set()
        busy.join()
    assert len([name for name in os.listdir(folder) if name.endswith(".png")]) >= 4 * len(pages)


@pytest.mark.skipif(not os.environ.get("LIGNUM_BROWSER"), reason="make test-browser runs it")
def test_ten_thousand_topics_and_a_long_topic_stay_quick(node, run, figure):
    b = node(set=["store.durability=os"])
    root = add(b, "root")
    b.lua('for w = 1, 100 do spawn(function() for i = w, 10000, 100 do topic(("tenant-%d.events"):format(i)):create() end end) end')
    wait_until(lambda: b.lua("return #topics()") == "10000", timeout=120, what="the topics are there")
    b.lua('local m = {} for i = 1, 10000 do m[i] = ("message of some length, number %d"):format(i) end '
          'for i = 1, 50 do topic("long"):append(m) end')
    b.lua('for i = 1, 1100 do topic("long"):group("g" .. i):create({}, 500000) end topic("tenant-9999.events"):append("x") '
          'topic("tenant-9999.events"):group("last"):create({}, 0)')
    found = run("large", url=url(b), token=root, middle=250000)
    assert (found["rows"], found["more"]) == (200, 400) and "tenant-9999.events" in found["first"], "what lags is at the top"
    for name in ("topics", "find", "groups", "newest", "middle"):
        figure("%s: %d ms", name, found[name])
        assert found[name] < 3000, found
