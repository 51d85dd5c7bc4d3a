"""What somebody meets who tries Lignum for the first time: the console, the manual, limits, health."""

import json
import os
import re
import shutil
import subprocess

import pytest
from common import ROOT
from lignum import lignum


def url(b):
    return "http://127.0.0.1:%d" % b.port


@pytest.fixture(scope="module")
def b(share_node):
    return share_node()


def test_the_console_runs_a_script_with_its_exit_code(b, tmp_path):
    script = tmp_path / "s.lua"
    script.write_text("#!/usr/bin/lignum console\nlocal x = 6\nprint(x * 7)\n")
    for words in ((b.console, str(script)), (str(script), b.console)):
        ran = b.lignum("console", *words)
        assert (ran.code, ran.out, ran.err) == (0, "42\n", ""), ran
    script.write_text("print(1)\nerror('no good')\n")
    ran = b.lignum("console", b.console, str(script))
    assert ran.code == 1 and ran.out == "1\n" and "no good" in ran.err, ran
    assert b.evaluate("error('no')").code == 1 and b.evaluate("return 1").code == 0
    ran = b.lignum("console", b.console, str(script), "-e", "1")
    assert ran.code == 64 and "only one" in ran.err
    ran = b.lignum("console", str(script))
    assert ran.code == 69 and "data/console.sock" in ran.err, "without a socket it is the usual one"


def test_few_descriptors_are_said_at_the_start(make_node):
    b = make_node(descriptors=256).start()
    said = re.findall(r"warn main: ulimit -n is only (\d+).*need (\d+)", b.said())
    assert len(said) == 1 and said[0][0] == "256" and int(said[0][1]) > 20000, b.said()
    enough = make_node(descriptors=256, set=["limits.connections=20", "store.files=32"]).start()
    assert "ulimit" not in enough.said()


def test_the_manual_is_whole_and_man_takes_it(tmp_path):
    page = lignum("manual", "lignum.1").out
    for name in [l.split()[0] for l in lignum("--help").out.splitlines() if l.startswith("  ") and not l.startswith("  lignum")]:
        assert '.SS "lignum %s ' % name in page, name
    for word in ("\\-\\-group", "\\-\\-exec", "\\-\\-token\\-file", "LIGNUM_URL", "EXIT STATUS"):
        assert word in page, word
    keys = lignum("manual", "lignum.lua.5").out
    for word in ("store.segment.bytes", "limits.client.requests", "cluster.consul.address", "replication", "retain.age"):
        assert "\\fB%s\\fR" % word in keys, word
    assert not re.search(r"^'|^\.(?!TH|SH|SS|TP|P\b|B )", page + keys, re.M), "no line that roff would take for a request"
    for text in (page, keys):
        if shutil.which("groff"):
            ran = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=text, capture_output=True, text=True)
            assert ran.returncode == 0 and ran.stderr == "" and len(ran.stdout) > 2000, ran.stderr
    assert lignum("manual", "lignum.2").code == 64


def test_install_has_manual_and_completion(tmp_path):
    env = dict(os.environ, MAKEFLAGS="", DESTDIR=str(tmp_path))
    ran = subprocess.run(["make", "-s", "-o", "binary", "install", "PREFIX=/usr"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    share = tmp_path / "usr" / "share"
    for path in ("man/man1/lignum.1", "man/man5/lignum.lua.5", "bash-completion/completions/lignum", "zsh/site-functions/_lignum",
                 "fish/vendor_completions.d/lignum.fish"):
        assert (share / path).stat().st_size > 1000, path
    assert subprocess.run([str(tmp_path / "usr/bin/lignum"), "topic", "--help"], capture_output=True).returncode == 0


def test_doctor_says_that_nothing_is_wrong_or_what(make_node, folder):
    b = make_node().start()
    ran = b.lignum("doctor", "--url", url(b))
    assert (ran.code, ran.out) == (0, "nothing is wrong\n"), ran
    os.makedirs(os.path.join(b.data, "diverged", "t-5-1700000000000"))
    ran = b.lignum("doctor", "--url", url(b))
    assert ran.code == 1 and "diverged" in ran.out, ran
    problems = json.loads(b.lignum("doctor", "--url", url(b), "-o", "json").out)["problems"]
    assert problems and problems[0]["severity"] in ("warning", "critical") and problems[0]["cure"]


def test_doctor_says_which_node_of_a_cluster_does_not_answer(cluster):
    c = cluster()
    gone, other = c.followers()
    gone.kill()
    ran = other.lignum("doctor", "--url", "%s,%s" % (url(other), url(c.leader())))
    assert ran.code == 1 and "critical: %s" % gone.name in ran.out and "does not say how it is" in ran.out, ran
