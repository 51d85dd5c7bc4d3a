"""Starting, stopping, flags, configuration errors, and which data directories are accepted."""

import contextlib
import glob
import itertools
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess

import pytest

from client import assert_refused, request_bytes
from common import BINARY, ROOT, SANITIZED, SECRET, as_id, crc32c, in_threads, running, wait_until
from lignum import lignum


# ---- stopping

def test_sigterm_answers_what_is_in_flight_and_keeps_it(node):
    for _ in range(3):
        b = node()
        acknowledged = []

        def publisher(k):
            with contextlib.suppress(OSError), b.connect() as c:        # the broker may close between two requests
                for i in itertools.count():
                    payload = b"%d.%d" % (k, i)
                    c.send(request_bytes("POST", "/v1/topics/t/messages", payload))
                    a = c.answer()
                    if a.status == 503:
                        return assert_refused(a, 503, "stopping")
                    assert a.status == 200, a
                    acknowledged.append((a.json["first"], payload))
                    if (a.header("connection") or "").lower() == "close":
                        return

        def stopper():
            wait_until(lambda: len(acknowledged) > 200)
            b.stop()
        in_threads(stopper, *[lambda k=k: publisher(k) for k in range(8)])
        assert "stopped" in b.said()
        b.start()
        assert not re.search(r"torn|recover\w+ topic", b.said())
        stored = b.messages("t")
        for offset, payload in acknowledged:
            assert stored[offset] == payload
        # Every request was answered, so nothing else is stored.
        assert len(stored) == len(acknowledged)
        b.stop()


def test_sigterm_ends_long_polls_at_once(node):
    b = node()
    b.publish("t", b"x")
    answers = []

    def waiter():
        answers.append(b.get("/v1/topics/t/messages?from=1&wait=60"))

    def stopper():
        wait_until(lambda: b.in_flight() >= 2, what="both wait")
        b.stop(timeout=8)
    in_threads(waiter, waiter, stopper)
    for a in answers:
        assert a.status in (200, 503), a


def test_sigint_stops_like_sigterm(node):
    b = node()
    b.publish("t", b"x")
    b.signal(signal.SIGINT)
    assert b.wait_exit() == 0


def test_one_that_is_told_to_stop_again_and_again_ends_as_it_should(node):
    b = node()
    for _ in range(20):
        while b.process.poll() is None:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                b.signal(number)
        assert b.wait_exit() == 0, b.said()
        b.start()


def test_idle_keepalive_connections_do_not_delay_a_stop(node):
    b = node()
    with b.connect() as c, b.connect():
        c.request("GET", "/ping")
        b.stop(timeout=8)                # it drains for 10 s at most


