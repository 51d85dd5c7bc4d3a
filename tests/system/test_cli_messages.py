"""The command line as a client: messages, groups, and what an operator asks of a node."""

import json
import os
import signal
import subprocess

import pytest
from common import BINARY, free_port, wait_until
from lignum import lignum


def url(b):
    return "http://127.0.0.1:%d" % b.port


def ask(b, *words, **kw):
    return lignum(*words, "--url", url(b), **kw)


def done(b, *words, **kw):
    ran = ask(b, *words, **kw)
    assert ran.code == 0 and ran.err == "", (words, ran)
    return ran.out


@pytest.fixture(scope="module")
def b(share_node):
    return share_node()


def begin(b, *words, **kw):
    """The command in the background, its output in pipes."""
    return subprocess.Popen([BINARY, *words, "--url", url(b)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **kw)


def finish(process, code, timeout=20):
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == code, (process.returncode, out, err)
    return out, err


# ---- pub

def test_arguments_lines_and_files_are_messages_byte_for_byte(b, tmp_path):
    (tmp_path / "f").write_bytes(b"\x00\xff\n\r\nend\n")
    done(b, "pub", "bytes", "one", "", "two\nlines", "--file", str(tmp_path / "f"))
    done(b, "pub", "bytes", input=b"first\n\n\xffsecond\r\nwithout an end")
    assert b.messages("bytes") == [b"\x00\xff\n\r\nend\n", b"one", b"", b"two\nlines", b"first", b"\xffsecond",
                                   b"without an end"]


def test_key_headers_and_times_go_with_each_message(b):
    done(b, "pub", "dressed", "-", "--key", "k", "--header", "a=1=2", "--header", "b=", "--ttl", "60", input=b"x\ny\n")
    for m in b.read("dressed")["messages"]:
        assert m["key"] == "k"
        assert m["headers"]["a"] == "1=2" and m["headers"]["b"] == "" and "lignum-ttl" in m["headers"]


def test_a_batch_is_one_request_and_json_prints_its_receipt(b):
    out = done(b, "pub", "batched", "--batch", "3", "-o", "json", *"abcdefg")
    assert [json.loads(line)["count"] for line in out.splitlines()] == [3, 3, 1]
    assert len(b.messages("batched")) == 7


def test_lines_are_published_as_they_come(b):
    p = begin(b, "pub", "live")
    try:
        p.stdin.write(b"now\n")
        p.stdin.flush()
        wait_until(lambda: b.get("/v1/topics/live").status == 200 and b.topic("live")["next"] == 1, what="the line is stored")
        p.stdin.write(b"half a li")
        p.stdin.flush()
        p.stdin.write(b"ne\n")
        finish(p, 0)
    finally:
        p.kill()
    assert b.messages("live") == [b"now", b"half a line"]


def test_a_rate_is_kept(b):
    out = done(b, "pub", "slow", "--rate", "40", "-o", "json", *("m%d" % i for i in range(20)))
    times = [m["time"] for m in b.read("slow")["messages"]]
    assert len(out.splitlines()) == 5 and times[0] != times[-1], "4 in a request, at 40 a second"


def test_an_idempotent_run_numbers_its_requests(b):
    done(b, "pub", "numbered", "--idempotent", "--batch", "1", "a", "b", "c")
    assert b.messages("numbered") == [b"a", b"b", b"c"]
    b_dump = b.ok("GET", "/v1/topics/numbered").json
    assert b_dump["next"] == 3


@pytest.mark.parametrize("words, code, says", [
    (["pub", "_x", "m"], 77, ""),
    (["pub", "t", "m", "--header", "novalue"], 64, "NAME=VALUE"),
    (["pub", "t", "m", "--batch", "0"], 64, "--batch"),
    (["pub", "t", "m", "--rate", "x"], 64, "x is no number"),
    (["pub", "t", "m", "--ack", "nonsense"], 65, ""),
    (["pub", "t", "--file", "/nonexistent"], 66, "/nonexistent"),
    (["pub", "a b", "m"], 65, "topic name"),
    (["sub", "nothing"], 66, ""),
    (["sub", "nothing", "--group", "g"], 66, ""),
    (["sub", "t", "--consumer", "c"], 64, "--group"),
    (["sub", "bad", "--from", "yesterday"], 65, "from"),
    (["group", "show", "bad", "g"], 66, "group"),
    (["group", "rm", "bad", "g"], 64, "--yes"),
    (["group", "dead", "bad", "g", "--to", "x"], 64, "--redrive"),
    (["topic", "trim", "bad"], 64, "--before"),
    (["topic", "trim", "bad", "--before", "9"], 65, "next offset"),
    (["cluster", "adopt"], 64, "--yes"),
    (["cluster", "adopt", "--yes"], 65, "no cluster"),
    (["top"], 64, "-o json"),
    (["bench", "--size", "0"], 64, "at least 1"),
    (["completion", "tcsh"], 64, "bash, zsh and fish"),
], ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_a_mistake_is_a_sentence_and_an_exit_code(b, words, code, says):
    b.request("PUT", "/v1/topics/bad")
    ran = ask(b, *words) if words[0] != "completion" else lignum(*words)
    assert ran.code == code and says in ran.err and ran.out == "", ran
    assert ran.err.startswith("lignum %s: " % words[0]) and len(ran.err.splitlines()) == 1, ran


def test_what_was_published_before_a_failure_is_said(b):
    ran = ask(b, "pub", "cut", "--batch", "1", input=b"good\n" + b"x" * 1048577 + b"\nnever\n")
    assert ran.code == 65 and ran.err.startswith("lignum pub: 1 messages are published; "), ran
    ran = ask(b, "pub", "cut", "--batch", "1", "good", "bad", "--key", "k" * 5000)
    assert ran.code == 65 and ran.err.startswith("lignum pub: 0 messages are published; "), ran
    assert b.messages("cut") == [b"good"]


# ---- sub

def test_sub_prints_to_the_end_in_all_forms(b):
    b.publish("forms", b"one")
    b.publish_lines("forms", [b"two", b"\xff\x00"])
    lines = done(b, "sub", "forms").splitlines()
    assert [l.split("\t")[0] for l in lines] == ["0", "1", "2"] and lines[0].split("\t")[2:] == ["-", "one"]
    assert lignum("sub", "forms", "--raw", "--from", "1", "--limit", "1", "--url", url(b)).out == "two\n"
    for flag in (["--json"], ["-o", "json"]):
        assert [json.loads(l)["offset"] for l in done(b, "sub", "forms", *flag).splitlines()] == [0, 1, 2]
    raw = subprocess.run([BINARY, "sub", "forms", "--raw", "--url", url(b)], capture_output=True).stdout
    assert raw == b"one\ntwo\n\xff\x00\n"
    assert done(b, "sub", "forms", "--from", "latest") == ""
    assert len(done(b, "sub", "forms", "--from=-1h").splitlines()) == 3


def test_sub_follows_until_ctrl_c(b):
    b.publish("followed", b"old")
    p = begin(b, "sub", "followed", "--follow", "--raw", "--from", "earliest")
    try:
        assert p.stdout.readline() == b"old\n"
        b.publish("followed", b"new")
        assert p.stdout.readline() == b"new\n"
        p.send_signal(signal.SIGINT)
        out, err = finish(p, 130)
        assert (out, err) == (b"", b"")
    finally:
        p.kill()


def test_a_reader_of_the_output_that_ends_ends_sub(b):
    b.publish_lines("piped", [b"%d" % i for i in range(50000)])
    p = subprocess.run("%s sub piped --raw --url %s | head -1" % (BINARY, url(b)), shell=True, capture_output=True, timeout=20)
    assert (p.stdout, p.stderr) == (b"0\n", b"")


def test_a_command_gets_each_message_and_a_failure_ends_the_reader(b, tmp_path):
    b.publish_lines("fed", [b"a", b"b", b"c"])
    out = done(b, "sub", "fed", "--exec", "cat; echo \" $LIGNUM_TOPIC $LIGNUM_OFFSET\"")
    assert out == "a fed 0\nb fed 1\nc fed 2\n"
    ran = ask(b, "sub", "fed", "--exec", "test $LIGNUM_OFFSET = 0")
    assert ran.code == 1 and "--from 1" in ran.err, ran


def test_a_history_that_is_gone_is_said_and_nothing_else_is_printed(b):
    b.publish_lines("again", [b"a", b"b"])
    token = b.read("again", from_=1)["next_token"]
    b.ok("DELETE", "/v1/topics/again", status=204)
    b.publish_lines("again", [b"x", b"y", b"z"])
    ran = ask(b, "sub", "again", "--from", token)
    assert ran.code == 65 and ran.out == "" and "--from" in ran.err and len(ran.err.splitlines()) == 1, ran


# ---- groups

def test_a_group_hands_out_and_acknowledges_by_exit_code(b):
    b.publish_lines("work", [b"%d" % i for i in range(6)])
    done(b, "group", "new", "work", "g", "from=earliest", "dead_letter=work.dead", "lease_time=30s", "deliveries=3")
    assert done(b, "sub", "work", "--group", "g", "--raw", "--limit", "2") == "0\n1\n"
    out = done(b, "sub", "work", "--group", "g", "--exec",
               "read x; echo $x:$LIGNUM_DELIVERY:$LIGNUM_KEY; case $x in 2) exit 65;; 3) test $LIGNUM_DELIVERY = 2;; esac")
    assert out == "2:1:\n3:1:\n3:2:\n4:1:\n5:1:\n", "a released message comes again, a rejected one does not"
    state = json.loads(done(b, "group", "show", "work", "g", "-o", "json"))
    assert (state["lag"], state["leased"]) == (0, 0)
    wait_until(lambda: json.loads(done(b, "group", "show", "work", "g", "-o", "json"))["dead"] == 1, what="it is dead")
    letters = done(b, "group", "dead", "work", "g").splitlines()
    assert len(letters) == 2 and letters[1].split()[-1] == "rejected"
    assert json.loads(done(b, "group", "dead", "work", "g", "--redrive", "-o", "json")) == {"published": 1}
    assert done(b, "sub", "work", "--group", "g", "--raw") == "2\n"
    done(b, "group", "seek", "work", "g", "5")
    assert done(b, "sub", "work", "--group", "g", "--raw") == "5\n2\n"
    done(b, "group", "reset", "work", "g")
    assert len(done(b, "sub", "work", "--group", "g", "--raw").splitlines()) == 7
    done(b, "group", "set", "work", "g", "lease_time=5m")
    assert [l.split()[0] for l in done(b, "group", "ls", "work").splitlines()] == ["GROUP", "g"]
    done(b, "group", "rm", "work", "g", "--yes")
    assert ask(b, "group", "show", "work", "g").code == 66


def test_from_makes_a_group_that_is_not_there_and_leaves_one_that_is(b):
    b.publish_lines("made", [b"a", b"b"])
    assert done(b, "sub", "made", "--group", "g", "--from", "earliest", "--raw") == "a\nb\n"
    assert done(b, "sub", "made", "--group", "g", "--from", "earliest", "--raw") == ""


def test_a_long_command_keeps_its_lease(b):
    b.publish("long", b"x")
    done(b, "group", "new", "long", "g", "from=earliest", "lease_time=0.5")
    out = done(b, "sub", "long", "--group", "g", "--exec", "sleep 2; echo $LIGNUM_DELIVERY")
    assert out == "1\n"
    assert json.loads(done(b, "group", "show", "long", "g", "-o", "json"))["lag"] == 0


def test_ctrl_c_gives_back_what_was_not_done(b):
    b.publish_lines("given", [b"a", b"b"])
    done(b, "group", "new", "given", "g", "from=earliest", "lease_time=600")
    p = begin(b, "sub", "given", "--group", "g", "--exec", "echo begun; sleep 1; exit 1", start_new_session=True)
    try:
        assert p.stdout.readline() == b"begun\n"
        p.send_signal(signal.SIGINT)
        finish(p, 130)
    finally:
        p.kill()
    state = json.loads(done(b, "group", "show", "given", "g", "-o", "json"))
    assert (state["lag"], state["leased"]) == (2, 0), state


# ---- the node

def test_status_top_and_bench(b):
    assert "leads in epoch" in done(b, "cluster", "status")
    status = json.loads(done(b, "cluster", "status", "-o", "json"))
    assert status["role"] == "alone"
    b.publish("watched", b"x")
    looks = [json.loads(l) for l in done(b, "top", "-o", "json", "--count", "2", "--interval", "0.2").splitlines()]
    assert len(looks) == 2 and "watched" in [t["name"] for t in looks[1]["topics"]]
    results = [json.loads(l) for l in done(b, "bench", "--seconds", "0.5", "-o", "json", "--batch", "10").splitlines()]
    assert [r["what"] for r in results] == ["publish", "read"]
    assert results[0]["messages"] == results[1]["messages"] > 0 and results[0]["p50"] <= results[0]["p99"] <= results[0]["max"]
    assert not [t for t in b.ok("GET", "/v1/topics").json["topics"] if t["name"].startswith("bench-")], "it cleans up"


def test_reload_takes_a_new_file_and_says_its_mistakes(make_node):
    b = make_node(config='topic "a.*" { durability = "os" }').start()
    b.write_config('topic "a.*" { durability = "interval" }')
    assert "has reloaded" in done(b, "reload")
    done(b, "topic", "new", "a.x")
    assert b.topic("a.x")["durability"] == "interval"
    b.write_config('topic "a.*" { durabilty = "os" }')
    ran = ask(b, "reload")
    assert ran.code == 65 and "lignum.lua:1" in ran.err and "did you mean" in ran.err
    done(b, "topic", "new", "a.y")
    assert b.topic("a.y")["durability"] == "interval", "nothing has changed"


def test_trim_removes_whole_files(make_node):
    b = make_node(set=["store.segment.messages=10"]).start()
    b.publish_lines("t", [b"%d" % i for i in range(10)])
    b.publish_lines("t", [b"%d" % i for i in range(10, 20)])
    b.publish_lines("t", [b"%d" % i for i in range(20, 25)])
    assert done(b, "topic", "trim", "t", "--before", "15") == "t begins at 10\n"
    assert b.topic("t")["first"] == 10
    assert json.loads(done(b, "topic", "trim", "t", "--before", "latest", "-o", "json"))["first"] == 20
    assert len(b.messages("t", 20)) == 5


def test_completion_is_a_script_that_bash_takes_and_that_completes(tmp_path):
    for shell in ("bash", "zsh", "fish"):
        assert len(lignum("completion", shell).out) > 1000
    script = tmp_path / "lignum.bash"
    script.write_text(lignum("completion", "bash").out)

    def completes(*words):
        code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lignum; echo "${COMPREPLY[*]}"'
        ran = subprocess.run(["bash", "-c", code, "bash", str(script), "lignum", *words], capture_output=True, text=True)
        assert ran.stderr == "", ran
        return ran.stdout.split()
    assert completes("to") == ["topic", "token", "top"]
    assert completes("topic", "s") == ["show", "set"]
    assert completes("topic", "rm", "x", "--y") == ["--yes"]
    assert completes("pub", "orders", "--b") == ["--batch"]
    assert "--listen" in completes("serve", "--")


def test_a_node_that_goes_in_the_middle_of_sub_is_said(make_node):
    b = make_node().start()
    b.publish("t", b"x")
    p = begin(b, "sub", "t", "--follow", "--raw", "--from", "earliest", "--retry", "0.5")
    try:
        assert p.stdout.readline() == b"x\n"
        b.kill()
        out, err = finish(p, 69)
        assert out == b"" and err.startswith(b"lignum sub: http://127.0.0.1:") and len(err.splitlines()) == 1
    finally:
        p.kill()


def test_sub_goes_on_when_the_node_comes_back(make_node):
    b = make_node(listen="127.0.0.1:%d" % free_port()).start()
    b.publish("t", b"x")
    p = begin(b, "sub", "t", "--follow", "--raw", "--from", "earliest")
    try:
        assert p.stdout.readline() == b"x\n"
        b.restart()
        b.publish("t", b"y")
        assert p.stdout.readline() == b"y\n"
        p.send_signal(signal.SIGTERM)
        finish(p, 130)
    finally:
        p.kill()


def test_a_refused_token_is_a_sentence(make_node, tmp_path):
    b = make_node(config="access { open = false }").start()
    wrong = tmp_path / "wrong"
    wrong.write_text("lgn_wrong\n")
    os.chmod(wrong, 0o600)
    for words in (["pub", "t", "m"], ["sub", "t"], ["topic", "ls"], ["cluster", "status"], ["reload"]):
        ran = ask(b, *words, "--token-file", str(wrong))
        assert ran.code == 77 and "token" in ran.err and "lgn_wrong" not in ran.err and len(ran.err.splitlines()) == 1, ran
