"""`lignum test`: tests of lignum.lua in nodes of their own, with topics in memory, a held clock and fetches that are not done."""

import os
import re
import subprocess
import xml.etree.ElementTree

from common import BINARY, ROOT, die_with_parent, wait_until

CONFIG = """
local seen = 0
function on_publish(msg)
  seen = seen + 1
  if msg.payload == "" then return reject("empty message", { status = 422 }) end
  if msg.payload == "vat" then
    local answer, why = fetch { url = "https://rates.example/vat" }
    if not answer then return reject(why, "fetch_failed") end
    msg.payload = "vat " .. json.decode(answer.body).rate
  end
end
local ticks = 0
every(60, function() ticks = ticks + 1 end)
cron("0 3 * * *", function() topic("nightly"):append("report") end, { zone = "UTC" })
route.get("/seen", function() return 200, { seen = seen, ticks = ticks } end)
route.get("/slow", function() sleep(7200) return 200, "done" end)
route.get("/later", function() after(60, function() end) return 200, "ok" end)
"""


def lignum_test(folder, tests, *flags, config=CONFIG, code=0):
    """Runs `lignum test` in the folder, and returns what it prints. `tests`: the text of lignum_test.lua."""
    for name, text in {"lignum.lua": config, "lignum_test.lua": tests}.items():
        if text is not None:
            with open(os.path.join(folder, name), "w") as f:
                f.write(text)
    p = subprocess.run([BINARY, "test", *flags], cwd=folder, capture_output=True, text=True, timeout=120)
    assert p.returncode == code, p.stdout + p.stderr
    return p.stdout + p.stderr


def test_each_test_has_a_node_of_its_own_with_real_routes_and_hooks(tmp_path):
    tests = """
for i = 1, 3 do
  test("number " .. i, function()
    assert.status(request("POST", "/v1/topics/t/messages", ""), 422)
    local answer = request("POST", "/v1/topics/t/messages", { body = "x", headers = { ["Lignum-Key"] = "k" } })
    assert.status(answer, 200)
    assert.equal(answer.json.first, 0)
    local m = topic("t"):read { from = 0 }[1]
    assert.equal({ m.payload, m.key }, { "x", "k" })
    assert.equal(request("GET", "/seen").json, { seen = 2, ticks = 0 })
    assert.status(request("GET", "/nowhere"), 404)
  end)
end
test("groups", function()
  assert.status(request("PUT", "/v1/topics/jobs"), 201)
  assert.status(request("PUT", "/v1/topics/jobs/groups/workers", '{"lease_time": 60}'), 201)
  topic("jobs"):append("work")
  local function claim() return request("POST", "/v1/topics/jobs/groups/workers/claim", "{}").json.messages end
  assert.equal(#claim(), 1)
  assert.equal(#claim(), 0)
  advance(61)
  assert.equal(#claim(), 1)
end)
"""
    said = lignum_test(tmp_path, tests)
    assert re.match(r"4 passed, 0 failed in", said), said
    assert not os.path.exists(tmp_path / "data")


def test_the_clock_stands_until_a_test_waits_and_moves_timers_cron_and_sleeps(tmp_path):
    tests = """
test("time", function()
  assert.equal(now(), time.parse "2026-01-01T00:00:00Z")
  assert.equal(os.time(), math.floor(now()))
  assert.equal(os.date("!%H:%M"), "00:00")
  advance(3600)
  assert.equal(request("GET", "/seen").json.ticks, 60)
  advance_to "2026-01-03T04:00:00Z"
  assert.equal(topic("nightly"):info().next, 3)
  local began = now()
  assert.equal(request("GET", "/slow").body, "done")
  assert.equal(math.floor(now() - began), 7200)
  assert.raises("it is 2026-01-03T06:00", advance_to, "2026-01-01T00:00:00Z")
end)
test("what is computed takes no time", function()
  local began, n = now(), 0
  for i = 1, 1000000 do n = n + i end
  assert.equal(now() - began, 0)
end)
"""
    lignum_test(tmp_path, tests, "--timeout", "60")


def test_fetches_are_answered_by_the_test_or_fail_it(tmp_path):
    tests = """
test("an answer", function()
  fetch_answers { ["GET https://rates.example/*"] = { body = { rate = 19 } } }
  request("POST", "/v1/topics/t/messages", "vat")
  assert.equal(topic("t"):read { from = 0 }[1].payload, "vat 19")
  assert.equal(#fetched(), 1)
  assert.equal(fetched()[1].method, "GET")
end)
test("a function", function()
  fetch_answers { ["https://*"] = function(asked) return nil, "down: " .. asked.url, "timeout" end }
  local answer = request("POST", "/v1/topics/t/messages", "vat")
  assert.has(answer.json.detail, "down: https://rates.example/vat")
end)
test("none", function() request("POST", "/v1/topics/t/messages", "vat") end)
"""
    said = lignum_test(tmp_path, tests, code=1)
    assert "2 passed, 1 failed" in said
    assert 'it fetched GET https://rates.example/vat, for which it has no answer: fetch_answers { ["GET https' in said


