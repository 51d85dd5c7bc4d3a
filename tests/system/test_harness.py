"""The tools of the cluster tests work: networks that are cut, a Consul that comes back, leftovers that are removed."""

import os
import re
import socket
import subprocess
import sys

import pytest

from common import ROOT, free_port, hold_for, running, wait_until
from network import sweep

LISTEN = """
import socket, sys
s = socket.socket()
s.bind((sys.argv[1], 7777))
s.listen(8)
print("listening", flush=True)
while True:
    c, _ = s.accept()
    c.sendall(b"x" * int(sys.argv[2]))
    c.close()
"""
RECEIVE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 7778))
print("bound", flush=True)
sys.stdin.readline()                # once the packet has been sent
s.settimeout(0.3)
try:
    print(s.recv(9).decode())
except OSError:
    print("nothing")
"""
SEND = """
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"here", (sys.argv[1], 7778))
"""
TALK = """
import socket, sys, time
s = socket.socket()
s.settimeout(float(sys.argv[2]))
began = time.monotonic()
try:
    s.connect((sys.argv[1], 7777))
    n = 0
    while True:
        d = s.recv(65536)
        if not d:
            break
        n += len(d)
    print(n, time.monotonic() - began)
except OSError:
    print("nothing")
"""


@pytest.fixture
def net(network):
    return network(["a", "b", "c"])


@pytest.fixture
def listen(net, defer):
    """listen(name, size): starts a server on that host that sends this many bytes to each client."""
    def start(name, size=10):
        host = net[name]
        p = subprocess.Popen([sys.executable, "-c", LISTEN, host.address, str(size)], stdout=subprocess.PIPE,
                             preexec_fn=host.enter)
        defer(p.stdout.close)
        defer(p.wait)
        defer(p.kill)
        assert p.stdout.readline() == b"listening\n"
    return start


def talk(net, source, target, timeout=0.5):
    p = subprocess.run([sys.executable, "-c", TALK, net[target].address, str(timeout)], capture_output=True, text=True,
                       preexec_fn=net[source].enter)
    return p.stdout.split()


def hears(net, source, target):
    return talk(net, source, target)[0] == "10"


def test_hosts_can_be_cut_from_each_other_and_healed(net, listen):
    listen("a")
    listen("b")
    assert hears(net, "a", "b")
    net.cut("a", "b")
    assert [hears(net, "a", "b"), hears(net, "b", "a"), hears(net, "c", "a"), hears(net, "c", "b")] == (
        [False, False, True, True])
    with socket.create_connection((net["a"].address, 7777), 5) as s:      # the test itself reaches all hosts
        assert s.recv(10) == b"x" * 10
    net.heal()
    net.isolate("a")
    assert [hears(net, "b", "a"), hears(net, "c", "a"), hears(net, "c", "b")] == [False, False, True]
    net.heal()
    assert hears(net, "a", "b") and hears(net, "c", "a")


def test_one_way_lets_packets_through_the_other_way(net):
    def arrives(source, target):
        host = net[target]
        with subprocess.Popen([sys.executable, "-c", RECEIVE, host.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, preexec_fn=host.enter) as receiver:
            assert receiver.stdout.readline() == "bound\n"
            subprocess.run([sys.executable, "-c", SEND, host.address], preexec_fn=net[source].enter, check=True)
            return receiver.communicate("sent\n")[0] == "here\n"
    assert arrives("a", "b")
    net.cut_one_way("a", "b")
    assert [arrives("a", "b"), arrives("b", "a"), arrives("c", "b")] == [False, True, True]


def test_bandwidth_can_be_limited(net, listen):
    listen("a", 1000000)
    free = float(talk(net, "b", "a", 10)[1])
    net["b"].limit(8)
    size, took = talk(net, "b", "a", 10)
    assert size == "1000000"
    assert float(took) > 0.7, "1 MB at 1 MB a second; without a limit it took %g s" % free
    net["b"].limit(None)
    assert float(talk(net, "b", "a", 10)[1]) < 0.5


def test_leftovers_of_a_killed_process_are_swept(net):
    code = ("import signal, sys\nsys.path.insert(0, %r)\nimport network\nn = network.Network(['x'])\n"
            "print(n['x'].namespace, n.bridge, flush=True)\nsignal.pause()" % os.path.join(ROOT, "tests/system"))
    p = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    namespace, bridge = p.stdout.readline().split()
    p.stdout.close()
    there = [os.path.exists("/run/netns/" + namespace), os.path.exists("/sys/class/net/" + bridge)]
    sweep()
    alive = [os.path.exists("/run/netns/" + namespace), os.path.exists("/sys/class/net/" + bridge)]
    p.kill()
    p.wait()
    sweep()
    gone = [os.path.exists("/run/netns/" + namespace), os.path.exists("/sys/class/net/" + bridge)]
    assert [there, alive, gone] == [[True, True], [True, True], [False, False]]
    assert os.path.exists("/run/netns/" + net["a"].namespace), "ours is still there"


def test_a_killed_consul_comes_back_with_what_it_knew(consul):
    consul.put("a/b", "1")
    before = consul.get("a/b")
    consul.restart()
    assert consul.get("a/b") == before
    consul.kill()
    consul.wipe()
    consul.start()
    assert consul.get("a/b") == (None, None, None)


def test_a_frozen_consul_answers_after_it_is_thawed(consul):
    consul.freeze()
    answers = []
    with running(lambda: answers.append(consul.get("works"))):
        hold_for(0.3, "time in which it would have answered")
        assert answers == []
        consul.thaw()
    assert answers[0][0] == b"1"


def test_sessions_keys_and_an_older_state(consul):
    id_ = consul.ok("PUT", "/v1/session/create", '{"TTL": "15s"}')["ID"]
    assert consul.ok("PUT", "/v1/kv/lock?acquire=" + id_, "me")
    assert (consul.get("lock")[2], consul.sessions()) == (id_, [id_])
    snapshot = consul.snapshot()
    consul.destroy_session(id_)
    wait_until(lambda: consul.get("lock")[2] is None)
    consul.delete("lock")
    assert consul.keys("lock") == []
    consul.restore(snapshot)
    assert consul.get("lock")[0] == b"me"


def test_ports_are_below_those_that_the_kernel_gives_away():
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        first = int(re.match(r"\d+", f.read()).group())
    ports = {free_port() for _ in range(20)}
    assert len(ports) == 20
    assert max(ports) < first
