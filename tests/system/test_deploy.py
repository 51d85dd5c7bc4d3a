"""The files in doc/deploy name what is there: settings, ports and paths of a real node."""

import os
import re

import pytest

from common import ROOT
from lignum import lignum

yaml = pytest.importorskip("yaml")

IMAGE = os.path.join(ROOT, "scripts/package/image.lua")


def documents(name):
    with open(os.path.join(ROOT, "doc/deploy", name)) as f:
        return [d for d in yaml.safe_load_all(f) if d]


def image_environment():
    """The names that the image's configuration reads."""
    with open(IMAGE) as f:
        return set(re.findall(r'os\.getenv "(\w+)"', f.read()))


def check_image(folder, env):
    """The configuration of the image is valid in this environment; the secret is a file here."""
    known = image_environment()
    assert set(env) - {"POD"} <= known, "the image reads %s" % known
    env = {k: v for k, v in env.items() if k in known}
    secret = os.path.join(folder, "secret")
    with open(secret, "w") as f:
        f.write(lignum("secret", "new").out)
    os.chmod(secret, 0o600)
    if "LIGNUM_SECRET_FILE" in env:
        env["LIGNUM_SECRET_FILE"] = secret
    done = lignum("check", "-c", IMAGE, env=env)
    assert done.code == 0, done
    return done


def test_compose(folder):
    [compose] = documents("compose.yaml")
    nodes = {name: s for name, s in compose["services"].items() if name != "consul"}
    assert len(nodes) == 3
    for name, s in nodes.items():
        check_image(folder, s["environment"])
        assert s["environment"]["LIGNUM_HOST"] == name
        assert s["environment"]["CONSUL_HTTP_ADDR"].split(":")[0] in s["depends_on"]
        assert s["environment"]["LIGNUM_SECRET_FILE"] == "/run/secrets/" + s["secrets"][0]
        assert s["ports"][0].endswith(":8080") and s["volumes"][0].split(":")[0] in compose["volumes"]


def test_kubernetes(folder, node):
    parts = documents("kubernetes/lignum.yaml")
    by_kind = {p["kind"]: p for p in parts}
    assert [p["kind"] for p in parts] == ["Service", "Service", "PodDisruptionBudget", "StatefulSet"]
    spec = by_kind["StatefulSet"]["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    check_image(folder, {e["name"]: e.get("value", "").replace("$(POD)", "lignum-0") for e in container["env"]})
    assert spec["serviceName"] == parts[0]["metadata"]["name"]
    host = next(e["value"] for e in container["env"] if e["name"] == "LIGNUM_HOST")
    assert host == "$(POD)." + spec["serviceName"]
    for part in parts[:2]:
        assert part["spec"]["selector"] == spec["template"]["metadata"]["labels"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert ports == {p["name"]: p["port"] for p in parts[0]["spec"]["ports"]}
    with open(IMAGE) as f:
        image = f.read()
    assert all(":%d" % port in image for port in ports.values())
    volumes = {v["name"] for v in pod["volumes"]} | {c["metadata"]["name"] for c in spec["volumeClaimTemplates"]}
    assert {m["name"] for m in container["volumeMounts"]} == volumes
    b = node()
    for probe in "startupProbe", "livenessProbe", "readinessProbe":
        assert container[probe]["httpGet"]["port"] in ports
        assert b.get(container[probe]["httpGet"]["path"]).status == 200
    b.stop()


def test_the_image_refuses_a_node_of_a_cluster_without_a_name():
    done = lignum("check", "-c", IMAGE, env={"CONSUL_HTTP_ADDR": "127.0.0.1:8500"})
    assert done.code == 64 and "LIGNUM_HOST is not set" in done.err