def test_what_fails_is_said_with_the_line_and_the_difference(tmp_path):
    tests = """test("differs", function()
  assert.equal({ a = { 1, { b = "x" } }, c = 1 }, { a = { 1, { b = "y" } }, d = 2 })
end)
test("raises", function()
  local t = nil
  return t.x
end)
test("spins", function() while true do end end)
test("leaks", function() spawn(sleep, 1000) end)
test("passes with a note", function() request("GET", "/later") end)
test("nil, message, code", function() assert(topic("none"):read { from = 0 }) end)
"""
    said = lignum_test(tmp_path, tests, "--timeout", "20", code=1)
    assert "FAIL lignum_test.lua:1 differs\n" in said
    assert 'lignum_test.lua:2: not equal, in 3 places:\n      .a[2].b: got "x", want "y"\n      .c: got 1, want nil' in said
    assert re.search(r"FAIL lignum_test.lua:4 raises\n    lignum_test.lua:6: attempt to index a nil value", said), said
    assert re.search(r"lignum_test.lua:8: over its budget of 1000 ms\n    The clock stands still while", said), said
    assert "it leaves a task running: spawn at lignum_test.lua:9" in said
    assert re.search(r"ok passes with a note .*\n    note: 1 tasks of lignum.lua still run: spawn at lignum.lua:1\d\n", said), said
    assert re.search(r"lignum_test.lua:11: .*\(unknown_topic\)", said), said
    assert "1 passed, 5 failed" in said


def test_a_test_that_never_ends_is_told_how_far_its_clock_has_moved(tmp_path):
    said = lignum_test(tmp_path, 'test("waits", function() while true do sleep(1) end end)', "--timeout", "1", code=1)
    assert "it has not ended within 1 s of real time (--timeout), while its clock moved by" in said


def test_a_test_that_ends_its_process_fails_alone(tmp_path):
    tests = """
test("ends", function() load("return ...")(unsafe) end)
test("passes", function() end)
"""
    config = "route.get('/x', function() return 200, 'x' end)"
    said = lignum_test(tmp_path, tests, config=config, code=1)
    assert "1 passed, 1 failed" in said
    assert "there is no global unsafe" in said


def test_a_file_that_cannot_be_loaded_is_said_with_its_line(tmp_path):
    said = lignum_test(tmp_path, "test('x', function() end)\nlocal x = = 1\n", code=64)
    assert "lignum_test.lua:2: unexpected symbol near '='" in said
    assert "0 passed, 0 failed, 1 files cannot be loaded" in said
    assert "lignum_test.lua:1: there is no global tset; did you mean test?" in lignum_test(tmp_path, "tset('x')", code=64)
    said = lignum_test(tmp_path, "test('x', function() end)", config="topics = 3\n", code=64)
    assert "lignum.lua:1: topics is given, and cannot be assigned" in said
    os.remove(tmp_path / "lignum_test.lua")
    assert "there is no *_test.lua in it" in lignum_test(tmp_path, None, code=64)
    assert "must be text, tap or junit" in lignum_test(tmp_path, None, "-o", "html", code=64)
    assert "none.lua: No such file" in lignum_test(tmp_path, None, "none.lua", code=64)


def test_results_as_tap_and_junit_and_of_some_tests_only(tmp_path):
    tests = """
test("good & <well>", function() end)
test("bad", function() assert.equal(1, 2) end)
"""
    lines = lignum_test(tmp_path, tests, "-o", "tap", "--jobs", "1", code=1).splitlines()
    assert lines[0] == "TAP version 14"
    assert "ok 1 - lignum_test.lua: good & <well>" in lines
    assert "not ok 2 - lignum_test.lua: bad" in lines
    assert "    lignum_test.lua:3: got 1, want 2" in lines
    assert lines[-1] == "1..2"
    suites = xml.etree.ElementTree.fromstring(lignum_test(tmp_path, tests, "-o", "junit", code=1))
    assert suites.attrib["tests"], suites.attrib["failures"] == ("2", "1")
    cases = {c.attrib["name"]: c for c in suites.iter("testcase")}
    assert cases["good & <well>"].find("failure") is None
    assert cases["bad"].find("failure").text == "lignum_test.lua:3: got 1, want 2"
    assert "1 passed, 0 failed" in lignum_test(tmp_path, tests, "--only", "good")