def test_a_client_that_stalls_cannot_hold_up_a_stop_for_ever(node):
    b = node()
    with b.connect() as c:
        c.send(b"POST /v1/topics/t/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
        wait_until(lambda: b.metrics()["lignum_http_connections"] >= 2)
        b.stop(timeout=20)


def test_a_publisher_that_finished_sending_before_the_stop_is_answered(node):
    b = node()
    clients = [b.connect() for _ in range(20)]
    for c in clients:
        c.request("GET", "/ping")
    for i, c in enumerate(clients):
        c.send(request_bytes("POST", "/v1/topics/t/messages", b"%d" % i))
    b.stop()
    for c in clients:
        with c:
            assert c.answer().status in (200, 503)


# ---- the data directory

def refused(b, *words):
    b.spawn()
    code = b.wait_exit()
    assert code == 65, b.said()
    for w in words:
        assert w in b.said()


def test_a_second_broker_on_the_same_directory_is_refused(node, make_node):
    a = node()
    a.publish("t", b"x")
    b = make_node(data=a.data)
    refused(b, a.data)
    assert a.messages("t") == [b"x"]


def test_a_foreign_directory_is_refused_untouched(make_node):
    b = make_node()
    os.makedirs(b.data)
    with open(os.path.join(b.data, "precious"), "w") as f:
        f.write("mine")
    refused(b, b.data)
    assert os.listdir(b.data) == ["precious"]


def test_a_file_in_place_of_the_directory_is_refused(make_node):
    b = make_node()
    open(b.data, "w").close()
    refused(b, b.data)


def test_a_parent_that_is_missing_is_refused_and_not_made(make_node, folder):
    b = make_node(data=os.path.join(folder, "no", "such", "data"))
    refused(b, b.data)
    assert not os.path.exists(os.path.join(folder, "no"))


def test_a_directory_that_cannot_be_written_is_refused(make_node):
    b = make_node(data="/proc/lignum-data")
    refused(b, "/proc/lignum-data")


def test_state_of_another_version_is_refused_untouched(node):
    b = node()
    b.publish("t", b"x")
    b.stop()
    path = os.path.join(b.data, "state")
    text = open(path).read()
    body = text[:text.index("crc=")].replace("lignum-state=1", "lignum-state=99")
    newer = body + "crc=%08x\n" % crc32c(body.encode())
    assert text == text[:text.index("crc=")] + "crc=%08x\n" % crc32c(text[:text.index("crc=")].encode())
    open(path, "w").write(newer)
    refused(b, "version")
    assert open(path).read() == newer


def test_files_of_a_newer_format_are_refused_by_version_untouched(node):
    b = node(set=["store.segment.messages=10"])
    for i in range(15):
        b.publish("t", b"%d" % i)
    b.stop()
    path = sorted(glob.glob(os.path.join(b.data, "topics", "t", "*.qwal")))[0]
    with open(path, "r+b") as f:
        head = bytearray(f.read(64))
        head[8:10] = struct.pack("<H", 2)
        head[12:16] = struct.pack("<I", crc32c(head[:12], head[16:]))
        f.seek(0)
        f.write(head)
    before = open(path, "rb").read()
    if b.try_start():
        assert b.get("/v1/topics/t/messages?from=10").status != 200
        assert b.post("/v1/topics/t/messages", b"x").status != 200
        b.stop()
    else:
        assert b.wait_exit() == 65
        assert re.search(r"error .*version", b.said())
    assert open(path, "rb").read() == before


def test_a_lost_state_file_gives_a_new_incarnation_and_keeps_the_data(node):
    b = node()
    b.publish("t", b"x")
    b.stop()
    before = open(os.path.join(b.data, "state")).read()
    os.unlink(os.path.join(b.data, "state"))
    if not b.try_start():
        assert b.wait_exit() == 65      # refusing is allowed, deleting is not
    else:
        assert b.messages("t") == [b"x"]
        b.stop()
        after = open(os.path.join(b.data, "state")).read()
        assert re.search(r"incarnation=(\S+)", before).group(1) != re.search(r"incarnation=(\S+)", after).group(1)
    assert os.path.exists(os.path.join(b.data, "small", "t"))


def test_a_node_of_a_cluster_does_not_start_alone(node):
    b = node(set=["cluster.consul.address=127.0.0.1:1", "cluster.replication.listen=127.0.0.1:0",
                  "cluster.replication.secret=" + SECRET])
    who = "n9:" + "a" * 32
    b.lua('require("lignum.core").cluster.see({ cluster = "%s", epoch = 3, version = 5, leader = "%s", '
          'members = { "%s" } }, 7)' % ("b" * 32, who, who))
    b.stop()
    clustered, b.set = b.set, []
    b.spawn()
    assert b.wait_exit() == 65
    assert "has taken part in a cluster" in b.said()
    b.set = clustered
    b.start()
    b.stop()
    os.unlink(os.path.join(b.data, "state"))
    b.set = []
    b.start()                                    # it has a new identity, because its state was deleted
    b.publish("t", b"x")


def test_a_data_directory_keeps_its_name_and_says_so(node):
    b = node(flags=["--name", "n1"])
    assert "has no effect" not in b.said()
    b.stop()
    b.flags = ["--name", "n2"]
    b.start()
    assert b.ok("GET", "/v1/cluster").json["self"] == "n1"
    assert re.search(r'the data directory is node n1\'s.* node.name "n2" has no effect', b.said())


# ---- flags

@pytest.mark.parametrize("words, named", [
    (["--nonsense"], "--nonsense"), (["--listen"], "--listen"), (["--set"], "--set"), (["--set", "novalue"], "--set"),
    (["--set", "store.segment.mesages=5"], "mesages"), (["--set", "store.segment.messages=many"], "store.segment.messages"),
    (["--set", "store.segment.messages=0"], "store.segment.messages"), (["--set", "nonsense=1"], "nonsense"),
    (["--listen", "nonsense"], "listen"), (["--listen", "127.0.0.1:99999"], "listen"), (["--name", "a b"], "name"),
    (["frobnicate"], "frobnicate"), (["verify"], "verify"), (["dump", "x"], "dump"), (["dump", "x", "t", "abc"], "abc"),
    (["serve", "extra"], "extra"), (["-e", "1"], "-e"), (["check", "extra"], "extra"), (["--help=yes"], "--help"),
    (["-x"], "-x"), (["-c", "/nonexistent/lignum.lua"], "/nonexistent/lignum.lua"), (["-c", "/"], "/: Is a directory"),
    (["check", "-c", "/"], "/: Is a directory"), (["--set", "cluster.replication.secret_file=/"], "secret_file: /: Is a directory"),
], ids=as_id)
def test_mistakes_in_flags_name_the_flag_and_exit_64(folder, words, named):
    r = lignum(*words, cwd=folder)
    assert r.code == 64, r
    assert named in r.err
    assert os.listdir(folder) == [], "nothing half done"


def test_a_mistaken_key_suggests_the_nearest(folder):
    r = lignum("--set", "store.segment.mesages=5", cwd=folder)
    assert "did you mean" in r.err
    assert "messages" in r.err


def test_help_and_version():
    r = lignum("--help")
    assert r.code == 0
    for word in ["serve", "check", "verify", "dump", "console"]:
        assert word in r.out
    for word in ["--listen", "--data", "--set", "-c"]:
        assert word in lignum("serve", "--help").out
    r = lignum("--version")
    assert r.code == 0
    assert re.search(r"^lignum \d+\.\d+\.\d+", r.out)


def test_an_installed_binary_finds_its_scripts_wherever_its_prefix_lies(folder):
    prefix = os.path.join(folder, "prefix")
    os.makedirs(os.path.join(prefix, "bin"))
    installed = shutil.copy(BINARY, os.path.join(prefix, "bin", "lignum"))
    shutil.copytree(os.path.join(ROOT, "scripts"), os.path.join(prefix, "share", "lignum", "scripts"))
    r = lignum("check", binary=installed, cwd=folder)
    assert (r.code, r.err) == (0, "")


def test_flags_win_over_the_file(node):
    b = node(config='listen "127.0.0.1:1"\nstore { path = "elsewhere", segment = { messages = 1000 } }',
             set=["store.segment.messages=10"])
    for i in range(11):
        b.publish("t", b"x")
    wait_until(lambda: glob.glob(os.path.join(b.data, "topics", "t", "*.log")))
    assert not os.path.exists(os.path.join(b.folder, "elsewhere"))


def test_a_port_in_use_is_said(make_node):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(1)
        b = make_node(listen="127.0.0.1:%d" % s.getsockname()[1])
        b.spawn()
        assert b.wait_exit() == 64, b.said()
        assert "cannot listen" in b.said()


def test_a_name_of_no_host_is_said_to_be_that(make_node):
    b = make_node(listen="nosuch.invalid:1", set=["access.open=true"])
    b.spawn()
    assert b.wait_exit() == 64
    assert 'cannot listen address=nosuch.invalid:1 error="No such device or address"' in b.said()


def test_listening_off_loopback_without_authorize_warns_loudly(node):
    b = node(listen="0.0.0.0:0", config="access { open = true }")
    assert re.search(r"warn main: .*authorize", b.said())
    b.stop()
    b.write_config("function authorize(request) return true end")
    b.start()
    assert not re.search(r"warn main: .*authorize", b.said())
    b.stop()
    b.listen = "127.0.0.1:0"
    b.write_config("")
    b.start()
    assert "warn" not in b.said()


def test_messages_cannot_forge_lines_of_the_log(node):
    b = node(config='function on_publish(msg) say.info(msg.payload) end')
    b.publish("t", b"a\n2026-11-23T10:00:00.000Z error store: forged\x1b[31m")
    wait_until(lambda: "forged" in b.said())
    for line in b.said().splitlines():
        assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warn|error) \S+: ", line)
    assert "\x1b" not in b.said()


