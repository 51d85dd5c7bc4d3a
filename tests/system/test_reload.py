"""Reloads of lignum.lua: under load, of a broken file, and of a file that has gone."""

import os

import pytest

from client import assert_status, on_own_connections
from common import SANITIZED, Background, in_threads, wait_until


def test_reload_under_load_fails_no_request(node):
    def config(n):
        return ('route.get("/version", function() return 200, "%d" end)\n'
                'function on_publish(msg) msg.headers["version"] = "%d" end\n' % (n, n))
    b = node(config=config(0))

    def step(c):
        assert_status(c.request("POST", "/v1/topics/t/messages", b"x"), 200)
        assert_status(c.request("GET", "/version"), 200)
    publish = on_own_connections(b, step)
    with Background(publish) as one, Background(publish) as two, Background(publish) as three:
        for n in range(1, 15):
            b.write_config(config(n))
            b.reload()
            assert b.get("/version").body == b"%d" % n
            for load in (one, two, three):
                load.progresses(5)
    versions = [int(m["headers"]["version"]) for m in b.read("t", from_=0, limit=100000, bytes=8 << 20)["messages"]]
    assert versions == sorted(versions)
    assert versions[-1] == 14


def test_a_broken_file_changes_nothing_and_says_why(node):
    good = 'route.get("/here", function() return 200, "here" end)\nfunction on_publish(m) m.payload = m.payload .. "!" end'
    b = node(config=good)
    for broken, word in [("x = = 1", "lignum.lua:1"), ("store { segmnt = {} }", "segment"), ('error("no")', "no"),
                         ('getmetatable("").__index = nil error("no")', "lignum.lua:1"),
                         ('string.format = nil table.sort = nil error("no")', "refused"),
                         ("\n\nundefined()", "lignum.lua:3"), ("while true do end", "lignum.lua:1"),
                         ('local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end', "lignum.lua:1"),
                         ('route.get("/here", function() return 200, "new" end)\nroute.get("/here", 7)', "lignum.lua:2")]:
        b.write_config(broken)
        said = b.reload(expect=False)
        assert word in said, broken
        assert b.get("/here").body == b"here", broken
        b.publish("t", b"x")
    assert set(b.messages("t")) == {b"x!"}
    b.write_config('route.get("/other", function() return 200, "other" end)')
    b.reload()
    assert b.get("/here").status == 404
    assert b.get("/other").body == b"other"


def test_a_file_that_has_gone_is_an_error_too(node):
    b = node(config='route.get("/here", function() return 200, "here" end)')
    os.unlink(b.config_path)
    assert "lignum.lua" in b.reload(expect=False)
    assert b.get("/here").body == b"here"


def test_requests_in_flight_finish_on_the_old_tables(node):
    b = node(config='route.get("/slow", function() sleep(1) return 200, "old" end)')
    answers = []

    def slow():
        answers.append(b.get("/slow").body)

    def reloader():
        wait_until(lambda: b.in_flight() >= 1, what="the slow one is in flight")
        b.write_config('route.get("/slow", function() return 200, "new" end)')
        b.reload()
        assert b.get("/slow").body == b"new"
    in_threads(slow, reloader)
    assert answers == [b"old"]


@pytest.mark.skipif(SANITIZED, reason="memory under a sanitizer says nothing")
def test_many_reloads_do_not_grow_memory(node):
    b = node(config="\n".join('route.get("/r%d", function() return 200, "x" end)' % i for i in range(100)))
    for _ in range(20):
        b.reload()
    before = b.status("VmRSS")
    for _ in range(100):
        b.reload()
    assert b.status("VmRSS") - before <= 6 * 1024, "RSS over 100 reloads"


def test_limits_change_with_a_reload(node):
    b = node(config="limits { body = 2 * KiB }")
    assert_status(b.post("/v1/topics/t/messages", b"x" * 3000), 413)
    b.write_config("limits { body = 4 * KiB }")
    b.reload()
    assert_status(b.post("/v1/topics/t/messages", b"x" * 3000), 200)


def test_shared_dictionaries_survive_a_reload(node):
    def config(n):
        return ('local hits = shared.dict("hits")\n'
                'route.get("/hit", function() return 200, "%d:" .. hits:incr("all") end)\n' % n)
    b = node(config=config(1))
    assert b.get("/hit").body == b"1:1"
    b.write_config(config(2))
    b.reload()
    assert b.get("/hit").body == b"2:2"
    b.write_config("")
    b.reload()
    b.write_config(config(3))
    b.reload()
    assert b.get("/hit").body == b"3:3"
    b.restart()
    assert b.get("/hit").body == b"3:1"


def test_what_runs_by_time_ends_with_its_configuration(node):
    def config(n):
        return '''
            local seen = shared.dict("seen")
            every(0.02, function() seen:incr("every%d") end)
            after(0.02, function() seen:incr("after%d") end)
            cron("* * * * *", function() end, { zone = "Europe/Berlin" })
            after(0.01, function() spawn(function() while true do sleep(0.02) seen:incr("spawn%d") end end) end)
            route.get("/seen", function() return 200, { every = seen:get("every1") or 0, after = seen:get("after1") or 0,
                                                        spawn = seen:get("spawn1") or 0, new = seen:get("every2") or 0 } end)
            ''' % (n, n, n)
    b = node(config=config(1))
    wait_until(lambda: b.ok("GET", "/seen").json["every"] > 3 and b.ok("GET", "/seen").json["spawn"] > 3, what="they run")
    assert b.ok("GET", "/seen").json["after"] == 1
    assert 'cron "* * * * *" Europe/Berlin at ' in b.lua("for _, t in ipairs(tasks.list()) do print(t.where) end")
    b.write_config(config(2))
    b.reload()
    before = b.ok("GET", "/seen").json
    wait_until(lambda: b.ok("GET", "/seen").json["new"] > 5, what="the new timers run")
    after = b.ok("GET", "/seen").json
    assert after["every"] - before["every"] <= 1
    assert after["after"] == 1
