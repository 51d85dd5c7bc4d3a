"""The command line as a client: help, mistakes, which node is meant, exit codes, topics and tokens."""

import json
import stat
import subprocess

import pytest
from certs import Authority
from common import BINARY, free_port
from lignum import lignum


def url(b):
    return "http://127.0.0.1:%d" % b.port


def ask(b, *words, **kw):
    return lignum(*words, "--url", url(b), **kw)


def names_in(text):
    return [line.split()[0] for line in text.splitlines() if line.startswith("  ") and line[2] != " "]


def test_help_lists_all_commands_and_each_has_its_own():
    overview = lignum("--help")
    assert overview.code == 0 and overview.err == ""
    names = [n for n in names_in(overview.out) if n != "lignum"]
    assert names[:2] == ["serve", "check"] and {"topic", "token", "console"} <= set(names)
    for name in names:
        for words in ([name, "--help"], ["help", name], ["-h"] if name == "serve" else [name, "-h"]):
            ran = lignum(*words)
            assert ran.code == 0 and ran.err == "" and (words == ["-h"] or "lignum " + name in ran.out), (words, ran)


def test_help_of_c_commands_names_only_flags_that_they_take():
    flags = {"serve": set(), "check": set(), "console": set()}
    for name in flags:
        for line in lignum(name, "--help").out.splitlines():
            if line.startswith("  -"):
                flags[name].add(line.split()[0])
    assert {"--listen", "--data", "--set", "-c"} <= flags["serve"]
    for name, of in flags.items():
        for flag in of:
            ran = lignum(name, *["https://localhost"] * (name == "console" and flag != "-e"), flag)
            assert ran.code == 64 and "needs a value" in ran.err, (name, flag, ran)