# ---- lignum.lua

def check(folder, text, **kw):
    path = os.path.join(folder, "lignum.lua")
    with open(path, "w") as f:
        f.write(text)
    return lignum("check", "-c", path, cwd=folder, **kw)


def test_a_valid_file_is_valid(folder):
    r = check(folder, 'listen "127.0.0.1:8080"\n'
                   'store { path = "data", segment = { messages = 10000, bytes = 64 * MiB } }\n'
                   'topic "orders.*" { replication = "live", copies = 1, retain = { age = 30 * day } }\n'
                   'topic "*" { retain = { bytes = 10 * GB } }\n'
                   'limits { body = 1 * MiB }\nlog { level = "debug" }\n'
                   'function on_publish(msg) if #msg.payload == 0 then return reject("empty") end end\n'
                   'function authorize(request) return true end\n'
                   'every(60, function() say.info("tick") end)\n'
                   'route.get("/hello/{name}", function(req) return 200, { hello = req.params.name } end)\n')
    assert r.code == 0, r


def test_check_finds_globals_in_functions_that_nobody_calls(folder):
    """In the file, in those that it includes and in its modules; also where a function has many constants."""
    with open(os.path.join(folder, "more.lua"), "w") as f:
        f.write('route.get("/x", function(req)\n  return 200, jsn.encode(req)\nend)\n')
    with open(os.path.join(folder, "mod.lua"), "w") as f:
        f.write('local M = {}\nfunction M.f()\n  coutn = 1\nend\nreturn M\n')
    many = "\n".join('  local x = "k%d"' % i + (" end do" if i % 100 == 99 else "") for i in range(400))
    r = check(folder, 'include "more.lua"\nlocal mod = require "mod"\nif mod == 1 then nothing() end\n'
              'function on_publish(msg)\n  topic = msg.topic\n  local function inner() return logg("x") end\n'
              '  local key = "dynamic" key = msg.key\n  local function other() return msg.absent, key end key = _ENV[key]\n'
              '  local function second() return msg.absent, absent_too end\n'
              '  local _ENV = { mine = 1 }\n  return mine, inner, other, second\nend\n'
              'function may_lead(state)\n  do\n%s\n  end\n  far_off = 1\n  return far.away\nend\n'
              'local function later() function authorize() return true end return on_publish, _G, replicas end\n'
              'undefined_now()\n' % many)
    assert r.code == 64, r
    found = [re.sub(r"^.* main: configuration: \S*/", "", line) for line in r.err.splitlines()]
    for place, words in [("more.lua:2", "there is no global jsn; did you mean json?"), ("mod.lua:3", "coutn: is not a hook"),
                         ("lignum.lua:3", "there is no global nothing"), ("lignum.lua:5", "topic is given, and cannot be"),
                         ("lignum.lua:6", "there is no global logg"), ("lignum.lua:9", "there is no global absent_too"),
                         ("lignum.lua:416", "far_off: is not a hook"), ("lignum.lua:417", "there is no global far"),
                         ("lignum.lua:419", "there is no global replicas"),
                         ("lignum.lua:420", "there is no global undefined_now")]:
        assert sum(line.startswith(place + ": " + words) for line in found) == 1, (place, words, r.err)
    assert len(found) == 10, r.err


