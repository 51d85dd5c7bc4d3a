"""The examples of README.md work unchanged and in order: its curl lines, its lignum.lua and its console lines.

Every line of a ```sh block that holds curl lines, or in which lignum is a client, is run (after replacing the port by the test's); every `lignum>` line of
a transcript is typed into the console, and what follows it must come back; a ```lua block becomes lignum.lua, by
a reload, or is run by `lignum test` if it begins with the name of a file of tests; a ```json block must be what the first curl line answered.
"""

import itertools
import os
import re
import shutil
import socket
import subprocess

import pytest

from common import BINARY, ROOT, free_port

README = os.path.join(ROOT, "README.md")

needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


def blocks(text):
    """[(language, body)] in order."""
    return [(m.group(1), m.group(2)) for m in re.finditer(r"(?m)^```(\w*)\n(.*?)^```", text, re.S)]


def curl_lines(body):
    return [l for l in body.splitlines() if re.search(r"(^|\| *)curl ", l)]


def command_lines(body):
    """The lines in which `lignum` is a client."""
    return [l for l in body.splitlines() if re.search(r"(^|\| *)build/lignum (pub|sub|group|topic|cluster|doctor|bench|backup) ?", l)]


def transcript(body):
    """[(typed, answer)] of a console session."""
    return [(m.group(1), m.group(2).strip()) for m in re.finditer(r"(?m)^lignum> (.*)\n((?:(?!lignum> ).*\n)*)", body)]


def run_script(text, folder):
    """Runs curl lines, all of which must succeed; returns their output."""
    script = "set -e -o pipefail\ncurl() { command curl -sS --fail-with-body \"$@\"; }\n" + text
    p = subprocess.run(["bash", "-c", script], capture_output=True, timeout=30, cwd=folder, text=True)
    assert p.returncode == 0, "%s\n%s%s" % (text, p.stdout, p.stderr)
    return p.stdout


@needs_curl
def test_the_readmes_lines_work_as_they_stand(node):
    b = node(config=open(os.path.join(ROOT, "lignum.lua")).read())
    answers, commands, typed_lines, tested = [], [], 0, 0
    for language, body in blocks(open(README).read()):
        if language == "sh":
            for line in curl_lines(body):
                answers.append(run_script(line.replace("localhost:8080", "127.0.0.1:%d" % b.port), b.folder))
            for line in command_lines(body):
                commands.append(run_script("export LIGNUM_URL=127.0.0.1:%d\n%s" % (b.port, line.replace("build/lignum", BINARY)), b.folder))
        elif language == "lua" and body.startswith("-- lignum_test.lua\n"):
            tests = os.path.join(b.folder, "lignum_test.lua")
            with open(tests, "w") as f:
                f.write(body)
            said = subprocess.run([BINARY, "test", tests], capture_output=True, text=True, timeout=30).stdout
            assert "1 passed, 0 failed" in said, said
            tested += 1
        elif language == "lua":
            b.write_config(body)
            b.reload()
        elif language == "json":
            assert answers[0].strip() == body.strip()
        elif language == "":
            for typed, answer in transcript(body):
                assert b.lua(typed) == answer, typed
                typed_lines += 1
    assert len(answers) > 4 and len(commands) == 9
    assert commands[1] == "one\ntwo\n" and commands[3] == "one is delivered\ntwo is delivered\n"
    assert typed_lines > 0 and tested > 0
    assert b.get("/hello/you").json["hello"] == "you"


@needs_curl
def test_the_failover_in_the_readme_works_as_it_stands(folder):
    """Runs the ```bash block of five lines in a new cluster on other ports."""
    lines = [body for language, body in blocks(open(README).read()) if language == "bash"]
    assert [len(b.strip().splitlines()) for b in lines] == [5]
    port = free_port(above=[1, 2, 46, 47, 48, 420, 421, 422, 423])         # the ports that tests/cluster uses
    place = os.path.join(folder, "cluster")
    p = subprocess.Popen([os.path.join(ROOT, "tests/cluster"), "--port", str(port), "--folder", place, "--binary", BINARY],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = list(itertools.takewhile(lambda line: not line.startswith("Ctrl-C"), p.stdout))
        assert p.poll() is None, "".join(said)
        script = lines[0].replace("build/cluster", place)
        for i in range(3):
            script = script.replace("localhost:%d" % (8080 + i), "127.0.0.1:%d" % (port + i))
        assert run_script(script, folder).splitlines()[-2:] == ["before", "after"]
    finally:
        p.terminate()
        p.communicate(timeout=30)
    assert p.returncode == 0


def test_a_cluster_whose_port_another_process_has_is_not_begun(folder):
    port = free_port(above=[1, 2, 46, 47, 48, 420, 421, 422, 423])
    for taken in (port + 2, port + 47, port + 423):
        with socket.create_server(("127.0.0.1", taken)):
            p = subprocess.run([os.path.join(ROOT, "tests/cluster"), "--port", str(port), "--folder", folder, "--binary", BINARY],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        assert p.returncode == 1
        assert "port %d of 127.0.0.1 cannot be used" % taken in p.stdout
        assert not os.path.exists(os.path.join(folder, "consul", "log")), "nothing has been started"


def test_the_files_that_the_readme_names_exist():
    text = open(README).read()
    named = set(re.findall(r"\]\(([\w./-]+)\)", text)) | set(re.findall(r"`((?:core|scripts|doc|tests)/[\w./-]+)`", text))
    assert [n for n in sorted(named) if not os.path.exists(os.path.join(ROOT, n))] == []


def test_the_reading_of_the_readme_finds_what_there_is():
    text = "```sh\n# say\ncurl x\nprintf a | curl y\n```\n```\nlignum> a\n4\nlignum> b\nc\nd\n```\n"
    (_, sh), (_, console) = blocks(text)
    assert curl_lines(sh) == ["curl x", "printf a | curl y"]
    assert transcript(console) == [("a", "4"), ("b", "c\nd")]