@pytest.mark.parametrize("words, code, says", [
    (["topc"], 64, "did you mean topic?"),
    (["nonsense-indeed"], 64, "no such command"),
    (["topic"], 64, "ls, show, new"),
    (["topic", "shwo", "x"], 64, "did you mean show?"),
    (["topic", "ls", "--internl"], 64, "did you mean --internal?"),
    (["topic", "ls", "--internal=1"], 64, "takes no value"),
    (["topic", "ls", "-o", "xml"], 64, "xml"),
    (["topic", "ls", "-o"], 64, "needs a value"),
    (["topic", "ls", "-o", "json", "-o", "json"], 64, "twice"),
    (["topic", "show"], 64, "usage: lignum topic show TOPIC"),
    (["topic", "ls", "a", "b"], 64, "usage: lignum topic ls"),
    (["topic", "set", "t", "retain"], 64, "KEY.PATH=VALUE"),
    (["token", "add", "x"], 64, "--topics"),
    (["--set", "a=b", "topic", "ls"], 64, "topic"),
    (["topic", "ls", "--token-file", "/nonexistent"], 78, "/nonexistent"),
    (["topic", "ls", "--url", "ftp://x"], 64, "ftp://x"),
], ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_a_mistake_is_said_in_a_sentence(words, code, says, tmp_path):
    ran = lignum(*words, env={"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""})
    assert ran.code == code and says in ran.err and ran.out == "", ran
    assert len(ran.err.strip().splitlines()) == 1 and ran.err.startswith("lignum")


def test_nobody_listens():
    ran = lignum("topic", "ls", "--url", "127.0.0.1:%d" % free_port())
    assert ran.code == 69 and "127.0.0.1" in ran.err


def test_the_node_is_that_of_the_flag_then_the_environment_then_the_context(make_node, tmp_path):
    b = make_node().start()
    nobody = "http://127.0.0.1:%d" % free_port()
    folder = tmp_path / "lignum"
    folder.mkdir()
    contexts = folder / "contexts.lua"
    contexts.write_text("""return { default = "dead", dead = { url = "%s" }, live = { url = "%s" } }""" % (nobody, url(b)))
    env = {"XDG_CONFIG_HOME": str(tmp_path), "LIGNUM_URL": "", "LIGNUM_TOKEN": ""}

    def code(*flags, **more):
        return lignum("topic", "ls", *flags, env=dict(env, **more)).code
    assert code() == 69, "the default context"
    assert code("--context", "live") == 0
    assert code("--url", url(b)) == 0
    assert code(LIGNUM_URL=url(b)) == 0
    assert code("--context", "dead", LIGNUM_URL=url(b)) == 69, "a flag comes before the environment"
    assert code("--url", "%s,%s" % (nobody, url(b))) == 0, "the next of several nodes"
    ran = lignum("topic", "ls", "--context", "liv", env=env)
    assert ran.code == 78 and "did you mean live?" in ran.err and str(contexts) in ran.err
    contexts.write_text("return { live = { ulr = '%s' } }" % url(b))
    ran = lignum("topic", "ls", "--context", "live", env=env)
    assert ran.code == 78 and "did you mean url?" in ran.err
    contexts.write_text("return {\n live = \n")
    ran = lignum("topic", "ls", env=env)
    assert ran.code == 78 and "contexts.lua:" in ran.err


def test_a_contexts_token_goes_to_no_other_node(make_node, tmp_path):
    b = make_node(config="access { open = false }").start()
    secret = b.lignum("token", "add", "it", "--topics", "*", "--may", "observe", "--console", b.console).out.strip()
    (tmp_path / "lignum").mkdir()
    (tmp_path / "lignum" / "contexts.lua").write_text(
        "return { default = 'own', own = { url = '%s', token = '%s' } }" % (url(b), secret))
    env = {"XDG_CONFIG_HOME": str(tmp_path), "LIGNUM_URL": "", "LIGNUM_TOKEN": ""}
    assert lignum("topic", "ls", env=env).code == 0
    ran = lignum("topic", "ls", "--url", url(b), env=env)
    assert ran.code == 77 and ran.out == "", "not with --url, which may be anybody's"


def test_topics_are_made_shown_changed_and_deleted(make_node):
    b = make_node().start()
    ran = ask(b, "topic", "new", "orders", "retain.age=7d", "segment.bytes=1MiB", "-o", "json")
    assert ran.code == 0, ran
    made = json.loads(ran.out)
    assert made["retain"]["age"] == 7 * 86400 and made["segment"]["bytes"] == 1 << 20
    ran = ask(b, "topic", "new", "orders", "retain.age=8d")
    assert ran.code == 73 and "exists" in ran.err
    assert ask(b, "topic", "set", "orders", "durability=os").code == 0
    assert b.topic("orders")["durability"] == "os"
    ran = ask(b, "topic", "set", "orders", "retian.age=1")
    assert ran.code == 65 and "did you mean" in ran.err
    ran = ask(b, "topic", "show", "orders")
    assert ran.code == 0 and any(l.split() == ["retain.age", "604800"] for l in ran.out.splitlines()), ran
    listed = ask(b, "topic", "ls").out.splitlines()
    assert [l.split()[0] for l in listed] == ["TOPIC", "orders"]
    assert [t["name"] for t in json.loads(ask(b, "topic", "ls", "o*", "-o", "json").out)] == ["orders"]
    assert json.loads(ask(b, "topic", "ls", "nothing*", "-o", "json").out) == []
    ran = ask(b, "topic", "rm", "orders")
    assert ran.code == 64 and "--yes" in ran.err
    assert ask(b, "topic", "rm", "orders", "--yes").code == 0
    ran = ask(b, "topic", "show", "orders")
    assert ran.code == 66 and "orders" not in ran.out


def test_tokens_are_made_listed_and_revoked_through_http(make_node, tmp_path):
    b = make_node(config="access { open = false }").start()
    assert ask(b, "token", "list").code == 77
    root = tmp_path / "root"
    root.write_text(b.lignum("token", "add", "root", "--topics", "*", "--may", "admin", "--console", b.console).out)
    root.chmod(stat.S_IRUSR)
    ran = ask(b, "token", "add", "reader", "--topics", "orders.*", "--may", "read", "--token-file", str(root))
    assert ran.code == 0 and len(ran.out.strip()) > 20, ran
    assert b.get("/v1/topics/orders.x", headers={"Authorization": "Bearer " + ran.out.strip()}).status == 404
    assert ask(b, "token", "add", "reader", "--topics", "*", "--may", "read", "--token-file", str(root)).code == 73
    listed = ask(b, "token", "list", "--token-file", str(root)).out.splitlines()
    assert [l.split()[:3] for l in listed[1:]] == [["reader", "orders.*", "read"], ["root", "*", "admin"]]
    assert ask(b, "token", "revoke", "reader", env={"LIGNUM_TOKEN": root.read_text().strip()}).code == 0
    assert ask(b, "token", "revoke", "reader", "--token-file", str(root)).code == 66


def test_output_that_cannot_be_written_is_an_error(make_node):
    b = make_node().start()
    with open("/dev/full", "w") as full:
        ran = subprocess.run([BINARY, "topic", "ls", "--url", url(b)], stdout=full, stderr=subprocess.PIPE)
    assert ran.returncode == 74 and b"No space" in ran.stderr, ran.stderr


def test_https_needs_an_authority_that_the_flag_or_the_context_names(make_node, folder, tmp_path):
    authority, other = Authority(folder), Authority(folder, "other")
    pair = authority.issue("node")
    b = make_node(config="listen { address = '127.0.0.1:0', tls = { %s, client_ca = %r } }" % (pair.lua, authority.path), listen=None)
    b.start()
    me = authority.issue("me", subject="/CN=me")
    (tmp_path / "lignum").mkdir()
    (tmp_path / "lignum" / "contexts.lua").write_text(
        "return { tls = { url = 'https://localhost:%d', ca = %r, %s } }" % (b.port, authority.path, me.lua))
    env = {"XDG_CONFIG_HOME": str(tmp_path), "LIGNUM_URL": "", "LIGNUM_TOKEN": ""}
    assert lignum("pub", "t", "m", "--context", "tls", env=env).code == 0
    assert lignum("sub", "t", "--raw", "--context", "tls", env=env).out == "m\n"
    for words in (["--url", "https://localhost:%d" % b.port], ["--url", "https://localhost:%d" % b.port, "--ca", other.path],
                  ["--context", "tls", "--ca", other.path]):
        ran = lignum("topic", "ls", *words, env=env)
        assert ran.code == 69 and "certificate" in ran.err.lower() and len(ran.err.splitlines()) == 1, ran