def test_check_ends_a_call_of_c_that_does_not_end(folder):
    """After limits.stall as it is by default, 10 s of CPU time: nothing that the file says holds yet."""
    r = check(folder, 'limits { stall = 0 }\nlocal s, t = ("\\0"):rep(8 << 20), {}\nfor i = 1, 100 do t[i] = s end\ntable.sort(t)\n',
              timeout=170)
    assert r.code == 70 and "valid" not in r.out, r
    assert re.search(r"watchdog: \S*lignum.lua:4: .*limits.stall: the process ends", r.err), r


def test_a_pipe_is_a_file_if_somebody_writes_to_it(folder):
    path = os.path.join(folder, "fifo")
    os.mkfifo(path)
    r = lignum("check", "-c", path, cwd=folder)
    assert r.code == 64 and "fifo: a pipe to which nobody writes" in r.err, r
    with running(lambda: open(path, "w").write('listen "nonsense"')):
        r = lignum("check", "-c", path, cwd=folder)
    assert r.code == 64 and "fifo:1: listen" in r.err, r


@pytest.mark.parametrize("text, line, words", [
    ('store { segmnt = { messages = 5 } }', 1, ["segmnt", "segment"]),
    ('\n\nstore { segment = { mesages = 5 } }', 3, ["store.segment.mesages", "messages"]),
    ('topic "orders.*" {\n  retian = { age = 5 },\n}', None, ["orders.*", "retian", "retain"]),
    ('store { segment = { messages = "many" } }', 1, ["store.segment.messages"]),
    ('store { segment = { messages = 0 } }', 1, ["store.segment.messages"]),
    ('store { durability = "comit" }', 1, ["store.durability", "commit"]),
    ('listen "nonsense"', 1, ["listen"]),
    ('listne "127.0.0.1:1"', 1, ["listne", "listen"]),
    ('topic "a b" {}', 1, ["topic"]),
    ('topic "x" { copies = 0 }', 1, ["copies"]),
    ('log { level = "loud" }', 1, ["log.level"]),
    ('function on_publsh(msg) end', 1, ["on_publsh", "on_publish"]),
    ('on_publish = 5', 1, ["on_publish"]),
    ('every(0, function() end)', 1, ["every"]),
    ('every(0 / 0, function() end)', 1, ["every"]),
    ('every(math.huge, function() end)', 1, ["every"]),
    ('every(1e300, function() end)', 1, ["every"]),
    ('every(5)', 1, ["every"]),
    ('topic(nil) {}', 1, ["pattern"]),
    ('consume("jobs", 5, print)', 1, ["consume"]),
    ('filter.x = 5', 1, ["filter.x: must be a function"]),
    ('filter["a-b"] = print', 1, ["filter: a name"]),
    ('filter.y = print\nfilter.y = print', 2, ["filter.y: is already defined"]),
    ('route.get("hello", function() end)', 1, ["route"]),
    ('route.get("/hello", 5)', 1, ["route"]),
    ('x = = 1', 1, []),
    ('error("my own")', 1, ["my own"]),
    ('undefined_function()', 1, ["undefined_function"]),
    ('local t = nil\nt.x = 1', 2, []),
    ('while true do end', 1, []),
], ids=as_id)
def test_errors_name_file_line_key_and_the_nearest_key(folder, text, line, words):
    r = check(folder, text)
    assert r.code == 64, r
    assert "lignum.lua" in r.err
    if line:
        assert re.search(r"lignum\.lua:%d: " % line, r.err)
    for w in words:
        assert w in r.err


