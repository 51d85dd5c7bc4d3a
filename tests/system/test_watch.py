"""doc/deploy/: the dashboard and the alert rules ask for metrics and labels that a node has; promtool tests the rules."""

import json
import math
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request

import pytest

from certs import Authority
from common import Background, ROOT, die_with_parent, free_port, wait_until
from workers import Group

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


class Prometheus:
    """A real one, which scrapes these nodes each second and has the alert rules."""

    def __init__(self, folder, nodes):
        self.url, self.said = "http://127.0.0.1:%d" % free_port(), os.path.join(folder, "said")
        targets = ", ".join('"127.0.0.1:%d"' % n.port for n in nodes)
        with open(os.path.join(folder, "prometheus.yml"), "w") as f:
            f.write("global: { scrape_interval: 1s, evaluation_interval: 1s }\nrule_files: [ %s ]\n"
                    "scrape_configs: [ { job_name: lignum, static_configs: [ { targets: [ %s ] } ] } ]\n"
                    % (os.path.join(DEPLOY, "alerts.yml"), targets))
        with open(self.said, "w") as log:
            self.process = subprocess.Popen(
                ["prometheus", "--config.file=" + f.name, "--storage.tsdb.path=" + os.path.join(folder, "tsdb"),
                 "--web.listen-address=" + self.url.rpartition("/")[2]], stdout=log, stderr=log, preexec_fn=die_with_parent)

    def end(self):
        self.process.kill()
        self.process.wait()

    def ask(self, path, **query):
        if self.process.poll() is not None:
            with open(self.said) as f:
                pytest.fail("prometheus has ended: " + f.read()[-2000:])
        with urllib.request.urlopen(self.url + "/api/v1/" + path + "?" + urllib.parse.urlencode(query), timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression):
        """The numbers that it answers; those that are no number left out."""
        found = [float(series["value"][1]) for series in self.ask("query", query=expression)["result"]]
        return [v for v in found if not math.isnan(v)]


def as_grafana_asks(expression):
    return expression.replace("$job", ".*").replace("$instance", ".*").replace("$__rate_interval", "10s")


@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed (Debian package prometheus)")
def test_each_panel_of_the_dashboard_shows_something_of_a_real_cluster(cluster, tmp_path, defer):
    c = cluster(topics={"t": {}}, config="function on_publish(msg) end")
    leader, g = c.leader(), Group("t", "g")
    g.put(leader, dead_letter="letters")
    prometheus = Prometheus(str(tmp_path), c.nodes)
    defer(prometheus.end)

    def work():
        leader.publish("t", b"m")
        leader.messages("t", 0, 1)
        lease = g.claim(leader)[0]["lease"]
        assert g.settle(leader, reject=[lease]) == ["ok"]
        leader.publish("t", b"left")
    with Background(work):
        wait_until(lambda: len(prometheus.values("lignum_ready == 1")) == 3, what="all nodes are scraped")
        for where, expression, _ in expressions():
            if where.startswith("panel"):
                wait_until(lambda expression=expression: prometheus.values(as_grafana_asks(expression)), every=0.2,
                           what="%s shows something: %s" % (where, expression))
    for label, values in (("job", ["lignum"]), ("instance", sorted("127.0.0.1:%d" % n.port for n in c.nodes))):
        assert sorted(prometheus.ask("label/%s/values" % label, **{"match[]": "lignum_build_info"})) == values
    rules = [r for group in prometheus.ask("rules")["groups"] for r in group["rules"]]
    assert len(rules) >= 20
    wait_until(lambda: all(r["health"] == "ok" for group in prometheus.ask("rules")["groups"] for r in group["rules"]), every=0.2,
               what="all alert rules are evaluated")
