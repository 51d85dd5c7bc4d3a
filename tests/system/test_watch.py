"""doc/deploy/: the dashboard and the alert rules ask for metrics and labels that a node has; promtool tests the rules."""

import json
import os
import re
import shutil
import subprocess

import pytest

from certs import Authority
from common import ROOT, wait_until

DEPLOY = os.path.join(ROOT, "doc/deploy")
OF_PROMETHEUS = {"job", "instance", "le", "severity"}


def expressions():
    """Each expression of both files, with where it stands."""
    with open(os.path.join(DEPLOY, "grafana.json")) as f:
        board = json.load(f)
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield "panel " + panel["title"], target["expr"], target.get("legendFormat", "")
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield "variable " + variable["name"], variable["query"], ""
    with open(os.path.join(DEPLOY, "alerts.yml")) as f:
        text = f.read()
    for rule in text.split("- alert: ")[1:]:
        name = rule.split("\n")[0]
        yield "alert " + name, re.search(r"expr: (.*)", rule)[1], " ".join(re.findall(r"\$labels\.\w+", rule))


@pytest.fixture
def known(cluster, node, folder):
    """The metrics of a leader with followers and groups, and of a node with TLS and hooks: {name: labels}."""
    c = cluster(topics={"t": {}})
    leader = c.leader()
    leader.publish("t", b"m")
    leader.ok("PUT", "/v1/topics/t/groups/g", b'{"from":"earliest"}', status=201)
    b = node(listen=None, config="""
        listen { "127.0.0.1:0", { address = "127.0.0.1:0", tls = { %s } } }
        function on_publish(msg) error("no") end
    """ % Authority(folder).issue("node").lua)
    b.post("/v1/topics/t/messages", b"m")
    found = {}

    def read():
        for page in (leader.get("/metrics").text, b.get("/metrics").text):
            for name in re.findall(r"^# TYPE (\S+)", page, re.M):
                found.setdefault(name, set())
            for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", page, re.M):
                found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
        return found.get("lignum_follower_lag_seconds")
    wait_until(read, what="followers have metrics")
    return found


def test_dashboard_and_alerts_ask_for_what_there_is(known):
    asked = 0
    for where, expression, shown in expressions():
        names = set(re.findall(r"\blignum_\w+", expression))
        assert names or "up{" in expression, where
        labels = set()
        for name in names:
            assert name in known, "%s asks for %s, which no node has" % (where, name)
            labels |= known[name]
        used = set(re.findall(r"[{,]\s*(\w+)(?:=|!=|=~|!~)\"", expression))
        for group in re.findall(r"\bby \(([^)]*)\)", expression):
            used |= {word.strip() for word in group.split(",")}
        used |= set(re.findall(r"\{\{(\w+)\}\}", shown)) | set(re.findall(r"\$labels\.(\w+)", shown))
        assert used <= labels | OF_PROMETHEUS, "%s asks for labels %s" % (where, used - labels - OF_PROMETHEUS)
        asked += len(names)
    assert asked > 40


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian package prometheus)")
def test_the_alert_rules_do_what_their_tests_say():
    for words in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        p = subprocess.run(["promtool", *words], cwd=DEPLOY, capture_output=True, text=True, timeout=60)
        assert p.returncode == 0, p.stdout + p.stderr


def test_every_alert_has_a_summary_and_says_what_to_do():
    with open(os.path.join(DEPLOY, "alerts.yml")) as f:
        rules = f.read().split("- alert: ")[1:]
    for rule in rules:
        assert re.search(r"severity: (warning|critical)", rule) and "summary: " in rule and "action: " in rule, rule