@pytest.mark.parametrize("start", ["\ufeff", "#!/usr/bin/env lignum\n", "\ufeff# a comment\n"], ids=as_id)
def test_a_byte_order_mark_and_a_line_for_the_shell_are_skipped(folder, start):
    assert check(folder, start + 'log { level = "warn" }\n').code == 0
    r = check(folder, start + '\nlog { level = "loud" }\n')
    assert r.code == 64
    assert "lignum.lua:%d: log.level" % (start.count("\n") + 2) in r.err


def test_check_runs_no_program_and_writes_no_file(folder):
    made = os.path.join(folder, "made")
    r = check(folder, 'local unsafe = require("lignum.core").unsafe\n'
                      'unsafe.execute("touch %(made)s")\n'
                      'assert(select(3, unsafe.open("%(made)s", "w")) == "forbidden")\n'
                      'unsafe.remove("lignum.lua") unsafe.popen("touch %(made)s") unsafe.exit(5)\n'
                      'topic "t" { copies = 0 }\n' % {"made": made})
    assert r.code == 64, r
    assert not os.path.exists(made) and os.path.exists(os.path.join(folder, "lignum.lua"))
    assert "lignum.lua:2: unsafe.execute does nothing in `lignum check`" in r.err
    assert "lignum.lua:5: topic" in r.err, "it went on after each of them"


