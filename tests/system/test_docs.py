"""The commands in doc/tutorial.md, doc/how-to.md and doc/clients.md work as they stand, in their order, in a network of their own.

A ```sh block is run; one that begins with a comment "# in another terminal" goes on in the background until the end of its
chapter. Each line of a ```text block must be in what the block before it printed. A ```lua, ```python or ```js block is the file that
its first line names. $SOURCE is the directory of Lignum's source. A chapter (##) begins in an empty directory, after the page's ```sh prelude; one that needs a program says so:
"Needs `redis-server`.".
"""

import os
import re
import shutil
import signal
import subprocess

import consul
import pytest

import test_clients
from common import BINARY, ROOT

BACKGROUND = "# in another terminal"
COMMENT = {"lua": "--", "python": "#", "js": "//"}

PRELUDE = r"""
set -e -o pipefail
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null; wait' EXIT
ip link set lo up
curl() { command curl -sS --fail-with-body --max-time 30 "$@"; }
until_ready() {       # LOG PATTERN
    for _ in $(seq 300); do grep -q "$2" "$1" 2>/dev/null && return; sleep 0.1; done
    echo "not ready: $2"; cat "$1"; exit 1
}
"""


def chapters(page):
    """[(title, text)]"""
    with open(os.path.join(ROOT, "doc", page)) as f:
        text = f.read()
    prelude = "".join(re.findall(r"(?ms)^```sh prelude\n.*?^```\n", text)).replace("```sh prelude", "```sh")
    parts = re.split(r"(?m)^## (.*)$", text.replace("```sh prelude", "```prelude"))
    if prelude:
        parts = [prelude + part if "Needs `consul`" in part else part for part in parts]
    return [(title, text) for title, text in zip(parts[1::2], parts[2::2]) if "```sh" in text]


def blocks(text):
    return [(m.group(1), m.group(2)) for m in re.finditer(r"(?m)^```(\w+)\n(.*?)^```", text, re.S)]


def in_background(number, body):
    log = "terminal-%d.log" % number
    lines = ["( %s\n) >%s 2>&1 &" % (body, log)]
    lines += ["until_ready %s ' main: ready '" % log for _ in re.findall("lignum serve", body)[:1]]
    if "consul agent" in body:
        lines.append("for _ in $(seq 300); do command curl -s localhost:8500/v1/status/leader | grep -q : && break; sleep 0.1; done")
    return "\n".join(lines)


def script_of(text):
    """The shell script of a chapter, and what its blocks have to print: [(number, line)]."""
    script, expected, number = [PRELUDE], [], 0
    for language, body in blocks(text):
        number += 1
        if language == "sh" and body.startswith(BACKGROUND):
            script.append(in_background(number, body))
        elif language == "sh":
            script.append("echo '@@@ %d'\n%s" % (number, body))
            last = number
        elif language in COMMENT:
            name = re.match(COMMENT[language] + r" ([\w./-]+)", body)[1]
            script.append("cat > %s <<'END-OF-FILE'\n%sEND-OF-FILE" % (name, body))
        elif language == "text":
            expected += [(last, line) for line in body.splitlines() if line.strip()]
    return "\n".join(script), expected


def apart():
    """A command that runs another one in a network of its own, or None where the machine does not allow it."""
    for words in ["unshare", "-n"], ["unshare", "-rn"]:
        if subprocess.run([*words, "true"], capture_output=True).returncode == 0:
            return words
    return None


def needs(text):
    return re.findall(r"[Nn]eeds `([\w-]+)`", text)


def logs(folder):
    """The ends of the logs in a chapter's directory."""
    ends = []
    for name in sorted(n for n in os.listdir(folder) if n.endswith(".log")):
        with open(os.path.join(folder, name), errors="replace") as f:
            ends.append("---- %s\n%s" % (name, "".join(f.readlines()[-15:])))
    return "\n".join(ends)


ALL = [(page, title, text) for page in ("tutorial.md", "how-to.md", "clients.md") for title, text in chapters(page)]


@pytest.mark.parametrize("page,title,text", ALL, ids=["%s: %s" % (p, t) for p, t, _ in ALL])
def test_a_chapter_works_as_it_stands(folder, page, title, text):
    network = apart()
    if not network:
        pytest.skip("this machine gives a test no network of its own")
    tools = os.path.join(folder, "tools")
    os.mkdir(tools)
    os.symlink(BINARY, os.path.join(tools, "lignum"))
    if "Needs `consul`" in text:
        consul_program = consul.binary()[0]
        if not consul_program:
            pytest.skip("there is no Consul")
        os.symlink(consul_program, os.path.join(tools, "consul"))
    path = tools + ":" + os.environ["PATH"] + ":/usr/sbin"
    missing = [tool for tool in needs(text) if not shutil.which(tool, path=path)]
    if missing:
        pytest.skip("%s is not installed" % missing[0])
    if "lua5.4" in needs(text) and test_clients.why_not("lua"):
        pytest.skip(test_clients.why_not("lua"))
    work = os.path.join(folder, "work")
    os.mkdir(work)
    script, expected = script_of(text)
    env = dict(os.environ, PATH=path, HOME=work, SOURCE=ROOT)
    for name in "LIGNUM_URL", "LIGNUM_TOKEN":
        env.pop(name, None)
    p = subprocess.Popen([*network, "bash", "-c", script], cwd=work, env=env, stdin=subprocess.DEVNULL, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        said, _ = p.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        raise AssertionError("it goes on and on:\n" + p.communicate()[0][-4000:] + logs(work))
    finally:
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert p.returncode == 0, said[-4000:] + logs(work)
    outputs = dict((int(n), text) for n, text in re.findall(r"@@@ (\d+)\n(.*?)(?=@@@ \d+\n|\Z)", said, re.S))
    for number, line in expected:
        assert line.strip() in outputs[number], "%r is not in\n%s" % (line, outputs[number])


def test_every_file_that_the_documentation_names_exists():
    pages = [os.path.join(d, n) for d, _, names in os.walk(os.path.join(ROOT, "doc")) for n in names if n.endswith(".md")]
    broken = []
    for page in pages:
        with open(page) as f:
            for name in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", f.read()):
                if not os.path.exists(os.path.join(os.path.dirname(page), name)):
                    broken.append((os.path.relpath(page, ROOT), name))
    assert not broken


def test_a_line_that_is_not_printed_is_noticed():
    script, expected = script_of("```sh\necho one\n```\n```text\none\n```\n```lua\n-- a.lua\nx = 1\n```\n")
    assert expected == [(1, "one")] and "cat > a.lua" in script