def test_coverage_tells_the_lines_that_no_test_has_run(tmp_path):
    config = """local n = 0
function on_publish(msg)
  n = n + 1
  if msg.payload == "never" then
    n = 0
    return reject("never")
  end
end

local helper = require "helper"
route.get("/x", function() return 200, helper.text() end)
"""
    (tmp_path / "helper.lua").write_text("""return {
  text = function()
    return "x"
  end,
  other = function()
    return "y"
  end,
}
""")
    tests = """
test("one", function() request("POST", "/v1/topics/t/messages", "x") end)
test("two", function() request("GET", "/x") end)
"""
    lcov = tmp_path / "lcov.info"
    lines = lignum_test(tmp_path, tests, "--coverage=" + str(lcov), config=config).splitlines()
    assert " 77 % of lignum.lua (7 of 9 lines); not run: 5-6" in lines
    assert [l for l in lines if "helper.lua" in l] == [" 83 % of ./helper.lua (5 of 6 lines); not run: 6"]
    records = lcov.read_text().split("end_of_record\n")
    of_config = next(r for r in records if r.startswith("SF:lignum.lua\n"))
    assert "DA:3,1\n" in of_config and "DA:5,0\n" in of_config and "LH:7\n" in of_config
    assert not any("%" in l for l in lignum_test(tmp_path, tests, config=config).splitlines())


def test_watching_runs_the_tests_again_after_each_change(tmp_path):
    (tmp_path / "lignum.lua").write_text("")
    (tmp_path / "lignum_test.lua").write_text("test('first', function() end)")
    p = subprocess.Popen([BINARY, "test", "--watch"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    try:
        assert p.stdout.readline().startswith("1 passed, 0 failed")
        (tmp_path / "notes.txt").write_text("no change")
        (tmp_path / "lignum_test.lua").write_text("test('first', function() end) test('second', function() end)")
        assert p.stdout.readline() == "\n"
        assert p.stdout.readline().startswith("2 passed, 0 failed")
    finally:
        p.terminate()
        assert p.wait(30) != 0


def test_a_run_that_is_ended_leaves_nothing(tmp_path):
    (tmp_path / "lignum.lua").write_text("")
    (tmp_path / "lignum_test.lua").write_text("test('waits', function() while true do sleep(1) end end)")
    p = subprocess.Popen([BINARY, "test"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)

    def folders():
        return [n for n in os.listdir("/dev/shm") if n.startswith("lignum-test-") and is_of(p.pid, n)]

    def is_of(pid, name):
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            runner = f.read().split()
        return any("/dev/shm/" + name in os.readlink("/proc/%s/fd/%s" % (child, fd))
                   for r in runner for child in children_of(r) for fd in fds_of(child))

    def children_of(pid):
        with open("/proc/%s/task/%s/children" % (pid, pid)) as f:
            return f.read().split()

    def fds_of(pid):
        return ["2"] if os.path.exists("/proc/%s/fd/2" % pid) else []

    wait_until(folders)
    mine = folders()
    p.terminate()
    assert p.wait(30) == 128 + 15
    assert not [n for n in mine if os.path.exists("/dev/shm/" + n)]


def test_the_recipes_have_no_mistakes_that_only_a_call_would_show():
    folder = os.path.join(ROOT, "doc", "examples")
    files = [f for f in sorted(os.listdir(folder)) if f.endswith(".lua") and not f.endswith(("_test.lua", "_rule.lua"))]
    assert len(files) == 20
    index = open(os.path.join(folder, "README.md")).read()
    for name in files:
        p = subprocess.run([BINARY, "check", "-c", name], cwd=folder, capture_output=True, text=True, timeout=60)
        assert p.returncode == 0, name + "\n" + p.stdout + p.stderr
        assert os.path.exists(os.path.join(folder, name.replace(".lua", "_test.lua")))
        assert "(%s)" % name in index


def test_a_test_reaches_no_consul_and_listens_nowhere_else(tmp_path):
    config = """
listen { address = "0.0.0.0:1", tls = { cert = "none.crt", key = "none.key" } }
cluster { consul = { address = "127.0.0.1:1" }, replication = { listen = "127.0.0.1:1", secret = ("a"):rep(64) } }
every(3600, function() end, { once_per = "cluster" })
"""
    tests = """test("alone", function()
  advance(60)
  assert.status(request("POST", "/v1/topics/t/messages", "x"), 200)
end)"""
    said = lignum_test(tmp_path, tests, "-v", config=config)
    assert "1 passed" in said and "consul" not in said.lower(), said
    assert len(re.findall("listening address=127.0.0.1:", said)) == 1, said