EFFECTS = r"""
#include <fcntl.h>
#include <lua.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
int luaopen_effects(lua_State *L)
{
    lua_pushinteger(L, (open("lignum.lua", O_RDONLY) >= 0) | (open("made", O_CREAT | O_WRONLY, 0600) >= 0) << 1 |
                       (mkdir("made", 0700) == 0) << 2 | (system("touch made") == 0) << 3 |
                       (socket(AF_INET, SOCK_STREAM, 0) >= 0) << 4 | (unlink("lignum.lua") == 0) << 5);
    return 1;
}
"""


def test_check_confines_modules_in_c(folder):
    place = os.path.join(folder, "rocks", "lib", "lua", "5.4")
    os.makedirs(place)
    flags = subprocess.run(["pkg-config", "--cflags", "lua5.4"], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["cc", "-shared", "-fPIC", *flags, "-x", "c", "-", "-o", os.path.join(place, "effects.so")],
                   input=EFFECTS, text=True, check=True)
    r = check(folder, 'error("done: " .. require("effects"))')
    assert "done: 1\n" in r.err, "it reads, and does nothing else"
    assert sorted(os.listdir(folder)) == ["lignum.lua", "rocks"]


def test_secrets_that_others_can_read_are_warned_of(folder):
    def warnings(*words):
        r = lignum("check", "-c", path, *words)
        assert r.code == 0 and "c0ffee" not in r.out + r.err, r
        return re.findall(r"warn main: (every user of this host can read .*)", r.err)

    path, token = os.path.join(folder, "lignum.lua"), "cluster.consul.token=c0ffee"
    check(folder, 'cluster { consul = { token = "c0ffee" } }')
    os.chmod(path, 0o644)
    assert warnings() == ["every user of this host can read cluster.consul.token in lignum.lua: chmod 600 that file"]
    os.chmod(path, 0o600)
    assert warnings() == []
    assert warnings("--set", token) == ["every user of this host can read cluster.consul.token in the arguments of this process: "
                                        "set it in lignum.lua instead"]


@pytest.mark.parametrize("wanted", [False, True], ids=as_id)
def test_a_crash_leaves_a_core_dump_only_where_it_is_wanted(make_node, wanted):
    before = resource.getrlimit(resource.RLIMIT_CORE)
    if before[1] == 0 or SANITIZED:
        pytest.skip("core dumps are off for this user, or by AddressSanitizer")
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        b = make_node(set=["node.core_dumps=true"] if wanted else []).start()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    b.awaited = True
    b.signal(signal.SIGABRT)
    assert os.WCOREDUMP(os.waitpid(b.process.pid, 0)[1]) == wanted


def test_several_errors_are_all_said_a_line_each(folder):
    r = check(folder, 'store { segmnt = {}, durabilty = "commit" }\nlog { level = "loud" }')
    assert r.code == 64
    lines = [l for l in r.err.splitlines() if "lignum.lua" in l]
    assert len(lines) >= 3, r


def test_a_broken_file_keeps_a_broker_from_starting(make_node):
    b = make_node(config="store { segmnt = {} }")
    b.spawn()
    assert b.wait_exit() == 64
    assert "segment" in b.said()
    assert not os.path.exists(b.data)


@pytest.mark.parametrize("text", [
    'os.execute("true")', 'io.popen("true")', 'package.loadlib("x", "y")', 'os.exit(0)', 'load("\\27Lua")()', 'os.remove("x")',
    'loadfile("/etc/passwd")()', 'debug.getregistry()',
], ids=as_id)
def test_dangerous_functions_are_off(folder, text):
    r = check(folder, text)
    assert r.code == 64, r
